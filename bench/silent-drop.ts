/**
 * A line that goes silent without a word, as behind a router that forgot it: how long a bot is deaf, default settings.
 *
 * The connector and the official SDK at once, a process each, against one mock gateway in a third. Three bots of each,
 * whose heartbeats began at different times, so that the drop meets them at different moments. Deaf is from the drop until
 * the gateway has accepted the subscription again. Nothing here depends on how busy the machine is.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { answer, next, say as tell, start, stop } from "./child.ts";
import { connect, names } from "./clients.ts";
import { say } from "./row.ts";

const sides = ["ours", "sdk"] as const;
/** How long before the drop each bot subscribes. */
const agesMs = [8_000, 5_000, 2_000];
const longestMs = 100_000;

const main = async (): Promise<void> => {
  const { startGateway } = await import("@openws/mock-gateway");
  await using gateway = await startGateway({ latencyMs: 0, switches: { subscribeRate: "off" } });
  const clients = await Promise.all(
    sides.map(async (side) => {
      const child = await start(import.meta.filename, side, gateway.url);
      await next(child, "loaded");
      return { side, child, subscribedAt: new Map<number, number>() };
    }),
  );
  for (const { child, subscribedAt } of clients)
    child.on("message", ({ subscribed }: { subscribed?: number }) => {
      if (subscribed !== undefined) subscribedAt.set(subscribed, performance.now());
    });
  const began = performance.now();
  for (const [n, ageMs] of agesMs.entries()) {
    await sleep(Math.max(0, agesMs[0]! - ageMs - (performance.now() - began)));
    for (const { child } of clients) child.send({ ask: "connect", about: n });
  }
  await sleep(agesMs[0]! - (performance.now() - began));
  for (const { subscribedAt } of clients) {
    if (subscribedAt.size !== agesMs.length) throw new Error("not every bot has subscribed");
    subscribedAt.clear();
  }
  for (const { n } of gateway.connections()) gateway.cut(n, "half-open");
  const droppedAt = performance.now();
  while (clients.some(({ subscribedAt }) => subscribedAt.size < agesMs.length)) {
    if (performance.now() - droppedAt > longestMs) throw new Error("not every bot came back");
    await sleep(50);
  }
  await stop(...clients.map(({ child }) => child));

  const deaf = clients.map(({ side, subscribedAt }) => {
    const each = agesMs.map((_, n) => (subscribedAt.get(n)! - droppedAt) / 1_000);
    process.stderr.write(`${names[side]}: deaf for ${each.map((seconds) => seconds.toFixed(1)).join(", ")} s\n`);
    return each.reduce((sum, seconds) => sum + seconds) / each.length;
  });
  const [ours, theirs] = deaf as [number, number];
  say({
    what: "a silent drop: time deaf, default settings",
    unit: "s",
    ours,
    theirs,
    against: names.sdk,
    ratio: ours / theirs,
    aim: "≤ 0.6×",
    met: ours <= 0.6 * theirs,
  });
};

const client = (side: "ours" | "sdk", url: string): void => {
  answer("connect", (n: number) => connect[side](url, `${side}${n}`, undefined, () => tell("subscribed", n)));
  tell("loaded");
};

const [role, argument = ""] = process.argv.slice(2);
if (role === undefined) {
  await main();
  process.exit(0);
} else client(role as "ours" | "sdk", argument);
