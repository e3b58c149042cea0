/**
 * NATS JetStream: a message is published under its subject and confirmed by the stream that keeps it.
 *
 * Decides what takes the messages where nobody does (a stream of its own, over all subjects of the sink) and what an error
 * means. Invariants: a message's id goes along as Nats-Msg-Id, so that a stream drops what it has already within its window;
 * streams are asked for only where a message found none, since who may publish may not be allowed to look.
 */
import type * as Jetstream from "@nats-io/jetstream";
import type * as Transport from "@nats-io/transport-node";
import { type OpenSink, type Sink, type SinkConfig, type SinkMessage, type SinkOutcome, wordsOf } from "../sink.ts";

/** Makes sinks with a client that was loaded. */
export function natsSinks(transport: typeof Transport, jetstream: typeof Jetstream): OpenSink {
  return (config) => new NatsSink(transport, jetstream, config);
}

const contentType = "application/cloudevents+json; charset=utf-8";
const answerMs = 8_000;

/** No stream has the subject of a message. */
const homeless: SinkOutcome = { type: "away", reason: "no stream takes it" };

class NatsSink implements Sink {
  readonly #transport: typeof Transport;
  readonly #jetstream: typeof Jetstream;
  readonly #config: SinkConfig;
  #connecting: Promise<Transport.NatsConnection> | undefined;
  #closed = false;

  constructor(transport: typeof Transport, jetstream: typeof Jetstream, config: SinkConfig) {
    this.#transport = transport;
    this.#jetstream = jetstream;
    this.#config = config;
  }

  async publish(batch: readonly SinkMessage[]): Promise<SinkOutcome[]> {
    let connection: Transport.NatsConnection;
    try {
      connection = await this.#connected();
    } catch (error) {
      return batch.map(() => ({ type: "away", reason: wordsOf(error) }));
    }
    const client = this.#jetstream.jetstream(connection, { timeout: answerMs });
    const outcomes = await Promise.all(batch.map((message) => this.#send(client, message)));
    if (!outcomes.includes(homeless)) return outcomes;
    const trouble = await this.#makeStream(connection);
    const again = batch.map(async (message, at): Promise<SinkOutcome> => {
      if (outcomes[at] !== homeless) return outcomes[at]!;
      const outcome = trouble === undefined ? await this.#send(client, message) : homeless;
      if (outcome !== homeless) return outcome;
      const why = trouble === undefined ? "" : `, and none could be made: ${trouble}`;
      return { type: "away", reason: `no stream takes ${this.#subjectOf(message)}${why}` };
    });
    return Promise.all(again);
  }

  async close(): Promise<void> {
    this.#closed = true;
    try {
      await (await this.#connecting)?.close();
    } catch {
      // There was none, or there is none any more.
    }
  }

  /** One connection, however many wait for it. */
  async #connected(): Promise<Transport.NatsConnection> {
    if (this.#closed) throw new Error("the sink is closed");
    this.#connecting ??= this.#connect();
    const connecting = this.#connecting;
    try {
      const connection = await connecting;
      if (!connection.isClosed()) return connection;
    } catch (error) {
      if (this.#connecting === connecting) this.#connecting = undefined;
      throw error;
    }
    // It has given itself up, as with credentials that were refused twice.
    if (this.#connecting === connecting) this.#connecting = undefined;
    return this.#connected();
  }

  #connect(): Promise<Transport.NatsConnection> {
    const { hosts, user, password, tls, id } = this.#config;
    return this.#transport.connect({
      servers: hosts.map(({ host, port }) => `${host.includes(":") ? `[${host}]` : host}:${port}`),
      name: `openws ${id}`,
      timeout: 5_000,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 500,
      ...(user === undefined ? {} : password === undefined ? { token: user } : { user, pass: password }),
      ...(tls ? { tls: {} } : {}),
    });
  }

  /** Resolves with why there is none. */
  async #makeStream(connection: Transport.NatsConnection): Promise<string | undefined> {
    const { target, options } = this.#config;
    try {
      const manager = await this.#jetstream.jetstreamManager(connection, { timeout: answerMs, checkAPI: false });
      // A stream's name has no dots.
      const name = options["stream"] ?? target.replaceAll(".", "-");
      await manager.streams.add({ name, subjects: [`${target}.>`] });
      return undefined;
    } catch (error) {
      return wordsOf(error);
    }
  }

  #subjectOf({ subject }: SinkMessage): string {
    return subject.replace(/^openws/, () => this.#config.target);
  }

  async #send(client: Jetstream.JetStreamClient, message: SinkMessage): Promise<SinkOutcome> {
    const { id, type, key, traceparent, body } = message;
    const headers = this.#transport.headers();
    headers.set("content-type", contentType);
    headers.set("key", key);
    headers.set("type", type);
    if (traceparent !== undefined) headers.set("traceparent", traceparent);
    try {
      await client.publish(this.#subjectOf(message), body, { msgID: id, headers, timeout: answerMs, retries: 1 });
      return { type: "confirmed" };
    } catch (error) {
      const { name } = error as Error;
      const reason = wordsOf(error);
      // So the client calls it when nobody answers to a subject.
      if (name === "JetStreamNotEnabled") return homeless;
      // Of all that can be said of a publish this alone is about the message.
      if (name === "PayloadTooLargeError" || /maximum payload|max_payload/i.test(reason))
        return { type: "refused", reason };
      return { type: "away", reason };
    }
  }
}
