/**
 * A store in memory, for tests and for `:memory:`: all of the port, nothing of it durable. It keeps the objects that it is
 * given, so nobody may change them afterwards.
 *
 * Invariant: it answers as store.sqlite.ts does; one contract test runs on both.
 */
import {
  type Backlog,
  type Change,
  type Collection,
  type Delivery,
  type DeliveryFilter,
  type Entry,
  type EntryFilter,
  type KnownChat,
  type Retention,
  type Seq,
  type Store,
  type StoreStats,
  type StoredDocument,
  StoreError,
  deliveryOf,
} from "./store.ts";

/** A store that is gone with the process. */
export class MemoryStore implements Store {
  readonly #entries = new Map<Seq, Entry>();
  /** The numbers in `#entries`, ascending. */
  #seqs: Seq[] = [];
  #lastSeq = 0;
  /** By entry, then by webhook. */
  readonly #deliveries = new Map<Seq, Map<string, Delivery>>();
  readonly #documents = new Map<Collection, Map<string, StoredDocument>>();
  #bytes = 0;
  #fence = 0;
  #closed = false;

  nextSeq(): Promise<Seq> {
    return this.#answer(() => this.#lastSeq + 1);
  }

  commit(changes: readonly Change[], fence?: number): Promise<void> {
    return this.#answer(() => {
      if (fence !== undefined) {
        if (fence < this.#fence)
          throw new StoreError("fenced", `another process holds the lease: ${fence} was outrun by ${this.#fence}`);
        this.#fence = fence;
      }
      for (const change of changes) this.#apply(change);
    });
  }

  entry(seq: Seq): Promise<Entry | undefined> {
    return this.#answer(() => this.#entries.get(seq));
  }

  recentMsgids(bot: string, limit: number): Promise<string[]> {
    return this.#answer(() => {
      const found: string[] = [];
      for (let at = this.#seqs.length - 1; at >= 0 && found.length < limit; at--) {
        const entry = this.#entries.get(this.#seqs[at]!)!;
        if (entry.bot === bot && entry.direction === "in" && entry.msgid !== undefined) found.push(entry.msgid);
      }
      return found;
    });
  }

  entries(filter: EntryFilter): Promise<Entry[]> {
    return this.#answer(() => {
      const found: Entry[] = [];
      for (const seq of page(this.#seqs, filter)) {
        const entry = this.#entries.get(seq)!;
        if (!fits(entry, filter)) continue;
        found.push(entry);
        if (found.length >= filter.limit) break;
      }
      return found;
    });
  }

  delivery(id: string): Promise<Delivery | undefined> {
    return this.#answer(() => {
      const of = deliveryOf(id);
      return of === undefined ? undefined : this.#deliveries.get(of.seq)?.get(of.webhook);
    });
  }

  deliveries(filter: DeliveryFilter): Promise<Delivery[]> {
    return this.#answer(() => {
      const found: Delivery[] = [];
      const seqs = filter.seq === undefined ? [...this.#deliveries.keys()].sort((a, b) => a - b) : [filter.seq];
      for (const seq of page(seqs, filter)) {
        const ofEntry = [...(this.#deliveries.get(seq)?.values() ?? [])];
        ofEntry.sort((a, b) => (a.webhook < b.webhook ? -1 : 1));
        if (filter.order === "descending") ofEntry.reverse();
        for (const delivery of ofEntry) {
          if (filter.webhook !== undefined && delivery.webhook !== filter.webhook) continue;
          if (filter.states !== undefined && !filter.states.includes(delivery.state)) continue;
          if (found.length >= filter.limit) return found;
          found.push(delivery);
        }
      }
      return found;
    });
  }

  backlogs(): Promise<Backlog[]> {
    return this.#answer(() => {
      const found = new Map<string, Backlog>();
      for (const ofEntry of this.#deliveries.values())
        for (const { webhook, state, createdAt } of ofEntry.values()) {
          if (state !== "pending") continue;
          const { pending, since } = found.get(webhook) ?? { pending: 0, since: createdAt };
          found.set(webhook, { webhook, pending: pending + 1, since: Math.min(since, createdAt) });
        }
      return [...found.values()].sort((a, b) => (a.webhook < b.webhook ? -1 : 1));
    });
  }

  chats({
    bot,
    before,
    limit,
  }: {
    bot?: string | undefined;
    before?: Seq | undefined;
    limit: number;
  }): Promise<KnownChat[]> {
    return this.#answer(() => {
      const found = new Map<string, KnownChat>();
      for (const seq of page(this.#seqs, { order: "descending" })) {
        const entry = this.#entries.get(seq)!;
        if (entry.chat === undefined || (bot !== undefined && entry.bot !== bot)) continue;
        const key = `${entry.bot}\n${entry.chat.type}\n${entry.chat.id}`;
        if (!found.has(key)) found.set(key, { bot: entry.bot, chat: entry.chat, lastSeq: seq, lastAt: entry.at });
      }
      return [...found.values()].filter(({ lastSeq }) => before === undefined || lastSeq < before).slice(0, limit);
    });
  }

  document(collection: Collection, key: string): Promise<StoredDocument | undefined> {
    return this.#answer(() => this.#documents.get(collection)?.get(key));
  }

  documents(collection: Collection, page: { after?: string | undefined; limit: number }): Promise<StoredDocument[]> {
    return this.#answer(() =>
      [...(this.#documents.get(collection)?.values() ?? [])]
        .filter(({ key }) => page.after === undefined || key > page.after)
        .sort((a, b) => (a.key < b.key ? -1 : 1))
        .slice(0, page.limit),
    );
  }

  purge({ now, before, maxBytes }: Retention, limit: number): Promise<number> {
    return this.#answer(() => {
      for (const documents of this.#documents.values())
        for (const { key, expiresAt } of documents.values())
          if (expiresAt !== undefined && expiresAt <= now) documents.delete(key);
      let removed = 0;
      for (const seq of this.#seqs.slice()) {
        const entry = this.#entries.get(seq)!;
        if (removed >= limit) break;
        if (entry.at >= before && (maxBytes === undefined || this.#bytes <= maxBytes)) break;
        if (this.#isOpen(entry)) continue;
        this.#remove(seq);
        removed++;
      }
      return removed;
    });
  }

  stats(): Promise<StoreStats> {
    return this.#answer(() => {
      const states = [...this.#deliveries.values()].flatMap((each) => [...each.values()].map(({ state }) => state));
      return {
        entries: this.#entries.size,
        pendingDeliveries: states.filter((state) => state === "pending").length,
        deadDeliveries: states.filter((state) => state === "dead").length,
        unsentEntries: [...this.#entries.values()].filter(({ state }) => state === "accepted" || state === "sent")
          .length,
        bytes: this.#bytes,
      };
    });
  }

  backup(): Promise<void> {
    return this.#answer(() => {
      throw new StoreError("failed", "a store in memory cannot be backed up; give OPENWS_DATABASE a file");
    });
  }

  close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }

  /** Does it now, as others do it in the order of calls, and lets nobody notice before the next turn. */
  async #answer<Value>(work: () => Value): Promise<Value> {
    if (this.#closed) throw new StoreError("closed", "the store is closed");
    return work();
  }

  #apply(change: Change): void {
    if ("delete" in change) {
      if (change.delete === "document") this.#documents.get(change.collection)?.delete(change.key);
      else
        for (const { seq, bot, user, chat } of this.#entries.values())
          if (
            (user === change.userid || (chat?.type === "single" && chat.id === change.userid)) &&
            (change.bot === undefined || change.bot === bot)
          )
            this.#remove(seq);
      return;
    }
    if ("update" in change) {
      if (change.update === "state") {
        const { seq, state, reason, changedAt } = change;
        const entry = this.#entries.get(seq);
        if (entry !== undefined) this.#apply({ update: "entry", entry: { ...entry, state, reason, changedAt } });
        return;
      }
      const there =
        change.update === "entry"
          ? this.#entries.has(change.entry.seq)
          : this.#deliveries.get(change.delivery.seq)?.has(change.delivery.webhook) === true;
      if (!there) return;
    }
    switch ("put" in change ? change.put : change.update) {
      case "entry": {
        const { entry } = change as Extract<Change, { entry: Entry }>;
        const old = this.#entries.get(entry.seq);
        if (old === undefined) this.#number(entry.seq);
        else this.#bytes -= sizeOf(old);
        this.#bytes += sizeOf(entry);
        this.#entries.set(entry.seq, entry);
        return;
      }
      case "delivery": {
        const { delivery } = change as Extract<Change, { delivery: Delivery }>;
        const ofEntry = this.#deliveries.get(delivery.seq) ?? new Map<string, Delivery>();
        this.#deliveries.set(delivery.seq, ofEntry.set(delivery.webhook, delivery));
        return;
      }
      case "document": {
        const { collection, document } = change as Extract<Change, { document: StoredDocument }>;
        const documents = this.#documents.get(collection) ?? new Map<string, StoredDocument>();
        this.#documents.set(collection, documents.set(document.key, document));
      }
    }
  }

  #number(seq: Seq): void {
    this.#lastSeq = Math.max(this.#lastSeq, seq);
    if (seq > (this.#seqs.at(-1) ?? 0)) this.#seqs.push(seq);
    else this.#seqs.splice(lowerBound(this.#seqs, seq), 0, seq);
  }

  #isOpen({ seq, state }: Entry): boolean {
    if (state === "accepted" || state === "sent") return true;
    return [...(this.#deliveries.get(seq)?.values() ?? [])].some((delivery) => delivery.state === "pending");
  }

  #remove(seq: Seq): void {
    const entry = this.#entries.get(seq);
    if (entry === undefined) return;
    this.#bytes -= sizeOf(entry);
    this.#entries.delete(seq);
    this.#deliveries.delete(seq);
    this.#seqs.splice(lowerBound(this.#seqs, seq), 1);
  }
}

/** The numbers between `after` and `before`, in the order that is asked for. */
function* page(
  seqs: readonly Seq[],
  { after = -Infinity, before = Infinity, order }: Pick<EntryFilter, "after" | "before" | "order">,
): Generator<Seq> {
  const from = lowerBound(seqs, after + 1);
  const to = lowerBound(seqs, before);
  if (order === "descending") for (let at = to - 1; at >= from; at--) yield seqs[at]!;
  else for (let at = from; at < to; at++) yield seqs[at]!;
}

/** The first place whose number is not smaller. */
function lowerBound(seqs: readonly Seq[], seq: Seq): number {
  let low = 0;
  let high = seqs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (seqs[middle]! < seq) low = middle + 1;
    else high = middle;
  }
  return low;
}

function fits(entry: Entry, { bot, directions, states, kinds, chat, user, replyTo }: EntryFilter): boolean {
  return (
    (bot === undefined || entry.bot === bot) &&
    (directions === undefined || directions.includes(entry.direction)) &&
    (states === undefined || states.includes(entry.state)) &&
    (kinds === undefined || kinds.includes(entry.kind)) &&
    (chat === undefined || entry.chat?.id === chat) &&
    (user === undefined || entry.user === user) &&
    (replyTo === undefined || entry.replyTo === replyTo)
  );
}

/** About what an entry takes. */
function sizeOf(entry: Entry): number {
  return 200 + JSON.stringify(entry.body ?? null).length;
}
