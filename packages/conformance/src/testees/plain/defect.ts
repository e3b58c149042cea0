/** Which one thing the plain bot does wrong in this process: OPENWS_TESTEE_DEFECT, of the table in defects.ts. */
import type { Defect } from "../../defects.ts";

const chosen = process.env["OPENWS_TESTEE_DEFECT"];

/** Whether this is the defect of this process. */
export const broken = (defect: Defect): boolean => chosen === defect;

/** Prints a line for people. */
export const log = (text: string): void => void process.stderr.write(`${text}\n`);

let serial = 0;
/** An id that nobody has used. */
export const fresh = (prefix: string): string =>
  `${prefix}-${process.pid}-${++serial}-${Math.random().toString(36).slice(2)}`;

/** Waits. */
export const pause = (ms: number): Promise<void> =>
  new Promise<void>((resolve) => {
    setTimeout(resolve, ms);
  });
