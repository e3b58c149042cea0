import { readFileSync } from "node:fs";
import { transitions } from "@openws/protocol";
import { describe, expect, test } from "vitest";
import { campaign, judge, replay, scheduleOf, simulate } from "../src/index.ts";
import type { Schedule } from "../src/sim.ts";
import { longRun } from "./long-run.ts";

/** Ten seconds of schedules, another ten thousand of them each day; SIM_SEED runs a day's again. */
const seed = Number(process.env["SIM_SEED"] ?? Math.floor(Date.now() / 86_400_000) * 100_000);
const ms = Number(process.env["SIM_MS"] ?? 10_000);

/** For tests of hundreds of schedules, on a machine that has other things to do as well. */
const slow = { timeout: 60_000 };

describe("the core against the mock's own gateway", () => {
  test(
    `no invariant breaks in ${ms / 1_000} s of schedules from seed ${seed}`,
    () => {
      const until = performance.now() + ms;
      const { failure, schedules, answers, faults, virtualMs } = campaign({
        seed,
        runs: Infinity,
        goOn: () => performance.now() < until,
      });
      expect(failure?.report, "SIM_SEED repeats it").toBeUndefined();
      // oxlint-disable-next-line no-console -- figures belong in the log of a run
      console.info(
        `${schedules} schedules from seed ${seed}: ${Math.round(virtualMs / 3_600_000)} virtual hours, ${faults} faults, ${answers} answers`,
      );
    },
    ms + 60_000,
  );

  test("the same schedule gives the same history, byte for byte", () => {
    for (const n of [1, 2, 3, 4, 5]) {
      const [first, second] = [simulate(scheduleOf(n)), simulate(scheduleOf(n))];
      expect(JSON.stringify(second)).toBe(JSON.stringify(first));
    }
  });

  test("every schedule has three faults and twenty questions at least, whatever its seed", () => {
    for (let n = 0; n < 20_000; n++) {
      const { commands, faults } = scheduleOf(n);
      expect(faults.length).toBeGreaterThanOrEqual(3);
      expect(commands.filter((command) => command.do === "say").length).toBeGreaterThanOrEqual(20);
    }
  });

  test("every run lasts 15 minutes at least, and answers more than twenty in the mean", slow, () => {
    let answered = 0;
    for (let n = 0; n < 400; n++) {
      const history = simulate(scheduleOf(n));
      expect(history.endAt).toBeGreaterThanOrEqual(15 * 60_000);
      answered += history.happenings.filter(({ what }) => what === "answered").length;
    }
    // What is said while the line is down is said again, and lost if it stays down.
    expect(answered / 400).toBeGreaterThan(20);
  });

  test("schedules lead a connection through its whole table, but for what is rare or cannot happen here", slow, () => {
    const missing = new Set(
      Object.entries(transitions).flatMap(([from, causes]) => Object.keys(causes).map((cause) => `${from} ${cause}`)),
    );
    for (const move of rare) missing.delete(move);
    for (let n = 0; n < 3_000 && missing.size > 0; n++)
      for (const happening of simulate(scheduleOf(n)).happenings)
        if (happening.what === "moved") missing.delete(`${happening.from} ${happening.why}`);
    expect([...missing]).toEqual([]);
  });

  test("a schedule that holds has nothing to replay", () => {
    expect(replay(1, "0")).toBeUndefined();
  });

  test.each(regressions())("the schedule of seed $seed, at which something was wrong once, holds", (schedule) => {
    expect(judge(simulate(schedule))).toBeUndefined();
  });
});

describe("24 virtual hours with a reconnect every five minutes", () => {
  test("nothing in the core grows with uptime", () => {
    const { sizes } = longRun();
    // After the first hour as much is held as after the last.
    for (const [name, [early, late]] of Object.entries(sizes)) expect(late, name).toBeLessThanOrEqual(early * 1.5 + 16);
  });
});

/** Nobody stops what was never started; pings notice silence first; only who is subscribed is told of a kick; the rest is chance. */
const rare = [
  "idle stop",
  "ready silence",
  "subscribing kicked",
  "dialing stop",
  "subscribing stop",
  "waiting stop",
  "kicked stop",
  "refused stop",
];

/** Schedules at which the core, the simulator or its oracle was found to be wrong, one a line, as they were drawn then. */
function regressions(): readonly Schedule[] {
  const lines = readFileSync(new URL("./regressions.jsonl", import.meta.url), "utf8")
    .trim()
    .split("\n");
  return lines.map((line) => JSON.parse(line) as Schedule);
}
