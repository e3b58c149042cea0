/**
 * What a webhook's body says about an entry: the members of the HTTP message services that people come from, byte for byte
 * in name and meaning, and beside them `raw`, a CloudEvent with everything we know.
 *
 * Decides how an entry reads to its receiver. Does not know who receives it, nor how it is signed or sent.
 * Invariant: the body of an entry says the same at every try, so that receivers can compare; it holds no key and no URL of
 * the gateway's.
 */
import type { Entry } from "./store.ts";

/** A file of an entry, as a receiver can get at it. */
export interface FileLink {
  readonly kind: "image" | "voice" | "file" | "video";
  /** Lasting and signed; without it `error` says why there is none. */
  readonly url?: string | undefined;
  readonly filename?: string | undefined;
  readonly type?: string | undefined;
  readonly bytes?: number | undefined;
  readonly error?: string | undefined;
}

/** The body of a delivery. Times are Unix seconds. */
export interface Envelope {
  /** The account: the bot's id. */
  readonly key: string;
  /** The same at every try and after every restart: remember it. */
  readonly msgId: string;
  readonly timestamp: number;
  /** The userid of who spoke. */
  readonly fromUser: string;
  /** The bot's id, or the group's chatid. */
  readonly toUser: string;
  /** 1 text, 3 image, 34 voice, 43 video, 49 file, mixed and whatever else, 10000 events; a bot is told of no emoji (47) or recall (10002). */
  readonly msgType: number;
  readonly content: string | Readonly<Record<string, unknown>>;
  /** Whether the bot itself said it. */
  readonly isSelfMsg: boolean;
  readonly createTime: number;
  /** Whether it was received before and is sent once more on request. */
  readonly isHistory: boolean;
  readonly raw: CloudEvent;
}

/** CloudEvents 1.0, as sinks carry it too. */
export interface CloudEvent {
  readonly specversion: "1.0";
  readonly id: string;
  readonly source: string;
  readonly type: "openws.message.v1" | "openws.event.v1" | "openws.bot.v1";
  readonly subject: string;
  readonly time: string;
  readonly datacontenttype: "application/json";
  readonly traceparent?: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** The numbers of the message services; what has no number there is a "link", as they call every composite. */
const msgTypes: Readonly<Record<string, number>> = { text: 1, markdown: 1, stream: 1, image: 3, voice: 34, video: 43 };
const composite = 49;
const systemNotice = 10_000;

/** The number of an entry's kind. */
export function msgTypeOf({ kind, direction, event }: Pick<Entry, "kind" | "direction" | "event">): number {
  return direction === "bot" || event === true ? systemNotice : (msgTypes[kind] ?? composite);
}

/** The public id of an entry. */
export function idOf({ seq }: Pick<Entry, "seq">): string {
  return `msg_${seq}`;
}

/** An entry as its receivers know it: WeCom's own id where there is one. */
export function stableIdOf(entry: Entry): string {
  return entry.direction === "in" && entry.msgid !== undefined ? entry.msgid : idOf(entry);
}

/** Makes the body. `text` is the entry as a person would read it aloud; `isHistory` marks a redelivery on request. */
export function envelopeOf(
  entry: Entry,
  { text, files, isHistory = false }: { text: string; files: readonly FileLink[]; isHistory?: boolean },
): Envelope {
  const { bot, chat, user, direction } = entry;
  const outgoing = direction === "out";
  return {
    key: bot,
    msgId: stableIdOf(entry),
    timestamp: Math.floor(entry.at / 1000),
    fromUser: outgoing ? bot : (user ?? ""),
    toUser: outgoing || chat?.type === "group" ? (chat?.id ?? "") : bot,
    msgType: msgTypeOf(entry),
    content: contentOf(entry, text, files),
    isSelfMsg: outgoing,
    createTime: createTimeOf(entry),
    isHistory,
    raw: cloudEventOf(entry, text, files),
  };
}

/** The entry as a CloudEvent. */
export function cloudEventOf(entry: Entry, text: string, files: readonly FileLink[]): CloudEvent {
  const { bot, chat, user, kind, direction, msgid, replyTo, state, tags, traceparent } = entry;
  const type = direction === "bot" ? "bot" : entry.event === true ? "event" : "message";
  return {
    specversion: "1.0",
    id: idOf(entry),
    source: `/bots/${encodeURIComponent(bot)}`,
    type: `openws.${type}.v1`,
    subject: subjectOf(entry),
    time: new Date(entry.at).toISOString(),
    datacontenttype: "application/json",
    ...(traceparent === undefined ? {} : { traceparent }),
    data: {
      id: idOf(entry),
      bot,
      direction,
      kind,
      chat,
      from: user,
      msgid,
      ...(direction === "out" ? { replyTo: replyTo === undefined ? undefined : `msg_${replyTo}`, state } : {}),
      text,
      ...(files.length === 0 ? {} : { files }),
      ...(tags === undefined || tags.length === 0 ? {} : { tags }),
      body: entry.body,
    },
  };
}

/**
 * `openws.<bot>.<chattype>.<msgtype>`, as brokers take it for a routing key or subject: what means something to one of them
 * (`.`, `*`, `#`, `>`, spaces) is percent-encoded within a word. Our own operational kinds keep their dots.
 */
export function subjectOf({ bot, chat, kind, direction }: Pick<Entry, "bot" | "chat" | "kind" | "direction">): string {
  return `openws.${word(bot)}.${chat?.type ?? "none"}.${direction === "bot" ? kind : word(kind)}`;
}

function word(text: string): string {
  const percent = (character: string): string => `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
  return encodeURIComponent(text.toWellFormed()).replaceAll(/[.!~*'()]/g, percent);
}

function contentOf(entry: Entry, text: string, files: readonly FileLink[]): Envelope["content"] {
  const [file] = files;
  switch (msgTypeOf(entry)) {
    case 1:
    case 34:
      return text;
    case 3:
    case 43:
      return file?.url ?? "";
    case systemNotice:
      return { event: entry.kind, ...membersOf(entry) };
    default:
      return {
        title: file?.filename ?? text.split("\n")[0] ?? "",
        description: text,
        url: file?.url ?? "",
        ...(files.length > 1 ? { files } : {}),
      };
  }
}

/** What an event says beside its name: the member that is called like it on the wire, or an operational entry's body. */
function membersOf({ body, kind, direction }: Entry): Readonly<Record<string, unknown>> {
  if (direction === "bot") return isObject(body) ? body : {};
  const event = isObject(body) && isObject(body["event"]) ? body["event"] : {};
  const own = event[kind];
  return isObject(own) ? own : {};
}

function createTimeOf({ body, at }: Entry): number {
  const stated = isObject(body) ? body["create_time"] : undefined;
  return typeof stated === "number" ? stated : Math.floor(at / 1000);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
