/**
 * Questions to the wire log of one case: which frames, which sockets, which answers, in which order and when.
 *
 * It reads the raw texts with a bare JSON.parse. It knows nothing of the schemas of our own client and nothing of what the
 * mock gateway made of a frame, so that neither's mistake can become a verdict.
 */
import type { LogEntry } from "@openws/mock-gateway";

/** An object that came out of JSON.parse. */
export type Json = Readonly<Record<string, unknown>>;

/** One line of the log, and what its text says. */
export interface Frame {
  readonly seq: number;
  /** Milliseconds on the monotonic clock of the harness. */
  readonly at: number;
  readonly connection: number;
  readonly dir: LogEntry["dir"];
  readonly text: string;
  readonly binary: boolean;
  /** Undefined where the text is no JSON object. */
  readonly json: Json | undefined;
  /** `cmd`, where it is a string. */
  readonly cmd: string | undefined;
  /** `headers.req_id`, where it is a string. */
  readonly reqId: string | undefined;
  /** `body`, or an empty object. */
  readonly body: Json;
}

/** The member of an object as an object; empty where it is none. */
export const objectAt = (json: Json | undefined, member: string): Json => {
  const value = json?.[member];
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};
};

/** The member of an object as a string. */
export const stringAt = (json: Json | undefined, member: string): string | undefined => {
  const value = json?.[member];
  return typeof value === "string" ? value : undefined;
};

/** Commands whose req_id the client chooses. */
const ownCommands = new Set([
  "aibot_subscribe",
  "ping",
  "aibot_send_msg",
  "aibot_upload_media_init",
  "aibot_upload_media_chunk",
  "aibot_upload_media_finish",
]);

/** The log of one gateway, asked again and again while it grows. */
export class Wire {
  readonly #log: (after: number) => readonly LogEntry[];
  readonly #frames: Frame[] = [];
  readonly #sent: Frame[] = [];

  constructor(log: (after: number) => readonly LogEntry[]) {
    this.#log = log;
  }

  /** Everything so far, oldest first. Each line is read once. */
  get all(): readonly Frame[] {
    for (const entry of this.#log(this.#frames.at(-1)?.seq ?? 0)) {
      const frame = frameOf(entry);
      this.#frames.push(frame);
      if (frame.dir === "in") this.#sent.push(frame);
    }
    return this.#frames;
  }

  /** Everything that the client sent so far, oldest first. */
  get fromClient(): readonly Frame[] {
    void this.all;
    return this.#sent;
  }

  /** What the client sent: with this cmd, if one is named, and after this line. */
  sent(cmd?: string, after = 0): Frame[] {
    return this.fromClient.filter((frame) => frame.seq > after && (cmd === undefined || frame.cmd === cmd));
  }

  /** What the client sent but pings. */
  business(after = 0): Frame[] {
    return this.sent(undefined, after).filter(({ cmd }) => cmd !== "ping");
  }

  /** Sockets that were opened, oldest first. */
  opened(after = 0): Frame[] {
    return this.all.filter(({ dir, seq, text }) => dir === "socket" && seq > after && text.startsWith("opened"));
  }

  /** The line that says that this socket was ended, by the client if it is so asked. */
  ended(connection: number, by: "client" | "anybody" = "anybody"): Frame | undefined {
    const how = by === "client" ? /^closed \d/ : /^(?:closed|reset|cut)/;
    return this.all.find((frame) => frame.dir === "socket" && frame.connection === connection && how.test(frame.text));
  }

  /** The gateway's acknowledgement of a frame. */
  ackOf(asked: Frame): Frame | undefined {
    return this.all.find(
      ({ seq, dir, connection, json, cmd, reqId }) =>
        seq > asked.seq &&
        dir === "out" &&
        connection === asked.connection &&
        cmd === undefined &&
        json !== undefined &&
        reqId === asked.reqId,
    );
  }

  /** Subscribes that the gateway accepted: the acks, oldest first. */
  subscribed(after = 0): Frame[] {
    return this.sent("aibot_subscribe")
      .map((frame) => this.ackOf(frame))
      .filter((ack) => ack !== undefined)
      .filter(({ json, seq }) => json?.["errcode"] === 0 && seq > after);
  }

  /** The callbacks with this msgid, as they went out. */
  callbacks(msgid: string): Frame[] {
    return this.all.filter(({ dir, body }) => dir === "out" && body["msgid"] === msgid);
  }

  /**
   * What ends an answer: a one-shot message or a finishing stream frame under one of the req_ids, or a push into the chat
   * after the line. Whether the gateway took it does not matter.
   */
  answers(reqIds: readonly string[], chat: string, after = 0): Frame[] {
    return this.sent(undefined, after).filter(({ cmd, reqId, body }) => {
      if (cmd === "aibot_send_msg") return body["chatid"] === chat;
      if (cmd !== "aibot_respond_msg" || reqId === undefined || !reqIds.includes(reqId)) return false;
      return body["msgtype"] !== "stream" || objectAt(body, "stream")["finish"] === true;
    });
  }

  /** Req_ids that the client chose, by connection, more than once. */
  repeatedIds(): Frame[] {
    const seen = new Set<string>();
    return this.sent().filter(({ cmd, connection, reqId }) => {
      if (cmd === undefined || !ownCommands.has(cmd) || reqId === undefined) return false;
      const key = `${connection} ${reqId}`;
      const again = seen.has(key);
      seen.add(key);
      return again;
    });
  }
}

/** The text that a frame shows to the user: of a stream frame, of markdown, or of a text. */
export const contentOf = ({ body }: Frame): string =>
  stringAt(objectAt(body, "stream"), "content") ??
  stringAt(objectAt(body, "markdown"), "content") ??
  stringAt(objectAt(body, "text"), "content") ??
  "";

const frameOf = ({ seq, transportAt, connection, dir, text, binary }: LogEntry): Frame => {
  const json = dir === "socket" ? undefined : parsed(text);
  return {
    seq,
    at: transportAt,
    connection,
    dir,
    text,
    binary: binary === true,
    json,
    cmd: stringAt(json, "cmd"),
    reqId: stringAt(objectAt(json, "headers"), "req_id"),
    body: objectAt(json, "body"),
  };
};

const parsed = (text: string): Json | undefined => {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : undefined;
  } catch {
    return undefined;
  }
};
