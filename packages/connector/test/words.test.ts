import { expect, test } from "vitest";
import { type Cause, transitions } from "@openws/protocol";
import { sentenceOf } from "../src/causes.ts";
import { recordOf } from "../src/log.ts";
import type { BotEvent } from "../src/bot.ts";

const causes = [...new Set(Object.values(transitions).flatMap((row) => Object.keys(row)))] as Cause[];

test.for(causes)("%s is said in a sentence, in English and in Chinese", (cause) => {
  const { en, zh } = sentenceOf(cause);
  expect(en).toMatch(/^[a-z]/);
  expect(zh).toMatch(/\p{Script=Han}/u);
});

test("a refusal names its code and what the table knows of it, without what the gateway adds for its own people", () => {
  const errmsg =
    "invalid bot_id or secret, hint: [17], from ip: 203.0.113.9, more info at https://open.work.weixin.qq.com";
  const { en, zh } = sentenceOf("credentials", { code: 853000, text: errmsg });
  expect(en).toContain('errcode 853000 "invalid bot_id or secret"');
  expect(en).toMatch(/not trying again/);
  expect(zh).toContain("不再重试");
  expect(en + zh).not.toContain("203.0.113.9");
});

test("a close names its code and reason, and what to do about what is known", () => {
  expect(sentenceOf("closed", { code: 1006, text: "what nobody knows" }).en).toBe(
    "the socket closed or could not be opened (1006: what nobody knows)",
  );
  expect(sentenceOf("closed", { code: 1006, text: "connect ECONNREFUSED 127.0.0.1:1" }).en).toMatch(
    /^nothing listens .*; check host and port.* \(1006: connect ECONNREFUSED 127\.0\.0\.1:1\)$/,
  );
  expect(sentenceOf("closed", { code: 1001, text: "" }).en).toMatch(/\(1001\)$/);
});

const text = "what lily said";
const message = {
  kind: "text",
  msgid: "m",
  reqId: "r",
  chat: { id: "lily", type: "single" },
  from: "lily",
  text,
  quote: undefined,
  body: { text: { content: text } },
  raw: `{"text":"${text}"}`,
  signal: new AbortController().signal,
} as unknown as Extract<BotEvent, { type: "message" }>["message"];

const events: BotEvent[] = [
  { type: "moved", from: "ready", to: "kicked", why: "kicked", sentence: sentenceOf("kicked") },
  { type: "notice", what: { type: "undecodable", reason: { path: "$", reason: "not JSON" } } },
  { type: "notice", what: { type: "bent", note: "n" } },
  { type: "notice", what: { type: "stray-ack", req_id: "r", why: "late", errcode: 0 } },
  { type: "notice", what: { type: "unknown-command", cmd: "c" } },
  { type: "notice", what: { type: "pong", afterMs: 1 } },
  { type: "notice", what: { type: "server-ping" } },
  { type: "notice", what: { type: "ping-refused", errcode: 1, errmsg: "e" } },
  { type: "message", message },
  { type: "duplicate", msgid: "m" },
  { type: "unhandled", kind: "text", reqId: "r" },
  { type: "dropped", reqId: "r", why: "overload" },
  { type: "cut-off", reqId: "r", why: "expired" },
  { type: "handler-failed", reqId: "r", error: new Error("broken") },
  { type: "probed", found: "not-subscribed" },
  { type: "observer-failed", error: Object.create(null) },
  { type: "answered", reqId: "r", route: "stream", end: { type: "delivered" } },
  { type: "answered", reqId: "r", route: "push", end: { type: "unknown", why: "w" } },
  { type: "answered", reqId: "r", route: "push", end: { type: "failed", why: "w", errcode: 93006 } },
];

test.for(events.map((event) => [event.type, event] as const))("%s has a line in the log", ([, event]) => {
  const { message: line, fields } = recordOf(event);
  expect(line).toMatch(/\S/);
  expect(line + JSON.stringify(fields)).not.toContain(text);
});

test("what people must act upon is logged as an error, what heals by itself is not", () => {
  const level = (to: "kicked" | "refused" | "waiting" | "ready" | "dialing") =>
    recordOf({ type: "moved", from: "ready", to, why: "kicked", sentence: sentenceOf("kicked") }).level;
  expect([level("kicked"), level("refused"), level("waiting"), level("ready"), level("dialing")]).toEqual([
    "error",
    "error",
    "warn",
    "info",
    "debug",
  ]);
});
