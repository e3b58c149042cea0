/**
 * Invariants of what users read: streams, pushes, and the ledger beside what the chats show.
 * Each returns the first breach it meets; their sentences stand in ../invariants.ts.
 */
import { markOf, marks, object } from "../history.ts";
import type { Millis } from "../history.ts";
import { breach } from "../story.ts";
import type { Breach, Request, Sent, Story } from "../story.ts";

/** What a stream's frames may look like, one after the other. */
export function streamFrames({ sent }: Story): Breach | undefined {
  const streams = new Map<string, { before: Sent; openedAt: Millis | undefined }>();
  for (const frame of sent) {
    if (frame.cmd !== "aibot_respond_msg" && frame.cmd !== "aibot_send_msg") continue;
    const { at, body } = frame;
    const stream = object(body["stream"]);
    const isStream = body["msgtype"] === "stream";
    const said = (isStream ? stream : object(body["markdown"]))["content"];
    const content = typeof said === "string" ? said : "";
    if (!content.isWellFormed()) return breach("stream-frames", at, "a text was cut inside a character");
    if (content.length * 3 > 20_480 && bytesOf(content) > 20_480)
      return breach("stream-frames", at, `a text of ${bytesOf(content)} bytes was sent`);
    if (!isStream) continue;
    const id = String(stream["id"]);
    const finish = stream["finish"] === true;
    if (finish && !/[^\s\u200B-\u200D\u2060\uFEFF]/.test(content))
      return breach("stream-frames", at, `stream ${id} was finished without a visible character`);
    // A frame that was refused opens nothing.
    const openedAt = frame.request?.settled?.outcome.type === "refused" ? undefined : at;
    const known = streams.get(id);
    if (known === undefined) {
      streams.set(id, { before: frame, openedAt });
      continue;
    }
    const { before } = known;
    known.before = frame;
    known.openedAt ??= openedAt;
    if (before.req_id !== frame.req_id)
      return breach("stream-frames", at, `stream ${id} was continued on another req_id`);
    const earlier = object(before.body["stream"]);
    const { outcome } = before.request?.settled ?? {};
    if (earlier["finish"] === true) {
      const again = finish && (outcome?.type === "refused" || before.socket !== frame.socket);
      if (!again) return breach("stream-frames", at, `stream ${id} was touched after it was finished`);
    } else if (!finish && !content.startsWith(String(earlier["content"])))
      return breach("stream-frames", at, `a frame of stream ${id} does not begin with the one before`);
    // A finish that was sent in time may be refused, and tried again later.
    const inTime = earlier["finish"] === true || at - (known.openedAt ?? at) <= 600_000;
    if (before.socket === frame.socket && !inTime)
      return breach("stream-frames", at, `stream ${id} was continued after its ten minutes`);
  }
  return undefined;
}

/** What a refusal closes stays closed. */
export function streamRefused({ sent }: Story): Breach | undefined {
  const closedStreams = new Map<string, number>();
  const closedReqIds = new Map<string, number>();
  const conflicts = new Map<string, number>();
  // By text: what says more is another frame, and no retry.
  for (const { cmd, at, place, req_id, body, request, text } of sent) {
    if (cmd !== "aibot_respond_msg" || body["msgtype"] !== "stream") continue;
    const id = String(object(body["stream"])["id"]);
    if ((closedStreams.get(id) ?? Infinity) < place)
      return breach("stream-refused", at, `stream ${id} was continued after 846608`);
    if ((closedReqIds.get(req_id) ?? Infinity) < place)
      return breach("stream-refused", at, `${req_id} was answered again after it was refused`);
    const { outcome, place: settled = Infinity } = request?.settled ?? {};
    if (outcome?.type === "refused") {
      if (outcome.errcode === 846608) closedStreams.set(id, settled);
      if (outcome.errcode === 846604 || outcome.errcode === 846605) closedReqIds.set(req_id, settled);
    }
    if (outcome?.errcode !== 6000) continue;
    const inARow = (conflicts.get(text) ?? 0) + 1;
    conflicts.set(text, inARow);
    if (inARow > 4) return breach("stream-refused", at, `stream ${id} met 6000 ${inARow} times with one text`);
  }
  return undefined;
}

/** A text that has ended is shown to have ended. */
export function endsSoon({ answers, chats, sockets, history }: Story): Breach | undefined {
  for (const { n, chat, req_id, at: begunAt, said, over } of answers.values()) {
    if (said === undefined || said.at + 5_000 > history.endAt) continue;
    const frames = chats.get(chat) ?? [];
    // Something else went to the chat, or some of it was refused or is unknown.
    const disturbed = frames.some(
      ({ at, req_id: other, request }) =>
        at > said.at - 120_000 &&
        at <= said.at + 5_000 &&
        (other !== req_id || request?.settled?.outcome.type !== "acked"),
    );
    if (disturbed) continue;
    const socket = sockets.findLast(({ dialedAt }) => dialedAt <= said.at);
    if (socket?.readyAt === undefined || socket.readyAt > begunAt || socket.endedAt < said.at + 5_000) continue;
    const mine = frames.filter(({ req_id: other }) => other === req_id);
    if (mine.some(({ body }) => body["msgtype"] !== "stream")) continue;
    const finished = mine.find(({ at, body }) => at >= said.at - 5_000 && object(body["stream"])["finish"] === true);
    const inFlight = mine.findLast(({ at }) => at < said.at)?.request?.settled?.at ?? said.at;
    const due = Math.max(said.at, inFlight) + 500;
    // A bubble that was handed over just before left nothing to say.
    if (over !== undefined && over.at <= due) continue;
    if (due + 1_000 > said.at + 5_000) continue;
    if (finished === undefined || finished.at > due)
      return breach(
        "ends-soon",
        said.at,
        `answer ${n} ended and was finished ${finished ? `${finished.at - said.at} ms later` : "by nothing"}`,
      );
  }
  return undefined;
}

/** Nobody is pushed what they may have read. */
export function pushesOnce({ sent }: Story): Breach | undefined {
  for (const push of sent) {
    if (push.cmd !== "aibot_send_msg") continue;
    for (const mark of push.text.match(marks) ?? []) {
      const before = sent.findLast(
        ({ place, cmd, text }) =>
          place < push.place && (cmd === "aibot_respond_msg" || cmd === "aibot_send_msg") && text.includes(mark),
      );
      if (before === undefined) continue;
      const outcome = before.request?.settled?.outcome;
      if (outcome?.type !== "refused")
        return breach(
          "pushes-once",
          push.at,
          `${mark} was pushed though it was ${outcome?.type ?? "never settled"} before`,
        );
      if (before.cmd === "aibot_send_msg" && (outcome.errcode === 93006 || outcome.errcode === 93001))
        return breach("pushes-once", push.at, `${mark} was pushed again after ${outcome.errcode}`);
    }
  }
  return undefined;
}

/** What the ledger says is what the users see. */
export function readByUsers({
  history,
  answers,
  chats,
  requests,
  pushed,
  repeatedAcks: repeated,
}: Story): Breach | undefined {
  const open = history.shown.filter(({ finished }) => !finished);
  const seen = new Map<string, { times: number; chat: string }>();
  for (const { content, chat } of history.shown)
    for (const mark of content.match(marks) ?? []) {
      const before = seen.get(mark);
      if (before) before.times++;
      else seen.set(mark, { times: 1, chat });
    }
  for (const { n, chat, req_id, at, said, over } of answers.values()) {
    if (said === undefined || over === undefined) continue;
    for (let piece = 0; piece < said.marks; piece++) {
      const mark = markOf(n, piece);
      const found = seen.get(mark);
      if (found === undefined && over.state === "delivered" && !repeated.has(req_id))
        return breach("read-by-users", over.at, `answer ${n} is delivered, and nobody sees ${mark}`);
      if (found === undefined) continue;
      if (found.chat !== chat)
        return breach("read-by-users", at, `answer ${n} is seen in ${found.chat}, not in ${chat}`);
      // A text that is said twice may be seen twice if it was unknown whether it had arrived.
      if (found.times > 1 && over.state !== "unknown" && !doubtful(chats.get(chat) ?? [], n))
        return breach("read-by-users", over.at, `${mark} is seen ${found.times} times`);
    }
    if (over.state !== "delivered" || over.route !== "stream" || repeated.has(req_id)) continue;
    const bubble = open.find((item) => item.req_id === req_id);
    if (bubble)
      return breach(
        "read-by-users",
        over.at,
        `answer ${n} is delivered, and its bubble ${String(bubble.streamId)} is open`,
      );
  }
  return pushesRead(pushed, seen, requests);
}

/** Whether a frame of this answer is one of which nobody knows what became. */
function doubtful(frames: readonly Sent[], n: number): boolean {
  const begin = markOf(n, 0).slice(0, -2);
  return frames.some(({ text, request }) => {
    const { type } = request?.settled?.outcome ?? {};
    return type !== "acked" && type !== "refused" && text.includes(begin);
  });
}

function pushesRead(
  pushed: Story["pushed"],
  seen: ReadonlyMap<string, { readonly times: number }>,
  requests: ReadonlyMap<number, Request>,
): Breach | undefined {
  for (const { at, push, state } of pushed) {
    if (!push.startsWith("p")) continue;
    const times = seen.get(markOf(Number(push.slice(1)), 0))?.times ?? 0;
    if (state === "delivered" && times !== 1)
      return breach("read-by-users", at, `push ${push} is delivered and seen ${times} times`);
    if (state === "failed" && times > 0) return breach("read-by-users", at, `push ${push} failed and is seen`);
    if (times > 1) return breach("read-by-users", at, `push ${push} is seen ${times} times`);
  }
  for (const { settled, sent, askedAt, key } of requests.values())
    if (settled?.outcome.type === "connection-lost" && (sent !== undefined) !== settled.outcome.maybeDelivered)
      return breach("read-by-users", askedAt, `request ${key} ${sent ? "was" : "was not"} sent and says otherwise`);
  return undefined;
}

function bytesOf(text: string): number {
  return new TextEncoder().encode(text).length;
}
