/**
 * A world under virtual time with connections that a test drives by hand: no socket, no timer, no sleep.
 */
import type { Frame } from "./wire.ts";
import { readFault } from "../src/faults.ts";
import { World, type Answer, type WorldEffect, type WorldInput, type WorldOptions } from "../src/world.ts";
import type { LogEntry } from "../src/wirelog.ts";

/** A world, its clock, and everything it ever did. */
export class Bench {
  now = 0;
  readonly world: World;
  readonly effects: WorldEffect[] = [];
  readonly log: LogEntry[] = [];
  readonly answers: Answer[] = [];
  #calls = 0;
  #reqIds = 0;

  constructor(options: WorldOptions = {}) {
    this.world = new World(options);
  }

  handle(input: WorldInput): readonly WorldEffect[] {
    const effects = this.world.handle(this.now, input);
    for (const effect of effects) {
      this.effects.push(effect);
      if (effect.type === "log") this.log.push(effect.entry);
      if (effect.type === "answer") this.answers.push(effect.answer);
    }
    return effects;
  }

  /** Lets `ms` of transport time pass, stopping at every deadline as a driver would. */
  pass(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const { deadline } = this.world;
      if (deadline === undefined || deadline > end) break;
      this.now = Math.max(this.now, deadline);
      this.handle({ type: "tick" });
    }
    this.now = end;
    this.handle({ type: "tick" });
  }

  connect(n: number): Line {
    this.handle({ type: "opened", connection: n });
    return new Line(this, n);
  }

  /** A connection that is subscribed. */
  subscribe(n: number, bot = "bot", secret = "secret"): Line {
    const line = this.connect(n);
    line.send({ cmd: "aibot_subscribe", body: { bot_id: bot, secret } });
    this.pass(1000);
    return line;
  }

  say(text: string, from = "zhangsan", more: Record<string, unknown> = {}): void {
    this.handle({
      type: "say",
      bot: "bot",
      message: { from: { userid: from }, msgtype: "text", text: { content: text }, ...more },
      call: ++this.#calls,
    });
  }

  trigger(eventtype: string, more: Record<string, unknown> = {}): void {
    this.handle({
      type: "trigger",
      bot: "bot",
      event: { eventtype, from: { userid: "zhangsan" }, ...more },
      call: ++this.#calls,
    });
  }

  /** Arms a fault by its spec; returns its id. */
  arm(spec: string): string {
    this.handle({ type: "arm", fault: readFault(spec), call: ++this.#calls });
    const answer = this.lastAnswer;
    const armed = answer.type === "armed" ? answer : this.answers.findLast(({ type }) => type === "armed");
    if (armed?.type !== "armed") throw new Error(`${spec} was not armed`);
    return armed.fault.id;
  }

  get lastAnswer(): Answer {
    return this.answers.at(-1)!;
  }

  reqId(): string {
    return `r${++this.#reqIds}`;
  }
}

/** One connection of a {@link Bench}. */
export class Line {
  readonly n: number;
  readonly #bench: Bench;
  #read = 0;

  constructor(bench: Bench, n: number) {
    this.#bench = bench;
    this.n = n;
  }

  /** Sends a frame; without headers it gets a req_id of its own. Returns the req_id. */
  send(frame: { cmd: string; headers?: { req_id: string }; body?: unknown }): string {
    const headers = frame.headers ?? { req_id: this.#bench.reqId() };
    this.raw(JSON.stringify({ ...frame, headers }));
    return headers.req_id;
  }

  raw(text: string): void {
    this.#bench.handle({ type: "received", connection: this.n, text });
  }

  /** Sends and lets a second pass; the ack of that very frame. */
  ask(frame: { cmd: string; headers?: { req_id: string }; body?: unknown }): Frame {
    const before = this.frames.length;
    const reqId = this.send(frame);
    this.#bench.pass(1000);
    const ack = this.frames.slice(before).find((got) => got.cmd === undefined && got.headers.req_id === reqId);
    if (!ack) throw new Error(`no ack for ${frame.cmd}`);
    return ack;
  }

  respond(reqId: string, body: unknown): Frame {
    return this.ask({ cmd: "aibot_respond_msg", headers: { req_id: reqId }, body });
  }

  stream(reqId: string, id: string, content: string, finish = false): Frame {
    return this.respond(reqId, { msgtype: "stream", stream: { id, finish, content } });
  }

  push(chatid: string, content = "hello", chatType: unknown = 1): Frame {
    return this.ask({
      cmd: "aibot_send_msg",
      body: { chatid, chat_type: chatType, msgtype: "markdown", markdown: { content } },
    });
  }

  /** Every frame the gateway sent on this connection. */
  get frames(): Frame[] {
    return this.texts.map((text) => JSON.parse(text) as Frame);
  }

  get texts(): string[] {
    return this.#bench.effects.flatMap((effect) =>
      effect.type === "send" && effect.connection === this.n ? [effect.text] : [],
    );
  }

  /** What came since the last call. */
  fresh(): Frame[] {
    const frames = this.frames.slice(this.#read);
    this.#read += frames.length;
    return frames;
  }

  /** The newest callback. */
  get callback(): Frame {
    return this.frames.findLast((frame) => frame.cmd !== undefined)!;
  }

  /** How the gateway ended it, if it did. */
  get ended(): string | undefined {
    return this.#bench.effects.find(
      (effect) =>
        (effect.type === "reset" || effect.type === "close" || effect.type === "half-open") &&
        effect.connection === this.n,
    )?.type;
  }
}
