/**
 * Writes docs/clients.md from the tables of the witnesses:
 *
 *     node packages/mock-gateway/tools/clients-page.ts
 *
 * The tables are what the tests hold the clients to: `npm test` for Node, and for Python where its environments have been
 * made, `.ci/run python rust` for all. A client that comes out differently, better or worse, fails there; a page that is
 * not current fails test/clients-page.test.ts.
 */
import { writeFileSync } from "node:fs";
import { clients, type Client, type Difference } from "../test/witnesses/clients.ts";
import { scenarios } from "../test/witnesses/scenarios.ts";

/** The page's path from the repository's root. */
export const clientsPage = "docs/clients.md";

/** The whole page, as Markdown. */
export const renderClientsPage = (): string => `# Clients that others wrote, against the mock gateway

Each client is as its registry hands it out, unmodified; a small bot program stands on it
(\`packages/mock-gateway/test/witnesses/bots\`, \`packages/mock-gateway/lanes/rust\`). Every cell is a test: in \`npm test\` for
Node and, where their environments have been made, for Python; in \`.ci/run python rust\` for all. A client that comes out
differently from this page fails there.

| client | from | ${scenarios.map(({ name }) => name).join(" | ")} |
| --- | --- | ${scenarios.map(() => "---").join(" | ")} |
${clients.map(row).join("\n")}

\`lacks\`: the client has no function for it. \`wrong\`: the client does the wrong thing by itself; the mock is not bent
around it.

## The scenarios

${scenarios.map(({ name, title }) => `- **${name}**: ${title}.`).join("\n")}

## What comes out differently, and what to know

${clients.map(section).filter(Boolean).join("\n\n")}
`;

const row = (client: Client): string => {
  const cells = scenarios.map(({ name }) => client.differences[name]?.kind ?? "yes");
  return `| [${client.name}](#${anchor(client)}) | ${client.registry} | ${cells.join(" | ")} |`;
};

const section = (client: Client): string => {
  const differences = Object.entries(client.differences) as [string, Difference][];
  const lines = [
    ...differences.map(([name, { kind, what }]) => `- **${name}: ${kind}.** ${what}`),
    ...(client.remarks ?? []).map((remark) => `- ${remark}`),
  ];
  return `### ${client.name}\n\n${lines.length > 0 ? lines.join("\n") : "- Nothing: every scenario comes out right."}`;
};

/** As GitHub makes it from the heading. */
const anchor = ({ name }: Client): string =>
  name
    .toLowerCase()
    .replaceAll(/[^\w\- ]/g, "")
    .replaceAll(" ", "-");

if (import.meta.main) writeFileSync(new URL(`../../../${clientsPage}`, import.meta.url), renderClientsPage());
