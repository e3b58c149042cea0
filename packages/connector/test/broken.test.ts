// The table of breaks stays a table of this source: every behaviour has tests and a break, and every break still fits.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { brokenRows } from "../tools/broken-rows.ts";
import { broken, packages, testsOf, tryBroken } from "../tools/broken.ts";

test("each of the 85 behaviours has tests by its number, and a break that fits the source", () => {
  const numbers = Object.keys(brokenRows).map(Number);
  expect(numbers).toEqual(Array.from({ length: 85 }, (_, at) => at + 1));
  for (const number of numbers) {
    expect(testsOf(number)).toMatch(/\.test\.ts$/);
    const [, ...changes] = brokenRows[number]!;
    for (const [file] of changes) {
      const source = readFileSync(join(packages, file), "utf8");
      expect(broken(number, file, source), `behaviour ${number}`).not.toBe(source);
    }
  }
});

test("a broken behaviour is seen by its tests", { timeout: 60_000 }, async () => {
  expect(await tryBroken(31)).toBeUndefined();
});
