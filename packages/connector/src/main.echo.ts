/**
 * The echo bot as a process. It loads nothing of the service, so that it is there at once.
 */
import { readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { createApi } from "./api.ts";
import type { Config } from "./config.ts";
import { echo } from "./echo.ts";
import { createBot } from "./index.ts";
import { recordOf } from "./log.ts";
import { announce, logger, onSignal, startServer } from "./main.process.ts";

/** Starts the echo bot and a small API that says how its line is, and stays until SIGTERM or SIGINT. */
export async function serveEcho(config: Config, warnings: readonly string[]): Promise<void> {
  const log = await logger(config);
  for (const warning of warnings) log.warn(warning);

  // The echo bot is what others try their gateways and suites on: who makes it beat faster means all of its time.
  const scale = Math.min(1, (config.connection.heartbeatMs ?? 30_000) / 30_000);
  const bot = createBot({
    botId: config.botId,
    secret: config.secretFile === undefined ? config.secret : () => readFileSync(config.secretFile!, "utf8").trim(),
    url: config.url,
    name: config.name,
    handoverMs: config.handoverMs ?? 540_000 * scale,
    quota: { pauseMs: 60_000 * scale },
    probeMs: config.probeMs,
    ...config.connection,
  });
  echo(bot, (ms) => setTimeout(ms));
  bot.observe((event) => {
    const { level, message, fields } = recordOf(event);
    log[level]({ bot: bot.id, ...fields }, message);
  });

  const { url, close } = await startServer(createApi([bot]).fetch, config.listen);
  onSignal(log, () => bot.stop(config.drainMs).finally(close));
  announce(config, log, url, undefined);
  void bot.start();
}
