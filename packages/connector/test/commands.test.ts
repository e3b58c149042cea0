// The sub-commands beside `serve`: what they print, and how they exit.
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type IncomingMessage, createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Gateway, startGateway } from "@openws/mock-gateway";
import { progressOn } from "../src/cli/progress.ts";
import { command } from "./command.ts";
import { run, serve, serveWhole } from "./process.ts";

const secret = "s3cret-s3cret";
const english = { LANG: "en_US.UTF-8", LC_ALL: "", LC_MESSAGES: "" };
const chinese = { ...english, LANG: "zh_CN.UTF-8" };
const folder = mkdtempSync(join(tmpdir(), "openws-test-"));
const limit = { timeout: 30_000 };
let gateway: Gateway;
let env: Record<string, string>;

beforeAll(async () => {
  gateway = await startGateway({
    latencyMs: 0,
    bots: [{ id: "bot", secret }],
    switches: { subscribeRate: "off", chatPrecondition: "off" },
  });
  env = { ...english, WECOM_BOT_ID: "bot", WECOM_BOT_SECRET: secret, WECOM_BOT_WS_URL: gateway.url };
});
afterAll(async () => {
  await gateway.stop();
  rmSync(folder, { recursive: true });
});

const subscribes = (): number => gateway.log().filter(({ cmd }) => cmd === "aibot_subscribe").length;
const shown = (chat: string) => gateway.chat("bot", chat)?.items.at(-1);

test.for(["serve", "send", "doctor", "listen", "backup", "explain", "readyz", "openapi"])(
  "%s --help says how it exits, in the locale's language, with the same options and no sentence left in the other",
  limit,
  async (name) => {
    const [en, zh] = await Promise.all([english, chinese].map((locale) => run([name, "--help"], locale)));
    expect([en!.code, zh!.code, en!.stderr, zh!.stderr]).toEqual([0, 0, "", ""]);
    expect(en!.stdout).not.toMatch(/\p{Script=Han}/u);
    if (name === "serve") expect(zh!.stdout).toMatch(/用法/);
    else {
      expect(en!.stdout).toMatch(new RegExp(`^usage: openws-connector ${name}`));
      expect(zh!.stdout).toMatch(new RegExp(`^用法：openws-connector ${name}`));
    }
    if (name !== "serve" && name !== "listen") {
      expect(en!.stdout).toMatch(/Exit code 0/);
      expect(zh!.stdout).toMatch(/退出码：?\s?0/);
    }
    const options = (text: string): string[] => text.match(/(?<=[\s；])--[a-z-]+/g) ?? [];
    expect(options(zh!.stdout)).toEqual(options(en!.stdout));
    // What both say may be names, numbers and addresses, but no words.
    const inEnglish = new Set(en!.stdout.split("\n"));
    const shared = zh!.stdout.split("\n").filter((line) => inEnglish.has(line));
    expect(shared.filter((line) => /\b[a-z]+ [a-z]+\b/.test(line.replace(/--\S+ \S+/, "")))).toEqual([]);
  },
);

describe("explain", () => {
  test("says what a code means, why it comes and what to do, in either language", limit, async () => {
    const [en, zh] = await Promise.all([
      command(["explain", "846609"], english),
      command(["explain", "846609"], chinese),
    ]);
    expect(en.code).toBe(0);
    expect(en.stdout).toMatch(/^846609 not-subscribed\n {2}means:.*\n {2}why:.*\n {2}do:.*\n$/);
    expect(zh.stdout).toMatch(/含义.*\n.*原因.*\n.*处理/);
  });

  test("a negative code is one, an unknown one exits 1, what is none is used wrongly", limit, async () => {
    const [negative, unknown, none] = await Promise.all([
      command(["explain", "-1", "--json"], english),
      command(["explain", "123456"], english),
      command(["explain", "moon"], english),
    ]);
    expect(JSON.parse(negative.stdout)).toMatchObject({ errcode: -1, known: true });
    expect(unknown).toMatchObject({ code: 1, stdout: expect.stringContaining("123456 unknown-code") as string });
    expect(none).toMatchObject({ code: 2, stdout: "" });
    expect(none.stderr).toMatch(/a whole number such as 846609\nTry: openws-connector explain --help\n$/);
  });
});

describe("doctor", () => {
  test("takes each step, times it, and subscribes to nothing", limit, async () => {
    const before = subscribes();
    const { code, stdout } = await command(["doctor"], env);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^– +name .* is an address\nok +TCP +\d+ ms .*\n– +proxy .*\n– +TLS .*\nok +upgrade +\d+ ms .*\n– +subscribe .*--allow-kick/,
    );
    expect(subscribes()).toBe(before);
  });

  test("with --allow-kick it subscribes, and says why where it cannot", limit, async () => {
    const [ok, refused] = await Promise.all([
      command(["doctor", "--allow-kick", "--json"], env),
      command(["doctor", "--allow-kick", "--bot-id", "stranger"], { ...env, ...chinese }),
    ]);
    expect(JSON.parse(ok.stdout)).toMatchObject({
      ok: true,
      steps: expect.arrayContaining([expect.objectContaining({ step: "subscribe", result: "ok" })]) as unknown,
    });
    expect(refused.code).toBe(1);
    expect(refused.stdout).toMatch(/FAIL 订阅 .*拒绝了机器人 ID 或 Secret/);
    expect(refused.stdout).not.toContain(secret);
  });

  test("goes through the proxy, stops at the first step that fails, and says what to do", limit, async () => {
    const proxy = createServer().on("connect", (request: IncomingMessage, socket) => {
      const upstream = connect(Number(request.url!.split(":")[1]), "127.0.0.1", () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        upstream.pipe(socket).pipe(upstream);
      });
      for (const end of [socket, upstream]) end.on("error", () => socket.destroy());
    });
    await new Promise<void>((resolve) => {
      proxy.listen(0, "127.0.0.1", resolve);
    });
    const through = { ...env, HTTP_PROXY: `http://u:hunter2@127.0.0.1:${(proxy.address() as AddressInfo).port}` };
    const { port } = new URL(gateway.url);
    const [open, closed] = await Promise.all([
      command(["doctor", "--bot-ws-url", `ws://gateway.invalid:${port}`], through),
      command(["doctor", "--bot-ws-url", "ws://gateway.invalid"], {
        ...env,
        HTTP_PROXY: "http://u:hunter2@127.0.0.1:1",
      }),
    ]);
    proxy.close();
    expect(open.code).toBe(0);
    expect(open.stdout).toMatch(/ok +proxy +\d+ ms {2}opens a way to gateway\.invalid:\d+\n/);
    expect(closed.code).toBe(1);
    expect(closed.stdout).toMatch(
      /FAIL TCP +\d+ ms {2}127\.0\.0\.1:1 \(proxy\): nothing listens .*\n +check host and port.*\n$/,
    );
    expect(open.stdout + closed.stdout).not.toContain("hunter2");
  });
});

describe("readyz", () => {
  test("exits 0 where a bot is ready, 1 where none is, and 1 where nobody answers", limit, async () => {
    const other = await startGateway({ latencyMs: 0 });
    await using running = await serve([], { ...env, WECOM_BOT_WS_URL: other.url });
    await other.waitForBot("bot");
    expect(await command(["readyz", "--api", running.url], english)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^ready\n {2}bot ready: /) as string,
    });
    expect(await command(["readyz", "--api", running.url, "--bot", "nobody"], english)).toMatchObject({ code: 1 });
    await other.kick("bot");
    const kicked = await command(["readyz", "--api", running.url], chinese);
    expect(kicked).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/^未就绪\n {2}bot kicked: .*另一个实例/) as string,
    });
    const { host } = new URL(running.url);
    await running.end();
    await other.stop();
    const gone = await command(["readyz"], { ...english, OPENWS_LISTEN: host });
    expect(gone).toMatchObject({ code: 1, stdout: "" });
    expect(gone.stderr).toContain(`no connector answers at http://${host}`);
  });
});

describe("send --allow-kick", () => {
  test("a text, Markdown from a file, a card", limit, async () => {
    const path = join(folder, "a.md");
    writeFileSync(path, "# from a file");
    const card = {
      card_type: "text_notice",
      main_title: { title: "t" },
      card_action: { type: 1, url: "https://example.com" },
    };
    for (const [args, expected] of [
      [["hello", "there"], { kind: "markdown", content: "hello there" }],
      [["--markdown", path], { kind: "markdown", content: "# from a file" }],
      [["--card", JSON.stringify(card)], { kind: "template_card", card }],
    ] as const) {
      const { code, stdout, stderr } = await command(["send", ...args, "--to", "user:lily", "--allow-kick"], env);
      expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "delivered\n", stderr: "" });
      expect(shown("lily")).toMatchObject(expected);
    }
  });

  test("a file, with its progress in lines, to a group; what it goes as instead is said", limit, async () => {
    const path = join(folder, "a.webp");
    writeFileSync(path, Buffer.concat([Buffer.from("RIFF....WEBP"), Buffer.alloc(2_000_000)]));
    const { code, stdout, stderr } = await run(
      ["send", "--file", path, "--as", "image", "--to", "chat:wrX", "--allow-kick"],
      env,
    );
    expect({ code, stdout }).toEqual({ code: 0, stdout: "delivered\n" });
    expect(stderr).toMatch(/^a\.webp: 26 % \(0\.5\/1\.9 MB\)\n(?:a\.webp: \d+ %.*\n)*a\.webp: 100 %.*\n/);
    expect(stderr).toMatch(/\.webp goes as a file/);
    expect(shown("wrX")).toMatchObject({ kind: "file", filename: "a.webp" });
  });

  test("a refusal says its code, what it means and what to do", limit, async () => {
    await gateway.addFault("errcode:errcode=93006,cmd=aibot_send_msg");
    const { code, stdout, stderr } = await command(["send", "hi", "--to", "user:nobody", "--allow-kick"], {
      ...env,
      ...chinese,
    });
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^openws-connector: 未送达，网关返回 93006：.+\n$/);
  });

  test("an ack that never comes is not called delivered", limit, async () => {
    await gateway.addFault("ack-drop:cmd=aibot_send_msg");
    const { code, stderr } = await command(["send", "hi", "--to", "user:lily", "--allow-kick"], env);
    expect(code).toBe(1);
    expect(stderr).toMatch(/whether it arrived is unknown.*look before you send it again/);
  });
});

describe("send --api", () => {
  test("through the service itself: a text, a file, a card arrive, and nobody is kicked", limit, async () => {
    const other = await startGateway({ latencyMs: 0, switches: { chatPrecondition: "off" } });
    const key = "k3y-k3y-k3y-k3y-k3y-k3y";
    const own = { OPENWS_DATABASE: ":memory:", OPENWS_API_KEY: key, WECOM_BOT_WS_URL: other.url };
    await using running = await serveWhole([], { ...env, ...own });
    await other.waitForBot("bot");
    const path = join(folder, "c.bin");
    writeFileSync(path, Buffer.alloc(700_000, 7));
    const card_action = { type: 1, url: "https://x.example" };
    const card = { card_type: "text_notice", main_title: { title: "t" }, card_action };
    for (const args of [["hello"], ["--file", path], ["--card", JSON.stringify(card)]]) {
      const sent = await command(["send", ...args, "--to", "user:lily", "--api", running.url, "--key", key], english);
      expect(sent).toMatchObject({ code: 0, stdout: "delivered\n" });
    }
    const items = other.chat("bot", "lily")!.items.filter(({ by }) => by === "bot");
    expect(items).toMatchObject([{ content: "hello" }, { kind: "file", filename: "c.bin" }, { kind: "template_card" }]);
    expect(other.log().filter(({ cmd }) => cmd === "aibot_subscribe")).toHaveLength(1);
    const wrong = await command(["send", "hi", "--to", "user:lily", "--api", running.url, "--key", "wrong"], chinese);
    expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining("连接器拒绝了该密钥") as string });
    await running.end();
    await other.stop();
  });

  interface Asked {
    readonly method: string;
    readonly url: string;
    readonly key: string;
    readonly body: Buffer;
  }

  /** A connector's API, as far as `send` uses it. */
  async function api(answers: Readonly<Record<string, readonly [number, object]>>) {
    const asked: Asked[] = [];
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const { method = "", url = "", headers } = request;
        asked.push({ method, url, key: headers.authorization ?? "", body: Buffer.concat(chunks) });
        const [status, body] = answers[`${method} ${url.replace(/\?.*/, "")}`] ?? [
          404,
          { detail: "there is no such thing" },
        ];
        response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
      });
    });
    await new Promise<void>((resolve) => {
      server.listen(0, "127.0.0.1", resolve);
    });
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return { url, asked, [Symbol.dispose]: () => server.close() };
  }

  test(
    "a text goes through the running connector, which is asked which bots it runs where nobody says",
    limit,
    async () => {
      using running = await api({
        "GET /v1/bots": [200, { bots: [{ id: "only one" }] }],
        "POST /v1/bots/only%20one/messages": [202, { id: "m1", state: "acked" }],
      });
      const before = subscribes();
      const args = ["send", "hi", "--to", "chat:wrX", "--api", running.url, "--key", "k3y"];
      expect(await command(args, english)).toEqual({ code: 0, stdout: "delivered\n", stderr: "" });
      const [, push] = running.asked;
      expect(push).toMatchObject({ key: "Bearer k3y", url: "/v1/bots/only%20one/messages?wait=15" });
      expect(JSON.parse(push!.body.toString())).toEqual({ to: { chatid: "wrX" }, markdown: "hi" });
      expect(subscribes()).toBe(before);
    },
  );

  test("a file is streamed to it, then sent by its media_id", limit, async () => {
    using running = await api({
      "POST /v1/bots/bot/media": [200, { type: "file", media_id: "M" }],
      "POST /v1/bots/bot/messages": [202, { id: "m1", state: "accepted" }],
    });
    const path = join(folder, "b.bin");
    const bytes = Buffer.alloc(1_300_000, 7);
    writeFileSync(path, bytes);
    const args = ["send", "--file", path, "--to", "user:lily", "--api", running.url, "--bot", "bot"];
    const { code, stdout, stderr } = await command(args, { ...english, OPENWS_API_KEY: "new,old" });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^stored as m1/);
    expect(stderr).toMatch(/b\.bin: 100 %/);
    const [upload, push] = running.asked;
    expect(upload).toMatchObject({ key: "Bearer new", url: "/v1/bots/bot/media?filename=b.bin" });
    expect(createHash("md5").update(upload!.body).digest("hex")).toBe(createHash("md5").update(bytes).digest("hex"));
    expect(JSON.parse(push!.body.toString())).toEqual({
      to: { userid: "lily" },
      media: { kind: "file", media_id: "M" },
    });
  });

  test.for([
    [401, { detail: "no key" }, /refused the key; give the one it printed/, /拒绝了该密钥/],
    [404, { detail: "there is no bot" }, /the connector refused it: there is no bot/, /连接器拒绝了请求/],
    [202, { id: "m", state: "refused", reason: "93006" }, /not sent \(refused\): 93006/, /未送达（refused）/],
    [202, { id: "m", state: "unknown" }, /not sent \(unknown\)/, /未送达（unknown）/],
  ] as const)("%i %o is one sentence and exit code 1", limit, async ([status, body, en, zh]) => {
    using running = await api({ "POST /v1/bots/bot/messages": [status, body] });
    const args = ["send", "hi", "--to", "user:lily", "--api", running.url, "--bot", "bot", "--key", "k3y-k3y"];
    for (const [locale, sentence] of [
      [english, en],
      [chinese, zh],
    ] as const) {
      const { code, stdout, stderr } = await command(args, locale);
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toMatch(sentence);
      expect(stderr).not.toContain("k3y-k3y");
    }
  });
});

test("on a terminal progress is a bar that grows in place", () => {
  let written = "";
  const stream = {
    isTTY: true,
    write: (text: string) => {
      written += text;
      return true;
    },
  };
  const progress = progressOn(stream, "a.bin", "en");
  for (const done of [0, 524_288, 524_290, 1_048_576]) progress.show(done, 1_048_576);
  progress.end();
  expect(written.split("\r").slice(1)).toEqual([
    `a.bin [${"-".repeat(30)}]   0 % 0.0/1.0 MB`,
    `a.bin [${"#".repeat(15)}${"-".repeat(15)}]  50 % 0.5/1.0 MB`,
    `a.bin [${"#".repeat(30)}] 100 % 1.0/1.0 MB\n`,
  ]);
});
