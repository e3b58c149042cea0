/** How the sub-commands read their arguments, and how they say that they were called wrongly. */
import { parseArgs, type ParseArgsConfig } from "node:util";

/** The command line was wrong; the message is the one sentence the user gets. Exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** A sub-command. Returns the exit code; standard output is for scripts, standard error for people. */
export type Command = (args: string[], env: NodeJS.ProcessEnv) => Promise<number>;

/** `parseArgs` whose complaint is a {@link UsageError} of one sentence. */
export const readArgs = <const Config extends ParseArgsConfig>(
  config: Config,
): ReturnType<typeof parseArgs<Config>> => {
  try {
    return parseArgs(config);
  } catch (error) {
    // parseArgs explains how to pass positionals that look like flags; the first sentence is the one that helps.
    throw new UsageError((error as Error).message.split(". ", 1).join(), { cause: error });
  }
};
