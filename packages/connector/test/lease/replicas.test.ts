/** Two replicas of one service as processes of one host: one holds the line, and is killed, frozen, ended and kicked. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type Gateway, startGateway } from "@openws/mock-gateway";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ask, handsOver, replica, settingsOf, subscribed } from "./replicas.ts";

const slow = { timeout: 60_000 };
const ttlMs = 1_500;
let folder: string;
let gateway: Gateway;
let env: NodeJS.ProcessEnv;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "openws-replicas-"));
  gateway = await startGateway({
    latencyMs: 0,
    bots: [{ id: "bot", secret: "s3cret-of-bot" }],
    switches: { chatPrecondition: false, maxInFlightPerUser: 0, subscribeRate: false },
  });
  env = settingsOf(gateway, `sqlite:${join(folder, "lease.db")}`, join(folder, "openws.db"));
});

afterEach(async () => {
  await gateway.stop();
  rmSync(folder, { recursive: true });
});

it(
  "one holds the line and the other says who; after kill -9 the other takes over, with the ledger, and nobody is kicked",
  slow,
  async () => {
    await using first = await replica(env);
    await expect.poll(() => subscribed(first)).toBe(true);
    await using second = await replica(env);
    await expect.poll(() => second.stderr()).toMatch(/standing by: \S+ \(http:\S+\) holds the lease/);
    expect(await ask(second, "/readyz")).toMatchObject({ status: 200, json: { ready: true, standby: true } });
    expect((await ask(second, "/readyz?role=holder")).status).toBe(503);
    expect((await ask(first, "/readyz?role=holder")).status).toBe(200);
    expect((await ask(second, "/livez")).status).toBe(200);
    expect(await ask(second, "/v1/bots/bot/messages", { to: { userid: "lily" }, markdown: "hi" })).toMatchObject({
      status: 503,
      json: {
        title: "This replica stands by",
        detail: expect.stringMatching(/^nothing was accepted: .* holds the lines; ask it$/) as string,
        holder: { url: first.url },
      },
    });
    const unkeyed = await fetch(`${second.url}/v1/messages`);
    expect(unkeyed.status).toBe(401);
    expect(await (await fetch(`${second.url}/docs`)).text()).not.toContain('"holder"');

    await gateway.say("bot", "before", { waitMs: 0 });
    await expect.poll(async () => JSON.stringify((await ask(first, "/v1/messages")).json)).toContain("before");
    const killedAt = performance.now();
    expect(await first.end("SIGKILL")).toBe("SIGKILL");
    await expect.poll(() => subscribed(second), { interval: 20 }).toBe(true);
    expect(performance.now() - killedAt).toBeLessThan(ttlMs * 1.2 + 1_500);
    expect(second.stderr()).toMatch(/this replica holds the lease: \S+ \(http:\S+\) did not renew it/);
    const told = await gateway.say("bot", "after", { waitMs: 0 });
    expect(told.delivered).toBe(true);
    await expect.poll(async () => JSON.stringify((await ask(second, "/v1/messages")).json)).toMatch(/after.*before/);
    const events = JSON.stringify((await ask(second, "/v1/events?after=0")).json);
    expect(events).toMatch(
      /bot\.ready.* holds the lease: nobody had it.*bot\.ready.* \S+ \(http:\S+\) did not renew it/,
    );
    expect(events).not.toContain("bot.kicked");
    expect(await second.end()).toBe(0);
  },
);

it(
  "a replica that has the lease and cannot open its store lets it go and ends, for another to take it",
  slow,
  async () => {
    await using broken = await replica({ ...env, OPENWS_DATABASE: folder });
    const code = await new Promise((resolve) => {
      broken.child.once("exit", resolve);
    });
    expect(code).toBe(1);
    expect(broken.stderr()).toMatch(/the database \S+ is a folder; set OPENWS_DATABASE to a file in it/);
    await using whole = await replica(env);
    await expect.poll(() => subscribed(whole)).toBe(true);
    expect(whole.stderr()).toMatch(/let it go/);
  },
);

it(
  "a replica that ends as planned hands its line over: it is there all the time, and each message is stored once",
  slow,
  () => handsOver(gateway, env, 3),
);

it(
  "a replica that is killed while it hands its line over costs the next one a wait, and no message",
  slow,
  async () => {
    await using first = await replica(env);
    await expect.poll(() => subscribed(first)).toBe(true);
    await using second = await replica(env);
    await expect.poll(() => second.stderr()).toMatch(/standing by/);
    void first.end();
    await expect.poll(() => second.stderr(), { interval: 5, timeout: 5_000 }).toMatch(/let it go/);
    await first.end("SIGKILL");
    await expect.poll(() => second.stderr(), { interval: 20, timeout: 5_000 }).toMatch(/"to":"ready"/);
    const said: string[] = [];
    for (let at = 0; at < 20; at++) {
      const { delivered, msgid } = await gateway.say("bot", `message ${at}`, { waitMs: 0 });
      expect(delivered).toBe(true);
      said.push(msgid);
    }
    await expect.poll(() => subscribed(second), { timeout: 10_000 }).toBe(true);
    await expect
      .poll(async () => {
        const { json } = await ask(second, "/v1/messages?direction=in&limit=100");
        return (json["messages"] as { msgid: string }[]).map(({ msgid }) => msgid).toReversed();
      })
      .toEqual(said);
  },
);

it("a replica that loses the lease while it drains drains no more, and ends", slow, async () => {
  await using silent = createServer(() => undefined).listen(0, "127.0.0.1");
  await once(silent, "listening");
  const { port } = silent.address() as AddressInfo;
  const hook = { OPENWS_WEBHOOK_URL: `http://127.0.0.1:${port}/`, OPENWS_WEBHOOK_SECRET: "a-secret-of-a-webhook" };
  await using first = await replica({ ...env, ...hook, OPENWS_DRAIN_MS: "20000" });
  await expect.poll(() => subscribed(first)).toBe(true);
  const connected = once(silent, "connection");
  await gateway.say("bot", "for the webhook", { waitMs: 0 });
  await connected;
  const ended = first.end();
  await expect.poll(() => first.stderr()).toMatch(/stopping/);
  const taken = { fence: Date.now() + 60_000, renewal: 1, holder: "another", ttlMs };
  using lease = new DatabaseSync(join(folder, "lease.db"));
  lease.prepare("UPDATE lease SET record = ?").run(JSON.stringify(taken));
  const from = performance.now();
  expect(await ended).toBe(0);
  // The receiver's time-out alone would be five seconds.
  expect(performance.now() - from).toBeLessThan(3_500);
  expect(first.stderr()).toMatch(/the lease was taken by another: this replica leaves its lines/);
});

it("a replica that stood still for too long writes nothing more, leaves its line and stands by", slow, async () => {
  await using first = await replica(env);
  await expect.poll(() => subscribed(first)).toBe(true);
  await using second = await replica(env);
  await expect.poll(() => second.stderr()).toMatch(/standing by/);
  process.kill(first.child.pid!, "SIGSTOP");
  await expect.poll(() => subscribed(second)).toBe(true);
  process.kill(first.child.pid!, "SIGCONT");
  await expect.poll(() => first.stderr()).toMatch(/the lease .*this replica leaves its lines/);
  await expect.poll(async () => (await ask(first, "/readyz")).json["standby"]).toBe(true);
  const refused = await ask(first, "/v1/bots/bot/messages", { to: { userid: "lily" }, markdown: "hi" });
  expect(refused).toMatchObject({ status: 503, json: { holder: { url: second.url } } });
  expect(await subscribed(second)).toBe(true);
  expect(JSON.stringify((await ask(second, "/v1/events?after=0")).json)).not.toContain("bot.kicked");
});

it(
  "a kick while the lease is held is an intruder: it is reported, and no replica fights for the line",
  slow,
  async () => {
    await using first = await replica(env);
    await expect.poll(() => subscribed(first)).toBe(true);
    await using second = await replica(env);
    await expect.poll(() => second.stderr()).toMatch(/standing by/);
    const outside = { ...env, OPENWS_LEASE: undefined, OPENWS_DATABASE: ":memory:" };
    await using laptop = await replica(outside);
    await expect.poll(() => subscribed(laptop)).toBe(true);
    await expect
      .poll(async () => JSON.stringify((await ask(first, "/v1/events?after=0")).json))
      .toMatch(/bot\.kicked.*it is none of the replicas/);
    // Longer than it takes to take over from a replica that is dead.
    await new Promise((resolve) => {
      setTimeout(resolve, ttlMs * 2);
    });
    expect(await subscribed(laptop)).toBe(true);
    expect((await ask(second, "/readyz")).json["standby"]).toBe(true);
    expect((await ask(first, "/readyz")).status).toBe(503);
  },
);
