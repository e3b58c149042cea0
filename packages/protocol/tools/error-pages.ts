/**
 * Writes docs/errors.md and docs/errors.zh-CN.md from the table of errcodes:
 *
 *     node packages/protocol/tools/error-pages.ts
 *
 * The pages hold nothing the table does not, apart from the words below; a test fails when they are not current.
 */
import { writeFileSync } from "node:fs";
import { errcodes } from "../src/errors.ts";
import type { Confidence, ErrcodeClass, ErrcodeEntry, ErrcodePlace } from "../src/errors.ts";

type Language = "en" | "zh";

/** Each page by its path from the repository's root. */
export const errorPages: Readonly<Record<string, Language>> = {
  "docs/errors.md": "en",
  "docs/errors.zh-CN.md": "zh",
};

/** The whole page in one language, as Markdown. */
export function errorPage(language: Language): string {
  const words = vocabulary[language];
  const entries = errcodes.toSorted((a, b) => Math.abs(a.errcode) - Math.abs(b.errcode));
  return `${words.introduction}
## ${words.overview}

| errcode | ${words.meaning} | ${words.action} |
| ---: | --- | --- |
${entries.map((entry) => row(entry, language)).join("\n")}

## ${words.classes}

${(Object.keys(words.actions) as ErrcodeClass[]).map((name) => policy(name, language)).join("\n")}

## ${words.details}

${entries.map((entry) => section(entry, language)).join("\n\n")}
`;
}

function row(entry: ErrcodeEntry, language: Language): string {
  const { label } = vocabulary[language].actions[entry.class];
  return `| [${entry.errcode}](#${entry.name}) | ${entry.meaning[language]} | ${label} |`;
}

function policy(name: ErrcodeClass, language: Language): string {
  const { actions, colon } = vocabulary[language];
  return `- **${actions[name].label}** (\`${name}\`)${colon}${actions[name].does}`;
}

function section(entry: ErrcodeEntry, language: Language): string {
  const words = vocabulary[language];
  const { actions, separator, colon } = words;
  const quoted = entry.errmsg.map((start) => `\`${start}\``).join(separator);
  const places = entry.seenOn.map((place) => words.places[place]).join(separator);
  const line = (label: string, text: string): string => `- **${label}**${colon}${text}`;
  return [
    `<a id="${entry.name}"></a>`,
    "",
    `### ${entry.errcode} · ${entry.name}`,
    "",
    entry.meaning[language],
    "",
    ...(quoted === "" ? [] : [line("errmsg", quoted)]),
    line(words.cause, entry.cause[language]),
    line(words.advice, entry.advice[language]),
    line(words.class, `${actions[entry.class].label}${words.waits(entry)}`),
    line(words.seenOn, places === "" ? words.nowhere : places),
    line(words.basis, `${words.confidence[entry.confidence]}${words.basisSeparator}${entry.source}`),
  ].join("\n");
}

interface Vocabulary {
  readonly introduction: string;
  readonly overview: string;
  readonly classes: string;
  readonly details: string;
  readonly meaning: string;
  readonly action: string;
  readonly cause: string;
  readonly advice: string;
  readonly class: string;
  readonly seenOn: string;
  readonly nowhere: string;
  readonly basis: string;
  readonly separator: string;
  readonly basisSeparator: string;
  readonly colon: string;
  readonly actions: Readonly<Record<ErrcodeClass, { readonly label: string; readonly does: string }>>;
  readonly places: Readonly<Record<ErrcodePlace, string>>;
  readonly confidence: Readonly<Record<Confidence, string>>;
  /** The suffix about waiting and repeating; empty for most classes. */
  readonly waits: (entry: ErrcodeEntry) => string;
}

const english: Vocabulary = {
  introduction: `# Error codes

What the errcode of an acknowledgement means, why it usually comes, and what to do. The gateway's list of codes is not public: this page has what documents name and what was observed, and says of each which of the two it is. A code that is not here is not known to us; look at its errmsg.

An errmsg often ends with \`, hint: […], from ip: …, more info at …\`. Only the part before it says what happened. Keep the hint for a question to WeCom, and out of places where others read: it comes with the address of your host.

In code: \`explain(846609)\` from \`@openws/protocol\`.

Chinese: [errors.zh-CN.md](errors.zh-CN.md). This page is generated from \`packages/protocol/src/errcodes.ts\`.
`,
  overview: "All codes",
  classes: "What a client does",
  details: "Each code",
  meaning: "Meaning",
  action: "The client",
  cause: "Usual cause",
  advice: "What to do",
  class: "What a client does",
  seenOn: "Seen on",
  nowhere: "nothing yet, on this connection",
  basis: "Known from",
  separator: ", ",
  basisSeparator: ": ",
  colon: ": ",
  actions: {
    success: { label: "goes on", does: "The frame was accepted." },
    credentials: {
      label: "stops",
      does: "The bot's identity is refused. The socket is closed and the connection stops; on a reply or a push the frame has failed.",
    },
    throttled: {
      label: "waits, then slows down",
      does: "Too much, too fast. Nothing of that kind is sent for the time given, then less often.",
    },
    retry: {
      label: "repeats",
      does: "Transient. The same frame is sent again after the wait given, which doubles each time.",
    },
    reconnect: {
      label: "reconnects once",
      does: "The socket has no live subscription. One controlled reconnect; what was refused is pushed afterwards.",
    },
    fallback: {
      label: "pushes instead",
      does: "This way to the user is closed. What is left goes out as a push (`aibot_send_msg`, Markdown).",
    },
    permanent: { label: "gives up", does: "The frame is wrong or not allowed. It is never repeated unchanged." },
    unknown: {
      label: "tries once more",
      does: "Nobody knows what the code means. A refresh of a stream is dropped; what must arrive is repeated once, then pushed.",
    },
  },
  places: {
    "any command": "any command",
    subscribe: "subscribe",
    reply: "replies",
    push: "pushes",
    card: "cards",
    upload: "uploads",
    mcp: "MCP tools",
    documents: "document tools",
    http: "WeCom over HTTP",
  },
  confidence: { D: "Documented", S: "Observed by several", O: "Observed once", G: "A guess" },
  waits: ({ retryAfterMs, repeats }) => {
    if (retryAfterMs === undefined) return "";
    const wait = `after ${retryAfterMs / 1000} s`;
    return repeats === undefined ? `, ${wait} at the earliest` : `, first ${wait}, at most ${repeats} times`;
  },
};

const chinese: Vocabulary = {
  introduction: `# 错误码

应答帧中 errcode 的含义、常见原因和处理办法。网关并未公开完整的错误码列表：本页收录官方文档提到的和实际观测到的错误码，并逐条注明依据。未收录的错误码，其含义我们也不清楚，请以 errmsg 为准。

errmsg 末尾常带有 \`, hint: […], from ip: …, more info at …\`，只有它之前的部分说明了发生了什么。hint 可在咨询企业微信时提供，但其中附有本机的 IP 地址，请勿公开。

在代码中可以使用 \`@openws/protocol\` 的 \`explain(846609)\`。

English: [errors.md](errors.md)。本页由 \`packages/protocol/src/errcodes.ts\` 生成。
`,
  overview: "错误码一览",
  classes: "客户端的处理方式",
  details: "逐条说明",
  meaning: "含义",
  action: "客户端",
  cause: "常见原因",
  advice: "处理办法",
  class: "客户端的处理",
  seenOn: "出现场景",
  nowhere: "长连接上尚未见过",
  basis: "依据",
  separator: "、",
  basisSeparator: "：",
  colon: "：",
  actions: {
    success: { label: "继续", does: "该帧已被接受。" },
    credentials: {
      label: "停止",
      does: "机器人身份校验未通过。关闭连接并停止；若出现在回复或推送上，则该帧发送失败。",
    },
    throttled: { label: "等待后放慢", does: "发送过快或过多。在给定时间内不再发送同类帧，之后降低频率。" },
    retry: { label: "重试", does: "短暂故障。按给定间隔重发同一帧，间隔逐次加倍。" },
    reconnect: {
      label: "重连一次",
      does: "当前连接没有有效订阅。按退避策略重连一次，被拒绝的内容随后以主动推送补发。",
    },
    fallback: {
      label: "改为主动推送",
      does: "该回复途径已关闭。剩余内容改用主动推送（`aibot_send_msg`，Markdown）发送。",
    },
    permanent: { label: "放弃", does: "该帧本身有误或不被允许，不会原样重发。" },
    unknown: {
      label: "再试一次",
      does: "含义未知。流式消息的中间刷新会被丢弃；必须送达的内容重试一次，仍失败则改为主动推送。",
    },
  },
  places: {
    "any command": "任意命令",
    subscribe: "订阅",
    reply: "回复",
    push: "主动推送",
    card: "模板卡片",
    upload: "上传素材",
    mcp: "MCP 工具",
    documents: "文档工具",
    http: "企业微信 HTTP 接口",
  },
  confidence: { D: "官方文档", S: "多方独立观测", O: "单次观测", G: "推测" },
  waits: ({ retryAfterMs, repeats }) => {
    if (retryAfterMs === undefined) return "";
    const wait = `${retryAfterMs / 1000} 秒`;
    return repeats === undefined ? `，至少等待 ${wait}` : `，首次间隔 ${wait}，最多 ${repeats} 次`;
  },
};

const vocabulary: Readonly<Record<Language, Vocabulary>> = { en: english, zh: chinese };

if (import.meta.main) {
  const root = new URL("../../../", import.meta.url);
  for (const [path, language] of Object.entries(errorPages)) writeFileSync(new URL(path, root), errorPage(language));
}
