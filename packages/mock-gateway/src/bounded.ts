/**
 * Forgetting the oldest: every table of the world that clients or users can grow goes through here.
 *
 * Entries are dropped in batches of an eighth of the bound. One at a time would be a trap: a Map keeps a hole for each
 * deleted entry until it is rehashed, and each look for the oldest would walk over all of them.
 */

/** A Map or a Set, oldest entry first. */
interface Aging<Key, Value> {
  readonly size: number;
  entries(): IterableIterator<[Key, Value]>;
  delete(key: Key): boolean;
}

/** Drops the oldest entries when there are more than nine eighths of `max`, down to `max`. */
export const bound = <Key, Value>(
  table: Aging<Key, Value>,
  max: number,
  forget?: (value: Value, key: Key) => void,
): void => {
  if (table.size <= max + (max >> 3)) return;
  for (const [key, value] of table.entries()) {
    if (table.size <= max) return;
    table.delete(key);
    forget?.(value, key);
  }
};

/** Sets an entry as the youngest, and forgets the oldest beyond `max`. */
export const keepNewest = <Key, Value>(map: Map<Key, Value>, key: Key, value: Value, max: number): void => {
  map.delete(key);
  map.set(key, value);
  bound(map, max);
};
