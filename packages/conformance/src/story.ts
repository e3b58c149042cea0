/**
 * A history, sorted once, so that each invariant finds what it asks for: by socket, by request, by chat, by answer.
 *
 * Decides what belongs together (which request a frame came from, which chat it went to), and notes what is so irregular
 * that it belongs nowhere. Knows no rule of the protocol beyond that.
 */
import { json, object } from "./history.ts";
import type { Frame, Happening, History, Json, Millis, Settled } from "./history.ts";

/** A breach: which invariant, when, and what was seen. */
export interface Breach {
  readonly id: string;
  readonly at: Millis;
  readonly message: string;
}

/** A frame that the client sent, with what was found in it. */
export interface Sent {
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

/** A frame that the client got on a socket it had not let go. */
export interface Received {
  readonly at: Millis;
  readonly place: number;
  readonly frame: Json;
  /** Of an ack; a callback has none. */
  readonly errcode: number | undefined;
  readonly req_id: string;
}

/** One socket, from its dial on. */
export interface Socket {
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

/** One request of the application to the connection. */
export interface Request {
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

/** One transition. */
export interface Move {
  readonly at: Millis;
  readonly place: number;
  readonly from: string;
  readonly to: string;
  readonly why: string;
}

/** One answer, from the callback to its end. */
export interface AnswerStory {
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
  /** What the rest of the history holds, by kind. */
  readonly delivered: number;
  readonly noticed: readonly (Happening & { what: "noticed" })[];
  readonly pushed: readonly (Happening & { what: "pushed" })[];
  readonly uploaded: readonly (Happening & { what: "uploaded" })[];
  /** Req_ids with a repeated ack: it cannot be told from the next one, so nobody can know what it confirms. */
  readonly repeatedAcks: ReadonlySet<string>;
  /** Found while the story was told: what settles twice, or is sent without having been asked. */
  readonly irregular: readonly Breach[];
}

/** Sorts a history. */
export function tell(history: History): Story {
  return new Telling(history).story();
}

/** One pass over the happenings. */
class Telling {
  readonly #history: History;
  readonly #sockets = new Map<number, Socket>();
  readonly #sent: Sent[] = [];
  readonly #requests = new Map<number, Request>();
  /** Requests that were not sent yet, by their req_id, oldest first. */
  readonly #unsent = new Map<string, Request[]>();
  readonly #moves: Move[] = [];
  readonly #operator: (Happening & { what: "operator" })[] = [];
  readonly #answers = new Map<number, AnswerStory>();
  readonly #chatOf = new Map<string, string>();
  readonly #chats = new Map<string, Sent[]>();
  readonly #irregular: Breach[] = [];
  readonly #noticed: (Happening & { what: "noticed" })[] = [];
  readonly #pushed: (Happening & { what: "pushed" })[] = [];
  readonly #uploaded: (Happening & { what: "uploaded" })[] = [];
  readonly #repeatedAcks = new Set<string>();
  #delivered = 0;
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
      delivered: this.#delivered,
      noticed: this.#noticed,
      pushed: this.#pushed,
      uploaded: this.#uploaded,
      repeatedAcks: this.#repeatedAcks,
    };
  }

  #take(happening: Happening, place: number): void {
    const { at } = happening;
    switch (happening.what) {
      case "dialed": {
        const { socket: n } = happening;
        this.#socket = {
          n,
          dialedAt: at,
          openedAt: undefined,
          readyAt: undefined,
          endedAt: Infinity,
          sent: [],
          received: [],
          acks: new Map(),
        };
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
        const state = this.#state;
        const request: Request = {
          key,
          askedAt: at,
          req_id,
          text,
          state,
          sent: undefined,
          settled: undefined,
          orphan: false,
        };
        this.#requests.set(key, request);
        const queue = this.#unsent.get(req_id);
        if (queue) queue.push(request);
        else this.#unsent.set(req_id, [request]);
        return;
      }
      case "settled": {
        const request = this.#requests.get(happening.key);
        if (request === undefined || request.settled !== undefined)
          this.#note("regular", at, `request ${happening.key} settled ${request ? "twice" : "without being asked"}`);
        else request.settled = { at, place, outcome: happening.outcome };
        // What settled unsent leaves the sending to others of the same text; if it is sent itself, that is noticed then.
        if (request !== undefined && request.sent === undefined) this.#takeUnsent(request.req_id, request.text);
        return;
      }
      case "operator":
        this.#operator.push(happening);
        if (happening.did === "restart") {
          this.#state = "idle";
          // What the dead process had queued is not what its successor sends.
          this.#unsent.clear();
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
        return;
      }
      case "delivered":
        this.#delivered++;
        return;
      case "noticed":
        this.#noticed.push(happening);
        return;
      case "pushed":
        this.#pushed.push(happening);
        return;
      case "uploaded":
        this.#uploaded.push(happening);
        return;
      case "fault":
        if (happening.repeats !== undefined) this.#repeatedAcks.add(happening.repeats);
        return;
      case "pushing":
      case "uploading":
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
      request = this.#takeUnsent(req_id, text);
      if (request === undefined)
        this.#note("regular", at, `${cmd} ${req_id} was sent without being asked for, or again`);
    }
    const sent: Sent = { at, place, socket, frame, cmd, req_id, body, text, request };
    if (request) request.sent = sent;
    socket.sent.push(sent);
    this.#sent.push(sent);
    const chat =
      cmd === "aibot_respond_msg"
        ? this.#chatOf.get(req_id)
        : cmd === "aibot_send_msg"
          ? String(body["chatid"])
          : undefined;
    if (chat === undefined) return;
    const known = this.#chats.get(chat);
    if (known) known.push(sent);
    else this.#chats.set(chat, [sent]);
  }

  /** The oldest request of this text that was not sent yet. */
  #takeUnsent(req_id: string, text: string): Request | undefined {
    const queue = this.#unsent.get(req_id);
    if (queue === undefined) return undefined;
    if (queue[0]?.text === text) return queue.shift();
    const place = queue.findIndex((request) => request.text === text);
    return place === -1 ? undefined : queue.splice(place, 1)[0];
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

/** Makes a breach. */
export function breach(id: string, at: Millis, message: string): Breach {
  return { id, at, message };
}
