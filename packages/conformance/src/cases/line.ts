/** Holding the line: heartbeat, lost connections, outages, kicks, and the end. */
import type { Case } from "../check.ts";
import { UntestedError } from "../stage.ts";
import { objectAt } from "../wire.ts";
import { gaps, grow, inMs } from "./subscribing.ts";

const minute = 60_000;

const pings: Case = {
  name: "heartbeat/pings-on-a-quiet-line",
  title: "The client is subscribed and nothing happens for two and a half minutes.",
  checks: ["BEAT-1"],
  play: async (stage) => {
    const ack = await stage.ready();
    await stage.pause(stage.ms(2.5 * minute));
    const sent = stage.wire.sent("ping", ack.seq).filter(({ connection }) => connection === ack.connection);
    const waits = gaps([ack, ...sent]);
    // The first ping may come at once; what follows has to keep the beat.
    const [first = Infinity, ...others] = waits;
    const most = stage.atMost("BEAT-1", 45_000);
    const least = stage.atLeast("BEAT-1", 20_000);
    const kept = first <= most && others.length > 0 && others.every((wait) => wait >= least && wait <= most);
    const named = sent.every(({ reqId }) => reqId !== undefined && reqId !== "");
    stage.judge(
      "BEAT-1",
      kept && named,
      sent.length === 0
        ? "no ping at all"
        : `${sent.length} pings, after ${inMs(waits)}${named ? "" : ", without a req_id"}; ${Math.round(stage.ms(20_000))} to ${Math.round(stage.ms(45_000))} ms apart were due`,
      [ack, ...sent],
    );
  },
};

const unanswered: Case = {
  name: "heartbeat/notices-unanswered-pings",
  title: "From now on no ping is acknowledged; the socket stays open.",
  checks: ["BEAT-2a", "BEAT-2b", "CONN-11"],
  gateway: () => ({ faults: ["ack-drop:cmd=ping,times=100000"] }),
  play: async (stage) => {
    const ack = await stage.ready();
    const limit = stage.atMost("BEAT-2a", 100_000);
    const end = await stage.until(() => stage.wire.ended(ack.connection, "client"), limit);
    const next = await stage.until(
      () => stage.wire.sent("aibot_subscribe", ack.seq).find(({ connection }) => connection !== ack.connection),
      Math.max(0, ack.at + limit - performance.now()),
    );
    const said =
      end === undefined
        ? `the socket was still open after ${Math.round(limit)} ms`
        : `the socket was dropped ${Math.round(end.at - ack.at)} ms after the last frame from the gateway`;
    stage.judge(
      "BEAT-2a",
      end !== undefined && next !== undefined,
      next === undefined
        ? `${said}; no new subscribe`
        : `${said}, the next subscribe came after ${Math.round(next.at - ack.at)} ms`,
      [ack, ...stage.wire.sent("ping").slice(0, 3), end, next],
    );
    stage.judge("BEAT-2b", end !== undefined && end.at - ack.at <= stage.atMost("BEAT-2b", 90_000), said, [ack, end]);
    if (next === undefined) return stage.untested("CONN-11", "the client did not subscribe on another socket");
    // The new subscribe may overtake the end of the old socket on its way, but not by more than a network takes.
    await stage.until(() => stage.wire.ended(ack.connection, "client"), stage.atMost("CONN-11", 0));
    const old = stage.wire.ended(ack.connection, "client");
    stage.judge(
      "CONN-11",
      old !== undefined && old.at - next.at <= stage.atMost("CONN-11", 0),
      old === undefined
        ? "the client subscribed anew and kept its old socket"
        : `the old socket ended ${Math.round(next.at - old.at)} ms before the new subscribe`,
      [ack, old, next],
    );
  },
};

const natDrop: Case = {
  name: "heartbeat/notices-a-silent-drop",
  title: "Something between client and gateway forgets the connection: writes succeed, nothing arrives.",
  checks: ["BEAT-2a"],
  play: async (stage) => {
    const ack = await stage.ready();
    stage.gateway.cut(ack.connection, "nat-drop");
    const cutAt = performance.now();
    const limit = stage.atMost("BEAT-2a", 100_000);
    const next = await stage.until(() => stage.wire.subscribed(ack.seq)[0], limit);
    stage.judge(
      "BEAT-2a",
      next !== undefined,
      next === undefined
        ? `deaf for ${Math.round(limit)} ms, and not subscribed again`
        : `subscribed again ${Math.round(next.at - cutAt)} ms after the line fell silent`,
      [ack, next],
    );
  },
};

const refusedPings: Case = {
  name: "heartbeat/takes-no-refusal-for-a-sign-of-life",
  title: "The gateway has forgotten the subscription and answers pings with 846609, until the client subscribes anew.",
  checks: ["BEAT-3"],
  gateway: () => ({ faults: ["errcode:errcode=846609,cmd=ping,times=100000"] }),
  play: async (stage) => {
    const ack = await stage.ready();
    const limit = stage.atMost("BEAT-3", 100_000);
    const next = await stage.until(() => stage.wire.subscribed(ack.seq)[0], limit);
    if (stage.wire.sent("ping").length === 0)
      return stage.untested("BEAT-3", "the client sent no ping that could be refused");
    stage.judge(
      "BEAT-3",
      next !== undefined,
      next === undefined
        ? `the client went on as if nothing were for ${Math.round(limit)} ms`
        : `subscribed again after ${Math.round(next.at - ack.at)} ms`,
      [ack, ...stage.wire.sent("ping").slice(0, 3), next],
    );
  },
};

const noPongs: Case = {
  name: "heartbeat/needs-no-pong",
  title: "The gateway answers every ping of the protocol and no PING of WebSocket.",
  checks: ["BEAT-4b"],
  gateway: () => ({ faults: ["pong:what=drop,times=100000"] }),
  play: async (stage) => {
    const ack = await stage.ready();
    await stage.pause(stage.atMost("BEAT-4b", 100_000));
    const again = stage.wire.opened(ack.seq)[0];
    stage.judge(
      "BEAT-4b",
      again === undefined,
      again === undefined
        ? "the same socket for 100 s of the lane"
        : `a new socket after ${Math.round(again.at - ack.at)} ms, although pings were acknowledged`,
      [ack, again],
    );
  },
};

const lateGateway: Case = {
  name: "reconnecting/outlasts-an-outage",
  title: "The gateway comes up only four minutes after the client.",
  checks: ["CONN-5"],
  gateway: ({ scale }) => ({ faults: [`down:forMs=${4 * minute * scale}`] }),
  play: async (stage) => {
    const upAt = performance.now() + stage.ms(4 * minute);
    const limit = stage.ms(4 * minute) + stage.atMost("CONN-5", minute);
    const ack = await stage.until(() => stage.wire.subscribed()[0], limit);
    stage.judge(
      "CONN-5",
      ack !== undefined,
      ack === undefined
        ? `not subscribed ${Math.round(stage.atMost("CONN-5", minute))} ms after the gateway came up`
        : `subscribed ${Math.round(ack.at - upAt)} ms after the gateway came up`,
      [ack],
    );
  },
};

const badGateway: Case = {
  name: "reconnecting/tries-again-after-an-http-error",
  title: "Four upgrades are answered with HTTP 502.",
  checks: ["CONN-6"],
  gateway: () => ({ faults: ["handshake:status=502,times=4"] }),
  play: async (stage) => {
    // Upgrades that are refused leave no line in the log; the fault counts them.
    const attempts: number[] = [];
    const ack = await stage.until(
      () => {
        const used = stage.gateway.faults()[0]?.used ?? 4;
        while (attempts.length < used) attempts.push(performance.now());
        return stage.wire.subscribed()[0];
      },
      15_000 + stage.ms(minute),
    );
    const waits = attempts.slice(1).map((at, index) => at - attempts[index]!);
    stage.judge(
      "CONN-6",
      ack !== undefined && grow(waits),
      ack === undefined
        ? `no subscription followed the ${attempts.length} refused upgrades`
        : `waits of ${inMs(waits)} between the refused upgrades, then subscribed`,
      [ack],
    );
  },
};

const flapping: Case = {
  name: "reconnecting/slows-down-when-it-flaps",
  title: "Each time the client is subscribed the connection is reset at once.",
  checks: ["CONN-7"],
  gateway: () => ({ faults: ["reset:times=100000"] }),
  play: async (stage) => {
    const ack = await stage.ready();
    await stage.pause(stage.ms(1.5 * minute));
    const attempts = [...stage.wire.opened()];
    const within = attempts.filter(({ at }) => at <= attempts[0]!.at + stage.ms(minute));
    const waits = gaps(attempts);
    stage.judge(
      "CONN-7",
      within.length <= 6 && waits.length > 1 && grow(waits),
      `${within.length} attempts in the first minute of the lane, after waits of ${inMs(waits.slice(0, 12))}`,
      [ack, ...attempts.slice(0, 10)],
    );
  },
};

const lost: Case = {
  name: "reconnecting/comes-back-after-a-reset",
  title: "The connection is reset without a close frame.",
  checks: ["CONN-8a"],
  play: async (stage) => {
    const ack = await stage.ready();
    stage.gateway.cut(ack.connection, "reset");
    const cut = stage.wire.all.at(-1)!;
    const next = await stage.until(() => stage.wire.opened(cut.seq)[0], stage.atMost("CONN-8a", 10_000));
    stage.judge(
      "CONN-8a",
      next !== undefined,
      next === undefined
        ? `no new attempt within ${Math.round(stage.atMost("CONN-8a", 10_000))} ms`
        : `a new attempt after ${Math.round(next.at - cut.at)} ms`,
      [cut, next],
    );
  },
};

const closed: Case = {
  name: "reconnecting/comes-back-after-any-close-code",
  title: "The gateway closes with 1000, 1001, 1008, 1011 and 1012, each time once the client is back.",
  checks: ["CONN-8b"],
  play: async (stage) => {
    let ack = await stage.ready();
    const times: string[] = [];
    for (const code of [1000, 1001, 1008, 1011, 1012]) {
      // Whoever grows its waits from one loss to the next is right to: they begin anew once the line has held.
      await stage.pause(stage.ms(minute) + 200);
      const cutAt = performance.now();
      stage.gateway.cut(ack.connection, "close", code);
      const after = stage.seq;
      const next = await stage.until(() => stage.wire.opened(after)[0], stage.atMost("CONN-8b", 10_000));
      if (next === undefined)
        return stage.judge(
          "CONN-8b",
          false,
          `no new attempt within ${Math.round(stage.atMost("CONN-8b", 10_000))} ms of a close with ${code}`,
          [stage.wire.all.find(({ seq }) => seq === after)],
        );
      times.push(`${code}: ${Math.round(next.at - cutAt)} ms`);
      ack = await stage.ready(after, stage.ms(minute) + 2_000);
    }
    stage.judge("CONN-8b", true, `new attempts after ${times.join(", ")}`, [ack]);
  },
};

const staleClose: Case = {
  name: "reconnecting/ignores-the-end-of-an-old-socket",
  title: "A socket that fell silent and was replaced is reset only after the new one is subscribed.",
  checks: ["CONN-10"],
  play: async (stage) => {
    const old = await stage.conversing();
    stage.gateway.cut(old.connection, "half-open");
    const next = await stage.until(() => stage.wire.subscribed(old.seq)[0], stage.ms(2 * minute) + 2_000);
    if (next === undefined) throw new UntestedError("the client did not replace the silent socket");
    stage.gateway.cut(old.connection, "reset");
    const after = stage.seq;
    await stage.pause(stage.atMost("CONN-10", 10_000));
    const disturbed = stage.wire.opened(after)[0] ?? stage.wire.ended(next.connection);
    const answer = await stage.asked("still there?");
    stage.judge(
      "CONN-10",
      disturbed === undefined && answer !== undefined,
      disturbed === undefined
        ? `the newer socket stayed${answer === undefined ? ", but a message on it was not answered" : " and answers"}`
        : `the end of the old socket disturbed the newer one: ${disturbed.text}`,
      [old, next, disturbed, answer],
    );
  },
};

const kickedOpen: Case = {
  name: "kick/lets-go",
  title: "Another instance takes over, and the gateway leaves the socket open.",
  checks: ["KICK-2b", "KICK-5"],
  mayEnd: true,
  play: async (stage) => {
    await stage.steady();
    await stage.gateway.kick(stage.bot.id, { closeAfterMs: "never" });
    const event = stage.wire.all.findLast(({ body }) => objectAt(body, "event")["eventtype"] === "disconnected_event")!;
    const end = await stage.until(() => stage.wire.ended(event.connection, "client"), stage.atMost("KICK-2b", 5_000));
    stage.judge(
      "KICK-2b",
      end !== undefined,
      end === undefined
        ? `the socket was still open ${Math.round(stage.atMost("KICK-2b", 5_000))} ms after the kick`
        : `the client closed its socket after ${Math.round(end.at - event.at)} ms`,
      [event, end],
    );
    await stage.pause(500);
    const [{ end: over }] = stage.clients as [(typeof stage.clients)[number]];
    stage.judge(
      "KICK-5",
      over === undefined || over.code === 0,
      over === undefined
        ? "the process lives"
        : `the process ${over.how} after an event without from, chatid and chattype`,
      [event],
    );
  },
};

const kickedClosed: Case = {
  name: "kick/stays-away",
  title: "Another instance takes over, and 2 s later the connection is reset.",
  checks: ["KICK-3a", "KICK-3b"],
  mayEnd: true,
  play: async (stage) => {
    await stage.steady();
    // A reset takes what was not read yet with it: a busy machine needs a second to hand the event on.
    await stage.gateway.kick(stage.bot.id, { closeAfterMs: Math.max(1_000, stage.ms(2_000)) });
    const event = stage.wire.all.findLast(({ body }) => objectAt(body, "event")["eventtype"] === "disconnected_event")!;
    const next = await stage.until(() => stage.wire.opened(event.seq)[0], stage.ms(2 * minute));
    const said =
      next === undefined
        ? "it stayed away for two minutes of the lane"
        : `it dialled again ${Math.round(next.at - event.at)} ms after the kick`;
    stage.judge("KICK-3a", next === undefined || next.at - event.at >= stage.atLeast("KICK-3a", 10_000), said, [
      event,
      next,
    ]);
    stage.judge("KICK-3b", next === undefined, said, [event, next]);
  },
};

const twoInstances: Case = {
  name: "kick/wages-no-war",
  title: "A second process of the client starts with the same bot.",
  checks: ["KICK-4a", "KICK-4b"],
  mayEnd: true,
  gateway: () => ({ switches: { kickCloseMs: [1_000, 1_000] } }),
  play: async (stage) => {
    const first = await stage.steady();
    stage.start();
    const second = await stage.steady(first.seq);
    await stage.pause(stage.ms(5 * minute));
    const more = stage.wire.sent("aibot_subscribe", second.seq);
    stage.judge("KICK-4a", more.length <= 4, `${more.length} further subscribes in five minutes of the lane`, [
      first,
      second,
      ...more.slice(0, 8),
    ]);
    stage.judge("KICK-4b", more.length === 0, `${more.length} further subscribes in five minutes of the lane`, [
      first,
      second,
      ...more.slice(0, 8),
    ]);
  },
};

const terminated: Case = {
  name: "shutdown/ends-when-asked",
  title: "The process gets SIGTERM.",
  checks: ["ROBUST-3a"],
  mayEnd: true,
  play: async (stage) => {
    const ack = await stage.ready();
    await stage.pause(200);
    const [client] = stage.clients as [(typeof stage.clients)[number]];
    const asked = performance.now();
    client.terminate();
    // A stop is asked for by the operating system, so this time is not scaled.
    const over = await stage.until(() => client.end, 5_000);
    await stage.pause(300);
    const again = stage.wire.opened(ack.seq)[0];
    const end = stage.wire.ended(ack.connection);
    stage.judge(
      "ROBUST-3a",
      over !== undefined && again === undefined && end !== undefined,
      over === undefined
        ? "the process still ran 5 s after SIGTERM"
        : again === undefined
          ? `the process ${over.how} after ${Math.round(over.at - asked)} ms`
          : "it dialled again after SIGTERM",
      [ack, end, again],
    );
  },
};

/** The cases of this file, in the order in which they are told. */
export const line: readonly Case[] = [
  pings,
  unanswered,
  natDrop,
  refusedPings,
  noPongs,
  lateGateway,
  badGateway,
  flapping,
  lost,
  closed,
  staleClose,
  kickedOpen,
  kickedClosed,
  twoInstances,
  terminated,
];
