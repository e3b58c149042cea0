/** The testee protocol: testees that keep it, that break it, and that misbehave as processes. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { cases } from "../src/cases.ts";
import { init } from "../src/cli/init.ts";
import { lanes, type Case } from "../src/check.ts";
import { judgeClient, runConformance } from "../src/main.ts";
import { Prompter } from "../src/prompter.ts";
import { exitCode } from "../src/report.ts";
import { playOnce, run, type Played } from "../src/runner.ts";
import { readLine } from "../src/testees/line.ts";
import type { Op, Testee } from "../src/testee.ts";
import { probe, SpokenTestee } from "../src/testees/spoken.ts";

const options = { lane: lanes.scaled, seed: 1, atOnce: 2 };
const caseOf = (name: string): Case => cases.find((played) => played.name === name)!;
const talk = caseOf("frames/bears-binary");

/** A testee that is this program. It has `say`, `op` for what it is told, and a WebSocket that subscribes and echoes. */
const program = (source: string): { file: string; args: string[] } => ({
  file: process.execPath,
  args: [
    "--input-type=module",
    "--eval",
    `import { createInterface } from "node:readline";
const say = (line) => process.stdout.write(JSON.stringify(line) + "\\n");
const hello = { hello: 1, client: "tiny", can: [], scaled: true };
let socket, keys = 0;
const asked = new Map();
const connect = ({ url, botId, secret }) => {
  socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => socket.send(JSON.stringify({ cmd: "aibot_subscribe", headers: { req_id: "s" }, body: { bot_id: botId, secret } }));
  socket.onmessage = ({ data }) => {
    let frame; try { frame = JSON.parse(typeof data === 'string' ? data : Buffer.from(data).toString()); } catch { return; }
    if (frame?.cmd !== "aibot_msg_callback") return;
    asked.set(String(++keys), frame.headers.req_id);
    say({ event: "message", key: String(keys), msgtype: "text", userid: frame.body.from.userid, text: frame.body.text?.content });
  };
};
const reply = ({ to, text }) => socket.send(JSON.stringify({ cmd: "aibot_respond_msg", headers: { req_id: asked.get(to) },
  body: { msgtype: "stream", stream: { id: "st" + to, finish: true, content: text } } }));
const known = { start: connect, reply, stop: () => socket?.close() };
const onOp = (op) => { known[op.op]?.(op); say({ id: op.id, outcome: op.op in known ? "done" : "unsupported" }); };
const lines = () => createInterface({ input: process.stdin }).on("line", (line) => onOp(JSON.parse(line))).on("close", () => process.exit(0));
${source}`,
  ],
});

const good = "say(hello); lines();";

const play = (source: string, played = talk): Promise<Played> =>
  playOnce({ played, spawn: (given) => new SpokenTestee(program(source), given) }, options);

const verdicts = ({ findings }: Played): unknown[] => findings.map(({ verdict }) => verdict);

describe("a line of a testee", () => {
  it.each([
    ["a log line", "connected to the gateway"],
    ["a number", "17"],
    ["JSON of a logger", '{"level":30,"msg":"connected"}'],
    ["nothing", ""],
  ])("that is %s is none of the protocol", (_what, line) => {
    expect(readLine(line)).toEqual({ what: "log" });
  });

  it.each([
    ["an ability that does not exist", '{"hello":1,"client":"x","can":["fly"],"scaled":true}', "can.0"],
    ["another version", '{"hello":2,"client":"x","can":[],"scaled":true}', "hello"],
    ["an outcome that does not exist", '{"id":1,"outcome":"fine"}', "outcome"],
    ["no outcome", '{"id":1,"ok":true}', "needs an outcome"],
    ["no key", '{"event":"message","msgtype":"text"}', "key"],
  ])("with %s is wrong, and says where", (_what, line, where) => {
    expect(readLine(line)).toMatchObject({ what: "wrong", why: expect.stringContaining(where) as string });
  });

  it("may write null for what is not there", () => {
    const line = '{"event":"message","key":"1","msgtype":"text","text":"hi","chatid":null,"items":null}';
    expect(readLine(line)).toMatchObject({ what: "report", report: { text: "hi", chatid: undefined } });
  });
});

describe("the prompter", () => {
  const meet = (can: string[]): { prompter: Prompter; sent: Op[] } => {
    const sent: Op[] = [];
    const prompter = new Prompter((line) => sent.push(line));
    prompter.take(readLine(JSON.stringify({ hello: 1, client: "x", can, scaled: true })));
    return { prompter, sent };
  };
  const say = (text: string, key = "1"): ReturnType<typeof readLine> =>
    readLine(JSON.stringify({ event: "message", key, msgtype: "text", userid: "lisi", text }));

  it("keeps the echo contract by operations", () => {
    const { prompter, sent } = meet(["stream", "push"]);
    prompter.take(say("hello there", "1"));
    prompter.take(say("!stream 2", "2"));
    prompter.take(say("!push good morning", "3"));
    expect(sent).toMatchObject([
      { op: "reply", to: "1", text: "echo: hello there" },
      { op: "reply", to: "2", parts: ["word1 ", "word2 "] },
      { op: "push", chatid: "lisi", chattype: "single", text: "good morning" },
      { op: "reply", to: "3", nothing: true },
    ]);
  });

  it("sends nothing that was not declared, and says what was missing", () => {
    const { prompter, sent } = meet([]);
    prompter.take(say("!stream 2"));
    expect(sent).toEqual([]);
    expect(prompter.undeclared).toBe("stream");
  });

  it("notes the answer of each operation once, and what was never asked", () => {
    const { prompter } = meet(["state"]);
    const asked = prompter.ask({ op: "state" });
    prompter.take(readLine('{"id":1,"outcome":"done","state":"ready"}'));
    expect(asked.answer).toMatchObject({ outcome: "done", state: "ready" });
    expect(prompter.broke).toBeUndefined();
    prompter.take(readLine('{"id":1,"outcome":"done"}'));
    expect(prompter.broke).toContain("answered 1");
  });

  it("holds a key that comes twice against the testee", () => {
    const { prompter } = meet([]);
    prompter.take(say("one"));
    prompter.take(say("two"));
    expect(prompter.broke).toContain("the key 1 comes twice");
  });
});

describe.concurrent("a program that speaks it", () => {
  it("is judged like a bot", { timeout: 30_000 }, async ({ expect }) => {
    expect(verdicts(await play(good))).toEqual(["pass", "pass"]);
  });

  it("may print what is none of the protocol", { timeout: 30_000 }, async ({ expect }) => {
    expect(verdicts(await play('console.log("starting"); console.log("{"); say(hello); lines();'))).toEqual([
      "pass",
      "pass",
    ]);
  });

  it("is skipped in what it does not declare", { timeout: 30_000 }, async ({ expect }) => {
    const played = await play(good, caseOf("streams/grow-and-end"));
    expect(new Set(verdicts(played))).toEqual(new Set(["skipped"]));
    expect(played.findings[0]?.message).toBe('the testee does not declare "stream"');
  });

  it("is asked first what it does not know", { timeout: 30_000 }, async ({ expect }) => {
    expect(await probe(program(good))).toEqual({ hello: { hello: 1, client: "tiny", can: [], scaled: true } });
    const agrees = program(
      "say(hello); createInterface({ input: process.stdin }).on('line', () => say({ id: 0, outcome: 'done' }))",
    );
    expect(await probe(agrees)).toMatchObject({ problem: expect.stringContaining("answered 0") as string });
  });

  it.each([
    ["says nothing and ends", "process.exit(3)", "ended with 3 without a hello"],
    ["prints garbage and ends", "console.log('\\u0000\\u0001garbage'); process.exit(0)", "garbage"],
    ["cannot speak its version", "say({ ...hello, hello: 9 }); lines()", "hello: "],
  ])("and %s has not started", { timeout: 30_000 }, async (_what, source, said) => {
    const report = await judgeClient({ tier: "testee", command: program(source) });
    expect(report.notStarted).toContain(said);
    expect(exitCode(report, false)).toBe(3);
  });

  it("does not exist has not started either", { timeout: 30_000 }, async ({ expect }) => {
    const report = await judgeClient({ tier: "testee", command: { file: "no-such-program-of-anybody", args: [] } });
    expect(report.notStarted).toContain("could not be started");
  });

  it("takes no durations can be judged in the real lane alone", { timeout: 30_000 }, async ({ expect }) => {
    const slow = program("say({ ...hello, scaled: false }); lines();");
    const judged = judgeClient({ tier: "testee", command: slow }, { lane: "scaled" });
    await expect(judged).rejects.toThrow("use the real lane");
  });

  it(
    "and dies in the middle of a case fails it, and the next case is played",
    { timeout: 60_000 },
    async ({ expect }) => {
      const dies = `${good} const old = known.reply; known.reply = (op) => { if (op.text.includes("farewell")) process.exit(9); old(op); };`;
      const dying: Case = {
        name: "test/dies",
        title: "",
        checks: ["IN-6"],
        play: async (stage) => {
          await stage.conversing();
          await stage.say("farewell");
          await stage.pause(3_000);
        },
      };
      const spawn = (given: ConstructorParameters<typeof SpokenTestee>[1]): SpokenTestee =>
        new SpokenTestee(program(dies), given);
      const { outcomes } = await run([talk, dying, caseOf("frames/ignores-what-is-no-object")], spawn, options);
      const by = new Map(outcomes.map(({ id, verdict, message }) => [id, { verdict, message }]));
      expect(by.get("IN-6")).toMatchObject({
        verdict: "fail",
        message: expect.stringContaining("ended with 9") as string,
      });
      expect(by.get("IN-7a")?.verdict).toBe("pass");
    },
  );

  it(
    "and breaks the protocol leaves its case untested, and says by which line",
    { timeout: 60_000 },
    async ({ expect }) => {
      const played = await play(
        'say(hello); onOp = 0; known.reply = () => say({ id: 99, outcome: "done" }); lines();'.replace(
          "onOp = 0; ",
          "",
        ),
      );
      expect(new Set(verdicts(played))).toEqual(new Set(["untested"]));
      expect(played.findings[0]?.message).toContain("it answered 99");
    },
  );

  it("and closes its standard output leaves its case untested", { timeout: 60_000 }, async ({ expect }) => {
    const played = await play(
      'import { closeSync } from "node:fs"; known.reply = () => closeSync(1); say(hello); lines(); process.on("uncaughtException", () => undefined); setInterval(() => undefined, 1e6);',
    );
    expect(new Set(verdicts(played))).toEqual(new Set(["untested"]));
    expect(played.findings[0]?.message).toContain("standard output");
  });

  it("and floods its standard output is ended, and fails", { timeout: 60_000 }, async ({ expect }) => {
    const played = await play(
      "say(hello); known.reply = () => { const more = () => process.stdout.write('x'.repeat(1 << 20), more); more(); }; lines();",
    );
    expect(verdicts(played)[0]).toBe("fail");
    expect(played.findings[0]?.message).toContain("printed more than");
  });

  it(
    "and hangs, deaf to the end of its input and to SIGTERM, is killed, and nothing of it is left",
    { timeout: 60_000 },
    async ({ expect }) => {
      const hangs = `process.on("SIGTERM", () => {}); known.reply = () => { for (;;); }; ${good}`;
      let testee: SpokenTestee | undefined;
      const spawn = (given: ConstructorParameters<typeof SpokenTestee>[1]): SpokenTestee =>
        (testee = new SpokenTestee(program(hangs), given));
      const played = await playOnce({ played: talk, spawn }, options);
      expect(new Set(verdicts(played))).toEqual(new Set(["untested"]));
      expect(played.findings[0]?.message).toContain("does not answer a plain text message");
      expect(testee?.end?.how).toBe("was killed by SIGKILL");
      expect(existsSync(testee?.prompter.given?.dir ?? "")).toBe(false);
    },
  );
});

describe("a testee within the process", () => {
  it("is judged without a program", { timeout: 60_000 }, async () => {
    const seen: string[] = [];
    const testee: Testee = {
      client: "none",
      can: ["state"],
      scaled: true,
      start: ({ url, botId, secret }, report) => {
        const socket = new WebSocket(url);
        const send = (frame: unknown): void => socket.send(JSON.stringify(frame));
        const asked = new Map<string, string>();
        socket.addEventListener("open", () =>
          send({ cmd: "aibot_subscribe", headers: { req_id: "s" }, body: { bot_id: botId, secret } }),
        );
        socket.addEventListener("message", ({ data }) => {
          if (typeof data !== "string") return;
          const { cmd, headers, body } = JSON.parse(data) as {
            cmd?: string;
            headers: { req_id: string };
            body?: { text?: { content: string }; from: { userid: string } };
          };
          if (cmd !== "aibot_msg_callback") return;
          const key = String(asked.size);
          asked.set(key, headers.req_id);
          report({ event: "message", key, msgtype: "text", userid: body?.from.userid, text: body?.text?.content });
        });
        return {
          stop: () => {
            socket.close();
            return { outcome: "done" };
          },
          reply: ({ to, text }) => {
            seen.push(text ?? "");
            const stream = { id: `stream-${to}`, finish: true, content: text };
            send({ cmd: "aibot_respond_msg", headers: { req_id: asked.get(to) }, body: { msgtype: "stream", stream } });
            return { outcome: "done" };
          },
        };
      },
    };
    const report = await runConformance({
      testee,
      run: "subscribing/subscribes-first,callbacks/answers-each-on-its-own",
      atOnce: 1,
    });
    expect(report).toMatchObject({ client: "none", tier: "testee", summary: { fail: 0, untested: 0 } });
    expect(seen).toContainEqual(expect.stringMatching(/^echo: /));
    expect(exitCode(report, false)).toBe(0);
  });
});

describe("init", () => {
  const python = spawnSync("python3", ["--version"]).status === 0;

  it.each(python ? ["js", "python"] : ["js"])(
    "writes a testee in %s that speaks the protocol, and never over a file",
    { timeout: 30_000 },
    async (lang) => {
      const folder = mkdtempSync(join(tmpdir(), "openws-init-"));
      onTestFinished(() => rmSync(folder, { recursive: true }));
      const file = join(folder, lang === "js" ? "testee.mjs" : "testee.py");
      expect(init(["--lang", lang, file])).toBe(0);
      expect(() => init(["--lang", lang, file])).toThrow("is there already");
      const command = { file: lang === "js" ? process.execPath : "python3", args: [file] };
      expect(await probe(command)).toMatchObject({ hello: { client: "my-client 0.0.0" } });
      const report = await judgeClient({ tier: "testee", command }, { run: "AUTH-1" });
      expect(report.notStarted).toContain("connect is not filled in yet");
    },
  );
});
