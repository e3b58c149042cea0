/**
 * The whole gateway without a socket: it takes each input to where it belongs, and holds who is subscribed and who kicks whom.
 *
 * `handle(now, input)` returns everything that follows from the input, in order; `deadline` says when to come back with a
 * tick. `now` is the transport clock; the world clock is inside (clock.ts). The same seed and the same inputs give the
 * same effects, byte for byte.
 *
 * Invariants: nothing a client sends makes it throw; every act with a req_id is answered by exactly one ack unless a fault
 * eats it; every table has a bound or a life; an ack leaves in the order in which its connection's commands came.
 *
 * What a frame means is session.ts; how connections live and end, connections.ts; what is said in chats, and what replies are
 * worth, conversations.ts; how callbacks go out, deliveries.ts; what faults do, strikes.ts. Which fact the server is assumed
 * to have is switches.ts; why something happened, behaviours.ts; what can be broken, faults.ts.
 */
import { cmd } from "@openws/protocol/frames";
import { behaviours } from "./behaviours.ts";
import { Bots, botView, destination, unreachable, type Bot, type BotConfig, type BotView } from "./bots.ts";
import { Chance } from "./chance.ts";
import type { Chat } from "./chats.ts";
import { Clock, type Millis } from "./clock.ts";
import { Connections, type Connection } from "./connections.ts";
import { Conversations, ok, type Verdict } from "./conversations.ts";
import { Deliveries } from "./deliveries.ts";
import type { Answer, ConnectionView, Pong, Upgrade, WorldEffect, WorldInput } from "./effects.ts";
import { Faults, type ArmedFault, type Fault, type FaultOf } from "./faults.ts";
import { Lint, type Finding } from "./lint.ts";
import type { HttpAnswer, UploadedFile } from "./media.ts";
import { judge, Outlet, type Asked } from "./outlet.ts";
import type { Act } from "./session.ts";
import { Strikes } from "./strikes.ts";
import { profile, SomeSwitches, type ProfileName, type Switches } from "./switches.ts";
import type { Turn } from "./turns.ts";
import { Waiters, type CallId, type Told } from "./waiters.ts";

/** How a world begins; everything has a default. */
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
  /** Armed from the start, and again after a reset. */
  readonly faults?: readonly Fault[];
  /** Whether there are `log` effects; default true. */
  readonly log?: boolean;
  /** Whether clients are linted; default true. */
  readonly lint?: boolean;
}

export type { ArmedFault, BotConfig, BotView, CallId, Fault, Told };
export type { Answer, ConnectionView, CutHow, Manner, Pong, Upgrade, WorldEffect, WorldInput } from "./effects.ts";

/** 2026-01-01T00:00:00Z. */
const defaultEpochMs = 1_767_225_600_000;

/** The gateway. Hand it inputs in order and perform its effects in order; it keeps the rest. */
export class World {
  /** The switches in force; change them by a `set` input. */
  switches: Switches;
  /** The profile they began from. */
  profile: ProfileName;
  readonly #options: WorldOptions;
  readonly #clock: Clock;
  #chance!: Chance;
  #conversations!: Conversations;
  #faults!: Faults;
  #outlet!: Outlet;
  #deliveries!: Deliveries;
  #strikes!: Strikes;
  #effects: WorldEffect[] = [];
  readonly #counter = { seq: 0 };
  readonly #bots: Bots;
  readonly #connections: Connections;
  #lint: Lint | undefined;
  readonly #waiters: Waiters;

  constructor(options: WorldOptions = {}) {
    this.#options = options;
    this.#clock = new Clock(options.epochMs ?? defaultEpochMs);
    this.#waiters = new Waiters(this.#clock, (call, told) => this.#reply(call, { type: "told", told }));
    this.#bots = new Bots(this.#clock, (call, answer) => {
      if ("unknown" in answer) this.#refuse(call, 404, `there is no bot ${answer.unknown}`);
      else this.#reply(call, { type: "bot", ...answer });
    });
    this.#connections = new Connections({
      clock: this.#clock,
      switches: () => this.switches,
      emit: (effect) => this.#effects.push(effect),
      note: (connection, text, why) => this.#outlet.note(connection, text, why),
      left: (connection, reason) => this.#leave(connection, reason),
      forgotten: (n) => this.#lint?.closed(n),
    });
    this.profile = options.profile ?? "observed";
    this.switches = { ...profile(this.profile), ...checked(options.switches) };
    this.#begin();
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
    return Array.from(this.#bots.all(), botView);
  }

  bot(id: string): BotView | undefined {
    const bot = this.#bots.get(id);
    return bot && botView(bot);
  }

  connections(): ConnectionView[] {
    return this.#connections.views();
  }

  /** The chats of a bot, least recently used first. */
  chats(bot: string): Chat[] {
    const chats = this.#conversations.chats.of(bot);
    for (const chat of chats) this.#conversations.look(chat);
    return chats;
  }

  /** One chat, by userid or group chatid. */
  chat(bot: string, id: string): Chat | undefined {
    const chat = this.#conversations.chats.find(bot, id);
    if (chat) this.#conversations.look(chat);
    return chat;
  }

  /** A file a bot uploaded. */
  uploaded(mediaId: string): UploadedFile | undefined {
    return this.#conversations.media.shown(mediaId);
  }

  /** What clients did against the rules, oldest first; of one bot if named. */
  findings(bot?: string): Finding[] {
    return this.#lint?.findings(bot) ?? [];
  }

  /** The armed faults. */
  faults(): ArmedFault[] {
    return this.#faults.list(this.#clock.transport);
  }

  /** How much the world holds: for metrics, and for tests of its bounds. */
  get sizes(): Record<"bots" | "connections" | "chats" | "turns" | "waiters" | "faults", number> {
    return {
      bots: this.#bots.size,
      connections: this.#connections.size,
      chats: this.#conversations.chats.size,
      turns: this.#conversations.turns.size,
      waiters: this.#waiters.size + this.#bots.waiting,
      faults: this.#faults.size,
    };
  }

  // -------------------------------------------------------------------------------------------------------------------
  // What the server asks in passing. These use up faults.

  /** What a GET of a callback's download URL answers. */
  download(now: Millis, token: string): HttpAnswer {
    this.#clock.arrive(now);
    const { media } = this.#conversations;
    const [armed] = this.#faults.take(this.#clock.transport, "download", {});
    return media.download(this.#clock.world, token, this.switches, armed?.fault as FaultOf<"media"> | undefined);
  }

  /** Whether a WebSocket upgrade is accepted. */
  upgrade(now: Millis): Upgrade {
    this.#clock.arrive(now);
    for (const { fault } of this.#faults.take(this.#clock.transport, "upgrade", {})) {
      if (fault.kind === "down") return { type: "cut" };
      if (fault.kind !== "handshake") continue;
      if (fault.stallMs === undefined || fault.status !== undefined)
        return { type: "refuse", status: fault.status ?? 502 };
      return { type: "accept", stallMs: fault.stallMs };
    }
    return { type: "accept", stallMs: 0 };
  }

  /** How a client's WebSocket ping is answered. */
  pong(now: Millis, n: number): Pong {
    this.#clock.arrive(now);
    const connection = this.#connections.get(n);
    if (!connection || connection.silent) return { type: "nothing" };
    const [armed] = this.#faults.take(this.#clock.transport, "ws-ping", { bot: connection.session.bot });
    const fault = armed?.fault as FaultOf<"pong"> | undefined;
    if (fault?.what === "drop") return { type: "nothing" };
    return {
      type: "pong",
      afterMs: fault?.what === "late" ? (fault.ms ?? 15_000) : 0,
      masked: fault?.what === "masked",
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
      case "ponged": {
        const connection = this.#connections.get(input.connection);
        if (connection) this.#outlet.note(connection, "pong");
        return;
      }
      case "closed":
        return this.#closed(input);
      case "say":
        return this.#say(input);
      case "trigger":
        return this.#trigger(input);
      case "kick":
        return this.#kick(input);
      case "cut":
        return this.#connections.cut(input.connection, input.how, input.code);
      case "await-bot":
        return this.#bots.wait(input.call, input.bot, input.waitMs);
      case "respond-url":
        return this.#respondUrl(input);
      case "abandon":
        return this.#abandon(input.call);
      case "add-bot":
        return this.#bots.configure(input.bot);
      case "remove-bot":
        return this.#remove(input.bot);
      case "arm":
        return this.#arm(input.fault, input.call);
      case "disarm":
        return this.#disarm(input);
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
    if (this.#connections.get(n)) return;
    this.#lint?.opened(n, this.#clock.transport);
    this.#connections.open(n, origin, address);
  }

  #received({ connection: n, text, binary, json }: WorldInput & { type: "received" }): void {
    const connection = this.#connections.get(n);
    if (!connection || connection.silent) return;
    const entry = this.#outlet.log(connection, "in", text);
    if (entry && binary) entry.binary = true;
    connection.heardAt = this.#clock.transport;
    connection.lastFrameAt = this.#clock.world;
    connection.framesIn++;
    const { cmd: command, reqId, act, frame } = connection.session.read(text, this.switches, json);
    if (entry) {
      entry.cmd = command;
      entry.reqId = reqId;
    }
    if (act.type === "ignore") {
      const verdict = { why: act.why, ...(act.note === undefined ? {} : { note: act.note }) };
      if (entry) judge(entry, verdict, 0);
      this.#outlet.observe({ connection, text, binary: binary ?? false, command, frame, act }, verdict, 0);
      return;
    }
    connection.lastReqId = act.reqId;
    const asked: Asked = { connection, reqId: act.reqId, command, entry, text, binary: binary ?? false, frame, act };

    if (this.#faults.size > 0) {
      const bot = act.type === "subscribe" ? act.botId : connection.session.bot;
      for (const armed of this.#faults.take(this.#clock.transport, "strike", { bot, cmd: command })) {
        if (entry) entry.fault = armed.id;
        this.#strikes.strike(connection, armed);
      }
      if (this.#connections.get(n) !== connection || connection.silent) return;
      const [refusing] = this.#faults.take(this.#clock.transport, "command", { bot, cmd: command });
      if (refusing && this.#strikes.refuses(asked, act, refusing)) return;
    }

    if (act.type === "subscribe") {
      // Nothing about a subscription changes before its ack (GW-KICK-4): it is decided when the ack is due.
      const decide = (): void => {
        if (this.#connections.get(n) === connection && !connection.silent)
          this.#outlet.answer(asked, this.#subscribe(connection, act), "now");
      };
      const { subscribeLatencyMs } = this.switches;
      if (subscribeLatencyMs === 0) decide();
      else this.#clock.after(subscribeLatencyMs, decide);
      return;
    }
    this.#outlet.answer(asked, this.#perform(connection, act), this.#outlet.latency());
  }

  #perform(connection: Connection, act: Exclude<Act, { type: "ignore" | "subscribe" }>): Verdict {
    if (act.type === "refuse") return { why: act.why, ...(act.note === undefined ? {} : { note: act.note }) };
    if (act.type === "ping") return ok;
    return this.#conversations.perform(this.#botOf(connection), connection.session.n, act);
  }

  #closed({ connection: n, code = 1006, reason = "" }: WorldInput & { type: "closed" }): void {
    const connection = this.#connections.get(n);
    if (!connection) return;
    this.#outlet.note(connection, `closed ${code}${reason === "" ? "" : ` ${reason}`}`);
    this.#connections.gone(
      connection,
      connection.session.state === "subscribed" ? `the connection closed (${code})` : undefined,
    );
  }

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
    if (neverDelivered.has(message.msgtype))
      return this.#refuse(call, 422, `the real server delivers no ${message.msgtype} messages to bots`);
    if (this.#bots.get(message.from.userid))
      return this.#refuse(call, 422, `${message.from.userid} is a bot: the real server delivers no messages of bots`);
    const reason = unreachable(bot) ?? this.#conversations.withheld(bot, message);
    const to = reason === undefined ? destination(bot) : undefined;
    const turn = this.#conversations.say(bot, message, to);
    if (to) this.#deliveries.deliver(bot, turn, "callback.message");
    this.#tell(turn, call, waitMs, reason);
  }

  #trigger({ bot: id, event, call, waitMs = 0 }: WorldInput & { type: "trigger" }): void {
    const bot = this.#bots.get(id);
    if (!bot) return this.#refuse(call, 404, `there is no bot ${id}`);
    if (event.chattype === "group" && !event.chatid) return this.#refuse(call, 422, "an event in a group needs chatid");
    const reason = unreachable(bot) ?? this.#conversations.withheldEvent(bot, event);
    const to = reason === undefined ? destination(bot) : undefined;
    const turn = this.#conversations.trigger(bot, event, to);
    if (to) this.#deliveries.deliver(bot, turn, "callback.event");
    this.#tell(turn, call, waitMs, reason);
  }

  #tell(turn: Turn, call: CallId, waitMs: Millis, reason: string | undefined): void {
    const told: Told = {
      msgid: turn.msgid,
      reqId: turn.reqId,
      delivered: reason === undefined,
      reply: null,
      replies: [],
    };
    if (reason !== undefined) told.reason = reason;
    if (waitMs <= 0 || reason !== undefined || !turn.chat) this.#reply(call, { type: "told", told });
    else this.#waiters.wait(call, told, turn.chat, waitMs);
  }

  #respondUrl({ code, body, call }: WorldInput & { type: "respond-url" }): void {
    const verdict = this.#conversations.respondByUrl(code, body);
    if (verdict === "expired")
      return this.#reply(call, { type: "errcode", errcode: 60140, errmsg: "response code expired or used" });
    const errcode = this.#outlet.errcode(verdict.why);
    this.#reply(call, {
      type: "errcode",
      errcode,
      errmsg: errcode === 0 ? "ok" : (behaviours[verdict.why].errmsg ?? ""),
    });
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Subscribing and the kick

  #subscribe(connection: Connection, act: Act & { type: "subscribe" }): Verdict {
    const { session } = connection;
    const bot = this.#bots.admit(act.botId, act.secret, this.switches.subscribeRate);
    if (bot === "throttled") return { why: "subscribe.throttled" };
    if (typeof bot === "string") return { why: "subscribe.bad-credentials", note: bot };

    const before = bot.live;
    // A socket that moves to another bot leaves its first one without a connection.
    if (session.state === "subscribed" && session.bot !== bot.id)
      this.#leave(connection, "the connection subscribed for another bot");
    bot.live = connection;
    bot.reason = null;
    bot.subscribedAt = this.#clock.world;
    connection.deaf = false;
    session.subscribed(bot.id);
    for (const armed of this.#faults.take(this.#clock.transport, "subscribe", { bot: bot.id, cmd: cmd.subscribe }))
      this.#strikes.overtake(bot, armed);
    return {
      why: "ok",
      sent: () => this.#begun(bot, before === connection ? undefined : before, before !== connection),
    };
  }

  /** What follows the ack of a successful subscribe, at the same instant. */
  #begun(bot: Bot, before: Connection | undefined, anew: boolean): void {
    if (before) this.#kickOut(bot, before, undefined);
    this.#bots.arrived(bot);
    if (!bot.live) return;
    const { redeliveries = [] } = bot;
    bot.redeliveries = undefined;
    for (const { turn, sameReqId, fault } of redeliveries)
      this.#deliveries.deliver(
        bot,
        this.#conversations.turns.again(turn, destination(bot)!, sameReqId),
        "callback.redelivered",
        fault,
      );
    if (anew && this.switches.redeliverUnanswered)
      for (const turn of this.#conversations.unanswered(bot, destination(bot)!))
        this.#deliveries.deliver(bot, turn, "callback.redelivered");
    for (const armed of this.#faults.take(this.#clock.transport, "strike", { bot: bot.id }))
      if (bot.live) this.#strikes.strike(bot.live, armed);
  }

  #kick({ bot: id, call, closeAfterMs }: WorldInput & { type: "kick" }): void {
    const bot = this.#bots.get(id);
    if (!bot) return this.#refuse(call, 404, `there is no bot ${id}`);
    this.#kickByNobody(bot, closeAfterMs, "by the API");
    this.#reply(call, { type: "bot", bot: botView(bot) });
  }

  #kickByNobody(bot: Bot, closeAfterMs: Millis | "never" | undefined, by: string): void {
    if (!bot.live) return;
    const { live } = bot;
    this.#leave(live, `kicked: another instance subscribed (${by})`);
    this.#kickOut(bot, live, closeAfterMs);
  }

  /** The observed order: the event at once, pings acked all the same, the cut later (GW-KICK-4 … GW-KICK-8). */
  #kickOut(bot: Bot, connection: Connection, closeAfterMs: Millis | "never" | undefined): void {
    const to = { connection: connection.session.n, origin: connection.origin };
    const turn = this.#conversations.trigger(bot, { eventtype: "disconnected_event" }, to);
    this.#deliveries.callback(connection, turn, "kick.event");
    connection.session.kicked();
    this.#lint?.kicked(connection.session.n, bot.id, this.#clock.transport, this.#clock.world);
    const { kickClose, kickCloseMs } = this.switches;
    if (closeAfterMs === "never" || (closeAfterMs === undefined && kickClose === "never")) return;
    connection.ending = this.#clock.after(closeAfterMs ?? this.#chance.between(...kickCloseMs), () => {
      this.#outlet.note(connection, "cut: it was kicked", "kick.close");
      this.#connections.cut(connection.session.n, kickClose === "close" ? "close" : "reset");
    });
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

  // -------------------------------------------------------------------------------------------------------------------
  // Bots, settings

  #abandon(call: CallId): void {
    this.#waiters.abandon(call);
    this.#bots.abandon(call);
  }

  #botOf(connection: Connection): Bot {
    return this.#bots.get(connection.session.bot!)!;
  }

  #remove(id: string): void {
    const bot = this.#bots.get(id);
    if (!bot) return;
    for (const connection of this.#connections)
      if (connection.session.bot === id) this.#connections.cut(connection.session.n, "reset");
    this.#conversations.turns.forget(bot);
    this.#bots.remove(bot);
  }

  #set(name: ProfileName | undefined, switches: SomeSwitches | undefined): void {
    if (name) this.profile = name;
    this.switches = { ...(name ? profile(name) : this.switches), ...checked(switches) };
  }

  #reset(): void {
    for (const { session } of this.#connections) this.#connections.cut(session.n, "reset");
    this.#strikes.comeBack();
    this.#waiters.clear();
    this.#bots.clear();
    this.#clock.reset();
    this.#set(this.#options.profile ?? "observed", this.#options.switches);
    this.#begin();
  }

  /** The state at the start, and after a reset. */
  #begin(): void {
    this.#chance = new Chance(this.#options.seed ?? 1);
    this.#faults = new Faults(this.#chance);
    this.#lint = this.#options.lint === false ? undefined : new Lint();
    this.#conversations = new Conversations({
      clock: this.#clock,
      chance: this.#chance,
      switches: () => this.switches,
      noticed: (chat, item) => {
        if (this.#waiters.size > 0) this.#waiters.noticed(chat, item);
      },
    });
    this.#outlet = new Outlet({
      clock: this.#clock,
      chance: this.#chance,
      faults: this.#faults,
      lint: this.#lint,
      switches: () => this.switches,
      logging: this.#options.log !== false,
      counter: this.#counter,
      emit: (effect) => this.#effects.push(effect),
      eventtypeOf: (reqId) => this.#conversations.eventtypeOf(reqId),
      spelt: (bot, chatid) => this.#conversations.spelt(bot, chatid),
    });
    this.#deliveries = new Deliveries({
      bots: this.#bots,
      clock: this.#clock,
      conversations: this.#conversations,
      faults: this.#faults,
      outlet: this.#outlet,
      switches: () => this.switches,
    });
    this.#strikes = new Strikes({
      bots: this.#bots,
      clock: this.#clock,
      connections: this.#connections,
      conversations: this.#conversations,
      deliveries: this.#deliveries,
      outlet: this.#outlet,
      switches: () => this.switches,
      emit: (effect) => this.#effects.push(effect),
      kick: (bot, closeAfterMs) => this.#kickByNobody(bot, closeAfterMs, "by a fault"),
      leave: (connection, reason) => this.#leave(connection, reason),
      perform: (connection, act) => this.#perform(connection, act),
    });
    for (const bot of this.#options.bots ?? []) this.#bots.configure(bot);
    for (const fault of this.#options.faults ?? []) this.#faults.arm(this.#clock.transport, fault);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Faults

  #arm(fault: Fault, call: CallId): void {
    const armed = this.#faults.arm(this.#clock.transport, fault);
    this.#reply(call, { type: "armed", fault: { id: armed.id, fault, used: armed.used } });
    if (fault.kind === "down") this.#strikes.goDown(armed.id, fault);
    if (fault.cmd !== undefined) return;
    // What strikes a connection as a whole does so now where there is one.
    for (const bot of this.#bots.all()) {
      if (!bot.live || (fault.bot !== undefined && fault.bot !== bot.id)) continue;
      for (const struck of this.#faults.take(this.#clock.transport, "strike", { bot: bot.id }))
        if (bot.live) this.#strikes.strike(bot.live, struck);
    }
  }

  #disarm({ fault, call }: WorldInput & { type: "disarm" }): void {
    const armed = this.faults().find(({ id }) => id === fault);
    if (!armed) return this.#refuse(call, 404, `there is no armed fault ${fault}; it may be used up`);
    this.#faults.disarm(fault);
    this.#strikes.comeBack(fault);
    this.#reply(call, { type: "armed", fault: armed });
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Sending

  #reply(call: CallId, answer: Answer): void {
    this.#effects.push({ type: "answer", call, answer });
  }

  #refuse(call: CallId, status: 404 | 422, detail: string): void {
    this.#reply(call, { type: "refused", status, detail });
  }
}

/** The switches that are given. To look for each of all of them takes as long as all else that a world begins with. */
const checked = (given: SomeSwitches | undefined): Partial<Switches> | undefined =>
  given && (SomeSwitches.parse(given) as Partial<Switches>);

/** What a user may send and a bot never gets (GW-MSG-23, GW-MSG-25). */
const neverDelivered = new Set(["stream", "location", "link", "business_card"]);

/** The real server delivers these from single chats only (GW-MSG-11). */
const singleOnly = new Set(["image", "voice", "file", "video"]);
