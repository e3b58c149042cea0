/**
 * A testee object as a program: the testee protocol on standard input and output.
 *
 * Lines of one testee are answered side by side; what throws becomes an outcome; the end of standard input ends the process.
 */
import { createInterface } from "node:readline";
import type { Answer, Hello, Op, Reported, Testee, TesteeClient } from "../testee.ts";

/** How long a client may take to stop once standard input has ended, before the process ends all the same. */
const stopMs = 2_000;

/** Speaks the testee protocol for a testee, until standard input ends; then it ends the process. */
export const speak = (testee: Testee): void => {
  const say = (line: Hello | Reported | ({ readonly id: number } & Answer)): void =>
    void process.stdout.write(`${JSON.stringify(line)}\n`);
  let client: TesteeClient | undefined;
  const perform = async (op: Op): Promise<Answer> => {
    if (op.op === "start") {
      client = await testee.start(op, say);
      return { outcome: "done" };
    }
    return operate(client, op);
  };
  const { client: name, can, scaled } = testee;
  say({ hello: 1, client: name, can, scaled });
  createInterface({ input: process.stdin })
    .on("line", (line) => {
      const { id, ...op } = JSON.parse(line) as { id: number } & Op;
      void perform(op as Op)
        .catch(failed)
        .then((answer) => say({ id, ...answer }));
    })
    .on("close", () => {
      setTimeout(() => process.exit(0), stopMs);
      void Promise.resolve(client?.stop()).then(
        () => process.exit(0),
        () => process.exit(0),
      );
    });
};

/** Performs one operation on a client. Never rejects but for what the client throws. */
export const operate = async (client: TesteeClient | undefined, op: Op): Promise<Answer> => {
  // Every operation takes what its name says; that they belong together is lost where they are looked up by name.
  const method = client?.[op.op as "stop"] as ((op: Op) => Promise<Answer> | Answer) | undefined;
  return method === undefined ? { outcome: "unsupported" } : method.call(client, op);
};

/** What a client threw, as an outcome. */
export const failed = (error: unknown): Answer => ({
  outcome: "failed",
  reason: error instanceof Error ? error.message : String(error),
});
