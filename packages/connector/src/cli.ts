#!/usr/bin/env node
/**
 * `openws-connector`: the command line. Decides how arguments read and which exit code a failure has; what a command does
 * is written elsewhere and loaded on demand.
 *
 * Exit codes: 0 done or ended by a signal, 1 failed, 2 used wrongly.
 */
import { readFileSync } from "node:fs";
import type { Sentence } from "./causes.ts";
import { type Command, failureOf, languageOf, name as program, readArgs } from "./cli/command.ts";
import { type Flags, type SettingName, misspelt, readConfig, settings } from "./config.ts";
import { MistakeError } from "./mistake.ts";

/** The sub-commands besides `serve`; each is loaded when it is called, so that none costs the others their start. */
const commands: Readonly<Partial<Record<string, Command>>> = {
  send: async (...call) => (await import("./cli/send.ts")).send(...call),
  doctor: async (...call) => (await import("./cli/doctor.ts")).doctor(...call),
  explain: async (...call) => (await import("./cli/explain.ts")).explain(...call),
  readyz: async (...call) => (await import("./cli/readyz.ts")).readyz(...call),
  backup: async (...call) => (await import("./cli/backup.ts")).backup(...call),
  listen: async (...call) => (await import("./cli/listen.ts")).listen(...call),
  openapi: async (...call) => (await import("./cli/openapi.ts")).openapi(...call),
};

/** What each setting is, with its flag and its names in the environment. */
const options = (language: keyof Sentence): string =>
  `${Object.values(settings)
    .map(
      ({ flag, env, value, help }) =>
        `  ${`--${flag} ${value}`.padEnd(26)} ${env.join(", ")}\n  ${"".padEnd(26)} ${help[language]}`,
    )
    .join("\n")}
  --json                     ${json[language]}
`;
const json: Sentence = {
  en: 'print {"ready":true,"url":…} as the first line on stdout; logs stay on stderr',
  zh: '标准输出的第一行为 {"ready":true,"url":…}；日志仍写到标准错误',
};

const usage: Sentence = {
  en: `${program}: holds a WeCom AI bot's line to the gateway and says so when it does not

Usage
  ${program} serve [options]           the service: bots' lines, their messages kept, webhooks, an API
  ${program} serve --echo [options]    answer every text with "echo: <text>", and keep nothing
  ${program} send TEXT --to user:ID    a message of the bot's own: a text, a file, a card
  ${program} doctor                    the way to the gateway, step by step, and what to do where it is barred
  ${program} explain CODE              what an errcode means, why it comes and what to do
  ${program} readyz                    whether a running connector is ready: exit code 0 or 1
  ${program} listen --forward-to URL   gives what a running connector receives to a program on this machine
  ${program} openapi                   the description of the HTTP API
  ${program} backup FILE               a copy of the database, also of one that is in use
  ${program} --help | --version        (COMMAND --help says more)

The echo bot knows a few words that try a bot's abilities:
  !stream N   one answer in N growing frames      !push TEXT   a message of its own
  !card       a card whose button works           !slow MS     an answer that takes its time
  !upload N   a file of N bytes                    !fail        a handler that throws

Options of serve (flag > environment > default)
${options("en")}`,
  zh: `${program}：维持企业微信智能机器人到网关的线路，断开时会如实说明

用法
  ${program} serve [选项]              服务：机器人的线路、留存的消息、网络钩子与 API
  ${program} serve --echo [选项]       对每条文本回答 "echo: <文本>"，不留存任何内容
  ${program} send TEXT --to user:ID    机器人主动发出的消息：文本、文件或卡片
  ${program} doctor                    逐步检查到网关的路径，并说明受阻之处如何处理
  ${program} explain CODE              错误码的含义、原因与处理办法
  ${program} readyz                    正在运行的连接器是否就绪：退出码 0 或 1
  ${program} listen --forward-to URL   把正在运行的连接器收到的消息交给本机的程序
  ${program} openapi                   HTTP API 的描述
  ${program} backup FILE               数据库的副本，使用中的数据库亦可
  ${program} --help | --version        （命令加 --help 有更多说明）

回声机器人认得几个用来试验机器人能力的词：
  !stream N   分 N 帧增长的一个回答          !push TEXT   主动发出的消息
  !card       按钮可用的卡片                 !slow MS     需要一段时间的回答
  !upload N   N 字节的文件                   !fail        会抛出异常的处理函数

serve 的选项（参数 > 环境变量 > 默认值）
${options("zh")}`,
};

/** Everything but the process: arguments in, exit code out (undefined: a server is running). */
async function main(argv: readonly string[]): Promise<number | undefined> {
  const [command, ...rest] = argv;
  const run = commands[command ?? ""];
  if (run !== undefined) return run(rest, process.env);
  if (command === undefined || command === "help" || argv.includes("--help") || argv.includes("-h")) {
    print(command === undefined ? process.stderr : process.stdout, usage[languageOf(process.env)]);
    return command === undefined ? 2 : 0;
  }
  if (argv.includes("--version") || argv.includes("-V")) {
    const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
      version: string;
    };
    print(process.stdout, `${program} ${manifest.version}\n`);
    return 0;
  }
  if (command !== "serve") {
    const all = ["serve", ...Object.keys(commands)].join(", ");
    throw new MistakeError({
      en: `there is no command ${JSON.stringify(command)}; there are: ${all}`,
      zh: `没有命令 ${JSON.stringify(command)}；可用命令：${all}`,
    });
  }

  const flags = readFlags(rest);
  const readFile = (path: string): string => readFileSync(path, "utf8");
  if (flags.echo) {
    const { serveEcho } = await import("./main.echo.ts");
    await serveEcho(readConfig(flags, process.env, readFile), misspelt(process.env));
  } else {
    const [{ serve }, { readServiceConfig }, yaml] = await Promise.all([
      import("./main.node.ts"),
      import("./service/config.ts"),
      import("yaml"),
    ]);
    const parse = (text: string): unknown => yaml.parse(text);
    const { line, service } = readServiceConfig(flags, process.env, { readFile, parse });
    await serve(line, service, misspelt(process.env));
  }
  return undefined;
}

function readFlags(argv: readonly string[]): Flags {
  const options: Record<string, { type: "string" | "boolean" }> = {
    echo: { type: "boolean" },
    json: { type: "boolean" },
  };
  for (const { flag } of Object.values(settings)) options[flag] = { type: "string" };
  const parsed = readArgs({ args: [...argv], options, strict: true, allowPositionals: false });
  const values: Partial<Record<SettingName, string>> = {};
  for (const [name, { flag }] of Object.entries(settings)) {
    const value = parsed.values[flag];
    if (typeof value === "string") values[name as SettingName] = value;
  }
  return { values, echo: parsed.values["echo"] === true, json: parsed.values["json"] === true };
}

function print(stream: NodeJS.WriteStream, text: string): void {
  stream.write(text);
}

// Whoever reads may stop reading: `… | head`.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

main(process.argv.slice(2)).then(
  (code) => {
    if (code !== undefined) process.exitCode = code;
  },
  (error: unknown) => {
    const [command = ""] = process.argv.slice(2);
    const { code, text } = failureOf(error, process.env, command in commands ? `${program} ${command}` : program);
    print(process.stderr, text);
    process.exit(code);
  },
);
