import { describe, expect, it } from "vitest";
import { Feed, FeedBusyError } from "../../src/service/feed.ts";
import { MemoryStore } from "../../src/service/store.memory.ts";
import type { Entry } from "../../src/service/store.ts";
import { manualClock } from "./clock.ts";

function world(options = {}) {
  const clock = manualClock();
  const store = new MemoryStore();
  const feed = new Feed(store, clock, options);
  let seq = 0;
  const add = async (about: Partial<Entry> = {}): Promise<void> => {
    const entry: Entry = {
      seq: ++seq,
      bot: "bot",
      direction: "in",
      kind: "text",
      state: "received",
      at: clock.now(),
      changedAt: clock.now(),
      body: {},
      ...about,
    };
    await store.commit([{ put: "entry", entry }]);
    feed.stored([entry]);
  };
  return { clock, feed, add };
}

const now = { limit: 100, waitMs: 0 };
const seqs = ({ entries }: { entries: readonly Entry[] }): number[] => entries.map(({ seq }) => seq);

describe("the feed", () => {
  it("gives what came after the cursor, page by page, each once", async () => {
    const { feed, add } = world();
    for (let nth = 0; nth < 5; nth++) await add();
    const first = await feed.page(0, {}, { limit: 2, waitMs: 0 });
    const second = await feed.page(first.cursor, {}, { limit: 2, waitMs: 0 });
    const third = await feed.page(second.cursor, {}, { limit: 2, waitMs: 0 });
    expect([first, second, third].map(seqs)).toEqual([[1, 2], [3, 4], [5]]);
    expect(third.cursor).toBe(5);
  });

  it("leaves out what the bot says, unless it is asked for, and its cursor moves on over that", async () => {
    const { feed, add } = world();
    await add();
    await add({ direction: "out" });
    await add({ direction: "bot", kind: "bot.kicked" });
    await add({ direction: "out" });
    expect(seqs(await feed.page(0, {}, now))).toEqual([1, 3]);
    expect((await feed.page(0, {}, now)).cursor).toBe(4);
    expect(seqs(await feed.page(0, { directions: ["in", "out", "bot"] }, now))).toEqual([1, 2, 3, 4]);
    expect(seqs(await feed.page(0, { kinds: ["bot.kicked"] }, now))).toEqual([3]);
  });

  it("keeps a reader waiting until something comes that it wants", async () => {
    const { feed, add, clock } = world();
    const waiting = feed.page(0, { bot: "other" }, { limit: 10, waitMs: 20_000 });
    await clock.advance(5_000);
    await add();
    await clock.advance(5_000);
    await add({ bot: "other" });
    expect(seqs(await waiting)).toEqual([2]);
    expect(clock.alarms).toBe(0);
  });

  it("sends a reader home with nothing when its time is over, or when it goes", async () => {
    const { feed, clock } = world();
    const late = feed.page(0, {}, { limit: 10, waitMs: 20_000 });
    await clock.advance(20_000);
    expect(await late).toEqual({ entries: [], cursor: 0 });
    const gone = new AbortController();
    const leaving = feed.page(0, {}, { limit: 10, waitMs: 20_000, signal: gone.signal });
    await clock.settle();
    gone.abort();
    expect(await leaving).toEqual({ entries: [], cursor: 0 });
    expect(clock.alarms).toBe(0);
  });

  it("follows for as long as it is listened to, and shows a sign of life meanwhile", async () => {
    const { feed, add, clock } = world();
    const seen: number[][] = [];
    const ending = new AbortController();
    const reading = (async () => {
      for await (const page of feed.follow(0, {}, ending.signal)) seen.push(seqs(page));
    })();
    await add();
    await clock.advance(15_000);
    await add();
    await add();
    await clock.settle();
    ending.abort();
    await reading;
    expect(seen.flat()).toEqual([1, 2, 3]);
    expect(seen).toContainEqual([]);
    expect(clock.alarms).toBe(0);
  });

  it("lets a bounded number of readers wait", async () => {
    const { feed, add, clock } = world({ maxReaders: 2 });
    const waiting = [1, 2].map(() => feed.page(0, {}, { limit: 10, waitMs: 20_000 }));
    await clock.settle();
    await expect(feed.page(0, {}, { limit: 10, waitMs: 20_000 })).rejects.toThrow(FeedBusyError);
    await add();
    expect((await Promise.all(waiting)).map(seqs)).toEqual([[1], [1]]);
  });
});
