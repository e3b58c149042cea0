/**
 * What the sub-commands share: how arguments are read, in which language people are spoken to, how a failure is said.
 *
 * Standard output is for what was asked for, standard error for people. Exit codes: 0 done, 1 what was asked for did not
 * come about, 2 used wrongly.
 */
import { type ParseArgsConfig, parseArgs } from "node:util";
import { OpenwsError } from "@openws/protocol";
import type { Sentence } from "../causes.ts";
import type { Environment } from "../config.ts";
import { MistakeError } from "../mistake.ts";

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

/** An error's sentence in a language; errors that know one only are said in that. */
export function said(error: unknown, language: keyof Sentence): string {
  const sentence = (error as { sentence?: Sentence } | undefined)?.sentence;
  return sentence?.[language] ?? (error instanceof Error ? error.message : String(error));
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
