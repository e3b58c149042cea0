/**
 * `openws-conformance serve`: attach a client by hand. The gateway stays up, speaks to what connects when it is told to, and
 * judges by the rules of oracle.ts until Ctrl-C.
 *
 * Exit codes: 0 every rule was kept · 1 one that is a MUST was not (or with --strict a SHOULD) · 2 usage · 3 nothing connected.
 */
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { startGateway } from "@openws/mock-gateway";
import { lanes } from "../check.ts";
import { suiteVersion, UsageError } from "../main.ts";
import { judgeLog, lineOf } from "../oracle.ts";
import { exitCode, pretty, reportOf } from "../report.ts";
import { botName } from "../stage.ts";
import { Wire } from "../wire.ts";

/** Shown by `serve --help`. */
export const serveHelp = `openws-conformance serve: attach a client by hand, and have what it does judged

Usage: openws-conformance serve [--listen HOST:PORT] [--lane scaled|real] [--say TEXT] [--strict]

Prints the three settings of a client, waits for it, and judges whatever it does by the rules that hold at any time, until
Ctrl-C: then comes the report. Each line on standard input is said to the bot by a user; !kick, !reset and !half-open do that.

  --listen HOST:PORT  where (default 127.0.0.1:0, any free port)
  --lane LANE         by whose durations rules about time are judged: real (the default here) or scaled
  --say TEXT          said to the bot each time it has subscribed
  --strict            a broken SHOULD counts, too

Exit codes: 0 every rule was kept, 1 not, 2 wrong usage, 3 nothing connected.
`;

/** Runs the sub-command until it is interrupted. Returns the exit code; throws what parseArgs throws, and `UsageError`. */
export async function serve(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      listen: { type: "string", default: "127.0.0.1:0" },
      lane: { type: "string", default: "real" },
      say: { type: "string" },
      strict: { type: "boolean", default: false },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) {
    process.stdout.write(serveHelp);
    return 0;
  }
  if (values.lane !== "scaled" && values.lane !== "real")
    throw new UsageError(`--lane is scaled or real, not "${values.lane}"`);
  const lane = lanes[values.lane];
  const bot = { id: "openws-conformance", secret: "secret-of-an-attached-bot-0123456789" };
  const { promise: interrupted, resolve: interrupt } = Promise.withResolvers<undefined>();
  process.once("SIGINT", () => interrupt(undefined)).once("SIGTERM", () => interrupt(undefined));
  await using gateway = await startGateway({
    listen: values.listen,
    bots: [{ ...bot, name: botName }],
  });
  const began = performance.now();
  process.stdout.write(
    `WECOM_BOT_ID=${bot.id}\nWECOM_BOT_SECRET=${bot.secret}\nWECOM_BOT_WS_URL=${gateway.url}\n` +
      `# what users see, and how to speak to the bot: ${gateway.consoleUrl}\n# Ctrl-C ends it and tells what was kept\n`,
  );
  const wire = new Wire((after) => gateway.log(after));
  const say = (text: string): void =>
    void gateway
      .say(bot.id, text)
      .catch((error: unknown) => process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`));
  const newest = (): number | undefined => gateway.connections().at(-1)?.n;
  createInterface({ input: process.stdin }).on("line", (line) => {
    const connection = newest();
    if (line === "!kick") void gateway.kick(bot.id).catch(() => undefined);
    else if ((line === "!reset" || line === "!half-open") && connection !== undefined)
      gateway.cut(connection, line === "!reset" ? "reset" : "half-open");
    else if (line.trim() !== "") say(line);
  });

  let told = 0;
  let greeted = 0;
  const look = setInterval(() => {
    const subscribes = wire.subscribed().length;
    if (subscribes > greeted && values.say !== undefined) say(values.say);
    greeted = subscribes;
    const broken = judgeLog(wire, lane, bot.secret).filter(({ kept }) => !kept);
    for (const { id, message } of broken.slice(told)) process.stderr.write(`${id}: ${message}\n`);
    told = Math.max(told, broken.length);
  }, 500);
  await interrupted;
  clearInterval(look);

  const outcomes = judgeLog(wire, lane, bot.secret).map(({ id, kept, message, evidence }) => ({
    id,
    verdict: kept ? ("pass" as const) : ("fail" as const),
    message,
    ms: Math.round(performance.now() - began),
    evidence: evidence.map((frame) => lineOf(frame, began)),
    case: "attached",
  }));
  const nothing = wire.opened().length === 0;
  const report = reportOf(
    { suite: suiteVersion(), client: "attached by hand", tier: "observe", contract: false, lane: lane.name, seed: 1 },
    { outcomes, harness: [], ...(nothing ? { notStarted: "nothing connected" } : {}) },
    new Map(),
    new Map(),
  );
  process.stdout.write(pretty(report));
  return exitCode(report, values.strict);
}
