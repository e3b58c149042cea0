// Behaviours 47 to 67 of the list that the conformance suite tests too: answers, streams and pushes. `tools/broken.ts`
// breaks each in turn and runs its test, which must fail.
import { describe, expect, test } from "vitest";
import { type FileReplyOptions, reply } from "../../src/index.shared.ts";
import { never } from "../virtual.ts";
import { answered, eventually, moved, of, pause, ready, seen, sent, streams, text } from "./setting.ts";

async function* words(count: number, pauseMs = 0): AsyncGenerator<string> {
  for (let at = 1; at <= count; at++) {
    yield `${at} `;
    await pause(pauseMs);
  }
}

describe("replies and streams", () => {
  test("47. each frame holds all of the text so far, under one req_id and one stream id", async () => {
    const { gateway, bot, until } = await ready({}, { switches: { ackLatencyMs: 15 } });
    bot.on("text", () => words(20, 3));
    const { reqId } = await gateway.say("bot", "go");
    await until(answered);
    const all = streams(gateway);
    expect(all.length).toBeGreaterThan(2);
    expect(new Set(of(gateway, "aibot_respond_msg").map(({ headers }) => headers.req_id))).toEqual(new Set([reqId]));
    expect(new Set(all.map(({ id }) => id)).size).toBe(1);
    for (const [at, { content }] of all.entries())
      if (at > 0) expect(content.startsWith(all[at - 1]!.content.trimEnd())).toBe(true);
    expect(seen(gateway)).toMatchObject([{ content: expect.stringMatching(/^1 2 3 .* 20 $/) as string }]);
  });

  test("48. no frame of a req_id is sent before the ack of the one before", async () => {
    const { gateway, bot, until } = await ready({}, { switches: { ackLatencyMs: 20 } });
    bot.on("text", () => words(20, 3));
    const { reqId } = await gateway.say("bot", "go");
    await until(answered);
    let flying = 0;
    let frames = 0;
    for (const entry of gateway.log().filter((each) => each.reqId === reqId)) {
      if (entry.cmd === "aibot_respond_msg") expect(++flying, `frame ${++frames}`).toBe(1);
      else if (entry.acks === "aibot_respond_msg") flying--;
    }
    expect(frames).toBeGreaterThan(2);
  });

  test.for([
    [
      "throws",
      async function* () {
        yield "half";
        throw new Error("x");
      },
    ],
    ["yields nothing", async function* () {}],
    [
      "yields nothing visible",
      async function* () {
        yield " \u200b";
      },
    ],
    ["ends well", () => words(3)],
    [
      "never ends",
      async function* () {
        yield "half";
        await never();
      },
    ],
  ] as [string, () => AsyncIterable<string>][])(
    "49. a handler that %s ends its stream once, with something visible",
    async ([, handler]) => {
      const { gateway, bot, until } = await ready({ handlerMs: 200 });
      bot.on("text", handler);
      await gateway.say("bot", "go");
      await until(answered);
      const finals = streams(gateway).filter(({ finish }) => finish);
      expect(finals).toHaveLength(1);
      expect(streams(gateway).at(-1)).toEqual(finals[0]);
      expect(finals[0]!.content).toMatch(/[\p{L}\p{N}]/u);
      expect(seen(gateway)).toMatchObject([{ finished: true }]);
    },
  );

  test("50. a long answer goes in several messages of at most 20,480 bytes, no character cut, nothing lost", async () => {
    const { gateway, bot, until } = await ready();
    const long = Array.from({ length: 6_000 }, (_, at) => `第${at}行😀`).join("\n");
    bot.on("text", () => long);
    await gateway.say("bot", "go");
    await until(answered);
    const finals = streams(gateway).filter(({ finish }) => finish);
    expect(finals.length).toBeGreaterThan(3);
    for (const { content } of streams(gateway)) {
      expect(Buffer.byteLength(content)).toBeLessThanOrEqual(20_480);
      expect(content.isWellFormed()).toBe(true);
    }
    const shown = seen(gateway).map(({ content }) => content!);
    expect(shown.join("\n").replaceAll(/\s+/g, "\n")).toBe(long);
  });

  test("51. a stream whose ten minutes are over is left within a frame, and the rest takes another way", async () => {
    const { gateway, bot, until } = await ready();
    const begun = Promise.withResolvers<undefined>();
    const over = Promise.withResolvers<undefined>();
    bot.on("text", async function* () {
      yield "the beginning ";
      begun.resolve(undefined);
      await over.promise;
      yield "and the end";
    });
    await gateway.say("bot", "go");
    await begun.promise;
    await eventually(() => seen(gateway).length === 1);
    gateway.advance(601_000);
    const before = streams(gateway).length;
    over.resolve(undefined);
    expect(await until(answered)).toMatchObject({ route: "push", end: { type: "delivered" } });
    expect(gateway.log().some(({ errcode }) => errcode === 846608)).toBe(true);
    expect(streams(gateway).length - before).toBe(1);
    expect(seen(gateway).at(-1)).toMatchObject({
      via: "send",
      content: expect.stringContaining("and the end") as string,
    });
  });

  test("52. a bubble is finished before its tenth minute, and the answer goes on in another", async () => {
    const { gateway, bot, until } = await ready({ handoverMs: 200 });
    bot.on("text", () => words(20, 25));
    await gateway.say("bot", "go");
    await until(answered);
    const ids = new Set(streams(gateway).map(({ id }) => id));
    expect(ids.size).toBeGreaterThan(1);
    expect(streams(gateway).filter(({ finish }) => finish)).toHaveLength(ids.size);
  });

  test("53. an answer after the 24 hours of its req_id is refused once and pushed", async () => {
    const { gateway, bot, until } = await ready();
    const asked = Promise.withResolvers<undefined>();
    const later = Promise.withResolvers<undefined>();
    bot.on("text", async () => {
      asked.resolve(undefined);
      await later.promise;
      return "the answer";
    });
    await gateway.say("bot", "go");
    await asked.promise;
    gateway.advance(86_400_001);
    later.resolve(undefined);
    expect(await until(answered)).toMatchObject({ route: "push", end: { type: "delivered" } });
    expect(gateway.log().some(({ errcode }) => errcode === 846604)).toBe(true);
    expect(streams(gateway)).toHaveLength(1);
    expect(seen(gateway).at(-1)).toMatchObject({ via: "send", content: "the answer" });
  });

  test.for([846605, 600039])("53. %i: the same req_id is not tried again, another way is", async (errcode) => {
    const { gateway, bot, until } = await ready({}, { faults: [`errcode:errcode=${errcode},cmd=aibot_respond_msg`] });
    bot.on("text", () => "the answer");
    await gateway.say("bot", "go");
    expect(await until(answered)).toMatchObject({ end: { type: "delivered" } });
    expect(streams(gateway)).toHaveLength(1);
    expect(seen(gateway)).toMatchObject([{ kind: "markdown", content: "the answer" }]);
  });

  test("54. 846607: the chat is left alone for a minute, and the final is not lost", { timeout: 10_000 }, async () => {
    const fault = "errcode:errcode=846607,cmd=aibot_respond_msg";
    const { gateway, bot, until } = await ready({ quota: { pauseMs: 600 } }, { faults: [fault] });
    bot.on("text", () => words(10, 10));
    await gateway.say("bot", "go");
    expect(await until(answered)).toMatchObject({ end: { type: "delivered" } });
    const at = sent(gateway, "aibot_respond_msg").map((each) => each.at);
    expect(at[1]! - at[0]!).toBeGreaterThanOrEqual(590);
    expect(streams(gateway)).toHaveLength(2);
    expect(streams(gateway)[1]).toMatchObject({ finish: true, content: "1 2 3 4 5 6 7 8 9 10 " });
  });

  test("55. 6000 is tried again, three times at most, in the same stream", { timeout: 10_000 }, async () => {
    const { gateway, bot, until } = await ready(
      {},
      { faults: ["errcode:errcode=6000,cmd=aibot_respond_msg,times=99"] },
    );
    bot.on("text", () => "the answer");
    await gateway.say("bot", "go");
    await until(answered);
    expect(streams(gateway)).toHaveLength(4);
    expect(new Set(streams(gateway).map(({ id }) => id)).size).toBe(1);
    const at = sent(gateway, "aibot_respond_msg").map((each) => each.at);
    expect(at[1]! - at[0]!).toBeGreaterThanOrEqual(190);
    expect(at[3]! - at[2]!).toBeGreaterThanOrEqual(790);
  });

  test("56. a gateway that has forgotten the subscription: one reconnect, and the answer arrives", async () => {
    const { gateway, bot, until } = await ready();
    bot.on("text", async () => {
      await gateway.addFault("forget");
      return "the answer";
    });
    await gateway.say("bot", "go");
    expect(await until(answered)).toMatchObject({ end: { type: "delivered" } });
    expect(await until(moved("waiting"))).toMatchObject({ why: "not-subscribed" });
    expect(of(gateway, "aibot_subscribe")).toHaveLength(2);
    expect(seen(gateway)).toMatchObject([{ content: "the answer" }]);
  });

  test("57. an ack that never comes: later frames go on, and the last one is all of it", async () => {
    const { gateway, bot } = await ready(
      { ackMs: 100, pingTimeoutMs: 5_000 },
      { faults: ["ack-drop:cmd=aibot_respond_msg,nth=2"] },
    );
    bot.on("text", () => words(40, 10));
    await gateway.say("bot", "go");
    await eventually(() => seen(gateway).some(({ finished }) => finished));
    expect(seen(gateway)).toMatchObject([{ content: expect.stringMatching(/ 40 $/) as string }]);
    expect(streams(gateway).filter(({ finish }) => finish)).toHaveLength(1);
    expect(of(gateway, "aibot_send_msg")).toEqual([]);
  });

  test("57. a file whose ack never comes is not sent twice", async () => {
    const { gateway, bot } = await ready(
      { ackMs: 200, pingTimeoutMs: 5_000 },
      { faults: ["ack-drop:cmd=aibot_send_msg,times=9"] },
    );
    const file = reply.file(new Uint8Array(100).fill(65), { filename: "a.bin" } satisfies FileReplyOptions);
    expect(await bot.push({ userid: "zhangsan" }, file)).toMatchObject({ type: "unknown" });
    await pause(300);
    expect(of(gateway, "aibot_send_msg")).toHaveLength(1);
  });

  test("58. a late ack does not confirm the frame behind it, whose refusal is heard", async () => {
    // The first frame's ack comes 840 ms after it, too late by 240; the second frame's refusal 240 ms after that.
    const { gateway, bot, until } = await ready(
      { ackMs: 600, pingTimeoutMs: 5_000, subscribeMs: 5_000 },
      {
        switches: { ackLatencyMs: 480 },
        faults: ["ack-delay:ms=360,cmd=aibot_respond_msg", "errcode:errcode=846605,cmd=aibot_respond_msg,nth=2"],
      },
    );
    bot.on("text", async function* () {
      yield "one ";
      await pause(20);
      yield "two";
    });
    await gateway.say("bot", "go");
    expect(await until(answered)).toMatchObject({ route: "push", end: { type: "delivered" } });
    expect(seen(gateway).at(-1)).toMatchObject({ via: "send", content: expect.stringContaining("two") as string });
  });

  test(
    "59. sixty quick updates make few frames, and the last state is always delivered",
    { timeout: 20_000 },
    async () => {
      // The gateway that counts each refresh.
      const { gateway, bot, until } = await ready(
        { quota: {} },
        { switches: { quota: "on", quotaCountsRefreshes: "on" } },
      );
      bot.on("text", () => words(60, 5));
      await gateway.say("bot", "go");
      expect(await until(answered)).toMatchObject({ end: { type: "delivered" } });
      expect(streams(gateway).length).toBeLessThanOrEqual(30);
      expect(gateway.log().some(({ errcode }) => errcode === 846607)).toBe(false);
      expect(seen(gateway)).toMatchObject([{ content: expect.stringMatching(/ 60 $/) as string }]);
    },
  );

  test.for(["accept", "refuse"] as const)(
    "60. a drop in the middle, and a gateway that does %s the old req_id: all of the text arrives",
    async (oldReqIdAfterReconnect) => {
      const { gateway, bot, until } = await ready({}, { switches: { oldReqIdAfterReconnect } });
      bot.on("text", () => words(10, 20));
      const { reqId } = await gateway.say("bot", "go");
      await eventually(() => streams(gateway).length >= 2);
      gateway.cut(gateway.connections()[0]!.n, "reset");
      expect(await until(answered)).toMatchObject({ end: { type: "delivered" } });
      const tried = sent(gateway, "aibot_respond_msg").find(({ connection }) => connection === 2);
      expect(tried!.frame.headers.req_id).toBe(reqId);
      const shown = seen(gateway)
        .map(({ content }) => content)
        .join("");
      expect(shown).toMatch(/^1 2 .*9 10 $/s);
      expect(seen(gateway).at(-1)!.via).toBe(oldReqIdAfterReconnect === "accept" ? "respond" : "send");
    },
  );

  test("61. sends that time out, fail or are never waited for harm no process, and are told", async () => {
    const { gateway, bot, events } = await ready(
      { ackMs: 500, pingTimeoutMs: 5_000 },
      { faults: ["ack-drop:cmd=aibot_send_msg,times=10", "errcode:errcode=40058,cmd=aibot_send_msg,nth=11,times=10"] },
    );
    const ends = await Promise.all(Array.from({ length: 20 }, (_, at) => bot.push({ userid: `u${at}` }, `n${at}`)));
    expect(ends.map(({ type }) => type)).toEqual([
      ...Array.from({ length: 10 }, () => "unknown"),
      ...Array.from({ length: 10 }, () => "failed"),
    ]);
    expect(of(gateway, "aibot_send_msg")).toHaveLength(20);
    expect(events.some(({ type }) => type === "observer-failed")).toBe(false);
  });

  test("62. answers to twenty chats at once are whole frames, one a message", async () => {
    const { gateway, bot } = await ready({}, { switches: { ackLatencyMs: 5 } });
    bot.on("text", () => words(10, 2));
    const users = Array.from({ length: 20 }, (_, at) => `u${at}`);
    const told = await Promise.all(users.map((user) => gateway.say("bot", text("go", user), { waitMs: 4_500 })));
    for (const each of told) expect(each.reply).toBe("1 2 3 4 5 6 7 8 9 10 ");
    for (const entry of gateway.log().filter(({ dir }) => dir === "in"))
      expect(JSON.parse(entry.text)).toMatchObject({ cmd: expect.any(String) as string });
  });
});

describe("active push", () => {
  test.for([
    [{ userid: "Lily" }, "Lily", 1],
    [{ chatid: "wrAbC" }, "wrAbC", 2],
  ] as const)("63. a push to %o says its raw id and its chat_type", async ([to, chatid, chat_type]) => {
    const { gateway, bot } = await ready();
    expect(await bot.push(to, "hi")).toEqual({ type: "delivered" });
    expect(of(gateway, "aibot_send_msg")[0]!.body).toMatchObject({ chatid, chat_type });
  });

  test("64. a user nobody spoke to (93006) is not tried again", async () => {
    const { gateway, bot } = await ready({}, { switches: { chatPrecondition: "on" } });
    expect(await bot.push({ userid: "stranger" }, "hi")).toMatchObject({ type: "failed", errcode: 93006 });
    await pause(300);
    expect(of(gateway, "aibot_send_msg")).toHaveLength(1);
  });

  test("64. a group without the bot (93001) is not tried again", async () => {
    const { gateway, bot } = await ready({}, { faults: ["errcode:errcode=93001,cmd=aibot_send_msg,times=9"] });
    expect(await bot.push({ chatid: "wr" }, "hi")).toMatchObject({ type: "failed", errcode: 93001 });
    await pause(300);
    expect(of(gateway, "aibot_send_msg")).toHaveLength(1);
  });

  test("65. without a line it fails at once, and no second connection is made", async () => {
    const { gateway, bot, until } = await ready();
    await gateway.addFault("down:forMs=1000");
    await until(moved("waiting"));
    const at = performance.now();
    expect(await bot.push({ userid: "lily" }, "hi")).toMatchObject({ type: "failed" });
    expect(performance.now() - at).toBeLessThan(500);
    await gateway.waitForBot("bot");
    expect(gateway.connections()).toHaveLength(1);
    expect(of(gateway, "aibot_send_msg")).toEqual([]);
  });

  test("66. without an ack it is unknown, and not sent again", async () => {
    const { gateway, bot } = await ready(
      { ackMs: 200, pingTimeoutMs: 5_000 },
      { faults: ["ack-drop:cmd=aibot_send_msg,times=9"] },
    );
    const raw = reply.raw({ msgtype: "markdown", markdown: { content: "x" } });
    for (const [at, message] of ["hi", raw].entries()) {
      expect(await bot.push({ userid: "lily" }, message)).toMatchObject({ type: "unknown" });
      expect(of(gateway, "aibot_send_msg")).toHaveLength(at + 1);
    }
    await pause(300);
    expect(of(gateway, "aibot_send_msg")).toHaveLength(2);
  });

  test("67. a text is sent as Markdown, since a push knows no text", async () => {
    const { gateway, bot } = await ready();
    expect(await bot.push({ userid: "lily" }, reply.text("hi"))).toEqual({ type: "delivered" });
    expect(of(gateway, "aibot_send_msg")[0]!.body).toMatchObject({ msgtype: "markdown", markdown: { content: "hi" } });
  });
});
