// Receivers that misbehave on a real network, each beside one that does not: what becomes of every delivery, what is said
// of it, and what reaches whom.
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { type RequestListener, type Server, createServer } from "node:http";
import { createServer as createHttps } from "node:https";
import { type AddressInfo, type Socket, connect, createServer as createTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { leftOut } from "../../../../tools/left-out.ts";
import { systemClock } from "../../src/service/clock.system.ts";
import { type DeliveryEvent, Dispatcher } from "../../src/service/delivery.ts";
import { nodePost } from "../../src/service/post.node.ts";
import { MemoryStore } from "../../src/service/store.memory.ts";
import type { Change, Delivery, Entry } from "../../src/service/store.ts";
import { type WebhookInput, Webhooks } from "../../src/service/webhooks.ts";
import { listening } from "../listening.ts";

const limit = { timeout: 20_000 };
/** What must be in no sentence and reach nobody but the receiver that was meant. */
const token = "t0ken-of-the-address";
const messages = 6;

const ended: (() => unknown)[] = [];
/** Bodies that the well-behaved receiver took. */
let good: string[];
let goodUrl: string;

beforeEach(async () => {
  good = [];
  goodUrl = await receiver((request, response) => {
    void text(request).then((body) => {
      good.push(body);
      response.end("ok");
    });
  });
});
afterEach(() => {
  for (const end of ended.splice(0).toReversed()) end();
});

const listen = (server: Server): Promise<number> => listening(server, ended);

async function receiver(listener: RequestListener): Promise<string> {
  return `http://127.0.0.1:${await listen(createServer(listener))}/hook?token=${token}`;
}

/** One that writes what it likes, once a request has begun to arrive. */
async function raw(answer: (socket: Socket) => void): Promise<string> {
  const server = createTcp((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => answer(socket));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  ended.push(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?token=${token}`;
}

/** Delivers messages of two chats to a receiver and to the good one, both of the operator's configuration or, with `api`, of a user's. */
async function deliver(url: string, options: Partial<WebhookInput> = {}, source: "config" | "api" = "config") {
  const store = new MemoryStore();
  const sealer = { seal: async (said: string) => btoa(said), unseal: async (said: string) => atob(said) };
  const webhooks = new Webhooks({ store, clock: systemClock, sealer });
  const tried = { url, retryCount: 0, timeoutMs: 1_000, ...options };
  await webhooks.load(source === "config" ? [{ url: goodUrl }, tried] : [{ url: goodUrl }]);
  if (source === "api") await webhooks.create(tried);
  const { post, close } = nodePost({});
  ended.push(close);
  const events: DeliveryEvent[] = [];
  const over = Promise.withResolvers<undefined>();
  const dispatcher = new Dispatcher({
    store,
    clock: systemClock,
    webhooks,
    post,
    allowPrivate: false,
    // The circuit is another test's.
    breaker: { threshold: 1_000 },
    request: async (_, entry) => ({ headers: { "x-signature": "s1gnature" }, body: `message ${entry.seq}` }),
    replies: {
      reply: () => Promise.reject(new Error("nobody answers")),
      stream: () => Promise.reject(new Error("nor so")),
    },
    tell: (event) => events.push(event),
  });
  for (let seq = 1; seq <= messages; seq++) {
    const at = systemClock.now();
    const chat = { id: `chat ${seq % 2}`, type: "single" } as const;
    const said = { kind: "text", chat, user: chat.id, msgid: `m${seq}`, body: { msgtype: "text" } } as const;
    const entry: Entry = { seq, bot: "bot", direction: "in", ...said, state: "received", at, changedAt: at };
    const deliveries = webhooks.deliveriesFor(entry);
    await store.commit([
      { put: "entry", entry },
      ...deliveries.map((delivery): Change => ({ put: "delivery", delivery })),
    ]);
    dispatcher.wake(entry, deliveries);
  }
  const look = async (): Promise<void> => {
    if ((await store.stats()).pendingDeliveries > 0) setTimeout(() => void look(), 10);
    else over.resolve(undefined);
  };
  void look();
  await over.promise;
  await dispatcher.drain();
  const all = await store.deliveries({ limit: 100 });
  const [goodId] = webhooks.all().flatMap((each) => (each.url === goodUrl ? [each.id] : []));
  const to = (wanted: boolean): Delivery[] => all.filter(({ webhook }) => (webhook === goodId) === wanted);
  // Nothing is lost, the other one is unharmed and had each chat in its order, and no sentence holds what is nobody's business.
  expect(to(true).map(({ state }) => state)).toEqual(Array.from({ length: messages }, () => "delivered"));
  for (const parity of [0, 1]) {
    const seqs = good.map((body) => Number(body.split(" ")[1])).filter((seq) => seq % 2 === parity);
    expect(seqs).toEqual([1, 2, 3, 4, 5, 6].filter((seq) => seq % 2 === parity));
  }
  expect(to(false)).toHaveLength(messages);
  expect(JSON.stringify([all, events])).not.toMatch(/t0ken|s1gnature/);
  return { deliveries: to(false), entries: await store.entries({ limit: 100 }) };
}

const states = ({ deliveries }: { deliveries: readonly Delivery[] }): string[] => [
  ...new Set(deliveries.map(({ state }) => state)),
];
const sentences = ({ deliveries }: { deliveries: readonly Delivery[] }): (string | undefined)[] => [
  ...new Set(deliveries.map(({ attempts }) => attempts.at(-1)?.error)),
];

it(
  "one with a certificate of its own making is told nothing, and each message is a dead letter",
  limit,
  async (context) => {
    const folder = mkdtempSync(join(tmpdir(), "openws-test-"));
    ended.push(() => rmSync(folder, { recursive: true }));
    const [keyPath, certPath] = [join(folder, "key.pem"), join(folder, "cert.pem")];
    const make = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    try {
      execFileSync("openssl", [...make, "-keyout", keyPath, "-out", certPath, "-subj", "/CN=127.0.0.1"], {
        stdio: "ignore",
      });
    } catch {
      leftOut(context, "a receiver with a bad certificate", "openssl is missing");
    }
    let told = 0;
    const server = createHttps({ key: readFileSync(keyPath), cert: readFileSync(certPath) }, () => told++);
    const port = await listen(server);
    const outcome = await deliver(`https://127.0.0.1:${port}/hook?token=${token}`);
    expect(states(outcome)).toEqual(["dead"]);
    expect(sentences(outcome)[0]).toMatch(
      /^its TLS certificate is not accepted \(DEPTH_ZERO_SELF_SIGNED_CERT\); NODE_EXTRA_CA_CERTS/,
    );
    expect(told).toBe(0);
  },
);

it("one that speaks TLS where none is expected, or HTTP where TLS is, is a sentence", limit, async () => {
  const plain = await deliver(await raw((socket) => socket.end("\u0015\u0003\u0003\u0000\u0002\u0002F")));
  expect(states(plain)).toEqual(["dead"]);
  expect(sentences(plain)[0]).toMatch(/does not speak HTTP|closed the connection/);
  good.length = 0;
  const secure = await deliver(goodUrl.replace("http:", "https:").replace("/hook", "/other"));
  expect(states(secure)).toEqual(["dead"]);
  expect(sentences(secure)[0]).toMatch(/TLS|SSL|EPROTO|closed the connection/);
});

it("one that promises more than it sends has taken the message, and is not waited for", limit, async () => {
  const outcome = await deliver(
    await raw((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n{"reply":');
      setTimeout(() => socket.destroy(), 20);
    }),
  );
  expect(states(outcome)).toEqual(["delivered"]);
  expect(sentences(outcome)[0]).toMatch(/its response could not be read/);
});

it("one that sends more than it promises has taken the message, and spoils no other's connection", limit, async () => {
  const outcome = await deliver(
    await raw((socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 500 No\r\n\r\n")),
  );
  expect(states(outcome)).toEqual(["delivered"]);
});

it("one that answers without end is cut off", limit, async () => {
  let written = 0;
  const closed: Promise<unknown>[] = [];
  const outcome = await deliver(
    await receiver((_, response) => {
      closed.push(once(response, "close", { signal: AbortSignal.timeout(5_000) }));
      const more = (): void => {
        if (response.destroyed) return;
        written++;
        response.write("x".repeat(65_536), () => setImmediate(more));
      };
      more();
    }),
  );
  expect(states(outcome)).toEqual(["delivered"]);
  expect(closed).toHaveLength(messages);
  // By nobody but the one who asked: what this test opened is ended after it.
  await Promise.all(closed);
  // What the kernel's buffers hold, and not more.
  expect((written * 65_536) / messages).toBeLessThan(8 * 1024 * 1024);
});

it("one that redirects, to a private address too, is not followed", limit, async () => {
  let asked = 0;
  const inner = await receiver((_, response) => {
    asked++;
    response.end();
  });
  const outcome = await deliver(await receiver((_, response) => response.writeHead(307, { location: inner }).end()));
  expect(states(outcome)).toEqual(["dead"]);
  expect(sentences(outcome)).toEqual([
    "the receiver redirected (307), and redirects are not followed: change the webhook's URL",
  ]);
  expect(asked).toBe(0);
});

it("one at a private address that a user of the API named is not asked, by number or by name", limit, async () => {
  let asked = 0;
  const inner = await receiver((_, response) => {
    asked++;
    response.end();
  });
  for (const url of [inner, inner.replace("127.0.0.1", "localhost")]) {
    good.length = 0;
    const outcome = await deliver(url, {}, "api");
    expect(states(outcome)).toEqual(["dead"]);
    expect(sentences(outcome)[0]).toMatch(/leads to a private address/);
  }
  expect(asked).toBe(0);
});

it("one that never answers holds up its own chats alone, for as long as it is given", limit, async () => {
  const sockets: Socket[] = [];
  ended.push(() => {
    for (const socket of sockets) socket.destroy();
  });
  const outcome = await deliver(await raw((socket) => sockets.push(socket)));
  expect(states(outcome)).toEqual(["dead"]);
  expect(sentences(outcome)).toEqual(["no response within 1000 ms"]);
  // Three of each chat, one after the other; both chats beside each other.
  const at = outcome.deliveries.map(({ attempts }) => attempts[0]!.at);
  expect(at[1]! - at[0]!).toBeLessThan(900);
  for (const seq of [2, 3, 4, 5]) expect(at[seq]! - at[seq - 2]!).toBeGreaterThanOrEqual(990);
});

it.for([302, 400, 404, 500, 503])(
  "one that answers %d has its messages kept as dead letters",
  limit,
  async (status) => {
    const outcome = await deliver(await receiver((_, response) => response.writeHead(status).end(token)));
    expect(states(outcome)).toEqual(["dead"]);
    expect(sentences(outcome)[0]).toMatch(new RegExp(String(status)));
    expect(outcome.entries.map(({ state }) => state)).toEqual(Array.from({ length: messages }, () => "dead"));
  },
);

it("one that closes its connections as they are used again loses nothing, and no try is counted", limit, async () => {
  const answered: string[] = [];
  const dropped: string[] = [];
  const server = createTcp((socket) => {
    let came = "";
    let used = false;
    socket.on("error", () => undefined);
    socket.on("data", (bytes: Buffer) => {
      came += bytes.toString();
      const [, message] = /\r\n\r\n(message \d)$/.exec(came) ?? [];
      if (message === undefined) return;
      came = "";
      if (used) {
        dropped.push(message);
        socket.destroy();
        return;
      }
      used = true;
      answered.push(message);
      socket.write("HTTP/1.1 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok");
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  ended.push(() => server.close());
  const outcome = await deliver(`http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?token=${token}`);
  expect(states(outcome)).toEqual(["delivered"]);
  expect(outcome.deliveries.map(({ tries }) => tries)).toEqual(Array.from({ length: messages }, () => 1));
  expect(answered.toSorted()).toEqual(Array.from({ length: messages }, (_, at) => `message ${at + 1}`));
  expect(dropped.length).toBeGreaterThan(0);
});

describe("behind a proxy", () => {
  const given = { headers: {}, body: "said", timeoutMs: 5_000, allowPrivate: false };

  /** One that asks for a password, and leads whatever it is asked for to the good receiver. */
  async function proxy(opens: boolean): Promise<{ url: string; asked: string[] }> {
    const asked: string[] = [];
    const server = createServer();
    server.on("connect", (request, socket: Socket) => {
      socket.on("error", () => undefined);
      asked.push(`${request.url ?? ""} ${request.headers["proxy-authorization"] ?? ""}`);
      if (!opens) {
        socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
        return;
      }
      const onward = connect(Number(new URL(goodUrl).port), "127.0.0.1", () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        socket.pipe(onward).pipe(socket);
      });
    });
    return { url: `http://user:p%40ss@127.0.0.1:${await listen(server)}`, asked };
  }

  it("a receiver is reached through it, over connections that are kept", limit, async () => {
    const { url, asked } = await proxy(true);
    const { post, close } = nodePost({ http_proxy: url });
    ended.push(close);
    for (let nth = 0; nth < 6; nth++) {
      const { body } = await post({ ...given, url: "http://receiver.example/hook" });
      expect(await text(body)).toBe("ok");
    }
    expect(good).toEqual(Array.from({ length: 6 }, () => "said"));
    expect(new Set(asked)).toEqual(new Set([`receiver.example:80 Basic ${btoa("user:p@ss")}`]));
    // A connection is free a moment after its response has ended: there may be two.
    expect(asked.length).toBeLessThan(3);
  });

  it("its refusal is a sentence without its password", limit, async () => {
    const { url } = await proxy(false);
    const { post, close } = nodePost({ http_proxy: url });
    ended.push(close);
    await expect(post({ ...given, url: "http://receiver.example/hook" })).rejects.toThrow(
      /^the proxy opens no way there: it answered 407$/,
    );
  });
});
