/** Events and cards: welcomes, clicks and updates, of bots that keep the echo contract. */
import type { Case } from "../check.ts";
import { objectAt, stringAt, type Frame, type Json } from "../wire.ts";

const cardOf = ({ body }: Frame): Json => objectAt(body, "template_card");

const bytesOf = (text: string): number => new TextEncoder().encode(text).length;

const welcomes: Case = {
  name: "events/greets-who-enters",
  title: "A user enters the chat; the same event comes again; somebody enters of whom nothing is said.",
  checks: ["EVENT-1a", "EVENT-5", "EVENT-6"],
  contract: true,
  play: async (stage) => {
    await stage.ready();
    const enter = { eventtype: "enter_chat", from: { userid: "zhangsan" } };
    const greetings = (reqId: string): Frame[] =>
      stage.wire.sent("aibot_respond_welcome_msg").filter((frame) => frame.reqId === reqId);
    const limit = stage.atMost("EVENT-1a", 5_000);
    const { reqId, msgid } = await stage.gateway.trigger(stage.bot.id, enter);
    const asked = stage.wire.all.find((frame) => frame.dir === "out" && frame.reqId === reqId)!;
    const welcome = await stage.until(() => greetings(reqId)[0], limit + stage.ms(10_000));
    const sent = stage.wire.business(asked.seq);
    // A bot that says nothing has no welcome; one that says something else has one, and sends it wrongly.
    if (welcome === undefined && sent.length === 0) return;
    stage.judge(
      "EVENT-1a",
      welcome !== undefined && welcome.at - asked.at <= limit,
      welcome === undefined
        ? `it was answered by ${sent[0]!.cmd ?? "a frame"} under ${sent[0]!.reqId === reqId ? "its" : "another"} req_id`
        : `a welcome ${Math.round(welcome.at - asked.at)} ms after the event`,
      [asked, welcome ?? sent[0]],
    );
    const again = await stage.gateway.trigger(stage.bot.id, { ...enter, msgid });
    await stage.pause(stage.ms(10_000) + 600);
    const all = [...greetings(reqId), ...greetings(again.reqId)];
    stage.judge("EVENT-6", all.length <= 1, `the event came twice and was answered ${all.length} times`, all);
    const nobody = await stage.gateway.trigger(stage.bot.id, { eventtype: "enter_chat" });
    const bare = await stage.until(() => greetings(nobody.reqId)[0], limit + stage.ms(10_000));
    stage.judge(
      "EVENT-5",
      bare !== undefined,
      bare === undefined
        ? "an enter_chat without from, chatid and chattype was not answered"
        : "an enter_chat without from, chatid and chattype was answered",
      [stage.wire.all.find((frame) => frame.dir === "out" && frame.reqId === nobody.reqId), bare],
    );
  },
};

const clicks: Case = {
  name: "cards/are-lawful-and-updated",
  title: "Two users ask for a card, and one of them clicks it.",
  checks: ["CARD-1", "CARD-2", "CARD-3", "CARD-4", "EVENT-2a"],
  contract: true,
  play: async (stage) => {
    await stage.conversing();
    const shown: Frame[] = [];
    for (const user of ["zhangsan", "lisi"]) {
      const after = stage.seq;
      await stage.say("!card", user);
      const frame = await stage.until(
        () => stage.wire.business(after).find(({ body }) => stringAt(body, "msgtype") === "template_card"),
        stage.ms(10_000) + 2_500,
      );
      if (frame === undefined) return;
      shown.push(frame);
    }
    const first = cardOf(shown[0]!);
    const task = stringAt(first, "task_id") ?? "";
    const [button] = entriesAt(first, "button_list");
    await stage.pause(100);
    const { reqId } = await stage.gateway.trigger(stage.bot.id, {
      eventtype: "template_card_event",
      from: { userid: "zhangsan" },
      template_card_event: { event_key: stringAt(button, "key") ?? "", task_id: task },
    });
    const asked = stage.wire.all.find((frame) => frame.dir === "out" && frame.reqId === reqId)!;
    const limit = stage.atMost("EVENT-2a", 5_000);
    const update = await stage.until(
      () => stage.wire.sent("aibot_respond_update_msg").find((frame) => frame.reqId === reqId),
      limit + 300,
    );
    const full =
      update !== undefined &&
      stringAt(update.body, "response_type") === "update_template_card" &&
      stringAt(cardOf(update), "card_type") !== undefined;
    stage.judge(
      "EVENT-2a",
      full && update.at - asked.at <= limit,
      update === undefined
        ? `no aibot_respond_update_msg with the req_id of the click within ${Math.round(limit)} ms`
        : `${full ? "an update" : "an update without a full card"} ${Math.round(update.at - asked.at)} ms after the click`,
      [asked, update ?? stage.wire.business(asked.seq)[0]],
    );
    const frames = update === undefined ? shown : [...shown, update];
    const of = (id: string, problemOf: (card: Json) => string | undefined): void => {
      const bad = frames.find((frame) => problemOf(cardOf(frame)) !== undefined);
      stage.judge(
        id,
        bad === undefined,
        bad === undefined ? `all of ${frames.length} cards` : problemOf(cardOf(bad))!,
        bad === undefined ? frames.slice(0, 1) : [bad],
      );
    };
    of("CARD-1", lacking);
    const second = stringAt(cardOf(shown[1]!), "task_id");
    if (second !== undefined && second === task)
      stage.judge("CARD-2", false, `two cards have the task_id ${JSON.stringify(task)}`, shown);
    of("CARD-2", ({ task_id: id }) =>
      id === undefined || (typeof id === "string" && /^[0-9A-Za-z_\-@]{1,128}$/.test(id))
        ? undefined
        : `task_id is ${JSON.stringify(id)}`,
    );
    of("CARD-3", unlawfulKeys);
    of("CARD-4", inStrings);
  },
};

/** What each type of card has to have. */
const required: Readonly<Record<string, readonly string[]>> = {
  text_notice: ["card_action"],
  news_notice: ["main_title", "card_action"],
  button_interaction: ["main_title", "button_list", "task_id"],
  vote_interaction: ["main_title", "checkbox", "submit_button", "task_id"],
  multiple_interaction: ["main_title", "select_list", "submit_button", "task_id"],
};

const lacking = (card: Json): string | undefined => {
  const type = stringAt(card, "card_type") ?? "";
  const members = required[type];
  if (members === undefined) return `card_type is ${JSON.stringify(card["card_type"])}`;
  const absent = members.find((member) => card[member] === undefined || card[member] === null || card[member] === "");
  if (absent !== undefined) return `a ${type} without ${absent}`;
  if (type !== "text_notice") return undefined;
  const title = stringAt(objectAt(card, "main_title"), "title") ?? stringAt(card, "sub_title_text") ?? "";
  return title === "" ? "a text_notice without main_title.title and sub_title_text" : undefined;
};

/** The objects at a path; a list on the way stands for each of its entries. */
const entriesAt = (value: unknown, path: string): Json[] => {
  const [name, ...rest] = path.split(".");
  const found = (value as Json | undefined)?.[name!];
  const entries = (Array.isArray(found) ? found : found === undefined ? [] : [found]) as Json[];
  return rest.length === 0 ? entries : entries.flatMap((entry) => entriesAt(entry, rest.join(".")));
};

/** Where lists stand, and how long they may be. */
const lists: readonly (readonly [owner: string, list: string, least: number, most: number])[] = [
  ["", "button_list", 1, 6],
  ["", "select_list", 1, 3],
  ["select_list", "option_list", 1, 10],
  ["button_selection", "option_list", 1, 10],
  ["checkbox", "option_list", 1, 20],
  ["action_menu", "action_list", 1, 3],
  ["", "horizontal_content_list", 0, 6],
  ["", "vertical_content_list", 0, 4],
  ["", "jump_list", 0, 3],
];

/** Where keys stand that come back in an event, and of how many bytes they may be. */
const keys: readonly (readonly [path: string, member: string, most: number])[] = [
  ["button_list", "key", 1_024],
  ["action_menu.action_list", "key", 1_024],
  ["submit_button", "key", 1_024],
  ["select_list", "question_key", 1_024],
  ["button_selection", "question_key", 1_024],
  ["checkbox", "question_key", 1_024],
  ["select_list.option_list", "id", 128],
  ["button_selection.option_list", "id", 128],
  ["checkbox.option_list", "id", 128],
];

const unlawfulKeys = (card: Json): string | undefined => {
  for (const [owner, name, least, most] of lists)
    for (const holder of owner === "" ? [card] : entriesAt(card, owner)) {
      const list = holder[name];
      if (list !== undefined && (!Array.isArray(list) || list.length < least || list.length > most))
        return `${owner === "" ? "" : `${owner}.`}${name} does not hold ${least} to ${most} entries`;
    }
  for (const [path, member, most] of keys) {
    const found = entriesAt(card, path).map((entry) => entry[member]);
    const wrong = found.find((key) => typeof key !== "string" || key === "" || bytesOf(key) > most);
    if (found.length > 0 && wrong !== undefined) return `${path}.${member} is ${JSON.stringify(wrong)}`;
    if (found.includes(undefined)) return `${path}.${member} is absent`;
    if (!path.includes("option_list") && new Set(found).size < found.length)
      return `two entries of ${path} have one ${member}`;
  }
  return undefined;
};

/** Members that are numbers, and flags. */
const plain: readonly (readonly [path: string, members: readonly string[]])[] = [
  ["source", ["desc_color"]],
  ["card_action", ["type"]],
  ["image_text_area", ["type"]],
  ["quote_area", ["type"]],
  ["jump_list", ["type"]],
  ["horizontal_content_list", ["type"]],
  ["button_list", ["type", "style"]],
  ["checkbox", ["mode", "disable"]],
  ["select_list", ["disable"]],
  ["button_selection", ["disable"]],
  ["checkbox.option_list", ["is_checked"]],
];

const inStrings = (card: Json): string | undefined => {
  for (const [path, members] of plain)
    for (const entry of entriesAt(card, path))
      for (const member of members)
        if (typeof entry[member] === "string") return `${path}.${member} is ${JSON.stringify(entry[member])}`;
  return undefined;
};

/** The cases of this file, in the order in which they are told. */
export const cards: readonly Case[] = [welcomes, clicks];
