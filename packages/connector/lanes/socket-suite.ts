// The socket suite: what of the connector's tests runs on every runtime. A lane runs vitest on the runtime itself, and
// these files within it, so that the tests are the very ones that run on Node.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { startGateway } from "@openws/mock-gateway";
import { expect, test } from "vitest";
import { runtimeName } from "../test/library.ts";

const program = fileURLToPath(new URL("./program.ts", import.meta.url));

/** Holds a lane to its name, since vitest on the wrong runtime would prove nothing, and runs a program of a user's. */
export function runsOn(name: "deno" | "bun"): void {
  test(`these tests run on ${name}`, () => {
    expect(runtimeName).toBe(name);
  });

  test("a program gets this runtime's entry by the package's name, survives a half-open socket, and ends", async () => {
    await using gateway = await startGateway({ latencyMs: 0, switches: { subscribeRate: "off" } });
    const args = name === "deno" ? ["run", "-A", program] : [program];
    const child = spawn(process.execPath, args, { env: { ...process.env, WECOM_BOT_WS_URL: gateway.url } });
    const ended = once(child, "close");
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (text: Buffer) => (output += text.toString()));
    try {
      await once(child.stdout, "data");
      expect(output).toBe(name === "bun" ? "bun\n" : "ws\n");
      gateway.cut(gateway.connections()[0]!.n, "half-open");
      await expect
        .poll(() => gateway.connections().some(({ state }) => state === "subscribed"), { timeout: 20_000 })
        .toBe(true);
      const { reply } = await gateway.say("bot", "stop", { waitMs: 5_000 });
      expect(reply).toBe("echo: stop");
      expect(await ended).toEqual([0, null]);
    } finally {
      child.kill("SIGKILL");
    }
  });
}
