/** The service as a process, against the mock gateway and a receiver over loopback: it is killed and started again. */
import { once } from "node:events";
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Gateway, startGateway } from "@openws/mock-gateway";
import { type Running, run, serveWhole } from "../process.ts";

const slow = { timeout: 60_000 };

let folder: string;
let gateway: Gateway;
/** Bodies that the receiver took, and what waits for the next. */
let bodies: string[];
let wake: (() => void)[];
let receiver: ReturnType<typeof createServer>;
let env: NodeJS.ProcessEnv;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "openws-service-"));
  gateway = await startGateway({ latencyMs: 0, bots: [{ id: "bot", secret: "s3cret-of-bot", name: "Bot" }] });
  bodies = [];
  wake = [];
  receiver = createServer((request, response) => {
    void text(request).then((body) => {
      bodies.push(body);
      response.writeHead(200, { "content-type": "application/json" });
      response.end(body.includes("answer me") ? JSON.stringify({ reply: { markdown: "answered" } }) : "");
      for (const resolve of wake.splice(0)) resolve();
    });
  }).listen(0, "127.0.0.1");
  await once(receiver, "listening");
  env = {
    WECOM_BOT_ID: "bot",
    WECOM_BOT_SECRET: "s3cret-of-bot",
    WECOM_BOT_WS_URL: gateway.url,
    WECOM_BACKOFF_BASE_MS: "50",
    OPENWS_DATABASE: join(folder, "data", "a.db"),
    OPENWS_API_KEY: "the-key-of-the-test",
    OPENWS_WEBHOOK_URL: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`,
    OPENWS_WEBHOOK_SECRET: "the-secret-of-the-test",
  };
});

afterEach(async () => {
  receiver.closeAllConnections();
  receiver.close();
  await gateway.stop();
  rmSync(folder, { recursive: true });
});

async function delivered(part: string): Promise<void> {
  while (!bodies.some((body) => body.includes(part)))
    await new Promise<void>((resolve) => {
      wake.push(resolve);
    });
}

async function api(
  running: Running,
  path: string,
  body?: unknown,
): Promise<{ status: number; json: Record<string, unknown> }> {
  const response = await fetch(`${running.url}${path}`, {
    method: body === undefined ? "GET" : "POST",
    headers: { authorization: "Bearer the-key-of-the-test", "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, json: (await response.json()) as Record<string, unknown> };
}

it("delivers, answers, and after kill -9 has the account and sends what was accepted", slow, async () => {
  let seq: string;
  {
    await using running = await serveWhole([], env);
    await gateway.waitForBot("bot");
    const told = await gateway.say("bot", "answer me", { waitMs: 20_000 });
    expect(JSON.stringify(told)).toContain("answered");
    await delivered("answer me");
    // No line: what is accepted now must wait for one.
    await api(running, "/v1/messages");
    await gateway.stop();
    const accepted = await api(running, "/v1/bots/bot/messages", { to: { userid: "user" }, markdown: "kept" });
    expect(accepted.status).toBe(202);
    seq = accepted.json["id"] as string;
    expect(await running.end("SIGKILL")).toBe("SIGKILL");
  }
  gateway = await startGateway({
    latencyMs: 0,
    bots: [{ id: "bot", secret: "s3cret-of-bot", name: "Bot" }],
    switches: { chatPrecondition: false },
  });
  await using again = await serveWhole([], { ...env, WECOM_BOT_WS_URL: gateway.url });
  await gateway.waitForBot("bot");
  const { json } = await api(again, `/v1/messages/${seq}?wait=10`);
  expect(json["state"]).toMatch(/^(?:sent|acked)$/);
  const { json: ledger } = await api(again, "/v1/messages?direction=in");
  expect(JSON.stringify(ledger)).toContain("answer me");
  // It is backed up while it runs, and the copy is a database that another process can run on.
  const copy = join(folder, "copy.db");
  const backedUp = await run(["backup", copy], { OPENWS_DATABASE: env["OPENWS_DATABASE"], LANG: "en_US.UTF-8" });
  expect(backedUp).toMatchObject({ code: 0, stderr: "" });
  expect(backedUp.stdout).toMatch(/^\S+copy\.db: \d+ bytes\. The key is not in it/);
  const twice = await run(["backup", copy], { OPENWS_DATABASE: env["OPENWS_DATABASE"], LANG: "en_US.UTF-8" });
  expect(twice).toMatchObject({ code: 1, stderr: expect.stringMatching(/written over nothing/) as string });
  expect(await again.end()).toBe(0);
  copyFileSync(join(folder, "data", "a.db.key"), `${copy}.key`);
  await using restored = await serveWhole([], { ...env, WECOM_BOT_WS_URL: gateway.url, OPENWS_DATABASE: copy });
  expect(JSON.stringify((await api(restored, "/v1/messages?direction=in")).json)).toContain("answer me");
  const database = readFileSync(env["OPENWS_DATABASE"]!).toString("latin1");
  for (const secret of ["s3cret-of-bot", "the-secret-of-the-test", "the-key-of-the-test"]) {
    expect(database).not.toContain(secret);
    expect(again.stderr()).not.toContain(secret);
  }
});
