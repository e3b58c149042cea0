/**
 * The client under test as a process: started, listened to within bounds, and ended with everything it started.
 *
 * Where the platform has process groups it leads one of its own, so that what it starts ends with it. Its output is kept
 * within bounds. What its lines mean, and what it is told, is for others to know.
 */
import { spawn, type ChildProcess } from "node:child_process";

/** How a client is started. */
export interface ClientCommand {
  readonly file: string;
  readonly args: readonly string[];
  /** Added to the environment that the suite itself has. */
  readonly env?: Readonly<Record<string, string>>;
}

/** How a process ended. */
export interface End {
  /** For people: `ended with 0`, `was killed by SIGSEGV`, `could not be started: …`. */
  readonly how: string;
  /** False where there never was a process. */
  readonly started: boolean;
  readonly code: number | null;
  /** When, on the monotonic clock. */
  readonly at: number;
}

/** How long a process may take to end after SIGTERM, milliseconds of the wall clock: as ROBUST-3a says, and half a second. */
export const termMs = 5_500;
/** Of either stream, how much is kept: its first half and its newest half. */
const keptBytes = 256 * 1024;
/** A client that prints more than this is ended. */
const floodBytes = 64 * 1024 * 1024;

/** The groups that may still run, for the end of the harness itself. */
const running = new Set<Process>();

/** Kills whatever is left: to be called when the harness ends, however it ends. */
export const killAll = (): void => {
  for (const process of running) process.kill();
};

/** A line beyond this is not waited for any longer, and the process is ended: it floods. */
const longestLineBytes = 16 * 1024 * 1024;

/** How long the end of a process waits for what it said last; a child of its own may hold its output open for ever. */
const lastWordsMs = 100;

/** One process of the client. */
export class Process {
  /** Resolves when the process has ended, whatever ended it. */
  readonly exited: Promise<End>;
  /** Set once it has ended. */
  end: End | undefined;
  /** Set when it printed more than can be borne. */
  flooded = false;
  readonly #child: ChildProcess;
  readonly #kept: Buffer[] = [];
  #keptBytes = 0;
  #printedBytes = 0;
  readonly #onLine: ((line: string) => boolean) | undefined;
  /** What came of a line that has not ended yet. */
  #begun: Buffer[] = [];
  #begunBytes = 0;

  /**
   * Starts it. With `onLine` it has a standard input, for `write`, and each line of its standard output is offered to that
   * function, which says whether it took it; what it did not take is output as any other.
   */
  constructor(
    command: ClientCommand,
    env: Readonly<Record<string, string>>,
    onLine?: (line: string) => boolean,
    onOutputEnd?: () => void,
  ) {
    this.#onLine = onLine;
    this.#child = spawn(command.file, [...command.args], {
      // A proxy that this machine needs for other things would also be dialled for 127.0.0.1.
      env: {
        ...process.env,
        NO_PROXY: "127.0.0.1,localhost",
        no_proxy: "127.0.0.1,localhost",
        ...command.env,
        ...env,
      },
      stdio: [onLine === undefined ? "ignore" : "pipe", "pipe", "pipe"],
      detached: process.platform !== "win32",
      windowsHide: true,
    });
    running.add(this);
    const { stdin, stdout, stderr } = this.#child;
    stderr?.on("data", (chunk: Buffer) => this.#printed(chunk));
    stdout?.on("data", (chunk: Buffer) => (onLine === undefined ? this.#printed(chunk) : this.#lines(chunk)));
    if (onOutputEnd !== undefined) stdout?.on("end", onOutputEnd);
    // Whoever closed its standard input shows by its silence that it does not read.
    stdin?.on("error", () => undefined);
    this.exited = new Promise((resolve) => {
      const ended = (how: string, started: boolean, code: number | null, at = performance.now()): void => {
        if (this.end !== undefined) return;
        this.end = { how, started, code, at };
        resolve(this.end);
      };
      this.#child.on("error", (error) => {
        if (this.#child.pid === undefined) ended(`could not be started: ${error.message}`, false, null);
      });
      this.#child.on("exit", (code, signal) => {
        const how = signal === null ? `ended with ${code ?? "nothing"}` : `was killed by ${signal}`;
        const at = performance.now();
        const tell = (): void => ended(how, true, code, at);
        const timer = setTimeout(tell, lastWordsMs);
        this.#child.once("close", () => {
          clearTimeout(timer);
          tell();
        });
      });
    });
  }

  /** What it printed, both streams as they came; of a talkative one its beginning and its newest part. */
  get output(): string {
    return Buffer.concat(this.#kept).toString();
  }

  /** The last lines that it printed. */
  get lastLines(): string {
    return this.output.trimEnd().split("\n").slice(-8).join("\n").slice(-2_000);
  }

  /** Writes to its standard input. */
  write(text: string): void {
    this.#child.stdin?.write(text);
  }

  /** Ends its standard input. */
  endInput(): void {
    this.#child.stdin?.end();
  }

  /** Asks it to end. */
  terminate(): void {
    this.#signal("SIGTERM");
  }

  /** Ends it, and whatever it started. */
  kill(): void {
    this.#signal("SIGKILL");
  }

  /** Asks it to end, waits, and then ends it. Resolves with how it ended; nothing of it runs any more. */
  async stop(graceMs = termMs): Promise<End> {
    if (this.end === undefined) {
      this.terminate();
      const timer = setTimeout(() => this.kill(), graceMs);
      await this.exited;
      clearTimeout(timer);
    }
    // The process that was started may be a shell whose children outlive it.
    this.kill();
    running.delete(this);
    return this.exited;
  }

  #lines(chunk: Buffer): void {
    let from = 0;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      const line = Buffer.concat([...this.#begun.splice(0), chunk.subarray(from, at)]);
      this.#begunBytes = 0;
      from = at + 1;
      if (this.#onLine?.(line.toString()) !== true) this.#printed(Buffer.concat([line, newline]));
    }
    this.#begun.push(chunk.subarray(from));
    this.#begunBytes += chunk.length - from;
    if (this.#begunBytes <= longestLineBytes) return;
    this.flooded = true;
    this.kill();
  }

  #printed(chunk: Buffer): void {
    this.#printedBytes += chunk.length;
    if (this.#printedBytes > floodBytes) {
      this.flooded = true;
      this.kill();
      return;
    }
    this.#kept.push(chunk);
    this.#keptBytes += chunk.length;
    while (this.#keptBytes > keptBytes && this.#kept.length > 2) {
      // The beginning says how it was started; what is in the middle says least.
      const [dropped] = this.#kept.splice(this.#kept.length >> 1, 1);
      this.#keptBytes -= dropped!.length;
    }
  }

  #signal(signal: "SIGTERM" | "SIGKILL"): void {
    const { pid } = this.#child;
    if (pid === undefined) return;
    try {
      if (process.platform === "win32") this.#child.kill(signal);
      else process.kill(-pid, signal);
    } catch {
      // No such group: all of it has ended.
    }
  }
}

const newline = Buffer.from("\n");
