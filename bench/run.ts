/**
 * `npm run bench [-- NAME…]`: runs the benches of this folder, one after another, and prints what they measured as ratios.
 *
 * A bench is a file beside this one that is no part of others. It measures both sides in one run, stops by itself, writes what it is doing to standard
 * error and each result as one JSON line to standard output (a {@link Row}). Figures of a machine mean little, ratios travel.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import type { Row } from "./row.ts";

const folder = import.meta.dirname;
/** What benches are made of. */
const parts = ["run.ts", "row.ts", "child.ts", "clients.ts", "published.ts"];
const benches = readdirSync(folder)
  .filter((name) => name.endsWith(".ts") && !parts.includes(name))
  .toSorted();

const main = async (names: readonly string[]): Promise<number> => {
  const unknown = names.find((name) => !benches.includes(`${name}.ts`));
  if (unknown !== undefined) {
    process.stderr.write(
      `there is no bench ${unknown}; there are ${benches.map((name) => basename(name, ".ts")).join(", ")}\n`,
    );
    return 2;
  }
  const rows: Row[] = [];
  let failed = false;
  for (const bench of benches) {
    if (names.length > 0 && !names.includes(basename(bench, ".ts"))) continue;
    process.stderr.write(`\n${bench}\n`);
    const child = spawn(process.execPath, ["--expose-gc", join(folder, bench)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    createInterface({ input: child.stdout }).on("line", (line) => rows.push(JSON.parse(line) as Row));
    const [code] = (await once(child, "close")) as [number | null];
    if (code !== 0) {
      process.stderr.write(`${bench} ended with ${code ?? "a signal"}\n`);
      failed = true;
    }
  }
  process.stdout.write(table(rows));
  return failed ? 1 : 0;
};

const table = (rows: readonly Row[]): string => {
  const cells = [
    ["what", "ours", "against", "ratio", "aim", ""],
    ...rows.map(({ what, unit, ours, theirs, against, ratio, aim, met }) => [
      what,
      `${figure(ours)} ${unit}`,
      theirs === undefined ? "–" : `${figure(theirs)} ${unit}, ${against ?? ""}`,
      ratio === undefined ? "–" : `${ratio.toFixed(2)}×`,
      aim,
      met ? "met" : "MISSED",
    ]),
  ];
  const widths = cells[0]!.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  return cells
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column]!))
          .join("  ")
          .trimEnd()}\n`,
    )
    .join("");
};

const figure = (value: number): string => (value >= 100 ? Math.round(value).toLocaleString("en") : value.toFixed(2));

process.exitCode = await main(process.argv.slice(2));
