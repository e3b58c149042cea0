#!/usr/bin/env node
/**
 * `openws-connector`: the command line. Decides how arguments read and which exit code a failure has; what a command does
 * is written elsewhere and loaded on demand.
 *
 * Exit codes: 0 done or ended by a signal, 1 failed, 2 used wrongly.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { OpenwsError, UsageError } from "@openws/protocol";
import { type Flags, type SettingName, misspelt, readConfig, settings } from "./config.ts";

const program = "openws-connector";

const usage = `${program}: holds a WeCom AI bot's line to the gateway and says so when it does not

Usage
  ${program} serve --echo [options]    answer every text with "echo: <text>"
  ${program} --help | --version

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
  if (command !== "serve") throw new UsageError(`there is no command ${JSON.stringify(command)}; there is: serve`);

  const flags = readFlags(rest);
  const config = readConfig(flags, process.env, (path) => readFileSync(path, "utf8"));
  if (!config.echo) throw new UsageError("give --echo: answering is all that serve does so far");
  const { serve } = await import("./main.node.ts");
  await serve(config, misspelt(process.env));
  return undefined;
}

function readFlags(argv: readonly string[]): Flags {
  const options: Record<string, { type: "string" | "boolean" }> = {
    echo: { type: "boolean" },
    json: { type: "boolean" },
  };
  for (const { flag } of Object.values(settings)) options[flag] = { type: "string" };
  let parsed: ReturnType<typeof parseArgs>;
  try {
    parsed = parseArgs({ args: [...argv], options, strict: true, allowPositionals: false });
  } catch (error) {
    // parseArgs explains itself in several sentences; the first names the argument.
    throw new UsageError(String((error as Error).message).split(". ")[0]!, { cause: error });
  }
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

main(process.argv.slice(2)).then(
  (code) => {
    if (code !== undefined) process.exitCode = code;
  },
  (error: unknown) => {
    // A port in use is the user's to change, as a flag is.
    const used = error instanceof UsageError || (error instanceof OpenwsError && error.code === "listen");
    const sentence =
      error instanceof OpenwsError ? error.message : error instanceof Error ? error.message : String(error);
    print(process.stderr, `${program}: ${sentence}\n${used ? `Try: ${program} --help\n` : ""}`);
    process.exit(used ? 2 : 1);
  },
);
