/**
 * The sub-commands' way to a gateway that runs: its address, its token, its refusals as one sentence.
 */
import { UsageError } from "./usage.ts";

/** What every such sub-command understands. */
export const apiOptions = {
  api: { type: "string" },
  token: { type: "string" },
  help: { type: "boolean", short: "h" },
} as const;

/** The same, for a help text. */
export const apiHelp = `  --api URL        the gateway's API (default http://127.0.0.1:8900/api; OPENWS_GATEWAY_API)
  --token TOKEN    what a gateway off loopback asks for (OPENWS_GATEWAY_TOKEN)
  --help`;

/** The gateway could not be asked, or refused; the message is the one sentence the user gets. Exit code 1. */
export class ApiError extends Error {
  override readonly name = "ApiError";
}

/** A gateway that runs somewhere. */
export class Api {
  readonly #base: string;
  readonly #headers: Record<string, string>;

  constructor(values: { api?: string | undefined; token?: string | undefined }, env: NodeJS.ProcessEnv) {
    const base =
      values.api ?? env["OPENWS_GATEWAY_API"] ?? `http://${env["OPENWS_GATEWAY_LISTEN"] ?? "127.0.0.1:8900"}/api`;
    if (!URL.canParse(base))
      throw new UsageError(`--api must be an address such as http://127.0.0.1:8900/api, not "${base}"`);
    this.#base = base.replace(/\/$/, "");
    const token = values.token ?? env["OPENWS_GATEWAY_TOKEN"];
    this.#headers = token ? { authorization: `Bearer ${token}` } : {};
  }

  /** Where it is, without the path of the API. */
  get root(): string {
    return new URL(this.#base).origin;
  }

  async call(method: string, path: string, body?: unknown): Promise<unknown> {
    const init = { method, headers: this.#headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
    const response = await fetch(
      path.startsWith("//") ? `${this.root}${path.slice(1)}` : `${this.#base}${path}`,
      init,
    ).catch((error: unknown) => {
      throw new ApiError(`no gateway answers at ${this.#base}: start one with openws-gateway, or name it with --api`, {
        cause: error,
      });
    });
    const text = await response.text();
    const answer: unknown = text === "" ? undefined : parsed(text);
    if (response.ok) return answer;
    const { detail } = (answer ?? {}) as { detail?: string };
    if (response.status === 401)
      throw new ApiError("the gateway asks for its token: give it with --token, or in OPENWS_GATEWAY_TOKEN");
    throw new ApiError(detail ?? `the gateway answered ${response.status}`);
  }

  /** The bot that is meant: the one named, or the only one, or the only one that is subscribed. */
  async bot(named: string | undefined): Promise<string> {
    if (named !== undefined) return named;
    const bots = (await this.call("GET", "/bots")) as { id: string; state: string }[];
    const subscribed = bots.filter(({ state }) => state === "subscribed");
    const [bot, ...others] = subscribed.length > 0 ? subscribed : bots;
    if (!bot) throw new ApiError("no bot is known yet: start yours, or name one with --bot");
    if (others.length > 0) throw new UsageError(`there are several bots: name one with --bot, such as --bot ${bot.id}`);
    return bot.id;
  }
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

/** Who speaks where, from `--from` and `--chat`: a chat other than the user's own is a group. */
export const whereOf = ({ from = "zhangsan", chat }: { from?: string | undefined; chat?: string | undefined }) =>
  chat === undefined || chat === from
    ? { from: { userid: from }, chattype: "single" }
    : { from: { userid: from }, chattype: "group", chatid: chat };

/** What the API tells of a message or event. */
export interface Told {
  delivered: boolean;
  reason?: string;
  reply: string | null;
  replies: { kind: string; content?: string; finished: boolean }[];
  timedOut?: true;
}

/** Prints the answer; the exit code is 0 only when there was a finished one (or none was waited for). */
export const report = (told: Told, json: boolean, waited: boolean): number => {
  if (json) process.stdout.write(`${JSON.stringify(told)}\n`);
  const finished = told.replies.find((reply) => reply.finished);
  if (!told.delivered) process.stderr.write(`openws-gateway: not delivered: ${told.reason ?? "for no reason given"}\n`);
  else if (waited && !finished) process.stderr.write("openws-gateway: no finished answer came in time\n");
  else if (!json && finished) process.stdout.write(`${told.reply ?? `[${finished.kind}]`}\n`);
  return told.delivered && (!waited || finished) ? 0 : 1;
};
