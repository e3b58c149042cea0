/**
 * What must hold in every history of a client: the oracle of the simulator.
 *
 * Each invariant is a pure function over what happened (history.ts) that names the first breach, if any. It reads frames
 * with a bare JSON.parse and predicts no schedule: it only says what may never be seen, and what must be seen in the end.
 * behaviours.ts says which invariant stands for which of the 85 behaviours, and why some have none here.
 *
 * Numbers come from the requirements in spec/requirements.yaml; where our core promises more than the gateway asks for
 * (a silent drop is noticed within 50 s, where 100 s are allowed), the promise is what is held.
 */
import { object } from "./history.ts";
import type { History, Json, Millis } from "./history.ts";
import { endsSoon, pushesOnce, readByUsers, streamFrames, streamRefused } from "./invariants/answers.ts";
import { backsOff, heartbeat, lateAcks, oneInFlight, staysAway } from "./invariants/line.ts";
import { uploads } from "./invariants/uploads.ts";
import { breach, tell } from "./story.ts";
import type { Breach, Story } from "./story.ts";

export type { Breach } from "./story.ts";

/** One rule. */
export interface Invariant {
  readonly id: string;
  /** What must hold, as a sentence. */
  readonly holds: string;
  readonly check: (story: Story) => Breach | undefined;
}

/** The first breach of a history, in the order of the table below; undefined if all invariants hold. */
export function judge(history: History): Breach | undefined {
  return judgeStory(tell(history));
}

/** The same of a history that was told already. */
export function judgeStory(story: Story): Breach | undefined {
  for (const invariant of invariants) {
    const breach = invariant.check(story);
    if (breach !== undefined) return breach;
  }
  return undefined;
}

const ackMs = 10_000;
const dialMs = 10_000;
const subscribeMs = 10_000;
/** From the last sign that the line works to the end of a socket that has fallen silent. */
const noticedMs = 50_000;
const readyAgainMs = 65_000;
const throttledMs = 450_000;

/** How long to stay away after a subscribe was refused with one of these: for ever, or for 30 s. */
const leastAfter: ReadonlyMap<number, Millis> = new Map([
  ...[853000, 93019, 40001, 40013].map((errcode) => [errcode, Infinity] as const),
  ...[45009, 45033].map((errcode) => [errcode, 30_000] as const),
]);

/** All of them; the first that is broken is reported, so what explains most stands first. */
export const invariants: readonly Invariant[] = [
  {
    id: "contract",
    holds:
      "no machine throws, sets a deadline that is over, does anything at an early tick, or differs after a restore",
    check({ history }) {
      const [first] = history.broken;
      return first && breach("contract", first.at, `${first.id}: ${first.message}`);
    },
  },
  {
    id: "regular",
    holds: "every request settles at most once, is sent at most once, and nothing is sent that was not asked for",
    check: ({ irregular }) => irregular[0],
  },
  {
    id: "settles",
    holds: "every request settles; nothing that has settled is sent",
    check({ requests, history }) {
      for (const { key, askedAt, sent, settled, orphan } of requests.values()) {
        if (settled === undefined && !orphan && history.endAt - askedAt > 120_000)
          return breach("settles", askedAt, `request ${key} never settled`);
        if (settled !== undefined && sent !== undefined && sent.place > settled.place)
          return breach("settles", sent.at, `request ${key} was sent after it had settled as ${settled.outcome.type}`);
      }
      return undefined;
    },
  },
  {
    id: "socket-order",
    holds: "frames go to the socket that is open and current, and to no other",
    check({ sent }) {
      for (const { at, cmd, socket } of sent)
        if (socket.openedAt === undefined || at < socket.openedAt || at > socket.endedAt)
          return breach("socket-order", at, `${cmd} was sent on socket ${socket.n}, which was not open`);
      return undefined;
    },
  },
  {
    id: "one-line",
    holds: "there is one socket at a time: the old one is let go before the next is dialed",
    check({ sockets }) {
      for (let n = 1; n < sockets.length; n++)
        if (sockets[n - 1]!.endedAt > sockets[n]!.dialedAt)
          return breach(
            "one-line",
            sockets[n]!.dialedAt,
            `socket ${sockets[n]!.n} was dialed beside ${sockets[n - 1]!.n}`,
          );
      return undefined;
    },
  },
  {
    id: "subscribe-first",
    holds: "the first frame of a socket is its one subscribe, at once, and nothing follows before its ack",
    check({ sockets }) {
      for (const { n, openedAt, sent } of sockets) {
        if (openedAt === undefined) continue;
        const [first, ...rest] = sent;
        if (first === undefined) continue;
        if (first.cmd !== "aibot_subscribe" || first.at - openedAt > 5_000 || first.req_id === "")
          return breach("subscribe-first", first.at, `the first frame of socket ${n} was ${first.cmd}`);
        const [ack] = first.lane.acks;
        for (const { cmd, at, place } of rest) {
          if (cmd === "aibot_subscribe") return breach("subscribe-first", at, `a second subscribe on socket ${n}`);
          if (ack === undefined || ack.errcode !== 0 || ack.place > place)
            return breach("subscribe-first", at, `${cmd} was sent on socket ${n}, which was not subscribed`);
        }
      }
      return undefined;
    },
  },
  {
    id: "ready-by-ack",
    holds: "a client is ready when its own subscribe was acked with 0, and by nothing else",
    check({ sockets }) {
      for (const { n, readyAt, sent } of sockets) {
        const ack = sent[0]?.lane.acks[0];
        if (readyAt !== undefined && (ack?.errcode !== 0 || ack.at > readyAt))
          return breach("ready-by-ack", readyAt, `socket ${n} was taken for subscribed`);
        if (readyAt === undefined && ack?.errcode === 0)
          return breach("ready-by-ack", ack.at, `the ack of socket ${n}'s subscribe was overlooked`);
      }
      return undefined;
    },
  },
  {
    id: "gives-up",
    holds: "a dial or a subscribe that is not answered is given up within 10 s",
    check({ sockets, history }) {
      for (const { n, dialedAt, openedAt, readyAt, endedAt } of sockets) {
        const end = Math.min(endedAt, history.endAt);
        if ((openedAt ?? end) - dialedAt > dialMs)
          return breach("gives-up", dialedAt, `the dial of socket ${n} took too long`);
        if (openedAt !== undefined && (readyAt ?? end) - openedAt > subscribeMs)
          return breach("gives-up", openedAt, `socket ${n} waited for its subscription for too long`);
      }
      return undefined;
    },
  },
  {
    id: "backs-off",
    holds: "waits double from 1 s to 30 s and lengthen by half at most, and are reset by a minute of ready alone",
    check: backsOff,
  },
  {
    id: "six-a-minute",
    holds: "no minute sees more than six dials, unless the operator asks",
    check({ sockets, operator }) {
      for (let n = 6; n < sockets.length; n++) {
        const [from, to] = [sockets[n - 6]!.dialedAt, sockets[n]!.dialedAt];
        if (to - from < 60_000 && !operator.some(({ at }) => at >= from && at <= to))
          return breach("six-a-minute", to, "the seventh dial within a minute");
      }
      return undefined;
    },
  },
  {
    id: "stays-away",
    holds:
      "kicked, refused or stopped, a client dials when it is told to, or at the time that was agreed, and not before",
    check: staysAway,
  },
  {
    id: "refusal-obeyed",
    holds:
      "refused credentials are not tried again without the operator, or as seldom as was agreed; a throttled subscribe is not for 30 s",
    check({ sockets, operator, history }) {
      for (const [index, { sent, endedAt }] of sockets.entries()) {
        const ack = sent[0]?.lane.acks[0];
        const agreed = history.credentialsRetryMs ?? Infinity;
        const leastMs = Math.min(leastAfter.get(ack?.errcode ?? 0) ?? 0, agreed);
        const next = sockets[index + 1];
        if (ack === undefined || leastMs === 0) continue;
        if (endedAt > ack.at) return breach("refusal-obeyed", ack.at, `a socket was kept after ${String(ack.errcode)}`);
        if (next === undefined || next.dialedAt - ack.at >= leastMs) continue;
        if (!operator.some(({ at, did }) => did !== "stop" && at >= ack.at && at <= next.dialedAt))
          return breach(
            "refusal-obeyed",
            next.dialedAt,
            `dialed ${next.dialedAt - ack.at} ms after ${String(ack.errcode)}`,
          );
      }
      return undefined;
    },
  },
  {
    id: "kick-obeyed",
    holds: "after disconnected_event nothing is sent, the socket goes at once, and open requests settle",
    check({ sockets }) {
      for (const { n, callbacks, sent, endedAt } of sockets)
        for (const { frame, at, place } of callbacks) {
          if (object(object(frame["body"])["event"])["eventtype"] !== "disconnected_event") continue;
          if (endedAt > at) return breach("kick-obeyed", at, `socket ${n} was kept after a kick`);
          const late = sent.find((other) => other.place > place);
          if (late) return breach("kick-obeyed", late.at, `${late.cmd} was sent after a kick`);
        }
      return undefined;
    },
  },
  {
    id: "heartbeat",
    holds: "a ready socket is pinged every 20 to 45 s, each time with a req_id of its own",
    check: heartbeat,
  },
  {
    id: "notices-silence",
    holds: "50 s after the last good ping ack a socket is let go",
    check({ sockets, history }) {
      for (const { n, readyAt, endedAt, acks } of sockets) {
        if (readyAt === undefined) continue;
        let heardAt = readyAt;
        for (const { lane, errcode, at } of acks) {
          if (errcode !== 0 || lane.sent[0]?.cmd !== "ping") continue;
          if (at - heardAt > noticedMs) break;
          heardAt = at;
        }
        if (Math.min(endedAt, history.endAt) - heardAt > noticedMs)
          return breach("notices-silence", heardAt, `socket ${n} was kept though no ping was answered since`);
      }
      return undefined;
    },
  },
  {
    id: "not-subscribed",
    holds: "846609 on any ack ends the socket, and nothing is sent on it afterwards",
    check({ sockets }) {
      for (const { n, acks, sent, endedAt } of sockets)
        for (const { errcode, at, place, lane } of acks) {
          const [owed] = lane.sent;
          if (errcode !== 846609 || owed === undefined || owed.place > place) continue;
          if (endedAt > at) {
            // An ack that came too late for its frame belongs to nobody any more.
            if (owed.cmd === "ping" || at - owed.at >= ackMs) continue;
            return breach("not-subscribed", at, `socket ${n} was kept after 846609`);
          }
          const late = sent.find((other) => other.place > place);
          if (late) return breach("not-subscribed", late.at, `${late.cmd} was sent after 846609`);
        }
      return undefined;
    },
  },
  {
    id: "not-ready",
    holds: "a request outside of ready is refused at once, and never sent",
    check({ requests }) {
      for (const { state, sent, settled, askedAt, key } of requests.values()) {
        if (state === "ready") continue;
        if (sent) return breach("not-ready", sent.at, `request ${key} was sent though the client was ${state}`);
        if (settled?.at !== askedAt || settled.outcome.type !== "not-ready")
          return breach("not-ready", askedAt, `request ${key} was kept while the client was ${state}`);
      }
      return undefined;
    },
  },
  {
    id: "delivers-once",
    holds: "each callback that arrives is handed on exactly once, whatever else is odd",
    check({ sockets, history, delivered: handed }) {
      let due = 0;
      for (const { callbacks } of sockets) for (const { frame } of callbacks) if (isCallback(frame)) due++;
      if (handed === due) return undefined;
      // One frame is only JSON after a repair; JSON.parse knows nothing of it.
      const repaired = history.happenings.filter(
        (happening) => happening.what === "received" && happening.text.includes("\u001b"),
      ).length;
      return handed < due || handed > due + repaired
        ? breach("delivers-once", history.endAt, `${due} callbacks came, ${handed} were handed on`)
        : undefined;
    },
  },
  {
    id: "survives-oddities",
    holds: "a frame that cannot be understood does not end a socket",
    check({ moves, history }) {
      for (const { place, why } of moves) {
        const before = history.happenings[place - 1];
        if (why === "closed" && before?.what === "received")
          return breach("survives-oddities", before.at, `a frame ended the socket: ${before.text.slice(0, 80)}`);
      }
      return undefined;
    },
  },
  {
    id: "one-in-flight",
    holds: "of one req_id, one frame at a time awaits its ack",
    check: oneInFlight,
  },
  {
    id: "late-acks",
    holds: "the k-th frame of a req_id is not credited before the k-th ack",
    check: lateAcks,
  },
  {
    id: "secret",
    holds: "the secret is in the subscribe, and nowhere else",
    check({ history, sent, noticed }) {
      for (const { cmd, text, at } of sent)
        if (cmd !== "aibot_subscribe" && text.includes(history.secret)) return breach("secret", at, text.slice(0, 80));
      for (const { text, at } of noticed)
        if (text.includes(history.secret)) return breach("secret", at, text.slice(0, 80));
      return undefined;
    },
  },
  {
    id: "stream-frames",
    holds:
      "a stream has one id of its own, belongs to one req_id, only grows, keeps to 20,480 bytes of whole characters, and is finished once, visibly, within its ten minutes",
    check: streamFrames,
  },
  {
    id: "stream-refused",
    holds:
      "after 846608 a stream, after 846604 and 846605 a req_id, is left alone; 6000 is retried three times at most",
    check: streamRefused,
  },
  {
    id: "throttled-chat",
    holds: "846607 is followed by a minute without a frame to that chat",
    check({ chats }) {
      for (const frames of chats.values())
        for (const [index, sent] of frames.entries()) {
          const { outcome, at = 0, place = 0 } = sent.request?.settled ?? {};
          if (outcome?.errcode !== 846607) continue;
          // What queued behind it in its lane goes without another question.
          const next = frames
            .slice(index + 1)
            .find((other) => other.place > place && (other.request?.askedAt ?? 0) >= at);
          if (next && next.at - at < 60_000)
            return breach("throttled-chat", next.at, `${next.cmd} went to a chat ${next.at - at} ms after 846607`);
        }
      return undefined;
    },
  },
  {
    id: "quota",
    holds: "a chat is sent 30 frames in any minute at most",
    check({ chats }) {
      for (const [chat, frames] of chats)
        for (let n = 30; n < frames.length; n++)
          if (frames[n]!.at - frames[n - 30]!.at < 60_000)
            return breach("quota", frames[n]!.at, `the 31st frame to ${chat} within a minute`);
      return undefined;
    },
  },
  {
    id: "ends-soon",
    holds: "an answer that is alone in its chat, on a line that works, is finished as soon as its last frame is acked",
    check: endsSoon,
  },
  {
    id: "pushes-once",
    holds: "a text is pushed after it was refused, or for the first time; never after an outcome that is unknown",
    check: pushesOnce,
  },
  {
    id: "push-target",
    holds: "a push names its chat and its chat_type",
    check({ sent }) {
      for (const { cmd, body, at } of sent)
        if (cmd === "aibot_send_msg" && body["chat_type"] !== (String(body["chatid"]).startsWith("Group") ? 2 : 1))
          return breach("push-target", at, `chat_type ${String(body["chat_type"])} for ${String(body["chatid"])}`);
      return undefined;
    },
  },
  {
    id: "uploads",
    holds:
      "an upload has 5 bytes at least, sends chunks from 0 under the id it was given, each three times at most on a socket, finishes what is whole, and sends a media_id it was given",
    check: uploads,
  },
  {
    id: "read-by-users",
    holds:
      "what the ledger calls delivered is what the users see, once, and in its chat; what it calls refused they do not",
    check: readByUsers,
  },
  {
    id: "ready-again",
    holds: "65 s after the last fault a client is ready; 50 s later if the line was dead without a sign",
    check({ moves, history }) {
      const { at: endsAt, broken } = history.faultsEnd;
      let due = endsAt + readyAgainMs + (broken ? noticedMs : 0);
      if (moves.findLast(({ at, to }) => at <= due && to === "waiting")?.why === "throttled") due += throttledMs;
      const state = moves.findLast(({ at }) => at <= due)?.to ?? "idle";
      return state === "ready" ? undefined : breach("ready-again", due, `the client is ${state}`);
    },
  },
  {
    id: "answers-again",
    holds: "a question that is asked when all faults are over is answered",
    check({ answers, history }) {
      const last = [...answers.values()].find(({ chat }) => chat === "last");
      return last?.over?.state === "delivered"
        ? undefined
        : breach("answers-again", history.endAt, `the last question was ${last?.over?.state ?? "not answered"}`);
    },
  },
  {
    id: "nothing-left",
    holds: "in the end every answer, push, upload and request is over",
    check({ history }) {
      const left = Object.entries(history.left).filter(([, count]) => count > 0);
      return left.length === 0
        ? undefined
        : breach("nothing-left", history.endAt, left.map(([name, count]) => `${count} ${name}`).join(", "));
    },
  },
];

function isCallback(frame: Json): boolean {
  const body = object(frame["body"]);
  if (typeof object(frame["headers"])["req_id"] !== "string") return false;
  if (frame["cmd"] === "aibot_msg_callback") return typeof body["msgid"] === "string";
  return frame["cmd"] === "aibot_event_callback" && typeof object(body["event"])["eventtype"] === "string";
}
