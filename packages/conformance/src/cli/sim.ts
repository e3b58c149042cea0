/**
 * `openws-conformance sim`: tries the core on fault schedules in virtual time until one fails or enough have held.
 *
 * Exit codes: 0 all held · 1 an invariant is broken; the replay line is the first thing to copy · 2 usage.
 */
import { parseArgs } from "node:util";
import { campaign, replay } from "../sim/campaign.ts";
import type { Campaign } from "../sim/campaign.ts";

/** Shown by `sim --help`. */
export const simHelp = `openws-conformance sim: the core against the mock gateway over a faulty wire, in virtual time

Usage: openws-conformance sim [--runs N] [--seed N] [--minutes N]
       openws-conformance sim --seed N --path PATH

  --runs N      how many schedules; each is 15 virtual minutes or more (default 10000)
  --seed N      the first schedule's seed, the others count on from it (default: another each time, printed)
  --minutes N   stop after so many minutes, even if --runs are not done
  --path PATH   replay one failure, as its report says

Exit codes: 0 every invariant held, 1 one is broken, 2 wrong usage.
`;

/** After so many schedules a line on standard error says that it goes on. */
const progressEvery = 25_000;

/** Runs the sub-command. Returns the exit code; throws what parseArgs throws for arguments it does not know. */
export function sim(args: string[]): number {
  const { values } = parseArgs({
    args,
    options: {
      runs: { type: "string", default: "10000" },
      seed: { type: "string" },
      minutes: { type: "string" },
      path: { type: "string" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) {
    process.stdout.write(simHelp);
    return 0;
  }
  const seed = values.seed === undefined ? Date.now() % 2 ** 31 : whole("seed", values.seed);
  if (values.path !== undefined) return again(seed, values.path);

  const runs = whole("runs", values.runs);
  const until = values.minutes === undefined ? Infinity : performance.now() + whole("minutes", values.minutes) * 60_000;
  const began = performance.now();
  const cpu = process.cpuUsage();
  let asked = 0;
  const goOn = (): boolean => {
    if (++asked % progressEvery === 0)
      process.stderr.write(`${asked} schedules, the last from seed ${seed + asked - 1}\n`);
    return performance.now() < until;
  };
  const result = campaign({ seed, runs, goOn });
  const { user, system } = process.cpuUsage(cpu);
  process.stdout.write(`${figures(seed, result, (performance.now() - began) / 1_000, (user + system) / 1e6)}\n`);
  if (result.failure === undefined) return 0;
  process.stdout.write(`\n${result.failure.report}\n`);
  return 1;
}

function again(seed: number, path: string): number {
  const failure = replay(seed, path);
  if (failure === undefined) {
    process.stdout.write(`seed ${seed}, path ${path}: every invariant holds\n`);
    return 0;
  }
  process.stdout.write(`${failure.report}\n`);
  return 1;
}

/** What was tried, in one line. */
function figures(
  seed: number,
  { schedules, virtualMs, faults, answers, frames }: Campaign,
  wallS: number,
  cpuS: number,
): string {
  const each = (sum: number): string => (sum / Math.max(1, schedules)).toFixed(1);
  return [
    `${schedules} schedules from seed ${seed}`,
    `${Math.round(virtualMs / 3_600_000)} virtual hours`,
    `each ${each(faults)} faults, ${each(answers)} answers, ${each(frames)} frames`,
    `${wallS.toFixed(1)} s (${Math.round(schedules / wallS)} a second), ${cpuS.toFixed(1)} s of CPU (${Math.round(schedules / cpuS)} a second)`,
  ].join(" · ");
}

function whole(name: string, text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new TypeError(`--${name} must be a whole number`);
  return Number(text);
}
