/**
 * Mutation tests of the state machines and of what they lean on: `npx stryker run` in this directory, or, far quicker,
 * `OPENWS_MUTATE=requests npx stryker run` for one file and its own tests. What survives is explained in docs/mutation.md.
 *
 * @type {import("@stryker-mutator/api/core").PartialStrykerOptions}
 */
export default {
  mutate: [`src/${process.env["OPENWS_MUTATE"] ?? "{backoff,budget,connection,requests,stream,text,upload}"}.ts`],
  testRunner: "vitest",
  // By address: pnpm hides plugins from the package that looks for them.
  plugins: [import.meta.resolve("@stryker-mutator/vitest-runner")],
  // Stryker would rewrite it with an API that TypeScript 7 no longer has, and a copy of it would point nowhere. Without
  // one, the sandbox finds the package's own.
  tsconfigFile: "none",
  ignorePatterns: ["tsconfig.json"],
  vitest: { configFile: "vitest.mutation.config.ts", related: false },
  coverageAnalysis: "perTest",
  // A test that fails tells nothing more by failing again, and properties shrink what they refute.
  disableBail: false,
  concurrency: 1,
  // Many a mutant loops, and is noticed by its time alone: what the tests take, half as much again, and this.
  timeoutMS: 10_000,
  reporters: ["clear-text", "json", "html"],
  clearTextReporter: {
    allowColor: false,
    allowEmojis: false,
    logTests: false,
    reportTests: false,
    reportScoreTable: true,
  },
  thresholds: { high: 95, low: 90, break: 90 },
};
