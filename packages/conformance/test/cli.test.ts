/** The commands `run`, `list`, `explain` and `self-test` as their users meet them. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished } from "vitest";
import { cases } from "../src/cases.ts";
import { select } from "../src/main.ts";
import type { Report } from "../src/report.ts";
import { abilities } from "../src/testee.ts";

const source = (path: string): string => fileURLToPath(new URL(`../src/${path}`, import.meta.url));

const command = (...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> =>
  new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [source("cli.ts"), ...args],
      { timeout: 60_000 },
      (_error, stdout, stderr) => resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });

const observed = { contract: false, can: undefined };

describe("run", () => {
  it("judges a command, writes every report and exits 0 for a client that conforms", { timeout: 60_000 }, async () => {
    const out = mkdtempSync(join(tmpdir(), "openws-conformance-"));
    onTestFinished(() => rmSync(out, { recursive: true }));
    const bot = ["--", process.execPath, source("testees/plain-bot.ts")];
    const { code, stdout, stderr } = await command("run", "--run", "IN-7*", "--out", out, ...bot);
    expect({ code, last: stdout.trimEnd().split("\n").at(-1) }).toMatchObject({ code: 0 });
    expect(stderr).toContain("frames/bears-binary");
    const report = JSON.parse(readFileSync(join(out, "report.json"), "utf8")) as Report;
    expect(report.summary).toMatchObject({ pass: 2, fail: 0 });
    expect(report.client).toContain("plain-bot.ts");
    expect(readFileSync(join(out, "junit.xml"), "utf8")).toContain('failures="0"');
    expect(readFileSync(join(out, "report.html"), "utf8")).toContain("<!doctype html>");
  });

  it("exits 3 when the client opens no connection", { timeout: 60_000 }, async () => {
    const { code, stdout } = await command("run", "--", process.execPath, "--eval", "console.error('not today')");
    expect(code).toBe(3);
    expect(stdout).toContain("not today");
  });

  it.each([
    [["run"], "needs a command"],
    [["run", "--lane", "imaginary", "--", "true"], "imaginary"],
    [["run", "--tier", "imaginary", "--", "true"], "imaginary"],
    [["run", "--reporter", "poem", "--", "true"], "poem"],
    [["run", "--run", "NOTHING-1", "--", "true"], "no check"],
    [["explain", "NOTHING-1"], "NOTHING-1"],
  ])("%s is wrong usage", async (args, said) => {
    const { code, stdout, stderr } = await command(...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(said);
  });

  it("leaves out what needs the contract unless the bot keeps it", () => {
    const { selected, skipped } = select({ contract: false, can: undefined });
    expect(selected.some(({ contract }) => contract)).toBe(false);
    expect(skipped.get("STREAM-1a")).toContain("--contract");
  });

  it("leaves out what needs a testee, and of a testee what it does not declare", () => {
    const plays = (scope: Parameters<typeof select>[0]): unknown[] => select(scope).selected;
    expect(plays({ contract: true, can: undefined })).toEqual(cases.filter(({ needs }) => needs === undefined));
    expect(plays({ contract: true, can: abilities })).toEqual(cases);
    expect(plays({ contract: true, can: [] })).toEqual(cases.filter(({ needs = [] }) => needs.length === 0));
  });

  it("leaves out what takes long in the lane, and only there", () => {
    const every = { contract: true, can: abilities };
    const long = cases.filter(({ long: lanes = [] }) => lanes.includes("scaled"));
    expect(long.length).toBeGreaterThan(0);
    expect(select({ ...every, lane: "scaled" }).selected).toEqual(cases.filter((played) => !long.includes(played)));
    expect(select(every).selected).toEqual(cases);
  });

  it("plays a case for the one of its checks that is asked for, and no check is both wanted and left out", () => {
    const { selected, skipped } = select(observed, "BEAT-2a");
    expect(selected.map(({ name }) => name)).toEqual([
      "heartbeat/notices-unanswered-pings",
      "heartbeat/notices-a-silent-drop",
    ]);
    expect(skipped.has("BEAT-2a")).toBe(false);
    expect(skipped.has("BEAT-2b")).toBe(true);
    expect(select(observed, "kick/*", "KICK-4*").skipped.has("KICK-4a")).toBe(true);
  });
});

describe("list and explain", () => {
  it("tell each check and what is known of it", async () => {
    const list = await command("list");
    expect(list.stdout).toMatch(/^AUTH-1 +MUST .*first frame/m);
    const { code, stdout } = await command("explain", "beat-2A");
    expect(code).toBe(0);
    for (const said of [
      "BEAT-2a (MUST",
      "Source:",
      "heartbeat/notices-a-silent-drop",
      "ignores-unanswered-pings",
      "Tolerance:",
    ])
      expect(stdout).toContain(said);
  });

  it("say which abilities of a testee a check needs", async () => {
    expect((await command("explain", "MEDIA-1")).stdout).toContain("(testee: items, download)");
  });
});

describe("serve", () => {
  const attached = async (
    bot: Record<string, string>,
    ...flags: string[]
  ): Promise<{ code: number | null; stdout: string }> => {
    const gateway = spawn(process.execPath, [
      source("cli.ts"),
      "serve",
      "--lane",
      "scaled",
      "--say",
      "hello",
      ...flags,
    ]);
    let stdout = "";
    gateway.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    const ended = once(gateway, "exit") as Promise<[number | null]>;
    onTestFinished(() => void gateway.kill("SIGKILL"));
    await expect.poll(() => stdout, { timeout: 10_000 }).toContain("WECOM_BOT_WS_URL=");
    const settings: Record<string, string> = Object.fromEntries(
      [...stdout.matchAll(/^(WECOM_\w+)=(.*)$/gm)].map(([, name = "", value = ""]) => [name, value]),
    );
    const client = spawn(process.execPath, [source("testees/plain-bot.ts")], {
      env: { ...process.env, ...settings, ...bot, WECOM_HEARTBEAT_MS: "1500" },
    });
    onTestFinished(() => void client.kill("SIGKILL"));
    // Long enough to subscribe, to be spoken to and to answer.
    await new Promise((resolve) => {
      setTimeout(resolve, 3_500);
    });
    client.kill("SIGKILL");
    gateway.kill("SIGINT");
    return { code: (await ended)[0], stdout };
  };

  it("judges what is attached by hand until it is interrupted", { timeout: 30_000 }, async () => {
    const { code, stdout } = await attached({});
    expect(stdout).toMatch(/^\d+ pass, 0 fail$/m);
    expect(code).toBe(0);
  });

  it("exits 1 where a rule was broken, and says by which frame", { timeout: 30_000 }, async () => {
    const { code, stdout } = await attached({ OPENWS_TESTEE_DEFECT: "pings-before-it-subscribes" });
    expect(stdout).toContain("FAIL AUTH-1");
    expect(stdout).toContain('"cmd":"ping"');
    expect(code).toBe(1);
  });

  it("exits 3 where nothing connected", { timeout: 30_000 }, async () => {
    const { code, stdout } = await attached({ OPENWS_TESTEE_DEFECT: "never-connects" });
    expect(stdout).toContain("nothing connected");
    expect(code).toBe(3);
  });
});
