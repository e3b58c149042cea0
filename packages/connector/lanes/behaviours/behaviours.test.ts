// Breaks each of the 85 behaviours in turn; the tests of its number must fail. First, with nothing broken, they must not.
import { describe, expect, test, vi } from "vitest";
import { brokenRows } from "../../tools/broken-rows.ts";
import { tryBroken, tryWhole } from "../../tools/broken.ts";

// Most of a run is waiting for what does not come; more at once would make the tests late on two cores.
vi.setConfig({ maxConcurrency: 3 });

test("with nothing broken all tests pass", { timeout: 120_000 }, async () => {
  expect(await tryWhole()).toBeUndefined();
});

describe.concurrent("broken, it is seen", () => {
  for (const [number, [instead]] of Object.entries(brokenRows))
    test(`${number}: ${instead}`, { timeout: 120_000 }, async () => {
      expect(await tryBroken(Number(number))).toBeUndefined();
    });
});
