/** `openws-gateway clock`: what time it is in the world, and moving it. */
import { durationMs } from "../duration.ts";
import { Api, apiHelp, apiOptions } from "./api.ts";
import { readArgs, UsageError, type Command } from "./usage.ts";

const help = `usage: openws-gateway clock                          prints the world clock
       openws-gateway clock advance TIME [--transport]  moves it on, such as 10m, 24h, 90s

Windows, stream lives, quotas, uploads and media follow the world clock; connections stay. With --transport the idle
time-outs, acks and closes that fall due in between happen, too.

${apiHelp}
`;

export const clock: Command = async (args, env) => {
  const { values, positionals } = readArgs({
    args,
    options: { ...apiOptions, transport: { type: "boolean" } },
    allowPositionals: true,
  });
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  const api = new Api(values, env);
  const [word, time, ...rest] = positionals;
  if (word !== undefined && (word !== "advance" || time === undefined || rest.length > 0))
    throw new UsageError("clock takes nothing, or advance and a time such as 10m");
  const ms = time === undefined ? undefined : durationMs(time);
  if (Number.isNaN(ms)) throw new UsageError(`"${String(time)}" is no time: it must look like 250, 90s, 10m or 24h`);
  const answer = await (ms === undefined
    ? api.call("GET", "/clock")
    : api.call("POST", "/clock/advance", { ms, ...(values.transport ? { transport: true } : {}) }));
  const { now, offsetMs } = answer as { now: number; offsetMs: number };
  process.stdout.write(`${new Date(now).toISOString()} (${offsetMs} ms ahead)\n`);
  return 0;
};
