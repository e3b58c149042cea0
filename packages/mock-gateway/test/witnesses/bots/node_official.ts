// The bot program of scenarios.ts on the official Node SDK.
import { createHash } from "node:crypto";
import { WSClient, type TemplateCard, type WsFrame } from "@wecom/aibot-node-sdk";

const { WECOM_BOT_ID = "", WECOM_BOT_SECRET = "", WECOM_BOT_WS_URL = "" } = process.env;

const log = (message: string, ...rest: unknown[]): void => void process.stderr.write(`${message} ${rest.join(" ")}\n`);
const client = new WSClient({
  botId: WECOM_BOT_ID,
  secret: WECOM_BOT_SECRET,
  wsUrl: WECOM_BOT_WS_URL,
  logger: { debug: log, info: log, warn: log, error: log },
});

const card = (title: string): TemplateCard => ({
  card_type: "button_interaction",
  main_title: { title },
  button_list: [{ text: "Approve", key: "approve", style: 1 }],
  task_id: "task-1",
});

const onText = async (frame: WsFrame): Promise<unknown> => {
  const { text, from } = frame.body as { text: { content: string }; from: { userid: string } };
  const [word, rest] = [text.content.split(" ", 1)[0], text.content.slice(text.content.indexOf(" ") + 1)];
  switch (word) {
    case "stream":
      await client.replyStream(frame, "stream-1", rest.slice(0, rest.length / 2), false);
      return client.replyStream(frame, "stream-1", rest, true);
    case "card":
      return client.replyTemplateCard(frame, card("approve?"));
    case "push":
      return client.sendMessage(from.userid, { msgtype: "markdown", markdown: { content: "**pushed**" } });
    case "file": {
      const bytes = Buffer.from(Uint8Array.from({ length: 1_300_000 }, (_, i) => 7 * i + (i >> 8)));
      const { media_id } = await client.uploadMedia(bytes, { type: "file", filename: "parts.bin" });
      return client.sendMediaMessage(from.userid, "file", media_id);
    }
    default:
      return undefined;
  }
};

const onImage = async (frame: WsFrame): Promise<unknown> => {
  const { image } = frame.body as { image: { url: string; aeskey: string } };
  const { buffer } = await client.downloadFile(image.url, image.aeskey);
  const digest = createHash("sha256").update(buffer).digest("hex");
  return client.replyStream(frame, `stream-${digest}`, `${digest} ${buffer.length}`, true);
};

const orSay =
  (handle: (frame: WsFrame) => Promise<unknown>) =>
  (frame: WsFrame): void =>
    void handle(frame).catch((error: unknown) =>
      client.replyStream(frame, "failure", `failed: ${String(error)}`, true),
    );

client.on("message.text", orSay(onText));
client.on("message.image", orSay(onImage));
client.on(
  "event.enter_chat",
  orSay((frame) => client.replyWelcome(frame, { msgtype: "text", text: { content: "welcome" } })),
);
client.on(
  "event.template_card_event",
  orSay((frame) => client.updateTemplateCard(frame, card("approved"))),
);
client.on("event.disconnected_event", () => void process.stdout.write("kicked\n"));
client.on("error", (error) => log("error", error.message));
client.connect();
