/**
 * Kafka: one topic, the key of a message is its bot and chat, so that a chat stays in one partition and in its order.
 *
 * Decides what confirms a batch (all replicas in sync have it), what an error means, and how commands are committed.
 * Invariants: a producer that failed is not used again, since nobody knows how far it came; a command's offset is committed
 * when its answer is, so that none is skipped; the end waits for nothing that the client may wait for without end.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type * as Client from "@platformatic/kafka";
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
  readonly #messages: Production;
  /** Of their own: an answer that nobody takes must not take messages with it. */
  readonly #answers: Production;
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
    this.#messages = new Production(client, this.#base);
    this.#answers = new Production(client, this.#base);
  }

  async publish(batch: readonly SinkMessage[]): Promise<SinkOutcome[]> {
    const error = await this.#send(batch);
    if (error === undefined) return batch.map(() => ({ type: "confirmed" }));
    const reason = reasonOf(error);
    if (!isRefusal(error)) return batch.map(() => ({ type: "away", reason }));
    if (batch.length === 1) return [{ type: "refused", reason }];
    // One of them is meant, and nobody says which: it is in one of the halves.
    const middle = Math.ceil(batch.length / 2);
    const first = await this.publish(batch.slice(0, middle));
    return [...first, ...(await this.publish(batch.slice(middle)))];
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
    // An answer that is on its way is waited for, but not long: its command comes again.
    await within(1_000, "it did not end", this.#endListening?.()).catch(() => undefined);
    await Promise.all([this.#messages.close(), this.#answers.close()]);
  }

  /** Resolves with what went wrong. */
  #send(batch: readonly SinkMessage[]): Promise<Error | undefined> {
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
    return this.#messages.send(messages);
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
      let end = (): void => undefined;
      try {
        const work = consumer.consume({ topics: [topic], mode: "committed", fallbackMode: "earliest" });
        const stream = await unless(over, work);
        end = () => void stream.close().catch(() => undefined);
        over.addEventListener("abort", end, { once: true });
        for await (const message of stream) {
          const answer = await this.#answerOf(message.value, handle, over);
          if (answer === undefined) break;
          const failed = await this.#answers.send([{ topic: `${topic}.answers`, key: message.key, value: answer }]);
          if (failed !== undefined) throw failed;
          await message.commit();
        }
      } catch (error) {
        // What was not committed comes again.
        if (!over.aborted) troubled(reasonOf(error));
      }
      over.removeEventListener("abort", end);
      await within(1_000, "it did not close", consumer.close(true)).catch(() => undefined);
      if (!over.aborted) await sleep(1_000, undefined, { signal: over }).catch(() => undefined);
    }
  }

  /** Asks until there is one; undefined at the end. */
  async #answerOf(command: string, handle: CommandHandler, over: AbortSignal): Promise<string | undefined> {
    while (!over.aborted) {
      const answer = await handle(command);
      if (answer !== undefined) return answer;
      await sleep(1_000, undefined, { signal: over }).catch(() => undefined);
    }
    return undefined;
  }
}

/** A producer, and another one when it failed. */
class Production {
  readonly #client: typeof Client;
  readonly #base: Client.BaseOptions;
  #producer: TextProducer | undefined;
  #closed = false;

  constructor(client: typeof Client, base: Client.BaseOptions) {
    this.#client = client;
    this.#base = base;
  }

  /** Resolves with what went wrong. */
  async send(messages: Client.MessageToProduce<string, string, string, string>[]): Promise<Error | undefined> {
    if (this.#closed) return new Error("the sink is closed");
    this.#producer ??= new this.#client.Producer({
      ...this.#base,
      idempotent: true,
      // Of none and of one it makes endless tries when it is idempotent, in which no error is ever told.
      retries: 2,
      acks: this.#client.ProduceAcks.ALL,
      serializers: this.#client.stringSerializers,
    });
    const producer = this.#producer;
    try {
      const late = "the broker did not confirm in time, or the topic is not there";
      await within(produceMs, late, producer.send({ messages }));
      return undefined;
    } catch (error) {
      await this.#forget(producer);
      return error as Error;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#forget(this.#producer);
  }

  async #forget(producer: TextProducer | undefined): Promise<void> {
    if (this.#producer === producer) this.#producer = undefined;
    try {
      await within(1_000, "it did not close", producer?.close(true));
    } catch {
      // What it would say was said already.
    }
  }
}

/** Rejects when it is over; what was waited for goes on, and is heard of no more. */
async function unless<Value>(over: AbortSignal, work: Promise<Value>): Promise<Value> {
  const ended = Promise.withResolvers<never>();
  const end = (): void => ended.reject(new Error("it is over"));
  over.addEventListener("abort", end, { once: true });
  if (over.aborted) end();
  try {
    return await Promise.race([work, ended.promise]);
  } finally {
    over.removeEventListener("abort", end);
    work.catch(() => undefined);
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

function* all(error: unknown): Generator {
  if (error === undefined) return;
  yield error;
  if (error instanceof AggregateError) for (const part of error.errors) yield* all(part);
  if (error instanceof Error) yield* all(error.cause);
}

function apiIdOf(error: unknown): string | undefined {
  return error instanceof Error ? (error as { apiId?: string }).apiId : undefined;
}

function isRefusal(error: unknown): boolean {
  return [...all(error)].some((each) => refusals.includes(apiIdOf(each) ?? ""));
}

/** The innermost errors say it; the outer ones that something went wrong. */
function reasonOf(error: unknown): string {
  const messages = [...all(error)].map((each) => {
    const apiId = apiIdOf(each);
    return apiId === undefined ? wordsOf(each) : `${apiId}: ${wordsOf(each)}`;
  });
  return [...new Set(messages)].join("; ").replaceAll(/\.(?=;|$)/g, "");
}
