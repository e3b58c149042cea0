/**
 * What every process of the connector has: a log on stderr, an HTTP server, an end by signal, a first line. Knows neither
 * the echo bot nor the service.
 */
import { serve as listen } from "@hono/node-server";
import { OpenwsError } from "@openws/protocol";
import { type Logger, pino } from "pino";
import type { Sentence } from "./causes.ts";
import type { Config } from "./config.ts";

/** What a line is told, whichever bot's it is, and the process around it. */
export type LineConfig = Omit<Config, "botId" | "secret" | "secretFile" | "url" | "name">;

/** The log of the process, on stderr. */
export async function logger({ logLevel, logFormat }: LineConfig): Promise<Logger> {
  const options = { level: logLevel, base: null, redact: ["secret", "*.secret", "aeskey", "*.aeskey"] };
  const format = logFormat ?? (process.stderr.isTTY ? "pretty" : "json");
  if (format === "json") return pino(options, pino.destination({ dest: 2, sync: true }));
  const { default: pretty } = await import("pino-pretty");
  return pino(
    options,
    pretty({ destination: 2, sync: true, colorize: process.stderr.isTTY, ignore: "bot,from,to,why,code" }),
  );
}

/** Listens, and resolves with where. Rejects with `OpenwsError` in a sentence that says what to do. */
export function startServer(
  fetch: Parameters<typeof listen>[0]["fetch"],
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
      reject(new ListenError(sayListening(where, error), { cause: error }));
    });
  });
}

/** The API cannot listen where it was told to; a port is the user's to change. */
class ListenError extends OpenwsError {
  readonly sentence: Sentence;

  constructor(sentence: Sentence, options: ErrorOptions) {
    super("listen", sentence.en, options);
    this.name = "ListenError";
    this.sentence = sentence;
  }
}

function sayListening(where: string, { code, message }: NodeJS.ErrnoException): Sentence {
  switch (code) {
    case "EADDRINUSE":
      return {
        en: `${where} is in use by another process; choose another with --listen HOST:PORT, port 0 takes a free one`,
        zh: `${where} 已被另一进程占用；请用 --listen 主机:端口 另选一个，端口 0 表示自动选择`,
      };
    case "EACCES":
      return {
        en: `${where} needs a privilege this process lacks; choose a port above 1023 with --listen`,
        zh: `监听 ${where} 需要本进程所没有的权限；请用 --listen 选择大于 1023 的端口`,
      };
    case undefined:
    default:
      return { en: `cannot listen on ${where}: ${message}`, zh: `无法监听 ${where}：${message}` };
  }
}

/** Ends the process by SIGTERM or SIGINT: `stop` has its time, a second signal means now. */
export function onSignal(log: Logger, stop: () => Promise<void>): void {
  let stopping = false;
  const signalled = (signal: string): void => {
    if (stopping) process.exit(0);
    stopping = true;
    log.info({ signal }, "stopping");
    stop().then(
      () => {
        process.exitCode = 0;
      },
      (error: unknown) => {
        log.error(error instanceof Error ? error.message : String(error));
        process.exitCode = 1;
      },
    );
  };
  process.on("SIGTERM", signalled);
  process.on("SIGINT", signalled);
}

/** Says that the API listens, and where: to programs as the first line on stdout, to people in the log. */
export function announce({ json }: LineConfig, log: Logger, url: string, apiKey: string | undefined): void {
  if (json) process.stdout.write(`${JSON.stringify({ ready: true, url, apiKey })}\n`);
  else log.info({ url }, `the HTTP API listens on ${url}`);
}
