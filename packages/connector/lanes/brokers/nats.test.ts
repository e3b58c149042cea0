import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { test } from "vitest";
import { leftOut } from "../../../../tools/left-out.ts";
import { nats } from "./broker.ts";
import { tell } from "./sink.ts";

const row = "D4 forward to RabbitMQ or Kafka to decouple";

test(`${row}: NATS killed and back, nothing lost, each chat in order`, { timeout: 150_000 }, async (context) => {
  await using broker = await nats();
  if (broker === undefined) leftOut(context, "NATS", "it takes Debian's nats-server");
  await broker.start();
  await tell({
    broker,
    url: `nats://127.0.0.1:${broker.port}/wecom`,
    password: "no-password-here",
    consume: async (see) => {
      const connection = await connect({ port: broker.port, maxReconnectAttempts: -1, reconnectTimeWait: 200 });
      const manager = await jetstreamManager(connection);
      await manager.streams.add({ name: "everything", subjects: ["wecom.>"] });
      const config = { ack_policy: AckPolicy.Explicit, deliver_policy: DeliverPolicy.All, durable_name: "test" };
      await manager.consumers.add("everything", config);
      const consumer = await jetstream(connection).consumers.get("everything", "test");
      const messages = await consumer.consume();
      const running = (async () => {
        for await (const message of messages) {
          const { subject, headers } = message;
          see({
            key: headers?.get("key") ?? "",
            subject: subject.replace(/^wecom/, "openws"),
            contentType: headers?.get("content-type"),
            body: message.string(),
          });
          message.ack();
        }
      })();
      return {
        [Symbol.asyncDispose]: async () => {
          await messages.close();
          await running;
          await connection.close();
        },
      };
    },
  });
});
