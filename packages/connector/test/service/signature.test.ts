import { createHmac } from "node:crypto";
import { Webhook } from "standardwebhooks";
import { describe, expect, it } from "vitest";
import { WebhookVerificationError, signatures, verifyWebhook } from "../../src/service/signature.ts";

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const body = '{"msgId":"m-1","content":"你好"}';
const id = "m-1";
const timestamp = 1_700_000_000;
const now = timestamp * 1000;

describe("a delivery's signatures", () => {
  it("are accepted by the stock library of Standard Webhooks", async () => {
    const current = Math.floor(Date.now() / 1000);
    const headers = await signatures([secret], { id, timestamp: current, body });
    expect(new Webhook(secret).verify(body, { ...headers })).toEqual({ msgId: "m-1", content: "你好" });
    expect(() => new Webhook(secret).verify(`${body} `, { ...headers })).toThrow();
  });

  it("hold the hex HMAC-SHA256 of timestamp, colon and raw body under the secret as it is written", async () => {
    const headers = await signatures([secret], { id, timestamp, body });
    expect(headers["x-webhook-timestamp"]).toBe("1700000000");
    expect(headers["x-webhook-signature"]).toBe(
      createHmac("sha256", secret).update(`1700000000:${body}`).digest("hex"),
    );
  });

  it("are made with both secrets while one replaces the other", async () => {
    const other = "another secret of 24 byte";
    const headers = await signatures([secret, other], { id, timestamp, body });
    expect(headers["webhook-signature"].split(" ")).toHaveLength(2);
    for (const each of [secret, other])
      expect(await verifyWebhook({ secret: each, body, headers: { ...headers }, now })).toEqual(JSON.parse(body));
  });
});

describe("verifyWebhook", () => {
  const made = signatures([secret], { id, timestamp, body });
  const standard = async () => {
    const all = await made;
    return Object.fromEntries(Object.entries(all).filter(([name]) => name.startsWith("webhook-")));
  };
  const plain = async () => {
    const all = await made;
    return Object.fromEntries(Object.entries(all).filter(([name]) => name.startsWith("x-webhook-")));
  };

  it.each([
    ["Standard Webhooks alone", standard],
    ["the X-Webhook headers alone", plain],
    ["a Headers object", async () => new Headers({ ...(await made) })],
    ["bytes and header names as they were written", plain],
  ])("takes %s", async (_, headers) => {
    const bytes = new TextEncoder().encode(body);
    expect(await verifyWebhook({ secret, body: bytes, headers: await headers(), now })).toEqual(JSON.parse(body));
  });

  it.each([
    ["another secret", { secret: "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }, /does not fit/],
    ["a changed body", { body: body.replace("m-1", "m-2") }, /does not fit/],
    ["a request that is six minutes old", { now: now + 360_000 }, /300 s/],
    ["a request from the future", { now: now - 360_000 }, /300 s/],
    ["no signature at all", { headers: {} }, /no signature/],
  ])("refuses %s", async (_, changed, message) => {
    for (const headers of [await standard(), await plain()]) {
      const verifying = verifyWebhook({ secret, body, headers, now, ...changed });
      await expect(verifying).rejects.toThrow(WebhookVerificationError);
      await expect(verifying).rejects.toThrow(message);
    }
  });

  it("rejects a proven body that is no JSON with SyntaxError, for the receiver's 400", async () => {
    const headers = await signatures([secret], { id, timestamp, body: "nonsense" });
    await expect(verifyWebhook({ secret, body: "nonsense", headers: { ...headers }, now })).rejects.toThrow(
      SyntaxError,
    );
  });
});
