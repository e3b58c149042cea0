// The machinery of .ci/run, with lanes of its own in place of the real ones: what it counts, what it names, how it ends.
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { leftOut } from "../left-out.ts";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

beforeEach((context) => {
  if (process.platform !== "linux") leftOut(context, "the gate's machinery", "the gate runs on Linux");
});

/** Runs the gate with the given lanes, each a shell command, and returns its last lines from the summary on. */
function gate(lanes: Record<string, string>, ...args: string[]): { code: number | null; summary: string[] } {
  const folder = mkdtempSync(join(tmpdir(), "openws-gate-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const functions = Object.entries(lanes).map(([name, command]) => `lane_${name}() { ${command}; }`);
  const calls = Object.keys(lanes).map((name) => `lane ${name} 0.03`);
  const script = readFileSync(join(root, ".ci/run"), "utf8")
    .replace(/(# --- the lanes -+\n)[^]*?(# --- the machinery)/, `$1${functions.join("\n")}\n$2`)
    .replace(/(?:^lane \w+ \d+\n)+/m, `${calls.join("\n")}\n`);
  mkdirSync(join(folder, ".ci"));
  writeFileSync(join(folder, ".ci/run"), script);
  writeFileSync(join(folder, "package.json"), `{"scripts":{"setup":"node --version"}}`);
  chmodSync(join(folder, ".ci/run"), 0o755);
  const env = { ...process.env, XDG_CACHE_HOME: join(folder, "cache"), TMPDIR: folder };
  const { status, stdout, stderr } = spawnSync(join(folder, ".ci/run"), args, { env, encoding: "utf8" });
  const lines = stdout.trim().split("\n");
  const summary = lines.slice(lines.findIndex((line) => line.startsWith("=== summary")) + 1);
  return { code: status, summary: [...summary, ...stderr.split("\n")].filter((line) => line !== "") };
}

test("it sums what the lanes counted", () => {
  const lanes = { one: "echo '3 passed, 0 failed'", two: "echo '4 passed, 0 failed, 2 skipped'" };
  expect(gate(lanes)).toEqual({ code: 0, summary: ["7 passed, 0 failed, 2 skipped"] });
});

test("it runs only the lanes that were asked for, and knows no others", () => {
  const lanes = { one: "echo '3 passed, 0 failed'", two: "echo '4 passed, 0 failed'" };
  expect(gate(lanes, "two")).toEqual({ code: 0, summary: ["4 passed, 0 failed"] });
  expect(gate(lanes, "three")).toMatchObject({ code: 2 });
});

test("a lane that cannot run is named with its reason and is not counted as passed", () => {
  const { code, summary } = gate({ one: "echo '3 passed, 0 failed'", two: "cannot 'there is no Rust'" });
  expect({ code, summary }).toEqual({
    code: 0,
    summary: ["NOT RUN: two — there is no Rust", "3 passed, 0 failed, 1 skipped"],
  });
});

test("what a lane left out is named again at the end", () => {
  const { summary } = gate({ one: "echo 'left out: the page — no Chromium (1 test)'; echo '3 passed, 0 failed'" });
  expect(summary[0]).toBe("one: left out: the page — no Chromium (1 test)");
});

test.for<[title: string, command: string, remark: RegExp, counts: string]>([
  ["with failed tests", "echo '2 passed, 1 failed'; exit 1", /^FAILED: one — 2 passed, 1 failed/, "2 passed, 1 failed"],
  ["that counts nothing", "true", /^FAILED: one — ended with 0 and printed no counts/, "0 passed, 1 failed"],
  [
    "that ends badly after its counts",
    "echo '2 passed, 0 failed'; exit 9",
    /^FAILED: one — .* 9/,
    "2 passed, 1 failed",
  ],
  ["that takes too long", "sleep 20", /^FAILED: one — .*time limit/, "0 passed, 1 failed"],
])("a lane %s fails the gate", { timeout: 15_000 }, ([, command, remark, counts]) => {
  const { code, summary } = gate({ one: command });
  expect(code).toBe(1);
  expect(summary[0]).toMatch(remark);
  expect(summary.at(-1)).toBe(counts);
});

test("what a lane leaves behind is ended, and holds nothing up", { timeout: 15_000 }, () => {
  const started = performance.now();
  expect(gate({ one: "sleep 60 & echo '1 passed, 0 failed'" }).summary).toEqual(["1 passed, 0 failed"]);
  expect(performance.now() - started).toBeLessThan(10_000);
});

test("what is costly is made once for a key, and never kept half-made", () => {
  const make = 'make() { echo made >>"$cache/makes"; touch "$1/file"; }';
  const ask = `${make}; a=$(cached thing key make); b=$(cached thing key make); [ "$a" = "$b" ] && [ -e "$a/file" ]`;
  const again = 'cached thing other make >/dev/null; [ "$(wc -l <"$cache/makes")" = 2 ]';
  const broken = "! cached broken key false && ! cached broken key false";
  const lanes = { one: `${ask} && ${again} && ${broken} && echo '1 passed, 0 failed'` };
  expect(gate(lanes)).toEqual({ code: 0, summary: ["1 passed, 0 failed"] });
});
