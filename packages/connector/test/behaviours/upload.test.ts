// Behaviours 68 to 76 of the list that the conformance suite tests too: uploads. The gateway puts the file together and
// checks its MD5 itself. `tools/broken.ts` breaks each in turn and runs its test, which must fail.
import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import type { Gateway } from "@openws/mock-gateway";
import { FileError, reply } from "../../src/index.shared.ts";
import { eventually, of, ready, sent } from "./setting.ts";

const bytes = (count: number) => Uint8Array.from({ length: count }, (_, at) => (at * 31) & 0xff);

interface ChunkBody {
  readonly upload_id: string;
  readonly chunk_index: number;
  readonly base64_data: string;
}
const chunks = (gateway: Gateway) =>
  of(gateway, "aibot_upload_media_chunk").map(({ body }) => body as unknown as ChunkBody);

test("68. init with size, chunks and MD5, three chunks from 0 of at most 512 KiB, finish", async () => {
  const { gateway, bot } = await ready();
  const file = bytes(1_300_000);
  await bot.upload(file, { filename: "a.bin" });
  expect(of(gateway, "aibot_upload_media_init").map(({ body }) => body)).toMatchObject([
    { total_size: 1_300_000, total_chunks: 3, md5: createHash("md5").update(file).digest("hex") },
  ]);
  expect(chunks(gateway).map((each) => [each.chunk_index, Buffer.from(each.base64_data, "base64").length])).toEqual([
    [0, 524_288],
    [1, 524_288],
    [2, 251_424],
  ]);
  expect(sent(gateway).at(-1)!.frame.cmd).toBe("aibot_upload_media_finish");
});

test("69. no chunk goes before the ack of init, whose upload_id it carries", async () => {
  const { gateway, bot } = await ready({}, { faults: ["ack-delay:ms=300,cmd=aibot_upload_media_init"] });
  await bot.upload(bytes(1_300_000), { filename: "a.bin" });
  const acked = gateway.log().find(({ acks }) => acks === "aibot_upload_media_init")!;
  const { body } = JSON.parse(acked.text) as { body: { upload_id: string } };
  for (const { at } of sent(gateway, "aibot_upload_media_chunk")) expect(at).toBeGreaterThanOrEqual(acked.transportAt);
  expect(new Set(chunks(gateway).map(({ upload_id }) => upload_id))).toEqual(new Set([body.upload_id]));
});

test("70. a chunk whose ack is lost is sent again, the others are not", { timeout: 15_000 }, async () => {
  const { gateway, bot } = await ready(
    { ackMs: 1_000, pingTimeoutMs: 5_000 },
    { faults: ["ack-drop:cmd=aibot_upload_media_chunk,nth=2"] },
  );
  await bot.upload(bytes(1_300_000), { filename: "a.bin" });
  expect(chunks(gateway).map(({ chunk_index }) => chunk_index)).toEqual([0, 1, 2, 1]);
  expect(of(gateway, "aibot_upload_media_init")).toHaveLength(1);
});

test(
  "71. acks that take their time are waited for, and those that never come are asked for three times in all",
  { timeout: 15_000 },
  async () => {
    const slow = await ready({ ackMs: 700, pingTimeoutMs: 5_000 }, { switches: { ackLatencyMs: 500 } });
    await slow.bot.upload(bytes(1_300_000), { filename: "a.bin" });
    expect(chunks(slow.gateway)).toHaveLength(3);
    const lost = await ready(
      { ackMs: 100, pingTimeoutMs: 20_000 },
      { faults: ["ack-drop:cmd=aibot_upload_media_chunk,times=99"] },
    );
    await expect(lost.bot.upload(bytes(500_000), { filename: "a.bin" })).rejects.toThrow(/three times/);
    expect(chunks(lost.gateway)).toHaveLength(3);
    expect(of(lost.gateway, "aibot_upload_media_finish")).toEqual([]);
  },
);

test("72. a drop: what is missing goes over the next socket, under the same upload_id", async () => {
  const { gateway, bot } = await ready({}, { faults: ["reset:cmd=aibot_upload_media_chunk,nth=4"] });
  await bot.upload(bytes(4_000_000), { filename: "a.bin" });
  expect(of(gateway, "aibot_subscribe")).toHaveLength(2);
  expect(of(gateway, "aibot_upload_media_init")).toHaveLength(1);
  expect(of(gateway, "aibot_upload_media_finish")).toHaveLength(1);
  expect(new Set(chunks(gateway).map(({ upload_id }) => upload_id)).size).toBe(1);
});

test(
  "73. an overload: fewer at once, no chunk more than three times, and it arrives",
  { timeout: 20_000 },
  async () => {
    const { gateway, bot } = await ready(
      {},
      {
        // Long enough for all that is under way at once to be so at the gateway, too.
        switches: { ackLatencyMs: 300 },
        faults: ["errcode:errcode=-1,errmsg=system error,cmd=aibot_upload_media_chunk,nth=5"],
      },
    );
    expect(await bot.upload(bytes(10_000_000), { filename: "a.bin" })).toMatchObject({ kind: "file" });
    const log = gateway.log().filter(({ cmd, acks }) => [cmd, acks].includes("aibot_upload_media_chunk"));
    const overloadAt = log.findIndex(({ errcode, acks }) => acks !== undefined && errcode === -1);
    expect(overloadAt).toBeGreaterThan(0);
    let flying = 0;
    const most = { before: 0, after: 0 };
    for (const [at, { acks }] of log.entries()) {
      flying += acks === undefined ? 1 : -1;
      if (at < overloadAt) most.before = Math.max(most.before, flying);
      // What was under way at the time of the refusal was sent before anybody knew.
      if (at > overloadAt + 8) most.after = Math.max(most.after, flying);
    }
    expect(most.after).toBeLessThan(most.before);
    const sends = new Map<number, number>();
    for (const { chunk_index } of chunks(gateway)) sends.set(chunk_index, (sends.get(chunk_index) ?? 0) + 1);
    expect(Math.max(...sends.values())).toBeLessThanOrEqual(3);
  },
);

test("74. what cannot go is refused before anything is sent, or goes as a file", { timeout: 20_000 }, async () => {
  const { gateway, bot } = await ready();
  for (const count of [0, 4, 20 * 1_048_576 + 1])
    await expect(bot.upload(bytes(count), { filename: "a.bin" })).rejects.toThrow(FileError);
  expect(of(gateway, "aibot_upload_media_init")).toEqual([]);
  for (const [name, head, kind, count] of [
    ["a.amr", "#!AMR\n", "voice", 2_200_000],
    ["a.png", "\u0089PNG\r\n\u001a\n", "image", 10_600_000],
  ] as const) {
    const large = bytes(count);
    large.set(Buffer.from(head, "latin1"));
    expect(await bot.upload(large, { filename: name, kind })).toMatchObject({ kind: "file" });
  }
  expect(of(gateway, "aibot_upload_media_init").map(({ body }) => body["type"])).toEqual(["file", "file"]);
});

test("75. an error at finish: no message with a media_id that does not exist", async () => {
  const { gateway, bot } = await ready({}, { faults: ["upload:what=md5-mismatch"] });
  const file = reply.file(bytes(1_000), { filename: "a.bin" });
  await expect(bot.push({ userid: "x" }, file)).rejects.toThrow(/40058/);
  expect(of(gateway, "aibot_send_msg")).toEqual([]);
});

test.for(["string", "number"] as const)("76. created_at may be a %s", async (createdAt) => {
  const { gateway, bot } = await ready({}, { switches: { createdAt } });
  const uploaded = await bot.upload(bytes(1_000), { filename: "a.bin" });
  await eventually(() => gateway.log().some(({ acks }) => acks === "aibot_upload_media_finish"));
  expect(uploaded.createdAt).toBeGreaterThan(1_700_000_000);
  const acked = gateway.log().find(({ acks }) => acks === "aibot_upload_media_finish")!;
  expect(JSON.parse(acked.text)).toMatchObject({ body: { created_at: expect.anything() as unknown } });
});
