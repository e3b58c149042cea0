/** What the sub-commands share with each other as one process: its numbers, and its end. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UsageError } from "../main.ts";
import { killAll } from "../testees/process.ts";

/** A whole number from the command line. Throws `UsageError`. */
export function whole(name: string, text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new UsageError(`--${name} must be a whole number`);
  return Number(text);
}

/**
 * Ends every process that was started, when this one is asked to end and when it ends; what nobody caught is a failure of
 * the suite itself, and ends it with 4. Call it once.
 */
export function endOnSignal(): void {
  process.once("exit", killAll);
  process.once("uncaughtException", (error) => {
    process.stderr.write(`openws-conformance: the suite itself failed: ${error.stack ?? error.message}\n`);
    process.exit(4);
  });
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)
    process.once(signal, () => {
      killAll();
      process.exit(code);
    });
}

/**
 * A client is started once for each case. One that runs on Node finds its code compiled after the first time, which halves what
 * its start costs; others do not know the variable. The folder is this process's own, and ends with it.
 */
export function compileOnce(): void {
  if (process.env["NODE_COMPILE_CACHE"] !== undefined) return;
  const folder = mkdtempSync(join(tmpdir(), "openws-compiled-"));
  process.env["NODE_COMPILE_CACHE"] = folder;
  process.once("exit", () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));
}
