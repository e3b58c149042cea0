import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { lintRules, type LintRuleId } from "../src/lint.ts";
import { Bench, type Line } from "./bench.ts";
import { card } from "./wire.ts";

const minute = 60_000;

interface Scene {
  bench: Bench;
  line: Line;
  /** The req_id of a message that was just said. */
  reqId: string;
}

const scene = (): Scene => {
  const bench = new Bench({ switches: { ackLatencyMs: 0, subscribeLatencyMs: 0, maxInFlightPerUser: 0, wsPingMs: 0 } });
  const line = bench.subscribe(1);
  bench.say("hello");
  return { bench, line, reqId: line.callback.headers.req_id };
};
const subscribe = { cmd: "aibot_subscribe", body: { bot_id: "bot", secret: "secret" } };
const init = (more: object = {}) => ({
  cmd: "aibot_upload_media_init",
  body: { type: "file", filename: "a.txt", total_size: 6, total_chunks: 1, ...more },
});
const chunk = (upload_id: string, chunk_index: unknown = 0) => ({
  cmd: "aibot_upload_media_chunk",
  body: { upload_id, chunk_index, base64_data: "aGVsbG8h" },
});
const finish = (upload_id: string) => ({ cmd: "aibot_upload_media_finish", body: { upload_id } });
const advance = (bench: Bench, ms: number) => bench.handle({ type: "advance", ms, transport: false });
const refuseNext = ({ bench }: Scene, errcode: number) => bench.arm(`errcode:errcode=${errcode}`);
const respondWith = (reqId: string, stream: object) => ({
  cmd: "aibot_respond_msg",
  headers: { req_id: reqId },
  body: { msgtype: "stream", stream: { id: "s", finish: false, content: "x", ...stream } },
});

/** What a client does wrong, rule by rule. A rule without an entry does not compile. */
const mistakes: Record<LintRuleId, (given: Scene) => void> = {
  "not-json": ({ line }) => line.raw("hello"),
  "binary-frame": ({ bench }) =>
    bench.handle({ type: "received", connection: 1, binary: true, text: '{"cmd":"ping","headers":{"req_id":"b"}}' }),
  "no-req-id": ({ line }) => line.raw('{"cmd":"ping","headers":{}}'),
  "req-id-reused": ({ line }) => {
    line.send({ cmd: "ping", headers: { req_id: "same" } });
    line.send({ cmd: "ping", headers: { req_id: "same" } });
  },
  "unknown-cmd": ({ line }) => line.send({ cmd: "aibot_dance" }),
  "subscribe-not-first": ({ bench }) => bench.connect(2).send({ cmd: "ping" }),
  "subscribe-late": ({ bench }) => {
    const late = bench.connect(2);
    bench.pass(5001);
    late.send(subscribe);
  },
  "command-before-ack": ({ bench }) => {
    bench.handle({ type: "set", switches: { subscribeLatencyMs: 3000 } });
    const eager = bench.connect(2);
    eager.send(subscribe);
    eager.push("zhangsan");
  },
  "subscribe-again": ({ line }) => line.send(subscribe),
  "stays-refused": ({ bench }) => {
    bench.handle({ type: "add-bot", bot: { id: "known", secret: "right" } });
    const wrong = bench.subscribe(2, "known", "wrong");
    bench.pass(5001);
    wrong.send({ cmd: "ping" });
  },
  "retries-credentials": ({ bench }) => {
    bench.handle({ type: "set", switches: { subscribeRate: "off" } });
    bench.handle({ type: "add-bot", bot: { id: "known", secret: "right" } });
    for (let n = 2; n < 10; n++) bench.subscribe(n, "known", "wrong");
  },
  "retries-throttled": ({ bench }) => {
    for (let n = 2; n < 9; n++) bench.subscribe(n);
  },
  "sends-when-kicked": ({ bench, line }) => {
    bench.handle({ type: "kick", bot: "bot", call: 1 });
    bench.pass(1001);
    line.push("zhangsan");
  },
  "stays-when-kicked": ({ bench, line }) => {
    bench.handle({ type: "kick", bot: "bot", call: 1, closeAfterMs: "never" });
    bench.pass(5001);
    line.send({ cmd: "ping" });
  },
  "kick-war": ({ bench, line }) => {
    bench.subscribe(2);
    line.send(subscribe);
  },
  "ping-interval": ({ bench, line }) => {
    line.send({ cmd: "ping" });
    bench.pass(5000);
    line.send({ cmd: "ping" });
  },
  "ping-body": ({ line }) => line.send({ cmd: "ping", body: { time: 1 } }),
  "not-subscribed": ({ bench, line }) => {
    bench.arm("forget");
    line.push("zhangsan");
  },
  "reply-unknown": ({ line }) => line.stream("invented", "s", "x"),
  "reply-too-late": ({ bench, line, reqId }) => {
    advance(bench, 25 * 60 * minute);
    line.stream(reqId, "s", "x");
  },
  "reply-to-event": ({ bench, line }) => {
    bench.trigger("enter_chat");
    line.stream(line.callback.headers.req_id, "s", "x");
  },
  "answers-feedback": ({ bench, line }) => {
    bench.trigger("feedback_event", { feedback_event: { id: "trace_1", type: 1 } });
    line.stream(line.callback.headers.req_id, "s", "thanks");
  },
  "welcome-late": ({ bench, line }) => {
    bench.trigger("enter_chat");
    advance(bench, 6000);
    const { headers } = line.callback;
    line.send({ cmd: "aibot_respond_welcome_msg", headers, body: { msgtype: "text", text: { content: "hi" } } });
  },
  "update-late": ({ bench, line }) => {
    bench.trigger("template_card_event", { template_card_event: { event_key: "k", task_id: "t" } });
    advance(bench, 6000);
    const { headers } = line.callback;
    const body = { response_type: "update_template_card", template_card: card("t") };
    line.send({ cmd: "aibot_respond_update_msg", headers, body });
  },
  "bad-msgtype": ({ line, reqId }) => line.respond(reqId, { msgtype: "text", text: { content: "x" } }),
  "bad-push-msgtype": ({ line }) =>
    line.send({
      cmd: "aibot_send_msg",
      body: { chatid: "zhangsan", chat_type: 1, msgtype: "text", text: { content: "x" } },
    }),
  "two-in-flight": ({ bench, line, reqId }) => {
    bench.handle({ type: "set", switches: { ackLatencyMs: 250 } });
    line.send(respondWith(reqId, { content: "1" }));
    line.send(respondWith(reqId, { content: "12" }));
  },
  "retries-dead-req-id": ({ line }) => {
    line.stream("invented", "s", "x");
    line.stream("invented", "s", "x");
  },
  "retries-quota": (given) => {
    refuseNext(given, 846607);
    given.line.push("zhangsan");
    given.line.push("zhangsan");
  },
  "over-quota": ({ line }) => {
    for (let n = 0; n < 31; n++) line.push("zhangsan");
  },
  "stream-not-cumulative": ({ line, reqId }) => {
    line.stream(reqId, "s", "The first half");
    line.stream(reqId, "s", "and more");
  },
  "stream-two-req-ids": ({ bench, line, reqId }) => {
    line.stream(reqId, "s", "x");
    bench.say("again");
    line.stream(line.callback.headers.req_id, "s", "x");
  },
  "stream-after-finish": ({ line, reqId }) => {
    line.stream(reqId, "s", "x", true);
    line.stream(reqId, "s", "xy", true);
  },
  "stream-invisible": ({ line, reqId }) => line.stream(reqId, "s", " ", true),
  "stream-too-long": ({ line, reqId }) => line.stream(reqId, "s", "x".repeat(20_481)),
  "broken-text": ({ line, reqId }) => line.stream(reqId, "s", "half a smile \ud83d"),
  "stream-over-time": ({ bench, line, reqId }) => {
    line.stream(reqId, "s", "x");
    advance(bench, 11 * minute);
    line.stream(reqId, "s", "xy");
  },
  "retries-dead-stream": ({ bench, line, reqId }) => {
    line.stream(reqId, "s", "x");
    advance(bench, 11 * minute);
    for (let n = 0; n < 3; n++) line.stream(reqId, "s", "xy");
  },
  "feedback-late": ({ line, reqId }) => {
    line.stream(reqId, "s", "x");
    line.send(respondWith(reqId, { content: "xy", feedback: { id: "trace_1" } }));
  },
  "feedback-prefix": ({ line, reqId }) => line.send(respondWith(reqId, { feedback: { id: "mine" } })),
  "stream-msg-item": ({ line, reqId }) => line.send(respondWith(reqId, { msg_item: [] })),
  "push-no-chat-type": ({ line }) => line.push("zhangsan", "x", 0),
  "push-chatid-altered": ({ line }) => line.push("user:ZhangSan"),
  "retries-bad-chat": ({ line }) => {
    line.push("nobody");
    line.push("nobody");
  },
  "markdown-too-long": ({ line }) => line.push("zhangsan", "字".repeat(7000)),
  "card-incomplete": ({ line, reqId }) =>
    line.respond(reqId, { msgtype: "template_card", template_card: { card_type: "vote_interaction" } }),
  "card-task-id": ({ line, reqId }) => {
    line.respond(reqId, { msgtype: "template_card", template_card: card("t") });
    line.respond(reqId, { msgtype: "template_card", template_card: card("t") });
  },
  "card-keys": ({ line, reqId }) =>
    line.respond(reqId, { msgtype: "template_card", template_card: { ...card("t"), button_list: [{ text: "a" }] } }),
  "card-strings": ({ line, reqId }) =>
    line.respond(reqId, { msgtype: "template_card", template_card: { ...card("t"), source: { desc_color: "1" } } }),
  "upload-index-base": ({ line }) => line.send(chunk(line.ask(init()).body.upload_id, 1)),
  "upload-format": ({ line }) => {
    const { upload_id } = line.ask(init({ type: "image" })).body;
    line.ask(chunk(upload_id));
    line.ask(finish(upload_id));
  },
  "upload-index-text": ({ line }) => line.send(chunk(line.ask(init()).body.upload_id, "0")),
  "upload-md5": ({ line }) => line.send(init({ md5: "ABCDEF" })),
  "upload-id": ({ line }) => line.send(chunk("my-own-req-id")),
  "upload-resends": ({ line }) => {
    const { upload_id } = line.ask(init()).body;
    for (let n = 0; n < 4; n++) line.send(chunk(upload_id));
  },
  "upload-incomplete": ({ line }) => line.send(finish(line.ask(init()).body.upload_id)),
  "upload-overload": ({ bench, line }) => {
    const { upload_id } = line.ask(init({ total_chunks: 9 })).body;
    bench.handle({ type: "set", switches: { ackLatencyMs: 250 } });
    for (let index = 0; index < 5; index++) line.send(chunk(upload_id, index));
  },
  "upload-size": ({ line }) => line.send(init({ total_size: 4 })),
  "upload-filename": ({ line }) => line.send(init({ filename: "x".repeat(257) })),
  "media-id": ({ line, reqId }) => line.respond(reqId, { msgtype: "file", file: { media_id: "undefined" } }),
};

describe("each rule finds its mistake", () => {
  for (const [rule, mistake] of Object.entries(mistakes))
    test(`${rule}: ${lintRules[rule as LintRuleId].what}`, () => {
      const given = scene();
      expect(given.bench.world.findings()).toEqual([]);
      mistake(given);
      given.bench.pass(4000);
      const found = given.bench.world.findings().filter((finding) => finding.rule === rule);
      expect(
        found.length,
        `found ${given.bench.world
          .findings()
          .map((finding) => finding.rule)
          .join(", ")}`,
      ).toBeGreaterThan(0);
      expect(found[0]!.requirement).toBe(lintRules[rule as LintRuleId].requirement);
    });
});

test("every rule points to a requirement that exists", () => {
  const text = readFileSync(new URL("../../../spec/requirements.yaml", import.meta.url), "utf8");
  const { requirements } = parse(text) as { requirements: { id: string }[] };
  const ids = new Set(requirements.map(({ id }) => id));
  expect(Object.values(lintRules).filter(({ requirement }) => !ids.has(requirement))).toEqual([]);
});

test("a client that keeps the rules has no findings, through messages, events, uploads, pushes and an hour of pings", () => {
  const { bench, line, reqId } = scene();
  line.stream(reqId, "s1", "thinking …");
  line.stream(reqId, "s1", "The answer");
  line.stream(reqId, "s1", "The answer is 42.", true);
  bench.trigger("enter_chat");
  const { headers } = line.callback;
  line.ask({ cmd: "aibot_respond_welcome_msg", headers, body: { msgtype: "text", text: { content: "hi" } } });
  const { upload_id } = line.ask(init()).body;
  line.ask(chunk(upload_id));
  const { media_id } = line.ask(finish(upload_id)).body;
  line.ask({ cmd: "aibot_send_msg", body: { chatid: "zhangsan", chat_type: 1, msgtype: "file", file: { media_id } } });
  for (let n = 0; n < 120; n++) {
    line.send({ cmd: "ping" });
    bench.pass(30_000);
  }
  expect(bench.world.findings()).toEqual([]);
});

test("findings are bounded, carry no secret, and can be asked for by bot", () => {
  const { bench, line } = scene();
  for (let n = 0; n < 200; n++) line.raw("junk");
  line.raw('{"cmd":"aibot_subscribe","headers":{},"body":{"secret":"hush"}}');
  const findings = bench.world.findings("bot");
  expect(findings.filter(({ rule }) => rule === "not-json")).toHaveLength(20);
  expect(bench.world.findings("other")).toEqual([]);
  expect(JSON.stringify(findings)).not.toContain("hush");
});
