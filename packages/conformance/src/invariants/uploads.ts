/** The invariant of uploads; its sentence stands in ../invariants.ts. */
import { object } from "../history.ts";
import { breach } from "../story.ts";
import type { Breach, Story } from "../story.ts";

/** A file goes in order, whole, and under ids that were given. */
export function uploads({ sockets, uploaded }: Story): Breach | undefined {
  const media = new Set<string>();
  const inits = new Map<string, number>();
  const taken = new Map<string, Set<number>>();
  for (const { n, sent } of sockets) {
    const sends = new Map<string, number>();
    for (const frame of sent) {
      const { cmd, at, lane, body, request } = frame;
      if (cmd === "ping" || cmd === "aibot_respond_msg") continue;
      const id = String(body["upload_id"]);
      if (cmd === "aibot_send_msg" && body["msgtype"] === "file") {
        const mediaId = String(object(body["file"])["media_id"]);
        if (!media.has(mediaId)) return breach("uploads", at, `the media_id ${mediaId} was never given`);
        continue;
      }
      if (!cmd.startsWith("aibot_upload")) continue;
      const ack =
        request?.settled?.outcome.type === "acked"
          ? object(lane.acks.find(({ errcode }) => errcode === 0)?.frame["body"])
          : undefined;
      if (cmd === "aibot_upload_media_init") {
        const size = Number(body["total_size"]);
        if (size < 5 || body["total_chunks"] !== Math.ceil(size / 524_288))
          return breach("uploads", at, `init says ${size} bytes in ${String(body["total_chunks"])} chunks`);
        if (ack === undefined) continue;
        inits.set(String(ack["upload_id"]), Number(body["total_chunks"]));
        taken.set(String(ack["upload_id"]), new Set());
        continue;
      }
      const chunks = inits.get(id);
      if (chunks === undefined) return breach("uploads", at, `${cmd} before, or without, the ack of an init`);
      if (cmd === "aibot_upload_media_chunk") {
        const index = Number(body["chunk_index"]);
        if (!(index >= 0 && index < chunks)) return breach("uploads", at, `chunk ${index} of ${chunks}`);
        const length = String(body["base64_data"]).length;
        if (length > 699_052) return breach("uploads", at, `a chunk of ${length} characters`);
        const times = (sends.get(`${id} ${index}`) ?? 0) + 1;
        sends.set(`${id} ${index}`, times);
        if (times > 3) return breach("uploads", at, `chunk ${index} was sent ${times} times on socket ${n}`);
        if (ack !== undefined) taken.get(id)!.add(index);
      } else {
        if (taken.get(id)!.size < chunks)
          return breach("uploads", at, `finish after ${taken.get(id)!.size} of ${chunks} chunks`);
        if (ack !== undefined) media.add(String(ack["media_id"]));
      }
    }
  }
  for (const { at, state } of uploaded)
    if (state === "uploaded" && media.size === 0)
      return breach("uploads", at, "an upload was called done without a media_id");
  return undefined;
}
