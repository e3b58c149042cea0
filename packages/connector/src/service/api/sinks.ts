/**
 * Queue sinks: which there are, how they do, and what became of their deliveries. They are made by the operator alone, so
 * that one that was taken out of the configuration is gone without a word to this API: what still waits for it is shown, and
 * called off when somebody says so.
 */
import { type OpenAPIHono, createRoute, z } from "@hono/zod-openapi";
import { DeliveriesQuery, deliveriesOf, deliveriesResponses } from "./deliveries.ts";
import { ProblemError, notFound } from "./problem.ts";
import { json, problems } from "./responses.ts";
import { deliveryView, nextOf } from "./schemas.ts";
import { type Parts, newRoutes } from "./served.ts";

const tags = ["Sinks"];
const backlog = {
  pending: z.int().openapi({ description: "Deliveries that wait." }),
  waitingSince: z.iso.datetime().optional().openapi({ description: "Since when the first of them waits." }),
};
const SinkView = z
  .object({
    id: z.string(),
    broker: z.enum(["rabbitmq", "kafka", "nats", "redis"]),
    address: z.string().openapi({ description: "Hosts and target; never a user or a password." }),
    health: z.object({ circuit: z.enum(["closed", "open", "half-open"]), held: z.int(), inFlight: z.int() }),
    ...backlog,
    trouble: z.string().optional().openapi({ description: "Why its broker took nothing when it was last asked." }),
    commands: z
      .object({ from: z.string(), trouble: z.string().optional() })
      .optional()
      .openapi({ description: "Where commands come from, and why none come." }),
  })
  .openapi("Sink");
const GoneView = z.object({ id: z.string(), ...backlog }).openapi("GoneSink");

/** The routes. */
export function sinkRoutes({ service }: Parts): OpenAPIHono {
  const app = newRoutes();

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/sinks",
      tags,
      summary: "All queue sinks, and how their brokers do",
      responses: {
        200: json(
          "The sinks; and what waits for sinks and webhooks that are not there any more.",
          z.object({ sinks: z.array(SinkView), gone: z.array(GoneView) }),
        ),
        ...problems(401, 503),
      },
    }),
    async (c) => {
      const backlogs = await service.dispatcher.backlogs();
      const waiting = (id: string) => {
        const found = backlogs.find(({ webhook }) => webhook === id);
        return found === undefined
          ? { pending: 0 }
          : { pending: found.pending, waitingSince: new Date(found.since).toISOString() };
      };
      const sinks = service.sinks.all().map(({ id, broker, shown, commands }) => {
        const { trouble, commandsTrouble } = service.sinks.troubleOf(id);
        return {
          id,
          broker,
          address: shown,
          health: service.dispatcher.health(id),
          ...waiting(id),
          trouble,
          commands: commands === undefined ? undefined : { from: commands, trouble: commandsTrouble },
        };
      });
      const gone = backlogs.filter((each) => each.gone).map(({ webhook: id }) => ({ id, ...waiting(id) }));
      return c.json({ sinks, gone }, 200);
    },
  );

  app.openapi(
    createRoute({
      method: "delete",
      path: "/v1/sinks/{id}/deliveries",
      tags,
      summary: "Call off what waits for a sink, or a webhook, that is not there any more",
      request: { params: z.object({ id: z.string().max(64) }) },
      responses: {
        200: json("How many were called off.", z.object({ cancelled: z.int() })),
        ...problems(401, 404, 409, 503),
      },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      if (service.sinks.has(id) || service.webhooks.get(id) !== undefined)
        throw new ProblemError(409, "It is there", "what waits for it goes when its turn comes; remove it first");
      const cancelled = await service.dispatcher.callOff(id);
      if (cancelled === 0) throw notFound("sink that something waits for", id);
      return c.json({ cancelled }, 200);
    },
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/sinks/{id}/deliveries",
      tags,
      summary: "Its deliveries with their tries, newest first",
      request: {
        params: z.object({ id: z.string().max(64) }),
        query: DeliveriesQuery,
      },
      responses: deliveriesResponses,
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      const query = c.req.valid("query");
      const deliveries = await deliveriesOf(service.store, id, query);
      const { sinks, webhooks } = service;
      // One that is gone is known by what was delivered to it, or waits.
      if (!sinks.has(id) && (deliveries.length === 0 || webhooks.get(id) !== undefined)) throw notFound("sink", id);
      return c.json({ deliveries: deliveries.map(deliveryView), ...nextOf(deliveries, query.limit) }, 200);
    },
  );
  return app;
}
