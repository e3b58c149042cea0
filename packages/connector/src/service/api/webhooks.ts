/** Webhooks: making, changing and trying them, and what became of their deliveries. */
import { type OpenAPIHono, createRoute, z } from "@hono/zod-openapi";
import { deliveryOf } from "../store.ts";
import type { Delivery } from "../store.ts";
import { type Webhook, viewOf } from "../webhooks.ts";
import { type Parts, newRoutes } from "./served.ts";
import { DeliveriesQuery, deliveriesOf, deliveriesResponses } from "./deliveries.ts";
import { ProblemError, notFound } from "./problem.ts";
import { json, jsonBody, problems } from "./responses.ts";
import { DeliveryView, WebhookInput, WebhookPatch, WebhookView, deliveryView, nextOf } from "./schemas.ts";
import { sampleEntry } from "./sample.ts";

const params = z.object({ id: z.string().max(64) });
const tags = ["Webhooks"];
const Created = WebhookView.extend({
  secret: z.string().openapi({ description: "Shown this once: keep it." }),
}).openapi("CreatedWebhook");

/** The routes. */
export function webhookRoutes(parts: Parts): OpenAPIHono {
  const app = newRoutes();
  const { service } = parts;
  const webhookOf = (id: string): Webhook => {
    const webhook = service.webhooks.get(id);
    if (webhook === undefined) throw notFound("webhook", id);
    return webhook;
  };
  const shown = (webhook: Webhook) => ({ ...viewOf(webhook), health: service.dispatcher.health(webhook.id) });

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/webhooks",
      tags,
      summary: "All webhooks, and how their endpoints do",
      responses: { 200: json("The webhooks.", z.object({ webhooks: z.array(WebhookView) })), ...problems(401) },
    }),
    (c) => c.json({ webhooks: service.webhooks.all().map(shown) }, 200),
  );

  app.openapi(
    createRoute({
      method: "post",
      path: "/v1/webhooks",
      tags,
      summary: "Make a webhook",
      request: { body: jsonBody(WebhookInput) },
      responses: { 201: json("The webhook, with its secret.", Created), ...problems(401, 422, 503) },
    }),
    async (c) => {
      const webhook = await service.webhooks.create(c.req.valid("json"));
      return c.json({ ...shown(webhook), secret: webhook.secrets[0]! }, 201);
    },
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/webhooks/{id}",
      tags,
      summary: "One webhook",
      request: { params },
      responses: { 200: json("The webhook.", WebhookView), ...problems(401, 404) },
    }),
    (c) => c.json(shown(webhookOf(c.req.valid("param").id)), 200),
  );

  app.openapi(
    createRoute({
      method: "patch",
      path: "/v1/webhooks/{id}",
      tags,
      summary: "Change a webhook. A new secret signs beside the one before it until POST …/retire-secret",
      request: { params, body: jsonBody(WebhookPatch) },
      responses: { 200: json("The webhook.", WebhookView), ...problems(401, 404, 422, 503) },
    }),
    async (c) => {
      const { id } = webhookOf(c.req.valid("param").id);
      return c.json(shown(await service.webhooks.update(id, c.req.valid("json"))), 200);
    },
  );

  app.openapi(
    createRoute({
      method: "post",
      path: "/v1/webhooks/{id}/retire-secret",
      tags,
      summary: "End a rotation: only the newest secret signs from now on",
      request: { params },
      responses: { 200: json("The webhook.", WebhookView), ...problems(401, 404, 503) },
    }),
    async (c) => c.json(shown(await service.webhooks.retireSecret(webhookOf(c.req.valid("param").id).id)), 200),
  );

  app.openapi(
    createRoute({
      method: "delete",
      path: "/v1/webhooks/{id}",
      tags,
      summary: "Remove a webhook, and call off what waits for it",
      request: { params },
      responses: { 204: { description: "Gone." }, ...problems(401, 404, 422, 503) },
    }),
    async (c) => {
      const { id } = webhookOf(c.req.valid("param").id);
      await service.webhooks.remove(id);
      await service.dispatcher.callOff(id);
      return c.body(null, 204);
    },
  );

  app.openapi(
    createRoute({
      method: "post",
      path: "/v1/webhooks/{id}/test",
      tags,
      summary: "Deliver a sample now, and say what came of it",
      request: { params },
      responses: {
        200: json(
          "The try.",
          z.object({ ok: z.boolean(), status: z.int().optional(), ms: z.number(), error: z.string().optional() }),
        ),
        ...problems(401, 404),
      },
    }),
    async (c) => {
      const webhook = webhookOf(c.req.valid("param").id);
      const { at: _, ...attempt } = await service.dispatcher.test(webhook, sampleEntry(service));
      return c.json({ ok: attempt.error === undefined, ...attempt }, 200);
    },
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/webhooks/{id}/deliveries",
      tags,
      summary: "Its deliveries with their tries, newest first",
      request: {
        params,
        query: DeliveriesQuery,
      },
      responses: deliveriesResponses,
    }),
    async (c) => {
      const { id } = webhookOf(c.req.valid("param").id);
      const query = c.req.valid("query");
      const deliveries = await deliveriesOf(service.store, id, query);
      return c.json({ deliveries: deliveries.map(deliveryView), ...nextOf(deliveries, query.limit) }, 200);
    },
  );

  const again = async (id: string): Promise<Delivery> => {
    const delivery = deliveryOf(id) === undefined ? undefined : await service.store.delivery(id);
    if (delivery === undefined) throw notFound("delivery", id);
    if (delivery.state === "pending")
      throw new ProblemError(409, "Under way", "this delivery is pending; it goes when its turn comes");
    const enabled = service.webhooks.get(delivery.webhook)?.enabled ?? service.sinks.has(delivery.webhook);
    if (!enabled)
      throw new ProblemError(409, "No way", "its webhook or sink was removed or is switched off; enable it first");
    const redriven = await service.dispatcher.redrive(delivery);
    if (redriven === undefined) throw notFound("message", `msg_${delivery.seq}`);
    return redriven;
  };
  const redrive = { 202: json("It goes again.", DeliveryView), ...problems(401, 404, 409, 503) };

  app.openapi(
    createRoute({
      method: "post",
      path: "/v1/webhooks/{id}/deliveries/{delivery}/redrive",
      tags,
      summary: "Deliver once more",
      request: { params: z.object({ id: z.string().max(64), delivery: z.string().max(128) }) },
      responses: redrive,
    }),
    async (c) => c.json(deliveryView(await again(c.req.valid("param").delivery)), 202),
  );

  app.openapi(
    createRoute({
      method: "post",
      path: "/v1/dead-letters/{id}/redrive",
      tags,
      summary: "Deliver a dead letter once more",
      request: { params: z.object({ id: z.string().max(128) }) },
      responses: redrive,
    }),
    async (c) => c.json(deliveryView(await again(c.req.valid("param").id)), 202),
  );
  return app;
}
