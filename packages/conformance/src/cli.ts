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

  run            judges a client: ${NAME} run [options] -- CMD…
  list           the checks, each by the id of its requirement
  explain ID     one check: its rule and source, its cases, and the bots that fail it
  serve          attach a client by hand: what it does is judged until Ctrl-C
  report FILE…   several reports as one matrix, for a terminal, a page or documentation
  init           writes a testee to fill in: the way to the checks that a bot alone cannot answer
  self-test      is the suite right? It judges bots with one known defect each
  sim            the core against the mock gateway over a faulty wire, in virtual time; see ${NAME} sim --help

  -h, --help     print this and exit
      --version  print the version and exit

Each command explains itself with --help.

Exit codes: 0 conformant, 1 not, 2 wrong usage, 3 the client did not start, 4 the suite itself failed.
`;

process.exitCode = await main(process.argv.slice(2));

async function main(args: string[]): Promise<number> {
  let options;
  try {
    const rest = args.slice(1);
    switch (args[0]) {
      case "run":
        return await (await import("./cli/run.ts")).run(rest);
      case "list":
        return (await import("./cli/list.ts")).list(rest);
      case "explain":
        return (await import("./cli/list.ts")).explain(rest);
      case "self-test":
        return await (await import("./cli/self-test.ts")).selfTestCommand(rest);
      case "serve": {
        const code = await (await import("./cli/serve.ts")).serve(rest);
        // Standard input may still be open: whoever attaches by hand has ended this by Ctrl-C.
        process.stdin.destroy();
        return code;
      }
      case "report":
        return (await import("./cli/report.ts")).report(rest);
      case "init":
        return (await import("./cli/init.ts")).init(rest);
      case "sim":
        return (await import("./cli/sim.ts")).sim(rest);
      case undefined:
      default:
    }
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
