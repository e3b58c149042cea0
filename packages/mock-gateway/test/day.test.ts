import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { WireLog } from "../src/wirelog.ts";
import { World, type WorldInput } from "../src/world.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

const minute = 60_000;
const mebibyte = 1024 * 1024;
/** A minute; so many users that their chats are full within the first two days. */
const messages = 5;
const users = 100;

/**
 * A bot that lives: messages with streams, files, events, uploads, pushes, pings, a reconnect every five minutes.
 * Returns the heap at each of the hours.
 */
const live = (world: World, wireLog: WireLog, hours: readonly number[]): number[] => {
  const heaps: number[] = [];
  let now = 0;
  let connection = 0;
  let call = 0;
  let sent: string[] = [];
  const hand = (input: WorldInput): void => {
    for (const effect of world.handle(now, input)) {
      if (effect.type === "send") sent.push(effect.text);
      if (effect.type === "log") wireLog.append(effect.entry);
    }
  };
  const frame = (cmd: string, req_id: string, body?: unknown): void =>
    hand({ type: "received", connection, text: JSON.stringify({ cmd, headers: { req_id }, body }) });

  for (let at = 0; at <= hours.at(-1)! * 60; at++) {
    now = at * minute;
    if (hours.includes(at / 60)) {
      collect();
      heaps.push(process.memoryUsage().heapUsed);
    }
    if (at % 5 === 0) {
      hand({ type: "closed", connection });
      connection++;
      hand({ type: "opened", connection });
      frame("aibot_subscribe", `sub-${at}`, { bot_id: "bot", secret: "s" });
    }
    frame("ping", `ping-${at}`);
    if (at % 10 === 0) {
      sent = [];
      frame("aibot_upload_media_init", `init-${at}`, { type: "file", filename: "a", total_size: 6, total_chunks: 1 });
      const { upload_id } = (JSON.parse(sent.at(-1)!) as { body: { upload_id: string } }).body;
      frame("aibot_upload_media_chunk", `chunk-${at}`, { upload_id, chunk_index: 0, base64_data: "aGVsbG8h" });
      frame("aibot_upload_media_finish", `finish-${at}`, { upload_id });
    }
    for (let n = 0; n < messages; n++) {
      const userid = `user-${(at * messages + n) % users}`;
      sent = [];
      hand({
        type: "say",
        bot: "bot",
        message: { from: { userid }, msgtype: n === 0 ? "file" : "text", text: { content: "hello" } },
        call: ++call,
        waitMs: 1000,
      });
      const { headers } = JSON.parse(sent.at(-1)!) as { headers: { req_id: string } };
      for (const finish of [false, true])
        frame("aibot_respond_msg", headers.req_id, {
          msgtype: "stream",
          stream: { id: headers.req_id, finish, content: "x".repeat(200) },
        });
      hand({ type: "trigger", bot: "bot", event: { eventtype: "enter_chat", from: { userid } }, call: ++call });
      frame("aibot_send_msg", `push-${at}-${n}`, {
        chatid: userid,
        chat_type: 1,
        msgtype: "markdown",
        markdown: { content: "pushed" },
      });
    }
    sent = [];
  }
  return heaps;
};

test("a day of a busy bot, in moved time, leaves memory flat and nobody waiting", () => {
  const world = new World({ switches: { ackLatencyMs: 0, subscribeLatencyMs: 0 } });
  const wireLog = new WireLog({ entries: 2_000 });
  // What is kept on purpose is kept for three days at most (a media_id); from then on as much is forgotten as comes.
  const [early, noon, late] = live(world, wireLog, [73, 85, 97]) as [number, number, number];
  const { connections, turns, waiters, bots } = world.sizes;
  expect({ connections, waiters, bots }).toEqual({ connections: 1, waiters: 0, bots: 1 });
  // Two a message, for twice the reply window of 24 hours.
  expect(turns).toBeLessThanOrEqual(2 * messages * 48 * 60 + 100);
  expect(noon - early).toBeLessThan(mebibyte);
  expect(late - early).toBeLessThan(mebibyte);
  expect(world.findings().length).toBeLessThanOrEqual(2_000);
}, 60_000);
