// Takes each behaviour of the fidelity ledger away in a copy of the sources; the test the ledger names must miss it.
import { afterAll, describe, expect, test } from "vitest";
import { Copy, ledger, tryLine } from "../../tools/fidelity.ts";

const copy = new Copy();
afterAll(() => copy[Symbol.dispose]());

describe("taken away, it is missed", () => {
  for (const line of ledger())
    if (line.test !== undefined)
      test(`${line.requirement.id}: ${line.what}`, { timeout: 120_000 }, async () => {
        expect(await tryLine(copy, line)).toBeUndefined();
      });
});
