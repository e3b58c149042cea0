/** `openws-connector openapi`: the description of the API, without starting anything. */
import { describeApi } from "../service/api/app.ts";
import { type Command, print, readArgs } from "./command.ts";
import { version } from "./version.ts";

const help = `usage: openws-connector openapi

Prints the OpenAPI 3.1 document of the API as JSON; a running connector serves it at /openapi.json.`;

export const openapi: Command = (args) => {
  const { values } = readArgs({ args: [...args], options: { help: { type: "boolean", short: "h" } } });
  print(values.help === true ? help : JSON.stringify(describeApi(version), undefined, 2));
  return Promise.resolve(0);
};
