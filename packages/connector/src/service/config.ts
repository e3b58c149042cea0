/**
 * What `openws-connector serve` is told about the service: its bots, its store, who may ask, who gets what.
 *
 * Decides the configuration file's shape and what a setting of the service may look like; names and precedence are
 * ../config.ts's. Does not read files itself. Invariant: an error names the place in the file, or the setting as its user
 * wrote it, and never repeats a secret.
 */
import { z } from "zod";
import { MistakeError } from "../mistake.ts";
import {
  type Config,
  type Environment,
  type FileSettings,
  type Flags,
  type Found,
  type SettingName,
  contentOf,
  defaultUrl,
  finder,
  gatewayUrl,
  milliseconds,
  readConfig,
  settings,
} from "../config.ts";
import { outMessage } from "./inline.ts";
import { type SinkConfig, readSinks } from "./sink.ts";
import { triggerRules } from "./triggers.ts";
import { webhookInput } from "./webhooks.ts";

/** A bot of the operator's own configuration. */
export interface ConfiguredBot {
  readonly id: string;
  readonly secret: string;
  /** Where it was read, to be read again when it is refused. */
  readonly secretFile: string | undefined;
  readonly name: string | undefined;
  readonly url: string;
}

/** Everything the service is told, beside what one bot's line is told. */
export interface ServiceConfig {
  readonly bots: readonly ConfiguredBot[];
  /** A path, or `:memory:`. */
  readonly database: string;
  readonly storeKey: string | undefined;
  /** Where the lease is kept; undefined: this is the only process that serves these bots. */
  readonly lease: string | undefined;
  readonly leaseTtlMs: number;
  readonly retentionMs: number;
  readonly retentionBytes: number;
  readonly replyTtlMs: number;
  readonly pushTtlMs: number;
  readonly resendUnknown: boolean;
  /** Empty: one is generated. */
  readonly apiKeys: readonly string[];
  readonly readKeys: readonly string[];
  /** Networks as `10.0.0.0/8`, addresses; empty: all may ask. */
  readonly allowCidr: readonly string[];
  readonly publicUrl: string | undefined;
  readonly webhooks: readonly z.input<typeof webhookInput>[];
  readonly sinks: readonly SinkConfig[];
  readonly allowPrivate: boolean;
  readonly mediaDir: string | undefined;
  readonly mediaTtlMs: number;
  readonly triggers: z.input<typeof triggerRules>;
  /** Answers `enter_chat`. */
  readonly welcome: z.output<typeof outMessage> | undefined;
  /** Answers messages while no webhook takes them. */
  readonly offline: z.output<typeof outMessage> | undefined;
}

const bot = z
  .strictObject({
    id: z.string().min(1).max(128),
    secret: z.string().min(1).optional(),
    secretFile: z.string().min(1).optional(),
    name: z.string().min(1).optional(),
    url: z.string().optional(),
  })
  .refine(({ secret, secretFile }) => (secret === undefined) !== (secretFile === undefined), {
    message: "give secret or secretFile, one of them",
  });
const bots = z.array(bot).max(10_000);

const scalar = z.union([z.string(), z.number(), z.boolean()]).transform(String);

/** A configuration file: each setting by its name, and what has no flag. */
const configFile = z.strictObject({
  ...(Object.fromEntries(
    Object.keys(settings)
      .filter((name) => name !== "config")
      .map((name) => [name, scalar.optional()]),
  ) as Record<Exclude<SettingName, "config">, z.ZodOptional<typeof scalar>>),
  bots: bots.optional(),
  webhooks: z.array(webhookInput).max(100).optional(),
  triggers: triggerRules.optional(),
  welcome: outMessage.optional(),
  offline: outMessage.optional(),
});

/** What this process is given to read with. */
export interface Reading {
  readonly readFile: (path: string) => string;
  /** Parses YAML, of which JSON is a part. Throws for what is neither. */
  readonly parse: (text: string) => unknown;
}

/**
 * Joins flags, environment, the configuration file and defaults. Throws `MistakeError` (or `UsageError`) for the first
 * thing that is missing or cannot be. Without any bot it is left to the API to add one.
 */
export function readServiceConfig(
  flags: Flags,
  env: Environment,
  { readFile, parse }: Reading,
): { line: Omit<Config, "botId" | "secret" | "secretFile" | "url" | "name">; service: ServiceConfig } {
  const path = finder(flags, env).look("config");
  const file = path === undefined ? {} : fileOf(path, configFile, readFile, parse);
  const { bots: fileBots = [], webhooks = [], triggers = [], welcome, offline, ...fileValues } = file;
  const values = fileValues as FileSettings;
  const { look } = finder(flags, env, values);
  const text = (name: SettingName): string | undefined => look(name)?.text;

  const all: ConfiguredBot[] = [];
  const single = look("botId") !== undefined || look("secret") !== undefined || look("secretFile") !== undefined;
  // The line's settings are those of one bot, whoever that is.
  const one = readConfig(single ? flags : withStandIn(flags), env, readFile, values);
  if (single) all.push({ id: one.botId, secret: one.secret, secretFile: one.secretFile, name: one.name, url: one.url });
  const botsPath = look("botsFile");
  const listed = botsPath === undefined ? [] : fileOf(botsPath, bots, readFile, parse);
  const defaultGateway = gatewayUrl(look("url") ?? { text: defaultUrl, as: "the default" });
  for (const each of [...fileBots, ...listed]) {
    if (all.some(({ id }) => id === each.id))
      throw new MistakeError({
        en: `the bot ${JSON.stringify(each.id)} is configured twice; a bot has one line`,
        zh: `机器人 ${JSON.stringify(each.id)} 被配置了两次；每个机器人只能有一条连接`,
      });
    const as = `the bot ${JSON.stringify(each.id)}`;
    const secret = each.secret ?? contentOf({ text: each.secretFile ?? "", as: `secretFile of ${as}` }, readFile).text;
    const url = each.url === undefined ? defaultGateway : gatewayUrl({ text: each.url, as: `url of ${as}` });
    all.push({ id: each.id, secret, secretFile: each.secretFile, name: each.name, url });
  }

  const database = text("database") ?? "./data/openws.db";
  const keyFile = look("apiKeyFile");
  const apiKey = look("apiKey") ?? (keyFile === undefined ? undefined : contentOf(keyFile, readFile));
  return {
    line: one,
    service: {
      bots: all,
      database,
      storeKey: text("storeKey"),
      lease: text("lease"),
      leaseTtlMs: leaseTtl(look("leaseTtlMs")),
      retentionMs: duration(look("retentionMs"), 30 * 24 * 3_600_000),
      retentionBytes: sizeOf(look("retentionBytes"), 10 * 1024 ** 3),
      replyTtlMs: duration(look("replyTtlMs"), 24 * 3_600_000),
      pushTtlMs: duration(look("pushTtlMs"), 3_600_000),
      resendUnknown: yes(look("resendUnknown")),
      apiKeys: keysOf(apiKey),
      readKeys: keysOf(look("readKey")),
      allowCidr: (text("allowCidr") ?? "").split(",").flatMap((each) => (each.trim() === "" ? [] : [each.trim()])),
      publicUrl: httpUrl(look("publicUrl"))?.replace(/\/+$/, ""),
      webhooks: [...webhookOf(look("webhookUrl"), look("webhookSecret")), ...webhooks],
      sinks: sinksOf(look("sinks")),
      allowPrivate: yes(look("allowPrivate")),
      mediaDir: text("mediaDir") ?? (database === ":memory:" ? undefined : `${folderOf(database)}media`),
      mediaTtlMs: duration(look("mediaTtlMs"), 72 * 3_600_000),
      triggers,
      welcome,
      offline,
    },
  };
}

/** A stand-in for a bot that is not there, so that the settings of lines can be read; nothing of it is used. */
function withStandIn(flags: Flags): Flags {
  return { ...flags, values: { ...flags.values, botId: "none", secret: "none" } };
}

function fileOf<Schema extends z.ZodType>(
  path: Found,
  schema: Schema,
  readFile: (path: string) => string,
  parse: (text: string) => unknown,
): z.output<Schema> {
  const { text } = contentOf(path, readFile);
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    // The first line says where; the rest repeats the file, which holds secrets.
    const [where = ""] = (error as Error).message.split("\n");
    throw new MistakeError({
      en: `${path.text} is neither YAML nor JSON: ${where}`,
      zh: `${path.text} 既不是 YAML 也不是 JSON：${where}`,
    });
  }
  const parsed = schema.safeParse(value ?? {});
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path.join(".") ?? "";
  const place = where === "" ? path.text : `${where} in ${path.text}`;
  throw new MistakeError({
    en: `${place}: ${issue?.message ?? "is not valid"}`,
    zh: `${place}：${issue?.message ?? "无效"}`,
  });
}

function duration(found: Found | undefined, fallback: number): number {
  return found === undefined ? fallback : milliseconds(found);
}

/** Below this nothing would be left of a busy minute. */
const smallestStoreBytes = 1024 ** 2;

function sizeOf(found: Found | undefined, fallback: number): number {
  if (found === undefined) return fallback;
  const { text, as } = found;
  if (/^\d{1,15}$/.test(text) && Number(text) >= smallestStoreBytes) return Number(text);
  throw new MistakeError({
    en: `${as} must be a whole number of bytes, at least ${smallestStoreBytes}, ${JSON.stringify(text)} is not`,
    zh: `${as} 必须是整数字节数，至少为 ${smallestStoreBytes}，而不是 ${JSON.stringify(text)}`,
  });
}

/** Below this a pause of the garbage collector, or a slow disk, would pass for a death. */
const shortestLeaseMs = 1_000;

function leaseTtl(found: Found | undefined): number {
  const ms = duration(found, 15_000);
  if (found === undefined || ms >= shortestLeaseMs) return ms;
  throw new MistakeError({
    en: `${found.as} must be at least ${shortestLeaseMs}, ${ms} is not`,
    zh: `${found.as} 至少为 ${shortestLeaseMs}，而不是 ${ms}`,
  });
}

function keysOf(found: Found | undefined): string[] {
  if (found === undefined) return [];
  const keys = found.text.split(",").map((key) => key.trim());
  if (keys.length <= 2 && keys.every((key) => /^\S{8,512}$/.test(key))) return keys;
  throw new MistakeError({
    en: `${found.as} must be one key of at least 8 characters without spaces, or two with a comma between them`,
    zh: `${found.as} 必须是一个至少 8 个字符且不含空格的密钥，或以逗号分隔的两个密钥`,
  });
}

function webhookOf(url: Found | undefined, secret: Found | undefined): z.input<typeof webhookInput>[] {
  if (url === undefined) return [];
  if (secret === undefined)
    throw new MistakeError({
      en: "OPENWS_WEBHOOK_URL needs OPENWS_WEBHOOK_SECRET: without it a receiver cannot tell who calls",
      zh: "设置 OPENWS_WEBHOOK_URL 时必须同时设置 OPENWS_WEBHOOK_SECRET，否则接收方无法验证来源",
    });
  if (secret.text.length < 16)
    throw new MistakeError({
      en: `${secret.as} must have at least 16 characters`,
      zh: `${secret.as} 至少需要 16 个字符`,
    });
  return [{ url: httpUrl(url)!, secret: secret.text, operational: ["*"] }];
}

function sinksOf(found: Found | undefined): SinkConfig[] {
  return found === undefined ? [] : readSinks(found.text, found.as);
}

function httpUrl(found: Found | undefined): string | undefined {
  if (found === undefined) return undefined;
  const url = URL.parse(found.text);
  if (url !== null && /^https?:$/.test(url.protocol) && url.hostname !== "") return found.text;
  throw new MistakeError({
    en: `${found.as} must be an http or https URL`,
    zh: `${found.as} 必须是 http 或 https 地址`,
  });
}

function yes(found: Found | undefined): boolean {
  if (found === undefined || /^(?:0|false|no)$/i.test(found.text)) return false;
  if (/^(?:1|true|yes)$/i.test(found.text)) return true;
  throw new MistakeError({
    en: `${found.as} must be 1 or 0, ${JSON.stringify(found.text)} is not`,
    zh: `${found.as} 必须是 1 或 0，而不是 ${JSON.stringify(found.text)}`,
  });
}

/** The folder of a path with its last separator; "" where it has none. */
function folderOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1);
}
