/**
 * The plain client's uploads: init, the chunks one after another, finish. What is lost with a line goes on over the next
 * one; what the gateway cannot take now is tried again, three times, ever later.
 */
import { createHash } from "node:crypto";
import { broken, fresh, pause } from "./defect.ts";
import { stringAt, type Json } from "./json.ts";
import type { Connection, Settled } from "./line.ts";

const mib = 1024 * 1024;
/** MB of the documents are read as MiB. */
const limits = { file: 20 * mib, image: 10 * mib, voice: 2 * mib, video: 10 * mib };
const leastBytes = 5;

/** As what a file goes. */
export type Kind = keyof typeof limits;

/** What became of an upload. */
export type Uploaded =
  | { readonly outcome: "acked"; readonly kind: Kind; readonly mediaId: string | undefined }
  | {
      readonly outcome: "refused" | "unknown" | "not-sent" | "failed";
      readonly errcode?: number;
      readonly said?: string;
    };

/** Brings a file to a media_id. */
export async function upload(
  connection: Connection,
  bytes: Buffer,
  asKind: Kind,
  filename: string,
  again = false,
): Promise<Uploaded> {
  // What is too large for its type is a file like any other.
  const kind = bytes.length > limits[asKind] && !broken("uploads-anything") ? "file" : asKind;
  if ((bytes.length < leastBytes || bytes.length > limits[kind]) && !broken("uploads-anything"))
    return { outcome: "not-sent" };
  if (!(await connection.ready())) return { outcome: "not-sent" };
  const { second } = connection;
  const chunkBytes = (broken("cuts-large-chunks") ? 600 : 512) * 1024;
  const chunks = Array.from({ length: Math.ceil(bytes.length / chunkBytes) }, (_, at) =>
    bytes.subarray(at * chunkBytes, (at + 1) * chunkBytes).toString("base64"),
  );
  const md5 = createHash("md5").update(bytes).digest("hex");
  const init = connection.line.request("aibot_upload_media_init", fresh("init"), {
    type: kind,
    filename: shortened(filename),
    total_size: bytes.length,
    total_chunks: chunks.length + (broken("states-another-size") ? 1 : 0),
    md5: broken("states-another-md5") ? md5.toUpperCase() : md5,
  });
  const begun: Settled = broken("guesses-its-upload-id") ? { errcode: 0, body: { upload_id: "1" } } : await init;
  if (begun === "no ack" || begun === "lost") return { outcome: "unknown" };
  if (begun.errcode !== 0) return refused(begun);
  const { upload_id } = begun.body;

  const send = async (chunk_index: number): Promise<Settled> => {
    const body = { upload_id, chunk_index, base64_data: chunks[chunk_index] };
    const once = (waitMs?: number): Promise<Settled> =>
      connection.line.request("aibot_upload_media_chunk", fresh("chunk"), body, waitMs);
    let settled = await once(broken("repeats-chunks-every-2-s") ? 2 * second : undefined);
    let unanswered = 0;
    let overloads = 0;
    for (;;) {
      if (settled === "lost") {
        // What has arrived by then is the gateway's, for half an hour.
        if (broken("begins-again-after-a-drop") || !(await connection.ready())) return settled;
      } else if (settled === "no ack") {
        if (broken("begins-again-on-a-lost-ack")) return settled;
        if (++unanswered >= (broken("repeats-chunks-every-2-s") ? 10 : 3)) return settled;
      } else if (settled.errcode === -1) {
        if (++overloads > 3 && !broken("shrugs-at-overload")) return settled;
        if (overloads > 12) return settled;
        await pause(broken("shrugs-at-overload") ? 50 : 200 * 2 ** overloads);
      } else return settled;
      settled = await once(broken("repeats-chunks-every-2-s") ? 2 * second : undefined);
    }
  };

  const settle = async (): Promise<Settled | undefined> => {
    if (broken("sends-all-chunks-at-once")) {
      const all = await Promise.all(chunks.map((_, at) => send(at)));
      return all.find((settled) => !accepted(settled));
    }
    for (const at of chunks.keys()) {
      if (broken("finishes-before-its-acks")) void send(at);
      else {
        const settled = await send(at);
        if (!accepted(settled)) return settled;
      }
    }
    return undefined;
  };
  const trouble = await settle();
  const startsOver = broken("begins-again-on-a-lost-ack") || broken("begins-again-after-a-drop");
  if (startsOver && !again && (trouble === "no ack" || trouble === "lost"))
    return upload(connection, bytes, asKind, filename, true);
  // A lost ack of the last try says nothing about the chunk, and everything about whether to finish.
  if (trouble === "no ack" || trouble === "lost") return { outcome: "unknown" };
  if (trouble !== undefined && !broken("guesses-its-upload-id")) return refused(trouble);

  const end = await connection.line.request("aibot_upload_media_finish", fresh("finish"), { upload_id });
  if (end === "no ack" || end === "lost") return { outcome: "unknown" };
  const { media_id, created_at } = end.body;
  if (broken("sends-what-was-not-uploaded")) return { outcome: "acked", kind, mediaId: media_id as string | undefined };
  if (typeof media_id !== "string") return refused(end);
  if (broken("needs-created-at-as-text") && typeof created_at !== "string") return { outcome: "failed" };
  return { outcome: "acked", kind, mediaId: media_id };
}

const accepted = (settled: Settled): boolean => settled !== "no ack" && settled !== "lost" && settled.errcode === 0;

const refused = ({ errcode, body }: { errcode: number; body: Json }): Uploaded => ({
  outcome: "refused",
  errcode,
  said: stringAt(body, "errmsg"),
});

/** At most 256 bytes, cut between characters, with the extension kept. */
const shortened = (name: string): string => {
  if (broken("names-files-at-length")) return name.length > 200 ? name : `${"long ".repeat(60)}${name}`;
  const extension = /\.[\w-]{1,16}$/.exec(name)?.[0] ?? "";
  const bytes = Buffer.from(name.slice(0, name.length - extension.length));
  let end = Math.min(bytes.length, 256 - Buffer.byteLength(extension));
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end).toString() + extension;
};
