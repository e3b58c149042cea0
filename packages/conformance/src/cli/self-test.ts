/**
 * `openws-conformance self-test`: the suite against bots with one known defect each.
 *
 * Exit codes: 0 every defect was found and nothing else · 1 not so · 2 usage.
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { cases } from "../cases.ts";
import { globMatches, lanes } from "../check.ts";
import { run, type Spawn } from "../runner.ts";
import { canaries, selfTest } from "../selftest.ts";
import { environmentOf } from "../testee.ts";
import { Process } from "../testees/process.ts";
import { SpokenTestee } from "../testees/spoken.ts";
import type { Defect } from "../defects.ts";
import { compileOnce, endOnSignal, whole } from "./process.ts";

/** Shown by `self-test --help`. */
export const selfTestHelp = `openws-conformance self-test: is the suite right? It judges bots with one known defect each

Usage: openws-conformance self-test [--all] [--run GLOB] [--at-once N]

Each broken bot is played its own check and ${canaries.length} others, which it must pass; first the correct bot is played everything.

  --all          each broken bot is played everything
  --run GLOB     only the defects whose name or check matches
  --at-once N    how many cases at once (default 6)

Exit codes: 0 each defect was found and nothing else, 1 not so, 2 wrong usage.
`;

// Beside the sources they are .ts, beside what is published .js, as this file is.
const program = (name: string): string =>
  fileURLToPath(new URL(`../testees/${name}${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url));

/** Starts the plain bot with a defect, or correct: as a bot, or as a testee where the case needs one. */
export const plainBot =
  (defect: Defect | "none"): Spawn =>
  (given, { needs }) => {
    const env: Record<string, string> = defect === "none" ? {} : { OPENWS_TESTEE_DEFECT: defect };
    return needs === undefined
      ? new Process({ file: process.execPath, args: [program("plain-bot")], env }, environmentOf(given))
      : new SpokenTestee({ file: process.execPath, args: [program("plain-testee")], env }, given);
  };

/** Runs the sub-command. Returns the exit code. */
export async function selfTestCommand(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      all: { type: "boolean", default: false },
      run: { type: "string" },
      "at-once": { type: "string", default: "6" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) {
    process.stdout.write(selfTestHelp);
    return 0;
  }
  const options = { lane: lanes.scaled, seed: 1, atOnce: Math.max(1, whole("at-once", values["at-once"])) };
  endOnSignal();
  compileOnce();
  let fine = 0;
  let failed = 0;
  const tell = (name: string, mistakes: readonly string[]): void => {
    if (mistakes.length === 0) fine++;
    else failed++;
    process.stdout.write(
      `${mistakes.length === 0 ? "ok  " : "FAIL"} ${name}\n${mistakes.map((one) => `     ${one}\n`).join("")}`,
    );
  };
  const glob = values.run;
  if (glob === undefined) {
    const { outcomes, harness, notStarted } = await run(cases, plainBot("none"), options);
    const untested = outcomes.filter(({ verdict }) => verdict === "untested").map(({ id }) => id);
    // Of any client that is an answer, and not repeated. This one was kept from speaking by a busy machine.
    const again = cases.filter(({ checks }) => checks.some((id) => untested.includes(id)));
    const second = again.length === 0 ? [] : (await run(again, plainBot("none"), { ...options, atOnce: 1 })).outcomes;
    const passed = new Set(second.filter(({ verdict }) => verdict === "pass").map(({ id }) => id));
    const wrong = outcomes.filter(
      ({ id, verdict }) => verdict !== "pass" && verdict !== "flaky" && !(verdict === "untested" && passed.has(id)),
    );
    tell("the correct bot", [
      ...wrong.map(({ id, verdict, message }) => `${id} came out as ${verdict}: ${message}`),
      ...harness,
      ...(notStarted === undefined ? [] : [notStarted]),
    ]);
  }
  await selfTest(plainBot, {
    ...options,
    all: values.all,
    only: (name, { fails }) => glob === undefined || globMatches(glob, name) || globMatches(glob, fails),
    onTrial: ({ defect, mistakes }) => tell(defect, mistakes),
  });
  process.stdout.write(`\n${fine} passed, ${failed} failed\n`);
  return failed === 0 ? 0 : 1;
}
