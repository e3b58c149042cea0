// Default durations, real time: how long a bot is deaf after a silent drop, and whether a kicked one keeps away.
import { expect, test } from "vitest";
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

test(
  "a half-open connection is noticed within 20 to 50 s, and the bot answers again within 3 s more",
  { timeout: 90_000 },
  async () => {
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
    } finally {
      await bot.stop(0);
    }
  },
);

test("after a kick there is no further subscribe for a minute", { timeout: 90_000 }, async () => {
  await using gateway = await startGateway();
  const [first, second] = [0, 1].map(() => createBot({ botId: "bot", secret: "s3cret", url: gateway.url }));
  try {
    await first!.start();
    const kicked = moved(first!, "kicked");
    await second!.start();
    await kicked;
    const pings = (): number => gateway.log().filter(({ cmd, dir }) => cmd === "ping" && dir === "in").length;
    // The second one's pings are the clock: two of them are a minute.
    await expect.poll(pings, { timeout: 80_000, interval: 1_000 }).toBeGreaterThanOrEqual(2);
    expect(gateway.log().filter(({ cmd }) => cmd === "aibot_subscribe")).toHaveLength(2);
    expect(second!.state.subscribed).toBe(true);
  } finally {
    await Promise.all([first!.stop(0), second!.stop(0)]);
  }
});
