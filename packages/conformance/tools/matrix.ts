/**
 * docs/matrix.md, from real runs: `node packages/conformance/tools/matrix.ts` judges every client that is there, one after the
 * other, six to fourteen minutes each, and keeps the reports in reports/matrix. With files of reports as arguments
 * it judges nobody and makes the page of those.
 *
 * A client that needs an environment is left out where there is none: OPENWS_PYTHON_OFFICIAL, _COMMUNITY and _FRAMEWORK name
 * interpreters, as `.ci/run python` makes them; OPENWS_RUST_BOT the program of test/clients/rust.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { compileOnce } from "../src/cli/process.ts";
import { exitCode, judgeClient, type Report, type Subject } from "../src/index.ts";
import { joined, markdownMatrix, readReport } from "../src/matrix.ts";

const { env } = process;
const root = join(import.meta.dirname, "../../..");
const clients = "packages/conformance/test/clients";

/** A client: its name in the matrix, how it is judged, and where its program is if it is not on the PATH. */
interface Client {
  readonly name: string;
  readonly subject: Subject;
  readonly program?: string | undefined;
  readonly skip?: string;
}

const testee = (file: string, path: string): Subject => ({ tier: "testee", command: { file, args: [path] } });
const bot = (file: string, ...args: string[]): Subject => ({
  tier: "observe",
  contract: true,
  command: { file, args },
});

const all: readonly Client[] = [
  { name: "@openws/connector", subject: testee("node", "packages/connector/src/testee.ts"), program: process.execPath },
  {
    name: "@wecom/aibot-node-sdk 1.0.7",
    subject: testee("node", `${clients}/node_official_testee.ts`),
    program: process.execPath,
  },
  {
    name: "wecom-aibot-python-sdk 1.0.2",
    subject: bot("python", `${clients}/python_official.py`),
    program: env["OPENWS_PYTHON_OFFICIAL"],
    // It has no upload.
    skip: "uploads/*,UPLOAD-*",
  },
  {
    name: "wecom-aibot-sdk 1.0.8 (Python)",
    subject: bot("python", `${clients}/python_community.py`),
    program: env["OPENWS_PYTHON_COMMUNITY"],
  },
  {
    name: "wecom-ai-bot-ws-svr 0.1.0 (Python)",
    subject: bot("python", `${clients}/python_framework.py`),
    program: env["OPENWS_PYTHON_FRAMEWORK"],
  },
  { name: "wecom-aibot-rust-sdk 1.0.2", subject: bot("bot"), program: env["OPENWS_RUST_BOT"] },
];

const head = `# The matrix: clients judged

What the suite found about the clients that there are. Every column is a run of \`openws-conformance run\` against the client as its
registry hands it out, with the bot or testee in \`${clients}\` (our own: \`packages/connector/src/testee.ts\`);
[conformance.md](conformance.md) says how the suite judges, and \`openws-conformance explain ID\` the rule behind a check, its source
and its confidence. The page is made from the reports by \`packages/conformance/tools/matrix.ts\`; nothing in it is written by hand.

Read it with care. All runs are in the real lane, at the durations that a user gets. A SHOULD is advice.
A client in the observe tier is not asked what only a testee can tell, and some were asked a part of the checks only: what was not
asked counts for nothing. And what a bot program could have done by itself, such as
catching what its library threw and answering another way, is not done here: the libraries' own examples do not, either.

Each finding stands below with the command that shows it again and the lines of the wire log that show it.

`;

const judged = async ({ name, subject, program, skip }: Client): Promise<Report | undefined> => {
  if (program === undefined) {
    process.stderr.write(`${name}: not here\n`);
    return undefined;
  }
  // The command stays what anybody can type: where its program is, is a matter of this machine.
  const before = env["PATH"];
  env["PATH"] = `${dirname(program)}:${before ?? ""}`;
  const report = await judgeClient(subject, { lane: "real", client: name, ...(skip === undefined ? {} : { skip }) });
  env["PATH"] = before;
  const folder = join(root, "reports/matrix");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${name.replaceAll(/[^\w.-]+/g, "_")}.json`), JSON.stringify(report));
  process.stderr.write(`${name}: exit ${exitCode(report, false)}\n`);
  return report;
};

process.chdir(root);
compileOnce();
const reports: Report[] = [];
const files = process.argv.slice(2);
for (const file of files) reports.push(readReport(readFileSync(file, "utf8")));
if (files.length === 0)
  for (const client of all) {
    const report = await judged(client);
    if (report !== undefined) reports.push(report);
  }
writeFileSync(join(root, "docs/matrix.md"), head + markdownMatrix(joined(reports)));
