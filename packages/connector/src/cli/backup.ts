/**
 * `openws-connector backup`: a copy of the database while a connector has it open. It reads in a process of its own, so
 * nothing waits for it; and it is one file, without a log beside it.
 */
import { existsSync, rmSync, statSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { MistakeError } from "../mistake.ts";
import type { Sentence } from "../causes.ts";
import { makeOwnFile } from "../service/store.files.ts";
import { type Command, FailedError, languageOf, print, readArgs } from "./command.ts";

const help: Sentence = {
  en: `usage: openws-connector backup FILE [--database FILE]

Writes a copy of the database that a connector may have open meanwhile. Keep the file DATABASE.key apart from it: it opens
the secrets of webhooks and of bots that were added through the API. To restore, stop the connector, remove DATABASE,
DATABASE-wal and DATABASE-shm, copy the backup to DATABASE and start it again.
Exit code 0 when the copy is complete, 1 when it could not be made, 2 for wrong use.

  --database FILE   the database (OPENWS_DATABASE, or ./data/openws.db)`,
  zh: `用法：openws-connector backup FILE [--database FILE]

为连接器可能正在使用的数据库写一份副本。文件 DATABASE.key 请另行保管：它能解开网络钩子以及通过 API 添加的机器人的密钥。
恢复时：停止连接器，删除 DATABASE、DATABASE-wal 与 DATABASE-shm，将副本复制为 DATABASE，再启动。
退出码：0 副本完整，1 未能写成，2 用法有误。

  --database FILE   数据库（OPENWS_DATABASE，或 ./data/openws.db）`,
};

/** Never waits: the copy is made by SQLite, in this process alone. */
export const backup: Command = async (args, env) => {
  const options = { database: { type: "string" }, help: { type: "boolean", short: "h" } } as const;
  const { values, positionals } = readArgs({ args: [...args], options, allowPositionals: true });
  if (values.help === true) {
    print(help[languageOf(env)]);
    return 0;
  }
  const [target, more] = positionals;
  if (target === undefined || more !== undefined)
    throw new MistakeError({ en: "backup needs one FILE to write", zh: "backup 需要一个要写入的文件" });
  const database = values.database ?? (env["OPENWS_DATABASE"] || "./data/openws.db");
  if (!existsSync(database))
    throw new FailedError({
      en: `there is no database ${database}; say where it is with --database or OPENWS_DATABASE`,
      zh: `数据库 ${database} 不存在；请用 --database 或 OPENWS_DATABASE 指定位置`,
    });
  try {
    // It holds what people said: its owner's alone. SQLite writes over an empty file, and over nothing else.
    makeOwnFile(target);
  } catch (cause) {
    const code = String((cause as NodeJS.ErrnoException).code);
    throw new FailedError(
      code === "EEXIST"
        ? {
            en: `${target} is there already, and a backup is written over nothing`,
            zh: `${target} 已存在，备份不会覆盖任何文件`,
          }
        : { en: `the backup ${target} cannot be made (${code})`, zh: `无法创建备份文件 ${target}（${code}）` },
      { cause },
    );
  }
  try {
    const source = new DatabaseSync(database, { readOnly: true, timeout: 5_000 });
    source.prepare("VACUUM INTO ?").run(target);
    source.close();
  } catch (cause) {
    rmSync(target, { force: true });
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FailedError({ en: `the backup could not be written: ${why}`, zh: `无法写入备份：${why}` }, { cause });
  }
  const { size } = statSync(target);
  const said = {
    en: `${target}: ${size} bytes. The key is not in it: keep a copy of ${database}.key elsewhere`,
    zh: `${target}：${size} 字节。其中不含密钥，请将 ${database}.key 另行保存`,
  };
  print(said[languageOf(env)]);
  return 0;
};
