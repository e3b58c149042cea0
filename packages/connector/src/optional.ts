/** What is loaded only by whoever uses it: an installation has the clients of the servers that it speaks to, and no others. */
import type { Sentence } from "./causes.ts";
import { MistakeError } from "./mistake.ts";

/** Loads what is optional. Rejects with `MistakeError` where it is not installed; `sentence` says what to install. */
export async function installed<Loaded>(load: () => Promise<Loaded>, sentence: Sentence): Promise<Loaded> {
  try {
    return await load();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== "ERR_MODULE_NOT_FOUND" && code !== "MODULE_NOT_FOUND") throw cause;
    throw new MistakeError(sentence, { cause });
  }
}
