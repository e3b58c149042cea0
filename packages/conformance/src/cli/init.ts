/**
 * `openws-conformance init`: writes a testee that speaks the protocol already, with the library's part left to fill in.
 *
 * Exit codes: 0 written · 2 usage, also where there is such a file already.
 */
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { UsageError } from "../main.ts";

/** Shown by `init --help`. */
export const initHelp = `openws-conformance init: writes a testee with the library's part left to fill in

Usage: openws-conformance init [--lang js|python] [FILE]

FILE is testee.mjs or testee.py unless it is named; a file that is there is never overwritten. What the lines of a testee mean
is in TESTEE.md of this package.

Exit codes: 0 written, 2 wrong usage.
`;

const languages = {
  js: { file: "testee.mjs", run: "node", edit: "connect, stop and the handler in it" },
  python: { file: "testee.py", run: "python3", edit: "connect, stop and on_message" },
} as const;

/** Runs the sub-command. Returns the exit code; throws what parseArgs throws, and `UsageError`. */
export function init(args: string[]): number {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { lang: { type: "string", default: "js" }, help: { type: "boolean", short: "h" } },
  });
  if (values.help === true) {
    process.stdout.write(initHelp);
    return 0;
  }
  const { lang } = values;
  if (lang !== "js" && lang !== "python") throw new UsageError(`--lang is js or python, not "${lang}"`);
  const language = languages[lang];
  const [file = language.file] = positionals;
  // Beside src/ and dist/ alike.
  const skeleton = readFileSync(new URL(`../../templates/${language.file}.txt`, import.meta.url), "utf8");
  try {
    writeFileSync(file, skeleton, { flag: "wx" });
  } catch (error) {
    throw new UsageError(
      (error as NodeJS.ErrnoException).code === "EEXIST"
        ? `${file} is there already; name another file`
        : `${file} cannot be written: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  chmodSync(file, 0o755);
  process.stdout.write(`Wrote ${file}. Next:
  1. fill in ${language.edit}, for a client that answers a text;
  2. openws-conformance run --tier testee --run AUTH-1 -- ${language.run} ${file}
  3. the same without --run: all that needs no more than this;
  4. add abilities to "can", one at a time: TESTEE.md of this package says what each is.
`);
  return 0;
}
