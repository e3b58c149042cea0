import { readdirSync, readFileSync } from "node:fs";
import { decodeGatewayFrame } from "@openws/protocol/frames";
import { describe, expect, test } from "vitest";
import { Session, type Fields } from "../src/session.ts";
import { profile } from "../src/switches.ts";
import { Bench } from "./bench.ts";
import { card } from "./wire.ts";

interface Vector {
  id: string;
  direction: "client" | "gateway";
  valid: boolean;
  source: string;
  frame?: { cmd?: string; headers: { req_id: string }; body?: Fields };
}

/** Long texts are written short in the vectors. */
const repeated = (_name: string, value: unknown): unknown => {
  const { $repeat: text, times } = (value ?? {}) as { $repeat?: string; times?: number };
  return typeof text === "string" && times !== undefined ? text.repeat(times) : value;
};
/** Without aeskey, and the poll of a stream, is how webhooks have it; a bare event and one without from are less than is sent. */
const otherMode = new Set(["image-plain", "feedback-live", "stream-poll", "bare-event"]);

const folder = new URL("../../../spec/vectors/", import.meta.url);
const vectors = readdirSync(folder).flatMap(
  (file) => (JSON.parse(readFileSync(new URL(file, folder), "utf8"), repeated) as { vectors: Vector[] }).vectors,
);
/** What a server is documented or measured to send; the rest of the vectors is what a client has to bear. */
const real = vectors.filter(
  ({ direction, valid, source, id }) =>
    direction === "gateway" && valid && /^(document|live)/.test(source) && !otherMode.has(id),
);

const quiet = { ackLatencyMs: 0, subscribeLatencyMs: 0, maxInFlightPerUser: 0 } as const;

/** The names of all members, at every depth; what the documents leave to chance is left out. */
const shapeOf = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(shapeOf);
  if (typeof value !== "object" || value === null) return typeof value;
  const entries = Object.entries(value).filter(([name]) => !optional.has(name));
  return Object.fromEntries(
    entries.map(([name, inner]) => [name, shapeOf(inner)] as const).sort(([a], [b]) => a.localeCompare(b)),
  );
};
const optional = new Set(["response_url", "create_time", "corpid", "chattype"]);

/** A body as the API takes it: what the gateway makes up is taken out. */
const asSaid = (body: Fields): Fields => {
  const { msgid: _msgid, aibotid: _aibotid, response_url: _url, create_time: _time, ...said } = body;
  return JSON.parse(JSON.stringify(said), (name, inner: unknown) =>
    name === "url" || name === "aeskey" ? undefined : inner,
  ) as Fields;
};

describe("golden frames of the gateway", () => {
  const messages = real.filter(({ frame }) => frame?.cmd === "aibot_msg_callback");

  for (const { id, frame } of messages)
    test(`${id}: the mock's own has the same members`, () => {
      const { body = {}, cmd } = frame!;
      const bench = new Bench({ switches: quiet });
      const line = bench.subscribe(1);
      bench.handle({ type: "say", bot: "bot", message: asSaid(body) as never, call: 1 });
      expect(bench.lastAnswer).toMatchObject({ type: "told", told: { delivered: true } });
      const made = line.callback;
      expect(shapeOf({ cmd: made.cmd, headers: made.headers, body: made.body })).toEqual(
        shapeOf({ cmd, headers: frame!.headers, body }),
      );
    });

  const events = real.filter(({ frame }) => frame?.cmd === "aibot_event_callback");

  for (const { id, frame } of events)
    test(`${id}: the mock's own has the same members`, () => {
      const { event, ...body } = frame!.body!;
      const { eventtype, ...detail } = event as Fields;
      const { msgtype: _msgtype, ...said } = asSaid(body);
      const bench = new Bench({ switches: quiet });
      const line = bench.subscribe(1);
      bench.handle({ type: "trigger", bot: "bot", event: { ...said, eventtype, ...detail } as never, call: 1 });
      expect(shapeOf(line.callback)).toEqual(shapeOf({ cmd: frame!.cmd, headers: frame!.headers, body: frame!.body }));
    });

  test("there are enough of them", () => {
    expect(messages.length).toBeGreaterThan(8);
    expect(events.length).toBeGreaterThan(4);
  });
});

describe("golden frames of a client", () => {
  const valid = vectors.filter(({ direction, valid: good, frame }) => direction === "client" && good && frame);
  for (const { id, frame } of valid)
    test(`${id}: is read as what it is`, () => {
      const session = new Session(1);
      if (frame!.cmd !== "aibot_subscribe") session.subscribed("bot");
      const { act } = session.read(JSON.stringify(frame), profile("observed"));
      expect(act.type === "refuse" ? act : act.type).not.toMatchObject({ type: "refuse" });
      expect(act.type).not.toBe("ignore");
    });
});

test("everything the mock sends decodes without repair, and nothing in it is unknown", () => {
  const bench = new Bench({ switches: quiet });
  const line = bench.subscribe(1);
  for (const msgtype of ["text", "image", "voice", "file", "video", "mixed"])
    bench.say("", "zhangsan", {
      msgtype,
      text: { content: "hi" },
      voice: { content: "hi" },
      mixed: { msg_item: [{ msgtype: "text", text: { content: "a" } }, { msgtype: "image" }] },
      quote: { msgtype: "text", text: { content: "quoted" } },
    });
  bench.say("in a group", "lisi", { chattype: "group", chatid: "wrGroup" });
  const { req_id } = line.callback.headers;
  line.stream(req_id, "s", "x", true);
  line.stream("invented", "s", "x");
  line.respond(req_id, { msgtype: "template_card", template_card: card("t") });
  bench.trigger("enter_chat");
  bench.trigger("template_card_event", { template_card_event: { event_key: "yes", task_id: "t" } });
  bench.trigger("feedback_event", { feedback_event: { id: "trace_1", type: 2, inaccurate_reason_list: [1] } });
  bench.trigger("auth_change_event", { auth_change_event: { auth_list: [1] } });
  bench.trigger("enter_check_update");
  const init = { type: "file", filename: "a", total_size: 6, total_chunks: 1 };
  const { upload_id } = line.ask({ cmd: "aibot_upload_media_init", body: init }).body;
  line.ask({ cmd: "aibot_upload_media_chunk", body: { upload_id, chunk_index: 0, base64_data: "aGVsbG8h" } });
  line.ask({ cmd: "aibot_upload_media_finish", body: { upload_id } });
  line.ask({ cmd: "aibot_get_mcp_config", body: {} });
  bench.handle({ type: "kick", bot: "bot", call: 1 });
  line.ask({ cmd: "ping" });
  for (const text of line.texts) {
    const read = decodeGatewayFrame(text);
    expect({
      text,
      bad: "bad" in read ? read.bad : undefined,
      repaired: "repaired" in read ? read.repaired : undefined,
    }).toEqual({
      text,
      bad: undefined,
      repaired: undefined,
    });
    if ("ok" in read) expect(["ack", "message", "event"]).toContain(read.ok.kind);
  }
});
