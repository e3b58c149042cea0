import { createConnection } from "node:net";
import { describe, expect, test } from "vitest";
import { ListenError, startGateway, type GatewayOptions, type LogEntry } from "../src/index.ts";
import { Client } from "./client.ts";
import { containing, matching } from "./wire.ts";

const start = (options: GatewayOptions = {}) =>
  startGateway({ latencyMs: 0, switches: { maxInFlightPerUser: "off" }, ...options });

interface Called {
  status: number;
  type: string | null;
  text: string;
  /** The body as JSON; undefined when it is none. */
  body: unknown;
}

const call = async (url: string, init?: RequestInit): Promise<Called> => {
  const response = await fetch(url, init);
  const type = response.headers.get("content-type");
  const text = await response.text();
  return {
    status: response.status,
    type,
    text,
    body: /[/+]json/.test(type ?? "") && text !== "" ? JSON.parse(text) : undefined,
  };
};
const post = (url: string, body?: unknown, headers: Record<string, string> = {}) =>
  call(url, {
    method: "POST",
    headers,
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });

describe("over loopback", () => {
  test("a client on any path, with any sub-protocol, subscribes and answers what a user says", async () => {
    await using gateway = await start();
    const client = await Client.open(`${gateway.url}/some/path?x=1`, ["aibot"]);
    client.send({ cmd: "aibot_subscribe", headers: { req_id: "a" }, body: { bot_id: "b", secret: "s" } });
    expect(await client.next()).toEqual({ headers: { req_id: "a" }, errcode: 0, errmsg: "ok" });
    const told = gateway.say("b", "hello", { waitMs: 5000 });
    const { headers } = await client.next();
    client.reply(headers.req_id, "s", "hello to you", true);
    expect(await told).toMatchObject({ delivered: true, reply: "hello to you" });
  });

  test("a kicked connection is cut without a close frame, a closed one says its code, a half-open one says nothing", async () => {
    await using gateway = await start();
    const kicked = await Client.subscribe(gateway.url);
    await gateway.kick("bot", { closeAfterMs: 0 });
    expect(await kicked.closed).toBe(1006);
    const closed = await Client.subscribe(gateway.url);
    gateway.cut(gateway.bots()[0]!.connection!, "close", 1012);
    expect(await closed.closed).toBe(1012);
    const silent = await Client.subscribe(gateway.url);
    gateway.cut(gateway.bots()[0]!.connection!, "half-open");
    silent.send({ cmd: "ping", headers: { req_id: "p" } });
    expect(await gateway.say("bot", "anybody?")).toMatchObject({ delivered: false });
    expect(silent.frames).toHaveLength(1);
    silent.close();
  });

  test("a port in use is refused with a sentence that names it", async () => {
    await using gateway = await start();
    const listen = new URL(gateway.consoleUrl).host;
    await expect(startGateway({ listen })).rejects.toThrow(ListenError);
    await expect(startGateway({ listen })).rejects.toThrow(/port \d+ on 127\.0\.0\.1 is in use/);
  });

  test("junk, oversized frames and half an upgrade harm nobody else", async () => {
    await using gateway = await start();
    const client = await Client.echo(gateway.url);
    const junk = await Client.open(gateway.url);
    for (const text of [
      "",
      "{",
      "null",
      "[1]",
      "\u0000",
      '{"cmd":7}',
      '{"headers":{"req_id":[]}}',
      '{"cmd":"ping","headers":null,"body":[]}',
    ])
      junk.ws.send(text);
    junk.ws.send(Buffer.from([0xff, 0xfe, 0x00]));
    const big = await Client.open(gateway.url);
    big.ws.send("x".repeat(9 * 1024 * 1024));
    expect(await big.closed).toBe(1009);
    const { port } = new URL(gateway.consoleUrl);
    const raw = createConnection(Number(port), "127.0.0.1");
    raw.write("GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    await new Promise((resolve) => {
      raw.on("close", resolve);
      raw.resume();
    });
    expect(await gateway.say("bot", "still there?", { waitMs: 5000 })).toMatchObject({ reply: "echo: still there?" });
    client.close();
    junk.close();
  });

  test("stop closes every socket and the port, and may be called twice", async () => {
    const gateway = await start();
    const client = await Client.subscribe(gateway.url);
    await Promise.all([gateway.stop(), gateway.stop()]);
    expect(await client.closed).toBe(1006);
    await expect(fetch(gateway.consoleUrl)).rejects.toThrow();
  });
});

describe("the API", () => {
  test("bots are made, listed, waited for and removed", async () => {
    await using gateway = await start();
    const { apiUrl } = gateway;
    expect((await call(`${apiUrl}/bots`)).body).toEqual([]);
    expect(await post(`${apiUrl}/bots`, { id: "a/b", secret: "s", name: "A" })).toMatchObject({
      status: 201,
      body: { id: "a/b", name: "A", state: "offline" },
    });
    const waiting = call(`${apiUrl}/bots/a%2Fb?wait=5s`);
    const client = await Client.subscribe(gateway.url, "a/b", "s");
    expect((await waiting).body).toMatchObject({ state: "subscribed", connection: 1 });
    expect((await call(`${apiUrl}/bots/none?wait=20`)).status).toBe(404);
    expect((await call(`${apiUrl}/bots/a%2Fb`, { method: "DELETE" })).status).toBe(204);
    expect(await client.closed).toBe(1006);
    expect((await call(`${apiUrl}/bots`)).body).toEqual([]);
  });

  test("a message is answered with the reply, as JSON and with a file as multipart", async () => {
    await using gateway = await start();
    const { apiUrl } = gateway;
    const client = await Client.echo(gateway.url);
    const text = { from: { userid: "u" }, msgtype: "text", text: { content: "hi" } };
    const answer = await post(`${apiUrl}/bots/bot/messages?wait=5000`, text);
    expect(answer).toMatchObject({
      status: 200,
      body: { delivered: true, reply: "echo: hi", replies: [{ kind: "stream", frames: 2, finished: true }] },
    });
    const form = new FormData();
    form.set("json", JSON.stringify({ from: { userid: "u" }, chattype: "single", msgtype: "image" }));
    form.set("file", new File(["not really a picture"], "a b.png"));
    const sent = await call(`${apiUrl}/bots/bot/messages?wait=5s`, { method: "POST", body: form });
    expect(sent.body).toMatchObject({ reply: "echo: image" });
    const { url } = client.frames.at(-2)!.body?.image ?? client.frames.findLast(({ body }) => body?.image)!.body.image;
    expect(url.startsWith(gateway.consoleUrl)).toBe(true);
    const download = await fetch(url);
    expect(download.headers.get("content-disposition")).toBe('attachment; filename="a+b.png"');
    expect((await download.arrayBuffer()).byteLength).toBe(32);
    const chat = (await call(`${apiUrl}/bots/bot/chats/u`)).body as { items: { content?: string }[] };
    expect(chat.items.map(({ content }) => content)).toEqual(["hi", "echo: hi", undefined, "echo: image"]);
    expect((await call(`${apiUrl}/bots/bot/chats`)).body).toMatchObject([
      { id: "u", chattype: "single", count: 4, openStreams: 0 },
    ]);
  });

  test("events, kick, connections, settings, clock, media and reset do what they say", async () => {
    await using gateway = await start();
    const { apiUrl } = gateway;
    const client = await Client.subscribe(gateway.url);
    const told = post(`${apiUrl}/bots/bot/events?wait=5s`, { eventtype: "enter_chat", from: { userid: "u" } });
    const { headers } = await client.next();
    client.send({ cmd: "aibot_respond_welcome_msg", headers, body: { msgtype: "text", text: { content: "welcome" } } });
    expect((await told).body).toMatchObject({ reply: "welcome", replies: [{ via: "welcome" }] });

    expect((await call(`${apiUrl}/connections`)).body).toMatchObject([{ n: 1, bot: "bot", state: "subscribed" }]);
    expect(
      (
        await call(`${apiUrl}/settings`, {
          method: "PATCH",
          body: JSON.stringify({ profile: "strict", switches: { quota: "off" } }),
        })
      ).body,
    ).toMatchObject({
      profile: "strict",
      switches: { quota: false, quotaCountsRefreshes: true },
    });
    const before = (await call(`${apiUrl}/clock`)).body as { now: number };
    const after = (await post(`${apiUrl}/clock/advance`, { ms: 3_600_000 })).body as { now: number; offsetMs: number };
    expect(after.offsetMs).toBe(3_600_000);
    expect(after.now - before.now).toBeGreaterThanOrEqual(3_600_000);
    expect((await post(`${apiUrl}/bots/bot/kick`)).body).toMatchObject({ state: "offline" });
    expect((await call(`${apiUrl}/connections/1?mode=reset`, { method: "DELETE" })).status).toBe(204);
    expect(await client.closed).toBe(1006);
    expect((await post(`${apiUrl}/reset`)).status).toBe(204);
    expect((await call(`${apiUrl}/bots`)).body).toEqual([]);
    expect((await call(`${apiUrl}/clock`)).body).toMatchObject({ offsetMs: 0 });
  });

  test("the log is JSON lines, and a follower gets what comes as server-sent events", async () => {
    await using gateway = await start();
    const controller = new AbortController();
    const following = await fetch(`${gateway.apiUrl}/log?follow`, { signal: controller.signal });
    const client = await Client.subscribe(gateway.url);
    const reader = following.body!.pipeThrough(new TextDecoderStream()).getReader();
    let seen = "";
    while (!seen.includes("aibot_subscribe")) seen += (await reader.read()).value;
    expect(seen).toMatch(/^data: \{"seq":1,.*\nid: 1$/m);
    controller.abort();
    const { text } = await call(`${gateway.apiUrl}/log`);
    const entries = text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as LogEntry);
    expect(entries.map(({ dir }) => dir)).toEqual(["socket", "in", "out"]);
    expect(entries[1]).toMatchObject({ cmd: "aibot_subscribe", reqId: "sub", verdict: "ok", connection: 1 });
    expect(entries[1]?.text).toContain('"secret":"***"');
    expect(entries[2]).toMatchObject({ cmd: null, acks: "aibot_subscribe", errcode: 0 });
    client.close();
  });

  test("why something happened can be asked: lint, rules, switches and behaviours with their sources", async () => {
    await using gateway = await start();
    const client = await Client.subscribe(gateway.url);
    client.send({
      cmd: "aibot_send_msg",
      headers: { req_id: "p" },
      body: { chatid: "nobody", msgtype: "markdown", markdown: { content: "x" } },
    });
    await client.next();
    const { apiUrl } = gateway;
    expect((await call(`${apiUrl}/lint`)).body).toMatchObject([
      { rule: "push-no-chat-type", requirement: "PUSH-1b", bot: "bot", connection: 1 },
    ]);
    expect((await call(`${apiUrl}/lint?bot=other`)).body).toEqual([]);
    expect((await call(`${apiUrl}/lint/rules`)).body).toMatchObject({
      "push-no-chat-type": { requirement: "PUSH-1b" },
    });
    const refused = gateway.log().find(({ errcode }) => errcode === 93006);
    expect((await call(`${apiUrl}/behaviours`)).body).toMatchObject({
      [String(refused?.verdict)]: { errcode: 93006, requirement: "GW-PUSH-4", confidence: "S" },
    });
    expect((await call(`${apiUrl}/switches`)).body).toMatchObject({
      quotaCountsRefreshes: { observed: false, differs: { strict: true } },
    });
    client.close();
  });

  test("what is wrong is answered by a problem document with one clear sentence", async () => {
    await using gateway = await start();
    const { apiUrl } = gateway;
    await Client.subscribe(gateway.url);
    const wrong = async (answer: Promise<Called>, status: number, detail: RegExp) => {
      const { status: got, type, body } = await answer;
      const { detail: said } = body as { detail: string };
      expect({ got, type, detail: said }).toEqual({
        got: status,
        type: containing("application/problem+json"),
        detail: matching(detail),
      });
    };
    const messages = `${apiUrl}/bots/bot/messages`;
    await wrong(call(`${apiUrl}/nothing`), 404, /there is nothing at GET \/api\/nothing/);
    await wrong(post(`${apiUrl}/bots/none/messages`, {}), 404, /there is no bot none/);
    await wrong(post(messages, "{"), 400, /the body is not JSON/);
    await wrong(post(messages, ""), 400, /the body is empty/);
    await wrong(post(messages, { from: {} }), 400, /from\.userid/);
    await wrong(
      post(messages, { from: { userid: "u" }, msgtype: "text" }),
      400,
      /lacks the object named by its msgtype/,
    );
    await wrong(
      post(messages, { from: { userid: "u" }, msgtype: "text", text: { content: "x" }, chattype: "group" }),
      400,
      /chatid: is needed/,
    );
    await wrong(
      post(messages, {
        from: { userid: "u" },
        msgtype: "voice",
        voice: { content: "x" },
        chattype: "group",
        chatid: "w",
      }),
      422,
      /does not deliver voice/,
    );
    await wrong(post(`${messages}?wait=soon`, {}), 400, /wait must be milliseconds/);
    await wrong(post(`${apiUrl}/clock/advance`, { ms: -1 }), 400, /must not be negative/);
    await wrong(call(`${apiUrl}/settings`, { method: "PATCH", body: '{"switches":{"quotta":"off"}}' }), 400, /quotta/);
    await wrong(call(`${apiUrl}/connections/77`, { method: "DELETE" }), 404, /no connection 77/);
    await wrong(post(`${apiUrl}/reset`, undefined, { origin: "https://evil.example" }), 403, /refused/);
  });

  test("the page, the probes and the metrics are there", async () => {
    await using gateway = await start();
    expect(await call(gateway.consoleUrl)).toMatchObject({ status: 200, type: containing("text/html") });
    const root = gateway.consoleUrl;
    expect((await call(`${root}livez`)).status).toBe(200);
    expect((await call(`${root}readyz`)).body).toMatchObject({ status: "ready" });
    expect((await call(`${root}metrics`)).text).toMatch(/^openws_gateway_connections 0$/m);
  });
});
