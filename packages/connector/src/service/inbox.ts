/**
 * From what a bot hears to what is stored: one commit for an entry, its deliveries and its tags, called in the very turn
 * in which the frame came, because the wire acknowledges no callback and what is not on the disk is gone with the process.
 *
 * Decides what an entry is made of, who gets it, and what happens while the store refuses: what came is held in memory, to
 * a bound, in its order, and tried again until it is stored; so it is while another process writes the store still. Does
 * not know sockets, deliveries' ways, or how to answer.
 *
 * Invariants: nobody is told of an entry before it is stored; the entries of a chat are numbered in the order in which
 * they came, through every refusal; what is lost for want of room, or since another replica writes by now, is counted and
 * told, never silent.
 */
import type { Attachment, HappenedEvent, Message } from "../message.ts";
import type { Clock } from "./clock.ts";
import type { OutMessage } from "./inline.ts";
import { type Sequence, putEntry } from "./ledger.ts";
import {
  type Change,
  type Delivery,
  type Entry,
  type EpochMs,
  type Store,
  StoreError,
  type StoreTrouble,
} from "./store.ts";
import { newTrace } from "./trace.ts";
import type { TriggerOutcome } from "./triggers.ts";
import type { BotVault } from "./vault.ts";

/** Which webhooks want an entry; asked before the commit, more than once where that is refused. */
export interface Routing {
  deliveriesFor(entry: Entry): readonly Delivery[];
}

/** An entry that is stored, with what follows from it. */
export interface Stored {
  readonly entry: Entry;
  readonly deliveries: readonly Delivery[];
  /** What triggers want to be answered. */
  readonly replies: readonly OutMessage[];
  /** Its files, not fetched yet. */
  readonly files: readonly Attachment[];
}

/** Of which bot something is heard. */
export interface Source {
  readonly id: string;
  readonly vault: BotVault;
}

/** What is told of an inbox. */
export type InboxEvent =
  /** The store refuses; what came is held in memory. Told once, until it recovers. */
  | { readonly type: "store-refused"; readonly trouble: StoreTrouble; readonly why: string }
  | { readonly type: "store-recovered"; readonly stored: number }
  /** It was stored by the process before this one, to which it came as well. */
  | { readonly type: "duplicate"; readonly bot: string }
  /** Too much was held, or for too long, or another replica writes: this message or event is in no store, and `lost` in all. */
  | { readonly type: "lost"; readonly bot: string; readonly msgid: string | undefined; readonly lost: number };

/** Where a process may be killed by a test. */
export type InboxPoint = "after-read" | "before-commit" | "after-commit";

/** What an inbox works with. */
export interface InboxParts {
  readonly store: Pick<Store, "commit">;
  readonly clock: Clock;
  readonly sequence: Sequence;
  readonly routing: Routing;
  /** Applied before the commit; `text` is the entry as a person would read it aloud. */
  readonly triggers?: { apply(entry: Entry, text: string): TriggerOutcome } | undefined;
  /** Told after each commit, in the order of numbers. Must not throw. */
  readonly stored: (stored: readonly Stored[]) => void;
  readonly tell: (event: InboxEvent) => void;
  /** Entries held while the store refuses; 10,000. */
  readonly maxHeld?: number | undefined;
  readonly probe?: ((point: InboxPoint) => void) | undefined;
}

/** An operational entry, before it has a number. */
export interface Note {
  readonly bot: string;
  /** Such as `bot.kicked`. */
  readonly kind: string;
  readonly reason?: string | undefined;
  readonly errcode?: number | undefined;
  readonly body?: Readonly<Record<string, unknown>> | undefined;
  /** That of what it is about; without it one begins. */
  readonly traceparent?: string | undefined;
}

/** What waits for a number. */
type Draft = Omit<Entry, "seq" | "state"> & Told;

/** What is not stored of it, but used once it is. */
interface Told {
  readonly text: string;
  readonly files: readonly Attachment[];
}

/** How many held entries are tried at once, and how long is waited between tries. */
const retryBatch = 500;
const retryMs = { first: 200, last: 5_000 };

/** The inbox of a service. */
export class Inbox {
  readonly #parts: InboxParts;
  readonly #maxHeld: number;
  #held: Draft[] = [];
  #trouble: StoreTrouble | undefined;
  #lost = 0;
  #inFlight = 0;
  #retryMs = retryMs.first;
  #cancelRetry: (() => void) | undefined;
  #retrying = false;
  #phase: "held" | "open" | "ended" = "open";
  #known: ReadonlySet<string> = new Set();
  #idle: (() => void)[] = [];

  constructor(parts: InboxParts) {
    this.#parts = parts;
    this.#maxHeld = parts.maxHeld ?? 10_000;
  }

  /** Why the store refuses, while it does. */
  get trouble(): StoreTrouble | undefined {
    return this.#trouble;
  }

  /** How many entries are in memory alone, and how many were lost for want of room. */
  get size(): { readonly held: number; readonly lost: number } {
    return { held: this.#held.length, lost: this.#lost };
  }

  /** Takes a message. */
  message({ id, vault }: Source, message: Message): void {
    this.#parts.probe?.("after-read");
    const now = this.#parts.clock.now();
    const { msgid, reqId, chat, from } = message;
    const heard = { direction: "in", kind: message.body.msgtype, chat, user: from, msgid, reqId } as const;
    this.#take({
      bot: id,
      ...heard,
      ...stamped(now),
      ...vault.seal(message.body),
      text: message.text,
      files: message.files,
    });
  }

  /** Takes an event. */
  event({ id, vault }: Source, event: HappenedEvent): void {
    this.#parts.probe?.("after-read");
    const now = this.#parts.clock.now();
    const { msgid, reqId, chat, from } = event;
    const kind = event.body.event.eventtype;
    const heard = { direction: "in", kind, event: true, chat, user: from, msgid, reqId } as const;
    this.#take({ bot: id, ...heard, ...stamped(now), ...vault.seal(event.body), text: "", files: [] });
  }

  /** Takes down that something happened to a bot. */
  note({ bot, kind, reason, errcode, body = {}, traceparent }: Note): void {
    const at = stamped(this.#parts.clock.now());
    const stamp = traceparent === undefined ? at : { ...at, traceparent };
    const said = { ...body, ...(reason !== undefined && { reason }), ...(errcode !== undefined && { errcode }) };
    this.#take({ bot, direction: "bot", kind, reason, errcode, ...stamp, body: said, text: "", files: [] });
  }

  /** Resolves when all that came is stored. */
  async idle(): Promise<void> {
    if (this.#inFlight === 0 && this.#held.length === 0) return;
    await new Promise<void>((resolve) => {
      this.#idle.push(resolve);
    });
  }

  /** Stores nothing from now on, and keeps what comes, until `release`. */
  hold(): void {
    this.#phase = "held";
  }

  /**
   * Stores what was held, and from now on what comes. `known`: as {@link heardAs} names it, what another process stored
   * meanwhile; should the gateway bring it to this one as well, it came there first.
   */
  release(known: ReadonlySet<string>): void {
    this.#phase = "open";
    this.#known = known;
    const held = this.#held.splice(0);
    this.#held.push(...held.filter((draft) => !this.#isKnown(draft)));
    if (this.#held.length > 0) void this.#retry();
    else this.#checkIdle();
  }

  /** The store is closed: what is held is lost, and so is what comes. */
  end(): void {
    this.#phase = "ended";
    this.#cancelRetry?.();
    for (const draft of this.#held.splice(0)) this.#lose(draft);
  }

  #take(draft: Draft): void {
    if (this.#isKnown(draft)) return;
    // Behind what is held, or its order would be lost.
    if (this.#phase === "held" || this.#held.length > 0 || this.#retrying) this.#hold(draft);
    else
      this.#commit([draft]).catch((error: unknown) => {
        this.#refused(error);
        this.#hold(draft);
        this.#checkIdle();
      });
  }

  /** The commit is called before this returns. */
  async #commit(drafts: readonly Draft[]): Promise<void> {
    const { store, probe, stored } = this.#parts;
    const records = drafts.map((draft) => this.#record(draft));
    probe?.("before-commit");
    this.#inFlight++;
    try {
      const changes: Change[] = [];
      for (const { entry, deliveries } of records) {
        changes.push(putEntry(entry));
        for (const delivery of deliveries) changes.push({ put: "delivery", delivery });
      }
      await store.commit(changes);
    } finally {
      this.#inFlight--;
    }
    probe?.("after-commit");
    stored(records);
    this.#checkIdle();
  }

  #record({ text, files, ...draft }: Draft): Stored {
    const { sequence, routing, triggers } = this.#parts;
    const seq = sequence.next();
    let entry: Entry = { ...draft, seq, state: draft.direction === "bot" ? "noted" : "unrouted" };
    const outcome = triggers?.apply(entry, text);
    if (outcome !== undefined && outcome.tags.length > 0) entry = { ...entry, tags: outcome.tags };
    const wanted = routing.deliveriesFor(entry);
    const routes = outcome?.routes;
    const deliveries = routes === undefined ? wanted : wanted.filter(({ webhook }) => routes.includes(webhook));
    if (deliveries.length > 0 && entry.direction === "in") entry = { ...entry, state: "received" };
    return { entry, deliveries, replies: outcome?.replies ?? [], files };
  }

  #hold(draft: Draft): void {
    // Another replica writes, and a number that was outrun stays so: no waiting helps.
    const hopeless = this.#trouble === "fenced" || this.#phase === "ended";
    if (hopeless || this.#held.length >= this.#maxHeld) return this.#lose(draft);
    this.#held.push(draft);
    if (!this.#retrying) this.#retryLater();
  }

  #isKnown({ bot, msgid }: Draft): boolean {
    if (this.#known.size === 0 || msgid === undefined) return false;
    const known = this.#known.has(heardAs(bot, msgid));
    if (known) this.#parts.tell({ type: "duplicate", bot });
    return known;
  }

  #lose({ bot, msgid, direction }: Draft): void {
    // What happened to this replica's line is no news to the one that has it by now, nor to anybody when it ends.
    if (direction === "bot" && (this.#trouble === "fenced" || this.#phase === "ended")) return;
    this.#lost++;
    this.#parts.tell({ type: "lost", bot, msgid, lost: this.#lost });
  }

  #refused(error: unknown): void {
    const known = error instanceof StoreError;
    const first = this.#trouble === undefined;
    this.#trouble = known ? error.trouble : "failed";
    const why = error instanceof Error ? error.message : String(error);
    if (first) this.#parts.tell({ type: "store-refused", trouble: this.#trouble, why });
  }

  #retryLater(): void {
    if (this.#cancelRetry !== undefined || this.#phase !== "open") return;
    const { clock } = this.#parts;
    this.#cancelRetry = clock.wakeAt(clock.now() + this.#retryMs, () => {
      this.#cancelRetry = undefined;
      this.#retryMs = Math.min(this.#retryMs * 2, retryMs.last);
      void this.#retry();
    });
  }

  /** Stores what is held, from its beginning, as long as the store takes it. */
  async #retry(): Promise<void> {
    this.#retrying = true;
    let count = 0;
    try {
      while (this.#held.length > 0) {
        const batch = this.#held.slice(0, retryBatch);
        await this.#commit(batch);
        this.#held.splice(0, batch.length);
        count += batch.length;
      }
      const recovered = this.#trouble !== undefined;
      this.#trouble = undefined;
      this.#retryMs = retryMs.first;
      if (recovered) this.#parts.tell({ type: "store-recovered", stored: count });
    } catch (error) {
      this.#refused(error);
      if (this.#trouble === "fenced") for (const draft of this.#held.splice(0)) this.#lose(draft);
      else this.#retryLater();
    } finally {
      this.#retrying = false;
      this.#checkIdle();
    }
  }

  #checkIdle(): void {
    if (this.#inFlight === 0 && this.#held.length === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }
}

/** A message or event of a bot, as `release` is told of it. */
export function heardAs(bot: string, msgid: string): string {
  return `${bot} ${msgid}`;
}

/** When it came, and the trace that begins with it. */
function stamped(now: EpochMs): Pick<Entry, "at" | "changedAt" | "traceparent"> {
  return { at: now, changedAt: now, traceparent: newTrace() };
}
