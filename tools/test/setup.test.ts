// tools/setup.mjs against an npx that only notes what it was asked: what is tested is when it installs, not pnpm.
import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { leftOut } from "../left-out.ts";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

let folder: string;

beforeEach((context) => {
  if (process.platform === "win32")
    leftOut(context, "the set-up's decisions", "the stand-in for npx is a shell script");
  folder = mkdtempSync(join(tmpdir(), "openws-setup-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, "tools"));
  mkdirSync(join(folder, "packages/one"), { recursive: true });
  mkdirSync(join(folder, "bin"));
  cpSync(join(root, "tools/setup.mjs"), join(folder, "tools/setup.mjs"));
  write("package.json", "{}");
  write("packages/one/package.json", `{"name":"one"}`);
  write("pnpm-lock.yaml", "lock: 1");
  npxThat("mkdir -p node_modules packages/one/node_modules");
});

function write(file: string, text: string): void {
  writeFileSync(join(folder, file), text);
}

function npxThat(does: string): void {
  write("bin/npx", `#!/bin/sh\necho "$@" >>calls\n${does}\n`);
  chmodSync(join(folder, "bin/npx"), 0o755);
}

/** One run of the set-up, and how many installations there have been in all. */
function setup(): { code: number | null; said: string; installs: number } {
  const env = { ...process.env, PATH: `${join(folder, "bin")}${delimiter}${process.env["PATH"] ?? ""}` };
  const { status, stderr } = spawnSync(process.execPath, [join(folder, "tools/setup.mjs")], { env, encoding: "utf8" });
  const calls = join(folder, "calls");
  const installs = existsSync(calls) ? readFileSync(calls, "utf8").trim().split("\n").length : 0;
  return { code: status, said: stderr, installs };
}

test("it installs what the lock file says, once", () => {
  expect(setup()).toEqual({ code: 0, said: "", installs: 1 });
  expect(readFileSync(join(folder, "calls"), "utf8")).toMatch(/^--yes pnpm@\d+\.\d+\.\d+ install --frozen-lockfile/);
  expect(setup()).toEqual({ code: 0, said: "", installs: 1 });
});

test.for<[change: string, act: () => void]>([
  ["the lock file", () => write("pnpm-lock.yaml", "lock: 2")],
  ["a package's manifest", () => write("packages/one/package.json", `{"name":"two"}`)],
  ["the workspace's settings", () => write("pnpm-workspace.yaml", "packages: []")],
  ["node_modules, deleted", () => rmSync(join(folder, "node_modules"), { recursive: true })],
  ["a package's node_modules, deleted", () => rmSync(join(folder, "packages/one/node_modules"), { recursive: true })],
])("it installs again after a change of %s, and then rests", ([, act]) => {
  setup();
  act();
  expect(setup().installs).toBe(2);
  expect(setup().installs).toBe(2);
});

test("a branch that was changed to and back installs both times", () => {
  setup();
  write("pnpm-lock.yaml", "lock: 2");
  setup();
  write("pnpm-lock.yaml", "lock: 1");
  expect(setup().installs).toBe(3);
});

test("a failed installation says so in a sentence and is tried again", () => {
  npxThat("exit 3");
  const failed = setup();
  expect(failed.code).toBe(1);
  expect(failed.said).toMatch(/^openws setup: the packages were not installed; .*npm registry reachable\?/m);
  npxThat("mkdir -p node_modules packages/one/node_modules");
  expect(setup()).toEqual({ code: 0, said: "", installs: 2 });
});

test("an incomplete checkout is named", () => {
  rmSync(join(folder, "pnpm-lock.yaml"));
  expect(setup()).toMatchObject({ code: 1, installs: 0 });
  expect(setup().said).toBe("openws setup: pnpm-lock.yaml is missing; is this a complete checkout?\n");
});
