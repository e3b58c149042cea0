import { expect, test } from "vitest";
import { createApi } from "../src/api.ts";
import type { Bot, BotState } from "../src/bot.ts";

const ready: BotState = {
  connection: "ready",
  socket: true,
  subscribed: true,
  receiving: "unproven",
  lastFrameAt: 1,
  reason: { en: "subscribed", zh: "已订阅" },
};
const kicked: BotState = { ...ready, connection: "kicked", socket: false, subscribed: false, receiving: "no" };

const bot = (id: string, state: BotState): Bot => ({ id, name: "Name", state }) as Bot;

async function get(
  bots: Bot[],
  path: string,
  init?: RequestInit,
): Promise<{ status: number; type: string; body: unknown }> {
  const response = await createApi(bots).request(path, init);
  return {
    status: response.status,
    type: response.headers.get("content-type") ?? "",
    body: (await response.json()) as unknown,
  };
}

test("/livez is 200 whatever became of the bots", async () => {
  expect(await get([bot("a", kicked)], "/livez")).toMatchObject({ status: 200, body: { status: "alive" } });
});

test("/readyz is 200 while one bot is subscribed, and shows the three truths of each", async () => {
  const { status, body } = await get([bot("a", kicked), bot("b", ready)], "/readyz");
  expect(status).toBe(200);
  expect(body).toEqual({
    ready: true,
    bots: [
      { id: "a", name: "Name", ...kicked },
      { id: "b", name: "Name", ...ready },
    ],
  });
});

test("/readyz is 503 when none is, and says why in two languages", async () => {
  const { status, body } = await get([bot("a", kicked)], "/readyz");
  expect(status).toBe(503);
  expect(body).toMatchObject({ ready: false, bots: [{ reason: { en: "subscribed", zh: "已订阅" } }] });
});

test("/readyz?bot= asks for one, and an unknown one is a problem", async () => {
  const bots = [bot("a", kicked), bot("b", ready)];
  expect((await get(bots, "/readyz?bot=a")).status).toBe(503);
  expect((await get(bots, "/readyz?bot=b")).status).toBe(200);
  expect(await get(bots, "/readyz?bot=c")).toEqual({
    status: 404,
    type: "application/problem+json",
    body: {
      type: "about:blank",
      status: 404,
      title: "No such bot",
      detail: 'this process runs no bot with the id "c"',
    },
  });
});

test.for([
  ["GET", "/"],
  ["POST", "/livez"],
  ["GET", "/v2"],
] as const)("%s %s is a problem document of one sentence", async ([method, path]) => {
  expect(await get([], path, { method })).toMatchObject({
    status: 404,
    type: "application/problem+json",
    body: { status: 404, detail: `there is no ${method} ${path} here` },
  });
});

test("a defect is a problem without its inner life", async () => {
  const broken = {
    id: "a",
    get state(): never {
      throw new Error("s3cret");
    },
  } as unknown as Bot;
  const { status, body } = await get([broken], "/readyz");
  expect(status).toBe(500);
  expect(JSON.stringify(body)).not.toContain("s3cret");
});
