/**
 * The vault's cipher, and the store's own key: node:crypto, which Node, Deno and Bun have, and the file that holds the
 * key. Decides the form of a sealed thing and where the key is looked for.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hkdfSync,
  randomBytes,
  randomFillSync,
  type KeyObject,
} from "node:crypto";
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";
import { MistakeError } from "../mistake.ts";
import { StoreError } from "./store.ts";
import type { Cipher } from "./vault.ts";

const nonceBytes = 12;
const tagBytes = 16;
/** The first byte: how what follows was sealed. */
const version = 1;

/** Keys as OpenSSL wants them, by their bytes' array: making one costs five times as much as a MAC. */
const keys = new WeakMap<Uint8Array, KeyObject>();

function keyObject(bytes: Uint8Array): KeyObject {
  let key = keys.get(bytes);
  if (key === undefined) {
    key = createSecretKey(bytes);
    keys.set(bytes, key);
  }
  return key;
}

/** Random bytes are had in pages: asking for twelve costs nearly what a page does. None is used twice. */
const page = new Uint8Array(nonceBytes * 512);
let used = page.length;

function drawNonce(nonce: Uint8Array): void {
  if (used === page.length) {
    randomFillSync(page);
    used = 0;
  }
  nonce.set(page.subarray(used, (used += nonceBytes)));
}

/** AES-256-GCM. Sealed: version (1 byte), nonce (12), ciphertext, tag (16). */
export const nodeCipher: Cipher = {
  key: (secret, info) => new Uint8Array(hkdfSync("sha256", secret, "openws store", info, 32)),
  seal: (key, plain, bound) => {
    const sealed = new Uint8Array(1 + nonceBytes + plain.length + tagBytes);
    sealed[0] = version;
    const nonce = sealed.subarray(1, 1 + nonceBytes);
    drawNonce(nonce);
    const cipher = createCipheriv("aes-256-gcm", keyObject(key), nonce).setAAD(Buffer.from(bound));
    // GCM is a stream: it gives as much as it is given, and `final` nothing more.
    sealed.set(cipher.update(plain), 1 + nonceBytes);
    cipher.final();
    sealed.set(cipher.getAuthTag(), 1 + nonceBytes + plain.length);
    return sealed;
  },
  hmac: (key, text, as) => createHmac("sha256", keyObject(key)).update(text).digest(as),
  open: (key, sealed, bound) => {
    if (sealed[0] !== version || sealed.length < 1 + nonceBytes + tagBytes) return undefined;
    const nonce = sealed.subarray(1, 1 + nonceBytes);
    const decipher = createDecipheriv("aes-256-gcm", keyObject(key), nonce, { authTagLength: tagBytes })
      .setAAD(Buffer.from(bound))
      .setAuthTag(sealed.subarray(-tagBytes));
    try {
      return new Uint8Array(
        Buffer.concat([decipher.update(sealed.subarray(1 + nonceBytes, -tagBytes)), decipher.final()]),
      );
    } catch {
      return undefined;
    }
  },
};

/** A key by chance, for stores that end with the process. */
export function randomKey(): Uint8Array {
  return new Uint8Array(randomBytes(32));
}

/**
 * The store's own key: `given` (OPENWS_STORE_KEY, 32 bytes as 64 hexadecimal digits or as base64), else that of the file
 * beside the database, `<database>.key`, which is made at the first start and readable by its owner alone. Keep a copy of
 * the file apart from copies of the database. Throws `MistakeError` for a key that is none, and for a file that is missing
 * where the store is `sealed` under a key already; `StoreError` where the file cannot be read or made.
 */
export function storeKey(database: string, given: string | undefined, sealed = false): Uint8Array {
  if (given !== undefined && given !== "") return parseKey(given, "OPENWS_STORE_KEY");
  const path = `${database}.key`;
  try {
    return parseKey(readFileSync(path, "utf8"), path);
  } catch (cause) {
    if (cause instanceof MistakeError) throw cause;
    if ((cause as NodeJS.ErrnoException).code !== "ENOENT")
      throw new StoreError(
        "unwritable",
        {
          en: `the store's key ${path} cannot be read; see to the rights to it`,
          zh: `无法读取数据库的密钥文件 ${path}；请检查其权限`,
        },
        { cause },
      );
  }
  if (sealed)
    throw new MistakeError(
      {
        en: `the store's key ${path} is missing; put it back, or set OPENWS_STORE_KEY to what it held`,
        zh: `缺少数据库的密钥文件 ${path}；请将其放回原处，或将 OPENWS_STORE_KEY 设为其内容`,
      },
      { path: "OPENWS_STORE_KEY" },
    );
  const key = randomKey();
  try {
    const file = openSync(path, "wx", 0o600);
    writeSync(file, `${Buffer.from(key).toString("base64")}\n`);
    fsyncSync(file);
    closeSync(file);
  } catch (cause) {
    throw new StoreError(
      "unwritable",
      {
        en: `the store's key ${path} cannot be made; see to the rights to its folder`,
        zh: `无法创建数据库的密钥文件 ${path}；请检查其目录的权限`,
      },
      { cause },
    );
  }
  return key;
}

function parseKey(text: string, where: string): Uint8Array {
  const trimmed = text.trim();
  const key = Buffer.from(trimmed, /^[0-9a-fA-F]{64}$/.test(trimmed) ? "hex" : "base64");
  if (key.length === 32) return new Uint8Array(key);
  throw new MistakeError({
    en: `${where} must hold 32 bytes, as 64 hexadecimal digits or as base64; "openssl rand -base64 32" makes one`,
    zh: `${where} 必须是 32 字节，写作 64 位十六进制或 base64；可用 "openssl rand -base64 32" 生成`,
  });
}
