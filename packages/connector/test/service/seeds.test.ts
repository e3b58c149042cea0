// What two of the systems that people come from can do, row by row: an HTTP message service (C) and a real-time listener
// (D). Real sockets and the mock gateway below, the API above; the clock of deliveries is moved. What the example receivers
// have to answer (C6, C7) is in tools/test/receivers.ts, queues (D4) in sinks.test.ts and the lane brokers, the other two
// systems (A, B) in test/seeds.test.ts.
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text as readText } from "node:stream/consumers";
import { setImmediate as turn } from "node:timers/promises";
import { type Gateway, startGateway } from "@openws/mock-gateway";
import { parse } from "yaml";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { WebSocketServer } from "ws";
import { createBot as createVirtualBot } from "../../src/bot.ts";
import { createBot } from "../../src/index.ts";
import { createServiceApi } from "../../src/service/api/app.ts";
import { readServiceConfig } from "../../src/service/config.ts";
import { retryDelaysMs } from "../../src/service/delivery.ts";
import type { Envelope } from "../../src/service/envelope.ts";
import { folderDisk } from "../../src/service/media.spool.ts";
import { Metrics } from "../../src/service/metrics.ts";
import type { PostAnswer, PostRequest } from "../../src/service/post.ts";
import { type Service, type ServiceOptions, createService } from "../../src/service/service.ts";
import { WebhookVerificationError, verifyWebhook } from "../../src/service/signature.ts";
import { nodeCipher } from "../../src/service/store.cipher.ts";
import { MemoryStore } from "../../src/service/store.memory.ts";
import { count, logOf } from "../../src/service/telemetry.ts";
import { ask as askReplica, replica, settingsOf } from "../lease/replicas.ts";
import { serveWhole } from "../process.ts";
import { VirtualRuntime, quiet } from "../virtual.ts";
import { type ManualClock, manualClock } from "./clock.ts";

const slow = { timeout: 60_000 };
const poll = { timeout: 20_000 };
const url = "https://receiver.example/hook";
const secret = "0123456789abcdef";

interface World {
  readonly gateway: Gateway;
  readonly service: Service;
  readonly clock: ManualClock;
  readonly posted: (PostRequest & { readonly at: number; readonly envelope: Envelope })[];
  readonly logged: string[];
  readonly metrics: Metrics;
  /** What the receiver answers from now on. */
  answer: (request: PostRequest) => Promise<Partial<PostAnswer>> | Partial<PostAnswer>;
  readonly ask: (
    method: string,
    path: string,
    body?: unknown,
  ) => Promise<{ status: number; json: Record<string, unknown> }>;
  /** Waits for real sockets and promises, without any time passing for deliveries. */
  readonly until: <Value>(look: () => Value | undefined | false) => Promise<Value>;
  /** Says something and resolves with the delivery of it. */
  readonly say: (message: Parameters<Gateway["say"]>[1]) => Promise<Envelope>;
}

async function world(options: Partial<ServiceOptions> = {}): Promise<World> {
  const gateway = await startGateway({
    latencyMs: 0,
    switches: { maxInFlightPerUser: 0 },
    bots: [{ id: "bot", secret: "secret", name: "Bot" }],
  });
  onTestFinished(() => gateway.stop());
  const folder = await mkdtemp(join(tmpdir(), "openws-seeds-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const clock = manualClock(Date.now());
  const posted: World["posted"] = [];
  const logged: string[] = [];
  const made: { service?: Service } = {};
  const metrics = new Metrics(
    {
      bots: () => (made.service?.bots() ?? []).map(({ id, state }) => ({ id, ...state })),
      store: () => made.service!.store.stats(),
      storeTrouble: () => undefined,
      sinks: async () => [],
      webhooks: () => [],
      pacedChats: (bot) => made.service!.pacedChats(bot),
      inboxHeld: () => 0,
      openStreams: () => 0,
      now: () => Date.now(),
    },
    "1.0.0",
  );
  const it: Pick<World, "answer"> = { answer: () => ({}) };
  const service = await createService({
    store: new MemoryStore(),
    clock,
    cipher: nodeCipher,
    storeKey: new Uint8Array(32).fill(7),
    makeBot: ({ id, ...bot }) => createBot({ botId: id, backoffBaseMs: 20, meter: metrics.line(id), ...bot }),
    bots: [{ id: "bot", secret: "secret", name: "Bot", url: gateway.url }],
    post: async (request) => {
      posted.push({ ...request, at: clock.now(), envelope: JSON.parse(request.body) as Envelope });
      const nothing = { status: 200, header: () => undefined, body: bytes(""), discard: () => undefined };
      return { ...nothing, ...(await it.answer(request)) };
    },
    webhooks: [{ url, secret }],
    media: { disk: await folderDisk(folder) },
    baseUrl: () => "https://bots.example",
    tell: (event) => {
      count(metrics, event);
      const record = logOf(event);
      if (record !== undefined) logged.push(`${record.level} ${record.message} ${JSON.stringify(record.fields)}`);
    },
    ...options,
  });
  made.service = service;
  onTestFinished(async () => {
    const stopped = service.stop(1);
    await clock.advance(1_000);
    await stopped;
  });
  service.start();
  await gateway.waitForBot("bot");
  const app = createServiceApi(
    { service, version: "1.0.0", failed: (error) => logged.push(String(error)), metrics: () => metrics.text() },
    { keys: ["key"], readKeys: [], allowed: () => true, addressOf: () => undefined },
  );
  const until: World["until"] = async (look) => {
    const late = performance.now() + 10_000;
    for (;;) {
      const found = look();
      if (found !== undefined && found !== false) return found;
      if (performance.now() > late) throw new Error("it did not come within ten seconds");
      await turn();
    }
  };
  return Object.assign(it, {
    gateway,
    service,
    clock,
    posted,
    logged,
    metrics,
    until,
    ask: async (method: string, path: string, body?: unknown) => {
      const response = await app.request(path, {
        method,
        headers: { authorization: "Bearer key", "content-type": "application/json" },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      return { status: response.status, json: (await response.json()) as Record<string, unknown> };
    },
    say: async (message: Parameters<Gateway["say"]>[1]) => {
      const before = posted.length;
      await gateway.say("bot", message);
      return until(() => posted[before]?.envelope);
    },
  });
}

/** A bot in virtual time, on the line that the service's configuration makes of this environment. */
async function lineOf(env: Record<string, string>): Promise<{ readonly runtime: VirtualRuntime }> {
  const flags = { values: {}, echo: false, json: false };
  const { connection } = readServiceConfig(flags, env, { parse, readFile: () => "" }).line;
  const runtime = new VirtualRuntime();
  const bot = createVirtualBot({ botId: "bot", secret: "secret", runtime, ...connection });
  onTestFinished(() => void bot.stop(0));
  void bot.start();
  await quiet();
  return { runtime };
}

async function* bytes(text: string): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(new TextEncoder().encode(text));
}

const from = { userid: "zhangsan" };
const file = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 1, 2, 3, 4, 5, 6, 7, 8]);
const sent = (filename: string) => ({ base64: file.toString("base64"), filename });

describe("C. an HTTP message service", () => {
  test("C1 webhook configuration by HTTP: Config, List, Test, Update, with URL, Secret, Enabled, Timeout, RetryCount, MessageTypes, IncludeSelfMessage", async () => {
    const { ask, posted } = await world({ webhooks: [] });
    const settings = {
      Secret: secret,
      Enabled: true,
      Timeout: 5,
      RetryCount: 3,
      MessageTypes: ["1"],
      IncludeSelfMessage: false,
    };
    expect((await ask("POST", "/v1/webhook/Config", { URL: url, ...settings })).json).toMatchObject({
      URL: url,
      Timeout: 5,
    });
    expect((await ask("PUT", "/v1/webhook/Update", { URL: url, RetryCount: 4, Enabled: true })).json).toMatchObject({
      RetryCount: 4,
    });
    expect((await ask("GET", "/v1/webhook/List")).json).toMatchObject({
      Webhooks: [
        { URL: url, Enabled: true, Timeout: 5, RetryCount: 4, MessageTypes: ["1"], IncludeSelfMessage: false },
      ],
    });
    expect((await ask("GET", "/v1/webhook/Test")).json).toMatchObject({ Results: [{ URL: url, Success: true }] });
    expect(posted[0]?.envelope).toMatchObject({ msgType: 1 });
  });

  test("C2 delivery: POST, application/json, X-Webhook-Timestamp in Unix seconds, X-Webhook-Signature over timestamp, colon and raw body", async () => {
    const { say, posted } = await world();
    await say("hello");
    const { headers, body } = posted[0]!;
    expect(headers["content-type"]).toBe("application/json");
    const timestamp = headers["x-webhook-timestamp"]!;
    expect(Math.abs(Number(timestamp) - Date.now() / 1000)).toBeLessThan(30);
    expect(headers["x-webhook-signature"]).toBe(
      createHmac("sha256", secret).update(`${timestamp}:${body}`).digest("hex"),
    );
  });

  test("C3 body: key, msgId, timestamp, fromUser, toUser, msgType, content, isSelfMsg, createTime, isHistory, and raw alone beside them", async () => {
    const { say } = await world();
    const envelope = await say({ from, msgtype: "text", text: { content: "hello" } });
    expect(Object.keys(envelope)).toEqual([
      "key",
      "msgId",
      "timestamp",
      "fromUser",
      "toUser",
      "msgType",
      "content",
      "isSelfMsg",
      "createTime",
      "isHistory",
      "raw",
    ]);
    expect(envelope).toMatchObject({
      key: "bot",
      fromUser: "zhangsan",
      toUser: "bot",
      msgType: 1,
      content: "hello",
      isSelfMsg: false,
      isHistory: false,
    });
    const group = {
      from,
      chattype: "group",
      chatid: "group-1",
      msgtype: "text",
      text: { content: "@Bot hi" },
    } as const;
    expect(await say(group)).toMatchObject({ toUser: "group-1", content: "hi" });
  });

  test("C3 body: msgType 3 image with its URL, 34 voice, 43 video with its URL, 49 file with title, description and URL, 10000 events", async () => {
    const { say, service, gateway, posted, until } = await world();
    const image = await say({ from, msgtype: "image", image: sent("a.png") });
    expect(image.msgType).toBe(3);
    expect(image.content).toMatch(/^https:\/\/bots\.example\/v1\/media\/med_\d+_0\?sig=[0-9a-f]{64}$/);
    const [, name = "", sig = ""] = /media\/(\w+)\?sig=(\w+)/.exec(image.content as string) ?? [];
    const kept = await service.file(name, sig);
    expect(
      Buffer.from(await new Response(kept!.stream as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer()),
    ).toEqual(file);
    expect(await say({ from, msgtype: "voice", voice: { content: "spoken" } })).toMatchObject({
      msgType: 34,
      content: "spoken",
    });
    const video = await say({ from, msgtype: "video", video: sent("a.mp4") });
    expect(video).toMatchObject({ msgType: 43, content: expect.stringContaining("/v1/media/") as string });
    const link = await say({ from, msgtype: "file", file: sent("report.pdf") });
    expect(link).toMatchObject({
      msgType: 49,
      content: {
        title: expect.any(String) as string,
        description: expect.any(String) as string,
        url: expect.stringContaining("/v1/media/") as string,
      },
    });
    const before = posted.length;
    await gateway.trigger("bot", { eventtype: "enter_chat", from });
    const { envelope } = await until(() => posted[before]);
    expect(envelope).toMatchObject({ msgType: 10_000, content: { event: "enter_chat" } });
  });

  // WeCom tells a bot of no emoji (47) and of no recall (10002).
  test("C3 body: what has no number of its own is msgType 49: mixed, and what nobody has heard of yet", async () => {
    const { say, gateway } = await world();
    const msg_item = [
      { msgtype: "text", text: { content: "see" } },
      { msgtype: "image", image: sent("a.png") },
    ];
    const mixed = await say({ from, msgtype: "mixed", mixed: { msg_item } });
    expect(mixed).toMatchObject({ msgType: 49, content: { title: "a.png", description: "see\n[image]" } });
    await gateway.addFault("odd-frame:what=unknown-msgtype");
    expect(await say("odd")).toMatchObject({ msgType: 49, content: { title: expect.any(String) as string } });
  });

  test("C4 the receiver answers 200 within 5 s; anything else is retried RetryCount times with growing delays", async () => {
    const it = await world({ webhooks: [{ url, secret, retryCount: 3 }] });
    it.answer = () => ({ status: 500 });
    await it.say("hello");
    expect(it.posted[0]?.timeoutMs).toBe(5_000);
    await it.clock.advance(24 * 3_600_000);
    const waits = it.posted.slice(1).map(({ at }, nth) => at - it.posted[nth]!.at);
    expect(waits).toEqual(retryDelaysMs.slice(0, 3));
    const [dead] = await it.service.store.deliveries({ states: ["dead"], limit: 10 });
    expect(dead).toMatchObject({ tries: 4 });
  });

  test("C5 filter by message type; own messages only when asked for", async () => {
    const it = await world({
      webhooks: [
        { url: "https://images.example/", secret, kinds: ["image"] },
        { url: "https://all.example/", secret },
        { url: "https://self.example/", secret, includeSelf: true, kinds: ["markdown", "stream", "text"] },
      ],
    });
    await it.gateway.say("bot", "hello");
    await it.until(() => it.posted.length >= 2);
    await it.ask("POST", "/v1/bots/bot/messages", { to: from, markdown: "from the bot" });
    const own = await it.until(() => it.posted.find(({ envelope }) => envelope.isSelfMsg));
    expect(own).toMatchObject({ url: "https://self.example/", envelope: { fromUser: "bot", toUser: "zhangsan" } });
    expect(it.posted.map(({ url: to }) => to).toSorted()).toEqual([
      "https://all.example/",
      "https://self.example/",
      "https://self.example/",
    ]);
  });

  test("C6 at least once with a stable msgId, so that receivers can tell", async () => {
    const it = await world();
    let tries = 0;
    it.answer = () => ({ status: ++tries < 3 ? 503 : 200 });
    await it.say("hello");
    await it.clock.advance(60_000);
    await it.until(() => it.posted.length === 3);
    expect(new Set(it.posted.map(({ envelope }) => envelope.msgId)).size).toBe(1);
    expect(new Set(it.posted.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
    // The gateway itself delivers again, too: that is no second message.
    await it.gateway.addFault("redeliver:over=same,reqId=same");
    await it.say("once more");
    await it.until(() => it.logged.some((line) => /again|duplicate/i.test(line)) || it.posted.length === 4);
    expect(new Set(it.posted.map(({ envelope }) => envelope.msgId)).size).toBe(2);
  });

  test("C9 no message lost: what is unfinished is there, with its state, and goes on after a restart", async () => {
    const store = new MemoryStore();
    const it = await world({ store });
    it.answer = () => ({ status: 500 });
    await it.say("hello");
    const [entry] = await store.entries({ directions: ["in"], limit: 1 });
    expect((await it.ask("GET", `/v1/messages/msg_${entry!.seq}`)).json).toMatchObject({
      state: "received",
      deliveries: [{ state: "pending", tries: 1, attempts: [{ status: 500, error: "the receiver answered 500" }] }],
    });
    const again = await world({ store });
    await again.clock.advance(60_000);
    const { envelope } = await again.until(() => again.posted.find(({ envelope: each }) => each.content === "hello"));
    expect(envelope.msgId).toBe(entry!.msgid);
  });

  test(
    "C9 horizontal scaling: of two replicas one holds the line, and what it did not finish the other does",
    slow,
    async () => {
      const gateway = await startGateway({ latencyMs: 0, bots: [{ id: "bot", secret: "s3cret-of-bot" }] });
      onTestFinished(() => gateway.stop());
      const folder = await mkdtemp(join(tmpdir(), "openws-seeds-"));
      onTestFinished(() => rm(folder, { recursive: true, force: true }));
      const posted: string[] = [];
      let status = 500;
      const receiver = createServer((request, response) => {
        void readText(request).then((body) => {
          const { content } = JSON.parse(body) as Envelope;
          if (status === 200 && typeof content === "string") posted.push(content);
          response.writeHead(status).end();
        });
      }).listen(0, "127.0.0.1");
      onTestFinished(() => void receiver.close());
      await once(receiver, "listening");
      const env = {
        ...settingsOf(gateway, `sqlite:${join(folder, "lease.db")}`, join(folder, "openws.db")),
        OPENWS_WEBHOOK_URL: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`,
        OPENWS_WEBHOOK_SECRET: secret,
      };
      await using first = await replica(env);
      await gateway.waitForBot("bot", 20_000);
      await using second = await replica(env);
      await expect.poll(() => second.stderr(), poll).toMatch(/standing by/);
      await gateway.say("bot", "one", { waitMs: 0 });
      const stored = async (): Promise<string> => JSON.stringify((await askReplica(first, "/v1/messages")).json);
      await expect.poll(stored, poll).toContain("one");
      status = 200;
      await first.end("SIGKILL");
      await expect.poll(() => posted, poll).toEqual(["one"]);
      await gateway.waitForBot("bot", 20_000);
      await gateway.say("bot", "two", { waitMs: 0 });
      await expect.poll(() => posted, poll).toEqual(["one", "two"]);
    },
  );

  test("C8 constant-time signature comparison: as much is looked at wherever the difference is", async () => {
    const { say, posted } = await world();
    await say("hello");
    const { headers, body } = posted[0]!;
    const look = vi.spyOn(String.prototype, "charCodeAt");
    onTestFinished(() => look.mockRestore());
    const looks: number[] = [];
    const given = headers["x-webhook-signature"]!;
    for (const at of [0, 31, 63]) {
      const signature = `${given.slice(0, at)}${given[at] === "0" ? "1" : "0"}${given.slice(at + 1)}`;
      const changed = { "x-webhook-timestamp": headers["x-webhook-timestamp"], "x-webhook-signature": signature };
      look.mockClear();
      await expect(verifyWebhook({ secret, body, headers: changed })).rejects.toThrow(WebhookVerificationError);
      looks.push(look.mock.calls.length);
    }
    expect(looks).toEqual([looks[0], looks[0], looks[0]]);
    expect(looks[0]).toBeGreaterThanOrEqual(128);
  });

  test.for([
    ["10.0.0.0/8,fd00::/8", 403],
    ["10.0.0.0/8,127.0.0.1", 200],
  ] as const)("C8 IP allow-list: who asks from 127.0.0.1 where %s may ask gets %i", async ([networks, status]) => {
    await using running = await serveWhole(["--allow-cidr", networks], { OPENWS_DATABASE: ":memory:" });
    const answers = ["/livez", "/v1/bots"].map((path) =>
      fetch(`${running.url}${path}`, { headers: { authorization: `Bearer ${running.apiKey!}` } }),
    );
    for (const answer of await Promise.all(answers)) expect(answer.status).toBe(status);
  });

  test("C8 secrets and what people write are not in the log", async () => {
    const it = await world();
    it.answer = () => ({ status: 500 });
    await it.say("the text of the message");
    await it.say({ from: { userid: "lisi" }, msgtype: "image", image: sent("a.png") });
    const all = it.logged.join("\n");
    expect(all).not.toBe("");
    for (const hidden of [secret, "the text of the message", "aeskey", "sig="]) expect(all).not.toContain(hidden);
  });
});

describe("D. a real-time listener", () => {
  test("D1 text frames as JSON, binary frames tolerated, ping answered, pong ignored", async () => {
    const it = await world();
    await it.gateway.addFault("binary:cmd=aibot_msg_callback");
    expect(await it.say("in a binary frame")).toMatchObject({ content: "in a binary frame" });
    expect(it.gateway.log().filter(({ dir, binary }) => dir === "in" && binary === true)).toEqual([]);
    await it.gateway.addFault("ping");
    await it.until(() => it.gateway.log().some(({ text: noted }) => noted.includes("pong")));
    expect(await it.say("after the pong")).toMatchObject({ content: "after the pong" });
    expect(it.gateway.connections()).toHaveLength(1);
  });

  test("D1 a pong that nobody asked for is ignored", async () => {
    const got: string[] = [];
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    onTestFinished(() => server.close());
    await once(server, "listening");
    server.on("connection", (socket) => {
      socket.on("message", (data: Buffer) => {
        const { cmd, headers } = JSON.parse(data.toString()) as { cmd: string; headers: object };
        got.push(cmd);
        socket.pong("nobody asked");
        socket.send(JSON.stringify({ headers, errcode: 0, errmsg: "ok" }));
      });
      socket.on("close", () => got.push("closed"));
    });
    const { port } = server.address() as AddressInfo;
    const bot = createBot({ botId: "bot", secret: "secret", url: `ws://127.0.0.1:${port}`, heartbeatMs: 50 });
    onTestFinished(() => bot.stop(0));
    await bot.start();
    await expect.poll(() => got.length).toBeGreaterThanOrEqual(4);
    expect(got.slice(0, 4)).toEqual(["aibot_subscribe", "ping", "ping", "ping"]);
  });

  test("D2 heartbeat a little shorter than the server's limit: 25 s where that is asked for", async () => {
    const { runtime } = await lineOf({ OPENWS_HEARTBEAT_MS: "25000" });
    await runtime.subscribe();
    runtime.socket.acknowledge();
    await runtime.advance(24_999);
    expect(runtime.socket.of("ping")).toHaveLength(0);
    await runtime.advance(75_001);
    expect(runtime.socket.of("ping")).toHaveLength(4);
    const { runtime: other } = await lineOf({});
    await other.subscribe();
    other.socket.acknowledge();
    await other.advance(90_000);
    expect(other.socket.of("ping")).toHaveLength(3);
  });

  test("D3 exponential back-off: base 1 s, twice as long each time, 30 s at most, and up to half as much again", async () => {
    const { runtime } = await lineOf({});
    const dialledAt: number[] = [runtime.now()];
    runtime.onDial = (socket) => {
      dialledAt.push(runtime.now());
      queueMicrotask(() => socket.close());
    };
    runtime.socket.close();
    await runtime.advance(10 * 60_000);
    const waits = dialledAt.slice(1).map((at, nth) => at - dialledAt[nth]!);
    expect(waits.length).toBeGreaterThan(12);
    const bases = waits.map((_, nth) => Math.min(1_000 * 2 ** nth, 30_000));
    for (const [nth, wait] of waits.entries()) {
      expect(wait).toBeGreaterThanOrEqual(bases[nth]!);
      expect(wait).toBeLessThanOrEqual(bases[nth]! * 1.5);
    }
    // Not all at once for a thousand of them.
    expect(new Set(waits.slice(5)).size).toBeGreaterThan(5);
  });

  test('D5 keyword triggers (words such as "urgent") start something', async () => {
    const pager = "https://pager.example/";
    const it = await world({
      webhooks: [
        { url, secret },
        { url: pager, secret },
      ],
      triggers: [
        {
          name: "urgent",
          when: { keywords: ["urgent", "紧急"] },
          then: { route: "wh_config2", tag: "urgent", reply: { markdown: "somebody is on the way" } },
        },
      ],
    });
    const told = await it.gateway.say("bot", "URGENT: the server is down", { waitMs: 10_000 });
    expect(told.reply).toBe("somebody is on the way");
    const { envelope } = await it.until(() => it.posted[0]);
    expect(it.posted.map(({ url: to }) => to)).toEqual([pager]);
    expect(envelope.raw.data["tags"]).toEqual(["urgent"]);
  });

  test("D6 Prometheus counters, and a log with time, level and text", async () => {
    const it = await world();
    await it.say("hello");
    await it.clock.settle();
    const { text } = await it.metrics.text();
    expect(text).toMatch(/^openws_messages_received_total\{bot="bot",kind="text"\} 1$/m);
    expect(text).toMatch(/^openws_deliveries_total\{webhook="wh_config",outcome="delivered"\} 1$/m);
    expect(text).toMatch(/^openws_subscribed\{bot="bot"\} 1$/m);
    expect(text).toMatch(/^openws_frames_total\{bot="bot",direction="in",cmd="aibot_msg_callback"\} 1$/m);
    expect(text).toMatch(/^openws_connects_total\{bot="bot",result="subscribed"\} 1$/m);
    // From the start of the process to its first line.
    expect(text).toMatch(/^openws_deaf_seconds_total\{bot="bot"\} 0\.\d+$/m);
  });

  test("D6 the log has time, level and text in each of its lines", async () => {
    const gateway = await startGateway({ latencyMs: 0 });
    onTestFinished(() => gateway.stop());
    const line = { WECOM_BOT_ID: "bot", WECOM_BOT_SECRET: "secret", WECOM_BOT_WS_URL: gateway.url };
    await using running = await serveWhole([], { ...line, OPENWS_DATABASE: ":memory:", LOG_LEVEL: "debug" });
    await gateway.waitForBot("bot");
    await gateway.kick("bot");
    await expect.poll(running.stderr, { timeout: 10_000 }).toMatch(/another instance/);
    await running.end();
    const lines = running.stderr().trim().split("\n");
    // What pino calls debug, info, warn and error.
    const levels = new Set<number>();
    for (const each of lines.filter((text) => !text.startsWith("The API key of this run"))) {
      const { time, level, msg } = JSON.parse(each) as { time: number; level: number; msg: string };
      expect(Math.abs(time - Date.now())).toBeLessThan(60_000);
      expect(msg).toMatch(/\w/);
      levels.add(level);
    }
    expect([...levels]).toEqual(expect.arrayContaining([20, 30, 50]));
  });

  test("D7 message fields: id, type, content, sender, receiver", async () => {
    const it = await world();
    const { raw } = await it.say("hello");
    expect(raw).toMatchObject({
      id: expect.stringMatching(/^msg_\d+$/) as string,
      type: "openws.message.v1",
      subject: "openws.bot.single.text",
      data: { kind: "text", text: "hello", from: "zhangsan", chat: { id: "zhangsan", type: "single" } },
    });
  });

  test("D8 the connection is apart from the processing: a receiver that hangs holds nothing up but its own chat", async () => {
    const it = await world();
    it.answer = ({ body }) => (body.includes("slow") ? Promise.withResolvers<never>().promise : {});
    await it.say("slow");
    for (const userid of ["lisi", "wangwu"])
      await it.say({ from: { userid }, msgtype: "text", text: { content: `from ${userid}` } });
    await it.gateway.say("bot", "waits behind the slow one");
    await it.clock.settle();
    expect(it.posted.map(({ envelope }) => envelope.content)).toEqual(["slow", "from lisi", "from wangwu"]);
    expect(it.service.state().ready).toBe(true);
    const { entries } = await it.service.feed.page(0, {}, { limit: 10, waitMs: 0 });
    expect(entries.filter(({ direction }) => direction === "in")).toHaveLength(4);
  });

  test("D9 a tenth of the requests that polling takes, and no wait for a message", async () => {
    const it = await world();
    const hourMs = 3_600_000;
    const startedAt = it.clock.now();
    let cursor = 0;
    let pulls = 0;
    const heardAt: number[] = [];
    for (let said = 0; it.clock.now() - startedAt < hourMs;) {
      pulls++;
      const alarms = it.clock.alarms;
      let answered = false;
      const pulling = it.ask("GET", `/v1/events?after=${cursor}&wait=30`).finally(() => (answered = true));
      // Until it waits, or needs not.
      await it.until(() => it.clock.alarms > alarms || answered);
      // A message every six minutes, while somebody waits for it.
      if (!answered && it.clock.now() - startedAt >= said * 360_000) {
        said++;
        await it.say(`message ${said}`);
      }
      // As long as it is not answered, and no longer.
      for (let step = 0; step < 6 && !answered; step++) await it.clock.advance(5_000);
      const { json } = await pulling;
      const { events } = json as { events: { type: string; time: string }[] };
      for (const { type, time } of events)
        if (type === "openws.message.v1") heardAt.push(it.clock.now() - Date.parse(time));
      cursor = json["cursor"] as number;
    }
    expect(it.posted).toHaveLength(10);
    expect(heardAt).toEqual(Array.from({ length: 10 }, () => 0));
    // Once a second, which finds a message half a second late.
    const polls = hourMs / 1_000;
    expect(pulls).toBeLessThan(polls / 10);
    expect(it.posted.length).toBeLessThan(polls / 100);
    for (const { envelope, at } of it.posted) expect(at - envelope.timestamp * 1_000).toBeLessThan(1_000);
  });
});
