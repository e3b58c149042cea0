/**
 * The service: bots, inbox, outbox, webhooks, sinks, feed and files joined over one store. Decides who tells whom, in which order
 * things begin and end, and what is true of the whole. Does not know HTTP (api), nor on which runtime it runs.
 *
 * Where another process may write the store still (`claim`), the lines come first: from then on they are the other's no
 * more, and it can store the last of what came over them. What comes over the new ones is held in memory meanwhile.
 *
 * Invariants: what was there before is taken up before the first new thing is stored; when it ends, what is under way is
 * brought to its end in the time that is given, and all else is in the store for the next process.
 */
import { type MediaKind, mediaUrlLifeMs } from "@openws/protocol";
import type { BotEvent } from "../bot.ts";
import type { Media } from "../files.ts";
import { filesOf } from "../message.ts";
import { MistakeError } from "../mistake.ts";
import type { Uploaded } from "../upload.ts";
import { type BotConfig, Bots, type LineLease, type MakeBot, type RunBot } from "./bots.ts";
import type { Clock } from "./clock.ts";
import { type DeliveryEvent, Dispatcher, type DispatcherParts } from "./delivery.ts";
import { type FileLink, cloudEventOf, envelopeOf, stableIdOf } from "./envelope.ts";
import { Feed } from "./feed.ts";
import { Inbox, type InboxEvent, type InboxPoint, type Routing, type Stored, heardAs } from "./inbox.ts";
import type { OutMessage } from "./inline.ts";
import { Sequence, UnknownIdError, textOf } from "./ledger.ts";
import { Offline } from "./offline.ts";
import { Outbox, type OutboxEvent, type OutboxPoint } from "./outbox.ts";
import type { Post } from "./post.ts";
import { signatures } from "./signature.ts";
import type { OpenSink, SinkConfig } from "./sink.ts";
import { Sinks } from "./sinks.ts";
import { Spool, type SpoolDisk, type SpoolEvent, type SpooledFile, mayHaveFiles } from "./spool.ts";
import {
  type Change,
  type Delivery,
  type Entry,
  type EpochMs,
  type Seq,
  type Store,
  StoreError,
  type StoreTrouble,
} from "./store.ts";
import { Triggers } from "./triggers.ts";
import { type Cipher, botVault, storeSealer } from "./vault.ts";
import { type WebhookInput, Webhooks } from "./webhooks.ts";

/** What is told of a service: for the log, and for whoever counts. */
export type ServiceEvent =
  | { readonly of: "bot"; readonly bot: string; readonly event: BotEvent }
  /** The gateway ended a line that another replica has taken, whose lease it is by then: no kick that anybody has to see to. */
  | { readonly of: "handed-over"; readonly bot: string }
  /** A message or event that came, or what happened to a bot, is stored. */
  | { readonly of: "stored"; readonly entry: Entry; readonly afterMs: number }
  | { readonly of: "inbox"; readonly event: InboxEvent }
  | { readonly of: "outbox"; readonly event: OutboxEvent }
  | { readonly of: "delivery"; readonly event: DeliveryEvent }
  | { readonly of: "spool"; readonly event: SpoolEvent }
  | { readonly of: "uploaded"; readonly bot: string; readonly bytes: number }
  /** Something that nobody waits for failed. */
  | {
      readonly of: "service";
      readonly event: { readonly type: "failed"; readonly what: string; readonly why: string };
    };

/** Where a test may end the process. */
export type Point = InboxPoint | OutboxPoint | "during-delivery";

/** What a service is made of. Durations in milliseconds. */
export interface ServiceOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly cipher: Cipher;
  /** The store's own key, 32 bytes: what is stored of secrets is sealed under it. */
  readonly storeKey: Uint8Array;
  readonly makeBot: MakeBot;
  readonly bots: readonly BotConfig[];
  readonly post: Post;
  /** The webhooks of the operator's configuration. */
  readonly webhooks?: readonly WebhookInput[] | undefined;
  /** The queues of the operator's configuration, and what opens them. */
  readonly sinks?: { readonly configs: readonly SinkConfig[]; readonly open: OpenSink } | undefined;
  /** Whether webhooks that were made through the API may lead to private addresses; false. */
  readonly allowPrivate?: boolean | undefined;
  /** Rules, as an operator writes them. */
  readonly triggers?: unknown;
  /** Answers `enter_chat`, when a user opens the bot's chat for the first time that day. */
  readonly welcome?: OutMessage | undefined;
  /** Answers a message that every webhook which wants it would have to wait for, since it fails; once in ten minutes a chat. */
  readonly offline?: OutMessage | undefined;
  /** How often and when deliveries are tried again; as Dispatcher's. */
  readonly delivery?: Pick<DispatcherParts, "retryDelaysMs" | "breaker"> | undefined;
  /** What another instance's kick means; `stop`. */
  readonly afterKick?: "stop" | "rejoin" | undefined;
  readonly replyTtlMs?: number | undefined;
  readonly pushTtlMs?: number | undefined;
  readonly resendUnknown?: boolean | undefined;
  /** How old entries may get; 2,592,000,000: 30 days. */
  readonly retentionMs?: number | undefined;
  /** How large the store may get before the oldest settled entries go, whatever their age; 10,737,418,240: 10 GiB. */
  readonly retentionBytes?: number | undefined;
  /** Where files that come in are kept; without it they are not fetched. */
  readonly media?:
    | {
        readonly disk: SpoolDisk;
        readonly keepMs?: number | undefined;
        /** Fetches what a process before this one was told of and did not fetch any more. */
        readonly source?: Media | undefined;
      }
    | undefined;
  /** The lease under which it runs, where several replicas serve the same bots. */
  readonly lease?: LineLease | undefined;
  /** Takes the store over from a process that may write it still. What is committed before it has resolved must wait for it. */
  readonly claim?: (() => Promise<void>) | undefined;
  /** Where this service's API can be reached, for the addresses of files. */
  readonly baseUrl: () => string;
  /** Must not throw. */
  readonly tell: (event: ServiceEvent) => void;
  readonly probe?: ((point: Point) => void) | undefined;
}

/** How often the store and the files are looked through for what is too old. */
const sweepMs = 10 * 60_000;
/** Entries that are removed in one go, so that commits come between. */
const sweepBatch = 500;

/** Makes a service over what its store holds. Rejects with `UsageError` for a configuration that cannot be, and `StoreError`. */
export async function createService(options: ServiceOptions): Promise<Service> {
  const next = await options.store.nextSeq();
  const service = new Service(options, new Sequence(next));
  try {
    await service.load(next);
  } catch (error) {
    await service.abandon();
    throw error;
  }
  return service;
}

/** Whether a store's secrets are sealed under a key already: then no other will do. */
export async function isSealed(store: Pick<Store, "document">): Promise<boolean> {
  return (await store.document("meta", "key")) !== undefined;
}

/** A service. Made by {@link createService}; begins with `start`. */
export class Service {
  readonly clock: Clock;
  readonly store: Store;
  readonly feed: Feed;
  readonly webhooks: Webhooks;
  readonly sinks: Sinks;
  readonly dispatcher: Dispatcher;
  readonly outbox: Outbox;
  readonly inbox: Inbox;
  readonly spool: Spool | undefined;
  readonly #options: ServiceOptions;
  readonly #bots: Bots;
  readonly #offline = new Offline();
  readonly #sequence: Sequence;
  #stopped: Promise<void> | undefined;
  /** When what is under way must be at its end, and what is called when that is now. */
  #until: EpochMs = Infinity;
  readonly #hurried = Promise.withResolvers<undefined>();
  #cancelSweep: (() => void) | undefined;

  constructor(options: ServiceOptions, sequence: Sequence) {
    const { store, clock, cipher, storeKey, tell, probe, media, makeBot, post } = options;
    this.#options = options;
    this.#sequence = sequence;
    this.store = store;
    this.clock = clock;
    const sealer = storeSealer(cipher, storeKey);
    this.feed = new Feed(store, clock);
    this.webhooks = new Webhooks({ store, clock, sealer });
    this.sinks = new Sinks({
      configs: options.sinks?.configs ?? [],
      open: (config) => options.sinks!.open(config),
      clock,
      event: async (entry) => cloudEventOf(entry, this.textOf(entry), await this.filesOf(entry)),
      troubled: (sink, why) =>
        tell({ of: "service", event: { type: "failed", what: `taking commands from ${sink}`, why } }),
    });
    const routing: Routing = {
      deliveriesFor: (entry) => [...this.webhooks.deliveriesFor(entry), ...this.sinks.deliveriesFor(entry)],
    };
    this.inbox = new Inbox({
      store,
      clock,
      sequence,
      routing,
      triggers: options.triggers === undefined ? undefined : new Triggers(options.triggers),
      stored: (stored) => this.#came(stored),
      tell: (event) => tell({ of: "inbox", event }),
      probe,
    });
    this.outbox = new Outbox({
      store,
      clock,
      sequence,
      bot: (id) => this.#bots.get(id),
      routing,
      stored: (entry, deliveries) => this.#went(entry, deliveries),
      tell: (event) => tell({ of: "outbox", event }),
      replyTtlMs: options.replyTtlMs,
      pushTtlMs: options.pushTtlMs,
      resendUnknown: options.resendUnknown,
      probe,
    });
    this.dispatcher = new Dispatcher({
      store,
      clock,
      post,
      webhooks: this.webhooks,
      sinks: this.sinks,
      request: async (webhook, entry) => {
        const text = this.textOf(entry);
        const body = JSON.stringify(envelopeOf(entry, { text, files: await this.filesOf(entry) }));
        const id = stableIdOf(entry);
        const timestamp = Math.floor(clock.now() / 1000);
        const signed = await signatures(webhook.secrets, { id, timestamp, body }, cipher.hmac);
        const traced = entry.traceparent === undefined ? {} : { traceparent: entry.traceparent };
        return { headers: { "content-type": "application/json", ...traced, ...signed }, body };
      },
      replies: this.outbox,
      allowPrivate: options.allowPrivate ?? false,
      tell: (event) => this.#delivered(event),
      ...options.delivery,
      probe,
    });
    const signingKey = cipher.key(storeKey, "openws files");
    this.spool =
      media &&
      new Spool({
        store,
        clock,
        disk: media.disk,
        keepMs: media.keepMs,
        baseUrl: options.baseUrl,
        // Whoever has the address has the file, and nobody can make up another.
        sign: (name) => Promise.resolve(cipher.hmac(signingKey, name, "hex")),
        tell: (event) => tell({ of: "spool", event }),
      });
    this.#bots = new Bots({
      store,
      clock,
      cipher,
      sealer,
      make: makeBot,
      afterKick: options.afterKick ?? "stop",
      heard: (source, event) => {
        // First of all to the disk.
        if (event.type === "message") this.inbox.message(source, event.message);
        else if (event.type === "happened") this.inbox.event(source, event.event);
        const { lease } = options;
        const kicked = event.type === "moved" && event.to === "kicked";
        if (kicked && lease !== undefined && lease.holds() === undefined) tell({ of: "handed-over", bot: source.id });
        else tell({ of: "bot", bot: source.id, event });
      },
      note: (note) => this.inbox.note(note),
      lineMoved: (bot, ready) => this.outbox.lineMoved(bot, ready),
      lease: options.lease,
    });
  }

  /** Takes up what is stored; `next` is the number that an entry would have had when that began. */
  async load(next: Seq): Promise<void> {
    const { bots, claim, webhooks } = this.#options;
    const firstKey = await this.#checkKey();
    await this.#bots.load(bots);
    let known: ReadonlySet<string> = new Set();
    if (claim !== undefined) {
      this.inbox.hold();
      this.#bots.start();
      await claim();
      this.#sequence.skipTo(await this.store.nextSeq());
      known = await this.#cameSince(next);
      await this.#bots.reload();
    }
    if (firstKey.length > 0) await this.store.commit(firstKey);
    await this.webhooks.load(webhooks);
    await this.outbox.start();
    await this.#fetchMissed();
    await this.dispatcher.start();
    if (claim !== undefined) this.inbox.release(known);
  }

  /** Begins the bots, where they have not begun, and the housekeeping. */
  start(): void {
    if (this.#options.claim === undefined) this.#bots.start();
    this.#sweepLater();
  }

  /** Leaves the lines of a service that could not be begun. */
  async abandon(): Promise<void> {
    await this.#bots.stop(0);
    this.inbox.end();
  }

  bots(): RunBot[] {
    return this.#bots.all();
  }

  /** What waits for each sink, also for those that are not configured any more. */
  async sinkLags(): Promise<{ id: string; pending: number; lagMs: number }[]> {
    const lags = new Map(this.sinks.all().map(({ id }) => [id, { id, pending: 0, lagMs: 0 }]));
    for (const { webhook: id, pending, since } of await this.dispatcher.backlogs())
      if (id.startsWith("sink_")) lags.set(id, { id, pending, lagMs: Math.max(0, this.clock.now() - since) });
    return [...lags.values()];
  }

  /** Chats of a bot to which nothing may go now; none where there is no such bot. */
  pacedChats(id: string): number {
    return this.#bots.get(id)?.pacedChats ?? 0;
  }

  /** Adds a bot, and keeps it through restarts. */
  addBot(bot: { id: string; secret: string; name?: string; url?: string }): Promise<RunBot> {
    return this.#bots.add(bot);
  }

  updateBot(id: string, patch: { secret?: string; name?: string; url?: string }): Promise<RunBot> {
    return this.#bots.update(id, patch);
  }

  /** Removes a bot that was added; what waited to be sent by it fails. */
  async removeBot(id: string): Promise<void> {
    await this.#bots.remove(id);
    await this.outbox.forget(id);
  }

  /** Begins a bot again, whatever kept it away. */
  reconnect(id: string): void {
    this.#bots.reconnect(id);
  }

  /** Uploads a file for a media_id. Rejects with `UnknownIdError` and `FileError`. */
  async upload(
    id: string,
    bytes: ReadableStream<Uint8Array>,
    { filename, kind }: { filename: string; kind?: MediaKind },
  ): Promise<Uploaded> {
    const bot = this.#bots.get(id);
    if (bot === undefined) throw new UnknownIdError("bot", id);
    let sentBytes = 0;
    const onProgress = (done: number): void => {
      sentBytes = done;
    };
    const uploaded = await bot.upload(bytes, { filename, onProgress, ...(kind !== undefined && { kind }) });
    this.#options.tell({ of: "uploaded", bot: id, bytes: sentBytes });
    return uploaded;
  }

  /** Whether messages get through: at least one bot is subscribed, and what comes can be stored. */
  state(): { readonly ready: boolean; readonly store: "ok" | StoreTrouble; readonly bots: readonly RunBot[] } {
    const bots = this.bots();
    const { trouble } = this.inbox;
    const ready = trouble === undefined && bots.some(({ state }) => state.subscribed);
    return { ready, store: trouble ?? "ok", bots };
  }

  /** An entry as a person would read it aloud. */
  textOf(entry: Entry): string {
    return textOf(entry, this.#bots.configOf(entry.bot)?.name);
  }

  /** The files of an entry, as far as they were fetched. */
  async filesOf(entry: Entry): Promise<readonly FileLink[]> {
    return this.spool === undefined || !mayHaveFiles(entry) ? [] : this.spool.filesOf(entry);
  }

  /** A file under its signed name. */
  async file(id: string, sig: string): Promise<SpooledFile | undefined> {
    return this.spool?.file(id, sig);
  }

  /** The body of an entry as it came, with its keys and addresses; undefined where the bot's secret is another one by now. */
  wholeBodyOf({ bot, body, sealed }: Entry): unknown {
    if (sealed === undefined) return body;
    const secret = this.#bots.configOf(bot)?.secret;
    if (secret === undefined) return undefined;
    return botVault(this.#options.cipher, bot, typeof secret === "string" ? secret : secret()).open(body, sealed);
  }

  /**
   * Ends the service within `drainMs`: deliveries under way have half of it, open bubbles and messages under way most of
   * the rest, then the lines are closed. What is not at its end by then is in the store. Closes the store. `handOver` runs
   * while the lines are still there and nothing is sent over them any more: another replica may take them from under it.
   * Called again it waits for nothing that is under way any more.
   */
  stop(drainMs: number, handOver?: () => Promise<void>): Promise<void> {
    const now = this.clock.now();
    if (this.#stopped !== undefined) {
      this.#until = Math.min(this.#until, now);
      this.#hurried.resolve(undefined);
      return this.#stopped;
    }
    this.#until = now + drainMs;
    this.#stopped = this.#stop(drainMs, handOver);
    return this.#stopped;
  }

  async #stop(drainMs: number, handOver: (() => Promise<void>) | undefined): Promise<void> {
    const { clock } = this;
    const until = this.#until;
    this.#cancelSweep?.();
    this.sinks.quiet();
    await this.#atMost(until - drainMs / 2, this.dispatcher.drain());
    await this.#atMost(until - drainMs / 8, this.outbox.drain());
    await this.#atMost(until, this.sinks.close());
    if (handOver !== undefined) await this.#atMost(until, handOver());
    // The lines are closed, and what came over them is stored, however little time there is; not for ever, though.
    await this.#within(this.#leastUntil(), this.#bots.stop(Math.max(1, this.#until - clock.now())));
    await this.#within(this.#leastUntil(), this.inbox.idle());
    await this.store.close();
    this.inbox.end();
  }

  #came(stored: readonly Stored[]): void {
    const now = this.clock.now();
    const { welcome, offline } = this.#options;
    for (const { entry, deliveries, replies, files } of stored) {
      if (entry.direction === "in") this.outbox.came(entry);
      this.spool?.fetch(entry.seq, files);
      if (deliveries.length > 0) this.dispatcher.wake(entry, deliveries);
      if (welcome !== undefined && entry.kind === "enter_chat" && entry.event === true)
        this.#unattended("the welcome", this.outbox.reply(entry.seq, welcome));
      for (const reply of replies) this.#unattended("a trigger's reply", this.outbox.reply(entry.seq, reply));
      const failing = (id: string): boolean => this.dispatcher.health(id).circuit !== "closed";
      if (offline !== undefined && replies.length === 0 && this.#offline.asks(entry, deliveries, now, failing))
        this.#unattended("the answer while webhooks fail", this.outbox.reply(entry.seq, offline));
      this.#options.tell({ of: "stored", entry, afterMs: now - entry.at });
    }
    this.feed.stored(stored.map(({ entry }) => entry));
  }

  #went(entry: Entry, deliveries: readonly Delivery[]): void {
    if (deliveries.length > 0) this.dispatcher.wake(entry, deliveries);
    this.feed.stored([entry]);
  }

  #delivered(event: DeliveryEvent): void {
    this.#options.tell({ of: "delivery", event });
    // A webhook that wants to hear of dead deliveries and takes none would hear of that for ever.
    if (event.type !== "dead" || event.entry.kind === "delivery.dead") return;
    const { id, webhook, seq } = event.delivery;
    const { traceparent } = event.entry;
    const body = { delivery: id, webhook, message: `msg_${seq}` };
    this.inbox.note({ bot: event.entry.bot, kind: "delivery.dead", reason: event.why, body, traceparent });
  }

  /** The files of the last messages before a crash, whose links may live still. */
  async #fetchMissed(): Promise<void> {
    const { media } = this.#options;
    if (this.spool === undefined || media?.source === undefined) return;
    const now = this.clock.now();
    const last = await this.store.entries({ directions: ["in"], order: "descending", limit: 1_000 });
    for (const entry of last) {
      if (now - entry.at >= mediaUrlLifeMs) return;
      const files = entry.sealed === undefined ? [] : filesOf(this.wholeBodyOf(entry), media.source);
      if (files.length > 0 && !(await this.spool.knows(entry.seq))) this.spool.fetch(entry.seq, files);
    }
  }

  /** The msgids of what came and was stored under numbers from `next` on. */
  async #cameSince(next: Seq): Promise<ReadonlySet<string>> {
    const came = new Set<string>();
    for (let after = next - 1; ;) {
      const page = await this.store.entries({ directions: ["in"], after, limit: 1_000 });
      for (const { bot, msgid } of page) if (msgid !== undefined) came.add(heardAs(bot, msgid));
      const last = page.at(-1);
      if (last === undefined || page.length < 1_000) return came;
      after = last.seq;
    }
  }

  /**
   * A key that is not the one of before would open nothing, and say so piece by piece; so it is asked at the start. Resolves
   * with what is to be stored where there was none.
   */
  async #checkKey(): Promise<Change[]> {
    const sealer = storeSealer(this.#options.cipher, this.#options.storeKey);
    const stored = (await this.store.document("meta", "key"))?.value as { sealed: string } | undefined;
    if (stored === undefined) {
      const value = { sealed: await sealer.seal("openws") };
      return [{ put: "document", collection: "meta", document: { key: "key", value } }];
    }
    await sealer.unseal(stored.sealed).catch(() => {
      throw new MistakeError(
        {
          en: "the store's key is not the one that its secrets were sealed under: put the database's .key file back, or set OPENWS_STORE_KEY to what it was",
          zh: "数据库的密钥与当初加密所用的不同：请将数据库旁的 .key 文件放回原处，或将 OPENWS_STORE_KEY 设为原来的值",
        },
        { path: "OPENWS_STORE_KEY" },
      );
    });
    return [];
  }

  #sweepLater(): void {
    this.#cancelSweep = this.clock.wakeAt(this.clock.now() + sweepMs, () => {
      this.#unattended("removing what is too old", this.#sweep());
      this.#sweepLater();
    });
  }

  async #sweep(): Promise<void> {
    const { retentionMs = 30 * 24 * 3_600_000, retentionBytes = 10 * 1024 ** 3 } = this.#options;
    const now = this.clock.now();
    const retention = { now, before: now - retentionMs, maxBytes: retentionBytes };
    while ((await this.store.purge(retention, sweepBatch)) > 0);
    await this.spool?.sweep();
  }

  #unattended(what: string, promise: Promise<unknown>): void {
    promise.catch((error: unknown) => {
      if (error instanceof StoreError && error.trouble === "closed") return;
      const why = error instanceof Error ? error.message : String(error);
      this.#options.tell({ of: "service", event: { type: "failed", what, why } });
    });
  }

  #leastUntil(): EpochMs {
    return Math.max(this.#until, this.clock.now() + 200);
  }

  /** Waits for it until then, or until there is no more time. */
  #atMost(until: number, promise: Promise<unknown>): Promise<void> {
    return this.#within(until, Promise.race([promise, this.#hurried.promise]));
  }

  async #within(until: number, promise: Promise<unknown>): Promise<void> {
    const late = Promise.withResolvers<undefined>();
    const cancel = this.clock.wakeAt(until, () => late.resolve(undefined));
    await Promise.race([promise, late.promise]);
    cancel();
  }
}
