/** `openws-gateway trigger`: something happens to a bot. */
import { Api, apiHelp, apiOptions, report, whereOf, type Told } from "./api.ts";
import { readArgs, UsageError, type Command } from "./usage.ts";

const help = `usage: openws-gateway trigger EVENT [options]

Sends an event: enter_chat, template_card_event, feedback_event, auth_change_event, enter_check_update, or any other name;
or kicks the bot as another instance would: kick.

  --data JSON      the object named by the event, such as '{"event_key":"yes","task_id":"t1"}'
  --bot ID         which bot (default: the only one)
  --from USER      who did it (default zhangsan)
  --chat ID        in which group (default: the user's own chat)
  --wait TIME      waits for a finished answer, such as 5s (default 0); exit code 1 without one
  --json           prints everything the gateway knows about it
  --close-after MS for kick: when the old connection is cut, or never
${apiHelp}
`;

export const trigger: Command = async (args, env) => {
  const { values, positionals } = readArgs({
    args,
    options: {
      ...apiOptions,
      data: { type: "string" },
      bot: { type: "string" },
      from: { type: "string" },
      chat: { type: "string" },
      wait: { type: "string" },
      json: { type: "boolean" },
      "close-after": { type: "string" },
    },
    allowPositionals: true,
  });
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  const [event, ...rest] = positionals;
  if (event === undefined || rest.length > 0)
    throw new UsageError("trigger what? One event, such as openws-gateway trigger enter_chat");
  const api = new Api(values, env);
  const data = readData(values.data);
  const bot = encodeURIComponent(await api.bot(values.bot));
  if (event === "kick") {
    const after = values["close-after"];
    const closeAfterMs = after === undefined ? undefined : after === "never" ? after : Number(after);
    await api.call("POST", `/bots/${bot}/kick`, { closeAfterMs });
    return 0;
  }
  const body = { eventtype: event, ...whereOf(values), ...(data === undefined ? {} : { [event]: data }) };
  const told = await api.call("POST", `/bots/${bot}/events?wait=${encodeURIComponent(values.wait ?? "0")}`, body);
  return report(told as Told, values.json ?? false, values.wait !== undefined);
};

const readData = (text: string | undefined): unknown => {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UsageError(`--data must be JSON: ${(error as Error).message}`, { cause: error });
  }
};
