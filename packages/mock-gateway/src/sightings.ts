/**
 * Ways of looking at a recording that the rules of observations.*.ts share: counting, pairing, measuring. They judge nothing
 * by themselves; what is expected is an argument.
 */
import type { ErrcodePlace } from "@openws/protocol/errors";
import { cmd } from "@openws/protocol/frames";
import { fieldsOf, streamKey, type Asked, type Crossing, type Recording } from "./recording.ts";
import type { Fields } from "./session.ts";

/** One way to look. */
export type Look = (recording: Recording) => Finding[];

/** What nobody could say for certain when the ledger was written. */
export const openQuestions = {
  "idle-timeout": "How long a silent client keeps its connection, before and after its subscribe",
  "second-subscribe": "What a second subscribe on one socket does",
  "idle-close": "With which close code, if any, an idle connection ends",
  redelivery: "Whether unanswered callbacks come again, and under which req_id",
  "upload-errcodes": "Which errcodes bad uploads meet, and whether a chunk_index may be a string or count from 1",
  "limit-errcodes": "Which errcodes over-long content and late answers to events meet",
  "refresh-quota": "Whether refreshes of a stream count towards 30 a minute",
  "stream-extras": "Whether stream_with_template_card and msg_item are taken",
  feedback: "Whether thumbs need a feedback id that begins with trace_",
  "respond-text": "Whether aibot_respond_msg takes text",
  "old-req-id": "Whether a req_id is good on a later connection",
  "rare-errcodes": "What 600039, 600011, 600041 and 40054 mean",
} as const;
export type OpenQuestion = keyof typeof openQuestions;

/** How one fact is looked for. */
export interface Rule {
  /** An id of spec/requirements.yaml. */
  readonly requirement: string;
  /** What it would settle. */
  readonly question?: OpenQuestion;
  readonly look: Look;
}

/** What one look found. */
export interface Finding {
  /** `new` is something the ledger has no word for; `measured` settles a figure or a dispute. */
  readonly verdict: "agrees" | "differs" | "new" | "measured";
  readonly seen: string;
  readonly at: readonly Crossing[];
}

/** One finding for those that pass and one for those that do not. */
export const sort = <Item>(
  items: readonly Item[],
  ok: (item: Item) => boolean,
  crossing: (item: Item) => Crossing,
  say: { agrees: (count: number) => string; differs: (count: number) => string },
): Finding[] => {
  const [good, bad] = [items.filter(ok), items.filter((item) => !ok(item))];
  return [
    ...(good.length > 0 ? [{ verdict: "agrees", seen: say.agrees(good.length), at: good.map(crossing) } as const] : []),
    ...(bad.length > 0 ? [{ verdict: "differs", seen: say.differs(bad.length), at: bad.map(crossing) } as const] : []),
  ];
};

/** Which errcodes a selection of commands met. */
export const met = (
  select: (asked: Asked, recording: Recording) => boolean,
  what: string,
  expected?: readonly number[],
): Look => {
  return (recording) => {
    const byCode = Map.groupBy(
      recording.asked.filter((asked) => asked.errcode !== undefined && select(asked, recording)),
      ({ errcode }) => errcode!,
    );
    return [...byCode].map(([errcode, asked]) => ({
      verdict: expected === undefined ? "measured" : expected.includes(errcode) ? "agrees" : "differs",
      seen: `${what}: errcode ${errcode}, ${asked.length} times`,
      at: asked.map(({ ack }) => ack!),
    }));
  };
};

export const latencies = (asked: readonly Asked[], what: string, [low, high]: readonly [number, number]): Finding[] => {
  const waits = asked.flatMap(({ sent, ack }) => (ack ? [ack.at - sent.at] : [])).toSorted((a, b) => a - b);
  if (waits.length === 0) return [];
  const mean = waits.reduce((sum, wait) => sum + wait, 0) / waits.length;
  const seen = `${what}: ${waits[0]!.toFixed(0)} to ${waits.at(-1)!.toFixed(0)} ms, mean ${mean.toFixed(0)} ms, ${waits.length} acks`;
  return [{ verdict: mean >= low && mean <= high ? "agrees" : "measured", seen, at: asked.map(({ sent }) => sent) }];
};

export const messagesOut = ({ crossings }: Recording): Crossing[] =>
  crossings.filter(({ dir, what, frame }) => dir === "out" && what === "message" && frame);
export const bodyOf = ({ frame }: Crossing): Fields => fieldsOf(frame?.["body"]);
export const streamOf = ({ body }: Asked): Fields => fieldsOf(body["stream"]);
export const byteLength = (value: unknown): number => (typeof value === "string" ? Buffer.byteLength(value) : 0);
export const itself = (crossing: Crossing): Crossing => crossing;

/** The connections, each with its crossings in order. */
export const connections = ({ crossings }: Recording): Crossing[][] => [
  ...Map.groupBy(crossings, ({ connection }) => connection).values(),
];

/** Where the gateway ended a connection. */
export const endedByGateway = (line: readonly Crossing[]): Crossing | undefined =>
  line.find(({ dir, what }) => dir === "out" && (what === "close" || what === "cut"));

export const how = ({ what, code }: Crossing): string =>
  what === "cut" ? "without a close frame" : `with close code ${code ?? "?"}`;

export const unsubscribedAt = ({ subscribedAt }: Recording, { connection, at }: Crossing): boolean =>
  (subscribedAt.get(connection) ?? Infinity) > at;

export const placeOf: Partial<Record<string, ErrcodePlace>> = {
  [cmd.subscribe]: "subscribe",
  [cmd.respond]: "reply",
  [cmd.welcome]: "reply",
  [cmd.update]: "card",
  [cmd.send]: "push",
  [cmd.uploadInit]: "upload",
  [cmd.uploadChunk]: "upload",
  [cmd.uploadFinish]: "upload",
};

const callbackMembers = ["msgid", "aibotid", "chatid", "chattype", "from", "create_time", "msgtype", "response_url"];
const parts = ["text", "image", "mixed", "voice", "file", "video"];
/** Members the ledger knows, by the name of the object they stand in. */
const knownMembers: Readonly<Record<string, readonly string[]>> = {
  "": ["cmd", "headers", "body", "errcode", "errmsg"],
  headers: ["req_id"],
  body: [...callbackMembers, ...parts, "quote", "event", "upload_id", "type", "media_id", "created_at"],
  from: ["userid", "corpid"],
  text: ["content"],
  voice: ["content"],
  image: ["url", "aeskey"],
  file: ["url", "aeskey"],
  video: ["url", "aeskey"],
  mixed: ["msg_item"],
  msg_item: ["msgtype", ...parts],
  quote: ["msgtype", ...parts],
  event: [
    "eventtype",
    "enter_chat",
    "template_card_event",
    "feedback_event",
    "disconnected_event",
    "auth_change_event",
    "enter_check_update",
  ],
  template_card_event: ["card_type", "event_key", "task_id", "selected_items"],
  feedback_event: ["id", "type", "content", "inaccurate_reason_list"],
  auth_change_event: ["auth_list"],
};

export const unknownMembers = (value: unknown, name: string): string[] => {
  if (Array.isArray(value)) return value.flatMap((item) => unknownMembers(item, name));
  const known = knownMembers[name];
  if (typeof value !== "object" || value === null || !known) return [];
  return Object.entries(value).flatMap(([key, member]) =>
    known.includes(key) ? unknownMembers(member, key) : [name === "" ? key : `${name}.${key}`],
  );
};

export const knownTypes = new Set([...parts, "event"]);
export const knownEvents = new Set(knownMembers["event"]);

export function some(
  crossings: readonly Crossing[],
  is: (crossing: Crossing) => boolean,
  what: string,
  verdict: Finding["verdict"] = "agrees",
): Finding[] {
  const at = crossings.filter(is);
  return at.length === 0 ? [] : [{ verdict, seen: `${at.length} ${what}`, at }];
}

export function presence(crossings: readonly Crossing[], member: string, what: string): Finding[] {
  const groups = Map.groupBy(crossings, (crossing) => member in bodyOf(crossing));
  return [...groups].map(([present, at]) => ({
    verdict: "measured",
    seen: `${at.length} ${what} ${present ? "with" : "without"} ${member}`,
    at,
  }));
}

export function afterKick({ kicks }: Recording, { connection, seq }: Crossing): boolean {
  return (kicks.get(connection)?.seq ?? Infinity) < seq;
}

export function streamAge(one: Asked, { streams }: Recording): number {
  const [first] = streams.get(streamKey(one) ?? "") ?? [];
  return first ? one.sent.at - first.sent.at : 0;
}

export function keysOf(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(keysOf);
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, member]) =>
    name === "aeskey" && typeof member === "string" ? [member] : keysOf(member),
  );
}
