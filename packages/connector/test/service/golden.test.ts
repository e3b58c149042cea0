// The golden request of docs/webhooks.md: what people hold their own verifiers against.
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { envelopeOf, stableIdOf } from "../../src/service/envelope.ts";
import { signatures, verifyWebhook } from "../../src/service/signature.ts";
import type { Entry } from "../../src/service/store.ts";

const page = readFileSync(join(dirname(fileURLToPath(import.meta.url)), "../../../../docs/webhooks.md"), "utf8");
const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const entry: Entry = {
  seq: 12,
  bot: "aibXbRKP7sVL",
  direction: "in",
  kind: "text",
  chat: { id: "wrkSFfCgAAHC", type: "group" },
  user: "zhangsan",
  msgid: "CAIQz7/MjQYY",
  state: "received",
  at: 1_767_225_600_000,
  changedAt: 1_767_225_600_000,
  body: { msgid: "CAIQz7/MjQYY", chattype: "group", msgtype: "text", text: { content: "@Bot 服务器紧急重启" } },
};

it("the documented body and headers are those that are sent", async () => {
  const body = JSON.stringify(envelopeOf(entry, { text: "服务器紧急重启", files: [] }));
  const headers = await signatures([secret], { id: stableIdOf(entry), timestamp: 1_767_225_601, body });
  const golden = [
    "POST /webhook HTTP/1.1",
    "content-type: application/json",
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    "",
    body,
  ].join("\n");
  expect(page).toContain(`\`\`\`http\n${golden}\n\`\`\``);
});

it("the documented request is accepted, and by hand as well", async () => {
  const [, request = ""] = /```http\n([^]+?)\n```/.exec(page) ?? [];
  const [head = "", body = ""] = request.split("\n\n");
  const headers = Object.fromEntries(
    head.split("\n").flatMap((line) => {
      const [, name = "", value = ""] = /^([\w-]+): (.+)$/.exec(line) ?? [];
      return name === "" ? [] : [[name, value] as const];
    }),
  );
  expect(await verifyWebhook({ secret, body, headers, now: 1_767_225_601_000 })).toMatchObject({ msgType: 1 });
  const mac = createHmac("sha256", secret).update(`${headers["x-webhook-timestamp"] ?? ""}:${body}`);
  expect(headers["x-webhook-signature"]).toBe(mac.digest("hex"));
});
