import { expect, test } from "vitest";
import { createApi } from "../src/admin.ts";
import { openApi, routes } from "../src/openapi.ts";
import { Driver } from "../src/server.ts";

const driver = new Driver({}, {});
const app = createApi(driver, { version: "1.2.3", guard: { host: "127.0.0.1", token: undefined } });

test("the document has every route of the application and no other", () => {
  const served = app.routes
    .filter(({ method }) => method !== "ALL")
    .map(({ method, path }) => `${method.toLowerCase()} ${path.replaceAll(/:(\w+)/g, "{$1}")}`);
  expect(routes.map(({ method, path }) => `${method} ${path}`).sort()).toEqual([...new Set(served)].sort());
});

test("it is served, every operation has its own id, and bodies say what they take", async () => {
  const response = await app.request("/openapi.json");
  const document = (await response.json()) as ReturnType<typeof openApi> & {
    paths: Record<
      string,
      Record<string, { operationId: string; requestBody?: { content: Record<string, { schema: object }> } }>
    >;
  };
  expect(document).toEqual(JSON.parse(JSON.stringify(openApi(routes, "1.2.3"))));
  const operations = Object.values(document.paths).flatMap((path) => Object.values(path));
  expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(routes.length);
  const fault = document.paths["/api/faults"]!["post"]!.requestBody!.content["application/json"]!.schema;
  expect(JSON.stringify(fault)).toContain('"const":"half-alive"');
  const settings = document.paths["/api/settings"]!["patch"]!.requestBody!.content["application/json"]!.schema;
  expect(JSON.stringify(settings)).toContain("quotaCountsRefreshes");
});
