/** Sockets under a lease: dialled ahead, and used by nobody who does not hold it. */
import { expect, it } from "vitest";
import { leasedRuntime } from "../../src/runtime.leased.ts";
import type { Runtime, SocketEvents } from "../../src/runtime.ts";

interface Dialled {
  readonly url: string;
  readonly events: SocketEvents;
  readonly sent: string[];
  dropped: boolean;
}

function rig() {
  const dialled: Dialled[] = [];
  const alarms: { at: number; wake: () => void }[] = [];
  let now = 0;
  let fence: number | undefined = 1;
  const runtime: Runtime = {
    now: () => now,
    wakeAt: (at, wake) => {
      const alarm = { at, wake };
      alarms.push(alarm);
      return () => void alarms.splice(alarms.indexOf(alarm), 1);
    },
    random: () => 0,
    dial: (url, events) => {
      const one: Dialled = { url, events, sent: [], dropped: false };
      dialled.push(one);
      return { send: (text) => void one.sent.push(text), drop: () => (one.dropped = true) };
    },
  };
  const heard: string[] = [];
  const events: SocketEvents = {
    opened: () => heard.push("opened"),
    received: (text) => heard.push(text),
    closed: (code, reason) => heard.push(`${code} ${reason}`),
  };
  return {
    dialled,
    heard,
    events,
    leased: leasedRuntime(runtime, { holds: () => fence, why: "nobody had it" }),
    lose: () => (fence = undefined),
    advance: (ms: number) => {
      now += ms;
      for (const due of alarms.filter(({ at }) => at <= now)) {
        alarms.splice(alarms.indexOf(due), 1);
        due.wake();
      }
    },
  };
}

it("gives a line the socket that was opened ahead for it, once, and says that it is open after the call", async () => {
  const { leased, dialled, heard, events } = rig();
  leased.ahead("wss://gateway");
  dialled[0]!.events.opened();
  const socket = leased.dial("wss://gateway", events);
  expect(heard).toEqual([]);
  await Promise.resolve();
  socket.send("subscribe");
  dialled[0]!.events.received("ack");
  expect([heard, dialled[0]!.sent]).toEqual([["opened", "ack"], ["subscribe"]]);
  leased.dial("wss://gateway", events);
  expect(dialled).toHaveLength(2);
  socket.drop(true);
  expect(dialled[0]!.dropped).toBe(true);
});

it("dials anew where the one that was opened ahead is gone, or of another address, and drops what nobody takes", () => {
  const { leased, dialled, heard, events, advance } = rig();
  leased.ahead("wss://gateway");
  dialled[0]!.events.closed(1006, "reset");
  leased.dial("wss://gateway", events);
  leased.ahead("wss://other");
  leased.dial("wss://gateway", events);
  expect(dialled.map(({ url }) => url)).toEqual(["wss://gateway", "wss://gateway", "wss://other", "wss://gateway"]);
  advance(10_000);
  expect(dialled.map(({ dropped }) => dropped)).toEqual([false, false, true, false]);
  expect(heard).toEqual([]);
});

it("sends and dials nothing from the instant at which the lease is not held", () => {
  const { leased, dialled, heard, events, lose, advance } = rig();
  const socket = leased.dial("wss://gateway", events);
  socket.send("before");
  lose();
  socket.send("after");
  expect(dialled[0]!.sent).toEqual(["before"]);
  leased.dial("wss://gateway", events);
  advance(1);
  expect(dialled).toHaveLength(1);
  expect(heard).toEqual(["1006 another replica holds the lease"]);
});
