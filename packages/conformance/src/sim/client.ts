/**
 * A client made of the core: a connection, an answer's stream, a chat's budget, an upload, driven as a real driver drives
 * them, with an application on top that does what the schedule says.
 *
 * Decides nothing about the protocol: it performs effects in order, feeds their consequences back as inputs, wakes the
 * machines at their deadlines, and keeps what a store would keep over a restart. It writes down what it did and heard, and
 * what the machines' contract forbids at any step: an exception, a deadline that is not ahead, effects that differ after
 * a restore.
 */
import type * as Protocol from "@openws/protocol";
import type { Happening, Millis } from "../history.ts";
import type { Agenda } from "./agenda.ts";
import { Application } from "./application.ts";
import type { Answer, Sending } from "./application.ts";
import type { Chance } from "./chance.ts";
import type { Schedule } from "./schedule.ts";
import { bot } from "./wire.ts";
import type { Wire } from "./wire.ts";

/** The core to be tried: `@openws/protocol` itself, or a copy of it with a defect. */
export type Core = Pick<
  typeof Protocol,
  "Connection" | "Stream" | "Budget" | "Upload" | "planUpload" | "encode" | "encodeChunk"
>;

/** Something the contract of the machines forbids, caught in the act. */
export type Broken = { readonly at: Millis; readonly id: string; readonly message: string };

/** What waits for a request's outcome. */
type Settle = (outcome: Protocol.Outcome) => void;

/** The driver and its application. */
export class Client {
  readonly broken: Broken[] = [];
  readonly #core: Core;
  readonly #schedule: Schedule;
  readonly #agenda: Agenda;
  readonly #chance: Chance;
  readonly #wire: Wire;
  readonly #log: Happening[];
  readonly #application: Application;
  #connection: Protocol.Connection;
  /** The connection's deadline, as of its last input; looked at far more often than it changes. */
  #due: Millis = Infinity;
  /** The run's number of the connection's current socket. */
  #socket = 0;
  /** Counts processes, so that nothing of a dead one reaches its successor. */
  #process = 1;
  #keys = 0;
  #waiting = new Map<number, Settle>();
  #inputs: Protocol.ConnectionInput[] = [];
  #handling = false;

  constructor(core: Core, schedule: Schedule, agenda: Agenda, chance: Chance, wire: Wire, log: Happening[]) {
    this.#core = core;
    this.#schedule = schedule;
    this.#agenda = agenda;
    this.#chance = chance;
    this.#wire = wire;
    this.#log = log;
    this.#connection = this.#connect();
    this.#application = new Application(this, core, schedule, agenda, log);
  }

  get application(): Application {
    return this.#application;
  }

  get state(): string {
    return this.#connection.state;
  }

  /** What is open, for the oracle: all must be nothing in the end. */
  get left(): Record<string, number> {
    return { requests: this.#connection.pending, waiting: this.#waiting.size, ...this.#application.left };
  }

  /** When one of the machines wants to be woken. */
  get deadline(): Millis {
    return Math.min(this.#due, this.#application.deadline);
  }

  /** Wakes every machine whose deadline has come. */
  tick(): void {
    if (this.#due <= this.#agenda.now) this.#handle({ type: "tick" });
    this.#application.tick();
  }

  // -------------------------------------------------------------------------------------------------------------------
  // The operator

  start(): void {
    this.#note("start");
    this.#handle({ type: "start" });
  }

  /** Stops in good order: open answers are ended first, for as long as a supervisor is patient. */
  stop(): void {
    const process = this.#process;
    this.#application.cancel();
    this.#agenda.at(this.#agenda.now + drainMs, () => {
      if (process !== this.#process) return;
      this.#note("stop");
      this.#handle({ type: "stop" });
    });
  }

  /** Kills the process and starts another one, which finds what the last one stored. */
  restart(): void {
    this.#process++;
    if (this.#socket !== 0) this.#wire.drop(this.#socket);
    this.#socket = 0;
    this.#waiting = new Map();
    this.#inputs = [];
    this.#connection = this.#connect();
    this.#application.restore();
    this.#note("restart");
    this.#handle({ type: "start" });
  }

  /** A timer that rings too early, under a clock that went back. */
  tickEarly(backMs: Millis): void {
    const { now } = this.#agenda;
    if (this.#due <= now) return;
    const effects = this.#feed({ type: "tick" }, Math.max(0, now - backMs));
    if (effects.length > 0) this.#break("contract-3", `an early tick had effects: ${JSON.stringify(effects)}`);
  }

  /** Somebody reads the alarm in a while, and sees to it. */
  #callOperator(state: "kicked" | "refused"): void {
    const process = this.#process;
    // One that tries again by itself is given the time for it.
    const patienceMs = state === "refused" && this.#schedule.credentialsRetryMs !== undefined ? 100_000 : 40_000;
    this.#agenda.at(this.#agenda.now + patienceMs + this.#chance.between(0, 80_000), () => {
      if (process === this.#process && this.#connection.state === state) this.start();
    });
  }

  #note(did: "start" | "stop" | "restart"): void {
    this.#log.push({ what: "operator", at: this.#agenda.now, did });
  }

  // -------------------------------------------------------------------------------------------------------------------
  // The driver

  /** Sends a frame and tells what came of it. */
  request(frame: Protocol.EncodedFrame, settle: Settle, ackMs?: Millis): number {
    const key = ++this.#keys;
    this.#waiting.set(key, settle);
    this.#log.push({ what: "asked", at: this.#agenda.now, key, req_id: frame.req_id, text: frame.text });
    this.#handle(ackMs === undefined ? { type: "request", key, frame } : { type: "request", key, frame, ackMs });
    return key;
  }

  /** Gives a request up. */
  abandon(key: number): void {
    this.#handle({ type: "abandon", key });
  }

  /** A fresh req_id for what the application sends of itself. */
  reqId(): string {
    return `sim_${Math.floor(this.#chance.next() * 2 ** 32).toString(16)}_${++this.#keys}`;
  }

  #connect(): Protocol.Connection {
    const { afterKick, credentialsRetryMs } = this.#schedule;
    const { next: random } = this.#chance;
    const { id: botId, secret } = bot;
    return new this.#core.Connection({ botId, secret, random, afterKick, credentialsRetryMs });
  }

  /** As a driver does: consequences of an effect wait until all effects are performed. */
  #handle(input: Protocol.ConnectionInput): void {
    if (this.#handling) {
      this.#inputs.push(input);
      return;
    }
    this.#handling = true;
    for (let next: typeof input | undefined = input; next !== undefined; next = this.#inputs.shift()) {
      let effects: readonly Protocol.ConnectionEffect[] = [];
      try {
        effects = this.#feed(next);
      } catch (error) {
        this.#break("contract-1", `the connection threw on ${next.type}: ${String(error)}`);
      }
      for (const effect of effects) this.#perform(effect);
    }
    this.#handling = false;
    if (this.#due <= this.#agenda.now)
      this.#break("contract-4", `the connection's deadline ${this.#due} is not ahead (${this.#connection.state})`);
  }

  /** The only way into the connection. */
  #feed(input: Protocol.ConnectionInput, now = this.#agenda.now): readonly Protocol.ConnectionEffect[] {
    try {
      return this.#connection.handle(now, input);
    } finally {
      this.#due = this.#connection.deadline ?? Infinity;
    }
  }

  /** What a socket that was let go still has to say must mean nothing. */
  #handleStale(input: Protocol.ConnectionInput): void {
    // What falls due at this very instant is not its doing.
    if (this.#due <= this.#agenda.now) this.#handle({ type: "tick" });
    const effects = this.#feed(input);
    if (effects.length > 0)
      this.#break("contract-5", `an old socket's ${input.type} had effects: ${JSON.stringify(effects)}`);
    for (const effect of effects) this.#perform(effect);
  }

  #perform(effect: Protocol.ConnectionEffect): void {
    const at = this.#agenda.now;
    switch (effect.type) {
      case "dial": {
        const { socket } = effect;
        const process = this.#process;
        const feed = (input: Protocol.ConnectionInput): void => {
          if (process !== this.#process) return;
          if (n === this.#socket) this.#handle(input);
          else this.#handleStale(input);
        };
        const n = this.#wire.dial({
          opened: () => feed({ type: "opened", socket }),
          received: (text) => feed({ type: "received", socket, text }),
          closed: (code, reason) => feed({ type: "closed", socket, code, reason }),
        });
        this.#socket = n;
        return;
      }
      case "send":
        this.#wire.send(this.#socket, effect.text);
        return;
      case "drop":
        if (this.#socket !== 0) this.#wire.drop(this.#socket);
        this.#socket = 0;
        return;
      case "settle": {
        const key = effect.key as number;
        this.#log.push({ what: "settled", at, key, outcome: effect.outcome });
        const settle = this.#waiting.get(key);
        this.#waiting.delete(key);
        settle?.(effect.outcome);
        return;
      }
      case "deliver":
        this.#log.push({ what: "delivered", at, text: effect.text });
        this.#application.deliver(effect.push);
        return;
      case "moved":
        this.#log.push({ what: "moved", at, from: effect.from, to: effect.to, why: effect.why });
        if (effect.to === "ready") this.#application.ready();
        if (effect.to === "kicked" || effect.to === "refused") this.#callOperator(effect.to);
        return;
      case "notice":
        this.#log.push({ what: "noticed", at, text: JSON.stringify(effect.what) });
    }
  }

  /** Takes note of a broken contract. */
  #break(id: string, message: string): void {
    this.broken.push({ at: this.#agenda.now, id, message });
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Machines with a state

  /** Hands an input to an answer's stream; where the schedule restores, to one restored from JSON as well. */
  step(answer: Answer, input: Protocol.StreamInput): readonly Protocol.StreamEffect[] {
    const { now } = this.#agenda;
    const { stream, budget, options } = answer;
    try {
      const twin = this.#schedule.restoring
        ? this.#core.Stream.restore(copy(stream.state), {
            ...options,
            budget: this.#core.Budget.restore(copy(budget.state)),
          })
        : undefined;
      const expected = twin?.handle(now, input);
      const effects = stream.handle(now, input);
      if (twin !== undefined) this.#compare("stream", [effects, stream.state], [expected, twin.state]);
      if ((stream.deadline ?? Infinity) <= now)
        this.#break("contract-4", `a stream's deadline ${String(stream.deadline)} is not ahead`);
      return effects;
    } catch (error) {
      this.#break("contract-1", `the stream of answer ${answer.n} threw on ${input.type}: ${String(error)}`);
      return [];
    }
  }

  /** The same for an upload. */
  stepUpload(sending: Sending, input: Protocol.UploadInput): readonly Protocol.UploadEffect[] {
    const { now } = this.#agenda;
    const { upload, options } = sending;
    try {
      const twin = this.#schedule.restoring ? this.#core.Upload.restore(copy(upload.state), options) : undefined;
      const expected = twin?.handle(now, input);
      const effects = upload.handle(now, input);
      if (twin !== undefined) this.#compare("upload", [effects, upload.state], [expected, twin.state]);
      if ((upload.deadline ?? Infinity) <= now)
        this.#break("contract-4", `an upload's deadline ${String(upload.deadline)} is not ahead`);
      return effects;
    } catch (error) {
      this.#break("contract-1", `upload ${sending.n} threw on ${input.type}: ${String(error)}`);
      return [];
    }
  }

  /** Whether a machine and its restored twin agree. */
  #compare(machine: string, own: unknown, twin: unknown): void {
    // Members of a restored state may stand in another order, and mostly do not.
    if (JSON.stringify(own) === JSON.stringify(twin)) return;
    const [left, right] = [canonical(own), canonical(twin)];
    if (left !== right) this.#break("restore", `a restored ${machine} does otherwise: ${right} in place of ${left}`);
  }
}

/** How long a supervisor waits between asking a process to stop and killing it, less what the close takes. */
const drainMs = 4_500;

/** JSON in which the order of members does not matter. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) =>
    typeof member === "object" && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );
}

/** What a store makes of a state. */
function copy<State>(state: State): State {
  return JSON.parse(JSON.stringify(state)) as State;
}
