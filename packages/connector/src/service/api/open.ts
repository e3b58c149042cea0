/** What needs no key: whether the process lives and its bots are ready, figures, the description of the API, and files. */
import type { OpenAPIHono } from "@hono/zod-openapi";
import { type Parts, newRoutes } from "./served.ts";
import { docsPage } from "./docs.ts";
import { notFound, problem } from "./problem.ts";

/** The routes. */
export function openRoutes(parts: Parts): OpenAPIHono {
  const app = newRoutes();
  const { service } = parts;

  /** 200 while the process serves. A kicked or refused bot does not change it: a restart would wage the kick war. */
  app.get("/livez", (c) => c.json({ status: "alive" }));

  /** 200 while at least one bot is subscribed (or the one of `?bot=ID` is) and the store takes what comes. */
  app.get("/readyz", (c) => {
    const asked = c.req.query("bot");
    const bots = service.bots().filter(({ id }) => asked === undefined || id === asked);
    if (asked !== undefined && bots.length === 0)
      return problem(404, "No such bot", `this service runs no bot ${JSON.stringify(asked.slice(0, 128))}`);
    const { ready, store } = service.state();
    const served = store === "ok" && (asked === undefined ? ready : bots.some(({ state }) => state.subscribed));
    const lease = parts.lease && { standby: false, lease: { fence: parts.lease() } };
    return c.json(
      { ready: served, store, ...lease, bots: bots.map(({ id, name, state }) => ({ id, name, ...state })) },
      served ? 200 : 503,
    );
  });

  app.get("/metrics", async (c) => {
    const { type, text } = await parts.metrics();
    return c.body(text, 200, { "content-type": type });
  });

  app.get("/", (c) => c.redirect("/docs"));

  app.get("/docs", (c) => c.html(docsPage(parts.version), 200, { "content-security-policy": docsPolicy }));

  /** The address is its own key: it is signed, and says nothing of the file. */
  app.get("/v1/media/:id", async (c) => {
    const id = c.req.param("id");
    const file = await service.file(id, c.req.query("sig") ?? "");
    if (file === undefined) throw notFound("file", id);
    return c.body(file.stream, 200, {
      "content-type": file.type,
      "content-length": String(file.bytes),
      // Whatever a user sent must not run as a page of this host.
      "content-disposition": `attachment; filename*=UTF-8''${encodeURIComponent(file.filename)}`,
      "content-security-policy": "sandbox",
    });
  });
  return app;
}

const docsPolicy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'";
