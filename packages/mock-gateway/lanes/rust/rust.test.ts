// A bot on a Rust library that others wrote, unmodified. `.ci/run rust` builds it and names it in OPENWS_RUST_WITNESS.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { leftOut } from "../../../../tools/left-out.ts";
import { startWitness, type Witness } from "../witness.ts";

const program = process.env["OPENWS_RUST_WITNESS"];
let witness: Witness;

beforeAll(async () => {
  if (program !== undefined) witness = await startWitness([program]);
});
afterAll(() => (witness as Witness | undefined)?.[Symbol.asyncDispose]());

beforeEach((context) => {
  if (program === undefined)
    leftOut(context, "the Rust library", "the bot on it is not built (.ci/run rust builds it)");
});

test("gets its text and answers by a stream", async () => {
  const told = await witness.gateway.say(witness.bot, "hello 你好 👋", { waitMs: 10_000 });
  expect(told, witness.output()).toMatchObject({ delivered: true, reply: "echo: hello 你好 👋" });
  expect(told.replies).toMatchObject([{ kind: "stream", finished: true }]);
});

test("welcomes in time", async () => {
  const event = { eventtype: "enter_chat", from: { userid: "zhangsan" } };
  const told = await witness.gateway.trigger(witness.bot, event, { waitMs: 10_000 });
  expect(told, witness.output()).toMatchObject({ delivered: true, reply: "welcome" });
});
