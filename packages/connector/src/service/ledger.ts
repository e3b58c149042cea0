/**
 * What may become of an entry, how one is made, and how it reads.
 *
 * Decides the states, the lawful ways between them and the numbers. Does not decide when (inbox.ts, outbox.ts,
 * delivery.ts) and does not store. Invariants: an entry moves through the table only; a number is given once, and the
 * commit of its entry is called in the same turn, so that no reader of the feed passes a number that is still to come.
 */
import { OpenwsError, explain } from "@openws/protocol";
import type { Sentence } from "../causes.ts";
import { readAloud } from "../message.ts";
import type { Change, Entry, EntryState, EpochMs, Seq } from "./store.ts";

/** From state to states. `sent` → `accepted`: nothing of it had left. `unknown` → `accepted`: it was asked to be sent once more. */
export const transitions: Readonly<Record<EntryState, readonly EntryState[]>> = {
  received: ["delivered", "dead", "unrouted"],
  unrouted: ["delivered", "dead"],
  delivered: ["dead"],
  dead: ["delivered"],
  accepted: ["sent", "acked", "refused", "unknown", "failed", "expired", "fallback"],
  sent: ["accepted", "acked", "refused", "unknown", "failed", "expired", "fallback"],
  acked: [],
  refused: [],
  unknown: [],
  failed: [],
  expired: [],
  fallback: [],
  noted: [],
};

/** Whether nothing more becomes of it by itself. */
export function isSettled({ state }: Pick<Entry, "state">): boolean {
  return state !== "accepted" && state !== "sent" && state !== "received";
}

/** The entry in another state. Throws for a way that is not in the table: a mistake of ours, not of a user's. */
export function moved(
  entry: Entry,
  state: EntryState,
  now: EpochMs,
  more: Partial<Pick<Entry, "errcode" | "reason" | "maybeDuplicate" | "body">> = {},
): Entry {
  if (!transitions[entry.state].includes(state)) throw new Error(`an entry cannot go from ${entry.state} to ${state}`);
  const { errcode: _errcode, reason: _reason, ...rest } = entry;
  return { ...rest, ...more, state, changedAt: Math.max(now, entry.changedAt) };
}

/** The numbers of entries. */
export class Sequence {
  #next: Seq;

  /** `next`: what `store.nextSeq` said at the start. */
  constructor(next: Seq) {
    this.#next = next;
  }

  /** The next number. Call `commit` with its entry before anything is awaited. */
  next(): Seq {
    return this.#next++;
  }

  /** Another process has numbered until now: goes on from `next`. */
  skipTo(next: Seq): void {
    this.#next = next;
  }
}

/** The change that puts an entry. */
export function putEntry(entry: Entry): Change {
  return { put: "entry", entry };
}

/** The change that stores another state of an entry; of one that was deleted meanwhile nothing is stored. */
export function updateEntry(entry: Entry): Change {
  return { update: "entry", entry };
}

/** There is no entry, stream or bot of that name. */
export class UnknownIdError extends OpenwsError {
  readonly what: string;
  readonly id: string;

  constructor(what: string, id: string) {
    super("not-found", `there is no ${what} ${JSON.stringify(id.slice(0, 128))}`);
    this.name = "UnknownIdError";
    this.what = what;
    this.id = id;
  }
}

/** What an errcode means, in a sentence for people. */
export function errcodeSentence(errcode: number): Sentence {
  const { meaning, advice } = explain(errcode);
  return { en: `${meaning.en} ${advice.en}`.trim(), zh: `${meaning.zh}${advice.zh}`.trim() };
}

/**
 * An entry as a person would read it aloud. `botName` is what users mention in groups: it is taken off the start of what
 * they say there.
 */
export function textOf({ direction, event, kind, chat, body }: Entry, botName?: string): string {
  if (!isObject(body)) return "";
  if (direction === "in")
    return event === true ? `[${kind}]` : readAloud(body, chat?.type === "group" ? botName : undefined);
  if (direction === "bot") return typeof body["reason"] === "string" ? body["reason"] : "";
  for (const member of ["stream", "markdown", "text"]) {
    const part = body[member];
    if (isObject(part) && typeof part["content"] === "string") return part["content"];
  }
  return `[${kind}]`;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
