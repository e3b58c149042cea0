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
  readonly lane: Lane;
  /** The request it came from; pings and subscribes have none. */
  readonly request: Request | undefined;
}

/** A frame other than an ack that the client got on a socket it had not let go. */
export interface Callback {
  readonly at: Millis;
  readonly place: number;
  readonly frame: Json;
}

/** An ack that it got so. */
export interface Ack {
  readonly at: Millis;
  readonly place: number;
  readonly frame: Json;
  readonly errcode: number;
  readonly lane: Lane;
}

/** What one req_id saw on one socket, in order: what was sent, and the acks that came. */
export interface Lane {
  readonly sent: Sent[];
  readonly acks: Ack[];
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
  readonly callbacks: Callback[];
  readonly acks: Ack[];
  /** By req_id. */
  readonly lanes: Map<string, Lane>;
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
  /** How many frames there were, either way, on whatever socket. */
  readonly frames: number;
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

/** What is known of a req_id, whatever the socket. */
interface Thread {
  /** Requests that were not sent yet, oldest first. */
  readonly unsent: Request[];
  /** Of a callback's. */
  chat: string | undefined;
}

/** One pass over the happenings. */
class Telling {
  readonly #history: History;
  readonly #sockets = new Map<number, Socket>();
  readonly #sent: Sent[] = [];
  readonly #requests = new Map<number, Request>();
  readonly #threads = new Map<string, Thread>();
  readonly #moves: Move[] = [];
  readonly #operator: (Happening & { what: "operator" })[] = [];
  readonly #answers = new Map<number, AnswerStory>();
  readonly #chats = new Map<string, Sent[]>();
  readonly #irregular: Breach[] = [];
  readonly #noticed: (Happening & { what: "noticed" })[] = [];
  readonly #pushed: (Happening & { what: "pushed" })[] = [];
  readonly #uploaded: (Happening & { what: "uploaded" })[] = [];
  readonly #repeatedAcks = new Set<string>();
  #delivered = 0;
  #frames = 0;
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
      frames: this.#frames,
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
          callbacks: [],
          acks: [],
          lanes: new Map(),
        };
        this.#sockets.set(n, this.#socket);
        return;
      }
      case "opened":
        this.#sockets.get(happening.socket)!.openedAt = at;
        return;
      case "sent":
        this.#frames++;
        return this.#takeSent(happening, place);
      case "received":
        this.#frames++;
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
        this.#thread(req_id).unsent.push(request);
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
          for (const { unsent } of this.#threads.values()) unsent.length = 0;
          for (const request of this.#requests.values()) request.orphan ||= request.settled === undefined;
        }
        return;
      case "answering": {
        const { answer: n, req_id, chat } = happening;
        this.#answers.set(n, { n, at, req_id, chat, said: undefined, over: undefined });
        this.#thread(req_id).chat = chat;
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
    const cmd = nameOf(frame["cmd"]);
    const req_id = String(object(frame["headers"])["req_id"]);
    const body = object(frame["body"]);
    let request: Request | undefined;
    if (cmd !== "ping" && cmd !== "aibot_subscribe") {
      request = this.#takeUnsent(req_id, text);
      if (request === undefined)
        this.#note("regular", at, `${cmd} ${req_id} was sent without being asked for, or again`);
    }
    const lane = laneOf(socket, req_id);
    const sent: Sent = { at, place, socket, frame, cmd, req_id, body, text, lane, request };
    if (request) request.sent = sent;
    lane.sent.push(sent);
    socket.sent.push(sent);
    this.#sent.push(sent);
    const chat =
      cmd === "aibot_respond_msg"
        ? this.#threads.get(req_id)?.chat
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
    const unsent = this.#threads.get(req_id)?.unsent;
    if (unsent?.[0]?.text === text) return unsent.shift();
    const place = unsent?.findIndex((request) => request.text === text) ?? -1;
    return place === -1 ? undefined : unsent?.splice(place, 1)[0];
  }

  #thread(req_id: string): Thread {
    let thread = this.#threads.get(req_id);
    if (thread === undefined) this.#threads.set(req_id, (thread = { unsent: [], chat: undefined }));
    return thread;
  }

  #takeReceived(happening: Frame, place: number): void {
    const socket = this.#sockets.get(happening.socket)!;
    // What a socket says after it was let go is nothing the client may know of.
    if (socket.endedAt < Infinity) return;
    const frame = json(happening);
    const { at } = happening;
    const { cmd, errcode } = frame;
    if (cmd !== undefined || typeof errcode !== "number") {
      socket.callbacks.push({ at, place, frame });
      return;
    }
    const req_id = object(frame["headers"])["req_id"];
    const lane = laneOf(socket, typeof req_id === "string" ? req_id : "");
    const ack: Ack = { at, place, frame, errcode, lane };
    socket.acks.push(ack);
    lane.acks.push(ack);
  }

  #note(id: string, at: Millis, message: string): void {
    this.#irregular.push({ id, at, message });
  }
}

function laneOf({ lanes }: Socket, req_id: string): Lane {
  let lane = lanes.get(req_id);
  if (lane === undefined) lanes.set(req_id, (lane = { sent: [], acks: [] }));
  return lane;
}

/** A command's name, always as the same string: it is compared very often. */
function nameOf(cmd: unknown): string {
  const name = String(cmd);
  return names.get(name) ?? name;
}

const names = new Map(
  ["ping", "aibot_respond_msg", "aibot_send_msg", "aibot_subscribe"].map((name) => [name, name] as const),
);

/** Makes a breach. */
export function breach(id: string, at: Millis, message: string): Breach {
  return { id, at, message };
}
