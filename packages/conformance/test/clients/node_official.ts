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

const onText = async (frame: WsFrame): Promise<unknown> => {
  const { text, from, chatid } = frame.body as TextBody;
  const [word, argument = ""] = text.content.replace(/^@\S+ /, "").split(" ", 2);
  switch (word) {
    case "!stream": {
      const id = generateReqId("stream");
      let said = "";
      for (let at = 1; at <= Number(argument); at++) {
        if (at > 1) await pause(150);
        said += `word${at} `;
        await client.replyStream(frame, id, said, at === Number(argument));
      }
      return undefined;
    }
    case "!push":
      return client.sendMessage(chatid ?? from.userid, { msgtype: "markdown", markdown: { content: argument } });
    case "!upload": {
      const bytes = Buffer.alloc(Number(argument), "some bytes ");
      const { media_id } = await client.uploadMedia(bytes, { type: "file", filename: "file.bin" });
      return client.replyMedia(frame, "file", media_id);
    }
    case "!slow":
      await pause(Number(argument));
      return client.replyStream(frame, generateReqId("stream"), `that took ${argument} ms`, true);
    default:
      return client.replyStream(frame, generateReqId("stream"), `echo: ${text.content}`, true);
  }
};

client.on("message.text", (frame) => {
  onText(frame).catch((error: unknown) => log("failed", String(error)));
});
client.on("error", (error) => log("error", error.message));
client.connect();
process.on("SIGTERM", () => {
  client.disconnect();
  process.exit(0);
});
