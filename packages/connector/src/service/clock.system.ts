/** The clock of the machine. */
import type { Clock } from "./clock.ts";

/** The machine's own time, timers and chance. Its alarms keep no process alive. */
export const systemClock: Clock = {
  now: () => Date.now(),
  wakeAt: (at, wake) => {
    // A longer time-out than this fires at once; waking too early is up to the caller to notice.
    const timer = setTimeout(wake, Math.min(Math.max(0, at - Date.now()), 2 ** 31 - 1));
    if (typeof timer === "object") timer.unref();
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};
