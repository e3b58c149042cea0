// A test that this machine cannot run (no Chromium, no Python, not this platform) says so instead of passing or
// vanishing: the closing report names it. A skip without a reason fails the run (tools/plain-reporter.ts).
import type { TestContext } from "vitest";

/**
 * Leaves the running test out and has the run's closing report say so. Nothing after the call runs.
 *
 * Call it in a test, or in a `beforeEach` for every test of a suite:
 *
 *     test("the page shows the answer grow", async (context) => {
 *       const chromium = findChromium() ?? leftOut(context, "the page in a browser", "no Chromium is installed");
 *
 * @param context what vitest hands to the test
 * @param what a few words that a reader of the report understands without the test's title
 * @param reason why it cannot run here; best with what would let it run
 */
export function leftOut(context: Pick<TestContext, "skip">, what: string, reason: string): never {
  return context.skip(`${what} — ${reason}`);
}
