import { UsageError } from "@openws/protocol";
import { describe, expect, it } from "vitest";
import { Dispatcher, type DeliveryEvent, retryDelaysMs } from "../../src/service/delivery.ts";
import type { OutMessage } from "../../src/service/inline.ts";
import { type PostAnswer, PostError, type PostRequest } from "../../src/service/post.ts";
import { MemoryStore } from "../../src/service/store.memory.ts";
import { type Change, type Entry, StoreError } from "../../src/service/store.ts";
import { Webhooks, type WebhookInput } from "../../src/service/webhooks.ts";
import { manualClock } from "./clock.ts";

const minuteMs = 60_000;
const url = "https://receiver.example/hook";

/** What a receiver does with a request. */
type Receiver = (request: PostRequest, nth: number) => Partial<Answer> | Promise<Partial<Answer>>;
interface Answer {
  status: number;
  headers: Record<string, string>;
  parts: string[] | AsyncIterable<string>;
}

function never(): Promise<never> {
  return Promise.withResolvers<never>().promise;
}

async function* utf8(parts: Iterable<string> | AsyncIterable<string>): AsyncGenerator<Uint8Array> {
  for await (const part of parts) yield new TextEncoder().encode(part);
}

async function service(
  receivers: Record<string, Receiver>,
  options: Partial<WebhookInput> = {},
  held = {},
  chance = () => 0,
) {
  const clock = manualClock(undefined, chance);
  const store = new MemoryStore();
  const sealer = { seal: async (text: string) => btoa(text), unseal: async (text: string) => atob(text) };
  const webhooks = new Webhooks({ store, clock, sealer });
  for (const address of Object.keys(receivers)) await webhooks.create({ url: address, ...options });
  const requests: (PostRequest & { at: number })[] = [];
  const events: DeliveryEvent[] = [];
  const said: { to: number; message?: OutMessage; text?: string; ended?: string }[] = [];
  let underWay = 0;
  let most = 0;
  const counts = new Map<string, number>();
  const make = (): Dispatcher =>
    new Dispatcher({
      store,
      clock,
      webhooks,
      allowPrivate: false,
      tell: (event) => events.push(event),
      request: async (_, entry) => ({ headers: { "x-seq": String(entry.seq) }, body: `entry ${entry.seq}` }),
      post: async (request): Promise<PostAnswer> => {
        requests.push({ ...request, at: clock.now() });
        most = Math.max(most, ++underWay);
        const nth = (counts.get(request.url) ?? 0) + 1;
        counts.set(request.url, nth);
        try {
          const { status = 200, headers = {}, parts = [] } = await receivers[request.url]!(request, nth);
          return { status, header: (name) => headers[name], body: utf8(parts), discard: () => undefined };
        } finally {
          underWay--;
        }
      },
      replies: {
        reply: async (to, message, also = []) => {
          if ("markdown" in message && message.markdown === "refused") throw new UsageError("it is no answer");
          await store.commit(also);
          said.push({ to, message });
        },
        stream: async (to, also = []) => {
          await store.commit(also);
          const bubble = { to, text: "", ended: "" };
          said.push(bubble);
          return {
            append: async (text: string) => void (bubble.text += text),
            finish: async () => void (bubble.ended = "finished"),
            fail: async () => void (bubble.ended = "failed"),
          };
        },
      },
      ...held,
    });
  let dispatcher = make();
  let seq = 0;
  const receive = async (chat = "zhangsan"): Promise<Entry> => {
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
    };
    const deliveries = webhooks.deliveriesFor(entry);
    await store.commit([
      { put: "entry", entry },
      ...deliveries.map((delivery): Change => ({ put: "delivery", delivery })),
    ]);
    dispatcher.wake(entry, deliveries);
    return entry;
  };
  return {
    clock,
    store,
    webhooks,
    requests,
    events,
    said,
    receive,
    get dispatcher() {
      return dispatcher;
    },
    get most() {
      return most;
    },
    /** As after a `kill -9`: another dispatcher over the same store. */
    restart: async () => {
      dispatcher = make();
      await dispatcher.start();
    },
    seqs: () => requests.map(({ body }) => Number(body.slice("entry ".length))),
    state: async (at: number) => (await store.entry(at))?.state,
    deliveries: (at: number) => store.deliveries({ seq: at, limit: 10 }),
  };
}

describe("a delivery", () => {
  it("is over, and its entry delivered, when the receiver answers 200", async () => {
    const { receive, clock, requests, state, deliveries } = await service({ [url]: () => ({}) });
    await receive();
    await clock.settle();
    expect(requests).toHaveLength(1);
    expect(await state(1)).toBe("delivered");
    expect(await deliveries(1)).toMatchObject([{ state: "delivered", tries: 1, attempts: [{ status: 200 }] }]);
  });

  it("is tried again after growing waits, and is dead when the last one failed", async () => {
    const world = await service({ [url]: () => ({ status: 500 }) }, { retryCount: 3 });
    await world.receive();
    await world.clock.advance(60 * minuteMs);
    const waits = world.requests.slice(1).map(({ at }, nth) => at - world.requests[nth]!.at);
    expect(waits).toEqual(retryDelaysMs.slice(0, 3));
    expect(await world.state(1)).toBe("dead");
    expect(await world.deliveries(1)).toMatchObject([{ state: "dead", tries: 4 }]);
    expect(world.events).toContainEqual(expect.objectContaining({ type: "dead", why: "the receiver answered 500" }));
  });

  it("is tried again up to a fifth later than it would be, so that what failed together does not come back together", async () => {
    const chances = [0, 0.5, 1];
    const world = await service({ [url]: () => ({ status: 400 }) }, { retryCount: 3 }, {}, () => chances.shift() ?? 0);
    await world.receive();
    await world.clock.advance(60 * minuteMs);
    const waits = world.requests.slice(1).map(({ at }, nth) => at - world.requests[nth]!.at);
    expect(waits).toEqual([5_000, 16_500, 54_000]);
  });

  it("waits as long as the receiver asks by Retry-After, in seconds or as a date", async () => {
    const clocks = await service({
      [url]: ({ body: _ }, nth) =>
        nth === 1
          ? { status: 503, headers: { "retry-after": "100" } }
          : nth === 2
            ? { status: 429, headers: { "retry-after": new Date(1_700_000_000_000 + 400_000).toUTCString() } }
            : {},
    });
    await clocks.receive();
    await clocks.clock.advance(60 * minuteMs);
    const [first, second, third] = clocks.requests.map(({ at }) => at - 1_700_000_000_000);
    expect([first, second]).toEqual([0, 100_000]);
    expect(third).toBe(400_000);
  });

  it("switches its webhook off when the receiver answers 410, and is a dead letter", async () => {
    const world = await service({ [url]: () => ({ status: 410 }) });
    await world.receive();
    await world.receive("lisi");
    await world.clock.settle();
    expect(world.webhooks.all()).toMatchObject([
      { enabled: false, disabledReason: "the receiver answered 410: it wants no more deliveries" },
    ]);
    expect(await world.state(1)).toBe("dead");
    await world.receive();
    await world.clock.settle();
    expect(await world.deliveries(3)).toEqual([]);
  });

  it("is not sent where a redirect leads", async () => {
    const world = await service(
      { [url]: () => ({ status: 302, headers: { location: "http://169.254.169.254/" } }) },
      { retryCount: 0 },
    );
    await world.receive();
    await world.clock.settle();
    expect(world.requests.map((request) => request.url)).toEqual([url]);
    expect(world.events.flatMap((event) => (event.type === "dead" ? [event.why] : []))).toEqual([
      "the receiver redirected (302), and redirects are not followed: change the webhook's URL",
    ]);
  });

  it("goes once more when it is redriven, and its entry is delivered at last", async () => {
    let broken = true;
    const world = await service({ [url]: () => ({ status: broken ? 400 : 200 }) }, { retryCount: 0 });
    await world.receive();
    await world.clock.settle();
    expect(await world.state(1)).toBe("dead");
    broken = false;
    const [dead] = await world.deliveries(1);
    await world.dispatcher.redrive(dead!);
    await world.clock.settle();
    expect(await world.state(1)).toBe("delivered");
  });
});

describe("a redrive", () => {
  it("while the answer to the last try is still streaming is delivered when that is over", async () => {
    const more = Promise.withResolvers<undefined>();
    const world = await service({
      [url]: (_, nth) =>
        nth > 1
          ? {}
          : {
              headers: { "content-type": "text/event-stream" },
              parts: (async function* () {
                yield "data: half\n\n";
                await more.promise;
              })(),
            },
    });
    await world.receive();
    await world.clock.settle();
    const [streaming] = await world.deliveries(1);
    expect(streaming?.state).toBe("delivered");
    await world.dispatcher.redrive(streaming!);
    await world.clock.settle();
    expect(world.seqs()).toEqual([1]);
    more.resolve(undefined);
    await world.clock.settle();
    expect(world.seqs()).toEqual([1, 1]);
    expect(await world.deliveries(1)).toMatchObject([{ state: "delivered", tries: 1 }]);
    expect(world.dispatcher.health(world.webhooks.all()[0]!.id)).toMatchObject({ held: 0, inFlight: 0 });
  });
});

describe("draining", () => {
  it("is over when the tries under way are, and begins no other", async () => {
    const answer = Promise.withResolvers<Partial<Answer>>();
    const world = await service({ [url]: () => answer.promise });
    await world.receive();
    await world.receive();
    await world.clock.settle();
    let drained = false;
    const draining = world.dispatcher.drain().then(() => (drained = true));
    await world.clock.settle();
    expect(drained).toBe(false);
    answer.resolve({});
    await world.clock.settle();
    expect(drained).toBe(true);
    await draining;
    expect(world.seqs()).toEqual([1]);
    expect(await world.state(1)).toBe("delivered");
  });
});

describe("the deliveries of a chat", () => {
  it("go one after the other, in order, while those of other chats do not wait", async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const world = await service({
      [url]: async ({ body }) => {
        if (body === "entry 1") await held;
        return {};
      },
    });
    for (const chat of ["a", "a", "b", "a", "b"]) await world.receive(chat);
    await world.clock.settle();
    expect(world.seqs()).toEqual([1, 3, 5]);
    release();
    await world.clock.settle();
    expect(world.seqs()).toEqual([1, 3, 5, 2, 4]);
  });

  it("wait behind the one that is tried again", async () => {
    const world = await service({ [url]: ({ body }, nth) => ({ status: body === "entry 1" && nth < 3 ? 500 : 200 }) });
    await world.receive();
    await world.receive();
    await world.clock.advance(10 * minuteMs);
    expect(world.seqs()).toEqual([1, 1, 1, 2]);
  });
});

describe("a receiver that is down", () => {
  it("for an hour: nothing is lost, order is kept, other receivers are unharmed, and it is asked seldom", async () => {
    const other = "https://other.example/";
    let down = true;
    const world = await service({
      [url]: () => {
        if (down) throw new PostError("nothing listens there (connection refused)");
        return {};
      },
      [other]: () => ({}),
    });
    for (let nth = 0; nth < 300; nth++) await world.receive(`chat ${nth % 30}`);
    await world.clock.advance(60 * minuteMs);
    const asked = world.requests.filter((request) => request.url === url).length;
    expect(asked).toBeLessThan(300);
    expect(world.requests.filter((request) => request.url === other)).toHaveLength(300);
    down = false;
    await world.clock.advance(6 * 60 * minuteMs);
    const delivered = world.requests.slice(-300);
    for (let chat = 0; chat < 30; chat++) {
      const seqs = world.requests
        .filter(({ url: to, at }) => to === url && at > 1_700_000_000_000 + 60 * minuteMs)
        .map(({ body }) => Number(body.slice(6)))
        .filter((seq) => (seq - 1) % 30 === chat);
      expect(seqs).toEqual(seqs.toSorted((a, b) => a - b));
      expect(new Set(seqs).size).toBe(10);
    }
    expect(delivered).toHaveLength(300);
    for (let seq = 1; seq <= 300; seq++) expect(await world.state(seq)).toBe("delivered");
    expect(world.events.filter(({ type }) => type === "dead")).toEqual([]);
  });

  it("has its circuit opened after five failures, and closed by the first success", async () => {
    let down = true;
    const world = await service({ [url]: () => ({ status: down ? 502 : 200 }) });
    for (let nth = 0; nth < 40; nth++) await world.receive(`chat ${nth}`);
    await world.clock.settle();
    const [webhook] = world.webhooks.all();
    expect(world.dispatcher.health(webhook!.id).circuit).toBe("open");
    down = false;
    await world.clock.advance(10 * minuteMs);
    expect(world.dispatcher.health(webhook!.id)).toEqual({ circuit: "closed", held: 0, inFlight: 0 });
    expect(world.events.filter(({ type }) => type === "circuit")).toMatchObject([
      { state: "open" },
      { state: "closed" },
    ]);
  });
});

describe("after a process died", () => {
  it("what was pending goes again, what was delivered does not", async () => {
    let hang = true;
    const world = await service({
      [url]: ({ body }) => (hang && body !== "entry 1" ? never() : {}),
    });
    for (const chat of ["a", "b", "a", "c"]) await world.receive(chat);
    await world.clock.settle();
    expect(world.seqs()).toEqual([1, 2, 4, 3]);
    hang = false;
    await world.restart();
    await world.clock.settle();
    expect(
      world
        .seqs()
        .slice(4)
        .toSorted((a, b) => a - b),
    ).toEqual([2, 3, 4]);
    for (const seq of [1, 2, 3, 4]) expect(await world.state(seq)).toBe("delivered");
  });
});

describe("while the store is read", () => {
  it("what is committed after the page was taken and before it came is not forgotten", async () => {
    const world = await service({ [url]: () => ({}) });
    const deliveries = world.store.deliveries.bind(world.store);
    let late = true;
    world.store.deliveries = async (filter) => {
      const page = await deliveries(filter);
      if (late) {
        late = false;
        await world.receive();
      }
      return page;
    };
    await world.restart();
    await world.clock.settle();
    expect(world.seqs()).toEqual([1]);
  });
});

describe("memory", () => {
  it("holds a bounded number of deliveries; the others come from the store when there is room, in order", async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const world = await service(
      {
        [url]: async () => {
          await held;
          return {};
        },
      },
      {},
      { maxHeld: 20, maxInFlight: 4 },
    );
    for (let nth = 0; nth < 200; nth++) await world.receive(`chat ${nth % 7}`);
    await world.clock.settle();
    const [webhook] = world.webhooks.all();
    expect(world.dispatcher.health(webhook!.id)).toEqual({ circuit: "closed", held: 20, inFlight: 4 });
    release();
    for (let turn = 0; turn < 40; turn++) await world.clock.settle();
    expect(world.most).toBeLessThanOrEqual(4);
    expect(world.seqs().toSorted((a, b) => a - b)).toEqual(Array.from({ length: 200 }, (_, at) => at + 1));
    for (let chat = 0; chat < 7; chat++) {
      const own = world.seqs().filter((seq) => (seq - 1) % 7 === chat);
      expect(own).toEqual(own.toSorted((a, b) => a - b));
    }
  });
});

describe("an inline answer", () => {
  const json = { "content-type": "application/json" };
  const events = { "content-type": "text/event-stream" };

  it("in JSON is accepted together with the end of its delivery", async () => {
    const world = await service({ [url]: () => ({ headers: json, parts: ['{"reply":{"markdown":', '"hi"}}'] }) });
    await world.receive();
    await world.clock.settle();
    expect(world.said).toEqual([{ to: 1, message: { markdown: "hi" } }]);
    expect(await world.state(1)).toBe("delivered");
  });

  it("that is refused for what it says ends its delivery all the same, with a word about it", async () => {
    const answers = ["refused", "taken"];
    const world = await service({
      [url]: (_, nth) => ({
        headers: { "content-type": "application/json" },
        parts: [JSON.stringify({ reply: { markdown: answers[nth - 1] } })],
      }),
    });
    await world.receive();
    await world.receive();
    await world.clock.settle();
    expect(world.said).toEqual([{ to: 2, message: { markdown: "taken" } }]);
    expect(await world.state(1)).toBe("delivered");
    expect(await world.deliveries(1)).toMatchObject([
      { state: "delivered", tries: 1, attempts: [{ status: 200, error: "its answer was not taken: it is no answer" }] },
    ]);
    expect(world.events.filter(({ type }) => type === "store-refused")).toEqual([]);
  });

  it("as an event stream grows in one bubble, deltas and a model's chunks alike", async () => {
    const chunk = (content: string): string => `data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`;
    const world = await service({
      [url]: () => ({
        headers: events,
        parts: ["data: one\n", "\n", chunk(" two"), ": comment\n\n", "data: [DONE]\n\n"],
      }),
    });
    await world.receive();
    await world.clock.settle();
    expect(world.said).toEqual([{ to: 1, text: "one two", ended: "finished" }]);
  });

  it("that breaks off after its first delta ends the bubble and is never delivered again", async () => {
    const world = await service({
      [url]: () => ({
        headers: events,
        parts: (async function* () {
          yield "data: half\n\n";
          throw new Error("connection reset");
        })(),
      }),
    });
    await world.receive();
    await world.clock.advance(60 * minuteMs);
    expect(world.said).toEqual([{ to: 1, text: "half", ended: "failed" }]);
    expect(world.requests).toHaveLength(1);
    expect(await world.state(1)).toBe("delivered");
  });

  it("that breaks off before its first delta is delivered again", async () => {
    const world = await service({
      [url]: (_, nth) =>
        nth > 1
          ? {}
          : {
              headers: events,
              parts: (async function* () {
                yield ": nothing yet\n\n";
                throw new Error("connection reset");
              })(),
            },
    });
    await world.receive();
    await world.clock.advance(60 * minuteMs);
    expect(world.requests).toHaveLength(2);
    expect(await world.state(1)).toBe("delivered");
  });

  it("that goes silent for two minutes is ended", async () => {
    const world = await service({
      [url]: () => ({
        headers: events,
        parts: (async function* () {
          yield "data: half\n\n";
          await never();
        })(),
      }),
    });
    await world.receive();
    await world.clock.advance(3 * minuteMs);
    expect(world.said).toMatchObject([{ text: "half", ended: "failed" }]);
  });

  it.each([
    ["for a while", new StoreError("full", "the disk is full"), 2],
    ["for good", new UsageError("the stream was ended"), Infinity],
  ])("whose end is refused %s is not delivered again", async (_, error, times) => {
    let refusals = times;
    const bubble = {
      append: async () => undefined,
      fail: () => Promise.reject(error),
      finish: () => (refusals-- > 0 ? Promise.reject(error) : Promise.resolve()),
    };
    const stream = async (_to: number, also: readonly Change[]) => {
      await world.store.commit(also);
      return bubble;
    };
    const receiver = () => ({ headers: events, parts: ["data: whole\n\n"] });
    const world = await service({ [url]: receiver }, {}, { replies: { stream } });
    await world.receive();
    await world.receive();
    await world.clock.advance(10_000);
    expect(world.seqs()).toEqual([1, 2]);
    expect([await world.state(1), await world.state(2)]).toEqual(["delivered", "delivered"]);
    expect(world.events.filter(({ type }) => type === "store-refused")).toHaveLength(2);
  });

  it.each([
    ["no JSON", "{reply}", /is JSON and is not/],
    ["a reply of an unknown shape", '{"reply":{"markdwon":"hi"}}', /reply/],
  ])("that is %s is told of, and the delivery is over", async (_, text, note) => {
    const world = await service({ [url]: () => ({ headers: json, parts: [text] }) });
    await world.receive();
    await world.clock.settle();
    const [delivery] = await world.deliveries(1);
    expect(delivery?.state).toBe("delivered");
    expect(delivery?.attempts[0]?.error).toMatch(note);
  });

  it.each([
    ["a plain ok", { "content-type": "text/plain", "content-length": "2" }, "ok"],
    ["JSON without a reply", json, '{"ok":true}'],
    ["an empty body", json, ""],
  ])("is not taken from %s", async (_, headers, text) => {
    const world = await service({ [url]: () => ({ headers, parts: [text] }) });
    await world.receive();
    await world.clock.settle();
    expect(world.said).toEqual([]);
    expect(await world.deliveries(1)).toMatchObject([{ state: "delivered" }]);
  });
});

describe("a store that refuses", () => {
  it("holds up the lane until it takes the outcome, and nothing is sent twice for it", async () => {
    const world = await service({ [url]: () => ({}) });
    await world.receive();
    const commit = world.store.commit.bind(world.store);
    let refusals = 3;
    world.store.commit = (changes, fence) =>
      refusals-- > 0 ? Promise.reject(new StoreError("full", "the disk is full")) : commit(changes, fence);
    await world.clock.advance(10_000);
    expect(world.requests).toHaveLength(1);
    expect(world.events.filter(({ type }) => type === "store-refused")).toHaveLength(3);
    expect(await world.state(1)).toBe("delivered");
  });

  it("to be read for what the other webhooks of an entry did loses no delivery", async () => {
    const other = "https://other.example/";
    let up = false;
    const receiver = (): Partial<Answer> => (up ? {} : { status: 500 });
    const world = await service({ [url]: receiver, [other]: receiver });
    await world.receive();
    await world.receive();
    await world.clock.settle();
    const deliveries = world.store.deliveries.bind(world.store);
    let refusals = 2;
    world.store.deliveries = (filter) =>
      filter.seq !== undefined && refusals-- > 0
        ? Promise.reject(new StoreError("unwritable", "the disk fails"))
        : deliveries(filter);
    // A process that was not told how many webhooks get each.
    await world.dispatcher.drain();
    up = true;
    world.requests.length = 0;
    await world.restart();
    await world.clock.advance(10_000);
    expect(refusals).toBeLessThanOrEqual(0);
    expect([await world.state(1), await world.state(2)]).toEqual(["delivered", "delivered"]);
    for (const each of [url, other])
      expect(world.requests.filter((request) => request.url === each).map(({ body }) => body)).toEqual([
        "entry 1",
        "entry 2",
      ]);
  });

  it("to note that a receiver wants no more loses no dead letter, and nothing more is sent", async () => {
    const world = await service({ [url]: () => ({ status: 410 }) });
    await world.receive();
    await world.receive();
    const commit = world.store.commit.bind(world.store);
    let refusals = 2;
    world.store.commit = (changes, fence) =>
      changes.some((change) => "collection" in change && change.collection === "webhook") && refusals-- > 0
        ? Promise.reject(new StoreError("full", "the disk is full"))
        : commit(changes, fence);
    await world.clock.advance(10_000);
    expect(world.seqs()).toEqual([1]);
    expect(world.webhooks.all()[0]?.enabled).toBe(false);
    expect([await world.state(1), await world.state(2)]).toEqual(["dead", "dead"]);
    expect(await world.deliveries(1)).toMatchObject([{ state: "dead", tries: 1 }]);
  });

  it("for whatever reason nobody foresaw has the delivery made again", async () => {
    const world = await service({ [url]: () => ({}) });
    await world.receive();
    await world.receive();
    const commit = world.store.commit.bind(world.store);
    let refusals = 1;
    world.store.commit = (changes, fence) =>
      refusals-- > 0 ? Promise.reject(new UsageError("it cannot be written")) : commit(changes, fence);
    await world.clock.advance(10_000);
    expect([await world.state(1), await world.state(2)]).toEqual(["delivered", "delivered"]);
    expect(world.events.filter(({ type }) => type === "store-refused")).toHaveLength(1);
  });

  it("takes no outcome of a chat before the one it refused, and the chat goes no further meanwhile", async () => {
    const second = Promise.withResolvers<Partial<Answer>>();
    const world = await service({ [url]: ({ body }) => (body === "entry 2" ? second.promise : {}) });
    const commit = world.store.commit.bind(world.store);
    const stored: number[] = [];
    let refusals = 1;
    world.store.commit = async (changes, fence) => {
      const outcome = changes.find((change) => "update" in change && change.update === "delivery");
      if (outcome !== undefined && refusals-- > 0) throw new StoreError("full", "the disk is full");
      await commit(changes, fence);
      if (outcome !== undefined && "delivery" in outcome) stored.push(outcome.delivery.seq);
    };
    for (const chat of ["a", "a", "a", "b", "b"]) await world.receive(chat);
    await world.clock.settle();
    expect(world.seqs()).toEqual([1, 2, 4, 5]);
    second.resolve({});
    await world.clock.advance(500);
    // Only the first commit was refused: the other chat's may go on being taken.
    expect(stored).toEqual([4, 5]);
    expect(world.seqs()).toEqual([1, 2, 4, 5]);
    await world.clock.advance(1_000);
    expect(stored).toEqual([4, 5, 1, 2, 3]);
    expect(world.seqs()).toEqual([1, 2, 4, 5, 3]);
  });
});

describe("a disk that is slow", () => {
  it("holds up nobody: what it is still writing of one delivery is written before the outcome of the next", async () => {
    const world = await service({ [url]: () => ({}) }, {}, { maxInFlight: 1 });
    const commit = world.store.commit.bind(world.store);
    const written = Promise.withResolvers<undefined>();
    const outcomes: number[] = [];
    world.store.commit = async (changes, fence) => {
      const outcome = changes.find((change) => "update" in change && change.update === "delivery");
      if (outcome !== undefined && "delivery" in outcome) {
        outcomes.push(outcome.delivery.seq);
        await written.promise;
      }
      return commit(changes, fence);
    };
    for (const chat of ["a", "a", "b", "a"]) await world.receive(chat);
    await world.clock.settle();
    expect(world.seqs()).toEqual([1, 2, 3, 4]);
    expect(outcomes).toEqual([1, 2, 3, 4]);
    expect(await world.state(1)).toBe("received");
    written.resolve(undefined);
    await world.clock.settle();
    expect(await world.state(1)).toBe("delivered");
  });

  it("has what it did not write delivered again by the next process, each chat in its order", async () => {
    const world = await service({ [url]: () => ({}) });
    const commit = world.store.commit.bind(world.store);
    world.store.commit = (changes, fence) =>
      changes.some((change) => "update" in change) ? never() : commit(changes, fence);
    for (const chat of ["a", "a", "a"]) await world.receive(chat);
    await world.clock.settle();
    expect(world.seqs()).toEqual([1, 2, 3]);
    world.store.commit = commit;
    await world.restart();
    await world.clock.settle();
    expect(world.seqs()).toEqual([1, 2, 3, 1, 2, 3]);
  });

  it("is waited for by every chat from its first refusal on", async () => {
    const world = await service({ [url]: () => ({}) });
    const commit = world.store.commit.bind(world.store);
    let full = true;
    world.store.commit = (changes, fence) =>
      full && changes.some((change) => "update" in change)
        ? Promise.reject(new StoreError("full", "the disk is full"))
        : commit(changes, fence);
    for (const chat of ["a", "a", "a", "a", "a", "a"]) await world.receive(chat);
    await world.clock.advance(10_000);
    expect(world.requests.length).toBeLessThan(4);
    full = false;
    await world.clock.advance(10_000);
    expect(world.seqs()).toEqual([1, 2, 3, 4, 5, 6]);
  });
});

describe("an entry that several webhooks get", () => {
  it("is delivered when the last of them has it, and dead when one gave up", async () => {
    const other = "https://other.example/";
    let broken = false;
    const world = await service(
      { [url]: () => ({}), [other]: () => ({ status: broken ? 400 : 200 }) },
      { retryCount: 0 },
    );
    await world.receive();
    await world.clock.settle();
    expect(await world.state(1)).toBe("delivered");
    broken = true;
    await world.receive();
    await world.clock.settle();
    expect(await world.state(2)).toBe("dead");
  });
});
