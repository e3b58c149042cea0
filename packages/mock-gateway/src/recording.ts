/**
 * Reads what `openws-gateway record` wrote, and makes golden frames of it.
 *
 * It pairs each command with its ack and each frame with its connection, and knows nothing of what the gateway ought to have
 * done: that is observations.ts. A line that cannot be read is counted, never fatal: recordings end in the middle of a line.
 */
import { cmd, decodeClientFrame, decodeGatewayFrame, escapeControlCharacters } from "@openws/protocol/frames";
import type { Fields } from "./session.ts";

/** One thing that crossed the proxy. */
export interface Crossing {
  readonly seq: number;
  /** Milliseconds since the recording began. */
  readonly at: number;
  readonly connection: number;
  readonly dir: "in" | "out";
  readonly what: "open" | "message" | "ping" | "pong" | "close" | "cut" | "refused";
  readonly text?: string;
  readonly bytes?: number;
  readonly binary?: true;
  readonly code?: number;
  /** The message as JSON, where it is an object; read as tolerantly as clients do. */
  readonly frame?: Fields;
  readonly cmd?: string;
  readonly reqId?: string;
}

/** A command of the bot and its ack. */
export interface Asked {
  readonly cmd: string;
  readonly reqId: string;
  readonly body: Fields;
  readonly sent: Crossing;
  readonly ack: Crossing | undefined;
  readonly errcode: number | undefined;
}

/** A recording, put in order. */
export interface Recording {
  readonly date: string;
  readonly crossings: readonly Crossing[];
  /** Commands in the order they were sent. */
  readonly asked: readonly Asked[];
  /** Messages and events of the gateway, in order. */
  readonly callbacks: readonly Crossing[];
  /** By connection: when its first successful subscribe was acknowledged. */
  readonly subscribedAt: ReadonlyMap<number, number>;
  /** By connection: its disconnected_event. */
  readonly kicks: ReadonlyMap<number, Crossing>;
  /** By req_id; the first where one came again. */
  readonly callbackOf: ReadonlyMap<string, Crossing>;
  /** The frames of each stream, in order; by {@link streamKey}. */
  readonly streams: ReadonlyMap<string, readonly Asked[]>;
  /** Lines that could not be read. */
  readonly unreadable: number;
}

/** Which stream a command is a frame of, if it is. */
export const streamKey = ({ reqId, body }: Asked): string | undefined => {
  const { id } = fieldsOf(body["stream"]);
  return typeof id === "string" ? `${reqId} ${id}` : undefined;
};

/** The type of an event callback. */
export const eventtypeOf = ({ frame }: Crossing): unknown =>
  fieldsOf(fieldsOf(fieldsOf(frame)["body"])["event"])["eventtype"];

/** Reads a recording. Throws a `RangeError` of one sentence when the text is none. */
export const readRecording = (text: string): Recording => {
  const [first = "", ...rest] = text.split("\n");
  const header = parse(first);
  if (header?.["openwsRecording"] !== 1)
    throw new RangeError("this is no recording: its first line must be that of openws-gateway record");

  let unreadable = 0;
  const crossings: Crossing[] = [];
  for (const line of rest) {
    if (line.trim() === "") continue;
    const crossing = parse(line) as Crossing | undefined;
    if (typeof crossing?.seq === "number" && typeof crossing.connection === "number")
      crossings.push(withFrame(crossing));
    else unreadable++;
  }

  const waiting = new Map<string, Writable<Asked>[]>();
  const asked: Writable<Asked>[] = [];
  const callbacks: Crossing[] = [];
  for (const crossing of crossings) {
    if (!crossing.frame || crossing.reqId === undefined) continue;
    const key = `${crossing.connection} ${crossing.reqId}`;
    if (crossing.dir === "in" && crossing.cmd !== undefined) {
      const made: Writable<Asked> = {
        cmd: crossing.cmd,
        reqId: crossing.reqId,
        body: fieldsOf(crossing.frame["body"]),
        sent: crossing,
        ack: undefined,
        errcode: undefined,
      };
      asked.push(made);
      waiting.set(key, [...(waiting.get(key) ?? []), made]);
    } else if (crossing.dir === "out" && crossing.cmd === undefined) {
      const owed = waiting.get(key)?.shift();
      if (!owed) continue;
      owed.ack = crossing;
      owed.errcode = Number(crossing.frame["errcode"] ?? 0);
    } else if (crossing.dir === "out") callbacks.push(crossing);
  }
  const subscribes = asked.filter((one) => one.cmd === cmd.subscribe && one.errcode === 0).toReversed();
  const kicks = callbacks.filter((callback) => eventtypeOf(callback) === "disconnected_event").toReversed();
  const streams = Map.groupBy(asked, (one) => streamKey(one) ?? "");
  streams.delete("");
  return {
    date: typeof header["date"] === "string" ? header["date"] : "",
    crossings,
    asked,
    callbacks,
    subscribedAt: new Map(subscribes.map(({ sent, ack }) => [sent.connection, ack!.at])),
    kicks: new Map(kicks.map((kick) => [kick.connection, kick])),
    callbackOf: new Map(callbacks.toReversed().map((callback) => [callback.reqId!, callback])),
    streams,
    unreadable,
  };
};

/** A golden frame, as the files of spec/vectors have it. */
export interface RecordedVector {
  readonly id: string;
  readonly direction: "client" | "gateway";
  /** What the schemas say today; to be judged by whoever takes the vector over. */
  readonly valid: boolean;
  readonly source: string;
  readonly path?: string;
  readonly repaired?: true;
  readonly decoded?: Readonly<Record<string, unknown>>;
  readonly frame?: unknown;
  readonly text?: string;
}

/** One vector for each shape of frame that occurs: the first of its kind. */
export const vectorsOf = ({ crossings, asked, date }: Recording): RecordedVector[] => {
  const acks = new Map(asked.flatMap((one) => (one.ack ? [[one.ack, one.cmd] as const] : [])));
  const shapes = new Set<string>();
  const ids = new Map<string, number>();
  const vectors: RecordedVector[] = [];
  for (const crossing of crossings) {
    if (!crossing.frame || crossing.text === undefined) continue;
    const name = nameOf(crossing, acks.get(crossing));
    const shape = `${name} ${crossing.dir} ${shapeOf(crossing.frame)} ${writing(crossing.text)}`;
    if (shapes.has(shape)) continue;
    shapes.add(shape);
    const count = (ids.get(name) ?? 0) + 1;
    ids.set(name, count);
    vectors.push({
      id: `recorded-${name}${count === 1 ? "" : `.${count}`}`,
      direction: crossing.dir === "in" ? "client" : "gateway",
      ...judged(crossing),
      source: `recording of ${date}, line ${crossing.seq}`,
      ...(writing(crossing.text) === "" ? { frame: crossing.frame } : { text: crossing.text }),
    });
  }
  return vectors;
};

/** Writes out `{"$repeat": S, "times": N}`, by which a recording and a vector stand for long strings. */
export const expand = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(expand);
  if (typeof value !== "object" || value === null) return value;
  const { $repeat: part, times } = value as Fields;
  if (typeof part === "string" && typeof times === "number") return part.repeat(Math.min(times, maxRepeats));
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, expand(member)]));
};

/** Members of an object; none of anything else. */
export const fieldsOf = (value: unknown): Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

const maxRepeats = 64 * 1024 * 1024;

const parse = (text: string): Fields | undefined => {
  try {
    const json: unknown = JSON.parse(text);
    return typeof json === "object" && json !== null && !Array.isArray(json) ? (json as Fields) : undefined;
  } catch {
    return undefined;
  }
};

const withFrame = (crossing: Crossing): Crossing => {
  if (crossing.what !== "message" || crossing.text === undefined) return crossing;
  const frame = parse(escapeControlCharacters(crossing.text));
  if (!frame) return crossing;
  const reqId = fieldsOf(frame["headers"])["req_id"];
  return {
    ...crossing,
    frame,
    ...(typeof frame["cmd"] === "string" && frame["cmd"] !== "" ? { cmd: frame["cmd"] } : {}),
    ...(typeof reqId === "string" ? { reqId } : {}),
  };
};

const nameOf = ({ cmd: command, frame }: Crossing, acked: string | undefined): string => {
  const body = fieldsOf(frame!["body"]);
  const kind = fieldsOf(body["event"])["eventtype"] ?? body["msgtype"];
  const words =
    command === undefined ? ["ack", acked ?? "unasked", JSON.stringify(frame!["errcode"] ?? 0)] : [command, kind];
  return words.filter((part) => typeof part === "string" && part !== "").join("-");
};

const judged = ({ dir, frame, text }: Crossing): Pick<RecordedVector, "valid" | "path" | "repaired" | "decoded"> => {
  const wire = text!.includes('"$repeat"') ? JSON.stringify(expand(frame)) : text!;
  const read = dir === "in" ? decodeClientFrame(wire) : decodeGatewayFrame(wire);
  if ("bad" in read) return { valid: false, path: read.bad.path };
  if (dir === "in") return { valid: true };
  const { kind, known, req_id, errcode } = read.ok as unknown as Fields;
  const decoded = Object.fromEntries(
    Object.entries({ kind, known, req_id, errcode }).filter(([, value]) => value !== undefined),
  );
  return { valid: true, ...(read.notes.length > 0 ? { repaired: true as const } : {}), decoded };
};

/** What of the spelling would be lost if the frame were written as JSON again. */
const writing = (text: string): string =>
  (/\\\//.test(text) ? "slash " : "") +
  (/\\u[0-9a-fA-F]{4}/.test(text) ? "escape " : "") +
  (escapeControlCharacters(text) === text ? "" : "control ");

/** Members and their kinds; words of the protocol by value, since other values make other frames. */
const shapeOf = (value: unknown, name = ""): string => {
  if (Array.isArray(value)) return `[${[...new Set(value.map((item) => shapeOf(item, name)))].join("|")}]`;
  if (typeof value === "object" && value !== null)
    return `{${Object.entries(value)
      .map(([key, member]) => `${key}:${shapeOf(member, key)}`)
      .toSorted()
      .join(",")}}`;
  return words.has(name) ? JSON.stringify(value) : value === null ? "null" : typeof value;
};

const words = new Set([
  "cmd",
  "msgtype",
  "eventtype",
  "chattype",
  "card_type",
  "response_type",
  "errcode",
  "chat_type",
  "finish",
]);

/** Whether a command is answered on the req_id of a callback. */
export const answersCallback = (command: string): boolean =>
  command === cmd.respond || command === cmd.welcome || command === cmd.update || command === cmd.enterCheck;
