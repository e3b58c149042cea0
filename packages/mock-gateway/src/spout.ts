/**
 * One connection's way out: text messages as WebSockets carry them, or in the manner a fault asks for.
 *
 * Frames are made here and written to the raw socket; only control frames go through `ws`. A server's frame is a few bytes
 * before the text, and what follows from one piece of input is worth one system call: a busy gateway spends its time on
 * those. What `ws` would never do (a frame byte by byte, at a trickle, two frames in one segment, a masked frame from a
 * server) is written frame by frame; while that is on its way, everything behind it waits: order is kept, and no frame is
 * cut by another.
 */
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";
import type { Manner } from "./effects.ts";

/** Bytes that may wait here before the connection counts as stuck. */
const maxWaitingBytes = 128 * 1024 * 1024;
/** A frame is sent byte by byte up to here; the rest follows in one piece. */
const maxSingleBytes = 4096;
const trickleMs = 50;
const maxHeldMs = 1000;

interface Waiting {
  readonly bytes: Buffer;
  readonly bytesPerSecond?: number;
  readonly byteByByte?: boolean;
}

/** Those with something to write at the end of the turn. */
export class Gathering {
  #spouts: Spout[] = [];

  add(spout: Spout): void {
    if (this.#spouts.push(spout) === 1) void settled.then(this.#flush);
  }

  readonly #flush = (): void => {
    const spouts = this.#spouts;
    this.#spouts = [];
    for (const spout of spouts) spout.flush();
  };
}

const settled = Promise.resolve();

/** The way out of one connection. */
export class Spout {
  /** The connection's number. */
  readonly n: number;
  readonly #ws: WebSocket;
  /** What frames are written to: the socket, or TLS on top of it. */
  readonly #stream: Duplex;
  readonly #socket: Socket;
  readonly #gathering: Gathering;
  /** Frames that leave at the end of the turn, each character a byte. */
  #gathered = "";
  #queue: Waiting[] | undefined;
  #held: Buffer | undefined;
  #busy = false;
  #shut = false;

  constructor(n: number, ws: WebSocket, stream: Duplex, socket: Socket, gathering: Gathering) {
    this.n = n;
    this.#ws = ws;
    this.#stream = stream;
    this.#socket = socket;
    this.#gathering = gathering;
  }

  send(text: string, manner: Manner | undefined): void {
    if (this.#shut) return;
    if (!manner && !this.#busy && !this.#held) {
      if (this.#gathered === "") this.#gathering.add(this);
      this.#gathered += textFrame(text);
    } else {
      this.flush();
      this.#unusual(Buffer.from(text), manner ?? {});
    }
    if (this.#stream.writableLength + this.#gathered.length + this.#waitingBytes > maxWaitingBytes) this.terminate();
  }

  /** Writes what was gathered: at the end of the turn, and before anything else is written. */
  flush(): void {
    const gathered = this.#gathered;
    if (gathered === "") return;
    this.#gathered = "";
    // After a close frame nothing follows.
    if (this.#ws.readyState === this.#ws.OPEN && this.#stream.writable) this.#stream.write(gathered, "latin1");
  }

  /** A control frame; left out while something unusual is on its way. */
  ping(data = ""): void {
    if (this.#shut || this.#busy) return;
    this.flush();
    this.#ws.ping(data);
  }

  /** Answers a ping; `masked` as no server may. */
  pong(data: Buffer, masked: boolean): void {
    if (this.#shut || this.#busy) return;
    this.flush();
    if (masked) this.#stream.write(frame(opcodes.pong, data, { masked }));
    else this.#ws.pong(data);
  }

  close(code: number, reason: string): void {
    this.flush();
    if (this.#busy) this.terminate();
    else this.#ws.close(code, reason);
  }

  reset(): void {
    this.flush();
    this.#shut = true;
    this.#socket.resetAndDestroy();
  }

  /** Ends it without a close frame. */
  terminate(): void {
    this.#ws.terminate();
  }

  /** Nothing goes out any more; with `reads` what comes in is read and thrown away. */
  silence(reads: boolean): void {
    this.flush();
    this.#shut = true;
    this.#queue = undefined;
    if (!reads) this.#ws.pause();
  }

  #unusual(payload: Buffer, { binary, split, bytesPerSecond }: Manner): void {
    const opcode = binary ? opcodes.binary : opcodes.text;
    if (split === "coalesced") {
      const whole = frame(opcode, payload);
      this.#held = this.#held ? Buffer.concat([this.#held, whole]) : whole;
      setTimeout(() => this.#release(), maxHeldMs).unref();
      return;
    }
    const bytes = split === "fragments" ? fragments(opcode, payload) : frame(opcode, payload);
    const held = this.#held;
    this.#held = undefined;
    (this.#queue ??= []).push({
      bytes: held ? Buffer.concat([held, bytes]) : bytes,
      ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
      ...(split === "bytes" ? { byteByByte: true } : {}),
    });
    if (!this.#busy) void this.#drain();
  }

  #release(): void {
    const held = this.#held;
    if (!held) return;
    this.#held = undefined;
    (this.#queue ??= []).push({ bytes: held });
    if (!this.#busy) void this.#drain();
  }

  async #drain(): Promise<void> {
    this.#busy = true;
    for (let next = this.#queue?.shift(); next && !this.#shut; next = this.#queue?.shift()) await this.#pour(next);
    this.#busy = false;
  }

  async #pour({ bytes, bytesPerSecond, byteByByte }: Waiting): Promise<void> {
    if (bytesPerSecond !== undefined) {
      const step = Math.max(1, Math.round((bytesPerSecond * trickleMs) / 1000));
      for (let at = 0; at < bytes.length && this.#socket.writable; at += step) {
        this.#stream.write(bytes.subarray(at, at + step));
        await pause(Math.max(trickleMs, 1000 / bytesPerSecond));
      }
      return;
    }
    if (!byteByByte) return void this.#stream.write(bytes);
    this.#socket.setNoDelay(true);
    const single = Math.min(bytes.length, maxSingleBytes);
    for (let at = 0; at < single && this.#socket.writable; at++) {
      this.#stream.write(bytes.subarray(at, at + 1));
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
    if (single < bytes.length) this.#stream.write(bytes.subarray(single));
  }

  get #waitingBytes(): number {
    return this.#queue?.reduce((sum, { bytes }) => sum + bytes.length, 0) ?? 0;
  }
}

const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

/** RFC 6455, 5.2. */
const opcodes = { continuation: 0x0, text: 0x1, binary: 0x2, pong: 0xa } as const;

/** A text frame, each character a byte: most texts are ASCII, and are their own bytes. */
const textFrame = (text: string): string => {
  const length = Buffer.byteLength(text);
  const bytes = length === text.length ? text : Buffer.from(text).toString("latin1");
  return (length < 126 ? String.fromCharCode(0x81, length) : headOf(opcodes.text, length).toString("latin1")) + bytes;
};

const frame = (opcode: number, payload: Buffer, options?: HeadOptions): Buffer =>
  Buffer.concat([headOf(opcode, payload.length, options), payload]);

interface HeadOptions {
  readonly final?: boolean;
  readonly masked?: boolean;
}

const headOf = (opcode: number, length: number, { final = true, masked = false }: HeadOptions = {}): Buffer => {
  const extended = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  // A mask of zeros is a mask all the same, and leaves the payload as it is.
  const head = Buffer.alloc(2 + extended + (masked ? 4 : 0));
  head[0] = (final ? 0x80 : 0) | opcode;
  head[1] = (masked ? 0x80 : 0) | (extended === 0 ? length : extended === 2 ? 126 : 127);
  if (extended === 2) head.writeUInt16BE(length, 2);
  if (extended === 8) head.writeBigUInt64BE(BigInt(length), 2);
  return head;
};

const fragments = (opcode: number, payload: Buffer): Buffer => {
  const third = Math.ceil(payload.length / 3);
  return Buffer.concat([
    frame(opcode, payload.subarray(0, third), { final: false }),
    frame(opcodes.continuation, payload.subarray(third, 2 * third), { final: false }),
    frame(opcodes.continuation, payload.subarray(2 * third)),
  ]);
};
