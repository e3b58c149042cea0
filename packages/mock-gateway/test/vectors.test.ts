import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { openQuestions, observe, rules, tableOf, type Observation } from "../src/observations.ts";
import { readRecording, vectorsOf, type Crossing } from "../src/recording.ts";
import { startRecorder } from "../src/cli/record.ts";
import { startGateway } from "../src/index.ts";
import { Client } from "./client.ts";

const requirements = readFileSync(new URL("../../../spec/requirements.yaml", import.meta.url), "utf8");

/** A recording of what a test lets cross; each crossing 100 ms after the one before unless it says when. */
class Tape {
  readonly #lines: string[] = [
    JSON.stringify({ openwsRecording: 1, date: "2026-11-01", upstream: "u", keepText: false }),
  ];
  #at = 0;
  #seq = 0;

  put(crossing: Partial<Crossing> & Pick<Crossing, "dir">, at = this.#at + 100): this {
    this.#at = at;
    this.#lines.push(JSON.stringify({ seq: ++this.#seq, at, connection: 1, what: "message", ...crossing }));
    return this;
  }

  bot(cmd: string, req_id: string, body?: unknown, at?: number): this {
    return this.put({ dir: "in", text: JSON.stringify({ cmd, headers: { req_id }, ...(body ? { body } : {}) }) }, at);
  }

  ack(req_id: string, errcode = 0, more: object = {}): this {
    return this.put({ dir: "out", text: JSON.stringify({ headers: { req_id }, errcode, errmsg: "ok", ...more }) });
  }

  callback(req_id: string, body: object, at?: number): this {
    const cmd = "event" in body ? "aibot_event_callback" : "aibot_msg_callback";
    return this.put({ dir: "out", text: JSON.stringify({ cmd, headers: { req_id }, body }) }, at);
  }

  subscribed(): this {
    return this.put({ dir: "in", what: "open" }).bot("aibot_subscribe", "s", { bot_id: "b", secret: "s" }).ack("s");
  }

  seen(requirement: string): Pick<Observation, "verdict" | "seen">[] {
    return observe(readRecording(this.text)).filter((observation) => observation.requirement === requirement);
  }

  get text(): string {
    return this.#lines.join("\n");
  }
}

const stream = (id: string, content: string, finish = false) => ({
  msgtype: "stream",
  stream: { id, finish, content },
});
const message = {
  msgid: "m1",
  aibotid: "b",
  chattype: "single",
  from: { userid: "u" },
  msgtype: "text",
  text: { content: "x" },
};
const reqId = "Q7mC2xVtR9ekLw4ZbS0uHgAA";

describe("what a recording says", () => {
  test("each rule names a requirement that exists", () => {
    expect(rules.length).toBeGreaterThan(40);
    for (const { requirement } of rules) expect(requirements).toContain(`- id: ${requirement}\n`);
    expect(new Set(rules.flatMap(({ question = [] }) => question))).toEqual(new Set(Object.keys(openQuestions)));
  });

  test("an errcode that no table has, and one that the table has on other commands only", () => {
    const tape = new Tape().subscribed();
    tape.callback(reqId, message).bot("aibot_respond_msg", reqId, stream("1", "x"));
    tape
      .ack(reqId, 777_001)
      .bot("aibot_send_msg", "p", { chatid: "u", msgtype: "markdown", markdown: { content: "x" } });
    tape.ack("p", 853_000);
    expect(tape.seen("GW-CONN-17")).toMatchObject([
      { verdict: "new", seen: expect.stringContaining("aibot_respond_msg met 777001") as unknown },
      { verdict: "differs", seen: expect.stringContaining("aibot_send_msg met 853000") as unknown },
    ]);
  });

  test("members, message types and events that nobody listed", () => {
    const tape = new Tape()
      .subscribed()
      .callback(reqId, { ...message, mood: "good", from: { userid: "u", tenant: 1 } });
    tape
      .callback(reqId, { ...message, msgtype: "hologram" })
      .callback(reqId, { msgtype: "event", event: { eventtype: "yawn" } });
    expect(tape.seen("GW-MSG-1").map(({ seen }) => seen)).toEqual([
      "a member nobody listed: from.tenant, 1 times",
      "a member nobody listed: body.mood, 1 times",
    ]);
    expect(tape.seen("GW-MSG-27")).toMatchObject([{ verdict: "new" }]);
    expect(tape.seen("GW-EVENT-1")).toMatchObject([{ verdict: "new" }]);
  });

  test("how a kick ended: when, how, with which acks in between", () => {
    const kick = {
      msgid: "k",
      create_time: 1,
      aibotid: "b",
      msgtype: "event",
      event: { eventtype: "disconnected_event" },
    };
    const tape = new Tape().subscribed().callback(reqId, kick, 10_000).bot("ping", "p1").ack("p1");
    tape.bot("aibot_send_msg", "x", {}).ack("x", 846_609).put({ dir: "out", what: "close", code: 4001 }, 20_000);
    expect(tape.seen("GW-KICK-6")).toMatchObject([
      { verdict: "agrees", seen: "the close came 10.0 s after disconnected_event" },
    ]);
    expect(tape.seen("GW-KICK-7")).toMatchObject([{ verdict: "differs" }]);
    expect(tape.seen("GW-KICK-8")).toMatchObject([{ verdict: "agrees" }]);
    expect(tape.seen("GW-KICK-12")).toMatchObject([{ verdict: "agrees" }]);
    expect(tape.seen("GW-BEAT-4")).toEqual([]);
  });

  test("how long a silent client was borne, and a socket that never subscribed", () => {
    const idle = new Tape().subscribed().put({ dir: "out", what: "cut" }, 120_200);
    expect(idle.seen("GW-BEAT-4")).toMatchObject([
      { verdict: "measured", seen: expect.stringContaining("120.0 s") as unknown },
    ]);
    const never = new Tape().put({ dir: "in", what: "open" }, 0).put({ dir: "out", what: "close", code: 1000 }, 61_000);
    expect(never.seen("GW-AUTH-8")).toMatchObject([
      { verdict: "measured", seen: expect.stringContaining("61.0 s") as unknown },
    ]);
    expect(never.seen("GW-CONN-15")).toMatchObject([
      { seen: "1 connections ended by the gateway with close code 1000" },
    ]);
  });

  test("a redelivery, with its req_id, and a reply on a req_id of an earlier connection", () => {
    const tape = new Tape().subscribed().callback(reqId, message).put({ dir: "out", what: "cut" });
    const subscribe = JSON.stringify({ cmd: "aibot_subscribe", headers: { req_id: "s2" }, body: {} });
    tape.put({ dir: "in", connection: 2, text: subscribe });
    tape.put({ dir: "out", connection: 2, text: '{"headers":{"req_id":"s2"},"errcode":0,"errmsg":"ok"}' });
    const again = JSON.stringify({ cmd: "aibot_msg_callback", headers: { req_id: "new" }, body: message });
    tape.put({ dir: "out", connection: 2, text: again });
    const reply = JSON.stringify({ cmd: "aibot_respond_msg", headers: { req_id: reqId }, body: stream("1", "x") });
    tape.put({ dir: "in", connection: 2, text: reply });
    tape.put({ dir: "out", connection: 2, text: `{"headers":{"req_id":"${reqId}"},"errcode":846605,"errmsg":""}` });
    expect(tape.seen("GW-MSG-12")).toMatchObject([
      {
        verdict: "measured",
        seen: expect.stringMatching(/on a later connection, with a new req_id, answered before/) as unknown,
      },
    ]);
    expect(tape.seen("GW-REPLY-11")).toMatchObject([
      { verdict: "differs", seen: expect.stringContaining("846605") as unknown },
    ]);
  });

  test("what limits meet: over-long content, a late welcome, an old stream, a second subscribe, 31 refreshes", () => {
    const tape = new Tape().subscribed().bot("aibot_subscribe", "s2", {}).ack("s2", 0).callback(reqId, message);
    tape.bot("aibot_respond_msg", reqId, stream("1", "é".repeat(10_241))).ack(reqId, 45_002);
    const enter = { msgid: "e", aibotid: "b", msgtype: "event", event: { eventtype: "enter_chat" } };
    tape
      .callback("E", enter)
      .bot("aibot_respond_welcome_msg", "E", { msgtype: "text", text: { content: "x" } }, 9_000)
      .ack("E", 846_605);
    for (let n = 0; n < 31; n++) tape.bot("aibot_respond_msg", reqId, stream("2", "x")).ack(reqId);
    tape.bot("aibot_respond_msg", reqId, stream("2", "x", true), 700_000).ack(reqId, 846_608);
    expect(tape.seen("GW-AUTH-9")).toMatchObject([{ verdict: "agrees" }]);
    expect(tape.seen("GW-STREAM-6")).toMatchObject([
      { verdict: "differs", seen: expect.stringContaining("45002") as unknown },
    ]);
    expect(tape.seen("GW-EVENT-5")).toMatchObject([
      { verdict: "differs", seen: expect.stringContaining("846605") as unknown },
    ]);
    expect(tape.seen("GW-STREAM-3")).toMatchObject([{ verdict: "agrees" }]);
    expect(tape.seen("GW-PUSH-10")).toMatchObject([{ verdict: "agrees" }]);
  });

  test("the table has a line for each, with the lines of the recording it stands on", () => {
    const table = tableOf(observe(readRecording(new Tape().subscribed().text)));
    expect(table).toMatch(/^agrees {2,}GW-CONN-3 +1 acks of headers, errcode and errmsg \[line 3\]$/m);
  });
});

describe("the vectors of a recording", () => {
  test("are one for each shape, judged by the schemas, and keep spellings that JSON would lose", () => {
    const tape = new Tape()
      .subscribed()
      .callback(reqId, message)
      .callback("R2", { ...message, msgid: "m2" });
    tape
      .callback("R3", { ...message, msgid: undefined })
      .put({ dir: "out", text: '{"errcode":0,"errmsg":"o\\/k","headers":{"req_id":"zz"}}' });
    const vectors = vectorsOf(readRecording(tape.text));
    expect(vectors.map(({ id, valid, path }) => [id, valid, path])).toEqual([
      ["recorded-aibot_subscribe", true, undefined],
      ["recorded-ack-aibot_subscribe-0", true, undefined],
      ["recorded-aibot_msg_callback-text", true, undefined],
      ["recorded-aibot_msg_callback-text.2", false, "body.msgid"],
      ["recorded-ack-unasked-0", true, undefined],
    ]);
    expect(vectors[4]).toMatchObject({
      text: expect.stringContaining("\\/") as unknown,
      source: "recording of 2026-11-01, line 7",
    });
    expect(vectors[1]).toMatchObject({ decoded: { kind: "ack", errcode: 0 } });
  });

  test("a recording that ends in the middle of a line is read up to there, and what is none is refused", () => {
    expect(readRecording(`${new Tape().subscribed().text}\n{"seq":9,"conn`)).toMatchObject({ unreadable: 1 });
    expect(() => readRecording("hello")).toThrow(/this is no recording/);
  });

  test("a bot on the mock, recorded: everything agrees, and the vectors are right", async () => {
    await using gateway = await startGateway({
      latencyMs: 0,
      switches: { subscribeLatencyMs: 150, ackLatencyMs: 250 },
    });
    const lines: string[] = [];
    await using recorder = await startRecorder({
      upstream: gateway.url,
      listen: "127.0.0.1:0",
      write: (line) => lines.push(line),
    });
    const client = await Client.subscribe(recorder.url, "aibot", "secret");
    const told = gateway.say("aibot", "hello", { waitMs: 5000 });
    const { headers } = await client.next();
    client.reply(headers.req_id, "s", "hi", true);
    await told;
    client.send({
      cmd: "aibot_upload_media_init",
      headers: { req_id: "u" },
      body: { type: "file", filename: "a.txt", total_size: 6, total_chunks: 1 },
    });
    await client.next();
    const { body } = await client.next();
    client.send({
      cmd: "aibot_upload_media_chunk",
      headers: { req_id: "c" },
      body: { upload_id: body.upload_id, chunk_index: 0, base64_data: "aGVsbG8h" },
    });
    await client.next();
    const recording = readRecording(lines.join("\n"));
    expect(observe(recording).filter(({ verdict }) => verdict === "differs" || verdict === "new")).toEqual([]);
    const vectors = vectorsOf(recording);
    expect(vectors.filter(({ valid }) => !valid)).toEqual([]);
    expect(vectors.map(({ id }) => id)).toContain("recorded-aibot_upload_media_chunk");
    client.close();
  });
});
