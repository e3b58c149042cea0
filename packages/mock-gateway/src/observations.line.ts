/**
 * What a recording says about the line itself: frames and their acks, subscribing, silence, kicks, and how connections end.
 *
 * The table is the design: one rule for each fact. How rules look is sightings.ts, what becomes of what they see
 * observations.ts.
 */
import { errcodes } from "@openws/protocol/errors";
import { cmd, escapeControlCharacters } from "@openws/protocol/frames";
import { eventtypeOf } from "./recording.ts";
import {
  sort,
  met,
  latencies,
  messagesOut,
  itself,
  connections,
  endedByGateway,
  how,
  unsubscribedAt,
  placeOf,
  some,
  afterKick,
  type Finding,
  type Rule,
} from "./sightings.ts";

/** In the order of the report. */
export const lineRules: readonly Rule[] = [
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
];
