/** How responses and bodies are described, in one line each. */
import type { z } from "@hono/zod-openapi";
import { Problem } from "./schemas.ts";

const described: Readonly<Record<number, string>> = {
  400: "The request cannot be read.",
  401: "No key, or not one of this service.",
  403: "The key may not do this.",
  404: "There is no such thing.",
  409: "It contradicts what is there.",
  410: "It was there and is over.",
  422: "Something in the request cannot be; the detail says what and where.",
  502: "The gateway did not take it.",
  503: "Nothing was stored; ask again later.",
};

/** A JSON response. What a handler returns is typed by what it returns; the schema is what OpenAPI says of it. */
export function json(description: string, schema: z.ZodType) {
  return { description, content: { "application/json": { schema: schema as unknown as z.ZodAny } } };
}

/** Problem documents of these statuses. */
export function problems<const Status extends number>(...statuses: readonly Status[]) {
  const one = (status: number) => ({
    description: described[status] ?? "",
    content: { "application/problem+json": { schema: Problem } },
  });
  return Object.fromEntries(statuses.map((status) => [status, one(status)])) as {
    [Each in Status]: ReturnType<typeof one>;
  };
}

/** A JSON body that must be there. */
export function jsonBody<Schema extends z.ZodType>(schema: Schema) {
  return { required: true as const, content: { "application/json": { schema } } };
}
