/**
 * The official Node SDK in the suite's hands. It declares what the SDK offers; what the SDK does by itself is left to it, and
 * no option is set but those that the lanes scale.
 */
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { generateReqId, WSClient, type WsFrame } from "@wecom/aibot-node-sdk";
import {
  abilities,
  speak,
  type Answer,
  type Card,
  type FileGiven,
  type Given,
  type Item,
  type Reported,
  type TesteeClient,
} from "../../src/index.ts";

type Json = Readonly<Record<string, unknown>>;

const start = (given: Given, report: (event: Reported) => void): TesteeClient => {
  const log = (message: string, ...rest: unknown[]): void =>
    void process.stderr.write(`${message} ${rest.join(" ")}\n`);
  const client = new WSClient({
    botId: given.botId,
    secret: given.secret,
    wsUrl: given.url,
    logger: { debug: log, info: log, warn: log, error: log },
    ...(given.heartbeatMs === undefined ? {} : { heartbeatInterval: given.heartbeatMs }),
    ...(given.backoffBaseMs === undefined ? {} : { reconnectInterval: given.backoffBaseMs }),
    ...(given.ackMs === undefined ? {} : { requestTimeout: given.ackMs }),
  });
  const frames = new Map<string, WsFrame>();
  let keys = 0;
  let kicked = false;
  /** The only way in which the SDK tells of credentials that were refused is the text of an error. */
  let refused = false;
  const frameOf = (to: string): WsFrame => frames.get(to)!;
  const fresh = (card: Card): Card => ({ task_id: generateReqId("task"), ...card });
  const bytes = ({ sizeBytes }: FileGiven): Buffer => Buffer.alloc(sizeBytes, "some bytes ");
  const uploaded = async (file: FileGiven): Promise<string> =>
    (await client.uploadMedia(bytes(file), { type: file.type, filename: file.filename })).media_id;
  const acked = async (sent: Promise<unknown>): Promise<Answer> => {
    try {
      await sent;
      return { outcome: "acked" };
    } catch (error) {
      return outcomeOf(error);
    }
  };

  client.on("message", (frame) => {
    const key = String(++keys);
    frames.set(key, frame);
    report(reported(key, frame.body as Json));
  });
  client.on("event", (frame) => {
    const key = String(++keys);
    frames.set(key, frame);
    const body = frame.body as unknown as Json;
    report({
      event: "event",
      key,
      eventtype: String((body["event"] as Json)["eventtype"]),
      msgid: body["msgid"] as string | undefined,
      userid: (body["from"] as Json | undefined)?.["userid"] as string | undefined,
      chatid: body["chatid"] as string | undefined,
      ...clicked(body["event"] as Json),
    });
  });
  client.on("event.disconnected_event", () => {
    kicked = true;
  });
  client.on("error", (error) => {
    log("error", error.message);
    refused ||= /authentication failed/i.test(error.message);
  });
  client.on("authenticated", () => {
    refused = false;
  });
  client.connect();

  return {
    stop: () => {
      client.disconnect();
      return { outcome: "done" };
    },
    reply: async (op) => {
      const frame = frameOf(op.to);
      const feedback = op.feedbackId === undefined ? undefined : { id: op.feedbackId };
      if (op.nothing === true) return { outcome: "done" };
      if (op.card !== undefined) return acked(client.replyTemplateCard(frame, fresh(op.card) as never));
      if (op.parts !== undefined) {
        const id = generateReqId("stream");
        let said = "";
        for (const [at, part] of op.parts.entries()) {
          await pause(op.everyMs ?? 0);
          said += part;
          const end = at === op.parts.length - 1;
          const answer = await acked(client.replyStream(frame, id, said, end, undefined, feedback));
          // A frame that failed is no reason to stop: the next one holds its text, too.
          if (end) return answer;
        }
        return { outcome: "done" };
      }
      const text =
        op.text === undefined
          ? undefined
          : await acked(client.replyStream(frame, generateReqId("stream"), op.text, true, undefined, feedback));
      if (op.file === undefined || (text !== undefined && text.outcome !== "acked")) return text ?? { outcome: "done" };
      const { file } = op;
      return acked(uploaded(file).then((id) => client.replyMedia(frame, file.type, id)));
    },
    push: ({ chatid, text, card, file }) => {
      if (file !== undefined) return acked(uploaded(file).then((id) => client.sendMediaMessage(chatid, file.type, id)));
      if (card !== undefined)
        return acked(client.sendMessage(chatid, { msgtype: "template_card", template_card: fresh(card) as never }));
      return acked(client.sendMessage(chatid, { msgtype: "markdown", markdown: { content: text ?? "" } }));
    },
    upload: async (file) => {
      try {
        return { outcome: "acked", mediaId: await uploaded(file) };
      } catch (error) {
        return outcomeOf(error);
      }
    },
    download: async ({ to, item }) => {
      const { url = "", aeskey } = itemsOf(frameOf(to).body as Json)[item] as { url?: string; aeskey?: string };
      try {
        const { buffer, filename } = await client.downloadFile(url, aeskey);
        const sha256 = createHash("sha256").update(buffer).digest("hex");
        // The SDK stores nothing; its examples write to the name that it gives.
        const path = join(given.dir, filename ?? "unnamed");
        writeFileSync(path, buffer);
        return { outcome: "done", sha256, filename, path };
      } catch (error) {
        return outcomeOf(error);
      }
    },
    welcome: ({ to, text }) => acked(client.replyWelcome(frameOf(to), { msgtype: "text", text: { content: text } })),
    update: ({ to, card }) => acked(client.updateTemplateCard(frameOf(to), card as never)),
    state: () => ({
      outcome: "done",
      state: client.isConnected ? "ready" : kicked ? "kicked" : refused ? "refused" : "connecting",
    }),
  };
};

/** What the SDK rejects with: the frame of a refusal, or an error whose text says what happened. */
const outcomeOf = (error: unknown): Answer => {
  const { errcode } = error as { errcode?: unknown };
  if (typeof errcode === "number") return { outcome: "refused", errcode, reason: JSON.stringify(error) };
  const reason = error instanceof Error ? error.message : String(error);
  if (/timeout/i.test(reason)) return { outcome: "timed-out", reason };
  if (/not connected/i.test(reason)) return { outcome: "not-sent", reason };
  return { outcome: /closed|disconnect/i.test(reason) ? "connection-lost" : "failed", reason };
};

const reported = (key: string, body: Json): Reported => {
  const msgtype = String(body["msgtype"]);
  const content = (body[msgtype] as Json | undefined)?.["content"];
  const quote = body["quote"] as Json | undefined;
  return {
    event: "message",
    key,
    msgtype,
    msgid: body["msgid"] as string,
    userid: (body["from"] as Json)["userid"] as string,
    chatid: body["chatid"] as string | undefined,
    chattype: body["chattype"] as string | undefined,
    ...(typeof content === "string" ? { text: content } : {}),
    items: itemsOf(body),
    ...(quote === undefined
      ? {}
      : { quote: { msgtype: String(quote["msgtype"]), ...textOf(quote), items: itemsOf(quote) } }),
  };
};

const textOf = (part: Json): { text?: string } => {
  const content = (part[String(part["msgtype"])] as Json | undefined)?.["content"];
  return typeof content === "string" ? { text: content } : {};
};

const itemsOf = (part: Json): Item[] => {
  const type = String(part["msgtype"]);
  const content = part[type] as Json | undefined;
  if (type === "mixed") return (content?.["msg_item"] as Json[] | undefined)?.flatMap(itemsOf) ?? [];
  if (type === "text") return [{ type, text: String(content?.["content"]) }];
  if (type !== "image" && type !== "file" && type !== "video") return [];
  return [{ type, url: content?.["url"] as string | undefined, aeskey: content?.["aeskey"] as string | undefined }];
};

const clicked = (event: Json): { eventKey?: string; taskId?: string; selected?: Record<string, string[]> } => {
  const click = event["template_card_event"] as Json | undefined;
  if (click === undefined) return {};
  const items = (click["selected_items"] as { selected_item?: Json[] } | undefined)?.selected_item ?? [];
  const selected = items.map((item) => [
    String(item["question_key"]),
    (item["option_ids"] as { option_id?: string[] } | undefined)?.option_id ?? [],
  ]);
  return {
    eventKey: click["event_key"] as string,
    taskId: click["task_id"] as string,
    selected: Object.fromEntries(selected) as Record<string, string[]>,
  };
};

speak({
  client: "@wecom/aibot-node-sdk 1.0.7",
  // It hands over what a handler throws to nobody, and knows neither conversations nor its own size.
  can: abilities.filter((ability) => !["throw", "conversation", "census"].includes(ability)),
  scaled: true,
  start,
});
