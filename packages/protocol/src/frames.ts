/**
 * Every frame of the WeCom AI-bot long connection: wire names, limits, schemas per direction, decode and encode.
 *
 * Decides what a frame looks like and nothing else: not when it may be sent, nor what follows from it. Member names stay
 * as on the wire (`req_id`, `msgtype`), so that what a log shows is what the documents say.
 *
 * Two directions, two tempers:
 * - what the gateway sends is read *tolerantly*: unknown members are kept, unknown commands, message types and event
 *   types are recognised as such, raw control characters inside strings are repaired, numbers may be strings. The
 *   gateway will grow, and a frame lost to a strict reader is a message lost to a person;
 * - what a client sends is written *strictly*: closed objects, byte limits in UTF-8, nothing the documents do not list.
 *
 * Invariants: a decoder never throws and always names the path of what it refuses; `encode` throws `UsageError` and
 * nothing else; an `EncodedFrame` can only come from this file.
 *
 * Sources: developer.work.weixin.qq.com, document 101463 (2026-04-01) unless a line says otherwise.
 */
import * as z from "zod";
import { TemplateCard, TemplateCardUpdate } from "./cards.ts";
import { UsageError } from "./errors.ts";
import { hasVisible, utf8Bytes } from "./text.ts";

// ---------------------------------------------------------------------------------------------------------------------
// Names and limits

/** The commands, by what they do. Acks carry no command. Undocumented ones are known from the official plugin 2026.7.2. */
export const cmd = {
  subscribe: "aibot_subscribe",
  ping: "ping",
  respond: "aibot_respond_msg",
  welcome: "aibot_respond_welcome_msg",
  update: "aibot_respond_update_msg",
  send: "aibot_send_msg",
  uploadInit: "aibot_upload_media_init",
  uploadChunk: "aibot_upload_media_chunk",
  uploadFinish: "aibot_upload_media_finish",
  /** Gateway → client: a user spoke. */
  message: "aibot_msg_callback",
  /** Gateway → client: something happened. */
  event: "aibot_event_callback",
  /** Undocumented: asks for the bot's MCP configuration. */
  mcpConfig: "aibot_get_mcp_config",
  /** Undocumented: has WeCom show an authorisation card. */
  sendBiz: "aibot_send_biz_msg",
  /** Undocumented: the plugin's answer to the event `enter_check_update`. */
  enterCheck: "ww_ai_robot_enter_event",
} as const;

/** Bytes of UTF-8 in one text: stream content, markdown content, welcome text. */
export const maxContentBytes = 20_480;
/** Bytes of `headers.req_id`; stated in the upload section only, kept everywhere. */
export const maxReqIdBytes = 256;
/** Bytes of an upload's `filename`. */
export const maxFilenameBytes = 256;
/** Bytes of `feedback.id`; it is honoured on the first frame of a stream only. */
export const maxFeedbackIdBytes = 256;
/** Bytes of one chunk before base64, which makes about 700 KB of text. */
export const maxChunkBytes = 512 * 1024;
/** Chunks of one upload; their indices run from 0. */
export const maxChunks = 100;
/** Bytes of the smallest file that can be uploaded. */
export const minFileBytes = 5;
/** Bytes of the largest file of each kind; the documents' MB is 1,048,576 bytes. */
export const maxMediaBytes = {
  image: 10 * 1_048_576,
  voice: 2 * 1_048_576,
  video: 10 * 1_048_576,
  file: 20 * 1_048_576,
} as const;
/** Bytes of a pushed video's title; longer ones are truncated by WeCom. */
export const maxVideoTitleBytes = 64;
/** Bytes of a pushed video's description; longer ones are truncated by WeCom. */
export const maxVideoDescriptionBytes = 512;
/** Milliseconds a stream can be updated, counted from its first frame, per stream id (measured 2026-08-09: 600 s accepted, 630 s refused). */
export const streamLifeMs = 10 * 60_000;
/** Milliseconds in which a message's req_id can be replied to. */
export const replyWindowMs = 24 * 3_600_000;
/** Milliseconds in which an event's req_id can be answered by a welcome or a card update. */
export const eventWindowMs = 5_000;
/** Milliseconds a download URL in a callback is good for. */
export const mediaUrlLifeMs = 5 * 60_000;
/** Milliseconds an upload session lives, counted from init; it belongs to the bot, not to the socket. */
export const uploadLifeMs = 30 * 60_000;
/** Milliseconds a media_id can be used. */
export const mediaLifeMs = 3 * 24 * 3_600_000;
/** Milliseconds between heartbeats, as recommended. */
export const heartbeatMs = 30_000;
/** Messages to one chat a minute, replies and pushes together (since 2026-03-13). */
export const quotaPerMinute = 30;
/** Messages to one chat an hour, replies and pushes together (since 2026-03-13). */
export const quotaPerHour = 1_000;
/** Uploads of one bot a minute. */
export const uploadsPerMinute = 30;
/** Uploads of one bot an hour. */
export const uploadsPerHour = 1_000;
/** Messages that one user may have in interaction with one bot at once (document 100719). */
export const maxInFlightPerUser = 3;

/** The kinds of media that can be uploaded, replied and pushed. */
export const mediaKinds = ["file", "image", "voice", "video"] as const;
/** One of {@link mediaKinds}. */
export type MediaKind = (typeof mediaKinds)[number];

// ---------------------------------------------------------------------------------------------------------------------
// Client → gateway: strict

/** A string of at most `max` bytes of UTF-8. */
const bounded = (max: number) =>
  z
    .string()
    .refine((text) => text.length * 3 <= max || utf8Bytes(text) <= max, {
      error: (issue) => `longer than ${max} bytes of UTF-8 (it has ${utf8Bytes(String(issue.input))})`,
    })
    // For the JSON Schemas, which count characters: there are never more of them than bytes.
    .meta({ maxLength: max, description: `at most ${max} bytes of UTF-8` });

const named = (max: number) => bounded(max).min(1, "must not be empty");

const headers = z.strictObject({ req_id: named(maxReqIdBytes) });
const content = bounded(maxContentBytes);
const id = z.string().min(1, "must not be empty");

const frame = <Cmd extends string, Body extends z.ZodType>(name: Cmd, body: Body) =>
  z.strictObject({ cmd: z.literal(name), headers, body });

/** A thumbs-up/down request; the buttons appear only when `id` starts with `trace_` (measured once) and sits on a stream's first frame. */
export const Feedback = z.strictObject({ id: named(maxFeedbackIdBytes) });
export type Feedback = z.infer<typeof Feedback>;

/** One state of an answer bubble: `content` replaces the whole bubble, `finish` seals it and must leave something visible. */
export const StreamBody = z
  .strictObject({
    msgtype: z.literal("stream"),
    stream: z.strictObject({ id, finish: z.boolean(), content, feedback: Feedback.optional() }),
  })
  .refine(({ stream }) => !stream.finish || hasVisible(stream.content), {
    path: ["stream", "content"],
    error: "a finishing frame must hold a visible character, or the bubble shows its spinner for ever",
  });
export type StreamBody = z.infer<typeof StreamBody>;

/** A complete message in WeCom's Markdown dialect. */
export const MarkdownBody = z.strictObject({
  msgtype: z.literal("markdown"),
  markdown: z.strictObject({ content: content.min(1, "must not be empty"), feedback: Feedback.optional() }),
});
export type MarkdownBody = z.infer<typeof MarkdownBody>;

/** A template card. */
export const CardBody = z.strictObject({ msgtype: z.literal("template_card"), template_card: TemplateCard });
export type CardBody = z.infer<typeof CardBody>;

const media = z.strictObject({ media_id: id });

/** An uploaded file by its media_id, one schema a kind. */
export const FileBody = z.strictObject({ msgtype: z.literal("file"), file: media });
export type FileBody = z.infer<typeof FileBody>;
/** An uploaded image by its media_id. */
export const ImageBody = z.strictObject({ msgtype: z.literal("image"), image: media });
export type ImageBody = z.infer<typeof ImageBody>;
/** An uploaded AMR voice by its media_id. */
export const VoiceBody = z.strictObject({ msgtype: z.literal("voice"), voice: media });
export type VoiceBody = z.infer<typeof VoiceBody>;
/** An uploaded MP4 video by its media_id, with what its tile says. */
export const VideoBody = z.strictObject({
  msgtype: z.literal("video"),
  video: z.strictObject({
    media_id: id,
    title: bounded(maxVideoTitleBytes).optional(),
    description: bounded(maxVideoDescriptionBytes).optional(),
  }),
});
export type VideoBody = z.infer<typeof VideoBody>;

/** What a message callback can be replied with. */
export const ReplyBody = z.discriminatedUnion("msgtype", [
  StreamBody,
  MarkdownBody,
  CardBody,
  FileBody,
  ImageBody,
  VoiceBody,
  VideoBody,
]);
export type ReplyBody = z.infer<typeof ReplyBody>;

/** What `enter_chat` can be answered with, within {@link eventWindowMs}. */
export const WelcomeBody = z.discriminatedUnion("msgtype", [
  z.strictObject({
    msgtype: z.literal("text"),
    text: z.strictObject({ content: content.min(1, "must not be empty") }),
  }),
  CardBody,
]);
export type WelcomeBody = z.infer<typeof WelcomeBody>;

/** What a clicked card can be replaced with, within {@link eventWindowMs}; without `userids` every user of the card sees it. */
export const UpdateBody = z.strictObject({
  response_type: z.literal("update_template_card"),
  userids: z.array(id).optional(),
  template_card: TemplateCardUpdate,
});
export type UpdateBody = z.infer<typeof UpdateBody>;

const target = {
  /** A userid or a group's chatid, raw: no prefix, original case (93006 otherwise). */
  chatid: id,
  /** 1 single, 2 group. 0 and absent mean "group first", which the documents advise against. */
  chat_type: z.literal([1, 2]),
};

/** What can be pushed, and to whom. `text` is not among it (40008). */
export const SendBody = z.discriminatedUnion("msgtype", [
  MarkdownBody.extend(target),
  CardBody.extend(target),
  FileBody.extend(target),
  ImageBody.extend(target),
  VoiceBody.extend(target),
  VideoBody.extend(target),
]);
export type SendBody = z.infer<typeof SendBody>;

/** Authenticates a socket; the first frame on it. `scene`, `plug_version` and `device_id` are undocumented and optional. */
export const Subscribe = frame(
  cmd.subscribe,
  z.strictObject({
    bot_id: id,
    secret: id,
    scene: z.int().optional(),
    plug_version: z.string().optional(),
    device_id: z.string().optional(),
  }),
);
export type Subscribe = z.infer<typeof Subscribe>;

/** The heartbeat, every {@link heartbeatMs}. It has no body. */
export const Ping = z.strictObject({ cmd: z.literal(cmd.ping), headers });
export type Ping = z.infer<typeof Ping>;

/** Replies to a message callback, under that callback's req_id. */
export const RespondMsg = frame(cmd.respond, ReplyBody);
export type RespondMsg = z.infer<typeof RespondMsg>;

/** Welcomes a user, under the `enter_chat` event's req_id. */
export const RespondWelcomeMsg = frame(cmd.welcome, WelcomeBody);
export type RespondWelcomeMsg = z.infer<typeof RespondWelcomeMsg>;

/** Replaces a clicked card, under the `template_card_event`'s req_id. */
export const RespondUpdateMsg = frame(cmd.update, UpdateBody);
export type RespondUpdateMsg = z.infer<typeof RespondUpdateMsg>;

/** Pushes a message to a chat in which somebody spoke to the bot before, under a req_id of the client's own. */
export const SendMsg = frame(cmd.send, SendBody);
export type SendMsg = z.infer<typeof SendMsg>;

/** Opens an upload session; its ack's body carries `upload_id`. `md5` is of the raw file, 32 hexadecimal digits. */
export const UploadMediaInit = frame(
  cmd.uploadInit,
  z
    .strictObject({
      type: z.enum(mediaKinds),
      filename: named(maxFilenameBytes),
      total_size: z.int().min(minFileBytes, `smaller than ${minFileBytes} bytes`),
      total_chunks: z.int().min(1, "there is at least one chunk").max(maxChunks, `more than ${maxChunks} chunks`),
      md5: z
        .string()
        .regex(/^[0-9a-f]{32}$/, "must be 32 lower-case hexadecimal digits")
        .optional(),
    })
    .refine(({ type, total_size }) => total_size <= maxMediaBytes[type], {
      path: ["total_size"],
      error: "larger than this type allows: image 10 MB, voice 2 MB, video 10 MB, file 20 MB",
    }),
);
export type UploadMediaInit = z.infer<typeof UploadMediaInit>;

/** Carries one chunk; repeats are ignored, any order will do. */
export const UploadMediaChunk = frame(
  cmd.uploadChunk,
  z.strictObject({
    upload_id: id,
    chunk_index: z
      .int()
      .min(0, "indices run from 0")
      .max(maxChunks - 1, `indices run to ${maxChunks - 1}`),
    base64_data: z
      .string()
      .min(1, "must not be empty")
      .regex(/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/, "must be base64")
      .refine((text) => (text.length / 4) * 3 - padding(text) <= maxChunkBytes, {
        error: `holds more than ${maxChunkBytes} bytes before base64`,
      })
      .meta({ maxLength: Math.ceil(maxChunkBytes / 3) * 4 }),
  }),
);
export type UploadMediaChunk = z.infer<typeof UploadMediaChunk>;

/** Closes an upload session; its ack's body carries `media_id`. */
export const UploadMediaFinish = frame(cmd.uploadFinish, z.strictObject({ upload_id: id }));
export type UploadMediaFinish = z.infer<typeof UploadMediaFinish>;

/** Undocumented: asks for the bot's MCP configuration (official plugin 2026.7.2). */
export const GetMcpConfig = frame(cmd.mcpConfig, z.looseObject({}));
export type GetMcpConfig = z.infer<typeof GetMcpConfig>;

/** Undocumented: has WeCom show an authorisation card (official plugin 2026.7.2). */
export const SendBizMsg = frame(
  cmd.sendBiz,
  z.strictObject({
    biz_type: z.literal(1),
    chat_id: id,
    userid: id,
    chat_type: z.literal([1, 2]),
  }),
);
export type SendBizMsg = z.infer<typeof SendBizMsg>;

/** Undocumented: answers the event `enter_check_update` under its req_id (official plugin 2026.7.2). */
export const EnterCheckAnswer = frame(cmd.enterCheck, z.strictObject({ version: id }));
export type EnterCheckAnswer = z.infer<typeof EnterCheckAnswer>;

/** Everything a client may send. */
export const ClientFrame = z.discriminatedUnion("cmd", [
  Subscribe,
  Ping,
  RespondMsg,
  RespondWelcomeMsg,
  RespondUpdateMsg,
  SendMsg,
  UploadMediaInit,
  UploadMediaChunk,
  UploadMediaFinish,
  GetMcpConfig,
  SendBizMsg,
  EnterCheckAnswer,
]);
export type ClientFrame = z.infer<typeof ClientFrame>;

// ---------------------------------------------------------------------------------------------------------------------
// Gateway → client: tolerant

/** An integer that may have been written as a string. */
const integer = z.union([
  z.int(),
  z
    .string()
    .regex(/^-?\d{1,15}$/)
    .transform(Number),
]);

/** A member nobody depends on: of the wrong shape it is taken as absent, since a message must not be lost to it. */
const optional = <T extends z.ZodType>(schema: T) => schema.optional().catch(undefined);

const receivedHeaders = z.looseObject({ req_id: z.string().min(1, "must not be empty") });

/** The answer to any frame of the client: no `cmd`; `errcode` 0 is success. */
export const Ack = z.looseObject({
  headers: receivedHeaders,
  errcode: integer.nullish(),
  errmsg: optional(z.string()),
  body: z.unknown().optional(),
});
export type Ack = z.infer<typeof Ack>;

/** A file to download within {@link mediaUrlLifeMs}; with `aeskey` its bytes are ciphertext. */
const download = z.looseObject({ url: z.string(), aeskey: optional(z.string()) });
const spoken = z.looseObject({ content: z.string() });
/** A voice is its transcript; older payloads carried a URL as well. */
const heard = z.looseObject({ content: z.string(), url: optional(z.string()), aeskey: optional(z.string()) });

const parts = [
  z.looseObject({ msgtype: z.literal("text"), text: spoken }),
  z.looseObject({ msgtype: z.literal("image"), image: download }),
  z.looseObject({ msgtype: z.literal("voice"), voice: heard }),
  z.looseObject({ msgtype: z.literal("file"), file: download }),
  z.looseObject({ msgtype: z.literal("video"), video: download }),
] as const;

/** Anything whose msgtype this file does not know, so that its place in an order is kept. */
const unknownPart = (known: readonly string[]) =>
  z
    .looseObject({ msgtype: z.string().refine((msgtype) => !known.includes(msgtype)) })
    .transform((original) => ({ msgtype: "unknown" as const, original }));

const partTypes = ["text", "image", "voice", "file", "video"];

/** One item of a mixed message. An item of an unknown type has `msgtype: "unknown"` and stands in `original`. */
export const MixedItem = z.union([z.discriminatedUnion("msgtype", parts), unknownPart(partTypes)]);
export type MixedItem = z.infer<typeof MixedItem>;

const mixed = z.looseObject({ msg_item: z.array(MixedItem).min(1, "must not be empty") });

/** What the user quoted: a message without author or id, its media with a URL and key of their own. */
export const Quote = z.union([
  z.discriminatedUnion("msgtype", [...parts, z.looseObject({ msgtype: z.literal("mixed"), mixed })]),
  unknownPart([...partTypes, "mixed"]),
]);
export type Quote = z.infer<typeof Quote>;

const from = z.looseObject({ userid: z.string().min(1, "must not be empty"), corpid: optional(z.string()) });
const chattype = z.enum(["single", "group"]);

const said = {
  /** The same callback may come twice: this is what tells. */
  msgid: z.string().min(1, "must not be empty"),
  aibotid: optional(z.string()),
  /** Absent in a single chat, where `from.userid` is the conversation. Case-sensitive. */
  chatid: optional(z.string().min(1)),
  chattype: chattype.catch("single"),
  from,
  /** Unix seconds. */
  create_time: optional(integer),
  response_url: optional(z.string()),
  quote: optional(Quote),
};

const message = {
  text: z.looseObject({ ...said, msgtype: z.literal("text"), text: spoken }),
  image: z.looseObject({ ...said, msgtype: z.literal("image"), image: download }),
  mixed: z.looseObject({ ...said, msgtype: z.literal("mixed"), mixed }),
  voice: z.looseObject({ ...said, msgtype: z.literal("voice"), voice: heard }),
  file: z.looseObject({ ...said, msgtype: z.literal("file"), file: download }),
  video: z.looseObject({ ...said, msgtype: z.literal("video"), video: download }),
};

/** A message of a known type. */
export const MessageBody = z.discriminatedUnion("msgtype", [
  message.text,
  message.image,
  message.mixed,
  message.voice,
  message.file,
  message.video,
]);
export type MessageBody = z.infer<typeof MessageBody>;

/** A message of a type this file does not know: addressable, so that it can be answered, and otherwise as it came. */
export const UnknownMessageBody = z.looseObject({ ...said, msgtype: z.string() });
export type UnknownMessageBody = z.infer<typeof UnknownMessageBody>;

/** A callback that a user caused by speaking. */
export const MsgCallback = z.looseObject({ cmd: z.literal(cmd.message), headers: receivedHeaders, body: MessageBody });
export type MsgCallback = z.infer<typeof MsgCallback>;

/** What a user chose in one selector of a card: the nesting is the wire's own, an inheritance from XML. */
const selectedItem = z.looseObject({
  question_key: z.string(),
  option_ids: z.looseObject({ option_id: z.array(z.string()) }),
});

/** A click on a card. `event_key` and `task_id` come back byte for byte; without a selector there are no `selected_items`. */
export const TemplateCardEvent = z.looseObject({
  card_type: optional(z.string()),
  event_key: z.string(),
  task_id: z.string(),
  selected_items: z.looseObject({ selected_item: z.array(selectedItem) }).optional(),
});
export type TemplateCardEvent = z.infer<typeof TemplateCardEvent>;

/** A thumb: `type` 1 helpful, 2 not helpful, 3 withdrawn (seen in client code only). */
export const FeedbackEvent = z.looseObject({
  id: z.string(),
  type: integer,
  content: optional(z.string()),
  inaccurate_reason_list: optional(z.array(integer)),
});
export type FeedbackEvent = z.infer<typeof FeedbackEvent>;

const happening = {
  msgid: optional(z.string()),
  aibotid: optional(z.string()),
  chatid: optional(z.string().min(1)),
  chattype: optional(chattype),
  from: optional(from),
  create_time: optional(integer),
  response_url: optional(z.string()),
};

const bare = <Name extends string>(name: Name) =>
  z.looseObject({ ...happening, event: z.looseObject({ eventtype: z.literal(name) }) });

const event = {
  enter_chat: bare("enter_chat"),
  template_card_event: z.looseObject({
    ...happening,
    event: z.looseObject({ eventtype: z.literal("template_card_event"), template_card_event: TemplateCardEvent }),
  }),
  feedback_event: z.looseObject({
    ...happening,
    event: z.looseObject({ eventtype: z.literal("feedback_event"), feedback_event: FeedbackEvent }),
  }),
  /** Another connection of the same bot has subscribed: this socket will get no more callbacks. */
  disconnected_event: bare("disconnected_event"),
  /** Undocumented (official plugin 2026.7.2): what the user allows the bot to do with documents. */
  auth_change_event: z.looseObject({
    ...happening,
    event: z.looseObject({
      eventtype: z.literal("auth_change_event"),
      auth_change_event: optional(z.looseObject({ auth_list: optional(z.array(integer)) })),
    }),
  }),
  /** Undocumented (official plugin 2026.7.2): asks for the client's version. */
  enter_check_update: bare("enter_check_update"),
};

/** An event of a known type; every member but `event` may be missing, and is in `disconnected_event`. */
export const EventBody = z.union([
  event.enter_chat,
  event.template_card_event,
  event.feedback_event,
  event.disconnected_event,
  event.auth_change_event,
  event.enter_check_update,
]);
export type EventBody =
  | z.infer<typeof event.enter_chat>
  | z.infer<typeof event.template_card_event>
  | z.infer<typeof event.feedback_event>
  | z.infer<typeof event.disconnected_event>
  | z.infer<typeof event.auth_change_event>
  | z.infer<typeof event.enter_check_update>;

/** An event of a type this file does not know. */
export const UnknownEventBody = z.looseObject({ ...happening, event: z.looseObject({ eventtype: z.string() }) });
export type UnknownEventBody = z.infer<typeof UnknownEventBody>;

/** A callback that something other than speech caused. */
export const EventCallback = z.looseObject({ cmd: z.literal(cmd.event), headers: receivedHeaders, body: EventBody });
export type EventCallback = z.infer<typeof EventCallback>;

// ---------------------------------------------------------------------------------------------------------------------
// Decoding

/** Why a text is not a frame: `path` as in `body.mixed.msg_item[1].image.url`, `$` for the whole. */
export interface Reason {
  readonly path: string;
  readonly reason: string;
}

/** What came of a text: a frame, or the reason why not beside the text itself. `notes` tell what was bent to read it. */
export type Decoded<Frame> =
  | { readonly ok: Frame; readonly notes: readonly string[] }
  | { readonly bad: Reason; readonly text: string };

/** A frame of the gateway, sorted by what a client does with it. `known: false` is a type this file does not know. */
export type GatewayFrame =
  | {
      readonly kind: "ack";
      readonly req_id: string;
      readonly errcode: number;
      readonly errmsg: string;
      readonly body: unknown;
    }
  | { readonly kind: "message"; readonly known: true; readonly req_id: string; readonly body: MessageBody }
  | { readonly kind: "message"; readonly known: false; readonly req_id: string; readonly body: UnknownMessageBody }
  | { readonly kind: "event"; readonly known: true; readonly req_id: string; readonly body: EventBody }
  | { readonly kind: "event"; readonly known: false; readonly req_id: string; readonly body: UnknownEventBody }
  /** A JSON ping by the gateway; nobody captured one, some clients expect it. */
  | { readonly kind: "ping"; readonly req_id: string | undefined }
  | { readonly kind: "unknown"; readonly cmd: string; readonly frame: Readonly<Record<string, unknown>> };

/**
 * Reads what the gateway sent. Never throws. A frame without `cmd` is an ack; an unknown `cmd` is an unknown frame, not a
 * bad one. A single chat's message without `chattype` is read as single, a group's must say its `chatid`.
 */
export function decodeGatewayFrame(text: string): Decoded<GatewayFrame> {
  const done = readSuccess(text);
  if (done !== undefined) return { ok: done, notes: [] };
  const notes: string[] = [];
  const json = parseTolerantly(text, notes);
  if (json === undefined) return { bad: { path: "$", reason: "not JSON" }, text };
  if (!isObject(json)) return { bad: { path: "$", reason: `an object was expected, ${nameOf(json)} came` }, text };

  const name = json["cmd"];
  let read: Read;
  if (name === undefined || name === null || name === "") read = readAck(json, notes);
  else if (name === cmd.message) read = readCallback(json, readMessage);
  else if (name === cmd.event) read = readCallback(json, readEvent);
  else if (name === cmd.ping) read = { ok: { kind: "ping", req_id: reqIdOf(json) } };
  else if (typeof name === "string") read = { ok: { kind: "unknown", cmd: name, frame: json } };
  else read = { bad: { path: "cmd", reason: `a string was expected, ${nameOf(name)} came` } };

  return "ok" in read ? { ok: read.ok, notes } : { bad: read.bad, text };
}

/** Reads what a client sent, strictly: what this accepts, `encode` could have written. Never throws. */
export function decodeClientFrame(text: string): Decoded<ClientFrame> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { bad: { path: "$", reason: "not JSON" }, text };
  }
  const parsed = ClientFrame.safeParse(json);
  return parsed.success ? { ok: parsed.data, notes: [] } : { bad: reasonOf(parsed.error), text };
}

/**
 * Escapes raw control characters (U+0000 to U+001F) that stand inside string literals and leaves everything else alone.
 * Users paste them, the gateway passes them on, and JSON forbids them.
 */
export function escapeControlCharacters(text: string): string {
  let escaped = "";
  let copied = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === quote) inString = !inString;
    else if (code === backslash && inString) at++;
    else if (code < 0x20 && inString) {
      escaped += `${text.slice(copied, at)}\\u${code.toString(16).padStart(4, "0")}`;
      copied = at + 1;
    }
  }
  return escaped + text.slice(copied);
}

const quote = 0x22;
const backslash = 0x5c;

type Read = { ok: GatewayFrame } | { bad: Reason };
type Json = Readonly<Record<string, unknown>>;

/**
 * The ack of success, as which every second frame comes, and always in this spelling: a text that is one from its first
 * character to its last is read without a parser. Undefined for all others, which may be acks of success as well.
 */
function readSuccess(text: string): GatewayFrame | undefined {
  const req_id = success.exec(text)?.[1];
  return req_id === undefined ? undefined : { kind: "ack", req_id, errcode: 0, errmsg: "ok", body: undefined };
}

const success = /^\{"headers":\{"req_id":"([\w-]+)"\},"errcode":0,"errmsg":"ok"\}$/;

function parseTolerantly(text: string, notes: string[]): unknown {
  try {
    return JSON.parse(text);
  } catch {
    try {
      const repaired: unknown = JSON.parse(escapeControlCharacters(text));
      notes.push("raw control characters inside strings were escaped");
      return repaired;
    } catch {
      return undefined;
    }
  }
}

function readAck(json: Json, notes: string[]): Read {
  const req_id = reqIdOf(json);
  if (req_id === undefined) return { bad: missingReqId(json) };
  let { errcode } = json;
  if (errcode === undefined || errcode === null) {
    // Never seen; clients that take it for a failure repeat what was delivered.
    notes.push("the ack has no errcode and is read as success");
    errcode = 0;
  } else if (typeof errcode === "string" && /^-?\d{1,15}$/.test(errcode)) {
    errcode = Number(errcode);
  }
  if (typeof errcode !== "number" || !Number.isSafeInteger(errcode))
    return { bad: { path: "errcode", reason: `an integer was expected, ${nameOf(errcode)} came` } };
  const { errmsg, body } = json;
  return { ok: { kind: "ack", req_id, errcode, errmsg: typeof errmsg === "string" ? errmsg : "", body } };
}

function readCallback(json: Json, readBody: (req_id: string, body: Json) => Read): Read {
  const req_id = reqIdOf(json);
  if (req_id === undefined) return { bad: missingReqId(json) };
  const { body } = json;
  if (!isObject(body)) return { bad: { path: "body", reason: `an object was expected, ${nameOf(body)} came` } };
  return readBody(req_id, body);
}

function readMessage(req_id: string, body: Json): Read {
  const { msgtype } = body;
  // One public client has met card events inside message callbacks; they are what they say they are.
  if (msgtype === "event") return readEvent(req_id, body);
  if (isPlainText(body)) return { ok: { kind: "message", known: true, req_id, body } };
  if (typeof msgtype === "string" && Object.hasOwn(message, msgtype)) {
    const parsed = message[msgtype as keyof typeof message].safeParse(body);
    if (!parsed.success) return { bad: reasonOf(parsed.error, "body") };
    return addressed(parsed.data, body) ?? { ok: { kind: "message", known: true, req_id, body: parsed.data } };
  }
  const parsed = UnknownMessageBody.safeParse(body);
  if (!parsed.success) return { bad: reasonOf(parsed.error, "body") };
  return addressed(parsed.data, body) ?? { ok: { kind: "message", known: false, req_id, body: parsed.data } };
}

/**
 * Whether it is what most messages are, a text without a quote, with nothing bent about it: what the schema for it would
 * hand back unchanged, in ten times the time.
 */
function isPlainText(body: Json): body is Json & z.infer<typeof message.text> {
  const { msgid, aibotid, chatid, chattype: type, from: author, create_time: at, response_url: url, text } = body;
  if (body["msgtype"] !== "text" || !isHarmless(text) || typeof text["content"] !== "string") return false;
  if (!isHarmless(body) || !isHarmless(author) || !isFilled(author["userid"]) || !isTextOrAbsent(author["corpid"]))
    return false;
  if (type === "group" ? !isFilled(chatid) : type !== "single" || chatid !== undefined) return false;
  if (!isFilled(msgid) || !isTextOrAbsent(aibotid) || !isTextOrAbsent(url) || body["quote"] !== undefined) return false;
  return at === undefined || Number.isSafeInteger(at);
}

/** Whether it is an object that may be handed on as it came: who copies a member of this name may set a prototype. */
function isHarmless(value: unknown): value is Json {
  return isObject(value) && !Object.hasOwn(value, "__proto__");
}

function isFilled(value: unknown): boolean {
  return typeof value === "string" && value !== "";
}

function isTextOrAbsent(value: unknown): boolean {
  return value === undefined || typeof value === "string";
}

/** A chat that says nothing of its type is a group where it has an id; a group without one could only be answered to the wrong people. */
function addressed(
  parsed: { chattype: "single" | "group"; chatid?: string | undefined },
  body: Json,
): Read | undefined {
  if (body["chattype"] !== "single" && parsed.chatid !== undefined) parsed.chattype = "group";
  if (parsed.chattype === "group" && parsed.chatid === undefined)
    return { bad: { path: "body.chatid", reason: "a group's message must say its chatid" } };
  return undefined;
}

function readEvent(req_id: string, body: Json): Read {
  const { event: happened } = body;
  const eventtype = isObject(happened) ? happened["eventtype"] : undefined;
  if (typeof eventtype === "string" && Object.hasOwn(event, eventtype)) {
    const parsed = event[eventtype as keyof typeof event].safeParse(body);
    if (!parsed.success) return { bad: reasonOf(parsed.error, "body") };
    return { ok: { kind: "event", known: true, req_id, body: parsed.data } };
  }
  const parsed = UnknownEventBody.safeParse(body);
  if (!parsed.success) return { bad: reasonOf(parsed.error, "body") };
  return { ok: { kind: "event", known: false, req_id, body: parsed.data } };
}

function reqIdOf(json: Json): string | undefined {
  const { headers: received } = json;
  const req_id = isObject(received) ? received["req_id"] : undefined;
  return typeof req_id === "string" && req_id !== "" ? req_id : undefined;
}

function missingReqId(json: Json): Reason {
  const { headers: received } = json;
  return isObject(received)
    ? { path: "headers.req_id", reason: `a non-empty string was expected, ${nameOf(received["req_id"])} came` }
    : { path: "headers", reason: `an object was expected, ${nameOf(received)} came` };
}

/** The first complaint, followed into the branch of a union that got furthest: the one the sender most likely meant. */
function reasonOf(error: z.ZodError, ...prefix: PropertyKey[]): Reason {
  return reasonOfIssue(error.issues[0]!, prefix);
}

function reasonOfIssue(issue: z.core.$ZodIssue, prefix: readonly PropertyKey[]): Reason {
  const path = [...prefix, ...issue.path];
  // A union without branches in its report is one whose discriminator is unknown: that is said by the issue itself.
  if (issue.code === "invalid_union" && issue.errors.length > 0) {
    const firsts = issue.errors.map(([first]) => first!);
    return reasonOfIssue(
      firsts.reduce((deepest, first) => (first.path.length > deepest.path.length ? first : deepest)),
      path,
    );
  }
  if (issue.code === "unrecognized_keys" && issue.keys[0] !== undefined)
    return { path: pathOf([...path, issue.keys[0]]), reason: "not a member of this frame" };
  return { path: pathOf(path), reason: issue.message };
}

function pathOf(path: readonly PropertyKey[]): string {
  let written = "";
  for (const step of path)
    written += typeof step === "number" ? `[${step}]` : written === "" ? String(step) : `.${String(step)}`;
  return written === "" ? "$" : written;
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function nameOf(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "object") return "an object";
  if (value === "") return "an empty string";
  return `a ${typeof value}`;
}

// ---------------------------------------------------------------------------------------------------------------------
// Encoding

declare const encoded: unique symbol;

/** A frame that was checked and written: what a connection sends. Only `encode` and `encodeChunk` make one. */
export interface EncodedFrame {
  readonly cmd: ClientFrame["cmd"];
  readonly req_id: string;
  readonly text: string;
  readonly [encoded]: true;
}

/**
 * Writes a frame. Throws `UsageError` when it breaks a rule of its schema; the message names the path and the limit and
 * never repeats the value, which may be a secret or somebody's text.
 */
export function encode(outgoing: ClientFrame): EncodedFrame {
  const text = spell(outgoing);
  if (text !== undefined) return seal(outgoing.cmd, outgoing.headers.req_id, text);
  const parsed = ClientFrame.safeParse(outgoing);
  if (!parsed.success) {
    const { path, reason } = reasonOf(parsed.error);
    throw new UsageError(`${typeof outgoing?.cmd === "string" ? outgoing.cmd : "frame"}: ${path}: ${reason}`, { path });
  }
  const { cmd: name, headers: sent } = parsed.data;
  try {
    return seal(name, sent.req_id, JSON.stringify(parsed.data));
  } catch {
    // A bigint or a cycle, in the one body that is open (mcpConfig). The engine's own message may quote members.
    throw new UsageError(`${name}: body: cannot be written as JSON`, { path: "body" });
  }
}

/**
 * The two frames of which a bot sends thousands, a state of a stream and a Markdown message, without the schemas: those
 * would take three quarters of the time. It accepts a part of what the schemas accept, and writes what they would write;
 * whatever is more than that, or is wrong, is `undefined` here and the schemas' business, as is what to say of it.
 */
function spell(outgoing: unknown): string | undefined {
  if (!isObject(outgoing) || members(outgoing) !== 3) return undefined;
  const { cmd: name, headers: sent, body } = outgoing;
  if (name !== cmd.respond && name !== cmd.send) return undefined;
  if (!isObject(sent) || !isObject(body) || members(sent) !== 1) return undefined;
  const { req_id } = sent;
  if (typeof req_id !== "string" || req_id === "" || req_id.length * 3 > maxReqIdBytes) return undefined;
  const written = name === cmd.respond ? spellReply(body) : spellPush(body);
  return written && `{"cmd":"${name}","headers":{"req_id":${JSON.stringify(req_id)}},"body":{${written}}}`;
}

function spellReply(body: Json): string | undefined {
  const { msgtype, stream } = body;
  if (members(body) !== 2) return undefined;
  if (msgtype === "markdown") return spellMarkdown(body);
  if (msgtype !== "stream" || !isObject(stream) || members(stream) !== 3) return undefined;
  const { id: name, finish, content: shown } = stream;
  if (typeof name !== "string" || name === "" || typeof finish !== "boolean" || !isShort(shown)) return undefined;
  if (finish && !hasVisible(shown)) return undefined;
  return `"msgtype":"stream","stream":{"id":${JSON.stringify(name)},"finish":${finish},"content":${JSON.stringify(shown)}}`;
}

function spellPush(body: Json): string | undefined {
  const { msgtype, chatid, chat_type } = body;
  if (members(body) !== 4 || msgtype !== "markdown" || typeof chatid !== "string" || chatid === "") return undefined;
  if (chat_type !== 1 && chat_type !== 2) return undefined;
  const said = spellMarkdown(body);
  return said && `${said},"chatid":${JSON.stringify(chatid)},"chat_type":${chat_type}`;
}

function spellMarkdown({ markdown }: Json): string | undefined {
  if (!isObject(markdown) || members(markdown) !== 1) return undefined;
  const { content: shown } = markdown;
  if (!isShort(shown) || shown === "") return undefined;
  return `"msgtype":"markdown","markdown":{"content":${JSON.stringify(shown)}}`;
}

/** Whether it is a text that fits, whatever it is made of. */
function isShort(value: unknown): value is string {
  return typeof value === "string" && value.length * 3 <= maxContentBytes;
}

/** How many members a schema would see at least. */
function members(value: Json): number {
  return Object.keys(value).length;
}

/**
 * Writes an upload chunk whose base64 the caller has just made of at most {@link maxChunkBytes} bytes. Unlike `encode` it
 * neither checks nor escapes those 700 KB again: JSON.stringify would be the slowest step of an upload.
 */
export function encodeChunk(req_id: string, upload_id: string, chunk_index: number, base64_data: string): EncodedFrame {
  const body = `{"upload_id":${JSON.stringify(upload_id)},"chunk_index":${chunk_index},"base64_data":"${base64_data}"}`;
  return seal(
    cmd.uploadChunk,
    req_id,
    `{"cmd":"${cmd.uploadChunk}","headers":{"req_id":${JSON.stringify(req_id)}},"body":${body}}`,
  );
}

function seal(name: ClientFrame["cmd"], req_id: string, text: string): EncodedFrame {
  return { cmd: name, req_id, text } as EncodedFrame;
}

function padding(base64: string): number {
  return base64.endsWith("==") ? 2 : base64.endsWith("=") ? 1 : 0;
}
