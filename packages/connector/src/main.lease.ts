/**
 * One of several replicas that serve the same bots: it stands by until the lease is its own, then runs the service under
 * it, and ends that when the lease is lost.
 *
 * Decides the order of things at a take-over, at a loss and at a planned hand-over. What a lease is, lease/lease.ts decides.
 *
 * A planned hand-over loses nothing, since one of the two always has both the line and somewhere to put what comes over it:
 *
 *   the holder      brings to an end what is under way, and lets the lease go with its lines still there
 *   the successor   subscribes, which ends the holder's lines, and keeps in memory what comes
 *   the holder      stores the last of what came, and closes the store, which says so
 *   the successor   claims the store, takes up what is there, and stores what it kept
 *
 * Either may die at any point: the holder waits for the successor, and the successor for the holder, for seconds at most;
 * and from the claim on the holder is refused, whatever it still meant to write.
 *
 * Invariants: a service begins its lines only while the lease is held, and is ended as soon as it is not; a replica that
 * lost its lease stands by again, in the same process.
 */
import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import type { Logger } from "pino";
import { Keeper, type LeaseClock } from "./lease/keeper.ts";
import { Lease, type LeaseChange, type LeaseRecord, recordOf } from "./lease/lease.ts";
import { openLease } from "./lease/open.ts";
import type { LeaseView } from "./service/api/standby.ts";
import type { LineLease } from "./service/bots.ts";
import type { Service } from "./service/service.ts";
import type { FencedStore } from "./service/store.fenced.ts";
import { StoreError } from "./service/store.ts";

/** What answers requests. */
export interface Api {
  readonly fetch: (request: Request, env?: object) => Response | Promise<Response>;
}

/** What a replica is made of. */
export interface ReplicaParts {
  readonly address: string;
  readonly ttlMs: number;
  /** Where its API is reached; for those who asked another. */
  readonly url: () => string;
  readonly log: Logger;
  /** Makes the service; `takeOver` is to be called with its store when its lines are begun. */
  readonly make: (lease: LineLease, takeOver: (store: FencedStore) => Promise<void>) => Promise<Service>;
  readonly begin: (service: Service) => void;
  readonly ended: () => void;
  readonly apiOf: (service: Service, lease: LineLease) => Api["fetch"];
  readonly standby: (lease: () => LeaseView) => Api["fetch"];
}

/** A replica. */
export interface Replica extends Api {
  start(): void;
  /** Ends the service, when it runs here, and lets the lease go. */
  stop(drainMs: number): Promise<void>;
  /** Rejects when the lease was had and the service could not be begun; the lease is let go of by then. */
  readonly failed: Promise<never>;
}

/** How long the successor may take to its line, as far as the drain has as much time left. */
const successionMs = 4_500;
/** How long who was before may take from then on: that, and the last of what came to it. */
const farewellMs = successionMs + 500;
/** How often each looks whether the other is through. */
const lookMs = 20;
/** How long it is tried to let the lease go, where its place does not answer. */
const leaveMs = 2_000;

const leaseClock: LeaseClock = {
  now: () => performance.now(),
  epochMs: () => Date.now(),
  wakeAt: (at, wake) => {
    const timer = setTimeout(wake, Math.max(0, Math.ceil(at - performance.now())));
    if (typeof timer === "object") timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Opens the place of the lease, and makes a replica that does nothing until `start`. Rejects with `MistakeError`. */
export async function openReplica(parts: ReplicaParts): Promise<Replica> {
  const place = await openLease(parts.address);
  return new LeasedReplica(parts, place);
}

class LeasedReplica implements Replica {
  readonly failed: Promise<never>;
  readonly #parts: ReplicaParts;
  readonly #id = `${hostname()}:${process.pid}:${randomBytes(3).toString("hex")}`;
  readonly #place: Awaited<ReturnType<typeof openLease>>;
  readonly #standby: Api["fetch"];
  readonly #fail: (error: unknown) => void;
  #lease!: Lease;
  #keeper!: Keeper;
  #running: { readonly service: Service; readonly fetch: Api["fetch"] } | undefined;
  /** What is under way: services begin and end one after the other. */
  #work: Promise<void> = Promise.resolve();
  #trouble: string | undefined;
  #stopping = false;

  constructor(parts: ReplicaParts, place: Awaited<ReturnType<typeof openLease>>) {
    this.#parts = parts;
    this.#place = place;
    const failed = Promise.withResolvers<never>();
    this.failed = failed.promise;
    this.#fail = failed.reject;
    this.#standby = parts.standby(() => this.#view());
  }

  readonly fetch: Api["fetch"] = (request, env) => (this.#running?.fetch ?? this.#standby)(request, env);

  start(): void {
    const { ttlMs, url, log } = this.#parts;
    this.#lease = new Lease({ holder: this.#id, url: url(), ttlMs, changed: (change) => this.#changed(change) });
    this.#keeper = new Keeper({
      lease: this.#lease,
      place: this.#place,
      clock: leaseClock,
      askMs: ttlMs / 6,
      trouble: (why) => {
        this.#trouble = why;
        if (why === undefined) log.info("the lease can be read again");
        else log.warn(`the lease cannot be read or renewed: ${why}`);
      },
    });
    log.info({ replica: this.#id }, `this replica is ${this.#id}; it looks who holds the lease`);
    this.#keeper.start();
  }

  async stop(drainMs: number): Promise<void> {
    this.#stopping = true;
    await this.#work;
    const { log } = this.#parts;
    const running = this.#running;
    if (running !== undefined) {
      await running.service.stop(drainMs, () => this.#handOver(running.service));
      this.#running = undefined;
    }
    await this.#leave();
    log.info("the lease is let go of");
  }

  #changed(change: LeaseChange): void {
    const { log } = this.#parts;
    switch (change.type) {
      case "waiting":
        log.info(
          { holder: change.holder.holder, fence: change.holder.fence },
          `standing by: ${nameOf(change.holder)} holds the lease`,
        );
        return;
      case "held":
        log.info(
          { fence: change.fence, why: change.why },
          `this replica holds the lease: ${whyHeld[change.why](change.from)}`,
        );
        this.#next(() => this.#up(change));
        return;
      case "lost":
        if (change.why === "let-go") return;
        log.error(
          { fence: change.fence, why: change.why, to: change.to?.holder },
          change.why === "taken"
            ? `the lease was taken by ${nameOf(change.to)}: this replica leaves its lines and stands by`
            : "the lease could not be renewed in time: this replica leaves its lines before another may take them",
        );
        this.#next(() => this.#down());
    }
  }

  #next(work: () => Promise<void>): void {
    this.#work = this.#work.then(work).catch((error: unknown) => {
      this.#parts.log.error({ err: error }, "what follows from a change of the lease failed");
    });
  }

  /** Begins the service under a lease, unless that is lost by then. */
  async #up({ fence, why, from }: Extract<LeaseChange, { type: "held" }>): Promise<void> {
    const { make, begin, apiOf, ended, log } = this.#parts;
    const lease: LineLease = {
      holds: () => (this.#keeper.holds() === fence ? fence : undefined),
      why: `the replica ${this.#id} holds the lease: ${whyHeld[why](from)}`,
    };
    if (this.#stopping || lease.holds() === undefined) return;
    let service: Service | undefined;
    try {
      service = await make(lease, (store) => this.#takeOver(store, lease, why === "free" ? from?.fence : undefined));
      if (lease.holds() === undefined) throw lostMeanwhile();
      this.#running = { service, fetch: apiOf(service, lease) };
      begin(service);
    } catch (error) {
      this.#running = undefined;
      await service?.stop(0);
      ended();
      // The next one has the lease by then, and this one's store in peace.
      if (lease.holds() === undefined) {
        log.warn(`this replica did not begin to serve: ${error instanceof Error ? error.message : String(error)}`);
        return;
      }
      await this.#leave();
      this.#fail(error);
    }
  }

  /** Claims the store, when its holder of before, where that let the lease go, is through with it. */
  async #takeOver(store: FencedStore, lease: LineLease, before: number | undefined): Promise<void> {
    const from = performance.now();
    while (before !== undefined && (await store.isWrittenBy(before))) {
      if (performance.now() - from >= farewellMs) {
        this.#parts.log.warn(
          { fence: before },
          "the replica that let the lease go has not closed the store: whatever it still meant to write is refused",
        );
        break;
      }
      await pause(lookMs);
      if (lease.holds() === undefined) throw lostMeanwhile();
    }
    await store.claim();
  }

  /** Ends the service without a drain: another may be writing. */
  async #down(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    if (running === undefined) return;
    await running.service.stop(0);
    this.#parts.ended();
  }

  /** Lets the lease go, as far as its place can be told. */
  async #leave(): Promise<void> {
    await Promise.race([this.#keeper?.leave(), pause(leaveMs, undefined, { ref: false })]);
    await this.#place.close();
  }

  /**
   * Lets the lease go with the lines still there, and waits for who takes them, as long as somebody does: the gateway then
   * ends the lines itself, and between two subscribed replicas there is no time without any.
   */
  async #handOver(service: Service): Promise<void> {
    const { log } = this.#parts;
    const fence = this.#keeper.holds();
    const subscribed = (): boolean => service.bots().some(({ state }) => state.subscribed);
    const waits = subscribed();
    await this.#keeper.leave();
    if (fence === undefined || !waits) return;
    const from = performance.now();
    const pollsMs = Math.min(this.#parts.ttlMs / 15, 1_000) + 100;
    let taken = false;
    while (performance.now() - from < (taken ? successionMs : pollsMs) && subscribed()) {
      await pause(lookMs);
      taken ||= await this.#isTaken();
    }
    log.info(
      { fence },
      taken
        ? subscribed()
          ? "another replica holds the lease, and has not taken the lines yet: they are closed"
          : "another replica has taken the lines"
        : "no replica waits for the lease: the lines are closed",
    );
  }

  async #isTaken(): Promise<boolean> {
    const text = await this.#place.read().catch(() => undefined);
    const record = recordOf(text);
    return record !== undefined && record.holder !== this.#id;
  }

  #view(): LeaseView {
    const record = this.#lease?.record;
    const other = record === undefined || record.holder === this.#id || record.free === true ? undefined : record;
    const holder = other && { id: other.holder, url: other.url, fence: other.fence };
    if (this.#keeper?.holds() !== undefined || this.#stopping)
      return { state: "taking-over", reason: this.#stopping ? "this replica ends" : "this replica begins to serve" };
    if (this.#trouble !== undefined)
      return { state: "unknown", holder, reason: `the lease cannot be read: ${this.#trouble}` };
    if (other === undefined) return { state: "taking-over", reason: "no replica holds the lease yet" };
    return { state: "standing-by", holder, reason: `${nameOf(other)} holds the lines; ask it` };
  }
}

const whyHeld: Readonly<
  Record<Extract<LeaseChange, { type: "held" }>["why"], (from: LeaseRecord | undefined) => string>
> = {
  first: () => "nobody had it",
  free: (from) => `${nameOf(from)} let it go`,
  expired: (from) => `${nameOf(from)} did not renew it`,
  own: () => "it had not been able to renew it, and nobody came",
};

function nameOf(record: LeaseRecord | undefined): string {
  if (record === undefined) return "another replica";
  return record.url === undefined ? record.holder : `${record.holder} (${record.url})`;
}

function lostMeanwhile(): StoreError {
  return new StoreError("fenced", "the lease was lost before the lines were there");
}
