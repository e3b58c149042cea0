/**
 * The testee protocol as types: what the suite asks of a client's testee, and what it is told. TESTEE.md is the document.
 *
 * Decides what a line may hold; reading one is `testees/line.ts`. Knows neither processes nor checks, and imports nothing: a
 * testee that names its abilities starts once for each case. A testee in TypeScript implements `Testee`, and is judged
 * in-process or, behind `speak`, as a program.
 */

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

/** The types of files, as a message or an upload has them. */
export const fileTypes = ["file", "image", "voice", "video"] as const;

/** A file to make up: so many bytes, any bytes. */
export interface FileGiven {
  readonly type: (typeof fileTypes)[number];
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

/** What a client may say became of an operation. TESTEE.md explains each. */
export const outcomes = [
  "acked",
  "refused",
  "timed-out",
  "connection-lost",
  "unknown",
  "not-sent",
  "failed",
  "done",
  "unsupported",
] as const;

/** One of them. */
export type Outcome = (typeof outcomes)[number];

/** What a client may say about itself. */
export const states = ["connecting", "ready", "kicked", "refused", "stopped"] as const;

/** One of them. */
export type State = (typeof states)[number];

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
      readonly type: (typeof fileTypes)[number];
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
