import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { clientsPage, renderClientsPage } from "../tools/clients-page.ts";

test("docs/clients.md is current; if not, run node packages/mock-gateway/tools/clients-page.ts", () => {
  const page = readFileSync(new URL(`../../../${clientsPage}`, import.meta.url), "utf8");

  expect(page.replaceAll("\r\n", "\n")).toBe(renderClientsPage());
});
