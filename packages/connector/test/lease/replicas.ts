/** Replicas of one service as processes, against one gateway. */
import { DatabaseSync } from "node:sqlite";
import { setTimeout as pause } from "node:timers/promises";
import type { Gateway } from "@openws/mock-gateway";
import { expect, onTestFinished } from "vitest";
import { type Running, serveWhole } from "../process.ts";

export const key = "the-key-of-the-test";

/** Asks a replica. */
export async function ask(
  { url }: Pick<Running, "url">,
  path: string,
  body?: unknown,
): Promise<{ status: number; json: Record<string, unknown> }> {
  const response = await fetch(`${url}${path}`, {
    method: body === undefined ? "GET" : "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, json: (await response.json()) as Record<string, unknown> };
}

/** Starts a replica. */
export function replica(env: NodeJS.ProcessEnv): Promise<Running> {
  return serveWhole([], { OPENWS_API_KEY: key, WECOM_BACKOFF_BASE_MS: "50", LOG_LEVEL: "info", ...env });
}

/** The settings of replicas that keep their lease at `lease`, and everything else in `database`. */
export function settingsOf(gateway: { url: string }, lease: string, database: string): NodeJS.ProcessEnv {
  return {
    WECOM_BOT_ID: "bot",
    WECOM_BOT_SECRET: "s3cret-of-bot",
    WECOM_BOT_WS_URL: gateway.url,
    OPENWS_LEASE: lease,
    OPENWS_LEASE_TTL_MS: "1500",
    OPENWS_DATABASE: database,
  };
}

/** Whether a replica has the line of its bot. */
export async function subscribed(running: Pick<Running, "url">): Promise<boolean> {
  const { json } = await ask(running, "/readyz");
  return (json["bots"] as { subscribed: boolean }[]).some((bot) => bot.subscribed);
}

/**
 * Ends the holder as planned, so many times, each time with another replica that waits, while somebody talks to the bot
 * without a pause: each message finds a line, is stored once and in its order, and nobody says that one is lost.
 */
export async function handsOver(gateway: Gateway, env: NodeJS.ProcessEnv, times: number): Promise<void> {
  const begun: Running[] = [];
  // Durations of real life: a machine that has other things to do is no matter of this.
  const unhurried = { ...env, OPENWS_LEASE_TTL_MS: "15000", OPENWS_DRAIN_MS: "9000" };
  const begin = async (): Promise<Running> => {
    const running = await replica(unhurried);
    begun.push(running);
    return running;
  };
  onTestFinished(async () => {
    for (const running of begun) await running.end("SIGKILL");
  });
  let holder = await begin();
  await expect.poll(() => subscribed(holder), within).toBe(true);
  const said: string[] = [];
  let undelivered = 0;
  let talking = true;
  const talked = (async () => {
    while (talking) {
      const { delivered, msgid } = await gateway.say("bot", `message ${said.length}`, { waitMs: 0 });
      if (delivered) said.push(msgid);
      else undelivered++;
      await pause(2);
    }
  })();
  for (let handOver = 0; handOver < times; handOver++) {
    const next = await begin();
    await expect.poll(() => next.stderr(), within).toMatch(/standing by/);
    expect(await holder.end()).toBe(0);
    await expect.poll(() => subscribed(next), within).toBe(true);
    expect(holder.stderr()).toMatch(/another replica has taken the lines/);
    expect(next.stderr()).toMatch(/let it go/);
    expect(next.stderr()).not.toMatch(/has not closed the store/);
    holder = next;
  }
  talking = false;
  await talked;
  expect(undelivered).toBe(0);
  for (const running of begun) {
    expect(running.stderr()).not.toMatch(/in no store/);
    expect(running.stderr()).not.toMatch(/another instance of this bot/);
  }
  expect(await holder.end()).toBe(0);
  using ledger = new DatabaseSync(env["OPENWS_DATABASE"]!, { readOnly: true });
  const rows = ledger.prepare("SELECT msgid, kind FROM entry ORDER BY seq").all();
  expect(rows.filter(({ kind }) => kind === "bot.kicked")).toEqual([]);
  expect(rows.flatMap(({ msgid, kind }) => (kind === "text" ? [msgid] : []))).toEqual(said);
}

const within = { interval: 20, timeout: 10_000 };
