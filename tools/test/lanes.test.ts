import { globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { LANES, laneTests } from "../lanes.ts";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const gate = readFileSync(join(root, ".ci/run"), "utf8");
const folders = globSync("{packages/*,tools}/lanes/*/", { cwd: root }).map((folder) => folder.split(/[/\\]/).at(-1));

test("the table of lanes, the folders and .ci/run name the same lanes", () => {
  const listed = new Set(Object.keys(LANES));
  expect(new Set(folders)).toEqual(listed);
  const functions = new Set([...gate.matchAll(/^lane_(\w+)\(\)/gm)].map(([, name]) => name));
  const called = new Set([...gate.matchAll(/^lane (\w+) \d+$/gm)].map(([, name]) => name));
  expect(called).toEqual(functions);
  for (const name of listed) expect(called).toContain(name);
});

test("every lane has tests", () => {
  for (const name of Object.keys(LANES)) expect(globSync(laneTests(name), { cwd: root }), name).not.toEqual([]);
});
