/**
 * What the server checks of a template card: the members each card_type requires, the shape of task_id, the keys of the
 * buttons, and how long lists, keys and ids may be (GW-CARD-1 … GW-CARD-8). Everything else is the app's business.
 */
import { cardLimits } from "@openws/protocol/cards";
import type { Card } from "./session.ts";
import type { Refused } from "./uploads.ts";

const required: Readonly<Record<string, readonly string[]>> = {
  text_notice: ["card_action"],
  news_notice: ["main_title", "card_action"],
  button_interaction: ["main_title", "button_list", "task_id"],
  vote_interaction: ["main_title", "checkbox", "submit_button", "task_id"],
  multiple_interaction: ["main_title", "select_list", "submit_button"],
};

/** Why a card is refused, or nothing. */
export const refuseCard = (card: Card): Refused | undefined => {
  const type = String(card["card_type"]);
  const needs = required[type];
  if (!needs) return { refused: "card.incomplete", note: `card_type is ${type}` };
  const missing = needs.find((name) => card[name] === undefined || card[name] === null || card[name] === "");
  if (missing) return { refused: "card.incomplete", note: `a ${type} needs ${missing}` };
  if (type === "text_notice" && !titleOf(card) && !card["sub_title_text"])
    return { refused: "card.incomplete", note: "a text_notice needs main_title.title or sub_title_text" };
  if (type === "news_notice" && !card["card_image"] && !card["image_text_area"])
    return { refused: "card.incomplete", note: "a news_notice needs card_image or image_text_area" };
  const taskId = card["task_id"];
  if (card["action_menu"] && !taskId) return { refused: "card.incomplete", note: "action_menu needs task_id" };
  if (taskId !== undefined && !(typeof taskId === "string" && /^[0-9A-Za-z_\-@]{1,128}$/.test(taskId)))
    return { refused: "card.incomplete", note: "task_id must be 1 to 128 of 0-9 A-Z a-z _ - @" };
  return (type === "button_interaction" ? refuseButtons(card["button_list"]) : undefined) ?? refuseLimits(card);
};

/** Where lists stand, and how long they may be. */
const lists: readonly (readonly [path: string, least: number, most: number])[] = [
  ["action_menu.action_list", 1, cardLimits.menuEntries],
  ["horizontal_content_list", 0, cardLimits.horizontalEntries],
  ["vertical_content_list", 0, cardLimits.verticalEntries],
  ["jump_list", 0, cardLimits.jumps],
  ["select_list", 1, cardLimits.selectors],
  ["select_list.option_list", 1, cardLimits.selectorOptions],
  ["button_selection.option_list", 1, cardLimits.selectorOptions],
  ["checkbox.option_list", 1, cardLimits.checkboxOptions],
];

/** Bytes of UTF-8 of the texts that come back in an event. */
const lengths: readonly (readonly [path: string, most: number])[] = [
  ["action_menu.action_list.key", cardLimits.keyBytes],
  ["submit_button.key", cardLimits.keyBytes],
  ["checkbox.question_key", cardLimits.questionKeyBytes],
  ["select_list.question_key", cardLimits.questionKeyBytes],
  ["button_selection.question_key", cardLimits.questionKeyBytes],
  ["checkbox.option_list.id", cardLimits.optionIdBytes],
  ["select_list.option_list.id", cardLimits.optionIdBytes],
  ["button_selection.option_list.id", cardLimits.optionIdBytes],
];

const refuseLimits = (card: Card): Refused | undefined => {
  for (const [path, least, most] of lists)
    for (const list of at(card, path.split(".")))
      if (!Array.isArray(list) || list.length < least || list.length > most)
        return { refused: "card.incomplete", note: `${path} holds ${least} to ${most} entries` };
  for (const [path, most] of lengths)
    for (const text of at(card, path.split(".")))
      if (typeof text !== "string" || Buffer.byteLength(text) > most)
        return { refused: "card.incomplete", note: `${path} is a text of at most ${most} bytes` };
  return undefined;
};

/** Every value at a path; a list on the way stands for each of its entries, and what is absent for nothing. */
const at = (value: unknown, [name, ...rest]: readonly string[]): unknown[] => {
  if (value === undefined || value === null) return [];
  if (name === undefined) return [value];
  if (Array.isArray(value)) return value.flatMap((entry) => at(entry, [name, ...rest]));
  return at((value as Readonly<Record<string, unknown>>)[name], rest);
};

const refuseButtons = (list: unknown): Refused | undefined => {
  if (!Array.isArray(list) || list.length < 1 || list.length > cardLimits.buttons)
    return { refused: "card.incomplete", note: `button_list holds 1 to ${cardLimits.buttons} buttons` };
  const keys = list.map((button: unknown) => (button as { key?: unknown } | null)?.key);
  if (keys.some((key) => typeof key !== "string" || key === "" || Buffer.byteLength(key) > 1024))
    return { refused: "card.bad-key", note: "a button has no key, or one longer than 1,024 bytes" };
  return new Set(keys).size < keys.length ? { refused: "card.bad-key", note: "two buttons share a key" } : undefined;
};

const titleOf = (card: Card): unknown => (card["main_title"] as { title?: unknown } | null | undefined)?.title;
