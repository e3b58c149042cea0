/**
 * What a handler gets: one shape for every kind of message, with a readable `text` in each, the conversation's key, and
 * the body and frame as they came. Decides how a message reads; does not know who handles it or how it is answered.
 */
import type {
  EventBody,
  MessageBody,
  MixedItem,
  Push,
  Quote,
  UnknownEventBody,
  UnknownMessageBody,
} from "@openws/protocol";

/** Where something was said. */
export interface Chat {
  /** The group's chatid, or the userid in a single chat; case-sensitive, usable in `push`. */
  readonly id: string;
  readonly type: "single" | "group";
}

/** The message types a handler can be registered for. */
export type MessageKind = MessageBody["msgtype"] | "unknown";

/** A user's message. `body` is narrowed by `kind`. */
export type Message<Kind extends MessageKind = MessageKind> = {
  readonly [Each in Kind]: {
    readonly kind: Each;
    readonly msgid: string;
    /** The callback's id, under which the wire wants the answers. Handlers need it for logs only. */
    readonly reqId: string;
    readonly chat: Chat;
    /** The userid of who spoke. */
    readonly from: string;
    /** The message as a person would read it aloud: a mention of the bot taken off, files as their kind in brackets. */
    readonly text: string;
    readonly quote: Quote | undefined;
    readonly body: Each extends "unknown" ? UnknownMessageBody : Extract<MessageBody, { msgtype: Each }>;
    /** The frame as it came. */
    readonly raw: string;
    /** Aborts when an answer can no longer matter: the bot stops, a newer message replaces this one, or it took too long. */
    readonly signal: AbortSignal;
  };
}[Kind];

/** The event types a handler can be registered for. */
export type EventKind = EventBody["event"]["eventtype"] | "unknown_event";

/** Something that happened. `body` is narrowed by `kind`; everything else may be missing, as it is in `disconnected_event`. */
export type HappenedEvent<Kind extends EventKind = EventKind> = {
  readonly [Each in Kind]: {
    readonly kind: Each;
    readonly msgid: string | undefined;
    readonly reqId: string;
    readonly chat: Chat | undefined;
    readonly from: string | undefined;
    readonly body: Each extends "unknown_event" ? UnknownEventBody : Extract<EventBody, { event: { eventtype: Each } }>;
    readonly raw: string;
    readonly signal: AbortSignal;
  };
}[Kind];

/** Where the `signal` of a message or event comes from, made when a handler asks for it. */
export interface Signalled {
  readonly signal: AbortSignal;
}

/** Makes a message of a push. `botName` is what users mention in groups. */
export function messageOf(
  { req_id, body, known }: Extract<Push, { kind: "message" }>,
  raw: string,
  botName: string | undefined,
  turn: Signalled,
): Message {
  const id = body.chattype === "group" && body.chatid !== undefined ? body.chatid : body.from.userid;
  const read = known ? textOf(body) : `[${body.msgtype}]`;
  return {
    kind: known ? body.msgtype : "unknown",
    msgid: body.msgid,
    reqId: req_id,
    chat: { id, type: body.chattype },
    from: body.from.userid,
    text: body.chattype === "group" ? withoutMention(read, botName) : read,
    quote: body.quote,
    body,
    raw,
    get signal() {
      return turn.signal;
    },
  } as Message;
}

/** Makes an event of a push. */
export function eventOf(
  { req_id, body, known }: Extract<Push, { kind: "event" }>,
  raw: string,
  turn: Signalled,
): HappenedEvent {
  const from = body.from?.userid;
  const id = body.chatid ?? from;
  return {
    kind: known ? body.event.eventtype : "unknown_event",
    msgid: body.msgid,
    reqId: req_id,
    chat:
      id === undefined ? undefined : { id, type: body.chattype ?? (body.chatid === undefined ? "single" : "group") },
    from,
    body,
    raw,
    get signal() {
      return turn.signal;
    },
  } as HappenedEvent;
}

/**
 * Takes the leading mention off a group's text. The wire has no structure for mentions, only the display name, which may
 * hold spaces; so without the name nothing can be taken off safely. The at-sign may be full-width.
 */
export function withoutMention(text: string, botName: string | undefined): string {
  if (botName === undefined || botName === "") return text;
  const trimmed = text.trimStart();
  if (!/^[@＠]/u.test(trimmed) || !trimmed.startsWith(botName, 1)) return text;
  const rest = trimmed.slice(1 + botName.length);
  // "@Robotics" is not a mention of "Robot".
  return rest === "" || /^\s/u.test(rest) ? rest.trimStart() : text;
}

function textOf(part: MessageBody | MixedItem): string {
  switch (part.msgtype) {
    case "text":
      return part.text.content;
    case "voice":
      return part.voice.content;
    case "mixed":
      return part.mixed.msg_item.map(textOf).join("\n");
    case "unknown":
      return `[${String(part.original.msgtype)}]`;
    default:
      return `[${part.msgtype}]`;
  }
}
