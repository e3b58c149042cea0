/**
 * What the library is made of on every runtime. The entry files add what differs: sockets, and `createBot` with them.
 */
export type { Bot, BotEvent, BotOptions, BotState, Target } from "./bot.ts";
export type { LineMeter } from "./driver.ts";
export type { BotTexts, Handler, HandlingEvent, Origin } from "./handling.ts";
export { rememberedMsgids } from "./bot.ts";
export type { AnswerEnd, AnswerRoute, Answered, BubbleState, HeldBubble, HeldBubbleOptions, Spent } from "./answer.ts";
export type { Sentence } from "./causes.ts";
export { defaultUrl } from "./config.ts";
export { FileError } from "./files.ts";
export type { Downloaded, DownloadedStream, DownloadOptions, FileSource, Media, OpenFile } from "./files.ts";
export type { UploadOptions, Uploaded } from "./upload.ts";
export type { Attachment, Chat, EventKind, HappenedEvent, Message, MessageKind } from "./message.ts";
export { withoutMention } from "./message.ts";
export { MistakeError } from "./mistake.ts";
export type { Missed, ObserverFailed } from "./events.ts";
export {
  type Answerable,
  type CompletionChunk,
  type FileReplyOptions,
  type Part,
  type RawBody,
  type Reply,
  reply,
} from "./reply.ts";
export type { AbortWhy, DropWhy, WhenBusy } from "./turns.ts";
export type { Runtime, Socket, SocketEvents } from "./runtime.ts";
export { type MediaOptions, nodeMedia } from "./media.ts";
