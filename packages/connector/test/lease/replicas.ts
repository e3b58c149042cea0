/** Replicas of one service as processes, against one gateway. */
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
