/**
 * Whose turn it is: which message's handler runs now, which waits, which never will, and when one must come to its end.
 *
 * Decides order and bounds: by default one turn at a time in a chat, chats in parallel, and a limit to both what runs and
 * what waits. Does not know what a turn does, nor messages, handlers and answers.
 *
 * Invariants: every turn that is taken runs once or is dropped once, with a reason; a turn that is over never holds up
 * another, and none holds its chat for longer than `turnMs`; what waits is at most `maxWaiting` turns.
 */
import { FleetingMap, type Millis } from "@openws/protocol";
import type { Runtime } from "./runtime.ts";

/**
 * What becomes of a message that comes while another one of its chat is being handled: it waits for its turn; it takes
 * the other one's place, whose signal aborts; it is dropped; or both are handled at once.
 */
export type WhenBusy = "queue" | "replace" | "drop" | "parallel";

/** Why a turn was told to end before it did by itself. */
export type AbortWhy = "stopped" | "replaced" | "expired";

/** Why a turn never ran: its chat was busy, too much waited, a newer one took its place, or the bot stopped. */
export type DropWhy = "busy" | "overload" | "replaced" | "stopped";

/** How turns are taken. */
export interface TurnOptions {
  readonly whenBusy: WhenBusy;
  /** Turns that run at once, over all chats. */
  readonly maxRunning: number;
  /** Turns that wait, over all chats. */
  readonly maxWaiting: number;
  /** How long one may last. */
  readonly turnMs: Millis;
}

const reasons: Readonly<Record<AbortWhy, string>> = {
  stopped: "the bot is stopping",
  replaced: "a newer message of this chat came",
  expired: "the handler took too long",
};

/** One turn. The signal is made when somebody asks for it, since most handlers never do. */
export class Turn {
  #aborted: AbortWhy | undefined;
  #controller: AbortController | undefined;
  #listener: ((why: AbortWhy) => void) | undefined;

  /** Why it must end, once it must. */
  get aborted(): AbortWhy | undefined {
    return this.#aborted;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted !== undefined) this.#controller.abort(new Error(reasons[this.#aborted]));
    }
    return this.#controller.signal;
  }

  /** Calls `listener` when the turn must end; at most one listener. */
  onAbort(listener: (why: AbortWhy) => void): void {
    this.#listener = listener;
  }

  abort(why: AbortWhy): void {
    if (this.#aborted !== undefined) return;
    this.#aborted = why;
    this.#controller?.abort(new Error(reasons[why]));
    this.#listener?.(why);
  }
}

/** Does a turn's work; resolves when the next may begin, soon after an abort at the latest. Must not reject. */
export type Work = () => Promise<void>;

interface Entry {
  readonly key: string | undefined;
  readonly turn: Turn;
  readonly work: Work;
  readonly dropped: (why: DropWhy) => void;
  startedAt: Millis;
}

/** A chat in which something runs, or is about to. */
interface Chat {
  current: Entry;
  readonly queue: Entry[];
}

/** All turns of one bot. */
export class Turns {
  readonly #options: TurnOptions;
  readonly #runtime: Runtime;
  readonly #chats = new FleetingMap<string, Chat>();
  /** Oldest first. */
  readonly #running = new FleetingMap<Entry, true>();
  /** Free to run as soon as less runs; oldest first. */
  #ready: Entry[] = [];
  #queued = 0;
  #cancelAlarm: (() => void) | undefined;
  #idle: (() => void)[] = [];

  constructor(options: TurnOptions, runtime: Runtime) {
    this.#options = options;
    this.#runtime = runtime;
  }

  /** How many turns run and wait. */
  get size(): { readonly running: number; readonly waiting: number } {
    return { running: this.#running.size, waiting: this.#waiting };
  }

  /**
   * Takes a new turn in the chat `key`, or outside of any chat: its `work` begins now, later or, as `dropped` tells, never.
   * Returns whether it waits.
   */
  take(turn: Turn, key: string | undefined, work: Work, dropped: (why: DropWhy) => void): boolean {
    const entry: Entry = { key, turn, work, dropped, startedAt: 0 };
    if (key === undefined) return this.#admit(entry);
    const chat = this.#chats.get(key);
    if (chat === undefined) {
      this.#chats.set(key, { current: entry, queue: [] });
      return this.#admit(entry);
    }
    switch (this.#options.whenBusy) {
      case "queue":
        if (this.#waiting >= this.#options.maxWaiting) {
          dropped("overload");
          return false;
        }
        chat.queue.push(entry);
        this.#queued++;
        return true;
      case "drop":
        dropped("busy");
        return false;
      case "replace": {
        const old = chat.current;
        chat.current = entry;
        if (this.#running.has(old)) old.turn.abort("replaced");
        else {
          this.#ready = this.#ready.filter((each) => each !== old);
          old.dropped("replaced");
        }
        return this.#admit(entry);
      }
      case "parallel":
        return this.#admit(entry);
    }
  }

  /** Tells everything that runs to end, and everything that waits that it never will begin. */
  stop(): void {
    const waiting = [...this.#ready, ...[...this.#chats.values()].flatMap(({ queue }) => queue.splice(0))];
    this.#ready = [];
    this.#queued = 0;
    for (const entry of waiting) {
      this.#release(entry);
      entry.dropped("stopped");
    }
    for (const { turn } of this.#running.keys()) turn.abort("stopped");
    this.#cancelAlarm?.();
    this.#cancelAlarm = undefined;
  }

  /** Resolves when nothing runs. */
  idle(): Promise<void> {
    if (this.#running.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle.push(resolve);
    });
  }

  get #waiting(): number {
    return this.#queued + this.#ready.length;
  }

  /** Returns whether it waits. */
  #admit(entry: Entry): boolean {
    if (this.#running.size < this.#options.maxRunning) {
      this.#run(entry);
      return false;
    }
    if (this.#waiting < this.#options.maxWaiting) {
      this.#ready.push(entry);
      return true;
    }
    this.#release(entry);
    entry.dropped("overload");
    return false;
  }

  #run(entry: Entry): void {
    entry.startedAt = this.#runtime.now();
    this.#running.set(entry, true);
    if (this.#cancelAlarm === undefined) this.#arm(entry.startedAt + this.#options.turnMs);
    void entry.work().then(() => this.#ended(entry));
  }

  #ended(entry: Entry): void {
    this.#running.delete(entry);
    this.#release(entry);
    while (this.#ready.length > 0 && this.#running.size < this.#options.maxRunning) this.#run(this.#ready.shift()!);
    if (this.#running.size > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Lets the chat go on, if this turn was the one that had it. */
  #release(entry: Entry): void {
    if (entry.key === undefined) return;
    const chat = this.#chats.get(entry.key);
    if (chat?.current !== entry) return;
    const next = chat.queue.shift();
    if (next === undefined) {
      this.#chats.delete(entry.key);
      return;
    }
    chat.current = next;
    this.#queued--;
    this.#ready.push(next);
  }

  /** One alarm for all: the turns that run are in the order in which they began, so the first is the first to expire. */
  #arm(at: Millis): void {
    this.#cancelAlarm = this.#runtime.wakeAt(at, () => {
      this.#cancelAlarm = undefined;
      const now = this.#runtime.now();
      for (const { turn, startedAt } of this.#running.keys()) {
        const expiresAt = startedAt + this.#options.turnMs;
        if (expiresAt > now) {
          this.#arm(expiresAt);
          return;
        }
        turn.abort("expired");
      }
    });
  }
}
