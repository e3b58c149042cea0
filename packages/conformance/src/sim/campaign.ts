/**
 * Many schedules, one after the other, and the account of the first that fails.
 *
 * Decides which seeds are tried, how a failure is made small (by fast-check, over the schedule as data) and what is told of
 * it: one line that replays it, the smallest schedule that still fails, and what happened before the breach.
 */
import * as fc from "fast-check";
import type { Happening, History } from "../history.ts";
import { json, object } from "../history.ts";
import { judge, judgeStory } from "../invariants.ts";
import type { Breach } from "../invariants.ts";
import { simulate } from "../sim.ts";
import type { Core } from "../sim.ts";
import { tell } from "../story.ts";
import { scheduleOf, schedules } from "./schedule.ts";
import type { Schedule } from "./schedule.ts";

/** What to try. */
export interface CampaignOptions {
  /** The first seed; the others follow it, so that no two are alike. */
  readonly seed: number;
  /** How many schedules at most. */
  readonly runs: number;
  /** Asked before each schedule, whether to go on; for a limit in time. */
  readonly goOn?: () => boolean;
  /** What is tried; our own core by default. */
  readonly core?: Core;
}

/** What came of it. Sums over all histories that were judged. */
export interface Campaign {
  readonly schedules: number;
  readonly virtualMs: number;
  /** Callbacks that were answered by streams. */
  readonly answers: number;
  readonly faults: number;
  readonly frames: number;
  /** The first schedule that failed; nothing is tried after it. */
  readonly failure?: Failure;
}

/** A schedule that breaks an invariant, as small as it became. */
export interface Failure {
  readonly seed: number;
  /** fast-check's way from the drawn schedule to the small one. */
  readonly path: string;
  readonly schedule: Schedule;
  readonly breach: Breach;
  /** All of it in words, for people. */
  readonly report: string;
}

/** Tries schedules until one fails. */
export function campaign({ seed, runs, goOn = () => true, core }: CampaignOptions): Campaign {
  const sums = { schedules: 0, virtualMs: 0, answers: 0, faults: 0, frames: 0 };
  for (let next = seed; next < seed + runs && goOn(); next++) {
    const schedule = scheduleOf(next);
    const story = tell(simulate(schedule, core));
    sums.schedules++;
    sums.virtualMs += story.history.endAt;
    sums.faults += schedule.faults.length;
    sums.frames += story.frames;
    for (const { over } of story.answers.values()) if (over !== undefined) sums.answers++;
    if (judgeStory(story) !== undefined) return { ...sums, failure: shrink(next, core) };
  }
  return sums;
}

/** The smallest failing schedule that can be reached from the one of this seed; with a path, the one it leads to. */
export function replay(seed: number, path: string, core?: Core): Failure | undefined {
  const property = fc.property(schedules(seed), (schedule) => judge(simulate(schedule, core)) === undefined);
  const result = fc.check(property, { seed, path, numRuns: 1, endOnFailure: true });
  return result.counterexample ? failureOf(seed, path, result.counterexample[0], core) : undefined;
}

function shrink(seed: number, core: Core | undefined): Failure {
  const first = judge(simulate(scheduleOf(seed), core))!;
  // The same invariant must stay broken, or the small example would explain another failure.
  const property = fc.property(schedules(seed), (schedule) => judge(simulate(schedule, core))?.id !== first.id);
  const { counterexample, counterexamplePath } = fc.check(property, { seed, numRuns: 1 });
  return failureOf(seed, counterexamplePath ?? "0", counterexample?.[0] ?? scheduleOf(seed), core);
}

function failureOf(seed: number, path: string, schedule: Schedule, core: Core | undefined): Failure {
  const history = simulate(schedule, core);
  const breach = judge(history) ?? { id: "none", at: 0, message: "the smallest schedule does not fail" };
  return { seed, path, schedule, breach, report: reportOf(seed, path, schedule, breach, history) };
}

// ---------------------------------------------------------------------------------------------------------------------
// In words

function reportOf(seed: number, path: string, schedule: Schedule, breach: Breach, history: History): string {
  const { commands, faults, ...rest } = schedule;
  return [
    `${breach.id} is broken after ${seconds(breach.at)}: ${breach.message}`,
    `replay: openws-conformance sim --seed ${seed} --path ${path}`,
    "",
    `the smallest schedule found: ${commands.length} commands, ${faults.length} faults; ${JSON.stringify(rest)}`,
    ...commands.map((command, n) => `  ${seconds(command.at)} command ${n}: ${JSON.stringify(command)}`),
    ...faults.map((fault) => `  ${seconds(fault.at)} fault: ${JSON.stringify(fault)}`),
    "",
    "what happened before:",
    ...diagram(history, breach),
  ].join("\n");
}

const shownLines = 30;

/** The last things that happened before the breach: client on the left, gateway on the right. */
function diagram({ happenings }: History, { at }: Breach): string[] {
  const lines: string[] = [];
  for (const happening of happenings) {
    if (happening.at > at + 1) break;
    const line = lineOf(happening);
    if (line !== undefined) lines.push(`  ${seconds(happening.at)} ${line}`);
  }
  return lines.slice(-shownLines);
}

function lineOf(happening: Happening): string | undefined {
  switch (happening.what) {
    case "dialed":
      return `client ╌╌▶ gateway  dial (socket ${happening.socket})`;
    case "opened":
      return `client ◀╌▶ gateway  socket ${happening.socket} is open`;
    case "sent":
      return `client ──▶ gateway  ${frameOf(happening)}`;
    case "received":
      return `client ◀── gateway  ${frameOf(happening)}`;
    case "closed":
      return `client ◀╌╌ gateway  socket ${happening.socket} closed with ${happening.code}`;
    case "dropped":
      return `client ╌╌✕          lets socket ${happening.socket} go`;
    case "moved":
      return `       ${happening.from} → ${happening.to} (${happening.why})`;
    case "settled":
      return `       request ${happening.key}: ${JSON.stringify(happening.outcome)}`;
    case "fault":
      return `       fault: ${happening.kind}`;
    case "operator":
      return `       operator: ${happening.did}`;
    case "answering":
      return `       answer ${happening.answer} begins`;
    case "said":
      return `       the text of answer ${happening.answer} ends (${happening.how})`;
    case "answered":
      return `       answer ${happening.answer} is over: ${happening.state}`;
    default:
      return undefined;
  }
}

function frameOf(frame: Extract<Happening, { what: "sent" | "received" }>): string {
  const { cmd, headers, body, errcode } = json(frame);
  const { stream, markdown } = object(body);
  const { id, finish, content } = { ...object(markdown), ...object(stream) };
  const parts = [
    typeof cmd === "string" ? cmd : `ack ${String(errcode)}`,
    String(object(headers)["req_id"]),
    ...(typeof id === "string" ? [id] : []),
    ...(finish === true ? ["finish"] : []),
    ...(typeof content === "string"
      ? [JSON.stringify(content.length > 40 ? `${content.slice(0, 40)}…` : content)]
      : []),
  ];
  return parts.join("  ");
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(3).padStart(9)} s`;
}
