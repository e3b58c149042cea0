/**
 * The whole gateway without a socket: bots, connections, the kick rule, chats, windows, quotas, uploads, acks.
 *
 * `handle(now, input)` returns everything that follows from the input, in order; `deadline` says when to come back with a
 * tick. `now` is the transport clock; the world clock is inside (clock.ts). The same seed and the same inputs give the
 * same effects, byte for byte.
 *
 * Invariants: nothing a client sends makes it throw; every act with a req_id is answered by exactly one ack; every table
 * has a bound or a life; an ack leaves in the order in which its connection's commands came.
 *
 * What a frame means is session.ts; which fact the server is assumed to have is switches.ts; why something happened is
 * behaviours.ts.
 */
import { cmd, maxContentBytes, maxFeedbackIdBytes } from "@openws/protocol/frames";
import { behaviours, type BehaviourId } from "./behaviours.ts";
import { eventBody, messageBody, wordsOf, type Making, type UserEvent, type UserMessage } from "./callbacks.ts";
import { bound, keepNewest } from "./bounded.ts";
import { refuseCard } from "./cards.ts";
import { Chance } from "./chance.ts";
import { Chats, type BotItem, type Chat, type Via } from "./chats.ts";
import { Clock, type Appointment, type Millis } from "./clock.ts";
import { Media, type HttpAnswer, type UploadedFile } from "./media.ts";
import { readResponse, Session, type Act, type Card, type Content, type Fields } from "./session.ts";
import { profile, SomeSwitches, type ProfileName, type Switches } from "./switches.ts";
import { Uploads, type Refused } from "./uploads.ts";
import { maskSecret, type LogEntry } from "./wirelog.ts";

/** A bot that may subscribe. Without a secret any is accepted; the name is what groups mention, by default the id. */
export interface BotConfig {
  readonly id: string;
  readonly secret?: string | undefined;
  readonly name?: string | undefined;
}

export interface WorldOptions {
  /** Equal seeds give equal runs; default 1. */
  readonly seed?: number | string;
  /** What the world clock shows when the transport clock shows 0, in Unix milliseconds; default 2026-01-01T00:00:00Z. */
  readonly epochMs?: Millis;
  /** Default `observed`. */
  readonly profile?: ProfileName;
  /** On top of the profile. */
  readonly switches?: SomeSwitches;
  /** With none, any credentials are accepted and the bot appears. */
  readonly bots?: readonly BotConfig[];
  /** Whether there are `log` effects; default true. */
  readonly log?: boolean;
}

/** A number by which the caller knows what it waits for. */
export type CallId = number;

export type WorldInput =
  /** A WebSocket was accepted under a fresh number. `origin` is how its client reached us over HTTP. */
  | { type: "opened"; connection: number; origin?: string; address?: string }
  | { type: "received"; connection: number; text: string; binary?: boolean }
  /** The socket is gone, whoever ended it. */
  | { type: "closed"; connection: number; code?: number; reason?: string }
  | { type: "say"; bot: string; message: UserMessage; call: CallId; waitMs?: Millis }
  | { type: "trigger"; bot: string; event: UserEvent; call: CallId; waitMs?: Millis }
  /** As if another instance had subscribed. `closeAfterMs` overrides the switch. */
  | { type: "kick"; bot: string; call: CallId; closeAfterMs?: Millis | "never" }
  /** Ends or cripples one connection. */
  | { type: "cut"; connection: number; how: CutHow; code?: number }
  /** Answered when the bot is subscribed, or when `waitMs` is over. */
  | { type: "await-bot"; bot: string; waitMs: Millis; call: CallId }
  /** A POST to a callback's response_url. */
  | { type: "respond-url"; code: string; body: unknown; call: CallId }
  /** The caller of this wait is gone. */
  | { type: "abandon"; call: CallId }
  | { type: "add-bot"; bot: BotConfig }
  | { type: "remove-bot"; bot: string }
  | { type: "advance"; ms: Millis; transport: boolean }
  | { type: "set"; profile?: ProfileName; switches?: SomeSwitches }
  /** Bots, chats, log, clock and settings as they were at the start; connections are cut. */
  | { type: "reset" }
  | { type: "tick" };

/** How a connection ends: with a close frame, by a TCP reset, or by falling silent while it stays open. */
export type CutHow = "close" | "reset" | "half-open";

/** What the caller has to do, in order. */
export type WorldEffect =
  | { type: "send"; connection: number; text: string }
  /** A WebSocket ping. */
  | { type: "ping"; connection: number }
  | { type: "close"; connection: number; code: number; reason: string }
  | { type: "reset"; connection: number }
  /** Stop reading and writing, leave the socket open. */
  | { type: "half-open"; connection: number }
  | { type: "log"; entry: LogEntry }
  | { type: "answer"; call: CallId; answer: Answer };

/** What a caller of `say`, `trigger`, `kick` or `await-bot` gets. */
export type Answer =
  | { type: "told"; told: Told }
  | { type: "bot"; bot: BotView; timedOut?: true }
  | { type: "errcode"; errcode: number; errmsg: string }
  | { type: "refused"; status: 404 | 422; detail: string };

/** What became of a message or event. */
export interface Told {
  msgid: string;
  reqId: string;
  /** Whether it went out on a subscribed connection. */
  delivered: boolean;
  /** Why it did not. */
  reason?: string;
  /** The text of the first finished answer; null when there is none, or when it has no text. */
  reply: string | null;
  /** Everything the bot said about it so far, pushes to the same chat included, in order. */
  replies: Reply[];
  /** The wait was over before an answer was finished. */
  timedOut?: true;
}

/** One message of the bot, as an answer. */
export interface Reply {
  /** The msgtype. */
  kind: string;
  via: Via;
  streamId?: string;
  content?: string;
  card?: Card;
  mediaId?: string;
  filename?: string;
  finished: boolean;
  /** How many frames were taken for it. */
  frames: number;
  /** From the question to its newest frame, on the transport clock. */
  ms: Millis;
}

/** A bot, for the API. */
export interface BotView {
  id: string;
  name: string;
  state: "offline" | "subscribed";
  /** False for a bot that appeared by subscribing. */
  configured: boolean;
  /** The connection callbacks go to. */
  connection: number | null;
  /** When it subscribed, world clock. */
  subscribedAt: Millis | null;
  /** Why it is offline, when that is known. */
  reason: string | null;
}

/** A connection, for the API. */
export interface ConnectionView {
  n: number;
  bot: string | null;
  state: "open" | "subscribed" | "kicked" | "lost" | "half-open";
  address: string;
  openedAt: Millis;
  lastFrameAt: Millis | null;
  framesIn: number;
  framesOut: number;
}

interface Bot {
  readonly id: string;
  name: string;
  secret: string | undefined;
  configured: boolean;
  live: Connection | undefined;
  subscribedAt: Millis | null;
  reason: string | null;
  /** World instants of recent subscribes. */
  subscribes: Millis[];
  throttledUntil: Millis;
  readonly taskIds: Set<string>;
  /** Delivered messages nobody answered, by msgid, oldest first; kept only for redelivery. */
  readonly unanswered: Map<string, Turn>;
  /** What each user has in interaction, by userid. */
  readonly interactions: Map<string, Turn[]>;
}

interface Connection {
  readonly session: Session;
  readonly origin: string;
  readonly address: string;
  readonly openedAt: Millis;
  /** Transport clock. */
  heardAt: Millis;
  /** World clock. */
  lastFrameAt: Millis | null;
  framesIn: number;
  framesOut: number;
  /** No ack leaves before this: acks keep the order of their commands. */
  ackAt: Millis;
  chunksInFlight: number;
  silent: boolean;
  idle: Appointment | undefined;
  pinging: Appointment | undefined;
  ending: Appointment | undefined;
}

/** One callback's req_id and what came of it. */
interface Turn {
  readonly reqId: string;
  readonly msgid: string;
  readonly bot: Bot;
  readonly kind: "message" | "event";
  readonly eventtype: string | undefined;
  readonly chat: Chat | undefined;
  readonly userid: string | undefined;
  /** World clock. */
  readonly at: Millis;
  readonly connection: number;
  readonly body: Fields;
  answered: boolean;
  streams: Map<string, Stream> | undefined;
}

interface Stream {
  readonly item: BotItem;
  /** World clock, of the first frame. */
  readonly firstAt: Millis;
  pendingAcks: number;
}

/** Somebody who waits for an answer in a chat. */
interface Waiter {
  readonly call: CallId;
  readonly told: Told;
  readonly reqId: string;
  readonly chat: Chat;
  readonly askedAt: Millis;
  readonly replies: Map<BotItem, Reply>;
  readonly until: Appointment;
}

interface BotWaiter {
  readonly call: CallId;
  readonly bot: string;
  readonly until: Appointment;
}

/** What an ack says. */
interface Verdict {
  readonly why: BehaviourId;
  readonly note?: string;
  readonly body?: Fields;
  /** Runs when the ack is on its way: until then the frame counts as in flight. */
  readonly sent?: () => void;
}

/** 2026-01-01T00:00:00Z. */
const defaultEpochMs = 1_767_225_600_000;
const maxTurns = 50_000;
const maxStreamsPerTurn = 100;
const maxUnanswered = 100;
const maxTaskIds = 10_000;
const maxInteractingUsers = 50_000;
const maxResponseUrls = 20_000;
const maxAppearedBots = 50_000;
const maxHalfOpenMs = 15 * 60_000;

export class World {
  switches: Switches;
  profile: ProfileName;
  readonly #options: WorldOptions;
  readonly #clock: Clock;
  #chance: Chance;
  #chats = new Chats();
  #media: Media;
  #uploads: Uploads;
  #effects: WorldEffect[] = [];
  #logSeq = 0;
  readonly #bots = new Map<string, Bot>();
  #closedToStrangers = false;
  /** When req_ids that are too old are looked for again, world clock. */
  #sweepAt: Millis = 0;
  readonly #connections = new Map<number, Connection>();
  readonly #turns = new Map<string, Turn>();
  readonly #responseUrls = new Map<string, { turn: Turn; used: boolean }>();
  readonly #waiters = new Map<CallId, Waiter>();
  readonly #botWaiters = new Map<CallId, BotWaiter>();

  constructor(options: WorldOptions = {}) {
    this.#options = options;
    this.#clock = new Clock(options.epochMs ?? defaultEpochMs);
    this.#chance = new Chance(options.seed ?? 1);
    this.#media = new Media(this.#chance);
    this.#uploads = new Uploads(this.#chance, this.#media);
    this.profile = options.profile ?? "observed";
    this.switches = { ...profile(this.profile), ...SomeSwitches.parse(options.switches ?? {}) } as Switches;
    for (const bot of options.bots ?? []) this.#configure(bot);
  }

  /** What follows from an input. `now` is the transport clock; a smaller one than the last counts as the last. */
  handle(now: Millis, input: WorldInput): readonly WorldEffect[] {
    this.#clock.arrive(now);
    this.#take(input);
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  /** When to hand in a tick if nothing else comes, on the transport clock. */
  get deadline(): Millis | undefined {
    return this.#clock.deadline;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Looking

  /** World clock, Unix milliseconds, as of the last input. */
  get clock(): { now: Millis; offsetMs: Millis } {
    return { now: this.#clock.world, offsetMs: this.#clock.offsetMs };
  }

  bots(): BotView[] {
    return [...this.#bots.values()].map(botView);
  }

  bot(id: string): BotView | undefined {
    const bot = this.#bots.get(id);
    return bot && botView(bot);
  }

  connections(): ConnectionView[] {
    return [...this.#connections.values()].map((connection) => ({
      n: connection.session.n,
      bot: connection.session.bot ?? null,
      state: connection.silent ? "half-open" : connection.session.state,
      address: connection.address,
      openedAt: connection.openedAt,
      lastFrameAt: connection.lastFrameAt,
      framesIn: connection.framesIn,
      framesOut: connection.framesOut,
    }));
  }

  /** The chats of a bot, least recently used first. Streams that ran out of their life are marked as such. */
  chats(bot: string): Chat[] {
    const chats = this.#chats.of(bot);
    for (const chat of chats) this.#expireStreams(chat);
    return chats;
  }

  /** One chat, by userid or group chatid. */
  chat(bot: string, id: string): Chat | undefined {
    const chat = this.#chats.find(bot, id);
    if (chat) this.#expireStreams(chat);
    return chat;
  }

  /** A file a bot uploaded. */
  uploaded(mediaId: string): UploadedFile | undefined {
    return this.#media.shown(mediaId);
  }

  /** What a GET of a callback's download URL answers. */
  download(now: Millis, token: string): HttpAnswer {
    this.#clock.arrive(now);
    return this.#media.download(this.#clock.world, token, this.switches);
  }

  /** How much the world holds: for metrics, and for tests of its bounds. */
  get sizes(): Record<"bots" | "connections" | "chats" | "turns" | "waiters", number> {
    return {
      bots: this.#bots.size,
      connections: this.#connections.size,
      chats: this.#chats.size,
      turns: this.#turns.size,
      waiters: this.#waiters.size + this.#botWaiters.size,
    };
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Inputs

  #take(input: WorldInput): void {
    switch (input.type) {
      case "opened":
        return this.#opened(input);
      case "received":
        return this.#received(input);
      case "closed":
        return this.#closed(input);
      case "say":
        return this.#say(input);
      case "trigger":
        return this.#trigger(input);
      case "kick":
        return this.#kick(input);
      case "cut":
        return this.#cut(input.connection, input.how, input.code);
      case "await-bot":
        return this.#awaitBot(input);
      case "respond-url":
        return this.#respondUrl(input);
      case "abandon":
        return this.#abandon(input.call);
      case "add-bot":
        return this.#configure(input.bot);
      case "remove-bot":
        return this.#remove(input.bot);
      case "advance":
        return this.#clock.advance(input.ms, input.transport);
      case "set":
        return this.#set(input.profile, input.switches);
      case "reset":
        return this.#reset();
      case "tick":
    }
  }

  #opened({
    connection: n,
    origin = "http://127.0.0.1",
    address = "127.0.0.1",
  }: WorldInput & { type: "opened" }): void {
    if (this.#connections.has(n)) return;
    const connection: Connection = {
      session: new Session(n),
      origin,
      address,
      openedAt: this.#clock.world,
      heardAt: this.#clock.transport,
      lastFrameAt: null,
      framesIn: 0,
      framesOut: 0,
      ackAt: 0,
      chunksInFlight: 0,
      silent: false,
      idle: undefined,
      pinging: undefined,
      ending: undefined,
    };
    this.#connections.set(n, connection);
    this.#logSocket(connection, `opened from ${address}`);
    this.#watch(connection);
    this.#ping(connection);
  }

  #received({ connection: n, text, binary }: WorldInput & { type: "received" }): void {
    const connection = this.#connections.get(n);
    if (!connection || connection.silent) return;
    const entry = this.#log(connection, "in", text);
    if (entry && binary) entry.binary = true;
    connection.heardAt = this.#clock.transport;
    connection.lastFrameAt = this.#clock.world;
    connection.framesIn++;
    const { cmd: command, reqId, act } = connection.session.read(text, this.switches);
    if (entry) {
      entry.cmd = command;
      entry.reqId = reqId;
    }
    if (act.type === "ignore") {
      if (entry) judge(entry, { why: act.why, ...(act.note === undefined ? {} : { note: act.note }) }, undefined);
      return;
    }
    if (act.type === "subscribe") {
      // Nothing about a subscription changes before its ack (GW-KICK-4): it is decided when the ack is due.
      const decide = (): void =>
        this.#answer(connection, act.reqId, command, this.#subscribe(connection, act), entry, "now");
      const { subscribeLatencyMs } = this.switches;
      if (subscribeLatencyMs === 0) decide();
      else this.#clock.after(subscribeLatencyMs, decide);
      return;
    }
    this.#answer(connection, act.reqId, command, this.#perform(connection, act), entry, this.#latency());
  }

  #closed({ connection: n, code = 1006, reason = "" }: WorldInput & { type: "closed" }): void {
    const connection = this.#connections.get(n);
    if (!connection) return;
    this.#logSocket(connection, `closed ${code}${reason === "" ? "" : ` ${reason}`}`);
    this.#gone(connection, connection.session.state === "subscribed" ? `the connection closed (${code})` : undefined);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Commands

  #perform(connection: Connection, act: Exclude<Act, { type: "ignore" | "subscribe" }>): Verdict {
    switch (act.type) {
      case "refuse":
        return { why: act.why, ...(act.note === undefined ? {} : { note: act.note }) };
      case "ping":
        return ok;
      case "respond":
        return this.#respond(connection, act.reqId, act.content);
      case "welcome":
        return this.#welcome(connection, act.reqId, act.content);
      case "update":
        return this.#update(connection, act.reqId, act.card);
      case "send":
        return this.#send(connection, act);
      case "upload-init": {
        const bot = this.#botOf(connection);
        const made = this.#uploads.init(this.#clock.world, bot.id, act.plan, this.switches);
        return "refused" in made ? refusal(made) : { why: "ok", body: { upload_id: made.uploadId } };
      }
      case "upload-chunk":
        return this.#chunk(connection, act);
      case "upload-finish": {
        const bot = this.#botOf(connection);
        const made = this.#uploads.finish(this.#clock.world, bot.id, act.uploadId, this.switches);
        if ("refused" in made) return refusal(made);
        const seconds = Math.floor(made.createdAt / 1000);
        const createdAt = this.switches.createdAt === "string" ? String(seconds) : seconds;
        return { why: "ok", body: { type: made.kind, media_id: made.mediaId, created_at: createdAt } };
      }
      case "mcp-config":
        return { why: "mcp.unsupported" };
      case "send-biz": {
        const chat = this.#pushTarget(this.#botOf(connection), act.chatid, act.chatType);
        if ("refused" in chat) return refusal(chat);
        this.#show(chat, "send", act.reqId, {
          kind: "markdown",
          content: "[authorisation card]",
          feedbackId: undefined,
        });
        return ok;
      }
      case "enter-check": {
        const turn = this.#turns.get(act.reqId);
        return turn?.eventtype === "enter_check_update" ? ok : { why: "reply.invalid-req-id" };
      }
    }
  }

  #subscribe(connection: Connection, act: Act & { type: "subscribe" }): Verdict {
    const { session } = connection;
    const now = this.#clock.world;
    const bot = this.#bots.get(act.botId) ?? this.#appear(act.botId, act.secret);
    if (bot && this.switches.subscribeRate) {
      bot.subscribes = bot.subscribes.filter((at) => at > now - 60_000);
      if (now < bot.throttledUntil || bot.subscribes.length >= 5) {
        if (now >= bot.throttledUntil) bot.throttledUntil = now + 60_000;
        return { why: "subscribe.throttled" };
      }
      bot.subscribes.push(now);
    }
    if (!bot || act.secret === "" || (bot.secret !== undefined && bot.secret !== act.secret))
      return { why: "subscribe.bad-credentials", note: bot ? "wrong secret" : "unknown bot" };

    const before = bot.live;
    // A socket that moves to another bot leaves its first one without a connection.
    if (session.state === "subscribed" && session.bot !== bot.id)
      this.#leave(connection, "the connection subscribed for another bot");
    bot.live = connection;
    bot.reason = null;
    bot.subscribedAt = now;
    session.subscribed(bot.id);
    return {
      why: "ok",
      sent: () => {
        if (before && before !== connection) this.#kickOut(bot, before, undefined);
        this.#answerBotWaiters(bot);
        if (this.switches.redeliverUnanswered && before !== connection) this.#redeliver(bot);
      },
    };
  }

  #respond(connection: Connection, reqId: string, content: Content): Verdict {
    const turn = this.#turns.get(reqId);
    if (!turn || turn.bot !== this.#botOf(connection)) return { why: "reply.invalid-req-id" };
    if (turn.kind === "event")
      return { why: "reply.invalid-req-id", note: `the req_id of ${turn.eventtype ?? "an event"}` };
    if (this.#clock.world - turn.at > this.switches.replyWindowMs) return { why: "reply.expired" };
    if (turn.connection !== connection.session.n && this.switches.oldReqIdAfterReconnect === "refuse")
      return { why: "reply.old-connection" };
    const refused = this.#inspect(turn.bot, content, undefined);
    if (refused) return refusal(refused);
    const chat = turn.chat!;
    if (content.kind === "stream") return this.#stream(turn, chat, content);
    if (!this.#allow(chat)) return { why: "quota.chat" };
    this.#answered(turn);
    this.#show(chat, "respond", reqId, content);
    return ok;
  }

  #stream(turn: Turn, chat: Chat, content: Content & { kind: "stream" }): Verdict {
    const now = this.#clock.world;
    const { switches } = this;
    let stream = turn.streams?.get(content.id);
    if (stream) {
      if (now - stream.firstAt > switches.streamLifeMs) return { why: "stream.expired" };
      if (stream.item.finished && switches.sealedStream !== "accept") return { why: "stream.sealed" };
      if (stream.pendingAcks > 0 && switches.concurrentStreamFrames !== "accept") return { why: "stream.conflict" };
      if (switches.quotaCountsRefreshes && !this.#allow(chat)) return { why: "quota.chat" };
    } else {
      turn.streams ??= new Map();
      if (turn.streams.size >= maxStreamsPerTurn) return { why: "stream.too-many" };
      if (!this.#allow(chat)) return { why: "quota.chat" };
      stream = { item: this.#item(chat, "respond", turn.reqId, content), firstAt: now, pendingAcks: 0 };
      turn.streams.set(content.id, stream);
    }
    const { item } = stream;
    item.frames++;
    this.#chats.grew(chat, content.content.length - (item.content?.length ?? 0));
    item.content = content.content;
    if (content.card) item.card = content.card;
    if (content.finish) {
      item.finished = true;
      if (!/[^\s\u200B-\u200D\u2060\uFEFF]/.test(content.content)) item.spinner = true;
      this.#answered(turn);
    }
    this.#noticed(chat, item);
    const open = stream;
    open.pendingAcks++;
    return { why: "ok", sent: () => void open.pendingAcks-- };
  }

  #welcome(connection: Connection, reqId: string, content: Content): Verdict {
    const turn = this.#eventTurn(connection, reqId, "enter_chat");
    if ("why" in turn) return turn;
    const refused = this.#inspect(turn.bot, content, undefined);
    if (refused) return refusal(refused);
    const chat = turn.chat!;
    if (!this.#allow(chat)) return { why: "quota.chat" };
    turn.answered = true;
    this.#show(chat, "welcome", reqId, content);
    return ok;
  }

  #update(connection: Connection, reqId: string, card: Card): Verdict {
    const turn = this.#eventTurn(connection, reqId, "template_card_event");
    if ("why" in turn) return turn;
    const refused = this.#inspect(turn.bot, { kind: "template_card", card }, card["task_id"]);
    if (refused) return refusal(refused);
    turn.answered = true;
    const chat = turn.chat!;
    const taskId = card["task_id"] ?? (turn.body["event"] as Fields | undefined)?.["task_id"];
    const shown = chat.items.findLast((item) => item.by === "bot" && item.via !== "update" && item.task_id === taskId);
    if (shown?.by === "bot") shown.card = card;
    this.#show(chat, "update", reqId, { kind: "template_card", card });
    return ok;
  }

  #send(connection: Connection, act: Act & { type: "send" }): Verdict {
    const bot = this.#botOf(connection);
    const chat = this.#pushTarget(bot, act.chatid, act.chatType);
    if ("refused" in chat) return refusal(chat);
    const refused = this.#inspect(bot, act.content, undefined);
    if (refused) return refusal(refused);
    if (!this.#allow(chat)) return { why: "quota.chat" };
    this.#show(chat, "send", act.reqId, act.content);
    for (const turns of bot.interactions.values())
      for (const turn of turns) if (turn.chat === chat) turn.answered = true;
    return ok;
  }

  #chunk(connection: Connection, act: Act & { type: "upload-chunk" }): Verdict {
    const bot = this.#botOf(connection);
    if (this.switches.chunkOverload && connection.chunksInFlight >= 4) return { why: "upload.overload" };
    const taken = this.#uploads.chunk(this.#clock.world, bot.id, act.uploadId, act.index, act.data, this.switches);
    if ("refused" in taken) return refusal(taken);
    connection.chunksInFlight++;
    return { why: taken.repeated ? "upload.repeated-chunk" : "ok", sent: () => void connection.chunksInFlight-- };
  }

  /** One POST of markdown or a card within an hour; later, or again, 60140 (GW-PUSH-15). */
  #respondUrl({ code, body, call }: WorldInput & { type: "respond-url" }): void {
    const url = this.#responseUrls.get(code);
    const answer = (errcode: number, errmsg: string): void =>
      void this.#effects.push({ type: "answer", call, answer: { type: "errcode", errcode, errmsg } });
    if (!url || url.used || this.#clock.world - url.turn.at > this.switches.responseUrlLifeMs)
      return answer(60140, "response code expired or used");
    const content = readResponse(body);
    if ("why" in content) return answer(this.#errcode(content.why), behaviours[content.why].errmsg ?? "");
    const refused = this.#inspect(url.turn.bot, content, undefined);
    if (refused) return answer(this.#errcode(refused.refused), behaviours[refused.refused].errmsg ?? "");
    url.used = true;
    this.#answered(url.turn);
    this.#show(url.turn.chat!, "response_url", url.turn.reqId, content);
    answer(0, "ok");
  }

  /** The turn of an event that still takes its one answer, or why there is none (GW-EVENT-3, GW-EVENT-19, GW-EVENT-20). */
  #eventTurn(connection: Connection, reqId: string, eventtype: string): Turn | Verdict {
    const turn = this.#turns.get(reqId);
    if (!turn || turn.bot !== this.#botOf(connection)) return { why: "reply.invalid-req-id" };
    if (turn.eventtype !== eventtype)
      return { why: "reply.invalid-req-id", note: `the req_id of ${turn.eventtype ?? "a message"}` };
    if (turn.answered) return { why: "reply.invalid-req-id", note: "this event was answered before" };
    if (this.#clock.world - turn.at > this.switches.eventWindowMs) return { why: "reply.late-event" };
    return turn;
  }

  /** Which chat a push goes to: 0 means the group first, then the user (GW-PUSH-2). */
  #pushTarget(bot: Bot, chatid: string, chatType: number): Chat | Refused {
    if (chatType !== 1 && this.#chats.known(bot.id, "group", chatid)) return this.#chats.at(bot.id, "group", chatid);
    if (chatType !== 2 && this.#chats.known(bot.id, "single", chatid)) return this.#chats.at(bot.id, "single", chatid);
    if (!this.switches.chatPrecondition) return this.#chats.at(bot.id, chatType === 2 ? "group" : "single", chatid);
    return chatType !== 1 && this.#chats.groupExists(chatid)
      ? { refused: "send.not-in-group" }
      : { refused: "send.bad-chatid" };
  }

  /** Why a message cannot be shown, whatever the chat. An update repeats its card's task_id: `sameTaskId`. */
  #inspect(bot: Bot, content: Content, sameTaskId: unknown): Refused | undefined {
    if ("content" in content && content.content.length * 3 > maxContentBytes) {
      const bytes = Buffer.byteLength(content.content);
      if (bytes > maxContentBytes) return { refused: "reply.too-long", note: `${bytes} bytes` };
    }
    if (
      "feedbackId" in content &&
      content.feedbackId !== undefined &&
      Buffer.byteLength(content.feedbackId) > maxFeedbackIdBytes
    )
      return { refused: "frame.bad-body", note: "feedback.id is longer than 256 bytes" };
    if ("mediaId" in content) {
      const file = this.#media.uploaded(this.#clock.world, bot.id, content.mediaId, this.switches);
      return file ? undefined : { refused: "media.unknown" };
    }
    const card = content.kind === "template_card" || content.kind === "stream" ? content.card : undefined;
    if (!card) return undefined;
    const refused = this.switches.cardCheck ? refuseCard(card) : undefined;
    if (refused) return refused;
    const taskId = card["task_id"];
    if (typeof taskId !== "string" || taskId === sameTaskId) return undefined;
    if (this.switches.uniqueTaskId && bot.taskIds.has(taskId))
      return { refused: "card.task-id-used", note: `task_id ${taskId}` };
    bot.taskIds.add(taskId);
    bound(bot.taskIds, maxTaskIds);
    return undefined;
  }

  #allow(chat: Chat): boolean {
    return !this.switches.quota || chat.quota.take(this.#clock.world);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Showing and answering

  #item(chat: Chat, via: Via, reqId: string, content: Content): BotItem {
    const card = "card" in content ? content.card : undefined;
    const taskId = card?.["task_id"];
    const file = "mediaId" in content ? this.#media.shown(content.mediaId) : undefined;
    const thumbs =
      "feedbackId" in content &&
      content.feedbackId !== undefined &&
      (!this.switches.traceFeedbackOnly || content.feedbackId.startsWith("trace_"));
    const item: BotItem = {
      by: "bot",
      seq: this.#chats.nextSeq(),
      at: this.#clock.world,
      via,
      kind: content.kind,
      reqId,
      finished: content.kind !== "stream",
      frames: 0,
      ...(content.kind === "stream"
        ? { streamId: content.id }
        : "content" in content
          ? { content: content.content }
          : {}),
      ...(card ? { card } : {}),
      ...(typeof taskId === "string" ? { task_id: taskId } : {}),
      ...("mediaId" in content ? { mediaId: content.mediaId, filename: file?.filename ?? "" } : {}),
      ...(content.kind === "video" && content.title !== undefined ? { title: truncate(content.title, 64) } : {}),
      ...(content.kind === "video" && content.description !== undefined
        ? { description: truncate(content.description, 512) }
        : {}),
      ...(thumbs && content.feedbackId !== undefined ? { feedbackId: content.feedbackId } : {}),
    };
    this.#chats.add(chat, item);
    return item;
  }

  #show(chat: Chat, via: Via, reqId: string, content: Content): void {
    const item = this.#item(chat, via, reqId, content);
    item.frames = 1;
    this.#noticed(chat, item);
  }

  /** Somebody answered: the message is no longer in interaction, nor to be redelivered. */
  #answered(turn: Turn): void {
    turn.answered = true;
    turn.bot.unanswered.delete(turn.msgid);
  }

  /** Tells those who wait for an answer in this chat. */
  #noticed(chat: Chat, item: BotItem): void {
    if (this.#waiters.size === 0) return;
    for (const waiter of this.#waiters.values()) {
      if (waiter.chat !== chat || (item.via !== "send" && item.reqId !== waiter.reqId)) continue;
      let reply = waiter.replies.get(item);
      if (!reply) {
        reply = { kind: item.kind, via: item.via, finished: false, frames: 0, ms: 0 };
        if (item.streamId !== undefined) reply.streamId = item.streamId;
        if (item.card) reply.card = item.card;
        if (item.mediaId !== undefined) reply.mediaId = item.mediaId;
        if (item.filename !== undefined) reply.filename = item.filename;
        waiter.replies.set(item, reply);
        waiter.told.replies.push(reply);
      }
      if (item.content !== undefined) reply.content = item.content;
      reply.finished = item.finished;
      reply.frames = item.frames;
      reply.ms = Math.round(this.#clock.transport - waiter.askedAt);
      if (!item.finished) continue;
      waiter.told.reply = item.content ?? null;
      this.#settle(waiter);
    }
  }

  #settle(waiter: Waiter): void {
    this.#waiters.delete(waiter.call);
    this.#clock.cancel(waiter.until);
    this.#effects.push({ type: "answer", call: waiter.call, answer: { type: "told", told: waiter.told } });
  }

  #abandon(call: CallId): void {
    this.#clock.cancel(this.#waiters.get(call)?.until);
    this.#clock.cancel(this.#botWaiters.get(call)?.until);
    this.#waiters.delete(call);
    this.#botWaiters.delete(call);
  }

  #expireStreams(chat: Chat): void {
    const before = this.#clock.world - this.switches.streamLifeMs;
    for (const item of chat.items)
      if (item.by === "bot" && item.kind === "stream" && !item.finished && item.at < before) item.expired = true;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Callbacks

  #say({ bot: id, message, call, waitMs = 0 }: WorldInput & { type: "say" }): void {
    const bot = this.#bots.get(id);
    if (!bot) return this.#refuse(call, 404, `there is no bot ${id}`);
    const group = message.chattype === "group";
    if (group && !message.chatid) return this.#refuse(call, 422, "a message in a group needs chatid");
    if (group && singleOnly.has(message.msgtype))
      return this.#refuse(
        call,
        422,
        `the real server does not deliver ${message.msgtype} messages from groups, only text and mixed ones`,
      );
    const { userid } = message.from;
    const chat = this.#chats.at(bot.id, group ? "group" : "single", group ? message.chatid! : userid);
    this.#chats.spoke(chat, userid);

    const reason = this.#undeliverable(bot) ?? this.#tooMany(bot, userid);
    const turn = this.#deliver(bot, chat, userid, undefined, reason !== undefined, message.msgid, (making) =>
      messageBody(message, making),
    );
    const words = wordsOf(turn.body);
    this.#chats.add(chat, {
      by: "user",
      seq: this.#chats.nextSeq(),
      at: this.#clock.world,
      userid,
      msgtype: message.msgtype,
      msgid: turn.msgid,
      reqId: turn.reqId,
      delivered: reason === undefined,
      ...(words === undefined ? {} : { content: words }),
    });
    if (reason === undefined) {
      this.#interact(bot, userid, turn);
      if (this.switches.redeliverUnanswered) keepNewest(bot.unanswered, turn.msgid, turn, maxUnanswered);
    }
    this.#tell(turn, chat, call, waitMs, reason);
  }

  #trigger({ bot: id, event, call, waitMs = 0 }: WorldInput & { type: "trigger" }): void {
    const bot = this.#bots.get(id);
    if (!bot) return this.#refuse(call, 404, `there is no bot ${id}`);
    const group = event.chattype === "group";
    if (group && !event.chatid) return this.#refuse(call, 422, "an event in a group needs chatid");
    const userid = event.from?.userid;
    const chat =
      userid === undefined
        ? undefined
        : this.#chats.at(bot.id, group ? "group" : "single", group ? event.chatid! : userid);
    const reason = this.#undeliverable(bot);
    const turn = this.#deliver(bot, chat, userid, event.eventtype, reason !== undefined, event.msgid, (making) =>
      eventBody(event, making, chat),
    );
    if (chat)
      this.#chats.add(chat, {
        by: "user",
        seq: this.#chats.nextSeq(),
        at: this.#clock.world,
        userid: userid!,
        msgtype: "event",
        eventtype: event.eventtype,
        msgid: turn.msgid,
        reqId: turn.reqId,
        delivered: reason === undefined,
      });
    this.#tell(turn, chat, call, waitMs, reason);
  }

  /** Makes a callback, remembers its req_id and, unless it is `held` back, sends it. */
  #deliver(
    bot: Bot,
    chat: Chat | undefined,
    userid: string | undefined,
    eventtype: string | undefined,
    held: boolean,
    msgid: string | undefined,
    compose: (making: Making) => Fields,
  ): Turn {
    const now = this.#clock.world;
    const responseUrls =
      this.switches.responseUrl && chat && (eventtype === undefined || eventtype === "template_card_event");
    const responseCode = responseUrls ? this.#chance.id(43) : undefined;
    const connection = bot.live;
    const origin = connection?.origin ?? "http://127.0.0.1";
    const making: Making = {
      bot,
      now,
      origin,
      msgid: msgid ?? this.#msgid(),
      createTime: this.switches.messageCreateTime,
      responseUrl:
        responseCode === undefined ? undefined : `${origin}/cgi-bin/aibot/response?response_code=${responseCode}`,
      offer: (file) => this.#media.offer(now, file, this.switches),
    };
    const turn: Turn = {
      reqId: this.#chance.id(24),
      msgid: making.msgid,
      bot,
      kind: eventtype === undefined ? "message" : "event",
      eventtype,
      chat,
      userid,
      at: now,
      connection: connection?.session.n ?? 0,
      body: compose(making),
      answered: false,
      streams: undefined,
    };
    if (held || !connection) return turn;
    this.#remember(turn);
    if (responseCode !== undefined)
      keepNewest(this.#responseUrls, responseCode, { turn, used: false }, maxResponseUrls);
    this.#callback(connection, turn, eventtype === undefined ? "callback.message" : "callback.event");
    return turn;
  }

  /** Keeps a req_id for twice its window, so that a late reply is told from an invented one. */
  #remember(turn: Turn): void {
    this.#turns.set(turn.reqId, turn);
    bound(this.#turns, maxTurns);
    if (turn.at < this.#sweepAt) return;
    this.#sweepAt = turn.at + 60_000;
    const before = turn.at - 2 * this.switches.replyWindowMs;
    for (const [reqId, { at }] of this.#turns) {
      if (at >= before) break;
      this.#turns.delete(reqId);
    }
  }

  #callback(connection: Connection, turn: Turn, why: BehaviourId): void {
    const command = turn.kind === "message" ? cmd.message : cmd.event;
    const text = JSON.stringify({ cmd: command, headers: { req_id: turn.reqId }, body: turn.body });
    this.#out(connection, text, { cmd: command, reqId: turn.reqId, verdict: why });
  }

  #redeliver(bot: Bot): void {
    const waiting = [...bot.unanswered.values()];
    bot.unanswered.clear();
    for (const turn of waiting) {
      if (turn.answered || !bot.live) continue;
      const again: Turn = { ...turn, reqId: this.#chance.id(24), connection: bot.live.session.n, streams: undefined };
      this.#remember(again);
      bot.unanswered.set(again.msgid, again);
      this.#callback(bot.live, again, "callback.redelivered");
    }
  }

  #undeliverable(bot: Bot): string | undefined {
    if (!bot.live) return bot.reason === null ? "the bot is offline" : `the bot is offline: ${bot.reason}`;
    return undefined;
  }

  #tooMany(bot: Bot, userid: string): string | undefined {
    const { maxInFlightPerUser: limit, interactionMs } = this.switches;
    const turns = bot.interactions.get(userid);
    if (limit === 0 || !turns) return undefined;
    const open = turns.filter((turn) => !turn.answered && this.#clock.world - turn.at < interactionMs);
    if (open.length > 0) bot.interactions.set(userid, open);
    else bot.interactions.delete(userid);
    return open.length >= limit
      ? `${userid} has ${open.length} messages in interaction with the bot already (switch maxInFlightPerUser)`
      : undefined;
  }

  #interact(bot: Bot, userid: string, turn: Turn): void {
    if (this.switches.maxInFlightPerUser === 0) return;
    keepNewest(bot.interactions, userid, [...(bot.interactions.get(userid) ?? []), turn], maxInteractingUsers);
  }

  #tell(turn: Turn, chat: Chat | undefined, call: CallId, waitMs: Millis, reason: string | undefined): void {
    const told: Told = {
      msgid: turn.msgid,
      reqId: turn.reqId,
      delivered: reason === undefined,
      reply: null,
      replies: [],
    };
    if (reason !== undefined) told.reason = reason;
    if (waitMs <= 0 || reason !== undefined || !chat) {
      this.#effects.push({ type: "answer", call, answer: { type: "told", told } });
      return;
    }
    const until = this.#clock.after(waitMs, () => {
      told.timedOut = true;
      this.#settle(waiter);
    });
    const waiter: Waiter = {
      call,
      told,
      reqId: turn.reqId,
      chat,
      askedAt: this.#clock.transport,
      replies: new Map(),
      until,
    };
    this.#waiters.set(call, waiter);
  }

  #refuse(call: CallId, status: 404 | 422, detail: string): void {
    this.#effects.push({ type: "answer", call, answer: { type: "refused", status, detail } });
  }

  /** Long, base64-like, with what base64 may hold: `/` and `=` (GW-CONN-8). */
  #msgid(): string {
    return `CAIQ${this.#chance.id(18)}/${this.#chance.id(20)}=`;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Bots and connections

  #kick({ bot: id, call, closeAfterMs }: WorldInput & { type: "kick" }): void {
    const bot = this.#bots.get(id);
    if (!bot) return this.#refuse(call, 404, `there is no bot ${id}`);
    if (bot.live) {
      const { live } = bot;
      bot.live = undefined;
      this.#kickOut(bot, live, closeAfterMs);
      bot.reason = "kicked: another instance subscribed (by the API)";
    }
    this.#effects.push({ type: "answer", call, answer: { type: "bot", bot: botView(bot) } });
  }

  /** The observed order: the event at once, pings acked all the same, the cut later (GW-KICK-4 … GW-KICK-8). */
  #kickOut(bot: Bot, connection: Connection, closeAfterMs: Millis | "never" | undefined): void {
    const turn: Turn = {
      reqId: this.#chance.id(24),
      msgid: this.#msgid(),
      bot,
      kind: "event",
      eventtype: "disconnected_event",
      chat: undefined,
      userid: undefined,
      at: this.#clock.world,
      connection: connection.session.n,
      body: {},
      answered: false,
      streams: undefined,
    };
    const body = {
      msgid: turn.msgid,
      create_time: Math.floor(turn.at / 1000),
      aibotid: bot.id,
      msgtype: "event",
      event: { eventtype: "disconnected_event" },
    };
    this.#remember(turn);
    this.#callback(connection, { ...turn, body }, "kick.event");
    connection.session.kicked();
    const { kickClose, kickCloseMs } = this.switches;
    if (closeAfterMs === "never" || (closeAfterMs === undefined && kickClose === "never")) return;
    connection.ending = this.#clock.after(closeAfterMs ?? this.#chance.between(...kickCloseMs), () => {
      this.#logSocket(connection, "cut: it was kicked", "kick.close");
      this.#cut(connection.session.n, kickClose === "close" ? "close" : "reset");
    });
  }

  #cut(n: number, how: CutHow, code = 1000): void {
    const connection = this.#connections.get(n);
    if (!connection) return;
    if (how === "half-open") {
      connection.silent = true;
      this.#logSocket(connection, "half-open: the gateway neither reads nor writes");
      this.#effects.push({ type: "half-open", connection: n });
      for (const appointment of [connection.idle, connection.pinging, connection.ending])
        this.#clock.cancel(appointment);
      // A paused socket does not notice that its peer went away, so it is not kept for ever.
      connection.ending = this.#clock.after(maxHalfOpenMs, () => this.#cut(n, "reset"));
      this.#leave(connection, "the connection is half-open");
      return;
    }
    this.#effects.push(
      how === "close" ? { type: "close", connection: n, code, reason: "" } : { type: "reset", connection: n },
    );
    this.#logSocket(connection, how === "close" ? `closed by the gateway with ${code}` : "reset by the gateway");
    this.#gone(
      connection,
      how === "close" ? `the gateway closed the connection (${code})` : "the gateway cut the connection",
    );
  }

  #gone(connection: Connection, reason: string | undefined): void {
    this.#connections.delete(connection.session.n);
    for (const appointment of [connection.idle, connection.pinging, connection.ending]) this.#clock.cancel(appointment);
    this.#leave(connection, reason);
  }

  /** The connection is no longer the one its bot's callbacks go to. */
  #leave(connection: Connection, reason: string | undefined): void {
    const { bot: id } = connection.session;
    const bot = id === undefined ? undefined : this.#bots.get(id);
    if (bot?.live !== connection) return;
    bot.live = undefined;
    bot.subscribedAt = null;
    bot.reason = reason ?? null;
  }

  /** Cuts a connection on which the client was silent for `idleMs`, or that never subscribed (GW-BEAT-4, GW-AUTH-8). */
  #watch(connection: Connection): void {
    const { idleMs, subscribeTimeoutMs } = this.switches;
    const limit = connection.session.state === "open" ? subscribeTimeoutMs : idleMs;
    const since = this.#clock.transport - connection.heardAt;
    if (limit > 0 && since >= limit) {
      this.#logSocket(connection, `cut: silent for ${Math.round(since)} ms`, "idle.close");
      return this.#cut(connection.session.n, "reset");
    }
    // Without a limit it looks again now and then, since switches change at run time.
    connection.idle = this.#clock.after(limit > 0 ? Math.max(1, limit - since) : 60_000, () => this.#watch(connection));
  }

  #ping(connection: Connection): void {
    const { wsPingMs } = this.switches;
    if (wsPingMs === 0) return;
    connection.pinging = this.#clock.after(wsPingMs, () => {
      this.#effects.push({ type: "ping", connection: connection.session.n });
      this.#ping(connection);
    });
  }

  #awaitBot({ bot: id, waitMs, call }: WorldInput & { type: "await-bot" }): void {
    const bot = this.#bots.get(id);
    if (bot?.live || waitMs <= 0) {
      if (!bot) return this.#refuse(call, 404, `there is no bot ${id}`);
      return void this.#effects.push({ type: "answer", call, answer: { type: "bot", bot: botView(bot) } });
    }
    const until = this.#clock.after(waitMs, () => {
      this.#botWaiters.delete(call);
      const waited = this.#bots.get(id);
      if (!waited) return this.#refuse(call, 404, `there is no bot ${id}`);
      this.#effects.push({ type: "answer", call, answer: { type: "bot", bot: botView(waited), timedOut: true } });
    });
    this.#botWaiters.set(call, { call, bot: id, until });
  }

  #answerBotWaiters(bot: Bot): void {
    for (const waiter of this.#botWaiters.values()) {
      if (waiter.bot !== bot.id) continue;
      this.#abandon(waiter.call);
      this.#effects.push({ type: "answer", call: waiter.call, answer: { type: "bot", bot: botView(bot) } });
    }
  }

  #botOf(connection: Connection): Bot {
    return this.#bots.get(connection.session.bot!)!;
  }

  /** With no bot configured, whoever subscribes appears. */
  #appear(id: string, secret: string): Bot | undefined {
    if (this.#closedToStrangers || id === "" || secret === "" || this.#bots.size >= maxAppearedBots) return undefined;
    const bot = newBot({ id }, false);
    this.#bots.set(id, bot);
    return bot;
  }

  #configure(config: BotConfig): void {
    this.#closedToStrangers = true;
    const bot = this.#bots.get(config.id);
    if (!bot) {
      this.#bots.set(config.id, newBot(config, true));
      return;
    }
    bot.configured = true;
    bot.secret = config.secret;
    bot.name = config.name ?? bot.name;
  }

  #remove(id: string): void {
    const bot = this.#bots.get(id);
    if (!bot) return;
    if (bot.live) this.#cut(bot.live.session.n, "reset");
    for (const connection of this.#connections.values()) if (connection.session.bot === id) connection.session.lost();
    this.#bots.delete(id);
    this.#closedToStrangers = [...this.#bots.values()].some(({ configured }) => configured);
  }

  #set(name: ProfileName | undefined, switches: SomeSwitches = {}): void {
    if (name) this.profile = name;
    this.switches = { ...(name ? profile(name) : this.switches), ...SomeSwitches.parse(switches) } as Switches;
  }

  #reset(): void {
    for (const n of this.#connections.keys()) this.#cut(n, "reset");
    for (const waiter of this.#waiters.values()) {
      waiter.told.timedOut = true;
      this.#settle(waiter);
    }
    for (const waiter of this.#botWaiters.values()) {
      this.#abandon(waiter.call);
      this.#refuse(waiter.call, 404, `the gateway was reset while somebody waited for bot ${waiter.bot}`);
    }
    this.#bots.clear();
    this.#turns.clear();
    this.#responseUrls.clear();
    this.#closedToStrangers = false;
    this.#chance = new Chance(this.#options.seed ?? 1);
    this.#chats = new Chats();
    this.#media = new Media(this.#chance);
    this.#uploads = new Uploads(this.#chance, this.#media);
    this.#clock.reset();
    this.#set(this.#options.profile ?? "observed", this.#options.switches);
    for (const bot of this.#options.bots ?? []) this.#configure(bot);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Acks, sending, the log

  #latency(): Millis {
    const { ackLatencyMs, ackJitterMs } = this.switches;
    if (ackLatencyMs === 0) return 0;
    const jitter = Math.min(ackJitterMs, ackLatencyMs);
    return Math.round(ackLatencyMs - jitter + 2 * jitter * this.#chance.next());
  }

  /** Sends the ack of a command `latencyMs` from now, never before an ack that is owed already. */
  #answer(
    connection: Connection,
    reqId: string,
    command: string | null,
    verdict: Verdict,
    entry: LogEntry | undefined,
    latencyMs: Millis | "now",
  ): void {
    const { why, body } = verdict;
    const errcode = this.#errcode(why);
    if (entry) judge(entry, verdict, errcode === 0 ? undefined : errcode);
    const text =
      `{"headers":{"req_id":${JSON.stringify(reqId)}},${body ? `"body":${JSON.stringify(body)},` : ""}` +
      `"errcode":${errcode},"errmsg":${errcode === 0 ? '"ok"' : JSON.stringify(this.#errmsg(why, errcode, connection))}}`;
    const send = (): void => {
      if (this.#connections.get(connection.session.n) === connection)
        this.#out(connection, text, {
          cmd: null,
          reqId,
          verdict: why,
          errcode,
          ...(command === null ? {} : { acks: command }),
        });
      verdict.sent?.();
    };
    if (latencyMs === "now") return send();
    const at = Math.max(this.#clock.transport + latencyMs, connection.ackAt);
    if (at <= this.#clock.transport) return send();
    connection.ackAt = at;
    this.#clock.after(at - this.#clock.transport, send);
  }

  #errcode(why: BehaviourId): number {
    const { errcode = 0, switch: name } = behaviours[why];
    if (name === undefined) return errcode;
    const value = this.switches[name];
    // A switch that holds an errcode decides it; the others decide whether there is a refusal at all.
    return errcode !== 0 && typeof value === "number" && errcodeSwitches.has(name) ? value : errcode;
  }

  #errmsg(why: BehaviourId, errcode: number, connection: Connection): string {
    const { errmsg = "" } = behaviours[why];
    if (!this.switches.errmsgSuffix) return errmsg;
    return `${errmsg}, hint: [${this.#chance.digits(19)}], from ip: ${connection.address}, more info at https://open.work.weixin.qq.com/devtool/query?e=${errcode}`;
  }

  #out(
    connection: Connection,
    text: string,
    about: Pick<LogEntry, "cmd" | "reqId"> & Partial<Pick<LogEntry, "acks" | "verdict" | "errcode">>,
  ): void {
    if (connection.silent) return;
    connection.framesOut++;
    const entry = this.#log(connection, "out", text);
    if (entry) Object.assign(entry, about);
    this.#effects.push({ type: "send", connection: connection.session.n, text });
  }

  #logSocket(connection: Connection, text: string, why?: BehaviourId): void {
    const entry = this.#log(connection, "socket", text);
    if (entry && why) entry.verdict = why;
  }

  #log(connection: Connection, dir: LogEntry["dir"], text: string): LogEntry | undefined {
    if (this.#options.log === false) return undefined;
    const entry: LogEntry = {
      seq: ++this.#logSeq,
      at: this.#clock.world,
      transportAt: this.#clock.transport,
      connection: connection.session.n,
      bot: connection.session.bot ?? null,
      dir,
      text: dir === "in" ? maskSecret(text) : text,
      cmd: null,
      reqId: null,
    };
    this.#effects.push({ type: "log", entry });
    return entry;
  }
}

const ok: Verdict = { why: "ok" };

const refusal = ({ refused, note }: Refused): Verdict =>
  note === undefined ? { why: refused } : { why: refused, note };

const judge = (entry: LogEntry, { why, note }: Verdict, errcode: number | undefined): void => {
  entry.verdict = why;
  if (note !== undefined) entry.note = note;
  if (errcode !== undefined) entry.errcode = errcode;
};

const errcodeSwitches = new Set([
  "lateEventErrcode",
  "oversizeErrcode",
  "uploadErrcode",
  "concurrentStreamFrames",
  "sealedStream",
]);

/** The real server delivers these from single chats only (GW-MSG-11). */
const singleOnly = new Set(["image", "voice", "file", "video"]);

const newBot = ({ id, secret, name }: BotConfig, configured: boolean): Bot => ({
  id,
  name: name ?? id,
  secret,
  configured,
  live: undefined,
  subscribedAt: null,
  reason: null,
  subscribes: [],
  throttledUntil: 0,
  taskIds: new Set(),
  unanswered: new Map(),
  interactions: new Map(),
});

const botView = ({ id, name, live, configured, subscribedAt, reason }: Bot): BotView => ({
  id,
  name,
  state: live ? "subscribed" : "offline",
  configured,
  connection: live?.session.n ?? null,
  subscribedAt: live ? subscribedAt : null,
  reason,
});

/** Cuts to so many bytes of UTF-8, on a character. */
const truncate = (text: string, bytes: number): string => {
  if (Buffer.byteLength(text) <= bytes) return text;
  return new TextDecoder().decode(Buffer.from(text).subarray(0, bytes)).replace(/\uFFFD+$/, "");
};
