// Closes a run with what any reader, human or machine, wants last: what was left out and why, then one line of counts.
//
//     left out: the page in a browser — no Chromium is installed (2 tests)
//
//     412 passed, 0 failed, 2 skipped
//
// A skip must carry a reason (tools/left-out.ts); one without fails the run, because nobody would ever miss it.
import type { Reporter, TestCase, TestModule, TestSuite, Vitest } from "vitest/node";

/** Settings of the reporter, as the second element of its pair in the configuration. */
export interface PlainReporterOptions {
  /** What a whole run leaves out by design, each "WHAT — REASON". Not printed when only a part was asked for. */
  readonly alsoLeftOut?: readonly string[];
}

export default class PlainReporter implements Reporter {
  readonly #alsoLeftOut: readonly string[];
  /** Whether the caller asked for some tests by name: then the others are skipped by wish and need no reason. */
  #filtered = false;
  #whole = true;

  constructor({ alsoLeftOut = [] }: PlainReporterOptions = {}) {
    this.#alsoLeftOut = alsoLeftOut;
  }

  onInit(vitest: Vitest): void {
    this.#filtered = vitest.config.testNamePattern !== undefined;
    this.#whole = !this.#filtered && vitest.config.project.length === 0;
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly unknown[]): void {
    const count = { passed: 0, failed: unhandled.length, skipped: 0 };
    const leftOut = new Map<string, number>();
    const silent: string[] = [];

    for (const module of modules) {
      // A module that cannot be loaded, or a suite whose hook throws, has no failed test to show for it.
      for (const suite of [module, ...module.children.allSuites()]) if (suite.errors().length > 0) count.failed++;
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state === "pending") continue;
        count[result.state]++;
        if (result.state !== "skipped" || this.#filtered) continue;
        if (result.note !== undefined) leftOut.set(result.note, (leftOut.get(result.note) ?? 0) + 1);
        else if (!isInFailedSuite(test)) silent.push(`${module.relativeModuleId}: ${test.fullName}`);
      }
    }

    const lines = [...leftOut].map(([note, tests]) => `left out: ${note} (${tests} ${tests === 1 ? "test" : "tests"})`);
    if (this.#whole) lines.push(...this.#alsoLeftOut.map((what) => `left out: ${what}`));
    lines.push(...silent.map((test) => `skipped without a reason: ${test}`));
    count.failed += silent.length;
    if (lines.length > 0) lines.push("");
    const skipped = count.skipped > 0 ? `, ${count.skipped} skipped` : "";
    lines.push(`${count.passed} passed, ${count.failed} failed${skipped}`);
    process.stdout.write(`\n${lines.join("\n")}\n`);
    if (count.failed > 0) process.exitCode = 1;
  }
}

function isInFailedSuite(test: TestCase): boolean {
  let suite: TestSuite | TestModule = test.parent;
  while (suite.type === "suite" && suite.errors().length === 0) suite = suite.parent;
  return suite.errors().length > 0;
}
