/**
 * Random histories: users speak, the API pushes, replies and fills bubbles, acks get lost, the store refuses, and the
 * process dies at any point of its code, again and again. Whatever the order of it, what was accepted is accounted for.
 */
import fc from "fast-check";
import { expect, it } from "vitest";
import { type Bot, createBot } from "../../src/bot.ts";
import { type Service, createService } from "../../src/service/service.ts";
import { nodeCipher } from "../../src/service/store.cipher.ts";
import { MemoryStore } from "../../src/service/store.memory.ts";
import { type Change, type Entry, StoreError } from "../../src/service/store.ts";
import { type Frame, VirtualRuntime, callback } from "../virtual.ts";
import { type ManualClock, manualClock } from "./clock.ts";

/** What outlives the processes. */
interface World {
  readonly disk: MemoryStore;
  readonly clock: ManualClock;
  /** The frames that left, in their order. */
  readonly wire: Frame[];
  /** What the API said it accepted: the number, and the text that must come out. */
  readonly accepted: { readonly seq: number; readonly chat: string; readonly text: string }[];
  readonly bubbles: {
    readonly seq: number;
    readonly id: string;
    readonly pieces: string[];
    readonly refused: string[];
    ended: boolean;
  }[];
  /** The msgids of callbacks that were handed to a process which lived on to store them. */
  spoken: number;
}

/** A disk as one process has it: a commit takes a turn, and none is heard of after the process is dead. */
class Door extends MemoryStore {
  readonly #disk: MemoryStore;
  dead = false;
  refusing = false;

  constructor(disk: MemoryStore) {
    super();
    this.#disk = disk;
    for (const name of [
      "nextSeq",
      "entry",
      "recentMsgids",
      "entries",
      "delivery",
      "deliveries",
      "chats",
      "document",
      "documents",
      "purge",
      "stats",
    ] as const)
      Object.assign(this, { [name]: (...given: never[]) => (disk[name] as (...given: never[]) => unknown)(...given) });
  }

  override async commit(changes: readonly Change[]): Promise<void> {
    const refused = this.refusing;
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
    if (this.dead) await forever();
    if (refused || this.refusing) throw new StoreError("full", "the test refuses");
    await this.#disk.commit(changes);
    if (this.dead) await forever();
  }
}

function forever(): Promise<never> {
  return Promise.withResolvers<never>().promise;
}

interface Process {
  readonly service: Service;
  readonly door: Door;
  readonly runtime: VirtualRuntime;
  readonly bot: Bot;
  /** Whether acks come. */
  acking: boolean;
  dieAt: number;
}

async function begin(world: World): Promise<Process> {
  const runtime = new VirtualRuntime();
  const door = new Door(world.disk);
  const process: { acking: boolean; dieAt: number } = { acking: true, dieAt: Infinity };
  const die = (): void => {
    door.dead = true;
  };
  runtime.onDial = (socket) => {
    socket.onSend = (frame) => {
      // A dead process sends nothing.
      if (door.dead) return;
      if (frame.cmd === "aibot_send_msg" || frame.cmd === "aibot_respond_msg") world.wire.push(frame);
      if (process.acking || frame.cmd === "aibot_subscribe" || frame.cmd === "ping")
        queueMicrotask(() => door.dead || socket.ack(frame.headers.req_id));
    };
    queueMicrotask(() => socket.open());
  };
  let bot: Bot | undefined;
  const service = await createService({
    store: door,
    clock: world.clock,
    cipher: nodeCipher,
    storeKey: new Uint8Array(32),
    makeBot: ({ id, secret, seen }) => (bot = createBot({ botId: id, secret, seen, runtime, quota: false })),
    bots: [{ id: "bot", secret: "s" }],
    post: () => Promise.reject(new Error("there are no webhooks")),
    baseUrl: () => "",
    tell: () => undefined,
    probe: () => {
      if (--process.dieAt === 0) die();
    },
  });
  service.start();
  await world.clock.settle();
  return Object.assign(process, { service, door, runtime, bot: bot! });
}

type Step =
  | { readonly do: "say" | "push" | "reply" | "open" | "append" | "finish"; readonly chat: number }
  | { readonly do: "die"; readonly after: number }
  | { readonly do: "mute" | "hear" | "refuse" | "take" | "cut" | "wait" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constantFrom("say", "push", "reply", "open", "append", "finish"),
      chat: fc.nat({ max: 2 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("die" as const), after: fc.nat({ max: 6 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom("mute", "hear", "refuse", "take", "cut", "wait") }) },
) as fc.Arbitrary<Step>;

async function live(steps: readonly Step[]): Promise<World> {
  const world: World = {
    disk: new MemoryStore(),
    clock: manualClock(),
    wire: [],
    accepted: [],
    bubbles: [],
    spoken: 0,
  };
  let process = await begin(world);
  let said = 0;
  /** The last message of each chat that is in the ledger. */
  const lastOf = async (chat: string): Promise<Entry | undefined> =>
    (await world.disk.entries({ directions: ["in"], chat, order: "descending", limit: 1 }))[0];
  const ignore = (): undefined => undefined;
  for (const each of steps) {
    if (process.door.dead) process = await begin(world);
    const { service, door, runtime } = process;
    const chat = "chat" in each ? `user${each.chat}` : "";
    switch (each.do) {
      case "say": {
        const msgid = `m${++said}`;
        runtime.socket.receive(callback(`said ${said}`, { msgid, from: { userid: chat } }));
        break;
      }
      case "push": {
        const text = `push ${++said}`;
        void service.outbox
          .push("bot", { userid: chat }, { markdown: text })
          .then(({ seq }) => world.accepted.push({ seq, chat, text }), ignore);
        break;
      }
      case "reply": {
        const to = await lastOf(chat);
        const text = `reply ${++said}`;
        if (to !== undefined)
          void service.outbox
            .reply(to.seq, { markdown: text })
            .then(({ seq }) => world.accepted.push({ seq, chat, text }), ignore);
        break;
      }
      case "open": {
        const to = await lastOf(chat);
        if (to !== undefined)
          void service.outbox
            .stream(to.seq)
            .then(({ seq, id }) => world.bubbles.push({ seq, id, pieces: [], refused: [], ended: false }), ignore);
        break;
      }
      case "append":
      case "finish": {
        const bubble = world.bubbles.find(({ ended }) => !ended);
        const stream = bubble && service.outbox.openStream(bubble.id);
        if (bubble === undefined || stream === undefined) break;
        const piece = ` piece ${++said}.`;
        if (each.do === "append")
          void stream.append(piece).then(
            () => bubble.pieces.push(piece),
            () => bubble.refused.push(piece),
          );
        else
          void stream.finish(piece).then(
            () => {
              bubble.pieces.push(piece);
              bubble.ended = true;
            },
            () => bubble.refused.push(piece),
          );
        break;
      }
      case "die":
        if (each.after === 0) door.dead = true;
        else process.dieAt = each.after;
        break;
      case "mute":
        process.acking = false;
        break;
      case "hear":
        process.acking = true;
        break;
      case "refuse":
        door.refusing = true;
        break;
      case "take":
        door.refusing = false;
        break;
      case "cut":
        runtime.socket.close();
        await runtime.advance(2_000);
        break;
      case "wait":
        await world.clock.advance(1_000);
        await runtime.advance(1_000);
    }
    await world.clock.settle();
  }
  // At last a process that lives, with a line that works.
  process.door.dead = true;
  process = await begin(world);
  for (let second = 0; second < 90; second += 10) {
    await world.clock.advance(10_000);
    await process.runtime.advance(10_000);
  }
  for (const { id } of world.bubbles) await process.service.outbox.openStream(id)?.finish().catch(ignore);
  await world.clock.advance(10_000);
  await process.runtime.advance(10_000);
  await world.clock.settle();
  expect(process.service.outbox.size).toEqual({ messages: 0, streams: 0 });
  return world;
}

const textOf = ({ body }: Frame): string => body.markdown?.content ?? body.stream?.content ?? "";

it(
  "accounts for all that was accepted, sends nothing twice unmarked, and keeps each chat's order",
  { timeout: 120_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        const { disk, wire, accepted, bubbles } = await live(steps);
        for (const { seq, text } of accepted) {
          const entry = (await disk.entry(seq))!;
          const frames = wire.filter((frame) => textOf(frame) === text);
          expect([text, entry.state]).toEqual([text, expect.stringMatching(/^(?:acked|unknown|fallback)$/)]);
          if (entry.state === "acked") expect(frames.length).toBeGreaterThan(0);
          // A bubble takes its own place; a push would be read twice.
          if (frames[0]?.cmd === "aibot_send_msg") expect(frames.length).toBe(1);
          expect(new Set(frames.map(({ body }) => body.stream?.id)).size).toBeLessThanOrEqual(1);
        }
        // What left first of each message left in the order of acceptance.
        for (const chat of new Set(accepted.map((each) => each.chat))) {
          const first = accepted
            .filter((each) => each.chat === chat)
            .toSorted((a, b) => a.seq - b.seq)
            .map(({ text }) => wire.findIndex((frame) => textOf(frame) === text))
            .filter((at) => at >= 0);
          expect(first).toEqual(first.toSorted((a, b) => a - b));
        }
        for (const { seq, id, pieces, refused } of bubbles) {
          const entry = (await disk.entry(seq))!;
          expect(["acked", "unknown", "fallback"]).toContain(entry.state);
          const shown = wire.findLast(({ body }) => body.stream?.id === id)?.body.stream;
          const kept = (entry.body as { stream: { content: string } }).stream.content;
          if (entry.state === "acked") expect(shown?.finish).toBe(true);
          for (const text of entry.state === "acked" ? [kept, shown?.content ?? ""] : [kept]) {
            let from = 0;
            for (const piece of pieces) {
              from = text.indexOf(piece, from);
              expect(from).toBeGreaterThanOrEqual(0);
            }
            // What was refused, nobody says.
            for (const piece of refused) expect(text).not.toContain(piece);
          }
        }
        const ledger = await disk.entries({ directions: ["in"], limit: 1_000 });
        const msgids = ledger.map(({ msgid }) => msgid);
        expect(new Set(msgids).size).toBe(msgids.length);
        expect(await disk.documents("stream", { limit: 10 })).toEqual([]);
      }),
      { numRuns: Number(globalThis.process.env["OPENWS_CRASH_RUNS"] ?? 100) },
    );
  },
);
