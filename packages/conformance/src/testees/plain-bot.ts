/**
 * A plain bot that keeps the echo contract, on the plain client: correct, or with one defect when it is told so. The suite
 * is tried on it.
 *
 * It gets its connection by environment, as any bot of the observe tier does.
 */
import { broken, pause } from "./plain/defect.ts";
import { objectAt, stringAt, type Json } from "./plain/json.ts";
import { parts, PlainClient, type Asked } from "./plain/client.ts";
import { upload } from "./plain/uploads.ts";

const { env } = process;
const botName = env["WECOM_BOT_NAME"] ?? "";

/** The defect of clients that work through one queue. */
let before: Promise<unknown> = Promise.resolve();

const onMessage = (asked: Asked, body: Json): void => {
  if (body["msgtype"] !== "text") return;
  const text = unmentioned(asked.kind, stringAt(objectAt(body, "text"), "content"));
  const answering = (): Promise<unknown> => answer(asked, text);
  if (!broken("works-one-by-one")) return void answering();
  before = before.then(answering);
};

/** In a group every text begins with the mention of the bot. */
const unmentioned = (kind: Asked["kind"], text: string): string => {
  if (kind === "single") return text;
  const mention = `@${botName} `;
  if (broken("drops-words-behind-the-mention") && text.startsWith(`${mention}/`))
    return text.split(" ").slice(2).join(" ");
  if (broken("strips-every-mention")) return text.replaceAll(mention, "");
  return text.startsWith(mention) ? text.slice(mention.length) : text;
};

/** Answers a text; the words of the echo contract do what they say. */
const answer = async (asked: Asked, text: string): Promise<unknown> => {
  await client.connection.ready();
  const [word, argument = ""] = text.split(/ ([^]*)/, 2);
  switch (word) {
    case "!stream":
      return stream(asked, Number(argument));
    case "!push":
      return client.push(asked.chatid, asked.kind, argument);
    case "!upload":
      return sendFile(asked, Number(argument));
    case "!card":
      return client.reply(asked, { msgtype: "template_card", template_card: card("Press the button") });
    case "!fail":
      return client.stream(asked, failing(), () => "");
    case "!slow":
      await pause(Number(argument));
      return client.stream(asked, [], () => `that took ${argument} ms`);
    default:
      for (const [at, part] of parts(`echo: ${text}`).entries())
        if (at === 0) await client.stream(asked, [], () => part);
        else await client.push(asked.chatid, asked.kind, part);
      return undefined;
  }
};

const stream = (asked: Asked, count: number): Promise<unknown> => {
  let said = "";
  async function* texts(): AsyncGenerator<string> {
    for (let at = 1; at < count; at++) {
      yield (said += `word${at} `);
      // As fast as a model speaks, not as fast as a loop.
      await pause(broken("does-not-await-acks") ? 20 : 150);
    }
  }
  return client.stream(asked, texts(), () => `${said}word${count} `);
};

async function* failing(): AsyncGenerator<string> {
  yield "I begin";
  await pause(100);
  throw new Error("this handler was asked to fail");
}

/** Answers with a file of so many bytes; says so where it cannot be had. */
const sendFile = async (asked: Asked, size: number): Promise<unknown> => {
  const uploaded = await upload(client.connection, Buffer.alloc(size, "some bytes "), "file", "file.bin");
  if (uploaded.outcome === "acked")
    return client.reply(asked, { msgtype: "file", file: { media_id: uploaded.mediaId } });
  const why = broken("tells-what-the-gateway-said") && uploaded.outcome === "refused" ? `: ${uploaded.said ?? ""}` : "";
  return client.stream(asked, [], () => `the upload failed${why}`);
};

let cards = 0;

const card = (title: string, taskId = `card-${process.pid}-${++cards}-${Date.now().toString(36)}`): Json => {
  const style = broken("writes-cards-in-strings") ? "1" : 1;
  const press = { text: "Press", style, key: "press" };
  return {
    card_type: "button_interaction",
    ...(broken("makes-cards-without-a-title") ? {} : { main_title: { title } }),
    button_list: broken("gives-buttons-one-key") ? [press, { ...press, text: "Press this" }] : [press],
    task_id: broken("gives-cards-one-task-id") ? "card" : taskId,
  };
};

const onEvent = (asked: Asked, eventtype: string, body: Json): void => {
  const { reqId, chatid, kind } = asked;
  if (eventtype === "enter_chat") void welcome(asked);
  if (eventtype === "template_card_event")
    void clicked(asked, objectAt(objectAt(body, "event"), "template_card_event"));
  if (eventtype === "feedback_event" && broken("thanks-for-feedback"))
    void client.push(chatid, kind, `thank you ${reqId}`);
};

const welcome = async (asked: Asked): Promise<void> => {
  if (broken("answers-events-as-messages")) return void client.stream(asked, [], () => "welcome");
  if (broken("welcomes-late")) await pause(20 * client.connection.second);
  client.connection.line.send("aibot_respond_welcome_msg", asked.reqId, {
    msgtype: "text",
    text: { content: "welcome" },
  });
};

const clicked = async (asked: Asked, click: Json): Promise<void> => {
  const { chatid, kind, reqId } = asked;
  if (broken("answers-clicks-by-a-push")) return void client.push(chatid, kind, "pressed");
  const update = card(`You pressed ${stringAt(click, "event_key")}`, stringAt(click, "task_id"));
  client.connection.line.send("aibot_respond_update_msg", reqId, {
    response_type: "update_template_card",
    template_card: update,
  });
};

const client: PlainClient = broken("never-connects")
  ? (undefined as never)
  : new PlainClient(
      {
        url: env["WECOM_BOT_WS_URL"] ?? "",
        botId: env["WECOM_BOT_ID"] ?? "",
        secret: env["WECOM_BOT_SECRET"] ?? "",
        heartbeatMs: Number(env["WECOM_HEARTBEAT_MS"] ?? 30_000),
        ackMs: Number(env["WECOM_ACK_MS"] ?? 10_000),
        backoffMs: Number(env["WECOM_BACKOFF_BASE_MS"] ?? 1_000),
      },
      { message: onMessage, event: onEvent },
    );

process.on("SIGTERM", () => {
  if (broken("ignores-sigterm")) return;
  void client?.stop().then(() => setTimeout(() => process.exit(0), 200));
});
// Refused or kicked it has nothing to wait for, and lives on all the same, as a service would.
setInterval(() => undefined, 1e8);
