// Answers in the response of a webhook, over real sockets from the receiver to the user: what an HTTP client makes of a
// response decides whether it is one.
import { type RequestListener, type ServerResponse, createServer } from "node:http";
import { text } from "node:stream/consumers";
import { startGateway } from "@openws/mock-gateway";
import { afterEach, expect, it } from "vitest";
import { listening } from "../listening.ts";
import { serveWhole } from "../process.ts";

const ended: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0).toReversed()) await end();
});

const completion = (content: string): string => `data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`;
/** Two bytes of a character of three, and the third. */
const half = Buffer.from("好").subarray(0, 2);
const rest = Buffer.from("好").subarray(2);

/** What a receiver answers to a text of this name: its type, and the parts that it writes, each by itself. */
const answers: Readonly<Record<string, readonly [type: string, ...parts: (string | Uint8Array)[]]>> = {
  "one piece": ["application/json", JSON.stringify({ reply: { markdown: "**in one piece**" } })],
  "an event stream": ["text/event-stream", "data: bit\n\n", "data:  by", " bit\n\n", "data: [DONE]\n\n"],
  "a model's stream": ["text/event-stream", completion("tok"), completion("en by token"), "data: [DONE]\n\n"],
  "chunks of text": ["text/plain; charset=utf-8", "你", half, rest, " in chunks"],
};

it("comes to the user: as JSON, as events, as a model's chunks, as chunks of text", { timeout: 60_000 }, async () => {
  const gateway = await startGateway({ latencyMs: 0, bots: [{ id: "bot", secret: "s3cret-of-bot" }] });
  ended.push(() => gateway.stop());
  const respond = async (body: string, response: ServerResponse): Promise<void> => {
    const { content } = JSON.parse(body) as { content: unknown };
    const [type, ...parts] = answers[String(content)] ?? ["text/plain"];
    response.setHeader("content-type", type);
    for (const part of parts)
      await new Promise((resolve) => {
        response.write(part, resolve);
      });
    response.end();
  };
  const listener: RequestListener = (request, response) => {
    void text(request).then((body) => respond(body, response));
  };
  const port = await listening(createServer(listener), ended);
  await using running = await serveWhole([], {
    WECOM_BOT_ID: "bot",
    WECOM_BOT_SECRET: "s3cret-of-bot",
    WECOM_BOT_WS_URL: gateway.url,
    OPENWS_DATABASE: ":memory:",
    OPENWS_WEBHOOK_URL: `http://127.0.0.1:${port}/hook`,
    OPENWS_WEBHOOK_SECRET: "the-secret-of-the-test",
  });
  await gateway.waitForBot("bot");
  const replies: Record<string, string | null> = {};
  for (const said of Object.keys(answers)) {
    const told = await gateway.say("bot", said, { waitMs: 15_000 });
    expect(told.replies.map(({ kind, finished }) => [kind, finished])).toEqual([["stream", true]]);
    replies[said] = told.reply;
  }
  expect(replies).toEqual({
    "one piece": "**in one piece**",
    "an event stream": "bit by bit",
    "a model's stream": "token by token",
    "chunks of text": "你好 in chunks",
  });
  expect(await running.end()).toBe(0);
});
