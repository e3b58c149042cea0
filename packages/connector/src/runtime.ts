/**
 * What the connector needs of the place it runs in: a clock, an alarm, chance, and a socket. Four methods, so that a test
 * can be one and a new runtime costs a page. Nothing above this file asks which runtime it is; the entry file decides.
 */
import type { Millis } from "@openws/protocol";

/** A runtime. `now` must never go back; it need not be the time of day. */
export interface Runtime {
  /** Milliseconds on a monotonic clock. */
  now(): Millis;
  /** Calls `wake` once, not before `at`; the returned function cancels. */
  wakeAt(at: Millis, wake: () => void): () => void;
  /** Yields [0, 1). */
  random(): number;
  /** Begins to open a WebSocket. Never throws: what fails is told by `closed`. */
  dial(url: string, events: SocketEvents): Socket;
}

/** What a socket tells. `opened` at most once and before any `received`; `closed` at most once and last, or never. */
export interface SocketEvents {
  opened(): void;
  /** One whole message; a binary one is handed over as the UTF-8 text it holds. */
  received(text: string): void;
  /** `code` 1006 and a sentence in `reason` where the socket ended, or could not begin, without a close frame. */
  closed(code: number, reason: string): void;
}

/** A socket being opened, or open. */
export interface Socket {
  /** Hands one text message to the network. On a socket that is not open this does nothing: `closed` tells, or has told. */
  send(text: string): void;
  /**
   * Lets go for good: no event comes after this call. `politely` sends a close frame first where the socket is open, and
   * gives the other side a moment.
   */
  drop(politely: boolean): void;
}
