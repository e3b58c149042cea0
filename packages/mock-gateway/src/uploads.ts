/**
 * Upload sessions: init opens one, chunks fill it in any order, finish merges and checks it.
 *
 * A session belongs to a bot and not to a socket, lives `uploadLifeMs` from its init, ignores chunks it has, and answers a
 * repeated finish as it answered the first one. Sessions are bounded by their life, by number and by the bytes they hold.
 *
 * A refusal is the name of the behaviour that refuses.
 */
import { createHash } from "node:crypto";
import {
  maxChunkBytes,
  maxMediaBytes,
  mediaKinds,
  minFileBytes,
  uploadsPerHour,
  uploadsPerMinute,
  type MediaKind,
} from "@openws/protocol/frames";
import type { BehaviourId } from "./behaviours.ts";
import type { Chance } from "./chance.ts";
import type { Millis } from "./clock.ts";
import { hasFormat, type Media, type UploadedFile } from "./media.ts";
import { Quota } from "./quota.ts";
import type { Switches } from "./switches.ts";

/** A refusal, with a remark for people. */
export interface Refused {
  readonly refused: BehaviourId;
  readonly note?: string;
}

interface UploadSession {
  readonly bot: string;
  readonly kind: MediaKind;
  readonly filename: string;
  readonly totalSize: number;
  readonly totalChunks: number;
  readonly md5: string | undefined;
  readonly openedAt: Millis;
  chunks: Map<number, Uint8Array>;
  bytes: number;
  file: UploadedFile | undefined;
}

/** What init asks for, as read from its body. */
export interface UploadPlan {
  readonly type: string;
  readonly filename: string;
  readonly totalSize: number;
  readonly totalChunks: number;
  readonly md5: string | undefined;
}

const maxSessions = 5_000;
const maxHeldBytes = 256 * 1024 * 1024;

/** All bots' upload sessions. `now` is the world clock throughout. */
export class Uploads {
  readonly #sessions = new Map<string, UploadSession>();
  readonly #quotas = new Map<string, Quota>();
  readonly #chance: Chance;
  readonly #media: Media;
  #bytes = 0;

  constructor(chance: Chance, media: Media) {
    this.#chance = chance;
    this.#media = media;
  }

  init(now: Millis, bot: string, plan: UploadPlan, switches: Switches): { uploadId: string } | Refused {
    this.#expire(now, switches);
    const kind = mediaKinds.find((known) => known === plan.type);
    if (!kind) return { refused: "upload.bad-type", note: `type is ${plan.type}` };
    const limit = switches.uploadTypeLimits ? maxMediaBytes[kind] : plan.totalChunks * maxChunkBytes;
    if (plan.totalSize < minFileBytes || plan.totalSize > limit)
      return { refused: sizeRefusal[kind], note: `${plan.totalSize} bytes of ${kind}` };
    if (switches.quota) {
      let quota = this.#quotas.get(bot);
      if (!quota) this.#quotas.set(bot, (quota = new Quota(uploadsPerMinute, uploadsPerHour)));
      if (!quota.take(now)) return { refused: "upload.quota" };
    }
    const uploadId = this.#chance.id(32);
    const { filename, totalSize, totalChunks, md5 } = plan;
    this.#sessions.set(uploadId, {
      bot,
      kind,
      filename,
      totalSize,
      totalChunks,
      md5,
      openedAt: now,
      chunks: new Map(),
      bytes: 0,
      file: undefined,
    });
    return { uploadId };
  }

  /** Takes a chunk; `data` undefined means the text was not base64. */
  chunk(
    now: Millis,
    bot: string,
    uploadId: string,
    index: number,
    data: Uint8Array | undefined,
    switches: Switches,
  ): { repeated: boolean } | Refused {
    const session = this.#session(now, bot, uploadId, switches);
    if (!session) return { refused: "upload.unknown" };
    if (!Number.isInteger(index) || index < 0 || index >= session.totalChunks)
      return { refused: "upload.bad-index", note: `chunk_index ${index} of ${session.totalChunks} chunks` };
    if (!data || data.length === 0) return { refused: "upload.bad-chunk", note: "not base64, or empty" };
    if (data.length > maxChunkBytes) return { refused: "upload.bad-chunk", note: `${data.length} bytes` };
    if (session.file || session.chunks.has(index)) return { repeated: true };
    session.chunks.set(index, data);
    session.bytes += data.length;
    this.#bytes += data.length;
    return { repeated: false };
  }

  finish(now: Millis, bot: string, uploadId: string, switches: Switches): UploadedFile | Refused {
    const session = this.#session(now, bot, uploadId, switches);
    if (!session) return { refused: "upload.unknown" };
    if (session.file) return session.file;
    const missing: number[] = [];
    for (let index = 0; index < session.totalChunks; index++) if (!session.chunks.has(index)) missing.push(index);
    if (missing.length > 0)
      return { refused: "upload.incomplete", note: `missing chunks ${missing.slice(0, 20).join(", ")}` };
    const bytes = Buffer.concat(Array.from({ length: session.totalChunks }, (_, index) => session.chunks.get(index)!));
    if (bytes.length !== session.totalSize)
      return { refused: "upload.incomplete", note: `${bytes.length} bytes came, ${session.totalSize} were announced` };
    if (session.md5 !== undefined) {
      const md5 = createHash("md5").update(bytes).digest("hex");
      if (md5 !== session.md5.toLowerCase()) return { refused: "upload.bad-md5", note: `the file's MD5 is ${md5}` };
    }
    const { kind } = session;
    if (switches.uploadFormats && !hasFormat(kind, bytes))
      return { refused: "upload.bad-format", note: `the bytes are no ${kind}` };
    this.#release(session);
    session.file = this.#media.store(now, bot, { kind, filename: session.filename, bytes }, switches);
    return session.file;
  }

  /** Loses a chunk that was taken: what a fault asks for. */
  lose(uploadId: string, index: number): void {
    const session = this.#sessions.get(uploadId);
    const chunk = session?.chunks.get(index);
    if (!session || !chunk) return;
    session.chunks.delete(index);
    session.bytes -= chunk.length;
    this.#bytes -= chunk.length;
  }

  clear(): void {
    this.#sessions.clear();
    this.#quotas.clear();
    this.#bytes = 0;
  }

  #session(now: Millis, bot: string, uploadId: string, switches: Switches): UploadSession | undefined {
    this.#expire(now, switches);
    const session = this.#sessions.get(uploadId);
    return session?.bot === bot ? session : undefined;
  }

  #expire(now: Millis, switches: Switches): void {
    for (const [id, session] of this.#sessions) {
      const young = now - session.openedAt <= switches.uploadLifeMs;
      if (young && this.#sessions.size <= maxSessions && this.#bytes <= maxHeldBytes) break;
      this.#release(session);
      this.#sessions.delete(id);
    }
    if (this.#quotas.size > maxSessions) this.#quotas.clear();
  }

  #release(session: UploadSession): void {
    this.#bytes -= session.bytes;
    session.bytes = 0;
    session.chunks = new Map();
  }
}

const sizeRefusal: Record<MediaKind, BehaviourId> = {
  image: "upload.bad-image-size",
  video: "upload.bad-video-size",
  voice: "upload.bad-size",
  file: "upload.bad-size",
};
