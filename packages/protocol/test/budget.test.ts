import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Budget } from "../src/budget.ts";
import type { BudgetEffect, BudgetInput, BudgetOptions, BudgetUse } from "../src/budget.ts";
import { UsageError } from "../src/errors.ts";

const ask = (budget: Budget, now: number, use: BudgetUse): BudgetEffect => {
  const effects = budget.handle(now, { type: "ask", for: use });
  expect(effects).toHaveLength(1);
  return effects[0] as BudgetEffect;
};

/** Asks for `use` as often as it is granted at `now`: how often that was, and until when the next has to wait. */
const drain = (budget: Budget, now: number, use: BudgetUse): { count: number; until: number } => {
  for (let count = 0; ; count++) {
    const answer = ask(budget, now, use);
    if (answer.type === "denied") return { count, until: answer.until };
    expect(count).toBeLessThan(2_000);
  }
};

const minute = 60_000;
const uses = fc.constantFrom<BudgetUse>("refresh", "final", "push");
const inputs: fc.Arbitrary<BudgetInput> = fc.oneof(
  { weight: 20, arbitrary: uses.map((use) => ({ type: "ask" as const, for: use })) },
  { weight: 1, arbitrary: fc.constant({ type: "throttled" as const }) },
  { weight: 1, arbitrary: fc.constant({ type: "tick" as const }) },
);
const histories = fc.array(fc.tuple(fc.oneof(fc.nat(50), fc.nat(7_000), fc.nat(200_000)), inputs), { maxLength: 300 });
const options: fc.Arbitrary<BudgetOptions> = fc.record(
  {
    countRefreshes: fc.boolean(),
    perMinute: fc.integer({ min: 3, max: 90 }),
    perHour: fc.integer({ min: 3, max: 2_000 }),
    pauseMs: fc.integer({ min: 1, max: 100_000 }),
  },
  { requiredKeys: [] },
);

describe("Budget", () => {
  it("lets ten messages go at once, then one each three seconds", () => {
    const budget = new Budget();
    expect(drain(budget, 1_000, "push")).toEqual({ count: 10, until: 4_000 });
    expect(drain(budget, 3_999, "push")).toEqual({ count: 0, until: 4_000 });
    expect(drain(budget, 4_000, "push")).toEqual({ count: 1, until: 7_000 });
    expect(drain(budget, 13_500, "push")).toEqual({ count: 3, until: 16_000 });
  });

  it("takes replies and pushes from one allowance", () => {
    const budget = new Budget();
    for (const use of [
      "push",
      "final",
      "refresh",
      "final",
      "push",
      "refresh",
      "push",
      "final",
      "refresh",
      "final",
    ] as const) {
      expect(ask(budget, 5, use)).toEqual({ type: "granted" });
    }
    expect(ask(budget, 5, "final")).toEqual({ type: "denied", until: 3_005 });
  });

  it("says from when on there is room for a message, and takes none by saying so", () => {
    const budget = new Budget();
    expect(budget.freeAt).toBeLessThanOrEqual(1_000);
    const { until } = drain(budget, 1_000, "push");
    expect([budget.freeAt, budget.freeAt]).toEqual([until, until]);
    expect(budget.handle(until, { type: "ask", for: "push" })).toEqual([{ type: "granted" }]);
    budget.handle(20_000, { type: "throttled" });
    expect(budget.freeAt).toBe(80_000);
  });

  it("keeps the last place for a final", () => {
    const budget = new Budget();
    expect(drain(budget, 0, "refresh")).toEqual({ count: 9, until: 3_000 });
    expect(drain(budget, 0, "final")).toEqual({ count: 1, until: 3_000 });
    expect(drain(budget, 3_000, "refresh")).toEqual({ count: 0, until: 6_000 });
    expect(drain(budget, 6_000, "refresh")).toEqual({ count: 1, until: 9_000 });
    expect(drain(budget, 6_000, "push")).toEqual({ count: 1, until: 9_000 });
  });

  it("has its burst again after the bucket emptied", () => {
    const budget = new Budget();
    drain(budget, 0, "push");
    expect(drain(budget, 29_999, "push").count).toBe(9);
    drain(budget, 30_000, "push");
    expect(drain(budget, 60_000, "push").count).toBe(10);
  });

  it("falls to one message each six seconds when the hour's burst is used up", () => {
    const budget = new Budget();
    let sent = 0;
    let now = 0;
    let gap = 0;
    while (gap !== 6_000) {
      sent += drain(budget, now, "push").count;
      gap = drain(budget, now, "push").until - now;
      now += gap;
      expect(sent).toBeLessThan(1_000);
    }
    // The hour's 400 places, and one more each 6 s of the 39 minutes that 790 messages take at the minute's pace.
    expect(sent).toBe(790);
    expect(now).toBe(2_346_000);
  });

  it("keeps the hour's last place for a final as well", () => {
    const budget = new Budget({ perMinute: 3_000_000, perHour: 10 });
    expect(drain(budget, 0, "refresh")).toEqual({ count: 3, until: 600_000 });
    expect(drain(budget, 0, "final")).toEqual({ count: 1, until: 600_000 });
  });

  it("does not count refreshes if told so", () => {
    const budget = new Budget({ countRefreshes: false });
    for (let i = 0; i < 500; i++) expect(ask(budget, 0, "refresh").type).toBe("granted");
    expect(drain(budget, 0, "final").count).toBe(10);
    expect(ask(budget, 0, "refresh").type).toBe("granted");
    budget.handle(0, { type: "throttled" });
    expect(ask(budget, 0, "refresh")).toEqual({ type: "denied", until: minute });
  });

  it("grants nothing for a minute after a throttle, and then the burst", () => {
    const budget = new Budget();
    ask(budget, 0, "refresh");
    expect(budget.handle(1_000, { type: "throttled" })).toEqual([]);
    for (const use of ["refresh", "final", "push"] as const) {
      expect(ask(budget, 60_999, use)).toEqual({ type: "denied", until: 61_000 });
    }
    expect(drain(budget, 61_000, "refresh").count).toBe(9);
  });

  it("prolongs the pause with each throttle", () => {
    const budget = new Budget({ pauseMs: 5_000 });
    budget.handle(0, { type: "throttled" });
    budget.handle(4_000, { type: "throttled" });
    expect(ask(budget, 5_000, "final")).toEqual({ type: "denied", until: 9_000 });
    expect(ask(budget, 9_000, "final")).toEqual({ type: "granted" });
  });

  it("takes a time that goes back for the last one, and not a number for no time at all", () => {
    const budget = new Budget();
    drain(budget, 1_000, "push");
    expect(ask(budget, 0, "push")).toEqual({ type: "denied", until: 4_000 });
    expect(ask(budget, NaN, "push")).toEqual({ type: "denied", until: 4_000 });
    expect(budget.state.now).toBe(1_000);
  });

  it("has no deadline and does nothing on a tick", () => {
    const budget = new Budget();
    drain(budget, 1_000, "push");
    const before = { ...budget.state, now: 2_000 };
    expect(budget.handle(2_000, { type: "tick" })).toEqual([]);
    expect(budget.state).toEqual(before);
    expect(budget.deadline).toBeUndefined();
  });

  it.each([
    ["perMinute", { perMinute: 2.9 }, "at least 3"],
    ["perMinute", { perMinute: NaN }, "at least 3"],
    ["perHour", { perHour: 2 }, "at least 3"],
    ["pauseMs", { pauseMs: 0 }, "above 0"],
  ])("refuses a wrong %s", (path, wrong, what) => {
    expect(() => new Budget(wrong)).toThrow(UsageError);
    expect(() => new Budget(wrong)).toThrow(
      expect.objectContaining({ path, message: `${path} must be ${what}` }) as Error,
    );
  });

  it("takes the smallest quotas", () => {
    expect(drain(new Budget({ perMinute: 3 }), 0, "final").count).toBe(1);
    expect(drain(new Budget({ perHour: 3 }), 0, "final").count).toBe(1);
  });

  it("never lets more than its quotas through in any window of a minute or an hour", () => {
    fc.assert(
      fc.property(options, histories, (given, history) => {
        const budget = new Budget(given);
        const { countRefreshes = true, perMinute = 30, perHour = 1_000 } = given;
        const sentAt: number[] = [];
        let now = 0;
        for (const [ms, input] of history) {
          now += ms;
          // Each step asks for all it can get: the greediest caller.
          for (;;) {
            const [effect] = budget.handle(now, input);
            if (effect?.type !== "granted") break;
            if (input.type === "ask" && input.for === "refresh" && !countRefreshes) break;
            sentAt.push(now);
            if (sentAt.length > 100_000) throw new Error("there is no end to what is granted");
          }
        }
        for (let i = 0; i + perMinute < sentAt.length; i++) {
          expect((sentAt[i + perMinute] as number) - (sentAt[i] as number)).toBeGreaterThanOrEqual(minute - 0.001);
        }
        for (let i = 0; i + perHour < sentAt.length; i++) {
          expect((sentAt[i + perHour] as number) - (sentAt[i] as number)).toBeGreaterThanOrEqual(60 * minute - 0.001);
        }
      }),
    );
  });

  it("grants at the instant it named what nobody else has taken", () => {
    fc.assert(
      fc.property(options, histories, uses, (given, history, use) => {
        const budget = new Budget(given);
        let now = 0;
        for (const [ms, input] of history) budget.handle((now += ms), input);
        const answer = ask(budget, now, use);
        if (answer.type === "granted") return;
        expect(answer.until).toBeGreaterThan(now);
        expect(ask(budget, answer.until, use)).toEqual({ type: "granted" });
      }),
    );
  });

  it("goes on in another process as if nothing had happened", () => {
    fc.assert(
      fc.property(options, histories, fc.nat(300), (given, history, at) => {
        const budget = new Budget(given);
        let restored = new Budget(given);
        let now = 0;
        history.forEach(([ms, input], i) => {
          now += ms;
          if (i === at) restored = Budget.restore(JSON.parse(JSON.stringify(restored.state)) as never, given);
          expect(restored.handle(now, input)).toEqual(budget.handle(now, input));
          expect(restored.state).toEqual(budget.state);
        });
      }),
    );
    expect(Budget.restore({ now: 1, minuteAt: 2, hourAt: 3, pausedUntil: 4 }).state).toEqual({
      now: 1,
      minuteAt: 2,
      hourAt: 3,
      pausedUntil: 4,
    });
  });
});
