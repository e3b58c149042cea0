// Files of messages that wait for their turn: fetched before their links die, within bounds, and forgotten in time.
import { expect, test } from "vitest";
import { Ahead } from "../src/ahead.ts";
import { type BotOptions, createBot } from "../src/bot.ts";
import { type Media, moreThan } from "../src/files.ts";
import { type FakeSocket, VirtualRuntime, callback, quiet } from "./virtual.ts";

const lifeMs = 5 * 60_000;

/** Files whose links live for five minutes from now on, three bytes each unless they are told to be larger. */
class Files implements Media {
  readonly asked: string[] = [];
  readonly ended: string[] = [];
  bytes = 3;
  /** Whether what is asked for stays under way until it is ended. */
  crawling = false;
  readonly #runtime: VirtualRuntime;
  readonly #deadAt: number;

  constructor(runtime: VirtualRuntime) {
    this.#runtime = runtime;
    this.#deadAt = runtime.now() + lifeMs;
  }

  open: Media["open"] = () => Promise.reject(new Error("nothing is sent here"));

  download: Media["download"] = async (url, _aeskey, { signal, maxBytes = Infinity } = {}) => {
    this.asked.push(url);
    if (this.crawling)
      return new Promise((_, reject) => {
        signal?.addEventListener("abort", () => {
          this.ended.push(url);
          reject(new Error("ended"));
        });
      });
    if (this.#runtime.now() > this.#deadAt) throw new Error("the link is dead");
    if (this.bytes > maxBytes) throw moreThan(maxBytes);
    return { stream: new Blob([new Uint8Array(this.bytes)]).stream(), filename: `${url}.bin`, type: "a/b" };
  };
}

/** A bot one of whose chats is busy until the test says otherwise, and what its handler of files makes of each. */
async function busy(handle?: "ignores", options: Partial<BotOptions> = {}) {
  const runtime = new VirtualRuntime();
  const files = new Files(runtime);
  const bot = createBot({ botId: "bot", secret: "s3cret", runtime, media: files, handlerMs: 3_600_000, ...options });
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const got: unknown[] = [];
  bot.on("text", () => promise);
  bot.on("file", async (message) => {
    if (handle === "ignores") return;
    // Twice: the bytes are the handler's, and whatever it does with them harms nobody.
    for (let time = 0; time < 2; time++) {
      const { bytes, filename } = await message
        .download()
        .catch((error: unknown) => ({ bytes: String(error), filename: "" }));
      got.push([bytes.length, filename]);
      if (bytes instanceof Uint8Array) bytes.fill(9);
    }
  });
  void bot.start();
  const socket = await runtime.subscribe();
  socket.acknowledge();
  socket.receive(callback("think for long"));
  const free = async (): Promise<void> => {
    resolve(undefined);
    for (let turn = 0; turn < 20; turn++) await quiet();
  };
  return { runtime, files, bot, socket, got, free };
}

const send = (socket: FakeSocket, url: string, body: object = {}): void =>
  socket.receive(callback("", { msgtype: "file", file: { url, aeskey: "k" }, ...body }));

test("a file behind a handler of twenty minutes is there when its own handler asks, as often as it asks", async () => {
  const { runtime, files, socket, got, free } = await busy();
  send(socket, "u1");
  await runtime.advance(4 * lifeMs);
  await free();
  expect(got).toEqual([
    [3, "u1.bin"],
    [3, "u1.bin"],
  ]);
  expect(files.asked).toEqual(["u1"]);
});

test("files of a mixed message and of its quote are fetched, each once", async () => {
  const { runtime, files, socket, bot } = await busy();
  bot.on("mixed", () => undefined);
  const image = (url: string) => ({ msgtype: "image", image: { url, aeskey: "k" } });
  const mixed = { msg_item: [image("u1"), { msgtype: "text", text: { content: "and" } }, image("u2"), image("u1")] };
  socket.receive(callback("", { msgtype: "mixed", mixed, quote: image("u3") }));
  await runtime.advance(60_000);
  expect(files.asked).toEqual(["u1", "u2", "u3"]);
});

test("a message whose turn comes soon costs nothing that its handler does not ask for", async () => {
  const { runtime, files, socket, free } = await busy("ignores");
  send(socket, "u1");
  await runtime.advance(9_000);
  await free();
  await runtime.advance(lifeMs);
  expect(files.asked).toEqual([]);
});

test("four files are under way at once; the others follow as these end", async () => {
  const { runtime, files, socket, bot } = await busy();
  files.crawling = true;
  for (let n = 1; n <= 6; n++) send(socket, `u${n}`);
  await runtime.advance(10_000);
  expect(files.asked).toEqual(["u1", "u2", "u3", "u4"]);
  void bot.stop(0);
  await runtime.advance(1_000);
  // Nobody will ever ask for them.
  expect(files.ended).toEqual(["u1", "u2", "u3", "u4"]);
  expect(files.asked).toHaveLength(4);
});

test("what is not there yet when the handler asks is ended, and fetched as the handler says", async () => {
  const { runtime, files, socket, got, free } = await busy();
  files.crawling = true;
  send(socket, "u1");
  await runtime.advance(10_000);
  files.crawling = false;
  await free();
  expect(files.ended).toEqual(["u1"]);
  expect(got[0]).toEqual([3, "u1.bin"]);
  expect(files.asked).toEqual(["u1", "u1", "u1"]);
});

test("no more is held than may be; what does not fit is left to its handler, and room is made when a turn is over", async () => {
  const { runtime, socket, got, free } = await busy(undefined, { maxAheadBytes: 5 });
  for (const url of ["u1", "u2"]) send(socket, url);
  await runtime.advance(lifeMs + 1);
  await free();
  expect(got.map((each) => (each as [number, string])[1])).toEqual(["u1.bin", "u1.bin", "", ""]);

  const later = await busy(undefined, { maxAheadBytes: 5 });
  later.files.bytes = 5;
  for (const url of ["u1", "u2"]) send(later.socket, url);
  await later.runtime.advance(10_000);
  await later.free();
  // There was no room for the second one, and its link was good still.
  expect(later.got).toHaveLength(4);
  expect(later.files.asked).toEqual(["u1", "u2", "u2"]);
});

test("with nothing to hold them in no files are fetched ahead", async () => {
  const { runtime, files, socket } = await busy(undefined, { maxAheadBytes: 0 });
  send(socket, "u1");
  await runtime.advance(lifeMs);
  expect(files.asked).toEqual([]);
});

test("a bound that is none is refused", async () => {
  for (const maxAheadBytes of [-1, Number.NaN])
    await expect(busy(undefined, { maxAheadBytes })).rejects.toThrow("maxAheadBytes must be a number from 0");
});

test("a limit of the handler's own counts for what was fetched before it asked, and so does its signal", async () => {
  const { runtime, socket, bot, free } = await busy();
  const went: unknown[] = [];
  bot.on("file", async (message) => {
    for (const options of [{ maxBytes: 2 }, { signal: AbortSignal.abort(new Error("no more")) }])
      went.push(await message.download(options).catch((error: unknown) => (error as Error).message));
  });
  send(socket, "u1");
  await runtime.advance(lifeMs + 1);
  await free();
  expect(went).toEqual([moreThan(2).message, "no more"]);
});

/** Links by their names. */
const links = (...urls: string[]) => urls.map((url) => ({ url, aeskey: undefined }));

test("what was not begun when the handler is called is left to it", async () => {
  const runtime = new VirtualRuntime();
  const files = new Files(runtime);
  files.crawling = true;
  const ahead = new Ahead(files, runtime, 1_000);
  const waiting = ahead.fetch(links("a", "b", "c", "d", "e", "f"));
  const other = ahead.fetch(links("g", "e"));
  await runtime.advance(10_000);
  expect(files.asked).toEqual(["a", "b", "c", "d"]);
  waiting.called();
  waiting.over();
  await quiet();
  expect(files.ended).toEqual(["a", "b", "c", "d"]);
  expect(files.asked.slice(4)).toEqual(["e", "g"]);
  other.over();
});

test("a file that two messages wait for is kept until both have had their turn", async () => {
  const runtime = new VirtualRuntime();
  const files = new Files(runtime);
  const ahead = new Ahead(files, runtime, 1_000);
  const [first, second] = [ahead.fetch(links("same")), ahead.fetch(links("same"))];
  await runtime.advance(lifeMs + 1);
  for (const turn of [first, second]) {
    turn.called();
    const { stream } = await ahead.download("same", undefined);
    expect((await new Response(stream).bytes()).length).toBe(3);
    turn.over();
  }
  expect(files.asked).toEqual(["same"]);
  await expect(ahead.download("same", undefined)).rejects.toThrow("the link is dead");
});
