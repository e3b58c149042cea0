/**
 * Lint: what a client does against the rules, noticed and not punished.
 *
 * The gateway answers as the real one would; what it answers says little about most mistakes (a stream of deltas is acked
 * like any other). So every frame is looked at once more here, beside what came of it, and each finding points to the
 * requirement it breaks in spec/requirements.yaml. A finding is advice: the rules are heuristics where the wire alone cannot
 * tell intent (a bubble may be rewritten on purpose), and say so.
 *
 * Memory: a bounded history a connection, a bounded ring of findings, and so many findings of one rule a connection.
 */
import { cmd, maxContentBytes } from "@openws/protocol/frames";
import type { BehaviourId } from "./behaviours.ts";
import { bound, keepNewest } from "./bounded.ts";
import type { Millis } from "./clock.ts";
import type { Act, Content, Fields } from "./session.ts";
import { maskSecret } from "./wirelog.ts";

/** One rule: the requirement it stands for, and what it says. */
export interface LintRule {
  readonly requirement: string;
  readonly what: string;
}

const rules = {
  "not-json": { requirement: "CONN-1", what: "A frame is no JSON object." },
  "binary-frame": { requirement: "CONN-1", what: "A frame is a binary message; the gateway may not read it." },
  "no-req-id": { requirement: "CONN-3", what: "A frame has no headers.req_id, or one longer than 256 bytes." },
  "req-id-reused": {
    requirement: "CONN-4",
    what: "A req_id of the client's own choosing is used twice on one connection: acks cannot be told apart.",
  },
  "unknown-cmd": { requirement: "GW-CONN-13", what: "The gateway knows no such command." },
  "subscribe-not-first": { requirement: "AUTH-1", what: "The first frame on a socket is not aibot_subscribe." },
  "subscribe-late": { requirement: "AUTH-1", what: "The subscribe comes more than 5 s after the socket opened." },
  "command-before-ack": { requirement: "AUTH-2", what: "A command is sent before the subscribe is acknowledged." },
  "subscribe-again": { requirement: "AUTH-11b", what: "A subscribe on a socket that is subscribed already." },
  "stays-refused": {
    requirement: "AUTH-6b",
    what: "The socket is still used more than 5 s after the credentials were refused.",
  },
  "retries-credentials": {
    requirement: "AUTH-6c",
    what: "More than 6 subscribes within 60 s after the credentials were refused.",
  },
  "retries-throttled": { requirement: "AUTH-8a", what: "A subscribe less than 30 s after 45009." },
  "sends-when-kicked": {
    requirement: "KICK-1b",
    what: "Something other than ping is sent more than 1 s after disconnected_event.",
  },
  "stays-when-kicked": {
    requirement: "KICK-2b",
    what: "The socket is still open and used more than 5 s after disconnected_event.",
  },
  "kick-war": {
    requirement: "KICK-4b",
    what: "The bot was kicked twice within five minutes: two instances fight for it.",
  },
  "ping-interval": { requirement: "BEAT-1", what: "Pings are less than 20 s or more than 45 s apart." },
  "ping-body": { requirement: "BEAT-1", what: "A ping has a body with members; it has none." },
  "not-subscribed": { requirement: "REPLY-7a", what: "A command on a connection whose subscription is gone." },
  "reply-unknown": { requirement: "REPLY-1", what: "A reply has a req_id that is no callback's of this bot." },
  "reply-too-late": { requirement: "GW-REPLY-3", what: "A reply more than 24 hours after its message." },
  "reply-to-event": { requirement: "EVENT-1b", what: "aibot_respond_msg on the req_id of an event." },
  "answers-feedback": { requirement: "EVENT-4", what: "Something is sent in reply to feedback_event." },
  "welcome-late": { requirement: "EVENT-1c", what: "A welcome more than 5 s after enter_chat." },
  "update-late": { requirement: "EVENT-2b", what: "A card update more than 5 s after the click." },
  "bad-msgtype": { requirement: "REPLY-2", what: "The command does not take this msgtype." },
  "bad-push-msgtype": {
    requirement: "PUSH-1c",
    what: "aibot_send_msg does not take this msgtype; send text as markdown.",
  },
  "two-in-flight": {
    requirement: "REPLY-3",
    what: "A frame is sent while the one before it on the same req_id is not acknowledged.",
  },
  "retries-dead-req-id": { requirement: "REPLY-4a", what: "A req_id is used again after 846604 or 846605." },
  "retries-quota": { requirement: "REPLY-5a", what: "A frame to a chat less than 5 s after 846607 there." },
  "over-quota": { requirement: "PUSH-7", what: "More than 30 messages a minute or 1,000 an hour in one chat." },
  "stream-not-cumulative": {
    requirement: "STREAM-1a",
    what: "A stream's text does not continue the one before it: each frame must carry the whole text so far.",
  },
  "stream-two-req-ids": { requirement: "STREAM-1b", what: "One stream.id is used under two req_ids." },
  "stream-after-finish": { requirement: "STREAM-2a", what: "A frame for a stream that was finished." },
  "stream-invisible": {
    requirement: "STREAM-2c",
    what: "A finishing frame without a visible character: the app shows its spinner for ever.",
  },
  "stream-too-long": { requirement: "STREAM-3a", what: "stream.content is longer than 20,480 bytes of UTF-8." },
  "broken-text": {
    requirement: "STREAM-3b",
    what: "A text holds half a surrogate pair or a replacement character: it was cut inside a character.",
  },
  "stream-over-time": { requirement: "STREAM-5", what: "A stream is updated after its ten minutes." },
  "retries-dead-stream": { requirement: "STREAM-4a", what: "More than one further frame for a stream after 846608." },
  "feedback-late": {
    requirement: "STREAM-8a",
    what: "feedback.id stands in a later frame; only a stream's first one counts.",
  },
  "feedback-prefix": {
    requirement: "STREAM-8b",
    what: "feedback.id does not begin with trace_: the thumbs do not appear.",
  },
  "stream-msg-item": { requirement: "STREAM-9", what: "stream.msg_item is not supported on the long connection." },
  "push-no-chat-type": { requirement: "PUSH-1b", what: "A push does not say chat_type 1 or 2." },
  "push-chatid-altered": {
    requirement: "PUSH-1a",
    what: "chatid is that of a known chat with a prefix or in another case.",
  },
  "retries-bad-chat": { requirement: "PUSH-2", what: "A push to a chat that was refused with 93006 or 93001 before." },
  "markdown-too-long": { requirement: "PUSH-6", what: "markdown.content is longer than 20,480 bytes of UTF-8." },
  "card-incomplete": { requirement: "CARD-1", what: "A card lacks what its type requires." },
  "card-task-id": { requirement: "CARD-2", what: "A task_id is used twice." },
  "card-keys": { requirement: "CARD-3", what: "Buttons without a key, or with the same one." },
  "card-strings": { requirement: "CARD-4", what: "A number or flag of a card is given as a text." },
  "upload-index-base": {
    requirement: "UPLOAD-1c",
    what: "chunk_index runs beyond total_chunks − 1: it counts from 0.",
  },
  "upload-format": {
    requirement: "GW-UPLOAD-12",
    what: "An upload is no png, jpg or gif (image), amr (voice) or mp4 (video) by its first bytes.",
  },
  "upload-index-text": { requirement: "UPLOAD-1c", what: "chunk_index is a text; it is a number." },
  "upload-md5": { requirement: "UPLOAD-1b", what: "md5 is not 32 lower-case hexadecimal digits, or not the file's." },
  "upload-id": { requirement: "UPLOAD-2", what: "upload_id is not one that an ack of init has brought." },
  "upload-resends": { requirement: "UPLOAD-4", what: "A chunk is sent more than three times." },
  "upload-incomplete": { requirement: "UPLOAD-5a", what: "finish is sent while chunks are not acknowledged." },
  "upload-overload": { requirement: "UPLOAD-11", what: "More than four chunks are in flight." },
  "upload-size": { requirement: "UPLOAD-7", what: "A file too small or too large for its type." },
  "upload-filename": { requirement: "UPLOAD-10", what: "filename is not 1 to 256 bytes." },
  "media-id": {
    requirement: "UPLOAD-8",
    what: "A media_id that no upload of this bot has brought, or that is older than three days.",
  },
} satisfies Record<string, LintRule>;

export type LintRuleId = keyof typeof rules;
/** Every rule. */
export const lintRules: { readonly [Id in LintRuleId]: LintRule } = rules;

/** One mistake of a client. */
export interface Finding {
  readonly rule: LintRuleId;
  /** An id in spec/requirements.yaml. */
  readonly requirement: string;
  readonly bot: string | null;
  readonly connection: number;
  /** World clock, Unix milliseconds. */
  readonly at: Millis;
  /** What is wrong, with the particulars of this time. */
  readonly message: string;
  /** The frame, shortened; secrets masked. */
  readonly frame: string;
}

/** A frame of a client and what came of it. */
export interface Seen {
  readonly connection: number;
  readonly bot: string | null;
  /** World clock. */
  readonly at: Millis;
  /** Transport clock. */
  readonly now: Millis;
  /** As it came, whole. */
  readonly text: string;
  readonly binary: boolean;
  readonly command: string | null;
  readonly frame: Fields | undefined;
  readonly act: Act;
  readonly why: BehaviourId;
  readonly errcode: number;
  readonly note: string | undefined;
  /** The event whose req_id it carries, if it does. */
  readonly eventtype: string | undefined;
  /** Whether a push to the same chat in another spelling would have been taken. */
  readonly chatKnownOtherwise: boolean;
}

interface StreamSeen {
  readonly reqId: string;
  content: string;
  breaks: number;
  refusals: number;
}

/** One connection. Tables, here and of a bot, are made when something is put into them: most never are. */
interface History {
  readonly openedAt: Millis;
  frames: number;
  subscribe: "none" | "sent" | "ok" | "refused";
  refusedAt: Millis;
  kickedAt: Millis | undefined;
  /** A command was refused because the subscription is gone: subscribing again is right. */
  lost: boolean;
  pingedAt: Millis | undefined;
  /** Hashes of those of the client's own choosing, the newest last: a comparison with each must not cost a look at each. */
  reqIds: number[] | undefined;
  /** Frames of a reply that are not acknowledged, by req_id. */
  unacked: Map<string, number> | undefined;
  found: Map<LintRuleId, number> | undefined;
}

/** What is known of a bot beyond one connection. */
interface BotHistory {
  refusals: Millis[] | undefined;
  throttledAt: Millis | undefined;
  kicks: Millis[] | undefined;
  streams: Map<string, StreamSeen> | undefined;
  deadReqIds: Map<string, number> | undefined;
  throttledChats: Map<string, Millis> | undefined;
  refusedChats: Set<string> | undefined;
  chunks: Map<string, number> | undefined;
}

const maxFindings = 2_000;
const maxOfRule = 20;
/** As many as may appear: one that is forgotten between two of its frames is made anew for each. */
const maxBots = 50_000;
/** Of one connection: a client that makes ids up twice does so soon. */
const maxReqIds = 64;
/** Of a frame in a finding. */
const maxShown = 2_000;

/** The findings about all clients. */
export class Lint {
  readonly #findings: Finding[] = [];
  readonly #histories = new Map<number, History>();
  readonly #bots = new Map<string, BotHistory>();

  /** The findings that are kept, oldest first. */
  findings(bot?: string): Finding[] {
    return bot === undefined ? [...this.#findings] : this.#findings.filter((finding) => finding.bot === bot);
  }

  opened(connection: number, now: Millis): void {
    this.#histories.set(connection, {
      openedAt: now,
      frames: 0,
      subscribe: "none",
      refusedAt: 0,
      kickedAt: undefined,
      lost: false,
      pingedAt: undefined,
      reqIds: undefined,
      unacked: undefined,
      found: undefined,
    });
  }

  closed(connection: number): void {
    this.#histories.delete(connection);
  }

  /** disconnected_event went out. */
  kicked(connection: number, bot: string, now: Millis, at: Millis): void {
    const history = this.#histories.get(connection);
    if (history) history.kickedAt = now;
    const known = this.#bot(bot);
    known.kicks = since(now - 300_000, known.kicks, now);
    if (history && known.kicks.length >= 2)
      this.#note(history, "kick-war", { connection, bot, at, text: "" }, `${known.kicks.length} kicks in five minutes`);
  }

  /** An ack is on its way. */
  acked(connection: number, reqId: string): void {
    const history = this.#histories.get(connection);
    if (!history?.unacked || history.unacked.size === 0) return;
    const left = (history.unacked.get(reqId) ?? 0) - 1;
    if (left > 0) history.unacked.set(reqId, left);
    else history.unacked.delete(reqId);
  }

  /** A frame came in and was judged. */
  observe(seen: Seen): void {
    const history = this.#histories.get(seen.connection);
    if (!history) return;
    const { act } = seen;
    if (seen.binary) this.#note(history, "binary-frame", seen);
    if (act.type === "ignore") return this.#note(history, "not-json", seen, act.note);
    const first = history.frames++ === 0;
    if (act.reqId === "" || seen.why === "frame.bad-req-id") return this.#note(history, "no-req-id", seen);
    if (first && act.type !== "subscribe") this.#note(history, "subscribe-not-first", seen, seen.command ?? "no cmd");

    this.#session(history, seen);
    if (seen.command !== null && ownReqId.has(seen.command)) this.#ownReqId(history, seen, act.reqId);
    const byVerdict = ruleOf(seen);
    if (byVerdict) this.#note(history, byVerdict, seen, seen.note);
    if (seen.bot === null) return;
    const bot = this.#bot(seen.bot);
    if ("content" in act) this.#content(history, bot, seen, act.content, act.reqId);
    if (act.type === "respond") {
      const flying = history.unacked?.get(act.reqId) ?? 0;
      if (flying > 0) this.#note(history, "two-in-flight", seen, `req_id ${act.reqId}`);
      (history.unacked ??= new Map<string, number>()).set(act.reqId, flying + 1);
    }
    this.#replies(history, bot, seen);
    if (act.type === "send") this.#push(history, bot, seen, act);
    if (act.type === "upload-init" && act.plan.md5 !== undefined && !/^[0-9a-f]{32}$/.test(act.plan.md5))
      this.#note(history, "upload-md5", seen, act.plan.md5);
    if (act.type === "upload-chunk") this.#chunk(history, bot, seen, act);
  }

  #session(history: History, seen: Seen): void {
    const { act, now, errcode, why, bot, frame, command } = seen;
    if (act.type === "subscribe") {
      if (history.subscribe === "ok" && history.kickedAt === undefined && !history.lost)
        this.#note(history, "subscribe-again", seen);
      if (history.frames === 1 && now - history.openedAt > 5_000)
        this.#note(history, "subscribe-late", seen, `${Math.round(now - history.openedAt)} ms`);
      const before = this.#bots.get(act.botId);
      if (before?.throttledAt !== undefined) {
        if (now - before.throttledAt < 30_000) this.#note(history, "retries-throttled", seen);
        before.throttledAt = undefined;
      }
      if (why === "subscribe.throttled") this.#bot(act.botId).throttledAt = now;
      if (errcode === 853_000) {
        const known = this.#bot(act.botId);
        known.refusals = since(now - 60_000, known.refusals, now);
        if (known.refusals.length > 7)
          this.#note(history, "retries-credentials", seen, `${known.refusals.length} in a minute`);
        if (history.subscribe !== "refused") history.refusedAt = now;
      }
      history.subscribe = errcode === 0 ? "ok" : "refused";
      if (errcode === 0) {
        history.kickedAt = undefined;
        history.lost = false;
      }
      return;
    }
    if (why === "not-subscribed") history.lost = true;
    if (history.subscribe === "refused" && now - history.refusedAt > 5_000) this.#note(history, "stays-refused", seen);
    if (history.kickedAt !== undefined) {
      const stayed = now - history.kickedAt;
      if (act.type !== "ping" && stayed > 1_000) this.#note(history, "sends-when-kicked", seen, command ?? "");
      if (stayed > 5_000) this.#note(history, "stays-when-kicked", seen, `${Math.round(stayed / 1000)} s`);
    } else if (history.subscribe !== "ok" && act.type !== "ping" && bot === null)
      this.#note(history, "command-before-ack", seen, command ?? "");
    if (act.type !== "ping") return;
    const body = frame?.["body"];
    if (typeof body === "object" && body !== null && Object.keys(body).length > 0)
      this.#note(history, "ping-body", seen);
    if (history.pingedAt !== undefined && history.subscribe === "ok") {
      const apart = now - history.pingedAt;
      // Half a second of grace: timers are late.
      if (apart < 19_500 || apart > 45_500) this.#note(history, "ping-interval", seen, `${Math.round(apart)} ms apart`);
    }
    history.pingedAt = now;
  }

  /** A req_id that is the client's to choose. */
  #ownReqId(history: History, seen: Seen, reqId: string): void {
    const hash = hashOf(reqId);
    const { reqIds } = history;
    // A list of one is a small one: many a connection subscribes and says no more.
    if (!reqIds) history.reqIds = [hash];
    else if (reqIds.includes(hash)) this.#note(history, "req-id-reused", seen, reqId);
    else if (reqIds.push(hash) > maxReqIds) reqIds.splice(0, maxReqIds >> 2);
  }

  #replies(history: History, bot: BotHistory, seen: Seen): void {
    const { act, errcode, eventtype } = seen;
    if (act.type !== "respond" && act.type !== "welcome" && act.type !== "update") return;
    const { reqId } = act;
    if (eventtype === "feedback_event") this.#note(history, "answers-feedback", seen);
    else if (act.type === "respond" && eventtype !== undefined) this.#note(history, "reply-to-event", seen, eventtype);
    const dead = bot.deadReqIds?.get(reqId);
    if (dead !== undefined) this.#note(history, "retries-dead-req-id", seen, `after ${dead}`);
    if (errcode === 846_604 || errcode === 846_605) keepNewest((bot.deadReqIds ??= new Map()), reqId, errcode, 1_000);
    this.#quota(history, bot, seen, "reply", reqId);
  }

  #push(history: History, bot: BotHistory, seen: Seen, act: Act & { type: "send" }): void {
    const { frame, errcode, chatKnownOtherwise } = seen;
    const { chat_type: chatType } = (frame?.["body"] ?? {}) as Fields;
    if (chatType !== 1 && chatType !== 2) this.#note(history, "push-no-chat-type", seen);
    if (bot.refusedChats?.has(act.chatid)) this.#note(history, "retries-bad-chat", seen, act.chatid);
    if (errcode === 93_006 || errcode === 93_001) {
      bot.refusedChats ??= new Set();
      bot.refusedChats.add(act.chatid);
      bound(bot.refusedChats, 1_000);
      if (chatKnownOtherwise) this.#note(history, "push-chatid-altered", seen, act.chatid);
    }
    this.#quota(history, bot, seen, "chat", act.chatid);
  }

  #quota(history: History, bot: BotHistory, seen: Seen, kind: "reply" | "chat", id: string): void {
    const { errcode, now } = seen;
    if (bot.throttledChats === undefined && errcode !== 846_607) return;
    const chat = `${kind} ${id}`;
    const throttledAt = bot.throttledChats?.get(chat);
    if (throttledAt !== undefined && now - throttledAt < 5_000)
      this.#note(history, "retries-quota", seen, `${Math.round(now - throttledAt)} ms later`);
    if (errcode === 846_607) keepNewest((bot.throttledChats ??= new Map()), chat, now, 1_000);
  }

  #content(history: History, bot: BotHistory, seen: Seen, content: Content, reqId: string): void {
    if ("content" in content) {
      if (!content.content.isWellFormed() || content.content.includes("\uFFFD"))
        this.#note(history, "broken-text", seen);
      const long = content.content.length * 3 > maxContentBytes && Buffer.byteLength(content.content) > maxContentBytes;
      if (long)
        this.#note(
          history,
          content.kind === "stream" ? "stream-too-long" : "markdown-too-long",
          seen,
          `${Buffer.byteLength(content.content)} bytes`,
        );
    }
    if ("card" in content && content.card && hasTextualNumber(content.card)) this.#note(history, "card-strings", seen);
    if ("feedbackId" in content && content.feedbackId !== undefined && !content.feedbackId.startsWith("trace_"))
      this.#note(history, "feedback-prefix", seen, content.feedbackId);
    if (content.kind === "stream") this.#stream(history, bot, seen, content, reqId);
  }

  #stream(history: History, bot: BotHistory, seen: Seen, content: Content & { kind: "stream" }, reqId: string): void {
    const { frame, errcode } = seen;
    const body = (frame?.["body"] ?? {}) as { stream?: { msg_item?: unknown } };
    if (body.stream?.msg_item !== undefined) this.#note(history, "stream-msg-item", seen);
    const visible = /[^\s\u200B-\u200D\u2060\uFEFF]/.test(content.content);
    if (content.finish && !visible) this.#note(history, "stream-invisible", seen);
    const before = bot.streams?.get(content.id);
    if (before && before.reqId !== reqId) this.#note(history, "stream-two-req-ids", seen, `stream ${content.id}`);
    if (!before || before.reqId !== reqId) {
      keepNewest(
        (bot.streams ??= new Map()),
        content.id,
        { reqId, content: content.content, breaks: 0, refusals: 0 },
        1_000,
      );
      return;
    }
    if (content.feedbackId !== undefined) this.#note(history, "feedback-late", seen);
    if (before.refusals > 1) this.#note(history, "retries-dead-stream", seen);
    if (errcode === 846_608) before.refusals++;
    if (errcode !== 0) return;
    if (!content.content.startsWith(before.content.trimEnd())) {
      // A placeholder may give way to an answer once; text that shrinks, or breaks again and again, is no whole text.
      before.breaks++;
      if (before.breaks > 1 || content.content.length < before.content.length)
        this.#note(history, "stream-not-cumulative", seen, `stream ${content.id}`);
    }
    before.content = content.content;
  }

  #chunk(history: History, bot: BotHistory, seen: Seen, act: Act & { type: "upload-chunk" }): void {
    const { frame, why } = seen;
    const { chunk_index: index } = (frame?.["body"] ?? {}) as Fields;
    if (typeof index === "string") this.#note(history, "upload-index-text", seen);
    const key = `${act.uploadId} ${act.index}`;
    const sends = (bot.chunks?.get(key) ?? 0) + 1;
    keepNewest((bot.chunks ??= new Map()), key, sends, 2_000);
    if (sends > 3 && why !== "upload.unknown")
      this.#note(history, "upload-resends", seen, `chunk ${act.index} for the ${sends}th time`);
  }

  #bot(id: string): BotHistory {
    let bot = this.#bots.get(id);
    if (!bot) {
      bot = {
        refusals: undefined,
        throttledAt: undefined,
        kicks: undefined,
        streams: undefined,
        deadReqIds: undefined,
        throttledChats: undefined,
        refusedChats: undefined,
        chunks: undefined,
      };
      keepNewest(this.#bots, id, bot, maxBots);
    }
    return bot;
  }

  #note(
    history: History,
    rule: LintRuleId,
    seen: Pick<Seen, "connection" | "bot" | "at" | "text">,
    particulars?: string,
  ): void {
    const times = (history.found?.get(rule) ?? 0) + 1;
    (history.found ??= new Map<LintRuleId, number>()).set(rule, times);
    if (times > maxOfRule) return;
    const { requirement, what } = rules[rule];
    const { connection, bot, at, text } = seen;
    const message = particulars === undefined || particulars === "" ? what : `${what} (${particulars})`;
    const frame = maskSecret(text.slice(0, 2 * maxShown)).slice(0, maxShown);
    this.#findings.push({ rule, requirement, bot, connection, at, message, frame });
    if (this.#findings.length > maxFindings) this.#findings.splice(0, maxFindings >> 3);
  }
}

/** FNV-1a, 32 bits: of 64 ids a connection two are alike by chance once in two million connections. */
const hashOf = (text: string): number => {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash;
};

/** The instants that are later than `from`, and one more. */
const since = (from: Millis, instants: readonly Millis[] | undefined, now: Millis): Millis[] => [
  ...(instants?.filter((then) => then > from) ?? []),
  now,
];

/** Commands whose req_id the client makes up. */
const ownReqId = new Set<string>([
  cmd.subscribe,
  cmd.ping,
  cmd.send,
  cmd.uploadInit,
  cmd.uploadChunk,
  cmd.uploadFinish,
  cmd.mcpConfig,
]);

/** What the gateway's own verdict gives away, where it depends on the command. */
const ruleOf = ({ why, command, eventtype, note }: Seen): LintRuleId | undefined => {
  switch (why) {
    case "reply.bad-msgtype":
      return command === cmd.send ? "bad-push-msgtype" : "bad-msgtype";
    case "reply.late-event":
      return command === cmd.welcome ? "welcome-late" : "update-late";
    case "reply.invalid-req-id":
      return eventtype === undefined ? "reply-unknown" : undefined;
    case "frame.bad-body":
      return note?.includes("filename") ? "upload-filename" : undefined;
    default:
      return verdictRules[why];
  }
};

/** What the verdict gives away by itself. */
const verdictRules: Partial<Record<BehaviourId, LintRuleId>> = {
  "frame.unknown-cmd": "unknown-cmd",
  "not-subscribed": "not-subscribed",
  "reply.expired": "reply-too-late",
  "stream.expired": "stream-over-time",
  "stream.sealed": "stream-after-finish",
  "quota.chat": "over-quota",
  "card.incomplete": "card-incomplete",
  "card.task-id-used": "card-task-id",
  "card.bad-key": "card-keys",
  "upload.bad-size": "upload-size",
  "upload.bad-image-size": "upload-size",
  "upload.bad-video-size": "upload-size",
  "upload.unknown": "upload-id",
  "upload.bad-index": "upload-index-base",
  "upload.incomplete": "upload-incomplete",
  "upload.bad-md5": "upload-md5",
  "upload.overload": "upload-overload",
  "upload.bad-format": "upload-format",
  "upload.odd-format": "upload-format",
  "media.unknown": "media-id",
};

/** Members that are numbers or flags wherever they stand in a card. */
const neverText = new Set(["type", "mode", "style", "desc_color", "disable", "is_checked", "aspect_ratio"]);

const hasTextualNumber = (value: unknown): boolean => {
  if (Array.isArray(value)) return value.some(hasTextualNumber);
  if (typeof value !== "object" || value === null) return false;
  return Object.entries(value).some(
    ([name, inner]) => (neverText.has(name) && typeof inner === "string") || hasTextualNumber(inner),
  );
};
