/**
 * docs/matrix.md from reports: `node packages/conformance/tools/matrix-md.ts REPORT.json…`. The order is that of the arguments.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { markdownMatrix, readReport } from "../src/matrix.ts";

const head = `# The matrix: clients judged

What the suite found about the clients that there are. Every column is one run of \`openws-conformance run\` against the client as
its registry hands it out, with the bot or testee in \`packages/conformance/test/clients\` (our own: \`packages/connector/src/testee.ts\`);
[conformance.md](conformance.md) says how the suite judges, and \`openws-conformance explain ID\` the rule behind a check, its source and
its confidence. The table is made from the reports by \`packages/conformance/tools/matrix-md.ts\`; nothing in it is written by hand.

Read it with care. All runs are in the scaled lane, in which a client lives at a twentieth of its durations as far as it can be told
them; what it cannot be told, such as the ack time-out of the Node SDK's replies (5 s), is judged as if it could. A SHOULD is advice.
A client in the observe tier is not asked what only a testee can tell. And what a bot program could have done by itself, such as
catching what its library threw and answering another way, is not done here: the libraries' own examples do not, either.

Each finding stands below with the command that shows it again and the lines of the wire log that show it.

`;

const files = process.argv.slice(2);
const reports = files.map((file) => readReport(readFileSync(file, "utf8")));
writeFileSync(new URL("../../../docs/matrix.md", import.meta.url), head + markdownMatrix(reports));
