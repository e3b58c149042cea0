/**
 * Mutation tests of the state machines and of what they lean on, one source file after another:
 *
 *     node tools/mutation.ts                  those that have changed since they last passed here
 *     node tools/mutation.ts upload stream    these, changed or not
 *     node tools/mutation.ts --minutes 20     what fits into so much time; the rest is named
 *
 * A file passes if Stryker's threshold is met (90 %) and no more mutants survive than docs/mutation.md explains. What
 * passed is remembered by the content of the file, of its tests and of all they import, in `openws-ci` of the user's
 * cache. The reports of the last file are in reports/mutation/.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

/** The files that are mutated, each with the number of survivors that docs/mutation.md explains. */
export const explained: Readonly<Record<string, number>> = {
  backoff: 0,
  budget: 2,
  requests: 2,
  stream: 14,
  connection: 15,
  upload: 7,
  text: 14,
};

const home = fileURLToPath(new URL("../", import.meta.url));
const cache = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "openws-ci");
/** What a run is taken to need that was never measured here. */
const unknownSeconds = 240;

if (import.meta.main) {
  const { values, positionals } = parseArgs({ options: { minutes: { type: "string" } }, allowPositionals: true });
  process.exitCode = await main(positionals, Number(values.minutes ?? Infinity) * 60);
}

async function main(names: readonly string[], limitSeconds: number): Promise<number> {
  for (const name of names) if (!(name in explained)) throw new Error(`no such file is mutated: ${name}`);
  const count = { passed: 0, failed: 0 };
  const waiting: string[] = [];
  const due: { name: string; seconds: number }[] = [];
  for (const name of names.length > 0 ? names : Object.keys(explained)) {
    const past = measured(name);
    if (names.length === 0 && past?.key === keyOf(name)) {
      console.info(`${name}: unchanged since it passed (${past.said})`);
      count.passed++;
    } else due.push({ name, seconds: past?.seconds ?? unknownSeconds });
  }
  // The quick ones first: so the most are judged, and what was left out has the next run for itself.
  for (const { name, seconds } of due.sort((a, b) => a.seconds - b.seconds)) {
    const left = limitSeconds - performance.now() / 1_000;
    const verdict = left < Math.min(seconds, limitSeconds / 2) ? "waiting" : await judge(name, left);
    if (verdict === "waiting") waiting.push(name);
    else count[verdict]++;
  }
  if (waiting.length > 0) {
    console.info(`\nleft out: mutation of ${waiting.join(", ")} — no time was left; the next run goes on with them`);
  }
  const skipped = waiting.length > 0 ? `, ${waiting.length} skipped` : "";
  console.info(`\n${count.passed} passed, ${count.failed} failed${skipped}`);
  return count.failed > 0 ? 1 : 0;
}

async function judge(name: string, limitSeconds: number): Promise<"passed" | "failed" | "waiting"> {
  const key = keyOf(name);
  const started = performance.now();
  const report = join(home, "reports", "mutation", "mutation.json");
  rmSync(report, { force: true });
  const code = await stryker(name, limitSeconds);
  if (code === undefined) return "waiting";
  if (!existsSync(report)) {
    console.info(`${name}: failed; Stryker ended with ${code} and made no report: does the original pass its tests?`);
    return "failed";
  }
  const seconds = Math.round((performance.now() - started) / 1_000);
  const { noticed, survived, unjudged } = read(report);
  const allowed = explained[name] as number;
  const said = `${noticed} of ${noticed + survived} mutants noticed, ${seconds} s`;
  const wrong = [
    ...(survived > allowed ? [`${survived} survive, ${allowed} are explained in docs/mutation.md`] : []),
    ...(unjudged > (noticed + survived) / 20 ? [`with ${unjudged} more the tests could not be loaded`] : []),
    ...(code === 0 ? [] : [`Stryker ended with ${code}`]),
  ];
  if (wrong.length > 0) {
    console.info(`${name}: failed; ${[said, ...wrong].join("; ")}`);
    return "failed";
  }
  console.info(`${name}: ${said}`);
  mkdirSync(cache, { recursive: true });
  writeFileSync(markOf(name), JSON.stringify({ key, seconds, said } satisfies Mark));
  return "passed";
}

/** Runs Stryker on one file; returns its exit code, or nothing when the time was up. */
async function stryker(name: string, limitSeconds: number): Promise<number | undefined> {
  const binary = join(
    dirname(fileURLToPath(import.meta.resolve("@stryker-mutator/core/package.json"))),
    "bin/stryker.js",
  );
  const child = spawn(process.execPath, [binary, "run", "--concurrency", String(availableParallelism())], {
    cwd: home,
    env: { ...process.env, OPENWS_MUTATE: name },
    stdio: "inherit",
  });
  const { promise, resolve: settle } = Promise.withResolvers<number | undefined>();
  let late = false;
  const timers =
    limitSeconds === Infinity
      ? []
      : [
          setTimeout(() => (late = child.kill("SIGTERM")), limitSeconds * 1_000),
          setTimeout(() => child.kill("SIGKILL"), (limitSeconds + 15) * 1_000),
        ];
  child.once("close", (code) => settle(late ? undefined : (code ?? 1)));
  const code = await promise;
  timers.forEach(clearTimeout);
  // Who is ended leaves the copies that he worked on.
  if (late) rmSync(join(home, ".stryker-tmp"), { recursive: true, force: true });
  return code;
}

function read(report: string): { noticed: number; survived: number; unjudged: number } {
  const { files } = JSON.parse(readFileSync(report, "utf8")) as {
    files: Record<string, { mutants: { status: string }[] }>;
  };
  const count = { noticed: 0, survived: 0, unjudged: 0 };
  for (const { status } of Object.values(files).flatMap(({ mutants }) => mutants))
    count[
      status === "Killed" || status === "Timeout" ? "noticed" : status === "RuntimeError" ? "unjudged" : "survived"
    ]++;
  return count;
}

// ---------------------------------------------------------------------------------------------------------------------
// What was judged before

interface Mark {
  readonly key: string;
  readonly seconds: number;
  readonly said: string;
}

function markOf(name: string): string {
  return join(cache, `mutation-${name}.json`);
}

function measured(name: string): Mark | undefined {
  try {
    return JSON.parse(readFileSync(markOf(name), "utf8")) as Mark;
  } catch {
    return undefined;
  }
}

/** A hash of whatever can change the verdict over a file. */
function keyOf(name: string): string {
  const files = new Set<string>();
  const visit = (path: string): void => {
    if (files.has(path)) return;
    files.add(path);
    for (const [, relative = ""] of readFileSync(path, "utf8").matchAll(/ from "(\.[^"]+)"/g))
      visit(resolve(dirname(path), relative));
  };
  for (const pattern of [`src/${name}.ts`, `test/${name}{,.properties}.test.ts`, "test/mutation-setup.ts"])
    globSync(pattern, { cwd: home })
      .sort()
      .forEach((path) => visit(join(home, path)));
  for (const config of ["stryker.config.mjs", "vitest.mutation.config.ts"]) files.add(join(home, config));
  const hash = createHash("sha256").update(String(explained[name]));
  for (const path of files) hash.update(readFileSync(path));
  const { devDependencies } = JSON.parse(readFileSync(join(home, "../../package.json"), "utf8")) as {
    devDependencies: Record<string, string>;
  };
  for (const tool of ["@stryker-mutator/core", "@stryker-mutator/vitest-runner", "fast-check", "vitest"])
    hash.update(`${tool}@${devDependencies[tool] ?? ""}`);
  return hash.digest("hex");
}
