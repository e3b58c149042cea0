/** Declares the tests of one client: every scenario, against a gateway and a bot program of its own. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { leftOut } from "../../../../tools/left-out.ts";
import { startGateway } from "../../src/index.ts";
import type { Client } from "./clients.ts";
import { scenarios, type Stage } from "./scenarios.ts";
import { openTlsFront } from "./tls-front.ts";
import { Witness } from "./witness.ts";

const bot = { id: "aib-witness", secret: "a-secret-of-the-witness" };

/** Call it at the top of a test file. */
export function judge(client: Client): void {
  describe(client.name, () => {
    const command = client.command();
    const started = new AsyncDisposableStack();
    let stage: Stage;

    beforeAll(async () => {
      if ("cannotRun" in command) return;
      const gateway = started.use(await startGateway({ bots: [bot], latencyMs: 20 }));
      const door = client.wssOnly ? started.use(await openTlsFront(gateway.url)) : gateway;
      const witness = started.use(new Witness(command, gateway, bot, door));
      stage = { gateway, bot: bot.id, witness };
    });
    afterAll(() => started.disposeAsync());
    beforeEach((context) => {
      if ("cannotRun" in command) leftOut(context, `${client.name} against the mock gateway`, command.cannotRun);
    });

    for (const { name, title, play } of scenarios) {
      const difference = client.differences[name];
      test(difference ? `${title}? Not this client. ${difference.what}` : title, { timeout: 40_000 }, async () => {
        await stage.witness.subscribed;
        if (!difference) return play(stage);
        const failure = await play(stage).then(
          () => "it came out right, so the difference has to go",
          (error: unknown) => (error as Error).message,
        );
        expect(failure).toMatch(difference.shows);
      });
    }
  });
}
