/**
 * The mock gateway for programs and tests: `startGateway()`.
 *
 * ```ts
 * await using gateway = await startGateway({ bots: [{ id: "bot", secret: "s3cret" }], latencyMs: 0 });
 * // connect a client to gateway.url, then
 * await gateway.waitForBot("bot");
 * const { reply } = await gateway.say("bot", "hello", { waitMs: 5000 });
 * ```
 */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import type { UserEvent, UserMessage } from "./callbacks.ts";
import type { Chat } from "./chats.ts";
import { createApi } from "./admin.ts";
import { Fault, readFault, type ArmedFault } from "./faults.ts";
import { isLoopback } from "./guard.ts";
import { Driver, listen } from "./server.ts";
import type { Finding } from "./lint.ts";
import type { SomeSwitches, Switches } from "./switches.ts";
import type { Certificate } from "./tls.ts";
import type { LogEntry, WireLogBounds } from "./wirelog.ts";
import type { Told } from "./waiters.ts";
import type { Answer, BotConfig, BotView, ConnectionView, CutHow, WorldOptions } from "./world.ts";

export { behaviours, type Behaviour, type BehaviourId } from "./behaviours.ts";
export type { SentFile, UserEvent, UserMessage } from "./callbacks.ts";
export type { BotItem, Chat, ChatItem, UserItem, Via } from "./chats.ts";
export { lintRules, type Finding, type LintRule, type LintRuleId } from "./lint.ts";
export { ListenError } from "./server.ts";
export { profile, profileNames, switchTable, Switches } from "./switches.ts";
export type { Confidence, ProfileName, SomeSwitches, SwitchName, SwitchRow } from "./switches.ts";
export type { LogEntry, WireLogBounds } from "./wirelog.ts";
export { Fault, faultTable, readFault } from "./faults.ts";
export type { ArmedFault, FaultKind, FaultOf, FaultRow } from "./faults.ts";
export type { Reply, Told } from "./waiters.ts";
export type { BotConfig, BotView, ConnectionView, CutHow } from "./world.ts";

/** How to start a gateway. Everything has a default that suits a test. */
export interface GatewayOptions extends Pick<WorldOptions, "seed" | "profile" | "switches" | "bots" | "faults"> {
  /** `host:port`; port 0 chooses a free one. Default `127.0.0.1:0`. */
  readonly listen?: string;
  /** Sets both ack latencies, and the jitter to none. 0 answers at once. */
  readonly latencyMs?: number;
  /** Bounds of the wire log. */
  readonly log?: WireLogBounds;
  /** What the API asks for as `Authorization: Bearer`. Off loopback one is made when none is given. */
  readonly token?: string;
  /**
   * Takes TLS on the same port, which goes on taking plain text: with `true` under an authority made for this run, or under
   * the one kept in `folder`. Clients have to trust `ca`.
   */
  readonly tls?: boolean | { readonly folder: string };
}

/** A running gateway. Instants are Unix milliseconds on the world clock unless a member says otherwise. */
export interface Gateway extends AsyncDisposable {
  /** Where clients connect: `ws://host:port`, with TLS `wss://host:port`. Any path is accepted. */
  readonly url: string;
  /** With TLS, the certificate of the authority that clients have to trust, PEM. */
  readonly ca?: string;
  /** The page: `http://host:port/`, with `#token=` when the API asks for one. */
  readonly consoleUrl: string;
  /** What the API asks for, if it does. */
  readonly token?: string;
  /** The API: `http://host:port/api`. */
  readonly apiUrl: string;
  /** The bots that are configured or appeared. */
  bots(): BotView[];
  /** Lets a bot subscribe. From then on unknown bots are refused. */
  addBot(bot: BotConfig): void;
  /** Waits until the bot is subscribed; rejects after `waitMs` (default 10 s). */
  waitForBot(bot: string, waitMs?: number): Promise<BotView>;
  /** A user says something: a text from user `zhangsan` in a single chat, or a whole message. Rejects when there is no such bot. */
  say(bot: string, message: string | UserMessage, options?: { waitMs?: number }): Promise<Told>;
  /** A user does something, such as `{eventtype: "enter_chat", from: {userid: "zhangsan"}}`. */
  trigger(bot: string, event: UserEvent, options?: { waitMs?: number }): Promise<Told>;
  /** As if another instance of the bot had subscribed; `closeAfterMs` overrides the switch kickCloseMs. */
  kick(bot: string, options?: { closeAfterMs?: number | "never" }): Promise<BotView>;
  /** What the users of a bot see. */
  chats(bot: string): Chat[];
  /** One chat, by userid or group chatid. */
  chat(bot: string, id: string): Chat | undefined;
  connections(): ConnectionView[];
  /** Ends or cripples a connection. */
  cut(connection: number, how: CutHow, code?: number): void;
  /** The wire log, oldest first. */
  log(after?: number): LogEntry[];
  /** What clients did against the rules. */
  findings(bot?: string): Finding[];
  /** Moves the world clock; with `transport` also idle time-outs, acks and kick closes. */
  advance(ms: number, options?: { transport?: boolean }): void;
  /** Arms a fault: data, or the text that `--fault` takes. What strikes a connection as a whole does so at once. */
  addFault(fault: Fault | string): Promise<ArmedFault>;
  /** Takes a fault away; rejects when it is used up already. */
  removeFault(id: string): Promise<ArmedFault>;
  /** The faults that are still armed. */
  faults(): ArmedFault[];
  readonly switches: Readonly<Switches>;
  set(switches: SomeSwitches): void;
  /** Bots, chats, log, clock and switches as they were at the start; every connection is cut. */
  reset(): void;
  /** Closes the port and every socket. Safe to call twice. */
  stop(): Promise<void>;
}

/** The version of this package. */
export const version: string = (
  JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string }
).version;

/** Starts a gateway. Rejects with `ListenError` when the port cannot be had, with `ZodError` for a wrong switch. */
export const startGateway = async (options: GatewayOptions = {}): Promise<Gateway> => {
  const { listen: address = "127.0.0.1:0", latencyMs, log: bounds = {}, tls = false, ...worldOptions } = options;
  const latency: SomeSwitches =
    latencyMs === undefined ? {} : { subscribeLatencyMs: latencyMs, ackLatencyMs: latencyMs, ackJitterMs: 0 };
  const driver = new Driver({ ...worldOptions, switches: { ...latency, ...options.switches } }, bounds);
  const { host, port } = readListen(address);
  const token = options.token ?? (isLoopback(host) ? undefined : randomBytes(18).toString("base64url"));
  const certificate = tls === false ? undefined : await certificateOf(tls);
  const listening = await listen(
    driver,
    createApi(driver, { version, guard: { host, token } }),
    host,
    port,
    certificate,
  );
  // Every address of the machine is listened on, none of them is called that.
  const shown = { "0.0.0.0": "127.0.0.1", "::": "::1" }[host] ?? host;
  const authority = `${shown.includes(":") ? `[${shown}]` : shown}:${listening.port}`;
  const { world, log } = driver;

  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => (stopping ??= listening.close());

  return {
    url: `${certificate ? "wss" : "ws"}://${authority}`,
    ...(certificate ? { ca: certificate.ca } : {}),
    consoleUrl: `http://${authority}/${token === undefined ? "" : `#token=${token}`}`,
    ...(token === undefined ? {} : { token }),
    apiUrl: `http://${authority}/api`,
    bots: () => world.bots(),
    addBot: (bot) => driver.run({ type: "add-bot", bot }),
    waitForBot: async (bot, waitMs = 10_000) => {
      const answer = await driver.ask((call) => ({ type: "await-bot", bot, waitMs, call }));
      if (answer.type !== "bot" || answer.timedOut) throw new Error(`bot ${bot} did not subscribe within ${waitMs} ms`);
      return answer.bot;
    },
    say: async (bot, what, { waitMs = 0 } = {}) => {
      const message: UserMessage =
        typeof what === "string" ? { from: { userid: "zhangsan" }, msgtype: "text", text: { content: what } } : what;
      return toldOf(await driver.ask((call) => ({ type: "say", bot, message, call, waitMs })));
    },
    trigger: async (bot, event, { waitMs = 0 } = {}) =>
      toldOf(await driver.ask((call) => ({ type: "trigger", bot, event, call, waitMs }))),
    kick: async (bot, { closeAfterMs } = {}) => {
      const answer = await driver.ask((call) => ({
        type: "kick",
        bot,
        call,
        ...(closeAfterMs === undefined ? {} : { closeAfterMs }),
      }));
      return answer.type === "bot" ? answer.bot : refuse(answer);
    },
    chats: (bot) => world.chats(bot),
    chat: (bot, id) => world.chat(bot, id),
    connections: () => world.connections(),
    cut: (connection, how, code) =>
      driver.run({ type: "cut", connection, how, ...(code === undefined ? {} : { code }) }),
    log: (after) => log.entries(after),
    findings: (bot) => world.findings(bot),
    advance: (ms, { transport = false } = {}) => driver.run({ type: "advance", ms, transport }),
    addFault: async (fault) => {
      const made = typeof fault === "string" ? readFault(fault) : Fault.parse(fault);
      return armedOf(await driver.ask((call) => ({ type: "arm", fault: made, call })));
    },
    removeFault: async (fault) => armedOf(await driver.ask((call) => ({ type: "disarm", fault, call }))),
    faults: () => world.faults(),
    get switches() {
      return world.switches;
    },
    set: (switches) => driver.run({ type: "set", switches }),
    reset: () => driver.run({ type: "reset" }),
    stop,
    [Symbol.asyncDispose]: stop,
  };
};

const certificateOf = async (tls: true | { readonly folder: string }): Promise<Certificate> => {
  const { certify } = await import("./tls.authority.ts");
  return certify(tls === true ? undefined : tls.folder, Date.now());
};

/** Splits `host:port`, `[::1]:port` or a port alone. Throws a `RangeError` whose message is one sentence. */
export const readListen = (text: string): { host: string; port: number } => {
  const match = /^(?:(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):)?(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65_535)
    throw new RangeError(`"${text}" is no address to listen on: it must look like 127.0.0.1:8900`);
  return { host: match[1] ?? match[2] ?? "127.0.0.1", port };
};

const toldOf = (answer: Answer): Told => (answer.type === "told" ? answer.told : refuse(answer));

const armedOf = (answer: Answer): ArmedFault => (answer.type === "armed" ? answer.fault : refuse(answer));

const refuse = (answer: Answer): never => {
  throw new Error(
    answer.type === "refused" ? answer.detail : `an answer of type ${answer.type} came where none was expected`,
  );
};
