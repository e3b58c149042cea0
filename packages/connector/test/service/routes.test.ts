// Every route of the API, asked over HTTP of the service as it is shipped, with a gateway below it: bots that come and go,
// files under their lasting addresses, chats, redriven deliveries, people who are forgotten.
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { type Gateway, startGateway } from "@openws/mock-gateway";
import { afterAll, beforeAll, expect, it } from "vitest";
import { listening } from "../listening.ts";
import { type Running, run, serveWhole } from "../process.ts";

const key = "the-key-of-the-test";
const limit = { timeout: 30_000 };
const ended: (() => unknown)[] = [];
let gateway: Gateway;
let running: Running;
let hook: string;
/** What the receiver was given, and what it answers. */
const posted: { readonly url: string; readonly content: unknown }[] = [];
let status = 200;

beforeAll(async () => {
  gateway = await startGateway({
    latencyMs: 0,
    switches: { chatPrecondition: false },
    bots: ["bot", "second"].map((id) => ({ id, secret: `s3cret-of-${id}` })),
  });
  ended.push(() => gateway.stop());
  const receiver = createServer((request, response) => {
    void text(request).then((body) => {
      posted.push({ url: request.url!, content: (JSON.parse(body) as { content: unknown }).content });
      response.writeHead(status).end();
    });
  });
  const folder = mkdtempSync(join(tmpdir(), "openws-routes-"));
  ended.push(() => rmSync(folder, { recursive: true }));
  hook = `http://127.0.0.1:${await listening(receiver, ended)}`;
  running = await serveWhole([], {
    WECOM_BOT_ID: "bot",
    WECOM_BOT_SECRET: "s3cret-of-bot",
    WECOM_BOT_WS_URL: gateway.url,
    OPENWS_DATABASE: join(folder, "a.db"),
    OPENWS_API_KEY: key,
    OPENWS_ALLOW_PRIVATE: "1",
  });
  ended.push(() => running.end("SIGKILL"));
  await gateway.waitForBot("bot");
}, 30_000);
afterAll(async () => {
  for (const end of ended.toReversed()) await end();
});

interface Answer {
  readonly status: number;
  readonly json: Record<string, never> & { readonly id: string };
}

async function ask(method: string, path: string, body?: object): Promise<Answer> {
  const response = await fetch(`${running.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const said = await response.text();
  return { status: response.status, json: JSON.parse(said === "" ? "{}" : said) as Answer["json"] };
}

const routes = `
GET /v1/bots, POST /v1/bots, GET /v1/bots/{bot}, PATCH /v1/bots/{bot}, DELETE /v1/bots/{bot},
POST /v1/bots/{bot}/reconnect, POST /v1/bots/{bot}/messages, POST /v1/bots/{bot}/media, GET /v1/chats,
GET /v1/messages, GET /v1/messages/{id}, DELETE /v1/messages, POST /v1/messages/{id}/reply,
POST /v1/messages/{id}/streams, PATCH /v1/streams/{id}, POST /v1/streams/{id}/finish,
GET /v1/events, GET /v1/events/stream,
GET /v1/webhooks, POST /v1/webhooks, GET /v1/webhooks/{id}, PATCH /v1/webhooks/{id}, DELETE /v1/webhooks/{id},
POST /v1/webhooks/{id}/test, POST /v1/webhooks/{id}/retire-secret, GET /v1/webhooks/{id}/deliveries,
POST /v1/webhooks/{id}/deliveries/{delivery}/redrive, GET /v1/sinks, DELETE /v1/sinks/{id}/deliveries, GET /v1/sinks/{id}/deliveries, GET /v1/dead-letters, POST /v1/dead-letters/{id}/redrive,
POST /v1/webhook/Config, GET /v1/webhook/List, GET /v1/webhook/Test, PUT /v1/webhook/Update`;

it("the description names the routes that are promised, refers to nothing that it lacks, and is what openapi prints", async () => {
  const { json } = await ask("GET", "/openapi.json");
  const paths = json["paths"] as unknown as Record<string, object>;
  const described = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(described.toSorted()).toEqual(routes.trim().split(/,\s+/).toSorted());
  const whole = JSON.stringify(json);
  for (const [, reference = ""] of whole.matchAll(/"\$ref":"#\/([^"]+)"/g)) {
    let at: unknown = json;
    for (const name of reference.split("/")) at = (at as Record<string, unknown> | undefined)?.[name];
    expect(at, reference).toBeTypeOf("object");
  }
  const printed = await run(["openapi"]);
  expect(printed.code).toBe(0);
  expect(JSON.parse(printed.stdout)).toEqual(json);
});

it("a bot is added, shown, changed, made to come back, and removed, while the service runs", limit, async () => {
  const bot = { id: "second", secret: "s3cret-of-second", url: gateway.url };
  const made = await ask("POST", "/v1/bots", bot);
  expect(made).toMatchObject({ status: 201, json: { id: "second", source: "api" } });
  expect(JSON.stringify(made.json)).not.toContain(bot.secret);
  await gateway.waitForBot("second", 10_000);
  expect((await ask("POST", "/v1/bots", bot)).status).toBe(409);
  const subscribes = (): number =>
    gateway.log().filter(({ cmd, text: frame }) => cmd === "aibot_subscribe" && frame.includes('"second"')).length;
  expect((await ask("PATCH", "/v1/bots/second", { name: "Two" })).json).toMatchObject({ name: "Two" });
  await expect.poll(subscribes).toBe(2);
  await gateway.waitForBot("second", 10_000);
  await gateway.kick("second", { closeAfterMs: 0 });
  const connection = async (): Promise<string> => {
    const { json } = await ask("GET", "/readyz?bot=second");
    return (json["bots"] as unknown as { connection: string }[])[0]!.connection;
  };
  await expect.poll(connection, { timeout: 10_000 }).toBe("kicked");
  expect((await ask("POST", "/v1/bots/second/reconnect")).status).toBe(202);
  await expect.poll(connection, { timeout: 10_000 }).toBe("ready");
  expect((await ask("DELETE", "/v1/bots/second")).status).toBe(204);
  expect((await ask("GET", "/v1/bots/second")).status).toBe(404);
  await expect.poll(() => gateway.connections().map(({ bot: of }) => of), { timeout: 10_000 }).toEqual(["bot"]);
  // The operator's own is not for the API to change.
  expect((await ask("DELETE", "/v1/bots/bot")).status).toBe(422);
});

it("a file that came is had from its address without a key, and with no other signature", limit, async () => {
  const bytes = Buffer.from("what a user sent");
  const file = { base64: bytes.toString("base64"), filename: "报告.txt" };
  await gateway.say("bot", { from: { userid: "lily" }, msgtype: "file", file });
  let url: string | undefined;
  await expect
    .poll(async () => {
      const { json } = await ask("GET", "/v1/events?after=0");
      const events = json["events"] as unknown as { data: { files?: { url?: string }[] } }[];
      return (url = events.flatMap(({ data }) => data.files ?? [])[0]?.url);
    })
    .toMatch(/^http:\/\/127\.0\.0\.1:\d+\/v1\/media\/med_\d+_0\?sig=[0-9a-f]{64}$/);
  const got = await fetch(url!);
  expect(got.status).toBe(200);
  expect(Buffer.from(await got.arrayBuffer())).toEqual(bytes);
  expect(got.headers.get("content-disposition")).toBe(`attachment; filename*=UTF-8''${encodeURIComponent("报告.txt")}`);
  const forged = url!.replace(/.$/, (last) => (last === "0" ? "1" : "0"));
  for (const other of [forged, url!.replace(/\?.*/, "")]) expect((await fetch(other)).status).toBe(404);
});

it(
  "a file is uploaded as it comes, and one that no kind takes is refused before it is read to its end",
  limit,
  async () => {
    const upload = (bytes: number, query: string): Promise<Response> =>
      fetch(`${running.url}/v1/bots/bot/media?${query}`, {
        method: "POST",
        headers: { authorization: `Bearer ${key}` },
        body: new Uint8Array(bytes).fill(65),
      });
    const made = await upload(1_000_000, "filename=a.txt");
    expect(made.status).toBe(200);
    const { media_id, type } = (await made.json()) as { media_id: string; type: string };
    const media = { kind: type, media_id };
    const sent = await ask("POST", "/v1/bots/bot/messages?wait=10", { to: { userid: "lily" }, media });
    expect(sent.json).toMatchObject({ state: "acked" });
    expect(gateway.chat("bot", "lily")!.items.at(-1)).toMatchObject({ kind: "file", filename: "a.txt" });
    const figures = await (await fetch(`${running.url}/metrics`)).text();
    expect(figures).toMatch(/^openws_media_bytes_total\{direction="out"\} 1000000$/m);
    expect(figures).toMatch(/^openws_frames_total\{bot="bot",direction="out",cmd="aibot_upload_media_chunk"\} 2$/m);
    const large = await upload(21 * 1_048_576, "filename=b.txt");
    expect(large.status).toBe(422);
    expect(((await large.json()) as { detail: string }).detail).toMatch(/20 MB/);
    // Whoever keeps connections must not ask over this one again.
    expect(large.headers.get("connection")).toBe("close");
    expect(made.headers.get("connection")).toBe("keep-alive");
  },
);

it("chats are listed, the last one first, and a person is forgotten", limit, async () => {
  for (const userid of ["tom", "ann"])
    await gateway.say("bot", { from: { userid }, msgtype: "text", text: { content: `from ${userid}` } });
  const chats = async (): Promise<string[]> => {
    const { json } = await ask("GET", "/v1/chats");
    return (json["chats"] as unknown as { id: string }[]).map(({ id }) => id);
  };
  await expect.poll(async () => (await chats()).slice(0, 2)).toEqual(["ann", "tom"]);
  expect((await ask("DELETE", "/v1/messages?userid=tom")).status).toBe(204);
  expect(await chats()).not.toContain("tom");
  expect((await ask("GET", "/v1/messages?user=tom")).json["messages"]).toEqual([]);
});

it("a filter that is written wrong is refused, instead of giving everything", async () => {
  for (const path of ["/v1/messages", "/v1/chats", "/v1/events", "/v1/dead-letters"]) {
    const { status: answered, json } = await ask("GET", `${path}?userid=tom`);
    expect({ path, answered, detail: json["detail"] }).toMatchObject({
      answered: 422,
      detail: expect.stringMatching(/^query: .*"userid"/) as string,
    });
  }
});

it(
  "a delivery that was given up is shown with its tries, and goes once more by either of its addresses",
  limit,
  async () => {
    const { json: webhook } = await ask("POST", "/v1/webhooks", { url: `${hook}/given-up`, retryCount: 0 });
    status = 503;
    const dead = async (): Promise<{ id: string; attempts: { status: number }[] }[]> =>
      (await ask("GET", `/v1/webhooks/${webhook.id}/deliveries?state=dead`)).json["deliveries"]!;
    for (const content of ["one", "two"])
      await gateway.say("bot", { from: { userid: content }, msgtype: "text", text: { content } });
    await expect.poll(async () => (await dead()).length).toBe(2);
    const letters = await dead();
    expect(letters.map(({ attempts }) => attempts.map((each) => each.status))).toEqual([[503], [503]]);
    status = 200;
    posted.length = 0;
    const [first, second] = letters;
    const addresses = [
      `/v1/webhooks/${webhook.id}/deliveries/${first!.id}/redrive`,
      `/v1/dead-letters/${second!.id}/redrive`,
    ];
    for (const address of addresses) expect((await ask("POST", address)).status).toBe(202);
    await expect.poll(() => posted.map(({ content }) => String(content)).toSorted()).toEqual(["one", "two"]);
    await expect.poll(async () => (await dead()).length).toBe(0);
    expect((await ask("DELETE", `/v1/webhooks/${webhook.id}`)).status).toBe(204);
  },
);
