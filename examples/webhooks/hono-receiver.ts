/**
 * A webhook receiver on Hono: proves each delivery, takes each once, answers at once, works afterwards.
 *
 *   WEBHOOK_SECRET=whsec_… PORT=9000 node examples/webhooks/hono-receiver.ts
 */
import { serve } from "@hono/node-server";
import { WebhookVerificationError, verifyWebhook } from "@openws/connector/webhook";
import { Hono } from "hono";

const secret = process.env["WEBHOOK_SECRET"] ?? "";
if (secret === "") throw new Error("set WEBHOOK_SECRET to the webhook's secret");
/** Deliveries come at least once. As many ids are kept as can come again within any retry. */
const rememberedIds = Number(process.env["REMEMBERED_IDS"] ?? 10_000);
/** Work that waits; beyond it the sender is asked to come back. */
const maxWaiting = Number(process.env["MAX_WAITING"] ?? 1_000);

const seen = new Set<string>();
const queue: Delivery[] = [];

interface Delivery {
  readonly msgId: string;
  readonly fromUser: string;
  readonly content: unknown;
}

const app = new Hono();
app.post("/webhook", async (c) => {
  // The raw bytes: JSON that was parsed and stringified again has another signature.
  const body = await c.req.text();
  let delivery: Partial<Delivery>;
  try {
    delivery = (await verifyWebhook({ secret, body, headers: c.req.raw.headers })) as Partial<Delivery>;
  } catch (error) {
    return c.text((error as Error).message, error instanceof WebhookVerificationError ? 401 : 400);
  }
  const { msgId } = delivery;
  if (typeof msgId !== "string") return c.text("msgId is missing", 400);
  if (seen.has(msgId)) return c.text("seen before", 200);
  if (queue.length >= maxWaiting) return c.text("come back later", 503, { "retry-after": "5" });
  seen.add(msgId);
  // A Set keeps the order in which its members came: the first is the oldest.
  if (seen.size > rememberedIds) for (const oldest of seen) if (seen.delete(oldest)) break;
  queue.push(delivery as Delivery);
  setImmediate(work);
  // An answer in the response becomes the bot's answer.
  return c.json({ reply: { markdown: `got it: ${JSON.stringify(delivery.content)}` } });
});

function work(): void {
  for (const { msgId, fromUser } of queue.splice(0)) console.log(`${msgId} from ${fromUser}`);
}

serve({ fetch: app.fetch, hostname: "127.0.0.1", port: Number(process.env["PORT"] ?? 9000) }, ({ port }) =>
  console.log(`ready on http://127.0.0.1:${port}/webhook`),
);
