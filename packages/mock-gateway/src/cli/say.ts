/** `openws-gateway say`: a user says something, and the answer is printed. */
import { Api, apiHelp, apiOptions, report, whereOf, type Told } from "./api.ts";
import { readArgs, UsageError, type Command } from "./usage.ts";

const help = `usage: openws-gateway say TEXT [options]

A user says TEXT to a bot; prints the first finished answer. Exit code 1 without one.

  --bot ID         which bot (default: the only one)
  --from USER      who speaks (default zhangsan)
  --chat ID        in which group (default: the user's own chat)
  --wait TIME      how long to wait for an answer, such as 10s (default 10s; 0 does not wait)
  --json           prints everything the gateway knows about it
${apiHelp}
`;

export const say: Command = async (args, env) => {
  const { values, positionals } = readArgs({
    args,
    options: {
      ...apiOptions,
      bot: { type: "string" },
      from: { type: "string" },
      chat: { type: "string" },
      wait: { type: "string" },
      json: { type: "boolean" },
    },
    allowPositionals: true,
  });
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  if (positionals.length === 0) throw new UsageError('say what? For example: openws-gateway say "hello"');
  const api = new Api(values, env);
  const bot = await api.bot(values.bot);
  const wait = values.wait ?? "10s";
  const body = { ...whereOf(values), msgtype: "text", text: { content: positionals.join(" ") } };
  const told = await api.call(
    "POST",
    `/bots/${encodeURIComponent(bot)}/messages?wait=${encodeURIComponent(wait)}`,
    body,
  );
  return report(told as Told, values.json ?? false, !/^0(ms|s|m|h)?$/.test(wait));
};
