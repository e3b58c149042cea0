/**
 * The echo bot: answers every text with `echo: <text>`, and keeps the echo contract, a few words by which the conformance
 * suite (or a curious person) can see streams, pushes and cards on the wire.
 */
import type { TemplateCard } from "@openws/protocol";
import type { Bot } from "./bot.ts";
import type { Message } from "./message.ts";
import { type Reply, reply } from "./reply.ts";

/** Registers the echo bot's handlers. `pause` waits that many milliseconds, for `!slow`. */
export function echo(bot: Bot, pause: (ms: number) => Promise<void>): void {
  let cards = 0;
  bot.on("text", (message) => {
    const [word, ...rest] = message.text.trim().split(/\s+/u);
    const argument = rest.join(" ");
    switch (word) {
      case "!stream":
        return stream(Number(argument), pause);
      case "!push":
        return push(bot, message, argument);
      case "!upload":
        return reply.file(sample(Number(argument)), { filename: "upload.bin", kind: "file" });
      case "!card":
        return reply.card(card(`echo-${Date.now().toString(36)}-${++cards}`, "Press the button", "press"));
      case "!slow":
        return slow(Number(argument), pause);
      case "!fail":
        throw new Error("this handler was asked to fail");
      default:
        return `echo: ${message.text}`;
    }
  });
  bot.on("enter_chat", () => reply.text("Hello! I repeat what you say."));
  bot.on("template_card_event", (event): Reply => {
    const { task_id, event_key } = event.body.event.template_card_event;
    return reply.card(card(task_id, `You pressed ${event_key}`, "pressed"));
  });
  for (const kind of ["image", "voice", "file", "video", "mixed"] as const)
    bot.on(kind, (message: Message) => `echo: ${message.text}`);
}

/** One answer in `frames` growing frames: with a pause longer than an ack takes, each delta is a frame of its own. */
async function* stream(frames: number, pause: (ms: number) => Promise<void>): AsyncGenerator<string> {
  const count = Number.isInteger(frames) && frames > 0 && frames <= 10_000 ? frames : 3;
  for (let at = 1; at <= count; at++) {
    if (at > 1) await pause(400);
    yield at === 1 ? `1` : ` ${at}`;
  }
}

/** Bytes of no particular meaning, not all alike. */
function sample(bytes: number): Uint8Array {
  const count = Number.isInteger(bytes) && bytes >= 0 && bytes <= 64 * 1024 * 1024 ? bytes : 1_000;
  const sampled = new Uint8Array(count);
  for (let at = 0; at < count; at++) sampled[at] = at * 31 + (at >> 8);
  return sampled;
}

async function push(bot: Bot, { chat }: Message, text: string): Promise<string | undefined> {
  const end = await bot.push(chat.type === "single" ? { userid: chat.id } : { chatid: chat.id }, text || "pushed");
  return end.type === "delivered" ? undefined : `the push was not confirmed: ${end.type}`;
}

async function* slow(ms: number, pause: (ms: number) => Promise<void>): AsyncGenerator<string> {
  const waitMs = ms >= 0 && ms <= 3_600_000 ? ms : 1_000;
  await pause(waitMs);
  yield `that took ${waitMs} ms`;
}

function card(task_id: string, title: string, key: string): TemplateCard {
  return {
    card_type: "button_interaction",
    main_title: { title },
    button_list: [{ text: "Press", key, style: 1 }],
    task_id,
  };
}
