/**
 * The same receiver on Express.
 *
 *   WEBHOOK_SECRET=whsec_… PORT=9000 node examples/webhooks/express-receiver.ts
 */
import type { AddressInfo } from "node:net";
import { WebhookVerificationError, verifyWebhook } from "@openws/connector/webhook";
import express from "express";

const secret = process.env["WEBHOOK_SECRET"] ?? "";
if (secret === "") throw new Error("set WEBHOOK_SECRET to the webhook's secret");
const rememberedIds = Number(process.env["REMEMBERED_IDS"] ?? 10_000);
const maxWaiting = Number(process.env["MAX_WAITING"] ?? 1_000);

const seen = new Set<string>();
const queue: { msgId: string; fromUser: string }[] = [];

const app = express();
// express.json() would keep the parsed body only; the signature is over the bytes.
app.post("/webhook", express.raw({ type: "application/json", limit: "1mb" }), async (request, response) => {
  let delivery: { msgId?: unknown; fromUser?: unknown; content?: unknown };
  try {
    const body = request.body as Uint8Array;
    delivery = (await verifyWebhook({ secret, body, headers: request.headers })) as typeof delivery;
  } catch (error) {
    response.status(error instanceof WebhookVerificationError ? 401 : 400).send((error as Error).message);
    return;
  }
  const { msgId, fromUser, content } = delivery;
  if (typeof msgId !== "string") {
    response.status(400).send("msgId is missing");
  } else if (seen.has(msgId)) {
    response.status(200).send("seen before");
  } else if (queue.length >= maxWaiting) {
    response.status(503).set("retry-after", "5").send("come back later");
  } else {
    seen.add(msgId);
    if (seen.size > rememberedIds) for (const oldest of seen) if (seen.delete(oldest)) break;
    queue.push({ msgId, fromUser: String(fromUser) });
    setImmediate(work);
    response.json({ reply: { markdown: `got it: ${JSON.stringify(content)}` } });
  }
});

function work(): void {
  for (const { msgId, fromUser } of queue.splice(0)) console.log(`${msgId} from ${fromUser}`);
}

const server = app.listen(Number(process.env["PORT"] ?? 9000), "127.0.0.1", () =>
  console.log(`ready on http://127.0.0.1:${(server.address() as AddressInfo).port}/webhook`),
);
