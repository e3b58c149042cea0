/**
 * What must hold of any wire log, whatever the gateway did: rules that need no situation of their own. They judge random
 * histories (properties.ts) and clients that somebody attached by hand (`serve`).
 *
 * Each rule has the id of the requirement that it is a consequence of, and reads the log alone, with a bare JSON.parse. A rule
 * that had no occasion says nothing. Time decides only where a requirement is about time, by the lane's scale.
 */
import type { Lane, Line } from "./check.ts";
import { contentOf, objectAt, stringAt, type Frame, type Wire } from "./wire.ts";

/** What a rule saw. */
export interface Sighting {
  readonly id: string;
  readonly kept: boolean;
  readonly message: string;
  readonly evidence: readonly Frame[];
}

/** What a rule may ask. */
interface Scene {
  readonly wire: Wire;
  readonly lane: Lane;
  readonly secret: string;
  /** What the client sent. */
  readonly sent: readonly Frame[];
  /** By req_id: the callbacks that the client was sent. */
  readonly callbacks: ReadonlyMap<string, Frame>;
  /** The frames of each stream, by its id, in order. */
  readonly streams: ReadonlyMap<string, readonly Frame[]>;
}

interface Rule {
  readonly id: string;
  /** What is wrong, for a message; the frames that show it, each a breach of its own. Undefined: no occasion. */
  readonly breaches: (scene: Scene) => readonly Frame[] | undefined;
  readonly wrong: string;
}

/** Judges a log: a sighting for each rule that had an occasion. */
export const judgeLog = (wire: Wire, lane: Lane, secret: string): Sighting[] => {
  const sent = wire.sent();
  const callbacks = new Map<string, Frame>();
  for (const frame of wire.all) {
    if (frame.dir !== "out") continue;
    // A callback with raw control characters is no JSON, and may be answered all the same.
    const reqId = frame.reqId ?? (frame.json === undefined ? /"req_id":"([^"]+)"/.exec(frame.text)?.[1] : undefined);
    if (reqId !== undefined && callbackCommands.has(frame.cmd ?? "aibot_msg_callback")) callbacks.set(reqId, frame);
  }
  const streams = Map.groupBy(
    sent.filter((frame) => streamIdOf(frame) !== undefined),
    (frame) => streamIdOf(frame)!,
  );
  const scene = { wire, lane, secret, sent, callbacks, streams };
  return rules.flatMap(({ id, breaches, wrong }): Sighting[] => {
    const found = breaches(scene);
    if (found === undefined) return [];
    const message =
      found.length === 0 ? "kept throughout" : `${wrong}${found.length === 1 ? "" : `, ${found.length} times`}`;
    return [{ id, kept: found.length === 0, message, evidence: found.slice(0, 4) }];
  });
};

/** The ids of the rules. */
export const oracleIds = (): string[] => rules.map(({ id }) => id);

const callbackCommands = new Set(["aibot_msg_callback", "aibot_event_callback"]);
const replyTypes = new Set(["stream", "markdown", "template_card", "file", "image", "voice", "video"]);
const pushTypes = new Set(["markdown", "template_card", "file", "image", "voice", "video"]);
const maxContentBytes = 20_480;
const maxChunkBytes = 512 * 1024;

const bytesOf = (text: string): number => new TextEncoder().encode(text).length;
const isReply = ({ cmd }: Frame): boolean => cmd?.startsWith("aibot_respond_") === true;
const streamIdOf = (frame: Frame): string | undefined =>
  frame.cmd === "aibot_respond_msg" ? stringAt(objectAt(frame.body, "stream"), "id") : undefined;
const finishes = (frame: Frame): boolean => objectAt(frame.body, "stream")["finish"] === true;
const errcodeOf = (ack: Frame | undefined): unknown => ack?.json?.["errcode"];

/** Breaches among frames of which there may be none: no occasion then. */
const among = (frames: readonly Frame[], bad: (frame: Frame, at: number) => boolean): Frame[] | undefined =>
  frames.length === 0 ? undefined : frames.filter(bad);

/** By connection, when its subscribe was accepted. */
const subscribedAt = ({ wire }: Scene): Map<number, Frame> => {
  const accepted = new Map<number, Frame>();
  for (const ack of wire.subscribed()) if (!accepted.has(ack.connection)) accepted.set(ack.connection, ack);
  return accepted;
};

/** Kicks that were told to the client. */
const kicks = ({ wire }: Scene): Frame[] =>
  wire.all.filter(({ dir, body }) => dir === "out" && objectAt(body, "event")["eventtype"] === "disconnected_event");

const rules: readonly Rule[] = [
  {
    id: "CONN-1",
    wrong: "a frame is not one JSON object in one text message",
    breaches: ({ sent }) => among(sent, ({ json, binary }) => json === undefined || binary),
  },
  {
    id: "CONN-3",
    wrong: "headers.req_id is no string of 1 to 256 bytes",
    breaches: ({ sent }) =>
      among(
        sent,
        ({ json, reqId }) => json !== undefined && (reqId === undefined || reqId === "" || bytesOf(reqId) > 256),
      ),
  },
  {
    id: "CONN-4",
    wrong: "a req_id came for the second time on its connection",
    breaches: ({ sent, wire }) => (sent.length === 0 ? undefined : wire.repeatedIds()),
  },
  {
    id: "AUTH-1",
    wrong: "the first frame of a connection is no aibot_subscribe",
    breaches: ({ sent }) =>
      among(
        [...Map.groupBy(sent, ({ connection }) => connection).values()].map(([first]) => first!),
        ({ cmd }) => cmd !== "aibot_subscribe",
      ),
  },
  {
    id: "AUTH-2",
    wrong: "a command was sent before the subscribe had its ack",
    breaches: (scene) => {
      const accepted = subscribedAt(scene);
      return among(scene.sent, ({ cmd, connection, seq }) => {
        if (cmd === "aibot_subscribe" || cmd === "ping") return false;
        return !((accepted.get(connection)?.seq ?? Infinity) < seq);
      });
    },
  },
  {
    id: "AUTH-11b",
    wrong: "a subscribed connection was subscribed again",
    breaches: (scene) => {
      const accepted = subscribedAt(scene);
      return among(
        scene.sent.filter(({ cmd }) => cmd === "aibot_subscribe"),
        ({ connection, seq }) => (accepted.get(connection)?.seq ?? Infinity) < seq,
      );
    },
  },
  {
    id: "REPLY-1",
    wrong: "a reply has a req_id of no callback",
    breaches: ({ sent, callbacks }) => among(sent.filter(isReply), ({ reqId }) => !callbacks.has(reqId ?? "")),
  },
  {
    id: "REPLY-2",
    wrong: "a msgtype that aibot_respond_msg does not have",
    breaches: ({ sent }) =>
      among(
        sent.filter(({ cmd }) => cmd === "aibot_respond_msg"),
        ({ body }) => !replyTypes.has(stringAt(body, "msgtype") ?? ""),
      ),
  },
  {
    id: "REPLY-3",
    wrong: "a frame was sent while the one before it, under the same req_id, waited for its ack",
    breaches: ({ sent, wire, lane }) =>
      among(sent.filter(isReply), (frame) => {
        const before = sent.findLast(
          ({ seq, reqId, connection, cmd }) =>
            seq < frame.seq && reqId === frame.reqId && connection === frame.connection && cmd === frame.cmd,
        );
        if (before === undefined) return false;
        const ack = wire.ackOf(before);
        // Who waits two seconds for an ack and goes on without it has waited.
        return (ack === undefined || ack.seq > frame.seq) && frame.at - before.at < 2_000 * lane.scale;
      }),
  },
  {
    id: "REPLY-4a",
    wrong: "a req_id was used again after it was refused with 846604 or 846605",
    breaches: ({ sent, wire }) => {
      const refused = sent
        .filter(({ cmd }) => cmd === "aibot_respond_msg")
        .map((frame) => wire.ackOf(frame))
        .filter((ack) => errcodeOf(ack) === 846604 || errcodeOf(ack) === 846605);
      if (refused.length === 0) return undefined;
      // What was under way when the refusal came is no repetition.
      return sent.filter(
        (frame) => isReply(frame) && refused.some((ack) => ack!.reqId === frame.reqId && ack!.at < frame.at - 200),
      );
    },
  },
  {
    id: "STREAM-1a",
    wrong: "a frame does not begin with the text of the one before",
    breaches: ({ streams }) =>
      all([...streams.values()], (frames) =>
        frames.filter(
          (frame, at) =>
            at > 0 &&
            !contentOf(frame).startsWith(
              contentOf(frames[at - 1]!)
                .trimEnd()
                .replace(unfinished, ""),
            ),
        ),
      ),
  },
  {
    id: "STREAM-2a",
    wrong: "a frame follows the finishing one of its stream",
    breaches: ({ streams, wire }) =>
      all([...streams.values()], (frames) => {
        const end = frames.find((frame) => finishes(frame) && errcodeOf(wire.ackOf(frame)) === 0);
        return end === undefined ? [] : frames.filter(({ seq }) => seq > (wire.ackOf(end)?.seq ?? end.seq));
      }),
  },
  {
    id: "STREAM-3a",
    wrong: `stream.content has more than ${maxContentBytes} bytes`,
    breaches: ({ streams }) =>
      among([...streams.values()].flat(), (frame) => bytesOf(contentOf(frame)) > maxContentBytes),
  },
  {
    id: "STREAM-3b",
    wrong: "a character was cut in two",
    breaches: ({ streams }) =>
      among(
        [...streams.values()].flat(),
        (frame) => !contentOf(frame).isWellFormed() || contentOf(frame).includes("\ufffd"),
      ),
  },
  {
    id: "STREAM-9",
    wrong: "stream.msg_item on the long connection",
    breaches: ({ streams }) =>
      among([...streams.values()].flat(), ({ body }) => "msg_item" in objectAt(body, "stream")),
  },
  {
    id: "PUSH-1b",
    wrong: "a push says no chat_type 1 or 2",
    breaches: ({ sent }) => among(pushes(sent), ({ body }) => body["chat_type"] !== 1 && body["chat_type"] !== 2),
  },
  {
    id: "PUSH-1c",
    wrong: "a push has a msgtype that aibot_send_msg does not have",
    breaches: ({ sent }) => among(pushes(sent), ({ body }) => !pushTypes.has(stringAt(body, "msgtype") ?? "")),
  },
  {
    id: "PUSH-6",
    wrong: `markdown.content has more than ${maxContentBytes} bytes`,
    breaches: ({ sent }) =>
      among(
        sent.filter(({ body }) => body["msgtype"] === "markdown"),
        (frame) => bytesOf(contentOf(frame)) > maxContentBytes,
      ),
  },
  {
    id: "UPLOAD-1c",
    wrong: "a chunk has more than 512 KiB",
    breaches: ({ sent }) =>
      among(
        sent.filter(({ cmd }) => cmd === "aibot_upload_media_chunk"),
        ({ body }) => ((stringAt(body, "base64_data")?.length ?? 0) * 3) / 4 > maxChunkBytes + 2,
      ),
  },
  {
    id: "KICK-1b",
    wrong: "something was sent more than a second after a kick, on the same connection",
    breaches: (scene) =>
      all(kicks(scene), (kick) =>
        scene.sent.filter(
          ({ cmd, connection, at }) =>
            connection === kick.connection && cmd !== "ping" && at > kick.at + 1_000 * scene.lane.scale + 600,
        ),
      ),
  },
  {
    id: "KICK-3a",
    wrong: "a connection was opened within ten seconds of a kick",
    breaches: (scene) =>
      all(kicks(scene), (kick) =>
        scene.wire.opened(kick.seq).filter(({ at }) => at < kick.at + 10_000 * scene.lane.scale - 50),
      ),
  },
  {
    id: "ROBUST-4b",
    wrong: "the secret stands in something that is no subscribe",
    breaches: ({ sent, secret }) =>
      among(
        sent.filter(({ cmd }) => cmd !== "aibot_subscribe"),
        ({ text }) => text.includes(secret),
      ),
  },
];

/** A client may close what is open, such as a code fence, at the end of a frame that is not the last. */
const unfinished = /[`*_~\s…]*$/u;

const pushes = (sent: readonly Frame[]): Frame[] => sent.filter(({ cmd }) => cmd === "aibot_send_msg");

/** Breaches of several occasions; undefined where there are none. */
const all = <Occasion>(
  occasions: readonly Occasion[],
  breaches: (occasion: Occasion) => readonly Frame[],
): Frame[] | undefined => (occasions.length === 0 ? undefined : occasions.flatMap(breaches));

/** A frame as a report keeps it, in milliseconds since then. */
export const lineOf = (frame: Frame, since: number): Line => ({
  atMs: Math.round(frame.at - since),
  connection: frame.connection,
  dir: frame.dir,
  text: frame.text.length > 2_000 ? `${frame.text.slice(0, 2_000)}… (${frame.text.length} characters)` : frame.text,
});
