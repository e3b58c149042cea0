// What a client of this gateway must do, by the numbers of the list of 85 behaviours that the conformance suite tests
// too: each here over a real socket. Durations are a hundredth of the default ones (a heartbeat of 300 ms), so "within
// 10 s" reads "within 100 ms, and what a busy machine adds".
//
// Elsewhere, because they need no gateway or a day: 25 (a peer that reads no more) in network.test.ts; 77, 78, 79 and 81
// (keys, padding, names) in media.test.ts and files.test.ts; 82 (a day of reconnects, in virtual time) in bot.test.ts.
import { afterEach, describe, expect, test } from "vitest";
import { type Bot, type BotEvent, type BotOptions, type Message, FileError, reply } from "../src/index.shared.ts";
import { createBot } from "./library.ts";
import { type Judge, Peer, obliging } from "./peer.ts";
import { type Frame, callback, happening, never } from "./virtual.ts";

const hundredth = { heartbeatMs: 300, ackMs: 100, backoffBaseMs: 10, quota: false } as const;
/** What a busy machine may add to any limit. */
const grace = 1_500;

const ended: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0).toReversed()) await end();
});

interface Setting {
  readonly peer: Peer;
  readonly bot: Bot;
  readonly events: BotEvent[];
  /** Resolves when an event that fits has come. */
  readonly until: (fits: (event: BotEvent) => boolean) => Promise<BotEvent>;
}

async function dialling(options: Partial<BotOptions> = {}, judge: Judge = obliging): Promise<Setting> {
  const peer = await Peer.listen();
  ended.push(() => peer[Symbol.asyncDispose]());
  peer.judge = judge;
  const bot = createBot({ botId: "bot", secret: "s3cret-s3cret", url: peer.url, ...hundredth, ...options });
  const events: BotEvent[] = [];
  const waiting = new Set<(event: BotEvent) => void>();
  bot.observe((event) => {
    events.push(event);
    for (const look of waiting) look(event);
  });
  const until = (fits: (event: BotEvent) => boolean): Promise<BotEvent> => {
    const come = events.find(fits);
    if (come !== undefined) return Promise.resolve(come);
    const { promise, resolve } = Promise.withResolvers<BotEvent>();
    const look = (event: BotEvent): void => {
      if (!fits(event)) return;
      waiting.delete(look);
      resolve(event);
    };
    waiting.add(look);
    return promise;
  };
  ended.push(() => bot.stop(50));
  void bot.start();
  return { peer, bot, events, until };
}

async function ready(options: Partial<BotOptions> = {}, judge?: Judge): Promise<Setting> {
  const setting = await dialling(options, judge);
  await setting.bot.start();
  return setting;
}

/** Refuses subscribes with a code. */
const refusing =
  (errcode: number, errmsg = "refused"): Judge =>
  ({ cmd, headers }, line) =>
    line.ack(headers.req_id, cmd === "aibot_subscribe" ? errcode : 0, errmsg);

/** Answers the frames of one command with a code. */
const answering =
  (command: string, errcode: number): Judge =>
  ({ cmd, headers }, line) =>
    line.ack(headers.req_id, cmd === command ? errcode : 0);

const moved = (to: string, why?: string) => (event: BotEvent) =>
  event.type === "moved" && event.to === to && (why === undefined || event.why === why);

const answered = (event: BotEvent): boolean => event.type === "answered";

/** The stream bodies of all replies. */
const streams = (peer: Peer) => peer.of("aibot_respond_msg").flatMap(({ body }) => (body.stream ? [body.stream] : []));

const kick = {
  cmd: "aibot_event_callback",
  headers: { req_id: "k" },
  body: { event: { eventtype: "disconnected_event" } },
};

describe("connect and subscribe", () => {
  test("1. the first frame is aibot_subscribe with bot_id, secret and a req_id, at once", async () => {
    const { peer } = await ready();
    const [first] = peer.line.frames;
    expect(first!.frame).toMatchObject({
      cmd: "aibot_subscribe",
      headers: { req_id: expect.stringMatching(/./) as string },
      body: { bot_id: "bot", secret: "s3cret-s3cret" },
    });
    expect(first!.at - peer.line.openedAt).toBeLessThan(50 + grace);
  });

  test("2. no other command goes before its ack", async () => {
    const { peer, bot } = await dialling({}, () => undefined);
    await peer.until(() => peer.lines.length === 1 && peer.line.frames.length === 1);
    const end = await bot.push({ userid: "lily" }, "hi");
    expect(end.type).toBe("failed");
    expect(peer.line.frames).toHaveLength(1);
  });

  test("3. an ack that never comes: the socket is given up and dialled anew", async () => {
    const { peer } = await dialling({}, () => undefined);
    await peer.until(() => peer.lines.length >= 2);
    expect((await peer.lines[0]!.closed) - peer.lines[0]!.openedAt).toBeLessThan(150 + grace);
  });

  test("4. a callback before the ack is handled once, and the ack still recognised", async () => {
    const { peer, bot, until } = await dialling({}, ({ cmd, headers }, line) => {
      if (cmd === "aibot_subscribe") line.send(callback("early"));
      line.ack(headers.req_id);
    });
    let handled = 0;
    bot.on("text", () => void handled++);
    await until(moved("ready"));
    await peer.line.ping();
    expect(handled).toBe(1);
  });

  test("5. an ack of another req_id subscribes nobody", async () => {
    const { peer, bot } = await dialling({}, (_, line) => line.ack("another"));
    await peer.until(() => peer.lines.length >= 2);
    expect(bot.state.subscribed).toBe(false);
  });

  test.for([853000, 93019, 40001, 40013])(
    "6, 7. %i is an error of the credentials: the socket is closed, and no subscribe follows",
    async (errcode) => {
      const { peer, bot, until } = await dialling({}, refusing(errcode));
      const event = await until(moved("refused", "credentials"));
      expect(event).toMatchObject({ detail: { code: errcode } });
      await peer.line.closed;
      expect(bot.state.connection).toBe("refused");
      expect(peer.of("aibot_subscribe")).toHaveLength(1);
    },
  );

  test.for([45009, 45033])("8. %i is a throttle: a long wait, and no word of credentials", async (errcode) => {
    const { peer, bot, until } = await dialling({}, refusing(errcode));
    await until(moved("waiting", "throttled"));
    expect(bot.state.reason.en).not.toMatch(/secret|credential/);
    const firstAt = peer.line.openedAt;
    await peer.until(() => peer.lines.length === 2);
    // 30 s at full length.
    expect(peer.line.openedAt - firstAt).toBeGreaterThanOrEqual(290);
  });

  test("9. an unknown code is temporary, and told with its text", async () => {
    const { peer, until } = await dialling({}, refusing(777777, "moon in the wrong house"));
    expect(await until(moved("waiting", "subscribe-failed"))).toMatchObject({
      detail: { code: 777777, text: "moon in the wrong house" },
    });
    await peer.until(() => peer.lines.length >= 2);
  });

  test("10. closed right after each ack: the waits grow, and never more than six attempts in the first minute", async () => {
    const { peer } = await dialling({ stableMs: 60_000 }, ({ headers }, line) => {
      line.ack(headers.req_id);
      line.end();
    });
    await peer.until(() => peer.lines.length >= 6);
    const at = peer.lines.map(({ openedAt }) => openedAt - peer.lines[0]!.openedAt);
    // The sixth retry comes at 31 s or later at full length.
    expect(at[5]).toBeGreaterThanOrEqual(300);
  });

  test("11. a gateway that is not up when the client starts is found when it is", async () => {
    const peer = await Peer.listen();
    const { url } = peer;
    await peer[Symbol.asyncDispose]();
    const bot = createBot({ botId: "bot", secret: "s", url, ...hundredth });
    ended.push(() => bot.stop(50));
    const started = bot.start();
    const events: string[] = [];
    const failing = new Promise<void>((resolve) => {
      bot.observe((event) => {
        if (event.type === "moved" && event.to === "waiting" && events.push("waiting") === 4) resolve();
      });
    });
    await failing;
    const { startGateway } = await import("@openws/mock-gateway");
    const gateway = await startGateway({ listen: new URL(url).host, latencyMs: 0 });
    ended.push(() => gateway.stop());
    expect((await started).subscribed).toBe(true);
  });

  test("12. an upgrade that fails is tried again", async () => {
    const { createServer } = await import("node:http");
    let asked = 0;
    const enough = Promise.withResolvers<undefined>();
    const server = createServer().on("upgrade", (_, socket) => {
      socket.on("error", () => undefined);
      socket.end("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
      if (++asked === 3) enough.resolve(undefined);
    });
    await new Promise<void>((resolve) => {
      server.listen(0, "127.0.0.1", resolve);
    });
    ended.push(async () => void server.close());
    const address = server.address() as { port: number };
    const bot = createBot({ botId: "bot", secret: "s", url: `ws://127.0.0.1:${address.port}`, ...hundredth });
    ended.push(() => bot.stop(50));
    void bot.start();
    await enough.promise;
    expect(bot.state.subscribed).toBe(false);
  });

  test("13. what the gateway adds to an errmsg changes nothing, and is not shown", async () => {
    const errmsg = "invalid bot_id or secret, hint: [1760000], from ip: 203.0.113.7, more info at https://open.work";
    const { bot, until } = await dialling({}, refusing(853000, errmsg));
    await until(moved("refused"));
    expect(bot.state.reason.en).not.toContain("203.0.113.7");
  });

  test("14. on a subscribed socket no second subscribe is sent", async () => {
    const { peer } = await ready();
    await peer.until(() => peer.line.of("ping").length >= 3);
    expect(peer.line.of("aibot_subscribe")).toHaveLength(1);
  });
});

describe("kick", () => {
  test("15, 16, 17. the socket is closed by the client, nothing is sent any more, it does not come back", async () => {
    const { peer, bot } = await ready();
    const sent = peer.line.frames.length;
    peer.line.send(kick);
    await peer.line.closed;
    expect(bot.state).toMatchObject({ connection: "kicked", subscribed: false });
    expect(await bot.push({ userid: "lily" }, "hi")).toMatchObject({ type: "failed" });
    expect(peer.lines).toHaveLength(1);
    expect(peer.line.frames).toHaveLength(sent);
  });

  test("18. two clients of one bot: after the second one no further subscribe", async () => {
    const { startGateway } = await import("@openws/mock-gateway");
    const gateway = await startGateway({ latencyMs: 0, switches: { kickCloseMs: [0, 0] } });
    ended.push(() => gateway.stop());
    const bots = [0, 1].map(() => createBot({ botId: "bot", secret: "s", url: gateway.url, ...hundredth }));
    for (const bot of bots) {
      ended.push(() => bot.stop(50));
      await bot.start();
    }
    const pings = () => gateway.log().filter(({ cmd, dir }) => cmd === "ping" && dir === "in").length;
    await expect.poll(pings, { timeout: 5_000 }).toBeGreaterThanOrEqual(3);
    expect(gateway.log().filter(({ cmd }) => cmd === "aibot_subscribe")).toHaveLength(2);
  });

  test("19. a disconnected_event with nothing but its type is understood", async () => {
    const { peer, until } = await ready();
    peer.line.send(kick);
    await until(moved("kicked"));
  });

  test("20. what was waiting for an ack is told, not left hanging", async () => {
    const { peer, bot } = await ready({}, ({ cmd, headers }, line) => {
      if (cmd !== "aibot_send_msg") line.ack(headers.req_id);
    });
    const end = bot.push({ userid: "lily" }, "hi");
    await peer.until(() => peer.line.of("aibot_send_msg").length === 1);
    peer.line.send(kick);
    expect(await end).toMatchObject({ type: "unknown" });
  });
});

describe("heartbeat and liveness", () => {
  test("21. pings with a fresh req_id each, at the heartbeat's pace", async () => {
    const { peer } = await ready();
    await peer.until(() => peer.line.of("ping").length >= 3);
    const pings = peer.line.frames.filter(({ frame }) => frame.cmd === "ping");
    expect(new Set(pings.map(({ frame }) => frame.headers.req_id)).size).toBe(pings.length);
    expect(Object.keys(pings[0]!.frame)).toEqual(["cmd", "headers"]);
    expect(pings[1]!.at - pings[0]!.at).toBeGreaterThan(250);
  });

  test.for([
    ["22. pings that are not answered", () => undefined],
    [
      "23. pings that are answered with an error",
      ({ headers }: Frame, line: Peer["line"]) => line.ack(headers.req_id, 95001),
    ],
    [
      "23. pings that are answered with 846609",
      ({ headers }: Frame, line: Peer["line"]) => line.ack(headers.req_id, 846609),
    ],
  ] as [string, Judge][])("%s: the socket is dropped and another one made", async ([, onPing]) => {
    const { peer } = await ready({}, (frame, line) =>
      frame.cmd === "ping" ? onPing(frame, line) : line.ack(frame.headers.req_id),
    );
    await peer.until(() => peer.lines.length >= 2);
    expect((await peer.lines[0]!.closed) - peer.lines[0]!.openedAt).toBeLessThan(1_000 + grace);
  });

  test.for([undefined, 1000, 1001, 1008, 1011, 1012])("24. an end with code %o: it is back at once", async (code) => {
    const { peer } = await ready();
    const endedAt = performance.now();
    peer.line.end(code);
    await peer.until(() => peer.lines.length === 2 && peer.line.of("aibot_subscribe").length === 1);
    expect(performance.now() - endedAt).toBeLessThan(100 + grace);
  });

  test("26. a WebSocket ping is answered, and none is sent", async () => {
    const { peer } = await ready();
    await peer.line.ping();
  });

  test("27. a JSON ping of the gateway does no harm", async () => {
    const { peer, bot, until } = await ready();
    peer.line.send({ cmd: "ping", headers: { req_id: "p" } });
    await until((event) => event.type === "notice" && event.what.type === "server-ping");
    expect(bot.state.subscribed).toBe(true);
  });

  test("28. acks of other commands do not stand for an answered ping", async () => {
    const { peer, bot } = await ready({}, ({ cmd, headers }, line) => {
      if (cmd !== "ping") line.ack(headers.req_id);
    });
    const pushing = setInterval(() => void bot.push({ userid: "lily" }, "hi"), 20);
    ended.push(async () => clearInterval(pushing));
    await peer.until(() => peer.lines.length >= 2);
  });
});

describe("inbound", () => {
  test("29. a msgid is handled once: twice, with another req_id, over another socket", async () => {
    const { peer, bot, until, events } = await ready();
    let handled = 0;
    bot.on("text", () => void handled++);
    peer.line.send(callback("x", { msgid: "M" }, "R1"));
    peer.line.send(callback("x", { msgid: "M" }, "R2"));
    await until((event) => event.type === "duplicate");
    peer.line.end();
    await peer.until(() => peer.lines.length === 2 && peer.line.of("aibot_subscribe").length === 1);
    peer.line.send(callback("x", { msgid: "M" }, "R3"));
    await expect.poll(() => events.filter(({ type }) => type === "duplicate").length).toBe(2);
    expect(handled).toBe(1);
  });

  test("30. a hundred thousand msgids are forgotten in time", { timeout: 60_000 }, async () => {
    const { peer, bot, until } = await ready({ maxRunning: 1e6, idleMs: 60_000, pingTimeoutMs: 30_000 });
    bot.on("text", ({ text }) => (text === "last" ? "done" : undefined));
    peer.line.send(callback("x", { msgid: "m0" }));
    for (let at = 0; at < 100_000; at++) peer.line.send(callback("x", { msgid: `m${at}` }));
    peer.line.send(callback("last"));
    await until(answered);
    const seen: string[] = [];
    bot.on("text", ({ text }) => {
      seen.push(text);
      return undefined;
    });
    peer.line.send(callback("again", { msgid: "m0" }));
    await expect.poll(() => seen).toEqual(["again"]);
  });

  test("31, 32. a single chat is its user, a group its chatid in the case it came in", async () => {
    const { peer, bot } = await ready();
    bot.on("text", async ({ chat }) => {
      await bot.push(chat.type === "single" ? { userid: chat.id } : { chatid: chat.id }, "hi");
    });
    peer.line.send(callback("x", { from: { userid: "Lily" } }));
    peer.line.send(callback("x", { from: { userid: "Tom" } }));
    peer.line.send(callback("x", { chattype: "group", chatid: "wrAbCdEf" }));
    await peer.until(() => peer.line.of("aibot_send_msg").length === 3);
    const targets = peer.line.of("aibot_send_msg").map(({ body }) => [body["chatid"], body["chat_type"]]);
    expect(targets).toEqual([
      ["Lily", 1],
      ["Tom", 1],
      ["wrAbCdEf", 2],
    ]);
  });

  test("33. raw control characters inside strings are no reason to lose a message", async () => {
    const { peer, bot, until } = await ready();
    bot.on("text", ({ text }) => `${text.length}`);
    for (const raw of ["\t", "\n", "\r", "\u001b", "\u0000"])
      peer.line.send(JSON.stringify(callback("a|b")).replace("|", raw));
    await peer.until(() => streams(peer).length === 5);
    await until(answered);
    expect(streams(peer).map(({ content }) => content)).toEqual(["3", "3", "3", "3", "3"]);
    expect(peer.lines).toHaveLength(1);
  });

  test("34, 36. what is no frame, or is of an unknown kind, is survived", async () => {
    const { peer, bot } = await ready();
    bot.on("text", () => "still here");
    for (const odd of ["", "{", "null", "[]", "42", '"x"', "{}", '{"cmd":"moon"}', '{"cmd":"aibot_msg_callback"}'])
      peer.line.send(odd);
    peer.line.send({ cmd: "aibot_msg_callback", headers: { req_id: "r" }, body: null });
    peer.line.send({ cmd: "moon_callback", headers: { req_id: "r" }, body: {} });
    peer.line.send(callback("", { msgtype: "hologram" }));
    peer.line.send(happening("moon_event"));
    peer.line.send(callback("hi"));
    await peer.until(() => streams(peer).length === 1);
    expect(peer.lines).toHaveLength(1);
  });

  test("35. a binary message that holds a frame is one", async () => {
    const { peer, bot } = await ready();
    bot.on("text", () => "hi");
    peer.line.send(Buffer.from(JSON.stringify(callback("hi"))));
    await peer.until(() => streams(peer).length === 1);
  });

  test("37. mixed: in order, each attachment with its own key", async () => {
    const { peer, bot } = await ready();
    const got = Promise.withResolvers<Message<"mixed">>();
    bot.on("mixed", (message) => {
      got.resolve(message);
    });
    const image = (n: number) => ({ msgtype: "image", image: { url: `https://x/${n}`, aeskey: `key${n}` } });
    const msg_item = [
      { msgtype: "text", text: { content: "a" } },
      image(1),
      { msgtype: "text", text: { content: "b" } },
      image(2),
    ];
    peer.line.send(callback("", { msgtype: "mixed", mixed: { msg_item } }));
    const { text, body, files } = await got.promise;
    expect(text).toBe("a\n[image]\nb\n[image]");
    expect(body.mixed.msg_item).toEqual(msg_item);
    expect(files.map(({ kind }) => kind)).toEqual(["image", "image"]);
  });

  test("38. a quote of each type stands beside the message", async () => {
    const { peer, bot } = await ready();
    const quotes: unknown[] = [];
    bot.on("text", ({ text, quote, quotedFiles }) => {
      quotes.push([text, quote?.msgtype, quotedFiles.length]);
      return undefined;
    });
    const file = { url: "https://x", aeskey: "k" };
    for (const quote of [
      { msgtype: "text", text: { content: "old" } },
      { msgtype: "image", image: file },
      { msgtype: "mixed", mixed: { msg_item: [{ msgtype: "image", image: file }] } },
      { msgtype: "voice", voice: { content: "old" } },
      { msgtype: "file", file },
      { msgtype: "video", video: file },
    ])
      peer.line.send(callback("new", { quote }));
    await expect
      .poll(() => quotes)
      .toEqual([
        ["new", "text", 0],
        ["new", "image", 1],
        ["new", "mixed", 1],
        ["new", "voice", 0],
        ["new", "file", 1],
        ["new", "video", 1],
      ]);
  });

  test("39. a handler that takes long holds up neither pings nor other callbacks", async () => {
    const { peer, bot } = await ready();
    bot.on("text", ({ text }) => (text === "slow" ? never<string>() : text));
    peer.line.send(callback("slow"));
    await peer.until(() => peer.line.of("ping").length >= 2);
    peer.line.send(callback("quick", { from: { userid: "tom" } }));
    await peer.until(() => streams(peer).length === 1);
    expect(peer.lines).toHaveLength(1);
  });

  test("40. three messages of one user are answered each under its own req_id and stream id", async () => {
    const { peer, bot } = await ready();
    bot.on("text", ({ text }) => text);
    for (const n of [1, 2, 3]) peer.line.send(callback(`t${n}`, {}, `R${n}`));
    await peer.until(() => streams(peer).length === 3);
    const frames = peer.line.of("aibot_respond_msg");
    expect(frames.map(({ headers, body }) => `${headers.req_id} ${body.stream!.content}`)).toEqual([
      "R1 t1",
      "R2 t2",
      "R3 t3",
    ]);
    expect(new Set(frames.map(({ body }) => body.stream!.id)).size).toBe(3);
  });

  test("41. a frame of 1.5 MiB is taken", async () => {
    const { peer, bot } = await ready();
    bot.on("text", ({ text }) => `${text.length}`);
    peer.line.send(callback("x".repeat(1_572_864)));
    await peer.until(() => streams(peer).length === 1);
    expect(streams(peer)[0]!.content).toBe("1572864");
  });

  test("42. the mention is taken off, what follows is not", async () => {
    const { peer, bot } = await ready({ name: "Claude Code" });
    bot.on("text", ({ text }) => text);
    peer.line.send(callback("@Claude Code /list all", { chattype: "group", chatid: "wr" }));
    await peer.until(() => streams(peer).length === 1);
    expect(streams(peer)[0]!.content).toBe("/list all");
  });
});

describe("events", () => {
  test("43. enter_chat is welcomed by its own command, under its req_id", async () => {
    const { peer, bot } = await ready();
    bot.on("enter_chat", () => "welcome");
    const event = happening("enter_chat");
    peer.line.send(event);
    await peer.until(() => peer.line.of("aibot_respond_welcome_msg").length === 1);
    expect(peer.line.of("aibot_respond_welcome_msg")[0]!.headers).toEqual(event.headers);
    expect(peer.line.of("aibot_respond_msg")).toEqual([]);
  });

  const card = (title: string) =>
    reply.card({
      card_type: "button_interaction",
      main_title: { title },
      button_list: [{ text: "b", key: "k" }],
      task_id: "t",
    });

  test("44, 45. a click is answered by a full card, and its nested data is at hand", async () => {
    const { peer, bot } = await ready();
    const seen: unknown[] = [];
    bot.on("template_card_event", ({ body }) => {
      seen.push(body.event.template_card_event);
      return card("done");
    });
    const clicks = [
      { card_type: "button_interaction", event_key: "b", task_id: "t1" },
      {
        card_type: "vote_interaction",
        event_key: "s",
        task_id: "t2",
        selected_items: { selected_item: [{ question_key: "q", option_ids: { option_id: ["1", "2"] } }] },
      },
      {
        card_type: "multiple_interaction",
        event_key: "s",
        task_id: "t3",
        selected_items: {
          selected_item: [
            { question_key: "q1", option_ids: { option_id: ["1"] } },
            { question_key: "q2", option_ids: { option_id: ["2"] } },
          ],
        },
      },
      { card_type: "text_notice", event_key: "menu", task_id: "t4" },
    ];
    for (const template_card_event of clicks) peer.line.send(happening("template_card_event", { template_card_event }));
    await peer.until(() => peer.line.of("aibot_respond_update_msg").length === 4);
    expect(seen).toEqual(clicks);
    expect(peer.line.of("aibot_respond_update_msg")[0]!.body).toMatchObject({
      response_type: "update_template_card",
      template_card: { card_type: "button_interaction", task_id: "t" },
    });
  });

  test("46. feedback is no message and is not answered", async () => {
    const { peer, bot } = await ready();
    let messages = 0;
    bot.on("message", () => void messages++);
    const feedback_event = { id: "f", type: 2, inaccurate_reason_list: [2, 4] };
    peer.line.send(happening("feedback_event", { feedback_event }));
    peer.line.send(happening("feedback_event", { feedback_event }, { chattype: "group", chatid: "wr" }));
    await peer.line.ping();
    expect(messages).toBe(0);
    expect(peer.line.frames.map(({ frame }) => frame.cmd)).not.toContain("aibot_respond_msg");
  });
});

describe("replies and streams", () => {
  async function* words(count: number, pauseMs = 0): AsyncGenerator<string> {
    for (let at = 1; at <= count; at++) {
      yield `${at} `;
      await new Promise<void>((resolve) => {
        setTimeout(resolve, pauseMs);
      });
    }
  }

  test("47, 48. each frame holds all of the text, under one req_id and id, and awaits the ack of the one before", async () => {
    let flying = 0;
    let most = 0;
    const { peer, bot, until } = await ready({}, ({ cmd, headers }, line) => {
      if (cmd !== "aibot_respond_msg") return line.ack(headers.req_id);
      most = Math.max(most, ++flying);
      setTimeout(() => {
        flying--;
        line.ack(headers.req_id);
      }, 15);
      return undefined;
    });
    bot.on("text", () => words(20, 3));
    peer.line.send(callback("go", {}, "R"));
    await until(answered);
    expect(most).toBe(1);
    const all = streams(peer);
    expect(new Set(all.map(({ id }) => id)).size).toBe(1);
    for (const [at, { content }] of all.entries())
      if (at > 0) expect(content.startsWith(all[at - 1]!.content.trimEnd())).toBe(true);
    expect(all.map(({ finish }) => finish)).toEqual([...all.slice(1).map(() => false), true]);
  });

  test.for([
    [
      "throws",
      async function* () {
        yield "half";
        throw new Error("x");
      },
    ],
    ["yields nothing", async function* () {}],
    [
      "yields nothing visible",
      async function* () {
        yield " \u200b";
      },
    ],
    ["ends well", () => words(3)],
  ] as [string, () => AsyncIterable<string>][])(
    "49. a handler that %s ends its stream once, with something visible",
    async ([, handler]) => {
      const { peer, bot, until } = await ready();
      bot.on("text", handler);
      peer.line.send(callback("go"));
      await until(answered);
      const finals = streams(peer).filter(({ finish }) => finish);
      expect(finals).toHaveLength(1);
      expect(streams(peer).at(-1)).toBe(finals[0]);
      expect(finals[0]!.content).toMatch(/[\p{L}\p{N}]/u);
    },
  );

  test("50. a long answer goes in several messages of at most 20,480 bytes, no character cut, nothing lost", async () => {
    const { peer, bot, until } = await ready();
    const text = Array.from({ length: 6_000 }, (_, at) => `第${at}行😀`).join("\n");
    bot.on("text", () => text);
    peer.line.send(callback("go"));
    await until(answered);
    const finals = streams(peer).filter(({ finish }) => finish);
    expect(finals.length).toBeGreaterThan(3);
    for (const { content } of streams(peer)) {
      expect(Buffer.byteLength(content)).toBeLessThanOrEqual(20_480);
      expect(content.isWellFormed()).toBe(true);
    }
    expect(
      finals
        .map(({ content }) => content)
        .join("\n")
        .replaceAll(/\s+/g, "\n"),
    ).toBe(text);
  });

  test.for([846604, 846605, 846608, 600039])(
    "51, 53. %i: the answer takes another way, and this one is not tried again",
    async (errcode) => {
      const { peer, bot, until } = await ready({}, ({ cmd, headers, body }, line) =>
        line.ack(headers.req_id, cmd === "aibot_respond_msg" && body.stream !== undefined ? errcode : 0),
      );
      bot.on("text", () => "the answer");
      peer.line.send(callback("go"));
      expect(await until(answered)).toMatchObject({ end: { type: "delivered" } });
      expect(streams(peer)).toHaveLength(1);
      const others = [...peer.of("aibot_send_msg"), ...peer.of("aibot_respond_msg")].flatMap(
        ({ body }) => body.markdown?.content ?? [],
      );
      expect(others).toEqual(["the answer"]);
    },
  );

  test("52. a bubble is finished before its tenth minute, and the answer goes on in another", async () => {
    const { peer, bot, until } = await ready({ handoverMs: 200 });
    bot.on("text", () => words(20, 25));
    peer.line.send(callback("go"));
    await until(answered);
    const ids = new Set(streams(peer).map(({ id }) => id));
    expect(ids.size).toBeGreaterThan(1);
    expect(streams(peer).filter(({ finish }) => finish)).toHaveLength(ids.size);
  });

  test("54. 846607: the chat is left alone for a minute, and the final is not lost", { timeout: 10_000 }, async () => {
    const { peer, bot, until } = await ready({ quota: { pauseMs: 600 } }, obliging);
    let refused = 0;
    peer.judge = ({ cmd, headers }, line) =>
      line.ack(headers.req_id, cmd === "aibot_respond_msg" && refused++ === 0 ? 846607 : 0);
    bot.on("text", () => words(10, 10));
    peer.line.send(callback("go"));
    expect(await until(answered)).toMatchObject({ end: { type: "delivered" } });
    const at = peer.line.frames.filter(({ frame }) => frame.cmd === "aibot_respond_msg").map((each) => each.at);
    expect(at[1]! - at[0]!).toBeGreaterThanOrEqual(590);
    expect(streams(peer)).toHaveLength(2);
    expect(streams(peer)[1]).toMatchObject({ finish: true, content: "1 2 3 4 5 6 7 8 9 10 " });
  });

  test("55. 6000 is tried again, three times at most, in the same stream", { timeout: 10_000 }, async () => {
    const { peer, bot, until } = await ready({}, answering("aibot_respond_msg", 6000));
    bot.on("text", () => "the answer");
    peer.line.send(callback("go"));
    await until(answered);
    expect(streams(peer)).toHaveLength(4);
    expect(new Set(streams(peer).map(({ id }) => id)).size).toBe(1);
  });

  test("56. 846609 on a reply: one reconnect, and the answer arrives", async () => {
    let lost = false;
    const { peer, bot, until } = await ready();
    peer.judge = ({ cmd, headers }, line) => {
      const errcode = cmd === "aibot_respond_msg" && !lost ? 846609 : 0;
      lost ||= errcode !== 0;
      line.ack(headers.req_id, errcode);
    };
    bot.on("text", () => "the answer");
    peer.line.send(callback("go"));
    expect(await until(answered)).toMatchObject({ end: { type: "delivered" } });
    expect(peer.lines).toHaveLength(2);
  });

  test("57, 58. an ack that is late or never comes confirms nothing, and nothing is sent twice for it", async () => {
    const { peer, bot, until } = await ready({ pingTimeoutMs: 5_000 }, obliging);
    let held: string | undefined;
    peer.judge = ({ cmd, headers }, line) => {
      if (cmd !== "aibot_respond_msg") return line.ack(headers.req_id);
      if (held === undefined) return void (held = headers.req_id);
      // The late ack of the first frame, then the refusal of the second.
      line.ack(headers.req_id);
      return line.ack(headers.req_id, 846605);
    };
    bot.on("text", () => words(40, 10));
    peer.line.send(callback("go"));
    expect(await until(answered)).toMatchObject({ route: "push", end: { type: "delivered" } });
    expect(peer.of("aibot_send_msg").length).toBeGreaterThan(0);
  });

  test(
    "59. sixty quick updates make few frames, and the last state is always delivered",
    { timeout: 20_000 },
    async () => {
      const { peer, bot, until } = await ready({ quota: {} });
      bot.on("text", () => words(60, 5));
      peer.line.send(callback("go"));
      await until(answered);
      expect(streams(peer).length).toBeLessThanOrEqual(30);
      expect(streams(peer).at(-1)).toMatchObject({ finish: true, content: expect.stringMatching(/ 60 $/) as string });
    },
  );

  test("60. a drop in the middle: the old req_id is tried, and pushed if it is refused", async () => {
    for (const errcode of [0, 846605]) {
      const { peer, bot, until } = await ready();
      bot.on("text", () => words(10, 20));
      peer.line.send(callback("go", {}, "R"));
      await peer.until(() => streams(peer).length >= 2);
      peer.judge = answering("aibot_respond_msg", errcode);
      peer.line.end();
      expect(await until(answered)).toMatchObject({ end: { type: "delivered" } });
      expect(peer.line.of("aibot_respond_msg")[0]!.headers.req_id).toBe("R");
      const read =
        errcode === 0
          ? streams(peer).at(-1)!.content
          : peer
              .of("aibot_send_msg")
              .map(({ body }) => body.markdown!.content)
              .join("");
      expect(read).toContain("10");
    }
  });

  test("61, 62. twenty answers at once whose acks never come: valid frames, told as unknown, no process harmed", async () => {
    const { peer, bot, events } = await ready({ pingTimeoutMs: 2_000, idleMs: 60_000 }, ({ cmd, headers }, line) => {
      if (cmd !== "aibot_send_msg") line.ack(headers.req_id);
    });
    const ends = await Promise.all(Array.from({ length: 20 }, (_, at) => bot.push({ userid: `u${at}` }, `n${at}`)));
    expect(new Set(ends.map(({ type }) => type))).toEqual(new Set(["unknown"]));
    expect(peer.of("aibot_send_msg")).toHaveLength(20);
    expect(events.some(({ type }) => type === "observer-failed")).toBe(false);
  });
});

describe("active push", () => {
  test("63, 67. text is Markdown to a raw id with its chat_type", async () => {
    const { peer, bot } = await ready();
    await bot.push({ chatid: "wrAbC" }, reply.text("hi"));
    expect(peer.of("aibot_send_msg")[0]!.body).toEqual({
      chatid: "wrAbC",
      chat_type: 2,
      msgtype: "markdown",
      markdown: { content: "hi" },
    });
  });

  test.for([93006, 93001])("64. %i is not tried again", async (errcode) => {
    const { peer, bot } = await ready({}, answering("aibot_send_msg", errcode));
    expect(await bot.push({ userid: "x" }, "hi")).toMatchObject({ type: "failed", errcode });
    expect(peer.of("aibot_send_msg")).toHaveLength(1);
  });

  test("65. without a line it fails at once, and no second connection is made", async () => {
    const { peer, bot } = await dialling({}, () => undefined);
    await peer.until(() => peer.lines.length === 1);
    expect(await bot.push({ userid: "x" }, "hi")).toMatchObject({ type: "failed" });
    expect(peer.lines).toHaveLength(1);
  });

  test("66. without an ack it is unknown, and not sent again", async () => {
    const { peer, bot } = await ready({}, ({ cmd, headers }, line) => {
      if (cmd !== "aibot_send_msg") line.ack(headers.req_id);
    });
    expect(
      await bot.push({ userid: "x" }, reply.raw({ msgtype: "markdown", markdown: { content: "x" } })),
    ).toMatchObject({ type: "unknown" });
    expect(peer.of("aibot_send_msg")).toHaveLength(1);
  });
});

describe("upload", () => {
  const bytes = (count: number) => new Uint8Array(count).fill(65);

  /** Answers uploads well, unless `odd` answers a frame itself. */
  const uploading =
    (odd: (frame: Frame, line: Peer["line"]) => boolean = () => false): Judge =>
    (frame, line) => {
      if (odd(frame, line)) return;
      const body =
        frame.cmd === "aibot_upload_media_init"
          ? { upload_id: "U" }
          : frame.cmd === "aibot_upload_media_finish"
            ? { type: "file", media_id: "M", created_at: "1380000000" }
            : undefined;
      line.ack(frame.headers.req_id, 0, "ok", body);
    };

  test("68, 69, 76. init, three chunks from 0 of at most 512 KiB after its ack, finish; created_at may be a string", async () => {
    const { peer, bot } = await ready({}, uploading());
    const uploaded = await bot.upload(bytes(1_300_000), { filename: "a.bin" });
    expect(uploaded).toMatchObject({ mediaId: "M", createdAt: 1_380_000_000 });
    const [init] = peer.of("aibot_upload_media_init");
    expect(init!.body).toMatchObject({
      total_size: 1_300_000,
      total_chunks: 3,
      md5: expect.stringMatching(/^[0-9a-f]{32}$/) as string,
    });
    const chunks = peer
      .of("aibot_upload_media_chunk")
      .map(({ body }) => body as { chunk_index: number; base64_data: string; upload_id: string });
    expect(
      chunks.map((each) => [each.chunk_index, each.upload_id, Buffer.from(each.base64_data, "base64").length]),
    ).toEqual([
      [0, "U", 524_288],
      [1, "U", 524_288],
      [2, "U", 251_424],
    ]);
    expect(peer.line.frames.at(-1)!.frame.cmd).toBe("aibot_upload_media_finish");
  });

  test(
    "70, 71. a chunk whose ack is lost is sent again, and no more than three times",
    { timeout: 20_000 },
    async () => {
      let lost = 0;
      const { peer, bot } = await ready(
        { pingTimeoutMs: 5_000, idleMs: 60_000 },
        uploading(({ cmd, body }) => cmd === "aibot_upload_media_chunk" && body["chunk_index"] === 1 && lost++ === 0),
      );
      await bot.upload(bytes(1_300_000), { filename: "a.bin" });
      const indices = peer.of("aibot_upload_media_chunk").map(({ body }) => body["chunk_index"]);
      expect(indices.filter((index) => index === 1)).toHaveLength(2);
      expect(indices).toHaveLength(4);
      expect(peer.of("aibot_upload_media_init")).toHaveLength(1);
    },
  );

  test("72. a drop: what is missing goes over the next socket, under the same upload_id", async () => {
    let dropped = false;
    const { peer, bot } = await ready(
      {},
      uploading(({ cmd, body }, line) => {
        if (dropped || cmd !== "aibot_upload_media_chunk" || body["chunk_index"] !== 2) return false;
        dropped = true;
        line.end();
        return true;
      }),
    );
    await bot.upload(bytes(2_500_000), { filename: "a.bin" });
    expect(peer.lines).toHaveLength(2);
    expect(peer.of("aibot_upload_media_init")).toHaveLength(1);
    expect(peer.of("aibot_upload_media_finish")).toHaveLength(1);
  });

  test("73. an overload: fewer at once, again, and it arrives", { timeout: 20_000 }, async () => {
    let flying = 0;
    const { bot } = await ready(
      {},
      uploading(({ cmd, headers }, line) => {
        if (cmd !== "aibot_upload_media_chunk") return false;
        flying++;
        setTimeout(() => {
          line.ack(headers.req_id, flying > 2 ? -1 : 0, flying > 2 ? "system error" : "ok");
          flying--;
        }, 5);
        return true;
      }),
    );
    expect(await bot.upload(bytes(4_000_000), { filename: "a.bin" })).toMatchObject({ mediaId: "M" });
  });

  test("74. what cannot go is refused before anything is sent, or goes as a file", async () => {
    const { peer, bot } = await ready({}, uploading());
    for (const count of [4, 20 * 1_048_576 + 1])
      await expect(bot.upload(bytes(count), { filename: "a.bin" })).rejects.toThrow(FileError);
    expect(peer.of("aibot_upload_media_init")).toEqual([]);
    await bot.upload(bytes(2_200_000), { filename: "a.amr", kind: "voice" });
    expect(peer.of("aibot_upload_media_init")[0]!.body["type"]).toBe("file");
  });

  test("75. an error at finish: no message with a media_id that does not exist", async () => {
    const { peer, bot } = await ready(
      {},
      uploading(({ cmd, headers }, line) => {
        if (cmd !== "aibot_upload_media_finish") return false;
        line.ack(headers.req_id, 40058, "invalid");
        return true;
      }),
    );
    await expect(bot.push({ userid: "x" }, reply.file(bytes(1_000), { filename: "a.bin" }))).rejects.toThrow(/40058/);
    expect(peer.of("aibot_send_msg")).toEqual([]);
  });
});

describe("general robustness", () => {
  test("80. a file that cannot be fetched costs the file, not the message", async () => {
    const { peer, bot } = await ready();
    bot.on("image", (message) =>
      message.download().then(
        () => "?",
        (error: unknown) => (error as FileError).code,
      ),
    );
    peer.line.send(
      callback("", {
        msgtype: "image",
        image: { url: `${peer.url.replace("ws", "http")}/gone`, aeskey: "k".repeat(43) },
      }),
    );
    await peer.until(() => streams(peer).length === 1);
    expect(streams(peer)[0]!.content).toMatch(/^file-/);
  });

  test("83. the end of an old socket does not end the new one", async () => {
    const { peer, bot } = await ready({}, ({ cmd, headers }, line) => {
      if (cmd !== "ping" || line !== peer.lines[0]) line.ack(headers.req_id);
    });
    await peer.until(() => peer.lines.length === 2 && peer.line.of("ping").length > 0);
    await peer.lines[0]!.closed;
    expect(bot.state.subscribed).toBe(true);
    expect(peer.lines).toHaveLength(2);
  });

  test("84. a stop ends what is open, closes, and does not come back", async () => {
    const { peer, bot } = await ready();
    bot.on("text", async function* () {
      yield "half";
      await never();
    });
    peer.line.send(callback("go"));
    await peer.until(() => streams(peer).length === 1);
    const at = performance.now();
    await bot.stop();
    await peer.line.closed;
    expect(performance.now() - at).toBeLessThan(5_000);
    expect(streams(peer).at(-1)).toMatchObject({ finish: true });
    expect(peer.lines).toHaveLength(1);
  });

  test("85. what the gateway says never carries the secret into an event", async () => {
    const { bot, until, events } = await dialling({}, refusing(777777, "bad secret s3cret-s3cret"));
    await until(moved("waiting"));
    expect(JSON.stringify(events) + JSON.stringify(bot.state)).not.toContain("s3cret-s3cret");
  });
});
