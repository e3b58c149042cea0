/**
 * The thread in which SQLite is: it may wait for the disk as long as the disk likes. Decides what one transaction is. Knows
 * no record of ours: statements and their values come as they are to be run.
 *
 * Invariants: a batch of commits is one transaction, and with `synchronous=FULL` one sync; it is answered after that
 * sync; reads of a batch see its commits.
 */
import { rmSync } from "node:fs";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { parentPort, workerData } from "node:worker_threads";
import { makeOwnFile } from "./store.files.ts";
import { type Refusal, RefusedError, refusalOf } from "./store.sqlite.troubles.ts";

/** What a statement is given and gives. */
export type Value = string | number | null | Uint8Array;

/** A row of an answer. */
export type Row = Readonly<Record<string, Value>>;

/** One statement of a commit: its place in `SqliteSetup.writes`, and its values. */
export type Step = readonly [write: number, ...values: Value[]];

/** What this thread is asked beside commits. */
export type Question =
  | { readonly type: "read"; readonly sql: string; readonly values: readonly Value[] }
  /** Statements in one transaction; answers how many rows the first of them changed. */
  | { readonly type: "change"; readonly statements: readonly (readonly [sql: string, ...values: Value[]])[] }
  | { readonly type: "backup"; readonly path: string }
  | { readonly type: "close" };

/** What comes at once: commits, and what is asked after them. */
export interface Batch {
  /** The statements of all commits, in the order of calls. */
  readonly steps: readonly Step[];
  /** The fences of those commits that have one, in the order of calls. */
  readonly fences: readonly number[];
  readonly questions: readonly Question[];
}

/** What became of a batch: of its commits together, and of each question. */
export interface Outcome {
  readonly refused?: Refusal | undefined;
  readonly answers: readonly Answer[];
}

export type Answer = { readonly value: unknown } | { readonly refused: Refusal };

/** What the thread is started with. */
export interface SqliteSetup {
  readonly path: string;
  /** Each brings the database from the version of its place to the next. */
  readonly migrations: readonly string[];
  readonly writes: readonly string[];
  /** Reads and writes the highest fence that was seen. */
  readonly readFence: string;
  readonly writeFence: string;
  /** How long to wait at the start for another process to let go. */
  readonly busyMs: number;
  /** Whether others may have it open that share it: then fences alone say who writes. */
  readonly shared: boolean;
  /** The size beyond which the database refuses to grow, as a full disk would. */
  readonly maxFileBytes: number | undefined;
}

const pageBytes = 4_096;
const cacheKib = 16_384;

class Database {
  readonly #path: string;
  /** Held until the process ends, by whatever end. */
  readonly #lock: DatabaseSync;
  readonly #db: DatabaseSync;
  readonly #writes: readonly StatementSync[];
  readonly #reads = new Map<string, StatementSync>();
  readonly #readFence: StatementSync;
  readonly #writeFence: StatementSync;

  constructor({ path, migrations, writes, readFence, writeFence, busyMs, shared, maxFileBytes }: SqliteSetup) {
    this.#path = path;
    // One writer. The lock is SQLite's own, on an empty file beside the database: it is not left behind by a process that
    // is killed, and it lets others read and back up the database meanwhile. Replicas under a lease share it among them, and
    // with nobody else.
    this.#lock = new DatabaseSync(path === ":memory:" ? path : `${path}.lock`, { timeout: busyMs });
    try {
      this.#lock.exec(shared ? "BEGIN; SELECT * FROM sqlite_schema" : "BEGIN EXCLUSIVE");
      this.#db = new DatabaseSync(path, { timeout: busyMs });
    } catch (error) {
      this.#lock.close();
      throw error;
    }
    try {
      // Only a database without tables can be given it.
      this.#db.exec("PRAGMA auto_vacuum = INCREMENTAL");
      this.#db.exec("PRAGMA journal_mode = WAL");
      this.#db.exec("PRAGMA synchronous = FULL");
      // A checkpoint syncs the database beside its log, and everybody waits for it: every 16 MB, not every 4.
      this.#db.exec("PRAGMA wal_autocheckpoint = 4000");
      // Of 2 MB, as it is by default, a burst writes pages out before their commit and reads them again.
      this.#db.exec(`PRAGMA cache_size = -${cacheKib}`);
      this.#migrate(migrations);
      this.#db.exec("PRAGMA journal_size_limit = 67108864");
      if (maxFileBytes !== undefined)
        this.#db.exec(`PRAGMA max_page_count = ${Math.max(1, Math.floor(maxFileBytes / pageBytes))}`);
      this.#writes = writes.map((sql) => this.#db.prepare(sql));
      this.#readFence = this.#db.prepare(readFence);
      this.#writeFence = this.#db.prepare(writeFence);
    } catch (error) {
      this.#db.close();
      this.#lock.close();
      throw error;
    }
  }

  /** Runs a batch: first its commits, together, then its questions. */
  run({ steps, fences, questions }: Batch): Outcome {
    const refused = this.#commit(steps, fences);
    const answers = questions.map((question): Answer => {
      try {
        return { value: this.#do(question) };
      } catch (error) {
        return { refused: refusalOf(error, this.#path) };
      }
    });
    return { refused, answers };
  }

  /** All of them in one transaction, or none: a commit that is refused takes the others with it. */
  #commit(steps: readonly Step[], fences: readonly number[]): Refusal | undefined {
    if (steps.length === 0 && fences.length === 0) return undefined;
    try {
      this.#transact(() => {
        if (fences.length > 0) this.#pass(fences);
        for (const [write, ...values] of steps) this.#writes[write]!.run(...values);
      });
    } catch (error) {
      return refusalOf(error, this.#path);
    }
    return undefined;
  }

  /** Within the transaction, since another process may have written a higher one since the last. */
  #pass(fences: readonly number[]): void {
    const highest = Number(this.#readFence.get()?.["value"] ?? 0);
    let fence = highest;
    for (const next of fences) {
      if (next < fence)
        throw new RefusedError("fenced", {
          en: `another process holds the lease: ${next} was outrun by ${fence}`,
          zh: `租约已由另一进程持有：${next} 已被 ${fence} 取代`,
        });
      fence = next;
    }
    if (fence > highest) this.#writeFence.run(fence);
  }

  #do(question: Question): unknown {
    switch (question.type) {
      case "read":
        return this.#prepared(question.sql).all(...question.values);
      case "change": {
        let changed: number | undefined;
        this.#transact(() => {
          for (const [sql, ...values] of question.statements) {
            const { changes } = this.#prepared(sql).run(...values);
            changed ??= Number(changes);
          }
        });
        // A few pages at a time go back to the file system; outside of a transaction, or nothing would.
        this.#prepared("PRAGMA incremental_vacuum(2000)").all();
        return changed;
      }
      case "backup":
        makeBackupFile(question.path);
        try {
          this.#prepared("VACUUM INTO ?").run(question.path);
        } catch (error) {
          rmSync(question.path, { force: true });
          throw error;
        }
        return undefined;
      case "close":
        // The last one to close it moves the log into the file.
        this.#db.close();
        this.#lock.close();
    }
    return undefined;
  }

  #transact(work: () => void): void {
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      work();
      this.#db.exec("COMMIT");
    } catch (error) {
      // A full disk has rolled it back already.
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw error;
    }
  }

  #prepared(sql: string): StatementSync {
    let statement = this.#reads.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      // Filters make many statements; not without end.
      if (this.#reads.size >= 200) this.#reads.clear();
      this.#reads.set(sql, statement);
    }
    return statement;
  }

  #migrate(migrations: readonly string[]): void {
    const version = Number(this.#db.prepare("PRAGMA user_version").get()?.["user_version"]);
    if (version > migrations.length)
      throw new RefusedError("newer", {
        en: `the database ${this.#path} was written by a newer version (its format is ${version}, this one knows ${migrations.length}); update, or restore the backup of before`,
        zh: `数据库 ${this.#path} 由更新的版本写入（其格式为 ${version}，本版本只支持到 ${migrations.length}）；请升级，或恢复升级前的备份`,
      });
    for (const [at, migration] of migrations.entries())
      if (at >= version)
        this.#transact(() => {
          this.#db.exec(migration);
          this.#db.exec(`PRAGMA user_version = ${at + 1}`);
        });
  }
}

/** SQLite writes a copy over nothing but an empty file, and would make one that everybody can read. */
function makeBackupFile(path: string): void {
  try {
    makeOwnFile(path);
  } catch (error) {
    const code = String((error as NodeJS.ErrnoException).code);
    throw new RefusedError(
      "failed",
      code === "EEXIST"
        ? { en: `a backup is not written over what is there: ${path}`, zh: `备份不会覆盖已存在的文件：${path}` }
        : { en: `the backup ${path} cannot be made (${code})`, zh: `无法创建备份文件 ${path}（${code}）` },
    );
  }
}

/** The database of this thread; the first message out says whether it could be opened. */
function open(): void {
  if (parentPort === null) return;
  const port = parentPort;
  const setup = workerData as SqliteSetup;
  let database: Database;
  try {
    database = new Database(setup);
  } catch (error) {
    port.postMessage({ refused: refusalOf(error, setup.path), answers: [] } satisfies Outcome);
    return;
  }
  port.on("message", (batch: Batch) => port.postMessage(database.run(batch)));
  port.postMessage({ answers: [] } satisfies Outcome);
}

open();
