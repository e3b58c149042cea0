/** The places of a store on a disk: folders that are made where they are missing, and files that are their owner's alone. */
import { closeSync, existsSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Makes `folder`, and those above it that are missing, for its owner alone where `mode` says so. Throws what `mkdir` throws
 * for the first that cannot be made. Node's own `recursive` never comes back from a place that has none to give, as `/proc`.
 */
export function makeFolder(folder: string, mode?: number): void {
  if (existsSync(folder)) return;
  const above = dirname(folder);
  if (above !== folder) makeFolder(above, mode);
  try {
    mkdirSync(folder, { mode });
  } catch (error) {
    // Another process that starts beside this one was faster.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

/** Makes an empty file that its owner alone can read. Throws with the code `EEXIST` where there is something already. */
export function makeOwnFile(path: string): void {
  closeSync(openSync(path, "wx", 0o600));
}
