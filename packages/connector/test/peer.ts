/**
 * A gateway of a test's own over a real socket: it subscribes and acks like the real one unless the test says otherwise,
 * and keeps every frame. For what the mock gateway does not do on demand.
 */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import type { Frame } from "./virtual.ts";

/** One connection of the client. */
export class PeerLine {
  readonly frames: { readonly frame: Frame; readonly at: number }[] = [];
  readonly openedAt = performance.now();
  readonly closed: Promise<number>;
  readonly #ws: WebSocket;

  constructor(ws: WebSocket) {
    this.#ws = ws;
    this.closed = once(ws, "close").then(() => performance.now());
  }

  of(cmd: string): Frame[] {
    return this.frames.flatMap(({ frame }) => (frame.cmd === cmd ? [frame] : []));
  }

  get open(): boolean {
    return this.#ws.readyState === this.#ws.OPEN;
  }

  send(frame: object | string | Uint8Array): void {
    this.#ws.send(typeof frame === "string" || frame instanceof Uint8Array ? frame : JSON.stringify(frame));
  }

  ack(req_id: string, errcode = 0, errmsg = "ok", body?: object): void {
    this.send({ headers: { req_id }, errcode, errmsg, ...(body === undefined ? {} : { body }) });
  }

  /** Ends it: with a close frame, or as a network does. */
  end(code?: number): void {
    if (code === undefined) this.#ws.terminate();
    else this.#ws.close(code);
  }

  ping(): Promise<unknown> {
    this.#ws.ping();
    return once(this.#ws, "pong");
  }
}

/** What the peer answers to a frame; without a word it stays silent. */
export type Judge = (frame: Frame, line: PeerLine) => void;

/** Acks everything. */
export const obliging: Judge = ({ headers }, line) => line.ack(headers.req_id);

/** The server. */
export class Peer implements AsyncDisposable {
  readonly lines: PeerLine[] = [];
  /** What becomes of each frame; a test may change it at any time. */
  judge: Judge = obliging;
  readonly #server: WebSocketServer;
  #waiting: (() => void)[] = [];

  private constructor(server: WebSocketServer) {
    this.#server = server;
    server.on("connection", (ws) => {
      const line = new PeerLine(ws);
      this.lines.push(line);
      this.#happened();
      ws.on("error", () => undefined);
      ws.on("message", (data) => {
        const frame = JSON.parse((data as Buffer).toString()) as Frame;
        line.frames.push({ frame, at: performance.now() });
        this.judge(frame, line);
        this.#happened();
      });
      ws.on("close", () => this.#happened());
    });
  }

  static async listen(): Promise<Peer> {
    const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
    await once(server, "listening");
    return new Peer(server);
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The connection made last. */
  get line(): PeerLine {
    return this.lines.at(-1)!;
  }

  /** All frames of one command, over all connections. */
  of(cmd: string): Frame[] {
    return this.lines.flatMap((line) => line.of(cmd));
  }

  /** Resolves as soon as something the client did makes it true. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds())
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const ws of this.#server.clients) ws.terminate();
    this.#server.close();
    await once(this.#server, "close");
  }

  #happened(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}
