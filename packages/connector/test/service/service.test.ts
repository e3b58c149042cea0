/** The parts of the service joined: what comes in goes to its webhooks, is answered, survives restarts and leaves an account. */
import { describe, expect, it } from "vitest";
import type { Spent } from "../../src/answer.ts";
import { createBot } from "../../src/bot.ts";
import type { BotConfig } from "../../src/service/bots.ts";
import { type Service, type ServiceEvent, type ServiceOptions, createService } from "../../src/service/service.ts";
import type { Media } from "../../src/files.ts";
import type { SpoolDisk } from "../../src/service/spool.ts";
import { nodeCipher } from "../../src/service/store.cipher.ts";
import { fencedStore } from "../../src/service/store.fenced.ts";
import type { Change, Entry } from "../../src/service/store.ts";
import { logOf } from "../../src/service/telemetry.ts";
import { type FakeSocket, VirtualRuntime, callback, happening } from "../virtual.ts";
import { type ManualClock, manualClock } from "./clock.ts";
import { TestStore, messageOf } from "./stores.ts";

interface Rig {
  readonly service: Service;
  readonly store: TestStore;
  readonly clock: ManualClock;
  /** The runtime of each bot that was made, by its id, newest last. */
  readonly lines: (id?: string) => VirtualRuntime[];
  readonly socket: () => FakeSocket;
  readonly events: ServiceEvent[];
  /** Bodies of the requests to webhooks. */
  readonly posted: {
    readonly url: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly body: string;
  }[];
  answer: { status: number; body?: string };
}

const config: BotConfig = { id: "bot", secret: "s3cret-of-bot", name: "Bot" };
const webhook = {
  url: "https://receiver.example/hook",
  secret: "whsec_c2VjcmV0IHNlY3JldCBzZWNyZXQ=",
  operational: ["*"],
};

async function begin(
  store = new TestStore(),
  clock = manualClock(),
  options: Partial<ServiceOptions> = {},
): Promise<Rig> {
  const runtimes: { id: string; runtime: VirtualRuntime }[] = [];
  const events: ServiceEvent[] = [];
  const rig = { answer: { status: 200 } as Rig["answer"], posted: [] as Rig["posted"] };
  const service = await createService({
    store,
    clock,
    cipher: nodeCipher,
    storeKey: new Uint8Array(32).fill(7),
    makeBot: ({ id, secret, seen, spent, url }) => {
      const runtime = new VirtualRuntime();
      // Every line is accepted, and every frame acked.
      runtime.onDial = (socket) => {
        socket.acknowledge();
        queueMicrotask(() => socket.open());
      };
      runtimes.push({ id, runtime });
      return createBot({ botId: id, secret, seen, spent, runtime, url });
    },
    bots: [config],
    post: async (request) => {
      rig.posted.push(request);
      const { status, body = "" } = rig.answer;
      const bytes = new TextEncoder().encode(body);
      return {
        status,
        header: (name) => (name === "content-type" && body !== "" ? "application/json" : undefined),
        body: (async function* () {
          yield await Promise.resolve(bytes);
        })(),
        discard: () => undefined,
      };
    },
    webhooks: [webhook],
    baseUrl: () => "http://127.0.0.1:8910",
    tell: (event) => events.push(event),
    ...options,
  });
  service.start();
  await clock.settle();
  const lines = (id = "bot"): VirtualRuntime[] => runtimes.flatMap((each) => (each.id === id ? [each.runtime] : []));
  return Object.assign(rig, { service, store, clock, events, lines, socket: () => lines().at(-1)!.socket });
}

const kinds = (rig: Rig): string[] =>
  rig.posted.map(({ body }) => {
    const { raw } = JSON.parse(body) as { raw: { type: string; subject: string } };
    return raw.subject.split(".").at(-1)!;
  });

const disk: SpoolDisk = {
  write: async (_, bytes) => (await new Response(bytes).arrayBuffer()).byteLength,
  read: () => Promise.resolve(undefined),
  remove: () => Promise.resolve(),
  list: () => Promise.resolve([]),
};

describe("a service", () => {
  it("stores what comes, delivers it, and sends what the receiver answers", async () => {
    const rig = await begin();
    rig.answer.body = JSON.stringify({ reply: { markdown: "inline" } });
    rig.socket().receive(callback("hello", { msgid: "m1" }));
    await rig.clock.settle();
    const entry = (await messageOf(rig.store, "m1"))!;
    expect(entry.state).toBe("delivered");
    const request = rig.posted.find(({ body }) => body.includes("hello"))!;
    expect(JSON.parse(request.body)).toMatchObject({ key: "bot", msgId: "m1", msgType: 1, content: "hello" });
    expect(request.headers["webhook-signature"]).toMatch(/^v1,/);
    expect(request.headers["traceparent"]).toBe(entry.traceparent);
    expect(rig.socket().of("aibot_respond_msg")[0]?.body.stream?.content).toBe("inline");
    const [answer] = await rig.store.entries({ replyTo: entry.seq, limit: 5 });
    expect(answer).toMatchObject({ direction: "out", state: "acked" });
  });

  it("keeps one trace through a message, its answer, their deliveries and their lines of the log", async () => {
    const rig = await begin(undefined, undefined, { webhooks: [{ ...webhook, includeSelf: true }] });
    rig.socket().receive(callback("hello", { msgid: "m1" }));
    await rig.clock.settle();
    const { seq, traceparent } = (await messageOf(rig.store, "m1"))!;
    const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const { outbox } = rig.service;
    const answers = [
      await outbox.reply(seq, { markdown: "in the trace of the message" }),
      await outbox.reply(seq, { markdown: "in the caller's" }, [], trace),
      await outbox.push("bot", { userid: "lily" }, { markdown: "in the caller's as well" }, [], trace),
      await outbox.push("bot", { userid: "lily" }, { markdown: "in one of its own" }),
    ];
    await rig.clock.advance(10_000);
    const of = (text: string) => rig.posted.find(({ body }) => body.includes(text))?.headers["traceparent"];
    expect(of("in the trace of the message")).toBe(traceparent);
    expect(of("in the caller's")).toBe(trace);
    expect(of("in the caller's as well")).toBe(trace);
    expect(of("in one of its own")).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    const stored = await Promise.all(answers.map(({ seq: nth }) => rig.store.entry(nth)));
    expect(stored.map((entry) => entry?.traceparent)).toEqual([traceparent, trace, trace, of("in one of its own")]);
    const lines = rig.events.flatMap((event) => logOf(event) ?? []).filter(({ fields }) => "trace_id" in fields);
    const said = lines.filter(({ fields }) => fields["trace_id"] === trace.split("-")[1]);
    expect(new Set(said.map(({ message }) => message))).toEqual(new Set(["sent", "delivered"]));
  });

  it("takes a callback that it stored before its restart for a duplicate", async () => {
    const first = await begin();
    first.socket().receive(callback("hello", { msgid: "m1" }));
    await first.clock.settle();
    const second = await begin(first.store, first.clock);
    second.socket().receive(callback("hello", { msgid: "m1" }));
    second.socket().receive(callback("other", { msgid: "m2" }));
    await second.clock.settle();
    const entries = await second.store.entries({ directions: ["in"], limit: 10 });
    expect(entries.map(({ msgid }) => msgid)).toEqual(["m1", "m2"]);
  });

  it("delivers after a restart what nobody took before", async () => {
    const first = await begin();
    first.answer.status = 500;
    first.socket().receive(callback("hello", { msgid: "m1" }));
    await first.clock.settle();
    expect((await messageOf(first.store, "m1"))?.state).toBe("received");
    const second = await begin(first.store, first.clock);
    await second.clock.advance(60_000);
    expect((await messageOf(second.store, "m1"))?.state).toBe("delivered");
  });

  it("goes on with what a chat may be sent where the process before it stood", async () => {
    const first = await begin();
    const push = (rig: Rig, nth: number) =>
      rig.service.outbox.push("bot", { userid: "lily" }, { markdown: `push ${nth}` });
    const pushed = (rig: Rig): number => rig.socket().of("aibot_send_msg").length;
    for (let nth = 1; nth <= 9; nth++) await push(first, nth);
    await first.clock.settle();
    expect(pushed(first)).toBe(9);
    await first.clock.advance(1_000);
    const second = await begin(first.store, first.clock);
    for (let nth = 10; nth <= 12; nth++) await push(second, nth);
    await second.clock.settle();
    // Ten at once and one each three seconds: one is left, and what a second has given back is not yet another.
    expect(pushed(second)).toBe(1);
    const other = await begin(second.store, manualClock(second.clock.now() + 3_700_000));
    for (let nth = 13; nth <= 15; nth++) await push(other, nth);
    await other.clock.settle();
    expect(pushed(other)).toBeGreaterThanOrEqual(3);
  });

  it("says what happens to its bots, and what became of deliveries that were given up", async () => {
    const rig = await begin(undefined, undefined, { webhooks: [{ ...webhook, retryCount: 0 }] });
    rig.answer.status = 400;
    rig.socket().receive(callback("hello"));
    await rig.clock.settle();
    rig.answer.status = 200;
    rig.socket().receive(happening("disconnected_event"));
    await rig.clock.settle();
    expect(kinds(rig)).toEqual(expect.arrayContaining(["ready", "text", "dead", "kicked"]));
    const notes = await rig.store.entries({ directions: ["bot"], limit: 10 });
    expect(notes.map(({ kind }) => kind)).toEqual(["bot.ready", "delivery.dead", "bot.kicked"]);
    expect(notes[1]?.body).toMatchObject({ webhook: "wh_config", message: expect.stringMatching(/^msg_/) as string });
  });

  it("answers by its triggers, tags and routes", async () => {
    const triggers: unknown = JSON.parse(
      `[{ "name": "urgent", "when": { "keywords": "urgent" },
          "then": { "tag": "urgent", "reply": { "markdown": "on it" }, "route": "nobody" } }]`,
    );
    const rig = await begin(undefined, undefined, { triggers });
    rig.socket().receive(callback("this is URGENT", { msgid: "m1" }));
    await rig.clock.settle();
    expect(await messageOf(rig.store, "m1")).toMatchObject({ tags: ["urgent"], state: "unrouted" });
    expect(rig.socket().of("aibot_respond_msg")[0]?.body.stream?.content).toBe("on it");
  });

  it("welcomes who comes, and tells who writes while its receiver fails, once in a while", async () => {
    const rig = await begin(undefined, undefined, {
      welcome: { markdown: "welcome" },
      offline: { markdown: "nobody is there" },
      delivery: { breaker: { threshold: 1, restMs: 60_000, maxRestMs: 60_000 } },
    });
    rig.socket().receive(happening("enter_chat"));
    await rig.clock.settle();
    expect(rig.socket().of("aibot_respond_welcome_msg")[0]?.body.text?.content).toBe("welcome");
    rig.answer.status = 503;
    const say = async (text: string): Promise<void> => {
      rig.socket().receive(callback(text));
      await rig.clock.settle();
    };
    const answers = (): number => rig.socket().of("aibot_respond_msg").length;
    await say("one");
    expect(answers()).toBe(0);
    await say("two");
    await say("three");
    expect(answers()).toBe(1);
    await rig.clock.advance(600_000);
    await say("four");
    expect(answers()).toBe(2);
  });

  it("is not ready while the store refuses, holds what comes, and is again when it is stored", async () => {
    const rig = await begin();
    expect(rig.service.state()).toMatchObject({ ready: true, store: "ok" });
    rig.store.trouble = "full";
    rig.socket().receive(callback("hello", { msgid: "m1" }));
    await rig.clock.settle();
    expect(rig.service.state()).toMatchObject({ ready: false, store: "full" });
    expect(rig.posted.some(({ body }) => body.includes("hello"))).toBe(false);
    rig.store.trouble = undefined;
    await rig.clock.advance(5_000);
    expect(rig.service.state()).toMatchObject({ ready: true, store: "ok" });
    expect(rig.posted.some(({ body }) => body.includes("hello"))).toBe(true);
  });

  it("pings in time while a sync does not end, and tells nobody meanwhile", async () => {
    const rig = await begin();
    rig.store.commit = () => Promise.withResolvers<never>().promise;
    for (let nth = 0; nth < 100; nth++) rig.socket().receive(callback(`message ${nth}`));
    const before = rig.socket().of("ping").length;
    await rig.lines()[0]!.advance(90_000);
    expect(rig.socket().of("ping").length - before).toBe(3);
    expect(rig.socket().dropped).toBeUndefined();
    expect(rig.posted.some(({ body }) => body.includes("message 0"))).toBe(false);
  });

  it("is not ready without a line, and says why", async () => {
    const rig = await begin();
    rig.socket().receive(happening("disconnected_event"));
    await rig.clock.settle();
    const { ready, bots } = rig.service.state();
    expect(ready).toBe(false);
    expect(bots[0]?.state).toMatchObject({ connection: "kicked", subscribed: false, receiving: "no" });
  });

  it("keeps secrets off the disk, and opens them for who may", async () => {
    const rig = await begin();
    await rig.service.addBot({ id: "second", secret: "SECRET-of-second" });
    await rig.service.webhooks.create({ url: "https://a.example", secret: "SECRET-of-webhook" });
    const image = { url: "https://cos.example/f?sign=SECRET", aeskey: "SECRETKEY" };
    rig
      .socket()
      .receive(callback("", { msgid: "m1", msgtype: "image", image, response_url: "https://SECRET.example" }));
    await rig.clock.settle();
    const records = JSON.stringify(rig.store.commits, (_, value: unknown) =>
      value instanceof Uint8Array ? Buffer.from(value).toString("latin1") : value,
    );
    expect(records).not.toContain("SECRET");
    expect(records).not.toContain("s3cret-of-bot");
    expect(JSON.stringify(rig.posted)).not.toContain("SECRET");
    const entry = (await messageOf(rig.store, "m1"))!;
    expect(rig.service.wholeBodyOf(entry)).toMatchObject({ image });
  });

  it("fetches after a crash the files that the process before it was told of", async () => {
    const first = await begin();
    const image = { url: "https://cos.example/f?sign=S", aeskey: "K" };
    first.socket().receive(callback("", { msgid: "m1", msgtype: "image", image }));
    await first.clock.settle();
    const asked: unknown[] = [];
    const source: Media = {
      open: () => Promise.reject(new Error("not here")),
      download: async (...given) => {
        asked.push(given.slice(0, 2));
        return { stream: new Response("bytes").body!, filename: "a.png", type: "image/png" };
      },
    };
    const second = await begin(first.store, first.clock, { media: { disk, source } });
    await second.clock.settle();
    expect(asked).toEqual([[image.url, image.aeskey]]);
    const entry = (await messageOf(second.store, "m1"))!;
    expect(await second.service.filesOf(entry)).toMatchObject([{ kind: "image", filename: "a.png" }]);
    await begin(first.store, first.clock, { media: { disk, source } });
    expect(asked.length).toBe(1);
  });

  it("does not look for the files of a message that can have none", async () => {
    const rig = await begin(undefined, undefined, { media: { disk } });
    const looked: string[] = [];
    const document = rig.store.document.bind(rig.store);
    rig.store.document = (...what) => {
      looked.push(what.join(" "));
      return document(...what);
    };
    rig.socket().receive(callback("hello", { msgid: "m1", response_url: "https://a.example" }));
    rig.socket().receive(callback("", { msgid: "m2", msgtype: "voice", voice: { content: "hello" } }));
    await rig.clock.settle();
    expect((await messageOf(rig.store, "m1"))?.state).toBe("delivered");
    const { seq, state } = (await messageOf(rig.store, "m2"))!;
    expect(state).toBe("delivered");
    expect(looked).toEqual([`media ${seq}`]);
  });

  it("refuses a key that is not the one of before", async () => {
    const { store, clock } = await begin();
    await expect(begin(store, clock, { storeKey: new Uint8Array(32) })).rejects.toThrow(
      /put the database's .key file back/,
    );
  });

  it("removes what is too old", async () => {
    const rig = await begin(undefined, undefined, { retentionMs: 3_600_000 });
    rig.socket().receive(callback("hello", { msgid: "m1" }));
    await rig.clock.advance(2 * 3_600_000);
    expect(await messageOf(rig.store, "m1")).toBeUndefined();
  });

  it("removes the oldest settled messages beyond the size it may have, and never what is to be delivered or sent", async () => {
    // The receiver takes nothing, and there is no line for what goes out.
    const rig = await begin(undefined, undefined, { retentionBytes: 1, post: () => Promise.reject(new Error("away")) });
    rig.socket().receive(callback("wanted", { msgid: "m1" }));
    await rig.clock.settle();
    rig.socket().close();
    await rig.clock.settle();
    const push = await rig.service.outbox.push("bot", { userid: "lily" }, { markdown: "accepted" });
    const at = rig.clock.now();
    const settled = { bot: "bot", direction: "in", kind: "text", state: "unrouted", at, changedAt: at } as const;
    const seq = await rig.store.nextSeq();
    await rig.store.commit([{ put: "entry", entry: { ...settled, seq, body: {} } }]);
    await rig.clock.advance(10 * 60_000);
    expect(await rig.store.entry(seq)).toBeUndefined();
    expect((await messageOf(rig.store, "m1"))?.state).toBe("received");
    expect(await rig.store.entry(push.seq)).toBeDefined();
  });

  it("ends within its time: open bubbles visibly, its line politely, the rest in the store", async () => {
    const rig = await begin();
    rig.socket().receive(callback("hello", { msgid: "m1" }));
    await rig.clock.settle();
    const { seq } = (await messageOf(rig.store, "m1"))!;
    const stream = await rig.service.outbox.stream(seq);
    await stream.append("half");
    const stopping = rig.service.stop(4_500);
    await rig.clock.settle();
    await stopping;
    expect(rig.socket().of("aibot_respond_msg").at(-1)?.body.stream).toMatchObject({ finish: true });
    expect(rig.socket().dropped).toBe("politely");
  });

  it("waits for nothing more when it is told to end once more, and stores what came", async () => {
    const rig = await begin(undefined, undefined, { post: () => Promise.withResolvers<never>().promise });
    rig.socket().receive(callback("hello", { msgid: "m1" }));
    await rig.clock.settle();
    const stopping = rig.service.stop(4_500);
    await rig.clock.settle();
    expect(rig.socket().dropped).toBeUndefined();
    rig.socket().receive(callback("last", { msgid: "m2" }));
    expect(rig.service.stop(0)).toBe(stopping);
    await rig.clock.advance(1);
    await stopping;
    expect(rig.socket().dropped).toBe("politely");
    expect(rig.store.commits.flat()).toContainEqual(
      expect.objectContaining({ put: "entry", entry: expect.objectContaining({ msgid: "m2" }) as object }),
    );
  });

  it("waits half of its time for a receiver that does not answer, and no longer", async () => {
    const rig = await begin(undefined, undefined, { post: () => Promise.withResolvers<never>().promise });
    rig.socket().receive(callback("hello", { msgid: "m1" }));
    await rig.clock.settle();
    let over = false;
    const stopping = rig.service.stop(4_500).then(() => (over = true));
    await rig.clock.advance(2_249);
    expect(over).toBe(false);
    await rig.clock.advance(1);
    expect(over).toBe(true);
    await stopping;
    expect(rig.socket().dropped).toBe("politely");
  });
});

describe("a service over a store that another process writes still", () => {
  const fence = { before: 7, now: 8 };
  const line = (runtimes: Map<string, VirtualRuntime>): Partial<ServiceOptions> => ({
    makeBot: ({ id, secret, seen }) => {
      const runtime = new VirtualRuntime();
      runtime.onDial = (socket) => {
        socket.acknowledge();
        queueMicrotask(() => socket.open());
      };
      runtimes.set(id, runtime);
      return createBot({ botId: id, secret, seen, runtime });
    },
  });

  it("has its lines before it claims it, then takes up what the other left, and stores what came meanwhile behind it", async () => {
    const other = await begin();
    await other.service.addBot({ id: "gone", secret: "x" });
    other.socket().receive(callback("first", { msgid: "m1" }));
    await other.clock.settle();
    const store = fencedStore(other.store, fence.now);
    const runtimes = new Map<string, VirtualRuntime>();
    const claim = async (): Promise<void> => {
      await other.clock.settle();
      const mine = runtimes.get("bot")!.socket;
      expect([...runtimes.keys()]).toEqual(["bot", "gone"]);
      // One comes to both, as when the gateway brings what nobody answered to who subscribes.
      mine.receive(callback("third", { msgid: "m3" }));
      other.socket().receive(callback("second", { msgid: "m2" }));
      mine.receive(callback("second", { msgid: "m2" }));
      await other.service.removeBot("gone");
      await other.service.addBot({ id: "late", secret: "x" });
      await other.clock.settle();
      await store.claim();
    };
    const rig = await begin(other.store, other.clock, { store, claim, ...line(runtimes) });
    runtimes.get("bot")!.socket.receive(callback("fourth", { msgid: "m4" }));
    await rig.clock.settle();
    const came = await rig.store.entries({ bot: "bot", directions: ["in"], limit: 10 });
    expect(came.map(({ msgid }) => msgid)).toEqual(["m1", "m2", "m3", "m4"]);
    expect(rig.service.bots().map(({ id, state }) => [id, state.subscribed])).toEqual([
      ["bot", true],
      ["late", true],
    ]);
    expect(rig.events.filter(({ of }) => of === "inbox")).toEqual([
      { of: "inbox", event: { type: "duplicate", bot: "bot" } },
    ]);
    expect(rig.posted.filter(({ body }) => body.includes("third")).length).toBe(1);
  });

  it("leaves its lines, and names what came over them, where it may not have the store", async () => {
    const other = await begin();
    const store = fencedStore(other.store, fence.before);
    await fencedStore(other.store, fence.now).claim();
    const runtimes = new Map<string, VirtualRuntime>();
    const events: ServiceEvent[] = [];
    const claim = async (): Promise<void> => {
      await other.clock.settle();
      runtimes.get("bot")!.socket.receive(callback("hello", { msgid: "m1" }));
      await store.claim();
    };
    const tell = (event: ServiceEvent): void => void events.push(event);
    await expect(begin(other.store, other.clock, { store, claim, tell, ...line(runtimes) })).rejects.toThrow(/outrun/);
    expect(runtimes.get("bot")!.socket.dropped).toBe("politely");
    expect(events).toContainEqual({
      of: "inbox",
      event: expect.objectContaining({ type: "lost", msgid: "m1" }) as object,
    });
  });
});

describe("bots that are added", () => {
  it("begin, stay through restarts, change and leave", async () => {
    const rig = await begin();
    await rig.service.addBot({ id: "second", secret: "x", name: "Two" });
    await rig.clock.settle();
    expect(rig.service.bots().map(({ id, source, state }) => [id, source, state.subscribed])).toEqual([
      ["bot", "config", true],
      ["second", "api", true],
    ]);
    await expect(rig.service.addBot({ id: "second", secret: "x" })).rejects.toThrow(/already/);
    const again = await begin(rig.store, rig.clock);
    expect(again.service.bots().map(({ id, name }) => [id, name])).toEqual([
      ["bot", "Bot"],
      ["second", "Two"],
    ]);
    await again.service.updateBot("second", { secret: "y" });
    await again.clock.settle();
    const subscribes = again.lines("second").map((runtime) => runtime.socket.of("aibot_subscribe")[0]?.body["secret"]);
    expect(subscribes).toEqual(["x", "y"]);
    await expect(again.service.updateBot("bot", { name: "z" })).rejects.toThrow(/operator's configuration/);
    await expect(again.service.removeBot("bot")).rejects.toThrow(/operator's configuration/);
    await expect(again.service.removeBot("third")).rejects.toThrow(/no bot/);
    await again.service.removeBot("second");
    expect((await begin(rig.store, rig.clock)).service.bots().length).toBe(1);
  });

  it("are not stored where they cannot be", async () => {
    const rig = await begin();
    await expect(rig.service.addBot({ id: "second", secret: "x", url: "http://no" })).rejects.toThrow(/WebSocket/);
    rig.store.trouble = "full";
    await expect(rig.service.addBot({ id: "second", secret: "x" })).rejects.toThrow(/refuses/);
    expect(rig.service.bots().length).toBe(1);
  });
});

describe("what a bot's chats were sent", () => {
  const now = 1_700_000_000_000;
  const hourMs = 3_600_000;
  const line = (seq: number, of: Partial<Entry>): Change => ({
    put: "entry",
    entry: {
      seq,
      bot: "bot",
      direction: "out",
      kind: "markdown",
      chat: { id: "zhangsan", type: "single" },
      state: "acked",
      at: now - 60_000,
      changedAt: of.at ?? now - 60_000,
      body: {},
      ...of,
    },
  });
  const spentAfter = async (changes: readonly Change[]) => {
    const store = new TestStore();
    for (let at = 0; at < changes.length; at += 1_000) await store.commit(changes.slice(at, at + 1_000));
    const read: number[] = [];
    const entries = store.entries.bind(store);
    store.entries = async (filter) => {
      const found = await entries(filter);
      // One that is asked for some of them looks at the others all the same.
      if (filter.order === "descending") read.push(filter.states === undefined ? found.length : changes.length);
      return found;
    };
    let counted: readonly Spent[] = [];
    await begin(store, manualClock(now), {
      makeBot: ({ id, secret, spent }) => {
        counted = spent;
        return createBot({ botId: id, secret, spent, runtime: new VirtualRuntime() });
      },
    });
    return { counted, read: read.reduce((sum, each) => sum + each, 0) };
  };

  it("within the hour counts after a restart too, whenever it was accepted", async () => {
    const { counted } = await spentAfter([
      line(1, { at: now - 20 * hourMs, changedAt: now - 5_000 }),
      line(2, { at: now - 2 * hourMs }),
      line(3, { state: "refused" }),
      line(4, { chat: { id: "lisi", type: "single" }, state: "unknown" }),
      line(5, { direction: "in", kind: "text", state: "delivered" }),
    ]);
    expect(counted).toEqual([
      { chat: "lisi", agoMs: 60_000 },
      { chat: "zhangsan", agoMs: 5_000 },
    ]);
  });

  it("as the answer to an event does not count, as it does not while the process runs, unless it was pushed", async () => {
    const event = { direction: "in", event: true, state: "delivered" } as const;
    const { counted } = await spentAfter([
      line(1, { ...event, kind: "enter_chat" }),
      line(2, { replyTo: 1 }),
      line(3, { ...event, kind: "template_card_event" }),
      line(4, { replyTo: 3, kind: "template_card" }),
      line(5, { ...event, kind: "enter_chat" }),
      line(6, { replyTo: 5, state: "fallback", changedAt: now - 1_000 }),
    ]);
    expect(counted).toEqual([{ chat: "zhangsan", agoMs: 1_000 }]);
  });

  it("is looked for in the last day alone, and not for ever in a day of millions", async () => {
    const many = (count: number, agoMs: number): Change[] =>
      Array.from({ length: count }, (_, at) => line(at + 1, { direction: "in", state: "delivered", at: now - agoMs }));
    expect((await spentAfter(many(5_000, 26 * hourMs))).read).toBeLessThanOrEqual(1_000);
    expect((await spentAfter(many(25_000, hourMs))).read).toBeLessThanOrEqual(20_000);
  });
});

describe("kicks", () => {
  const kick = async (rig: Rig): Promise<void> => {
    rig.socket().receive(happening("disconnected_event"));
    await rig.clock.settle();
  };
  const dials = (rig: Rig): number => rig.lines().reduce((sum, { sockets }) => sum + sockets.length, 0);

  it("hold nobody back at a restart when there was one", async () => {
    const first = await begin();
    await kick(first);
    const second = await begin(first.store, first.clock);
    expect(second.service.state().ready).toBe(true);
  });

  it("hold the next process back when there were two within five minutes, and say what to do", async () => {
    const first = await begin();
    await kick(first);
    const second = await begin(first.store, first.clock);
    await second.clock.advance(120_000);
    await kick(second);
    const third = await begin(first.store, first.clock);
    expect(dials(third)).toBe(0);
    expect(third.service.bots()[0]?.state).toMatchObject({
      connection: "kicked",
      reason: { en: expect.stringMatching(/reconnect/) as string },
    });
    third.service.reconnect("bot");
    await third.clock.settle();
    expect(third.service.state().ready).toBe(true);
    expect(third.service.bots()[0]?.state.connection).toBe("ready");
    const fourth = await begin(first.store, first.clock);
    expect(fourth.service.state().ready).toBe(true);
  });

  it("are forgotten five minutes after the last", async () => {
    const first = await begin();
    await kick(first);
    const second = await begin(first.store, first.clock);
    await kick(second);
    await second.clock.advance(300_000);
    expect((await begin(first.store, first.clock)).service.state().ready).toBe(true);
  });

  it("keep the wait of a bot that comes back, and end it for good at the second, through a restart", async () => {
    const first = await begin(undefined, undefined, { afterKick: "rejoin" });
    await kick(first);
    const second = await begin(first.store, first.clock, { afterKick: "rejoin" });
    expect(dials(second)).toBe(0);
    await second.clock.advance(30_000);
    expect(second.service.state().ready).toBe(true);
    await kick(second);
    await second.lines()[0]!.advance(600_000);
    expect(dials(second)).toBe(1);
    expect(second.service.bots()[0]?.state.reason.en).toMatch(/twice within five minutes/);
  });
});
