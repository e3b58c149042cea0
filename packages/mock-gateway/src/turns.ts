/**
 * Turns: what the server knows of each callback it made, by its req_id, for as long as that means something.
 *
 * A turn is one delivery of one message or event: whom it concerns, when it went out, what came of it. It is kept for twice
 * the reply window, so that a late reply is told from an invented one, and a response_url for its own life. What a callback
 * says is callbacks.ts; what a reply to one is worth, conversations.ts. Instants are on the world clock.
 */
import type { Chance } from "./chance.ts";
import { bound, keepNewest } from "./bounded.ts";
import type { Making } from "./callbacks.ts";
import type { BotItem, Chat } from "./chats.ts";
import type { Millis } from "./clock.ts";
import type { Media } from "./media.ts";
import type { Fields } from "./session.ts";
import type { Switches } from "./switches.ts";

/** A bot as conversations know it. */
export interface Speaker {
  readonly id: string;
  readonly name: string;
  readonly memory: Memory;
}

/** What is remembered for one bot. */
export class Memory {
  // Most of ten thousand bots never need them, and empty tables cost as much as the rest of a bot.
  #taskIds: Set<string> | undefined;
  #unanswered: Map<string, Turn> | undefined;
  #interactions: Map<string, Turn[]> | undefined;

  get taskIds(): Set<string> {
    return (this.#taskIds ??= new Set());
  }

  /** Delivered messages nobody answered, by msgid; kept only when they are to be redelivered. */
  get unanswered(): Map<string, Turn> {
    return (this.#unanswered ??= new Map());
  }

  /** What each user has in interaction, by userid. */
  get interactions(): Map<string, Turn[]> {
    return (this.#interactions ??= new Map());
  }
}

/** Where a callback goes: the connection's number, and how its client reaches us over HTTP. */
export interface Destination {
  readonly connection: number;
  readonly origin: string;
}

/** One callback and what came of it. */
export interface Turn {
  readonly reqId: string;
  readonly msgid: string;
  readonly bot: Speaker;
  /** Undefined for a message. */
  readonly eventtype: string | undefined;
  readonly chat: Chat | undefined;
  /** World clock. */
  readonly at: Millis;
  readonly connection: number;
  /** What goes out; let go once it is certain that it does not go out again. */
  body: Fields;
  /** Shared by all deliveries of one message. */
  readonly outcome: { answered: boolean };
  streams: Map<string, Stream> | undefined;
}

/** A bubble that grows. */
export interface Stream {
  readonly item: BotItem;
  /** World clock, of the first frame. */
  readonly firstAt: Millis;
  pendingAcks: number;
}

/** A callback to be made. */
export interface Callback {
  readonly bot: Speaker;
  readonly chat: Chat | undefined;
  /** Undefined for a message. */
  readonly eventtype: string | undefined;
  /** Made up when there is none. */
  readonly msgid: string | undefined;
  /** Without one the turn is made and has no meaning: nothing can answer it. */
  readonly to: Destination | undefined;
  readonly compose: (making: Making) => Fields;
}

/** What turns borrow. */
export interface TurnPorts {
  readonly now: () => Millis;
  readonly chance: Chance;
  readonly media: Media;
  readonly switches: () => Switches;
}

interface ResponseUrl {
  readonly turn: Turn;
  used: boolean;
}

const maxTurns = 50_000;
const maxResponseUrls = 20_000;
const sweepEveryMs = 60_000;

/** The turns of all bots. */
export class Turns {
  readonly #ports: TurnPorts;
  readonly #turns = new Map<string, Turn>();
  readonly #responseUrls = new Map<string, ResponseUrl>();
  #sweepAt: Millis = 0;

  constructor(ports: TurnPorts) {
    this.#ports = ports;
  }

  /** How many req_ids still have a meaning. */
  get size(): number {
    return this.#turns.size;
  }

  get(reqId: string): Turn | undefined {
    return this.#turns.get(reqId);
  }

  /** Makes a callback. */
  open({ bot, chat, eventtype, msgid, to, compose }: Callback): Turn {
    const { chance, media } = this.#ports;
    const now = this.#ports.now();
    const switches = this.#ports.switches();
    const origin = to?.origin ?? "http://127.0.0.1";
    const answerable = chat !== undefined && (eventtype === undefined || eventtype === "template_card_event");
    const responseCode = switches.responseUrl && answerable ? chance.id(43) : undefined;
    const body = compose({
      bot,
      now,
      origin,
      msgid: msgid ?? newMsgid(chance),
      createTime: switches.messageCreateTime,
      responseUrl:
        responseCode === undefined ? undefined : `${origin}/cgi-bin/aibot/response?response_code=${responseCode}`,
      offer: (file) => media.offer(now, file, switches),
    });
    const turn: Turn = {
      reqId: chance.id(24),
      msgid: body["msgid"] as string,
      bot,
      eventtype,
      chat,
      at: now,
      connection: to?.connection ?? 0,
      body,
      outcome: { answered: false },
      streams: undefined,
    };
    if (!to) return turn;
    this.#remember(turn);
    if (responseCode !== undefined)
      keepNewest(this.#responseUrls, responseCode, { turn, used: false }, maxResponseUrls);
    return turn;
  }

  /** The same message once more: the same msgid, under a new req_id unless the old one is asked for. */
  again(turn: Turn, to: Destination, sameReqId: boolean): Turn {
    const reqId = sameReqId ? turn.reqId : this.#ports.chance.id(24);
    const repeated: Turn = { ...turn, reqId, connection: to.connection, streams: sameReqId ? turn.streams : undefined };
    this.#remember(repeated);
    return repeated;
  }

  /** Gives a turn the req_id of something else that is pending: what a fault asks for. */
  rename(turn: Turn, reqId: string): Turn {
    const renamed = { ...turn, reqId };
    this.#turns.delete(turn.reqId);
    this.#remember(renamed);
    return renamed;
  }

  /** A bot was removed: its req_ids mean nothing any more. */
  forget(bot: Speaker): void {
    for (const [reqId, turn] of this.#turns) if (turn.bot === bot) this.#turns.delete(reqId);
  }

  /** What a response_url answers to, if it can still be posted to: once, within its life (GW-PUSH-15). */
  byResponseCode(code: string): ResponseUrl | undefined {
    const url = this.#responseUrls.get(code);
    const usable = url && !url.used && this.#ports.now() - url.turn.at <= this.#ports.switches().responseUrlLifeMs;
    return usable ? url : undefined;
  }

  #remember(turn: Turn): void {
    this.#turns.set(turn.reqId, turn);
    bound(this.#turns, maxTurns);
    const now = this.#ports.now();
    if (now < this.#sweepAt) return;
    this.#sweepAt = now + sweepEveryMs;
    const { replyWindowMs, responseUrlLifeMs } = this.#ports.switches();
    for (const [reqId, { at }] of this.#turns) {
      if (at >= now - 2 * replyWindowMs) break;
      this.#turns.delete(reqId);
    }
    for (const [code, { turn: old }] of this.#responseUrls) {
      if (old.at >= now - responseUrlLifeMs) break;
      this.#responseUrls.delete(code);
    }
  }
}

/** Somebody answered: the message is no longer in interaction, nor to be redelivered. */
export const answered = (turn: Turn): void => {
  turn.outcome.answered = true;
  turn.bot.memory.unanswered.delete(turn.msgid);
};

/** Long, base64-like, with what base64 may hold: `/` and `=`. */
const newMsgid = (chance: Chance): string => `CAIQ${chance.id(18)}/${chance.id(20)}=`;
