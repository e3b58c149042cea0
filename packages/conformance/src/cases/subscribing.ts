/** Subscribing: what comes first, what counts as accepted, and what follows a refusal. */
import type { Case } from "../check.ts";
import type { Stage } from "../stage.ts";
import { objectAt, stringAt, type Frame } from "../wire.ts";

/** The waits between frames, milliseconds. */
export const gaps = (frames: readonly Frame[]): number[] =>
  frames.slice(1).map((frame, at) => frame.at - frames[at]!.at);

/** For people: `120, 240 and 480 ms`. */
export const inMs = (times: readonly number[]): string => `${times.map(Math.round).join(", ")} ms`;

/** Whether waits grow: with jitter one may be shorter than the one before, but the last is clearly longer than the first. */
export const grow = (waits: readonly number[]): boolean => waits.length < 2 || waits.at(-1)! > waits[0]! * 1.2;

const perMinute = 60_000;

/** The largest number of frames within any stretch of that length. */
const mostWithin = (frames: readonly Frame[], lengthMs: number): number =>
  Math.max(0, ...frames.map(({ at }) => frames.filter((other) => other.at >= at && other.at < at + lengthMs).length));

const subscribesFirst: Case = {
  name: "subscribing/subscribes-first",
  title: "The client connects to a friendly gateway.",
  checks: ["AUTH-1"],
  play: async (stage) => {
    const socket = await stage.until(() => stage.wire.opened()[0], 15_000);
    if (socket === undefined) return;
    const first = await stage.until(() => stage.wire.sent()[0], stage.atMost("AUTH-1", 5_000) + 1_000);
    if (first === undefined) return stage.judge("AUTH-1", false, "the client sent nothing on its socket", [socket]);
    const said = `after ${Math.round(first.at - socket.at)} ms its first frame was ${first.cmd ?? "no command"}`;
    const whole =
      stringAt(first.body, "bot_id") === stage.bot.id &&
      (stringAt(first.body, "secret") ?? "") !== "" &&
      (first.reqId ?? "") !== "";
    const inTime = first.at - socket.at <= stage.atMost("AUTH-1", 5_000);
    stage.judge(
      "AUTH-1",
      first.cmd === "aibot_subscribe" && whole && inTime,
      whole ? said : `${said}, without bot_id, secret or headers.req_id`,
      [socket, first],
    );
  },
};

const waitsForItsAck: Case = {
  name: "subscribing/waits-for-its-ack",
  title: "The ack of the subscribe takes 3 s.",
  checks: ["AUTH-2"],
  gateway: ({ scale }) => ({ faults: [`ack-delay:cmd=aibot_subscribe,ms=${3_000 * scale}`] }),
  play: async (stage) => {
    const ack = await stage.ready();
    const early = stage.wire
      .sent()
      .filter(({ seq, cmd }) => seq < ack.seq && cmd !== "aibot_subscribe" && cmd !== "ping");
    stage.judge(
      "AUTH-2",
      early.length === 0,
      early.length === 0 ? "nothing but pings before the ack" : `${early[0]!.cmd ?? "a frame"} was sent before the ack`,
      [...early, ack],
    );
  },
};

const ackNeverComes: Case = {
  name: "subscribing/gives-up-an-ack-that-never-comes",
  title: "The first subscribe is never acknowledged.",
  checks: ["AUTH-3a", "AUTH-3b"],
  gateway: () => ({ faults: ["ack-drop:cmd=aibot_subscribe"] }),
  play: async (stage) => {
    const asked = await stage.until(() => stage.wire.sent("aibot_subscribe")[0], 15_000);
    if (asked === undefined) return;
    const limit = stage.atMost("AUTH-3a", 15_000);
    const end = await stage.until(() => stage.wire.ended(asked.connection, "client"), limit);
    const next = await stage.until(
      () => stage.wire.sent("aibot_subscribe", asked.seq)[0],
      Math.max(0, asked.at + limit - performance.now()),
    );
    const took = end && end.at - asked.at;
    const said =
      took === undefined
        ? `the socket was still there after ${Math.round(limit)} ms`
        : `the socket was abandoned after ${Math.round(took)} ms`;
    const inTime = took !== undefined && took <= limit;
    stage.judge(
      "AUTH-3a",
      inTime && next !== undefined && next.at - asked.at <= limit && next.connection !== asked.connection,
      next === undefined
        ? `${said}, and no new attempt was made`
        : `${said}, the next subscribe came after ${Math.round(next.at - asked.at)} ms`,
      [asked, end, next],
    );
    stage.judge("AUTH-3b", took !== undefined && took <= stage.atMost("AUTH-3b", 10_000), said, [asked, end]);
  },
};

const callbackBeforeAck: Case = {
  name: "subscribing/knows-its-ack-by-its-req-id",
  title: "A message of a user overtakes the ack of the subscribe.",
  checks: ["AUTH-4"],
  gateway: () => ({ faults: ["callback-before-ack:text=early"] }),
  play: async (stage) => {
    const ack = await stage.ready();
    const callback = stage.wire.all.find(({ cmd }) => cmd === "aibot_msg_callback");
    if (callback === undefined || callback.seq > ack.seq)
      return stage.untested("AUTH-4", "the message did not come before the ack");
    const first = await stage.answered(callback.reqId!, "zhangsan");
    await stage.pause(stage.ms(5_000) + 300);
    const answers = stage.wire.answers([callback.reqId!], "zhangsan");
    const second = await stage.asked("and now?", "lisi");
    if (answers.length === 0 && second === undefined)
      return stage.untested("AUTH-4", "the bot answered no text message at all");
    const same = stage.wire.opened().length === 1;
    stage.judge(
      "AUTH-4",
      first !== undefined && answers.length === 1 && second !== undefined && same,
      `the early message was answered ${answers.length} times, a later one ${second === undefined ? "not at all" : "too"}${same ? "" : "; the client dialled again"}`,
      [callback, ack, ...answers, second],
    );
  },
};

const foreignAck: Case = {
  name: "subscribing/takes-no-foreign-ack",
  title: "An ack with errcode 0 for another req_id comes first; its own then says that it was refused.",
  checks: ["AUTH-5"],
  gateway: () => ({ faults: ["errcode:errcode=70707,cmd=aibot_subscribe", "ack-stray:cmd=aibot_subscribe"] }),
  play: async (stage) => {
    const asked = await stage.until(() => stage.wire.sent("aibot_subscribe")[0], 15_000);
    if (asked === undefined) return;
    const limit = stage.atMost("AUTH-5", perMinute);
    const next = await stage.until(
      () => stage.wire.ended(asked.connection, "client") ?? stage.wire.sent("aibot_subscribe", asked.seq)[0],
      limit,
    );
    const acks = stage.wire.all.filter(({ dir, connection }) => dir === "out" && connection === asked.connection);
    stage.judge(
      "AUTH-5",
      next !== undefined,
      next === undefined
        ? `for ${Math.round(limit)} ms the client held itself for subscribed`
        : `the client went by its own ack: after ${Math.round(next.at - asked.at)} ms it let go or tried again`,
      [asked, ...acks.slice(0, 3), next],
    );
  },
};

const wrongCredentials: Case = {
  name: "subscribing/stops-at-wrong-credentials",
  title: "Every subscribe is refused with 853000.",
  checks: ["AUTH-6b", "AUTH-6c", "AUTH-7"],
  mayEnd: true,
  gateway: () => ({ wrongSecret: true }),
  play: async (stage) => {
    const refused = (): Frame[] =>
      stage.wire
        .sent("aibot_subscribe")
        .map((frame) => stage.wire.ackOf(frame))
        .filter((ack) => ack !== undefined);
    const first = await stage.until(() => refused()[0], 15_000);
    if (first === undefined) return;
    const end = await stage.until(() => stage.wire.ended(first.connection, "client"), stage.atMost("AUTH-6b", 5_000));
    stage.judge(
      "AUTH-6b",
      end !== undefined,
      end === undefined
        ? `the socket was still open ${Math.round(stage.atMost("AUTH-6b", 5_000))} ms after the refusal`
        : `the client closed its socket after ${Math.round(end.at - first.at)} ms`,
      [first, end],
    );
    await stage.pause(Math.max(0, first.at + stage.ms(perMinute) - performance.now()));
    const within = stage.wire
      .sent("aibot_subscribe", first.seq)
      .filter(({ at }) => at <= first.at + stage.ms(perMinute));
    stage.judge(
      "AUTH-6c",
      within.length <= 6,
      `${within.length} more subscribes within a minute of the lane (${Math.round(stage.ms(perMinute))} ms)`,
      [first, ...within.slice(0, 8)],
    );
    // Whoever is at it still gets the time to be refused five times, and then a minute.
    const fifth = await stage.until(() => refused()[4], stage.ms(3 * perMinute));
    const after =
      fifth &&
      (await stage.until(() => stage.wire.sent("aibot_subscribe", fifth.seq)[0], stage.atLeast("AUTH-7", perMinute)));
    stage.judge(
      "AUTH-7",
      after === undefined,
      fifth === undefined
        ? `it tried ${refused().length} times in all`
        : after === undefined
          ? "after the fifth refusal it waited a minute or stopped"
          : `after the fifth refusal it tried again within ${Math.round(after.at - fifth.at)} ms`,
      [fifth, after],
    );
  },
};

const throttled: Case = {
  name: "subscribing/waits-when-throttled",
  title: "Two subscribes are refused with 45009, the next is accepted.",
  checks: ["AUTH-8a", "AUTH-8b"],
  gateway: () => ({ faults: ["errcode:errcode=45009,cmd=aibot_subscribe,times=2"] }),
  play: async (stage) => {
    if ((await stage.until(() => stage.wire.sent("aibot_subscribe")[0], 15_000)) === undefined) return;
    const ack = await stage.until(() => stage.wire.subscribed()[0], stage.ms(5 * perMinute));
    const attempts = stage.wire.sent("aibot_subscribe");
    const waits = gaps(attempts);
    const least = stage.atLeast("AUTH-8a", 30_000);
    stage.judge(
      "AUTH-8a",
      waits.every((wait) => wait >= least) && grow(waits),
      waits.length === 0
        ? "no further attempt"
        : `waits of ${inMs(waits)}; at least ${Math.round(stage.ms(30_000))} ms, growing, were due`,
      attempts,
    );
    stage.judge(
      "AUTH-8b",
      ack !== undefined,
      ack === undefined
        ? `no subscribe was accepted within ${Math.round(stage.ms(5 * perMinute))} ms; ${attempts.length} were tried`
        : `the attempt number ${attempts.length} was accepted`,
      [...attempts, ack],
    );
  },
};

const unknownErrcode: Case = {
  name: "subscribing/tries-again-after-an-unknown-errcode",
  title: "Three subscribes are refused with an errcode that nobody knows.",
  checks: ["AUTH-9"],
  gateway: () => ({ faults: ["errcode:errcode=70707,cmd=aibot_subscribe,times=3"] }),
  play: async (stage) => {
    if ((await stage.until(() => stage.wire.sent("aibot_subscribe")[0], 15_000)) === undefined) return;
    const ack = await stage.until(() => stage.wire.subscribed()[0], stage.ms(2 * perMinute));
    const attempts = stage.wire.sent("aibot_subscribe");
    const waits = gaps(attempts);
    stage.judge(
      "AUTH-9",
      ack !== undefined && grow(waits),
      ack === undefined
        ? `${attempts.length} attempts, and then none within ${Math.round(stage.ms(2 * perMinute))} ms`
        : `subscribed at attempt ${attempts.length}, after waits of ${inMs(waits)}`,
      [...attempts, ack],
    );
  },
};

const errmsgText: Case = {
  name: "subscribing/decides-by-errcode",
  title: 'A subscribe is refused with a non-zero errcode and the errmsg "ok".',
  checks: ["AUTH-10"],
  gateway: () => ({
    faults: ["errcode:errcode=70707,errmsg=ok,cmd=aibot_subscribe"],
    switches: { errmsgSuffix: "off" },
  }),
  play: async (stage) => {
    const asked = await stage.until(() => stage.wire.sent("aibot_subscribe")[0], 15_000);
    if (asked === undefined) return;
    const limit = stage.atMost("AUTH-10", perMinute);
    const next = await stage.until(
      () => stage.wire.ended(asked.connection, "client") ?? stage.wire.sent("aibot_subscribe", asked.seq)[0],
      limit,
    );
    stage.judge(
      "AUTH-10",
      next !== undefined,
      next === undefined
        ? `for ${Math.round(limit)} ms the client held itself for subscribed`
        : `the client went by the errcode: after ${Math.round(next.at - asked.at)} ms it let go or tried again`,
      [asked, stage.wire.ackOf(asked), next],
    );
  },
};

const subscribesOnce: Case = {
  name: "subscribing/subscribes-once",
  title: "The client is subscribed, and two minutes are quiet.",
  checks: ["AUTH-11a", "AUTH-11b"],
  play: async (stage) => {
    const ack = await stage.ready();
    await stage.pause(stage.ms(2 * perMinute));
    const more = stage.wire.sent("aibot_subscribe", ack.seq).filter(({ connection }) => connection === ack.connection);
    const most = mostWithin(more, stage.atLeast("AUTH-11a", perMinute));
    stage.judge("AUTH-11a", most <= 1, `at most ${most} further subscribes within any minute`, [
      ack,
      ...more.slice(0, 4),
    ]);
    stage.judge("AUTH-11b", more.length === 0, `${more.length} further subscribes in two minutes of the lane`, [
      ack,
      ...more.slice(0, 4),
    ]);
  },
};

/** Nothing that the client sent or was told about its secret shows up in what it prints. */
const keepsSecrets: Case = {
  name: "hygiene/prints-no-secrets",
  title: "The client is told of trouble: a refused reply, a refused push, an image with a key.",
  checks: ["ROBUST-4a"],
  gateway: () => ({
    faults: [
      "errcode:errcode=45009,errmsg=frequency limit; secret invalid,cmd=aibot_subscribe,times=1",
      "errcode:errcode=846605,cmd=aibot_respond_msg,times=1",
    ],
  }),
  play: async (stage) => {
    await stage.ready(0, stage.ms(2 * perMinute) + 15_000);
    await stage.asked("hello");
    await stage.gateway.say(stage.bot.id, { from: { userid: "zhangsan" }, msgtype: "image", image: {} });
    await stage.pause(800);
    const image = stage.wire.all.findLast(({ cmd, dir }) => dir === "out" && cmd === "aibot_msg_callback");
    const media = objectAt(image?.body, "image");
    const secrets: [string, string | undefined][] = [
      ["the secret", stage.bot.secret],
      ["an aeskey", stringAt(media, "aeskey")],
      ["a signed url", stringAt(media, "url")],
    ];
    const printed = leaked(stage, secrets);
    stage.judge(
      "ROBUST-4a",
      printed === undefined,
      printed === undefined
        ? `none of ${secrets.map(([what]) => what).join(", ")} in ${stage.clients[0]!.output.length} characters of output`
        : `the client printed ${printed}`,
      [image],
    );
  },
};

const leaked = (stage: Stage, secrets: readonly (readonly [string, string | undefined])[]): string | undefined =>
  secrets.find(
    ([, text]) => text !== undefined && text !== "" && stage.clients.some(({ output }) => output.includes(text)),
  )?.[0];

/** The cases of this file, in the order in which they are told. */
export const subscribing: readonly Case[] = [
  subscribesFirst,
  waitsForItsAck,
  ackNeverComes,
  callbackBeforeAck,
  foreignAck,
  wrongCredentials,
  throttled,
  unknownErrcode,
  errmsgText,
  subscribesOnce,
  keepsSecrets,
];
