/**
 * A bot on WeCom's long connection, as a library, on Bun: `ws` is not on its path.
 */
import { type Bot, type BotOptions, createBot as createBotOn } from "./bot.ts";
import { defaultUrl } from "./config.ts";
import { nodeMedia } from "./media.ts";
import { bunRuntime } from "./runtime.bun.ts";

export * from "./index.shared.ts";
export { bunRuntime } from "./runtime.bun.ts";

/** Makes a bot on Bun's own WebSocket; otherwise as on Node. Throws `UsageError` for options that cannot work. */
export function createBot(options: Omit<BotOptions, "runtime"> & Partial<Pick<BotOptions, "runtime">>): Bot {
  const gateway = URL.parse(options.url ?? defaultUrl)?.host ?? "";
  return createBotOn({ runtime: bunRuntime(), media: nodeMedia({ trustedHosts: [gateway] }), ...options });
}
