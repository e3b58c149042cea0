import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { LANES } from "./tools/lanes.ts";

const lanes = Object.entries(LANES).map(([name, what]) => `lane ${name} — ${what}; npm run lane -- ${name}`);

/** What `npm test` runs. The slower lanes have a configuration of their own: vitest.lanes.config.ts. */
export default defineConfig({
  test: {
    projects: ["packages/*", { test: { name: "repository", include: ["tools/test/**/*.test.ts"] } }],
    // One less than the cores, as by default, is one on two of them, and many a test only waits for a process it started.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    reporters: ["default", ["./tools/plain-reporter.ts", { alsoLeftOut: lanes }]],
  },
});
