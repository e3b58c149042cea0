// Behaviours 1 to 28 and 82 to 85 of the list that the conformance suite tests too: connecting, being kicked, noticing
// that a line is dead, and lasting. `tools/broken.ts` breaks each in turn and runs its test, which must fail.
//
// Exceptions: 19 has a second test against a scripted peer, since the mock's events all say `create_time`, as those that
// were captured do. 25 is not run on Bun, where the deadline for writes is 30 s and cannot be told otherwise.
import { describe, expect, test } from "vitest";
import { leftOut } from "../../../../tools/left-out.ts";
import { type BotEvent, reply } from "../../src/index.shared.ts";
import { createBot, nativeRuntime, runtimeName } from "../library.ts";
import { MovedRuntime } from "../moved.ts";
import { Peer } from "../peer.ts";
import { never } from "../virtual.ts";
import {
  answered,
  atTheEnd,
  dialling as begin,
  eventually,
  gatewayFor,
  grace,
  happened,
  hundredth,
  moved,
  of,
  pause,
  ready as subscribed,
  secret,
  sent,
  streams,
} from "./setting.ts";

// Here durations are what is tried.
const dialling: typeof begin = (gateway, options) => begin(gateway, { ...hundredth, ...options });
const ready: typeof subscribed = (options, gatewayed) => subscribed({ ...hundredth, ...options }, gatewayed);

/** Between what happened to two sockets, or to one, as the gateway saw it. */
const opened = (gateway: Parameters<typeof happened>[0]) =>
  happened(gateway, "opened").map((entry) => entry.transportAt);

describe("connect and subscribe", () => {
  test("1. the first frame is aibot_subscribe with bot_id, secret and a req_id, at once", async () => {
    const { gateway } = await ready();
    const [first] = sent(gateway);
    expect(first!.frame).toMatchObject({
      cmd: "aibot_subscribe",
      headers: { req_id: expect.stringMatching(/./) as string },
      // Which secret it is the log does not say; the gateway knows one, and took it.
      body: { bot_id: "bot", secret: "***" },
    });
    expect(first!.at - opened(gateway)[0]!).toBeLessThan(50 + grace);
  });

  test("2. no other command goes before its ack", async () => {
    const gateway = await gatewayFor({ switches: { subscribeLatencyMs: 200 } });
    const { bot } = dialling(gateway, { subscribeMs: 2_000 });
    await eventually(() => of(gateway, "aibot_subscribe").length === 1);
    expect((await bot.push({ userid: "lily" }, "hi")).type).toBe("failed");
    await gateway.waitForBot("bot");
    expect(sent(gateway)).toHaveLength(1);
  });

  test("3. an ack that never comes: the socket is given up and dialled anew", async () => {
    const gateway = await gatewayFor({ faults: ["ack-drop:cmd=aibot_subscribe"] });
    dialling(gateway);
    await eventually(() => opened(gateway).length === 2);
    const [first, second] = opened(gateway);
    expect(second! - first!).toBeLessThan(150 + grace);
    await gateway.waitForBot("bot");
  });

  test("4. a callback before the ack is handled once, and the ack still recognised", async () => {
    const gateway = await gatewayFor({ faults: ["callback-before-ack:text=early"] });
    const { bot, until } = dialling(gateway);
    const texts: string[] = [];
    bot.on("text", ({ text }) => void texts.push(text));
    await until(moved("ready"));
    await gateway.say("bot", "later");
    await eventually(() => texts.includes("later"));
    expect(texts).toEqual(["early", "later"]);
  });

  test("5. an ack of another req_id subscribes nobody", async () => {
    // Of two acks the strange one comes first and says that all is well; the own one refuses.
    const faults = ["ack-stray:cmd=aibot_subscribe,times=9", "errcode:errcode=95001,cmd=aibot_subscribe,times=9"];
    const gateway = await gatewayFor({ faults });
    const { events, until } = dialling(gateway);
    await until(moved("waiting", "subscribe-failed"));
    expect(events.some(moved("ready"))).toBe(false);
  });

  test.for([853000, 93019, 40001, 40013])(
    "6. %i is an error of the credentials: told, the socket is closed, and no loop",
    async (errcode) => {
      const gateway = await gatewayFor({ faults: [`errcode:errcode=${errcode},cmd=aibot_subscribe,times=99`] });
      const { bot, until } = dialling(gateway);
      expect(await until(moved("refused", "credentials"))).toMatchObject({ detail: { code: errcode } });
      expect(bot.state.reason.en).toMatch(/bot id or the secret/);
      await eventually(() => gateway.connections().length === 0);
      expect(of(gateway, "aibot_subscribe")).toHaveLength(1);
    },
  );

  test("7. credentials that stay wrong are not tried again", async () => {
    const { gateway, bot } = await ready({ secret: "another secret" });
    expect(bot.state.connection).toBe("refused");
    // A minute at full length.
    await pause(600);
    expect(of(gateway, "aibot_subscribe")).toHaveLength(1);
  });

  test.for([45009, 45033])("8. %i is a throttle: a long wait, and no word of credentials", async (errcode) => {
    const gateway = await gatewayFor({ faults: [`errcode:errcode=${errcode},cmd=aibot_subscribe,times=2`] });
    const { bot, until } = dialling(gateway);
    await until(moved("waiting", "throttled"));
    expect(bot.state.reason.en).not.toMatch(/secret|credential/);
    await until(moved("ready"));
    const [first, second, third] = opened(gateway);
    // 30 s at full length, then 60.
    expect(second! - first!).toBeGreaterThanOrEqual(290);
    expect(third! - second!).toBeGreaterThanOrEqual(590);
  });

  test("9. an unknown code is temporary, and told with its text", async () => {
    const errmsg = "moon in the wrong house";
    const gateway = await gatewayFor({ faults: [`errcode:errcode=777777,errmsg=${errmsg},cmd=aibot_subscribe`] });
    const { until } = dialling(gateway);
    expect(await until(moved("waiting", "subscribe-failed"))).toMatchObject({
      detail: { code: 777777, text: expect.stringContaining(errmsg) as string },
    });
    await until(moved("ready"));
  });

  test("10. lost right after each ack: the waits grow, and never more than six attempts in the first minute", async () => {
    const gateway = await gatewayFor({ faults: ["reset:times=99"] });
    dialling(gateway, { stableMs: 60_000 });
    await eventually(() => opened(gateway).length >= 7);
    const at = opened(gateway).map((each) => each - opened(gateway)[0]!);
    // The seventh comes at 61 s or later at full length.
    expect(at[6]).toBeGreaterThanOrEqual(600);
  });

  test("11. a gateway that was gone is found when it is back, however often it was tried", async () => {
    const { gateway, until, events } = await ready();
    await gateway.addFault("down:forMs=2500");
    await until(moved("waiting"));
    events.length = 0;
    const { at } = { at: performance.now() };
    await until(moved("ready"));
    // More attempts than the ten after which public clients give up.
    expect(events.filter(moved("waiting")).length).toBeGreaterThan(8);
    // 60 s after its return at full length.
    expect(performance.now() - at).toBeLessThan(2_500 + 600 + grace);
  });

  test("11. a gateway that is not up when the client starts is found when it is", async () => {
    const held = await gatewayFor();
    const { host } = new URL(held.url);
    await held.stop();
    const { events, bot } = dialling(held);
    await eventually(() => events.filter(moved("waiting")).length >= 4);
    await gatewayFor({ listen: host });
    expect((await bot.start()).subscribed).toBe(true);
  });

  test("12. an upgrade that fails is told with its status, and tried again", async () => {
    const gateway = await gatewayFor({ faults: ["handshake:status=502,times=3"] });
    const { events, until } = dialling(gateway);
    await until(moved("ready"));
    const losses = events.filter(moved("waiting"));
    expect(losses).toHaveLength(3);
    if (runtimeName !== "bun")
      expect(losses[0]).toMatchObject({ detail: { text: expect.stringMatching(/502/) as string } });
  });

  test("13. what the gateway adds to an errmsg changes nothing, and is not shown", async () => {
    const { gateway, bot } = await ready({ secret: "another secret" }, { switches: { errmsgSuffix: "on" } });
    expect(gateway.log().some(({ text }) => text.includes("from ip:"))).toBe(true);
    expect(bot.state.connection).toBe("refused");
    expect(`${bot.state.reason.en}${bot.state.reason.zh}`).not.toMatch(/from ip|hint|127\.0\.0\.1/);
  });

  test("14. on a subscribed socket no second subscribe is sent", async () => {
    const { gateway } = await ready();
    await eventually(() => of(gateway, "ping").length >= 3);
    expect(of(gateway, "aibot_subscribe")).toHaveLength(1);
  });
});

describe("kick", () => {
  test("15. kicked, it is not ready and sends nothing more", async () => {
    const { gateway, bot, until } = await ready();
    await gateway.kick("bot", { closeAfterMs: "never" });
    await until(moved("kicked"));
    expect(bot.state).toMatchObject({ connection: "kicked", subscribed: false, receiving: "no" });
    const before = sent(gateway).length;
    expect(await bot.push({ userid: "lily" }, "hi")).toMatchObject({ type: "failed" });
    await pause(2 * hundredth.heartbeatMs);
    expect(sent(gateway)).toHaveLength(before);
  });

  test("16. a socket that the gateway leaves open is closed by the client", async () => {
    const { gateway } = await ready();
    await gateway.kick("bot", { closeAfterMs: "never" });
    const at = performance.now();
    await eventually(() => gateway.connections().length === 0);
    expect(performance.now() - at).toBeLessThan(50 + grace);
  });

  test("17. it does not come back after a kick and the close that follows", async () => {
    const { gateway, until } = await ready();
    await gateway.kick("bot", { closeAfterMs: 20 });
    await until(moved("kicked"));
    // Half a minute at full length.
    await pause(300);
    expect(opened(gateway)).toHaveLength(1);
  });

  test("18. two clients of one bot: after the second one no further subscribe", async () => {
    const gateway = await gatewayFor({ switches: { kickCloseMs: [0, 0] } });
    const first = dialling(gateway);
    await first.bot.start();
    await dialling(gateway).bot.start();
    await first.until(moved("kicked"));
    const before = of(gateway, "ping").length;
    await eventually(() => of(gateway, "ping").length >= before + 3);
    expect(of(gateway, "aibot_subscribe")).toHaveLength(2);
  });

  test("19. a disconnected_event without from and chattype is understood", async () => {
    const { gateway, until } = await ready();
    await gateway.kick("bot");
    await until(moved("kicked"));
    const body = JSON.parse(gateway.log().find(({ text }) => text.includes("disconnected_event"))!.text) as object;
    expect(body).not.toHaveProperty("body.from");
    expect(body).not.toHaveProperty("body.chattype");
  });

  test("19. a disconnected_event with nothing but its type is understood", async () => {
    await using peer = await Peer.listen();
    const { until } = dialling({ url: peer.url } as never);
    await until(moved("ready"));
    const event = { eventtype: "disconnected_event" };
    peer.line.send({ cmd: "aibot_event_callback", headers: { req_id: "k" }, body: { event } });
    await until(moved("kicked"));
  });

  test("20. what was waiting for an ack is told, not left hanging", async () => {
    const { gateway, bot } = await ready({ ackMs: 60_000 }, { faults: ["ack-drop:cmd=aibot_send_msg"] });
    const end = bot.push({ userid: "lily" }, "hi");
    await eventually(() => of(gateway, "aibot_send_msg").length === 1);
    await gateway.kick("bot");
    expect(await end).toMatchObject({ type: "unknown" });
  });
});

describe("heartbeat and liveness", () => {
  test("21. pings with a fresh req_id each, at the heartbeat's pace", async () => {
    const { gateway } = await ready();
    await eventually(() => of(gateway, "ping").length >= 3);
    const pings = sent(gateway, "ping");
    expect(new Set(pings.map(({ frame }) => frame.headers.req_id)).size).toBe(pings.length);
    expect(Object.keys(pings[0]!.frame)).toEqual(["cmd", "headers"]);
    expect(pings[1]!.at - pings[0]!.at).toBeGreaterThan(250);
    expect(pings[1]!.at - pings[0]!.at).toBeLessThan(450 + grace);
  });

  test.for([
    ["22. pings that are not answered", "ack-drop:cmd=ping,times=9"],
    ["23. pings that are answered with an error", "errcode:errcode=95001,cmd=ping,times=9"],
    ["23. pings that are answered with 846609", "errcode:errcode=846609,cmd=ping,times=9"],
  ] as const)("%s: the socket is dropped and another one made", async ([, fault]) => {
    // Silence must not be what notices it.
    const { events, until } = await ready({ idleMs: 60_000 }, { faults: [fault] });
    events.length = 0;
    const at = performance.now();
    expect(await until(moved("waiting"))).toMatchObject({
      why: expect.stringMatching(/^(?:ping-timeout|not-subscribed)$/) as string,
    });
    expect(performance.now() - at).toBeLessThan(1_000 + grace);
    await until(moved("ready"));
  });

  test.for([undefined, 1000, 1001, 1008, 1011, 1012])("24. an end with code %o: it is back at once", async (code) => {
    const { gateway, until } = await ready();
    const at = performance.now();
    gateway.cut(gateway.connections()[0]!.n, code === undefined ? "reset" : "close", code);
    // Noticed as what it is, and not by pings that go unanswered.
    expect(await until(moved("waiting"))).toMatchObject({ why: "closed" });
    await eventually(() => of(gateway, "aibot_subscribe").length === 2);
    expect(performance.now() - at).toBeLessThan(100 + grace);
  });

  test(
    "25. a gateway that reads no more: the process goes on, and the write deadline ends the socket",
    { timeout: 20_000 },
    async (context) => {
      if (runtimeName === "bun")
        leftOut(context, "the write deadline", "on Bun it is 30 s and cannot be told otherwise");
      const options = { runtime: nativeRuntime({ writeMs: 300 }), heartbeatMs: 60_000, ackMs: 60_000 };
      const { gateway, bot, until } = await ready(options);
      gateway.cut(gateway.connections()[0]!.n, "half-open");
      // More than the buffers of both ends of a loopback connection take.
      const file = new Uint8Array(2_000_000).fill(65);
      for (let at = 0; at < 12; at++) bot.upload(file, { filename: "a.bin" }).catch(() => undefined);
      const words = "字".repeat(6_000);
      for (let at = 0; at < 800; at++) void bot.push({ userid: `u${at}` }, words);
      let latestMs = 0;
      let turnAt = performance.now();
      const turning = setInterval(() => {
        latestMs = Math.max(latestMs, performance.now() - turnAt);
        turnAt = performance.now();
      }, 10);
      atTheEnd(() => clearInterval(turning));
      expect(await until(moved("waiting", "closed"))).toMatchObject({
        detail: { text: "nothing of what was sent was taken for 300 ms" },
      });
      expect(latestMs).toBeLessThan(grace);
    },
  );

  test("26. a WebSocket ping is answered", async () => {
    const { gateway } = await ready();
    await gateway.addFault("ping");
    await eventually(() => happened(gateway, "pong").length === 1);
  });

  test("26. a gateway that answers no WebSocket ping is not left for that", async () => {
    const { gateway } = await ready({}, { faults: ["pong:what=drop,times=99"] });
    await eventually(() => of(gateway, "ping").length >= 4);
    expect(opened(gateway)).toHaveLength(1);
  });

  test("27. a JSON ping of the gateway does no harm", async () => {
    const { gateway, bot, until } = await ready({}, { faults: ["odd-frame:what=gateway-ping"] });
    bot.on("text", ({ text }) => text);
    expect((await gateway.say("bot", "hi", { waitMs: 4_000 })).reply).toBe("hi");
    await until((event) => event.type === "notice" && event.what.type === "server-ping");
    expect(opened(gateway)).toHaveLength(1);
  });

  test("28. acks of other commands do not stand for an answered ping", async () => {
    const { bot, events, until } = await ready({ idleMs: 60_000 }, { faults: ["ack-drop:cmd=ping,times=9"] });
    const pushing = setInterval(() => void bot.push({ userid: "lily" }, "hi"), 20);
    atTheEnd(() => clearInterval(pushing));
    events.length = 0;
    expect(await until(moved("waiting"))).toMatchObject({ why: "ping-timeout" });
  });
});

describe("general robustness", () => {
  test(
    "82. a day with a reconnect every five minutes leaves no timer, no socket and no listener behind",
    { timeout: 60_000 },
    async () => {
      const runtime = new MovedRuntime(nativeRuntime());
      const gateway = await gatewayFor({ log: { entries: 100 } });
      // The default durations, and a probe, whose alarm lives as long as a line.
      const bot = createBot({ botId: "bot", secret, url: gateway.url, runtime, probeMs: 100_000 });
      atTheEnd(() => bot.stop(50));
      bot.on("text", ({ text }) => text);
      await bot.start();
      const kept = () => [runtime.alarms, runtime.sockets.size];
      const before = kept();
      for (let at = 0; at < 288; at++) {
        gateway.cut(gateway.connections().at(-1)!.n, "reset");
        await eventually(() => !bot.state.subscribed);
        await runtime.advance(5 * 60_000);
        expect(bot.state.subscribed).toBe(true);
        const { reply: said } = await gateway.say("bot", `${at}`, { waitMs: 4_000 });
        expect(said).toBe(`${at}`);
      }
      // The one alarm that limits handlers rings half an hour after the last of them began.
      await runtime.advance(31 * 60_000);
      expect(kept()).toEqual(before);
      expect(gateway.connections()).toHaveLength(1);
    },
  );

  test("83. the end of an old socket does not end the new one", async () => {
    const { gateway, bot, until, events } = await ready({}, { faults: ["ack-drop:cmd=ping,times=2"] });
    await until(moved("waiting", "ping-timeout"));
    events.length = 0;
    await until(moved("ready"));
    for (const { n } of gateway.connections().slice(0, -1)) gateway.cut(n, "reset");
    await pause(100);
    expect(bot.state.subscribed).toBe(true);
    expect(opened(gateway)).toHaveLength(2);
  });

  test("84. a stop ends what is open, closes, and does not come back", async () => {
    const { gateway, bot } = await ready();
    bot.on("text", async function* () {
      yield "half";
      await never();
    });
    await gateway.say("bot", "go");
    await eventually(() => streams(gateway).length === 1);
    const at = performance.now();
    await bot.stop();
    await eventually(() => gateway.connections().length === 0);
    expect(performance.now() - at).toBeLessThan(5_000);
    expect(streams(gateway).at(-1)).toMatchObject({ finish: true });
    await pause(100);
    expect(opened(gateway)).toHaveLength(1);
  });

  test("85. what the gateway says carries no secret into an event, and no error a file's key or address", async () => {
    const faults = [`errcode:errcode=777777,errmsg=bad secret ${secret},cmd=aibot_subscribe`, "media:what=expired"];
    const gateway = await gatewayFor({ faults });
    const { bot, until, events } = dialling(gateway);
    await until(moved("waiting"));
    const told = (event: BotEvent): string =>
      JSON.stringify(event, (_, value: unknown) => (value instanceof Error ? [value.name, value.stack] : value));
    expect(events.map(told).join("") + JSON.stringify(bot.state)).not.toContain(secret);
    await until(moved("ready"));
    let key = "";
    bot.on("image", async (message) => {
      key = message.body.image.aeskey!;
      await message.download();
      return reply.text("?");
    });
    await gateway.say("bot", { from: { userid: "zhangsan" }, msgtype: "image", image: {} });
    await until(answered);
    const failure = events.find(({ type }) => type === "handler-failed")!;
    expect(told(failure)).toMatch(/five minutes/);
    for (const hidden of [key, "/media/"]) {
      expect(told(failure)).not.toContain(hidden);
      expect(JSON.stringify(streams(gateway))).not.toContain(hidden);
    }
  });
});
