/**
 * What the server checks of a template card: the members each card_type requires, the shape of task_id, the keys of the
 * buttons (GW-CARD-1 … GW-CARD-7). Everything else about a card is the app's business.
 */
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
  return type === "button_interaction" ? refuseButtons(card["button_list"]) : undefined;
};

const refuseButtons = (list: unknown): Refused | undefined => {
  if (!Array.isArray(list) || list.length < 1 || list.length > 6)
    return { refused: "card.incomplete", note: "button_list holds 1 to 6 buttons" };
  const keys = list.map((button: unknown) => (button as { key?: unknown } | null)?.key);
  if (keys.some((key) => typeof key !== "string" || key === "" || Buffer.byteLength(key) > 1024))
    return { refused: "card.bad-key", note: "a button has no key, or one longer than 1,024 bytes" };
  return new Set(keys).size < keys.length ? { refused: "card.bad-key", note: "two buttons share a key" } : undefined;
};

const titleOf = (card: Card): unknown => (card["main_title"] as { title?: unknown } | null | undefined)?.title;
