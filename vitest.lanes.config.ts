import { defineConfig } from "vitest/config";
import { LANES, laneTests } from "./tools/lanes.ts";

/** The slower lanes, one project each: `npm run lane -- NAME`. Their tests talk to real processes and take real time. */
export default defineConfig({
  test: {
    projects: Object.keys(LANES).map((name) => ({
      test: {
        name,
        include: [laneTests(name)],
        testTimeout: 60_000,
        hookTimeout: 120_000,
        expect: { poll: { timeout: 15_000 } },
      },
    })),
    reporters: ["default", "./tools/plain-reporter.ts"],
  },
});
