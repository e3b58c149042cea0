/**
 * The connector's HTTP face: is the process alive, is a bot ready, and if not, why. Decides routes and answers; does not
 * know who listens. Errors are RFC 9457 problem documents.
 */
import { Hono } from "hono";
import type { Bot } from "./bot.ts";

/** Builds the app over the bots that this process runs. */
export function createApi(bots: readonly Bot[]): Hono {
  const app = new Hono();

  /** 200 while the process serves. A kicked or refused bot does not change it: a restart would wage the kick war. */
  app.get("/livez", (c) => c.json({ status: "alive" }));

  /** 200 while at least one bot is subscribed (or the one asked for by `?bot=ID` is); the body says why not. */
  app.get("/readyz", (c) => {
    const asked = c.req.query("bot");
    const chosen = asked === undefined ? bots : bots.filter(({ id }) => id === asked);
    if (chosen.length === 0 && asked !== undefined)
      return problem(404, "No such bot", `this process runs no bot with the id ${JSON.stringify(asked)}`);
    const ready = chosen.some(({ state }) => state.subscribed);
    const body = { ready, bots: chosen.map(({ id, name, state }) => ({ id, name, ...state })) };
    return c.json(body, ready ? 200 : 503);
  });

  app.notFound((c) => problem(404, "Not found", `there is no ${c.req.method} ${c.req.path} here`));
  app.onError((error) => problem(500, "Internal error", `the request could not be served (${error.name})`));
  return app;
}

function problem(status: number, title: string, detail: string): Response {
  return new Response(JSON.stringify({ type: "about:blank", status, title, detail }), {
    status,
    headers: { "content-type": "application/problem+json" },
  });
}
