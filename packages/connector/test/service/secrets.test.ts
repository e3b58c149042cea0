// A service as a process, a long talk with everything in it that must not be read anywhere else, and a search for that in
// all it leaves behind: its log, its answers and errors, its events, its figures, its traces, what the other commands print,
// its database and the copy of it.
import { once } from "node:events";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startGateway } from "@openws/mock-gateway";
import { expect, it, onTestFinished } from "vitest";
import { command } from "../command.ts";
import { run, serveWhole } from "../process.ts";

const hidden = {
  botSecret: "SEKRET-OF-THE-BOT",
  addedBotSecret: "SEKRET-OF-THE-ADDED-BOT",
  webhookSecret: "SEKRET-OF-THE-WEBHOOK",
  addedWebhookSecret: "SEKRET-OF-THE-ADDED-WEBHOOK",
  webhookHeader: "SEKRET-HEADER-OF-THE-WEBHOOK",
  /** In the address of a webhook, which whoever has the key may read. */
  webhookToken: "SEKRET-TOKEN-OF-THE-WEBHOOK",
  apiKey: "SEKRET-KEY-OF-THE-API",
  readKey: "SEKRET-KEY-FOR-READING",
  // 43 characters, as on the wire.
  aeskey: "SEKRETaeskeySEKRETaeskeySEKRETaeskeySEKRETa",
  signature: "SEKRET-SIGNATURE-OF-A-FILE",
};

/** As they are, and as they would be if somebody wrote them otherwise. */
function waysToWrite(secret: string): string[] {
  const bytes = Buffer.from(secret);
  const padding = /=*$/;
  // Base64 of a text within another one looks different at each of three places; its ends depend on what is beside it.
  const within = [0, 1, 2].map((at) =>
    Buffer.concat([Buffer.alloc(at), bytes])
      .toString("base64")
      .replace(padding, "")
      .slice(at === 0 ? 0 : 4, -4),
  );
  return [secret, bytes.toString("hex"), encodeURIComponent(secret), ...within];
}

it(
  "secrets, keys and signed addresses are in no log, answer, event, figure, trace, output or file",
  { timeout: 90_000 },
  async () => {
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
    const traces: string[] = [];
    const receiver = createServer((request, response) => {
      request.setEncoding("utf8").on("data", (chunk: string) => posted.push(chunk));
      // It asked for this header, and for no other secret.
      const { authorization, ...headers } = request.headers;
      traces.push(JSON.stringify(headers));
      if (request.url === "/added") expect(authorization).toBe(`Bearer ${hidden.webhookHeader}`);
      else expect(authorization).toBeUndefined();
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
      OPENWS_READ_KEY: hidden.readKey,
      OPENWS_WEBHOOK_URL: `http://127.0.0.1:${port}/hook?token=${hidden.webhookToken}`,
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
        ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
      });
      const said = `${JSON.stringify([...response.headers])}${await response.text()}`;
      answers.push(/^.v1.webhook/.test(path) ? said.replaceAll(hidden.webhookToken, "") : said);
    };
    await gateway.waitForBot("bot");
    await ask("POST", "/v1/bots", { id: "added", secret: hidden.addedBotSecret, url: gateway.url });
    await gateway.waitForBot("added", 20_000);
    await ask("POST", "/v1/webhooks", {
      url: `http://127.0.0.1:${port}/added`,
      headers: { Authorization: `Bearer ${hidden.webhookHeader}` },
      secret: hidden.addedWebhookSecret,
      retryCount: 0,
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
    await ask("POST", "/v1/bots", `{"id": "broken", "secret": "${hidden.addedBotSecret}`);
    const stranger = { authorization: `Bearer ${hidden.apiKey}-and-more` };
    answers.push(await (await fetch(`${running.url}/v1/bots`, { headers: stranger })).text());
    const reader = { authorization: `Bearer ${hidden.readKey}` };
    answers.push(
      await (await fetch(`${running.url}/v1/bots/bot/reconnect`, { method: "POST", headers: reader })).text(),
    );
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
      "/v1/webhooks/wh_config/deliveries?limit=1000",
      "/metrics",
      "/livez",
      "/readyz",
      "/openapi.json",
      "/docs",
      "/nowhere",
    ])
      await ask("GET", path);
    const events = await followed(`${running.url}/v1/events/stream`, "round 19");
    const copy = join(folder, "copy.db");
    const own = { ...env, WECOM_BOT_SECRET: hidden.botSecret, LANG: "en_US.UTF-8" };
    const commands = await Promise.all(
      [
        ["explain", "846609"],
        ["doctor"],
        ["doctor", "--json", "--allow-kick"],
        ["doctor", "--allow-kick", "--bot-id", "added"],
        ["readyz", "--api", running.url],
        ["send", "hi", "--to", "user:user1", "--api", running.url, "--bot", "added"],
        ["send", "hi", "--to", "user:user1", "--api", running.url, "--key", `${hidden.apiKey}-and-more`],
        ["send", "hi", "--to", "user:user1", "--allow-kick", "--bot-id", "added"],
        ["backup", copy],
      ].map(async (args) => ({ args, ...(await (args[0] === "backup" ? run : command)(args, own)) })),
    );
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
      "headers and traces": traces.join("\n"),
      "the stream of events": events,
    };
    for (const { args, stdout, stderr } of commands)
      places[`openws-connector ${args.join(" ").slice(0, 30)}`] = stdout + stderr;
    for (const [at, answer] of answers.entries()) places[`answer ${at}: ${answer.slice(0, 80)}`] = answer;
    for (const path of files(folder)) places[path.slice(folder.length)] = readFileSync(path, "latin1");
    // The talk is there, or the search would prove nothing.
    expect(places["the log"]).toContain("bot");
    expect(places["what webhooks were told"]).toContain("round 19");
    expect(places["headers and traces"]).toMatch(/"traceparent":"00-[0-9a-f]{32}-[0-9a-f]{16}-01"/);
    expect(answers.join("")).toMatch(/"state":"dead"/);
    for (const place of ["/data/a.db", "/copy.db", "openws-connector doctor", "openws-connector explain 846609"])
      expect(places[place]?.length).toBeGreaterThan(50);
    const everything: Record<string, string> = { ...hidden };
    // Where an answer may be sent without a key: one for each message.
    for (const { text } of gateway.log())
      for (const [, code = ""] of text.matchAll(/"response_url":"[^"]*[=/]([^"=/]{16,})"/g))
        everything[`response_url ${code}`] = code;
    expect(Object.keys(everything).length).toBeGreaterThan(50);
    const found = Object.entries(places).flatMap(([place, text]) =>
      Object.entries(everything).flatMap(([name, secret]) =>
        waysToWrite(secret).some((way) => text.includes(way)) ? [`${name} in ${place}`] : [],
      ),
    );
    expect(found).toEqual([]);
  },
);

/** Follows server-sent events from the first on, until something was said. */
async function followed(url: string, until: string): Promise<string> {
  const headers = { authorization: `Bearer ${hidden.readKey}`, "last-event-id": "0" };
  const response = await fetch(url, { headers, signal: AbortSignal.timeout(20_000) });
  let text = "";
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (text.includes(until)) break;
  }
  return text;
}
