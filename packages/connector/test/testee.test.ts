/**
 * The connector's testee, in the suite's hands: within this process, and as a program. A sample of each topic; the whole of it is
 * the lane `conformance`.
 */
import { fileURLToPath } from "node:url";
import { judgeClient, runConformance, type Report } from "@openws/conformance";
import { expect, it } from "vitest";
import { testee } from "../src/testee.ts";

const unkept = ({ results }: Report): string[] =>
  results
    .filter(({ verdict }) => verdict !== "pass" && verdict !== "skipped" && verdict !== "flaky")
    .map(({ id, verdict, message }) => `${id} ${verdict}: ${message}`);

it(
  "tells within the process what messages hold, what became of sends, and how the line is",
  { timeout: 120_000 },
  async () => {
    const run = "AUTH-1,AUTH-6a,IN-10a,IN-11,IN-16,EVENT-3,KICK-1a,MEDIA-1,MEDIA-2b,PUSH-3a,STREAM-1a,UPLOAD-1a";
    const report = await runConformance({ testee, run, atOnce: 4 });
    expect(unkept(report)).toEqual([]);
    expect(report).toMatchObject({ client: "@openws/connector", tier: "testee", harness: [] });
    expect(report.summary.pass).toBeGreaterThanOrEqual(run.split(",").length);
  },
);

it("speaks the testee protocol as a program", { timeout: 60_000 }, async () => {
  const file = fileURLToPath(new URL("../src/testee.ts", import.meta.url));
  const report = await judgeClient(
    { tier: "testee", command: { file: process.execPath, args: [file] } },
    { run: "AUTH-1,AUTH-6a,MEDIA-1" },
  );
  expect(unkept(report)).toEqual([]);
  expect(report.notStarted).toBeUndefined();
});
