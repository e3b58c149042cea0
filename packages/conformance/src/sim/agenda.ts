/**
 * Virtual time: what is to happen, and when. The simulator jumps from one appointment to the next.
 *
 * Decides the order of events and nothing else: the earlier instant first, and of the same instant what was entered first.
 * That order is the whole of the simulator's determinism in time; chance has its own file.
 */
import type { Millis } from "../history.ts";

/** Something that will happen at an instant. */
interface Appointment {
  readonly at: Millis;
  readonly order: number;
  readonly act: () => void;
}

/** A priority queue of appointments: a binary heap by (instant, order of entry). */
export class Agenda {
  /** The instant of the appointment that runs now, or ran last. */
  now: Millis = 0;
  readonly #heap: Appointment[] = [];
  #entered = 0;

  /** When the next appointment is; Infinity when there is none. */
  get next(): Millis {
    return this.#heap.length === 0 ? Infinity : this.#heap[0]!.at;
  }

  /** Enters an appointment. An instant in the past counts as now. */
  at(instant: Millis, act: () => void): void {
    const made: Appointment = { at: instant > this.now ? instant : this.now, order: this.#entered++, act };
    const heap = this.#heap;
    let place = heap.push(made) - 1;
    while (place > 0) {
      const up = (place - 1) >> 1;
      if (!before(made, heap[up]!)) break;
      heap[place] = heap[up]!;
      place = up;
    }
    heap[place] = made;
  }

  /** Moves to the next appointment and lets it happen. */
  run(): void {
    const heap = this.#heap;
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length > 0) this.#sink(last);
    this.now = first.at;
    first.act();
  }

  #sink(last: Appointment): void {
    const heap = this.#heap;
    let place = 0;
    for (;;) {
      let down = 2 * place + 1;
      if (down >= heap.length) break;
      if (down + 1 < heap.length && before(heap[down + 1]!, heap[down]!)) down++;
      if (!before(heap[down]!, last)) break;
      heap[place] = heap[down]!;
      place = down;
    }
    heap[place] = last;
  }
}

function before(a: Appointment, b: Appointment): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
