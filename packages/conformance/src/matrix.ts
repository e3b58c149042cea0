/**
 * Several reports as one matrix: a column a client, a row a check. Made from reports alone, as text, Markdown and one HTML page.
 *
 * What a client was not asked counts for nothing: it is neither for it nor against it.
 */
import { requirementOf, type Verdict } from "./check.ts";
import { columns } from "./diagram.ts";
import { countsText, lineText, replayOf, xml, type Report, type Result } from "./report.ts";
import { requirements } from "./requirements.ts";

/** A row of the matrix. */
interface Row {
  readonly id: string;
  readonly level: string;
  readonly requirement: string;
  /** In the order of the reports; undefined where a report does not know the check. */
  readonly results: readonly (Result | undefined)[];
}

const marks: Readonly<Record<Verdict, string>> = {
  pass: "✓",
  fail: "✗",
  flaky: "~",
  untested: "?",
  skipped: "·",
  excused: "e",
};

/** What the marks mean, in a line. */
export const legend = "✓ kept · ✗ not kept · ~ kept when tried again · ? could not be tried · · not asked · e excused";

/** Reads a report. Throws a `SyntaxError` that says what is wrong with it. */
export const readReport = (text: string): Report => {
  const json = JSON.parse(text) as Partial<Report> | null;
  if (json?.schema !== 1 || !Array.isArray(json.results) || typeof json.client !== "string")
    throw new SyntaxError("it is no report of this suite (report.json, schema 1)");
  return json as Report;
};

/**
 * Several reports of one client, in one tier and lane, as one: a run in parts, or a part of it repeated. Of each check counts what
 * was judged last; what a later report was not asked says nothing.
 */
export const joined = (reports: readonly Report[]): Report[] => {
  const groups = Map.groupBy(reports, ({ client, tier, lane }) => JSON.stringify([client, tier, lane]));
  return [...groups.values()].map((parts) => {
    const results = new Map<string, Result>();
    for (const result of parts.flatMap((part) => part.results))
      if (result.verdict !== "skipped" || !results.has(result.id)) results.set(result.id, result);
    const summary = { pass: 0, fail: 0, flaky: 0, untested: 0, skipped: 0, excused: 0 };
    for (const { verdict } of results.values()) summary[verdict]++;
    return {
      ...parts.at(-1)!,
      results: [...results.values()],
      summary,
      harness: parts.flatMap(({ harness }) => harness),
    };
  });
};

const rowsOf = (reports: readonly Report[]): Row[] =>
  requirements.flatMap(({ id, level, sentence }) => {
    const results = reports.map((report) => report.results.find((result) => result.id === id));
    return results.some((result) => result !== undefined) ? [{ id, level, requirement: sentence, results }] : [];
  });

const mark = (result: Result | undefined): string => (result === undefined ? marks.skipped : marks[result.verdict]);

/** How a report was made: tier, lane, suite. */
const how = ({ tier, contract, lane, suite, spec }: Report): string =>
  `${tier}${tier === "observe" && contract ? " with the echo contract" : ""}, ${lane}, suite ${suite}, requirements ${spec}`;

/** The matrix for a terminal: the checks that not all keep, and the counts. */
export const prettyMatrix = (reports: readonly Report[]): string => {
  const clients = reports.map((report, at) => `${at + 1}  ${report.client} (${how(report)}): ${standing(report)}`);
  const rows = rowsOf(reports)
    .filter(({ results }) => results.some((result) => result !== undefined && noteworthy(result)))
    .map(
      ({ id, level, results, requirement }) =>
        `${id.padEnd(11)} ${level.padEnd(6)}  ${results.map(mark).join("  ")}  ${requirement}`,
    );
  const head = `${" ".repeat(20)}${reports.map((_report, at) => String(at + 1)).join("  ")}`;
  return [...clients, "", head, ...rows, "", legend, ""].join("\n");
};

const standing = (report: Report): string =>
  report.notStarted === undefined ? countsText(report) : `did not start: ${report.notStarted.split("\n")[0] ?? ""}`;

const noteworthy = ({ verdict }: Result): boolean => verdict !== "pass" && verdict !== "skipped";

/** The matrix for documentation: the clients, the checks by topic, then each finding with its evidence. */
export const markdownMatrix = (reports: readonly Report[]): string => {
  const clients = reports.map(
    (report, at) =>
      `| ${at + 1} | ${cell(report.client)} | ${how(report)} | ${report.summary.pass} | ${failed(report, "MUST")} | ${failed(report, "SHOULD")} | ${report.summary.flaky} | ${report.summary.untested} | ${report.summary.skipped} |`,
  );
  const topics = Map.groupBy(rowsOf(reports), ({ id }) => id.replace(/-.*/, ""));
  const numbers = reports.map((_report, at) => `${at + 1} |`).join(" ");
  const tables = [...topics].flatMap(([topic, rows]) => [
    `### ${topic}`,
    "",
    `| check | level | ${numbers} requirement |`,
    `| --- | --- | ${reports.map(() => ":-: |").join(" ")} --- |`,
    ...rows.map(
      ({ id, level, results, requirement }) =>
        `| ${id} | ${level} | ${results.map((result, at) => `${linkedMark(result, at)} |`).join(" ")} ${cell(requirement)} |`,
    ),
    "",
  ]);
  const findings = reports.flatMap((report, at) => {
    const found = report.results.filter(noteworthy);
    if (found.length === 0) return [];
    return [`### ${report.client}`, "", ...found.flatMap((result) => findingOf(report, result, at)), ""];
  });
  return [
    "| | client | judged | kept | MUST failed | SHOULD failed | flaky | untested | not asked |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ...clients,
    "",
    `${legend}.`,
    "",
    "## Checks",
    "",
    ...tables,
    "## Findings",
    "",
    ...findings,
  ].join("\n");
};

const failed = ({ results }: Report, of: string): number =>
  results.filter(({ verdict, level }) => verdict === "fail" && level === of).length;

/** Where a finding stands on the page. */
const anchorOf = ({ id }: Result, at: number): string => `${at + 1}-${id.toLowerCase()}`;

const linkedMark = (result: Result | undefined, at: number): string =>
  result !== undefined && noteworthy(result) ? `[${mark(result)}](#${anchorOf(result, at)})` : mark(result);

const findingOf = (report: Report, result: Result, at: number): string[] => {
  const { id, level, verdict, message, evidence } = result;
  const replay = replayOf(report, result);
  return [
    `* <a id="${anchorOf(result, at)}"></a>**${id}** (${level}, ${verdict}): ${cell(message.split("\n")[0]!.replace(/[;,]? it said last:$/, ""))}.`,
    ...(evidence.length === 0 && replay === undefined
      ? []
      : [
          "",
          "  ```",
          ...(replay === undefined ? [] : [`  ${replay}`]),
          ...evidence.slice(0, 4).map((line) => `  ${lineText(line).trim().slice(0, 220)}`),
          "  ```",
          "",
        ]),
  ];
};

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("<", "&lt;");

/** The matrix as one page that needs nothing else; each mark of a finding leads to it. */
export const htmlMatrix = (reports: readonly Report[]): string => {
  const head = reports.map(
    (report) => `<th>${xml(report.client)}<br><small>${xml(how(report))}<br>${xml(standing(report))}</small></th>`,
  );
  const rows = rowsOf(reports).map(({ id, level, requirement, results }) => {
    const cells = results.map((result, at) => {
      const verdict = result?.verdict ?? "skipped";
      const text =
        result !== undefined && noteworthy(result) ? `<a href="#${at}-${xml(id)}">${mark(result)}</a>` : mark(result);
      return `<td class="${verdict}" title="${xml(result?.message ?? "not asked")}">${text}</td>`;
    });
    return `<tr><th title="${xml(requirementOf(id).source)}">${xml(id)} <small>${level}</small></th>${cells.join("")}<td>${xml(requirement)}</td></tr>`;
  });
  const findings = reports.flatMap((report, at) =>
    report.results.filter(noteworthy).map((result) => {
      const wire = columns(result.evidence).join("\n");
      const replay = replayOf(report, result);
      return `<section id="${at}-${xml(result.id)}"><h3>${xml(result.id)}: ${xml(report.client)}</h3><p>${xml(result.requirement)}</p><p><b>${result.verdict}</b> ${xml(result.message)}</p>${wire === "" ? "" : `<pre>${xml(wire)}</pre>`}${replay === undefined ? "" : `<p><code>${xml(replay)}</code></p>`}</section>`;
    }),
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Conformance matrix</title><style>
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:80rem;padding:0 1rem}
table{border-collapse:collapse}td,th{padding:.2rem .5rem;border-bottom:1px solid #8884;text-align:left;vertical-align:top}
thead th{position:sticky;top:0;background:Canvas}td a{color:inherit;font-weight:bold}
td.pass{color:#1a7f37}td.fail,td.untested{background:#b6232433}td.flaky,td.excused{background:#9a670033}
pre{overflow:auto;font-size:12px}
</style></head><body><h1>Conformance matrix</h1><p>${legend}</p>
<table><thead><tr><th>check</th>${head.join("")}<th>requirement</th></tr></thead><tbody>
${rows.join("\n")}
</tbody></table><h2>Findings</h2>
${findings.join("\n")}
</body></html>
`;
};
