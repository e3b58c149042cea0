/**
 * One answer, from its first word to the knowledge of what became of it.
 *
 * A caller hands over text as it comes; the user sees a bubble grow. Between them stand the rules of the wire: a frame
 * replaces the whole bubble, one frame awaits its ack at a time, a chat takes 30 messages a minute, a bubble lives ten
 * minutes and holds 20,480 bytes, and a bubble that is not finished with something visible shows its spinner for ever. So
 * an answer is a row of *messages*: streams that each end where the next begins, and pushes once the reply's way is barred.
 *
 * Decides what is sent next, when, by which of three routes, and what a refusal or a silence means for the answer. Does
 * not know sockets, the acks' req_ids (the driver has the callback's, and makes those of pushes), placeholders and
 * keep-alives (the caller sets a text), nor what else goes to the chat, except through its Budget.
 *
 * Invariants:
 * - at most one frame is in flight (REPLY-3); what comes meanwhile is joined, and the newest state goes next (STREAM-1a);
 * - the last state is always sent, and a message that was finished is never touched again (STREAM-2a);
 * - what the gateway *refused* goes another way (REPLY-4b, STREAM-4b); what it may have *shown* does not, or the user would
 *   read it twice (PUSH-4b). A stream frame is the exception that may be repeated, once and on a new socket only: it
 *   replaces itself;
 * - every history ends in exactly one `done`, provided that all sends settle.
 */
import type { Millis } from "./backoff.ts";
import type { Budget, BudgetUse } from "./budget.ts";
import { UsageError, classifySend } from "./errors.ts";
import { maxContentBytes } from "./frames.ts";
import type { MarkdownBody, StreamBody } from "./frames.ts";
import type { Outcome } from "./requests.ts";
import { closeFence, cutAt, cutMarkdown, hasVisible, utf8Bytes } from "./text.ts";

/** What happened, or is wished. */
export type StreamInput =
  /** More text: a delta. */
  | { readonly type: "append"; readonly text: string }
  /** All of the text so far, in place of what was said before; a placeholder is replaced like this. */
  | { readonly type: "set"; readonly text: string }
  /** That was all; `text` is a last delta, so that an answer known at once is one frame. */
  | { readonly type: "finish"; readonly text?: string }
  /** The source of the text failed: end with what there is and a note (`texts.failed`; "" for none). */
  | { readonly type: "fail"; readonly text?: string }
  /** The text is not wanted any more, or the process must stop: end with what there is and a note (`texts.cancelled`). */
  | { readonly type: "cancel"; readonly text?: string }
  /** What became of the `send` or `push` with this key. */
  | { readonly type: "settled"; readonly key: number; readonly outcome: Outcome }
  /** A new socket is subscribed. After `restore` as well, as soon as a socket is, or was already. */
  | { readonly type: "ready" }
  /** The connection is over for good, no `ready` will come. */
  | { readonly type: "stopped" }
  | { readonly type: "tick" };

/** What the driver must do, in order. */
export type StreamEffect =
  /** Reply with `aibot_respond_msg` on the message's req_id. Settle it by `key`. */
  | { readonly type: "send"; readonly key: number; readonly body: StreamBody | MarkdownBody }
  /** Push `content` as markdown with `aibot_send_msg` to the message's chat, on a req_id of its own. Settle it by `key`. */
  | { readonly type: "push"; readonly key: number; readonly content: string }
  /** The answer is over. Comes exactly once, and nothing after it. */
  | { readonly type: "done"; readonly result: StreamResult };

/** How the answer goes out: `markdown` is a reply of its own on the req_id, for chats that cannot show streams. */
export type StreamRoute = "stream" | "markdown" | "push";

/** How the text ended, as the caller said. */
export type StreamEnd = "finished" | "failed" | "cancelled";

/** What became of an answer. */
export interface StreamResult {
  /**
   * - `delivered`: the gateway took all of it
   * - `unknown`: the gateway took all but what it never acked; the user may have read everything
   * - `failed`: the user did not get all of it, and will not
   */
  readonly state: "delivered" | "unknown" | "failed";
  readonly ended: StreamEnd | undefined;
  /** The last route taken; `push` says that the answer, or its rest, is outside of its bubble. */
  readonly route: StreamRoute;
  /** Messages that were completed: bubbles and pushes. */
  readonly messages: number;
  /** Why it failed, or the reason for the last detour. */
  readonly refusal?: { readonly errcode: number; readonly errmsg: string } | undefined;
  /** Set if the connection was stopped for good under the answer. */
  readonly stopped?: true;
}

/** The sentences a stream says in its own name, in Markdown. */
export interface StreamTexts {
  /** Behind the part that ends a bubble before its tenth minute; "\n\n…". At most a quarter of `maxBytes` long. */
  readonly handover: string;
  /** Behind an answer that failed, and one that was cancelled. */
  readonly failed: string;
  readonly cancelled: string;
  /** Instead of an answer without a visible character; must have one. */
  readonly empty: string;
}

/** How a stream is made. */
export interface StreamOptions {
  /** The first bubble's `stream.id`, unique for ever; the later ones are called `id.2`, `id.3`, … */
  readonly id: string;
  /** The chat's budget, shared with all that goes to this chat. Its state is not part of the stream's. */
  readonly budget: Budget;
  /** Asks for thumbs; begin it with `trace_`, or no buttons appear (measured once). Goes on the first bubble's first frame only. */
  readonly feedbackId?: string;
  /** When the message can no longer be replied to, 24 h after its callback; from then on everything is pushed. */
  readonly replyUntil?: Millis;
  /** The age at which a bubble is finished and the answer goes on in a new one; 540,000, a minute before its end. */
  readonly handoverMs?: Millis;
  /**
   * How long a finishing frame without an ack is held in doubt: if a new socket comes in that time the old one was dead,
   * and the frame is repeated. 60,000: the connection needs up to 50 s to notice a silent drop.
   */
  readonly doubtMs?: Millis;
  /** Bytes of UTF-8 in one message; 20,480. At least 64. */
  readonly maxBytes?: number;
  readonly texts?: Partial<StreamTexts>;
}

/** A frame that awaits its outcome. */
interface Flight {
  readonly key: number;
  readonly final: boolean;
  /** Whether it is the first frame of its bubble, and whether it holds something visible. */
  readonly opens: boolean;
  readonly visible: boolean;
  /** How much of `text` it shows, and the carry for what follows if it is final. */
  readonly at: number;
  readonly carry: string;
}

/** A stream as plain JSON. Its members are nobody's business but `restore`'s. */
export interface StreamState {
  readonly now: Millis;
  /** What is not in a finished message yet, and what the next one needs in front. */
  readonly text: string;
  readonly carry: string;
  /** How much of the caller's text finished messages hold, and the end of that, to recognise a text that was rewritten. */
  readonly sealed: number;
  readonly sealedEnd: string;
  readonly ended?: StreamEnd | undefined;
  readonly route: StreamRoute;
  /** Number of the current message, from 1. */
  readonly message: number;
  /** When the bubble's first frame went out. */
  readonly openedAt?: Millis | undefined;
  /** How much of `text` is known to stand in the bubble; whether anything visible may stand anywhere. */
  readonly shown: number;
  readonly visible: boolean;
  /** Whether there is something that no frame has shown. */
  readonly dirty: boolean;
  readonly flight?: Flight | undefined;
  readonly keys: number;
  /** Set by 846607: no more refreshes. */
  readonly finalOnly: boolean;
  readonly throttles: number;
  readonly retries: number;
  readonly retryAt?: Millis | undefined;
  /** When the budget is to be asked again. */
  readonly askAt?: Millis | undefined;
  /** Whether to wait for `ready`. */
  readonly away: boolean;
  readonly doubt?: { readonly flight: Flight; readonly until: Millis } | undefined;
  /** Whether the bubble's last frame was already repeated on a new socket. */
  readonly repeated: boolean;
  readonly unknown: boolean;
  readonly refusal?: { readonly errcode: number; readonly errmsg: string } | undefined;
  readonly done: boolean;
}

/** The state of a new stream. Every member is there from the beginning, or each stream would be of a shape of its own. */
const fresh: Required<StreamState> = {
  now: 0,
  text: "",
  carry: "",
  sealed: 0,
  sealedEnd: "",
  ended: undefined,
  route: "stream",
  message: 1,
  openedAt: undefined,
  shown: 0,
  visible: false,
  dirty: false,
  flight: undefined,
  keys: 0,
  finalOnly: false,
  throttles: 0,
  retries: 0,
  retryAt: undefined,
  askAt: undefined,
  away: false,
  doubt: undefined,
  repeated: false,
  unknown: false,
  refusal: undefined,
  done: false,
};

/** Waits before the retries of what is transient, such as 6000; a code that nobody knows has the first one only. */
const retryMs = [200, 400, 800] as const;

/** After an hour of a pause each minute even the hourly quota is free again: what is refused then is refused for ever. */
const maxThrottles = 60;

/** The chat shows no streams, but it shows Markdown. */
const streamNotShown = 600_039;

const defaultTexts: StreamTexts = {
  handover: "\n\n…",
  failed: "（回答中断 · The answer broke off）",
  cancelled: "（已停止 · Stopped）",
  empty: "（无内容 · No content）",
};

/**
 * One answer to one message. Feed it the text, perform its effects, tell it how each `send` and `push` settled, and
 * `ready` whenever a new socket is subscribed; send a `tick` at its `deadline`.
 *
 * ```ts
 * const stream = new Stream({ id, budget });
 * stream.handle(now, { type: "append", text: "Hel" });   // [{ type: "send", key: 1, body: { msgtype: "stream", … } }]
 * stream.handle(now, { type: "append", text: "lo" });    // []: a frame is in flight
 * stream.handle(now, { type: "finish" });                // []
 * stream.handle(now, { type: "settled", key: 1, outcome: { type: "acked" } });   // [{ type: "send", key: 2, … "Hello", finish: true }]
 * stream.handle(now, { type: "settled", key: 2, outcome: { type: "acked" } });   // [{ type: "done", result: { state: "delivered", … } }]
 * ```
 *
 * To survive a restart store `state` after each call, `restore` it, and say `ready` when the socket is: a frame that was in
 * flight is then treated as one whose connection was lost.
 */
export class Stream {
  readonly #options: Required<Omit<StreamOptions, "feedbackId" | "texts">> & { feedbackId: string | undefined };
  readonly #texts: StreamTexts;
  #s: { -readonly [Key in keyof StreamState]-?: StreamState[Key] };

  /** @throws UsageError for options out of range */
  constructor(options: StreamOptions) {
    const { id, budget, feedbackId, texts = defaultTexts } = options;
    const { replyUntil = Infinity, handoverMs = 540_000, doubtMs = 60_000, maxBytes = maxContentBytes } = options;
    check(id, maxBytes, handoverMs, doubtMs);
    this.#options = { id, budget, feedbackId, replyUntil, handoverMs, doubtMs, maxBytes };
    this.#texts = completed(texts, maxBytes);
    this.#s = { ...fresh };
  }

  /** The stream that `state` was taken from, with the same options. */
  static restore(state: StreamState, options: StreamOptions): Stream {
    const stream = new Stream(options);
    stream.#s = { ...fresh, ...state };
    return stream;
  }

  get state(): StreamState {
    return { ...this.#s };
  }

  /** When to send a `tick` if nothing else comes; later than the last `now`. */
  get deadline(): Millis | undefined {
    const s = this.#s;
    if (s.done || s.away || s.flight !== undefined) return undefined;
    if (s.doubt !== undefined) return s.doubt.until;
    if (s.retryAt !== undefined) return s.retryAt;
    const handoverAt = this.#handoverAt;
    if (handoverAt === undefined || handoverAt <= s.now) return s.askAt;
    return Math.min(handoverAt, s.askAt ?? Infinity);
  }

  /**
   * Takes an input and returns everything that follows from it.
   *
   * Text after `finish`, `fail` or `cancel` is a mistake, unless the answer is over anyway; a second ending is not, and
   * changes nothing. An outcome for a key that awaits none is ignored.
   *
   * @throws UsageError for text after the end, before anything changes
   */
  handle(now: Millis, input: StreamInput): readonly StreamEffect[] {
    const s = this.#s;
    const speaks =
      input.type === "append" || input.type === "set" || (input.type === "finish" && input.text !== undefined);
    if (speaks && s.ended !== undefined && !s.done) {
      throw new UsageError(`the stream has ${s.ended}: no text can follow; make a new one`);
    }
    if (now > s.now) s.now = now;
    if (s.done) return [];
    const effects: StreamEffect[] = [];
    switch (input.type) {
      case "append":
        this.#append(input.text);
        break;
      case "set":
        this.#set(input.text);
        break;
      case "finish":
        this.#append(input.text ?? "");
        s.ended ??= "finished";
        break;
      case "fail":
        this.#breakOff("failed", input.text);
        break;
      case "cancel":
        this.#breakOff("cancelled", input.text);
        break;
      case "settled":
        if (s.flight?.key === input.key) this.#settle(s.flight, input.outcome, effects);
        break;
      case "ready":
        // Whoever says so has no frame of ours in flight: if the state has one, it was restored.
        if (s.flight !== undefined) this.#settle(s.flight, { type: "connection-lost", maybeDelivered: true }, effects);
        if (s.doubt !== undefined) {
          s.doubt = undefined;
          s.repeated = true;
        }
        s.away = false;
        break;
      case "stopped":
        this.#stop(s.flight ?? s.doubt?.flight, true, effects);
        return effects;
      case "tick":
        break;
    }
    if (s.doubt !== undefined && s.now >= s.doubt.until) {
      const { flight } = s.doubt;
      s.doubt = undefined;
      this.#complete(flight, true);
    }
    this.#pump(effects);
    return effects;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // The text

  #append(text: string): void {
    this.#s.text += text;
    this.#s.dirty ||= text !== "";
  }

  #set(text: string): void {
    const s = this.#s;
    // If the text does not contain what finished messages show, it is a new one and shown from its beginning.
    if (!text.startsWith(s.sealedEnd, s.sealed - s.sealedEnd.length)) {
      s.sealed = 0;
      s.sealedEnd = "";
      s.carry = "";
    }
    this.#say(text.slice(s.sealed));
  }

  #say(text: string): void {
    const s = this.#s;
    if (text === s.text) return;
    const common = commonPrefix(s.text, text);
    s.text = text;
    s.dirty = true;
    s.shown = Math.min(s.shown, common);
    // A frame in flight, or in doubt, that shows what is no longer said counts for nothing of the new text.
    const { flight, doubt } = s;
    if (flight !== undefined && flight.at > common) s.flight = { ...flight, at: 0, carry: "" };
    if (doubt !== undefined && doubt.flight.at > common)
      s.doubt = { ...doubt, flight: { ...doubt.flight, at: 0, carry: "" } };
  }

  #breakOff(ended: StreamEnd, note: string = this.#texts[ended as "failed" | "cancelled"]): void {
    const s = this.#s;
    if (s.ended !== undefined) return;
    s.ended = ended;
    if (note === "") return;
    const close = closeFence(s.carry + s.text);
    this.#say(s.text + close + (hasVisible(s.text) ? "\n\n" : "") + note);
  }

  /** Lets `count` units of the text go, because a message shows them that will not change any more. */
  #advance(count: number, carry: string): void {
    const s = this.#s;
    s.sealed += count;
    s.sealedEnd = (s.sealedEnd + s.text.slice(0, count)).slice(-64);
    s.text = s.text.slice(count);
    s.carry = carry;
    s.shown = 0;
    s.dirty = true;
    s.openedAt = undefined;
    s.retries = 0;
    s.repeated = false;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // What goes out

  #pump(effects: StreamEffect[]): void {
    const s = this.#s;
    s.askAt = undefined;
    if (s.done || s.flight !== undefined || s.doubt !== undefined) return;
    if (s.now < (s.retryAt ?? 0)) return;
    s.retryAt = undefined;
    if (s.route !== "push" && s.now >= this.#options.replyUntil) this.#detour("push");

    const frame = this.#next();
    if (frame === undefined) {
      if (s.ended !== undefined) this.#end(s.unknown ? "unknown" : "delivered", effects);
      return;
    }
    if (s.away) return;
    const use: BudgetUse = s.route === "push" ? "push" : frame.final ? "final" : "refresh";
    for (const answer of this.#options.budget.handle(s.now, { type: "ask", for: use })) {
      if (answer.type === "denied") {
        s.askAt = answer.until;
        return;
      }
    }
    const { final, opens, visible, at, carry, content } = frame;
    s.flight = { key: ++s.keys, final, opens, visible, at, carry };
    s.dirty = false;
    if (s.route === "push") effects.push({ type: "push", key: s.keys, content });
    else effects.push({ type: "send", key: s.keys, body: this.#body(content, frame) });
  }

  /** The next frame, or undefined when there is nothing to send for now; if the text has ended, for ever. */
  #next(): (Omit<Flight, "key"> & { readonly content: string }) | undefined {
    const s = this.#s;
    const { maxBytes } = this.#options;
    for (;;) {
      const opens = s.openedAt === undefined;
      const handoverAt = this.#handoverAt;
      let cut = { part: s.carry + s.text, at: s.text.length, carry: "" };
      let final = s.ended !== undefined;
      if (handoverAt !== undefined && s.now >= handoverAt) {
        const { handover } = this.#texts;
        cut = cutMarkdown(s.text, maxBytes - utf8Bytes(handover), { carry: s.carry, more: true });
        cut = { ...cut, part: cut.part + handover };
        final = true;
      } else if (cutAt(cut.part, maxBytes) < cut.part.length) {
        cut = cutMarkdown(s.text, maxBytes, { carry: s.carry });
        final = true;
      } else if (s.repeated && !final) {
        // The bubble may be finished already, so it can only be finished again, even if a rewritten text would fit.
        cut = cutMarkdown(s.text, maxBytes, { carry: s.carry, more: true });
        final = true;
      }

      // What a carry makes visible is no news.
      const visible = hasVisible(s.text.slice(0, cut.at));
      if (!final) {
        if (!s.dirty || !visible || s.finalOnly || s.route !== "stream") return undefined;
        return { final, opens, visible, at: cut.at, carry: "", content: cut.part };
      }
      if (visible) return { final, opens, visible, at: cut.at, carry: cut.carry, content: cut.part };
      // An open bubble must be finished with something, an answer must be something; else nothing needs no message.
      if (!opens || (cut.at === s.text.length && !s.visible)) {
        const content = hasVisible(cut.part) ? cut.part : this.#texts.empty;
        return { final, opens, visible: true, at: cut.at, carry: cut.carry, content };
      }
      if (s.text === "") return undefined;
      this.#advance(cut.at, cut.carry);
    }
  }

  #body(content: string, { final, opens }: Omit<Flight, "key">): StreamBody | MarkdownBody {
    const s = this.#s;
    if (s.route === "markdown") return { msgtype: "markdown", markdown: { content } };
    const { id, feedbackId } = this.#options;
    if (opens) s.openedAt = s.now;
    const stream = { id: s.message === 1 ? id : `${id}.${s.message}`, finish: final, content };
    if (!opens || s.message !== 1 || feedbackId === undefined) return { msgtype: "stream", stream };
    return { msgtype: "stream", stream: { ...stream, feedback: { id: feedbackId } } };
  }

  get #handoverAt(): Millis | undefined {
    const { openedAt, ended } = this.#s;
    return openedAt === undefined || ended !== undefined ? undefined : openedAt + this.#options.handoverMs;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // What became of it

  #settle(flight: Flight, outcome: Outcome, effects: StreamEffect[]): void {
    const s = this.#s;
    s.flight = undefined;
    switch (outcome.type) {
      case "acked":
        s.throttles = 0;
        s.retries = 0;
        if (flight.final) this.#complete(flight, false);
        else {
          s.shown = flight.at;
          s.visible ||= flight.visible;
        }
        return;
      case "refused":
        this.#unsend(flight);
        this.#refuse(flight, outcome, effects);
        return;
      case "not-ready":
        s.away = true;
        this.#unsend(flight);
        return;
      case "connection-lost":
        s.away = true;
        if (!outcome.maybeDelivered) this.#unsend(flight);
        else if (flight.final && (s.route !== "stream" || s.repeated)) this.#complete(flight, true);
        else {
          // Whatever is sent next on this bubble says the same, or more, and replaces what may stand there.
          s.repeated ||= flight.final;
          s.dirty = true;
          s.visible ||= flight.visible;
        }
        return;
      case "timed-out":
        if (!flight.final) s.visible ||= flight.visible;
        else if (s.route === "stream" && !s.repeated) s.doubt = { flight, until: s.now + this.#options.doubtMs };
        else this.#complete(flight, true);
        return;
      case "stopped":
        this.#stop(flight, outcome.maybeDelivered, effects);
    }
  }

  /** The gateway has not got this frame. */
  #unsend(flight: Flight): void {
    const s = this.#s;
    s.dirty = true;
    if (flight.opens) s.openedAt = undefined;
  }

  /** A message is finished, as far as can be known. */
  #complete(flight: Flight, unknown: boolean): void {
    const s = this.#s;
    s.visible ||= flight.visible;
    s.unknown ||= unknown;
    this.#advance(flight.at, flight.carry);
    s.message++;
  }

  #refuse(flight: Flight, { errcode, errmsg }: { errcode: number; errmsg: string }, effects: StreamEffect[]): void {
    const s = this.#s;
    s.refusal = { errcode, errmsg };
    const asked = classifySend(errcode, errmsg);
    const pushing = s.route === "push";
    if (asked === "throttled" && s.throttles < maxThrottles) {
      s.throttles++;
      s.finalOnly = true;
      this.#options.budget.handle(s.now, { type: "throttled" });
      return;
    }
    if (!pushing && (asked === "fallback" || asked === "reconnect")) {
      this.#detour(errcode === streamNotShown && s.route === "stream" ? "markdown" : "push");
      return;
    }
    // A push that met "not subscribed" is retried until the connection has noticed it too, and then waits for `ready`.
    const retries =
      asked === "retry" || asked === "reconnect" ? retryMs.length : asked === "unknown" && flight.final ? 1 : 0;
    if (s.retries < retries) {
      s.retryAt = s.now + (retryMs[s.retries++] as number);
    } else if (!flight.final) {
      // Not worth a detour: a later frame shows the same.
      s.dirty = false;
      s.retries = 0;
    } else if (asked === "retry" && s.repeated) {
      // A conflict with itself: the copy that was sent before the socket was lost had arrived.
      this.#complete(flight, true);
    } else if (!pushing && (asked === "retry" || asked === "unknown")) {
      this.#detour("push");
    } else {
      this.#end("failed", effects);
    }
  }

  /** Takes another route for all that is not known to stand in the bubble. */
  #detour(route: StreamRoute): void {
    const s = this.#s;
    if (s.shown === s.text.length && s.ended !== undefined) this.#advance(s.shown, "");
    else {
      // From the last whole line, sentence or word on, so that the rest can be read by itself.
      const cut = cutMarkdown(s.text.slice(0, s.shown), this.#options.maxBytes, { carry: s.carry, more: true });
      this.#advance(cut.at, cut.carry);
    }
    s.route = route;
  }

  #stop(last: Flight | undefined, maybeDelivered: boolean, effects: StreamEffect[]): void {
    const s = this.#s;
    const all = maybeDelivered && s.ended !== undefined && last?.final === true && last.at === s.text.length;
    this.#end(all ? "unknown" : "failed", effects, true);
  }

  #end(state: StreamResult["state"], effects: StreamEffect[], stopped = false): void {
    const { ended, route, message, refusal } = this.#s;
    this.#s.done = true;
    const result = { state, ended, route, messages: message - 1, refusal };
    effects.push({ type: "done", result: stopped ? { ...result, stopped } : result });
  }
}

function check(id: string, maxBytes: number, handoverMs: Millis, doubtMs: Millis): void {
  if (id === "") throw new UsageError("id must not be empty", { path: "id" });
  if (!(maxBytes >= 64 && maxBytes <= maxContentBytes)) {
    throw new UsageError(`maxBytes must be from 64 to ${maxContentBytes}`, { path: "maxBytes" });
  }
  if (!(handoverMs > 0)) throw new UsageError("handoverMs must be above 0", { path: "handoverMs" });
  if (!(doubtMs > 0)) throw new UsageError("doubtMs must be above 0", { path: "doubtMs" });
}

/** The texts that are given, the others' defaults, all judged: once, since the streams of one bot share theirs. */
function completed(given: Partial<StreamTexts>, maxBytes: number): StreamTexts {
  const known = judged.get(given);
  if (known?.maxBytes === maxBytes) return known.texts;
  const texts = { ...defaultTexts, ...given };
  if (utf8Bytes(texts.handover) * 4 > maxBytes) {
    throw new UsageError("texts.handover must not take more than a quarter of maxBytes", { path: "texts.handover" });
  }
  if (!hasVisible(texts.empty) || utf8Bytes(texts.empty) > maxBytes) {
    throw new UsageError("texts.empty must have a visible character and fit into maxBytes", { path: "texts.empty" });
  }
  judged.set(given, { maxBytes, texts });
  return texts;
}

const judged = new WeakMap<Partial<StreamTexts>, { readonly maxBytes: number; readonly texts: StreamTexts }>();

function commonPrefix(a: string, b: string): number {
  if (b.startsWith(a)) return a.length;
  let i = 0;
  // Past either end charCodeAt is NaN, which equals nothing.
  while (a.charCodeAt(i) === b.charCodeAt(i)) i++;
  return i;
}
