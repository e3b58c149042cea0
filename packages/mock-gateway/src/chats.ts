/**
 * What each user sees: chats with their bubbles, cards, files and pushes, as the WeCom app would show them.
 *
 * A single chat is named by its userid, a group by its chatid. What is shown is bounded: so many items a chat, so many
 * chats, so many characters in all; what was longest untouched goes first. That somebody once spoke in a chat is
 * remembered apart from it, since a push depends on that.
 */
import { quotaPerHour, quotaPerMinute } from "@openws/protocol/frames";
import { bound } from "./bounded.ts";
import type { Millis } from "./clock.ts";
import { Quota } from "./quota.ts";
import type { Card } from "./session.ts";

/** How a message of the bot came: by reply, welcome, card update, push, or POST to a response_url. */
export type Via = "respond" | "welcome" | "update" | "send" | "response_url";

/** Something a user said or did. */
export interface UserItem {
  readonly by: "user";
  readonly seq: number;
  /** World clock, Unix milliseconds. */
  readonly at: Millis;
  readonly userid: string;
  /** `event` for what is no message. */
  readonly msgtype: string;
  readonly eventtype?: string;
  readonly msgid: string;
  readonly reqId: string;
  readonly content?: string;
  /** Whether it went out on a connection. */
  delivered: boolean;
}

/** A message of the bot. */
export interface BotItem {
  readonly by: "bot";
  readonly seq: number;
  readonly at: Millis;
  readonly via: Via;
  /** The msgtype: stream, markdown, text, template_card, file, image, voice, video. */
  readonly kind: string;
  readonly reqId: string;
  streamId?: string;
  /** The text of the bubble; for a stream its newest state. */
  content?: string | undefined;
  card?: Card;
  mediaId?: string;
  filename?: string;
  title?: string;
  description?: string;
  /** False while a stream is open. */
  finished: boolean;
  /** A stream that was finished without a visible character: the app shows its spinner for ever. */
  spinner?: true;
  /** A stream that ran out of its ten minutes; set when somebody looks. */
  expired?: true;
  /** How many frames were taken for it. */
  frames: number;
  /** The id a thumb refers to, when the app shows thumbs. */
  feedbackId?: string;
  task_id?: string;
}

export type ChatItem = UserItem | BotItem;

/** One chat of one bot. */
export class Chat {
  readonly bot: string;
  readonly id: string;
  readonly chattype: "single" | "group";
  /** What it is found by among all chats. */
  readonly key: string;
  /** Who spoke here. */
  readonly users = new Set<string>();
  readonly items: ChatItem[] = [];
  lastAt: Millis = 0;
  /** Characters of everything shown. */
  characters = 0;
  #quota: Quota | undefined;

  constructor(bot: string, chattype: "single" | "group", id: string) {
    this.bot = bot;
    this.chattype = chattype;
    this.id = id;
    this.key = keyOf(bot, chattype, id);
  }

  /** The allowance of 30 messages a minute and 1,000 an hour. */
  get quota(): Quota {
    return (this.#quota ??= new Quota(quotaPerMinute, quotaPerHour));
  }
}

const maxItems = 200;
const maxUsers = 500;
const maxChats = 20_000;
const maxCharacters = 64 * 1024 * 1024;
const maxKnown = 500_000;

/** All chats of all bots. */
export class Chats {
  /** Least recently touched first. */
  readonly #chats = new Map<string, Chat>();
  /** Chats in which somebody spoke to a bot. */
  readonly #known = new Set<string>();
  #youngest: Chat | undefined;
  #forgot = false;
  #characters = 0;
  #seq = 0;

  /** The chat, made if need be. */
  at(bot: string, chattype: "single" | "group", id: string): Chat {
    const chat = this.#chats.get(keyOf(bot, chattype, id)) ?? new Chat(bot, chattype, id);
    this.#touch(chat);
    return chat;
  }

  /** A chat that exists, a group before a user. */
  find(bot: string, id: string): Chat | undefined {
    return this.#chats.get(keyOf(bot, "group", id)) ?? this.#chats.get(keyOf(bot, "single", id));
  }

  of(bot: string): Chat[] {
    return [...this.#chats.values()].filter((chat) => chat.bot === bot);
  }

  get size(): number {
    return this.#chats.size;
  }

  /** Somebody spoke to the bot in this chat. */
  spoke(chat: Chat, userid: string): void {
    if (chat.users.size < maxUsers) chat.users.add(userid);
    this.#known.add(chat.key);
    if (chat.chattype === "group") this.#known.add(groupKey(chat.id));
    bound(this.#known, maxKnown, () => {
      this.#forgot = true;
    });
  }

  /** Whether somebody spoke to the bot in this chat; true for all once the memory of it overflowed. */
  known(bot: string, chattype: "single" | "group", id: string): boolean {
    return this.#forgot || this.#known.has(keyOf(bot, chattype, id));
  }

  /** Whether any bot was spoken to in this group. */
  groupExists(id: string): boolean {
    return this.#known.has(groupKey(id));
  }

  nextSeq(): number {
    return ++this.#seq;
  }

  /** Shows an item, and forgets what is over the bounds. */
  add(chat: Chat, item: ChatItem): void {
    this.#touch(chat);
    chat.items.push(item);
    chat.lastAt = item.at;
    this.grew(chat, item.content?.length ?? 0);
    if (chat.items.length > maxItems) this.grew(chat, -(chat.items.shift()!.content?.length ?? 0));
    bound(this.#chats, maxChats, (oldest) => {
      this.#characters -= oldest.characters;
    });
    if (this.#characters <= maxCharacters) return;
    for (const [key, oldest] of this.#chats) {
      if (oldest === chat || this.#characters <= (maxCharacters / 8) * 7) break;
      this.#chats.delete(key);
      this.#characters -= oldest.characters;
    }
  }

  /** An item's content changed its length by so much. */
  grew(chat: Chat, characters: number): void {
    chat.characters += characters;
    if (this.#chats.get(chat.key) === chat) this.#characters += characters;
  }

  /** Makes the chat the youngest; one that was forgotten in the meantime comes back with what it showed. */
  #touch(chat: Chat): void {
    // The oldest are forgotten first, and never all: the youngest is there.
    if (chat === this.#youngest) return;
    const { key } = chat;
    const kept = this.#chats.get(key);
    if (kept) this.#chats.delete(key);
    this.#chats.set(key, chat);
    this.#youngest = chat;
    if (kept !== chat) this.#characters += chat.characters - (kept?.characters ?? 0);
  }

  clear(): void {
    this.#chats.clear();
    this.#youngest = undefined;
    this.#known.clear();
    this.#forgot = false;
    this.#characters = 0;
  }
}

const keyOf = (bot: string, chattype: "single" | "group", id: string): string => `${bot}\n${chattype}\n${id}`;
const groupKey = (id: string): string => `\n${id}`;
