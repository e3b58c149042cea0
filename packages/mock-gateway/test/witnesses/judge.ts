/** Declares the tests of one client: every scenario, against a gateway and a bot program of its own. */
import { afterAll, describe, expect, test } from "vitest";
import { leftOut } from "../../../../tools/left-out.ts";
import { startGateway, type Gateway } from "../../src/index.ts";
import type { Client, Command } from "./clients.ts";
import { scenarios, type Stage } from "./scenarios.ts";
import { Witness } from "./witness.ts";

const bot = { id: "aib-witness", secret: "a-secret-of-the-witness" };

/** Call it at the top of a test file. */
export function judge(client: Client): void {
  describe(client.name, () => {
    const command = client.command();
    let started = new AsyncDisposableStack();
    let stage: Stage | undefined;
    const start = async (run: Command): Promise<Stage> => {
      await started.disposeAsync();
      started = new AsyncDisposableStack();
      const gateway = started.use(await startGateway({ bots: [bot], latencyMs: 20, tls: client.wssOnly === true }));
      const witness = started.use(new Witness(run, gateway, bot));
      return { gateway, bot: bot.id, witness };
    };
    afterAll(() => started.disposeAsync());

    for (const scenario of scenarios) {
      const { name, title, own } = scenario;
      const difference = client.differences[name];
      test(difference ? `${title}: not this client (docs/clients.md)` : title, { timeout: 40_000 }, async (context) => {
        if ("cannotRun" in command)
          return leftOut(context, `${client.name} against the mock gateway`, command.cannotRun);
        if (own || !stage) stage = await start(command);
        await stage.witness.subscribed;
        const { gateway } = stage;
        const before = gateway.log().at(-1)?.seq;
        const failure = await scenario.play(stage).then(
          () => undefined,
          (error: unknown) => new Error(`${(error as Error).message}\n${refusals(gateway, before)}`, { cause: error }),
        );
        if (difference)
          expect(failure?.message ?? "came out right: the difference has to go").toMatch(difference.shows);
        else if (failure) throw failure;
      });
    }
  });
}

/** What the gateway refused since then, a line each. */
const refusals = (gateway: Gateway, after: number | undefined): string =>
  gateway
    .log(after)
    .filter(({ dir, errcode }) => dir === "out" && errcode !== undefined && errcode !== 0)
    .map(({ acks, errcode, verdict, note }) => `refused: ${acks ?? "?"} ${errcode!} ${verdict ?? ""} ${note ?? ""}`)
    .slice(0, 10)
    .join("\n");
