// The service as a process, from its start to its end: what it refuses to start on, what a kick leaves of it, and what
// SIGTERM does to what is under way.
import { existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { startGateway } from "@openws/mock-gateway";
import { afterEach, beforeEach, expect, it } from "vitest";
import { listening } from "../listening.ts";
import { type Running, run, serveWhole } from "../process.ts";

const slow = { timeout: 60_000 };
const key = "the-key-of-the-test";
const english = { LANG: "en_US.UTF-8", LC_ALL: "", LC_MESSAGES: "" };

let folder: string;
let database: string;
const ended: (() => unknown)[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "openws-life-"));
  database = join(folder, "a.db");
  ended.push(() => rmSync(folder, { recursive: true }));
});
afterEach(async () => {
  for (const end of ended.splice(0).toReversed()) await end();
});

async function ask(running: Running, method: string, path: string, body?: object) {
  const response = await fetch(`${running.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, json: (await response.json()) as Record<string, unknown> };
}

it("does not start, and says what to do, on a database that is none, newer, another's or cannot be", slow, async () => {
  const at = (name: string): string => join(folder, name);
  writeFileSync(at("text.db"), "this is no database\n".repeat(400));
  writeFileSync(at("file"), "");
  const newer = new DatabaseSync(at("newer.db"));
  newer.exec("PRAGMA user_version = 99");
  newer.close();
  await using first = await serveWhole([], { OPENWS_DATABASE: database, OPENWS_API_KEY: key });
  const refused: readonly (readonly [path: string, sentence: RegExp])[] = [
    ["text.db", /text\.db is not a database; set OPENWS_DATABASE to another file, or restore a backup/],
    ["newer.db", /written by a newer version \(its format is 99, .*\); update, or restore the backup of before/],
    ["a.db", /a\.db is in use by another process; stop it, or set OPENWS_DATABASE to another file/],
    ["file/b.db", /the folder \S+\/file for the database \S+ cannot be made \(ENOTDIR\); make it yourself, or set/],
    [".", /is a folder; set OPENWS_DATABASE to a file in it, such as \S+\/openws\.db/],
    // Nobody can make a folder there, and Node's own way of making one would try for ever.
    ...(process.platform === "linux"
      ? [["/proc/none/a.db", /the folder \/proc\/none for the database \S+ cannot be made \(ENOENT\)/] as const]
      : []),
  ];
  const starting = refused.map(async ([path, sentence]) => {
    const env = { ...english, OPENWS_DATABASE: resolve(folder, path) };
    return { path, sentence, ...(await run(["serve", "--json", "--listen", "127.0.0.1:0"], env)) };
  });
  for (const { path, sentence, code, stdout, stderr } of await Promise.all(starting)) {
    expect({ path, code, stdout }).toEqual({ path, code: 1, stdout: "" });
    expect(stderr).toMatch(sentence);
    expect(stderr.trim().split("\n")).toHaveLength(1);
  }
  expect((await ask(first, "GET", "/v1/bots")).status).toBe(200);
});

it("says why it does not start in Chinese where the locale is: the database, the key, the port", slow, async () => {
  await using first = await serveWhole([], { OPENWS_DATABASE: database, OPENWS_API_KEY: key });
  const chinese = { ...english, LANG: "zh_CN.UTF-8" };
  const { host } = new URL(first.url);
  const other = { OPENWS_DATABASE: join(folder, "b.db") };
  const refused: readonly (readonly [code: number, settings: Record<string, string>, sentence: RegExp])[] = [
    [1, { OPENWS_DATABASE: database }, /a\.db 正被另一进程使用；请停止该进程，或将 OPENWS_DATABASE 设为其他文件/],
    [
      1,
      { ...other, OPENWS_MEDIA_DIR: database },
      /无法创建或写入存放用户文件的目录 \S+a\.db（ENOTDIR）；.*OPENWS_MEDIA_DIR/,
    ],
    [
      2,
      { ...other, OPENWS_DATABASE: join(folder, "c.db"), OPENWS_STORE_KEY: "short" },
      /OPENWS_STORE_KEY 必须是 32 字节/,
    ],
    [2, { ...other, OPENWS_DATABASE: join(folder, "d.db"), OPENWS_LISTEN: host }, /已被另一进程占用；请用 --listen/],
    [2, { ...other, OPENWS_DATABASE: join(folder, "e.db"), OPENWS_ALLOW_CIDR: "here" }, /OPENWS_ALLOW_CIDR 必须是网段/],
  ];
  const starting = refused.map(async ([expected, settings, sentence]) => {
    const env = { OPENWS_LISTEN: "127.0.0.1:0", ...chinese, ...settings };
    return { expected, sentence, ...(await run(["serve", "--json"], env)) };
  });
  for (const { expected, sentence, code, stdout, stderr } of await Promise.all(starting)) {
    expect(stderr).toMatch(sentence);
    expect({ code, stdout }).toEqual({ code: expected, stdout: "" });
  }
});

it(
  "does not make another key where the one of its database is missing, and goes on when it is put back",
  slow,
  async () => {
    const env = { ...english, OPENWS_DATABASE: database, OPENWS_API_KEY: key };
    await (await serveWhole([], env)).end();
    renameSync(`${database}.key`, join(folder, "kept"));
    const { code, stderr } = await run(["serve", "--json", "--listen", "127.0.0.1:0"], env);
    expect({ code, made: existsSync(`${database}.key`) }).toEqual({ code: 2, made: false });
    expect(stderr).toMatch(
      /the store's key \S+a\.db\.key is missing; put it back, or set OPENWS_STORE_KEY to what it held/,
    );
    renameSync(join(folder, "kept"), `${database}.key`);
    expect(await (await serveWhole([], env)).end()).toBe(0);
  },
);

it("kicked, leaves the process alive and not ready, for the next process too when it was a war", slow, async () => {
  const gateway = await startGateway({ latencyMs: 0, bots: [{ id: "bot", secret: "s3cret-of-bot" }] });
  ended.push(() => gateway.stop());
  const env = { WECOM_BOT_ID: "bot", WECOM_BOT_SECRET: "s3cret-of-bot", WECOM_BOT_WS_URL: gateway.url };
  const subscribes = (): number => gateway.log().filter(({ cmd }) => cmd === "aibot_subscribe").length;
  const truth = async (running: Running) => {
    const live = await fetch(`${running.url}/livez`);
    const { status, json } = await ask(running, "GET", "/readyz");
    const [bot] = json["bots"] as { connection: string; subscribed: boolean; receiving: string }[];
    return { live: live.status, ready: status, connection: bot!.connection, receiving: bot!.receiving };
  };
  for (const time of [1, 2]) {
    await using running = await serveWhole([], { ...env, OPENWS_DATABASE: database, OPENWS_API_KEY: key });
    await gateway.waitForBot("bot", 20_000);
    expect(subscribes()).toBe(time);
    await gateway.kick("bot", { closeAfterMs: 0 });
    await expect
      .poll(() => truth(running), { timeout: 10_000 })
      .toEqual({ live: 200, ready: 503, connection: "kicked", receiving: "no" });
    expect(running.child.exitCode).toBeNull();
    expect(await running.end()).toBe(0);
  }
  await using third = await serveWhole([], { ...env, OPENWS_DATABASE: database, OPENWS_API_KEY: key });
  expect(await truth(third)).toEqual({ live: 200, ready: 503, connection: "kicked", receiving: "no" });
  expect(subscribes()).toBe(2);
  expect(await third.end()).toBe(0);
});

it(
  "at SIGTERM ends open bubbles, hands over the delivery under way, closes the line, and leaves the rest to the next",
  slow,
  async () => {
    const gateway = await startGateway({ latencyMs: 0, bots: [{ id: "bot", secret: "s3cret-of-bot" }] });
    ended.push(() => gateway.stop());
    const posted: string[] = [];
    const underWay = Promise.withResolvers<() => void>();
    const receiver = createServer((request, response) => {
      void text(request).then((body) => {
        const { content } = JSON.parse(body) as { content: unknown };
        if (typeof content === "string") posted.push(content);
        if (content === "slow") underWay.resolve(() => response.end());
        else response.end();
      });
    });
    const port = await listening(receiver, ended);
    const env = {
      WECOM_BOT_ID: "bot",
      WECOM_BOT_SECRET: "s3cret-of-bot",
      WECOM_BOT_WS_URL: gateway.url,
      OPENWS_DATABASE: database,
      OPENWS_API_KEY: key,
      OPENWS_DRAIN_MS: "4500",
      OPENWS_WEBHOOK_URL: `http://127.0.0.1:${port}/hook`,
      OPENWS_WEBHOOK_SECRET: "the-secret-of-the-test",
    };
    {
      await using running = await serveWhole([], env);
      await gateway.waitForBot("bot");
      await gateway.say("bot", "a question");
      await expect.poll(() => posted, { timeout: 10_000 }).toEqual(["a question"]);
      const { json } = await ask(running, "GET", "/v1/messages?direction=in");
      const [{ id }] = json["messages"] as [{ id: string }];
      const { json: opened } = await ask(running, "POST", `/v1/messages/${id}/streams`);
      await ask(running, "PATCH", `/v1/streams/${String(opened["stream"])}`, { append: "half of the answer" });
      // One that is being delivered, and one that waits behind it.
      const slowly = { from: { userid: "tom" }, msgtype: "text" } as const;
      await gateway.say("bot", { ...slowly, text: { content: "slow" } });
      await gateway.say("bot", { ...slowly, text: { content: "behind it" } });
      const answer = await underWay.promise;
      await expect
        .poll(async () => (await ask(running, "GET", "/v1/messages?direction=in")).json["messages"])
        .toHaveLength(3);
      const over = running.end("SIGTERM");
      await expect.poll(() => running.stderr()).toMatch(/"msg":"stopping"/);
      answer();
      expect(await over).toBe(0);
      expect(gateway.connections()).toEqual([]);
    }
    const [bubble] = gateway.chat("bot", "zhangsan")!.items.filter(({ by }) => by === "bot");
    expect(bubble).toMatchObject({
      finished: true,
      content: expect.stringContaining("half of the answer") as string,
    });
    expect(posted).toEqual(["a question", "slow"]);
    await using again = await serveWhole([], env);
    await expect.poll(() => posted, { timeout: 10_000 }).toEqual(["a question", "slow", "behind it"]);
    await expect
      .poll(async () => {
        const { json } = await ask(again, "GET", "/v1/messages?direction=in");
        return (json["messages"] as { state: string }[]).map(({ state }) => state);
      })
      .toEqual(["delivered", "delivered", "delivered"]);
    expect(await again.end()).toBe(0);
  },
);
