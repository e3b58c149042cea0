/**
 * Redis Streams: one stream, an entry a message.
 *
 * Decides an entry's fields and what an error means. Invariant: nothing waits in the client, where a crash would forget it:
 * what cannot be sent at once is told to be away. That Redis has it on its disk when it answers is Redis's setting
 * (`appendfsync always`), not this file's.
 */
import type { Redis, RedisOptions } from "ioredis";
import { type OpenSink, type Sink, type SinkConfig, type SinkMessage, type SinkOutcome, wordsOf } from "../sink.ts";

/** What is used of the client. */
export type RedisClass = new (options: RedisOptions) => Redis;

/** Makes sinks with a client that was loaded. */
export function redisSinks(client: RedisClass): OpenSink {
  return (config) => new RedisSink(client, config);
}

const contentType = "application/cloudevents+json; charset=utf-8";

class RedisSink implements Sink {
  readonly #config: SinkConfig;
  readonly #redis: Redis;
  #trouble: string | undefined;

  constructor(client: RedisClass, config: SinkConfig) {
    this.#config = config;
    const { hosts, user, password, path, tls, id } = config;
    const [{ host, port } = { host: "127.0.0.1", port: 6379 }] = hosts;
    this.#redis = new client({
      host,
      port,
      db: Number(path === "" ? 0 : path),
      ...(user === undefined ? {} : { username: user }),
      ...(password === undefined ? {} : { password }),
      ...(tls ? { tls: {} } : {}),
      connectionName: `openws-${id}`,
      lazyConnect: true,
      connectTimeout: 5_000,
      commandTimeout: 8_000,
      // It asks for INFO, which a user who may only write may not, and says that past the log. One that loads refuses anyway.
      enableReadyCheck: false,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      retryStrategy: (times) => Math.min(times * 200, 2_000),
    });
    this.#redis.on("error", (error: Error) => {
      this.#trouble = wordsOf(error);
    });
    this.#redis.on("ready", () => {
      this.#trouble = undefined;
    });
  }

  async publish(batch: readonly SinkMessage[]): Promise<SinkOutcome[]> {
    try {
      if (this.#redis.status === "wait") await this.#redis.connect();
    } catch (error) {
      const reason = this.#trouble ?? wordsOf(error);
      return batch.map(() => ({ type: "away", reason }));
    }
    return Promise.all(batch.map((message) => this.#add(message)));
  }

  async close(): Promise<void> {
    this.#redis.disconnect();
  }

  async #add({ id, type, subject, key, traceparent, body }: SinkMessage): Promise<SinkOutcome> {
    const { target, options } = this.#config;
    const { maxlen } = options;
    const bounded = maxlen === undefined ? [] : ["MAXLEN", "~", maxlen];
    const fields = { id, type, subject, key, "content-type": contentType, ...(traceparent && { traceparent }), body };
    try {
      await this.#redis.call("XADD", target, ...bounded, "*", ...Object.entries(fields).flat());
      return { type: "confirmed" };
    } catch (error) {
      const message = wordsOf(error);
      return { type: "away", reason: this.#trouble === undefined ? message : `${message} (${this.#trouble})` };
    }
  }
}
