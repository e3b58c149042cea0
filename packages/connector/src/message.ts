/**
 * What a handler gets: one shape for every kind of message, with a readable `text` in each, the conversation's key, its
 * files, and the body and frame as they came. Decides how a message reads; does not know who handles it or how it is
 * answered, nor how a file is fetched.
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
import type { Link } from "./ahead.ts";
import { type DownloadOptions, type Downloaded, type DownloadedStream, type Downloads, FileError } from "./files.ts";

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
    /** What the user quoted, which is not part of `text`. */
    readonly quote: Quote | undefined;
    /** Its files, in the order in which they stand in it. */
    readonly files: readonly Attachment[];
    /** The files of what the user quoted. */
    readonly quotedFiles: readonly Attachment[];
    readonly body: Each extends "unknown" ? UnknownMessageBody : Extract<MessageBody, { msgtype: Each }>;
    /** The frame as it came. */
    readonly raw: string;
    /** Aborts when an answer can no longer matter: the bot stops, a newer message replaces this one, or it took too long. */
    readonly signal: AbortSignal;
    /**
     * Fetches the first of its files; rejects with `FileError`. The link lives for five minutes: do it first. The time in
     * which a message waited for its turn does not count: its files are fetched meanwhile (`maxAheadBytes`).
     */
    download(options?: DownloadOptions): Promise<Downloaded>;
  };
}[Kind];

/** A file that a user sent, not fetched yet. Both ways of fetching it reject with `FileError`. */
export interface Attachment {
  readonly kind: "image" | "voice" | "file" | "video";
  /** All of it, in memory. */
  download(options?: DownloadOptions): Promise<Downloaded>;
  /** As it comes, decrypted. */
  stream(options?: DownloadOptions): Promise<DownloadedStream>;
}

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
  push: Extract<Push, { kind: "message" }>,
  raw: string,
  botName: string | undefined,
  turn: Signalled,
  downloads?: Downloads,
): Message {
  return new Received(push, raw, botName, turn, downloads) as Message;
}

/** A message, read when somebody looks: most handlers look at its text alone. */
class Received {
  readonly kind: MessageKind;
  readonly msgid: string;
  readonly reqId: string;
  readonly chat: Chat;
  readonly from: string;
  readonly text: string;
  readonly quote: Quote | undefined;
  readonly body: MessageBody | UnknownMessageBody;
  readonly raw: string;
  readonly #known: boolean;
  readonly #turn: Signalled;
  readonly #downloads: Downloads | undefined;

  constructor(
    { req_id, body, known }: Extract<Push, { kind: "message" }>,
    raw: string,
    botName: string | undefined,
    turn: Signalled,
    downloads: Downloads | undefined,
  ) {
    const group = body.chattype === "group";
    const read = known ? textOf(body) : `[${body.msgtype}]`;
    this.kind = known ? body.msgtype : "unknown";
    this.msgid = body.msgid;
    this.reqId = req_id;
    this.chat = { id: group && body.chatid !== undefined ? body.chatid : body.from.userid, type: body.chattype };
    this.from = body.from.userid;
    this.text = group ? withoutMention(read, botName) : read;
    this.quote = body.quote;
    this.body = body;
    this.raw = raw;
    this.#known = known;
    this.#turn = turn;
    this.#downloads = downloads;
  }

  get signal(): AbortSignal {
    return this.#turn.signal;
  }

  get files(): readonly Attachment[] {
    return this.#known ? attachmentsOf(this.body as MessageBody, this.#downloads) : [];
  }

  get quotedFiles(): readonly Attachment[] {
    return this.quote === undefined ? [] : attachmentsOf(this.quote, this.#downloads);
  }

  async download(options?: DownloadOptions): Promise<Downloaded> {
    const [file] = this.files;
    if (file === undefined)
      throw new FileError("file-none", { en: `this ${this.kind} message has no file`, zh: "该消息不含文件" });
    return file.download(options);
  }
}

/** The files of a body that was kept, with its keys and addresses. */
export function filesOf(body: unknown, downloads: Downloads | undefined): Attachment[] {
  try {
    return attachmentsOf(body as MessageBody, downloads);
  } catch {
    // A body of another shape has none that could be fetched.
    return [];
  }
}

/** Where a message's files are, and then those of what it quotes. */
export function linksOf({ kind, body, quote }: Pick<Message, "kind" | "body" | "quote">): Link[] {
  const own = kind === "unknown" ? [] : filesIn(body as MessageBody);
  return quote === undefined ? own : [...own, ...filesIn(quote)];
}

function attachmentsOf(part: MessageBody | Quote, downloads: Downloads | undefined): Attachment[] {
  return filesIn(part).map((file) => attachment(file, downloads));
}

interface FileIn extends Link {
  readonly kind: Attachment["kind"];
}

function filesIn(part: MessageBody | Quote | MixedItem): FileIn[] {
  switch (part.msgtype) {
    case "mixed":
      return part.mixed.msg_item.flatMap(filesIn);
    case "image":
      return [{ kind: "image", url: part.image.url, aeskey: part.image.aeskey }];
    case "file":
      return [{ kind: "file", url: part.file.url, aeskey: part.file.aeskey }];
    case "video":
      return [{ kind: "video", url: part.video.url, aeskey: part.video.aeskey }];
    case "voice":
      // A transcript; older payloads carried the recording as well.
      return part.voice.url === undefined ? [] : [{ kind: "voice", url: part.voice.url, aeskey: part.voice.aeskey }];
    default:
      return [];
  }
}

function attachment({ kind, url, aeskey }: FileIn, downloads: Downloads | undefined): Attachment {
  const stream = async (options?: DownloadOptions): Promise<DownloadedStream> => {
    if (downloads === undefined)
      throw new FileError("file-source", {
        en: "this bot was made without access to files; give it a media adapter",
        zh: "该机器人未配置文件访问能力，请提供 media 适配器",
      });
    return downloads.download(url, aeskey, options);
  };
  const download = async (options?: DownloadOptions): Promise<Downloaded> => {
    const { stream: bytes, filename, type } = await stream(options);
    return { bytes: new Uint8Array(await new Response(bytes).arrayBuffer()), filename, type };
  };
  return { kind, download, stream };
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

/** The text of a message's body as it was kept: one of a type that is not known, or that lacks a member, is its type in brackets. */
export function readAloud(body: Readonly<Record<string, unknown>>, botName: string | undefined): string {
  let text: string;
  try {
    text = textOf(body as unknown as MessageBody);
  } catch {
    text = `[${String(body["msgtype"])}]`;
  }
  return withoutMention(typeof text === "string" ? text : "", botName);
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
