/**
 * What the sub-commands share: how arguments are read, in which language people are spoken to, how a failure is said.
 *
 * Standard output is for what was asked for, standard error for people. Exit codes: 0 done, 1 what was asked for did not
 * come about, 2 used wrongly.
 */
import { type ParseArgsConfig, parseArgs } from "node:util";
import { OpenwsError, UsageError } from "@openws/protocol";
import type { Sentence } from "../causes.ts";
import type { Environment } from "../config.ts";
import { MistakeError } from "../mistake.ts";

/** What the program is called. */
export const name = "openws-connector";

/** A sub-command. Resolves with the exit code; rejects with an `OpenwsError` for what is to be said in one sentence. */
export type Command = (args: readonly string[], env: Environment) => Promise<number>;

/** What was asked for did not come about: one sentence, exit code 1. */
export class FailedError extends OpenwsError {
  readonly sentence: Sentence;

  constructor(sentence: Sentence, options?: ErrorOptions) {
    super("failed", sentence.en, options);
    this.name = "FailedError";
    this.sentence = sentence;
  }
}

/** The language of the locale: Chinese where LC_ALL, LC_MESSAGES or LANG says zh, else English. */
export function languageOf(env: Environment): keyof Sentence {
  const locale = [env["LC_ALL"], env["LC_MESSAGES"], env["LANG"]].find((each) => each !== undefined && each !== "");
  return /^zh\b|^zh_/i.test(locale ?? "") ? "zh" : "en";
}

/** How a command that threw ends: its exit code, and what people read. `program` is what `--help` is to be tried of. */
export function failureOf(error: unknown, env: Environment, program: string): { code: 1 | 2; text: string } {
  // A port in use is the user's to change, as a flag is.
  const used = error instanceof UsageError || (error instanceof OpenwsError && error.code === "listen");
  const sentence = (error as { sentence?: Sentence } | undefined)?.sentence?.[languageOf(env)];
  const text = sentence ?? (error instanceof Error ? error.message : String(error));
  return { code: used ? 2 : 1, text: `${name}: ${text}\n${used ? `Try: ${program} --help\n` : ""}` };
}

/** `parseArgs`, whose complaint is one sentence. */
export function readArgs<const Config extends ParseArgsConfig>(config: Config): ReturnType<typeof parseArgs<Config>> {
  try {
    return parseArgs(config);
  } catch (error) {
    // parseArgs explains itself in several sentences; the first names the argument.
    const [first = ""] = String((error as Error).message).split(". ");
    throw new MistakeError({ en: first, zh: `参数有误：${first}` });
  }
}

/** Writes a line to standard output. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Writes a line to standard error. */
export function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}
