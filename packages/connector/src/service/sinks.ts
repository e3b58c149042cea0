/**
 * The queue sinks of a service: which entries each wants, what of them goes in one batch, and what an outcome says.
 *
 * A sink is another kind of endpoint behind delivery.ts, which keeps order, retries, circuits and dead letters: it asks for
 * one message of a chat at a time. What several chats ask at once becomes one batch here. Does not know a broker's protocol
 * (sinks/) or when something is tried again. Invariants: a message has exactly one outcome, within `answerMs`, whatever an
 * adapter does; no outcome repeats a user, a password or a URL.
 */
import type { Clock } from "./clock.ts";
import { type CloudEvent, msgTypeOf } from "./envelope.ts";
import {
  type CommandHandler,
  type OpenSink,
  type Sink,
  type SinkConfig,
  type SinkMessage,
  type SinkOutcome,
  wordsOf,
} from "./sink.ts";
import { type Delivery, type Entry, StoreError } from "./store.ts";
import { newDelivery } from "./webhooks.ts";

/** What sinks work with. */
export interface SinksParts {
  readonly configs: readonly SinkConfig[];
  readonly open: OpenSink;
  readonly clock: Clock;
  /** The entry as a CloudEvent. */
  readonly event: (entry: Entry) => Promise<CloudEvent>;
  /** Told why a sink takes no commands, once for each reason. */
  readonly troubled?: ((sink: string, why: string) => void) | undefined;
  /** How long a broker may take to confirm a batch; 15,000. */
  readonly answerMs?: number | undefined;
}

/** The messages of one batch, at most. */
const maxBatch = 256;

/** All sinks of a service. */
export class Sinks {
  readonly #parts: SinksParts;
  readonly #outlets: ReadonlyMap<string, Outlet>;
  #quiet = false;

  constructor(parts: SinksParts) {
    this.#parts = parts;
    this.#outlets = new Map(parts.configs.map((config) => [config.id, new Outlet(config, parts)]));
  }

  all(): readonly SinkConfig[] {
    return this.#parts.configs;
  }

  has(id: string): boolean {
    return this.#outlets.has(id);
  }

  /** Why a broker takes nothing, and why no commands come from it; as far as that is known. */
  troubleOf(id: string): { readonly trouble?: string; readonly commandsTrouble?: string } {
    return this.#outlets.get(id)?.trouble ?? {};
  }

  /** The deliveries that a new entry gives rise to, to be committed with it. */
  deliveriesFor(entry: Entry): Delivery[] {
    const now = this.#parts.clock.now();
    return this.#parts.configs.filter((config) => wants(config, entry)).map((sink) => newDelivery(sink, entry, now));
  }

  /** Publishes an entry. Never rejects. */
  async publish(id: string, entry: Entry): Promise<SinkOutcome> {
    const outlet = this.#outlets.get(id);
    if (outlet === undefined) return { type: "away", reason: "this sink is not configured any more" };
    let message: SinkMessage;
    try {
      message = messageOf(await this.#parts.event(entry), entry);
    } catch (error) {
      // A store may be back in a moment. What is wrong with the message itself stays, and must not wait for ever.
      const type = error instanceof StoreError ? "away" : "refused";
      return { type, reason: `the message could not be read: ${wordsOf(error)}` };
    }
    return outlet.put(message);
  }

  /** Takes commands from the sinks whose URLs name where they come from. */
  listen(handle: CommandHandler): void {
    for (const outlet of this.#outlets.values())
      outlet.listen(async (command) => (this.#quiet ? undefined : handle(command)));
  }

  /** Does no further command: the next process will. */
  quiet(): void {
    this.#quiet = true;
  }

  /** Lets go of all brokers; what has no outcome yet gets one. */
  async close(): Promise<void> {
    await Promise.all([...this.#outlets.values()].map((outlet) => outlet.close()));
  }
}

/** What decides the partition: the entries of a chat have one key. */
export function keyOf({ bot, chat }: Pick<Entry, "bot" | "chat">): string {
  const words = chat === undefined ? [bot] : [bot, chat.id];
  return words.map((word) => encodeURIComponent(word.toWellFormed())).join("/");
}

function messageOf(event: CloudEvent, entry: Entry): SinkMessage {
  return {
    id: `${event.source}/${event.id}`,
    type: event.type,
    subject: event.subject,
    key: keyOf(entry),
    at: entry.at,
    traceparent: entry.traceparent,
    body: JSON.stringify(event),
  };
}

function wants({ self, kinds, bots }: SinkConfig, entry: Entry): boolean {
  if (bots !== undefined && !bots.includes(entry.bot)) return false;
  if (entry.direction === "out" && !self) return false;
  if (kinds === undefined) return true;
  return (
    kinds.includes(entry.kind) ||
    (entry.event === true && kinds.includes("event")) ||
    (entry.direction === "bot" && kinds.includes("bot")) ||
    (entry.direction !== "bot" && kinds.includes(String(msgTypeOf(entry))))
  );
}

/** One sink: what waits for the batch under way goes in the next. */
class Outlet {
  readonly #config: SinkConfig;
  readonly #parts: SinksParts;
  readonly #over = Promise.withResolvers<undefined>();
  #sink: Sink | undefined;
  #waiting: { readonly message: SinkMessage; readonly tell: (outcome: SinkOutcome) => void }[] = [];
  #busy = false;
  #closed = false;
  #trouble: string | undefined;
  #commandsTrouble: string | undefined;

  constructor(config: SinkConfig, parts: SinksParts) {
    this.#config = config;
    this.#parts = parts;
  }

  get trouble(): { readonly trouble?: string; readonly commandsTrouble?: string } {
    return {
      ...(this.#trouble === undefined ? {} : { trouble: this.#trouble }),
      ...(this.#commandsTrouble === undefined ? {} : { commandsTrouble: this.#commandsTrouble }),
    };
  }

  put(message: SinkMessage): Promise<SinkOutcome> {
    return new Promise((tell) => {
      this.#waiting.push({ message, tell });
      void this.#pump();
    });
  }

  listen(handle: CommandHandler): void {
    const { id, commands } = this.#config;
    if (commands === undefined) return;
    const troubled = (words: string): void => {
      const why = this.#cleaned(words);
      if (why !== this.#commandsTrouble) this.#parts.troubled?.(id, why);
      this.#commandsTrouble = why;
    };
    try {
      this.#sink ??= this.#parts.open(this.#config);
      this.#sink.listen?.((command) => {
        this.#commandsTrouble = undefined;
        return handle(command);
      }, troubled);
    } catch (error) {
      troubled(wordsOf(error));
    }
  }

  /** Everything has its outcome at once, and nothing is sent from then on: whoever comes next has it in the store. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#over.resolve(undefined);
    await this.#sink?.close();
  }

  async #pump(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    // What other chats ask for in this turn goes along.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, maxBatch);
      const outcomes = await this.#publish(batch.map(({ message }) => message));
      for (const [at, { tell }] of batch.entries()) {
        const outcome = this.#clean(outcomes[at] ?? { type: "away", reason: "the broker said nothing of it" });
        this.#trouble = outcome.type === "away" ? outcome.reason : undefined;
        tell(outcome);
      }
    }
    this.#busy = false;
  }

  async #publish(batch: readonly SinkMessage[]): Promise<readonly SinkOutcome[]> {
    const { clock, open, answerMs = 15_000 } = this.#parts;
    const all = (reason: string): SinkOutcome[] => batch.map(() => ({ type: "away", reason }));
    const ended = "the service ended before the broker confirmed";
    if (this.#closed) return all(ended);
    let cancel = (): void => undefined;
    const late = new Promise<SinkOutcome[]>((resolve) => {
      const reason = `the broker did not confirm within ${answerMs / 1000} s`;
      cancel = clock.wakeAt(clock.now() + answerMs, () => resolve(all(reason)));
    });
    const over = this.#over.promise.then(() => all(ended));
    try {
      this.#sink ??= open(this.#config);
      return await Promise.race([this.#sink.publish(batch), late, over]);
    } catch (error) {
      return all(wordsOf(error));
    } finally {
      cancel();
    }
  }

  #clean(outcome: SinkOutcome): SinkOutcome {
    return outcome.type === "confirmed" ? outcome : { type: outcome.type, reason: this.#cleaned(outcome.reason) };
  }

  /** A client's words may hold what it was given. */
  #cleaned(words: string): string {
    let reason = words;
    for (const secret of [this.#config.password, this.#config.user]) {
      if (secret === undefined || secret.length < 3) continue;
      reason = reason.replaceAll(secret, "***").replaceAll(encodeURIComponent(secret), "***");
    }
    return reason.replaceAll(/\b([a-z]+:\/\/)[^\s@/]*@/gi, "$1***@").slice(0, 500);
  }
}
