/**
 * What a recording says about the facts of spec/requirements.yaml, one rule for each fact that a recording can show.
 *
 * A rule only looks: it says what was seen, whether the ledger agrees, and on which lines. Where the ledger holds a guess or
 * sources disagree, a measurement is worth more than an agreement; such rules name the open question they settle.
 */
import { errcodes } from "@openws/protocol/errors";
import { cmd, escapeControlCharacters, maxContentBytes } from "@openws/protocol/frames";
import {
  answersCallback,
  eventtypeOf,
  expand,
  fieldsOf,
  streamKey,
  type Crossing,
  type Recording,
} from "./recording.ts";
import {
  sort,
  met,
  latencies,
  messagesOut,
  bodyOf,
  streamOf,
  byteLength,
  itself,
  connections,
  endedByGateway,
  how,
  unsubscribedAt,
  placeOf,
  unknownMembers,
  knownTypes,
  knownEvents,
  some,
  presence,
  afterKick,
  streamAge,
  keysOf,
  type Finding,
  type Look,
} from "./sightings.ts";

/** What was seen of one fact. */
export interface Observation {
  /** An id of spec/requirements.yaml. */
  readonly requirement: string;
  /** Of {@link openQuestions}. */
  readonly question?: OpenQuestion;
  readonly verdict: Finding["verdict"];
  readonly seen: string;
  /** Lines of the recording, the first few. */
  readonly lines: readonly number[];
}

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

/** All that a recording says, in the order of the rules. */
export const observe = (recording: Recording): Observation[] =>
  rules.flatMap(({ requirement, question, look }) =>
    look(recording).map(({ verdict, seen, at }) => ({
      requirement,
      ...(question === undefined ? {} : { question }),
      verdict,
      seen,
      lines: at.slice(0, 5).map(({ seq }) => seq),
    })),
  );

/** The observations as a table for people. */
export const tableOf = (observations: readonly Observation[]): string => {
  const rows = observations.map(({ requirement, question, verdict, seen, lines }) => [
    verdict,
    requirement,
    `${seen}${question === undefined ? "" : ` (open question: ${question})`} [line ${lines.join(", ")}]`,
  ]);
  const widths = [0, 1].map((column) => Math.max(0, ...rows.map((row) => row[column]!.length)));
  return rows.map(([a, b, c]) => `${a!.padEnd(widths[0]!)}  ${b!.padEnd(widths[1]!)}  ${c!}\n`).join("");
};

interface Rule {
  readonly requirement: string;
  readonly question?: OpenQuestion;
  readonly look: Look;
}

const rules: readonly Rule[] = [
  {
    requirement: "GW-CONN-2",
    look: ({ crossings }) =>
      sort(
        crossings.filter(({ dir, what }) => dir === "out" && what === "message"),
        ({ binary, frame }) => binary === undefined && frame !== undefined,
        itself,
        {
          agrees: (n) => `${n} text messages of one JSON object`,
          differs: (n) => `${n} messages that are binary or no JSON object`,
        },
      ),
  },
  {
    requirement: "GW-CONN-3",
    look: ({ asked }) =>
      sort(
        asked.filter(({ ack }) => ack),
        ({ cmd: command, ack }) =>
          Object.keys(ack!.frame!).every((key) => ["headers", "errcode", "errmsg", "body"].includes(key)) &&
          (ack!.frame!["body"] === undefined ||
            command === cmd.uploadInit ||
            command === cmd.uploadFinish ||
            command === cmd.mcpConfig),
        ({ ack }) => ack!,
        {
          agrees: (n) => `${n} acks of headers, errcode and errmsg`,
          differs: (n) => `${n} acks with other members, or a body on other commands`,
        },
      ),
  },
  {
    requirement: "GW-CONN-4",
    look: (recording) => {
      const owned = new Set(recording.asked.map(({ ack }) => ack));
      const stray = messagesOut(recording).filter((crossing) => crossing.cmd === undefined && !owned.has(crossing));
      return stray.length === 0
        ? []
        : [{ verdict: "differs", seen: `${stray.length} acks whose req_id no command had`, at: stray }];
    },
  },
  {
    requirement: "GW-CONN-5",
    look: ({ asked }) =>
      sort(
        asked.filter(({ errcode }) => errcode !== undefined && errcode !== 0),
        ({ ack }) => /, hint: \[\d+\], from ip: \S+, more info at https:/.test(String(ack!.frame!["errmsg"])),
        ({ ack }) => ack!,
        { agrees: (n) => `${n} refusals with the suffix`, differs: (n) => `${n} refusals without it` },
      ),
  },
  {
    requirement: "GW-CONN-6",
    look: ({ callbacks }) =>
      some(
        callbacks,
        ({ text = "" }) => escapeControlCharacters(text) !== text,
        "callbacks with raw control characters",
      ),
  },
  {
    requirement: "GW-CONN-7",
    look: ({ callbacks }) =>
      sort(callbacks, ({ reqId = "" }) => /^[\w-]{24}$/.test(reqId), itself, {
        agrees: (n) => `${n} callbacks with a req_id of 24 URL-safe characters`,
        differs: (n) => `${n} callbacks with another kind of req_id`,
      }),
  },
  {
    requirement: "GW-CONN-8",
    look: (recording) => some(messagesOut(recording), ({ text = "" }) => text.includes("\\/"), 'frames with "\\/"'),
  },
  {
    requirement: "GW-CONN-11",
    look: ({ crossings }) => {
      const pings = crossings.filter(({ dir, what }) => dir === "out" && what === "ping");
      const gaps = pings
        .slice(1)
        .flatMap((ping, index) => (ping.connection === pings[index]!.connection ? [ping.at - pings[index]!.at] : []));
      if (gaps.length === 0)
        return pings.length === 0 ? [] : [{ verdict: "measured", seen: `${pings.length} WebSocket pings`, at: pings }];
      const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
      return [
        {
          verdict: Math.abs(mean - 30_000) < 5_000 ? "agrees" : "measured",
          seen: `a WebSocket ping every ${(mean / 1000).toFixed(1)} s`,
          at: pings,
        },
      ];
    },
  },
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
    requirement: "GW-CONN-17",
    question: "rare-errcodes",
    look: ({ asked }) => {
      const refused = asked.filter(({ errcode }) => errcode !== undefined && errcode !== 0);
      return [...Map.groupBy(refused, ({ cmd: command, errcode }) => `${command} ${errcode!}`)].map(([key, list]) => {
        const [command, code] = key.split(" ") as [string, string];
        const rows = errcodes.filter(({ errcode }) => errcode === Number(code));
        const place = placeOf[command];
        const here = rows.some(
          ({ seenOn }) => seenOn.includes("any command") || (place !== undefined && seenOn.includes(place)),
        );
        const errmsg = String(list[0]!.ack!.frame!["errmsg"]).replace(/, hint:.*/s, "");
        return {
          verdict: here ? "agrees" : rows.length > 0 ? "differs" : "new",
          seen: `${command} met ${code} "${errmsg}", ${list.length} times${here ? "" : rows.length > 0 ? "; the table of errcodes has it elsewhere only" : "; no table has this errcode"}`,
          at: list.map(({ ack }) => ack!),
        };
      });
    },
  },
  {
    requirement: "GW-AUTH-2",
    look: ({ asked }) =>
      latencies(
        asked.filter(({ cmd: command }) => command === cmd.subscribe),
        "acks of subscribe",
        [100, 300],
      ),
  },
  {
    requirement: "GW-REPLY-7",
    look: ({ asked }) =>
      latencies(
        asked.filter(({ cmd: command }) => command !== cmd.subscribe && command !== cmd.ping),
        "acks of commands",
        [150, 500],
      ),
  },
  {
    requirement: "GW-AUTH-9",
    question: "second-subscribe",
    look: met(
      ({ cmd: command, sent }, recording) => command === cmd.subscribe && !unsubscribedAt(recording, sent),
      "a further subscribe on a subscribed socket",
      [0],
    ),
  },
  {
    requirement: "GW-AUTH-10",
    look: met(
      ({ cmd: command, sent }, recording) =>
        command !== cmd.subscribe && command !== cmd.ping && unsubscribedAt(recording, sent),
      "a command before the subscribe",
      [846609],
    ),
  },
  {
    requirement: "GW-AUTH-15",
    look: met(
      ({ cmd: command, sent }, recording) => command === cmd.ping && unsubscribedAt(recording, sent),
      "a ping before the subscribe",
      [0],
    ),
  },
  {
    requirement: "GW-AUTH-16",
    look: (recording) =>
      some(
        recording.callbacks,
        (callback) => unsubscribedAt(recording, callback),
        "callbacks before the ack of the subscribe",
      ),
  },
  {
    requirement: "GW-AUTH-8",
    question: "idle-timeout",
    look: (recording) =>
      connections(recording).flatMap((line): Finding[] => {
        if (recording.subscribedAt.get(line[0]!.connection) !== undefined) return [];
        const end = endedByGateway(line);
        const seconds = ((line.at(-1)!.at - line[0]!.at) / 1000).toFixed(1);
        if (end)
          return [
            {
              verdict: "measured",
              seen: `a socket without a subscription was ended by the gateway after ${seconds} s, ${how(end)}`,
              at: [end],
            },
          ];
        return Number(seconds) < 60
          ? []
          : [{ verdict: "agrees", seen: `a socket without a subscription was open for ${seconds} s`, at: [line[0]!] }];
      }),
  },
  {
    requirement: "GW-BEAT-4",
    question: "idle-timeout",
    look: (recording) =>
      connections(recording).flatMap((line) => {
        if (recording.kicks.has(line[0]!.connection) || recording.subscribedAt.get(line[0]!.connection) === undefined)
          return [];
        const end = endedByGateway(line);
        const heard = line.filter(({ dir, seq }) => dir === "in" && seq < (end?.seq ?? Infinity));
        const silences = heard.map((crossing, index) => (heard[index + 1]?.at ?? end?.at ?? crossing.at) - crossing.at);
        const last = silences.at(-1) ?? 0;
        const longest = Math.max(0, ...silences.slice(0, -1));
        return [
          ...(end && last > 45_000
            ? [
                {
                  verdict: Math.abs(last - 90_000) < 5_000 ? "agrees" : "measured",
                  seen: `the gateway ended a connection ${(last / 1000).toFixed(1)} s after the client's last frame, ${how(end)}`,
                  at: [end],
                } as const,
              ]
            : []),
          ...(longest > 45_000
            ? [
                {
                  verdict: longest < 95_000 ? "agrees" : "differs",
                  seen: `a client was silent for ${(longest / 1000).toFixed(1)} s and kept its connection`,
                  at: [line[0]!],
                } as const,
              ]
            : []),
        ];
      }),
  },
  {
    requirement: "GW-CONN-15",
    question: "idle-close",
    look: (recording) => {
      const ends = connections(recording).flatMap((line) =>
        recording.kicks.has(line[0]!.connection) ? [] : (endedByGateway(line) ?? []),
      );
      return [...Map.groupBy(ends, how)].map(([words, at]) => ({
        verdict: "measured",
        seen: `${at.length} connections ended by the gateway ${words}`,
        at,
      }));
    },
  },
  {
    requirement: "GW-KICK-6",
    look: (recording) =>
      connections(recording).flatMap((line) => {
        const event = recording.kicks.get(line[0]!.connection);
        const end = event && endedByGateway(line);
        if (!event || !end) return [];
        const seconds = (end.at - event.at) / 1000;
        return [
          {
            verdict: seconds >= 1.9 && seconds <= 313 ? "agrees" : "differs",
            seen: `the close came ${seconds.toFixed(1)} s after disconnected_event`,
            at: [event, end],
          },
        ];
      }),
  },
  {
    requirement: "GW-KICK-7",
    look: (recording) =>
      sort(
        connections(recording).flatMap((line) =>
          recording.kicks.has(line[0]!.connection) ? (endedByGateway(line) ?? []) : [],
        ),
        ({ what }) => what === "cut",
        itself,
        {
          agrees: (n) => `${n} kicked connections ended without a close frame`,
          differs: (n) => `${n} kicked connections ended with a close frame`,
        },
      ),
  },
  {
    requirement: "GW-KICK-8",
    look: met(
      ({ cmd: command, sent }, recording) => command === cmd.ping && afterKick(recording, sent),
      "a ping after disconnected_event",
      [0],
    ),
  },
  {
    requirement: "GW-KICK-12",
    look: met(
      ({ cmd: command, sent }, recording) =>
        command !== cmd.ping && command !== cmd.subscribe && afterKick(recording, sent),
      "a command after disconnected_event",
      [846609],
    ),
  },
  {
    requirement: "GW-KICK-9",
    look: (recording) =>
      some(
        recording.callbacks,
        (callback) => eventtypeOf(callback) !== "disconnected_event" && afterKick(recording, callback),
        "callbacks after disconnected_event on the same connection",
        "differs",
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
