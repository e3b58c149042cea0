/**
 * One file on its way to a media_id.
 *
 * Decides as what kind a file can go, where it is cut, how many chunks are under way at once, what is sent again, and when
 * an upload is given up. Does not know the bytes (an effect names a range, the driver slices and encodes it), their MD5
 * (an argument), sockets and req_ids (each frame goes on one of its own).
 *
 * An upload session belongs to the bot, not to the socket; repeated chunks are ignored and their order is free
 * (developer.work.weixin.qq.com, document 101463). So a lost socket costs the chunks that were under way and no more: on
 * the next one the upload asks for what is missing, with the same upload_id, for 30 minutes; then it begins again.
 *
 * Invariants: nothing is sent that the documents forbid (size, number of chunks, index from 0: UPLOAD-1c, UPLOAD-7); a
 * chunk is sent at most three times while the socket lasts (UPLOAD-4); `finish` follows the ack of every chunk
 * (UPLOAD-5a); there is a media_id only if the gateway gave one (UPLOAD-8); every history ends in exactly one `done`,
 * provided that all frames settle.
 */
import type { Millis } from "./backoff.ts";
import { UsageError, classifySend } from "./errors.ts";
import { maxChunkBytes, maxFilenameBytes, maxMediaBytes, minFileBytes, uploadLifeMs } from "./frames.ts";
import type { MediaKind, UploadMediaFinish, UploadMediaInit } from "./frames.ts";
import type { Outcome } from "./requests.ts";
import { cutAt, utf8Bytes } from "./text.ts";

// ---------------------------------------------------------------------------------------------------------------------
// The plan

/** What is known of a file before it is read. */
export interface FileFacts {
  /** Its name, without folders. */
  readonly filename: string;
  readonly sizeBytes: number;
  /** What it should be sent as; by default what its extension says. */
  readonly kind?: MediaKind;
}

/** How a file goes. */
export interface UploadPlan {
  readonly kind: MediaKind;
  /** At most 256 bytes. */
  readonly filename: string;
  readonly sizeBytes: number;
  /** How many chunks of at most 512 KiB; an empty file is one chunk. */
  readonly chunks: number;
  /** What was changed so that the file can go at all; for logs and for whoever asked. */
  readonly notices: readonly UploadNotice[];
}

/** Why a file goes otherwise than asked: it is no image, voice or video to WeCom, is too large for one, or its name is too long. */
export interface UploadNotice {
  readonly code: "format" | "size" | "name";
  readonly message: string;
}

/** A plan, or why there is none; `reason` is a sentence. */
export type Planned =
  | { readonly plan: UploadPlan }
  | { readonly refusal: { readonly code: "too-large" | "no-name"; readonly reason: string } };

/** The extensions that WeCom takes for each kind. */
const extensions: Readonly<Record<Exclude<MediaKind, "file">, readonly string[]>> = {
  image: ["png", "jpg", "jpeg", "gif"],
  voice: ["amr"],
  video: ["mp4"],
};

/** The extensions people take for such a kind, and WeCom does not. */
const lookalikes: typeof extensions = {
  image: ["webp", "bmp", "svg", "tif", "tiff", "heic", "heif", "avif", "ico"],
  voice: ["mp3", "wav", "m4a", "aac", "ogg", "oga", "opus", "flac", "wma", "silk"],
  video: ["mov", "avi", "mkv", "webm", "m4v", "mpg", "mpeg", "wmv", "flv", "3gp"],
};

/**
 * Plans an upload before anything is sent. A file whose format or size does not fit its kind goes as `file`, with a
 * notice; one of more than 20 MB does not go. That a file has at least 5 bytes is the upload's own check.
 *
 * @throws UsageError if sizeBytes is not an integer from 0
 */
export function planUpload({ filename, sizeBytes, kind }: FileFacts): Planned {
  if (!Number.isInteger(sizeBytes) || sizeBytes < 0) {
    throw new UsageError("sizeBytes must be an integer from 0", { path: "sizeBytes" });
  }
  if (filename === "") return { refusal: { code: "no-name", reason: "a file needs a name, best with its extension" } };
  if (sizeBytes > maxMediaBytes.file) {
    const reason = `the file has ${sizeBytes} bytes, WeCom takes at most ${maxMediaBytes.file} (20 MB)`;
    return { refusal: { code: "too-large", reason } };
  }
  const notices: UploadNotice[] = [];
  const dot = filename.lastIndexOf(".");
  const extension = dot === -1 ? "" : filename.slice(dot + 1).toLowerCase();
  const wanted = kind ?? kindOf(extension);
  let sent: MediaKind = wanted;
  if (wanted !== "file") {
    const fitting = extensions[wanted];
    // A name without an extension says nothing against what the caller says.
    if (!fitting.includes(extension) && extension !== "") {
      sent = "file";
      notices.push({
        code: "format",
        message: `.${extension} goes as a file: as ${wanted} WeCom takes ${fitting.join(", ")}`,
      });
    } else if (sizeBytes > maxMediaBytes[wanted]) {
      sent = "file";
      const limit = maxMediaBytes[wanted];
      notices.push({
        code: "size",
        message: `${sizeBytes} bytes go as a file: as ${wanted} WeCom takes at most ${limit}`,
      });
    }
  }
  let name = filename;
  if (utf8Bytes(filename) > maxFilenameBytes) {
    // The extension is worth more than the end of the stem, unless it is none.
    const end = dot !== -1 && utf8Bytes(filename.slice(dot)) <= 32 ? filename.slice(dot) : "";
    name = filename.slice(0, cutAt(filename, maxFilenameBytes - utf8Bytes(end))) + end;
    notices.push({ code: "name", message: `the name is shortened to ${maxFilenameBytes} bytes: ${name}` });
  }
  const chunks = Math.max(1, Math.ceil(sizeBytes / maxChunkBytes));
  return { plan: { kind: sent, filename: name, sizeBytes, chunks, notices } };
}

function kindOf(extension: string): MediaKind {
  for (const kind of ["image", "voice", "video"] as const) {
    if (extensions[kind].includes(extension) || lookalikes[kind].includes(extension)) return kind;
  }
  return "file";
}

// ---------------------------------------------------------------------------------------------------------------------
// The machine

/** What happened, or is wished. */
export type UploadInput =
  | { readonly type: "start" }
  /** What became of the frame with this key. */
  | { readonly type: "settled"; readonly key: number; readonly outcome: Outcome }
  /** A new socket is subscribed. After `restore` as well, as soon as a socket is, or was already. */
  | { readonly type: "ready" }
  /** Nobody wants the file any more. */
  | { readonly type: "cancel" }
  /** The connection is over for good, no `ready` will come. */
  | { readonly type: "stopped" }
  | { readonly type: "tick" };

/**
 * What the driver must do, in order. Each frame goes on a req_id of its own and is settled by `key`; `ackMs` is how long
 * its ack may take, by the bytes that must leave before it is read.
 */
export type UploadEffect =
  | { readonly type: "init"; readonly key: number; readonly body: UploadMediaInit["body"]; readonly ackMs: Millis }
  /** Send the bytes from `start` up to, not including, `end` as base64. */
  | {
      readonly type: "chunk";
      readonly key: number;
      readonly uploadId: string;
      readonly index: number;
      readonly start: number;
      readonly end: number;
      readonly ackMs: Millis;
    }
  | { readonly type: "finish"; readonly key: number; readonly body: UploadMediaFinish["body"]; readonly ackMs: Millis }
  /** So much of the file has arrived. Falls back to 0 when a session was lost. */
  | { readonly type: "progress"; readonly ackedBytes: number; readonly totalBytes: number }
  /** The upload is over. Comes exactly once, and nothing after it. */
  | { readonly type: "done"; readonly result: UploadResult };

/** Why there is no media_id. */
export type UploadFailure =
  /** Fewer than 5 bytes; nothing was sent. */
  | "too-small"
  /** The gateway said no; see errcode and errmsg. */
  | "refused"
  /** Too often: 45009, for minutes. */
  | "throttled"
  /** No ack, three times. */
  | "no-answer"
  /** An ack without the id it must bring. */
  | "bad-answer"
  /** Three sessions were lost or ran out. */
  | "expired"
  | "cancelled"
  | "stopped";

/** What became of a file. */
export type UploadResult =
  | {
      readonly state: "uploaded";
      readonly kind: MediaKind;
      /** Good for three days. */
      readonly mediaId: string;
      /** Unix seconds, if the gateway said. */
      readonly createdAt?: number;
    }
  | {
      readonly state: "failed";
      readonly reason: UploadFailure;
      /** The step that failed. */
      readonly at: "init" | "chunk" | "finish";
      readonly errcode?: number;
      readonly errmsg?: string;
    };

/** How an upload is made. */
export interface UploadOptions {
  /** What {@link planUpload} said. */
  readonly plan: UploadPlan;
  /** MD5 of the whole file, 32 lower-case hexadecimal digits; the gateway then checks what it put together. */
  readonly md5?: string;
  /** How long an ack may take that needs no time to upload, and for each 640 KiB of base64 before it as much again; 10,000. */
  readonly ackMs?: Millis;
  /** Chunks under way at once, at first and at most; 4 and 32. */
  readonly window?: number;
  readonly maxWindow?: number;
}

interface Flight {
  readonly key: number;
  /** Of a chunk; init and finish have none. */
  readonly index?: number | undefined;
  readonly sentAt: Millis;
  /** How many chunks were under way, this one included. */
  readonly depth: number;
}

/** An upload as plain JSON. Its members are nobody's business but `restore`'s. */
export interface UploadState {
  readonly now: Millis;
  readonly phase: "idle" | "init" | "chunk" | "finish" | "done";
  readonly keys: number;
  readonly flights: readonly Flight[];
  /** The session: its id, when its init was sent, how many there were, whether it may be gone. */
  readonly uploadId?: string | undefined;
  readonly sessionAt: Millis;
  readonly sessions: number;
  readonly doubtful: boolean;
  /** The chunks that are neither acked nor under way, in the order in which they go, each not before an instant. */
  readonly missing: readonly { readonly index: number; readonly at: Millis }[];
  /** How often each chunk was sent; the last one counts init or finish. */
  readonly sends: readonly number[];
  readonly ackedBytes: number;
  readonly window: number;
  readonly ceiling: number;
  readonly fastestMs?: Millis | undefined;
  readonly throttles: number;
  readonly waitUntil: Millis;
  /** Whether to wait for `ready`. */
  readonly away: boolean;
}

/** More at once than the official SDK ever has under way may be more than the gateway's storage can take. */
const safeWindow = 4;
const maxSends = 3;
const retryMs = 500;
const maxSessions = 3;
/** 30 uploads a minute are allowed, 1,000 an hour. */
const pauseMs = 60_000;
const maxThrottles = 10;

/**
 * The upload of one file. Perform its effects, tell it how each frame settled, and `ready` whenever a new socket is
 * subscribed; send a `tick` at its `deadline`. It begins with `start`.
 *
 * To survive a restart store `state` after each call, `restore` it, and say `ready` when the socket is: what was under way
 * is then sent again, the rest is not.
 */
export class Upload {
  readonly #plan: UploadPlan;
  readonly #md5: string | undefined;
  readonly #ackMs: Millis;
  #s: { -readonly [Key in keyof UploadState]: UploadState[Key] };

  /** @throws UsageError for options out of range */
  constructor({ plan, md5, ackMs = 10_000, window = safeWindow, maxWindow = 32 }: UploadOptions) {
    if (md5 !== undefined && !/^[0-9a-f]{32}$/.test(md5)) {
      throw new UsageError("md5 must be 32 lower-case hexadecimal digits", { path: "md5" });
    }
    if (!(ackMs > 0)) throw new UsageError("ackMs must be above 0", { path: "ackMs" });
    if (!(Number.isInteger(window) && window >= 1))
      throw new UsageError("window must be an integer from 1", { path: "window" });
    if (!(maxWindow >= window)) throw new UsageError("maxWindow must not be below window", { path: "maxWindow" });
    this.#plan = plan;
    this.#md5 = md5;
    this.#ackMs = ackMs;
    this.#s = {
      now: 0,
      phase: "idle",
      keys: 0,
      flights: [],
      sessionAt: 0,
      sessions: 0,
      doubtful: false,
      missing: [],
      sends: [],
      ackedBytes: 0,
      window,
      ceiling: maxWindow,
      throttles: 0,
      waitUntil: 0,
      away: false,
    };
  }

  /** The upload that `state` was taken from, with the same options. */
  static restore(state: UploadState, options: UploadOptions): Upload {
    const upload = new Upload(options);
    upload.#s = { ...state };
    return upload;
  }

  get state(): UploadState {
    return { ...this.#s };
  }

  /** When to send a `tick` if nothing else comes; later than the last `now`. */
  get deadline(): Millis | undefined {
    const { phase, away, now, waitUntil, missing } = this.#s;
    if (phase === "done" || away) return undefined;
    if (waitUntil > now) return waitUntil;
    // What may go already waits for a place, and every place is freed by an outcome.
    const next = Math.min(...missing.map(({ at }) => at));
    return next > now && next < Infinity ? next : undefined;
  }

  /**
   * Takes an input and returns everything that follows from it. A second `start`, an outcome for a key that awaits none
   * and whatever comes after `done` change nothing.
   */
  handle(now: Millis, input: UploadInput): readonly UploadEffect[] {
    const s = this.#s;
    if (now > s.now) s.now = now;
    if (s.phase === "done") return [];
    const effects: UploadEffect[] = [];
    switch (input.type) {
      case "start":
        if (s.phase === "idle") this.#start(effects);
        break;
      case "settled": {
        const flight = s.flights.find(({ key }) => key === input.key);
        if (flight === undefined) break;
        s.flights = s.flights.filter((other) => other !== flight);
        this.#settle(flight, input.outcome, effects);
        break;
      }
      case "ready":
        // Whoever says so has no frame of ours under way: if the state has some, it was restored.
        for (const flight of s.flights) this.#lose(flight);
        s.flights = [];
        s.away = false;
        break;
      case "cancel":
        this.#fail("cancelled", effects);
        break;
      case "stopped":
        this.#fail("stopped", effects);
        break;
      case "tick":
        break;
    }
    this.#pump(effects);
    return effects;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // What goes out

  #start(effects: UploadEffect[]): void {
    const { sizeBytes } = this.#plan;
    if (sizeBytes < minFileBytes)
      this.#fail("too-small", effects, { errmsg: `${sizeBytes} bytes, at least ${minFileBytes} are needed` });
    else this.#open(effects);
  }

  /** Begins a session, the first one or the next. */
  #open(effects: UploadEffect[]): void {
    const s = this.#s;
    if (s.sessions === maxSessions) {
      this.#fail("expired", effects);
      return;
    }
    s.sessions++;
    s.phase = "init";
    s.flights = [];
    s.uploadId = undefined;
    s.doubtful = false;
    s.missing = Array.from({ length: this.#plan.chunks }, (_, index) => ({ index, at: 0 }));
    s.sends = Array.from({ length: this.#plan.chunks + 1 }, () => 0);
    if (s.ackedBytes > 0) {
      s.ackedBytes = 0;
      effects.push({ type: "progress", ackedBytes: 0, totalBytes: this.#plan.sizeBytes });
    }
  }

  #pump(effects: UploadEffect[]): void {
    const s = this.#s;
    if (s.phase === "done" || s.away || s.now < s.waitUntil) return;
    if (s.uploadId !== undefined && s.now >= s.sessionAt + uploadLifeMs) this.#open(effects);
    if (s.phase === "chunk") {
      while (s.flights.length < s.window) {
        const next = s.missing.find(({ at }) => at <= s.now);
        if (next === undefined) break;
        s.missing = s.missing.filter((chunk) => chunk !== next);
        this.#sendChunk(next.index, effects);
      }
      if (s.missing.length === 0 && s.flights.length === 0) this.#enter("finish");
    }
    if (s.flights.length > 0) return;
    if (s.phase === "init") {
      const { kind, filename, sizeBytes, chunks } = this.#plan;
      const body = { type: kind, filename, total_size: sizeBytes, total_chunks: chunks };
      s.sessionAt = s.now;
      const key = this.#fly();
      effects.push({
        type: "init",
        key,
        body: this.#md5 === undefined ? body : { ...body, md5: this.#md5 },
        ackMs: this.#ackMs,
      });
    } else if (s.phase === "finish") {
      effects.push({ type: "finish", key: this.#fly(), body: { upload_id: s.uploadId as string }, ackMs: this.#ackMs });
    }
  }

  #sendChunk(index: number, effects: UploadEffect[]): void {
    const s = this.#s;
    const key = this.#fly(index);
    const start = index * maxChunkBytes;
    const end = start + this.#bytesOf(index);
    // Acks come in the order of the frames: this one has to wait for all the bytes before it.
    const ahead = s.flights.reduce((sum, { index: other }) => sum + this.#bytesOf(other as number), 0);
    const ackMs = Math.ceil(this.#ackMs * (1 + (ahead * 4) / 3 / (640 * 1024)));
    effects.push({ type: "chunk", key, uploadId: s.uploadId as string, index, start, end, ackMs });
  }

  #fly(index?: number): number {
    const s = this.#s;
    const place = index ?? this.#plan.chunks;
    s.sends = s.sends.map((sends, i) => (i === place ? sends + 1 : sends));
    s.flights = [...s.flights, { key: ++s.keys, index, sentAt: s.now, depth: s.flights.length + 1 }];
    return s.keys;
  }

  #bytesOf(index: number): number {
    return Math.min(maxChunkBytes, this.#plan.sizeBytes - index * maxChunkBytes);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // What became of it

  #settle(flight: Flight, outcome: Outcome, effects: UploadEffect[]): void {
    const s = this.#s;
    switch (outcome.type) {
      case "acked":
        s.throttles = 0;
        if (flight.index === undefined) this.#answered(outcome.body, effects);
        else this.#arrived(flight, flight.index, effects);
        return;
      case "refused":
        this.#refused(flight, outcome, effects);
        return;
      case "timed-out":
        if (flight.depth <= s.window) s.window = Math.max(1, Math.floor(s.window / 2));
        // A finish without an ack may have used the session up.
        s.doubtful ||= s.phase === "finish";
        this.#again(flight, 0, effects, "no-answer");
        return;
      case "connection-lost":
      case "not-ready":
        s.away = true;
        this.#lose(flight);
        return;
      case "stopped":
        this.#fail("stopped", effects);
    }
  }

  /** The ack of an init or a finish. */
  #answered(body: unknown, effects: UploadEffect[]): void {
    const s = this.#s;
    const { upload_id, media_id, created_at } = (body ?? {}) as Record<string, unknown>;
    const id = s.phase === "init" ? upload_id : media_id;
    if (typeof id !== "string" || id === "") {
      this.#fail("bad-answer", effects);
    } else if (s.phase === "init") {
      s.uploadId = id;
      this.#enter("chunk");
    } else {
      s.phase = "done";
      // Typed an integer and shown as a string in the documents.
      const createdAt = typeof created_at === "string" && created_at !== "" ? Number(created_at) : created_at;
      const result = { state: "uploaded", kind: this.#plan.kind, mediaId: id } as const;
      effects.push({
        type: "done",
        result: Number.isFinite(createdAt) ? { ...result, createdAt: createdAt as number } : result,
      });
    }
  }

  #arrived({ sentAt, depth }: Flight, index: number, effects: UploadEffect[]): void {
    const s = this.#s;
    s.ackedBytes += this.#bytesOf(index);
    effects.push({ type: "progress", ackedBytes: s.ackedBytes, totalBytes: this.#plan.sizeBytes });
    const tookMs = s.now - sentAt;
    s.fastestMs = Math.min(s.fastestMs ?? tookMs, tookMs);
    // As long as an ack is about as quick as the quickest one, the line is not full and more of it can be used: up to
    // three times of what just went well. On a slow line acks come later the more is under way, and nothing grows.
    if (tookMs <= 2 * s.fastestMs + 100) {
      s.window = Math.max(s.window, Math.min(s.window + 2, s.ceiling, 3 * depth));
    }
  }

  #refused(flight: Flight, { errcode, errmsg }: { errcode: number; errmsg: string }, effects: UploadEffect[]): void {
    const s = this.#s;
    const asked = classifySend(errcode, errmsg);
    const refusal = { errcode, errmsg };
    const backoffMs = retryMs * 2 ** (this.#sendsOf(flight) - 1);
    if (errcode === -1 || errcode === 45033 || /system error/i.test(errmsg)) {
      // Of the refusals of one burst only the first counts: the others were sent before anybody knew.
      if (flight.depth <= s.window) {
        s.ceiling = Math.max(1, Math.min(s.ceiling, flight.depth - 1));
        s.window = Math.max(1, Math.min(Math.floor(s.window / 2), s.ceiling));
      }
      // Too many at once is over as soon as there are fewer; anything else needs time.
      this.#again(flight, flight.depth > safeWindow ? 0 : backoffMs, effects, "refused", refusal);
    } else if (asked === "throttled") {
      s.waitUntil = s.now + pauseMs;
      if (flight.index !== undefined) this.#again(flight, 0, effects, "throttled", refusal);
      else if (++s.throttles > maxThrottles) this.#fail("throttled", effects, refusal);
      else this.#uncount(flight);
    } else if (asked === "retry" || asked === "reconnect") {
      // Not subscribed: the connection makes a reconnect of it, after which the session may still live.
      s.doubtful ||= asked === "reconnect" && s.phase !== "init";
      this.#again(flight, backoffMs, effects, "refused", refusal);
    } else if (s.doubtful) {
      this.#open(effects);
    } else {
      this.#fail("refused", effects, refusal);
    }
  }

  /** Sends a frame again after `waitMs`, if it was not sent too often. */
  #again(flight: Flight, waitMs: Millis, effects: UploadEffect[], reason: UploadFailure, refusal: object = {}): void {
    const s = this.#s;
    if (this.#sendsOf(flight) >= maxSends) this.#fail(reason, effects, refusal);
    else if (flight.index === undefined) s.waitUntil = s.now + waitMs;
    else s.missing = [...s.missing, { index: flight.index, at: s.now + waitMs }];
  }

  /** A frame went down with its socket, or never left. */
  #lose(flight: Flight): void {
    const s = this.#s;
    s.doubtful ||= s.phase !== "init";
    this.#uncount(flight);
    if (flight.index !== undefined) s.missing = [...s.missing, { index: flight.index, at: 0 }];
  }

  #uncount({ index = this.#plan.chunks }: Flight): void {
    this.#s.sends = this.#s.sends.map((sends, i) => (i === index ? sends - 1 : sends));
  }

  #sendsOf({ index = this.#plan.chunks }: Flight): number {
    return this.#s.sends[index] as number;
  }

  #enter(phase: "chunk" | "finish"): void {
    const s = this.#s;
    s.phase = phase;
    s.sends = [...s.sends.slice(0, -1), 0];
  }

  #fail(reason: UploadFailure, effects: UploadEffect[], refusal: { errcode?: number; errmsg?: string } = {}): void {
    const { phase } = this.#s;
    const at = phase === "chunk" || phase === "finish" ? phase : "init";
    this.#s.phase = "done";
    effects.push({ type: "done", result: { state: "failed", reason, at, ...refusal } });
  }
}
