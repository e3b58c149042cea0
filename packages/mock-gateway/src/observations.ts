/**
 * What a recording says about the facts of spec/requirements.yaml, one rule for each fact that a recording can show.
 *
 * The rules are in observations.line.ts and observations.talk.ts. A rule only looks: it says what was seen, whether the
 * ledger agrees, and on which lines. Where the ledger holds a guess or sources disagree, a measurement is worth more than an
 * agreement; such rules name the open question they settle.
 */
import { lineRules } from "./observations.line.ts";
import { talkRules } from "./observations.talk.ts";
import type { Recording } from "./recording.ts";
import type { Finding, OpenQuestion, Rule } from "./sightings.ts";

export { openQuestions, type OpenQuestion } from "./sightings.ts";

/** What was seen of one fact. */
export interface Observation {
  /** An id of spec/requirements.yaml. */
  readonly requirement: string;
  /** One of the open questions. */
  readonly question?: OpenQuestion;
  readonly verdict: Finding["verdict"];
  readonly seen: string;
  /** Lines of the recording, the first few. */
  readonly lines: readonly number[];
}

/** Every rule, in the order of the report. */
export const rules: readonly Rule[] = [...lineRules, ...talkRules];

/** All that a recording says, in the order of the rules. */
export const observe = (recording: Recording): Observation[] =>
  rules.flatMap(({ requirement, question, look }) =>
    look(recording).map(({ verdict, seen, at }) => ({
      requirement,
      ...(question === undefined ? {} : { question }),
      verdict,
      seen,
      lines: at.slice(0, 5).map(({ seq }) => seq),
    })),
  );

/** The observations as a table for people. */
export const tableOf = (observations: readonly Observation[]): string => {
  const rows = observations.map(({ requirement, question, verdict, seen, lines }) => [
    verdict,
    requirement,
    `${seen}${question === undefined ? "" : ` (open question: ${question})`} [line ${lines.join(", ")}]`,
  ]);
  const widths = [0, 1].map((column) => Math.max(0, ...rows.map((row) => row[column]!.length)));
  return rows.map(([a, b, c]) => `${a!.padEnd(widths[0]!)}  ${b!.padEnd(widths[1]!)}  ${c!}\n`).join("");
};
