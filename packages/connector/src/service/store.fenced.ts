/**
 * A store as the holder of a lease has it: read from the beginning, written from `claim` on, each commit under the lease's
 * number, so that none lands after a successor's first.
 *
 * Decides how who comes next knows that it need not outrun who was before: the store says itself who claimed it last, and
 * whether that one has closed it. It is told for politeness alone: whoever cannot say it any more is outrun.
 *
 * Invariant: before `claim` nothing is written, after a later holder's nothing any more.
 */
import { type Change, type Store, StoreError } from "./store.ts";

/** A store under the number of a lease. */
export interface FencedStore extends Store {
  /** Whether the holder of `fence` has claimed this store and not closed it: it may have something to write still. */
  isWrittenBy(fence: number): Promise<boolean>;
  /** From now on whoever held it before is refused. Rejects with `fenced` where that is a later one. */
  claim(): Promise<void>;
}

/** Who claimed it last. */
interface Writer {
  readonly fence: number;
  readonly through: boolean;
}

const writerKey = "writer";

/** Puts a store under the number `fence`. What is committed before `claim` waits for it. */
export function fencedStore(store: Store, fence: number): FencedStore {
  const claimed = Promise.withResolvers<undefined>();
  // Nobody may be waiting.
  claimed.promise.catch(() => undefined);
  let isOurs = false;
  const told = (through: boolean): Change => {
    const value: Writer = { fence, through };
    return { put: "document", collection: "meta", document: { key: writerKey, value } };
  };
  return {
    async isWrittenBy(holder) {
      const writer = (await store.document("meta", writerKey))?.value as Writer | undefined;
      return writer?.fence === holder && !writer.through;
    },
    async claim() {
      await store.commit([told(false)], fence);
      isOurs = true;
      claimed.resolve(undefined);
    },
    // Called at once where it can be: what came is not on the disk before.
    commit: (changes) =>
      isOurs ? store.commit(changes, fence) : claimed.promise.then(() => store.commit(changes, fence)),
    nextSeq: () => store.nextSeq(),
    entry: (seq) => store.entry(seq),
    recentMsgids: (bot, limit) => store.recentMsgids(bot, limit),
    entries: (filter) => store.entries(filter),
    delivery: (id) => store.delivery(id),
    deliveries: (filter) => store.deliveries(filter),
    backlogs: () => store.backlogs(),
    chats: (filter) => store.chats(filter),
    document: (collection, key) => store.document(collection, key),
    documents: (collection, page) => store.documents(collection, page),
    purge: (retention, limit) => store.purge(retention, limit),
    stats: () => store.stats(),
    backup: (path) => store.backup(path),
    async close() {
      claimed.reject(new StoreError("closed", "the store was closed before it was claimed"));
      if (isOurs) await store.commit([told(true)], fence).catch(() => undefined);
      await store.close();
    },
  };
}
