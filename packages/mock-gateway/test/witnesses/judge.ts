/** Declares the tests of one client: every scenario, against a gateway and a bot program of its own. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { leftOut } from "../../../../tools/left-out.ts";
import { startGateway } from "../../src/index.ts";
import type { Client } from "./clients.ts";
import { scenarios, type Scenario, type Stage } from "./scenarios.ts";
import { Witness } from "./witness.ts";

/** How a scenario came out: as it should, or the difference that was seen. */
export type Outcome = "right" | "lacks" | "wrong";

const bot = { id: "aib-witness", secret: "a-secret-of-the-witness" };

/**
 * Call it at the top of a test file.
 *
 * @param outcomes is told each scenario's outcome, for docs/clients.md
 */
export function judge(client: Client, outcomes?: (scenario: Scenario, outcome: Outcome) => void): void {
  describe(`${client.name} ${client.version}`, () => {
    const command = client.command();
    let stage: Stage;

    beforeAll(async () => {
      if ("cannotRun" in command) return;
      const gateway = await startGateway({ bots: [bot], latencyMs: 20 });
      stage = { gateway, bot: bot.id, witness: new Witness(command, gateway, bot) };
    });
    afterAll(async () => {
      if ("cannotRun" in command) return;
      await stage.witness[Symbol.asyncDispose]();
      await stage.gateway.stop();
    });
    beforeEach((context) => {
      if ("cannotRun" in command) leftOut(context, `${client.name} against the mock gateway`, command.cannotRun);
    });

    for (const scenario of scenarios) {
      const difference = client.differences[scenario.name];
      const title = difference ? `${scenario.title}: not this client. ${difference.what}` : scenario.title;
      test(title, { timeout: 40_000 }, async () => {
        await stage.witness.subscribed;
        if (!difference) {
          await scenario.play(stage);
          outcomes?.(scenario, "right");
          return;
        }
        const failure = await scenario.play(stage).then(
          () => "nothing: it came out right, so the difference has to go",
          (error: unknown) => (error as Error).message,
        );
        expect(failure).toMatch(difference.shows);
        outcomes?.(scenario, difference.kind);
      });
    }
  });
}
