// Moving here from what people use today: each thing that the Ruby channel adapter and the Python handler framework can
// do, by name, over a real socket. docs/coming-from.md shows the same side by side as code.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test } from "vitest";
import { type Gateway, type GatewayOptions, readFault, startGateway } from "@openws/mock-gateway";
import { readConfig } from "../src/config.ts";
import { type Bot, type BotEvent, type BotOptions, type Message, reply } from "../src/index.shared.ts";
import { recordOf } from "../src/log.ts";
import { createBot } from "./library.ts";

const ended: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0).toReversed()) await end();
});

async function setUp(
  options: Partial<BotOptions> = {},
  gatewayOptions: GatewayOptions = {},
): Promise<{ gateway: Gateway; bot: Bot; events: BotEvent[] }> {
  const gateway = await startGateway({
    latencyMs: 0,
    bots: [{ id: "bot", secret: "s3cret", name: "Bot" }],
    ...gatewayOptions,
    switches: { subscribeRate: "off", maxInFlightPerUser: "off", ...gatewayOptions.switches },
  });
  ended.push(() => gateway.stop());
  const fast = { heartbeatMs: 200, ackMs: 2_000, backoffBaseMs: 20 };
  const bot = createBot({ botId: "bot", secret: "s3cret", url: gateway.url, ...fast, ...options });
  ended.push(() => bot.stop(50));
  const events: BotEvent[] = [];
  bot.observe((event) => events.push(event));
  await bot.start();
  return { gateway, bot, events };
}

const frames = (gateway: Gateway, cmd?: string) =>
  gateway
    .log()
    .filter(({ dir, cmd: name }) => dir === "in" && (cmd === undefined || name === cmd))
    .map(({ text }) => JSON.parse(text) as { cmd: string; headers: { req_id: string }; body: Record<string, unknown> });

const items = (gateway: Gateway, chat = "zhangsan") =>
  gateway.chat("bot", chat)?.items.flatMap((item) => (item.by === "bot" ? [item] : [])) ?? [];

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "openws-test-"));
  ended.push(() => rm(path, { recursive: true }));
  return path;
}

/** First bytes by which a file is known for what it is. */
const heads = {
  png: Buffer.from("89504e470d0a1a0a", "hex"),
  jpg: Buffer.from("ffd8ffe0", "hex"),
  gif: Buffer.from("GIF89a"),
  amr: Buffer.from("#!AMR\n"),
  mp4: Buffer.from("....ftypisom"),
};

describe("what the Ruby channel adapter does", () => {
  test("A1 frames are JSON texts of cmd, headers.req_id and body", async () => {
    const { gateway } = await setUp();
    const [frame] = frames(gateway);
    expect(Object.keys(frame!)).toEqual(["cmd", "headers", "body"]);
    expect(gateway.log().some(({ binary }) => binary === true)).toBe(false);
  });

  test("A2 subscribes right after the handshake; a refused one is an authentication error and no loop", async () => {
    const { bot, events } = await setUp({ secret: "wrong" });
    expect(bot.state.connection).toBe("refused");
    expect(events.filter(({ type }) => type === "moved").map((event) => "to" in event && event.to)).toEqual([
      "dialing",
      "subscribing",
      "refused",
    ]);
  });

  test("A3 pings in JSON every heartbeat; one that fails forces a reconnect", async () => {
    const { gateway, events } = await setUp({ ackMs: 150 });
    await expect.poll(() => frames(gateway, "ping").length).toBeGreaterThanOrEqual(2);
    events.length = 0;
    gateway.cut(gateway.connections()[0]!.n, "half-open");
    // From the events: it may be back before anybody looks at its state.
    const moves = (): unknown[] => events.flatMap((event) => (event.type === "moved" ? [event.to] : []));
    await expect.poll(moves).toEqual(expect.arrayContaining(["waiting", "dialing", "ready"]));
  });

  test("A4 a silent drop is noticed, even when nothing ever says that the socket is gone", async () => {
    // Pings so rare that only the read time-out can notice.
    const { gateway, events } = await setUp({ heartbeatMs: 200, pingTimeoutMs: 5_000, idleMs: 400 });
    gateway.cut(gateway.connections()[0]!.n, "half-open");
    await expect.poll(() => events.some((event) => event.type === "moved" && event.why === "silence")).toBe(true);
  });

  test("A5 answers WebSocket pings; a close frame leads to a reconnect", async () => {
    const { gateway, bot, events } = await setUp();
    gateway.cut(gateway.connections()[0]!.n, "close", 1001);
    await expect.poll(() => events.filter((event) => event.type === "moved" && event.to === "ready").length).toBe(2);
    expect(bot.state.subscribed).toBe(true);
  });

  test("A6 req_id is a prefix and 8 random bytes in hex; an ack goes to who waits for it and to no handler", async () => {
    const { gateway, bot } = await setUp();
    let handled = 0;
    bot.on("message", () => void handled++);
    await gateway.say("bot", "hi");
    await bot.push({ userid: "zhangsan" }, "hello");
    expect(frames(gateway, "aibot_send_msg")[0]!.headers.req_id).toMatch(/^send_[0-9a-f]{16}$/);
    expect(handled).toBe(1);
  });

  test("A7 a non-zero errcode is told with code, text and what was sent", async () => {
    const { bot } = await setUp();
    expect(await bot.push({ userid: "nobody-spoke" }, "hello")).toMatchObject({
      type: "failed",
      errcode: expect.any(Number) as number,
      why: expect.stringMatching(/the gateway refused it: \d+ /) as string,
    });
  });

  test("A8 proactive Markdown to a chat", async () => {
    const { gateway, bot } = await setUp();
    await gateway.say("bot", "hi");
    await bot.push({ userid: "zhangsan" }, "**hello**");
    expect(items(gateway)).toMatchObject([{ via: "send", kind: "markdown", content: "**hello**" }]);
  });

  test.for([
    ...(["png", "jpg", "gif"] as const).map((extension) => [extension, heads[extension], "image"] as const),
    ["jpeg", heads.jpg, "image"],
    ["webp", Buffer.from("RIFF....WEBP"), "file"],
    ["mp4", heads.mp4, "video"],
    ["mov", Buffer.from("....ftypqt  "), "file"],
    ["avi", Buffer.from("RIFF....AVI "), "file"],
    ["mkv", Buffer.from("1a45dfa3", "hex"), "file"],
    ["amr", heads.amr, "voice"],
    ["mp3", Buffer.from("ID3......"), "file"],
    ["wav", Buffer.from("RIFF....WAVE"), "file"],
    ["m4a", Buffer.from("....ftypM4A "), "file"],
    ["pdf", Buffer.from("%PDF-1.7"), "file"],
    ["unknown", Buffer.from("hello"), "file"],
  ] as [string, Buffer, string][])(
    "A9 a .%s is uploaded and sent; what the gateway does not take as such goes as a file",
    async ([extension, head, kind]) => {
      const { gateway, bot } = await setUp();
      await gateway.say("bot", "hi");
      const path = join(await folder(), `a.${extension}`);
      await writeFile(path, Buffer.concat([head, Buffer.alloc(100)]));
      expect(await bot.push({ userid: "zhangsan" }, reply.file(path))).toEqual({ type: "delivered" });
      expect(items(gateway).at(-1)).toMatchObject({ kind, filename: `a.${extension}` });
    },
  );

  test("A10 upload in three steps with MD5, 512 KB a chunk, at most 100; too large is refused before anything is sent", async () => {
    const { gateway, bot } = await setUp();
    const bytes = Buffer.alloc(600_000, 7);
    await bot.upload(bytes, { filename: "a.bin" });
    expect(frames(gateway, "aibot_upload_media_init")[0]!.body).toMatchObject({
      total_size: 600_000,
      total_chunks: 2,
      md5: createHash("md5").update(bytes).digest("hex"),
    });
    await expect(bot.upload(new Uint8Array(21 * 1_048_576), { filename: "b.bin" })).rejects.toThrow(/20 MB/);
    await expect(bot.upload(new Uint8Array(), { filename: "c.bin" })).rejects.toThrow(/fewer than 5 bytes/);
    expect(frames(gateway, "aibot_upload_media_init")).toHaveLength(1);
  });

  test("A11 an unknown cmd and a text that cannot be read are told, and survived", async () => {
    const { gateway, bot, events } = await setUp({}, { faults: [readFault("odd-frame:what=unknown-cmd")] });
    bot.on("text", ({ text }) => text);
    expect((await gateway.say("bot", "one", { waitMs: 4_000 })).reply).toBe("one");
    await gateway.addFault("odd-frame:what=not-json");
    expect((await gateway.say("bot", "two", { waitMs: 4_000 })).reply).toBe("two");
    const told = events.flatMap((event) => (event.type === "notice" ? [recordOf(event).message] : []));
    expect(told.join("\n")).toMatch(/a command that is not known here\n.*a frame that cannot be read/);
    expect(gateway.connections()).toHaveLength(1);
  });

  test("A12 stop: no reconnect, no pings, the socket closed", async () => {
    const { gateway, bot } = await setUp();
    await bot.stop();
    await expect.poll(() => gateway.connections()).toEqual([]);
    const sent = frames(gateway).length;
    expect(bot.state.connection).toBe("stopped");
    expect(frames(gateway)).toHaveLength(sent);
  });
});

describe("what the Python handler framework does", () => {
  test("B1 works from behind any firewall: it dials out and listens nowhere", async () => {
    const { gateway } = await setUp();
    expect(gateway.connections()).toMatchObject([{ bot: "bot", address: "127.0.0.1" }]);
  });

  test("B2 WECOM_BOT_ID, WECOM_BOT_SECRET, WECOM_BOT_NAME, WECOM_BOT_WS_URL, and the live gateway by default", () => {
    const env = { WECOM_BOT_ID: "b", WECOM_BOT_SECRET: "s", WECOM_BOT_NAME: "N" };
    const read = (more: object) => readConfig({ values: {}, echo: false, json: false }, { ...env, ...more }, () => "");
    expect(read({})).toMatchObject({ botId: "b", secret: "s", name: "N", url: "wss://openws.work.weixin.qq.com" });
    expect(read({ WECOM_BOT_WS_URL: "ws://x:1" }).url).toBe("ws://x:1");
  });

  test("B3 reconnect interval, heartbeat and request time-out are options; attempts are without end", async () => {
    const { gateway, bot, events } = await setUp({ backoffBaseMs: 5, backoffMaxMs: 10, heartbeatMs: 50, ackMs: 1_000 });
    const { host } = new URL(gateway.url);
    await gateway.stop();
    // The framework's siblings give up after ten.
    await expect
      .poll(() => events.filter((event) => event.type === "moved" && event.to === "dialing").length, {
        timeout: 10_000,
      })
      .toBeGreaterThan(12);
    const again = await startGateway({ listen: host, latencyMs: 0 });
    ended.push(() => again.stop());
    await expect.poll(() => bot.state.subscribed).toBe(true);
  });

  test("B4 alive for ever, except after stop, wrong credentials, or a kick", async () => {
    const { gateway, bot } = await setUp();
    await gateway.kick("bot", { closeAfterMs: 0 });
    await expect.poll(() => bot.state.connection).toBe("kicked");
  });

  test("B5 typed messages: text, image, voice, video, file, mixed in order, events", async () => {
    const { gateway, bot } = await setUp();
    const seen: Message[] = [];
    bot.on("message", (message) => {
      seen.push(message);
      return undefined;
    });
    const from = { userid: "u" };
    const msg_item = [
      { msgtype: "text", text: { content: "a" } },
      { msgtype: "image", image: {} },
    ];
    for (const message of [
      { from, msgtype: "text", text: { content: "hello" } },
      { from, msgtype: "image", image: {} },
      { from, msgtype: "voice", voice: { content: "spoken" } },
      { from, msgtype: "video", video: {} },
      { from, msgtype: "file", file: {} },
      { from, msgtype: "mixed", mixed: { msg_item } },
    ])
      await gateway.say("bot", message);
    await expect
      .poll(() => seen.map(({ kind, text, files }) => [kind, text, files.length]))
      .toEqual([
        ["text", "hello", 0],
        ["image", "[image]", 1],
        ["voice", "spoken", 0],
        ["video", "[video]", 1],
        ["file", "[file]", 1],
        ["mixed", "a\n[image]", 1],
      ]);
  });

  test("B6 a handler may return text, Markdown, a stream, files from a path, a card, a raw body, or several in turn", async () => {
    const { gateway, bot } = await setUp({}, { switches: { quota: "off" } });
    const path = await folder();
    for (const [extension, head] of Object.entries(heads))
      await writeFile(join(path, `a.${extension}`), Buffer.concat([head, Buffer.alloc(50)]));
    await writeFile(join(path, "a.txt"), "hello");
    const card = reply.card({
      card_type: "text_notice",
      main_title: { title: "t" },
      card_action: { type: 1, url: "https://example.com" },
    });
    bot.on("text", async function* () {
      yield reply.text("text");
      yield reply.markdown("# markdown");
      yield "a ";
      yield "stream";
      yield reply.image(join(path, "a.png"));
      yield reply.voice(join(path, "a.amr"));
      yield reply.video(join(path, "a.mp4"), { title: "title" });
      yield reply.file(join(path, "a.txt"));
      yield card;
      yield reply.raw({ msgtype: "markdown", markdown: { content: "raw" } });
    });
    await gateway.say("bot", "go", { waitMs: 1_000 });
    await expect.poll(() => items(gateway).length, { timeout: 10_000 }).toBe(9);
    expect(items(gateway).map(({ kind, content, filename }) => `${kind} ${content ?? filename ?? ""}`)).toEqual([
      "stream text",
      "stream # markdown",
      "stream a stream",
      "image a.png",
      "voice a.amr",
      "video a.mp4",
      "file a.txt",
      "template_card ",
      "markdown raw",
    ]);
  });

  test("B7 download and decrypt what a user sent", async () => {
    const { gateway, bot } = await setUp();
    bot.on("file", async (message) => Buffer.from((await message.download()).bytes).toString());
    const file = { base64: Buffer.from("content").toString("base64"), filename: "a.txt" };
    const { reply: read } = await gateway.say(
      "bot",
      { from: { userid: "u" }, msgtype: "file", file },
      { waitMs: 5_000 },
    );
    expect(read).toBe("content");
  });

  test("B8 proactive Markdown and files, to a user and to a group", async () => {
    const { gateway, bot } = await setUp();
    await gateway.say("bot", "hi");
    await gateway.say("bot", {
      from: { userid: "u" },
      chattype: "group",
      chatid: "wrX",
      msgtype: "text",
      text: { content: "hi" },
    });
    for (const to of [{ userid: "zhangsan" }, { chatid: "wrX" }]) {
      expect(await bot.push(to, "hello")).toEqual({ type: "delivered" });
      expect(await bot.push(to, reply.file(Buffer.from("hello"), { filename: "a.txt" }))).toEqual({
        type: "delivered",
      });
    }
    expect(items(gateway).map(({ kind }) => kind)).toEqual(["markdown", "file"]);
    expect(items(gateway, "wrX").map(({ kind }) => kind)).toEqual(["markdown", "file"]);
  });

  // `npm start` brings the same bot and a gateway along: tools/test/start.test.ts.
  test("B9 a runnable demo", { timeout: 20_000 }, async () => {
    const gateway = await startGateway({ latencyMs: 0 });
    ended.push(() => gateway.stop());
    const demo = fileURLToPath(new URL("../../../examples/echo-bot.ts", import.meta.url));
    const env = { WECOM_BOT_ID: "bot", WECOM_BOT_SECRET: "s3cret", WECOM_BOT_WS_URL: gateway.url };
    const child = spawn(process.execPath, [demo], { stdio: "ignore", env: { ...process.env, ...env } });
    ended.push(() => child.kill("SIGKILL"));
    await gateway.waitForBot("bot");
    expect((await gateway.say("bot", "hello", { waitMs: 5_000 })).reply).toContain("hello");
  });
});
