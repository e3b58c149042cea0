// `npm start` as a newcomer runs it: one command, an address, a bot that answers, and nothing left behind.
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { leftOut } from "../left-out.ts";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
let child: ChildProcessByStdio<null, Readable, Readable>;
let output: string;

function start(...args: string[]): void {
  child = spawn(process.execPath, [join(root, "tools/start.ts"), ...args], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
  });
  output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => (output += text));
}

/** Waits until the output holds the pattern; the test's own limit ends a wait in vain. */
async function printed(pattern: RegExp): Promise<RegExpExecArray> {
  for (;;) {
    const match = pattern.exec(output);
    if (match) return match;
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode} and printed:\n${output}`);
    await Promise.race([once(child.stdout, "data"), once(child.stderr, "data"), once(child, "exit")]);
  }
}

async function ended(): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  return child.exitCode;
}

afterEach(async () => {
  child.kill("SIGTERM");
  await ended();
});

describe("npm start", { timeout: 30_000 }, () => {
  let page: URL;

  beforeEach(async () => {
    start("--listen", "127.0.0.1:0");
    const [, address = ""] = await printed(/Talk to the echo bot: +(http:\/\/\S+)/);
    page = new URL(address);
  });

  test("prints the address of a page on which a bot answers", async () => {
    expect(await (await fetch(page)).text()).toContain("<title>");
    await fetch(new URL("/api/bots/echo-bot?wait=10000", page));
    const said = await fetch(new URL("/api/bots/echo-bot/messages?wait=10000", page), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ from: { userid: "zhangsan" }, msgtype: "text", text: { content: "你好" } }),
    });
    expect(await said.json()).toMatchObject({ delivered: true, reply: "echo: 你好" });
  });

  test("ends with everything it started when it is interrupted", async (context) => {
    if (process.platform === "win32")
      leftOut(context, "the interruption of npm start", "Windows has no SIGINT to send");
    child.kill("SIGINT");
    expect(await ended()).toBe(0);
    await expect(fetch(page)).rejects.toThrow("fetch failed");
  });

  test("a port in use is one sentence, and nothing is left running", async () => {
    const first = child;
    start("--listen", page.host);
    expect(await ended()).not.toBe(0);
    expect(output).toContain(page.port);
    expect(output).not.toContain("    at ");
    child = first;
  });
});

test("npm start names a flag that it does not know and exits 2", { timeout: 10_000 }, async () => {
  start("--nonsense");
  expect(await ended()).toBe(2);
  expect(output).toContain("--nonsense");
});
