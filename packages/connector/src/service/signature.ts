/**
 * How a webhook proves where it comes from, and how its receiver checks it: both header families over the raw body.
 *
 * `X-Webhook-Signature` is the lower-case hex HMAC-SHA256 of `timestamp + ":" + body` under the secret as it is written;
 * `webhook-signature` is that of Standard Webhooks (standardwebhooks.com, version 1): base64 over `id.timestamp.body`, under
 * the bytes that a `whsec_` secret encodes, or the secret's own bytes where it has no such prefix.
 *
 * Decides nothing about requests. Runs wherever there is WebCrypto.
 */
import { OpenwsError } from "@openws/protocol";
import { hex, sameText } from "./proof.ts";

/** The headers of one delivery, by name. */
export interface SignedHeaders {
  readonly "webhook-id": string;
  /** Unix seconds. */
  readonly "webhook-timestamp": string;
  /** One `v1,<base64>` for each secret, newest first, with spaces between. */
  readonly "webhook-signature": string;
  readonly "x-webhook-timestamp": string;
  /** Hex, under the newest secret. */
  readonly "x-webhook-signature": string;
  /** Hex, under the secret that is being replaced, while it is. */
  readonly "x-webhook-signature-previous"?: string;
}

const encoder = new TextEncoder();

/** HMAC-SHA256 of a text, spelled. */
export type Hmac = (key: Uint8Array<ArrayBuffer>, text: string, as: "base64" | "hex") => string | Promise<string>;

/** Keys by their bytes' array: importing one costs more than signing. */
const imported = new WeakMap<Uint8Array<ArrayBuffer>, ReturnType<typeof importKey>>();
/** The bytes of secrets, in both forms; secrets are few. */
const keys = {
  standard: new Map<string, Uint8Array<ArrayBuffer>>(),
  plain: new Map<string, Uint8Array<ArrayBuffer>>(),
};
const rememberedKeys = 1_000;

/**
 * Signs a body. `id` must stay the same over all tries of a delivery, and `timestamp` (Unix seconds) is that of the try.
 * `secrets` are one, or two while rotating, newest first. `hmac` is WebCrypto's where no other is given: one that needs no
 * other thread takes a fifth of the time.
 */
export async function signatures(
  secrets: readonly string[],
  { id, timestamp, body }: { id: string; timestamp: number; body: string },
  hmac: Hmac = webHmac,
): Promise<SignedHeaders> {
  const seconds = String(timestamp);
  const standard: string[] = [];
  const plain: string[] = [];
  for (const secret of secrets) {
    standard.push(`v1,${await hmac(keyOf("standard", secret), `${id}.${seconds}.${body}`, "base64")}`);
    plain.push(await hmac(keyOf("plain", secret), `${seconds}:${body}`, "hex"));
  }
  const [newest = "", previous] = plain;
  return {
    "webhook-id": id,
    "webhook-timestamp": seconds,
    "webhook-signature": standard.join(" "),
    "x-webhook-timestamp": seconds,
    "x-webhook-signature": newest,
    ...(previous === undefined ? {} : { "x-webhook-signature-previous": previous }),
  };
}

/** What `verifyWebhook` needs to know. */
export interface VerifyOptions {
  /** The webhook's secret; several while it is being rotated. */
  readonly secret: string | readonly string[];
  /** The raw body, byte for byte as it came: parsing and stringifying it again changes it. */
  readonly body: string | Uint8Array;
  /** The request's headers: a `Headers`, or an object as Node and Express have it. */
  readonly headers: Headers | Readonly<Record<string, string | readonly string[] | undefined>>;
  /** How far the request's time may be from now; 300,000, five minutes. */
  readonly toleranceMs?: number | undefined;
  /** Milliseconds since 1970; `Date.now()`. */
  readonly now?: number | undefined;
}

/** A delivery is not from who it says, or too old. A receiver answers 401. */
export class WebhookVerificationError extends OpenwsError {
  constructor(message: string) {
    super("webhook-unverified", message);
    this.name = "WebhookVerificationError";
  }
}

/**
 * Checks a delivery and returns its parsed body. Takes whichever header family is there, Standard Webhooks first.
 * Rejects with `WebhookVerificationError` (answer 401) or, where a proven body is no JSON, with `SyntaxError` (answer 400).
 * Deliveries come at least once: remember `msgId`, and answer 200 to one that is known.
 */
export async function verifyWebhook(options: VerifyOptions): Promise<unknown> {
  const { headers, toleranceMs = 300_000, now = Date.now() } = options;
  const body = typeof options.body === "string" ? options.body : new TextDecoder().decode(options.body);
  const secrets = typeof options.secret === "string" ? [options.secret] : options.secret;
  const header = (name: string): string | undefined => headerOf(headers, name);

  const [id, signed] = [header("webhook-id"), header("webhook-signature")];
  const standard = id !== undefined && signed !== undefined;
  const timestamp = header(standard ? "webhook-timestamp" : "x-webhook-timestamp");
  const given = standard
    ? signed.split(" ").flatMap((each) => (each.startsWith("v1,") ? [each.slice(3)] : []))
    : [header("x-webhook-signature"), header("x-webhook-signature-previous")].flatMap((each) => each ?? []);
  if (timestamp === undefined || given.length === 0)
    throw new WebhookVerificationError(
      "the request carries no signature: webhook-id, webhook-timestamp and webhook-signature, or X-Webhook-Timestamp and X-Webhook-Signature",
    );
  if (!/^\d{1,12}$/.test(timestamp) || Math.abs(Number(timestamp) * 1000 - now) > toleranceMs)
    throw new WebhookVerificationError(
      `the request's time is more than ${toleranceMs / 1000} s from this machine's: it was repeated, or a clock is wrong`,
    );
  for (const secret of secrets) {
    const expected = standard
      ? await webHmac(keyOf("standard", secret), `${id}.${timestamp}.${body}`, "base64")
      : await webHmac(keyOf("plain", secret), `${timestamp}:${body}`, "hex");
    if (given.some((each) => sameText(each, expected))) return JSON.parse(body) as unknown;
  }
  throw new WebhookVerificationError(
    "the signature does not fit: another secret, or a body that was changed on its way (use the raw bytes)",
  );
}

function headerOf(headers: VerifyOptions["headers"], name: string): string | undefined {
  if (headers instanceof Headers) return headers.get(name) ?? undefined;
  const found =
    headers[name] ?? Object.entries(headers).find(([each]) => each.toLowerCase() === name.toLowerCase())?.[1];
  return typeof found === "string" ? found : found?.[0];
}

function keyOf(family: "standard" | "plain", secret: string): Uint8Array<ArrayBuffer> {
  const known = keys[family];
  let key = known.get(secret);
  if (key === undefined) {
    if (known.size >= rememberedKeys) known.clear();
    key = family === "standard" ? standardKey(secret) : encoder.encode(secret);
    known.set(secret, key);
  }
  return key;
}

async function webHmac(key: Uint8Array<ArrayBuffer>, text: string, as: "base64" | "hex"): Promise<string> {
  let ready = imported.get(key);
  if (ready === undefined) {
    ready = importKey(key);
    imported.set(key, ready);
  }
  const mac = new Uint8Array(await crypto.subtle.sign("HMAC", await ready, encoder.encode(text)));
  return as === "hex" ? hex(mac) : base64(mac);
}

function importKey(bytes: Uint8Array<ArrayBuffer>) {
  return crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
}

function standardKey(secret: string): Uint8Array<ArrayBuffer> {
  if (!secret.startsWith("whsec_")) return encoder.encode(secret);
  return Uint8Array.from(atob(secret.slice("whsec_".length)), (char) => char.codePointAt(0)!);
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}
