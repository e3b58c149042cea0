/**
 * What the service remembers, and the one door to it: a port shaped for batches, so that the same code runs on SQLite,
 * PostgreSQL, a Durable Object or memory.
 *
 * Decides the records, what may be asked of them, and what a commit promises. Does not decide when something is written
 * (inbox.ts, outbox.ts, delivery.ts) nor how (store.sqlite.ts, store.memory.ts).
 *
 * Invariants: a commit is whole or not at all, durable when its promise resolves, and takes effect in the order in which
 * commits were called; a commit that is refused takes with it those that were called before its refusal was known, so that
 * whoever tries again can keep the order; there is one writer, so the numbers of entries are given by it (`nextSeq`) and
 * never come twice; nothing secret is in a record save for `sealed`, which vault.ts has encrypted.
 */
import { OpenwsError } from "@openws/protocol";
import type { Sentence } from "../causes.ts";

/** The number of a ledger entry: 1, 2, 3 … over all bots; also the cursor of the feed. */
export type Seq = number;

/** An instant as milliseconds since 1970, which unlike a runtime's clock means the same after a restart. */
export type EpochMs = number;

/** Where a message came from or goes to. */
export interface EntryChat {
  readonly id: string;
  readonly type: "single" | "group";
}

/**
 * What has become of an entry. In: `received` (stored), `delivered` (whoever wanted it has it), `dead` (somebody who
 * wanted it never took it), `unrouted` (nobody asked for it; it can be pulled). Out: `accepted` (stored), `sent`,
 * `acked`, `refused` (an errcode), `unknown` (may have arrived, the gateway never said), `failed` (never left), `expired`
 * (its time was over before it could be sent), `fallback` (refused as a reply, went as a push: see `reason`).
 * Operational entries are `noted`.
 */
export type EntryState =
  | "received"
  | "delivered"
  | "dead"
  | "unrouted"
  | "accepted"
  | "sent"
  | "acked"
  | "refused"
  | "unknown"
  | "failed"
  | "expired"
  | "fallback"
  | "noted";

/** One line of the ledger: a message or event that came in, a message that goes out, or something that happened to a bot. */
export interface Entry {
  readonly seq: Seq;
  readonly bot: string;
  readonly direction: "in" | "out" | "bot";
  /** In: msgtype, or eventtype. Out: `markdown`, `stream`, `template_card`, `image` … . Bot: `bot.kicked` … . */
  readonly kind: string;
  /** Whether an `in` entry is an event rather than a message. */
  readonly event?: boolean | undefined;
  readonly chat?: EntryChat | undefined;
  /** The userid of who spoke, for `in`. */
  readonly user?: string | undefined;
  readonly msgid?: string | undefined;
  /** The callback's, under which answers go. */
  readonly reqId?: string | undefined;
  /** The `in` entry that an `out` entry answers. */
  readonly replyTo?: Seq | undefined;
  readonly state: EntryState;
  readonly errcode?: number | undefined;
  /** One sentence: why it is in this state. */
  readonly reason?: string | undefined;
  /** It was sent again after a restart, or its ack was lost: users may read it twice. */
  readonly maybeDuplicate?: boolean | undefined;
  readonly at: EpochMs;
  readonly changedAt: EpochMs;
  /** As on the wire, without what must not be read from the disk. */
  readonly body: unknown;
  /** The encrypted rest of the body: aeskeys, signed URLs, `response_url`. */
  readonly sealed?: Uint8Array | undefined;
  /** W3C trace context of who sent it, or of the trace begun for it. */
  readonly traceparent?: string | undefined;
  /** Given by triggers. */
  readonly tags?: readonly string[] | undefined;
}

/** One try to deliver. */
export interface Attempt {
  readonly at: EpochMs;
  readonly ms: number;
  /** The HTTP status, when there was one. */
  readonly status?: number | undefined;
  /** One sentence, when it failed. */
  readonly error?: string | undefined;
}

/** What has become of a delivery: it waits for its turn or its next try, was taken, was given up, or was called off. */
export type DeliveryState = "pending" | "delivered" | "dead" | "cancelled";

/** One entry on its way to one webhook (or sink). */
export interface Delivery {
  /** As {@link deliveryIdOf} makes it. */
  readonly id: string;
  readonly webhook: string;
  readonly seq: Seq;
  readonly bot: string;
  /** Deliveries of one lane go one after the other, in the order of `seq`: bot and chat. */
  readonly lane: string;
  readonly state: DeliveryState;
  /** How often it was tried. */
  readonly tries: number;
  /** The last tries, oldest first; at most 20. */
  readonly attempts: readonly Attempt[];
  /** Not before; epoch milliseconds. */
  readonly nextAt: EpochMs;
  readonly createdAt: EpochMs;
  readonly changedAt: EpochMs;
}

/** The id of the delivery of an entry to a webhook: nothing else can have it, so it is not stored. */
export function deliveryIdOf(webhook: string, seq: Seq): string {
  return `dlv_${webhook}_${seq}`;
}

/** The webhook and the entry of a delivery's id; undefined for what is none. */
export function deliveryOf(id: string): { readonly webhook: string; readonly seq: Seq } | undefined {
  const [, webhook, seq] = /^dlv_(.+)_(\d{1,15})$/.exec(id) ?? [];
  return webhook === undefined ? undefined : { webhook, seq: Number(seq) };
}

/**
 * Small things with a name: webhooks, bots added at run time, open streams, idempotency keys, media, counters. The value
 * is JSON; a document with `expiresAt` may be forgotten from then on.
 */
export type Collection = "webhook" | "bot" | "stream" | "idempotency" | "media" | "counter" | "meta";

/** A document. */
export interface StoredDocument {
  readonly key: string;
  readonly value: unknown;
  readonly expiresAt?: EpochMs | undefined;
}

/** One change of a commit. `put` inserts or replaces; `update` replaces, and does nothing where it was deleted meanwhile. */
export type Change =
  | { readonly update: "entry"; readonly entry: Entry }
  | { readonly update: "delivery"; readonly delivery: Delivery }
  /** Of an entry only where it is by now: what it says need not be written again. */
  | ({ readonly update: "state" } & Pick<Entry, "seq" | "state" | "reason" | "changedAt">)
  | { readonly put: "entry"; readonly entry: Entry }
  | { readonly put: "delivery"; readonly delivery: Delivery }
  | { readonly put: "document"; readonly collection: Collection; readonly document: StoredDocument }
  | { readonly delete: "document"; readonly collection: Collection; readonly key: string }
  /** Everything about a person, or a chat with them: `DELETE /v1/messages?userid=`. */
  | { readonly delete: "entries"; readonly userid: string; readonly bot?: string | undefined };

/** Which entries; all that is given must fit. */
export interface EntryFilter {
  readonly bot?: string | undefined;
  readonly directions?: readonly Entry["direction"][] | undefined;
  readonly states?: readonly EntryState[] | undefined;
  readonly kinds?: readonly string[] | undefined;
  readonly chat?: string | undefined;
  readonly user?: string | undefined;
  readonly replyTo?: Seq | undefined;
  /** Only those with a greater, or a smaller, number. */
  readonly after?: Seq | undefined;
  readonly before?: Seq | undefined;
  /** `ascending`, by default. */
  readonly order?: "ascending" | "descending" | undefined;
  /** At most 1,000. */
  readonly limit: number;
}

/** Which deliveries, in the order of `seq`. */
export interface DeliveryFilter {
  readonly webhook?: string | undefined;
  readonly seq?: Seq | undefined;
  readonly states?: readonly DeliveryState[] | undefined;
  readonly after?: Seq | undefined;
  readonly before?: Seq | undefined;
  readonly order?: "ascending" | "descending" | undefined;
  readonly limit: number;
}

/** What retention takes away: settled entries (and their deliveries) that are older, or the oldest beyond a size. */
export interface Retention {
  /** Documents whose `expiresAt` is not later go as well. */
  readonly now: EpochMs;
  readonly before: EpochMs;
  /** Beyond this many bytes the oldest settled entries go, whatever their age. */
  readonly maxBytes?: number | undefined;
}

/** A chat in which something was said, by either side. */
export interface KnownChat {
  readonly bot: string;
  readonly chat: EntryChat;
  readonly lastSeq: Seq;
  readonly lastAt: EpochMs;
}

/** What waits for one webhook or sink. */
export interface Backlog {
  readonly webhook: string;
  readonly pending: number;
  /** Since when the first of them waits. */
  readonly since: EpochMs;
}

/** How much there is. */
export interface StoreStats {
  readonly entries: number;
  readonly pendingDeliveries: number;
  readonly deadDeliveries: number;
  readonly unsentEntries: number;
  readonly bytes: number;
}

/** A store. Every method rejects with `StoreError` only. */
export interface Store {
  /** The number that the next entry gets, after a look at what is stored. */
  nextSeq(): Promise<Seq>;
  /** `fence`: the number of the lease under which this is written; a smaller one than was seen rejects with `fenced`. */
  commit(changes: readonly Change[], fence?: number): Promise<void>;
  entry(seq: Seq): Promise<Entry | undefined>;
  /** The msgids of a bot's last `in` entries, newest first: what a restarted bot must not take for new. */
  recentMsgids(bot: string, limit: number): Promise<string[]>;
  entries(filter: EntryFilter): Promise<Entry[]>;
  delivery(id: string): Promise<Delivery | undefined>;
  deliveries(filter: DeliveryFilter): Promise<Delivery[]>;
  /** What waits, by webhook or sink, also for those that nobody knows any more; in the order of their ids. */
  backlogs(): Promise<Backlog[]>;
  /** The chats in which something was said last, that first; `before`: only those whose last entry has a smaller number. */
  chats(filter: {
    readonly bot?: string | undefined;
    readonly before?: Seq | undefined;
    readonly limit: number;
  }): Promise<KnownChat[]>;
  document(collection: Collection, key: string): Promise<StoredDocument | undefined>;
  documents(collection: Collection, page: { after?: string | undefined; limit: number }): Promise<StoredDocument[]>;
  /**
   * Removes at most `limit` entries with their deliveries, oldest first, and all documents that are over; returns how many
   * entries. What is `accepted`, `sent` or has a pending delivery stays, whatever its age. Call it until it returns 0.
   */
  purge(retention: Retention, limit: number): Promise<number>;
  stats(): Promise<StoreStats>;
  /** Writes a copy to a new file, which can be opened as a store. This one is in use meanwhile; its commits wait. */
  backup(path: string): Promise<void>;
  close(): Promise<void>;
}

/** All that can be the matter with a store. */
export const storeTroubles = [
  "full",
  "locked",
  "corrupt",
  "newer",
  "unwritable",
  "fenced",
  "closed",
  "failed",
] as const;

/** Why a store cannot do what it is asked; `code` says what an operator has to see to. */
export type StoreTrouble = (typeof storeTroubles)[number];

/** The store refused. Nothing of the commit it refused is stored. `message` is English; what operators read has both languages. */
export class StoreError extends OpenwsError {
  readonly trouble: StoreTrouble;
  readonly sentence: Sentence | undefined;

  constructor(trouble: StoreTrouble, said: string | Sentence, options?: ErrorOptions) {
    super(`store-${trouble}`, typeof said === "string" ? said : said.en, options);
    this.name = "StoreError";
    this.trouble = trouble;
    this.sentence = typeof said === "string" ? undefined : said;
  }
}
