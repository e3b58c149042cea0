import { Connection } from "rabbitmq-client";
import { expect, test } from "vitest";
import { leftOut } from "../../../../tools/left-out.ts";
import { rabbitmq } from "./broker.ts";
import { messageOf, msOf, sinkOf } from "./direct.ts";
import { tell } from "./sink.ts";

const row = "D4 forward to RabbitMQ or Kafka to decouple";

test(`${row}: RabbitMQ killed and back, nothing lost, each chat in order`, { timeout: 150_000 }, async (context) => {
  await using broker = await rabbitmq();
  if (broker === undefined) leftOut(context, "RabbitMQ", "it takes root, and Debian's rabbitmq-server");
  await broker.start();
  const url = `amqp://guest:guest@127.0.0.1:${broker.port}`;
  const admin = new Connection(url);
  await admin.queueDeclare({ queue: "seen", durable: true });
  await admin.exchangeDeclare({ exchange: "wecom", type: "topic", durable: true });
  await admin.queueBind({ queue: "seen", exchange: "wecom", routingKey: "openws.bot.#" });
  await admin.close();
  await tell({
    broker,
    url: `${url}?exchange=wecom&commands=openws.commands`,
    command: async (json) => {
      const connection = new Connection(url);
      const client = connection.createRPCClient({ confirm: true });
      const answer = await client.send(
        { routingKey: "openws.commands", contentType: "application/json" },
        Buffer.from(json),
      );
      await client.close();
      await connection.close();
      return JSON.stringify(answer.body);
    },
    password: "guest:guest",
    consume: async (see) => {
      const connection = new Connection({ url, retryLow: 200, retryHigh: 1_000 });
      connection.on("error", () => undefined);
      const consumer = connection.createConsumer(
        { queue: "seen", queueOptions: { durable: true } },
        ({ headers, routingKey, contentType, body }) => {
          expect(Buffer.isBuffer(body)).toBe(true);
          see({
            key: (headers as { key: string }).key,
            subject: routingKey,
            contentType,
            body: (body as Buffer).toString("utf8"),
          });
        },
      );
      consumer.on("error", () => undefined);
      return {
        [Symbol.asyncDispose]: async () => {
          await consumer.close();
          connection.unsafeDestroy();
        },
      };
    },
  });
});

test(
  `${row}: RabbitMQ refuses what no queue is bound for, and is away when a queue is full, a password wrong, or nobody there`,
  { timeout: 90_000 },
  async (context) => {
    await using broker = await rabbitmq();
    if (broker === undefined) leftOut(context, "RabbitMQ", "it takes root, and Debian's rabbitmq-server");
    await broker.start();
    const url = `amqp://guest:guest@127.0.0.1:${broker.port}`;
    await using sink = await sinkOf(`${url}?exchange=x`);
    await using dropping = await sinkOf(`${url}?exchange=x&unrouted=drop`);
    expect(await sink.publish([messageOf("nowhere")])).toMatchObject([
      { type: "refused", reason: expect.stringContaining("no queue takes openws.bot.single.nowhere") as string },
    ]);
    expect(await dropping.publish([messageOf("nowhere")])).toEqual([{ type: "confirmed" }]);
    const admin = new Connection(url);
    const full = { "x-max-length": 1, "x-overflow": "reject-publish" } as const;
    await admin.queueDeclare({ queue: "full", durable: true, arguments: full });
    await admin.queueBind({ queue: "full", exchange: "x", routingKey: "openws.*.*.full" });
    await admin.queueDeclare({ queue: "roomy", durable: true });
    await admin.queueBind({ queue: "roomy", exchange: "x", routingKey: "openws.*.*.roomy" });
    await admin.close();
    expect(await sink.publish([messageOf("full")])).toEqual([{ type: "confirmed" }]);
    expect(await sink.publish(["roomy", "full", "nowhere", "roomy"].map((chat) => messageOf(chat)))).toMatchObject([
      { type: "confirmed" },
      { type: "away" },
      { type: "refused" },
      { type: "confirmed" },
    ]);
    await using stranger = await sinkOf(`amqp://guest:wr0ng-password@127.0.0.1:${broker.port}`);
    const [refused] = await stranger.publish([messageOf("roomy")]);
    expect(refused).toMatchObject({ type: "away", reason: expect.stringMatching(/ACCESS_REFUSED/) as string });
    expect(JSON.stringify(refused)).not.toContain("wr0ng-password");
    await broker.kill();
    expect(await sink.publish([messageOf("roomy")])).toMatchObject([{ type: "away" }]);
    expect(await msOf(sink.close())).toBeLessThan(2_000);
  },
);
