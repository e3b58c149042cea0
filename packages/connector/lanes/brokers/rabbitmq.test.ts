import { Connection } from "rabbitmq-client";
import { expect, test } from "vitest";
import { leftOut } from "../../../../tools/left-out.ts";
import { rabbitmq } from "./broker.ts";
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
