/** A user's own mistake in a setting or an argument, said in both languages. */
import { UsageError } from "@openws/protocol";
import type { Sentence } from "./causes.ts";

/** As `UsageError`, with the sentence in both languages; `message` is the English one. Never holds a secret. */
export class MistakeError extends UsageError {
  readonly sentence: Sentence;

  constructor(sentence: Sentence, options: { path?: string | undefined } & ErrorOptions = {}) {
    super(sentence.en, options);
    this.name = "MistakeError";
    this.sentence = sentence;
  }
}
