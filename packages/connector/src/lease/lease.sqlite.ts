/**
 * The lease as a row of a SQLite file, for several processes of one host. Decides the table. Needs no server, and nothing
 * that is not part of the runtime.
 *
 * Invariants: a call never waits for a disk: what is written counts for as long as the host runs, and after a power cut
 * nobody holds anything; a row that another process is writing just then is a call that fails, and is made again.
 */
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { MistakeError } from "../mistake.ts";
import { makeFolder } from "../service/store.files.ts";
import type { LeasePlace } from "./lease.ts";

/** How long one process may keep another waiting, which holds up the whole of it. */
const busyMs = 50;

/** Opens the lease `name` in the file at `path`, which is made when there is none. Rejects with `MistakeError` for what cannot be opened. */
export async function sqliteLease(path: string, name: string): Promise<LeasePlace> {
  const db = open(path);
  const read = db.prepare("SELECT record FROM lease WHERE name = ?");
  const create = db.prepare("INSERT INTO lease (name, record) VALUES (?, ?) ON CONFLICT (name) DO NOTHING");
  const replace = db.prepare("UPDATE lease SET record = ?3 WHERE name = ?1 AND record = ?2");
  return {
    async read() {
      return read.get(name)?.["record"] as string | undefined;
    },
    async swap(expected, next) {
      const { changes } = expected === undefined ? create.run(name, next) : replace.run(name, expected, next);
      return Number(changes) === 1;
    },
    async close() {
      db.close();
    },
  };
}

function open(path: string): DatabaseSync {
  try {
    makeFolder(dirname(path));
    // Several replicas that begin at once make it together.
    const db = new DatabaseSync(path, { timeout: 5_000 });
    db.exec("PRAGMA journal_mode = WAL");
    db.exec("PRAGMA synchronous = NORMAL");
    db.exec("CREATE TABLE IF NOT EXISTS lease (name TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID");
    db.exec(`PRAGMA busy_timeout = ${busyMs}`);
    return db;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new MistakeError(
      {
        en: `the file of the lease, ${path}, cannot be opened or made (${why}); see to its folder and the rights to it, or remove it while no replica runs`,
        zh: `无法打开或创建租约文件 ${path}（${why}）；请检查其目录与权限，或在没有任何副本运行时将其删除`,
      },
      { path: "OPENWS_LEASE", cause },
    );
  }
}
