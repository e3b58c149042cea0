/**
 * A map whose entries come and go by the thousand: requests that await their ack, turns that run.
 *
 * An engine's own Map makes itself a new table every so many deletions, and the old table points to the new one. A table
 * that a full collection has moved to the old generation is garbage soon after, but garbage that the many small collections
 * do not see as such: it keeps the next table alive, with all that was in it, and that one the next, until the next full
 * collection. So whatever was in such a Map when it made itself a table survives, is copied twice, and fills the memory:
 * a third of an echo bot's garbage, measured on V8 13.6. A new Map every thousand deletions breaks the chain.
 */

/** Deletions after which the entries move to a new Map, if they are not more than that themselves. */
const longestChain = 1_024;

/** Nothing is ever put into it. */
const none = new Map<never, never>();

/** As much of a Map as is needed, in the order of insertion. An iteration may leave out what is added, and show what is deleted, since it began. */
export class FleetingMap<Key, Value> {
  /** An empty Map has a table, too: most of a thousand bots wait for nothing. */
  #map: Map<Key, Value> = none;
  #deleted = 0;

  get size(): number {
    return this.#map.size;
  }

  get(key: Key): Value | undefined {
    return this.#map.get(key);
  }

  has(key: Key): boolean {
    return this.#map.has(key);
  }

  set(key: Key, value: Value): void {
    if (this.#map === none) this.#map = new Map();
    this.#map.set(key, value);
  }

  delete(key: Key): void {
    if (!this.#map.delete(key) || ++this.#deleted < Math.max(longestChain, this.#map.size)) return;
    this.#map = new Map(this.#map);
    this.#deleted = 0;
  }

  clear(): void {
    this.#map = none;
    this.#deleted = 0;
  }

  keys(): MapIterator<Key> {
    return this.#map.keys();
  }

  values(): MapIterator<Value> {
    return this.#map.values();
  }

  [Symbol.iterator](): MapIterator<[Key, Value]> {
    return this.#map[Symbol.iterator]();
  }
}
