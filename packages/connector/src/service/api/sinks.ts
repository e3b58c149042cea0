/** Queue sinks: which there are, how they do, and what became of their deliveries. They are made by the operator alone. */
import { type OpenAPIHono, createRoute, z } from "@hono/zod-openapi";
import { mustBeSeq } from "./messages.ts";
import { notFound } from "./problem.ts";
import { json, problems } from "./responses.ts";
import { DeliveryView, deliveryView, nextOf, page } from "./schemas.ts";
import { type Parts, newRoutes } from "./served.ts";

const tags = ["Sinks"];
const SinkView = z
  .object({
    id: z.string(),
    broker: z.enum(["rabbitmq", "kafka", "nats", "redis"]),
    address: z.string().openapi({ description: "Hosts and target; never a user or a password." }),
    health: z.object({ circuit: z.enum(["closed", "open", "half-open"]), held: z.int(), inFlight: z.int() }),
  })
  .openapi("Sink");

/** The routes. */
export function sinkRoutes({ service }: Parts): OpenAPIHono {
  const app = newRoutes();

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/sinks",
      tags,
      summary: "All queue sinks, and how their brokers do",
      responses: { 200: json("The sinks.", z.object({ sinks: z.array(SinkView) })), ...problems(401) },
    }),
    (c) => {
      const sinks = service.sinks.all().map(({ id, broker, shown }) => ({
        id,
        broker,
        address: shown,
        health: service.dispatcher.health(id),
      }));
      return c.json({ sinks }, 200);
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
        query: z.strictObject({
          state: z.enum(["pending", "delivered", "dead", "cancelled"]).optional(),
          before: z.string().optional(),
          ...page,
        }),
      },
      responses: {
        200: json("A page.", z.object({ deliveries: z.array(DeliveryView), next: z.string().optional() })),
        ...problems(401, 404, 422, 503),
      },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      if (!service.sinks.has(id)) throw notFound("sink", id);
      const { state, before, limit } = c.req.valid("query");
      const deliveries = await service.store.deliveries({
        webhook: id,
        states: state === undefined ? undefined : [state],
        before: before === undefined ? undefined : mustBeSeq(before, "before"),
        order: "descending",
        limit,
      });
      return c.json({ deliveries: deliveries.map(deliveryView), ...nextOf(deliveries, limit) }, 200);
    },
  );
  return app;
}
