/**
 * `openws-conformance run … -- CMD`: judges a client, tells what it found, and writes the reports.
 *
 * Exit codes: see `exitCode` of report.ts; 2 for wrong usage.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { judgeClient, UsageError, type Subject } from "../main.ts";
import { badge, badgeSvg, exitCode, github, html, junit, pretty, readExcuses, type Report } from "../report.ts";
import { compileOnce, endOnSignal, whole } from "./process.ts";

/** Shown by `run --help`. */
export const runHelp = `openws-conformance run: judges a client by what it does on the wire

Usage: openws-conformance run [options] -- CMD…

In the observe tier CMD is any command that starts a bot which reads WECOM_BOT_ID, WECOM_BOT_SECRET and WECOM_BOT_WS_URL and answers text
messages; it is started once for each case. A bot that also reads WECOM_HEARTBEAT_MS, WECOM_ACK_MS and WECOM_BACKOFF_BASE_MS,
and lets its other durations follow from these, is judged in one minute instead of six. In the testee tier CMD speaks the
testee protocol (TESTEE.md), and its words are asked for as well.

  --tier TIER       observe (the default) or testee
  --contract        the bot keeps the echo contract (docs/conformance.md): more checks
  --lane LANE       scaled (a twentieth of all durations) or real (production durations, about six minutes); by default
                    scaled for a client that takes its durations, and real for one that does not
  --strict          a failed SHOULD and a flaky check count, too
  --run GLOB        only the checks or cases that match, such as AUTH-* or kick/*; a comma separates several
  --skip GLOB       not these
  --long            also what takes longer than a run may: a stream of ten minutes, a hundred thousand messages
  --expected FILE   what is excused, "ID: reason" a line; an excuse that is no longer needed fails
  --seed N          the seed of the gateway's chance (default 1)
  --runs N          instead of the cases, N random histories: users, faults, cuts and kicks, judged by rules that always hold
  --path PATH       with --runs 1: the smaller history of that seed, as a failure's replay line says
  --at-once N       how many cases at once (default 16; in the real lane all)
  --out DIR         write report.json, junit.xml and report.html there
  --reporter LIST   which of pretty, json, junit, html, github (default pretty, with --out pretty and the files, and within
                    GitHub Actions github, too); json alone prints the report
  --badge FILE      write a badge there: an SVG, or with the ending .json what shields.io takes from an endpoint
  --client NAME     the client's name in the report

Exit codes: 0 conformant, 1 not, 2 wrong usage, 3 the client did not start, 4 the suite itself failed.
`;

/** Said where nobody asked for the real lane. */
const ownDurations =
  "The client was told to ping every 1.5 s (WECOM_HEARTBEAT_MS) and did not ping twice in 6 s: it has durations of its own, or it\n" +
  "does not ping. It is judged by those of production, the real lane, about six minutes; --lane scaled judges it in one.\n";

const reporters = ["pretty", "json", "junit", "html", "github"] as const;
const usual = ["pretty", ...(process.env["GITHUB_ACTIONS"] === "true" ? ["github"] : [])];

/** Runs the sub-command. Returns the exit code; throws what parseArgs throws, and `UsageError`. */
export async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      tier: { type: "string", default: "observe" },
      contract: { type: "boolean", default: false },
      lane: { type: "string" },
      strict: { type: "boolean", default: false },
      run: { type: "string" },
      skip: { type: "string" },
      expected: { type: "string" },
      long: { type: "boolean", default: false },
      seed: { type: "string", default: "1" },
      "at-once": { type: "string" },
      runs: { type: "string" },
      path: { type: "string" },
      out: { type: "string" },
      reporter: { type: "string" },
      badge: { type: "string" },
      client: { type: "string" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) {
    process.stdout.write(runHelp);
    return 0;
  }
  const [file, ...rest] = positionals;
  if (file === undefined) throw new UsageError("run needs a command to judge: run [options] -- CMD…");
  const { lane, tier } = values;
  if (lane !== undefined && lane !== "scaled" && lane !== "real")
    throw new UsageError(`--lane is scaled or real, not "${lane}"`);
  if (tier !== "observe" && tier !== "testee") throw new UsageError(`--tier is observe or testee, not "${tier}"`);
  const reporter =
    values.reporter?.split(",") ?? (values.out === undefined ? usual : [...usual, "json", "junit", "html"]);
  const unknown = reporter.find((name) => !(reporters as readonly string[]).includes(name));
  if (unknown !== undefined) throw new UsageError(`--reporter knows ${reporters.join(", ")}, not "${unknown}"`);
  const excuses = values.expected === undefined ? new Map<string, string>() : excusesOf(values.expected);
  const quiet = !reporter.includes("pretty");
  const seed = whole("seed", values.seed);
  if (values.path !== undefined && values.runs !== "1") throw new UsageError("--path goes with --runs 1");
  const command = { file, args: rest };
  const subject: Subject = tier === "testee" ? { tier, command } : { tier, command, contract: values.contract };
  endOnSignal();
  compileOnce();
  const began = performance.now();
  let done = 0;
  let all = 0;
  const report = await judgeClient(subject, {
    lane,
    long: values.long,
    run: values.run,
    skip: values.skip,
    excuses,
    seed,
    client: values.client,
    runs: values.runs === undefined ? undefined : Math.max(1, whole("runs", values.runs)),
    path: values.path,
    onFailure: (text) => {
      if (!quiet) process.stdout.write(`${text}\n`);
    },
    atOnce: values["at-once"] === undefined ? undefined : Math.max(1, whole("at-once", values["at-once"])),
    onStart: (count, fitting) => {
      all = count;
      if (lane === undefined && fitting === "real" && !quiet) process.stderr.write(ownDurations);
    },
    onPlayed: ({ played, findings, ms }, again) => {
      if (!again) done++;
      if (quiet) return;
      const bad = findings
        .filter(({ verdict }) => verdict !== "pass" && (values.runs === undefined || verdict !== "skipped"))
        .map(({ id, verdict }) => `${id} ${verdict}`);
      process.stderr.write(
        `${again ? "again" : `${done}/${all}`} ${played.name} ${ms} ms${bad.length === 0 ? "" : `: ${bad.join(", ")}`}\n`,
      );
    },
  });
  tell(report, reporter, values.out);
  if (reporter.includes("github")) process.stdout.write(github(report, values.strict));
  if (values.badge !== undefined)
    writeFileSync(
      values.badge,
      values.badge.endsWith(".json") ? `${JSON.stringify(badge(report))}\n` : badgeSvg(report),
    );
  if (!quiet)
    process.stderr.write(
      `${done} ${values.runs === undefined ? "cases" : "histories"}, ${((performance.now() - began) / 1_000).toFixed(1)} s\n`,
    );
  return exitCode(report, values.strict);
}

function excusesOf(file: string): Map<string, string> {
  try {
    return readExcuses(readFileSync(file, "utf8"));
  } catch (error) {
    throw new UsageError(`${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function tell(report: Report, reporter: readonly string[], out: string | undefined): void {
  const json = `${JSON.stringify(report, undefined, 2)}\n`;
  if (out !== undefined) {
    mkdirSync(out, { recursive: true });
    if (reporter.includes("json")) writeFileSync(join(out, "report.json"), json);
    if (reporter.includes("junit")) writeFileSync(join(out, "junit.xml"), junit(report));
    if (reporter.includes("html")) writeFileSync(join(out, "report.html"), html(report));
  }
  if (reporter.includes("pretty")) process.stdout.write(pretty(report));
  else if (out === undefined) {
    if (reporter.includes("json")) process.stdout.write(json);
    else if (reporter.includes("junit")) process.stdout.write(junit(report));
    else if (reporter.includes("html")) process.stdout.write(html(report));
  }
}
