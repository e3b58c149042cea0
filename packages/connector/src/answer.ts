/**
 * Performs answers: runs the `Stream` machine of each bubble over the driver, and paces everything to a chat by that
 * chat's `Budget`. Decides nothing about streams or quotas; owns the ids, the alarms and the promises.
 *
 * Invariants: one budget a chat, shared by its bubbles and pushes; a bubble's promise resolves exactly once; what is open
 * when the bot stops is ended with a word, not left spinning.
 */
import { Budget, FleetingMap, Stream, classifySend, cmd, encode, makeReqId, plainErrmsg } from "@openws/protocol";
import type {
  BudgetOptions,
  ConnectionStateName,
  EncodedFrame,
  Millis,
  Outcome,
  StreamEffect,
  StreamInput,
  StreamOptions,
  StreamResult,
  StreamState,
} from "@openws/protocol";
import type { Driver } from "./driver.ts";
import type { Chat } from "./message.ts";
import type { Runtime } from "./runtime.ts";

/** By what an answer went out. */
export type AnswerRoute = "stream" | "reply" | "welcome" | "update" | "push";

/**
 * What became of an answer: the gateway took it; or may have, but never said; or did not, and `why` says which refusal or
 * trouble it was. `unknown` is never sent again by itself, since people would read it twice. `stopped`: the line was over
 * for good under it. `unsent`: nothing of it left, so it can be given again without a doubt.
 */
export type AnswerEnd =
  | { readonly type: "delivered" }
  | { readonly type: "unknown"; readonly why: string; readonly stopped?: true }
  | {
      readonly type: "failed";
      readonly why: string;
      readonly errcode?: number;
      readonly stopped?: true;
      readonly unsent?: true;
    };

/** An answer that is over. */
export interface Answered {
  readonly route: AnswerRoute;
  readonly end: AnswerEnd;
}

/** A bubble as plain JSON, so that another process can go on with it; its instants are relative to when it was read. */
export type BubbleState = StreamState;

/** How a bubble that its caller holds is begun, or taken up again. */
export interface HeldBubbleOptions {
  /** The `stream.id` on the wire, unique for ever; made by chance if there is none. */
  readonly id?: string | undefined;
  /** Where it stood in another process, `agoMs` ago. */
  readonly resume?: { readonly state: BubbleState; readonly agoMs: Millis } | undefined;
  /** Called after each step; read `state` there to keep what another process needs. */
  readonly onStep?: ((bubble: HeldBubble) => void) | undefined;
}

/** A bubble in its caller's hand: it is not tied to a handler, and whoever holds it must end it. */
export interface HeldBubble {
  readonly id: string;
  /** Where it stands. */
  readonly state: BubbleState;
  append(text: string): void;
  /** All of its text, in place of what it said so far. */
  set(text: string): void;
  /** Ends it, with a last piece if there is one. Ending it again changes nothing. */
  finish(text?: string): void;
  /** Ends it with a sentence for the user behind its text; `texts.failed` by default, "" ends it as it is. */
  fail(text?: string): void;
  /** Resolves when it is known what became of it; the line may come and go until then. */
  readonly ended: Promise<Answered>;
}

/** Told once for each answer: by which route it went out at last, and what became of it. */
export type AnswerListener = (route: AnswerRoute, end: AnswerEnd) => void;

/** A place for text under one message. After `finish` the next text begins a new bubble; after `close` nothing does. */
export interface Bubble {
  append(text: string): void;
  /** Shows a text until the first word of the answer comes, which takes its place. */
  hold(text: string): void;
  /** Ends the bubble, with a last text if there is one; resolves when it is known what became of it, at once when there is none. */
  finish(text?: string): Promise<void>;
  /** Ends the bubble, or opens one to end it, with a sentence for the user. "" ends what is open and says nothing. */
  fail(text: string): Promise<void>;
  /** As `fail`, but only where a bubble is open; whatever the handler still says is not shown. */
  close(text: string): Promise<void>;
}

/** How streams and budgets behave; the defaults are those of `@openws/protocol`. */
export interface AnswerOptions extends Pick<StreamOptions, "handoverMs" | "texts"> {
  /** What a chat may be sent; false for as much as there is. */
  readonly quota?: BudgetOptions | false;
  /** What chats were sent before this process began, oldest first. */
  readonly spent?: Iterable<Spent> | undefined;
}

/** A message that used up some of its chat's allowance. */
export interface Spent {
  /** The userid, or the group's chatid. */
  readonly chat: string;
  readonly agoMs: Millis;
}

/** Chats whose allowance is remembered at least; with twice as many the ones that were silent longest are forgotten. */
const rememberedChats = 10_000;

const unlimited: BudgetOptions = { perMinute: 1e9, perHour: 1e9 };

/** Tries of one message that is neither a stream nor text, while the gateway says "later". */
const maxTries = 4;

/** All answers of one bot. */
export class Answers {
  readonly #driver: Driver;
  readonly #runtime: Runtime;
  readonly #stream: Pick<StreamOptions, "handoverMs" | "texts">;
  readonly #quota: BudgetOptions;
  /** By chat, in two generations: what was not used for a whole one is forgotten with it. */
  #budgets = new FleetingMap<string, Budget>();
  #olderBudgets = new FleetingMap<string, Budget>();
  readonly #streams = new FleetingMap<RunningStream, true>();
  /** What waits for its chat's budget. */
  readonly #waits = new FleetingMap<() => void, true>();
  readonly #random: () => number;

  constructor(driver: Driver, runtime: Runtime, { quota = {}, spent = [], ...stream }: AnswerOptions = {}) {
    this.#driver = driver;
    this.#runtime = runtime;
    this.#stream = stream;
    this.#quota = quota === false ? unlimited : quota;
    this.#random = () => runtime.random();
    const now = runtime.now();
    for (const { chat, agoMs } of spent) {
      const at = now - agoMs;
      const fresh = (): Budget => Budget.restore({ now: at, minuteAt: at, hourAt: at, pausedUntil: at }, this.#quota);
      this.#budget({ id: chat }, fresh).handle(at, { type: "ask", for: "push" });
    }
  }

  /** The bubble under the message with this req_id. Nothing is sent before the first visible text. */
  bubble(reqId: string, chat: Chat, replyUntil: Millis, answered: AnswerListener): Bubble {
    return new OpenBubble(() => this.#run(reqId, chat, replyUntil), answered);
  }

  /** A bubble that its caller holds, under the message with this req_id; `reqId` undefined makes it pushes. */
  held(
    reqId: string | undefined,
    chat: Chat,
    replyUntil: Millis,
    { id, resume, onStep }: HeldBubbleOptions = {},
  ): HeldBubble {
    const now = this.#runtime.now();
    const begin = { id, state: resume === undefined ? undefined : onClock(resume.state, now - resume.agoMs) };
    const stream = this.#run(reqId, chat, replyUntil, begin);
    const held: HeldBubble = {
      id: stream.id,
      get state() {
        return stream.state;
      },
      append: (text) => stream.take({ type: "append", text }),
      set: (text) => stream.take({ type: "set", text }),
      finish: (text) => stream.take(text === undefined ? { type: "finish" } : { type: "finish", text }),
      fail: (text) => stream.take(text === undefined ? { type: "fail" } : { type: "fail", text }),
      ended: stream.ended,
    };
    if (onStep !== undefined) stream.onStep = () => onStep(held);
    // A line that is there already will not be told of again.
    if (resume !== undefined && this.#driver.state === "ready") stream.take({ type: "ready" });
    return held;
  }

  /** Pushes a text, in parts where it is long. Fails at once while there is no line. */
  pushText(chat: Chat, text: string): Promise<AnswerEnd> {
    if (this.#driver.state !== "ready") return Promise.resolve(notConnected);
    // An answer whose reply window is over is nothing but pushes.
    const stream = this.#run(undefined, chat, 0);
    stream.take({ type: "finish", text });
    return stream.ended.then(({ end }) => end);
  }

  /** Pushes a body that `aibot_send_msg` takes. Rejects with `UsageError` for one that it does not. */
  async pushBody(chat: Chat, body: Readonly<Record<string, unknown>>): Promise<AnswerEnd> {
    return this.request(() => this.#push(chat, body), chat);
  }

  /** Sends a frame of one piece when the chat's budget allows, and again while the gateway answers "later". */
  async request(frame: () => EncodedFrame, chat: Chat): Promise<AnswerEnd> {
    const budget = this.#budget(chat);
    for (let tries = 1; ; tries++) {
      const encoded = frame();
      for (;;) {
        if (this.#driver.over) return notConnected;
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

  /** The connection moved: what waited for a line goes on over it, or ends when none will come. */
  lineMoved(to: ConnectionStateName): void {
    if (to === "ready") for (const stream of this.#streams.keys()) stream.take({ type: "ready" });
    else if (this.#driver.over) {
      for (const stream of this.#streams.keys()) stream.take({ type: "stopped" });
      for (const wake of this.#waits.keys()) wake();
    }
  }

  /** Chats to which nothing may go now. Looks at every chat that is remembered. */
  get paced(): number {
    const now = this.#runtime.now();
    const isPaced = (budget: Budget | undefined): number => (budget !== undefined && budget.freeAt > now ? 1 : 0);
    let paced = 0;
    for (const budget of this.#budgets.values()) paced += isPaced(budget);
    // What was used since stands in both.
    for (const [id, budget] of this.#olderBudgets) if (!this.#budgets.has(id)) paced += isPaced(budget);
    return paced;
  }

  /** Resolves when no bubble is open. */
  async idle(): Promise<void> {
    await Promise.all([...this.#streams.keys()].map(({ ended }) => ended));
  }

  #run(
    reqId: string | undefined,
    chat: Chat,
    replyUntil: Millis,
    begin: { readonly id?: string | undefined; readonly state?: StreamState | undefined } = {},
  ): RunningStream {
    const budget = this.#budget(chat);
    const { id = makeReqId("stream", this.#random), state } = begin;
    const options = { ...this.#stream, id, budget, replyUntil };
    const stream = state === undefined ? new Stream(options) : Stream.restore(state, options);
    const frame = (effect: SendEffect): EncodedFrame =>
      effect.type === "send" && reqId !== undefined
        ? encode({ cmd: cmd.respond, headers: { req_id: reqId }, body: effect.body })
        : this.#push(
            chat,
            effect.type === "push" ? { msgtype: "markdown", markdown: { content: effect.content } } : effect.body,
          );
    const running = new RunningStream(id, stream, this.#runtime, this.#driver, frame, () =>
      this.#streams.delete(running),
    );
    this.#streams.set(running, true);
    return running;
  }

  #push({ id, type }: Chat, body: object): EncodedFrame {
    const headers = { req_id: makeReqId("send", this.#random) };
    // The body may be the application's own: encode judges it whole.
    const frame = { cmd: cmd.send, headers, body: { ...body, chatid: id, chat_type: type === "single" ? 1 : 2 } };
    return encode(frame as Parameters<typeof encode>[0]);
  }

  #budget({ id }: Pick<Chat, "id">, fresh = (): Budget => new Budget(this.#quota)): Budget {
    let budget = this.#budgets.get(id);
    if (budget !== undefined) return budget;
    budget = this.#olderBudgets.get(id) ?? fresh();
    if (this.#budgets.size >= rememberedChats) {
      this.#olderBudgets = this.#budgets;
      this.#budgets = new FleetingMap();
    }
    this.#budgets.set(id, budget);
    return budget;
  }

  /** Waits for an instant, or for the end of the line. */
  #until(at: Millis): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        cancel();
        this.#waits.delete(wake);
        resolve();
      };
      const cancel = this.#runtime.wakeAt(at, wake);
      this.#waits.set(wake, true);
    });
  }
}

/** The row of streams under one message, of which at most one is open. */
class OpenBubble implements Bubble {
  readonly #begin: () => RunningStream;
  readonly #answered: AnswerListener;
  #open: RunningStream | undefined;
  #holding = false;
  #closed = false;

  constructor(begin: () => RunningStream, answered: AnswerListener) {
    this.#begin = begin;
    this.#answered = answered;
  }

  append(text: string): void {
    if (this.#closed) return;
    const replaces = this.#holding && text !== "";
    if (replaces) this.#holding = false;
    this.#current.take({ type: replaces ? "set" : "append", text });
  }

  hold(text: string): void {
    if (this.#closed || this.#open !== undefined) return;
    this.#holding = true;
    this.#current.take({ type: "set", text });
  }

  finish(text?: string): Promise<void> {
    if (this.#closed || (text === undefined && this.#open === undefined)) return Promise.resolve();
    this.#unhold();
    return this.#end(text === undefined ? { type: "finish" } : { type: "finish", text });
  }

  fail(text: string): Promise<void> {
    if (this.#closed || (text === "" && this.#open === undefined)) return Promise.resolve();
    this.#unhold();
    return this.#end({ type: "fail", text });
  }

  close(text: string): Promise<void> {
    const ended = this.#open === undefined ? Promise.resolve() : this.fail(text);
    this.#closed = true;
    return ended;
  }

  #unhold(): void {
    if (this.#holding) this.#current.take({ type: "set", text: "" });
    this.#holding = false;
  }

  get #current(): RunningStream {
    return (this.#open ??= this.#begin());
  }

  #end(input: StreamInput): Promise<void> {
    const ending = this.#current;
    this.#open = undefined;
    ending.take(input);
    return ending.ended.then(({ route, end }) => this.#answered(route, end));
  }
}

type SendEffect = Extract<StreamEffect, { type: "send" | "push" }>;

/** One `Stream` with its alarm. */
class RunningStream {
  readonly id: string;
  readonly ended: Promise<Answered>;
  /** Called after each step. */
  onStep: (() => void) | undefined;
  readonly #stream: Stream;
  readonly #runtime: Runtime;
  readonly #driver: Driver;
  readonly #frame: (effect: SendEffect) => EncodedFrame;
  readonly #over: () => void;
  readonly #resolve: (answered: Answered) => void;
  #cancelAlarm: (() => void) | undefined;
  /** A frame that our own encoder refused: the gateway never saw it. */
  #unsendable: string | undefined;

  constructor(
    id: string,
    stream: Stream,
    runtime: Runtime,
    driver: Driver,
    frame: (effect: SendEffect) => EncodedFrame,
    over: () => void,
  ) {
    const { promise, resolve } = Promise.withResolvers<Answered>();
    this.id = id;
    this.ended = promise;
    this.#resolve = resolve;
    this.#stream = stream;
    this.#runtime = runtime;
    this.#driver = driver;
    this.#frame = frame;
    this.#over = over;
  }

  get state(): BubbleState {
    return onClock(this.#stream.state, -this.#runtime.now());
  }

  take(input: StreamInput): void {
    for (const effect of this.#stream.handle(this.#runtime.now(), input))
      if (effect.type === "done") this.#end(effect.result);
      else this.#send(effect);
    this.#cancelAlarm?.();
    const at = this.#stream.deadline;
    this.#cancelAlarm = at === undefined ? undefined : this.#runtime.wakeAt(at, () => this.take({ type: "tick" }));
    this.onStep?.();
  }

  #send(effect: SendEffect): void {
    let frame: EncodedFrame;
    try {
      frame = this.#frame(effect);
    } catch (error) {
      this.#unsendable = error instanceof Error ? error.message : String(error);
      this.take({ type: "stopped" });
      return;
    }
    this.#driver.send(frame, (outcome) => this.take({ type: "settled", key: effect.key, outcome }));
  }

  #end(result: StreamResult): void {
    this.#over();
    const end: AnswerEnd =
      this.#unsendable === undefined ? resultOf(result, this.#stream) : { type: "failed", why: this.#unsendable };
    this.#resolve({ route: result.route === "markdown" ? "reply" : result.route, end });
  }
}

const notConnected: AnswerEnd = {
  type: "failed",
  why: "there is no subscribed connection; nothing was sent",
  unsent: true,
};

/** A stream's state on another clock. */
function onClock(state: StreamState, byMs: Millis): StreamState {
  const { now, openedAt, retryAt, askAt, doubt } = state;
  return {
    ...state,
    now: now + byMs,
    openedAt: openedAt === undefined ? undefined : openedAt + byMs,
    retryAt: retryAt === undefined ? undefined : retryAt + byMs,
    askAt: askAt === undefined ? undefined : askAt + byMs,
    doubt: doubt === undefined ? undefined : { ...doubt, until: doubt.until + byMs },
  };
}

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
      const stopped = outcome.type === "stopped" ? ({ stopped: true } as const) : undefined;
      return outcome.maybeDelivered
        ? { type: "unknown", why: `${why} before it was acknowledged`, ...stopped }
        : { type: "failed", why: `${why} before it was sent`, ...stopped, unsent: true };
    }
  }
}

function resultOf({ state, refusal, stopped }: StreamResult, stream: Stream): AnswerEnd {
  if (state === "delivered") return { type: "delivered" };
  const over = stopped && ({ stopped } as const);
  const why =
    stopped === true
      ? "the bot was stopped before the answer was acknowledged"
      : refusal === undefined
        ? "the gateway did not acknowledge all of it"
        : `the gateway refused it: ${refusal.errcode} ${plainErrmsg(refusal.errmsg)}`;
  if (state === "unknown") return { type: "unknown", why, ...over };
  const unsent = stream.state.keys > 0 ? undefined : ({ unsent: true } as const);
  return { type: "failed", why, ...(refusal === undefined ? {} : { errcode: refusal.errcode }), ...over, ...unsent };
}
