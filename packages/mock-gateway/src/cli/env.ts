/** `openws-gateway env`: the settings that point a bot at the gateway, for a shell to read. */
import { readArgs, UsageError, type Command } from "./usage.ts";

const help = `usage: openws-gateway env [options]

Prints the settings that point a bot at the gateway: eval "$(openws-gateway env)"

  --shell NAME       bash (default), fish, pwsh or dotenv
  --listen HOST:PORT where the gateway listens (default 127.0.0.1:8900; OPENWS_GATEWAY_LISTEN)
  --bot ID:SECRET    the bot (default my-bot:any-secret)
  --tls              a gateway with --tls: wss://
  --aliases          also the names that other clients read
  --help
`;

const forms: Partial<Record<string, (name: string, value: string) => string>> = {
  bash: (name, value) => `export ${name}=${quoted(value)}`,
  fish: (name, value) => `set -gx ${name} ${quoted(value)}`,
  pwsh: (name, value) => `$env:${name} = '${value.replaceAll("'", "''")}'`,
  dotenv: (name, value) => `${name}="${value.replaceAll('"', '\\"')}"`,
};

/** The names under which clients in the field read the same three settings. */
const aliases = {
  WECOM_BOT_ID: ["WECHAT_BOT_ID", "WECOM_AIBOT_BOT_ID", "IM_WECOM_BOT_ID"],
  WECOM_BOT_SECRET: ["WECOM_SECRET", "WECHAT_BOT_SECRET", "WECOM_AIBOT_SECRET", "IM_WECOM_SECRET"],
  WECOM_BOT_WS_URL: ["WECOM_WEBSOCKET_URL", "WECOM_AIBOT_WS_URL"],
};

export const env: Command = async (args, environment) => {
  const { values, positionals } = readArgs({
    args,
    options: {
      shell: { type: "string" },
      listen: { type: "string" },
      bot: { type: "string" },
      tls: { type: "boolean" },
      aliases: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
    allowPositionals: true,
  });
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  if (positionals.length > 0) throw new UsageError("env takes options only");
  const form = forms[values.shell ?? "bash"];
  if (!form) throw new UsageError(`--shell must be one of ${Object.keys(forms).join(", ")}`);
  const [id, secret] = (values.bot ?? "my-bot:any-secret").split(":");
  if (!id || !secret) throw new UsageError("--bot must be ID:SECRET");
  const listen = values.listen ?? environment["OPENWS_GATEWAY_LISTEN"] ?? "127.0.0.1:8900";
  const settings = {
    WECOM_BOT_ID: id,
    WECOM_BOT_SECRET: secret,
    WECOM_BOT_WS_URL: `${values.tls ? "wss" : "ws"}://${listen}`,
  };
  for (const [name, value] of Object.entries(settings)) {
    const names = values.aliases ? [name, ...aliases[name as keyof typeof aliases]] : [name];
    for (const one of names) process.stdout.write(`${form(one, value)}\n`);
  }
  return 0;
};

const quoted = (value: string): string =>
  /^[\w@%+=:,./-]+$/.test(value) ? value : `'${value.replaceAll("'", "'\\''")}'`;
