// What the default settings come to, with real sockets and a clock that is moved: outages of minutes, two instances of one
// bot, a day of reconnects. The lane `line` runs the first two in real time.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, expect, test } from "vitest";
import { type Gateway, startGateway } from "@openws/mock-gateway";
import { type Bot, createBot, nodeRuntime } from "../src/index.ts";
import { MovedRuntime } from "./moved.ts";
import { quiet } from "./virtual.ts";

const ended: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0).toReversed()) await end();
});

async function gatewayAt(listen = "127.0.0.1:0"): Promise<Gateway> {
  // The clock that is moved is the client's: what the gateway counts by its own would come all at once.
  const switches = { subscribeRate: "off", quota: "off" } as const;
  const gateway = await startGateway({ listen, latencyMs: 0, switches, log: { entries: 500 } });
  ended.push(() => gateway.stop());
  return gateway;
}

function botOn(gateway: Gateway): { bot: Bot; runtime: MovedRuntime } {
  const runtime = new MovedRuntime(nodeRuntime());
  const bot = createBot({ botId: "bot", secret: "s3cret", url: gateway.url, runtime });
  ended.push(() => bot.stop(0));
  return { bot, runtime };
}

test.for([5, 15])("subscribed again within 60 s after an outage of %i minutes, ten times", async (minutes) => {
  let gateway = await gatewayAt();
  const { host } = new URL(gateway.url);
  const { bot, runtime } = botOn(gateway);
  await bot.start();
  const backMs: number[] = [];
  for (let outage = 0; outage < 10; outage++) {
    await runtime.advance(2 * 60_000);
    await gateway.stop();
    // Each time at another place of the wait that is going on.
    await runtime.advance(minutes * 60_000 + outage * 4_000);
    expect(bot.state.subscribed).toBe(false);
    gateway = await gatewayAt(host);
    const at = runtime.now();
    while (!bot.state.subscribed) await runtime.advance(500);
    backMs.push(runtime.now() - at);
  }
  expect(Math.max(...backMs)).toBeLessThan(60_000);
  process.stdout.write(`back after ${minutes} minutes: ${backMs.map((ms) => (ms / 1000).toFixed(1)).join(", ")} s\n`);
});

test("two instances of one bot: after the kick no further subscribe in five minutes", async () => {
  const gateway = await gatewayAt();
  const [first, second] = [botOn(gateway), botOn(gateway)];
  await first.bot.start();
  await second.bot.start();
  await Promise.all([first.runtime.advance(5 * 60_000), second.runtime.advance(5 * 60_000)]);
  expect(first.bot.state.connection).toBe("kicked");
  expect(second.bot.state.connection).toBe("ready");
  expect(gateway.log().filter(({ cmd }) => cmd === "aibot_subscribe")).toHaveLength(2);
  expect(gateway.log().filter(({ cmd, dir }) => cmd === "ping" && dir === "in").length).toBeGreaterThanOrEqual(9);
});

test(
  "a day with a reconnect every five minutes: memory, timers, sockets and listeners stay as they are",
  { timeout: 60_000 },
  async () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const gateway = await gatewayAt();
    const { bot, runtime } = botOn(gateway);
    bot.on("text", ({ text }) => text);
    await bot.start();
    const held: { alarms: number; sockets: number; listeners: number; bytes: number }[] = [];
    for (let at = 1; at <= 288; at++) {
      gateway.cut(gateway.connections().at(-1)!.n, "reset");
      while (bot.state.subscribed) await quiet();
      await runtime.advance(5 * 60_000);
      await gateway.say("bot", `${at}`, { waitMs: 5_000 });
      if (at % 48 !== 0) continue;
      // The alarm that limits handlers rings half an hour after the last one began.
      await runtime.advance(31 * 60_000);
      collect();
      const listeners = process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0);
      held.push({
        alarms: runtime.alarms,
        sockets: runtime.sockets.size,
        listeners,
        bytes: process.memoryUsage().heapUsed,
      });
    }
    const [four, ...later] = held;
    for (const { alarms, sockets, listeners, bytes } of later) {
      expect({ alarms, sockets, listeners }).toEqual({ alarms: 1, sockets: 1, listeners: four!.listeners });
      // The gateway, in the same process, fills its bounded log meanwhile.
      expect(bytes - four!.bytes).toBeLessThan(4 * 1_048_576);
    }
    process.stdout.write(
      `heap after 4, 8 … 24 h: ${held.map(({ bytes }) => (bytes / 1_048_576).toFixed(1)).join(", ")} MiB\n`,
    );
  },
);
