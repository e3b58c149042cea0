import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type WebSocket, WebSocketServer } from "ws";
import { nodeRuntime } from "../src/runtime.node.ts";
import type { Socket } from "../src/runtime.ts";

let server: WebSocketServer;
let peer: WebSocket;
let socket: Socket;
let received: string[];
let closed: { code: number; reason: string } | undefined;

beforeEach(async () => {
  server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false });
  await once(server, "listening");
  received = [];
  closed = undefined;
  const connected = once(server, "connection") as Promise<[WebSocket]>;
  const opened = Promise.withResolvers<undefined>();
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
  socket = nodeRuntime({ env: {} }).dial(url, {
    opened: () => opened.resolve(undefined),
    received: () => undefined,
    closed: (code, reason) => {
      closed = { code, reason };
    },
  });
  [peer] = await connected;
  peer.on("message", (data: Buffer) => received.push(data.toString()));
  await opened.promise;
});

afterEach(async () => {
  socket.drop(false);
  await new Promise((resolve) => {
    server.close(resolve);
  });
});

const arrived = async (count: number): Promise<void> => {
  while (received.length < count && closed === undefined) await once(peer, "message");
};

describe("frames", () => {
  test("of every length of head, and one byte to each side of it, arrive as they were sent and in order", async () => {
    const lengths = [
      0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 128, 65_521, 65_522, 65_523, 65_535, 65_536, 65_537, 200_000,
    ];
    const texts = lengths.map((length, n) => String.fromCharCode(97 + n).repeat(length));
    for (const text of texts) socket.send(text);
    await arrived(texts.length);
    expect(received).toEqual(texts);
    for (const text of texts) {
      socket.send(text);
      await new Promise(setImmediate);
    }
    await arrived(2 * texts.length);
    expect(received.slice(texts.length)).toEqual(texts);
  });

  test("of any script arrive as they were sent, wherever in a page they begin", async () => {
    const texts = Array.from({ length: 64 }, (_, n) => `${"x".repeat(n)}谢谢 𠮷 é ${"🙂".repeat(n)}`);
    for (const text of texts) socket.send(text);
    await arrived(texts.length);
    expect(received).toEqual(texts);
  });

  test("that the system cannot take yet are not written over by later ones", async () => {
    peer.pause();
    const texts = Array.from({ length: 40 }, (_, n) => `${n} `.repeat(250_000));
    for (const text of texts) {
      socket.send(text);
      await new Promise(setImmediate);
    }
    peer.resume();
    await arrived(texts.length);
    expect(received.map((text) => text.slice(0, 4))).toEqual(texts.map((text) => text.slice(0, 4)));
    expect(received).toEqual(texts);
  });

  test("that were sent before a polite goodbye arrive before it", async () => {
    socket.send("one");
    socket.send("two");
    socket.drop(true);
    const [code] = (await once(peer, "close")) as [number];
    expect(received).toEqual(["one", "two"]);
    expect(code).toBe(1000);
  });

  test("that are sent when the peer has gone do nothing, and the end is told once", async () => {
    peer.terminate();
    while (closed === undefined) {
      socket.send("nobody reads this");
      await new Promise(setImmediate);
    }
    socket.send("nor this");
    expect(closed.code).toBe(1006);
  });
});
