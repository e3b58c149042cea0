import { randomUUID } from "node:crypto";
import { Consumer, stringDeserializers } from "@platformatic/kafka";
import { test } from "vitest";
import { leftOut } from "../../../../tools/left-out.ts";
import { kafka } from "./broker.ts";
import { tell } from "./sink.ts";

const row = "D4 forward to RabbitMQ or Kafka to decouple";

test(`${row}: Kafka killed and back, nothing lost, each chat in order`, { timeout: 150_000 }, async (context) => {
  await using broker = await kafka();
  if (broker === undefined) leftOut(context, "Kafka", "it takes Java, and Maven to fetch the broker (OPENWS_KAFKA)");
  await broker.start();
  await tell({
    broker,
    url: `kafka://127.0.0.1:${broker.port}/wecom`,
    password: "no-password-here",
    consume: async (see) => {
      const over = new AbortController();
      const running = (async () => {
        while (!over.signal.aborted) {
          const consumer = new Consumer({
            clientId: "the-test",
            // A group of its own each time: the one of before is not gone until its session is over.
            groupId: randomUUID(),
            bootstrapBrokers: [{ host: "127.0.0.1", port: broker.port }],
            deserializers: stringDeserializers,
            autocreateTopics: true,
            autocommit: false,
            retries: 1,
          });
          try {
            const stream = await consumer.consume({ topics: ["wecom"], mode: "earliest" });
            over.signal.addEventListener("abort", () => void stream.close().catch(() => undefined));
            for await (const { key, value, headers } of stream)
              see({
                key,
                subject: headers.get("subject") ?? "",
                contentType: headers.get("content-type"),
                body: value,
              });
          } catch {
            // The broker was killed: it is read again from its beginning.
          }
          await consumer.close(true).catch(() => undefined);
        }
      })();
      return {
        [Symbol.asyncDispose]: async () => {
          over.abort();
          await running;
        },
      };
    },
  });
});
