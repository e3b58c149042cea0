/** `SpoolDisk` as a folder, on any runtime that has Node's files. A file that is being written has another name. */
import { constants, createReadStream, createWriteStream } from "node:fs";
import { access, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { makeFolder } from "./store.files.ts";
import type { SpoolDisk } from "./spool.ts";
import { StoreError } from "./store.ts";

const ours = /^med_\d+_\d+$/;

/** Opens a folder, made where it is missing. What a process left half written is removed. Rejects with `StoreError`. */
export async function folderDisk(folder: string): Promise<SpoolDisk> {
  try {
    makeFolder(folder, 0o700);
    await access(folder, constants.W_OK);
    for (const name of await readdir(folder)) if (name.endsWith(".part")) await rm(join(folder, name), { force: true });
  } catch (cause) {
    const code = String((cause as NodeJS.ErrnoException).code ?? cause);
    throw new StoreError(
      "unwritable",
      {
        en: `the folder for users' files, ${folder}, cannot be made or written (${code}); see to the rights to it, or set OPENWS_MEDIA_DIR to another folder`,
        zh: `无法创建或写入存放用户文件的目录 ${folder}（${code}）；请检查其权限，或将 OPENWS_MEDIA_DIR 设为其他目录`,
      },
      { cause },
    );
  }
  return {
    write: async (name, bytes) => {
      const path = join(folder, name);
      const part = `${path}.part`;
      try {
        const file = createWriteStream(part, { mode: 0o600, flush: true });
        await pipeline(Readable.fromWeb(bytes), file);
        await rename(part, path);
        return file.bytesWritten;
      } catch (error) {
        await rm(part, { force: true });
        throw error;
      }
    },
    read: async (name) => {
      const path = join(folder, name);
      const found = await stat(path).catch(() => undefined);
      return found === undefined ? undefined : (Readable.toWeb(createReadStream(path)) as ReadableStream<Uint8Array>);
    },
    remove: (name) => rm(join(folder, name), { force: true }),
    list: async () => {
      const names = (await readdir(folder)).filter((name) => ours.test(name));
      const found = await Promise.all(
        names.map(async (name) => {
          const about = await stat(join(folder, name)).catch(() => undefined);
          return about === undefined ? [] : [{ name, bytes: about.size, writtenAt: Math.round(about.mtimeMs) }];
        }),
      );
      return found.flat();
    },
  };
}
