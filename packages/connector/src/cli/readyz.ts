/** `openws-connector readyz`: whether a running connector is ready; a container's health check. */
import type { Sentence } from "../causes.ts";
import { type Environment, address } from "../config.ts";
import { type Command, FailedError, languageOf, print, readArgs } from "./command.ts";

const help: Sentence = {
  en: `usage: openws-connector readyz [--api URL] [--bot ID] [--quiet]

Asks a connector that runs. Exit code 0 when it is ready, 1 when it is not or does not answer.

  --api URL   where its API is; by default where OPENWS_LISTEN says it listens, or http://127.0.0.1:8910
  --bot ID    only this bot
  --quiet     print nothing`,
  zh: `用法：openws-connector readyz [--api URL] [--bot ID] [--quiet]

询问正在运行的连接器。退出码：0 已就绪，1 未就绪或没有应答。

  --api URL   其 API 的地址；默认取 OPENWS_LISTEN，或 http://127.0.0.1:8910
  --bot ID    只问这一个机器人
  --quiet     不输出任何内容`,
};

const timeoutMs = 5_000;

/** Where the connector of this environment serves its API. */
export function apiUrlOf(env: Environment): string {
  const { host, port } = address({ text: env["OPENWS_LISTEN"] || "127.0.0.1:8910", as: "OPENWS_LISTEN" });
  // Every address of the machine is listened on, none of them is called that.
  const name = { "0.0.0.0": "127.0.0.1", "::": "::1" }[host] ?? host;
  return `http://${name.includes(":") ? `[${name}]` : name}:${port}`;
}

interface Answer {
  readonly ready?: boolean;
  readonly standby?: boolean;
  readonly bots?: readonly { readonly id: string; readonly connection: string; readonly reason: Sentence }[];
}

export const readyz: Command = async (args, env) => {
  const options = {
    api: { type: "string" },
    bot: { type: "string" },
    quiet: { type: "boolean" },
    help: { type: "boolean", short: "h" },
  } as const;
  const { values } = readArgs({ args: [...args], options });
  if (values.help === true) {
    print(help[languageOf(env)]);
    return 0;
  }
  const base = values.api ?? apiUrlOf(env);
  const language = languageOf(env);
  const where = values.bot === undefined ? "" : `?bot=${encodeURIComponent(values.bot)}`;
  let response: Response;
  try {
    response = await fetch(`${base.replace(/\/$/, "")}/readyz${where}`, { signal: AbortSignal.timeout(timeoutMs) });
  } catch (cause) {
    throw new FailedError(
      {
        en: `no connector answers at ${base}; start it with openws-connector serve, or say where it is with --api`,
        zh: `${base} 处没有连接器应答；请用 openws-connector serve 启动，或用 --api 指定地址`,
      },
      { cause },
    );
  }
  const { ready, standby, bots = [] } = (await response.json().catch(() => ({}))) as Answer;
  if (values.quiet !== true) {
    if (response.status === 404)
      print({ en: `it runs no bot ${values.bot ?? ""}`, zh: `没有运行机器人 ${values.bot ?? ""}` }[language]);
    else if (standby === true)
      print(
        { en: "ready: it stands by, another replica holds the lines", zh: "就绪：备用中，线路由另一副本持有" }[
          language
        ],
      );
    else if (ready === true) print({ en: "ready", zh: "就绪" }[language]);
    else print({ en: "not ready", zh: "未就绪" }[language]);
    for (const { id, connection, reason } of bots) print(`  ${id} ${connection}: ${reason[language]}`);
  }
  return response.ok && ready !== false ? 0 : 1;
};
