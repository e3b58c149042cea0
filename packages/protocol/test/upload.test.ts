import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UsageError } from "../src/errors.ts";
import { encode, maxChunkBytes } from "../src/frames.ts";
import type { Outcome } from "../src/requests.ts";
import { planUpload, Upload } from "../src/upload.ts";
import type { UploadEffect, UploadInput, UploadOptions, UploadPlan, UploadResult, UploadState } from "../src/upload.ts";

const kib = 1_024;
const mb = 1_048_576;
const plan = (sizeBytes: number, filename = "a.pdf"): UploadPlan => {
  const planned = planUpload({ filename, sizeBytes });
  if (!("plan" in planned)) throw new Error(planned.refusal.reason);
  return planned.plan;
};

describe("planUpload", () => {
  it.each([
    ["a.png", "image"],
    ["a.JPG", "image"],
    ["a.b.jpeg", "image"],
    ["a.gif", "image"],
    ["a.amr", "voice"],
    ["a.mp4", "video"],
    ["a.pdf", "file"],
    ["a.", "file"],
    ["png", "file"],
    [".png", "image"],
  ] as const)("sends %s as %s", (filename, kind) => {
    expect(planUpload({ filename, sizeBytes: 5 })).toEqual({
      plan: { kind, filename, sizeBytes: 5, chunks: 1, notices: [] },
    });
  });

  it.each([
    ["webp", "image", "png, jpg, jpeg, gif"],
    ["bmp", "image", "png, jpg, jpeg, gif"],
    ["svg", "image", "png, jpg, jpeg, gif"],
    ["tif", "image", "png, jpg, jpeg, gif"],
    ["tiff", "image", "png, jpg, jpeg, gif"],
    ["heic", "image", "png, jpg, jpeg, gif"],
    ["heif", "image", "png, jpg, jpeg, gif"],
    ["avif", "image", "png, jpg, jpeg, gif"],
    ["ico", "image", "png, jpg, jpeg, gif"],
    ["mp3", "voice", "amr"],
    ["wav", "voice", "amr"],
    ["m4a", "voice", "amr"],
    ["aac", "voice", "amr"],
    ["ogg", "voice", "amr"],
    ["oga", "voice", "amr"],
    ["opus", "voice", "amr"],
    ["flac", "voice", "amr"],
    ["wma", "voice", "amr"],
    ["silk", "voice", "amr"],
    ["mov", "video", "mp4"],
    ["avi", "video", "mp4"],
    ["mkv", "video", "mp4"],
    ["webm", "video", "mp4"],
    ["m4v", "video", "mp4"],
    ["mpg", "video", "mp4"],
    ["mpeg", "video", "mp4"],
    ["wmv", "video", "mp4"],
    ["flv", "video", "mp4"],
    ["3gp", "video", "mp4"],
  ])("sends a.%s as a file and says that WeCom takes no such %s", (extension, kind, fitting) => {
    const message = `.${extension} goes as a file: as ${kind} WeCom takes ${fitting}`;
    expect(planUpload({ filename: `a.${extension}`, sizeBytes: 9 })).toMatchObject({
      plan: { kind: "file", notices: [{ code: "format", message }] },
    });
  });

  it("believes the caller's kind where the name says nothing against it", () => {
    expect(planUpload({ filename: "photo", sizeBytes: 9, kind: "image" })).toMatchObject({
      plan: { kind: "image", notices: [] },
    });
    expect(planUpload({ filename: "a.png", sizeBytes: 9, kind: "file" })).toMatchObject({
      plan: { kind: "file", notices: [] },
    });
    expect(planUpload({ filename: "a.png", sizeBytes: 9, kind: "voice" })).toMatchObject({
      plan: { kind: "file", notices: [{ code: "format", message: ".png goes as a file: as voice WeCom takes amr" }] },
    });
    expect(planUpload({ filename: "a.zip", sizeBytes: 9, kind: "video" })).toMatchObject({
      plan: { kind: "file", notices: [{ code: "format" }] },
    });
  });

  it.each([
    ["a.png", "image", 10 * mb],
    ["a.amr", "voice", 2 * mb],
    ["a.mp4", "video", 10 * mb],
  ] as const)("sends %s as %s up to %i bytes, a larger one as a file", (filename, kind, limit) => {
    expect(planUpload({ filename, sizeBytes: limit })).toMatchObject({ plan: { kind, notices: [] } });
    const message = `${limit + 1} bytes go as a file: as ${kind} WeCom takes at most ${limit}`;
    expect(planUpload({ filename, sizeBytes: limit + 1 })).toMatchObject({
      plan: { kind: "file", notices: [{ code: "size", message }] },
    });
  });

  it("refuses more than 20 MB, and a file without a name", () => {
    expect(planUpload({ filename: "a.zip", sizeBytes: 20 * mb })).toMatchObject({ plan: { kind: "file", chunks: 40 } });
    expect(planUpload({ filename: "a.zip", sizeBytes: 20 * mb + 1 })).toEqual({
      refusal: { code: "too-large", reason: "the file has 20971521 bytes, WeCom takes at most 20971520 (20 MB)" },
    });
    expect(planUpload({ filename: "", sizeBytes: 9 })).toEqual({
      refusal: { code: "no-name", reason: "a file needs a name, best with its extension" },
    });
  });

  it.each([
    [0, 1],
    [1, 1],
    [512 * kib, 1],
    [512 * kib + 1, 2],
    [1024 * kib, 2],
    [1_300_000, 3],
  ])("cuts %i bytes into %i chunks", (sizeBytes, chunks) => {
    expect(planUpload({ filename: "a.bin", sizeBytes })).toMatchObject({ plan: { chunks } });
  });

  it("shortens a name to 256 bytes and keeps its extension", () => {
    expect(planUpload({ filename: `${"微".repeat(84)}.docx`, sizeBytes: 9 })).toMatchObject({
      plan: { filename: `${"微".repeat(83)}.docx` },
    });
    expect(planUpload({ filename: `${"a".repeat(252)}.pdf`, sizeBytes: 9 })).toMatchObject({ plan: { notices: [] } });
    const shortened = `${"a".repeat(252)}.pdf`;
    expect(planUpload({ filename: `${"a".repeat(253)}.pdf`, sizeBytes: 9 })).toMatchObject({
      plan: {
        filename: shortened,
        notices: [{ code: "name", message: `the name is shortened to 256 bytes: ${shortened}` }],
      },
    });
    expect(planUpload({ filename: `a.${"b".repeat(300)}`, sizeBytes: 9 })).toMatchObject({
      plan: { filename: `a.${"b".repeat(254)}` },
    });
    expect(planUpload({ filename: `${"a".repeat(300)}.${"b".repeat(31)}`, sizeBytes: 9 })).toMatchObject({
      plan: { filename: `${"a".repeat(224)}.${"b".repeat(31)}` },
    });
    expect(planUpload({ filename: `${"a".repeat(300)}.${"b".repeat(32)}`, sizeBytes: 9 })).toMatchObject({
      plan: { filename: "a".repeat(256) },
    });
    expect(planUpload({ filename: `${"a".repeat(256)}b`, sizeBytes: 9 })).toMatchObject({
      plan: { filename: "a".repeat(256) },
    });
  });

  it("refuses a size that is none", () => {
    for (const sizeBytes of [-1, 0.5, NaN]) {
      expect(() => planUpload({ filename: "a", sizeBytes })).toThrow(UsageError);
      expect(() => planUpload({ filename: "a", sizeBytes })).toThrow(
        expect.objectContaining({ path: "sizeBytes", message: "sizeBytes must be an integer from 0" }) as Error,
      );
    }
  });
});

const start: UploadInput = { type: "start" };
const ready: UploadInput = { type: "ready" };
const tick: UploadInput = { type: "tick" };
const acked = (body?: unknown): Outcome => ({ type: "acked", body });
const refused = (errcode: number, errmsg = "no"): Outcome => ({ type: "refused", errcode, errmsg });
const timedOut: Outcome = { type: "timed-out", maybeDelivered: true };
const lost: Outcome = { type: "connection-lost", maybeDelivered: true };
const settled = (key: number, outcome: Outcome): UploadInput => ({ type: "settled", key, outcome });
const opened = acked({ upload_id: "U" });
const minute = 60_000;

const brief = (effect: UploadEffect): string => {
  switch (effect.type) {
    case "init":
      return `${effect.key} init`;
    case "chunk":
      return `${effect.key} ${effect.uploadId}#${effect.index}`;
    case "finish":
      return `${effect.key} finish ${effect.body.upload_id}`;
    case "progress":
      return `${effect.ackedBytes / kib} KiB`;
    case "done":
      return effect.result.state === "uploaded"
        ? `done ${effect.result.mediaId}`
        : `failed ${effect.result.reason} at ${effect.result.at}`;
  }
};
const say = (upload: Upload, now: number, ...inputs: UploadInput[]): string[] =>
  inputs.flatMap((input) => upload.handle(now, input)).map(brief);
/** An upload of `chunks` chunks whose session is open: keys 2… are under way. */
const underWay = (chunks: number, options: Partial<UploadOptions> = {}): Upload => {
  const upload = new Upload({ plan: plan(chunks * maxChunkBytes), ...options });
  say(upload, 0, start, settled(1, opened));
  return upload;
};
const result = (effects: readonly UploadEffect[]): UploadResult => {
  const last = effects.at(-1);
  expect(last?.type).toBe("done");
  return (last as Extract<UploadEffect, { type: "done" }>).result;
};

describe("Upload, when all goes well", () => {
  it("sends init, then the chunks with the given id, then finish", () => {
    const md5 = "0123456789abcdef0123456789abcdef";
    const upload = new Upload({ plan: plan(1_300_000), md5 });
    expect(upload.handle(0, start)).toEqual([
      {
        type: "init",
        key: 1,
        body: { type: "file", filename: "a.pdf", total_size: 1_300_000, total_chunks: 3, md5 },
        ackMs: 10_000,
      },
    ]);
    expect(upload.handle(100, settled(1, acked({ upload_id: "U" })))).toEqual([
      { type: "chunk", key: 2, uploadId: "U", index: 0, start: 0, end: 524_288, ackMs: 20_667 },
      { type: "chunk", key: 3, uploadId: "U", index: 1, start: 524_288, end: 1_048_576, ackMs: 31_334 },
      { type: "chunk", key: 4, uploadId: "U", index: 2, start: 1_048_576, end: 1_300_000, ackMs: 36_449 },
    ]);
    expect(upload.handle(200, settled(3, acked()))).toEqual([
      { type: "progress", ackedBytes: 524_288, totalBytes: 1_300_000 },
    ]);
    expect(upload.handle(200, settled(4, acked()))).toEqual([
      { type: "progress", ackedBytes: 775_712, totalBytes: 1_300_000 },
    ]);
    expect(upload.handle(300, settled(2, acked()))).toEqual([
      { type: "progress", ackedBytes: 1_300_000, totalBytes: 1_300_000 },
      { type: "finish", key: 5, body: { upload_id: "U" }, ackMs: 10_000 },
    ]);
    expect(upload.deadline).toBeUndefined();
    expect(upload.handle(400, settled(5, acked({ type: "file", media_id: "M", created_at: 1_380_000_000 })))).toEqual([
      { type: "done", result: { state: "uploaded", kind: "file", mediaId: "M", createdAt: 1_380_000_000 } },
    ]);
    expect(upload.deadline).toBeUndefined();
  });

  it("names no MD5 if it has none", () => {
    const [init] = new Upload({ plan: plan(5, "a.png") }).handle(0, start);
    expect(init).toStrictEqual({
      type: "init",
      key: 1,
      body: { type: "image", filename: "a.png", total_size: 5, total_chunks: 1 },
      ackMs: 10_000,
    });
  });

  it.each([
    ["1380000000", 1_380_000_000],
    [1_380_000_000, 1_380_000_000],
    ["", undefined],
    ["soon", undefined],
    [null, undefined],
    [undefined, undefined],
    [Infinity, undefined],
    [true, undefined],
  ])("takes created_at %j as %j", (created_at, createdAt) => {
    const upload = new Upload({ plan: plan(5) });
    say(upload, 0, start, settled(1, opened), settled(2, acked()));
    const done = { state: "uploaded", kind: "file", mediaId: "M" };
    expect(result(upload.handle(0, settled(3, acked({ media_id: "M", created_at }))))).toEqual(
      createdAt === undefined ? done : { ...done, createdAt },
    );
  });

  it("is over when it has its media_id", () => {
    const upload = new Upload({ plan: plan(5) });
    say(upload, 0, start, settled(1, opened), settled(2, acked()), settled(3, acked({ media_id: "M" })));
    expect(say(upload, 9e9, start, tick, ready, settled(3, acked()), { type: "cancel" }, { type: "stopped" })).toEqual(
      [],
    );
    expect(upload.state.phase).toBe("done");
  });

  it("starts once, and does nothing before", () => {
    const upload = new Upload({ plan: plan(5) });
    const now = 1_800_000_000_000;
    expect(say(upload, now, tick, ready, settled(1, acked()))).toEqual([]);
    expect(upload.deadline).toBeUndefined();
    expect(say(upload, now, start, start)).toEqual(["1 init"]);
  });

  it("refuses a file of fewer than five bytes without sending anything", () => {
    expect(result(new Upload({ plan: plan(4) }).handle(0, start))).toEqual({
      state: "failed",
      reason: "too-small",
      at: "init",
      errmsg: "4 bytes, at least 5 are needed",
    });
    expect(say(new Upload({ plan: plan(0) }), 0, start)).toEqual(["failed too-small at init"]);
    expect(say(new Upload({ plan: plan(5) }), 0, start)).toEqual(["1 init"]);
  });

  it("sends no chunk before init was acked, and no finish before every chunk was", () => {
    const upload = new Upload({ plan: plan(2 * maxChunkBytes) });
    expect(say(upload, 0, start, tick, ready)).toEqual(["1 init", "2 init"]);
    expect(say(upload, 0, settled(1, opened), settled(2, opened), tick)).toEqual(["3 U#0", "4 U#1"]);
    expect(say(upload, 0, settled(4, acked()), tick)).toEqual(["512 KiB"]);
    expect(say(upload, 0, settled(3, acked()), tick)).toEqual(["1024 KiB", "5 finish U"]);
  });
});

describe("Upload's window", () => {
  it("has four chunks under way at first", () => {
    const upload = new Upload({ plan: plan(40 * maxChunkBytes) });
    expect(say(upload, 0, start, settled(1, opened))).toEqual(["1 init", "2 U#0", "3 U#1", "4 U#2", "5 U#3"]);
  });

  it("grows by two with each quick ack, to three times of what went well", () => {
    const upload = underWay(40);
    // Sent as the first, the second, the third, the fourth under way.
    expect(say(upload, 50, settled(2, acked()))).toEqual(["512 KiB", "6 U#4"]);
    expect(say(upload, 50, settled(3, acked()))).toEqual(["1024 KiB", "7 U#5", "8 U#6", "9 U#7"]);
    expect(upload.state.window).toBe(6);
    say(upload, 50, settled(4, acked()), settled(5, acked()));
    expect(upload.state.window).toBe(10);
    say(upload, 50, settled(6, acked()), settled(7, acked()));
    expect(upload.state.window).toBe(12);
  });

  it("does not grow when acks are slow compared with the quickest one", () => {
    const upload = underWay(40);
    say(upload, 1_000, settled(3, acked()));
    expect(upload.state).toMatchObject({ window: 6, fastestMs: 1_000 });
    expect(say(upload, 2_101, settled(4, acked()))).toEqual(["1024 KiB", "9 U#7"]);
    expect(upload.state).toMatchObject({ window: 6, fastestMs: 1_000 });
    const quick = underWay(40);
    say(quick, 1_000, settled(3, acked()));
    say(quick, 2_100, settled(4, acked()));
    expect(quick.state.window).toBe(8);
    say(quick, 2_101, settled(6, acked()));
    expect(quick.state).toMatchObject({ window: 10, fastestMs: 1_000 });
  });

  it("grows to its maximum and no further", () => {
    const upload = underWay(40, { maxWindow: 9 });
    for (let key = 2; key < 12; key++) say(upload, 1, settled(key, acked()));
    expect(upload.state.window).toBe(9);
    expect(upload.state.flights).toHaveLength(9);
    expect(underWay(40, { window: 32 }).state.flights).toHaveLength(32);
    const all = underWay(40);
    for (let key = 2; key < 30; key++) say(all, 1, settled(key, acked()));
    expect(all.state.window).toBe(32);
  });

  it.each([
    [-1, "system busy"],
    [45033, "api concurrent out of limit"],
    [50001, "System Error, hint: [1]"],
  ])(
    "halves on %i %s, never again has as many under way as were too many, and sends the chunk again",
    (errcode, errmsg) => {
      const upload = underWay(40);
      for (const key of [2, 3, 4, 5, 6, 9]) say(upload, 50, settled(key, acked()));
      expect(upload.state).toMatchObject({ window: 14, ceiling: 32 });
      expect(upload.state.flights.map(({ key, depth }) => [key, depth]).slice(0, 6)).toEqual([
        [7, 4],
        [8, 5],
        [10, 6],
        [11, 7],
        [12, 8],
        [13, 8],
      ]);
      expect(say(upload, 100, settled(12, refused(errcode, errmsg)))).toEqual([]);
      expect(upload.state).toMatchObject({ window: 7, ceiling: 7 });
      // Of the same burst: sent as the eighth as well, when nobody knew.
      expect(say(upload, 100, settled(13, refused(errcode, errmsg)))).toEqual([]);
      expect(upload.state).toMatchObject({ window: 7, ceiling: 7 });
      expect(say(upload, 100, settled(8, refused(errcode, errmsg)))).toEqual([]);
      expect(upload.state).toMatchObject({ window: 3, ceiling: 4 });
      expect(say(upload, 100, settled(7, refused(errcode, errmsg)))).toEqual([]);
      expect(upload.state).toMatchObject({ window: 3, ceiling: 4 });
      // More than four under way is reason enough; with four, something else may be wrong, and it needs time.
      expect(upload.state.missing.slice(-4).map(({ at }) => at)).toEqual([100, 100, 100, 600]);
      while (upload.state.flights.length > 0)
        say(upload, 120, settled(upload.state.flights[0]?.key as number, acked()));
      expect(upload.state.window).toBe(4);
    },
  );

  it("waits half a second, then a second, when few under way were too many", () => {
    const upload = underWay(1);
    expect(say(upload, 1_000, settled(2, refused(-1)))).toEqual([]);
    expect(upload.deadline).toBe(1_500);
    expect(upload.state).toMatchObject({ window: 1, ceiling: 1 });
    expect(say(upload, 1_499, tick)).toEqual([]);
    expect(say(upload, 1_500, tick, settled(3, refused(-1)))).toEqual(["3 U#0"]);
    expect(upload.deadline).toBe(2_500);
    expect(say(upload, 2_500, tick)).toEqual(["4 U#0"]);
    expect(result(upload.handle(2_500, settled(4, refused(-1, "system busy"))))).toEqual({
      state: "failed",
      reason: "refused",
      at: "chunk",
      errcode: -1,
      errmsg: "system busy",
    });
  });

  it("halves the window, not the depth, and keeps below what was too many", () => {
    const upload = underWay(40);
    expect(say(upload, 100, settled(5, refused(-1)))).toEqual([]);
    expect(upload.state).toMatchObject({ window: 2, ceiling: 3 });
    expect(upload.deadline).toBeUndefined();
    expect(say(upload, 100, settled(2, acked()), settled(3, acked()))).toEqual([
      "512 KiB",
      "6 U#4",
      "1024 KiB",
      "7 U#5",
    ]);
    expect(upload.state.window).toBe(3);
    // The chunk waits for its half second behind the others.
    expect(upload.state.missing.at(-1)).toEqual({ index: 3, at: 600 });
  });

  it("wakes for the chunk that may go first, and for none when it is over", () => {
    const upload = underWay(2);
    say(upload, 0, settled(2, refused(-1)));
    expect(upload.deadline).toBe(500);
    say(upload, 100, settled(3, refused(-1)));
    expect(upload.deadline).toBe(500);
    expect(say(upload, 500, tick, settled(4, acked()))).toEqual(["4 U#0", "512 KiB"]);
    expect(upload.deadline).toBe(600);
    expect(say(upload, 550, { type: "cancel" })).toEqual(["failed cancelled at chunk"]);
    expect(upload.deadline).toBeUndefined();
    const paused = underWay(2);
    say(paused, 0, settled(2, refused(45009)), { type: "cancel" });
    expect(paused.deadline).toBeUndefined();
  });

  it("sends other chunks while one waits", () => {
    const upload = underWay(5, { window: 2 });
    expect(say(upload, 0, settled(2, refused(-1)))).toEqual([]);
    expect(say(upload, 0, settled(3, acked()))).toEqual(["512 KiB", "4 U#2"]);
    expect(say(upload, 10, settled(4, acked()), settled(5, acked()), settled(6, acked()))).toEqual([
      "1024 KiB",
      "5 U#3",
      "1536 KiB",
      "6 U#4",
      "2048 KiB",
    ]);
    expect(upload.deadline).toBe(500);
    expect(say(upload, 500, tick)).toEqual(["7 U#0"]);
  });
});

describe("Upload, when it is not told", () => {
  it("sends a chunk without an ack again, three times in all, with half the window", () => {
    const upload = underWay(2);
    expect(say(upload, 20_000, settled(2, timedOut))).toEqual(["4 U#0"]);
    expect(upload.state.window).toBe(2);
    expect(say(upload, 20_000, settled(3, acked()), settled(4, timedOut))).toEqual(["512 KiB", "5 U#0"]);
    expect(result(upload.handle(50_000, settled(5, timedOut)))).toEqual({
      state: "failed",
      reason: "no-answer",
      at: "chunk",
    });
  });

  it("halves once for what was under way together", () => {
    const upload = underWay(40, { window: 8 });
    say(upload, 1, settled(9, timedOut));
    expect(upload.state.window).toBe(4);
    say(upload, 1, settled(8, timedOut));
    expect(upload.state.window).toBe(4);
    say(upload, 1, settled(5, timedOut));
    expect(upload.state.window).toBe(2);
    say(upload, 1, settled(2, timedOut));
    expect(upload.state.window).toBe(1);
    expect(say(upload, 2, settled(3, timedOut), settled(4, timedOut), settled(6, timedOut))).toEqual([]);
    expect(upload.state.window).toBe(1);
    expect(say(upload, 2, settled(7, timedOut))).toEqual(["10 U#8"]);
    say(upload, 2, settled(10, timedOut));
    expect(upload.state.window).toBe(1);
  });

  it("does not doubt the session for a chunk without an ack", () => {
    const upload = underWay(1);
    expect(say(upload, 0, settled(2, timedOut), settled(3, refused(40058)))).toEqual([
      "3 U#0",
      "failed refused at chunk",
    ]);
  });

  it("ignores a late or foreign outcome", () => {
    const upload = underWay(1);
    expect(say(upload, 1, settled(2, timedOut), settled(2, acked()), settled(9, acked()))).toEqual(["3 U#0"]);
  });

  it("asks for a session three times", () => {
    const upload = new Upload({ plan: plan(5) });
    expect(say(upload, 0, start, settled(1, timedOut), settled(2, timedOut), settled(3, timedOut))).toEqual([
      "1 init",
      "2 init",
      "3 init",
      "failed no-answer at init",
    ]);
  });

  it("asks for the media_id three times, then begins no other session", () => {
    const upload = underWay(1);
    expect(
      say(upload, 0, settled(2, acked()), settled(3, timedOut), settled(4, timedOut), settled(5, timedOut)),
    ).toEqual(["512 KiB", "3 finish U", "4 finish U", "5 finish U", "failed no-answer at finish"]);
  });

  it("begins a new session when the finish was perhaps received and its repetition is refused", () => {
    const upload = underWay(1);
    expect(
      say(
        upload,
        0,
        settled(2, acked()),
        settled(3, timedOut),
        settled(4, refused(40058)),
        settled(5, acked({ upload_id: "V" })),
      ),
    ).toEqual(["512 KiB", "3 finish U", "4 finish U", "0 KiB", "5 init", "6 V#0"]);
    expect(say(upload, 0, settled(6, acked()), settled(7, refused(40058)))).toEqual([
      "512 KiB",
      "7 finish V",
      "failed refused at finish",
    ]);
  });
});

describe("Upload, when it is refused", () => {
  it.each([
    ["init", 1],
    ["chunk", 2],
    ["finish", 3],
  ] as const)("fails at %s with the gateway's reason and without a media_id", (at, key) => {
    const upload = new Upload({ plan: plan(5) });
    const inputs = [start, settled(1, opened), settled(2, acked())].slice(0, key);
    say(upload, 0, ...inputs);
    expect(result(upload.handle(0, settled(key, refused(40006, "invalid file size"))))).toEqual({
      state: "failed",
      reason: "refused",
      at,
      errcode: 40006,
      errmsg: "invalid file size",
    });
    expect(upload.deadline).toBeUndefined();
    expect(say(upload, 9, start, ready, tick, settled(key, opened), { type: "cancel" }, { type: "stopped" })).toEqual(
      [],
    );
  });

  it.each([undefined, null, {}, { upload_id: "" }, { upload_id: 7 }, { media_id: "M" }, "U"])(
    "fails on an init's ack with %j",
    (body) => {
      const upload = new Upload({ plan: plan(5) });
      say(upload, 0, start);
      expect(result(upload.handle(0, settled(1, acked(body))))).toEqual({
        state: "failed",
        reason: "bad-answer",
        at: "init",
      });
    },
  );

  it.each([undefined, { media_id: "" }, { media_id: 5 }, { upload_id: "U" }])(
    "fails on a finish's ack with %j",
    (body) => {
      const upload = new Upload({ plan: plan(5) });
      say(upload, 0, start, settled(1, opened), settled(2, acked()));
      expect(result(upload.handle(0, settled(3, acked(body))))).toEqual({
        state: "failed",
        reason: "bad-answer",
        at: "finish",
      });
    },
  );

  it.each(["init", "finish"])("retries %s after half a second and a second on a system error, then fails", (at) => {
    const upload = new Upload({ plan: plan(5) });
    say(upload, 0, start);
    let key = 1;
    if (at === "finish") {
      say(upload, 0, settled(1, opened), settled(2, acked()));
      key = 3;
    }
    const again = at === "init" ? "init" : "finish U";
    expect(say(upload, 0, settled(key, refused(-1)), tick)).toEqual([]);
    expect(upload.deadline).toBe(500);
    expect(say(upload, 500, tick, settled(key + 1, refused(-1)))).toEqual([`${key + 1} ${again}`]);
    expect(upload.deadline).toBe(1_500);
    expect(say(upload, 1_500, tick, settled(key + 2, refused(-1)))).toEqual([
      `${key + 2} ${again}`,
      `failed refused at ${at}`,
    ]);
  });

  it("counts the sends of a finish by themselves", () => {
    const upload = new Upload({ plan: plan(5) });
    say(upload, 0, start, settled(1, timedOut), settled(2, timedOut), settled(3, opened), settled(4, acked()));
    expect(say(upload, 0, settled(5, timedOut), settled(6, timedOut))).toEqual(["6 finish U", "7 finish U"]);
  });

  it("waits a minute when there were too many uploads, ten times", () => {
    const upload = new Upload({ plan: plan(5) });
    say(upload, 0, start);
    for (let key = 1; key <= 10; key++) {
      expect(say(upload, (key - 1) * minute, settled(key, refused(45009)))).toEqual([]);
      expect(upload.deadline).toBe(key * minute);
      expect(say(upload, key * minute - 1, tick)).toEqual([]);
      expect(say(upload, key * minute, tick)).toEqual([`${key + 1} init`]);
    }
    expect(result(upload.handle(10 * minute, settled(11, refused(45009, "api freq out of limit"))))).toEqual({
      state: "failed",
      reason: "throttled",
      at: "init",
      errcode: 45009,
      errmsg: "api freq out of limit",
    });
  });

  it("does not count a throttled init as sent", () => {
    const upload = new Upload({ plan: plan(5) });
    say(upload, 0, start, settled(1, refused(45009)));
    say(upload, minute, tick, settled(2, refused(45009)));
    expect(say(upload, 2 * minute, tick, settled(3, timedOut), settled(4, timedOut))).toEqual([
      "3 init",
      "4 init",
      "5 init",
    ]);
  });

  it("counts throttles in a row only", () => {
    const upload = new Upload({ plan: plan(5) });
    say(upload, 0, start, settled(1, refused(45009)));
    expect(upload.state.throttles).toBe(1);
    expect(say(upload, minute, tick, settled(2, opened))).toEqual(["2 init", "3 U#0"]);
    expect(upload.state.throttles).toBe(0);
    // A throttle is no reason to doubt the session.
    say(upload, minute, settled(3, acked()), settled(4, refused(45009)));
    expect(say(upload, 2 * minute, tick)).toEqual(["5 finish U"]);
    expect(say(upload, 2 * minute, settled(5, refused(1)))).toEqual(["failed refused at finish"]);
  });

  it("pauses all chunks when one is throttled, and counts its sends", () => {
    const upload = underWay(6);
    expect(say(upload, 0, settled(2, refused(45009)), settled(3, acked()))).toEqual(["512 KiB"]);
    expect(upload.deadline).toBe(minute);
    expect(say(upload, minute, tick)).toEqual(["6 U#4", "7 U#5", "8 U#0"]);
    expect(say(upload, minute, settled(8, refused(45009)))).toEqual([]);
    expect(say(upload, 2 * minute, tick, settled(9, refused(45009)))).toEqual(["9 U#0", "failed throttled at chunk"]);
  });

  it("waits for the reconnect that follows 846609, and goes on with the same session", () => {
    const upload = underWay(1);
    expect(say(upload, 0, settled(2, refused(846609)))).toEqual([]);
    expect(upload.deadline).toBe(500);
    expect(say(upload, 500, tick, settled(3, { type: "not-ready" }))).toEqual(["3 U#0"]);
    expect(upload.deadline).toBeUndefined();
    expect(say(upload, 9_000, tick, ready)).toEqual(["4 U#0"]);
    expect(say(upload, 9_000, settled(4, refused(846609)))).toEqual([]);
    expect(upload.deadline).toBe(10_000);
    expect(say(upload, 10_000, tick, settled(5, refused(846609)))).toEqual(["5 U#0", "failed refused at chunk"]);
  });

  it("retries what is transient without a word about the session or the window", () => {
    const upload = underWay(1);
    expect(say(upload, 0, settled(2, refused(846601)))).toEqual([]);
    expect(upload.state).toMatchObject({ window: 4, doubtful: false });
    expect(say(upload, 500, tick, settled(3, refused(6000)))).toEqual(["3 U#0"]);
    expect(say(upload, 1_500, tick, settled(4, refused(6000)))).toEqual(["4 U#0", "failed refused at chunk"]);
  });

  it("does not change its window for 846609", () => {
    const upload = underWay(9);
    say(upload, 0, settled(5, refused(846609)));
    expect(upload.state).toMatchObject({ window: 4, ceiling: 32 });
  });

  it("begins again when a session that went through 846609 is not known any more", () => {
    const upload = underWay(1);
    say(upload, 0, settled(2, refused(846609)));
    expect(say(upload, 500, tick, settled(3, refused(40058)))).toEqual(["3 U#0", "4 init"]);
    const early = new Upload({ plan: plan(5) });
    say(early, 0, start, settled(1, refused(846609)));
    expect(say(early, 500, tick, settled(2, refused(40058)))).toEqual(["2 init", "failed refused at init"]);
  });
});

describe("Upload, when the connection is lost", () => {
  it("asks only for what is missing, with the same session", () => {
    const upload = underWay(6);
    say(upload, 10, settled(3, acked()));
    expect(upload.state.flights.map(({ index }) => index)).toEqual([0, 2, 3, 4, 5]);
    expect(
      say(
        upload,
        20,
        settled(2, lost),
        settled(4, lost),
        settled(5, { type: "connection-lost", maybeDelivered: false }),
        settled(6, lost),
        settled(7, lost),
      ),
    ).toEqual([]);
    expect(upload.deadline).toBeUndefined();
    expect(say(upload, 5_000, tick)).toEqual([]);
    expect(say(upload, 5_000, ready)).toEqual(["8 U#0", "9 U#2", "10 U#3", "11 U#4", "12 U#5"]);
  });

  it("does not count what the connection lost against a chunk", () => {
    const upload = underWay(1);
    for (let key = 2; key < 9; key++) expect(say(upload, key, settled(key, lost), ready)).toEqual([`${key + 1} U#0`]);
    expect(say(upload, 9, settled(9, timedOut), settled(10, timedOut), settled(11, timedOut))).toEqual([
      "10 U#0",
      "11 U#0",
      "failed no-answer at chunk",
    ]);
  });

  it("repeats a lost init and a lost finish", () => {
    const upload = new Upload({ plan: plan(5) });
    expect(say(upload, 0, start, settled(1, lost), ready, settled(2, { type: "not-ready" }), ready)).toEqual([
      "1 init",
      "2 init",
      "3 init",
    ]);
    // A lost init leaves no session that could be doubted.
    expect(upload.state.doubtful).toBe(false);
    expect(say(upload, 0, settled(3, opened), settled(4, acked()), settled(5, lost), ready)).toEqual([
      "4 U#0",
      `${5 / kib} KiB`,
      "5 finish U",
      "6 finish U",
    ]);
    expect(say(upload, 0, settled(6, acked({ media_id: "M" })))).toEqual(["done M"]);
  });

  it("goes on with a session shortly before it is half an hour old, and begins another then", () => {
    const interrupted = (): Upload => {
      const upload = new Upload({ plan: plan(2 * maxChunkBytes) });
      say(upload, 1_000, start);
      say(upload, 2_000, settled(1, opened), settled(2, acked()), settled(3, lost));
      return upload;
    };
    expect(say(interrupted(), 1_800_999, ready)).toEqual(["4 U#1"]);
    const late = interrupted();
    expect(say(late, 1_801_000, ready)).toEqual(["0 KiB", "4 init"]);
    expect(say(late, 1_801_001, settled(4, acked({ upload_id: "V" })))).toEqual(["5 V#0", "6 V#1"]);
    expect(late.state.sends).toEqual([1, 1, 0]);
  });

  it("begins another session when the old one is refused after an interruption, three in all", () => {
    const upload = underWay(1);
    expect(say(upload, 0, settled(2, lost), ready, settled(3, refused(40058)))).toEqual(["3 U#0", "4 init"]);
    expect(upload.state.doubtful).toBe(false);
    expect(say(upload, 0, settled(4, opened), settled(5, lost), ready, settled(6, refused(40058)))).toEqual([
      "5 U#0",
      "6 U#0",
      "7 init",
    ]);
    expect(say(upload, 0, settled(7, opened), settled(8, lost), ready, settled(9, refused(40058)))).toEqual([
      "8 U#0",
      "9 U#0",
      "failed expired at chunk",
    ]);
  });

  it("sends again what was under way when it is restored", () => {
    const upload = underWay(6);
    say(upload, 10, settled(2, acked()), settled(4, acked()));
    const restored = Upload.restore(JSON.parse(JSON.stringify(upload.state)) as UploadState, {
      plan: plan(6 * maxChunkBytes),
    });
    expect(say(restored, 11, settled(99, acked()), ready)).toEqual(["8 U#1", "9 U#3", "10 U#4", "11 U#5"]);
    expect(restored.state).toMatchObject({ doubtful: true, sends: [1, 1, 1, 1, 1, 1, 0] });
  });

  it("begins no session when it ends half an hour after the last one", () => {
    expect(say(underWay(1), 1_800_000, { type: "cancel" })).toEqual(["failed cancelled at chunk"]);
    expect(say(underWay(1), 1_800_000, settled(2, refused(40006)))).toEqual(["failed refused at chunk"]);
  });

  it("fails when it is cancelled or the connection stops for good", () => {
    expect(result(underWay(1).handle(0, { type: "cancel" }))).toEqual({
      state: "failed",
      reason: "cancelled",
      at: "chunk",
    });
    expect(result(underWay(1).handle(0, { type: "stopped" }))).toEqual({
      state: "failed",
      reason: "stopped",
      at: "chunk",
    });
    expect(result(underWay(1).handle(0, settled(2, { type: "stopped", maybeDelivered: true })))).toEqual({
      state: "failed",
      reason: "stopped",
      at: "chunk",
    });
    expect(result(new Upload({ plan: plan(5) }).handle(0, { type: "cancel" }))).toEqual({
      state: "failed",
      reason: "cancelled",
      at: "init",
    });
  });
});

describe("Upload, as a machine", () => {
  const given = { plan: plan(5) };

  it.each([
    ["md5", { md5: "0123456789ABCDEF0123456789abcdef" }, "md5 must be 32 lower-case hexadecimal digits"],
    ["md5", { md5: "0123456789abcdef0123456789abcde" }, "md5 must be 32 lower-case hexadecimal digits"],
    ["md5", { md5: "00123456789abcdef0123456789abcdef" }, "md5 must be 32 lower-case hexadecimal digits"],
    ["ackMs", { ackMs: 0 }, "ackMs must be above 0"],
    ["window", { window: 0 }, "window must be an integer from 1"],
    ["window", { window: 1.5 }, "window must be an integer from 1"],
    ["maxWindow", { maxWindow: 3 }, "maxWindow must not be below window"],
    ["maxWindow", { maxWindow: NaN }, "maxWindow must not be below window"],
  ])("refuses a wrong %s: %j", (path, options, message) => {
    expect(() => new Upload({ ...given, ...options })).toThrow(UsageError);
    expect(() => new Upload({ ...given, ...options })).toThrow(expect.objectContaining({ path, message }) as Error);
  });

  it("takes the smallest window and scales its patience by ackMs", () => {
    const upload = new Upload({ plan: plan(2 * maxChunkBytes), window: 1, maxWindow: 1, ackMs: 1_000 });
    expect(upload.handle(0, start)).toMatchObject([{ ackMs: 1_000 }]);
    expect(upload.handle(0, settled(1, opened))).toMatchObject([{ index: 0, ackMs: 2_067 }]);
    expect(upload.handle(0, settled(2, acked()))).toMatchObject([{}, { index: 1, ackMs: 2_067 }]);
    expect(new Upload({ plan: plan(5), ackMs: 0.5 }).handle(0, start)).toMatchObject([{ ackMs: 0.5 }]);
  });

  it("takes a time that goes back for the last one", () => {
    const upload = underWay(1);
    say(upload, 1_000, settled(2, refused(-1)));
    expect(say(upload, 0, tick)).toEqual([]);
    expect(upload.deadline).toBe(1_500);
    expect(upload.state.now).toBe(1_000);
  });
});

// ---------------------------------------------------------------------------------------------------------------------
// Any history

type Fate = "acked" | "timed-out" | "lost" | "unsent" | "not ready" | number;

/** A gateway that keeps an upload session, and whatever the script does to its acks. */
class Store {
  now = 0;
  upload: Upload;
  readonly options: UploadOptions;
  readonly restoreEach: boolean;
  readonly flying = new Map<number, Extract<UploadEffect, { type: "init" | "chunk" | "finish" }>>();
  readonly log: string[] = [];
  readonly sendsOnSocket = new Map<string, number>();
  sessions = new Map<string, Set<number>>();
  reconnect = false;
  done: UploadResult | undefined;
  refusals = 0;
  #acked = 0;

  constructor(options: UploadOptions, restoreEach = false) {
    this.options = options;
    this.restoreEach = restoreEach;
    this.upload = new Upload(options);
  }

  handle(input: UploadInput): void {
    const over = this.done !== undefined;
    const effects = this.upload.handle(this.now, input);
    expect(over && effects.length > 0).toBe(false);
    for (const effect of effects) this.perform(effect);
    const { deadline, state } = this.upload;
    if (deadline !== undefined) expect(deadline).toBeGreaterThan(this.now);
    expect(this.flying.size).toBeLessThanOrEqual(this.options.maxWindow ?? 32);
    if (this.restoreEach) this.upload = Upload.restore(JSON.parse(JSON.stringify(state)) as UploadState, this.options);
    expect(this.upload.handle(this.now, tick)).toEqual([]);
    expect(this.upload.state).toEqual(state);
    expect(this.upload.deadline).toBe(deadline);
  }

  perform(effect: UploadEffect): void {
    this.log.push(`${this.now} ${brief(effect)}`);
    if (effect.type === "done") {
      this.done = effect.result;
      return;
    }
    if (effect.type === "progress") {
      expect(effect.ackedBytes > this.#acked || effect.ackedBytes === 0).toBe(true);
      expect(effect.ackedBytes).toBeLessThanOrEqual(effect.totalBytes);
      this.#acked = effect.ackedBytes;
      return;
    }
    const headers = { req_id: String(effect.key) };
    if (effect.type === "init") {
      encode({ cmd: "aibot_upload_media_init", headers, body: effect.body });
      this.flying.clear(); // a new session: the old one's frames are nobody's any more
    } else if (effect.type === "chunk") {
      const { index, start, end, uploadId } = effect;
      expect(start).toBe(index * maxChunkBytes);
      expect(end).toBe(Math.min(start + maxChunkBytes, this.options.plan.sizeBytes));
      const name = `${uploadId}#${index}`;
      this.sendsOnSocket.set(name, (this.sendsOnSocket.get(name) ?? 0) + 1);
      expect(this.sendsOnSocket.get(name)).toBeLessThanOrEqual(3);
    } else {
      encode({ cmd: "aibot_upload_media_finish", headers, body: effect.body });
      expect(this.sessions.get(effect.body.upload_id)?.size).toBe(this.options.plan.chunks);
    }
    expect(this.flying.has(effect.key)).toBe(false);
    this.flying.set(effect.key, effect);
  }

  /** Lets the frame at `place` of those under way meet its fate. */
  settle(place: number, fate: Fate): void {
    const keys = [...this.flying.keys()];
    const key = keys[place % keys.length];
    if (key === undefined) return;
    const effect = this.flying.get(key);
    this.flying.delete(key);
    if (effect === undefined) return;
    if (typeof fate === "number") {
      this.refusals++;
      this.handle(settled(key, refused(fate)));
      return;
    }
    if (fate === "unsent" || fate === "not ready" || fate === "lost") {
      // All of a socket's frames are lost together.
      this.reconnect = true;
      this.sendsOnSocket.clear();
      const outcome: Outcome =
        fate === "not ready" ? { type: "not-ready" } : { type: "connection-lost", maybeDelivered: fate === "lost" };
      const others = [...this.flying.keys()];
      this.flying.clear();
      for (const each of [key, ...others]) this.handle(settled(each, outcome));
      return;
    }
    let body: unknown;
    if (effect.type === "init") {
      const id = `U${this.sessions.size}`;
      this.sessions.set(id, new Set());
      body = { upload_id: id };
    } else if (effect.type === "chunk") this.sessions.get(effect.uploadId)?.add(effect.index);
    else body = { media_id: "M" };
    this.handle(settled(key, fate === "acked" ? acked(body) : timedOut));
  }

  close(): void {
    for (let steps = 0; this.done === undefined; steps++) {
      expect(steps).toBeLessThan(2_000);
      if (this.reconnect) {
        this.reconnect = false;
        this.handle(ready);
      } else if (this.flying.size > 0) this.settle(0, "acked");
      else {
        expect(this.upload.deadline).toBeDefined();
        this.now = this.upload.deadline as number;
        this.handle(tick);
      }
    }
  }
}

const fates = fc.oneof(
  { weight: 8, arbitrary: fc.constant<Fate>("acked") },
  { weight: 2, arbitrary: fc.constantFrom<Fate>("timed-out", "lost", "unsent", "not ready") },
  { weight: 2, arbitrary: fc.constantFrom<Fate>(-1, 45009, 846609, 45033) },
  { weight: 1, arbitrary: fc.constantFrom<Fate>(40058, 40006) },
);
type Step = { ms: number; place: number; fate: Fate } | { ms: number; ready: true };
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        ms: fc.oneof(fc.nat(100), fc.nat(2_000), fc.nat(700_000)),
        place: fc.nat(40),
        fate: fates,
      }),
    },
    { weight: 1, arbitrary: fc.record({ ms: fc.nat(10_000), ready: fc.constant(true as const) }) },
  ),
  { maxLength: 80 },
);
const uploads = fc
  .record({
    sizeBytes: fc.oneof(fc.integer({ min: 5, max: 3 * mb }), fc.integer({ min: 5, max: 20 * mb })),
    window: fc.integer({ min: 1, max: 6 }),
    extra: fc.nat(30),
  })
  .map(({ sizeBytes, window, extra }): UploadOptions => ({ plan: plan(sizeBytes), window, maxWindow: window + extra }));

const play = (store: Store, history: readonly Step[]): void => {
  store.handle(start);
  for (const step of history) {
    if (store.done !== undefined) return;
    const until = store.now + step.ms;
    for (;;) {
      const { deadline } = store.upload;
      if (deadline === undefined || deadline > until) break;
      store.now = deadline;
      store.handle(tick);
    }
    store.now = until;
    if ("fate" in step) store.settle(step.place, step.fate);
    else if (store.reconnect) {
      store.reconnect = false;
      store.handle(ready);
    }
  }
  store.close();
};

describe("Upload, in any history", () => {
  it("keeps its contract, and is done once all frames settle", () => {
    fc.assert(
      fc.property(uploads, steps, (options, history) => {
        const store = new Store(options);
        play(store, history);
        expect(store.done).toBeDefined();
        if (store.done?.state === "uploaded") expect(store.done.mediaId).toBe("M");
        const careless = history.some((step) => "fate" in step && (step.fate === "timed-out" || step.ms > 10_000));
        if (store.refusals === 0 && !careless) expect(store.done?.state).toBe("uploaded");
      }),
      { numRuns: 200 },
    );
  });

  it("has the same effects when it is restored after every step", () => {
    fc.assert(
      fc.property(uploads, steps, (options, history) => {
        const one = new Store(options);
        const other = new Store(options, true);
        play(one, history);
        play(other, history);
        expect(other.log).toEqual(one.log);
      }),
      { numRuns: 80 },
    );
  });
});
