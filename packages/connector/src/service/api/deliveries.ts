/** The page of one endpoint's deliveries, which webhooks and sinks show alike. */
import { z } from "@hono/zod-openapi";
import type { Delivery, Store } from "../store.ts";
import { mustBeSeq } from "./messages.ts";
import { json, problems } from "./responses.ts";
import { DeliveryView, page } from "./schemas.ts";

/** Which deliveries are asked for. */
export const DeliveriesQuery = z.strictObject({
  state: z.enum(["pending", "delivered", "dead", "cancelled"]).optional(),
  before: z.string().optional(),
  ...page,
});

/** What is answered. */
export const deliveriesResponses = {
  200: json("A page.", z.object({ deliveries: z.array(DeliveryView), next: z.string().optional() })),
  ...problems(401, 404, 422, 503),
};

/** The deliveries of an endpoint that a query asks for, newest first. */
export function deliveriesOf(
  store: Pick<Store, "deliveries">,
  webhook: string,
  { state, before, limit }: z.output<typeof DeliveriesQuery>,
): Promise<Delivery[]> {
  return store.deliveries({
    webhook,
    states: state === undefined ? undefined : [state],
    before: before === undefined ? undefined : mustBeSeq(before, "before"),
    order: "descending",
    limit,
  });
}
