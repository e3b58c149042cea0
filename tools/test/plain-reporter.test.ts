import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, describe, test } from "vitest";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

// Inside the repository, so that `vitest` resolves as it does for every other test.
const folder = mkdtempSync(join(root, "node_modules/.openws-reporter-"));
afterAll(() => rmSync(folder, { recursive: true }));

const reporter = JSON.stringify(join(root, "tools/plain-reporter.ts"));
writeFileSync(
  join(folder, "vitest.config.mjs"),
  `export default { test: { include: ["*/sample.test.ts"], exclude: [], reporters: [${reporter}] } };`,
);

/** Runs vitest with the reporter over one test file of the given text. */
async function run(source: string, ...args: string[]): Promise<{ code: number; lines: string[] }> {
  const name = basename(mkdtempSync(join(folder, "run-")));
  writeFileSync(join(folder, name, "sample.test.ts"), source);
  const vitest = join(root, "node_modules/vitest/vitest.mjs");
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [vitest, "run", name, ...args], {
      cwd: folder,
    });
    return { code: 0, lines: linesOf(stdout, name) };
  } catch (error) {
    const { code, stdout } = error as { code: number; stdout: string };
    return { code, lines: linesOf(stdout, name) };
  }
}

function linesOf(stdout: string, name: string): string[] {
  return stdout.trim().replaceAll(`${name}/sample.test.ts: `, "").split("\n");
}

const head = `
  import { beforeAll, describe, test } from "vitest";
  import { leftOut } from ${JSON.stringify(join(root, "tools/left-out.ts"))};
`;

describe.concurrent("a run closes with its counts", { timeout: 60_000 }, () => {
  test("all passed", async ({ expect }) => {
    expect(await run(`${head} test("a", () => {}); test("b", () => {});`)).toEqual({
      code: 0,
      lines: ["2 passed, 0 failed"],
    });
  });

  test("what is left out is named with its reason, and is no failure", async ({ expect }) => {
    const source = `${head} test("a", () => {});
      test("b", (context) => { leftOut(context, "the page", "no Chromium"); throw new Error("never reached"); });
      test("c", (context) => leftOut(context, "the page", "no Chromium"));`;
    expect(await run(source)).toEqual({
      code: 0,
      lines: ["left out: the page — no Chromium (2 tests)", "", "1 passed, 0 failed, 2 skipped"],
    });
  });

  test("a skip without a reason fails the run", async ({ expect }) => {
    expect(await run(`${head} test("a", () => {}); test.skip("b", () => {}); test.todo("c");`)).toEqual({
      code: 1,
      lines: ["skipped without a reason: b", "skipped without a reason: c", "", "1 passed, 2 failed, 2 skipped"],
    });
  });

  test("tests that were not asked for need no reason", async ({ expect }) => {
    const { code, lines } = await run(`${head} test("a", () => {}); test("b", () => {});`, "-t", "a");
    expect({ code, last: lines.at(-1) }).toEqual({ code: 0, last: "1 passed, 0 failed, 1 skipped" });
  });

  test("a hook that throws is a failure, though no test failed", async ({ expect }) => {
    const source = `${head} test("a", () => {});
      describe("d", () => { beforeAll(() => { throw new Error("boom"); }); test("b", () => {}); });`;
    const { code, lines } = await run(source);
    expect({ code, last: lines.at(-1) }).toEqual({ code: 1, last: "1 passed, 1 failed, 1 skipped" });
  });

  test("a file that cannot be loaded is a failure", async ({ expect }) => {
    const { code, lines } = await run(`import "./nowhere.ts";`);
    expect({ code, last: lines.at(-1) }).toEqual({ code: 1, last: "0 passed, 1 failed" });
  });

  test("an error outside of every test is a failure", async ({ expect }) => {
    const source = `${head} test("a", async () => {
      setTimeout(() => { throw new Error("boom"); }); await new Promise((done) => setTimeout(done, 50)); });`;
    const { code, lines } = await run(source);
    expect({ code, last: lines.at(-1) }).toEqual({ code: 1, last: "1 passed, 1 failed" });
  });
});
