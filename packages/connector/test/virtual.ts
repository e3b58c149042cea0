/**
 * A runtime whose clock is a variable and whose sockets a test holds in its hands, and the same with the mock gateway's
 * world at the other end. Nothing here waits for real time.
 */
import { World } from "@openws/mock-gateway/world";
import type { Answer, Told, WorldEffect, WorldInput, WorldOptions } from "@openws/mock-gateway/world";
import type { Runtime, Socket, SocketEvents } from "../src/runtime.ts";

/** A frame as a test reads it: what of a body a test has looked at so far. */
export interface Frame {
  readonly cmd?: string;
  readonly headers: { readonly req_id: string };
  readonly body: {
    readonly stream?: { readonly id: string; readonly finish: boolean; readonly content: string };
    readonly markdown?: { readonly content: string };
    readonly text?: { readonly content: string };
    readonly template_card?: { readonly task_id: string };
    readonly [member: string]: unknown;
  };
}

/** A socket that a test answers for. */
export class FakeSocket implements Socket {
  readonly url: string;
  readonly sent: string[] = [];
  /** How it was let go of. */
  dropped: "politely" | "cut" | undefined;
  /** Called for each frame the client sends. */
  onSend: ((frame: Frame, text: string) => void) | undefined;
  readonly #events: SocketEvents;

  constructor(url: string, events: SocketEvents) {
    this.url = url;
    this.#events = events;
  }

  get frames(): Frame[] {
    return this.sent.map((text) => JSON.parse(text) as Frame);
  }

  /** The frames of one command. */
  of(cmd: string): Frame[] {
    return this.frames.filter((frame) => frame.cmd === cmd);
  }

  send(text: string): void {
    this.sent.push(text);
    this.onSend?.(JSON.parse(text) as Frame, text);
  }

  drop(politely: boolean): void {
    this.dropped = politely ? "politely" : "cut";
  }

  open(): void {
    this.#events.opened();
  }

  receive(frame: object | string): void {
    this.#events.received(typeof frame === "string" ? frame : JSON.stringify(frame));
  }

  ack(req_id: string, errcode = 0, errmsg = "ok", body?: unknown): void {
    this.receive({ headers: { req_id }, errcode, errmsg, ...(body === undefined ? {} : { body }) });
  }

  close(code = 1006, reason = ""): void {
    this.#events.closed(code, reason);
  }

  /** From now on every frame is acked at once: errcode 0, or what `judge` says. */
  acknowledge(judge: (frame: Frame) => number = () => 0): void {
    this.onSend = (frame) => {
      const errcode = judge(frame);
      queueMicrotask(() => this.ack(frame.headers.req_id, errcode, errcode === 0 ? "ok" : "refused by the test"));
    };
  }
}

/** A runtime in virtual time. */
export class VirtualRuntime implements Runtime {
  readonly sockets: FakeSocket[] = [];
  /** Called when the client dials. */
  onDial: ((socket: FakeSocket) => void) | undefined;
  #now = 1_000_000;
  #seed = 1;
  readonly #alarms = new Set<{ at: number; wake: () => void }>();

  now(): number {
    return this.#now;
  }

  wakeAt(at: number, wake: () => void): () => void {
    const alarm = { at, wake };
    this.#alarms.add(alarm);
    return () => this.#alarms.delete(alarm);
  }

  random(): number {
    this.#seed = (this.#seed * 48_271) % 2_147_483_647;
    return this.#seed / 2_147_483_647;
  }

  dial(url: string, events: SocketEvents): Socket {
    const socket = new FakeSocket(url, events);
    this.sockets.push(socket);
    this.onDial?.(socket);
    return socket;
  }

  /** Alarms that are set. */
  get alarms(): number {
    return this.#alarms.size;
  }

  /** The socket dialled last. */
  get socket(): FakeSocket {
    return this.sockets.at(-1)!;
  }

  /** Lets time pass: every alarm rings at its instant, and what follows from it happens before the next. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await quiet();
    for (;;) {
      let next: { at: number; wake: () => void } | undefined;
      for (const alarm of this.#alarms) if (alarm.at <= end && (next === undefined || alarm.at < next.at)) next = alarm;
      if (next === undefined) break;
      this.#alarms.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.wake();
      await quiet();
    }
    this.#now = end;
  }

  /** Opens the socket dialled last and acks its subscribe. */
  async subscribe(): Promise<FakeSocket> {
    const { socket } = this;
    socket.open();
    socket.ack(socket.of("aibot_subscribe")[0]!.headers.req_id);
    await quiet();
    return socket;
  }
}

/** Lets everything happen that needs no time. */
export function quiet(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** Waits in virtual time. */
export function pause(runtime: Runtime, ms: number): Promise<void> {
  return new Promise((resolve) => {
    runtime.wakeAt(runtime.now() + ms, resolve);
  });
}

/** A promise that a handler waits for in vain. */
export function never<Value = never>(): Promise<Value> {
  return Promise.withResolvers<Value>().promise;
}

let messages = 0;

/** A callback frame: a text in a single chat unless `body` says otherwise. */
export function callback(text: string, body: object = {}, req_id = `callback-${++messages}`): Frame {
  const said = { msgid: `msg-${++messages}`, chattype: "single", from: { userid: "lily" }, msgtype: "text" };
  return { cmd: "aibot_msg_callback", headers: { req_id }, body: { ...said, text: { content: text }, ...body } };
}

/** An event frame. */
export function happening(eventtype: string, event: object = {}, body: object = {}): Frame {
  const where = { msgid: `msg-${++messages}`, chattype: "single", from: { userid: "lily" } };
  return {
    cmd: "aibot_event_callback",
    headers: { req_id: `event-${++messages}` },
    body: { ...where, msgtype: "event", event: { eventtype, ...event }, ...body },
  };
}

/** A virtual runtime with the mock gateway's world at the other end of every socket. */
export class VirtualGateway {
  readonly runtime = new VirtualRuntime();
  readonly world: World;
  readonly #lines = new Map<number, FakeSocket>();
  readonly #calls = new Map<unknown, (answer: Answer) => void>();
  readonly #sent: { cmd: string; at: number }[] = [];
  #dialled = 0;
  #called = 0;
  #cancelAlarm: (() => void) | undefined;

  constructor(options: WorldOptions = {}) {
    this.world = new World({ seed: 1, log: true, bots: [{ id: "bot", secret: "s3cret", name: "Bot" }], ...options });
    this.runtime.onDial = (socket) => {
      const connection = ++this.#dialled;
      this.#lines.set(connection, socket);
      socket.onSend = (frame, text) => {
        this.#sent.push({ cmd: frame.cmd ?? "", at: this.runtime.now() });
        queueMicrotask(() => this.run({ type: "received", connection, text }));
      };
      queueMicrotask(() => {
        this.run({ type: "opened", connection });
        socket.open();
      });
    };
  }

  run(input: WorldInput): void {
    for (const effect of this.world.handle(this.runtime.now(), input)) this.#perform(effect);
    this.#cancelAlarm?.();
    const { deadline } = this.world;
    this.#cancelAlarm =
      deadline === undefined ? undefined : this.runtime.wakeAt(deadline, () => this.run({ type: "tick" }));
  }

  /** A user says something, and waits for the answer for as long as `waitMs` of virtual time. */
  say(text: string, from = "lily", waitMs = 60_000): Promise<Told> {
    return new Promise((resolve) => {
      const call = ++this.#called;
      this.#calls.set(call, (answer) => {
        if (answer.type === "told") resolve(answer.told);
      });
      const message = { from: { userid: from }, msgtype: "text", text: { content: text } };
      this.run({ type: "say", bot: "bot", message, call, waitMs });
    });
  }

  /** When the client sent frames of this command. */
  sentAt(cmd: string): number[] {
    return this.#sent.flatMap((sent) => (sent.cmd === cmd ? [sent.at] : []));
  }

  /** What a user reads: the texts of the bot's items in a chat. */
  reads(user = "lily"): string[] {
    const items = this.world.chat("bot", user)?.items ?? [];
    return items.flatMap((item) => (item.by === "bot" ? [item.content ?? ""] : []));
  }

  #perform(effect: WorldEffect): void {
    if (effect.type === "answer") {
      this.#calls.get(effect.call)?.(effect.answer);
      this.#calls.delete(effect.call);
    }
    if (!("connection" in effect)) return;
    const socket = this.#lines.get(effect.connection);
    if (socket === undefined || socket.dropped !== undefined) return;
    if (effect.type === "send") queueMicrotask(() => socket.dropped ?? socket.receive(effect.text));
    else if (effect.type === "close") queueMicrotask(() => socket.close(effect.code, effect.reason));
    else if (effect.type === "reset") queueMicrotask(() => socket.close(1006, "reset"));
  }
}
