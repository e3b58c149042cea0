/**
 * The only loop: turns socket events and calls into inputs of a `Connection`, performs its effects, and keeps one alarm.
 *
 * Decides nothing about the protocol and owns all that is not pure: which runtime socket belongs to which socket id, whose
 * call waits for which request. It never awaits, so nothing a handler does can hold up the line.
 */
import { Connection, FleetingMap, cmd } from "@openws/protocol";
import type {
  ConnectionEffect,
  ConnectionInput,
  ConnectionOptions,
  ConnectionStateName,
  EncodedFrame,
  Millis,
  Outcome,
  Push,
  RequestKey,
} from "@openws/protocol";
import type { Runtime, Socket } from "./runtime.ts";

/** What a driver tells its owner. Called synchronously, in the order things happened; must not throw. */
export interface DriverEvents {
  deliver(push: Push, text: string): void;
  moved(effect: Extract<ConnectionEffect, { type: "moved" }>): void;
  notice(what: Extract<ConnectionEffect, { type: "notice" }>["what"]): void;
}

/**
 * Told of every frame, for figures: called for each one that comes or goes, with nothing made for it. Must not throw, and
 * must be quick.
 */
export interface LineMeter {
  /** `name` is the frame's command, or `ack`, or `other`: what the gateway calls a frame that is not known is its own choice. */
  frame(direction: "in" | "out", name: string): void;
  /** What was sent got its ack in time, `afterMs` after it had left; `errcode` is not 0 where it was refused. */
  acked(name: string, afterMs: Millis, errcode: number): void;
}

/** Drives one bot's connection over a runtime's sockets. */
export class Driver {
  #connection: Connection;
  readonly #options: ConnectionOptions;
  readonly #url: string;
  readonly #runtime: Runtime;
  readonly #events: DriverEvents;
  readonly #meter: LineMeter | undefined;
  readonly #waiting = new FleetingMap<RequestKey, (outcome: Outcome) => void>();
  #socket: Socket | undefined;
  #requests = 0;
  #alarm: { at: Millis; cancel: () => void } | undefined;
  #inputs: ConnectionInput[] = [];
  #handling = false;
  #heardAt: Millis | undefined;

  /** Throws `UsageError` for options that cannot work; does nothing else until `start`. */
  constructor(
    url: string,
    options: Omit<ConnectionOptions, "random">,
    runtime: Runtime,
    events: DriverEvents,
    meter?: LineMeter,
  ) {
    this.#options = { ...options, random: () => runtime.random() };
    this.#connection = new Connection(this.#options);
    this.#url = url;
    this.#runtime = runtime;
    this.#events = events;
    this.#meter = meter;
  }

  get state(): ConnectionStateName {
    return this.#connection.state;
  }

  /** Whether there is no line, and none will come before the next `start`. */
  get over(): boolean {
    const { state, deadline } = this.#connection;
    return (
      state === "stopped" || state === "idle" || ((state === "kicked" || state === "refused") && deadline === undefined)
    );
  }

  /** When the last frame came, on the runtime's clock. */
  get heardAt(): Millis | undefined {
    return this.#heardAt;
  }

  /** Dials, and from then on keeps the line; after a kick, a refusal or a stop it begins again. */
  start(secret: string = this.#options.secret): void {
    // A line that is over has no socket and no request: another secret makes another connection.
    if (secret !== this.#options.secret && this.over) this.#connection = new Connection({ ...this.#options, secret });
    this.#handle({ type: "start" });
  }

  /** Closes the socket and stays away. Open requests settle as `stopped`. */
  stop(): void {
    this.#handle({ type: "stop" });
  }

  /** Sends a frame and calls `settle` once with what came of it, at once when there is no line. */
  send(frame: EncodedFrame, settle: (outcome: Outcome) => void, ackMs?: Millis): void {
    const key = ++this.#requests;
    this.#waiting.set(key, settle);
    this.#handle(ackMs === undefined ? { type: "request", key, frame } : { type: "request", key, frame, ackMs });
  }

  /** As `send`, as a promise. It never rejects: every failure is an outcome. */
  request(frame: EncodedFrame, ackMs?: Millis): Promise<Outcome> {
    return new Promise((resolve) => {
      this.send(frame, resolve, ackMs);
    });
  }

  /** An effect's consequences may come back while effects are being performed: they wait for their turn. */
  #handle(input: ConnectionInput): void {
    if (this.#handling) {
      this.#inputs.push(input);
      return;
    }
    this.#handling = true;
    try {
      this.#take(input);
      for (let next = this.#inputs.shift(); next !== undefined; next = this.#inputs.shift()) this.#take(next);
    } finally {
      this.#handling = false;
    }
    this.#arm();
  }

  #take(input: ConnectionInput): void {
    const now = this.#runtime.now();
    if (input.type === "received") this.#heardAt = now;
    const effects = this.#connection.handle(now, input);
    if (input.type === "received") this.#meter?.frame("in", nameOf(effects));
    for (const effect of effects) this.#perform(effect);
  }

  #perform(effect: ConnectionEffect): void {
    switch (effect.type) {
      case "dial": {
        const { socket } = effect;
        this.#socket = this.#runtime.dial(this.#url, {
          opened: () => this.#handle({ type: "opened", socket }),
          received: (text) => this.#handle({ type: "received", socket, text }),
          closed: (code, reason) => this.#handle({ type: "closed", socket, code, reason }),
        });
        return;
      }
      case "send":
        this.#socket?.send(effect.text);
        this.#meter?.frame("out", effect.cmd);
        return;
      case "drop":
        this.#socket?.drop(effect.why === "stop");
        this.#socket = undefined;
        return;
      case "settle": {
        const { outcome, cmd: name, afterMs } = effect;
        if (name !== undefined && afterMs !== undefined)
          this.#meter?.acked(name, afterMs, outcome.type === "refused" ? outcome.errcode : 0);
        const settle = this.#waiting.get(effect.key);
        this.#waiting.delete(effect.key);
        settle?.(outcome);
        return;
      }
      case "deliver":
        this.#events.deliver(effect.push, effect.text);
        return;
      case "moved":
        this.#events.moved(effect);
        return;
      case "notice":
        this.#events.notice(effect.what);
    }
  }

  /** An alarm that rings too early is a harmless tick, so it is only ever moved forward: most frames move no timer. */
  #arm(): void {
    const at = this.#connection.deadline;
    if (at === undefined) {
      this.#alarm?.cancel();
      this.#alarm = undefined;
      return;
    }
    if (this.#alarm !== undefined && this.#alarm.at <= at) return;
    this.#alarm?.cancel();
    const cancel = this.#runtime.wakeAt(at, () => {
      this.#alarm = undefined;
      this.#handle({ type: "tick" });
    });
    this.#alarm = { at, cancel };
  }
}

/** What kind of frame it was that led to this. An ack, if nothing says otherwise: the subscribe's only moves the line. */
function nameOf(effects: readonly ConnectionEffect[]): string {
  for (const effect of effects) {
    if (effect.type === "deliver") return effect.push.kind === "message" ? cmd.message : cmd.event;
    if (effect.type !== "notice") continue;
    const { type } = effect.what;
    if (type === "server-ping") return cmd.ping;
    if (type === "undecodable" || type === "unknown-command") return "other";
  }
  return "ack";
}
