// The suite against a correct client in another language, written from TESTEE.md and spec/ alone: whatever fails there is a
// mistake of the suite, or of the two documents. `.ci/run python` makes the environment.
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { judgeClient, type Report, type Subject } from "@openws/conformance";

const program = (name: string): { readonly file: string; readonly args: readonly string[] } => ({
  file: process.env["OPENWS_PYTHON_REFERENCE"] ?? "python3",
  args: [fileURLToPath(new URL(`../../reference/${name}`, import.meta.url))],
});

const wrong = ({ results, harness, summary }: Report): readonly string[] => [
  ...results
    .filter(({ verdict }) => verdict === "fail" || verdict === "untested")
    .map(({ id, verdict, message }) => `${id} ${verdict}: ${message}`),
  ...harness,
  ...(summary.pass === undefined || summary.pass < 100 ? ["next to nothing was judged"] : []),
];

const subjects: readonly (readonly [string, Subject])[] = [
  ["testee", { tier: "testee", command: program("testee.py") }],
  ["bot", { tier: "observe", contract: true, command: program("bot.py") }],
];

for (const [name, subject] of subjects)
  it(`the reference ${name} passes everything`, { timeout: 150_000 }, async () => {
    const report = await judgeClient(subject, { lane: "scaled" });
    expect(wrong(report)).toEqual([]);
    const unasked = report.results.filter(({ verdict, message }) => verdict === "skipped" && /declare/.test(message));
    expect(unasked, "it declares all abilities").toEqual([]);
  });
