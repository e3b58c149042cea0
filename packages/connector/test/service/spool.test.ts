import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import type { Attachment } from "../../src/message.ts";
import { folderDisk } from "../../src/service/media.spool.ts";
import { Spool, type SpoolEvent, type SpoolOptions } from "../../src/service/spool.ts";
import { MemoryStore } from "../../src/service/store.memory.ts";
import { manualClock } from "./clock.ts";

const folders: string[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

async function world(options: Partial<SpoolOptions> = {}) {
  const folder = await mkdtemp(join(tmpdir(), "spool-"));
  folders.push(folder);
  const clock = manualClock(Date.now());
  const store = new MemoryStore();
  const disk = await folderDisk(folder);
  const events: SpoolEvent[] = [];
  const make = (): Spool =>
    new Spool({
      store,
      disk,
      clock,
      baseUrl: () => "https://bots.example",
      sign: async (name) => `signed-${name}`,
      tell: (event) => events.push(event),
      ...options,
    });
  return { folder, clock, store, disk, events, spool: make(), make };
}

/** A file of a message; its bytes come when `when` does. */
function attachment(text: string, filename = "a.png", when: Promise<unknown> = Promise.resolve()): Attachment {
  const stream = async () => {
    await when;
    return { stream: new Blob([text]).stream(), filename, type: "image/png" };
  };
  return { kind: "image", stream, download: () => Promise.reject(new Error("not asked for")) };
}

const text = async (stream: ReadableStream<Uint8Array> | undefined): Promise<string> =>
  new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>).text();

describe("a file that came in", () => {
  it("is kept under a lasting address that carries a signature and no key", async () => {
    const { spool, make } = await world();
    spool.fetch(7, [attachment("one"), attachment("two!", "b.png")]);
    const links = await spool.filesOf({ seq: 7 });
    expect(links).toEqual([
      {
        kind: "image",
        url: "https://bots.example/v1/media/med_7_0?sig=signed-med_7_0",
        filename: "a.png",
        type: "image/png",
        bytes: 3,
      },
      expect.objectContaining({ filename: "b.png", bytes: 4 }),
    ]);
    // Also for another process over the same store.
    expect(await make().filesOf({ seq: 7 })).toEqual(links);
    expect(await text((await spool.file("med_7_1", "signed-med_7_1"))?.stream)).toBe("two!");
  });

  it.each([
    ["another signature", "med_7_0", "signed-med_7_1"],
    ["no signature", "med_7_0", ""],
    ["a number that is not there", "med_7_9", "signed-med_7_9"],
    ["a path", "../../etc/passwd", "signed-../../etc/passwd"],
  ])("is not given for %s", async (_, name, sig) => {
    const { spool } = await world();
    spool.fetch(7, [attachment("one")]);
    await spool.idle();
    expect(await spool.file(name, sig)).toBeUndefined();
  });

  it("that cannot be fetched is said, with why, and leaves nothing on the disk", async () => {
    const { spool, events, folder } = await world();
    const failing: Attachment = {
      ...attachment(""),
      stream: async () => ({
        stream: new ReadableStream({
          pull: (controller) => controller.error(new Error("the download broke off before its end")),
        }),
        filename: "x",
        type: "x",
      }),
    };
    spool.fetch(1, [failing]);
    expect(await spool.filesOf({ seq: 1 })).toEqual([
      { kind: "image", error: "the download broke off before its end" },
    ]);
    expect(events).toEqual([{ type: "not-spooled", seq: 1, why: "the download broke off before its end" }]);
    expect(await readdir(folder)).toEqual([]);
  });

  it("is waited for, but not for longer than a delivery can wait", async () => {
    const { spool, clock } = await world({ waitMs: 20_000 });
    spool.fetch(1, [attachment("late", "a.png", Promise.withResolvers().promise)]);
    const asking = spool.filesOf({ seq: 1 });
    await clock.advance(20_000);
    expect(await asking).toEqual([]);
    expect(clock.alarms).toBe(0);
  });

  it("is fetched beside a bounded number of others", async () => {
    const { spool } = await world({ maxFetches: 2 });
    const { promise, resolve } = Promise.withResolvers<undefined>();
    let running = 0;
    let most = 0;
    const counted = (): Attachment => ({
      ...attachment("x"),
      stream: async () => {
        most = Math.max(most, ++running);
        await promise;
        running--;
        return { stream: new Blob(["x"]).stream(), filename: "x", type: "x" };
      },
    });
    for (let seq = 1; seq <= 5; seq++) spool.fetch(seq, [counted()]);
    resolve(undefined);
    await spool.idle();
    expect(most).toBe(2);
    expect(await spool.filesOf({ seq: 5 })).toHaveLength(1);
  });
});

describe("a sweep", () => {
  it("takes what is too old, with its record", async () => {
    const { spool, clock, folder, store } = await world({ keepMs: 3_600_000 });
    spool.fetch(1, [attachment("one")]);
    await spool.idle();
    expect(await spool.sweep()).toBe(0);
    await clock.advance(2 * 3_600_000);
    expect(await spool.sweep()).toBe(1);
    expect(await readdir(folder)).toEqual([]);
    expect(await store.document("media", "1")).toBeUndefined();
  });

  it("takes the oldest when it is too much", async () => {
    const { spool } = await world({ maxBytes: 250 });
    for (let seq = 1; seq <= 4; seq++) {
      spool.fetch(seq, [attachment("x".repeat(100))]);
      await spool.idle();
    }
    expect(await spool.sweep()).toBe(2);
    expect(await spool.file("med_4_0", "signed-med_4_0")).toBeDefined();
  });
});

describe("a folder", () => {
  it("loses what a process left half written", async () => {
    const { folder } = await world();
    await writeFile(join(folder, "med_1_0.part"), "half");
    await folderDisk(folder);
    expect(await readdir(folder)).toEqual([]);
  });
});
