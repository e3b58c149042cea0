/**
 * The store on SQLite, which is one file and needs no server. Decides the tables, what is a column (what somebody looks
 * for) and what is JSON (the rest), and which calls go to the disk together. The disk itself is waited for by another
 * thread (store.sqlite.worker.ts), so a slow sync never holds up a heartbeat.
 *
 * Invariants: one batch is at the other thread at a time, and what is called meanwhile makes up the next one: so all
 * commits that wait share one transaction and one sync; batches are in the order of calls; when a commit is refused, so
 * are those that wait behind it.
 */
import { closeSync, openSync } from "node:fs";
import { dirname, extname } from "node:path";
import { Worker } from "node:worker_threads";
import { makeFolder } from "./store.files.ts";
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
  deliveryIdOf,
  deliveryOf,
} from "./store.ts";
import { type Refusal, unopened } from "./store.sqlite.troubles.ts";
import type { Batch, Outcome, Question, Row, SqliteSetup, Step, Value } from "./store.sqlite.worker.ts";

/** How a database is opened. */
export interface SqliteOptions {
  /** How long to wait for another process to let go of it, as at a rolling restart; 5,000. */
  readonly busyMs?: number | undefined;
  /**
   * Others may have it open that say so too, as replicas under a lease do. Whoever writes must then give a fence with each
   * commit: it is all that keeps them apart.
   */
  readonly shared?: boolean | undefined;
  /** Bytes beyond which the file does not grow: what comes then is refused as `full`. No limit but the disk's. */
  readonly maxFileBytes?: number | undefined;
}

/**
 * Opens the database at `path`, which is made when there is none, with its folder. No other process can open it until
 * `close`, or this one's end, save for those that share it. Rejects with `StoreError`: `locked`, `newer`, `corrupt`, `full` or
 * `unwritable`.
 */
export async function openSqlite(path: string, options: SqliteOptions = {}): Promise<Store> {
  try {
    makeFolder(dirname(path));
    // It holds what people said: its owner's alone. SQLite gives its other files the same mode.
    closeSync(openSync(path, "a", 0o600));
  } catch (cause) {
    throw errorOf(unopened(cause, path, dirname(path)), { cause });
  }
  const store = new SqliteStore(path, options);
  await store.opened;
  return store;
}

/** Each step from one version of the tables to the next; what was released is never changed. */
const migrations = [
  // AUTOINCREMENT remembers the highest number, though its entry is deleted: readers' cursors stand behind it.
  `CREATE TABLE entry (
     seq INTEGER PRIMARY KEY AUTOINCREMENT,
     bot TEXT NOT NULL,
     direction TEXT NOT NULL,
     kind TEXT NOT NULL,
     chat TEXT,
     user TEXT,
     msgid TEXT,
     reply_to INTEGER,
     state TEXT NOT NULL,
     at INTEGER NOT NULL,
     data TEXT NOT NULL,
     sealed BLOB
   ) STRICT;
   CREATE INDEX entry_bot ON entry (bot);
   CREATE INDEX entry_chat ON entry (chat) WHERE chat IS NOT NULL;
   CREATE INDEX entry_user ON entry (user) WHERE user IS NOT NULL;
   CREATE INDEX entry_msgid ON entry (msgid) WHERE msgid IS NOT NULL;
   CREATE INDEX entry_reply_to ON entry (reply_to) WHERE reply_to IS NOT NULL;
   CREATE INDEX entry_unsent ON entry (seq) WHERE state IN ('accepted', 'sent');
   CREATE TABLE delivery (
     seq INTEGER NOT NULL,
     webhook TEXT NOT NULL,
     bot TEXT NOT NULL,
     lane TEXT NOT NULL,
     state TEXT NOT NULL,
     tries INTEGER NOT NULL,
     attempts TEXT NOT NULL,
     next_at INTEGER NOT NULL,
     created_at INTEGER NOT NULL,
     changed_at INTEGER NOT NULL,
     PRIMARY KEY (seq, webhook)
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX delivery_webhook ON delivery (webhook, seq);
   CREATE INDEX delivery_pending ON delivery (seq, webhook) WHERE state = 'pending';
   CREATE INDEX delivery_dead ON delivery (seq, webhook) WHERE state = 'dead';
   CREATE TABLE chat (
     bot TEXT NOT NULL,
     id TEXT NOT NULL,
     type TEXT NOT NULL,
     last_seq INTEGER NOT NULL,
     last_at INTEGER NOT NULL,
     PRIMARY KEY (bot, type, id)
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX chat_last_seq ON chat (last_seq);
   CREATE TABLE document (
     collection TEXT NOT NULL,
     key TEXT NOT NULL,
     value TEXT NOT NULL,
     expires_at INTEGER,
     PRIMARY KEY (collection, key)
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX document_expires_at ON document (expires_at) WHERE expires_at IS NOT NULL;
   CREATE TABLE fence (id INTEGER PRIMARY KEY CHECK (id = 1), value INTEGER NOT NULL) STRICT;`,
  // What becomes of an entry changes without the rest of it. Null in `changed_at`: both still stand in `data`.
  `ALTER TABLE entry ADD COLUMN changed_at INTEGER;
   ALTER TABLE entry ADD COLUMN reason TEXT;`,
  // Nobody looks for one msgid, and an index without order is the dearest of all to keep.
  `DROP INDEX IF EXISTS entry_msgid;`,
  // What waits is asked for by webhook; led by \`seq\` the index lost to that of all the deliveries a webhook ever had.
  `DROP INDEX delivery_pending;
   CREATE INDEX delivery_pending ON delivery (webhook, seq) WHERE state = 'pending';`,
];

/** The writes of a commit, by name; the thread has them prepared and is told their places. */
const writes = {
  entry: `INSERT INTO entry (seq, bot, direction, kind, chat, user, msgid, reply_to, state, at, reason, changed_at, data, sealed)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (seq) DO UPDATE SET state = excluded.state, reason = excluded.reason, changed_at = excluded.changed_at,
      data = excluded.data, sealed = excluded.sealed`,
  updateEntry: "UPDATE entry SET state = ?2, reason = ?3, changed_at = ?4, data = ?5, sealed = ?6 WHERE seq = ?1",
  updateState: "UPDATE entry SET state = ?2, reason = ?3, changed_at = ?4 WHERE seq = ?1",
  // Looking for them among a million entries would take the thread a second.
  chat: `INSERT INTO chat (bot, id, type, last_seq, last_at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (bot, type, id) DO UPDATE SET last_seq = excluded.last_seq, last_at = excluded.last_at
      WHERE excluded.last_seq > last_seq`,
  delivery: `INSERT INTO delivery (seq, webhook, bot, lane, state, tries, attempts, next_at, created_at, changed_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (seq, webhook) DO UPDATE SET state = excluded.state, tries = excluded.tries,
      attempts = excluded.attempts, next_at = excluded.next_at, changed_at = excluded.changed_at`,
  updateDelivery: `UPDATE delivery SET state = ?3, tries = ?4, attempts = ?5, next_at = ?6, changed_at = ?7
    WHERE seq = ?1 AND webhook = ?2`,
  document: "INSERT OR REPLACE INTO document (collection, key, value, expires_at) VALUES (?, ?, ?, ?)",
  deleteDocument: "DELETE FROM document WHERE collection = ? AND key = ?",
  deleteDeliveriesOf: `DELETE FROM delivery WHERE seq IN (SELECT seq FROM entry
    WHERE (user = ?1 OR (chat = ?1 AND data ->> 'chattype' = 'single')) AND (?2 IS NULL OR bot = ?2))`,
  deleteEntriesOf: `DELETE FROM entry
    WHERE (user = ?1 OR (chat = ?1 AND data ->> 'chattype' = 'single')) AND (?2 IS NULL OR bot = ?2)`,
  deleteChat: "DELETE FROM chat WHERE id = ?1 AND type = 'single' AND (?2 IS NULL OR bot = ?2)",
} as const;

type WriteName = keyof typeof writes;

const places = Object.fromEntries(Object.keys(writes).map((name, at) => [name, at])) as Record<WriteName, number>;

/** An entry that still has to go somewhere, or whose delivery has to. */
const openEntry = `(state IN ('accepted', 'sent')
  OR EXISTS (SELECT 1 FROM delivery WHERE delivery.seq = entry.seq AND delivery.state = 'pending'))`;

/** Bytes in use: pages that were given back are not. */
const usedBytes =
  "SELECT (page_count - freelist_count) * page_size AS bytes FROM pragma_page_count, pragma_freelist_count, pragma_page_size";

/** What goes to the other thread at once, while it is gathered and until it is answered. */
interface Gathered {
  readonly steps: Step[];
  readonly fences: number[];
  /** Of all its commits, which are stored together or not at all; undefined while there is none. */
  committed: PromiseWithResolvers<void> | undefined;
  readonly asked: {
    readonly question: Question;
    readonly resolve: (value: unknown) => void;
    readonly reject: (error: StoreError) => void;
  }[];
}

function nothingYet(): Gathered {
  return { steps: [], fences: [], committed: undefined, asked: [] };
}

class SqliteStore implements Store {
  readonly opened: Promise<void>;
  readonly #path: string;
  readonly #worker: Worker;
  /** What is at the other thread; undefined while nothing is. The first is the opening. */
  #away: Gathered | undefined = { ...nothingYet(), committed: Promise.withResolvers() };
  #next = nothingYet();
  #sending = false;
  /** Why nothing can be asked any more. */
  #over: StoreError | undefined;

  constructor(path: string, { busyMs = 5_000, shared = false, maxFileBytes }: SqliteOptions) {
    this.#path = path;
    const setup: SqliteSetup = {
      path,
      migrations,
      writes: Object.values(writes),
      readFence: "SELECT value FROM fence",
      writeFence: "INSERT OR REPLACE INTO fence (id, value) VALUES (1, ?)",
      busyMs,
      shared,
      maxFileBytes,
    };
    // The sources are .ts, the built package is .js: the other thread's file is called as this one is. Flags that name
    // the process's own source, such as --input-type, are not for it.
    const file = new URL(`./store.sqlite.worker${extname(import.meta.url)}`, import.meta.url);
    this.#worker = new Worker(file, { workerData: setup, execArgv: [] });
    this.opened = this.#away!.committed!.promise.catch(async (error: unknown) => {
      await this.#worker.terminate();
      throw error;
    });
    this.#worker.on("message", (outcome: Outcome) => this.#answered(outcome));
    this.#worker.on("error", (error: Error) =>
      this.#end(
        new StoreError("failed", `the thread of the database ${path} ended: ${error.message}`, { cause: error }),
      ),
    );
    this.#worker.on("exit", () => this.#end(new StoreError("closed", `the database ${path} is closed`)));
  }

  async nextSeq(): Promise<Seq> {
    const [row] = await this.#read("SELECT seq FROM sqlite_sequence WHERE name = 'entry'", []);
    return Number(row?.["seq"] ?? 0) + 1;
  }

  commit(changes: readonly Change[], fence?: number): Promise<void> {
    if (this.#over !== undefined) return Promise.reject(this.#over);
    const steps: Step[] = [];
    for (const change of changes) addSteps(steps, change);
    const batch = this.#next;
    batch.steps.push(...steps);
    if (fence !== undefined) batch.fences.push(fence);
    batch.committed ??= Promise.withResolvers();
    this.#sendSoon();
    return batch.committed.promise;
  }

  async entry(seq: Seq): Promise<Entry | undefined> {
    const [row] = await this.#read("SELECT * FROM entry WHERE seq = ?", [seq]);
    return row && entryOf(row);
  }

  async recentMsgids(bot: string, limit: number): Promise<string[]> {
    const sql =
      "SELECT msgid FROM entry WHERE bot = ? AND direction = 'in' AND msgid IS NOT NULL ORDER BY seq DESC LIMIT ?";
    return (await this.#read(sql, [bot, limit])).map((row) => String(row["msgid"]));
  }

  async entries(filter: EntryFilter): Promise<Entry[]> {
    const { sql, values } = entryQuery(filter);
    return (await this.#read(sql, values)).map(entryOf);
  }

  async delivery(id: string): Promise<Delivery | undefined> {
    const of = deliveryOf(id);
    if (of === undefined) return undefined;
    const [row] = await this.#read("SELECT * FROM delivery WHERE seq = ? AND webhook = ?", [of.seq, of.webhook]);
    return row && deliveryOfRow(row);
  }

  async deliveries(filter: DeliveryFilter): Promise<Delivery[]> {
    const { sql, values } = deliveryQuery(filter);
    return (await this.#read(sql, values)).map(deliveryOfRow);
  }

  async backlogs(): Promise<Backlog[]> {
    // The index of what is pending holds all of this but the instant, which is looked up once for each webhook.
    const sql = `SELECT waiting.webhook, waiting.pending, delivery.created_at
      FROM (SELECT webhook, count(*) AS pending, min(seq) AS first FROM delivery WHERE state = 'pending' GROUP BY webhook)
        AS waiting
      JOIN delivery ON delivery.seq = waiting.first AND delivery.webhook = waiting.webhook
      ORDER BY waiting.webhook`;
    return (await this.#read(sql, [])).map((row) => ({
      webhook: String(row["webhook"]),
      pending: Number(row["pending"]),
      since: Number(row["created_at"]),
    }));
  }

  async chats({
    bot,
    before,
    limit,
  }: {
    bot?: string | undefined;
    before?: Seq | undefined;
    limit: number;
  }): Promise<KnownChat[]> {
    const sql = `SELECT * FROM chat WHERE (?1 IS NULL OR bot = ?1) AND last_seq < ?2 ORDER BY last_seq DESC LIMIT ?3`;
    return (await this.#read(sql, [bot ?? null, before ?? Number.MAX_SAFE_INTEGER, limit])).map((row) => ({
      bot: String(row["bot"]),
      chat: { id: String(row["id"]), type: row["type"] as "single" | "group" },
      lastSeq: Number(row["last_seq"]),
      lastAt: Number(row["last_at"]),
    }));
  }

  async document(collection: Collection, key: string): Promise<StoredDocument | undefined> {
    const sql = "SELECT key, value, expires_at FROM document WHERE collection = ? AND key = ?";
    const [row] = await this.#read(sql, [collection, key]);
    return row && documentOf(row);
  }

  async documents(
    collection: Collection,
    { after = "", limit }: { after?: string | undefined; limit: number },
  ): Promise<StoredDocument[]> {
    const sql = "SELECT key, value, expires_at FROM document WHERE collection = ? AND key > ? ORDER BY key LIMIT ?";
    return (await this.#read(sql, [collection, after, limit])).map(documentOf);
  }

  async purge({ now, before, maxBytes }: Retention, limit: number): Promise<number> {
    const surplus = maxBytes === undefined ? 0 : await this.#surplus(maxBytes);
    // Numbers rise with time, so what is old comes first; without a surplus nothing behind it is looked at.
    const doomed = await this.#read(
      `SELECT seq FROM entry WHERE NOT ${openEntry}
         AND seq < coalesce(?, (SELECT seq FROM entry WHERE at >= ? ORDER BY seq LIMIT 1), 9e15)
       ORDER BY seq LIMIT ?`,
      [surplus > 0 ? 9e15 : null, before, surplus > 0 ? Math.min(limit, surplus) : limit],
    );
    const seqs = JSON.stringify(doomed.map((row) => row["seq"]));
    const removed = await this.#ask({
      type: "change",
      statements: [
        [`DELETE FROM entry WHERE seq IN (SELECT value FROM json_each(?)) AND NOT ${openEntry}`, seqs],
        [
          `DELETE FROM delivery WHERE seq IN (SELECT value FROM json_each(?))
             AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.seq = delivery.seq)`,
          seqs,
        ],
        ["DELETE FROM chat WHERE last_at < ?", before],
        ["DELETE FROM document WHERE expires_at <= ?", now],
      ],
    });
    return Number(removed);
  }

  async stats(): Promise<StoreStats> {
    const [row] = await this.#read(
      `SELECT (SELECT count(*) FROM entry) AS entries,
         (SELECT count(*) FROM delivery WHERE state = 'pending') AS pending,
         (SELECT count(*) FROM delivery WHERE state = 'dead') AS dead,
         (SELECT count(*) FROM entry WHERE state IN ('accepted', 'sent')) AS unsent, (${usedBytes}) AS bytes`,
      [],
    );
    return {
      entries: Number(row?.["entries"]),
      pendingDeliveries: Number(row?.["pending"]),
      deadDeliveries: Number(row?.["dead"]),
      unsentEntries: Number(row?.["unsent"]),
      bytes: Number(row?.["bytes"]),
    };
  }

  async backup(path: string): Promise<void> {
    await this.#ask({ type: "backup", path });
  }

  async close(): Promise<void> {
    if (this.#over !== undefined) return;
    const closed = this.#ask({ type: "close" });
    this.#over = new StoreError("closed", `the database ${this.#path} is closed`);
    await closed;
    await this.#worker.terminate();
  }

  /** How many entries are too many, as far as their average size tells. */
  async #surplus(maxBytes: number): Promise<number> {
    const [row] = await this.#read(`SELECT count(*) AS entries, (${usedBytes}) AS bytes FROM entry`, []);
    const bytes = Number(row?.["bytes"]);
    return bytes <= maxBytes ? 0 : Math.ceil((1 - maxBytes / bytes) * Number(row?.["entries"]));
  }

  async #read(sql: string, values: readonly Value[]): Promise<readonly Row[]> {
    return (await this.#ask({ type: "read", sql, values })) as readonly Row[];
  }

  #ask(question: Question): Promise<unknown> {
    if (this.#over !== undefined) return Promise.reject(this.#over);
    return new Promise((resolve, reject) => {
      this.#next.asked.push({ question, resolve, reject });
      this.#sendSoon();
    });
  }

  /** All that is called in one turn goes together. */
  #sendSoon(): void {
    if (this.#sending || this.#away !== undefined) return;
    this.#sending = true;
    queueMicrotask(() => {
      this.#sending = false;
      this.#send();
    });
  }

  #send(): void {
    const batch = this.#next;
    if (this.#away !== undefined || (batch.committed === undefined && batch.asked.length === 0)) return;
    this.#next = nothingYet();
    this.#away = batch;
    const { steps, fences, asked } = batch;
    this.#worker.postMessage({ steps, fences, questions: asked.map(({ question }) => question) } satisfies Batch);
  }

  #answered({ refused, answers }: Outcome): void {
    const { committed, asked } = this.#away ?? nothingYet();
    this.#away = undefined;
    if (refused === undefined) committed?.resolve();
    else {
      committed?.reject(errorOf(refused));
      // Whoever waits behind a commit that was refused does not know it yet: going on would change their order.
      this.#next.committed?.reject(errorOf(refused));
      this.#next = { ...nothingYet(), asked: this.#next.asked };
    }
    for (const [at, answer] of answers.entries())
      if ("refused" in answer) asked[at]?.reject(errorOf(answer.refused));
      else asked[at]?.resolve(answer.value);
    this.#send();
  }

  #end(why: StoreError): void {
    this.#over ??= why;
    for (const batch of [this.#away, this.#next]) {
      batch?.committed?.reject(why);
      for (const { reject } of batch?.asked ?? []) reject(why);
    }
    this.#away = undefined;
    this.#next = nothingYet();
  }
}

function errorOf({ trouble, sentence }: Refusal, options?: ErrorOptions): StoreError {
  return new StoreError(trouble, sentence, options);
}

// ---------------------------------------------------------------------------------------------------------------------
// Records and rows

function addSteps(steps: Step[], change: Change): void {
  if ("delete" in change) {
    if (change.delete === "document") {
      steps.push([places.deleteDocument, change.collection, change.key]);
      return;
    }
    const whose = [change.userid, change.bot ?? null] as const;
    steps.push(
      [places.deleteDeliveriesOf, ...whose],
      [places.deleteEntriesOf, ...whose],
      [places.deleteChat, ...whose],
    );
    return;
  }
  if ("update" in change) {
    if (change.update === "state") {
      steps.push([places.updateState, change.seq, change.state, change.reason ?? null, change.changedAt]);
    } else if (change.update === "entry") {
      const { seq, state, reason, changedAt, sealed } = change.entry;
      const said = [reason ?? null, changedAt, dataOf(change.entry), sealed ?? null] as const;
      steps.push([places.updateEntry, seq, state, ...said]);
    } else {
      const { seq, webhook, state, tries, attempts, nextAt, changedAt } = change.delivery;
      steps.push([places.updateDelivery, seq, webhook, state, tries, JSON.stringify(attempts), nextAt, changedAt]);
    }
    return;
  }
  switch (change.put) {
    case "entry": {
      const { entry } = change;
      const { seq, bot, direction, kind, chat, user, msgid, replyTo, state, at, reason, changedAt } = entry;
      const looked = [chat?.id ?? null, user ?? null, msgid ?? null, replyTo ?? null] as const;
      const said = [reason ?? null, changedAt, dataOf(entry), entry.sealed ?? null] as const;
      steps.push([places.entry, seq, bot, direction, kind, ...looked, state, at, ...said]);
      // One that was changed is not new in its chat.
      if (chat !== undefined && changedAt === at) steps.push([places.chat, bot, chat.id, chat.type, seq, at]);
      return;
    }
    case "delivery": {
      const { seq, webhook, bot, lane, state, tries, attempts, nextAt, createdAt, changedAt } = change.delivery;
      const said = attempts.length === 0 ? "[]" : JSON.stringify(attempts);
      steps.push([places.delivery, seq, webhook, bot, lane, state, tries, said, nextAt, createdAt, changedAt]);
      return;
    }
    case "document": {
      const { key, value, expiresAt } = change.document;
      steps.push([places.document, change.collection, key, JSON.stringify(value), expiresAt ?? null]);
    }
  }
}

/** What is no column of its own. */
function dataOf({ chat, event, reqId, errcode, maybeDuplicate, body, traceparent, tags }: Entry): string {
  const data: EntryData = { chattype: chat?.type, event, reqId, errcode, maybeDuplicate, body, traceparent, tags };
  return JSON.stringify(data);
}

type EntryData = Pick<Entry, "event" | "reqId" | "errcode" | "maybeDuplicate" | "body" | "traceparent" | "tags"> & {
  readonly chattype?: "single" | "group" | undefined;
};

function entryOf(row: Row): Entry {
  // Of the first format, `data` holds the reason and the instant too.
  const { chattype, ...data } = JSON.parse(String(row["data"])) as EntryData & Pick<Entry, "changedAt">;
  const { chat, user, msgid, reply_to, sealed, reason, changed_at } = row;
  return {
    seq: Number(row["seq"]),
    bot: String(row["bot"]),
    direction: row["direction"] as Entry["direction"],
    kind: String(row["kind"]),
    state: row["state"] as Entry["state"],
    at: Number(row["at"]),
    ...(typeof chat === "string" && chattype !== undefined && { chat: { id: chat, type: chattype } }),
    ...(typeof user === "string" && { user }),
    ...(typeof msgid === "string" && { msgid }),
    ...(typeof reply_to === "number" && { replyTo: reply_to }),
    ...(sealed instanceof Uint8Array && { sealed }),
    ...data,
    ...(typeof changed_at === "number" && {
      changedAt: changed_at,
      reason: typeof reason === "string" ? reason : undefined,
    }),
  };
}

function deliveryOfRow(row: Row): Delivery {
  const [webhook, seq] = [String(row["webhook"]), Number(row["seq"])];
  return {
    id: deliveryIdOf(webhook, seq),
    webhook,
    seq,
    bot: String(row["bot"]),
    lane: String(row["lane"]),
    state: row["state"] as Delivery["state"],
    tries: Number(row["tries"]),
    attempts: JSON.parse(String(row["attempts"])) as Delivery["attempts"],
    nextAt: Number(row["next_at"]),
    createdAt: Number(row["created_at"]),
    changedAt: Number(row["changed_at"]),
  };
}

function documentOf(row: Row): StoredDocument {
  const { expires_at } = row;
  const document = { key: String(row["key"]), value: JSON.parse(String(row["value"])) as unknown };
  return typeof expires_at === "number" ? { ...document, expiresAt: expires_at } : document;
}

// ---------------------------------------------------------------------------------------------------------------------
// Questions

interface Query {
  readonly sql: string;
  readonly values: Value[];
}

function entryQuery({ bot, directions, states, kinds, chat, user, replyTo, ...page }: EntryFilter): Query {
  return query("entry", page, [
    is("bot", bot),
    is("chat", chat),
    is("user", user),
    is("reply_to", replyTo),
    oneOf("direction", directions),
    oneOf("kind", kinds),
    // The index of what was not sent serves only who asks in its very words.
    states?.every((state) => state === "accepted" || state === "sent") === true
      ? { sql: "state IN ('accepted', 'sent')", values: [] }
      : undefined,
    oneOf("state", states),
  ]);
}

function deliveryQuery({ webhook, seq, states, ...page }: DeliveryFilter): Query {
  const only = states?.length === 1 ? states[0] : undefined;
  return query("delivery", page, [
    // Few are dead, and they are in order whosever they are; a plus keeps the index of all of a webhook's out of it.
    is(only === "dead" ? "+webhook" : "webhook", webhook),
    is("seq", seq),
    // As above.
    only === "pending" || only === "dead" ? { sql: `state = '${only}'`, values: [] } : oneOf("state", states),
  ]);
}

function query(
  table: "entry" | "delivery",
  { after, before, order, limit }: Pick<EntryFilter, "after" | "before" | "order" | "limit">,
  conditions: readonly (Query | undefined)[],
): Query {
  const all = [
    ...conditions,
    after === undefined ? undefined : { sql: "seq > ?", values: [after] },
    before === undefined ? undefined : { sql: "seq < ?", values: [before] },
  ].filter((condition) => condition !== undefined);
  const where = all.length === 0 ? "" : `WHERE ${all.map(({ sql }) => sql).join(" AND ")}`;
  const way = order === "descending" ? "DESC" : "ASC";
  const by = table === "entry" ? `seq ${way}` : `seq ${way}, webhook ${way}`;
  return {
    sql: `SELECT * FROM ${table} ${where} ORDER BY ${by} LIMIT ?`,
    values: [...all.flatMap(({ values }) => values), limit],
  };
}

function is(column: string, value: Value | undefined): Query | undefined {
  return value === undefined ? undefined : { sql: `${column} = ?`, values: [value] };
}

function oneOf(column: string, values: readonly string[] | undefined): Query | undefined {
  if (values === undefined) return undefined;
  return { sql: `${column} IN (SELECT value FROM json_each(?))`, values: [JSON.stringify(values)] };
}
