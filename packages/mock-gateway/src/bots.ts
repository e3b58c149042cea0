/**
 * Who may subscribe, who is subscribed, and who waits for that.
 *
 * With no bot configured anybody may subscribe, and appears by doing so; once one is configured strangers are refused.
 * What a subscribe changes on connections is the world's; here are credentials, the protection against too many
 * subscribes (GW-AUTH-5), and what is known of a bot.
 */
import type { Clock, Millis } from "./clock.ts";
import type { Connection } from "./connections.ts";
import { Memory, type Destination, type Turn } from "./turns.ts";
import type { CallId } from "./waiters.ts";

/** A bot that may subscribe. Without a secret any is accepted; the name is what groups mention, by default the id. */
export interface BotConfig {
  readonly id: string;
  readonly secret?: string | undefined;
  readonly name?: string | undefined;
}

/** A bot, for the API. */
export interface BotView {
  id: string;
  name: string;
  state: "offline" | "subscribed";
  /** False for a bot that appeared by subscribing. */
  configured: boolean;
  /** The connection callbacks go to. */
  connection: number | null;
  /** When it subscribed, world clock. */
  subscribedAt: Millis | null;
  /** Why it is offline, when that is known. */
  reason: string | null;
}

/** A bot and its connection. */
export interface Bot {
  readonly id: string;
  name: string;
  secret: string | undefined;
  configured: boolean;
  /** The connection callbacks go to. */
  live: Connection | undefined;
  subscribedAt: Millis | null;
  reason: string | null;
  /** World instants of recent subscribes. */
  subscribes: Millis[] | undefined;
  throttledUntil: Millis;
  readonly memory: Memory;
  /** Deliveries that a fault keeps for the bot's next connection. */
  redeliveries: { turn: Turn; sameReqId: boolean; fault: string }[] | undefined;
}

/** What a wait for a bot ends with: the bot, subscribed or not by then, or none of that name. */
export type BotAnswer = { bot: BotView; timedOut?: true } | { unknown: string };

const maxAppeared = 50_000;
const rate = { subscribes: 5, withinMs: 60_000 };

/** All bots. */
export class Bots {
  readonly #clock: Clock;
  readonly #settled: (call: CallId, answer: BotAnswer) => void;
  readonly #bots = new Map<string, Bot>();
  readonly #waiting = new Map<CallId, { bot: string; until: ReturnType<Clock["after"]> }>();
  #closedToStrangers = false;

  constructor(clock: Clock, settled: (call: CallId, answer: BotAnswer) => void) {
    this.#clock = clock;
    this.#settled = settled;
  }

  get size(): number {
    return this.#bots.size;
  }

  /** How many callers wait for a bot. */
  get waiting(): number {
    return this.#waiting.size;
  }

  get(id: string): Bot | undefined {
    return this.#bots.get(id);
  }

  all(): IterableIterator<Bot> {
    return this.#bots.values();
  }

  configure({ id, secret, name }: BotConfig): void {
    this.#closedToStrangers = true;
    const bot = this.#bots.get(id) ?? this.#make(id);
    bot.configured = true;
    bot.secret = secret;
    bot.name = name ?? bot.name;
  }

  remove(bot: Bot): void {
    this.#bots.delete(bot.id);
    this.#closedToStrangers = [...this.#bots.values()].some(({ configured }) => configured);
  }

  /** The bot that may subscribe with these credentials, or why it may not. Each try counts. */
  admit(id: string, secret: string, rateLimited: boolean): Bot | "throttled" | "wrong secret" | "unknown bot" {
    const now = this.#clock.world;
    const bot = this.#bots.get(id) ?? this.#appear(id, secret);
    if (!bot) return "unknown bot";
    if (rateLimited) {
      bot.subscribes = bot.subscribes?.filter((at) => at > now - rate.withinMs) ?? [];
      if (now < bot.throttledUntil) return "throttled";
      if (bot.subscribes.length >= rate.subscribes) {
        bot.throttledUntil = now + rate.withinMs;
        return "throttled";
      }
      bot.subscribes.push(now);
    }
    return secret === "" || (bot.secret !== undefined && bot.secret !== secret) ? "wrong secret" : bot;
  }

  /** Settled when the bot is subscribed, or when `waitMs` is over; at once if neither needs waiting for. */
  wait(call: CallId, id: string, waitMs: Millis): void {
    const answer = (): void => {
      this.#waiting.delete(call);
      const bot = this.#bots.get(id);
      if (!bot) this.#settled(call, { unknown: id });
      else this.#settled(call, bot.live || waitMs <= 0 ? { bot: botView(bot) } : { bot: botView(bot), timedOut: true });
    };
    if (waitMs <= 0 || this.#bots.get(id)?.live) answer();
    else this.#waiting.set(call, { bot: id, until: this.#clock.after(waitMs, answer) });
  }

  /** Those who wait for this bot need not wait any longer. */
  arrived(bot: Bot): void {
    for (const [call, waiter] of this.#waiting) {
      if (waiter.bot !== bot.id) continue;
      this.abandon(call);
      this.#settled(call, { bot: botView(bot) });
    }
  }

  /** The caller is gone. */
  abandon(call: CallId): void {
    this.#clock.cancel(this.#waiting.get(call)?.until);
    this.#waiting.delete(call);
  }

  clear(): void {
    this.#bots.clear();
    this.#closedToStrangers = false;
    for (const [call, { bot }] of this.#waiting) {
      this.abandon(call);
      this.#settled(call, { unknown: bot });
    }
  }

  #appear(id: string, secret: string): Bot | undefined {
    if (this.#closedToStrangers || id === "" || secret === "" || this.#bots.size >= maxAppeared) return undefined;
    return this.#make(id);
  }

  #make(id: string): Bot {
    const bot: Bot = {
      id,
      name: id,
      secret: undefined,
      configured: false,
      live: undefined,
      subscribedAt: null,
      reason: null,
      subscribes: undefined,
      throttledUntil: 0,
      memory: new Memory(),
      redeliveries: undefined,
    };
    this.#bots.set(id, bot);
    return bot;
  }
}

/** What the API shows of a bot. */
export const botView = ({ id, name, live, configured, subscribedAt, reason }: Bot): BotView => ({
  id,
  name,
  state: live ? "subscribed" : "offline",
  configured,
  connection: live?.session.n ?? null,
  subscribedAt: live ? subscribedAt : null,
  reason,
});

/** Why nothing can be delivered to a bot, if nothing can. */
export const unreachable = ({ live, reason }: Bot): string | undefined => {
  if (live) return live.deaf ? "the connection is half-alive (a fault)" : undefined;
  return reason === null ? "the bot is offline" : `the bot is offline: ${reason}`;
};

/** Where callbacks of a bot go, if they go anywhere. */
export const destination = ({ live }: Bot): Destination | undefined =>
  live && { connection: live.session.n, origin: live.origin };
