/**
 * RabbitMQ: a topic exchange, each message persistent and confirmed by the broker.
 *
 * Decides what is declared, what a confirmation, a return and an error mean, and what a command's answer goes to. Invariants:
 * a message that reached no queue is not confirmed, unless the operator wants it so (`unrouted=drop`); one whose outcome is
 * open is not sent again, or a broker that stands still for a night would get it hundreds of times in the morning; what is
 * there is taken as it is, whatever its arguments, and needs no permission to configure.
 */
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import type * as Client from "rabbitmq-client";
import {
  type CommandHandler,
  type OpenSink,
  type Sink,
  type SinkConfig,
  type SinkMessage,
  type SinkOutcome,
  wordsOf,
} from "../sink.ts";

/** Makes sinks with a client that was loaded. */
export function rabbitmqSinks(client: typeof Client): OpenSink {
  return (config) => new RabbitmqSink(client, config);
}

const contentType = "application/cloudevents+json; charset=utf-8";

/** The bytes of a routing key or an id: beyond them the client cuts it off and says nothing. */
const maxWordBytes = 255;
/** How long a command that cannot be done now is kept in hand; a queue counts those that come back, and may drop them. */
const patienceMs = 10 * 60_000;

class RabbitmqSink implements Sink {
  readonly #client: typeof Client;
  readonly #config: SinkConfig;
  readonly #connection: Client.Connection;
  readonly #publisher: Client.Publisher;
  /** Ids of what came back since it was sent; a return comes before its confirmation. */
  readonly #returned = new Set<string>();
  /** By id: what the broker has said nothing of yet, however long that takes. */
  readonly #open = new Map<string, Promise<SinkOutcome>>();
  readonly #over = new AbortController();
  /** The exchange is there. */
  #declared: Promise<unknown> | undefined;
  #consumer: Client.Consumer | undefined;
  #trouble: string | undefined;

  constructor(client: typeof Client, config: SinkConfig) {
    this.#client = client;
    this.#config = config;
    const [first] = config.hosts;
    this.#connection = new client.Connection({
      // The client would take a list of hosts apart at the colons of an IPv6 address.
      ...(config.hosts.length === 1 && first !== undefined
        ? { hostname: first.host, port: first.port }
        : { hosts: config.hosts.map(({ host, port }) => `${host}:${port}`) }),
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
      this.#trouble = wordsOf(error).replace(/^undefined: /, "");
    });
    this.#connection.on("connection", () => {
      this.#trouble = undefined;
    });
    this.#publisher = this.#connection.createPublisher({ confirm: true });
    this.#publisher.on("basic.return", ({ messageId }) => {
      if (messageId !== undefined) this.#returned.add(messageId);
    });
  }

  async publish(batch: readonly SinkMessage[]): Promise<SinkOutcome[]> {
    const { target } = this.#config;
    try {
      await (this.#declared ??= declared(
        () => this.#connection.exchangeDeclare({ exchange: target, passive: true }),
        () => this.#connection.exchangeDeclare({ exchange: target, type: "topic", durable: true }),
      ));
    } catch (error) {
      this.#declared = undefined;
      return batch.map(() => ({ type: "away", reason: this.#trouble ?? wordsOf(error) }));
    }
    return Promise.all(batch.map((message) => this.#open.get(message.id) ?? this.#opened(message)));
  }

  #opened(message: SinkMessage): Promise<SinkOutcome> {
    const outcome = this.#send(message).finally(() => this.#open.delete(message.id));
    this.#open.set(message.id, outcome);
    return outcome;
  }

  listen(handle: CommandHandler, troubled: (why: string) => void): void {
    const { commands } = this.#config;
    if (commands === undefined || this.#consumer !== undefined) return;
    const { ACK, REQUEUE } = this.#client.ConsumerStatus;
    this.#consumer = this.#connection.createConsumer(
      {
        queue: commands,
        queueOptions: { queue: commands, passive: true },
        // One at a time: commands for a chat are done in the order in which they were put there.
        qos: { prefetchCount: 1 },
        concurrency: 1,
      },
      async ({ body, replyTo }, reply) => {
        const until = performance.now() + patienceMs;
        let answer = await handle(textOf(body));
        while (answer === undefined) {
          await sleep(1_000, undefined, { signal: this.#over.signal }).catch(() => undefined);
          if (this.#over.signal.aborted || performance.now() > until) return REQUEUE;
          answer = await handle(textOf(body));
        }
        if (replyTo !== undefined) await reply(Buffer.from(answer), { contentType: "application/json" });
        return ACK;
      },
    );
    // It asks again by itself; a queue that is not there, or not any more, is made meanwhile.
    this.#consumer.on("error", (error: Error) => {
      troubled(wordsOf(error));
      declared(
        () => this.#connection.queueDeclare({ queue: commands, passive: true }),
        () => this.#connection.queueDeclare({ queue: commands, durable: true }),
      ).catch(() => undefined);
    });
  }

  async close(): Promise<void> {
    this.#over.abort();
    const farewell = async (): Promise<void> => {
      await this.#consumer?.close();
      await this.#publisher.close();
      await this.#connection.close();
    };
    // A broker that is away is not waited for.
    const enough = new AbortController();
    const late = sleep(1_000, undefined, { signal: enough.signal }).catch(() => undefined);
    await Promise.race([farewell().catch(() => undefined), late]);
    enough.abort();
    this.#connection.unsafeDestroy();
  }

  async #send({ id, type, subject, key, at, traceparent, body }: SinkMessage): Promise<SinkOutcome> {
    const { target, options } = this.#config;
    if (Buffer.byteLength(id) > maxWordBytes || Buffer.byteLength(subject) > maxWordBytes)
      return { type: "refused", reason: `its id or routing key has more than the ${maxWordBytes} bytes of RabbitMQ` };
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
      const { code } = error as Error & { code?: string };
      if (code === "NOT_FOUND") this.#declared = undefined;
      if (code === "NACK")
        return { type: "away", reason: "the broker did not take it: a queue is full, or it has trouble" };
      return { type: "away", reason: this.#trouble ?? wordsOf(error) };
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

/** Makes what is not there. What is there may be of other arguments than ours, and is not for us to judge. */
async function declared(look: () => Promise<unknown>, make: () => Promise<unknown>): Promise<void> {
  try {
    await look();
  } catch (error) {
    if ((error as { code?: string }).code !== "NOT_FOUND") throw error;
    await make();
  }
}

function textOf(body: unknown): string {
  if (typeof body === "string") return body;
  return body instanceof Uint8Array ? new TextDecoder().decode(body) : JSON.stringify(body);
}
