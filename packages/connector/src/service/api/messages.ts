/** The ledger: every message in and out with its state and reason, answers to messages, and forgetting a person. */
import { type OpenAPIHono, createRoute, z } from "@hono/zod-openapi";
import type { Entry, EntryState } from "../store.ts";
import { type Parts, newRoutes, traceOf } from "./served.ts";
import { idempotent, settledWithin } from "./idempotency.ts";
import { ProblemError, notFound } from "./problem.ts";
import { json, jsonBody, problems } from "./responses.ts";
import {
  DeliveryView,
  Message,
  OutMessage,
  deliveryView,
  idempotencyKey,
  messageView,
  nextOf,
  page,
  seqOf,
  traceparent,
} from "./schemas.ts";

const params = z.object({ id: z.string().max(64) });
const tags = ["Messages"];
const list = z.string().max(512).optional();
const wait = z.coerce
  .number()
  .min(0)
  .max(60)
  .default(0)
  .openapi({ description: "Seconds to wait until it is known what became of it." });

/** The routes. */
export function messageRoutes(parts: Parts): OpenAPIHono {
  const app = newRoutes();
  const { service } = parts;

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/messages",
      tags,
      summary: "The ledger, newest first",
      request: {
        query: z.strictObject({
          bot: z.string().optional(),
          direction: list.openapi({ description: "in, out, bot; several with commas" }),
          state: list.openapi({ description: "such as refused,unknown" }),
          kind: list,
          chat: z.string().optional(),
          user: z.string().optional(),
          replyTo: z.string().optional(),
          before: z.string().optional().openapi({ description: "The `next` of the page before." }),
          after: z.string().optional(),
          ...page,
        }),
      },
      responses: {
        200: json("A page.", z.object({ messages: z.array(Message), next: z.string().optional() })),
        ...problems(401, 422, 503),
      },
    }),
    async (c) => {
      const { bot, direction, state, kind, chat, user, replyTo, before, after, limit } = c.req.valid("query");
      const entries = await service.store.entries({
        bot,
        directions: split(direction, "direction", directions),
        states: split(state, "state", states),
        kinds: kind?.split(","),
        chat,
        user,
        replyTo: replyTo === undefined ? undefined : mustBeSeq(replyTo, "replyTo"),
        before: before === undefined ? undefined : mustBeSeq(before, "before"),
        after: after === undefined ? undefined : mustBeSeq(after, "after"),
        order: "descending",
        limit,
      });
      return c.json({ messages: entries.map(messageView), ...nextOf(entries, limit) }, 200);
    },
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/messages/{id}",
      tags,
      summary: "One message, with its answers and its deliveries",
      request: { params, query: z.strictObject({ wait }) },
      responses: {
        200: json(
          "The message.",
          Message.extend({ answers: z.array(Message), deliveries: z.array(DeliveryView) }).openapi("MessageInFull"),
        ),
        ...problems(401, 404, 503),
      },
    }),
    async (c) => {
      const found = await entryOf(parts, c.req.valid("param").id);
      const waitMs = c.req.valid("query").wait * 1000;
      const entry = waitMs > 0 && found.direction === "out" ? await settledWithin(service, found, waitMs) : found;
      const [answers, deliveries] = await Promise.all([
        service.store.entries({ replyTo: entry.seq, limit: 100 }),
        service.store.deliveries({ seq: entry.seq, limit: 100 }),
      ]);
      return c.json(
        { ...messageView(entry), answers: answers.map(messageView), deliveries: deliveries.map(deliveryView) },
        200,
      );
    },
  );

  app.openapi(
    createRoute({
      method: "delete",
      path: "/v1/messages",
      tags,
      summary: "Forget a person: what they wrote, and what was said to them alone",
      request: { query: z.strictObject({ userid: z.string().min(1).max(128), bot: z.string().optional() }) },
      responses: { 204: { description: "Forgotten." }, ...problems(401, 422, 503) },
    }),
    async (c) => {
      const { userid, bot } = c.req.valid("query");
      await service.store.commit([{ delete: "entries", userid, bot }]);
      return c.body(null, 204);
    },
  );

  app.openapi(
    createRoute({
      method: "post",
      path: "/v1/messages/{id}/reply",
      tags,
      summary: "Answer a message or an event; the right command is chosen",
      request: {
        params,
        query: z.strictObject({ wait }),
        headers: z.object({ "idempotency-key": idempotencyKey, traceparent }),
        body: jsonBody(OutMessage),
      },
      responses: {
        202: json("Stored; what becomes of it is in the ledger.", Message),
        ...problems(401, 404, 409, 422, 503),
      },
    }),
    async (c) => {
      const { seq } = await incomingOf(parts, c.req.valid("param").id);
      const message = c.req.valid("json");
      return idempotent(parts, c, c.req.valid("query").wait, (also) =>
        service.outbox.reply(seq, message, also, traceOf(c)),
      );
    },
  );

  app.openapi(
    createRoute({
      method: "post",
      path: "/v1/messages/{id}/streams",
      tags: ["Streams"],
      summary: "Open a bubble under a message, to be filled as the text grows",
      request: { params, headers: z.object({ traceparent }) },
      responses: {
        201: json("The stream.", z.object({ stream: z.string(), message: z.string() })),
        ...problems(401, 404, 422, 503),
      },
    }),
    async (c) => {
      const { seq } = await incomingOf(parts, c.req.valid("param").id);
      const stream = await service.outbox.stream(seq, [], traceOf(c));
      return c.json({ stream: stream.id, message: `msg_${stream.seq}` }, 201);
    },
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/dead-letters",
      tags: ["Webhooks"],
      summary: "Deliveries that were given up, newest first",
      request: {
        query: z.strictObject({ webhook: z.string().optional(), before: z.string().optional(), ...page }),
      },
      responses: {
        200: json("A page.", z.object({ deliveries: z.array(DeliveryView), next: z.string().optional() })),
        ...problems(401, 422, 503),
      },
    }),
    async (c) => {
      const { webhook, before, limit } = c.req.valid("query");
      const deliveries = await service.store.deliveries({
        webhook,
        states: ["dead"],
        before: before === undefined ? undefined : mustBeSeq(before, "before"),
        order: "descending",
        limit,
      });
      return c.json({ deliveries: deliveries.map(deliveryView), ...nextOf(deliveries, limit) }, 200);
    },
  );
  return app;
}

const directions: readonly Entry["direction"][] = ["in", "out", "bot"];
const states: readonly EntryState[] = [
  "received",
  "delivered",
  "dead",
  "unrouted",
  "accepted",
  "sent",
  "acked",
  "refused",
  "unknown",
  "failed",
  "expired",
  "fallback",
  "noted",
];

function split<Word extends string>(
  text: string | undefined,
  name: string,
  words: readonly Word[],
): Word[] | undefined {
  return text?.split(",").map((each) => {
    const word = words.find((known) => known === each);
    if (word === undefined)
      throw new ProblemError(
        422,
        "Not acceptable as it is",
        `query.${name}: ${JSON.stringify(each.slice(0, 64))} is none of ${words.join(", ")}`,
      );
    return word;
  });
}

/** The number of an id in a query, or the problem that it is none. */
export function mustBeSeq(id: string, name: string): number {
  const seq = seqOf(id);
  if (seq === undefined)
    throw new ProblemError(
      422,
      "Not acceptable as it is",
      `query.${name}: must be the id of a message, such as msg_12`,
    );
  return seq;
}

/** The entry of an id, or the problem that there is none. */
export async function entryOf({ service }: Parts, id: string): Promise<Entry> {
  const seq = seqOf(id);
  const entry = seq === undefined ? undefined : await service.store.entry(seq);
  if (entry === undefined) throw notFound("message", id);
  return entry;
}

/** Only what came in can be answered. */
async function incomingOf(parts: Parts, id: string): Promise<Entry> {
  const entry = await entryOf(parts, id);
  if (entry.direction === "in") return entry;
  throw new ProblemError(
    422,
    "Not acceptable as it is",
    `${id} did not come in, so there is nothing to answer; push instead`,
  );
}
