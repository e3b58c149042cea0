import type { Reporter, TestModule } from "vitest/node";

/** Closes a run with the one line that any CI reads: `N passed, N failed, N skipped`. */
export default class PlainReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const count = { passed: 0, failed: errors.length, skipped: 0 };
    for (const module of modules) {
      let ran = false;
      for (const test of module.children.allTests()) {
        ran = true;
        const { state } = test.result();
        if (state !== "pending") count[state]++;
      }
      if (!ran && module.state() === "failed") count.failed++;
    }
    process.stdout.write(`\n${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped\n`);
  }
}
