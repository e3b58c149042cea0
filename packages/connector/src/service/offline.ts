/**
 * The answer to who writes while nobody takes it: given when every webhook that wants the message is left alone because it
 * fails, so that the user would wait for a long time; to one chat once in ten minutes. Decides when; does not send.
 */
import type { Delivery, Entry, EpochMs } from "./store.ts";

/** How soon a chat is told again. */
const againMs = 10 * 60_000;
/** Chats that are remembered to have been told. */
const rememberedChats = 10_000;

/** Remembers who was told. */
export class Offline {
  /** Oldest first. */
  readonly #told = new Map<string, EpochMs>();

  /** Whether this message is to be answered; counts as told then. `failing` says whether a webhook is left alone. */
  asks(
    { direction, event, bot, chat }: Entry,
    deliveries: readonly Delivery[],
    now: EpochMs,
    failing: (webhook: string) => boolean,
  ): boolean {
    if (direction !== "in" || event === true || chat === undefined || deliveries.length === 0) return false;
    if (!deliveries.every(({ webhook }) => failing(webhook))) return false;
    const key = `${bot} ${chat.type} ${chat.id}`;
    if (now - (this.#told.get(key) ?? -Infinity) < againMs) return false;
    this.#told.delete(key);
    this.#told.set(key, now);
    for (const oldest of this.#told.keys()) {
      if (this.#told.size <= rememberedChats) break;
      this.#told.delete(oldest);
    }
    return true;
  }
}
