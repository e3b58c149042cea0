// Default durations, real time, all at once: how long a bot is deaf after a silent drop, whether a kicked one keeps away for
// five minutes, and when one is back after an outage of five.
import { setTimeout as pause } from "node:timers/promises";
import { describe, test } from "vitest";
import { startGateway } from "@openws/mock-gateway";
import { type BotEvent, createBot } from "../../src/index.ts";

/** Resolves with the first move of the bot to this state from now on. */
function moved(bot: ReturnType<typeof createBot>, to: string): Promise<BotEvent> {
  return new Promise((resolve) => {
    const end = bot.observe((event) => {
      if (event.type !== "moved" || event.to !== to) return;
      end();
      resolve(event);
    });
  });
}

describe.concurrent("with default settings", () => {
  test(
    "a half-open connection is noticed within 20 to 50 s, and the bot answers again within 3 s more",
    { timeout: 90_000 },
    async ({ expect }) => {
      await using gateway = await startGateway();
      const bot = createBot({ botId: "bot", secret: "s3cret", url: gateway.url });
      bot.on("text", ({ text }) => `echo: ${text}`);
      try {
        await bot.start();
        const gone = moved(bot, "waiting");
        const back = moved(bot, "ready");
        const cutAt = performance.now();
        gateway.cut(gateway.connections()[0]!.n, "half-open");
        await gone;
        const noticedMs = performance.now() - cutAt;
        await back;
        const { reply } = await gateway.say("bot", "are you there?", { waitMs: 5_000 });
        const deafMs = performance.now() - cutAt;
        expect(reply).toBe("echo: are you there?");
        expect(noticedMs).toBeGreaterThan(19_000);
        expect(noticedMs).toBeLessThan(50_500);
        expect(deafMs - noticedMs).toBeLessThan(3_000);
        process.stdout.write(`deaf for ${(deafMs / 1000).toFixed(1)} s after a silent drop\n`);
      } finally {
        await bot.stop(0);
      }
    },
  );

  test("after a kick there is no further subscribe in five minutes", { timeout: 330_000 }, async ({ expect }) => {
    await using gateway = await startGateway();
    const [first, second] = [0, 1].map(() => createBot({ botId: "bot", secret: "s3cret", url: gateway.url }));
    try {
      await first!.start();
      const kicked = moved(first!, "kicked");
      await second!.start();
      await kicked;
      await pause(5 * 60_000);
      const subscribes = gateway.log().filter(({ cmd }) => cmd === "aibot_subscribe");
      expect(subscribes).toHaveLength(2);
      expect(second!.state.subscribed).toBe(true);
      process.stdout.write(`${subscribes.length - 2} further subscribes in five minutes after the kick\n`);
    } finally {
      await Promise.all([first!.stop(0), second!.stop(0)]);
    }
  });

  test("after an outage of five minutes it is subscribed within 60 s", { timeout: 390_000 }, async ({ expect }) => {
    let gateway = await startGateway();
    const { host } = new URL(gateway.url);
    const bot = createBot({ botId: "bot", secret: "s3cret", url: gateway.url });
    try {
      await bot.start();
      await gateway.stop();
      await pause(5 * 60_000);
      const back = moved(bot, "ready");
      const at = performance.now();
      gateway = await startGateway({ listen: host });
      await back;
      const backMs = performance.now() - at;
      expect(backMs).toBeLessThan(60_000);
      process.stdout.write(`back ${(backMs / 1000).toFixed(1)} s after an outage of five minutes\n`);
    } finally {
      await bot.stop(0);
      await gateway.stop();
    }
  });
});
