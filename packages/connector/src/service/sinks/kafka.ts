/**
 * Kafka: one topic, the key of a message is its bot and chat, so that a chat stays in one partition and in its order.
 *
 * Decides what confirms a batch (all replicas in sync have it), what an error means, and how commands are committed.
 * Invariants: a producer that failed is not used again, since nobody knows how far it came; a command's offset is committed
 * when its answer is, so that none is skipped.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type * as Client from "@platformatic/kafka";
import type { CommandHandler, OpenSink, Sink, SinkConfig, SinkMessage, SinkOutcome } from "../sink.ts";

/** Makes sinks with a client that was loaded. */
export function kafkaSinks(client: typeof Client): OpenSink {
  return (config) => new KafkaSink(client, config);
}

const contentType = "application/cloudevents+json; charset=utf-8";

/** What a broker says of a message and would say for ever. */
const refusals = [
  "MESSAGE_TOO_LARGE",
  "RECORD_LIST_TOO_LARGE",
  "INVALID_RECORD",
  "CORRUPT_MESSAGE",
  "INVALID_TIMESTAMP",
];

/** Below the time in which a sink must have an outcome. */
const produceMs = 12_000;

type TextProducer = Client.Producer<string, string, string, string>;

class KafkaSink implements Sink {
  readonly #client: typeof Client;
  readonly #config: SinkConfig;
  readonly #base: Client.BaseOptions;
  #producer: TextProducer | undefined;
  #closed = false;
  #endListening: (() => Promise<void>) | undefined;

  constructor(client: typeof Client, config: SinkConfig) {
    this.#client = client;
    this.#config = config;
    const { user, password, options, tls, hosts } = config;
    this.#base = {
      clientId: `openws-${config.id}`,
      bootstrapBrokers: hosts.map(({ host, port }) => ({ host, port })),
      connectTimeout: 5_000,
      requestTimeout: 10_000,
      timeout: 8_000,
      // Waiting and trying again is decided elsewhere, where it is on the disk.
      retries: 1,
      retryDelay: 250,
      autocreateTopics: options["create"] !== "0",
      ...(tls ? { tls: {} } : {}),
      ...(user === undefined
        ? {}
        : { sasl: { mechanism: mechanisms[options["sasl"] ?? "plain"]!, username: user, password: password ?? "" } }),
    };
  }

  async publish(batch: readonly SinkMessage[]): Promise<SinkOutcome[]> {
    const error = await this.#send(batch);
    if (error === undefined) return batch.map(() => ({ type: "confirmed" }));
    const reason = reasonOf(error);
    if (!isRefusal(error)) return batch.map(() => ({ type: "away", reason }));
    if (batch.length === 1) return [{ type: "refused", reason }];
    // One of them is meant, and nobody says which.
    const outcomes: SinkOutcome[] = [];
    for (const message of batch) outcomes.push(...(await this.publish([message])));
    return outcomes;
  }

  listen(handle: CommandHandler, troubled: (why: string) => void): void {
    const { commands } = this.#config;
    if (commands === undefined || this.#endListening !== undefined) return;
    const over = new AbortController();
    const listening = this.#listen(commands, handle, troubled, over.signal);
    this.#endListening = async () => {
      over.abort();
      await listening;
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#endListening?.();
    await this.#forget();
  }

  /** Resolves with what went wrong. */
  async #send(batch: readonly SinkMessage[]): Promise<Error | undefined> {
    const topic = this.#config.target;
    const messages = batch.map(({ id, type, subject, key, at, traceparent, body }) => ({
      topic,
      key,
      value: body,
      timestamp: BigInt(at),
      headers: {
        "content-type": contentType,
        id,
        type,
        subject,
        ...(traceparent === undefined ? {} : { traceparent }),
      },
    }));
    return this.#produce(messages);
  }

  async #produce(messages: Client.MessageToProduce<string, string, string, string>[]): Promise<Error | undefined> {
    try {
      this.#producer ??= new this.#client.Producer({
        ...this.#base,
        idempotent: true,
        acks: this.#client.ProduceAcks.ALL,
        serializers: this.#client.stringSerializers,
      });
      await within(
        produceMs,
        "the broker did not confirm in time, or the topic is not there",
        this.#producer.send({ messages }),
      );
      return undefined;
    } catch (error) {
      await this.#forget();
      return error as Error;
    }
  }

  async #forget(): Promise<void> {
    const producer = this.#producer;
    this.#producer = undefined;
    try {
      await within(1_000, "it did not close", producer?.close(true));
    } catch {
      // What it would say was said already.
    }
  }

  /** Takes commands until the end, from where the group of this sink left off. */
  async #listen(
    topic: string,
    handle: CommandHandler,
    troubled: (why: string) => void,
    over: AbortSignal,
  ): Promise<void> {
    const { Consumer, stringDeserializers } = this.#client;
    while (!over.aborted) {
      const consumer = new Consumer({
        ...this.#base,
        groupId: `openws-${this.#config.id}`,
        deserializers: stringDeserializers,
        autocommit: false,
      });
      try {
        const stream = await consumer.consume({ topics: [topic], mode: "committed", fallbackMode: "earliest" });
        const end = (): void => void stream.close().catch(() => undefined);
        over.addEventListener("abort", end, { once: true });
        for await (const message of stream) {
          const answer = await this.#answerOf(message.value, handle, over);
          if (answer === undefined) break;
          const answered = { topic: `${topic}.answers`, key: message.key, value: answer };
          const failed = await this.#produce([answered]);
          if (failed !== undefined) throw failed;
          await message.commit();
        }
        over.removeEventListener("abort", end);
      } catch (error) {
        // What was not committed comes again.
        if (!over.aborted) troubled(reasonOf(error as Error));
      }
      await within(1_000, "it did not close", consumer.close(true)).catch(() => undefined);
      if (!over.aborted) await sleep(1_000, undefined, { signal: over }).catch(() => undefined);
    }
  }

  /** Asks until there is one; undefined at the end. */
  async #answerOf(command: string, handle: CommandHandler, over: AbortSignal): Promise<string | undefined> {
    while (!over.aborted && !this.#closed) {
      const answer = await handle(command);
      if (answer !== undefined) return answer;
      await sleep(1_000, undefined, { signal: over }).catch(() => undefined);
    }
    return undefined;
  }
}

/** The client waits for some things for ever, such as a topic that nobody creates. */
async function within<Value>(ms: number, why: string, work: Promise<Value> | undefined): Promise<Value | undefined> {
  const over = new AbortController();
  const late = sleep(ms, undefined, { signal: over.signal }).then(() => {
    throw new Error(why);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    late.catch(() => undefined);
    over.abort();
  }
}

/** The words of an operator for what the protocol calls otherwise. */
const mechanisms: Readonly<Record<string, "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512">> = {
  plain: "PLAIN",
  "scram-sha-256": "SCRAM-SHA-256",
  "scram-sha-512": "SCRAM-SHA-512",
};

function* all(error: unknown): Generator<Error & { apiId?: string }> {
  if (!(error instanceof Error)) return;
  yield error;
  if (error instanceof AggregateError) for (const part of error.errors) yield* all(part);
  yield* all(error.cause);
}

function isRefusal(error: Error): boolean {
  return [...all(error)].some(({ apiId }) => apiId !== undefined && refusals.includes(apiId));
}

/** The innermost errors say it; the outer ones that something went wrong. */
function reasonOf(error: Error): string {
  const messages = [...all(error)].map(({ apiId, message }) =>
    apiId === undefined ? message : `${apiId}: ${message}`,
  );
  return [...new Set(messages)].join("; ").replaceAll(/\.(?=;|$)/g, "");
}
