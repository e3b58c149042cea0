/**
 * RabbitMQ: a topic exchange, each message persistent and confirmed by the broker.
 *
 * Decides what is declared, what a confirmation, a return and an error mean, and what a command's answer goes to. Invariant:
 * a message that reached no queue is not confirmed, unless the operator wants it so (`unrouted=drop`).
 */
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import type * as Client from "rabbitmq-client";
import type { CommandHandler, OpenSink, Sink, SinkConfig, SinkMessage, SinkOutcome } from "../sink.ts";

/** Makes sinks with a client that was loaded. */
export function rabbitmqSinks(client: typeof Client): OpenSink {
  return (config) => new RabbitmqSink(client, config);
}

const contentType = "application/cloudevents+json; charset=utf-8";

class RabbitmqSink implements Sink {
  readonly #client: typeof Client;
  readonly #config: SinkConfig;
  readonly #connection: Client.Connection;
  readonly #publisher: Client.Publisher;
  /** Ids of what came back since it was sent; a return comes before its confirmation. */
  readonly #returned = new Set<string>();
  #consumer: Client.Consumer | undefined;
  #trouble: string | undefined;

  constructor(client: typeof Client, config: SinkConfig) {
    this.#client = client;
    this.#config = config;
    this.#connection = new client.Connection({
      hosts: config.hosts.map(({ host, port }) => `${host.includes(":") ? `[${host}]` : host}:${port}`),
      username: config.user ?? "guest",
      password: config.password ?? "guest",
      vhost: config.path === "" ? "/" : config.path,
      tls: config.tls,
      connectionName: `openws ${config.id}`,
      acquireTimeout: 5_000,
      connectionTimeout: 5_000,
      retryLow: 500,
      retryHigh: 5_000,
    });
    // Why there is no connection is known here alone: whoever waits for one is told that the time is over.
    this.#connection.on("error", (error: Error) => {
      // The client puts a code before its sentence that it does not always have.
      this.#trouble = error.message.replace(/^undefined: /, "");
    });
    this.#connection.on("connection", () => {
      this.#trouble = undefined;
    });
    this.#publisher = this.#connection.createPublisher({
      confirm: true,
      exchanges: [{ exchange: config.target, type: "topic", durable: true }],
    });
    this.#publisher.on("basic.return", ({ messageId }) => {
      if (messageId !== undefined) this.#returned.add(messageId);
    });
  }

  publish(batch: readonly SinkMessage[]): Promise<SinkOutcome[]> {
    return Promise.all(batch.map((message) => this.#send(message)));
  }

  listen(handle: CommandHandler, troubled: (why: string) => void): void {
    const { commands } = this.#config;
    if (commands === undefined || this.#consumer !== undefined) return;
    const { ACK, REQUEUE } = this.#client.ConsumerStatus;
    this.#consumer = this.#connection.createConsumer(
      {
        queue: commands,
        queueOptions: { queue: commands, durable: true },
        // One at a time: commands for a chat are done in the order in which they were put there.
        qos: { prefetchCount: 1 },
        concurrency: 1,
      },
      async ({ body, replyTo }, reply) => {
        const answer = await handle(textOf(body));
        if (answer === undefined) {
          await sleep(1_000);
          return REQUEUE;
        }
        if (replyTo !== undefined) await reply(Buffer.from(answer), { contentType: "application/json" });
        return ACK;
      },
    );
    // It asks again by itself.
    this.#consumer.on("error", (error: Error) => troubled(error.message));
  }

  async close(): Promise<void> {
    const farewell = async (): Promise<void> => {
      await this.#consumer?.close();
      await this.#publisher.close();
      await this.#connection.close();
    };
    // A broker that is away is not waited for.
    const over = new AbortController();
    const late = sleep(1_000, undefined, { signal: over.signal }).catch(() => undefined);
    await Promise.race([farewell().catch(() => undefined), late]);
    over.abort();
    this.#connection.unsafeDestroy();
  }

  async #send({ id, type, subject, key, at, traceparent, body }: SinkMessage): Promise<SinkOutcome> {
    const { target, options } = this.#config;
    try {
      await this.#publisher.send(
        {
          exchange: target,
          routingKey: subject,
          mandatory: options["unrouted"] !== "drop",
          durable: true,
          messageId: id,
          type,
          contentType,
          timestamp: Math.floor(at / 1000),
          appId: "openws",
          headers: { key, ...(traceparent === undefined ? {} : { traceparent }) },
        },
        Buffer.from(body),
      );
    } catch (error) {
      this.#returned.delete(id);
      const { code, message } = error as Error & { code?: string };
      if (code === "NACK")
        return { type: "away", reason: "the broker did not take it: a queue is full, or it has trouble" };
      return { type: "away", reason: this.#trouble ?? message };
    }
    // The broker returns before it confirms, but the client tells of a return a turn later than of a confirmation.
    await turn();
    if (!this.#returned.delete(id)) return { type: "confirmed" };
    return {
      type: "refused",
      reason: `no queue takes ${subject} from the exchange ${target}: bind one, or say unrouted=drop in the sink's URL`,
    };
  }
}

function textOf(body: unknown): string {
  if (typeof body === "string") return body;
  return body instanceof Uint8Array ? new TextDecoder().decode(body) : JSON.stringify(body);
}
