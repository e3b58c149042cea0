/**
 * `openws-connector send`: a message of the bot's own, from a shell.
 *
 * A bot has one line, and who subscribes takes it. So this goes through a connector that runs (`--api`), which has the line
 * already; it subscribes by itself only where it is told that it may (`--allow-kick`).
 */
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { type TemplateCard, explain, maxChunkBytes, minFileBytes } from "@openws/protocol";
import type { AnswerEnd } from "../answer.ts";
import type { Bot, Target } from "../bot.ts";
import type { Sentence } from "../causes.ts";
import { type SettingName, defaultUrl, readConfig, settings } from "../config.ts";
import { FileError, type OpenFile, kindOf } from "../files.ts";
import { nodeMedia } from "../media.ts";
import { MistakeError } from "../mistake.ts";
import { type Reply, reply } from "../reply.ts";
import { type Command, FailedError, languageOf, print, readArgs, tell } from "./command.ts";
import { type Subscribing, withLine } from "./line.ts";
import { progressOn } from "./progress.ts";

const help: Sentence = {
  en: `usage: openws-connector send [TEXT] --to user:ID|chat:ID [what] (--api URL --key KEY | --allow-kick)

Sends a message of the bot's own: a text (Markdown), a file or a card. Exit code 0 when the gateway took it, 1 when it did
not or nobody knows, 2 when the command is wrong.

  --to user:ID       a user by userid; --to chat:ID a group by its chatid, as they came in messages
  --markdown FILE    the text from a file; - is standard input
  --file PATH        a file of 5 bytes to 20 MB, uploaded with its progress on standard error
  --as KIND          as image, voice, video or file; by default what its name and content say
  --card JSON        a template card; @FILE reads it from a file

how
  --api URL          through a connector that runs there, which has the bot's line: http://127.0.0.1:8910
  --key KEY          its API key (OPENWS_API_KEY)
  --bot ID           which of its bots (WECOM_BOT_ID; the only one, where it runs one)
  --allow-kick       by subscribing here, which takes the line from an instance that runs. Needs --bot-id and
                     --bot-secret, or WECOM_BOT_ID and WECOM_BOT_SECRET; --bot-ws-url for another gateway than
                     ${defaultUrl}`,
  zh: `用法：openws-connector send [TEXT] --to user:ID|chat:ID [内容] (--api URL --key KEY | --allow-kick)

发出一条机器人主动发送的消息：文本（Markdown）、文件或卡片。退出码：0 网关已接收，1 未接收或无从得知，2 用法有误。

  --to user:ID       按 userid 发给用户；--to chat:ID 按 chatid 发给群聊，均与消息中所见相同
  --markdown FILE    从文件读取文本；- 表示标准输入
  --file PATH        5 字节至 20 MB 的文件，上传进度写到标准错误
  --as KIND          作为 image、voice、video 或 file 发送；默认由文件名与内容决定
  --card JSON        模板卡片；@FILE 表示从文件读取

方式
  --api URL          经由正在运行、持有机器人线路的连接器：http://127.0.0.1:8910
  --key KEY          其 API 密钥（OPENWS_API_KEY）
  --bot ID           其中哪个机器人（WECOM_BOT_ID；只有一个时即为该机器人）
  --allow-kick       在此订阅，会把正在运行的实例踢下线。需要 --bot-id 与
                     --bot-secret，或 WECOM_BOT_ID 与 WECOM_BOT_SECRET；--bot-ws-url 指定其他网关，默认为
                     ${defaultUrl}`,
};

const kinds = ["image", "voice", "video", "file"] as const;

/** What is to be sent. */
type What =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "card"; readonly card: TemplateCard }
  | { readonly type: "file"; readonly path: string; readonly as: (typeof kinds)[number] | undefined };

/** What came of it: a line for standard output, and whether that is what was wanted. */
interface Came {
  readonly ok: boolean;
  readonly sentence: Sentence;
}

export const send: Command = async (args, env) => {
  const options = {
    to: { type: "string" },
    markdown: { type: "string" },
    file: { type: "string" },
    as: { type: "string" },
    card: { type: "string" },
    api: { type: "string" },
    key: { type: "string" },
    bot: { type: "string" },
    "allow-kick": { type: "boolean" },
    "bot-id": { type: "string" },
    "bot-secret": { type: "string" },
    "bot-secret-file": { type: "string" },
    "bot-ws-url": { type: "string" },
    help: { type: "boolean", short: "h" },
  } as const;
  const { values, positionals } = readArgs({ args: [...args], options, allowPositionals: true });
  if (values.help === true) {
    print(help[languageOf(env)]);
    return 0;
  }
  const to = targetOf(values.to);
  const what = whatOf(positionals.join(" "), values);
  const language = languageOf(env);
  let came: Came;
  if (values.api !== undefined) {
    const key = values.key ?? env["OPENWS_API_KEY"]?.split(",")[0];
    const api = new Api(values.api, key);
    came = await api.send(values.bot ?? (env["WECOM_BOT_ID"] || undefined), to, what, language);
  } else if (values["allow-kick"] === true) {
    const flags: Partial<Record<SettingName, string>> = {};
    for (const name of ["url", "botId", "secret", "secretFile"] as const) {
      const value = values[settings[name].flag];
      if (value !== undefined) flags[name] = value;
    }
    const config = readConfig({ values: flags, echo: false, json: false }, env, (path) => readFileSync(path, "utf8"));
    came = await subscribed({ ...config, env }, to, what, language);
  } else
    throw new MistakeError({
      en: "say how: --api URL goes through a connector that runs; --allow-kick subscribes here and takes the line from an instance that runs",
      zh: "请指定方式：--api URL 经由正在运行的连接器发送；--allow-kick 则在此订阅，会把正在运行的实例踢下线",
    });
  if (!came.ok) throw new FailedError(came.sentence);
  print(came.sentence[language]);
  return 0;
};

function targetOf(to: string | undefined): Target {
  const [, kind, id] = /^(user|chat):(.+)$/.exec(to ?? "") ?? [];
  if (id === undefined)
    throw new MistakeError({
      en: "--to must be user:ID for a user or chat:ID for a group",
      zh: "--to 必须是 user:ID（用户）或 chat:ID（群聊）",
    });
  return kind === "user" ? { userid: id } : { chatid: id };
}

interface Given {
  readonly markdown?: string | undefined;
  readonly file?: string | undefined;
  readonly as?: string | undefined;
  readonly card?: string | undefined;
}

function whatOf(text: string, { markdown, file, as, card }: Given): What {
  const given = [text || undefined, markdown, file, card].filter((each) => each !== undefined);
  if (given.length !== 1)
    throw new MistakeError({
      en: "give one thing to send: a text, --markdown, --file or --card",
      zh: "请给出一项要发送的内容：文本、--markdown、--file 或 --card",
    });
  if (file !== undefined) {
    const kind = kinds.find((each) => each === as);
    if (as !== undefined && kind === undefined)
      throw new MistakeError({
        en: `--as must be one of ${kinds.join(", ")}, ${JSON.stringify(as)} is not`,
        zh: `--as 必须是 ${kinds.join("、")} 之一，而不是 ${JSON.stringify(as)}`,
      });
    return { type: "file", path: file, as: kind };
  }
  if (card !== undefined) return { type: "card", card: cardOf(card.startsWith("@") ? contentOf(card.slice(1)) : card) };
  const words = markdown === undefined ? text : contentOf(markdown);
  if (words.trim() === "") throw new MistakeError({ en: "there is no text to send", zh: "没有可发送的文本" });
  return { type: "text", text: words };
}

function contentOf(path: string): string {
  try {
    return readFileSync(path === "-" ? 0 : path, "utf8");
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "";
    throw new MistakeError({ en: `${path} cannot be read (${code})`, zh: `无法读取 ${path}（${code}）` }, { cause });
  }
}

function cardOf(json: string): TemplateCard {
  try {
    // Which members a card needs, and how long each may be, is said by the encoder.
    const card: unknown = JSON.parse(json);
    if (typeof card === "object" && card !== null && !Array.isArray(card)) return card as TemplateCard;
  } catch {
    // Said below.
  }
  throw new MistakeError({
    en: 'a card must be a JSON object such as {"card_type":"text_notice",…}',
    zh: '卡片必须是 JSON 对象，例如 {"card_type":"text_notice",…}',
  });
}

// ---------------------------------------------------------------------------------------------------------------------
// Through a connector that runs

/** An answer of the API, as far as it is read. */
interface Answer {
  readonly detail?: string;
  readonly bots?: readonly { readonly id: string }[];
  readonly media_id?: string;
  readonly type?: string;
  readonly id?: string;
  readonly state?: string;
  readonly reason?: string;
}

class Api {
  readonly #base: string;
  readonly #key: string | undefined;

  constructor(base: string, key: string | undefined) {
    const url = URL.parse(base);
    if (url === null || (url.protocol !== "http:" && url.protocol !== "https:"))
      throw new MistakeError({
        en: "--api must be an HTTP address such as http://127.0.0.1:8910",
        zh: "--api 必须是 HTTP 地址，例如 http://127.0.0.1:8910",
      });
    this.#base = base.replace(/\/$/, "");
    this.#key = key;
  }

  async send(bot: string | undefined, to: Target, what: What, language: keyof Sentence): Promise<Came> {
    const path = `/v1/bots/${encodeURIComponent(bot ?? (await this.#onlyBot()))}`;
    const message =
      what.type === "text"
        ? { markdown: what.text }
        : what.type === "card"
          ? { template_card: what.card }
          : { media: await this.#upload(path, what, language) };
    const body = JSON.stringify({ to, ...message });
    const { id = "?", state = "accepted", reason } = await this.#call("POST", `${path}/messages?wait=15`, body);
    const why = reason === undefined ? "" : `: ${reason}`;
    if (state === "acked" || state === "fallback") return { ok: true, sentence: delivered };
    if (state === "accepted" || state === "sent")
      return {
        ok: true,
        sentence: {
          en: `stored as ${id}, and sent as soon as the line allows; GET /v1/messages/${id} says what became of it`,
          zh: `已存储为 ${id}，线路可用后立即发送；可用 GET /v1/messages/${id} 查询结果`,
        },
      };
    return { ok: false, sentence: { en: `not sent (${state})${why}`, zh: `未送达（${state}）${why}` } };
  }

  async #onlyBot(): Promise<string> {
    const { bots = [] } = await this.#call("GET", "/v1/bots");
    const [only, second] = bots;
    if (only !== undefined && second === undefined) return only.id;
    throw new MistakeError({
      en: `that connector runs ${bots.length} bots; say which with --bot ID`,
      zh: `该连接器运行着 ${bots.length} 个机器人，请用 --bot ID 指定`,
    });
  }

  async #upload(path: string, { path: source, as }: Extract<What, { type: "file" }>, language: keyof Sentence) {
    const file = await opened(source);
    try {
      const guessed = kindOf(file.name, file.head);
      const kind = as ?? guessed.kind;
      const progress = progressOn(process.stderr, file.name, language);
      const bytes = async function* () {
        for (let at = 0; at < file.sizeBytes; at += maxChunkBytes) {
          progress.show(at, file.sizeBytes);
          yield Buffer.from(await file.base64(at, Math.min(at + maxChunkBytes, file.sizeBytes)), "base64");
        }
      };
      const query = new URLSearchParams({ filename: guessed.name, ...(kind === undefined ? {} : { type: kind }) });
      const uploaded = await this.#call(
        "POST",
        `${path}/media?${query.toString()}`,
        ReadableStream.from(bytes()),
      ).finally(() => progress.end());
      progress.show(file.sizeBytes, file.sizeBytes);
      progress.end();
      return { kind: uploaded.type ?? "file", media_id: uploaded.media_id };
    } finally {
      await file.close();
    }
  }

  async #call(method: string, path: string, body?: string | ReadableStream): Promise<Answer> {
    const type = typeof body === "string" ? "application/json" : "application/octet-stream";
    let response: Response;
    try {
      response = await fetch(`${this.#base}${path}`, {
        method,
        headers: {
          ...(this.#key === undefined ? {} : { authorization: `Bearer ${this.#key}` }),
          ...(body === undefined ? {} : { "content-type": type }),
        },
        ...(body === undefined ? {} : { body, duplex: "half" as const }),
      });
    } catch (error) {
      // A body that cannot be read says so itself.
      const { cause } = error as Error;
      if (cause instanceof Error && "sentence" in cause) throw cause;
      throw new FailedError(
        {
          en: `no connector answers at ${this.#base}; start one with openws-connector serve, or correct --api`,
          zh: `${this.#base} 处没有连接器应答；请用 openws-connector serve 启动，或更正 --api`,
        },
        { cause },
      );
    }
    const answer = (await response.json().catch(() => ({}))) as Answer;
    if (response.ok) return answer;
    if (response.status === 401 || response.status === 403)
      throw new FailedError({
        en: "the connector refused the key; give the one it printed at its start, with --key or OPENWS_API_KEY",
        zh: "连接器拒绝了该密钥；请用 --key 或 OPENWS_API_KEY 提供其启动时打印的密钥",
      });
    const detail = answer.detail ?? `status ${response.status}`;
    throw new FailedError({ en: `the connector refused it: ${detail}`, zh: `连接器拒绝了请求：${detail}` });
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// By a subscription of its own

async function subscribed(line: Subscribing, to: Target, what: What, language: keyof Sentence): Promise<Came> {
  // The line is not taken from anybody for a file that cannot go.
  if (what.type === "file") await (await opened(what.path)).close();
  return withLine(line, async (bot) =>
    bot.state.subscribed
      ? cameOf(await bot.push(to, await messageOf(what, bot, language)))
      : { ok: false, sentence: bot.state.reason },
  );
}

/** Opens a file. Rejects with `FileError` for one that no gateway takes. */
async function opened(path: string): Promise<OpenFile> {
  const file = await nodeMedia().open(path, undefined);
  if (file.sizeBytes >= minFileBytes) return file;
  await file.close();
  const bytes = file.sizeBytes;
  throw new FileError("file-too-small", {
    en: `${file.name} has ${bytes} bytes, WeCom takes no file of fewer than ${minFileBytes}; is it the right one?`,
    zh: `${file.name} 只有 ${bytes} 字节，企业微信不接受小于 ${minFileBytes} 字节的文件，请检查文件是否正确`,
  });
}

async function messageOf(what: What, bot: Pick<Bot, "upload">, language: keyof Sentence): Promise<Reply> {
  if (what.type === "text") return reply.markdown(what.text);
  if (what.type === "card") return reply.card(what.card);
  const progress = progressOn(process.stderr, basename(what.path), language);
  const { kind, mediaId, notices } = await bot
    .upload(what.path, { onProgress: progress.show, ...(what.as === undefined ? {} : { kind: what.as }) })
    .finally(() => progress.end());
  for (const notice of notices) tell(notice);
  return reply.raw({ msgtype: kind, [kind]: { media_id: mediaId } });
}

const delivered: Sentence = { en: "delivered", zh: "已送达" };

function cameOf(end: AnswerEnd): Came {
  if (end.type === "delivered") return { ok: true, sentence: delivered };
  if (end.type === "unknown")
    return {
      ok: false,
      sentence: {
        en: `whether it arrived is unknown: ${end.why}; look before you send it again`,
        zh: "网关未确认，是否送达未知；重发前请先查看对方是否已收到",
      },
    };
  if (end.errcode === undefined)
    return {
      ok: false,
      sentence: { en: `not sent: ${end.why}`, zh: `未送达：没有可用连接，或连接已中断，请重试（${end.why}）` },
    };
  const { meaning, advice } = explain(end.errcode);
  return {
    ok: false,
    sentence: {
      en: `not sent: ${end.why}: ${meaning.en} ${advice.en}`,
      zh: `未送达，网关返回 ${end.errcode}：${meaning.zh}${advice.zh}`,
    },
  };
}
