import { expect, test } from "vitest";
import { type DropWhy, Turn, type TurnOptions, Turns } from "../src/turns.ts";
import { VirtualRuntime, quiet } from "./virtual.ts";

/** Turns whose work ends when the test says so; what happens is written down. */
function turns(options: Partial<TurnOptions> = {}) {
  const runtime = new VirtualRuntime();
  const all = new Turns({ whenBusy: "queue", maxRunning: 10, maxWaiting: 10, turnMs: 1_000, ...options }, runtime);
  const happened: string[] = [];
  const end: Record<string, () => void> = {};
  const take = (name: string, key: string | undefined = name[0]): Turn => {
    const turn = new Turn();
    const work = (): Promise<void> =>
      new Promise((resolve) => {
        happened.push(`${name} runs`);
        end[name] = resolve;
        turn.onAbort((why) => {
          happened.push(`${name} ${why}`);
          resolve();
        });
      });
    all.take(turn, key, work, (why: DropWhy) => happened.push(`${name} dropped: ${why}`));
    return turn;
  };
  return { runtime, all, happened, end, take };
}

test("queue: one at a time in a chat, in order, and chats in parallel", async () => {
  const { happened, end, take, all } = turns();
  for (const name of ["a1", "a2", "b1", "a3"]) take(name);
  expect(happened).toEqual(["a1 runs", "b1 runs"]);
  expect(all.size).toEqual({ running: 2, waiting: 2 });
  end["a1"]!();
  await quiet();
  end["a2"]!();
  await quiet();
  expect(happened).toEqual(["a1 runs", "b1 runs", "a2 runs", "a3 runs"]);
});

test("drop: what comes while the chat is busy is dropped, and what comes later is not", async () => {
  const { happened, end, take } = turns({ whenBusy: "drop" });
  take("a1");
  take("a2");
  end["a1"]!();
  await quiet();
  take("a3");
  expect(happened).toEqual(["a1 runs", "a2 dropped: busy", "a3 runs"]);
});

test("replace: the newer one runs at once, the older one is told", () => {
  const { happened, take } = turns({ whenBusy: "replace" });
  const old = take("a1");
  expect(old.signal.aborted).toBe(false);
  take("a2");
  expect(happened).toEqual(["a1 runs", "a1 replaced", "a2 runs"]);
  expect(old.signal.aborted).toBe(true);
});

test("replace: one that waits for others to end gives its place away unseen", async () => {
  const { happened, end, take } = turns({ whenBusy: "replace", maxRunning: 1 });
  for (const name of ["b1", "a1", "a2"]) take(name);
  end["b1"]!();
  await quiet();
  expect(happened).toEqual(["b1 runs", "a1 dropped: replaced", "a2 runs"]);
});

test("parallel: a chat is as free as any other", () => {
  const { happened, take } = turns({ whenBusy: "parallel" });
  take("a1");
  take("a2");
  expect(happened).toEqual(["a1 runs", "a2 runs"]);
});

test.for(["queue", "parallel", "replace", "drop"] as const)(
  "%s: no more run at once than may, no more wait",
  async (whenBusy) => {
    const { happened, end, take, all } = turns({ whenBusy, maxRunning: 2, maxWaiting: 1 });
    for (const name of ["a", "b", "c", "d"]) take(name);
    expect(happened).toEqual(["a runs", "b runs", "d dropped: overload"]);
    end["a"]!();
    await quiet();
    expect(happened.at(-1)).toBe("c runs");
    expect(all.size).toEqual({ running: 2, waiting: 0 });
    // The dropped one has not blocked its chat.
    end["b"]!();
    await quiet();
    take("d");
    expect(happened.at(-1)).toBe("d runs");
  },
);

test("what waits in a chat counts as waiting", () => {
  const { happened, take } = turns({ maxWaiting: 1 });
  for (const name of ["a1", "a2", "a3"]) take(name);
  expect(happened).toEqual(["a1 runs", "a3 dropped: overload"]);
});

test("a turn that lasts too long is told to end, each at its own time, and its chat goes on", async () => {
  const { runtime, happened, take } = turns();
  take("a1");
  take("a2");
  await runtime.advance(400);
  take("b1");
  await runtime.advance(599);
  expect(happened).toEqual(["a1 runs", "b1 runs"]);
  await runtime.advance(1);
  expect(happened).toEqual(["a1 runs", "b1 runs", "a1 expired", "a2 runs"]);
  await runtime.advance(400);
  expect(happened.at(-1)).toBe("b1 expired");
});

test("stop tells what runs, drops what waits, and leaves no alarm", async () => {
  const { runtime, happened, take, all } = turns({ maxRunning: 2 });
  for (const name of ["a1", "a2", "b1", "c1"]) take(name);
  const idle = all.idle();
  all.stop();
  await idle;
  expect(happened).toEqual([
    "a1 runs",
    "b1 runs",
    "c1 dropped: stopped",
    "a2 dropped: stopped",
    "a1 stopped",
    "b1 stopped",
  ]);
  expect(all.size).toEqual({ running: 0, waiting: 0 });
  expect(runtime.alarms).toBe(0);
  take("a3");
  expect(happened.at(-1)).toBe("a3 runs");
});

test("a signal that is asked for after the abort has aborted, with a reason", () => {
  const turn = new Turn();
  turn.abort("expired");
  turn.abort("stopped");
  expect(turn.signal.aborted).toBe(true);
  expect((turn.signal.reason as Error).message).toBe("the handler took too long");
  expect(turn.aborted).toBe("expired");
});

test("ten thousand turns leave nothing behind", async () => {
  const { all } = turns({ maxWaiting: 20_000 });
  for (let at = 0; at < 10_000; at++)
    all.take(
      new Turn(),
      `chat-${at % 50}`,
      async () => undefined,
      () => undefined,
    );
  await all.idle();
  expect(all.size).toEqual({ running: 0, waiting: 0 });
});
