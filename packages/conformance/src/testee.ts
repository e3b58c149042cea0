/**
 * The testee protocol as types: what the suite asks of a client's testee, and what it is told. TESTEE.md is the document.
 *
 * Decides what a line may look like; what comes from a testee is parsed here and trusted afterwards. Knows neither processes
 * nor checks. A testee in TypeScript implements `Testee`, and is judged in-process or, behind `speak`, as a program.
 */
import { z } from "zod";

/** What a testee can be asked beyond `start`, `stop` and `reply` with a text. TESTEE.md explains each. */
export const abilities = [
  "stream",
  "throw",
  "card",
  "file",
  "feedback",
  "push",
  "upload",
  "download",
  "events",
  "welcome",
  "update",
  "items",
  "quote",
  "conversation",
  "outcomes",
  "state",
  "census",
] as const;

/** One of them. */
export type Ability = (typeof abilities)[number];

/** The first thing a testee says. */
export interface Hello {
  readonly hello: 1;
  /** Name and version of the client. */
  readonly client: string;
  readonly can: readonly Ability[];
  /** Whether the client obeys the durations of `start`. */
  readonly scaled: boolean;
}

/** With what a client is started. Durations in milliseconds; absent in the real lane. */
export interface Given {
  readonly url: string;
  readonly botId: string;
  readonly secret: string;
  /** The bot's display name: in a group every text begins with `@` and this. */
  readonly botName: string;
  /** An empty folder for what the client stores. */
  readonly dir: string;
  readonly heartbeatMs?: number;
  readonly ackMs?: number;
  readonly backoffBaseMs?: number;
}

/** The same as a bot of the observe tier finds it in its environment. */
export const environmentOf = (given: Omit<Given, "dir">): Record<string, string> => ({
  WECOM_BOT_ID: given.botId,
  WECOM_BOT_SECRET: given.secret,
  WECOM_BOT_WS_URL: given.url,
  WECOM_BOT_NAME: given.botName,
  ...(given.heartbeatMs === undefined ? {} : { WECOM_HEARTBEAT_MS: String(given.heartbeatMs) }),
  ...(given.ackMs === undefined ? {} : { WECOM_ACK_MS: String(given.ackMs) }),
  ...(given.backoffBaseMs === undefined ? {} : { WECOM_BACKOFF_BASE_MS: String(given.backoffBaseMs) }),
});

/** A file to make up: so many bytes, any bytes. */
export interface FileGiven {
  readonly type: "file" | "image" | "voice" | "video";
  readonly filename: string;
  readonly sizeBytes: number;
}

/** A `template_card` as on the wire; without `task_id`, save for updates. */
export type Card = Readonly<Record<string, unknown>>;

/** How a handler is to end: see TESTEE.md, "What to answer". */
export interface ReplyOp {
  readonly op: "reply";
  /** The `key` of the message. */
  readonly to: string;
  readonly text?: string;
  /** What is added to the text, part by part. */
  readonly parts?: readonly string[];
  readonly everyMs?: number;
  readonly then?: "throw";
  readonly throw?: string;
  readonly nothing?: true;
  readonly card?: Card;
  readonly file?: FileGiven;
  readonly feedbackId?: string;
}

/** What the suite asks, without its id. */
export type Op =
  | ({ readonly op: "start" } & Given)
  | { readonly op: "stop" }
  | ReplyOp
  | {
      readonly op: "push";
      readonly chatid: string;
      readonly chattype: "single" | "group";
      readonly text?: string;
      readonly card?: Card;
      readonly file?: FileGiven;
    }
  | ({ readonly op: "upload" } & FileGiven)
  | { readonly op: "download"; readonly to: string; readonly item: number }
  | { readonly op: "welcome"; readonly to: string; readonly text: string }
  | { readonly op: "update"; readonly to: string; readonly card: Card }
  | { readonly op: "state" }
  | { readonly op: "census" };

/** What the client said became of it. */
export type Outcome =
  | "acked"
  | "refused"
  | "timed-out"
  | "connection-lost"
  | "unknown"
  | "not-sent"
  | "failed"
  | "done"
  | "unsupported";

/** What a client says about itself. */
export type State = "connecting" | "ready" | "kicked" | "refused" | "stopped";

/** The answer to an operation. */
export interface Answer {
  readonly outcome: Outcome;
  /** For people. */
  readonly reason?: string | undefined;
  readonly errcode?: number | undefined;
  readonly mediaId?: string | undefined;
  /** In hex, of the decrypted bytes. */
  readonly sha256?: string | undefined;
  readonly filename?: string | undefined;
  readonly path?: string | undefined;
  readonly state?: State | undefined;
  readonly counts?: Readonly<Record<string, number>> | undefined;
}

/** One piece of a message. */
export type Item =
  | { readonly type: "text"; readonly text: string }
  | {
      readonly type: "image" | "file" | "video" | "voice";
      readonly url?: string | undefined;
      readonly aeskey?: string | undefined;
    };

/** A message, as the client handed it to its application. */
export interface MessageReport {
  readonly event: "message";
  /** The testee's own name for it, never twice in one process. */
  readonly key: string;
  readonly msgtype: string;
  readonly msgid?: string | undefined;
  readonly userid?: string | undefined;
  readonly chatid?: string | undefined;
  readonly chattype?: string | undefined;
  readonly text?: string | undefined;
  readonly items?: readonly Item[] | undefined;
  readonly quote?:
    | { readonly msgtype: string; readonly text?: string | undefined; readonly items?: readonly Item[] | undefined }
    | undefined;
  readonly conversation?: string | undefined;
}

/** An event, as the client handed it to its application. */
export interface EventReport {
  readonly event: "event";
  readonly key: string;
  readonly eventtype: string;
  readonly msgid?: string | undefined;
  readonly userid?: string | undefined;
  readonly chatid?: string | undefined;
  readonly eventKey?: string | undefined;
  readonly taskId?: string | undefined;
  readonly selected?: Readonly<Record<string, readonly string[]>> | undefined;
}

/** What a testee reports. */
export type Reported = MessageReport | EventReport;

/** A client in the suite's hands, for one case: an operation each. What throws becomes the outcome `failed`. */
export type TesteeClient = {
  readonly [Name in Op["op"] as Exclude<Name, "start">]?: (op: Extract<Op, { op: Name }>) => Promise<Answer> | Answer;
} & { readonly stop: () => Promise<Answer> | Answer; readonly reply: (op: ReplyOp) => Promise<Answer> | Answer };

/** A testee in TypeScript. */
export interface Testee {
  readonly client: string;
  readonly can: readonly Ability[];
  readonly scaled: boolean;
  /** Makes a client of its own and lets it connect; `report` takes what it hands to its application. */
  readonly start: (given: Given, report: (event: Reported) => void) => TesteeClient | Promise<TesteeClient>;
}

const text = z.string();
const item = z.union([
  z.object({ type: z.literal("text"), text }),
  z.object({
    type: z.enum(["image", "file", "video", "voice"]),
    url: text.nullish().transform(absent),
    aeskey: text.nullish().transform(absent),
  }),
]);
// Languages differ in whether they leave a member out or write null.
const some = text.nullish().transform(absent);
const items = z.array(item).nullish().transform(absent);

const helloSchema = z.object({
  hello: z.literal(1),
  client: text.min(1),
  can: z.array(z.enum(abilities)),
  scaled: z.boolean(),
});

const answerSchema = z.object({
  id: z.number(),
  outcome: z.enum([
    "acked",
    "refused",
    "timed-out",
    "connection-lost",
    "unknown",
    "not-sent",
    "failed",
    "done",
    "unsupported",
  ]),
  reason: some,
  errcode: z.number().nullish().transform(absent),
  mediaId: some,
  sha256: some,
  filename: some,
  path: some,
  state: z.enum(["connecting", "ready", "kicked", "refused", "stopped"]).nullish().transform(absent),
  counts: z.record(text, z.number()).nullish().transform(absent),
});

const reportSchema = z.discriminatedUnion("event", [
  z.object({
    event: z.literal("message"),
    key: text.min(1),
    msgtype: text,
    msgid: some,
    userid: some,
    chatid: some,
    chattype: some,
    text: some,
    items,
    quote: z.object({ msgtype: text, text: some, items }).nullish().transform(absent),
    conversation: some,
  }),
  z.object({
    event: z.literal("event"),
    key: text.min(1),
    eventtype: text,
    msgid: some,
    userid: some,
    chatid: some,
    eventKey: some,
    taskId: some,
    selected: z.record(text, z.array(text)).nullish().transform(absent),
  }),
]);

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
