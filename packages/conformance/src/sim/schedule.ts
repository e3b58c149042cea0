/**
 * A schedule: everything that will happen to a client in one simulated quarter of an hour or more, as data.
 *
 * Decides what a schedule can hold, how one is drawn from a seed, and how a failing one is made smaller. Knows nothing of
 * how it is carried out (sim.ts) nor of what is right (invariants.ts).
 *
 * A drawn schedule lasts 15 virtual minutes at least and has three faults or more, at least 21 messages of users that are
 * to be answered by streams, and pushes, uploads and interruptions in some. A *shrunk* one keeps to no such number: it is
 * what is left when everything was taken away that the failure does not need.
 */
import * as fc from "fast-check";
import type { Millis } from "../history.ts";
import { Chance } from "./chance.ts";

/** One run, whole. Equal schedules give equal histories. */
export interface Schedule {
  /** For jitter, ids and the gateway's own chance. */
  readonly seed: number;
  /** One way, before jitter. */
  readonly latencyMs: Millis;
  /** The gateway's switches on which sources disagree. */
  readonly gateway: {
    readonly quotaCountsRefreshes?: boolean;
    readonly oldReqIdAfterReconnect?: "accept" | "refuse";
    readonly redeliverUnanswered?: boolean;
    readonly ackLatencyMs?: Millis;
  };
  /** Whether the client comes back after a kick. */
  readonly afterKick: "stop" | "rejoin";
  /** How often refused credentials are tried again; absent: never. */
  readonly credentialsRetryMs?: Millis;
  /** Whether each machine is put away as JSON and restored before each of its steps. */
  readonly restoring: boolean;
  readonly commands: readonly Command[];
  readonly faults: readonly Fault[];
}

/** What people, the application and the operator do. */
export type Command =
  /**
   * A user speaks, and is answered by a text of `pieces`, each of about `bytes`, one every `everyMs`; so many ms after
   * the last the text ends, in one of four ways. A `silent` application finishes without having said anything. A text
   * that is finished after 0 ms is known at once: its stream is one frame.
   */
  | {
      readonly do: "say";
      readonly at: Millis;
      readonly chat: number;
      readonly pieces: number;
      readonly everyMs: Millis;
      readonly bytes: number;
      readonly ending: "finish" | "fail" | "cancel" | "silent";
      /** A remark beside the stream, on the same req_id; "withdrawn" is one that the application gives up at once. */
      readonly aside?: "sent" | "withdrawn";
    }
  /** The application pushes to a chat. */
  | { readonly do: "push"; readonly at: Millis; readonly chat: number }
  /** The application uploads a file of so many bytes and pushes it. */
  | { readonly do: "upload"; readonly at: Millis; readonly chat: number; readonly bytes: number }
  /** The process is killed and starts again: what was stored is restored, the connection begins afresh. */
  | { readonly do: "restart"; readonly at: Millis }
  /** The operator tells the client to start, which is right at any time. */
  | { readonly do: "start"; readonly at: Millis }
  /** The operator stops the client in good order, and starts it again. */
  | { readonly do: "stop"; readonly at: Millis; readonly forMs: Millis };

/** What goes wrong. Faults without `forMs` or `times` act once, or on the socket that is current at `at`. */
export type Fault =
  // --- the network
  /** TCP ends without a close frame. */
  | { readonly kind: "reset"; readonly at: Millis }
  /** The gateway closes the socket. */
  | { readonly kind: "close"; readonly at: Millis; readonly code: number }
  /** What is sent in one direction, or in both, never arrives, and nobody is told. */
  | { readonly kind: "deaf"; readonly at: Millis; readonly lost: "up" | "down" | "both" }
  /** What is sent arrives late, in order. */
  | { readonly kind: "stall"; readonly at: Millis; readonly forMs: Millis; readonly way: "up" | "down" }
  /** Dials are refused, as by a proxy that answers 502. */
  | { readonly kind: "refuse-dials"; readonly at: Millis; readonly forMs: Millis }
  /** Dials are never answered. */
  | { readonly kind: "hang-dials"; readonly at: Millis; readonly forMs: Millis }
  /** The gateway goes: all sockets reset, dials refused until it is back. */
  | { readonly kind: "gateway-restart"; readonly at: Millis; readonly forMs: Millis }
  /** A gateway that ends each socket so many ms after it acknowledged the subscribe. */
  | { readonly kind: "reset-after-subscribe"; readonly at: Millis; readonly forMs: Millis; readonly afterMs: Millis }
  // --- the gateway's answers
  /** Acks to commands, subscribes or pings are lost on the way. */
  | { readonly kind: "ack-drop"; readonly at: Millis; readonly times: number; readonly of: AckOf }
  | { readonly kind: "ack-delay"; readonly at: Millis; readonly times: number; readonly of: AckOf; readonly ms: Millis }
  | { readonly kind: "ack-duplicate"; readonly at: Millis; readonly times: number; readonly of: AckOf }
  /** An ack overtakes the one before it. */
  | { readonly kind: "ack-swap"; readonly at: Millis; readonly times: number }
  /** An ack that nobody asked for. */
  | { readonly kind: "ack-stray"; readonly at: Millis; readonly while: "now" | "subscribing" }
  /** Commands are refused in place of being taken. */
  | {
      readonly kind: "errcode";
      readonly at: Millis;
      readonly times: number;
      readonly of: Refusable;
      readonly errcode: number;
    }
  /** The gateway forgets the subscription: pings are acked, commands answered 846609, nothing is delivered. */
  | { readonly kind: "forget"; readonly at: Millis }
  /** Pings and commands are acked, nothing is delivered, for so long. */
  | { readonly kind: "half-alive"; readonly at: Millis; readonly forMs: Millis }
  /** Another instance subscribes; the old socket is cut so much later. */
  | { readonly kind: "kick"; readonly at: Millis; readonly closeAfterMs: Millis | "never" }
  // --- what it sends unasked
  | { readonly kind: "odd-frame"; readonly at: Millis; readonly what: OddFrame }
  /** The last callback once more: the very frame, or with a new req_id. */
  | { readonly kind: "redeliver"; readonly at: Millis; readonly reqId: "same" | "new" }
  /** A fault of the mock's own vocabulary, where it needs the gateway's knowledge. */
  | { readonly kind: "gateway"; readonly at: Millis; readonly fault: GatewayFault }
  // --- the client's own surroundings
  /** A timer that rings too early, and a clock that shows an earlier time for that call. */
  | { readonly kind: "early-tick"; readonly at: Millis; readonly backMs: Millis };

/** Armed in the gateway itself, once: see its FAULTS.md. */
export type GatewayFault = (typeof gatewayFaults)[number];
export const gatewayFaults = [
  { kind: "callback-before-ack" },
  { kind: "burst", count: 5 },
  { kind: "redeliver", reqId: "new", over: "next" },
  { kind: "redeliver", reqId: "same", over: "next" },
  { kind: "throttle" },
  { kind: "nat-drop" },
  { kind: "half-open" },
  { kind: "odd-frame", what: "unknown-field" },
  { kind: "odd-frame", what: "missing-field" },
  { kind: "upload", what: "lose-chunk" },
  { kind: "upload", what: "finish-fails" },
  { kind: "clock-jump", ms: 120_000 },
] as const;

/** Whose acks. */
export type AckOf = "subscribe" | "ping" | "command";

/** Which commands can be refused by a fault; `chunk` and `finish` are an upload's. */
export type Refusable = "subscribe" | "ping" | "respond" | "send" | "init" | "chunk" | "finish";

/** Frames that a client must survive. */
export type OddFrame = (typeof oddFrames)[number];
export const oddFrames = [
  "not-json",
  "empty",
  "null",
  "array",
  "number",
  "unknown-cmd",
  "unknown-event",
  "unknown-msgtype",
  "missing-body",
  "control-chars",
  "server-ping",
  "huge-integer",
  "binary-noise",
] as const;

/** A schedule lasts this long at least: its last question is asked then. */
export const leastMs = 15 * 60_000;

/** So many messages of users at least, and the last question, are to be answered by streams. */
const leastSays = 20;

/** There are so many faults at least. */
const leastFaults = 3;

/** What is drawn begins within this time. The rest is for faults to end in, and for the client to come back. */
const drawnMs = leastMs - 90_000;

/** How many chats there are: four users and two groups. */
export const chatCount = 6;

// ---------------------------------------------------------------------------------------------------------------------
// Drawing

/** The schedule of a seed. Each integer of 32 bits has its own. */
export function scheduleOf(seed: number): Schedule {
  const chance = new Chance(seed);
  const commands: Command[] = [];
  for (let left = leastSays; left > 0; left--) commands.push(drawSay(chance));
  for (let left = chance.between(0, 3); left > 0; left--)
    commands.push({ do: "push", at: instant(chance), chat: chatOf(chance) });
  if (chance.oneIn(6)) {
    const bytes = chance.oneIn(40) ? chance.pick(largeFiles) : chance.pick(smallFiles);
    commands.push({ do: "upload", at: instant(chance), chat: chatOf(chance), bytes });
  }
  if (chance.oneIn(6)) commands.push({ do: "restart", at: instant(chance) });
  if (chance.oneIn(12)) commands.push({ do: "start", at: instant(chance) });
  if (chance.oneIn(10)) commands.push({ do: "stop", at: instant(chance), forMs: chance.between(1, 60) * 1_000 });

  const faults: Fault[] = [];
  for (let left = leastFaults + chance.pick(moreFaults); left > 0; left--) {
    // Half of the faults strike while something is going on.
    const at = chance.oneIn(2) ? chance.pick(commands).at + chance.between(0, 4_000) : instant(chance);
    faults.push(drawFault(chance, at));
  }
  return {
    seed,
    latencyMs: chance.pick([1, 5, 20, 60, 200]),
    gateway: {
      ...(chance.oneIn(3) ? { quotaCountsRefreshes: true } : {}),
      ...(chance.oneIn(3) ? { oldReqIdAfterReconnect: "refuse" as const } : {}),
      ...(chance.oneIn(4) ? { redeliverUnanswered: true } : {}),
      ...(chance.oneIn(6) ? { ackLatencyMs: chance.pick([0, 2_000, 6_000]) } : {}),
    },
    afterKick: chance.oneIn(2) ? "rejoin" : "stop",
    ...(chance.oneIn(3) ? { credentialsRetryMs: 60_000 } : {}),
    restoring: chance.oneIn(100),
    commands,
    faults,
  };
}

/** How many faults there are beyond the least. */
const moreFaults = [0, 0, 0, 1, 1, 2, 3];

function drawSay(chance: Chance): Command {
  const at = instant(chance);
  const chat = chatOf(chance);
  const ending = chance.oneIn(10) ? chance.pick(["fail", "cancel", "silent"] as const) : "finish";
  if (chance.oneIn(330)) {
    // The long, the fast, the large: one of them costs as much as a schedule without.
    const rare = chance.next();
    if (rare < 0.25) return { do: "say", at, chat, pieces: 12, everyMs: 55_000, bytes: 60, ending };
    if (rare < 0.6) return { do: "say", at, chat, pieces: 80, everyMs: chance.between(240, 860), bytes: 12, ending };
    return { do: "say", at, chat, pieces: chance.between(1, 3), everyMs: 1_000, bytes: chance.pick(longTexts), ending };
  }
  const pieces = chance.pick([1, 1, 1, 1, 1, 1, 1, 2, 3]);
  const everyMs = chance.pick(ending === "finish" ? [0, 0, 0, 0, ...paces] : paces);
  const aside = chance.oneIn(25) ? { aside: chance.pick(["sent", "withdrawn"] as const) } : {};
  return { do: "say", at, chat, pieces, everyMs, bytes: chance.between(8, 60), ending, ...aside };
}

const paces = [50, 300, 700, 1_500, 4_000, 11_000];
const longTexts = [6_000, 10_000, 21_000];
const smallFiles = [3, 5, 700, 4_096];
/** Of two, three and six chunks: a chunk costs the simulator as much as a whole schedule. */
const largeFiles = [524_288 + 5, 524_288 + 5, 524_288 + 5, 2 * 524_288 + 5, 1_363_148, 5 * 524_288 + 5];

function instant(chance: Chance): Millis {
  return chance.between(1_000, drawnMs);
}

function chatOf(chance: Chance): number {
  return chance.between(0, chatCount - 1);
}

/** The kinds of fault, each with how it is drawn; a kind that is listed twice is drawn twice as often. */
const draws: readonly ((chance: Chance, at: Millis) => Fault)[] = [
  (_, at) => ({ kind: "reset", at }),
  (chance, at) => ({ kind: "close", at, code: chance.pick([1000, 1001, 1006, 1008, 1011, 1012]) }),
  (chance, at) => ({ kind: "deaf", at, lost: chance.pick(["up", "down", "both"]) }),
  (chance, at) => ({ kind: "stall", at, forMs: chance.between(1, 45) * 1_000, way: chance.pick(["up", "down"]) }),
  (chance, at) => ({ kind: "refuse-dials", at, forMs: chance.between(1, 90) * 1_000 }),
  (chance, at) => ({ kind: "hang-dials", at, forMs: chance.between(1, 60) * 1_000 }),
  (chance, at) => ({ kind: "gateway-restart", at, forMs: chance.between(0, 120) * 1_000 }),
  (chance, at) => ({
    kind: "reset-after-subscribe",
    at,
    forMs: chance.between(5, 60) * 1_000,
    afterMs: chance.pick([0, 100, 2_000]),
  }),
  (chance, at) => ({ kind: "ack-drop", at, times: chance.between(1, 4), of: ackOf(chance) }),
  (chance, at) => ({
    kind: "ack-delay",
    at,
    times: chance.between(1, 4),
    of: ackOf(chance),
    ms: chance.pick([1_000, 8_000, 11_000, 25_000]),
  }),
  (chance, at) => ({ kind: "ack-duplicate", at, times: chance.between(1, 3), of: ackOf(chance) }),
  (chance, at) => ({ kind: "ack-swap", at, times: chance.between(1, 3) }),
  (chance, at) => ({ kind: "ack-stray", at, while: chance.pick(["now", "subscribing"]) }),
  drawErrcode,
  drawErrcode,
  drawErrcode,
  (_, at) => ({ kind: "forget", at }),
  (chance, at) => ({ kind: "half-alive", at, forMs: chance.between(5, 120) * 1_000 }),
  (chance, at) => ({ kind: "kick", at, closeAfterMs: chance.pick([2_000, 60_000, "never"]) }),
  (chance, at) => ({ kind: "odd-frame", at, what: chance.pick(oddFrames) }),
  (chance, at) => ({ kind: "redeliver", at, reqId: chance.pick(["same", "new"]) }),
  (chance, at) => ({ kind: "gateway", at, fault: chance.pick(gatewayFaults) }),
  (chance, at) => ({ kind: "gateway", at, fault: chance.pick(gatewayFaults) }),
  (chance, at) => ({ kind: "early-tick", at, backMs: chance.between(0, 5_000) }),
];

function drawFault(chance: Chance, at: Millis): Fault {
  return chance.pick(draws)(chance, at);
}

function drawErrcode(chance: Chance, at: Millis): Fault {
  const [of, errcodes] = chance.pick(refusals);
  return { kind: "errcode", at, of, errcode: chance.pick(errcodes), times: chance.between(1, 4) };
}

/** The codes that were seen on each command (spec/requirements.yaml). */
const refusals: readonly (readonly [Refusable, readonly number[]])[] = [
  ["subscribe", [853000, 45009, 40001, -1, 846609]],
  ["ping", [846609, -1]],
  ["respond", [846604, 846605, 846607, 846608, 846609, 6000, -1, 40058]],
  ["respond", [846604, 846605, 846607, 846608, 846609, 6000, -1, 40058]],
  ["send", [846607, 846609, 93006, 6000, -1]],
  ["init", [-1, 846609]],
  ["chunk", [-1, 846609]],
  ["finish", [40058, -1]],
];

function ackOf(chance: Chance): AckOf {
  return chance.pick(["command", "command", "ping", "subscribe"]);
}

// ---------------------------------------------------------------------------------------------------------------------
// Shrinking

/** Schedules for fast-check: drawn from the given seed, or from fast-check's own where there is none. */
export function schedules(seed?: number): fc.Arbitrary<Schedule> {
  return new Schedules(seed);
}

/** fast-check's own arrays keep to their least length when they shrink; here a failing schedule may lose everything. */
class Schedules extends fc.Arbitrary<Schedule> {
  readonly #seed: number | undefined;

  constructor(seed: number | undefined) {
    super();
    this.#seed = seed;
  }

  override generate(random: fc.Random): fc.Value<Schedule> {
    return new fc.Value(scheduleOf(this.#seed ?? random.nextInt(0, 0xffff_ffff)), undefined);
  }

  override canShrinkWithoutContext(value: unknown): value is Schedule {
    return typeof value === "object" && value !== null && "commands" in value && "faults" in value;
  }

  override shrink(schedule: Schedule): fc.Stream<fc.Value<Schedule>> {
    return fc.stream(smaller(schedule)).map((less) => new fc.Value(less, undefined));
  }
}

/** Schedules that are simpler by one step, the largest steps first. */
function* smaller(schedule: Schedule): Generator<Schedule, undefined> {
  const { commands, faults, gateway, credentialsRetryMs, ...rest } = schedule;
  for (const fewer of shorter(commands)) yield { ...schedule, commands: fewer };
  for (const fewer of shorter(faults)) yield { ...schedule, faults: fewer };
  if (schedule.restoring) yield { ...schedule, restoring: false };
  if (credentialsRetryMs !== undefined) yield { ...rest, commands, faults, gateway };
  if (schedule.afterKick === "rejoin") yield { ...schedule, afterKick: "stop" };
  if (Object.keys(gateway).length > 0) yield { ...schedule, gateway: {} };
  if (schedule.latencyMs > 5) yield { ...schedule, latencyMs: 5 };
  for (const [index, command] of commands.entries())
    for (const simple of simplerCommands(command)) yield { ...schedule, commands: commands.with(index, simple) };
  for (const [index, fault] of faults.entries())
    for (const simple of simplerFaults(fault)) yield { ...schedule, faults: faults.with(index, simple) };
  return undefined;
}

/** The list without a part of it: all, then halves, quarters … and at last each one. */
function* shorter<Entry>(list: readonly Entry[]): Generator<readonly Entry[]> {
  for (let part = list.length; part >= 1; part = Math.floor(part / 2))
    for (let from = 0; from < list.length; from += part) yield list.toSpliced(from, part);
}

function* simplerCommands(command: Command): Generator<Command> {
  if (command.at % 1_000 !== 0) yield { ...command, at: rounded(command.at) };
  if (command.do === "say") {
    if (command.pieces > 1) yield { ...command, pieces: 1 };
    if (command.pieces > 2) yield { ...command, pieces: Math.floor(command.pieces / 2) };
    if (command.bytes > 100) yield { ...command, bytes: Math.floor(command.bytes / 2) };
    if (command.ending !== "finish") yield { ...command, ending: "finish" };
  } else if (command.do === "upload" && command.bytes > 5) yield { ...command, bytes: 5 };
}

function* simplerFaults(fault: Fault): Generator<Fault> {
  if (fault.at % 1_000 !== 0) yield { ...fault, at: rounded(fault.at) };
  if ("times" in fault && fault.times > 1) yield { ...fault, times: fault.times - 1 };
  if ("forMs" in fault && fault.forMs >= 2_000) yield { ...fault, forMs: rounded(fault.forMs / 2) };
}

function rounded(ms: Millis): Millis {
  return Math.floor(ms / 1_000) * 1_000;
}
