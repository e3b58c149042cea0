import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import * as cards from "../src/cards.ts";
import { UsageError } from "../src/errors.ts";
import * as frames from "../src/frames.ts";
import type { ClientFrame, GatewayFrame } from "../src/frames.ts";

const { cmd, decodeClientFrame, decodeGatewayFrame, encode, encodeChunk, escapeControlCharacters } = frames;

const headers = { req_id: "R" };

/** Three bytes of UTF-8 each, so that what is counted shows. */
const wide = "字";

/** A string of exactly `bytes` bytes, most of them in wide characters. */
const ofBytes = (bytes: number) => wide.repeat(Math.floor(bytes / 3)) + "x".repeat(bytes % 3);

const card = {
  card_type: "text_notice",
  main_title: { title: "t" },
  card_action: { type: 1, url: "https://example.com" },
} as const;

const stream = (content: string, more: object = {}) => ({
  msgtype: "stream",
  stream: { id: "s", finish: false, content, ...more },
});

/** A valid frame of each command, and of each body. */
const valid = {
  subscribe: { cmd: cmd.subscribe, headers, body: { bot_id: "b", secret: "s" } },
  ping: { cmd: cmd.ping, headers },
  "a stream": { cmd: cmd.respond, headers, body: stream("hello") },
  "an empty refresh": { cmd: cmd.respond, headers, body: stream("") },
  "a finished stream": { cmd: cmd.respond, headers, body: stream("done", { finish: true, feedback: { id: "f" } }) },
  markdown: {
    cmd: cmd.respond,
    headers,
    body: { msgtype: "markdown", markdown: { content: "m", feedback: { id: "f" } } },
  },
  "a card": { cmd: cmd.respond, headers, body: { msgtype: "template_card", template_card: card } },
  "a file": { cmd: cmd.respond, headers, body: { msgtype: "file", file: { media_id: "m" } } },
  "an image": { cmd: cmd.respond, headers, body: { msgtype: "image", image: { media_id: "m" } } },
  "a voice": { cmd: cmd.respond, headers, body: { msgtype: "voice", voice: { media_id: "m" } } },
  "a video": {
    cmd: cmd.respond,
    headers,
    body: { msgtype: "video", video: { media_id: "m", title: "", description: "" } },
  },
  "a welcome": { cmd: cmd.welcome, headers, body: { msgtype: "text", text: { content: "hi" } } },
  "a welcome card": { cmd: cmd.welcome, headers, body: { msgtype: "template_card", template_card: card } },
  "an update": {
    cmd: cmd.update,
    headers,
    body: { response_type: "update_template_card", userids: ["u"], template_card: { ...card, task_id: "t" } },
  },
  "a push": {
    cmd: cmd.send,
    headers,
    body: { msgtype: "markdown", markdown: { content: "m" }, chatid: "c", chat_type: 1 },
  },
  "a pushed video": {
    cmd: cmd.send,
    headers,
    body: { msgtype: "video", video: { media_id: "m" }, chatid: "c", chat_type: 2 },
  },
  "an upload's init": {
    cmd: cmd.uploadInit,
    headers,
    body: { type: "file", filename: "f", total_size: 5, total_chunks: 1, md5: "0123456789abcdef".repeat(2) },
  },
  "an upload's chunk": { cmd: cmd.uploadChunk, headers, body: { upload_id: "u", chunk_index: 0, base64_data: "AAAA" } },
  "an upload's finish": { cmd: cmd.uploadFinish, headers, body: { upload_id: "u" } },
  "a question for the MCP configuration": { cmd: cmd.mcpConfig, headers, body: { any: ["thing"] } },
  "an authorisation card": {
    cmd: cmd.sendBiz,
    headers,
    body: { biz_type: 1, chat_id: "c", userid: "u", chat_type: 2 },
  },
  "the answer to enter_check_update": { cmd: cmd.enterCheck, headers, body: { version: "1" } },
} as const;

type Path = readonly (string | number)[];

/** A copy of a JSON value with one member set, or taken out where `value` is undefined. */
function having(whole: unknown, [step, ...rest]: Path, value: unknown): unknown {
  if (step === undefined) return value;
  const copy = (Array.isArray(whole) ? Array.from(whole) : { ...(whole as object) }) as Record<
    string | number,
    unknown
  >;
  const inner = having(copy[step], rest, value);
  if (inner === undefined) delete copy[step]; // oxlint-disable-line typescript/no-dynamic-delete -- a copy of our own
  else copy[step] = inner;
  return copy;
}

/** Every place in a JSON value: of the whole, of each object in it, and of each of their members. */
function places(value: unknown, path: Path): Path[] {
  if (typeof value !== "object" || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, inner]) => places(inner, [...path, key]))];
}

const encodes = (frame: unknown) => encode(frame as ClientFrame);

function refusal(frame: unknown): UsageError {
  try {
    encodes(frame);
  } catch (error) {
    if (error instanceof UsageError) return error;
    throw error;
  }
  throw new Error("it was encoded");
}

/** A text frame of the gateway that differs from a plain one in some members of its body. */
const said = (body: object) => ({
  cmd: cmd.message,
  headers: { req_id: "R" },
  body: { msgid: "m", chattype: "single", from: { userid: "u" }, msgtype: "text", text: { content: "hello" }, ...body },
});

const happened = (event: object, body: object = {}) => ({
  cmd: cmd.event,
  headers: { req_id: "E" },
  body: { msgid: "m", msgtype: "event", ...body, event },
});

const decode = (frame: unknown) => decodeGatewayFrame(typeof frame === "string" ? frame : JSON.stringify(frame));

function ok(frame: unknown): GatewayFrame {
  const decoded = decode(frame);
  if ("bad" in decoded) throw new Error(`refused: ${decoded.bad.path}: ${decoded.bad.reason}`);
  return decoded.ok;
}

const body = (frame: unknown) => (ok(frame) as { body: Record<string, unknown> }).body;

function bad(frame: unknown): string {
  const decoded = decode(frame);
  if ("ok" in decoded) throw new Error("it was read");
  return `${decoded.bad.path}: ${decoded.bad.reason}`;
}

function ackOrReason(text: string): unknown {
  const decoded = decodeGatewayFrame(text);
  return "ok" in decoded ? decoded.ok : decoded.bad;
}

// ---------------------------------------------------------------------------------------------------------------------

describe("encode", () => {
  it.each(Object.entries(valid))("writes %s as it was given, under its cmd and req_id", (_, frame) => {
    const written = encodes(frame);
    expect(JSON.parse(written.text)).toEqual(frame);
    expect([written.cmd, written.req_id]).toEqual([frame.cmd, "R"]);
    expect(decodeClientFrame(written.text)).toEqual({ ok: frame, notes: [] });
  });

  const limits: [name: keyof typeof valid, path: Path, max: number][] = [
    ["ping", ["headers", "req_id"], frames.maxReqIdBytes],
    ["a stream", ["body", "stream", "content"], frames.maxContentBytes],
    ["a finished stream", ["body", "stream", "feedback", "id"], frames.maxFeedbackIdBytes],
    ["markdown", ["body", "markdown", "content"], frames.maxContentBytes],
    ["markdown", ["body", "markdown", "feedback", "id"], frames.maxFeedbackIdBytes],
    ["a push", ["body", "markdown", "content"], frames.maxContentBytes],
    ["a welcome", ["body", "text", "content"], frames.maxContentBytes],
    ["a video", ["body", "video", "title"], frames.maxVideoTitleBytes],
    ["a video", ["body", "video", "description"], frames.maxVideoDescriptionBytes],
    ["an upload's init", ["body", "filename"], frames.maxFilenameBytes],
  ];

  it.each(limits)("counts bytes of UTF-8, not characters: %s %j up to %d", (name, path, max) => {
    for (const fits of [ofBytes(max), "x".repeat(max), ofBytes(max - 1)])
      expect(() => encodes(having(valid[name], path, fits))).not.toThrow();
    for (const [long, has] of [
      [ofBytes(max + 1), max + 1],
      ["x".repeat(max + 1), max + 1],
      [ofBytes(max) + wide, max + 3],
    ] as const) {
      const error = refusal(having(valid[name], path, long));
      expect(error.path).toBe(path.join("."));
      expect(error.message).toContain(`longer than ${max} bytes of UTF-8 (it has ${has})`);
    }
  });

  const empty: [name: keyof typeof valid, path: Path][] = [
    ["subscribe", ["body", "bot_id"]],
    ["subscribe", ["body", "secret"]],
    ["ping", ["headers", "req_id"]],
    ["a stream", ["body", "stream", "id"]],
    ["a finished stream", ["body", "stream", "feedback", "id"]],
    ["markdown", ["body", "markdown", "content"]],
    ["a welcome", ["body", "text", "content"]],
    ["a file", ["body", "file", "media_id"]],
    ["a push", ["body", "chatid"]],
    ["an update", ["body", "userids", 0]],
    ["an upload's init", ["body", "filename"]],
    ["an upload's chunk", ["body", "upload_id"]],
    ["an upload's chunk", ["body", "base64_data"]],
    ["an upload's finish", ["body", "upload_id"]],
    ["an authorisation card", ["body", "chat_id"]],
    ["an authorisation card", ["body", "userid"]],
    ["the answer to enter_check_update", ["body", "version"]],
  ];

  it.each(empty)("refuses an empty string: %s %j", (name, path) => {
    const error = refusal(having(valid[name], path, ""));
    expect(error.message).toContain("must not be empty");
    expect(error.path).toBe(path.join(".").replace(".0", "[0]"));
  });

  it("refuses every missing member that is not optional, and names it", () => {
    const optional = new Set(["feedback", "md5", "title", "description", "userids", "any"]);
    let checked = 0;
    for (const frame of Object.values(valid)) {
      const members = (value: unknown, path: Path): Path[] =>
        typeof value === "object" && value !== null && !("card_type" in value)
          ? Object.entries(value).flatMap(([key, inner]) => [[...path, key], ...members(inner, [...path, key])])
          : [];
      for (const path of members(frame, [])) {
        const last = path.at(-1)!;
        if (optional.has(String(last)) || path.some((step) => step === "any" || step === "0")) continue;
        if (path.includes("userids")) continue;
        expect(refusal(having(frame, path, undefined)).path).toBe(path.join("."));
        checked++;
      }
    }
    expect(checked).toBeGreaterThan(100);
  });

  it("refuses a member that no document lists, on every level", () => {
    for (const [name, path] of [
      ["subscribe", ["extra"]],
      ["ping", ["body"]],
      ["ping", ["headers", "extra"]],
      ["subscribe", ["body", "extra"]],
      ["a stream", ["body", "stream", "extra"]],
      ["a finished stream", ["body", "stream", "feedback", "extra"]],
      ["a file", ["body", "file", "extra"]],
      ["a push", ["body", "extra"]],
      ["a welcome", ["body", "text", "extra"]],
      ["an update", ["body", "extra"]],
      ["an upload's init", ["body", "extra"]],
      ["an upload's chunk", ["body", "extra"]],
      ["an upload's finish", ["body", "extra"]],
      ["an authorisation card", ["body", "extra"]],
    ] as const) {
      const error = refusal(having(valid[name], path, {}));
      expect(error.message).toBe(`${valid[name].cmd}: ${path.join(".")}: not a member of this frame`);
    }
  });

  it("insists that a finished stream shows something", () => {
    for (const content of ["", " \n\t", "\u200b", "\u3000"]) {
      const error = refusal({ ...valid.ping, cmd: cmd.respond, body: stream(content, { finish: true }) });
      expect(error.path).toBe("body.stream.content");
      expect(error.message).toContain("must hold a visible character");
    }
    expect(() => encodes({ ...valid.ping, cmd: cmd.respond, body: stream(".", { finish: true }) })).not.toThrow();
  });

  it("pushes to chat types 1 and 2 and no other", () => {
    for (const chat_type of [0, 3, "1", null]) {
      const error = refusal(having(valid["a push"], ["body", "chat_type"], chat_type));
      expect(error.path).toBe("body.chat_type");
      expect(error.message).toContain("1|2");
    }
    expect(() => encodes(having(valid["an authorisation card"], ["body", "chat_type"], 3))).toThrow("1|2");
    expect(() => encodes(having(valid["an authorisation card"], ["body", "biz_type"], 2))).toThrow("body.biz_type");
  });

  it("refuses what a command cannot carry: text for a push, markdown for a welcome, a stream for a push", () => {
    const text = { msgtype: "text", text: { content: "x" }, chatid: "c", chat_type: 1 };
    expect(refusal({ cmd: cmd.send, headers, body: text }).path).toBe("body.msgtype");
    expect(refusal({ cmd: cmd.respond, headers, body: { msgtype: "text", text: { content: "x" } } }).path).toBe(
      "body.msgtype",
    );
    expect(refusal({ cmd: cmd.welcome, headers, body: valid.markdown.body }).path).toBe("body.msgtype");
    expect(refusal({ cmd: cmd.send, headers, body: { ...stream("x"), chatid: "c", chat_type: 1 } }).path).toBe(
      "body.msgtype",
    );
    expect(refusal({ cmd: "aibot_nobody_knows", headers }).path).toBe("cmd");
  });

  it("keeps an upload within its limits", () => {
    const init = valid["an upload's init"];
    const chunk = valid["an upload's chunk"];
    const allowed: [object, Path, unknown][] = [
      [init, ["body", "total_size"], frames.minFileBytes],
      [init, ["body", "total_size"], frames.maxMediaBytes.file],
      [init, ["body", "total_chunks"], frames.maxChunks],
      [chunk, ["body", "chunk_index"], frames.maxChunks - 1],
      [chunk, ["body", "base64_data"], "AA=="],
      [chunk, ["body", "base64_data"], "AAA="],
      [chunk, ["body", "base64_data"], "+/9z"],
      [chunk, ["body", "base64_data"], `${"A".repeat(699_048)}AAA=`],
    ];
    for (const [frame, path, value] of allowed) expect(() => encodes(having(frame, path, value))).not.toThrow();
    const refused: [object, Path, unknown, string][] = [
      [init, ["body", "total_size"], frames.minFileBytes - 1, "smaller than 5 bytes"],
      [init, ["body", "total_size"], frames.maxMediaBytes.file + 1, "larger than this type allows"],
      [init, ["body", "total_size"], 5.5, "int"],
      [init, ["body", "total_chunks"], 0, "there is at least one chunk"],
      [init, ["body", "total_chunks"], frames.maxChunks + 1, "more than 100 chunks"],
      [init, ["body", "type"], "gif", '"file"|"image"|"voice"|"video"'],
      [init, ["body", "md5"], "0".repeat(31), "32 lower-case hexadecimal digits"],
      [init, ["body", "md5"], "0".repeat(33), "32 lower-case hexadecimal digits"],
      [init, ["body", "md5"], "A".repeat(32), "32 lower-case hexadecimal digits"],
      [chunk, ["body", "chunk_index"], -1, "indices run from 0"],
      [chunk, ["body", "chunk_index"], frames.maxChunks, "indices run to 99"],
      [chunk, ["body", "base64_data"], "AAA", "must be base64"],
      [chunk, ["body", "base64_data"], "A===", "must be base64"],
      [chunk, ["body", "base64_data"], "AA=A", "must be base64"],
      [chunk, ["body", "base64_data"], "_-9z", "must be base64"],
      [chunk, ["body", "base64_data"], "AAAA\n", "must be base64"],
      [chunk, ["body", "base64_data"], `${"A".repeat(699_048)}AAAA`, "more than 524288 bytes"],
    ];
    for (const [frame, path, value, reason] of refused) {
      const error = refusal(having(frame, path, value));
      expect(error.path).toBe(path.join("."));
      expect(error.message).toContain(reason);
    }
  });

  it.each(frames.mediaKinds)("gives %s the size its type allows", (type) => {
    const init = having(valid["an upload's init"], ["body", "type"], type);
    expect(() => encodes(having(init, ["body", "total_size"], frames.maxMediaBytes[type]))).not.toThrow();
    expect(refusal(having(init, ["body", "total_size"], frames.maxMediaBytes[type] + 1)).path).toBe("body.total_size");
  });

  it("throws UsageError and nothing else, whatever it is given", () => {
    const cycle: Record<string, unknown> = {};
    cycle["self"] = cycle;
    for (const odd of [null, undefined, 0, "x", [], {}, () => 0, Symbol("x"), new Date(), cycle, { cmd: cycle }])
      expect(() => encodes(odd)).toThrow(UsageError);
    for (const any of [1n, cycle, { deep: [2n] }])
      expect(refusal({ cmd: cmd.mcpConfig, headers, body: { any } })).toMatchObject({
        path: "body",
        message: "aibot_get_mcp_config: body: cannot be written as JSON",
      });
    fc.assert(
      fc.property(fc.anything({ withBigInt: true, withNullPrototype: true, withDate: true }), (odd) => {
        expect(() => encodes(odd)).toThrow(UsageError);
        expect(() => encodes({ cmd: cmd.subscribe, headers, body: odd })).toThrow(UsageError);
        expect(() => encodes({ cmd: cmd.send, headers: odd, body: odd })).toThrow(UsageError);
      }),
    );
  });

  it("says frame where not even the command is known", () => {
    expect(refusal({ headers }).message).toMatch(/^frame: cmd: /);
    expect(refusal(null).message).toMatch(/^frame: \$: /);
    expect(refusal({ cmd: 5 }).message).toMatch(/^frame: cmd: /);
    expect(refusal({ cmd: cmd.ping }).message).toMatch(/^ping: headers: /);
  });

  it("never repeats a value, which may be a secret or somebody's words", () => {
    const secret = "s3cr3t-value";
    const leaves = (value: unknown, path: Path): Path[] =>
      typeof value === "object" && value !== null
        ? Object.entries(value).flatMap(([key, inner]) => leaves(inner, [...path, key]))
        : [path];
    for (const frame of Object.values(valid))
      for (const path of leaves(frame, []))
        for (const value of [{ [`x`]: secret }, [secret], secret.repeat(5_000)]) {
          if (path[0] === "cmd") continue;
          try {
            encodes(having(frame, path, value));
          } catch (error) {
            expect(String(error)).not.toContain(secret);
          }
        }
  });

  it("accepts, writes and refuses what is written without the schemas as the schemas do", () => {
    const hot = [
      { cmd: cmd.respond, headers, body: stream("hello") },
      { cmd: cmd.respond, headers, body: stream("done", { finish: true }) },
      { cmd: cmd.respond, headers, body: { msgtype: "markdown", markdown: { content: "m" } } },
      valid["a push"],
      valid.ping,
    ];
    const odd = [
      ...Object.values(cmd),
      undefined,
      null,
      true,
      false,
      0,
      1,
      2,
      3,
      {},
      [],
      [1],
      "",
      " ",
      "\n\u200b",
      "x",
      '"\\\u0001',
      "\ud83c",
      wide,
      ofBytes(256),
      ofBytes(257),
      ofBytes(20_480),
      ofBytes(20_481),
      "x".repeat(300),
      "x".repeat(20_481),
      "stream",
      "markdown",
      "template_card",
      "text",
    ];
    for (const whole of hot)
      for (const path of places(whole, []))
        for (const member of [[], ["odd"]])
          for (const value of odd) {
            const frame = having(whole, [...path, ...member], value);
            const read = frames.ClientFrame.safeParse(frame);
            if (read.success) expect(encodes(frame).text).toBe(JSON.stringify(read.data));
            else expect(refusal(frame).path).not.toBe("");
          }
  });

  it("writes what was checked, not what an object makes of itself", () => {
    class Sly {
      toJSON(): string {
        return "sly";
      }
    }
    for (const frame of [valid.ping, valid["a stream"], valid.markdown, valid["a push"]])
      expect(JSON.parse(encodes(Object.assign(new Sly(), frame)).text)).toEqual(frame);
  });
});

describe("encodeChunk", () => {
  it("writes the very text that encode would", () => {
    fc.assert(
      fc.property(
        fc.string({ minLength: 1, maxLength: 60 }),
        fc.string({ minLength: 1 }),
        fc.nat(frames.maxChunks - 1),
        fc.uint8Array({ minLength: 1, maxLength: 100 }),
        (req_id, upload_id, chunk_index, bytes) => {
          const base64_data = Buffer.from(bytes).toString("base64");
          expect(encodeChunk(req_id, upload_id, chunk_index, base64_data)).toEqual(
            encode({
              cmd: cmd.uploadChunk,
              headers: { req_id },
              body: { upload_id, chunk_index, base64_data },
            }),
          );
        },
      ),
    );
  });
});

describe("decodeClientFrame", () => {
  it("says why it refuses, and never throws", () => {
    expect(decodeClientFrame("nonsense")).toEqual({ bad: { path: "$", reason: "not JSON" }, text: "nonsense" });
    expect(decodeClientFrame('{"cmd":"ping","headers":{"req_id":""}}')).toMatchObject({
      bad: { path: "headers.req_id", reason: "must not be empty" },
    });
    const text = '{"cmd":"ping","headers":{"req_id":"a\tb"}}';
    expect(decodeClientFrame(text)).toEqual({ bad: { path: "$", reason: "not JSON" }, text });
  });
});

describe("decodeGatewayFrame", () => {
  describe("acks", () => {
    it("reads a frame without a cmd as an ack", () => {
      for (const none of [{}, { cmd: null }, { cmd: "" }])
        expect(decode({ ...none, headers, errcode: 0, errmsg: "ok", body: { x: 1 } })).toEqual({
          ok: { kind: "ack", req_id: "R", errcode: 0, errmsg: "ok", body: { x: 1 } },
          notes: [],
        });
    });

    it("reads the ack of success, in whatever spelling", () => {
      const texts = [
        (req_id: string) => `{"headers":{"req_id":${req_id}},"errcode":0,"errmsg":"ok"}`,
        (req_id: string) => `{"headers":{"req_id":${req_id}},"errcode":0,"errmsg":"ok"} `,
        (req_id: string) => `{"errcode":0,"errmsg":"ok","headers":{"req_id":${req_id}}}`,
      ];
      for (const text of texts)
        for (const req_id of ["R", "a-B_9", 'a"b', "a\\b", "a b", "字", '"},"headers":{"req_id":"'])
          expect(decode(text(JSON.stringify(req_id)))).toEqual({
            ok: { kind: "ack", req_id, errcode: 0, errmsg: "ok", body: undefined },
            notes: [],
          });
    });

    it("refuses what begins and ends like the ack of success and is none", () => {
      for (const req_id of ["", '"', "\\", 'R","x":"'])
        expect(ackOrReason(`{"headers":{"req_id":"${req_id}"},"errcode":0,"errmsg":"ok"}`)).toEqual(
          ackOrReason(`{"errmsg":"ok","errcode":0,"headers":{"req_id":"${req_id}"}}`),
        );
      expect(bad('{"headers":{"req_id":""},"errcode":0,"errmsg":"ok"}')).toMatch(/^headers\.req_id: a non-empty/);
      expect(bad('{"headers":{"req_id":"R"')).toBe("$: not JSON");
    });

    it("reads an errcode that is written as a string, negative ones too", () => {
      expect(ok({ headers, errcode: "846609" })).toMatchObject({ errcode: 846_609 });
      expect(ok({ headers, errcode: "-1" })).toMatchObject({ errcode: -1 });
      expect(ok({ headers, errcode: -1 })).toMatchObject({ errcode: -1 });
    });

    it("reads a missing errcode as success and notes it", () => {
      for (const none of [{}, { errcode: null }])
        expect(decode({ headers, ...none })).toEqual({
          ok: { kind: "ack", req_id: "R", errcode: 0, errmsg: "", body: undefined },
          notes: ["the ack has no errcode and is read as success"],
        });
    });

    it("reads an errmsg that is no string as an empty one", () => {
      for (const errmsg of [undefined, null, 7, {}])
        expect(ok({ headers, errcode: 1, errmsg })).toMatchObject({ errmsg: "" });
    });

    it("refuses an errcode that is no integer, and says what came", () => {
      const reasons = [
        ["", "an empty string"],
        ["0x1", "a string"],
        ["1".repeat(16), "a string"],
        [" 1", "a string"],
        ["1 ", "a string"],
        [1.5, "a number"],
        [2 ** 53, "a number"],
        [true, "a boolean"],
        [[], "an array"],
        [{}, "an object"],
      ];
      for (const [errcode, came] of reasons)
        expect(bad({ headers, errcode })).toBe(`errcode: an integer was expected, ${came as string} came`);
    });

    it("refuses an ack that names no frame", () => {
      expect(bad({ errcode: 0 })).toBe("headers: an object was expected, nothing came");
      expect(bad({ headers: null, errcode: 0 })).toBe("headers: an object was expected, null came");
      expect(bad({ headers: [], errcode: 0 })).toBe("headers: an object was expected, an array came");
      expect(bad({ headers: {}, errcode: 0 })).toBe("headers.req_id: a non-empty string was expected, nothing came");
      expect(bad({ headers: { req_id: "" }, errcode: 0 })).toBe(
        "headers.req_id: a non-empty string was expected, an empty string came",
      );
      expect(bad({ headers: { req_id: 7 } })).toBe("headers.req_id: a non-empty string was expected, a number came");
    });

    it("agrees with the schema Ack about every frame without a cmd", () => {
      const some = fc.record(
        {
          headers: fc.oneof(fc.record({ req_id: fc.oneof(fc.string(), fc.integer()) }), fc.constantFrom(null, {}, 7)),
          errcode: fc.oneof(
            fc.integer(),
            fc.integer().map(String),
            fc.double(),
            fc.constantFrom("", "x", null, true, 2 ** 53, -(2 ** 53), 2 ** 53 - 1, "9".repeat(15), "9".repeat(16)),
          ),
          errmsg: fc.oneof(fc.string(), fc.integer()),
          body: fc.anything(),
          extra: fc.string(),
        },
        { requiredKeys: [] },
      );
      fc.assert(
        fc.property(some, (frame) => {
          const text = JSON.stringify(frame);
          expect("ok" in decodeGatewayFrame(text)).toBe(frames.Ack.safeParse(JSON.parse(text)).success);
        }),
        { numRuns: 1_000 },
      );
    });
  });

  describe("messages", () => {
    const download = { url: "https://x/y", aeskey: "k" };
    const bodies: Record<string, object> = {
      text: { text: { content: "" } },
      image: { image: download },
      voice: { voice: { content: "heard" } },
      file: { file: { url: "u" } },
      video: { video: download },
      mixed: {
        mixed: {
          msg_item: [
            { msgtype: "text", text: { content: "a" } },
            { msgtype: "image", image: download },
          ],
        },
      },
    };

    it.each(Object.entries(bodies))("reads %s as it came", (msgtype, more) => {
      const frame = said({ text: undefined, msgtype, ...more });
      expect(ok(frame)).toEqual({
        kind: "message",
        known: true,
        req_id: "R",
        body: JSON.parse(JSON.stringify(frame.body)) as unknown,
      });
    });

    it.each(Object.entries(bodies))("reads %s in a quote as it came", (msgtype, more) => {
      const quote = { msgtype, ...more };
      expect(body(said({ quote }))["quote"]).toEqual(quote);
    });

    it.each(["text", "image", "voice", "file", "video"])("reads %s in a mixed message, in its place", (msgtype) => {
      const items = [bodies["text"], bodies[msgtype], bodies["text"]].map((more, at) => ({
        msgtype: at === 1 ? msgtype : "text",
        ...more,
      }));
      expect(body(said({ msgtype: "mixed", mixed: { msg_item: items } }))["mixed"]).toEqual({ msg_item: items });
    });

    it("keeps an item and a quote of a type it does not know, as they came", () => {
      const original = { msgtype: "hologram", hologram: { url: "u" } };
      expect(body(said({ quote: original }))["quote"]).toEqual({ msgtype: "unknown", original });
      expect(body(said({ msgtype: "mixed", mixed: { msg_item: [original] } }))["mixed"]).toEqual({
        msg_item: [{ msgtype: "unknown", original }],
      });
      // A mixed message does not nest.
      expect(body(said({ msgtype: "mixed", mixed: { msg_item: [{ msgtype: "mixed" }] } }))["mixed"]).toEqual({
        msg_item: [{ msgtype: "unknown", original: { msgtype: "mixed" } }],
      });
    });

    it("reads what is read without the schemas as the schemas do", () => {
      const whole = {
        ...said({ aibotid: "b", create_time: 1, response_url: "u" }).body,
        from: { userid: "u", corpid: "c" },
      };
      const odd = [
        undefined,
        null,
        true,
        0,
        -1,
        1.5,
        1e20,
        {},
        [],
        [1],
        "",
        "x",
        "1",
        "single",
        "group",
        "text",
        "image",
      ];
      for (const start of [whole, { ...whole, chattype: "group", chatid: "g" }])
        for (const path of [...places(start, []), ["chatid"], ["quote"]].filter((place) => place.length > 0))
          for (const member of [[], ["odd"]])
            for (const value of odd) {
              const sent = having(start, [...path, ...member], value) as Record<string, unknown>;
              if (sent["msgtype"] !== "text") continue;
              const decoded = decode({ cmd: cmd.message, headers, body: sent });
              const read = frames.MessageBody.safeParse(JSON.parse(JSON.stringify(sent)));
              const group = read.success && (read.data.chattype === "group" || sent["chattype"] !== "single");
              if (!read.success) expect("bad" in decoded && decoded.bad.path).toMatch(/^body/);
              else if (group && read.data.chatid === undefined && read.data.chattype === "group")
                expect(decoded).toMatchObject({ bad: { path: "body.chatid" } });
              else {
                const chattype = group && read.data.chatid !== undefined ? "group" : "single";
                expect(decoded).toEqual({
                  ok: { kind: "message", known: true, req_id: "R", body: { ...read.data, chattype } },
                  notes: [],
                });
              }
            }
    });

    it("keeps members it does not know, on every level", () => {
      const frame = said({ new: 1, from: { userid: "u", nick: "n" }, text: { content: "c", lang: "zh" } });
      expect(body(frame)).toEqual(frame.body);
    });

    it("recognises a message of an unknown type as such, whole and addressable", () => {
      for (const msgtype of ["hologram", "constructor", "__proto__", "toString"])
        expect(ok(said({ msgtype, hologram: 1 }))).toMatchObject({
          kind: "message",
          known: false,
          req_id: "R",
          body: { msgtype, hologram: 1, from: { userid: "u" } },
        });
    });

    it("reads an event inside a message callback as the event it is", () => {
      expect(ok(said({ msgtype: "event", event: { eventtype: "enter_chat" } }))).toMatchObject({ kind: "event" });
    });

    it("takes a member that nobody depends on and that is of the wrong shape for an absent one", () => {
      const odd = {
        aibotid: 7,
        chatid: "",
        create_time: "soon",
        response_url: {},
        quote: "words",
        from: { userid: "u", corpid: null },
      };
      const read = body(said(odd));
      for (const name of ["aibotid", "chatid", "create_time", "response_url", "quote"])
        expect(read[name]).toBeUndefined();
      expect(read).toMatchObject({ msgid: "m", text: { content: "hello" } });
      expect(body(said({ msgtype: "image", image: { url: "u", aeskey: 7 } }))["image"]).toEqual({ url: "u" });
    });

    it("reads numbers that are written as strings, and takes one that is too large for absent", () => {
      expect(body(said({ create_time: "1700000000" }))["create_time"]).toBe(1_700_000_000);
      expect(body(said({ create_time: "-1" }))["create_time"]).toBe(-1);
      expect(body(said({ create_time: 1e300 }))["create_time"]).toBeUndefined();
      expect(body(said({ create_time: "9".repeat(15) }))["create_time"]).toBe(999_999_999_999_999);
      expect(body(said({ create_time: "9".repeat(16) }))["create_time"]).toBeUndefined();
      expect(body(said({ create_time: "x1" }))["create_time"]).toBeUndefined();
      expect(body(said({ create_time: "1x" }))["create_time"]).toBeUndefined();
    });

    it("reads a chat without a known type as single, or as a group where it has an id", () => {
      for (const chattype of [undefined, null, "Group", 2]) {
        expect(body(said({ chattype }))).toMatchObject({ chattype: "single" });
        expect(body(said({ chattype, chatid: "c" }))).toMatchObject({ chattype: "group", chatid: "c" });
      }
      expect(body(said({ chatid: "c" }))).toMatchObject({ chattype: "single", chatid: "c" });
      expect(body(said({ chattype: "group", chatid: "cHat" }))).toMatchObject({ chattype: "group", chatid: "cHat" });
    });

    it("refuses a group's message that does not say which group, of a known type or not", () => {
      const reason = "body.chatid: a group's message must say its chatid";
      expect(bad(said({ chattype: "group" }))).toBe(reason);
      expect(bad(said({ chattype: "group", chatid: "" }))).toBe(reason);
      expect(bad(said({ chattype: "group", msgtype: "hologram" }))).toBe(reason);
    });

    const refused: [object, string][] = [
      [{ ...said({}), body: undefined }, "body: an object was expected, nothing came"],
      [{ ...said({}), body: [] }, "body: an object was expected, an array came"],
      [{ ...said({}), headers: {} }, "headers.req_id: a non-empty string was expected, nothing came"],
      [said({ msgid: undefined }), "body.msgid: "],
      [said({ msgid: "" }), "body.msgid: must not be empty"],
      [said({ from: undefined }), "body.from: "],
      [said({ from: { userid: "" } }), "body.from.userid: must not be empty"],
      [said({ msgtype: undefined }), "body.msgtype: "],
      [said({ msgtype: "hologram", from: {} }), "body.from.userid: "],
      [said({ text: {} }), "body.text.content: "],
      [said({ msgtype: "image" }), "body.image: "],
      [said({ msgtype: "mixed", mixed: { msg_item: [] } }), "body.mixed.msg_item: must not be empty"],
      [
        said({ msgtype: "mixed", mixed: { msg_item: [{ msgtype: "image", image: {} }] } }),
        "body.mixed.msg_item[0].image.url: ",
      ],
      [
        said({ msgtype: "mixed", mixed: { msg_item: [{ msgtype: "text", text: { content: "" } }, 7] } }),
        "body.mixed.msg_item[1]: ",
      ],
    ];

    it.each(refused)("refuses %j and names the place", (frame, reason) => {
      expect(bad(frame).slice(0, reason.length)).toBe(reason);
    });
  });

  describe("events", () => {
    const events = [
      { eventtype: "enter_chat" },
      { eventtype: "disconnected_event" },
      { eventtype: "enter_check_update" },
      { eventtype: "auth_change_event", auth_change_event: { auth_list: [1, 2] } },
      {
        eventtype: "feedback_event",
        feedback_event: { id: "f", type: 2, content: "c", inaccurate_reason_list: [2, 4] },
      },
      {
        eventtype: "template_card_event",
        template_card_event: {
          card_type: "vote_interaction",
          event_key: "k",
          task_id: "t",
          selected_items: { selected_item: [{ question_key: "q", option_ids: { option_id: ["one", "two"] } }] },
        },
      },
    ];

    it.each(events)("reads $eventtype as it came, with an address and without", (event) => {
      const frame = happened(event, { from: { userid: "u" }, chattype: "group", chatid: "c", create_time: 1 });
      expect(ok(frame)).toEqual({ kind: "event", known: true, req_id: "E", body: frame.body });
      const bare = { cmd: cmd.event, headers: { req_id: "E" }, body: { event } };
      expect(ok(bare)).toEqual({ kind: "event", known: true, req_id: "E", body: { event } });
    });

    it("keeps an event whose address is of the wrong shape, a kick above all", () => {
      const odd = {
        msgid: 7,
        from: {},
        chattype: "channel",
        chatid: "",
        create_time: "x",
        aibotid: 1,
        response_url: 1,
      };
      expect(ok(happened({ eventtype: "disconnected_event" }, odd))).toMatchObject({ kind: "event", known: true });
    });

    it("recognises an event of an unknown type as such", () => {
      for (const eventtype of ["hologram_event", "constructor", "__proto__"])
        expect(ok(happened({ eventtype, x: 1 }))).toMatchObject({
          kind: "event",
          known: false,
          body: { event: { x: 1 } },
        });
    });

    it("reads a thumb whose numbers are strings", () => {
      const feedback_event = { id: "f", type: "1", inaccurate_reason_list: ["2"] };
      expect(body(happened({ eventtype: "feedback_event", feedback_event }))).toMatchObject({
        event: { feedback_event: { type: 1, inaccurate_reason_list: [2] } },
      });
    });

    it("refuses an event without what it is about, and names the place", () => {
      expect(bad(happened({}))).toMatch(/^body\.event\.eventtype: /);
      expect(bad({ ...happened({}), body: {} })).toMatch(/^body\.event: /);
      expect(bad({ ...happened({}), body: null })).toBe("body: an object was expected, null came");
      expect(bad({ ...happened({}), headers: {} })).toMatch(/^headers\.req_id: /);
      expect(bad(happened({ eventtype: "template_card_event" }))).toMatch(/^body\.event\.template_card_event: /);
      expect(bad(happened({ eventtype: "feedback_event", feedback_event: { id: "f", type: "x" } }))).toMatch(
        /^body\.event\.feedback_event\.type: /,
      );
    });
  });

  it("reads a ping by the gateway, with a req_id or without", () => {
    expect(ok({ cmd: "ping", headers })).toEqual({ kind: "ping", req_id: "R" });
    expect(ok({ cmd: "ping" })).toEqual({ kind: "ping", req_id: undefined });
  });

  it("recognises an unknown command as such", () => {
    expect(ok({ cmd: "aibot_new", x: 1 })).toEqual({
      kind: "unknown",
      cmd: "aibot_new",
      frame: { cmd: "aibot_new", x: 1 },
    });
  });

  it("refuses what is no object, and a command that is no string", () => {
    expect(bad("")).toBe("$: not JSON");
    expect(bad("{")).toBe("$: not JSON");
    expect(bad("null")).toBe("$: an object was expected, null came");
    expect(bad("[]")).toBe("$: an object was expected, an array came");
    expect(bad('"x"')).toBe("$: an object was expected, a string came");
    expect(bad('""')).toBe("$: an object was expected, an empty string came");
    expect(bad("7")).toBe("$: an object was expected, a number came");
    expect(bad('{"cmd":7}')).toBe("cmd: a string was expected, a number came");
  });

  it("hands the text back with its reason", () => {
    expect(decodeGatewayFrame("{")).toEqual({ bad: { path: "$", reason: "not JSON" }, text: "{" });
    expect(decodeGatewayFrame("[]")).toHaveProperty("text", "[]");
    expect(decodeGatewayFrame("{}")).toHaveProperty("text", "{}");
  });

  describe("raw control characters", () => {
    const raw = (content: string) => JSON.stringify(said({})).replace('"hello"', `"${content}"`);

    it("are repaired inside strings, every one of them, and noted", () => {
      for (let code = 0; code < 0x20; code++) {
        const character = String.fromCharCode(code);
        const decoded = decodeGatewayFrame(raw(`a${character}b`));
        expect(decoded).toMatchObject({
          ok: { body: { text: { content: `a${character}b` } } },
          notes: ["raw control characters inside strings were escaped"],
        });
      }
    });

    it("do not need repair between tokens, where JSON has white space", () => {
      expect(decodeGatewayFrame(JSON.stringify(said({}), null, "\t"))).toMatchObject({ notes: [] });
      expect(bad("\u0001{}")).toBe("$: not JSON");
    });

    it("are repaired beside escapes, which stay what they are", () => {
      expect(body(raw(String.raw`\"` + "\n" + String.raw`\\` + "\t" + String.raw`\/` + wide))["text"]).toEqual({
        content: `"\n\\\t/${wide}`,
      });
    });

    it("are escaped by escapeControlCharacters and nothing else is", () => {
      expect(escapeControlCharacters('{"a\u0000": "\u001f \u007f"}\n')).toBe(
        String.raw`{"a\u0000": "\u001f ${"\u007f"}"}` + "\n",
      );
      expect(escapeControlCharacters("")).toBe("");
      expect(escapeControlCharacters('"\\')).toBe('"\\');
      expect(escapeControlCharacters('\\"\n"')).toBe(String.raw`\"\u000a"`);
      fc.assert(
        fc.property(fc.json(), (text) => {
          expect(escapeControlCharacters(text)).toBe(text);
        }),
      );
      fc.assert(
        fc.property(
          fc.string({ unit: fc.constantFrom('"', "/", "\n", "\t", "{", ":", "a", wide, "😀") }),
          (content) => {
            const written = JSON.stringify(content)
              .replaceAll(String.raw`\n`, "\n")
              .replaceAll(String.raw`\t`, "\t");
            expect(JSON.parse(escapeControlCharacters(written))).toBe(content);
          },
        ),
      );
    });
  });

  describe("hostile input", () => {
    it("does not throw, whatever the text", () => {
      const scraps = fc.constantFrom(
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        '"',
        "\\",
        "\n",
        "\u0000",
        "\ud800",
        '"cmd"',
        '"headers"',
        '{"req_id":"R"}',
        '"errcode"',
        "0",
      );
      fc.assert(
        fc.property(fc.oneof(fc.string(), fc.string({ unit: scraps }), fc.json()), (text) => {
          const decoded = decodeGatewayFrame(text);
          if ("bad" in decoded) expect([decoded.text, decoded.bad.path !== ""]).toEqual([text, true]);
        }),
        { numRuns: 2_000 },
      );
    });

    it("does not throw, whatever stands in the place of a member", () => {
      const frame = fc.constantFrom(
        said({ quote: { msgtype: "text", text: { content: "q" } } }),
        said({ msgtype: "mixed", mixed: { msg_item: [{ msgtype: "image", image: { url: "u" } }] } }),
        happened({ eventtype: "feedback_event", feedback_event: { id: "f", type: 1 } }),
      );
      const path = fc.constantFrom<Path>(
        ["cmd"],
        ["headers"],
        ["headers", "req_id"],
        ["body"],
        ["body", "msgtype"],
        ["body", "from"],
        ["body", "quote"],
        ["body", "quote", "msgtype"],
        ["body", "mixed", "msg_item"],
        ["body", "mixed", "msg_item", 0],
        ["body", "event"],
        ["body", "event", "eventtype"],
        ["body", "event", "feedback_event"],
      );
      fc.assert(
        fc.property(frame, path, fc.jsonValue(), (plain, at, odd) => {
          const decoded = decode(having(plain, at, odd));
          if ("bad" in decoded) expect(decoded.bad.path).toMatch(/^(\$|cmd|headers|body)/);
        }),
        { numRuns: 1_000 },
      );
    });

    it("cannot reach a prototype through __proto__", () => {
      const text = JSON.stringify(said({})).replace('"msgid"', '"__proto__":{"chatid":"evil"},"msgid"');
      const read = body(text);
      expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
      expect(read["chatid"]).toBeUndefined();
      expect(({} as Record<string, unknown>)["chatid"]).toBeUndefined();
      expect(bad('{"headers":{"__proto__":{"req_id":"R"}},"errcode":0}')).toMatch(/^headers\.req_id/);
    });

    it.each([
      ["a million brackets", "[".repeat(1_000_000)],
      ["a deep object", '{"a":'.repeat(100_000) + "1" + "}".repeat(100_000)],
      ["a deep member", JSON.stringify(said({})).replace('"hello"', "[".repeat(50_000) + "]".repeat(50_000))],
      ["two million raw newlines", JSON.stringify(said({})).replace("hello", "\n".repeat(2_000_000))],
      ["two million raw newlines and no end", `"${"\n".repeat(2_000_000)}`],
      ["two million quotes", '"'.repeat(2_000_001)],
      ["two million backslashes", `"${"\\".repeat(2_000_001)}`],
      [
        "twenty thousand items",
        JSON.stringify(
          said({ msgtype: "mixed", mixed: { msg_item: Array.from({ length: 20_000 }, () => ({ msgtype: 7 })) } }),
        ),
      ],
    ])("takes time linear in the text: %s", (_, text) => {
      // Quadratic time would be minutes; the limit has to bear a slow machine, one that is busy does not count.
      const before = process.cpuUsage();
      decodeGatewayFrame(text);
      const { user, system } = process.cpuUsage(before);
      expect((user + system) / 1_000).toBeLessThan(5_000);
    });
  });
});

describe("the schemas", () => {
  const schemas = Object.entries<unknown>({ ...frames, ...cards }).flatMap(([name, schema]) =>
    schema instanceof z.ZodType ? [{ name, schema }] : [],
  );

  it("are all here", () => {
    expect(schemas.length).toBe(38);
  });

  it.each(schemas)("$name can be written as a JSON Schema", ({ schema }) => {
    expect(JSON.stringify(z.toJSONSchema(schema, { io: "input" }))).toContain('"$schema"');
  });

  it("hold the callbacks as decodeGatewayFrame reads them", () => {
    expect(frames.MsgCallback.safeParse(said({})).success).toBe(true);
    expect(frames.MsgCallback.safeParse(said({ msgtype: "hologram" })).success).toBe(false);
    expect(frames.EventCallback.safeParse(happened({ eventtype: "enter_chat" })).success).toBe(true);
    expect(frames.EventCallback.safeParse(happened({ eventtype: "hologram" })).success).toBe(false);
  });
});
