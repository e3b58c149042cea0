/**
 * What must hold in every history of a client: the oracle of the simulator.
 *
 * Each invariant is a pure function over what happened (history.ts) that names the first breach, if any. It reads frames
 * with a bare JSON.parse and predicts no schedule: it only says what may never be seen, and what must be seen in the end.
 * The table `behaviours` says which invariant stands for which of the 85 behaviours, and why some have none here.
 *
 * Numbers come from the requirements in spec/requirements.yaml; where our core promises more than the gateway asks for
 * (a silent drop is noticed within 50 s, where 100 s are allowed), the promise is what is held.
 */
import { json, markOf, marks, object } from "./history.ts";
import type { Frame, Happening, History, Json, Millis, Settled } from "./history.ts";

/** A breach: which invariant, when, and what was seen. */
export interface Breach {
  readonly id: string;
  readonly at: Millis;
  readonly message: string;
}

/** One rule. */
export interface Invariant {
  readonly id: string;
  /** What must hold, as a sentence. */
  readonly holds: string;
  readonly check: (story: Story) => Breach | undefined;
}

/** The first breach of a history, in the order of the table below; undefined if all invariants hold. */
export function judge(history: History): Breach | undefined {
  const story = tell(history);
  for (const invariant of invariants) {
    const breach = invariant.check(story);
    if (breach !== undefined) return breach;
  }
  return undefined;
}

// ---------------------------------------------------------------------------------------------------------------------
// The story: the history, sorted once

/** A frame that the client sent, with what was found in it. */
interface Sent {
  readonly at: Millis;
  /** Its place in the history: of two things at one instant the smaller came first. */
  readonly place: number;
  readonly socket: Socket;
  readonly frame: Json;
  readonly cmd: string;
  readonly req_id: string;
  readonly body: Json;
  readonly text: string;
  /** The request it came from; pings and subscribes have none. */
  readonly request: Request | undefined;
}

interface Received {
  readonly at: Millis;
  readonly place: number;
  readonly frame: Json;
  /** Of an ack; a callback has none. */
  readonly errcode: number | undefined;
  readonly req_id: string;
}

interface Socket {
  readonly n: number;
  readonly dialedAt: Millis;
  openedAt: Millis | undefined;
  /** `ready` on this socket. */
  readyAt: Millis | undefined;
  /** The client was told, or let go itself; the end of the history otherwise. */
  endedAt: Millis;
  readonly sent: Sent[];
  readonly received: Received[];
  /** Of those received, the acks, by req_id. */
  readonly acks: Map<string, Received[]>;
}

interface Request {
  readonly key: number;
  readonly askedAt: Millis;
  readonly req_id: string;
  readonly text: string;
  /** In what state the client was. */
  readonly state: string;
  sent: Sent | undefined;
  settled: { readonly at: Millis; readonly place: number; readonly outcome: Settled } | undefined;
  /** The process died with it. */
  orphan: boolean;
}

interface Move {
  readonly at: Millis;
  readonly place: number;
  readonly from: string;
  readonly to: string;
  readonly why: string;
}

interface AnswerStory {
  readonly n: number;
  readonly at: Millis;
  readonly req_id: string;
  readonly chat: string;
  said: { readonly at: Millis; readonly marks: number; readonly how: string } | undefined;
  over: { readonly at: Millis; readonly state: string; readonly route: string } | undefined;
}

/** A history in the order in which questions are asked of it. */
export interface Story {
  readonly history: History;
  readonly sockets: readonly Socket[];
  readonly sent: readonly Sent[];
  readonly requests: ReadonlyMap<number, Request>;
  readonly moves: readonly Move[];
  readonly operator: readonly (Happening & { what: "operator" })[];
  readonly answers: ReadonlyMap<number, AnswerStory>;
  /** Frames sent to a chat, by its id. */
  readonly chats: ReadonlyMap<string, readonly Sent[]>;
  /** Found while the story was told: what settles twice, or is sent without having been asked. */
  readonly irregular: readonly Breach[];
}

function tell(history: History): Story {
  return new Telling(history).story();
}

/** One pass over the happenings. */
class Telling {
  readonly #history: History;
  readonly #sockets = new Map<number, Socket>();
  readonly #sent: Sent[] = [];
  readonly #requests = new Map<number, Request>();
  /** Requests that were not sent yet, by their text, oldest first. */
  readonly #unsent = new Map<string, Request[]>();
  readonly #moves: Move[] = [];
  readonly #operator: (Happening & { what: "operator" })[] = [];
  readonly #answers = new Map<number, AnswerStory>();
  readonly #chatOf = new Map<string, string>();
  readonly #chats = new Map<string, Sent[]>();
  readonly #irregular: Breach[] = [];
  #state = "idle";
  #socket: Socket | undefined;

  constructor(history: History) {
    this.#history = history;
  }

  story(): Story {
    const { happenings } = this.#history;
    for (let place = 0; place < happenings.length; place++) this.#take(happenings[place]!, place);
    return {
      history: this.#history,
      sockets: [...this.#sockets.values()],
      sent: this.#sent,
      requests: this.#requests,
      moves: this.#moves,
      operator: this.#operator,
      answers: this.#answers,
      chats: this.#chats,
      irregular: this.#irregular,
    };
  }

  #take(happening: Happening, place: number): void {
    const { at } = happening;
    switch (happening.what) {
      case "dialed": {
        const { socket: n } = happening;
        this.#socket = { n, dialedAt: at, openedAt: undefined, readyAt: undefined, endedAt: Infinity, sent: [], received: [], acks: new Map() };
        this.#sockets.set(n, this.#socket);
        return;
      }
      case "opened":
        this.#sockets.get(happening.socket)!.openedAt = at;
        return;
      case "sent":
        return this.#takeSent(happening, place);
      case "received":
        return this.#takeReceived(happening, place);
      case "closed":
      case "dropped": {
        const socket = this.#sockets.get(happening.socket)!;
        socket.endedAt = Math.min(socket.endedAt, at);
        return;
      }
      case "moved": {
        const { from, to, why } = happening;
        this.#moves.push({ at, place, from, to, why });
        this.#state = to;
        if (to === "ready") this.#socket!.readyAt = at;
        return;
      }
      case "asked": {
        const { key, req_id, text } = happening;
        const request: Request = {
          ...{ key, askedAt: at, req_id, text, state: this.#state, sent: undefined, settled: undefined, orphan: false },
        };
        this.#requests.set(key, request);
        const queue = this.#unsent.get(text);
        if (queue) queue.push(request);
        else this.#unsent.set(text, [request]);
        return;
      }
      case "settled": {
        const request = this.#requests.get(happening.key);
        if (request === undefined || request.settled !== undefined)
          this.#note("regular", at, `request ${happening.key} settled ${request ? "twice" : "without being asked"}`);
        else request.settled = { at, place, outcome: happening.outcome };
        // What settled unsent leaves the sending to others of the same text; if it is sent itself, that is noticed then.
        if (request?.sent === undefined) this.#unsent.get(request!.text)?.shift();
        return;
      }
      case "operator":
        this.#operator.push(happening);
        if (happening.did === "restart") {
          this.#state = "idle";
          for (const request of this.#requests.values()) request.orphan ||= request.settled === undefined;
        }
        return;
      case "answering": {
        const { answer: n, req_id, chat } = happening;
        this.#answers.set(n, { n, at, req_id, chat, said: undefined, over: undefined });
        this.#chatOf.set(req_id, chat);
        return;
      }
      case "said": {
        const answer = this.#answers.get(happening.answer);
        if (answer) answer.said = { at, marks: happening.marks, how: happening.how };
        return;
      }
      case "answered": {
        const answer = this.#answers.get(happening.answer);
        if (answer?.over !== undefined) this.#note("regular", at, `answer ${answer.n} ended twice`);
        else if (answer) answer.over = { at, state: happening.state, route: happening.route };
      }
    }
  }

  #takeSent(happening: Frame, place: number): void {
    const { at, text } = happening;
    const socket = this.#sockets.get(happening.socket);
    if (socket === undefined) return this.#note("regular", at, "a frame was sent without a socket");
    const frame = json(happening);
    const cmd = String(frame["cmd"]);
    const req_id = String(object(frame["headers"])["req_id"]);
    const body = object(frame["body"]);
    let request: Request | undefined;
    if (cmd !== "ping" && cmd !== "aibot_subscribe") {
      request = this.#unsent.get(text)?.shift();
      if (request === undefined) this.#note("regular", at, `${cmd} ${req_id} was sent without being asked for, or again`);
    }
    const sent: Sent = { at, place, socket, frame, cmd, req_id, body, text, request };
    if (request) request.sent = sent;
    socket.sent.push(sent);
    this.#sent.push(sent);
    const chat =
      cmd === "aibot_respond_msg" ? this.#chatOf.get(req_id) : cmd === "aibot_send_msg" ? String(body["chatid"]) : undefined;
    if (chat === undefined) return;
    const known = this.#chats.get(chat);
    if (known) known.push(sent);
    else this.#chats.set(chat, [sent]);
  }

  #takeReceived(happening: Frame, place: number): void {
    const socket = this.#sockets.get(happening.socket)!;
    // What a socket says after it was let go is nothing the client may know of.
    if (socket.endedAt < Infinity) return;
    const frame = json(happening);
    const req_id = object(frame["headers"])["req_id"];
    const isAck = frame["cmd"] === undefined && typeof frame["errcode"] === "number";
    const received: Received = {
      at: happening.at,
      place,
      frame,
      errcode: isAck ? (frame["errcode"] as number) : undefined,
      req_id: typeof req_id === "string" ? req_id : "",
    };
    socket.received.push(received);
    if (!isAck) return;
    const acks = socket.acks.get(received.req_id);
    if (acks) acks.push(received);
    else socket.acks.set(received.req_id, [received]);
  }

  #note(id: string, at: Millis, message: string): void {
    this.#irregular.push({ id, at, message });
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Invariants

const ackMs = 10_000;
const dialMs = 10_000;
const subscribeMs = 10_000;
const heartbeatMs = 30_000;
/** From the last sign that the line works to the end of a socket that has fallen silent. */
const noticedMs = 50_000;
const stableMs = 60_000;
const readyAgainMs = 65_000;
const throttledMs = 450_000;

/** How long to stay away after a subscribe was refused with one of these: for ever, or for 30 s. */
const leastAfter: ReadonlyMap<number, Millis> = new Map([
  ...[853000, 93019, 40001, 40013].map((errcode) => [errcode, Infinity] as const),
  ...[45009, 45033].map((errcode) => [errcode, 30_000] as const),
]);

function breach(id: string, at: Millis, message: string): Breach {
  return { id, at, message };
}

/** All of them; the first that is broken is reported, so what explains most stands first. */
export const invariants: readonly Invariant[] = [
  {
    id: "contract",
    holds: "no machine throws, sets a deadline that is over, does anything at an early tick, or differs after a restore",
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
          return breach("one-line", sockets[n]!.dialedAt, `socket ${sockets[n]!.n} was dialed beside ${sockets[n - 1]!.n}`);
      return undefined;
    },
  },
  {
    id: "subscribe-first",
    holds: "the first frame of a socket is its one subscribe, at once, and nothing follows before its ack",
    check({ sockets }) {
      for (const { n, openedAt, sent, acks } of sockets) {
        if (openedAt === undefined) continue;
        const [first, ...rest] = sent;
        if (first === undefined) continue;
        if (first.cmd !== "aibot_subscribe" || first.at - openedAt > 5_000 || first.req_id === "")
          return breach("subscribe-first", first.at, `the first frame of socket ${n} was ${first.cmd}`);
        const ack = acks.get(first.req_id)?.[0];
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
      for (const { n, readyAt, sent, acks } of sockets) {
        const ack = acks.get(sent[0]?.req_id ?? "")?.[0];
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
        if ((openedAt ?? end) - dialedAt > dialMs) return breach("gives-up", dialedAt, `the dial of socket ${n} took too long`);
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
    holds: "kicked, refused or stopped, a client dials when it is told to, or at the time that was agreed, and not before",
    check: staysAway,
  },
  {
    id: "refusal-obeyed",
    holds: "refused credentials are not tried again without the operator; a throttled subscribe is not for 30 s",
    check({ sockets, operator }) {
      for (const [index, { acks, sent, endedAt }] of sockets.entries()) {
        const ack = acks.get(sent[0]?.req_id ?? "")?.[0];
        const leastMs = leastAfter.get(ack?.errcode ?? 0);
        const next = sockets[index + 1];
        if (ack === undefined || leastMs === undefined) continue;
        if (endedAt > ack.at) return breach("refusal-obeyed", ack.at, `a socket was kept after ${ack.errcode}`);
        if (next === undefined || next.dialedAt - ack.at >= leastMs) continue;
        if (!operator.some(({ at, did }) => did !== "stop" && at >= ack.at && at <= next.dialedAt))
          return breach("refusal-obeyed", next.dialedAt, `dialed ${next.dialedAt - ack.at} ms after ${ack.errcode}`);
      }
      return undefined;
    },
  },
  {
    id: "kick-obeyed",
    holds: "after disconnected_event nothing is sent, the socket goes at once, and open requests settle",
    check({ sockets }) {
      for (const { n, received, sent, endedAt } of sockets)
        for (const { frame, at, place } of received) {
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
      for (const { n, readyAt, endedAt, sent, received } of sockets) {
        if (readyAt === undefined) continue;
        const pings = new Set(sent.filter(({ cmd }) => cmd === "ping").map(({ req_id }) => req_id));
        let heardAt = readyAt;
        for (const { req_id, errcode, at } of received) {
          if (errcode !== 0 || !pings.has(req_id)) continue;
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
      for (const { n, received, sent, endedAt } of sockets)
        for (const { errcode, at, place, req_id } of received) {
          // Looked for seldom, so no index.
          if (errcode !== 846609 || !sent.some((other) => other.req_id === req_id && other.place < place)) continue;
          if (endedAt > at) {
            // An ack that came too late for its frame belongs to nobody any more.
            const owed = sent.find((other) => other.req_id === req_id)!;
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
    check({ sockets, history }) {
      let due = 0;
      for (const { received } of sockets) for (const { frame } of received) if (isCallback(frame)) due++;
      let handed = 0;
      for (const happening of history.happenings) if (happening.what === "delivered") handed++;
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
    check({ history }) {
      for (const happening of history.happenings)
        if (
          (happening.what === "sent" && !happening.text.startsWith('{"cmd":"aibot_subscribe"')) ||
          happening.what === "noticed"
        )
          if (happening.text.includes(history.secret)) return breach("secret", happening.at, happening.text.slice(0, 80));
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
    holds: "after 846608 a stream, after 846604 and 846605 a req_id, is left alone; 6000 is retried three times at most",
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
          const next = frames.slice(index + 1).find((other) => other.place > place && (other.request?.askedAt ?? 0) >= at);
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
    holds: "what the ledger calls delivered is what the users see, once, and in its chat; what it calls refused they do not",
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

function backsOff({ moves, sockets, operator }: Story): Breach | undefined {
  let attempts = 0;
  let throttles = 0;
  let readyAt: Millis | undefined;
  let acts = 0;
  for (const [index, { at, from, to, why }] of moves.entries()) {
    for (; acts < operator.length && operator[acts]!.at <= at; acts++)
      if (operator[acts]!.did === "restart") [attempts, throttles] = [0, 0];
    if (to === "ready") readyAt = at;
    if (from === "ready" && readyAt !== undefined && at - readyAt >= stableMs) [attempts, throttles] = [0, 0];
    if (to !== "waiting") continue;
    const leastMs =
      why === "throttled" ? Math.min(300_000, 30_000 * 2 ** throttles++) : Math.min(30_000, 1_000 * 2 ** attempts++);
    const next = moves[index + 1];
    if (next === undefined || next.why !== "retry") continue;
    const waitedMs = next.at - at;
    if (waitedMs < leastMs || waitedMs > leastMs * 1.5 + 1)
      return breach("backs-off", next.at, `waited ${waitedMs} ms after ${why}; ${leastMs} to ${leastMs * 1.5} were due`);
  }
  // What the moves say is what was done.
  const dials = moves.filter(({ to }) => to === "dialing").length;
  return dials === sockets.length ? undefined : breach("backs-off", 0, `${sockets.length} dials in ${dials} moves`);
}

function staysAway({ moves, sockets, operator }: Story): Breach | undefined {
  let kicks: Millis[] = [];
  for (const [index, { at, to }] of moves.entries()) {
    if (to !== "kicked" && to !== "refused" && to !== "stopped") continue;
    const next = sockets.find(({ dialedAt }) => dialedAt > at);
    const told = operator.find((act) => act.at >= at && act.did !== "stop");
    // A new process knows nothing of the kicks of the one before.
    const bornAt = operator.findLast((act) => act.did === "restart" && act.at <= at)?.at ?? 0;
    if (to === "kicked") kicks = [...kicks.filter((kick) => kick >= bornAt && at - kick < 300_000), at];
    if (next === undefined || (told !== undefined && told.at <= next.dialedAt)) continue;
    const agreed = to === "kicked" && moves[index + 1]?.why === "retry" && kicks.length < 2 && next.dialedAt - at >= 30_000;
    if (!agreed) return breach("stays-away", next.dialedAt, `dialed ${next.dialedAt - at} ms after it was ${to}`);
  }
  return undefined;
}

function heartbeat({ sockets, history }: Story): Breach | undefined {
  const seen = new Set<string>();
  for (const { n, readyAt, endedAt, sent, acks } of sockets) {
    if (readyAt === undefined) continue;
    let before = readyAt;
    let acked = true;
    for (const { cmd, req_id, at } of sent) {
      if (cmd !== "ping") continue;
      if (seen.has(req_id)) return breach("heartbeat", at, `the req_id ${req_id} of a ping was used before`);
      seen.add(req_id);
      if (at - before > 45_000) return breach("heartbeat", at, `socket ${n} was not pinged for ${at - before} ms`);
      if (acked && at - before < 20_000) return breach("heartbeat", at, `socket ${n} was pinged again after ${at - before} ms`);
      before = at;
      acked = acks.get(req_id)?.some((ack) => ack.errcode === 0 && ack.at < at + ackMs) ?? false;
    }
    const end = Math.min(endedAt, history.endAt);
    if (end - before > Math.max(45_000, heartbeatMs)) return breach("heartbeat", end, `socket ${n} was not pinged any more`);
  }
  return undefined;
}

function oneInFlight({ sockets }: Story): Breach | undefined {
  for (const { sent, acks } of sockets) {
    const last = new Map<string, Sent>();
    for (const frame of sent) {
      if (frame.cmd === "ping") continue;
      const before = last.get(frame.req_id);
      last.set(frame.req_id, frame);
      if (before === undefined || frame.at - before.at >= ackMs) continue;
      // A request that was abandoned leaves its lane to the next one.
      const { outcome, place: settled = Infinity } = before.request?.settled ?? {};
      if (outcome?.type === "stopped" && settled < frame.place) continue;
      const acked = acks.get(frame.req_id)?.some(({ place }) => place > before.place && place < frame.place) ?? false;
      if (!acked) return breach("one-in-flight", frame.at, `${frame.req_id}: a frame was sent while another was in flight`);
    }
  }
  return undefined;
}

function lateAcks({ sockets }: Story): Breach | undefined {
  for (const { sent, acks } of sockets) {
    const lanes = new Map<string, number>();
    for (const { request, req_id, cmd } of sent) {
      if (request === undefined) continue;
      const nth = (lanes.get(req_id) ?? 0) + 1;
      lanes.set(req_id, nth);
      const { settled } = request;
      if (settled === undefined || (settled.outcome.type !== "acked" && settled.outcome.type !== "refused")) continue;
      const came = (acks.get(req_id) ?? []).filter(({ place }) => place < settled.place);
      const errcode = came.at(-1)?.errcode;
      if (came.length < nth)
        return breach("late-acks", settled.at, `${cmd} number ${nth} of ${req_id} was credited with ack ${came.length}`);
      if ((errcode === 0) !== (settled.outcome.type === "acked"))
        return breach("late-acks", settled.at, `${cmd} of ${req_id} settled as ${settled.outcome.type} by errcode ${errcode}`);
    }
  }
  return undefined;
}

function streamFrames({ sent }: Story): Breach | undefined {
  const streams = new Map<string, Sent>();
  const first = new Map<string, Sent>();
  for (const frame of sent) {
    if (frame.cmd !== "aibot_respond_msg" && frame.cmd !== "aibot_send_msg") continue;
    const { at, body } = frame;
    const stream = object(body["stream"]);
    const isStream = body["msgtype"] === "stream";
    const content = String((isStream ? stream : object(body["markdown"]))["content"] ?? "");
    if (!content.isWellFormed()) return breach("stream-frames", at, "a text was cut inside a character");
    if (content.length * 3 > 20_480 && bytesOf(content) > 20_480)
      return breach("stream-frames", at, `a text of ${bytesOf(content)} bytes was sent`);
    if (!isStream) continue;
    const id = String(stream["id"]);
    const finish = stream["finish"] === true;
    if (finish && !/[^\s\u200B-\u200D\u2060\uFEFF]/.test(content))
      return breach("stream-frames", at, `stream ${id} was finished without a visible character`);
    const before = streams.get(id);
    streams.set(id, frame);
    if (before === undefined) {
      first.set(id, frame);
      continue;
    }
    if (before.req_id !== frame.req_id) return breach("stream-frames", at, `stream ${id} was continued on another req_id`);
    const earlier = object(before.body["stream"]);
    const { outcome } = before.request?.settled ?? {};
    if (earlier["finish"] === true) {
      const again = finish && (outcome?.type === "refused" || before.socket !== frame.socket);
      if (!again) return breach("stream-frames", at, `stream ${id} was touched after it was finished`);
    } else if (!finish && !content.startsWith(String(earlier["content"])))
      return breach("stream-frames", at, `a frame of stream ${id} does not begin with the one before`);
    if (before.socket === frame.socket && at - first.get(id)!.at > 600_000)
      return breach("stream-frames", at, `stream ${id} was continued after its ten minutes`);
  }
  return undefined;
}

function streamRefused({ sent }: Story): Breach | undefined {
  const closedStreams = new Map<string, number>();
  const closedReqIds = new Map<string, number>();
  const conflicts = new Map<string, number>();
  for (const { cmd, at, place, req_id, body, request } of sent) {
    if (cmd !== "aibot_respond_msg" || body["msgtype"] !== "stream") continue;
    const id = String(object(body["stream"])["id"]);
    if ((closedStreams.get(id) ?? Infinity) < place) return breach("stream-refused", at, `stream ${id} was continued after 846608`);
    if ((closedReqIds.get(req_id) ?? Infinity) < place)
      return breach("stream-refused", at, `${req_id} was answered again after it was refused`);
    const { outcome, place: settled = Infinity } = request?.settled ?? {};
    if (outcome?.type === "refused") {
      if (outcome.errcode === 846608) closedStreams.set(id, settled);
      if (outcome.errcode === 846604 || outcome.errcode === 846605) closedReqIds.set(req_id, settled);
    }
    const inARow = outcome?.errcode === 6000 ? (conflicts.get(id) ?? 0) + 1 : 0;
    conflicts.set(id, inARow);
    if (inARow > 4) return breach("stream-refused", at, `stream ${id} met 6000 ${inARow} times in a row`);
  }
  return undefined;
}

function endsSoon({ answers, chats, sockets, history }: Story): Breach | undefined {
  for (const { n, chat, req_id, at: begunAt, said } of answers.values()) {
    if (said === undefined || said.at + 5_000 > history.endAt) continue;
    const frames = chats.get(chat) ?? [];
    const minute = frames.filter(({ at }) => at > said.at - 120_000 && at <= said.at + 5_000);
    // Alone, and nothing of it was refused or is unknown.
    const alone = minute.every(({ req_id: other, request }) => other === req_id && request?.settled?.outcome.type === "acked");
    if (!alone) continue;
    const socket = sockets.findLast(({ dialedAt }) => dialedAt <= said.at);
    if (socket?.readyAt === undefined || socket.readyAt > begunAt || socket.endedAt < said.at + 5_000) continue;
    const mine = frames.filter(({ req_id: other }) => other === req_id);
    if (mine.some(({ body }) => body["msgtype"] !== "stream")) continue;
    const finished = mine.find(({ at, body }) => at >= said.at - 5_000 && object(body["stream"])["finish"] === true);
    const inFlight = mine.findLast(({ at }) => at < said.at)?.request?.settled?.at ?? said.at;
    const due = Math.max(said.at, inFlight) + 1_000;
    if (due + 1_000 > said.at + 5_000) continue;
    if (finished === undefined || finished.at > due)
      return breach("ends-soon", said.at, `answer ${n} ended and was finished ${finished ? `${finished.at - said.at} ms later` : "by nothing"}`);
  }
  return undefined;
}

function pushesOnce({ sent }: Story): Breach | undefined {
  const last = new Map<string, Sent>();
  for (const frame of sent) {
    if (frame.cmd !== "aibot_respond_msg" && frame.cmd !== "aibot_send_msg") continue;
    for (const [mark] of frame.text.matchAll(marks)) {
      const before = last.get(mark);
      last.set(mark, frame);
      if (frame.cmd !== "aibot_send_msg" || before === undefined) continue;
      const outcome = before.request?.settled?.outcome;
      if (outcome?.type !== "refused")
        return breach("pushes-once", frame.at, `${mark} was pushed though it was ${outcome?.type ?? "never settled"} before`);
      if (before.cmd === "aibot_send_msg" && (outcome.errcode === 93006 || outcome.errcode === 93001))
        return breach("pushes-once", frame.at, `${mark} was pushed again after ${outcome.errcode}`);
    }
  }
  return undefined;
}

function uploads({ sockets, history }: Story): Breach | undefined {
  const given = new Set<string>();
  const media = new Set<string>();
  const inits = new Map<string, number>();
  const taken = new Map<string, Set<number>>();
  for (const { n, sent, acks } of sockets) {
    const sends = new Map<string, number>();
    for (const frame of sent) {
      const { cmd, at, req_id, body, request } = frame;
      const id = String(body["upload_id"]);
      if (cmd === "aibot_send_msg" && body["msgtype"] === "file") {
        const mediaId = String(object(body["file"])["media_id"]);
        if (!media.has(mediaId)) return breach("uploads", at, `the media_id ${mediaId} was never given`);
        continue;
      }
      if (!cmd.startsWith("aibot_upload")) continue;
      const ack =
        request?.settled?.outcome.type === "acked"
          ? object(acks.get(req_id)?.find(({ errcode }) => errcode === 0)?.frame["body"])
          : undefined;
      if (cmd === "aibot_upload_media_init") {
        const size = Number(body["total_size"]);
        if (size < 5 || body["total_chunks"] !== Math.ceil(size / 524_288))
          return breach("uploads", at, `init says ${size} bytes in ${String(body["total_chunks"])} chunks`);
        if (ack === undefined) continue;
        given.add(String(ack["upload_id"]));
        inits.set(String(ack["upload_id"]), Number(body["total_chunks"]));
        taken.set(String(ack["upload_id"]), new Set());
        continue;
      }
      const chunks = inits.get(id);
      if (chunks === undefined) return breach("uploads", at, `${cmd} before, or without, the ack of an init`);
      if (cmd === "aibot_upload_media_chunk") {
        const index = Number(body["chunk_index"]);
        if (!(index >= 0 && index < chunks)) return breach("uploads", at, `chunk ${index} of ${chunks}`);
        const length = String(body["base64_data"]).length;
        if (length > 699_052) return breach("uploads", at, `a chunk of ${length} characters`);
        const times = (sends.get(`${id} ${index}`) ?? 0) + 1;
        sends.set(`${id} ${index}`, times);
        if (times > 3) return breach("uploads", at, `chunk ${index} was sent ${times} times on socket ${n}`);
        if (ack !== undefined) taken.get(id)!.add(index);
      } else {
        if (taken.get(id)!.size < chunks) return breach("uploads", at, `finish after ${taken.get(id)!.size} of ${chunks} chunks`);
        if (ack !== undefined) media.add(String(ack["media_id"]));
      }
    }
  }
  for (const happening of history.happenings)
    if (happening.what === "uploaded" && happening.state === "uploaded" && media.size === 0)
      return breach("uploads", happening.at, "an upload was called done without a media_id");
  return undefined;
}

function readByUsers({ history, answers, chats, requests, sockets }: Story): Breach | undefined {
  const seen = new Map<string, { times: number; chat: string }>();
  for (const { content, chat } of history.shown)
    for (const [mark] of content.matchAll(marks)) {
      const before = seen.get(mark);
      if (before) before.times++;
      else seen.set(mark, { times: 1, chat });
    }
  const repeated = repeatedAcks(sockets);
  for (const { n, chat, req_id, at, said, over } of answers.values()) {
    if (said === undefined || over === undefined) continue;
    const doubtful =
      over.state === "unknown" ||
      (chats.get(chat) ?? []).some(
        ({ text, request }) => text.includes(markOf(n, 0).slice(0, -2)) && request?.settled?.outcome.type !== "acked" && request?.settled?.outcome.type !== "refused",
      );
    for (let piece = 0; piece < said.marks; piece++) {
      const mark = markOf(n, piece);
      const found = seen.get(mark);
      if (found === undefined && over.state === "delivered" && !repeated.has(req_id))
        return breach("read-by-users", over.at, `answer ${n} is delivered, and nobody sees ${mark}`);
      if (found === undefined) continue;
      if (found.chat !== chat) return breach("read-by-users", at, `answer ${n} is seen in ${found.chat}, not in ${chat}`);
      if (found.times > 1 && !doubtful)
        return breach("read-by-users", over.at, `${mark} is seen ${found.times} times`);
    }
    if (over.state !== "delivered" || over.route !== "stream" || repeated.has(req_id)) continue;
    const open = history.shown.find((item) => item.req_id === req_id && !item.finished);
    if (open) return breach("read-by-users", over.at, `answer ${n} is delivered, and its bubble ${open.streamId} is open`);
  }
  return pushesRead(history, seen, requests);
}

/** Req_ids with more acks than frames: a repeated ack cannot be told from the next one, so nobody can know what it confirms. */
function repeatedAcks(sockets: readonly Socket[]): ReadonlySet<string> {
  const repeated = new Set<string>();
  for (const { sent, acks } of sockets) {
    const due = new Map<string, number>();
    for (const { req_id } of sent) due.set(req_id, (due.get(req_id) ?? 0) + 1);
    for (const [req_id, came] of acks) if (came.length > (due.get(req_id) ?? 0)) repeated.add(req_id);
  }
  return repeated;
}

function pushesRead(
  history: History,
  seen: ReadonlyMap<string, { readonly times: number }>,
  requests: ReadonlyMap<number, Request>,
): Breach | undefined {
  for (const happening of history.happenings) {
    if (happening.what !== "pushed" || !happening.push.startsWith("p")) continue;
    const times = seen.get(markOf(Number(happening.push.slice(1)), 0))?.times ?? 0;
    const { at, push, state } = happening;
    if (state === "delivered" && times !== 1) return breach("read-by-users", at, `push ${push} is delivered and seen ${times} times`);
    if (state === "failed" && times > 0) return breach("read-by-users", at, `push ${push} failed and is seen`);
    if (times > 1) return breach("read-by-users", at, `push ${push} is seen ${times} times`);
  }
  for (const { settled, sent, askedAt, key } of requests.values())
    if (settled?.outcome.type === "connection-lost" && (sent !== undefined) !== settled.outcome.maybeDelivered)
      return breach("read-by-users", askedAt, `request ${key} ${sent ? "was" : "was not"} sent and says otherwise`);
  return undefined;
}

function bytesOf(text: string): number {
  return new TextEncoder().encode(text).length;
}

// ---------------------------------------------------------------------------------------------------------------------
// Behaviours

/** For each of the 85 behaviours of spec/requirements.yaml: the invariants that hold it here, or why none does. */
export type Coverage = readonly string[] | { readonly not: string };

const connector = (what: string): Coverage => ({ not: `the core has no part in ${what}; the connector does, and is tried there` });
const runtime = (what: string): Coverage => ({ not: `${what} is a matter of sockets, which the simulator has none of` });
const vectors = (what: string): Coverage => ({ not: `${what} is what decoding makes of one frame; the golden frames hold it` });

/** By the behaviour's number. */
export const behaviours: Readonly<Record<number, Coverage>> = {
  1: ["subscribe-first"],
  2: ["subscribe-first", "not-ready"],
  3: ["gives-up", "backs-off"],
  4: ["ready-by-ack", "delivers-once"],
  5: ["ready-by-ack"],
  6: ["refusal-obeyed", "six-a-minute"],
  7: ["refusal-obeyed", "stays-away"],
  8: ["refusal-obeyed", "backs-off"],
  9: ["backs-off", "ready-again"],
  10: ["backs-off", "six-a-minute"],
  11: ["ready-again"],
  12: ["backs-off", "ready-again"],
  13: ["ready-by-ack"],
  14: ["subscribe-first"],
  15: ["kick-obeyed", "not-ready"],
  16: ["kick-obeyed"],
  17: ["stays-away"],
  18: ["stays-away"],
  19: ["kick-obeyed", "contract"],
  20: ["settles"],
  21: ["heartbeat"],
  22: ["notices-silence"],
  23: ["notices-silence", "not-subscribed"],
  24: ["backs-off", "ready-again"],
  25: runtime("a write that blocks"),
  26: runtime("a WebSocket ping"),
  27: ["contract", "survives-oddities"],
  28: ["notices-silence"],
  29: connector("knowing a msgid again"),
  30: connector("the memory of msgids"),
  31: connector("naming a conversation"),
  32: ["read-by-users", "push-target"],
  33: ["survives-oddities", "delivers-once"],
  34: ["contract", "survives-oddities"],
  35: runtime("a binary frame"),
  36: ["contract", "survives-oddities", "delivers-once"],
  37: vectors("a mixed message"),
  38: vectors("a quote"),
  39: ["heartbeat", "delivers-once"],
  40: ["stream-frames"],
  41: runtime("a frame of 1.5 MiB"),
  42: connector("the mention in front of a text"),
  43: connector("the choice of a welcome"),
  44: connector("the update of a card"),
  45: vectors("a card event"),
  46: connector("the meaning of feedback"),
  47: ["stream-frames"],
  48: ["one-in-flight"],
  49: ["stream-frames", "ends-soon", "nothing-left"],
  50: ["stream-frames", "read-by-users"],
  51: ["stream-refused", "read-by-users"],
  52: ["stream-frames"],
  53: ["stream-refused", "read-by-users"],
  54: ["throttled-chat", "read-by-users"],
  55: ["stream-refused", "read-by-users"],
  56: ["not-subscribed", "settles", "ready-again"],
  57: ["pushes-once", "regular"],
  58: ["late-acks"],
  59: ["quota", "read-by-users"],
  60: ["read-by-users", "nothing-left"],
  61: ["contract"],
  62: ["regular", "socket-order"],
  63: ["push-target"],
  64: ["pushes-once"],
  65: ["not-ready", "one-line"],
  66: ["pushes-once"],
  67: connector("making markdown of a text"),
  68: ["uploads"],
  69: ["uploads"],
  70: ["uploads"],
  71: ["uploads"],
  72: ["uploads"],
  73: ["uploads"],
  74: ["uploads"],
  75: ["uploads"],
  76: ["uploads"],
  77: connector("decrypting a file"),
  78: connector("the padding of a file"),
  79: connector("the name of a file"),
  80: connector("a download"),
  81: connector("the name of a file"),
  82: { not: "a run of 15 minutes is too short for it: a test of 24 virtual hours holds it (test/sim.test.ts)" },
  83: ["contract", "one-line"],
  84: ["nothing-left", "stays-away"],
  85: ["secret"],
};
