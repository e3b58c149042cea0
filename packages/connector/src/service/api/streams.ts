/** Bubbles that are filled over HTTP. */
import { type OpenAPIHono, createRoute, z } from "@hono/zod-openapi";
import { type OpenStream, type Parts, newRoutes } from "./served.ts";
import { ProblemError } from "./problem.ts";
import { json, jsonBody, problems } from "./responses.ts";

const params = z.object({ id: z.string().max(64) });
const tags = ["Streams"];
const text = z.string().max(200_000);
const Stream = z.object({ stream: z.string(), message: z.string() });

/** The routes. */
export function streamRoutes(parts: Parts): OpenAPIHono {
  const app = newRoutes();

  app.openapi(
    createRoute({
      method: "patch",
      path: "/v1/streams/{id}",
      tags,
      summary: "Add to the text, or set all of it",
      request: {
        params,
        body: jsonBody(z.union([z.strictObject({ append: text }), z.strictObject({ content: text })])),
      },
      responses: { 200: json("Stored; the bubble shows it soon.", Stream), ...problems(401, 410, 422, 503) },
    }),
    async (c) => {
      const stream = openOf(parts, c.req.valid("param").id);
      const said = c.req.valid("json");
      await ("append" in said ? stream.append(said.append) : stream.set(said.content));
      return c.json({ stream: stream.id, message: `msg_${stream.seq}` }, 200);
    },
  );

  app.openapi(
    createRoute({
      method: "post",
      path: "/v1/streams/{id}/finish",
      tags,
      summary: "End the bubble, with a last text if there is one; a bubble that nobody ends is ended for you",
      request: {
        params,
        body: { content: { "application/json": { schema: z.strictObject({ content: text.optional() }) } } },
      },
      responses: { 202: json("Stored; what becomes of it is in the ledger.", Stream), ...problems(401, 410, 422, 503) },
    }),
    async (c) => {
      const stream = openOf(parts, c.req.valid("param").id);
      const said: { content?: string | undefined } | undefined = c.req.valid("json");
      await stream.finish(said?.content);
      return c.json({ stream: stream.id, message: `msg_${stream.seq}` }, 202);
    },
  );
  return app;
}

function openOf({ service }: Parts, id: string): OpenStream {
  const stream = service.outbox.openStream(id);
  if (stream === undefined)
    throw new ProblemError(
      410,
      "No open stream",
      `there is no open stream ${JSON.stringify(id)}: it never was, or is finished`,
    );
  return stream;
}
