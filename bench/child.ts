/**
 * Processes of a bench that talk: one asks a question by its name, the other answers it with data. A process that hangs is
 * ended rather than left behind.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { setPriority } from "node:os";

/** After this it hangs, unless it is said to take longer. */
const usualMs = 180_000;

// A process of a bench ends with the bench: it holds its output open, and nobody else would ever end it.
process.once("disconnect", () => process.exit(0));

/** Starts `file` again as another process, as which `role` and with what `argument`; it has `longestMs` to live. */
export const start = async (file: string, role: string, argument = "", longestMs = usualMs): Promise<ChildProcess> => {
  const child = fork(file, [role, argument], { execArgv: ["--expose-gc"] });
  const timer = setTimeout(() => child.kill("SIGKILL"), longestMs);
  child.once("exit", () => clearTimeout(timer));
  await once(child, "spawn");
  return child;
};

/** The next thing of this name that the process says; rejects when it ends before. */
export const next = <T>(child: ChildProcess, name: string): Promise<T> =>
  new Promise((resolve, reject) => {
    const end = (code: number | null): void =>
      reject(new Error(`a process of the bench ended with ${code ?? "a signal"}`));
    const take = (message: Record<string, T>): void => {
      if (!(name in message)) return;
      child.off("message", take);
      child.off("exit", end);
      resolve(message[name]!);
    };
    child.on("message", take);
    child.once("exit", end);
  });

/** Asks the process, and waits for its answer. */
export const ask = <T>(child: ChildProcess, question: string, about?: unknown): Promise<T> => {
  const answered = next<T>(child, question);
  child.send({ ask: question, about });
  return answered;
};

/** In the process that was started: how a question is answered. */
export const answer = <About = undefined>(question: string, made: (about: About) => unknown): void => {
  process.on("message", ({ ask: asked, about }: { ask?: string; about?: About }) => {
    if (asked === question) void Promise.resolve(made(about as About)).then((result) => say(question, result));
  });
};

/** In the process that was started: says something unasked. */
export const say = (name: string, what: unknown = true): void => void process.send!({ [name]: what ?? null });

/** Ends processes. */
export const stop = async (...children: readonly ChildProcess[]): Promise<void> => {
  await Promise.all(
    children.map(async (child) => {
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    }),
  );
};

/** Keeps other work of the machine out of the figures, where the system lets us. */
export const hurry = (): void => {
  try {
    setPriority(-15);
  } catch {
    return; // Only a privileged user may; the ratios bear it.
  }
};

/** Microseconds of processor time that this process has taken, its threads included. */
export const cpuMicros = (): number => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

/** Bytes of this process after a collection: resident, and what JavaScript holds. */
export interface Memory {
  readonly rss: number;
  readonly heap: number;
  readonly held: number;
}

/** Collects garbage, and measures. */
export const memory = async (): Promise<Memory> => {
  // Twice, with a turn between: what the first collection released is gone after the second.
  for (let turn = 0; turn < 2; turn++) {
    globalThis.gc?.();
    await passed(100);
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  return { rss, heap: heapUsed, held: heapUsed + external };
};

/** Waits. */
export const passed = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
