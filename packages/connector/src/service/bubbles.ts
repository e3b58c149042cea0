/**
 * Bubbles that are filled from outside: opened by a request, filled by others, ended by one of them, or by us.
 *
 * Decides what of an open bubble is stored, and how it is taken up by another process, or over another line after this one
 * was over: the text as its caller gave it, and the stream's own state from when a message of it last began or ended.
 * Does not know frames or lines. Invariants: a text is stored before it is shown, and before its caller is told; a bubble
 * that was opened is ended, by its caller, by its silence or by the stop of the process; its document is gone with the
 * commit that settles its entry.
 */
import { OpenwsError, UsageError } from "@openws/protocol";
import type { BubbleState, HeldBubble } from "../answer.ts";
import type { OutboxBot } from "./outbox.ts";
import type { Clock } from "./clock.ts";
import { UnknownIdError } from "./ledger.ts";
import type { Change, Entry, EntryState, EpochMs, Seq, Store } from "./store.ts";

/** A bubble that is open. Each call resolves when it is stored, and rejects with `StoreError` or `UsageError` otherwise. */
export interface OutStream {
  /** Also the `stream.id` on the wire. */
  readonly id: string;
  readonly seq: Seq;
  append(text: string): Promise<void>;
  /** All of its text, in place of what it said so far. */
  set(text: string): Promise<void>;
  /** Ends it, with a last piece if there is one; what became of it `settled(seq)` tells. */
  finish(text?: string): Promise<void>;
  /** Ends it with a sentence for the user behind its text; a general one by default. */
  fail(text?: string): Promise<void>;
}

/** What bubbles work with. */
export interface BubblesParts {
  readonly clock: Clock;
  readonly bot: (id: string) => OutboxBot | undefined;
  readonly store: Pick<Store, "commit" | "documents" | "entry">;
  readonly idleMs: number;
  /** Told when an answer goes on in another bubble. */
  readonly rotated: (bot: string) => void;
  /** Stores what became of an entry. */
  readonly settle: (
    entry: Entry,
    state: EntryState,
    more: Partial<Pick<Entry, "errcode" | "reason" | "body">>,
    also: readonly Change[],
  ) => Promise<void>;
}

/** The document of an open bubble; its key is the bubble's id. */
interface BubbleDocument {
  readonly seq: Seq;
  readonly text: string;
  /** How it ends, once it does. */
  readonly ending?: Ending | undefined;
  /** Where the stream stood when a message of it began or ended. */
  readonly state?: BubbleState | undefined;
  readonly stateAt?: EpochMs | undefined;
}

type Ending = { readonly type: "finish" } | { readonly type: "fail"; readonly text?: string | undefined };

/** The open bubbles of a service. */
export class Bubbles {
  readonly #parts: BubblesParts;
  readonly #open = new Map<string, RunningBubble>();
  readonly #bySeq = new Map<Seq, RunningBubble>();

  constructor(parts: BubblesParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#open.size;
  }

  get(id: string): OutStream | undefined {
    return this.#open.get(id);
  }

  has(seq: Seq): boolean {
    return this.#bySeq.has(seq);
  }

  /** Takes up the bubbles of the process before; returns the numbers of their entries. */
  async load(origin: (seq: Seq) => Promise<Entry | undefined>): Promise<ReadonlySet<Seq>> {
    const { store } = this.#parts;
    const found = new Set<Seq>();
    for (let after: string | undefined; ;) {
      const page = await store.documents("stream", { after, limit: 200 });
      for (const { key, value } of page) {
        const document = value as BubbleDocument;
        const entry = await store.entry(document.seq);
        const to = entry?.replyTo === undefined ? undefined : await origin(entry.replyTo);
        if (entry !== undefined && to !== undefined) {
          found.add(entry.seq);
          this.open(entry, key, to, document);
        } else await store.commit([deleted(key)]);
      }
      if (page.length < 200) return found;
      after = page.at(-1)?.key;
    }
  }

  /** The change that goes with the entry of a new bubble. */
  begun(entry: Entry, id: string): Change {
    return put(id, { seq: entry.seq, text: "" });
  }

  /** Opens a bubble, whose entry and document are stored. */
  open(entry: Entry, id: string, origin: Entry, document?: BubbleDocument): OutStream {
    const bubble = new RunningBubble(this.#parts, entry, id, origin, document, () => {
      this.#open.delete(id);
      this.#bySeq.delete(entry.seq);
    });
    this.#open.set(id, bubble);
    this.#bySeq.set(entry.seq, bubble);
    bubble.show();
    return bubble;
  }

  /** A bot has a line: what the end of the last one interrupted goes on. */
  resume(bot: string): void {
    for (const bubble of this.#open.values()) if (bubble.bot === bot) bubble.show();
  }

  /** A bot is gone for good. */
  forget(bot: string): void {
    for (const bubble of this.#open.values()) if (bubble.bot === bot) void bubble.abandon("the bot was removed");
  }

  /** Ends all of them visibly; resolves when it is known what became of them, or that there is no line to end them over. */
  async end(): Promise<void> {
    await Promise.all([...this.#open.values()].map((bubble) => bubble.endNow()));
  }
}

class RunningBubble implements OutStream {
  readonly id: string;
  readonly bot: string;
  readonly #parts: BubblesParts;
  readonly #entry: Entry;
  readonly #origin: Entry;
  readonly #over: () => void;
  /** The text that its callers gave, and as much of it as is stored. */
  #text: string;
  #storedText: string;
  #ending: Ending | undefined;
  #state: BubbleState | undefined;
  #stateAt: EpochMs | undefined;
  /** How many bubbles of it were opened. */
  #opened: number;
  /** What tells one of the stream's messages from the next. */
  #phase = "";
  #held: HeldBubble | undefined;
  #ended = Promise.withResolvers<undefined>();
  #cancelIdle: (() => void) | undefined;

  constructor(
    parts: BubblesParts,
    entry: Entry,
    id: string,
    origin: Entry,
    document: BubbleDocument | undefined,
    over: () => void,
  ) {
    this.id = id;
    this.bot = entry.bot;
    this.#parts = parts;
    this.#entry = entry;
    this.#origin = origin;
    this.#over = over;
    this.#text = document?.text ?? "";
    this.#storedText = this.#text;
    this.#ending = document?.ending;
    this.#state = document?.state;
    this.#stateAt = document?.stateAt;
    this.#opened = document?.state?.message ?? 1;
    this.#watch();
  }

  get seq(): Seq {
    return this.#entry.seq;
  }

  append(text: string): Promise<void> {
    return this.#take(this.#text + text, (held) => held.append(text));
  }

  set(text: string): Promise<void> {
    return this.#take(text, (held) => held.set(text));
  }

  finish(text = ""): Promise<void> {
    return this.#take(this.#text + text, (held) => held.finish(text), { type: "finish" });
  }

  fail(text?: string): Promise<void> {
    return this.#take(this.#text, (held) => held.fail(text), { type: "fail", text });
  }

  /** Shows what there is, if it is not shown already. */
  show(): void {
    const bot = this.#parts.bot(this.bot);
    if (this.#held !== undefined || bot === undefined) return;
    const { reqId = "", chat, kind, event = false, at } = this.#origin;
    const now = this.#parts.clock.now();
    const resume =
      this.#state === undefined ? undefined : { state: this.#state, agoMs: Math.max(0, now - (this.#stateAt ?? now)) };
    const held = bot.bubble(
      { reqId, chat, kind, event, ageMs: Math.max(0, now - at) },
      { id: this.id, resume, onStep: (bubble) => this.#stepped(bubble) },
    );
    this.#held = held;
    // A stream that was stored when it had ended knows all of this.
    if (this.#state?.ended === undefined) {
      if (this.#storedText !== "") held.set(this.#storedText);
      if (this.#ending?.type === "finish") held.finish();
      else if (this.#ending?.type === "fail") held.fail(this.#ending.text);
    }
    void held.ended.then(async ({ route, end }) => {
      this.#held = undefined;
      // Over another line, or by another process, it goes on.
      if (end.type !== "delivered" && end.stopped === true) {
        this.#ended.resolve(undefined);
        return;
      }
      const errcode = end.type === "failed" ? end.errcode : undefined;
      const state: EntryState =
        end.type === "delivered"
          ? route === "push"
            ? "fallback"
            : "acked"
          : end.type === "unknown"
            ? "unknown"
            : errcode === undefined
              ? "failed"
              : "refused";
      const reason = end.type !== "delivered" ? end.why : route === "push" ? "its rest was pushed" : undefined;
      await this.#settle(state, {
        ...(reason !== undefined && { reason }),
        ...(errcode !== undefined && { errcode }),
      });
    });
  }

  async abandon(reason: string): Promise<void> {
    await this.#settle("failed", { reason });
  }

  /** Ends it because the process stops. */
  async endNow(): Promise<void> {
    try {
      if (this.#ending === undefined) await this.fail();
    } catch {
      // It stays in the store as it was: the next process ends it, or goes on with it.
      return;
    }
    if (this.#parts.bot(this.bot)?.state.subscribed === true) await this.#ended.promise;
  }

  /** Stores what there is now, then shows it. */
  async #take(text: string, show: (held: HeldBubble) => void, ending?: Ending): Promise<void> {
    if (this.#ending !== undefined) throw new UsageError(`the stream ${this.id} was ended`, { path: "stream" });
    this.#text = text;
    this.#ending = ending;
    this.#watch();
    try {
      await this.#parts.store.commit([put(this.id, this.#document)]);
    } catch (error) {
      // What was called behind it is refused as well, so the text is again what is stored.
      this.#text = this.#storedText;
      this.#ending = undefined;
      this.#watch();
      throw error;
    }
    this.#storedText = text;
    if (this.#held !== undefined) show(this.#held);
  }

  get #document(): BubbleDocument {
    return {
      seq: this.seq,
      text: this.#text,
      ending: this.#ending,
      state: this.#state,
      stateAt: this.#stateAt,
    };
  }

  #stepped(bubble: HeldBubble): void {
    const { state } = bubble;
    const phase = `${state.message} ${state.route} ${state.openedAt === undefined}`;
    if (phase === this.#phase || state.done) return;
    const first = this.#phase === "" && state.openedAt === undefined;
    this.#phase = phase;
    if (first) return;
    if (state.openedAt !== undefined && state.message > this.#opened) {
      this.#opened = state.message;
      this.#parts.rotated(this.bot);
    }
    this.#state = state;
    this.#stateAt = this.#parts.clock.now();
    // Should it not be stored, the next process shows a little of it twice at worst.
    this.#parts.store.commit([put(this.id, { ...this.#document, text: this.#storedText })]).catch(() => undefined);
  }

  /** Silence ends it: a bubble that nobody fills any more would show its spinner for ever. */
  #watch(): void {
    this.#cancelIdle?.();
    this.#cancelIdle = undefined;
    if (this.#ending !== undefined) return;
    const { clock, idleMs } = this.#parts;
    this.#cancelIdle = clock.wakeAt(clock.now() + idleMs, () => {
      this.fail().catch((error: unknown) => {
        if (!(error instanceof OpenwsError)) throw error;
      });
    });
  }

  async #settle(state: EntryState, more: Partial<Pick<Entry, "errcode" | "reason">>): Promise<void> {
    this.#cancelIdle?.();
    this.#over();
    const stream = { id: this.id, finish: true, content: this.#storedText };
    await this.#parts.settle(this.#entry, state, { ...more, body: { msgtype: "stream", stream } }, [deleted(this.id)]);
    this.#ended.resolve(undefined);
  }
}

function put(key: string, value: BubbleDocument): Change {
  return { put: "document", collection: "stream", document: { key, value } };
}

function deleted(key: string): Change {
  return { delete: "document", collection: "stream", key };
}

/** The bubble of that id, or `UnknownIdError`. */
export function mustBeOpen(stream: OutStream | undefined, id: string): OutStream {
  if (stream === undefined) throw new UnknownIdError("open stream", id);
  return stream;
}
