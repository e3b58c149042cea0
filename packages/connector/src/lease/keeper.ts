/**
 * Keeps a lease: asks the place what the machine wants to know, when it is due, and tells who lives by it. Decides how long
 * an answer may take. Knows neither the place nor what the lease is for.
 *
 * Invariants: an answer that comes after its time is not heard; `holds` is asked of the clock, so it is true before any
 * alarm rings; after `leave` has resolved nothing is asked any more.
 */
import type { Lease, LeaseAnswer, LeaseAsk, LeasePlace } from "./lease.ts";

/** The clock of a lease. */
export interface LeaseClock {
  /** Monotonic, in milliseconds. */
  now(): number;
  /** Milliseconds since 1970, for the fencing number alone. */
  epochMs(): number;
  /** Calls `wake` once, not before `at` on the monotonic clock; the returned function cancels. */
  wakeAt(at: number, wake: () => void): () => void;
}

/** What a keeper works with. */
export interface KeeperParts {
  readonly lease: Lease;
  readonly place: LeasePlace;
  readonly clock: LeaseClock;
  /** After this an answer is not waited for; a sixth of the ttl leaves time for another try. */
  readonly askMs: number;
  /** Told when the place begins not to answer, and when it does again (undefined). Must not throw. */
  readonly trouble: (why: string | undefined) => void;
}

/** Keeps one lease from `start` to `leave`. */
export class Keeper {
  readonly #parts: KeeperParts;
  #cancel: (() => void) | undefined;
  #started = false;
  #troubled = false;
  /** Answers since the last one that failed. */
  #answers = 0;
  #left = Promise.withResolvers<undefined>();

  constructor(parts: KeeperParts) {
    this.#parts = parts;
  }

  /** Begins to ask. */
  start(): void {
    this.#started = true;
    this.#go();
  }

  /** The fencing number while the lines may be used now; undefined otherwise. */
  holds(): number | undefined {
    return this.#parts.lease.holds(this.#parts.clock.now());
  }

  /** Lets go of the lease and asks nothing more. Resolves when it is let go of, or could not be and has run out. */
  async leave(): Promise<void> {
    this.#parts.lease.leave();
    this.#go();
    await this.#left.promise;
  }

  #go(): void {
    const { lease, clock } = this.#parts;
    if (!this.#started) return this.#left.resolve(undefined);
    this.#cancel?.();
    this.#cancel = undefined;
    const ask = lease.due(clock.now(), clock.epochMs());
    if (ask !== undefined) this.#ask(ask);
    if (lease.over) return this.#left.resolve(undefined);
    if (lease.wakeAt < Infinity) this.#cancel = clock.wakeAt(lease.wakeAt, () => this.#go());
  }

  #ask(ask: LeaseAsk): void {
    const { lease, place, clock, askMs, trouble } = this.#parts;
    let open = true;
    const answered = (answer: LeaseAnswer, why?: string): void => {
      if (!open) return;
      open = false;
      cancel();
      this.#answers = why === undefined ? this.#answers + 1 : 0;
      // What can be read and not written fails at every second question: one answer does not say that all is well.
      const isWell = why === undefined && (ask.ask === "swap" || this.#answers > 1);
      if (this.#troubled ? isWell : why !== undefined) {
        this.#troubled = !this.#troubled;
        trouble(why);
      }
      lease.answered(answer, clock.now());
      this.#go();
    };
    const cancel = clock.wakeAt(clock.now() + askMs, () =>
      answered({ failed: true }, `no answer within ${Math.round(askMs)} ms`),
    );
    const failed = (error: unknown): void =>
      answered({ failed: true }, error instanceof Error ? error.message : String(error));
    if (ask.ask === "read") place.read().then((read) => answered({ read }), failed);
    else place.swap(ask.expected, ask.next).then((swapped) => answered({ swapped }), failed);
  }
}
