/**
 * A door with TLS before a gateway, for clients that dial nothing else, and a certificate for it that Python trusts.
 *
 * One port takes both: a TLS handshake is unwrapped, anything else is passed on as it is, because the gateway makes its
 * download URLs from the Host it was reached by and knows nothing of the door.
 */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";

/** An open door. */
export interface TlsFront extends AsyncDisposable {
  /** `wss://127.0.0.1:port` */
  readonly url: string;
  /** With this a Python program takes our certificate for the whole of certifi's bundle. */
  readonly env: Readonly<Record<string, string>>;
}

/** Opens a door before the gateway at a `ws:` URL. Throws where there is no openssl to make the certificate. */
export const openTlsFront = async (gatewayUrl: string): Promise<TlsFront> => {
  const folder = mkdtempSync(join(tmpdir(), "openws-tls-"));
  const [keyFile, certFile] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"];
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", keyFile];
  execFileSync("openssl", ["req", "-x509", "-days", "2", ...subject, ...key, "-out", certFile], { stdio: "ignore" });
  writeFileSync(join(folder, "certifi.py"), `def where():\n    return ${JSON.stringify(certFile)}\n`);

  const { hostname, port } = new URL(gatewayUrl);
  const sockets = new Set<Socket>();
  const forward = (client: Socket): void => {
    const upstream = connect(Number(port), hostname);
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.on("error", () => undefined);
      // A reset passes through as a reset: to the client it is the end of a connection without a close frame.
      socket.on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    client.pipe(upstream).pipe(client);
  };
  const tls = createTlsServer({ key: readFileSync(keyFile), cert: readFileSync(certFile) }, forward);
  const server = createServer((client) => {
    sockets.add(client);
    client.on("error", () => undefined);
    client.once("data", (first) => {
      client.pause();
      client.unshift(first);
      if (first[0] === tlsHandshake) tls.emit("connection", client);
      else forward(client);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  return {
    url: `wss://127.0.0.1:${(server.address() as AddressInfo).port}`,
    env: { PYTHONPATH: folder },
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
      rmSync(folder, { recursive: true });
    },
  };
};

/** The first byte of a TLS connection: a record of type handshake. */
const tlsHandshake = 22;
