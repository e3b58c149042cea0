/**
 * What happened in one run: the wire log and the effect log as one list, in the order in which the client lived it.
 *
 * Decides what an oracle may look at. Texts of frames are kept as they crossed the wire; whoever wants to look into one
 * parses it with a bare JSON.parse (`json` does, once a frame), so that no schema of ours stands between a client and its
 * judge.
 */

/** Milliseconds of the run's virtual clock. */
export type Millis = number;

/** Everything that is known about a run, for invariants.ts. */
export interface History {
  readonly happenings: readonly Happening[];
  /** What the users see in the end, by chat, in order. */
  readonly shown: readonly Shown[];
  /** The secret that must stay in its frame. */
  readonly secret: string;
  /** How often the client was told to try refused credentials again; undefined: never. */
  readonly credentialsRetryMs: Millis | undefined;
  /** When the last fault was over, and whether it left a socket behind that is broken without a sign. */
  readonly faultsEnd: { readonly at: Millis; readonly broken: boolean };
  /** The end of the run. */
  readonly endAt: Millis;
  /** What is left open in the client at the end: requests, answers, uploads, queued pushes. */
  readonly left: Readonly<Record<string, number>>;
  /** What went wrong with the simulated client itself: an exception, a deadline that is over, effects that differ. */
  readonly broken: readonly { readonly at: Millis; readonly id: string; readonly message: string }[];
}

/** One thing that happened. `socket` numbers the sockets of a run from 1, across restarts of the process. */
export type Happening =
  | { readonly what: "dialed"; readonly at: Millis; readonly socket: number }
  | { readonly what: "opened"; readonly at: Millis; readonly socket: number }
  | Frame
  /** The client was told that a socket closed; `current` if it was the one in use. */
  | {
      readonly what: "closed";
      readonly at: Millis;
      readonly socket: number;
      readonly code: number;
      readonly current: boolean;
    }
  | { readonly what: "dropped"; readonly at: Millis; readonly socket: number }
  | { readonly what: "moved"; readonly at: Millis; readonly from: string; readonly to: string; readonly why: string }
  | {
      readonly what: "asked";
      readonly at: Millis;
      readonly key: number;
      readonly req_id: string;
      readonly text: string;
    }
  | { readonly what: "settled"; readonly at: Millis; readonly key: number; readonly outcome: Settled }
  | { readonly what: "delivered"; readonly at: Millis; readonly text: string }
  | { readonly what: "noticed"; readonly at: Millis; readonly text: string }
  /** The operator, or the machine under the client, acted. */
  | { readonly what: "operator"; readonly at: Millis; readonly did: "start" | "stop" | "restart" }
  /** A fault begins; `repeats` is the req_id whose ack the gateway repeats, when it does. */
  | { readonly what: "fault"; readonly at: Millis; readonly kind: string; readonly repeats?: string }
  /** An answer begins, its text ends, the answer is over. */
  | {
      readonly what: "answering";
      readonly at: Millis;
      readonly answer: number;
      readonly req_id: string;
      readonly chat: string;
    }
  | {
      readonly what: "said";
      readonly at: Millis;
      readonly answer: number;
      readonly marks: number;
      readonly how: string;
    }
  | {
      readonly what: "answered";
      readonly at: Millis;
      readonly answer: number;
      readonly state: string;
      readonly route: string;
    }
  /** The application pushes, and hears what became of it. */
  | { readonly what: "pushing"; readonly at: Millis; readonly push: string; readonly chat: string }
  | { readonly what: "pushed"; readonly at: Millis; readonly push: string; readonly state: string }
  | { readonly what: "uploading"; readonly at: Millis; readonly upload: number; readonly bytes: number }
  | { readonly what: "uploaded"; readonly at: Millis; readonly upload: number; readonly state: string };

/** A frame as the client handed it to its socket (`sent`), or got it from there (`received`). */
export interface Frame {
  readonly what: "sent" | "received";
  readonly at: Millis;
  readonly socket: number;
  readonly text: string;
  /** What `json` made of the text. */
  parsed?: Json | undefined;
}

/** How a request ended, as the client says. */
export interface Settled {
  readonly type: string;
  readonly maybeDelivered?: boolean;
  readonly errcode?: number;
}

/** A message of the bot in a chat. */
export interface Shown {
  readonly chat: string;
  /** The req_id of the frame that made it. */
  readonly req_id: string;
  readonly kind: string;
  readonly content: string;
  readonly finished: boolean;
  readonly streamId?: string | undefined;
}

/** What stands in the text of answer `n` at its piece `piece`, and nowhere else; all are equally long, or nearly. */
export function markOf(n: number, piece: number): string {
  return `#${String(n).padStart(2, "0")}.${piece}#`;
}

/** All such marks in a text. */
export const marks = /#\d+\.\d+#/g;

/** The members of a JSON object, without any belief about them. */
export type Json = Readonly<Record<string, unknown>>;

/** The frame as JSON.parse has it, made once a frame; {@link nothing} where it is no object. */
export function json(frame: Frame): Json {
  frame.parsed ??= common(frame.text) ?? parse(frame.text);
  return frame.parsed;
}

/**
 * More than half of all frames are acks of success and pings, which differ in their req_id alone: what JSON.parse would
 * make of a text that is one of them from its first character to its last.
 */
function common(text: string): Json | undefined {
  const acked = ack.exec(text)?.[1];
  if (acked !== undefined) return { headers: { req_id: acked }, errcode: 0, errmsg: "ok" };
  const pinged = ping.exec(text)?.[1];
  return pinged === undefined ? undefined : { cmd: "ping", headers: { req_id: pinged } };
}

const ack = /^\{"headers":\{"req_id":"([\w-]+)"\},"errcode":0,"errmsg":"ok"\}$/;
const ping = /^\{"cmd":"ping","headers":\{"req_id":"([\w-]+)"\}\}$/;

function parse(text: string): Json {
  try {
    return object(JSON.parse(text));
  } catch {
    return nothing;
  }
}

/** The value if it is an object, else one without members. */
export function object(value: unknown): Json {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : nothing;
}

/** An object without members. */
export const nothing: Json = {};
