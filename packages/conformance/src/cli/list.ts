/** `openws-conformance list` and `openws-conformance explain ID`: what the suite knows, without running anything. */
import { parseArgs } from "node:util";
import { cases } from "../cases.ts";
import { requirementOf, timed } from "../check.ts";
import { requirements } from "../requirements.ts";
import type { Ability } from "../testee.ts";
import { defects, type DefectRow } from "../defects.ts";
import { UsageError } from "../main.ts";

/** Shown by `list --help`. */
export const listHelp = `openws-conformance list: the checks of the suite, each by the id of its requirement

Usage: openws-conformance list [--json]
`;

/** Shown by `explain --help`. */
export const explainHelp = `openws-conformance explain: one check: its rule and source, its cases, and the bots that fail it

Usage: openws-conformance explain ID
`;

/** Runs `list`. Returns the exit code. */
export function list(args: string[]): number {
  const { values } = parseArgs({ args, options: { json: { type: "boolean" }, help: { type: "boolean", short: "h" } } });
  if (values.help === true) {
    process.stdout.write(listHelp);
    return 0;
  }
  const rows = checks();
  if (values.json === true) {
    process.stdout.write(`${JSON.stringify(rows, undefined, 2)}\n`);
    return 0;
  }
  for (const { id, level, needs, requirement } of rows)
    process.stdout.write(`${id.padEnd(11)} ${level.padEnd(6)} ${needs.padEnd(8)}  ${requirement}\n`);
  process.stdout.write(`${rows.length} checks of the ${requirements.length} requirements that bind a client\n`);
  return 0;
}

/** One row of `list`. */
export interface Row {
  readonly id: string;
  readonly level: string;
  readonly behaviour?: number;
  /** What the client has to be for it: `contract`, `testee`, or nothing but a bot. */
  readonly needs: "" | "contract" | "testee";
  /** The abilities that a testee has to declare. */
  readonly abilities: readonly Ability[];
  readonly requirement: string;
}

/** The checks that there are, in the order of spec/requirements.yaml. */
export const checks = (): Row[] =>
  requirements.flatMap(({ id, level, behaviour, sentence }) => {
    const judging = cases.filter(({ checks: ids }) => ids.includes(id));
    if (judging.length === 0) return [];
    const needs = judging.every((played) => played.needs !== undefined)
      ? "testee"
      : judging.every((played) => played.contract === true || played.needs !== undefined)
        ? "contract"
        : "";
    const abilities = [...new Set(judging.flatMap((played) => played.needs ?? []))];
    return [{ id, level, ...(behaviour === undefined ? {} : { behaviour }), needs, abilities, requirement: sentence }];
  });

/** Runs `explain`. Returns the exit code; throws `UsageError` for an id that is none. */
export function explain(args: string[]): number {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { help: { type: "boolean", short: "h" } },
  });
  if (values.help === true) {
    process.stdout.write(explainHelp);
    return 0;
  }
  const [asked] = positionals;
  if (asked === undefined) throw new UsageError("explain needs an id, such as AUTH-1; list shows them");
  process.stdout.write(explained(asked));
  return 0;
}

const explained = (asked: string): string => {
  // Ids are written AUTH-6a: topic in capitals, letter in small.
  const id = asked.toUpperCase().replace(/[A-Z]$/, (letter) => letter.toLowerCase());
  let requirement;
  try {
    requirement = requirementOf(id);
  } catch {
    throw new UsageError(`${asked} is no requirement that binds a client; list shows those that have a check`);
  }
  const { level, basis, confidence, source, sentence, behaviour, note } = requirement;
  const judging = cases.filter(({ checks: ids }) => ids.includes(id));
  const broken = Object.entries<DefectRow>(defects).filter(([, { fails }]) => fails === id);
  const tolerance = timed[id];
  return [
    `${id} (${level}, ${basis}, confidence ${confidence}${behaviour === undefined ? "" : `, behaviour ${behaviour}`})`,
    sentence,
    ...(note === undefined ? [] : [`Note: ${note}`]),
    `Source: ${source}`,
    "",
    ...judging.map(({ name, title, contract, needs }) => {
      const how = needs !== undefined ? ` (testee: ${needs.join(", ")})` : contract === true ? " (--contract)" : "";
      return `Case ${name}${how}: ${title}`;
    }),
    ...broken.map(([name, { what }]) => `Fails with the bot "${name}": ${what}.`),
    ...(tolerance === undefined
      ? []
      : [`Tolerance: ${tolerance.earlyMs} ms early, ${tolerance.lateMs} ms late. ${tolerance.why}`]),
    "",
  ].join("\n");
};
