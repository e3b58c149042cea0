/**
 * The time of day as an argument, for everything that is written down: what is stored must mean the same after a restart,
 * and a test must be able to move it.
 */
import type { EpochMs } from "./store.ts";

/** A clock with alarms and chance. */
export interface Clock {
  /** Milliseconds since 1970. It may jump, as the time of day does. */
  now(): EpochMs;
  /** Calls `wake` once, not before `at`; the returned function cancels. */
  wakeAt(at: EpochMs, wake: () => void): () => void;
  /** Yields [0, 1). */
  random(): number;
}
