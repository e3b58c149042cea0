/** What the mutation tests let survive is what docs/mutation.md explains, in numbers at least. */
import { existsSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { explained } from "../tools/mutation.ts";

const text = readFileSync(new URL("../../../docs/mutation.md", import.meta.url), "utf8");

it("docs/mutation.md has a section for each file, with as many survivors as are allowed", () => {
  const stated = [...text.matchAll(/^## (\w+)\.ts\n+(None|\d+) of \d+ survives?\.$/gm)].map(
    ([, name = "", survivors = ""]) => [name, survivors === "None" ? 0 : Number(survivors)],
  );
  expect(Object.fromEntries(stated)).toEqual(explained);
});

it("each file that is mutated has tests of its own name", () => {
  for (const name of Object.keys(explained))
    for (const path of [`../src/${name}.ts`, `./${name}.test.ts`])
      expect(existsSync(new URL(path, import.meta.url)), path).toBe(true);
});
