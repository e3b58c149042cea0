/**
 * What one chat may still be sent: 30 messages a minute and 1,000 an hour, replies and pushes together (PUSH-7). Beyond that the
 * gateway answers 846607 and shows nothing.
 *
 * Decides who may send now and who waits until when. Does not know what is sent, nor who else sends: whatever goes to the
 * chat by another way is noticed by its 846607 only.
 *
 * Two leaky buckets (the generic cell rate algorithm), one for the minute and one for the hour. Each is one instant: when
 * the bucket would be empty again if nothing more were sent. A message moves that instant on by one interval, and may go
 * when it is no further ahead than the bucket is deep. So an answer's first frames go at once, the later ones at an even
 * pace, and no window of a minute or an hour, wherever the gateway lets it begin, holds more than is allowed: 10 at once
 * and one each 3 s make 30 in a minute, 400 at once and one each 6 s make 1,000 in an hour.
 *
 * Invariants: memory is three instants, however many messages; a refresh never takes the last place, which is a final's
 * or a push's; a denial always names an instant later than now, at which the same question is granted if nobody else
 * asked in between.
 */
import type { Millis } from "./backoff.ts";
import { UsageError } from "./errors.ts";
import { quotaPerHour, quotaPerMinute } from "./frames.ts";

/**
 * What is to be sent: a `refresh` is a frame of a stream that a later one replaces, a `final` the last frame of a stream
 * (or a reply of one frame), a `push` a message of its own.
 */
export type BudgetUse = "refresh" | "final" | "push";

/** What happened, or is asked. */
export type BudgetInput =
  /** May this be sent now? If it is granted, it counts as sent. */
  | { readonly type: "ask"; readonly for: BudgetUse }
  /** The gateway answered 846607 to a message in this chat. */
  | { readonly type: "throttled" }
  | { readonly type: "tick" };

/** The answer to an `ask`: send now, or ask again at `until`, with what is newest then. */
export type BudgetEffect = { readonly type: "granted" } | { readonly type: "denied"; readonly until: Millis };

/** How a budget is tuned. */
export interface BudgetOptions {
  /**
   * Whether refreshes use up the quota; true. The documents do not say, and reports differ: 846607 was seen in streams of
   * many frames, and 31 frames in 8.4 s passed once. Counted, an answer is shown in 20 steps a minute after the first ten
   * and always arrives; not counted and wrong, its end is refused for a minute.
   */
  readonly countRefreshes?: boolean;
  /** Messages in any minute and in any hour; 30 and 1,000. At least 3 each: a burst of two and a pace. */
  readonly perMinute?: number;
  readonly perHour?: number;
  /** How long nothing is granted after 846607; 60,000. */
  readonly pauseMs?: Millis;
}

/** A budget as plain JSON. */
export interface BudgetState {
  readonly now: Millis;
  /** When the minute's and the hour's bucket will be empty. */
  readonly minuteAt: Millis;
  readonly hourAt: Millis;
  /** Until when nothing is granted. */
  readonly pausedUntil: Millis;
}

interface Bucket {
  /** Between two messages at the even pace. */
  readonly intervalMs: Millis;
  /** Messages that may go at once. */
  readonly burst: number;
}

/**
 * The allowance of one chat. Make one per chat, keep it as long as the chat is known, and ask it before every message to
 * it: pass the same one to all streams of the chat.
 *
 * `handle(now, { type: "ask", for })` answers with exactly one effect. A budget waits for nothing, so it has no deadline.
 */
export class Budget {
  readonly #countRefreshes: boolean;
  readonly #pauseMs: Millis;
  readonly #minute: Bucket;
  readonly #hour: Bucket;
  #now: Millis = 0;
  #minuteAt: Millis = 0;
  #hourAt: Millis = 0;
  #pausedUntil: Millis = 0;

  /** @throws UsageError for a quota below 3 or a pause that is not above 0 */
  constructor(options: BudgetOptions = {}) {
    const { countRefreshes = true, perMinute = quotaPerMinute, perHour = quotaPerHour, pauseMs = 60_000 } = options;
    if (!(perMinute >= 3)) throw new UsageError("perMinute must be at least 3", { path: "perMinute" });
    if (!(perHour >= 3)) throw new UsageError("perHour must be at least 3", { path: "perHour" });
    if (!(pauseMs > 0)) throw new UsageError("pauseMs must be above 0", { path: "pauseMs" });
    this.#countRefreshes = countRefreshes;
    this.#pauseMs = pauseMs;
    this.#minute = bucket(60_000, perMinute, Math.floor(perMinute / 3));
    this.#hour = bucket(3_600_000, perHour, Math.floor(perHour * 0.4));
  }

  /** A budget that goes on where another one, in another process, stood. */
  static restore(state: BudgetState, options: BudgetOptions = {}): Budget {
    const budget = new Budget(options);
    budget.#now = state.now;
    budget.#minuteAt = state.minuteAt;
    budget.#hourAt = state.hourAt;
    budget.#pausedUntil = state.pausedUntil;
    return budget;
  }

  handle(now: Millis, input: BudgetInput): readonly BudgetEffect[] {
    if (now > this.#now) this.#now = now;
    switch (input.type) {
      case "ask":
        return [this.#ask(input.for)];
      case "throttled":
        this.#pausedUntil = this.#now + this.#pauseMs;
        return [];
      case "tick":
        return [];
    }
  }

  /** Always undefined: a budget answers and does nothing by itself. */
  get deadline(): undefined {
    return undefined;
  }

  /** From when on a message of its own may go; not later than now where it may. Asking takes nothing. */
  get freeAt(): Millis {
    return this.#freeAt(1);
  }

  get state(): BudgetState {
    return { now: this.#now, minuteAt: this.#minuteAt, hourAt: this.#hourAt, pausedUntil: this.#pausedUntil };
  }

  #ask(use: BudgetUse): BudgetEffect {
    const counts = use !== "refresh" || this.#countRefreshes;
    // A refresh may only go when there is room for one more message behind it.
    const places = use === "refresh" ? 2 : 1;
    const until = counts ? this.#freeAt(places) : this.#pausedUntil;
    if (until > this.#now) return { type: "denied", until };
    if (counts) {
      this.#minuteAt = Math.max(this.#minuteAt, this.#now) + this.#minute.intervalMs;
      this.#hourAt = Math.max(this.#hourAt, this.#now) + this.#hour.intervalMs;
    }
    return { type: "granted" };
  }

  /** When there is room for so many messages. */
  #freeAt(places: number): Millis {
    return Math.max(
      this.#pausedUntil,
      this.#minuteAt - (this.#minute.burst - places) * this.#minute.intervalMs,
      this.#hourAt - (this.#hour.burst - places) * this.#hour.intervalMs,
    );
  }
}

/** A bucket that lets `burst` messages go at once and the rest of `quota` evenly over the window. */
function bucket(windowMs: Millis, quota: number, burst: number): Bucket {
  return { burst, intervalMs: windowMs / (quota - burst) };
}
