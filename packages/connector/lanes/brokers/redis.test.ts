import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { expect, test } from "vitest";
import { leftOut } from "../../../../tools/left-out.ts";
import { redis } from "./broker.ts";
import { messageOf, sinkOf } from "./direct.ts";
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

test(
  `${row}: Redis takes messages from a user who may do nothing else, and says why it takes none`,
  { timeout: 60_000 },
  async (context) => {
    const password = "pass-word-of-redis";
    await using broker = await redis(password);
    if (broker === undefined) leftOut(context, "Redis", "it takes Debian's redis-server");
    await broker.start();
    const admin = new Redis({ port: broker.port, password });
    await admin.acl("SETUSER", "writer", "on", ">p4ss@word", "~wecom", "-@all", "+xadd");
    const of = (login: string, stream = "wecom") =>
      sinkOf(`redis://${login}@127.0.0.1:${broker.port}/0?stream=${stream}`);
    await using sink = await of("writer:p4ss%40word");
    expect(await sink.publish([messageOf("a"), messageOf("b")])).toEqual([
      { type: "confirmed" },
      { type: "confirmed" },
    ]);
    expect(await admin.xlen("wecom")).toBe(2);
    await using elsewhere = await of("writer:p4ss%40word", "other");
    expect(await elsewhere.publish([messageOf("a")])).toMatchObject([
      { type: "away", reason: expect.stringMatching(/NOPERM/) as string },
    ]);
    await using stranger = await of("writer:wr0ng-password");
    const [refused] = await stranger.publish([messageOf("a")]);
    expect(refused).toMatchObject({ type: "away", reason: expect.stringMatching(/WRONGPASS|NOAUTH/) as string });
    expect(JSON.stringify(refused)).not.toContain("wr0ng-password");
    admin.disconnect();
  },
);
