// A program as a user of Deno or Bun writes it: the library by its name, a bot, a stop. It ends by itself when it is
// told to stop, or the lane says that something kept it alive.
import * as library from "@openws/connector";

const bot = library.createBot({
  botId: "bot",
  secret: "s3cret",
  url: process.env["WECOM_BOT_WS_URL"] ?? "",
  heartbeatMs: 200,
  ackMs: 1_000,
  backoffBaseMs: 20,
});
bot.on("text", async ({ text }) => {
  if (text === "stop") setTimeout(() => void bot.stop(), 100);
  return `echo: ${text}`;
});
await bot.start();
process.stdout.write(`${"bunRuntime" in library ? "bun" : "ws"}\n`);
