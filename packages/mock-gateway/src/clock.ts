/**
 * The gateway's two clocks, and its agenda.
 *
 * The *transport* clock is the caller's: idle time-outs, ack latencies and the close after a kick live on it. The
 * *world* clock is the transport clock plus an offset, which only the fault clock-jump makes smaller: windows, stream lives, quotas, uploads and media
 * live on it. Advancing the world leaves every connected bot connected; advancing the transport as well lets everything
 * that was scheduled happen, in order, each act seeing the instant at which it was due.
 *
 * Nothing here reads a real clock. World lives are compared when something asks, so there is no timer to leak.
 */

/** Milliseconds on a clock that never goes back. */
export type Millis = number;

/** Something that was scheduled; hand it to {@link Clock.cancel}. */
export interface Appointment {
  readonly at: Millis;
  readonly order: number;
  /** Undefined once it has acted, or was cancelled. */
  act: ((about: never) => void) | undefined;
  readonly about: unknown;
}

/** Both clocks and what is due on the transport one. */
export class Clock {
  /** The world offset so far: how far the world is ahead of real time. */
  offsetMs = 0;
  readonly #epochMs: Millis;
  #transportOffsetMs = 0;
  #transport: Millis = 0;
  #order = 0;
  /** A binary heap by (at, order). Cancelled appointments stay until they surface. */
  readonly #heap: Appointment[] = [];

  /** @param epochMs what the world clock shows, in Unix milliseconds, when the caller's clock shows 0. */
  constructor(epochMs: Millis) {
    this.#epochMs = epochMs;
  }

  /** The transport clock. While an appointment acts, this is the instant at which it was due. */
  get transport(): Millis {
    return this.#transport;
  }

  /** The world clock, in whole Unix milliseconds. */
  get world(): Millis {
    return Math.round(this.#epochMs + this.#transport + this.offsetMs);
  }

  /** When the caller should come back, on the caller's clock; undefined when nothing is scheduled. */
  get deadline(): Millis | undefined {
    while (this.#heap.length > 0 && this.#heap[0]!.act === undefined) this.#pop();
    const first = this.#heap[0];
    return first && first.at - this.#transportOffsetMs;
  }

  /** Moves to the caller's `now` and lets everything due happen. A `now` in the past counts as the last one. */
  arrive(now: Millis): void {
    const target = Math.max(this.#transport, now + this.#transportOffsetMs);
    for (;;) {
      const first = this.#heap[0];
      if (!first || first.at > target) break;
      this.#pop();
      if (!first.act) continue;
      this.#transport = Math.max(this.#transport, first.at);
      const { act, about } = first;
      first.act = undefined;
      act(about as never);
    }
    this.#transport = target;
  }

  /** Moves the world by `ms`; with `transport` the transport clock moves too, and what falls due on it happens. */
  advance(ms: Millis, transport: boolean): void {
    if (!transport) {
      this.offsetMs += ms;
      return;
    }
    const now = this.#transport - this.#transportOffsetMs;
    this.#transportOffsetMs += ms;
    this.arrive(now);
  }

  /** Takes the world back to real time. Transport time never goes back. */
  reset(): void {
    this.offsetMs = 0;
  }

  /**
   * Schedules `act` `ms` from now on the transport clock. What every connection schedules hands its connection over as
   * `about`, so that ten thousand of them share one function.
   */
  after(ms: Millis, act: () => void): Appointment;
  after<About>(ms: Millis, act: (about: About) => void, about: About): Appointment;
  after(ms: Millis, act: (about: never) => void, about?: unknown): Appointment {
    const made: Appointment = { at: this.#transport + ms, order: this.#order++, act, about };
    const heap = this.#heap;
    let at = heap.push(made) - 1;
    while (at > 0) {
      const up = (at - 1) >> 1;
      if (!before(made, heap[up]!)) break;
      heap[at] = heap[up]!;
      at = up;
    }
    heap[at] = made;
    return made;
  }

  cancel(appointment: Appointment | undefined): void {
    if (appointment) appointment.act = undefined;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    const { length } = heap;
    if (length === 0) return;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      if (down >= length) break;
      if (down + 1 < length && before(heap[down + 1]!, heap[down]!)) down++;
      if (!before(heap[down]!, last)) break;
      heap[at] = heap[down]!;
      at = down;
    }
    heap[at] = last;
  }
}

const before = (a: Appointment, b: Appointment): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);
