// What every example receiver has to answer, whatever it is written in: run by receivers.test.ts and the python lane. C6 and
// C7 are rows of what an HTTP message service can do; the others are in packages/connector/test/service/seeds.test.ts.
import { readFileSync } from "node:fs";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { signatures } from "../../packages/connector/src/service/signature.ts";
import { afterEach, describe, expect, test } from "vitest";

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/** Tries a receiver that is started by this command. */
export function receiver(name: string, command: string, args: readonly string[]): void {
  let running: ChildProcess | undefined;
  afterEach(async () => {
    if (running?.exitCode === null) {
      running.kill("SIGTERM");
      await once(running, "exit");
    }
    running = undefined;
  });

  async function start(env: Record<string, string> = {}): Promise<string> {
    const port = await freePort();
    const child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, WEBHOOK_SECRET: secret, PORT: String(port), ...env },
    });
    running = child;
    let output = "";
    await new Promise<void>((resolve, reject) => {
      const read = (chunk: Buffer): void => {
        output += chunk.toString();
        if (/ready on|Running on/.test(output)) resolve();
      };
      child.stdout.on("data", read);
      child.stderr.on("data", read);
      child.on("exit", (code) => reject(new Error(`the receiver ended with ${String(code)}: ${output}`)));
    });
    return `http://127.0.0.1:${port}/webhook`;
  }

  async function deliver(url: string, body: string, changed: Record<string, string> = {}, ageMs = 0) {
    const timestamp = Math.floor((Date.now() - ageMs) / 1000);
    const headers = { ...(await signatures([secret], { id: "m", timestamp, body })) };
    const response = await fetch(url, {
      method: "POST",
      body,
      headers: { "content-type": "application/json", ...headers, ...changed },
    });
    return { status: response.status, text: await response.text(), retryAfter: response.headers.get("retry-after") };
  }

  describe(`the receiver on ${name}`, { timeout: 30_000 }, () => {
    const body = JSON.stringify({ msgId: "m-1", fromUser: "zhangsan", content: "你好" });

    test("takes a delivery and answers it", async () => {
      const first = await deliver(await start(), body);
      expect(first.status).toBe(200);
      expect(JSON.parse(first.text)).toEqual({ reply: { markdown: 'got it: "你好"' } });
    });

    test("C6 takes each msgId once, keeps 10,000 of them, and forgets the oldest first", async () => {
      expect(readFileSync(args.at(-1)!, "utf8")).toMatch(/"REMEMBERED_IDS"\W+"?10_?000\b/);
      const url = await start({ REMEMBERED_IDS: "3" });
      const seen = async (msgId: string): Promise<boolean> =>
        (await deliver(url, JSON.stringify({ msgId, fromUser: "zhangsan", content: "x" }))).text === "seen before";
      for (const msgId of ["a", "b", "c", "d"]) expect(await seen(msgId)).toBe(false);
      for (const msgId of ["b", "c", "d"]) expect(await seen(msgId)).toBe(true);
      expect(await seen("a")).toBe(false);
      expect(await seen("b")).toBe(false);
      expect(await seen("d")).toBe(true);
    });

    test("C7 answers 401 to a bad signature or an old one, 400 to bad JSON or no msgId, 200 to a duplicate", async () => {
      const url = await start();
      const wrong = "0".repeat(64);
      const forged = { "x-webhook-signature": wrong, "webhook-signature": `v1,${btoa(wrong)}` };
      expect((await deliver(url, body, forged)).status).toBe(401);
      expect((await deliver(url, body, {}, 600_000)).status).toBe(401);
      expect((await deliver(url, "{")).status).toBe(400);
      expect((await deliver(url, '{"content":"x"}')).status).toBe(400);
      expect((await deliver(url, body)).status).toBe(200);
      expect(await deliver(url, body)).toMatchObject({ status: 200, text: "seen before" });
    });

    test("C7 answers 503 while its queue is full, says when to come back, and has not taken the delivery", async () => {
      const url = await start({ MAX_WAITING: "0" });
      const full = { status: 503, retryAfter: "5" };
      expect(await deliver(url, body)).toMatchObject(full);
      // Not "seen before".
      expect(await deliver(url, body)).toMatchObject(full);
    });
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
