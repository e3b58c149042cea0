/**
 * The service as a process of Node, Deno or Bun: store, keys, figures, API. Everything it serves is built elsewhere.
 */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { BlockList, isIP } from "node:net";
import { getConnInfo } from "@hono/node-server/conninfo";
import { UsageError } from "@openws/protocol";
import { type BotOptions, createBot } from "./index.ts";
import { type LineConfig, announce, logger, onSignal, startServer } from "./main.process.ts";
import { nodeMedia } from "./media.ts";
import { bunRuntime } from "./runtime.bun.ts";
import { nodeRuntime } from "./runtime.node.ts";
import { loadSinks } from "./service/sinks/open.ts";
import { createServiceApi } from "./service/api/app.ts";
import { type ApiRequest, commandHandler } from "./service/commands.ts";
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

/** Ways into the service for programs that try it; nothing of them can be had from outside of the process. */
export interface Hooks {
  readonly probe?: (point: Point) => void;
  readonly delivery?: ServiceOptions["delivery"];
  readonly store?: (store: Store) => Store;
  /** What a chat may be sent; for gateways that do not count. */
  readonly quota?: BotOptions["quota"];
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

  // A client that is missing is said before anything begins.
  const openSink = await loadSinks(config.sinks);
  const inMemory = config.database === ":memory:";
  const opened = inMemory ? new MemoryStore() : await openSqlite(config.database);
  const key = inMemory ? randomKey() : storeKey(config.database, config.storeKey);
  const disk = config.mediaDir === undefined ? undefined : await folderDisk(config.mediaDir);
  const allowed = allowList(config.allowCidr);
  const apiKey = config.apiKeys.length > 0 ? undefined : `ows_${randomBytes(24).toString("base64url")}`;
  const { post, close: closePost } = nodePost(process.env);
  // Deno runs Node's; what Bun calls `ws` is not that package.
  const runtime = process.versions["bun"] === undefined ? nodeRuntime() : bunRuntime();
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
      storeTrouble: () => {
        const state = made.service?.state().store;
        return state === "ok" ? undefined : state;
      },
      webhooks: () =>
        [...(made.service?.webhooks.all() ?? []), ...config.sinks].map(({ id }) => ({
          id,
          ...(made.service?.dispatcher.health(id) ?? { circuit: "closed", held: 0 }),
        })),
      pacedChats: (bot) => made.service?.pacedChats(bot) ?? 0,
      inboxHeld: () => made.service?.inbox.size.held ?? 0,
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
        meter: metrics.line(id),
        quota: hooks.quota,
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
    sinks: { configs: config.sinks, open: openSink },
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
  const parts = {
    service,
    version,
    failed: (error: unknown) => log.error({ err: error }, "a request to the API could not be served"),
    metrics: () => metrics.text(),
  };
  const api = createServiceApi(parts, {
    keys: apiKey === undefined ? config.apiKeys : [apiKey],
    readKeys: config.readKeys,
    allowed,
    addressOf: (c) => getConnInfo(c).remote.address,
  });
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
  service.sinks.listen(commandHandler(inner(parts)));
  if (service.bots().length === 0)
    log.warn(
      "there is no bot yet: set WECOM_BOT_ID and WECOM_BOT_SECRET and start again, or add one with POST /v1/bots",
    );
}

/** The API for what is within this process, under a key that nobody else can know. */
function inner(parts: Parameters<typeof createServiceApi>[0]) {
  const key = randomBytes(24).toString("base64url");
  const access = { keys: [key], readKeys: [], allowed: () => true, addressOf: () => undefined };
  const api = createServiceApi(parts, access);
  return async (path: string, request: ApiRequest): Promise<Response> =>
    api.request(path, { ...request, headers: { ...request.headers, authorization: `Bearer ${key}` } });
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
