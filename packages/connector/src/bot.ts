/**
 * A bot: handlers in front of a line. Decides which handler gets what, once; and by which command its result goes back,
 * under which req_id and by when. Does not know sockets (driver.ts), nor how a text becomes frames (answer.ts), nor in
 * which order handlers run (turns.ts).
 *
 * Invariants: a handler never holds up the line; a msgid is handled once; every bubble that was opened is finished,
 * whatever its handler does; what becomes of each message and of each answer is told to the observers; nothing that a
 * handler or an observer throws gets past this file.
 */
import {
  UsageError,
  classifySend,
  cmd,
  encode,
  eventWindowMs,
  hasVisible,
  makeReqId,
  replyWindowMs,
} from "@openws/protocol";
import type {
  BudgetOptions,
  ConnectionEffect,
  ConnectionOptions,
  ConnectionStateName,
  EncodedFrame,
  Millis,
  Push,
  StreamTexts,
} from "@openws/protocol";
import { type AnswerEnd, type AnswerRoute, Answers, type Bubble } from "./answer.ts";
import { type Sentence, sentenceOf } from "./causes.ts";
import { defaultUrl } from "./config.ts";
import { Driver } from "./driver.ts";
import { FileError, type FileSource, type Media } from "./files.ts";
import { Events, type Missed, type ObserverFailed } from "./events.ts";
import {
  type Chat,
  type EventKind,
  type HappenedEvent,
  type Message,
  type MessageKind,
  eventOf,
  messageOf,
} from "./message.ts";
import { type Answerable, type RawBody, type Reply, isSequence, partOf } from "./reply.ts";
import type { Runtime } from "./runtime.ts";
import { type UploadOptions, type Uploaded, Uploads } from "./upload.ts";
import { type AbortWhy, type DropWhy, Turn, type TurnOptions, Turns } from "./turns.ts";

/** Handles one kind of message or event. It may take its time: the line goes on without it. */
export type Handler<Given> = (given: Given) => Answerable | Promise<Answerable>;

/** What a bot says in its own name, in Markdown. "" says nothing, save for `empty`. */
export interface BotTexts extends StreamTexts {
  /** Ends the answers that the bot's stop cuts off, and those that a newer message replaces. */
  readonly cancelled: string;
  /** Ends an answer whose handler threw. */
  readonly failed: string;
  /** Ends an answer whose handler took longer than `handlerMs`. */
  readonly expired: string;
  /** Instead of a file that could not be sent. */
  readonly fileFailed: string;
}

/** How to make a bot. Durations as in `ConnectionOptions`, whose defaults are the ones to run with. */
export interface BotOptions extends Omit<ConnectionOptions, "random" | "botId" | "secret"> {
  readonly botId: string;
  /** The long-connection secret; or where to look for it, at the start and once a minute while it is refused. */
  readonly secret: string | (() => string);
  readonly runtime: Runtime;
  /** The gateway; WeCom's own. */
  readonly url?: string | undefined;
  /** The display name, taken off the start of a group's texts. */
  readonly name?: string | undefined;
  /** What becomes of a message that comes while another one of its chat is being handled; "queue". */
  readonly whenBusy?: TurnOptions["whenBusy"] | undefined;
  /** Handlers that run at once, over all chats; 1,000. */
  readonly maxRunning?: number | undefined;
  /** Messages that wait for their turn, over all chats; 10,000. What comes beyond is dropped, and told so. */
  readonly maxWaiting?: number | undefined;
  /** How long a handler may take before its answer is ended for it; 1,800,000, half an hour. */
  readonly handlerMs?: Millis | undefined;
  /** Shown under a message until the first word of its answer comes; nothing. */
  readonly placeholder?: string | undefined;
  /** How long a handler may be silent before the placeholder is shown; 1,000. */
  readonly placeholderMs?: Millis | undefined;
  /** The age at which a bubble is finished and its answer goes on in a new one; 540,000, a minute before its end. */
  readonly handoverMs?: Millis | undefined;
  readonly texts?: Partial<BotTexts> | undefined;
  /** What WeCom lets a chat be sent; 30 a minute and 1,000 an hour. `false` paces nothing: for tests, and gateways without. */
  readonly quota?: BudgetOptions | false | undefined;
  /**
   * On a line over which no callback came for this long, ask whether one could: by a reply under a req_id that never was,
   * which a gateway that knows the subscription refuses as such, and another one as not subscribed. Never, by default:
   * it is not proven on the live gateway. At least 60,000 is advised.
   */
  readonly probeMs?: Millis | undefined;
  /** Disk and network for files; without it there are none. */
  readonly media?: Media | undefined;
}

/** Three truths about a line, because any one of them alone has fooled people. */
export interface BotState {
  readonly connection: ConnectionStateName;
  /** A socket is open. */
  readonly socket: boolean;
  /** The gateway has accepted the subscription and not taken it back. */
  readonly subscribed: boolean;
  /** `yes` since a callback came over this subscription, or a probe was answered; `unproven` while the line is quiet, `no` without a subscription. */
  readonly receiving: "yes" | "unproven" | "no";
  /** When the last frame came, in epoch milliseconds. */
  readonly lastFrameAt: number | undefined;
  /** Why the connection is where it is. */
  readonly reason: Sentence;
}

/** Everything that happens to a bot, in order. */
export type BotEvent =
  | (Extract<ConnectionEffect, { type: "moved" }> & { readonly sentence: Sentence })
  | Extract<ConnectionEffect, { type: "notice" }>
  | { readonly type: "message"; readonly message: Message }
  | { readonly type: "happened"; readonly event: HappenedEvent }
  | { readonly type: "duplicate"; readonly msgid: string }
  | { readonly type: "unhandled"; readonly kind: MessageKind | EventKind; readonly reqId: string }
  /** A handler was not called: its chat was busy, too much waited, or the bot was stopping. */
  | { readonly type: "dropped"; readonly reqId: string; readonly why: DropWhy }
  /** A handler was told to end before it did by itself. */
  | { readonly type: "cut-off"; readonly reqId: string; readonly why: AbortWhy }
  | { readonly type: "handler-failed"; readonly reqId: string; readonly error: unknown }
  /** What a probe found: the gateway knows the subscription, does not, or said something else. */
  | { readonly type: "probed"; readonly found: "subscribed" | "not-subscribed" | "unclear" }
  | { readonly type: "answered"; readonly reqId: string; readonly route: AnswerRoute; readonly end: AnswerEnd }
  | ObserverFailed;

/** To whom a push goes: a user, or a group by its chatid; ids as they came in messages, unchanged. */
export type Target = { readonly userid: string } | { readonly chatid: string };

/** A bot. Made by {@link createBot}; does nothing until `start`. */
export interface Bot {
  readonly id: string;
  readonly name: string | undefined;
  readonly state: BotState;
  /** Registers the handler of a kind of message or event; the last one registered counts. */
  on<Kind extends MessageKind>(kind: Kind, handler: Handler<Message<Kind>>): Bot;
  on<Kind extends EventKind>(kind: Kind, handler: Handler<HappenedEvent<Kind>>): Bot;
  /** Registers the handler of all messages, or events, that have none of their own. */
  on(kind: "message", handler: Handler<Message>): Bot;
  on(kind: "event", handler: Handler<HappenedEvent>): Bot;
  /** Calls `listener` with everything that happens from now on, at once and in order. Returns how to end it. */
  observe(listener: (event: BotEvent) => void): () => void;
  /** Everything that happens from the first step of a `for await` on; a reader that is 10,000 events late misses some. */
  readonly events: AsyncIterable<BotEvent | Missed>;
  /**
   * Sends a message of the bot's own. Resolves with what came of it; texts beyond 20,480 bytes go in several parts, and
   * the first part that was not acknowledged is the last. Rejects with `UsageError` for what the gateway would refuse
   * unread, and with `FileError` for a file that cannot be read or uploaded.
   */
  push(to: Target, message: string | Reply): Promise<AnswerEnd>;
  /** Uploads a file, for a media_id that `reply.raw` can use. Rejects with `FileError`. */
  upload(source: FileSource, options?: UploadOptions): Promise<Uploaded>;
  /**
   * Connects, and stays connected. After a kick, a refusal or a stop: begins again. Resolves when the bot is subscribed,
   * or will not be by itself, which `state` tells apart; never rejects. Nobody needs to wait for it.
   */
  start(): Promise<BotState>;
  /** Ends open answers, waits for them at most `drainMs` (4,500), closes the socket. Handlers are told by `signal`. */
  stop(drainMs?: Millis): Promise<void>;
}

/** Msgids that are remembered at least, to recognise a repeated callback; at most twice as many. */
export const rememberedMsgids = 10_000;

/** How often a secret that was refused is looked for again. */
const secretPollMs = 60_000;

/** Makes a bot on a runtime. Throws `UsageError` for options that cannot work. */
export function createBot(options: BotOptions): Bot {
  return new RunningBot(options);
}

class RunningBot implements Bot {
  readonly id: string;
  readonly name: string | undefined;
  readonly #runtime: Runtime;
  readonly #driver: Driver;
  readonly #answers: Answers;
  readonly #uploads: Uploads;
  readonly #media: Media | undefined;
  readonly #turns: Turns;
  readonly #texts: Partial<BotTexts>;
  readonly #placeholder: { readonly text: string; readonly afterMs: Millis } | undefined;
  readonly #handlers = new Map<string, Handler<never>>();
  readonly #events = new Events<BotEvent>();
  /** Msgids, in two generations: the older one is forgotten when the younger one is full. */
  #seen = new Set<string>();
  #seenBefore = new Set<string>();
  readonly #secretSource: (() => string) | undefined;
  #secret: string;
  readonly #probeMs: Millis | undefined;
  /** Whether a callback came since the last probe. */
  #heard = false;
  /** The alarm of what goes on while the connection is where it is: probes, or looking for another secret. */
  #cancelWatch = noop;
  /** Who waits for `start` to come to something. */
  #starting: ((state: BotState) => void)[] = [];
  #stopping = false;
  #receiving = false;
  #reason: Sentence = { en: "not started", zh: "尚未启动" };

  constructor(options: BotOptions) {
    const { botId, secret, runtime, url = defaultUrl, name, texts = {}, handoverMs, media, ...rest } = options;
    const { whenBusy, maxRunning, maxWaiting, handlerMs, placeholder, placeholderMs, probeMs, quota, ...connection } =
      rest;
    const { protocol } = URL.parse(url) ?? {};
    if (protocol !== "ws:" && protocol !== "wss:")
      throw new UsageError(`url must be a WebSocket address such as ${defaultUrl}`, { path: "url" });
    this.id = botId;
    this.name = name;
    this.#runtime = runtime;
    this.#texts = texts;
    this.#placeholder = placeholder === undefined ? undefined : { text: placeholder, afterMs: placeholderMs ?? 1_000 };
    this.#secretSource = typeof secret === "string" ? undefined : secret;
    this.#secret = typeof secret === "string" ? secret : secret();
    this.#probeMs = probeMs === undefined ? undefined : atLeastOne("probeMs", probeMs);
    this.#driver = new Driver(url, { botId, secret: this.#secret, ...connection }, runtime, {
      deliver: (push, text) => this.#deliver(push, text),
      moved: (effect) => this.#moved(effect),
      notice: (what) => this.#tell({ type: "notice", what }),
    });
    this.#answers = new Answers(this.#driver, runtime, {
      texts,
      ...(handoverMs === undefined ? {} : { handoverMs }),
      ...(quota === undefined ? {} : { quota }),
    });
    this.#media = media;
    this.#uploads = new Uploads(this.#driver, runtime, media, connection.ackMs);
    this.#turns = new Turns(
      {
        whenBusy: whenBusy ?? "queue",
        maxRunning: atLeastOne("maxRunning", maxRunning ?? 1_000),
        maxWaiting: atLeastOne("maxWaiting", maxWaiting ?? 10_000),
        turnMs: atLeastOne("handlerMs", handlerMs ?? 30 * 60_000),
      },
      runtime,
    );
  }

  get state(): BotState {
    const connection = this.#driver.state;
    const subscribed = connection === "ready";
    const { heardAt } = this.#driver;
    return {
      connection,
      socket: subscribed || connection === "subscribing",
      subscribed,
      receiving: !subscribed ? "no" : this.#receiving ? "yes" : "unproven",
      lastFrameAt: heardAt === undefined ? undefined : Math.round(Date.now() - (this.#runtime.now() - heardAt)),
      reason: this.#reason,
    };
  }

  on(kind: string, handler: Handler<never>): Bot {
    this.#handlers.set(kind, handler);
    return this;
  }

  observe(listener: (event: BotEvent) => void): () => void {
    return this.#events.observe(listener);
  }

  get events(): AsyncIterable<BotEvent | Missed> {
    return this.#events.read();
  }

  async push(to: Target, message: string | Reply): Promise<AnswerEnd> {
    const chat: Chat = "userid" in to ? { id: to.userid, type: "single" } : { id: to.chatid, type: "group" };
    if (typeof chat.id !== "string" || chat.id === "")
      throw new UsageError("a push needs a userid or a chatid, as it came in a message", { path: "to" });
    const pushed = typeof message === "string" ? ({ type: "markdown", content: message } as const) : message;
    if (pushed.type !== "text" && pushed.type !== "markdown")
      return this.#answers.pushBody(chat, await this.#body(pushed));
    if (!hasVisible(pushed.content))
      throw new UsageError("a push needs a text with a visible character", { path: "content" });
    return this.#answers.pushText(chat, pushed.content);
  }

  upload(source: FileSource, options?: UploadOptions): Promise<Uploaded> {
    return this.#uploads.upload(source, options);
  }

  start(): Promise<BotState> {
    this.#stopping = false;
    const settled = new Promise<BotState>((resolve) => {
      this.#starting.push(resolve);
    });
    this.#driver.start(this.#readSecret());
    if (this.#driver.state === "ready") this.#started();
    return settled;
  }

  async stop(drainMs: Millis = 4_500): Promise<void> {
    this.#stopping = true;
    this.#turns.stop();
    const { promise: late, resolve } = Promise.withResolvers<undefined>();
    const cancel = this.#runtime.wakeAt(this.#runtime.now() + drainMs, () => resolve(undefined));
    await Promise.race([this.#turns.idle().then(() => this.#answers.idle()), late]);
    cancel();
    // Somebody may have started it again meanwhile.
    if (this.#stopping) this.#driver.stop();
  }

  #tell(event: BotEvent): void {
    this.#events.tell(event);
  }

  #moved(effect: Extract<ConnectionEffect, { type: "moved" }>): void {
    const sentence = sentenceOf(effect.why, effect.detail);
    // "Trying again" would hide why: the reason of a wait stays until the line is back or something else goes wrong.
    if ((effect.to !== "dialing" && effect.to !== "subscribing") || effect.why === "start") this.#reason = sentence;
    this.#receiving = false;
    this.#answers.lineMoved(effect.to);
    this.#uploads.lineMoved(effect.to === "ready");
    // Nothing that is being handled could still be answered.
    if (this.#driver.over) this.#turns.stop();
    this.#cancelWatch();
    if (effect.to === "ready") this.#watch();
    else if (effect.to === "refused") this.#seekSecret();
    this.#tell({ ...effect, sentence });
    if (effect.to === "ready" || this.#driver.over) this.#started();
  }

  #started(): void {
    for (const resolve of this.#starting.splice(0)) resolve(this.state);
  }

  #watch(): void {
    if (this.#probeMs === undefined) return;
    this.#heard = false;
    this.#cancelWatch = this.#runtime.wakeAt(this.#runtime.now() + this.#probeMs, () => {
      if (!this.#heard) this.#probe();
      this.#watch();
    });
  }

  #probe(): void {
    const headers = { req_id: makeReqId("probe", () => this.#runtime.random()) };
    const body = { msgtype: "stream", stream: { id: headers.req_id, finish: true, content: "." } } as const;
    this.#driver.send(encode({ cmd: cmd.respond, headers, body }), (outcome) => {
      const errcode = outcome.type === "refused" ? outcome.errcode : 0;
      const found = errcode === 846_605 ? "subscribed" : errcode === 846_609 ? "not-subscribed" : "unclear";
      if (found === "subscribed") this.#receiving = true;
      this.#tell({ type: "probed", found });
    });
  }

  /** Waits for the place where the secret is kept to hold another one; the gateway is not asked with the same again. */
  #seekSecret(): void {
    if (this.#secretSource === undefined) return;
    const refused = this.#secret;
    this.#cancelWatch = this.#runtime.wakeAt(this.#runtime.now() + secretPollMs, () => {
      if (this.#readSecret() === refused) this.#seekSecret();
      else this.#driver.start(this.#secret);
    });
  }

  /** The secret as it stands where it is kept; the last one while it cannot be read. */
  #readSecret(): string {
    try {
      this.#secret = this.#secretSource?.() || this.#secret;
    } catch {
      // A file that is being replaced is gone, or empty, for a moment.
    }
    return this.#secret;
  }

  // --- in

  #deliver(push: Push, raw: string): void {
    this.#receiving = true;
    this.#heard = true;
    const { msgid } = push.body;
    if (msgid !== undefined && this.#repeated(msgid)) {
      this.#tell({ type: "duplicate", msgid });
      return;
    }
    const turn = new Turn();
    if (push.kind === "message") this.#message(messageOf(push, raw, this.name, turn, this.#media), turn);
    else this.#event(eventOf(push, raw, turn), turn);
  }

  #repeated(msgid: string): boolean {
    if (this.#seen.has(msgid) || this.#seenBefore.has(msgid)) return true;
    if (this.#seen.size >= rememberedMsgids) {
      this.#seenBefore = this.#seen;
      this.#seen = new Set();
    }
    this.#seen.add(msgid);
    return false;
  }

  #message(message: Message, turn: Turn): void {
    this.#tell({ type: "message", message });
    const { kind, reqId, chat } = message;
    const handler = this.#handlerOf(kind, "message", reqId) as Handler<Message> | undefined;
    if (handler !== undefined)
      this.#take(turn, `${chat.type}:${chat.id}`, reqId, () => this.#answerMessage(message, handler, turn));
  }

  /** An event is no part of a conversation: it does not wait for a turn of its chat, and has five seconds at most. */
  #event(event: HappenedEvent, turn: Turn): void {
    this.#tell({ type: "happened", event });
    const handler = this.#handlerOf(event.kind, "event", event.reqId) as Handler<HappenedEvent> | undefined;
    if (handler !== undefined) this.#take(turn, undefined, event.reqId, () => this.#answerEvent(event, handler, turn));
  }

  #handlerOf(kind: MessageKind | EventKind, all: "message" | "event", reqId: string): Handler<never> | undefined {
    const handler = this.#handlers.get(kind) ?? this.#handlers.get(all);
    if (handler === undefined) this.#tell({ type: "unhandled", kind, reqId });
    return handler;
  }

  #take(turn: Turn, key: string | undefined, reqId: string, work: () => Promise<void>): void {
    const dropped = (why: DropWhy): void => this.#tell({ type: "dropped", reqId, why });
    if (this.#stopping) dropped("stopped");
    else this.#turns.take(turn, key, work, dropped);
  }

  // --- out

  /** Resolves when the handler is done, or was told to be and its bubble is being ended: whatever it still does is ignored. */
  #answerMessage(message: Message, handler: Handler<Message>, turn: Turn): Promise<void> {
    const { reqId, chat } = message;
    const answered = (route: AnswerRoute, end: AnswerEnd): void => this.#tell({ type: "answered", reqId, route, end });
    const bubble = this.#answers.bubble(reqId, chat, this.#runtime.now() + replyWindowMs, answered);
    const unhold = this.#hold(bubble);
    return new Promise((resolve) => {
      turn.onAbort((why) => {
        this.#tell({ type: "cut-off", reqId, why });
        if (why === "expired") void bubble.fail(this.#texts.expired ?? defaultExpired);
        void bubble.close(this.#texts.cancelled ?? defaultCancelled);
        unhold();
        resolve();
      });
      void this.#handle(message, handler, turn, bubble, answered).then(() => {
        unhold();
        resolve();
      });
    });
  }

  /** Never rejects. The last piece of an answer is handed over, not waited for: the chat's next turn need not see its ack. */
  async #handle(
    message: Message,
    handler: Handler<Message>,
    turn: Turn,
    bubble: Bubble,
    answered: (route: AnswerRoute, end: AnswerEnd) => void,
  ): Promise<void> {
    try {
      const result = await handler(message);
      if (turn.aborted !== undefined) return;
      if (typeof result === "string") {
        void bubble.finish(result);
      } else if (isSequence(result)) {
        let pieces = 0;
        for await (const part of result) {
          if (turn.aborted !== undefined) return;
          pieces++;
          const piece = partOf(part);
          if (typeof piece === "string") bubble.append(piece);
          else {
            await bubble.finish();
            if (turn.aborted === undefined) await this.#give(piece, message, bubble, answered);
          }
        }
        // A source that yields nothing is an answer all the same, and one without a visible character: the stream says so.
        void bubble.finish(pieces === 0 ? "" : undefined);
      } else if (result === undefined || result === null) {
        void bubble.finish();
      } else {
        const piece = partOf(result);
        // A chunk of a model's stream is no answer, but nothing forbids to give one.
        if (typeof piece === "string") void bubble.finish(piece);
        else await this.#give(piece, message, bubble, answered);
      }
    } catch (error) {
      if (turn.aborted !== undefined) return;
      this.#tell({ type: "handler-failed", reqId: message.reqId, error });
      void bubble.fail(this.#texts.failed ?? defaultFailed);
    }
  }

  /** Sends a whole message under the message it answers. A file that cannot be sent costs a sentence, not what follows. */
  async #give(
    piece: Reply,
    message: Message,
    bubble: Bubble,
    answered: (route: AnswerRoute, end: AnswerEnd) => void,
  ): Promise<void> {
    if (piece.type === "text" || piece.type === "markdown") {
      await bubble.finish(piece.content);
      return;
    }
    let body: RawBody;
    try {
      body = await this.#body(piece, message.signal);
    } catch (error) {
      if (!(error instanceof FileError) || message.signal.aborted) throw error;
      this.#tell({ type: "handler-failed", reqId: message.reqId, error });
      await bubble.fail(this.#texts.fileFailed ?? defaultFileFailed);
      return;
    }
    const frame = encodeAny({ cmd: cmd.respond, headers: { req_id: message.reqId }, body });
    const end = await this.#answers.request(() => frame, message.chat);
    const refused = end.type === "failed" && end.errcode !== undefined ? classifySend(end.errcode) : undefined;
    if (refused !== "fallback" && refused !== "reconnect") answered("reply", end);
    // The reply's way is barred, the chat's is not.
    else answered("push", await this.#answers.pushBody(message.chat, body));
  }

  /** The body of a whole message which is no text; a file is uploaded for it. */
  async #body(piece: Exclude<Reply, { type: "text" | "markdown" }>, signal?: AbortSignal): Promise<RawBody> {
    if (piece.type === "card") return { msgtype: "template_card", template_card: piece.card };
    if (piece.type === "raw") return piece.body;
    const { title, description, ...options } = piece.options;
    const { kind, mediaId } = await this.#uploads.upload(piece.source, { ...options, signal });
    const tile = kind === "video" ? { ...(title && { title }), ...(description && { description }) } : {};
    return { msgtype: kind, [kind]: { media_id: mediaId, ...tile } };
  }

  /** Shows the placeholder if the handler is silent for too long; what is shown by then stays. */
  #hold(bubble: Bubble): () => void {
    if (this.#placeholder === undefined) return noop;
    const { text, afterMs } = this.#placeholder;
    return this.#runtime.wakeAt(this.#runtime.now() + afterMs, () => bubble.hold(text));
  }

  /** Events take one answer, soon. What comes too late, second, or has no command of its own, is pushed. */
  async #answerEvent(event: HappenedEvent, handler: Handler<HappenedEvent>, turn: Turn): Promise<void> {
    const { reqId, chat } = event;
    const until = this.#runtime.now() + eventWindowMs;
    let first = true;
    const give = async (answer: Reply): Promise<void> => {
      const frame = first && this.#runtime.now() < until ? eventAnswer(event, answer) : undefined;
      first = false;
      if (frame !== undefined) {
        const route = event.kind === "enter_chat" ? "welcome" : "update";
        this.#tell({ type: "answered", reqId, route, end: await this.#answers.requestNow(frame) });
      } else if (chat !== undefined) {
        const to = chat.type === "single" ? { userid: chat.id } : { chatid: chat.id };
        this.#tell({ type: "answered", reqId, route: "push", end: await this.push(to, answer) });
      }
    };
    const aborted = new Promise<void>((resolve) => {
      turn.onAbort((why) => {
        this.#tell({ type: "cut-off", reqId, why });
        resolve();
      });
    });
    const handled = (async () => {
      try {
        const result = await handler(event);
        let said = "";
        for await (const part of isSequence(result) && typeof result !== "string" ? result : [result ?? ""]) {
          if (turn.aborted !== undefined) return;
          const piece = partOf(part);
          if (typeof piece === "string") {
            said += piece;
            continue;
          }
          if (hasVisible(said)) await give({ type: "text", content: said });
          said = "";
          await give(piece);
        }
        if (hasVisible(said) && turn.aborted === undefined) await give({ type: "text", content: said });
      } catch (error) {
        if (turn.aborted === undefined) this.#tell({ type: "handler-failed", reqId, error });
      }
    })();
    await Promise.race([handled, aborted]);
  }
}

const defaultFailed = "抱歉，出了点问题，请稍后再试。(Something went wrong, please try again.)";
const defaultCancelled = "（已停止 · Stopped）";
const defaultExpired = "抱歉，处理超时，请稍后再试。(This took too long, please try again.)";

const defaultFileFailed = "（文件发送失败 · The file could not be sent）";

const noop = (): void => undefined;

function atLeastOne(name: string, value: number): number {
  if (value >= 1 && value < Infinity) return value;
  throw new UsageError(`${name} must be a finite number from 1`, { path: name });
}

/** The command that answers this event with this reply, if there is one. */
function eventAnswer(event: HappenedEvent, answer: Reply): EncodedFrame | undefined {
  const headers = { req_id: event.reqId };
  if (event.kind === "enter_chat") {
    // A welcome takes no file: it is pushed.
    if (answer.type === "file") return undefined;
    if (answer.type === "card")
      return encode({ cmd: cmd.welcome, headers, body: { msgtype: "template_card", template_card: answer.card } });
    if (answer.type === "raw") return encodeAny({ cmd: cmd.welcome, headers, body: answer.body });
    return encode({ cmd: cmd.welcome, headers, body: { msgtype: "text", text: { content: answer.content } } });
  }
  if (event.kind === "template_card_event") {
    if (answer.type === "card")
      return encode({
        cmd: cmd.update,
        headers,
        body: { response_type: "update_template_card", template_card: answer.card },
      });
    if (answer.type === "raw" && answer.body["response_type"] !== undefined)
      return encodeAny({ cmd: cmd.update, headers, body: answer.body });
  }
  return undefined;
}

/** A frame whose body the application wrote: `encode` judges it, so its type need not be known here. */
function encodeAny(frame: unknown): EncodedFrame {
  return encode(frame as Parameters<typeof encode>[0]);
}
