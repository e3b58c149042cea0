import { expect, test } from "vitest";
import { Events, maxUnreadEvents } from "../src/events.ts";

interface Numbered {
  readonly type: "n";
  readonly n: number;
}

test("an observer that throws harms nobody, and the others are told", () => {
  const events = new Events<Numbered>();
  const told: unknown[] = [];
  events.observe(() => {
    throw new Error("broken");
  });
  const end = events.observe((event) => told.push(event.type));
  events.tell({ type: "n", n: 1 });
  expect(told).toEqual(["observer-failed", "n"]);
  end();
  events.tell({ type: "n", n: 2 });
  expect(told).toHaveLength(2);
});

test("the same observer twice is told twice, and ended one by one", () => {
  const events = new Events<Numbered>();
  let told = 0;
  const observer = (): void => {
    told++;
  };
  const end = events.observe(observer);
  events.observe(observer);
  events.tell({ type: "n", n: 1 });
  end();
  events.tell({ type: "n", n: 2 });
  expect(told).toBe(3);
});

test("a reader gets everything in order, and leaving the loop ends it", async () => {
  const events = new Events<Numbered>();
  const reader = events.read();
  const first = reader.next();
  for (let n = 1; n <= 3; n++) events.tell({ type: "n", n });
  expect((await first).value).toEqual({ type: "n", n: 1 });
  const read: number[] = [];
  for await (const event of reader) {
    if (event.type === "n") read.push(event.n);
    if (read.length === 2) break;
  }
  expect(read).toEqual([2, 3]);
});

test("a reader that is too late is told how much it missed, and gets the newest", async () => {
  const events = new Events<Numbered>();
  const reader = events.read();
  const first = reader.next();
  const total = 3 * maxUnreadEvents;
  for (let n = 0; n < total; n++) events.tell({ type: "n", n });
  const missed = (await first).value as { type: string; count: number };
  expect(missed.type).toBe("missed");
  const next = (await reader.next()).value as Numbered;
  expect(next.n).toBe(missed.count);
  expect(total - missed.count).toBeLessThanOrEqual(maxUnreadEvents);
  await reader.return();
});
