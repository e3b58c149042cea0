/**
 * NATS JetStream: a message is published under its subject and confirmed by the stream that keeps it.
 *
 * Decides what takes the messages where nobody does (a stream of its own, over all subjects of the sink) and what an error
 * means. Invariant: a message's id goes along as Nats-Msg-Id, so that a stream drops what it has already within its window.
 */
import type * as Jetstream from "@nats-io/jetstream";
import type * as Transport from "@nats-io/transport-node";
import type { OpenSink, Sink, SinkConfig, SinkMessage, SinkOutcome } from "../sink.ts";

/** Makes sinks with a client that was loaded. */
export function natsSinks(transport: typeof Transport, jetstream: typeof Jetstream): OpenSink {
  return (config) => new NatsSink(transport, jetstream, config);
}

const contentType = "application/cloudevents+json; charset=utf-8";
const answerMs = 8_000;

class NatsSink implements Sink {
  readonly #transport: typeof Transport;
  readonly #jetstream: typeof Jetstream;
  readonly #config: SinkConfig;
  #connection: Transport.NatsConnection | undefined;
  #client: Jetstream.JetStreamClient | undefined;

  constructor(transport: typeof Transport, jetstream: typeof Jetstream, config: SinkConfig) {
    this.#transport = transport;
    this.#jetstream = jetstream;
    this.#config = config;
  }

  async publish(batch: readonly SinkMessage[]): Promise<SinkOutcome[]> {
    let client: Jetstream.JetStreamClient;
    try {
      client = await this.#connected();
    } catch (error) {
      const { message } = error as Error;
      return batch.map(() => ({ type: "away", reason: message }));
    }
    return Promise.all(batch.map((message) => this.#send(client, message)));
  }

  async close(): Promise<void> {
    await this.#connection?.close().catch(() => undefined);
  }

  async #connected(): Promise<Jetstream.JetStreamClient> {
    const { hosts, user, password, tls, id } = this.#config;
    if (this.#connection === undefined || this.#connection.isClosed()) {
      this.#client = undefined;
      this.#connection = await this.#transport.connect({
        servers: hosts.map(({ host, port }) => `${host.includes(":") ? `[${host}]` : host}:${port}`),
        name: `openws ${id}`,
        timeout: 5_000,
        maxReconnectAttempts: -1,
        reconnectTimeWait: 500,
        ...(user === undefined ? {} : password === undefined ? { token: user } : { user, pass: password }),
        ...(tls ? { tls: {} } : {}),
      });
    }
    this.#client ??= await this.#withStream(this.#connection);
    return this.#client;
  }

  /** Messages that no stream takes would go nowhere. */
  async #withStream(connection: Transport.NatsConnection): Promise<Jetstream.JetStreamClient> {
    const { target, options } = this.#config;
    const manager = await this.#jetstream.jetstreamManager(connection, { timeout: answerMs });
    const subjects = [`${target}.>`];
    const found = await manager.streams.find(subjects[0]!).catch(() => undefined);
    if (found === undefined) await manager.streams.add({ name: options["stream"] ?? target, subjects });
    return this.#jetstream.jetstream(connection, { timeout: answerMs });
  }

  async #send(client: Jetstream.JetStreamClient, message: SinkMessage): Promise<SinkOutcome> {
    const { id, type, key, traceparent, body } = message;
    const headers = this.#transport.headers();
    headers.set("content-type", contentType);
    headers.set("key", key);
    headers.set("type", type);
    if (traceparent !== undefined) headers.set("traceparent", traceparent);
    const subject = message.subject.replace(/^openws/, () => this.#config.target);
    try {
      await client.publish(subject, body, { msgID: id, headers, timeout: answerMs, retries: 1 });
      return { type: "confirmed" };
    } catch (error) {
      const { name, message: reason } = error as Error;
      // Of all that can be said of a publish this alone is about the message.
      if (name === "PayloadTooLargeError" || /maximum payload|max_payload/i.test(reason))
        return { type: "refused", reason };
      return { type: "away", reason };
    }
  }
}
