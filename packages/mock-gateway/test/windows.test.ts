/** The long windows on real sockets, moved through by the API's clock, with the bot connected all the while. */
import { expect, test } from "vitest";
import { startGateway } from "../src/index.ts";
import { Client } from "./client.ts";
import type { Frame } from "./wire.ts";

const minute = 60_000;
const hour = 60 * minute;
/** The world's clock also follows the real one: more than the whole test takes. */
const margin = 3_000;

/** A bot on a gateway of its own, with an hour's worth of minutes a call away. */
const connected = async () => {
  const gateway = await startGateway({ latencyMs: 0 });
  const client = await Client.subscribe(gateway.url);
  const ask = (cmd: string, req_id: string, body: object): Promise<Frame> => {
    client.send({ cmd, headers: { req_id }, body });
    return client.next();
  };
  const asked = async (text: string): Promise<string> => {
    await gateway.say("bot", text);
    return (await client.next()).headers.req_id;
  };
  return {
    client,
    asked,
    stream: async (req_id: string, content: string) =>
      (await ask("aibot_respond_msg", req_id, { msgtype: "stream", stream: { id: req_id, finish: false, content } }))
        .errcode,
    push: async (req_id: string) => {
      const body = { chatid: "zhangsan", chat_type: 1, msgtype: "markdown", markdown: { content: "x" } };
      return (await ask("aibot_send_msg", req_id, body)).errcode;
    },
    upload: (step: "init" | "chunk" | "finish", body: object) =>
      ask(`aibot_upload_media_${step}`, `${step}-${Math.random()}`, body),
    advance: async (ms: number) => {
      const moved = await fetch(`${gateway.apiUrl}/clock/advance`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ ms }),
      });
      expect(moved.status).toBe(200);
    },
    [Symbol.asyncDispose]: async () => {
      client.close();
      await gateway.stop();
    },
  };
};

// Its time-out is what it shows. A machine that does ten other things may need a second try.
test(
  "ten minutes of a stream, half an hour of an upload, an hour's quota and a day of a req_id pass in less than two seconds",
  { timeout: 2_000, retry: 2 },
  async () => {
    await using bot = await connected();
    const first = await bot.asked("a long question");
    expect(await bot.stream(first, "so far")).toBe(0);
    await bot.advance(10 * minute - margin);
    expect(await bot.stream(first, "so far, so")).toBe(0);
    await bot.advance(margin);
    expect(await bot.stream(first, "so far, so good")).toBe(846608);

    const plan = { type: "file", filename: "a.txt", total_size: 6, total_chunks: 1 };
    const { upload_id } = (await bot.upload("init", plan)).body;
    await bot.advance(30 * minute - margin);
    expect((await bot.upload("chunk", { upload_id, chunk_index: 0, base64_data: "aGVsbG8h" })).errcode).toBe(0);
    await bot.advance(margin);
    expect((await bot.upload("finish", { upload_id })).errcode).toBe(40058);

    await bot.advance(hour);
    let granted = 0;
    for (let quarter = 0; granted < 1000 && quarter < 40; quarter++) {
      for (let n = 0; n < 30; n++) granted += (await bot.push(`p${quarter}-${n}`)) === 0 ? 1 : 0;
      await bot.advance(minute);
    }
    expect(granted).toBe(1000);
    expect(await bot.push("one-too-many")).toBe(846607);
    await bot.advance(hour);
    expect(await bot.push("an-hour-later")).toBe(0);

    const last = await bot.asked("tell me tomorrow");
    await bot.advance(24 * hour - margin);
    expect(await bot.stream(last, "just in time")).toBe(0);
    await bot.advance(margin);
    expect(await bot.stream(last, "too late")).toBe(846604);
    expect(bot.client.ws.readyState).toBe(bot.client.ws.OPEN);
  },
);
