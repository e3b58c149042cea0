import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { readScenario, run } from "../src/cli/run.ts";
import { Expected, Scenario } from "../src/cli/scenario.ts";
import { UsageError } from "../src/cli/usage.ts";

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const bot = ["--", process.execPath, here("./echo-bot.ts")];

let out = "";
let folder = "";
beforeEach(() => {
  out = "";
  folder = mkdtempSync(join(tmpdir(), "openws-scenario-"));
  vi.spyOn(process.stdout, "write").mockImplementation((text) => Boolean((out += String(text))));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

test("SCENARIOS.md has an example that is read, and every member of a file, a step and an expectation", () => {
  const page = readFileSync(here("../SCENARIOS.md"), "utf8");
  const example = join(folder, "example.yaml");
  writeFileSync(example, /```yaml\n([^]*?)```/.exec(page)![1]!);
  expect(readScenario(example).steps).toHaveLength(8);
  const { steps, ...file } = Scenario.shape;
  const members = steps.element.options.flatMap(({ shape }) => Object.keys(shape));
  for (const member of [...Object.keys(file), ...members, ...Object.keys(Expected.shape)])
    expect(page).toContain(`\`${member}`);
});

describe("run", () => {
  test("plays every kind of step with a bot in a process of its own", async () => {
    const code = await run([here("./scenarios/echo.yaml"), ...bot], process.env);
    expect(out).toContain("an echo bot\n");
    expect(out).toMatch(/11 passed, 0 failed, 0 skipped\n$/);
    expect(code).toBe(0);
  });

  test("says what was expected and what came, skips the rest, and writes JUnit", async () => {
    const file = join(folder, "results.xml");
    expect(await run([here("./scenarios/wrong.yaml"), "--junit", file, ...bot], process.env)).toBe(1);
    expect(out).toMatch(
      /FAILED 1\. say hello .*\n\s+expected the reply "something else", got stream by respond "echo: hello"/,
    );
    expect(out).toMatch(/1 passed, 1 failed, 1 skipped\n$/);
    const xml = readFileSync(file, "utf8");
    expect(xml).toContain('<testsuite name="what does not come" tests="3" failures="1" skipped="1">');
    expect(xml).toContain('<failure message="expected the reply &quot;something else&quot;');
  });

  test("a bot that ends or never subscribes fails its scenario, a program that is not there is said so", async () => {
    const scenario = here("./scenarios/wrong.yaml");
    expect(await run([scenario, "--", process.execPath, "-e", "process.exit(7)"], process.env)).toBe(1);
    expect(out).toContain("the bot ended (7) before it subscribed");
    expect(
      await run(
        [scenario, "--ready", "100ms", "--", process.execPath, "-e", "setTimeout(() => {}, 60000)"],
        process.env,
      ),
    ).toBe(1);
    expect(out).toContain("did not subscribe within 100 ms");
    await expect(run([scenario, "--", "/no/such/program"], process.env)).rejects.toThrow(/there is no program/);
  });

  test("a file that will not do is named with the place that is wrong", () => {
    const wrong = (text: string) => {
      const file = join(folder, "x.yaml");
      writeFileSync(file, text);
      return () => readScenario(file);
    };
    expect(wrong("steps: [")).toThrow(UsageError);
    expect(wrong("name: x")).toThrow(/steps/);
    expect(wrong("steps: [{ dance: 1 }]")).toThrow(/steps\.0: is none of the steps/);
    expect(wrong("steps: [{ say: x, expect: { within: soon } }]")).toThrow(/steps\.0\.expect\.within: .*such as 500/);
    expect(() => readScenario(join(folder, "none.yaml"))).toThrow(/cannot be read/);
  });
});
