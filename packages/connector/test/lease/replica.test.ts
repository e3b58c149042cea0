/** A replica in this process, over a lease in a real file and a service that does what a test says: what goes wrong around it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { pino } from "pino";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { LeaseRecord } from "../../src/lease/lease.ts";
import { type Replica, type ReplicaParts, openReplica } from "../../src/main.lease.ts";
import type { Service } from "../../src/service/service.ts";

const within = { interval: 10, timeout: 10_000 };
let folder: string;
let lease: DatabaseSync;
let log: string;
/** What was done to services, in order. */
let done: string[];
let service: Service;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "openws-replica-"));
  log = "";
  done = [];
  service = {
    bots: () => [],
    stop: async (_: number, handOver?: () => Promise<void>) => {
      await handOver?.();
      done.push("stopped");
    },
  } as unknown as Service;
});

afterEach(() => {
  lease.close();
  rmSync(folder, { recursive: true });
});

async function begin(parts: Partial<ReplicaParts> = {}): Promise<Replica> {
  const file = join(folder, "lease.db");
  const replica = await openReplica({
    address: `sqlite:${file}`,
    ttlMs: 1_000,
    url: () => "http://127.0.0.1:8910",
    log: pino({ base: null }, { write: (line) => void (log += line) }),
    make: () => {
      done.push("made");
      return Promise.resolve(service);
    },
    begin: () => done.push("begun"),
    ended: () => done.push("ended"),
    apiOf: () => () => new Response("served"),
    standby: () => () => new Response("stands by"),
    ...parts,
  });
  lease = new DatabaseSync(file);
  return replica;
}

const record = (): Partial<LeaseRecord> =>
  JSON.parse(String(lease.prepare("SELECT record FROM lease").get()?.["record"] ?? "{}")) as Partial<LeaseRecord>;
const write = (text: string): unknown => lease.prepare("UPDATE lease SET record = ?").run(text);

it("ends a service that was made and cannot be begun, lets the lease go, and says why", async () => {
  const replica = await begin({
    begin: () => {
      throw new Error("it cannot be begun");
    },
  });
  replica.start();
  await expect(replica.failed).rejects.toThrow("it cannot be begun");
  expect(done).toEqual(["made", "stopped", "ended"]);
  expect(record().free).toBe(true);
});

it("serves under the next lease though the service under the last one could not be ended", async () => {
  const broken = { bots: () => [], stop: () => Promise.reject(new Error("it cannot be ended")) } as unknown as Service;
  const whole = service;
  service = broken;
  const replica = await begin();
  replica.start();
  await expect.poll(() => done, within).toEqual(["made", "begun"]);
  service = whole;
  write(JSON.stringify({ fence: Date.now() + 60_000, renewal: 1, holder: "another", ttlMs: 1_000, free: true }));
  await expect.poll(() => done, within).toEqual(["made", "begun", "made", "begun"]);
  expect(log).toContain("it cannot be ended");
  await replica.stop(0);
});

it("ends soon, though the place of the lease does not take it that it is let go of", async () => {
  const replica = await begin({ ttlMs: 30_000 });
  replica.start();
  await expect.poll(() => done, within).toEqual(["made", "begun"]);
  lease.exec("BEGIN IMMEDIATE");
  const from = performance.now();
  service.stop = async () => void done.push("stopped");
  await replica.stop(0);
  expect(performance.now() - from).toBeLessThan(8_000);
  expect(done.at(-1)).toBe("stopped");
});

it("ends, whatever stands where the lease is kept while it hands over", async () => {
  let looks = 0;
  service.bots = () => {
    looks++;
    if (looks === 2) write("{ none of ours");
    return [{ state: { subscribed: looks < 5 } }] as ReturnType<Service["bots"]>;
  };
  const replica = await begin({ ttlMs: 15_000 });
  replica.start();
  await expect.poll(() => done, within).toEqual(["made", "begun"]);
  await replica.stop(4_500);
  expect(done.at(-1)).toBe("stopped");
  expect(log).toContain("the lease is let go of");
});
