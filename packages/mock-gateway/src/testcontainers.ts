/**
 * The gateway in a container, for tests on testcontainers:
 *
 * ```ts
 * import { GatewayContainer } from "@openws/mock-gateway/testcontainers";
 *
 * await using gateway = await new GatewayContainer().withBot("bot", "s3cret").withLatency(0).start();
 * // connect a client to gateway.url, then
 * await gateway.waitForBot("bot");
 * const { reply } = await gateway.say("bot", "hello", { waitMs: 5000 });
 * ```
 *
 * It decides which flags the image gets and when the gateway counts as started. It knows nothing of engines and networks,
 * which are the business of `testcontainers`, an optional peer that is loaded on `start()`; `configure()` reaches it.
 * A test that needs no container is better off with `startGateway()`: it starts in milliseconds.
 */
import { randomBytes } from "node:crypto";
import type { GenericContainer, StartedTestContainer } from "testcontainers";
import type { UserEvent, UserMessage } from "./callbacks.ts";
import { readFault, type ArmedFault } from "./faults.ts";
import { version } from "./index.ts";
import { Switches, type ProfileName, type SomeSwitches, type SwitchName } from "./switches.ts";
import type { Told } from "./waiters.ts";
import type { BotView } from "./world.ts";

/** The port inside the container. */
const PORT = 8900;
/** Where its authority is kept, inside the container. */
const tlsFolder = "/tmp/openws-gateway-tls";

/** A gateway that is to run in a container. Every `with…` returns the same object. */
export class GatewayContainer {
  readonly #image: string;
  readonly #flags: string[] = [];
  readonly #changes: ((container: GenericContainer) => GenericContainer)[] = [];
  #token: string | undefined;
  #tls = false;
  #startupTimeoutMs = 60_000;

  /** @param image default: the one that `node tools/images.ts mock-gateway` builds for this version of the package */
  constructor(image = `localhost/openws-gateway:${version}`) {
    this.#image = image;
  }

  /**
   * A bot that may subscribe; with none, any credentials are accepted. The API's `POST /bots` takes what this cannot: throws
   * a `RangeError` for an id or a secret with a colon in it.
   */
  withBot(id: string, secret: string, name?: string): this {
    if (!/^[^:]+$/.test(id) || !/^[^:]+$/.test(secret))
      throw new RangeError("a bot's id and secret must not be empty or contain a colon");
    return this.#flag("bot", name === undefined ? `${id}:${secret}` : `${id}:${secret}:${name}`);
  }

  /** The switches begin as this profile has them. Default `observed`. */
  withProfile(name: ProfileName): this {
    return this.#flag("profile", name);
  }

  /** Takes TLS on the same port as well, under an authority made in the container: clients have to trust `ca`. */
  withTls(): this {
    this.#tls = true;
    return this.#flag("tls-dir", tlsFolder).#toggle("tls");
  }

  /** Sets one switch. Throws `ZodError` for a value that it does not take. */
  withSwitch<Name extends SwitchName>(name: Name, value: NonNullable<SomeSwitches[Name]>): this {
    Switches.shape[name].parse(value);
    return this.#flag("set", `${name}=${Array.isArray(value) ? value.join(",") : inWords(value)}`);
  }

  /** Arms a fault from the start, as `--fault` does: `ack-drop:cmd=ping,times=2`. Throws `RangeError` for no such fault. */
  withFault(spec: string): this {
    readFault(spec);
    return this.#flag("fault", spec);
  }

  /** Both ack latencies in milliseconds, without jitter; 0 answers at once. */
  withLatency(ms: number): this {
    return this.#flag("latency", String(ms));
  }

  /** Ids, jitter and chance follow from it. Default 1. */
  withSeed(seed: number): this {
    return this.#flag("seed", String(seed));
  }

  /** What the API asks for. Default: one is made. */
  withToken(token: string): this {
    this.#token = token;
    return this;
  }

  /** How long `start()` waits until the gateway answers. Default 60,000 ms. */
  withStartupTimeout(ms: number): this {
    this.#startupTimeoutMs = ms;
    return this;
  }

  /** What else is to be said to testcontainers, such as `(container) => container.withNetwork(network)`. */
  configure(change: (container: GenericContainer) => GenericContainer): this {
    this.#changes.push(change);
    return this;
  }

  /** Starts the container and waits until the gateway answers. Rejects as testcontainers does. */
  async start(): Promise<StartedGatewayContainer> {
    const { GenericContainer, Wait } = await import("testcontainers");
    const token = this.#token ?? randomBytes(18).toString("base64url");
    let container = new GenericContainer(this.#image)
      .withCommand([...this.#flags])
      // Not a flag: those can be read by whoever may list processes.
      .withEnvironment({ OPENWS_GATEWAY_TOKEN: token })
      .withExposedPorts(PORT)
      .withWaitStrategy(Wait.forHttp("/readyz", PORT).forStatusCode(200))
      .withStartupTimeout(this.#startupTimeoutMs);
    for (const change of this.#changes) container = change(container);
    const started = await container.start();
    return new StartedGatewayContainer(started, token, this.#tls ? await authorityOf(started) : undefined);
  }

  #toggle(name: string): this {
    this.#flags.push(`--${name}`);
    return this;
  }

  #flag(name: string, value: string): this {
    this.#flags.push(`--${name}`, value);
    return this;
  }
}

/** A gateway that runs in a container. Its addresses are those that this machine reaches it under. */
export class StartedGatewayContainer implements AsyncDisposable {
  /** The container itself: its logs, `exec`, networks. */
  readonly container: StartedTestContainer;
  /** What the API asks for as `Authorization: Bearer`. */
  readonly token: string;
  /** With TLS, the certificate of the authority that clients have to trust, PEM. */
  readonly ca: string | undefined;

  constructor(container: StartedTestContainer, token: string, ca: string | undefined) {
    this.container = container;
    this.token = token;
    this.ca = ca;
  }

  /** Where clients connect: `ws://host:port`, with TLS `wss://host:port`. Another one after a restart, as the port is. */
  get url(): string {
    return `${this.ca === undefined ? "ws" : "wss"}://${this.#authority}`;
  }

  /** The API: `http://host:port/api`. */
  get apiUrl(): string {
    return `http://${this.#authority}/api`;
  }

  /** The page, with `#token=`. */
  get consoleUrl(): string {
    return `http://${this.#authority}/#token=${this.token}`;
  }

  /** Waits until the bot is subscribed; rejects after `waitMs` (default 10 s). */
  async waitForBot(bot: string, waitMs = 10_000): Promise<BotView> {
    const view = await this.call<BotView>("GET", `/bots/${encodeURIComponent(bot)}?wait=${waitMs}`);
    if (view.state !== "subscribed") throw new Error(`bot ${bot} did not subscribe within ${waitMs} ms`);
    return view;
  }

  /** A user says something: a text from user `zhangsan` in a single chat, or a whole message. Rejects when there is no such bot. */
  say(bot: string, message: string | UserMessage, { waitMs = 0 } = {}): Promise<Told> {
    const whole =
      typeof message === "string"
        ? { from: { userid: "zhangsan" }, msgtype: "text", text: { content: message } }
        : message;
    return this.call("POST", `/bots/${encodeURIComponent(bot)}/messages?wait=${waitMs}`, whole);
  }

  /** A user does something, such as `{eventtype: "enter_chat", from: {userid: "zhangsan"}}`. */
  trigger(bot: string, event: UserEvent, { waitMs = 0 } = {}): Promise<Told> {
    return this.call("POST", `/bots/${encodeURIComponent(bot)}/events?wait=${waitMs}`, event);
  }

  /** As if another instance of the bot had subscribed. */
  kick(bot: string, options: { closeAfterMs?: number | "never" } = {}): Promise<BotView> {
    return this.call("POST", `/bots/${encodeURIComponent(bot)}/kick`, options);
  }

  /** Arms a fault, as `--fault` does. */
  addFault(spec: string): Promise<ArmedFault> {
    return this.call("POST", "/faults", readFault(spec));
  }

  /** Moves the world clock; with `transport` also idle time-outs, acks and kick closes. */
  async advance(ms: number, { transport = false } = {}): Promise<void> {
    await this.call("POST", "/clock/advance", { ms, transport });
  }

  /**
   * Asks the API, which `GET /openapi.json` describes, and returns its answer; the caller says of which type. Rejects with
   * the answer's text when it is no success.
   */
  async call<Answer>(method: "GET" | "POST" | "PATCH" | "DELETE", path: string, body?: unknown): Promise<Answer> {
    const response = await fetch(this.apiUrl + path, {
      method,
      headers: { authorization: `Bearer ${this.token}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return (text === "" ? undefined : JSON.parse(text)) as Answer;
  }

  /** Ends the gateway and removes the container. */
  async stop(): Promise<void> {
    await this.container.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  get #authority(): string {
    return `${this.container.getHost()}:${this.container.getMappedPort(PORT)}`;
  }
}

const authorityOf = async (container: StartedTestContainer): Promise<string> => {
  const { exitCode, stdout, output } = await container.exec(["openws-gateway", "ca", "--tls-dir", tlsFolder]);
  if (exitCode !== 0) throw new Error(`the container does not show its certificate: ${output}`);
  return stdout;
};

/** As the command line writes switches. */
const inWords = (value: string | number | boolean): string =>
  typeof value === "boolean" ? (value ? "on" : "off") : String(value);
