/** Chats: whose conversation a message belongs to, what a group text says, and how much a chat may be sent. */
import type { UserMessage } from "@openws/mock-gateway";
import type { Case } from "../check.ts";
import type { Stage } from "../stage.ts";
import { contentOf, stringAt, type Frame } from "../wire.ts";
import { streamOf, under } from "./answers.ts";

const minute = 60_000;
/** The gateway's own limit, which no lane scales. */
const perMinute = 30;

const group = (chatid: string): Partial<UserMessage> => ({ chattype: "group", chatid });

/** Asks for a push and waits for it. */
const pushFor = async (
  stage: Stage,
  text: string,
  user: string,
  more: Partial<UserMessage> = {},
): Promise<Frame | undefined> => {
  const after = stage.seq;
  await stage.say(`!push ${text}`, user, more);
  return stage.until(() => stage.wire.sent("aibot_send_msg", after)[0], stage.ms(10_000) + 2_500);
};

const apart: Case = {
  name: "chats/keeps-users-apart",
  title:
    "Two users ask the bot to push to them, in single chats; then a user and a group do, and the callback says no chattype.",
  checks: ["IN-3", "IN-17"],
  contract: true,
  play: async (stage) => {
    await stage.conversing();
    const said = (frame: Frame): string => JSON.stringify(frame.body["chatid"]) ?? "nowhere";
    const one = await pushFor(stage, "for one", "zhangsan");
    const two = await pushFor(stage, "for two", "lisi");
    if (one === undefined || two === undefined) return;
    stage.judge(
      "IN-3",
      one.body["chatid"] === "zhangsan" && two.body["chatid"] === "lisi",
      `pushes for zhangsan and lisi went to ${said(one)} and ${said(two)}`,
      [one, two],
    );
    const bare = async (user: string, more: Partial<UserMessage> = {}): Promise<Frame | undefined> => {
      await stage.gateway.addFault("odd-frame:what=missing-chattype");
      return pushFor(stage, "hello", user, more);
    };
    const single = await bare("wangwu");
    const many = await bare("wangwu", group("wrGroupOne"));
    const kept = single?.body["chatid"] === "wangwu" && many?.body["chatid"] === "wrGroupOne";
    stage.judge(
      "IN-17",
      kept,
      [single, many]
        .map(
          (frame, at) => `${at === 0 ? "without" : "with"} a chatid: ${frame === undefined ? "no push" : said(frame)}`,
        )
        .join("; "),
      [single, many],
    );
  },
};

const mentioned: Case = {
  name: "chats/strips-the-mention-alone",
  title: "In a group the bot is mentioned: before a command, and before a text that mentions others, too.",
  checks: ["IN-15a", "IN-15b"],
  contract: true,
  play: async (stage) => {
    await stage.conversing();
    const echoOf = async (text: string): Promise<Frame | undefined> => {
      const answer = await stage.asked(text, "zhangsan", 10_000, group("wrGroupOne"));
      await stage.pause(100);
      return answer;
    };
    const command = await echoOf("/reset all of it");
    if (command === undefined) return;
    stage.judge(
      "IN-15a",
      contentOf(command).includes("/reset all of it"),
      `"@Bot /reset all of it" reached the application as ${JSON.stringify(contentOf(command))}`,
      [command],
    );
    const others = await echoOf("ask @Bot and @Other again");
    const foreign = await echoOf("@Other is asked");
    const kept =
      others !== undefined &&
      contentOf(others).trim() === "echo: ask @Bot and @Other again" &&
      foreign !== undefined &&
      contentOf(foreign).trim() === "echo: @Other is asked";
    stage.judge(
      "IN-15b",
      kept,
      [others, foreign]
        .map((frame) => (frame === undefined ? "no answer" : JSON.stringify(contentOf(frame))))
        .join("; "),
      [others, foreign],
    );
  },
};

const unreachable: Case = {
  name: "pushes/give-up-on-a-chat-that-is-none",
  title: "A push is refused with 93006, another one with 93001.",
  checks: ["PUSH-2"],
  contract: true,
  play: async (stage) => {
    await stage.conversing();
    const sent: Frame[] = [];
    for (const [errcode, user] of [
      [93006, "zhangsan"],
      [93001, "lisi"],
    ] as const) {
      await stage.gateway.addFault(`errcode:errcode=${errcode},cmd=aibot_send_msg`);
      const first = await pushFor(stage, "hello", user);
      if (first === undefined) return;
      await stage.pause(stage.ms(minute) / 2 + 500);
      sent.push(...stage.wire.sent("aibot_send_msg", first.seq - 1).filter(({ body }) => body["chatid"] === user));
    }
    stage.judge("PUSH-2", sent.length === 2, `two targets were refused, and ${sent.length} pushes sent to them`, sent);
  },
};

/** 27 KB without a blank, in characters of three bytes. */
const longPush = Array.from({ length: 900 }, (_, at) => `第${String(at).padStart(3, "0")}句天地玄黄宇宙`).join("，");

const longPushes: Case = {
  name: "pushes/fit-their-frames",
  title: "The bot is asked to push a short text, and one of 27 KB.",
  checks: ["PUSH-5", "PUSH-6"],
  contract: true,
  play: async (stage) => {
    await stage.conversing();
    const short = await pushFor(stage, "hello", "zhangsan");
    if (short === undefined) return;
    stage.judge(
      "PUSH-5",
      stringAt(short.body, "msgtype") === "markdown" && contentOf(short).includes("hello"),
      `a text was pushed as ${JSON.stringify(short.body["msgtype"])}`,
      [short],
    );
    const after = stage.seq;
    await pushFor(stage, longPush, "lisi");
    await stage.pause(stage.ms(10_000) + 500);
    const parts = stage.wire.sent("aibot_send_msg", after);
    if (parts.length === 0) return;
    const most = Math.max(...parts.map((frame) => new TextEncoder().encode(contentOf(frame)).length));
    stage.judge("PUSH-6", most <= 20_480, `the longest of ${parts.length} pushes has ${most} bytes`, parts.slice(0, 3));
  },
};

/** The most frames within any minute of the wall clock. */
const mostInAMinute = (frames: readonly Frame[]): number =>
  Math.max(0, ...frames.map(({ at }) => frames.filter((other) => other.at >= at && other.at < at + minute).length));

const rushed: Case = {
  name: "pushes/keep-to-the-quota",
  title: "A user asks forty times at once, for an answer and a push in turn.",
  checks: ["PUSH-7"],
  contract: true,
  play: async (stage) => {
    await stage.conversing();
    const after = stage.seq;
    for (let at = 0; at < 20; at++) {
      await stage.say(`!push number ${at}`);
      await stage.say(`number ${at}`);
    }
    const sent = (): Frame[] =>
      stage.wire.business(after).filter(({ cmd }) => cmd === "aibot_send_msg" || cmd === "aibot_respond_msg");
    // What is beyond the quota follows at once, or is held back for as long as a minute takes.
    await stage.until(() => (sent().length > perMinute ? true : undefined), 5_000);
    await stage.pause(300);
    const messages = new Map(sent().map((frame) => [streamOf(frame).id ?? `#${frame.seq}`, frame]));
    const most = mostInAMinute([...messages.values()]);
    if (most < 5) return;
    stage.judge(
      "PUSH-7",
      most <= perMinute,
      `${most} messages within a few seconds; ${perMinute} a minute are the limit`,
      [...messages.values()].slice(-3),
    );
  },
};

const hasty: Case = {
  name: "streams/keep-to-the-quota",
  title: "A stream has sixty updates in quick succession.",
  checks: ["STREAM-6a", "STREAM-6b"],
  contract: true,
  play: async (stage) => {
    await stage.conversing();
    const { reqId } = await stage.say("!stream 60");
    const sent = (): Frame[] => under(stage, reqId);
    // The quota is not scaled, and what was held back for it comes within a minute.
    const limit = stage.lane.name === "real" ? 2.5 * minute : 45_000;
    const end = await stage.until(() => sent().find((frame) => streamOf(frame).finish), limit);
    if (sent().length < 2)
      return stage.untested("STREAM-6b", "!stream 60 was not answered by a stream of several frames");
    const most = mostInAMinute(sent());
    stage.judge(
      "STREAM-6a",
      most <= perMinute,
      `${most} frames within a minute; ${perMinute} are the limit`,
      sent().slice(-3),
    );
    const before = contentOf(sent().findLast((frame) => frame !== end)!);
    const last = end === undefined ? "" : contentOf(end);
    stage.judge(
      "STREAM-6b",
      end !== undefined && last.startsWith(before) && last.length > before.length,
      end === undefined
        ? `not finished after ${sent().length} frames`
        : `finished after ${sent().length} frames, with ${last.length} characters after ${before.length}`,
      sent().slice(-3),
    );
  },
};

/** The cases of this file, in the order in which they are told. */
export const chats: readonly Case[] = [hasty, apart, mentioned, unreachable, longPushes, rushed];
