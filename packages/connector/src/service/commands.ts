/**
 * Commands that come in by a queue: a push or a reply, as over HTTP, and answered with what HTTP would have answered.
 *
 * Decides the shape of a command and of its answer. Does not know brokers (sinks/), nor what may be said: each command is a
 * request to the API, so that one set of rules holds for both. Invariants: every command gets one answer, also one that
 * cannot be read; a command's id is its Idempotency-Key, so that one that a broker delivers twice is done once; what cannot
 * be done now (the store is full, the outbox is busy) is not refused but asked for again.
 */
import { z } from "zod";
import type { CommandHandler } from "./sink.ts";

const id = z.string().regex(/^[\x21-\x7e]{1,255}$/, "must be 1 to 255 printable ASCII characters without spaces");
const message = z.looseObject({});
/** A word of a path: what cannot be one, or would lead elsewhere, would be asked of nobody or of the wrong route. */
const word = z.string().refine((text) => text.isWellFormed() && !/^\.{1,2}$/.test(text));

/** A command. `push` and `reply` hold the bodies of POST /v1/bots/{bot}/messages and POST /v1/messages/{id}/reply. */
const command = z.union([
  z.strictObject({ id, push: message.extend({ bot: word.check(z.minLength(1), z.maxLength(128)) }) }),
  z.strictObject({ id, reply: message.extend({ message: word.check(z.minLength(1), z.maxLength(64)) }) }),
]);

/** What is asked of the API, beside its key. */
export interface ApiRequest {
  readonly method: "POST";
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Makes a handler that asks the API; `ask` adds the key. */
export function commandHandler(ask: (path: string, request: ApiRequest) => Promise<Response>): CommandHandler {
  return async (text) => {
    const read = readCommand(text);
    if ("refused" in read) return JSON.stringify(read);
    const response = await ask(read.path, {
      method: "POST",
      headers: { "content-type": "application/json", "idempotency-key": read.id },
      body: JSON.stringify(read.body),
    });
    if (response.status === 503) return undefined;
    const said: unknown = await response.json();
    return JSON.stringify(response.ok ? { id: read.id, accepted: said } : { id: read.id, refused: said });
  };
}

interface Read {
  readonly id: string;
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
}

function readCommand(text: string): Read | { readonly id: unknown; readonly refused: object } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return refusal(undefined, "the command is not JSON");
  }
  const parsed = command.safeParse(value);
  if (!parsed.success) {
    const given = typeof value === "object" && value !== null ? (value as { id?: unknown }).id : undefined;
    const usage =
      'a command is {"id", "push": {"bot", "to", "markdown" …}} or {"id", "reply": {"message", "markdown" …}}';
    const wrongId = id.safeParse(given).error?.issues[0]?.message;
    const detail = wrongId === undefined ? usage : `${usage}; its id ${wrongId}`;
    return refusal(typeof given === "string" ? given.slice(0, 255) : undefined, detail);
  }
  if ("push" in parsed.data) {
    const { bot, ...body } = parsed.data.push;
    return { id: parsed.data.id, path: `/v1/bots/${encodeURIComponent(bot)}/messages`, body };
  }
  const { message: to, ...body } = parsed.data.reply;
  return { id: parsed.data.id, path: `/v1/messages/${encodeURIComponent(to)}/reply`, body };
}

function refusal(given: string | undefined, detail: string) {
  return { id: given, refused: { status: 422, title: "Not acceptable as it is", detail } };
}
