/**
 * From what is to be said to the knowledge of what became of it: replies, pushes and bubbles, written down before anybody
 * is told that they were accepted, sent over the bots' lines, and written down again at every step.
 *
 * Decides order, what waits, for how long, and what a restart means for what was under way. There is one queue, and it is
 * this one: while a bot has no line, what was accepted waits here, and expires at an age. Does not know HTTP, nor how a
 * text becomes frames, nor what a chat may be sent: that is the bot's (answer.ts).
 *
 * What a restart finds `accepted` never left, and is sent. A text under a message that was `sent` without an ack is sent
 * again under the same stream id: it takes its own place, so nobody reads it twice. Everything else that was `sent` may
 * have arrived: it becomes `unknown`, and is sent once more only where that was asked for, marked `maybeDuplicate`. An
 * open bubble is taken up with its text, its id and its age.
 *
 * Invariants: one message of a chat is under way at a time, in the order in which they were accepted, and chats do not
 * wait for each other (an open bubble holds nobody up); a state is stored before it is told; what may arrive twice is
 * stored as `sent` before it is sent; nothing is sent after `drain` began.
 */
import { OpenwsError, UsageError, cmd, encode, hasVisible, replyWindowMs } from "@openws/protocol";
import type { Answered } from "../answer.ts";
import type { Bot } from "../bot.ts";
import type { Origin } from "../handling.ts";
import { type RawBody, type Reply, reply as made } from "../reply.ts";
import { Bubbles, type OutStream } from "./bubbles.ts";
import type { Clock } from "./clock.ts";
import type { Routing } from "./inbox.ts";
import type { OutMessage } from "./inline.ts";
import { type Sequence, UnknownIdError, isSettled, moved, putEntry, updateEntry } from "./ledger.ts";
import { hex } from "./proof.ts";
import {
  type Change,
  type Delivery,
  type Entry,
  type EntryChat,
  type EntryState,
  type EpochMs,
  type Seq,
  type Store,
  StoreError,
} from "./store.ts";
import { newTrace } from "./trace.ts";

export type { OutStream } from "./bubbles.ts";

/** As much of a bot as an outbox needs. */
export type OutboxBot = Pick<Bot, "reply" | "push" | "bubble" | "state">;

/** What is told of an outbox. */
export type OutboxEvent =
  | { readonly type: "settled"; readonly entry: Entry }
  /** An answer goes on in another bubble: its last one was full, or nearly ten minutes old. */
  | { readonly type: "stream-rotated"; readonly bot: string }
  /** A step could not be stored; it is tried until it is. */
  | { readonly type: "store-refused"; readonly why: string };

/** Where a process may be killed by a test. */
export type OutboxPoint = "before-commit" | "after-commit" | "before-send" | "after-send";

/** What an outbox works with. Durations in milliseconds. */
export interface OutboxParts {
  readonly store: Pick<Store, "commit" | "entry" | "entries" | "documents">;
  readonly clock: Clock;
  readonly sequence: Sequence;
  /** The bot, if this process runs it. */
  readonly bot: (id: string) => OutboxBot | undefined;
  readonly routing: Routing;
  /** Told after an entry was accepted. Must not throw. */
  readonly stored: (entry: Entry, deliveries: readonly Delivery[]) => void;
  readonly tell: (event: OutboxEvent) => void;
  /** How long a reply may wait for a line; 86,400,000, a day: so long WeCom lets a message be replied to. */
  readonly replyTtlMs?: number | undefined;
  /** How long a push may; 3,600,000, an hour: what nobody asked for is stale sooner. */
  readonly pushTtlMs?: number | undefined;
  /** Whether a push of which a restart finds that it may have arrived is sent once more; false. */
  readonly resendUnknown?: boolean | undefined;
  /** A bubble to which nothing is added for this long is ended; 600,000. */
  readonly streamIdleMs?: number | undefined;
  /** What may wait, over all chats; 10,000. What comes beyond is refused. */
  readonly maxWaiting?: number | undefined;
  readonly probe?: ((point: OutboxPoint) => void) | undefined;
}

/** Too much waits, or the process is stopping: ask again later. */
export class OutboxBusyError extends OpenwsError {
  constructor(message: string) {
    super("outbox-busy", message);
    this.name = "OutboxBusyError";
  }
}

/** Changes that go into the same commit as an entry; a function of the entry where they need its number. */
export type Also = readonly Change[] | ((entry: Entry) => readonly Change[]);

/** An entry that is not settled. */
interface Job {
  entry: Entry;
  /** What it answers. */
  readonly origin: Entry | undefined;
  readonly expiresAt: EpochMs;
  underWay: boolean;
}

/** The queue of a chat. */
interface Lane {
  readonly bot: string;
  readonly jobs: Job[];
  running: boolean;
}

/** How many messages that came are remembered, so that answering one needs no look into the store. */
const recentEntries = 2_000;
/** How soon what could not be sent, though there is a line, is tried again. */
const againMs = 1_000;
/** How often a store that refuses is asked. */
const storeRetryMs = 500;

/** The outbox of a service. */
export class Outbox {
  readonly #parts: OutboxParts;
  readonly #limits: { readonly replyTtlMs: number; readonly pushTtlMs: number; readonly maxWaiting: number };
  readonly #bubbles: Bubbles;
  readonly #lanes = new Map<string, Lane>();
  readonly #jobs = new Map<Seq, Job>();
  readonly #recent = new Map<Seq, Entry>();
  readonly #waiters = new Map<Seq, ((entry: Entry) => void)[]>();
  #expiry: { readonly at: EpochMs; readonly cancel: () => void } | undefined;
  #stopping = false;
  #running = 0;
  #idle: (() => void)[] = [];

  constructor(parts: OutboxParts) {
    this.#parts = parts;
    const { replyTtlMs = 24 * 3_600_000, pushTtlMs = 3_600_000, maxWaiting = 10_000, streamIdleMs = 600_000 } = parts;
    this.#limits = { replyTtlMs, pushTtlMs, maxWaiting };
    this.#bubbles = new Bubbles({
      clock: parts.clock,
      bot: parts.bot,
      store: parts.store,
      idleMs: streamIdleMs,
      rotated: (bot) => parts.tell({ type: "stream-rotated", bot }),
      settle: (entry, state, more, also) => this.#settle(entry, state, more, also),
    });
  }

  /** Takes up what the store holds from before. Call it before the bots start. */
  async start(): Promise<void> {
    const { store, resendUnknown = false } = this.#parts;
    const streams = await this.#bubbles.load((seq) => this.#origin(seq));
    for (let after: Seq | undefined; ;) {
      const found = await store.entries({ directions: ["out"], states: ["accepted", "sent"], after, limit: 500 });
      for (const entry of found) {
        if (streams.has(entry.seq)) continue;
        const origin = entry.replyTo === undefined ? undefined : await this.#origin(entry.replyTo);
        if (entry.kind === "stream") await this.#settle(entry, "failed", { reason: "its text was lost" });
        else if (entry.state === "accepted" || isRepeatable(entry)) this.#queue(entry, origin);
        else if (resendUnknown && entry.maybeDuplicate !== true) {
          const again = moved(entry, "accepted", this.#parts.clock.now(), { maybeDuplicate: true });
          await this.#stored([updateEntry(again)]);
          this.#queue(again, origin);
        } else
          await this.#settle(entry, "unknown", { reason: "the process ended before the gateway had acknowledged it" });
      }
      if (found.length < 500) break;
      after = found.at(-1)?.seq;
    }
  }

  /** Remembers a message that came, since it is likely to be answered soon. */
  came(entry: Entry): void {
    this.#recent.set(entry.seq, entry);
    if (this.#recent.size <= recentEntries) return;
    for (const seq of this.#recent.keys()) {
      this.#recent.delete(seq);
      break;
    }
  }

  /**
   * Answers an `in` entry, in the trace of whoever answers (`trace`, a valid traceparent) or else in that of the message.
   * Resolves when that is stored; what becomes of it, `settled` tells. Rejects with
   * `UnknownIdError`, with `UsageError` for what the gateway would refuse unread, with `OutboxBusyError`, and with
   * `StoreError`: then nothing was accepted.
   */
  async reply(to: Seq, message: OutMessage, also: Also = [], trace?: string): Promise<Entry> {
    const origin = await this.#answerable(to);
    const inBubble = origin.event !== true && textIn(message) !== undefined;
    const body = bodyOf(message, inBubble ? streamId() : undefined);
    check(body, origin.event === true);
    const kind = kindOf(body, inBubble);
    return this.#accept({ ...under(origin, trace), kind, body }, origin, also);
  }

  /** Sends a message of the bot's own. As `reply`. */
  async push(
    bot: string,
    to: { readonly userid: string } | { readonly chatid: string },
    message: OutMessage,
    also: Also = [],
    trace?: string,
  ): Promise<Entry> {
    if (this.#parts.bot(bot) === undefined) throw new UnknownIdError("bot", bot);
    const chat: EntryChat = "userid" in to ? { id: to.userid, type: "single" } : { id: to.chatid, type: "group" };
    if (typeof chat.id !== "string" || chat.id === "")
      throw new UsageError("a push needs a userid or a chatid, as it came in a message", { path: "to" });
    const body = bodyOf(message, undefined);
    check(body, false);
    const traceparent = trace ?? newTrace();
    return this.#accept({ bot, kind: kindOf(body, false), chat, traceparent, body }, undefined, also);
  }

  /** Opens a bubble under an `in` entry. Resolves when that is stored. Rejects as `reply` does. */
  async stream(to: Seq, also: Also = [], trace?: string): Promise<OutStream> {
    const origin = await this.#answerable(to);
    const id = streamId();
    const body = { msgtype: "stream", stream: { id, finish: false, content: "" } };
    const draft = { ...under(origin, trace), kind: "stream", body };
    const entry = await this.#store(draft, (stored) => [...changesOf(also, stored), this.#bubbles.begun(stored, id)]);
    return this.#bubbles.open(entry, id, origin);
  }

  /** A bubble that is open, by the id that `stream` gave it; also one that was opened before a restart. */
  openStream(id: string): OutStream | undefined {
    return this.#bubbles.get(id);
  }

  /** Resolves with the entry when nothing more becomes of it by itself. Rejects with `UnknownIdError`. */
  async settled(seq: Seq): Promise<Entry> {
    if (!this.#jobs.has(seq) && !this.#bubbles.has(seq)) {
      const entry = await this.#parts.store.entry(seq);
      if (entry === undefined) throw new UnknownIdError("message", `msg_${seq}`);
      if (entry.direction !== "out" || isSettled(entry)) return entry;
    }
    return new Promise((resolve) => {
      this.#waiters.set(seq, [...(this.#waiters.get(seq) ?? []), resolve]);
    });
  }

  /** Messages that wait or are under way, and bubbles that are open. */
  get size(): { readonly messages: number; readonly streams: number } {
    return { messages: this.#jobs.size, streams: this.#bubbles.size };
  }

  /** A bot's line came, or went. */
  lineMoved(bot: string, ready: boolean): void {
    if (!ready) return;
    this.#bubbles.resume(bot);
    for (const lane of this.#lanes.values()) if (lane.bot === bot) this.#pump(lane);
  }

  /** A bot is gone for good: what waits for it never leaves. */
  async forget(bot: string): Promise<void> {
    const reason = "the bot was removed";
    this.#bubbles.forget(bot);
    for (const lane of this.#lanes.values())
      if (lane.bot === bot)
        for (const job of lane.jobs.filter(({ underWay }) => !underWay))
          await this.#over(lane, job, "failed", { reason });
  }

  /** Accepts and sends nothing more, ends open bubbles visibly; resolves when what is under way is over. What waits stays in the store. */
  async drain(): Promise<void> {
    this.#stopping = true;
    this.#expiry?.cancel();
    await this.#bubbles.end();
    if (this.#running === 0) return;
    await new Promise<void>((resolve) => {
      this.#idle.push(resolve);
    });
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Accepting

  async #answerable(to: Seq): Promise<Entry> {
    const origin = await this.#origin(to);
    if (origin === undefined) throw new UnknownIdError("message", `msg_${to}`);
    if (origin.direction !== "in") throw new UsageError(`msg_${to} is not a message that came in`, { path: "id" });
    if (origin.chat === undefined) throw new UsageError(`msg_${to} belongs to no chat`, { path: "id" });
    return origin;
  }

  async #origin(seq: Seq): Promise<Entry | undefined> {
    return this.#recent.get(seq) ?? (await this.#parts.store.entry(seq));
  }

  async #accept(draft: Draft, origin: Entry | undefined, also: Also): Promise<Entry> {
    const entry = await this.#store(draft, (stored) => changesOf(also, stored));
    this.#queue(entry, origin);
    return entry;
  }

  async #store(draft: Draft, also: (entry: Entry) => readonly Change[]): Promise<Entry> {
    const { clock, sequence, routing, store, stored, probe } = this.#parts;
    if (this.#stopping) throw new OutboxBusyError("the connector is stopping; ask the one that takes its place");
    const waiting = this.#jobs.size + this.#bubbles.size;
    if (waiting >= this.#limits.maxWaiting)
      throw new OutboxBusyError(`${waiting} messages wait to be sent already; try again later`);
    const now = clock.now();
    const entry: Entry = {
      seq: sequence.next(),
      direction: "out",
      state: "accepted",
      at: now,
      changedAt: now,
      ...draft,
    };
    const deliveries = routing.deliveriesFor(entry);
    probe?.("before-commit");
    await store.commit([
      putEntry(entry),
      ...deliveries.map((delivery) => ({ put: "delivery", delivery }) as const),
      ...also(entry),
    ]);
    probe?.("after-commit");
    stored(entry, deliveries);
    return entry;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Sending

  #queue(entry: Entry, origin: Entry | undefined): void {
    const { replyTtlMs, pushTtlMs } = this.#limits;
    // A welcome that comes hours late is as stale as a push.
    const expiresAt = entry.at + (entry.replyTo === undefined || origin?.event === true ? pushTtlMs : replyTtlMs);
    const job: Job = { entry, origin, expiresAt, underWay: false };
    this.#jobs.set(entry.seq, job);
    const key = `${entry.bot} ${entry.chat?.type ?? ""} ${entry.chat?.id ?? ""}`;
    let lane = this.#lanes.get(key);
    if (lane === undefined) {
      lane = { bot: entry.bot, jobs: [], running: false };
      this.#lanes.set(key, lane);
    }
    lane.jobs.push(job);
    this.#armExpiry(expiresAt);
    this.#pump(lane);
  }

  /** Sends the next message of a chat, if there is a line and none is under way. */
  #pump(lane: Lane): void {
    const [job] = lane.jobs;
    if (job === undefined || lane.running || this.#stopping) return;
    const bot = this.#parts.bot(lane.bot);
    if (bot?.state.subscribed !== true) return;
    lane.running = true;
    job.underWay = true;
    this.#running++;
    void this.#send(bot, lane, job).then((again) => {
      lane.running = false;
      job.underWay = false;
      this.#running--;
      if (this.#running === 0) for (const resolve of this.#idle.splice(0)) resolve();
      if (!again) this.#pump(lane);
      else this.#parts.clock.wakeAt(this.#parts.clock.now() + againMs, () => this.#pump(lane));
    });
  }

  /** Never rejects. Resolves with whether the message stays at the head of its chat, to be sent again. */
  async #send(bot: OutboxBot, lane: Lane, job: Job): Promise<boolean> {
    const { clock, probe } = this.#parts;
    if (clock.now() >= job.expiresAt) {
      await this.#over(lane, job, "expired", expired);
      return false;
    }
    const repeatable = isRepeatable(job.entry) && clock.now() - (job.origin?.at ?? 0) < replyWindowMs;
    // What would be read twice must not leave before it is known that it may have.
    if (job.entry.state === "accepted") {
      const sent = moved(job.entry, "sent", clock.now());
      if (repeatable) this.#parts.store.commit([updateEntry(sent)]).catch(noop);
      else if (!(await this.#stored([updateEntry(sent)]))) return true;
      job.entry = sent;
    }
    let answered: Answered;
    try {
      probe?.("before-send");
      const answering = this.#say(bot, job);
      probe?.("after-send");
      answered = await answering;
    } catch (error) {
      const reason = error instanceof OpenwsError ? error.message : "it could not be sent";
      await this.#over(lane, job, "failed", { reason });
      return false;
    }
    return this.#judge(lane, job, answered, repeatable);
  }

  #say(bot: OutboxBot, { entry, origin }: Job): Promise<Answered> {
    const piece = replyOf(entry);
    if (entry.replyTo !== undefined && origin !== undefined) {
      const id = streamOf(entry)?.id;
      return bot.reply(this.#originOf(origin), piece, id === undefined ? {} : { id });
    }
    const chat = entry.chat!;
    const to = chat.type === "single" ? { userid: chat.id } : { chatid: chat.id };
    return bot.push(to, piece).then((end) => ({ route: "push", end }));
  }

  #originOf({ reqId = "", chat, kind, event = false, at }: Entry): Origin {
    return { reqId, chat, kind, event, ageMs: Math.max(0, this.#parts.clock.now() - at) };
  }

  async #judge(lane: Lane, job: Job, { route, end }: Answered, repeatable: boolean): Promise<boolean> {
    const { entry } = job;
    // It takes its own place when it is sent again; over the next line, or by the next process.
    const replaces = repeatable && route === "stream";
    switch (end.type) {
      case "delivered": {
        const detour = route === "push" && entry.replyTo !== undefined;
        await this.#over(lane, job, detour ? "fallback" : "acked", detour ? { reason: detourReason } : {});
        return false;
      }
      case "unknown":
        if (replaces && end.stopped === true) return true;
        await this.#over(lane, job, "unknown", { reason: end.why });
        return false;
      case "failed":
        if (replaces && end.stopped === true) return true;
        if (end.unsent === true) {
          const back = moved(entry, "accepted", this.#parts.clock.now());
          if (await this.#stored([updateEntry(back)])) job.entry = back;
          return true;
        }
        await this.#over(lane, job, end.errcode === undefined ? "failed" : "refused", {
          reason: end.why,
          ...(end.errcode !== undefined && { errcode: end.errcode }),
        });
        return false;
    }
  }

  /** A job is over; what stays in the store, because the process stops while the store refuses, the next one finds there. */
  async #over(lane: Lane, job: Job, state: EntryState, more: Settling): Promise<void> {
    await this.#settle(job.entry, state, more);
    const at = lane.jobs.indexOf(job);
    if (at >= 0) lane.jobs.splice(at, 1);
    if (lane.jobs.length === 0) for (const [key, each] of this.#lanes) if (each === lane) this.#lanes.delete(key);
  }

  async #settle(entry: Entry, state: EntryState, more: Settling = {}, also: readonly Change[] = []): Promise<void> {
    const settled = moved(entry, state, this.#parts.clock.now(), more);
    if (!(await this.#stored([updateEntry(settled), ...also]))) return;
    this.#jobs.delete(entry.seq);
    this.#parts.tell({ type: "settled", entry: settled });
    for (const resolve of this.#waiters.get(entry.seq) ?? []) resolve(settled);
    this.#waiters.delete(entry.seq);
  }

  /** Stores a step, as often as it takes. False when the store is closed, or another replica's. */
  async #stored(changes: readonly Change[]): Promise<boolean> {
    const { store, clock, tell } = this.#parts;
    for (let told = false; ;) {
      try {
        await store.commit(changes);
        return true;
      } catch (error) {
        if (error instanceof StoreError && (error.trouble === "closed" || error.trouble === "fenced")) return false;
        if (!told) tell({ type: "store-refused", why: error instanceof Error ? error.message : String(error) });
        told = true;
      }
      await new Promise<void>((resolve) => {
        clock.wakeAt(clock.now() + storeRetryMs, resolve);
      });
    }
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Expiring

  #armExpiry(at: EpochMs): void {
    if (this.#stopping || (this.#expiry !== undefined && this.#expiry.at <= at)) return;
    this.#expiry?.cancel();
    this.#expiry = { at, cancel: this.#parts.clock.wakeAt(at, () => void this.#expire()) };
  }

  async #expire(): Promise<void> {
    this.#expiry = undefined;
    const now = this.#parts.clock.now();
    const due: { readonly lane: Lane; readonly job: Job }[] = [];
    let next = Infinity;
    for (const lane of this.#lanes.values())
      for (const job of lane.jobs)
        if (job.underWay) continue;
        else if (job.expiresAt > now) next = Math.min(next, job.expiresAt);
        else due.push({ lane, job });
    // Nobody may begin with them meanwhile.
    for (const { lane, job } of due) lane.jobs.splice(lane.jobs.indexOf(job), 1);
    await Promise.all(due.map(({ lane, job }) => this.#over(lane, job, "expired", expired)));
    // Many expire within a second of each other: one look for all of them.
    if (next < Infinity) this.#armExpiry(Math.max(next, now + 1_000));
  }
}

type Draft = Pick<Entry, "bot" | "kind" | "chat" | "traceparent" | "body"> & Partial<Pick<Entry, "replyTo" | "reqId">>;

type Settling = Partial<Pick<Entry, "errcode" | "reason" | "body">>;

const expired: Settling = { reason: "it was not sent in time: there was no line to the gateway for too long" };
const detourReason = "it could not be given as a reply any more, so it was pushed";

const noop = (): void => undefined;

function changesOf(also: Also, entry: Entry): readonly Change[] {
  return typeof also === "function" ? also(entry) : also;
}

/** What an answer has of the message it answers: its trace too, unless whoever answers is in one of their own. */
function under({ bot, chat, seq, reqId, traceparent }: Entry, trace: string | undefined) {
  return { bot, chat, replyTo: seq, reqId, traceparent: trace ?? traceparent ?? newTrace() };
}

/** The id of a bubble, on the wire as in the API: it must never come twice. */
function streamId(): string {
  return `str_${hex(crypto.getRandomValues(new Uint8Array(16)))}`;
}

// ---------------------------------------------------------------------------------------------------------------------
// Messages as they are asked for, stored and said

function textIn(message: OutMessage): string | undefined {
  return "markdown" in message ? message.markdown : "text" in message ? message.text : undefined;
}

/** The body as it is stored: that of the frame, if one frame holds it. */
function bodyOf(message: OutMessage, stream: string | undefined): RawBody {
  const content = textIn(message);
  if (content !== undefined) {
    return stream === undefined
      ? { msgtype: "markdown", markdown: { content } }
      : { msgtype: "stream", stream: { id: stream, finish: true, content } };
  }
  if ("template_card" in message) return { msgtype: "template_card", template_card: message.template_card };
  if ("media" in message) {
    const { kind, ...media } = message.media;
    return { msgtype: kind, [kind]: media };
  }
  return (message as Extract<OutMessage, { raw: unknown }>).raw;
}

/** Refuses what the gateway would refuse unread, while somebody is there to be told. */
function check(body: RawBody, event: boolean): void {
  const content = textOfBody(body);
  if (content !== undefined) {
    if (!hasVisible(content)) throw new UsageError("the text has no visible character", { path: "markdown" });
    return;
  }
  // What answers an event has schemas of its own, by the event.
  if (event && body["msgtype"] === undefined) return;
  const headers = { req_id: "check" };
  const frame = { cmd: cmd.send, headers, body: { ...body, chatid: "check", chat_type: 1 } };
  encode(frame as Parameters<typeof encode>[0]);
}

function textOfBody(body: RawBody): string | undefined {
  const part = (body["markdown"] ?? body["stream"]) as { content?: unknown } | undefined;
  return typeof part?.content === "string" ? part.content : undefined;
}

function kindOf(body: RawBody, inBubble: boolean): string {
  // A bubble is how a reply's text is shown, not what was asked for.
  if (inBubble) return "markdown";
  return typeof body["msgtype"] === "string" ? body["msgtype"] : "template_card";
}

function streamOf({ body }: Entry): { readonly id: string; readonly content: string } | undefined {
  return (body as { stream?: { id: string; content: string } }).stream;
}

/** A text under a message: sent again under its stream's id it replaces itself. */
function isRepeatable(entry: Entry): boolean {
  return entry.kind === "markdown" && streamOf(entry) !== undefined;
}

function replyOf({ body }: Entry): Reply {
  const raw = body as RawBody;
  const content = textOfBody(raw);
  if (content !== undefined) return made.markdown(content);
  if (raw["msgtype"] === "template_card" && Object.keys(raw).length === 2) {
    return { type: "card", card: raw["template_card"] as never };
  }
  return made.raw(raw);
}
