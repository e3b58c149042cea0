/**
 * What is to be said is stored before it is accepted, sent in its order, and accounted for, through lost lines, kicks and
 * restarts. The bots are the library's own, over sockets that the test holds.
 */
import { describe, expect, it } from "vitest";
import { type Bot, createBot } from "../../src/bot.ts";
import { Sequence, UnknownIdError } from "../../src/service/ledger.ts";
import { Outbox, OutboxBusyError, type OutboxEvent, type OutboxParts } from "../../src/service/outbox.ts";
import type { Change, Delivery, Entry } from "../../src/service/store.ts";
import { type FakeSocket, VirtualRuntime, happening } from "../virtual.ts";
import { type ManualClock, manualClock } from "./clock.ts";
import { TestStore } from "./stores.ts";

interface Rig {
  readonly store: TestStore;
  readonly clock: ManualClock;
  readonly runtime: VirtualRuntime;
  readonly bot: Bot;
  readonly outbox: Outbox;
  readonly events: OutboxEvent[];
  readonly points: string[];
  /** Lets both clocks go on. */
  readonly advance: (ms: number) => Promise<void>;
  readonly state: (seq: number) => Promise<string | undefined>;
}

/** A process: its bot and its outbox, over what may have been there before. */
async function begin(store = new TestStore(), clock = manualClock(), parts: Partial<OutboxParts> = {}): Promise<Rig> {
  const runtime = new VirtualRuntime();
  const bot = createBot({ botId: "bot", secret: "s3cret", runtime });
  const events: OutboxEvent[] = [];
  const points: string[] = [];
  const outbox = new Outbox({
    store,
    clock,
    sequence: new Sequence(await store.nextSeq()),
    bot: (id) => (id === "bot" ? bot : undefined),
    routing: { deliveriesFor: () => [] },
    stored: () => undefined,
    tell: (event) => events.push(event),
    probe: (point) => points.push(point),
    ...parts,
  });
  bot.observe((event) => {
    if (event.type === "moved") outbox.lineMoved("bot", event.to === "ready");
  });
  await outbox.start();
  void bot.start();
  return {
    store,
    clock,
    runtime,
    bot,
    outbox,
    events,
    points,
    advance: async (ms) => {
      for (let left = ms; left > 0; left -= 1_000) {
        await clock.advance(Math.min(left, 1_000));
        await runtime.advance(Math.min(left, 1_000));
      }
      await clock.settle();
    },
    state: async (seq) => (await store.entry(seq))?.state,
  };
}

async function joined(...given: Parameters<typeof begin>): Promise<Rig & { socket: FakeSocket }> {
  const rig = await begin(...given);
  const { socket } = rig.runtime;
  // The subscribe as well: what is sent the moment the line is there must find an ack.
  socket.acknowledge();
  socket.open();
  await rig.clock.settle();
  return { ...rig, socket };
}

/** A message that came. */
async function said(store: TestStore, seq: number, more: Partial<Entry> = {}): Promise<Entry> {
  const entry: Entry = {
    seq,
    bot: "bot",
    direction: "in",
    kind: "text",
    chat: { id: "lily", type: "single" },
    user: "lily",
    msgid: `m${seq}`,
    reqId: `r${seq}`,
    state: "delivered",
    at: 1_700_000_000_000,
    changedAt: 1_700_000_000_000,
    body: { msgtype: "text", text: { content: "hi" } },
    ...more,
  };
  await store.commit([{ put: "entry", entry }]);
  return entry;
}

const card = {
  card_type: "text_notice",
  main_title: { title: "Hi" },
  card_action: { type: 1, url: "https://a.example" },
};

/** The states that an entry went through, as they were committed. */
function history(store: TestStore, seq: number): string[] {
  return store.commits
    .flat()
    .flatMap((change) => ("entry" in change && change.entry.seq === seq ? [change.entry.state] : []));
}

describe("a reply", () => {
  it("is stored before it is accepted, and sent under the message, once", async () => {
    const store = new TestStore();
    await said(store, 1);
    const { outbox, socket, clock } = await joined(store);
    const go = store.pause();
    let accepted: Entry | undefined;
    void outbox.reply(1, { markdown: "hello" }).then((entry) => {
      accepted = entry;
    });
    await clock.settle();
    expect(accepted).toBeUndefined();
    expect(socket.of("aibot_respond_msg")).toEqual([]);
    go();
    await clock.settle();
    expect(accepted).toMatchObject({ seq: 2, state: "accepted", kind: "markdown", replyTo: 1, direction: "out" });
    const [frame] = socket.of("aibot_respond_msg");
    expect(frame?.headers.req_id).toBe("r1");
    expect(frame?.body.stream).toMatchObject({ finish: true, content: "hello" });
    expect(await outbox.settled(2)).toMatchObject({ state: "acked" });
    expect(history(store, 2)).toEqual(["accepted", "sent", "acked"]);
  });

  it("is refused for a message that is unknown, or did not come in", async () => {
    const store = new TestStore();
    await said(store, 1);
    await said(store, 2, { direction: "out", state: "acked" });
    const { outbox } = await joined(store);
    await expect(outbox.reply(9, { markdown: "x" })).rejects.toThrow(UnknownIdError);
    await expect(outbox.reply(2, { markdown: "x" })).rejects.toThrow(/not a message that came in/);
    await expect(outbox.push("other", { userid: "a" }, { markdown: "x" })).rejects.toThrow(/no bot/);
    await expect(outbox.push("bot", { userid: "" }, { markdown: "x" })).rejects.toThrow(/userid or a chatid/);
  });

  it("is refused at once when the gateway would refuse it unread", async () => {
    const store = new TestStore();
    await said(store, 1);
    const { outbox } = await joined(store);
    await expect(outbox.reply(1, { markdown: " \n" })).rejects.toThrow(/visible/);
    await expect(outbox.reply(1, { template_card: { card_type: "nonsense" } })).rejects.toThrow(/card_type/);
    await expect(outbox.push("bot", { userid: "a" }, { raw: { msgtype: "nonsense" } })).rejects.toThrow(/msgtype/);
    expect(history(store, 2)).toEqual([]);
  });

  it("commits what else belongs to it together with it", async () => {
    const store = new TestStore();
    await said(store, 1);
    const delivery = { webhook: "wh", seq: 2 } as unknown as Delivery;
    const handed: unknown[] = [];
    const { outbox } = await joined(store, undefined, {
      routing: { deliveriesFor: () => [delivery] },
      stored: (...given) => handed.push(given),
    });
    const key = (seq: number): Change => ({
      put: "document",
      collection: "idempotency",
      document: { key: "k", value: seq },
    });
    const entry = await outbox.reply(1, { text: "x" }, ({ seq }) => [key(seq)]);
    expect(store.commits.at(1)).toEqual([{ put: "entry", entry }, { put: "delivery", delivery }, key(2)]);
    expect(handed).toEqual([[entry, [delivery]]]);
  });

  it("says which errcode refused it", async () => {
    const store = new TestStore();
    await said(store, 1);
    const { outbox, socket } = await joined(store);
    socket.acknowledge(() => 40_058);
    await outbox.reply(1, { template_card: card });
    expect(await outbox.settled(2)).toMatchObject({ state: "refused", errcode: 40_058 });
  });

  it("is a fallback when only a push was possible", async () => {
    const store = new TestStore();
    await said(store, 1);
    const { outbox, socket } = await joined(store);
    socket.acknowledge((frame) => (frame.cmd === "aibot_respond_msg" ? 846_605 : 0));
    await outbox.reply(1, { template_card: card });
    expect(await outbox.settled(2)).toMatchObject({
      state: "fallback",
      reason: expect.stringMatching(/pushed/) as string,
    });
  });

  it("to an event is a welcome in time, and a push later", async () => {
    const store = new TestStore();
    const clock = manualClock();
    await said(store, 1, { kind: "enter_chat", event: true });
    const { outbox, socket } = await joined(store, clock);
    await outbox.reply(1, { markdown: "welcome" });
    expect((await outbox.settled(2)).state).toBe("acked");
    expect(socket.of("aibot_respond_welcome_msg")[0]?.body.text?.content).toBe("welcome");
    await clock.advance(5_000);
    await outbox.reply(1, { markdown: "late" });
    expect((await outbox.settled(3)).state).toBe("fallback");
    expect(socket.of("aibot_send_msg")[0]?.body.markdown?.content).toBe("late");
  });
});

describe("a push", () => {
  it("is stored as sent before it is sent", async () => {
    const { outbox, store, socket, points, clock } = await joined();
    await outbox.push("bot", { chatid: "group" }, { markdown: "hello" });
    expect((await outbox.settled(1)).state).toBe("acked");
    expect(history(store, 1)).toEqual(["accepted", "sent", "acked"]);
    expect(socket.of("aibot_send_msg")[0]?.body).toMatchObject({ chatid: "group", chat_type: 2 });
    expect(points).toEqual(["before-commit", "after-commit", "before-send", "after-send"]);
    const go = store.pause();
    void outbox.push("bot", { userid: "lily" }, { media: { kind: "file", media_id: "M" } });
    await clock.settle();
    expect(socket.of("aibot_send_msg").length).toBe(1);
    go();
    await clock.settle();
    expect(socket.of("aibot_send_msg")[1]?.body).toMatchObject({ msgtype: "file", file: { media_id: "M" } });
  });

  it("waits for the line, and leaves in the order of acceptance, a chat at a time", async () => {
    const rig = await begin();
    const { outbox, runtime, clock, state } = rig;
    for (const text of ["a1", "a2", "a3"]) await outbox.push("bot", { userid: "a" }, { markdown: text });
    await outbox.push("bot", { userid: "b" }, { markdown: "b1" });
    await clock.settle();
    expect(await state(1)).toBe("accepted");
    const socket = await runtime.subscribe();
    await clock.settle();
    const texts = (): unknown[] => socket.of("aibot_send_msg").map(({ body }) => body.markdown?.content);
    expect(texts()).toEqual(["a1", "b1"]);
    socket.ack(socket.of("aibot_send_msg")[0]!.headers.req_id);
    await clock.settle();
    expect(texts()).toEqual(["a1", "b1", "a2"]);
    expect([await state(1), await state(2), await state(3), await state(4)]).toEqual([
      "acked",
      "sent",
      "accepted",
      "sent",
    ]);
  });

  it("expires when there is no line for too long, and a reply later than a push", async () => {
    const store = new TestStore();
    await said(store, 1);
    const { outbox, clock, state } = await begin(store, manualClock(), { pushTtlMs: 60_000, replyTtlMs: 120_000 });
    await outbox.push("bot", { userid: "a" }, { markdown: "x" });
    await outbox.push("bot", { userid: "a" }, { markdown: "y" });
    await outbox.reply(1, { markdown: "z" });
    await clock.advance(59_999);
    expect(await state(2)).toBe("accepted");
    await clock.advance(1);
    expect([await state(2), await state(3), await state(4)]).toEqual(["expired", "expired", "accepted"]);
    await clock.advance(60_000);
    expect((await outbox.settled(4)).reason).toMatch(/no line/);
    expect(outbox.size).toEqual({ messages: 0, streams: 0 });
  });

  it("is unknown when its ack never came, and is not sent again", async () => {
    const { outbox, socket, advance, runtime } = await joined();
    socket.onSend = undefined;
    await outbox.push("bot", { userid: "a" }, { markdown: "x" });
    await advance(1);
    socket.close();
    expect((await outbox.settled(1)).state).toBe("unknown");
    await advance(3_000);
    const next = await runtime.subscribe();
    await advance(1_000);
    expect(next.of("aibot_send_msg")).toEqual([]);
  });

  it("is refused when too much waits", async () => {
    const { outbox } = await begin(undefined, undefined, { maxWaiting: 2 });
    for (const text of ["a", "b"]) await outbox.push("bot", { userid: "a" }, { markdown: text });
    await expect(outbox.push("bot", { userid: "a" }, { markdown: "c" })).rejects.toThrow(OutboxBusyError);
  });

  it("is not accepted while the store refuses, and what was sent is told when the store takes it", async () => {
    const { outbox, store, socket, clock, state, events } = await joined();
    socket.onSend = undefined;
    await outbox.push("bot", { userid: "a" }, { markdown: "x" });
    await clock.settle();
    store.trouble = "full";
    await expect(outbox.push("bot", { userid: "a" }, { markdown: "y" })).rejects.toThrow(/refuses/);
    socket.ack(socket.of("aibot_send_msg")[0]!.headers.req_id);
    await clock.advance(2_000);
    expect(await state(1)).toBe("sent");
    expect(events).toEqual([{ type: "store-refused", why: "the test refuses" }]);
    store.trouble = undefined;
    await clock.advance(1_000);
    expect(await state(1)).toBe("acked");
  });
});

describe("after a restart", () => {
  /** A process with an entry of each kind, of which the first two were sent without an ack; then its end. */
  async function interrupted(): Promise<TestStore> {
    const store = new TestStore();
    await said(store, 1);
    await said(store, 2, { chat: { id: "tom", type: "single" } });
    const { outbox, socket, clock } = await joined(store);
    socket.onSend = undefined;
    await outbox.reply(1, { markdown: "reply" });
    await outbox.push("bot", { userid: "max" }, { markdown: "push" });
    await outbox.push("bot", { userid: "max" }, { markdown: "never left" });
    await clock.settle();
    expect(await Promise.all([3, 4, 5].map(async (seq) => (await store.entry(seq))?.state))).toEqual([
      "sent",
      "sent",
      "accepted",
    ]);
    return store;
  }

  it("a reply that was under way is sent again in its own place, a push is unknown, what never left is sent", async () => {
    const store = await interrupted();
    const before = (await store.entry(3))!.body;
    const { outbox, socket, state } = await joined(store);
    await outbox.settled(3);
    await outbox.settled(5);
    expect(socket.of("aibot_respond_msg").map(({ body }) => body)).toEqual([before]);
    expect(socket.of("aibot_send_msg").map(({ body }) => body.markdown?.content)).toEqual(["never left"]);
    expect([await state(3), await state(4), await state(5)]).toEqual(["acked", "unknown", "acked"]);
    expect(await outbox.settled(4)).toMatchObject({ reason: expect.stringMatching(/process ended/) as string });
  });

  it("a push is sent once more where that was asked for, marked, and not a third time", async () => {
    const store = await interrupted();
    const { outbox, socket, clock } = await begin(store, undefined, { resendUnknown: true }).then(async (rig) => {
      const line = await rig.runtime.subscribe();
      await rig.clock.settle();
      return { ...rig, socket: line };
    });
    expect(socket.of("aibot_send_msg").map(({ body }) => body.markdown?.content)).toEqual(["push"]);
    expect(await store.entry(4)).toMatchObject({ state: "sent", maybeDuplicate: true });
    void outbox;
    await clock.settle();
    const third = await joined(store, undefined, { resendUnknown: true });
    expect(await third.outbox.settled(4)).toMatchObject({ state: "unknown", maybeDuplicate: true });
  });

  it("goes on through a kick: a reply waits for the line that comes back", async () => {
    const store = new TestStore();
    await said(store, 1);
    const { outbox, socket, runtime, bot, advance } = await joined(store);
    socket.onSend = undefined;
    await outbox.reply(1, { markdown: "reply" });
    await advance(100);
    socket.receive(happening("disconnected_event"));
    await advance(5_000);
    expect((await store.entry(2))?.state).toBe("sent");
    void bot.start();
    runtime.socket.acknowledge();
    runtime.socket.open();
    await advance(2_000);
    expect((await outbox.settled(2)).state).toBe("acked");
  });
});

describe("a bubble", () => {
  it("is stored with each piece before it is shown, and settled with all of its text", async () => {
    const store = new TestStore();
    await said(store, 1);
    const { outbox, socket, clock } = await joined(store);
    const stream = await outbox.stream(1);
    expect(stream.id).toMatch(/^str_[0-9a-f]{32}$/);
    expect(outbox.openStream(stream.id)).toBe(stream);
    const go = store.pause();
    const appended = stream.append("Hel");
    await clock.settle();
    expect(socket.of("aibot_respond_msg")).toEqual([]);
    go();
    await appended;
    await Promise.all([stream.append("lo"), stream.append(" you")]);
    await stream.set("Hello, you");
    await stream.finish("!");
    await expect(stream.append("more")).rejects.toThrow(/was ended/);
    const settled = await outbox.settled(stream.seq);
    expect(settled).toMatchObject({ state: "acked", kind: "stream", body: { stream: { content: "Hello, you!" } } });
    const shown = socket.of("aibot_respond_msg").map(({ body }) => body.stream);
    expect(shown.at(-1)).toEqual({ id: stream.id, finish: true, content: "Hello, you!" });
    expect(outbox.openStream(stream.id)).toBeUndefined();
    expect(await store.documents("stream", { limit: 5 })).toEqual([]);
  });

  it("does not hold up its chat", async () => {
    const store = new TestStore();
    await said(store, 1);
    const { outbox } = await joined(store);
    const stream = await outbox.stream(1);
    await stream.append("…");
    await outbox.reply(1, { markdown: "meanwhile" });
    expect((await outbox.settled(3)).state).toBe("acked");
  });

  it("is taken up after a restart, with its text and its id", async () => {
    const store = new TestStore();
    await said(store, 1);
    const first = await joined(store);
    const { id, seq } = await first.outbox.stream(1).then(async (stream) => {
      await stream.append("before ");
      return stream;
    });
    await first.clock.settle();
    const second = await joined(store);
    const stream = second.outbox.openStream(id)!;
    await stream.append("after");
    await stream.finish();
    expect(await second.outbox.settled(seq)).toMatchObject({
      state: "acked",
      body: { stream: { content: "before after" } },
    });
    expect(second.socket.of("aibot_respond_msg").at(-1)?.body.stream).toEqual({
      id,
      finish: true,
      content: "before after",
    });
  });

  it("says once that it goes on in another bubble, though a restart takes that one up", async () => {
    const store = new TestStore();
    const first = await joined(store);
    await said(store, 1);
    const stream = await first.outbox.stream(1);
    await stream.append("It begins. ");
    for (let minute = 0; minute < 10; minute++) {
      await first.advance(60_000);
      await stream.append("And goes on. ");
    }
    await first.advance(10_000);
    const rotations = (rig: Rig): number => rig.events.filter(({ type }) => type === "stream-rotated").length;
    expect(rotations(first)).toBe(1);
    const second = await joined(store, first.clock);
    await second.outbox.openStream(stream.id)!.append("Still. ");
    await second.advance(10_000);
    expect(second.socket.of("aibot_respond_msg").at(-1)?.body.stream?.id).toBe(`${stream.id}.2`);
    expect(rotations(second)).toBe(0);
  });

  it("is finished after a restart that came between its end and its ack", async () => {
    const store = new TestStore();
    await said(store, 1);
    const first = await joined(store);
    first.socket.onSend = undefined;
    const stream = await first.outbox.stream(1);
    await stream.finish("all of it");
    await first.clock.settle();
    const second = await joined(store);
    expect((await second.outbox.settled(stream.seq)).state).toBe("acked");
    expect(second.socket.of("aibot_respond_msg").at(-1)?.body.stream).toMatchObject({ id: stream.id, finish: true });
  });

  it("is ended visibly when nobody fills it any more", async () => {
    const store = new TestStore();
    await said(store, 1);
    const { outbox, socket, clock } = await joined(store, undefined, { streamIdleMs: 60_000 });
    const stream = await outbox.stream(1);
    await stream.append("half");
    await clock.advance(60_000);
    expect((await outbox.settled(stream.seq)).state).toBe("acked");
    expect(socket.of("aibot_respond_msg").at(-1)?.body.stream).toMatchObject({
      finish: true,
      content: expect.stringMatching(/^half\n\n/) as string,
    });
  });

  it("keeps its text when the store refuses a piece", async () => {
    const store = new TestStore();
    await said(store, 1);
    const { outbox, socket } = await joined(store);
    const stream = await outbox.stream(1);
    await stream.append("a");
    store.trouble = "full";
    await expect(stream.append("b")).rejects.toThrow(/refuses/);
    await expect(stream.finish("c")).rejects.toThrow(/refuses/);
    store.trouble = undefined;
    await stream.finish("d");
    await outbox.settled(stream.seq);
    expect(socket.of("aibot_respond_msg").at(-1)?.body.stream?.content).toBe("ad");
  });
});

describe("draining", () => {
  it("ends open bubbles, waits for what is under way, and accepts nothing more", async () => {
    const store = new TestStore();
    await said(store, 1);
    const { outbox, socket, clock, state } = await joined(store);
    const stream = await outbox.stream(1);
    await stream.append("half");
    await clock.settle();
    socket.onSend = undefined;
    await outbox.push("bot", { userid: "a" }, { markdown: "x" });
    await outbox.push("bot", { userid: "a" }, { markdown: "stays" });
    await clock.settle();
    let drained = false;
    const draining = outbox.drain().then(() => {
      drained = true;
    });
    await clock.settle();
    expect(drained).toBe(false);
    await expect(outbox.push("bot", { userid: "a" }, { markdown: "y" })).rejects.toThrow(/stopping/);
    expect(socket.of("aibot_respond_msg").at(-1)?.body.stream).toMatchObject({ finish: true });
    socket.ack("r1");
    socket.ack(socket.of("aibot_send_msg")[0]!.headers.req_id);
    await draining;
    expect([await state(2), await state(3), await state(4)]).toEqual(["acked", "acked", "accepted"]);
  });

  it("leaves a reply that the stop interrupts for the next process", async () => {
    const store = new TestStore();
    await said(store, 1);
    const { outbox, socket, bot, clock, runtime } = await joined(store);
    socket.onSend = undefined;
    await outbox.reply(1, { markdown: "reply" });
    await clock.settle();
    const draining = outbox.drain();
    void bot.stop(0);
    await runtime.advance(1);
    await draining;
    expect((await store.entry(2))?.state).toBe("sent");
  });

  it("fails what waits for a bot that is removed", async () => {
    const { outbox } = await begin();
    await outbox.push("bot", { userid: "a" }, { markdown: "x" });
    await outbox.forget("bot");
    expect(await outbox.settled(1)).toMatchObject({ state: "failed", reason: "the bot was removed" });
  });
});
