/**
 * What goes out when a user speaks or does something: the bodies of `aibot_msg_callback` and `aibot_event_callback`.
 *
 * Decides their shape only (GW-MSG-…, GW-EVENT-…); to whom they go, and whether at all, the world decides. What a caller
 * spells out in full goes out as it is, so that a test can send what no real user could; what is left out is filled in as
 * the real server would: ids, times, download URLs with a key of their own, the mention in a group.
 */
import type { MediaKind } from "@openws/protocol/frames";
import type { Chat } from "./chats.ts";
import { sampleFile, type InboundFile, type MediaFile } from "./media.ts";
import type { Fields } from "./session.ts";

/** A file a user sends: by its bytes, or literally by `url` and `aeskey`. Without either a small sample is sent. */
export interface SentFile {
  readonly base64?: string | undefined;
  readonly filename?: string | undefined;
  readonly url?: string | undefined;
  readonly aeskey?: string | undefined;
}

/** What a user says. The object named by `msgtype` holds it, in the shape of the callback. */
export interface UserMessage {
  readonly from: { readonly userid: string; readonly corpid?: string | undefined };
  readonly chattype?: "single" | "group" | undefined;
  /** The group; needed when `chattype` is group. */
  readonly chatid?: string | undefined;
  readonly msgtype: string;
  /** Overrides the generated id: the same id twice is a redelivery. */
  readonly msgid?: string | undefined;
  readonly quote?: Fields | undefined;
  /** The bytes of the file that `msgtype` speaks of, when they came beside the JSON. */
  readonly attachment?: { readonly filename: string; readonly bytes: Uint8Array } | undefined;
  readonly [member: string]: unknown;
}

/** What a user does, or the server. The object named by `eventtype` is passed on as it is. */
export interface UserEvent {
  readonly eventtype: string;
  readonly from?: { readonly userid: string; readonly corpid?: string | undefined } | undefined;
  readonly chattype?: "single" | "group" | undefined;
  readonly chatid?: string | undefined;
  readonly msgid?: string | undefined;
  readonly [member: string]: unknown;
}

/** What the world lends to the making of a body. */
export interface Making {
  readonly bot: { readonly id: string; readonly name: string };
  readonly msgid: string;
  /** World clock, Unix milliseconds. */
  readonly now: number;
  /** Where the connection that gets the callback reached the gateway. */
  readonly origin: string;
  readonly createTime: boolean;
  /** The response_url, when there is to be one. */
  readonly responseUrl: string | undefined;
  readonly offer: (file: MediaFile) => InboundFile;
}

/** The body of a message callback. */
export const messageBody = (message: UserMessage, making: Making): Fields => {
  const group = message.chattype === "group";
  const { msgtype } = message;
  return {
    msgid: making.msgid,
    ...(making.createTime ? { create_time: Math.floor(making.now / 1000) } : {}),
    aibotid: making.bot.id,
    ...(group ? { chatid: message.chatid } : {}),
    chattype: group ? "group" : "single",
    from: message.from,
    ...(making.responseUrl === undefined ? {} : { response_url: making.responseUrl }),
    msgtype,
    ...part(message, making, group),
    ...(!message.quote ? {} : { quote: { msgtype: message.quote["msgtype"], ...part(message.quote, making, false) } }),
  };
};

/** The body of an event callback. */
export const eventBody = (event: UserEvent, making: Making, chat: Chat | undefined): Fields => {
  const { eventtype } = event;
  const detail = eventtype === "template_card_event" ? clickOf(event[eventtype], chat) : event[eventtype];
  return {
    msgid: making.msgid,
    create_time: Math.floor(making.now / 1000),
    aibotid: making.bot.id,
    ...(event.chattype === "group" ? { chatid: event.chatid } : {}),
    // The documents' enter_chat has no chattype (GW-EVENT-15).
    ...(event.from && eventtype !== "enter_chat" ? { chattype: event.chattype ?? "single" } : {}),
    ...(event.from ? { from: event.from } : {}),
    ...(making.responseUrl === undefined ? {} : { response_url: making.responseUrl }),
    msgtype: "event",
    event: { eventtype, ...(detail === undefined ? {} : { [eventtype]: detail }) },
  };
};

/** What a message says in words, for the chat view. */
export const wordsOf = (body: Fields): string | undefined => {
  const spoken = member(body, "text") ?? member(body, "voice");
  if (typeof spoken?.["content"] === "string") return spoken["content"];
  const items = member(body, "mixed")?.["msg_item"];
  if (!Array.isArray(items)) return undefined;
  return items.map((item: Fields) => wordsOf(item) ?? `[${String(item["msgtype"])}]`).join(" ");
};

const mediaKinds: Partial<Record<string, MediaKind>> = { image: "image", file: "file", video: "video" };

/** The object named by msgtype, and nothing else. */
const part = (from: Fields, making: Making, inGroup: boolean): Fields => {
  const msgtype = String(from["msgtype"]);
  const given = member(from, msgtype);
  const kind = mediaKinds[msgtype];
  if (kind) return { [msgtype]: download(kind, given ?? {}, from["attachment"] as UserMessage["attachment"], making) };
  if (msgtype === "text" && given && inGroup) return { text: { ...given, content: mention(given["content"], making) } };
  const items = given?.["msg_item"];
  if (msgtype === "mixed" && Array.isArray(items)) {
    // The mention stands in the first text (GW-MSG-3).
    let mentioned = !inGroup;
    const made = items.map((item: Fields) => {
      const first = !mentioned && item["msgtype"] === "text";
      if (first) mentioned = true;
      return { msgtype: item["msgtype"], ...part(item, making, first) };
    });
    return { mixed: { ...given, msg_item: made } };
  }
  return given === undefined ? {} : { [msgtype]: given };
};

/** A group delivers what mentions the bot only, as text at the start; a text that begins with any mention is left alone. */
const mention = (content: unknown, making: Making): unknown =>
  typeof content !== "string" || content.startsWith("@") ? content : `@${making.bot.name} ${content}`;

const download = (
  kind: MediaKind,
  given: SentFile & Fields,
  attachment: UserMessage["attachment"],
  making: Making,
): Fields => {
  const { base64, filename, ...literal } = given;
  if (typeof literal.url === "string") return literal;
  const sample = sampleFile(kind);
  const file = making.offer({
    kind,
    filename: filename ?? attachment?.filename ?? sample.filename,
    bytes: base64 === undefined ? (attachment?.bytes ?? sample.bytes) : Buffer.from(base64, "base64"),
  });
  return { ...literal, url: `${making.origin}/media/${file.token}`, aeskey: file.aeskey };
};

/** A click says which card was clicked; its card_type is filled in from the card that is shown. */
const clickOf = (given: unknown, chat: Chat | undefined): unknown => {
  const click = asFields(given);
  if (!click || typeof click["card_type"] === "string") return given;
  const shown = chat?.items.findLast((item) => item.by === "bot" && item.task_id === click["task_id"]);
  return { card_type: (shown?.by === "bot" && shown.card?.["card_type"]) || "button_interaction", ...click };
};

const asFields = (value: unknown): Fields | undefined =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;

const member = (from: Fields, name: string): Fields | undefined => asFields(from[name]);
