/** `openws-gateway readyz`: whether a gateway answers; a container's health check. */
import { Api, apiHelp, apiOptions } from "./api.ts";
import { readArgs, type Command } from "./usage.ts";

const help = `usage: openws-gateway readyz [options]

Exit code 0 when the gateway answers, 1 when it does not.

${apiHelp}
`;

export const readyz: Command = async (args, env) => {
  const { values } = readArgs({ args, options: apiOptions });
  if (values.help) process.stdout.write(help);
  else await new Api(values, env).call("GET", "//readyz");
  return 0;
};
