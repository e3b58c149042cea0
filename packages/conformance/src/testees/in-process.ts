/**
 * A testee within this process, for clients in JavaScript that are judged in a test run.
 *
 * What it does to the process (an uncaught exception, a loop without end) it does to the suite: a program of its own is safer.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Prompter } from "../prompter.ts";
import type { Client } from "../stage.ts";
import type { Answer, Given, Op, Testee, TesteeClient } from "../testee.ts";
import { failed, operate } from "./speak.ts";
import { endMs } from "./spoken.ts";

/** One client of the testee, from its start to its end. */
export class InProcessTestee implements Client {
  readonly prompter: Prompter;
  readonly flooded = false;
  readonly output = "";
  readonly lastLines = "";
  end: Client["end"];
  readonly #testee: Testee;
  readonly #folder: string;
  #client: TesteeClient | undefined;
  #stopping: Promise<Answer> | undefined;

  constructor(testee: Testee, given: Omit<Given, "dir">) {
    this.#testee = testee;
    this.#folder = mkdtempSync(join(tmpdir(), "openws-testee-"));
    const dir = join(this.#folder, "files");
    mkdirSync(dir);
    this.prompter = new Prompter(
      ({ id, ...op }) =>
        void this.#perform(op)
          .catch(failed)
          .then((answer) => this.prompter.take({ what: "answer", id, answer })),
      { ...given, dir },
    );
    const { client, can, scaled } = testee;
    this.prompter.take({ what: "hello", hello: { hello: 1, client, can, scaled } });
  }

  terminate(): void {
    void this.#stop();
  }

  async stop(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, endMs);
    });
    await Promise.race([this.#stop(), late]);
    clearTimeout(timer);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #perform(op: Op): Promise<Answer> {
    if (op.op === "stop") return this.#stop();
    if (op.op !== "start") return operate(this.#client, op);
    this.#client = await this.#testee.start(op, (report) => void this.prompter.take({ what: "report", report }));
    return { outcome: "done" };
  }

  /** Once, however often it is asked: a stop is part of a case as well as its end. */
  #stop(): Promise<Answer> {
    this.#stopping ??= Promise.resolve(this.#client?.stop() ?? { outcome: "done" as const })
      .catch(failed)
      .then((answer) => {
        this.end = { how: "was stopped", code: 0, at: performance.now() };
        return answer;
      });
    return this.#stopping;
  }
}
