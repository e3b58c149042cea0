/**
 * Answers by reference: to a message or event whose handler, or whose process, is gone.
 */
import { reply } from "../src/index.ts";
import { createBot, type Bot, type BotOptions } from "../src/bot.ts";
import type { BubbleState, Spent } from "../src/answer.ts";
import type { Origin } from "../src/handling.ts";
import { describe, expect, it } from "vitest";
import { VirtualRuntime, callback, happening, quiet } from "./virtual.ts";

async function joined(options: Partial<BotOptions> = {}): Promise<{ bot: Bot; runtime: VirtualRuntime }> {
  const runtime = new VirtualRuntime();
  const bot = createBot({ botId: "bot", secret: "s3cret", runtime, ...options });
  void bot.start();
  (await runtime.subscribe()).acknowledge();
  return { bot, runtime };
}

const message: Origin = { reqId: "r1", chat: { id: "lily", type: "single" }, kind: "text", event: false, ageMs: 1_000 };
const entered: Origin = {
  reqId: "e1",
  chat: { id: "lily", type: "single" },
  kind: "enter_chat",
  event: true,
  ageMs: 1_000,
};
const clicked: Origin = { ...entered, reqId: "e2", kind: "template_card_event" };
const card = {
  card_type: "text_notice",
  main_title: { title: "Hi" },
  card_action: { type: 1, url: "https://a.example" },
} as const;

describe("a later answer to a message", () => {
  it("is a bubble under it, with the id that is asked for", async () => {
    const { bot, runtime } = await joined();
    const answered = await bot.reply(message, "late", { id: "mine" });
    expect(answered).toEqual({ route: "stream", end: { type: "delivered" } });
    const [frame] = runtime.socket.of("aibot_respond_msg");
    expect(frame?.headers.req_id).toBe("r1");
    expect(frame?.body.stream).toEqual({ id: "mine", finish: true, content: "late" });
  });

  it("is a reply where it is a card, and a push where the gateway takes no reply", async () => {
    const { bot, runtime } = await joined();
    expect((await bot.reply(message, reply.card(card))).route).toBe("reply");
    runtime.socket.acknowledge((frame) => (frame.cmd === "aibot_respond_msg" ? 846_605 : 0));
    expect(await bot.reply(message, reply.card(card))).toEqual({ route: "push", end: { type: "delivered" } });
  });

  it("is pushed when the day is over", async () => {
    const { bot, runtime } = await joined();
    const old = { ...message, ageMs: 24 * 3_600_000 };
    expect((await bot.reply(old, "late")).route).toBe("push");
    expect((await bot.reply(old, reply.card(card))).route).toBe("push");
    expect(runtime.socket.of("aibot_respond_msg")).toEqual([]);
    expect(runtime.socket.of("aibot_send_msg").map(({ body }) => body["chatid"])).toEqual(["lily", "lily"]);
  });

  it("waits for a line as a text, and fails unsent as anything else", async () => {
    const { bot, runtime } = await joined();
    runtime.socket.close();
    const text = bot.reply(message, "late");
    expect(await bot.reply(message, reply.card(card))).toMatchObject({ end: { type: "failed", unsent: true } });
    await runtime.advance(3_000);
    const socket = await runtime.subscribe();
    socket.ack("r1");
    expect(await text).toEqual({ route: "stream", end: { type: "delivered" } });
  });

  it("says when the line was over under it", async () => {
    const { bot, runtime } = await joined();
    runtime.socket.onSend = undefined;
    const text = bot.reply(message, "late");
    const waiting = bot.reply({ ...message, reqId: "r2" }, reply.card(card));
    await quiet();
    runtime.socket.receive(happening("disconnected_event"));
    expect(await text).toMatchObject({ route: "stream", end: { stopped: true } });
    expect(await waiting).toMatchObject({ end: { type: "unknown" } });
    expect(await bot.push({ userid: "lily" }, "x")).toMatchObject({ type: "failed", unsent: true });
  });
});

describe("a later answer to an event", () => {
  it("is a welcome or an update within five seconds", async () => {
    const { bot, runtime } = await joined();
    expect((await bot.reply(entered, "hello")).route).toBe("welcome");
    expect((await bot.reply(clicked, reply.card(card))).route).toBe("update");
    expect(runtime.socket.of("aibot_respond_welcome_msg")[0]?.body.text).toEqual({ content: "hello" });
    expect(runtime.socket.of("aibot_respond_update_msg").length).toBe(1);
  });

  it("is a push later, where the welcome is refused, and where the event takes none", async () => {
    const { bot, runtime } = await joined();
    expect((await bot.reply({ ...entered, ageMs: 5_000 }, "hello")).route).toBe("push");
    expect((await bot.reply(clicked, "hello")).route).toBe("push");
    runtime.socket.acknowledge((frame) => (frame.cmd === "aibot_respond_welcome_msg" ? 846_605 : 0));
    expect(await bot.reply(entered, "hello")).toEqual({ route: "push", end: { type: "delivered" } });
  });

  it("is refused where there is no chat to push to", async () => {
    const { bot } = await joined();
    await expect(bot.reply({ ...entered, chat: undefined, ageMs: 9_000 }, "x")).rejects.toThrow(/no chat/);
  });
});

describe("a bubble in its caller's hand", () => {
  it("grows, is replaced and ends", async () => {
    const { bot, runtime } = await joined();
    const bubble = bot.bubble(message, { id: "mine" });
    bubble.append("a");
    await quiet();
    bubble.append("b");
    await quiet();
    bubble.set("xyz");
    await quiet();
    bubble.finish("!");
    expect(await bubble.ended).toEqual({ route: "stream", end: { type: "delivered" } });
    expect(runtime.socket.of("aibot_respond_msg").map(({ body }) => body.stream?.content)).toEqual([
      "a",
      "ab",
      "xyz",
      "xyz!",
    ]);
  });

  it("is taken up by another process, at its age, under its id", async () => {
    const first = await joined();
    const bubble = first.bot.bubble(message, { id: "mine" });
    bubble.append("before ");
    await quiet();
    await first.runtime.advance(500_000);
    const state = JSON.parse(JSON.stringify(bubble.state)) as BubbleState;

    const { bot, runtime } = await joined({ handoverMs: 540_000 });
    const steps: string[] = [];
    const resumed = bot.bubble(message, {
      id: "mine",
      resume: { state, agoMs: 10_000 },
      onStep: ({ id }) => steps.push(id),
    });
    resumed.append("after");
    await quiet();
    expect(runtime.socket.of("aibot_respond_msg").at(-1)?.body.stream).toEqual({
      id: "mine",
      finish: false,
      content: "before after",
    });
    // 540 s after it was begun, not after it was taken up.
    await runtime.advance(31_000);
    const streams = runtime.socket.of("aibot_respond_msg").map(({ body }) => body.stream);
    expect(streams.slice(-2)).toMatchObject([
      { id: "mine", finish: true },
      { id: "mine.2", finish: false },
    ]);

    resumed.finish(" end");
    await runtime.advance(10_000);
    expect((await resumed.ended).end.type).toBe("delivered");
    expect(steps.length).toBeGreaterThan(2);
  });

  it("is a push under an event", async () => {
    const { bot, runtime } = await joined();
    const bubble = bot.bubble(entered);
    bubble.append("a");
    bubble.finish("b");
    expect((await bubble.ended).route).toBe("push");
    expect(runtime.socket.of("aibot_send_msg")[0]?.body.markdown?.content).toBe("ab");
  });
});

it("takes a msgid that was seen before it began for a duplicate", async () => {
  const { bot, runtime } = await joined({ seen: ["m2", "m1"] });
  const told: string[] = [];
  bot.observe(({ type }) => told.push(type));
  runtime.socket.receive(callback("hi", { msgid: "m1" }));
  runtime.socket.receive(callback("hi", { msgid: "m3" }));
  expect(told).toEqual(["duplicate", "message", "unhandled"]);
});

it("chats to which nothing may go now are counted, and are none again when their allowance is back", async () => {
  const { bot, runtime } = await joined();
  for (const userid of ["lily", "mike"])
    await Promise.all(Array.from({ length: 10 }, () => bot.push({ userid }, reply.card(card))));
  await bot.push({ userid: "anne" }, "one");
  expect(bot.pacedChats).toBe(2);
  await runtime.advance(3_000);
  expect(bot.pacedChats).toBe(0);
});

it("a chat that was silent long and is back is one of them once", async () => {
  const spent = (chat: string, times = 1): Spent[] => Array.from({ length: times }, () => ({ chat, agoMs: 0 }));
  const others = Array.from({ length: 10_000 }, (_, nth) => spent(`u${nth}`)).flat();
  const { bot } = await joined({ spent: [...spent("lily", 10), ...others, ...spent("lily")] });
  expect(bot.pacedChats).toBe(1);
});
