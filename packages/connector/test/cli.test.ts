import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { startGateway } from "@openws/mock-gateway";
import { run, serve } from "./process.ts";

const credentials = { WECOM_BOT_ID: "bot", WECOM_BOT_SECRET: "s3cret-s3cret" };

test("--help names every setting, its default and its environment", { timeout: 20_000 }, async () => {
  const { code, stdout } = await run(["--help"]);
  expect(code).toBe(0);
  for (const name of ["WECOM_BOT_ID", "WECOM_BOT_SECRET_FILE", "--heartbeat-ms", "30000", "--json", "!stream"])
    expect(stdout).toContain(name);
});

test.for([
  [["serve", "--echo", "--frobnicate"], {}, /Unknown option '--frobnicate'/],
  [["serve", "--echo", "--heartbeat-ms"], {}, /--heartbeat-ms <value>' argument missing/],
  [["frobnicate"], {}, /there is no command "frobnicate"/],
  [["serve", "--echo"], {}, /the bot's id is missing: set WECOM_BOT_ID or --bot-id/],
  [["serve", "--echo"], { WECOM_BOT_ID: "bot" }, /the bot's secret is missing/],
  [["serve", "--echo", "--bot-ws-url", "http://x"], credentials, /--bot-ws-url must be a WebSocket address/],
  [["serve", "--echo", "--bot-ws-url", "ws://127.0.0.1:99999"], credentials, /must be a WebSocket address/],
  [["serve", "--echo", "--heartbeat-ms", "never"], credentials, /--heartbeat-ms must be a whole number/],
  [
    ["serve", "--allow-cidr", "10.0.0.0/33"],
    { OPENWS_DATABASE: ":memory:" },
    /must hold networks such as 10\.0\.0\.0\/8/,
  ],
] as [string[], Record<string, string>, RegExp][])(
  "%o is used wrongly: one sentence, a pointer, exit code 2",
  { timeout: 20_000 },
  async ([args, env, sentence]) => {
    const { code, stdout, stderr } = await run(args, env);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(sentence);
    expect(stderr).toMatch(/^openws-connector: [^\n]+\nTry: openws-connector --help\n$/);
    expect(stderr).not.toContain(credentials.WECOM_BOT_SECRET);
  },
);

test("a port in use is one sentence that says what to do, and exit code 2", { timeout: 20_000 }, async () => {
  const holder = createServer().listen(0, "127.0.0.1");
  await once(holder, "listening");
  const { port } = holder.address() as AddressInfo;
  const { code, stdout, stderr } = await run(
    ["serve", "--echo", "--json", "--listen", `127.0.0.1:${port}`],
    credentials,
  );
  holder.close();
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toContain(`127.0.0.1:${port} is in use by another process; choose another with --listen HOST:PORT`);
  expect(stderr).not.toMatch(/\n\s+at /);
});

test.for(["SIGTERM", "SIGINT"] as const)(
  "%s ends an open answer with a word, says goodbye and exits 0",
  { timeout: 20_000 },
  async (signal) => {
    await using gateway = await startGateway({ latencyMs: 0 });
    await using running = await serve([], { ...credentials, WECOM_BOT_WS_URL: gateway.url });
    await gateway.waitForBot("bot");
    void gateway.say("bot", "!stream 500");
    const told = gateway.say(
      "bot",
      { from: { userid: "tom" }, msgtype: "text", text: { content: "hi" } },
      { waitMs: 5_000 },
    );
    expect((await told).reply).toBe("echo: hi");
    expect(await running.end(signal)).toBe(0);
    expect(running.stdout()).toMatch(/^\{"ready":true,"url":"http:\/\/127\.0\.0\.1:\d+"\}\n$/);
    const items = gateway.chat("bot", "zhangsan")!.items.filter((item) => item.by === "bot");
    expect(items).toMatchObject([{ finished: true, content: expect.stringContaining("Stopped") as string }]);
    expect(gateway.connections()).toEqual([]);
  },
);

test("it ends at once, too, when there never was a line", { timeout: 20_000 }, async () => {
  await using running = await serve([], { ...credentials, WECOM_BOT_WS_URL: "ws://127.0.0.1:1" });
  const asked = await fetch(`${running.url}/readyz`);
  expect(asked.status).toBe(503);
  expect(await running.end()).toBe(0);
});

test("a gateway that is not there: it keeps trying and says what is wrong", { timeout: 20_000 }, async () => {
  const env = { ...credentials, WECOM_BOT_WS_URL: "ws://127.0.0.1:1", WECOM_BACKOFF_BASE_MS: "10" };
  await using running = await serve([], env);
  while (running.stderr().split("ECONNREFUSED").length < 3) await once(running.child.stderr!, "data");
  const body = await (await fetch(`${running.url}/readyz`)).text();
  expect(body).toContain("ECONNREFUSED");
  expect(running.stderr()).not.toMatch(/\n\s+at /);
});

test(
  "a wrong secret: refused, one sentence in each language, no retry, alive and not ready",
  { timeout: 20_000 },
  async () => {
    await using gateway = await startGateway({ latencyMs: 0, bots: [{ id: "bot", secret: "another" }] });
    const env = { ...credentials, WECOM_BOT_WS_URL: gateway.url, WECOM_BACKOFF_BASE_MS: "1", WECOM_ACK_MS: "50" };
    await using running = await serve([], env);
    while (!running.stderr().includes("853000")) await once(running.child.stderr!, "data");
    const lines = running.stderr().trim().split("\n");
    expect(lines.filter((line) => line.includes("refused the bot id or the secret"))).toHaveLength(1);
    expect((await fetch(`${running.url}/livez`)).status).toBe(200);
    const readyz = await fetch(`${running.url}/readyz`);
    expect(readyz.status).toBe(503);
    const { bots } = (await readyz.json()) as { bots: { connection: string; reason: { en: string; zh: string } }[] };
    expect(bots[0]).toMatchObject({ connection: "refused" });
    expect(bots[0]!.reason.en).toMatch(/not trying again/);
    expect(bots[0]!.reason.zh).toMatch(/不再重试/);
    // The lines before it took some milliseconds each; a loop with a wait of 1 ms would have come back by now.
    expect(gateway.log().filter(({ cmd }) => cmd === "aibot_subscribe")).toHaveLength(1);
    expect(running.stderr()).not.toContain(credentials.WECOM_BOT_SECRET);
    expect(await running.end()).toBe(0);
  },
);

test("a misspelt variable is warned about", { timeout: 20_000 }, async () => {
  await using running = await serve([], { ...credentials, WECOM_BOT_WS_URL: "ws://127.0.0.1:1", OPENWS_LISTN: "x" });
  expect(running.stderr()).toContain("OPENWS_LISTN is not a setting; did you mean OPENWS_LISTEN?");
});
