/**
 * From a handler's result to answers: which command carries each piece, under which req_id, by when, and what the user
 * reads when a handler throws, hangs, says nothing or is cut off. Does not know which handler it is, when its turn is
 * (turns.ts), nor how a text becomes frames (answer.ts).
 *
 * Invariants: nothing that a handler throws gets past this file; every bubble that was opened is ended; after a turn was
 * aborted nothing that its handler says is shown; what became of each answer is told.
 */
import { UsageError, classifySend, cmd, encode, eventWindowMs, hasVisible, replyWindowMs } from "@openws/protocol";
import type { EncodedFrame, Millis, StreamTexts } from "@openws/protocol";
import type { AnswerEnd, AnswerRoute, Answered, Answers, Bubble, HeldBubble, HeldBubbleOptions } from "./answer.ts";
import { FileError } from "./files.ts";
import type { Chat, HappenedEvent, Message } from "./message.ts";
import { type Answerable, type RawBody, type Reply, isSequence, partOf } from "./reply.ts";
import type { Runtime } from "./runtime.ts";
import type { AbortWhy, Turn } from "./turns.ts";
import type { Uploads } from "./upload.ts";

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

/** A message or event to be answered when its handler, or the process that got it, is gone: what is to be kept of it. */
export interface Origin {
  readonly reqId: string;
  /** Where answers go by a push; without it an event that is too old cannot be answered. */
  readonly chat: Chat | undefined;
  /** The message's or event's kind. */
  readonly kind: string;
  readonly event: boolean;
  /** How long ago it came: messages can be replied to for 24 hours, events for 5 seconds; then answers are pushed. */
  readonly ageMs: Millis;
}

/** What is told about a handler and its answers. */
export type HandlingEvent =
  /** A handler was told to end before it did by itself. */
  | { readonly type: "cut-off"; readonly reqId: string; readonly why: AbortWhy }
  | { readonly type: "handler-failed"; readonly reqId: string; readonly error: unknown }
  | { readonly type: "answered"; readonly reqId: string; readonly route: AnswerRoute; readonly end: AnswerEnd };

/** What handlers are answered by. */
export interface HandlingParts {
  readonly runtime: Runtime;
  readonly answers: Answers;
  readonly uploads: Uploads;
  readonly texts: Partial<BotTexts>;
  /** Shown while a handler is silent, if anything is. */
  readonly placeholder: { readonly text: string; readonly afterMs: Millis } | undefined;
  /** Must not throw. */
  readonly tell: (event: HandlingEvent) => void;
}

/** Runs the handlers of one bot. */
export class Handling {
  readonly #runtime: Runtime;
  readonly #answers: Answers;
  readonly #uploads: Uploads;
  readonly #texts: Partial<BotTexts>;
  readonly #placeholder: HandlingParts["placeholder"];
  readonly #tell: (event: HandlingEvent) => void;

  constructor({ runtime, answers, uploads, texts, placeholder, tell }: HandlingParts) {
    this.#runtime = runtime;
    this.#answers = answers;
    this.#uploads = uploads;
    this.#texts = texts;
    this.#placeholder = placeholder;
    this.#tell = tell;
  }

  /** Sends a message of the bot's own. Rejects with `UsageError` and `FileError`. */
  async push(chat: Chat, message: string | Reply): Promise<AnswerEnd> {
    const pushed = typeof message === "string" ? ({ type: "markdown", content: message } as const) : message;
    if (pushed.type !== "text" && pushed.type !== "markdown")
      return this.#answers.pushBody(chat, await this.#body(pushed));
    if (!hasVisible(pushed.content))
      throw new UsageError("a push needs a text with a visible character", { path: "content" });
    return this.#answers.pushText(chat, pushed.content);
  }

  /** Answers later. Rejects with `UsageError` and `FileError`. */
  async reply(to: Origin, answer: string | Reply, bubble?: HeldBubbleOptions): Promise<Answered> {
    const piece = typeof answer === "string" ? ({ type: "markdown", content: answer } as const) : answer;
    if (to.event) return this.#replyToEvent(to, piece);
    if (piece.type === "text" || piece.type === "markdown") {
      const held = this.bubble(to, bubble);
      held.finish(piece.content);
      return held.ended;
    }
    const chat = chatOf(to);
    const body = await this.#body(piece);
    if (to.ageMs >= replyWindowMs) return { route: "push", end: await this.#answers.pushBody(chat, body) };
    return this.#respond(to.reqId, chat, body);
  }

  /** A bubble under a message; under an event there is none, so its text is pushed when it is complete. */
  bubble(to: Origin, options?: HeldBubbleOptions): HeldBubble {
    if (to.event) return this.#answers.held(undefined, chatOf(to), 0, options);
    return this.#answers.held(to.reqId, chatOf(to), this.#runtime.now() - to.ageMs + replyWindowMs, options);
  }

  async #replyToEvent(to: Origin, piece: Reply): Promise<Answered> {
    const frame = to.ageMs < eventWindowMs ? eventAnswer(to, piece) : undefined;
    if (frame !== undefined) {
      const route = to.kind === "enter_chat" ? "welcome" : "update";
      const end = await this.#answers.requestNow(frame);
      if (to.chat === undefined || !isBarred(end) || (piece.type === "raw" && piece.body["msgtype"] === undefined))
        return { route, end };
    }
    return { route: "push", end: await this.push(chatOf(to), piece) };
  }

  /** Resolves when the handler is done, or was told to be and its bubble is being ended: whatever it still does is ignored. */
  message(message: Message, handler: Handler<Message>, turn: Turn): Promise<void> {
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
    const { route, end } = await this.#respond(message.reqId, message.chat, body);
    answered(route, end);
  }

  /** Replies with a body; where the reply's way is barred, the chat's is not. */
  async #respond(reqId: string, chat: Chat, body: RawBody): Promise<Answered> {
    const frame = encodeAny({ cmd: cmd.respond, headers: { req_id: reqId }, body });
    const end = await this.#answers.request(() => frame, chat);
    return isBarred(end) ? { route: "push", end: await this.#answers.pushBody(chat, body) } : { route: "reply", end };
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
  async event(event: HappenedEvent, handler: Handler<HappenedEvent>, turn: Turn): Promise<void> {
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
        this.#tell({ type: "answered", reqId, route: "push", end: await this.push(chat, answer) });
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

/** Whether the gateway takes no reply to this message any more. */
function isBarred(end: AnswerEnd): boolean {
  if (end.type !== "failed" || end.errcode === undefined) return false;
  const refused = classifySend(end.errcode);
  return refused === "fallback" || refused === "reconnect";
}

function chatOf({ chat, kind }: Origin): Chat {
  if (chat !== undefined) return chat;
  throw new UsageError(`there is no chat in which ${kind} could be answered`, { path: "chat" });
}

/** The command that answers this event with this reply, if there is one. */
function eventAnswer(event: Pick<Origin, "kind" | "reqId">, answer: Reply): EncodedFrame | undefined {
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
