/**
 * What the tests of the behaviours stand on: a bot, the mock gateway over a real socket, and the wire log between them.
 * Heartbeats and back-off are a hundredth of the default ones, so that things happen soon; acks have time, so that a busy
 * machine is not taken for a dead line. Where the durations are what is tried, a test says {@link hundredth}: then "within
 * 10 s" reads "within 100 ms, and what a busy machine adds".
 */
import { afterEach } from "vitest";
import { type Gateway, type GatewayOptions, type LogEntry, readFault, startGateway } from "@openws/mock-gateway";
import type { Bot, BotEvent, BotOptions } from "../../src/index.shared.ts";
import { createBot } from "../library.ts";
import type { Frame } from "../virtual.ts";

/** Soon, and without haste; what a chat may be sent is not paced. */
const patient = { heartbeatMs: 300, ackMs: 4_000, backoffBaseMs: 10, quota: false } as const;
/** A hundredth of the default durations. */
export const hundredth = { heartbeatMs: 300, ackMs: 100, backoffBaseMs: 10 } as const;
/** What a busy machine may add to any limit. */
export const grace = 1_500;

export const secret = "s3cret-s3cret";

const ended: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0).toReversed()) await end();
});

/** Has `end` called when the test is over, the last one first. */
export function atTheEnd(end: () => unknown): void {
  ended.push(end);
}

export interface Setting {
  readonly gateway: Gateway;
  readonly bot: Bot;
  readonly events: BotEvent[];
  /** Resolves with the first event that fits, one that has come already included. */
  readonly until: (fits: (event: BotEvent) => boolean) => Promise<BotEvent>;
}

/** How the gateway of a test differs: faults as `--fault` takes them. */
export interface Gatewayed extends Omit<GatewayOptions, "faults"> {
  readonly faults?: readonly string[];
}

/** A gateway that answers at once, knows one bot, and limits nothing unless a test says so. */
export async function gatewayFor({ faults = [], switches, ...more }: Gatewayed = {}): Promise<Gateway> {
  const gateway = await startGateway({
    latencyMs: 0,
    bots: [{ id: "bot", secret, name: "Claude Code" }],
    ...more,
    faults: faults.map(readFault),
    switches: { subscribeRate: "off", quota: "off", maxInFlightPerUser: "off", chatPrecondition: "off", ...switches },
  });
  atTheEnd(() => gateway.stop());
  return gateway;
}

/** A bot that has begun to dial. */
export function dialling(gateway: Gateway, options: Partial<BotOptions> = {}): Setting {
  const bot = createBot({ botId: "bot", secret, url: gateway.url, ...patient, ...options });
  const events: BotEvent[] = [];
  const waiting = new Set<(event: BotEvent) => void>();
  bot.observe((event) => {
    events.push(event);
    for (const look of waiting) look(event);
  });
  const until = (fits: (event: BotEvent) => boolean): Promise<BotEvent> => {
    const come = events.find(fits);
    if (come !== undefined) return Promise.resolve(come);
    const { promise, resolve } = Promise.withResolvers<BotEvent>();
    const look = (event: BotEvent): void => {
      if (!fits(event)) return;
      waiting.delete(look);
      resolve(event);
    };
    waiting.add(look);
    return promise;
  };
  atTheEnd(() => bot.stop(50));
  void bot.start();
  return { gateway, bot, events, until };
}

/** A bot that is subscribed. */
export async function ready(options: Partial<BotOptions> = {}, gatewayed: Gatewayed = {}): Promise<Setting> {
  const setting = dialling(await gatewayFor(gatewayed), options);
  await setting.bot.start();
  return setting;
}

/** Resolves as soon as it holds; the test's own limit is the end of waiting. */
export async function eventually(holds: () => boolean): Promise<void> {
  while (!holds()) await pause(5);
}

/** Lets real time pass: where the verdict is that nothing happens meanwhile. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

export const moved = (to: string, why?: string) => (event: BotEvent) =>
  event.type === "moved" && event.to === to && (why === undefined || event.why === why);

export const answered = (event: BotEvent): boolean => event.type === "answered";

/** A frame that the client sent: when, and over which connection. */
export interface Sent {
  readonly frame: Frame;
  readonly at: number;
  readonly connection: number;
}

/** What the client sent, of one command or all, oldest first. */
export function sent(gateway: Gateway, cmd?: string): Sent[] {
  return gateway
    .log()
    .filter((entry) => entry.dir === "in" && (cmd === undefined || entry.cmd === cmd))
    .map(({ text, transportAt: at, connection }) => ({ frame: JSON.parse(text) as Frame, at, connection }));
}

/** The frames of one command. */
export const of = (gateway: Gateway, cmd: string): Frame[] => sent(gateway, cmd).map(({ frame }) => frame);

/** The stream bodies of all replies. */
export const streams = (gateway: Gateway) =>
  of(gateway, "aibot_respond_msg").flatMap(({ body }) => (body.stream ? [body.stream] : []));

/** What happened to sockets whose text begins so. */
export const happened = (gateway: Gateway, what: string): LogEntry[] =>
  gateway.log().filter(({ dir, text }) => dir === "socket" && text.startsWith(what));

/** What the bot said in a chat, as its user sees it. */
export const seen = (gateway: Gateway, chat = "zhangsan") =>
  gateway.chat("bot", chat)?.items.flatMap((item) => (item.by === "bot" ? [item] : [])) ?? [];

/** A text of a user. */
export const text = (content: string, userid = "zhangsan") => ({
  from: { userid },
  msgtype: "text",
  text: { content },
});
