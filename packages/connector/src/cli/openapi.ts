/** `openws-connector openapi`: the description of the API, without starting anything. */
import type { Sentence } from "../causes.ts";
import { describeApi } from "../service/api/app.ts";
import { type Command, languageOf, print, readArgs } from "./command.ts";
import { version } from "./version.ts";

const help: Sentence = {
  en: `usage: openws-connector openapi

Prints the OpenAPI 3.1 document of the API as JSON; a running connector serves it at /openapi.json. Exit code 0.`,
  zh: `用法：openws-connector openapi

以 JSON 输出 API 的 OpenAPI 3.1 文档；正在运行的连接器在 /openapi.json 提供同一文档。退出码 0。`,
};

export const openapi: Command = (args, env) => {
  const { values } = readArgs({ args: [...args], options: { help: { type: "boolean", short: "h" } } });
  print(values.help === true ? help[languageOf(env)] : JSON.stringify(describeApi(version), undefined, 2));
  return Promise.resolve(0);
};
