// Bots on three Python libraries that others wrote, unmodified. `.ci/run python` makes the environments and names their
// interpreters in OPENWS_PYTHON_NAME.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { leftOut } from "../../../../tools/left-out.ts";
import { startWitness, type Witness } from "../witness.ts";

interface Client {
  readonly name: string;
  /** The library hands a TLS context to the socket whatever the scheme, so it can dial wss alone. */
  readonly tlsOnly?: true;
  readonly can: readonly ("welcome" | "image" | "upload")[];
}

describe.for<Client>([
  { name: "official", tlsOnly: true, can: ["welcome", "image"] },
  { name: "community", can: ["welcome", "image", "upload"] },
  { name: "framework", can: ["upload"] },
])("the $name Python library", ({ name, tlsOnly, can }) => {
  const python = process.env[`OPENWS_PYTHON_${name.toUpperCase()}`];
  const script = join(import.meta.dirname, `${name}.py`);
  let witness: Witness;
  let tls: TlsFront | undefined;

  beforeAll(async () => {
    if (python === undefined) return;
    tls = tlsOnly ? tlsFront() : undefined;
    witness = await startWitness([python, script], tls?.env, tls?.front);
  });
  afterAll(async () => {
    await (witness as Witness | undefined)?.[Symbol.asyncDispose]();
    tls?.stop();
  });

  beforeEach((context) => {
    if (python === undefined)
      leftOut(context, `the ${name} Python library`, "no environment has been made for it (.ci/run python makes it)");
  });

  test("gets its text and answers by a stream", async () => {
    const told = await witness.gateway.say(witness.bot, "hello 你好 👋", { waitMs: 10_000 });
    expect(told, witness.output()).toMatchObject({ delivered: true, reply: "echo: hello 你好 👋" });
    expect(told.replies).toMatchObject([{ kind: "stream", finished: true }]);
  });

  if (can.includes("welcome"))
    test("welcomes in time", async () => {
      const event = { eventtype: "enter_chat", from: { userid: "zhangsan" } };
      const told = await witness.gateway.trigger(witness.bot, event, { waitMs: 10_000 });
      expect(told, witness.output()).toMatchObject({ delivered: true, reply: "welcome" });
    });

  if (can.includes("image"))
    test("downloads and decrypts an image", async () => {
      const bytes = Buffer.from(Array.from({ length: 100_003 }, (_, i) => i % 251));
      const image = { base64: bytes.toString("base64"), filename: "picture.png" };
      const message = { from: { userid: "zhangsan" }, msgtype: "image", image };
      const told = await witness.gateway.say(witness.bot, message, { waitMs: 10_000 });
      expect(told.reply, witness.output()).toBe(createHash("sha256").update(bytes).digest("hex"));
    });

  if (can.includes("upload"))
    test("uploads a file of three chunks and answers with it", async () => {
      const told = await witness.gateway.say(witness.bot, "!upload 1200000", { waitMs: 20_000 });
      expect(told.replies, witness.output()).toMatchObject([{ kind: "file", finished: true }]);
    });
});

interface TlsFront {
  readonly front: (url: string) => Promise<string>;
  readonly env: NodeJS.ProcessEnv;
  readonly stop: () => void;
}

/** A listener before a gateway that speaks TLS to whoever begins with it, and an environment in which Python trusts it. */
function tlsFront(): TlsFront {
  const folder = mkdtempSync(join(tmpdir(), "openws-tls-"));
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  execFileSync(
    "openssl",
    ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"].concat([
      "-subj",
      "/CN=127.0.0.1",
      "-addext",
      "subjectAltName=IP:127.0.0.1",
      "-keyout",
      key,
      "-out",
      cert,
    ]),
    { stdio: "ignore" },
  );
  // The library trusts certifi's bundle and no setting of its user's: this one answers in its place.
  writeFileSync(join(folder, "certifi.py"), `def where():\n    return ${JSON.stringify(cert)}\n`);

  let gateway: URL;
  const forward = (client: Socket) => {
    const upstream = connect(Number(gateway.port), gateway.hostname);
    client.pipe(upstream).pipe(client);
    for (const socket of [client, upstream])
      socket.on("error", () => {
        client.destroy();
        upstream.destroy();
      });
  };
  const tls = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, forward);
  const server = createServer((client) => {
    client.once("data", (first) => {
      client.pause();
      client.unshift(first);
      // 22 opens a TLS handshake. Plain HTTP is for the media, whose URLs the gateway makes.
      if (first[0] === 22) tls.emit("connection", client);
      else forward(client);
    });
  });
  return {
    env: { PYTHONPATH: folder },
    front: async (url) => {
      gateway = new URL(url);
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      return `wss://127.0.0.1:${(server.address() as AddressInfo).port}`;
    },
    stop: () => {
      server.close();
      rmSync(folder, { recursive: true });
    },
  };
}
