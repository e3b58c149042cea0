import { explain } from "@openws/protocol";
import { describe, expect, it } from "vitest";
import { type Access, createServiceApi } from "../../src/service/api/app.ts";
import type { OpenStream, Served } from "../../src/service/api/served.ts";
import { Dispatcher } from "../../src/service/delivery.ts";
import { Feed } from "../../src/service/feed.ts";
import type { PostRequest } from "../../src/service/post.ts";
import { MemoryStore } from "../../src/service/store.memory.ts";
import { type Change, type Entry, type EntryState, StoreError } from "../../src/service/store.ts";
import { type Webhook, Webhooks, newDelivery } from "../../src/service/webhooks.ts";
import { manualClock } from "./clock.ts";

const key = "key-for-everything";
const readKey = "key-for-reading";

/** What a test looks at is what it expects to be there. */
interface Answer extends Record<string, unknown> {
  readonly id: string;
  readonly detail: string;
  readonly secret: string;
  readonly next?: string;
  readonly messages: readonly { readonly id: string }[];
  readonly deliveries: readonly { readonly id: string }[];
}

/** The app over a store in memory; what it would send is noted. */
function world(access: Partial<Access> = {}) {
  const clock = manualClock();
  const store = new MemoryStore();
  const feed = new Feed(store, clock);
  const sealer = { seal: async (text: string) => btoa(text), unseal: async (text: string) => atob(text) };
  const webhooks = new Webhooks({ store, clock, sealer });
  const posted: PostRequest[] = [];
  const dispatcher = new Dispatcher({
    store,
    clock,
    webhooks,
    allowPrivate: false,
    tell: () => undefined,
    request: async (_, { seq }) => ({ headers: {}, body: `entry ${seq}` }),
    post: async (request) => {
      posted.push(request);
      return { status: 200, header: () => undefined, body: (async function* () {})(), discard: () => undefined };
    },
    replies: { reply: () => Promise.reject(new Error("none")), stream: () => Promise.reject(new Error("none")) },
  });
  let seq = 0;
  const add = async (about: Partial<Entry> = {}, also: (entry: Entry) => readonly Change[] = () => []) => {
    const at = clock.now();
    const entry: Entry = {
      seq: ++seq,
      bot: "bot",
      direction: "in",
      kind: "text",
      chat: { id: "zhangsan", type: "single" },
      user: "zhangsan",
      msgid: `m${seq}`,
      state: "received",
      at,
      changedAt: at,
      body: { msgtype: "text", text: { content: `message ${seq}` } },
      ...about,
    };
    await store.commit([{ put: "entry", entry }, ...also(entry)]);
    feed.stored([entry]);
    return entry;
  };
  const accept = (about: Partial<Entry>, also: Parameters<Served["outbox"]["reply"]>[2] = []) =>
    add({ direction: "out", state: "accepted", user: undefined, msgid: undefined, ...about }, (entry) =>
      typeof also === "function" ? also(entry) : also,
    );
  const said: unknown[] = [];
  const traces: (string | undefined)[] = [];
  const stream: OpenStream = {
    id: "str_1",
    seq: 7,
    append: async (text) => void said.push({ append: text }),
    set: async (text) => void said.push({ set: text }),
    finish: async (text) => void said.push({ finish: text }),
  };
  const state = {
    connection: "ready",
    socket: true,
    subscribed: true,
    receiving: "yes",
    lastFrameAt: undefined,
    reason: { en: "subscribed", zh: "已订阅" },
  } as const;
  const bots = [{ id: "bot", name: "Bot", source: "config", state }] as const;
  const service: Served = {
    clock,
    store,
    feed,
    webhooks,
    sinks: { all: () => [], has: () => false, troubleOf: () => ({}) },
    dispatcher,
    outbox: {
      reply: (replyTo, message, also, trace) => {
        traces.push(trace);
        return accept({ kind: "markdown", replyTo, traceparent: trace, body: message }, also);
      },
      push: (bot, _, message, also, trace) => {
        traces.push(trace);
        return accept({ bot, kind: "markdown", traceparent: trace, body: message }, also);
      },
      stream: async (_, __, trace) => {
        traces.push(trace);
        return stream;
      },
      openStream: (id) => (id === stream.id ? stream : undefined),
      settled: async (of) => {
        await clock.settle();
        return { ...(await store.entry(of))!, state: "acked" as EntryState };
      },
    },
    bots: () => bots,
    addBot: async ({ id }) => ({ ...bots[0], id, source: "api" }),
    updateBot: async () => bots[0],
    removeBot: async () => undefined,
    reconnect: () => said.push("reconnect"),
    upload: async (_, bytes, { filename }) => {
      said.push({ filename, bytes: (await new Response(bytes).arrayBuffer()).byteLength });
      return { kind: "file", mediaId: "media-1", bytes: 3, filename } as never;
    },
    state: () => ({ ready: true, store: "ok" }),
    textOf: ({ body }) => (body as { text?: { content?: string } }).text?.content ?? "",
    filesOf: async () => [],
    file: async () => undefined,
  };
  const failures: unknown[] = [];
  const app = createServiceApi(
    {
      service,
      version: "1.2.3",
      failed: (error) => failures.push(error),
      metrics: async () => ({ type: "text/plain", text: "openws_up 1\n" }),
    },
    { keys: [key], readKeys: [readKey], allowed: () => true, addressOf: () => "127.0.0.1", ...access },
  );
  const ask = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const response = await app.request(path, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const json = /json/.test(response.headers.get("content-type") ?? "") ? (JSON.parse(text) as never) : undefined;
    return { status: response.status, headers: response.headers, text, json: json as unknown as Answer };
  };
  return { app, ask, add, store, clock, posted, said, traces, webhooks, failures, service };
}

describe("who may ask", () => {
  it.each([
    ["no key", {}, 401, /Authorization: Bearer/],
    ["another key", { authorization: "Bearer something-else" }, 401, /OPENWS_API_KEY/],
    ["a reading key that writes", { authorization: `Bearer ${readKey}` }, 403, /only read/],
  ])("is refused with %s", async (_, headers, status, detail) => {
    const { app } = world();
    const response = await app.request("/v1/bots/bot/reconnect", { method: "POST", headers });
    expect(response.status).toBe(status);
    expect(response.headers.get("content-type")).toBe("application/problem+json");
    expect(((await response.json()) as { detail: string }).detail).toMatch(detail);
  });

  it("may read with the reading key, and see whether it lives without any", async () => {
    const { app } = world();
    const read = await app.request("/v1/bots", { headers: { authorization: `bearer ${readKey}` } });
    expect(read.status).toBe(200);
    for (const path of ["/livez", "/readyz", "/metrics", "/openapi.json", "/docs"])
      expect((await app.request(path)).status).toBe(200);
    expect((await app.request("/")).headers.get("location")).toBe("/docs");
  });

  it("is judged by its address first", async () => {
    const { app } = world({ allowed: (address) => address !== "127.0.0.1" });
    expect((await app.request("/livez")).status).toBe(403);
  });
});

describe("a push", () => {
  const push = { to: { userid: "zhangsan" }, markdown: "hello" };

  it("is answered with 202 and the line of the ledger", async () => {
    const { ask } = world();
    const { status, json } = await ask("POST", "/v1/bots/bot/messages", push);
    expect(status).toBe(202);
    expect(json).toMatchObject({ id: "msg_1", direction: "out", state: "accepted", body: { markdown: "hello" } });
    expect(json["reason"]).toBe("stored; it is to be sent");
    expect((await ask("GET", "/v1/messages/msg_1")).json).toMatchObject({ id: "msg_1", answers: [], deliveries: [] });
  });

  it("tells its end to who waits for it", async () => {
    const { ask } = world();
    expect((await ask("POST", "/v1/bots/bot/messages?wait=5", push)).json).toMatchObject({ state: "acked" });
  });

  it("given twice under one Idempotency-Key is accepted once, even at once, and another body is refused", async () => {
    const { ask, store } = world();
    const once = { "idempotency-key": "k1" };
    const both = await Promise.all([1, 2].map(() => ask("POST", "/v1/bots/bot/messages", push, once)));
    expect(both.map(({ json }) => json.id)).toEqual(["msg_1", "msg_1"]);
    // Which of them comes first nobody says; one of them is told that it was the second.
    const replayed = both.map(({ headers }) => headers.get("idempotency-replayed"));
    expect(replayed).toHaveLength(2);
    expect(new Set(replayed)).toEqual(new Set([null, "true"]));
    expect(await store.entries({ limit: 10 })).toHaveLength(1);
    const other = await ask("POST", "/v1/bots/bot/messages", { ...push, markdown: "other" }, once);
    expect(other.status).toBe(409);
    expect((await ask("POST", "/v1/bots/bot/messages", push, { "idempotency-key": "k2" })).json.id).toBe("msg_2");
  });

  it.each([
    ["nobody to go to", { markdown: "x" }, 422, /^body\.to/],
    ["nothing to say", { to: { userid: "a" } }, 422, /exactly one of/],
    ["two things at once", { to: { userid: "a" }, markdown: "x", text: "y" }, 422, /exactly one of/],
    ["a body that is no JSON", "{", 400, /./],
    ["a body beyond a megabyte", { to: { userid: "a" }, markdown: "x".repeat(1_100_000) }, 413, /1048576/],
  ])("with %s is refused with the place of what is wrong", async (_, body, status, detail) => {
    const { ask } = world();
    const { status: got, json } = await ask("POST", "/v1/bots/bot/messages", body);
    expect(got).toBe(status);
    expect(json.detail).toMatch(detail);
  });

  it("is in the caller's trace, as are a reply and a stream; one that cannot be read counts as none", async () => {
    const { ask, add, traces } = world();
    await add();
    const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const paths = ["/v1/bots/bot/messages", "/v1/messages/msg_1/reply", "/v1/messages/msg_1/streams"];
    for (const traceparent of [trace, "no trace"])
      for (const path of paths)
        expect(
          (await ask("POST", path, path === paths[0] ? push : { markdown: "hi" }, { traceparent })).status,
        ).toBeLessThan(300);
    expect(traces).toEqual([trace, trace, trace, undefined, undefined, undefined]);
    expect((await ask("GET", "/v1/messages/msg_2")).json["traceparent"]).toBe(trace);
  });

  it("to a bot that is not there is a 404", async () => {
    const { ask } = world();
    expect((await ask("POST", "/v1/bots/nobody/messages", push)).status).toBe(404);
  });

  it("is not accepted while the store refuses", async () => {
    const { ask, store } = world();
    store.commit = () => Promise.reject(new StoreError("full", "the disk is full; free some space"));
    const { status, json, headers } = await ask("POST", "/v1/bots/bot/messages", push);
    expect(status).toBe(503);
    expect(json).toMatchObject({ trouble: "full", detail: "nothing was accepted: the disk is full; free some space" });
    expect(headers.get("retry-after")).toBe("5");
  });
});

describe("the ledger", () => {
  it("is read newest first, page by page, by state, kind, chat and user", async () => {
    const { ask, add } = world();
    for (let nth = 0; nth < 5; nth++) await add();
    await add({
      direction: "out",
      state: "refused",
      errcode: 846_605,
      reason: "the gateway refused it",
      kind: "stream",
    });
    const first = (await ask("GET", "/v1/messages?limit=4")).json;
    expect(first.messages.map(({ id }) => id)).toEqual(["msg_6", "msg_5", "msg_4", "msg_3"]);
    const second = (await ask("GET", `/v1/messages?limit=4&before=${first.next ?? ""}`)).json;
    expect(second.messages.map(({ id }) => id)).toEqual(["msg_2", "msg_1"]);
    expect(second.next).toBeUndefined();
    const [refused] = (await ask("GET", "/v1/messages?state=refused,unknown&direction=out")).json.messages;
    expect(refused).toMatchObject({ errcode: 846_605, explanation: { advice: explain(846_605).advice } });
    expect((await ask("GET", "/v1/messages?state=lost")).json.detail).toMatch(/"lost" is none of received/);
    expect((await ask("GET", "/v1/messages?before=12")).status).toBe(422);
    expect((await ask("GET", "/v1/messages/msg_99")).status).toBe(404);
  });

  it("forgets a person", async () => {
    const { ask, add } = world();
    await add();
    await add({ user: "lisi", chat: { id: "lisi", type: "single" } });
    expect((await ask("DELETE", "/v1/messages?userid=zhangsan")).status).toBe(204);
    expect((await ask("GET", "/v1/messages")).json.messages).toHaveLength(1);
    expect((await ask("DELETE", "/v1/messages")).status).toBe(422);
  });

  it("takes an answer once under one Idempotency-Key", async () => {
    const { ask, add, store } = world();
    await add();
    const once = { "idempotency-key": "k1" };
    const answers = [];
    for (const _ of [1, 2]) answers.push(await ask("POST", "/v1/messages/msg_1/reply", { markdown: "hi" }, once));
    expect(answers.map(({ status, json }) => [status, json.id])).toEqual([
      [202, "msg_2"],
      [202, "msg_2"],
    ]);
    expect(await store.entries({ limit: 10 })).toHaveLength(2);
    expect((await ask("POST", "/v1/messages/msg_1/reply", { markdown: "other" }, once)).status).toBe(409);
  });

  it("lets only what came in be answered", async () => {
    const { ask, add } = world();
    await add();
    expect((await ask("POST", "/v1/messages/msg_1/reply", { markdown: "hi" })).json).toMatchObject({
      id: "msg_2",
      replyTo: "msg_1",
    });
    expect((await ask("POST", "/v1/messages/msg_2/reply", { markdown: "hi" })).status).toBe(422);
    expect((await ask("GET", "/v1/messages/msg_1")).json["answers"]).toHaveLength(1);
  });
});

describe("a stream", () => {
  it("is opened, filled and finished; a stream that is not open is gone", async () => {
    const { ask, add, said } = world();
    await add();
    expect((await ask("POST", "/v1/messages/msg_1/streams")).json).toMatchObject({ stream: "str_1" });
    await ask("PATCH", "/v1/streams/str_1", { append: "a" });
    await ask("PATCH", "/v1/streams/str_1", { content: "all" });
    await ask("POST", "/v1/streams/str_1/finish", { content: "end" });
    await ask("POST", "/v1/streams/str_1/finish");
    expect(said).toEqual([{ append: "a" }, { set: "all" }, { finish: "end" }, { finish: undefined }]);
    expect((await ask("PATCH", "/v1/streams/str_2", { append: "a" })).status).toBe(410);
    expect((await ask("PATCH", "/v1/streams/str_1", { apend: "a" })).status).toBe(422);
  });
});

describe("the feed", () => {
  it("is pulled by cursor and waits for what comes", async () => {
    const { ask, add, clock } = world();
    await add();
    const first = (await ask("GET", "/v1/events?after=0")).json;
    expect(first).toMatchObject({
      cursor: 1,
      events: [{ specversion: "1.0", type: "openws.message.v1", id: "msg_1" }],
    });
    const waiting = ask("GET", "/v1/events?after=1&wait=30");
    await clock.settle();
    await add();
    expect((await waiting).json).toMatchObject({ cursor: 2, events: [{ id: "msg_2", data: { text: "message 2" } }] });
  });

  it("is followed as server-sent events from Last-Event-ID on", async () => {
    const { app, add, clock } = world();
    await add();
    await add();
    const response = await app.request("/v1/events/stream", {
      headers: { authorization: `Bearer ${key}`, "last-event-id": "1" },
    });
    expect(response.headers.get("content-type")).toMatch("text/event-stream");
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    const until = async (part: string): Promise<void> => {
      while (!text.includes(part)) text += (await reader.read()).value ?? "";
    };
    await until('"msg_2"');
    await add();
    await until('"msg_3"');
    await clock.advance(15_000);
    await until(": nothing new");
    expect(text.match(/^id: \d+$/gm)).toEqual(["id: 2", "id: 3", "id: 3"]);
    expect(text).not.toContain('"msg_1"');
    await reader.cancel();
  });
});

describe("webhooks", () => {
  it("are made, shown without their secret, changed, tried and removed", async () => {
    const { ask, posted } = world();
    const made = await ask("POST", "/v1/webhooks", { url: "https://receiver.example/", headers: { "X-Team": "t" } });
    expect(made.status).toBe(201);
    expect(made.json.secret).toMatch(/^whsec_/);
    const { id } = made.json;
    const shown = await ask("GET", `/v1/webhooks/${id}`);
    expect(shown.text).not.toContain(made.json.secret);
    expect(shown.json).toMatchObject({ secretCount: 1, headerNames: ["X-Team"], health: { circuit: "closed" } });
    const changed = await ask("PATCH", `/v1/webhooks/${id}`, { secret: "0123456789abcdef", retryCount: 2 });
    expect(changed.json).toMatchObject({ secretCount: 2, retryCount: 2 });
    expect((await ask("POST", `/v1/webhooks/${id}/retire-secret`)).json).toMatchObject({ secretCount: 1 });
    expect((await ask("POST", `/v1/webhooks/${id}/test`)).json).toMatchObject({ ok: true, status: 200 });
    expect(posted).toHaveLength(1);
    expect((await ask("DELETE", `/v1/webhooks/${id}`)).status).toBe(204);
    expect((await ask("GET", `/v1/webhooks/${id}`)).status).toBe(404);
  });

  it("take what waits for them along when they are removed, with a reason, and leave what waits for others", async () => {
    const { ask, add, webhooks, store } = world();
    const [gone, stays] = await Promise.all(
      ["gone", "stays"].map((name) => webhooks.create({ url: `https://${name}.example/` })),
    );
    const waiting = (...all: readonly Webhook[]) =>
      add({}, (entry) =>
        all.map((webhook) => ({ put: "delivery", delivery: newDelivery(webhook, entry, entry.at) }) as const),
      );
    await waiting(gone!, stays!);
    await waiting(gone!);
    expect((await ask("DELETE", `/v1/webhooks/${gone!.id}`)).status).toBe(204);
    const states = async (seq: number) =>
      Object.fromEntries((await store.deliveries({ seq, limit: 10 })).map(({ webhook, state }) => [webhook, state]));
    expect(await states(1)).toEqual({ [gone!.id]: "cancelled", [stays!.id]: "pending" });
    expect(await states(2)).toEqual({ [gone!.id]: "cancelled" });
    expect((await store.entry(1))?.state).toBe("received");
    expect(await store.entry(2)).toMatchObject({
      state: "dead",
      reason: expect.stringContaining("called off") as string,
    });
  });

  it.each([
    [{ url: "ftp://x/" }, /^body\.url: must be an http or https URL/],
    [{ url: "https://x/", retrycount: 3 }, /retrycount/],
    [{ url: "https://x/", timeoutMs: 60_000 }, /^body\.timeoutMs/],
    [{ url: "https://x/", secret: "short" }, /^body\.secret: must have at least 16/],
    [{ url: "https://x/", headers: { "webhook-id": "1" } }, /headers that a delivery sets itself/],
  ])("that cannot be are refused: %j", async (input, detail) => {
    const { ask } = world();
    const { status, json } = await ask("POST", "/v1/webhooks", input);
    expect(status).toBe(422);
    expect(json.detail).toMatch(detail);
  });

  it("are configured by the compatible names, in PascalCase and camelCase", async () => {
    const { ask, webhooks } = world();
    const config = await ask("POST", "/v1/webhook/Config", {
      URL: "https://receiver.example/",
      Secret: "0123456789abcdef",
      Enabled: true,
      Timeout: 5,
      RetryCount: 3,
      MessageTypes: ["1", "text"],
      IncludeSelfMessage: false,
    });
    expect(config.status).toBe(200);
    expect(webhooks.all()).toMatchObject([{ timeoutMs: 5_000, retryCount: 3, kinds: ["1", "text"] }]);
    await ask("PUT", "/v1/webhook/Update", {
      url: "https://receiver.example/",
      retryCount: 4,
      includeSelfMessage: true,
    });
    expect((await ask("GET", "/v1/webhook/List")).json).toMatchObject({
      Webhooks: [{ URL: "https://receiver.example/", Timeout: 5, RetryCount: 4, IncludeSelfMessage: true }],
    });
    expect((await ask("GET", "/v1/webhook/Test")).json).toMatchObject({ Results: [{ Success: true, Status: 200 }] });
    expect((await ask("POST", "/v1/webhook/Config", { URL: "https://x/", Retry: 1 })).json.detail).toBe(
      "body.Retry: is not known here",
    );
  });

  it("show their dead letters, which go once more when they are redriven", async () => {
    const { ask, add, store, webhooks, clock, posted } = world();
    const { id } = await webhooks.create({ url: "https://receiver.example/" });
    const entry = await add();
    const [delivery] = webhooks.deliveriesFor(entry);
    await store.commit([{ put: "delivery", delivery: { ...delivery!, state: "dead", tries: 3 } }]);
    const [dead] = (await ask("GET", "/v1/dead-letters")).json.deliveries;
    expect(dead).toMatchObject({ message: "msg_1", state: "dead", webhook: id });
    expect((await ask("POST", `/v1/dead-letters/${dead!.id}/redrive`)).status).toBe(202);
    await clock.settle();
    expect(posted).toHaveLength(1);
    expect((await ask("GET", `/v1/webhooks/${id}/deliveries?state=delivered`)).json.deliveries).toHaveLength(1);
    expect((await ask("POST", "/v1/dead-letters/dlv_none_9/redrive")).status).toBe(404);
  });
});

describe("files", () => {
  it("are uploaded as they come", async () => {
    const { app, said } = world();
    const response = await app.request("/v1/bots/bot/media?filename=a.bin", {
      method: "POST",
      headers: { authorization: `Bearer ${key}` },
      body: new Uint8Array(2_000_000),
    });
    expect(await response.json()).toMatchObject({ type: "file", media_id: "media-1" });
    expect(said).toEqual([{ filename: "a.bin", bytes: 2_000_000 }]);
  });

  it("without a name, or of no kind, are refused", async () => {
    const { ask } = world();
    expect((await ask("POST", "/v1/bots/bot/media", "x")).json.detail).toMatch(/^query\.filename/);
    expect((await ask("POST", "/v1/bots/bot/media?filename=a&type=gif", "x")).json.detail).toMatch(/^query\.type/);
  });
});

describe("the description", () => {
  it("is OpenAPI 3.1, names every route that asks for a key, and its page is served from here", async () => {
    const { ask, app } = world();
    const { json } = await ask("GET", "/openapi.json");
    expect(json["openapi"]).toBe("3.1.0");
    const described = Object.entries(json["paths"] as Record<string, object>).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ":$1")}`),
    );
    const served = app.routes
      .filter(({ method, path }) => method !== "ALL" && path.startsWith("/v1/") && path !== "/v1/media/:id")
      .map(({ method, path }) => `${method} ${path}`);
    expect([...new Set(served)].toSorted()).toEqual(described.toSorted());
    const page = await app.request("/docs");
    expect(await page.text()).not.toMatch(/(?:src|href)="https?:/);
  });
});

describe("what nobody foresaw", () => {
  it("is told to the log, and to the client by its name alone", async () => {
    const { ask, store, failures } = world();
    const error = new RangeError("with a secret in it");
    store.entries = () => Promise.reject(error);
    const { status, text } = await ask("GET", "/v1/messages");
    expect(status).toBe(500);
    expect(text).not.toContain("secret");
    expect(failures).toEqual([error]);
  });
});

describe("readiness", () => {
  it("says each bot's three truths, and is asked for one", async () => {
    const { app } = world();
    const all = await app.request("/readyz");
    expect(all.status).toBe(200);
    expect(await all.json()).toMatchObject({
      ready: true,
      store: "ok",
      bots: [{ id: "bot", socket: true, subscribed: true, receiving: "yes" }],
    });
    expect((await app.request("/readyz?bot=other")).status).toBe(404);
  });
});
