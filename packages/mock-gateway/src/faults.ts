/**
 * Faults as data: what can be broken, when it breaks, how often.
 *
 * A fault is armed, waits for its *occasion*, and is used up. The occasion is part of the kind: a command coming in, an ack
 * or a callback going out, a subscribe, an upgrade, a download, a WebSocket ping. Kinds that strike a connection as a whole
 * (`reset`, `kick`, `half-alive` …) strike at once, or as soon as their bot is subscribed; with `cmd` they wait for that
 * command. `bot` and `cmd` narrow the occasion, `nth` skips the first ones, `times` says how often (default once; without
 * end when `forMs` is given), `chance` is the probability on each occasion, drawn from the world's seed, `forMs` ends it
 * after that time on the transport clock.
 *
 * This file holds the vocabulary and the counting. What a fault does is the world's (mischief.ts) and the server's.
 */
import * as z from "zod";
import { bound } from "./bounded.ts";
import type { Chance } from "./chance.ts";
import type { Millis } from "./clock.ts";

/** When a fault may act. */
export type Occasion =
  | "command"
  | "ack"
  | "callback"
  | "frame"
  | "subscribe"
  | "strike"
  | "upgrade"
  | "download"
  | "ws-ping";

const ms = z.int().min(0).max(86_400_000);
const errcode = z.int();

const common = {
  /** Only for this bot. */
  bot: z.string().min(1).optional(),
  /** Only for this command: the one that comes in, the one an ack answers, or the callback that goes out. */
  cmd: z.string().min(1).optional(),
  /** The first occasion it acts on, counted from 1. */
  nth: z.int().min(1).optional(),
  /** On how many occasions it acts. */
  times: z.int().min(1).optional(),
  /** The probability that it acts on an occasion. */
  chance: z.number().min(0).max(1).optional(),
  /** For how long it is armed, on the transport clock. */
  forMs: ms.optional(),
};

const kind = <Kind extends string, Own extends z.core.$ZodLooseShape>(name: Kind, own: Own) =>
  z.strictObject({ kind: z.literal(name), ...common, ...own });

const oddFrames = [
  "control-chars",
  "unknown-field",
  "unknown-cmd",
  "unknown-msgtype",
  "unknown-event",
  "missing-field",
  "missing-chattype",
  "huge-integer",
  "gateway-ping",
  "not-json",
  "null",
  "array",
] as const;

/** A fault to arm. */
export const Fault = z.discriminatedUnion("kind", [
  kind("ack-drop", {}),
  kind("ack-delay", { ms }),
  kind("ack-duplicate", {}),
  kind("ack-swap", {}),
  kind("ack-stray", {}),
  kind("ack-bare", {}),
  kind("errcode", { errcode, errmsg: z.string().optional() }),
  kind("callback-before-ack", { text: z.string().optional() }),
  kind("callback-reuse-req-id", {}),
  kind("odd-frame", { what: z.enum(oddFrames) }),

  kind("redeliver", { reqId: z.enum(["same", "new"]).optional(), over: z.enum(["same", "next"]).optional() }),
  kind("burst", { count: z.int().min(1).max(10_000) }),
  kind("throttle", { errcode: errcode.optional() }),
  kind("forget", {}),
  kind("half-alive", {}),
  kind("kick", { closeAfterMs: z.union([ms, z.literal("never")]).optional() }),
  kind("down", { how: z.enum(["reset", "refuse"]).optional() }),
  kind("upload", { what: z.enum(["lose-chunk", "md5-mismatch", "finish-fails"]) }),
  kind("media", {
    what: z.enum(["missing", "expired", "slow", "oversized", "plain", "bad-padding", "html", "odd-name"]),
    name: z.string().optional(),
    bytes: z
      .int()
      .min(1)
      .max(200 * 1024 * 1024)
      .optional(),
    ms: ms.optional(),
  }),
  kind("clock-jump", {
    ms: z
      .int()
      .min(-86_400_000)
      .max(10 * 365 * 86_400_000),
  }),

  kind("half-open", {}),
  kind("nat-drop", {}),
  kind("reset", {}),
  kind("close", { code: z.int().min(1000).max(4999).optional() }),
  kind("ping", {}),
  kind("pong", { what: z.enum(["masked", "drop", "late"]), ms: ms.optional() }),
  kind("handshake", { stallMs: ms.optional(), status: z.int().min(400).max(599).optional() }),
  kind("slow", { bytesPerSecond: z.int().min(1) }),
  kind("split", { what: z.enum(["fragments", "bytes", "coalesced"]) }),
  kind("binary", {}),
  kind("oversize", {
    bytes: z
      .int()
      .min(1)
      .max(64 * 1024 * 1024),
  }),
]);
export type Fault = z.infer<typeof Fault>;
/** The name of a kind of fault. */
export type FaultKind = Fault["kind"];
/** A fault of one kind. */
export type FaultOf<Kind extends FaultKind> = Extract<Fault, { kind: Kind }>;

/** A kind of fault, for people. */
export interface FaultRow<Kind extends FaultKind = FaultKind> {
  readonly layer: "session" | "world" | "socket";
  readonly occasion: Occasion;
  /** What happens, in a sentence. */
  readonly what: string;
  /** One that makes sense as it stands, as `--fault` takes it. */
  readonly example: string;
  /** Where somebody met it. */
  readonly source: string;
  readonly kind?: Kind;
}

const met = {
  sdk: "official Node SDK 1.0.7, read and run",
  hermes: "NousResearch/hermes-agent issues 47564, 47572 and 58649",
  plugin: "WecomTeam/wecom-openclaw-plugin issues 54, 59 and 143",
  python: "measured with the official Python SDK (2026-10-08)",
  network: "what any network can do",
};

/** Every kind, with its occasion, an example and where it was met. */
export const faultTable: { readonly [Kind in FaultKind]: FaultRow<Kind> } = {
  "ack-drop": {
    layer: "session",
    occasion: "ack",
    what: "The ack of a command never leaves; the command was carried out all the same.",
    example: "ack-drop:cmd=aibot_subscribe",
    source: met.hermes,
  },
  "ack-delay": {
    layer: "session",
    occasion: "ack",
    what: "The ack of a command leaves so much later; acks behind it do not wait for it.",
    example: "ack-delay:ms=6000,cmd=aibot_respond_msg",
    source: `${met.sdk}: a late ack is credited to the next frame`,
  },
  "ack-duplicate": {
    layer: "session",
    occasion: "ack",
    what: "The ack of a command leaves twice.",
    example: "ack-duplicate:cmd=aibot_respond_msg",
    source: met.network,
  },
  "ack-swap": {
    layer: "session",
    occasion: "ack",
    what: "The ack of a command leaves behind the next one of its connection, or after five seconds.",
    example: "ack-swap:cmd=aibot_send_msg",
    source: "acks of different req_ids come from different back-ends",
  },
  "ack-stray": {
    layer: "session",
    occasion: "ack",
    what: "An ack with errcode 0 for a req_id nobody used leaves just before the real one.",
    example: "ack-stray:cmd=aibot_subscribe",
    source: "a public Python client takes any ack with errcode 0 for its own",
  },
  "ack-bare": {
    layer: "session",
    occasion: "ack",
    what: "The ack of a command carries its req_id and neither errcode nor errmsg.",
    example: "ack-bare:cmd=ping",
    source: met.network,
  },
  errcode: {
    layer: "session",
    occasion: "command",
    what: "A command is refused with this errcode and not carried out.",
    example: "errcode:errcode=846608,cmd=aibot_respond_msg,nth=2",
    source: "every errcode of the table was met by somebody",
  },
  "callback-before-ack": {
    layer: "session",
    occasion: "subscribe",
    what: "A text message overtakes the ack of a successful subscribe.",
    example: "callback-before-ack:text=early",
    source: "two public clients take the first frame for their ack",
  },
  "callback-reuse-req-id": {
    layer: "session",
    occasion: "callback",
    what: "A callback has the req_id of the command that was received last on its connection.",
    example: "callback-reuse-req-id",
    source: "clients that tell acks by the prefix of a req_id",
  },
  "odd-frame": {
    layer: "session",
    occasion: "callback",
    what: "A callback is odd, or has an odd frame before it: raw control characters in its text, unknown members, huge integers; an unknown cmd, msgtype or event, no body, no chattype, a ping of the gateway; what is no JSON, or no object.",
    example: "odd-frame:what=control-chars",
    source: "CowAgent pull request 2810; bodies grow with every version of the documents",
  },

  redeliver: {
    layer: "world",
    occasion: "callback",
    what: "A message comes again with the same msgid: under a new req_id (or the same), on the same connection (or the bot's next).",
    example: "redeliver:reqId=new,over=next",
    source: "the documents allow repeats; one public client saw them after a reconnect",
  },
  burst: {
    layer: "world",
    occasion: "strike",
    what: "So many users speak at once.",
    example: "burst:count=100",
    source: met.network,
  },
  throttle: {
    layer: "world",
    occasion: "command",
    what: "Every command but ping and subscribe is refused with this errcode (846607 if none is named), for a minute if no time is named.",
    example: "throttle:errcode=846607,forMs=10000",
    source: "a log study of a public client (2026-07): 846607 recovers in about a minute",
  },
  forget: {
    layer: "world",
    occasion: "strike",
    what: "The subscription is lost while the socket stays: pings are acked, nothing is delivered, commands get 846609.",
    example: "forget",
    source: met.hermes,
  },
  "half-alive": {
    layer: "world",
    occasion: "strike",
    what: "Pings and commands are acked, and nothing is delivered until the client subscribes again.",
    example: "half-alive",
    source: "WecomTeam/wecom-openclaw-plugin issue 54",
  },
  kick: {
    layer: "world",
    occasion: "strike",
    what: "The bot is kicked as if another instance had subscribed; closeAfterMs overrides the switch.",
    example: "kick:closeAfterMs=2000",
    source: met.python,
  },
  down: {
    layer: "world",
    occasion: "upgrade",
    what: "The gateway is gone, for ten seconds if no time is named: connections are reset, and new ones are cut before they are upgraded, while the API on the same port stays. With how=refuse nothing listens on the port any more, the API is gone as well, and the port is taken again when it is over.",
    example: "down:forMs=15000",
    source: `${met.sdk}: it gives up after ten attempts`,
  },
  upload: {
    layer: "world",
    occasion: "command",
    what: "An upload fails: a chunk is acked and lost, or the finish is refused for its MD5, or with a system error.",
    example: "upload:what=lose-chunk",
    source: `${met.sdk}: no check before the send with an undefined media_id`,
  },
  media: {
    layer: "world",
    occasion: "download",
    what: "A download goes wrong: 404, 403, slow, far larger than said, not encrypted, badly padded, an HTML page, or with an odd name.",
    example: "media:what=odd-name,name=100%.txt",
    source: `${met.sdk}: decodeURIComponent throws on a bare per cent sign`,
  },
  "clock-jump": {
    layer: "world",
    occasion: "strike",
    what: "The world clock jumps ahead, as seen in create_time, and windows that end in between are over; or back, when ms is negative.",
    example: "clock-jump:ms=3600000",
    source: met.network,
  },

  "half-open": {
    layer: "socket",
    occasion: "strike",
    what: "The gateway stops reading and writing while the socket stays open; the client's writes stall in time.",
    example: "half-open",
    source: met.hermes,
  },
  "nat-drop": {
    layer: "socket",
    occasion: "strike",
    what: "A box in between forgot the connection: what either side sends vanishes, writes succeed.",
    example: "nat-drop",
    source: met.plugin,
  },
  reset: {
    layer: "socket",
    occasion: "strike",
    what: "The connection is reset by TCP, without a close frame.",
    example: "reset:cmd=aibot_respond_msg,nth=2",
    source: met.plugin,
  },
  close: {
    layer: "socket",
    occasion: "strike",
    what: "The connection is closed with a close frame and this code (1000 if none is named; 1005 and 1006 cannot be sent).",
    example: "close:code=1012",
    source: "three public clients take a clean close for the end",
  },
  ping: {
    layer: "socket",
    occasion: "strike",
    what: "The gateway sends a WebSocket ping now; the pong that answers it is noted in the log.",
    example: "ping",
    source: `${met.sdk}: it answers such pings, which suggests that they occur`,
  },
  pong: {
    layer: "socket",
    occasion: "ws-ping",
    what: "A WebSocket ping of the client is answered by a masked pong, which no server may send, or not at all, or late.",
    example: "pong:what=masked",
    source: "openSquilla issue 581",
  },
  handshake: {
    layer: "socket",
    occasion: "upgrade",
    what: "The upgrade stalls, or is refused with this HTTP status (502 if neither is named).",
    example: "handshake:status=502,times=2",
    source: met.network,
  },
  slow: {
    layer: "socket",
    occasion: "frame",
    what: "A frame trickles out at so many bytes a second, and so does what is behind it.",
    example: "slow:bytesPerSecond=200",
    source: met.network,
  },
  split: {
    layer: "socket",
    occasion: "frame",
    what: "A message arrives as three fragments, or byte by byte, or in one TCP segment with the message behind it.",
    example: "split:what=fragments,times=3",
    source: met.network,
  },
  binary: {
    layer: "socket",
    occasion: "frame",
    what: "A frame arrives as a binary message that holds the same JSON.",
    example: "binary:cmd=aibot_msg_callback",
    source: "two public clients accept them",
  },
  oversize: {
    layer: "socket",
    occasion: "callback",
    what: "A callback is at least so many bytes long, by a member nobody knows.",
    example: "oversize:bytes=1572864",
    source: "a public client drops frames above 1 MiB",
  },
};

/** An armed fault, for the API. */
export interface ArmedFault {
  readonly id: string;
  readonly fault: Fault;
  /** On how many occasions it acted. */
  used: number;
}

interface Armed extends ArmedFault {
  seen: number;
  readonly until: Millis;
  readonly limit: number;
}

const maxArmed = 1_000;
/** Kinds that mean a stretch of time even when nobody says so. */
const defaultForMs: Partial<Record<FaultKind, Millis>> = { throttle: 60_000, down: 10_000 };

/** How long a fault is armed, on the transport clock; undefined for one that waits until it is used up. */
export const lastsMs = ({ kind: name, forMs }: Fault): Millis | undefined => forMs ?? defaultForMs[name];

/** The armed faults and their counting. `now` is the transport clock. */
export class Faults {
  readonly #chance: Chance;
  readonly #armed = new Map<string, Armed>();
  #named = 0;

  constructor(chance: Chance) {
    this.#chance = chance;
  }

  get size(): number {
    return this.#armed.size;
  }

  arm(now: Millis, fault: Fault): ArmedFault {
    const id = `f${++this.#named}`;
    const forMs = lastsMs(fault);
    const limit = fault.times ?? (forMs === undefined ? 1 : Infinity);
    const armed: Armed = { id, fault, used: 0, seen: 0, limit, until: forMs === undefined ? Infinity : now + forMs };
    this.#armed.set(id, armed);
    bound(this.#armed, maxArmed);
    return armed;
  }

  disarm(id: string): boolean {
    return this.#armed.delete(id);
  }

  list(now: Millis): ArmedFault[] {
    this.#expire(now);
    return [...this.#armed.values()].map(({ id, fault, used }) => ({ id, fault, used }));
  }

  /**
   * The faults of an occasion that act on it, each counted as used. `about.cmd` is undefined where the occasion has no
   * command: a fault that names one does not act there, and a strike that names none is not for commands.
   */
  take(
    now: Millis,
    occasion: Occasion,
    about: { bot?: string | undefined; cmd?: string | null | undefined },
  ): ArmedFault[] {
    if (this.#armed.size === 0) return [];
    this.#expire(now);
    const acting: ArmedFault[] = [];
    for (const armed of this.#armed.values()) {
      const { fault } = armed;
      if (faultTable[fault.kind].occasion !== occasion) continue;
      if (fault.bot !== undefined && fault.bot !== about.bot) continue;
      if (
        occasion === "strike"
          ? fault.cmd !== (about.cmd ?? undefined)
          : fault.cmd !== undefined && fault.cmd !== about.cmd
      )
        continue;
      if (!concerns(fault, about.cmd)) continue;
      armed.seen++;
      if (armed.seen < (fault.nth ?? 1)) continue;
      if (fault.chance !== undefined && this.#chance.next() >= fault.chance) continue;
      armed.used++;
      if (armed.used >= armed.limit) this.#armed.delete(armed.id);
      acting.push(armed);
    }
    return acting;
  }

  #expire(now: Millis): void {
    for (const { id, until } of this.#armed.values()) if (until <= now) this.#armed.delete(id);
  }
}

/** Kinds that speak of some commands only, whether or not they name one. */
const concerns = (fault: Fault, command: string | null | undefined): boolean => {
  if (fault.kind === "throttle") return command !== "ping" && command !== "aibot_subscribe";
  if (fault.kind === "upload")
    return command === (fault.what === "lose-chunk" ? "aibot_upload_media_chunk" : "aibot_upload_media_finish");
  return true;
};

/** Reads `kind[:key=value[,key=value]…]`. Throws a `RangeError` whose message is one sentence. */
export const readFault = (spec: string): Fault => {
  const [name, ...rest] = spec.split(":");
  const fields: Record<string, unknown> = { kind: name };
  for (const pair of rest.join(":").split(",")) {
    if (pair === "") continue;
    const at = pair.indexOf("=");
    if (at < 1) throw new RangeError(`"${pair}" in the fault "${spec}" must be key=value`);
    const value = pair.slice(at + 1);
    fields[pair.slice(0, at)] = /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value;
  }
  const read = Fault.safeParse(fields);
  if (read.success) return read.data;
  if (!(String(name) in faultTable))
    throw new RangeError(`there is no fault "${String(name)}"; the kinds are ${Object.keys(faultTable).join(", ")}`);
  const [{ path, message }] = read.error.issues as [z.core.$ZodIssue];
  const member = path.join(".");
  const wrong = member === "" ? message : member in fields ? `${member}: ${message}` : `it lacks ${member}`;
  const { example } = faultTable[name as FaultKind];
  throw new RangeError(`the fault "${spec}" will not do: ${wrong}; this one would: ${example}`);
};

/** The JSON Schema of one kind of fault. */
export const faultSchema = (name: FaultKind): object => {
  const option = Fault.options.find(({ shape }) => shape.kind.value === name);
  return option ? z.toJSONSchema(option) : {};
};
