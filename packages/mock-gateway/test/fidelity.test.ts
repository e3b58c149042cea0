import { readFileSync, readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { rows } from "../tools/fidelity-rows.ts";
import { Copy, fidelityMarkdown, ledger, requirements, splitTest, tryLine } from "../tools/fidelity.ts";
import { faultTable } from "../src/faults.ts";

const folder = new URL("./", import.meta.url);
const sources = new Map(
  readdirSync(folder)
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => [name, readFileSync(new URL(name, folder), "utf8")]),
);

test("every fact that binds the gateway has a line, and every row is of such a fact", () => {
  expect(ledger().map(({ requirement }) => requirement.id)).toEqual(requirements().map(({ id }) => id));
  const known = new Set(requirements().map(({ id }) => id));
  expect(Object.keys(rows).filter((id) => !known.has(id))).toEqual([]);
});

test("every line names a test that exists, or says why there is none", () => {
  for (const { requirement, test: named, why } of ledger()) {
    if (named === undefined) {
      expect(why, requirement.id).toMatch(/^.{20,}$/);
      continue;
    }
    const [file, title] = splitTest(named);
    const source = sources.get(file) ?? "";
    // The tests of switches, faults and golden frames are made from tables: their titles begin with the name.
    const [name] = title.split(":", 1) as [string];
    const made = title.endsWith(":") || source.includes(`\${id}: ${title.slice(name.length + 2)}`);
    const found = made ? source.includes(name) || file === "referee.test.ts" : source.includes(`"${title}`);
    expect(found, `${requirement.id}: ${named}`).toBe(true);
  }
});

test("every change that takes a behaviour away can still be made", () => {
  for (const { requirement, removal } of ledger()) {
    if (!removal) continue;
    const [file, find, instead] = removal;
    const source = readFileSync(new URL(`../src/${file}`, import.meta.url), "utf8");
    expect(source.includes(find) && find !== instead, `${requirement.id}: ${find}`).toBe(true);
  }
});

test("FIDELITY.md is what the tables say; run node packages/mock-gateway/tools/fidelity.ts when it is not", () => {
  expect(readFileSync(new URL("../FIDELITY.md", import.meta.url), "utf8")).toBe(fidelityMarkdown(ledger()));
  expect(Object.keys(faultTable).length).toBeGreaterThan(25);
});

test("a switch, a behaviour and a fault taken away are missed by their tests (the lane fidelity tries them all)", async () => {
  const sample = ["GW-CONN-5", "GW-STREAM-3", "GW-MSG-12"];
  using copy = new Copy();
  for (const line of ledger().filter(({ requirement }) => sample.includes(requirement.id)))
    expect(await tryLine(copy, line)).toBeUndefined();
}, 120_000);
