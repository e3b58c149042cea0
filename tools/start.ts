/**
 * `npm start`: the mock gateway with its page, and an echo bot joined to it through the real connector, each as a user
 * would run it. Prints the page's address; ends both when it is interrupted, or when either ends by itself.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

const help = `npm start: the mock gateway, its page, and an echo bot to talk to

  npm start -- --listen HOST:PORT    where the page and the gateway listen (127.0.0.1:8900; port 0 takes a free one)
`;

const bot = { id: "echo-bot", secret: "echo-secret", name: "Echo Bot" };

function options(): { listen: string } {
  try {
    const { values } = parseArgs({
      options: { listen: { type: "string", default: "127.0.0.1:8900" }, help: { type: "boolean", short: "h" } },
    });
    if (values.help === true) {
      process.stdout.write(help);
      process.exit(0);
    }
    return values;
  } catch (error) {
    const [sentence = ""] = (error as Error).message.split(". ");
    process.stderr.write(`npm start: ${sentence}\n${help}`);
    process.exit(2);
  }
}

const { listen } = options();
const children: ChildProcess[] = [];

/** The first line that a binary prints with --json; the connector has neither page nor such an API. */
interface Ready {
  readonly url: string;
  readonly console: string;
  readonly api: string;
}

/** Runs one of the repository's binaries on this very Node, and resolves with the first line it prints. */
function run(script: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<Ready> {
  const child = spawn(process.execPath, [script, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...env },
  });
  children.push(child);
  const { promise, resolve, reject } = Promise.withResolvers<Ready>();
  createInterface({ input: child.stdout }).once("line", (line) => resolve(JSON.parse(line) as Ready));
  child.once("exit", (code) => {
    reject(new Error(`${script} ended`));
    end(code ?? 1);
  });
  return promise;
}

/** Ends the bot first, then the gateway, so that the bot does not report a loss that is none. */
let ending = false;
function end(code: number): void {
  if (ending) return;
  ending = true;
  process.exitCode = code;
  const next = (): void => {
    const child = children.pop();
    if (child === undefined) return;
    if (child.exitCode !== null || child.signalCode !== null) next();
    else child.once("exit", next).kill("SIGTERM");
  };
  next();
}

process.on("SIGINT", () => end(0));
process.on("SIGTERM", () => end(0));

// The shell in which npm runs a script dies of SIGTERM without passing it on; whoever ends `npm start` means all of it.
const parent = process.ppid;
setInterval(() => {
  if (process.ppid !== parent) end(0);
}, 500).unref();

try {
  const gateway = await run("packages/mock-gateway/src/cli.ts", [
    "--json",
    "--listen",
    listen,
    "--bot",
    `${bot.id}:${bot.secret}:${bot.name}`,
  ]);
  await run("packages/connector/src/cli.ts", ["serve", "--echo", "--json", "--listen", "127.0.0.1:0"], {
    WECOM_BOT_ID: bot.id,
    WECOM_BOT_SECRET: bot.secret,
    WECOM_BOT_NAME: bot.name,
    WECOM_BOT_WS_URL: gateway.url,
    LOG_FORMAT: "pretty",
  });
  // Whoever is quick with the address would find the bot offline.
  await fetch(`${gateway.api}/bots/${bot.id}?wait=10000`);
  process.stdout.write(`
Talk to the echo bot:  ${gateway.console}
和回声机器人聊天：     ${gateway.console}

A bot of your own connects with:
  WECOM_BOT_WS_URL=${gateway.url}
  WECOM_BOT_ID=${bot.id}
  WECOM_BOT_SECRET=${bot.secret}
(the echo bot is kicked then, as on the real gateway: one connection a bot)

Ctrl-C ends all.
`);
} catch {
  // The child that failed has said why; `end` sets the exit code.
}
