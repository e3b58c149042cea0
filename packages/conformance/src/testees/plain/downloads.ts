/**
 * The plain client's downloads: fetched with a limit of time and size, decrypted with the key of their own URL, and stored
 * under a name that stays in its folder.
 */
import { createDecipheriv, createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { broken } from "./defect.ts";

const maxBytes = 100 * 1024 * 1024;
/** PKCS#7 here pads to a multiple of this, of the cipher's block to a multiple of 16. */
const paddedTo = 32;

/** A file that came. */
export interface Downloaded {
  readonly sha256: string;
  readonly filename: string;
  readonly path: string;
}

/** Fetches one file. Rejects where it cannot be had whole. */
export async function download(url: string, aeskey: string, dir: string, withinMs: number): Promise<Downloaded> {
  // On a busy machine a hundred megabytes would take longer than any file may, and the defect would not show.
  const signal = broken("downloads-anything") ? null : AbortSignal.timeout(withinMs);
  const response = await fetch(url, { signal, redirect: "error" });
  if (!response.ok || response.body === null) throw new Error(`HTTP ${response.status}`);
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of response.body as AsyncIterable<Uint8Array>) {
    size += piece.length;
    if (size > maxBytes && !broken("downloads-anything")) throw new Error("it is too large");
    pieces.push(piece);
  }
  const clear = decrypted(Buffer.concat(pieces), aeskey);
  const filename = nameOf(response.headers.get("content-disposition") ?? "");
  const path = join(dir, broken("writes-where-it-is-told") ? filename : safe(filename));
  writeFileSync(path, clear);
  return { sha256: createHash("sha256").update(clear).digest("hex"), filename, path };
}

/** AES-256-CBC; the key is the base64 of 32 bytes, with or without its last `=`, and begins with the vector. */
const decrypted = (bytes: Buffer, aeskey: string): Buffer => {
  if (broken("needs-44-characters") && aeskey.length !== 44) throw new Error("the key has no 44 characters");
  const key = Buffer.from(aeskey, "base64");
  if (bytes.length === 0 || bytes.length % 16 !== 0) {
    if (broken("takes-what-cannot-be-decrypted")) return bytes;
    throw new Error(`${bytes.length} bytes are no ciphertext`);
  }
  const decipher = createDecipheriv("aes-256-cbc", key, key.subarray(0, 16)).setAutoPadding(false);
  const padded = Buffer.concat([decipher.update(bytes), decipher.final()]);
  const pad = padded.at(-1)!;
  const lawful = pad >= 1 && pad <= paddedTo && padded.subarray(padded.length - pad).every((byte) => byte === pad);
  if (!lawful && broken("takes-what-cannot-be-decrypted")) return padded;
  if (!lawful) throw new Error("the padding is wrong");
  if (broken("strips-16-bytes-at-most") && pad > 16) return padded;
  return padded.subarray(0, padded.length - pad);
};

/** The file's name: `filename*` before `filename`, in which `+` is a space and what is percent-encoded is decoded. */
const nameOf = (disposition: string): string => {
  const [, star] = /filename\*\s*=\s*UTF-8''([^;]+)/i.exec(disposition) ?? [];
  const [, plain] = /filename\s*=\s*"?([^";]*)"?/i.exec(disposition) ?? [];
  if (broken("trips-over-a-per-cent-sign")) return decodeURIComponent(star ?? plain ?? "file");
  if (broken("leaves-names-encoded")) return star ?? plain ?? "file";
  if (star !== undefined) return decoded(star);
  return plain === undefined ? "file" : decoded(plain.replaceAll("+", " "));
};

/** What is validly percent-encoded, decoded; the rest as it stands. */
const decoded = (text: string): string =>
  text.replace(/(?:%[0-9a-f]{2})+/gi, (encoded) => {
    try {
      return decodeURIComponent(encoded);
    } catch {
      return encoded;
    }
  });

/** A name without folders and control characters. */
const safe = (name: string): string => {
  // eslint-disable-next-line no-control-regex -- these are what has to go
  const plain = name.replace(/[/\\:\u0000-\u001f]/g, "_").replace(/^\.+/, "_");
  return plain.slice(-100) || "file";
};
