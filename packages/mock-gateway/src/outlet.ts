/**
 * The way out: acks in their order and after their latency, frames as far as faults let them, and the line in the log.
 *
 * It knows connections, not bots: whether something is to be said is decided elsewhere (world.ts, conversations.ts), what
 * an errcode says in behaviours.ts. Nothing leaves on a connection that is gone or silent. Everything that leaves, and
 * everything that came in, is logged here and shown to the lint from here.
 */
import { cmd } from "@openws/protocol/frames";
import { behaviours, type BehaviourId } from "./behaviours.ts";
import type { Chance } from "./chance.ts";
import type { Clock, Millis } from "./clock.ts";
import type { Connection } from "./connections.ts";
import type { Verdict } from "./conversations.ts";
import type { ArmedFault, Fault, Faults } from "./faults.ts";
import type { Lint } from "./lint.ts";
import type { Act, Fields } from "./session.ts";
import type { Switches } from "./switches.ts";
import { maskSecret, type LogEntry } from "./wirelog.ts";
import type { Manner, WorldEffect } from "./effects.ts";

/** What a command was, on the way to its ack. */
export interface Asked extends Heard {
  readonly reqId: string;
  readonly entry: LogEntry | undefined;
}

/** A frame that came in. */
export interface Heard {
  readonly connection: Connection;
  readonly text: string;
  readonly binary: boolean;
  readonly command: string | null;
  readonly frame: Fields | undefined;
  readonly act: Act;
}

/** What the way out needs of the world. */
export interface OutletPorts {
  readonly clock: Clock;
  readonly chance: Chance;
  readonly faults: Faults;
  readonly lint: Lint | undefined;
  readonly switches: () => Switches;
  readonly logging: boolean;
  /** Counts log entries; it outlives a reset. */
  readonly counter: { seq: number };
  readonly emit: (effect: WorldEffect) => void;
  /** The event that a req_id belongs to, if it is an event's. */
  readonly eventtypeOf: (reqId: string) => string | undefined;
  /** Whether a chatid is that of a known chat in another spelling. */
  readonly spelt: (bot: string, chatid: string) => boolean;
}

const maxHeldAckMs = 5_000;

/** The way out of one world. */
export class Outlet {
  readonly #ports: OutletPorts;

  constructor(ports: OutletPorts) {
    this.#ports = ports;
  }

  /** How long the next ack takes. */
  latency(): Millis {
    const { ackLatencyMs, ackJitterMs } = this.#ports.switches();
    if (ackLatencyMs === 0) return 0;
    const jitter = Math.min(ackJitterMs, ackLatencyMs);
    return Math.round(ackLatencyMs - jitter + 2 * jitter * this.#ports.chance.next());
  }

  /** Sends the ack of a command `latencyMs` from now, never before an ack that is owed already. */
  answer(
    asked: Asked,
    verdict: Verdict,
    latencyMs: Millis | "now",
    forced?: { errcode: number; errmsg: string },
  ): void {
    const { connection, reqId, entry } = asked;
    const { why, body } = verdict;
    const errcode = forced?.errcode ?? this.errcode(why);
    if (entry) judge(entry, verdict, errcode);
    this.observe(asked, verdict, errcode);
    let outcome = '"errcode":0,"errmsg":"ok"}';
    if (errcode !== 0) {
      const errmsg = this.#errmsg(forced?.errmsg ?? behaviours[why].errmsg ?? "", errcode, connection);
      outcome = `"errcode":${errcode},"errmsg":${JSON.stringify(errmsg)}}`;
    }
    const text = `{"headers":{"req_id":${JSON.stringify(reqId)}},${body ? `"body":${JSON.stringify(body)},` : ""}${outcome}`;
    const now = this.#ports.clock.transport;
    const at = latencyMs === "now" ? now : Math.max(now + latencyMs, connection.ackAt);
    if (at <= now) return this.#sendAck(asked, text, verdict, errcode);
    connection.ackAt = at;
    this.#ports.clock.after(at - now, () => this.#sendAck(asked, text, verdict, errcode));
  }

  /** The ack leaves, as far as faults let it. */
  #sendAck(asked: Asked, text: string, { why, sent }: Verdict, errcode: number): void {
    const { connection, reqId, command } = asked;
    const { faults, clock, lint } = this.#ports;
    lint?.acked(connection.session.n, reqId);
    const about: About = { cmd: null, reqId, acks: command ?? undefined, verdict: why, errcode };
    const release = connection.heldAck;
    connection.heldAck = undefined;
    const [armed] =
      faults.size === 0 ? none : faults.take(clock.transport, "ack", { bot: connection.session.bot, cmd: command });
    if (armed) this.#sendAckFaultily(asked, text, about, armed);
    else if (!connection.gone) this.out(connection, text, about);
    release?.();
    sent?.();
  }

  #sendAckFaultily({ connection, reqId, entry }: Asked, text: string, about: About, { id, fault }: ArmedFault): void {
    const out = (cause?: string): void => {
      if (!connection.gone) this.out(connection, text, cause === undefined ? about : { ...about, fault: cause });
    };
    if (entry) entry.fault = id;
    switch (fault.kind) {
      case "ack-drop":
        break;
      case "ack-delay":
        this.#ports.clock.after(fault.ms, () => out(id));
        break;
      case "ack-duplicate":
        out();
        out(id);
        break;
      case "ack-stray": {
        const stray = this.#ports.chance.id(24);
        this.out(connection, `{"headers":{"req_id":"${stray}"},"errcode":0,"errmsg":"ok"}`, {
          cmd: null,
          reqId: stray,
          fault: id,
        });
        out();
        break;
      }
      case "ack-bare":
        this.out(connection, `{"headers":{"req_id":${JSON.stringify(reqId)}}}`, { ...about, fault: id });
        break;
      case "ack-swap": {
        const held = (): void => {
          this.#ports.clock.cancel(giveUp);
          out(id);
        };
        const giveUp = this.#ports.clock.after(maxHeldAckMs, () => {
          if (connection.heldAck === held) connection.heldAck = undefined;
          out(id);
        });
        connection.heldAck = held;
        break;
      }
      default:
        out();
    }
  }

  /** Shows a frame and what came of it to the lint. */
  observe({ connection, text, binary, command, frame, act }: Heard, { why, note }: Verdict, errcode: number): void {
    if (!this.#ports.lint) return;
    const { bot = null, n } = connection.session;
    this.#ports.lint.observe({
      connection: n,
      bot,
      at: this.#ports.clock.world,
      now: this.#ports.clock.transport,
      text,
      binary,
      command,
      frame,
      act,
      why,
      errcode,
      note,
      eventtype: replies.has(command) ? this.#ports.eventtypeOf((act as { reqId: string }).reqId) : undefined,
      chatKnownOtherwise: act.type === "send" && errcode !== 0 && bot !== null && this.#ports.spelt(bot, act.chatid),
    });
  }

  /** The errcode of a behaviour, as the switches have it. */
  errcode(why: BehaviourId): number {
    const { errcode = 0, switch: name } = behaviours[why];
    if (name === undefined) return errcode;
    const value = this.#ports.switches()[name];
    // A switch that holds an errcode decides it; the others decide whether there is a refusal at all.
    return errcode !== 0 && typeof value === "number" && errcodeSwitches.has(name) ? value : errcode;
  }

  #errmsg(text: string, errcode: number, { address }: Connection): string {
    if (!this.#ports.switches().errmsgSuffix) return text;
    return `${text}, hint: [${this.#ports.chance.digits(19)}], from ip: ${address}, more info at https://open.work.weixin.qq.com/devtool/query?e=${errcode}`;
  }

  out(connection: Connection, text: string, about: About): void {
    if (connection.silent) return;
    connection.framesOut++;
    const entry = this.log(connection, "out", text, about);
    const effect: WorldEffect = { type: "send", connection: connection.session.n, text };
    if (this.#ports.faults.size > 0) {
      const occasion = { bot: connection.session.bot, cmd: about.acks ?? about.cmd };
      for (const { id, fault } of this.#ports.faults.take(this.#ports.clock.transport, "frame", occasion)) {
        if (entry) entry.fault = id;
        effect.manner = { ...effect.manner, ...mannerOf(fault) };
      }
    }
    this.#ports.emit(effect);
  }

  /** Logs what happened to a socket. */
  note(connection: Connection, text: string, why?: BehaviourId, fault?: string): void {
    this.log(connection, "socket", text, { verdict: why, fault });
  }

  /** Logs a text as it crosses the wire, before anything reads it. */
  log(connection: Connection, dir: LogEntry["dir"], text: string, about: About = nothing): LogEntry | undefined {
    if (!this.#ports.logging) return undefined;
    // Every member at once, the absent ones too: entries of one shape are made and read fastest.
    const entry: LogEntry = {
      seq: ++this.#ports.counter.seq,
      at: this.#ports.clock.world,
      transportAt: this.#ports.clock.transport,
      connection: connection.session.n,
      bot: connection.session.bot ?? null,
      dir,
      text: dir === "in" ? maskSecret(text) : text,
      cmd: about.cmd ?? null,
      reqId: about.reqId ?? null,
      acks: about.acks,
      verdict: about.verdict,
      errcode: about.errcode,
      note: about.note,
      fault: about.fault,
      binary: about.binary,
    };
    this.#ports.emit({ type: "log", entry });
    return entry;
  }
}

/** What is known of a frame besides its text. */
type About = Partial<LogEntry>;

const nothing: About = {};
const none: readonly ArmedFault[] = [];

/** Notes in the log what the gateway made of a frame. */
export const judge = (entry: LogEntry, { why, note }: Verdict, errcode: number): void => {
  entry.verdict = why;
  if (note !== undefined) entry.note = note;
  if (errcode !== 0) entry.errcode = errcode;
};

/** Commands under a req_id that is a callback's. */
const replies = new Set<string | null>([cmd.respond, cmd.welcome, cmd.update, cmd.enterCheck]);

const errcodeSwitches = new Set([
  "lateEventErrcode",
  "oversizeErrcode",
  "uploadErrcode",
  "concurrentStreamFrames",
  "sealedStream",
]);

/** The text the server says with an errcode, as far as it is known. */
export const errmsgOf = (errcode: number): string =>
  Object.values(behaviours).find((row) => row.errcode === errcode)?.errmsg ?? otherErrmsgs[errcode] ?? "unknown error";

const otherErrmsgs: Partial<Record<number, string>> = {
  40001: "invalid credential",
  40013: "invalid corpid",
  40201: "anti-spam check",
  45002: "content size out of limit",
  45033: "api concurrent out of limit",
  93008: "not in the group",
  93019: "invalid bot_id",
  600039: "unsupported message type",
};

const mannerOf = (fault: Fault): Manner => {
  switch (fault.kind) {
    case "binary":
      return { binary: true };
    case "split":
      return { split: fault.what };
    case "slow":
      return { bytesPerSecond: fault.bytesPerSecond };
    default:
      return {};
  }
};
