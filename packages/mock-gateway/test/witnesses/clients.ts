/**
 * The clients that others wrote, as their registries hand them out: where each is from, how its bot program is started,
 * and what is known to come out differently with it.
 *
 * A difference is a defect or a gap of the client, never of the mock: it says where in the client's own source the cause
 * is, and how the scenario then fails. A scenario that comes out right although a difference is listed fails, too.
 */
import { fileURLToPath } from "node:url";
import type { Command } from "./witness.ts";

/** How a scenario comes out with a client, where that is not as it should. */
export interface Difference {
  /** `lacks`: the client has no function for it. `wrong`: it has one that does not work. */
  readonly kind: "lacks" | "wrong";
  /** What the failure of the scenario says. */
  readonly shows: RegExp;
  /** One sentence for readers of docs/clients.md. */
  readonly what: string;
}

/** One client. */
export interface Client {
  /** As its registry knows it. */
  readonly name: string;
  readonly version: string;
  readonly registry: string;
  readonly language: string;
  /** The bot program, or why it cannot run on this machine. */
  command(): Command | { cannotRun: string };
  /** By the name of the scenario. */
  readonly differences: Readonly<Partial<Record<string, Difference>>>;
}

const bot = (path: string): string => fileURLToPath(new URL(`bots/${path}`, import.meta.url));

export const nodeOfficial: Client = {
  name: "@wecom/aibot-node-sdk",
  version: "1.0.7",
  registry: "npm",
  language: "Node",
  command: () => ({ file: process.execPath, args: [bot("node_official.ts")] }),
  differences: {},
};
