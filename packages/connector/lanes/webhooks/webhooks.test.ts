// What the service really delivers, verified by the stock libraries of Standard Webhooks in other languages; the one in
// JavaScript is in test/service/signature.test.ts. `.ci/run webhooks` builds what is possible on the machine.
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { type IncomingHttpHeaders, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { startGateway } from "@openws/mock-gateway";
import { beforeAll, describe, expect, test } from "vitest";
import { leftOut } from "../../../../tools/left-out.ts";
import { signatures } from "../../src/service/signature.ts";
import { serveWhole } from "../../test/process.ts";

const languages = ["Rust", "Go", "Java", "Python"] as const;
const old = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const young = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/** A request as the receiver got it. */
interface Delivery {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}
/** Of a webhook with one secret, and of one whose secret is being replaced. */
const delivered: { once?: Delivery; rotating?: Delivery } = {};

beforeAll(async () => {
  await using gateway = await startGateway({ latencyMs: 0, bots: [{ id: "bot", secret: "s3cret-of-bot" }] });
  const both = Promise.withResolvers<undefined>();
  const receiver = createServer((request, response) => {
    void text(request).then((body) => {
      response.end();
      if (!body.includes("你好")) return;
      delivered[request.url === "/once" ? "once" : "rotating"] = { headers: request.headers, body };
      if (delivered.once !== undefined && delivered.rotating !== undefined) both.resolve(undefined);
    });
  }).listen(0, "127.0.0.1");
  await once(receiver, "listening");
  const hooks = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`;
  await using service = await serveWhole([], {
    WECOM_BOT_ID: "bot",
    WECOM_BOT_SECRET: "s3cret-of-bot",
    WECOM_BOT_WS_URL: gateway.url,
    OPENWS_DATABASE: ":memory:",
    OPENWS_API_KEY: "the-key-of-the-lane",
    OPENWS_ALLOW_PRIVATE: "1",
    OPENWS_WEBHOOK_URL: `${hooks}/once`,
    OPENWS_WEBHOOK_SECRET: old,
  });
  const ask = async (method: string, path: string, body: unknown): Promise<{ id: string }> => {
    const headers = { authorization: "Bearer the-key-of-the-lane", "content-type": "application/json" };
    const response = await fetch(`${service.url}${path}`, { method, headers, body: JSON.stringify(body) });
    expect(response.ok).toBe(true);
    return (await response.json()) as { id: string };
  };
  const { id } = await ask("POST", "/v1/webhooks", { url: `${hooks}/rotating`, secret: old });
  await ask("PATCH", `/v1/webhooks/${id}`, { secret: young });
  await gateway.waitForBot("bot");
  // What a signature over characters instead of bytes would get wrong.
  await gateway.say("bot", '你好 "é" 🐝\n\\');
  await both.promise;
  receiver.closeAllConnections();
  receiver.close();
});

describe.each(languages)("the stock library in %s", (language) => {
  const command = process.env[`OPENWS_VERIFIER_${language.toUpperCase()}`];

  /** Whether it takes the delivery. */
  function genuine(secret: string, { headers, body }: Delivery): boolean {
    const [program = "", ...args] = command!.split(" ");
    const of = (name: string): string => String(headers[`webhook-${name}`]);
    const told = spawnSync(program, [...args, secret, of("id"), of("timestamp"), of("signature")], {
      input: body,
      encoding: "utf8",
    });
    // One that could not work says so there, and has a code of its own or 1.
    expect({ stderr: told.stderr, code: told.status }).toEqual({
      stderr: "",
      code: expect.toBeOneOf([0, 1]) as number,
    });
    return told.status === 0;
  }

  test.beforeEach((context) => {
    if (command === undefined)
      leftOut(context, `deliveries verified in ${language}`, "its tools or its packages are not to be had here");
  });

  test("takes a delivery of the service, and under either secret one that is made while the secret is replaced", () => {
    expect(genuine(old, delivered.once!)).toBe(true);
    expect(genuine(old, delivered.rotating!)).toBe(true);
    expect(genuine(young, delivered.rotating!)).toBe(true);
  });

  test("takes none with another secret, body, id or time, and none that is old", async () => {
    const { headers, body } = delivered.once!;
    expect(genuine(young, delivered.once!)).toBe(false);
    expect(genuine(old, { headers, body: `${body} ` })).toBe(false);
    expect(genuine(old, { headers: { ...headers, "webhook-id": "another" }, body })).toBe(false);
    const timestamp = Number(headers["webhook-timestamp"]);
    expect(genuine(old, { headers: { ...headers, "webhook-timestamp": String(timestamp - 1) }, body })).toBe(false);
    const id = String(headers["webhook-id"]);
    expect(genuine(old, { headers: { ...(await signatures([old], { id, timestamp, body })) }, body })).toBe(true);
    const late = { ...(await signatures([old], { id, timestamp: timestamp - 3_600, body })) };
    expect(genuine(old, { headers: late, body })).toBe(false);
  });
});
