/**
 * Bun's runtime: its own WebSocket, which can be cut (`terminate`), and which no module of Node's stands behind.
 *
 * Deno's cannot: a socket whose peer is gone keeps its process alive after `close()` for as long as the kernel waits
 * (measured with 2.9.6), so Deno gets Node's runtime, whose `ws` works there.
 */
import type { Runtime, Socket, SocketEvents } from "./runtime.ts";
import { proxyFor } from "./runtime.proxy.ts";

/** What Bun adds to the standard. */
interface BunWebSocket extends WebSocket {
  terminate(): void;
}

type BunWebSocketConstructor = new (url: string, options: { readonly proxy?: string }) => BunWebSocket;

/** How long a socket may take nothing of what is sent before it is given up. */
const writeMs = 30_000;

/** How long a polite goodbye may take before the socket is cut. */
const goodbyeMs = 1_000;

/** Longest delay that setTimeout takes as it is; beyond it fires at once. */
const longestTimeoutMs = 0x7fff_ffff;

/** A runtime on Bun's event loop, monotonic clock and WebSocket. */
export function bunRuntime(): Runtime {
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
  let over = false;
  const end = (code: number, reason: string): void => {
    if (over) return;
    over = true;
    events.closed(code, reason);
  };
  let ws: BunWebSocket;
  try {
    const proxy = proxyFor(new URL(url), process.env);
    ws = new (WebSocket as unknown as BunWebSocketConstructor)(url, proxy === undefined ? {} : { proxy: proxy.href });
  } catch (error) {
    // An address that is none, or one that the process may not ask; told later, as any other failure to connect is.
    const reason = error instanceof Error ? error.message : String(error);
    setTimeout(() => end(1006, reason), 0);
    return {
      send: () => undefined,
      drop: () => {
        over = true;
      },
    };
  }
  ws.binaryType = "arraybuffer";
  let trouble = "";
  ws.addEventListener("open", () => {
    if (!over) events.opened();
  });
  ws.addEventListener("message", ({ data }) => {
    if (!over) events.received(typeof data === "string" ? data : new TextDecoder().decode(data as ArrayBuffer));
  });
  ws.addEventListener("error", (event) => {
    if ("message" in event && typeof event.message === "string") trouble = event.message;
  });
  // A peer that reads no more: what is sent piles up here and no write ever fails.
  let writing: ReturnType<typeof setTimeout> | undefined;
  const watch = (): void => {
    const waiting = ws.bufferedAmount;
    writing = setTimeout(() => {
      writing = undefined;
      if (ws.bufferedAmount === 0) return;
      if (ws.bufferedAmount < waiting) {
        watch();
        return;
      }
      trouble = `nothing of what was sent was taken for ${writeMs} ms`;
      ws.terminate();
    }, writeMs);
  };
  ws.addEventListener("close", ({ code, reason }) => {
    clearTimeout(writing);
    end(code, reason || trouble);
  });
  return {
    send(text) {
      if (ws.readyState !== WebSocket.OPEN) return;
      ws.send(text);
      if (writing === undefined && ws.bufferedAmount > 0) watch();
    },
    drop(politely) {
      over = true;
      clearTimeout(writing);
      if (!politely || ws.readyState !== WebSocket.OPEN) {
        ws.terminate();
        return;
      }
      ws.close(1000);
      const timer = setTimeout(() => ws.terminate(), goodbyeMs);
      ws.addEventListener("close", () => clearTimeout(timer));
    },
  };
}
