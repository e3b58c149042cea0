/**
 * The network between the client and the gateway, with everything that can happen to it.
 *
 * Decides what arrives, when, and in what order; holds the faults that are at work. Does not know what a client should
 * make of it. The gateway behind it is the mock's own world, the very one that is shipped: where a fault makes the gateway
 * refuse or forget, a door in front of it does so, and the world never hears of the frame, so that what the users see is
 * always what was taken.
 *
 * Invariants: frames of one direction of a socket keep their order, unless a fault of acks says otherwise; a socket that
 * the client let go still has frames under way, and closes late.
 */
import { World } from "@openws/mock-gateway/world";
import type { WorldEffect } from "@openws/mock-gateway/world";
import { json, nothing, object } from "../history.ts";
import type { Frame, Happening, Json, Millis } from "../history.ts";
import type { Agenda } from "./agenda.ts";
import type { Chance } from "./chance.ts";
import { oddFrame } from "./odd-frames.ts";
import type { AckOf, Fault, Refusable, Schedule } from "./schedule.ts";

/** What a socket tells its owner. */
export interface SocketEvents {
  opened(): void;
  received(text: string): void;
  closed(code: number, reason: string): void;
}

/** One socket, from its dial on. */
interface Line {
  readonly n: number;
  readonly events: SocketEvents;
  /** What the client thinks of it, and what the gateway does. */
  here: "dialing" | "open" | "gone";
  there: "unknown" | "open" | "gone";
  /** Nothing overtakes: the instant of the last arrival, by direction. */
  upAt: Millis;
  downAt: Millis;
  lost: { up: boolean; down: boolean };
  stalled: { up: Millis; down: Millis };
  forgotten: boolean;
  /** Commands that went up, to know what an ack that comes down answers; kept while a fault asks for it. */
  readonly commands: Map<string, string>;
  /** Until when the acks of a req_id are held up: those of one req_id never overtake each other. */
  readonly delayed: Map<string, Millis>;
  /** An ack that waits for the next one to overtake it. */
  held: string | undefined;
  subscribed: boolean;
}

type Armed = Extract<Fault, { times: number }> & { left: number };

/** The bot of every run. Its secret is looked for in all that is sent, and begins with what is seen nowhere else. */
export const bot = { id: "aib-simulated", secret: "~s3cret-of-the-simulation" };

/** How long a held ack waits for one to overtake it. */
const swapMs = 3_000;

/** The wire, and the gateway behind it. */
export class Wire {
  readonly world: World;
  readonly #agenda: Agenda;
  readonly #chance: Chance;
  readonly #log: Happening[];
  readonly #latencyMs: Millis;
  readonly #lines = new Map<number, Line>();
  #current: Line | undefined;
  #armed: Armed[] = [];
  #strayAtSubscribe = false;
  #refuseUntil: Millis = 0;
  #hangUntil: Millis = 0;
  #resetUntil: Millis = 0;
  #resetAfterMs: Millis = 0;
  #muteUntil: Millis = 0;
  #calls = 0;
  #lastCallback: { text: string } | undefined;
  /** Faults that are armed in the gateway itself. */
  #inGateway: string[] = [];
  /** What became of what a user said. */
  readonly #told = new Map<number, (delivered: boolean) => void>();

  constructor(schedule: Schedule, agenda: Agenda, chance: Chance, log: Happening[]) {
    this.#agenda = agenda;
    this.#chance = chance;
    this.#log = log;
    this.#latencyMs = schedule.latencyMs;
    this.world = new World({ seed: schedule.seed, log: false, lint: false, bots: [bot] });
    // A response_url is for those who have no connection, a WebSocket ping is answered by the socket.
    this.world.switches = { ...this.world.switches, ...schedule.gateway, responseUrl: false, wsPingMs: 0 };
  }

  /** When the gateway has something to do. */
  get deadline(): Millis {
    return this.world.deadline ?? Infinity;
  }

  /** Whether the socket in use is dead without a sign. */
  get silentlyBroken(): boolean {
    const line = this.#current;
    return line !== undefined && line.here !== "gone" && (line.lost.up || line.lost.down || line.there !== "open");
  }

  /** Lets the gateway do what is due. */
  tick(): void {
    this.#perform(this.world.handle(this.#agenda.now, { type: "tick" }));
  }

  // -------------------------------------------------------------------------------------------------------------------
  // The client's side

  /** Opens a socket. Its number is the run's. */
  dial(events: SocketEvents): number {
    const { now } = this.#agenda;
    const n = this.#lines.size + 1;
    const line: Line = {
      n,
      events,
      here: "dialing",
      there: "unknown",
      upAt: 0,
      downAt: 0,
      lost: { up: false, down: false },
      stalled: { up: 0, down: 0 },
      forgotten: false,
      commands: new Map(),
      delayed: new Map(),
      held: undefined,
      subscribed: false,
    };
    this.#lines.set(n, line);
    this.#current = line;
    this.#log.push({ what: "dialed", at: now, socket: n });
    if (now < this.#refuseUntil) {
      line.there = "gone";
      this.#agenda.at(now + this.#travel(), () => this.#tellClosed(line, 1006, "502 Bad Gateway"));
    } else if (now >= this.#hangUntil) {
      // TCP, TLS and the upgrade: three round trips.
      this.#agenda.at(now + 6 * this.#travel(), () => this.#accept(line));
    }
    return n;
  }

  /** A frame from the client. */
  send(n: number, text: string): void {
    const line = this.#lines.get(n)!;
    const { now } = this.#agenda;
    const frame: Frame = { what: "sent", at: now, socket: n, text, parsed: undefined };
    this.#log.push(frame);
    if (line.lost.up || line.there !== "open") return;
    line.upAt = Math.max(line.upAt, now + this.#travel(), line.stalled.up);
    this.#agenda.at(line.upAt, () => this.#arrived(line, frame));
  }

  /** The client lets a socket go: its close arrives late at either side. */
  drop(n: number): void {
    const line = this.#lines.get(n)!;
    const { now } = this.#agenda;
    line.here = "gone";
    this.#log.push({ what: "dropped", at: now, socket: n });
    if (line.there === "open" && !line.lost.up) this.#agenda.at(now + this.#travel(), () => this.#hangUp(line));
    const late = this.#chance.oneIn(2) ? this.#travel() : this.#chance.between(0, 60_000);
    this.#agenda.at(now + late, () => {
      this.#log.push({ what: "closed", at: this.#agenda.now, socket: n, code: 1006, current: false });
      line.events.closed(1006, "late");
    });
  }

  #accept(line: Line): void {
    if (line.here !== "dialing") return;
    const { now } = this.#agenda;
    if (now < this.#refuseUntil) return this.#tellClosed(line, 1006, "connection refused");
    line.here = "open";
    line.there = "open";
    line.downAt = now;
    this.#perform(this.world.handle(now, { type: "opened", connection: line.n }));
    this.#log.push({ what: "opened", at: now, socket: line.n });
    line.events.opened();
  }

  #tellClosed(line: Line, code: number, reason: string): void {
    if (line.here === "gone") return;
    line.here = "gone";
    this.#log.push({ what: "closed", at: this.#agenda.now, socket: line.n, code, current: true });
    line.events.closed(code, reason);
  }

  #hangUp(line: Line): void {
    if (line.there !== "open") return;
    line.there = "gone";
    this.#perform(this.world.handle(this.#agenda.now, { type: "closed", connection: line.n, code: 1005 }));
  }

  // -------------------------------------------------------------------------------------------------------------------
  // The gateway's side

  #arrived(line: Line, frame: Frame): void {
    if (line.there !== "open") return;
    // The oracle parses each frame in any case; the gateway, which parses the same way, need not do it again.
    const parsed = json(frame);
    const guarded = this.#armed.length > 0 || this.#strayAtSubscribe || line.forgotten;
    if (guarded && this.#atTheDoor(line, parsed)) return;
    this.#perform(
      this.world.handle(this.#agenda.now, {
        type: "received",
        connection: line.n,
        text: frame.text,
        json: parsed === nothing ? undefined : parsed,
      }),
    );
  }

  /** Whether a fault answers in the world's place. */
  #atTheDoor(line: Line, frame: Json): boolean {
    const cmd = String(frame["cmd"]);
    const req_id = String(object(frame["headers"])["req_id"]);
    line.commands.set(req_id, cmd);
    const refusable = refusables[cmd];
    if (refusable === "subscribe" && this.#strayAtSubscribe) {
      this.#strayAtSubscribe = false;
      this.#down(line, ackText(`subscribe_${this.#chance.between(0, 1e9)}`, 0));
    }
    const armed = this.#armed.find((fault) => fault.kind === "errcode" && fault.of === refusable && fault.left > 0);
    if (armed?.kind === "errcode") {
      armed.left--;
      this.#ackAfter(line, 100, req_id, ackText(req_id, armed.errcode));
      return true;
    }
    if (!line.forgotten || refusable === "ping" || refusable === "subscribe") return false;
    this.#ackAfter(line, 100, req_id, ackText(req_id, 846609));
    return true;
  }

  /** Sends an ack in a while, and no other of its req_id before it. */
  #ackAfter(line: Line, ms: Millis, req_id: string, text: string): void {
    const at = Math.max(this.#agenda.now + ms, line.delayed.get(req_id) ?? 0);
    line.delayed.set(req_id, at);
    this.#agenda.at(at, () => this.#down(line, text));
  }

  #perform(effects: readonly WorldEffect[]): void {
    for (const effect of effects) {
      if (effect.type === "answer") {
        if (effect.answer.type === "armed") this.#inGateway.push(effect.answer.fault.id);
        if (effect.answer.type === "told") this.#told.get(effect.call)?.(effect.answer.told.delivered);
        this.#told.delete(effect.call);
        continue;
      }
      if (effect.type === "log" || effect.type === "ping" || effect.type === "port") continue;
      const line = this.#lines.get(effect.connection)!;
      if (effect.type === "send") this.#send(line, effect.text);
      else if (effect.type === "half-open") line.lost = { up: true, down: true };
      else this.#ended(line, effect.type === "close" ? effect.code : 1006);
    }
  }

  /** The gateway ended a socket. */
  #ended(line: Line, code: number): void {
    line.there = "gone";
    if (line.lost.down) return;
    line.downAt = Math.max(line.downAt, this.#agenda.now + this.#travel(), line.stalled.down);
    this.#agenda.at(line.downAt, () => this.#tellClosed(line, code, code === 1006 ? "" : "bye"));
  }

  /** A frame of the gateway: acks pass through the faults of acks. */
  #send(line: Line, text: string): void {
    const ack = text.startsWith('{"headers"');
    if (!ack) {
      this.#lastCallback = { text };
      // A gateway that is half alive still tells a connection that it was replaced.
      const muted = this.#agenda.now < this.#muteUntil && !text.includes("disconnected_event");
      if (line.forgotten || muted) return;
      return this.#down(line, text);
    }
    if (!line.subscribed && text.includes('"errcode":0')) {
      line.subscribed = true;
      if (this.#agenda.now < this.#resetUntil)
        this.#agenda.at(this.#agenda.now + this.#resetAfterMs, () => this.#cut(line, 1006));
    }
    const { held } = line;
    if (this.#armed.length === 0 && line.delayed.size === 0 && held === undefined) return this.#down(line, text);
    const req_id = reqIdOf(text);
    if ((line.delayed.get(req_id) ?? 0) > this.#agenda.now) return this.#ackAfter(line, 0, req_id, text);
    if (held !== undefined) {
      line.held = undefined;
      const inOrder = reqIdOf(held) === req_id;
      this.#down(line, inOrder ? held : text);
      this.#down(line, inOrder ? text : held);
      return;
    }
    if (this.#armed.length === 0 || !this.#bent(line, req_id, text)) this.#down(line, text);
  }

  /** Whether a fault of acks took this one into its hands. */
  #bent(line: Line, req_id: string, text: string): boolean {
    const of = ackOf(line.commands.get(req_id));
    const armed = this.#armed.find(
      (fault) => fault.left > 0 && (fault.kind === "ack-swap" || ("of" in fault && fault.of === of)),
    );
    if (armed === undefined) return false;
    armed.left--;
    switch (armed.kind) {
      case "ack-drop":
        return true;
      case "ack-delay":
        this.#ackAfter(line, armed.ms, req_id, text);
        return true;
      case "ack-duplicate":
        this.#log.push({ what: "fault", at: this.#agenda.now, kind: armed.kind, repeats: req_id });
        this.#down(line, text);
        this.#down(line, text);
        return true;
      case "ack-swap":
        line.held = text;
        this.#agenda.at(this.#agenda.now + swapMs, () => {
          if (line.held !== text) return;
          line.held = undefined;
          this.#down(line, text);
        });
        return true;
      case "errcode":
        return false;
    }
  }

  #down(line: Line, text: string): void {
    if (line.lost.down || line.there !== "open") return;
    line.downAt = Math.max(line.downAt, this.#agenda.now + this.#travel(), line.stalled.down);
    this.#agenda.at(line.downAt, () => {
      // A socket that was let go may still have something to say; one that the client never opened has not.
      if (line.lost.down || line.here === "dialing") return;
      this.#log.push({ what: "received", at: this.#agenda.now, socket: line.n, text, parsed: undefined });
      line.events.received(text);
    });
  }

  #cut(line: Line, code: number): void {
    if (line.there !== "open") return;
    const how = code === 1006 ? ({ how: "reset" } as const) : ({ how: "close", code } as const);
    this.#perform(this.world.handle(this.#agenda.now, { type: "cut", connection: line.n, ...how }));
  }

  /** One way through the network. */
  #travel(): Millis {
    return Math.round(this.#latencyMs * (1 + this.#chance.next() / 2));
  }

  // -------------------------------------------------------------------------------------------------------------------
  // People

  /** A user says something. `told` hears whether it went out on a connection. */
  say(chat: Chat, content: string, told: (delivered: boolean) => void, msgid?: string): void {
    const call = ++this.#calls;
    this.#told.set(call, told);
    const message = {
      from: { userid: chat.userid },
      msgtype: "text",
      text: { content },
      ...(chat.chatid === undefined ? {} : { chattype: "group" as const, chatid: chat.chatid }),
      ...(msgid === undefined ? {} : { msgid }),
    };
    this.#perform(this.world.handle(this.#agenda.now, { type: "say", bot: bot.id, message, call }));
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Faults

  /** Lets a fault begin. Returns when it is over, as far as that does not depend on the client. */
  begin(fault: Fault): Millis {
    const { now } = this.#agenda;
    const line = this.#current;
    this.#log.push({ what: "fault", at: now, kind: fault.kind });
    switch (fault.kind) {
      case "reset":
        if (line) this.#cut(line, 1006);
        return now;
      case "close":
        if (line) this.#cut(line, fault.code);
        return now;
      case "deaf":
        if (line)
          line.lost = { up: line.lost.up || fault.lost !== "down", down: line.lost.down || fault.lost !== "up" };
        return now;
      case "stall":
        if (line) line.stalled[fault.way] = now + fault.forMs;
        return now + fault.forMs;
      case "refuse-dials":
        this.#refuseUntil = Math.max(this.#refuseUntil, now + fault.forMs);
        return this.#refuseUntil;
      case "hang-dials":
        this.#hangUntil = Math.max(this.#hangUntil, now + fault.forMs);
        return this.#hangUntil;
      case "gateway-restart":
        if (line) this.#cut(line, 1006);
        this.#refuseUntil = Math.max(this.#refuseUntil, now + fault.forMs);
        return this.#refuseUntil;
      case "reset-after-subscribe":
        this.#resetUntil = now + fault.forMs;
        this.#resetAfterMs = fault.afterMs;
        if (line) this.#cut(line, 1006);
        return this.#resetUntil + fault.afterMs;
      case "ack-drop":
      case "ack-delay":
      case "ack-duplicate":
      case "ack-swap":
      case "errcode":
        this.#armed.push({ ...fault, left: fault.times });
        // There is no subscribe to meet unless the line is lost.
        if (line && "of" in fault && fault.of === "subscribe") this.#cut(line, 1006);
        return now + ("ms" in fault ? fault.ms : 0);
      case "ack-stray":
        if (fault.while === "subscribing") this.#strayAtSubscribe = true;
        else if (line) this.#down(line, ackText(`stray_${this.#chance.between(0, 1e9)}`, 0));
        return now;
      case "forget":
        if (line) line.forgotten = true;
        return now;
      case "half-alive":
        this.#muteUntil = now + fault.forMs;
        return this.#muteUntil;
      case "kick":
        this.#perform(
          this.world.handle(now, { type: "kick", bot: bot.id, call: ++this.#calls, closeAfterMs: fault.closeAfterMs }),
        );
        return now;
      case "odd-frame":
        if (line) this.#down(line, oddFrame(fault.what));
        return now;
      case "redeliver":
        if (line && this.#lastCallback) this.#down(line, again(this.#lastCallback.text, fault.reqId, this.#chance));
        return now;
      case "gateway":
        this.#perform(this.world.handle(now, { type: "arm", fault: fault.fault, call: ++this.#calls }));
        return now;
      case "early-tick":
        return now;
    }
  }

  /** No fault acts from now on; what it broke stays broken. */
  endFaults(): void {
    this.#armed = [];
    this.#strayAtSubscribe = false;
    this.#muteUntil = 0;
    for (const fault of this.#inGateway.splice(0))
      this.#perform(this.world.handle(this.#agenda.now, { type: "disarm", fault, call: ++this.#calls }));
    const line = this.#current;
    if (line?.forgotten) this.#cut(line, 1006);
  }
}

/** Where somebody speaks: a single chat, or a group if there is a chatid. */
export interface Chat {
  readonly userid: string;
  readonly chatid?: string;
}

/** By wire name: what a fault can refuse. */
const refusables: Readonly<Record<string, Refusable>> = {
  aibot_subscribe: "subscribe",
  ping: "ping",
  aibot_respond_msg: "respond",
  aibot_send_msg: "send",
  aibot_upload_media_init: "init",
  aibot_upload_media_chunk: "chunk",
  aibot_upload_media_finish: "finish",
};

/** The req_id of an ack, without a look at the rest of it; req_ids hold no escapes. */
function reqIdOf(text: string): string {
  const from = text.indexOf(before) + before.length;
  return text.slice(from, text.indexOf('"', from));
}

const before = '"req_id":"';

function ackOf(cmd: string | undefined): AckOf {
  return cmd === "aibot_subscribe" ? "subscribe" : cmd === "ping" ? "ping" : "command";
}

function ackText(req_id: string, errcode: number): string {
  return `{"headers":{"req_id":"${req_id}"},"errcode":${errcode},"errmsg":"${errcode === 0 ? "ok" : `fault ${errcode}`}"}`;
}

function again(text: string, reqId: "same" | "new", chance: Chance): string {
  if (reqId === "same") return text;
  const frame = JSON.parse(text) as { headers: { req_id: string } };
  return JSON.stringify({ ...frame, headers: { req_id: `again${chance.between(0, 1e9)}` } });
}
