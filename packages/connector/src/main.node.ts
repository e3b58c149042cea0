/**
 * The connector as a Node process: log, store, HTTP server, signals. Everything it serves is built elsewhere.
 */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { BlockList, isIP } from "node:net";
import { setTimeout } from "node:timers/promises";
import { serve as listen } from "@hono/node-server";
import { getConnInfo } from "@hono/node-server/conninfo";
import { OpenwsError, UsageError } from "@openws/protocol";
import { type Logger, pino } from "pino";
import { createApi } from "./api.ts";
import type { Config } from "./config.ts";
import { echo } from "./echo.ts";
import { createBot } from "./index.ts";
import { recordOf } from "./log.ts";
import { nodeMedia } from "./media.ts";
import { nodeRuntime } from "./runtime.node.ts";
import { createServiceApi } from "./service/api/app.ts";
import { systemClock } from "./service/clock.system.ts";
import type { ServiceConfig } from "./service/config.ts";
import { folderDisk } from "./service/media.spool.ts";
import { Metrics } from "./service/metrics.ts";
import { nodePost } from "./service/post.node.ts";
import { type Point, type Service, type ServiceOptions, createService } from "./service/service.ts";
import { nodeCipher, randomKey, storeKey } from "./service/store.cipher.ts";
import { MemoryStore } from "./service/store.memory.ts";
import { openSqlite } from "./service/store.sqlite.ts";
import type { Store } from "./service/store.ts";
import { count, logOf } from "./service/telemetry.ts";

/** What a line is told, whichever bot's it is, and the process around it. */
export type LineConfig = Omit<Config, "botId" | "secret" | "secretFile" | "url" | "name">;

/** Ways into the service for programs that try it; nothing of them can be had from outside of the process. */
export interface Hooks {
  readonly probe?: (point: Point) => void;
  readonly delivery?: ServiceOptions["delivery"];
  readonly store?: (store: Store) => Store;
}

/**
 * Starts the service and its API, and stays until SIGTERM or SIGINT. Rejects with `OpenwsError` when the store cannot be
 * opened or the API can't listen. It does not wait for the gateway: an orchestrator asks /readyz for that.
 */
export async function serve(
  line: LineConfig,
  config: ServiceConfig,
  warnings: readonly string[],
  hooks: Hooks = {},
): Promise<void> {
  const log = await logger(line);
  for (const warning of warnings) log.warn(warning);

  const inMemory = config.database === ":memory:";
  const opened = inMemory ? new MemoryStore() : await openSqlite(config.database);
  const key = inMemory ? randomKey() : storeKey(config.database, config.storeKey);
  const disk = config.mediaDir === undefined ? undefined : await folderDisk(config.mediaDir);
  const allowed = allowList(config.allowCidr);
  const apiKey = config.apiKeys.length > 0 ? undefined : `ows_${randomBytes(24).toString("base64url")}`;
  const { post, close: closePost } = nodePost(process.env);
  const runtime = nodeRuntime();
  const store = hooks.store?.(opened) ?? opened;
  let url = "";
  // Figures are counted from the first thing that the service tells, which it does while it is made.
  const made: { service?: Service } = {};

  const version = (JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string })
    .version;
  const metrics = new Metrics(
    {
      bots: () => (made.service?.bots() ?? []).map(({ id, state }) => ({ id, ...state })),
      store: () => store.stats(),
      webhooks: () =>
        (made.service?.webhooks.all() ?? []).map(({ id }) => ({ id, ...made.service!.dispatcher.health(id) })),
      openStreams: () => made.service?.outbox.size.streams ?? 0,
      now: () => systemClock.now(),
    },
    version,
  );

  const service = await createService({
    store,
    clock: systemClock,
    cipher: nodeCipher,
    storeKey: key,
    makeBot: ({ id, ...bot }) =>
      createBot({
        botId: id,
        runtime,
        handoverMs: line.handoverMs,
        probeMs: line.probeMs,
        ...line.connection,
        ...bot,
      }),
    bots: config.bots.map(({ secret, secretFile, ...bot }) => ({
      ...bot,
      secret: secretFile === undefined ? secret : () => readFileSync(secretFile, "utf8").trim(),
    })),
    post,
    webhooks: config.webhooks,
    allowPrivate: config.allowPrivate,
    triggers: config.triggers,
    welcome: config.welcome,
    offline: config.offline,
    afterKick: line.connection.afterKick,
    retentionMs: config.retentionMs,
    replyTtlMs: config.replyTtlMs,
    pushTtlMs: config.pushTtlMs,
    resendUnknown: config.resendUnknown,
    media: disk && {
      disk,
      keepMs: config.mediaTtlMs,
      source: nodeMedia({ trustedHosts: config.bots.map((bot) => URL.parse(bot.url)?.host ?? "") }),
    },
    baseUrl: () => config.publicUrl ?? url,
    tell: (told) => {
      count(metrics, told);
      const record = logOf(told);
      if (record !== undefined) log[record.level](record.fields, record.message);
    },
    probe: hooks.probe,
    delivery: hooks.delivery,
  });
  watchLag(metrics);

  made.service = service;
  const api = createServiceApi(
    {
      service,
      version,
      failed: (error) => log.error({ err: error }, "a request to the API could not be served"),
      metrics: () => metrics.text(),
    },
    {
      keys: apiKey === undefined ? config.apiKeys : [apiKey],
      readKeys: config.readKeys,
      allowed,
      addressOf: (c) => getConnInfo(c).remote.address,
    },
  );
  const server = await startServer(api.fetch, line.listen).catch(async (error: unknown) => {
    await store.close();
    throw error;
  });
  ({ url } = server);

  onSignal(log, () =>
    service.stop(line.drainMs).finally(() => {
      server.close();
      closePost();
    }),
  );
  if (apiKey !== undefined)
    process.stderr.write(`The API key of this run, since OPENWS_API_KEY is not set: ${apiKey}\n`);
  announce(line, log, url, apiKey);
  service.start();
}

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

async function logger({ logLevel, logFormat }: LineConfig): Promise<Logger> {
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

/** Ends the process by SIGTERM or SIGINT: `stop` has its time, a second signal means now. */
function onSignal(log: Logger, stop: () => Promise<void>): void {
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

function announce({ json }: LineConfig, log: Logger, url: string, apiKey: string | undefined): void {
  if (json) process.stdout.write(`${JSON.stringify({ ready: true, url, apiKey })}\n`);
  else log.info({ url }, `the HTTP API listens on ${url}`);
}

/** Who may ask: all, or the addresses of these networks. Throws `UsageError` for what is none. */
function allowList(networks: readonly string[]): (address: string | undefined) => boolean {
  if (networks.length === 0) return () => true;
  const list = new BlockList();
  for (const network of networks) {
    const [address = "", bits] = network.split("/");
    const family = isIP(address) === 6 ? "ipv6" : "ipv4";
    const most = family === "ipv6" ? 128 : 32;
    const prefix = bits === undefined ? most : Number(bits);
    if (isIP(address) === 0 || !Number.isInteger(prefix) || prefix < 0 || prefix > most)
      throw new UsageError(
        `OPENWS_ALLOW_CIDR must hold networks such as 10.0.0.0/8, ${JSON.stringify(network)} is none`,
      );
    list.addSubnet(address, prefix, family);
  }
  return (address) => {
    // A socket that listens on both families writes IPv4 addresses as IPv6 ones.
    const plain = address?.replace(/^::ffff:/i, "");
    return plain !== undefined && list.check(plain, isIP(plain) === 6 ? "ipv6" : "ipv4");
  };
}

/** Measures how late the process comes to what is due, which is how late it would be to a heartbeat. */
function watchLag(metrics: Metrics): void {
  const everyMs = 500;
  let due = performance.now() + everyMs;
  setInterval(() => {
    const now = performance.now();
    metrics.loopLag(Math.max(0, now - due));
    due = now + everyMs;
  }, everyMs).unref();
}
