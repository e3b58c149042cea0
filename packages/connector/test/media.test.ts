import { createCipheriv, createHash } from "node:crypto";
import { openAsBlob } from "node:fs";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type DownloadOptions, type Downloaded, FileError } from "../src/files.ts";
import { type MediaOptions, nodeMedia } from "../src/media.ts";

const ended: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0)) await end();
});

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "openws-test-"));
  ended.push(() => rm(folder, { recursive: true }));
});

/** Serves every request in one way; resolves with its address. */
async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  ended.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/secret-path?sign=s3cret`;
}

const key = Buffer.from(Array.from({ length: 32 }, (_, at) => at * 7));
const aeskey = key.toString("base64");

function encrypt(bytes: Uint8Array, pad = 32 - (bytes.length % 32), fill = pad): Buffer {
  const cipher = createCipheriv("aes-256-cbc", key, key.subarray(0, 16)).setAutoPadding(false);
  return Buffer.concat([cipher.update(bytes), cipher.update(Buffer.alloc(pad, fill)), cipher.final()]);
}

async function fetched(
  url: string,
  with_: string | undefined,
  options?: DownloadOptions,
  media: MediaOptions = { allowPrivate: true },
): Promise<Downloaded> {
  const { stream, ...file } = await nodeMedia(media).download(url, with_, options);
  return { ...file, bytes: new Uint8Array(await new Response(stream).arrayBuffer()) };
}

async function why(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(FileError);
  const { code, message, sentence, stack = "" } = error as FileError;
  expect(sentence.zh).toMatch(/\p{Script=Han}/u);
  expect(message + stack + sentence.zh).not.toContain("s3cret");
  return code;
}

describe("a file that a user sent", () => {
  test.for([1, 16, 17, 31, 32])("padding of %i bytes is stripped, no more and no less", async (pad) => {
    const clear = Buffer.alloc(96 - pad, "x");
    const url = await serve((_, response) => response.end(encrypt(clear, pad)));
    expect(Buffer.from((await fetched(url, aeskey)).bytes)).toEqual(clear);
  });

  test("the key may have 43 or 44 characters, of either alphabet", async () => {
    const url = await serve((_, response) => response.end(encrypt(Buffer.from("hello"))));
    for (const each of [aeskey, aeskey.slice(0, 43), key.toString("base64url")])
      expect(Buffer.from((await fetched(url, each)).bytes).toString()).toBe("hello");
  });

  test("whatever the sizes of the pieces it comes in, it is the same", async () => {
    const clear = Buffer.from(Array.from({ length: 1_000 }, (_, at) => at & 0xff));
    const url = await serve((_, response) => {
      const cipher = encrypt(clear);
      const sizes = [1, 15, 16, 17, 31, 32, 33, 64, 500, 10_000];
      let at = 0;
      const next = (): void => {
        const size = sizes.shift();
        if (size === undefined || at >= cipher.length) return void response.end();
        response.write(cipher.subarray(at, at + size), next);
        at += size;
      };
      next();
    });
    expect(Buffer.from((await fetched(url, aeskey)).bytes)).toEqual(clear);
  });

  test("without a key it is taken as it is", async () => {
    const url = await serve((_, response) => response.end("plain"));
    expect(Buffer.from((await fetched(url, undefined)).bytes).toString()).toBe("plain");
  });

  test("its name comes from the header, its type from its content", async () => {
    const url = await serve((_, response) =>
      response
        .setHeader("content-disposition", 'attachment; filename="..%2Fa+b"')
        .end(encrypt(Buffer.from("%PDF-1.7"))),
    );
    expect(await fetched(url, aeskey)).toMatchObject({ filename: "a b.pdf", type: "application/pdf" });
  });

  test.for([
    ["a byte of the padding is wrong", encrypt(Buffer.alloc(31, "x"), 33, 32).subarray(0, 64).fill(0, 60)],
    ["the padding says 0", encrypt(Buffer.alloc(32), 32, 0)],
    ["the padding says 33", encrypt(Buffer.alloc(32), 32, 33)],
    ["it is empty", Buffer.alloc(0)],
    ["it is no multiple of 16", encrypt(Buffer.from("hello")).subarray(0, 31)],
    ["it is a page of HTML", Buffer.from("<html><body>Not found</body></html>")],
  ] as [string, Buffer][])("%s: it fails and says why", async ([, body]) => {
    const url = await serve((_, response) => response.end(body));
    expect(await why(fetched(url, aeskey))).toBe("file-corrupt");
  });

  test.for([
    [403, "file-gone"],
    [404, "file-gone"],
    [500, "file-refused"],
    [204, "file-refused"],
  ] as const)("status %i is %s", async ([status, code]) => {
    const url = await serve((_, response) => response.writeHead(status).end());
    expect(await why(fetched(url, aeskey))).toBe(code);
  });

  test("a key that is none is found before anything is asked", async () => {
    let asked = 0;
    const url = await serve((_, response) => {
      asked++;
      response.end();
    });
    for (const bad of ["", "short", `${aeskey}x`, "!".repeat(43)])
      expect(await why(fetched(url, bad))).toBe("file-key");
    expect(asked).toBe(0);
  });

  test("one that is too large is not taken, whether it says so or not", async () => {
    const told = await serve((_, response) =>
      response.writeHead(200, { "content-length": 4_000 }).end(Buffer.alloc(4_000)),
    );
    const untold = await serve((_, response) => {
      response.write(Buffer.alloc(2_000));
      response.end(Buffer.alloc(2_000));
    });
    for (const url of [told, untold])
      expect(await why(fetched(url, undefined, { maxBytes: 3_999 }))).toBe("file-too-large");
  });

  test("one that does not come in time, or breaks off, is given up", async () => {
    const silent = await serve(() => undefined);
    expect(await why(fetched(silent, undefined, { timeoutMs: 50 }))).toBe("file-timeout");
    const stalled = await serve((_, response) => void response.write(Buffer.alloc(100)));
    expect(await why(fetched(stalled, undefined, { timeoutMs: 100 }))).toBe("file-timeout");
    const broken = await serve((_, response) => {
      response.writeHead(200, { "content-length": 100 });
      response.write(Buffer.alloc(70), () => response.destroy());
    });
    expect(await why(fetched(broken, undefined))).toBe("file-broken-off");
    expect(await why(fetched("http://127.0.0.1:1/?sign=s3cret", undefined))).toBe("file-unreachable");
  });

  test("an abort is passed on as it was given", async () => {
    const url = await serve(() => undefined);
    const reason = new Error("not wanted any more");
    const controller = new AbortController();
    const fetching = fetched(url, undefined, { signal: controller.signal });
    controller.abort(reason);
    await expect(fetching).rejects.toBe(reason);
  });

  test("private addresses are not asked, by number or by name, directly or by redirect; trusted hosts are", async () => {
    let asked = 0;
    const url = await serve((_, response) => {
      asked++;
      response.end("x");
    });
    const { port } = new URL(url);
    for (const address of [url, `http://localhost:${port}/`, `http://[::1]:${port}/`, `http://2130706433:${port}/`])
      expect(await why(fetched(address, undefined, {}, {}))).toBe("file-forbidden");
    expect(asked).toBe(0);
    const redirecting = await serve((_, response) => response.writeHead(302, { location: url }).end());
    const trustedHosts = [new URL(redirecting).host];
    expect(await why(fetched(redirecting, undefined, {}, { trustedHosts }))).toBe("file-forbidden");
    expect(asked).toBe(0);
    expect((await fetched(url, undefined, {}, { trustedHosts: [new URL(url).host] })).bytes).toHaveLength(1);
  });

  test("a few redirects are followed, a circle is not, another protocol never", async () => {
    const target = await serve((_, response) => response.end("x"));
    const once = await serve((_, response) => response.writeHead(307, { location: target }).end());
    expect((await fetched(once, undefined)).bytes).toHaveLength(1);
    const circle = await serve((_, response) => response.writeHead(302, { location: "/" }).end());
    expect(await why(fetched(circle, undefined))).toBe("file-refused");
    for (const location of ["file:///etc/passwd", "ftp://x/", "data:,x"]) {
      const bad = await serve((_, response) => response.writeHead(302, { location }).end());
      expect(await why(fetched(bad, undefined))).toBe("file-forbidden");
    }
  });

  test("a stream that is left unread ends the download", async () => {
    let closed: (() => void) | undefined;
    const gone = new Promise<void>((resolve) => {
      closed = resolve;
    });
    const url = await serve((request, response) => {
      request.socket.on("close", () => closed!());
      const more = (): void => void response.write(Buffer.alloc(65_536), () => !response.destroyed && more());
      more();
    });
    const { stream } = await nodeMedia({ allowPrivate: true }).download(url, undefined);
    const reader = stream.getReader();
    await reader.read();
    await reader.cancel();
    await gone;
  });
});

describe("a file to send", () => {
  const media = nodeMedia();
  const content = Buffer.from(Array.from({ length: 300_000 }, (_, at) => (at * 7) & 0xff));
  const md5 = createHash("md5").update(content).digest("hex");

  async function readBack(source: Parameters<typeof media.open>[0], filename?: string) {
    const file = await media.open(source, filename);
    try {
      const all = (await Promise.all([file.base64(0, 100_000), file.base64(100_000, file.sizeBytes)])).map((each) =>
        Buffer.from(each, "base64"),
      );
      return { name: file.name, md5: file.md5, same: Buffer.concat(all).equals(content) };
    } finally {
      await file.close();
    }
  }

  test("is the same from a path, a Blob, a File, bytes and a stream", async () => {
    const path = join(folder, "报告.bin");
    await writeFile(path, content);
    async function* pieces() {
      for (let at = 0; at < content.length; at += 70_000) yield content.subarray(at, at + 70_000);
    }
    expect(await readBack(path)).toEqual({ name: "报告.bin", md5, same: true });
    expect(await readBack(new Blob([content]))).toEqual({ name: "", md5, same: true });
    expect(await readBack(new File([content], "f.bin"))).toEqual({ name: "f.bin", md5, same: true });
    expect(await readBack(content, "x.bin")).toEqual({ name: "x.bin", md5, same: true });
    expect(await readBack(pieces(), "s.bin")).toEqual({ name: "s.bin", md5, same: true });
    expect(await readBack(new Blob([content]).stream())).toEqual({ name: "", md5, same: true });
  });

  test("a spooled stream leaves nothing on the disk, whether it went well or not", async () => {
    const before = (await readdir(tmpdir())).filter((name) => name.startsWith("openws-") && !name.includes("test"));
    const file = await media.open(new Blob(["hello"]).stream(), "x");
    await file.close();
    async function* endless() {
      for (;;) yield new Uint8Array(1_048_576);
    }
    expect(await why(media.open(endless(), "x"))).toBe("file-too-large");
    async function* broken() {
      yield new Uint8Array(10);
      throw new Error("the source broke");
    }
    await expect(media.open(broken(), "x")).rejects.toThrow("the source broke");
    const after = (await readdir(tmpdir())).filter((name) => name.startsWith("openws-") && !name.includes("test"));
    expect(after).toEqual(before);
  });

  test("one that is missing, is a folder, or is too large is said to be", async () => {
    expect(await why(media.open(join(folder, "none"), undefined))).toBe("file-missing");
    expect(await why(media.open(folder, undefined))).toBe("file-unreadable");
    expect(await why(media.open(new Uint8Array(20 * 1_048_576 + 1), "x"))).toBe("file-too-large");
    expect(await why(media.open(42 as never, undefined))).toBe("file-source");
    expect(await why(media.open(["text"] as never, undefined))).toBe("file-source");
  });

  test("one that changes while it is read is not sent as if it had not", async () => {
    const path = join(folder, "a.bin");
    await writeFile(path, content);
    const file = await media.open(path, undefined);
    await writeFile(path, "shorter");
    expect(await why(file.base64(0, 100_000))).toBe("file-changed");
    await file.close();
  });

  test("a Blob whose file changes is not sent as if it had not, unless it holds the bytes itself", async () => {
    const path = join(folder, "a.bin");
    await writeFile(path, content);
    const file = await media.open(await openAsBlob(path), "a.bin");
    await writeFile(path, "shorter");
    const sent = file.base64(0, content.length);
    // Deno reads the file when it makes the Blob.
    if ("Deno" in globalThis) expect(await sent).toBe(Buffer.from(content).toString("base64"));
    else expect(await why(sent)).toBe("file-changed");
    await file.close();
  });
});
