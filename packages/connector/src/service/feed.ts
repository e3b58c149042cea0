/**
 * Reading along: what came in and what happened, in the order of its numbers, from any number on.
 *
 * Decides what a page is, how a reader waits and how it follows. Does not know HTTP (api). Invariants: a reader that gives
 * back the cursor it got sees each entry once and misses none; readers that wait cost the store nothing until something
 * comes; how many wait is bounded.
 */
import { OpenwsError } from "@openws/protocol";
import type { Clock } from "./clock.ts";
import type { Entry, EntryFilter, Seq, Store } from "./store.ts";

/** What a reader wants. */
export interface FeedFilter extends Pick<EntryFilter, "bot" | "kinds" | "chat" | "user"> {
  /** `in` and `bot`, what came and what happened; `out` for what the bot says as well. */
  readonly directions?: readonly Entry["direction"][] | undefined;
}

/** A page, and where the next one begins. */
export interface FeedPage {
  readonly entries: readonly Entry[];
  /** Give it back as `after`. It moves on, too, over entries that the filter leaves out. */
  readonly cursor: Seq;
}

/** Too many readers wait. */
export class FeedBusyError extends OpenwsError {
  constructor(readers: number) {
    super("feed-busy", `${readers} readers wait already; read without waiting, or try again later`);
    this.name = "FeedBusyError";
  }
}

const defaultDirections: readonly Entry["direction"][] = ["in", "bot"];

/** The feed of a service. */
export class Feed {
  readonly #store: Pick<Store, "entries" | "nextSeq">;
  readonly #clock: Clock;
  readonly #maxReaders: number;
  readonly #waiting = new Set<() => void>();
  /** The greatest number that is known to be stored. */
  #stored: Seq = 0;

  constructor(store: Pick<Store, "entries" | "nextSeq">, clock: Clock, { maxReaders = 1_000 } = {}) {
    this.#store = store;
    this.#clock = clock;
    this.#maxReaders = maxReaders;
  }

  /** Says what was just committed. */
  stored(entries: readonly Entry[]): void {
    for (const { seq } of entries) this.#stored = Math.max(this.#stored, seq);
    for (const wake of this.#waiting) wake();
  }

  /** The cursor after everything there is: a reader who begins here sees only what is new. */
  async end(): Promise<Seq> {
    return Math.max(this.#stored, (await this.#store.nextSeq()) - 1);
  }

  /**
   * At most `limit` entries after a cursor; where there is none, waits for one at most `waitMs`. Rejects with
   * `FeedBusyError`, and with what the store rejects with.
   */
  async page(
    after: Seq,
    filter: FeedFilter,
    { limit, waitMs, signal }: { limit: number; waitMs: number; signal?: AbortSignal | undefined },
  ): Promise<FeedPage> {
    const until = this.#clock.now() + waitMs;
    for (let cursor = after; ;) {
      const end = await this.end();
      const entries = await this.#store.entries({
        directions: defaultDirections,
        ...filter,
        after: cursor,
        order: "ascending",
        limit,
      });
      const last = entries.at(-1)?.seq;
      // A full page says nothing of what lies behind it.
      cursor = last !== undefined && entries.length === limit ? last : Math.max(cursor, last ?? 0, end);
      if (entries.length > 0 || this.#clock.now() >= until || signal?.aborted === true) return { entries, cursor };
      await this.#news(cursor, until, signal);
    }
  }

  /** All entries after a cursor, and each new one as it is stored, until `signal` aborts. */
  async *follow(
    after: Seq,
    filter: FeedFilter,
    signal: AbortSignal,
  ): AsyncGenerator<{ entries: readonly Entry[]; cursor: Seq }, void> {
    for (let cursor = after; !signal.aborted;) {
      const page = await this.page(cursor, filter, { limit: 200, waitMs: 15_000, signal });
      if (signal.aborted) return;
      cursor = page.cursor;
      // An empty one as well: it shows the other side that somebody is there.
      yield page;
    }
  }

  /** Resolves when something newer is stored, at `until`, or on abort. */
  #news(cursor: Seq, until: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#stored > cursor) return Promise.resolve();
    if (this.#waiting.size >= this.#maxReaders) return Promise.reject(new FeedBusyError(this.#maxReaders));
    return new Promise((resolve) => {
      const wake = (): void => {
        cancel();
        this.#waiting.delete(wake);
        signal?.removeEventListener("abort", wake);
        resolve();
      };
      const cancel = this.#clock.wakeAt(until, wake);
      this.#waiting.add(wake);
      signal?.addEventListener("abort", wake, { once: true });
    });
  }
}
