/**
 * The world on real sockets: one port for the WebSocket upgrade (any path), the API, the page and the downloads.
 *
 * It decides nothing about the protocol. Socket events become the world's inputs, the world's effects are performed in
 * order, and one timer stands for the world's deadline. What it does decide is how a socket is cut, and what a stranger may
 * cost: frame size, waiting bytes, open connections, time to send a request head.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { getRequestListener } from "@hono/node-server";
import type { Hono } from "hono";
import { WebSocketServer, type RawData, type WebSocket } from "ws";
import { keepNewest } from "./bounded.ts";
import { openDoor, type Certificate } from "./tls.ts";
import { Gathering, Spout } from "./spout.ts";
import { World, type Answer, type CallId, type WorldEffect, type WorldInput, type WorldOptions } from "./world.ts";
import { WireLog, type WireLogBounds } from "./wirelog.ts";

/** A port could not be had; the message says which and what to do. */
export class ListenError extends Error {
  override readonly name = "ListenError";
}

/** Bytes of the largest frame that is read: a chunk of 512 KB is about 700 KB of base64. */
const maxFrameBytes = 8 * 1024 * 1024;
const maxConnections = 20_000;
/** What a ping carries whose pong is to be noted: a pong repeats it. */
const notedPing = "noted";
const maxTimerMs = 2 ** 31 - 1;
const maxTexts = 1_000;
/** How often a port that somebody else took is tried for. */
const retakeMs = 250;

/** Drives one world. `run` is the only way in. */
export class Driver {
  readonly world: World;
  readonly log: WireLog;
  /** Called when the port is to be closed or taken again. */
  portMoved: (open: boolean) => void = () => undefined;
  readonly #spouts = new Map<number, Spout>();
  readonly #gathering = new Gathering();
  /** Addresses and origins, which thousands of connections have in common. */
  readonly #texts = new Map<string, string>();
  readonly #calls = new Map<CallId, (answer: Answer) => void>();
  #calling = 0;
  #connecting = 0;
  #timer: NodeJS.Timeout | undefined;
  #armedFor: number | undefined;
  #stopped = false;
  readonly #bySocket = new WeakMap<WebSocket, Spout>();
  /** One function for all sockets: four of its own would be a fiftieth of what a connection costs. */
  readonly #on = {
    message: sharedListener(this.#bySocket, (spout, data: RawData, isBinary: boolean) => {
      const text = textOf(data);
      if (isBinary) this.run({ type: "received", connection: spout.n, text, binary: true });
      else this.run({ type: "received", connection: spout.n, text });
    }),
    ping: sharedListener(this.#bySocket, (spout, data: Buffer) => {
      const pong = this.world.pong(performance.now(), spout.n);
      if (pong.type === "nothing") return;
      if (pong.afterMs === 0) spout.pong(data, pong.masked);
      else setTimeout(() => spout.pong(data, pong.masked), pong.afterMs).unref();
    }),
    pong: sharedListener(this.#bySocket, (spout, data: Buffer) => {
      if (data.toString() === notedPing) this.run({ type: "ponged", connection: spout.n });
    }),
    close: sharedListener(this.#bySocket, (spout, code: number, reason: Buffer) => {
      this.#spouts.delete(spout.n);
      this.run({ type: "closed", connection: spout.n, code, reason: reason.toString() });
    }),
    // What went wrong is in the close that follows: 1002, 1007, 1009 or 1006.
    error: (): void => undefined,
  };

  constructor(options: WorldOptions, bounds: WireLogBounds) {
    this.world = new World({ epochMs: performance.timeOrigin, ...options });
    this.log = new WireLog(bounds);
  }

  /** Hands the world an input and performs what follows. */
  run(input: WorldInput): void {
    if (this.#stopped) return;
    this.#perform(this.world.handle(performance.now(), input));
    if (input.type === "reset") this.log.clear();
    this.#arm();
  }

  /** Hands the world an input that it answers; the answer may take as long as the input's `waitMs`. */
  ask(input: (call: CallId) => WorldInput, signal?: AbortSignal): Promise<Answer> {
    return new Promise((resolve) => {
      const call = ++this.#calling;
      this.#calls.set(call, resolve);
      signal?.addEventListener("abort", () => this.#calls.delete(call) && this.run({ type: "abandon", call }), {
        once: true,
      });
      this.run(input(call));
    });
  }

  /** Takes over a socket whose upgrade was accepted. */
  connect(ws: WebSocket, stream: Duplex, socket: Socket, host: string | undefined): void {
    const spout = new Spout(++this.#connecting, ws, stream, socket, this.#gathering);
    this.#spouts.set(spout.n, spout);
    this.#bySocket.set(ws, spout);
    const { message, ping, pong, close, error } = this.#on;
    ws.on("message", message).on("ping", ping).on("pong", pong).on("close", close).on("error", error);
    const address = (socket.remoteAddress ?? "").replace(/^::ffff:/, "");
    const origin = `${stream === socket ? "http" : "https"}://${host ?? "127.0.0.1"}`;
    this.run({ type: "opened", connection: spout.n, origin: this.#shared(origin), address: this.#shared(address) });
  }

  /** How many sockets are open, refused ones excluded. */
  get open(): number {
    return this.#spouts.size;
  }

  get residentBytes(): number {
    return process.memoryUsage.rss();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    for (const spout of this.#spouts.values()) spout.terminate();
    this.#spouts.clear();
    for (const resolve of this.#calls.values())
      resolve({ type: "refused", status: 404, detail: "the gateway was stopped" });
    this.#calls.clear();
  }

  #shared(text: string): string {
    const known = this.#texts.get(text);
    if (known === undefined) keepNewest(this.#texts, text, text, maxTexts);
    return known ?? text;
  }

  #perform(effects: readonly WorldEffect[]): void {
    for (const effect of effects) {
      switch (effect.type) {
        case "send":
          this.#spouts.get(effect.connection)?.send(effect.text, effect.manner);
          break;
        case "ping":
          this.#spouts.get(effect.connection)?.ping(effect.noted ? notedPing : "");
          break;
        case "close":
          this.#spouts.get(effect.connection)?.close(effect.code, effect.reason);
          break;
        case "reset":
          this.#spouts.get(effect.connection)?.reset();
          break;
        case "half-open":
          this.#spouts.get(effect.connection)?.silence(effect.reads);
          break;
        case "port":
          this.portMoved(effect.open);
          break;
        case "log":
          this.log.append(effect.entry);
          break;
        case "answer": {
          const resolve = this.#calls.get(effect.call);
          this.#calls.delete(effect.call);
          resolve?.(effect.answer);
        }
      }
    }
  }

  /** One timer, moved only when the deadline is nearer than what it waits for. */
  #arm(): void {
    const { deadline } = this.world;
    if (deadline === undefined) return;
    if (this.#armedFor !== undefined && this.#armedFor <= deadline) return;
    clearTimeout(this.#timer);
    this.#armedFor = deadline;
    const delay = Math.min(maxTimerMs, Math.max(0, Math.ceil(deadline - performance.now())));
    this.#timer = setTimeout(() => {
      this.#armedFor = undefined;
      this.run({ type: "tick" });
    }, delay);
    this.#timer.unref();
  }
}

/** A listening gateway. */
export interface Listening {
  readonly host: string;
  readonly port: number;
  close(): Promise<void>;
}

/** Opens the port, for TLS too when there is a certificate. Rejects with {@link ListenError} when it cannot be had. */
export const listen = async (
  driver: Driver,
  api: Hono,
  host: string,
  port: number,
  certificate?: Certificate,
): Promise<Listening> => {
  const answer = getRequestListener(api.fetch, { overrideGlobalObjects: false });
  const server: Server = createServer(
    // A client that dribbles its request head holds a socket for ten seconds, no longer.
    { headersTimeout: 10_000, requestTimeout: 120_000, connectionsCheckingInterval: 5_000 },
    (request, response) => void answer(request, response),
  );
  const wss = new WebSocketServer({
    noServer: true,
    maxPayload: maxFrameBytes,
    autoPong: false,
    // The driver knows them.
    clientTracking: false,
  });
  const door = certificate && openDoor(server, certificate);
  server.on("upgrade", (request, stream, head) => {
    stream.on("error", destroyIt);
    if (driver.open >= maxConnections) return refuseUpgrade(stream, 503, "Service Unavailable");
    const socket = door ? door.socketOf(stream) : (stream as Socket);
    const { host } = request.headers;
    const upgrade = driver.world.upgrade(performance.now());
    if (upgrade.type === "cut") return void socket.resetAndDestroy();
    if (upgrade.type === "refuse") return refuseUpgrade(stream, upgrade.status, "Refused by a fault");
    const accept = (): void => {
      stream.off("error", destroyIt);
      if (stream.writable) wss.handleUpgrade(request, stream, head, (ws) => driver.connect(ws, stream, socket, host));
    };
    if (upgrade.stallMs === 0) accept();
    else setTimeout(accept, upgrade.stallMs).unref();
  });

  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) =>
      reject(new ListenError(listenFailure(error, host, port), { cause: error })),
    );
    server.listen(port, host, resolve);
  });
  const { port: chosen } = server.address() as AddressInfo;
  let retry: NodeJS.Timeout | undefined;
  const take = (): void => void server.listen(chosen, host);
  driver.portMoved = (open) => {
    clearTimeout(retry);
    if (open) return take();
    server.close();
    // A timer keeps the process alive while nothing listens.
    retry = setTimeout(take, maxTimerMs);
  };
  // Somebody may have taken the port meanwhile; it is theirs until they let go of it.
  server.on("error", () => {
    retry = setTimeout(take, retakeMs);
  });
  return {
    host,
    port: chosen,
    close: async () => {
      driver.stop();
      clearTimeout(retry);
      wss.close();
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      server.closeAllConnections();
      door?.close();
      await closed;
    },
  };
};

const listenFailure = (error: NodeJS.ErrnoException, host: string, port: number): string => {
  switch (error.code) {
    case "EADDRINUSE":
      return `port ${port} on ${host} is in use: stop what listens there, or choose another with --listen ${host}:0`;
    case "EACCES":
      return `port ${port} on ${host} may not be used without privileges: choose one above 1023 with --listen ${host}:8900`;
    case "ENOTFOUND":
    case "EADDRNOTAVAIL":
      return `${host} is no address of this machine: use --listen 127.0.0.1:${port}`;
    default:
      return `cannot listen on ${host}:${port}: ${error.message}`;
  }
};

/** A function of its own: a closure in the upgrade handler would keep the request, with all its headers, alive. */
function destroyIt(this: Duplex): void {
  this.destroy();
}

const refuseUpgrade = (socket: Duplex, status: number, text: string): void => {
  socket.end(`HTTP/1.1 ${status} ${text}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
};

/** A listener that knows its socket by `this`. */
const sharedListener = <Told extends unknown[]>(
  bySocket: WeakMap<WebSocket, Spout>,
  act: (spout: Spout, ...told: Told) => void,
) =>
  function (this: WebSocket, ...told: Told): void {
    act(bySocket.get(this)!, ...told);
  };

const textOf = (data: RawData): string => {
  if (Array.isArray(data)) return Buffer.concat(data).toString();
  return (data instanceof ArrayBuffer ? Buffer.from(data) : data).toString();
};
