/**
 * The runtime of Node and Deno: sockets through `ws`, because their own WebSockets cannot be let go of. On a half-open
 * socket `close()` fires nothing for more than a minute and keeps a Deno process alive (measured); `terminate()` ends it
 * at once.
 */
import WebSocket from "ws";
import type { Runtime, Socket, SocketEvents } from "./runtime.ts";

/** The longest message that is taken, in bytes. The gateway's own are far below; without a bound a peer could fill the memory. */
const maxPayloadBytes = 16 * 1024 * 1024;

/** How long a polite goodbye may take before the socket is cut. */
const goodbyeMs = 1_000;

/** Longest delay that setTimeout takes as it is; beyond it fires at once. */
const longestTimeoutMs = 0x7fff_ffff;

/** A runtime on Node's event loop, monotonic clock and TCP stack. */
export function nodeRuntime(): Runtime {
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
    dial,
  };
}

/** Rounded up: an alarm that rings a fraction early would be set again, and again. */
function delayTo(at: number): number {
  return Math.min(Math.max(0, Math.ceil(at - performance.now())), longestTimeoutMs);
}

function dial(url: string, events: SocketEvents): Socket {
  let dropped = false;
  let ws: WebSocket;
  try {
    ws = new WebSocket(url, { perMessageDeflate: false, maxPayload: maxPayloadBytes });
  } catch (error) {
    // An address that ws will not even try; told later, as any other failure to connect is.
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
    if (!dropped) events.received((data as Buffer).toString("utf8"));
  });
  // Stays for the socket's whole life: terminating one that is still connecting emits an error, which nobody else would hear.
  ws.on("error", (error) => {
    trouble = sentenceOf(error);
  });
  ws.on("close", (code, reason) => {
    if (!dropped) events.closed(code, reason.toString("utf8") || trouble);
  });
  return {
    send(text) {
      if (ws.readyState === WebSocket.OPEN) ws.send(text);
    },
    drop(politely) {
      dropped = true;
      if (!politely || ws.readyState !== WebSocket.OPEN) {
        ws.terminate();
        return;
      }
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
  return error.message;
}
