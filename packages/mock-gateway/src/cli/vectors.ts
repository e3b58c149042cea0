/**
 * `openws-gateway vectors`: golden frames out of a recording, and where it differs from what the ledger says.
 *
 * Standard output is a file for spec/vectors, standard error the table of observations. A difference is a finding, not a
 * failure: the exit code stays 0.
 */
import { readFileSync } from "node:fs";
import { observe, openQuestions, tableOf } from "../observations.ts";
import { readRecording, vectorsOf } from "../recording.ts";
import { readArgs, UsageError, type Command } from "./usage.ts";

const help = `usage: openws-gateway vectors FILE

Reads what "openws-gateway record" wrote. Prints a file of golden frames, one for each shape that occurs, on standard
output, and on standard error what the recording says about the requirements:

  agrees    the recording shows what the ledger says
  differs   it shows something else
  new       something the ledger has no word for
  measured  a figure, or one side of a dispute

open questions:
${Object.entries(openQuestions)
  .map(([name, question]) => `  ${name.padEnd(17)} ${question}\n`)
  .join("")}`;

export const vectors: Command = async (args) => {
  const { values, positionals } = readArgs({
    args,
    options: { help: { type: "boolean", short: "h" } },
    allowPositionals: true,
  });
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  const [file, ...rest] = positionals;
  if (file === undefined || rest.length > 0) throw new UsageError("vectors takes one file: vectors FILE");
  const recording = readRecording(readText(file));
  const about = `Frames of a recording of ${recording.date}. Placeholders stand for what was somebody's.`;
  process.stdout.write(`${JSON.stringify({ about, vectors: vectorsOf(recording) }, null, 2)}\n`);
  process.stderr.write(tableOf(observe(recording)));
  if (recording.unreadable > 0) process.stderr.write(`${recording.unreadable} lines could not be read\n`);
  return 0;
};

const readText = (file: string): string => {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new UsageError(`cannot read ${file}: ${(error as Error).message}`, { cause: error });
  }
};
