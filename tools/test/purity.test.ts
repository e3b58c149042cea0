import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const oxlint = join(root, "node_modules/oxlint/bin/oxlint");

const FORBIDDEN: readonly (readonly [file: string, source: string, rule: string])[] = [
  ["protocol/src/clock.ts", `export const at = Date.now();`, "no-restricted-globals"],
  ["protocol/src/date.ts", `export const at = (text: string) => new Date(text);`, "no-restricted-globals"],
  ["protocol/src/random.ts", `export const id = Math.random();`, "no-restricted-properties"],
  ["protocol/src/timer.ts", `export const t = setTimeout(() => 1, 1);`, "no-restricted-globals"],
  ["protocol/src/await.ts", `export async function wait(): Promise<void> {}`, "no-async-await"],
  ["protocol/src/then.ts", `export const never = new Promise(() => undefined);`, "no-restricted-globals"],
  ["protocol/src/entropy.ts", `export const id = crypto.randomUUID();`, "no-restricted-globals"],
  ["protocol/src/print.ts", `console.log("hello");`, "no-restricted-globals"],
  ["protocol/src/node.ts", `export const home = process.env;`, "no-restricted-globals"],
  ["protocol/src/way-round.ts", `export const clock = globalThis;`, "no-restricted-globals"],
  ["mock-gateway/src/session.ts", `export const at = Date.now();`, "no-restricted-globals"],
  ["mock-gateway/src/world.ts", `export const id = Math.random();`, "no-restricted-properties"],
  ["connector/src/bot.ts", `export const home = process.env;`, "no-restricted-globals"],
  ["connector/src/outbox.ts", `export const bytes = Buffer.from("x");`, "no-restricted-globals"],
  ["conformance/src/check.ts", `export const deno = typeof Deno;`, "no-restricted-globals"],
  ["connector/src/store.ts", `console.log("hello");`, "no-console"],
  ["connector/src/api.ts", `export default 1;`, "no-default-export"],
];

const ALLOWED: readonly (readonly [file: string, source: string])[] = [
  ["protocol/src/frames.ts", `export const limit = Math.max(1, 2);`],
  ["connector/src/runtime.node.ts", `export const now = () => Date.now() + process.pid;`],
  ["mock-gateway/src/uploads.ts", `export const bytes = Buffer.from("x");`],
  ["connector/src/cli.ts", `console.log(process.argv.length);`],
];

/** oxlint's findings by file, as its own names of the rules: the whole folder is judged once. */
let rulesByFile: Map<string, string[]>;
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "openws-purity-"));
  // None of these rules needs types, and a folder without node_modules has none to offer.
  const config = readFileSync(join(root, ".oxlintrc.json"), "utf8").replace('"typeAware": true', '"typeAware": false');
  writeFileSync(join(folder, ".oxlintrc.json"), config);
  for (const [file, source] of [...FORBIDDEN, ...ALLOWED]) {
    mkdirSync(dirname(join(folder, "packages", file)), { recursive: true });
    writeFileSync(join(folder, "packages", file), `${source}\n`);
  }
  const { stdout, stderr } = spawnSync(process.execPath, [oxlint, "--format=unix", "packages"], {
    cwd: folder,
    encoding: "utf8",
    timeout: 20_000,
  });
  rulesByFile = new Map(FORBIDDEN.map(([file]) => [file, []]));
  for (const [, file = "", rule = ""] of stdout.matchAll(/packages[/\\](\S+?):\d+:\d+: .*\[.*?([\w-]+)\)?\]$/gm)) {
    const key = file.replaceAll("\\", "/");
    rulesByFile.set(key, [...(rulesByFile.get(key) ?? []), rule]);
  }
  expect(stderr).toBe("");
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("lint refuses", () => {
  test.for(FORBIDDEN)("%s: %s", ([file, , rule]) => expect(rulesByFile.get(file)).toContain(rule));
});

test.for([`setTimeout(() => 1, 1);`, `console.log("hello");`, `export const home = process.env;`, `await fetch("x");`])(
  "the core's own settings do not compile %s",
  { timeout: 30_000 },
  (source) => {
    const project = mkdtempSync(join(tmpdir(), "openws-core-"));
    onTestFinished(() => rmSync(project, { recursive: true }));
    mkdirSync(join(project, "src"));
    writeFileSync(join(project, "src/slip.ts"), `${source}\nexport {};\n`);
    const own = JSON.stringify(join(root, "packages/protocol/tsconfig.json"));
    const settings = `{"extends":${own},"compilerOptions":{"rootDir":"src","outDir":"dist","noEmit":true},"include":["src"]}`;
    writeFileSync(join(project, "tsconfig.json"), settings);
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    const { stdout, status } = spawnSync(process.execPath, [tsc, "-p", project], { encoding: "utf8" });
    expect(status).not.toBe(0);
    expect(stdout).toMatch(/TS(2304|2584|2591|2580): Cannot find name/);
  },
);

describe("lint allows", () => {
  test.for(ALLOWED)("%s: %s", ([file]) => expect(rulesByFile.get(file) ?? []).toEqual([]));
});
