// examples/compose/compose.yaml, played without an engine: each service is started as a process with the file's own command
// and environment, and a user talks to the bot. What only an engine could show is in the lane `containers`.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parse } from "yaml";
import { afterEach, expect, test } from "vitest";

interface ComposeService {
  readonly image: string;
  readonly command?: readonly string[];
  readonly entrypoint?: readonly string[];
  readonly depends_on?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly read_only?: boolean;
  readonly stop_grace_period?: string;
}

const root = fileURLToPath(new URL("../../../../", import.meta.url));
const folder = join(root, "examples/compose");
const compose = parse(readFileSync(join(folder, "compose.yaml"), "utf8")) as {
  readonly services: Readonly<Record<"gateway" | "connector" | "receiver", ComposeService>>;
  readonly volumes: Readonly<Record<string, unknown>>;
};
const { services } = compose;
/** The programs of the images, and the port that each image listens on. */
const images: Readonly<Record<string, { readonly program: string; readonly port: number }>> = {
  "localhost/openws-gateway:compose": { program: "packages/mock-gateway/src/cli.ts", port: 8900 },
  "localhost/openws-connector:compose": { program: "packages/connector/src/cli.ts", port: 8910 },
};

const ended: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0).toReversed()) await end();
});

test("names services, volumes, files and ports that there are, on this machine alone", () => {
  for (const [name, service] of Object.entries(services)) {
    expect(Object.keys(images), name).toContain(service.image);
    expect(service.read_only, name).toBe(true);
    for (const other of service.depends_on ?? []) expect(Object.keys(services), name).toContain(other);
    for (const port of service.ports ?? [])
      expect(port, name).toBe(`127.0.0.1:${images[service.image]!.port}:${images[service.image]!.port}`);
    for (const volume of service.volumes ?? []) {
      const [from = "", to = ""] = volume.split(":");
      if (from.startsWith("./")) readFileSync(join(folder, from));
      else expect(Object.keys(compose.volumes), name).toContain(from);
      expect(to, name).toMatch(/^\//);
    }
  }
  // More than OPENWS_DRAIN_MS.
  expect(Number.parseInt(services.connector.stop_grace_period ?? "0", 10)).toBeGreaterThan(4.5);
});

test("what it describes is a conversation", { timeout: 60_000 }, async () => {
  const scratch = mkdtempSync(join(tmpdir(), "openws-compose-"));
  ended.push(() => rmSync(scratch, { recursive: true }));
  // In a container each has an address of its own; here each has a port of its own.
  const port = await freePort();
  const receiver = readFileSync(join(folder, "receiver.mjs"), "utf8")
    .replaceAll("9000", String(port))
    .replace(
      "/app/dist/service/signature.js",
      pathToFileURL(join(root, images[services.connector.image]!.program, "../service/signature.ts")).href,
    );
  cpSync(join(folder, "receiver.mjs"), join(scratch, "receiver.mjs"));
  writeFileSync(join(scratch, "receiver.mjs"), receiver);
  await started(start([join(scratch, "receiver.mjs")], services.receiver), new RegExp(`ready on :${port}`));

  const gateway = start(
    [
      join(root, images[services.gateway.image]!.program),
      ...services.gateway.command!,
      "--listen",
      "127.0.0.1:0",
      "--json",
    ],
    services.gateway,
  );
  const { url, api: control } = JSON.parse(await started(gateway, /"ready":true/)) as { url: string; api: string };
  const places: Readonly<Record<string, string>> = {
    "ws://gateway:8900": url,
    "http://receiver:9000": `http://127.0.0.1:${port}`,
  };
  const environment = Object.fromEntries(
    Object.entries(services.connector.environment ?? {}).map(([name, value]) => {
      const place = Object.keys(places).find((each) => value.startsWith(each));
      return [name, place === undefined ? value : value.replace(place, places[place]!)];
    }),
  );
  // The image's own defaults, but for this machine's addresses: see the Containerfile.
  const own = { OPENWS_LISTEN: "127.0.0.1:0", OPENWS_DATABASE: join(scratch, "openws.db"), LANG: "en_US.UTF-8" };
  const connector = start([join(root, images[services.connector.image]!.program), "serve", "--json"], {
    ...services.connector,
    environment: { ...environment, ...own },
  });
  const api = (JSON.parse(await started(connector, /"ready":true/)) as { url: string }).url;
  await expect.poll(async () => (await fetch(`${api}/readyz`)).status, { timeout: 20_000, interval: 100 }).toBe(200);

  const token = services.gateway.environment!["OPENWS_GATEWAY_TOKEN"]!;
  const demo = services.connector.environment!["WECOM_BOT_ID"]!;
  const say = ["say", "is anybody there?", "--bot", demo, "--api", control, "--token", token];
  const saying = start([join(root, images[services.gateway.image]!.program), ...say], { image: "" });
  expect(await started(saying, /\S/)).toBe('receiver: "is anybody there?"');
  const authorization = `Bearer ${services.connector.environment!["OPENWS_API_KEY"]!}`;
  const ledger = await fetch(`${api}/v1/messages?direction=in`, { headers: { authorization } });
  expect(await ledger.json()).toMatchObject({ messages: [{ state: "delivered", kind: "text" }] });
});

function start(
  args: readonly string[],
  { environment = {} }: Pick<ComposeService, "environment" | "image">,
): ChildProcess {
  const clean = Object.entries(process.env).filter(([name]) => !/^(?:WECOM|OPENWS|LOG)_/.test(name));
  const child = spawn(process.execPath, args, {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...Object.fromEntries(clean), LOG_LEVEL: "warn", ...environment },
  });
  ended.push(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  });
  return child;
}

/** The first line that says so. */
async function started(child: ChildProcess, ready: RegExp): Promise<string> {
  for await (const line of createInterface({ input: child.stdout! })) if (ready.test(line)) return line;
  throw new Error("it ended before it was ready");
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
