/**
 * A bot on the official Node SDK that keeps the echo contract as far as the SDK can. What the SDK does by itself is left to
 * it: no option is set but those that the lanes scale.
 */
import { setTimeout as pause } from "node:timers/promises";
import { generateReqId, WSClient, type WsFrame } from "@wecom/aibot-node-sdk";

const { env } = process;
const scaled = {
  ...(env["WECOM_HEARTBEAT_MS"] === undefined ? {} : { heartbeatInterval: Number(env["WECOM_HEARTBEAT_MS"]) }),
  ...(env["WECOM_BACKOFF_BASE_MS"] === undefined ? {} : { reconnectInterval: Number(env["WECOM_BACKOFF_BASE_MS"]) }),
  ...(env["WECOM_ACK_MS"] === undefined ? {} : { requestTimeout: Number(env["WECOM_ACK_MS"]) }),
};

const log = (message: string, ...rest: unknown[]): void => void process.stderr.write(`${message} ${rest.join(" ")}\n`);
const client = new WSClient({
  botId: env["WECOM_BOT_ID"] ?? "",
  secret: env["WECOM_BOT_SECRET"] ?? "",
  wsUrl: env["WECOM_BOT_WS_URL"] ?? "",
  logger: { debug: log, info: log, warn: log, error: log },
  ...scaled,
});

interface TextBody {
  readonly text: { readonly content: string };
  readonly from: { readonly userid: string };
  readonly chatid?: string;
}

const card = (title: string, task_id: string) => ({
  card_type: "button_interaction",
  main_title: { title },
  button_list: [{ text: "Press", style: 1, key: "press" }],
  task_id,
});

const onText = async (frame: WsFrame): Promise<unknown> => {
  const { text, from, chatid } = frame.body as TextBody;
  const mention = `@${env["WECOM_BOT_NAME"] ?? ""} `;
  const said = text.content.startsWith(mention) ? text.content.slice(mention.length) : text.content;
  const [word, argument = ""] = said.split(/ ([^]*)/, 2);
  switch (word) {
    case "!stream": {
      const id = generateReqId("stream");
      let content = "";
      for (let at = 1; at <= Number(argument); at++) {
        if (at > 1) await pause(150);
        content += `word${at} `;
        // A frame whose ack does not come is no reason to break off: the next one says it all again.
        await client.replyStream(frame, id, content, at === Number(argument)).catch((error: unknown) => {
          if (!/timeout/i.test(String(error))) throw error;
          log("no ack", String(error));
        });
      }
      return undefined;
    }
    case "!push":
      return client.sendMessage(chatid ?? from.userid, { msgtype: "markdown", markdown: { content: argument } });
    case "!upload": {
      const bytes = Buffer.alloc(Number(argument), "some bytes ");
      try {
        const { media_id } = await client.uploadMedia(bytes, { type: "file", filename: "file.bin" });
        return await client.replyMedia(frame, "file", media_id);
      } catch (error) {
        log("no upload", String(error));
        return client.replyStream(frame, generateReqId("stream"), "the upload failed", true);
      }
    }
    case "!card":
      return client.replyTemplateCard(frame, card("Press the button", generateReqId("card")));
    case "!fail":
      await client.replyStream(frame, generateReqId("stream"), "I begin", false);
      throw new Error("this handler was asked to fail");
    case "!slow":
      await pause(Number(argument));
      return client.replyStream(frame, generateReqId("stream"), `that took ${argument} ms`, true);
    default:
      return client.replyStream(frame, generateReqId("stream"), `echo: ${said}`, true);
  }
};

client.on("message.text", (frame) => {
  onText(frame).catch((error: unknown) => log("failed", String(error)));
});
client.on("event.enter_chat", (frame) => {
  client
    .replyWelcome(frame, { msgtype: "text", text: { content: "welcome" } })
    .catch((error: unknown) => log("failed", String(error)));
});
client.on("event.template_card_event", (frame) => {
  const { event } = frame.body as unknown as {
    readonly event: { readonly template_card_event: { readonly task_id: string } };
  };
  client
    .updateTemplateCard(frame, card("You pressed it", event.template_card_event.task_id))
    .catch((error: unknown) => log("failed", String(error)));
});
client.on("error", (error) => log("error", error.message));
client.connect();
process.on("SIGTERM", () => {
  client.disconnect();
  process.exit(0);
});
