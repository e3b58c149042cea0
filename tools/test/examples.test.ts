// Every example, as its reader runs it: against the mock gateway, by its three environment variables.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Gateway, startGateway } from "@openws/mock-gateway";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
let gateway: Gateway;
let bot: ChildProcess | undefined;

beforeEach(async () => {
  gateway = await startGateway({ latencyMs: 0, bots: [{ id: "bot", secret: "secret" }] });
});

afterEach(async () => {
  if (bot?.exitCode === null) {
    bot.kill("SIGTERM");
    await once(bot, "exit");
  }
  await gateway.stop();
});

async function run(example: string): Promise<ChildProcess> {
  bot = spawn(process.execPath, [join(root, "examples", example)], {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, WECOM_BOT_ID: "bot", WECOM_BOT_SECRET: "secret", WECOM_BOT_WS_URL: gateway.url },
  });
  await gateway.waitForBot("bot", 20_000);
  return bot;
}

describe("the examples", { timeout: 60_000 }, () => {
  test("are all tried here", () => {
    const programs = readdirSync(join(root, "examples")).filter((name) => name.endsWith(".ts"));
    expect(programs.sort()).toEqual(["echo-bot.ts", "streaming-bot.ts"]);
  });

  test("echo-bot repeats what it is told, greets, and ends when asked to", async () => {
    const echo = await run("echo-bot.ts");
    expect((await gateway.say("bot", "hello", { waitMs: 10_000 })).reply).toBe("you said hello");
    const greeted = await gateway.trigger(
      "bot",
      { eventtype: "enter_chat", from: { userid: "u" } },
      { waitMs: 10_000 },
    );
    expect(greeted.replies[0]?.content).toBe("Hello! Say something.");
    echo.kill("SIGTERM");
    expect(await once(echo, "exit")).toEqual([0, null]);
  });

  test("streaming-bot answers in a bubble that grows, and ends it when the model breaks off", async () => {
    await run("streaming-bot.ts");
    const told = await gateway.say("bot", "bees", { waitMs: 20_000 });
    expect(told.reply).toContain("| bees | little |");
    expect(told.replies[0]?.frames).toBeGreaterThan(3);
    const broken = await gateway.say("bot", "break", { waitMs: 20_000 });
    expect(broken.replies[0]).toMatchObject({ finished: true });
    expect(broken.reply).toContain("Here is what I know");
    expect(broken.reply).toContain("Something went wrong");
  });
});
