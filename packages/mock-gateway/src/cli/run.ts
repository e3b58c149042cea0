/** `openws-gateway run`: plays scenario files with a bot, each on a gateway and a process of its own. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { parse, YAMLParseError } from "yaml";
import type * as z from "zod";
import { durationMs } from "../duration.ts";
import { readFault, startGateway, type Gateway, type SomeSwitches } from "../index.ts";
import { ApiError } from "./api.ts";
import { junit, play, Scenario, type StepResult } from "./scenario.ts";
import { readArgs, UsageError, type Command } from "./usage.ts";

const help = `usage: openws-gateway run SCENARIO… [options] [-- COMMAND…]

Plays scenario files (YAML). For each one a gateway starts, then COMMAND with WECOM_BOT_ID, WECOM_BOT_SECRET and
WECOM_BOT_WS_URL set; the steps are played once the bot is subscribed. Without COMMAND it waits for a bot that you start.
Exit code 0 when every step passed, 1 when not.

A file has a list of steps, such as {say: hello, expect: {contains: hi, within: 5s}}, {advance: 10m}, {fault: reset};
SCENARIOS.md of this package describes them all.

  --listen HOST:PORT  where the gateway listens (default a free port on 127.0.0.1)
  --ready TIME        how long the bot may take to subscribe (default 20s)
  --junit FILE        writes the results as JUnit XML
  --help
`;

export const run: Command = async (args, env) => {
  const at = args.indexOf("--");
  const [own, command] = at < 0 ? [args, []] : [args.slice(0, at), args.slice(at + 1)];
  const { values, positionals } = readArgs({
    args: own,
    options: {
      listen: { type: "string" },
      ready: { type: "string" },
      junit: { type: "string" },
      help: { type: "boolean", short: "h" },
    },
    allowPositionals: true,
  });
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  if (positionals.length === 0) throw new UsageError("run what? At least one scenario file");
  const readyMs = durationMs(values.ready ?? "20s");
  if (Number.isNaN(readyMs)) throw new UsageError(`--ready must be a time such as 20s, not "${values.ready ?? ""}"`);
  const scenarios = positionals.map((file) => ({ file, scenario: readScenario(file) }));

  const suites: { name: string; results: StepResult[] }[] = [];
  for (const { file, scenario } of scenarios) {
    const name = scenario.name ?? basename(file);
    const results = await playAlone(scenario, command, { listen: values.listen ?? "127.0.0.1:0", readyMs, env });
    suites.push({ name, results });
    print(name, results);
  }
  if (values.junit !== undefined) writeFileSync(values.junit, junit(suites));
  const count = (outcome: StepResult["outcome"]): number =>
    suites.flatMap(({ results }) => results).filter((one) => one.outcome === outcome).length;
  process.stdout.write(`${count("passed")} passed, ${count("failed")} failed, ${count("skipped")} skipped\n`);
  return count("failed") > 0 ? 1 : 0;
};

/** Reads a scenario file. Throws a UsageError that names the file and what is wrong in it. */
export const readScenario = (file: string): Scenario => {
  let document: unknown;
  try {
    document = parse(readFileSync(file, "utf8"));
  } catch (error) {
    const why = error instanceof YAMLParseError ? (error.message.split("\n")[0] ?? "") : (error as Error).message;
    throw new UsageError(`${file} cannot be read: ${why}`, { cause: error });
  }
  const read = Scenario.safeParse(document);
  if (read.success) return read.data;
  const { path, message } = clearest(read.error.issues[0]!);
  throw new UsageError(`${file}: ${path.map(String).join(".") || "the file"}: ${message}`);
};

/** What is wrong with a step is what is wrong with it as the kind of step it comes nearest to. */
const clearest = (issue: z.core.$ZodIssue): Pick<z.core.$ZodIssue, "path" | "message"> => {
  if (issue.code !== "invalid_union") return issue;
  const within = issue.errors
    .filter((errors) => errors.length === 1 && errors[0]!.path.length > 0 && errors[0]!.code !== "unrecognized_keys")
    .map(([only]) => clearest(only!));
  const nearest = within.find(({ message }) => !message.startsWith("Invalid input")) ?? within[0];
  return nearest === undefined
    ? { path: issue.path, message: "is none of the steps that SCENARIOS.md lists, or has a member too many" }
    : { path: [...issue.path, ...nearest.path], message: nearest.message };
};

interface Stage {
  readonly listen: string;
  readonly readyMs: number;
  readonly env: NodeJS.ProcessEnv;
}

const playAlone = async (
  scenario: Scenario,
  command: readonly string[],
  { listen, readyMs, env }: Stage,
): Promise<StepResult[]> => {
  const { bot = { id: "bot", secret: "secret" }, profile, switches, latencyMs, seed, faults = [] } = scenario;
  const gateway = await startGateway({
    listen,
    bots: [bot],
    switches: { ...(switches as SomeSwitches | undefined) },
    faults: faults.map(readFault),
    ...(profile === undefined ? {} : { profile }),
    ...(latencyMs === undefined ? {} : { latencyMs }),
    ...(seed === undefined ? {} : { seed }),
  });
  const child = command.length === 0 ? undefined : start(command, gateway, bot, env);
  if (!child) process.stderr.write(`waiting for bot ${bot.id} at ${gateway.url}\n`);
  try {
    const begun = performance.now();
    const unready = await ready(gateway, bot.id, readyMs, child);
    const first = { title: "the bot subscribes", ms: Math.round(performance.now() - begun) };
    if (unready !== undefined) return [{ ...first, outcome: "failed", message: unready }];
    return [{ ...first, outcome: "passed" }, ...(await play(gateway, bot.id, scenario))];
  } finally {
    await Promise.all([child && end(child), gateway.stop()]);
  }
};

const start = (
  [program = "", ...args]: readonly string[],
  gateway: Gateway,
  bot: { id: string; secret: string },
  env: NodeJS.ProcessEnv,
): ChildProcess =>
  spawn(program, args, {
    // What the bot prints is for people; standard output is for results.
    stdio: ["ignore", 2, 2],
    env: { ...env, WECOM_BOT_ID: bot.id, WECOM_BOT_SECRET: bot.secret, WECOM_BOT_WS_URL: gateway.url },
  });

/** Waits for the bot; returns why it did not come. */
const ready = async (
  gateway: Gateway,
  bot: string,
  readyMs: number,
  child: ChildProcess | undefined,
): Promise<string | undefined> => {
  const subscribed = gateway.waitForBot(bot, readyMs).then(
    () => undefined,
    (error: unknown) => (error as Error).message,
  );
  if (!child) return subscribed;
  const ended = new Promise<string>((resolve, reject) => {
    child.once("error", (error: NodeJS.ErrnoException) =>
      reject(
        new ApiError(error.code === "ENOENT" ? `there is no program ${child.spawnfile}` : error.message, {
          cause: error,
        }),
      ),
    );
    child.once("exit", (code, signal) =>
      resolve(`the bot ended (${code ?? signal ?? "unknown"}) before it subscribed`),
    );
  });
  return Promise.race([subscribed, ended]);
};

const end = async (child: ChildProcess): Promise<void> => {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGTERM");
  const killing = setTimeout(() => child.kill("SIGKILL"), 5_000);
  await gone;
  clearTimeout(killing);
};

const print = (name: string, results: readonly StepResult[]): void => {
  process.stdout.write(`${name}\n`);
  for (const { title, ms, outcome, message } of results) {
    const mark = { passed: "ok", failed: "FAILED", skipped: "skipped" }[outcome];
    process.stdout.write(`  ${mark} ${title} (${ms} ms)${message === undefined ? "" : `\n      ${message}`}\n`);
  }
};
