/**
 * The authority under which the gateway takes TLS, and the certificates it signs.
 *
 * The authority is made for this purpose alone. Its certificate says that it can vouch for nothing but loopback and the
 * host name of the real gateway (name constraints), so that a program or a machine that trusts it has not opened the door to
 * anything else. Its key is in one file that only its owner may read, or in no file at all. The server's certificate is made
 * anew at each start and never stored.
 *
 * Loading this module is slow enough to notice, because of the certificate library: load it only where TLS is wanted.
 */
// The certificate library finds its parts through the decorators' metadata, which must be there before it is.
import "reflect-metadata";
import type { webcrypto } from "node:crypto";
import { chmodSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import type { Millis } from "./clock.ts";
import type { Certificate } from "./tls.ts";

/** The host clients dial that cannot be told another one. */
export const realHost = "openws.work.weixin.qq.com";

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
