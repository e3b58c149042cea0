/**
 * The runtime of Node and Deno: sockets through `ws`, because their own WebSockets cannot be let go of. On a half-open
 * socket `close()` fires nothing for more than a minute and keeps a Deno process alive (measured); `terminate()` ends it
 * at once.
 */
import { HttpsProxyAgent } from "https-proxy-agent";
import WebSocket from "ws";
import { FrameWriter } from "./runtime.frames.ts";
import type { Runtime, Socket, SocketEvents } from "./runtime.ts";
import { proxyFor } from "./runtime.proxy.ts";

/** The longest message that is taken, in bytes. The gateway's own are far below; without a bound a peer could fill the memory. */
const maxPayloadBytes = 16 * 1024 * 1024;

/** How long a polite goodbye may take before the socket is cut. */
const goodbyeMs = 1_000;

/** Longest delay that setTimeout takes as it is; beyond it fires at once. */
const longestTimeoutMs = 0x7fff_ffff;

/** How sockets are opened. */
export interface NodeRuntimeOptions {
  /** Where proxies are named (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY); `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /**
   * Certificates (PEM) of authorities to trust instead of the well-known ones, for a private deployment. For these in
   * addition to the well-known ones set NODE_EXTRA_CA_CERTS before the process starts.
   */
  readonly ca?: string | readonly string[] | undefined;
  /** How long a socket may take nothing of what is sent before it is given up; 30,000. */
  readonly writeMs?: number | undefined;
}

/** A runtime on Node's event loop, monotonic clock and TCP stack. */
export function nodeRuntime({ env = process.env, ca, writeMs = 30_000 }: NodeRuntimeOptions = {}): Runtime {
  return {
    now: () => performance.now(),
    wakeAt(at, wake) {
      let timer = setTimeout(ring, delayTo(at));
      function ring(): void {
        if (performance.now() >= at) wake();
        else timer = setTimeout(ring, delayTo(at));
      }
      return () => clearTimeout(timer);
    },
    random: Math.random,
    dial: (url, events) => dial(url, events, { env, ca, writeMs }),
  };
}

/** Rounded up: an alarm that rings a fraction early would be set again, and again. */
function delayTo(at: number): number {
  return Math.min(Math.max(0, Math.ceil(at - performance.now())), longestTimeoutMs);
}

type Dialling = Pick<NodeRuntimeOptions, "ca"> & {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly writeMs: number;
};

function dial(url: string, events: SocketEvents, { env, ca, writeMs }: Dialling): Socket {
  let dropped = false;
  let ws: WebSocket;
  try {
    const proxy = proxyFor(new URL(url), env);
    ws = new WebSocket(url, {
      perMessageDeflate: false,
      maxPayload: maxPayloadBytes,
      ...(proxy === undefined ? {} : { agent: new HttpsProxyAgent(proxy) }),
      ...(ca === undefined ? {} : { ca: typeof ca === "string" ? ca : [...ca] }),
    });
  } catch (error) {
    // An address that ws will not even try, or a proxy that cannot be one; told later, as any other failure to connect is.
    const reason = sentenceOf(error as Error);
    setImmediate(() => {
      if (!dropped) events.closed(1006, reason);
    });
    return {
      send: () => undefined,
      drop: () => {
        dropped = true;
      },
    };
  }
  let trouble = "";
  ws.on("open", () => {
    if (!dropped) events.opened();
  });
  ws.on("message", (data) => {
    // With the default binaryType a message arrives as one Buffer, text and binary alike.
    if (!dropped) events.received((data as Buffer).toString());
  });
  // Stays for the socket's whole life: terminating one that is still connecting emits an error, which nobody else would hear.
  ws.on("error", (error) => {
    trouble = sentenceOf(error);
  });
  // A peer that reads no more: what is sent piles up here and no write ever fails. The system's socket knows whether
  // anything at all moves; it is asked only while something waits.
  let writer: FrameWriter | undefined;
  ws.on("upgrade", ({ socket }) => {
    writer = new FrameWriter(socket, () => {
      if (ws.bufferedAmount > 0 && (socket.timeout ?? 0) === 0) socket.setTimeout(writeMs);
    });
    socket.on("timeout", () => {
      if (ws.bufferedAmount === 0) {
        socket.setTimeout(0);
        return;
      }
      trouble = `nothing of what was sent was taken for ${writeMs} ms`;
      ws.terminate();
    });
  });
  ws.on("close", (code, reason) => {
    if (!dropped) events.closed(code, reason.toString("utf8") || trouble);
  });
  return {
    send(text) {
      if (ws.readyState === WebSocket.OPEN) writer?.send(text);
    },
    drop(politely) {
      dropped = true;
      if (!politely || ws.readyState !== WebSocket.OPEN) {
        ws.terminate();
        return;
      }
      writer?.flush();
      ws.close(1000);
      const timer = setTimeout(() => ws.terminate(), goodbyeMs);
      ws.once("close", () => clearTimeout(timer));
    },
  };
}

/** Node joins the failures of several addresses into one error without a message of its own. */
function sentenceOf(error: Error): string {
  if (error instanceof AggregateError && error.message === "")
    return error.errors.map((each: unknown) => (each instanceof Error ? each.message : String(each))).join("; ");
  const status = /Unexpected server response: (\d+)/.exec(error.message)?.[1];
  if (status === "407") return "the proxy asks for a user name and password (407)";
  if (status !== undefined) return `the server answered the upgrade with status ${status}`;
  return error.message;
}
