/**
 * Files: what users send to a bot, encrypted under a URL of its own; what a bot uploaded, under a media_id.
 *
 * A user's file is AES-256-CBC ciphertext: the key is the base64 of 32 bytes, the initialisation vector is the first 16
 * bytes of the key, and the padding is PKCS#7 to a multiple of 32 (document 101033). The URL says nothing about the file;
 * its name stands in the Content-Disposition of the download alone.
 *
 * Both stores are bounded by a life and by bytes: what is too old or too much is forgotten, oldest first.
 */
import { createCipheriv } from "node:crypto";
import type { MediaKind } from "@openws/protocol/frames";
import type { Chance } from "./chance.ts";
import type { Millis } from "./clock.ts";
import type { FaultOf } from "./faults.ts";
import type { Switches } from "./switches.ts";

/** A file in clear. */
export interface MediaFile {
  readonly kind: MediaKind;
  readonly filename: string;
  readonly bytes: Uint8Array;
}

/** A file a user sent: `token` is what its URL carries, `aeskey` what the callback carries. */
export interface InboundFile extends MediaFile {
  readonly token: string;
  readonly aeskey: string;
  readonly key: Uint8Array;
  readonly offeredAt: Millis;
}

/** A file a bot uploaded. */
export interface UploadedFile extends MediaFile {
  readonly mediaId: string;
  readonly bot: string;
  readonly createdAt: Millis;
}

/** An answer to an HTTP request, without a server. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: Uint8Array | string;
  /** How long the server waits before it answers. */
  readonly afterMs?: Millis;
}

/** The bytes that all files together may take, each way. */
const maxStoredBytes = 256 * 1024 * 1024;
const maxStoredFiles = 20_000;

/** Both stores. `now` is the world clock throughout. */
export class Media {
  readonly #inbound = new Shelf<InboundFile>();
  readonly #uploaded = new Shelf<UploadedFile>();
  readonly #chance: Chance;

  constructor(chance: Chance) {
    this.#chance = chance;
  }

  /** Puts a user's file behind a fresh URL with a fresh key. */
  offer(now: Millis, file: MediaFile, switches: Switches): InboundFile {
    const key = this.#chance.bytes(32);
    const base64 = Buffer.from(key).toString("base64");
    const aeskey = switches.aeskeyLength === 43 ? base64.slice(0, 43) : base64;
    const offered = { ...file, token: this.#chance.id(40), aeskey, key, offeredAt: now };
    this.#inbound.expire(now - switches.mediaUrlLifeMs - graceMs, (old) => old.offeredAt);
    this.#inbound.put(offered.token, offered);
    return offered;
  }

  /** What a GET of a user's file answers: ciphertext, 403 when it is too late, 404 when there is no such file. */
  download(now: Millis, token: string, switches: Switches, fault: FaultOf<"media"> | undefined): HttpAnswer {
    const file = this.#inbound.get(token);
    if (!file || fault?.what === "missing") return storageError(404, "NoSuchKey", "The specified key does not exist.");
    if (now - file.offeredAt > switches.mediaUrlLifeMs || fault?.what === "expired")
      return storageError(403, "AccessDenied", "Request has expired");
    const answer = {
      status: 200,
      headers: { "content-type": "application/octet-stream", ...disposition(file.filename, switches.disposition) },
      body: encrypt(file.bytes, file.key),
    };
    return fault ? spoiled(answer, file, fault) : answer;
  }

  /** Keeps an uploaded file; its media_id is good for `mediaLifeMs`. */
  store(now: Millis, bot: string, file: MediaFile, switches: Switches): UploadedFile {
    const stored = { ...file, bot, mediaId: `3${this.#chance.id(63)}`, createdAt: now };
    this.#uploaded.expire(now - switches.mediaLifeMs, (old) => old.createdAt);
    this.#uploaded.put(stored.mediaId, stored);
    return stored;
  }

  /** The file behind a media_id, if this bot uploaded it and it is young enough. */
  uploaded(now: Millis, bot: string, mediaId: string, switches: Switches): UploadedFile | undefined {
    const file = this.#uploaded.get(mediaId);
    return file && file.bot === bot && now - file.createdAt <= switches.mediaLifeMs ? file : undefined;
  }

  /** The file behind a media_id, whoever asks: for the page, which shows what a user would see. */
  shown(mediaId: string): UploadedFile | undefined {
    return this.#uploaded.get(mediaId);
  }

  clear(): void {
    this.#inbound.clear();
    this.#uploaded.clear();
  }
}

/** How long after its end a URL still answers 403 instead of 404. */
const graceMs = 3_600_000;

/** Insertion-ordered files, bounded in number and bytes. */
class Shelf<File extends MediaFile> {
  readonly #files = new Map<string, File>();
  #bytes = 0;

  get(id: string): File | undefined {
    return this.#files.get(id);
  }

  put(id: string, file: File): void {
    this.#files.set(id, file);
    this.#bytes += file.bytes.length;
    for (const [oldest, { bytes }] of this.#files) {
      if (this.#bytes <= maxStoredBytes && this.#files.size <= maxStoredFiles) break;
      if (oldest === id) break;
      this.#forget(oldest, bytes);
    }
  }

  expire(before: Millis, bornAt: (file: File) => Millis): void {
    for (const [id, file] of this.#files) {
      if (bornAt(file) >= before) break;
      this.#forget(id, file.bytes);
    }
  }

  clear(): void {
    this.#files.clear();
    this.#bytes = 0;
  }

  #forget(id: string, bytes: Uint8Array): void {
    this.#files.delete(id);
    this.#bytes -= bytes.length;
  }
}

/** Whether a file begins as one of its kind does (GW-UPLOAD-12). */
export const hasFormat = (kind: MediaKind, bytes: Uint8Array): boolean => {
  const head = Buffer.from(bytes.subarray(0, 12)).toString("latin1");
  return formats[kind].some(([at, sign]) => head.startsWith(sign, at));
};

/** Where a format's sign stands, and the sign. */
const formats: Readonly<Record<MediaKind, readonly (readonly [at: number, sign: string])[]>> = {
  image: [
    [0, "\x89PNG\r\n\x1a\n"],
    [0, "\xff\xd8\xff"],
    [0, "GIF8"],
  ],
  voice: [[0, "#!AMR"]],
  video: [[4, "ftyp"]],
  file: [[0, ""]],
};

/** AES-256-CBC with the key's first 16 bytes as IV, padded by PKCS#7 to a multiple of 32: never less than one byte. */
export const encrypt = (clear: Uint8Array, key: Uint8Array, pad: number = 32 - (clear.length % 32)): Uint8Array => {
  const cipher = createCipheriv("aes-256-cbc", key, key.subarray(0, 16)).setAutoPadding(false);
  return Buffer.concat([cipher.update(clear), cipher.update(Buffer.alloc(pad, pad)), cipher.final()]);
};

/** The real storage form-encodes the plain name: space is `+`, `&` is `%26`. */
const disposition = (filename: string, form: Switches["disposition"]): Record<string, string> => {
  if (form === "none") return {};
  const encoded = encodeURIComponent(filename);
  return {
    "content-disposition":
      form === "star"
        ? `attachment; filename*=UTF-8''${encoded}`
        : `attachment; filename="${encoded.replaceAll("%20", "+")}"`,
  };
};

/** A download as a fault makes it. */
const spoiled = (answer: HttpAnswer, { bytes, key }: InboundFile, fault: FaultOf<"media">): HttpAnswer => {
  switch (fault.what) {
    case "slow":
      return { ...answer, afterMs: fault.ms ?? 30_000 };
    case "oversized": {
      const size = fault.bytes ?? 101 * 1024 * 1024;
      return { ...answer, body: encrypt(Buffer.alloc(size), key) };
    }
    case "plain":
      return { ...answer, body: bytes };
    case "bad-padding":
      return { ...answer, body: encrypt(Buffer.concat([bytes, Buffer.alloc(32 - (bytes.length % 32), 0xee)]), key, 0) };
    case "html":
      return {
        status: 200,
        headers: { "content-type": "text/html; charset=utf-8" },
        body: "<!doctype html><title>502 Bad Gateway</title><h1>502 Bad Gateway</h1>\n",
      };
    case "odd-name":
      // As it stands, not encoded: that is what breaks parsers. Control characters cannot be in a header.
      return {
        ...answer,
        headers: {
          ...answer.headers,
          "content-disposition": `attachment; filename="${headerSafe(fault.name ?? "../100%.txt")}"`,
        },
      };
    case "missing":
    case "expired":
      return answer;
  }
};

const headerSafe = (name: string): string => name.replace(/[^\x20-\x7e]/g, "_");

const storageError = (status: number, code: string, message: string): HttpAnswer => ({
  status,
  headers: { "content-type": "application/xml" },
  body: `<?xml version='1.0' encoding='utf-8' ?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>\n`,
});

/** What a user sends when a test does not say which file: small and of the right format. */
export const sampleFile = (kind: MediaKind): MediaFile => samples[kind];

const samples: Record<MediaKind, MediaFile> = {
  image: {
    kind: "image",
    filename: "sample.png",
    bytes: Buffer.from(
      "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==",
      "base64",
    ),
  },
  voice: {
    kind: "voice",
    filename: "sample.amr",
    bytes: Buffer.from("#!AMR\n\x3c\x91\x17\x16\xbe\x66\x78\x00", "latin1"),
  },
  video: {
    kind: "video",
    filename: "sample.mp4",
    bytes: Buffer.from("\0\0\0\x18ftypmp42\0\0\0\0mp42isom\0\0\0\x08mdat", "latin1"),
  },
  file: { kind: "file", filename: "sample.txt", bytes: Buffer.from("A sample file, as a user might send it.\n") },
};
