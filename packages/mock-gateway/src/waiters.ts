/**
 * Those who wait for an answer: a caller said something to a bot and wants to know what it replied.
 *
 * What counts: every message of the bot under the callback's req_id, and every push into the same chat since. The first
 * one that is finished ends the wait; so does the caller's limit, on the transport clock. Each wait ends exactly once.
 */
import type { BotItem, Chat, Via } from "./chats.ts";
import type { Appointment, Clock, Millis } from "./clock.ts";
import type { Card } from "./session.ts";

/** A number by which a caller knows what it waits for. */
export type CallId = number;

/** What became of a message or event. */
export interface Told {
  msgid: string;
  reqId: string;
  /** Whether it went out on a subscribed connection. */
  delivered: boolean;
  /** Why it did not. */
  reason?: string;
  /** The text of the first finished answer; null when there is none, or when it has no text. */
  reply: string | null;
  /** Everything the bot said about it so far, pushes to the same chat included, in order. */
  replies: Reply[];
  /** The wait was over before an answer was finished. */
  timedOut?: true;
}

/** One message of the bot, as an answer. */
export interface Reply {
  /** The msgtype. */
  kind: string;
  via: Via;
  streamId?: string;
  content?: string;
  card?: Card;
  mediaId?: string;
  filename?: string;
  finished: boolean;
  /** How many frames were taken for it. */
  frames: number;
  /** From the question to its newest frame, on the transport clock. */
  ms: Millis;
}

interface Waiter {
  readonly call: CallId;
  readonly told: Told;
  readonly chat: Chat;
  readonly askedAt: Millis;
  readonly replies: Map<BotItem, Reply>;
  readonly until: Appointment;
}

/** All waits for answers. */
export class Waiters {
  readonly #clock: Clock;
  readonly #settled: (call: CallId, told: Told) => void;
  readonly #waiting = new Map<CallId, Waiter>();

  constructor(clock: Clock, settled: (call: CallId, told: Told) => void) {
    this.#clock = clock;
    this.#settled = settled;
  }

  get size(): number {
    return this.#waiting.size;
  }

  wait(call: CallId, told: Told, chat: Chat, waitMs: Millis): void {
    const until = this.#clock.after(waitMs, () => {
      told.timedOut = true;
      this.#settle(waiter);
    });
    const waiter: Waiter = { call, told, chat, askedAt: this.#clock.transport, replies: new Map(), until };
    this.#waiting.set(call, waiter);
  }

  /** A message of the bot appeared or changed. */
  noticed(chat: Chat, item: BotItem): void {
    for (const waiter of this.#waiting.values()) {
      if (waiter.chat !== chat || (item.via !== "send" && item.reqId !== waiter.told.reqId)) continue;
      const reply = waiter.replies.get(item) ?? opened(waiter, item);
      if (item.content !== undefined) reply.content = item.content;
      reply.finished = item.finished;
      reply.frames = item.frames;
      reply.ms = Math.round(this.#clock.transport - waiter.askedAt);
      if (!item.finished) continue;
      waiter.told.reply = item.content ?? null;
      this.#settle(waiter);
    }
  }

  /** The caller is gone. */
  abandon(call: CallId): void {
    this.#clock.cancel(this.#waiting.get(call)?.until);
    this.#waiting.delete(call);
  }

  /** Ends every wait as timed out. */
  clear(): void {
    for (const waiter of this.#waiting.values()) {
      waiter.told.timedOut = true;
      this.#settle(waiter);
    }
  }

  #settle(waiter: Waiter): void {
    this.abandon(waiter.call);
    this.#settled(waiter.call, waiter.told);
  }
}

const opened = (waiter: Waiter, item: BotItem): Reply => {
  const reply: Reply = { kind: item.kind, via: item.via, finished: false, frames: 0, ms: 0 };
  if (item.streamId !== undefined) reply.streamId = item.streamId;
  if (item.card) reply.card = item.card;
  if (item.mediaId !== undefined) reply.mediaId = item.mediaId;
  if (item.filename !== undefined) reply.filename = item.filename;
  waiter.replies.set(item, reply);
  waiter.told.replies.push(reply);
  return reply;
};
