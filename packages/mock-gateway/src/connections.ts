/**
 * The open connections: who is there, who was silent for too long, and how each ends.
 *
 * It knows bots by name at most; what an end means for one is the world's business. A connection that ended is forgotten at
 * once, with its appointments. One that fell silent (half-open, nat-drop) goes on for a quarter of an hour, since a socket
 * that is not read does not notice that its peer went away.
 */
import type { BehaviourId } from "./behaviours.ts";
import type { Appointment, Clock, Millis } from "./clock.ts";
import type { ConnectionView, CutHow, WorldEffect } from "./effects.ts";
import { Session } from "./session.ts";
import type { Switches } from "./switches.ts";

/** One connection: its session, and what is owed on it. */
export interface Connection {
  readonly session: Session;
  readonly origin: string;
  readonly address: string;
  readonly openedAt: Millis;
  /** Transport clock. */
  heardAt: Millis;
  /** World clock. */
  lastFrameAt: Millis | null;
  framesIn: number;
  framesOut: number;
  /** No ack leaves before this: acks keep the order of their commands. */
  ackAt: Millis;
  /** The req_id of the last command, for a fault that reuses it. */
  lastReqId: string | undefined;
  /** The socket is gone. */
  gone: boolean;
  /** Nothing crosses it any more, though the socket is open. */
  silent: boolean;
  /** Half-alive: nothing is delivered to it. */
  deaf: boolean;
  /** An ack that a fault holds until the next one has left. */
  heldAck: (() => void) | undefined;
  idle: Appointment | undefined;
  pinging: Appointment | undefined;
  ending: Appointment | undefined;
}

/** What connections need of the world. */
export interface ConnectionPorts {
  readonly clock: Clock;
  readonly switches: () => Switches;
  readonly emit: (effect: WorldEffect) => void;
  /** Logs what happened to a socket. */
  readonly note: (connection: Connection, text: string, why?: BehaviourId) => void;
  /** The bot's callbacks do not go here any more, for this reason if there is one to tell. */
  readonly left: (connection: Connection, reason: string | undefined) => void;
  readonly forgotten: (n: number) => void;
}

const maxSilentMs = 15 * 60_000;
/** How often a connection without a limit is looked at, since switches change at run time. */
const relookMs = 60_000;

/** All open connections, by number. */
export class Connections {
  readonly #ports: ConnectionPorts;
  readonly #open = new Map<number, Connection>();

  constructor(ports: ConnectionPorts) {
    this.#ports = ports;
  }

  get size(): number {
    return this.#open.size;
  }

  get(n: number): Connection | undefined {
    return this.#open.get(n);
  }

  /** Oldest first. They may be cut meanwhile. */
  [Symbol.iterator](): IterableIterator<Connection> {
    return this.#open.values();
  }

  /** For the API. */
  views(): ConnectionView[] {
    return Array.from(this, (connection) => ({
      n: connection.session.n,
      bot: connection.session.bot ?? null,
      state: connection.silent ? "half-open" : connection.session.state,
      address: connection.address,
      openedAt: connection.openedAt,
      lastFrameAt: connection.lastFrameAt,
      framesIn: connection.framesIn,
      framesOut: connection.framesOut,
    }));
  }

  /** A socket was accepted under a fresh number; one that is taken is ignored. */
  open(n: number, origin: string, address: string): void {
    if (this.#open.has(n)) return;
    const { clock, note } = this.#ports;
    const connection: Connection = {
      session: new Session(n),
      origin,
      address,
      openedAt: clock.world,
      heardAt: clock.transport,
      lastFrameAt: null,
      framesIn: 0,
      framesOut: 0,
      ackAt: 0,
      lastReqId: undefined,
      gone: false,
      silent: false,
      deaf: false,
      heldAck: undefined,
      idle: undefined,
      pinging: undefined,
      ending: undefined,
    };
    this.#open.set(n, connection);
    note(connection, `opened from ${address}`);
    this.#watch(connection);
    this.#pingLater(connection);
  }

  /** Ends or cripples one. */
  cut(n: number, how: CutHow, code = 1000): void {
    const connection = this.#open.get(n);
    if (!connection) return;
    const { emit, note } = this.#ports;
    if (how === "half-open" || how === "nat-drop") return this.#silence(connection, how);
    const closing = how === "close";
    emit(closing ? { type: "close", connection: n, code, reason: "" } : { type: "reset", connection: n });
    note(connection, closing ? `closed by the gateway with ${code}` : "reset by the gateway");
    this.gone(connection, closing ? `the gateway closed the connection (${code})` : "the gateway cut the connection");
  }

  /** The socket is no more. */
  gone(connection: Connection, reason: string | undefined): void {
    connection.gone = true;
    this.#open.delete(connection.session.n);
    this.#ports.forgotten(connection.session.n);
    this.#cancel(connection);
    this.#ports.left(connection, reason);
  }

  #silence(connection: Connection, how: "half-open" | "nat-drop"): void {
    const { clock, emit, note, left } = this.#ports;
    const { n } = connection.session;
    const reads = how === "nat-drop";
    connection.silent = true;
    note(connection, reads ? "nat-drop: nothing crosses any more" : "half-open: the gateway neither reads nor writes");
    emit({ type: "half-open", connection: n, reads });
    this.#cancel(connection);
    connection.ending = clock.after(maxSilentMs, () => this.cut(n, "reset"));
    left(connection, `the connection is ${how}`);
  }

  /** Cuts a connection on which the client was silent for `idleMs`, or that never subscribed (GW-BEAT-4, GW-AUTH-8). */
  readonly #watch = (connection: Connection): void => {
    const { clock, note, switches } = this.#ports;
    const { idleMs, subscribeTimeoutMs } = switches();
    const limit = connection.session.state === "open" ? subscribeTimeoutMs : idleMs;
    const since = clock.transport - connection.heardAt;
    if (limit > 0 && since >= limit) {
      note(connection, `cut: silent for ${Math.round(since)} ms`, "idle.close");
      return this.cut(connection.session.n, "reset");
    }
    connection.idle = clock.after(limit > 0 ? Math.max(1, limit - since) : relookMs, this.#watch, connection);
  };

  #pingLater(connection: Connection): void {
    const { wsPingMs } = this.#ports.switches();
    if (wsPingMs > 0) connection.pinging = this.#ports.clock.after(wsPingMs, this.#ping, connection);
  }

  readonly #ping = (connection: Connection): void => {
    this.#ports.emit({ type: "ping", connection: connection.session.n });
    this.#pingLater(connection);
  };

  #cancel({ idle, pinging, ending }: Connection): void {
    for (const appointment of [idle, pinging, ending]) this.#ports.clock.cancel(appointment);
  }
}
