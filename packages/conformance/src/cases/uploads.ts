/** Uploads, of bots that keep the echo contract: what is stated, what is sent, and what is made of a failure. */
import { createHash } from "node:crypto";
import { toleranceOf, type Case, type Surroundings } from "../check.ts";
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
  checks: ["UPLOAD-1a", "UPLOAD-1b", "UPLOAD-1c", "UPLOAD-2", "UPLOAD-10"],
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
    const { md5, filename } = init.body;
    const content = chunks.toSorted((a, b) => Number(a.body["chunk_index"]) - Number(b.body["chunk_index"]));
    const hash = createHash("md5");
    for (const { body } of content) hash.update(stringAt(body, "base64_data") ?? "", "base64");
    const actual = hash.digest("hex");
    stage.judge(
      "UPLOAD-1b",
      md5 === undefined || md5 === actual,
      md5 === undefined
        ? "no md5 was sent"
        : `md5 is ${JSON.stringify(md5)}, that of what was sent is ${JSON.stringify(actual)}`,
      [init],
    );
    const nameBytes = typeof filename === "string" ? new TextEncoder().encode(filename).length : 0;
    stage.judge("UPLOAD-10", nameBytes >= 1 && nameBytes <= 256, `filename has ${nameBytes} bytes`, [init]);
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

/** Asks for a file of so many bytes and waits so long for the end of it. */
const uploadOf = async (stage: Stage, bytes: number, user = "zhangsan", within = minute): Promise<Parts> => {
  const after = stage.seq;
  await stage.say(`!upload ${bytes}`, user);
  await stage.until(
    () => {
      const [finish] = partsOf(stage, after).finishes;
      return finish && stage.wire.ackOf(finish);
    },
    stage.ms(within) + 4_000,
  );
  return partsOf(stage, after);
};

/**
 * The largest number of chunks that were sent and not acknowledged, at each moment from one line to another. One that is sent
 * again, since its ack was late, is one chunk still.
 */
const inFlight = (stage: Stage, chunks: readonly Frame[], from = 0, to = Infinity): number => {
  let most = 0;
  for (const { seq } of chunks) {
    if (seq < from || seq > to) continue;
    const open = chunks.filter((other) => other.seq <= seq && (stage.wire.ackOf(other)?.seq ?? Infinity) > seq);
    most = Math.max(most, new Set(open.map(nameOf)).size);
  }
  return most;
};

/** Which chunk of which file a frame carries. */
const nameOf = ({ body }: Frame): string => `${String(body["upload_id"])} ${String(body["chunk_index"])}`;

/** How often the chunk was sent that was sent most. */
const mostSends = (chunks: readonly Frame[]): number => {
  const sends = new Map<string, number>();
  for (const name of chunks.map(nameOf)) sends.set(name, (sends.get(name) ?? 0) + 1);
  return Math.max(0, ...sends.values());
};

/** How often the chunk was sent again that was sent again most after a refusal. A lost ack is a reason of its own. */
const mostRepeats = (stage: Stage, chunks: readonly Frame[]): number =>
  mostSends(
    chunks.filter(
      (chunk) =>
        stage.wire.ackOf(chunk)?.json?.["errcode"] === -1 &&
        chunks.some((later) => later.seq > chunk.seq && nameOf(later) === nameOf(chunk)),
    ),
  );

/**
 * How many chunks a client has in flight is seen where acks take longer than chunks: on a busy machine ten of these need 200 ms.
 * More would come near the 500 ms after which a client of the scaled lane may take an ack for lost.
 */
const acksOutlastChunks = (): Surroundings => ({
  faults: ["ack-delay:ms=300,cmd=aibot_upload_media_chunk,times=100000"],
});

const fewAtOnce: Case = {
  name: "uploads/begin-with-four-chunks-at-most",
  title: "The bot is asked for a file of ten chunks, whose acks take their time.",
  checks: ["UPLOAD-11"],
  contract: true,
  gateway: acksOutlastChunks,
  play: async (stage) => {
    await stage.conversing();
    const { chunks } = await uploadOf(stage, 10 * maxChunkBytes);
    if (chunks.length < 5) return;
    const acks = chunks.map((chunk) => stage.wire.ackOf(chunk)?.seq ?? Infinity);
    const most = inFlight(stage, chunks, 0, Math.min(...acks));
    stage.judge(
      "UPLOAD-11",
      most <= 4,
      `${most} of ${chunks.length} chunks were in flight when the first of them was acknowledged`,
      chunks.slice(0, 6),
    );
  },
};

const slowAcks: Case = {
  name: "uploads/are-patient",
  title: "The acks of chunks take 8 s.",
  checks: ["UPLOAD-4"],
  contract: true,
  gateway: ({ scale }) => ({ faults: [`ack-delay:ms=${8_000 * scale},cmd=aibot_upload_media_chunk,times=100000`] }),
  play: async (stage) => {
    await stage.conversing();
    const { chunks } = await uploadOf(stage, fileBytes, "zhangsan", 2 * minute);
    if (chunks.length === 0) return;
    const most = mostSends(chunks);
    stage.judge(
      "UPLOAD-4",
      most <= 3,
      `${chunks.length} sends; the chunk that was sent most was sent ${most} times`,
      chunks.slice(0, 6),
    );
  },
};

const resumed: Case = {
  name: "uploads/go-on-after-a-reset",
  title: "The connection is reset after two of five chunks.",
  checks: ["UPLOAD-5b"],
  contract: true,
  gateway: () => ({ faults: ["ack-delay:ms=100,cmd=aibot_upload_media_chunk,times=100000"] }),
  play: async (stage) => {
    await stage.conversing();
    const after = stage.seq;
    await stage.say(`!upload ${5 * maxChunkBytes}`);
    const parts = (): Parts => partsOf(stage, after);
    const acked = await stage.until(
      () =>
        parts()
          .chunks.map((chunk) => stage.wire.ackOf(chunk))
          .filter((ack) => ack !== undefined)[1],
      stage.ms(minute) + 3_000,
    );
    if (acked === undefined) return;
    stage.gateway.cut(acked.connection, "reset");
    const cutSeq = stage.seq;
    const back = await stage.until(() => stage.wire.subscribed(cutSeq)[0], stage.ms(minute) + 2_000);
    if (back === undefined) return stage.untested("UPLOAD-5b", "the client did not come back");
    await stage.until(() => parts().finishes[0], stage.ms(minute) + 4_000);
    const { inits, chunks, finishes } = parts();
    const id = uploadIdOf(stage, inits[0]!);
    const [next] = chunks.filter(({ seq }) => seq > back.seq);
    const again = inits.slice(1);
    stage.judge(
      "UPLOAD-5b",
      next?.body["upload_id"] === id && again.length === 0 && finishes.length > 0,
      next === undefined
        ? "no chunk was sent on the new connection"
        : again.length > 0
          ? "the file was begun again"
          : `${chunks.filter(({ seq }) => seq > back.seq).length} chunks went on under the upload_id; ${finishes.length > 0 ? "finished" : "not finished"}`,
      [acked, back, next, ...again.slice(0, 1), finishes[0]],
    );
  },
};

const overloaded: Case = {
  name: "uploads/slow-down-when-overloaded",
  title: 'Two chunks are refused with "system error" (-1); of another file all are.',
  checks: ["UPLOAD-6"],
  contract: true,
  gateway: acksOutlastChunks,
  play: async (stage) => {
    await stage.conversing();
    await stage.gateway.addFault("errcode:errcode=-1,cmd=aibot_upload_media_chunk,nth=3,times=2");
    const { chunks } = await uploadOf(stage, 12 * maxChunkBytes);
    const refusals = chunks.map((chunk) => stage.wire.ackOf(chunk)).filter((ack) => ack?.json?.["errcode"] === -1);
    const [refusal] = refusals;
    if (refusal === undefined) return;
    const before = inFlight(stage, chunks, 0, refusal.seq);
    // What was sent before the client can have read the refusal is still in flight for a while.
    const unaware = chunks.filter(({ at }) => at <= refusal.at + toleranceOf("UPLOAD-6").lateMs);
    const settled = chunks
      .slice(unaware.length)
      .find(({ seq }) => unaware.every((chunk) => (stage.wire.ackOf(chunk)?.seq ?? Infinity) < seq));
    const then =
      settled === undefined ? 0 : inFlight(stage, chunks, settled.seq, chunks[chunks.indexOf(settled) + before]?.seq);
    await stage.gateway.addFault("errcode:errcode=-1,cmd=aibot_upload_media_chunk,times=100000");
    const after = stage.seq;
    const askedAt = performance.now();
    const refusedFile = await uploadOf(stage, fileBytes, "lisi", 30_000);
    const frame = (): Frame | undefined =>
      stage.wire.business(after).find(({ cmd }) => cmd === "aibot_respond_msg" || cmd === "aibot_send_msg");
    // A library tells its application, which may say it to the user or not.
    const told = (): boolean =>
      stage.clients
        .at(-1)
        ?.prompter?.asked.some(
          ({ op, askedAt: at, answer }) =>
            at >= askedAt && op.op === "reply" && answer !== undefined && !["acked", "done"].includes(answer.outcome),
        ) === true;
    await stage.until(() => frame() ?? (told() ? true : undefined), stage.ms(minute) + 6_000);
    const shown = frame();
    const most = Math.max(mostRepeats(stage, chunks), mostRepeats(stage, partsOf(stage, after).chunks));
    const slower = before <= 1 || then < before;
    // The first file may still be on its way.
    const ids = refusedFile.inits.map((init) => uploadIdOf(stage, init));
    const finished = refusedFile.finishes.some(({ body }) => ids.includes(stringAt(body, "upload_id")));
    stage.judge(
      "UPLOAD-6",
      slower && most <= 3 && (shown !== undefined || told()) && !finished,
      `at most ${before} chunks in flight before the refusal and ${then} after it; a refused chunk was sent again at most ${most} times; an upload that failed ${shown !== undefined ? "was answered for" : told() ? "was reported" : "was not spoken of"}`,
      [refusal, ...chunks.filter(({ seq }) => seq > refusal.seq).slice(0, 4), shown],
    );
  },
};

const unlawful: Case = {
  name: "uploads/are-not-begun-in-vain",
  title: "The bot is asked for a file of 3 bytes, and for one of 20 MiB and a byte.",
  checks: ["UPLOAD-7"],
  contract: true,
  play: async (stage) => {
    await stage.conversing();
    const after = stage.seq;
    for (const [bytes, user] of [
      [3, "zhangsan"],
      [20 * 1024 * 1024 + 1, "lisi"],
    ] as const) {
      const { reqId } = await stage.say(`!upload ${bytes}`, user);
      await stage.answered(reqId, user, after, 10_000);
    }
    // That nothing is begun says something of a bot that does upload.
    const lawful = await uploadOf(stage, 1_000, "wangwu");
    if (lawful.inits.length === 0) return;
    const begun = partsOf(stage, after).inits.filter(({ seq }) => seq < lawful.inits[0]!.seq);
    stage.judge(
      "UPLOAD-7",
      begun.length === 0,
      begun.length === 0
        ? "no upload was begun for either"
        : `an upload of ${begun.map(({ body }) => String(body["total_size"])).join(" and ")} bytes was begun`,
      begun,
    );
  },
};

const createdAt: Case = {
  name: "uploads/take-any-created-at",
  title: "The ack of a finish says created_at as a string, and then as a number.",
  checks: ["UPLOAD-9"],
  contract: true,
  play: async (stage) => {
    await stage.conversing();
    const seen: string[] = [];
    for (const [form, user] of [
      ["string", "zhangsan"],
      ["number", "lisi"],
    ] as const) {
      stage.gateway.set({ createdAt: form });
      const after = stage.seq;
      const { finishes } = await uploadOf(stage, 1_000, user);
      const [finish] = finishes;
      if (finish === undefined) return;
      const sent = await stage.until(
        () => stage.wire.business(after).find(({ body }) => stringAt(body, "msgtype") === "file"),
        stage.ms(30_000) + 2_000,
      );
      if (sent === undefined)
        return stage.judge("UPLOAD-9", false, `with created_at as a ${form} the file was not sent`, [
          finish,
          stage.wire.ackOf(finish),
        ]);
      seen.push(form);
    }
    stage.judge(
      "UPLOAD-9",
      true,
      `the file was sent with created_at as a ${seen.join(" and as a ")}`,
      stage.wire.all.slice(-3),
    );
  },
};

/** The cases of this file, in the order in which they are told. */
export const uploads: readonly Case[] = [
  whole,
  lostChunkAck,
  failedFinish,
  fewAtOnce,
  slowAcks,
  resumed,
  overloaded,
  unlawful,
  createdAt,
];
