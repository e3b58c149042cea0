/**
 * A bot on WeCom's long connection, as a library, on Node and Deno. Bun gets index.bun.ts by an export condition.
 *
 * ```ts
 * const bot = createBot({ botId, secret });
 * bot.on("text", (message) => `you said ${message.text}`);
 * await bot.start();
 * ```
 */
import { type Bot, type BotOptions, createBot as createBotOn } from "./bot.ts";
import { defaultUrl } from "./config.ts";
import { nodeMedia } from "./media.ts";
import { nodeRuntime } from "./runtime.node.ts";

export * from "./index.shared.ts";
export { type NodeRuntimeOptions, nodeRuntime } from "./runtime.node.ts";

/**
 * Makes a bot. `runtime` may be given to run it elsewhere, or in a test; `media` to judge differently what may be
 * fetched. Throws `UsageError` for options that cannot work.
 */
export function createBot(options: Omit<BotOptions, "runtime"> & Partial<Pick<BotOptions, "runtime">>): Bot {
  const gateway = URL.parse(options.url ?? defaultUrl)?.host ?? "";
  return createBotOn({ runtime: nodeRuntime(), media: nodeMedia({ trustedHosts: [gateway] }), ...options });
}
