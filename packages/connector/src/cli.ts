#!/usr/bin/env node
/**
 * `openws-connector`: the command line. Decides how arguments read and which exit code a failure has; what a command does
 * is written elsewhere and loaded on demand.
 *
 * Exit codes: 0 done or ended by a signal, 1 failed, 2 used wrongly.
 */
import { readFileSync } from "node:fs";
import { type Command, failureOf, name as program, readArgs } from "./cli/command.ts";
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

const usage = `${program}: holds a WeCom AI bot's line to the gateway and says so when it does not

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
${Object.values(settings)
  .map(
    ({ flag, env, value, help }) =>
      `  ${`--${flag} ${value}`.padEnd(26)} ${env.join(", ")}\n  ${"".padEnd(26)} ${help}`,
  )
  .join("\n")}
  --json                     print {"ready":true,"url":…} as the first line on stdout; logs stay on stderr
`;

/** Everything but the process: arguments in, exit code out (undefined: a server is running). */
async function main(argv: readonly string[]): Promise<number | undefined> {
  const [command, ...rest] = argv;
  const run = commands[command ?? ""];
  if (run !== undefined) return run(rest, process.env);
  if (command === undefined || command === "help" || argv.includes("--help") || argv.includes("-h")) {
    print(command === undefined ? process.stderr : process.stdout, usage);
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
