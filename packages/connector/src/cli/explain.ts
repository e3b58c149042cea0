/** `openws-connector explain CODE [ERRMSG]`: what an errcode means, why it comes, what to do. */
import { explain as lookUp } from "@openws/protocol";
import type { Sentence } from "../causes.ts";
import { MistakeError } from "../mistake.ts";
import { type Command, languageOf, print, readArgs } from "./command.ts";

const help: Sentence = {
  en: `usage: openws-connector explain CODE [ERRMSG] [--json]

What an errcode of the gateway means, why it comes and what to do, in Chinese where LANG is zh_*. The errmsg helps with
the codes that changed their meaning.

Exit code 0 for a code that is known, 1 for one that is in no list.`,
  zh: `用法：openws-connector explain CODE [ERRMSG] [--json]

说明网关错误码的含义、原因与处理办法；LANG 为 zh_* 时用中文。对含义曾有变化的错误码，给出 errmsg 有助于判断。

退出码：0 已知的错误码，1 任何列表中都没有的错误码。`,
};

const labels: Readonly<Record<"meaning" | "cause" | "advice", Sentence>> = {
  meaning: { en: "means", zh: "含义" },
  cause: { en: "why", zh: "原因" },
  advice: { en: "do", zh: "处理" },
};

export const explain: Command = async (args, env) => {
  const options = { json: { type: "boolean" }, help: { type: "boolean", short: "h" } } as const;
  // A code may be negative, which would read as an option.
  const spelt = args.map((arg) => (/^-\d+$/.test(arg) ? `code:${arg}` : arg));
  const { values, positionals } = readArgs({ args: spelt, options, allowPositionals: true });
  if (values.help === true) {
    print(help[languageOf(env)]);
    return 0;
  }
  const [code = "", ...errmsg] = positionals;
  const errcode = Number(code.replace(/^code:/, ""));
  if (code === "" || !Number.isSafeInteger(errcode))
    throw new MistakeError({
      en: "explain takes an errcode, a whole number such as 846609",
      zh: "explain 需要一个错误码，例如 846609",
    });
  const known = lookUp(errcode, errmsg.length === 0 ? undefined : errmsg.join(" "));
  if (values.json === true) print(JSON.stringify(known));
  else {
    const language = languageOf(env);
    print(`${errcode} ${known.name}`);
    for (const member of ["meaning", "cause", "advice"] as const)
      print(`  ${`${labels[member][language]}:`.padEnd(language === "en" ? 7 : 4)} ${known[member][language]}`);
  }
  return known.known ? 0 : 1;
};
