/**
 * A bot: handlers in front of a line. Decides which handler gets what, once; and by which command its result goes back,
 * under which req_id and by when. Does not know sockets (driver.ts), nor how a text becomes frames (answer.ts).
 *
 * Invariants: a handler never holds up the line; a msgid is handled once; every bubble that was opened is finished,
 * whatever its handler does; what becomes of each answer is told to the observers.
 */
import { cmd, encode, eventWindowMs } from "@openws/protocol";
import type {
  ConnectionEffect,
  ConnectionOptions,
  ConnectionStateName,
  EncodedFrame,
  Millis,
  Push,
} from "@openws/protocol";
import { type AnswerEnd, Answers } from "./answer.ts";
import { type Sentence, sentenceOf } from "./causes.ts";
import { defaultUrl } from "./config.ts";
import { Driver } from "./driver.ts";
import {
  type Chat,
  type EventKind,
  type HappenedEvent,
  type Message,
  type MessageKind,
  eventOf,
  messageOf,
} from "./message.ts";
import { type Reply, isReply } from "./reply.ts";
import type { Runtime } from "./runtime.ts";

/** What a handler may return: nothing, an answer, or several in turn; plain strings of an iterable are deltas of one bubble. */
export type Answerable = undefined | string | Reply | AsyncIterable<string | Reply>;

/** Handles one kind of message or event. It may take its time: the line goes on without it. */
export type Handler<Given> = (given: Given) => Answerable | Promise<Answerable>;

/** How to make a bot. Durations as in `ConnectionOptions`, whose defaults are the ones to run with. */
export interface BotOptions extends Omit<ConnectionOptions, "random" | "botId" | "secret"> {
  readonly botId: string;
  readonly secret: string;
  readonly runtime: Runtime;
  /** The gateway; WeCom's own. */
  readonly url?: string | undefined;
  /** The display name, taken off the start of a group's texts. */
  readonly name?: string | undefined;
  /** What a bubble ends with when its handler throws; a sentence in Chinese and English. */
  readonly failureText?: string | undefined;
}

/** Three truths about a line, because any one of them alone has fooled people. */
export interface BotState {
  readonly connection: ConnectionStateName;
  /** A socket is open. */
  readonly socket: boolean;
  /** The gateway has accepted the subscription and not taken it back. */
  readonly subscribed: boolean;
  /** `yes` since a callback came over this subscription, `unproven` while the line is quiet, `no` without a subscription. */
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
  | { readonly type: "handler-failed"; readonly reqId: string; readonly error: unknown }
  | { readonly type: "answered"; readonly reqId: string; readonly route: AnswerRoute; readonly end: AnswerEnd };

/** By what an answer went out. */
export type AnswerRoute = "stream" | "reply" | "welcome" | "update" | "push";

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
  /** Calls `listener` with everything that happens from now on; it must not throw. Returns how to end it. */
  observe(listener: (event: BotEvent) => void): () => void;
  /**
   * Sends a message of the bot's own. Resolves with what came of it; texts beyond 20,480 bytes go in several parts, and
   * the first part that was not acknowledged is the last. Throws `UsageError` for what the gateway would refuse unread.
   */
  push(to: Target, message: string | Reply): Promise<AnswerEnd>;
  /** Connects, and stays connected. After a kick, a refusal or a stop: begins again. */
  start(): void;
  /** Ends open answers, waits for them at most `drainMs` (4,500), closes the socket. */
  stop(drainMs?: Millis): Promise<void>;
}

/** Msgids that are remembered to recognise a repeated callback; the oldest is forgotten first. */
export const rememberedMsgids = 10_000;

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
  readonly #failureText: string;
  readonly #handlers = new Map<string, Handler<never>>();
  readonly #observers = new Set<(event: BotEvent) => void>();
  readonly #seen = new Set<string>();
  readonly #open = new Set<Promise<void>>();
  #abort = new AbortController();
  #receiving = false;
  #reason: Sentence = { en: "not started", zh: "尚未启动" };

  constructor(options: BotOptions) {
    const { botId, secret, runtime, url = defaultUrl, name, failureText, ...connection } = options;
    this.id = botId;
    this.name = name;
    this.#runtime = runtime;
    this.#failureText = failureText ?? "抱歉，出了点问题，请稍后再试。(Something went wrong, please try again.)";
    this.#driver = new Driver(url, { botId, secret, ...connection }, runtime, {
      deliver: (push, text) => this.#deliver(push, text),
      moved: (effect) => this.#moved(effect),
      notice: (what) => this.#tell({ type: "notice", what }),
    });
    this.#answers = new Answers(this.#driver, runtime);
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

  on(kind: MessageKind | EventKind, handler: Handler<never>): Bot {
    this.#handlers.set(kind, handler);
    return this;
  }

  observe(listener: (event: BotEvent) => void): () => void {
    this.#observers.add(listener);
    return () => this.#observers.delete(listener);
  }

  async push(to: Target, message: string | Reply): Promise<AnswerEnd> {
    const chat: Chat = "userid" in to ? { id: to.userid, type: "single" } : { id: to.chatid, type: "group" };
    const pushed = typeof message === "string" ? { type: "markdown" as const, content: message } : message;
    if (pushed.type === "text" || pushed.type === "markdown") return this.#answers.pushText(chat, pushed.content);
    return this.#answers.pushBody(chat, pushed.type === "card" ? cardBody(pushed.card) : pushed.body);
  }

  start(): void {
    if (this.#abort.signal.aborted) this.#abort = new AbortController();
    this.#driver.start();
  }

  async stop(drainMs: Millis = 4_500): Promise<void> {
    this.#abort.abort(new Error("the bot is stopping"));
    this.#answers.drain();
    const { promise: late, resolve } = Promise.withResolvers<undefined>();
    const cancel = this.#runtime.wakeAt(this.#runtime.now() + drainMs, () => resolve(undefined));
    await Promise.race([Promise.allSettled(this.#open), late]);
    cancel();
    this.#driver.stop();
  }

  #tell(event: BotEvent): void {
    for (const observer of this.#observers) observer(event);
  }

  #moved(effect: Extract<ConnectionEffect, { type: "moved" }>): void {
    const sentence = sentenceOf(effect.why, effect.detail);
    // "Trying again" would hide why: the reason of a wait stays until the line is back or something else goes wrong.
    if (effect.to !== "dialing" && effect.to !== "subscribing") this.#reason = sentence;
    else if (effect.why === "start") this.#reason = sentence;
    this.#receiving = false;
    this.#answers.lineMoved(effect.to);
    this.#tell({ ...effect, sentence });
  }

  // --- in

  #deliver(push: Push, raw: string): void {
    this.#receiving = true;
    const { msgid } = push.body;
    if (msgid !== undefined && this.#repeated(msgid)) {
      this.#tell({ type: "duplicate", msgid });
      return;
    }
    if (push.kind === "message") this.#message(messageOf(push, raw, this.name, this.#abort.signal));
    else this.#event(eventOf(push, raw, this.#abort.signal));
  }

  #repeated(msgid: string): boolean {
    if (this.#seen.has(msgid)) return true;
    this.#seen.add(msgid);
    if (this.#seen.size > rememberedMsgids) this.#seen.delete(this.#seen.values().next().value!);
    return false;
  }

  #message(message: Message): void {
    this.#tell({ type: "message", message });
    const handler = this.#handlerOf(message.kind, message.reqId);
    if (handler !== undefined) this.#run(this.#answerMessage(message, handler as Handler<Message>));
  }

  #event(event: HappenedEvent): void {
    this.#tell({ type: "happened", event });
    const handler = this.#handlerOf(event.kind, event.reqId);
    if (handler !== undefined) this.#run(this.#answerEvent(event, handler as Handler<HappenedEvent>));
  }

  #handlerOf(kind: MessageKind | EventKind, reqId: string): Handler<never> | undefined {
    const handler = this.#handlers.get(kind);
    if (handler === undefined) this.#tell({ type: "unhandled", kind, reqId });
    return handler;
  }

  /** Keeps count of what is being answered, for `stop`. */
  #run(answering: Promise<void>): void {
    this.#open.add(answering);
    void answering.finally(() => this.#open.delete(answering));
  }

  // --- out

  async #answerMessage(message: Message, handler: Handler<Message>): Promise<void> {
    const { reqId, chat } = message;
    const bubble = this.#answers.bubble(reqId, chat);
    const seal = async (text?: string): Promise<void> => this.#answered(reqId, "stream", await bubble.finish(text));
    try {
      for await (const part of partsOf(handler, message)) {
        if (typeof part === "string") {
          bubble.append(part);
          continue;
        }
        await seal();
        if (part.type === "text" || part.type === "markdown") {
          await seal(part.content);
        } else {
          const body = part.type === "card" ? cardBody(part.card) : part.body;
          const frame = encodeAny({ cmd: cmd.respond, headers: { req_id: reqId }, body });
          this.#answered(reqId, "reply", await this.#answers.request(() => frame, chat));
        }
      }
      await seal();
    } catch (error) {
      this.#tell({ type: "handler-failed", reqId, error });
      this.#answered(reqId, "stream", await bubble.fail(this.#failureText));
    }
  }

  /** Events take one answer, soon. What comes too late, or has no command of its own, is pushed. */
  async #answerEvent(event: HappenedEvent, handler: Handler<HappenedEvent>): Promise<void> {
    const { reqId, chat } = event;
    const until = this.#runtime.now() + eventWindowMs;
    try {
      for await (const part of partsOf(handler, event)) {
        const inTime = this.#runtime.now() < until;
        if (part === "") continue;
        const answer: Reply = typeof part === "string" ? { type: "text", content: part } : part;
        const frame = inTime ? eventAnswer(event, answer) : undefined;
        if (frame !== undefined) {
          const route = event.kind === "enter_chat" ? "welcome" : "update";
          this.#answered(reqId, route, await this.#answers.requestNow(frame));
        } else if (chat !== undefined) {
          const to = chat.type === "single" ? { userid: chat.id } : { chatid: chat.id };
          this.#answered(reqId, "push", await this.push(to, answer));
        }
      }
    } catch (error) {
      this.#tell({ type: "handler-failed", reqId, error });
    }
  }

  #answered(reqId: string, route: AnswerRoute, end: AnswerEnd | undefined): void {
    if (end !== undefined) this.#tell({ type: "answered", reqId, route, end });
  }
}

/** A handler's result as a sequence, whatever its form. An iterable that is left early is told so. */
async function* partsOf<Given>(handler: Handler<Given>, given: Given): AsyncGenerator<string | Reply, void> {
  const result = await handler(given);
  if (result === undefined) return;
  if (typeof result === "string") {
    // Known at once: a whole answer, not a delta.
    yield { type: "markdown", content: result };
    return;
  }
  if (isReply(result)) {
    yield result;
    return;
  }
  // A source that yields nothing is an answer all the same, and one without a visible character: the stream says so.
  yield "";
  yield* result;
}

/** The command that answers this event with this reply, if there is one. */
function eventAnswer(event: HappenedEvent, answer: Reply): EncodedFrame | undefined {
  const headers = { req_id: event.reqId };
  if (event.kind === "enter_chat") {
    if (answer.type === "card") return encode({ cmd: cmd.welcome, headers, body: cardBody(answer.card) });
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
    if (answer.type === "raw") return encodeAny({ cmd: cmd.update, headers, body: answer.body });
  }
  return undefined;
}

function cardBody(card: Extract<Reply, { type: "card" }>["card"]): {
  msgtype: "template_card";
  template_card: typeof card;
} {
  return { msgtype: "template_card", template_card: card };
}

/** A frame whose body the application wrote: `encode` judges it, so its type need not be known here. */
function encodeAny(frame: unknown): EncodedFrame {
  return encode(frame as Parameters<typeof encode>[0]);
}
