import { getCACertificates, setDefaultCACertificates } from "node:tls";
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
  // Not as we would declare them: what an operator has made is taken as it is.
  await admin.exchangeDeclare({
    exchange: "wecom",
    type: "topic",
    durable: true,
    arguments: { "alternate-exchange": "elsewhere" },
  });
  const quorum = { "x-queue-type": "quorum" } as const;
  await admin.queueDeclare({ queue: "openws.commands", durable: true, arguments: quorum });
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
    // What is asked for again while its outcome is open is not sent twice: one is there from before.
    await Promise.all([sink.publish([messageOf("once")]), sink.publish([messageOf("once")])]);
    await Promise.all([dropping.publish([messageOf("roomy")]), dropping.publish([messageOf("roomy")])]);
    expect(await sink.publish([messageOf("x".repeat(240))])).toMatchObject([{ type: "refused" }]);
    const looker = new Connection(url);
    looker.on("error", () => undefined);
    expect((await looker.queueDeclare({ queue: "roomy", passive: true })).messageCount).toBe(2);

    // A queue for commands that is not there is made, and a command that has to wait is not put back.
    const answers: (string | undefined)[] = [undefined, undefined, '{"id":"1"}'];
    await using commanded = await sinkOf(`${url}?exchange=x&commands=made`);
    const troubles: string[] = [];
    const asked: string[] = [];
    commanded.listen(
      async (command) => {
        asked.push(command);
        return answers.shift();
      },
      (why) => troubles.push(why),
    );
    const rpc = looker.createRPCClient({ confirm: true });
    await expect
      .poll(
        () =>
          looker.queueDeclare({ queue: "made", passive: true }).then(
            () => true,
            () => false,
          ),
        { timeout: 10_000 },
      )
      .toBe(true);
    expect(troubles).toMatchObject([expect.stringMatching(/no queue 'made'/)]);
    expect(await rpc.send({ routingKey: "made" }, Buffer.from("command"))).toMatchObject({ body: { id: "1" } });
    expect(asked).toEqual(["command", "command", "command"]);
    await commanded.close();

    // A user who may configure nothing: what is there is not declared again.
    await using writer = await sinkOf(`amqp://writer:p4ss%40word@127.0.0.1:${broker.port}/?exchange=x&commands=made`);
    expect(await writer.publish([messageOf("roomy")])).toEqual([{ type: "confirmed" }]);
    writer.listen(
      async () => '{"id":"2"}',
      (why) => troubles.push(why),
    );
    expect(await rpc.send({ routingKey: "made" }, Buffer.from("command"))).toMatchObject({ body: { id: "2" } });
    expect(troubles).toHaveLength(1);
    await rpc.close();
    await looker.close();

    // TLS, by a certificate that is trusted and by one that is not.
    const guarded = `amqps://guest:guest@localhost:${broker.guardedPort}/?exchange=x`;
    const trusted = getCACertificates();
    await using doubting = await sinkOf(guarded);
    expect(await doubting.publish([messageOf("roomy")])).toMatchObject([
      { type: "away", reason: expect.stringMatching(/self-signed certificate/) as string },
    ]);
    setDefaultCACertificates([...trusted, broker.certificate]);
    await using secured = await sinkOf(guarded);
    expect(await secured.publish([messageOf("roomy")])).toEqual([{ type: "confirmed" }]);
    setDefaultCACertificates(trusted);
    await using stranger = await sinkOf(`amqp://guest:wr0ng-password@127.0.0.1:${broker.port}`);
    const [refused] = await stranger.publish([messageOf("roomy")]);
    expect(refused).toMatchObject({ type: "away", reason: expect.stringMatching(/ACCESS_REFUSED/) as string });
    expect(JSON.stringify(refused)).not.toContain("wr0ng-password");
    await broker.kill();
    expect(await sink.publish([messageOf("roomy")])).toMatchObject([{ type: "away" }]);
    expect(await msOf(sink.close())).toBeLessThan(2_000);
  },
);
