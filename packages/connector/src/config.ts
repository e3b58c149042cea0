/**
 * Where settings come from: flag > environment > default, one table for all of them. `--help`, the environment and the
 * warning about misspelt names are read off that table.
 *
 * Decides names, defaults and what a value may look like. Does not read the environment, the command line or a file
 * itself: they are arguments. Invariant: an error names the setting as its user wrote it and never repeats a secret.
 */
import type { ConnectionOptions } from "@openws/protocol";
import type { Sentence } from "./causes.ts";
import { MistakeError } from "./mistake.ts";

/** Where the live gateway listens; private deployments have an address of their own. */
export const defaultUrl = "wss://openws.work.weixin.qq.com";

/** Everything `openws-connector serve` can be told. */
export interface Config {
  readonly botId: string;
  readonly secret: string;
  /** Where it was read, to be read again when it is refused. */
  readonly secretFile: string | undefined;
  readonly url: string;
  /** The bot's display name, which stands as `@name ` before every text in a group. */
  readonly name: string | undefined;
  readonly listen: { readonly host: string; readonly port: number };
  readonly connection: Pick<
    ConnectionOptions,
    | "heartbeatMs"
    | "ackMs"
    | "backoffBaseMs"
    | "backoffMaxMs"
    | "pingTimeoutMs"
    | "idleMs"
    | "dialMs"
    | "subscribeMs"
    | "stableMs"
    | "afterKick"
  >;
  readonly drainMs: number;
  readonly handoverMs: number | undefined;
  readonly probeMs: number | undefined;
  readonly logLevel: LogLevel;
  readonly logFormat: "json" | "pretty" | undefined;
  readonly echo: boolean;
  readonly json: boolean;
}

const logLevels = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
/** How much is logged. */
export type LogLevel = (typeof logLevels)[number];

/** One setting: its flag, its environment names in order of precedence, and what `--help` says. */
interface Setting {
  readonly flag: string;
  readonly env: readonly string[];
  readonly value: string;
  readonly help: Sentence;
}

const ms = (flag: string, en: string, zh: string, ...alias: string[]): Setting => ({
  flag,
  env: [`OPENWS_${flag.toUpperCase().replaceAll("-", "_")}`, ...alias],
  value: "MS",
  help: { en, zh },
});

/** The settings that take a value. The order is that of `--help`. */
export const settings = {
  botId: {
    flag: "bot-id",
    env: ["WECOM_BOT_ID"],
    value: "ID",
    help: { en: "the bot's id (required)", zh: "机器人 ID（必填）" },
  },
  secret: {
    flag: "bot-secret",
    env: ["WECOM_BOT_SECRET"],
    value: "SECRET",
    help: {
      en: "its long-connection secret (required, here or in a file)",
      zh: "其长连接 Secret（必填，可直接给出或放在文件中）",
    },
  },
  secretFile: {
    flag: "bot-secret-file",
    env: ["WECOM_BOT_SECRET_FILE"],
    value: "FILE",
    help: { en: "a file that holds it, as containers mount secrets", zh: "存放该 Secret 的文件，容器通常以此方式挂载" },
  },
  url: {
    flag: "bot-ws-url",
    env: ["WECOM_BOT_WS_URL"],
    value: "URL",
    help: { en: `the gateway (${defaultUrl})`, zh: `网关（${defaultUrl}）` },
  },
  name: {
    flag: "bot-name",
    env: ["WECOM_BOT_NAME"],
    value: "NAME",
    help: {
      en: "its display name, stripped from the start of a group's texts",
      zh: "机器人的显示名称，会从群聊文本的开头去掉",
    },
  },
  listen: {
    flag: "listen",
    env: ["OPENWS_LISTEN"],
    value: "HOST:PORT",
    help: {
      en: "where the HTTP API listens (127.0.0.1:8910; port 0 chooses one)",
      zh: "HTTP API 监听的地址（127.0.0.1:8910；端口 0 表示自动选择）",
    },
  },
  afterKick: {
    flag: "after-kick",
    env: ["OPENWS_AFTER_KICK"],
    value: "stop|rejoin",
    help: {
      en: "when another instance of the bot takes over: stay away, or come back once (stop)",
      zh: "同一机器人的另一个实例接管时：不再连接，或重连一次（stop）",
    },
  },
  heartbeatMs: ms("heartbeat-ms", "between pings (30000)", "两次心跳之间的间隔（30000）", "WECOM_HEARTBEAT_MS"),
  ackMs: ms("ack-ms", "how long an ack may take (10000)", "等待确认的时限（10000）", "WECOM_ACK_MS"),
  backoffBaseMs: ms(
    "backoff-base-ms",
    "first wait after a lost network (1000)",
    "网络中断后的首次等待（1000）",
    "WECOM_BACKOFF_BASE_MS",
  ),
  backoffMaxMs: ms(
    "backoff-max-ms",
    "longest wait after a lost network (30 × the first)",
    "网络中断后的最长等待（首次等待的 30 倍）",
  ),
  pingTimeoutMs: ms(
    "ping-timeout-ms",
    "how long a ping may go unanswered (as ack-ms, at most 10000)",
    "心跳无应答的时限（同 ack-ms，最多 10000）",
  ),
  idleMs: ms(
    "idle-ms",
    "silence that ends a socket (2.5 × heartbeat-ms)",
    "静默多久即关闭连接（heartbeat-ms 的 2.5 倍）",
  ),
  dialMs: ms(
    "dial-ms",
    "for TCP, TLS and upgrade together (as ack-ms, at most 10000)",
    "TCP、TLS 与升级合计的时限（同 ack-ms，最多 10000）",
  ),
  subscribeMs: ms(
    "subscribe-ms",
    "for the ack of the subscribe (as ack-ms, at most 10000)",
    "等待订阅确认的时限（同 ack-ms，最多 10000）",
  ),
  stableMs: ms(
    "stable-ms",
    "after this long ready, waits begin at the first again (2 × heartbeat-ms)",
    "就绪达到此时长后，等待重新从首次算起（heartbeat-ms 的 2 倍）",
  ),
  drainMs: ms(
    "drain-ms",
    "what SIGTERM leaves to finish open answers (4500)",
    "收到 SIGTERM 后留给未完成回答的时间（4500）",
  ),
  handoverMs: ms(
    "handover-ms",
    "age at which a bubble is finished and its answer goes on in a new one (540000)",
    "气泡达到此时长即收尾，回答在新气泡中继续（540000）",
  ),
  probeMs: ms(
    "probe-ms",
    "on a line that quiet, ask whether the gateway knows it still (never)",
    "线路静默达到此时长时，询问网关是否仍认得本连接（从不）",
  ),
  config: {
    flag: "config",
    env: ["OPENWS_CONFIG"],
    value: "FILE",
    help: {
      en: "YAML or JSON: settings by these names in camelCase, and bots, webhooks, triggers, welcome, offline",
      zh: "YAML 或 JSON 文件：以上述名称的驼峰形式书写设置，另有 bots、webhooks、triggers、welcome、offline",
    },
  },
  botsFile: {
    flag: "bots-file",
    env: ["WECOM_BOTS_FILE"],
    value: "FILE",
    help: {
      en: "several bots: a YAML or JSON list of {id, secret or secretFile, name?, url?}",
      zh: "多个机器人：YAML 或 JSON 列表，每项为 {id, secret 或 secretFile, name?, url?}",
    },
  },
  database: {
    flag: "database",
    env: ["OPENWS_DATABASE"],
    value: "FILE",
    help: {
      en: "where everything is kept (./data/openws.db); :memory: keeps nothing",
      zh: "全部数据的存放处（./data/openws.db）；:memory: 则不留存",
    },
  },
  lease: {
    flag: "lease",
    env: ["OPENWS_LEASE"],
    value: "ADDRESS",
    help: {
      en: "where several replicas agree on which one holds the lines, such as sqlite:/data/lease.db (no lease: one process)",
      zh: "多个副本在此商定由谁持有线路，例如 sqlite:/data/lease.db（不设则只运行一个进程）",
    },
  },
  leaseTtlMs: ms(
    "lease-ttl-ms",
    "how long the lease counts without renewal (15000)",
    "租约在未续期时的有效时长（15000）",
  ),
  storeKey: {
    flag: "store-key",
    env: ["OPENWS_STORE_KEY"],
    value: "KEY",
    help: {
      en: "encrypts what must not be read from the disk (made at the first start, in FILE.key beside the database)",
      zh: "用来加密不得从磁盘读出的内容（首次启动时生成，存于数据库旁的 FILE.key）",
    },
  },
  retentionMs: ms(
    "retention-ms",
    "how long settled messages are kept (2592000000, thirty days)",
    "已了结的消息保留多久（2592000000，三十天）",
  ),
  retentionBytes: {
    flag: "retention-bytes",
    env: ["OPENWS_RETENTION_BYTES"],
    value: "BYTES",
    help: {
      en: "how large the database may get before the oldest settled messages go (10737418240, 10 GiB)",
      zh: "数据库达到此大小后，从最早的已了结消息开始删除（10737418240，10 GiB）",
    },
  },
  replyTtlMs: ms(
    "reply-ttl-ms",
    "how long a reply waits for a line before it expires (86400000, a day)",
    "回复等待线路多久后过期（86400000，一天）",
  ),
  pushTtlMs: ms(
    "push-ttl-ms",
    "how long a push does, or a late answer to an event (3600000, an hour)",
    "主动消息或事件的迟到回答等待多久后过期（3600000，一小时）",
  ),
  resendUnknown: {
    flag: "resend-unknown",
    env: ["OPENWS_RESEND_UNKNOWN"],
    value: "1",
    help: {
      en: "after a crash, send pushes once more that may have arrived (they are told as unknown)",
      zh: "崩溃后把可能已送达的主动消息再发一次（默认只记为 unknown）",
    },
  },
  apiKey: {
    flag: "api-key",
    env: ["OPENWS_API_KEY"],
    value: "KEY[,KEY]",
    help: {
      en: "who may use the API; two while one is being replaced (generated, and printed once)",
      zh: "使用 API 的密钥；更换期间可给两个（默认自动生成，只输出一次）",
    },
  },
  apiKeyFile: {
    flag: "api-key-file",
    env: ["OPENWS_API_KEY_FILE"],
    value: "FILE",
    help: { en: "a file that holds it", zh: "存放该密钥的文件" },
  },
  readKey: {
    flag: "read-key",
    env: ["OPENWS_READ_KEY"],
    value: "KEY[,KEY]",
    help: { en: "who may read and change nothing", zh: "只读密钥，不能做任何更改" },
  },
  allowCidr: {
    flag: "allow-cidr",
    env: ["OPENWS_ALLOW_CIDR"],
    value: "NET[,NET]",
    help: { en: "networks and addresses that may ask the API at all (all)", zh: "允许访问 API 的网段与地址（全部）" },
  },
  publicUrl: {
    flag: "public-url",
    env: ["OPENWS_PUBLIC_URL"],
    value: "URL",
    help: {
      en: "where receivers reach this service, for the addresses of files (where it listens)",
      zh: "接收方访问本服务的地址，用于生成文件链接（默认为监听地址）",
    },
  },
  webhookUrl: {
    flag: "webhook-url",
    env: ["OPENWS_WEBHOOK_URL"],
    value: "URL",
    help: {
      en: "gets every message and event; its response may hold the answer",
      zh: "接收所有消息与事件；其响应中可带回答",
    },
  },
  webhookSecret: {
    flag: "webhook-secret",
    env: ["OPENWS_WEBHOOK_SECRET"],
    value: "SECRET",
    help: {
      en: "signs the deliveries to it (required with it, at least 16 characters)",
      zh: "为投递签名（给出网络钩子时必填，至少 16 个字符）",
    },
  },
  sinks: {
    flag: "sinks",
    env: ["OPENWS_SINKS"],
    value: "URL[,URL]",
    help: {
      en: "queues that get every message and event: amqp://, kafka://, nats://, redis:// (docs/sinks.md)",
      zh: "接收所有消息与事件的队列：amqp://、kafka://、nats://、redis://（见 docs/sinks.md）",
    },
  },
  allowPrivate: {
    flag: "allow-private",
    env: ["OPENWS_ALLOW_PRIVATE"],
    value: "1",
    help: {
      en: "lets webhooks that are made through the API lead to private addresses",
      zh: "允许通过 API 创建的网络钩子指向内网地址",
    },
  },
  mediaDir: {
    flag: "media-dir",
    env: ["OPENWS_MEDIA_DIR"],
    value: "FOLDER",
    help: { en: "where users' files are kept (media beside the database)", zh: "用户文件的存放处（数据库旁的 media）" },
  },
  mediaTtlMs: ms(
    "media-ttl-ms",
    "how long they are kept (259200000, three days)",
    "用户文件保留多久（259200000，三天）",
  ),
  logLevel: {
    flag: "log-level",
    env: ["LOG_LEVEL"],
    value: "LEVEL",
    help: { en: `${logLevels.join(", ")} (info)`, zh: `${logLevels.join("、")}（info）` },
  },
  logFormat: {
    flag: "log-format",
    env: ["LOG_FORMAT"],
    value: "json|pretty",
    help: {
      en: "logs go to stderr (pretty on a terminal, json elsewhere)",
      zh: "日志写到标准错误（终端上为 pretty，其他情况为 json）",
    },
  },
} as const satisfies Record<string, Setting>;

/** The name of a setting that takes a value. */
export type SettingName = keyof typeof settings;

const durations = [
  "heartbeatMs",
  "ackMs",
  "backoffBaseMs",
  "backoffMaxMs",
  "pingTimeoutMs",
  "idleMs",
  "dialMs",
  "subscribeMs",
  "stableMs",
] as const satisfies readonly SettingName[];

/** What the command line said, by setting; switches apart. */
export interface Flags {
  readonly values: Readonly<Partial<Record<SettingName, string>>>;
  readonly echo: boolean;
  readonly json: boolean;
}

/** A string-to-string environment, as `process.env` is. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Joins flags, environment and defaults. `readFile` is asked for the content of the secret's file.
 * Throws `UsageError` for the first setting that is missing or cannot be: one sentence that says which and what to write.
 */
export function readConfig(
  flags: Flags,
  env: Environment,
  readFile: (path: string) => string,
  file: FileSettings = {},
): Config {
  const { byFlag, byEnv, look } = finder(flags, env, file);
  const connection: Record<string, number> = {};
  for (const name of durations) {
    const found = look(name);
    if (found !== undefined) connection[name] = milliseconds(found);
  }
  const optional = (name: SettingName): number | undefined => {
    const found = look(name);
    return found === undefined ? undefined : milliseconds(found);
  };
  // Whatever a flag says wins over whatever the environment says.
  const plain = byFlag("secret") ?? (byFlag("secretFile") === undefined ? byEnv("secret") : undefined);
  const secretFile = plain === undefined ? look("secretFile") : undefined;
  return {
    botId: required(look("botId"), { en: "the bot's id", zh: "机器人 ID" }, "WECOM_BOT_ID", "--bot-id"),
    secret: required(
      plain ?? (secretFile === undefined ? undefined : contentOf(secretFile, readFile)),
      { en: "the bot's secret", zh: "机器人 Secret" },
      "WECOM_BOT_SECRET",
      "WECOM_BOT_SECRET_FILE",
    ),
    secretFile: secretFile?.text,
    url: gatewayUrl(look("url") ?? { text: defaultUrl, as: "the default" }),
    name: look("name")?.text,
    listen: address(look("listen") ?? { text: "127.0.0.1:8910", as: "the default" }),
    connection: { ...connection, afterKick: oneOf(look("afterKick"), ["stop", "rejoin"]) ?? "stop" },
    drainMs: milliseconds(look("drainMs") ?? { text: "4500", as: "the default" }),
    handoverMs: optional("handoverMs"),
    probeMs: optional("probeMs"),
    logLevel: oneOf(look("logLevel"), logLevels) ?? "info",
    logFormat: oneOf(look("logFormat"), ["json", "pretty"]),
    echo: flags.echo,
    json: flags.json,
  };
}

/** Sentences about environment names that look like one of ours written wrong; nothing else can tell a typo from silence. */
export function misspelt(env: Environment): string[] {
  const known: string[] = Object.values(settings).flatMap((setting) => setting.env);
  return Object.keys(env)
    .filter((name) => /^(?:WECOM|OPENWS)_/.test(name) && !known.includes(name))
    .flatMap((name) => {
      const meant = known.find((other) => editDistance(name, other) <= 2);
      return meant === undefined ? [] : [`${name} is not a setting; did you mean ${meant}?`];
    });
}

/** Settings of a file, by name. */
export type FileSettings = Readonly<Partial<Record<SettingName, string>>>;

/** How a setting is looked up: flag > environment > file. */
export interface Finder {
  readonly byFlag: (name: SettingName) => Found | undefined;
  readonly byEnv: (name: SettingName) => Found | undefined;
  readonly look: (name: SettingName) => Found | undefined;
}

/** Looks settings up in what a user gave. */
export function finder(flags: Pick<Flags, "values">, env: Environment, file: FileSettings = {}): Finder {
  const byFlag = (name: SettingName): Found | undefined => {
    const text = flags.values[name];
    return text === undefined ? undefined : { text, as: `--${settings[name].flag}` };
  };
  const byEnv = (name: SettingName): Found | undefined => {
    for (const variable of settings[name].env) {
      const text = env[variable];
      if (text !== undefined && text !== "") return { text, as: variable };
    }
    return undefined;
  };
  const byFile = (name: SettingName): Found | undefined => {
    const text = file[name];
    return text === undefined ? undefined : { text, as: `${name} in the configuration file` };
  };
  return { byFlag, byEnv, look: (name) => byFlag(name) ?? byEnv(name) ?? byFile(name) };
}

/** A value and the name its user gave it. */
export interface Found {
  readonly text: string;
  readonly as: string;
}

/** The trimmed content of a file that a setting names. Throws `MistakeError`. */
export function contentOf({ text: path, as }: Found, readFile: (path: string) => string): Found {
  let text: string;
  try {
    text = readFile(path).trim();
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? ` (${String(cause.code)})` : "";
    // People put the secret itself here; what has no slash is not repeated.
    const where = /[/\\]/.test(path) ? `: ${path}` : "; it must hold a path";
    const zhWhere = /[/\\]/.test(path) ? `：${path}` : "；它必须是路径";
    throw new MistakeError({
      en: `${as} names a file that cannot be read${code}${where}`,
      zh: `${as} 指定的文件无法读取${code}${zhWhere}`,
    });
  }
  if (text === "")
    throw new MistakeError({ en: `${as} names a file that is empty: ${path}`, zh: `${as} 指定的文件为空：${path}` });
  return { text, as };
}

function required(found: Found | undefined, what: Sentence, ...ways: readonly [string, string]): string {
  if (found !== undefined && found.text !== "") return found.text;
  throw new MistakeError({
    en: `${what.en} is missing: set ${ways[0]} or ${ways[1]}`,
    zh: `缺少${what.zh}：请设置 ${ways[0]} 或 ${ways[1]}`,
  });
}

/** Checks the gateway's address. Throws `MistakeError`. */
export function gatewayUrl({ text, as }: Found): string {
  const url = URL.parse(text);
  if (url !== null && (url.protocol === "ws:" || url.protocol === "wss:") && url.hostname !== "") return text;
  throw new MistakeError({
    en: `${as} must be a WebSocket address such as ${defaultUrl} or ws://127.0.0.1:8900`,
    zh: `${as} 必须是 WebSocket 地址，例如 ${defaultUrl} 或 ws://127.0.0.1:8900`,
  });
}

/** Reads `HOST:PORT`. Throws `MistakeError`. */
export function address({ text, as }: Found): { host: string; port: number } {
  const parts = /^(?<host>\[[0-9a-fA-F:.]+\]|[^:[\]]+):(?<port>\d{1,5})$/.exec(text)?.groups;
  const port = Number(parts?.["port"]);
  if (parts?.["host"] !== undefined && port <= 65_535) return { host: parts["host"].replace(/^\[|\]$/g, ""), port };
  throw new MistakeError({
    en: `${as} must be HOST:PORT such as 127.0.0.1:8910, ${JSON.stringify(text)} is not`,
    zh: `${as} 必须是 主机:端口，例如 127.0.0.1:8910，而不是 ${JSON.stringify(text)}`,
  });
}

/** Reads a duration. Throws `MistakeError`. */
export function milliseconds({ text, as }: Found): number {
  if (/^\d{1,12}$/.test(text) && Number(text) > 0) return Number(text);
  throw new MistakeError({
    en: `${as} must be a whole number of milliseconds above 0, ${JSON.stringify(text)} is not`,
    zh: `${as} 必须是大于 0 的整数毫秒数，而不是 ${JSON.stringify(text)}`,
  });
}

function oneOf<const Choice extends string>(found: Found | undefined, choices: readonly Choice[]): Choice | undefined {
  if (found === undefined) return undefined;
  const choice = choices.find((each) => each === found.text);
  if (choice !== undefined) return choice;
  throw new MistakeError({
    en: `${found.as} must be one of ${choices.join(", ")}, ${JSON.stringify(found.text)} is not`,
    zh: `${found.as} 必须是 ${choices.join("、")} 之一，而不是 ${JSON.stringify(found.text)}`,
  });
}

/** Levenshtein's distance, one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length]!;
}
