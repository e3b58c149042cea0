/**
 * Seeded chance: the only source of randomness in the gateway, so that a run can be repeated by its seed.
 *
 * It is not for secrets: keys and ids made here protect test data from nobody.
 */

const urlSafe = Uint8Array.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", (char) =>
  char.codePointAt(0)!,
);

/** A repeatable stream of numbers, ids and bytes (the generator is sfc32). Equal seeds give equal streams. */
export class Chance {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number | string) {
    // FNV-1a spreads neighbouring seeds (1, 2, 3 …) over the whole state.
    let hash = 0x811c9dc5;
    for (const char of String(seed)) hash = Math.imul(hash ^ char.codePointAt(0)!, 0x01000193);
    this.#a = hash | 0;
    this.#b = Math.imul(hash, 0x9e3779b1) | 0;
    this.#c = 0x5bd1e995;
    for (let round = 0; round < 12; round++) this.#word();
  }

  /** A number in [0, 1). */
  next(): number {
    return (this.#word() >>> 0) / 4294967296;
  }

  /** An integer in [low, high]. */
  between(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  /** `length` characters of the URL-safe base64 alphabet: the look of the server's own ids. */
  id(length: number): string {
    let text = "";
    // Five at a time: more do not fit into a word, and characters one by one would each make a text of their own.
    for (let left = length; left > 0; left -= 5) {
      const word = this.#word();
      const five = String.fromCharCode(
        urlSafe[word & 63]!,
        urlSafe[(word >>> 6) & 63]!,
        urlSafe[(word >>> 12) & 63]!,
        urlSafe[(word >>> 18) & 63]!,
        urlSafe[(word >>> 24) & 63]!,
      );
      text += left < 5 ? five.slice(0, left) : five;
    }
    return text;
  }

  /** `length` decimal digits. */
  digits(length: number): string {
    let text = "";
    for (let at = 0; at < length; at++) text += this.between(at === 0 ? 1 : 0, 9);
    return text;
  }

  /** `length` bytes. */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; at++) bytes[at] = this.#word() & 255;
    return bytes;
  }

  #word(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum;
  }
}
