/**
 * What a queue sink is told and what it answers: the port that the adapters in sinks/ fill, and the URL that an operator
 * writes for one.
 *
 * Decides the shape of a message on its way to a broker, the three outcomes of publishing one, and the URL's options. Does
 * not know any broker's protocol, order, retries (delivery.ts) or batches (sinks.ts). Invariants: an outcome is one of a
 * message, in the place that the message has in its batch; `confirmed` is said only when the broker has said it; an error
 * about a URL repeats nothing of it but the name of an option.
 */
import { MistakeError } from "../mistake.ts";
import type { CloudEvent } from "./envelope.ts";
import type { EpochMs } from "./store.ts";

/** One entry as brokers carry it. */
export interface SinkMessage {
  /** The same at every try: receivers may remember it. Unique over all bots of a service. */
  readonly id: string;
  readonly type: CloudEvent["type"];
  /** The routing key, or subject: four words with dots between them, the last one with dots where it is operational. */
  readonly subject: string;
  /** What decides the partition: bot and chat. */
  readonly key: string;
  readonly at: EpochMs;
  readonly traceparent?: string | undefined;
  /** A CloudEvent as JSON. */
  readonly body: string;
}

/**
 * What became of a message: the broker has it; it does not want this one, whoever asks; or nobody can tell, or it takes
 * nothing at present, which says nothing about the message. Reasons are sentences without their full stop.
 */
export type SinkOutcome =
  | { readonly type: "confirmed" }
  | { readonly type: "refused"; readonly reason: string }
  | { readonly type: "away"; readonly reason: string };

/** A broker, connected when it is needed and again when it went away. */
export interface Sink {
  /** Resolves with an outcome for each message, in their order; never rejects. Its messages may overtake each other. */
  publish(batch: readonly SinkMessage[]): Promise<readonly SinkOutcome[]>;
  /**
   * Takes commands one after the other and answers each, from now on and through every outage, until `close`. `troubled` is
   * told why none come, as often as that is found out.
   */
  listen?(handle: CommandHandler, troubled: (why: string) => void): void;
  /** Lets go of the connection. Never rejects. */
  close(): Promise<void>;
}

/** Makes a sink; it need not be connected when this returns. */
export type OpenSink = (config: SinkConfig) => Sink;

/** Does a command and resolves with its answer as JSON; undefined where it could not be done now and has to be asked again. */
export type CommandHandler = (command: string) => Promise<string | undefined>;

/** What an operator's URL says. */
export interface SinkConfig {
  /** `sink_` and the name, or broker and target; deliveries in the store are named after it. */
  readonly id: string;
  readonly broker: Broker;
  readonly tls: boolean;
  readonly hosts: readonly { readonly host: string; readonly port: number }[];
  readonly user: string | undefined;
  readonly password: string | undefined;
  /** RabbitMQ: the virtual host. Redis: the database. */
  readonly path: string;
  /** RabbitMQ: the exchange. Kafka: the topic. NATS: the first word of subjects. Redis: the stream. */
  readonly target: string;
  /** Also what the bots themselves say. */
  readonly self: boolean;
  /** Kinds it wants, `event` and `bot` for all of those; everything when it says nothing. */
  readonly kinds: readonly string[] | undefined;
  /** Bots it wants; all when it says nothing. */
  readonly bots: readonly string[] | undefined;
  /** The queue, or topic, that commands come from; undefined: none are taken. */
  readonly commands: string | undefined;
  /** What is the broker's own, by name. */
  readonly options: Readonly<Record<string, string>>;
  /** For people: scheme, hosts and target, without user, password and options. */
  readonly shown: string;
}

/** The brokers there are adapters for. */
export type Broker = "rabbitmq" | "kafka" | "nats" | "redis";

/** What an error says for people; its parts where it has no words of its own, as where a name has two addresses. */
export function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.message !== "") return error.message;
  const parts = error instanceof AggregateError ? error.errors.map(wordsOf) : [];
  const { code } = error as NodeJS.ErrnoException;
  return parts.length > 0 ? [...new Set(parts)].join("; ") : (code ?? error.name);
}

const schemes: Readonly<Record<string, { readonly broker: Broker; readonly tls: boolean; readonly port: number }>> = {
  amqp: { broker: "rabbitmq", tls: false, port: 5672 },
  amqps: { broker: "rabbitmq", tls: true, port: 5671 },
  kafka: { broker: "kafka", tls: false, port: 9092 },
  kafkas: { broker: "kafka", tls: true, port: 9093 },
  nats: { broker: "nats", tls: false, port: 4222 },
  natss: { broker: "nats", tls: true, port: 4222 },
  redis: { broker: "redis", tls: false, port: 6379 },
  rediss: { broker: "redis", tls: true, port: 6379 },
};

/** The options of every sink, and those of each broker with what each may say. */
const common = ["name", "self", "kinds", "bots"];
const own: Readonly<Record<Broker, Readonly<Record<string, RegExp>>>> = {
  rabbitmq: { exchange: /^[^\s]{1,200}$/, unrouted: /^(?:refuse|drop)$/, commands: /^\S{1,200}$/ },
  kafka: { sasl: /^(?:plain|scram-sha-256|scram-sha-512)$/, create: /^[01]$/, commands: /^[\w.-]{1,240}$/ },
  nats: { stream: /^[\w-]{1,200}$/ },
  redis: { stream: /^\S{1,200}$/, maxlen: /^[1-9]\d{0,9}$/ },
};

/** What a path may be: a virtual host, a topic, the words of a subject, the number of a database. */
const paths: Readonly<Record<Broker, RegExp>> = {
  rabbitmq: /^/,
  kafka: /^[\w.-]{0,240}$/,
  nats: /^(?:[\w-]+(?:\.[\w-]+)*)?$/,
  redis: /^\d{0,5}$/,
};
const pathWords: Readonly<Record<Broker, { readonly en: string; readonly zh: string }>> = {
  rabbitmq: { en: "a virtual host", zh: "虚拟主机" },
  kafka: { en: "a topic: letters, digits, . _ -", zh: "主题名：字母、数字、. _ -" },
  nats: { en: "a subject: words with dots between them", zh: "主题：以点分隔的单词" },
  redis: { en: "the number of a database", zh: "数据库编号" },
};

/** The first word of every subject, and what the exchange, the topic and the stream are called where nothing is said. */
const defaultTarget = "openws";

/**
 * Reads a list of URLs with commas between them; a comma within one (several hosts) is none that a scheme follows.
 * Throws `MistakeError`; `as` is the setting's name as its user wrote it.
 */
export function readSinks(text: string, as: string): SinkConfig[] {
  const configs: SinkConfig[] = [];
  for (const url of text.split(/,(?=\s*[a-z]+:\/\/)/i).map((each) => each.trim())) {
    if (url === "") continue;
    const config = readSink(url, `${as} (${configs.length + 1})`);
    if (configs.some(({ id }) => id === config.id))
      throw new MistakeError({
        en: `${as} holds two sinks that would both be called ${config.id}; give one of them another name with ?name=`,
        zh: `${as} 中有两个队列出口都叫 ${config.id}；请用 ?name= 为其中一个另取名称`,
      });
    const twin = configs.find((other) => other.commands !== undefined && commandsOf(other) === commandsOf(config));
    // Both would take them: out of their order, or each of them twice.
    if (twin !== undefined)
      throw new MistakeError({
        en: `${as}: ${twin.id} and ${config.id} take their commands from the same place; name it in one of them`,
        zh: `${as}：${twin.id} 与 ${config.id} 从同一处接收命令；只在其中一个里写明`,
      });
    configs.push(config);
  }
  return configs;
}

/** Where commands come from, so that two of one place are alike. */
function commandsOf({ broker, hosts, path, commands }: SinkConfig): string {
  return JSON.stringify([broker, hosts, broker === "rabbitmq" ? path : "", commands]);
}

function readSink(url: string, as: string): SinkConfig {
  const [, scheme = "", login, hostList = "", rawPath = "", query = ""] =
    // A second @ is one of a password that was not encoded: what is behind it must not be taken for a name, and shown.
    /^([a-z]+):\/\/(?:([^@/?#]*)@)?([^@/?#]+)(?:\/([^?#@]*))?(?:\?([^#@]*))?$/i.exec(url) ?? [];
  const known = schemes[scheme.toLowerCase()];
  const hosts = known === undefined ? undefined : hostsOf(hostList, known.port);
  if (known === undefined || hosts === undefined)
    throw new MistakeError({
      en: `${as} must be amqp(s)://host/vhost?exchange=, kafka(s)://host:port,host:port/topic, nats(s)://host/subject or redis(s)://host/0?stream=; special characters, such as @ in a password, are percent-encoded`,
      zh: `${as} 必须形如 amqp(s)://host/vhost?exchange=、kafka(s)://host:port,host:port/topic、nats(s)://host/subject 或 redis(s)://host/0?stream=；特殊字符（如密码中的 @）需百分号编码`,
    });
  const { broker, tls } = known;
  if (broker === "redis" && hosts.length > 1)
    throw new MistakeError({
      en: `${as} names ${hosts.length} hosts, and a Redis is one: clusters and sentinels are not spoken to`,
      zh: `${as} 写了 ${hosts.length} 个主机，而 Redis 只能写一个：不支持集群与哨兵`,
    });
  const options = optionsOf(query, broker, as);
  const path = decoded(rawPath, as);
  if (!paths[broker].test(path))
    throw new MistakeError({
      en: `${as}: what follows the host must be ${pathWords[broker].en}`,
      zh: `${as}：主机之后须为${pathWords[broker].zh}`,
    });
  const [user, ...rest] = login === undefined ? [] : login.split(":");
  const target =
    (broker === "rabbitmq" ? options["exchange"] : broker === "redis" ? options["stream"] : path) || defaultTarget;
  const list = (name: string): string[] | undefined => options[name]?.split(/[ ,+]/).filter((each) => each !== "");
  const name = options["name"] ?? `${broker}_${target.replaceAll(/[^A-Za-z0-9-]+/g, "-").slice(0, 32)}`;
  return {
    id: `sink_${name}`,
    broker,
    tls,
    hosts,
    user: user === undefined || user === "" ? undefined : decoded(user, as),
    password: rest.length === 0 ? undefined : decoded(rest.join(":"), as),
    path,
    target,
    self: options["self"] === "1",
    kinds: list("kinds"),
    bots: list("bots"),
    commands: options["commands"],
    options: Object.fromEntries(Object.entries(options).filter(([option]) => !common.includes(option))),
    shown: `${scheme.toLowerCase()}://${hosts.map(({ host, port }) => `${host}:${port}`).join(",")}/${target}`,
  };
}

/** Undefined where one of them is none. */
function hostsOf(list: string, defaultPort: number): { host: string; port: number }[] | undefined {
  const hosts: { host: string; port: number }[] = [];
  for (const each of list.split(",")) {
    const [, six, four, port] = /^(?:\[([0-9a-f:.]+)\]|([\w.-]+))(?::(\d{1,5}))?$/i.exec(each.trim()) ?? [];
    const host = six ?? four;
    if (host === undefined || Number(port ?? 1) > 65_535 || Number(port ?? 1) === 0) return undefined;
    hosts.push({ host, port: port === undefined ? defaultPort : Number(port) });
  }
  return hosts;
}

function optionsOf(query: string, broker: Broker, as: string): Record<string, string> {
  const options: Record<string, string> = {};
  for (const [name, value] of new URLSearchParams(query)) {
    const shape = Object.hasOwn(own[broker], name) ? own[broker][name] : undefined;
    if (shape === undefined && !common.includes(name))
      throw new MistakeError({
        en: `${as}: ${broker} has no option ${JSON.stringify(name.slice(0, 32))}; there are ${[...common, ...Object.keys(own[broker])].join(", ")}`,
        zh: `${as}：${broker} 没有选项 ${JSON.stringify(name.slice(0, 32))}；可用的有 ${[...common, ...Object.keys(own[broker])].join("、")}`,
      });
    const fits =
      shape?.test(value) ??
      (name === "self"
        ? /^[01]$/.test(value)
        : name === "name"
          ? /^[A-Za-z0-9-]{1,32}$/.test(value)
          : value.length > 0 && value.length <= 1_000);
    if (!fits) throw new MistakeError({ en: `${as}: ${name} cannot be that`, zh: `${as}：${name} 的值无效` });
    if (options[name] !== undefined)
      throw new MistakeError({ en: `${as}: ${name} is given twice`, zh: `${as}：${name} 出现了两次` });
    options[name] = value;
  }
  return options;
}

function decoded(text: string, as: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new MistakeError({
      en: `${as}: user, password and path are percent-encoded, so a % itself is written %25`,
      zh: `${as}：用户名、密码与路径须百分号编码，% 本身写作 %25`,
    });
  }
}
