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
import type { CommandHandler, OpenSink, Sink, SinkConfig, SinkMessage, SinkOutcome } from "./sink.ts";
import type { Delivery, Entry } from "./store.ts";
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

  /** The deliveries that a new entry gives rise to, to be committed with it. */
  deliveriesFor(entry: Entry): Delivery[] {
    const now = this.#parts.clock.now();
    return this.#parts.configs.filter((config) => wants(config, entry)).map((sink) => newDelivery(sink, entry, now));
  }

  /** Publishes an entry. Never rejects. */
  async publish(id: string, entry: Entry): Promise<SinkOutcome> {
    const outlet = this.#outlets.get(id);
    if (outlet === undefined) return { type: "away", reason: "this sink is not configured any more" };
    let event: CloudEvent;
    try {
      event = await this.#parts.event(entry);
    } catch (error) {
      return { type: "away", reason: `the message could not be read: ${(error as Error).message}` };
    }
    return outlet.put({
      id: `${event.source}/${event.id}`,
      type: event.type,
      subject: event.subject,
      key: keyOf(entry),
      at: entry.at,
      traceparent: entry.traceparent,
      body: JSON.stringify(event),
    });
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
  return chat === undefined ? encodeURIComponent(bot) : `${encodeURIComponent(bot)}/${encodeURIComponent(chat.id)}`;
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
  #sink: Sink | undefined;
  #waiting: { readonly message: SinkMessage; readonly tell: (outcome: SinkOutcome) => void }[] = [];
  #busy = false;

  constructor(config: SinkConfig, parts: SinksParts) {
    this.#config = config;
    this.#parts = parts;
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
    this.#sink ??= this.#parts.open(this.#config);
    let said = "";
    this.#sink.listen?.(
      (command) => {
        said = "";
        return handle(command);
      },
      (why) => {
        if (why !== said) this.#parts.troubled?.(id, this.#cleaned(why));
        said = why;
      },
    );
  }

  async close(): Promise<void> {
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
      for (const [at, { tell }] of batch.entries())
        tell(this.#clean(outcomes[at] ?? { type: "away", reason: "the broker said nothing of it" }));
    }
    this.#busy = false;
  }

  async #publish(batch: readonly SinkMessage[]): Promise<readonly SinkOutcome[]> {
    const { clock, open, answerMs = 15_000 } = this.#parts;
    let cancel = (): void => undefined;
    const late = new Promise<SinkOutcome[]>((resolve) => {
      const reason = `the broker did not confirm within ${answerMs / 1000} s`;
      cancel = clock.wakeAt(clock.now() + answerMs, () => resolve(batch.map(() => ({ type: "away", reason }))));
    });
    try {
      this.#sink ??= open(this.#config);
      return await Promise.race([this.#sink.publish(batch), late]);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return batch.map(() => ({ type: "away", reason }));
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
