/**
 * A whole run: which checks, of which client, in which tier and lane, and the report of it. Command line and library share it.
 *
 * Decides what is asked of a client and what is left out, and why. How cases are played is the runner's business, how a
 * report is shown report.ts's.
 */
import { readFileSync } from "node:fs";
import { cases } from "./cases.ts";
import { globMatches, lanes, production, type Case, type Lane } from "./check.ts";
import { tryHistories } from "./properties.ts";
import { reportOf, type Report } from "./report.ts";
import { playOnce, run, type PlayOptions } from "./runner.ts";
import type { Spawn } from "./stage.ts";
import { environmentOf, type Ability, type Hello, type Testee } from "./testee.ts";
import { InProcessTestee } from "./testees/in-process.ts";
import { Process, type ClientCommand } from "./testees/process.ts";
import { probe, SpokenTestee } from "./testees/spoken.ts";

/** What is to be judged: a command, or a testee within this process. */
export type Subject =
  /** A bot that reads its environment, and keeps the echo contract or not. */
  | { readonly tier: "observe"; readonly command: ClientCommand; readonly contract: boolean }
  /** A program that speaks the testee protocol. */
  | { readonly tier: "testee"; readonly command: ClientCommand }
  | { readonly tier: "testee"; readonly testee: Testee };

/** How to judge. */
export interface ConformanceOptions {
  /**
   * `scaled`: a twentieth of all durations. `real`: production durations, about six minutes. By default `scaled` if the
   * client lets itself be told its durations, which a bot shows by pinging as fast as it is told to, and `real` if not.
   */
  readonly lane?: Lane["name"] | undefined;
  /** Also the cases that take longer than a run may, such as a stream of ten minutes. */
  readonly long?: boolean;
  /** Only the checks or cases that match, such as `AUTH-*` or `kick/*`; a comma separates several. */
  readonly run?: string | undefined;
  /** Not these. */
  readonly skip?: string | undefined;
  /** Why checks may fail, by id; an excuse that is no longer needed fails. */
  readonly excuses?: ReadonlyMap<string, string>;
  /** The seed of the gateway's chance; 1. */
  readonly seed?: number;
  /** How many cases at once; 16 as processes and 6 in this one, in the real lane all. Within this process 1 is safest for a client with global state. */
  readonly atOnce?: number | undefined;
  /** So many random histories instead of the cases (properties.ts). */
  readonly runs?: number | undefined;
  /** With one run: the way to a smaller history, as a failure's replay line says. */
  readonly path?: string | undefined;
  /** Told each failure of a random history: the replay line, the smallest history, a diagram, the wire log. */
  readonly onFailure?: (text: string) => void;
  /** The client's name in the report; by default what its testee says, or its command. */
  readonly client?: string | undefined;
  /** Told before the first case or history, how many there are, and in which lane. */
  readonly onStart?: (cases: number, lane: Lane["name"]) => void;
  /** Told after each case. */
  readonly onPlayed?: PlayOptions["onPlayed"];
}

/** A wrong use; its message is one sentence. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Judges a client. Rejects with `UsageError` for what cannot be asked; what goes wrong with the client is in the report. */
export const judgeClient = async (subject: Subject, options: ConformanceOptions = {}): Promise<Report> => {
  const seed = options.seed ?? 1;
  const excuses = options.excuses ?? new Map<string, string>();
  for (const id of excuses.keys())
    if (!cases.some(({ checks }) => checks.includes(id))) throw new UsageError(`${id} is excused, and is no check`);
  const met = await meet(subject);
  if (options.lane === "scaled" && met.hello?.scaled === false)
    throw new UsageError(
      `${met.hello.client} does not take the suite's durations (scaled is false): use the real lane`,
    );
  const lane = lanes[options.lane ?? (await fittingLane(met))];
  const contract = subject.tier === "testee" || subject.contract;
  const head = {
    suite: suiteVersion(),
    client: options.client ?? nameOf(subject, met.hello),
    command: "command" in subject ? commandText(subject.command) : undefined,
    tier: subject.tier,
    contract,
    lane: lane.name,
    seed,
  };
  if (met.problem !== undefined)
    return reportOf(head, { outcomes: [], harness: [], notStarted: met.problem }, new Map(), excuses);

  if (options.runs !== undefined) {
    options.onStart?.(options.runs, lane.name);
    const how = `${subject.tier === "testee" ? "--tier testee " : contract ? "--contract " : ""}--lane ${lane.name}`;
    const found = await tryHistories(met.spawn, {
      lane,
      seed,
      runs: options.runs,
      path: options.path,
      contract: contract && (met.hello === undefined || said.every((ability) => met.hello!.can.includes(ability))),
      atOnce: options.atOnce ?? 4,
      replay: `${how} -- ${head.command ?? ""}`,
      ...(options.onPlayed === undefined ? {} : { onPlayed: options.onPlayed }),
    });
    for (const text of found.failures) options.onFailure?.(text);
    return reportOf(head, found, new Map(), excuses);
  }

  const { selected, skipped } = select(
    {
      contract,
      can: subject.tier === "testee" ? (met.hello?.can ?? []) : undefined,
      lane: options.long === true ? undefined : lane.name,
    },
    options.run,
    options.skip,
  );
  if (selected.length === 0) throw new UsageError("run and skip leave no check over");
  options.onStart?.(selected.length, lane.name);
  const found = await run(selected, met.spawn, {
    lane,
    seed,
    atOnce: options.atOnce ?? (lane.name === "real" ? selected.length : "command" in subject ? 16 : 6),
    ...(options.onPlayed === undefined ? {} : { onPlayed: options.onPlayed }),
  });
  const wanted = new Set(selected.flatMap(({ checks }) => checks).filter((id) => !skipped.has(id)));
  const outcomes = found.outcomes.filter(({ id }) => wanted.has(id));
  return reportOf(head, { ...found, outcomes }, skipped, excuses);
};

/** Judges a client in JavaScript within this process, as in a test: `runConformance({ testee, run: "kick/*" })`. */
export const runConformance = ({
  testee,
  ...options
}: { readonly testee: Testee } & ConformanceOptions): Promise<Report> =>
  judgeClient({ tier: "testee", testee }, options);

/** The version of this package. */
export const suiteVersion = (): string => {
  const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string };
  return manifest.version;
};

/** What the texts of random histories ask of a testee. */
const said: readonly Ability[] = ["stream", "push"];

/** What a tier lets be asked: the words of the contract, and of a testee what it declares. */
export interface Scope {
  readonly contract: boolean;
  /** Undefined in the observe tier. */
  readonly can: readonly Ability[] | undefined;
  /** Cases that are long in this lane are left out; undefined where none is to be. */
  readonly lane?: Lane["name"] | undefined;
}

/** The cases to play, and why checks are left out. A check that one of several of its cases judges is not left out. */
export const select = (
  { contract, can, lane }: Scope,
  only?: string,
  not?: string,
): { selected: Case[]; skipped: Map<string, string> } => {
  const outside = ({ needs = [], contract: asks, long = [] }: Case): string | undefined => {
    if (lane !== undefined && long.includes(lane)) return "takes long (--long)";
    if (needs.length > 0 && can === undefined) return "needs a testee (--tier testee)";
    const lacks = needs.find((ability) => can?.includes(ability) !== true);
    if (lacks !== undefined) return undeclared(lacks);
    return asks === true && !contract ? "needs a bot that keeps the echo contract (--contract)" : undefined;
  };
  const skipped = new Map<string, string>();
  const wanted = new Set<string>();
  const selected = cases.filter((played) => {
    let plays = false;
    for (const id of played.checks) {
      const matches = (glob: string): boolean => globMatches(glob, id) || globMatches(glob, played.name);
      const reason =
        (only !== undefined && !matches(only)) || (not !== undefined && matches(not))
          ? "not asked for (--run, --skip)"
          : outside(played);
      if (reason === undefined) {
        wanted.add(id);
        plays = true;
      } else skipped.set(id, reason);
    }
    return plays;
  });
  for (const id of wanted) skipped.delete(id);
  return { selected, skipped };
};

const undeclared = (ability: Ability): string => `the testee does not declare "${ability}"`;

/** How the client is started, and what is known of it before the first case. */
interface Met {
  readonly spawn: Spawn;
  readonly hello?: Hello;
  /** Why it cannot be judged. */
  readonly problem?: string;
}

const meet = async (subject: Subject): Promise<Met> => {
  if (subject.tier === "observe") return { spawn: (given) => new Process(subject.command, environmentOf(given)) };
  if ("testee" in subject) {
    const { client, can, scaled } = subject.testee;
    return {
      spawn: (given) => new InProcessTestee(subject.testee, given),
      hello: { hello: 1, client, can, scaled },
    };
  }
  const spawn: Spawn = (given) => new SpokenTestee(subject.command, given);
  const probed = await probe(subject.command);
  return "problem" in probed ? { spawn, problem: probed.problem } : { spawn, hello: probed.hello };
};

/** A testee says whether it takes the suite's durations; a bot is told to ping every 1.5 s, and seen to do it or not. */
const fittingLane = async ({ spawn, hello, problem }: Met): Promise<Lane["name"]> => {
  if (problem !== undefined) return "scaled";
  if (hello !== undefined) return hello.scaled ? "scaled" : "real";
  let slow = false;
  const pingsAsTold: Case = {
    name: "durations/are-taken",
    title: "The line is quiet, and the client was told to ping often.",
    checks: [],
    play: async (stage) => {
      const { seq } = await stage.ready();
      // Two of one connection: some clients ping as soon as they are subscribed, whatever their interval. Of any, since a
      // busy machine may cost a client its first line.
      const repeated = () => {
        const pings = stage.wire.sent("ping", seq);
        return pings.find((ping, at) => pings.slice(0, at).some(({ connection }) => connection === ping.connection));
      };
      slow = (await stage.until(repeated, 6 * stage.ms(production.heartbeatMs))) === undefined;
    },
  };
  await playOnce({ played: pingsAsTold, spawn }, { lane: lanes.scaled, seed: 1, atOnce: 1 });
  return slow ? "real" : "scaled";
};

const nameOf = (subject: Subject, hello: Hello | undefined): string => {
  if (hello !== undefined) return hello.client;
  return "command" in subject ? commandText(subject.command) : subject.testee.client;
};

const commandText = ({ file, args }: ClientCommand): string => [file, ...args].join(" ");
