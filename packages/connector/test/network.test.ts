// What stands between a bot and its gateway in a company: proxies, authorities of its own, lines that take nothing.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { type Server, createServer as createHttp } from "node:http";
import { createServer as createHttps } from "node:https";
import { type Socket, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { WebSocketServer } from "ws";
import { leftOut } from "../../../tools/left-out.ts";
import { nodeMedia } from "../src/media.ts";
import type { SocketEvents } from "../src/runtime.ts";
import { type NodeRuntimeOptions, nodeRuntime } from "../src/runtime.node.ts";
import { proxyFor } from "../src/runtime.proxy.ts";
import { listening } from "./listening.ts";

const ended: (() => unknown)[] = [];
afterEach(() => {
  for (const end of ended.splice(0).toReversed()) end();
});

const listen = (server: Server): Promise<number> => listening(server, ended);

/** A WebSocket server that says back what it hears, behind any HTTP server. */
async function echoing(server: Server): Promise<number> {
  const wss = new WebSocketServer({ server });
  wss.on("connection", (ws) => {
    ws.on("message", (data) => ws.send((data as Buffer).toString()));
  });
  ended.push(() => {
    for (const ws of wss.clients) ws.terminate();
    wss.close();
  });
  return listen(server);
}

/** A proxy that knows one way: CONNECT. `judge` gives the status it answers. */
async function proxy(asked: string[], judge: (authorization: string | undefined) => number = () => 200) {
  const server = createHttp((_request, response) => response.writeHead(405).end());
  server.on("connect", (request, socket: Socket, head) => {
    asked.push(request.url ?? "");
    const status = judge(request.headers["proxy-authorization"]);
    if (status !== 200) {
      socket.end(`HTTP/1.1 ${status} No\r\nContent-Length: 0\r\n\r\n`);
      return;
    }
    // Names that exist nowhere but here: a proxy resolves them, its clients need not.
    const upstream = connect(Number(request.url!.split(":")[1]), "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
      upstream.write(head);
      upstream.pipe(socket).pipe(upstream);
    });
    for (const end of [socket, upstream]) end.on("error", () => socket.destroy());
    ended.push(() => upstream.destroy());
  });
  return listen(server);
}

/** Dials, says one thing, and resolves with what came of it: the echo, or code and reason of the end. */
function tryOut(url: string, options: NodeRuntimeOptions, ...texts: string[]): Promise<string> {
  return new Promise((resolve) => {
    const events: SocketEvents = {
      opened: () => {
        for (const text of texts.length === 0 ? ["hello"] : texts) socket.send(text);
      },
      received: (said) => {
        socket.drop(false);
        resolve(said);
      },
      closed: (code, reason) => resolve(`${code} ${reason}`),
    };
    const socket = nodeRuntime(options).dial(url, events);
    ended.push(() => socket.drop(false));
  });
}

describe("the proxy for an address", () => {
  const env = { HTTPS_PROXY: "http://secure:1", http_proxy: "plain:2", NO_PROXY: "" };
  test.for([
    ["wss://gateway.example", env, "http://secure:1/"],
    ["ws://gateway.example", env, "http://plain:2/"],
    ["wss://gateway.example", { ...env, https_proxy: "http://lower:3" }, "http://lower:3/"],
    ["wss://gateway.example", { ALL_PROXY: "http://all:4" }, "http://all:4/"],
    ["wss://gateway.example", { HTTP_PROXY: "http://plain:2" }, undefined],
    ["wss://gateway.example", { HTTPS_PROXY: "" }, undefined],
    ["ws://127.0.0.1:8900", env, undefined],
    ["ws://localhost:8900", env, undefined],
    ["ws://[::1]:8900", env, undefined],
    ["wss://gateway.example", { ...env, NO_PROXY: "*" }, undefined],
    ["wss://gateway.example", { ...env, NO_PROXY: "a.example, gateway.example" }, undefined],
    ["wss://a.gateway.example", { ...env, NO_PROXY: ".gateway.example" }, undefined],
    ["wss://a.gateway.example", { ...env, NO_PROXY: "*.gateway.example" }, undefined],
    ["wss://a.gateway.example", { ...env, no_proxy: "GATEWAY.example" }, undefined],
    ["wss://mygateway.example", { ...env, NO_PROXY: "gateway.example" }, "http://secure:1/"],
    ["wss://gateway.example", { ...env, NO_PROXY: "gateway.example:443" }, undefined],
    ["wss://gateway.example", { ...env, NO_PROXY: "gateway.example:8443" }, "http://secure:1/"],
    ["wss://10.1.2.3", { ...env, NO_PROXY: "10.0.0.0/8" }, undefined],
    ["wss://11.1.2.3", { ...env, NO_PROXY: "10.0.0.0/8" }, "http://secure:1/"],
    ["wss://[fd00::1]", { ...env, NO_PROXY: "fd00::1" }, undefined],
  ] as [string, Record<string, string>, string | undefined][])("of %s in %o is %s", ([url, given, expected]) => {
    expect(proxyFor(new URL(url), given)?.href).toBe(expected);
  });

  test("of a kind that is not spoken is named by its variable, never by its value", () => {
    expect(() => proxyFor(new URL("wss://x"), { HTTPS_PROXY: "socks5://user:hunter2@p:1" })).toThrow(
      /^HTTPS_PROXY must name a proxy as http:\/\/HOST:PORT or https:\/\/HOST:PORT$/,
    );
  });
});

test("a line goes through the proxy, which resolves the name and gets the password", async () => {
  const asked: string[] = [];
  const port = await echoing(createHttp());
  const via = await proxy(asked, (authorization) => (authorization === "Basic dTpw" ? 200 : 407));
  const env = { HTTP_PROXY: `http://u:p@127.0.0.1:${via}` };
  expect(await tryOut(`ws://gateway.invalid:${port}`, { env })).toBe("hello");
  expect(asked).toEqual([`gateway.invalid:${port}`]);
});

test.for([
  [407, /the proxy asks for a user name and password \(407\)/],
  [403, /status 403/],
] as const)("a proxy that answers %i is a reason, and nobody's password is in it", async ([status, reason]) => {
  const via = await proxy([], () => status);
  const said = await tryOut("ws://gateway.invalid:1", { env: { HTTP_PROXY: `http://u:hunter2@127.0.0.1:${via}` } });
  expect(said).toMatch(reason);
  expect(said).not.toContain("hunter2");
});

test("a proxy that is not there, or of another kind, is a reason", async () => {
  expect(await tryOut("ws://gateway.invalid", { env: { HTTP_PROXY: "http://127.0.0.1:1" } })).toMatch(
    /1006 .*ECONNREFUSED/,
  );
  expect(await tryOut("ws://gateway.invalid", { env: { HTTP_PROXY: "socks5://127.0.0.1:1" } })).toMatch(
    /1006 HTTP_PROXY must name a proxy/,
  );
});

test("a file is fetched through the proxy, too", async () => {
  const asked: string[] = [];
  const port = await listen(createHttp((_request, response) => response.end("content")));
  const env = { HTTP_PROXY: `http://127.0.0.1:${await proxy(asked)}` };
  const { stream } = await nodeMedia({ env }).download(`http://files.invalid:${port}/?sign=x`, undefined);
  expect(await new Response(stream).text()).toBe("content");
  expect(asked).toEqual([`files.invalid:${port}`]);
});

test("a private authority is trusted when it is named, directly and through a proxy, and not otherwise", async (context) => {
  const folder = mkdtempSync(join(tmpdir(), "openws-test-"));
  ended.push(() => rmSync(folder, { recursive: true }));
  const [keyPath, certPath] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const subject = ["-subj", "/CN=gateway.invalid", "-addext", "subjectAltName=DNS:gateway.invalid,IP:127.0.0.1"];
  const make = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  try {
    execFileSync("openssl", [...make, "-keyout", keyPath, "-out", certPath, ...subject], { stdio: "ignore" });
  } catch {
    leftOut(context, "TLS with a private authority", "openssl is missing");
  }
  const [key, cert] = [readFileSync(keyPath, "utf8"), readFileSync(certPath, "utf8")];
  const port = await echoing(createHttps({ key, cert }));
  expect(await tryOut(`wss://127.0.0.1:${port}`, { env: {} })).toMatch(/self-signed certificate/);
  expect(await tryOut(`wss://127.0.0.1:${port}`, { env: {}, ca: cert })).toBe("hello");
  const env = { HTTPS_PROXY: `http://127.0.0.1:${await proxy([])}` };
  expect(await tryOut(`wss://gateway.invalid:${port}`, { env, ca: [cert] })).toBe("hello");
  expect(await tryOut(`wss://gateway.invalid:${port}`, { env })).toMatch(/self-signed certificate/);
});

test("a peer that reads no more: the write deadline ends the socket", { timeout: 20_000 }, async () => {
  const server = createHttp();
  const wss = new WebSocketServer({ server });
  wss.on("connection", (ws) => ws.pause());
  ended.push(() => {
    for (const ws of wss.clients) ws.terminate();
    wss.close();
  });
  const port = await listen(server);
  const said = await tryOut(`ws://127.0.0.1:${port}`, { env: {}, writeMs: 200 }, "x".repeat(64 * 1_048_576));
  expect(said).toBe("1006 nothing of what was sent was taken for 200 ms");
});

test("a peer that reads slowly is not taken for one that reads no more", { timeout: 20_000 }, async () => {
  const server = createHttp();
  const wss = new WebSocketServer({ server, maxPayload: 128 * 1_048_576 });
  server.on("connection", (socket) => {
    // Reads for a moment in each 50 ms, so that every deadline sees some progress.
    const timer = setInterval(() => {
      socket.resume();
      setTimeout(() => socket.pause(), 5);
    }, 50);
    socket.on("close", () => clearInterval(timer));
  });
  wss.on("connection", (ws) => {
    let frames = 0;
    ws.on("message", () => ++frames === 200 && ws.send("all of it"));
  });
  ended.push(() => {
    for (const ws of wss.clients) ws.terminate();
    wss.close();
  });
  const port = await listen(server);
  const frames = Array.from({ length: 200 }, () => "x".repeat(100_000));
  const said = await tryOut(`ws://127.0.0.1:${port}`, { env: {}, writeMs: 400 }, ...frames);
  expect(said).toBe("all of it");
});
