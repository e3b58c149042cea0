#!/usr/bin/env node
/**
 * The command `openws-conformance`. It reads its arguments, hands them to the command that was asked for, and turns the
 * outcome into an exit code; it judges nothing itself.
 *
 * Exit codes: 0 conformant · 1 not · 2 usage · 3 the client did not start · 4 the harness itself failed.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

const NAME = "openws-conformance";

const HELP = `${NAME}: judges any client of the WeCom AI-bot gateway by what it does on the wire

Usage: ${NAME} COMMAND [options]

  sim            the core against the mock gateway over a faulty wire, in virtual time; see ${NAME} sim --help

  -h, --help     print this and exit
      --version  print the version and exit

The checks of other clients are not part of this version.

Exit codes: 0 conformant, 1 not, 2 wrong usage.
`;

process.exitCode = await main(process.argv.slice(2));

async function main(args: string[]): Promise<number> {
  let options;
  try {
    if (args[0] === "sim") return (await import("./cli/sim.ts")).sim(args.slice(1));
    ({ values: options } = parseArgs({
      args,
      options: { help: { type: "boolean", short: "h" }, version: { type: "boolean" } },
    }));
  } catch (error) {
    return usage(error instanceof Error ? error.message : String(error));
  }
  if (options.help) process.stdout.write(HELP);
  else if (options.version) process.stdout.write(`${NAME} ${version()}\n`);
  else return usage("nothing to do");
  return 0;
}

/** One sentence for whoever mistyped, and where the right way is written. */
function usage(problem: string): number {
  process.stderr.write(`${NAME}: ${problem}\nTry: ${NAME} --help\n`);
  return 2;
}

function version(): string {
  const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string };
  return manifest.version;
}
