/**
 * `openws-connector doctor`: the way to the gateway, step by step: name, proxy, TCP, TLS, upgrade. Each step is tried by
 * itself, timed, and told with what to do where it fails; behind a failure nothing more is tried.
 *
 * It does not subscribe unless `--allow-kick` is given: a subscribe takes the line from an instance that runs.
 */
import { lookup } from "node:dns/promises";
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { type Socket, connect as connectTcp, isIP } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { type TLSSocket, connect as connectTls } from "node:tls";
import type { Sentence } from "../causes.ts";
import {
  type Environment,
  type SettingName,
  defaultUrl,
  gatewayUrl,
  milliseconds,
  readConfig,
  settings,
} from "../config.ts";
import { proxyFor } from "../runtime.proxy.ts";
import { troubleOf } from "../trouble.ts";
import { type Command, languageOf, print, readArgs } from "./command.ts";
import { type Subscribing, withLine } from "./line.ts";

const help: Sentence = {
  en: `usage: openws-connector doctor [options]

Tries the way to the gateway: name, proxy, TCP, TLS, WebSocket upgrade. Says for each step how it went, how long it took
and what to do. Exit code 0 when the whole way is open, 1 when it is not.

It never subscribes by itself, since that takes the line from an instance that runs.

  --bot-ws-url URL   the gateway (WECOM_BOT_WS_URL; ${defaultUrl})
  --allow-kick       subscribe, too: needs --bot-id and --bot-secret, or WECOM_BOT_ID and WECOM_BOT_SECRET
  --timeout-ms MS    for each step (10000)
  --json             one JSON document instead of lines`,
  zh: `用法：openws-connector doctor [选项]

逐步检查到网关的路径：域名、代理、TCP、TLS、WebSocket 升级，说明每一步的结果、用时与处理办法。
退出码：0 全程畅通，1 有一步不通。

它不会自行订阅，因为订阅会把正在运行的实例踢下线。

  --bot-ws-url URL   网关（WECOM_BOT_WS_URL；${defaultUrl}）
  --allow-kick       同时尝试订阅：需要 --bot-id 与 --bot-secret，或 WECOM_BOT_ID 与 WECOM_BOT_SECRET
  --timeout-ms MS    每一步的时限（10000）
  --json             输出一份 JSON 文档，而不是逐行文字`,
};

/** The steps, in the order in which a connection takes them. */
type StepName = "dns" | "proxy" | "tcp" | "tls" | "upgrade" | "subscribe";

/** How one step went. `skipped` steps are not needed, or were not asked for. */
interface Step {
  readonly step: StepName;
  readonly result: "ok" | "failed" | "skipped";
  readonly ms: number;
  readonly found: Sentence;
  readonly advice?: Sentence;
}

const names: Readonly<Record<StepName, Sentence>> = {
  dns: { en: "name", zh: "域名" },
  proxy: { en: "proxy", zh: "代理" },
  tcp: { en: "TCP", zh: "TCP" },
  tls: { en: "TLS", zh: "TLS" },
  upgrade: { en: "upgrade", zh: "升级" },
  subscribe: { en: "subscribe", zh: "订阅" },
};

const marks = { ok: "ok  ", failed: "FAIL", skipped: "–   " } as const;

export const doctor: Command = async (args, env) => {
  const options = {
    "bot-ws-url": { type: "string" },
    "bot-id": { type: "string" },
    "bot-secret": { type: "string" },
    "bot-secret-file": { type: "string" },
    "timeout-ms": { type: "string" },
    "allow-kick": { type: "boolean" },
    json: { type: "boolean" },
    help: { type: "boolean", short: "h" },
  } as const;
  const { values } = readArgs({ args: [...args], options });
  if (values.help === true) {
    print(help[languageOf(env)]);
    return 0;
  }
  const language = languageOf(env);
  const flags: Partial<Record<SettingName, string>> = {};
  for (const name of ["url", "botId", "secret", "secretFile"] as const) {
    const value = values[settings[name].flag];
    if (value !== undefined) flags[name] = value;
  }
  const url = gatewayUrl(
    flags.url === undefined
      ? { text: env["WECOM_BOT_WS_URL"] || defaultUrl, as: "WECOM_BOT_WS_URL" }
      : { text: flags.url, as: "--bot-ws-url" },
  );
  const timeoutMs = milliseconds({ text: values["timeout-ms"] ?? "10000", as: "--timeout-ms" });
  // Settings that are missing are a mistake before the first step, not a finding behind the last.
  const config =
    values["allow-kick"] === true
      ? readConfig({ values: flags, echo: false, json: false }, env, (path) => readFileSync(path, "utf8"))
      : undefined;
  const steps: Step[] = [];
  const told = (step: Step): void => {
    steps.push(step);
    if (values.json !== true) print(lineOf(step, language));
  };
  const open = await walk(new URL(url), env, timeoutMs, told);
  if (open)
    told(
      config === undefined
        ? {
            step: "subscribe",
            result: "skipped",
            ms: 0,
            found: {
              en: "not tried: it would take the line from an instance that runs; --allow-kick tries it",
              zh: "未尝试：订阅会把正在运行的实例踢下线；如需尝试请加 --allow-kick",
            },
          }
        : await subscribe({ ...config, url, env }),
    );
  const ok = steps.every(({ result }) => result !== "failed");
  if (values.json === true) print(JSON.stringify({ ok, url, steps }));
  return ok ? 0 : 1;
};

function lineOf({ step, result, ms, found, advice }: Step, language: keyof Sentence): string {
  const time = result === "skipped" ? "" : `${Math.round(ms)} ms`;
  const line = `${marks[result]} ${names[step][language].padEnd(10)} ${time.padStart(8)}  ${found[language]}`;
  return advice === undefined ? line : `${line}\n${" ".repeat(26)}${advice[language]}`;
}

/** Takes the steps one after the other and tells each. Resolves with whether all could be taken. */
async function walk(url: URL, env: Environment, timeoutMs: number, told: (step: Step) => void): Promise<boolean> {
  const secure = url.protocol === "wss:";
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const port = Number(url.port || (secure ? 443 : 80));
  let proxy: URL | undefined;
  let socket: Socket | undefined;
  const attempt = async <Value>(
    step: StepName,
    target: string,
    work: () => Promise<Value>,
    found: (value: Value) => Sentence,
  ): Promise<Value | undefined> => {
    const at = performance.now();
    try {
      const value = await within(timeoutMs, work());
      told({ step, result: "ok", ms: performance.now() - at, found: found(value) });
      return value;
    } catch (error) {
      const trouble = troubleOf(wordsOf(error));
      const what = trouble?.what ?? { en: `it failed: ${wordsOf(error)}`, zh: `失败：${wordsOf(error)}` };
      const found = { en: `${target}: ${what.en}`, zh: `${target}：${what.zh}` };
      const failed = { step, result: "failed", ms: performance.now() - at, found } as const;
      told(trouble === undefined ? failed : { ...failed, advice: trouble.advice });
      return undefined;
    }
  };
  try {
    try {
      proxy = proxyFor(url, env);
    } catch (error) {
      await attempt("proxy", "HTTPS_PROXY", () => Promise.reject(error as Error), same);
      return false;
    }
    // A proxy resolves the gateway's name itself: only its own has to resolve here.
    const { hostname, port: at } = proxy ?? { hostname: host, port: String(port) };
    const near = {
      host: hostname.replace(/^\[|\]$/g, ""),
      port: Number(at || (proxy?.protocol === "https:" ? 443 : 80)),
    };
    if (isIP(near.host) !== 0)
      told({
        step: "dns",
        result: "skipped",
        ms: 0,
        found: { en: `${near.host} is an address`, zh: `${near.host} 是 IP 地址` },
      });
    else {
      const addresses = await attempt(
        "dns",
        near.host,
        async () => lookup(near.host, { all: true }),
        (all) => same(`${near.host} → ${all.map(({ address }) => address).join(", ")}`),
      );
      if (addresses === undefined) return false;
    }
    socket = await attempt(
      "tcp",
      `${near.host}:${near.port}${proxy === undefined ? "" : " (proxy)"}`,
      () => tcp(near.host, near.port),
      () => same(`${near.host}:${near.port}`),
    );
    if (socket === undefined) return false;
    if (proxy === undefined)
      told({ step: "proxy", result: "skipped", ms: 0, found: { en: "none for this address", zh: "该地址不经代理" } });
    else {
      const through = proxy;
      const outer = socket;
      const tunnel = await attempt(
        "proxy",
        through.host,
        async () => tunnelled(through.protocol === "https:" ? await tls(outer, near.host) : outer, through, host, port),
        () => ({ en: `opens a way to ${host}:${port}`, zh: `已打通到 ${host}:${port} 的通道` }),
      );
      if (tunnel === undefined) return false;
      socket = tunnel;
    }
    if (secure) {
      const plain = socket;
      const secured = await attempt(
        "tls",
        url.host,
        () => tls(plain, host),
        (made) => ({
          en: `${made.getProtocol() ?? "TLS"}, certificate by ${issuerOf(made)}, until ${made.getPeerCertificate().valid_to}`,
          zh: `${made.getProtocol() ?? "TLS"}，证书由 ${issuerOf(made)} 签发，有效期至 ${made.getPeerCertificate().valid_to}`,
        }),
      );
      if (secured === undefined) return false;
      socket = secured;
    } else told({ step: "tls", result: "skipped", ms: 0, found: { en: "ws:// has none", zh: "ws:// 不使用 TLS" } });
    const last = socket;
    const upgraded = await attempt(
      "upgrade",
      url.host,
      () => upgrade(last, url),
      () => ({
        en: "the gateway takes WebSockets",
        zh: "网关接受 WebSocket",
      }),
    );
    return upgraded !== undefined;
  } finally {
    socket?.destroy();
  }
}

function tcp(host: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connectTcp({ host, port });
    socket.once("connect", () => resolve(socket));
    // Stays for the socket's whole life: what is cut later must not end the process.
    socket.on("error", reject);
  });
}

function tls(socket: Socket, host: string): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const secured = connectTls({ socket, ...(isIP(host) === 0 ? { servername: host } : {}), host });
    secured.once("secureConnect", () => resolve(secured));
    secured.on("error", reject);
  });
}

function tunnelled(socket: Socket, proxy: URL, host: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const path = `${host.includes(":") ? `[${host}]` : host}:${port}`;
    const user = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
    const headers =
      proxy.username === "" ? {} : { "proxy-authorization": `Basic ${Buffer.from(user).toString("base64")}` };
    const asked = request({
      method: "CONNECT",
      path,
      headers: { host: path, ...headers },
      createConnection: () => socket,
    });
    asked.on("connect", ({ statusCode }) => {
      if (statusCode === 200) resolve(socket);
      else reject(new Error(`the proxy answered CONNECT with status ${statusCode ?? 0}`));
    });
    asked.on("error", reject);
    asked.end();
  });
}

function upgrade(socket: Socket, url: URL): Promise<true> {
  return new Promise((resolve, reject) => {
    const asked = request({
      path: `${url.pathname}${url.search}`,
      createConnection: () => socket,
      headers: {
        host: url.host,
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString("base64"),
      },
    });
    asked.on("upgrade", () => resolve(true));
    asked.on("response", ({ statusCode }) =>
      reject(new Error(`the server answered the upgrade with status ${statusCode ?? 0}`)),
    );
    asked.on("error", reject);
    asked.end();
  });
}

async function subscribe({ botId, secret, url, env }: Subscribing): Promise<Step> {
  const at = performance.now();
  const { subscribed, reason } = await withLine({ botId, secret, url, env }, (bot) => Promise.resolve(bot.state));
  return { step: "subscribe", result: subscribed ? "ok" : "failed", ms: performance.now() - at, found: reason };
}

async function within<Value>(ms: number, work: Promise<Value>): Promise<Value> {
  const over = new AbortController();
  try {
    return await Promise.race([
      work,
      pause(ms, undefined, { signal: over.signal }).then(() => {
        throw new Error("ETIMEDOUT: nothing answered in time");
      }),
    ]);
  } finally {
    over.abort();
  }
}

/** What the runtime says: code and message, several addresses' in turn. */
function wordsOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(wordsOf).join("; ");
  const { code = "", message } = error as NodeJS.ErrnoException;
  return message.includes(code) ? message : `${code} ${message}`;
}

function issuerOf(socket: TLSSocket): string {
  const { issuer } = socket.getPeerCertificate();
  const name = issuer?.O ?? issuer?.CN;
  return Array.isArray(name) ? name.join(", ") : (name ?? "?");
}

function same(text: unknown): Sentence {
  return { en: String(text), zh: String(text) };
}
