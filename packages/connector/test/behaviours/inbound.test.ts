// Behaviours 29 to 46 and 77 to 81 of the list that the conformance suite tests too: messages, events and files that come.
// `tools/broken.ts` breaks each in turn and runs its test, which must fail.
import { describe, expect, test } from "vitest";
import type { Gateway } from "@openws/mock-gateway";
import { type Downloaded, type FileError, type HappenedEvent, type Message, reply } from "../../src/index.shared.ts";
import { nativeRuntime } from "../library.ts";
import { MovedRuntime } from "../moved.ts";
import { never } from "../virtual.ts";
import { eventually, happened, of, ready, seen, sent, text } from "./setting.ts";

const zhangsan = { userid: "zhangsan" };

/** A bot that says what it was told, unless it knows better, on a gateway with a fault. Resolves with its answer to a text. */
async function answerUnder(fault: string, said: string, know = (message: Message<"text">) => message.text) {
  const { gateway, bot } = await ready({}, { faults: [fault] });
  bot.on("text", know);
  const { reply: answer } = await gateway.say("bot", said, { waitMs: 4_000 });
  // Nothing of all this costs the line.
  expect(happened(gateway, "opened")).toHaveLength(1);
  return answer;
}

/** What somebody sends: one file, with its content. */
const file = (content: string | Uint8Array, filename: string) => ({
  base64: Buffer.from(content).toString("base64"),
  filename,
});

describe("inbound", () => {
  test.for([
    ["with another req_id", "redeliver:reqId=new,over=same"],
    ["with the same req_id", "redeliver:reqId=same,over=same"],
    ["over another socket", "redeliver:reqId=new,over=next"],
  ])("29. a msgid that comes again %s is handled once", async ([, fault]) => {
    const { gateway, bot, until } = await ready({}, { faults: [fault!] });
    let handled = 0;
    bot.on("text", () => void handled++);
    await gateway.say("bot", "hi");
    if (fault!.endsWith("next")) gateway.cut(gateway.connections()[0]!.n, "reset");
    await until((event) => event.type === "duplicate");
    expect(handled).toBe(1);
  });

  test("30. a hundred thousand msgids later the first one is forgotten", { timeout: 60_000 }, async () => {
    const { gateway, bot } = await ready(
      { pingTimeoutMs: 30_000 },
      { faults: ["redeliver:reqId=new,over=next"], log: { entries: 1_000 } },
    );
    let came = 0;
    const first: string[] = [];
    bot.observe((event) => {
      if (event.type !== "message") return;
      came++;
      if (event.message.text === "first") first.push(event.message.msgid);
    });
    await gateway.say("bot", "first");
    for (let at = 1; at <= 10; at++) {
      await gateway.addFault("burst:count=10000");
      await eventually(() => came > at * 10_000);
    }
    gateway.cut(gateway.connections()[0]!.n, "reset");
    await eventually(() => first.length === 2);
    expect(first[1]).toBe(first[0]);
  });

  test("31. users of single chats are told apart", async () => {
    const { gateway, bot } = await ready();
    bot.on("text", async ({ chat }) => {
      await bot.push({ userid: chat.id }, `to ${chat.id}`);
    });
    for (const user of ["Lily", "Tom"]) await gateway.say("bot", text("x", user));
    await eventually(() => of(gateway, "aibot_send_msg").length === 2);
    for (const { text: frame, cmd } of gateway.log())
      if (cmd === "aibot_msg_callback") expect(frame).not.toContain("chatid");
    for (const user of ["Lily", "Tom"]) expect(seen(gateway, user)).toMatchObject([{ content: `to ${user}` }]);
  });

  test("32. a group's chatid is used in the case it came in", async () => {
    const { gateway, bot } = await ready();
    bot.on("text", async ({ chat }) => {
      await bot.push({ chatid: chat.id }, "hi");
    });
    await gateway.say("bot", { ...text("x"), chattype: "group", chatid: "wrAbCdEf" });
    await eventually(() => of(gateway, "aibot_send_msg").length === 1);
    expect(of(gateway, "aibot_send_msg")[0]!.body).toMatchObject({ chatid: "wrAbCdEf", chat_type: 2 });
  });

  test("33. raw control characters inside strings are no reason to lose a message", async () => {
    const letters = ({ text: said }: { text: string }): string => said.replaceAll(/[^a-z]/g, "");
    expect(await answerUnder("odd-frame:what=control-chars", "abc", letters)).toBe("mabc");
  });

  test.for(["not-json", "null", "array"])("34. %s is ignored, and the line stays", async (what) => {
    expect(await answerUnder(`odd-frame:what=${what}`, "hi")).toBe("hi");
  });

  test("35. a binary message that holds a frame is one", async () => {
    expect(await answerUnder("binary:cmd=aibot_msg_callback", "hi")).toBe("hi");
  });

  test.for(["unknown-cmd", "unknown-msgtype", "unknown-event", "missing-field", "unknown-field", "huge-integer"])(
    "36. %s is survived",
    async (what) => {
      expect(await answerUnder(`odd-frame:what=${what}`, "hi")).toBe("hi");
    },
  );

  test("37. mixed: in order, each attachment with its own key", async () => {
    const { gateway, bot } = await ready();
    const got = Promise.withResolvers<Message<"mixed">>();
    bot.on("mixed", (message) => {
      got.resolve(message);
    });
    const msg_item = [
      { msgtype: "text", text: { content: "a" } },
      { msgtype: "image", image: file("first", "1.txt") },
      { msgtype: "text", text: { content: "b" } },
      { msgtype: "file", file: file("second", "2.txt") },
      { msgtype: "video", video: file("third", "3.txt") },
      { msgtype: "voice", voice: { content: "spoken" } },
    ];
    await gateway.say("bot", { from: zhangsan, msgtype: "mixed", mixed: { msg_item } });
    const message = await got.promise;
    expect(message.text).toBe("a\n[image]\nb\n[file]\n[video]\nspoken");
    expect(message.files.map(({ kind }) => kind)).toEqual(["image", "file", "video"]);
    const downloaded = await Promise.all(message.files.map((each) => each.download()));
    expect(downloaded.map(({ bytes }) => Buffer.from(bytes).toString())).toEqual(["first", "second", "third"]);
  });

  test("38. a quote of each type stands beside the message", async () => {
    const { gateway, bot } = await ready();
    const quotes: unknown[] = [];
    bot.on("text", ({ text: said, quote, quotedFiles }) => {
      quotes.push([said, quote?.msgtype, quotedFiles.length]);
      return undefined;
    });
    for (const quote of [
      { msgtype: "text", text: { content: "old" } },
      { msgtype: "image", image: {} },
      { msgtype: "mixed", mixed: { msg_item: [{ msgtype: "image", image: {} }] } },
      { msgtype: "voice", voice: { content: "old" } },
      { msgtype: "file", file: {} },
      { msgtype: "video", video: {} },
    ])
      await gateway.say("bot", { ...text("new"), quote });
    await eventually(() => quotes.length === 6);
    expect(quotes).toEqual([
      ["new", "text", 0],
      ["new", "image", 1],
      ["new", "mixed", 1],
      ["new", "voice", 0],
      ["new", "file", 1],
      ["new", "video", 1],
    ]);
  });

  test("39. a handler that takes long holds up neither pings nor other callbacks", async () => {
    const { gateway, bot } = await ready();
    bot.on("text", ({ text: said }) => (said === "slow" ? never<string>() : said));
    await gateway.say("bot", "slow");
    await eventually(() => of(gateway, "ping").length >= 2);
    expect((await gateway.say("bot", text("quick", "tom"), { waitMs: 4_000 })).reply).toBe("quick");
    expect(happened(gateway, "opened")).toHaveLength(1);
  });

  test("40. three messages of one user are answered each under its own req_id and stream id", async () => {
    const { gateway, bot } = await ready();
    bot.on("text", ({ text: said }) => said);
    const told = await Promise.all(["t1", "t2", "t3"].map((said) => gateway.say("bot", said, { waitMs: 4_000 })));
    expect(told.map((each) => each.reply)).toEqual(["t1", "t2", "t3"]);
    const frames = of(gateway, "aibot_respond_msg");
    expect(frames.map(({ headers }) => headers.req_id)).toEqual(told.map(({ reqId }) => reqId));
    expect(new Set(frames.map(({ body }) => body.stream!.id)).size).toBe(3);
  });

  test("41. a frame of 1.5 MiB is taken", async () => {
    const whole = ({ raw }: { raw: string }): string => `${Buffer.byteLength(raw) >= 1_572_864}`;
    expect(await answerUnder("oversize:bytes=1572864", "hi", whole)).toBe("true");
  });

  test("42. the mention is taken off, what follows is not", async () => {
    const { gateway, bot } = await ready({ name: "Claude Code" });
    bot.on("text", ({ text: said }) => said);
    const message = { ...text("/list all"), chattype: "group", chatid: "wr" } as const;
    expect((await gateway.say("bot", message, { waitMs: 4_000 })).reply).toBe("/list all");
    expect(gateway.log().some(({ text: frame }) => frame.includes("@Claude Code /list all"))).toBe(true);
  });
});

describe("events", () => {
  const from = zhangsan;

  test("43. enter_chat is welcomed by its own command, under its req_id", async () => {
    const { gateway, bot } = await ready();
    bot.on("enter_chat", () => "welcome");
    const { reqId } = await gateway.trigger("bot", { eventtype: "enter_chat", from }, { waitMs: 4_000 });
    expect(of(gateway, "aibot_respond_welcome_msg").map(({ headers }) => headers.req_id)).toEqual([reqId]);
    expect(of(gateway, "aibot_respond_msg")).toEqual([]);
    expect(seen(gateway)).toMatchObject([{ via: "welcome", content: "welcome" }]);
  });

  const card = (title: string) =>
    reply.card({
      card_type: "button_interaction",
      main_title: { title },
      button_list: [{ text: "b", key: "k" }],
      task_id: "t",
    });

  /** A bot that has sent a card, and a click on it. */
  async function clicked(gateway: Gateway, more: object = {}) {
    await gateway.say("bot", "card", { waitMs: 4_000 });
    const template_card_event = { task_id: "t", event_key: "k", ...more };
    return gateway.trigger("bot", { eventtype: "template_card_event", from, template_card_event });
  }

  test("44. a click is answered by a full card under its own command", async () => {
    const { gateway, bot, until } = await ready();
    bot.on("text", () => card("press"));
    bot.on("template_card_event", () => card("done"));
    const { reqId } = await clicked(gateway);
    await until((event) => event.type === "answered" && event.route === "update");
    const [frame] = of(gateway, "aibot_respond_update_msg");
    expect(frame).toMatchObject({
      headers: { req_id: reqId },
      body: { response_type: "update_template_card", template_card: { card_type: "button_interaction", task_id: "t" } },
    });
    expect(seen(gateway).at(-1)!.card).toMatchObject({ main_title: { title: "done" } });
  });

  test.for([
    ["a text is pushed", reply.text("done"), 1],
    ["neither is a card sent", card("late"), undefined],
  ] as const)(
    "44. a click whose handler takes longer than five seconds is answered by no late update: %s",
    async ([, answer, pushes]) => {
      const runtime = new MovedRuntime(nativeRuntime());
      const { gateway, bot, until } = await ready({ runtime, heartbeatMs: 30_000, ackMs: 10_000 });
      const working = Promise.withResolvers<undefined>();
      const done = Promise.withResolvers<undefined>();
      bot.on("text", () => card("press"));
      bot.on("template_card_event", async () => {
        working.resolve(undefined);
        await done.promise;
        return answer;
      });
      await clicked(gateway);
      await working.promise;
      await runtime.advance(5_001);
      done.resolve(undefined);
      await until((event) => event.type === "answered" && event.route === "push");
      expect(of(gateway, "aibot_respond_update_msg")).toEqual([]);
      if (pushes !== undefined) expect(of(gateway, "aibot_send_msg")).toHaveLength(pushes);
    },
  );

  test.for([
    { card_type: "button_interaction", event_key: "b" },
    {
      card_type: "vote_interaction",
      event_key: "s",
      selected_items: { selected_item: [{ question_key: "q", option_ids: { option_id: ["1", "2"] } }] },
    },
    {
      card_type: "multiple_interaction",
      event_key: "s",
      selected_items: {
        selected_item: [
          { question_key: "q1", option_ids: { option_id: ["1"] } },
          { question_key: "q2", option_ids: { option_id: ["2"] } },
        ],
      },
    },
    { card_type: "text_notice", event_key: "menu" },
  ])(
    "45. of a click on a card of type $card_type the key, the task and all that was chosen is at hand",
    async (click) => {
      const { gateway, bot } = await ready();
      const got = Promise.withResolvers<HappenedEvent<"template_card_event">>();
      bot.on("text", () => card("press"));
      bot.on("template_card_event", (event) => {
        got.resolve(event);
      });
      await clicked(gateway, click);
      expect((await got.promise).body.event.template_card_event).toEqual({ task_id: "t", ...click });
    },
  );

  test.for([{ from }, { from, chattype: "group", chatid: "wr" }] as const)(
    "46. feedback is no message and is not answered: %o",
    async (where) => {
      const { gateway, bot, until } = await ready();
      let messages = 0;
      bot.on("message", () => void messages++);
      const feedback_event = { id: "f", type: 2, inaccurate_reason_list: [2, 4] };
      await gateway.trigger("bot", { eventtype: "feedback_event", ...where, feedback_event });
      await until((event) => event.type === "happened" && event.event.kind === "feedback_event");
      await eventually(() => of(gateway, "ping").length > 0);
      expect(messages).toBe(0);
      expect(sent(gateway).map(({ frame }) => frame.cmd)).toEqual(["aibot_subscribe", "ping"]);
    },
  );
});

describe("media download", () => {
  const named = "PC D&T Strategy 2026.docx";

  /** Sends a file to a bot and resolves with what came of its download. */
  async function downloaded(
    bytes: Uint8Array,
    { faults = [], switches = {} }: { faults?: readonly string[]; switches?: object } = {},
    timeoutMs = 3_000,
  ): Promise<{ gateway: Gateway; got: Downloaded | FileError }> {
    const { gateway, bot } = await ready({}, { faults, switches });
    const got = Promise.withResolvers<Downloaded | FileError>();
    bot.on("file", async (message) => {
      got.resolve(await message.download({ timeoutMs }).catch((error: unknown) => error as FileError));
      return "the rest";
    });
    const message = { from: zhangsan, msgtype: "file", file: file(bytes, named) };
    const { reply: said } = await gateway.say("bot", message, { waitMs: 4_500 });
    expect(said).toBe("the rest");
    return { gateway, got: await got.promise };
  }
  const bytesOf = (count: number) => Uint8Array.from({ length: count }, (_, at) => at % 251);

  test.for([43, 44])("77. an aeskey of %i characters", async (aeskeyLength) => {
    const { gateway, got } = await downloaded(bytesOf(1_000), { switches: { aeskeyLength } });
    const callback = gateway.log().find(({ cmd }) => cmd === "aibot_msg_callback")!;
    const { body } = JSON.parse(callback.text) as { body: { file: { aeskey: string } } };
    expect(body.file.aeskey).toHaveLength(aeskeyLength);
    expect(got).toMatchObject({ bytes: bytesOf(1_000) });
  });

  test.for([1, 16, 17, 31, 32])("78. a padding of %i bytes is taken off, no more and no less", async (padding) => {
    const bytes = bytesOf(96 - padding);
    expect((await downloaded(bytes)).got).toMatchObject({ bytes });
  });

  test("78. a corrupt padding is told", async () => {
    const { got } = await downloaded(bytesOf(100), { faults: ["media:what=bad-padding"] });
    expect(got).toMatchObject({ code: "file-corrupt" });
  });

  test.for([
    ["plain", named],
    ["star", named],
    ["none", "file"],
  ] as const)("79. a file whose name comes as %s", async ([disposition, name]) => {
    const { got } = await downloaded(bytesOf(100), { switches: { disposition } });
    expect(got).toMatchObject({ filename: name });
  });

  test("79. a name with a bare per cent sign", async () => {
    const { got } = await downloaded(bytesOf(100), { faults: ["media:what=odd-name,name=100%.txt"] });
    expect(got).toMatchObject({ filename: "100%.txt" });
  });

  test.for([
    ["expired", "file-gone"],
    ["missing", "file-gone"],
    ["slow,ms=60000", "file-timeout"],
    ["html", "file-corrupt"],
    ["plain", "file-corrupt"],
  ] as const)("80. a download that is %s costs the file, not the message", async ([what, code]) => {
    const { got } = await downloaded(bytesOf(100), { faults: [`media:what=${what}`] }, 300);
    expect(got).toMatchObject({ code });
  });

  test.for([
    ["../../etc/passwd", "passwd"],
    ["..\\..\\evil.bat", "evil.bat"],
    ["/etc/shadow", "shadow"],
    ["..", "file"],
    ["a%00b%1bc%2Fd.txt", "d.txt"],
    ["a%00b%1bc.txt", "abc.txt"],
  ])("81. the name %j stays in its folder", async ([name, safe]) => {
    const { gateway, bot } = await ready();
    const got = Promise.withResolvers<Downloaded>();
    bot.on("file", async (message) => {
      got.resolve(await message.download());
    });
    await gateway.addFault({ kind: "media", what: "odd-name", name: name! });
    await gateway.say("bot", { from: zhangsan, msgtype: "file", file: {} });
    expect((await got.promise).filename).toBe(safe);
  });
});
