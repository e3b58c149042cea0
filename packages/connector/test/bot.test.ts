import { once } from "node:events";
import { describe, expect, test } from "vitest";
import { UsageError } from "@openws/protocol";
import type { TemplateCard } from "@openws/protocol";
import { type Bot, type BotEvent, type BotOptions, createBot, rememberedMsgids } from "../src/bot.ts";
import { reply } from "../src/reply.ts";
import {
  type FakeSocket,
  VirtualGateway,
  VirtualRuntime,
  callback,
  happening,
  never,
  pause,
  quiet,
} from "./virtual.ts";

interface Line {
  readonly runtime: VirtualRuntime;
  readonly bot: Bot;
  readonly events: BotEvent[];
  /** The events of one type. */
  readonly of: <Type extends BotEvent["type"]>(type: Type) => Extract<BotEvent, { type: Type }>[];
}

function setUp(options: Partial<BotOptions> = {}): Line {
  const runtime = new VirtualRuntime();
  const bot = createBot({ botId: "bot", secret: "s3cret", runtime, ...options });
  const events: BotEvent[] = [];
  bot.observe((event) => events.push(event));
  return {
    runtime,
    bot,
    events,
    of: (type) => events.filter((event) => event.type === type) as never,
  };
}

/** A bot that is subscribed over a socket which acks everything. */
async function subscribed(options: Partial<BotOptions> = {}): Promise<Line & { socket: FakeSocket }> {
  const line = setUp(options);
  void line.bot.start();
  const socket = await line.runtime.subscribe();
  socket.acknowledge();
  return { ...line, socket };
}

/** What the bubbles on this socket show, frame by frame: text, and whether that was the last. */
function bubbles(socket: FakeSocket): [string, boolean][] {
  return socket
    .of("aibot_respond_msg")
    .map(({ body }) => [body.stream?.content ?? body.markdown?.content ?? "", body.stream?.finish ?? true]);
}

const card: TemplateCard = {
  card_type: "button_interaction",
  main_title: { title: "t" },
  button_list: [{ text: "b", key: "k" }],
  task_id: "t1",
};

describe("answers", () => {
  test("a string is one finished frame under the message's req_id", async () => {
    const { bot, socket, of } = await subscribed();
    bot.on("text", ({ text }) => `you said ${text}`);
    socket.receive(callback("hi", {}, "R"));
    await quiet();
    const [frame, ...more] = socket.of("aibot_respond_msg");
    expect(more).toEqual([]);
    expect(frame).toMatchObject({
      headers: { req_id: "R" },
      body: { msgtype: "stream", stream: { finish: true, content: "you said hi" } },
    });
    expect(of("answered")).toEqual([{ type: "answered", reqId: "R", route: "stream", end: { type: "delivered" } }]);
  });

  test("strings of an iterable are deltas of one bubble, each frame holds all of the text so far", async () => {
    const { bot, socket } = await subscribed();
    bot.on("text", async function* () {
      for (const part of ["one", " two", " three"]) {
        yield part;
        await quiet();
      }
    });
    socket.receive(callback("hi"));
    for (let at = 0; at < 6; at++) await quiet();
    expect(bubbles(socket)).toEqual([
      ["one", false],
      ["one two", false],
      ["one two three", false],
      ["one two three", true],
    ]);
    expect(new Set(socket.of("aibot_respond_msg").map(({ body }) => body.stream?.id)).size).toBe(1);
  });

  test("a plain generator, an array and a stream are iterables too", async () => {
    for (const result of [
      ["a", "b"],
      (function* () {
        yield "a";
        yield "b";
      })(),
      new ReadableStream<string>({
        start(controller) {
          controller.enqueue("a");
          controller.enqueue("b");
          controller.close();
        },
      }),
    ]) {
      const { bot, socket } = await subscribed();
      bot.on("text", () => result);
      socket.receive(callback("hi"));
      await quiet();
      await quiet();
      expect(bubbles(socket).at(-1)).toEqual(["ab", true]);
    }
  });

  test("chunks of a model's stream are deltas", async () => {
    const { bot, socket } = await subscribed();
    bot.on("text", async function* () {
      yield { choices: [{ delta: {} }] };
      yield { choices: [{ delta: { content: "Hel" } }] };
      yield { choices: [{ delta: { content: "lo" } }] };
      yield { choices: [{ delta: { content: null } }] };
      yield { choices: [] };
    });
    socket.receive(callback("hi"));
    await quiet();
    expect(bubbles(socket).at(-1)).toEqual(["Hello", true]);
  });

  test("a whole message ends the bubble and stands alone, in order", async () => {
    const { bot, socket } = await subscribed();
    bot.on("text", async function* () {
      yield "before";
      yield reply.card(card);
      yield "after";
    });
    socket.receive(callback("hi", {}, "R"));
    for (let at = 0; at < 4; at++) await quiet();
    const frames = socket.of("aibot_respond_msg");
    expect(frames.every(({ headers }) => headers.req_id === "R")).toBe(true);
    const seen = frames.map(
      ({ body }) => body.template_card?.task_id ?? `${body.stream!.content}${body.stream!.finish}`,
    );
    expect(seen.filter((each) => each !== "beforefalse" && each !== "afterfalse")).toEqual([
      "beforetrue",
      "t1",
      "aftertrue",
    ]);
    const ids = new Set(frames.flatMap(({ body }) => (body.stream === undefined ? [] : [body.stream.id])));
    expect(ids.size).toBe(2);
  });

  test("a body as on the wire goes out as it is", async () => {
    const { bot, socket } = await subscribed();
    bot.on("text", () => ({ msgtype: "markdown", markdown: { content: "# hi" } }));
    socket.receive(callback("hi", {}, "R"));
    await quiet();
    expect(socket.of("aibot_respond_msg")[0]).toMatchObject({
      headers: { req_id: "R" },
      body: { msgtype: "markdown", markdown: { content: "# hi" } },
    });
  });

  test.for([[undefined], [null]])("a handler that returns %o says nothing", async ([nothing]) => {
    const { bot, socket, of } = await subscribed();
    bot.on("text", () => nothing);
    socket.receive(callback("hi"));
    await quiet();
    expect(socket.of("aibot_respond_msg")).toEqual([]);
    expect(of("handler-failed")).toEqual([]);
  });

  test("an iterable that yields nothing ends its bubble with something visible", async () => {
    const { bot, socket } = await subscribed();
    bot.on("text", async function* () {});
    socket.receive(callback("hi"));
    await quiet();
    expect(bubbles(socket)).toEqual([["（无内容 · No content）", true]]);
  });

  test.for([
    [
      "throws",
      () => {
        throw new Error("broken");
      },
    ],
    ["rejects", () => Promise.reject(new Error("broken"))],
    [
      "throws what is no error",
      () => {
        throw Object.create(null);
      },
    ],
    ["returns what is no answer", () => 42 as never],
    ["yields what is no answer", () => [{ what: 1 } as never]],
    ["returns a card that the gateway would refuse", () => reply.card({ ...card, button_list: [] })],
  ] as [string, () => never][])("a handler that %s is told, and the user gets a sentence", async ([, handler]) => {
    const { bot, socket, of } = await subscribed({ texts: { failed: "sorry" } });
    bot.on("text", handler);
    socket.receive(callback("hi", {}, "R"));
    await quiet();
    await quiet();
    expect(of("handler-failed")).toMatchObject([{ reqId: "R" }]);
    expect(bubbles(socket)).toEqual([["sorry", true]]);
  });

  test("a generator that throws in the middle ends the bubble that stands", async () => {
    const { bot, socket } = await subscribed({ texts: { failed: "sorry" } });
    bot.on("text", async function* () {
      yield "half";
      await quiet();
      throw new Error("broken");
    });
    socket.receive(callback("hi"));
    for (let at = 0; at < 4; at++) await quiet();
    expect(bubbles(socket)).toEqual([
      ["half", false],
      ["half\n\nsorry", true],
    ]);
  });

  test("a handler that hangs is ended for the user, and its chat goes on", async () => {
    const { bot, socket, runtime, of } = await subscribed({ handlerMs: 60_000, texts: { expired: "too long" } });
    bot.on("text", ({ text }) => (text === "hang" ? never<string>() : text));
    socket.receive(callback("hang"));
    socket.receive(callback("next"));
    await runtime.advance(59_999);
    expect(bubbles(socket)).toEqual([]);
    await runtime.advance(2);
    expect(bubbles(socket)).toEqual([
      ["too long", true],
      ["next", true],
    ]);
    expect(of("cut-off")).toMatchObject([{ why: "expired" }]);
  });

  test("a stream that stalls is ended under what it said", async () => {
    const { bot, socket, runtime } = await subscribed({ handlerMs: 60_000, texts: { expired: "too long" } });
    bot.on("text", async function* () {
      yield "half";
      await never();
    });
    socket.receive(callback("hi"));
    await runtime.advance(60_001);
    expect(bubbles(socket).at(-1)).toEqual(["half\n\ntoo long", true]);
  });

  test("the placeholder is shown when a handler is silent, and gives way to the first word", async () => {
    const { bot, socket, runtime } = await subscribed({ placeholder: "thinking…", placeholderMs: 500 });
    const { promise, resolve } = Promise.withResolvers<string>();
    bot.on("text", () => promise);
    socket.receive(callback("hi"));
    await runtime.advance(499);
    expect(bubbles(socket)).toEqual([]);
    await runtime.advance(1);
    expect(bubbles(socket)).toEqual([["thinking…", false]]);
    resolve("done");
    await quiet();
    expect(bubbles(socket).at(-1)).toEqual(["done", true]);
    expect(new Set(socket.of("aibot_respond_msg").map(({ body }) => body.stream?.id)).size).toBe(1);
  });

  test("a quick answer never shows the placeholder, a failed one takes its place", async () => {
    const { bot, socket, runtime } = await subscribed({ placeholder: "thinking…", texts: { failed: "sorry" } });
    bot.on("text", async ({ text }) => {
      if (text === "quick") return "done";
      await pause(runtime, 2_000);
      throw new Error("x");
    });
    socket.receive(callback("quick"));
    await runtime.advance(5_000);
    expect(bubbles(socket)).toEqual([["done", true]]);
    socket.receive(callback("slow"));
    await runtime.advance(5_000);
    expect(bubbles(socket).slice(1)).toEqual([
      ["thinking…", false],
      ["sorry", true],
    ]);
  });

  test("846605 turns the answer into a push, with the raw id and its chat_type", async () => {
    const { bot, socket, of } = await subscribed();
    socket.acknowledge(({ cmd }) => (cmd === "aibot_respond_msg" ? 846605 : 0));
    bot.on("text", () => "hello");
    socket.receive(callback("hi", { chattype: "group", chatid: "wrAbC" }));
    await quiet();
    await quiet();
    expect(socket.of("aibot_respond_msg")).toHaveLength(1);
    expect(socket.of("aibot_send_msg")).toMatchObject([
      { body: { chatid: "wrAbC", chat_type: 2, msgtype: "markdown", markdown: { content: "hello" } } },
    ]);
    expect(of("answered")).toMatchObject([{ route: "push", end: { type: "delivered" } }]);
  });

  test("a refusal for good is told with its code", async () => {
    const { bot, socket, of } = await subscribed();
    socket.acknowledge(() => 93006);
    bot.on("text", () => "hello");
    socket.receive(callback("hi"));
    for (let at = 0; at < 4; at++) await quiet();
    expect(of("answered")).toMatchObject([{ end: { type: "failed", errcode: 93006 } }]);
  });

  test("a drop in the middle: the answer is finished after the reconnect", async () => {
    const { bot, socket, runtime } = await subscribed();
    const { promise, resolve } = Promise.withResolvers<undefined>();
    bot.on("text", async function* () {
      yield "one";
      await promise;
      yield " two";
    });
    socket.receive(callback("hi", {}, "R"));
    await quiet();
    expect(bubbles(socket)).toEqual([["one", false]]);
    socket.close();
    resolve(undefined);
    await runtime.advance(1_500);
    const next = await runtime.subscribe();
    next.acknowledge();
    await quiet();
    expect(bubbles(next).at(-1)).toEqual(["one two", true]);
    expect(next.of("aibot_respond_msg")[0]!.headers.req_id).toBe("R");
  });

  test("a callback whose req_id cannot be sent back is told as failed and leaves nothing open", async () => {
    const { bot, socket, of } = await subscribed();
    bot.on("text", () => "hello");
    socket.receive(callback("hi", {}, "x".repeat(300)));
    await quiet();
    expect(of("answered")).toMatchObject([
      { end: { type: "failed", why: expect.stringContaining("req_id") as string } },
    ]);
  });

  test("answers of one chat keep to 30 messages in any minute, and the last state always comes", async () => {
    const gateway = new VirtualGateway({ switches: { ackLatencyMs: 10, ackJitterMs: 0, quotaCountsRefreshes: "on" } });
    const { runtime } = gateway;
    const bot = createBot({ botId: "bot", secret: "s3cret", runtime });
    bot.on("text", async function* () {
      for (let at = 1; at <= 300; at++) {
        yield `${at} `;
        await pause(runtime, 200);
      }
    });
    void bot.start();
    await runtime.advance(1_000);
    const told = gateway.say("go", "lily", 300_000);
    await runtime.advance(300_000);
    const { reply: read, replies } = await told;
    expect(read).toMatch(/^1 2 3 .* 299 300 $/);
    expect(replies).toHaveLength(1);
    const refused = runtime.socket.frames.length;
    expect(refused).toBeGreaterThan(10);
    const at: number[] = gateway.sentAt("aibot_respond_msg");
    for (const from of at)
      expect(at.filter((each) => each >= from && each < from + 60_000).length).toBeLessThanOrEqual(30);
  });

  test("an answer longer than nine minutes goes on in a new bubble, and nothing of it is lost", async () => {
    const gateway = new VirtualGateway();
    const { runtime } = gateway;
    const bot = createBot({ botId: "bot", secret: "s3cret", runtime });
    bot.on("text", async function* () {
      for (let minute = 1; minute <= 15; minute++) {
        yield `minute ${minute}\n`;
        await pause(runtime, 60_000);
      }
    });
    void bot.start();
    await runtime.advance(1_000);
    void gateway.say("go");
    await runtime.advance(16 * 60_000);
    const read = gateway.reads();
    expect(read).toHaveLength(2);
    for (let minute = 1; minute <= 15; minute++) expect(read.join("\n")).toContain(`minute ${minute}\n`.trimEnd());
    expect(gateway.world.chat("bot", "lily")!.items.every((item) => item.by === "user" || item.finished)).toBe(true);
  });
});

describe("turns", () => {
  test("messages of one chat are handled in order, chats in parallel", async () => {
    const { bot, socket } = await subscribed();
    const order: string[] = [];
    const { promise, resolve } = Promise.withResolvers<undefined>();
    bot.on("text", async ({ text }) => {
      order.push(text);
      await promise;
      return text;
    });
    for (const text of ["a1", "a2"]) socket.receive(callback(text));
    socket.receive(callback("b1", { from: { userid: "tom" } }));
    // A group is a chat of its own, even where its members speak to the bot alone as well.
    socket.receive(callback("g1", { chattype: "group", chatid: "lily" }));
    await quiet();
    expect(order).toEqual(["a1", "b1", "g1"]);
    resolve(undefined);
    await quiet();
    expect(order).toEqual(["a1", "b1", "g1", "a2"]);
  });

  test("replace: a newer message aborts the signal of the older one and ends its bubble", async () => {
    const { bot, socket, of } = await subscribed({ whenBusy: "replace" });
    let aborted = false;
    bot.on("text", async function* ({ text, signal }) {
      signal.addEventListener("abort", () => (aborted = true));
      yield text;
      if (text === "old") await never();
    });
    socket.receive(callback("old", {}, "R1"));
    await quiet();
    socket.receive(callback("new", {}, "R2"));
    await quiet();
    await quiet();
    expect(aborted).toBe(true);
    expect(of("cut-off")).toEqual([{ type: "cut-off", reqId: "R1", why: "replaced" }]);
    const last = (req_id: string) =>
      socket.of("aibot_respond_msg").findLast(({ headers }) => headers.req_id === req_id)!.body.stream;
    expect(last("R1")).toMatchObject({ finish: true, content: "old\n\n（已停止 · Stopped）" });
    expect(last("R2")).toMatchObject({ finish: true, content: "new" });
  });

  test("what a handler says after it was cut off is not shown and does no harm", async () => {
    const { bot, socket, of } = await subscribed({ whenBusy: "replace" });
    const { promise, resolve } = Promise.withResolvers<undefined>();
    bot.on("text", async function* ({ text }) {
      yield text;
      if (text !== "old") return;
      await promise;
      yield "too late";
    });
    socket.receive(callback("old", {}, "R1"));
    await quiet();
    socket.receive(callback("new", {}, "R2"));
    await quiet();
    resolve(undefined);
    await quiet();
    expect(socket.sent.join()).not.toContain("too late");
    expect(of("handler-failed")).toEqual([]);
  });

  test("drop: a message that comes while its chat is busy is told as dropped", async () => {
    const { bot, socket, of } = await subscribed({ whenBusy: "drop" });
    bot.on("text", () => never<string>());
    socket.receive(callback("1", {}, "R1"));
    socket.receive(callback("2", {}, "R2"));
    expect(of("dropped")).toEqual([{ type: "dropped", reqId: "R2", why: "busy" }]);
  });

  test("a handler that takes a minute holds up neither pings nor other chats", async () => {
    const { bot, socket, runtime } = await subscribed();
    bot.on("text", async ({ text }) => {
      if (text !== "slow") return text;
      await pause(runtime, 60_000);
      return "slow done";
    });
    socket.receive(callback("slow"));
    await runtime.advance(45_000);
    socket.receive(callback("quick", { from: { userid: "tom" } }));
    await quiet();
    expect(bubbles(socket)).toEqual([["quick", true]]);
    await runtime.advance(15_000);
    expect(bubbles(socket).at(-1)).toEqual(["slow done", true]);
    expect(socket.of("ping").length).toBeGreaterThanOrEqual(2);
  });
});

describe("events", () => {
  test("enter_chat is welcomed under its req_id", async () => {
    const { bot, socket, of } = await subscribed();
    bot.on("enter_chat", () => reply.text("welcome"));
    const event = happening("enter_chat");
    socket.receive(event);
    await quiet();
    expect(socket.of("aibot_respond_welcome_msg")).toMatchObject([
      { headers: event.headers, body: { msgtype: "text", text: { content: "welcome" } } },
    ]);
    expect(of("answered")).toMatchObject([{ route: "welcome", end: { type: "delivered" } }]);
  });

  test("strings of an iterable make one welcome", async () => {
    const { bot, socket } = await subscribed();
    bot.on("enter_chat", async function* () {
      yield "wel";
      yield "come";
    });
    socket.receive(happening("enter_chat"));
    await quiet();
    expect(socket.of("aibot_respond_welcome_msg").map(({ body }) => body.text!.content)).toEqual(["welcome"]);
  });

  test("a clicked card is replaced by the handler's card, within five seconds; later it is pushed", async () => {
    const { bot, socket, runtime } = await subscribed();
    bot.on("template_card_event", async ({ body }) => {
      const { event_key } = body.event.template_card_event;
      if (event_key === "late") await pause(runtime, 5_000);
      return reply.card(card);
    });
    const click = (event_key: string) => ({ template_card_event: { event_key, task_id: "t1" } });
    socket.receive(happening("template_card_event", click("now")));
    await quiet();
    expect(socket.of("aibot_respond_update_msg")).toHaveLength(1);
    socket.receive(happening("template_card_event", click("late")));
    await runtime.advance(5_000);
    expect(socket.of("aibot_respond_update_msg")).toHaveLength(1);
    expect(socket.of("aibot_send_msg")).toMatchObject([{ body: { chatid: "lily", chat_type: 1 } }]);
  });

  test("an event is never answered by a reply to a message", async () => {
    const { bot, socket } = await subscribed();
    for (const kind of ["enter_chat", "feedback_event", "unknown_event"] as const) bot.on(kind, () => "thanks");
    socket.receive(happening("enter_chat"));
    socket.receive(happening("feedback_event", { feedback_event: { id: "f", type: 2 } }));
    socket.receive(happening("moon_event"));
    await quiet();
    expect(socket.of("aibot_respond_msg")).toEqual([]);
    expect(socket.of("aibot_respond_welcome_msg")).toHaveLength(1);
    expect(socket.of("aibot_send_msg")).toHaveLength(2);
  });

  test("feedback without a handler is answered by nothing", async () => {
    const { socket, of } = await subscribed();
    const sent = socket.sent.length;
    socket.receive(happening("feedback_event", { feedback_event: { id: "f", type: 1 } }));
    await quiet();
    expect(socket.sent).toHaveLength(sent);
    expect(of("unhandled")).toMatchObject([{ kind: "feedback_event" }]);
  });

  test("a handler of an event that throws is told, and nobody is bothered", async () => {
    const { bot, socket, of } = await subscribed();
    bot.on("enter_chat", () => Promise.reject(new Error("broken")));
    const sent = socket.sent.length;
    socket.receive(happening("enter_chat"));
    await quiet();
    expect(of("handler-failed")).toHaveLength(1);
    expect(socket.sent).toHaveLength(sent);
  });

  test("an event does not wait for the messages of its chat", async () => {
    const { bot, socket } = await subscribed();
    bot.on("text", () => never<string>());
    bot.on("enter_chat", () => "welcome");
    socket.receive(callback("hi"));
    socket.receive(happening("enter_chat"));
    await quiet();
    expect(socket.of("aibot_respond_welcome_msg")).toHaveLength(1);
  });
});

describe("messages", () => {
  test("a msgid is handled once, also with a new req_id and over a new socket", async () => {
    const { bot, socket, runtime, of } = await subscribed();
    let handled = 0;
    bot.on("text", () => void handled++);
    socket.receive(callback("hi", { msgid: "M" }, "R1"));
    socket.receive(callback("hi", { msgid: "M" }, "R2"));
    socket.close();
    await runtime.advance(1_500);
    const next = await runtime.subscribe();
    next.receive(callback("hi", { msgid: "M" }, "R3"));
    expect(handled).toBe(1);
    expect(of("duplicate")).toHaveLength(2);
  });

  test("the memory of msgids is bounded, and the youngest ten thousand are in it", async () => {
    const { bot, socket } = await subscribed({ maxRunning: 100_000 });
    let handled = 0;
    bot.on("text", () => void handled++);
    const last = 2 * rememberedMsgids;
    for (let at = 0; at <= last; at++) socket.receive(callback("x", { msgid: `m${at}`, from: { userid: `u${at}` } }));
    await quiet();
    expect(handled).toBe(last + 1);
    for (const at of [last, last - rememberedMsgids + 1]) socket.receive(callback("x", { msgid: `m${at}` }));
    await quiet();
    expect(handled).toBe(last + 1);
    socket.receive(callback("x", { msgid: "m0" }));
    await quiet();
    expect(handled).toBe(last + 2);
  });

  test("a kind without a handler of its own goes to the handler of all", async () => {
    const { bot, socket } = await subscribed();
    const kinds: string[] = [];
    bot.on("text", () => void kinds.push("own"));
    bot.on("message", ({ kind }) => void kinds.push(kind));
    socket.receive(callback("x"));
    socket.receive(callback("", { msgtype: "voice", voice: { content: "v" } }));
    socket.receive(callback("", { msgtype: "hologram" }));
    await quiet();
    expect(kinds).toEqual(["own", "voice", "unknown"]);
  });

  test("an observer that throws does not break the line", async () => {
    const { bot, socket, of } = await subscribed();
    bot.observe(() => {
      throw new Error("broken");
    });
    bot.on("text", () => "hello");
    socket.receive(callback("hi"));
    await quiet();
    expect(bubbles(socket)).toEqual([["hello", true]]);
    expect(of("observer-failed").length).toBeGreaterThan(0);
  });
});

describe("push", () => {
  test("to a user and to a group, as Markdown with its chat_type", async () => {
    const { bot, socket } = await subscribed();
    expect(await bot.push({ userid: "Lily" }, "hi")).toEqual({ type: "delivered" });
    expect(await bot.push({ chatid: "wrX" }, reply.card(card))).toEqual({ type: "delivered" });
    expect(socket.of("aibot_send_msg")).toMatchObject([
      { body: { chatid: "Lily", chat_type: 1, msgtype: "markdown" } },
      { body: { chatid: "wrX", chat_type: 2, msgtype: "template_card" } },
    ]);
  });

  test("without a line it fails at once and sends nothing", async () => {
    const { bot } = setUp();
    expect(await bot.push({ userid: "lily" }, "hi")).toMatchObject({ type: "failed" });
    expect(await bot.push({ userid: "lily" }, reply.card(card))).toMatchObject({ type: "failed" });
  });

  test("a refused target is not tried again", async () => {
    const { bot, socket } = await subscribed();
    socket.acknowledge(() => 93006);
    expect(await bot.push({ userid: "nobody" }, "hi")).toMatchObject({ type: "failed", errcode: 93006 });
    expect(socket.of("aibot_send_msg")).toHaveLength(1);
  });

  test("an ack that never comes leaves it unknown, and it is not sent again", async () => {
    const { bot, socket, runtime } = await subscribed();
    socket.onSend = (frame) => frame.cmd === "ping" && socket.ack(frame.headers.req_id);
    const end = bot.push({ userid: "lily" }, reply.card(card));
    const text = bot.push({ userid: "tom" }, "hi");
    await runtime.advance(120_000);
    expect(await end).toMatchObject({ type: "unknown" });
    expect(await text).toMatchObject({ type: "unknown" });
    expect(socket.of("aibot_send_msg")).toHaveLength(2);
  });

  test.for([
    ["no target", { userid: "" }, "hi"],
    ["no text", { userid: "lily" }, " \u200b"],
    ["a card without buttons", { userid: "lily" }, reply.card({ ...card, button_list: [] })],
    ["a msgtype that cannot be pushed", { userid: "lily" }, reply.raw({ msgtype: "text", text: { content: "x" } })],
  ] as const)("%s is a mistake of the caller's", async ([, to, message]) => {
    const { bot, socket } = await subscribed();
    const sent = socket.sent.length;
    await expect(bot.push(to, message)).rejects.toThrow(UsageError);
    expect(socket.sent).toHaveLength(sent);
  });
});

describe("state", () => {
  test("three truths: the socket, the subscription, and whether anything is received", async () => {
    const { bot, runtime } = setUp();
    expect(bot.state).toMatchObject({ connection: "idle", socket: false, subscribed: false, receiving: "no" });
    void bot.start();
    runtime.socket.open();
    expect(bot.state).toMatchObject({ connection: "subscribing", socket: true, subscribed: false, receiving: "no" });
    runtime.socket.ack(runtime.socket.of("aibot_subscribe")[0]!.headers.req_id);
    expect(bot.state).toMatchObject({ connection: "ready", socket: true, subscribed: true, receiving: "unproven" });
    runtime.socket.receive(callback("hi"));
    expect(bot.state).toMatchObject({ receiving: "yes" });
    expect(Math.abs(bot.state.lastFrameAt! - Date.now())).toBeLessThan(5_000);
    runtime.socket.close(1006, "gone");
    expect(bot.state).toMatchObject({ connection: "waiting", socket: false, subscribed: false, receiving: "no" });
    expect(bot.state.reason.en).toContain("gone");
  });

  test("while it tries again the reason of the loss stays", async () => {
    const { bot, runtime } = await subscribed();
    runtime.socket.close(1006, "gone");
    await runtime.advance(1_500);
    expect(bot.state.connection).toBe("dialing");
    expect(bot.state.reason.en).toContain("gone");
  });

  test("start resolves when it is subscribed, and when it never will be", async () => {
    const { bot, runtime } = setUp();
    const started = bot.start();
    await runtime.subscribe();
    expect((await started).connection).toBe("ready");
    expect((await bot.start()).connection).toBe("ready");

    const refused = setUp();
    const failed = refused.bot.start();
    const { socket } = refused.runtime;
    socket.open();
    socket.ack(socket.of("aibot_subscribe")[0]!.headers.req_id, 853000, "invalid bot_id or secret");
    const state = await failed;
    expect(state.connection).toBe("refused");
    expect(state.reason.en).toContain("853000");
    expect(socket.dropped).toBe("cut");
    await refused.runtime.advance(3_600_000);
    expect(refused.runtime.sockets).toHaveLength(1);
  });

  test("a secret that is looked up is looked up again when it is refused, and used once it is another", async () => {
    let kept = "old";
    const { bot, runtime } = setUp({ secret: () => kept });
    void bot.start();
    const refuse = (): void => {
      const { socket } = runtime;
      socket.open();
      socket.ack(socket.of("aibot_subscribe")[0]!.headers.req_id, 853000, "invalid bot_id or secret");
    };
    refuse();
    await runtime.advance(600_000);
    expect(runtime.sockets).toHaveLength(1);
    kept = "new";
    await runtime.advance(60_000);
    expect(runtime.sockets).toHaveLength(2);
    const socket = await runtime.subscribe();
    expect(socket.of("aibot_subscribe")[0]!.body["secret"]).toBe("new");
    expect(bot.state.connection).toBe("ready");
  });

  test("a probe on a quiet line proves that it receives, or that the gateway does not know it", async () => {
    const { bot, socket, runtime, of } = await subscribed({ probeMs: 60_000 });
    socket.acknowledge(({ cmd }) => (cmd === "aibot_respond_msg" ? 846605 : 0));
    socket.receive(callback("hi"));
    await runtime.advance(60_000);
    expect(of("probed")).toEqual([]);
    await runtime.advance(60_000);
    expect(of("probed")).toEqual([{ type: "probed", found: "subscribed" }]);
    expect(bot.state.receiving).toBe("yes");
    socket.acknowledge(({ cmd }) => (cmd === "aibot_respond_msg" ? 846609 : 0));
    await runtime.advance(60_000);
    expect(of("probed").at(-1)).toEqual({ type: "probed", found: "not-subscribed" });
    expect(bot.state.subscribed).toBe(false);
    expect(bot.state.receiving).toBe("no");
    await runtime.advance(10_000);
    expect(runtime.sockets).toHaveLength(2);
  });

  test("kicked: it stays away, says why, and what was open ends as not delivered", async () => {
    const { bot, socket, runtime, of } = await subscribed();
    let aborted = false;
    bot.on("text", async function* ({ signal }) {
      signal.addEventListener("abort", () => (aborted = true));
      yield "half";
      await never();
    });
    socket.receive(callback("hi", {}, "R"));
    await quiet();
    socket.receive({
      cmd: "aibot_event_callback",
      headers: { req_id: "E" },
      body: { msgtype: "event", event: { eventtype: "disconnected_event" } },
    });
    await quiet();
    expect(bot.state).toMatchObject({ connection: "kicked", subscribed: false });
    expect(bot.state.reason.zh).toContain("另一个实例");
    expect(socket.dropped).toBe("cut");
    expect(aborted).toBe(true);
    expect(of("answered")).toMatchObject([{ reqId: "R", end: { type: "failed" } }]);
    await runtime.advance(3_600_000);
    expect(runtime.sockets).toHaveLength(1);
    expect(runtime.alarms).toBe(0);
  });

  test("events can be read in a loop", async () => {
    const { bot, runtime } = setUp();
    const seen: string[] = [];
    const reading = (async () => {
      for await (const event of bot.events) {
        if (event.type === "moved") seen.push(event.to);
        if (seen.at(-1) === "ready") return;
      }
    })();
    void bot.start();
    await runtime.subscribe();
    await reading;
    expect(seen).toEqual(["dialing", "subscribing", "ready"]);
  });
});

describe("stop", () => {
  test("an open bubble is ended with a word, the socket is closed politely, nothing is left", async () => {
    const { bot, socket, runtime } = await subscribed();
    bot.on("text", async function* ({ signal }) {
      yield "half";
      await once(signal, "abort");
      yield " not this";
    });
    socket.receive(callback("hi"));
    await quiet();
    await bot.stop();
    expect(bubbles(socket).at(-1)).toEqual(["half\n\n（已停止 · Stopped）", true]);
    expect(socket.dropped).toBe("politely");
    expect(bot.state.connection).toBe("stopped");
    expect(runtime.alarms).toBe(0);
  });

  test("a gateway that acks nothing is not waited for longer than the drain", async () => {
    const { bot, socket, runtime, of } = await subscribed();
    socket.onSend = undefined;
    bot.on("text", () => "hello");
    socket.receive(callback("hi"));
    await quiet();
    const stopped = bot.stop(3_000);
    await runtime.advance(3_000);
    await stopped;
    expect(of("answered")).toMatchObject([{ end: { type: "unknown" } }]);
    expect(runtime.alarms).toBe(0);
  });

  test("what comes while it drains is told as dropped", async () => {
    const { bot, socket, of } = await subscribed();
    bot.on("text", () => "hello");
    const stopped = bot.stop();
    socket.receive(callback("hi", {}, "R"));
    await stopped;
    expect(of("dropped")).toEqual([{ type: "dropped", reqId: "R", why: "stopped" }]);
  });

  test("a push that waits for its chat's budget ends with the bot", async () => {
    const { bot, runtime } = await subscribed();
    const pushes = Array.from({ length: 12 }, (_, at) =>
      bot.push({ userid: "lily" }, reply.card({ ...card, task_id: `t${at}` })),
    );
    await quiet();
    await bot.stop();
    const ends = await Promise.all(pushes);
    expect(ends.filter(({ type }) => type === "delivered")).toHaveLength(10);
    expect(ends.at(-1)).toMatchObject({ type: "failed" });
    expect(runtime.alarms).toBe(0);
  });

  test("it can be started again", async () => {
    const { bot, socket, runtime } = await subscribed();
    bot.on("text", () => "hello");
    await bot.stop();
    void bot.start();
    const next = await runtime.subscribe();
    expect(next).not.toBe(socket);
    next.acknowledge();
    next.receive(callback("hi"));
    await quiet();
    expect(bubbles(next)).toEqual([["hello", true]]);
  });

  test("twice, before the start, and while it waits is no trouble", async () => {
    const { bot } = setUp();
    await bot.stop();
    await bot.stop();
    const { bot: lost, runtime } = await subscribed();
    runtime.socket.close();
    await lost.stop();
    expect(lost.state.connection).toBe("stopped");
  });
});

test.for([
  ["botId", { botId: "" }],
  ["url", { url: "" }],
  ["url", { url: "http://gateway" }],
  ["secret", { secret: "" }],
  ["heartbeatMs", { heartbeatMs: 0 }],
  ["maxRunning", { maxRunning: 0 }],
  ["handlerMs", { handlerMs: Infinity }],
] as [string, Partial<BotOptions>][])("an impossible %s is refused by name, without the secret", ([name, options]) => {
  expect(() => createBot({ botId: "bot", secret: "s3cret", runtime: new VirtualRuntime(), ...options })).toThrow(name);
});

test("a day with a reconnect every five minutes leaves no alarm, no handler and no bubble behind", async () => {
  const { bot, runtime } = setUp();
  bot.on("text", async function* () {
    yield "a";
    yield "b";
  });
  runtime.onDial = (socket) => {
    socket.acknowledge();
    queueMicrotask(() => socket.open());
  };
  void bot.start();
  await quiet();
  for (let at = 0; at < 288; at++) {
    runtime.socket.receive(callback(`${at}`));
    await runtime.advance(300_000);
    runtime.socket.close(1006, "five minutes are over");
    await runtime.advance(60_000);
    expect(bot.state.connection).toBe("ready");
    runtime.sockets.splice(0, runtime.sockets.length - 1);
  }
  expect(runtime.alarms).toBeLessThanOrEqual(3);
});
