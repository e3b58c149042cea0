/**
 * The files of what came in: fetched on arrival, since the gateway's link lives for five minutes, decrypted, and kept under
 * an address of our own that lasts.
 *
 * Decides when a file is fetched, how long it is kept, how much of all there is, and who may have it. Does not know disks
 * (media.spool.ts), the gateway's links and ciphers (the library's media), or HTTP. Invariants: an address is signed and
 * carries no key; what cannot be fetched is said, with why, and holds nothing up for longer than `waitMs`; files and their
 * records go together, and neither outlives its time.
 */
import type { Attachment } from "../message.ts";
import type { Clock } from "./clock.ts";
import type { FileLink } from "./envelope.ts";
import { sameText } from "./proof.ts";
import type { Entry, Seq, Store } from "./store.ts";

/** Where files lie. Names are made here: letters, digits and `_`. */
export interface SpoolDisk {
  /** Writes a file whole; a broken one leaves nothing behind. Resolves with its size. */
  write(name: string, bytes: ReadableStream<Uint8Array>): Promise<number>;
  /** Undefined where there is none. */
  read(name: string): Promise<ReadableStream<Uint8Array> | undefined>;
  remove(name: string): Promise<void>;
  list(): Promise<readonly { readonly name: string; readonly bytes: number; readonly writtenAt: number }[]>;
}

/** How a spool keeps files. */
export interface SpoolOptions {
  readonly store: Pick<Store, "commit" | "document">;
  readonly disk: SpoolDisk;
  readonly clock: Clock;
  /** Where the API can be reached from receivers, such as `https://bots.example`; without a slash at its end. */
  readonly baseUrl: () => string;
  /** Signs a name; the same name has the same signature for as long as the service keeps its key. */
  readonly sign: (name: string) => Promise<string>;
  /** 259,200,000: three days, as long as the gateway keeps what a bot uploads. */
  readonly keepMs?: number | undefined;
  /** Bytes of all files together; 10 GiB. Beyond it the oldest go first. */
  readonly maxBytes?: number | undefined;
  /** Bytes of one file; 104,857,600. */
  readonly maxFileBytes?: number | undefined;
  /** Files fetched at once; 8. */
  readonly maxFetches?: number | undefined;
  /** How long a reader waits for a file that is being fetched; 20,000. */
  readonly waitMs?: number | undefined;
  readonly tell: (event: SpoolEvent) => void;
}

/** The kinds of message that can hold files. */
const kindsWithFiles: ReadonlySet<string> = new Set(["image", "mixed", "voice", "file", "video"]);

/** Whether files can belong to an entry at all: of most there is nothing to look up. */
export function mayHaveFiles({ direction, event, kind }: Pick<Entry, "direction" | "event" | "kind">): boolean {
  return direction === "in" && event !== true && kindsWithFiles.has(kind);
}

/** What is told of files. */
export type SpoolEvent =
  | { readonly type: "spooled"; readonly seq: Seq; readonly bytes: number }
  | { readonly type: "not-spooled"; readonly seq: Seq; readonly why: string };

/** A file that is kept. */
export interface SpooledFile {
  readonly stream: ReadableStream<Uint8Array>;
  readonly filename: string;
  readonly type: string;
  readonly bytes: number;
}

/** What is remembered of an entry's files, in their order. */
type Kept =
  | {
      readonly kind: FileLink["kind"];
      readonly filename: string;
      readonly type: string;
      readonly bytes: number;
      readonly error?: undefined;
    }
  | { readonly kind: FileLink["kind"]; readonly error: string };

/** The spool. */
export class Spool {
  readonly #options: SpoolOptions;
  readonly #keepMs: number;
  /** Entries whose files are being fetched. */
  readonly #fetching = new Map<Seq, Promise<void>>();
  #running = 0;
  readonly #queue: (() => void)[] = [];

  constructor(options: SpoolOptions) {
    this.#options = options;
    this.#keepMs = options.keepMs ?? 72 * 3_600_000;
  }

  /** Begins to fetch an entry's files. Returns at once; `filesOf` waits. */
  fetch(seq: Seq, files: readonly Attachment[]): void {
    if (files.length === 0 || this.#fetching.has(seq)) return;
    const done = this.#fetchAll(seq, files).finally(() => this.#fetching.delete(seq));
    this.#fetching.set(seq, done);
  }

  /** Whether something is known, or under way, of an entry's files. */
  async knows(seq: Seq): Promise<boolean> {
    return this.#fetching.has(seq) || (await this.#kept(seq)) !== undefined;
  }

  /** The files of an entry as their receivers can get at them. Waits for those under way, not for ever. */
  async filesOf({ seq }: Pick<Entry, "seq">): Promise<FileLink[]> {
    const fetching = this.#fetching.get(seq);
    if (fetching !== undefined) await this.#atMost(this.#options.waitMs ?? 20_000, fetching);
    const kept = await this.#kept(seq);
    if (kept === undefined) return [];
    return Promise.all(
      kept.map(async (file, at): Promise<FileLink> => {
        if (file.error !== undefined) return { kind: file.kind, error: file.error };
        const name = nameOf(seq, at);
        const { kind, filename, type, bytes } = file;
        const url = `${this.#options.baseUrl()}/v1/media/${name}?sig=${await this.#options.sign(name)}`;
        return { kind, url, filename, type, bytes };
      }),
    );
  }

  /** The file of an address; undefined where its signature is not its own, or it is gone. */
  async file(name: string, sig: string): Promise<SpooledFile | undefined> {
    const [, seq, at] = /^med_(\d{1,15})_(\d{1,4})$/.exec(name) ?? [];
    if (seq === undefined || !sameText(sig, await this.#options.sign(name))) return undefined;
    const file = (await this.#kept(Number(seq)))?.[Number(at)];
    if (file === undefined || file.error !== undefined) return undefined;
    const stream = await this.#options.disk.read(name);
    return stream === undefined ? undefined : { stream, ...file };
  }

  /** Removes what is too old, or too much. Call it now and then. Resolves with how many files went. */
  async sweep(): Promise<number> {
    const { disk, clock, store, maxBytes = 10 * 1024 ** 3 } = this.#options;
    const now = clock.now();
    const files = [...(await disk.list())].toSorted((a, b) => a.writtenAt - b.writtenAt);
    let total = files.reduce((sum, { bytes }) => sum + bytes, 0);
    let removed = 0;
    for (const { name, bytes, writtenAt } of files) {
      if (writtenAt + this.#keepMs > now && total <= maxBytes) break;
      const [, seq] = /^med_(\d+)_/.exec(name) ?? [];
      if (seq !== undefined) await store.commit([{ delete: "document", collection: "media", key: seq }]);
      await disk.remove(name);
      total -= bytes;
      removed++;
    }
    return removed;
  }

  /** Resolves when nothing is being fetched. */
  async idle(): Promise<void> {
    await Promise.all(this.#fetching.values());
  }

  async #fetchAll(seq: Seq, files: readonly Attachment[]): Promise<void> {
    const { store, clock, tell } = this.#options;
    const kept = await Promise.all(files.map((file, at) => this.#fetchOne(seq, at, file)));
    try {
      await store.commit([
        {
          put: "document",
          collection: "media",
          document: { key: String(seq), value: kept, expiresAt: clock.now() + this.#keepMs },
        },
      ]);
    } catch (error) {
      tell({ type: "not-spooled", seq, why: wordsOf(error) });
    }
  }

  async #fetchOne(seq: Seq, at: number, file: Attachment): Promise<Kept> {
    const { disk, tell, maxFetches = 8, maxFileBytes = 100 * 1024 * 1024 } = this.#options;
    if (this.#running >= maxFetches)
      await new Promise<void>((resolve) => {
        this.#queue.push(resolve);
      });
    this.#running++;
    try {
      const { stream, filename, type } = await file.stream({ maxBytes: maxFileBytes });
      const bytes = await disk.write(nameOf(seq, at), stream);
      tell({ type: "spooled", seq, bytes });
      return { kind: file.kind, filename, type, bytes };
    } catch (error) {
      const why = wordsOf(error);
      tell({ type: "not-spooled", seq, why });
      return { kind: file.kind, error: why };
    } finally {
      this.#running--;
      this.#queue.shift()?.();
    }
  }

  async #kept(seq: Seq): Promise<readonly Kept[] | undefined> {
    const document = await this.#options.store.document("media", String(seq));
    return document?.value as readonly Kept[] | undefined;
  }

  async #atMost(ms: number, promise: Promise<void>): Promise<void> {
    const { clock } = this.#options;
    const { promise: late, resolve } = Promise.withResolvers<undefined>();
    const cancel = clock.wakeAt(clock.now() + ms, () => resolve(undefined));
    await Promise.race([promise, late]);
    cancel();
  }
}

function nameOf(seq: Seq, at: number): string {
  return `med_${seq}_${at}`;
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
