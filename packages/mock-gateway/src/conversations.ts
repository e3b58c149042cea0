/**
 * What bots and users say to each other: callbacks, and everything a subscribed bot can answer.
 *
 * Whether a reply is good depends on the turn it answers (turns.ts), on windows and quotas, and on what is in it; each
 * refusal is the name of the behaviour that refuses.
 * Which connection a frame came on matters in two places only (a req_id from an earlier connection, chunks in flight), so
 * connections are numbers here.
 *
 * It sends nothing and answers nobody: verdicts and turns go back to the world, which owns acks and sockets.
 */
import { maxContentBytes, maxFeedbackIdBytes } from "@openws/protocol/frames";
import type { BehaviourId } from "./behaviours.ts";
import { bound, keepNewest } from "./bounded.ts";
import { eventBody, messageBody, wordsOf, type UserEvent, type UserMessage } from "./callbacks.ts";
import { refuseCard } from "./cards.ts";
import type { Chance } from "./chance.ts";
import { Chats, type BotItem, type Chat, type ChatItem, type Via } from "./chats.ts";
import type { Clock, Millis } from "./clock.ts";
import { hasFormat, Media } from "./media.ts";
import { readResponse, type Act, type Card, type Content, type Fields } from "./session.ts";
import type { Switches } from "./switches.ts";
import { answered, Turns, type Destination, type Speaker, type Turn } from "./turns.ts";
import { Uploads, type Refused } from "./uploads.ts";

/** What an ack says. */
export interface Verdict {
  readonly why: BehaviourId;
  readonly note?: string;
  readonly body?: Fields;
  /** Runs when the ack is on its way: until then the frame counts as in flight. */
  readonly sent?: () => void;
}

/** Acknowledged with 0. */
export const ok: Verdict = { why: "ok" };

/** The commands that need a subscription. */
export type Command = Exclude<Act, { type: "ignore" | "refuse" | "subscribe" | "ping" }>;

/** What conversations borrow from the world. */
export interface Ports {
  readonly clock: Clock;
  readonly chance: Chance;
  readonly switches: () => Switches;
  /** A message of a bot appeared or changed. */
  readonly noticed: (chat: Chat, item: BotItem) => void;
}

const maxStreamsPerTurn = 100;
const maxUnanswered = 100;
const maxTaskIds = 10_000;
const maxInteractingUsers = 50_000;

/** All conversations of all bots. */
export class Conversations {
  readonly chats = new Chats();
  readonly media: Media;
  readonly uploads: Uploads;
  readonly turns: Turns;
  readonly #ports: Ports;
  /** Chunks that are not acked yet, by connection. */
  readonly #chunksInFlight = new Map<number, number>();

  constructor(ports: Ports) {
    this.#ports = ports;
    this.media = new Media(ports.chance);
    this.uploads = new Uploads(ports.chance, this.media);
    this.turns = new Turns({
      now: () => ports.clock.world,
      chance: ports.chance,
      media: this.media,
      switches: ports.switches,
    });
  }

  // -------------------------------------------------------------------------------------------------------------------
  // From users to bots

  /** A user speaks. Without a destination the message is shown as not delivered. Throws nothing: the caller validated it. */
  say(bot: Speaker, message: UserMessage, to: Destination | undefined): Turn {
    const { userid } = message.from;
    const group = message.chattype === "group";
    const chat = this.chats.at(bot.id, group ? "group" : "single", group ? message.chatid! : userid);
    this.chats.spoke(chat, userid);
    const turn = this.turns.open({
      bot,
      chat,
      eventtype: undefined,
      msgid: message.msgid,
      to,
      compose: (making) => messageBody(message, making),
    });
    const words = wordsOf(turn.body);
    this.chats.add(chat, {
      by: "user",
      seq: this.chats.nextSeq(),
      at: turn.at,
      userid,
      msgtype: message.msgtype,
      msgid: turn.msgid,
      reqId: turn.reqId,
      delivered: to !== undefined,
      ...(words === undefined ? {} : { content: words }),
    });
    if (!to) return turn;
    const { maxInFlightPerUser, redeliverUnanswered } = this.#switches;
    const { interactions, unanswered } = bot.memory;
    if (maxInFlightPerUser > 0)
      keepNewest(interactions, userid, [...(interactions.get(userid) ?? []), turn], maxInteractingUsers);
    if (redeliverUnanswered) keepNewest(unanswered, turn.msgid, turn, maxUnanswered);
    return turn;
  }

  /** A user does something. */
  trigger(bot: Speaker, event: UserEvent, to: Destination | undefined): Turn {
    const userid = event.from?.userid;
    const group = event.chattype === "group";
    const id = group ? event.chatid : userid;
    const chat = id === undefined ? undefined : this.chats.at(bot.id, group ? "group" : "single", id);
    const { eventtype, msgid } = event;
    const turn = this.turns.open({
      bot,
      chat,
      eventtype,
      msgid,
      to,
      compose: (making) => eventBody(event, making, chat),
    });
    if (chat && userid !== undefined)
      this.chats.add(chat, {
        by: "user",
        seq: this.chats.nextSeq(),
        at: turn.at,
        userid,
        msgtype: "event",
        eventtype: event.eventtype,
        msgid: turn.msgid,
        reqId: turn.reqId,
        delivered: to !== undefined,
      });
    return turn;
  }

  /** The callback went out and no fault has it come again: its body is not needed any more. */
  sent(turn: Turn): void {
    if (!this.#switches.redeliverUnanswered) turn.body = nothing;
  }

  /** The messages nobody answered, to be redelivered to a connection that subscribed. */
  unanswered(bot: Speaker, to: Destination): Turn[] {
    const { unanswered } = bot.memory;
    const waiting = [...unanswered.values()].filter(({ outcome }) => !outcome.answered);
    unanswered.clear();
    return waiting.map((turn) => {
      const repeated = this.turns.again(turn, to, false);
      unanswered.set(repeated.msgid, repeated);
      return repeated;
    });
  }

  /** Why a user's message is not delivered, although the bot is there. */
  withheld(bot: Speaker, message: UserMessage): string | undefined {
    const { maxInFlightPerUser, repeatedTextMs } = this.#switches;
    const { userid } = message.from;
    const open = maxInFlightPerUser > 0 ? this.#interacting(bot, userid) : 0;
    if (open > 0 && open >= maxInFlightPerUser)
      return `${userid} has ${open} messages in interaction with the bot already (switch maxInFlightPerUser)`;
    if (repeatedTextMs > 0 && this.#repeats(bot, message))
      return `the same text came less than ${repeatedTextMs} ms before (switch repeatedTextMs)`;
    return undefined;
  }

  /** Why a user's event is not delivered, although the bot is there. */
  withheldEvent(bot: Speaker, { eventtype, from }: UserEvent): string | undefined {
    const daily = this.#switches.enterChatDaily && eventtype === "enter_chat";
    return daily && from && this.#enteredToday(bot, from.userid)
      ? `${from.userid} entered the chat today already (switch enterChatDaily)`
      : undefined;
  }

  /** How many messages a user has in interaction with a bot (GW-MSG-16). */
  #interacting(bot: Speaker, userid: string): number {
    const { interactions } = bot.memory;
    const since = this.#now - this.#switches.interactionMs;
    const open = interactions.get(userid)?.filter(({ outcome, at }) => !outcome.answered && at > since) ?? [];
    if (open.length > 0) interactions.set(userid, open);
    else interactions.delete(userid);
    return open.length;
  }

  /** Whether the user said the same in the same chat less than `repeatedTextMs` ago (GW-MSG-26). */
  #repeats(bot: Speaker, { from, chattype, chatid, ...message }: UserMessage): boolean {
    const before = this.#now - this.#switches.repeatedTextMs;
    const chat = this.chats.find(bot.id, chattype === "group" ? chatid! : from.userid);
    const said = chat?.items.findLast((item) => item.by === "user" && item.userid === from.userid);
    const words = wordsOf(message);
    // In a group a mention may stand before it.
    return words !== undefined && said !== undefined && said.at > before && said.content?.endsWith(words) === true;
  }

  /** Whether the user entered the chat on this day already (GW-EVENT-2). */
  #enteredToday(bot: Speaker, userid: string): boolean {
    const today = dayOf(this.#now);
    const chat = this.chats.find(bot.id, userid);
    const isEntry = (item: ChatItem): boolean =>
      item.by === "user" && item.eventtype === "enter_chat" && item.delivered && dayOf(item.at) === today;
    return chat?.items.some(isEntry) ?? false;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // From bots to users

  /** Carries out a command of a subscribed connection. */
  perform(bot: Speaker, connection: number, act: Command): Verdict {
    switch (act.type) {
      case "respond":
        return this.#respond(bot, connection, act.reqId, act.content);
      case "welcome":
        return this.#welcome(bot, act.reqId, act.content);
      case "update":
        return this.#update(bot, act.reqId, act.card);
      case "send":
        return this.#send(bot, act);
      case "upload-init": {
        const made = this.uploads.init(this.#now, bot.id, act.plan, this.#switches);
        return "refused" in made ? refusal(made) : { why: "ok", body: { upload_id: made.uploadId } };
      }
      case "upload-chunk":
        return this.#chunk(bot, connection, act);
      case "upload-finish":
        return this.#finish(bot, act.uploadId);
      case "mcp-config":
        return this.#mcpConfig();
      case "send-biz": {
        const chat = this.#pushTarget(bot, act.chatid, act.chatType);
        if ("refused" in chat) return refusal(chat);
        this.#show(chat, "send", act.reqId, { kind: "text", content: "[authorisation card]" });
        return ok;
      }
      case "enter-check":
        return this.turns.get(act.reqId)?.eventtype === "enter_check_update" ? ok : { why: "reply.invalid-req-id" };
    }
  }

  /** A POST to a response_url: markdown or a card, once, within an hour (GW-PUSH-15). `expired` is errcode 60140. */
  respondByUrl(code: string, body: unknown): Verdict | "expired" {
    const url = this.turns.byResponseCode(code);
    if (!url) return "expired";
    const content = readResponse(body);
    if ("why" in content) return content;
    const refused = this.#inspect(url.turn.bot, content, undefined);
    if (refused) return refusal(refused);
    url.used = true;
    answered(url.turn);
    this.#show(url.turn.chat!, "response_url", url.turn.reqId, content);
    return ok;
  }

  /** Streams that ran out of their life are marked as such for whoever looks. */
  look(chat: Chat): void {
    const before = this.#now - this.#switches.streamLifeMs;
    for (const item of chat.items)
      if (item.by === "bot" && item.kind === "stream" && !item.finished && item.at < before) item.expired = true;
  }

  /** The event that a req_id belongs to, if it is an event's. */
  eventtypeOf(reqId: string): string | undefined {
    return this.turns.get(reqId)?.eventtype;
  }

  /** Whether a chatid is that of a chat in another spelling: with a prefix, or in another case. */
  spelt(bot: string, chatid: string): boolean {
    const bare = chatid.slice(chatid.lastIndexOf(":") + 1).toLowerCase();
    return this.chats.of(bot).some(({ id }) => id !== chatid && id.toLowerCase() === bare);
  }

  #respond(bot: Speaker, connection: number, reqId: string, content: Content): Verdict {
    const turn = this.turns.get(reqId);
    if (!turn || turn.bot !== bot) return { why: "reply.invalid-req-id" };
    if (turn.eventtype !== undefined) return { why: "reply.invalid-req-id", note: `the req_id of ${turn.eventtype}` };
    if (this.#now - turn.at > this.#switches.replyWindowMs) return { why: "reply.expired" };
    if (turn.connection !== connection && this.#switches.oldReqIdAfterReconnect === "refuse")
      return { why: "reply.old-connection" };
    const refused = this.#inspect(bot, content, undefined);
    if (refused) return refusal(refused);
    const chat = turn.chat!;
    if (content.kind === "stream") return this.#stream(turn, chat, content);
    if (!this.#allow(chat)) return { why: "quota.chat" };
    answered(turn);
    this.#show(chat, "respond", reqId, content);
    return ok;
  }

  #stream(turn: Turn, chat: Chat, content: Content & { kind: "stream" }): Verdict {
    const now = this.#now;
    const switches = this.#switches;
    let stream = turn.streams?.get(content.id);
    if (stream) {
      if (now - stream.firstAt > switches.streamLifeMs) return { why: "stream.expired" };
      if (stream.item.finished && switches.sealedStream !== "accept") return { why: "stream.sealed" };
      if (stream.pendingAcks > 0 && switches.concurrentStreamFrames !== "accept") return { why: "stream.conflict" };
      if (switches.quotaCountsRefreshes && !this.#allow(chat)) return { why: "quota.chat" };
      const { content: shown } = stream.item;
      if (switches.equalFinish === "swallow" && content.finish && content.content === shown) return ok;
    } else {
      turn.streams ??= new Map();
      if (turn.streams.size >= maxStreamsPerTurn) return { why: "stream.too-many" };
      if (!this.#allow(chat)) return { why: "quota.chat" };
      stream = { item: this.#item(chat, "respond", turn.reqId, content), firstAt: now, pendingAcks: 0 };
      turn.streams.set(content.id, stream);
    }
    const { item } = stream;
    item.frames++;
    this.chats.grew(chat, content.content.length - (item.content?.length ?? 0));
    item.content = content.content;
    if (content.card) item.card = content.card;
    if (content.finish) {
      item.finished = true;
      if (!visible.test(content.content)) item.spinner = true;
      answered(turn);
    }
    this.#ports.noticed(chat, item);
    const open = stream;
    open.pendingAcks++;
    return {
      why: "ok",
      sent: () => {
        open.pendingAcks--;
      },
    };
  }

  #welcome(bot: Speaker, reqId: string, content: Content): Verdict {
    const turn = this.#eventTurn(bot, reqId, "enter_chat");
    if ("why" in turn) return turn;
    const refused = this.#inspect(bot, content, undefined);
    if (refused) return refusal(refused);
    const { chat } = turn;
    if (chat && !this.#allow(chat)) return { why: "quota.chat" };
    turn.outcome.answered = true;
    // An event that names nobody has no chat in which its answer could be seen.
    if (chat) this.#show(chat, "welcome", reqId, content);
    return ok;
  }

  #update(bot: Speaker, reqId: string, card: Card): Verdict {
    const turn = this.#eventTurn(bot, reqId, "template_card_event");
    if ("why" in turn) return turn;
    const taskId = card["task_id"];
    const refused = this.#inspect(bot, { kind: "template_card", card }, taskId);
    if (refused) return refusal(refused);
    turn.outcome.answered = true;
    const { chat } = turn;
    if (!chat) return ok;
    const shown = chat.items.findLast((item) => item.by === "bot" && item.via !== "update" && item.task_id === taskId);
    if (shown?.by === "bot") shown.card = card;
    this.#show(chat, "update", reqId, { kind: "template_card", card });
    return ok;
  }

  #send(bot: Speaker, act: Act & { type: "send" }): Verdict {
    const chat = this.#pushTarget(bot, act.chatid, act.chatType);
    if ("refused" in chat) return refusal(chat);
    const refused = this.#inspect(bot, act.content, undefined);
    if (refused) return refusal(refused);
    if (!this.#allow(chat)) return { why: "quota.chat" };
    this.#show(chat, "send", act.reqId, act.content);
    // A push answers whatever is open in its chat.
    for (const userid of chat.users)
      for (const turn of bot.memory.interactions.get(userid) ?? []) if (turn.chat === chat) answered(turn);
    return ok;
  }

  #chunk(bot: Speaker, connection: number, act: Act & { type: "upload-chunk" }): Verdict {
    const flying = this.#chunksInFlight.get(connection) ?? 0;
    if (this.#switches.chunkOverload && flying >= 4) return { why: "upload.overload" };
    const taken = this.uploads.chunk(this.#now, bot.id, act.uploadId, act.index, act.data, this.#switches);
    if ("refused" in taken) return refusal(taken);
    this.#chunksInFlight.set(connection, flying + 1);
    const sent = (): void => {
      const left = this.#chunksInFlight.get(connection)! - 1;
      if (left > 0) this.#chunksInFlight.set(connection, left);
      else this.#chunksInFlight.delete(connection);
    };
    return { why: taken.repeated ? "upload.repeated-chunk" : "ok", sent };
  }

  #finish(bot: Speaker, uploadId: string): Verdict {
    const made = this.uploads.finish(this.#now, bot.id, uploadId, this.#switches);
    if ("refused" in made) return refusal(made);
    const seconds = Math.floor(made.createdAt / 1000);
    const createdAt = this.#switches.createdAt === "string" ? String(seconds) : seconds;
    const body = { type: made.kind, media_id: made.mediaId, created_at: createdAt };
    return { why: hasFormat(made.kind, made.bytes) ? "ok" : "upload.odd-format", body };
  }

  #mcpConfig(): Verdict {
    const { mcpConfig: url } = this.#switches;
    if (url === "refuse") return { why: "mcp.unsupported" };
    return { why: "ok", body: { type: "streamable-http", url, is_authed: true } };
  }

  /** The turn of an event that still takes its one answer, or why there is none (GW-EVENT-3, GW-EVENT-19, GW-EVENT-20). */
  #eventTurn(bot: Speaker, reqId: string, eventtype: string): Turn | Verdict {
    const turn = this.turns.get(reqId);
    if (!turn || turn.bot !== bot) return { why: "reply.invalid-req-id" };
    if (turn.eventtype !== eventtype)
      return { why: "reply.invalid-req-id", note: `the req_id of ${turn.eventtype ?? "a message"}` };
    if (turn.outcome.answered) return { why: "reply.invalid-req-id", note: "this event was answered before" };
    if (this.#now - turn.at > this.#switches.eventWindowMs) return { why: "reply.late-event" };
    return turn;
  }

  /** Which chat a push goes to: 0 means the group first, then the user (GW-PUSH-2). */
  #pushTarget(bot: Speaker, chatid: string, chatType: number): Chat | Refused {
    const { chats } = this;
    // Without that rule a chat of the named type is there for the asking.
    if (!this.#switches.chatPrecondition && chatType !== 0)
      return chats.at(bot.id, chatType === 2 ? "group" : "single", chatid);
    if (chatType !== 1 && chats.known(bot.id, "group", chatid)) return chats.at(bot.id, "group", chatid);
    if (chatType !== 2 && chats.known(bot.id, "single", chatid)) return chats.at(bot.id, "single", chatid);
    if (!this.#switches.chatPrecondition) return chats.at(bot.id, "single", chatid);
    return chatType !== 1 && chats.groupExists(chatid)
      ? { refused: "send.not-in-group" }
      : { refused: "send.bad-chatid" };
  }

  /** Why a message cannot be shown, whatever the chat. An update repeats its card's task_id: `sameTaskId`. */
  #inspect(bot: Speaker, content: Content, sameTaskId: unknown): Refused | undefined {
    if ("content" in content && content.content.length * 3 > maxContentBytes) {
      const bytes = Buffer.byteLength(content.content);
      if (bytes > maxContentBytes) return { refused: "reply.too-long", note: `${bytes} bytes` };
    }
    const feedback = "feedbackId" in content ? content.feedbackId : undefined;
    if (feedback !== undefined && Buffer.byteLength(feedback) > maxFeedbackIdBytes)
      return { refused: "frame.bad-body", note: "feedback.id is longer than 256 bytes" };
    if ("mediaId" in content)
      return this.media.uploaded(this.#now, bot.id, content.mediaId, this.#switches)
        ? undefined
        : { refused: "media.unknown" };
    const card = content.kind === "template_card" || content.kind === "stream" ? content.card : undefined;
    if (!card) return undefined;
    const refused = this.#switches.cardCheck ? refuseCard(card) : undefined;
    if (refused) return refused;
    const taskId = card["task_id"];
    if (typeof taskId !== "string" || taskId === sameTaskId) return undefined;
    const { taskIds } = bot.memory;
    if (this.#switches.uniqueTaskId && taskIds.has(taskId))
      return { refused: "card.task-id-used", note: `task_id ${taskId}` };
    taskIds.add(taskId);
    bound(taskIds, maxTaskIds);
    return undefined;
  }

  #allow(chat: Chat): boolean {
    return !this.#switches.quota || chat.quota.take(this.#now);
  }

  #show(chat: Chat, via: Via, reqId: string, content: Content): void {
    const item = this.#item(chat, via, reqId, content);
    item.frames = 1;
    this.#ports.noticed(chat, item);
  }

  #item(chat: Chat, via: Via, reqId: string, content: Content): BotItem {
    const card = "card" in content ? content.card : undefined;
    const taskId = card?.["task_id"];
    const feedback = "feedbackId" in content ? content.feedbackId : undefined;
    const thumbs = feedback !== undefined && (!this.#switches.traceFeedbackOnly || feedback.startsWith("trace_"));
    // What nearly every item has is there from the start; the rest is added where it occurs.
    const item: BotItem = {
      by: "bot",
      seq: this.chats.nextSeq(),
      at: this.#now,
      via,
      kind: content.kind,
      reqId,
      finished: content.kind !== "stream",
      frames: 0,
      content: "content" in content && content.kind !== "stream" ? content.content : undefined,
    };
    if (content.kind === "stream") item.streamId = content.id;
    if (card) item.card = card;
    if (typeof taskId === "string") item.task_id = taskId;
    if ("mediaId" in content) {
      item.mediaId = content.mediaId;
      item.filename = this.media.shown(content.mediaId)?.filename ?? "";
    }
    // The app cuts what is longer (GW-UPLOAD-19).
    if ("title" in content && content.title !== undefined) item.title = cut(content.title, 64);
    if ("description" in content && content.description !== undefined) item.description = cut(content.description, 512);
    if (thumbs) item.feedbackId = feedback;
    this.chats.add(chat, item);
    return item;
  }

  get #now(): Millis {
    return this.#ports.clock.world;
  }

  get #switches(): Switches {
    return this.#ports.switches();
  }
}

const nothing: Fields = {};

/** The number of a day in Beijing, which is eight hours ahead all year. */
const dayOf = (at: Millis): number => Math.floor((at + 8 * 3_600_000) / 86_400_000);

/** Anything but white space and characters of no width. */
const visible = /[^\s\u200B-\u200D\u2060\uFEFF]/;

/** The verdict of a refusal. */
export const refusal = ({ refused, note }: Refused): Verdict =>
  note === undefined ? { why: refused } : { why: refused, note };

/** Cuts to so many bytes of UTF-8, on a character. */
const cut = (text: string, bytes: number): string => {
  if (Buffer.byteLength(text) <= bytes) return text;
  return new TextDecoder().decode(Buffer.from(text).subarray(0, bytes)).replace(/\uFFFD+$/, "");
};
