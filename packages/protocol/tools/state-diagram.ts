/**
 * Draws the states of a connection, as the table `transitions` has them, into spec/PROTOCOL.md between the lines
 * `<!-- connection-states:begin -->` and `<!-- connection-states:end -->`:
 *
 *     node packages/protocol/tools/state-diagram.ts
 *
 * A test holds the committed diagram to the table.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { transitions } from "../src/connection.ts";

const begin = "<!-- connection-states:begin -->";
const end = "<!-- connection-states:end -->";

/** The document that holds the diagram. */
export const holder = new URL("../../../spec/PROTOCOL.md", import.meta.url);

/** A Mermaid diagram with one arrow for each pair of states, which names all its causes. */
export function drawStates(table: typeof transitions = transitions): string {
  const arrows = Object.entries(table).flatMap(([from, row]) =>
    [...new Set(Object.values(row))].map((to) => {
      const causes = Object.entries(row).flatMap(([cause, target]) => (target === to ? [cause] : []));
      return `    ${from} --> ${to}: ${causes.join(", ")}`;
    }),
  );
  return ["```mermaid", "stateDiagram-v2", "    [*] --> idle", ...arrows, "```"].join("\n");
}

/** The text with the diagram between its two marks, whatever stood there before. */
export function withStates(text: string): string {
  const from = text.indexOf(begin);
  const to = text.indexOf(end);
  if (from < 0 || to < from) throw new Error(`${holder.pathname} lacks the marks ${begin} and ${end}`);
  return `${text.slice(0, from)}${begin}\n\n${drawStates()}\n\n${text.slice(to)}`;
}

if (import.meta.main) writeFileSync(holder, withStates(readFileSync(holder, "utf8")));
