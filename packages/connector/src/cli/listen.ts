/**
 * `openws-connector listen --forward-to URL`: gives what a running connector receives to a program on this machine, as its
 * webhook would, without a second subscription. What that program answers goes back as the bot's answer.
 *
 * Decides what is forwarded and shown. Signing is service/signature.ts's, reading answers service/inline.ts's.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { EventSourceParserStream } from "eventsource-parser/stream";
import { type CloudEvent, type Envelope, envelopeOf } from "../service/envelope.ts";
import { readInline } from "../service/inline.ts";
import { nodePost } from "../service/post.node.ts";
import { signatures } from "../service/signature.ts";
import type { Entry } from "../service/store.ts";
import { MistakeError } from "../mistake.ts";
import type { Sentence } from "../causes.ts";
import { type Command, FailedError, print, readArgs, tell, languageOf } from "./command.ts";
import { apiUrlOf } from "./readyz.ts";

const help: Sentence = {
  en: `usage: openws-connector listen --forward-to URL [--api URL] [--key KEY] [--bot ID] [--after CURSOR]

Gives what a running connector receives to a program on this machine, as its webhook would: a line for each delivery.
What the program answers in its response goes back as the bot's answer. It is a copy: other webhooks get theirs.

  --forward-to URL  where the program listens, such as http://127.0.0.1:9000/webhook
  --api URL         the connector; by default where OPENWS_LISTEN says, or http://127.0.0.1:8910
  --key KEY         its API key (OPENWS_API_KEY); one that may only read will do where nothing is answered
  --bot ID          only this bot
  --after CURSOR    from there on; by default only what comes from now on
  --secret SECRET   signs the deliveries (OPENWS_WEBHOOK_SECRET; otherwise one is made and printed)
  --no-reply        forward only: what the program answers is shown and not sent

Ends with Ctrl-C. A connection that breaks goes on where it was.`,
  zh: `用法：openws-connector listen --forward-to URL [--api URL] [--key KEY] [--bot ID] [--after CURSOR]

把正在运行的连接器收到的消息交给本机的程序，与其网络钩子的投递相同：每次投递输出一行。
程序在响应中给出的回答会作为机器人的回答发出。这是一份副本：其他网络钩子照常收到自己的投递。

  --forward-to URL  程序监听的地址，例如 http://127.0.0.1:9000/webhook
  --api URL         连接器的地址；默认取 OPENWS_LISTEN，或 http://127.0.0.1:8910
  --key KEY         其 API 密钥（OPENWS_API_KEY）；若不回答，只读密钥即可
  --bot ID          只取这一个机器人
  --after CURSOR    从该位置起；默认只取此后到来的消息
  --secret SECRET   为投递签名（OPENWS_WEBHOOK_SECRET；未给出时自动生成并输出）
  --no-reply        只转发：程序的回答只显示，不发出

按 Ctrl-C 结束。连接中断后从断开处继续。`,
};

const retryMs = 2_000;
/** A model may take its time to begin. */
const timeoutMs = 60_000;

export const listen: Command = async (args, env) => {
  const options = {
    "forward-to": { type: "string" },
    api: { type: "string" },
    key: { type: "string" },
    bot: { type: "string" },
    after: { type: "string" },
    secret: { type: "string" },
    "no-reply": { type: "boolean" },
    help: { type: "boolean", short: "h" },
  } as const;
  const { values } = readArgs({ args: [...args], options });
  if (values.help === true) {
    print(help[languageOf(env)]);
    return 0;
  }
  const target = URL.parse(values["forward-to"] ?? "");
  if (target === null || !/^https?:$/.test(target.protocol))
    throw new MistakeError({
      en: "say where to with --forward-to URL, such as http://127.0.0.1:9000/webhook",
      zh: "请用 --forward-to URL 指定转发地址，例如 http://127.0.0.1:9000/webhook",
    });
  const key = values.key ?? env["OPENWS_API_KEY"]?.split(",")[0];
  if (key === undefined || key === "")
    throw new MistakeError({
      en: "the connector asks for its API key: --key KEY or OPENWS_API_KEY",
      zh: "连接器需要 API 密钥：请用 --key KEY 或设置 OPENWS_API_KEY",
    });
  const api = (values.api ?? apiUrlOf(env)).replace(/\/$/, "");
  const secret = values.secret ?? env["OPENWS_WEBHOOK_SECRET"] ?? `whsec_${btoa(crypto.randomUUID())}`;
  if (values.secret === undefined && env["OPENWS_WEBHOOK_SECRET"] === undefined)
    tell(`Your webhook signing secret is ${secret}`);

  const ending = new AbortController();
  const stop = (): void => ending.abort();
  process.once("SIGINT", stop);
  process.once("SIGTERM", stop);
  const { post, close } = nodePost(env);
  const tap = new Tap({ api, key, target: target.href, secret, reply: values["no-reply"] !== true, post });
  try {
    await tap.run(values.after, values.bot, ending.signal);
  } finally {
    close();
  }
  return 0;
};

interface TapOptions {
  readonly api: string;
  readonly key: string;
  readonly target: string;
  readonly secret: string;
  readonly reply: boolean;
  readonly post: ReturnType<typeof nodePost>["post"];
}

class Tap {
  readonly #options: TapOptions;
  /** One chat's deliveries go one after the other, as the connector's own do. */
  readonly #lanes = new Map<string, Promise<void>>();

  constructor(options: TapOptions) {
    this.#options = options;
  }

  async run(after: string | undefined, bot: string | undefined, signal: AbortSignal): Promise<void> {
    let cursor = after;
    for (let connected = false; !signal.aborted;) {
      const query = new URLSearchParams({ ...(cursor === undefined ? {} : { after: cursor }), ...(bot && { bot }) });
      try {
        const response = await this.#ask("GET", `/v1/events/stream?${query.toString()}`, undefined, signal);
        if (response.status === 401 || response.status === 403)
          throw new FailedError({
            en: `${this.#options.api} does not take the key: give one of its OPENWS_API_KEY`,
            zh: `${this.#options.api} 不接受该密钥：请提供其 OPENWS_API_KEY 之一`,
          });
        if (!response.ok || response.body === null) throw new Error(`status ${response.status}`);
        if (!connected) tell(`Ready: ${this.#options.api} → ${this.#options.target}`);
        connected = true;
        const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
        for await (const { id, data } of events) {
          const event = data === "" ? undefined : (JSON.parse(data) as CloudEvent);
          // What happens to a bot is for webhooks that ask for it.
          if (event !== undefined && event.type !== "openws.bot.v1") this.#queue(event);
          if (id !== undefined) cursor = id;
        }
      } catch (error) {
        if (error instanceof FailedError) throw error;
        if (signal.aborted) return;
        if (!connected)
          throw new FailedError(
            {
              en: `no connector answers at ${this.#options.api}; start it with openws-connector serve, or say where it is with --api`,
              zh: `${this.#options.api} 处没有连接器应答；请用 openws-connector serve 启动，或用 --api 指定地址`,
            },
            { cause: error },
          );
      }
      if (signal.aborted) return;
      tell(`the connection to ${this.#options.api} broke; going on in ${retryMs / 1000} s`);
      await sleep(retryMs, undefined, { signal }).catch(() => undefined);
    }
  }

  #queue(event: CloudEvent): void {
    const { bot, chat } = event.data as { bot: string; chat?: { id: string; type: string } };
    const lane = `${bot} ${chat?.type ?? ""} ${chat?.id ?? ""}`;
    const before = this.#lanes.get(lane) ?? Promise.resolve();
    const forwarding = before.then(() => this.#forward(event));
    this.#lanes.set(lane, forwarding);
    void forwarding.then(() => {
      if (this.#lanes.get(lane) === forwarding) this.#lanes.delete(lane);
    });
  }

  async #forward(event: CloudEvent): Promise<void> {
    const envelope = envelopeFrom(event);
    const body = JSON.stringify(envelope);
    const began = performance.now();
    const line = (what: string): void => {
      const time = new Date().toTimeString().slice(0, 8);
      const { kind } = event.data as { kind: string };
      print(
        `${time} [${what}] ${kind} ${event.id} from ${envelope.fromUser || "-"} (${Math.round(performance.now() - began)} ms)`,
      );
    };
    try {
      const headers = await signatures([this.#options.secret], {
        id: envelope.msgId,
        timestamp: Math.floor(Date.now() / 1000),
        body,
      });
      const traced = event.traceparent === undefined ? {} : { traceparent: event.traceparent };
      const answer = await this.#options.post({
        url: this.#options.target,
        headers: { "content-type": "application/json", ...traced, ...headers },
        body,
        timeoutMs,
        allowPrivate: true,
      });
      line(String(answer.status));
      if (answer.status < 200 || answer.status >= 300) return answer.discard();
      const said = await readInline(answer);
      if (said.type === "unreadable") tell(`  ${said.why}`);
      else if (said.type === "reply") await this.#reply(event.id, said.message);
      else if (said.type === "stream") await this.#stream(event.id, said.deltas);
    } catch (error) {
      line((error as Error).message);
    }
  }

  async #reply(id: string, message: unknown): Promise<void> {
    if (!this.#options.reply) return tell(`  not sent: ${JSON.stringify(message)}`);
    await this.#sent(await this.#ask("POST", `/v1/messages/${id}/reply`, message));
  }

  async #stream(id: string, deltas: AsyncIterable<string>): Promise<void> {
    let path: string | undefined;
    for await (const append of deltas) {
      if (!this.#options.reply) {
        tell(`  not sent: ${append}`);
        continue;
      }
      if (path === undefined) {
        const opened = await this.#ask("POST", `/v1/messages/${id}/streams`);
        if (!(await this.#sent(opened.clone()))) return;
        path = `/v1/streams/${((await opened.json()) as { stream: string }).stream}`;
      }
      await this.#ask("PATCH", path, { append });
    }
    if (path !== undefined) await this.#sent(await this.#ask("POST", `${path}/finish`, {}));
  }

  async #sent(response: Response): Promise<boolean> {
    if (response.ok) return true;
    const { detail } = (await response.json().catch(() => ({}))) as { detail?: string };
    tell(`  the answer was not taken: ${detail ?? `status ${response.status}`}`);
    return false;
  }

  #ask(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
    return fetch(`${this.#options.api}${path}`, {
      method,
      headers: { authorization: `Bearer ${this.#options.key}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    });
  }
}

/** The body that the connector's own webhook would have sent: the event holds all that it is made of. */
function envelopeFrom(event: CloudEvent): Envelope {
  const {
    bot,
    direction,
    kind,
    chat,
    from,
    msgid,
    text = "",
    files = [],
    body,
  } = event.data as {
    bot: string;
    direction: Entry["direction"];
    kind: string;
    chat?: Entry["chat"];
    from?: string;
    msgid?: string;
    text?: string;
    files?: Parameters<typeof envelopeOf>[1]["files"];
    body: unknown;
  };
  const at = Date.parse(event.time);
  const entry: Entry = {
    seq: Number(event.id.slice("msg_".length)),
    bot,
    direction,
    kind,
    event: event.type === "openws.event.v1",
    chat,
    user: from,
    msgid,
    state: "received",
    at,
    changedAt: at,
    body,
    traceparent: event.traceparent,
  };
  return envelopeOf(entry, { text, files });
}
