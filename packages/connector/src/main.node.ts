/**
 * The service as a process of Node, Deno or Bun: store, keys, figures, API. Everything it serves is built elsewhere.
 */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { BlockList, isIP } from "node:net";
import { getConnInfo } from "@hono/node-server/conninfo";
import { type BotOptions, createBot } from "./index.ts";
import { type Api, openReplica } from "./main.lease.ts";
import { type LineConfig, announce, logger, onSignal, startServer } from "./main.process.ts";
import { nodeMedia } from "./media.ts";
import { MistakeError } from "./mistake.ts";
import { bunRuntime } from "./runtime.bun.ts";
import { leasedRuntime } from "./runtime.leased.ts";
import { nodeRuntime } from "./runtime.node.ts";
import type { Runtime } from "./runtime.ts";
import { type Access, createServiceApi, createStandbyApi } from "./service/api/app.ts";
import { type ApiRequest, commandHandler } from "./service/commands.ts";
import { loadSinks } from "./service/sinks/open.ts";
import { systemClock } from "./service/clock.system.ts";
import type { LineLease } from "./service/bots.ts";
import type { ServiceConfig } from "./service/config.ts";
import { folderDisk } from "./service/media.spool.ts";
import { Metrics } from "./service/metrics.ts";
import { nodePost } from "./service/post.node.ts";
import { type Point, type Service, type ServiceOptions, createService, isSealed } from "./service/service.ts";
import type { SpoolDisk } from "./service/spool.ts";
import { nodeCipher, randomKey, storeKey } from "./service/store.cipher.ts";
import { type FencedStore, fencedStore } from "./service/store.fenced.ts";
import { MemoryStore } from "./service/store.memory.ts";
import { openSqlite } from "./service/store.sqlite.ts";
import { type Store, StoreError } from "./service/store.ts";
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
  const allowed = allowList(config.allowCidr);
  const apiKey = config.apiKeys.length > 0 ? undefined : `ows_${randomBytes(24).toString("base64url")}`;
  const { post, close: closePost } = nodePost(process.env);
  // Deno runs Node's; what Bun calls `ws` is not that package.
  const runtime = process.versions["bun"] === undefined ? nodeRuntime() : bunRuntime();
  const memoryKey = randomKey();
  let url = "";
  // Figures are counted from the first thing that the service tells, which it does while it is made. A replica that stands
  // by has none.
  const made: { service?: Service | undefined; store?: Store | undefined; lease?: LineLease | undefined } = {};

  const version = (JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string })
    .version;
  const metrics = new Metrics(
    {
      bots: () => (made.service?.bots() ?? []).map(({ id, state }) => ({ id, ...state })),
      store: async () => {
        if (made.store === undefined) throw new StoreError("closed", "a replica that stands by has no store open");
        return made.store.stats();
      },
      storeTrouble: () => {
        const state = made.service?.state().store;
        return state === "ok" ? undefined : state;
      },
      sinks: async () => made.service?.sinkLags() ?? [],
      webhooks: () =>
        [...(made.service?.webhooks.all() ?? []), ...config.sinks].map(({ id }) => ({
          id,
          ...(made.service?.dispatcher.health(id) ?? { circuit: "closed", held: 0 }),
        })),
      pacedChats: (bot) => made.service?.pacedChats(bot) ?? 0,
      inboxHeld: () => made.service?.inbox.size.held ?? 0,
      leaseHeld: config.lease === undefined ? undefined : () => made.lease?.holds() !== undefined,
      openStreams: () => made.service?.outbox.size.streams ?? 0,
      now: () => systemClock.now(),
    },
    version,
  );

  /** Opens the store and makes the service over it; under a lease with its number, by which the store knows who writes. */
  const make = async (lease?: LineLease, takeOver?: (store: FencedStore) => Promise<void>): Promise<Service> => {
    const leased = lease && leasedRuntime(runtime, lease);
    for (const bot of config.bots) leased?.ahead(bot.url);
    let store: Store | undefined;
    try {
      store = inMemory ? new MemoryStore() : await openSqlite(config.database, { shared: lease !== undefined });
      store = hooks.store?.(store) ?? store;
      const fence = lease?.holds();
      if (lease !== undefined && fence === undefined)
        throw new StoreError("fenced", "the lease was lost while the store was being opened");
      const fenced = fence === undefined ? undefined : fencedStore(store, fence);
      store = fenced ?? store;
      made.store = store;
      made.lease = lease;
      const disk = config.mediaDir === undefined ? undefined : await folderDisk(config.mediaDir);
      const claim = fenced && takeOver && (() => takeOver(fenced));
      const key = inMemory ? memoryKey : storeKey(config.database, config.storeKey, await isSealed(store));
      made.service = await createService({
        ...about(store, disk, leased ?? runtime, lease),
        storeKey: key,
        claim,
      });
      return made.service;
    } catch (error) {
      leased?.forget();
      made.store = undefined;
      await store?.close();
      throw error;
    }
  };
  const about = (
    store: Store,
    disk: SpoolDisk | undefined,
    sockets: Runtime,
    lease: LineLease | undefined,
  ): Omit<ServiceOptions, "storeKey"> => ({
    store,
    lease,
    clock: systemClock,
    cipher: nodeCipher,
    makeBot: ({ id, ...bot }) =>
      createBot({
        botId: id,
        runtime: sockets,
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
    retentionBytes: config.retentionBytes,
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

  const access: Access = {
    keys: apiKey === undefined ? config.apiKeys : [apiKey],
    readKeys: config.readKeys,
    allowed,
    addressOf: (c) => getConnInfo(c).remote.address,
  };
  const shared = {
    failed: (error: unknown) => log.error({ err: error }, "a request to the API could not be served"),
    metrics: () => metrics.text(),
  };
  const partsOf = (service: Service, lease?: LineLease) => ({
    ...shared,
    service,
    version,
    lease: lease && (() => lease.holds()),
  });
  const apiOf = (service: Service, lease?: LineLease): Api["fetch"] =>
    createServiceApi(partsOf(service, lease), access).fetch;
  const begin = (service: Service): void => {
    service.start();
    service.sinks.listen(commandHandler(inner(partsOf(service))));
    if (service.bots().length === 0)
      log.warn(
        "there is no bot yet: set WECOM_BOT_ID and WECOM_BOT_SECRET and start again, or add one with POST /v1/bots",
      );
  };
  const listen = async (fetch: Api["fetch"], stop: (drainMs: number) => Promise<void>): Promise<() => void> => {
    const server = await startServer(fetch, line.listen).catch(async (error: unknown) => {
      await stop(0);
      throw error;
    });
    ({ url } = server);
    const close = (): void => {
      server.close();
      closePost();
    };
    onSignal(log, () => stop(line.drainMs).finally(close));
    if (apiKey !== undefined)
      process.stderr.write(`The API key of this run, since OPENWS_API_KEY is not set: ${apiKey}\n`);
    announce(line, log, url, apiKey);
    return close;
  };

  if (config.lease === undefined) {
    const service = await make();
    await listen(apiOf(service), (drainMs) => service.stop(drainMs));
    begin(service);
    return;
  }
  const replica = await openReplica({
    address: config.lease,
    ttlMs: config.leaseTtlMs,
    url: () => config.publicUrl ?? url,
    log,
    make,
    begin,
    ended: () => {
      made.service = undefined;
      made.store = undefined;
    },
    apiOf,
    standby: (lease) => createStandbyApi({ ...shared, lease }, access).fetch,
  });
  const close = await listen(replica.fetch, (drainMs) => replica.stop(drainMs));
  // Where the service cannot be begun, as with a store that cannot be opened, another replica has to.
  replica.failed.catch((error: unknown) => {
    log.fatal(error instanceof Error ? error.message : String(error));
    process.exitCode = 1;
    close();
  });
  replica.start();
}

/** The API for what is within this process, under a key that nobody else can know. */
function inner(parts: Parameters<typeof createServiceApi>[0]) {
  const key = randomBytes(24).toString("base64url");
  const access = { keys: [key], readKeys: [], allowed: () => true, addressOf: () => undefined };
  const api = createServiceApi(parts, access);
  return async (path: string, request: ApiRequest): Promise<Response> =>
    api.request(path, { ...request, headers: { ...request.headers, authorization: `Bearer ${key}` } });
}

/** Who may ask: all, or the addresses of these networks. Throws `MistakeError` for what is none. */
function allowList(networks: readonly string[]): (address: string | undefined) => boolean {
  if (networks.length === 0) return () => true;
  const list = new BlockList();
  for (const network of networks) {
    const [address = "", bits] = network.split("/");
    const family = isIP(address) === 6 ? "ipv6" : "ipv4";
    const most = family === "ipv6" ? 128 : 32;
    const prefix = bits === undefined ? most : Number(bits);
    if (isIP(address) === 0 || !Number.isInteger(prefix) || prefix < 0 || prefix > most)
      throw new MistakeError({
        en: `OPENWS_ALLOW_CIDR must hold networks such as 10.0.0.0/8, ${JSON.stringify(network)} is none`,
        zh: `OPENWS_ALLOW_CIDR 必须是网段，例如 10.0.0.0/8，而 ${JSON.stringify(network)} 不是`,
      });
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
