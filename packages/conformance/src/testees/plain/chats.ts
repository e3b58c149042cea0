/** What may be sent to a chat, and when: 30 messages a minute and 1,000 an hour, and nothing for a minute after 846607. */
import { broken, pause } from "./defect.ts";

const minute = 60_000;
const perMinute = 30;
const perHour = 1_000;

/** The allowance of one chat. */
export class Allowance {
  readonly #sentAt: number[] = [];
  #pausedUntil = 0;

  /** Whether an update that a later one replaces may go now: it leaves room for what has to arrive. */
  get roomForMore(): boolean {
    return this.#waitMs(broken("shows-every-update") ? 0 : 3) === 0;
  }

  /** Waits until something that has to arrive may go, and counts it. */
  async take(): Promise<void> {
    for (let wait = this.#waitMs(1); wait > 0; wait = this.#waitMs(1)) await pause(Math.min(wait, 50));
    this.sent();
  }

  /** Counts something that goes. */
  sent(): void {
    this.#sentAt.push(performance.now());
    if (this.#sentAt.length > perHour) this.#sentAt.shift();
  }

  /** The gateway said 846607. */
  pause(ms: number): void {
    this.#pausedUntil = performance.now() + ms;
  }

  /** How long until so many may go. */
  #waitMs(places: number): number {
    const now = performance.now();
    if (broken("knows-no-quota") || (broken("shows-every-update") && places === 0))
      return Math.max(0, this.#pausedUntil - now);
    const free = (count: number, windowMs: number): number => {
      const at = this.#sentAt[this.#sentAt.length - count - 1 + places];
      return at === undefined ? 0 : at + windowMs;
    };
    return Math.max(0, this.#pausedUntil - now, free(perMinute, minute) - now, free(perHour, 60 * minute) - now);
  }
}
