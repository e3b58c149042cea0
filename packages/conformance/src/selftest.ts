/**
 * The suite against bots with one known defect each: the check of the defect has to fail, and nothing but what the defect
 * entails may fail with it. What passes a client that is broken, or fails one that is not, is a mistake of the suite.
 */
import { cases } from "./cases.ts";
import type { Case } from "./check.ts";
import { playEach, type Played, type PlayOptions, type Spawn } from "./runner.ts";
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
  const wanted = (Object.entries(defects) as [Defect, DefectRow][]).filter(
    ([name, row]) => options.only?.(name, row) ?? true,
  );
  const trials: Trial[] = [];
  const ended = (trial: Trial): void => {
    trials.push(trial);
    options.onTrial?.(trial);
  };
  const books = wanted.map(([defect, row]) => new Book(defect, row, casesFor(row, options.all === true).length));
  const todo = books.flatMap((book) =>
    casesFor(book.row, options.all === true).map((played) => ({ book, played, spawn: spawnWith(book.defect) })),
  );
  await playEach(todo, { ...options, startsAtOnce }, (played, at) => {
    const { book } = todo[at]!;
    book.note(played);
    if (book.complete && book.doubts.length === 0) ended(book.trial());
  });
  // A machine that was busy elsewhere is no mistake of the suite; what comes out so twice is. By now little else is played.
  const doubtful = books.filter(({ doubts }) => doubts.length > 0);
  const again = doubtful.flatMap((book) =>
    book.doubts.map((played) => ({ book, played, spawn: spawnWith(book.defect) })),
  );
  const left = new Map(doubtful.map((book) => [book, book.doubts.length]));
  await playEach(again, { ...options, atOnce: repeatedAtOnce }, (played, at) => {
    const { book } = again[at]!;
    book.noteAgain(played);
    left.set(book, left.get(book)! - 1);
    if (left.get(book) === 0) ended(book.trial());
  });
  return trials;
};

/**
 * What one broken bot has come to so far. It keeps verdicts alone: the wire logs of a hundred and sixty cases, uploads among
 * them, for as many bots are more than a machine has room for.
 */
class Book {
  readonly defect: Defect;
  readonly row: DefectRow;
  /** What came out as it should not have: to be played once more. */
  readonly doubts: Case[] = [];
  readonly #due: number;
  readonly #own: Case[] = [];
  readonly #failed = new Map<Case, ReadonlySet<string>>();
  readonly #mistakes: string[] = [];
  #caught = false;
  #noted = 0;
  #ms = 0;

  /** Of `due` cases. */
  constructor(defect: Defect, row: DefectRow, due: number) {
    this.defect = defect;
    this.row = row;
    this.#due = due;
  }

  /** Whether every case was played once; `doubts` is final then. */
  get complete(): boolean {
    return this.#noted === this.#due;
  }

  /** Takes what a case came to. */
  note(played: Played): void {
    this.#count(played);
    this.#noted++;
    const failed = played.findings.filter(({ verdict }) => verdict !== "pass").map(({ id }) => id);
    this.#failed.set(played.played, new Set(failed));
    if (played.played.checks.includes(this.row.fails)) this.#own.push(played.played);
    if (!failed.every((id) => this.#lawful(id))) this.doubts.push(played.played);
    // Where a defect shows in a narrow window, a busy machine may have passed it by.
    if (this.complete && !this.#caught) this.doubts.push(...this.#own.filter((own) => !this.doubts.includes(own)));
  }

  /** Takes what a doubtful case came to when it was played again. */
  noteAgain(played: Played): void {
    this.#count(played);
    for (const { id, verdict, message } of played.findings)
      if (verdict !== "pass" && !this.#lawful(id) && this.#failed.get(played.played)?.has(id) === true)
        this.#mistakes.push(`${id} came out as ${verdict}, too (${played.played.name}): ${message}`);
  }

  /** What it all came to. */
  trial(): Trial {
    const missed = this.#caught ? [] : [`${this.row.fails} did not fail, nor when it was repeated`];
    return { defect: this.defect, mistakes: [...missed, ...this.#mistakes], ms: this.#ms };
  }

  #count({ findings, harness, ms }: Played): void {
    if (harness !== undefined) this.#mistakes.push(`the harness failed: ${harness}`);
    if (findings.some(({ id, verdict }) => id === this.row.fails && verdict === "fail")) this.#caught = true;
    this.#ms += ms;
  }

  #lawful(id: string): boolean {
    return id === this.row.fails || this.row.entails?.includes(id) === true;
  }
}

/** The cases that judge the check of a defect, and the canaries. */
const casesFor = ({ fails }: DefectRow, all: boolean): Case[] =>
  cases.filter(({ name, checks }) => all || checks.includes(fails) || canaries.includes(name));

/** How many bots may be starting at once: one by one, the starts of a thousand would take longer than what they play. */
const startsAtOnce = 4;

/** How many doubtful cases are played again at once. */
const repeatedAtOnce = 2;
