import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { backoff } from "../src/backoff.ts";
import { UsageError } from "../src/errors.ts";

const randoms = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe("backoff", () => {
  it("doubles from one second to thirty when random is 0", () => {
    expect([0, 1, 2, 3, 4, 5, 6, 60, 5_000].map((attempt) => backoff(attempt, 0))).toEqual([
      1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 30_000,
    ]);
  });

  it("adds up to half of the wait, in proportion to random", () => {
    expect(backoff(0, 0.5)).toBe(1_250);
    expect(backoff(3, 0.999)).toBeCloseTo(8_000 * 1.4995, 6);
    expect(backoff(9, 0.5)).toBe(37_500);
  });

  it("takes another base and another maximum, which may be the base itself or unlimited", () => {
    expect(backoff(0, 0, 200, 200)).toBe(200);
    expect(backoff(1, 0, 200, 300)).toBe(300);
    expect(backoff(10, 0, 1, Infinity)).toBe(1_024);
    expect(backoff(0, 0.5, 0.5)).toBe(0.625);
  });

  it("stays in [d, 1.5 d] and never falls from one attempt to the next at the same random", () => {
    fc.assert(
      fc.property(fc.nat(80), randoms, fc.integer({ min: 1, max: 1e6 }), fc.nat(1e6), (attempt, random, base, more) => {
        const d = Math.min(base + more, base * 2 ** attempt);
        const wait = backoff(attempt, random, base, base + more);
        expect(wait).toBeGreaterThanOrEqual(d);
        expect(wait).toBeLessThanOrEqual(1.5 * d);
        expect(backoff(attempt + 1, random, base, base + more)).toBeGreaterThanOrEqual(wait);
      }),
    );
  });

  it("never allows more than six attempts in the first minute, nor a wait above 45 s", () => {
    fc.assert(
      fc.property(fc.infiniteStream(randoms), (stream) => {
        let at = 0;
        let attempts = 1; // the one that was lost
        for (let attempt = 0; at < 60_000; attempt++) {
          const wait = backoff(attempt, stream.next().value as number);
          expect(wait).toBeLessThanOrEqual(45_000);
          at += wait;
          if (at < 60_000) attempts++;
        }
        expect(attempts).toBeLessThanOrEqual(6);
      }),
    );
  });

  it.each([
    ["attempt", [-1, 0]],
    ["attempt", [0.5, 0]],
    ["attempt", [NaN, 0]],
    ["random", [0, 1]],
    ["random", [0, -0.001]],
    ["random", [0, NaN]],
    ["baseMs", [0, 0, 0]],
    ["baseMs", [0, 0, NaN]],
    ["maxMs", [0, 0, 1_000, 999]],
    ["maxMs", [0, 0, 1_000, NaN]],
  ] as const)("refuses a wrong %s: %j", (path, [attempt, random, base, max]) => {
    expect(() => backoff(attempt, random, base, max)).toThrow(UsageError);
    expect(() => backoff(attempt, random, base, max)).toThrow(
      expect.objectContaining({ path, message: expect.stringMatching(`^${path} must `) as string }) as Error,
    );
  });
});
