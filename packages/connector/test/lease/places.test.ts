/** What every place of a lease keeps to. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openLease } from "../../src/lease/open.ts";
import { keepsTheContract } from "./contract.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "openws-lease-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("a lease in a SQLite file", () => {
  keepsTheContract((name) => `sqlite:${join(folder, "deep", "lease.db")}?name=${name}`);

  it("says what to do about a file that is none, and an address that is none, and repeats no address", async () => {
    const file = join(folder, "none.db");
    writeFileSync(file, "not a database, but long enough to be taken for one".repeat(40));
    await expect(openLease(`sqlite:${file}`)).rejects.toThrow(
      /cannot be opened or made .*remove it while no replica runs/,
    );
    await expect(openLease("sqlite:")).rejects.toThrow(/needs the path of a file/);
    await expect(openLease("mysql://root:hunter2@host/db")).rejects.toThrow(
      /^OPENWS_LEASE must begin with one of sqlite:/,
    );
  });
});
