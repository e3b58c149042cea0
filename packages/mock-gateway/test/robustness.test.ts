/** What strangers, slow peers and broken clients may do to a gateway: it says so, cuts them, and serves the others. */
import { once } from "node:events";
import { readFileSync, readdirSync } from "node:fs";
import { connect, type Socket } from "node:net";
import fc from "fast-check";
import { beforeAll, afterAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { startGateway, type Gateway } from "../src/index.ts";
import { Client } from "./client.ts";

let gateway: Gateway;
/** They are dialled first and looked at last, since they are borne for ten seconds or more. */
const slowEnds = new Map<string, Promise<unknown>>();

beforeAll(async () => {
  gateway = await startGateway({
    latencyMs: 0,
    tls: true,
    switches: { maxInFlightPerUser: "off", subscribeRate: "off", quota: "off" },
  });
  await Client.echo(wsUrl(), "healthy");
  for (const [name, bytes] of Object.entries(slowPeers))
    slowEnds.set(name, once((await dial(bytes)).resume(), "close"));
}, 60_000);
afterAll(() => gateway.stop());

/** The plain address: the tests beneath speak TCP themselves. */
const wsUrl = (): string => gateway.url.replace("wss:", "ws:");

/** The bot that does everything right still gets its messages and is still heard. */
const isServed = async (): Promise<void> => {
  expect(await gateway.say("healthy", "still there?", { waitMs: 20_000 })).toMatchObject({
    reply: "echo: still there?",
  });
};

const dial = async (bytes: string | Buffer): Promise<Socket> => {
  const socket = connect(Number(new URL(gateway.url).port), "127.0.0.1");
  socket.on("error", () => undefined);
  await once(socket, "connect");
  socket.write(bytes);
  return socket;
};

const upgradeHead = [
  "GET / HTTP/1.1",
  "Host: 127.0.0.1",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
  "",
  "",
].join("\r\n");

const slowPeers: Readonly<Record<string, string | Buffer>> = {
  "a request head without an end": "GET /api/bots HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ",
  "an upgrade head without an end": upgradeHead.slice(0, -2),
  "not a single byte": "",
  "the first byte of TLS": Buffer.from([22]),
  "half of a TLS record": Buffer.from([22, 3, 1, 2, 0, 1, 0]),
};

/** A socket that has just been upgraded, beneath any WebSocket library. */
const upgraded = async (): Promise<Socket> => {
  const socket = await dial(upgradeHead);
  let got = "";
  while (!got.includes("\r\n\r\n")) got += String((await once(socket, "data"))[0]);
  expect(got).toMatch(/^HTTP\/1\.1 101 /);
  return socket;
};

/** A frame as a client sends it; `first` holds FIN, the reserved bits and the opcode. */
const frame = (first: number, payload: Buffer, { masked = true, length = payload.length } = {}): Buffer => {
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  head[0] = first;
  head[1] = (masked ? 0x80 : 0) | (length < 126 ? length : length < 65_536 ? 126 : 127);
  if (length >= 65_536) head.writeBigUInt64BE(BigInt(length), 2);
  else if (length >= 126) head.writeUInt16BE(length, 2);
  // A mask of zeros leaves the payload as it is.
  return Buffer.concat([head, masked ? Buffer.alloc(4) : Buffer.alloc(0), payload]);
};

describe("sockets that only cost", () => {
  test("a thousand that never subscribe harm nobody, and leave nothing behind when they are gone", async () => {
    const before = gateway.connections().length;
    const idle: WebSocket[] = [];
    for (let batch = 0; batch < 10; batch++)
      idle.push(
        ...(await Promise.all(
          Array.from({ length: 100 }, async () => {
            const ws = new WebSocket(wsUrl());
            await once(ws, "open");
            return ws;
          }),
        )),
      );
    expect(gateway.connections().filter(({ state }) => state === "open")).toHaveLength(1000);
    await isServed();
    const closed = idle.map((ws) => once(ws, "close"));
    for (const ws of idle) ws.close();
    await Promise.all(closed);
    await expect.poll(() => gateway.connections().length, { timeout: 10_000 }).toBe(before);
    const metrics = await (await fetch(`${gateway.consoleUrl}metrics`)).text();
    expect(metrics).toContain(`openws_gateway_connections ${before}\n`);
  });

  test("with subscribeTimeoutMs they are cut, and only they", async () => {
    await using strict = await startGateway({ latencyMs: 0, switches: { subscribeTimeoutMs: 60_000 } });
    const good = await Client.subscribe(strict.url);
    const idle = await Promise.all(Array.from({ length: 50 }, () => Client.open(strict.url)));
    strict.advance(61_000, { transport: true });
    expect(await Promise.all(idle.map(({ closed }) => closed))).toEqual(idle.map(() => 1006));
    expect(good.ws.readyState).toBe(WebSocket.OPEN);
    good.close();
  });

  test("half-open ones get nothing, count as gone for their bot, and are cut after a quarter of an hour", async () => {
    await using own = await startGateway({ latencyMs: 0, switches: { subscribeRate: "off" } });
    const clients = await Promise.all(Array.from({ length: 20 }, (_, n) => Client.subscribe(own.url, `bot${n}`)));
    for (const { n } of own.connections()) own.cut(n, "half-open");
    for (const { ws } of clients)
      for (let n = 0; n < 50; n++) ws.send(JSON.stringify({ cmd: "ping", headers: { req_id: "p" } }));
    expect(await own.say("bot3", "hello")).toMatchObject({ delivered: false });
    own.advance(16 * 60_000, { transport: true });
    expect(await Promise.all(clients.map(({ closed }) => closed))).toEqual(clients.map(() => 1006));
    expect(own.connections()).toEqual([]);
    expect(clients.map(({ frames }) => frames.length)).toEqual(clients.map(() => 1));
  });
});

describe("broken WebSocket", () => {
  const text = Buffer.from('{"cmd":"ping","headers":{"req_id":"p"}}');
  const broken: [string, () => Buffer, number][] = [
    ["an unmasked frame", () => frame(0x81, text, { masked: false }), 1002],
    ["a reserved bit", () => frame(0xc1, text), 1002],
    ["an unknown opcode", () => frame(0x83, text), 1002],
    ["a continuation of nothing", () => frame(0x80, text), 1002],
    ["a ping in fragments", () => frame(0x09, text), 1002],
    ["a ping above 125 bytes", () => frame(0x89, Buffer.alloc(126)), 1002],
    ["text that is no UTF-8", () => frame(0x81, Buffer.from([0xff, 0xfe])), 1007],
    ["a close with a code that may not be sent", () => frame(0x88, Buffer.from([0x03, 0xed])), 1002],
    ["a length of eight exabytes", () => frame(0x82, Buffer.alloc(16), { length: Number.MAX_SAFE_INTEGER }), 1009],
    ["a length of nine megabytes", () => frame(0x82, Buffer.alloc(16), { length: 9 * 1024 * 1024 }), 1009],
  ];
  test.for(broken)("%s is answered with its close code and an end", async ([, bytes, code]) => {
    const socket = await upgraded();
    const got: Buffer[] = [];
    socket.on("data", (data: Buffer) => got.push(data));
    socket.write(bytes());
    const ended = once(socket, "close");
    socket.once("end", () => socket.end());
    // The gateway waits for our close frame; the end of our side stands for it.
    await expect.poll(() => Buffer.concat(got).length, { timeout: 10_000 }).toBeGreaterThanOrEqual(4);
    socket.end();
    await ended;
    const answer = Buffer.concat(got);
    expect([answer[0], answer.readUInt16BE(2)]).toEqual([0x88, code]);
  });

  test("fragments that add up to more than a frame may hold are refused when they do", async () => {
    const socket = await upgraded();
    const part = Buffer.alloc(1024 * 1024, "x");
    socket.write(frame(0x01, part));
    for (let n = 0; n < 9; n++) socket.write(frame(0x00, part));
    const [answer] = (await once(socket, "data")) as [Buffer];
    expect([answer[0], answer.readUInt16BE(2)]).toEqual([0x88, 1009]);
    socket.destroy();
    await isServed();
  });

  test("compression is not agreed to, so that a small frame is a small message", async () => {
    const ws = new WebSocket(wsUrl(), { perMessageDeflate: true });
    await once(ws, "open");
    expect(ws.extensions).toBe("");
    ws.terminate();
  });

  test("whatever bytes follow an upgrade, the gateway and the others live", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 200 }), { minLength: 1, maxLength: 5 }),
        async (writes) => {
          const socket = await upgraded();
          for (const bytes of writes) socket.write(bytes);
          socket.end();
          await once(socket.resume(), "close");
        },
      ),
      { numRuns: 100 },
    );
    await isServed();
  });
});

describe("broken frames", () => {
  const folder = new URL("../../../spec/vectors/", import.meta.url);
  const wires = readdirSync(folder).flatMap((name) => {
    const { vectors } = JSON.parse(readFileSync(new URL(name, folder), "utf8")) as {
      vectors: { text?: string; frame?: unknown }[];
    };
    return vectors.map(({ text, frame: json }) => text ?? JSON.stringify(json));
  });

  test("every golden frame after an accident, of either side: each req_id that can be read is acked once, in order", async () => {
    const client = await Client.subscribe(wsUrl(), "fuzzed");
    const accident = fc.tuple(
      fc.constantFrom(...wires),
      fc.nat(),
      fc.nat(),
      fc.string({ maxLength: 3, unit: "binary" }),
    );
    const texts = fc.sample(accident, { numRuns: 2000, seed: 7 }).map(([wire, at, length, put]) => {
      const cut = at % (wire.length + 1);
      return wire.slice(0, cut) + put + wire.slice(cut + (length % 8));
    });
    const expected = texts.flatMap((text) => {
      try {
        const json = JSON.parse(text) as { cmd?: unknown; headers?: { req_id?: unknown } } | null;
        if (typeof json !== "object" || json === null || Array.isArray(json)) return [];
        const reqId = json.headers?.req_id;
        return [typeof reqId === "string" ? reqId : ""];
      } catch {
        return [];
      }
    });
    for (const text of texts) client.ws.send(text);
    client.send({ cmd: "ping", headers: { req_id: "the last" } });
    const acks: string[] = [];
    while (acks.at(-1) !== "the last") acks.push((await client.next()).headers.req_id);
    expect(acks).toEqual([...expected, "the last"]);
    await isServed();
    client.close();
  });
});

describe("the API", () => {
  const calls = [
    ["POST", "/bots"],
    ["POST", "/bots/healthy/messages"],
    ["POST", "/bots/healthy/events"],
    ["POST", "/bots/healthy/messages?wait=soon"],
    ["PATCH", "/settings"],
    ["POST", "/clock/advance"],
    ["POST", "/faults"],
    ["POST", "/bots/nobody/messages"],
    ["POST", "/bots/nobody/kick"],
    ["DELETE", "/connections/999999"],
    ["DELETE", "/faults/nothing"],
    ["GET", "/bots/nobody"],
    ["GET", "/log?after=soon"],
    ["PUT", "/bots"],
  ] as const;

  const send = async (method: string, path: string, body: string | undefined): Promise<Response> =>
    fetch(`${gateway.apiUrl}${path}`, {
      method,
      ...(body === undefined || method === "GET" ? {} : { body, headers: { "content-type": "application/json" } }),
    });

  test("whatever JSON comes, answers with what was asked or one sentence that says what is wrong, never with 500", async () => {
    const value = fc.oneof(
      fc.json({ maxDepth: 4 }),
      fc.constantFrom("", "{", "nul", "[[[[[[", "\u0000", '{"__proto__":{"x":1}}', '"x"', "1e999", "[".repeat(50_000)),
      fc
        .record(
          {
            id: fc.jsonValue(),
            from: fc.jsonValue(),
            msgtype: fc.constantFrom("text", "image", "mixed", "x", ""),
            eventtype: fc.constantFrom("enter_chat", "template_card_event", ""),
            text: fc.jsonValue(),
            image: fc.jsonValue(),
            mixed: fc.jsonValue(),
            kind: fc.constantFrom("errcode", "ack-drop", "nothing"),
            ms: fc.constantFrom(-1, 0.5, "x", null),
            switches: fc.jsonValue(),
          },
          { requiredKeys: [] },
        )
        .map((body) => JSON.stringify(body)),
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...calls), value, async ([method, path], body) => {
        const response = await send(method, path, body);
        const text = await response.text();
        expect(response.status, `${method} ${path} ${body.slice(0, 200)} → ${text}`).toBeLessThan(500);
        if (response.ok) return;
        expect(response.headers.get("content-type")).toContain("application/problem+json");
        const { status, detail } = JSON.parse(text) as { status: number; detail: string };
        expect(status).toBe(response.status);
        expect(detail).toMatch(/^.{5,}$/s);
      }),
      { numRuns: 300, seed: 11 },
    );
    gateway.set({ quota: "off", maxInFlightPerUser: "off", subscribeRate: "off", ackLatencyMs: 0, ackJitterMs: 0 });
  });

  test("a body that says it is a gigabyte is refused before it comes", async () => {
    const socket = await dial(
      `POST /api/bots HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n{`,
    );
    const [answer] = (await once(socket, "data")) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 413 .*"detail":"the body is larger than/s);
    socket.destroy();
  });

  test("one that does not say how long it is is refused when it has become too long", async () => {
    const piece = new Uint8Array(1024 * 1024).fill(32);
    let sent = 0;
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        if (sent++ < 200) controller.enqueue(piece);
        else controller.close();
      },
    });
    // The refusal may come as an answer, or as the end of a connection on which we go on sending.
    const status = await fetch(`${gateway.apiUrl}/bots`, { method: "POST", body, duplex: "half" } as RequestInit).then(
      (response) => response.status,
      () => "cut" as const,
    );
    expect([413, "cut"]).toContain(status);
    expect(sent).toBeLessThan(200);
    await isServed();
  });
});

describe("slow peers", () => {
  test.for(Object.keys(slowPeers))("one that sends %s is let go within half a minute", async (name) => {
    await slowEnds.get(name);
    await isServed();
  });

  test("a body that stops coming does not keep others from being answered", async () => {
    const socket = await dial(
      "POST /api/bots HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    );
    await isServed();
    socket.destroy();
  });
});
