/** A line for as long as a command needs one: only for commands that were told that they may take it from others. */
import { setTimeout as pause } from "node:timers/promises";
import type { Bot, BotState } from "../bot.ts";
import type { Environment } from "../config.ts";
import { createBot, nodeRuntime } from "../index.ts";

/** Who subscribes, and where. */
export interface Subscribing {
  readonly botId: string;
  readonly secret: string;
  readonly url: string;
  /** Where proxies are named. */
  readonly env: Environment;
}

/** How long a subscription is waited for. */
const patienceMs = 30_000;

/**
 * Subscribes, has `work` done, and lets the line go. `work` is called as well where no line came about, which the bot's
 * state says: whoever waits at a terminal wants to know at the first failure, and trying again is up to them.
 */
export async function withLine<Value>(
  { botId, secret, url, env }: Subscribing,
  work: (bot: Pick<Bot, "push" | "upload"> & { readonly state: BotState }) => Promise<Value>,
): Promise<Value> {
  const bot = createBot({ botId, secret, url, runtime: nodeRuntime({ env }) });
  const over = new AbortController();
  try {
    const late = pause(patienceMs, undefined, { signal: over.signal });
    const lost = new Promise((resolve) => {
      bot.observe((event) => event.type === "moved" && event.to === "waiting" && resolve(undefined));
    });
    await Promise.race([bot.start(), lost, late]);
    return await work(bot);
  } finally {
    over.abort();
    await bot.stop(0);
  }
}
