/**
 * Which bots a service runs: those of the configuration and those added through the API, which are stored.
 *
 * Decides when one begins, what of its line is worth an entry, and what a kick means for the next start. Two instances of
 * a bot kick each other for as long as both come back, so the library stays away after a kick; but a process that an
 * orchestrator starts anew knows nothing of it and would wage the war by its restarts. So kicks are stored, and a bot
 * that was kicked twice within five minutes, in whichever process, is not begun within five minutes of the last: by then
 * a person has decided, or the orchestrator has given up. One kick alone holds nobody back, since stopping the other
 * instance and starting this one is what the operator is told to do; with `rejoin` the wait of 30 s that follows a kick is
 * kept through a restart. `reconnect` is a person's word: it forgets the kicks and begins at once. Under a lease a kick
 * is the hand-over once the lease is not held any more, and counts for nothing; while it is held, whoever took the line is
 * none of the replicas: that is reported, and the lease kept, or they would fight on for this one.
 *
 * Does not know frames, HTTP or what becomes of messages. Invariant: what is said of a bot (`stateOf`) is true of its line,
 * or says why there is none.
 */
import { UsageError } from "@openws/protocol";
import type { Spent } from "../answer.ts";
import { type Bot, type BotEvent, type BotState, rememberedMsgids } from "../bot.ts";
import type { Clock } from "./clock.ts";
import type { Note, Source } from "./inbox.ts";
import { UnknownIdError } from "./ledger.ts";
import type { Entry, EntryState, EpochMs, Seq, Store } from "./store.ts";
import { type Cipher, type Sealer, botVault } from "./vault.ts";

/** A bot as it is configured, or added. */
export interface BotConfig {
  readonly id: string;
  /** The long-connection secret; or where to look for it. */
  readonly secret: string | (() => string);
  readonly name?: string | undefined;
  /** The gateway; WeCom's own. */
  readonly url?: string | undefined;
}

/** Makes the bot of a configuration; `seen` are the msgids that it must not take for new, `spent` what chats were sent lately. */
export type MakeBot = (
  config: BotConfig & { readonly seen: readonly string[]; readonly spent: readonly Spent[] },
) => Bot;

/** A bot of the service. */
export interface RunBot {
  readonly id: string;
  readonly name: string | undefined;
  readonly url: string | undefined;
  readonly source: "config" | "api";
  readonly state: BotState;
}

/** What bots work with. */
export interface BotsParts {
  readonly store: Pick<Store, "commit" | "document" | "documents" | "entries" | "recentMsgids">;
  readonly clock: Clock;
  readonly cipher: Cipher;
  readonly sealer: Sealer;
  readonly make: MakeBot;
  readonly afterKick: "stop" | "rejoin";
  /** Told of everything that happens to a bot, at once. Must not throw. */
  readonly heard: (source: Source, event: BotEvent) => void;
  readonly note: (note: Note) => void;
  readonly lineMoved: (bot: string, ready: boolean) => void;
  /** The lease under which lines are held, where there is one. */
  readonly lease?: LineLease | undefined;
}

/** What bots ask of a lease. */
export interface LineLease {
  /** The fencing number while lines may be used; undefined once another replica may hold them. */
  holds(): number | undefined;
  /** One sentence: which replica holds it, and how it came by it. */
  readonly why: string;
}

/** Two kicks within this are a war, as for the library's connection. */
const kickWarMs = 5 * 60_000;
/** How long `rejoin` stays away after a kick. */
const rejoinMs = 30_000;
/** The longer of the two windows in which WeCom counts what a chat is sent. */
const quotaWindowMs = 3_600_000;
/** What may have been counted there. */
const leftStates: ReadonlySet<EntryState> = new Set(["sent", "acked", "unknown", "fallback"]);
/** As long as a message waits for a line, unless that was set higher: what was sent just now may be as old. */
const longestWaitMs = 24 * 3_600_000;
/** As far back as is looked, however much there is: the newest 20,000 of what came and went. */
const spentPages = 20;
const spentPageSize = 1_000;
/** Kicks that are remembered of a bot. */
const keptKicks = 10;

/** A line that died of these was deaf before it was given up. */
const deafCauses: ReadonlySet<string> = new Set(["ping-timeout", "silence", "not-subscribed"]);

interface Running {
  readonly config: BotConfig;
  readonly source: "config" | "api";
  readonly bot: Bot;
  readonly kicks: EpochMs[];
  /** Why it was not begun, or was ended, though nobody asked for that. */
  held: BotState["reason"] | undefined;
  cancelStart: (() => void) | undefined;
}

/** A bot that was added, as it is stored. */
interface StoredBot {
  readonly id: string;
  readonly name?: string;
  readonly url?: string;
  readonly sealed: string;
}

/** The bots of a service. */
export class Bots {
  readonly #parts: BotsParts;
  readonly #running = new Map<string, Running>();
  /** Those that were added, as the store had them when it was read. */
  #stored: ReadonlyMap<string, StoredBot> = new Map();
  #stopping = false;

  constructor(parts: BotsParts) {
    this.#parts = parts;
  }

  /** Makes the bots of the configuration and those that are stored; begins none. A configured one goes before a stored one. */
  async load(configured: readonly BotConfig[]): Promise<void> {
    for (const config of configured) await this.#make(config, "config");
    this.#stored = await this.#read();
    for (const stored of this.#stored.values()) await this.#makeStored(stored);
  }

  /** Takes up what another process has stored since `load`: bots that were added, changed and removed. Call it after `start`. */
  async reload(): Promise<void> {
    const [before, now] = [this.#stored, await this.#read()];
    this.#stored = now;
    for (const [id, { sealed }] of before) {
      const running = this.#running.get(id);
      // It is sealed anew whatever is changed.
      if (running?.source === "api" && now.get(id)?.sealed !== sealed) await this.#end(running);
    }
    for (const stored of now.values()) {
      const running = await this.#makeStored(stored);
      if (running !== undefined) this.#begin(running);
    }
  }

  /** Begins them all. */
  start(): void {
    for (const running of this.#running.values()) this.#begin(running);
  }

  all(): RunBot[] {
    return [...this.#running.values()].map(viewOf);
  }

  /** The bot itself. */
  get(id: string): Bot | undefined {
    return this.#running.get(id)?.bot;
  }

  /** What is known of a bot whose messages were stored. */
  configOf(id: string): BotConfig | undefined {
    return this.#running.get(id)?.config;
  }

  /** Adds a bot, stores it and begins it. Rejects with `UsageError` for one that runs already. */
  async add(config: BotConfig & { readonly secret: string }): Promise<RunBot> {
    if (this.#running.has(config.id))
      throw new UsageError(`this service runs the bot ${JSON.stringify(config.id)} already`, { path: "id" });
    // Made before it is stored: a URL that cannot be is refused here.
    const running = await this.#make(config, "api");
    try {
      await this.#save(config);
    } catch (error) {
      this.#running.delete(config.id);
      throw error;
    }
    this.#begin(running);
    return viewOf(running);
  }

  /** Changes a bot that was added: it leaves, and joins again as it is now. Rejects with `UsageError` and `UnknownIdError`. */
  async update(id: string, patch: Partial<Pick<BotConfig, "name" | "url">> & { secret?: string }): Promise<RunBot> {
    const old = this.#mustBeOurs(id);
    const config = { ...old.config, ...patch, secret: patch.secret ?? (old.config.secret as string) };
    await this.#save(config);
    await this.#end(old);
    const running = await this.#make(config, "api");
    this.#begin(running);
    return viewOf(running);
  }

  /** Removes a bot that was added. */
  async remove(id: string): Promise<void> {
    const old = this.#mustBeOurs(id);
    await this.#parts.store.commit([{ delete: "document", collection: "bot", key: id }]);
    await this.#end(old);
  }

  /** Begins a bot again, whatever kept it away. Throws `UnknownIdError`. */
  reconnect(id: string): void {
    const running = this.#mustHave(id);
    running.kicks.length = 0;
    this.#saveKicks(running);
    running.held = undefined;
    running.cancelStart?.();
    void running.bot.start();
  }

  /** Ends them all; open answers have `drainMs`. */
  async stop(drainMs: number): Promise<void> {
    this.#stopping = true;
    await Promise.all(
      [...this.#running.values()].map(({ bot, cancelStart }) => {
        cancelStart?.();
        return bot.stop(drainMs);
      }),
    );
  }

  async #read(): Promise<ReadonlyMap<string, StoredBot>> {
    const stored = new Map<string, StoredBot>();
    for (let after: string | undefined; ;) {
      const page = await this.#parts.store.documents("bot", { after, limit: 200 });
      for (const { key, value } of page) stored.set(key, { ...(value as Omit<StoredBot, "id">), id: key });
      if (page.length < 200) return stored;
      after = page.at(-1)?.key;
    }
  }

  /** Undefined where a bot of that name runs already. */
  async #makeStored({ id, name, url, sealed }: StoredBot): Promise<Running | undefined> {
    if (this.#running.has(id)) return undefined;
    return this.#make({ id, name, url, secret: await this.#parts.sealer.unseal(sealed) }, "api");
  }

  async #make(config: BotConfig, source: "config" | "api"): Promise<Running> {
    const { store, cipher, make, heard } = this.#parts;
    const seen = await store.recentMsgids(config.id, rememberedMsgids);
    const kicked = (await store.document("counter", kicksKey(config.id)))?.value as { at: EpochMs[] } | undefined;
    const bot = make({ ...config, seen, spent: await this.#spent(config.id) });
    const secret = typeof config.secret === "string" ? config.secret : config.secret();
    const running: Running = {
      config,
      source,
      bot,
      kicks: [...(kicked?.at ?? [])],
      held: undefined,
      cancelStart: undefined,
    };
    const from: Source = { id: config.id, vault: botVault(cipher, config.id, secret) };
    bot.observe((event) => {
      heard(from, event);
      if (event.type === "moved") this.#moved(running, event);
      else if (event.type === "probed" && event.found === "not-subscribed")
        this.#parts.note({ bot: config.id, kind: "bot.deaf", reason: "a probe found that the line is not subscribed" });
    });
    this.#running.set(config.id, running);
    return running;
  }

  /**
   * What went out within the longest window of WeCom's limits, oldest first. All that the bot has is read from the newest
   * back, without a word about what is wanted: no index holds that, and a ledger of months must not hold up a start.
   */
  async #spent(bot: string): Promise<Spent[]> {
    const { store, clock } = this.#parts;
    const now = clock.now();
    const left: Entry[] = [];
    const events = new Set<Seq>();
    let before: Seq | undefined;
    for (let page = 0; page < spentPages; page++) {
      const entries = await store.entries({ bot, before, order: "descending", limit: spentPageSize });
      for (const entry of entries)
        if (entry.event === true) events.add(entry.seq);
        else if (leftStates.has(entry.state) && now - entry.changedAt < quotaWindowMs && entry.at <= now)
          left.push(entry);
      const last = entries.at(-1);
      if (last === undefined || entries.length < spentPageSize || now - last.at >= quotaWindowMs + longestWaitMs) break;
      before = last.seq;
    }
    // A welcome and a card's update are paced by nobody; what was pushed instead is a fallback.
    const isEventAnswer = ({ state, replyTo = -1 }: Entry): boolean => state === "acked" && events.has(replyTo);
    return left
      .flatMap((entry) =>
        entry.chat === undefined || isEventAnswer(entry)
          ? []
          : [{ chat: entry.chat.id, agoMs: Math.max(0, now - entry.changedAt) }],
      )
      .toSorted((a, b) => b.agoMs - a.agoMs);
  }

  #begin(running: Running): void {
    if (this.#stopping) return;
    const { clock, afterKick } = this.#parts;
    const now = clock.now();
    const last = running.kicks.at(-1) ?? -Infinity;
    if (isWar(running.kicks) && now - last < kickWarMs) {
      this.#hold(running);
      return;
    }
    const startAt = afterKick === "rejoin" ? last + rejoinMs : now;
    if (startAt <= now) void running.bot.start();
    else running.cancelStart = clock.wakeAt(startAt, () => void running.bot.start());
  }

  #hold(running: Running): void {
    running.held = {
      en: "another instance of this bot took the line twice within five minutes; staying away, also through restarts. Stop the other one, then POST /v1/bots/:bot/reconnect",
      zh: "该机器人的另一个实例在五分钟内两次接管线路；此实例不再重连，重启后亦然。请先停止另一实例，再调用 POST /v1/bots/:bot/reconnect",
    };
  }

  #moved(running: Running, { to, why, sentence, detail }: Extract<BotEvent, { type: "moved" }>): void {
    const { note, lineMoved, clock } = this.#parts;
    const bot = running.config.id;
    lineMoved(bot, to === "ready");
    const fence = this.#parts.lease?.holds();
    if (to === "ready") {
      running.held = undefined;
      const { lease } = this.#parts;
      const under = lease === undefined ? {} : { body: { lease: fence }, reason: `${sentence.en}; ${lease.why}` };
      note({ bot, kind: "bot.ready", reason: sentence.en, ...under });
    } else if (to === "refused") {
      note({ bot, kind: "bot.refused", reason: sentence.en, errcode: detail?.code });
    } else if (to === "kicked") {
      if (this.#parts.lease !== undefined && fence === undefined) return;
      running.kicks.push(clock.now());
      running.kicks.splice(0, running.kicks.length - keptKicks);
      this.#saveKicks(running);
      const intruder =
        fence === undefined ? "" : `; this replica holds the lease (${fence}), so it is none of the replicas`;
      const body = { kicks: running.kicks.length, ...(fence !== undefined && { lease: fence }) };
      note({ bot, kind: "bot.kicked", reason: `${sentence.en}${intruder}`, body });
      if (!isWar(running.kicks)) return;
      // The library counts the kicks of this process alone, and would come back.
      this.#hold(running);
      queueMicrotask(() => void running.bot.stop(0));
    } else if (deafCauses.has(why)) {
      note({ bot, kind: "bot.deaf", reason: sentence.en, errcode: detail?.code });
    }
  }

  async #end({ config, bot, cancelStart }: Running): Promise<void> {
    cancelStart?.();
    await bot.stop();
    this.#running.delete(config.id);
  }

  async #save({ id, name, url, secret }: BotConfig & { readonly secret: string }): Promise<void> {
    const sealed = await this.#parts.sealer.seal(secret);
    await this.#parts.store.commit([
      { put: "document", collection: "bot", document: { key: id, value: { name, url, sealed } } },
    ]);
  }

  #saveKicks({ config, kicks }: Running): void {
    const document = { key: kicksKey(config.id), value: { at: [...kicks] } };
    // Should it not be stored, this process still knows.
    this.#parts.store.commit([{ put: "document", collection: "counter", document }]).catch(() => undefined);
  }

  #mustHave(id: string): Running {
    const running = this.#running.get(id);
    if (running === undefined) throw new UnknownIdError("bot", id);
    return running;
  }

  #mustBeOurs(id: string): Running {
    const running = this.#mustHave(id);
    if (running.source === "api") return running;
    throw new UsageError(`the bot ${JSON.stringify(id)} comes from the operator's configuration; change it there`, {
      path: "id",
    });
  }
}

function kicksKey(bot: string): string {
  return `kicks ${bot}`;
}

function isWar(kicks: readonly EpochMs[]): boolean {
  const [before, last] = kicks.slice(-2);
  return before !== undefined && last !== undefined && last - before < kickWarMs;
}

function viewOf({ config, source, bot, held }: Running): RunBot {
  const { state } = bot;
  return {
    id: config.id,
    name: config.name,
    url: config.url,
    source,
    state: held === undefined ? state : { ...state, connection: "kicked", reason: held },
  };
}
