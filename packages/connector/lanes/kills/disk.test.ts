// A disk that is really full, under the service as a process: a file system of two megabytes in memory, made larger when all
// has been seen. It takes root to mount one.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { startGateway } from "@openws/mock-gateway";
import { expect, onTestFinished, test } from "vitest";
import { leftOut } from "../../../../tools/left-out.ts";
import { listening } from "../../test/listening.ts";
import { serveWhole } from "../../test/process.ts";

test("while the disk is full nothing is accepted that is not stored, and nothing that came is lost", async (context) => {
  const ended: (() => unknown)[] = [];
  onTestFinished(async () => {
    for (const end of ended.toReversed()) await end();
  });
  const folder = mkdtempSync(join(tmpdir(), "openws-full-"));
  ended.push(() => rmSync(folder, { recursive: true }));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=2m", "none", folder], { stdio: "ignore" });
  } catch {
    leftOut(context, "a full disk", "it takes root, and a kernel that mounts a tmpfs");
  }
  ended.push(() => execFileSync("umount", [folder]));
  const gateway = await startGateway({
    latencyMs: 0,
    switches: { maxInFlightPerUser: 0, chatPrecondition: false },
    bots: [{ id: "bot", secret: "s3cret-of-bot" }],
  });
  ended.push(() => gateway.stop());
  const told = new Set<string>();
  const receiver = createServer((request, response) => {
    void text(request).then((body) => {
      told.add((JSON.parse(body) as { msgId: string }).msgId);
      response.end();
    });
  });
  const key = "the-key-of-the-test";
  const port = await listening(receiver, ended);
  await using running = await serveWhole([], {
    WECOM_BOT_ID: "bot",
    WECOM_BOT_SECRET: "s3cret-of-bot",
    WECOM_BOT_WS_URL: gateway.url,
    OPENWS_DATABASE: join(folder, "a.db"),
    OPENWS_API_KEY: key,
    OPENWS_WEBHOOK_URL: `http://127.0.0.1:${port}/hook`,
    OPENWS_WEBHOOK_SECRET: "the-secret-of-the-test",
  });
  const ask = async (path: string, body?: object) => {
    const response = await fetch(`${running.url}${path}`, {
      method: body === undefined ? "GET" : "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, json: (await response.json()) as Record<string, unknown> };
  };
  const readiness = async (): Promise<unknown> => (await ask("/readyz")).json["store"];
  const stored = async (): Promise<Set<string>> => {
    const { json } = await ask("/v1/messages?direction=in&limit=1000");
    return new Set((json["messages"] as { msgid: string }[]).map(({ msgid }) => msgid));
  };
  await gateway.waitForBot("bot");
  const said: string[] = [];
  const say = async (): Promise<void> => {
    const from = { userid: `user${said.length}` };
    const content = `message ${said.length} ${"字".repeat(1_000)}`;
    const { msgid, delivered } = await gateway.say("bot", { from, msgtype: "text", text: { content } });
    expect(delivered).toBe(true);
    said.push(msgid);
  };

  while ((await readiness()) === "ok" && said.length < 500) await say();
  expect(await readiness()).toBe("full");
  expect((await ask("/readyz")).status).toBe(503);
  // Longer than what did not fit: of a short one nobody knows.
  const long = { to: { userid: "user0" }, markdown: "字".repeat(6_000) };
  expect(await ask("/v1/bots/bot/messages", long)).toMatchObject({
    status: 503,
    json: { trouble: "full", detail: expect.stringMatching(/^nothing was accepted: /) as string },
  });
  for (let more = 0; more < 5; more++) await say();
  await expect.poll(() => running.stderr()).toMatch(/held in memory/);
  // Whoever was told of a message was told of one that is stored.
  const kept = await stored();
  expect([...told].filter((msgid) => !kept.has(msgid) && said.includes(msgid))).toEqual([]);
  expect(said.filter((msgid) => !kept.has(msgid)).length).toBeGreaterThanOrEqual(5);

  execFileSync("mount", ["-o", "remount,size=30m", folder]);
  await expect.poll(readiness, { timeout: 60_000 }).toBe("ok");
  await expect.poll(() => said.filter((msgid) => !told.has(msgid)), { timeout: 60_000 }).toEqual([]);
  const all = await stored();
  expect(said.filter((msgid) => !all.has(msgid))).toEqual([]);
  expect(running.stderr()).toMatch(/the store takes what comes again/);
  expect(await ask("/v1/bots/bot/messages", { to: { userid: "user0" }, markdown: "a push" })).toMatchObject({
    status: 202,
  });
  process.stdout.write(
    `full after ${kept.size} of ${said.length} messages; all of them stored and delivered after it\n`,
  );
  expect(await running.end()).toBe(0);
});
