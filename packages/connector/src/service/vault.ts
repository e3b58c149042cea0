/**
 * What must not be read from the disk: files' keys and signed addresses, addresses to answer at, secrets of bots and
 * webhooks. Whoever has them can read what users sent, or speak for the bot; so a stored body is without them, and they
 * lie beside it encrypted.
 *
 * Decides what is taken out of a body, and under which key it is sealed: what a bot received under one derived from that
 * bot's secret, which is not stored; what is stored of secrets themselves under the store's own key, which lies in another
 * file than the database, or nowhere, so that neither a copy nor a backup of the database gives them away. Does not know
 * ciphers (store.cipher.ts).
 *
 * Invariants: AES-256-GCM with a nonce by chance; what was sealed for one bot opens for no other; what does not open is
 * answered as undefined, never as garbage.
 */

/** AES-256-GCM, HKDF and HMAC with SHA-256, synchronous: a callback must be on its way to the disk in the turn in which it came. */
export interface Cipher {
  /** Derives a key of 32 bytes. */
  key(secret: Uint8Array, info: string): Uint8Array;
  /** Nonce, ciphertext and tag in one; `bound` must be the same when it is opened. */
  seal(key: Uint8Array, plain: Uint8Array, bound: string): Uint8Array<ArrayBuffer>;
  /** HMAC-SHA256, spelled. */
  readonly hmac: (key: Uint8Array, text: string, as: "base64" | "hex") => string;
  /** Undefined for what was not sealed under this key, or was changed. */
  open(key: Uint8Array, sealed: Uint8Array, bound: string): Uint8Array | undefined;
}

/** A body for the disk, and what was taken out of it. */
export interface Redacted {
  readonly body: unknown;
  readonly secrets: readonly Secret[];
}

/** What stood where in a body. */
export type Secret = readonly [path: readonly (string | number)[], value: unknown];

/** The members of a callback that are secret wherever they stand: no address in a callback is anything but a signed one. */
const secretMembers: ReadonlySet<string> = new Set(["aeskey", "url", "response_url"]);

/** How deep bodies are looked into; the wire's own are four deep. */
const maxDepth = 16;

/** Takes the secrets out of a body, which is not changed. */
export function redactBody(body: unknown): Redacted {
  const secrets: Secret[] = [];
  return { body: redact(body, [], secrets), secrets };
}

/** Puts the secrets back into a body, which is not changed. */
export function restoreBody(body: unknown, secrets: readonly Secret[]): unknown {
  const whole = structuredClone(body);
  for (const [path, value] of secrets) {
    let at = whole as Record<string | number, unknown> | undefined;
    for (const step of path.slice(0, -1)) at = at?.[step] as Record<string | number, unknown> | undefined;
    if (at !== undefined) at[path.at(-1)!] = value;
  }
  return whole;
}

function redact(value: unknown, path: readonly (string | number)[], secrets: Secret[]): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (path.length >= maxDepth) {
    secrets.push([path, value]);
    return null;
  }
  if (Array.isArray(value)) return value.map((each, at) => redact(each, [...path, at], secrets));
  const kept: Record<string, unknown> = {};
  for (const [name, member] of Object.entries(value))
    if (secretMembers.has(name) && typeof member === "string") secrets.push([[...path, name], member]);
    else kept[name] = typeof member === "object" ? redact(member, [...path, name], secrets) : member;
  return kept;
}

/** Seals and opens for one bot. */
export interface BotVault {
  /** A body for the disk, and what was taken out of it, sealed; undefined where there was nothing. */
  seal(body: unknown): { readonly body: unknown; readonly sealed: Uint8Array | undefined };
  /** The body as it came; undefined where the sealed part does not open, as after the bot's secret was changed. */
  open(body: unknown, sealed: Uint8Array | undefined): unknown;
}

/** Seals and opens texts under the store's own key. */
export interface Sealer {
  seal(text: string): Promise<string>;
  /** Rejects where the key is another one. */
  unseal(sealed: string): Promise<string>;
}

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder();

/** The vault of a bot. Media addresses live for five minutes, so that they are lost with an old secret harms nobody. */
export function botVault(cipher: Cipher, bot: string, secret: string): BotVault {
  const key = cipher.key(utf8.encode(secret), `openws callback ${bot}`);
  return {
    seal: (whole) => {
      const { body, secrets } = redactBody(whole);
      if (secrets.length === 0) return { body, sealed: undefined };
      return { body, sealed: cipher.seal(key, utf8.encode(JSON.stringify(secrets)), bot) };
    },
    open: (body, sealed) => {
      if (sealed === undefined) return body;
      const plain = cipher.open(key, sealed, bot);
      return plain && restoreBody(body, JSON.parse(fromUtf8.decode(plain)) as Secret[]);
    },
  };
}

/** Seals what the store keeps of secrets, under the store's own key (32 bytes). */
export function storeSealer(cipher: Cipher, storeKey: Uint8Array): Sealer {
  const key = cipher.key(storeKey, "openws secrets");
  const bound = "openws secret";
  return {
    seal: (text) => Promise.resolve(btoa(String.fromCharCode(...cipher.seal(key, utf8.encode(text), bound)))),
    unseal: (sealed) => {
      const plain = cipher.open(
        key,
        Uint8Array.from(atob(sealed), (each) => each.charCodeAt(0)),
        bound,
      );
      return plain === undefined
        ? Promise.reject(new Error("it was sealed under another key"))
        : Promise.resolve(fromUtf8.decode(plain));
    },
  };
}
