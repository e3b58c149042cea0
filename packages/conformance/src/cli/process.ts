/** What the sub-commands share with each other as one process: its version, its misuse, and its end. */
import { readFileSync } from "node:fs";
import { killAll } from "../testees/process.ts";

/** A wrong use of the command line; its message is one sentence. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The version of this package. */
export function version(): string {
  const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  return manifest.version;
}

/** A whole number from the command line. Throws `UsageError`. */
export function whole(name: string, text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new UsageError(`--${name} must be a whole number`);
  return Number(text);
}

/** Ends every process that was started, when this one is asked to end and when it ends. Call it once. */
export function endOnSignal(): void {
  process.once("exit", killAll);
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)
    process.once(signal, () => {
      killAll();
      process.exit(code);
    });
}
