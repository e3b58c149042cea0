/**
 * When an endpoint that keeps failing is left alone, and when it is asked again. Pure: time and chance are arguments.
 *
 * Closed, everything may be tried. After `threshold` failures in a row it opens, for a time that doubles each time it opens
 * again; then one try is let through, and what becomes of that decides.
 */
import type { EpochMs } from "./store.ts";

/** How a breaker behaves. */
export interface BreakerOptions {
  /** Failures in a row; 5. */
  readonly threshold?: number | undefined;
  /** The first rest; 5,000. */
  readonly restMs?: number | undefined;
  /** The longest; 60,000. */
  readonly maxRestMs?: number | undefined;
}

/** The circuit of one endpoint. */
export class Breaker {
  readonly #threshold: number;
  readonly #restMs: number;
  readonly #maxRestMs: number;
  #failures = 0;
  #openings = 0;
  /** Open until then, and half open after it. */
  #until: EpochMs | undefined;
  /** The one try of a half-open circuit is under way. */
  #trying = false;

  constructor({ threshold = 5, restMs = 5_000, maxRestMs = 60_000 }: BreakerOptions = {}) {
    this.#threshold = threshold;
    this.#restMs = restMs;
    this.#maxRestMs = maxRestMs;
  }

  get state(): "closed" | "open" | "half-open" {
    if (this.#until === undefined) return "closed";
    return this.#trying ? "half-open" : "open";
  }

  /** When the next try is let through, while none is. */
  get until(): EpochMs | undefined {
    return this.#trying ? undefined : this.#until;
  }

  /** Whether a try may begin now; if so it counts as begun. */
  admit(now: EpochMs): boolean {
    if (this.#until === undefined) return true;
    if (this.#trying || now < this.#until) return false;
    this.#trying = true;
    return true;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#openings = 0;
    this.#until = undefined;
    this.#trying = false;
  }

  /** The endpoint failed, not the message: no answer, or one that any message would have got. */
  failed(now: EpochMs, chance: number): void {
    this.#failures++;
    const halfOpen = this.#trying;
    this.#trying = false;
    if (!halfOpen && (this.#failures < this.#threshold || this.#until !== undefined)) return;
    const restMs = Math.min(this.#restMs * 2 ** this.#openings, this.#maxRestMs);
    this.#openings++;
    this.#until = now + Math.round(restMs * (1 + 0.25 * chance));
  }
}
