// The smallest receiver, in the connector's image, which has all it needs: proves a delivery and answers in the response.
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { verifyWebhook } from "/app/dist/service/signature.js";

const secret = process.env.WEBHOOK_SECRET ?? "";
const seen = new Set();

createServer(async (request, response) => {
  try {
    const delivery = await verifyWebhook({ secret, body: await text(request), headers: request.headers });
    const reply = seen.has(delivery.msgId)
      ? {}
      : { reply: { markdown: `receiver: ${JSON.stringify(delivery.content)}` } };
    seen.add(delivery.msgId);
    console.log(delivery.msgId, "from", delivery.fromUser);
    response.setHeader("content-type", "application/json").end(JSON.stringify(reply));
  } catch (error) {
    response.writeHead(error instanceof SyntaxError ? 400 : 401).end(String(error.message));
  }
}).listen(9000, () => console.log("ready on :9000"));

process.on("SIGTERM", () => process.exit(0));
