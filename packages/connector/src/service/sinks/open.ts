/**
 * Which client speaks to which broker. Clients are optional: an installation has those whose brokers it uses, and one that is
 * missing is said at the start, with what to install. Invariant: nothing is loaded that no sink asks for.
 */
import { installed } from "../../optional.ts";
import type { Broker, OpenSink, SinkConfig } from "../sink.ts";
import { kafkaSinks } from "./kafka.ts";
import { natsSinks } from "./nats.ts";
import { rabbitmqSinks } from "./rabbitmq.ts";
import { redisSinks } from "./redis.ts";

/** For each broker: what loads its client, and what an operator installs for that. */
export type Adapters = Readonly<Record<Broker, { readonly packages: string; readonly load: () => Promise<OpenSink> }>>;

const ours: Adapters = {
  rabbitmq: {
    packages: "rabbitmq-client",
    load: async () => rabbitmqSinks(await import("rabbitmq-client")),
  },
  kafka: {
    packages: "@platformatic/kafka",
    load: async () => kafkaSinks(await import("@platformatic/kafka")),
  },
  nats: {
    packages: "@nats-io/transport-node @nats-io/jetstream",
    load: async () => natsSinks(await import("@nats-io/transport-node"), await import("@nats-io/jetstream")),
  },
  redis: {
    packages: "ioredis",
    load: async () => redisSinks((await import("ioredis")).Redis),
  },
};

/** Loads the clients of these sinks. Rejects with `MistakeError` where one is not installed. */
export async function loadSinks(configs: readonly SinkConfig[], adapters: Adapters = ours): Promise<OpenSink> {
  const loaded = new Map<Broker, OpenSink>();
  for (const { broker, id } of configs) {
    const { packages, load } = adapters[broker];
    if (loaded.has(broker)) continue;
    const open = await installed(load, {
      en: `the sink ${id} needs a client that is not installed: npm install ${packages}`,
      zh: `队列出口 ${id} 需要的客户端尚未安装：npm install ${packages}`,
    });
    loaded.set(broker, open);
  }
  return (config) => loaded.get(config.broker)!(config);
}
