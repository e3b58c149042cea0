#!/usr/bin/env node
/**
 * `openws-gateway`: the mock gateway on the command line.
 *
 * Standard output is for what scripts read (the ready line, answers), standard error for people. Exit codes: 0 done,
 * 1 what was asked for did not come about, 2 wrong usage, a port in use included.
 */
import type { ParseArgsConfig } from "node:util";
import { ApiError } from "./cli/api.ts";
import { readArgs, UsageError, type Command } from "./cli/usage.ts";
import { ListenError, profileNames, readFault, startGateway, switchTable, version } from "./index.ts";
import type { BotConfig, Gateway, GatewayOptions, ProfileName, SomeSwitches } from "./index.ts";
import { Switches } from "./switches.ts";
import { defaultTlsFolder } from "./tls.ts";

/** The sub-commands besides `serve`; each is loaded when it is called, so that none costs the others their start. */
const commands: Partial<Record<string, Command>> = {
  say: async (...call) => (await import("./cli/say.ts")).say(...call),
  trigger: async (...call) => (await import("./cli/trigger.ts")).trigger(...call),
  fault: async (...call) => (await import("./cli/fault.ts")).fault(...call),
  clock: async (...call) => (await import("./cli/clock.ts")).clock(...call),
  env: async (...call) => (await import("./cli/env.ts")).env(...call),
  run: async (...call) => (await import("./cli/run.ts")).run(...call),
  readyz: async (...call) => (await import("./cli/readyz.ts")).readyz(...call),
  ca: async (...call) => (await import("./cli/ca.ts")).ca(...call),
  record: async (...call) => (await import("./cli/record.ts")).record(...call),
  vectors: async (...call) => (await import("./cli/vectors.ts")).vectors(...call),
};

const help = `The WeCom AI-bot gateway, offline: chat with your bot, test it, break its connection.

usage: openws-gateway [serve] [options]
       openws-gateway say TEXT            a user speaks; prints the answer
       openws-gateway trigger EVENT       something happens: enter_chat, a card is clicked, another instance kicks
       openws-gateway fault [SPEC…]       what is broken, and breaking more
       openws-gateway clock [advance 10m] what time it is, and moving it
       openws-gateway run SCENARIO…       plays conversations from files with a bot
       openws-gateway env                 the settings that point a bot here
       openws-gateway readyz              whether a gateway answers
       openws-gateway ca                  the certificate for --tls, and how clients are made to trust it
       openws-gateway record              passes a real bot's traffic through and writes a redacted log
       openws-gateway vectors FILE        golden frames out of such a log, and where it differs from what is known

  --listen HOST:PORT      where to listen; port 0 chooses a free one (default 127.0.0.1:8900)
  --bot ID:SECRET[:NAME]  a bot that may subscribe; repeat it for several
                          (with none, any credentials are accepted and the bot appears)
  --profile NAME          ${profileNames.join(", ")} (default observed)
  --set SWITCH=VALUE      sets one switch, such as quota=off; repeat it for several
  --latency MS            both ack latencies, without jitter; 0 answers at once
  --fault SPEC            arms a fault, such as ack-drop:cmd=ping,times=2; repeat it for several (see FAULTS.md)
  --seed N                repeats a run: ids, jitter and chance follow from it (default 1)
  --tls                   takes wss:// as well, under an authority of its own: see openws-gateway ca
  --tls-dir DIR           where that authority is kept
  --token TOKEN           what the API asks for; off loopback one is made and printed when none is given
  --json                  the first line on standard output is {"ready":true,"url":…,"console":…,"api":…}
  --help, --version

environment: OPENWS_GATEWAY_LISTEN, _BOT (several separated by spaces), _PROFILE, _SET and _FAULT (likewise), _LATENCY, _SEED, _TOKEN, _TLS=1, _TLS_DIR, _JSON=1;
a flag wins over its twin.

switches: ${Object.keys(switchTable).join(" ")}
`;

const options = {
  listen: { type: "string" },
  bot: { type: "string", multiple: true },
  profile: { type: "string" },
  set: { type: "string", multiple: true },
  latency: { type: "string" },
  fault: { type: "string", multiple: true },
  seed: { type: "string" },
  tls: { type: "boolean" },
  "tls-dir": { type: "string" },
  token: { type: "string" },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
  version: { type: "boolean" },
} satisfies ParseArgsConfig["options"];

const main = async (args: string[], env: NodeJS.ProcessEnv): Promise<number> => {
  const subcommand = commands[args[0] ?? ""];
  if (subcommand) return subcommand(args.slice(1), env);

  const { values, positionals } = readArgs({ args, options, allowPositionals: true });
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  if (values.version) {
    process.stdout.write(`openws-gateway ${version}\n`);
    return 0;
  }
  const [command = "serve", ...rest] = positionals;
  if (command !== "serve" || rest.length > 0)
    throw new UsageError(
      `there is no command "${positionals.join(" ")}"; there are serve, ${Object.keys(commands).join(", ")}`,
    );

  const twin = (name: string): string | undefined => env[`OPENWS_GATEWAY_${name}`] || undefined;
  const gateway = await startGateway(
    readOptions({
      listen: values.listen ?? twin("LISTEN") ?? "127.0.0.1:8900",
      bots: values.bot ?? words(twin("BOT")),
      profile: values.profile ?? twin("PROFILE"),
      set: values.set ?? words(twin("SET")),
      faults: values.fault ?? words(twin("FAULT")),
      latency: values.latency ?? twin("LATENCY"),
      seed: values.seed ?? twin("SEED"),
      token: values.token ?? twin("TOKEN"),
      tls: (values.tls ?? twin("TLS") === "1") && (values["tls-dir"] ?? twin("TLS_DIR") ?? defaultTlsFolder(env)),
    }),
  );
  // Listened for before "ready" is said: a script may send the signal the moment it reads it.
  const ending = signalled();
  announce(gateway, values.json ?? twin("JSON") === "1", values.bot ?? words(twin("BOT")));
  await ending;
  await gateway.stop();
  return 0;
};

interface Given {
  listen: string;
  bots: string[];
  profile: string | undefined;
  set: string[];
  faults: string[];
  latency: string | undefined;
  seed: string | undefined;
  token: string | undefined;
  /** The folder of the authority. */
  tls: string | false;
}

const readOptions = ({ listen, bots, profile, set, faults, latency, seed, token, tls }: Given): GatewayOptions => ({
  listen,
  bots: bots.map(readBot),
  ...(profile === undefined ? {} : { profile: readProfile(profile) }),
  switches: readSwitches(set),
  faults: faults.map(readFault),
  ...(latency === undefined ? {} : { latencyMs: readLatency(latency) }),
  ...(seed === undefined ? {} : { seed }),
  ...(token === undefined ? {} : { token }),
  ...(tls === false ? {} : { tls: { folder: tls } }),
});

const readBot = (text: string): BotConfig => {
  const [id, secret, ...name] = text.split(":");
  if (!id || !secret) throw new UsageError(`--bot must be ID:SECRET or ID:SECRET:NAME`);
  return name.length === 0 ? { id, secret } : { id, secret, name: name.join(":") };
};

const readProfile = (text: string): ProfileName => {
  const name = profileNames.find((known) => known === text);
  if (!name) throw new UsageError(`--profile must be one of ${profileNames.join(", ")}, not "${text}"`);
  return name;
};

const readSwitches = (texts: readonly string[]): SomeSwitches => {
  const switches: Record<string, unknown> = {};
  for (const text of texts) {
    const [name, value] = split(text);
    const shape = (Switches.shape as Record<string, (typeof Switches.shape)[keyof typeof Switches.shape]>)[name];
    if (!shape) throw new UsageError(`--set: there is no switch "${name}"; --help lists them`);
    const read = shape.safeParse(value);
    if (!read.success)
      throw new UsageError(
        `--set ${name}: "${value}" will not do; ${switchTable[name as keyof typeof switchTable].what}`,
      );
    switches[name] = read.data;
  }
  return switches;
};

const split = (text: string): [name: string, value: string] => {
  const at = text.indexOf("=");
  if (at < 1) throw new UsageError(`--set must be SWITCH=VALUE, not "${text}"`);
  return [text.slice(0, at), text.slice(at + 1)];
};

const readLatency = (text: string): number => {
  if (!/^\d{1,7}$/.test(text)) throw new UsageError(`--latency must be milliseconds such as 0 or 250, not "${text}"`);
  return Number(text);
};

const words = (text: string | undefined): string[] => text?.split(/\s+/).filter((word) => word !== "") ?? [];

const announce = ({ url, consoleUrl, apiUrl, token }: Gateway, json: boolean, bots: readonly string[]): void => {
  if (json) {
    process.stdout.write(
      `${JSON.stringify({ ready: true, url, console: consoleUrl, api: apiUrl, ...(token === undefined ? {} : { token }) })}\n`,
    );
    return;
  }
  const [id = "", secret = ""] = bots[0]?.split(":") ?? ["my-bot", "any-secret"];
  process.stdout.write(
    `ready\n  page  ${consoleUrl}\n  api   ${apiUrl}\n${token === undefined ? "" : `  token ${token}\n`}\n` +
      `for your bot${bots.length === 0 ? " (any id and secret will do)" : ""}:\n` +
      `  export WECOM_BOT_ID=${id}\n  export WECOM_BOT_SECRET=${secret}\n  export WECOM_BOT_WS_URL=${url}\n`,
  );
};

const signalled = (): Promise<void> =>
  new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });

// Whoever reads has had enough, as in `… | head`: no reason to complain.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});

const complain = (message: string): void => void process.stderr.write(`openws-gateway: ${message}\n`);

try {
  process.exitCode = await main(process.argv.slice(2), process.env);
} catch (error) {
  if (error instanceof UsageError || error instanceof RangeError) {
    complain(`${error.message} (see --help)`);
    process.exitCode = 2;
  } else if (error instanceof ApiError) {
    complain(error.message);
    process.exitCode = 1;
  } else if (error instanceof ListenError) {
    complain(error.message);
    process.exitCode = 2;
  } else throw error;
}
