/**
 * Reads the lines of a testee: what comes from one is parsed here, and trusted afterwards.
 *
 * Decides what is of the protocol, what is meant for it and wrong, and what is a log line. Does not know what was asked.
 */
import { z } from "zod";
import { abilities, fileTypes, outcomes, states, type Answer, type Hello, type Reported } from "../testee.ts";

/** What one line of a testee is. */
export type Said =
  | { readonly what: "hello"; readonly hello: Hello }
  | { readonly what: "answer"; readonly id: number; readonly answer: Answer }
  | { readonly what: "report"; readonly report: Reported }
  /** Not of the protocol: a log line. */
  | { readonly what: "log" }
  /** Meant for the protocol, and wrong. */
  | { readonly what: "wrong"; readonly why: string };

/** Reads a line of a testee's standard output. */
export const readLine = (line: string): Said => {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    return { what: "log" };
  }
  if (typeof json !== "object" || json === null) return { what: "log" };
  if ("hello" in json) {
    const read = helloSchema.safeParse(json);
    return read.success ? { what: "hello", hello: read.data } : wrong(read.error, line);
  }
  if ("id" in json && "outcome" in json) {
    const read = answerSchema.safeParse(json);
    return read.success ? { what: "answer", id: read.data.id, answer: read.data } : wrong(read.error, line);
  }
  if ("event" in json) {
    const read = reportSchema.safeParse(json);
    return read.success ? { what: "report", report: read.data } : wrong(read.error, line);
  }
  if ("id" in json) return { what: "wrong", why: `an answer needs an outcome: ${shortened(line)}` };
  return { what: "log" };
};

const wrong = ({ issues: [issue] }: z.ZodError, line: string): Said => ({
  what: "wrong",
  why: `${issue?.path.join(".") || "a line"}: ${issue?.message ?? "wrong"}: ${shortened(line)}`,
});

const shortened = (line: string): string => (line.length > 300 ? `${line.slice(0, 300)}…` : line);

function absent<T>(value: T | null | undefined): T | undefined {
  return value ?? undefined;
}

const text = z.string();
// Languages differ in whether they leave a member out or write null.
const some = text.nullish().transform(absent);
const item = z.union([
  z.object({ type: z.literal("text"), text }),
  z.object({ type: z.enum(fileTypes), url: some, aeskey: some }),
]);
const items = z.array(item).nullish().transform(absent);

const helloSchema = z.object({
  hello: z.literal(1),
  client: text.min(1),
  can: z.array(z.enum(abilities)),
  scaled: z.boolean(),
});

const answerSchema = z.object({
  id: z.number(),
  outcome: z.enum(outcomes),
  reason: some,
  errcode: z.number().nullish().transform(absent),
  mediaId: some,
  sha256: some,
  filename: some,
  path: some,
  state: z.enum(states).nullish().transform(absent),
  counts: z.record(text, z.number()).nullish().transform(absent),
});

/** Who is spoken of, in messages and events alike. */
const about = { key: text.min(1), msgid: some, userid: some, chatid: some };

const reportSchema = z.discriminatedUnion("event", [
  z.object({
    event: z.literal("message"),
    ...about,
    msgtype: text,
    chattype: some,
    text: some,
    items,
    quote: z.object({ msgtype: text, text: some, items }).nullish().transform(absent),
    conversation: some,
  }),
  z.object({
    event: z.literal("event"),
    ...about,
    eventtype: text,
    eventKey: some,
    taskId: some,
    selected: z.record(text, z.array(text)).nullish().transform(absent),
  }),
]);
