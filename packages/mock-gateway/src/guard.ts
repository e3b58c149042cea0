/**
 * Who may move the gateway by its API.
 *
 * On loopback everybody on this machine may, but no page of another site in somebody's browser: neither by a request of its
 * own (Origin) nor by a name that resolves to this machine (Host). Off loopback whoever has the token may; a GET may carry
 * it as `?token=`, since a browser can set no header on an event stream or a link. Probes, metrics, the page and what the
 * real server has over HTTP are open.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { isIP } from "node:net";
import type { Context, MiddlewareHandler } from "hono";

export interface Guard {
  /** Where the gateway listens. */
  readonly host: string;
  /** Needed off loopback; on loopback it is asked for only when it is given. */
  readonly token: string | undefined;
}

/** Refuses by calling `refuse`, which throws. */
export const guard = (
  { host, token }: Guard,
  refuse: (status: 401 | 403, detail: string) => never,
): MiddlewareHandler => {
  const expected = token === undefined ? undefined : digest(token);
  return async (c, next) => {
    const origin = c.req.header("origin");
    const called = c.req.header("host") ?? "";
    if (origin !== undefined && c.req.method !== "GET" && hostOf(origin) !== called)
      refuse(403, `requests from pages of ${origin} are refused`);
    if (expected) {
      if (!timingSafeEqual(expected, digest(tokenOf(c))))
        refuse(401, "the token is missing or wrong: Authorization: Bearer …");
    } else if (!ownName(called, host))
      refuse(403, `${called} is no name of this gateway; with --token any name will do`);
    await next();
  };
};

/** Whether only this machine can reach an address. */
export const isLoopback = (host: string): boolean => host === "localhost" || host === "::1" || host.startsWith("127.");

const tokenOf = (c: Context): string => {
  const [scheme, token] = (c.req.header("authorization") ?? "").split(" ");
  if (scheme?.toLowerCase() === "bearer" && token !== undefined) return token;
  return c.req.method === "GET" ? (c.req.query("token") ?? "") : "";
};

/** Equal lengths, so that the comparison tells nothing by its time. */
const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

const hostOf = (origin: string): string | undefined => (URL.canParse(origin) ? new URL(origin).host : undefined);

/** A name of another site that resolves to this machine is none of ours; an address always is. */
const ownName = (called: string, host: string): boolean => {
  const name = called.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
  return name === "localhost" || name.endsWith(".localhost") || name === host || isIP(name) > 0;
};
