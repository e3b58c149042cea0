// The static checks, as tests: so `npm test` needs no second runner and closes with one line for everything.
// `npm run check` is the same without the tests.
import { execFile } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { test } from "vitest";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

test.for<[says: string, tool: string, ...args: string[]]>([
  ["the types hold", "typescript/bin/tsc", "-b"],
  ["lint finds nothing", "oxlint/bin/oxlint"],
  ["every file is formatted (npm run format)", "oxfmt/bin/oxfmt", "--check"],
])("%s", { timeout: 120_000 }, async ([, tool, ...args]) => {
  const command = [join(root, "node_modules", tool), ...args];
  await promisify(execFile)(process.execPath, command, { cwd: root, maxBuffer: 1 << 24 }).catch((error: unknown) => {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`${stdout}${stderr}`, { cause: error });
  });
});
