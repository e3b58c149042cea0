/** What a client hands to its application: each message as what it is, whole, and for as long as memory may last. */
import type { UserMessage } from "@openws/mock-gateway";
import type { Case } from "../check.ts";
import type { Told } from "../prompter.ts";
import { UntestedError, type Stage } from "../stage.ts";
import type { Item, MessageReport } from "../testee.ts";
import { objectAt, stringAt, type Frame } from "../wire.ts";

const minute = 60_000;

/** Lets a user say something and waits for what the client makes of it. */
const reported = async (
  stage: Stage,
  message: Omit<UserMessage, "from">,
): Promise<{ report: Told<MessageReport> | undefined; callback: Frame }> => {
  const { reqId, msgid } = await stage.gateway.say(stage.bot.id, {
    from: { userid: "zhangsan" },
    ...message,
  } as UserMessage);
  const report = await stage.until(
    () => stage.testee.messages.find((one) => one.msgid === msgid),
    stage.ms(10_000) + 2_500,
  );
  return { report, callback: stage.wire.all.find((frame) => frame.dir === "out" && frame.reqId === reqId)! };
};

/** A handler that ends without an answer: what comes in is what the case is about. */
const silent = (stage: Stage): void => {
  stage.testee.respond = (told) =>
    told.event === "message" ? { op: "reply", to: told.key, nothing: true } : undefined;
};

const typesOf = (items: readonly Item[] | undefined): string =>
  (items ?? []).map(({ type }) => type).join(", ") || "nothing";

/** Whether an item is the one that went out: of its type, and with its own text or url and key. */
const sameItem = (item: Item | undefined, sent: Readonly<Record<string, unknown>> | undefined): boolean => {
  const type = stringAt(sent, "msgtype") ?? "";
  const body = objectAt(sent, type);
  if (item === undefined || item.type !== type) return false;
  if (item.type === "text") return item.text.trim() === stringAt(body, "content")?.trim();
  return item.url === body["url"] && item.aeskey === body["aeskey"];
};

const mixed: Case = {
  name: "reports/the-parts-of-a-mixed-message",
  title: "A message has a text, two images and a text; another one also has a file, a voice message and a video.",
  checks: ["IN-10a", "IN-10b"],
  needs: ["items"],
  play: async (stage) => {
    await stage.ready();
    silent(stage);
    const textItem = (content: string) => ({ msgtype: "text", text: { content } });
    const fileItem = (msgtype: string) => ({ msgtype, [msgtype]: {} });
    const judge = async (id: string, msgItems: readonly Readonly<Record<string, unknown>>[]): Promise<void> => {
      const { report, callback } = await reported(stage, { msgtype: "mixed", mixed: { msg_item: msgItems } });
      const sent = objectAt(callback.body, "mixed")["msg_item"] as Readonly<Record<string, unknown>>[];
      // A transcript is text, wherever it stands.
      const due = sent.filter(({ msgtype }) => msgtype !== "voice");
      const items = report?.items?.filter(({ type }) => type !== "voice");
      const kept = items?.length === due.length && due.every((item, at) => sameItem(items[at], item));
      stage.judge(
        id,
        kept,
        report === undefined
          ? "the message was not handed to the application"
          : `of ${sent.map(({ msgtype }) => String(msgtype)).join(", ")} the application got ${typesOf(report.items)}${kept || items?.length !== due.length ? "" : ", not all of them with their own content"}`,
        [callback],
      );
    };
    await judge("IN-10a", [textItem("before"), fileItem("image"), fileItem("image"), textItem("behind")]);
    await judge("IN-10b", [
      textItem("before"),
      fileItem("image"),
      fileItem("file"),
      { msgtype: "voice", voice: { content: "spoken" } },
      fileItem("video"),
      textItem("behind"),
    ]);
  },
};

const kinds: Case = {
  name: "reports/messages-of-each-type",
  title: "A user sends a text, an image, a voice message, a file and a video.",
  checks: ["IN-16"],
  needs: ["items"],
  play: async (stage) => {
    await stage.ready();
    silent(stage);
    const wrong: string[] = [];
    const evidence: Frame[] = [];
    for (const [msgtype, text] of [
      ["text", "written"],
      ["voice", "spoken"],
      ["image", undefined],
      ["file", undefined],
      ["video", undefined],
    ] as const) {
      const message = { msgtype, [msgtype]: text === undefined ? {} : { content: text } };
      const { report, callback } = await reported(stage, message);
      evidence.push(callback);
      const whole =
        report?.msgtype === msgtype &&
        (text === undefined
          ? sameItem(report.items?.[0], callback.body) && report.items?.length === 1
          : report.text === text);
      if (!whole)
        wrong.push(
          report === undefined
            ? `${msgtype} did not reach the application`
            : `${msgtype} reached it as ${report.msgtype} with ${text === undefined ? typesOf(report.items) : JSON.stringify(report.text ?? null)}`,
        );
    }
    stage.judge(
      "IN-16",
      wrong.length === 0,
      wrong.length === 0 ? "each reached the application as what it is" : wrong.join("; "),
      evidence,
    );
  },
};

const quotes: Case = {
  name: "reports/quotes",
  title:
    "A user quotes a text, an image, a mixed message, a voice message, a file and a video, each with a text of their own.",
  checks: ["IN-11"],
  needs: ["quote", "items"],
  play: async (stage) => {
    await stage.ready();
    silent(stage);
    const wrong: string[] = [];
    const evidence: Frame[] = [];
    const image = { msgtype: "image", image: {} };
    const quoted: Readonly<Record<string, unknown>>[] = [
      { msgtype: "text", text: { content: "what was said" } },
      image,
      { msgtype: "mixed", mixed: { msg_item: [{ msgtype: "text", text: { content: "what was said" } }, image] } },
      { msgtype: "voice", voice: { content: "what was said" } },
      { msgtype: "file", file: {} },
      { msgtype: "video", video: {} },
    ];
    for (const quote of quoted) {
      const { report, callback } = await reported(stage, { msgtype: "text", text: { content: "my own words" }, quote });
      evidence.push(callback);
      const type = String(quote["msgtype"]);
      const shown = report?.quote;
      const spoken = type === "text" || type === "voice";
      if (report === undefined) wrong.push(`the one with ${type} did not reach the application`);
      else if (report.text !== "my own words")
        wrong.push(`the one with ${type} says ${JSON.stringify(report.text ?? null)}`);
      else if (shown?.msgtype !== type) wrong.push(`${type} is told as ${shown?.msgtype ?? "nothing"}`);
      else if (spoken ? !/what was said/.test(shown.text ?? "") : (shown.items ?? []).length === 0)
        wrong.push(`of ${type} nothing is told but its type`);
    }
    stage.judge(
      "IN-11",
      wrong.length === 0,
      wrong.length === 0 ? "each was told, beside the text" : wrong.join("; "),
      evidence,
    );
  },
};

const selections: Case = {
  name: "events/reads-what-was-chosen",
  title: "Cards of each type that has events are clicked: a button, a menu, a vote, and a form of two questions.",
  checks: ["EVENT-3"],
  needs: ["events"],
  play: async (stage) => {
    await stage.ready();
    stage.testee.respond = () => undefined;
    const chosen = (question_key: string, ...option_id: string[]) => ({ question_key, option_ids: { option_id } });
    const wrong: string[] = [];
    const evidence: Frame[] = [];
    for (const [card_type, event_key, selected] of [
      ["button_interaction", "press", []],
      ["text_notice", "menu-entry", []],
      ["vote_interaction", "submit", [chosen("colour", "red", "blue")]],
      ["multiple_interaction", "submit", [chosen("size", "large"), chosen("place", "here")]],
    ] as const) {
      const task_id = `task-${card_type}`;
      const { reqId, msgid } = await stage.gateway.trigger(stage.bot.id, {
        eventtype: "template_card_event",
        from: { userid: "zhangsan" },
        template_card_event: {
          card_type,
          event_key,
          task_id,
          ...(selected.length === 0 ? {} : { selected_items: { selected_item: selected } }),
        },
      });
      evidence.push(stage.wire.all.find((frame) => frame.dir === "out" && frame.reqId === reqId)!);
      const report = await stage.until(
        () => stage.testee.events("template_card_event").find((one) => one.msgid === msgid || one.taskId === task_id),
        stage.ms(10_000) + 2_500,
      );
      const due = Object.fromEntries(selected.map((one) => [one.question_key, one.option_ids.option_id]));
      if (report === undefined) wrong.push(`the click on a ${card_type} did not reach the application`);
      else if (report.eventKey !== event_key || report.taskId !== task_id)
        wrong.push(
          `of a ${card_type} event_key is ${report.eventKey ?? "absent"} and task_id ${report.taskId ?? "absent"}`,
        );
      else if (JSON.stringify(sorted(report.selected ?? {})) !== JSON.stringify(sorted(due)))
        wrong.push(
          `of a ${card_type} ${JSON.stringify(due)} was chosen, ${JSON.stringify(report.selected ?? {})} was told`,
        );
    }
    stage.judge(
      "EVENT-3",
      wrong.length === 0,
      wrong.length === 0 ? "each click was told whole" : wrong.join("; "),
      evidence,
    );
  },
};

const sorted = (choice: Readonly<Record<string, readonly string[]>>): (readonly [string, readonly string[]])[] =>
  Object.entries(choice).toSorted(([a], [b]) => a.localeCompare(b));

/** How often the connection is lost before each count. */
const losses = 3;

const tidy: Case = {
  name: "reconnecting/holds-no-more-than-before",
  title: "The connection is reset three times, and three times more; each time what the client holds is counted.",
  checks: ["ROBUST-1"],
  needs: ["census"],
  play: async (stage) => {
    let ack = await stage.conversing();
    const counted = async (): Promise<Readonly<Record<string, number>> | undefined> => {
      for (let at = 0; at < losses; at++) {
        stage.gateway.cut(ack.connection, "reset");
        const next = await stage.until(() => stage.wire.subscribed(ack.seq)[0], stage.ms(minute) + 2_000);
        if (next === undefined) return undefined;
        ack = next;
      }
      await stage.pause(stage.ms(15_000));
      return (await stage.ask({ op: "census" }, 10_000))?.counts;
    };
    const first = await counted();
    const second = first && (await counted());
    if (first === undefined || second === undefined)
      return stage.untested("ROBUST-1", "the client did not come back, or counted nothing");
    // A timer or two may be armed or not at the moment; a heap is never quite the same.
    const slack = (name: string): number => (/bytes/i.test(name) ? 4 * 1024 * 1024 : 2);
    const grown = Object.entries(second).filter(
      ([name, count]) => count > (first[name] ?? 0) * allowedGrowth + slack(name),
    );
    stage.judge(
      "ROBUST-1",
      grown.length === 0,
      Object.entries(second)
        .map(([name, count]) => `${name} ${first[name] ?? 0} and ${count}`)
        .join(", "),
      stage.wire.all.slice(-2),
    );
  },
};

/** The case about memory: so many distinct msgids, and so much more may be held after the second half of them. */
const manyIds = 100_000;
const allowedGrowth = 1.1;

const bounded: Case = {
  name: "redelivery/forgets-in-time",
  title: "A hundred thousand messages come, each with a msgid of its own; none wants an answer.",
  checks: ["IN-2"],
  needs: ["census"],
  long: ["scaled"],
  play: async (stage) => {
    await stage.ready();
    silent(stage);
    const { testee } = stage;
    const half = async (from: number): Promise<Readonly<Record<string, number>> | undefined> => {
      for (let at = from; at < from + manyIds / 2; at += 500) {
        const due = testee.reports.length + 500;
        for (let one = at; one < at + 500; one++)
          await stage.gateway.say(stage.bot.id, {
            from: { userid: `user-${one % 500}` },
            msgtype: "text",
            text: { content: "x" },
            msgid: `msgid-${one}-${"x".repeat(48)}`,
          });
        // The client keeps up, or its queue is what would be measured. What meets a reconnect does not arrive.
        await stage.until(() => (testee.reports.length >= due ? true : undefined), 3_000);
        await stage.gateway.waitForBot(stage.bot.id, 10_000);
        const lost = at + 500 - testee.reports.length;
        if (lost > manyIds / 10)
          throw new UntestedError(`${lost} of ${at + 500} messages did not reach the application`);
      }
      await stage.pause(1_000);
      return (await stage.ask({ op: "census" }, 10_000))?.counts;
    };
    const first = await half(0);
    const second = await half(manyIds / 2);
    if (first === undefined || second === undefined) return;
    const grown = Object.entries(second).filter(([name, count]) => count > (first[name] ?? 0) * allowedGrowth + 100);
    stage.judge(
      "IN-2",
      grown.length === 0,
      Object.entries(second)
        .map(([name, count]) => `${name} ${first[name] ?? 0} and ${count}`)
        .join(", "),
      stage.wire.all.slice(-2),
    );
  },
};

/** The cases of this file, in the order in which they are told. */
export const handed: readonly Case[] = [mixed, kinds, quotes, selections, tidy, bounded];
