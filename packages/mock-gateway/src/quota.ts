/** A sliding allowance: so many in any minute, so many in any hour. Remembers at most an hour's worth of instants. */

import type { Millis } from "./clock.ts";

const minuteMs = 60_000;
const hourMs = 3_600_000;

/** The allowance of one chat, or of one bot's uploads. */
export class Quota {
  readonly #perMinute: number;
  readonly #perHour: number;
  /** Instants of what was granted, oldest first. */
  #granted: Millis[] = [];

  constructor(perMinute: number, perHour: number) {
    this.#perMinute = perMinute;
    this.#perHour = perHour;
  }

  /** Grants one, or refuses it; a refusal costs nothing. */
  take(now: Millis): boolean {
    const granted = this.#granted;
    let old = 0;
    while (old < granted.length && granted[old]! <= now - hourMs) old++;
    if (old > 0) granted.splice(0, old);
    if (granted.length >= this.#perHour) return false;
    const oldest = granted[granted.length - this.#perMinute];
    if (oldest !== undefined && oldest > now - minuteMs) return false;
    granted.push(now);
    return true;
  }
}
