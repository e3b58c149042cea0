/** What comes in: odd frames, repeats, crowds; and that whatever goes out is lawful. */
import type { Case } from "../check.ts";
import type { Stage } from "../stage.ts";
import { objectAt, stringAt, type Frame } from "../wire.ts";

/** A case for one kind of odd frame. */
const odd = (
  id: string,
  name: string,
  title: string,
  what: string,
  kinds: readonly string[],
  alsoTheOddOne = true,
): Case => ({
  name: `frames/${name}`,
  title,
  checks: [id],
  play: async (stage) => {
    const ack = await stage.conversing();
    for (const [at, kind] of kinds.entries()) {
      await stage.gateway.addFault(kind);
      const first = await stage.asked(`number ${at}`);
      const second = await stage.asked("a plain one behind it", "lisi");
      const again = stage.wire.opened(ack.seq)[0];
      const label = kind.replace("odd-frame:what=", "");
      const out = stage.wire.all
        .filter(({ dir, cmd, json }) => dir === "out" && (cmd !== undefined || json === undefined))
        .slice(-4);
      if (again !== undefined)
        return stage.judge(id, false, `${label}: the client lost its connection`, [...out, again]);
      if (second === undefined)
        return stage.judge(id, false, `${label}: after it a plain message was not answered`, out);
      if (alsoTheOddOne && first === undefined)
        return stage.judge(id, false, `${label}: the message was not answered`, out);
    }
    stage.judge(id, true, what, stage.wire.all.slice(-4));
  },
});

const binary: Case = {
  name: "frames/bears-binary",
  title: "A callback comes as a binary message.",
  checks: ["IN-7a", "IN-7b"],
  play: async (stage) => {
    const ack = await stage.conversing();
    await stage.gateway.addFault("binary");
    const first = await stage.asked("in binary");
    const second = await stage.asked("in text", "lisi");
    const again = stage.wire.opened(ack.seq)[0];
    stage.judge(
      "IN-7a",
      again === undefined && second !== undefined,
      again !== undefined
        ? "the client lost its connection"
        : second === undefined
          ? "after it a plain message was not answered"
          : "the socket stayed, and the next message was answered",
      [again, second],
    );
    stage.judge(
      "IN-7b",
      first !== undefined,
      first === undefined ? "the binary message was not answered" : "the binary message was answered",
      [first],
    );
  },
};

const large: Case = {
  name: "frames/bears-large-ones",
  title: "A callback has 1.5 MiB.",
  checks: ["IN-14a", "IN-14b"],
  play: async (stage) => {
    const ack = await stage.conversing();
    await stage.gateway.addFault(`oversize:bytes=${1.5 * 1024 * 1024}`);
    const first = await stage.asked("a long one");
    stage.judge(
      "IN-14b",
      first !== undefined,
      first === undefined ? "the message of 1.5 MiB was not answered" : "the message of 1.5 MiB was answered",
      [first],
    );
    // Whoever gave up the connection over it may come back first.
    if (stage.wire.ended(ack.connection) !== undefined)
      await stage.until(() => stage.wire.subscribed(ack.seq)[0], stage.ms(60_000) + 1_000);
    const second = await stage.asked("a short one", "lisi");
    stage.judge(
      "IN-14a",
      second !== undefined,
      second === undefined ? "after it a plain message was not answered" : "a plain message behind it was answered",
      [second],
    );
  },
};

const repeated: Case = {
  name: "redelivery/answers-once",
  title: "A message comes again at once, under a new req_id.",
  checks: ["IN-1a"],
  play: async (stage) => {
    await stage.conversing();
    await stage.gateway.addFault("redeliver:reqId=new,over=same");
    const { msgid } = await stage.say("only once");
    await settled(stage);
    judgeOnce(stage, "IN-1a", msgid);
  },
};

const repeatedLater: Case = {
  name: "redelivery/answers-once-over-a-reconnect",
  title: "A message comes again on the next connection.",
  checks: ["IN-1b"],
  play: async (stage) => {
    const ack = await stage.conversing();
    await stage.gateway.addFault("redeliver:reqId=new,over=next");
    const { msgid, reqId } = await stage.say("only once");
    await stage.answered(reqId, "zhangsan");
    // Its ack has arrived by then, so that there is nothing to be sent again.
    await stage.pause(300);
    stage.gateway.cut(ack.connection, "reset");
    if ((await stage.until(() => stage.wire.subscribed(ack.seq)[0], stage.ms(60_000) + 2_000)) === undefined)
      return stage.untested("IN-1b", "the client did not come back");
    await settled(stage);
    judgeOnce(stage, "IN-1b", msgid);
  },
};

/** Time enough for a second answer. */
const settled = (stage: Stage): Promise<void> => stage.pause(stage.ms(10_000) + 1_000);

const judgeOnce = (stage: Stage, id: string, msgid: string): void => {
  const callbacks = stage.wire.callbacks(msgid);
  if (callbacks.length < 2) return stage.untested(id, "the message did not come twice");
  const reqIds = callbacks.map(({ reqId }) => reqId ?? "");
  const sent = stage.wire.answers(reqIds, "zhangsan");
  // A stream's finishing frame that is sent again replaces itself: the user sees one answer.
  const shown = new Set(
    sent.map(({ seq, reqId, body }) => `${reqId ?? ""} ${stringAt(objectAt(body, "stream"), "id") ?? seq}`),
  );
  stage.judge(id, shown.size === 1, `the message came ${callbacks.length} times and was answered ${shown.size} times`, [
    ...callbacks,
    ...sent,
  ]);
};

const threeAtOnce: Case = {
  name: "callbacks/answers-each-on-its-own",
  title: "A user sends three messages at once.",
  checks: ["IN-13"],
  play: async (stage) => {
    await stage.conversing();
    const told = await Promise.all(["one", "two", "three"].map((text) => stage.say(text)));
    await stage.until(
      () => (told.every(({ reqId }) => stage.wire.answers([reqId], "").length > 0) ? true : undefined),
      stage.ms(30_000) + 2_500,
    );
    const answers = told.map(({ reqId }) => stage.wire.answers([reqId], ""));
    const ids = answers
      .flat()
      .map(({ body }) => stringAt(objectAt(body, "stream"), "id"))
      .filter((id) => id !== undefined);
    const each = answers.every(({ length }) => length === 1);
    const own = new Set(ids).size === ids.length;
    stage.judge(
      "IN-13",
      each && own,
      `answers by req_id: ${answers.map(({ length }) => length).join(", ")}; ${own ? "no stream.id twice" : "a stream.id twice"}`,
      answers.flat(),
    );
  },
};

const crowd: Case = {
  name: "frames/one-object-a-message",
  title: "Twenty users speak at once.",
  checks: ["CONN-2"],
  play: async (stage) => {
    const ack = await stage.conversing();
    await stage.gateway.addFault("burst:count=20");
    const done = await stage.until(() => (finished(stage) > 20 ? true : undefined), stage.ms(60_000) + 3_000);
    const bad = stage.wire.sent(undefined, ack.seq).filter(({ json }) => json === undefined);
    stage.judge(
      "CONN-2",
      bad.length === 0 && done === true,
      bad.length > 0
        ? `${bad.length} messages are no JSON object`
        : `${stage.wire.sent(undefined, ack.seq).length} messages, each one JSON object; ${finished(stage) - 1} of 20 chats were answered`,
      bad.slice(0, 3),
    );
  },
};

const finished = (stage: Stage): number => {
  const asked = stage.wire.all.filter(({ dir, cmd }) => dir === "out" && cmd === "aibot_msg_callback");
  return asked.filter(
    ({ reqId, body }) => stage.wire.answers([reqId ?? ""], stringAt(objectAt(body, "from"), "userid") ?? "").length > 0,
  ).length;
};

const lawful: Case = {
  name: "frames/are-lawful",
  title: "The client talks with two users and is then left alone for a while.",
  checks: ["CONN-1", "CONN-3", "CONN-4", "REPLY-1", "REPLY-2", "STREAM-9"],
  play: async (stage) => {
    await stage.steady();
    const told = [await stage.say("hello"), await stage.say("hello", "lisi")];
    await stage.answered(told[0]!.reqId, "zhangsan");
    await stage.answered(told[1]!.reqId, "lisi");
    await stage.pause(stage.ms(100_000));
    const sent = stage.wire.sent();
    const replies = sent.filter(({ cmd }) => cmd === "aibot_respond_msg");
    const of = (bad: readonly Frame[], id: string, rule: string): void =>
      stage.judge(
        id,
        bad.length === 0,
        bad.length === 0 ? `all of ${sent.length} frames` : `${bad.length} of ${sent.length} frames: ${rule}`,
        bad.slice(0, 4),
      );
    of(
      sent.filter(({ json, binary: raw }) => json === undefined || raw),
      "CONN-1",
      "not one JSON object in one text message",
    );
    of(
      sent.filter(({ reqId }) => reqId === undefined || reqId === "" || new TextEncoder().encode(reqId).length > 256),
      "CONN-3",
      "headers.req_id is no string of 1 to 256 bytes",
    );
    of(stage.wire.repeatedIds(), "CONN-4", "a req_id for the second time on its connection");
    if (replies.length === 0) {
      for (const id of ["REPLY-1", "REPLY-2", "STREAM-9"]) stage.untested(id, "the client sent no reply");
      return;
    }
    of(
      replies.filter(({ reqId }) => !told.some((one) => one.reqId === reqId)),
      "REPLY-1",
      "a reply whose req_id is that of no callback",
    );
    of(
      replies.filter(({ body }) => !replyTypes.has(stringAt(body, "msgtype") ?? "")),
      "REPLY-2",
      "a msgtype that aibot_respond_msg does not have",
    );
    of(
      replies.filter(({ body }) => "msg_item" in objectAt(body, "stream")),
      "STREAM-9",
      "stream.msg_item on the long connection",
    );
  },
};

const replyTypes = new Set(["stream", "markdown", "template_card", "file", "image", "voice", "video"]);

const events: Case = {
  name: "events/are-no-messages",
  title: "A user enters the chat; another one rates an answer.",
  checks: ["EVENT-1b", "EVENT-4"],
  play: async (stage) => {
    await stage.ready();
    const entered = await stage.gateway.trigger(stage.bot.id, {
      eventtype: "enter_chat",
      from: { userid: "zhangsan" },
    });
    await stage.pause(600);
    const after = stage.seq;
    const rated = await stage.gateway.trigger(stage.bot.id, { eventtype: "feedback_event", from: { userid: "lisi" } });
    await stage.pause(stage.ms(10_000) + 600);
    const wrong = stage.wire
      .sent("aibot_respond_msg")
      .filter(({ reqId }) => reqId === entered.reqId || reqId === rated.reqId);
    stage.judge(
      "EVENT-1b",
      wrong.length === 0,
      wrong.length === 0
        ? "no aibot_respond_msg with the req_id of an event"
        : "an event was answered by aibot_respond_msg",
      wrong,
    );
    const answers = stage.wire
      .business(after)
      .filter(({ cmd, reqId }) => cmd !== "aibot_subscribe" && reqId !== entered.reqId);
    stage.judge(
      "EVENT-4",
      answers.length === 0,
      answers.length === 0 ? "nothing was sent" : `${answers[0]!.cmd ?? "a frame"} was sent on a feedback_event`,
      answers.slice(0, 3),
    );
  },
};

const noAcks: Case = {
  name: "replies/outlives-a-lost-ack",
  title: "The acks of all replies are lost.",
  checks: ["ROBUST-2"],
  gateway: () => ({ faults: ["ack-drop:cmd=aibot_respond_msg,times=1000", "ack-drop:cmd=aibot_send_msg,times=1000"] }),
  play: async (stage) => {
    await stage.ready();
    await stage.asked("hello");
    await stage.pause(stage.ms(15_000) + 300);
    const { end } = stage.clients[0]!;
    stage.judge("ROBUST-2", end === undefined, "the process lives", stage.wire.all.slice(-4));
  },
};

/** The cases of this file, in the order in which they are told. */
export const inbound: readonly Case[] = [
  lawful,
  crowd,
  odd(
    "IN-5",
    "bears-control-characters",
    "A message has TAB, LF, CR, ESC and NUL inside a string.",
    "the message was answered, on the same socket",
    ["odd-frame:what=control-chars"],
  ),
  odd(
    "IN-6",
    "ignores-what-is-no-object",
    "Invalid JSON, an empty frame, null and an array come before a message.",
    "each was ignored, and the message behind it answered",
    ["odd-frame:what=not-json", "odd-frame:what=null", "odd-frame:what=array"],
  ),
  odd(
    "IN-8",
    "ignores-what-it-does-not-know",
    "An unknown cmd, msgtype and event, and a callback without body, come before a message.",
    "each was ignored, and the message behind it answered",
    ["unknown-cmd", "unknown-msgtype", "unknown-event", "missing-field"].map((what) => `odd-frame:what=${what}`),
  ),
  odd(
    "IN-9",
    "reads-past-what-is-new",
    "A message has unknown members and integers beyond all bounds.",
    "the messages were answered",
    ["odd-frame:what=unknown-field", "odd-frame:what=huge-integer"],
  ),
  odd(
    "BEAT-5",
    "bears-a-ping-of-the-gateway",
    'A frame {"cmd":"ping"} of the gateway comes before a message.',
    "it did no harm, and the message behind it was answered",
    ["odd-frame:what=gateway-ping"],
  ),
  binary,
  large,
  repeated,
  repeatedLater,
  threeAtOnce,
  events,
  noAcks,
];
