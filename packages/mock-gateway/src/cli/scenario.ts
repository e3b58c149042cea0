/**
 * Scenarios: a conversation with a bot as a YAML file, played against a gateway.
 *
 * ```yaml
 * name: a leave request
 * switches: { eventWindowMs: 5000 }
 * steps:
 *   - say: I need a day off
 *     expect: { kind: template_card, within: 10s }
 *   - trigger: template_card_event
 *     data: { event_key: yes, task_id: leave-1 }
 *     expect: { via: update }
 *   - advance: 24h
 *   - expect: { state: subscribed, lint: none }
 * ```
 *
 * A step does one thing; `expect` beside it waits for what follows from it, alone for what should be so by now. The first
 * step that fails ends its scenario. Times of waiting are real; `advance` moves the world clock.
 */
import * as z from "zod";
import { durationMs } from "../duration.ts";
import { readFault, type Gateway, type UserEvent, type UserMessage } from "../index.ts";
import { lintRules } from "../lint.ts";
import { profileNames, SomeSwitches } from "../switches.ts";
import type { Reply, Told } from "../waiters.ts";

const duration = z
  .union([z.int().min(0), z.string().transform(durationMs)])
  .pipe(z.number("must be a time such as 500, 10s or 24h").max(3_600_000_000));
const pattern = z.string().refine((text) => {
  try {
    return Boolean(new RegExp(text, "u"));
  } catch {
    return false;
  }
}, "must be a regular expression");

/** What a step expects. */
export const Expected = z.strictObject({
  /** The text of the first finished answer, exactly. */
  reply: z.string().optional(),
  /** A part of the text of some answer. */
  contains: z.string().optional(),
  /** A regular expression for the text of some answer. */
  matches: pattern.optional(),
  /** The msgtype of some answer. */
  kind: z.string().optional(),
  /** How some answer came: respond, welcome, update, send. */
  via: z.string().optional(),
  /** The least number of frames of some answer. */
  frames: z.int().min(1).optional(),
  /** There is no answer, and the whole time is waited to see that. */
  none: z.literal(true).optional(),
  /** The bot's state. */
  state: z.enum(["subscribed", "offline"]).optional(),
  /** Which lint rules were broken so far; none or a list. */
  lint: z.union([z.literal("none"), z.array(z.enum(Object.keys(lintRules)))]).optional(),
  within: duration.optional(),
});
export type Expected = z.infer<typeof Expected>;

const whom = { from: z.string().optional(), chat: z.string().optional(), expect: Expected.optional() };

const Step = z.union([
  z.strictObject({ say: z.union([z.string(), z.looseObject({ msgtype: z.string() })]), ...whom }),
  z.strictObject({ trigger: z.string(), data: z.unknown().optional(), ...whom }),
  z.strictObject({
    kick: z.union([z.literal(true), z.strictObject({ closeAfterMs: z.union([z.int(), z.literal("never")]) })]),
    expect: Expected.optional(),
  }),
  z.strictObject({ cut: z.enum(["close", "reset", "half-open", "nat-drop"]), expect: Expected.optional() }),
  z.strictObject({ fault: z.string(), expect: Expected.optional() }),
  z.strictObject({ set: SomeSwitches, expect: Expected.optional() }),
  z.strictObject({ advance: duration, transport: z.boolean().optional(), expect: Expected.optional() }),
  z.strictObject({ wait: duration }),
  z.strictObject({ expect: Expected }),
]);
type Step = z.infer<typeof Step>;

/** A scenario file. */
export const Scenario = z.strictObject({
  name: z.string().optional(),
  bot: z.strictObject({ id: z.string(), secret: z.string(), name: z.string().optional() }).optional(),
  profile: z.enum(profileNames).optional(),
  switches: SomeSwitches.optional(),
  latencyMs: z.int().min(0).optional(),
  seed: z.union([z.int(), z.string()]).optional(),
  faults: z.array(z.string()).optional(),
  steps: z.array(Step).min(1),
});
export type Scenario = z.infer<typeof Scenario>;

/** What became of a step. */
export interface StepResult {
  readonly title: string;
  readonly ms: number;
  readonly outcome: "passed" | "failed" | "skipped";
  /** What was expected and what came instead. */
  readonly message?: string;
}

/** Plays a scenario with a bot that is subscribed. Never rejects: what goes wrong is a failed step. */
export const play = async (gateway: Gateway, bot: string, { steps }: Scenario): Promise<StepResult[]> => {
  const results: StepResult[] = [];
  let failed = false;
  for (const [index, step] of steps.entries()) {
    const title = `${index + 1}. ${titleOf(step)}`;
    if (failed) {
      results.push({ title, ms: 0, outcome: "skipped" });
      continue;
    }
    const begun = performance.now();
    const message = await take(gateway, bot, step).catch((error: unknown) => (error as Error).message);
    const ms = Math.round(performance.now() - begun);
    failed = message !== undefined;
    results.push(message === undefined ? { title, ms, outcome: "passed" } : { title, ms, outcome: "failed", message });
  }
  return results;
};

const defaultWithinMs = 10_000;

/** Does a step; returns what is wrong, if something is. */
const take = async (gateway: Gateway, bot: string, step: Step): Promise<string | undefined> => {
  const expected = "expect" in step ? step.expect : undefined;
  const waitMs = expected && speaksOfAnswers(expected) ? (expected.within ?? defaultWithinMs) : 0;
  if ("say" in step) {
    const said = typeof step.say === "string" ? { msgtype: "text", text: { content: step.say } } : step.say;
    const message = { ...where(step), ...said } as UserMessage;
    return judge(gateway, bot, expected, await gateway.say(bot, message, { waitMs }));
  }
  if ("trigger" in step) {
    const data = step.data === undefined ? {} : { [step.trigger]: step.data };
    const event = { eventtype: step.trigger, ...where(step), ...data } as UserEvent;
    return judge(gateway, bot, expected, await gateway.trigger(bot, event, { waitMs }));
  }
  if ("kick" in step) await gateway.kick(bot, step.kick === true ? {} : step.kick);
  else if ("cut" in step) {
    const { connection } = gateway.bots().find(({ id }) => id === bot) ?? {};
    if (connection === undefined || connection === null) return "the bot has no connection to cut";
    gateway.cut(connection, step.cut);
  } else if ("fault" in step) await gateway.addFault(readFault(step.fault));
  else if ("set" in step) gateway.set(step.set as SomeSwitches);
  else if ("advance" in step) gateway.advance(step.advance, step.transport ? { transport: true } : {});
  else if ("wait" in step) await pause(step.wait);
  return judge(gateway, bot, expected, undefined);
};

const judge = async (
  gateway: Gateway,
  bot: string,
  expected: Expected | undefined,
  told: Told | undefined,
): Promise<string | undefined> => {
  if (!expected) return told && !told.delivered ? `not delivered: ${told.reason ?? "for no reason given"}` : undefined;
  if (told) {
    const wrong = wrongAnswer(expected, told);
    if (wrong !== undefined) return wrong;
  }
  if (expected.state !== undefined) {
    const end = performance.now() + (expected.within ?? defaultWithinMs);
    while (gateway.bots().find(({ id }) => id === bot)?.state !== expected.state) {
      if (performance.now() > end) return `the bot is not ${expected.state}`;
      await pause(20);
    }
  }
  if (expected.lint === undefined) return undefined;
  const allowed = new Set<string>(expected.lint === "none" ? [] : expected.lint);
  const found = new Set<string>(gateway.findings(bot).map(({ rule }) => rule));
  const surplus = [...found].filter((rule) => !allowed.has(rule));
  const missing = [...allowed].filter((rule) => !found.has(rule));
  if (surplus.length > 0) return `lint found ${surplus.join(", ")}`;
  return missing.length > 0 ? `lint did not find ${missing.join(", ")}` : undefined;
};

const wrongAnswer = (expected: Expected, told: Told): string | undefined => {
  if (!told.delivered) return `not delivered: ${told.reason ?? "for no reason given"}`;
  const { replies } = told;
  const came = replies.length === 0 ? "no answer" : replies.map(words).join("; ");
  if (expected.none) return replies.length === 0 ? undefined : `expected no answer, got ${came}`;
  if (!speaksOfAnswers(expected)) return undefined;
  if (expected.reply !== undefined && told.reply !== expected.reply)
    return `expected the reply ${JSON.stringify(expected.reply)}, got ${came}`;
  const fits = (reply: Reply): boolean =>
    reply.finished &&
    (expected.contains === undefined || (reply.content?.includes(expected.contains) ?? false)) &&
    (expected.matches === undefined || new RegExp(expected.matches, "u").test(reply.content ?? "")) &&
    (expected.kind === undefined || reply.kind === expected.kind) &&
    (expected.via === undefined || reply.via === expected.via) &&
    (expected.frames === undefined || reply.frames >= expected.frames);
  if (replies.some(fits)) return undefined;
  const { within: _within, state: _state, lint: _lint, ...wanted } = expected;
  return `expected an answer with ${JSON.stringify(wanted)}, got ${came}`;
};

const speaksOfAnswers = ({ state: _state, lint: _lint, within: _within, ...rest }: Expected): boolean =>
  Object.keys(rest).length > 0;

const words = ({ kind, via, content, finished, frames }: Reply): string =>
  `${kind} by ${via}${content === undefined ? "" : ` ${JSON.stringify(content.slice(0, 200))}`} (${frames} frames${finished ? "" : ", unfinished"})`;

const where = ({ from = "zhangsan", chat }: { from?: string | undefined; chat?: string | undefined }) =>
  chat === undefined || chat === from
    ? { from: { userid: from }, chattype: "single" }
    : { from: { userid: from }, chattype: "group", chatid: chat };

const titleOf = (step: Step): string => {
  const [verb, object] = Object.entries(step)[0]!;
  return `${verb} ${typeof object === "string" ? object : JSON.stringify(object)}`;
};

const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

/** The results as JUnit XML: a suite a scenario, a case a step. */
export const junit = (suites: readonly { name: string; results: readonly StepResult[] }[]): string => {
  const count = (results: readonly StepResult[], outcome: StepResult["outcome"]): number =>
    results.filter((one) => one.outcome === outcome).length;
  const suite = ({ name, results }: { name: string; results: readonly StepResult[] }): string =>
    [
      `  <testsuite name="${escaped(name)}" tests="${results.length}" failures="${count(results, "failed")}" skipped="${count(results, "skipped")}">`,
      ...results.map(({ title, ms, outcome, message }) => {
        const inner =
          outcome === "passed"
            ? "/>"
            : `>${outcome === "skipped" ? "<skipped/>" : `<failure message="${escaped(message ?? "")}"/>`}</testcase>`;
        return `    <testcase classname="${escaped(name)}" name="${escaped(title)}" time="${ms / 1000}"${inner}`;
      }),
      "  </testsuite>",
    ].join("\n");
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n${suites.map(suite).join("\n")}\n</testsuites>\n`;
};

/** XML holds no control characters but three. */
const escaped = (text: string): string =>
  text
    .replaceAll(/(?![\t\n\r])\p{Cc}/gu, "\uFFFD")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll('"', "&quot;");
