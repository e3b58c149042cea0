/**
 * What is the matter with a database file, in sentences for whoever has to see to it, English and Chinese. Decides which
 * trouble an error of SQLite or of the file system means, and what to do; reads and writes nothing.
 *
 * Invariant: a sentence says what, where and what to do, and holds nothing of what is stored.
 */
import type { Sentence } from "../causes.ts";
import type { StoreTrouble } from "./store.ts";

/** Why something was refused, as it crosses threads. */
export interface Refusal {
  readonly trouble: StoreTrouble;
  readonly sentence: Sentence;
}

/** A refusal of our own, on its way out of a transaction. */
export class RefusedError extends Error {
  readonly refusal: Refusal;

  constructor(trouble: StoreTrouble, sentence: Sentence) {
    super(sentence.en);
    this.name = "RefusedError";
    this.refusal = { trouble, sentence };
  }
}

/** What an error means that was thrown while SQLite worked on the database at `path`. */
export function refusalOf(error: unknown, path: string): Refusal {
  if (error instanceof RefusedError) return error.refusal;
  const { errcode, message } = error as { errcode?: number; message?: string };
  const known =
    errcode === undefined
      ? Object.values(troubles).find(({ worded }) => message?.includes(worded))
      : troubles[errcode & 0xff];
  if (known !== undefined) return { trouble: known.trouble, sentence: known.say(path) };
  const why = message ?? String(error);
  return {
    trouble: "failed",
    sentence: { en: `the database ${path} failed: ${why}`, zh: `数据库 ${path} 出错：${why}` },
  };
}

/** What an error of the file system means that was thrown while the database at `path`, or its folder, was made or opened. */
export function unopened(error: unknown, path: string, folder: string): Refusal {
  const code = String((error as NodeJS.ErrnoException).code ?? error);
  if (code === "ENOSPC" || code === "EDQUOT") return { trouble: "full", sentence: full(path) };
  const say = fileTroubles[code] ?? cannotBeOpened;
  return { trouble: "unwritable", sentence: say(path, folder, code) };
}

const full = (path: string): Sentence => ({
  en: `there is no room for the database ${path}; free some on its disk, and keep less with OPENWS_RETENTION_BYTES or OPENWS_RETENTION_MS`,
  zh: `数据库 ${path} 所在磁盘空间不足；请清理磁盘，并用 OPENWS_RETENTION_BYTES 或 OPENWS_RETENTION_MS 减少保留的数据`,
});

type Say = (path: string, folder: string, code: string) => Sentence;

const cannotBeOpened: Say = (path, folder, code) => ({
  en: `the database ${path} cannot be opened or made (${code}); see to the folder ${folder} and the rights to it, or set OPENWS_DATABASE to another file`,
  zh: `无法打开或创建数据库 ${path}（${code}）；请检查目录 ${folder} 及其权限，或将 OPENWS_DATABASE 设为其他文件`,
});

const noFolder: Say = (path, folder, code) => ({
  en: `the folder ${folder} for the database ${path} cannot be made (${code}); make it yourself, or set OPENWS_DATABASE to a file elsewhere`,
  zh: `无法创建数据库 ${path} 所在的目录 ${folder}（${code}）；请自行创建，或将 OPENWS_DATABASE 设为其他位置的文件`,
});

/** By `error.code` of Node. */
const fileTroubles: Readonly<Record<string, Say>> = {
  EISDIR: (path) => ({
    en: `the database ${path} is a folder; set OPENWS_DATABASE to a file in it, such as ${path.replace(/[/\\]+$/, "")}/openws.db`,
    zh: `数据库 ${path} 是一个目录；请将 OPENWS_DATABASE 设为其中的文件，例如 ${path.replace(/[/\\]+$/, "")}/openws.db`,
  }),
  ENOENT: noFolder,
  ENOTDIR: noFolder,
  EROFS: (path) => ({
    en: `the database ${path} is on a file system that is mounted read-only; mount it writable, or set OPENWS_DATABASE to a file on one that is`,
    zh: `数据库 ${path} 位于只读挂载的文件系统上；请以可写方式挂载，或将 OPENWS_DATABASE 设为可写文件系统上的文件`,
  }),
};

interface Trouble {
  readonly trouble: StoreTrouble;
  /** How SQLite words it, which is all that Deno passes on. */
  readonly worded: string;
  readonly say: (path: string) => Sentence;
}

/** By SQLite's primary result code (sqlite.org/rescode.html). */
const troubles: Readonly<Record<number, Trouble>> = {
  5: {
    trouble: "locked",
    worded: "database is locked",
    say: (path) => ({
      en: `the database ${path} is in use by another process; stop it, or set OPENWS_DATABASE to another file`,
      zh: `数据库 ${path} 正被另一进程使用；请停止该进程，或将 OPENWS_DATABASE 设为其他文件`,
    }),
  },
  6: {
    trouble: "locked",
    worded: "database table is locked",
    say: (path) => ({
      en: `the database ${path} is in use; stop what uses it, or set OPENWS_DATABASE to another file`,
      zh: `数据库 ${path} 正被使用；请停止使用它的程序，或将 OPENWS_DATABASE 设为其他文件`,
    }),
  },
  8: {
    trouble: "unwritable",
    worded: "attempt to write a readonly database",
    say: (path) => ({
      en: `the database ${path} cannot be written; see to the rights of the file and its folder`,
      zh: `无法写入数据库 ${path}；请检查该文件及其目录的权限`,
    }),
  },
  10: {
    trouble: "unwritable",
    worded: "disk I/O error",
    say: (path) => ({
      en: `the disk under the database ${path} fails; see to it`,
      zh: `数据库 ${path} 所在磁盘读写出错；请检查磁盘`,
    }),
  },
  11: {
    trouble: "corrupt",
    worded: "malformed",
    say: (path) => ({
      en: `the database ${path} is damaged; put it aside and restore a backup, or begin with a new one`,
      zh: `数据库 ${path} 已损坏；请将其移开并恢复备份，或重新开始一个新的数据库`,
    }),
  },
  13: { trouble: "full", worded: "database or disk is full", say: full },
  14: {
    trouble: "unwritable",
    worded: "unable to open database file",
    say: (path) => ({
      en: `the database ${path} cannot be opened or made; see to its folder and the rights to it`,
      zh: `无法打开或创建数据库 ${path}；请检查其目录与权限`,
    }),
  },
  26: {
    trouble: "corrupt",
    worded: "file is not a database",
    say: (path) => ({
      en: `${path} is not a database; set OPENWS_DATABASE to another file, or restore a backup`,
      zh: `${path} 不是数据库；请将 OPENWS_DATABASE 设为其他文件，或恢复备份`,
    }),
  },
};
