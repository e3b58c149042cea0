/**
 * A vitest fixture: each test that asks for `gateway` gets a mock gateway of its own, on a free port, gone afterwards.
 *
 * ```ts
 * import { test } from "./gateway.fixture.ts";
 *
 * test("the bot answers", async ({ gateway }) => {
 *   startMyBot(gateway.url);
 *   await gateway.waitForBot("my-bot");
 *   const { reply } = await gateway.say("my-bot", "hello", { waitMs: 5000 });
 *   expect(reply).toContain("hello");
 *   expect(gateway.findings()).toEqual([]); // nothing done against the rules
 * });
 * ```
 */
import { startGateway, type Gateway } from "@openws/mock-gateway";
import { test as base } from "vitest";

export const test = base.extend<{ gateway: Gateway }>({
  // vitest reads which fixtures this one needs from the pattern; none.
  // oxlint-disable-next-line no-empty-pattern
  gateway: async ({}, use) => {
    await using gateway = await startGateway({ latencyMs: 0 });
    await use(gateway);
  },
});
