/**
 * What a handler can answer with, as plain data, and how whatever it returns is read. Which command carries an answer,
 * and under which req_id, is not decided here: the same `reply.text("hi")` is a bubble under a message, a welcome under
 * `enter_chat` and Markdown when pushed.
 */
import type { MediaKind, TemplateCard } from "@openws/protocol";
import type { FileSource } from "./files.ts";
import type { UploadOptions } from "./upload.ts";

/** An answer. Made by {@link reply}. */
export type Reply =
  | { readonly type: "text"; readonly content: string }
  | { readonly type: "markdown"; readonly content: string }
  | { readonly type: "card"; readonly card: TemplateCard }
  | { readonly type: "file"; readonly source: FileSource; readonly options: FileReplyOptions }
  | { readonly type: "raw"; readonly body: RawBody };

/** How a file is sent; `title` and `description` stand on a video's tile. */
export interface FileReplyOptions extends Omit<UploadOptions, "signal"> {
  readonly title?: string | undefined;
  readonly description?: string | undefined;
}

/** A body as on the wire. */
export type RawBody = Readonly<Record<string, unknown>>;

/** Makes answers. Nothing is checked yet: what breaks a limit is refused when it is sent, with the path of what is wrong. */
export const reply = {
  /** Plain words. WeCom knows no plain text in replies and pushes: there it is Markdown that says the same. */
  text: (content: string): Reply => ({ type: "text", content }),
  /** WeCom's Markdown; longer texts than 20,480 bytes are split without breaking code fences or tables. */
  markdown: (content: string): Reply => ({ type: "markdown", content }),
  /** One of the five template cards; `task_id` must be new. Under `template_card_event` it replaces the clicked card. */
  card: (card: TemplateCard): Reply => ({ type: "card", card }),
  /**
   * A file: uploaded, then sent as what its name and content say, or as what `kind` says. What WeCom does not take as
   * image, voice or video goes as a file. At most 20 MB.
   */
  file: (source: FileSource, options: FileReplyOptions = {}): Reply => ({ type: "file", source, options }),
  /** A PNG, JPEG or GIF of at most 10 MB. */
  image: (source: FileSource, options: FileReplyOptions = {}): Reply => as("image", source, options),
  /** An AMR recording of at most 2 MB. */
  voice: (source: FileSource, options: FileReplyOptions = {}): Reply => as("voice", source, options),
  /** An MP4 of at most 10 MB. */
  video: (source: FileSource, options: FileReplyOptions = {}): Reply => as("video", source, options),
  /** A body as on the wire, sent under the command that fits the callback. */
  raw: (body: RawBody): Reply => ({ type: "raw", body }),
};

function as(kind: MediaKind, source: FileSource, options: FileReplyOptions): Reply {
  return { type: "file", source, options: { ...options, kind } };
}

/** A chunk of an OpenAI-style completion stream, as far as it is read: the text of its first choice. */
export interface CompletionChunk {
  readonly choices: readonly { readonly delta?: { readonly content?: string | null | undefined } | undefined }[];
}

/** One piece of an answer: a delta of a bubble, a whole message, or a chunk of a model's stream. */
export type Part = string | Reply | CompletionChunk | { readonly msgtype: string };

/**
 * What a handler may return: nothing; one answer; or several in turn, from anything that can be iterated. Strings of an
 * iterable are deltas of one bubble, a whole message ends the bubble and stands alone.
 */
export type Answerable = undefined | null | Part | AsyncIterable<Part> | Iterable<Part>;

const replyTypes: ReadonlySet<unknown> = new Set<Reply["type"]>(["text", "markdown", "card", "file", "raw"]);

/** Reads one piece: text of a bubble, or a whole message. Throws `TypeError` for what is neither. */
export function partOf(value: unknown): string | Reply {
  if (typeof value === "string") return value;
  if (isObject(value)) {
    if (replyTypes.has(value["type"])) return value as Reply;
    if (typeof value["msgtype"] === "string") return { type: "raw", body: value };
    if (Array.isArray(value["choices"])) return (value as unknown as CompletionChunk).choices[0]?.delta?.content ?? "";
  }
  throw new TypeError(
    `a handler must answer with a string, a reply.*, a body with a msgtype, or an iterable of these; it gave ${nameOf(value)}`,
  );
}

/** Whether a handler's result is several pieces in turn. */
export function isSequence(value: unknown): value is AsyncIterable<unknown> | Iterable<unknown> {
  return isObject(value) && (Symbol.asyncIterator in value || Symbol.iterator in value);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> & object {
  return typeof value === "object" && value !== null;
}

function nameOf(value: unknown): string {
  if (value === undefined || value === null) return "nothing";
  if (typeof value === "object") return "an object of another shape";
  return `a ${typeof value}`;
}
