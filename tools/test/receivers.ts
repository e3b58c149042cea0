// What every example receiver has to answer, whatever it is written in: run by receivers.test.ts and the python lane.
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
    return { status: response.status, text: await response.text() };
  }

  describe(`the receiver on ${name}`, { timeout: 30_000 }, () => {
    const body = JSON.stringify({ msgId: "m-1", fromUser: "zhangsan", content: "你好" });

    test("takes a delivery, answers it, and takes it once", async () => {
      const url = await start();
      const first = await deliver(url, body);
      expect(first.status).toBe(200);
      expect(JSON.parse(first.text)).toEqual({ reply: { markdown: 'got it: "你好"' } });
      expect(await deliver(url, body)).toEqual({ status: 200, text: "seen before" });
    });

    test("answers 401 to what is not genuine, or old, and 400 to what is no delivery", async () => {
      const url = await start();
      const wrong = "0".repeat(64);
      const forged = { "x-webhook-signature": wrong, "webhook-signature": `v1,${btoa(wrong)}` };
      expect((await deliver(url, body, forged)).status).toBe(401);
      expect((await deliver(url, body, {}, 600_000)).status).toBe(401);
      expect((await deliver(url, "{")).status).toBe(400);
      expect((await deliver(url, '{"content":"x"}')).status).toBe(400);
    });

    test("answers 503 while its queue is full, and takes the delivery later", async () => {
      const url = await start({ MAX_WAITING: "0" });
      expect((await deliver(url, body)).status).toBe(503);
      expect((await deliver(url, body)).status).toBe(503);
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
