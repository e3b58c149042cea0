import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ApiError } from "../src/cli/api.ts";
import { clock } from "../src/cli/clock.ts";
import { env } from "../src/cli/env.ts";
import { fault } from "../src/cli/fault.ts";
import { readyz } from "../src/cli/readyz.ts";
import { say } from "../src/cli/say.ts";
import { trigger } from "../src/cli/trigger.ts";
import { UsageError, type Command } from "../src/cli/usage.ts";
import { startGateway } from "../src/index.ts";
import { Client } from "./client.ts";

let [out, err] = ["", ""];
beforeEach(() => {
  [out, err] = ["", ""];
  vi.spyOn(process.stdout, "write").mockImplementation((text) => Boolean((out += String(text))));
  vi.spyOn(process.stderr, "write").mockImplementation((text) => Boolean((err += String(text))));
});
afterEach(() => {
  vi.restoreAllMocks();
});

const gatewayWithEcho = async () => {
  const gateway = await startGateway({ latencyMs: 0, switches: { maxInFlightPerUser: 0 } });
  const client = await Client.echo(gateway.url);
  const run = (command: Command, ...args: string[]) => command(args, { OPENWS_GATEWAY_API: gateway.apiUrl });
  return { gateway, client, run };
};

describe("sub-commands against a gateway that runs", () => {
  test("say prints the answer, and ends with 1 when there is none or the bot is offline", async () => {
    const { gateway, client, run } = await gatewayWithEcho();
    expect(await run(say, "hello", "there")).toBe(0);
    expect(out).toBe("echo: hello there\n");
    expect(await run(say, "hi", "--from", "lisi", "--chat", "wrGroup", "--json")).toBe(0);
    expect(out).toContain('"reply":"echo: @bot hi"');
    await gateway.addFault("errcode:errcode=-1,times=9");
    expect(await run(say, "lost", "--wait", "100ms")).toBe(1);
    expect(err).toContain("no finished answer came in time");
    client.close();
    await vi.waitFor(() => expect(gateway.bots()[0]!.state).toBe("offline"));
    expect(await run(say, "anybody?", "--bot", "bot")).toBe(1);
    expect(err).toContain("not delivered: the bot is offline");
    await gateway.stop();
  });

  test("trigger sends events with data and kicks", async () => {
    const { gateway, client, run } = await gatewayWithEcho();
    expect(await run(trigger, "feedback_event", "--data", '{"id":"trace_1","type":1}')).toBe(0);
    await vi.waitFor(() => expect(client.frames.at(-1)?.body.event.feedback_event).toEqual({ id: "trace_1", type: 1 }));
    expect(await run(trigger, "kick", "--close-after", "0")).toBe(0);
    expect(await client.closed).toBe(1006);
    await expect(run(trigger)).rejects.toThrow(UsageError);
    await expect(run(trigger, "x", "--data", "{")).rejects.toThrow(/--data must be JSON/);
    await gateway.stop();
  });

  test("fault arms, lists, removes and clears; its kinds come with an example each", async () => {
    const { gateway, client, run } = await gatewayWithEcho();
    expect(await run(fault, "ack-drop:cmd=ping", "errcode:errcode=-1,cmd=aibot_send_msg")).toBe(0);
    expect(out.trim().split("\n")).toHaveLength(2);
    out = "";
    await run(fault);
    const [first] = out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { id: string });
    await run(fault, "--remove", first!.id);
    expect(gateway.faults()).toHaveLength(1);
    await run(fault, "--clear");
    expect(gateway.faults()).toEqual([]);
    await run(fault, "--kinds");
    expect(out).toContain("errcode:errcode=846608,cmd=aibot_respond_msg,nth=2\n");
    await expect(run(fault, "earthquake")).rejects.toThrow(UsageError);
    await expect(run(fault, "--remove", "f99")).rejects.toThrow(ApiError);
    client.close();
    await gateway.stop();
  });

  test("clock shows and advances, readyz answers", async () => {
    const { gateway, client, run } = await gatewayWithEcho();
    expect(await run(clock, "advance", "10m")).toBe(0);
    expect(out).toMatch(/^\d{4}-\d\d-\d\dT.*Z \(600000 ms ahead\)\n$/);
    await expect(run(clock, "advance", "soon")).rejects.toThrow(UsageError);
    await expect(run(clock, "back")).rejects.toThrow(UsageError);
    expect(await run(readyz)).toBe(0);
    client.close();
    await gateway.stop();
    await expect(run(readyz)).rejects.toThrow(/no gateway answers at/);
  });

  test("env speaks four shells", async () => {
    const lines = async (...args: string[]) => {
      out = "";
      await env(args, {});
      return out.trim().split("\n");
    };
    expect(await lines()).toEqual([
      "export WECOM_BOT_ID=my-bot",
      "export WECOM_BOT_SECRET=any-secret",
      "export WECOM_BOT_WS_URL=ws://127.0.0.1:8900",
    ]);
    expect(await lines("--shell", "fish", "--bot", "a:it's")).toContain("set -gx WECOM_BOT_SECRET 'it'\\''s'");
    expect(await lines("--shell", "pwsh", "--tls")).toContain("$env:WECOM_BOT_WS_URL = 'wss://127.0.0.1:8900'");
    expect(await lines("--shell", "dotenv")).toContain('WECOM_BOT_ID="my-bot"');
    expect((await lines("--aliases")).length).toBeGreaterThan(8);
    await expect(env(["--shell", "csh"], {})).rejects.toThrow(UsageError);
  });
});

describe("who may move the gateway", () => {
  test("a token is asked for when there is one, off loopback there always is one, and a probe needs none", async () => {
    await using gateway = await startGateway({ listen: "0.0.0.0:0" });
    const base = gateway.apiUrl;
    expect(base).toMatch(/^http:\/\/127\.0\.0\.1:/);
    expect(gateway.token).toMatch(/^[\w-]{24}$/);
    expect((await fetch(`${base}/bots`)).status).toBe(401);
    expect((await fetch(`${base}/bots`, { headers: { authorization: "Bearer wrong" } })).status).toBe(401);
    expect(
      (await fetch(`${base}/bots`, { headers: { authorization: `Bearer ${String(gateway.token)}` } })).status,
    ).toBe(200);
    expect((await fetch(`${base}/bots?token=${String(gateway.token)}`)).status).toBe(200);
    expect((await fetch(`${base}/reset?token=${String(gateway.token)}`, { method: "POST" })).status).toBe(401);
    expect((await fetch(`${base.replace("/api", "")}/readyz`)).status).toBe(200);
    expect(await fault([], { OPENWS_GATEWAY_API: base, OPENWS_GATEWAY_TOKEN: gateway.token! })).toBe(0);
    await expect(fault([], { OPENWS_GATEWAY_API: base })).rejects.toThrow(/asks for its token: give it with --token/);
  });
});
