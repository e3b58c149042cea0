/**
 * Performs answers: runs the `Stream` machine of each bubble over the driver, and paces everything to a chat by that
 * chat's `Budget`. Decides nothing about streams or quotas; owns the ids, the alarms and the promises.
 *
 * Invariants: one budget a chat, shared by its bubbles and pushes; a bubble's promise resolves exactly once; what is open
 * when the bot stops is ended with a word, not left spinning.
 */
import { Budget, Stream, classifySend, cmd, encode, makeReqId, plainErrmsg } from "@openws/protocol";
import type {
  ConnectionStateName,
  EncodedFrame,
  Millis,
  Outcome,
  StreamEffect,
  StreamInput,
  StreamResult,
} from "@openws/protocol";
import type { Driver } from "./driver.ts";
import type { Chat } from "./message.ts";
import type { Runtime } from "./runtime.ts";

/**
 * What became of an answer: the gateway took it; or may have, but never said; or did not, and `why` says which refusal or
 * trouble it was. `unknown` is never sent again by itself, since people would read it twice.
 */
export type AnswerEnd =
  | { readonly type: "delivered" }
  | { readonly type: "unknown"; readonly why: string }
  | { readonly type: "failed"; readonly why: string; readonly errcode?: number };

/** A place for text under one message. After `finish` the next `append` begins a new bubble. */
export interface Bubble {
  append(text: string): void;
  /** Ends the bubble, with a last text if there is one; resolves when it is known what became of it, with undefined when there is none. */
  finish(text?: string): Promise<AnswerEnd | undefined>;
  /** Ends the bubble, or opens one to end it, with a sentence for the user. */
  fail(text: string): Promise<AnswerEnd | undefined>;
}

/** Chats whose allowance is remembered; the one that was silent longest is forgotten first, an hour later or never mind. */
const rememberedChats = 10_000;

/** Tries of one message that is neither a stream nor text, while the gateway says "later". */
const maxTries = 4;

/** All answers of one bot. */
export class Answers {
  readonly #driver: Driver;
  readonly #runtime: Runtime;
  readonly #budgets = new Map<string, Budget>();
  readonly #streams = new Set<RunningStream>();

  constructor(driver: Driver, runtime: Runtime) {
    this.#driver = driver;
    this.#runtime = runtime;
  }

  /** The bubble under the message with this req_id. Nothing is sent before the first visible text. */
  bubble(reqId: string, chat: Chat): Bubble {
    let open: RunningStream | undefined;
    const current = (): RunningStream => (open ??= this.#run(reqId, chat));
    const end = (input: StreamInput): Promise<AnswerEnd> => {
      const ending = current();
      open = undefined;
      ending.take(input);
      return ending.ended;
    };
    return {
      append: (text) => current().take({ type: "append", text }),
      finish: (text) => {
        if (text !== undefined) return end({ type: "finish", text });
        return open === undefined ? Promise.resolve(undefined) : end({ type: "finish" });
      },
      fail: (text) => end({ type: "fail", text }),
    };
  }

  /** Pushes a text, in parts where it is long. Fails at once while there is no line. */
  pushText(chat: Chat, text: string): Promise<AnswerEnd> {
    if (this.#driver.state !== "ready") return Promise.resolve(notConnected);
    // An answer whose reply window is over is nothing but pushes.
    const stream = this.#run(undefined, chat);
    stream.take({ type: "finish", text });
    return stream.ended;
  }

  /** Pushes a body that `aibot_send_msg` takes. Throws `UsageError` for one that it does not. */
  async pushBody(chat: Chat, body: Readonly<Record<string, unknown>>): Promise<AnswerEnd> {
    return this.request(() => this.#push(chat, body), chat);
  }

  /** Sends a frame of one piece when the chat's budget allows, and again while the gateway answers "later". */
  async request(frame: () => EncodedFrame, chat: Chat): Promise<AnswerEnd> {
    const budget = this.#budget(chat);
    for (let tries = 1; ; tries++) {
      const encoded = frame();
      for (;;) {
        const [answer] = budget.handle(this.#runtime.now(), { type: "ask", for: "push" });
        if (answer?.type !== "denied") break;
        await this.#until(answer.until);
      }
      const outcome = await this.#driver.request(encoded);
      if (outcome.type !== "refused" || tries >= maxTries) return endOf(outcome);
      const verdict = classifySend(outcome.errcode, outcome.errmsg);
      if (verdict === "throttled") budget.handle(this.#runtime.now(), { type: "throttled" });
      else if (verdict === "retry") await this.#until(this.#runtime.now() + 200 * 2 ** (tries - 1));
      else return endOf(outcome);
    }
  }

  /** Sends a frame of one piece now: an event's answer has five seconds, and a late one is worth nothing. */
  async requestNow(frame: EncodedFrame): Promise<AnswerEnd> {
    return endOf(await this.#driver.request(frame));
  }

  /** The connection moved: what waited for a line goes on over it. */
  lineMoved(to: ConnectionStateName): void {
    if (to !== "ready") return;
    for (const stream of this.#streams) stream.take({ type: "ready" });
  }

  /** Ends every open bubble with a word that it was stopped. */
  drain(): void {
    for (const stream of this.#streams) stream.take({ type: "cancel" });
  }

  #run(reqId: string | undefined, chat: Chat): RunningStream {
    const random = (): number => this.#runtime.random();
    const stream = new Stream({
      id: makeReqId("stream", random),
      budget: this.#budget(chat),
      ...(reqId === undefined ? { replyUntil: 0 } : {}),
    });
    const send = (effect: Extract<StreamEffect, { type: "send" | "push" }>): Promise<Outcome> =>
      this.#driver.request(
        effect.type === "send" && reqId !== undefined
          ? encode({ cmd: cmd.respond, headers: { req_id: reqId }, body: effect.body })
          : this.#push(
              chat,
              effect.type === "push" ? { msgtype: "markdown", markdown: { content: effect.content } } : effect.body,
            ),
      );
    const running = new RunningStream(stream, this.#runtime, send, () => this.#streams.delete(running));
    this.#streams.add(running);
    return running;
  }

  #push({ id, type }: Chat, body: object): EncodedFrame {
    const headers = { req_id: makeReqId("send", () => this.#runtime.random()) };
    // The body may be the application's own: encode judges it whole.
    const frame = { cmd: cmd.send, headers, body: { ...body, chatid: id, chat_type: type === "single" ? 1 : 2 } };
    return encode(frame as Parameters<typeof encode>[0]);
  }

  #budget({ id }: Chat): Budget {
    const budget = this.#budgets.get(id) ?? new Budget();
    this.#budgets.delete(id);
    this.#budgets.set(id, budget);
    if (this.#budgets.size > rememberedChats) this.#budgets.delete(this.#budgets.keys().next().value!);
    return budget;
  }

  #until(at: Millis): Promise<void> {
    return new Promise((resolve) => {
      this.#runtime.wakeAt(at, resolve);
    });
  }
}

/** One `Stream` with its alarm. */
class RunningStream {
  readonly ended: Promise<AnswerEnd>;
  readonly #stream: Stream;
  readonly #runtime: Runtime;
  readonly #send: (effect: Extract<StreamEffect, { type: "send" | "push" }>) => Promise<Outcome>;
  readonly #end: (end: AnswerEnd) => void;
  #cancelAlarm: (() => void) | undefined;

  constructor(
    stream: Stream,
    runtime: Runtime,
    send: (effect: Extract<StreamEffect, { type: "send" | "push" }>) => Promise<Outcome>,
    over: () => void,
  ) {
    const { promise, resolve } = Promise.withResolvers<AnswerEnd>();
    this.ended = promise;
    this.#stream = stream;
    this.#runtime = runtime;
    this.#send = send;
    this.#end = (end) => {
      over();
      resolve(end);
    };
  }

  take(input: StreamInput): void {
    for (const effect of this.#stream.handle(this.#runtime.now(), input))
      if (effect.type === "done") this.#end(resultOf(effect.result));
      else
        void this.#send(effect).then((outcome) => {
          this.take({ type: "settled", key: effect.key, outcome });
        });
    this.#cancelAlarm?.();
    const at = this.#stream.deadline;
    this.#cancelAlarm = at === undefined ? undefined : this.#runtime.wakeAt(at, () => this.take({ type: "tick" }));
  }
}

const notConnected: AnswerEnd = { type: "failed", why: "there is no subscribed connection; nothing was sent" };

function endOf(outcome: Outcome): AnswerEnd {
  switch (outcome.type) {
    case "acked":
      return { type: "delivered" };
    case "refused":
      return {
        type: "failed",
        why: `the gateway refused it: ${outcome.errcode} ${plainErrmsg(outcome.errmsg)}`,
        errcode: outcome.errcode,
      };
    case "not-ready":
      return notConnected;
    case "timed-out":
      return { type: "unknown", why: "the gateway did not acknowledge it in time" };
    case "connection-lost":
    case "stopped": {
      const why = outcome.type === "stopped" ? "the bot was stopped" : "the connection was lost";
      return outcome.maybeDelivered
        ? { type: "unknown", why: `${why} before it was acknowledged` }
        : { type: "failed", why: `${why} before it was sent` };
    }
  }
}

function resultOf({ state, refusal, stopped }: StreamResult): AnswerEnd {
  if (state === "delivered") return { type: "delivered" };
  const why =
    stopped === true
      ? "the bot was stopped before the answer was acknowledged"
      : refusal === undefined
        ? "the gateway did not acknowledge all of it"
        : `the gateway refused it: ${refusal.errcode} ${plainErrmsg(refusal.errmsg)}`;
  return state === "unknown"
    ? { type: "unknown", why }
    : { type: "failed", why, ...(refusal === undefined ? {} : { errcode: refusal.errcode }) };
}
