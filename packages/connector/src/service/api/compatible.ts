/**
 * The names by which HTTP message services configure their webhook, for scripts that exist: `/v1/webhook/Config`, `List`,
 * `Test`, `Update`, with members in PascalCase or camelCase, times in seconds and kinds as they number them.
 *
 * Decides how those read in our terms; what a webhook is, webhooks.ts decides. New code uses /v1/webhooks.
 */
import { type OpenAPIHono, createRoute, z } from "@hono/zod-openapi";
import type { Webhook } from "../webhooks.ts";
import { type Parts, newRoutes } from "./served.ts";
import { ProblemError } from "./problem.ts";
import { json, jsonBody, problems } from "./responses.ts";
import { sampleEntry } from "./sample.ts";

const tags = ["Compatible names"];

/** Their names in lower case → how the value reads, and ours. */
const members: Readonly<Record<string, { schema: z.ZodType; ours: (value: never) => Record<string, unknown> }>> = {
  url: { schema: z.string(), ours: (url: string) => ({ url }) },
  secret: { schema: z.string(), ours: (secret: string) => ({ secret }) },
  enabled: { schema: z.boolean(), ours: (enabled: boolean) => ({ enabled }) },
  timeout: {
    schema: z.number().min(1).max(30),
    ours: (seconds: number) => ({ timeoutMs: Math.round(seconds * 1000) }),
  },
  retrycount: { schema: z.int().min(0).max(50), ours: (retryCount: number) => ({ retryCount }) },
  messagetypes: {
    schema: z.array(z.union([z.string(), z.number()])).max(50),
    // None named means all, there as here.
    ours: (kinds: (string | number)[]) => (kinds.length === 0 ? {} : { kinds: kinds.map(String) }),
  },
  includeselfmessage: { schema: z.boolean(), ours: (includeSelf: boolean) => ({ includeSelf }) },
};

const Compatible = z.looseObject({}).openapi("CompatibleWebhook", {
  type: "object",
  properties: {
    URL: { type: "string" },
    Secret: { type: "string" },
    Enabled: { type: "boolean" },
    Timeout: { type: "number", description: "Seconds." },
    RetryCount: { type: "integer" },
    MessageTypes: { type: "array", items: { type: "string" } },
    IncludeSelfMessage: { type: "boolean" },
  },
});

/** The routes. */
export function compatibleRoutes(parts: Parts): OpenAPIHono {
  const app = newRoutes();
  const { service } = parts;
  const own = (): Webhook[] => service.webhooks.all().filter(({ source }) => source === "api");

  app.openapi(
    createRoute({
      method: "post",
      path: "/v1/webhook/Config",
      tags,
      summary: "Make a webhook, or change the one that has this URL",
      request: { body: jsonBody(Compatible) },
      responses: { 200: json("The webhook.", Compatible), ...problems(401, 422, 503) },
    }),
    async (c) => {
      const input = readMembers(c.req.valid("json"));
      const old = own().find(({ url }) => url === input["url"]);
      const webhook =
        old === undefined ? await service.webhooks.create(input) : await service.webhooks.update(old.id, input);
      return c.json({ ...compatibleView(webhook), ...(old === undefined ? { Secret: webhook.secrets[0] } : {}) }, 200);
    },
  );

  app.openapi(
    createRoute({
      method: "put",
      path: "/v1/webhook/Update",
      tags,
      summary: "Change the webhook that has this URL, or the only one there is",
      request: { body: jsonBody(Compatible) },
      responses: { 200: json("The webhook.", Compatible), ...problems(401, 404, 422, 503) },
    }),
    async (c) => {
      const given = c.req.valid("json");
      const input = readMembers(given);
      const all = own();
      const id: unknown = given["Id"] ?? given["id"];
      const old =
        all.find((each) => each.id === id) ??
        all.find(({ url }) => url === input["url"]) ??
        (all.length === 1 ? all[0] : undefined);
      if (old === undefined)
        throw new ProblemError(404, "No such webhook", "no webhook has this URL; POST /v1/webhook/Config makes one");
      return c.json(compatibleView(await service.webhooks.update(old.id, input)), 200);
    },
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/webhook/List",
      tags,
      summary: "All webhooks",
      responses: { 200: json("The webhooks.", z.object({ Webhooks: z.array(Compatible) })), ...problems(401) },
    }),
    (c) => c.json({ Webhooks: service.webhooks.all().map(compatibleView) }, 200),
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/v1/webhook/Test",
      tags,
      summary: "Deliver a sample to every webhook that is on (POST /v1/webhooks/{id}/test tries one)",
      responses: { 200: json("The tries.", z.object({ Results: z.array(z.looseObject({})) })), ...problems(401) },
    }),
    async (c) => {
      const sample = sampleEntry(service);
      const results = await Promise.all(
        service.webhooks
          .all()
          .filter(({ enabled }) => enabled)
          .map(async (webhook) => {
            const { status, ms, error } = await service.dispatcher.test(webhook, sample);
            return {
              Id: webhook.id,
              URL: webhook.url,
              Success: error === undefined,
              Status: status,
              Ms: ms,
              Error: error,
            };
          }),
      );
      return c.json({ Results: results }, 200);
    },
  );
  return app;
}

/** Reads members of either spelling. An unknown one is refused, so that a misspelt one is noticed. */
function readMembers(given: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const read: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(given)) {
    const folded = name.toLowerCase();
    if (folded === "id") continue;
    const member = Object.hasOwn(members, folded) ? members[folded] : undefined;
    const parsed = member?.schema.safeParse(value);
    if (member === undefined || parsed?.success !== true) {
      const why = member === undefined ? "is not known here" : (parsed?.error?.issues[0]?.message ?? "cannot be");
      throw new ProblemError(422, "Not acceptable as it is", `body.${name.slice(0, 64)}: ${why}`);
    }
    Object.assign(read, member.ours(parsed.data as never));
  }
  return read;
}

function compatibleView(webhook: Webhook): Record<string, unknown> {
  return {
    Id: webhook.id,
    URL: webhook.url,
    Enabled: webhook.enabled,
    Timeout: webhook.timeoutMs / 1000,
    RetryCount: webhook.retryCount,
    MessageTypes: webhook.kinds ?? [],
    IncludeSelfMessage: webhook.includeSelf,
  };
}
