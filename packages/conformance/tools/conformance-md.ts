/** Writes the tables of docs/conformance.md from the cases: `node tools/conformance-md.ts`. A test says when that was forgotten. */
import { readFileSync, writeFileSync } from "node:fs";
import { cases } from "../src/cases.ts";
import { defects, type DefectRow } from "../src/defects.ts";
import { requirements } from "../src/requirements.ts";

const page = new URL("../../../docs/conformance.md", import.meta.url);

const checked = requirements.filter(({ id }) => cases.some(({ checks }) => checks.includes(id)));
const unchecked = requirements.filter((requirement) => !checked.includes(requirement));
const bound = requirements.flatMap(({ behaviour }) => (behaviour === undefined ? [] : [behaviour]));
const touched = new Set(checked.flatMap(({ behaviour }) => (behaviour === undefined ? [] : [behaviour])));

const row = (id: string, level: string): string => {
  const judging = cases.filter(({ checks }) => checks.includes(id));
  const needs = judging.every((played) => played.needs !== undefined)
    ? "testee"
    : judging.every((played) => played.contract === true || played.needs !== undefined)
      ? "contract"
      : "";
  const bots = Object.entries<DefectRow>(defects).flatMap(([name, { fails }]) => (fails === id ? [name] : []));
  return `| ${id} | ${level} | ${needs} | ${judging.map(({ name }) => name).join(", ")} | ${bots.join(", ")} |`;
};

/** The part of the page between its marks. */
export const tables = (): string =>
  [
    `${checked.length} of the ${requirements.length} requirements that bind a client have a check, and with them ${touched.size} of the ${new Set(bound).size} numbered behaviours, in whole or in part.`,
    "",
    "| check | level | needs | cases | bots that fail it |",
    "| --- | --- | --- | --- | --- |",
    ...checked.map(({ id, level }) => row(id, level)),
    ...(unchecked.length === 0 ? [] : ["", `No check yet: ${unchecked.map(({ id }) => id).join(", ")}.`]),
  ].join("\n");

/** The page as it should be. */
export const conformanceMarkdown = (text: string): string =>
  text.replace(
    /(<!-- checks:begin -->\n)[^]*(\n<!-- checks:end -->)/,
    (_, begin: string, end: string) => `${begin}${tables()}${end}`,
  );

if (import.meta.main) writeFileSync(page, conformanceMarkdown(readFileSync(page, "utf8")));
