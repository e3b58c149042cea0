/**
 * The wire log: what crossed each socket, in order, as text.
 *
 * An entry is made from the raw text before anything parses it; what the gateway then made of the frame is noted beside
 * it and never changes it. The secret of a subscribe is masked on the way in and is nowhere else. The log is a ring
 * bounded in entries and in bytes: the oldest go first, and `dropped` says how many went.
 */

import type { BehaviourId } from "./behaviours.ts";
import type { Millis } from "./clock.ts";

/** One line of the log. `in` is from a client to the gateway, `out` the other way, `socket` the life of the socket itself. */
export interface LogEntry {
  /** Counts from 1 and never repeats; after a reset it goes on. */
  seq: number;
  /** World clock, Unix milliseconds. */
  at: Millis;
  /** Transport clock, milliseconds: what durations on the wire are to be measured on. */
  transportAt: Millis;
  /** The connection's number. */
  connection: number;
  /** The bot the connection is subscribed for, or was. */
  bot: string | null;
  dir: "in" | "out" | "socket";
  /** The frame as it crossed the wire, secrets masked; for `socket` what happened, such as `opened` or `closed 1006`. */
  text: string;
  /** The frame's cmd; null on acks and on texts without one. */
  cmd: string | null;
  /** The frame's headers.req_id, where it has one. */
  reqId: string | null;
  /** On an ack going out: the cmd it answers. */
  acks?: string | undefined;
  /** What the gateway made of it: the behaviour that applied. */
  verdict?: BehaviourId | undefined;
  /** The errcode of an ack, or the one a frame was refused with. */
  errcode?: number | undefined;
  /** A remark for people, such as which member was wrong. */
  note?: string | undefined;
  /** The id of the fault that changed, delayed or swallowed it. */
  fault?: string | undefined;
  /** The frame was binary, not text. */
  binary?: true | undefined;
}

/** Hides the secret of a subscribe in a text, whatever the spacing and escapes. */
export const maskSecret = (text: string): string =>
  text.includes('"secret"') ? text.replace(/("secret"\s*:\s*")(?:[^"\\]|\\.)*(?="|$)/g, "$1***") : text;

/** How much a {@link WireLog} keeps. */
export interface WireLogBounds {
  /** Default 20,000. */
  readonly entries?: number;
  /** Sum of the texts' lengths; default 64 Mi. */
  readonly characters?: number;
}

/** The bounded ring of entries, and those who follow it. */
export class WireLog {
  /** Entries that were forgotten since the last clear. */
  dropped = 0;
  readonly #maxEntries: number;
  readonly #maxCharacters: number;
  /** A ring: it grows to its bound once, and then entries take the places of the oldest. */
  #ring: (LogEntry | undefined)[] = [];
  /** Where the oldest entry is in the ring, and how many there are. */
  #head = 0;
  #kept = 0;
  #characters = 0;
  readonly #followers = new Set<(entry: LogEntry) => void>();

  constructor(bounds: WireLogBounds = {}) {
    this.#maxEntries = bounds.entries ?? 20_000;
    this.#maxCharacters = bounds.characters ?? 64 * 1024 * 1024;
  }

  append(entry: LogEntry): void {
    if (this.#kept === this.#maxEntries) this.#drop();
    this.#ring[(this.#head + this.#kept) % this.#maxEntries] = entry;
    this.#kept++;
    this.#characters += entry.text.length;
    // The newest is kept, however long it is.
    while (this.#characters > this.#maxCharacters && this.#kept > 1) this.#drop();
    for (const follower of this.#followers) follower(entry);
  }

  /** The entries that are kept, oldest first, after `seq` if given. */
  entries(after = 0): LogEntry[] {
    const entries: LogEntry[] = [];
    for (let nth = 0; nth < this.#kept; nth++) {
      const entry = this.#ring[(this.#head + nth) % this.#maxEntries]!;
      if (entry.seq > after) entries.push(entry);
    }
    return entries;
  }

  /** Calls back for every entry from now on; returns how to stop that. */
  follow(follower: (entry: LogEntry) => void): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  clear(): void {
    this.#ring = [];
    this.#head = 0;
    this.#kept = 0;
    this.#characters = 0;
    this.dropped = 0;
  }

  #drop(): void {
    this.#characters -= this.#ring[this.#head]!.text.length;
    this.#ring[this.#head] = undefined;
    this.#head = (this.#head + 1) % this.#maxEntries;
    this.#kept--;
    this.dropped++;
  }
}
