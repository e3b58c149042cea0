/**
 * `openws-conformance run … -- CMD`: judges a client, tells what it found, and writes the reports.
 *
 * Exit codes: see `exitCode` of report.ts; 2 for wrong usage.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { cases } from "../cases.ts";
import { globMatches, lanes, type Case } from "../check.ts";
import { exitCode, html, junit, pretty, readExcuses, reportOf, type Report, type Result } from "../report.ts";
import { run as runCases } from "../runner.ts";
import { environmentOf } from "../testee.ts";
import { Process } from "../testees/process.ts";
import { endOnSignal, UsageError, version, whole } from "./process.ts";

/** Shown by `run --help`. */
export const runHelp = `openws-conformance run: judges a client by what it does on the wire

Usage: openws-conformance run [options] -- CMD…

CMD is any command that starts a bot which reads WECOM_BOT_ID, WECOM_BOT_SECRET and WECOM_BOT_WS_URL and answers text
messages; it is started once for each case. In the scaled lane it must also read WECOM_HEARTBEAT_MS, WECOM_ACK_MS and
WECOM_BACKOFF_BASE_MS, and let its other durations follow from these.

  --contract        the bot keeps the echo contract (docs/conformance.md): more checks
  --lane LANE       scaled (a twentieth of all durations, the default) or real (production durations, about six minutes)
  --strict          a failed SHOULD and a flaky check count, too
  --run GLOB        only the checks or cases that match, such as AUTH-* or kick/*; a comma separates several
  --skip GLOB       not these
  --expected FILE   what is excused, "ID: reason" a line; an excuse that is no longer needed fails
  --seed N          the seed of the gateway's chance (default 1)
  --at-once N       how many cases at once (default 6; in the real lane all)
  --out DIR         write report.json, junit.xml and report.html there
  --reporter LIST   which of pretty, json, junit, html (default pretty, and with --out all); json alone prints the report

Exit codes: 0 conformant, 1 not, 2 wrong usage, 3 the client did not start, 4 the suite itself failed.
`;

const reporters = ["pretty", "json", "junit", "html"] as const;

/** Runs the sub-command. Returns the exit code; throws what parseArgs throws, and `UsageError`. */
export async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      contract: { type: "boolean", default: false },
      lane: { type: "string", default: "scaled" },
      strict: { type: "boolean", default: false },
      run: { type: "string" },
      skip: { type: "string" },
      expected: { type: "string" },
      seed: { type: "string", default: "1" },
      "at-once": { type: "string" },
      out: { type: "string" },
      reporter: { type: "string" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) {
    process.stdout.write(runHelp);
    return 0;
  }
  const [file, ...rest] = positionals;
  if (file === undefined) throw new UsageError("run needs a command to judge: run [options] -- CMD…");
  const lane = values.lane === "scaled" || values.lane === "real" ? lanes[values.lane] : undefined;
  if (lane === undefined) throw new UsageError(`--lane is scaled or real, not "${values.lane}"`);
  const reporter = values.reporter?.split(",") ?? (values.out === undefined ? ["pretty"] : [...reporters]);
  const unknown = reporter.find((name) => !(reporters as readonly string[]).includes(name));
  if (unknown !== undefined) throw new UsageError(`--reporter knows pretty, json, junit and html, not "${unknown}"`);
  const { selected, skipped } = select(values.contract, values.run, values.skip);
  if (selected.length === 0) throw new UsageError(`--run and --skip leave no check over`);
  const excuses = values.expected === undefined ? new Map<string, string>() : excusesOf(values.expected);
  for (const id of excuses.keys())
    if (!cases.some(({ checks }) => checks.includes(id)))
      throw new UsageError(`${values.expected!} excuses ${id}, which is no check`);

  const quiet = !reporter.includes("pretty");
  const seed = whole("seed", values.seed);
  endOnSignal();
  const began = performance.now();
  let done = 0;
  const found = await runCases(selected, (given) => new Process({ file, args: rest }, environmentOf(given)), {
    lane,
    seed,
    atOnce:
      values["at-once"] === undefined
        ? lane.name === "real"
          ? selected.length
          : 6
        : Math.max(1, whole("at-once", values["at-once"])),
    onPlayed: ({ played, findings, ms }, again) => {
      if (!again) done++;
      if (quiet) return;
      const bad = findings.filter(({ verdict }) => verdict !== "pass").map(({ id, verdict }) => `${id} ${verdict}`);
      process.stderr.write(
        `${again ? "again" : `${done}/${selected.length}`} ${played.name} ${ms} ms${bad.length === 0 ? "" : `: ${bad.join(", ")}`}\n`,
      );
    },
  });
  const wanted = new Set(selected.flatMap(({ checks }) => checks).filter((id) => !skipped.has(id)));
  const outcomes = found.outcomes.filter(({ id }) => wanted.has(id));
  const report = reportOf(
    { suite: version(), client: positionals.join(" "), contract: values.contract, lane: lane.name, seed },
    { ...found, outcomes },
    skipped,
    excuses,
  );
  const replay = (result: Result): string =>
    `openws-conformance run${values.contract ? " --contract" : ""} --lane ${lane.name} --seed ${seed} --run ${result.case ?? result.id} -- ${positionals.join(" ")}`;
  tell(report, reporter, values.out, replay);
  if (!quiet) process.stderr.write(`${selected.length} cases, ${((performance.now() - began) / 1_000).toFixed(1)} s\n`);
  return exitCode(report, values.strict);
}

/** The cases to play, and why checks are left out. A check that one of several of its cases judges is not left out. */
export const select = (
  contract: boolean,
  only: string | undefined,
  not: string | undefined,
): { selected: Case[]; skipped: Map<string, string> } => {
  const skipped = new Map<string, string>();
  const wanted = new Set<string>();
  const selected = cases.filter((played) => {
    let plays = false;
    for (const id of played.checks) {
      const matches = (glob: string): boolean => globMatches(glob, id) || globMatches(glob, played.name);
      const reason =
        played.contract === true && !contract
          ? "needs a bot that keeps the echo contract (--contract)"
          : (only !== undefined && !matches(only)) || (not !== undefined && matches(not))
            ? "not asked for (--run, --skip)"
            : undefined;
      if (reason === undefined) {
        wanted.add(id);
        plays = true;
      } else skipped.set(id, reason);
    }
    return plays;
  });
  for (const id of wanted) skipped.delete(id);
  return { selected, skipped };
};

function excusesOf(file: string): Map<string, string> {
  try {
    return readExcuses(readFileSync(file, "utf8"));
  } catch (error) {
    throw new UsageError(`${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function tell(
  report: Report,
  reporter: readonly string[],
  out: string | undefined,
  replay: (result: Result) => string,
): void {
  const json = `${JSON.stringify(report, undefined, 2)}\n`;
  if (out !== undefined) {
    mkdirSync(out, { recursive: true });
    if (reporter.includes("json")) writeFileSync(join(out, "report.json"), json);
    if (reporter.includes("junit")) writeFileSync(join(out, "junit.xml"), junit(report));
    if (reporter.includes("html")) writeFileSync(join(out, "report.html"), html(report));
  }
  if (reporter.includes("pretty")) process.stdout.write(pretty(report, replay));
  else if (out === undefined) {
    if (reporter.includes("json")) process.stdout.write(json);
    else if (reporter.includes("junit")) process.stdout.write(junit(report));
    else process.stdout.write(html(report));
  }
}
