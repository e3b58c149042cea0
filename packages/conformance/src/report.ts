/**
 * From outcomes to a report, and from a report to what people and machines read: pretty text, JUnit, HTML, an exit code.
 *
 * `report.json` is the truth; the other forms are made from it alone. Nothing here knows processes or files.
 */
import { requirementOf, type Line, type Requirement, type Verdict } from "./check.ts";
import { columns } from "./diagram.ts";
import { specVersion } from "./requirements.ts";
import type { Run } from "./runner.ts";

/** What a run came to, as `report.json` holds it. */
export interface Report {
  readonly schema: 1;
  /** The version of this package. */
  readonly suite: string;
  /** The version of spec/requirements.yaml. */
  readonly spec: number;
  readonly client: string;
  /** How it is started; none for a testee within the process. */
  readonly command?: string;
  readonly tier: "observe" | "testee";
  readonly contract: boolean;
  readonly lane: string;
  readonly seed: number;
  readonly results: readonly Result[];
  readonly summary: Readonly<Record<Verdict, number>>;
  /** Set where the client never opened a connection. */
  readonly notStarted?: string;
  /** Failures of the harness itself; with any of these nothing else counts. */
  readonly harness: readonly string[];
}

/** One check. */
export interface Result {
  readonly id: string;
  /** The requirement's sentence. */
  readonly requirement: string;
  readonly behaviour?: number;
  readonly level: Requirement["level"];
  readonly verdict: Verdict;
  readonly message: string;
  /** Set where it is excused and passes: that counts whatever its level. */
  readonly stale?: true;
  /** The case that decided; none where it was skipped. */
  readonly case?: string;
  /** The command that shows it again, where `--run CASE` would not. */
  readonly replay?: string;
  /** How long that case took. */
  readonly ms: number;
  readonly evidence: readonly Line[];
}

/** What the report says besides the outcomes. */
export interface ReportHead {
  readonly suite: string;
  readonly client: string;
  readonly command?: string | undefined;
  readonly tier: Report["tier"];
  readonly contract: boolean;
  readonly lane: string;
  readonly seed: number;
}

/** Joins what was found, what was left out (id to reason) and what is excused (id to reason). */
export const reportOf = (
  head: ReportHead,
  run: Run,
  skipped: ReadonlyMap<string, string>,
  excuses: ReadonlyMap<string, string>,
): Report => {
  const found = run.outcomes.map((outcome): Result => {
    const excuse = excuses.get(outcome.id);
    const { id, message, ms, evidence } = outcome;
    const { replay } = outcome;
    const row = {
      ...about(id),
      message,
      case: outcome.case,
      ...(replay === undefined ? {} : { replay }),
      ms,
      evidence,
    };
    if (excuse === undefined) return { ...row, verdict: outcome.verdict };
    if (outcome.verdict === "pass")
      return {
        ...row,
        stale: true,
        verdict: "fail",
        message: `it is excused (${excuse}) and passes now: the excuse has to go`,
      };
    return { ...row, verdict: "excused", message: `${excuse}; ${message}` };
  });
  const left = [...skipped].map(([id, reason]): Result => ({
    ...about(id),
    verdict: "skipped",
    message: reason,
    ms: 0,
    evidence: [],
  }));
  const results = [...found, ...left];
  const summary = { pass: 0, fail: 0, flaky: 0, untested: 0, skipped: 0, excused: 0 };
  for (const { verdict } of results) summary[verdict]++;
  return {
    schema: 1,
    suite: head.suite,
    spec: specVersion,
    client: head.client,
    ...(head.command === undefined ? {} : { command: head.command }),
    tier: head.tier,
    contract: head.contract,
    lane: head.lane,
    seed: head.seed,
    results,
    summary,
    ...(run.notStarted === undefined ? {} : { notStarted: run.notStarted }),
    harness: run.harness,
  };
};

const about = (id: string): Pick<Result, "id" | "requirement" | "behaviour" | "level"> => {
  const { behaviour, level, sentence } = requirementOf(id);
  return { id, requirement: sentence, ...(behaviour === undefined ? {} : { behaviour }), level };
};

/**
 * The exit code of a run: 4 the harness failed · 3 the client did not start · 1 a MUST failed, or something could not be
 * tested, or with `strict` a SHOULD failed or a check was flaky · 0 otherwise.
 */
export const exitCode = ({ harness, notStarted, results }: Report, strict: boolean): 0 | 1 | 3 | 4 => {
  if (harness.length > 0) return 4;
  if (notStarted !== undefined) return 3;
  return results.some((result) => counts(result, strict)) ? 1 : 0;
};

/** Whether a result alone makes a run fail. */
const counts = ({ verdict, level, stale }: Result, strict: boolean): boolean =>
  verdict === "untested" ||
  stale === true ||
  (verdict === "fail" && (strict ? level !== "NOTE" : level === "MUST")) ||
  (strict && verdict === "flaky");

/** Reads a file of excuses: `ID: reason` a line, `#` begins a remark. Throws a `SyntaxError` that names the line. */
export const readExcuses = (text: string): Map<string, string> => {
  const excuses = new Map<string, string>();
  for (const [at, raw] of text.split("\n").entries()) {
    const row = raw.replace(/^\s*#.*|\s#.*$/, "").trim();
    if (row === "") continue;
    const [, id, reason] = /^([A-Z]+-\d+[a-z]?):\s*(\S.*)$/.exec(row) ?? [];
    if (id === undefined || reason === undefined)
      throw new SyntaxError(`line ${at + 1} must look like "AUTH-3b: why it may fail"`);
    if (excuses.has(id)) throw new SyntaxError(`line ${at + 1} excuses ${id} a second time`);
    excuses.set(id, reason.replace(/^(["'])(.*)\1$/, "$2"));
  }
  return excuses;
};

/** The command that plays the case of a result again; none where there is none. */
export const replayOf = (report: Report, result: Result): string | undefined => {
  if (result.replay !== undefined) return result.replay;
  if (report.command === undefined || result.case === undefined) return undefined;
  const how = report.tier === "testee" ? " --tier testee" : report.contract ? " --contract" : "";
  return `openws-conformance run${how} --lane ${report.lane} --seed ${report.seed} --run ${result.case} -- ${report.command}`;
};

/** What people read at the end of a run. */
export const pretty = (report: Report): string => {
  if (report.notStarted !== undefined) return `The client did not start: ${report.notStarted}\n`;
  const shown = report.results.filter(({ verdict }) => verdict !== "pass" && verdict !== "skipped");
  const blocks = shown.map((result) =>
    [
      `${label(result)} ${result.id} (${result.level}): ${result.requirement}`,
      `  ${result.message.replaceAll("\n", "\n  ")}`,
      ...result.evidence.map(lineText),
      ...again(report, result),
      "",
    ].join("\n"),
  );
  const skips = Map.groupBy(
    report.results.filter(({ verdict }) => verdict === "skipped"),
    ({ message }) => message,
  );
  const left = [...skips].map(([reason, results]) => `skipped ${results.length}: ${reason}`);
  return [...blocks, ...left, ...report.harness.map((problem) => `harness: ${problem}`), countsText(report), ""].join(
    "\n",
  );
};

/** The counts of the verdicts that there are, and always those of pass and fail. */
export const countsText = ({ summary }: Report): string =>
  Object.entries(summary)
    .filter(([verdict, count]) => count > 0 || verdict === "pass" || verdict === "fail")
    .map(([verdict, count]) => `${count} ${verdict}`)
    .join(", ");

const again = (report: Report, result: Result): string[] => {
  const line = replayOf(report, result);
  return line === undefined ? [] : [`  again: ${line}`];
};

const label = ({ verdict, level }: Result): string =>
  verdict === "fail" && level !== "MUST" ? "WARN" : verdict.toUpperCase();

const arrows = { in: "client → gateway", out: "gateway → client", socket: "socket" } as const;

/** One line of a wire log as text. */
export const lineText = ({ atMs, connection, dir, text }: Line): string =>
  `  ${String(atMs).padStart(7)} ms  #${connection}  ${arrows[dir].padEnd(16)}  ${text.length > 300 ? `${text.slice(0, 300)}…` : text}`;

/** JUnit: a failure is a client that does not conform, an error a harness that did not work. */
export const junit = (report: Report): string => {
  const failed = ({ verdict }: Result): boolean => verdict === "fail" || verdict === "untested";
  const cases = report.results.map((result) => {
    const { id, requirement, verdict, message, ms, evidence } = result;
    const head = `    <testcase classname="${xml(id.replace(/-.*/, ""))}" name="${xml(`${id} ${requirement}`)}" time="${(ms / 1_000).toFixed(3)}"`;
    const wire = evidence.length === 0 ? "" : `\n${evidence.map(lineText).join("\n")}\n`;
    if (failed(result))
      return `${head}><failure message="${xml(message)}" type="${verdict} ${result.level}">${xml(wire)}</failure></testcase>`;
    if (verdict === "skipped" || verdict === "excused")
      return `${head}><skipped message="${xml(message)}"/></testcase>`;
    return `${head}/>`;
  });
  const errors = report.harness.map(
    (problem) =>
      `    <testcase classname="harness" name="harness"><error message="${xml(problem.split("\n")[0] ?? "")}">${xml(problem)}</error></testcase>`,
  );
  const failures = report.results.filter(failed).length;
  const skips = report.summary.skipped + report.summary.excused;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites><testsuite name="${xml(`openws-conformance ${report.lane}`)}" tests="${cases.length + errors.length}" failures="${failures}" errors="${errors.length}" skipped="${skips}">`,
    ...cases,
    ...errors,
    "</testsuite></testsuites>",
    "",
  ].join("\n");
};

/**
 * Annotations of a GitHub Actions log: an error for what makes the run fail, a warning for what does not but should be known,
 * and the counts as a notice.
 */
export const github = (report: Report, strict: boolean): string => {
  const annotate = (kind: string, title: string, message: string): string =>
    `::${kind} title=${escaped(title).replaceAll(":", "%3A").replaceAll(",", "%2C")}::${escaped(message)}`;
  const lines = [
    ...(report.notStarted === undefined ? [] : [annotate("error", "The client did not start", report.notStarted)]),
    ...report.harness.map((problem) => annotate("error", "The suite itself failed", problem)),
    ...report.results
      .filter(({ verdict }) => verdict === "fail" || verdict === "untested" || verdict === "flaky")
      .map((result) => {
        const { id, level, verdict, requirement, message } = result;
        const line = [requirement, message, ...again(report, result)].join("\n");
        return annotate(counts(result, strict) ? "error" : "warning", `${id} (${level}) ${verdict}`, line);
      }),
    annotate("notice", `Conformance of ${report.client}`, countsText(report)),
  ];
  return `${lines.join("\n")}\n`;
};

/** As GitHub's workflow commands want it. */
const escaped = (text: string): string => text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");

/** A badge: what shields.io takes from an endpoint (document "Endpoint Badge"), which any page can be made of. */
export const badge = (report: Report): { schemaVersion: 1; label: string; message: string; color: string } => {
  const { pass, flaky, fail, untested, excused } = report.summary;
  const code = exitCode(report, false);
  const message = code >= 3 ? "not judged" : `${pass} of ${pass + flaky + fail + untested + excused}`;
  const color = code === 0 ? (fail + flaky === 0 ? "brightgreen" : "yellowgreen") : code === 1 ? "red" : "lightgrey";
  return { schemaVersion: 1, label: "WeCom conformance", message, color };
};

/** The badge as a picture that needs no service. */
export const badgeSvg = (report: Report): string => {
  const { label, message, color } = badge(report);
  // Verdana at 11 px is about 6.5 px a character.
  const [left, right] = [label, message].map((text) => Math.round(text.length * 6.5) + 12) as [number, number];
  const said = xml(`${label}: ${message}`);
  const colours: Record<string, string> = { brightgreen: "#1a7f37", yellowgreen: "#9a6700", red: "#b62324" };
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${left + right}" height="20" role="img" aria-label="${said}"><title>${said}</title><rect width="${left}" height="20" fill="#444"/><rect x="${left}" width="${right}" height="20" fill="${colours[color] ?? "#6e7781"}"/><g fill="#fff" text-anchor="middle" font-family="Verdana,sans-serif" font-size="11"><text x="${left / 2}" y="14">${xml(label)}</text><text x="${left + right / 2}" y="14">${xml(message)}</text></g></svg>
`;
};

/** One page that needs nothing else: the matrix, then each check with its wire log. */
export const html = (report: Report): string => {
  const rows = report.results.map((result) => {
    const { id, level, verdict, message, requirement, evidence } = result;
    const { source } = requirementOf(id);
    const wire = evidence.length === 0 ? "" : `<pre>${xml(columns(evidence).join("\n"))}</pre>`;
    const replay = replayOf(report, result);
    return (
      `<details id="${xml(id)}" class="${verdict}"${verdict === "pass" || verdict === "skipped" ? "" : " open"}>` +
      `<summary><b>${verdict}</b> ${xml(id)} <small>${level}</small> ${xml(requirement)}</summary>` +
      `<p>${xml(message)}</p>${wire}${replay === undefined ? "" : `<p><code>${xml(replay)}</code></p>`}` +
      `<p><small>${result.case === undefined ? "" : `${xml(result.case)}, ${result.ms} ms · `}${xml(source)}</small></p></details>`
    );
  });
  const cells = report.results
    .map(({ id, verdict }) => `<a class="${verdict}" href="#${xml(id)}">${xml(id)}</a>`)
    .join("");
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Conformance of ${xml(report.client)}</title><style>
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
nav{display:flex;flex-wrap:wrap;gap:2px}nav a{padding:2px 6px;color:#fff;text-decoration:none;font-size:12px}
nav .pass{background:#1a7f37}nav .fail,nav .untested{background:#b62324}nav .flaky,nav .excused{background:#9a6700}nav .skipped{background:#6e7781}
details{border-left:4px solid #6e7781;padding:.3rem .8rem;margin:.4rem 0}details.pass{border-color:#1a7f37}details.fail,details.untested{border-color:#b62324}
details.flaky,details.excused{border-color:#9a6700}pre{overflow:auto;font-size:12px}summary{cursor:pointer}
</style></head><body><h1>Conformance of <code>${xml(report.client)}</code></h1>
<p>Suite ${xml(report.suite)}, requirements ${report.spec}, tier ${report.tier}${report.tier === "observe" && report.contract ? " with the echo contract" : ""}, lane ${xml(report.lane)}, seed ${report.seed}: ${countsText(report)}.</p>
${report.notStarted === undefined ? "" : `<p><b>The client did not start:</b> ${xml(report.notStarted)}</p>`}
<nav>${cells}</nav>
${rows.join("\n")}
</body></html>
`;
};

/** Escapes, and drops what XML cannot hold. */
export const xml = (text: string): string =>
  text
    // eslint-disable-next-line no-control-regex -- these are what XML cannot hold
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Surrogate}/gu, "\ufffd")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
