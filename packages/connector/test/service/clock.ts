/** A clock that stands still until it is moved; alarms ring in order, and what they cause is waited for. */
import type { Clock } from "../../src/service/clock.ts";

export interface ManualClock extends Clock {
  /** Moves the time, ringing what is due on the way. */
  advance(ms: number): Promise<void>;
  /** Waits until nothing happens any more at this instant. */
  settle(): Promise<void>;
  readonly alarms: number;
}

export function manualClock(start = 1_700_000_000_000, chance = () => 0): ManualClock {
  let now = start;
  const alarms = new Set<{ at: number; wake: () => void }>();
  const settle = async (): Promise<void> => {
    // Promises, streams and worker answers of one instant: many turns of the loop, no time.
    for (let turn = 0; turn < 25; turn++)
      await new Promise<void>((resolve) => {
        setImmediate(resolve);
      });
  };
  return {
    now: () => now,
    wakeAt: (at, wake) => {
      const alarm = { at, wake };
      alarms.add(alarm);
      return () => alarms.delete(alarm);
    },
    random: chance,
    get alarms() {
      return alarms.size;
    },
    settle,
    advance: async (ms) => {
      const until = now + ms;
      await settle();
      for (;;) {
        const [due] = [...alarms].filter(({ at }) => at <= until).toSorted((a, b) => a.at - b.at);
        if (due === undefined) break;
        alarms.delete(due);
        now = Math.max(now, due.at);
        due.wake();
        await settle();
      }
      now = until;
      await settle();
    },
  };
}
