// A service as a process, a long talk with everything in it that must not be read anywhere else, and a search for that in
// all it leaves behind: its log, its answers, its figures, its database.
import { once } from "node:events";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startGateway } from "@openws/mock-gateway";
import { expect, it, onTestFinished } from "vitest";
import { serveWhole } from "../process.ts";

const hidden = {
  botSecret: "SEKRET-OF-THE-BOT",
  addedBotSecret: "SEKRET-OF-THE-ADDED-BOT",
  webhookSecret: "SEKRET-OF-THE-WEBHOOK",
  addedWebhookSecret: "SEKRET-OF-THE-ADDED-WEBHOOK",
  webhookHeader: "SEKRET-HEADER-OF-THE-WEBHOOK",
  apiKey: "SEKRET-KEY-OF-THE-API",
  // 43 characters, as on the wire.
  aeskey: "SEKRETaeskeySEKRETaeskeySEKRETaeskeySEKRETa",
  signature: "SEKRET-SIGNATURE-OF-A-FILE",
};

it("secrets, keys and signed addresses are in no log, answer, figure or file", { timeout: 90_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "openws-secrets-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const gateway = await startGateway({
    latencyMs: 0,
    switches: { maxInFlightPerUser: 0, responseUrl: true },
    bots: [
      { id: "bot", secret: hidden.botSecret },
      { id: "added", secret: hidden.addedBotSecret },
    ],
  });
  onTestFinished(() => gateway.stop());
  // Takes one delivery in two, so that there are errors to be told of.
  let requests = 0;
  const posted: string[] = [];
  const receiver = createServer((request, response) => {
    request.setEncoding("utf8").on("data", (chunk: string) => posted.push(chunk));
    request.on("end", () => response.writeHead(requests++ % 2 === 0 ? 200 : 400).end());
  }).listen(0, "127.0.0.1");
  await once(receiver, "listening");
  onTestFinished(() => {
    receiver.closeAllConnections();
    receiver.close();
  });
  const port = (receiver.address() as AddressInfo).port;
  const env = {
    WECOM_BOT_ID: "bot",
    WECOM_BOT_SECRET: hidden.botSecret,
    WECOM_BOT_WS_URL: gateway.url,
    WECOM_BACKOFF_BASE_MS: "20",
    OPENWS_DATABASE: join(folder, "data", "a.db"),
    OPENWS_API_KEY: hidden.apiKey,
    OPENWS_WEBHOOK_URL: `http://127.0.0.1:${port}/hook`,
    OPENWS_WEBHOOK_SECRET: hidden.webhookSecret,
    OPENWS_ALLOW_PRIVATE: "1",
    LOG_LEVEL: "trace",
  };
  await using running = await serveWhole([], env);
  const answers: string[] = [];
  const ask = async (method: string, path: string, body?: unknown): Promise<void> => {
    const response = await fetch(`${running.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${hidden.apiKey}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    answers.push(await response.text());
  };
  await gateway.waitForBot("bot");
  await ask("POST", "/v1/bots", { id: "added", secret: hidden.addedBotSecret, url: gateway.url });
  await gateway.waitForBot("added", 20_000);
  await ask("POST", "/v1/webhooks", {
    url: `http://127.0.0.1:${port}/added`,
    headers: { Authorization: `Bearer ${hidden.webhookHeader}` },
    secret: hidden.addedWebhookSecret,
    retryCount: 1,
  });
  // Said once, to who made it, when one is generated; this one was given.
  answers.splice(-1, 1, answers.at(-1)!.replaceAll(hidden.addedWebhookSecret, ""));

  const file = { url: `http://127.0.0.1:${port}/file?sign=${hidden.signature}`, aeskey: hidden.aeskey };
  const say = (message: Record<string, unknown>, userid: string): Promise<unknown> =>
    gateway.say("bot", { from: { userid }, ...message } as Parameters<typeof gateway.say>[1]);
  for (let round = 0; round < 20; round++) {
    const userid = `user${round}`;
    await say({ msgtype: "text", text: { content: `round ${round}` } }, userid);
    for (const msgtype of ["image", "file", "video"]) await say({ msgtype, [msgtype]: file }, userid);
    await say({ msgtype: "mixed", mixed: { msg_item: [{ msgtype: "image", image: file }] } }, userid);
    await say({ msgtype: "text", text: { content: "quoting" }, quote: { msgtype: "image", image: file } }, userid);
    await ask("POST", "/v1/bots/bot/messages", { to: { userid }, markdown: `push ${round}` });
  }
  // What goes wrong is told, too: an answer that is none, a wrong key, a bot that is refused.
  await ask("POST", "/v1/bots", { id: "wrong", secret: `${hidden.addedBotSecret}-wrong`, url: gateway.url });
  await ask("POST", "/v1/bots", { id: "", secret: hidden.addedBotSecret });
  await ask("PATCH", "/v1/bots/added", { secret: [hidden.addedBotSecret] });
  await ask("POST", "/v1/webhooks", { url: "nowhere", secret: hidden.addedWebhookSecret });
  await gateway.kick("bot");
  await sleep(1_500);
  for (const path of [
    "/v1/messages?limit=1000",
    "/v1/messages/msg_2",
    "/v1/events?after=0&limit=1000",
    "/v1/webhooks",
    "/v1/bots",
    "/v1/dead-letters?limit=1000",
    "/v1/chats",
    "/v1/webhook/List",
    "/metrics",
    "/readyz",
    "/openapi.json",
  ])
    await ask("GET", path);
  expect(await running.end()).toBe(0);

  const files = (path: string): string[] =>
    readdirSync(path).flatMap((name) => {
      const full = join(path, name);
      return statSync(full).isDirectory() ? files(full) : [full];
    });
  const places: Record<string, string> = {
    "the log": running.stderr(),
    "standard output": running.stdout(),
    "what webhooks were told": posted.join(""),
  };
  for (const [at, answer] of answers.entries()) places[`answer ${at}: ${answer.slice(0, 80)}`] = answer;
  for (const path of files(folder)) places[path.slice(folder.length)] = readFileSync(path, "latin1");
  // The talk is there, or the search would prove nothing.
  expect(places["the log"]).toContain("bot");
  expect(places["what webhooks were told"]).toContain("round 19");
  expect(Object.keys(places).some((place) => place.endsWith("a.db"))).toBe(true);
  const found = Object.entries(places).flatMap(([place, text]) =>
    Object.entries(hidden).flatMap(([name, secret]) => (text.includes(secret) ? [`${name} in ${place}`] : [])),
  );
  expect(found).toEqual([]);
});
