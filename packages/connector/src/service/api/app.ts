/**
 * The service's HTTP face: joins its routes, decides who may ask, how much, and how often the same.
 *
 * Routes are in the files beside this one, a file a noun; shapes in schemas.ts; refusals in problem.ts. Does not know who
 * listens, nor which runtime. Invariants: everything but what `open` lists asks for a key; a reading key changes nothing;
 * a body beyond its limit is refused before it is read.
 */
import type { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import { bodyLimit } from "hono/body-limit";
import { botRoutes } from "./bots.ts";
import { compatibleRoutes } from "./compatible.ts";
import { eventRoutes } from "./events.ts";
import { messageRoutes } from "./messages.ts";
import { openRoutes } from "./open.ts";
import { sameText, sha256 } from "../proof.ts";
import { problem, problemOf } from "./problem.ts";
import { Target } from "./schemas.ts";
import { type Parts, newRoutes } from "./served.ts";
import { sinkRoutes } from "./sinks.ts";
import { type StandbyParts, standbyRoutes } from "./standby.ts";
import { streamRoutes } from "./streams.ts";
import { webhookRoutes } from "./webhooks.ts";

/** Who may ask what. */
export interface Access {
  /** May do everything; two while one is being replaced. */
  readonly keys: readonly string[];
  /** May only read. */
  readonly readKeys: readonly string[];
  /** Whether an address may ask at all; undefined where it is not known. */
  readonly allowed: (address: string | undefined) => boolean;
  /** The address of who asks. */
  readonly addressOf: (context: Context) => string | undefined;
}

const open = /^\/(?:livez|readyz|metrics|openapi\.json|docs(?:\/.*)?|v1\/media\/[^/]+)?$/;

/** Bytes of a request's body; a card or a long text is far below it. Files are streamed, and bounded by their kind. */
const maxBodyBytes = 1024 * 1024;
const upload = /^\/v1\/bots\/[^/]+\/media$/;

/** Builds the app. */
export function createServiceApi(parts: Parts, access: Access): OpenAPIHono {
  const app = guarded(access);
  addRoutes(app, parts);
  app.doc31("/openapi.json", aboutOf(parts.version));
  app.notFound((c) => problem(404, "Not found", `there is no ${c.req.method} ${c.req.path} here; see /docs`));
  return withErrors(app, parts.failed);
}

/** What a replica serves that holds no line: the same to those who may not ask, and to the others who does. */
export function createStandbyApi(parts: StandbyParts, access: Access): OpenAPIHono {
  const app = guarded(access);
  app.route("/", standbyRoutes(parts));
  return withErrors(app, parts.failed);
}

/** An app that nobody gets into who may not. */
function guarded(access: Access): OpenAPIHono {
  const app = newRoutes();
  const limit = bodyLimit({
    maxSize: maxBodyBytes,
    onError: () => problem(413, "Too large", `a body may have at most ${maxBodyBytes} bytes`),
  });

  app.use(async (c, next) => {
    if (!access.allowed(access.addressOf(c)))
      return problem(403, "Not from there", "this address is not on the list of those that may ask");
    c.header("x-content-type-options", "nosniff");
    if (open.test(c.req.path)) return next();
    const refusal = await refusalOf(c, access);
    if (refusal !== undefined) return refusal;
    c.header("cache-control", "no-store");
    if (!upload.test(c.req.path)) return limit(c, next);
    await next();
    // A file that is refused is not read to its end, so nothing can be asked over its connection any more.
    if (!c.res.ok) c.header("connection", "close");
    return undefined;
  });
  return app;
}

function withErrors(app: OpenAPIHono, failed: (error: unknown) => void): OpenAPIHono {
  app.onError((error) => {
    const answer = problemOf(error);
    if (answer.status === 500) failed(error);
    return answer;
  });
  return app;
}

/** The OpenAPI document, without a service. */
export function describeApi(version: string): object {
  const app = newRoutes();
  // Routes ask the service when they are asked themselves, and nobody asks them here.
  addRoutes(app, { version } as Parts);
  return app.getOpenAPI31Document(aboutOf(version));
}

function addRoutes(app: OpenAPIHono, parts: Parts): void {
  app.openAPIRegistry.registerComponent("securitySchemes", "key", { type: "http", scheme: "bearer" });
  // A push is described by hand, and refers to it by name.
  app.openAPIRegistry.register("Target", Target);
  for (const routes of [
    openRoutes,
    botRoutes,
    messageRoutes,
    streamRoutes,
    eventRoutes,
    webhookRoutes,
    sinkRoutes,
    compatibleRoutes,
  ])
    app.route("/", routes(parts));
}

function aboutOf(version: string) {
  return {
    openapi: "3.1.0",
    info: {
      title: "openws connector",
      version,
      description: "Holds the lines of WeCom AI bots and loses nothing silently: every message in and out has a state.",
    },
    security: [{ key: [] }],
  };
}

async function refusalOf(c: Context, { keys, readKeys }: Access): Promise<Response | undefined> {
  const [, given] = /^Bearer +(\S+)$/i.exec(c.req.header("authorization") ?? "") ?? [];
  const ask = { "www-authenticate": 'Bearer realm="openws"' };
  if (given === undefined)
    return problem(401, "No key", "give the API key: Authorization: Bearer KEY (OPENWS_API_KEY)", {}, ask);
  if (await among(keys, given)) return undefined;
  if (!(await among(readKeys, given)))
    return problem(401, "Not a key of this service", "the key is not one of OPENWS_API_KEY", {}, ask);
  if (c.req.method === "GET" || c.req.method === "HEAD") return undefined;
  return problem(403, "A reading key", "this key may only read; use one of OPENWS_API_KEY");
}

/** Compares digests, so that neither the time nor the length tells anything. */
async function among(keys: readonly string[], given: string): Promise<boolean> {
  const digest = await sha256(given);
  let found = false;
  for (const key of keys) found = sameText(await sha256(key), digest) || found;
  return found;
}
