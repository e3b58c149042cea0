import { defineConfig } from "vitest/config";

/**
 * The tests that judge mutants: those that bear the name of the file that is mutated, or of all the machines. The rest
 * of the package's tests would only cost time, and a hole in a file's own tests is a hole.
 */
const file = process.env["OPENWS_MUTATE"] ?? "{backoff,budget,connection,requests,stream,text,upload}";

export default defineConfig({
  test: {
    include: [`test/${file}{,.properties}.test.ts`],
    setupFiles: ["test/mutation-setup.ts"],
    // Stryker has limits of its own, by what a test takes on the original.
    testTimeout: 60_000,
  },
});
