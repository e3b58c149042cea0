// What people expect of any command, held for all of ours (CONTRIBUTING.md, "Commands"). What each command does beyond
// that is tested in its own package.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

interface Manifest {
  readonly version: string;
  readonly bin: Readonly<Record<string, string>>;
}

function run(script: string, ...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [script, ...args], { timeout: 10_000 }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

describe.for(["mock-gateway", "connector", "conformance"])("%s", { timeout: 20_000 }, (folder) => {
  const home = join(root, "packages", folder);
  const manifest = JSON.parse(readFileSync(join(home, "package.json"), "utf8")) as Manifest;
  const [name = "", path = ""] = Object.entries(manifest.bin)[0] ?? [];
  const script = join(home, path);

  test("--help explains itself on stdout and exits 0", async () => {
    const { code, stdout, stderr } = await run(script, "--help");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain(name);
    expect(stdout).toContain("--version");
  });

  test("--version prints one line that ends in the package's version, and exits 0", async () => {
    const { code, stdout, stderr } = await run(script, "--version");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^[^\n]+\n$/);
    expect(stdout.trim().split(" ").at(-1)).toBe(manifest.version);
  });

  test.for([["--no-such-option"], ["no-such-command"]])("%s is named on stderr and exits 2", async (args) => {
    const { code, stdout, stderr } = await run(script, ...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(args[0]);
    expect(stderr.trim().split("\n").length, "a sentence and a pointer, no stack").toBeLessThanOrEqual(2);
  });
});
