/**
 * The world's language: what goes in, what comes out, what its views look like.
 *
 * Types only. Whoever drives a world (server.ts on sockets, a simulator in virtual time) needs nothing else of it than
 * these, `World` itself, and a clock.
 */
import type { BotConfig, BotView } from "./bots.ts";
import type { UserEvent, UserMessage } from "./callbacks.ts";
import type { Millis } from "./clock.ts";
import type { ArmedFault, Fault } from "./faults.ts";
import type { ProfileName, SomeSwitches } from "./switches.ts";
import type { CallId, Told } from "./waiters.ts";
import type { LogEntry } from "./wirelog.ts";

/** What happens to the world: facts are past participles, wishes imperatives. */
export type WorldInput =
  /** A WebSocket was accepted under a fresh number. `origin` is how its client reached us over HTTP. */
  | { type: "opened"; connection: number; origin?: string; address?: string }
  /** `json` is what JSON.parse makes of the text, from a caller who knows it already and will not change it. */
  | { type: "received"; connection: number; text: string; binary?: boolean; json?: unknown }
  /** The pong of a WebSocket ping that was to be noted. */
  | { type: "ponged"; connection: number }
  /** The socket is gone, whoever ended it. */
  | { type: "closed"; connection: number; code?: number; reason?: string }
  | { type: "say"; bot: string; message: UserMessage; call: CallId; waitMs?: Millis }
  | { type: "trigger"; bot: string; event: UserEvent; call: CallId; waitMs?: Millis }
  /** As if another instance had subscribed. `closeAfterMs` overrides the switch. */
  | { type: "kick"; bot: string; call: CallId; closeAfterMs?: Millis | "never" }
  /** Ends or cripples one connection. */
  | { type: "cut"; connection: number; how: CutHow; code?: number }
  /** Answered when the bot is subscribed, or when `waitMs` is over. */
  | { type: "await-bot"; bot: string; waitMs: Millis; call: CallId }
  /** A POST to a callback's response_url. */
  | { type: "respond-url"; code: string; body: unknown; call: CallId }
  /** The caller of this wait is gone. */
  | { type: "abandon"; call: CallId }
  | { type: "add-bot"; bot: BotConfig }
  | { type: "remove-bot"; bot: string }
  | { type: "arm"; fault: Fault; call: CallId }
  | { type: "disarm"; fault: string; call: CallId }
  | { type: "advance"; ms: Millis; transport: boolean }
  | { type: "set"; profile?: ProfileName; switches?: SomeSwitches }
  /** Bots, chats, faults, clock and settings as they were at the start; connections are cut. */
  | { type: "reset" }
  | { type: "tick" };

/** How a connection ends: with a close frame, by a TCP reset, or by falling silent while it stays open. */
export type CutHow = "close" | "reset" | "half-open" | "nat-drop";

/** What the caller has to do, in order. */
export type WorldEffect =
  /** Without a manner: one text message. */
  | { type: "send"; connection: number; text: string; manner?: Manner }
  /** A WebSocket ping; with `noted`, its pong is to be told as `ponged`. */
  | { type: "ping"; connection: number; noted?: true }
  | { type: "close"; connection: number; code: number; reason: string }
  | { type: "reset"; connection: number }
  /** Stop reading and writing, leave the socket open; with `reads`, read and throw away. */
  | { type: "half-open"; connection: number; reads: boolean }
  /** Nobody listens any more, or somebody does again. */
  | { type: "port"; open: boolean }
  | { type: "log"; entry: LogEntry }
  | { type: "answer"; call: CallId; answer: Answer };

/** How a frame travels when a fault says so. What is behind it stays behind it. */
export interface Manner {
  readonly binary?: true;
  readonly split?: "fragments" | "bytes" | "coalesced";
  readonly bytesPerSecond?: number;
}

/** What a caller of `say`, `trigger`, `kick`, `await-bot`, `arm` … gets. */
export type Answer =
  | { type: "told"; told: Told }
  | { type: "bot"; bot: BotView; timedOut?: true }
  | { type: "armed"; fault: ArmedFault }
  | { type: "errcode"; errcode: number; errmsg: string }
  | { type: "refused"; status: 404 | 422; detail: string };

/** What becomes of an upgrade: accepted, refused with a status, stalled, or cut. */
export type Upgrade = { type: "accept"; stallMs: Millis } | { type: "refuse"; status: number } | { type: "cut" };

/** What becomes of a client's WebSocket ping. */
export type Pong = { type: "pong"; afterMs: Millis; masked: boolean } | { type: "nothing" };

/** A connection, for the API. */
export interface ConnectionView {
  n: number;
  bot: string | null;
  state: "open" | "subscribed" | "kicked" | "lost" | "half-open";
  address: string;
  openedAt: Millis;
  lastFrameAt: Millis | null;
  framesIn: number;
  framesOut: number;
}
