// `openws-connector listen --forward-to`, end to end: a gateway, a connector as a process, the command as another, and a
// program that it forwards to.
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Gateway, startGateway } from "@openws/mock-gateway";
import { verifyWebhook } from "../../src/service/signature.ts";
import { begin, run, serveWhole } from "../process.ts";

const slow = { timeout: 40_000 };
const key = "the-key-of-the-test";
const secret = "the-secret-of-the-test";
const english = { LANG: "en_US.UTF-8", LC_ALL: "", LC_MESSAGES: "" };

let folder: string;
let gateway: Gateway;
let program: ReturnType<typeof createServer>;
/** What the program was given, proven to be genuine. */
let given: {
  readonly content: string;
  readonly fromUser: string;
  readonly msgId: string;
  readonly raw: { readonly traceparent: string };
}[];
/** The trace of each, in its header and in its body. */
let traces: (string | undefined)[][];
let target: string;
let env: NodeJS.ProcessEnv;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "openws-listen-"));
  gateway = await startGateway({ latencyMs: 0, bots: [{ id: "bot", secret: "s3cret-of-bot" }] });
  given = [];
  traces = [];
  program = createServer((request, response) => {
    void (async () => {
      const body = await text(request);
      const headers = request.headers as Record<string, string>;
      const delivery = (await verifyWebhook({ secret, body, headers })) as (typeof given)[number];
      given.push(delivery);
      traces.push([headers["traceparent"], delivery.raw.traceparent]);
      if (delivery.content === "in one piece")
        response
          .writeHead(200, { "content-type": "application/json" })
          .end(JSON.stringify({ reply: { markdown: "one piece" } }));
      else if (delivery.content === "bit by bit") {
        response.writeHead(200, { "content-type": "text/event-stream" });
        for (const delta of ["bit", " by", " bit"]) response.write(`data: ${delta}\n\n`);
        response.end("data: [DONE]\n\n");
      } else response.end("ok");
    })().catch(() => response.writeHead(401).end());
  }).listen(0, "127.0.0.1");
  await once(program, "listening");
  target = `http://127.0.0.1:${(program.address() as AddressInfo).port}/hook`;
  env = {
    ...english,
    WECOM_BOT_ID: "bot",
    WECOM_BOT_SECRET: "s3cret-of-bot",
    WECOM_BOT_WS_URL: gateway.url,
    WECOM_BACKOFF_BASE_MS: "50",
    OPENWS_DATABASE: join(folder, "a.db"),
    OPENWS_API_KEY: key,
  };
});
afterEach(async () => {
  program.closeAllConnections();
  program.close();
  await gateway.stop();
  rmSync(folder, { recursive: true });
});

const forward = (api: string, ...more: string[]): string[] => [
  "listen",
  "--forward-to",
  target,
  "--api",
  api,
  "--key",
  key,
  "--secret",
  secret,
  ...more,
];
const contents = (): string[] => given.map(({ content }) => content);

test(
  "what the connector receives goes to the program, and what it answers to the user, whole or as a stream",
  slow,
  async () => {
    await using connector = await serveWhole([], env);
    await gateway.waitForBot("bot");
    await gateway.say("bot", "before it listened");
    await using listening = await begin(forward(connector.url), english, "Ready:");
    expect((await gateway.say("bot", "in one piece", { waitMs: 15_000 })).reply).toBe("one piece");
    expect((await gateway.say("bot", "bit by bit", { waitMs: 15_000 })).reply).toBe("bit by bit");
    await gateway.say("bot", "no answer");
    await expect.poll(contents, { timeout: 10_000 }).toEqual(["in one piece", "bit by bit", "no answer"]);
    await expect
      .poll(listening.stdout, { timeout: 10_000 })
      .toMatch(/^(\S+ \[200\] text msg_\d+ from \S+ \(\d+ ms\)\n){3}$/);
    expect(new Set(traces.flat()).size).toBe(3);
    for (const [inHeader, inBody] of traces) expect(inHeader).toBe(inBody);
    expect(await listening.end("SIGINT")).toBe(0);
    // It is a tap: nobody subscribed a second time.
    expect(gateway.log().filter(({ cmd }) => cmd === "aibot_subscribe")).toHaveLength(1);
    expect(`${listening.stdout()}${listening.stderr()}`).not.toContain(key);
  },
);

test("it goes on where it was when the connector was away, and misses nothing", slow, async () => {
  const first = await serveWhole([], env);
  await gateway.waitForBot("bot");
  await using listening = await begin(forward(first.url), english, "Ready:");
  await gateway.say("bot", "one");
  await expect.poll(contents, { timeout: 10_000 }).toEqual(["one"]);
  await first.end();
  const { host } = new URL(first.url);
  await using second = await serveWhole(["--listen", host], env);
  await gateway.waitForBot("bot");
  await gateway.say("bot", "two");
  await expect.poll(contents, { timeout: 15_000 }).toEqual(["one", "two"]);
  expect(listening.stderr()).toMatch(/the connection to \S+ broke; going on in 2 s/);
  expect(second.url).toBe(first.url);
});

test("from a cursor on it gives what was, and with --no-reply it answers nobody", slow, async () => {
  await using connector = await serveWhole([], env);
  await gateway.waitForBot("bot");
  await gateway.say("bot", "in one piece");
  await gateway.say("bot", "and more");
  await using listening = await begin(forward(connector.url, "--after", "0", "--no-reply"), english, "Ready:");
  await expect.poll(() => contents().toSorted(), { timeout: 10_000 }).toEqual(["and more", "in one piece"].toSorted());
  await expect.poll(listening.stderr, { timeout: 10_000 }).toMatch(/not sent: .*one piece/);
  const out = await fetch(`${connector.url}/v1/messages?direction=out`, {
    headers: { authorization: `Bearer ${key}` },
  });
  expect(((await out.json()) as { messages: unknown[] }).messages).toEqual([]);
});

test("a key that the connector does not take, or no connector, is a sentence and exit code 1", slow, async () => {
  await using connector = await serveWhole([], env);
  const args = ["listen", "--forward-to", target, "--secret", secret];
  const wrong = await run([...args, "--api", connector.url, "--key", "wrong-key-wrong"], english);
  expect(wrong).toMatchObject({ code: 1, stderr: expect.stringMatching(/does not take the key/) as string });
  const nobody = await run([...args, "--api", "http://127.0.0.1:9", "--key", key], english);
  expect(nobody).toMatchObject({ code: 1, stderr: expect.stringMatching(/no connector answers at/) as string });
  const nowhere = await run(["listen"], english);
  expect(nowhere).toMatchObject({ code: 2, stderr: expect.stringMatching(/--forward-to URL/) as string });
});
