/** Bots: which there are, adding and removing them while the service runs, pushing, and uploading. */
import { type OpenAPIHono, createRoute, z } from "@hono/zod-openapi";
import type { MediaKind } from "@openws/protocol";
import { type Parts, type ServedBot, botOf, newRoutes, traceOf } from "./served.ts";
import { idempotent } from "./idempotency.ts";
import { ProblemError } from "./problem.ts";
import { json, jsonBody, problems } from "./responses.ts";
import { BotView, Message, PushInput, idempotencyKey, traceparent } from "./schemas.ts";

const params = z.object({ bot: z.string().min(1).max(128) });
const tags = ["Bots"];
const secret = z.string().min(1).max(512);
const url = z.url({ protocol: /^wss?$/, error: "must be a ws or wss URL" });
const name = z.string().min(1).max(128);
const mediaKinds: readonly string[] = ["image", "voice", "video", "file"] satisfies MediaKind[];

/** The routes. */
export function botRoutes(parts: Parts): OpenAPIHono {
  const app = newRoutes();
  const { service } = parts;

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/bots",
      tags,
      summary: "All bots and the state of their lines",
      responses: { 200: json("The bots.", z.object({ bots: z.array(BotView) })), ...problems(401) },
    }),
    (c) => c.json({ bots: service.bots().map(viewOf) }, 200),
  );

  app.openapi(
    createRoute({
      method: "post",
      path: "/v1/bots",
      tags,
      summary: "Add a bot; it connects at once, and again after a restart",
      request: {
        body: jsonBody(
          z.strictObject({ id: z.string().min(1).max(128), secret, name: name.optional(), url: url.optional() }),
        ),
      },
      responses: { 201: json("The bot.", BotView), ...problems(401, 409, 422, 503) },
    }),
    async (c) => {
      const { id, ...rest } = c.req.valid("json");
      if (service.bots().some((bot) => bot.id === id))
        throw new ProblemError(
          409,
          "There already",
          `this service runs the bot ${JSON.stringify(id)}; PATCH changes it`,
        );
      return c.json(viewOf(await service.addBot({ id, ...present(rest) })), 201);
    },
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/bots/{bot}",
      tags,
      summary: "One bot",
      request: { params },
      responses: { 200: json("The bot.", BotView), ...problems(401, 404) },
    }),
    (c) => c.json(viewOf(botOf(parts, c.req.valid("param").bot)), 200),
  );

  app.openapi(
    createRoute({
      method: "patch",
      path: "/v1/bots/{bot}",
      tags,
      summary: "Change a bot that was added through the API, such as its secret; it connects anew",
      request: {
        params,
        body: jsonBody(z.strictObject({ secret, name, url }).partial()),
      },
      responses: { 200: json("The bot.", BotView), ...problems(401, 404, 422, 503) },
    }),
    async (c) => {
      const { id } = botOf(parts, c.req.valid("param").bot);
      return c.json(viewOf(await service.updateBot(id, present(c.req.valid("json")))), 200);
    },
  );

  app.openapi(
    createRoute({
      method: "delete",
      path: "/v1/bots/{bot}",
      tags,
      summary: "Stop and forget a bot that was added through the API; its messages stay",
      request: { params },
      responses: { 204: { description: "Gone." }, ...problems(401, 404, 422, 503) },
    }),
    async (c) => {
      await service.removeBot(botOf(parts, c.req.valid("param").bot).id);
      return c.body(null, 204);
    },
  );

  app.openapi(
    createRoute({
      method: "post",
      path: "/v1/bots/{bot}/reconnect",
      tags,
      summary: "Connect again after a kick or a refusal: only who knows that no other instance runs should ask",
      request: { params },
      responses: { 202: json("It is trying.", BotView), ...problems(401, 404) },
    }),
    (c) => {
      const { id } = botOf(parts, c.req.valid("param").bot);
      service.reconnect(id);
      return c.json(viewOf(botOf(parts, id)), 202);
    },
  );

  app.openapi(
    createRoute({
      method: "post",
      path: "/v1/bots/{bot}/messages",
      tags: ["Messages"],
      summary: "Push a message to a user or a group",
      request: {
        params,
        query: z.strictObject({
          wait: z.coerce.number().min(0).max(60).default(0).openapi({ description: "Seconds to wait for its end." }),
        }),
        headers: z.object({ "idempotency-key": idempotencyKey, traceparent }),
        body: jsonBody(PushInput),
      },
      responses: {
        202: json("Stored; what becomes of it is in the ledger.", Message),
        ...problems(401, 404, 409, 422, 503),
      },
    }),
    async (c) => {
      const { id } = botOf(parts, c.req.valid("param").bot);
      const { to, message } = c.req.valid("json");
      const { wait } = c.req.valid("query");
      return idempotent(parts, c, wait, (also) => service.outbox.push(id, to, message, also, traceOf(c)));
    },
  );

  // The body is a file of any type, streamed, so it is neither read nor validated here.
  app.openAPIRegistry.registerPath({
    method: "post",
    path: "/v1/bots/{bot}/media",
    tags: ["Media"],
    summary: "Upload a file for a media_id, which lives for three days",
    request: {
      params,
      query: z.strictObject({
        filename: z.string().min(1).max(255),
        type: z.enum(["image", "voice", "video", "file"]).optional(),
      }),
      body: { content: { "application/octet-stream": { schema: z.string().openapi({ format: "binary" }) } } },
    },
    responses: {
      200: json("Uploaded.", z.object({ type: z.string(), media_id: z.string(), created_at: z.int() })),
      ...problems(401, 404, 422, 502, 503),
    },
  });
  app.post("/v1/bots/:bot/media", async (c) => {
    const { id } = botOf(parts, c.req.param("bot"));
    const filename = c.req.query("filename") ?? "";
    const type = c.req.query("type");
    if (filename === "") throw new ProblemError(422, "Not acceptable as it is", "query.filename: give the file's name");
    if (type !== undefined && !mediaKinds.includes(type))
      throw new ProblemError(422, "Not acceptable as it is", `query.type: must be one of ${mediaKinds.join(", ")}`);
    const { body } = c.req.raw;
    if (body === null) throw new ProblemError(422, "Not acceptable as it is", "the body must be the file");
    const { kind, mediaId } = await service.upload(id, body as ReadableStream<Uint8Array>, {
      filename,
      ...(type === undefined ? {} : { kind: type as MediaKind }),
    });
    return c.json({ type: kind, media_id: mediaId, created_at: Math.floor(service.clock.now() / 1000) }, 200);
  });

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/chats",
      tags: ["Messages"],
      summary: "Chats, the last active one first",
      request: {
        query: z.strictObject({
          bot: z.string().optional(),
          before: z.coerce.number().int().min(1).optional(),
          limit: z.coerce.number().int().min(1).max(1_000).default(100),
        }),
      },
      responses: {
        200: json(
          "A page. Give the last `cursor` back as `before`.",
          z.object({
            chats: z.array(
              z.object({
                bot: z.string(),
                id: z.string(),
                type: z.enum(["single", "group"]),
                lastAt: z.iso.datetime(),
                cursor: z.int(),
              }),
            ),
          }),
        ),
        ...problems(401, 503),
      },
    }),
    async (c) => {
      const { bot, before, limit } = c.req.valid("query");
      const chats = await service.store.chats({ bot, before, limit });
      return c.json(
        {
          chats: chats.map(({ bot: of, chat, lastSeq, lastAt }) => ({
            bot: of,
            ...chat,
            lastAt: new Date(lastAt).toISOString(),
            cursor: lastSeq,
          })),
        },
        200,
      );
    },
  );
  return app;
}

function viewOf({ id, name: called, source, state }: ServedBot): z.input<typeof BotView> {
  const { lastFrameAt, ...rest } = state;
  return {
    id,
    ...(called === undefined ? {} : { name: called }),
    source,
    state: { ...rest, ...(lastFrameAt === undefined ? {} : { lastFrameAt }) },
  };
}

function present<Shape extends object>(shape: Shape): { [Name in keyof Shape]: Exclude<Shape[Name], undefined> } {
  return Object.fromEntries(Object.entries(shape).filter(([, value]) => value !== undefined)) as never;
}
