/** Pull and SSE: reading along from any cursor on. */
import { type OpenAPIHono, createRoute, z } from "@hono/zod-openapi";
import { streamSSE } from "hono/streaming";
import { cloudEventOf } from "../envelope.ts";
import type { FeedFilter } from "../feed.ts";
import type { Entry } from "../store.ts";
import { type Parts, newRoutes } from "./served.ts";
import { json, problems } from "./responses.ts";
import { cursor, page } from "./schemas.ts";

const tags = ["Events"];
const filter = {
  bot: z.string().optional(),
  kind: z.string().max(512).optional().openapi({ description: "msgtypes and eventtypes; several with commas" }),
  include: z.enum(["out"]).optional().openapi({ description: "`out`: also what the bot says" }),
};

const CloudEvent = z
  .looseObject({
    specversion: z.literal("1.0"),
    id: z.string(),
    source: z.string(),
    type: z.string(),
    subject: z.string(),
    time: z.string(),
    data: z.looseObject({}),
  })
  .openapi("CloudEvent");

/** The routes. */
export function eventRoutes(parts: Parts): OpenAPIHono {
  const app = newRoutes();
  const { service } = parts;
  const eventOf = async (entry: Entry) => cloudEventOf(entry, service.textOf(entry), await service.filesOf(entry));

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/events",
      tags,
      summary: "What came in and happened after a cursor; waits for something, if asked to",
      request: {
        query: z.strictObject({
          after: cursor.optional().openapi({ description: "The `cursor` of the page before; 0 for all there is." }),
          wait: z.coerce.number().min(0).max(60).default(0).openapi({ description: "Seconds." }),
          ...filter,
          ...page,
        }),
      },
      responses: {
        200: json("A page.", z.object({ events: z.array(CloudEvent), cursor: z.int() })),
        ...problems(401, 422, 503),
      },
    }),
    async (c) => {
      const { after, wait, limit, ...rest } = c.req.valid("query");
      const { entries, cursor: next } = await service.feed.page(after ?? (await service.feed.end()), filterOf(rest), {
        limit,
        waitMs: wait * 1000,
        signal: c.req.raw.signal,
      });
      const events = await Promise.all(entries.map(eventOf));
      return c.json({ events: events as unknown as z.input<typeof CloudEvent>[], cursor: next }, 200);
    },
  );

  app.openAPIRegistry.registerPath({
    method: "get",
    path: "/v1/events/stream",
    tags,
    summary: "The same as server-sent events; Last-Event-ID goes on where a connection broke",
    request: { query: z.strictObject({ after: cursor.optional(), ...filter }) },
    responses: {
      200: {
        description: "Each event's id is its cursor, its type the CloudEvent's, its data the CloudEvent.",
        content: { "text/event-stream": { schema: z.string() } },
      },
      ...problems(401, 503),
    },
  });
  const query = z.object({ after: cursor.optional(), ...filter });
  app.get("/v1/events/stream", async (c) => {
    const asked = query.parse(c.req.query());
    const last = cursor.safeParse(c.req.header("last-event-id"));
    const after = last.success ? last.data : (asked.after ?? (await service.feed.end()));
    return streamSSE(c, async (sse) => {
      const ending = new AbortController();
      sse.onAbort(() => ending.abort());
      await sse.write(": here\n\n");
      for await (const { entries, cursor: reached } of service.feed.follow(after, filterOf(asked), ending.signal)) {
        for (const entry of entries) {
          const event = await eventOf(entry);
          await sse.writeSSE({ id: String(entry.seq), event: event.type, data: JSON.stringify(event) });
        }
        // Moves a reader's cursor over what its filter leaves out, and shows proxies that somebody is there.
        if (entries.length === 0) await sse.write(`id: ${reached}\n: nothing new\n\n`);
      }
    });
  });
  return app;
}

function filterOf({
  bot,
  kind,
  include,
}: {
  bot?: string | undefined;
  kind?: string | undefined;
  include?: "out" | undefined;
}): FeedFilter {
  return {
    ...(bot === undefined ? {} : { bot }),
    ...(kind === undefined ? {} : { kinds: kind.split(",") }),
    ...(include === undefined ? {} : { directions: ["in", "out", "bot"] as const }),
  };
}
