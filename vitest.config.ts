import { defineConfig } from "vitest/config";

/** What `npm test` runs. The slower lanes have a configuration of their own: vitest.lanes.config.ts. */
export default defineConfig({
  test: {
    projects: ["packages/*", { test: { name: "repository", include: ["tools/test/**/*.test.ts"] } }],
    reporters: ["default", "./tools/plain-reporter.ts"],
  },
});
