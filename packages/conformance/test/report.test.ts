/** What becomes of outcomes: verdicts, exit codes, and the forms in which they are told. */
import { describe, expect, it } from "vitest";
import { htmlMatrix, joined, markdownMatrix, prettyMatrix, readReport } from "../src/matrix.ts";
import {
  badge,
  badgeSvg,
  exitCode,
  github,
  html,
  junit,
  pretty,
  readExcuses,
  reportOf,
  type Report,
} from "../src/report.ts";
import type { Outcome, Run } from "../src/runner.ts";

const head = {
  suite: "1.2.3",
  client: "my-bot --flag",
  command: "my-bot --flag",
  tier: "observe" as const,
  contract: false,
  lane: "scaled",
  seed: 7,
};
const none = new Map<string, string>();

const outcome = (id: string, verdict: Outcome["verdict"], message = "seen so"): Outcome => ({
  id,
  verdict,
  message,
  ms: 12,
  evidence: [{ atMs: 3, connection: 1, dir: "in", text: '{"cmd":"<ping>"}\u0000' }],
  case: "topic/case",
});

const report = (outcomes: Outcome[], more: Partial<Run> = {}, skipped = none, excuses = none): Report =>
  reportOf(head, { outcomes, harness: [], ...more }, skipped, excuses);

describe("the exit code", () => {
  it("is 0 when all pass, and skipped ones do not count", () => {
    expect(exitCode(report([outcome("AUTH-1", "pass")], {}, new Map([["IN-5", "not asked for"]])), true)).toBe(0);
  });

  it("is 1 for a failed MUST, and for what could not be tested", () => {
    expect(exitCode(report([outcome("AUTH-1", "fail")]), false)).toBe(1);
    expect(exitCode(report([outcome("AUTH-3b", "untested")]), false)).toBe(1);
  });

  it("minds a failed SHOULD and a flaky check only when it is strict", () => {
    for (const one of [outcome("AUTH-3b", "fail"), outcome("AUTH-3a", "flaky")]) {
      expect(exitCode(report([one]), false)).toBe(0);
      expect(exitCode(report([one]), true)).toBe(1);
    }
  });

  it("is 3 when the client did not start, and 4 when the harness failed, whatever else there is", () => {
    expect(exitCode(report([], { notStarted: "it opened no connection" }), false)).toBe(3);
    expect(exitCode(report([outcome("AUTH-1", "fail")], { harness: ["boom"] }), false)).toBe(4);
  });
});

describe("an excuse", () => {
  const excuses = readExcuses('# known\nAUTH-1: "issue 12"   # soon\n\nIN-7b: never mind\n');

  it("turns a failure into excused, and fails itself once it is no longer needed", () => {
    const { results } = report([outcome("AUTH-1", "fail"), outcome("IN-7b", "pass")], {}, none, excuses);
    expect(results.map(({ id, verdict }) => [id, verdict])).toEqual([
      ["AUTH-1", "excused"],
      ["IN-7b", "fail"],
    ]);
    expect(results[0]?.message).toContain("issue 12");
    expect(results[1]?.message).toContain("has to go");
  });

  it("that is stale makes the run fail, whatever the level of its check", () => {
    expect(exitCode(report([outcome("IN-7b", "pass")], {}, none, excuses), false)).toBe(1);
  });

  it("must say why, once", () => {
    expect(() => readExcuses("AUTH-1")).toThrow("line 1");
    expect(() => readExcuses("AUTH-1: a\nAUTH-1: b")).toThrow("line 2");
  });
});

describe("a report", () => {
  const one = report(
    [outcome("AUTH-1", "pass"), outcome("AUTH-3b", "fail"), outcome("IN-5", "fail", 'with "quotes" & <tags>')],
    {},
    new Map([["BEAT-1", "not asked for"]]),
  );

  it("has the members that scripts read", () => {
    expect(one).toMatchObject({
      schema: 1,
      suite: "1.2.3",
      spec: 1,
      client: "my-bot --flag",
      tier: "observe",
      lane: "scaled",
      seed: 7,
      summary: { pass: 1, fail: 2, flaky: 0, untested: 0, skipped: 1, excused: 0 },
    });
    expect(one.results[0]).toMatchObject({ id: "AUTH-1", behaviour: 1, level: "MUST", verdict: "pass", ms: 12 });
    expect(one.results[0]?.requirement).toContain("first frame");
  });

  it("is told with the failures, their wire log, and how to see each again", () => {
    const text = pretty(one);
    expect(text).toContain("FAIL IN-5 (MUST)");
    expect(text).toContain("WARN AUTH-3b (SHOULD)");
    expect(text).toContain("client → gateway");
    expect(text).toContain("again: openws-conformance run --lane scaled --seed 7 --run topic/case -- my-bot --flag");
    expect(text).not.toContain("pass AUTH-1");
    expect(text.trimEnd().split("\n").at(-1)).toBe("1 pass, 2 fail, 1 skipped");
  });

  it("is JUnit in which nothing that the client sent breaks the document", () => {
    const text = junit(one);
    expect(text).toContain('tests="4" failures="2" errors="0" skipped="1"');
    expect(text).toContain("&quot;quotes&quot; &amp; &lt;tags&gt;");
    expect(text).toContain("{&quot;cmd&quot;:&quot;&lt;ping&gt;&quot;}\ufffd");
    expect(junit(report([], { harness: ["boom\nat x"] }))).toContain('<error message="boom">');
  });

  it("is one page that loads nothing and runs nothing", () => {
    const text = html(one);
    expect(text).toContain('<details id="IN-5" class="fail" open>');
    expect(text).toContain("&lt;ping&gt;");
    expect(text).not.toMatch(/<script|<link|src=|@import|url\(/);
  });
});

describe("GitHub's annotations", () => {
  it("are errors for what fails the run and warnings for the rest, each in a line of its own", () => {
    const one = report([
      outcome("AUTH-1", "fail", "50% of it,\nand more"),
      outcome("AUTH-3b", "fail"),
      outcome("IN-5", "pass"),
    ]);
    const lines = github(one, false).trimEnd().split("\n");
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/^::error title=AUTH-1 \(MUST\) fail::/);
    expect(lines[0]).toContain("50%25 of it,%0Aand more");
    expect(lines[1]).toMatch(/^::warning title=AUTH-3b/);
    expect(lines[2]).toBe("::notice title=Conformance of my-bot --flag::1 pass, 2 fail");
    expect(github(one, true)).toMatch(/^::error title=AUTH-3b/m);
  });

  it("say that a client did not start", () => {
    expect(github(report([], { notStarted: "no such file" }), false)).toMatch(
      /^::error title=The client did not start::no such file$/m,
    );
  });
});

describe("the badge", () => {
  it("counts what was judged, and is red where a MUST failed", () => {
    const skipped = new Map([["BEAT-1", "not asked for"]]);
    expect(badge(report([outcome("AUTH-1", "pass")], {}, skipped))).toEqual({
      schemaVersion: 1,
      label: "WeCom conformance",
      message: "1 of 1",
      color: "brightgreen",
    });
    expect(badge(report([outcome("AUTH-1", "fail")]))).toMatchObject({ message: "0 of 1", color: "red" });
    expect(badge(report([outcome("AUTH-1", "pass"), outcome("AUTH-3b", "fail")]))).toMatchObject({
      color: "yellowgreen",
    });
    expect(badge(report([], { notStarted: "no" }))).toMatchObject({ message: "not judged" });
  });

  it("is a picture that loads nothing", () => {
    const svg = badgeSvg(report([outcome("AUTH-1", "pass")]));
    expect(svg).toContain("WeCom conformance: 1 of 1");
    expect(svg).not.toMatch(/href|<script/);
  });
});

describe("a matrix of several reports", () => {
  const one = report([outcome("AUTH-1", "pass"), outcome("IN-5", "fail", "a | b <c>")]);
  const other: Report = {
    ...report([outcome("AUTH-1", "pass")], {}, new Map([["IN-5", "not asked"]])),
    client: "other",
  };

  it("shows in a terminal what not every client keeps", () => {
    const text = prettyMatrix([one, other]);
    expect(text).toMatch(/^IN-5 +MUST +✗ {2}·/m);
    expect(text).not.toContain("AUTH-1 ");
    expect(text).toContain("2  other");
  });

  it("is Markdown with every check, and each finding, to which its mark leads, with the command that shows it again", () => {
    const text = markdownMatrix([one, other]);
    expect(text).toMatch(/^\| AUTH-1 \| MUST \| ✓ \| ✓ \|/m);
    expect(text).toMatch(/^\| IN-5 \| MUST \| \[✗\]\(#1-in-5\) \| · \|/m);
    expect(text).toContain('* <a id="1-in-5"></a>**IN-5** (MUST, fail): a \\| b &lt;c>.');
    expect(text).toContain("--run topic/case -- my-bot --flag");
  });

  it("is one page that loads nothing, in which each mark of a finding leads to it", () => {
    const text = htmlMatrix([one, other]);
    expect(text).toContain('<a href="#0-IN-5">');
    expect(text).toContain('<section id="0-IN-5">');
    expect(text).not.toMatch(/<script|<link|src=|@import|url\(/);
  });

  it("joins the parts of a run of one client, of which what was judged last counts", () => {
    const again = report([outcome("IN-5", "pass")], {}, new Map([["AUTH-1", "not asked for"]]));
    const all = joined([one, other, again]);
    expect(all.map(({ client }) => client)).toEqual([one.client, "other"]);
    expect(all[0]?.results.map(({ id, verdict }) => [id, verdict])).toEqual([
      ["AUTH-1", "pass"],
      ["IN-5", "pass"],
    ]);
    expect(all[0]?.summary).toMatchObject({ pass: 2, fail: 0, skipped: 0 });
  });

  it("takes nothing that is no report", () => {
    expect(readReport(JSON.stringify(one))).toEqual(one);
    for (const text of ["{}", "null", '{"schema":2,"client":"x","results":[]}'])
      expect(() => readReport(text)).toThrow("no report of this suite");
  });
});
