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

function world(broker: Broker, urls = url) {
  const clock = manualClock();
  const store = new MemoryStore();
  const events: DeliveryEvent[] = [];
  const batches: SinkMessage[][] = [];
  const taken: SinkMessage[] = [];
  let nth = 0;
  let closed = 0;
  const make = () => {
    const sinks = new Sinks({
      configs: readSinks(urls, "OPENWS_SINKS"),
      clock,
      event: async (entry) => cloudEventOf(entry, `text ${entry.seq}`, []),
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
    restart: async () => {
      // What the dead process had in hand is never heard of again.
      void parts.dispatcher.drain();
      parts = make();
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
  ])("that cannot be read (%s) is answered too", async (_, text, detail) => {
    const { handle, asked } = handler(202);
    expect(JSON.parse((await handle(text))!)).toMatchObject({
      refused: { status: 422, detail: expect.stringContaining(detail) as string },
    });
    expect(asked).toEqual([]);
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
    "starts, keeps what comes, says how the sink does without its password, and ends in time",
    { timeout: 60_000 },
    async () => {
      const gateway = await startGateway({ latencyMs: 0, bots: [{ id: "bot", secret: "s3cret-of-bot" }] });
      onTestFinished(() => gateway.stop());
      await using running = await serveWhole([], {
        WECOM_BOT_ID: "bot",
        WECOM_BOT_SECRET: "s3cret-of-bot",
        WECOM_BOT_WS_URL: gateway.url,
        OPENWS_DATABASE: ":memory:",
        OPENWS_API_KEY: "the-key-of-the-test",
        OPENWS_SINKS: "redis://alice:p4ss-word@127.0.0.1:1/0?stream=wecom",
      });
      const ask = async (path: string): Promise<Record<string, unknown>> => {
        const headers = { authorization: "Bearer the-key-of-the-test" };
        return (await (await fetch(`${running.url}${path}`, { headers })).json()) as Record<string, unknown>;
      };
      await gateway.waitForBot("bot");
      await gateway.say("bot", "hello");
      const path = "/v1/sinks/sink_redis_wecom/deliveries?state=pending";
      const tried = async () => JSON.stringify((await ask(path))["deliveries"]);
      await expect.poll(tried, { timeout: 20_000 }).toMatch(/"error":"[^"]+"/);
      expect(await ask("/v1/sinks")).toMatchObject({
        sinks: [{ id: "sink_redis_wecom", broker: "redis", address: "redis://127.0.0.1:1/wecom" }],
      });
      expect(await tried()).not.toMatch(/alice|p4ss-word/);
      const began = performance.now();
      expect(await running.end()).toBe(0);
      expect(performance.now() - began).toBeLessThan(6_000);
      expect(running.stderr()).not.toMatch(/alice|p4ss-word/);
    },
  );
});
