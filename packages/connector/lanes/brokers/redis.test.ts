import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { test } from "vitest";
import { leftOut } from "../../../../tools/left-out.ts";
import { redis } from "./broker.ts";
import { tell } from "./sink.ts";

const row = "D4 forward to RabbitMQ or Kafka to decouple";

test(`${row}: Redis killed and back, nothing lost, each chat in order`, { timeout: 150_000 }, async (context) => {
  const password = "pass-word-of-redis";
  await using broker = await redis(password);
  if (broker === undefined) leftOut(context, "Redis", "it takes Debian's redis-server");
  await broker.start();
  await tell({
    broker,
    url: `redis://:${password}@127.0.0.1:${broker.port}/0?stream=wecom`,
    password,
    consume: async (see) => {
      const client = new Redis({ port: broker.port, password, maxRetriesPerRequest: 0, retryStrategy: () => 200 });
      client.on("error", () => undefined);
      let last = "0";
      let over = false;
      const running = (async () => {
        while (!over) {
          const read = await client.xread("BLOCK", 200, "STREAMS", "wecom", last).catch(() => null);
          for (const [id, words] of read?.[0]?.[1] ?? []) {
            last = id;
            const fields = new Map<string, string>();
            for (let at = 0; at + 1 < words.length; at += 2) fields.set(words[at]!, words[at + 1]!);
            see({
              key: fields.get("key") ?? "",
              subject: fields.get("subject") ?? "",
              contentType: fields.get("content-type"),
              body: fields.get("body") ?? "",
            });
          }
          if (read === null) await sleep(100);
        }
      })();
      return {
        [Symbol.asyncDispose]: async () => {
          over = true;
          await running;
          client.disconnect();
        },
      };
    },
  });
});
