/**
 * Performs uploads: runs one `Upload` machine over the driver, reads each chunk when it is due, and closes the file.
 * Decides nothing about chunks, windows and sessions.
 */
import { FleetingMap, Upload, cmd, encode, encodeChunk, makeReqId, plainErrmsg, planUpload } from "@openws/protocol";
import type { EncodedFrame, MediaKind, Millis, UploadEffect, UploadInput, UploadResult } from "@openws/protocol";
import type { Driver } from "./driver.ts";
import { FileError, type Media, type OpenFile, type FileSource, kindOf } from "./files.ts";
import type { Runtime } from "./runtime.ts";

/** How a file is sent. */
export interface UploadOptions {
  /** As what: by default what its name and its content say. One that does not fit goes as a file. */
  readonly kind?: MediaKind | undefined;
  /** How it is called; by default as its path or the Blob is. */
  readonly filename?: string | undefined;
  /** Called as chunks arrive. */
  readonly onProgress?: ((ackedBytes: number, totalBytes: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A file that WeCom has. */
export interface Uploaded {
  /** As what it went, which is `file` where its format or size forbids what was asked. */
  readonly kind: MediaKind;
  /** Good for three days. */
  readonly mediaId: string;
  readonly filename: string;
  /** Unix seconds, if the gateway said. */
  readonly createdAt: number | undefined;
  /** What was changed so that it could go, in sentences. */
  readonly notices: readonly string[];
}

/** Chunks under way at most. With twice as many an upload of 20 MB takes 10 MiB more. */
const maxWindow = 8;

/** All uploads of one bot. */
export class Uploads {
  readonly #driver: Driver;
  readonly #runtime: Runtime;
  readonly #media: Media | undefined;
  readonly #ackMs: Millis | undefined;
  readonly #running = new FleetingMap<RunningUpload, true>();

  constructor(driver: Driver, runtime: Runtime, media: Media | undefined, ackMs: Millis | undefined) {
    this.#driver = driver;
    this.#runtime = runtime;
    this.#media = media;
    this.#ackMs = ackMs;
  }

  /** Brings a file to a media_id. Rejects with `FileError`, whatever went wrong. */
  async upload(source: FileSource, { kind, filename, onProgress, signal }: UploadOptions = {}): Promise<Uploaded> {
    if (this.#media === undefined) throw noMedia;
    const file = await this.#media.open(source, filename);
    try {
      const guessed = kindOf(file.name, file.head);
      const wanted = kind ?? guessed.kind;
      const facts = { filename: guessed.name, sizeBytes: file.sizeBytes };
      const planned = planUpload(wanted === undefined ? facts : { ...facts, kind: wanted });
      if ("refusal" in planned)
        throw new FileError("file-too-large", {
          en: planned.refusal.reason,
          zh: `文件无法发送：${planned.refusal.reason}`,
        });
      const { plan } = planned;
      if (this.#driver.over) throw failure({ state: "failed", reason: "stopped", at: "init" }, plan.filename);
      const options = { plan, md5: file.md5, maxWindow };
      const machine = new Upload(this.#ackMs === undefined ? options : { ...options, ackMs: this.#ackMs });
      const running = new RunningUpload(machine, file, this.#driver, this.#runtime, onProgress);
      this.#running.set(running, true);
      const cancel = (): void => running.take({ type: "cancel" });
      signal?.addEventListener("abort", cancel, { once: true });
      running.take({ type: "start" });
      if (signal?.aborted === true) cancel();
      const result = await running.ended.finally(() => {
        this.#running.delete(running);
        signal?.removeEventListener("abort", cancel);
      });
      if (result.state === "failed") throw failure(result, plan.filename);
      return {
        kind: result.kind,
        mediaId: result.mediaId,
        filename: plan.filename,
        createdAt: result.createdAt,
        notices: plan.notices.map(({ message }) => message),
      };
    } finally {
      await file.close();
    }
  }

  /** The connection moved. */
  lineMoved(ready: boolean): void {
    if (ready) for (const upload of this.#running.keys()) upload.take({ type: "ready" });
    else if (this.#driver.over) for (const upload of this.#running.keys()) upload.take({ type: "stopped" });
  }
}

class RunningUpload {
  readonly ended: Promise<UploadResult>;
  readonly #machine: Upload;
  readonly #file: OpenFile;
  readonly #driver: Driver;
  readonly #runtime: Runtime;
  readonly #onProgress: ((ackedBytes: number, totalBytes: number) => void) | undefined;
  readonly #resolve: (result: UploadResult) => void;
  readonly #reject: (error: unknown) => void;
  #cancelAlarm: (() => void) | undefined;

  constructor(
    machine: Upload,
    file: OpenFile,
    driver: Driver,
    runtime: Runtime,
    onProgress: ((ackedBytes: number, totalBytes: number) => void) | undefined,
  ) {
    const { promise, resolve, reject } = Promise.withResolvers<UploadResult>();
    this.ended = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#machine = machine;
    this.#file = file;
    this.#driver = driver;
    this.#runtime = runtime;
    this.#onProgress = onProgress;
  }

  take(input: UploadInput): void {
    for (const effect of this.#machine.handle(this.#runtime.now(), input)) this.#perform(effect);
    this.#cancelAlarm?.();
    const at = this.#machine.deadline;
    this.#cancelAlarm = at === undefined ? undefined : this.#runtime.wakeAt(at, () => this.take({ type: "tick" }));
  }

  #perform(effect: UploadEffect): void {
    const headers = { req_id: makeReqId("upload", () => this.#runtime.random()) };
    switch (effect.type) {
      case "init":
        this.#send(effect.key, encode({ cmd: cmd.uploadInit, headers, body: effect.body }), effect.ackMs);
        return;
      case "finish":
        this.#send(effect.key, encode({ cmd: cmd.uploadFinish, headers, body: effect.body }), effect.ackMs);
        return;
      case "chunk": {
        const { key, uploadId, index, start, end, ackMs } = effect;
        this.#file.base64(start, end).then(
          (base64) => this.#send(key, encodeChunk(headers.req_id, uploadId, index, base64), ackMs),
          (error: unknown) => {
            this.#reject(error);
            this.take({ type: "cancel" });
          },
        );
        return;
      }
      case "progress":
        try {
          this.#onProgress?.(effect.ackedBytes, effect.totalBytes);
        } catch {
          // A progress bar that breaks is no reason to break off the upload.
        }
        return;
      case "done":
        this.#resolve(effect.result);
    }
  }

  #send(key: number, frame: EncodedFrame, ackMs: Millis): void {
    this.#driver.send(frame, (outcome) => this.take({ type: "settled", key, outcome }), ackMs);
  }
}

const noMedia = new FileError("file-source", {
  en: "this bot was made without access to files; give it a media adapter",
  zh: "该机器人未配置文件访问能力，请提供 media 适配器",
});

function failure({ reason, errcode, errmsg }: Extract<UploadResult, { state: "failed" }>, name: string): FileError {
  const code = errcode === undefined ? "" : ` (errcode ${errcode} ${plainErrmsg(errmsg ?? "")})`;
  const { en, zh } = reasons[reason];
  return new FileError(reason === "too-small" ? "file-too-small" : "file-upload", {
    en: `${name} was not uploaded: ${en}${code}`,
    zh: `${name} 未能上传：${zh}${code}`,
  });
}

const reasons: Readonly<Record<Extract<UploadResult, { state: "failed" }>["reason"], { en: string; zh: string }>> = {
  "too-small": { en: "it has fewer than 5 bytes, which WeCom does not take", zh: "文件小于 5 字节，企业微信不接受" },
  refused: { en: "the gateway refused it", zh: "网关拒绝" },
  throttled: {
    en: "the gateway throttles uploads (30 a minute, 1,000 an hour); try later",
    zh: "上传过于频繁（每分钟 30 次、每小时 1000 次），请稍后再试",
  },
  "no-answer": { en: "the gateway did not answer in time, three times", zh: "网关三次未在时限内应答" },
  "bad-answer": { en: "the gateway's answer lacks the id it must carry", zh: "网关应答缺少必需的 id" },
  expired: { en: "three upload sessions were lost or ran out", zh: "三次上传会话丢失或过期" },
  cancelled: { en: "it was cancelled", zh: "已取消" },
  stopped: { en: "there is no connection", zh: "没有可用连接" },
};
