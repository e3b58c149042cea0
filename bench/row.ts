/** What a bench says. */

/** One measured figure; where it is compared, both sides come from the same run. */
export interface Row {
  readonly what: string;
  readonly unit: string;
  readonly ours: number;
  /** The other side's figure, and who that is. */
  readonly theirs?: number;
  readonly against?: string;
  /** Ours over theirs. */
  readonly ratio?: number;
  /** As in "≤ 2×". */
  readonly aim: string;
  readonly met: boolean;
}

/** Says it: one JSON line on standard output. */
export const say = (row: Row): void => void process.stdout.write(`${JSON.stringify(row)}\n`);

/** The middle one; of an even number the lower of the two. */
export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[(values.length - 1) >> 1]!;
