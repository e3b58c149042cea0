/**
 * What a recording says about what is talked: callbacks, replies, streams, pushes, uploads, media.
 *
 * The table is the design: one rule for each fact. How rules look is sightings.ts, what becomes of what they see
 * observations.ts.
 */
import { cmd, maxContentBytes } from "@openws/protocol/frames";
import { answersCallback, eventtypeOf, expand, fieldsOf, streamKey, type Crossing } from "./recording.ts";
import {
  sort,
  met,
  messagesOut,
  bodyOf,
  streamOf,
  byteLength,
  unknownMembers,
  knownTypes,
  knownEvents,
  some,
  presence,
  streamAge,
  keysOf,
  type Rule,
} from "./sightings.ts";

/** In the order of the report. */
export const talkRules: readonly Rule[] = [
  {
    requirement: "GW-MSG-1",
    look: (recording) => {
      const found = new Map<string, Crossing[]>();
      for (const crossing of messagesOut(recording))
        for (const path of unknownMembers(crossing.frame, "")) found.set(path, [...(found.get(path) ?? []), crossing]);
      return [...found].map(([path, at]) => ({
        verdict: "new",
        seen: `a member nobody listed: ${path}, ${at.length} times`,
        at,
      }));
    },
  },
  {
    requirement: "GW-MSG-27",
    look: ({ callbacks }) =>
      some(
        callbacks,
        (crossing) =>
          !knownTypes.has(String(bodyOf(crossing)["msgtype"])) ||
          (crossing.cmd !== cmd.message && crossing.cmd !== cmd.event),
        "callbacks of an unknown cmd or msgtype",
        "new",
      ),
  },
  {
    requirement: "GW-EVENT-1",
    look: ({ callbacks }) =>
      some(
        callbacks,
        (crossing) => eventtypeOf(crossing) !== undefined && !knownEvents.has(String(eventtypeOf(crossing))),
        "events of an unknown type",
        "new",
      ),
  },
  {
    requirement: "GW-MSG-12",
    question: "redelivery",
    look: ({ callbacks, asked }) => {
      const answered = new Set(asked.filter(({ cmd: command }) => answersCallback(command)).map(({ reqId }) => reqId));
      return [...Map.groupBy(callbacks, (callback) => String(bodyOf(callback)["msgid"]))].flatMap(
        ([, [first, ...again]]) =>
          again.map((repeat) => ({
            verdict: "measured" as const,
            seen: `a msgid came again after ${((repeat.at - first!.at) / 1000).toFixed(1)} s, on ${repeat.connection === first!.connection ? "the same" : "a later"} connection, with ${repeat.reqId === first!.reqId ? "the same" : "a new"} req_id, ${answered.has(first!.reqId!) ? "answered" : "unanswered"} before`,
            at: [first!, repeat],
          })),
      );
    },
  },
  {
    requirement: "GW-REPLY-11",
    question: "old-req-id",
    look: met(
      (asked, recording) => {
        const callback = recording.callbackOf.get(asked.reqId);
        return asked.cmd === cmd.respond && callback !== undefined && callback.connection !== asked.sent.connection;
      },
      "a reply on a req_id of an earlier connection",
      [0],
    ),
  },
  {
    requirement: "GW-REPLY-2",
    question: "respond-text",
    look: met(
      ({ cmd: command, body }) => command === cmd.respond && body["msgtype"] === "text",
      "aibot_respond_msg with text",
      [40008],
    ),
  },
  {
    requirement: "GW-STREAM-11",
    question: "stream-extras",
    look: met(
      ({ cmd: command, body }) => command === cmd.respond && body["msgtype"] === "stream_with_template_card",
      "stream_with_template_card",
    ),
  },
  {
    requirement: "GW-STREAM-10",
    question: "stream-extras",
    look: met((asked) => streamOf(asked)["msg_item"] !== undefined, "a stream with msg_item"),
  },
  {
    requirement: "GW-STREAM-6",
    question: "limit-errcodes",
    look: met(
      ({ body }) =>
        [body["stream"], body["markdown"]].some(
          (part) => byteLength(expand(fieldsOf(part)["content"])) > maxContentBytes,
        ),
      `content above ${maxContentBytes} bytes`,
      [40058],
    ),
  },
  {
    requirement: "GW-EVENT-5",
    question: "limit-errcodes",
    look: met(
      (asked, recording) => {
        const event = recording.callbackOf.get(asked.reqId);
        return (
          (asked.cmd === cmd.welcome || asked.cmd === cmd.update) &&
          event !== undefined &&
          asked.sent.at - event.at > 5_000
        );
      },
      "a welcome or update after 5 s",
      [846604],
    ),
  },
  {
    requirement: "GW-EVENT-4",
    look: met(
      (asked, recording) => asked.cmd === cmd.respond && recording.callbackOf.get(asked.reqId)?.cmd === cmd.event,
      "aibot_respond_msg on the req_id of an event",
      [846605],
    ),
  },
  {
    requirement: "GW-STREAM-3",
    look: met(
      (asked, recording) => streamAge(asked, recording) > 610_000,
      "a stream frame more than ten minutes after the first",
      [846608],
    ),
  },
  {
    requirement: "GW-PUSH-10",
    question: "refresh-quota",
    look: ({ streams }) =>
      [...streams.values()].flatMap((all) => {
        const frames = all.filter(({ errcode }) => errcode === 0);
        const dense = frames.findIndex((one, n) => n >= 30 && one.sent.at - frames[n - 30]!.sent.at < 60_000);
        const seen = "31 frames of one stream within a minute were all accepted";
        return dense < 0 ? [] : [{ verdict: "agrees" as const, seen, at: [frames[dense]!.sent] }];
      }),
  },
  {
    requirement: "GW-REPLY-10",
    look: met(
      (one, { streams }) =>
        (streams.get(streamKey(one) ?? "") ?? []).some(
          ({ sent, ack }) => sent.seq < one.sent.seq && (ack?.seq ?? Infinity) > one.sent.seq,
        ),
      "a stream frame while the one before it was not acked",
      [0, 6000],
    ),
  },
  {
    requirement: "GW-STREAM-8",
    question: "feedback",
    look: (recording) =>
      some(
        recording.callbacks,
        (callback) =>
          eventtypeOf(callback) === "feedback_event" &&
          !String(fieldsOf(fieldsOf(bodyOf(callback)["event"])["feedback_event"])["id"]).startsWith("trace_"),
        "feedback for an id that does not begin with trace_",
        "differs",
      ),
  },
  {
    requirement: "GW-UPLOAD-4",
    look: ({ asked }) =>
      sort(
        asked.filter(({ cmd: command, errcode }) => command === cmd.uploadFinish && errcode === 0),
        ({ ack }) => typeof fieldsOf(ack!.frame!["body"])["created_at"] === "string",
        ({ ack }) => ack!,
        {
          agrees: (n) => `created_at was a string, ${n} times`,
          differs: (n) => `created_at was no string, ${n} times`,
        },
      ),
  },
  {
    requirement: "GW-UPLOAD-16",
    question: "upload-errcodes",
    look: met(
      ({ cmd: command, errcode }) =>
        (command === cmd.uploadChunk || command === cmd.uploadFinish) && errcode !== 0 && errcode !== -1,
      "a refused chunk or finish",
      [40058],
    ),
  },
  {
    requirement: "GW-UPLOAD-17",
    question: "upload-errcodes",
    look: met(
      ({ cmd: command, body }) => command === cmd.uploadChunk && typeof body["chunk_index"] === "string",
      "a chunk_index as a string",
      [0],
    ),
  },
  {
    requirement: "GW-UPLOAD-15",
    look: met(
      (one, { asked }) =>
        one.cmd === cmd.uploadChunk &&
        asked.filter(
          (other) =>
            other.cmd === cmd.uploadChunk &&
            other.sent.connection === one.sent.connection &&
            other.sent.seq < one.sent.seq &&
            (other.ack?.seq ?? Infinity) > one.sent.seq,
        ).length >= 4,
      "a chunk beyond four in flight",
      [0, -1],
    ),
  },
  {
    requirement: "GW-MEDIA-3",
    look: ({ callbacks }) => {
      const keys = callbacks.flatMap((callback) =>
        keysOf(callback.frame).map((key) => [key.length, callback] as const),
      );
      return [...Map.groupBy(keys, ([length]) => length)].map(([length, list]) => ({
        verdict: length === 43 || length === 44 ? "agrees" : "differs",
        seen: `an aeskey of ${length} characters, ${list.length} times`,
        at: list.map(([, callback]) => callback),
      }));
    },
  },
  {
    requirement: "GW-MSG-20",
    look: ({ callbacks }) =>
      presence(
        callbacks.filter((one) => one.cmd === cmd.message),
        "response_url",
        "messages",
      ),
  },
  {
    requirement: "GW-EVENT-16",
    look: ({ callbacks }) =>
      presence(
        callbacks.filter((one) => eventtypeOf(one) === "template_card_event"),
        "response_url",
        "card events",
      ),
  },
  {
    requirement: "GW-MSG-21",
    look: ({ callbacks }) =>
      presence(
        callbacks.filter((one) => one.cmd === cmd.message),
        "create_time",
        "messages",
      ),
  },
];
