/** What a client tells its application: of itself, and of what became of what it was asked to send. */
import type { Case } from "../check.ts";
import type { Asked } from "../prompter.ts";
import type { Stage } from "../stage.ts";
import type { Outcome, State } from "../testee.ts";
import { contentOf, objectAt, stringAt, type Frame } from "../wire.ts";

const minute = 60_000;
/** What the testee itself may take: a line to it and one back. Milliseconds of the wall clock. */
const lineMs = 2_000;

/** What the client says about itself. */
const stateOf = async (stage: Stage): Promise<State | undefined> => (await stage.ask({ op: "state" }, lineMs))?.state;

/** Asks for the client's state until it is such a one; resolves with when it was, or undefined. */
const stateUntil = async (
  stage: Stage,
  such: (state: State) => boolean,
  withinMs: number,
): Promise<number | undefined> => {
  const giveUpAt = performance.now() + withinMs;
  do {
    const askedAt = performance.now();
    const state = await stateOf(stage);
    if (state !== undefined && such(state)) return askedAt;
    await stage.pause(20);
  } while (performance.now() < giveUpAt);
  return undefined;
};

/** Waits until the client says that it is ready: only then does it say anything that it is not. */
const saysReady = async (stage: Stage): Promise<boolean> => {
  await stage.ready();
  return (await stateUntil(stage, (state) => state === "ready", 3_000)) !== undefined;
};

const kick = async (stage: Stage): Promise<Frame> => {
  await stage.gateway.kick(stage.bot.id, { closeAfterMs: "never" });
  return stage.wire.all.findLast(({ body }) => objectAt(body, "event")["eventtype"] === "disconnected_event")!;
};

const refusal: Case = {
  name: "reports/wrong-credentials",
  title: "Every subscribe is refused with 853000.",
  checks: ["AUTH-6a"],
  needs: ["state"],
  mayEnd: true,
  gateway: () => ({ wrongSecret: true }),
  play: async (stage) => {
    const refused = await stage.until(() => {
      const [asked] = stage.wire.sent("aibot_subscribe");
      return asked && stage.wire.ackOf(asked);
    }, 15_000);
    if (refused === undefined) return;
    const limit = stage.atMost("AUTH-6a", 5_000);
    const at = await stateUntil(stage, (state) => state === "refused", limit);
    stage.judge(
      "AUTH-6a",
      at !== undefined,
      at === undefined
        ? `${Math.round(limit)} ms after the refusal the client says that it is ${(await stateOf(stage)) ?? "nothing"}`
        : `the client says that it was refused ${Math.max(0, Math.round(at - refused.at))} ms after it was`,
      [refused],
    );
  },
};

const kicked: Case = {
  name: "reports/a-kick",
  title: "Another instance takes over, the gateway leaves the socket open and acknowledges pings.",
  checks: ["KICK-1a", "KICK-2a"],
  needs: ["state"],
  mayEnd: true,
  play: async (stage) => {
    if (!(await saysReady(stage))) return;
    const event = await kick(stage);
    const limit = stage.atMost("KICK-1a", 1_000);
    const at = await stateUntil(stage, (state) => state !== "ready", limit);
    stage.judge(
      "KICK-1a",
      at !== undefined,
      at === undefined
        ? `the client said that it was ready ${Math.round(limit)} ms after the kick`
        : `the client said that it was not ready ${Math.max(0, Math.round(at - event.at))} ms after the kick`,
      [event],
    );
    if (at === undefined && (await stateUntil(stage, (state) => state !== "ready", stage.ms(minute))) === undefined)
      return stage.judge("KICK-2a", false, "the client never said that it was not ready", [event]);
    const well = await stateUntil(stage, (state) => state === "ready", stage.ms(5 * minute));
    // Whoever came back, and was subscribed, is ready again.
    const back = stage.wire.subscribed(event.seq)[0];
    stage.judge(
      "KICK-2a",
      well === undefined || (back !== undefined && back.at <= well + 100),
      well === undefined
        ? "for five minutes of the lane the client did not say that it was ready"
        : `the client said that it was ready ${Math.round(well - event.at)} ms after the kick`,
      [event, back],
    );
  },
};

const pendingWhenKicked: Case = {
  name: "reports/what-a-kick-interrupts",
  title: "Another instance takes over while a push and a reply wait for their acks.",
  checks: ["KICK-6"],
  needs: ["push", "outcomes"],
  mayEnd: true,
  play: async (stage) => {
    await stage.conversing();
    const { testee } = stage;
    await stage.gateway.addFault("ack-drop:cmd=aibot_send_msg,times=1000");
    await stage.gateway.addFault("ack-drop:cmd=aibot_respond_msg,times=1000");
    const after = stage.seq;
    const push = testee.ask({ op: "push", chatid: "first-user", chattype: "single", text: "pushed" });
    const before = testee.asked.length;
    await stage.say("hello");
    const both = await stage.until(
      () =>
        stage.wire.sent("aibot_send_msg", after).length > 0 && stage.wire.sent("aibot_respond_msg", after).length > 0
          ? true
          : undefined,
      stage.ms(10_000) + 2_500,
    );
    const reply = testee.asked.slice(before).find(({ op }) => op.op === "reply");
    if (both === undefined || reply === undefined) return;
    const event = await kick(stage);
    const limit = stage.atMost("KICK-6", 5_000);
    await stage.until(() => (push.answer !== undefined && reply.answer !== undefined ? true : undefined), limit);
    const said = [push, reply].map(({ answer }): string => answer?.outcome ?? "nothing");
    stage.judge(
      "KICK-6",
      !said.includes("nothing"),
      `within ${Math.round(limit)} ms the push and the reply came out as ${said.join(" and ")}`,
      [event, ...stage.wire.business(after).slice(0, 2)],
    );
  },
};

const dead: Case = {
  name: "reports/a-dead-line",
  title: "The line falls silent, and what is dialled anew is refused with HTTP 502.",
  checks: ["BEAT-6a"],
  needs: ["state"],
  play: async (stage) => {
    if (!(await saysReady(stage))) return;
    const ack = await stage.ready();
    await stage.gateway.addFault("handshake:status=502,times=100000");
    stage.gateway.cut(ack.connection, "nat-drop");
    const cutAt = performance.now();
    const limit = stage.atMost("BEAT-6a", 100_000);
    await stage.pause(limit);
    const state = await stateOf(stage);
    stage.judge(
      "BEAT-6a",
      state !== "ready",
      `${Math.round(performance.now() - cutAt)} ms after the last frame the client says that it is ${state ?? "nothing"}`,
      [ack, ...stage.wire.sent("ping").slice(-2)],
    );
  },
};

/** The gateway takes the answer to an event for five seconds of the wall clock: no lane scales what is the gateway's. */
const eventWindowMs = 5_000;

const late: Case = {
  name: "events/sends-nothing-too-late",
  title: "The welcome for who enters, and the update of a clicked card, are ready only after more than 5 s.",
  checks: ["EVENT-1c", "EVENT-2b"],
  needs: ["events", "welcome", "update", "card"],
  play: async (stage) => {
    await stage.conversing();
    const { testee } = stage;
    await stage.say("!card");
    const shown = await stage.until(
      () => stage.wire.business().find(({ body }) => stringAt(body, "msgtype") === "template_card"),
      stage.ms(10_000) + 2_500,
    );
    testee.respond = () => undefined;
    const entered = await stage.gateway.trigger(stage.bot.id, {
      eventtype: "enter_chat",
      from: { userid: "zhangsan" },
    });
    const task = stringAt(objectAt(shown?.body, "template_card"), "task_id") ?? "task";
    const clicked = await stage.gateway.trigger(stage.bot.id, {
      eventtype: "template_card_event",
      from: { userid: "zhangsan" },
      template_card_event: { event_key: "press", task_id: task },
    });
    await stage.pause(eventWindowMs + 600);
    const enter = testee.events("enter_chat").at(-1);
    const click = testee.events("template_card_event").at(-1);
    const after = stage.seq;
    if (enter !== undefined) testee.ask({ op: "welcome", to: enter.key, text: "welcome, late" });
    if (click !== undefined)
      testee.ask({
        op: "update",
        to: click.key,
        card: {
          card_type: "button_interaction",
          main_title: { title: "You pressed it, long ago" },
          button_list: [{ text: "Press", key: "press", style: 1 }],
          task_id: task,
        },
      });
    await stage.pause(1_500);
    for (const [id, event, cmd, reqId] of [
      ["EVENT-1c", enter, "aibot_respond_welcome_msg", entered.reqId],
      ["EVENT-2b", click, "aibot_respond_update_msg", clicked.reqId],
    ] as const) {
      if (event === undefined) continue;
      const sent = stage.wire.sent(cmd, after).find((frame) => frame.reqId === reqId);
      stage.judge(
        id,
        sent === undefined,
        sent === undefined
          ? `asked for it ${eventWindowMs + 600} ms after the event, the client sent no ${cmd}`
          : `${cmd} was sent although the event was more than 5 s old`,
        [stage.wire.all.find((frame) => frame.dir === "out" && frame.reqId === reqId), sent],
      );
    }
  },
};

/** What says that something may have arrived, or did not, but never that it did. */
const notDelivered: readonly (Outcome | undefined)[] = [
  "refused",
  "timed-out",
  "connection-lost",
  "unknown",
  "not-sent",
  "failed",
];

const forgotten: Case = {
  name: "reports/what-the-gateway-forgot",
  title: "A reply is refused with 846609: the gateway has forgotten the subscription.",
  checks: ["REPLY-7b"],
  needs: ["outcomes"],
  play: async (stage) => {
    await stage.conversing();
    const { testee } = stage;
    await stage.gateway.addFault("errcode:errcode=846609,cmd=aibot_respond_msg");
    const before = testee.asked.length;
    const after = stage.seq;
    const { reqId } = await stage.say("hello");
    const refused = await stage.until(
      () => {
        const asked = stage.wire.sent("aibot_respond_msg", after).find((frame) => frame.reqId === reqId);
        return asked && stage.wire.ackOf(asked);
      },
      stage.ms(10_000) + 2_500,
    );
    if (refused === undefined) return;
    const delivered = (): Frame | undefined =>
      stage.wire
        .answers([reqId], "zhangsan", refused.seq)
        .find((frame) => stage.wire.ackOf(frame)?.json?.["errcode"] === 0);
    const told = (): Outcome | undefined =>
      testee.asked.slice(before).find(({ op }) => op.op === "reply")?.answer?.outcome;
    await stage.until(
      () => delivered() ?? (notDelivered.includes(told()) ? true : undefined),
      stage.ms(2 * minute) + 2_000,
    );
    const kept = delivered() !== undefined || notDelivered.includes(told());
    stage.judge(
      "REPLY-7b",
      kept,
      delivered() === undefined
        ? `it was not delivered, and told as ${told() ?? "nothing"}`
        : `it was delivered ${Math.round(delivered()!.at - refused.at)} ms later`,
      [refused, delivered()],
    );
  },
};

const settles: Case = {
  name: "reports/what-became-of-each-push",
  title: "Three pushes: one is refused with 40058, of one the ack is lost, one is taken.",
  checks: ["REPLY-13", "PUSH-4b"],
  needs: ["push", "outcomes"],
  play: async (stage) => {
    await stage.conversing();
    const ask = async (text: string) => {
      const asked = stage.testee.ask({ op: "push", chatid: "first-user", chattype: "single", text });
      await stage.until(() => asked.answer, stage.atMost("REPLY-13", 15_000) + 1_000);
      return asked;
    };
    const after = stage.seq;
    await stage.gateway.addFault("errcode:errcode=40058,cmd=aibot_send_msg");
    const refused = await ask("refused");
    await stage.gateway.addFault("ack-drop:cmd=aibot_send_msg,times=1000");
    const lost = await ask("lost");
    const sent = stage.wire.sent("aibot_send_msg", after);
    if (sent.length < 2) return;
    const limit = stage.atMost("REPLY-13", 15_000);
    const took = (asked: typeof lost): number => (asked.answeredAt ?? Infinity) - asked.askedAt;
    const { outcome, errcode } = refused.answer ?? {};
    stage.judge(
      "REPLY-13",
      outcome === "refused" &&
        (errcode === undefined || errcode === 40058) &&
        took(refused) <= limit &&
        took(lost) <= limit,
      [
        ["the refused one", refused],
        ["the one without an ack", lost],
      ]
        .map(([what, asked]) => [what, asked] as [string, typeof lost])
        .map(
          ([what, asked]) =>
            `${what} came out as ${asked.answer?.outcome ?? "nothing"}${asked.answer === undefined ? "" : ` after ${Math.round(took(asked))} ms`}`,
        )
        .join(", "),
      sent,
    );
    const said = lost.answer?.outcome;
    if (said === undefined) return;
    stage.judge(
      "PUSH-4b",
      said === "unknown" || said === "timed-out" || said === "connection-lost",
      `a push whose ack never came is told as ${said}`,
      sent.slice(1),
    );
  },
};

const shuffled: Case = {
  name: "reports/each-ack-for-its-own",
  title:
    "Of four pushes to four users the first is refused; the acks come swapped, twice, and behind one that is nobody's.",
  checks: ["REPLY-13"],
  needs: ["push", "outcomes"],
  play: async (stage) => {
    await stage.conversing();
    const users = ["first-user", "zhangsan", "lisi", "wangwu"];
    for (const user of users.slice(1)) if ((await stage.asked("hello", user)) === undefined) return;
    await stage.pause(100);
    for (const fault of ["errcode:errcode=40058", "ack-swap:nth=1", "ack-duplicate:nth=3", "ack-stray:nth=4"])
      await stage.gateway.addFault(`${fault},cmd=aibot_send_msg`);
    const after = stage.seq;
    const pushes: Asked[] = [];
    for (const [at, user] of users.entries()) {
      pushes.push(stage.testee.ask({ op: "push", chatid: user, chattype: "single", text: `number ${at}` }));
      // Which is the first on the wire decides which is refused.
      await stage.until(() => stage.wire.sent("aibot_send_msg", after)[at], stage.ms(10_000) + 1_000);
    }
    if (stage.wire.sent("aibot_send_msg", after).length < users.length) return;
    const limit = stage.atMost("REPLY-13", 15_000);
    await stage.until(() => (pushes.every(({ answer }) => answer !== undefined) ? true : undefined), limit);
    const told = pushes.map(({ answer }): string => answer?.outcome ?? "nothing");
    stage.judge(
      "REPLY-13",
      told.join() === "refused,acked,acked,acked",
      `the first of four pushes was refused, the others taken; they were told as ${told.join(", ")}`,
      stage.wire.all.filter(({ seq, dir }) => seq > after && dir !== "socket").slice(0, 10),
    );
  },
};

const away: Case = {
  name: "pushes/while-there-is-no-line",
  title: "The connection is lost, upgrades are refused with 502, and pushes are asked for meanwhile.",
  checks: ["PUSH-3a", "PUSH-3b"],
  needs: ["push"],
  play: async (stage) => {
    const ack = await stage.conversing();
    const { id } = await stage.gateway.addFault("handshake:status=502,times=100000");
    stage.gateway.cut(ack.connection, "reset");
    const attempts = (): number => stage.gateway.faults().find((fault) => fault.id === id)?.used ?? 0;
    // By then the waits between attempts are long enough to see one that is nobody's turn.
    const waited = await stage.until(() => (attempts() >= 5 ? true : undefined), stage.ms(2 * minute) + 2_000);
    if (waited === undefined) return;
    const before = attempts();
    const pushes = [1, 2, 3].map((at) =>
      stage.testee.ask({ op: "push", chatid: "first-user", chattype: "single", text: `while away ${at}` }),
    );
    await stage.pause(Math.min(300, stage.ms(4_000)));
    const more = attempts() - before;
    await stage.until(
      () => (pushes.every(({ answer }) => answer !== undefined) ? true : undefined),
      stage.ms(15_000) + 600,
    );
    const early = pushes.map(({ answer }) => answer?.outcome);
    const cutSeq = stage.seq;
    await stage.gateway.removeFault(id);
    const back = await stage.until(() => stage.wire.subscribed(cutSeq)[0], stage.ms(2 * minute) + 2_000);
    if (back === undefined) return stage.untested("PUSH-3a", "the client did not come back");
    const sent = (): Frame[] =>
      stage.wire.sent("aibot_send_msg", back.seq).filter((frame) => contentOf(frame).includes("while away"));
    await stage.until(
      () => (pushes.every(({ answer }) => answer !== undefined) ? true : undefined),
      stage.ms(30_000) + 600,
    );
    const told = pushes.map(({ answer }) => answer?.outcome);
    const visible = told.every(
      (outcome, at) =>
        outcome !== undefined &&
        (notDelivered.includes(outcome) || sent().some((frame) => contentOf(frame).includes(`while away ${at + 1}`))),
    );
    stage.judge(
      "PUSH-3a",
      visible,
      `pushes asked for without a line were told as ${early.map((one) => one ?? "nothing yet").join(", ")}, at last as ${told.map((one) => one ?? "nothing").join(", ")}; ${sent().length} were sent later`,
      sent().slice(0, 3),
    );
    await stage.pause(300);
    const open = stage.gateway.connections().length;
    stage.judge(
      "PUSH-3b",
      more <= 1 && open === 1,
      `three pushes were asked for, ${more} attempts to connect followed at once; later ${open} sockets were open`,
      [back, ...stage.wire.opened(cutSeq).slice(0, 3)],
    );
  },
};

const oneBadFile: Case = {
  name: "uploads/cost-no-more-than-themselves",
  title: "An answer has a text and a file, and the upload of the file is refused.",
  checks: ["UPLOAD-12"],
  needs: ["file"],
  gateway: () => ({ faults: ["upload:what=finish-fails,times=100000"] }),
  play: async (stage) => {
    await stage.conversing();
    stage.testee.respond = (told) =>
      told.event === "message"
        ? {
            op: "reply",
            to: told.key,
            text: "the words of the answer",
            file: { type: "file", filename: "file.bin", sizeBytes: 1_000 },
          }
        : undefined;
    const after = stage.seq;
    await stage.say("hello");
    const finish = await stage.until(
      () => stage.wire.sent("aibot_upload_media_finish", after)[0],
      stage.ms(minute) + 3_000,
    );
    const words = await stage.until(
      () => stage.wire.business(after).find((frame) => contentOf(frame).includes("the words of the answer")),
      stage.ms(minute) + 2_000,
    );
    if (finish === undefined && words === undefined) return;
    stage.judge(
      "UPLOAD-12",
      words !== undefined,
      words === undefined ? "the text of the answer was not sent" : "the text of the answer was sent",
      [finish, words],
    );
  },
};

/** The cases of this file, in the order in which they are told. */
export const reports: readonly Case[] = [
  refusal,
  kicked,
  pendingWhenKicked,
  dead,
  late,
  forgotten,
  settles,
  shuffled,
  away,
  oneBadFile,
];
