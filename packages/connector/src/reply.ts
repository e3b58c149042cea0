/**
 * What a handler can answer with, as plain data. Which command carries it, and under which req_id, is not decided here:
 * the same `reply.text("hi")` is a bubble under a message, a welcome under `enter_chat` and Markdown when pushed.
 */
import type { TemplateCard } from "@openws/protocol";

/** An answer. Made by {@link reply}. */
export type Reply =
  | { readonly type: "text"; readonly content: string }
  | { readonly type: "markdown"; readonly content: string }
  | { readonly type: "card"; readonly card: TemplateCard }
  | { readonly type: "raw"; readonly body: Readonly<Record<string, unknown>> };

/** Makes answers. Nothing is checked yet: what breaks a limit is refused when it is sent, with the path of what is wrong. */
export const reply = {
  /** Plain words. WeCom knows no plain text in replies and pushes: there it is Markdown that says the same. */
  text: (content: string): Reply => ({ type: "text", content }),
  /** WeCom's Markdown; longer texts than 20,480 bytes are split without breaking code fences or tables. */
  markdown: (content: string): Reply => ({ type: "markdown", content }),
  /** One of the five template cards; `task_id` must be new. Under `template_card_event` it replaces the clicked card. */
  card: (card: TemplateCard): Reply => ({ type: "card", card }),
  /** A body as on the wire, sent under the command that fits the callback. */
  raw: (body: Readonly<Record<string, unknown>>): Reply => ({ type: "raw", body }),
};

/** Whether a value is a {@link Reply}, as opposed to a string or an iterable of either. */
export function isReply(value: unknown): value is Reply {
  return typeof value === "object" && value !== null && "type" in value && !(Symbol.asyncIterator in value);
}
