/** What came is stored before anybody is told, in its order, through every refusal of the store. */
import { describe, expect, it } from "vitest";
import type { HappenedEvent, Message } from "../../src/message.ts";
import { Inbox, type InboxEvent, type InboxParts, type Source, type Stored, heardAs } from "../../src/service/inbox.ts";
import { Sequence } from "../../src/service/ledger.ts";
import { nodeCipher } from "../../src/service/store.cipher.ts";
import type { Delivery, Entry } from "../../src/service/store.ts";
import { deliveryIdOf } from "../../src/service/store.ts";
import { botVault } from "../../src/service/vault.ts";
import { manualClock } from "./clock.ts";
import { TestStore } from "./stores.ts";

const source: Source = { id: "bot", vault: botVault(nodeCipher, "bot", "s3cret") };

function message(n: number, more: Partial<Message> & { body?: unknown } = {}): Message {
  const text = `hello ${n}`;
  return {
    kind: "text",
    msgid: `m${n}`,
    reqId: `r${n}`,
    chat: { id: "lily", type: "single" },
    from: "lily",
    text,
    files: [],
    body: { msgtype: "text", msgid: `m${n}`, text: { content: text } },
    ...more,
  } as unknown as Message;
}

function delivery({ seq, bot }: Entry, webhook = "wh_1"): Delivery {
  const now = 0;
  return {
    id: deliveryIdOf(webhook, seq),
    webhook,
    seq,
    bot,
    lane: "l",
    state: "pending",
    tries: 0,
    attempts: [],
    nextAt: now,
    createdAt: now,
    changedAt: now,
  };
}

function setUp(parts: Partial<InboxParts> = {}) {
  const store = new TestStore();
  const clock = manualClock();
  const stored: Stored[] = [];
  const events: InboxEvent[] = [];
  const inbox = new Inbox({
    store,
    clock,
    sequence: new Sequence(1),
    routing: { deliveriesFor: () => [] },
    stored: (records) => stored.push(...records),
    tell: (event) => events.push(event),
    ...parts,
  });
  return { store, clock, inbox, stored, events };
}

describe("an inbox", () => {
  it("calls the commit in the turn in which the message came, and tells nobody before it is done", async () => {
    const { store, clock, inbox, stored } = setUp();
    const go = store.pause();
    inbox.message(source, message(1));
    expect(store.commits.length).toBe(1);
    await clock.settle();
    expect(stored).toEqual([]);
    go();
    await inbox.idle();
    expect(stored.map(({ entry }) => entry.msgid)).toEqual(["m1"]);
    expect(await store.entry(1)).toMatchObject({
      seq: 1,
      bot: "bot",
      direction: "in",
      kind: "text",
      chat: { id: "lily", type: "single" },
      user: "lily",
      reqId: "r1",
      state: "unrouted",
      at: clock.now(),
      traceparent: expect.stringMatching(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/) as string,
    });
  });

  it("stores an event, and what happened to a bot, as entries of their own", async () => {
    const { store, inbox } = setUp();
    const body = { msgtype: "event", event: { eventtype: "enter_chat" } };
    inbox.event(source, {
      kind: "enter_chat",
      reqId: "e1",
      chat: undefined,
      from: "lily",
      msgid: undefined,
      body,
    } as unknown as HappenedEvent);
    inbox.note({ bot: "bot", kind: "bot.kicked", reason: "another one came", errcode: 5 });
    await inbox.idle();
    expect(await store.entry(1)).toMatchObject({ kind: "enter_chat", event: true, direction: "in", body });
    expect(await store.entry(2)).toMatchObject({
      kind: "bot.kicked",
      direction: "bot",
      state: "noted",
      reason: "another one came",
      body: { reason: "another one came", errcode: 5 },
    });
  });

  it("commits an entry together with its deliveries", async () => {
    const { store, inbox, stored } = setUp({
      routing: { deliveriesFor: (entry) => [delivery(entry), delivery(entry, "wh_2")] },
    });
    inbox.message(source, message(1));
    await inbox.idle();
    expect(store.commits.length).toBe(1);
    expect(store.commits[0]?.length).toBe(3);
    expect((await store.entry(1))?.state).toBe("received");
    expect(stored[0]?.deliveries.map(({ webhook }) => webhook)).toEqual(["wh_1", "wh_2"]);
  });

  it("keeps what is secret off the disk", async () => {
    const { store, inbox } = setUp();
    const body = { msgtype: "image", msgid: "m1", image: { url: "https://x.example/?sign=SECRET", aeskey: "SECRET" } };
    inbox.message(source, message(1, { kind: "image", body } as never));
    await inbox.idle();
    const entry = (await store.entry(1))!;
    expect(JSON.stringify(entry.body)).not.toContain("SECRET");
    expect(source.vault.open(entry.body, entry.sealed)).toEqual(body);
  });

  it("writes triggers' tags, obeys their routes and hands on their replies", async () => {
    const { store, inbox, stored } = setUp({
      routing: { deliveriesFor: (entry) => [delivery(entry), delivery(entry, "wh_2")] },
      triggers: {
        apply: (_, text) => ({ matched: ["a"], tags: [text], routes: ["wh_2"], replies: [{ markdown: "at once" }] }),
      },
    });
    inbox.message(source, message(1));
    await inbox.idle();
    expect((await store.entry(1))?.tags).toEqual(["hello 1"]);
    expect(stored[0]?.deliveries.map(({ webhook }) => webhook)).toEqual(["wh_2"]);
    expect(stored[0]?.replies).toEqual([{ markdown: "at once" }]);
  });

  it("holds what the store refuses, says so once, and stores it in its order when it can", async () => {
    const { store, clock, inbox, stored, events } = setUp();
    store.trouble = "full";
    for (let n = 1; n <= 3; n++) inbox.message(source, message(n));
    await clock.settle();
    inbox.message(source, message(4));
    await clock.advance(3_000);
    expect(stored).toEqual([]);
    expect(inbox.trouble).toBe("full");
    expect(inbox.size).toEqual({ held: 4, lost: 0 });
    expect(events).toEqual([{ type: "store-refused", trouble: "full", why: "the test refuses" }]);
    store.trouble = undefined;
    await clock.advance(5_000);
    inbox.message(source, message(5));
    await inbox.idle();
    expect(stored.map(({ entry }) => entry.msgid)).toEqual(["m1", "m2", "m3", "m4", "m5"]);
    const seqs = stored.map(({ entry }) => entry.seq);
    expect(seqs).toEqual(seqs.toSorted((a, b) => a - b));
    expect(events.at(-1)).toEqual({ type: "store-recovered", stored: 4 });
    expect(inbox.trouble).toBeUndefined();
  });

  it("keeps the order of what comes while held entries are being stored", async () => {
    const { store, clock, inbox, stored } = setUp();
    store.trouble = "locked";
    inbox.message(source, message(1));
    await clock.settle();
    store.trouble = undefined;
    const go = store.pause();
    await clock.advance(500);
    inbox.message(source, message(2));
    go();
    await inbox.idle();
    expect(stored.map(({ entry }) => entry.msgid)).toEqual(["m1", "m2"]);
  });

  it("says what it loses when too much is held", async () => {
    const { store, clock, inbox, stored, events } = setUp({ maxHeld: 2 });
    store.trouble = "unwritable";
    for (let n = 1; n <= 4; n++) inbox.message(source, message(n));
    await clock.settle();
    expect(inbox.size).toEqual({ held: 2, lost: 2 });
    expect(events.filter(({ type }) => type === "lost")).toEqual([
      { type: "lost", bot: "bot", msgid: "m3", lost: 1 },
      { type: "lost", bot: "bot", msgid: "m4", lost: 2 },
    ]);
    store.trouble = undefined;
    await clock.advance(5_000);
    expect(stored.map(({ entry }) => entry.msgid)).toEqual(["m1", "m2"]);
  });

  it("stores nothing while another process writes, then what came, but for what that one has stored, in its order", async () => {
    const sequence = new Sequence(1);
    const { store, clock, inbox, stored, events } = setUp({ sequence });
    inbox.hold();
    for (let n = 1; n <= 3; n++) inbox.message(source, message(n));
    await clock.advance(10_000);
    expect(store.commits).toEqual([]);
    expect(inbox.size.held).toBe(3);
    sequence.skipTo(8);
    inbox.release(new Set([heardAs("bot", "m2"), heardAs("bot", "m5")]));
    for (let n = 4; n <= 6; n++) inbox.message(source, message(n));
    await inbox.idle();
    expect(stored.map(({ entry }) => [entry.seq, entry.msgid])).toEqual([
      [8, "m1"],
      [9, "m3"],
      [10, "m4"],
      [11, "m6"],
    ]);
    expect(events).toEqual([
      { type: "duplicate", bot: "bot" },
      { type: "duplicate", bot: "bot" },
    ]);
  });

  it("names what it still holds as lost when it ends", async () => {
    const { store, clock, inbox, events } = setUp();
    store.trouble = "full";
    inbox.message(source, message(1));
    await clock.settle();
    inbox.end();
    inbox.message(source, message(2));
    await clock.advance(60_000);
    expect(events.slice(1)).toEqual([
      { type: "lost", bot: "bot", msgid: "m1", lost: 1 },
      { type: "lost", bot: "bot", msgid: "m2", lost: 2 },
    ]);
    expect(store.commits.length).toBe(2);
  });

  it("passes its points in order", async () => {
    const points: string[] = [];
    const { inbox } = setUp({ probe: (point) => points.push(point) });
    inbox.message(source, message(1));
    await inbox.idle();
    expect(points).toEqual(["after-read", "before-commit", "after-commit"]);
  });
});
