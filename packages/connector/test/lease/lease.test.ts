/** The lease as a machine, with several replicas in virtual time, each with a clock of its own. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Lease, type LeaseAnswer, type LeaseAsk, type LeaseChange } from "../../src/lease/lease.ts";

const ttlMs = 1_500;
/** The longest that whoever asks waits for an answer. */
const askMs = ttlMs / 6;
const startedAtEpoch = 1_700_000_000_000;

/** What can go wrong with one question, in milliseconds of the world's time. */
interface Trip {
  /** On the way there, and on the way back. */
  readonly there: number;
  readonly back: number;
  readonly lost: "no" | "there" | "back";
}

interface Schedule {
  readonly replicas: readonly {
    readonly rate: number;
    readonly offset: number;
    readonly from: number;
    readonly leavesAt: number;
  }[];
  readonly trips: readonly Trip[];
  /** A replica stands still, as a process that was stopped or a machine under a snapshot. */
  readonly pauses: readonly { readonly of: number; readonly from: number; readonly for: number }[];
  /** A replica does not reach the place. */
  readonly outages: readonly { readonly of: number; readonly from: number; readonly for: number }[];
}

interface World {
  readonly changes: readonly (LeaseChange & { readonly replica: number; readonly at: number })[];
  /** Instants at which more than one used the lines. */
  readonly together: readonly number[];
  readonly usedMs: number;
  readonly fences: readonly number[];
}

/** Plays a schedule, a tick of ten milliseconds at a time. */
function play({ replicas, trips, pauses, outages }: Schedule, forMs: number): World {
  const tickMs = 10;
  let text: string | undefined;
  let now = 0;
  let trip = 0;
  let usedMs = 0;
  const changes: (LeaseChange & { replica: number; at: number })[] = [];
  const together: number[] = [];
  const fences: number[] = [];
  const flying: { at: number; run: () => void }[] = [];
  const all = replicas.map(({ rate, offset, from, leavesAt }, replica) => {
    const lease = new Lease({
      holder: `replica ${replica}`,
      ttlMs,
      changed: (change) => {
        changes.push({ ...change, replica, at: now });
        if (change.type === "held") fences.push(change.fence);
      },
    });
    return { lease, from, leavesAt, left: false, asked: 0, clock: () => offset + now * rate };
  });
  const isPaused = (of: number): boolean =>
    pauses.some((pause) => pause.of === of && now >= pause.from && now < pause.from + pause.for);
  const apply = (ask: LeaseAsk): LeaseAnswer => {
    if (ask.ask === "read") return { read: text };
    if (text !== ask.expected) return { swapped: false };
    text = ask.next;
    return { swapped: true };
  };
  for (; now < forMs; now += tickMs) {
    for (const landed of flying.filter(({ at }) => at <= now)) {
      flying.splice(flying.indexOf(landed), 1);
      landed.run();
    }
    for (const [of, one] of all.entries()) {
      if (now < one.from || isPaused(of)) continue;
      if (now >= one.leavesAt && !one.left) {
        one.left = true;
        one.lease.leave();
      }
      const ask = one.lease.due(one.clock(), startedAtEpoch + now);
      if (ask === undefined) continue;
      const { there, back, lost } = trips[trip++ % trips.length]!;
      const asked = ++one.asked;
      const answer = (given: LeaseAnswer): void => {
        // It stands still: what came meanwhile is read when it goes on.
        // Whether that comes before the alarms that are due is chance.
        if (isPaused(of))
          flying[(there + back) % 2 === 0 ? "push" : "unshift"]({ at: now + tickMs, run: () => answer(given) });
        else if (one.asked === asked) {
          one.asked++;
          one.lease.answered(given, one.clock());
        }
      };
      const away = outages.some((outage) => outage.of === of && now >= outage.from && now < outage.from + outage.for);
      if (lost !== "there" && !away)
        flying.push({
          at: now + there,
          run: () => {
            const given = apply(ask);
            if (lost === "no") flying.push({ at: now + back, run: () => answer(given) });
          },
        });
      flying.push({ at: now + askMs, run: () => answer({ failed: true }) });
    }
    const using = all.filter(
      ({ lease, from, clock }, of) => now >= from && !isPaused(of) && lease.holds(clock()) !== undefined,
    );
    if (using.length > 0) usedMs += tickMs;
    if (using.length > 1) together.push(now);
  }
  return { changes, together, usedMs, fences };
}

const fine: Trip = { there: 0, back: 0, lost: "no" };
const one = { rate: 1, offset: 0, from: 0, leavesAt: Infinity };

describe("a lease among replicas", () => {
  it("is never used by two at one moment, whatever is delayed, paused, lost or left", () => {
    const trip = fc.record({
      there: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 60 }), fc.integer({ min: 0, max: 2_500 })),
      back: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 60 }), fc.integer({ min: 0, max: 2_500 })),
      lost: fc.oneof(
        { weight: 6, arbitrary: fc.constant("no" as const) },
        fc.constantFrom("there" as const, "back" as const),
      ),
    });
    const replica = fc.record({
      rate: fc.double({ min: 0.95, max: 1.05, noNaN: true }),
      offset: fc.integer({ min: -1_000_000, max: 1_000_000 }),
      from: fc.integer({ min: 0, max: 4_000 }),
      leavesAt: fc.oneof(fc.constant(Infinity), fc.integer({ min: 0, max: 15_000 })),
    });
    const pause = fc.record({
      of: fc.integer({ min: 0, max: 3 }),
      from: fc.integer({ min: 0, max: 15_000 }),
      for: fc.integer({ min: 0, max: 6_000 }),
    });
    let moved = 0;
    fc.assert(
      fc.property(
        fc.record({
          replicas: fc.array(replica, { minLength: 2, maxLength: 4 }),
          trips: fc.array(trip, { minLength: 1, maxLength: 40 }),
          pauses: fc.array(pause, { maxLength: 5 }),
          outages: fc.array(pause, { maxLength: 5 }),
        }),
        (schedule) => {
          const { together, fences } = play(schedule, 20_000);
          expect(together).toEqual([]);
          // What came by chance is in order: the number grows with each holder.
          expect(fences).toEqual(fences.toSorted((a, b) => a - b));
          expect(new Set(fences).size).toBe(fences.length);
          if (fences.length > 1) moved++;
        },
      ),
      { numRuns: 300 },
    );
    // Or nothing was tried.
    expect(moved).toBeGreaterThan(100);
  });

  it("is held all the time where nothing goes wrong, by one, and the others say by whom", () => {
    const { changes, usedMs } = play(
      { replicas: [one, one, one], trips: [{ there: 20, back: 20, lost: "no" }], pauses: [], outages: [] },
      20_000,
    );
    expect(usedMs).toBeGreaterThan(19_900);
    expect(changes.filter(({ type }) => type === "held")).toHaveLength(1);
    expect(changes.filter(({ type }) => type === "waiting")).toMatchObject([{ replica: 1 }, { replica: 2 }]);
  });

  it("goes to another within ttl + ttl/5 and a look, when its holder is gone", () => {
    const pauses = [{ of: 0, from: 5_000, for: Infinity }];
    const { changes } = play({ replicas: [one, { ...one, from: 1_000 }], trips: [fine], pauses, outages: [] }, 20_000);
    const taken = changes.find(({ type, replica }) => type === "held" && replica === 1);
    expect(taken).toMatchObject({ why: "expired" });
    expect(taken!.at - 5_000).toBeLessThanOrEqual(ttlMs * 1.2 + 100);
    expect(taken!.at - 5_000).toBeGreaterThan(ttlMs * 0.8);
  });

  it("goes at once to whoever waits, when its holder lets go of it", () => {
    const { changes, usedMs } = play(
      {
        replicas: [
          { ...one, leavesAt: 5_000 },
          { ...one, from: 1_000 },
        ],
        trips: [fine],
        pauses: [],
        outages: [],
      },
      10_000,
    );
    expect(changes.find(({ type, replica }) => type === "held" && replica === 1)).toMatchObject({ why: "free" });
    expect(usedMs).toBeGreaterThan(9_800);
  });

  it("is given up at two thirds of the ttl where it cannot be renewed, and taken again by the same where nobody came", () => {
    const { changes } = play(
      { replicas: [one], trips: [fine], pauses: [], outages: [{ of: 0, from: 4_000, for: 3_000 }] },
      12_000,
    );
    expect(changes.map(({ type }) => type)).toEqual(["held", "lost", "held"]);
    const [, lost, again] = changes;
    expect(lost).toMatchObject({ why: "not-renewed" });
    expect(lost!.at).toBeGreaterThan(4_000 + ttlMs / 3 - 50);
    expect(lost!.at).toBeLessThanOrEqual(4_000 + (2 * ttlMs) / 3 + 20);
    expect(again).toMatchObject({ why: "own" });
  });

  it("is kept where single renewals are lost", () => {
    const trips: Trip[] = [fine, fine, fine, { ...fine, lost: "there" }, fine, fine, fine, { ...fine, lost: "back" }];
    const { changes } = play({ replicas: [one], trips, pauses: [], outages: [] }, 20_000);
    expect(changes).toMatchObject([{ type: "held", why: "first" }]);
  });

  it("is not taken at once by whoever saw it held, though the place forgets it", () => {
    const changes: LeaseChange[] = [];
    const lease = new Lease({ holder: "b", ttlMs, changed: (change) => changes.push(change) });
    const ask = (now: number, read: string | undefined): LeaseAsk | undefined => {
      const asked = lease.due(now, startedAtEpoch);
      if (asked?.ask === "read") lease.answered({ read }, now);
      return asked;
    };
    ask(0, JSON.stringify({ fence: 7, renewal: 3, holder: "a", ttlMs }));
    for (let now = 100; now < 100 + ttlMs * 1.2; now += 100) expect(ask(now, undefined)?.ask).not.toBe("swap");
    ask(2_000, undefined);
    expect(lease.due(2_000, startedAtEpoch)).toMatchObject({ ask: "swap", expected: undefined });
    lease.answered({ swapped: true }, 2_010);
    expect(lease.holds(2_010)).toBe(startedAtEpoch);
  });

  it("counts from when it was asked for, however late the answer comes", () => {
    const begun = () => new Lease({ holder: "a", ttlMs, changed: () => undefined });
    const late = begun();
    late.due(0, startedAtEpoch);
    late.answered({ read: undefined }, 0);
    late.due(0, startedAtEpoch);
    late.answered({ swapped: true }, 1_100);
    expect(late.holds(1_100)).toBeUndefined();

    const lease = begun();
    lease.due(0, startedAtEpoch);
    lease.answered({ read: undefined }, 0);
    lease.due(0, startedAtEpoch);
    lease.answered({ swapped: true }, 100);
    expect(lease.due(500, startedAtEpoch)).toMatchObject({ ask: "swap" });
    lease.answered({ swapped: true }, 900);
    expect([lease.holds(1_499), lease.holds(1_500)]).toEqual([startedAtEpoch, undefined]);
    // Nobody knows of the next one, until it is read.
    const renewal = lease.due(1_000, startedAtEpoch);
    lease.answered({ failed: true }, 1_250);
    expect(lease.due(1_250, startedAtEpoch)).toEqual({ ask: "read" });
    lease.answered({ read: renewal?.ask === "swap" ? renewal.next : undefined }, 1_400);
    expect([lease.holds(1_999), lease.holds(2_000)]).toEqual([startedAtEpoch, undefined]);
  });
});
