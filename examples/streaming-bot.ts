/**
 * An answer that grows while it is being written. `model` stands for a language model's client: anything that yields
 * pieces of text, or chunks as OpenAI's interface streams them, can be returned from a handler as it is.
 */
import { setTimeout } from "node:timers/promises";
import { createBot } from "@openws/connector";

const { WECOM_BOT_ID: botId = "", WECOM_BOT_SECRET: secret = "", WECOM_BOT_WS_URL: url } = process.env;

async function* model(prompt: string, signal: AbortSignal): AsyncGenerator<string> {
  const words = `You asked about “${prompt}”. Here is what I know:\n\n| topic | known |\n| --- | --- |\n| ${prompt} | little |\n`;
  for (const word of words.split(/(?<=\s)/u)) {
    // The signal aborts when nobody waits for the answer any more: stop the model then, it costs money.
    await setTimeout(60, undefined, { signal });
    yield word;
  }
  if (prompt === "break") throw new Error("the model's connection was lost");
}

const bot = createBot({ botId, secret, url });
bot.on("text", (message) => model(message.text, message.signal));
bot.observe((event) => {
  if (event.type === "moved") console.error(event.sentence.en);
  if (event.type === "handler-failed") console.error(`the answer broke off: ${String(event.error)}`);
});

await bot.start();
process.once("SIGTERM", () => void bot.stop());
process.once("SIGINT", () => void bot.stop());
