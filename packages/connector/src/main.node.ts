/**
 * The connector as a Node process: log, HTTP server, signals. Everything it serves is built elsewhere.
 */
import { readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { serve as listen } from "@hono/node-server";
import { OpenwsError } from "@openws/protocol";
import { type Logger, pino } from "pino";
import { createApi } from "./api.ts";
import type { Config } from "./config.ts";
import { echo } from "./echo.ts";
import { createBot } from "./index.ts";
import { recordOf } from "./log.ts";

/**
 * Starts the API, then the bot, and stays until SIGTERM or SIGINT. Rejects with `OpenwsError` when the API can't listen.
 * It does not wait for the gateway: an orchestrator asks /readyz for that.
 */
export async function serve(config: Config, warnings: readonly string[]): Promise<void> {
  const log = await logger(config);
  for (const warning of warnings) log.warn(warning);

  // The echo bot is what others try their gateways and suites on: who makes it beat faster means all of its time.
  const scale = Math.min(1, (config.connection.heartbeatMs ?? 30_000) / 30_000);
  const bot = createBot({
    botId: config.botId,
    secret: config.secretFile === undefined ? config.secret : () => readFileSync(config.secretFile!, "utf8").trim(),
    url: config.url,
    name: config.name,
    handoverMs: config.handoverMs ?? (config.echo ? 540_000 * scale : undefined),
    ...(config.echo ? { quota: { pauseMs: 60_000 * scale } } : {}),
    probeMs: config.probeMs,
    ...config.connection,
  });
  echo(bot, (ms) => setTimeout(ms));
  bot.observe((event) => {
    const { level, message, fields } = recordOf(event);
    log[level]({ bot: bot.id, ...fields }, message);
  });

  const { url, close } = await startServer(createApi([bot]).fetch, config.listen);

  let stopping = false;
  const stop = (signal: string): void => {
    // A second signal means now.
    if (stopping) process.exit(0);
    stopping = true;
    log.info({ signal }, "stopping");
    void bot.stop(config.drainMs).finally(() => {
      close();
      process.exitCode = 0;
    });
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);

  if (config.json) process.stdout.write(`${JSON.stringify({ ready: true, url })}\n`);
  else log.info({ url }, `the HTTP API listens on ${url}`);
  void bot.start();
}

async function logger({ logLevel, logFormat }: Config): Promise<Logger> {
  const options = { level: logLevel, base: null, redact: ["secret", "*.secret", "aeskey", "*.aeskey"] };
  const format = logFormat ?? (process.stderr.isTTY ? "pretty" : "json");
  if (format === "json") return pino(options, pino.destination({ dest: 2, sync: true }));
  const { default: pretty } = await import("pino-pretty");
  return pino(
    options,
    pretty({ destination: 2, sync: true, colorize: process.stderr.isTTY, ignore: "bot,from,to,why,code" }),
  );
}

function startServer(
  fetch: (request: Request) => Response | Promise<Response>,
  { host, port }: Config["listen"],
): Promise<{ url: string; close: () => void }> {
  return new Promise((resolve, reject) => {
    const server = listen({ fetch, hostname: host, port }, (info) => {
      const name = info.address.includes(":") ? `[${info.address}]` : info.address;
      resolve({
        url: `http://${name}:${info.port}`,
        close: () => {
          server.close();
          if ("closeAllConnections" in server) server.closeAllConnections();
        },
      });
    });
    server.on("error", (error: NodeJS.ErrnoException) => {
      const where = `${host}:${port}`;
      const why =
        error.code === "EADDRINUSE"
          ? `${where} is in use by another process; choose another with --listen HOST:PORT, port 0 takes a free one`
          : error.code === "EACCES"
            ? `${where} needs a privilege this process lacks; choose a port above 1023 with --listen`
            : `cannot listen on ${where}: ${error.message}`;
      reject(new OpenwsError("listen", why, { cause: error }));
    });
  });
}
