/**
 * What can go wrong, in words: errcodes explained and classified, and the errors the packages throw.
 *
 * Decides what a code means for a client's next step (`classifySubscribe`, `classifySend`); the facts themselves are the
 * table in errcodes.ts. How long a back-off is and who falls back to what, the machines decide.
 *
 * Invariants: no message ever holds a secret or what the gateway adds to an errmsg after its plain part (a hint, our IP
 * address); an unlisted code is answered honestly as unknown, and nothing here throws for one; across packages one
 * branches on `code`, never on `instanceof`.
 */
import { errcodes } from "./errcodes.ts";
import type { Bilingual, ErrcodeEntry } from "./errcodes.ts";

export { errcodes } from "./errcodes.ts";
export type { Bilingual, Confidence, ErrcodeClass, ErrcodeEntry, ErrcodePlace } from "./errcodes.ts";

// ---------------------------------------------------------------------------------------------------------------------
// Errcodes

/** What `explain` says of a code that no document and no observation names. */
export interface UnknownErrcode {
  readonly known: false;
  readonly errcode: number;
  readonly name: "unknown-code";
  readonly meaning: Bilingual;
  readonly cause: Bilingual;
  readonly advice: Bilingual;
  readonly class: "unknown";
}

/** What is known of a code: its entry of the table, or that there is none. */
export type Explanation = (ErrcodeEntry & { readonly known: true }) | UnknownErrcode;

/**
 * Says what an errcode means, why it comes, and what to do. Give the errmsg when there is one: 846609 changed its meaning
 * in April 2026 and can only be told apart by its text; without one the present meaning is answered.
 */
export function explain(errcode: number, errmsg?: string): Explanation {
  const entry = lookUp(errcode, errmsg);
  return entry ? { ...entry, errcode, known: true } : { ...unlisted, errcode };
}

/**
 * What a refused or accepted subscribe means for the connection:
 *
 * - `accepted`: subscribed.
 * - `credentials`: the identity is refused; close the socket and stop.
 * - `throttled`: subscribed too often; the next attempt after 30 seconds at the earliest, then growing.
 * - `not-subscribed`: the gateway lost the subscription it was about to confirm; one controlled reconnect.
 * - `temporary`: anything else, unlisted codes included; the ordinary back-off.
 */
export type SubscribeClass = "accepted" | "credentials" | "throttled" | "not-subscribed" | "temporary";

/** Classifies the ack of a subscribe. An absent errcode is never seen; read it as 0 before you call. */
export function classifySubscribe(errcode: number, errmsg?: string): SubscribeClass {
  const found = lookUp(errcode, errmsg)?.class;
  if (found === "success") return "accepted";
  if (found === "reconnect") return "not-subscribed";
  return found === "credentials" || found === "throttled" ? found : "temporary";
}

/** What the ack of a reply, a push or an upload frame asks for; see `ErrcodeClass` for each. */
export type SendClass = "accepted" | "throttled" | "retry" | "reconnect" | "fallback" | "permanent" | "unknown";

/**
 * Classifies the ack of anything sent after the subscribe. Credentials refused at this point are `permanent`: repeating the
 * frame cannot help. For `unknown` a refresh of a stream is dropped; what must arrive is repeated once, then pushed.
 */
export function classifySend(errcode: number, errmsg?: string): SendClass {
  const found = lookUp(errcode, errmsg)?.class ?? "unknown";
  if (found === "success") return "accepted";
  return found === "credentials" ? "permanent" : found;
}

/**
 * The part of an errmsg that says what happened, without what the gateway appends for its own support: ", hint: […], from
 * ip: …, more info at …". Use it wherever an errmsg is logged, shown or compared: the suffix differs each time and tells
 * the host's address.
 */
export function plainErrmsg(errmsg: string): string {
  const suffix = errmsg.search(/(?:^|[,\s])(?:(?:hint|rid|from ip):|more info at\b)/i);
  return (suffix < 0 ? errmsg : errmsg.slice(0, suffix)).trim().replace(/,$/, "").trimEnd();
}

/** The entries by code; the first one of a code is its present meaning. */
const byErrcode = new Map<number, ErrcodeEntry>();
for (const entry of errcodes) if (!byErrcode.has(entry.errcode)) byErrcode.set(entry.errcode, entry);

/**
 * In April 2026 the meaning of 846609 moved to 846610 and a new one took its place. Around that date only the text tells
 * which one a gateway speaks of, so for these two codes the text decides.
 */
const renumbered: ReadonlyMap<number, readonly ErrcodeEntry[]> = new Map(
  [846609, 846610].map((errcode) => [
    errcode,
    [errcode, 846609, 846610].flatMap((either) => errcodes.filter((entry) => entry.errcode === either)),
  ]),
);

function lookUp(errcode: number, errmsg: string | undefined): ErrcodeEntry | undefined {
  const text = errmsg?.toLowerCase();
  const candidates = text === undefined ? undefined : renumbered.get(errcode);
  const told = candidates?.find((entry) => entry.errmsg.some((start) => text?.includes(start)));
  return told ?? byErrcode.get(errcode);
}

const unlisted: Omit<UnknownErrcode, "errcode"> = {
  known: false,
  name: "unknown-code",
  class: "unknown",
  meaning: { en: "A code that is in no list we know.", zh: "未收录的错误码。" },
  cause: {
    en: "Not known: neither the public documents nor observations of the gateway name it.",
    zh: "原因未知：公开文档和已有的观测中均未出现过。",
  },
  advice: {
    en: "Read the errmsg, and keep it with its hint when you ask WeCom. What must arrive is repeated once, then pushed.",
    zh: "请查看 errmsg；咨询企业微信时请附上完整的 errmsg（含 hint）。必须送达的内容会重试一次，仍失败则改为主动推送。",
  },
};

// ---------------------------------------------------------------------------------------------------------------------
// Errors

/**
 * The base of every error this product throws on purpose. `code` is a stable slug and the only thing to branch on;
 * `message` is for people and may be reworded in any release.
 */
export class OpenwsError extends Error {
  /** A stable slug, such as `usage`, `request-refused` or `connection-kicked`. */
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "OpenwsError";
    this.code = code;
  }
}

/**
 * The caller's own mistake: a broken limit, a malformed argument, a call in the wrong state. Thrown synchronously, before
 * anything changed; repeating the same call fails the same way. The message says what is wrong, where, and what to do.
 */
export class UsageError extends OpenwsError {
  /** Where in the caller's frame or options the mistake is, such as `body.stream.content`, if it has a place. */
  readonly path: string | undefined;

  constructor(message: string, { path, ...options }: { path?: string | undefined } & ErrorOptions = {}) {
    super("usage", message, options);
    this.name = "UsageError";
    this.path = path;
  }
}

/** How a request can end other than by an ack with errcode 0. */
export type RequestFailure = "refused" | "not-ready" | "timed-out" | "connection-lost" | "stopped" | "abandoned";

/**
 * A request that was not acknowledged. `code` is `request-` and the outcome. Before sending the same thing another way,
 * look at `maybeDelivered`: after `true` the user may read it twice.
 */
export class RequestError extends OpenwsError {
  readonly outcome: RequestFailure;
  /** The gateway's errcode; there is one exactly when the outcome is `refused`. `explain` has more about it. */
  readonly errcode: number | undefined;
  /** The gateway's errmsg in its plain form (`plainErrmsg`), if it sent one. */
  readonly errmsg: string | undefined;
  /** Whether the frame may have reached the user all the same: it was sent, and nothing refused it. */
  readonly maybeDelivered: boolean;

  constructor(
    failure:
      | { readonly outcome: "refused"; readonly errcode: number; readonly errmsg?: string | undefined }
      | { readonly outcome: Exclude<RequestFailure, "refused">; readonly maybeDelivered: boolean },
    options?: ErrorOptions,
  ) {
    const refused = failure.outcome === "refused";
    const message = refused ? refusal(failure.errcode, failure.errmsg) : failureSentences[failure.outcome];
    const maybeDelivered = refused ? false : failure.maybeDelivered;
    super(`request-${failure.outcome}`, maybeDelivered ? `${message} It may have been delivered.` : message, options);
    this.name = "RequestError";
    this.outcome = failure.outcome;
    this.maybeDelivered = maybeDelivered;
    this.errcode = refused ? failure.errcode : undefined;
    this.errmsg = refused && failure.errmsg !== undefined ? plainErrmsg(failure.errmsg) : undefined;
  }
}

function refusal(errcode: number, errmsg: string | undefined): string {
  const { meaning, advice } = explain(errcode, errmsg);
  const said = errmsg === undefined ? "" : ` "${plainErrmsg(errmsg)}"`;
  return `The gateway refused the request with ${errcode}${said}. ${meaning.en} ${advice.en}`;
}

const failureSentences: Readonly<Record<Exclude<RequestFailure, "refused">, string>> = {
  "not-ready": "The connection is not ready, so the request was not sent; send it again when it is.",
  "timed-out": "The gateway did not acknowledge the request in time.",
  "connection-lost": "The connection was lost before the gateway acknowledged the request.",
  stopped: "The connection was stopped before the gateway acknowledged the request.",
  abandoned: "The request was abandoned by its caller before the gateway acknowledged it.",
};

/** Why a connection is over for good, until somebody starts it again. */
export type ConnectionEnd = "kicked" | "refused" | "exhausted" | "stopped";

/** A connection that is over for good and will not dial again by itself. `code` is `connection-` and the reason. */
// oxlint-disable-next-line unicorn/custom-error-definition -- an end is not always an error: "stopped" was asked for
export class ConnectionEnded extends OpenwsError {
  readonly why: ConnectionEnd;

  constructor(why: ConnectionEnd, options?: ErrorOptions) {
    super(`connection-${why}`, endSentences[why], options);
    this.name = "ConnectionEnded";
    this.why = why;
  }
}

const endSentences: Readonly<Record<ConnectionEnd, string>> = {
  kicked:
    "Another client subscribed with the same bot and took the connection over. Stop the other one, or give each its own bot, then start again.",
  refused:
    "The gateway refused the bot's credentials. Correct the bot ID or the long-connection secret, then start again.",
  exhausted: "The gateway could not be reached in the allowed number of attempts. Check the network, then start again.",
  stopped: "The connection was stopped on request.",
};
