/** Facts of spec/requirements.yaml that no other test shows by the way; FIDELITY.md names them. */
import { expect, test } from "vitest";
import { Bench } from "./bench.ts";
import { card, including } from "./wire.ts";

const fine = including({ errcode: 0 });
const refusedWith = (errcode: number): unknown => including({ errcode });

const quick = { ackLatencyMs: 0, subscribeLatencyMs: 0, maxInFlightPerUser: 0 } as const;

/** A bot that is subscribed, and a chat with zhangsan. */
const talking = () => {
  const bench = new Bench({ switches: quick });
  const line = bench.subscribe(1);
  bench.say("hi");
  return { bench, line, reqId: line.callback.headers.req_id };
};

test("a subscribe may say scene, plug_version and device_id", () => {
  const line = new Bench().connect(1);
  const body = { bot_id: "bot", secret: "s", scene: 1, plug_version: "2026.7.2", device_id: "d" };
  expect(line.ask({ cmd: "aibot_subscribe", body })).toEqual(fine);
});

test("a ping may have an empty body, none, or null", () => {
  const { line } = talking();
  for (const body of [{}, undefined, null]) expect(line.ask({ cmd: "ping", body })).toEqual(fine);
});

test("a file in a message has url and aeskey, and neither name nor size", () => {
  const { bench, line } = talking();
  bench.say("", "zhangsan", { msgtype: "file", file: { filename: "salary.xlsx" } });
  expect(Object.keys(line.callback.body.file).toSorted()).toEqual(["aeskey", "url"]);
});

test("enter_chat has no chattype", () => {
  const { bench, line } = talking();
  bench.trigger("enter_chat");
  expect(Object.keys(line.callback.body)).not.toContain("chattype");
});

test("an event's req_id takes its own answer and no other", () => {
  const { bench, line } = talking();
  const update = { response_type: "update_template_card", template_card: card("t") };
  bench.trigger("enter_chat");
  const { headers } = line.callback;
  expect(line.ask({ cmd: "aibot_respond_update_msg", headers, body: update })).toEqual(refusedWith(846605));
  bench.trigger("feedback_event", { feedback_event: { id: "trace_1", type: 1 } });
  const welcome = { cmd: "aibot_respond_welcome_msg", headers: line.callback.headers };
  expect(line.ask({ ...welcome, body: { msgtype: "text", text: { content: "x" } } })).toEqual(refusedWith(846605));
});

test("enter_check_update is answered with the client's version on its req_id, and on no other", () => {
  const { bench, line, reqId } = talking();
  const answer = { cmd: "ww_ai_robot_enter_event", body: { version: "1.0.7" } };
  bench.trigger("enter_check_update");
  expect(line.ask({ ...answer, headers: line.callback.headers })).toEqual(fine);
  expect(line.ask({ ...answer, headers: { req_id: reqId } })).toEqual(refusedWith(846605));
});

test("a frame without finish leaves its stream open", () => {
  const { bench, line, reqId } = talking();
  expect(line.respond(reqId, { msgtype: "stream", stream: { id: "s", content: "so far" } })).toEqual(fine);
  expect(bench.world.chat("bot", "zhangsan")!.items.at(-1)).toMatchObject({ content: "so far", finished: false });
});

test("a stream that begins eleven minutes after its message has ten minutes of its own", () => {
  const { bench, line, reqId } = talking();
  bench.handle({ type: "advance", ms: 11 * 60_000, transport: false });
  expect(line.stream(reqId, "s", "late")).toEqual(fine);
  bench.handle({ type: "advance", ms: 9 * 60_000, transport: false });
  expect(line.stream(reqId, "s", "later")).toEqual(fine);
});

test("every frame of a stream is acked, and each of its frames changes the one bubble", () => {
  const { bench, line, reqId } = talking();
  for (const content of ["a", "ab", "ab", "abc"]) expect(line.stream(reqId, "s", content)).toEqual(fine);
  const bubbles = bench.world.chat("bot", "zhangsan")!.items.filter(({ by }) => by === "bot");
  expect(bubbles).toMatchObject([{ content: "abc", frames: 4 }]);
});

test("a feedback.id of 256 bytes is taken, a longer one refused", () => {
  const { line, reqId } = talking();
  const frame = (id: string, bytes: number) => ({
    msgtype: "stream",
    stream: { id, finish: true, content: "x", feedback: { id: "f".repeat(bytes) } },
  });
  expect(line.respond(reqId, frame("1", 256))).toEqual(fine);
  expect(line.respond(reqId, frame("2", 257))).toEqual(refusedWith(40058));
});

test("a body without what its command needs is refused with 40058", () => {
  const { line, reqId } = talking();
  for (const body of [undefined, null, {}, { msgtype: "stream" }, { msgtype: "stream", stream: { content: "no id" } }])
    expect(line.respond(reqId, body)).toEqual(refusedWith(40058));
});

test("markdown and cards may be pushed, to users and to groups", () => {
  const { bench, line } = talking();
  bench.say("hi", "lisi", { chattype: "group", chatid: "wrGroup" });
  for (const [chatid, chat_type] of [
    ["zhangsan", 1],
    ["wrGroup", 2],
  ] as const) {
    const push = (body: object) => line.ask({ cmd: "aibot_send_msg", body: { chatid, chat_type, ...body } });
    expect(push({ msgtype: "markdown", markdown: { content: "x" } })).toEqual(fine);
    expect(push({ msgtype: "template_card", template_card: card(`t${chat_type}`) })).toEqual(fine);
  }
});

test("without chat_type a push goes to the group of that id, and to the user only when there is none", () => {
  const { bench, line } = talking();
  bench.say("hi", "lisi", { chattype: "group", chatid: "zhangsan" });
  const push = (chat_type?: number) =>
    line.ask({
      cmd: "aibot_send_msg",
      body: { chatid: "zhangsan", chat_type, msgtype: "markdown", markdown: { content: "x" } },
    });
  const pushes = () =>
    bench.world.chats("bot").map(({ chattype, items }) => [chattype, items.filter(({ by }) => by === "bot").length]);
  push();
  push(0);
  expect(pushes()).toEqual(expect.arrayContaining([["group", 2]]));
  push(1);
  expect(pushes()).toEqual(expect.arrayContaining([["single", 1]]));
});

test("a video's title is cut to 64 bytes and its description to 512, on a character", () => {
  const { bench, line, reqId } = talking();
  const init = { type: "video", filename: "a.mp4", total_size: 6, total_chunks: 1 };
  const { upload_id } = line.ask({ cmd: "aibot_upload_media_init", body: init }).body;
  line.ask({ cmd: "aibot_upload_media_chunk", body: { upload_id, chunk_index: 0, base64_data: "aGVsbG8h" } });
  const { media_id } = line.ask({ cmd: "aibot_upload_media_finish", body: { upload_id } }).body;
  const video = { media_id, title: "题".repeat(30), description: "x".repeat(600) };
  expect(line.respond(reqId, { msgtype: "video", video })).toEqual(fine);
  expect(bench.world.chat("bot", "zhangsan")!.items.at(-1)).toMatchObject({
    title: "题".repeat(21),
    description: "x".repeat(512),
  });
});

test("a bot uploads 30 times a minute, and the next init is refused", () => {
  const { line } = talking();
  const init = { type: "file", filename: "a", total_size: 6, total_chunks: 1 };
  const ask = () => line.ask({ cmd: "aibot_upload_media_init", body: init });
  for (let n = 0; n < 30; n++) expect(ask()).toMatchObject({ errcode: 0 });
  expect(ask()).toEqual(refusedWith(45009));
});

test("a bot without MCP services gets 846610; the authorisation card of a biz message is shown", () => {
  const { bench, line } = talking();
  expect(line.ask({ cmd: "aibot_get_mcp_config", body: {} })).toEqual(refusedWith(846610));
  const body = { biz_type: 1, chat_id: "zhangsan", userid: "zhangsan", chat_type: 1 };
  expect(line.ask({ cmd: "aibot_send_biz_msg", body })).toEqual(fine);
  expect(bench.world.chat("bot", "zhangsan")!.items.at(-1)).toMatchObject({ by: "bot", via: "send" });
});

test("a card without one of the members that its type needs is refused, and with all of them it is taken", () => {
  const main_title = { title: "Title" };
  const card_action = { type: 1, url: "https://example.org" };
  const submit_button = { text: "Send", key: "send" };
  const choices = { question_key: "q", option_list: [{ id: "1", text: "One" }] };
  const whole: Record<string, Record<string, unknown>> = {
    text_notice: { main_title, card_action },
    news_notice: { main_title, card_action, card_image: { url: "https://example.org/a.png" } },
    button_interaction: { main_title, button_list: [{ text: "Yes", key: "yes" }], task_id: "b" },
    vote_interaction: { main_title, checkbox: choices, submit_button, task_id: "v" },
    multiple_interaction: { main_title, select_list: [choices], submit_button },
  };
  const { line, reqId } = talking();
  const take = (template_card: object) => line.respond(reqId, { msgtype: "template_card", template_card });
  for (const [card_type, members] of Object.entries(whole)) {
    for (const name of Object.keys(members))
      expect({ card_type, without: name, ack: take({ card_type, ...members, [name]: undefined }) }).toEqual({
        card_type,
        without: name,
        ack: refusedWith(40058),
      });
    expect({ card_type, ack: take({ card_type, ...members }) }).toEqual({ card_type, ack: fine });
  }
});

test("a download is octets, whatever the file", () => {
  const { bench, line } = talking();
  bench.say("", "zhangsan", { msgtype: "image", image: {} });
  const token = new URL(line.callback.body.image.url).pathname.split("/").at(-1)!;
  expect(bench.world.download(bench.now, token)).toMatchObject({
    status: 200,
    headers: { "content-type": "application/octet-stream" },
  });
});

test("mixed may hold files, voices and videos, each as it would come alone", () => {
  const { bench, line } = talking();
  const msg_item = [
    { msgtype: "file" },
    { msgtype: "voice", voice: { content: "spoken" } },
    { msgtype: "video" },
    { msgtype: "text", text: { content: "written" } },
  ];
  bench.say("", "zhangsan", { msgtype: "mixed", text: undefined, mixed: { msg_item } });
  const download = { url: expect.any(String) as string, aeskey: expect.any(String) as string };
  expect(line.callback.body.mixed.msg_item).toEqual([
    { msgtype: "file", file: download },
    msg_item[1],
    { msgtype: "video", video: download },
    msg_item[3],
  ]);
});

test("whoever speaks is passed on as the caller names them, corpid and open_userid too", () => {
  const { bench, line } = talking();
  const from = { userid: "woAJ2GCAAAXtWyujaWJHDDGi0mACAAAA", corpid: "wpAJ2GCAAAXtWyuja" };
  bench.say("hi", from.userid, { from });
  expect(line.callback.body.from).toEqual(from);
});

test("what the real server never delivers cannot be said: polls, locations, links, cards, messages of bots", () => {
  const { bench, line } = talking();
  const before = line.frames.length;
  for (const msgtype of ["stream", "location", "link", "business_card"]) {
    bench.say("", "zhangsan", { msgtype, text: undefined, [msgtype]: {} });
    expect(bench.lastAnswer).toMatchObject({ type: "refused", status: 422 });
  }
  bench.say("I am a bot", "bot");
  expect(bench.lastAnswer).toMatchObject({ type: "refused", status: 422 });
  expect(line.frames).toHaveLength(before);
});

test("a callback that nobody answers comes once", () => {
  const { bench, line } = talking();
  for (let minutes = 0; minutes < 30; minutes++) {
    bench.pass(60_000);
    line.send({ cmd: "ping" });
  }
  expect(line.frames.filter(({ cmd }) => cmd === "aibot_msg_callback")).toHaveLength(1);
});

test("a click carries what the user chose and nothing that is made up: options, a menu's key, a withdrawn thumb", () => {
  const { bench, line, reqId } = talking();
  line.respond(reqId, { msgtype: "template_card", template_card: card("t") });
  const chosen = (n: number) => ({ question_key: `q${n}`, option_ids: { option_id: ["1", "2"] } });
  const click = (more: object) => {
    bench.trigger("template_card_event", { template_card_event: { task_id: "t", ...more } });
    return line.callback.body.event["template_card_event"];
  };
  expect(click({ event_key: "yes" })).toEqual({ card_type: "button_interaction", task_id: "t", event_key: "yes" });
  for (const selected_item of [[chosen(1)], [chosen(1), chosen(2), chosen(3)]]) {
    const made = { card_type: "vote_interaction", event_key: "submit", selected_items: { selected_item } };
    expect(click(made)).toEqual({ task_id: "t", ...made });
  }
  expect(Object.keys(click({ event_key: "menu-entry" }))).not.toContain("selected_items");
  bench.trigger("feedback_event", { feedback_event: { id: "trace_1", type: 3 } });
  expect(line.callback.body.event["feedback_event"]).toEqual({ id: "trace_1", type: 3 });
});

test("a stream may carry msg_item, which shows nothing; the same or an invisible text again is acked and changes nothing", () => {
  const { bench, line, reqId } = talking();
  const stream = { id: "s", finish: false, content: "so far" };
  const msg_item = [{ msgtype: "image", image: { base64: "", md5: "" } }];
  expect(line.respond(reqId, { msgtype: "stream", stream: { ...stream, msg_item } })).toEqual(fine);
  const shown = (): unknown => {
    const { frames: _, ...item } = bench.world.chat("bot", "zhangsan")!.items.at(-1) as { frames: number };
    return item;
  };
  const before = shown();
  expect(before).toEqual(including({ content: "so far" }));
  expect(JSON.stringify(before)).not.toContain("image");
  for (const content of ["so far", "so far"]) expect(line.stream(reqId, "s", content)).toEqual(fine);
  expect(shown()).toEqual(before);
  expect(line.stream(reqId, "s", "\u200b")).toEqual(fine);
  expect(shown()).toEqual(including({ finished: false }));
});
