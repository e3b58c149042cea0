/** The smallest bot: repeats what it is told, and greets whoever opens the chat. */
import { createBot, reply } from "@openws/connector";

const { WECOM_BOT_ID: botId = "", WECOM_BOT_SECRET: secret = "", WECOM_BOT_WS_URL: url } = process.env;

const bot = createBot({ botId, secret, url });
bot.on("text", (message) => `you said ${message.text}`);
bot.on("enter_chat", () => reply.text("Hello! Say something."));
bot.observe((event) => {
  if (event.type === "moved") console.error(event.sentence.en);
});

await bot.start();
process.once("SIGTERM", () => void bot.stop());
process.once("SIGINT", () => void bot.stop());
