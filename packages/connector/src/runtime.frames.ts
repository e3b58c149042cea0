/**
 * A client's way out on Node's sockets: text messages as masked WebSocket frames (RFC 6455, section 5.2), many in one
 * write, in memory that is used again.
 *
 * `ws` makes two buffers, two writes and an object of options for every message; of a chunk of an upload that is 700 KB of
 * garbage outside of the heap, which is collected late, so that an upload of 20 MB grew the process by as much. Here what
 * is sent in one turn of the event loop is written to one page and masked where it stands, and leaves in one system call,
 * unless it is much; the page is free again when the system has taken it.
 *
 * Invariants: each write is whole frames, so that none is cut by what `ws` writes itself (pongs, the close frame); nobody
 * writes to a page before the system has taken what is on it.
 */
import { randomFillSync } from "node:crypto";
import type { Socket } from "node:net";
import { setTimeout } from "node:timers";

/** Frames share pages of this size; one that does not fit has a page of its own. */
const pageBytes = 64 * 1024;
/**
 * Frames that leave together at most. A system call costs as much as the frame; but a turn that answers sixty callbacks and
 * holds all answers back to its end has the gateway wait for it, and then waits for the gateway. With 24 both work, at the
 * price of two or three calls more (docs/benchmarks.md, echo).
 */
const maxTogether = 24;
/** Pages that are kept for later, over all sockets, and for how long at least after the last use of any. */
const maxFreePages = 16;
const keptMs = 2_000;
/** Two bytes, at most eight of length, four of mask. */
const maxHeadBytes = 14;

/** Writes frames to one socket. */
export class FrameWriter {
  readonly #socket: Socket;
  readonly #flushed: () => void;
  #page: Page | undefined;
  #end = 0;
  #frames = 0;

  /** `flushed` is called after each write. */
  constructor(socket: Socket, flushed: () => void) {
    this.#socket = socket;
    this.#flushed = flushed;
  }

  /** Sends one text message, at the end of this turn of the event loop at the latest. */
  send(text: string): void {
    const length = Buffer.byteLength(text);
    if (this.#page !== undefined && this.#end + maxHeadBytes + length > this.#page.bytes.length) this.flush();
    if (this.#page === undefined) {
      this.#page = takePage(maxHeadBytes + length);
      process.nextTick(flush, this);
    }
    this.#end = this.#page.write(this.#end, text, length);
    if (++this.#frames === maxTogether) this.flush();
  }

  /** Hands over what was not handed over yet. */
  flush(): void {
    const page = this.#page;
    if (page === undefined) return;
    this.#page = undefined;
    const frames = page.bytes.subarray(0, this.#end);
    this.#end = 0;
    this.#frames = 0;
    if (!this.#socket.writable) {
      page.giveBack();
      return;
    }
    this.#socket.write(frames, page.giveBack);
    this.#flushed();
  }
}

const flush = (writer: FrameWriter): void => writer.flush();

/** Memory for frames. */
class Page {
  readonly bytes: Buffer;
  readonly giveBack = (): void => givePage(this);
  readonly #words: Uint32Array;

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size);
    this.#words = new Uint32Array(this.bytes.buffer);
  }

  /** Writes a text of `length` bytes as a frame from `at` on; returns where it ends. */
  write(at: number, text: string, length: number): number {
    const { bytes } = this;
    let next = at;
    bytes[next++] = 0x81; // A text message, and all of it.
    if (length < 126) bytes[next++] = 0x80 | length;
    else if (length < 65_536) {
      bytes[next++] = 0x80 | 126;
      next = bytes.writeUInt16BE(length, next);
    } else {
      bytes[next++] = 0x80 | 127;
      next = bytes.writeUInt32BE(0, next);
      next = bytes.writeUInt32BE(length, next);
    }
    const mask = nextMask();
    for (let i = 0; i < 4; i++) bytes[next + i] = masks[mask + i]!;
    next += 4;
    bytes.write(text, next, length, "utf8");
    this.#mask(next, next + length, mask);
    return next + length;
  }

  /** Four bytes at a time, as far as they stand where words do. */
  #mask(start: number, end: number, mask: number): void {
    const { bytes } = this;
    let at = start;
    for (; at < end && (at & 3) !== 0; at++) bytes[at]! ^= masks[mask + ((at - start) & 3)]!;
    for (let i = 0; i < 4; i++) wordBytes[i] = masks[mask + ((at - start + i) & 3)]!;
    const words = this.#words;
    const key = word[0]!;
    for (; at + 4 <= end; at += 4) words[at >> 2]! ^= key;
    for (; at < end; at++) bytes[at]! ^= masks[mask + ((at - start) & 3)]!;
  }
}

const word = new Uint32Array(1);
const wordBytes = new Uint8Array(word.buffer);

/** Random bytes for masks, four each, drawn many at a time. */
const masks = new Uint8Array(8 * 1024);
let maskAt = masks.length;

function nextMask(): number {
  if (maskAt === masks.length) {
    randomFillSync(masks);
    maskAt = 0;
  }
  maskAt += 4;
  return maskAt - 4;
}

/** The pages that nobody uses, the last one used last. They go when none was used for a while. */
let free: Page[] = [];
let used = false;
let forgetting: NodeJS.Timeout | undefined;

function takePage(size: number): Page {
  const wanted = Math.ceil(size / pageBytes) * pageBytes;
  if (free.at(-1)?.bytes.length === wanted) return free.pop()!;
  const at = free.findLastIndex(({ bytes }) => bytes.length === wanted);
  return at === -1 ? new Page(wanted) : free.splice(at, 1)[0]!;
}

function givePage(page: Page): void {
  if (free.length < maxFreePages) free.push(page);
  used = true;
  forgetting ??= setTimeout(forget, keptMs).unref();
}

function forget(): void {
  if (!used) free = [];
  forgetting = used ? setTimeout(forget, keptMs).unref() : undefined;
  used = false;
}
