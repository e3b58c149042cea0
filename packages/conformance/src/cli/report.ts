/**
 * `openws-conformance report FILE…`: several reports as one matrix.
 *
 * Exit codes: 0 written · 2 wrong usage, also for a file that is no report.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { UsageError } from "../main.ts";
import { htmlMatrix, joined, markdownMatrix, prettyMatrix, readReport } from "../matrix.ts";

/** Shown by `report --help`. */
export const reportHelp = `openws-conformance report: several reports as one matrix, a column a client

Usage: openws-conformance report [--format pretty|markdown|html] [--out FILE] REPORT.json…

Each file is a report.json of "openws-conformance run --out DIR", also in the two tiers and lanes. pretty, the default, shows
the checks that not every client keeps; the others show all, and each finding with the lines of the wire log behind it.
Several reports of one client, in one tier and lane, become one column; of each check counts what was judged last.

Exit codes: 0 written, 2 wrong usage or a file that is no report.
`;

const formats = { pretty: prettyMatrix, markdown: markdownMatrix, html: htmlMatrix } as const;

/** Runs the sub-command. Returns the exit code; throws what parseArgs throws, and `UsageError`. */
export function report(args: string[]): number {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      format: { type: "string", default: "pretty" },
      out: { type: "string" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) {
    process.stdout.write(reportHelp);
    return 0;
  }
  if (positionals.length === 0) throw new UsageError("report needs files: report [options] REPORT.json…");
  if (!(values.format in formats)) throw new UsageError(`--format is pretty, markdown or html, not "${values.format}"`);
  const reports = positionals.map((file) => {
    try {
      return readReport(readFileSync(file, "utf8"));
    } catch (error) {
      throw new UsageError(`${file}: ${error instanceof Error ? error.message : String(error)}`);
    }
  });
  const text = formats[values.format as keyof typeof formats](joined(reports));
  if (values.out === undefined) process.stdout.write(text);
  else writeFileSync(values.out, text);
  return 0;
}
