// The lease in real servers, and replicas as processes that fail over through each: killed ten times, and never two of them
// with the line. A server that this machine lacks is left out, by name.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Gateway, startGateway } from "@openws/mock-gateway";
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { leftOut } from "../../../../tools/left-out.ts";
import { openLease } from "../../src/lease/open.ts";
import { keepsTheContract } from "../../test/lease/contract.ts";
import { ask, handsOver, replica, settingsOf } from "../../test/lease/replicas.ts";
import type { Running } from "../../test/process.ts";
import { type Server, servers } from "./servers.ts";

const ttlMs = 1_500;
const kills = 10;
const handOvers = 5;

/** Whether a replica has the line, subscribed. */
const holds = async (running: Running): Promise<boolean> => (await ask(running, "/readyz?role=holder")).status === 200;

describe.each(["SQLite", "Redis", "PostgreSQL", "NATS"] as const)("with the lease in %s", (kind) => {
  let server: Server | undefined;
  let folder: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "openws-leases-"));
    if (kind !== "SQLite") server = await servers[kind]();
  });
  afterAll(async () => {
    await server?.end();
    rmSync(folder, { recursive: true });
  });
  beforeEach((context) => {
    if (kind !== "SQLite" && server === undefined)
      leftOut(context, `a lease in ${kind}`, "the server is not installed");
  });
  const addressOf = (name: string): string => `${server?.address ?? `sqlite:${join(folder, "lease.db")}`}?name=${name}`;

  keepsTheContract(addressOf);

  it(
    "has what was written though the server is killed, and asks the next one by itself",
    { timeout: 60_000 },
    async (context) => {
      if (server === undefined) leftOut(context, "a server of SQLite's that is killed", "there is none");
      const place = await openLease(addressOf("kept"));
      onTestFinished(() => place.close());
      await place.swap(undefined, "one");
      await server.restart();
      await expect.poll(() => place.read().catch(() => "nothing yet")).toBe("one");
      expect(await place.swap("one", "two")).toBe(true);
    },
  );

  it(
    "nobody uses the line while the server is away, and its holder goes on when it is back",
    { timeout: 60_000 },
    async (context) => {
      if (server === undefined) leftOut(context, "a server of SQLite's that is away", "there is none");
      const gateway = await startGateway({ latencyMs: 0, bots: [{ id: "bot", secret: "s3cret-of-bot" }] });
      onTestFinished(() => gateway.stop());
      const env = settingsOf(gateway, addressOf("away"), join(folder, "away.db"));
      await using first = await replica(env);
      await expect.poll(() => holds(first)).toBe(true);
      await using second = await replica(env);
      await expect.poll(() => second.stderr()).toMatch(/standing by/);
      const at = performance.now();
      await server.kill();
      await expect.poll(() => first.stderr(), { interval: 20 }).toMatch(/could not be renewed in time/);
      expect(performance.now() - at).toBeLessThan((2 * ttlMs) / 3 + 500);
      await expect.poll(async () => (await ask(second, "/readyz")).status).toBe(503);
      expect((await ask(first, "/readyz")).json["lease"]).toMatchObject({ state: "unknown" });
      await server.restart();
      await expect.poll(async () => (await holds(first)) || (await holds(second))).toBe(true);
      const { json } = await ask((await holds(first)) ? first : second, "/v1/events?after=0");
      expect(JSON.stringify(json)).not.toContain("bot.kicked");
      expect(await gateway.say("bot", "back", { waitMs: 0 })).toMatchObject({ delivered: true });
    },
  );

  it(
    `${kills} fail-overs: each within ttl + skew, no kick, and nothing that was accepted is lost`,
    { timeout: 180_000 },
    async () => {
      const gateway: Gateway = await startGateway({
        latencyMs: 0,
        bots: [{ id: "bot", secret: "s3cret-of-bot" }],
        switches: { chatPrecondition: false, maxInFlightPerUser: 0, subscribeRate: false },
      });
      onTestFinished(() => gateway.stop());
      const env = settingsOf(gateway, addressOf("fail-over"), join(folder, "openws.db"));
      const begun: Running[] = [];
      const begin = async (): Promise<Running> => {
        const running = await replica(env);
        begun.push(running);
        return running;
      };
      onTestFinished(async () => {
        for (const running of begun) await running.end("SIGKILL");
      });
      let holder = await begin();
      await expect.poll(() => holds(holder)).toBe(true);
      const took: number[] = [];
      for (let kill = 0; kill < kills; kill++) {
        const next = await begin();
        await expect.poll(() => next.stderr()).toMatch(/standing by/);
        const { msgid } = await gateway.say("bot", `message ${kill}`, { waitMs: 0 });
        await expect
          .poll(async () => JSON.stringify((await ask(holder, "/v1/messages?direction=in")).json))
          .toContain(msgid);
        const at = performance.now();
        await holder.end("SIGKILL");
        await expect.poll(() => holds(next), { interval: 20 }).toBe(true);
        took.push(performance.now() - at);
        holder = next;
      }
      const events = JSON.stringify((await ask(holder, "/v1/events?after=0&limit=1000")).json);
      expect(events).not.toContain("bot.kicked");
      const { json } = await ask(holder, "/v1/messages?direction=in&limit=1000");
      expect(json["messages"]).toHaveLength(kills);
      // A look, and what it takes to open the store and subscribe on a machine that has other things to do.
      expect(Math.max(...took)).toBeLessThan(ttlMs * 1.2 + 2_500);
      process.stdout.write(
        `${kind}: ${kills} fail-overs, ${Math.round(Math.min(...took))} to ${Math.round(Math.max(...took))} ms\n`,
      );
    },
  );

  it(
    `${handOvers} planned hand-overs under load: the line is there all the time, and each message is stored once`,
    {
      timeout: 120_000,
    },
    async () => {
      const gateway = await startGateway({
        latencyMs: 0,
        bots: [{ id: "bot", secret: "s3cret-of-bot" }],
        // What nobody answered comes again to whoever subscribes: to the successor what the one before has stored.
        switches: { chatPrecondition: false, maxInFlightPerUser: 0, subscribeRate: false, redeliverUnanswered: true },
      });
      onTestFinished(() => gateway.stop());
      await handsOver(gateway, settingsOf(gateway, addressOf("hand-over"), join(folder, "hand-over.db")), handOvers);
    },
  );
});
