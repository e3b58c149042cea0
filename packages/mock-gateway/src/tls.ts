/**
 * TLS for the gateway: an authority of its own, and a port that takes TLS and plain text alike.
 *
 * The authority is made for this purpose alone. Its certificate says that it can vouch for nothing but loopback and the
 * host name of the real gateway (name constraints), so that a program or a machine that trusts it has not opened the door to
 * anything else. Its key is in one file that only its owner may read, or in no file at all. The server's certificate is made
 * anew at each start and never stored.
 *
 * It knows nothing of WebSockets and HTTP but that they begin with a letter, and TLS with the byte 22.
 */
// The certificate library finds its parts through the decorators' metadata, which must be there before it is.
import "reflect-metadata";
import type { webcrypto } from "node:crypto";
import { chmodSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { Server } from "node:http";
import type { Socket } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { createSecureContext, TLSSocket } from "node:tls";
import * as x509 from "@peculiar/x509";
import type { Millis } from "./clock.ts";

/** The host clients dial that cannot be told another one. */
export const realHost = "openws.work.weixin.qq.com";

/** What the server shows, and what a client must trust to believe it. All PEM. */
export interface Certificate {
  readonly key: string;
  readonly cert: string;
  /** The authority's certificate. */
  readonly ca: string;
}

/** An authority: its certificate and its key, both PEM. */
export interface Authority {
  readonly cert: string;
  readonly key: string;
}

/** Days an authority lives. */
const authorityDays = 3650;
/** Days a server certificate lives; some clients refuse more than 398. */
const certificateDays = 397;
const dayMs = 86_400_000;

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const serverAuth = "1.3.6.1.5.5.7.3.1";

/** Makes an authority that can vouch for loopback and {@link realHost} alone. `now` is Unix milliseconds. */
export const makeAuthority = async (now: Millis): Promise<Authority> => {
  const keys = await newKeys();
  const cert = await x509.X509CertificateGenerator.createSelfSigned({
    // Several may be trusted on one machine: a subject of its own tells each from the others.
    name: `CN=openws mock gateway CA ${new Date(now).toISOString().slice(0, 10)} ${randomHex(4)}`,
    keys,
    signingAlgorithm: algorithm,
    ...validity(now, authorityDays),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      new x509.Extension("2.5.29.30", true, nameConstraints()),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { cert: pem(cert), key: await keyPem(keys.privateKey) };
};

/** Makes a server certificate for 127.0.0.1, ::1, localhost and {@link realHost}. */
export const makeCertificate = async (authority: Authority, now: Millis): Promise<Certificate> => {
  const issuer = new x509.X509Certificate(authority.cert);
  const issuerKey = await crypto.subtle.importKey(
    "pkcs8",
    x509.PemConverter.decodeFirst(authority.key),
    algorithm,
    false,
    ["sign"],
  );
  const keys = await newKeys();
  const cert = await x509.X509CertificateGenerator.create({
    subject: "CN=openws mock gateway",
    issuer: issuer.subject,
    publicKey: keys.publicKey,
    signingKey: issuerKey,
    signingAlgorithm: algorithm,
    ...validity(now, certificateDays),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([serverAuth]),
      new x509.SubjectAlternativeNameExtension([
        { type: "ip", value: "127.0.0.1" },
        { type: "ip", value: "::1" },
        { type: "dns", value: "localhost" },
        { type: "dns", value: realHost },
      ]),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { key: await keyPem(keys.privateKey), cert: pem(cert) + authority.cert, ca: authority.cert };
};

/** Where an authority is kept when nobody says otherwise: the user's folder for settings. */
export const defaultTlsFolder = (env: NodeJS.ProcessEnv = process.env, platform = process.platform): string => {
  const home =
    platform === "win32"
      ? (env["LOCALAPPDATA"] ?? join(homedir(), "AppData", "Local"))
      : (env["XDG_CONFIG_HOME"] ?? join(homedir(), ".config"));
  return join(home, "openws-gateway", "tls");
};

/** Files of a folder with an authority. */
export const authorityFile = (folder: string): string => join(folder, "authority.pem");
export const caFile = (folder: string): string => join(folder, "ca.pem");

/**
 * The authority kept in a folder; makes one when there is none, or when it would end before a server certificate does.
 * Two processes that start at once get the same one. Throws what the file system throws.
 */
export const keptAuthority = async (folder: string, now: Millis): Promise<Authority> => {
  const file = authorityFile(folder);
  const kept = readAuthority(file);
  if (
    typeof kept === "object" &&
    new x509.X509Certificate(kept.cert).notAfter.getTime() > now + (certificateDays + 1) * dayMs
  )
    return kept;

  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const made = await makeAuthority(now);
  // Written aside and linked, so that nobody reads half a file and the first of two processes wins.
  const aside = `${file}.${randomHex(8)}`;
  writeFileSync(aside, made.key + made.cert, { mode: 0o600 });
  try {
    if (kept !== undefined) rmSync(file, { force: true });
    linkSync(aside, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(aside);
  }
  chmodSync(file, 0o600);
  const winner = readAuthority(file);
  if (typeof winner !== "object") throw new Error(`${file} cannot be read back as an authority`);
  writeFileSync(caFile(folder), winner.cert);
  return winner;
};

/** A server certificate: of the authority in `folder`, or without a folder of one that nobody will ever see again. */
export const certify = async (folder: string | undefined, now: Millis): Promise<Certificate> =>
  makeCertificate(folder === undefined ? await makeAuthority(now) : await keptAuthority(folder, now), now);

const readAuthority = (file: string): Authority | "damaged" | undefined => {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  const [key, cert] = ["PRIVATE KEY", "CERTIFICATE"].map(
    (label) => new RegExp(`-----BEGIN ${label}-----[^-]+-----END ${label}-----\\n?`).exec(text)?.[0],
  );
  return key !== undefined && cert !== undefined ? { key, cert } : "damaged";
};

const validity = (now: Millis, days: number) => ({
  // A client's clock may be a little behind.
  notBefore: new Date(now - dayMs),
  notAfter: new Date(now + days * dayMs),
});

const newKeys = (): Promise<webcrypto.CryptoKeyPair> => crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);

const pem = (cert: x509.X509Certificate): string => `${cert.toString("pem").trim()}\n`;

const keyPem = async (key: webcrypto.CryptoKey): Promise<string> =>
  `${x509.PemConverter.encode(await crypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY").trim()}\n`;

const randomHex = (bytes: number): string => Buffer.from(crypto.getRandomValues(new Uint8Array(bytes))).toString("hex");

/** RFC 5280 §4.2.1.10: permittedSubtrees of two DNS names, 127.0.0.0/8 and ::1. */
const nameConstraints = (): ArrayBuffer => {
  const der = (tag: number, ...parts: readonly ArrayLike<number>[]): number[] => {
    const content = parts.flatMap((part) => Array.from(part));
    return [tag, content.length, ...content];
  };
  const [dnsName, ipAddress, sequence, permitted] = [0x82, 0x87, 0x30, 0xa0];
  const names = ["localhost", realHost].map((name) => der(dnsName, Buffer.from(name)));
  const addresses = [
    [127, 0, 0, 0, 255, 0, 0, 0],
    [...Array.from({ length: 15 }, () => 0), 1, ...Array.from({ length: 16 }, () => 255)],
  ].map((bytes) => der(ipAddress, bytes));
  const subtrees = [...names, ...addresses].map((base) => der(sequence, base));
  return new Uint8Array(der(sequence, der(permitted, ...subtrees))).buffer;
};

// ---------------------------------------------------------------------------------------------------------------------
// The port

/** How long a connection may take to say its first byte, or to shake hands. */
const firstByteMs = 10_000;
const tlsHandshake = 22;

/** A port that takes TLS and plain text. */
export interface Door {
  /** The TCP socket beneath a connection's stream: what has to be reset for the peer to see a reset. */
  socketOf(stream: Duplex): Socket;
  /** Drops the connections that did not get through yet; the server knows the others. */
  close(): void;
}

/** Lets a plain HTTP server take TLS as well, by the first byte of each connection. Call it before the server listens. */
export const openDoor = (server: Server, { key, cert }: Certificate): Door => {
  const secureContext = createSecureContext({ key, cert, minVersion: "TLSv1.2" });
  const beneath = new WeakMap<Duplex, Socket>();
  const waiting = new Set<Socket>();
  const [serve] = server.listeners("connection") as ((this: Server, socket: Duplex) => void)[];
  server.removeAllListeners("connection");

  server.on("connection", (socket: Socket) => {
    // A stranger that says nothing, does not trust us or speaks an old dialect: nothing to tell, nothing to keep.
    const drop = (): void => void socket.destroy();
    const admit = (stream: Duplex): void => {
      waiting.delete(socket);
      socket.setTimeout(0, drop);
      stream.off("end", drop);
      serve!.call(server, stream);
    };
    waiting.add(socket);
    socket.setTimeout(firstByteMs, drop);
    socket.on("error", drop);
    socket.on("end", drop);
    socket.once("close", () => waiting.delete(socket));
    const begin = (): void => {
      const first = socket.read(1) as Buffer | null;
      if (first === null) return void socket.once("readable", begin);
      socket.unshift(first);
      if (first[0] !== tlsHandshake) return admit(socket);
      const secure = new TLSSocket(socket, { isServer: true, secureContext });
      beneath.set(secure, socket);
      secure.on("error", drop);
      secure.on("end", drop);
      secure.once("close", drop);
      secure.once("secure", () => admit(secure));
    };
    begin();
  });
  return {
    socketOf: (stream) => beneath.get(stream) ?? (stream as Socket),
    close: () => {
      for (const socket of waiting) socket.destroy();
    },
  };
};
