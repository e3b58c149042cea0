// A delivery's signatures by the stock library of Standard Webhooks in Python; in JavaScript they are in test/service/signature.test.ts.
import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { signatures } from "../../src/service/signature.ts";

const python = process.env["OPENWS_PYTHON_STANDARDWEBHOOKS"];
if (python === undefined)
  throw new Error("OPENWS_PYTHON_STANDARDWEBHOOKS names no Python with standardwebhooks; .ci/run python makes one");

const program = `
import json, sys
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
told = json.load(sys.stdin)
try:
    print(json.dumps(Webhook(told["secret"]).verify(told["body"], told["headers"])))
except WebhookVerificationError as error:
    print(json.dumps("refused"))
`;
const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const body = '{"msgId":"m-1","content":"你好"}';

function verified(told: { readonly secret: string; readonly body: string; readonly headers: object }): unknown {
  const { stdout, stderr } = spawnSync(python!, ["-c", program], { input: JSON.stringify(told), encoding: "utf8" });
  expect(stderr).toBe("");
  return JSON.parse(stdout);
}

test("the stock library in Python takes a delivery, also while its secret is being replaced, and nothing else", async () => {
  const timestamp = Math.floor(Date.now() / 1000);
  const other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
  const headers = await signatures([other, secret], { id: "m-1", timestamp, body });
  expect(verified({ secret, body, headers })).toEqual({ msgId: "m-1", content: "你好" });
  expect(verified({ secret: other, body, headers })).toEqual({ msgId: "m-1", content: "你好" });
  expect(verified({ secret, body: `${body} `, headers })).toBe("refused");
  const old = await signatures([secret], { id: "m-1", timestamp: timestamp - 3_600, body });
  expect(verified({ secret, body, headers: old })).toBe("refused");
});
