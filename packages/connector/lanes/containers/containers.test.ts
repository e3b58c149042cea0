// The connector's image, built from this checkout, between the mock gateway and a receiver, each in a container of its own,
// as examples/compose has them. `.ci/run containers` gets podman and a base image ready; without that, it is left out.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { GatewayContainer, type StartedGatewayContainer } from "@openws/mock-gateway/testcontainers";
import { GenericContainer, Network, type StartedNetwork, type StartedTestContainer, Wait } from "testcontainers";
import { beforeAll, beforeEach, expect, onTestFinished, test } from "vitest";
import { leftOut } from "../../../../tools/left-out.ts";

const root = fileURLToPath(new URL("../../../../", import.meta.url));
const base = process.env["OPENWS_BASE_IMAGE"];
const bot = "boxed";
const key = "key-of-the-lane";
const secret = "secret-of-the-lane";
const images = { gateway: "localhost/openws-gateway:lane", connector: "localhost/openws-connector:lane" };
const slow = 180_000;

beforeAll(async () => {
  if (base === undefined) return;
  for (const [name, tag] of [
    ["mock-gateway", images.gateway],
    ["connector", images.connector],
  ] as const)
    await run(process.execPath, "tools/images.ts", name, "--base", base, "--engine", "podman", "--tag", tag);
}, 600_000);

beforeEach((context) => {
  if (base === undefined)
    leftOut(context, "the connector in a container", "only `.ci/run containers` brings an engine");
});

async function run(command: string, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(command, args, { cwd: root, encoding: "utf8", maxBuffer: 1e8 });
  return stdout.trim();
}

const podman = (...args: string[]): Promise<string> => run("podman", ...args);

interface Boxes {
  readonly gateway: StartedGatewayContainer;
  readonly connector: StartedTestContainer;
  readonly volume: string;
  readonly network: StartedNetwork;
  /** Asks the API; a connection of its own each time, since a container that comes back has another address. */
  readonly ask: (
    method: string,
    path: string,
    body?: unknown,
  ) => Promise<{ status: number; json: Record<string, unknown> }>;
  readonly answer: (text: string) => Promise<string | null>;
  readonly ready: () => Promise<boolean>;
}

/** Gateway, connector and receiver on a network, gone after the test. */
async function boxes(environment: Record<string, string> = {}): Promise<Boxes> {
  const network = await new Network().start();
  onTestFinished(async () => void (await network.stop()));
  const gateway = await new GatewayContainer(images.gateway)
    .withBot(bot, "secret-of-the-bot", "Boxed")
    .withLatency(0)
    .configure((container) => container.withNetwork(network).withNetworkAliases("gateway"))
    .start();
  onTestFinished(() => gateway.stop());
  const receiver = await new GenericContainer(images.connector)
    .withEntrypoint(["node", "/receiver.mjs"])
    // The image says that it listens there, and testcontainers waits for every port that an image names.
    .withExposedPorts(8910)
    .withCopyFilesToContainer([{ source: `${root}examples/compose/receiver.mjs`, target: "/receiver.mjs" }])
    .withEnvironment({ WEBHOOK_SECRET: secret })
    .withNetwork(network)
    .withNetworkAliases("receiver")
    .withWaitStrategy(Wait.forLogMessage("ready on :9000"))
    .start();
  onTestFinished(async () => void (await receiver.stop({ timeout: 0 })));
  const volume = await podman("volume", "create");
  onTestFinished(async () => void (await podman("volume", "rm", "-f", volume)));
  const connector = await new GenericContainer(images.connector)
    .withEnvironment({
      WECOM_BOT_ID: bot,
      WECOM_BOT_SECRET: "secret-of-the-bot",
      WECOM_BOT_NAME: "Boxed",
      WECOM_BOT_WS_URL: "ws://gateway:8900",
      OPENWS_API_KEY: key,
      OPENWS_WEBHOOK_URL: "http://receiver:9000/webhook",
      OPENWS_WEBHOOK_SECRET: secret,
      OPENWS_HEARTBEAT_MS: "1000",
      OPENWS_ACK_MS: "500",
      OPENWS_BACKOFF_BASE_MS: "100",
      ...environment,
    })
    .withNetwork(network)
    .withNetworkAliases("connector")
    .withBindMounts([{ source: volume, target: "/data" }])
    .withTmpFs({ "/tmp": "rw" })
    .withExposedPorts(8910)
    .withWaitStrategy(Wait.forHttp("/readyz", 8910))
    .withStartupTimeout(60_000)
    .start();
  onTestFinished(async () => void (await connector.stop({ timeout: 0 })));
  const url = (path: string): string => `http://127.0.0.1:${connector.getMappedPort(8910)}${path}`;
  const ask: Boxes["ask"] = async (method, path, body) => {
    const response = await fetch(url(path), {
      method,
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json", connection: "close" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(5_000),
    });
    return { status: response.status, json: (await response.json()) as Record<string, unknown> };
  };
  return {
    gateway,
    connector,
    volume,
    network,
    ask,
    answer: async (text) => (await gateway.say(bot, text, { waitMs: 20_000 })).reply,
    ready: async () => (await ask("GET", "/readyz").catch(() => ({ status: 0 }))).status === 200,
  };
}

const soon = { timeout: 60_000, interval: 200 };

test("a conversation goes through three containers, and its ledger says so", { timeout: slow }, async () => {
  const { answer, ask } = await boxes();
  expect(await answer("out of the box")).toBe('receiver: "out of the box"');
  await expect
    .poll(async () => (await ask("GET", "/v1/messages?direction=in")).json["messages"], soon)
    .toMatchObject([{ state: "delivered", kind: "text" }]);
  expect((await ask("GET", "/v1/messages?direction=out")).json["messages"]).toMatchObject([{ state: "acked" }]);
});

test(
  "a network that is cut is noticed and said, and the talk goes on when it is healed",
  { timeout: slow },
  async () => {
    const { answer, ready, gateway } = await boxes();
    const pid = await podman("inspect", "-f", "{{.State.Pid}}", gateway.container.getId());
    const filter = (...rule: string[]): Promise<string> => run("nsenter", "-t", pid, "-n", "iptables", ...rule);
    // A packet filter answers nothing and tells nobody, as a firewall that has forgotten a connection does.
    await filter("-A", "INPUT", "-p", "tcp", "--dport", "8900", "-j", "DROP");
    await expect.poll(ready, soon).toBe(false);
    await filter("-F");
    await expect.poll(ready, soon).toBe(true);
    expect(await answer("still there?")).toBe('receiver: "still there?"');
  },
);

test("a connector that is frozen for a while goes on where it was", { timeout: slow }, async () => {
  const { answer, connector, ready } = await boxes();
  expect(await answer("before")).toBe('receiver: "before"');
  await podman("pause", connector.getId());
  await new Promise<void>((resolve) => {
    setTimeout(resolve, 3_000);
  });
  await podman("unpause", connector.getId());
  await expect.poll(ready, soon).toBe(true);
  expect(await answer("after")).toBe('receiver: "after"');
});

test(
  "a connector that is killed has its whole ledger when it is started again on the same volume",
  { timeout: slow },
  async () => {
    const { answer, connector, ask } = await boxes();
    expect(await answer("before the kill")).toBe('receiver: "before the kill"');
    await podman("kill", "--signal", "KILL", connector.getId());
    await podman("start", connector.getId());
    await expect
      .poll(
        () =>
          ask("GET", "/readyz").then(
            ({ status }) => status,
            () => 0,
          ),
        soon,
      )
      .toBe(200);
    expect(await answer("after the kill")).toBe('receiver: "after the kill"');
    const { json } = await ask("GET", "/v1/messages?direction=in");
    expect(json["messages"]).toMatchObject([
      { body: { text: { content: "after the kill" } } },
      { body: { text: { content: "before the kill" } } },
    ]);
  },
);

test(
  "SIGTERM ends it with 0 within its time, its commands work inside, and it needs no root and no writable disk",
  { timeout: slow },
  async () => {
    const id = await podman(
      "run",
      "-d",
      "--pull=never",
      "--read-only",
      "--read-only-tmpfs=false",
      "--cap-drop=all",
      "-e",
      "OPENWS_API_KEY=key-of-the-lane",
      images.connector,
    );
    onTestFinished(async () => void (await podman("rm", "-f", "-v", "-t", "0", id)));
    await expect
      .poll(
        () =>
          podman("exec", id, "openws-connector", "readyz").then(
            () => "ready",
            (error: unknown) => (error as { stdout?: string }).stdout ?? "",
          ),
        soon,
      )
      // No bot is configured: it serves, and says that it holds no line.
      .toMatch(/not ready/);
    expect(await podman("exec", id, "node", "-p", "[process.getuid(), process.getgid()].join()")).toBe("1000,1000");
    const write = `try { fs.writeFileSync("/app/x", ""); "written" } catch ({ code }) { code }`;
    expect(await podman("exec", id, "node", "-p", write)).toMatch(/^E(ROFS|ACCES)$/);
    expect(await podman("exec", id, "openws-connector", "--version")).toMatch(/^openws-connector \d+\.\d+\.\d+$/);
    const began = performance.now();
    await podman("kill", "--signal", "TERM", id);
    expect(await podman("wait", id)).toBe("0");
    expect(performance.now() - began).toBeLessThan(10_000);
  },
);

test(
  "a sink of every broker finds its client in it, and one whose broker is away is said to be, while it serves",
  { timeout: slow },
  async () => {
    const { answer, ask, connector } = await boxes({
      OPENWS_SINKS: [
        "amqp://alice:p4ss-word@127.0.0.1:1/?exchange=boxed",
        "kafka://127.0.0.1:1/boxed",
        "nats://127.0.0.1:1/boxed",
        "redis://127.0.0.1:1/0?stream=boxed",
      ].join(),
    });
    expect(await answer("the brokers are away")).toBe('receiver: "the brokers are away"');
    await expect
      .poll(async () => (await ask("GET", "/v1/sinks")).json["sinks"], soon)
      .toMatchObject(
        ["rabbitmq", "kafka", "nats", "redis"].map((broker) => ({
          id: `sink_${broker}_boxed`,
          trouble: expect.stringMatching(/./) as string,
        })),
      );
    const { output } = await connector.exec(["node", "--input-type=module", "-e", everyPeer], {
      workingDir: "/app",
    });
    expect(output.trim()).toBe("all of 7");
    const log = await podman("logs", connector.getId());
    expect(log).not.toMatch(/not installed|alice|p4ss-word/);
  },
);

/** Loads what a library's user installs where it is needed, as the program does. */
const everyPeer = `
  const { peerDependencies } = JSON.parse(await (await import("node:fs/promises")).readFile("package.json", "utf8"));
  for (const name of Object.keys(peerDependencies)) await import(name);
  console.log("all of " + Object.keys(peerDependencies).length);
`;

test("there are no development dependencies in it", { timeout: slow }, async () => {
  const list = await podman("run", "--rm", "--pull=never", "--entrypoint", "ls", images.connector, "/app/node_modules");
  expect(list.split("\n")).toContain("ws");
  for (const name of ["testcontainers", "typescript", "vitest", "standardwebhooks"])
    expect(list.split("\n")).not.toContain(name);
});
