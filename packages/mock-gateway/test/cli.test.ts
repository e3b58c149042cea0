import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { startGateway } from "../src/index.ts";
import { Client } from "./client.ts";
import { containing, matching } from "./wire.ts";

const cli = fileURLToPath(new URL("../src/cli.ts", import.meta.url));

const run = (args: string[], env: Record<string, string> = {}) => {
  const child = spawn(process.execPath, [cli, ...args], {
    env: { PATH: process.env["PATH"], NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"], ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [out, err] = ["", ""];
  child.stdout.on("data", (data: Buffer) => (out += data.toString()));
  child.stderr.on("data", (data: Buffer) => (err += data.toString()));
  const ended = once(child, "close").then(([code]) => ({ code: code as number, out, err }));
  const firstLine = async (): Promise<string> => {
    while (!out.includes("\n")) await Promise.race([once(child.stdout, "data"), ended]);
    return out.split("\n")[0]!;
  };
  return { child, ended, firstLine };
};

test("--json prints one line that says where it listens; SIGTERM and SIGINT end it with 0", async () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    const { child, ended, firstLine } = run([
      "--json",
      "--listen",
      "127.0.0.1:0",
      "--latency",
      "0",
      "--bot",
      "b:s:Bob",
    ]);
    const { ready, url, api, console: page } = JSON.parse(await firstLine()) as Record<string, unknown>;
    expect(ready).toBe(true);
    expect([url, api, page].join(" ")).toMatch(
      /^ws:\/\/127\.0\.0\.1:(\d+) http:\/\/127\.0\.0\.1:\1\/api http:\/\/127\.0\.0\.1:\1\/$/,
    );
    expect(await (await fetch(`${String(api)}/bots`)).json()).toMatchObject([{ id: "b", name: "Bob" }]);
    child.kill(signal);
    expect(await ended).toMatchObject({ code: 0, err: "" });
  }
});

test("without --json it says ready and prints the lines to paste; the environment stands in for flags", async () => {
  const { child, ended, firstLine } = run(["serve"], {
    OPENWS_GATEWAY_LISTEN: "127.0.0.1:0",
    OPENWS_GATEWAY_BOT: "b:s",
    OPENWS_GATEWAY_SET: "quota=off idleMs=never",
    OPENWS_GATEWAY_PROFILE: "strict",
  });
  expect(await firstLine()).toBe("ready");
  child.kill();
  const { code, out } = await ended;
  expect(code).toBe(0);
  expect(out).toMatch(/export WECOM_BOT_ID=b\n\s*export WECOM_BOT_SECRET=s\n\s*export WECOM_BOT_WS_URL=ws:\/\/127/);
});

test("ca prints the certificate that a gateway with --tls in the same folder is trusted by, and recipes beside it", async () => {
  const folder = mkdtempSync(join(tmpdir(), "openws-ca-"));
  const { code, out, err } = await run(["ca", "--tls-dir", folder]).ended;
  expect({ code, out }).toEqual({ code: 0, out: readFileSync(join(folder, "ca.pem"), "utf8") });
  for (const recipe of ["NODE_EXTRA_CA_CERTS", "certifi", "keytool", "SSL_CERT_FILE", "/etc/hosts"])
    expect(err).toContain(recipe);

  const { child, ended, firstLine } = run(["--json", "--listen", "127.0.0.1:0", "--tls", "--tls-dir", folder]);
  const { url } = JSON.parse(await firstLine()) as { url: string };
  const client = await Client.subscribe(url, "bot", "secret", { ca: out });
  client.close();
  child.kill();
  expect(await ended).toMatchObject({ code: 0 });

  const file = join(folder, "copy.pem");
  const written = await run(["ca", "--out", file], { OPENWS_GATEWAY_TLS_DIR: folder }).ended;
  expect(written).toMatchObject({ code: 0, out: "" });
  expect(readFileSync(file, "utf8")).toBe(out);
  expect(await run(["ca", "--nonsense"]).ended).toMatchObject({ code: 2, out: "" });
  rmSync(folder, { recursive: true });
});

test("record writes a new file for its owner alone and ends with 0; vectors reads it", async () => {
  await using gateway = await startGateway({ latencyMs: 0 });
  const folder = mkdtempSync(join(tmpdir(), "openws-record-"));
  const out = join(folder, "log.jsonl");
  const args = ["record", "--upstream", gateway.url, "--out", out, "--listen", "127.0.0.1:0", "--json"];
  const { child, ended, firstLine } = run(args);
  const { url } = JSON.parse(await firstLine()) as { url: string };
  (await Client.subscribe(url, "aibSomebody", "s3cr3t-of-somebody")).close();
  await expect.poll(() => readFileSync(out, "utf8"), { timeout: 10_000 }).toContain('"what":"cut"');
  child.kill();
  expect(await ended).toMatchObject({ code: 0, err: "" });
  expect(readFileSync(out, "utf8")).not.toMatch(/aibSomebody|s3cr3t/);
  if (process.platform !== "win32") expect(statSync(out).mode & 0o777).toBe(0o600);
  expect(await run(args).ended).toMatchObject({ code: 2, err: expect.stringContaining("exists already") as unknown });

  const vectors = await run(["vectors", out]).ended;
  expect(vectors).toMatchObject({ code: 0, err: expect.stringContaining("agrees") as unknown });
  expect((JSON.parse(vectors.out) as { vectors: object[] }).vectors).toHaveLength(2);
  rmSync(folder, { recursive: true });
});

test("--help and --version print and end with 0", async () => {
  expect(await run(["--help"]).ended).toMatchObject({ code: 0, out: containing("usage: openws-gateway") });
  expect(await run(["--version"]).ended).toMatchObject({ code: 0, out: matching(/^openws-gateway \d+\.\d+\.\d+\n$/) });
});

test("wrong usage ends with 2 and one sentence on standard error", async () => {
  const cases: [string[], RegExp][] = [
    [["--nonsense"], /Unknown option '--nonsense'/],
    [["dance"], /there is no command "dance"/],
    [["record", "--out", "x"], /--upstream must be a ws:/],
    [["record", "--upstream", "ws://x"], /--out must name the file/],
    [["vectors"], /vectors takes one file/],
    [["vectors", "/no/such/file"], /cannot read \/no\/such\/file/],
    [["--listen", "nowhere"], /"nowhere" is no address to listen on/],
    [["--latency", "soon"], /--latency must be milliseconds/],
    [["--bot", "only-an-id"], /--bot must be ID:SECRET/],
    [["--profile", "wild"], /--profile must be one of observed/],
    [["--set", "quotta=off"], /there is no switch "quotta"/],
    [["--set", "quota=maybe"], /--set quota: "maybe" will not do/],
    [["--set", "quota"], /--set must be SWITCH=VALUE/],
  ];
  await Promise.all(
    cases.map(async ([args, message]) => {
      const { code, out, err } = await run(args).ended;
      expect({ args, code, out, lines: err.trim().split("\n").length }).toEqual({ args, code: 2, out: "", lines: 1 });
      expect(err).toMatch(message);
    }),
  );
});

test("a port in use ends with 2 and says which one and what to do", async () => {
  const other = createServer().listen(0, "127.0.0.1");
  await once(other, "listening");
  const { port } = other.address() as AddressInfo;
  const { code, err } = await run(["--listen", `127.0.0.1:${port}`]).ended;
  other.close();
  expect(code).toBe(2);
  expect(err).toMatch(new RegExp(`port ${port} on 127\\.0\\.0\\.1 is in use: .*--listen`));
  expect(err.trim().split("\n")).toHaveLength(1);
});
