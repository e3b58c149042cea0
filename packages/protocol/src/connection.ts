/**
 * The client's side of the long connection: when to dial, subscribe, ping, give up a socket, wait, stay away.
 *
 * A *connection* is the lasting relation of one bot to the gateway; it uses one *socket* after another. This file decides
 * every transition and every deadline of it. It does not know clocks, timers, sockets, promises or entropy: `now` comes
 * with each call, effects go back to the caller, and `random` is an option.
 *
 * What shaped it, from the field: sockets that stay open and are deaf, so liveness is an answered JSON ping and never a
 * socket's own opinion; `close` events that come a minute late or never, so sockets carry generation numbers and a dropped
 * one is forgotten at once; a TCP connect that succeeds in front of a gateway that fails, so the back-off is reset by a
 * stable minute and by nothing else; instances that kick each other for ever, so a kick ends in a state of its own.
 *
 * Invariants, each a property test:
 *  1. `handle` throws `UsageError` for the caller's mistake, before anything changed, and nothing for what peers do.
 *  2. One call returns all that follows from it, in the order to perform it.
 *  3. A spurious `tick` does nothing; a `now` before the last one is taken as the last.
 *  4. After a call `deadline` is later than `now`, or absent.
 *  5. Inputs of a socket that is not the current one are ignored.
 *  6. Every request settles exactly once; nothing that has settled is sent.
 *  7. One frame of a req_id awaits its ack; a late ack confirms nothing (requests.ts).
 *  8. Attempts are counted until `ready` was stable, not until a socket opened.
 *  9. `kicked`, `refused` and `stopped` are three states; none is left but by `start`, or by the retry that was asked for.
 * 10. The secret occurs in the subscribe frame and in no other effect; where an errmsg or a close reason quotes it, it is
 *     masked.
 */
import { type Millis, backoff } from "./backoff.ts";
import { UsageError, classifySubscribe } from "./errors.ts";
import { type EncodedFrame, type GatewayFrame, type Reason, cmd, decodeGatewayFrame, encode } from "./frames.ts";
import { type RequestEffect, type RequestKey, Requests, makeReqId } from "./requests.ts";

/** The states a connection can be in. Only in `ready` are requests taken. */
export type ConnectionStateName =
  | "idle"
  | "dialing"
  | "subscribing"
  | "ready"
  | "waiting"
  | "kicked"
  | "refused"
  | "stopped";

/** Why a connection moved; for logs and metrics, and the labels of the diagram in spec/PROTOCOL.md. */
export type Cause =
  | "start"
  | "stop"
  /** The wait is over. */
  | "retry"
  | "opened"
  | "subscribed"
  /** The socket closed, or could not be opened. */
  | "closed"
  /** Dial and upgrade took too long. */
  | "dial-timeout"
  /** No ack to the subscribe. */
  | "subscribe-timeout"
  /** A ping and the probe after it went unanswered, or were answered by errors. */
  | "ping-timeout"
  /** No frame at all for `idleMs`. */
  | "silence"
  /** 846609: the gateway no longer knows this socket as subscribed. */
  | "not-subscribed"
  /** 45009, 45033: too many subscribes. */
  | "throttled"
  /** A subscribe was refused with a code that nothing is known about. */
  | "subscribe-failed"
  /** 853000 and its like: wrong bot id or secret. */
  | "credentials"
  /** `disconnected_event`: another instance of the bot has subscribed. */
  | "kicked";

type Transitions = Readonly<Record<ConnectionStateName, Readonly<Partial<Record<Cause, ConnectionStateName>>>>>;

/**
 * The whole of what can happen, from → cause → to. The machine moves through this table only, and the diagram in
 * spec/PROTOCOL.md is drawn from it.
 */
export const transitions: Transitions = {
  idle: { start: "dialing", stop: "stopped" },
  dialing: { opened: "subscribing", closed: "waiting", "dial-timeout": "waiting", stop: "stopped" },
  subscribing: {
    subscribed: "ready",
    closed: "waiting",
    "subscribe-timeout": "waiting",
    "subscribe-failed": "waiting",
    throttled: "waiting",
    "not-subscribed": "waiting",
    credentials: "refused",
    kicked: "kicked",
    stop: "stopped",
  },
  ready: {
    closed: "waiting",
    "ping-timeout": "waiting",
    silence: "waiting",
    "not-subscribed": "waiting",
    kicked: "kicked",
    stop: "stopped",
  },
  waiting: { retry: "dialing", start: "dialing", stop: "stopped" },
  kicked: { retry: "dialing", start: "dialing", stop: "stopped" },
  refused: { retry: "dialing", start: "dialing", stop: "stopped" },
  stopped: { start: "dialing" },
};

/** Counts the sockets of one connection; never used again. */
export type SocketId = number;

/** Facts are past participles, wishes are imperatives. */
export type ConnectionInput =
  /** Begin, begin again after `kicked`, `refused` or `stopped`, or skip the rest of a wait. Otherwise nothing. */
  | { readonly type: "start" }
  | { readonly type: "stop" }
  /** The socket that `dial` asked for is open, TLS and upgrade included. */
  | { readonly type: "opened"; readonly socket: SocketId }
  | { readonly type: "received"; readonly socket: SocketId; readonly text: string }
  /** The socket closed, or could not be opened. `reason` goes into the transition's detail. */
  | { readonly type: "closed"; readonly socket: SocketId; readonly code: number; readonly reason: string }
  /** Send a frame and say what came of it. Outside `ready` it settles as `not-ready` at once: the queue is the caller's. */
  | { readonly type: "request"; readonly key: RequestKey; readonly frame: EncodedFrame; readonly ackMs?: Millis }
  /** The caller no longer wants to know. */
  | { readonly type: "abandon"; readonly key: RequestKey }
  | { readonly type: "tick" };

/** What the caller must do, all of it, in order. */
export type ConnectionEffect =
  | { readonly type: "dial"; readonly socket: SocketId }
  | { readonly type: "send"; readonly socket: SocketId; readonly cmd: EncodedFrame["cmd"]; readonly text: string }
  /** Let the socket go now, without waiting for its `closed`, which would be ignored. */
  | { readonly type: "drop"; readonly socket: SocketId; readonly why: Cause }
  | Extract<RequestEffect, { type: "settle" }>
  /** Give this to the application; `text` is the frame as it came. */
  | { readonly type: "deliver"; readonly push: Push; readonly text: string }
  /** Something an operator may want counted; the connection goes on. */
  | { readonly type: "notice"; readonly what: Notice }
  | {
      readonly type: "moved";
      readonly from: ConnectionStateName;
      readonly to: ConnectionStateName;
      readonly why: Cause;
      /** errcode and errmsg, or close code and reason, where there are any. */
      readonly detail?: Detail;
    };

/** What the gateway pushes: a message or an event, of a known type or not. */
export type Push = Extract<GatewayFrame, { kind: "message" | "event" }>;

/** A number with its text: an errcode with its errmsg, or a close code with its reason. */
export interface Detail {
  readonly code: number;
  readonly text: string;
}

/** What is odd about something the gateway sent, or worth a figure. */
export type Notice =
  /** A ping was answered, so long after it had left. */
  | { readonly type: "pong"; readonly afterMs: Millis }
  | { readonly type: "undecodable"; readonly reason: Reason }
  | { readonly type: "bent"; readonly note: string }
  | { readonly type: "stray-ack"; readonly req_id: string; readonly why: "late" | "unknown"; readonly errcode: number }
  | { readonly type: "unknown-command"; readonly cmd: string }
  | { readonly type: "server-ping" }
  | { readonly type: "ping-refused"; readonly errcode: number; readonly errmsg: string };

/**
 * How a connection behaves. Durations are milliseconds; every default is the one to run with. Three of them set the pace,
 * `heartbeatMs`, `ackMs` and `backoffBaseMs`: the others follow from these unless they are given, so that a test which
 * runs everything fifty times as fast says three numbers. All are finite and at least 1.
 */
export interface ConnectionOptions {
  readonly botId: string;
  readonly secret: string;
  /** Undocumented members of the subscribe, passed on as they are. */
  readonly subscribe?: { readonly scene?: number; readonly plug_version?: string; readonly device_id?: string };
  /** The only entropy: yields [0, 1), as Math.random does. */
  readonly random: () => number;
  /** Between pings; 30,000, as WeCom recommends. */
  readonly heartbeatMs?: Millis | undefined;
  /** For the ack of a request that does not say; 10,000. */
  readonly ackMs?: Millis | undefined;
  /** First delay after a lost network, see backoff.ts; 1,000. */
  readonly backoffBaseMs?: Millis | undefined;
  /** Longest delay after a lost network; 30 × `backoffBaseMs`. */
  readonly backoffMaxMs?: Millis | undefined;
  /** An unanswered ping is a miss after this, an unanswered probe the end; `ackMs`, at most 10,000. So a drop is noticed within heartbeatMs + 2 × this. */
  readonly pingTimeoutMs?: Millis | undefined;
  /**
   * No frame of any kind for this long is the end, whatever the pings say; `heartbeatMs` + 4.5 × `pingTimeoutMs`, so 75,000
   * and always later than what the pings would say. Above `heartbeatMs`, or a quiet line would never last.
   */
  readonly idleMs?: Millis | undefined;
  /** For TCP, TLS and the upgrade together; `ackMs`, at most 10,000. */
  readonly dialMs?: Millis | undefined;
  /** For the ack of the subscribe; `ackMs`, at most 10,000. */
  readonly subscribeMs?: Millis | undefined;
  /** `ready` for this long proves the line: attempts count from zero again; 2 × `heartbeatMs`. */
  readonly stableMs?: Millis | undefined;
  /** First and longest delay after a throttled subscribe; 30 × and 300 × `backoffBaseMs`. */
  readonly throttleBaseMs?: Millis | undefined;
  readonly throttleMaxMs?: Millis | undefined;
  /** After a kick stay away; or come back after 30 s, 60 s …, and stay away once kicked twice in five minutes. "stop". */
  readonly afterKick?: "stop" | "rejoin" | undefined;
  /** Try refused credentials again this often, at least 60,000. Absent: never. */
  readonly credentialsRetryMs?: Millis | undefined;
}

/** Two kicks within this are another instance, not an accident: stay away. */
const kickWarMs = 5 * 60_000;
/** A kick longer ago than this says nothing any more. */
const kickMemoryMs = 60 * 60_000;
/** First and longest wait of `afterKick: "rejoin"`; it doubles with each kick remembered. */
const rejoinBaseMs = 30_000;
const rejoinMaxMs = 300_000;

type Settings = Required<ConnectionOptions> & {
  readonly [Name in Exclude<keyof ConnectionOptions, "credentialsRetryMs">]-?: NonNullable<ConnectionOptions[Name]>;
};

function settingsOf(options: ConnectionOptions): Settings {
  const { botId, secret, subscribe = {}, random, afterKick = "stop", credentialsRetryMs } = options;
  const { heartbeatMs = 30_000, ackMs = 10_000, backoffBaseMs = 1_000 } = options;
  // Patience with acks must not become patience with a dead line: these follow `ackMs` downwards only.
  const patienceMs = Math.min(ackMs, 10_000);
  const { pingTimeoutMs = patienceMs } = options;
  const settings: Settings = {
    botId,
    secret,
    subscribe,
    random,
    heartbeatMs,
    ackMs,
    backoffBaseMs,
    backoffMaxMs: options.backoffMaxMs ?? 30 * backoffBaseMs,
    pingTimeoutMs,
    idleMs: options.idleMs ?? heartbeatMs + 4.5 * pingTimeoutMs,
    dialMs: options.dialMs ?? patienceMs,
    subscribeMs: options.subscribeMs ?? patienceMs,
    stableMs: options.stableMs ?? 2 * heartbeatMs,
    throttleBaseMs: options.throttleBaseMs ?? 30 * backoffBaseMs,
    throttleMaxMs: options.throttleMaxMs ?? 300 * backoffBaseMs,
    afterKick,
    credentialsRetryMs,
  };
  checkSettings(settings);
  return settings;
}

function checkSettings(settings: Settings): void {
  const insist = (holds: boolean, path: string, must: string) => {
    if (!holds) throw new UsageError(`${path} must ${must}`, { path });
  };
  for (const name of ["botId", "secret"] as const)
    insist(typeof settings[name] === "string" && settings[name] !== "", name, "be a non-empty string");
  insist(typeof settings.random === "function", "random", "be a function that yields [0, 1)");
  for (const [name, value] of Object.entries(settings))
    if (name.endsWith("Ms") && value !== undefined)
      insist(Number.isFinite(value) && Number(value) >= 1, name, "be a finite number of milliseconds from 1");
  insist(settings.idleMs > settings.heartbeatMs, "idleMs", "be above heartbeatMs, or a quiet line would never last");
  insist(settings.backoffMaxMs >= settings.backoffBaseMs, "backoffMaxMs", "not be below backoffBaseMs");
  insist(settings.throttleMaxMs >= settings.throttleBaseMs, "throttleMaxMs", "not be below throttleBaseMs");
  insist(settings.afterKick === "stop" || settings.afterKick === "rejoin", "afterKick", 'be "stop" or "rejoin"');
  insist(
    settings.credentialsRetryMs === undefined || settings.credentialsRetryMs >= 60_000,
    "credentialsRetryMs",
    "be at least 60000: the gateway throttles bots that keep failing",
  );
}

/** What is true in each state, and only there. */
type State =
  | { readonly name: "idle" | "stopped" }
  | { readonly name: "dialing"; readonly socket: SocketId; readonly giveUpAt: Millis }
  | { readonly name: "subscribing"; readonly socket: SocketId; readonly req_id: string; readonly giveUpAt: Millis }
  | { readonly name: "ready"; readonly socket: SocketId; readonly since: Millis; heartbeat: Heartbeat; heardAt: Millis }
  | { readonly name: "waiting"; readonly until: Millis }
  | { readonly name: "kicked" | "refused"; readonly until: Millis | undefined };

/** Resting until the next ping; or a ping is out; or it went unanswered and a probe is out as well. */
type Heartbeat =
  | { readonly phase: "resting"; readonly until: Millis }
  | { readonly phase: "asked"; readonly ping: string; readonly sentAt: Millis; readonly until: Millis }
  | {
      readonly phase: "probing";
      readonly ping: string;
      readonly pingedAt: Millis;
      readonly probe: string;
      readonly sentAt: Millis;
      readonly until: Millis;
    };

/**
 * One bot's connection. The caller feeds it everything that happens, performs the effects it returns, and calls
 * `handle(now, {type: "tick"})` when `deadline` has come.
 */
export class Connection {
  readonly #settings: Settings;
  #state: State = { name: "idle" };
  #now: Millis = -Infinity;
  #sockets: SocketId = 0;
  readonly #requests = new Requests();
  /** Sockets lost, and subscribes throttled, since the line was last stable. */
  #attempts = 0;
  #throttles = 0;
  /** Kicks, each within `kickMemoryMs` of the one before. */
  #kicks = 0;
  #kickedAt: Millis = -Infinity;
  #effects: ConnectionEffect[] = [];

  /** Throws `UsageError` for options that cannot work. */
  constructor(options: ConnectionOptions) {
    this.#settings = settingsOf(options);
    this.#subscription("check");
  }

  /** The state by name; what led to it was told by the last `moved`. */
  get state(): ConnectionStateName {
    return this.#state.name;
  }

  /** Requests that have not settled. */
  get pending(): number {
    return this.#requests.size;
  }

  /** Req_ids that are remembered, for an open request or an ack that is owed; all that grows and shrinks in here. */
  get lanes(): number {
    return this.#requests.lanes;
  }

  /** When the next `tick` is due if nothing else comes first; undefined when only a caller can change anything. */
  get deadline(): Millis | undefined {
    const state = this.#state;
    switch (state.name) {
      case "dialing":
      case "subscribing":
        return state.giveUpAt;
      case "ready":
        return Math.min(
          state.heartbeat.until,
          state.heardAt + this.#settings.idleMs,
          this.#requests.deadline ?? Infinity,
        );
      case "waiting":
      case "kicked":
      case "refused":
        return state.until;
      default:
        return undefined;
    }
  }

  /**
   * Takes in one thing that happened or is wanted, at `now`. Returns everything that follows from it, in order. Throws
   * `UsageError`, and has then changed nothing, for a `now` that is no time, and for a request whose key is open already or
   * whose `ackMs` is not a time to wait.
   */
  handle(now: Millis, input: ConnectionInput): readonly ConnectionEffect[] {
    this.#check(now, input);
    this.#now = Math.max(this.#now, now);
    this.#effects = [];
    this.#forgive();
    // What came was sent before the deadline was noticed, so it counts; but a line that is over takes no request any more.
    if (input.type === "request") this.#expire();
    this.#take(input);
    this.#expire();
    return this.#effects;
  }

  /** The only place that throws, before anything has changed. */
  #check(now: Millis, input: ConnectionInput): void {
    if (!(Math.abs(now) <= Number.MAX_SAFE_INTEGER))
      throw new UsageError("now must be milliseconds of a clock", { path: "now" });
    if (input.type === "request") this.#requests.check({ key: input.key, ackMs: input.ackMs ?? this.#settings.ackMs });
  }

  /** What went wrong before the line was stable no longer counts. */
  #forgive(): void {
    if (this.#state.name !== "ready" || this.#now - this.#state.since < this.#settings.stableMs) return;
    this.#attempts = 0;
    this.#throttles = 0;
  }

  #take(input: ConnectionInput): void {
    const state = this.#state;
    switch (input.type) {
      case "start":
        if (transitions[state.name].start !== undefined) this.#dial("start");
        return;
      case "stop":
        if (state.name !== "stopped") this.#leave("stop", { name: "stopped" });
        return;
      case "opened":
        if (state.name === "dialing" && input.socket === state.socket) this.#subscribe(state.socket);
        return;
      case "closed":
        if ("socket" in state && input.socket === state.socket)
          this.#lose("closed", { code: input.code, text: this.#masked(input.reason) });
        return;
      case "received":
        if ((state.name === "subscribing" || state.name === "ready") && input.socket === state.socket)
          this.#receive(input.text);
        return;
      case "request":
        if (state.name === "ready")
          this.#perform(
            this.#requests.submit(this.#now, {
              key: input.key,
              frame: input.frame,
              ackMs: input.ackMs ?? this.#settings.ackMs,
            }),
          );
        else this.#effects.push({ type: "settle", key: input.key, outcome: { type: "not-ready" } });
        return;
      case "abandon":
        this.#perform(this.#requests.abandon(input.key));
        return;
      case "tick":
        return;
    }
  }

  /** Does what has become due. At most one transition can: the state it leads to has its deadlines ahead. */
  #expire(): void {
    const state = this.#state;
    switch (state.name) {
      case "dialing":
        if (state.giveUpAt <= this.#now) this.#lose("dial-timeout");
        return;
      case "subscribing":
        if (state.giveUpAt <= this.#now) this.#lose("subscribe-timeout");
        return;
      case "ready":
        if (state.heardAt + this.#settings.idleMs <= this.#now) this.#lose("silence");
        else if (state.heartbeat.until <= this.#now) this.#beat(state);
        // Last, so that nothing is sent over a line that is over: then no request is open here any more.
        this.#perform(this.#requests.tick(this.#now));
        return;
      case "waiting":
      case "kicked":
      case "refused":
        if (state.until !== undefined && state.until <= this.#now) this.#dial("retry");
        return;
      default:
        return;
    }
  }

  // --- towards a subscription

  #dial(why: "start" | "retry"): void {
    const socket = ++this.#sockets;
    this.#move(why, { name: "dialing", socket, giveUpAt: this.#now + this.#settings.dialMs });
    this.#effects.push({ type: "dial", socket });
  }

  #subscribe(socket: SocketId): void {
    const { subscribeMs, random } = this.#settings;
    const req_id = makeReqId("subscribe", random);
    this.#move("opened", { name: "subscribing", socket, req_id, giveUpAt: this.#now + subscribeMs });
    this.#effects.push({ type: "send", socket, cmd: cmd.subscribe, text: this.#subscription(req_id) });
  }

  #subscription(req_id: string): string {
    const { botId, secret, subscribe } = this.#settings;
    return encode({ cmd: cmd.subscribe, headers: { req_id }, body: { bot_id: botId, secret, ...subscribe } }).text;
  }

  #subscribed(socket: SocketId): void {
    this.#move("subscribed", {
      name: "ready",
      socket,
      since: this.#now,
      heardAt: this.#now,
      heartbeat: { phase: "resting", until: this.#now + this.#settings.heartbeatMs },
    });
  }

  /** A failed subscribe leaves the socket open and useless: it is dropped in every case. */
  #subscribeRefused(errcode: number, errmsg: string): void {
    const detail = { code: errcode, text: errmsg };
    const { credentialsRetryMs, random } = this.#settings;
    switch (classifySubscribe(errcode, errmsg)) {
      case "credentials":
        this.#leave(
          "credentials",
          {
            name: "refused",
            until:
              credentialsRetryMs === undefined
                ? undefined
                : this.#now + backoff(0, random(), credentialsRetryMs, Infinity),
          },
          detail,
        );
        return;
      case "throttled":
        this.#lose("throttled", detail);
        return;
      case "not-subscribed":
        this.#lose("not-subscribed", detail);
        return;
      default:
        this.#lose("subscribe-failed", detail);
    }
  }

  // --- what the gateway sends

  #receive(text: string): void {
    const state = this.#state;
    if (state.name === "ready") state.heardAt = this.#now;
    const decoded = decodeGatewayFrame(text);
    if ("bad" in decoded) {
      this.#notice({ type: "undecodable", reason: decoded.bad });
      return;
    }
    for (const note of decoded.notes) this.#notice({ type: "bent", note });
    const frame = decoded.ok;
    switch (frame.kind) {
      case "ack":
        this.#acknowledged(frame);
        return;
      case "message":
        this.#effects.push({ type: "deliver", push: frame, text });
        return;
      case "event":
        this.#effects.push({ type: "deliver", push: frame, text });
        if (frame.known && frame.body.event.eventtype === "disconnected_event") this.#kicked();
        return;
      case "ping":
        this.#notice({ type: "server-ping" });
        return;
      case "unknown":
        this.#notice({ type: "unknown-command", cmd: frame.cmd });
    }
  }

  #acknowledged(came: Extract<GatewayFrame, { kind: "ack" }>): void {
    const state = this.#state;
    const ack = came.errcode === 0 ? came : { ...came, errmsg: this.#masked(came.errmsg) };
    const { req_id, errcode, errmsg } = ack;
    if (state.name === "subscribing" && req_id === state.req_id) {
      if (errcode === 0) this.#subscribed(state.socket);
      else this.#subscribeRefused(errcode, errmsg);
      return;
    }
    if (state.name !== "ready") {
      this.#notice({ type: "stray-ack", req_id, why: "unknown", errcode });
      return;
    }
    if (this.#pingAnswered(state, req_id, errcode, errmsg)) return;
    const lost = errcode === notSubscribed;
    this.#perform(this.#requests.acknowledge(this.#now, ack, lost ? "end" : undefined));
    if (lost) this.#lose("not-subscribed", { code: errcode, text: errmsg });
  }

  #kicked(): void {
    const { afterKick, random } = this.#settings;
    const sinceMs = this.#now - this.#kickedAt;
    this.#kicks = sinceMs < kickMemoryMs ? this.#kicks + 1 : 1;
    this.#kickedAt = this.#now;
    const until =
      afterKick === "rejoin" && sinceMs >= kickWarMs
        ? this.#now + backoff(this.#kicks - 1, random(), rejoinBaseMs, rejoinMaxMs)
        : undefined;
    this.#leave("kicked", { name: "kicked", until });
  }

  // --- heartbeat

  /** The heartbeat's own deadline has come: ping, then probe, then the end. */
  #beat(state: Extract<State, { name: "ready" }>): void {
    const { heartbeat } = state;
    const until = this.#now + this.#settings.pingTimeoutMs;
    switch (heartbeat.phase) {
      case "resting":
        state.heartbeat = { phase: "asked", ping: this.#ping(state.socket), sentAt: this.#now, until };
        return;
      case "asked":
        this.#probe(state, heartbeat);
        return;
      case "probing":
        this.#lose("ping-timeout");
    }
  }

  #probe(state: Extract<State, { name: "ready" }>, { ping, sentAt }: Extract<Heartbeat, { phase: "asked" }>): void {
    const until = this.#now + this.#settings.pingTimeoutMs;
    const probe = this.#ping(state.socket);
    state.heartbeat = { phase: "probing", ping, pingedAt: sentAt, probe, sentAt: this.#now, until };
  }

  #ping(socket: SocketId): string {
    const req_id = makeReqId("ping", this.#settings.random);
    const text = `{"cmd":"ping","headers":{"req_id":"${req_id}"}}`;
    this.#effects.push({ type: "send", socket, cmd: cmd.ping, text });
    return req_id;
  }

  /** Whether the ack was a ping's; if so the heartbeat takes note. An error is a miss: the gateway answers, but not for us. */
  #pingAnswered(state: Extract<State, { name: "ready" }>, req_id: string, errcode: number, errmsg: string): boolean {
    const { heartbeat } = state;
    if (heartbeat.phase === "resting") return false;
    const probed = heartbeat.phase === "probing" && req_id === heartbeat.probe;
    if (req_id !== heartbeat.ping && !probed) return false;
    if (errcode === 0) {
      const sentAt = heartbeat.phase === "asked" || probed ? heartbeat.sentAt : heartbeat.pingedAt;
      this.#notice({ type: "pong", afterMs: this.#now - sentAt });
      state.heartbeat = {
        phase: "resting",
        until: Math.max(this.#now + 1, heartbeat.sentAt + this.#settings.heartbeatMs),
      };
      return true;
    }
    this.#notice({ type: "ping-refused", errcode, errmsg });
    if (errcode === notSubscribed) this.#lose("not-subscribed", { code: errcode, text: errmsg });
    else if (heartbeat.phase === "asked") this.#probe(state, heartbeat);
    else if (probed) this.#lose("ping-timeout", { code: errcode, text: errmsg });
    return true;
  }

  // --- away from a socket

  /** The line is lost for a reason that time may heal: wait as long as this kind of trouble asks for. */
  #lose(why: Cause, detail?: Detail): void {
    const { random, backoffBaseMs, backoffMaxMs, throttleBaseMs, throttleMaxMs } = this.#settings;
    const waitMs =
      why === "throttled"
        ? backoff(this.#throttles++, random(), throttleBaseMs, throttleMaxMs)
        : backoff(this.#attempts++, random(), backoffBaseMs, backoffMaxMs);
    this.#leave(why, { name: "waiting", until: this.#now + waitMs }, detail);
  }

  /** Lets the socket go, if there is one, settles what it leaves open, and moves. */
  #leave(why: Cause, to: State, detail?: Detail): void {
    const state = this.#state;
    if ("socket" in state) this.#effects.push({ type: "drop", socket: state.socket, why });
    this.#perform(this.#requests.end(why === "stop" ? "stopped" : "connection-lost"));
    this.#move(why, to, detail);
  }

  #move(why: Cause, to: State, detail?: Detail): void {
    const from = this.#state.name;
    if (transitions[from][why] !== to.name) throw new Error(`no transition from ${from} to ${to.name} by ${why}`);
    this.#state = to;
    this.#effects.push({ type: "moved", from, to: to.name, why, ...(detail === undefined ? {} : { detail }) });
  }

  #perform(effects: readonly RequestEffect[]): void {
    for (const effect of effects) {
      if (effect.type === "settle") this.#effects.push(effect);
      else if (effect.type === "stray") this.#notice({ ...effect, type: "stray-ack" });
      else if ("socket" in this.#state)
        this.#effects.push({ type: "send", socket: this.#state.socket, cmd: effect.cmd, text: effect.text });
    }
  }

  #notice(what: Notice): void {
    this.#effects.push({ type: "notice", what });
  }

  /** What the gateway says in its own words ends up in logs. */
  #masked(said: string): string {
    return said.replaceAll(this.#settings.secret, "***");
  }
}

/** On any ack: this socket has no subscription (any more). Before April 2026 the number meant something else, on commands we do not send. */
const notSubscribed = 846_609;
