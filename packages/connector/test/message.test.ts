import { expect, test } from "vitest";
import { decodeGatewayFrame } from "@openws/protocol";
import { eventOf, messageOf, withoutMention } from "../src/message.ts";
import { callback, happening } from "./virtual.ts";

const turn = { signal: new AbortController().signal };

function message(body: object, name?: string) {
  const text = JSON.stringify(callback("", body));
  const decoded = decodeGatewayFrame(text);
  if (!("ok" in decoded) || decoded.ok.kind !== "message") throw new Error("no message");
  return messageOf(decoded.ok, text, name, turn);
}

test.for([
  ["@Bot hello", "Bot", "hello"],
  ["＠Bot hello", "Bot", "hello"],
  ["  @Bot\u2005hello", "Bot", "hello"],
  ["@Claude Code /list", "Claude Code", "/list"],
  ["@Bot", "Bot", ""],
  ["@Bot @Bot twice", "Bot", "@Bot twice"],
  ["@Robotics hello", "Robot", "@Robotics hello"],
  ["@Other hello", "Bot", "@Other hello"],
  ["hello @Bot", "Bot", "hello @Bot"],
  ["mail@Bot.example", "Bot", "mail@Bot.example"],
  ["@Bot hello", undefined, "@Bot hello"],
  ["@ hello", "", "@ hello"],
  ["@机器人 你好", "机器人", "你好"],
  ["@a.*b x", "a.*b", "x"],
] as [string, string | undefined, string][])("%o addressed to %o reads %o", ([text, name, expected]) => {
  expect(withoutMention(text, name)).toBe(expected);
});

test("a mention is taken off in a group and left alone in a single chat", () => {
  const text = { content: "@Bot hi" };
  expect(message({ chattype: "group", chatid: "wrX", text }, "Bot").text).toBe("hi");
  expect(message({ text }, "Bot").text).toBe("@Bot hi");
});

test("a single chat is named by its user, a group by its chatid as it came", () => {
  expect(message({}).chat).toEqual({ id: "lily", type: "single" });
  expect(message({ chattype: "group", chatid: "wrAbC" }).chat).toEqual({ id: "wrAbC", type: "group" });
});

test.for([
  [{ msgtype: "image", image: { url: "u" } }, "image", "[image]"],
  [{ msgtype: "voice", voice: { content: "spoken" } }, "voice", "spoken"],
  [{ msgtype: "file", file: { url: "u" } }, "file", "[file]"],
  [{ msgtype: "video", video: { url: "u" } }, "video", "[video]"],
  [
    {
      msgtype: "mixed",
      mixed: {
        msg_item: [
          { msgtype: "text", text: { content: "a" } },
          { msgtype: "image", image: { url: "u" } },
          { msgtype: "hologram", hologram: {} },
          { msgtype: "text", text: { content: "b" } },
        ],
      },
    },
    "mixed",
    "a\n[image]\n[hologram]\nb",
  ],
  [{ msgtype: "hologram", hologram: {} }, "unknown", "[hologram]"],
] as [object, string, string][])("%o is a message of kind %s that reads %o", ([body, kind, text]) => {
  expect(message(body)).toMatchObject({ kind, text });
});

test("a quote stands beside the text, never in it", () => {
  const read = message({ text: { content: "what is this?" }, quote: { msgtype: "text", text: { content: "old" } } });
  expect(read.text).toBe("what is this?");
  expect(read.quote).toMatchObject({ msgtype: "text", text: { content: "old" } });
});

test("an event of which nothing but the type is known is an event", () => {
  const text = JSON.stringify({
    cmd: "aibot_event_callback",
    headers: { req_id: "e" },
    body: { event: { eventtype: "disconnected_event" } },
  });
  const decoded = decodeGatewayFrame(text);
  if (!("ok" in decoded) || decoded.ok.kind !== "event") throw new Error("no event");
  expect(eventOf(decoded.ok, text, turn)).toMatchObject({
    kind: "disconnected_event",
    chat: undefined,
    from: undefined,
  });
});

test("an event says where and by whom it happened, of whatever type it is", () => {
  const text = JSON.stringify(happening("moon_event"));
  const decoded = decodeGatewayFrame(text);
  if (!("ok" in decoded) || decoded.ok.kind !== "event") throw new Error("no event");
  expect(eventOf(decoded.ok, text, turn)).toMatchObject({
    kind: "unknown_event",
    from: "lily",
    chat: { id: "lily", type: "single" },
    raw: text,
  });
});
