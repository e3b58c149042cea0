/**
 * What waits for one webhook, and whose turn it is: lanes of deliveries that go one after the other, beside each other as
 * many as the receiver is asked at once.
 *
 * Decides order, what is in memory and when the store is read for more. Does not know what a try is, what becomes of it
 * (delivery.ts), or when an endpoint is left alone (breaker.ts). Invariants: a job of a lane begins when the outcome of the
 * one before it is on its way to the store, behind which no later one can get there; memory is bounded, and what does not
 * fit stays in the store until its turn comes; a job is in memory until its outcome is stored or the endpoint stops,
 * whatever goes wrong with a try.
 */
import type { Breaker } from "./breaker.ts";
import type { Clock } from "./clock.ts";
import type { Delivery, Entry, Seq } from "./store.ts";

/** A delivery and what it delivers. */
export interface Job {
  readonly delivery: Delivery;
  readonly entry: Entry;
}

/** How far a job is, before all of it is over. Each may be called once or not at all. */
export interface Progress {
  /** The receiver is done with it: another may be asked of it. */
  answered(): void;
  /** It will not be tried again, and the commit that says so was called: the next of its lane may begin. */
  decided(): void;
}

/** How soon a store that refused is asked again. */
export const storeRetryMs = 1_000;

/** What an endpoint works with. */
export interface EndpointParts {
  readonly clock: Clock;
  readonly breaker: Breaker;
  readonly maxInFlight: number;
  readonly maxHeld: number;
  readonly page: (after: Seq | undefined, limit: number) => Promise<{ jobs: Job[]; full: boolean }>;
  /** Tries a job once, and resolves with the delivery as it stands in the store then. */
  readonly attempt: (job: Job, breaker: Breaker, progress: Progress) => Promise<Delivery>;
  readonly refused: (error: unknown) => void;
  /** A turn is over, and counted as such. */
  readonly over: () => void;
}

/** What goes one after the other: the deliveries of one chat. The head is under way, may go, or waits for its instant. */
interface Lane {
  readonly queue: Job[];
  state: "ready" | "under-way" | "waiting";
  cancel: () => void;
}

/** The lanes to one webhook. */
export class Endpoint {
  readonly #parts: EndpointParts;
  readonly #breaker: Breaker;
  readonly #lanes = new Map<string, Lane>();
  readonly #ready: string[] = [];
  /** Ids of what is in memory: what the store is asked for may be here already. */
  readonly #held = new Set<string>();
  /** What is to go once more when the turn that it still has is over. */
  readonly #again = new Map<string, Job>();
  /** Requests that the receiver has not answered yet. */
  #inFlight = 0;
  /** Jobs that were begun and whose outcome is not stored yet. */
  #underWay = 0;
  /** The greatest number that is, or was, in memory. */
  #through: Seq | undefined;
  /** There is more in the store than in memory. */
  #behind = false;
  /** Something was left to the store since it was read last. */
  #missed = false;
  #loading = false;
  #stopped = false;
  #cancelRest = noop;

  constructor(parts: EndpointParts) {
    this.#parts = parts;
    this.#breaker = parts.breaker;
  }

  get health(): { circuit: Breaker["state"]; held: number; inFlight: number } {
    return { circuit: this.#breaker.state, held: this.#held.size, inFlight: this.#underWay };
  }

  /** Takes a new job, or leaves it to the store where memory is full. */
  offer(job: Job): void {
    if (this.#behind || this.#held.size >= this.#parts.maxHeld) {
      this.#behind = true;
      this.#missed = true;
      return;
    }
    this.#through = job.delivery.seq;
    this.#take(job);
  }

  /** Takes a job that was over once already, whatever its number; behind its own answer, where that is still coming in. */
  redrive(job: Job): void {
    if (this.#held.has(job.delivery.id)) this.#again.set(job.delivery.id, job);
    else this.#take(job);
  }

  #take(job: Job): void {
    const { id, lane: name } = job.delivery;
    if (this.#stopped || this.#held.has(id)) return;
    this.#held.add(id);
    const lane = this.#lanes.get(name);
    if (lane === undefined) {
      this.#lanes.set(name, { queue: [job], state: "ready", cancel: noop });
      this.#await(name);
    } else lane.queue.push(job);
    this.#pump();
  }

  /** Reads what the store holds beyond what is in memory. */
  async load(): Promise<void> {
    if (this.#loading || this.#stopped) return;
    this.#loading = true;
    // What is offered while the store is read is left to it, so that the order stays.
    this.#behind = true;
    try {
      while (!this.#stopped && this.#held.size < this.#parts.maxHeld) {
        this.#missed = false;
        const limit = Math.min(this.#parts.maxHeld - this.#held.size, 500);
        const { jobs, full } = await this.#parts.page(this.#through, limit);
        for (const job of jobs) {
          this.#through = Math.max(this.#through ?? 0, job.delivery.seq);
          this.#take(job);
        }
        if (!full && !this.#missed) {
          this.#behind = false;
          break;
        }
      }
    } catch (error) {
      this.#parts.refused(error);
      this.#parts.clock.wakeAt(this.#parts.clock.now() + storeRetryMs, () => void this.load());
    } finally {
      this.#loading = false;
    }
    this.#pump();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelRest();
    for (const lane of this.#lanes.values()) lane.cancel();
    this.#ready.length = 0;
  }

  #pump(): void {
    while (!this.#stopped && this.#ready.length > 0 && this.#inFlight < this.#parts.maxInFlight) {
      if (!this.#breaker.admit(this.#parts.clock.now())) {
        this.#rest();
        return;
      }
      const name = this.#ready.shift()!;
      void this.#run(name, this.#lanes.get(name)!);
    }
    if (this.#behind && this.#held.size <= this.#parts.maxHeld / 2) void this.load();
  }

  /** The circuit is open: the next try is let through when its rest is over. */
  #rest(): void {
    const { until } = this.#breaker;
    if (until === undefined) return;
    this.#cancelRest();
    this.#cancelRest = this.#parts.clock.wakeAt(until, () => this.#pump());
  }

  async #run(name: string, lane: Lane): Promise<void> {
    lane.state = "under-way";
    this.#underWay++;
    this.#inFlight++;
    const job = lane.queue[0]!;
    const progress = new Once(
      () => {
        this.#inFlight--;
        this.#pump();
      },
      () => {
        lane.queue.shift();
        this.#goOn(name, lane);
      },
    );
    let delivery: Delivery | undefined;
    try {
      delivery = await this.#parts.attempt(job, this.#breaker, progress);
    } catch (error) {
      this.#parts.refused(error);
      // At the end the job stays what it is in the store. Before it, nobody would read it there again: it keeps its place.
      if (!this.#stopped) delivery = { ...job.delivery, nextAt: this.#parts.clock.now() + storeRetryMs };
    }
    this.#underWay--;
    if (delivery?.state === "pending" && !progress.isDecided) {
      lane.queue[0] = { ...job, delivery };
      this.#goOn(name, lane);
    } else {
      const { id } = job.delivery;
      const again = delivery?.state === "pending" ? { ...job, delivery } : this.#again.get(id);
      this.#held.delete(id);
      this.#again.delete(id);
      progress.decided();
      if (again !== undefined) this.#take(again);
    }
    progress.answered();
    this.#pump();
    this.#parts.over();
  }

  #goOn(name: string, lane: Lane): void {
    if (lane.queue.length === 0) this.#lanes.delete(name);
    else this.#await(name);
    this.#pump();
  }

  /** The lane's head goes when its instant has come. */
  #await(name: string): void {
    const lane = this.#lanes.get(name)!;
    const { nextAt } = lane.queue[0]!.delivery;
    const { clock } = this.#parts;
    if (nextAt <= clock.now()) {
      lane.state = "ready";
      this.#ready.push(name);
      return;
    }
    lane.state = "waiting";
    lane.cancel = clock.wakeAt(nextAt, () => {
      if (this.#stopped || lane.state !== "waiting") return;
      this.#await(name);
      this.#pump();
    });
  }
}

/** Progress that is told once, however often it is said. */
class Once implements Progress {
  #answered: () => void;
  #decided: () => void;

  constructor(answered: () => void, decided: () => void) {
    this.#answered = answered;
    this.#decided = decided;
  }

  get isDecided(): boolean {
    return this.#decided === noop;
  }

  answered(): void {
    const tell = this.#answered;
    this.#answered = noop;
    tell();
  }

  decided(): void {
    const tell = this.#decided;
    this.#decided = noop;
    tell();
  }
}

const noop = (): void => undefined;
