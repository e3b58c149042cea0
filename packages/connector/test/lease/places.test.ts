/** What every place of a lease keeps to. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { installed, openLease } from "../../src/lease/open.ts";
import { keepsTheContract } from "./contract.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "openws-lease-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

it("says in both languages what is to be installed, where a client is not there", async () => {
  const missing = Object.assign(new Error("no such package"), { code: "ERR_MODULE_NOT_FOUND" });
  const refusal = await installed("ioredis", () => Promise.reject(missing)).catch((error: unknown) => error);
  expect(refusal).toMatchObject({
    sentence: {
      en: expect.stringMatching(/not installed; .*npm install ioredis$/) as string,
      zh: expect.stringMatching(/尚未安装；.*npm install ioredis$/) as string,
    },
  });
});

it("fails without waiting, and with a reason, where a server does not answer", async () => {
  for (const [address, why] of [
    ["redis://127.0.0.1:1", /^Redis: .*ECONNREFUSED/],
    ["postgres://nobody@127.0.0.1:1/none", /^PostgreSQL: .*ECONNREFUSED/],
    ["nats://127.0.0.1:1", /^NATS: /],
  ] as const) {
    const place = await openLease(address);
    await expect(place.read()).rejects.toThrow(why);
    await expect(place.swap(undefined, "one")).rejects.toThrow(why);
    await place.close();
  }
});

describe("a lease in a SQLite file", () => {
  keepsTheContract((name) => `sqlite:${join(folder, "deep", "lease.db")}?name=${name}`);

  it("says what to do about a file that is none, and an address that is none, and repeats no address", async () => {
    const file = join(folder, "none.db");
    writeFileSync(file, "not a database, but long enough to be taken for one".repeat(40));
    await expect(openLease(`sqlite:${file}`)).rejects.toThrow(
      /cannot be opened or made .*remove it while no replica runs/,
    );
    await expect(openLease("sqlite:")).rejects.toThrow(/needs the path of a file/);
    for (const none of ["mysql://root:hunter2@host/db", "redis:", "lease.db"])
      await expect(openLease(none)).rejects.toThrow(
        /^OPENWS_LEASE must be sqlite:FILE, redis:[^@]*@HOST.DATABASE or nats:/,
      );
    await expect(openLease(`sqlite:${join(folder, "a.db")}?name=a/b`)).rejects.toThrow(/name of a lease/);
  });
});
