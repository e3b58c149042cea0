/**
 * `npm run soak`: the long runs, one after the other. Each prints its command, its seed and its figures, and the first that
 * fails ends the soak with its exit code. docs/simulator.md, docs/durability.md and docs/conformance.md keep the figures.
 */
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    runs: { type: "string", default: "1000000" },
    fuzz: { type: "string", default: "10000000" },
    kills: { type: "string", default: "200" },
    only: { type: "string" },
  },
});

interface Run {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  readonly env?: Readonly<Record<string, string>>;
}

const root = new URL("..", import.meta.url);

const runs: readonly Run[] = [
  {
    name: "sim",
    // A young generation that holds a few schedules is collected less often.
    command: [
      "--max-semi-space-size=64",
      "packages/conformance/src/cli.ts",
      "sim",
      "--runs",
      values.runs,
      "--seed",
      values.seed,
    ],
  },
  {
    name: "fuzz",
    command: [
      "node_modules/vitest/vitest.mjs",
      "run",
      "--project",
      "protocol",
      "test/vectors.test.ts",
      "--testTimeout",
      "0",
    ],
    env: { FUZZ: values.fuzz },
  },
  {
    name: "kills",
    command: ["packages/connector/tools/kills/run.ts", "--kills", values.kills, "--seed", values.seed],
  },
  {
    name: "self-test",
    command: ["packages/conformance/src/cli.ts", "self-test", "--all", "--at-once", "24"],
  },
];
const names = runs.map(({ name }) => name);
if (values.only !== undefined && !names.includes(values.only)) {
  process.stderr.write(`soak: there is no run "${values.only}"; --only takes one of ${names.join(", ")}\n`);
  process.exit(2);
}

for (const { name, command, env = {} } of runs) {
  if (values.only !== undefined && values.only !== name) continue;
  const prefix = Object.entries(env).map(([key, value]) => `${key}=${value} `);
  process.stdout.write(`\n${name}: ${prefix.join("")}node ${command.join(" ")}\n`);
  const { status } = spawnSync(process.execPath, command, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: "inherit",
  });
  if (status !== 0) {
    process.exitCode = status ?? 4;
    break;
  }
}
