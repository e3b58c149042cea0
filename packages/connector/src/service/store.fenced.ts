/** A store as the holder of a lease writes it: each commit under its number, so that none lands after a successor's first. */
import type { Store } from "./store.ts";

/** Claims the store for the holder of `fence`: from then on whoever held it before is refused. Rejects with `fenced` where that is a later one. */
export async function claim(store: Store, fence: number): Promise<Store> {
  await store.commit([], fence);
  return {
    commit: (changes) => store.commit(changes, fence),
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
    close: () => store.close(),
  };
}
