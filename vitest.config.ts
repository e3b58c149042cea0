import { availableParallelism } from "node:os";
import { join } from "node:path";
import { defineConfig } from "vitest/config";
import conformance from "./packages/conformance/vitest.config.ts";
import connector from "./packages/connector/vitest.config.ts";
import mockGateway from "./packages/mock-gateway/vitest.config.ts";
import protocol from "./packages/protocol/vitest.config.ts";
import { LANES } from "./tools/lanes.ts";

const lanes = Object.entries(LANES).map(([name, what]) => `lane ${name} — ${what}; npm run lane -- ${name}`);

/** No test here is about so long a time; a machine that has other things to do is no failure. */
const patient = { testTimeout: 30_000, hookTimeout: 30_000, expect: { poll: { timeout: 15_000 } } };

/** What `npm test` runs. The slower lanes have a configuration of their own: vitest.lanes.config.ts. */
export default defineConfig({
  test: {
    // As objects, not as folders: so they share one server, which transforms each source once, and `maxWorkers`, without
    // which each of them would have one worker on two cores and would wait for the project before it.
    projects: [
      ...Object.entries({ conformance, connector, "mock-gateway": mockGateway, protocol }).map(([name, { test }]) => ({
        test: { ...patient, ...test, root: `packages/${name}` },
      })),
      { test: { ...patient, name: "repository", include: ["tools/test/**/*.test.ts"] } },
    ],
    // Some two hundred processes are started from the sources: they need not strip and compile the same files each.
    env: { NODE_COMPILE_CACHE: join(import.meta.dirname, "node_modules/.cache/compiled") },
    // Many a test only waits for a process it started.
    maxWorkers: availableParallelism() + 1,
    // For `--project protocol --coverage` (the lane `coverage`): of the core every branch matters. The path is the project's.
    coverage: {
      include: ["src/**"],
      reporter: [["text", { maxCols: 120 }]],
      thresholds: { branches: 98, functions: 98, lines: 98 },
    },
    reporters: ["default", ["./tools/plain-reporter.ts", { alsoLeftOut: lanes }]],
  },
});
