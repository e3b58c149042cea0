/**
 * Plants a defect: applies a unified patch to a copy of the core's sources and loads that copy.
 *
 * A patch file begins with a sentence that says what is wrong with the patched client; then come hunks as `diff -u` writes
 * them. A hunk is found by its text, wherever it stands by now, and must be found exactly once: line numbers are ignored,
 * so that the patches outlive changes elsewhere in a file. The shipped sources hold no switch for any of this.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Core } from "../../src/sim.ts";

const protocol = fileURLToPath(new URL("../../../protocol/", import.meta.url));

/** What a patch changes in one place. */
export interface Hunk {
  readonly file: string;
  readonly before: string;
  readonly after: string;
}

/** A patch, read. */
export interface Patch {
  readonly what: string;
  readonly hunks: readonly Hunk[];
}

/** Reads a patch from its text. */
export function readPatch(text: string): Patch {
  const lines = text.split("\n");
  const hunks: Hunk[] = [];
  let file = "";
  let before: string[] = [];
  let after: string[] = [];
  const close = (): void => {
    if (before.length + after.length > 0) hunks.push({ file, before: before.join("\n"), after: after.join("\n") });
    before = [];
    after = [];
  };
  for (const line of lines.slice(lines.indexOf("") + 1)) {
    if (line.startsWith("--- ")) continue;
    if (line.startsWith("+++ b/")) {
      close();
      file = line.slice("+++ b/".length);
    } else if (line.startsWith("@@")) close();
    else if (line.startsWith("-")) before.push(line.slice(1));
    else if (line.startsWith("+")) after.push(line.slice(1));
    else if (line.startsWith(" ")) {
      before.push(line.slice(1));
      after.push(line.slice(1));
    }
  }
  close();
  return { what: lines[0]!, hunks };
}

/** The source with a hunk applied. Throws if what the hunk changes is not there, or more than once. */
export function applyHunk(source: string, { file, before, after }: Hunk): string {
  const parts = source.split(before);
  if (parts.length !== 2)
    throw new Error(`${parts.length === 1 ? "nothing" : "more than one place"} in ${file} looks like this:\n${before}`);
  return parts.join(after);
}

/** A core with a defect, and how to clear it away. */
export interface Planted {
  readonly what: string;
  readonly core: Core;
  readonly [Symbol.dispose]: () => void;
}

/** Loads a copy of the core with the patch of this name. Throws, naming it, if it does not apply any more. */
export async function plant(name: string): Promise<Planted> {
  const patch = readPatch(readFileSync(new URL(`${name}.patch`, import.meta.url), "utf8"));
  const folder = mkdtempSync(join(tmpdir(), "openws-planted-"));
  const clear = (): void => rmSync(folder, { recursive: true, force: true });
  try {
    cpSync(join(protocol, "src"), join(folder, "src"), { recursive: true });
    symlinkSync(join(protocol, "node_modules"), join(folder, "node_modules"), "junction");
    writeFileSync(join(folder, "package.json"), '{"type":"module"}');
    for (const hunk of patch.hunks) {
      const path = join(folder, "src", hunk.file);
      writeFileSync(path, applyHunk(readFileSync(path, "utf8"), hunk));
    }
    const core = (await import(/* @vite-ignore */ pathToFileURL(join(folder, "src", "index.ts")).href)) as Core;
    return { what: patch.what, core, [Symbol.dispose]: clear };
  } catch (error) {
    clear();
    throw new Error(`the patch ${name} does not apply: ${String(error)}`, { cause: error });
  }
}
