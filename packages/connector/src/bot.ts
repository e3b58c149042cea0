/**
 * A bot: handlers in front of a line. Decides which handler gets what, once, and what is true about the line. Does not
 * know sockets (driver.ts), in which order handlers run (turns.ts), nor how they are answered (handling.ts).
 *
 * Invariants: a handler never holds up the line; a msgid is handled once; what becomes of each message and of each answer
 * is told to the observers; nothing that a handler or an observer throws reaches the line.
 */
import { UsageError, cmd, encode, makeReqId } from "@openws/protocol";
import type {
  BudgetOptions,
  ConnectionEffect,
  ConnectionOptions,
  ConnectionStateName,
  Millis,
  Notice,
  Push,
} from "@openws/protocol";
import { Ahead, type Waiting } from "./ahead.ts";
import {
  type AnswerEnd,
  type Answered,
  Answers,
  type HeldBubble,
  type HeldBubbleOptions,
  type Spent,
} from "./answer.ts";
import { type Sentence, sentenceOf } from "./causes.ts";
import { defaultUrl } from "./config.ts";
import { Driver, type LineMeter } from "./driver.ts";
import { Events, type Missed, type ObserverFailed } from "./events.ts";
import { type FileSource, type Media, usualMaxBytes } from "./files.ts";
import { type BotTexts, type Handler, Handling, type HandlingEvent, type Origin } from "./handling.ts";
import {
  type Chat,
  type EventKind,
  type HappenedEvent,
  type Message,
  type MessageKind,
  eventOf,
  linksOf,
  messageOf,
} from "./message.ts";
import { MistakeError } from "./mistake.ts";
import type { Reply } from "./reply.ts";
import type { Runtime } from "./runtime.ts";
import { type DropWhy, Turn, type TurnOptions, Turns } from "./turns.ts";
import { type UploadOptions, type Uploaded, Uploads } from "./upload.ts";

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
  /** Msgids that were handled before this process began, newest first: what comes under one of them is a duplicate. */
  readonly seen?: Iterable<string> | undefined;
  /**
   * What chats were sent in the last hour before this process began, oldest first: `chat` is the userid or the group's
   * chatid. Their allowance (`quota`) goes on from there.
   */
  readonly spent?: Iterable<Spent> | undefined;
  /** Disk and network for files; without it there are none. */
  readonly media?: Media | undefined;
  /**
   * Bytes of files that are held for messages that wait for their turn, over all chats; 104,857,600. They are fetched when
   * a message has waited for 10 seconds, and forgotten when its handler is done. What does not fit is fetched when its
   * handler asks, which is too late five minutes after the message came; 0 fetches nothing ahead.
   */
  readonly maxAheadBytes?: number | undefined;
  /** Told of every frame, for figures; nobody. */
  readonly meter?: LineMeter | undefined;
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
  | HandlingEvent
  /** What a probe found: the gateway knows the subscription, does not, or said something else. */
  | { readonly type: "probed"; readonly found: "subscribed" | "not-subscribed" | "unclear" }
  | ObserverFailed;

/** To whom a push goes: a user, or a group by its chatid; ids as they came in messages, unchanged. */
export type Target = { readonly userid: string } | { readonly chatid: string };

/** A bot. Made by {@link createBot}; does nothing until `start`. */
export interface Bot {
  readonly id: string;
  readonly name: string | undefined;
  readonly state: BotState;
  /**
   * Chats to which nothing may go now, since WeCom's limits (`quota`) for them are reached or it has said so: what is for
   * them waits. Looks at every chat of late, so it is to be asked now and then.
   */
  readonly pacedChats: number;
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
  /**
   * Answers a message or event that came before, perhaps to another process: with a bubble, a reply, a welcome or an
   * update of a card, as fits and as long as its window is open, then with a push. Resolves with what came of it; while
   * there is no line a text waits for one, all else fails as `unsent`. Rejects with `UsageError` and `FileError`.
   * `bubble.id` is the stream's id on the wire: a text that is given again under the same id takes the first one's place.
   */
  reply(to: Origin, answer: string | Reply, bubble?: Pick<HeldBubbleOptions, "id">): Promise<Answered>;
  /**
   * Opens a bubble under a message that came before, or takes one up again that another process left open. Nothing is
   * sent before the first visible text. Whoever holds it must end it. Throws `UsageError` where there is no chat.
   */
  bubble(to: Origin, options?: HeldBubbleOptions): HeldBubble;
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
  readonly #ahead: Ahead | undefined;
  readonly #handling: Handling;
  readonly #turns: Turns;
  readonly #handlers = new Map<string, Handler<never>>();
  readonly #events = new Events<BotEvent>();
  /** Msgids, in two generations: the older one is forgotten when the younger one is full. */
  #seen: Set<string> | undefined;
  #seenBefore: Set<string> | undefined;
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
    const {
      whenBusy,
      maxRunning,
      maxWaiting,
      handlerMs,
      placeholder,
      placeholderMs,
      probeMs,
      quota,
      seen,
      spent,
      maxAheadBytes = usualMaxBytes,
      meter,
      ...connection
    } = rest;
    const { protocol } = URL.parse(url) ?? {};
    if (protocol !== "ws:" && protocol !== "wss:")
      throw new MistakeError(
        {
          en: `url must be a WebSocket address such as ${defaultUrl}`,
          zh: `url 必须是 WebSocket 地址，例如 ${defaultUrl}`,
        },
        { path: "url" },
      );
    this.id = botId;
    this.name = name;
    this.#runtime = runtime;
    this.#secretSource = typeof secret === "string" ? undefined : secret;
    this.#secret = typeof secret === "string" ? secret : secret();
    // Newest first; of more than are remembered the oldest are forgotten anyway.
    if (seen !== undefined) this.#seen = new Set([...seen].slice(0, rememberedMsgids).reverse());
    this.#probeMs = probeMs === undefined ? undefined : atLeastOne("probeMs", probeMs);
    const events = {
      deliver: (push: Push, text: string) => this.#deliver(push, text),
      moved: (effect: Extract<ConnectionEffect, { type: "moved" }>) => this.#moved(effect),
      notice: (what: Notice) => this.#tell({ type: "notice", what }),
    };
    this.#driver = new Driver(url, { botId, secret: this.#secret, ...connection }, runtime, events, meter);
    this.#answers = new Answers(this.#driver, runtime, {
      texts,
      ...(handoverMs === undefined ? {} : { handoverMs }),
      ...(quota === undefined ? {} : { quota }),
      spent,
    });
    if (!(maxAheadBytes >= 0)) throw new UsageError("maxAheadBytes must be a number from 0", { path: "maxAheadBytes" });
    this.#ahead = media && new Ahead(media, runtime, maxAheadBytes);
    this.#uploads = new Uploads(this.#driver, runtime, media, connection.ackMs);
    this.#handling = new Handling({
      runtime,
      answers: this.#answers,
      uploads: this.#uploads,
      texts,
      placeholder: placeholder === undefined ? undefined : { text: placeholder, afterMs: placeholderMs ?? 1_000 },
      tell: (event) => this.#tell(event),
    });
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

  get pacedChats(): number {
    return this.#answers.paced;
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
    return this.#handling.push(chat, message);
  }

  reply(to: Origin, answer: string | Reply, bubble?: Pick<HeldBubbleOptions, "id">): Promise<Answered> {
    return this.#handling.reply(to, answer, bubble);
  }

  bubble(to: Origin, options?: HeldBubbleOptions): HeldBubble {
    return this.#handling.bubble(to, options);
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
    if (push.kind === "message") this.#message(messageOf(push, raw, this.name, turn, this.#ahead), turn);
    else this.#event(eventOf(push, raw, turn), turn);
  }

  #repeated(msgid: string): boolean {
    const seen = this.#seen ?? new Set();
    const { size } = seen;
    this.#seen = seen;
    if (this.#seenBefore?.has(msgid) === true || seen.add(msgid).size === size) return true;
    if (size + 1 >= rememberedMsgids) {
      this.#seenBefore = seen;
      this.#seen = undefined;
    }
    return false;
  }

  #message(message: Message, turn: Turn): void {
    this.#tell({ type: "message", message });
    const { kind, reqId, chat } = message;
    const handler = this.#handlerOf(kind, "message", reqId) as Handler<Message> | undefined;
    if (handler === undefined) return;
    let waiting: Waiting | undefined;
    const work = (): Promise<void> => {
      waiting?.called();
      const handled = this.#handling.message(message, handler, turn);
      return waiting === undefined ? handled : handled.then(waiting.over);
    };
    const waits = this.#take(turn, `${chat.type}:${chat.id}`, reqId, work, () => waiting?.over());
    if (!waits || this.#ahead === undefined) return;
    const links = linksOf(message);
    if (links.length > 0) waiting = this.#ahead.fetch(links);
  }

  /** An event is no part of a conversation: it does not wait for a turn of its chat, and has five seconds at most. */
  #event(event: HappenedEvent, turn: Turn): void {
    this.#tell({ type: "happened", event });
    const handler = this.#handlerOf(event.kind, "event", event.reqId) as Handler<HappenedEvent> | undefined;
    if (handler !== undefined)
      this.#take(turn, undefined, event.reqId, () => this.#handling.event(event, handler, turn));
  }

  #handlerOf(kind: MessageKind | EventKind, all: "message" | "event", reqId: string): Handler<never> | undefined {
    const handler = this.#handlers.get(kind) ?? this.#handlers.get(all);
    if (handler === undefined) this.#tell({ type: "unhandled", kind, reqId });
    return handler;
  }

  /** Returns whether it waits; what waits may be dropped later. */
  #take(
    turn: Turn,
    key: string | undefined,
    reqId: string,
    work: () => Promise<void>,
    whenDropped: () => void = noop,
  ): boolean {
    const dropped = (why: DropWhy): void => {
      whenDropped();
      this.#tell({ type: "dropped", reqId, why });
    };
    if (!this.#stopping) return this.#turns.take(turn, key, work, dropped);
    dropped("stopped");
    return false;
  }
}

const noop = (): void => undefined;

function atLeastOne(name: string, value: number): number {
  if (value >= 1 && value < Infinity) return value;
  throw new UsageError(`${name} must be a finite number from 1`, { path: name });
}
