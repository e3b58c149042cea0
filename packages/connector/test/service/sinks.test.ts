import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startGateway } from "@openws/mock-gateway";
import { describe, expect, it, onTestFinished } from "vitest";
import type { MistakeError } from "../../src/mistake.ts";
import { type ApiRequest, commandHandler } from "../../src/service/commands.ts";
import { Dispatcher, type DeliveryEvent } from "../../src/service/delivery.ts";
import { cloudEventOf, subjectOf } from "../../src/service/envelope.ts";
import {
  type CommandHandler,
  type OpenSink,
  type Sink,
  type SinkMessage,
  type SinkOutcome,
  readSinks,
} from "../../src/service/sink.ts";
import { type Adapters, loadSinks } from "../../src/service/sinks/open.ts";
import { Sinks } from "../../src/service/sinks.ts";
import { MemoryStore } from "../../src/service/store.memory.ts";
import type { Change, Entry } from "../../src/service/store.ts";
import { serveWhole } from "../process.ts";
import { manualClock } from "./clock.ts";

const row = "D4 forward to RabbitMQ or Kafka to decouple";
const url = "amqp://alice:p%40ss-word@broker.example/?exchange=wecom";

/** What a broker does with a message. */
type Broker = (message: SinkMessage, nth: number) => SinkOutcome | Promise<SinkOutcome>;

function world(
  broker: Broker,
  urls = url,
  event = async (entry: Entry) => cloudEventOf(entry, `text ${entry.seq}`, []),
) {
  const clock = manualClock();
  const store = new MemoryStore();
  const events: DeliveryEvent[] = [];
  const batches: SinkMessage[][] = [];
  const taken: SinkMessage[] = [];
  let nth = 0;
  let closed = 0;
  const make = (configured = urls) => {
    const sinks = new Sinks({
      configs: readSinks(configured, "OPENWS_SINKS"),
      clock,
      event,
      open: (): Sink => ({
        publish: async (batch) => {
          batches.push([...batch]);
          return Promise.all(
            batch.map(async (message) => {
              const outcome = await broker(message, ++nth);
              if (outcome.type === "confirmed") taken.push(message);
              return outcome;
            }),
          );
        },
        close: async () => void closed++,
      }),
    });
    const dispatcher = new Dispatcher({
      store,
      clock,
      sinks,
      webhooks: { get: () => undefined, all: () => [], onChanged: () => undefined, disable: async () => undefined },
      allowPrivate: false,
      tell: (event) => events.push(event),
      request: () => Promise.reject(new Error("no webhook is here")),
      post: () => Promise.reject(new Error("no webhook is here")),
      replies: {
        reply: () => Promise.reject(new Error("nobody answers")),
        stream: () => Promise.reject(new Error("nobody answers")),
      },
    });
    return { sinks, dispatcher };
  };
  let parts = make();
  let seq = 0;
  const receive = async (chat = "zhangsan", about: Partial<Entry> = {}): Promise<Entry> => {
    const at = clock.now();
    const entry: Entry = {
      seq: ++seq,
      bot: "bot",
      direction: "in",
      kind: "text",
      chat: { id: chat, type: "single" },
      user: chat,
      msgid: `m${seq}`,
      state: "received",
      at,
      changedAt: at,
      body: { msgtype: "text", text: { content: `message ${seq}` } },
      ...about,
    };
    const deliveries = parts.sinks.deliveriesFor(entry);
    await store.commit([
      { put: "entry", entry },
      ...deliveries.map((delivery): Change => ({ put: "delivery", delivery })),
    ]);
    parts.dispatcher.wake(entry, deliveries);
    return entry;
  };
  return {
    clock,
    store,
    events,
    batches,
    taken,
    receive,
    get parts() {
      return parts;
    },
    get closed() {
      return closed;
    },
    /** As after a `kill -9`: another process over the same store. */
    restart: async (configured = urls) => {
      // What the dead process had in hand is never heard of again.
      void parts.dispatcher.drain();
      parts = make(configured);
      await parts.dispatcher.start();
    },
    ids: () => taken.map(({ id }) => Number(id.split("_").at(-1))),
    delivery: async (at: number) => (await store.deliveries({ seq: at, limit: 10 }))[0],
  };
}

const confirmed: SinkOutcome = { type: "confirmed" };
const away: SinkOutcome = { type: "away", reason: "nobody listens there" };

describe(row, () => {
  it("a message is published as a CloudEvent with subject and key, and is delivered when the broker confirms it", async () => {
    const { receive, clock, taken, store, delivery } = world(() => confirmed);
    await receive();
    await clock.settle();
    expect(taken).toMatchObject([
      { id: "/bots/bot/msg_1", type: "openws.message.v1", subject: "openws.bot.single.text", key: "bot/zhangsan" },
    ]);
    expect(JSON.parse(taken[0]!.body)).toMatchObject({
      specversion: "1.0",
      id: "msg_1",
      source: "/bots/bot",
      type: "openws.message.v1",
      subject: "openws.bot.single.text",
      data: { bot: "bot", kind: "text", text: "text 1", chat: { id: "zhangsan", type: "single" } },
    });
    expect((await store.entry(1))?.state).toBe("delivered");
    expect(await delivery(1)).toMatchObject({ id: "dlv_sink_rabbitmq_wecom_1", state: "delivered", tries: 1 });
  });

  it("what different chats say goes in one batch, and of a chat one message at a time", async () => {
    const gate = Promise.withResolvers<SinkOutcome>();
    const { receive, clock, batches, ids } = world(() => gate.promise);
    for (const chat of ["a", "a", "b", "c", "a", "b"]) await receive(chat);
    await clock.settle();
    const keys = batches.flat().map(({ key }) => key);
    expect(new Set(keys).size).toBe(keys.length);
    gate.resolve(confirmed);
    await clock.settle();
    for (const batch of batches) expect(new Set(batch.map(({ key }) => key)).size).toBe(batch.length);
    expect(batches.length).toBeLessThan(6);
    expect(ids().filter((id) => [1, 2, 5].includes(id))).toEqual([1, 2, 5]);
    expect(ids().filter((id) => [3, 6].includes(id))).toEqual([3, 6]);
  });

  it("a broker that is away for a week loses nothing and reorders no chat, also over a restart", async () => {
    let up = false;
    const { receive, clock, ids, restart, events, delivery, taken } = world(() => (up ? confirmed : away));
    for (let round = 0; round < 20; round++) {
      for (const chat of ["a", "b", "c"]) await receive(chat);
      await clock.advance(8 * 3_600_000 + 24_000);
      if (round === 10) await restart();
    }
    expect(events.some(({ type }) => type === "dead")).toBe(false);
    expect(await delivery(1)).toMatchObject({ state: "pending" });
    up = true;
    await clock.advance(120_000);
    expect(ids().toSorted((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, at) => at + 1));
    for (const chat of ["a", "b", "c"]) {
      const seqs = taken.flatMap(({ key, id }) => (key === `bot/${chat}` ? [Number(id.split("_").at(-1))] : []));
      expect(seqs).toEqual(seqs.toSorted((a, b) => a - b));
    }
    const circuits = events.flatMap((event) => (event.type === "circuit" ? [event.state] : []));
    expect(circuits).toContain("open");
    expect(circuits.at(-1)).toBe("closed");
  });

  it("of two sinks each has a delivery of its own, and the message is delivered when both have it", async () => {
    const both = `${url},kafka://broker.example/topic`;
    const { receive, clock, store, taken } = world(
      (_, nth) => (nth === 1 ? confirmed : nth < 4 ? away : confirmed),
      both,
    );
    await receive();
    await clock.settle();
    const states = async () => (await store.deliveries({ seq: 1, limit: 10 })).map(({ state }) => state);
    expect((await states()).toSorted()).toEqual(["delivered", "pending"]);
    expect((await store.entry(1))?.state).toBe("received");
    await clock.advance(60_000);
    expect(await states()).toEqual(["delivered", "delivered"]);
    expect((await store.entry(1))?.state).toBe("delivered");
    expect(taken).toHaveLength(2);
  });

  it("what the broker refuses for itself is tried again, dead in the end, and goes when it is redriven", async () => {
    let refuses = true;
    const refused: SinkOutcome = { type: "refused", reason: "no queue takes it" };
    const { receive, clock, events, delivery, parts, taken } = world(({ key }) =>
      refuses && key === "bot/a" ? refused : confirmed,
    );
    await receive("a");
    await receive("b");
    await clock.settle();
    expect(taken.map(({ key }) => key)).toEqual(["bot/b"]);
    await clock.advance(12 * 3_600_000);
    expect(await delivery(1)).toMatchObject({ state: "dead", tries: 11 });
    expect(events).toContainEqual(expect.objectContaining({ type: "dead", why: "no queue takes it" }));
    refuses = false;
    await parts.dispatcher.redrive((await delivery(1))!);
    await clock.settle();
    expect(await delivery(1)).toMatchObject({ state: "delivered" });
  });

  it("a broker that never answers is away after 15 seconds, and one that throws at once", async () => {
    const never = world((_, nth) => (nth === 1 ? Promise.withResolvers<SinkOutcome>().promise : confirmed));
    await never.receive();
    await never.clock.advance(15_000);
    expect(await never.delivery(1)).toMatchObject({
      state: "pending",
      attempts: [{ error: "the broker did not confirm within 15 s" }],
    });
    await never.clock.advance(6_000);
    expect(await never.delivery(1)).toMatchObject({ state: "delivered" });
    const thrown = world((_, nth) => {
      if (nth === 1) throw new Error("boom");
      return confirmed;
    });
    await thrown.receive();
    await thrown.clock.settle();
    expect(await thrown.delivery(1)).toMatchObject({ state: "pending", attempts: [{ error: "boom" }] });
    await thrown.clock.advance(6_000);
    expect(await thrown.delivery(1)).toMatchObject({ state: "delivered" });
  });

  it("what waits for a sink that was renamed is said at the start, goes when the name is back, and can be called off", async () => {
    const { receive, clock, events, restart, store, delivery, taken } = world(({ key }) =>
      key === "bot/b" || up ? confirmed : away,
    );
    let up = false;
    await receive("a");
    await clock.advance(1_000);
    await receive("a");
    await receive("b");
    await clock.settle();
    await restart("amqp://h/?exchange=wecom&name=renamed");
    const unclaimed = { type: "unclaimed", webhook: "sink_rabbitmq_wecom", pending: 2 };
    expect(events).toContainEqual(expect.objectContaining(unclaimed));
    expect(await delivery(1)).toMatchObject({ state: "pending" });
    await restart(`${url},kafka://h/t`);
    up = true;
    await clock.advance(60_000);
    expect(taken.map(({ key }) => key)).toEqual(["bot/b", "bot/a", "bot/a"]);
    expect((await store.entry(1))?.state).toBe("delivered");
  });

  it("what waits for a sink that is gone is called off with a reason, and a message that others still wait for goes on waiting", async () => {
    const both = `${url},kafka://h/topic`;
    let up = false;
    const told = world(() => (up ? confirmed : away), both);
    const { receive, clock, restart, store } = told;
    await receive();
    await clock.settle();
    await expect(told.parts.dispatcher.backlogs()).resolves.toMatchObject([
      { webhook: "sink_kafka_topic", pending: 1, gone: false },
      { webhook: "sink_rabbitmq_wecom", pending: 1, gone: false },
    ]);
    await restart(url);
    await expect(told.parts.dispatcher.backlogs()).resolves.toMatchObject([
      { webhook: "sink_kafka_topic", pending: 1, gone: true },
      { webhook: "sink_rabbitmq_wecom", pending: 1, gone: false },
    ]);
    const { dispatcher } = told.parts;
    const called = await Promise.all([dispatcher.callOff("sink_kafka_topic"), dispatcher.callOff("sink_kafka_topic")]);
    expect(called).toEqual([1, 0]);
    const states = async () => (await store.deliveries({ seq: 1, limit: 10 })).map(({ state }) => state);
    expect(await states()).toEqual(["cancelled", "pending"]);
    expect((await store.entry(1))?.state).toBe("received");
    up = true;
    await clock.advance(60_000);
    expect(await states()).toEqual(["cancelled", "delivered"]);
    expect(await store.entry(1)).toMatchObject({ state: "dead" });
  });

  it("a chat whose name is no Unicode is published, and a message that cannot be read is dead in the end", async () => {
    const { receive, clock, taken } = world(() => confirmed);
    await receive("lone \ud800 surrogate", { kind: "\udc00" });
    await clock.settle();
    expect(taken).toMatchObject([{ key: "bot/lone%20%EF%BF%BD%20surrogate", subject: "openws.bot.single.%EF%BF%BD" }]);
    const unreadable = world(
      () => confirmed,
      url,
      () => Promise.reject(new Error("no body")),
    );
    await unreadable.receive();
    await unreadable.clock.advance(12 * 3_600_000);
    expect(await unreadable.delivery(1)).toMatchObject({ state: "dead" });
    expect((await unreadable.delivery(1))?.attempts.at(-1)?.error).toBe("the message could not be read: no body");
    expect(unreadable.parts.dispatcher.health("sink_rabbitmq_wecom").circuit).toBe("closed");
  });

  it("what has no outcome at the end gets one at once, and nothing is published after it", async () => {
    const { receive, clock, parts, delivery, batches } = world(() => Promise.withResolvers<SinkOutcome>().promise);
    await receive();
    await clock.settle();
    await parts.sinks.close();
    await clock.settle();
    const ended = "the service ended before the broker confirmed";
    expect((await delivery(1))?.attempts).toMatchObject([{ error: ended }]);
    expect(await parts.sinks.publish("sink_rabbitmq_wecom", { ...(await receive("b")) })).toEqual({
      type: "away",
      reason: ended,
    });
    expect(batches).toHaveLength(1);
  });

  it("why a broker takes nothing is known until it takes something, and an error without words says its code", async () => {
    // As of a name that has two addresses, neither of which answers.
    const refused = Object.assign(new Error("x"), { message: "", code: "ECONNREFUSED" });
    const both = Object.assign(new AggregateError([refused, refused], "x"), { message: "" });
    const { receive, clock, parts } = world((_, nth) => {
      if (nth > 1) return confirmed;
      throw both;
    });
    expect(parts.sinks.troubleOf("sink_rabbitmq_wecom")).toEqual({});
    await receive();
    await clock.settle();
    expect(parts.sinks.troubleOf("sink_rabbitmq_wecom")).toEqual({ trouble: "ECONNREFUSED" });
    await clock.advance(6_000);
    expect(parts.sinks.troubleOf("sink_rabbitmq_wecom")).toEqual({});
  });

  it("no word of a client repeats a user or a password", async () => {
    const reason = "cannot reach amqp://alice:p%40ss-word@broker.example as alice with p@ss-word";
    const { receive, clock, delivery, parts } = world(() => ({ type: "away", reason }));
    await receive();
    await clock.settle();
    const [attempt] = (await delivery(1))!.attempts;
    expect(attempt?.error).not.toMatch(/alice|ss-word/);
    expect(parts.sinks.all().map(({ shown }) => shown)).toEqual(["amqp://broker.example:5672/wecom"]);
  });

  it("a sink gets the bots and kinds that its URL names, and what the bot says only when asked for", async () => {
    const only = world(() => confirmed, `${url}&kinds=text,event,bot&bots=bot`);
    await only.receive();
    await only.receive("a", { kind: "image" });
    await only.receive("a", { kind: "enter_chat", event: true });
    await only.receive("a", { bot: "other" });
    await only.receive("a", { direction: "out", kind: "markdown", state: "accepted" });
    await only.receive("a", { direction: "bot", kind: "bot.kicked", chat: undefined, state: "noted" });
    await only.clock.settle();
    expect(only.taken.map(({ subject }) => subject).toSorted()).toEqual([
      "openws.bot.none.bot.kicked",
      "openws.bot.single.enter_chat",
      "openws.bot.single.text",
    ]);
    const self = world(() => confirmed, `${url}&self=1`);
    await self.receive("a", { direction: "out", kind: "markdown", state: "accepted" });
    await self.clock.settle();
    expect(self.taken).toHaveLength(1);
  });
});

describe("the client of a broker", () => {
  const configs = readSinks("amqp://h/?exchange=x", "OPENWS_SINKS");
  const adapters = (module: string): Adapters => {
    const load = async () => (await import(module)) as OpenSink;
    const adapter = { packages: "the-client and-another", load };
    return { rabbitmq: adapter, kafka: adapter, nats: adapter, redis: adapter };
  };

  it("that is not installed is said in two languages, with what to install", async () => {
    const error = (await loadSinks(configs, adapters("no-such-package")).catch(
      (thrown: unknown) => thrown,
    )) as MistakeError;
    expect(error.sentence).toEqual({
      en: "the sink sink_rabbitmq_x needs a client that is not installed: npm install the-client and-another",
      zh: "队列出口 sink_rabbitmq_x 需要的客户端尚未安装：npm install the-client and-another",
    });
  });

  it("is not loaded where no sink asks for it", async () => {
    await expect(loadSinks([], adapters("no-such-package"))).resolves.toBeTypeOf("function");
  });
});

describe("a command", () => {
  const handler = (status: number, body: unknown = {}) => {
    const asked: [string, ApiRequest][] = [];
    const handle = commandHandler(async (path, request) => {
      asked.push([path, request]);
      return Response.json(body, { status });
    });
    return {
      asked,
      tell: async (command: unknown) => JSON.parse((await handle(JSON.stringify(command))) ?? "null") as unknown,
      handle,
    };
  };

  it("is asked of the API under its id, and answered with what the API says", async () => {
    const { tell, asked } = handler(202, { id: "msg_7" });
    const push = { id: "c-1", push: { bot: "a/b", to: { userid: "u" }, markdown: "hi" } };
    expect(await tell(push)).toEqual({ id: "c-1", accepted: { id: "msg_7" } });
    expect(await tell({ id: "c-2", reply: { message: "msg_1", markdown: "hi" } })).toMatchObject({ id: "c-2" });
    expect(asked.map(([path, { headers, body }]) => [path, headers, body])).toEqual([
      [
        "/v1/bots/a%2Fb/messages",
        { "content-type": "application/json", "idempotency-key": "c-1" },
        '{"to":{"userid":"u"},"markdown":"hi"}',
      ],
      [
        "/v1/messages/msg_1/reply",
        { "content-type": "application/json", "idempotency-key": "c-2" },
        '{"markdown":"hi"}',
      ],
    ]);
  });

  it("that the API refuses is refused with its problem, and one that must wait is asked for again", async () => {
    const command = { id: "c", reply: { message: "msg_1", markdown: "hi" } };
    expect(await handler(404, { status: 404, detail: "none" }).tell(command)).toEqual({
      id: "c",
      refused: { status: 404, detail: "none" },
    });
    expect(await handler(503).handle(JSON.stringify(command))).toBeUndefined();
  });

  it.each([
    ["no JSON", "{", "is not JSON"],
    ["another word", '{"id":"c","shout":{}}', "a command is"],
    ["no id", '{"push":{"bot":"b"}}', "its id"],
    ["an id with a line break", '{"id":"a\\nb","push":{"bot":"b"}}', "its id must be 1 to 255 printable"],
    ["a bot that is no Unicode", '{"id":"c","push":{"bot":"\\ud800"}}', "a command is"],
    ["a bot that leads elsewhere", '{"id":"c","push":{"bot":".."}}', "a command is"],
    ["a message that leads elsewhere", '{"id":"c","reply":{"message":"."}}', "a command is"],
  ])("that cannot be read (%s) is answered too", async (_, text, detail) => {
    const { handle, asked } = handler(202);
    expect(JSON.parse((await handle(text))!)).toMatchObject({
      refused: { status: 422, detail: expect.stringContaining(detail) as string },
    });
    expect(asked).toEqual([]);
  });

  it("does not come where its client cannot even be made, which is said once and shown", async () => {
    const told: string[] = [];
    const sinks = new Sinks({
      configs: readSinks(`${url}&commands=c`, "OPENWS_SINKS"),
      clock: manualClock(),
      event: () => Promise.reject(new Error("nothing is published")),
      open: () => {
        throw new Error("no socket for alice");
      },
      troubled: (sink, why) => told.push(`${sink}: ${why}`),
    });
    sinks.listen(async () => "done");
    sinks.listen(async () => "done");
    expect(told).toEqual(["sink_rabbitmq_wecom: no socket for ***"]);
    expect(sinks.troubleOf("sink_rabbitmq_wecom")).toEqual({ commandsTrouble: "no socket for ***" });
  });

  it("is not begun any more when the service ends", async () => {
    let told: CommandHandler | undefined;
    const sinks = new Sinks({
      configs: readSinks(`${url}&commands=c`, "OPENWS_SINKS"),
      clock: manualClock(),
      event: () => Promise.reject(new Error("nothing is published")),
      open: () => ({
        publish: async () => [],
        listen: (handle) => void (told = handle),
        close: async () => undefined,
      }),
    });
    sinks.listen(async () => "done");
    expect(await told?.("c")).toBe("done");
    sinks.quiet();
    expect(await told?.("c")).toBeUndefined();
  });
});

describe("a subject", () => {
  it("escapes what means something to a broker, so that it always has its four words", () => {
    const entry = { bot: "a.b*c#d>e f%机", chat: undefined, kind: "te.xt", direction: "in" } as const;
    expect(subjectOf(entry)).toBe("openws.a%2Eb%2Ac%23d%3Ee%20f%25%E6%9C%BA.none.te%2Ext");
  });
});

describe("OPENWS_SINKS", () => {
  const read = (text: string) => readSinks(text, "OPENWS_SINKS");

  it("is a list of URLs, each with its own words for what it is called there", () => {
    const list =
      "amqps://u:p@h/vhost?exchange=x&unrouted=drop, kafka://a:1,b:2,[::1]/topic?name=k,nats://h/subject,redis://h/3?stream=s";
    expect(read(list)).toMatchObject([
      { id: "sink_rabbitmq_x", tls: true, hosts: [{ host: "h", port: 5671 }], path: "vhost", target: "x", user: "u" },
      {
        id: "sink_k",
        broker: "kafka",
        hosts: [
          { host: "a", port: 1 },
          { host: "b", port: 2 },
          { host: "::1", port: 9092 },
        ],
        target: "topic",
      },
      { id: "sink_nats_subject", target: "subject", hosts: [{ port: 4222 }] },
      { id: "sink_redis_s", target: "s", path: "3" },
    ]);
  });

  it.each([
    ["http://u:s3cret@h/", "OPENWS_SINKS (1) must be amqp"],
    ["amqp://u:s3cret@h/?exchnage=x", 'has no option "exchnage"'],
    ["amqp://u:s3cret@h/?unrouted=maybe", "unrouted cannot be that"],
    ["amqp://u:s3cret%zz@h/", "a % itself is written %25"],
    ["redis://h:70000/0", "must be amqp"],
    ["redis://:s3cret@h/0?commands=c", 'redis has no option "commands"'],
    ["amqp://u:12/s3cret@h/?exchange=x", "special characters, such as @"],
    ["redis://u:12?s3cret@h/0", "special characters, such as @"],
    ["kafka://u:12/s3cret@h", "special characters, such as @"],
    ["kafka://h/s3cret%20topic", "must be a topic"],
    ["nats://h/s3cret.*", "must be a subject"],
    [
      "amqp://a:s3cret@h/?exchange=a&commands=c,amqp://h/?exchange=b&commands=c",
      "take their commands from the same place",
    ],
    ["redis://:s3cret@h,g/0", "names 2 hosts, and a Redis is one"],
    ["redis://h/s3cret", "must be the number of a database"],
    ["amqp://h/?bots=a&bots=s3cret", "bots is given twice"],
    ["amqp://h/?constructor=s3cret", 'has no option "constructor"'],
    ["amqp://a:s3cret@h/,amqp://b:s3cret@g/", "both be called sink_rabbitmq_openws"],
  ])("that cannot be (%s) is refused in two languages, without a secret", (text, sentence) => {
    const error = (() => {
      try {
        return read(text);
      } catch (thrown) {
        return thrown as Error & { sentence: { zh: string } };
      }
    })() as Error & { sentence: { zh: string } };
    expect(error.message).toContain(sentence);
    expect(error.sentence.zh).toMatch(/\p{Script=Han}/u);
    expect(`${error.message}${error.sentence.zh}`).not.toContain("s3cret");
  });
});

describe("a service whose broker is not there", () => {
  it(
    "starts, keeps what comes, says how the sink does without its password, ends in time, and says later what still waits",
    { timeout: 60_000 },
    async () => {
      const gateway = await startGateway({ latencyMs: 0, bots: [{ id: "bot", secret: "s3cret-of-bot" }] });
      onTestFinished(() => gateway.stop());
      const folder = mkdtempSync(join(tmpdir(), "openws-sinks-"));
      onTestFinished(() => rmSync(folder, { recursive: true }));
      const begin = async (sinks: string) => {
        const running = await serveWhole([], {
          WECOM_BOT_ID: "bot",
          WECOM_BOT_SECRET: "s3cret-of-bot",
          WECOM_BOT_WS_URL: gateway.url,
          OPENWS_DATABASE: join(folder, "a.db"),
          OPENWS_API_KEY: "the-key-of-the-test",
          OPENWS_SINKS: sinks,
        });
        const ask = async (path: string, method = "GET"): Promise<Record<string, unknown> & { status?: number }> => {
          const headers = { authorization: "Bearer the-key-of-the-test" };
          const response = await fetch(`${running.url}${path}`, { method, headers });
          return (await response.json()) as Record<string, unknown>;
        };
        const figures = async () => (await fetch(`${running.url}/metrics`)).text();
        return { running, ask, figures };
      };
      const path = "/v1/sinks/sink_redis_wecom/deliveries";
      {
        const { running, ask } = await begin("redis://alice:p4ss-word@localhost:1/0?stream=wecom");
        await using _ = running;
        await gateway.waitForBot("bot");
        await gateway.say("bot", "hello");
        const tried = async () => JSON.stringify((await ask(`${path}?state=pending`))["deliveries"]);
        await expect.poll(tried, { timeout: 20_000 }).toMatch(/"error":"[^"]+"/);
        expect(await ask("/v1/sinks")).toMatchObject({
          sinks: [
            {
              id: "sink_redis_wecom",
              broker: "redis",
              address: "redis://localhost:1/wecom",
              pending: 2,
              waitingSince: expect.stringMatching(/Z$/) as string,
              trouble: expect.stringContaining("ECONNREFUSED") as string,
            },
          ],
          gone: [],
        });
        expect(await tried()).not.toMatch(/alice|p4ss-word/);
        expect(await ask(path, "DELETE")).toMatchObject({ status: 409 });
        const began = performance.now();
        expect(await running.end()).toBe(0);
        expect(performance.now() - began).toBeLessThan(6_000);
        expect(running.stderr()).not.toMatch(/alice|p4ss-word/);
      }
      const brokers = [
        "amqp://alice:p4ss-word@localhost:1/?commands=c",
        "kafka://localhost:1/t?commands=c",
        "nats://localhost:1",
      ];
      const { running, ask, figures } = await begin(
        `redis://localhost:1/0?stream=wecom&name=renamed,${brokers.join()}`,
      );
      await using _ = running;
      expect(running.stderr()).toMatch(/nobody takes what waits for sink_redis_wecom \(2, the first since [^)]+Z\)/);
      expect(await ask("/v1/sinks")).toMatchObject({
        sinks: [{ id: "sink_renamed" }, {}, {}, {}],
        gone: [{ id: "sink_redis_wecom", pending: 2, waitingSince: expect.stringMatching(/Z$/) as string }],
      });
      expect(await figures()).toMatch(/^openws_sink_pending\{sink="sink_redis_wecom"\} 2$/m);
      expect(await figures()).toMatch(/^openws_sink_lag_seconds\{sink="sink_redis_wecom"\} [1-9]/m);
      expect(await ask(path)).toMatchObject({ deliveries: [{ state: "pending" }, { state: "pending" }] });
      expect(await ask(path, "DELETE")).toEqual({ cancelled: 2 });
      expect(await ask(path)).toMatchObject({ deliveries: [{ state: "cancelled" }, { state: "cancelled" }] });
      expect(await ask("/v1/messages?direction=in")).toMatchObject({
        messages: [
          { state: "dead", reason: expect.stringContaining("sink_redis_wecom is not there any more") as string },
        ],
      });
      expect(await ask(path, "DELETE")).toMatchObject({ status: 404 });
      expect(await figures()).not.toContain("sink_redis_wecom");
      // Each says why, in the words of its client, and none keeps the process from its end.
      const troubles = async () =>
        ((await ask("/v1/sinks"))["sinks"] as { trouble?: string }[]).map(({ trouble = "" }) => trouble);
      const refused = expect.stringMatching(/ECONNREFUSED|connection refused/i) as string;
      await expect.poll(troubles, { timeout: 20_000 }).toEqual([refused, refused, refused, refused]);
      const began = performance.now();
      expect(await running.end()).toBe(0);
      expect(performance.now() - began).toBeLessThan(6_000);
      expect(running.stderr()).not.toMatch(/alice|p4ss-word/);
    },
  );
});
