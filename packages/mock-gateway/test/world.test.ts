import { createHash, createDecipheriv } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { behaviours } from "../src/behaviours.ts";
import { Bench } from "./bench.ts";
import { anything, containing, including, matching, card } from "./wire.ts";

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;

const refusedWith = (errcode: number) => including({ errcode });
const fine = including({ errcode: 0, errmsg: "ok" });

describe("subscribe", () => {
  test("a right secret is acknowledged after the subscribe latency with errcode 0, no cmd and no body", () => {
    const bench = new Bench({ bots: [{ id: "bot", secret: "secret" }] });
    const line = bench.connect(1);
    const reqId = line.send({ cmd: "aibot_subscribe", body: { bot_id: "bot", secret: "secret", scene: 1 } });
    bench.pass(149);
    expect(line.frames).toEqual([]);
    bench.pass(1);
    expect(line.frames).toEqual([{ headers: { req_id: reqId }, errcode: 0, errmsg: "ok" }]);
    expect(bench.world.bot("bot")).toMatchObject({ state: "subscribed", connection: 1 });
  });

  test("a wrong secret and an unknown bot are refused with 853000, and the socket stays open and silent", () => {
    const bench = new Bench({ bots: [{ id: "bot", secret: "secret" }] });
    for (const [n, body] of [
      [1, { bot_id: "bot", secret: "wrong" }],
      [2, { bot_id: "other", secret: "secret" }],
      [3, {}],
    ] as const) {
      const line = bench.connect(n);
      const ack = line.ask({ cmd: "aibot_subscribe", body });
      expect(ack.errcode).toBe(853000);
      expect(ack.errmsg).toMatch(
        /^invalid bot_id or secret, hint: \[\d+\], from ip: 127\.0\.0\.1, more info at https:\/\/open\.work\.weixin\.qq\.com\/devtool\/query\?e=853000$/,
      );
      bench.pass(10 * minute);
      expect(line.ended).toBeUndefined();
      expect(line.frames).toHaveLength(1);
    }
  });

  test("with no bot configured whoever subscribes appears; once one is configured strangers are refused", () => {
    const bench = new Bench();
    expect(bench.subscribe(1, "stranger", "anything").frames).toEqual([fine]);
    expect(bench.world.bot("stranger")).toMatchObject({ state: "subscribed", configured: false });
    bench.handle({ type: "add-bot", bot: { id: "known", secret: "s" } });
    expect(bench.subscribe(2, "another", "anything").frames).toEqual([refusedWith(853000)]);
    expect(bench.subscribe(3, "stranger", "anything").frames[0]).toEqual(fine);
  });

  test("the sixth subscribe within a minute gets 45009 for a minute, and the world clock frees it", () => {
    const bench = new Bench();
    for (let n = 1; n <= 5; n++) expect(bench.subscribe(n).frames[0]).toEqual(fine);
    expect(bench.subscribe(6).frames).toEqual([refusedWith(45009)]);
    bench.handle({ type: "advance", ms: minute, transport: false });
    expect(bench.subscribe(7).frames[0]).toEqual(fine);
  });

  test("a further subscribe on the same socket is acknowledged and kicks nobody", () => {
    const bench = new Bench();
    const line = bench.subscribe(1);
    expect(line.ask({ cmd: "aibot_subscribe", body: { bot_id: "bot", secret: "secret" } })).toEqual(fine);
    expect(line.frames).toHaveLength(2);
  });

  test("every command but subscribe and ping is refused with 846609 before the ack of the subscribe", () => {
    const bench = new Bench();
    const line = bench.connect(1);
    expect(line.ask({ cmd: "ping" })).toEqual(fine);
    expect(line.push("zhangsan")).toEqual(refusedWith(846609));
    expect(line.ask({ cmd: "aibot_upload_media_init", body: {} })).toEqual(refusedWith(846609));
    line.send({ cmd: "aibot_subscribe", body: { bot_id: "bot", secret: "s" } });
    line.send({ cmd: "aibot_upload_media_init", body: {} });
    bench.pass(second);
    expect(line.frames.at(-1)).toEqual(refusedWith(846609));
  });
});

describe("frames as clients really send them", () => {
  test("null bodies, foreign members and binary messages are borne, ids come back byte for byte", () => {
    const bench = new Bench();
    const line = bench.connect(1);
    const odd = 'ping_"é\\ /1';
    line.raw(
      JSON.stringify({
        cmd: "ping",
        headers: { req_id: odd, more: 1 },
        body: null,
        errcode: null,
        errmsg: null,
        reqId: "x",
      }),
    );
    bench.handle({
      type: "received",
      connection: 1,
      text: '{"cmd":"ping","headers":{"req_id":"b"},"body":{}}',
      binary: true,
    });
    bench.pass(second);
    expect(line.frames.map(({ headers }) => headers.req_id)).toEqual([odd, "b"]);
  });

  test("what is no JSON object is ignored and noted, and the socket stays open", () => {
    const bench = new Bench();
    const line = bench.subscribe(1);
    for (const text of ["", "{", "null", "[]", "7", '"x"', "\u0000", "{}x"]) line.raw(text);
    bench.pass(second);
    expect(line.frames).toHaveLength(1);
    expect(line.ended).toBeUndefined();
    expect(bench.log.filter(({ verdict }) => verdict === "frame.not-json")).toHaveLength(8);
  });

  test("an unknown cmd and a missing or over-long req_id are refused with 40058", () => {
    const bench = new Bench();
    const line = bench.subscribe(1);
    expect(line.ask({ cmd: "aibot_dance" })).toEqual(refusedWith(40058));
    line.raw('{"cmd":"ping"}');
    line.raw(JSON.stringify({ cmd: "ping", headers: { req_id: "x".repeat(257) } }));
    bench.pass(second);
    expect(line.frames.slice(-2)).toEqual([refusedWith(40058), refusedWith(40058)]);
  });

  test("the secret of a subscribe is nowhere in the log, however it is written", () => {
    const bench = new Bench();
    const line = bench.connect(1);
    line.raw('{"cmd":"aibot_subscribe","headers":{"req_id":"a"},"body":{"bot_id":"b","secret" : "hush\\"hush"}}');
    line.raw('{"cmd":"aibot_subscribe","body":{"secret":"hush');
    expect(JSON.stringify(bench.log)).not.toContain("hush");
  });
});

describe("kick", () => {
  test("the older connection gets disconnected_event at once, keeps its pings, gets no callbacks, and is cut later without a close frame", () => {
    const bench = new Bench({ seed: 7 });
    const older = bench.subscribe(1);
    older.fresh();
    const newer = bench.connect(2);
    newer.send({ cmd: "aibot_subscribe", body: { bot_id: "bot", secret: "secret" } });
    bench.pass(150);
    expect(newer.frames).toEqual([fine]);
    const [event, ...more] = older.fresh();
    expect(more).toEqual([]);
    expect(event!.cmd).toBe("aibot_event_callback");
    expect(Object.keys(event!.body).sort()).toEqual(["aibotid", "create_time", "event", "msgid", "msgtype"]);
    expect(event!.body.event).toEqual({ eventtype: "disconnected_event" });

    expect(older.ask({ cmd: "ping" })).toEqual(fine);
    expect(older.push("zhangsan")).toEqual(refusedWith(846609));
    bench.say("hello");
    expect(newer.callback.body.text.content).toBe("hello");
    expect(older.frames.filter(({ cmd }) => cmd === "aibot_msg_callback")).toEqual([]);

    for (let elapsed = 0; elapsed < 313 && !older.ended; elapsed += 30) {
      bench.pass(30 * second);
      if (!older.ended) older.ask({ cmd: "ping" });
      newer.ask({ cmd: "ping" });
    }
    expect(older.ended).toBe("reset");
    expect(newer.ended).toBeUndefined();
  });

  test("a kicked connection that subscribes again kicks the other one", () => {
    const bench = new Bench();
    const first = bench.subscribe(1);
    const other = bench.subscribe(2);
    first.ask({ cmd: "aibot_subscribe", body: { bot_id: "bot", secret: "secret" } });
    expect(other.callback.body.event.eventtype).toBe("disconnected_event");
    expect(bench.world.bot("bot")).toMatchObject({ connection: 1 });
  });

  test("neither an opened connection nor a refused subscribe kicks anybody", () => {
    const bench = new Bench({ bots: [{ id: "bot", secret: "secret" }] });
    const line = bench.subscribe(1);
    bench.connect(2);
    bench.subscribe(3, "bot", "wrong");
    expect(line.frames).toHaveLength(1);
    expect(bench.world.bot("bot")).toMatchObject({ connection: 1 });
  });

  test("the API kicks as another instance would, and says why the bot is offline", () => {
    const bench = new Bench();
    const line = bench.subscribe(1);
    bench.handle({ type: "kick", bot: "bot", call: 1, closeAfterMs: 0 });
    bench.pass(0);
    expect(line.callback.body.event.eventtype).toBe("disconnected_event");
    expect(line.ended).toBe("reset");
    expect(bench.world.bot("bot")).toMatchObject({ state: "offline", reason: containing("kicked") });
  });
});

describe("silence", () => {
  test("a connection without heartbeat is cut after 90 s; one that pings every 30 s is not", () => {
    const bench = new Bench();
    const silent = bench.subscribe(1, "a", "s");
    const alive = bench.subscribe(2, "b", "s");
    for (let at = 0; at < 180; at += 30) {
      bench.pass(30 * second);
      alive.send({ cmd: "ping" });
    }
    expect(silent.ended).toBe("reset");
    expect(alive.ended).toBeUndefined();
  });

  test("advancing the world by a day leaves connections alone; advancing the transport cuts the silent ones", () => {
    const bench = new Bench();
    const line = bench.subscribe(1);
    bench.handle({ type: "advance", ms: 24 * hour, transport: false });
    bench.pass(0);
    expect(line.ended).toBeUndefined();
    bench.handle({ type: "advance", ms: 2 * minute, transport: true });
    expect(line.ended).toBe("reset");
  });
});

describe("callbacks", () => {
  test("a text in a single chat has no chatid, and an opaque req_id of 24 URL-safe characters", () => {
    const bench = new Bench();
    const line = bench.subscribe(1);
    bench.say("你好");
    const { cmd, headers, body } = line.callback;
    expect(cmd).toBe("aibot_msg_callback");
    expect(headers.req_id).toMatch(/^[\w-]{24}$/);
    expect(body).toMatchObject({
      aibotid: "bot",
      chattype: "single",
      from: { userid: "zhangsan" },
      msgtype: "text",
      text: { content: "你好" },
    });
    expect(body).not.toHaveProperty("chatid");
    expect(bench.lastAnswer).toMatchObject({
      type: "told",
      told: { msgid: body.msgid, reqId: headers.req_id, delivered: true, reply: null },
    });
  });

  test("a text in a group keeps the chatid's case and begins with the mention", () => {
    const bench = new Bench({ bots: [{ id: "bot", secret: "secret", name: "小助手" }] });
    const line = bench.subscribe(1);
    bench.say("报表", "lisi", { chattype: "group", chatid: "wrYddCaseD" });
    expect(line.callback.body).toMatchObject({
      chatid: "wrYddCaseD",
      chattype: "group",
      text: { content: "@小助手 报表" },
    });
  });

  test("a group does not deliver images, voices, files and videos", () => {
    const bench = new Bench();
    bench.subscribe(1);
    for (const msgtype of ["image", "voice", "file", "video"]) {
      bench.say("", "lisi", { chattype: "group", chatid: "wr1", msgtype });
      expect(bench.lastAnswer).toMatchObject({ type: "refused", status: 422 });
    }
  });

  test("a mixed message keeps its order and every file has its own URL and key; quotes carry theirs", () => {
    const bench = new Bench();
    const line = bench.subscribe(1);
    const item = (msgtype: string, content?: string) => ({ msgtype, ...(content ? { [msgtype]: { content } } : {}) });
    bench.say("", "zhangsan", {
      msgtype: "mixed",
      text: undefined,
      mixed: { msg_item: [item("text", "one"), item("image"), item("text", "two"), item("image")] },
      quote: { msgtype: "file" },
    });
    const { mixed, quote } = line.callback.body;
    expect(mixed.msg_item.map((entry) => entry.msgtype)).toEqual(["text", "image", "text", "image"]);
    const files = [mixed.msg_item[1]!.image, mixed.msg_item[3]!.image, quote.file];
    expect(new Set(files.map(({ url }) => url)).size).toBe(3);
    expect(new Set(files.map(({ aeskey }) => aeskey)).size).toBe(3);
  });

  test("a fourth message of one user is not delivered while three are in interaction, until one is answered or time passes", () => {
    const bench = new Bench();
    const line = bench.subscribe(1);
    for (const text of ["1", "2", "3"]) bench.say(text);
    const first = line.frames.find(({ cmd }) => cmd === "aibot_msg_callback")!.headers.req_id;
    bench.say("4");
    expect(bench.lastAnswer).toMatchObject({
      told: { delivered: false, reason: containing("maxInFlightPerUser") },
    });
    bench.say("5", "lisi");
    expect(bench.lastAnswer).toMatchObject({ told: { delivered: true } });
    line.stream(first, "s", "done", true);
    bench.say("6");
    expect(bench.lastAnswer).toMatchObject({ told: { delivered: true } });
    bench.handle({ type: "advance", ms: 7 * minute, transport: false });
    bench.say("7");
    expect(bench.lastAnswer).toMatchObject({ told: { delivered: true } });
  });

  test("what is said while the bot is offline is not delivered, also not later", () => {
    const bench = new Bench({ bots: [{ id: "bot", secret: "secret" }] });
    bench.say("anybody?");
    expect(bench.lastAnswer).toMatchObject({ told: { delivered: false } });
    expect(bench.subscribe(1).frames).toHaveLength(1);
  });

  test("with redeliverUnanswered an unanswered message comes again after a reconnect: same msgid, new req_id", () => {
    const bench = new Bench({ switches: { redeliverUnanswered: true } });
    const line = bench.subscribe(1);
    bench.say("answered");
    line.stream(line.callback.headers.req_id, "s", "done", true);
    bench.say("unanswered");
    const { headers, body } = line.callback;
    bench.handle({ type: "closed", connection: 1 });
    const again = bench.subscribe(2).frames.filter(({ cmd }) => cmd !== undefined);
    expect(again).toHaveLength(1);
    expect(again[0]!.body.msgid).toBe(body.msgid);
    expect(again[0]!.headers.req_id).not.toBe(headers.req_id);
  });
});

describe("replies", () => {
  const asked = () => {
    const bench = new Bench();
    const line = bench.subscribe(1);
    bench.say("question");
    return { bench, line, reqId: line.callback.headers.req_id };
  };

  test("stream frames replace the bubble, finish seals it, and the waiting caller gets the finished text", () => {
    const bench = new Bench();
    const line = bench.subscribe(1);
    bench.handle({
      type: "say",
      bot: "bot",
      message: { from: { userid: "zhangsan" }, msgtype: "text", text: { content: "hi" } },
      call: 99,
      waitMs: 10_000,
    });
    const reqId = line.callback.headers.req_id;
    expect(line.stream(reqId, "s1", "1")).toEqual(fine);
    expect(line.stream(reqId, "s1", "123")).toEqual(fine);
    expect(bench.answers).toEqual([]);
    expect(line.stream(reqId, "s1", "done", true)).toEqual(fine);
    expect(bench.lastAnswer).toMatchObject({
      told: {
        reply: "done",
        replies: [{ kind: "stream", streamId: "s1", content: "done", finished: true, frames: 3, ms: 2000 }],
      },
    });
    expect(bench.world.chat("bot", "zhangsan")!.items.at(-1)).toMatchObject({
      by: "bot",
      content: "done",
      finished: true,
    });
    expect(line.stream(reqId, "s1", "more")).toEqual(refusedWith(6000));
  });

  test("a wait that is over says so and returns what there is", () => {
    const { bench, line } = asked();
    bench.handle({
      type: "say",
      bot: "bot",
      message: { from: { userid: "zhangsan" }, msgtype: "text", text: { content: "hi" } },
      call: 99,
      waitMs: 1500,
    });
    line.stream(line.callback.headers.req_id, "s1", "thinking");
    bench.pass(second);
    expect(bench.lastAnswer).toMatchObject({
      told: { reply: null, timedOut: true, replies: [{ content: "thinking", finished: false }] },
    });
  });

  test("a stream ends ten minutes after its first frame, whatever came between; a new id on the same req_id has its own ten", () => {
    const { bench, line, reqId } = asked();
    line.stream(reqId, "s", "1");
    bench.handle({ type: "advance", ms: 10 * minute - 2 * second, transport: false });
    expect(line.stream(reqId, "s", "2")).toEqual(fine);
    bench.handle({ type: "advance", ms: 2 * second, transport: false });
    const late = line.stream(reqId, "s", "3", true);
    expect(late).toEqual(refusedWith(846608));
    expect(late.errmsg).toMatch(/^stream message update expired \(>10 minutes\), cannot update/);
    expect(line.stream(reqId, "s2", "3", true)).toEqual(fine);
  });

  test("a frame while the one before it is not acked gets 6000", () => {
    const { bench, line, reqId } = asked();
    const body = (content: string) => ({ msgtype: "stream", stream: { id: "s", finish: false, content } });
    line.send({ cmd: "aibot_respond_msg", headers: { req_id: reqId }, body: body("1") });
    line.send({ cmd: "aibot_respond_msg", headers: { req_id: reqId }, body: body("2") });
    bench.pass(second);
    expect(line.frames.slice(-2)).toEqual([fine, refusedWith(6000)]);
  });

  test("20,480 bytes of UTF-8 pass and one more is refused, whatever the number of characters", () => {
    const { line, reqId } = asked();
    expect(line.stream(reqId, "a", "字".repeat(6826) + "ab", true)).toEqual(fine);
    expect(line.stream(reqId, "b", "字".repeat(6826) + "abc", true)).toEqual(refusedWith(40058));
  });

  test("markdown, cards and uploaded files are accepted; text and unknown types are 40008", () => {
    const { line, reqId } = asked();
    expect(line.respond(reqId, { msgtype: "markdown", markdown: { content: "**b**" } })).toEqual(fine);
    expect(line.respond(reqId, { msgtype: "text", text: { content: "t" } })).toEqual(refusedWith(40008));
    expect(line.respond(reqId, { msgtype: "hologram" })).toEqual(refusedWith(40008));
    expect(line.respond(reqId, { msgtype: "file", file: { media_id: "none" } })).toEqual(refusedWith(40007));
    expect(line.respond(reqId, { msgtype: "template_card", template_card: card("t1") })).toEqual(fine);
    expect(line.respond(reqId, { msgtype: "template_card", template_card: card("t1") })).toEqual(refusedWith(42014));
    expect(
      line.respond(reqId, { msgtype: "template_card", template_card: { ...card("t2"), button_list: [{ text: "a" }] } }),
    ).toEqual(refusedWith(42039));
  });

  test("each type of card needs its members, and lists, keys and ids keep their limits", () => {
    const { line, reqId } = asked();
    let serial = 0;
    const take = (template_card: object) =>
      line.respond(reqId, { msgtype: "template_card", template_card: { task_id: `c${++serial}`, ...template_card } })
        .errcode;
    const main_title = { title: "Title" };
    const submit_button = { text: "Send", key: "send" };
    const options = (count: number) => Array.from({ length: count }, (_, n) => ({ id: `o${n}`, text: "o" }));
    const vote = (count: number, id = "q") => ({
      card_type: "vote_interaction",
      main_title,
      submit_button,
      checkbox: { question_key: id, option_list: options(count) },
    });
    expect(take({ card_type: "text_notice", main_title, card_action: { type: 1, url: "https://a.example" } })).toBe(0);
    expect(take({ card_type: "text_notice", card_action: { type: 1 } })).toBe(40058);
    expect(take({ card_type: "news_notice", main_title, card_action: { type: 1 }, card_image: { url: "u" } })).toBe(0);
    expect(take({ card_type: "news_notice", main_title, card_action: { type: 1 } })).toBe(40058);
    expect(take(vote(20))).toBe(0);
    expect(take(vote(21))).toBe(40058);
    expect(take(vote(1, "q".repeat(1025)))).toBe(40058);
    expect(take({ card_type: "vote_interaction", main_title, submit_button })).toBe(40058);
    const select = { question_key: "q", option_list: options(10) };
    expect(
      take({ card_type: "multiple_interaction", main_title, submit_button, select_list: [select, select, select] }),
    ).toBe(0);
    expect(
      take({
        card_type: "multiple_interaction",
        main_title,
        submit_button,
        select_list: [select, select, select, select],
      }),
    ).toBe(40058);
    expect(take({ ...card("x"), task_id: "no spaces" })).toBe(40058);
    expect(take({ ...card("y"), button_list: [] })).toBe(40058);
    expect(take({ card_type: "hologram" })).toBe(40058);
  });

  test("a req_id is good for 24 hours, then 846604; an invented one is 846605", () => {
    const { bench, line, reqId } = asked();
    bench.handle({ type: "advance", ms: 24 * hour - 10 * second, transport: false });
    expect(line.stream(reqId, "s", "late")).toEqual(fine);
    bench.handle({ type: "advance", ms: 10 * second, transport: false });
    expect(line.stream(reqId, "t", "later")).toEqual(refusedWith(846604));
    expect(line.stream("invented", "t", "x")).toEqual(refusedWith(846605));
  });

  test("a req_id survives a reconnect, unless the switch says otherwise", () => {
    const { bench, line, reqId } = asked();
    line.stream(reqId, "s", "begun");
    bench.handle({ type: "closed", connection: 1 });
    const next = bench.subscribe(2);
    expect(next.stream(reqId, "s", "ended", true)).toEqual(fine);
    bench.handle({ type: "set", switches: { oldReqIdAfterReconnect: "refuse" } });
    expect(next.stream(reqId, "t", "x")).toEqual(refusedWith(846605));
  });

  test("a finish without a visible character is taken, and the user keeps seeing the spinner", () => {
    const { bench, line, reqId } = asked();
    expect(line.stream(reqId, "s", "\u200b \n", true)).toEqual(fine);
    expect(bench.world.chat("bot", "zhangsan")!.items.at(-1)).toMatchObject({ spinner: true });
  });
});

describe("events", () => {
  test("enter_chat takes one welcome within five seconds, and nothing else on its req_id", () => {
    const bench = new Bench();
    const line = bench.subscribe(1);
    const welcome = { cmd: "aibot_respond_welcome_msg", body: { msgtype: "text", text: { content: "hi" } } };
    bench.trigger("enter_chat");
    const headers = { req_id: line.callback.headers.req_id };
    expect(line.callback.body.event).toEqual({ eventtype: "enter_chat" });
    expect(line.stream(headers.req_id, "s", "x")).toEqual(refusedWith(846605));
    expect(line.ask({ ...welcome, headers })).toEqual(fine);
    expect(line.ask({ ...welcome, headers })).toEqual(refusedWith(846605));
    bench.trigger("enter_chat");
    bench.handle({ type: "advance", ms: 5001, transport: false });
    expect(line.ask({ ...welcome, headers: { req_id: line.callback.headers.req_id } })).toEqual(refusedWith(846604));
  });

  test("an enter_chat that names nobody takes its welcome, which nobody sees", () => {
    const bench = new Bench();
    const line = bench.subscribe(1);
    bench.trigger("enter_chat", { from: undefined });
    const headers = { req_id: line.callback.headers.req_id };
    const welcome = { cmd: "aibot_respond_welcome_msg", headers, body: { msgtype: "text", text: { content: "hi" } } };
    expect(line.ask(welcome)).toEqual(fine);
    expect(bench.world.chats("bot")).toEqual([]);
  });

  test("a card click takes one update with a full card, and the user sees the card change", () => {
    const bench = new Bench();
    const line = bench.subscribe(1);
    bench.say("card");
    line.respond(line.callback.headers.req_id, { msgtype: "template_card", template_card: card("task-1") });
    bench.trigger("template_card_event", { template_card_event: { event_key: "yes", task_id: "task-1" } });
    const { headers, body } = line.callback;
    expect(body.event.template_card_event).toEqual({
      card_type: "button_interaction",
      event_key: "yes",
      task_id: "task-1",
    });
    expect(body.response_url).toMatch(/response_code=/);
    const changed = { ...card("task-1"), main_title: { title: "done" } };
    const update = {
      cmd: "aibot_respond_update_msg",
      headers,
      body: { response_type: "update_template_card", template_card: changed },
    };
    expect(line.ask(update)).toEqual(fine);
    const shown = bench.world
      .chat("bot", "zhangsan")!
      .items.find((item) => item.by === "bot" && item.via === "respond");
    expect(shown).toMatchObject({ card: { main_title: { title: "done" } } });
  });

  test("feedback, authorisation changes and unknown events go out as they are and take no answer", () => {
    const bench = new Bench();
    const line = bench.subscribe(1);
    bench.trigger("feedback_event", { feedback_event: { id: "trace_1", type: 2, inaccurate_reason_list: [2, 4] } });
    expect(line.callback.body.event.feedback_event).toEqual({ id: "trace_1", type: 2, inaccurate_reason_list: [2, 4] });
    expect(line.stream(line.callback.headers.req_id, "s", "x")).toEqual(refusedWith(846605));
    bench.trigger("auth_change_event", { auth_change_event: { auth_list: [1, 2] } });
    expect(line.callback.body.event.auth_change_event.auth_list).toEqual([1, 2]);
    bench.trigger("something_new");
    expect(line.callback.body.event).toEqual({ eventtype: "something_new" });
  });
});

describe("push", () => {
  test("a chat in which somebody spoke can be pushed to, by its exact id and type; others cannot", () => {
    const bench = new Bench();
    const line = bench.subscribe(1);
    expect(line.push("zhangsan")).toEqual(refusedWith(93006));
    bench.say("hi");
    bench.say("hi", "lisi", { chattype: "group", chatid: "wrGroup" });
    expect(line.push("zhangsan")).toEqual(fine);
    expect(line.push("zhangsan", "hello", 2)).toEqual(refusedWith(93006));
    expect(line.push("Zhangsan")).toEqual(refusedWith(93006));
    expect(line.push("user:zhangsan")).toEqual(refusedWith(93006));
    expect(line.push("wrGroup", "hello", 2)).toEqual(fine);
    expect(line.push("wrGroup", "hello", 0)).toEqual(fine);
    const other = bench.subscribe(2, "other", "s");
    expect(other.push("wrGroup", "hello", 2)).toEqual(refusedWith(93001));
  });

  test("text is 40008, and a push counts as an answer for whoever waits in that chat", () => {
    const bench = new Bench();
    const line = bench.subscribe(1);
    bench.handle({
      type: "say",
      bot: "bot",
      message: { from: { userid: "zhangsan" }, msgtype: "text", text: { content: "hi" } },
      call: 99,
      waitMs: 10_000,
    });
    expect(
      line.ask({ cmd: "aibot_send_msg", body: { chatid: "zhangsan", msgtype: "text", text: { content: "x" } } }),
    ).toEqual(refusedWith(40008));
    line.push("zhangsan", "pushed");
    expect(bench.lastAnswer).toMatchObject({ told: { reply: "pushed", replies: [{ kind: "markdown", via: "send" }] } });
  });

  test("30 messages a minute and 1,000 an hour in a chat, replies and pushes together; then 846607 until time passes", () => {
    const bench = new Bench({ switches: { ackLatencyMs: 0 } });
    const line = bench.subscribe(1);
    bench.say("hi");
    const body = { chatid: "zhangsan", chat_type: 1, msgtype: "markdown", markdown: { content: "x" } };
    const push = () => {
      line.send({ cmd: "aibot_send_msg", body });
      return line.frames.at(-1)!.errcode;
    };
    expect(line.stream(line.callback.headers.req_id, "s", "1")).toEqual(fine);
    expect(line.stream(line.callback.headers.req_id, "s", "2")).toEqual(fine);
    for (let n = 1; n < 30; n++) expect(push()).toBe(0);
    expect(push()).toBe(846607);
    bench.handle({ type: "advance", ms: minute, transport: false });
    let granted = 30;
    for (let turn = 0; turn < 40; turn++) {
      for (let n = 0; n < 30; n++) if (push() === 0) granted++;
      bench.handle({ type: "advance", ms: minute, transport: false });
    }
    expect(granted).toBe(1000);
    bench.handle({ type: "advance", ms: hour, transport: false });
    expect(push()).toBe(0);
  });
});

describe("upload and download", () => {
  const file = Buffer.alloc(1_300_000, 7);
  const md5 = createHash("md5").update(file).digest("hex");
  const init = (more: object = {}) => ({
    cmd: "aibot_upload_media_init",
    body: { type: "file", filename: "a.bin", total_size: file.length, total_chunks: 3, md5, ...more },
  });
  const chunk = (upload_id: string, chunk_index: number | string) => {
    const at = Number(chunk_index) * 524_288;
    return {
      cmd: "aibot_upload_media_chunk",
      body: { upload_id, chunk_index, base64_data: file.subarray(at, at + 524_288).toString("base64") },
    };
  };
  const finish = (upload_id: string) => ({ cmd: "aibot_upload_media_finish", body: { upload_id } });

  test("chunks come in any order, twice, on two connections; finish checks size and MD5 and gives a media_id that can be sent", () => {
    const bench = new Bench();
    const line = bench.subscribe(1);
    bench.say("hi");
    const { upload_id } = line.ask(init()).body;
    expect(line.ask(chunk(upload_id, 2))).toEqual({ headers: anything(), errcode: 0, errmsg: "ok" });
    expect(line.ask(chunk(upload_id, 2))).toEqual(fine);
    expect(line.ask(finish(upload_id))).toEqual(refusedWith(40058));
    bench.handle({ type: "closed", connection: 1 });
    const next = bench.subscribe(2);
    expect(bench.subscribe(9, "thief", "s").ask(chunk(upload_id, 0))).toEqual(refusedWith(40058));
    expect(next.ask(chunk(upload_id, "0"))).toEqual(fine);
    expect(next.ask(chunk(upload_id, 3))).toEqual(refusedWith(40058));
    expect(next.ask(chunk(upload_id, 1))).toEqual(fine);
    const done = next.ask(finish(upload_id));
    expect(done).toMatchObject({ errcode: 0, body: { type: "file", created_at: matching(/^\d+$/) } });
    expect(next.ask(finish(upload_id)).body).toEqual(done.body);
    const body = { chatid: "zhangsan", chat_type: 1, msgtype: "file", file: { media_id: done.body.media_id } };
    expect(next.ask({ cmd: "aibot_send_msg", body })).toEqual(fine);
    expect(Buffer.compare(Buffer.from(bench.world.uploaded(done.body.media_id)!.bytes), file)).toBe(0);
    bench.handle({ type: "advance", ms: 73 * hour, transport: false });
    expect(next.ask({ cmd: "aibot_send_msg", body })).toEqual(refusedWith(40007));
  });

  test("a session lives for thirty minutes, a wrong MD5 and bad sizes are refused", () => {
    const bench = new Bench();
    const line = bench.subscribe(1);
    const { upload_id } = line.ask(init()).body;
    bench.handle({ type: "advance", ms: 30 * minute, transport: false });
    expect(line.ask(chunk(upload_id, 0))).toEqual(refusedWith(40058));
    const wrong = line.ask(init({ md5: "0".repeat(32) })).body.upload_id;
    for (const index of [0, 1, 2]) line.ask(chunk(wrong, index));
    expect(line.ask(finish(wrong))).toEqual(refusedWith(40058));
    expect(line.ask(init({ total_size: 4 }))).toEqual(refusedWith(40006));
    expect(line.ask(init({ type: "image", total_size: 11 * 1_048_576 }))).toEqual(refusedWith(40009));
    expect(line.ask(init({ type: "hologram" }))).toEqual(refusedWith(40005));
    expect(line.ask(init({ total_chunks: 101 }))).toEqual(refusedWith(40058));
    expect(line.ask(init({ filename: "" }))).toEqual(refusedWith(40058));
  });

  test("a fifth chunk in flight meets a system error", () => {
    const bench = new Bench();
    const line = bench.subscribe(1);
    const { upload_id } = line.ask(init({ total_chunks: 9 })).body;
    for (let index = 0; index < 5; index++)
      line.send({ cmd: "aibot_upload_media_chunk", body: { upload_id, chunk_index: index, base64_data: "AAAA" } });
    bench.pass(second);
    expect(line.frames.slice(-5).map(({ errcode }) => errcode)).toEqual([0, 0, 0, 0, -1]);
  });

  test("a user's file is ciphertext under its own key for five minutes, padded to 32, named by Content-Disposition alone", () => {
    const bench = new Bench();
    const line = bench.subscribe(1);
    bench.handle({
      type: "say",
      bot: "bot",
      call: 1,
      message: {
        from: { userid: "zhangsan" },
        msgtype: "file",
        attachment: { filename: "PC D&T Strategy 2026.docx", bytes: Buffer.from("hello") },
      },
    });
    const { url, aeskey, ...rest } = line.callback.body.file;
    expect(rest).toEqual({});
    expect(aeskey).toMatch(/^[A-Za-z0-9+/]{43}$/);
    const token = new URL(url).pathname.split("/").at(-1)!;
    const answer = bench.world.download(bench.now, token);
    expect(answer.status).toBe(200);
    expect(answer.headers["content-disposition"]).toBe('attachment; filename="PC+D%26T+Strategy+2026.docx"');
    const body = Buffer.from(answer.body as Uint8Array);
    expect(body.length).toBe(32);
    const key = Buffer.from(aeskey, "base64");
    const decipher = createDecipheriv("aes-256-cbc", key, key.subarray(0, 16)).setAutoPadding(false);
    const clear = Buffer.concat([decipher.update(body), decipher.final()]);
    expect(clear.subarray(0, 5).toString()).toBe("hello");
    expect([...clear.subarray(5)]).toEqual(Array.from({ length: 27 }, () => 27));
    bench.handle({ type: "advance", ms: 5 * minute + 1, transport: false });
    expect(bench.world.download(bench.now, token).status).toBe(403);
    expect(bench.world.download(bench.now, "nonsense").status).toBe(404);
  });

  test("a response_url takes one message within an hour, then says 60140", () => {
    const bench = new Bench();
    const line = bench.subscribe(1);
    bench.say("hi");
    const code = new URL(line.callback.body.response_url).searchParams.get("response_code")!;
    const post = () =>
      bench.handle({
        type: "respond-url",
        code,
        body: { msgtype: "markdown", markdown: { content: "by url" } },
        call: 5,
      });
    post();
    expect(bench.lastAnswer).toMatchObject({ errcode: 0 });
    post();
    expect(bench.lastAnswer).toMatchObject({ errcode: 60140 });
    expect(bench.world.chat("bot", "zhangsan")!.items.at(-1)).toMatchObject({ via: "response_url", content: "by url" });
  });
});

test("every behaviour points to a requirement that exists, and every refusal says how its errmsg starts", () => {
  const text = readFileSync(new URL("../../../spec/requirements.yaml", import.meta.url), "utf8");
  const { requirements } = parse(text) as { requirements: { id: string }[] };
  const ids = new Set(requirements.map(({ id }) => id));
  for (const [name, { requirement, errcode, errmsg }] of Object.entries(behaviours))
    expect({ name, known: ids.has(requirement), said: (errcode === undefined) === (errmsg === undefined) }).toEqual({
      name,
      known: true,
      said: true,
    });
});

describe("the world itself", () => {
  test("equal seeds and inputs give equal effects, another seed gives others", () => {
    const run = (seed: number) => {
      const bench = new Bench({ seed });
      const line = bench.subscribe(1);
      bench.say("hi");
      line.stream(line.callback.headers.req_id, "s", "done", true);
      bench.subscribe(2);
      bench.pass(400 * second);
      return JSON.stringify(bench.effects);
    };
    expect(run(1)).toBe(run(1));
    expect(run(1)).not.toBe(run(2));
  });

  test("the deadline is always later than now, and early ticks do nothing", () => {
    const bench = new Bench();
    bench.subscribe(1);
    bench.say("hi");
    for (let n = 0; n < 50; n++) {
      const { deadline } = bench.world;
      if (deadline === undefined) break;
      expect(deadline).toBeGreaterThan(bench.now);
      expect(bench.handle({ type: "tick" })).toEqual([]);
      bench.now = deadline;
      bench.handle({ type: "tick" });
    }
  });

  test("a hundred thousand chats leave bounded tables behind", () => {
    const bench = new Bench({ log: false, switches: { ackLatencyMs: 0, subscribeLatencyMs: 0 } });
    bench.subscribe(1);
    bench.effects.length = 0;
    for (let n = 0; n < 100_000; n++) {
      bench.world.handle(n, {
        type: "say",
        bot: "bot",
        message: { from: { userid: `user-${n}` }, msgtype: "text", text: { content: "hi" } },
        call: n,
      });
    }
    const { chats, turns, waiters } = bench.world.sizes;
    expect(chats).toBeLessThanOrEqual(22_500);
    expect(turns).toBeLessThanOrEqual(56_250);
    expect(waiters).toBe(0);
  });

  test("reset brings back bots, clock and switches as they were at the start and cuts every connection", () => {
    const bench = new Bench({ bots: [{ id: "bot", secret: "secret" }] });
    const line = bench.subscribe(1);
    bench.handle({ type: "advance", ms: hour, transport: false });
    bench.handle({ type: "set", switches: { quota: "off" } });
    bench.handle({ type: "add-bot", bot: { id: "more" } });
    bench.handle({ type: "reset" });
    expect(line.ended).toBe("reset");
    expect(bench.world.bots().map(({ id }) => id)).toEqual(["bot"]);
    expect(bench.world.clock.offsetMs).toBe(0);
    expect(bench.world.switches.quota).toBe(true);
    expect(bench.world.connections()).toEqual([]);
  });
});
