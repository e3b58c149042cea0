/**
 * Carries deliveries to webhooks and sinks: which one goes now, which waits, when one is tried again and when it is given up.
 *
 * Decides order, retries and circuits. Does not know who wants what (webhooks.ts), what a body says (envelope.ts), HTTP
 * (post.ts), brokers (sinks.ts) or bots. Invariants: one delivery of a lane is asked of a webhook at a time (endpoint.ts), and the next only
 * when the outcome of the one before is on its way to the store; the outcomes of a lane get there in their order, also when
 * the store refuses one; a delivery is over only when the store says so, so that a process that dies repeats and never
 * forgets; one webhook's trouble is no other's.
 */
import { OpenwsError } from "@openws/protocol";
import { Breaker, type BreakerOptions } from "./breaker.ts";
import type { Clock } from "./clock.ts";
import { Endpoint, type Job, type Progress, storeRetryMs } from "./endpoint.ts";
import { type Inline, type OutMessage, readInline } from "./inline.ts";
import type { Post, PostAnswer } from "./post.ts";
import type { SinkOutcome } from "./sink.ts";
import {
  type Attempt,
  type Backlog,
  type Change,
  type Delivery,
  type Entry,
  type EpochMs,
  type Seq,
  type Store,
  StoreError,
} from "./store.ts";
import { type Webhook, newDelivery } from "./webhooks.ts";

/** A bubble that an inline stream fills. */
export interface Bubble {
  append(text: string): Promise<void>;
  finish(text?: string): Promise<void>;
  fail(text: string): Promise<void>;
}

/** Where inline answers go. Each commits `also` together with what it accepts. */
export interface Replies {
  reply(to: Seq, message: OutMessage, also?: readonly Change[]): Promise<unknown>;
  stream(to: Seq, also?: readonly Change[]): Promise<Bubble>;
}

/** What is told of deliveries. */
export type DeliveryEvent =
  | { readonly type: "attempted"; readonly delivery: Delivery; readonly entry: Entry; readonly attempt: Attempt }
  | { readonly type: "dead"; readonly delivery: Delivery; readonly entry: Entry; readonly why: string }
  /** Nobody will take what waits for a webhook or sink that is not there any more. Told at the start. */
  | ({ readonly type: "unclaimed" } & Backlog)
  | { readonly type: "circuit"; readonly webhook: string; readonly state: "open" | "closed"; readonly why: string }
  | { readonly type: "store-refused"; readonly error: unknown };

/** What a dispatcher works with. */
export interface DispatcherParts {
  readonly store: Pick<Store, "backlogs" | "commit" | "deliveries" | "entries" | "entry">;
  readonly clock: Clock;
  readonly post: Post;
  readonly webhooks: {
    get(id: string): Webhook | undefined;
    all(): readonly Webhook[];
    onChanged(listener: (webhook: Webhook, removed: boolean) => void): void;
    disable(id: string, reason: string): Promise<void>;
  };
  /** The endpoints that are no webhooks but queues. */
  readonly sinks?:
    | {
        has(id: string): boolean;
        all(): readonly { readonly id: string }[];
        publish(id: string, entry: Entry): Promise<SinkOutcome>;
      }
    | undefined;
  /** Headers and body of a try. */
  readonly request: (
    webhook: Webhook,
    entry: Entry,
    delivery: Delivery,
  ) => Promise<{ headers: Readonly<Record<string, string>>; body: string }>;
  readonly replies: Replies;
  /** Whether webhooks made through the API may lead to private addresses. */
  readonly allowPrivate: boolean;
  readonly tell: (event: DeliveryEvent) => void;
  /** Requests to one webhook at once that it has not answered; 64. */
  readonly maxInFlight?: number | undefined;
  /** Deliveries in memory for one webhook; 2,000. The others wait in the store. */
  readonly maxHeld?: number | undefined;
  /** The waits before each further try; {@link retryDelaysMs}. */
  readonly retryDelaysMs?: readonly number[] | undefined;
  readonly breaker?: BreakerOptions | undefined;
  readonly probe?: ((point: "during-delivery") => void) | undefined;
}

/** The waits before each further try, for receivers that name none; the last one repeats. About five hours in all. */
export const retryDelaysMs: readonly number[] = [5, 15, 45, 120, 300, 600, 1_200, 2_400, 3_600, 7_200].map(
  (seconds) => seconds * 1000,
);

/** Messages of different chats that a sink is asked for at once: they become batches. */
const maxInSink = 512;
/** What a sink refuses for itself is tried again as often as a webhook's delivery. A broker that is away wears out nothing. */
const sinkRetryCount = 10;
/** The longest wait for a broker that is away. */
const maxAwayMs = 30_000;
/** A receiver that asks for more patience than this is not obeyed. */
const maxRetryAfterMs = 24 * 3_600_000;
/** The tries that a delivery remembers. */
const keptAttempts = 20;
/** A bubble whose source is silent for this long is ended. */
const streamIdleMs = 120_000;

const brokenOff = "（回答中断 · The answer broke off）";

/** All deliveries of a service. */
export class Dispatcher {
  readonly #parts: DispatcherParts;
  readonly #endpoints = new Map<string, Endpoint>();
  /** What is still to come of an entry that several webhooks get. */
  readonly #tallies = new Map<Seq, Tally>();
  /** By webhook and lane: the last of what the store refused, or what waits behind it, until it is stored. */
  readonly #unsaved = new Map<string, Promise<unknown>>();
  /** Something waited for a webhook or sink that was not there at the start, or is removed since. */
  #isUnclaimed = false;
  #callingOff: Promise<unknown> = Promise.resolve();
  #stopped = false;
  #idle: (() => void)[] = [];

  constructor(parts: DispatcherParts) {
    this.#parts = parts;
    parts.webhooks.onChanged((webhook, removed) => this.#changed(webhook, removed));
  }

  /** Takes up what the store holds from before. */
  async start(): Promise<void> {
    const { webhooks, sinks } = this.#parts;
    const all = [...webhooks.all(), ...(sinks?.all() ?? [])];
    for (const { gone, ...backlog } of await this.backlogs()) {
      if (!gone) continue;
      this.#isUnclaimed = true;
      this.#parts.tell({ type: "unclaimed", ...backlog });
    }
    await Promise.all(all.map(({ id }) => this.#endpoint(id).load()));
  }

  /** Takes what was just committed; deliveries of one entry come in one call. */
  wake(entry: Entry, deliveries: readonly Delivery[]): void {
    if (this.#stopped) return;
    if (deliveries.length > 1) this.#tallies.set(entry.seq, { left: deliveries.length, dead: false });
    for (const delivery of deliveries) this.#endpoint(delivery.webhook).offer({ delivery, entry });
  }

  /** Sends a dead or delivered delivery once more; resolves when that is stored. Undefined where its entry is gone. */
  async redrive(delivery: Delivery): Promise<Delivery | undefined> {
    const entry = await this.#parts.store.entry(delivery.seq);
    if (entry === undefined) return undefined;
    const now = this.#parts.clock.now();
    const again: Delivery = { ...delivery, state: "pending", tries: 0, nextAt: now, changedAt: now };
    await this.#parts.store.commit([{ update: "delivery", delivery: again }]);
    if (!this.#stopped) this.#endpoint(delivery.webhook).redrive({ delivery: again, entry });
    return again;
  }

  /** What waits for each webhook and sink. `gone`: it is not there any more, and nobody takes what waits. */
  async backlogs(): Promise<(Backlog & { readonly gone: boolean })[]> {
    const { store, webhooks, sinks } = this.#parts;
    const isThere = (id: string): boolean => webhooks.get(id) !== undefined || sinks?.has(id) === true;
    return (await store.backlogs()).map((each) => ({ ...each, gone: !isThere(each.webhook) }));
  }

  /** Calls off all that waits for a webhook or sink that is not there any more. Resolves with how much that was. */
  callOff(id: string): Promise<number> {
    const why = `${id} is not there any more, and what waited for it was called off`;
    const work = this.#callingOff.then(async () => {
      for (let count = 0; ;) {
        const { store } = this.#parts;
        const waiting = await store.deliveries({ webhook: id, states: ["pending"], limit: 500 });
        if (waiting.length === 0) return count;
        const changes: Change[] = [];
        for (const delivery of waiting) {
          const entry = await store.entry(delivery.seq);
          const ending = entry && (await this.#ending({ delivery, entry }, "cancelled", why));
          const lost: Change = { update: "delivery", delivery: { ...delivery, state: "cancelled" } };
          changes.push(...(ending?.changes ?? [lost]));
        }
        try {
          await store.commit(changes);
        } catch (error) {
          // They wait as before, and are counted anew.
          for (const { seq } of waiting) this.#tallies.delete(seq);
          throw error;
        }
        count += waiting.length;
      }
    });
    this.#callingOff = work.catch(() => undefined);
    return work;
  }

  /** One try of an entry that need not be stored, whatever the webhook wants, outside of every order. */
  async test(webhook: Webhook, entry: Entry): Promise<Attempt> {
    const now = this.#parts.clock.now();
    const delivery = newDelivery(webhook, entry, now);
    const tried = await this.#try(webhook, { delivery, entry });
    if (tried.type === "answered") tried.answer.discard();
    return tried.attempt;
  }

  /** What is known of a webhook's endpoint. */
  health(webhook: string): { circuit: Breaker["state"]; held: number; inFlight: number } {
    return this.#endpoints.get(webhook)?.health ?? { circuit: "closed", held: 0, inFlight: 0 };
  }

  /** Begins no further try, and resolves when those under way are over. What is left stays in the store. */
  async drain(): Promise<void> {
    this.#stopped = true;
    for (const endpoint of this.#endpoints.values()) endpoint.stop();
    if (!this.#busy) return;
    await new Promise<void>((resolve) => {
      this.#idle.push(resolve);
    });
  }

  get #busy(): boolean {
    return [...this.#endpoints.values()].some(({ health }) => health.inFlight > 0);
  }

  #endpoint(id: string): Endpoint {
    let endpoint = this.#endpoints.get(id);
    if (endpoint === undefined) {
      const { clock, store, sinks, maxHeld = 2_000, tell, breaker } = this.#parts;
      const { maxInFlight = sinks?.has(id) === true ? maxInSink : 64 } = this.#parts;
      endpoint = new Endpoint({
        clock,
        breaker: new Breaker(breaker),
        maxInFlight,
        maxHeld,
        page: async (after, limit) => {
          const deliveries = await store.deliveries({ webhook: id, states: ["pending"], after, limit });
          const near = await nearEntries(store, deliveries);
          const jobs: Job[] = [];
          for (const delivery of deliveries) {
            const entry = near.get(delivery.seq) ?? (await store.entry(delivery.seq));
            if (entry !== undefined) jobs.push({ delivery, entry });
          }
          return { jobs, full: deliveries.length === limit };
        },
        attempt: (job, breaker, progress) => this.#attempt(id, job, breaker, progress),
        refused: (error) => tell({ type: "store-refused", error }),
        over: () => {
          if (this.#busy) return;
          for (const resolve of this.#idle.splice(0)) resolve();
        },
      });
      this.#endpoints.set(id, endpoint);
    }
    return endpoint;
  }

  #changed(webhook: Webhook, removed: boolean): void {
    if (removed) {
      this.#isUnclaimed = true;
      this.#endpoints.get(webhook.id)?.stop();
      this.#endpoints.delete(webhook.id);
    } else if (webhook.enabled && !this.#stopped) {
      void this.#endpoint(webhook.id).load();
    }
  }

  /**
   * Tries a job once and stores what came of it. Resolves with the delivery as it stands then; says its progress, which is
   * ahead of the disk.
   */
  async #attempt(id: string, job: Job, breaker: Breaker, progress: Progress): Promise<Delivery> {
    if (this.#parts.sinks?.has(id) === true) return this.#published(id, job, breaker, progress);
    const webhook = this.#parts.webhooks.get(id);
    if (webhook === undefined || !webhook.enabled)
      return this.#over(job, progress, "dead", webhook?.disabledReason ?? "the webhook was switched off or removed");
    const tried = await this.#try(webhook, job);
    const { attempt } = tried;
    const delivery = withAttempt(job.delivery, attempt);
    this.#parts.tell({ type: "attempted", delivery, entry: job.entry, attempt });
    this.#judge(id, breaker, tried);
    const current = { ...job, delivery };
    if (tried.type === "answered") return this.#answered(current, tried.answer, progress);
    progress.answered();
    if (attempt.status === 410) {
      const why = "the receiver answered 410: it wants no more deliveries";
      await this.#store(delivery, () => this.#parts.webhooks.disable(id, why));
      return this.#over(current, progress, "dead", why);
    }
    return this.#failed(webhook, current, progress, attempt.error ?? "it failed", tried.retryAfterMs);
  }

  /** The same for a sink. What a broker that is away did not take waits for it, however long that is. */
  async #published(id: string, job: Job, breaker: Breaker, progress: Progress): Promise<Delivery> {
    const { clock, sinks, tell, probe } = this.#parts;
    const at = clock.now();
    const began = performance.now();
    probe?.("during-delivery");
    const outcome = await sinks!.publish(id, job.entry);
    const ms = Math.round(performance.now() - began);
    const error = outcome.type === "confirmed" ? undefined : outcome.reason;
    const attempt: Attempt = { at, ms, ...(error === undefined ? {} : { error }) };
    const delivery = withAttempt(job.delivery, attempt);
    tell({ type: "attempted", delivery, entry: job.entry, attempt });
    this.#tellCircuit(id, breaker, error, () =>
      outcome.type === "away" ? breaker.failed(clock.now(), clock.random()) : breaker.succeeded(),
    );
    progress.answered();
    const current = { ...job, delivery };
    switch (outcome.type) {
      case "confirmed":
        return this.#over(current, progress, "delivered");
      case "refused":
        return this.#failed({ retryCount: sinkRetryCount }, current, progress, outcome.reason, undefined);
      case "away":
        return this.#failed({ retryCount: Infinity, maxMs: maxAwayMs }, current, progress, outcome.reason, undefined);
    }
  }

  /** Sends a job and looks at the head of the response. Never rejects. */
  async #try(webhook: Webhook, { delivery, entry }: Job): Promise<Tried> {
    const { clock, post, request, allowPrivate, probe } = this.#parts;
    const at = clock.now();
    const began = performance.now();
    const took = (): number => Math.round(performance.now() - began);
    try {
      const { headers, body } = await request(webhook, entry, delivery);
      probe?.("during-delivery");
      const answer = await post({
        url: webhook.url,
        headers: { ...webhook.headers, ...headers },
        body,
        timeoutMs: webhook.timeoutMs,
        allowPrivate: allowPrivate || webhook.source === "config",
      });
      const { status } = answer;
      if (status >= 200 && status < 300) return { type: "answered", answer, attempt: { at, ms: took(), status } };
      answer.discard();
      const error =
        status >= 300 && status < 400
          ? `the receiver redirected (${status}), and redirects are not followed: change the webhook's URL`
          : `the receiver answered ${status}`;
      const retryAfterMs = retryAfterOf(answer.header("retry-after"), clock.now());
      return { type: "failed", attempt: { at, ms: took(), status, error }, retryAfterMs };
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      return { type: "failed", attempt: { at, ms: took(), error: why }, retryAfterMs: undefined };
    }
  }

  /** A 4xx is about the message, or the receiver's mind; all else, and "too many", is about the endpoint. */
  #judge(webhook: string, breaker: Breaker, { type, attempt: { status, error } }: Tried): void {
    const blamed = status === undefined || status >= 500 || status === 408 || status === 425 || status === 429;
    this.#tellCircuit(webhook, breaker, error, () => {
      if (type === "failed" && blamed) breaker.failed(this.#parts.clock.now(), this.#parts.clock.random());
      else breaker.succeeded();
    });
  }

  /** Lets a circuit hear of a try, and tells when that moved it. */
  #tellCircuit(webhook: string, breaker: Breaker, error: string | undefined, hear: () => void): void {
    const before = breaker.state;
    hear();
    const { state } = breaker;
    if (state === "open" && before === "closed")
      this.#parts.tell({ type: "circuit", webhook, state, why: error ?? "it keeps failing" });
    else if (state === "closed" && before !== "closed")
      this.#parts.tell({ type: "circuit", webhook, state, why: "it answers again" });
  }

  async #answered(job: Job, answer: PostAnswer, progress: Progress): Promise<Delivery> {
    const said = await readInline(answer);
    // A stream goes on speaking.
    if (said.type !== "stream") progress.answered();
    switch (said.type) {
      case "nothing":
        return this.#over(job, progress, "delivered");
      case "unreadable":
        return this.#over({ ...job, delivery: withNote(job.delivery, said.why) }, progress, "delivered");
      case "reply": {
        const ending = await this.#ending(job, "delivered");
        try {
          // With the answer accepted the delivery is over, or neither is.
          await this.#store(job.delivery, () => this.#parts.replies.reply(job.entry.seq, said.message, ending.changes));
          return ending.delivery;
        } catch (error) {
          if (mayBeTriedAgain(error)) throw error;
          return this.#settle(noted(ending, `its answer was not taken: ${(error as Error).message}`), progress);
        }
      }
      case "stream":
        return this.#streamed(job, said, answer, progress);
    }
  }

  /** From the first delta on the user reads it: whatever happens then, the delivery was taken and is not tried again. */
  async #streamed(
    job: Job,
    { deltas }: Extract<Inline, { type: "stream" }>,
    answer: PostAnswer,
    progress: Progress,
  ): Promise<Delivery> {
    const source = deltas[Symbol.asyncIterator]();
    let bubble: Bubble | undefined;
    let ended: Delivery | undefined;
    try {
      for (;;) {
        const next = await this.#within(streamIdleMs, source.next());
        if (next.done === true) break;
        if (next.value === "") continue;
        if (bubble === undefined) {
          const ending = await this.#ending(job, "delivered");
          try {
            bubble = await this.#store(job.delivery, () => this.#parts.replies.stream(job.entry.seq, ending.changes));
          } catch (error) {
            if (mayBeTriedAgain(error)) throw error;
            answer.discard();
            const why = `its answer was not taken: ${(error as Error).message}`;
            return await this.#settle(noted(ending, why), progress);
          }
          ended = ending.delivery;
        }
        await bubble.append(next.value);
      }
    } catch (error) {
      answer.discard();
      const why = `its answer broke off: ${error instanceof Error ? error.message : String(error)}`;
      if (bubble === undefined || ended === undefined) {
        const webhook = this.#parts.webhooks.get(job.delivery.webhook);
        const noted = withNote(job.delivery, why);
        return webhook === undefined
          ? this.#over({ ...job, delivery: noted }, progress, "dead", why)
          : this.#failed(webhook, { ...job, delivery: noted }, progress, why, undefined);
      }
      const broken = bubble;
      await this.#close(ended, () => broken.fail(brokenOff));
      return withNote(ended, why);
    }
    if (bubble === undefined || ended === undefined) return this.#over(job, progress, "delivered");
    const whole = bubble;
    await this.#close(ended, () => whole.finish());
    return ended;
  }

  /** Ends a bubble. Its delivery is stored as taken: whatever becomes of this, it is not made again. */
  async #close(delivery: Delivery, end: () => Promise<void>): Promise<void> {
    try {
      await this.#store(delivery, end);
    } catch (error) {
      this.#parts.tell({ type: "store-refused", error });
    }
  }

  async #failed(
    { retryCount, maxMs = Infinity }: Pick<Webhook, "retryCount"> & { readonly maxMs?: number },
    job: Job,
    progress: Progress,
    why: string,
    retryAfterMs: number | undefined,
  ): Promise<Delivery> {
    const { delivery } = job;
    if (delivery.tries > retryCount) return this.#over(job, progress, "dead", why);
    const { clock, store, retryDelaysMs: delays = retryDelaysMs } = this.#parts;
    const delayMs = Math.min(delays[Math.min(delivery.tries, delays.length) - 1] ?? 0, maxMs);
    const waitMs = Math.max(delayMs * (1 + 0.2 * clock.random()), Math.min(retryAfterMs ?? 0, maxRetryAfterMs));
    const now = clock.now();
    const waiting: Delivery = { ...delivery, nextAt: now + Math.round(waitMs), changedAt: now };
    await this.#store(delivery, () => store.commit([{ update: "delivery", delivery: waiting }]));
    return waiting;
  }

  async #over(job: Job, progress: Progress, state: "delivered" | "dead", why?: string): Promise<Delivery> {
    const ending = await this.#ending(job, state, why);
    const delivery = await this.#settle(ending, progress);
    if (state === "dead") this.#parts.tell({ type: "dead", delivery, entry: job.entry, why: why ?? "it was given up" });
    return delivery;
  }

  async #settle({ delivery, changes }: Ending, progress: Progress): Promise<Delivery> {
    const stored = this.#store(delivery, () => this.#parts.store.commit(changes));
    // Commits are in order, so the next need not wait for the disk; save where the disk gives no outcome back, or a process
    // that dies then would have all of them delivered again.
    if (this.#unsaved.size === 0) progress.decided();
    await stored;
    return delivery;
  }

  /** The changes that end a delivery, and its entry where this was the last one it waited for. */
  async #ending({ delivery, entry }: Job, state: "delivered" | "dead" | "cancelled", why?: string): Promise<Ending> {
    const now = this.#parts.clock.now();
    const ended: Delivery = { ...delivery, state, changedAt: now };
    const changes: Change[] = [{ update: "delivery", delivery: ended }];
    const tally = await this.#tally(delivery);
    tally.left--;
    tally.dead ||= state !== "delivered";
    if (tally.left <= 0) {
      this.#tallies.delete(entry.seq);
      // What goes out or happens to a bot has a state of its own.
      if (entry.direction === "in")
        changes.push({
          update: "state",
          seq: entry.seq,
          state: tally.dead ? "dead" : "delivered",
          reason: tally.dead ? (why ?? "a webhook did not take it") : undefined,
          changedAt: now,
        });
    }
    return { delivery: ended, changes };
  }

  async #tally(delivery: Delivery): Promise<Tally> {
    const { id, seq } = delivery;
    const known = this.#tallies.get(seq);
    if (known !== undefined) return known;
    const { webhooks, sinks } = this.#parts;
    const alone = webhooks.all().length + (sinks?.all().length ?? 0) < 2;
    if (alone && !this.#isUnclaimed) return { left: 1, dead: false };
    const all = await this.#store(delivery, () => this.#parts.store.deliveries({ seq, limit: 1_000 }));
    const others = all.filter((other) => other.id !== id);
    // Somebody may have looked meanwhile, and counted down already.
    const meanwhile = this.#tallies.get(seq);
    if (meanwhile !== undefined) return meanwhile;
    const tally = {
      left: 1 + others.filter(({ state }) => state === "pending").length,
      dead: others.some(({ state }) => state === "dead" || state === "cancelled"),
    };
    if (tally.left > 1) this.#tallies.set(seq, tally);
    return tally;
  }

  /**
   * Asks the store for something on behalf of a delivery. One that refuses has not stored it: the lane waits, and asks again
   * until it does or the process ends. What comes later in the lane is asked behind that, so the order of outcomes stays; a
   * store refuses also what was called before its refusal was known.
   */
  async #store<Result>({ webhook, lane }: Delivery, ask: () => Promise<Result>): Promise<Result> {
    const name = `${webhook} ${lane}`;
    let rest: Promise<void> | undefined;
    if (!this.#unsaved.has(name))
      try {
        return await ask();
      } catch (error) {
        rest = this.#rest(error);
      }
    const saved = this.#askAgain(Promise.all([this.#unsaved.get(name), rest]), ask);
    this.#unsaved.set(name, saved);
    try {
      return await saved;
    } finally {
      if (this.#unsaved.get(name) === saved) this.#unsaved.delete(name);
    }
  }

  async #askAgain<Result>(first: Promise<unknown>, ask: () => Promise<Result>): Promise<Result> {
    for (let wait = first; ;) {
      await wait;
      try {
        return await ask();
      } catch (error) {
        wait = this.#rest(error);
      }
    }
  }

  /** How long to wait before the store is asked again. Throws what no waiting helps against, and everything at the end. */
  #rest(error: unknown): Promise<void> {
    if (this.#stopped || !mayBeTriedAgain(error)) throw error;
    this.#parts.tell({ type: "store-refused", error });
    const { clock } = this.#parts;
    return new Promise((resolve) => {
      clock.wakeAt(clock.now() + storeRetryMs, resolve);
    });
  }

  async #within<Value>(ms: number, promise: Promise<Value>): Promise<Value> {
    const { clock } = this.#parts;
    let cancel = (): void => undefined;
    const late = new Promise<never>((_, reject) => {
      cancel = clock.wakeAt(clock.now() + ms, () => reject(new Error(`nothing came for ${ms / 1000} s`)));
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      cancel();
    }
  }
}

/** Most of the entries of a page of deliveries, in one question: each alone would wait for a sync of its own. */
async function nearEntries(store: Pick<Store, "entries">, deliveries: readonly Delivery[]): Promise<Map<Seq, Entry>> {
  const [first, last] = [deliveries[0], deliveries.at(-1)];
  if (first === undefined || last === undefined) return new Map();
  const entries = await store.entries({ after: first.seq - 1, before: last.seq + 1, limit: 1_000 });
  return new Map(entries.map((entry) => [entry.seq, entry]));
}

/** What is stored of a delivery that is over. */
interface Ending {
  readonly delivery: Delivery;
  readonly changes: readonly Change[];
}

interface Tally {
  left: number;
  dead: boolean;
}

type Tried =
  | { readonly type: "answered"; readonly answer: PostAnswer; readonly attempt: Attempt }
  | { readonly type: "failed"; readonly attempt: Attempt; readonly retryAfterMs: number | undefined };

function withAttempt(delivery: Delivery, attempt: Attempt): Delivery {
  const attempts = [...delivery.attempts, attempt].slice(-keptAttempts);
  return { ...delivery, tries: delivery.tries + 1, attempts };
}

/** An ending whose last attempt says a sentence more. */
function noted({ delivery, changes }: Ending, error: string): Ending {
  const told = withNote(delivery, error);
  const rest = changes.filter((change) => !("delivery" in change));
  return { delivery: told, changes: [{ update: "delivery", delivery: told }, ...rest] };
}

/**
 * Whether it is the store's state, or the outbox's, that refused. All else that is refused is refused for what it is, such as
 * an answer to what nobody said, and would be for ever.
 */
function mayBeTriedAgain(error: unknown): boolean {
  return (
    !(error instanceof OpenwsError) ||
    (error instanceof StoreError && error.trouble !== "fenced") ||
    error.code === "outbox-busy"
  );
}

/** Adds a sentence to the last attempt. */
function withNote(delivery: Delivery, error: string): Delivery {
  const last = delivery.attempts.at(-1);
  return last === undefined
    ? delivery
    : { ...delivery, attempts: [...delivery.attempts.slice(0, -1), { ...last, error }] };
}

/** Seconds, or an HTTP date. */
function retryAfterOf(header: string | undefined, now: EpochMs): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header) * 1000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}
