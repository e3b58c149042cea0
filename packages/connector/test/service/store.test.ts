/**
 * The contract of the store, held by every adapter; and what SQLite's owes beyond it: durability, one writer, refusals
 * with a reason, backup and restore.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Worker } from "node:worker_threads";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { fencedStore } from "../../src/service/store.fenced.ts";
import { MemoryStore } from "../../src/service/store.memory.ts";
import type { Batch } from "../../src/service/store.sqlite.worker.ts";
import { unopened } from "../../src/service/store.sqlite.troubles.ts";
import { openSqlite } from "../../src/service/store.sqlite.ts";
import {
  type Change,
  type Delivery,
  type Entry,
  type Store,
  StoreError,
  deliveryIdOf,
  deliveryOf,
} from "../../src/service/store.ts";

let folder: string;
const open: Store[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "openws-store-"));
});

afterEach(async () => {
  for (const store of open.splice(0)) await store.close();
  rmSync(folder, { recursive: true });
});

async function sqlite(name = "a.db", options: Parameters<typeof openSqlite>[1] = {}): Promise<Store> {
  const store = await openSqlite(join(folder, name), { busyMs: 50, ...options });
  open.push(store);
  return store;
}

function entry(seq: number, more: Partial<Entry> = {}): Entry {
  return {
    seq,
    bot: "bot",
    direction: "in",
    kind: "text",
    chat: { id: "lily", type: "single" },
    user: "lily",
    msgid: `m${seq}`,
    reqId: `r${seq}`,
    state: "received",
    at: 1_000 + seq,
    changedAt: 1_000 + seq,
    body: { msgtype: "text", text: { content: `hello ${seq}` } },
    ...more,
  };
}

function delivery(seq: number, more: Partial<Delivery> = {}): Delivery {
  const webhook = more.webhook ?? "wh_1";
  return {
    id: deliveryIdOf(webhook, seq),
    webhook,
    seq,
    bot: "bot",
    lane: "bot single:lily",
    state: "pending",
    tries: 0,
    attempts: [],
    nextAt: 0,
    createdAt: 1_000,
    changedAt: 1_000,
    ...more,
  };
}

const put = (...records: (Entry | Delivery)[]): Change[] =>
  records.map((record) =>
    "webhook" in record ? { put: "delivery", delivery: record } : { put: "entry", entry: record },
  );

const troubleOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => "none",
    (error: unknown) => (error instanceof StoreError ? error.trouble : error),
  );

describe.each([
  { name: "memory", make: () => Promise.resolve<Store>(new MemoryStore()) },
  { name: "SQLite", make: () => sqlite() },
])("a store in $name", ({ make }) => {
  let store: Store;
  beforeEach(async () => {
    store = await make();
  });

  it("numbers entries from 1, and goes on behind the highest one, though it is deleted", async () => {
    expect(await store.nextSeq()).toBe(1);
    await store.commit(put(entry(1), entry(2)));
    expect(await store.nextSeq()).toBe(3);
    await store.commit([{ delete: "entries", userid: "lily" }]);
    expect(await store.nextSeq()).toBe(3);
    await store.commit(put(entry(9)));
    await store.purge({ now: 0, before: 1e12 }, 10);
    expect(await store.nextSeq()).toBe(10);
  });

  it("gives an entry back as it was put, with all that it can have", async () => {
    const full = entry(1, {
      event: true,
      replyTo: 7,
      errcode: 846_607,
      reason: "why not",
      maybeDuplicate: true,
      sealed: new Uint8Array([1, 2, 3]),
      traceparent: "00-a-b-01",
      tags: ["urgent"],
      chat: { id: "group", type: "group" },
    });
    const bare: Entry = {
      seq: 2,
      bot: "bot",
      direction: "bot",
      kind: "bot.ready",
      state: "noted",
      at: 5,
      changedAt: 6,
      body: null,
    };
    await store.commit(put(full, bare));
    expect(await store.entry(1)).toEqual(full);
    expect(await store.entry(2)).toEqual(bare);
    expect(await store.entry(3)).toBeUndefined();
  });

  it("replaces what changes of an entry and of a delivery", async () => {
    await store.commit(put(entry(1), delivery(1)));
    const changed = entry(1, { state: "dead", reason: "gone", changedAt: 9_000, body: { msgtype: "text" } });
    const tried = delivery(1, {
      state: "dead",
      tries: 2,
      attempts: [{ at: 1, ms: 2, status: 500, error: "no" }],
      nextAt: 7,
    });
    await store.commit(put(changed, tried));
    expect(await store.entry(1)).toEqual(changed);
    expect(await store.delivery("dlv_wh_1_1")).toEqual(tried);
    expect(await store.delivery("dlv_wh_2_1")).toBeUndefined();
    expect(await store.delivery("nonsense")).toBeUndefined();
  });

  it("moves an entry without what it says, and none that was deleted", async () => {
    const before = entry(1, { sealed: new Uint8Array([1, 2, 3]) });
    await store.commit(put(before));
    const dead: Change = { update: "state", seq: 1, state: "dead", reason: "gone", changedAt: 9_000 };
    await store.commit([dead]);
    expect(await store.entry(1)).toEqual({ ...before, state: "dead", reason: "gone", changedAt: 9_000 });
    await store.commit([{ ...dead, state: "delivered", reason: undefined, changedAt: 9_001 }]);
    expect(await store.entry(1)).toEqual({ ...before, state: "delivered", changedAt: 9_001 });
    await store.commit([{ delete: "entries", userid: "lily" }, dead]);
    expect(await store.entry(1)).toBeUndefined();
  });

  it("updates what is there, and does not bring back what was deleted", async () => {
    await store.commit(put(entry(1), delivery(1)));
    const changed = entry(1, { state: "dead", reason: "gone", changedAt: 9_000 });
    const tried = delivery(1, { state: "dead", tries: 1, attempts: [{ at: 1, ms: 2 }], changedAt: 9_000 });
    const update: Change[] = [
      { update: "entry", entry: changed },
      { update: "delivery", delivery: tried },
    ];
    await store.commit(update);
    expect(await store.entry(1)).toEqual(changed);
    expect(await store.delivery(tried.id)).toEqual(tried);
    await store.commit([{ delete: "entries", userid: "lily" }]);
    await store.commit(update);
    expect(await store.entry(1)).toBeUndefined();
    expect(await store.delivery(tried.id)).toBeUndefined();
  });

  it("finds the msgids of one bot, newest first", async () => {
    await store.commit(
      put(entry(1), entry(2, { bot: "other", msgid: "m1" }), entry(3), entry(4, { msgid: undefined })),
    );
    expect(await store.recentMsgids("bot", 10)).toEqual(["m3", "m1"]);
    expect(await store.recentMsgids("bot", 1)).toEqual(["m3"]);
  });

  it("filters entries by all that is asked for, in either order, page by page", async () => {
    await store.commit(
      put(
        entry(1),
        entry(2, { bot: "other" }),
        entry(3, { chat: { id: "g", type: "group" }, user: "tom" }),
        entry(4, {
          direction: "out",
          kind: "markdown",
          state: "accepted",
          replyTo: 1,
          user: undefined,
          msgid: undefined,
        }),
        entry(5, { direction: "out", kind: "markdown", state: "sent", user: undefined, msgid: undefined }),
        entry(6, { kind: "image", state: "dead" }),
      ),
    );
    const seqs = async (filter: Omit<Parameters<Store["entries"]>[0], "limit">, limit = 100): Promise<number[]> =>
      (await store.entries({ ...filter, limit })).map(({ seq }) => seq);
    expect(await seqs({})).toEqual([1, 2, 3, 4, 5, 6]);
    expect(await seqs({ after: 2 }, 2)).toEqual([3, 4]);
    expect(await seqs({ before: 5, order: "descending" }, 2)).toEqual([4, 3]);
    expect(await seqs({ bot: "other" })).toEqual([2]);
    expect(await seqs({ chat: "g" })).toEqual([3]);
    expect(await seqs({ user: "lily", bot: "bot" })).toEqual([1, 6]);
    expect(await seqs({ directions: ["out"], states: ["accepted", "sent"] })).toEqual([4, 5]);
    expect(await seqs({ states: ["sent"] })).toEqual([5]);
    expect(await seqs({ states: ["dead", "sent"] })).toEqual([5, 6]);
    expect(await seqs({ kinds: ["image", "markdown"], after: 4 })).toEqual([5, 6]);
    expect(await seqs({ replyTo: 1 })).toEqual([4]);
    expect(await seqs({ states: [] })).toEqual([]);
  });

  it("filters deliveries by webhook, entry and state", async () => {
    await store.commit(
      put(
        delivery(2),
        delivery(1),
        delivery(1, { webhook: "wh_0" }),
        delivery(3, { state: "dead" }),
        delivery(4, { state: "delivered" }),
      ),
    );
    const ids = async (filter: Omit<Parameters<Store["deliveries"]>[0], "limit">, limit = 100): Promise<string[]> =>
      (await store.deliveries({ ...filter, limit })).map(({ id }) => id);
    expect(await ids({ states: ["pending"] })).toEqual(["dlv_wh_0_1", "dlv_wh_1_1", "dlv_wh_1_2"]);
    expect(await ids({ states: ["dead"] })).toEqual(["dlv_wh_1_3"]);
    expect(await ids({ states: ["dead", "delivered"], order: "descending" })).toEqual(["dlv_wh_1_4", "dlv_wh_1_3"]);
    expect(await ids({ webhook: "wh_1", after: 1 }, 2)).toEqual(["dlv_wh_1_2", "dlv_wh_1_3"]);
    expect(await ids({ seq: 1, order: "descending" })).toEqual(["dlv_wh_1_1", "dlv_wh_0_1"]);
  });

  it("keeps documents by collection and key", async () => {
    const set = (key: string, value: unknown, expiresAt?: number): Change => ({
      put: "document",
      collection: "stream",
      document: { key, value, ...(expiresAt !== undefined && { expiresAt }) },
    });
    await store.commit([set("b", 1), set("a", { x: [1, "é"] }, 50), set("c", null)]);
    expect(await store.document("stream", "a")).toEqual({ key: "a", value: { x: [1, "é"] }, expiresAt: 50 });
    expect(await store.document("webhook", "a")).toBeUndefined();
    expect((await store.documents("stream", { limit: 2 })).map(({ key }) => key)).toEqual(["a", "b"]);
    expect((await store.documents("stream", { after: "b", limit: 2 })).map(({ key }) => key)).toEqual(["c"]);
    await store.commit([set("b", 2), { delete: "document", collection: "stream", key: "c" }]);
    expect((await store.documents("stream", { limit: 9 })).map(({ value }) => value)).toEqual([{ x: [1, "é"] }, 2]);
    await store.purge({ now: 50, before: 0 }, 1);
    expect((await store.documents("stream", { limit: 9 })).map(({ key }) => key)).toEqual(["b"]);
  });

  it("purges what is old and settled, never what is pending, accepted or sent", async () => {
    await store.commit(
      put(
        entry(1, { state: "delivered" }),
        delivery(1, { state: "delivered" }),
        entry(2),
        delivery(2),
        entry(3, { direction: "out", state: "accepted" }),
        entry(4, { direction: "out", state: "sent" }),
        entry(5, { state: "dead" }),
        delivery(5, { state: "dead" }),
        entry(6, { state: "unrouted" }),
        entry(7),
      ),
    );
    expect(await store.purge({ now: 0, before: 1_007 }, 2)).toBe(2);
    expect(await store.purge({ now: 0, before: 1_007 }, 2)).toBe(1);
    expect(await store.purge({ now: 0, before: 1_007 }, 2)).toBe(0);
    expect((await store.entries({ limit: 10 })).map(({ seq }) => seq)).toEqual([2, 3, 4, 7]);
    expect((await store.deliveries({ limit: 10 })).map(({ seq }) => seq)).toEqual([2]);
  });

  it("purges by size, oldest first, until it fits", async () => {
    const body = { text: "x".repeat(4_000) };
    await store.commit(put(...Array.from({ length: 200 }, (_, at) => entry(at + 1, { body }))));
    const { bytes } = await store.stats();
    expect(bytes).toBeGreaterThan(800_000);
    let removed = 0;
    for (;;) {
      const now = await store.purge({ now: 0, before: 0, maxBytes: bytes / 2 }, 30);
      expect(now).toBeLessThanOrEqual(30);
      if (now === 0) break;
      removed += now;
    }
    expect(removed).toBeGreaterThan(80);
    expect(removed).toBeLessThan(140);
    expect((await store.entries({ limit: 1 }))[0]?.seq).toBe(removed + 1);
  });

  it("forgets a person: what they said, and what was said to them alone", async () => {
    await store.commit(
      put(
        entry(1),
        delivery(1),
        entry(2, { chat: { id: "g", type: "group" } }),
        entry(3, { direction: "out", user: undefined }),
        entry(4, { chat: { id: "g", type: "group" }, user: "tom" }),
        entry(5, { bot: "other" }),
        entry(6, { chat: { id: "lily", type: "group" }, user: "tom" }),
      ),
    );
    await store.commit([{ delete: "entries", userid: "lily", bot: "bot" }]);
    expect((await store.entries({ limit: 10 })).map(({ seq }) => seq)).toEqual([4, 5, 6]);
    expect(await store.deliveries({ limit: 10 })).toEqual([]);
    await store.commit([{ delete: "entries", userid: "lily" }]);
    expect((await store.entries({ limit: 10 })).map(({ seq }) => seq)).toEqual([4, 6]);
  });

  it("knows the chats, the one that something was said in last first", async () => {
    const group = { id: "g", type: "group" } as const;
    await store.commit(
      put(
        entry(1),
        entry(2, { chat: group, user: "tom" }),
        entry(3, { bot: "other" }),
        entry(4, { chat: undefined }),
        entry(5, { at: 1_005 }),
      ),
    );
    await store.commit(put(entry(2, { chat: group, user: "tom", state: "delivered", changedAt: 9_999 })));
    const lily = { id: "lily", type: "single" };
    const all = [
      { bot: "bot", chat: lily, lastSeq: 5, lastAt: 1_005 },
      { bot: "other", chat: lily, lastSeq: 3, lastAt: 1_003 },
      { bot: "bot", chat: group, lastSeq: 2, lastAt: 1_002 },
    ];
    expect(await store.chats({ limit: 10 })).toEqual(all);
    expect(await store.chats({ limit: 1, before: 5 })).toEqual([all[1]]);
    expect(await store.chats({ bot: "bot", limit: 10 })).toEqual([all[0], all[2]]);
    await store.commit([{ delete: "entries", userid: "lily" }]);
    expect(await store.chats({ limit: 10 })).toEqual([all[2]]);
  });

  it("counts what there is", async () => {
    await store.commit(
      put(entry(1), delivery(1), entry(2, { state: "accepted" }), entry(3), delivery(3, { state: "dead" })),
    );
    expect(await store.stats()).toMatchObject({
      entries: 3,
      pendingDeliveries: 1,
      deadDeliveries: 1,
      unsentEntries: 1,
    });
  });

  it("says what waits for whom, and since when", async () => {
    await store.commit(
      put(
        entry(1),
        delivery(1, { webhook: "a", createdAt: 5 }),
        delivery(1, { webhook: "b", createdAt: 5 }),
        entry(2),
        delivery(2, { webhook: "a", createdAt: 7 }),
        delivery(2, { webhook: "c", state: "dead" }),
      ),
    );
    expect(await store.backlogs()).toEqual([
      { webhook: "a", pending: 2, since: 5 },
      { webhook: "b", pending: 1, since: 5 },
    ]);
    await store.commit([{ update: "delivery", delivery: delivery(1, { webhook: "a", state: "cancelled" }) }]);
    expect(await store.backlogs()).toMatchObject([{ webhook: "a", pending: 1, since: 7 }, { webhook: "b" }]);
  });

  it("refuses a commit under a lease that was outrun, whole", async () => {
    await store.commit(put(entry(1)), 2);
    expect(await troubleOf(store.commit(put(entry(2)), 1))).toBe("fenced");
    await store.commit(put(entry(3)), 2);
    await store.commit(put(entry(4)));
    expect((await store.entries({ limit: 10 })).map(({ seq }) => seq)).toEqual([1, 3, 4]);
  });

  it("sees in a read what was committed before it, without waiting", async () => {
    void store.commit(put(entry(1)));
    expect((await store.entry(1))?.seq).toBe(1);
  });

  it("refuses everything once it is closed", async () => {
    await store.close();
    expect(await troubleOf(store.commit(put(entry(1))))).toBe("closed");
    expect(await troubleOf(store.entry(1))).toBe("closed");
    await store.close();
  });
});

describe("the SQLite store", () => {
  it("has what it promised when it is opened again, and knows the fence", async () => {
    const first = await sqlite();
    await first.commit(put(entry(1), delivery(1)), 5);
    await first.close();
    const second = await sqlite();
    expect(await second.entry(1)).toEqual(entry(1));
    expect(await second.nextSeq()).toBe(2);
    expect(await troubleOf(second.commit(put(entry(2)), 4))).toBe("fenced");
  });

  it("loses nothing that it promised to a process that is killed", () => {
    const path = join(folder, "killed.db");
    const script = `
      import { openSqlite } from ${JSON.stringify(new URL("../../src/service/store.sqlite.ts", import.meta.url).href)};
      const store = await openSqlite(${JSON.stringify(path)});
      const at = Date.now();
      await Promise.all(Array.from({ length: 500 }, (_, n) => store.commit([{ put: "entry", entry:
        { seq: n + 1, bot: "b", direction: "in", kind: "text", state: "received", at, changedAt: at, body: { n } } }])));
      process.kill(process.pid, "SIGKILL");`;
    const command = process.versions["deno"] === undefined ? ["--input-type=module", "-e"] : ["eval"];
    const { signal, status } = spawnSync(process.execPath, [...command, script]);
    // Deno says it as shells do.
    expect(signal ?? status).toBeOneOf(["SIGKILL", 128 + 9]);
    const db = new DatabaseSync(path);
    expect(db.prepare("SELECT count(*) AS n FROM entry").get()).toEqual({ n: 500 });
    expect(db.prepare("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" });
    db.close();
  });

  it("writes the commits that wait as one transaction, with what durability needs", async () => {
    const store = await sqlite();
    const commits = Array.from({ length: 200 }, (_, at) => store.commit(put(entry(at + 1))));
    await Promise.all(commits);
    await store.close();
    // Of 200 transactions each would have written its pages again.
    const db = new DatabaseSync(join(folder, "a.db"));
    expect(db.prepare("PRAGMA journal_mode").get()).toEqual({ journal_mode: "wal" });
    db.close();
    expect(statSync(join(folder, "a.db")).size).toBeLessThan(400_000);
  });

  it("leaves the main thread free while it waits for the disk", async () => {
    const store = await sqlite();
    const body = { text: "x".repeat(20_000) };
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const backedUp = store
      .commit(put(...Array.from({ length: 1_000 }, (_, at) => entry(at + 1, { body }))))
      .then(() => store.backup(join(folder, "b.db")));
    await new Promise((resolve) => {
      setTimeout(resolve, 1);
    });
    turns = 0;
    await backedUp;
    clearInterval(timer);
    expect(turns).toBeGreaterThan(2);
  });

  it("refuses a database that another one has open, and takes it once it is free", async () => {
    const first = await sqlite();
    await expect(sqlite()).rejects.toThrow(/in use by another process/);
    expect(await troubleOf(sqlite())).toBe("locked");
    await first.close();
    await sqlite();
  });

  it("is shared by those alone who say so, and the later lease of two is the one that writes", async () => {
    const shared = { shared: true };
    const [first, second] = [await sqlite("a.db", shared), await sqlite("a.db", shared)];
    expect(await troubleOf(sqlite())).toBe("locked");
    const before = fencedStore(first, 7);
    await before.claim();
    await before.commit(put(entry(1)));
    const after = fencedStore(second, 8);
    const early = after.commit(put(entry(3, { msgid: "of the second" })));
    // Until it is claimed, the other writes.
    await before.commit(put(entry(2)));
    expect(await after.nextSeq()).toBe(3);
    await after.claim();
    await early;
    expect(await troubleOf(before.commit(put(entry(4))))).toBe("fenced");
    expect((await before.entry(3))?.msgid).toBe("of the second");
    expect(await troubleOf(fencedStore(first, 7).claim())).toBe("fenced");
    await first.close();
    await second.close();
    await sqlite();
    expect(await troubleOf(sqlite("a.db", shared))).toBe("locked");
  });

  it("says which lease wrote it last, and whether that one is through", async () => {
    const shared = { shared: true };
    const [first, second] = [await sqlite("a.db", shared), await sqlite("a.db", shared)];
    const [before, after] = [fencedStore(first, 7), fencedStore(second, 8)];
    expect(await after.isWrittenBy(7)).toBe(false);
    await before.claim();
    expect(await after.isWrittenBy(7)).toBe(true);
    expect(await after.isWrittenBy(6)).toBe(false);
    const last = before.commit(put(entry(1)));
    await before.close();
    await last;
    expect(await after.isWrittenBy(7)).toBe(false);
    expect(await after.nextSeq()).toBe(2);
    const never = troubleOf(after.commit(put(entry(2))));
    await after.close();
    expect(await never).toBe("closed");
  });

  it("is not said to be through by whoever was outrun", async () => {
    const shared = { shared: true };
    const [first, second] = [await sqlite("a.db", shared), await sqlite("a.db", shared)];
    const [before, after] = [fencedStore(first, 7), fencedStore(second, 8)];
    await before.claim();
    await after.claim();
    await before.close();
    expect(await after.isWrittenBy(8)).toBe(true);
    await after.close();
  });

  it("lets others read it meanwhile, and back it up as sqlite3 does", async () => {
    const store = await sqlite();
    await store.commit(put(entry(1)));
    const reader = new DatabaseSync(join(folder, "a.db"), { readOnly: true });
    expect(reader.prepare("SELECT count(*) AS n FROM entry").get()).toEqual({ n: 1 });
    reader.prepare("VACUUM INTO ?").run(join(folder, "outside.db"));
    await store.commit(put(entry(2)));
    reader.close();
    const restored = await sqlite("outside.db");
    expect((await restored.entries({ limit: 5 })).length).toBe(1);
  });

  it("reads what was written in the first format, and moves it on", async () => {
    const store = await sqlite();
    await store.commit(put(entry(1), entry(2)));
    await store.close();
    const old = new DatabaseSync(join(folder, "a.db"));
    const data = `json_set(data, '$.changedAt', changed_at, '$.reason', 'as it was')`;
    old.exec(`UPDATE entry SET data = ${data}; ALTER TABLE entry DROP COLUMN changed_at;
      ALTER TABLE entry DROP COLUMN reason; PRAGMA user_version = 1`);
    old.close();
    const again = await sqlite();
    expect(await again.entry(1)).toEqual({ ...entry(1), reason: "as it was" });
    await again.commit([{ update: "state", seq: 1, state: "delivered", reason: undefined, changedAt: 9_000 }]);
    expect(await again.entry(1)).toEqual({ ...entry(1), state: "delivered", changedAt: 9_000 });
    expect((await again.entry(2))?.reason).toBe("as it was");
  });

  it("refuses a database of a newer version, and leaves it as it is", async () => {
    const path = join(folder, "newer.db");
    const db = new DatabaseSync(path);
    db.exec("PRAGMA user_version = 99");
    db.close();
    await expect(sqlite("newer.db")).rejects.toThrow(/newer version \(its format is 99/);
    expect(await troubleOf(sqlite("newer.db"))).toBe("newer");
  });

  it("refuses what is no database, and one that is damaged", async () => {
    writeFileSync(join(folder, "text.db"), "this is no database\n".repeat(400));
    expect(await troubleOf(sqlite("text.db"))).toBe("corrupt");
    const store = await sqlite();
    await store.commit(put(...Array.from({ length: 500 }, (_, at) => entry(at + 1))));
    await store.close();
    const path = join(folder, "a.db");
    const damaged = new DatabaseSync(path);
    const root = Number(damaged.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'entry'").get()?.["rootpage"]);
    damaged.close();
    const { open: openFile } = await import("node:fs/promises");
    const file = await openFile(path, "r+");
    await file.write(new Uint8Array(4_096).fill(0xee), 0, 4_096, (root - 1) * 4_096);
    await file.close();
    const again = await sqlite();
    expect(await troubleOf(again.entries({ limit: 10 }))).toBe("corrupt");
  });

  it("is its owner's alone to read", async () => {
    const store = await sqlite();
    await store.commit(put(entry(1)));
    for (const name of ["a.db", "a.db-wal"]) expect(statSync(join(folder, name)).mode & 0o077).toBe(0);
  });

  it("refuses a folder that cannot be, and a folder for a file, at once and in two languages", async () => {
    writeFileSync(join(folder, "file"), "");
    const places = ["file/a.db", "file/b/a.db", ".", ...(process.platform === "linux" ? ["/proc/none/a.db"] : [])];
    const named = expect.stringContaining("OPENWS_DATABASE") as string;
    for (const place of places) {
      const error: unknown = await openSqlite(resolve(folder, place)).catch((refused: unknown) => refused);
      expect(error).toMatchObject({
        trouble: "unwritable",
        sentence: { en: named, zh: named },
      });
    }
  });

  it("makes the folders that are missing, also while another process makes them", async () => {
    await sqlite("one/two/a.db");
    await sqlite("one/two/b.db");
  });

  it.each([
    ["EACCES", "unwritable", /cannot be opened or made \(EACCES\); see to the folder \/data and the rights to it/],
    ["EPERM", "unwritable", /cannot be opened or made \(EPERM\)/],
    ["EROFS", "unwritable", /on a file system that is mounted read-only; mount it writable/],
    ["EISDIR", "unwritable", /is a folder; set OPENWS_DATABASE to a file in it, such as \/data\/a\.db\/openws\.db/],
    ["ENOENT", "unwritable", /the folder \/data for the database \/data\/a\.db cannot be made \(ENOENT\)/],
    ["ENOSPC", "full", /there is no room for the database/],
  ] as const)("says of %s what is wrong and what to do", (code, trouble, sentence) => {
    const refusal = unopened(Object.assign(new Error("no"), { code }), "/data/a.db", "/data");
    expect(refusal).toMatchObject({ trouble, sentence: { en: expect.stringMatching(sentence) as string } });
    expect(refusal.sentence.zh).toMatch(/\/data\/a\.db[^a-z]*[\u4e00-\u9fff]/);
  });

  it("says each of its refusals in both languages", async () => {
    const said = async (refused: Promise<unknown>) => (await refused.catch((error: unknown) => error)) as StoreError;
    const first = await sqlite();
    writeFileSync(join(folder, "text.db"), "this is no database\n".repeat(400));
    const newer = new DatabaseSync(join(folder, "newer.db"));
    newer.exec("PRAGMA user_version = 99");
    newer.close();
    await first.commit([], 5);
    const small = await sqlite("small.db", { maxFileBytes: 120_000 });
    const refusals = [
      [said(sqlite()), /正被另一进程使用/],
      [said(sqlite("text.db")), /不是数据库/],
      [said(sqlite("newer.db")), /更新的版本写入（其格式为 99/],
      [said(first.commit([], 4)), /租约已由另一进程持有/],
      [said(small.commit(put(entry(2, { body: { text: "x".repeat(200_000) } })))), /磁盘空间不足/],
    ] as const;
    for (const [refusal, chinese] of refusals) {
      const { message, sentence } = await refusal;
      expect(sentence).toEqual({ en: message, zh: expect.stringMatching(chinese) as string });
    }
  });

  it("refuses as full what does not fit, with all that was called behind it, and goes on when there is room", async () => {
    const store = await sqlite("small.db", { maxFileBytes: 120_000 });
    await store.commit(put(entry(1)));
    const large = store.commit(put(entry(2, { body: { text: "x".repeat(200_000) } })));
    const together = store.commit(put(entry(3)));
    const behind = Promise.resolve().then(() => store.commit(put(entry(4))));
    expect(await Promise.all([large, together, behind].map(troubleOf))).toEqual(["full", "full", "full"]);
    await store.commit(put(entry(5)));
    expect((await store.entries({ limit: 10 })).map(({ seq }) => seq)).toEqual([1, 5]);
  });

  it("is backed up while in use, and the copy is a store", async () => {
    const store = await sqlite();
    await store.commit(put(entry(1), delivery(1)));
    const copy = store.backup(join(folder, "copy.db"));
    await Promise.all([copy, store.commit(put(entry(2)))]);
    expect(await troubleOf(store.backup(join(folder, "copy.db")))).toBe("failed");
    // It holds what people said, as the database does.
    expect(statSync(join(folder, "copy.db")).mode & 0o077).toBe(0);
    copyFileSync(join(folder, "copy.db"), join(folder, "restored.db"));
    const restored = await sqlite("restored.db");
    expect(await restored.entry(1)).toEqual(entry(1));
    expect((await restored.deliveries({ limit: 5 })).length).toBe(1);
    expect(await restored.nextSeq()).toBeGreaterThanOrEqual(2);
    await restored.commit(put(entry(10)));
  });

  it("finds pending work, a chat, a bot and a page of the feed without a scan", async () => {
    const store = await sqlite();
    await store.commit(put(entry(1), delivery(1)));
    await store.close();
    const db = new DatabaseSync(join(folder, "a.db"));
    const plan = (sql: string): string =>
      db
        .prepare(`EXPLAIN QUERY PLAN ${sql}`)
        .all()
        .map((row) => String(row["detail"]))
        .join("; ");
    const rows = "SELECT * FROM entry WHERE";
    expect(
      plan(
        `${rows} state IN ('accepted', 'sent') AND direction IN (SELECT value FROM json_each('[]')) ORDER BY seq LIMIT 5`,
      ),
    ).toMatch(/entry_unsent/);
    expect(plan(`${rows} chat = 'a' ORDER BY seq DESC LIMIT 5`)).toMatch(/entry_chat/);
    expect(plan(`${rows} bot = 'b' AND msgid IS NOT NULL ORDER BY seq DESC LIMIT 5`)).toMatch(/entry_bot/);
    expect(plan(`${rows} seq > 5 ORDER BY seq LIMIT 5`)).toMatch(/PRIMARY KEY/);
    db.close();
  });

  it("finds what is pending, and what is dead, without a look at all that a webhook ever had", async () => {
    const store = await sqlite();
    await store.commit(put(entry(1), delivery(1)));
    const asked = vi.spyOn(Worker.prototype, "postMessage");
    onTestFinished(() => asked.mockRestore());
    const pages = [
      { webhook: "wh_1", states: ["pending"], limit: 5 },
      { webhook: "wh_1", states: ["pending"], after: 7, limit: 5 },
      { webhook: "wh_1", states: ["dead"], before: 7, order: "descending", limit: 5 },
      { states: ["dead"], before: 7, order: "descending", limit: 5 },
    ] as const;
    for (const page of pages) await store.deliveries(page);
    await store.backlogs();
    const questions = asked.mock.calls.flatMap(([batch]) => (batch as Batch).questions);
    await store.close();
    const db = new DatabaseSync(join(folder, "a.db"));
    const plans = questions.map((question) =>
      question.type === "read" ? db.prepare(`EXPLAIN QUERY PLAN ${question.sql}`).all(...question.values) : [],
    );
    db.close();
    expect(plans.map((steps) => steps.map(({ detail }) => detail))).toEqual([
      ["SEARCH delivery USING INDEX delivery_pending (webhook=?)"],
      ["SEARCH delivery USING INDEX delivery_pending (webhook=? AND seq>?)"],
      ["SEARCH delivery USING INDEX delivery_dead (seq<?)"],
      ["SEARCH delivery USING INDEX delivery_dead (seq<?)"],
      [
        "CO-ROUTINE waiting",
        "SCAN delivery USING COVERING INDEX delivery_pending",
        "SCAN waiting",
        "SEARCH delivery USING PRIMARY KEY (seq=? AND webhook=?)",
        "USE TEMP B-TREE FOR ORDER BY",
      ],
    ]);
  });
});

it("reads a delivery's id back", () => {
  expect(deliveryOf(deliveryIdOf("wh_a_7", 12))).toEqual({ webhook: "wh_a_7", seq: 12 });
  expect(deliveryOf("dlv_7")).toBeUndefined();
});
