/** What every place of a lease keeps to. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openLease } from "../../src/lease/open.ts";
import { keepsTheContract } from "./contract.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "openws-lease-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

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

it("refuses a password that no client can read, and repeats none, whatever is wrong", async () => {
  for (const scheme of ["redis", "rediss", "postgres", "nats", "tls"]) {
    await expect(openLease(`${scheme}://user:hunter%2@127.0.0.1:1/none`)).rejects.toThrow(
      /^OPENWS_LEASE has a % [^@]* written %25$/,
    );
    const place = await openLease(`${scheme}://user:hunter2@127.0.0.1:1/none`);
    const error: unknown = await place.read().catch((refused: unknown) => refused);
    expect(inspect(error, { depth: 8 })).not.toContain("hunter2");
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
    // Where no folder can be made, Node's own way of making several never comes back.
    if (process.platform === "linux")
      await expect(openLease("sqlite:/proc/none/lease.db")).rejects.toThrow(/cannot be opened or made/);
    await expect(openLease("sqlite:")).rejects.toThrow(/needs the path of a file/);
    for (const none of ["mysql://root:hunter2@host/db", "redis:", "lease.db"])
      await expect(openLease(none)).rejects.toThrow(
        /^OPENWS_LEASE must be sqlite:FILE, redis:[^@]*@HOST.DATABASE or nats:/,
      );
    await expect(openLease(`sqlite:${join(folder, "a.db")}?name=a/b`)).rejects.toThrow(/name of a lease/);
  });
});
