// The bot against the mock gateway over loopback: real sockets, real losses, durations a hundred times as short. Nothing
// sleeps: every wait is for an event of the bot or an answer of the gateway.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterEach, expect, test, vi } from "vitest";
import { type Gateway, type GatewayOptions, startGateway } from "@openws/mock-gateway";
import { type Bot, type BotEvent, type BotOptions, type Message, reply } from "../src/index.shared.ts";
import { createApi } from "../src/api.ts";
import { echo } from "../src/echo.ts";
import { createBot } from "./library.ts";

const fast = { heartbeatMs: 200, ackMs: 150, backoffBaseMs: 20 } as const;
const ended: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const end of ended.splice(0).toReversed()) await end();
});

async function gatewayWith(options: GatewayOptions = {}): Promise<Gateway> {
  const gateway = await startGateway({
    latencyMs: 0,
    bots: [{ id: "bot", secret: "s3cret", name: "Bot" }],
    ...options,
    switches: { subscribeRate: "off", maxInFlightPerUser: "off", ...options.switches },
  });
  ended.push(() => gateway.stop());
  return gateway;
}

interface Echo {
  readonly bot: Bot;
  readonly events: BotEvent[];
  /** Resolves with the first event from now on that fits. */
  readonly next: (fits: (event: BotEvent) => boolean) => Promise<BotEvent>;
}

function echoBot(url: string, options: Partial<BotOptions> = {}): Echo {
  const bot = createBot({ botId: "bot", secret: "s3cret", url, ...fast, ...options });
  echo(bot, (ms) => setTimeout(ms));
  const events: BotEvent[] = [];
  const waiting = new Set<{ fits: (event: BotEvent) => boolean; resolve: (event: BotEvent) => void }>();
  bot.observe((event) => {
    events.push(event);
    for (const waiter of waiting)
      if (waiter.fits(event)) {
        waiting.delete(waiter);
        waiter.resolve(event);
      }
  });
  ended.push(() => bot.stop(100));
  const next = (fits: (event: BotEvent) => boolean): Promise<BotEvent> => {
    const { promise, resolve } = Promise.withResolvers<BotEvent>();
    waiting.add({ fits, resolve });
    return promise;
  };
  return { bot, events, next };
}

const ready = (event: BotEvent): boolean => event.type === "moved" && event.to === "ready";
const lost = (event: BotEvent): boolean => event.type === "moved" && event.from === "ready";

async function answers(gateway: Gateway, text = "hello"): Promise<void> {
  const { reply } = await gateway.say("bot", text, { waitMs: 5_000 });
  expect(reply).toBe(`echo: ${text}`);
}

async function subscribed(options?: Partial<BotOptions>, gatewayOptions?: GatewayOptions) {
  const gateway = await gatewayWith(gatewayOptions);
  const line = echoBot(gateway.url, options);
  const state = await line.bot.start();
  expect(state.connection).toBe("ready");
  return { gateway, ...line };
}

test("it subscribes, answers, and says so", async () => {
  const { gateway, bot } = await subscribed();
  expect(bot.state).toMatchObject({ socket: true, subscribed: true, receiving: "unproven" });
  await answers(gateway);
  expect(bot.state.receiving).toBe("yes");
});

test("a gateway that restarts: it answers again, without a word from anybody", async () => {
  const gateway = await startGateway({ latencyMs: 0 });
  const { port } = new URL(gateway.url);
  const { bot, next } = echoBot(gateway.url);
  await bot.start();
  const gone = next(lost);
  await gateway.stop();
  await gone;
  const back = next(ready);
  const again = await gatewayWith({ listen: `127.0.0.1:${port}` });
  await back;
  await answers(again);
});

test.for(["reset", "close"] as const)("a %s of the socket: it is back and answers", async (how) => {
  const { gateway, bot, next } = await subscribed();
  const gone = next(lost);
  const back = next(ready);
  gateway.cut(gateway.connections()[0]!.n, how);
  await gone;
  expect(bot.state.subscribed).toBe(false);
  await back;
  await answers(gateway);
});

test.for([1000, 1001, 1008, 1011, 1012, 4001])("a close with code %i is no end: it is back", async (code) => {
  const { gateway, next } = await subscribed();
  const back = next(ready);
  gateway.cut(gateway.connections()[0]!.n, "close", code);
  await back;
  await answers(gateway);
});

test("a half-open connection: it notices by its pings, lets go and answers", async () => {
  const { gateway, next } = await subscribed();
  const gone = next(lost);
  const back = next(ready);
  gateway.cut(gateway.connections()[0]!.n, "half-open");
  expect(await gone).toMatchObject({ why: "ping-timeout" });
  await back;
  await answers(gateway);
});

test("kicked by a second instance: it stops, says why everywhere, and subscribes no more", async () => {
  const { gateway, bot, next } = await subscribed({}, { switches: { kickCloseMs: [0, 0] } });
  const kicked = next((event) => event.type === "moved" && event.to === "kicked");
  const other = echoBot(gateway.url);
  await other.bot.start();
  expect(await kicked).toMatchObject({ sentence: { en: expect.stringContaining("another instance") as string } });
  expect(bot.state).toMatchObject({ connection: "kicked", socket: false, subscribed: false });
  const readyz = await createApi([bot]).request("/readyz");
  expect(readyz.status).toBe(503);
  expect(await readyz.text()).toContain("另一个实例");
  await answers(gateway);
  // Longer, in its own time, than any of its waits: 20 ms is the first, a heartbeat 200 ms.
  await next3Pings(gateway);
  expect(gateway.log().filter(({ cmd }) => cmd === "aibot_subscribe")).toHaveLength(2);
});

async function next3Pings(gateway: Gateway): Promise<void> {
  const pings = (): number => gateway.log().filter(({ cmd, dir }) => cmd === "ping" && dir === "in").length;
  const before = pings();
  await vi.waitUntil(() => pings() >= before + 3, { timeout: 5_000, interval: 20 });
}

test("a wrong secret: refused, one reason in two languages, the socket let go, one subscribe", async () => {
  const gateway = await gatewayWith();
  const { bot } = echoBot(gateway.url, { secret: "wrong-wrong" });
  const state = await bot.start();
  expect(state).toMatchObject({ connection: "refused", socket: false });
  expect(state.reason.en).toMatch(/refused the bot id or the secret; not trying again/);
  expect(state.reason.zh).toMatch(/不再重试/);
  expect(JSON.stringify(state)).not.toContain("wrong-wrong");
  expect(gateway.log().filter(({ cmd }) => cmd === "aibot_subscribe")).toHaveLength(1);
});

test("a gateway that accepts and never says a word: it gives up the socket and tries again", async () => {
  const sockets = new Set<Socket>();
  const server = createServer().on("connection", (socket) => sockets.add(socket));
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  ended.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  // A TCP connect that succeeds and an upgrade that never does.
  server.on("upgrade", () => undefined);
  const { bot, next } = echoBot(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const first = next((event) => event.type === "moved" && event.why === "dial-timeout");
  void bot.start();
  await first;
  await next((event) => event.type === "moved" && event.why === "dial-timeout");
  expect(sockets.size).toBeGreaterThanOrEqual(2);
});

test("an upgrade that is refused is no crash, and its status is the reason", async () => {
  const server = createServer((_request, response) => response.writeHead(502).end());
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  ended.push(async () => void server.close());
  const { bot, next } = echoBot(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const failed = next((event) => event.type === "moved" && event.to === "waiting");
  void bot.start();
  expect(await failed).toMatchObject({ why: "closed", detail: { text: expect.stringContaining("502") as string } });
});

test("an address that cannot be dialled is a reason, not an exception", async () => {
  const { bot, next } = echoBot("ws://127.0.0.1:1/#fragment");
  const failed = next((event) => event.type === "moved" && event.to === "waiting");
  void bot.start();
  expect(await failed).toMatchObject({ why: "closed", detail: { code: 1006 } });
});

test("the echo contract: a stream of N frames, a push, a card that is updated, a failure that is said", async () => {
  const { gateway } = await subscribed({}, { switches: { quota: "off" } });
  const stream = await gateway.say("bot", "!stream 3", { waitMs: 5_000 });
  expect(stream.reply).toBe("1 2 3");
  expect(stream.replies[0]!.frames).toBeGreaterThanOrEqual(3);
  await gateway.say("bot", "!push hello", { waitMs: 5_000 });
  await gateway.say("bot", "!card", { waitMs: 5_000 });
  const items = gateway.chat("bot", "zhangsan")!.items.flatMap((item) => (item.by === "bot" ? [item] : []));
  expect(items.map(({ via, kind }) => `${via} ${kind}`)).toEqual([
    "respond stream",
    "send markdown",
    "respond template_card",
  ]);
  const clicked = { event_key: "press", task_id: (items[2]!.card as { task_id: string }).task_id };
  const event = { eventtype: "template_card_event", from: { userid: "zhangsan" }, template_card_event: clicked };
  const { replies } = await gateway.trigger("bot", event, { waitMs: 5_000 });
  expect(replies).toHaveLength(1);
  const failed = await gateway.say("bot", "!fail", { waitMs: 5_000 });
  expect(failed.reply).toMatch(/Something went wrong/);
});

test("a drop in the middle of a stream: the user reads the whole answer, once", async () => {
  const { gateway, next } = await subscribed({}, { switches: { quota: "off" } });
  const told = gateway.say("bot", "!stream 4", { waitMs: 10_000 });
  await vi.waitUntil(() => gateway.chat("bot", "zhangsan")?.items.some((item) => item.by === "bot"), { interval: 5 });
  const back = next(ready);
  gateway.cut(gateway.connections()[0]!.n, "reset");
  await back;
  expect((await told).reply).toBe("1 2 3 4");
  const items = gateway.chat("bot", "zhangsan")!.items.filter((item) => item.by === "bot");
  expect(items).toMatchObject([{ content: "1 2 3 4", finished: true }]);
});

test("handlers and observers that fail in every way leave no unhandled rejection", async () => {
  const unhandled: unknown[] = [];
  const listener = (reason: unknown): void => void unhandled.push(reason);
  process.on("unhandledRejection", listener);
  ended.push(async () => void process.off("unhandledRejection", listener));
  const { gateway, bot } = await subscribed();
  bot.observe(() => {
    throw new Error("a broken observer");
  });
  bot.on("text", ({ text }) => {
    if (text === "throw") throw new Error("broken");
    if (text === "reject") return Promise.reject(new Error("broken"));
    if (text === "number") return 42 as never;
    return text;
  });
  bot.on("enter_chat", () => Promise.reject(new Error("broken")));
  for (const text of ["throw", "reject", "number"]) await gateway.say("bot", text, { waitMs: 5_000 });
  await gateway.trigger("bot", { eventtype: "enter_chat", from: { userid: "u" } });
  expect((await gateway.say("bot", "fine", { waitMs: 5_000 })).reply).toBe("fine");
  expect(unhandled).toEqual([]);
});

test("twenty chats at once are each answered with their own words, one frame a message", async () => {
  const { gateway } = await subscribed();
  const told = await Promise.all(
    Array.from({ length: 20 }, (_, at) =>
      gateway.say(
        "bot",
        { from: { userid: `u${at}` }, msgtype: "text", text: { content: `n${at}` } },
        { waitMs: 5_000 },
      ),
    ),
  );
  expect(told.map(({ reply }) => reply)).toEqual(Array.from({ length: 20 }, (_, at) => `echo: n${at}`));
});

test("many bots in one process are strangers to each other", async () => {
  const gateway = await startGateway({ latencyMs: 0 });
  ended.push(() => gateway.stop());
  const bots = Array.from({ length: 5 }, (_, at) => echoBot(gateway.url, { botId: `b${at}` }).bot);
  await Promise.all(bots.map((bot) => bot.start()));
  await bots[0]!.stop(0);
  await gateway.kick("b1", { closeAfterMs: 0 });
  await vi.waitUntil(() => bots[1]!.state.connection === "kicked", { interval: 5 });
  for (const id of ["b2", "b3", "b4"]) expect((await gateway.say(id, "hi", { waitMs: 5_000 })).reply).toBe("echo: hi");
});

// --- files

function botItems(gateway: Gateway, chat = "zhangsan") {
  return gateway.chat("bot", chat)?.items.flatMap((item) => (item.by === "bot" ? [item] : [])) ?? [];
}

const sent = (gateway: Gateway, cmd: string) =>
  gateway
    .log()
    .filter((entry) => entry.cmd === cmd && entry.dir === "in")
    .map(({ text }) => JSON.parse(text) as { body: Record<string, unknown> });

test("!upload: init with size, chunks and MD5, chunks from 0, finish, and the file under the message", async () => {
  const { gateway } = await subscribed();
  const { replies } = await gateway.say("bot", "!upload 1300000", { waitMs: 10_000 });
  expect(replies).toHaveLength(1);
  expect(botItems(gateway)).toMatchObject([{ via: "respond", kind: "file", filename: "upload.bin" }]);
  expect(sent(gateway, "aibot_upload_media_init")).toMatchObject([
    {
      body: {
        type: "file",
        total_size: 1_300_000,
        total_chunks: 3,
        md5: expect.stringMatching(/^[0-9a-f]{32}$/) as string,
      },
    },
  ]);
  const chunks = sent(gateway, "aibot_upload_media_chunk").map(({ body }) => body["chunk_index"]);
  expect(new Set(chunks)).toEqual(new Set([0, 1, 2]));
  expect(sent(gateway, "aibot_upload_media_finish")).toHaveLength(1);
});

test("an image from a path goes as an image, is pushed, and its progress is told", async () => {
  const { gateway, bot } = await subscribed();
  await gateway.say("bot", "hello", { waitMs: 5_000 });
  const folder = await mkdtemp(join(tmpdir(), "openws-test-"));
  ended.push(() => rm(folder, { recursive: true }));
  const path = join(folder, "图.png");
  const png = Buffer.concat([Buffer.from("89504e470d0a1a0a", "hex"), Buffer.alloc(700_000, 1)]);
  await writeFile(path, png);
  const progress: number[] = [];
  const onProgress = (ackedBytes: number): void => void progress.push(ackedBytes);
  const end = await bot.push({ userid: "zhangsan" }, reply.file(path, { onProgress }));
  expect(end).toEqual({ type: "delivered" });
  expect(botItems(gateway).at(-1)).toMatchObject({ via: "send", kind: "image", filename: "图.png" });
  expect(progress.at(-1)).toBe(png.length);
  const { mediaId = "" } = botItems(gateway).at(-1)!;
  const response = await fetch(`${gateway.apiUrl}/media/${mediaId}`);
  expect(Buffer.from(await response.arrayBuffer()).equals(png)).toBe(true);
});

test("a file that is no image goes as a file, whatever it is called or asked to be, and says so", async () => {
  const { bot } = await subscribed();
  const uploaded = await bot.upload(new Blob(["not a picture"]), { kind: "image", filename: "photo.webp" });
  expect(uploaded).toMatchObject({
    kind: "file",
    notices: [expect.stringContaining(".webp goes as a file") as string],
  });
  expect((await bot.upload(Buffer.from("<html></html>"), { filename: "photo.png" })).kind).toBe("file");
});

test(
  "a drop in the middle of an upload: the rest goes over the next socket, under the same upload_id",
  { timeout: 20_000 },
  async () => {
    const { gateway, bot, next } = await subscribed({ ackMs: 4_000 });
    gateway.set({ ackLatencyMs: 60 });
    const uploading = bot.upload(new Uint8Array(5_000_000).fill(7), { filename: "big.bin" });
    await vi.waitUntil(() => sent(gateway, "aibot_upload_media_chunk").length >= 5, { interval: 5, timeout: 10_000 });
    const back = next(ready);
    gateway.cut(gateway.connections()[0]!.n, "reset");
    await back;
    expect(await uploading).toMatchObject({ kind: "file" });
    expect(sent(gateway, "aibot_upload_media_init")).toHaveLength(1);
    expect(new Set(sent(gateway, "aibot_upload_media_chunk").map(({ body }) => body["upload_id"])).size).toBe(1);
  },
);

test.for([
  ["missing", "/nonexistent/report.pdf", /there is no file \/nonexistent\/report.pdf/],
  ["too small", new Uint8Array(4), /fewer than 5 bytes/],
  ["too large", new Uint8Array(20 * 1_048_576 + 1), /at most 20971520 \(20 MB\)/],
] as [string, string | Uint8Array, RegExp][])(
  "a file that is %s is refused in a sentence, and nothing is sent",
  async ([, source, sentence]) => {
    const { gateway, bot } = await subscribed();
    await expect(bot.push({ userid: "u" }, reply.file(source))).rejects.toThrow(sentence);
    expect(sent(gateway, "aibot_upload_media_init")).toEqual([]);
    expect(sent(gateway, "aibot_send_msg")).toEqual([]);
  },
);

test("a file that cannot be sent costs a sentence, not the rest of the answer", async () => {
  const { gateway, bot } = await subscribed();
  bot.on("text", async function* () {
    yield "here it comes";
    yield reply.file("/nonexistent/report.pdf");
    yield "that was it";
  });
  await gateway.say("bot", "hi", { waitMs: 1_000 });
  await vi.waitUntil(() => botItems(gateway).length === 3, { interval: 5 });
  expect(botItems(gateway).map(({ content }) => content)).toEqual([
    "here it comes",
    "（文件发送失败 · The file could not be sent）",
    "that was it",
  ]);
});

test("without a line an upload fails at once", async () => {
  const { bot } = echoBot("ws://127.0.0.1:1");
  await expect(bot.upload(Buffer.from("hello"), { filename: "a.txt" })).rejects.toThrow(/there is no connection/);
});

test("what a user sent is downloaded and decrypted, under its name, in the order of the message", async () => {
  const { gateway, bot } = await subscribed();
  const { promise, resolve } = Promise.withResolvers<Message<"mixed">>();
  bot.on("file", async (message) => {
    const { bytes, filename } = await message.download();
    return `${filename}: ${Buffer.from(bytes).toString()}`;
  });
  bot.on("mixed", (message) => {
    resolve(message);
  });
  const file = { base64: Buffer.from("quarterly figures").toString("base64"), filename: "Q3 报告.txt" };
  const told = await gateway.say("bot", { from: { userid: "u" }, msgtype: "file", file }, { waitMs: 5_000 });
  expect(told.reply).toBe("Q3 报告.txt: quarterly figures");
  const image = (text: string) => ({ msgtype: "image", image: { base64: Buffer.from(text).toString("base64") } });
  const msg_item = [image("first"), { msgtype: "text", text: { content: "and" } }, image("second")];
  await gateway.say("bot", { from: { userid: "u" }, msgtype: "mixed", mixed: { msg_item } });
  const mixed = await promise;
  expect(mixed.text).toBe("[image]\nand\n[image]");
  const contents = await Promise.all(mixed.files.map((each) => each.download()));
  expect(contents.map(({ bytes }) => Buffer.from(bytes).toString())).toEqual(["first", "second"]);
});

test("a file whose link is over costs the file, not the message", async () => {
  const { gateway, bot } = await subscribed();
  bot.on("image", async (message) => {
    gateway.advance(6 * 60_000);
    return message.download().then(
      () => "downloaded",
      (error: unknown) => (error as Error).message,
    );
  });
  const told = await gateway.say("bot", { from: { userid: "u" }, msgtype: "image", image: {} }, { waitMs: 5_000 });
  expect(told.reply).toMatch(/the link of the file is not good any more \(403\)/);
});
