/**
 * Which of several replicas holds the lines: a lease, as a machine without time, disk or network of its own. It says what
 * the place where the lease is kept is to be asked next, is told the answers, and says whether the lines may be used now.
 *
 * Decides what a lease is and when it passes. One record is all there is: who holds it, and how often it was renewed. It
 * changes only by "if it is still what I read, write this". Nobody's time of day is believed: the holder counts its time
 * from before it asked for the renewal, whoever waits counts from when it saw the record change last, and both need
 * only that their clocks run at about the same rate. So:
 *
 *   renewed       every ttl/3
 *   given up      2·ttl/3 after the beginning of the last renewal that is known to have succeeded
 *   taken over    when the record stood still for ttl + ttl/5, or at once when its holder let it go
 *
 * and between giving up and taking over lies more than half a ttl, whatever was delayed, lost or answered late.
 *
 * Does not know where the record is kept (lease.sqlite.ts and the others), who asks (keeper.ts), nor what a line is. The
 * lease cannot fence WeCom, which lets the newest in: it guards the subscribing, and its number the store.
 *
 * Invariants: one question is under way at a time; `holds` is undefined from the instant at which another may hold it; the
 * fencing number grows with each holder, even where the place of the record has forgotten everything.
 */

/** What is written where the lease is kept, as JSON. */
export interface LeaseRecord {
  /** Grows with each holder. */
  readonly fence: number;
  /** Another one each time its holder writes. */
  readonly renewal: number;
  /** The replica, for people and for itself. */
  readonly holder: string;
  /** Where its API is reached; for whoever asked another replica. */
  readonly url?: string | undefined;
  /** How long it counts, as its holder was told. */
  readonly ttlMs: number;
  /** Its holder has let go of it: anybody may take it at once. */
  readonly free?: true | undefined;
}

/** Where the lease is kept: one text that several replicas see. Both calls may reject, and may then have had their effect. */
export interface LeasePlace {
  /** What is there; undefined where nothing is. */
  read(): Promise<string | undefined>;
  /** Writes `next` if what is there is `expected` still, in one step. Resolves with whether it did. */
  swap(expected: string | undefined, next: string): Promise<boolean>;
  close(): Promise<void>;
}

/** What the place is asked. */
export type LeaseAsk =
  | { readonly ask: "read" }
  | { readonly ask: "swap"; readonly expected: string | undefined; readonly next: string };

/** What it answered; `failed` where nobody knows whether it was done. */
export type LeaseAnswer =
  | { readonly read: string | undefined }
  | { readonly swapped: boolean }
  | { readonly failed: true };

/** Why it came, and why it went. */
export type LeaseChange =
  | {
      readonly type: "held";
      readonly fence: number;
      readonly why: "first" | "free" | "expired" | "own";
      readonly from: LeaseRecord | undefined;
    }
  | {
      readonly type: "lost";
      readonly fence: number;
      readonly why: "not-renewed" | "taken" | "let-go";
      readonly to: LeaseRecord | undefined;
    }
  /** Another holds it; told once a holder. */
  | { readonly type: "waiting"; readonly holder: LeaseRecord };

/** What a lease is told of its replica. */
export interface LeaseOptions {
  /** The replica; no other may have the same, and a process has another than the one before it. */
  readonly holder: string;
  readonly url?: string | undefined;
  readonly ttlMs: number;
  /** How often whoever waits looks; by default a thirtieth of the ttl, at most 500. */
  readonly pollMs?: number | undefined;
  /** Told of what changes, in the order in which it does. */
  readonly changed: (change: LeaseChange) => void;
}

/** How long past the ttl a record must stand still before it is taken, as a part of the ttl. */
const skewPart = 1 / 5;

interface Held {
  readonly record: LeaseRecord;
  readonly text: string;
  /** The lines may be used before. */
  readonly until: number;
}

interface Pending {
  readonly ask: LeaseAsk;
  readonly startedAt: number;
}

/** A replica's lease. All instants are of one monotonic clock, in milliseconds; `epochMs` is the time of day. */
export class Lease {
  readonly #options: LeaseOptions;
  readonly #pollMs: number;
  #held: Held | undefined;
  /** What another wrote, and since when it stands there as far as is known; undefined until something was read. */
  #seen: { readonly text: string | undefined; readonly since: number; readonly first: boolean } | undefined;
  #asked: Pending | undefined;
  /** A renewal or taking of which nobody knows whether it was done. */
  #doubt: { readonly record: LeaseRecord; readonly text: string; readonly startedAt: number } | undefined;
  /** When the next question is due. */
  #nextAt = -Infinity;
  /** The next question is a read, though the lease is held. */
  #unsure = false;
  /** No two records of this replica are the same, or one that came late could pass for one that came in time. */
  #writes = 0;
  #letting = false;
  #left = false;
  #toldOf: number | undefined;
  /** The record that is to be taken. */
  #taking:
    | {
        readonly expected: string | undefined;
        readonly from: LeaseRecord | undefined;
        readonly why: "first" | "free" | "expired" | "own";
      }
    | undefined;

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#pollMs = options.pollMs ?? Math.min(options.ttlMs / 30, 500);
  }

  /** The fencing number while the lines may be used; undefined otherwise. True of the instant that is given, without any event. */
  holds(now: number): number | undefined {
    return this.#held === undefined || this.#letting || now >= this.#held.until ? undefined : this.#held.record.fence;
  }

  /** Who holds it, as far as is known: another's record, or the own one. */
  get record(): LeaseRecord | undefined {
    return this.#held?.record ?? recordOf(this.#seen?.text);
  }

  /** Whether `leave` has come to its end: nothing will be asked any more. */
  get over(): boolean {
    return this.#left && this.#held === undefined && this.#asked === undefined;
  }

  /** When `due` is to be called next. */
  get wakeAt(): number {
    if (this.#asked !== undefined) return this.#held?.until ?? Infinity;
    if (this.over) return Infinity;
    return Math.min(this.#nextAt, this.#held?.until ?? Infinity);
  }

  /** Lets go of it, so that another can have it at once, and takes it no more. The lines may not be used from now on. */
  leave(): void {
    this.#left = true;
    this.#taking = undefined;
    if (this.#held === undefined) return;
    this.#letting = true;
    this.#nextAt = -Infinity;
  }

  /** What is to be asked now, which then is under way until `answered`; undefined for nothing. */
  due(now: number, epochMs: number): LeaseAsk | undefined {
    if (this.#held !== undefined && now >= this.#held.until)
      this.#lose(this.#letting ? "let-go" : "not-renewed", undefined);
    if (this.#asked !== undefined || now < this.#nextAt || this.over) return undefined;
    const ask = this.#ask(epochMs);
    if (ask !== undefined) this.#asked = { ask, startedAt: now };
    return ask;
  }

  /** What became of what was asked. */
  answered(answer: LeaseAnswer, now: number): void {
    const asked = this.#asked;
    if (asked === undefined) return;
    this.#asked = undefined;
    if (this.#held !== undefined && now >= this.#held.until)
      this.#lose(this.#letting ? "let-go" : "not-renewed", undefined);
    if (asked.ask.ask === "read") this.#read(asked.startedAt, answer, now);
    else this.#swapped(asked.ask, asked.startedAt, answer, now);
  }

  #ask(epochMs: number): LeaseAsk | undefined {
    const { holder, url, ttlMs } = this.#options;
    if (this.#held !== undefined) {
      if (this.#unsure) return { ask: "read" };
      const { record, text } = this.#held;
      const free = this.#letting ? ({ free: true } as const) : {};
      return { ask: "swap", expected: text, next: textOf({ ...record, ...free, url, ttlMs, renewal: ++this.#writes }) };
    }
    if (this.#left) return undefined;
    if (this.#taking === undefined) return { ask: "read" };
    // Where the record was lost, the time of day stands in for the numbers of before.
    const fence = Math.max((this.#taking.from?.fence ?? 0) + 1, epochMs);
    return {
      ask: "swap",
      expected: this.#taking.expected,
      next: textOf({ fence, renewal: ++this.#writes, holder, url, ttlMs }),
    };
  }

  #read(startedAt: number, answer: LeaseAnswer, now: number): void {
    const { ttlMs } = this.#options;
    if (!("read" in answer)) {
      this.#nextAt = this.#held === undefined ? now + this.#pollMs : Math.max(now, startedAt + ttlMs / 12);
      return;
    }
    const text = answer.read;
    const record = recordOf(text);
    if (this.#held !== undefined) {
      this.#unsure = false;
      this.#nextAt = now;
      const doubt = this.#doubt;
      this.#doubt = undefined;
      if (text === this.#held.text) return;
      if (doubt !== undefined && text === doubt.text) {
        if (record?.free === true) return this.#lose("let-go", undefined);
        return this.#hold(doubt.record, doubt.text, doubt.startedAt, now);
      }
      if (record !== undefined && record.fence === this.#held.record.fence && record.holder === this.#options.holder) {
        // An older renewal that came late: it is ours, but says nothing of how long.
        if (record.free === true) return this.#lose("let-go", undefined);
        this.#held = { ...this.#held, record, text: text! };
        return;
      }
      this.#lose("taken", record);
    }
    this.#look(text, record, now);
  }

  /** What stands there while it is not held. */
  #look(text: string | undefined, record: LeaseRecord | undefined, now: number): void {
    const first = this.#seen === undefined;
    if (this.#seen === undefined || this.#seen.text !== text) this.#seen = { text, since: now, first };
    this.#nextAt = now + this.#pollMs;
    if (this.#left) return;
    const take = (why: "first" | "free" | "expired" | "own"): void => {
      this.#taking = { expected: text, from: record, why };
      this.#nextAt = now;
    };
    if (text === undefined && this.#seen.first) return take("first");
    if (record?.free === true) return take("free");
    // Only this process has its name: it is a taking that was answered late, or what it could not renew.
    if (record?.holder === this.#options.holder) return take("own");
    const ttlMs = Math.max(record?.ttlMs ?? 0, this.#options.ttlMs);
    const freeAt = this.#seen.since + ttlMs * (1 + skewPart);
    if (now >= freeAt) return take(text === undefined ? "first" : "expired");
    this.#nextAt = Math.min(this.#nextAt, freeAt);
    if (record !== undefined && this.#toldOf !== record.fence) {
      this.#toldOf = record.fence;
      this.#options.changed({ type: "waiting", holder: record });
    }
  }

  #swapped({ next }: Extract<LeaseAsk, { ask: "swap" }>, startedAt: number, answer: LeaseAnswer, now: number): void {
    const { ttlMs } = this.#options;
    const record = recordOf(next)!;
    const done = "swapped" in answer ? answer.swapped : undefined;
    if (this.#held === undefined) {
      const taking = this.#taking;
      this.#taking = undefined;
      // A place that can be read and not written would be asked without end.
      this.#nextAt = done === undefined ? now + this.#pollMs : now;
      if (done !== true || taking === undefined || this.#left) {
        // What became of it is read; a lease that came though it is not wanted any more runs out.
        if (done === true && this.#left) this.#giveBack(record, next, startedAt);
        return;
      }
      // Answered too late to be of use: the next look finds the own name, and takes it again.
      if (now >= this.#usableUntil(startedAt)) return;
      this.#hold(record, next, startedAt, now);
      this.#options.changed({ type: "held", fence: record.fence, why: taking.why, from: taking.from });
      return;
    }
    if (done === true) {
      if (record.free === true) return this.#lose("let-go", undefined);
      return this.#hold(record, next, startedAt, now);
    }
    this.#unsure = true;
    this.#doubt = done === undefined ? { record, text: next, startedAt } : undefined;
    this.#nextAt = done === undefined ? Math.max(now, startedAt + ttlMs / 12) : now;
  }

  #hold(record: LeaseRecord, text: string, startedAt: number, now: number): void {
    const { ttlMs } = this.#options;
    this.#held = { record, text, until: this.#usableUntil(startedAt) };
    this.#seen = undefined;
    this.#toldOf = undefined;
    this.#unsure = false;
    this.#nextAt = this.#letting ? now : startedAt + ttlMs / 3;
  }

  #usableUntil(startedAt: number): number {
    return startedAt + (2 * this.#options.ttlMs) / 3;
  }

  /** A taking that succeeded after `leave`: it is let go of as any other. */
  #giveBack(record: LeaseRecord, text: string, startedAt: number): void {
    this.#letting = true;
    this.#hold(record, text, startedAt, startedAt);
    this.#nextAt = -Infinity;
  }

  #lose(why: "not-renewed" | "taken" | "let-go", to: LeaseRecord | undefined): void {
    const { record, text } = this.#held!;
    this.#held = undefined;
    this.#doubt = undefined;
    this.#unsure = false;
    this.#letting = false;
    this.#nextAt = -Infinity;
    // What it wrote itself it has not seen another write: nothing here is the first look.
    this.#seen = { text, since: Infinity, first: false };
    this.#options.changed({ type: "lost", fence: record.fence, why, to });
  }
}

function textOf(record: LeaseRecord): string {
  return JSON.stringify(record);
}

/** The record of a text; undefined where nothing is, or what is there was written by something else. */
export function recordOf(text: string | undefined): LeaseRecord | undefined {
  if (text === undefined) return undefined;
  try {
    const record = JSON.parse(text) as LeaseRecord;
    return typeof record.fence === "number" && typeof record.holder === "string" ? record : undefined;
  } catch {
    return undefined;
  }
}
