/** `openws-connector` as a process of its own, for tests that look at exit codes, output and signals. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const script = fileURLToPath(new URL("../src/cli.ts", import.meta.url));
/** What this runtime takes before a program's own arguments. */
const program = process.versions["deno"] === undefined ? [script] : ["run", "-A", script];

/** A process that runs. */
export interface Running extends AsyncDisposable {
  readonly child: ChildProcess;
  /** The address of its API. */
  readonly url: string;
  /** The key of its API, where it made one. */
  readonly apiKey: string | undefined;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Sends a signal and waits for the end; resolves with the exit code, or the signal's name. */
  end(signal?: NodeJS.Signals): Promise<number | string>;
}

/** What a process that ended left behind. */
export interface Ended {
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

/** The environment of the child: ours without anything that would be a setting. */
function environment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const clean = Object.entries(process.env).filter(([name]) => !/^(?:WECOM|OPENWS|LOG)_/.test(name));
  return { ...Object.fromEntries(clean), ...env };
}

function start(args: readonly string[], env: NodeJS.ProcessEnv) {
  const child = spawn(process.execPath, [...program, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: environment(env),
  });
  const said = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (said.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said.stderr += text));
  const ended = once(child, "close").then(([code, signal]) => (code ?? signal) as number | string);
  return { child, said, ended };
}

/** Starts it, and waits until it has said `ready` on either stream; for sub-commands that stay. */
export async function begin(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  ready: string,
): Promise<Omit<Running, "url" | "apiKey">> {
  const { child, said, ended } = start(args, env);
  const running = handle(child, said, ended);
  const over = ended.then((code) => {
    throw new Error(`it ended with ${code}: ${said.stderr}`);
  });
  while (!`${said.stdout}${said.stderr}`.includes(ready))
    await Promise.race([once(child.stdout, "data"), once(child.stderr, "data"), over]);
  over.catch(() => undefined);
  return running;
}

/** Runs it to its end. */
export async function run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const { said, ended } = start(args, env);
  return { code: await ended, ...said };
}

/** Runs `serve --echo --json` and waits for its first line. */
export function serve(args: readonly string[], env: NodeJS.ProcessEnv): Promise<Running> {
  return serveWhole(["--echo", ...args], env);
}

/** As {@link serve}, without `--echo`: the service with its API. */
export async function serveWhole(args: readonly string[], env: NodeJS.ProcessEnv): Promise<Running> {
  const all = ["serve", "--json", "--listen", "127.0.0.1:0", ...args];
  const { child, said, ended } = start(all, env);
  const line = once(createInterface({ input: child.stdout }), "line");
  const first = await Promise.race([line, ended]);
  if (!Array.isArray(first)) throw new Error(`it ended with ${first}: ${said.stderr}`);
  const { url, apiKey } = JSON.parse(first[0] as string) as { url: string; apiKey?: string };
  return { ...handle(child, said, ended), url, apiKey };
}

function handle(
  child: ChildProcess,
  said: { readonly stdout: string; readonly stderr: string },
  ended: Promise<number | string>,
): Omit<Running, "url" | "apiKey"> {
  const end = (signal: NodeJS.Signals = "SIGTERM"): Promise<number | string> => {
    // Not `child.kill`: Deno then says of every child that the signal ended it.
    if (child.exitCode === null && child.signalCode === null) process.kill(child.pid!, signal);
    return ended;
  };
  return {
    child,
    stdout: () => said.stdout,
    stderr: () => said.stderr,
    end,
    [Symbol.asyncDispose]: async () => {
      await end("SIGKILL");
    },
  };
}
