/**
 * Which ack answers which frame.
 *
 * An ack carries a req_id and nothing else, and all frames of one reply share the callback's req_id. So a req_id is a
 * *lane*: one frame of it awaits its ack at a time, the rest queue behind. A frame whose ack did not come in time is
 * *unknown*, not failed, and its ack stays *owed*: the next acks on that lane are taken for the owed ones first, so that
 * a late ack can never confirm a later frame. The price is that a lane which lost an ack for good can only time out from
 * then on; the alternative is to call something delivered that was refused. An ack that the gateway repeats cannot be told
 * from the next one of its lane.
 *
 * Decides correlation and ack deadlines. Does not know sockets, subscriptions, or what a frame means.
 *
 * Invariants: correlation by the exact req_id, never by a prefix; every submitted request settles exactly once; what has
 * settled is never sent (again); memory is bounded by the open requests and `maxOwedLanes`.
 */
import type { Millis } from "./backoff.ts";
import { UsageError } from "./errors.ts";
import { FleetingMap } from "./fleeting.ts";
import type { EncodedFrame } from "./frames.ts";

/** Names one request from submission to settlement; the caller's choice, unique among its open requests. */
export type RequestKey = string | number;

/** A frame to send once its lane is free, and how long to wait for its ack from then on. */
export interface Request {
  readonly key: RequestKey;
  readonly frame: EncodedFrame;
  readonly ackMs: Millis;
}

/**
 * How a request ended. `maybeDelivered` is the question that decides whether something may be sent a second time:
 * - `acked`: errcode 0; `body` is the ack's (an upload_id, a media_id), if any
 * - `refused`: another errcode; the gateway did not take the frame
 * - `timed-out`: sent, no ack in time: unknown
 * - `connection-lost`: the socket went; sent before (`maybeDelivered`) or still queued
 * - `not-ready`: refused here at once, nothing was sent
 * - `stopped`: the connection was stopped, or the request abandoned by its owner
 */
export type Outcome =
  | { readonly type: "acked"; readonly body?: unknown }
  | { readonly type: "refused"; readonly errcode: number; readonly errmsg: string }
  | { readonly type: "timed-out"; readonly maybeDelivered: true }
  | { readonly type: "connection-lost"; readonly maybeDelivered: boolean }
  | { readonly type: "not-ready" }
  | { readonly type: "stopped"; readonly maybeDelivered: boolean };

/** What the owner of the lanes must do, in order. */
export type RequestEffect =
  | { readonly type: "send"; readonly cmd: EncodedFrame["cmd"]; readonly text: string }
  | {
      readonly type: "settle";
      readonly key: RequestKey;
      readonly outcome: Outcome;
      /** What was acknowledged, and how long after it left; of `acked` and `refused` alone. */
      readonly cmd?: EncodedFrame["cmd"];
      readonly afterMs?: Millis;
    }
  /** An ack that settles nothing: owed by a frame that had timed out (`late`), or asked for by nobody (`unknown`). */
  | { readonly type: "stray"; readonly req_id: string; readonly why: "late" | "unknown"; readonly errcode: number };

/** Lanes that are remembered only because an ack is owed on them; beyond this many the oldest is forgotten. */
export const maxOwedLanes = 1_000;

interface Flying {
  readonly key: RequestKey;
  readonly cmd: EncodedFrame["cmd"];
  readonly sentAt: Millis;
  readonly ackAt: Millis;
  abandoned: boolean;
}

interface Lane {
  /**
   * The frame that awaits its ack. One that was abandoned has settled, and holds its lane all the same: acks may overtake
   * each other, and a refusal of the next frame must not be taken for its late ack.
   */
  flying: Flying | undefined;
  queue: Request[];
  /** Acks that may still come for frames that were given up. */
  owed: number;
}

/** The lanes of one socket at a time. No ack crosses sockets: `end` forgets everything and leaves it ready for the next. */
export class Requests {
  readonly #lanes = new FleetingMap<string, Lane>();
  readonly #open = new FleetingMap<RequestKey, string>();
  /** Lanes with nothing but owed acks, oldest first. */
  readonly #owing = new Set<string>();
  /** Not later than the earliest ack deadline: exact after `tick`, an early (harmless) one after an ack. */
  #wakeAt: Millis = Infinity;

  /** How many requests have not settled. */
  get size(): number {
    return this.#open.size;
  }

  /** How many req_ids are remembered, for an open request or an ack that is owed: what this object holds in memory. */
  get lanes(): number {
    return this.#lanes.size;
  }

  /** When `tick` should be called at the latest; undefined while nothing awaits an ack. */
  get deadline(): Millis | undefined {
    return this.#open.size === 0 ? undefined : this.#wakeAt;
  }

  /** Throws the `UsageError` that `submit` would: the key is in use, or `ackMs` is not a time to wait. */
  check({ key, ackMs }: Pick<Request, "key" | "ackMs">): void {
    if (this.#open.has(key))
      throw new UsageError(`request key ${String(key)} is open already; choose one that is unique`);
    if (!(ackMs >= 1 && ackMs < Infinity))
      throw new UsageError("ackMs must be a finite number of milliseconds from 1", { path: "ackMs" });
  }

  /** Takes a request in: sent now if its lane is free, else behind the others. Throws `UsageError`, see `check`. */
  submit(now: Millis, request: Request): readonly RequestEffect[] {
    this.check(request);
    const { req_id } = request.frame;
    const lane = this.#lane(req_id);
    this.#open.set(request.key, req_id);
    if (lane.flying !== undefined) {
      lane.queue.push(request);
      return [];
    }
    return [this.#launch(now, lane, request)];
  }

  /** An ack came. With `then: "end"` nothing is sent after it, because the socket is about to go: call `end`. */
  acknowledge(
    now: Millis,
    ack: { readonly req_id: string; readonly errcode: number; readonly errmsg: string; readonly body: unknown },
    then?: "end",
  ): readonly RequestEffect[] {
    const { req_id, errcode, errmsg, body } = ack;
    const lane = this.#lanes.get(req_id);
    if (lane === undefined) return [{ type: "stray", req_id, why: "unknown", errcode }];
    if (lane.owed > 0) {
      lane.owed--;
      this.#tidy(req_id, lane);
      return [{ type: "stray", req_id, why: "late", errcode }];
    }
    // A lane without owed acks exists only while a frame of it is in flight.
    const { key, cmd, sentAt, abandoned } = lane.flying!;
    lane.flying = undefined;
    const outcome: Outcome =
      errcode !== 0
        ? { type: "refused", errcode, errmsg }
        : body === undefined
          ? { type: "acked" }
          : { type: "acked", body };
    const effects: RequestEffect[] = [];
    if (abandoned) {
      effects.push({ type: "stray", req_id, why: "late", errcode });
    } else {
      this.#open.delete(key);
      effects.push({ type: "settle", key, outcome, cmd, afterMs: now - sentAt });
    }
    if (then !== "end") this.#next(now, req_id, lane, effects);
    return effects;
  }

  /** Time has passed: gives up what is overdue and sends what waited behind it. Calling it early does nothing. */
  tick(now: Millis): readonly RequestEffect[] {
    if (now < this.#wakeAt) return nothing;
    const effects: RequestEffect[] = [];
    this.#wakeAt = Infinity;
    for (const [req_id, lane] of this.#lanes) {
      if (lane.flying === undefined) continue;
      const { key, ackAt, abandoned } = lane.flying;
      if (ackAt > now) {
        this.#wakeAt = Math.min(this.#wakeAt, ackAt);
        continue;
      }
      lane.flying = undefined;
      lane.owed++;
      if (!abandoned) effects.push(this.#settle(key, { type: "timed-out", maybeDelivered: true }));
      this.#next(now, req_id, lane, effects);
    }
    return effects;
  }

  /**
   * The owner has lost interest: settles as `stopped`, unless it has settled before. What is in flight keeps its lane until
   * its ack has come or is overdue.
   */
  abandon(key: RequestKey): readonly RequestEffect[] {
    const req_id = this.#open.get(key);
    if (req_id === undefined) return [];
    const lane = this.#lane(req_id);
    // Where a request is open, one is in flight: this one, or one it waits behind.
    const flying = lane.flying!;
    const sent = !flying.abandoned && flying.key === key;
    if (sent) flying.abandoned = true;
    else lane.queue = lane.queue.filter((request) => request.key !== key);
    return [this.#settle(key, { type: "stopped", maybeDelivered: sent })];
  }

  /** The socket is gone: everything open settles so. What flew may have been delivered, what queued was not. */
  end(type: "connection-lost" | "stopped"): readonly RequestEffect[] {
    const effects: RequestEffect[] = [];
    for (const lane of this.#lanes.values()) {
      if (lane.flying?.abandoned === false) effects.push(this.#settle(lane.flying.key, { type, maybeDelivered: true }));
      for (const { key } of lane.queue) effects.push(this.#settle(key, { type, maybeDelivered: false }));
    }
    this.#lanes.clear();
    this.#owing.clear();
    this.#wakeAt = Infinity;
    return effects;
  }

  #lane(req_id: string): Lane {
    let lane = this.#lanes.get(req_id);
    if (lane === undefined) this.#lanes.set(req_id, (lane = { flying: undefined, queue: [], owed: 0 }));
    return lane;
  }

  #launch(now: Millis, lane: Lane, request: Request): RequestEffect {
    const ackAt = now + request.ackMs;
    this.#owing.delete(request.frame.req_id);
    // Not the frame: a chunk of an upload is 700 KB, and an ack may be late.
    lane.flying = { key: request.key, cmd: request.frame.cmd, sentAt: now, ackAt, abandoned: false };
    this.#wakeAt = Math.min(this.#wakeAt, ackAt);
    return { type: "send", cmd: request.frame.cmd, text: request.frame.text };
  }

  #next(now: Millis, req_id: string, lane: Lane, effects: RequestEffect[]): void {
    const request = lane.queue.shift();
    if (request === undefined) this.#tidy(req_id, lane);
    else effects.push(this.#launch(now, lane, request));
  }

  #settle(key: RequestKey, outcome: Outcome): RequestEffect {
    this.#open.delete(key);
    return { type: "settle", key, outcome };
  }

  /** Forgets a lane that has nothing left to say, and of those that merely owe an ack all but the youngest thousand. */
  #tidy(req_id: string, lane: Lane): void {
    this.#owing.delete(req_id);
    if (lane.flying !== undefined) return;
    if (lane.owed === 0) {
      this.#lanes.delete(req_id);
      return;
    }
    this.#owing.add(req_id);
    if (this.#owing.size <= maxOwedLanes) return;
    const [oldest] = this.#owing;
    this.#owing.delete(oldest!);
    this.#lanes.delete(oldest!);
  }
}

/**
 * A req_id of a client's own: a readable prefix and 64 random bits in hexadecimal. `random` yields [0, 1).
 * The gateway echoes it byte for byte; its limit is 256 bytes.
 */
export function makeReqId(prefix: string, random: () => number): string {
  return `${prefix}_${hex32(random)}${hex32(random)}`;
}

function hex32(random: () => number): string {
  const bits = Math.floor(random() * 0x1_0000_0000);
  return octets[bits >>> 24]! + octets[(bits >>> 16) & 0xff]! + octets[(bits >>> 8) & 0xff]! + octets[bits & 0xff]!;
}

const octets = Array.from({ length: 256 }, (_, octet) => octet.toString(16).padStart(2, "0"));

const nothing: readonly RequestEffect[] = [];
