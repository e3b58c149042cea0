/**
 * What a receiver says back in its response: nothing, one answer, or a text that grows.
 *
 * Decides how a response reads. Does not send anything, and does not judge statuses.
 * Invariant: a response is read to a bound, and what cannot be read is told, not guessed.
 */
import { createParser } from "eventsource-parser";
import { z } from "zod";
import type { PostAnswer } from "./post.ts";

/** A message that goes out: one of them, as in the API. */
export const outMessage = z.union([
  z.strictObject({ markdown: z.string().min(1).max(200_000) }),
  z.strictObject({ text: z.string().min(1).max(200_000) }),
  z.strictObject({ template_card: z.record(z.string(), z.unknown()) }),
  z.strictObject({
    media: z.strictObject({
      kind: z.enum(["image", "voice", "video", "file"]),
      media_id: z.string().min(1).max(512),
      title: z.string().max(64).optional(),
      description: z.string().max(512).optional(),
    }),
  }),
  z.strictObject({ raw: z.looseObject({ msgtype: z.string() }) }),
]);
/** A message that goes out. */
export type OutMessage = z.output<typeof outMessage>;

/** What a response says. */
export type Inline =
  | { readonly type: "nothing" }
  | { readonly type: "reply"; readonly message: OutMessage }
  /** Deltas of one bubble. Throws when the response breaks off. */
  | { readonly type: "stream"; readonly deltas: AsyncIterable<string> }
  /** It was meant as an answer and is none: one sentence. */
  | { readonly type: "unreadable"; readonly why: string };

/** As much of an OpenAI-style chunk as is read. */
const completionChunk = z.looseObject({
  choices: z.array(z.looseObject({ delta: z.looseObject({ content: z.string().nullish() }).optional() })),
});

const maxBodyBytes = 1024 * 1024;
const maxStreamBytes = 16 * 1024 * 1024;

/**
 * Reads the response of a receiver that took a delivery. `{"reply": {…}}` is an answer; `text/event-stream`, and text in
 * chunks (no content-length), is a bubble that grows; everything else, such as a plain "ok", is no answer.
 */
export async function readInline(answer: PostAnswer): Promise<Inline> {
  const type = (answer.header("content-type") ?? "").split(";")[0]!.trim().toLowerCase();
  if (type === "text/event-stream") return { type: "stream", deltas: eventDeltas(answer) };
  const chunked = (answer.header("transfer-encoding") ?? "").toLowerCase().includes("chunked");
  if (chunked && (type === "text/plain" || type === "text/markdown"))
    return { type: "stream", deltas: textOf(answer, maxStreamBytes) };
  if (answer.status === 204 || !/^application\/(?:[\w.+-]+\+)?json$/.test(type)) {
    answer.discard();
    return { type: "nothing" };
  }
  let text = "";
  try {
    for await (const part of textOf(answer, maxBodyBytes)) text += part;
  } catch (error) {
    return { type: "unreadable", why: `its response could not be read: ${(error as Error).message}` };
  }
  if (text.trim() === "") return { type: "nothing" };
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return { type: "unreadable", why: "its response says it is JSON and is not" };
  }
  if (typeof parsed !== "object" || parsed === null || !("reply" in parsed) || parsed.reply === null)
    return { type: "nothing" };
  const message = outMessage.safeParse(parsed.reply);
  if (message.success) return { type: "reply", message: message.data };
  const where = message.error.issues[0]?.path.join(".") ?? "";
  return {
    type: "unreadable",
    why: `its reply is none: ${where === "" ? "reply" : `reply.${where}`} must be one of markdown, text, template_card, media, raw`,
  };
}

/** Each `data:` of an event stream is a delta; a model's chunk is the text of its first choice; `[DONE]` is the end. */
async function* eventDeltas(answer: PostAnswer): AsyncGenerator<string, void> {
  const deltas: string[] = [];
  let done = false;
  const parser = createParser({
    onEvent: ({ data }) => {
      if (data === "[DONE]") done = true;
      else if (!done) deltas.push(deltaOf(data));
    },
  });
  for await (const text of textOf(answer, maxStreamBytes)) {
    parser.feed(text);
    yield* deltas.splice(0);
    // Whoever says it is done need not hang up.
    if (done) {
      answer.discard();
      return;
    }
  }
}

function deltaOf(data: string): string {
  if (!data.startsWith("{")) return data;
  try {
    const chunk = completionChunk.safeParse(JSON.parse(data));
    return chunk.success ? (chunk.data.choices[0]?.delta?.content ?? "") : data;
  } catch {
    return data;
  }
}

async function* textOf(answer: PostAnswer, maxBytes: number): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let bytes = 0;
  for await (const chunk of answer.body) {
    bytes += chunk.length;
    if (bytes > maxBytes) {
      answer.discard();
      throw new RangeError(`it has more than ${maxBytes} bytes`);
    }
    const text = decoder.decode(chunk, { stream: true });
    if (text !== "") yield text;
  }
  const rest = decoder.decode();
  if (rest !== "") yield rest;
}
