/** Folders that are made where they are missing, for the database and for files. */
import { mkdirSync, existsSync } from "node:fs";
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
