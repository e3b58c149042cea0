import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { campaign } from "../src/index.ts";
import { applyHunk, plant, readPatch } from "./planted/plant.ts";

const names = readdirSync(new URL("./planted/", import.meta.url))
  .filter((file) => file.endsWith(".patch"))
  .map((file) => file.slice(0, -".patch".length));

/** So many schedules suffice; the rarest of these defects shows itself within 320. */
const runs = 3_000;

describe("the simulator finds each planted defect", () => {
  test("there are twenty of them at least", () => {
    expect(names.length).toBeGreaterThanOrEqual(20);
  });

  test.for(names)("%s, and makes it small", { timeout: 120_000 }, async (name) => {
    using planted = await plant(name);
    const { failure } = campaign({ seed: 1, runs, core: planted.core });
    expect(failure, planted.what).toBeDefined();
    expect(failure!.schedule.faults.length, failure!.report).toBeLessThanOrEqual(3);
    expect(failure!.schedule.commands.length, failure!.report).toBeLessThanOrEqual(8);
    expect(failure!.report).toContain(`replay: openws-conformance sim --seed ${failure!.seed} --path ${failure!.path}`);
  });
});

describe("a patch", () => {
  const text = "It is wrong.\n\n--- a/x.ts\n+++ b/x.ts\n@@ -1,3 +1,3 @@\n one\n-two\n+deux\n three\n";

  test("is read as what is wrong and what it changes", () => {
    expect(readPatch(text)).toEqual({
      what: "It is wrong.",
      hunks: [{ file: "x.ts", before: "one\ntwo\nthree", after: "one\ndeux\nthree" }],
    });
  });

  test("applies wherever its text stands", () => {
    const [hunk] = readPatch(text).hunks;
    expect(applyHunk("zero\none\ntwo\nthree\nfour\n", hunk!)).toBe("zero\none\ndeux\nthree\nfour\n");
  });

  test("that does not apply, or applies twice, fails and says what it looked for", () => {
    const [hunk] = readPatch(text).hunks;
    expect(() => applyHunk("one\n2\nthree", hunk!)).toThrow(/nothing in x\.ts looks like this:\none\ntwo\nthree/);
    expect(() => applyHunk("one\ntwo\nthree\none\ntwo\nthree", hunk!)).toThrow(/more than one place in x\.ts/);
  });
});
