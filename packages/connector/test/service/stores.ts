/** Stores for tests: one in memory that can be made to refuse or to wait, and that writes down what it was asked. */
import { MemoryStore } from "../../src/service/store.memory.ts";
import { type Change, type Entry, type Store, StoreError, type StoreTrouble } from "../../src/service/store.ts";

/** A store in memory whose commits a test holds in its hand. */
export class TestStore extends MemoryStore {
  /** Commits are refused with this, while it is set. */
  trouble: StoreTrouble | undefined;
  /** All commits that were called, in order. */
  readonly commits: (readonly Change[])[] = [];
  #gate: Promise<undefined> | undefined;

  /** Commits wait until what is returned is called. */
  pause(): () => void {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#gate = promise;
    return () => {
      this.#gate = undefined;
      resolve(undefined);
    };
  }

  override async commit(changes: readonly Change[], fence?: number): Promise<void> {
    this.commits.push(changes);
    if (this.#gate !== undefined) await this.#gate;
    if (this.trouble !== undefined) throw new StoreError(this.trouble, "the test refuses");
    await super.commit(changes, fence);
  }
}

/** The message that came under a msgid. */
export async function messageOf(store: Store, msgid: string): Promise<Entry | undefined> {
  const came = await store.entries({ bot: "bot", directions: ["in"], limit: 1_000 });
  return came.find((entry) => entry.msgid === msgid);
}
