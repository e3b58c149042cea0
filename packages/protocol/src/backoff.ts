/**
 * How long to wait before trying again, and the unit of time of this package.
 *
 * Decides the growth and the jitter of a wait. Does not know what is being retried, nor how often it was: attempt and
 * randomness are arguments, so that a given history always waits the same.
 */
import { UsageError } from "./errors.ts";

/**
 * Milliseconds on a clock that never goes back nor stands below 0: an instant where the name ends in `At` or is `now` or
 * `until`, a length where it ends in `Ms`. The machines add and compare them and never read a clock. A state that is stored and restored
 * holds instants, so a driver that persists one must run it on a clock that survives the process, such as Unix time kept
 * from going back.
 */
export type Millis = number;

/**
 * The wait before attempt number `attempt` (0 is the first after the loss): with d = `baseMs` × 2^attempt, at most
 * `maxMs`, it is d × (1 + random / 2), so uniform in [d, 1.5 d].
 *
 * What follows for the defaults of 1 s and 30 s: the retries come no earlier than 1, 3, 7, 15, 31 and 61 s after the
 * loss, so never more than six attempts in the first minute, the one that was lost included; and no wait is longer than
 * 45 s, so a client is back within 45 s, and the time it takes to dial and subscribe, of an outage's end. The jitter only
 * ever lengthens a wait, because a thousand clients of one gateway that lose it together must not return together.
 *
 * @param attempt how many waits went before this one; an integer from 0
 * @param random a number in [0, 1), fresh for each call
 * @throws UsageError for arguments outside their range, because a wait that is not a number would be no wait at all
 */
export function backoff(attempt: number, random: number, baseMs: Millis = 1_000, maxMs: Millis = 30_000): Millis {
  if (!Number.isInteger(attempt) || attempt < 0)
    throw new UsageError("attempt must be an integer from 0", { path: "attempt" });
  if (!(random >= 0 && random < 1)) throw new UsageError("random must be in [0, 1)", { path: "random" });
  if (!(baseMs > 0)) throw new UsageError("baseMs must be above 0", { path: "baseMs" });
  if (!(maxMs >= baseMs)) throw new UsageError("maxMs must not be below baseMs", { path: "maxMs" });
  return Math.min(maxMs, baseMs * 2 ** attempt) * (1 + random / 2);
}
