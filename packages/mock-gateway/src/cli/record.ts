/**
 * `openws-gateway record`: a proxy between a bot and the real gateway that writes down what crosses it, redacted.
 *
 * What passes is not touched: each message goes on as the kind it came (text or binary), pings and pongs are passed rather
 * than answered, a close goes on with its code, a cut as a cut, a refused upgrade with its status. A peer that falls silent
 * is silent through the proxy, too. What is written never holds what belongs to somebody (redact.ts); a file that can no
 * longer be written ends the recording and leaves the bot connected.
 *
 * It does not see what a client downloads: those addresses lead to another host.
 */
import { randomInt } from "node:crypto";
import { closeSync, openSync, writeSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { WebSocket, WebSocketServer, type RawData } from "ws";
import { readListen } from "../index.ts";
import { Redactor } from "../redact.ts";
import { readArgs, UsageError, type Command } from "./usage.ts";

/** The first line of a recording. */
export interface RecordingHeader {
  readonly openwsRecording: 1;
  /** The day, UTC; instants below count from the start. */
  readonly date: string;
  readonly upstream: string;
  readonly keepText: boolean;
}

/** Each further line. `in` is from the bot to the gateway, `out` the other way. */
export interface RecordedLine {
  /** Counts from 1. */
  readonly seq: number;
  /** Milliseconds since the recording began. */
  readonly at: number;
  /** Counts from 1. */
  readonly connection: number;
  readonly dir: "in" | "out";
  readonly what: "open" | "message" | "ping" | "pong" | "close" | "cut" | "refused";
  /** A message, redacted; absent where it is no UTF-8. */
  readonly text?: string;
  /** Bytes of a message, or of a ping's payload, as they crossed the wire. */
  readonly bytes?: number;
  readonly binary?: true;
  /** Of a close; 1005 is a close frame without a code. Of a refused upgrade: its HTTP status. */
  readonly code?: number;
}

/** What a recorder is told. */
export interface RecorderOptions {
  /** `ws:` or `wss:`. */
  readonly upstream: string;
  /** Default `127.0.0.1:8901`. */
  readonly listen?: string;
  readonly keepText?: boolean;
  /** Takes each line, without its end. */
  readonly write: (line: string) => void;
}

/** A running proxy. */
export interface Recorder extends AsyncDisposable {
  /** Where the bot is to connect. */
  readonly url: string;
  /** Ends every connection and closes the port. */
  stop(): Promise<void>;
}

const maxFrameBytes = 64 * 1024 * 1024;
/** Bytes that may wait for a slow receiver before its peer is no longer read. */
const maxWaitingBytes = 8 * 1024 * 1024;
const dialMs = 15_000;

/** Starts a recorder. Rejects when the port cannot be had. */
export const startRecorder = async (options: RecorderOptions): Promise<Recorder> => {
  const { upstream, listen = "127.0.0.1:8901", keepText = false, write } = options;
  const redactor = new Redactor({ random: () => randomInt(2 ** 32) / 2 ** 32, keepText });
  const began = performance.now();
  const header: RecordingHeader = {
    openwsRecording: 1,
    date: new Date().toISOString().slice(0, 10),
    upstream: redactor.url(upstream),
    keepText,
  };
  write(JSON.stringify(header));
  let seq = 0;
  let connections = 0;

  const server = createServer(
    (_request, response) => void response.writeHead(426).end("a WebSocket is expected here\n"),
  );
  const wss = new WebSocketServer({
    noServer: true,
    maxPayload: maxFrameBytes,
    autoPong: false,
    perMessageDeflate: false,
  });
  const sockets = new Set<Duplex>();

  server.on("upgrade", (request, stream, head) => {
    sockets.add(stream);
    stream.once("close", () => sockets.delete(stream));
    stream.on("error", () => stream.destroy());
    const connection = ++connections;
    const note = (dir: RecordedLine["dir"], what: RecordedLine["what"], more: Partial<RecordedLine> = {}): void => {
      const line: RecordedLine = {
        seq: ++seq,
        at: Math.round((performance.now() - began) * 10) / 10,
        connection,
        dir,
        what,
        ...more,
      };
      write(JSON.stringify(line));
    };
    const far = dial(upstream, request);
    const giveUp = (): void => far.terminate();
    stream.once("close", giveUp);
    far.once("unexpected-response", (_request, response) => {
      const { statusCode: code = 502, statusMessage: words = "Bad Gateway" } = response;
      note("out", "refused", { code });
      stream.end(`HTTP/1.1 ${code} ${words}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
      far.terminate();
    });
    far.on("error", () => {
      if (far.readyState !== WebSocket.OPEN && stream.writable && !wasUpgraded)
        stream.end("HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    });
    let wasUpgraded = false;
    far.once("open", () => {
      wasUpgraded = true;
      stream.off("close", giveUp);
      // The gateway chose among the bot's sub-protocols; the bot gets that choice.
      wss.options.handleProtocols = () => far.protocol || false;
      wss.handleUpgrade(request, stream, head, (near) => {
        note("in", "open");
        pass(near, far, (what, more) => note("in", what, more), redactor);
        pass(far, near, (what, more) => note("out", what, more), redactor);
      });
    });
  });

  const { host, port } = readListen(listen);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  const { port: chosen } = server.address() as AddressInfo;
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> =>
    (stopping ??= new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
      for (const socket of sockets) socket.destroy();
    }));
  return { url: `ws://${host.includes(":") ? `[${host}]` : host}:${chosen}`, stop, [Symbol.asyncDispose]: stop };
};

/** Dials the gateway the way the bot dialled us: its path, its sub-protocols, the headers that are its own. */
const dial = (upstream: string, request: IncomingMessage): WebSocket => {
  const url = new URL(upstream);
  const asked = new URL(request.url ?? "/", "http://bot");
  if (asked.pathname !== "/") url.pathname = asked.pathname;
  if (asked.search !== "") url.search = asked.search;
  const protocols = request.headers["sec-websocket-protocol"]?.split(/\s*,\s*/) ?? [];
  const own = ["user-agent", "authorization", "origin"].flatMap((name) => {
    const value = request.headers[name];
    return typeof value === "string" ? [[name, value]] : [];
  });
  return new WebSocket(url, protocols, {
    headers: Object.fromEntries(own) as Record<string, string>,
    handshakeTimeout: dialMs,
    maxPayload: maxFrameBytes,
    autoPong: false,
    perMessageDeflate: false,
  });
};

/** Passes what comes from one side on to the other. */
const pass = (
  from: WebSocket,
  to: WebSocket,
  note: (what: RecordedLine["what"], more?: Partial<RecordedLine>) => void,
  redactor: Redactor,
): void => {
  from.on("message", (data: RawData, isBinary: boolean) => {
    const bytes = Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data as Buffer);
    note("message", {
      bytes: bytes.length,
      ...textOf(bytes, redactor),
      ...(isBinary ? { binary: true as const } : {}),
    });
    if (to.readyState !== WebSocket.OPEN) return;
    to.send(bytes, { binary: isBinary }, () => {
      if (from.isPaused && to.bufferedAmount < maxWaitingBytes) from.resume();
    });
    if (to.bufferedAmount >= maxWaitingBytes) from.pause();
  });
  from.on("ping", (payload: Buffer) => {
    note("ping", { bytes: payload.length });
    if (to.readyState === WebSocket.OPEN) to.ping(payload);
  });
  from.on("pong", (payload: Buffer) => {
    note("pong", { bytes: payload.length });
    if (to.readyState === WebSocket.OPEN) to.pong(payload);
  });
  from.on("error", () => undefined);
  from.on("close", (code: number, reason: Buffer) => {
    // A side that answered a close, or that we ended because the other had gone, did not act.
    if (to.readyState !== WebSocket.OPEN) return;
    if (code === 1006) {
      note("cut");
      resetOf(to);
      return;
    }
    note("close", { code });
    if (code === 1005) to.close();
    else to.close(code, reason);
  });
};

/** Ends a connection beneath WebSocket, as its peer ended. */
const resetOf = (ws: WebSocket): void => {
  // Public in practice (the stream that carries the frames), though the library does not declare it.
  const { _socket: socket } = ws as unknown as { _socket?: Socket };
  if (socket && "encrypted" in socket) ws.terminate();
  else socket?.resetAndDestroy();
};

const textOf = (bytes: Buffer, redactor: Redactor): { text: string } | undefined => {
  try {
    return { text: redactor.frame(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)) };
  } catch {
    return undefined;
  }
};

const help = `usage: openws-gateway record --upstream URL --out FILE [--listen HOST:PORT] [--keep-text]

Passes a bot's traffic through to a real gateway and writes a redacted log of it, for "openws-gateway vectors FILE".

  --upstream URL     the gateway, such as wss://openws.work.weixin.qq.com
  --out FILE         a file that does not exist yet
  --listen HOST:PORT where the bot is to connect; port 0 chooses a free one (default 127.0.0.1:8901)
  --keep-text        keeps what people and the bot wrote, except for ids, addresses and long numbers in it
  --json             the first line on standard output is {"ready":true,"url":…}

Secrets, ids, names, keys and addresses are replaced by placeholders, the same for the same throughout the file.
Look through the file before you give it away all the same.
`;

export const record: Command = async (args) => {
  const { values } = readArgs({
    args,
    options: {
      upstream: { type: "string" },
      out: { type: "string" },
      listen: { type: "string" },
      "keep-text": { type: "boolean" },
      json: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  const { upstream, out } = values;
  if (upstream === undefined || !/^wss?:\/\//.test(upstream) || !URL.canParse(upstream))
    throw new UsageError("--upstream must be a ws:// or wss:// address");
  if (out === undefined) throw new UsageError("--out must name the file to write");
  const listen = values.listen ?? "127.0.0.1:8901";
  readListen(listen);

  let file = openNew(out);
  let failed = false;
  const write = (line: string): void => {
    if (file === undefined) return;
    try {
      writeSync(file, `${line}\n`);
    } catch (error) {
      failed = true;
      file = undefined;
      process.stderr.write(
        `openws-gateway: the recording ended, the bot stays connected: ${(error as Error).message}\n`,
      );
    }
  };
  const ended = new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });
  const recorder = await startRecorder({ upstream, listen, keepText: values["keep-text"] ?? false, write }).catch(
    (error: unknown) => {
      throw new UsageError(`cannot listen on ${listen}: ${(error as Error).message}`, { cause: error });
    },
  );
  process.stdout.write(
    values.json
      ? `${JSON.stringify({ ready: true, url: recorder.url })}\n`
      : `ready\n  export WECOM_BOT_WS_URL=${recorder.url}\n`,
  );
  await ended;
  await recorder.stop();
  // What a peer still says while it goes is not written any more.
  const written = file;
  file = undefined;
  if (written !== undefined) closeSync(written);
  return failed ? 1 : 0;
};

/** Opens a file for its owner alone; one that exists is not overwritten. */
const openNew = (path: string): number | undefined => {
  try {
    return openSync(path, "wx", 0o600);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new UsageError(
      code === "EEXIST" ? `${path} exists already: name another file` : `cannot write ${path}: ${message}`,
      {
        cause: error,
      },
    );
  }
};
