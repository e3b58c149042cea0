// The connector killed under load, thirty times, and every message accounted for; the same with a write left out, which
// has to be seen; and the order of system calls, since a kill alone cannot show a missing sync: the page cache survives it.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { startGateway } from "@openws/mock-gateway";
import { describe, expect, onTestFinished, test } from "vitest";
import { leftOut } from "../../../../tools/left-out.ts";

const program = "packages/connector/tools/kills/run.ts";

function kills(...args: string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...args], { timeout: 900_000, maxBuffer: 1e8 }, (error, stdout, stderr) => {
      process.stdout.write(`${stdout}${stderr}`);
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), output: stdout });
    });
  });
}

describe("the connector, killed under load", { timeout: 900_000 }, () => {
  test("loses nothing that reached its socket in time, in order, with an account of each message", async () => {
    const { code, output } = await kills("--kills", "30", "--seed", "11");
    expect(output).toMatch(/^killed 30 times/m);
    expect(code).toBe(0);
  });

  test("is seen to lose messages when what comes in is not written", async () => {
    const { code, output } = await kills("--kills", "6", "--seed", "12", "--without", "inbox");
    expect(code).toBe(1);
    expect(output).toMatch(/^[1-9]\d* messages without a line in the ledger/m);
    expect(output).toMatch(/^[1-9]\d* messages neither delivered nor dead letters/m);
  });

  test("is seen to break its word when what goes out is not written", async () => {
    const { code, output } = await kills("--kills", "6", "--seed", "13", "--without", "outbox");
    expect(code).toBe(1);
    expect(output).toMatch(/^[1-9]\d* pushes that got 202 and have no line in the ledger/m);
    expect(output).toMatch(/^[1-9]\d* pushes that got 202 and are not accounted for/m);
  });
});

describe("the system calls", { timeout: 120_000 }, () => {
  test("a sync stands between a frame's arrival and its webhook, and between a push's arrival and its 202", async (context) => {
    const traced = await run("strace", "-V");
    if (traced === undefined) leftOut(context, "the order of system calls", "there is no strace here");
    const folder = await mkdtemp(join(tmpdir(), "openws-trace-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const gateway = await startGateway({ latencyMs: 0, bots: [{ id: "bot", secret: "secret" }] });
    onTestFinished(() => gateway.stop());
    const delivered = Promise.withResolvers<undefined>();
    const receiver = createServer((request, response) => {
      void text(request).then((body) => {
        response.end();
        if (body.includes("the message of the trace")) delivered.resolve(undefined);
      });
    }).listen(0, "127.0.0.1");
    await once(receiver, "listening");
    onTestFinished(() => {
      receiver.closeAllConnections();
      receiver.close();
    });

    const trace = join(folder, "trace");
    // Seccomp keeps the tracer out of all the calls that it need not see.
    const calls = "trace=fsync,fdatasync,read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg";
    const args = [
      "-f",
      "--seccomp-bpf",
      "-e",
      calls,
      "-s",
      "4096",
      "-xx",
      "-o",
      trace,
      process.execPath,
      "packages/connector/src/cli.ts",
      "serve",
      "--json",
    ];
    const child = spawn("strace", args, {
      stdio: ["ignore", "pipe", "ignore"],
      env: {
        ...process.env,
        WECOM_BOT_ID: "bot",
        WECOM_BOT_SECRET: "secret",
        WECOM_BOT_WS_URL: gateway.url,
        OPENWS_LISTEN: "127.0.0.1:0",
        OPENWS_DATABASE: join(folder, "openws.db"),
        OPENWS_API_KEY: "key-of-the-trace",
        OPENWS_WEBHOOK_URL: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`,
        OPENWS_WEBHOOK_SECRET: "secret-of-the-trace",
      },
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    const started = await Promise.race([once(child.stdout, "data"), once(child, "exit").then(() => undefined)]);
    if (started === undefined) leftOut(context, "the order of system calls", "strace may not trace here (ptrace)");
    const { url } = JSON.parse(String(started[0]).split("\n")[0]!) as { url: string };
    await gateway.waitForBot("bot", 60_000);
    await gateway.say("bot", "the message of the trace");
    await delivered.promise;
    const { status } = await fetch(`${url}/v1/bots/bot/messages`, {
      method: "POST",
      headers: { authorization: "Bearer key-of-the-trace", "content-type": "application/json" },
      body: JSON.stringify({ to: { userid: "zhangsan" }, markdown: "the push of the trace" }),
    });
    expect(status).toBe(202);
    // strace keeps such signals to itself; it ends with what it traces, whose number begins the trace.
    const ended = once(child, "exit");
    process.kill(Number.parseInt(await readFile(trace, "utf8"), 10), "SIGTERM");
    await ended;

    const lines = await readFile(trace, "utf8").then((all) => all.split("\n"));
    const coded = (text: string): string =>
      [...Buffer.from(text)].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
    const first = (what: string, fits: (line: string) => boolean, from = 0): number => {
      const at = lines.findIndex((line, nth) => nth >= from && fits(line));
      expect(at, what).toBeGreaterThanOrEqual(0);
      return at;
    };
    const reads = (line: string): boolean => /\b(?:read|readv|recvfrom|recvmsg)\b/.test(line);
    const writes = (line: string): boolean => /\b(?:write|writev|sendto|sendmsg)\(/.test(line);
    // A sync that was begun may end on a later line ("<... fdatasync resumed>"): its end counts.
    const synced = (line: string): boolean => /\bf(?:data)?sync\b.*= 0$/.test(line) && !line.includes("unfinished");

    const frame = first("the frame arrives", (line) => reads(line) && line.includes(coded("the message of the trace")));
    const hook = first("the webhook is called", (line) => writes(line) && line.includes(coded("POST /hook")), frame);
    expect(lines.slice(frame, hook).some(synced), "a sync between the frame and its webhook").toBe(true);
    const push = first(
      "the push arrives",
      (line) => reads(line) && line.includes(coded("the push of the trace")),
      hook,
    );
    const answered = first("it is answered", (line) => writes(line) && line.includes(coded("202 Accepted")), push);
    expect(lines.slice(push, answered).some(synced), "a sync between the push and its 202").toBe(true);
  });
});

function run(command: string, ...args: string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    execFile(command, args, (error, stdout) => resolve(error === null ? stdout : undefined));
  });
}
