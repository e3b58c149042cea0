import { EventEmitter } from "node:events";
import { describe, expect, it } from "vitest";
import { MessageHandler, WsConnectionManager } from "@wecom/aibot-node-sdk";
import type { Logger, WSClient, WsFrame } from "@wecom/aibot-node-sdk";
import { cardTypes } from "../src/cards.ts";
import { errcodes } from "../src/errors.ts";
import { cmd, decodeClientFrame, decodeGatewayFrame, encode } from "../src/frames.ts";
import type { Decoded, GatewayFrame } from "../src/frames.ts";
import { expand, loadVectors } from "./vectors.ts";
import type { Json, LoadedVector } from "./vectors.ts";

const vectors = loadVectors();
const byId = new Map(vectors.map((vector) => [vector.id, vector]));
const decode = ({ direction, wire }: LoadedVector): Decoded<unknown> =>
  direction === "client" ? decodeClientFrame(wire) : decodeGatewayFrame(wire);

describe("the vectors", () => {
  it("have ids of their own", () => {
    expect(byId.size).toBe(vectors.length);
  });

  it("name a public source", () => {
    for (const { id, source } of vectors) expect(source, id).not.toMatch(/^$|shared\/|protocol\.md/);
  });

  it("say of each wrong frame where it is wrong and of each right one from the gateway what it means", () => {
    for (const vector of vectors) {
      if (!vector.valid) expect(vector.path, vector.id).toMatch(/./);
      else if (vector.direction === "gateway") expect(vector.decoded, vector.id).toBeDefined();
    }
  });

  it("differ from the right one in exactly one place", () => {
    for (const { id, differsFrom, frame, direction } of vectors) {
      if (differsFrom === undefined) continue;
      const right = byId.get(differsFrom);
      expect(right, id).toMatchObject({ valid: true, direction });
      expect(differences(right?.frame ?? null, frame ?? null), id).toHaveLength(1);
    }
  });

  const msgtypes = ["stream", "markdown", "template_card", "file", "image", "voice", "video", "text", "mixed"];
  const chatEvents = ["enter_chat", "template_card_event", "feedback_event"];
  const otherEvents = ["disconnected_event", "auth_change_event", "enter_check_update"];
  it.each([...Object.values(cmd), ...msgtypes, ...chatEvents, ...otherEvents, ...cardTypes])(
    "have a right frame and at least three wrong ones for %s",
    (name) => {
      const right = vectors.filter(({ valid, wire }) => valid && wire.includes(JSON.stringify(name)));
      const wrong = vectors.filter(({ differsFrom }) => right.some(({ id }) => id === differsFrom));
      expect(right.length).toBeGreaterThan(0);
      expect(wrong.length).toBeGreaterThanOrEqual(3);
    },
  );

  it.each([...new Set(errcodes.map(({ errcode }) => errcode))])(
    "have a right ack and at least three wrong ones for errcode %i",
    (errcode) => {
      const right = vectors.filter(
        ({ valid, decoded }) => valid && decoded?.["kind"] === "ack" && decoded["errcode"] === errcode,
      );
      const wrong = vectors.filter(({ differsFrom }) => right.some(({ id }) => id === differsFrom));
      expect(right.length).toBeGreaterThan(0);
      expect(wrong.length).toBeGreaterThanOrEqual(3);
    },
  );
});

describe("decoding the vectors", () => {
  it.each(vectors.filter(({ valid }) => valid).map((vector) => [vector.topic, vector.id, vector] as const))(
    "%s: reads %s",
    (_topic, _id, vector) => {
      const decoded = decode(vector);
      if ("bad" in decoded) throw new Error(`refused: ${decoded.bad.path}: ${decoded.bad.reason}`);
      if (vector.decoded !== undefined) expect(missing(decoded.ok, vector.decoded)).toEqual([]);
      expect(decoded.notes.length > 0, "a bend is noted").toBe(vector.repaired === true);
    },
  );

  it.each(vectors.filter(({ valid, direction }) => valid && direction === "client").map(({ id, wire }) => [id, wire]))(
    "writes %s again as it was read",
    (_id, wire) => {
      const decoded = decodeClientFrame(wire);
      if ("bad" in decoded) throw new Error(decoded.bad.reason);
      expect(JSON.parse(encode(decoded.ok).text)).toEqual(JSON.parse(wire));
    },
  );

  it.each(vectors.filter(({ valid }) => !valid).map((vector) => [vector.topic, vector.id, vector] as const))(
    "%s: refuses %s and says where",
    (_topic, _id, vector) => {
      const decoded = decode(vector);
      expect(decoded).toHaveProperty("bad");
      if (!("bad" in decoded)) return;
      expect(decoded.bad.path).toBe(vector.path);
      expect(decoded.bad.reason).toMatch(/./);
      expect(decoded.text).toBe(vector.wire);
    },
  );
});

describe("the official SDK as a witness", () => {
  /** Where the SDK does less than a client must; each is a finding about it, not about the vector. */
  const sdkLoses: Record<string, string> = {
    "raw-tab": "leaves a raw TAB in the text, which JSON.parse refuses",
    "raw-lf": "leaves a raw LF in the text, which JSON.parse refuses",
    "raw-all": "leaves TAB and LF in the text",
    "raw-after-escapes": "leaves a raw LF in the text",
    "raw-after-one-quote": "leaves a raw TAB in the text",
    "raw-after-backslash": "leaves a raw LF in the text",
    "bare-event": "drops a callback without msgtype",
  };
  /** Where it hands out something else than we do. */
  const sdkDiffers: Record<string, string> = {
    "raw-cr": "drops the character instead of keeping it",
    "raw-esc": "drops the character instead of keeping it",
    "raw-nul": "drops the character instead of keeping it",
    "event-in-message": "takes a card event inside a message callback for a message",
    "mixed-unknown-item": "hands the item out as it came",
    "quote-unknown": "hands the quote out as it came",
    "quote-broken": "hands the broken quote out",
    "create-time-string": "leaves the string",
    "feedback-number-strings": "leaves the strings",
    "aeskey-number": "hands the number out",
    "unknown-chattype": "leaves chattype as it is",
    "unknown-chattype-chatid": "leaves chattype as it is",
    "no-chattype": "leaves chattype out",
    "no-chattype-chatid": "leaves chattype out",
  };

  const callbacks = vectors.filter(
    ({ direction, valid, decoded }) =>
      direction === "gateway" && valid && (decoded?.["kind"] === "message" || decoded?.["kind"] === "event"),
  );

  it.each(callbacks.map((vector) => [vector.id, vector] as const))("hands out %s as we do", (id, vector) => {
    const emitted = emittedBySdk(vector.wire);
    if (Object.hasOwn(sdkLoses, id)) {
      expect(emitted, sdkLoses[id]).toEqual([]);
      return;
    }
    const decoded = decodeGatewayFrame(vector.wire);
    if (!("ok" in decoded) || (decoded.ok.kind !== "message" && decoded.ok.kind !== "event")) throw new Error("bad");
    const { kind, known, req_id, body } = decoded.ok;
    const type = kind === "message" ? body.msgtype : body.event.eventtype;

    const wrong: string[] = [];
    const names = emitted.map(({ name }) => name);
    const specific = known || kind === "event" ? [`${kind}.${String(type)}`] : [];
    wrong.push(...missing(names, [kind, ...specific]));
    for (const { frame } of emitted) {
      expect(frame.headers.req_id).toBe(req_id);
      const { body: expected } = vector.decoded ?? {};
      if (expected !== undefined) wrong.push(...missing(frame.body, expected));
    }
    if (Object.hasOwn(sdkDiffers, id)) expect(wrong, sdkDiffers[id]).not.toEqual([]);
    else expect(wrong).toEqual([]);
  });

  it("has no entry for a vector that does not exist", () => {
    for (const id of Object.keys({ ...sdkLoses, ...sdkDiffers })) expect(byId.has(id), id).toBe(true);
  });
});

describe("damaged frames", () => {
  const rounds = Number(process.env["FUZZ"] ?? 100_000);
  const seed = Number(process.env["SEED"] ?? 418);

  it(
    `are refused or read, and never throw (${rounds} of them, seed ${seed})`,
    () => {
      const random = seeded(seed);
      const corpus = vectors.map(({ wire }) => wire).filter((wire) => wire.length < 4_000);
      const verdicts = { ok: 0, bad: 0 };
      for (let round = 0; round < rounds; round++) {
        const text = damage(corpus, random);
        try {
          const received = decodeGatewayFrame(text);
          const sent = decodeClientFrame(text);
          for (const decoded of [received, sent]) {
            if ("ok" in decoded) verdicts.ok++;
            else if (decoded.bad.path !== "" && decoded.bad.reason !== "" && decoded.text === text) verdicts.bad++;
            else throw new Error(`a reason without words: ${JSON.stringify(decoded.bad)}`);
          }
          if ("ok" in received && brokenPromise(received.ok)) throw new Error("read, and of no use");
          if ("ok" in sent && "bad" in decodeClientFrame(encode(sent.ok).text)) throw new Error("written, not read");
        } catch (error) {
          throw new Error(`SEED=${seed}, round ${round}: ${JSON.stringify(text)}`, { cause: error });
        }
      }
      // Both happen often, or the damage is too weak or too strong to show anything.
      expect(verdicts.ok).toBeGreaterThan(rounds / 20);
      expect(verdicts.bad).toBeGreaterThan(rounds / 20);
    },
    Math.max(120_000, rounds),
  );
});

/** Whether a frame that was read lacks what its kind promises: an id to answer under, a code, an author, a chat. */
function brokenPromise(frame: GatewayFrame): boolean {
  if (frame.kind === "unknown" || frame.kind === "ping") return false;
  if (frame.req_id === "") return true;
  if (frame.kind === "ack") return !Number.isInteger(frame.errcode);
  if (frame.kind === "event") return typeof frame.body.event.eventtype !== "string";
  const { msgid, from, chattype, chatid } = frame.body;
  return msgid === "" || from.userid === "" || (chattype === "group" && (chatid ?? "") === "");
}

/** The paths at which two frames differ, each as high as it can be without another below it. */
function differences(left: Json, right: Json, path = "$"): string[] {
  const [a, b] = [expand(left), expand(right)];
  if (isObject(a) && isObject(b)) {
    const names = new Set([...Object.keys(a), ...Object.keys(b)]);
    return [...names].flatMap((name) => {
      if (!Object.hasOwn(a, name) || !Object.hasOwn(b, name)) return [`${path}.${name}`];
      return differences(a[name] ?? null, b[name] ?? null, `${path}.${name}`);
    });
  }
  if (Array.isArray(a) && Array.isArray(b) && a.length === b.length)
    return a.flatMap((item, at) => differences(item, b[at] ?? null, `${path}[${at}]`));
  return JSON.stringify(a) === JSON.stringify(b) ? [] : [path];
}

/** What of `expected` is not in `actual`; null in `expected` is content with nothing. */
function missing(actual: unknown, expected: Json, path = "$"): string[] {
  if (expected === null) return actual === undefined || actual === null ? [] : [path];
  if (Array.isArray(expected)) {
    if (!Array.isArray(actual) || actual.length < expected.length) return [path];
    return expected.flatMap((item, at) => missing(actual[at], item, `${path}[${at}]`));
  }
  if (typeof expected !== "object") return Object.is(actual, expected) ? [] : [path];
  if (typeof actual !== "object" || actual === null) return [path];
  return Object.entries(expected).flatMap(([name, member]) =>
    missing((actual as Record<string, unknown>)[name], member, `${path}.${name}`),
  );
}

function isObject(value: Json): value is { [member: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Hands a text to the SDK as if a socket had received it, and collects what an application would get. */
function emittedBySdk(text: string): { name: string; frame: WsFrame }[] {
  const nothing = (): void => undefined;
  const silent: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing };
  const emitted: { name: string; frame: WsFrame }[] = [];
  const application = {
    emit: (name: string, frame: WsFrame) => {
      emitted.push({ name, frame });
    },
  };
  const handler = new MessageHandler(silent);
  const manager = new WsConnectionManager(silent);
  manager.onMessage = (frame) => handler.handleFrame(frame, application as unknown as WSClient);
  const socket = Object.assign(new EventEmitter(), { terminate: nothing });
  // Its own listeners on a socket that is none: what is private here is as fixed as the version in package.json.
  Object.assign(manager, { ws: socket });
  (manager as unknown as { setupEventHandlers(): void }).setupEventHandlers();
  socket.emit("message", Buffer.from(text));
  return emitted;
}

/** A pseudo-random number in [0, 1), the same sequence for the same seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const odd: Json[] = [null, true, 0, -1, 1.5, 1e21, "", "0", "x", "\u0000", "__proto__", [], {}, [[]], { a: 1 }];

/** A vector after one to three accidents, in its text or in one of its members. */
function damage(corpus: readonly string[], random: () => number): string {
  const below = (bound: number): number => Math.floor(random() * bound);
  const any = (): string => corpus[below(corpus.length)] ?? "";
  let text = any();
  for (let accidents = 1 + below(3); accidents > 0; accidents--) {
    const at = below(text.length + 1);
    const to = Math.min(text.length, at + 1 + below(8));
    switch (below(8)) {
      case 0:
        text = text.slice(0, at) + text.slice(to);
        break;
      case 1:
        text = text.slice(0, at) + String.fromCharCode(below(random() < 0.5 ? 0x80 : 0x10000)) + text.slice(at);
        break;
      case 2:
        text = text.slice(0, to) + text.slice(at);
        break;
      case 3:
        text = text.slice(0, at) + any().slice(below(200));
        break;
      default:
        text = text.replaceAll(/"[^"]*"|-?\d+|true|false|null/g, (token) =>
          random() < 0.04 ? JSON.stringify(odd[below(odd.length)]) : token,
        );
    }
  }
  return text;
}
