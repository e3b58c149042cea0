/**
 * A client that others wrote, as a process: started against a gateway, listened to, ended by its id.
 *
 * The bot programs get their connection by environment, print the line "kicked" when they were kicked, and write whatever
 * their client logs to stderr. Nothing of that is interpreted; the last of it goes into the message of a failure.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { BotView, Gateway } from "../../src/index.ts";
import type { Command } from "./clients.ts";

/** A running bot program. */
export class Witness implements AsyncDisposable {
  /** Resolves when the bot is subscribed; rejects when the program ends before, or takes too long. */
  readonly subscribed: Promise<BotView>;
  /** Resolves when the program has ended, whatever ended it. */
  readonly exited: Promise<string>;
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  readonly #logs: string[] = [];
  readonly #listeners = new Set<() => void>();
  /** Where what the program trusts is kept. */
  readonly #folder: string | undefined;

  /** Starts a program as this bot. */
  constructor(command: Command, gateway: Gateway, bot: { id: string; secret: string }) {
    // A proxy that this machine needs for the registries would also be dialled for 127.0.0.1.
    const local = {
      NO_PROXY: "127.0.0.1,localhost",
      no_proxy: "127.0.0.1,localhost",
      PYTHONUNBUFFERED: "1",
      PYTHONDONTWRITEBYTECODE: "1",
    };
    const identity = { WECOM_BOT_ID: bot.id, WECOM_BOT_SECRET: bot.secret, WECOM_BOT_WS_URL: gateway.url };
    if (gateway.ca !== undefined) this.#folder = folderOfCertifi(gateway.ca);
    const trust = this.#folder === undefined ? {} : { PYTHONPATH: this.#folder };
    this.#child = spawn(command.file, [...command.args], {
      env: { ...process.env, ...local, ...identity, ...trust },
      stdio: ["ignore", "pipe", "pipe"],
    });
    createInterface({ input: this.#child.stdout! }).on("line", (line) => {
      this.#lines.push(line.trim());
      for (const listener of this.#listeners) listener();
    });
    createInterface({ input: this.#child.stderr! }).on("line", (line) => {
      this.#logs.push(line);
      if (this.#logs.length > maxLogLines) this.#logs.shift();
    });
    this.exited = new Promise((resolve) => {
      this.#child.on("error", (error) => resolve(`could not be started: ${error.message}`));
      this.#child.on("close", (code, signal) => resolve(`ended with ${signal ?? String(code)}`));
    });
    this.subscribed = this.orEnd(gateway.waitForBot(bot.id, 20_000));
    // Scenarios await it; if none does, that is no unhandled rejection.
    this.subscribed.catch(() => undefined);
  }

  /** What was awaited, or a rejection as soon as the program ends; the failure carries the program's last lines. */
  async orEnd<T>(awaited: Promise<T>): Promise<T> {
    const end = this.exited.then((how) => {
      throw new Error(`the bot program ${how}`);
    });
    try {
      return await Promise.race([awaited, end]);
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.logs}`, { cause: error });
    }
  }

  /** Resolves when the program has printed a line, or rejects after `waitMs`. */
  said(line: string, waitMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => finish(new Error(`"${line}" was not said within ${waitMs} ms\n${this.logs}`)),
        waitMs,
      );
      const look = (): void => void (this.#lines.includes(line) && finish());
      const finish = (error?: Error): void => {
        clearTimeout(timer);
        this.#listeners.delete(look);
        if (error) reject(error);
        else resolve();
      };
      this.#listeners.add(look);
      look();
    });
  }

  /** The last lines of stderr. */
  get logs(): string {
    return this.#logs.slice(-20).join("\n");
  }

  /** Ends the program if it still runs. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.exited;
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true });
  }
}

const maxLogLines = 500;

/**
 * What appending our certificate to certifi's bundle would do to the one environment, without changing it for the next
 * run: a folder for PYTHONPATH whose module certifi knows our certificate and no other.
 */
const folderOfCertifi = (ca: string): string => {
  const folder = mkdtempSync(join(tmpdir(), "openws-certifi-"));
  writeFileSync(join(folder, "ca.pem"), ca);
  writeFileSync(join(folder, "certifi.py"), `def where():\n    return ${JSON.stringify(join(folder, "ca.pem"))}\n`);
  return folder;
};
