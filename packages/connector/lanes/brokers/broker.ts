/**
 * Real brokers as processes of a test: each in a folder of its own on ports of the loopback that nobody uses, ended by the
 * process that was started. Where a broker's program is not installed the test is left out, by name.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort, listens } from "../ports.ts";

/** A broker that can be started, killed and started again over the same folder and port. */
export interface BrokerProcess extends AsyncDisposable {
  readonly port: number;
  /** Where it wants TLS, or a login; for those that have such a port. */
  readonly guardedPort: number;
  /** What signs its certificate, which is itself: PEM. Empty where it has none. */
  readonly certificate: string;
  start(): Promise<void>;
  /** As a power cut: SIGKILL. */
  kill(): Promise<void>;
}

/**
 * Undefined where RabbitMQ is not installed, or this is not root. Beside guest there is a user `writer`, password
 * `p4ss@word`, who may do no more than write to the exchange `x` and take commands from the queue `made`.
 */
export async function rabbitmq(): Promise<BrokerProcess | undefined> {
  if (!installed("rabbitmq-server") || process.getuid?.() !== 0) return undefined;
  const port = await freePort();
  const guardedPort = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "openws-rabbitmq-"));
  const certificate = makeCertificate(folder);
  const files = ["cacertfile = cert.pem", "certfile = cert.pem", "keyfile = key.pem"];
  writeFileSync(join(folder, "definitions.json"), JSON.stringify(definitions));
  const imported = [
    "definitions.import_backend = local_filesystem",
    `definitions.local.path = ${folder}/definitions.json`,
  ];
  const lines = files.map((file) => `ssl_options.${file.replace("= ", `= ${folder}/`)}`);
  writeFileSync(
    join(folder, "rabbitmq.conf"),
    [`listeners.ssl.1 = 127.0.0.1:${guardedPort}`, ...lines, ...imported, ""].join("\n"),
  );
  const env = {
    ...process.env,
    RABBITMQ_NODENAME: `openws${port}@localhost`,
    RABBITMQ_NODE_IP_ADDRESS: "127.0.0.1",
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_DIST_PORT: String(await freePort()),
    RABBITMQ_CONFIG_FILE: join(folder, "rabbitmq.conf"),
    RABBITMQ_MNESIA_BASE: folder,
    RABBITMQ_LOG_BASE: folder,
    RABBITMQ_LOGS: "-",
    RABBITMQ_PID_FILE: join(folder, "pid"),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, "plugins"),
    HOME: join(folder, "home"),
    // The register of Erlang's nodes is a daemon that would outlive all of them: this is one of our own.
    ERL_EPMD_PORT: String(await freePort()),
    ERL_EPMD_ADDRESS: "127.0.0.1",
    // Half a processor is enough for a test, and waiting is done without turning.
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
  };
  mkdirSync(env.HOME);
  execFileSync("chown", ["-R", "rabbitmq", folder]);
  return supervised(folder, port, {
    command: ["rabbitmq-server"],
    env,
    pid: () => Number(readFileSync(join(folder, "pid"), "utf8")),
    ready: (output) => output.includes("Server startup complete"),
    guardedPort,
    certificate,
    after: () => void execFileSync("epmd", ["-port", env.ERL_EPMD_PORT, "-kill"], { stdio: "ignore" }),
  });
}

/** A user as RabbitMQ's definitions have them. */
function rabbitUser(name: string, password: string, tags: string) {
  const salt = randomBytes(4);
  const hash = createHash("sha256").update(salt).update(password).digest();
  const password_hash = Buffer.concat([salt, hash]).toString("base64");
  return { name, password_hash, hashing_algorithm: "rabbit_password_hashing_sha256", tags };
}

const definitions = {
  users: [rabbitUser("guest", "guest", "administrator"), rabbitUser("writer", "p4ss@word", "")],
  vhosts: [{ name: "/" }],
  permissions: [
    { user: "guest", vhost: "/", configure: ".*", write: ".*", read: ".*" },
    { user: "writer", vhost: "/", configure: "^$", write: "^(x|amq\\.default)$", read: "^made$" },
  ],
};

/** Undefined where there is no Java, or its programs were not fetched to OPENWS_KAFKA. */
export async function kafka(): Promise<BrokerProcess | undefined> {
  const libraries = process.env["OPENWS_KAFKA"];
  if (libraries === undefined || !installed("java")) return undefined;
  const port = await freePort();
  const guardedPort = await freePort();
  const controller = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "openws-kafka-"));
  const properties = join(folder, "server.properties");
  const ports = { PLAINTEXT: port, SASL_PLAINTEXT: guardedPort, CONTROLLER: controller };
  const listeners = Object.entries(ports)
    .map(([name, at]) => `${name}://127.0.0.1:${at}`)
    .join();
  writeFileSync(
    properties,
    Object.entries({
      "process.roles": "broker,controller",
      "node.id": 1,
      "controller.quorum.bootstrap.servers": `127.0.0.1:${controller}`,
      "controller.listener.names": "CONTROLLER",
      listeners,
      "advertised.listeners": listeners,
      "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
      "sasl.enabled.mechanisms": "PLAIN",
      "listener.name.sasl_plaintext.plain.sasl.jaas.config": `org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="p4ss@word";`,
      "log.dirs": join(folder, "logs"),
      "num.partitions": 3,
      "offsets.topic.num.partitions": 1,
      "offsets.topic.replication.factor": 1,
      "transaction.state.log.replication.factor": 1,
      "transaction.state.log.min.isr": 1,
      "share.coordinator.state.topic.replication.factor": 1,
      "share.coordinator.state.topic.min.isr": 1,
      "group.initial.rebalance.delay.ms": 0,
    })
      .map(([name, value]) => `${name}=${value}\n`)
      .join(""),
  );
  const java = ["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", join(libraries, "*")];
  const tool = [...java, "kafka.tools.StorageTool"];
  const id = execFileSync("java", [...tool, "random-uuid"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  execFileSync("java", [...tool, "format", "--standalone", "-t", id.trim(), "-c", properties], { stdio: "ignore" });
  return supervised(folder, port, {
    command: ["java", ...java, "kafka.Kafka", properties],
    guardedPort,
    ready: (output) => output.includes("Kafka Server started"),
  });
}

/** Undefined where NATS is not installed. `config` is its configuration file. */
export async function nats(config = ""): Promise<BrokerProcess | undefined> {
  if (!installed("nats-server")) return undefined;
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "openws-nats-"));
  const file = join(folder, "nats.conf");
  writeFileSync(file, config);
  return supervised(folder, port, {
    command: ["nats-server", "-c", file, "-a", "127.0.0.1", "-p", `${port}`, "-js", "-sd", folder],
  });
}

/** Undefined where Redis is not installed. It has synced what it confirms. */
export async function redis(password: string): Promise<BrokerProcess | undefined> {
  if (!installed("redis-server")) return undefined;
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "openws-redis-"));
  const options = [
    "--port",
    `${port}`,
    "--bind",
    "127.0.0.1",
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--save",
    "",
  ];
  return supervised(folder, port, {
    command: ["redis-server", ...options, "--requirepass", password, "--dir", folder],
    ready: (output) => output.includes("Ready to accept connections"),
  });
}

/** For localhost, signed by itself; its files belong to who runs the broker. */
function makeCertificate(folder: string): string {
  const [key, certificate] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
  const kind = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"];
  execFileSync("openssl", [...kind, ...name, "-keyout", key, "-out", certificate], { stdio: "ignore" });
  return readFileSync(certificate, "utf8");
}

interface Program {
  readonly guardedPort?: number;
  readonly certificate?: string;
  readonly command: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Of the broker itself, where the command only starts it. */
  readonly pid?: () => number;
  /** Whether what it said means that it listens; that it does is looked at in any case. */
  readonly ready?: (output: string) => boolean;
  /** What is to be done when it was ended for the last time. */
  readonly after?: () => void;
}

function supervised(
  folder: string,
  port: number,
  { command, env, pid, ready, after, guardedPort = 0, certificate = "" }: Program,
): BrokerProcess {
  let child: ChildProcess | undefined;
  const kill = async (): Promise<void> => {
    const running = child;
    child = undefined;
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return;
    const over = once(running, "close");
    if (pid !== undefined) process.kill(pid(), "SIGKILL");
    running.kill("SIGKILL");
    await over;
    while (await listens(port)) await sleep(50);
  };
  return {
    port,
    guardedPort,
    certificate,
    start: async () => {
      const [program = "", ...args] = command;
      const started = spawn(program, args, { env, cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
      child = started;
      let output = "";
      for (const stream of [started.stdout, started.stderr])
        stream.setEncoding("utf8").on("data", (text: string) => (output = (output + text).slice(-100_000)));
      const until = Date.now() + 60_000;
      while (ready?.(output) === false || !(await listens(port))) {
        if (started.exitCode !== null || Date.now() > until)
          throw new Error(`${program} did not start: ${output.slice(-2_000)}`);
        await sleep(100);
      }
    },
    kill,
    [Symbol.asyncDispose]: async () => {
      await kill();
      after?.();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function installed(program: string): boolean {
  return (process.env["PATH"] ?? "").split(":").some((folder) => existsSync(join(folder, program)));
}
