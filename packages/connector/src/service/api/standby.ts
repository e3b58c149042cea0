/**
 * What a replica answers that does not hold the lines: that it is alive and stands by, and to everything else which replica
 * does. Nothing is accepted here, since a message would wait in the wrong process; nothing is passed on either, since a
 * key that is given to one address is not sent to another which was read from somewhere. Whoever asks is told where.
 */
import type { OpenAPIHono } from "@hono/zod-openapi";
import { problem } from "./problem.ts";
import { newRoutes } from "./served.ts";

/** Where the lease is, as this replica knows it. */
export interface LeaseView {
  readonly state:
    /** Another replica holds it, as far as can be known, and this one waits. */
    | "standing-by"
    /** This one holds it, and is not done with its beginning or its end. */
    | "taking-over"
    /** Where the lease is kept does not answer: nobody knows who holds it, nor could this one take it. */
    | "unknown";
  readonly holder?: { readonly id: string; readonly url?: string | undefined; readonly fence: number } | undefined;
  /** One sentence. */
  readonly reason: string;
}

/** What these routes are served from. */
export interface StandbyParts {
  readonly lease: () => LeaseView;
  readonly metrics: () => Promise<{ readonly type: string; readonly text: string }>;
  readonly failed: (error: unknown) => void;
}

const asksForKey = /^\/v1\/(?!media\/)/;

/** The routes. */
export function standbyRoutes(parts: StandbyParts): OpenAPIHono {
  const app = newRoutes();

  app.get("/livez", (c) => c.json({ status: "alive" }));

  /** 200 while it stands by; `?role=holder` asks for the holder alone, as a load balancer does that must reach it. */
  app.get("/readyz", (c) => {
    const { state, reason, holder } = parts.lease();
    const ready = state === "standing-by" && c.req.query("role") !== "holder";
    const lease = { state, reason, ...(holder !== undefined && { fence: holder.fence }) };
    return c.json({ ready, standby: state === "standing-by", lease, store: "ok", bots: [] }, ready ? 200 : 503);
  });

  app.get("/metrics", async (c) => {
    const { type, text } = await parts.metrics();
    return c.body(text, 200, { "content-type": type });
  });

  app.all("*", (c) => {
    const { state, reason, holder } = parts.lease();
    const titles = {
      "standing-by": "This replica stands by",
      "taking-over": "This replica is taking over",
      unknown: "Nobody knows which replica holds the line",
    };
    return problem(
      503,
      titles[state],
      `nothing was accepted: ${reason}`,
      // Who was not asked for a key is not told where the others are.
      { ...(holder !== undefined && asksForKey.test(c.req.path) && { holder }) },
      { "retry-after": "1" },
    );
  });
  return app;
}
