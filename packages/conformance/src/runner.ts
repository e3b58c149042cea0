/**
 * Plays cases against a client and gathers what they found.
 *
 * Decides the order (the first case alone, to see whether the client starts at all; then a few at a time; last the cases
 * whose time-dependent checks failed, one by one or, in the real lane, a few at a time) and what becomes of a case that is
 * left early. It leaves nothing running: each case ends its processes and its gateway before it counts as played.
 */
import { startGateway, type SomeSwitches } from "@openws/mock-gateway";
import { timed, type Case, type Finding, type Lane, type Line } from "./check.ts";
import { botName, ClientEndedError, Stage, UndeclaredError, UntestedError, type Spawn } from "./stage.ts";

export type { Spawn } from "./stage.ts";

/** A case to play, and with which client. */
export interface Job {
  readonly played: Case;
  readonly spawn: Spawn;
  /** The seed of its gateway, where it is not that of the whole run. */
  readonly seed?: number;
}

/** What one playing of a case came to. */
export interface Played {
  readonly played: Case;
  /** One for each check of the case. */
  readonly findings: readonly Finding[];
  readonly ms: number;
  /** Whether a process of the client could be started and opened a connection. */
  readonly appeared: boolean;
  /** Whether it opened a connection or not: what it printed last. */
  readonly lastLines: string;
  /** The newest lines of the wire log. */
  readonly wire: readonly Line[];
  /** Set where the harness itself failed. */
  readonly harness?: string;
}

/** How to play. */
export interface PlayOptions {
  readonly lane: Lane;
  readonly seed: number;
  /** How many cases at once. */
  readonly atOnce: number;
  /** How many clients may be starting at once; 1. Fifty at once take longer to start than any case waits. */
  readonly startsAtOnce?: number;
  /** Told after each case. */
  readonly onPlayed?: (played: Played, again: boolean) => void;
}

/** Plays one case once. Never rejects: what goes wrong is in the findings, or in `harness`. */
export const playOnce = async (
  { played, spawn, seed: own }: Job,
  { lane, seed }: PlayOptions,
  started?: () => void,
): Promise<Played> => {
  const began = performance.now();
  const { faults = [], switches = {}, wrongSecret } = played.gateway?.(lane) ?? {};
  const bot = { id: "openws-conformance", secret: `secret-of-${played.name.replace("/", "-")}-0123456789` };
  let stage: Stage | undefined;
  let harness: string | undefined;
  try {
    await using gateway = await startGateway({
      seed: own ?? seed,
      latencyMs: 10,
      bots: [{ ...bot, secret: wrongSecret ? `${bot.secret}-another` : bot.secret, name: botName }],
      switches: { ...friendly, ...switches } as SomeSwitches,
    });
    for (const fault of faults) await gateway.addFault(fault);
    stage = new Stage(played, gateway, lane, bot, limitMs(lane, played), spawn);
    try {
      stage.start();
      // Whether it comes to that is for the case to judge.
      const { wire } = stage;
      void stage
        .until(() => wire.opened()[0], gateMs)
        .catch(() => undefined)
        .finally(started);
      await played.play(stage);
    } catch (error) {
      leftEarly(stage, played, error);
    } finally {
      await Promise.all(stage.clients.map((client) => client.stop()));
    }
  } catch (error) {
    harness = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  const found = new Map(stage?.findings.map((finding) => [finding.id, finding]));
  return {
    played,
    findings: played.checks.map(
      (id) =>
        found.get(id) ?? { id, verdict: "untested", message: "the case ended before this was judged", evidence: [] },
    ),
    ms: Math.round(performance.now() - began),
    appeared: stage !== undefined && stage.wire.opened().length > 0,
    lastLines: stage?.clients.map(({ lastLines }) => lastLines).join("\n") ?? "",
    wire: stage?.newest() ?? [],
    ...(harness === undefined ? {} : { harness }),
  };
};

/** Plays many, so many at once, in their order, and keeps what each came to. */
export const playAll = async (jobs: readonly Job[], options: PlayOptions): Promise<Played[]> => {
  const results: Played[] = [];
  await playEach(jobs, options, (result, at) => {
    results[at] = result;
    options.onPlayed?.(result, false);
  });
  return results;
};

/** Plays many, so many at once, in their order; `take` is given what each came to, and its place. Keeps nothing. */
export const playEach = async (
  jobs: readonly Job[],
  options: PlayOptions,
  take: (played: Played, at: number) => void,
): Promise<void> => {
  let next = 0;
  const { startsAtOnce = 1 } = options;
  const started: Promise<void>[] = [];
  const worker = async (): Promise<void> => {
    while (next < jobs.length) {
      const at = next++;
      let open = (): void => undefined;
      started[at] = new Promise((resolve) => {
        open = resolve;
      });
      await started[at - startsAtOnce];
      const result = await playOnce(jobs[at]!, options, open);
      open();
      take(result, at);
    }
  };
  await Promise.all(Array.from({ length: Math.min(options.atOnce, jobs.length) }, worker));
};

/** What became of a check over all cases that judge it. */
export interface Outcome {
  readonly id: string;
  readonly verdict: "pass" | "fail" | "flaky" | "untested" | "skipped";
  readonly message: string;
  readonly ms: number;
  readonly evidence: readonly Line[];
  /** The case that decided. */
  readonly case: string;
  /** The command that shows it again, where `--run CASE` would not. */
  readonly replay?: string;
}

/** A whole run of one client. */
export interface Run {
  readonly outcomes: readonly Outcome[];
  /** Set where the client never opened a connection; nothing was judged then. */
  readonly notStarted?: string;
  /** Failures of the harness itself. */
  readonly harness: readonly string[];
}

/** Runs these cases with one client. */
export const run = async (cases: readonly Case[], spawn: Spawn, options: PlayOptions): Promise<Run> => {
  const jobs = cases.map((played): Job => ({ played, spawn }));
  const [first, ...others] = jobs;
  if (first === undefined) return { outcomes: [], harness: [] };
  const one = await playOnce(first, options);
  options.onPlayed?.(one, false);
  if (!one.appeared) {
    const { harness, lastLines, findings } = one;
    const problem = findings.find(({ verdict }) => verdict === "untested")?.message ?? "nothing became of it";
    return {
      outcomes: [],
      harness: harness === undefined ? [] : [harness],
      notStarted: `it opened no connection: ${problem}${lastLines === "" ? "; it printed nothing" : `; it said last:\n${lastLines}`}`,
    };
  }
  const all = [one, ...(await playAll(others, options))];

  const outcomes = new Map<string, Outcome>();
  for (const played of all)
    for (const finding of played.findings) merge(outcomes, { ...finding, ms: played.ms, case: played.played.name });

  const doubtful = all
    .map(({ played, findings }) => ({
      played,
      failed: findings.filter(({ id, verdict }) => verdict === "fail" && timed[id] !== undefined),
    }))
    .filter(({ failed }) => failed.length > 0);
  const repeated = await playAll(
    doubtful.map(({ played }) => ({ played, spawn })),
    { ...options, atOnce: repeatedAtOnce[options.lane.name], onPlayed: (again) => options.onPlayed?.(again, true) },
  );
  for (const [at, { played, failed }] of doubtful.entries())
    for (const { id, message } of failed) {
      const second = repeated[at]!.findings.find((finding) => finding.id === id);
      const decided = outcomes.get(id)!;
      if (second?.verdict !== "pass" || decided.case !== played.name) continue;
      outcomes.set(id, {
        ...decided,
        verdict: "flaky",
        message: `failed at first: ${message}; passed when repeated: ${second.message}`,
      });
    }
  return {
    outcomes: [...outcomes.values()],
    harness: all.flatMap(({ harness }) => (harness === undefined ? [] : [harness])),
  };
};

/** Of several findings about one requirement the worst counts. */
const merge = (outcomes: Map<string, Outcome>, finding: Outcome): void => {
  const before = outcomes.get(finding.id);
  if (before === undefined || badness[finding.verdict] > badness[before.verdict]) outcomes.set(finding.id, finding);
};

/** A skipped case says nothing: what another one found about the same counts. */
const badness = { skipped: 0, pass: 1, flaky: 2, untested: 3, fail: 4 };

/** A case was left by a throw: what it had not judged has failed if the client is to blame, and is untested or skipped if not. */
const leftEarly = (stage: Stage, { checks }: Case, error: unknown): void => {
  if (!(error instanceof ClientEndedError) && !(error instanceof UntestedError) && !(error instanceof UndeclaredError))
    throw error;
  for (const id of checks) {
    if (error instanceof UndeclaredError) stage.skipped(id, error.message);
    else if (error instanceof UntestedError) stage.untested(id, error.message);
    else stage.judge(id, false, error.message, stage.wire.all.slice(-6));
  }
};

/**
 * How many cases are repeated at once. In the real lane, where cases wait for minutes and hardly compute, a few do not
 * disturb each other; one by one, a client that fails much would be judged for hours.
 */
const repeatedAtOnce: Readonly<Record<Lane["name"], number>> = { scaled: 1, real: 8 };

/** No case may take longer; six minutes is what the real lane is allowed. Milliseconds of the wall clock. */
const limitMs = ({ name }: Lane, { long = [] }: Case): number =>
  long.includes(name) ? 3_600_000 : name === "real" ? 360_000 : 60_000;

/** How long a start may keep the others waiting, milliseconds of the wall clock. */
const gateMs = 3_000;

/** A gateway that is in nobody's way: limits that would meet a case by accident are off unless the case is about them. */
const friendly = { subscribeRate: "off", quota: "off", maxInFlightPerUser: "off", uniqueTaskId: "off" };
