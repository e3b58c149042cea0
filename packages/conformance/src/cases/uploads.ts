/** Uploads, of bots that keep the echo contract: what is stated, what is sent, and what is made of a failure. */
import type { Case } from "../check.ts";
import type { Stage } from "../stage.ts";
import { objectAt, stringAt, type Frame } from "../wire.ts";

const minute = 60_000;
const fileBytes = 1_300_000;
const maxChunkBytes = 512 * 1024;

/** The three commands of the uploads since a line. */
interface Parts {
  readonly inits: Frame[];
  readonly chunks: Frame[];
  readonly finishes: Frame[];
}

const partsOf = (stage: Stage, after: number): Parts => ({
  inits: stage.wire.sent("aibot_upload_media_init", after),
  chunks: stage.wire.sent("aibot_upload_media_chunk", after),
  finishes: stage.wire.sent("aibot_upload_media_finish", after),
});

/** Asks for a file and waits for what ends the upload: the ack of its finish. Undefined where no upload began. */
const upload = async (stage: Stage): Promise<Parts | undefined> => {
  const after = stage.seq;
  await stage.say(`!upload ${fileBytes}`);
  await stage.until(
    () => {
      const [finish] = partsOf(stage, after).finishes;
      return finish && stage.wire.ackOf(finish);
    },
    stage.ms(minute) + 4_000,
  );
  const parts = partsOf(stage, after);
  return parts.inits.length === 0 ? undefined : parts;
};

/** How many bytes a chunk holds; NaN where it is no base64. */
const bytesOf = ({ body }: Frame): number => {
  const base64 = stringAt(body, "base64_data") ?? "";
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64) || base64.length % 4 !== 0) return NaN;
  return (base64.length / 4) * 3 - (base64.endsWith("==") ? 2 : base64.endsWith("=") ? 1 : 0);
};

/** The upload_id that the gateway gave. */
const uploadIdOf = (stage: Stage, init: Frame): string | undefined =>
  stringAt(stage.wire.ackOf(init)?.body, "upload_id");

const whole: Case = {
  name: "uploads/state-what-they-send",
  title: "The bot is asked for a file of 1.3 MB.",
  checks: ["UPLOAD-1a", "UPLOAD-1c", "UPLOAD-2"],
  contract: true,
  gateway: () => ({ faults: ["ack-delay:ms=100,cmd=aibot_upload_media_init"] }),
  play: async (stage) => {
    await stage.conversing();
    const parts = await upload(stage);
    if (parts === undefined) return;
    const { inits, chunks, finishes } = parts;
    const [init] = inits as [Frame];
    const ack = stage.wire.ackOf(init);
    const sizes = new Map(chunks.map((chunk) => [chunk.body["chunk_index"], bytesOf(chunk)]));
    const sum = [...sizes.values()].reduce((total, size) => total + size, 0);
    const { total_size: size, total_chunks: count } = init.body;
    stage.judge(
      "UPLOAD-1a",
      size === sum && size === fileBytes && count === sizes.size,
      `stated ${String(size)} bytes in ${String(count)} chunks, sent ${sum} in ${sizes.size}`,
      [init],
    );
    const indices = [...sizes.keys()];
    const inOrder = indices.every(
      (index) => Number.isInteger(index) && Number(index) >= 0 && Number(index) < sizes.size,
    );
    const fits = [...sizes.values()].every((bytes) => bytes > 0 && bytes <= maxChunkBytes);
    const last = chunks.at(-1);
    const closes = finishes[0] !== undefined && last !== undefined && finishes[0].seq > last.seq;
    stage.judge(
      "UPLOAD-1c",
      inOrder && fits && closes,
      `chunks ${indices.map(String).join(", ")} of at most ${Math.max(...sizes.values())} bytes; ${closes ? "finish follows" : "no finish follows"}`,
      [...chunks.slice(0, 4), finishes[0]],
    );
    const id = uploadIdOf(stage, init);
    const early = chunks.find((chunk) => ack === undefined || chunk.seq < ack.seq);
    const foreign = chunks.find(({ body }) => body["upload_id"] !== id);
    stage.judge(
      "UPLOAD-2",
      early === undefined && foreign === undefined,
      early !== undefined
        ? "a chunk was sent before the upload_id was known"
        : foreign === undefined
          ? "every chunk came after the upload_id and carries it"
          : "a chunk carries another upload_id",
      [init, ack, early ?? foreign],
    );
  },
};

const lostChunkAck: Case = {
  name: "uploads/repeat-the-chunk-alone",
  title: "The ack of a chunk is lost.",
  checks: ["UPLOAD-3", "UPLOAD-5a"],
  contract: true,
  gateway: () => ({ faults: ["ack-drop:cmd=aibot_upload_media_chunk,nth=2"] }),
  play: async (stage) => {
    await stage.conversing();
    const parts = await upload(stage);
    if (parts === undefined) return;
    const { inits, chunks, finishes } = parts;
    const lost = chunks.find((chunk) => stage.wire.ackOf(chunk) === undefined);
    if (lost === undefined) return;
    const again = chunks.find(
      ({ seq, body }) =>
        seq > lost.seq &&
        body["chunk_index"] === lost.body["chunk_index"] &&
        body["upload_id"] === lost.body["upload_id"],
    );
    stage.judge(
      "UPLOAD-3",
      again !== undefined && inits.length === 1,
      again === undefined
        ? `chunk ${String(lost.body["chunk_index"])} was not sent again under its upload_id; ${inits.length} uploads were begun`
        : `chunk ${String(lost.body["chunk_index"])} was sent again ${Math.round(again.at - lost.at)} ms later; ${inits.length} uploads were begun`,
      [lost, again, ...inits.slice(1)],
    );
    const early = finishes.find((finish) => {
      const init = inits.findLast((one) => uploadIdOf(stage, one) === finish.body["upload_id"]);
      const count = Number(init?.body["total_chunks"] ?? 0);
      const acked = new Set(
        chunks
          .filter(({ body }) => body["upload_id"] === finish.body["upload_id"])
          .filter((chunk) => (stage.wire.ackOf(chunk)?.seq ?? Infinity) < finish.seq)
          .map(({ body }) => body["chunk_index"]),
      );
      return acked.size < count;
    });
    stage.judge(
      "UPLOAD-5a",
      early === undefined,
      early === undefined
        ? "no finish before every chunk was acknowledged"
        : "a finish was sent while a chunk had no ack",
      [lost, again, early],
    );
  },
};

const failedFinish: Case = {
  name: "uploads/send-nothing-that-was-not-uploaded",
  title: "Every finish is refused.",
  checks: ["UPLOAD-8"],
  contract: true,
  gateway: () => ({ faults: ["upload:what=finish-fails,times=100000"] }),
  play: async (stage) => {
    await stage.conversing();
    const after = stage.seq;
    const parts = await upload(stage);
    if (parts === undefined || parts.finishes.length === 0) return;
    await stage.pause(stage.ms(30_000) + 500);
    const sent = stage.wire.business(after).filter(({ body }) => stringAt(body, "msgtype") === "file");
    stage.judge(
      "UPLOAD-8",
      sent.length === 0,
      sent.length === 0
        ? "no file was sent"
        : `a file was sent with media_id ${JSON.stringify(objectAt(sent[0]!.body, "file")["media_id"]) ?? "absent"}`,
      [...parts.finishes.slice(0, 2), ...sent.slice(0, 2)],
    );
  },
};

/** The cases of this file, in the order in which they are told. */
export const uploads: readonly Case[] = [whole, lostChunkAck, failedFinish];
