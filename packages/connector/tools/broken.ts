/**
 * Shows that the behaviours' tests see what they are there to see: breaks one behaviour after the other, in memory, runs
 * the tests of its number, and demands that one fails.
 *
 *     node packages/connector/tools/broken.ts [NUMBER…]
 *
 * Exits 0 when every break was seen, 1 otherwise. `npm run lane -- behaviours` does the same as a lane.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brokenRows } from "./broken-rows.ts";

/** The folder of all packages, with a slash at its end. */
export const packages: string = fileURLToPath(new URL("../../", import.meta.url));

const home = fileURLToPath(new URL("..", import.meta.url));
const vitest = fileURLToPath(new URL("../../../node_modules/vitest/vitest.mjs", import.meta.url));
/** A machine that is busy runs a test late, not never; a broken behaviour may well hang. */
const limitMs = 90_000;

/** The source of a file with behaviour `number` broken; undefined where nothing of it stands in this file. Nothing is 0. */
export function broken(number: number, file: string, source: string): string | undefined {
  const [, ...all] = brokenRows[number] ?? [""];
  const changes = all.filter(([changed]) => changed === file);
  let text = source;
  for (const [, find, instead] of changes) {
    if (!text.includes(find)) throw new Error(`behaviour ${number}: ${file} no longer holds: ${find}`);
    text = text.replace(find, () => instead);
  }
  return changes.length === 0 ? undefined : text;
}

/** The file of the tests of a behaviour. */
export function testsOf(number: number): string {
  const folder = join(home, "test", "behaviours");
  const title = new RegExp(`["\`]${number}\\. `);
  const found = readdirSync(folder).find((name) => title.test(readFileSync(join(folder, name), "utf8")));
  if (found === undefined) throw new Error(`no test is called ${number}.`);
  return join("test", "behaviours", found);
}

interface Report {
  readonly testResults: readonly {
    readonly message: string;
    readonly assertionResults: readonly { readonly title: string; readonly status: string }[];
  }[];
}

/** Breaks a behaviour and runs its tests. Resolves with undefined when one failed, else with what is wrong. */
export async function tryBroken(number: number): Promise<string | undefined> {
  const run = () => runBroken(number, testsOf(number), `(^| )${number}\\. `);
  let { code, statuses, errors } = await run();
  // A machine that is too busy even to begin has a second chance.
  if (code !== null && statuses.length === 0) ({ code, statuses, errors } = await run());
  // A behaviour that is broken so that its process spins cannot be missed.
  if (code === null || statuses.includes("failed")) return undefined;
  if (!statuses.includes("passed")) return `${number}: its tests did not run: ${errors}`;
  // An exception that no test caught fails the run, and is as loud as a test.
  return code === 0 ? `${number}: "${brokenRows[number]![0]}" is not seen by its tests` : undefined;
}

/** Runs all tests with nothing broken, the same way. Resolves with undefined when all passed. */
export async function tryWhole(): Promise<string | undefined> {
  const { code, errors } = await runBroken(0, join("test", "behaviours"), "");
  return code === 0 ? undefined : `with nothing broken the tests fail as well: ${errors}`;
}

async function runBroken(
  number: number,
  file: string,
  title: string,
): Promise<{ code: number | null; statuses: readonly string[]; errors: string }> {
  const folder = mkdtempSync(join(tmpdir(), "openws-broken-"));
  try {
    const report = join(folder, "report.json");
    const config = join(home, "vitest.broken.config.ts");
    const args = ["run", "--config", config, "--reporter=json", `--outputFile=${report}`, "-t", title, file];
    const child = spawn(process.execPath, [vitest, ...args], {
      cwd: home,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, OPENWS_BROKEN: String(number) },
      timeout: limitMs,
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text: string) => (output += text));
    const [code] = (await once(child, "close")) as [number | null];
    if (code === null) return { code, statuses: [], errors: `it did not end within ${limitMs} ms` };
    // Without a report vitest did not get as far as the tests.
    if (!existsSync(report)) return { code, statuses: [], errors: output.slice(-600) };
    const { testResults } = JSON.parse(readFileSync(report, "utf8")) as Report;
    const results = testResults.flatMap(({ assertionResults }) => assertionResults);
    const failures = results.flatMap(({ title: name, status }) => (status === "failed" ? [name] : []));
    const told = [...testResults.map(({ message }) => message), ...failures].filter((each) => each !== "");
    return {
      code,
      statuses: results.map(({ status }) => status),
      errors: told.join("; ") || output.slice(-600),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const asked = process.argv.slice(2).map(Number);
  const numbers = asked.length > 0 ? asked : Object.keys(brokenRows).map(Number);
  let failed = 0;
  const waiting = [...numbers];
  // Most of a run is waiting for what does not come.
  const workers = Array.from({ length: 3 }, async () => {
    for (let number = waiting.shift(); number !== undefined; number = waiting.shift()) {
      const wrong = await tryBroken(number);
      if (wrong !== undefined) failed++;
      process.stdout.write(
        wrong === undefined ? `${number}: ${brokenRows[number]![0]}: seen\n` : `NOT SEEN ${wrong}\n`,
      );
    }
  });
  await Promise.all(workers);
  process.stdout.write(`${numbers.length - failed} passed, ${failed} failed\n`);
  process.exitCode = failed === 0 ? 0 : 1;
}
