/**
 * Random histories on a real wire: users speak while the gateway does what real ones and networks do, and whatever the client
 * makes of it is judged by the rules of oracle.ts, and by one claim of liveness: once the faults end, the client answers.
 *
 * A history is data, drawn by fast-check from its seed alone, so that it can be had again and made smaller. The model says what
 * can be done next (nobody speaks to a bot that is not there; nothing follows a kick); it predicts no frame. Shrinking takes
 * real time here, and is bounded by it: what the simulator finds it finds cheaper.
 */
import * as fc from "fast-check";
import type { Case, Lane, Line } from "./check.ts";
import { columns, sequence } from "./diagram.ts";
import { judgeLog, lineOf, oracleIds } from "./oracle.ts";
import { playAll, playOnce, type Outcome, type PlayOptions, type Played, type Run } from "./runner.ts";
import { ClientEndedError, UntestedError, type Spawn, type Stage } from "./stage.ts";

/** One step of a history. Durations are production's; the lane scales them. */
export type Step =
  | { readonly do: "say"; readonly user: string; readonly text: string }
  | { readonly do: "enter"; readonly user: string }
  | { readonly do: "wait"; readonly ms: number }
  /** A fault of the gateway, by its kind and fields; fields that end in `Ms`, and `ms`, are durations. */
  | { readonly do: "fault"; readonly kind: string; readonly fields: Readonly<Record<string, string | number>> }
  | { readonly do: "cut"; readonly how: "reset" | "close" | "half-open"; readonly code?: number }
  | { readonly do: "kick" };

/** How to try. */
export interface PropertyOptions extends PlayOptions {
  /** How many histories. */
  readonly runs: number;
  /** Leads from the drawn history to a smaller one, as a failure's replay line says; only with one run. */
  readonly path?: string | undefined;
  /** Whether the texts of the echo contract are understood. */
  readonly contract: boolean;
  /** How the command line names the client, for the replay line. */
  readonly replay: string;
  /** How long a failure may be made smaller, milliseconds of the wall clock; 60,000 and in the real lane 600,000. */
  readonly shrinkMs?: number;
}

/** What came of it: a run to be reported, and what failed in words. */
export interface PropertyRun extends Run {
  /** Each failure: what broke, the line that replays it, the smallest history, a sequence diagram, the wire log. */
  readonly failures: readonly string[];
}

/** What is remembered of a history that was played: its wire log, and the steps that were possible when their turn came. */
interface Log {
  readonly lines: readonly Line[];
  readonly performed: readonly Step[];
}

/** The id under which liveness is judged. */
const liveness = "CONN-5";

/** Plays histories until all have been, and makes the first failure of each rule small. */
export const tryHistories = async (spawn: Spawn, options: PropertyOptions): Promise<PropertyRun> => {
  const { runs, seed, contract, path } = options;
  const first = path === undefined ? undefined : drawn(seed, contract, path);
  if (path !== undefined && first === undefined)
    return { outcomes: [], harness: [`seed ${seed} has no path ${path}`], failures: [] };
  const histories = Array.from({ length: path === undefined ? runs : 1 }, (_, at) => ({
    seed: seed + at,
    steps: first ?? drawn(seed + at, contract)!,
  }));
  const logs = new Map<Case, Log>();
  const jobs = histories.map(({ seed: own, steps }) => ({ played: historyCase(own, steps, logs), spawn, seed: own }));
  const all = await playAll(jobs, options);
  if (all.length > 0 && all.every(({ appeared }) => !appeared))
    return { outcomes: [], harness: [], failures: [], notStarted: `it opened no connection: ${all[0]!.lastLines}` };

  const outcomes = new Map<string, Outcome>();
  const failures: string[] = [];
  for (const [at, played] of all.entries())
    for (const { id, verdict, message, evidence } of played.findings) {
      const before = outcomes.get(id);
      if (verdict === "skipped" && before !== undefined) continue;
      if (before !== undefined && (before.verdict === "fail" || verdict !== "fail")) {
        if (before.verdict === "skipped") outcomes.set(id, { ...before, verdict, message, ms: played.ms, evidence });
        continue;
      }
      const found: Outcome = { id, verdict, message, ms: played.ms, evidence, case: played.played.name };
      if (verdict !== "fail") {
        outcomes.set(id, found);
        continue;
      }
      const small = await shrunk(id, histories[at]!, played, spawn, logs, options);
      outcomes.set(id, small.outcome);
      failures.push(small.text);
    }
  return {
    outcomes: [...outcomes.values()].filter(({ verdict }) => verdict !== "skipped"),
    harness: all.flatMap(({ harness }) => (harness === undefined ? [] : [harness])),
    failures,
  };
};

/** The history of a seed, or of a path from it; undefined where there is no such path. */
export const drawn = (seed: number, contract: boolean, path?: string): readonly Step[] | undefined => {
  // What fast-check calls a failure is what it hands out with its path: so this one always fails.
  const property = fc.property(histories(contract), (_steps: readonly Step[]) => false);
  const { counterexample } = fc.check(property, {
    seed,
    numRuns: 1,
    endOnFailure: true,
    ...(path === undefined ? {} : { path }),
  });
  return counterexample?.[0];
};

/** Of the wire log, how many lines are shown with a failure. */
const shownLines = 60;

/** Makes a failing history smaller while the same rule stays broken. */
const shrunk = async (
  id: string,
  { seed, steps }: { readonly seed: number; readonly steps: readonly Step[] },
  played: Played,
  spawn: Spawn,
  logs: Map<Case, Log>,
  options: PropertyOptions,
): Promise<{ outcome: Outcome; text: string }> => {
  const { lane, path } = options;
  let smallest = { steps, played };
  let path2 = path ?? "0";
  /** Whether it failed when it was played again; undefined where there was no time to know. */
  let again: boolean | undefined;
  let playing: Promise<Played> | undefined;
  if (path === undefined) {
    const property = fc.asyncProperty(histories(options.contract), async (tried) => {
      const job = { played: historyCase(seed, tried, logs), spawn, seed };
      playing = playOnce(job, options);
      const result = await playing;
      const broken = result.findings.some((finding) => finding.id === id && finding.verdict === "fail");
      again = again === true || broken;
      if (broken) {
        smallest = { steps: tried, played: result };
      }
      return !broken;
    });
    const { counterexamplePath } = await fc.check(property, {
      seed,
      numRuns: 1,
      plugins: [fc.interruptAfterTimeLimit(options.shrinkMs ?? (lane.name === "real" ? 600_000 : 60_000))],
    });
    path2 = counterexamplePath ?? "0";
    // Who is out of time does not wait for what is played; nothing is left running all the same.
    await playing;
  }
  const finding = smallest.played.findings.find((one) => one.id === id)!;
  const { lines, performed } = logs.get(smallest.played.played) ?? { lines: [], performed: smallest.steps };
  const log = lines.slice(-shownLines);
  const replay = `openws-conformance run ${options.replay.replace(" -- ", ` --runs 1 --seed ${seed} --path ${path2} -- `)}`;
  const text = [
    again !== false
      ? `${id} is broken: ${finding.message}`
      : `${id} was broken, and was kept when the same was played again: ${finding.message}`,
    `replay: ${replay}`,
    "",
    `the smallest history found, ${performed.length} steps:`,
    ...performed.map((step) => `  ${JSON.stringify(step)}`),
    "",
    ...sequence(log),
    "",
    "the same as it was on the wire: the client on the left, the gateway on the right",
    ...columns(log),
    "",
  ].join("\n");
  const outcome: Outcome = {
    id,
    verdict: again === false ? "flaky" : "fail",
    message: finding.message,
    ms: smallest.played.ms,
    evidence: finding.evidence,
    case: smallest.played.played.name,
    replay,
  };
  return { outcome, text };
};

// --- histories --------------------------------------------------------------------------------------------------------

const users = ["zhangsan", "lisi", "wangwu"];

const fault = (kind: string, fields: Readonly<Record<string, string | number>> = {}): Step => ({
  do: "fault",
  kind,
  fields,
});

/**
 * What is drawn from. Credentials that are refused are not among it: a client that gives up then is right. Nor is a
 * subscription that the gateway forgets while pings are acknowledged: nothing on the wire tells of it.
 */
const faults: readonly Step[] = [
  fault("ack-drop", { cmd: "aibot_respond_msg" }),
  fault("ack-drop", { cmd: "ping" }),
  fault("ack-drop", { cmd: "aibot_subscribe" }),
  fault("ack-delay", { cmd: "aibot_respond_msg", ms: 12_000 }),
  fault("ack-delay", { cmd: "aibot_respond_msg", ms: 3_000, times: 5 }),
  fault("ack-delay", { cmd: "aibot_subscribe", ms: 4_000 }),
  fault("ack-duplicate", { cmd: "aibot_respond_msg", times: 3 }),
  fault("ack-stray", { cmd: "aibot_subscribe" }),
  fault("ack-stray", { cmd: "aibot_respond_msg" }),
  fault("errcode", { cmd: "aibot_respond_msg", errcode: 6000 }),
  fault("errcode", { cmd: "aibot_respond_msg", errcode: 846605 }),
  fault("errcode", { cmd: "aibot_respond_msg", errcode: 846608 }),
  fault("errcode", { cmd: "aibot_respond_msg", errcode: 846609 }),
  fault("errcode", { cmd: "aibot_subscribe", errcode: 45009 }),
  fault("errcode", { cmd: "aibot_subscribe", errcode: 600041 }),
  fault("callback-before-ack"),
  fault("redeliver", { reqId: "new", over: "same" }),
  fault("redeliver", { reqId: "same", over: "next" }),
  ...[
    "control-chars",
    "unknown-field",
    "unknown-cmd",
    "unknown-msgtype",
    "missing-field",
    "huge-integer",
    "not-json",
    "null",
  ].map((what) => fault("odd-frame", { what })),
  fault("down", { forMs: 20_000 }),
  fault("handshake", { status: 502, times: 2 }),
  fault("handshake", { stallMs: 15_000 }),
  fault("pong", { what: "drop", times: 3 }),
  fault("binary", { cmd: "aibot_msg_callback" }),
  fault("split", { what: "fragments", times: 3 }),
];

const cuts: readonly Step[] = [
  { do: "cut", how: "reset" },
  { do: "cut", how: "half-open" },
  ...[1000, 1008, 1012].map((code): Step => ({ do: "cut", how: "close", code })),
];

/** The arbitrary of histories: mostly words and faults, a kick now and then, never more than ten steps. */
const histories = (contract: boolean): fc.Arbitrary<readonly Step[]> => {
  const texts = [
    "hello",
    "你好，世界",
    "a\tb\nc",
    "x".repeat(300),
    ...(contract ? ["!stream 4", "!push there", "!slow 800"] : []),
  ];
  const say = fc.record({
    do: fc.constant("say" as const),
    user: fc.constantFrom(...users),
    text: fc.constantFrom(...texts),
  });
  const enter = fc.record({ do: fc.constant("enter" as const), user: fc.constantFrom(...users) });
  const wait = fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(1_000, 5_000, 20_000, 50_000) });
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 5, arbitrary: say },
    { weight: 5, arbitrary: fc.constantFrom(...faults) },
    { weight: 2, arbitrary: fc.constantFrom(...cuts) },
    { weight: 2, arbitrary: wait },
    { weight: 1, arbitrary: enter },
    { weight: 1, arbitrary: fc.constant<Step>({ do: "kick" }) },
  );
  return fc.array(step, { minLength: 1, maxLength: 10 });
};

// --- playing ------------------------------------------------------------------------------------------------------------

const historyCase = (seed: number, steps: readonly Step[], logs: Map<Case, Log>): Case => {
  const ids = [...new Set([...oracleIds(), liveness])];
  const played: Case = {
    name: `random/history-${seed}`,
    title: `A random history of ${steps.length} steps.`,
    checks: ids,
    contract: true,
    mayEnd: true,
    play: async (stage) => {
      const performed: Step[] = [];
      try {
        await perform(stage, steps, performed);
      } catch (error) {
        if (error instanceof UntestedError) stage.untested(liveness, error.message);
        else if (error instanceof ClientEndedError)
          stage.judge(liveness, false, error.message, stage.wire.all.slice(-6));
        else throw error;
      } finally {
        for (const { id, kept, message, evidence } of judgeLog(stage.wire, stage.lane, stage.bot.secret))
          stage.judge(id, kept, message, evidence);
        for (const id of ids) stage.skipped(id, "no history gave occasion");
        logs.set(played, { performed, lines: stage.wire.all.map((frame) => lineOf(frame, stage.beganAt)) });
      }
    },
  };
  return played;
};

/** What is known of the client without looking into it. */
interface Model {
  kicked: boolean;
  /** Somebody is there to be spoken to. */
  readonly connected: () => boolean;
}

/** Which steps make sense now. */
const possible = (step: Step, { kicked, connected }: Model): boolean =>
  !kicked && (step.do === "wait" || step.do === "fault" || connected());

/** Takes the steps that are possible, notes them, ends the faults, and asks whether the client is there. */
const perform = async (stage: Stage, steps: readonly Step[], performed: Step[]): Promise<void> => {
  await stage.conversing();
  const { gateway, bot, lane } = stage;
  const subscribed = (): number | undefined =>
    gateway.connections().findLast(({ bot: of, state }) => of === bot.id && state === "subscribed")?.n;
  const model: Model = { kicked: false, connected: () => subscribed() !== undefined };
  for (const step of steps) {
    if (!possible(step, model)) continue;
    performed.push(step);
    switch (step.do) {
      case "say":
        await stage.say(step.text, step.user);
        break;
      case "enter":
        await gateway.trigger(bot.id, { eventtype: "enter_chat", from: { userid: step.user } });
        break;
      case "wait":
        await stage.pause(stage.ms(step.ms));
        break;
      case "fault":
        await gateway.addFault(specOf(step, lane));
        break;
      case "cut":
        gateway.cut(subscribed()!, step.how, step.code);
        break;
      case "kick":
        model.kicked = true;
        await gateway.kick(bot.id);
    }
    await stage.pause(100);
    lives(stage, model);
  }
  if (model.kicked) return stage.pause(stage.ms(15_000));
  for (const { id } of gateway.faults()) await gateway.removeFault(id).catch(() => undefined);
  await recovers(stage, model);
};

const specOf = ({ kind, fields }: Extract<Step, { do: "fault" }>, lane: Lane): string => {
  const scaled = Object.entries(fields).map(([name, value]) =>
    typeof value === "number" && /^ms$|Ms$/.test(name)
      ? `${name}=${Math.round(value * lane.scale)}`
      : `${name}=${value}`,
  );
  return scaled.length === 0 ? kind : `${kind}:${scaled.join(",")}`;
};

/** A history is no reason to end, but a kick is. */
const lives = ({ clients }: Stage, { kicked }: Model): void => {
  const over = clients.find(({ end }) => end !== undefined);
  if (over !== undefined && !kicked)
    throw new ClientEndedError(
      `the client ${over.end!.how}${over.lastLines === "" ? "" : `; it said last:\n${over.lastLines}`}`,
    );
};

/**
 * Once the faults are over: a dead line is noticed within 100 s, the wait before an attempt is at most 45 s, after a throttle
 * a minute, and what a user says on the new line is answered.
 */
const recoverMs = 220_000;

const recovers = async (stage: Stage, model: Model): Promise<void> => {
  const began = performance.now();
  const limit = stage.atMost(liveness, recoverMs) + 2_500;
  for (let at = 1; performance.now() < began + limit; at++) {
    lives(stage, model);
    if (!model.connected()) {
      await stage.pause(50);
      continue;
    }
    const after = stage.seq;
    const { reqId } = await stage.say("are you there?", `user-${at}`);
    const answer = await stage.answered(reqId, `user-${at}`, after, 5_000);
    if (answer === undefined) continue;
    const took = Math.round(performance.now() - began);
    return stage.judge(liveness, true, `answered ${took} ms after the faults were over`, [answer]);
  }
  stage.judge(
    liveness,
    false,
    `nothing was answered within ${Math.round(limit)} ms of the end of the faults`,
    stage.wire.all.slice(-6),
  );
};
