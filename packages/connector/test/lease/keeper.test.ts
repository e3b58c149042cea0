/** Keeping a lease: asking when it is due, with a place that answers, answers late, or not at all. */
import { expect, it } from "vitest";
import { Keeper } from "../../src/lease/keeper.ts";
import { Lease, type LeaseChange, type LeasePlace } from "../../src/lease/lease.ts";
import { manualClock } from "../service/clock.ts";

const ttlMs = 15_000;

/** One place in memory, which can be made not to answer. */
function placeInMemory() {
  let text: string | undefined;
  const place = {
    silent: false,
    readOnly: false,
    asked: 0,
    read: () => place.answer(() => text),
    swap: (expected: string | undefined, next: string) =>
      place.answer(() => {
        if (place.readOnly) throw new Error("it cannot be written");
        if (text !== expected) return false;
        text = next;
        return true;
      }),
    close: () => Promise.resolve(),
    answer: <Answer>(give: () => Answer): Promise<Answer> => {
      place.asked++;
      // What is asked without end would never let a test fail.
      if (place.silent || place.asked > 10_000) return Promise.withResolvers<never>().promise;
      return new Promise((resolve) => {
        resolve(give());
      });
    },
  };
  return place satisfies LeasePlace;
}

function rig() {
  const clock = manualClock(0);
  const place = placeInMemory();
  const begin = (holder: string) => {
    const changes: LeaseChange["type"][] = [];
    const troubles: (string | undefined)[] = [];
    const lease = new Lease({ holder, ttlMs, changed: ({ type }) => changes.push(type) });
    const keeper = new Keeper({
      lease,
      place,
      askMs: ttlMs / 6,
      trouble: (why) => troubles.push(why),
      clock: {
        now: () => clock.now(),
        epochMs: () => 1_700_000_000_000 + clock.now(),
        wakeAt: (at, wake) => clock.wakeAt(at, wake),
      },
    });
    keeper.start();
    return { keeper, changes, troubles };
  };
  return { clock, place, begin };
}

it("asks as often as is needed and no more: three renewals a ttl of the holder, two looks a second of whoever waits", async () => {
  const { clock, place, begin } = rig();
  const holder = begin("a");
  await clock.advance(60_000);
  expect(holder.keeper.holds()).toBe(1_700_000_000_000);
  expect(place.asked).toBe(2 + 12);
  place.asked = 0;
  const waiting = begin("b");
  await clock.advance(60_000);
  expect([waiting.changes, waiting.keeper.holds()]).toEqual([["waiting"], undefined]);
  expect(place.asked).toBe(12 + 121);
});

it("passes it on by leaving, and asks nothing after that", async () => {
  const { clock, place, begin } = rig();
  const [a, b] = [begin("a"), begin("b")];
  await clock.advance(1_000);
  const left = a.keeper.leave();
  expect(a.keeper.holds()).toBeUndefined();
  await left;
  await clock.advance(500);
  expect([a.changes, b.changes]).toEqual([
    ["held", "lost"],
    ["waiting", "held"],
  ]);
  await b.keeper.leave();
  place.asked = 0;
  await clock.advance(60_000);
  expect([place.asked, clock.alarms]).toEqual([0, 0]);
});

it("gives up at two thirds of the ttl where the place is silent, says so once, and again when it answers", async () => {
  const { clock, place, begin } = rig();
  const { keeper, changes, troubles } = begin("a");
  await clock.advance(0);
  place.silent = true;
  await clock.advance(9_999);
  expect(keeper.holds()).toBeDefined();
  await clock.advance(1);
  expect([keeper.holds(), changes]).toEqual([undefined, ["held", "lost"]]);
  await clock.advance(60_000);
  expect(troubles).toEqual(["no answer within 2500 ms"]);
  place.silent = false;
  await clock.advance(3_000);
  expect([changes, troubles.at(-1), keeper.holds()]).toEqual([["held", "lost", "held"], undefined, expect.any(Number)]);
  place.silent = true;
  const left = keeper.leave();
  await clock.advance(10_000);
  await left;
  expect(clock.alarms).toBe(0);
});

it("asks a place that can be read and not written as often as one whose lease another holds", async () => {
  const { clock, place, begin } = rig();
  place.readOnly = true;
  const waiting = begin("a");
  await clock.advance(10_000);
  expect(place.asked).toBeLessThanOrEqual(2 * 20 + 2);
  expect(waiting.troubles).toEqual(["it cannot be written"]);
  place.readOnly = false;
  await clock.advance(1_000);
  expect(waiting.changes).toEqual(["held"]);
  expect(waiting.troubles.at(-1)).toBeUndefined();
});
