/**
 * Who is told what happens: observers, called at once, and readers, who take their time.
 *
 * Decides that one who throws harms nobody else, and how much a slow reader may leave unread. Knows no event.
 */

/** Told to the other observers when one of them threw. */
export interface ObserverFailed {
  readonly type: "observer-failed";
  readonly error: unknown;
}

/** Told to a reader in place of what it left unread for too long: the oldest `count` events. */
export interface Missed {
  readonly type: "missed";
  readonly count: number;
}

/** Events that are kept for a reader who is slow; beyond this the oldest are missed. */
export const maxUnreadEvents = 10_000;

/** Tells events of one kind to whoever listens. */
export class Events<Event> {
  readonly #observers = new Set<(event: Event | ObserverFailed) => void>();

  /** Tells everybody, in the order in which they came. Never throws. */
  tell(event: Event | ObserverFailed): void {
    for (const observer of this.#observers) {
      try {
        observer(event);
      } catch (error) {
        // Once: an observer that throws at this, too, is not worth another word.
        for (const other of this.#observers)
          if (other !== observer) quietly(() => other({ type: "observer-failed", error }));
      }
    }
  }

  /** Calls `observer` with all that happens from now on. Returns how to end it. */
  observe(observer: (event: Event | ObserverFailed) => void): () => void {
    // Its own function object, so that the same observer can be registered twice and ended once.
    const own = (event: Event | ObserverFailed): void => observer(event);
    this.#observers.add(own);
    return () => this.#observers.delete(own);
  }

  /** All that happens from now on, to be read in a `for await`; leaving the loop ends it. */
  async *read(): AsyncGenerator<Event | ObserverFailed | Missed, void> {
    let unread: (Event | ObserverFailed)[] = [];
    let missed = 0;
    let wake: (() => void) | undefined;
    const end = this.observe((event) => {
      unread.push(event);
      if (unread.length > maxUnreadEvents) {
        // Half at once, so that a reader that never comes costs no shift for each event.
        const dropped = unread.length >> 1;
        unread = unread.slice(dropped);
        missed += dropped;
      }
      wake?.();
    });
    try {
      for (;;) {
        if (missed > 0) {
          const count = missed;
          missed = 0;
          yield { type: "missed", count };
        }
        const batch = unread;
        unread = [];
        yield* batch;
        if (unread.length === 0)
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    } finally {
      end();
    }
  }
}

function quietly(call: () => void): void {
  try {
    call();
  } catch {
    // Already told about once.
  }
}
