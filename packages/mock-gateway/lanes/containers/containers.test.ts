// The image, built from this checkout, and GatewayContainer, with a bot on the host: what only a container can show.
// `.ci/run containers` gets podman and a base image ready and says where in the environment; without that, it is left out.
//
// The network is cut where a network is cut: by the container's packet filter, which answers nothing and tells nobody.
import { execFile } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, beforeEach, expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { type Bot, type BotEvent, createBot } from "@openws/connector";
import { GatewayContainer, type StartedGatewayContainer } from "@openws/mock-gateway/testcontainers";
import { leftOut } from "../../../../tools/left-out.ts";

const root = fileURLToPath(new URL("../../../../", import.meta.url));
const base = process.env["OPENWS_BASE_IMAGE"];
const credentials = { id: "boxed", secret: "a-secret-of-the-boxed" };
let image: string;

beforeAll(async () => {
  if (base === undefined) return;
  const options = ["--base", base, "--engine", "podman", "--tag", "localhost/openws-gateway:lane"];
  const printed = await run(process.execPath, "tools/images.ts", "mock-gateway", ...options);
  image = printed.split("\n").at(-1)!;
}, 300_000);

beforeEach((context) => {
  if (base === undefined) leftOut(context, "the gateway in a container", "only `.ci/run containers` brings an engine");
});

/** Runs a command, while the bot of the test goes on living, and returns what it prints. */
async function run(command: string, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(command, args, { cwd: root, encoding: "utf8" });
  return stdout.trim();
}

const podman = (...args: string[]): Promise<string> => run("podman", ...args);

/** A gateway in a container, gone after the test. */
async function boxed(): Promise<StartedGatewayContainer> {
  const gateway = await new GatewayContainer(image)
    .withBot(credentials.id, credentials.secret, "Boxed")
    .withLatency(0)
    .start();
  onTestFinished(() => gateway.stop());
  return gateway;
}

/** An echoing bot that notices within two seconds that nobody answers, gone after the test. */
async function echo(url: string): Promise<Bot> {
  const bot = createBot({
    botId: credentials.id,
    secret: credentials.secret,
    url,
    heartbeatMs: 1_000,
    ackMs: 500,
    backoffBaseMs: 100,
  });
  bot.on("text", ({ text }) => `echo: ${text}`);
  onTestFinished(() => bot.stop(0));
  await bot.start();
  return bot;
}

/** Resolves with the first move of the bot to this state from now on. */
function moved(bot: Bot, to: string): Promise<BotEvent> {
  return new Promise((resolve) => {
    const end = bot.observe((event) => {
      if (event.type !== "moved" || event.to !== to) return;
      end();
      resolve(event);
    });
  });
}

const answer = async (gateway: StartedGatewayContainer, text: string): Promise<string | null> =>
  (await gateway.say(credentials.id, text, { waitMs: 10_000 })).reply;

test("with TLS a client that trusts the container's authority subscribes, and one that does not is refused", async () => {
  const gateway = await new GatewayContainer(image).withProfile("lenient").withTls().start();
  onTestFinished(() => gateway.stop());
  expect(gateway.url).toMatch(/^wss:/);
  expect(await gateway.call("GET", "/settings")).toMatchObject({ profile: "lenient" });
  const stranger = new WebSocket(gateway.url);
  expect(await once(stranger, "error")).toMatchObject([{ message: expect.stringContaining("certificate") as unknown }]);
  const client = new WebSocket(gateway.url, { ca: gateway.ca });
  await once(client, "open");
  client.send('{"cmd":"aibot_subscribe","headers":{"req_id":"1"},"body":{"bot_id":"tls","secret":"any"}}');
  expect(await gateway.waitForBot("tls")).toMatchObject({ state: "subscribed" });
  client.terminate();
});

test("a bot on the host talks through a gateway in a container", async () => {
  const gateway = await boxed();
  await echo(gateway.url);
  expect(await gateway.waitForBot(credentials.id)).toMatchObject({ name: "Boxed", state: "subscribed" });
  expect(await answer(gateway, "out of the box")).toBe("echo: out of the box");
  expect(await gateway.call("GET", "/lint")).toEqual([]);
});

test("what a tester says to GatewayContainer is what the gateway does", async () => {
  await using gateway = await new GatewayContainer(image)
    .withSwitch("quota", false)
    .withSwitch("kickCloseMs", [10, 20])
    .withSwitch("aeskeyLength", 44)
    .withFault("ack-drop:cmd=ping,times=2")
    .withLatency(7)
    .withSeed(42)
    .withToken("said-by-the-tester")
    .configure((container) => container.withLabels({ "openws.test": "configured" }))
    .start();
  expect(gateway.token).toBe("said-by-the-tester");
  expect(gateway.consoleUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/#token=said-by-the-tester$/);
  expect(await gateway.call("GET", "/settings")).toMatchObject({
    switches: { quota: false, kickCloseMs: [10, 20], aeskeyLength: 44, ackLatencyMs: 7 },
  });
  expect(await gateway.call("GET", "/faults")).toMatchObject([{ kind: "ack-drop", cmd: "ping", times: 2 }]);
  expect(await podman("inspect", "-f", `{{index .Config.Labels "openws.test"}}`, gateway.container.getId())).toBe(
    "configured",
  );
});

test("nobody moves a gateway in a container without its token", async () => {
  const gateway = await boxed();
  expect((await fetch(`${gateway.apiUrl}/bots`)).status).toBe(401);
  expect(await gateway.call("GET", "/bots")).toMatchObject([{ id: credentials.id }]);
  await expect(gateway.call("GET", "/bots/nobody")).rejects.toThrow(/^GET \/bots\/nobody: 404 /);
});

test("a bot survives a gateway that is frozen, and answers once it thaws", async () => {
  const gateway = await boxed();
  const bot = await echo(gateway.url);
  const lost = moved(bot, "waiting");
  await podman("pause", gateway.container.getId());
  await lost;
  const back = moved(bot, "ready");
  await podman("unpause", gateway.container.getId());
  await back;
  expect(await answer(gateway, "awake?")).toBe("echo: awake?");
});

test("a bot notices a silent cut of the network, and answers once it is healed", async () => {
  const gateway = await boxed();
  const bot = await echo(gateway.url);
  const pid = await podman("inspect", "-f", "{{.State.Pid}}", gateway.container.getId());
  const filter = (...rule: string[]): Promise<string> => run("nsenter", "-t", pid, "-n", "iptables", ...rule);
  const lost = moved(bot, "waiting");
  await filter("-A", "INPUT", "-p", "tcp", "--dport", "8900", "-j", "DROP");
  await lost;
  expect(bot.state.subscribed).toBe(false);
  const back = moved(bot, "ready");
  await filter("-F");
  await back;
  expect(await answer(gateway, "still there?")).toBe("echo: still there?");
});

test("SIGTERM ends it with 0 while a bot is connected, and its commands work inside", async () => {
  const gateway = await boxed();
  await echo(gateway.url);
  const id = gateway.container.getId();
  expect(await podman("exec", id, "openws-gateway", "say", "from inside", "--bot", credentials.id)).toBe(
    "echo: from inside",
  );
  await podman("kill", "--signal", "TERM", id);
  expect(await podman("wait", id)).toBe("0");
});

test("it needs no root, no writable disk and no capability", async () => {
  const id = await podman(
    "run",
    "-d",
    "--pull=never",
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=all",
    image,
  );
  onTestFinished(async () => void (await podman("rm", "-f", "-t", "0", id)));
  // What an orchestrator asks: the health check of the image.
  await expect.poll(() => podman("healthcheck", "run", id), { timeout: 20_000, interval: 200 }).toBe("");
  expect(await podman("exec", id, "node", "-p", "[process.getuid(), process.getgid()].join()")).toBe("1000,1000");
  const write = `try { fs.writeFileSync("/app/x", ""); "written" } catch ({ code }) { code }`;
  expect(await podman("exec", id, "node", "-p", write)).toMatch(/^E(ROFS|ACCES)$/);
  expect(await podman("exec", id, "openws-gateway", "--version")).toMatch(/^openws-gateway \d+\.\d+\.\d+$/);
});

test("there are no development dependencies in it", async () => {
  const list = await podman("run", "--rm", "--pull=never", "--entrypoint", "ls", image, "/app/node_modules");
  expect(list.split("\n")).toContain("ws");
  for (const name of ["testcontainers", "typescript", "vitest", "@wecom"]) expect(list.split("\n")).not.toContain(name);
});
