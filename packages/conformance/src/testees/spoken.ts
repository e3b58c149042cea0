/**
 * A testee as a program: JSON lines through its standard input and output, around a process and a prompter.
 *
 * Decides when its standard input ends, and how long it may take to say hello. Whatever it does, `stop` leaves nothing of it:
 * neither processes nor the folder that the client was given.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Prompter } from "../prompter.ts";
import type { Client } from "../stage.ts";
import { readLine } from "./line.ts";
import { environmentOf, type Given, type Hello } from "../testee.ts";
import { Process, type ClientCommand, type End } from "./process.ts";

/** How long a testee may take from its start to its hello. Milliseconds of the wall clock. */
export const helloMs = 15_000;
/** How long it may take to end after its standard input has, and how long its client may take to stop before that. */
export const endMs = 5_000;

/** One testee, from its start to its end. */
export class SpokenTestee implements Client {
  readonly prompter: Prompter;
  readonly #process: Process;
  /** Holds the client's folder and nothing else, so that what is written beside it is seen. */
  readonly #folder: string;
  readonly #helloTimer: NodeJS.Timeout;
  #ending: NodeJS.Timeout | undefined;

  /** Without `given` it is a probe: it says hello, and no client is started. */
  constructor(command: ClientCommand, given?: Omit<Given, "dir">) {
    this.#folder = mkdtempSync(join(tmpdir(), "openws-testee-"));
    const dir = join(this.#folder, "files");
    mkdirSync(dir);
    this.prompter = new Prompter(
      (line) => this.write(`${JSON.stringify(line)}\n`),
      given === undefined ? undefined : { ...given, dir },
    );
    this.#process = new Process(
      command,
      given === undefined ? {} : environmentOf(given),
      (line) => this.prompter.take(readLine(line)),
      () => {
        // A process that ends closes its output, too; that it does is told by then.
        setTimeout(() => {
          if (this.#process.end === undefined) this.prompter.broke ??= "it closed its standard output, and lives on";
        }, 200).unref();
      },
    );
    this.#helloTimer = setTimeout(() => {
      if (this.prompter.hello === undefined) this.prompter.broke ??= `it did not say hello within ${helloMs} ms`;
    }, helloMs);
  }

  get end(): End | undefined {
    return this.#process.end;
  }

  get flooded(): boolean {
    return this.#process.flooded;
  }

  /** What it printed besides the protocol. */
  get output(): string {
    return this.#process.output;
  }

  get lastLines(): string {
    return this.#process.lastLines;
  }

  /** Sends a line as it is: an operation that does not exist, say. */
  write(text: string): void {
    this.#process.write(text);
  }

  terminate(): void {
    if (this.#ending !== undefined) return;
    const asked = this.prompter.ask({ op: "stop" });
    const over = performance.now() + endMs;
    this.#ending = setInterval(() => {
      if (asked.answer === undefined && performance.now() < over) return;
      clearInterval(this.#ending);
      this.#process.endInput();
    }, 10);
  }

  async stop(): Promise<End> {
    clearTimeout(this.#helloTimer);
    clearInterval(this.#ending);
    this.#process.endInput();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, endMs);
    });
    await Promise.race([this.#process.exited, late]);
    clearTimeout(timer);
    const end = await this.#process.stop();
    rmSync(this.#folder, { recursive: true, force: true });
    return end;
  }
}

/** What a probe came to: the hello, or a sentence about why there is none. */
export type Probed = { readonly hello: Hello } | { readonly problem: string };

/** Starts a testee to hear its hello, and to see that it knows what it does not know. */
export const probe = async (command: ClientCommand): Promise<Probed> => {
  const testee = new SpokenTestee(command);
  const { prompter } = testee;
  let unsupported = false;
  prompter.expectUnsupported(0, () => {
    unsupported = true;
  });
  const until = async (found: () => boolean, withinMs: number): Promise<void> => {
    const over = performance.now() + withinMs;
    while (!found() && prompter.broke === undefined && testee.end === undefined && performance.now() < over)
      await new Promise<void>((resolve) => {
        setTimeout(resolve, 10);
      });
  };
  const said = (what: string): Probed => ({
    problem: `${what}${testee.lastLines === "" ? "" : `; it said last:\n${testee.lastLines}`}`,
  });
  try {
    await until(() => prompter.hello !== undefined, helloMs);
    const { hello } = prompter;
    if (hello === undefined)
      return said(
        prompter.broke ?? (testee.end === undefined ? "it said no hello" : `it ${testee.end.how} without a hello`),
      );
    testee.write('{"id":0,"op":"no-such-operation"}\n');
    await until(() => unsupported, endMs);
    if (!unsupported)
      return said(
        prompter.broke ?? 'it did not answer an operation that does not exist with {"id":0,"outcome":"unsupported"}',
      );
    return { hello };
  } finally {
    await testee.stop();
  }
};
