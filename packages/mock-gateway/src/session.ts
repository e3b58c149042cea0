/**
 * One connection as the server sees it: what a text from the client amounts to, given the state of its subscription.
 *
 * Written from the requirements of spec/requirements.yaml (GW-…), never from a client. It knows no clock, no socket, no
 * other connection and no bot's secret: it reads a frame and says which act the frame asks for, or with which behaviour it
 * is refused. Whether the act succeeds (credentials, windows, quotas, uploads) is the world's to decide.
 *
 * It reads the way the real server is known to: members it does not need are ignored, `"body":null` and `{}` are alike,
 * a number may be a string of digits. It never throws, whatever the text.
 */
import { cmd, maxReqIdBytes } from "@openws/protocol/frames";
import type { BehaviourId } from "./behaviours.ts";

/**
 * `open` before the first successful subscribe; `subscribed` with callbacks; `kicked` after another connection took over;
 * `lost` when the server forgot the subscription but not the socket.
 */
export type SessionState = "open" | "subscribed" | "kicked" | "lost";

/** A message as a bot composes it, read from a respond, welcome or send. */
export type Content =
  | { kind: "stream"; id: string; finish: boolean; content: string; feedbackId: string | undefined; card?: Card }
  | { kind: "markdown"; content: string; feedbackId: string | undefined }
  | { kind: "text"; content: string }
  | { kind: "template_card"; card: Card }
  | { kind: "file" | "image" | "voice"; mediaId: string }
  | { kind: "video"; mediaId: string; title: string | undefined; description: string | undefined };

/** A template card as it came; only its shape as an object is known. */
export type Card = Readonly<Record<string, unknown>>;

/** What a frame asks for. Every act with a `reqId` is answered by exactly one ack, unless a fault eats it. */
export type Act =
  | { type: "ignore"; why: BehaviourId; note?: string }
  | { type: "refuse"; reqId: string; cmd: string | null; why: BehaviourId; note?: string }
  | { type: "subscribe"; reqId: string; botId: string; secret: string }
  | { type: "ping"; reqId: string }
  | { type: "respond"; reqId: string; content: Content }
  | { type: "welcome"; reqId: string; content: Content }
  | { type: "update"; reqId: string; card: Card; userids: readonly string[] }
  | { type: "send"; reqId: string; chatid: string; chatType: number; content: Content }
  | {
      type: "upload-init";
      reqId: string;
      plan: { type: string; filename: string; totalSize: number; totalChunks: number; md5: string | undefined };
    }
  | { type: "upload-chunk"; reqId: string; uploadId: string; index: number; data: Uint8Array | undefined }
  | { type: "upload-finish"; reqId: string; uploadId: string }
  | { type: "mcp-config"; reqId: string }
  | { type: "send-biz"; reqId: string; chatid: string; userid: string; chatType: number }
  | { type: "enter-check"; reqId: string; version: string };

/** What was read of a frame before its act: for the log. */
export interface Reading {
  readonly cmd: string | null;
  readonly reqId: string | null;
  readonly act: Act;
  /** The frame itself, where the text was a JSON object: for the lint. */
  readonly frame: Fields | undefined;
}

/** The members of a JSON object. */
export type Fields = Readonly<Record<string, unknown>>;

/** What the world tells a session to read by. */
export interface ReadingRules {
  readonly pingUnsubscribed: "accept" | "refuse";
  readonly respondText: "accept" | "refuse";
  readonly streamWithCard: "accept" | "refuse";
}

/** One connection's state. The world moves it; `read` only looks at it. */
export class Session {
  /** The connection's number, as the API and the log show it. */
  readonly n: number;
  state: SessionState = "open";
  /** The bot it is, or was, subscribed for. */
  bot: string | undefined;

  constructor(n: number) {
    this.n = n;
  }

  /** The server acknowledged a subscribe of `bot` here (GW-AUTH-1). */
  subscribed(bot: string): void {
    this.state = "subscribed";
    this.bot = bot;
  }

  /** Another connection of the bot subscribed (GW-KICK-1): pings go on, nothing else does (GW-KICK-8, GW-KICK-12). */
  kicked(): void {
    this.state = "kicked";
  }

  /** The subscription is gone, the socket is not (GW-AUTH-12). */
  lost(): void {
    this.state = "lost";
  }

  /** What a text of the client amounts to. `json` is what JSON.parse makes of it, if that is known. */
  read(text: string, rules: ReadingRules, json?: unknown): Reading {
    let frame = json;
    try {
      frame ??= JSON.parse(text);
    } catch {
      return unread({ type: "ignore", why: "frame.not-json", note: "no JSON" });
    }
    if (!isFields(frame)) return unread({ type: "ignore", why: "frame.not-json", note: "JSON, but no object" });

    const command = typeof frame["cmd"] === "string" ? frame["cmd"] : null;
    const headers = fields(frame["headers"]);
    const reqId = headers["req_id"];
    if (typeof reqId !== "string" || reqId === "") {
      const act: Act = {
        type: "refuse",
        reqId: "",
        cmd: command,
        why: "frame.bad-req-id",
        note: "headers.req_id is no text",
      };
      return { cmd: command, reqId: null, act, frame };
    }
    if (reqId.length * 3 > maxReqIdBytes && Buffer.byteLength(reqId) > maxReqIdBytes)
      return { cmd: command, reqId, act: { type: "refuse", reqId, cmd: command, why: "frame.bad-req-id" }, frame };

    return { cmd: command, reqId, act: this.#act(command, reqId, fields(frame["body"]), rules), frame };
  }

  #act(command: string | null, reqId: string, body: Fields, rules: ReadingRules): Act {
    const refuse = (why: BehaviourId, note?: string): Act =>
      note === undefined
        ? { type: "refuse", reqId, cmd: command, why }
        : { type: "refuse", reqId, cmd: command, why, note };

    if (command === cmd.ping)
      return this.state === "open" && rules.pingUnsubscribed === "refuse"
        ? refuse("ping.not-subscribed")
        : { type: "ping", reqId };
    if (command === cmd.subscribe) {
      const { bot_id: botId, secret } = body;
      // What is no text cannot be anybody's credentials.
      return { type: "subscribe", reqId, botId: asText(botId), secret: asText(secret) };
    }
    const parse = command === null ? undefined : parsers[command];
    if (this.state !== "subscribed") return refuse("not-subscribed", stateNotes[this.state]);
    if (!parse) return refuse("frame.unknown-cmd");
    const parsed = parse(reqId, body, rules);
    return "why" in parsed ? refuse(parsed.why, parsed.note) : parsed;
  }
}

const unread = (act: Act): Reading => ({ cmd: null, reqId: null, act, frame: undefined });

const stateNotes: Record<Exclude<SessionState, "subscribed">, string> = {
  open: "this connection never subscribed",
  kicked: "another connection of the bot took over",
  lost: "the subscription of this connection was lost",
};

// ---------------------------------------------------------------------------------------------------------------------
// Bodies

/** Why a body could not be read. */
export interface Broken {
  readonly why: BehaviourId;
  readonly note?: string;
}

type Parser = (reqId: string, body: Fields, rules: ReadingRules) => Act | Broken;

const bad = (note: string): Broken => ({ why: "frame.bad-body", note });

const parsers: Partial<Record<string, Parser>> = {
  [cmd.respond]: (reqId, body, rules) => {
    const content = readContent(body, (kind) =>
      kind === "text"
        ? rules.respondText === "accept"
        : kind === "stream_with_template_card"
          ? rules.streamWithCard === "accept"
          : true,
    );
    return "why" in content ? content : { type: "respond", reqId, content };
  },

  [cmd.welcome]: (reqId, body) => {
    const content = readContent(body, (kind) => kind === "text" || kind === "template_card");
    return "why" in content ? content : { type: "welcome", reqId, content };
  },

  [cmd.update]: (reqId, body) => {
    if (body["response_type"] !== "update_template_card") return bad("body.response_type must be update_template_card");
    const card = body["template_card"];
    if (!isFields(card)) return bad("body.template_card must be an object");
    const userids = Array.isArray(body["userids"]) ? body["userids"].filter((id) => typeof id === "string") : [];
    return { type: "update", reqId, card, userids };
  },

  [cmd.send]: (reqId, body) => {
    const { chatid } = body;
    if (typeof chatid !== "string" || chatid === "") return bad("body.chatid must be a text");
    const chatType = body["chat_type"] === undefined || body["chat_type"] === null ? 0 : asInteger(body["chat_type"]);
    if (chatType !== 0 && chatType !== 1 && chatType !== 2) return bad("body.chat_type must be 0, 1 or 2");
    const content = readContent(
      body,
      (kind) => kind !== "text" && kind !== "stream" && kind !== "stream_with_template_card",
    );
    return "why" in content ? content : { type: "send", reqId, chatid, chatType, content };
  },

  [cmd.uploadInit]: (reqId, body) => {
    const { filename } = body;
    if (typeof filename !== "string" || filename === "" || Buffer.byteLength(filename) > 256)
      return bad("body.filename must be a text of 1 to 256 bytes");
    const totalSize = asInteger(body["total_size"]);
    if (totalSize === undefined) return bad("body.total_size must be a whole number");
    const totalChunks = asInteger(body["total_chunks"]);
    if (totalChunks === undefined || totalChunks < 1 || totalChunks > 100)
      return bad("body.total_chunks must be 1 to 100");
    const md5 = typeof body["md5"] === "string" && body["md5"] !== "" ? body["md5"] : undefined;
    return { type: "upload-init", reqId, plan: { type: asText(body["type"]), filename, totalSize, totalChunks, md5 } };
  },

  [cmd.uploadChunk]: (reqId, body) => {
    const { upload_id: uploadId, base64_data: text } = body;
    if (typeof uploadId !== "string" || uploadId === "") return bad("body.upload_id must be a text");
    const index = asInteger(body["chunk_index"]);
    if (index === undefined) return bad("body.chunk_index must be a whole number");
    const data = typeof text === "string" ? decodeBase64(text) : undefined;
    return { type: "upload-chunk", reqId, uploadId, index, data };
  },

  [cmd.uploadFinish]: (reqId, body) => {
    const { upload_id: uploadId } = body;
    if (typeof uploadId !== "string" || uploadId === "") return bad("body.upload_id must be a text");
    return { type: "upload-finish", reqId, uploadId };
  },

  [cmd.mcpConfig]: (reqId) => ({ type: "mcp-config", reqId }),

  [cmd.sendBiz]: (reqId, body) => {
    const { chat_id: chatid, userid } = body;
    if (typeof chatid !== "string" || chatid === "") return bad("body.chat_id must be a text");
    return { type: "send-biz", reqId, chatid, userid: asText(userid), chatType: asInteger(body["chat_type"]) ?? 0 };
  },

  [cmd.enterCheck]: (reqId, body) => ({ type: "enter-check", reqId, version: asText(body["version"]) }),
};

/** The message in a body. `allows` says which kinds the command takes; the rest, and unknown ones, are 40008. */
const readContent = (body: Fields, allows: (kind: string) => boolean): Content | Broken => {
  const kind = body["msgtype"];
  if (typeof kind !== "string") return bad("body.msgtype must be a text");
  const read = contents[kind];
  if (!read || !allows(kind)) return { why: "reply.bad-msgtype", note: `msgtype ${kind}` };
  return read(body);
};

/** The message in a POST to a response_url: markdown or a card. */
export const readResponse = (body: unknown): Content | Broken =>
  readContent(fields(body), (kind) => kind === "markdown" || kind === "template_card");

const contents: Partial<Record<string, (body: Fields) => Content | Broken>> = {
  stream: (body) => readStream(fields(body["stream"])),

  stream_with_template_card: (body) => {
    const stream = readStream(fields(body["stream"]));
    const card = body["template_card"];
    if ("why" in stream || stream.kind !== "stream") return stream;
    return isFields(card) ? { ...stream, card } : stream;
  },

  markdown: (body) => {
    const { content, feedback } = fields(body["markdown"]);
    if (typeof content !== "string" || content === "") return bad("body.markdown.content must be a text");
    return { kind: "markdown", content, feedbackId: feedbackId(feedback) };
  },

  text: (body) => {
    const { content } = fields(body["text"]);
    if (typeof content !== "string" || content === "") return bad("body.text.content must be a text");
    return { kind: "text", content };
  },

  template_card: (body) => {
    const card = body["template_card"];
    return isFields(card) ? { kind: "template_card", card } : bad("body.template_card must be an object");
  },

  file: (body) => readMedia("file", body),
  image: (body) => readMedia("image", body),
  voice: (body) => readMedia("voice", body),

  video: (body) => {
    const media = readMedia("video", body);
    if ("why" in media) return media;
    const { title, description } = fields(body["video"]);
    return {
      kind: "video",
      mediaId: media.mediaId,
      title: typeof title === "string" ? title : undefined,
      description: typeof description === "string" ? description : undefined,
    };
  },
};

const readStream = (stream: Fields): Content | Broken => {
  const { id, finish, content } = stream;
  if (typeof id !== "string" || id === "") return bad("body.stream.id must be a text");
  if (content !== undefined && content !== null && typeof content !== "string")
    return bad("body.stream.content must be a text");
  if (finish !== undefined && finish !== null && typeof finish !== "boolean")
    return bad("body.stream.finish must be true or false");
  return {
    kind: "stream",
    id,
    // Absent means not finished (GW-STREAM-9).
    finish: finish === true,
    content: content ?? "",
    feedbackId: feedbackId(stream["feedback"]),
  };
};

const readMedia = <Kind extends "file" | "image" | "voice" | "video">(
  kind: Kind,
  body: Fields,
): { kind: Kind; mediaId: string } | Broken => {
  const { media_id: mediaId } = fields(body[kind]);
  return typeof mediaId === "string" && mediaId !== ""
    ? { kind, mediaId }
    : bad(`body.${kind}.media_id must be a text`);
};

const feedbackId = (feedback: unknown): string | undefined => {
  const { id } = fields(feedback);
  return typeof id === "string" ? id : undefined;
};

// ---------------------------------------------------------------------------------------------------------------------
// Small readings

const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const none: Fields = {};
/** The object, or one without members: null, arrays and scalars hold nothing that is asked for. */
const fields = (value: unknown): Fields => (isFields(value) ? value : none);

const asText = (value: unknown): string => (typeof value === "string" ? value : "");

/** A whole number, also when it was written as a string of digits. */
const asInteger = (value: unknown): number | undefined => {
  const number = typeof value === "string" && /^-?\d{1,15}$/.test(value) ? Number(value) : value;
  return typeof number === "number" && Number.isSafeInteger(number) ? number : undefined;
};

/** Buffer.from ignores what is no base64, so a text whose length does not fit what came out was not base64. */
const decodeBase64 = (text: string): Uint8Array | undefined => {
  const bytes = Buffer.from(text, "base64");
  let { length } = text;
  while (text[length - 1] === "=") length--;
  const expected = Math.floor((length * 3) / 4);
  return bytes.length === expected ? bytes : undefined;
};
