/**
 * The suite against bots with one known defect each: the check of the defect has to fail, and nothing but what the defect
 * entails may fail with it. What passes a client that is broken, or fails one that is not, is a mistake of the suite.
 */
import { cases } from "./cases.ts";
import type { Case } from "./check.ts";
import { playOnce, type Played, type PlayOptions, type Spawn } from "./runner.ts";
import { defects, type Defect, type DefectRow } from "./defects.ts";

/** What one broken bot came to. */
export interface Trial {
  readonly defect: Defect | "none";
  /** Sentences; none where everything was as it should be. */
  readonly mistakes: readonly string[];
  readonly ms: number;
}

/** Cases that a defect elsewhere must not touch: five, of different topics, none of them long. */
export const canaries: readonly string[] = [
  "subscribing/subscribes-first",
  "frames/bears-binary",
  "reconnecting/comes-back-after-a-reset",
  "events/are-no-messages",
  "kick/lets-go",
];

/** How to try. */
export interface TrialOptions extends PlayOptions {
  /** Against every case, not only its own and the canaries. */
  readonly all?: boolean;
  /** Only defects whose name or check this takes. */
  readonly only?: (name: string, row: DefectRow) => boolean;
  /** Told after each defect. */
  readonly onTrial?: (trial: Trial) => void;
}

/** Tries the bots. `spawnWith` starts the plain bot with a defect, or correct. */
export const selfTest = async (
  spawnWith: (defect: Defect | "none") => Spawn,
  options: TrialOptions,
): Promise<readonly Trial[]> => {
  const rows = Object.entries(defects) as [Defect, DefectRow][];
  const wanted = rows.filter(([name, row]) => options.only?.(name, row) ?? true);
  const trials: Trial[] = [];
  const todo = wanted.flatMap(([defect, row]) =>
    casesFor(row, options.all === true).map((played) => ({ defect, row, played })),
  );
  const open = new Map<Defect, Played[]>(wanted.map(([defect]) => [defect, []]));
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < todo.length) {
      const { defect, row, played } = todo[next++]!;
      const gathered = open.get(defect)!;
      gathered.push(await playOnce({ played, spawn: spawnWith(defect) }, options));
      if (gathered.length < todo.filter((other) => other.defect === defect).length) continue;
      const trial = await judged(defect, row, gathered, spawnWith(defect), options);
      trials.push(trial);
      options.onTrial?.(trial);
    }
  };
  await Promise.all(Array.from({ length: options.atOnce }, worker));
  return trials;
};

/** The cases that judge the check of a defect, and the canaries. */
const casesFor = ({ fails }: DefectRow, all: boolean): Case[] =>
  cases.filter(({ name, checks }) => all || checks.includes(fails) || canaries.includes(name));

const judged = async (
  defect: Defect,
  { fails, entails = [] }: DefectRow,
  gathered: Played[],
  spawn: Spawn,
  options: PlayOptions,
): Promise<Trial> => {
  const failed = (played: Played): string[] =>
    played.findings.filter(({ verdict }) => verdict !== "pass").map(({ id }) => id);
  const lawful = (id: string): boolean => id === fails || entails.includes(id);
  const mistakes = gathered.flatMap(({ harness }) => (harness === undefined ? [] : [`the harness failed: ${harness}`]));
  const caught = (played: Played): boolean =>
    played.findings.some(({ id, verdict }) => id === fails && verdict === "fail");
  // Where a defect shows in a narrow window, a machine that was busy elsewhere may have passed it by: once more, too.
  if (!gathered.some(caught)) {
    const own = gathered.filter(({ played }) => played.checks.includes(fails));
    const again: Played[] = [];
    for (const { played } of own) again.push(await playOnce({ played, spawn }, options));
    if (!again.some(caught)) mistakes.push(`${fails} did not fail, nor when it was repeated`);
  }
  for (const played of gathered) {
    if (failed(played).every(lawful)) continue;
    // A machine that was busy elsewhere is no mistake of the suite; what fails twice is.
    const again = await playOnce({ played: played.played, spawn }, options);
    for (const { id, verdict, message } of again.findings)
      if (verdict !== "pass" && !lawful(id) && failed(played).includes(id))
        mistakes.push(`${id} came out as ${verdict}, too (${played.played.name}): ${message}`);
  }
  return { defect, mistakes, ms: gathered.reduce((sum, { ms }) => sum + ms, 0) };
};
