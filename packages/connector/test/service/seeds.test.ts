// What two of the systems that people come from can do, row by row: an HTTP message service (C) and a real-time listener
// (D). Real sockets and the mock gateway below, the API above; the clock of deliveries is moved.
import { createHmac } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { type Gateway, startGateway } from "@openws/mock-gateway";
import { parse } from "yaml";
import { describe, expect, onTestFinished, test } from "vitest";
import { createBot } from "../../src/index.ts";
import { createServiceApi } from "../../src/service/api/app.ts";
import { readServiceConfig } from "../../src/service/config.ts";
import { retryDelaysMs } from "../../src/service/delivery.ts";
import type { Envelope } from "../../src/service/envelope.ts";
import { folderDisk } from "../../src/service/media.spool.ts";
import { Metrics } from "../../src/service/metrics.ts";
import type { PostAnswer, PostRequest } from "../../src/service/post.ts";
import { type Service, type ServiceOptions, createService } from "../../src/service/service.ts";
import { nodeCipher } from "../../src/service/store.cipher.ts";
import { MemoryStore } from "../../src/service/store.memory.ts";
import { count, logOf } from "../../src/service/telemetry.ts";
import { type ManualClock, manualClock } from "./clock.ts";

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
      webhooks: () => [],
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
    makeBot: ({ id, ...bot }) => createBot({ botId: id, backoffBaseMs: 20, ...bot }),
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

async function* bytes(text: string): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(new TextEncoder().encode(text));
}

const from = { userid: "zhangsan" };
const file = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 1, 2, 3, 4, 5, 6, 7, 8]);
const sent = (filename: string) => ({ base64: file.toString("base64"), filename });

describe("C. an HTTP message service", () => {
  test("webhook configuration by HTTP: Config, List, Test, Update, with URL, Secret, Enabled, Timeout, RetryCount, MessageTypes, IncludeSelfMessage", async () => {
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

  test("delivery: POST, application/json, X-Webhook-Timestamp in Unix seconds, X-Webhook-Signature over timestamp, colon and raw body", async () => {
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

  test("body: key, msgId, timestamp, fromUser, toUser, msgType, content, isSelfMsg, createTime, isHistory, and raw alone beside them", async () => {
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

  test("body: msgType 3 image with its URL, 34 voice, 43 video with its URL, 49 file with title, description and URL, 10000 events", async () => {
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

  test("the receiver answers 200 within 5 s; anything else is retried RetryCount times with growing delays", async () => {
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

  test("filter by message type; own messages only when asked for", async () => {
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

  test("at least once with a stable msgId, so that receivers can tell", async () => {
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

  test("no message lost: what is unfinished is there, with its state, and goes on after a restart", async () => {
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

  test("secrets and what people write are not in the log", async () => {
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
  test("text frames as JSON, binary frames tolerated", async () => {
    const it = await world();
    await it.gateway.addFault("binary:cmd=aibot_msg_callback");
    expect(await it.say("in a binary frame")).toMatchObject({ content: "in a binary frame" });
  });

  test("heartbeat a little shorter than the server's limit, as it is configured", () => {
    const read = (env: Record<string, string>) =>
      readServiceConfig({ values: {}, echo: false, json: false }, env, { parse, readFile: () => "" }).line.connection;
    expect(read({ OPENWS_HEARTBEAT_MS: "25000" }).heartbeatMs).toBe(25_000);
    expect(read({ OPENWS_BACKOFF_BASE_MS: "1000", OPENWS_BACKOFF_MAX_MS: "30000" })).toMatchObject({
      backoffBaseMs: 1_000,
      backoffMaxMs: 30_000,
    });
  });

  test('keyword triggers (words such as "urgent") start something', async () => {
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

  test("Prometheus counters, and a log with time, level and text", async () => {
    const it = await world();
    await it.say("hello");
    await it.clock.settle();
    const { text } = await it.metrics.text();
    expect(text).toMatch(/^openws_messages_received_total\{bot="bot",kind="text"\} 1$/m);
    expect(text).toMatch(/^openws_deliveries_total\{webhook="wh_config",outcome="delivered"\} 1$/m);
    expect(text).toMatch(/^openws_subscribed\{bot="bot"\} 1$/m);
    expect(it.logged.some((line) => /^info .*subscribed/i.test(line))).toBe(true);
  });

  test("message fields: id, type, content, sender, receiver", async () => {
    const it = await world();
    const { raw } = await it.say("hello");
    expect(raw).toMatchObject({
      id: expect.stringMatching(/^msg_\d+$/) as string,
      type: "openws.message.v1",
      subject: "openws.bot.single.text",
      data: { kind: "text", text: "hello", from: "zhangsan", chat: { id: "zhangsan", type: "single" } },
    });
  });

  test("the connection is apart from the processing: a receiver that hangs holds nothing up but its own chat", async () => {
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
});
