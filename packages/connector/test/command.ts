/** The sub-commands within this process: as quick as a call, with what they print and how they would exit. */
import { AsyncLocalStorage } from "node:async_hooks";
import { type Command, failureOf } from "../src/cli/command.ts";
import { doctor } from "../src/cli/doctor.ts";
import { explain } from "../src/cli/explain.ts";
import { readyz } from "../src/cli/readyz.ts";
import { send } from "../src/cli/send.ts";
import type { Ended } from "./process.ts";

const commands: Readonly<Record<string, Command>> = { doctor, explain, readyz, send };

/** Whose output it is, of commands that run at the same time. */
const running = new AsyncLocalStorage<{ stdout: string; stderr: string }>();

for (const name of ["stdout", "stderr"] as const) {
  const stream = process[name];
  const write = stream.write.bind(stream);
  stream.write = (text: string | Uint8Array): boolean => {
    const said = running.getStore();
    if (said === undefined) return write(text);
    said[name] += text.toString();
    return true;
  };
}

/** Runs a sub-command to its end, as the command line would. */
export async function command(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
  const said = { stdout: "", stderr: "" };
  const [name = "", ...rest] = args;
  const code = await running.run(said, async () => {
    try {
      return await commands[name]!(rest, env);
    } catch (error) {
      const failure = failureOf(error, env, `openws-connector ${name}`);
      said.stderr += failure.text;
      return failure.code;
    }
  });
  return { code, ...said };
}
