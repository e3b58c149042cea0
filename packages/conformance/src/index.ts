/** The conformance suite as a library. What a command line needs is in cli.ts. */

// Judging a client
export { judgeClient, runConformance, UsageError } from "./main.ts";
export type { ConformanceOptions, Subject } from "./main.ts";
export { exitCode } from "./report.ts";
export type { Report, Result } from "./report.ts";
export type { Finding, Line, Requirement, Verdict } from "./check.ts";

// A testee, in TypeScript or as a program
export { speak } from "./testees/speak.ts";
export { abilities } from "./testee.ts";
export type {
  Ability,
  Answer,
  Card,
  EventReport,
  FileGiven,
  Given,
  Hello,
  Item,
  MessageReport,
  Op,
  Outcome,
  ReplyOp,
  Reported,
  State,
  Testee,
  TesteeClient,
} from "./testee.ts";

// The simulator: the core against the mock gateway in virtual time
export { simulate, scheduleOf, schedules } from "./sim.ts";
export type { Command, Core, Fault, Schedule } from "./sim.ts";
export { campaign, replay } from "./sim/campaign.ts";
export type { Campaign, CampaignOptions, Failure } from "./sim/campaign.ts";

// Its oracle
export { behaviours } from "./behaviours.ts";
export type { Coverage } from "./behaviours.ts";
export { invariants, judge } from "./invariants.ts";
export type { Breach, Invariant } from "./invariants.ts";
export type { Happening, History } from "./history.ts";
