// Runs a bot that was written by others, on a library that was written by others, against a gateway of ours. What it
// says is kept, to be shown when a test fails.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type Gateway, startGateway } from "@openws/mock-gateway";

const BOT = { id: "witness", secret: "a-secret-of-the-witness" };

/** A gateway with one bot, and the process that is that bot. */
export interface Witness extends AsyncDisposable {
  readonly gateway: Gateway;
  readonly bot: string;
  /** What the process has printed so far, both streams. */
  readonly output: () => string;
}

/**
 * Starts a gateway and a bot, and waits until the bot has subscribed.
 *
 * @param front makes the address the bot dials out of the gateway's, where the client cannot speak plain WebSocket
 * @throws when it does not subscribe within 20 s, with what it printed
 */
export async function startWitness(
  command: readonly [string, ...string[]],
  env: NodeJS.ProcessEnv = {},
  front: (url: string) => string | Promise<string> = (url) => url,
): Promise<Witness> {
  const gateway = await startGateway({ bots: [BOT], latencyMs: 0 });
  const [program, ...args] = command;
  const child = spawn(program, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...process.env,
      WECOM_BOT_ID: BOT.id,
      WECOM_BOT_SECRET: BOT.secret,
      WECOM_BOT_WS_URL: await front(gateway.url),
      // Several clients dial even loopback through a proxy when the environment names one.
      NO_PROXY: "127.0.0.1",
      no_proxy: "127.0.0.1",
      PYTHONUNBUFFERED: "1",
      ...env,
    },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => (output += text));

  const stop = async () => {
    await ended(child);
    await gateway.stop();
  };
  try {
    await Promise.race([gateway.waitForBot(BOT.id, 20_000), failed(child)]);
  } catch (error) {
    await stop();
    throw new Error(`${program} did not subscribe; it printed:\n${output}`, { cause: error });
  }
  return { gateway, bot: BOT.id, output: () => output, [Symbol.asyncDispose]: stop };
}

async function failed(child: ChildProcess): Promise<never> {
  const [code] = (await once(child, "exit")) as [number | null];
  throw new Error(`it ended with ${code ?? "a signal"}`);
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}
