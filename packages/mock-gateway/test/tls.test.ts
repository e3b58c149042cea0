import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { afterAll, describe, expect, test } from "vitest";
import { startGateway, type GatewayOptions } from "../src/index.ts";
import { authorityFile, caFile, certify, keptAuthority, makeCertificate, realHost } from "../src/tls.authority.ts";
import { Client } from "./client.ts";

const folders: string[] = [];
const newFolder = (): string => {
  const made = mkdtempSync(join(tmpdir(), "openws-tls-test-"));
  folders.push(made);
  return made;
};
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

const start = (options: GatewayOptions = {}) => startGateway({ latencyMs: 0, tls: true, ...options });
const day = 86_400_000;
const now = Date.parse("2026-06-01T00:00:00Z");

const getHttps = (url: string, ca: string): Promise<string> =>
  new Promise((resolve, reject) => {
    request(url, { ca }, (response) => {
      let text = "";
      response.on("data", (data: Buffer) => (text += data.toString()));
      response.on("end", () => resolve(text));
    })
      .on("error", reject)
      .end();
  });

describe("a gateway with TLS", () => {
  test("a client that trusts this authority and no other subscribes, and is answered", async () => {
    await using gateway = await start();
    expect(gateway.url).toMatch(/^wss:\/\/127\.0\.0\.1:\d+$/);
    const client = await Client.echo(gateway.url, "bot", "secret", { ca: gateway.ca! });
    expect(await gateway.say("bot", "hello", { waitMs: 5000 })).toMatchObject({ reply: "echo: hello" });
    client.close();
  });

  test("a client without the authority refuses the gateway, and the gateway goes on", async () => {
    await using gateway = await start();
    await expect(Client.open(gateway.url)).rejects.toThrow(/unable to verify|self.signed|issuer certificate/);
    const other = await certify(undefined, Date.now());
    await expect(Client.open(gateway.url, [], { ca: other.ca })).rejects.toThrow();
    (await Client.subscribe(gateway.url, "bot", "secret", { ca: gateway.ca! })).close();
  });

  test("the certificate is good for loopback by each name and for the host that clients cannot change", async () => {
    await using gateway = await start();
    const port = Number(new URL(gateway.url).port);
    for (const servername of ["localhost", realHost]) {
      const socket = connectTls({ port, host: "127.0.0.1", servername, ca: gateway.ca! });
      await once(socket, "secureConnect");
      expect(socket.authorized).toBe(true);
      socket.destroy();
    }
  });

  test("plain text is taken on the same port, and download addresses have the scheme the client came by", async () => {
    await using gateway = await start();
    expect(await (await fetch(`${gateway.apiUrl}/bots`)).json()).toEqual([]);
    const host = new URL(gateway.url).host;
    expect(JSON.parse(await getHttps(`https://${host}/livez`, gateway.ca!))).toMatchObject({ status: "ok" });
    for (const [url, scheme] of [
      [gateway.url, "https"],
      [`ws://${host}`, "http"],
    ] as const) {
      const client = await Client.subscribe(url, scheme, "secret", { ca: gateway.ca! });
      await gateway.say(scheme, { from: { userid: "u" }, msgtype: "image", image: {} });
      const { body } = await client.next();
      expect(body.image.url).toMatch(new RegExp(`^${scheme}://`));
      client.close();
    }
  });

  test("a reset beneath TLS is the end without a close frame that it is in plain text", async () => {
    await using gateway = await start();
    const client = await Client.subscribe(gateway.url, "bot", "secret", { ca: gateway.ca! });
    gateway.cut(gateway.connections()[0]!.n, "reset");
    expect(await client.closed).toBe(1006);
  });

  test("a stranger who says nothing, nonsense or half a handshake does not keep the gateway from stopping", async () => {
    const gateway = await start();
    const port = Number(new URL(gateway.url).port);
    const bytes = [[], [22, 3, 1], [22, 0, 0, 0, 0, 9, 9], [0, 0, 0], [71, 69, 84]];
    const strangers = bytes.map((first) => {
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => undefined);
      socket.write(Buffer.from(first));
      return new Promise((resolve) => {
        socket.resume().once("close", resolve);
      });
    });
    const client = await Client.subscribe(gateway.url, "bot", "secret", { ca: gateway.ca! });
    await gateway.stop();
    await Promise.all([...strangers, client.closed]);
  });
});

describe("the authority", () => {
  test("is made once, is readable by its owner alone, and stays the same from start to start", async () => {
    const folder = join(newFolder(), "deep", "tls");
    const [first, second] = await Promise.all([keptAuthority(folder, now), keptAuthority(folder, now)]);
    expect(second).toEqual(first);
    expect(await keptAuthority(folder, now + 300 * day)).toEqual(first);
    if (process.platform !== "win32") expect(statSync(authorityFile(folder)).mode & 0o777).toBe(0o600);
    expect(readFileSync(caFile(folder), "utf8")).toBe(first.cert);
    expect(readFileSync(caFile(folder), "utf8")).not.toContain("PRIVATE");
    expect(readdirSync(folder).toSorted()).toEqual(["authority.pem", "ca.pem"]);
  });

  test("is made anew before it ends, and when its file is damaged", async () => {
    const folder = newFolder();
    const first = await keptAuthority(folder, now);
    const later = await keptAuthority(folder, now + (3650 - 397) * day);
    expect(later.cert).not.toBe(first.cert);
    writeFileSync(authorityFile(folder), "junk");
    expect((await keptAuthority(folder, now)).cert).toContain("BEGIN CERTIFICATE");
  });

  test("vouches for loopback and the gateway's host alone, and signs nothing but servers", async () => {
    const authority = await keptAuthority(newFolder(), now);
    const { cert } = await makeCertificate(authority, now);
    const [leaf, ca] = [new X509Certificate(cert), new X509Certificate(authority.cert)];
    expect(leaf.verify(ca.publicKey)).toBe(true);
    expect(leaf.checkIssued(ca)).toBe(true);
    expect(leaf.ca).toBe(false);
    expect(ca.ca).toBe(true);
    expect(leaf.subjectAltName?.split(", ").toSorted()).toEqual([
      "DNS:localhost",
      `DNS:${realHost}`,
      "IP Address:0:0:0:0:0:0:0:1",
      "IP Address:127.0.0.1",
    ]);
    expect(leaf.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1"]);
    expect(Date.parse(leaf.validTo) - now).toBe(397 * day);
    const raw = ca.raw.toString("latin1");
    // The constraints: two names, 127.0.0.0/8 and one IPv6 address.
    expect(raw).toContain("\x82\x09localhost");
    expect(raw).toContain(`\x82${String.fromCharCode(realHost.length)}${realHost}`);
    expect(raw).toContain("\x87\x08\x7f\0\0\0\xff\0\0\0");
  });
});
