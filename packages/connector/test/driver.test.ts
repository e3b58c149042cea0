import { expect, test } from "vitest";
import { type ConnectionEffect, type Outcome, encode } from "@openws/protocol";
import { Driver, type DriverEvents, type LineMeter } from "../src/driver.ts";
import { VirtualRuntime, callback, happening, quiet } from "./virtual.ts";

type Moved = Extract<ConnectionEffect, { type: "moved" }>;

function setUp(events: Partial<DriverEvents> = {}, meter?: LineMeter) {
  const runtime = new VirtualRuntime();
  const moves: Moved[] = [];
  const delivered: string[] = [];
  const told: DriverEvents = {
    deliver: (push) => delivered.push(push.req_id),
    moved: (effect) => moves.push(effect),
    notice: () => undefined,
    ...events,
  };
  const driver = new Driver("ws://gateway", { botId: "bot", secret: "s3cret" }, runtime, told, meter);
  return { runtime, driver, moves, delivered };
}

const push = (req_id: string) =>
  encode({
    cmd: "aibot_send_msg",
    headers: { req_id },
    body: { chatid: "lily", chat_type: 1, msgtype: "markdown", markdown: { content: "hi" } },
  });

test("nothing is dialled before start, and start dials once however often it is called", () => {
  const { runtime, driver } = setUp();
  expect([driver.state, driver.over, runtime.alarms]).toEqual(["idle", true, 0]);
  driver.start();
  driver.start();
  expect(runtime.sockets.map(({ url }) => url)).toEqual(["ws://gateway"]);
  expect([driver.state, driver.over]).toEqual(["dialing", false]);
});

test("an open socket is subscribed on, and its ack makes the line ready", async () => {
  const { runtime, driver } = setUp();
  driver.start();
  const socket = await runtime.subscribe();
  expect(socket.frames[0]).toMatchObject({ cmd: "aibot_subscribe", body: { bot_id: "bot", secret: "s3cret" } });
  expect(driver.state).toBe("ready");
});

test("a request resolves with the ack of its own req_id", async () => {
  const { runtime, driver } = setUp();
  driver.start();
  const socket = await runtime.subscribe();
  const [a, b] = [driver.request(push("a")), driver.request(push("b"))];
  socket.ack("b", 93006, "invalid chatid");
  socket.ack("a");
  expect(await a).toEqual({ type: "acked" });
  expect(await b).toEqual({ type: "refused", errcode: 93006, errmsg: "invalid chatid" });
});

test("a request without a line is told at once, one whose line goes is told when it goes", async () => {
  const { runtime, driver } = setUp();
  const outcomes: Outcome[] = [];
  driver.send(push("a"), (outcome) => outcomes.push(outcome));
  expect(outcomes).toEqual([{ type: "not-ready" }]);
  driver.start();
  const socket = await runtime.subscribe();
  driver.send(push("b"), (outcome) => outcomes.push(outcome));
  socket.close();
  expect(outcomes[1]).toEqual({ type: "connection-lost", maybeDelivered: true });
});

test("a request has its own time for its ack, or the connection's", async () => {
  const { runtime, driver } = setUp();
  driver.start();
  await runtime.subscribe();
  const outcomes: string[] = [];
  driver.send(push("a"), ({ type }) => outcomes.push(`a ${type}`), 500);
  driver.send(push("b"), ({ type }) => outcomes.push(`b ${type}`));
  await runtime.advance(500);
  expect(outcomes).toEqual(["a timed-out"]);
  await runtime.advance(9_500);
  expect(outcomes).toEqual(["a timed-out", "b timed-out"]);
});

test("a line that is lost is dialled again, and events of the lost socket change nothing", async () => {
  const { runtime, driver, moves, delivered } = setUp();
  driver.start();
  const first = await runtime.subscribe();
  first.close(1006, "gone");
  expect(moves.at(-1)).toMatchObject({ to: "waiting", why: "closed", detail: { code: 1006, text: "gone" } });
  await runtime.advance(1_500);
  expect(runtime.sockets).toHaveLength(2);
  await runtime.subscribe();
  expect(driver.state).toBe("ready");
  first.close(1006);
  first.receive(callback("late", {}, "late"));
  expect(driver.state).toBe("ready");
  expect(delivered).toEqual([]);
});

test("silence ends a socket between 20 and 50 s, by default durations, and the socket is cut", async () => {
  const { runtime, driver } = setUp();
  driver.start();
  const socket = await runtime.subscribe();
  await runtime.advance(20_000);
  expect(driver.state).toBe("ready");
  await runtime.advance(30_000);
  expect(driver.state).not.toBe("ready");
  expect(socket.dropped).toBe("cut");
});

test("a call made while effects are performed waits for its turn, and none is lost", async () => {
  const outcomes: string[] = [];
  const { runtime, driver } = setUp({
    deliver: ({ req_id }) => {
      driver.send(push(`from-${req_id}`), ({ type }) => outcomes.push(type));
      expect(runtime.socket.of("aibot_send_msg")).toHaveLength(0);
    },
  });
  driver.start();
  const socket = await runtime.subscribe();
  socket.receive(callback("x", {}, "c1"));
  expect(socket.of("aibot_send_msg")).toHaveLength(1);
  socket.ack("from-c1");
  expect(outcomes).toEqual(["acked"]);
});

test("stop says goodbye, settles what is open and leaves no alarm", async () => {
  const { runtime, driver } = setUp();
  driver.start();
  const socket = await runtime.subscribe();
  const open = driver.request(push("a"));
  driver.stop();
  expect(await open).toEqual({ type: "stopped", maybeDelivered: true });
  expect(socket.dropped).toBe("politely");
  expect([driver.state, driver.over, runtime.alarms]).toEqual(["stopped", true, 0]);
});

test("traffic moves no alarm: a thousand echoes cost not one more", async () => {
  const { runtime, driver } = setUp();
  driver.start();
  const socket = await runtime.subscribe();
  let set = 0;
  const wakeAt = runtime.wakeAt.bind(runtime);
  runtime.wakeAt = (at, wake) => {
    set++;
    return wakeAt(at, wake);
  };
  for (let at = 0; at < 1_000; at++) {
    driver.send(push(`p${at}`), () => undefined);
    socket.ack(`p${at}`);
  }
  await quiet();
  expect(set).toBeLessThanOrEqual(2);
});

test("a meter is told of every frame that goes and comes, and how long each ack took, by commands alone", async () => {
  const told: unknown[] = [];
  const { runtime, driver } = setUp(
    {},
    {
      frame: (direction, name) => told.push(`${direction} ${name}`),
      acked: (name, afterMs, errcode) => told.push([name, afterMs, errcode]),
    },
  );
  driver.start();
  const socket = await runtime.subscribe();
  expect(told.splice(0)).toEqual(["out aibot_subscribe", "in ack"]);
  driver.send(push("a"), () => undefined);
  driver.send(push("b"), () => undefined);
  await runtime.advance(250);
  socket.ack("a");
  await runtime.advance(50);
  socket.ack("b", 93_006);
  expect(told.splice(0)).toEqual([
    "out aibot_send_msg",
    "out aibot_send_msg",
    "in ack",
    ["aibot_send_msg", 250, 0],
    "in ack",
    ["aibot_send_msg", 300, 93_006],
  ]);
  socket.receive(callback("x"));
  socket.receive(happening("enter_chat"));
  socket.receive({ cmd: "ping", headers: { req_id: "p" } });
  socket.receive({ cmd: "a_name_nobody_knows", headers: { req_id: "q" } });
  socket.receive("no JSON");
  expect(told.splice(0)).toEqual([
    "in aibot_msg_callback",
    "in aibot_event_callback",
    "in ping",
    "in other",
    "in other",
  ]);
  // What ended with its line was not acknowledged.
  driver.send(push("c"), () => undefined);
  socket.close();
  expect(told).toEqual(["out aibot_send_msg"]);
});
