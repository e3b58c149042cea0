import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { campaign } from "../src/index.ts";
import { applyHunk, plant, readPatch } from "./planted/plant.ts";

const names = readdirSync(new URL("./planted/", import.meta.url))
  .filter((file) => file.endsWith(".patch"))
  .map((file) => file.slice(0, -".patch".length));

/** So many schedules suffice; the rarest of these defects shows itself within 300. */
const runs = 3_000;

/**
 * Where the search begins for a defect that few schedules show; for all others at 1. It saves time and decides nothing:
 * should schedules be drawn differently one day, the search goes on from there.
 */
const seeds: Readonly<Record<string, number>> = {
  "any-ack-subscribes": 22,
  "credentials-retried": 97,
  "expired-stream-continued": 26,
  "finish-of-a-part": 134,
  "no-dial-limit": 67,
  "no-handover": 38,
  "no-subscribe-limit": 21,
  "quota-without-its-burst": 144,
  "throttle-ignored": 149,
};

describe("the simulator finds each planted defect", () => {
  test("there are twenty of them at least", () => {
    expect(names.length).toBeGreaterThanOrEqual(20);
    expect(names).toEqual(expect.arrayContaining(Object.keys(seeds)));
  });

  test.for(names)("%s, and makes it small", { timeout: 120_000 }, async (name) => {
    using planted = await plant(name);
    const { failure } = campaign({ seed: seeds[name] ?? 1, runs, core: planted.core });
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
