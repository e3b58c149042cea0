/**
 * What files are to a bot: where one comes from, what its first bytes say it is, what it may be called, and why it cannot
 * be had. Pure; disks, networks and ciphers are behind {@link Media} (media.ts).
 */
import { OpenwsError } from "@openws/protocol";
import type { MediaKind, Millis } from "@openws/protocol";
import type { Sentence } from "./causes.ts";

/** A file to send: a path, what the platform calls a file, its bytes, or a stream of them (which is spooled to disk). */
export type FileSource = string | Blob | Uint8Array | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>;

/** A file that is open for reading. */
export interface OpenFile {
  /** Without folders; "" where nothing says how it is called. */
  readonly name: string;
  readonly sizeBytes: number;
  /** MD5 of all of it, 32 lower-case hexadecimal digits. */
  readonly md5: string;
  /** Its first bytes, at most {@link sniffedBytes}. */
  readonly head: Uint8Array;
  /** The bytes from `start` up to, not including, `end`, as base64; at most 512 KiB at once. Rejects with `FileError` when the file has changed. */
  base64(start: number, end: number): Promise<string>;
  close(): Promise<void>;
}

/** Bytes that a download takes unless told otherwise: users' files go up to about 100 MB. */
export const usualMaxBytes = 100 * 1024 * 1024;

/** What a download may cost. */
export interface DownloadOptions {
  /** Bytes of ciphertext; beyond it the download fails; 104,857,600 ({@link usualMaxBytes}). */
  readonly maxBytes?: number | undefined;
  /** For all of it; 60,000. The URL itself is good for five minutes after the message. */
  readonly timeoutMs?: Millis | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A file that a user sent, in clear. */
export interface Downloaded {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** A name that is safe to be created in any folder; made up from the type where the server gave none. */
  readonly filename: string;
  /** The media type by content, `application/octet-stream` where it is not recognised. */
  readonly type: string;
}

/** The same, as it comes. Leaving it unread ends the download. */
export interface DownloadedStream {
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly filename: string;
  readonly type: string;
}

/** Where files that users sent come from. */
export interface Downloads {
  /** Fetches and decrypts. Rejects with `FileError`, whose message never holds the URL. */
  download(url: string, aeskey: string | undefined, options?: DownloadOptions): Promise<DownloadedStream>;
}

/** Disk, network and cipher, as the bot needs them. */
export interface Media extends Downloads {
  /** Opens a file and reads it once, for its size and MD5. Rejects with `FileError`. */
  open(source: FileSource, filename: string | undefined): Promise<OpenFile>;
}

/** Why a file cannot be had or sent. `message` is English, `sentence` has both languages. */
export class FileError extends OpenwsError {
  readonly sentence: Sentence;

  /** @param code a slug such as `file-missing`, the only thing to branch on */
  constructor(code: `file-${string}`, sentence: Sentence, options?: ErrorOptions) {
    super(code, sentence.en, options);
    this.name = "FileError";
    this.sentence = sentence;
  }
}

/** A file that is larger than is taken. */
export function moreThan(maxBytes: number): FileError {
  return new FileError("file-too-large", {
    en: `the file has more than ${maxBytes} bytes, which is more than is taken; raise maxBytes if that is wanted`,
    zh: `文件超过 ${maxBytes} 字节的接收上限，如有需要请调大 maxBytes`,
  });
}

/** How many first bytes are looked at to tell what a file is. */
export const sniffedBytes = 64;

/** What a file is by its first bytes. */
export interface Sniffed {
  readonly type: string;
  readonly extension: string;
}

const ascii = (text: string): number[] => Array.from(text, (char) => char.charCodeAt(0));

/** First bytes, where they stand, and what they mean. The longer ones first where one begins like another. */
const signatures: readonly (readonly [offset: number, bytes: readonly number[], Sniffed])[] = [
  [0, [0x89, ...ascii("PNG\r\n"), 0x1a, 0x0a], { type: "image/png", extension: "png" }],
  [0, [0xff, 0xd8, 0xff], { type: "image/jpeg", extension: "jpg" }],
  [0, ascii("GIF8"), { type: "image/gif", extension: "gif" }],
  [8, ascii("WEBP"), { type: "image/webp", extension: "webp" }],
  [0, ascii("BM"), { type: "image/bmp", extension: "bmp" }],
  [4, ascii("ftypqt"), { type: "video/quicktime", extension: "mov" }],
  [4, ascii("ftypM4A"), { type: "audio/mp4", extension: "m4a" }],
  [4, ascii("ftyphei"), { type: "image/heic", extension: "heic" }],
  [4, ascii("ftypavif"), { type: "image/avif", extension: "avif" }],
  [4, ascii("ftyp"), { type: "video/mp4", extension: "mp4" }],
  [0, ascii("#!AMR"), { type: "audio/amr", extension: "amr" }],
  [0, ascii("#!SILK"), { type: "audio/silk", extension: "silk" }],
  [1, ascii("#!SILK"), { type: "audio/silk", extension: "silk" }],
  [0, ascii("ID3"), { type: "audio/mpeg", extension: "mp3" }],
  [8, ascii("WAVE"), { type: "audio/wav", extension: "wav" }],
  [0, ascii("OggS"), { type: "audio/ogg", extension: "ogg" }],
  [0, ascii("%PDF-"), { type: "application/pdf", extension: "pdf" }],
  [0, [0x50, 0x4b, 0x03, 0x04], { type: "application/zip", extension: "zip" }],
  [0, [0x1f, 0x8b], { type: "application/gzip", extension: "gz" }],
];

/** What the first bytes of a file say it is; undefined when they say nothing. */
export function sniff(head: Uint8Array): Sniffed | undefined {
  for (const [offset, bytes, sniffed] of signatures)
    if (head.length >= offset + bytes.length && bytes.every((byte, at) => head[offset + at] === byte)) return sniffed;
  return undefined;
}

/** The extensions of files that are sent as what they are, by the type that their content must have. */
const contentOf: Readonly<Record<string, string>> = {
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  gif: "image/gif",
  amr: "audio/amr",
  mp4: "video/mp4",
};

/**
 * As what a file is to be sent when nobody says: what its name says, unless its content says otherwise; what its content
 * says, where the name says nothing. A file of which nothing is known is a file.
 */
export function kindOf(name: string, head: Uint8Array): { kind: MediaKind | undefined; name: string } {
  const extension = /\.([a-z0-9]{1,8})$/i.exec(name)?.[1]?.toLowerCase();
  const sniffed = sniff(head);
  if (extension !== undefined) {
    const expected = contentOf[extension];
    return { kind: expected !== undefined && sniffed?.type !== expected ? "file" : undefined, name };
  }
  if (sniffed === undefined) return { kind: "file", name: name === "" ? "file" : name };
  // With its extension people can open it.
  return { kind: undefined, name: `${name === "" ? "file" : name}.${sniffed.extension}` };
}

/** Longest name that is made, in characters: every file system takes its UTF-8 with room to spare. */
const longestName = 80;

/**
 * The file name of a download: from any form of `Content-Disposition`, made safe, or made up from what the content is.
 *
 * Forms met: `filename*=UTF-8''%E4%B8%AD.pdf`, a quoted or bare `filename=` that the storage has form-encoded (`+` for a
 * space, `%26` for `&`), one that holds a bare `%`, raw UTF-8 read as Latin-1, and none at all.
 */
export function filenameOf(disposition: string | undefined, head: Uint8Array): string {
  const name = safe(extended(disposition) ?? plain(disposition) ?? "");
  const stem = name === "" ? "file" : name;
  const sniffed = sniff(head);
  return stem.includes(".") || sniffed === undefined ? stem : `${stem}.${sniffed.extension}`;
}

function extended(disposition: string | undefined): string | undefined {
  const parts = /filename\*\s*=\s*"?([\w-]*)'[^']*'([^";]+)/i.exec(disposition ?? "");
  if (parts === null) return undefined;
  const [, charset = "", encoded = ""] = parts;
  if (/^iso-8859-1$/i.test(charset))
    return encoded.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return percentDecoded(encoded);
}

function plain(disposition: string | undefined): string | undefined {
  const parts = /(?:^|[;\s])filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*))/i.exec(disposition ?? "");
  if (parts === null) return undefined;
  const written = parts[1]?.replaceAll(/\\(["\\])/g, "$1") ?? parts[2]!.trim();
  const text = utf8FromLatin1(written);
  // The storage encodes the whole name as in a form; a name with a raw space was not encoded.
  return text.includes(" ") ? text : percentDecoded(text.replaceAll("+", " "));
}

/** Decodes what is valid and leaves the rest as it is: `100%.txt` is a name. */
function percentDecoded(text: string): string {
  return text.replaceAll(/(?:%[0-9a-f]{2})+/gi, (run) => {
    const bytes = Uint8Array.from(run.slice(1).split("%"), (hex) => Number.parseInt(hex, 16));
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch {
      return run;
    }
  });
}

/** HTTP libraries hand headers over as Latin-1; where that is UTF-8 in disguise, it is read as such. */
function utf8FromLatin1(text: string): string {
  const codes = Array.from(text, (char) => char.charCodeAt(0));
  if (codes.every((code) => code < 0x80) || codes.some((code) => code > 0xff)) return text;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(codes));
  } catch {
    return text;
  }
}

/** No folders, no control or direction characters, nothing a file system or shell reads as more than a name. */
function safe(name: string): string {
  const last = name.split(/[/\\]/).findLast((part) => /[^.\s]/.test(part)) ?? "";
  const clean = last
    .normalize("NFC")
    .replaceAll(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}]/gu, "")
    .replaceAll(/[<>:"|?*]/g, "_")
    .replaceAll(/^[.\s]+|[.\s]+$/g, "");
  const reserved = /^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)/i.test(clean) ? `_${clean}` : clean;
  const characters = Array.from(reserved);
  if (characters.length <= longestName) return reserved;
  const extension = /\.[a-z0-9]{1,8}$/i.exec(reserved)?.[0] ?? "";
  return characters.slice(0, longestName - extension.length).join("") + extension;
}
