/** Answers: what a refusal of a reply leads to, and, of bots that keep the echo contract, streams and pushes. */
import type { UserMessage } from "@openws/mock-gateway";
import type { Case } from "../check.ts";
import type { Stage } from "../stage.ts";
import { contentOf, objectAt, stringAt, type Frame } from "../wire.ts";
import { gaps, grow, inMs } from "./subscribing.ts";

const minute = 60_000;

/** What was sent under one req_id. */
export const under = (stage: Stage, reqId: string): Frame[] =>
  stage.wire.sent("aibot_respond_msg").filter((frame) => frame.reqId === reqId);

export const streamOf = (frame: Frame): { id: string | undefined; finish: boolean } => {
  const stream = objectAt(frame.body, "stream");
  return { id: stringAt(stream, "id"), finish: stream["finish"] === true };
};

const feedbackOf = ({ body }: Frame): string | undefined =>
  stringAt(objectAt(objectAt(body, "stream"), "feedback"), "id");

const gone: Case = {
  name: "replies/pushes-when-the-window-is-gone",
  title: "A reply is refused with 846605: its req_id is not known any more.",
  checks: ["REPLY-4a", "REPLY-4b"],
  play: async (stage) => {
    await stage.conversing();
    await stage.gateway.addFault("errcode:errcode=846605,cmd=aibot_respond_msg");
    const { reqId } = await stage.say("hello");
    const first = await stage.until(() => under(stage, reqId)[0], stage.ms(10_000) + 2_500);
    if (first === undefined) return;
    const ack = await stage.until(() => stage.wire.ackOf(first), 1_000);
    const push = await stage.until(
      () => stage.wire.sent("aibot_send_msg", first.seq).find(({ body }) => body["chatid"] === "zhangsan"),
      stage.atMost("REPLY-4b", 30_000),
    );
    await stage.pause(300);
    // What was under way when the refusal came is no repetition.
    const again = under(stage, reqId).filter(({ seq }) => seq > (ack?.seq ?? first.seq));
    stage.judge(
      "REPLY-4a",
      again.length === 0,
      again.length === 0 ? "no further frame with that req_id" : `${again.length} further frames with that req_id`,
      [first, ack, ...again.slice(0, 3)],
    );
    stage.judge(
      "REPLY-4b",
      push !== undefined,
      push === undefined
        ? "the answer was not pushed"
        : `the answer was pushed ${Math.round(push.at - first.at)} ms later`,
      [first, ack, push],
    );
  },
};

const notSubscribed: Case = {
  name: "replies/reconnects-when-not-subscribed",
  title: "A reply is refused with 846609: the gateway has forgotten the subscription.",
  checks: ["REPLY-7a"],
  play: async (stage) => {
    const subscribed = await stage.conversing();
    await stage.gateway.addFault("errcode:errcode=846609,cmd=aibot_respond_msg");
    await stage.say("hello");
    const limit = stage.atMost("REPLY-7a", minute);
    const next = await stage.until(() => stage.wire.subscribed(subscribed.seq)[0], limit);
    await stage.pause(stage.ms(10_000));
    const dials = stage.wire.opened(subscribed.seq);
    stage.judge(
      "REPLY-7a",
      next !== undefined && dials.length <= 1,
      next === undefined
        ? `not subscribed anew within ${Math.round(limit)} ms`
        : `subscribed anew ${Math.round(next.at - subscribed.at)} ms after it had been, with ${dials.length} new sockets`,
      [subscribed, ...dials, next],
    );
  },
};

const conflict: Case = {
  name: "replies/repeats-a-conflict-with-measure",
  title: "Every reply is refused with 6000: another update was under way.",
  checks: ["REPLY-6a", "REPLY-6b"],
  play: async (stage) => {
    await stage.conversing();
    await stage.gateway.addFault("errcode:errcode=6000,cmd=aibot_respond_msg,times=100000");
    const { reqId } = await stage.say("hello");
    // The waits that are usual here, 0.2 to 0.8 s, follow from nothing that a lane scales.
    await stage.pause(4_000);
    const sent = under(stage, reqId);
    if (sent.length === 0) return;
    const ids = new Set(sent.map((frame) => streamOf(frame).id));
    const waits = gaps(sent);
    stage.judge(
      "REPLY-6a",
      sent.length <= 4 && grow(waits),
      `sent ${sent.length} times${waits.length === 0 ? "" : `, after waits of ${inMs(waits.slice(0, 6))}`}; at most three repetitions, with growing waits, are allowed`,
      sent.slice(0, 6),
    );
    stage.judge("REPLY-6b", ids.size === 1, `${ids.size} stream.ids for one text`, sent.slice(0, 6));
  },
};

const cumulative: Case = {
  name: "streams/grow-and-end",
  title: "The bot is asked for a stream of five frames, twice.",
  checks: ["STREAM-1a", "STREAM-1b", "STREAM-1c", "STREAM-2a", "STREAM-2c", "STREAM-8a", "STREAM-8b"],
  contract: true,
  play: async (stage) => {
    await stage.conversing();
    const runs: Frame[][] = [];
    for (const user of ["zhangsan", "lisi"]) {
      const { reqId } = await stage.say("!stream 5", user);
      await stage.answered(reqId, user, 0, 2 * minute);
      await stage.pause(400);
      runs.push(stage.wire.sent("aibot_respond_msg").filter((frame) => frame.reqId === reqId));
    }
    const [first = [], second = []] = runs;
    if (first.length < 2 || second.length < 2) {
      for (const id of ["STREAM-1a", "STREAM-1b", "STREAM-1c", "STREAM-2a", "STREAM-2c", "STREAM-8a", "STREAM-8b"])
        stage.untested(id, "!stream 5 was not answered by a stream of several frames");
      return;
    }
    const delta = first.find((frame, at) => at > 0 && !contentOf(frame).startsWith(contentOf(first[at - 1]!)));
    stage.judge(
      "STREAM-1a",
      delta === undefined,
      delta === undefined
        ? `${first.length} frames, each with all of the one before`
        : "a frame does not begin with the text of the one before",
      first,
    );
    const ids = new Set(first.map((frame) => streamOf(frame).id));
    stage.judge(
      "STREAM-1b",
      ids.size === 1 && !ids.has(undefined),
      `${first.length} frames, ${ids.size} stream.ids`,
      first,
    );
    const shared = second.find((frame) => ids.has(streamOf(frame).id));
    stage.judge(
      "STREAM-1c",
      shared === undefined,
      shared === undefined ? "two streams, two ids" : "two streams have one id",
      [first[0], shared],
    );
    const ends = first.filter((frame) => streamOf(frame).finish);
    const last = first.at(-1)!;
    stage.judge(
      "STREAM-2a",
      ends.length === 1 && streamOf(last).finish,
      `${ends.length} finishing frames; ${streamOf(last).finish ? "nothing" : "something"} follows`,
      first.slice(-4),
    );
    const rated = first.filter((frame) => feedbackOf(frame) !== undefined);
    const tooLong = rated.find((frame) => new TextEncoder().encode(feedbackOf(frame)).length > 256);
    const late = rated.length > 0 && rated[0] !== first[0];
    stage.judge(
      "STREAM-8a",
      tooLong === undefined && !late,
      late
        ? "feedback.id stands in a later frame only"
        : `${rated.length} of ${first.length} frames have a feedback.id${tooLong === undefined ? "" : ", of more than 256 bytes"}`,
      rated.slice(0, 2),
    );
    const free = rated.find((frame) => !feedbackOf(frame)!.startsWith("trace_"));
    stage.judge(
      "STREAM-8b",
      free === undefined,
      free === undefined ? "no feedback.id without trace_" : `feedback.id is ${JSON.stringify(feedbackOf(free))}`,
      [free],
    );
    const visible = ends.every((frame) => /[\p{L}\p{N}\p{P}\p{S}]/u.test(contentOf(frame)));
    stage.judge(
      "STREAM-2c",
      visible,
      visible ? "the finishing frame says something" : "the finishing frame shows nothing",
      ends,
    );
  },
};

const oneAtATime: Case = {
  name: "replies/awaits-each-ack",
  title: "The acks of replies take 2 s.",
  checks: ["REPLY-3"],
  contract: true,
  play: async (stage) => {
    await stage.conversing();
    await stage.gateway.addFault(`ack-delay:ms=${stage.ms(2_000)},cmd=aibot_respond_msg,times=100000`);
    const { reqId } = await stage.say("!stream 5");
    await stage.answered(reqId, "zhangsan", 0, 2 * minute);
    await stage.pause(stage.ms(2_000) + 100);
    const sent = under(stage, reqId);
    if (sent.length < 2) return stage.untested("REPLY-3", "!stream 5 was not answered by a stream of several frames");
    const early = sent.find((frame, at) => {
      const ack = at === 0 ? undefined : stage.wire.ackOf(sent[at - 1]!);
      return at > 0 && (ack === undefined || ack.seq > frame.seq);
    });
    stage.judge(
      "REPLY-3",
      early === undefined,
      early === undefined
        ? `${sent.length} frames, each after the ack of the one before`
        : "a frame was sent before the one before it was acknowledged",
      sent,
    );
  },
};

/** 30,000 bytes in characters of three and four bytes. */
const longText = Array.from(
  { length: 300 },
  (_, at) => `第${String(at).padStart(3, "0")}句：天地玄黄宇宙洪荒日月盈昃辰宿列张😀寒来暑往。`,
).join("\n");

const long: Case = {
  name: "streams/fit-their-frames",
  title: "The bot has to repeat a text of 29 KB.",
  checks: ["STREAM-3a", "STREAM-3b", "STREAM-3c"],
  contract: true,
  play: async (stage) => {
    await stage.conversing();
    const after = stage.seq;
    await stage.say(longText);
    const shown = (): string => {
      const streams = new Map<string, string>();
      for (const frame of stage.wire.business(after))
        if (contentOf(frame) !== "") streams.set(streamOf(frame).id ?? `#${frame.seq}`, contentOf(frame));
      return [...streams.values()].join("").replace(/\s/g, "");
    };
    const whole = longText.replace(/\s/g, "");
    const complete = await stage.until(() => (shown().includes(whole) ? true : undefined), stage.ms(minute) + 5_000);
    const sent = stage.wire.business(after).filter((frame) => contentOf(frame) !== "");
    if (sent.length === 0) return;
    const most = Math.max(...sent.map((frame) => new TextEncoder().encode(contentOf(frame)).length));
    stage.judge(
      "STREAM-3a",
      most <= 20_480,
      `the longest of ${sent.length} frames has ${most} bytes`,
      sent.slice(0, 4),
    );
    const broken = sent.find((frame) => !contentOf(frame).isWellFormed() || contentOf(frame).includes("\ufffd"));
    stage.judge(
      "STREAM-3b",
      broken === undefined,
      broken === undefined ? "no character was cut" : "a character was cut in two",
      [broken],
    );
    stage.judge(
      "STREAM-3c",
      complete === true,
      complete === true
        ? `all of it came, in ${sent.length} frames`
        : `of ${whole.length} characters ${shown().length} came`,
      sent.slice(0, 4),
    );
  },
};

const expired: Case = {
  name: "streams/goes-another-way-when-expired",
  title: "The second frame of a stream is refused with 846608: the stream is over.",
  checks: ["STREAM-4a", "STREAM-4b"],
  contract: true,
  play: async (stage) => {
    await stage.conversing();
    await stage.gateway.addFault("errcode:errcode=846608,cmd=aibot_respond_msg,nth=2");
    const { reqId } = await stage.say("!stream 5");
    const refused = await stage.until(
      () => {
        const second = under(stage, reqId)[1];
        return second && stage.wire.ackOf(second);
      },
      stage.ms(minute) + 5_000,
    );
    if (refused === undefined) return;
    const { id } = streamOf(under(stage, reqId)[1]!);
    const other = (frame: Frame): boolean =>
      frame.cmd === "aibot_send_msg" || (streamOf(frame).finish && streamOf(frame).id !== id);
    const route = await stage.until(
      () => stage.wire.answers([reqId], "zhangsan", refused.seq).find(other),
      stage.atMost("STREAM-4b", 30_000) + 4_000,
    );
    await stage.pause(500);
    const further = under(stage, reqId).filter((frame) => frame.seq > refused.seq && streamOf(frame).id === id);
    stage.judge("STREAM-4a", further.length <= 1, `${further.length} further frames of that stream`, [
      refused,
      ...further.slice(0, 4),
    ]);
    stage.judge(
      "STREAM-4b",
      route !== undefined,
      route === undefined
        ? "nothing was sent another way"
        : `${route.cmd ?? ""} ${Math.round(route.at - refused.at)} ms after the refusal`,
      [refused, route],
    );
  },
};

const lostAck: Case = {
  name: "streams/go-on-after-a-lost-ack",
  title: "The ack of a stream's second frame never comes.",
  checks: ["REPLY-8a"],
  contract: true,
  play: async (stage) => {
    await stage.conversing();
    await stage.gateway.addFault("ack-drop:cmd=aibot_respond_msg,nth=2");
    const { reqId } = await stage.say("!stream 5");
    const end = await stage.until(
      () => under(stage, reqId).find((frame) => streamOf(frame).finish),
      stage.atMost("REPLY-8a", minute) + 5_000,
    );
    const sent = under(stage, reqId);
    if (sent.length < 2) return stage.untested("REPLY-8a", "!stream 5 was not answered by a stream of several frames");
    stage.judge(
      "REPLY-8a",
      end !== undefined,
      end === undefined ? `after ${sent.length} frames nothing followed` : `finished after ${sent.length} frames`,
      sent,
    );
  },
};

const pushes: Case = {
  name: "pushes/name-their-chat",
  title: "The bot is asked to push, by a user and in a group whose names have small and capital letters.",
  checks: ["PUSH-1a", "PUSH-1b", "PUSH-1c", "IN-4"],
  contract: true,
  play: async (stage) => {
    await stage.conversing();
    const pushFor = async (user: string, more: Partial<UserMessage> = {}): Promise<Frame | undefined> => {
      const after = stage.seq;
      await stage.say("!push hello", user, more);
      return stage.until(() => stage.wire.sent("aibot_send_msg", after)[0], stage.ms(10_000) + 2_500);
    };
    const single = await pushFor("Zhang_San-09");
    const group = await pushFor("lisi", { chattype: "group", chatid: "wrGroup_Xy-Z0AbC" });
    const target = (frame: Frame): string => `chatid is ${JSON.stringify(frame.body["chatid"])}`;
    if (group === undefined) stage.untested("IN-4", "!push in a group was not followed by a push");
    else stage.judge("IN-4", group.body["chatid"] === "wrGroup_Xy-Z0AbC", target(group), [group]);
    if (single === undefined) return;
    stage.judge("PUSH-1a", single.body["chatid"] === "Zhang_San-09", target(single), [single]);
    const sent = [single, ...(group === undefined ? [] : [group])];
    const typed = single.body["chat_type"] === 1 && (group === undefined || group.body["chat_type"] === 2);
    const said = (member: string): string =>
      `${member} is ${sent.map(({ body }) => JSON.stringify(body[member]) ?? "absent").join(", ")}`;
    stage.judge("PUSH-1b", typed, `${said("chat_type")}, for a user and a group`, sent);
    stage.judge(
      "PUSH-1c",
      sent.every(({ body }) => pushTypes.has(stringAt(body, "msgtype") ?? "")),
      said("msgtype"),
      sent,
    );
  },
};

const pushTypes = new Set(["markdown", "template_card", "file", "image", "voice", "video"]);

const unacknowledgedPush: Case = {
  name: "pushes/are-not-repeated",
  title: "The ack of a push never comes.",
  checks: ["PUSH-4a"],
  contract: true,
  play: async (stage) => {
    await stage.conversing();
    await stage.gateway.addFault("ack-drop:cmd=aibot_send_msg,times=100000");
    const after = stage.seq;
    await stage.say("!push once-only");
    await stage.pause(stage.ms(minute) + 500);
    const sent = stage.wire.sent("aibot_send_msg", after).filter((frame) => contentOf(frame).includes("once-only"));
    if (sent.length === 0) return;
    stage.judge("PUSH-4a", sent.length <= 2, `sent ${sent.length} times within a minute of the lane`, sent.slice(0, 4));
  },
};

const slow: Case = {
  name: "callbacks/do-not-wait-for-each-other",
  title: "A handler takes 60 s; meanwhile another user speaks.",
  checks: ["IN-12"],
  contract: true,
  play: async (stage) => {
    const subscribed = await stage.conversing();
    const took = Math.max(3_000, stage.ms(minute));
    const after = stage.seq;
    const { reqId } = await stage.say(`!slow ${took}`);
    const other = await stage.asked("meanwhile", "lisi", 5_000);
    const beats = Math.floor(took / stage.ms(45_000));
    await stage.pause(took - 500);
    const pings = stage.wire.sent("ping", after);
    const early = stage.wire.answers([reqId], "zhangsan").length > 0;
    const again = stage.wire.opened(subscribed.seq)[0];
    if (early && other !== undefined) return stage.untested("IN-12", "!slow was answered at once");
    stage.judge(
      "IN-12",
      other !== undefined && pings.length >= beats && again === undefined,
      `meanwhile the other user was ${other === undefined ? "not answered" : "answered"}, and ${pings.length} pings were sent`,
      [other, ...pings.slice(0, 3), again],
    );
  },
};

const kickedInStream: Case = {
  name: "kick/ends-all-talk",
  title: "Another instance takes over in the middle of a stream.",
  checks: ["KICK-1b"],
  contract: true,
  mayEnd: true,
  play: async (stage) => {
    await stage.conversing();
    const { reqId } = await stage.say("!stream 20");
    await stage.until(() => under(stage, reqId)[1], stage.ms(minute) + 3_000);
    if (under(stage, reqId).length < 2) return;
    await stage.gateway.kick(stage.bot.id, { closeAfterMs: "never" });
    const event = stage.wire.all.findLast(({ body }) => objectAt(body, "event")["eventtype"] === "disconnected_event")!;
    await stage.pause(stage.ms(minute));
    const late = stage.wire
      .business(event.seq)
      .filter(
        ({ at, connection }) => connection === event.connection && at > event.at + stage.atMost("KICK-1b", 1_000),
      );
    stage.judge(
      "KICK-1b",
      late.length === 0,
      late.length === 0
        ? "nothing but pings after the kick"
        : `${late.length} frames later than a second after the kick`,
      [event, ...late.slice(0, 4)],
    );
  },
};

/** The cases of this file, in the order in which they are told. */
export const answers: readonly Case[] = [
  gone,
  notSubscribed,
  conflict,
  cumulative,
  oneAtATime,
  long,
  expired,
  lostAck,
  pushes,
  unacknowledgedPush,
  slow,
  kickedInStream,
];
