/** The conformance suite as a library. What a command line needs is in cli.ts. */

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
