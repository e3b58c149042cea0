// The smallest receiver, in the connector's image, which has all it needs: proves a delivery and answers in the response.
import { createServer } from "node:http";
import { text } from "node:stream/consumers";

// Where the image has it; elsewhere it is @openws/connector/webhook.
const library = "/app/dist/service/signature.js";
const { verifyWebhook } = /** @type {typeof import("@openws/connector/webhook")} */ (await import(library));

const secret = process.env["WEBHOOK_SECRET"] ?? "";
const seen = new Set();

/**
 * @param {import("node:http").IncomingMessage} request
 * @param {import("node:http").ServerResponse} response
 */
async function receive(request, response) {
  try {
    const delivery = /** @type {{ msgId: string, fromUser: string, msgType: number, content: unknown }} */ (
      await verifyWebhook({ secret, body: await text(request), headers: request.headers })
    );
    const { msgId, fromUser, msgType, content } = delivery;
    // 10000 is an event: nobody waits for words.
    const answers = msgType !== 10_000 && !seen.has(msgId);
    const reply = answers ? { reply: { markdown: `receiver: ${JSON.stringify(content)}` } } : {};
    seen.add(msgId);
    console.log(msgId, "from", fromUser);
    response.setHeader("content-type", "application/json").end(JSON.stringify(reply));
  } catch (error) {
    response.writeHead(error instanceof SyntaxError ? 400 : 401).end(error instanceof Error ? error.message : "");
  }
}

createServer((request, response) => void receive(request, response)).listen(9000, () => console.log("ready on :9000"));

process.on("SIGTERM", () => process.exit(0));
