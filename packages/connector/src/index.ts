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
import { nodeRuntime } from "./runtime.node.ts";

export type { Answerable, AnswerRoute, Bot, BotEvent, BotOptions, BotState, Handler, Target } from "./bot.ts";
export { rememberedMsgids } from "./bot.ts";
export type { AnswerEnd } from "./answer.ts";
export type { Sentence } from "./causes.ts";
export { defaultUrl } from "./config.ts";
export type { Chat, EventKind, HappenedEvent, Message, MessageKind } from "./message.ts";
export { withoutMention } from "./message.ts";
export { type Reply, reply } from "./reply.ts";
export type { Runtime, Socket, SocketEvents } from "./runtime.ts";
export { nodeRuntime } from "./runtime.node.ts";

/** Makes a bot on Node. `runtime` may be given to run it elsewhere, or in a test. Throws `UsageError` for options that cannot work. */
export function createBot(options: Omit<BotOptions, "runtime"> & Partial<Pick<BotOptions, "runtime">>): Bot {
  return createBotOn({ runtime: nodeRuntime(), ...options });
}
