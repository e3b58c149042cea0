// What a user installs: the four packages, packed as they would be published, installed by npm into an empty project,
// and used from there. The sources run from the checkout all day; nothing but this test runs what is in the tarballs.
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const root = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));
const PNPM = /pnpm@[\d.]+/.exec(readFileSync(join(root, "tools/setup.mjs"), "utf8"))?.[0] ?? "pnpm";
const names = ["protocol", "mock-gateway", "connector", "conformance"] as const;

let project: string;
const children: ChildProcess[] = [];

beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), "openws-pack-"));
  execFileSync("npm", ["run", "-s", "build"], { cwd: root, stdio: "pipe" });
  for (const name of names) {
    const args = ["--yes", PNPM, "pack", "--pack-destination", join(project, "packed")];
    execFileSync("npx", args, { cwd: join(root, "packages", name), stdio: "pipe" });
  }
  writeFileSync(join(project, "package.json"), `{"private":true,"type":"module"}`);
  const tarballs = readdirSync(join(project, "packed")).map((file) => `./packed/${file}`);
  execFileSync("npm", ["install", "--no-audit", "--no-fund", ...tarballs], { cwd: project, stdio: "pipe" });
}, 180_000);

afterAll(async () => {
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  rmSync(project, { recursive: true });
});

describe.for(names)("the tarball of %s", (name) => {
  const folder = () => join(project, "node_modules/@openws", name);

  test("holds what is needed and nothing else", () => {
    const top = readdirSync(folder()).filter((file) => file !== "node_modules");
    const own: Partial<Record<string, string[]>> = {
      "mock-gateway": ["FAULTS.md", "SCENARIOS.md", "console"],
      conformance: ["TESTEE.md", "templates"],
    };
    expect(new Set(top)).toEqual(new Set(["LICENSE", "README.md", "dist", "package.json", ...(own[name] ?? [])]));
  });

  test("names no workspace and no source", () => {
    const manifest = readFileSync(join(folder(), "package.json"), "utf8");
    expect(manifest).not.toMatch(/workspace:|catalog:|\.\/src\//);
  });

  test("every entry it exports loads", () => {
    const { exports } = JSON.parse(readFileSync(join(folder(), "package.json"), "utf8")) as {
      exports: Record<string, { default?: string }>;
    };
    const entries = Object.keys(exports).filter((entry) => !entry.includes("*"));
    expect(entries).not.toEqual([]);
    const script = entries.map((entry) => `await import("@openws/${name}${entry.slice(1)}");`).join("\n");
    execFileSync(process.execPath, ["--input-type=module", "-e", script], { cwd: project, stdio: "pipe" });
  });
});

interface Announcement {
  readonly url: string;
  readonly console: string;
  readonly api: string;
}

/** Runs an installed binary that announces itself by a line of JSON. */
async function announced(binary: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<Announcement> {
  const command = join(project, "node_modules/.bin", binary);
  const child = spawn(command, args, {
    cwd: project,
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...env },
  });
  children.push(child);
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  return JSON.parse(line) as Announcement;
}

test("the binaries work together", { timeout: 60_000 }, async () => {
  const bot = { id: "packed", secret: "a-secret-of-the-packed" };
  const gateway = await announced("openws-gateway", [
    "--json",
    "--listen",
    "127.0.0.1:0",
    "--bot",
    `${bot.id}:${bot.secret}`,
  ]);
  expect(await (await fetch(gateway.console)).text()).toContain("<title>");
  await announced("openws-connector", ["serve", "--echo", "--json", "--listen", "127.0.0.1:0"], {
    WECOM_BOT_ID: bot.id,
    WECOM_BOT_SECRET: bot.secret,
    WECOM_BOT_WS_URL: gateway.url,
    OPENWS_DATABASE: ":memory:",
  });
  await fetch(`${gateway.api}/bots/${bot.id}?wait=10000`);
  const said = await fetch(`${gateway.api}/bots/${bot.id}/messages?wait=10000`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ from: { userid: "zhangsan" }, msgtype: "text", text: { content: "hello" } }),
  });
  expect(await said.json()).toMatchObject({ delivered: true, reply: "echo: hello" });
  const conformance = join(project, "node_modules/.bin/openws-conformance");
  expect(execFileSync(conformance, ["--version"], { encoding: "utf8" })).toMatch(/\d+\.\d+\.\d+\n$/);
});

test.for([
  ["OPENWS_SINKS", "amqp://alice:p4ss-word@127.0.0.1:1/", "npm install rabbitmq-client"],
  ["OPENWS_SINKS", "kafka://127.0.0.1:1/topic", "npm install @platformatic/kafka"],
  ["OPENWS_SINKS", "nats://127.0.0.1:1/subject", "npm install @nats-io/transport-node @nats-io/jetstream"],
  ["OPENWS_SINKS", "redis://127.0.0.1:1/0", "npm install ioredis"],
  ["OPENWS_LEASE", "redis://127.0.0.1:1", "ioredis"],
] as const)("%s=%s without its client ends at once and says what to install", ([name, url, install]) => {
  for (const [language, words] of [
    ["en_US.UTF-8", /is not installed/],
    ["zh_CN.UTF-8", /尚未安装/],
  ] as const) {
    const { status, stdout, stderr } = spawnSync(
      join(project, "node_modules/.bin/openws-connector"),
      ["serve", "--listen", "127.0.0.1:0"],
      {
        cwd: project,
        encoding: "utf8",
        timeout: 20_000,
        env: { ...process.env, LC_ALL: language, OPENWS_DATABASE: ":memory:", [name]: url },
      },
    );
    expect(status).toBe(2);
    expect(stderr).toMatch(words);
    expect(stderr).toContain(install);
    expect(`${stdout}${stderr}`).not.toMatch(/alice|p4ss-word|^\s+at /m);
  }
});

test("a user's TypeScript sees the types", { timeout: 60_000 }, () => {
  const source = `
    import { startGateway } from "@openws/mock-gateway";
    import { createBot } from "@openws/connector";
    import { Connection } from "@openws/protocol";
    createBot({ botId: "b", secret: "s" }).on("text", (message) => "echo: " + message.text);
    const gateway = await startGateway({ bots: [{ id: "b", secret: "s" }] });
    const told: { reply: string | null } = await gateway.say("b", "hello");
    export const use: [typeof Connection, typeof told] = [Connection, told];
    // @ts-expect-error a bot has an id
    await startGateway({ bots: [{ secret: "s" }] });
  `;
  mkdirSync(join(project, "src"));
  writeFileSync(join(project, "src/use.ts"), source);
  const options = ["--strict", "--noEmit", "--module", "nodenext", "--target", "es2024", "--skipLibCheck"];
  const types = [
    "--lib",
    "es2024,esnext.disposable",
    "--types",
    "node",
    "--typeRoots",
    join(root, "node_modules/@types"),
  ];
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const args = [tsc, ...options, ...types, "--ignoreConfig", "src/use.ts"];
  try {
    execFileSync(process.execPath, args, { cwd: project, stdio: "pipe" });
  } catch (error) {
    throw new Error(String((error as { stdout: Buffer }).stdout), { cause: error });
  }
});
