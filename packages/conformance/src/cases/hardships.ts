/** What a gateway or a network may do to a client that has a connection: and the connection, or the answer, survives. */
import type { Case } from "../check.ts";
import { contentOf, stringAt, type Frame } from "../wire.ts";
import { streamOf, under } from "./answers.ts";
import { gaps, inMs } from "./subscribing.ts";

const minute = 60_000;

const pong: Case = {
  name: "heartbeat/answers-pings-of-websocket",
  title: "The gateway sends three PINGs of WebSocket.",
  checks: ["BEAT-4a"],
  play: async (stage) => {
    await stage.ready();
    const times: number[] = [];
    for (let at = 0; at < 3; at++) {
      const after = stage.seq;
      await stage.gateway.addFault("ping");
      const asked = performance.now();
      // What answers is the library under the client, whose time no lane scales.
      const pong = await stage.until(
        () => stage.wire.all.find(({ seq, dir, text }) => seq > after && dir === "socket" && text === "pong"),
        stage.lane.name === "real" ? 10_000 : 3_000,
      );
      if (pong === undefined)
        return stage.judge("BEAT-4a", false, `PING number ${at + 1} was not answered`, stage.wire.all.slice(-2));
      times.push(pong.at - asked);
    }
    stage.judge("BEAT-4a", true, `three PINGs were answered, after ${inMs(times)}`, stage.wire.all.slice(-2));
  },
};

const otherAcks: Case = {
  name: "heartbeat/insists-on-ping-acks",
  title: "No ping is acknowledged any more; answers to messages are.",
  checks: ["BEAT-6b"],
  gateway: () => ({ faults: ["ack-drop:cmd=ping,times=100000"] }),
  play: async (stage) => {
    const ack = await stage.conversing();
    const limit = stage.atMost("BEAT-6b", 100_000);
    const until = performance.now() + limit;
    let next: Frame | undefined;
    for (let at = 0; next === undefined && performance.now() < until; at++) {
      await stage.say(`number ${at}`, at % 2 === 0 ? "zhangsan" : "lisi");
      next = await stage.until(
        () => stage.wire.opened(ack.seq)[0],
        Math.min(stage.ms(5_000), until - performance.now()),
      );
    }
    stage.judge(
      "BEAT-6b",
      next !== undefined,
      next === undefined
        ? `the same socket for ${Math.round(limit)} ms, without one ack of a ping`
        : `a new socket after ${Math.round(next.at - ack.at)} ms`,
      [ack, ...stage.wire.sent("ping").slice(0, 3), next],
    );
  },
};

const bareAcks: Case = {
  name: "frames/takes-an-ack-without-errcode",
  title: "The acks of pings and of a reply carry no errcode.",
  checks: ["REPLY-12"],
  gateway: () => ({ faults: ["ack-bare:cmd=ping,times=100000"] }),
  play: async (stage) => {
    const ack = await stage.conversing();
    await stage.gateway.addFault("ack-bare:cmd=aibot_respond_msg");
    const { reqId } = await stage.say("hello");
    await stage.pause(stage.ms(100_000) + 300);
    const again = stage.wire.opened(ack.seq)[0];
    const answers = stage.wire.answers([reqId], "zhangsan");
    stage.judge(
      "REPLY-12",
      again === undefined && answers.length === 1,
      again !== undefined
        ? `a new socket after ${Math.round(again.at - ack.at)} ms, although pings were acknowledged`
        : `the same socket for 100 s of the lane; the message was answered ${answers.length} times`,
      [ack, again, ...answers.slice(0, 3)],
    );
  },
};

const stuck: Case = {
  name: "reconnecting/is-not-held-up-by-a-full-socket",
  title: "The gateway stops reading while the client has files of many users to send.",
  checks: ["CONN-9"],
  contract: true,
  play: async (stage) => {
    const ack = await stage.conversing();
    await Promise.all(Array.from({ length: 12 }, (_, at) => stage.say("!upload 1500000", `user-${at}`)));
    const first = await stage.until(() => stage.wire.sent("aibot_upload_media_chunk")[0], stage.ms(minute) + 3_000);
    if (first === undefined) return;
    stage.gateway.cut(ack.connection, "half-open");
    const cutAt = performance.now();
    const after = stage.seq;
    const limit = stage.atMost("CONN-9", 100_000) + 2_000;
    const next = await stage.until(() => stage.wire.subscribed(after)[0], limit);
    const said =
      next === undefined
        ? `not subscribed again within ${Math.round(limit)} ms`
        : `subscribed again after ${Math.round(next.at - cutAt)} ms`;
    const answer = next && (await stage.asked("still there?", "first-user", 30_000));
    stage.judge(
      "CONN-9",
      answer !== undefined,
      `${said}${next === undefined ? "" : answer === undefined ? ", and a message was not answered" : ", and a message was answered"}`,
      [ack, first, next, answer],
    );
  },
};

const resets = 6;

const worn: Case = {
  name: "reconnecting/leaves-nothing-behind",
  title: "The connection is reset six times, each time once the client is back.",
  checks: ["ROBUST-1"],
  play: async (stage) => {
    let ack = await stage.conversing();
    for (let at = 0; at < resets; at++) {
      stage.gateway.cut(ack.connection, "reset");
      const next = await stage.until(() => stage.wire.subscribed(ack.seq)[0], stage.ms(minute) + 2_000);
      if (next === undefined) return stage.untested("ROBUST-1", `the client did not come back after reset ${at + 1}`);
      ack = next;
    }
    const { reqId } = await stage.say("hello", "lisi");
    await stage.pause(stage.ms(100_000));
    const pings = stage.wire.sent("ping", ack.seq).filter(({ connection }) => connection === ack.connection);
    const waits = gaps(pings);
    const least = stage.atLeast("ROBUST-1", 20_000);
    const answers = stage.wire.answers([reqId], "lisi");
    const open = stage.gateway.connections().length;
    stage.judge(
      "ROBUST-1",
      pings.length > 1 && waits.every((wait) => wait >= least) && answers.length === 1 && open === 1,
      `after ${resets} connections: ${pings.length} pings, after waits of ${inMs(waits.slice(0, 6))}; a message was answered ${answers.length} times; ${open} sockets are open`,
      [ack, ...pings.slice(0, 4), ...answers.slice(0, 2)],
    );
  },
};

const stoppedInStream: Case = {
  name: "shutdown/ends-its-streams",
  title: "The client is asked to stop in the middle of a stream.",
  checks: ["ROBUST-3b"],
  contract: true,
  mayEnd: true,
  play: async (stage) => {
    await stage.conversing();
    const { reqId } = await stage.say("!stream 60");
    const second = await stage.until(() => under(stage, reqId)[1], stage.ms(minute) + 3_000);
    if (second === undefined) return;
    const [client] = stage.clients as [(typeof stage.clients)[number]];
    client.terminate();
    await stage.until(() => client.end, 5_500);
    await stage.pause(200);
    const end = under(stage, reqId).find((frame) => streamOf(frame).finish);
    stage.judge(
      "ROBUST-3b",
      end !== undefined,
      end === undefined
        ? `the socket was closed after ${under(stage, reqId).length} frames, and the stream left open`
        : `the stream was finished ${Math.round(end.at - second.at)} ms after its second frame`,
      [...under(stage, reqId).slice(-3), stage.wire.ended(second.connection)],
    );
  },
};

const throttled: Case = {
  name: "replies/rest-when-throttled",
  title: "The second frame of a stream is refused with 846607: too many messages in this chat.",
  checks: ["REPLY-5a", "REPLY-5b", "REPLY-5c"],
  contract: true,
  play: async (stage) => {
    await stage.conversing();
    await stage.gateway.addFault("errcode:errcode=846607,cmd=aibot_respond_msg,nth=2");
    const { reqId } = await stage.say("!stream 6");
    const refused = await stage.until(
      () => {
        const asked = under(stage, reqId)[1];
        return asked && stage.wire.ackOf(asked);
      },
      stage.ms(minute) + 5_000,
    );
    if (refused === undefined) return;
    // What was on its way when the refusal came is not against it.
    const later = (): Frame[] =>
      stage.wire
        .sent(undefined, refused.seq)
        .filter(
          ({ at, cmd, body }) => at > refused.at + 30 && (cmd === "aibot_respond_msg" || body["chatid"] === "zhangsan"),
        );
    const final = await stage.until(
      () => stage.wire.answers([reqId], "zhangsan", refused.seq)[0],
      stage.atMost("REPLY-5b", 180_000),
    );
    const [next] = later();
    const wait = next === undefined ? Infinity : next.at - refused.at;
    const said = next === undefined ? "nothing followed" : `the next frame came after ${Math.round(wait)} ms`;
    const interim = later().filter((frame) => frame.cmd === "aibot_respond_msg" && !streamOf(frame).finish);
    stage.judge(
      "REPLY-5a",
      wait >= stage.atLeast("REPLY-5a", 5_000) && interim.length === 0,
      `${said}; ${interim.length} further frames that do not finish`,
      [refused, next, ...interim.slice(0, 3)],
    );
    stage.judge(
      "REPLY-5b",
      final !== undefined,
      final === undefined
        ? "the final answer never came"
        : `the final answer came ${Math.round(final.at - refused.at)} ms after the refusal`,
      [refused, final],
    );
    if (next === undefined) return;
    stage.judge(
      "REPLY-5c",
      wait >= stage.atLeast("REPLY-5c", 50_000),
      `${said}; ${Math.round(stage.ms(50_000))} ms were due`,
      [refused, next],
    );
  },
};

const lateAck: Case = {
  name: "replies/credits-no-late-ack",
  title: "The ack of a frame comes late, when the next one is on its way; then that one's refusal comes.",
  checks: ["REPLY-9"],
  contract: true,
  play: async (stage) => {
    await stage.conversing();
    // How long this client waits for an ack, and then goes on, it shows by itself.
    await stage.gateway.addFault("ack-drop:cmd=aibot_respond_msg,times=2");
    const shown = await stage.say("!stream 3", "lisi");
    const frames = (): Frame[] => under(stage, shown.reqId);
    const enough = (): Frame | undefined => frames()[2] ?? frames().find((frame) => streamOf(frame).finish);
    await stage.until(enough, 2 * stage.ms(minute) + 12_000);
    if (frames().length < 2)
      return stage.untested("REPLY-9", "after a frame whose ack is lost the client sends no further one");
    // A busy machine makes it longer, never shorter.
    const gap = Math.min(...gaps(frames()));
    await stage.answered(shown.reqId, "lisi", 0, minute);

    let waits = 0;
    const users = ["zhangsan", "wangwu", "zhaoliu", "sunqi", "zhouba", "wujiu"];
    // A busy machine may let the late ack miss the moment between the second frame and its refusal.
    for (const user of users) {
      for (const fault of [
        `ack-delay:ms=${Math.round(gap * 1.25)},cmd=aibot_respond_msg`,
        "errcode:errcode=846608,cmd=aibot_respond_msg,nth=2",
        `ack-delay:ms=${Math.round(gap * 0.7)},cmd=aibot_respond_msg,nth=2`,
      ])
        await stage.gateway.addFault(fault);
      const { reqId } = await stage.say("!stream 4", user);
      const acks = (): Frame[] =>
        stage.wire.all.filter((frame) => frame.dir === "out" && frame.reqId === reqId && frame.cmd === undefined);
      const refused = (): Frame | undefined => acks().find(({ json }) => json?.["errcode"] === 846608);
      await stage.until(refused, gap * 4 + stage.ms(minute) + 2_000);
      await stage.pause(stage.ms(minute) / 2 + 2_500);
      const [first, second] = under(stage, reqId);
      const late = acks().find(({ json }) => json?.["errcode"] === 0);
      const refusal = refused();
      if (first === undefined || second === undefined || late === undefined || refusal === undefined) continue;
      if (late.seq < second.seq) waits++;
      if (late.seq < second.seq || late.seq > refusal.seq) continue;
      // Nor was this a refusal in time for a client that had given up the second frame by then.
      if (refusal.at - second.at > 0.85 * gap) continue;
      const { id } = streamOf(first);
      const own = under(stage, reqId).filter((frame) => streamOf(frame).id === id);
      const early = own.filter(({ seq }) => seq > late.seq && seq < refusal.seq);
      const further = own.filter(({ seq }) => seq > refusal.seq);
      return stage.judge(
        "REPLY-9",
        early.length === 0 && further.length <= 1,
        `the late ack came ${Math.round(late.at - second.at)} ms after the second frame, its refusal ${Math.round(refusal.at - second.at)} ms after it; ${early.length} further frames of that stream before the refusal, ${further.length} after it`,
        [first, second, late, ...early.slice(0, 2), refusal, ...further.slice(0, 3)],
      );
    }
    if (waits === users.length)
      stage.judge("REPLY-9", true, "the next frame waits for the late ack", stage.wire.all.slice(-4));
    else stage.untested("REPLY-9", "the late ack did not come between the second frame and its refusal");
  },
};

const asMarkdown: Case = {
  name: "replies/changes-the-type-that-is-not-taken",
  title: "A reply is refused with 600039: this type of message is not taken.",
  checks: ["REPLY-10"],
  play: async (stage) => {
    await stage.conversing();
    await stage.gateway.addFault("errcode:errcode=600039,cmd=aibot_respond_msg");
    const { reqId } = await stage.say("hello");
    const first = await stage.until(() => under(stage, reqId)[0], stage.ms(10_000) + 2_500);
    if (first === undefined) return;
    const other = await stage.until(
      () =>
        stage.wire
          .business(first.seq)
          .find(
            (frame) =>
              stringAt(frame.body, "msgtype") === "markdown" && contentOf(frame).includes(contentOf(first).trim()),
          ),
      stage.ms(30_000) + 2_000,
    );
    stage.judge(
      "REPLY-10",
      other !== undefined,
      other === undefined
        ? "the text was not sent again as markdown"
        : `the text went out as markdown by ${other.cmd ?? ""}`,
      [first, other],
    );
  },
};

const filtered: Case = {
  name: "replies/do-not-insist-on-what-is-filtered",
  title: "A reply is refused with 40201: its content is not let through.",
  checks: ["REPLY-11"],
  play: async (stage) => {
    await stage.conversing();
    await stage.gateway.addFault("errcode:errcode=40201,cmd=aibot_respond_msg");
    const { reqId } = await stage.say("hello");
    const first = await stage.until(() => under(stage, reqId)[0], stage.ms(10_000) + 2_500);
    if (first === undefined) return;
    await stage.pause(stage.ms(30_000) + 1_500);
    const again = stage.wire.business(first.seq).filter((frame) => contentOf(frame).includes(contentOf(first).trim()));
    stage.judge(
      "REPLY-11",
      again.length === 0,
      again.length === 0 ? "its content was not sent again" : `its content was sent again ${again.length} times`,
      [first, ...again.slice(0, 3)],
    );
  },
};

const unacknowledgedFile: Case = {
  name: "uploads/are-not-sent-twice",
  title: "The ack of a message with a file never comes.",
  checks: ["REPLY-8b"],
  contract: true,
  play: async (stage) => {
    await stage.conversing();
    const after = stage.seq;
    await stage.gateway.addFault("ack-drop:cmd=aibot_respond_msg,times=100000");
    await stage.gateway.addFault("ack-drop:cmd=aibot_send_msg,times=100000");
    await stage.say("!upload 1000");
    const files = (): Frame[] => stage.wire.business(after).filter(({ body }) => stringAt(body, "msgtype") === "file");
    await stage.until(() => files()[0], stage.ms(minute) + 3_000);
    await stage.pause(stage.ms(minute) + 500);
    if (files().length === 0) return;
    stage.judge(
      "REPLY-8b",
      files().length <= 2,
      `sent ${files().length} times within a minute of the lane`,
      files().slice(0, 4),
    );
  },
};

const failing: Case = {
  name: "streams/end-when-a-handler-fails",
  title: "A handler throws, in the middle of its answer where the bot can.",
  checks: ["STREAM-2b"],
  contract: true,
  play: async (stage) => {
    await stage.conversing();
    const { reqId } = await stage.say("!fail");
    const limit = stage.atMost("STREAM-2b", 5_000);
    const first = await stage.until(() => under(stage, reqId)[0], stage.ms(10_000) + 2_500);
    if (first === undefined) return stage.untested("STREAM-2b", "the bot opened no stream before its handler failed");
    const end = await stage.until(() => under(stage, reqId).find((frame) => streamOf(frame).finish), limit + 500);
    stage.judge(
      "STREAM-2b",
      end !== undefined,
      end === undefined
        ? `the stream was still open ${Math.round(limit + 500)} ms later`
        : `the stream was finished ${Math.round(end.at - first.at)} ms after it was opened`,
      [first, end],
    );
  },
};

const endless: Case = {
  name: "streams/are-handed-over-in-time",
  title: "An answer takes more than ten minutes, which is as long as a stream lives.",
  checks: ["STREAM-5"],
  contract: true,
  long: ["real"],
  gateway: ({ scale }) => ({ switches: { streamLifeMs: 600_000 * scale } }),
  play: async (stage) => {
    await stage.conversing();
    const { reqId } = await stage.say("!stream 5000");
    const first = await stage.until(() => under(stage, reqId)[0], stage.ms(minute) + 3_000);
    if (first === undefined) return;
    const { id } = streamOf(first);
    const own = (): Frame[] => under(stage, reqId).filter((frame) => streamOf(frame).id === id);
    const end = await stage.until(
      () => own().find((frame) => streamOf(frame).finish),
      stage.atMost("STREAM-5", 10 * minute),
    );
    const age = (end?.at ?? Infinity) - first.at;
    if (end !== undefined && age < stage.atLeast("STREAM-5", 8 * minute))
      return stage.untested("STREAM-5", "!stream 5000 did not take ten minutes");
    stage.judge(
      "STREAM-5",
      end !== undefined,
      end === undefined
        ? `still open after ${own().length} frames and ${Math.round(stage.ms(10 * minute))} ms, its tenth minute`
        : `finished after ${own().length} frames and ${Math.round(age)} ms`,
      [first, ...own().slice(-2)],
    );
  },
};

const interrupted: Case = {
  name: "streams/outlive-a-reconnect",
  title: "The connection is reset in the middle of a stream.",
  checks: ["STREAM-7a", "STREAM-7b"],
  contract: true,
  play: async (stage) => {
    await stage.conversing();
    const shown = await stage.say("!stream 6", "lisi");
    const whole = await stage.answered(shown.reqId, "lisi", 0, minute);
    if (whole === undefined) return;
    const full = contentOf(whole).replace(/\s/g, "");
    const { reqId } = await stage.say("!stream 6");
    const second = await stage.until(() => under(stage, reqId)[1], stage.ms(minute) + 3_000);
    if (second === undefined) return;
    await stage.until(() => stage.wire.ackOf(second), 300);
    stage.gateway.cut(second.connection, "reset");
    const after = stage.seq;
    const back = await stage.until(() => stage.wire.subscribed(after)[0], stage.ms(minute) + 2_000);
    if (back === undefined) return stage.untested("STREAM-7b", "the client did not come back");
    const ends = (): Frame[] =>
      stage.wire
        .answers([reqId], "zhangsan", back.seq)
        .filter((frame) => contentOf(frame).replace(/\s/g, "").includes(full));
    await stage.until(() => ends()[0], stage.ms(minute) + 4_000);
    await stage.pause(stage.ms(15_000) + 500);
    const tried = under(stage, reqId).filter(({ seq }) => seq > back.seq);
    stage.judge("STREAM-7a", tried.length > 0, `${tried.length} frames with the old req_id on the new connection`, [
      back,
      ...tried.slice(0, 3),
    ]);
    const shownAs = new Set(ends().map((frame) => streamOf(frame).id ?? `#${frame.seq}`));
    stage.judge(
      "STREAM-7b",
      shownAs.size === 1,
      `the whole text reached the user ${shownAs.size} times after the reset`,
      [second, back, ...ends().slice(0, 3)],
    );
  },
};

/** Text of the gateway that no user should read. */
const marker = "internal-trace-7f3a";

const discreet: Case = {
  name: "hygiene/tells-users-no-secrets",
  title: "Replies and pushes are refused with a text of the gateway's own; an image comes with a key.",
  checks: ["ROBUST-4b"],
  play: async (stage) => {
    await stage.conversing();
    const after = stage.seq;
    for (const errcode of [40058, 846605, 600041]) {
      await stage.gateway.addFault(`errcode:errcode=${errcode},errmsg=${marker},cmd=aibot_respond_msg`);
      await stage.say("hello");
      await stage.pause(400);
    }
    await stage.gateway.say(stage.bot.id, { from: { userid: "zhangsan" }, msgtype: "image", image: {} });
    await stage.pause(stage.ms(30_000) + 800);
    const image = stage.wire.all.findLast(({ cmd, dir }) => dir === "out" && cmd === "aibot_msg_callback");
    const [, aeskey] = /"aeskey":"([^"]+)"/.exec(image?.text ?? "") ?? [];
    const [, url] = /"url":"([^"]+)"/.exec(image?.text ?? "") ?? [];
    const secrets = [
      ["the secret", stage.bot.secret],
      ["an aeskey", aeskey],
      ["a signed url", url],
      ["an error text of the gateway", marker],
    ] as const;
    const said = stage.wire.business(after).filter(({ cmd }) => cmd !== "aibot_subscribe");
    const told = secrets.find(([, text]) => text !== undefined && said.some((frame) => frame.text.includes(text)));
    stage.judge(
      "ROBUST-4b",
      told === undefined,
      told === undefined
        ? `none of ${secrets.map(([what]) => what).join(", ")} in ${said.length} frames`
        : `the client sent ${told[0]} to a chat`,
      told === undefined ? said.slice(-2) : said.filter((frame) => frame.text.includes(told[1]!)).slice(0, 2),
    );
  },
};

/** The cases of this file, in the order in which they are told. */
export const hardships: readonly Case[] = [
  endless,
  pong,
  otherAcks,
  bareAcks,
  stuck,
  worn,
  stoppedInStream,
  throttled,
  lateAck,
  asMarkdown,
  filtered,
  unacknowledgedFile,
  failing,
  interrupted,
  discreet,
];
