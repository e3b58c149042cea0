/**
 * Disk, network and cipher for files, on any runtime that has Node's modules for these: Node, Deno and Bun.
 *
 * Decides how a file is read (twice, never whole), how one is fetched (what may be asked for, for how long, how much) and
 * how it is decrypted. Does not know bots, messages or uploads.
 *
 * Invariants: no more than a chunk or two of a file is held; nothing that was opened stays open after `close`; no error
 * holds a URL, since its signature opens the file to whoever reads the log.
 */
import { createDecipheriv, createHash, randomUUID } from "node:crypto";
import { lookup } from "node:dns";
import { type FileHandle, open, stat, unlink } from "node:fs/promises";
import { type IncomingMessage, request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { BlockList, type LookupFunction, isIP } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setTimeout } from "node:timers";
import { maxChunkBytes, maxMediaBytes } from "@openws/protocol";
import { HttpsProxyAgent } from "https-proxy-agent";
import {
  type DownloadOptions,
  type DownloadedStream,
  FileError,
  type FileSource,
  type Media,
  type OpenFile,
  filenameOf,
  moreThan,
  sniff,
  sniffedBytes,
  usualMaxBytes,
} from "./files.ts";
import { proxyFor } from "./runtime.proxy.ts";

/** How files are fetched. */
export interface MediaOptions {
  /** Where proxies are named (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY); `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Lets a download go to private addresses; false. */
  readonly allowPrivate?: boolean | undefined;
  /** Hosts (`name` or `name:port`) that may be asked whatever their address is: the gateway's own, where that is local. */
  readonly trustedHosts?: readonly string[] | undefined;
}

/** The adapter. */
export function nodeMedia(options: MediaOptions = {}): Media {
  const { allowPrivate = false, trustedHosts = [], env = process.env } = options;
  return {
    open: openFile,
    download: (url, aeskey, limits) => download(url, aeskey, limits ?? {}, { allowPrivate, trustedHosts, env }),
  };
}

// ---------------------------------------------------------------------------------------------------------------------
// Files to send

/** Larger files cannot be sent in any way, so no more is spooled or hashed. */
const mostBytes = maxMediaBytes.file;

async function openFile(source: FileSource, filename: string | undefined): Promise<OpenFile> {
  if (typeof source === "string") return openPath(source, filename ?? basename(source));
  if (source instanceof Uint8Array) return openBytes(source, filename ?? "");
  if (source instanceof Blob) return openBlob(source, filename ?? nameOf(source));
  if (typeof source === "object" && Symbol.asyncIterator in source) return spool(source, filename ?? "");
  throw new FileError("file-source", {
    en: "a file must be a path, a Blob, bytes, or a stream of bytes",
    zh: "文件必须是路径、Blob、字节数组或字节流",
  });
}

/** A File has a name; so does Bun's Blob, whose name may be undefined. */
function nameOf(blob: Blob): string {
  return "name" in blob && typeof blob.name === "string" ? basename(blob.name) : "";
}

async function openPath(path: string, name: string, unlinked = false): Promise<OpenFile> {
  const handle = await opened(path, name);
  try {
    const { size, mtimeMs } = await handle.stat();
    // One buffer for the whole file, so that 20 MB leave no 20 MB of garbage; hence one read at a time.
    const scratch = Buffer.allocUnsafe(Math.min(size, maxChunkBytes));
    const read = async (start: number, end: number): Promise<Buffer> => {
      const bytes = scratch.subarray(0, end - start);
      for (let at = 0; at < bytes.length;) {
        const { bytesRead } = await handle.read(bytes, at, bytes.length - at, start + at);
        if (bytesRead === 0) throw changed(name);
        at += bytesRead;
      }
      return bytes;
    };
    return await summed(name, size, read, {
      check: async () => {
        const now = await handle.stat();
        if (now.size !== size || now.mtimeMs !== mtimeMs) throw changed(name);
      },
      close: async () => {
        await handle.close();
        if (unlinked) await unlink(path);
      },
    });
  } catch (error) {
    await handle.close();
    if (unlinked) await unlink(path);
    throw error;
  }
}

async function opened(path: string, name: string): Promise<FileHandle> {
  try {
    if ((await stat(path)).isFile()) return await open(path, "r");
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "";
    if (code === "ENOENT" || code === "ENOTDIR")
      throw new FileError("file-missing", {
        en: `there is no file ${path}; a relative path is relative to where the process was started`,
        zh: `文件不存在：${path}；相对路径以进程启动目录为准`,
      });
    throw new FileError("file-unreadable", {
      en: `${name} cannot be read (${code}); does the process have the right to?`,
      zh: `无法读取 ${name}（${code}），请检查进程权限`,
    });
  }
  throw new FileError("file-unreadable", { en: `${path} is not a file`, zh: `${path} 不是文件` });
}

function openBytes(bytes: Uint8Array, name: string): Promise<OpenFile> {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return summed(name, view.length, (start, end) => Promise.resolve(view.subarray(start, end)), noHandle);
}

/**
 * By its stream, each of whose pieces is given back when it was copied. They lie outside of the heap, where garbage is
 * collected late: 20 MB left 28 MiB behind by `arrayBuffer()` of slices, 12 by the stream alone, 4 like this (Node 24).
 */
function openBlob(blob: Blob, name: string): Promise<OpenFile> {
  const scratch = Buffer.allocUnsafe(Math.min(blob.size, maxChunkBytes));
  const read = async (start: number, end: number): Promise<Buffer> => {
    let at = 0;
    try {
      const pieces: ReadableStream<Uint8Array<ArrayBuffer>> = blob.slice(start, end).stream();
      for await (const piece of pieces) {
        scratch.set(piece, at);
        at += piece.length;
        // Without its bytes it weighs nothing. They are its own: a stream of bytes hands each piece over.
        if (piece.length === piece.buffer.byteLength) piece.buffer.transfer(0);
      }
    } catch {
      // What stands behind it is a file that is no longer the one it was.
      throw changed(name);
    }
    if (at !== end - start) throw changed(name);
    return scratch.subarray(0, at);
  };
  return summed(name, blob.size, read, noHandle);
}

/** A stream's size and MD5 are known at its end only, and both go first on the wire. */
async function spool(stream: AsyncIterable<Uint8Array>, name: string): Promise<OpenFile> {
  const path = join(tmpdir(), `openws-${randomUUID()}`);
  const handle = await open(path, "wx", 0o600);
  try {
    let bytes = 0;
    for await (const chunk of stream) {
      if (!(chunk instanceof Uint8Array))
        throw new FileError("file-source", {
          en: "a stream that is sent as a file must consist of bytes (Uint8Array)",
          zh: "作为文件发送的流必须由字节（Uint8Array）组成",
        });
      bytes += chunk.byteLength;
      if (bytes > mostBytes) throw tooLarge(name === "" ? "the stream" : name, `more than ${mostBytes}`);
      await handle.write(chunk);
    }
  } catch (error) {
    await handle.close();
    await unlink(path);
    throw error;
  }
  await handle.close();
  return openPath(path, name, true);
}

interface Held {
  check(): Promise<void>;
  close(): Promise<void>;
}

const noHandle: Held = { check: () => Promise.resolve(), close: () => Promise.resolve() };

/** The first pass. */
async function summed(
  name: string,
  sizeBytes: number,
  read: (start: number, end: number) => Promise<Buffer>,
  held: Held,
): Promise<OpenFile> {
  if (sizeBytes > mostBytes) throw tooLarge(name, String(sizeBytes));
  const md5 = createHash("md5");
  for (let at = 0; at < sizeBytes; at += maxChunkBytes)
    md5.update(await read(at, Math.min(at + maxChunkBytes, sizeBytes)));
  let reading: Promise<unknown> = Promise.resolve();
  return {
    name,
    sizeBytes,
    md5: md5.digest("hex"),
    head: new Uint8Array(await read(0, Math.min(sniffedBytes, sizeBytes))),
    base64: (start, end) => {
      const base64 = reading.then(async () => {
        const text = (await read(start, end)).toString("base64");
        await held.check();
        return text;
      });
      reading = base64.catch(() => undefined);
      return base64;
    },
    close: () => held.close(),
  };
}

function tooLarge(name: string, bytes: string): FileError {
  return new FileError("file-too-large", {
    en: `${name} has ${bytes} bytes, WeCom takes at most ${mostBytes} (20 MB); send a link instead`,
    zh: `${name} 大小为 ${bytes} 字节，企业微信上限为 ${mostBytes}（20 MB），请改为发送链接`,
  });
}

function changed(name: string): FileError {
  return new FileError("file-changed", {
    en: `${name} was changed while it was being sent; send it again`,
    zh: `${name} 在发送过程中被修改，请重新发送`,
  });
}

// ---------------------------------------------------------------------------------------------------------------------
// Files that users sent

const maxRedirects = 3;
const defaultTimeoutMs = 60_000;

async function download(
  url: string,
  aeskey: string | undefined,
  { maxBytes = usualMaxBytes, timeoutMs = defaultTimeoutMs, signal }: DownloadOptions,
  rules: Required<{ [Name in keyof MediaOptions]: NonNullable<MediaOptions[Name]> }>,
): Promise<DownloadedStream> {
  const key = aeskey === undefined ? undefined : keyOf(aeskey);
  const ending = new AbortController();
  const timer = setTimeout(() => ending.abort(new FileError("file-timeout", timedOut(timeoutMs))), timeoutMs);
  // A stream that nobody reads must not keep a process alive.
  timer.unref();
  const abort = (): void => ending.abort(signal?.reason);
  signal?.addEventListener("abort", abort, { once: true });
  if (signal?.aborted === true) abort();
  const over = (): void => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  };
  try {
    const response = await get(url, rules, ending.signal);
    const said = response.headers["content-disposition"];
    const clear = decrypted(limited(response, maxBytes), key);
    // The first bytes tell the type, and whether the key fits, before anybody is told that there is a file.
    const first: Uint8Array<ArrayBuffer>[] = [];
    for (let bytes = 0; bytes < sniffedBytes;) {
      const next = await clear.next();
      if (next.done === true) break;
      first.push(next.value);
      bytes += next.value.length;
    }
    const head = new Uint8Array(Buffer.concat(first));
    const all = (async function* () {
      try {
        if (head.length > 0) yield head;
        yield* clear;
      } catch (error) {
        throw signal?.aborted === true ? signal.reason : inWords(error, ending.signal);
      } finally {
        over();
        response.destroy();
      }
    })();
    return {
      stream: ReadableStream.from(all),
      filename: filenameOf(said, head),
      type: sniff(head)?.type ?? "application/octet-stream",
    };
  } catch (error) {
    over();
    const reason = signal?.aborted === true ? (signal.reason as Error) : inWords(error, ending.signal);
    ending.abort();
    throw reason;
  }
}

/** Asks, following a few redirects, each judged like the first address. Resolves with the head of a 200. */
async function get(url: string, rules: Parameters<typeof download>[3], signal: AbortSignal): Promise<IncomingMessage> {
  let address = URL.parse(url);
  for (let redirects = 0; redirects <= maxRedirects; redirects++) {
    if (address === null || (address.protocol !== "https:" && address.protocol !== "http:")) throw forbidden();
    const response = await ask(address, rules, signal);
    const status = response.statusCode ?? 0;
    if (status === 200) return response;
    response.destroy();
    if (status === 403 || status === 404 || status === 410) throw new FileError("file-gone", gone(status));
    const next = response.headers.location;
    if (status < 300 || status >= 400 || next === undefined)
      throw new FileError("file-refused", {
        en: `the server of the file answered ${status}; try again while the link is young`,
        zh: `文件服务器返回 ${status}，请在链接有效期内重试`,
      });
    const from = address;
    address = URL.parse(next, from.href);
    // From https to http the file, and its signature, could be read on the way.
    if (from.protocol === "https:" && address?.protocol !== "https:") throw forbidden();
  }
  throw new FileError("file-refused", {
    en: `the server of the file redirected more than ${maxRedirects} times`,
    zh: `文件服务器重定向超过 ${maxRedirects} 次`,
  });
}

async function ask(address: URL, rules: Parameters<typeof download>[3], signal: AbortSignal): Promise<IncomingMessage> {
  const free =
    rules.allowPrivate || rules.trustedHosts.some((host) => host === address.host || host === address.hostname);
  const literal = address.hostname.replace(/^\[|\]$/g, "");
  if (!free && isIP(literal) !== 0 && isPrivate(literal)) throw forbidden();
  const proxy = proxyFor(address, rules.env);
  return new Promise((resolve, reject) => {
    const request = (address.protocol === "https:" ? httpsRequest : httpRequest)(address, {
      signal,
      // A proxy resolves the name, and stands where it can refuse what it must.
      ...(proxy === undefined ? { agent: false } : { agent: new HttpsProxyAgent(proxy) }),
      // The address that was judged is the one that is connected to: a name that changes in between changes nothing.
      ...(free || proxy !== undefined ? {} : { lookup: publicLookup }),
    });
    request.on("response", resolve);
    request.on("error", reject);
    request.end();
  });
}

/** `lookup` that gives public addresses only, and fails with `file-forbidden` where there is none. */
export const publicLookup: LookupFunction = (hostname, options, callback) => {
  lookup(hostname, { ...options, all: true }, (error, addresses) => {
    if (error !== null) return callback(error, "", 0);
    const allowed = addresses.filter(({ address }) => !isPrivate(address));
    const [first] = allowed;
    if (first === undefined) return callback(forbidden(), "", 0);
    if (options.all === true) return (callback as unknown as (error: null, all: typeof allowed) => void)(null, allowed);
    return callback(null, first.address, first.family);
  });
};

/** Addresses that are not of the public internet (IANA's special-purpose registries). */
const privateAddresses = new BlockList();
for (const [network, bits] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 3],
] as const)
  privateAddresses.addSubnet(network, bits, "ipv4");
for (const [network, bits] of [
  ["::", 96],
  ["64:ff9b::", 96],
  ["64:ff9b:1::", 48],
  ["100::", 64],
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["fc00::", 7],
  ["fe80::", 10],
  ["ff00::", 8],
] as const)
  privateAddresses.addSubnet(network, bits, "ipv6");

/** Whether an IP address is not of the public internet. An IPv4 address inside an IPv6 one is judged as itself. */
export function isPrivate(address: string): boolean {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return isPrivate(mapped);
  if (/^::ffff:/i.test(address)) return true;
  return privateAddresses.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

async function* limited(response: IncomingMessage, maxBytes: number): AsyncGenerator<Buffer, void> {
  if (Number(response.headers["content-length"] ?? 0) > maxBytes) throw moreThan(maxBytes);
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw moreThan(maxBytes);
    yield chunk;
  }
  const promised = response.headers["content-length"];
  if (promised !== undefined && bytes !== Number(promised)) throw new FileError("file-broken-off", brokenOff);
}

/** 43 characters without padding or 44 with it, of either alphabet. */
function keyOf(aeskey: string): Buffer {
  const key = /^[A-Za-z0-9+/_-]{43}=?$/.test(aeskey) ? Buffer.from(aeskey, "base64") : undefined;
  if (key?.length === 32) return key;
  throw new FileError("file-key", {
    en: "the message carries a key for its file that is none (32 bytes in base64 were expected)",
    zh: "消息携带的文件密钥无效（应为 base64 编码的 32 字节）",
  });
}

/**
 * AES-256-CBC, the IV is the first half of the key. The padding is PKCS#7 to a multiple of 32, which no library strips
 * (theirs is 16): the last 32 bytes are held back until it is known that they are the last.
 */
async function* decrypted(
  source: AsyncIterable<Buffer>,
  key: Buffer | undefined,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  if (key === undefined) {
    for await (const chunk of source) yield new Uint8Array(chunk);
    return;
  }
  const decipher = createDecipheriv("aes-256-cbc", key, key.subarray(0, 16)).setAutoPadding(false);
  let held = Buffer.alloc(0);
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.length;
    held = Buffer.concat([held, decipher.update(chunk)]);
    if (held.length <= 32) continue;
    yield new Uint8Array(held.subarray(0, held.length - 32));
    held = held.subarray(held.length - 32);
  }
  if (bytes === 0 || bytes % 16 !== 0) throw new FileError("file-corrupt", corrupt);
  const pad = held.at(-1) ?? 0;
  if (pad < 1 || pad > 32 || pad > held.length || !held.subarray(held.length - pad).every((byte) => byte === pad))
    throw new FileError("file-corrupt", corrupt);
  if (held.length > pad) yield new Uint8Array(held.subarray(0, held.length - pad));
}

/** Whatever went wrong, without the URL. */
function inWords(error: unknown, { aborted, reason }: AbortSignal): Error {
  if (error instanceof FileError) return error;
  if (aborted && reason instanceof Error && reason.name !== "AbortError") return reason;
  const code = (error as NodeJS.ErrnoException).code ?? "unknown";
  if (code === "ECONNRESET" || code === "ERR_STREAM_PREMATURE_CLOSE")
    return new FileError("file-broken-off", brokenOff);
  return new FileError("file-unreachable", {
    en: `the server of the file could not be reached (${code})`,
    zh: `无法连接文件服务器（${code}）`,
  });
}

function forbidden(): FileError {
  return new FileError("file-forbidden", {
    en: "the file is at an address that is not asked: a private one, or one of another protocol; allowPrivate lets it",
    zh: "文件地址不允许访问：内网地址或非 HTTP(S) 协议；如确需访问请设置 allowPrivate",
  });
}

const gone = (status: number) => ({
  en: `the link of the file is not good any more (${status}): it lives for five minutes after the message`,
  zh: `文件链接已失效（${status}）：有效期为消息到达后五分钟`,
});

const timedOut = (timeoutMs: number) => ({
  en: `the file did not come within ${timeoutMs} ms`,
  zh: `文件未能在 ${timeoutMs} 毫秒内下载完成`,
});

const brokenOff = { en: "the download broke off before its end", zh: "下载中途中断" };

const corrupt = {
  en: "the file cannot be decrypted: it is damaged, is no ciphertext, or the key is not its own",
  zh: "文件无法解密：内容损坏、并非密文或密钥不匹配",
};
