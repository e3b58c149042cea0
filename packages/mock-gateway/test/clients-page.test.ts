import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { clientsPage, renderClientsPage } from "../tools/clients-page.ts";
import { clients } from "./witnesses/clients.ts";
import { scenarios } from "./witnesses/scenarios.ts";

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8").replaceAll("\r\n", "\n");

test("docs/clients.md is current; if not, run node packages/mock-gateway/tools/clients-page.ts", () => {
  expect(read(`../../../${clientsPage}`)).toBe(renderClientsPage());
});

test("every difference is one of a scenario", () => {
  const known = scenarios.map(({ name }) => name);
  for (const { name, differences } of clients)
    expect(known, name).toEqual(expect.arrayContaining(Object.keys(differences)));
});

test("the page names the versions that are installed", () => {
  const { devDependencies } = JSON.parse(read("../package.json")) as { devDependencies: Record<string, string> };
  const installed = [
    ...Object.entries(devDependencies),
    ...pairs(/(\S+)==(\S+)/g, read("../lanes/python/clients.txt")),
    ...pairs(/(\S+) = "=(\S+)"/g, read("../lanes/rust/Cargo.toml")),
  ];
  const named = clients.flatMap(({ name }) => name.split(" on ")).map((one) => one.split(" "));
  expect(installed).toEqual(expect.arrayContaining(named));
});

const pairs = (pattern: RegExp, text: string): string[][] => [...text.matchAll(pattern)].map(([, ...pair]) => pair);
