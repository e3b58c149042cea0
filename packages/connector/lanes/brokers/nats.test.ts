import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { expect, test } from "vitest";
import { leftOut } from "../../../../tools/left-out.ts";
import { nats } from "./broker.ts";
import { messageOf, msOf, sinkOf } from "./direct.ts";
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

test(
  `${row}: NATS takes messages by any stream from whom may only publish, makes one where there is none, and says why not`,
  { timeout: 60_000 },
  async (context) => {
    const config = `authorization { users = [
      { user: admin, password: admin }
      { user: writer, password: "p4ss@word", permissions { publish: ["one.>"], subscribe: ["_INBOX.>"] } }
    ] }`;
    await using broker = await nats(config);
    if (broker === undefined) leftOut(context, "NATS", "it takes Debian's nats-server");
    await broker.start();
    const connection = await connect({ port: broker.port, user: "admin", pass: "admin" });
    const manager = await jetstreamManager(connection);
    // Two of them hold what belongs to one sink.
    await manager.streams.add({ name: "groups", subjects: ["one.bot.group.>"] });
    await manager.streams.add({ name: "singles", subjects: ["one.bot.single.>"] });
    const at = `127.0.0.1:${broker.port}`;
    await using sink = await sinkOf(`nats://writer:p4ss%40word@${at}/one`);
    expect(await sink.publish([messageOf("a"), messageOf("b")])).toEqual([
      { type: "confirmed" },
      { type: "confirmed" },
    ]);
    const elsewhere = { ...messageOf("a"), id: "/bots/c/1", subject: "openws.other.single.text" };
    expect(await sink.publish([messageOf("c"), elsewhere])).toMatchObject([
      { type: "confirmed" },
      { type: "away", reason: expect.stringMatching(/^no stream takes one\.other\.single\.text, and none/) as string },
    ]);
    await using dotted = await sinkOf(`nats://admin:admin@${at}/two.words`);
    expect(await dotted.publish([messageOf("a")])).toEqual([{ type: "confirmed" }]);
    // Somebody removes it: it is made again.
    await manager.streams.delete("two-words");
    expect(await dotted.publish([messageOf("b")])).toEqual([{ type: "confirmed" }]);
    await connection.close();
    await using stranger = await sinkOf(`nats://writer:wr0ng-password@${at}/one`);
    const [refused] = await stranger.publish([messageOf("a")]);
    expect(refused).toMatchObject({ type: "away", reason: expect.stringMatching(/[Aa]uthorization/) as string });
    expect(JSON.stringify(refused)).not.toContain("wr0ng-password");
    await broker.kill();
    expect(await sink.publish([messageOf("a")])).toMatchObject([{ type: "away" }]);
    expect(await msOf(sink.close())).toBeLessThan(2_000);
  },
);
