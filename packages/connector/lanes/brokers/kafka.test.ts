import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Consumer, type Message, Producer, stringDeserializers, stringSerializers } from "@platformatic/kafka";
import { expect, test } from "vitest";
import { leftOut } from "../../../../tools/left-out.ts";
import { kafka } from "./broker.ts";
import { messageOf, msOf, sinkOf } from "./direct.ts";
import { tell } from "./sink.ts";

const row = "D4 forward to RabbitMQ or Kafka to decouple";

test(`${row}: Kafka killed and back, nothing lost, each chat in order`, { timeout: 150_000 }, async (context) => {
  await using broker = await kafka();
  if (broker === undefined) leftOut(context, "Kafka", "it takes Java, and Maven to fetch the broker (OPENWS_KAFKA)");
  await broker.start();
  const client = {
    clientId: "the-test",
    bootstrapBrokers: [{ host: "127.0.0.1", port: broker.port }],
    autocreateTopics: true,
    retries: 1,
  };
  const follow = (topic: string, see: (message: Message<string, string, string, string>) => void): AsyncDisposable => {
    const over = new AbortController();
    const running = (async () => {
      while (!over.signal.aborted) {
        // A group of its own each time: the one of before is not gone until its session is over.
        const deserializers = stringDeserializers;
        const consumer = new Consumer({ ...client, groupId: randomUUID(), deserializers, autocommit: false });
        try {
          const stream = await consumer.consume({ topics: [topic], mode: "earliest" });
          over.signal.addEventListener("abort", () => void stream.close().catch(() => undefined));
          for await (const message of stream) see(message);
        } catch {
          // The broker was killed: the topic is read again from its beginning.
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
  };
  const waiting: ((answer: string) => void)[] = [];
  await using _ = follow("commands.answers", ({ value }) => {
    waiting.shift()?.(value);
  });
  await tell({
    broker,
    url: `kafka://127.0.0.1:${broker.port}/wecom?commands=commands`,
    password: "no-password-here",
    command: async (json) => {
      const { promise, resolve } = Promise.withResolvers<string>();
      waiting.push(resolve);
      const producer = new Producer({ ...client, serializers: stringSerializers });
      await producer.send({ messages: [{ topic: "commands", key: "anna", value: json }], acks: -1 });
      await producer.close();
      return promise;
    },
    consume: async (see) =>
      follow("wecom", ({ key, value, headers }) =>
        see({
          key,
          subject: headers.get("subject") ?? "",
          contentType: headers.get("content-type"),
          body: value,
        }),
      ),
  });
});

test(
  `${row}: Kafka refuses what is too large and takes what came beside it, and is away when nobody is there`,
  { timeout: 90_000 },
  async (context) => {
    await using broker = await kafka();
    if (broker === undefined) leftOut(context, "Kafka", "it takes Java, and Maven to fetch the broker (OPENWS_KAFKA)");
    await broker.start();
    await using sink = await sinkOf(`kafka://127.0.0.1:${broker.port}/wecom`);
    expect(await sink.publish([messageOf("a"), messageOf("b", "x".repeat(1_200_000)), messageOf("c")])).toMatchObject([
      { type: "confirmed" },
      { type: "refused", reason: expect.stringMatching(/MESSAGE_TOO_LARGE/) as string },
      { type: "confirmed" },
    ]);
    await using elsewhere = await sinkOf(`kafka://127.0.0.1:${broker.port}/none?create=0`);
    expect(await elsewhere.publish([messageOf("a")])).toMatchObject([{ type: "away" }]);
    const guarded = (password: string) => sinkOf(`kafka://alice:${password}@127.0.0.1:${broker.guardedPort}/wecom`);
    await using known = await guarded("p4ss%40word");
    expect(await known.publish([messageOf("a")])).toEqual([{ type: "confirmed" }]);
    await using stranger = await guarded("wr0ng-password");
    const [refused] = await stranger.publish([messageOf("a")]);
    expect(refused).toMatchObject({ type: "away", reason: expect.stringMatching(/SASL|[Aa]uthentication/) as string });
    expect(JSON.stringify(refused)).not.toContain("wr0ng-password");

    // Answers that nobody takes stop no message, and a topic that nobody makes does not stop the end.
    const producer = new Producer({
      clientId: "the-test",
      bootstrapBrokers: [{ host: "127.0.0.1", port: broker.port }],
      autocreateTopics: true,
      serializers: stringSerializers,
    });
    await producer.send({ messages: [{ topic: "orders", key: "anna", value: "command" }], acks: -1 });
    await producer.close();
    await using commanded = await sinkOf(`kafka://127.0.0.1:${broker.port}/wecom?create=0&commands=orders`);
    const troubles: string[] = [];
    commanded.listen(
      async () => "answer",
      (why) => troubles.push(why),
    );
    const outcomes = new Set<string>();
    while (troubles.length === 0) for (const { type } of await commanded.publish([messageOf("a")])) outcomes.add(type);
    expect([...outcomes]).toEqual(["confirmed"]);
    await using waiting = await sinkOf(`kafka://127.0.0.1:${broker.port}/wecom?create=0&commands=nowhere`);
    waiting.listen(
      async () => "answer",
      () => undefined,
    );
    await sleep(500);
    expect(await msOf(waiting.close())).toBeLessThan(2_500);
    await broker.kill();
    expect(await sink.publish([messageOf("a")])).toMatchObject([{ type: "away" }]);
    expect(await msOf(sink.close())).toBeLessThan(2_000);
  },
);
