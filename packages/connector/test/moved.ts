/**
 * A runtime with real sockets and a clock that can be moved: a day passes in seconds, while every frame crosses loopback.
 *
 * Time is moved from alarm to alarm. Before the next one rings, what this client sent is given the real time it takes to be
 * answered, since an ack that comes hours of moved time late would be no ack. The peer has to answer every frame.
 */
import type { Runtime, Socket, SocketEvents } from "../src/runtime.ts";
import { quiet } from "./virtual.ts";

/** How long an answer may take in real time before the clock moves on without it. */
const patienceMs = 1_000;

interface Alarm {
  readonly at: number;
  readonly ring: () => void;
  cancel: () => void;
}

/** The runtime. `base` lends sockets, chance, and the time that passes by itself. */
export class MovedRuntime implements Runtime {
  /** Sockets that are being opened or are open: neither closed by the peer nor let go of. */
  readonly sockets = new Set<Socket>();
  readonly #base: Runtime;
  readonly #alarms = new Set<Alarm>();
  #offset = 0;
  /** Dials and frames whose answer has not come. */
  #owed = 0;

  constructor(base: Runtime) {
    this.#base = base;
  }

  now(): number {
    return this.#base.now() + this.#offset;
  }

  random(): number {
    return this.#base.random();
  }

  /** Alarms that are set. */
  get alarms(): number {
    return this.#alarms.size;
  }

  wakeAt(at: number, wake: () => void): () => void {
    const alarm: Alarm = {
      at,
      ring: () => {
        this.#alarms.delete(alarm);
        alarm.cancel();
        wake();
      },
      cancel: () => undefined,
    };
    this.#alarms.add(alarm);
    this.#arm(alarm);
    return () => {
      this.#alarms.delete(alarm);
      alarm.cancel();
    };
  }

  dial(url: string, events: SocketEvents): Socket {
    let owed = 1;
    this.#owed++;
    const paid = (count: number): void => {
      this.#owed -= Math.min(owed, count);
      owed -= Math.min(owed, count);
    };
    const socket = this.#base.dial(url, {
      opened: () => {
        paid(1);
        events.opened();
      },
      received: (text) => {
        // A callback is no answer.
        if (!text.includes('"cmd"')) paid(1);
        events.received(text);
      },
      closed: (code, reason) => {
        paid(owed);
        this.sockets.delete(tracked);
        events.closed(code, reason);
      },
    });
    const tracked: Socket = {
      send: (text) => {
        owed++;
        this.#owed++;
        socket.send(text);
      },
      drop: (politely) => {
        paid(owed);
        this.sockets.delete(tracked);
        socket.drop(politely);
      },
    };
    this.sockets.add(tracked);
    return tracked;
  }

  /** Lets `ms` pass: every alarm rings at its instant, and what follows from it comes to rest before the next. */
  async advance(ms: number): Promise<void> {
    const end = this.now() + ms;
    await this.#rest();
    for (;;) {
      let next: Alarm | undefined;
      for (const alarm of this.#alarms) if (next === undefined || alarm.at < next.at) next = alarm;
      if (next === undefined || next.at > end) break;
      this.#offset += Math.max(0, next.at - this.now());
      next.ring();
      await this.#rest();
    }
    this.#offset += Math.max(0, end - this.now());
    for (const alarm of this.#alarms) this.#arm(alarm);
  }

  /** Until nothing is owed, and what follows from the last answer has happened. */
  async #rest(): Promise<void> {
    const until = this.#base.now() + patienceMs;
    do await quiet();
    while (this.#owed > 0 && this.#base.now() < until);
    await quiet();
  }

  #arm(alarm: Alarm): void {
    alarm.cancel();
    alarm.cancel = this.#base.wakeAt(alarm.at - this.#offset, alarm.ring);
  }
}
