/** The runner on clients that misbehave as processes, and samples of the self-test. The whole of it is the lane `conformance`. */
import { describe, expect, it } from "vitest";
import { cases } from "../src/cases.ts";
import { lanes, type Case } from "../src/check.ts";
import { plainBot } from "../src/cli/self-test.ts";
import { judgeClient } from "../src/main.ts";
import { playOnce, run, type Spawn } from "../src/runner.ts";
import { canaries, selfTest } from "../src/selftest.ts";
import { environmentOf } from "../src/testee.ts";
import { Process } from "../src/testees/process.ts";

const options = { lane: lanes.scaled, seed: 1, atOnce: 2 };

/** A client that is this program. */
const program =
  (source: string): Spawn =>
  (given) =>
    new Process({ file: process.execPath, args: ["--input-type=module", "--eval", source] }, environmentOf(given));

const caseOf = (name: string): Case => cases.find((played) => played.name === name)!;
const greeting = caseOf("subscribing/subscribes-first");
const talk = caseOf("frames/bears-binary");

const plainBotUrl = new URL("../src/testees/plain-bot.ts", import.meta.url).href;

/** The plain bot, with these settings taken from its environment. */
const deafTo = (...names: string[]): string =>
  `for (const name of ${JSON.stringify(names)}) delete process.env[name]; await import(${JSON.stringify(plainBotUrl)});`;

describe.concurrent("where no lane is asked for, a bot that", () => {
  it.each([
    ["takes its durations is judged in the scaled lane", [], "scaled"],
    ["has its own is judged in the real lane", ["WECOM_HEARTBEAT_MS"], "real"],
  ])("%s", { timeout: 30_000 }, async (_title, names, lane) => {
    const command = { file: process.execPath, args: ["--input-type=module", "--eval", deafTo(...names)] };
    const report = await judgeClient({ tier: "observe", command, contract: false }, { run: "AUTH-1" });
    expect(report.lane).toBe(lane);
    expect(report.results.find(({ id }) => id === "AUTH-1")?.verdict).toBe("pass");
  });
});

describe.concurrent("a client that", () => {
  it("does not exist has not started", { timeout: 30_000 }, async ({ expect }) => {
    const spawn: Spawn = (given) => new Process({ file: "no-such-program-of-anybody", args: [] }, environmentOf(given));
    const { notStarted, outcomes } = await run([greeting, talk], spawn, options);
    expect(notStarted).toContain("opened no connection");
    expect(outcomes).toEqual([]);
  });

  it("dies at its start has not started, and its last words are told", { timeout: 30_000 }, async ({ expect }) => {
    const { notStarted } = await run([greeting], program('console.error("no such module"); process.exit(7)'), options);
    expect(notStarted).toContain("no such module");
  });

  it("connects and says nothing fails, and nothing of it is left", { timeout: 30_000 }, async ({ expect }) => {
    const mute = "new WebSocket(process.env.WECOM_BOT_WS_URL); process.on('SIGTERM', () => process.exit(0))";
    const played = await playOnce({ played: greeting, spawn: program(mute) }, options);
    expect(played.findings).toMatchObject([{ id: "AUTH-1", verdict: "fail" }]);
    expect(played.findings[0]?.message).toContain("nothing");
  });

  it("dies in the middle of a case fails what the case had still to judge", { timeout: 30_000 }, async ({ expect }) => {
    const dies =
      "const s = new WebSocket(process.env.WECOM_BOT_WS_URL); s.onopen = () => { console.log('farewell'); process.exit(5) }";
    const { findings } = await playOnce({ played: talk, spawn: program(dies) }, options);
    expect(findings.map(({ id, verdict }) => [id, verdict])).toEqual([
      ["IN-7a", "fail"],
      ["IN-7b", "fail"],
    ]);
    expect(findings[0]?.message).toContain("ended with 5");
    expect(findings[0]?.message).toContain("farewell");
  });

  it("floods the gateway is ended, and fails", { timeout: 30_000 }, async ({ expect }) => {
    const floods =
      "const s = new WebSocket(process.env.WECOM_BOT_WS_URL); s.onopen = () => setInterval(() => { for (let i = 0; i < 200; i++) s.send('{}') }, 1)";
    const { findings, ms } = await playOnce({ played: talk, spawn: program(floods) }, options);
    expect(findings[0]?.verdict).toBe("fail");
    expect(findings[0]?.message).toContain("floods");
    expect(ms).toBeLessThan(15_000);
  });

  it(
    "hangs leaves its case untested, is killed, and the next case is played",
    { timeout: 60_000 },
    async ({ expect }) => {
      const hangs = `const s = new WebSocket(process.env.WECOM_BOT_WS_URL);
      process.on("SIGTERM", () => {});
      s.onopen = () => { s.send(JSON.stringify({ cmd: "aibot_subscribe", headers: { req_id: "s" },
        body: { bot_id: process.env.WECOM_BOT_ID, secret: process.env.WECOM_BOT_SECRET } }));
        setTimeout(() => { for (;;); }, 100); };`;
      const { outcomes, harness } = await run([greeting, talk], program(hangs), options);
      const verdicts = Object.fromEntries(outcomes.map(({ id, verdict }) => [id, verdict]));
      expect(harness).toEqual([]);
      expect(verdicts).toMatchObject({ "AUTH-1": "pass", "IN-7a": "untested", "IN-7b": "untested" });
    },
  );

  it("prints garbage and closes its output is judged all the same", { timeout: 30_000 }, async ({ expect }) => {
    const garbage = `import { closeSync } from "node:fs";
      process.stdout.write(Buffer.from([0, 255, 254, 10, 123, 34]));
      closeSync(1);
      const s = new WebSocket(process.env.WECOM_BOT_WS_URL);
      s.onopen = () => s.send(JSON.stringify({ cmd: "aibot_subscribe", headers: { req_id: "s" },
        body: { bot_id: process.env.WECOM_BOT_ID, secret: process.env.WECOM_BOT_SECRET } }));`;
    const played = await playOnce({ played: greeting, spawn: program(garbage) }, options);
    expect(played.findings).toMatchObject([{ id: "AUTH-1", verdict: "pass" }]);
  });

  it(
    "goes away in the middle of its subscribe fails, and is told with its last words",
    { timeout: 30_000 },
    async ({ expect }) => {
      const gone =
        "const s = new WebSocket(process.env.WECOM_BOT_WS_URL); s.onopen = () => process.kill(process.pid, 'SIGSEGV')";
      const { findings } = await playOnce({ played: greeting, spawn: program(gone) }, options);
      expect(findings[0]).toMatchObject({ verdict: "fail" });
      expect(findings[0]?.message).toContain("was killed by SIGSEGV");
    },
  );
});

describe("a process", () => {
  it("that ignores SIGTERM is killed, with what it started", { timeout: 20_000 }, async () => {
    const shell =
      "const { spawn } = await import('node:child_process'); const c = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)']); process.on('SIGTERM', () => {}); console.log(c.pid); setInterval(() => {}, 1e6)";
    const testee = new Process({ file: process.execPath, args: ["--input-type=module", "--eval", shell] }, {});
    while (testee.output === "")
      await new Promise<void>((resolve) => {
        setTimeout(resolve, 20);
      });
    const end = await testee.stop(100);
    expect(end.how).toBe("was killed by SIGKILL");
    const grandchild = Number(testee.output);
    const gone = async (): Promise<boolean> => {
      for (let tries = 0; tries < 50; tries++) {
        try {
          process.kill(grandchild, 0);
        } catch {
          return true;
        }
        await new Promise<void>((resolve) => {
          setTimeout(resolve, 20);
        });
      }
      return false;
    };
    expect(await gone()).toBe(true);
  });

  it("that prints without end is remembered by its beginning and its end", { timeout: 20_000 }, async () => {
    const prints =
      "process.stdout.write('first words\\n'); for (let i = 0; i < 3000; i++) process.stdout.write('x'.repeat(999) + '\\n'); process.stdout.write('last words\\n')";
    const testee = new Process({ file: process.execPath, args: ["--input-type=module", "--eval", prints] }, {});
    await testee.exited;
    await testee.stop();
    expect(testee.output.length).toBeLessThan(600_000);
    expect(testee.output).toContain("first words");
    expect(testee.lastLines).toContain("last words");
  });
});

describe.concurrent("the plain bot", () => {
  it("passes the canaries while it is correct", { timeout: 60_000 }, async ({ expect }) => {
    const { outcomes } = await run(canaries.map(caseOf), plainBot("none"), options);
    expect(outcomes.filter(({ verdict }) => verdict !== "pass" && verdict !== "flaky")).toEqual([]);
    expect(outcomes.length).toBeGreaterThanOrEqual(8);
  });

  it("is caught with a defect, and with nothing else", { timeout: 60_000 }, async ({ expect }) => {
    const sample = ["ignores-binary", "answers-events-as-messages"];
    const trials = await selfTest(plainBot, { ...options, only: (name) => sample.includes(name) });
    expect(trials.map(({ defect, mistakes }) => [defect, mistakes])).toEqual(
      expect.arrayContaining(sample.map((name) => [name, []])),
    );
  });

  it("is reported when it passes what it should fail", { timeout: 60_000 }, async ({ expect }) => {
    const [trial] = await selfTest(() => plainBot("none"), { ...options, only: (name) => name === "ignores-binary" });
    expect(trial?.mistakes).toEqual(["IN-7b did not fail, nor when it was repeated"]);
  });

  it("is reported when it fails what it should pass", { timeout: 60_000 }, async ({ expect }) => {
    const [trial] = await selfTest(() => plainBot("closes-on-binary"), {
      ...options,
      only: (name) => name === "ignores-binary",
    });
    expect(trial?.mistakes).toEqual([expect.stringContaining("IN-7a came out as fail")]);
  });
});
