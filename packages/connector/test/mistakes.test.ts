// What goes wrong before anything works: each case is provoked on the command line, in English and in Chinese, and answered by
// one sentence that says what is wrong and what to do, without a stack and without a secret.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, test } from "vitest";
import { type Gateway, startGateway } from "@openws/mock-gateway";
import { command } from "./command.ts";

const secret = "s3cret-s3cret";
const folder = mkdtempSync(join(tmpdir(), "openws-test-"));
const file = (name: string, bytes: number): string => {
  const path = join(folder, name);
  writeFileSync(path, Buffer.alloc(bytes, 65));
  return path;
};

let plain: Gateway;
let secured: Gateway;
let strange: Gateway;
/** Asks for a password, and has none that is right. */
const proxy = createServer().on("connect", (_request, socket) => {
  socket.end("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
});
/** A server that is no gateway. */
const website = createServer((_request, response) => response.end("hello"));

beforeAll(async () => {
  plain = await startGateway({ latencyMs: 0, bots: [{ id: "bot", secret }], switches: { subscribeRate: "off" } });
  secured = await startGateway({ latencyMs: 0, tls: true });
  strange = await startGateway({ latencyMs: 0, bots: [{ id: "bot", secret: "another" }] });
  for (const server of [proxy, website])
    await new Promise<void>((resolve) => {
      server.listen(0, "127.0.0.1", resolve);
    });
});
afterAll(async () => {
  await Promise.all([plain.stop(), secured.stop(), strange.stop()]);
  proxy.close();
  website.close();
  rmSync(folder, { recursive: true });
});

const portOf = (server: typeof proxy): number => (server.address() as AddressInfo).port;

interface Case {
  readonly what: string;
  readonly args?: readonly string[];
  readonly env?: () => Readonly<Record<string, string>>;
  /** Whether `--allow-kick` is given. */
  readonly mayKick?: false;
  /** The gateway; looked up when the test runs, since ports are chosen then. */
  readonly url?: () => string;
  /** 1 what was asked for did not come about, 2 used wrongly. */
  readonly code: 1 | 2;
  readonly en: RegExp;
  readonly zh: RegExp;
}

const cases: readonly Case[] = [
  {
    what: "a wrong secret",
    url: () => strange.url,
    code: 1,
    en: /refused the bot id or the secret.*Check both in the WeCom admin console/,
    zh: /拒绝了机器人 ID 或 Secret.*请在企业微信管理后台核对/,
  },
  {
    what: "an address that is none",
    url: () => "https://openws.work.weixin.qq.com",
    code: 2,
    en: /WECOM_BOT_WS_URL must be a WebSocket address such as wss:/,
    zh: /WECOM_BOT_WS_URL 必须是 WebSocket 地址，例如 wss:/,
  },
  {
    what: "no secret",
    env: () => ({ WECOM_BOT_SECRET: "" }),
    code: 2,
    en: /secret is missing: set WECOM_BOT_SECRET/,
    zh: /缺少机器人 Secret：请设置 WECOM_BOT_SECRET/,
  },
  {
    what: "a name that does not resolve",
    url: () => "ws://no-such-host.invalid",
    code: 1,
    en: /does not resolve; check the spelling/,
    zh: /无法解析；请检查地址拼写/,
  },
  {
    what: "a port that is closed",
    url: () => "ws://127.0.0.1:1",
    code: 1,
    en: /nothing listens at that address and port; check host and port/,
    zh: /没有服务在监听；请检查主机和端口/,
  },
  {
    what: "a certificate of an unknown authority",
    url: () => secured.url,
    code: 1,
    en: /authority that is not trusted here; .*NODE_EXTRA_CA_CERTS/,
    zh: /不信任的机构签发；.*NODE_EXTRA_CA_CERTS/,
  },
  {
    what: "TLS where there is none",
    url: () => `wss://127.0.0.1:${portOf(website)}`,
    code: 1,
    en: /does not speak TLS on this port; use ws:/,
    zh: /不使用 TLS；.*ws:/,
  },
  {
    what: "a server that is no gateway",
    url: () => `ws://127.0.0.1:${portOf(website)}`,
    code: 1,
    en: /no WebSocket gateway; check the address/,
    zh: /不是 WebSocket 网关；请检查地址/,
  },
  {
    what: "a proxy that asks for a password",
    url: () => "ws://gateway.invalid",
    env: () => ({ HTTP_PROXY: `http://u:hunter2@127.0.0.1:${portOf(proxy)}` }),
    code: 1,
    en: /proxy asks for a user name and a password; write them into HTTPS_PROXY/,
    zh: /代理要求用户名和密码；请在 HTTPS_PROXY 中/,
  },
  {
    what: "a proxy that is not there",
    url: () => "ws://gateway.invalid",
    env: () => ({ HTTP_PROXY: "http://u:hunter2@127.0.0.1:1" }),
    code: 1,
    en: /nothing listens .*or the proxy in between/,
    zh: /没有服务在监听；.*代理/,
  },
  {
    what: "a proxy of another kind",
    url: () => "ws://gateway.invalid",
    env: () => ({ HTTP_PROXY: "socks5://u:hunter2@127.0.0.1:1" }),
    code: 1,
    en: /kind that is not spoken here; set HTTPS_PROXY/,
    zh: /不支持的代理类型；请将 HTTPS_PROXY/,
  },
  {
    what: "a file that is not there",
    args: ["--file", join(folder, "none.bin")],
    code: 1,
    en: /there is no file .*none\.bin; a relative path/,
    zh: /文件不存在：.*none\.bin；/,
  },
  {
    what: "a file that is too large",
    args: ["--file", file("large.bin", 20 * 1_048_576 + 1)],
    code: 1,
    en: /at most 20971520 \(20 MB\); send a link instead/,
    zh: /上限为 20971520（20 MB），请改为发送链接/,
  },
  {
    what: "a file that is empty",
    args: ["--file", file("empty.bin", 0)],
    code: 1,
    en: /empty\.bin has 0 bytes, WeCom takes no file of fewer than 5; is it the right one/,
    zh: /empty\.bin 只有 0 字节，企业微信不接受小于 5 字节的文件，请检查/,
  },
  {
    what: "a folder for a file",
    args: ["--file", folder],
    code: 1,
    en: /is not a file/,
    zh: /不是文件/,
  },
  {
    what: "a kind that is none",
    args: ["--file", file("a.bin", 10), "--as", "picture"],
    code: 2,
    en: /--as must be one of image, voice, video, file/,
    zh: /--as 必须是 image、voice、video、file 之一/,
  },
  {
    what: "no way that is allowed",
    args: ["hi"],
    mayKick: false,
    code: 2,
    en: /--api URL goes through a connector that runs; --allow-kick/,
    zh: /--api URL 经由正在运行的连接器发送；--allow-kick/,
  },
  {
    what: "a connector that is not there",
    args: ["hi", "--api", "http://127.0.0.1:1", "--key", "k3y-k3y"],
    code: 1,
    en: /no connector answers at .*; start one with openws-connector serve/,
    zh: /没有连接器应答；请用 openws-connector serve 启动/,
  },
];

const locales = { en: "en_US.UTF-8", zh: "zh_CN.UTF-8" } as const;

describe.concurrent.each(["en", "zh"] as const)("in %s", (language) => {
  for (const each of cases)
    test(
      `${each.what}: one sentence, what to do, no stack, no secret`,
      { timeout: 60_000 },
      async ({ expect: expected }) => {
        const env = {
          WECOM_BOT_ID: "bot",
          WECOM_BOT_SECRET: secret,
          WECOM_BOT_WS_URL: each.url?.() ?? plain.url,
          LANG: locales[language],
          LC_ALL: "",
          LC_MESSAGES: "",
          ...each.env?.(),
        };
        const allowed = each.mayKick === false ? [] : ["--allow-kick"];
        const args = ["send", "--to", "user:lily", ...(each.args ?? ["hi"]), ...allowed];
        const { code, stdout, stderr } = await command(args, env);
        expected({ code, stdout }).toEqual({ code: each.code, stdout: "" });
        expected(stderr).toMatch(each[language]);
        const lines = stderr.trimEnd().split("\n");
        expected(lines.filter((line) => line.startsWith("openws-connector: "))).toHaveLength(1);
        expected(lines.length).toBe(each.code === 2 ? 2 : 1);
        expected(stderr).not.toMatch(/\n\s+at |hunter2|k3y-k3y|undefined|\[object/);
        expected(stderr).not.toContain(secret);
      },
    );
});
