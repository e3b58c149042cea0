/**
 * Fetches the files of messages that wait for their turn. A link lives for five minutes, a handler in front may take half
 * an hour: what is fetched when the handler asks would be gone.
 *
 * Decides what is fetched before anybody asked for it, and for how long it is kept. Does not know whose turn it is, nor how
 * a file is fetched.
 *
 * Invariants: what is held is at most `maxBytes`, over all messages; few files are under way at once; a file that could not
 * be had ahead, or is not there yet, is fetched when the handler asks, as if nothing had been tried.
 */
import { FleetingMap } from "@openws/protocol";
import { type DownloadOptions, type DownloadedStream, type Downloads, moreThan } from "./files.ts";
import type { Runtime } from "./runtime.ts";

/** Where a file is, and what opens it. */
export interface Link {
  readonly url: string;
  readonly aeskey: string | undefined;
}

/** A message that waits for its turn, as far as its files go. */
export interface Waiting {
  /** Its handler is called: what was not begun by now is left to it. */
  readonly called: () => void;
  /** Its turn is over, or will never come: what is held for it is forgotten. */
  readonly over: () => void;
}

/** How long a message has waited when its files are fetched: most have their turn before, and never cost a byte more. */
const afterMs = 10_000;
/** Files under way at once. Each has a minute, so that sixteen that crawl have all been tried before their links die. */
const maxFetching = 4;

interface Entry {
  readonly link: Link;
  /** Messages that wait for it: a file may be quoted. */
  wantedBy: number;
  begun: boolean;
  readonly ending: AbortController;
  readonly chunks: Uint8Array<ArrayBuffer>[];
  bytes: number;
  /** Once it is complete. */
  file: Omit<DownloadedStream, "stream"> | undefined;
}

/** Downloads of one bot, some of them before they are asked for. */
export class Ahead implements Downloads {
  readonly #downloads: Downloads;
  readonly #runtime: Runtime;
  readonly #maxBytes: number;
  readonly #entries = new FleetingMap<string, Entry>();
  #waiting: Entry[] = [];
  #fetching = 0;
  #heldBytes = 0;

  constructor(downloads: Downloads, runtime: Runtime, maxBytes: number) {
    this.#downloads = downloads;
    this.#runtime = runtime;
    this.#maxBytes = maxBytes;
  }

  /** Fetches the files of a message that begins to wait, unless its turn comes soon. */
  fetch(links: readonly Link[]): Waiting {
    let entries: Entry[] = [];
    const cancel = this.#runtime.wakeAt(this.#runtime.now() + afterMs, () => {
      // Once each: a message may hold a file and quote it.
      for (const link of new Map(links.map((each) => [each.url, each])).values()) {
        const entry = this.#entries.get(link.url) ?? this.#add(link);
        entry.wantedBy++;
        entries.push(entry);
      }
      this.#next();
    });
    const release = (entry: Entry): void => {
      if (--entry.wantedBy === 0) this.#forget(entry);
    };
    return {
      called: () => {
        cancel();
        // What is under way may be there by the time the handler asks.
        const unbegun = entries.filter(({ begun }) => !begun);
        entries = entries.filter(({ begun }) => begun);
        for (const entry of unbegun) release(entry);
      },
      over: () => {
        cancel();
        for (const entry of entries.splice(0)) release(entry);
      },
    };
  }

  /** What is there is given out, as often as it is asked for; all else is fetched now. */
  async download(url: string, aeskey: string | undefined, options: DownloadOptions = {}): Promise<DownloadedStream> {
    const entry = this.#entries.get(url);
    if (entry?.file !== undefined) {
      options.signal?.throwIfAborted();
      if (entry.bytes > (options.maxBytes ?? Infinity)) throw moreThan(options.maxBytes!);
      return { ...entry.file, stream: copied(entry.chunks) };
    }
    // Fetching takes a minute at most, so what is under way still has a good link: the caller's own limits count from here.
    if (entry !== undefined) this.#forget(entry);
    return this.#downloads.download(url, aeskey, options);
  }

  #add(link: Link): Entry {
    const ending = new AbortController();
    const entry: Entry = { link, wantedBy: 0, begun: false, ending, chunks: [], bytes: 0, file: undefined };
    this.#entries.set(link.url, entry);
    this.#waiting.push(entry);
    return entry;
  }

  #next(): void {
    while (this.#fetching < maxFetching) {
      const entry = this.#waiting.shift();
      if (entry === undefined) return;
      entry.begun = true;
      this.#fetching++;
      void this.#fetch(entry).then(() => {
        this.#fetching--;
        this.#next();
      });
    }
  }

  /** Never rejects. */
  async #fetch(entry: Entry): Promise<void> {
    const { link, ending, chunks } = entry;
    try {
      const maxBytes = this.#maxBytes - this.#heldBytes;
      if (maxBytes <= 0) throw moreThan(this.#maxBytes);
      const { stream, ...file } = await this.#downloads.download(link.url, link.aeskey, {
        maxBytes,
        signal: ending.signal,
      });
      for await (const chunk of stream) {
        ending.signal.throwIfAborted();
        chunks.push(chunk);
        entry.bytes += chunk.length;
        this.#heldBytes += chunk.length;
        if (this.#heldBytes > this.#maxBytes) throw moreThan(maxBytes);
      }
      entry.file = file;
    } catch {
      // Its handler will ask, and hear what is wrong if it still is.
      this.#forget(entry);
    }
  }

  #forget(entry: Entry): void {
    const { url } = entry.link;
    if (this.#entries.get(url) !== entry) return;
    this.#entries.delete(url);
    this.#waiting = this.#waiting.filter((each) => each !== entry);
    this.#heldBytes -= entry.bytes;
    entry.ending.abort();
  }
}

/** Copies, since whoever gets the bytes may do with them as they like. */
function copied(chunks: readonly Uint8Array<ArrayBuffer>[]): DownloadedStream["stream"] {
  return ReadableStream.from(
    (function* () {
      for (const chunk of chunks) yield chunk.slice();
    })(),
  );
}
