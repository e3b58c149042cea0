/**
 * A bot on WeCom's long connection, as a library.
 *
 * ```ts
 * const bot = createBot({ botId, secret });
 * bot.on("text", (message) => `you said ${message.text}`);
 * bot.start();
 * ```
 */
import { type Bot, type BotOptions, createBot as createBotOn } from "./bot.ts";
import { defaultUrl } from "./config.ts";
import { nodeMedia } from "./media.ts";
import { nodeRuntime } from "./runtime.node.ts";

export type { Bot, BotEvent, BotOptions, BotState, BotTexts, Handler, Target } from "./bot.ts";
export { rememberedMsgids } from "./bot.ts";
export type { AnswerEnd, AnswerRoute } from "./answer.ts";
export type { Sentence } from "./causes.ts";
export { defaultUrl } from "./config.ts";
export { FileError } from "./files.ts";
export type { Downloaded, DownloadedStream, DownloadOptions, FileSource, Media, OpenFile } from "./files.ts";
export { type MediaOptions, nodeMedia } from "./media.ts";
export type { UploadOptions, Uploaded } from "./upload.ts";
export type { Attachment, Chat, EventKind, HappenedEvent, Message, MessageKind } from "./message.ts";
export { withoutMention } from "./message.ts";
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
export { nodeRuntime } from "./runtime.node.ts";

/**
 * Makes a bot on Node. `runtime` may be given to run it elsewhere, or in a test; `media` to judge differently what may be
 * fetched. Throws `UsageError` for options that cannot work.
 */
export function createBot(options: Omit<BotOptions, "runtime"> & Partial<Pick<BotOptions, "runtime">>): Bot {
  const gateway = URL.parse(options.url ?? defaultUrl)?.host ?? "";
  return createBotOn({ runtime: nodeRuntime(), media: nodeMedia({ trustedHosts: [gateway] }), ...options });
}
