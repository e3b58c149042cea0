import { describe, expect, test } from "vitest";
import { profile, profileNames, SomeSwitches, Switches, switchTable, type SwitchName } from "../src/switches.ts";
import { Bench, type Line } from "./bench.ts";
import { card } from "./wire.ts";

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;

const advance = (bench: Bench, ms: number) => bench.handle({ type: "advance", ms, transport: false });
/** A subscribed line on which a message was just said. */
const asked = (bench: Bench): { line: Line; reqId: string } => {
  const line = bench.subscribe(1);
  bench.say("hello");
  return { line, reqId: line.callback.headers.req_id };
};
const code = ({ errcode }: { errcode?: number }) => errcode;
const respondCard = (line: Line, reqId: string, more: object = {}) =>
  code(line.respond(reqId, { msgtype: "template_card", template_card: { ...card("t"), ...more } }));
const init = (more: object = {}) => ({
  cmd: "aibot_upload_media_init",
  body: { type: "file", filename: "a.txt", total_size: 6, total_chunks: 1, ...more },
});
const chunk = (upload_id: string, chunk_index = 0) => ({
  cmd: "aibot_upload_media_chunk",
  body: { upload_id, chunk_index, base64_data: "aGVsbG8h" },
});
const upload = (line: Line) => {
  const { upload_id } = line.ask(init()).body;
  line.ask(chunk(upload_id));
  return line.ask({ cmd: "aibot_upload_media_finish", body: { upload_id } }).body;
};
const file = (bench: Bench) => {
  const line = bench.subscribe(1);
  bench.say("", "zhangsan", { msgtype: "file", text: undefined });
  return line.callback.body.file;
};
const download = (bench: Bench) =>
  bench.world.download(bench.now, new URL(file(bench).url).pathname.split("/").at(-1)!);
const responseCode = ({ line }: { line: Line }) =>
  new URL(line.callback.body.response_url).searchParams.get("response_code")!;
const respondByUrl = (bench: Bench, responseUrl: string) => {
  bench.handle({
    type: "respond-url",
    code: responseUrl,
    body: { msgtype: "markdown", markdown: { content: "x" } },
    call: 9,
  });
  return bench.lastAnswer.type === "errcode" ? bench.lastAnswer.errcode : undefined;
};
const closing = (bench: Bench) => {
  const line = bench.subscribe(1);
  bench.handle({ type: "kick", bot: "bot", call: 1 });
  let after = 0;
  for (; after < 400 && !line.ended; after++) {
    line.send({ cmd: "ping" });
    bench.pass(second);
  }
  return { after, ended: line.ended };
};
const lateWelcome = (bench: Bench, afterMs: number) => {
  const line = bench.subscribe(1);
  bench.trigger("enter_chat");
  advance(bench, afterMs);
  const { headers } = line.callback;
  return code(
    line.ask({ cmd: "aibot_respond_welcome_msg", headers, body: { msgtype: "text", text: { content: "hi" } } }),
  );
};
const shownThumbs = (bench: Bench) => {
  const { line, reqId } = asked(bench);
  line.respond(reqId, { msgtype: "stream", stream: { id: "s", finish: true, content: "x", feedback: { id: "mine" } } });
  const shown = bench.world.chat("bot", "zhangsan")!.items.at(-1);
  return shown?.by === "bot" && shown.feedbackId !== undefined;
};
const delay = (bench: Bench, frame: { cmd: string; body?: unknown }) => {
  const line = frame.cmd === "aibot_subscribe" ? bench.connect(1) : bench.subscribe(1);
  const before = line.frames.length;
  line.send(frame);
  let ms = 0;
  for (; ms < 2000 && line.frames.length === before; ms += 10) bench.pass(10);
  return ms;
};

interface Shown {
  /** A value and what is seen with it, twice: what the switch decides is the difference. */
  readonly values: readonly [[SomeSwitches[SwitchName], unknown], [SomeSwitches[SwitchName], unknown]];
  readonly see: (bench: Bench) => unknown;
}

/** Every switch shows what it decides; one without an entry does not compile. */
const shown: Record<SwitchName, Shown> = {
  subscribeLatencyMs: {
    values: [
      [0, 0],
      [150, 150],
    ],
    see: (bench) => delay(bench, { cmd: "aibot_subscribe", body: { bot_id: "bot", secret: "s" } }),
  },
  ackLatencyMs: {
    values: [
      [0, 0],
      [1000, true],
    ],
    see: (bench) => {
      const ms = delay(bench, { cmd: "ping" });
      return ms === 0 ? 0 : ms >= 920 && ms <= 1080;
    },
  },
  ackJitterMs: {
    values: [
      [0, 1],
      [80, true],
    ],
    see: (bench) => {
      const line = bench.subscribe(1);
      const times = new Set<number>();
      for (let n = 0; n < 20; n++) {
        const begun = bench.now;
        line.send({ cmd: "ping" });
        const before = line.frames.length;
        while (line.frames.length === before) bench.pass(1);
        times.add(bench.now - begun);
      }
      return times.size === 1 ? 1 : times.size > 5;
    },
  },
  idleMs: {
    values: [
      [90_000, "reset"],
      ["never", undefined],
    ],
    see: (bench) => {
      const line = bench.subscribe(1);
      bench.pass(10 * minute);
      return line.ended;
    },
  },
  subscribeTimeoutMs: {
    values: [
      [0, undefined],
      [60_000, "reset"],
    ],
    see: (bench) => {
      const line = bench.connect(1);
      bench.pass(2 * minute);
      return line.ended;
    },
  },
  wsPingMs: {
    values: [
      [30_000, 2],
      [0, 0],
    ],
    see: (bench) => {
      bench.subscribe(1);
      bench.pass(60 * second);
      return bench.effects.filter(({ type }) => type === "ping").length;
    },
  },
  pingUnsubscribed: {
    values: [
      ["accept", 0],
      ["refuse", 846609],
    ],
    see: (bench) => code(bench.connect(1).ask({ cmd: "ping" })),
  },
  subscribeRate: {
    values: [
      ["on", 45009],
      ["off", 0],
    ],
    see: (bench) => {
      for (let n = 1; n < 6; n++) bench.subscribe(n);
      return code(bench.subscribe(6).frames[0]!);
    },
  },
  kickCloseMs: {
    values: [
      [[2000, 2000], 2],
      ["10000", 10],
    ],
    see: (bench) => closing(bench).after,
  },
  kickClose: {
    values: [
      ["close", "close"],
      ["never", undefined],
    ],
    see: (bench) => closing(bench).ended,
  },
  oldReqIdAfterReconnect: {
    values: [
      ["accept", 0],
      ["refuse", 846605],
    ],
    see: (bench) => {
      const { reqId } = asked(bench);
      bench.handle({ type: "closed", connection: 1 });
      return code(bench.subscribe(2).stream(reqId, "s", "x"));
    },
  },
  redeliverUnanswered: {
    values: [
      ["off", 0],
      ["on", 1],
    ],
    see: (bench) => {
      asked(bench);
      bench.handle({ type: "closed", connection: 1 });
      return bench.subscribe(2).frames.filter(({ cmd }) => cmd !== undefined).length;
    },
  },
  maxInFlightPerUser: {
    values: [
      [3, 3],
      ["off", 5],
    ],
    see: (bench) => {
      const line = bench.subscribe(1);
      for (let n = 0; n < 5; n++) bench.say("hi");
      return line.frames.filter(({ cmd }) => cmd !== undefined).length;
    },
  },
  interactionMs: {
    values: [
      [360_000, false],
      [30_000, true],
    ],
    see: (bench) => {
      bench.subscribe(1);
      for (let n = 0; n < 3; n++) bench.say("hi");
      advance(bench, minute);
      bench.say("fourth");
      return bench.lastAnswer.type === "told" && bench.lastAnswer.told.delivered;
    },
  },
  messageCreateTime: {
    values: [
      ["off", false],
      ["on", true],
    ],
    see: (bench) => "create_time" in asked(bench).line.callback.body,
  },
  responseUrl: {
    values: [
      ["on", true],
      ["off", false],
    ],
    see: (bench) => "response_url" in asked(bench).line.callback.body,
  },
  responseUrlLifeMs: {
    values: [
      [hour, 0],
      [minute, 60140],
    ],
    see: (bench) => {
      const url = responseCode(asked(bench));
      advance(bench, 30 * minute);
      return respondByUrl(bench, url);
    },
  },
  replyWindowMs: {
    values: [
      [24 * hour, 0],
      [hour, 846604],
    ],
    see: (bench) => {
      const { line, reqId } = asked(bench);
      advance(bench, 2 * hour);
      return code(line.stream(reqId, "s", "x"));
    },
  },
  eventWindowMs: {
    values: [
      [5000, 846604],
      [60_000, 0],
    ],
    see: (bench) => lateWelcome(bench, 10_000),
  },
  lateEventErrcode: {
    values: [
      [846604, 846604],
      ["846605", 846605],
    ],
    see: (bench) => lateWelcome(bench, 10_000),
  },
  streamLifeMs: {
    values: [
      [600_000, 0],
      [360_000, 846608],
    ],
    see: (bench) => {
      const { line, reqId } = asked(bench);
      line.stream(reqId, "s", "x");
      advance(bench, 8 * minute);
      return code(line.stream(reqId, "s", "xy"));
    },
  },
  concurrentStreamFrames: {
    values: [
      ["6000", 6000],
      ["accept", 0],
    ],
    see: (bench) => {
      const { line, reqId } = asked(bench);
      for (const content of ["1", "12"])
        line.send({
          cmd: "aibot_respond_msg",
          headers: { req_id: reqId },
          body: { msgtype: "stream", stream: { id: "s", content } },
        });
      bench.pass(second);
      return code(line.frames.at(-1)!);
    },
  },
  sealedStream: {
    values: [
      [6000, 6000],
      ["accept", 0],
    ],
    see: (bench) => {
      const { line, reqId } = asked(bench);
      line.stream(reqId, "s", "x", true);
      return code(line.stream(reqId, "s", "xy", true));
    },
  },
  equalFinish: {
    values: [
      ["accept", true],
      ["swallow", false],
    ],
    see: (bench) => {
      const { line, reqId } = asked(bench);
      line.stream(reqId, "s", "done");
      expect(code(line.stream(reqId, "s", "done", true))).toBe(0);
      const item = bench.world.chat("bot", "zhangsan")!.items.at(-1)!;
      return item.by === "bot" && item.finished;
    },
  },
  respondText: {
    values: [
      ["refuse", 40008],
      ["accept", 0],
    ],
    see: (bench) => {
      const { line, reqId } = asked(bench);
      return code(line.respond(reqId, { msgtype: "text", text: { content: "x" } }));
    },
  },
  streamWithCard: {
    values: [
      ["refuse", 40008],
      ["accept", 0],
    ],
    see: (bench) => {
      const { line, reqId } = asked(bench);
      const stream = { id: "s", finish: true, content: "x" };
      return code(line.respond(reqId, { msgtype: "stream_with_template_card", stream, template_card: card("t") }));
    },
  },
  traceFeedbackOnly: {
    values: [
      ["on", false],
      ["off", true],
    ],
    see: shownThumbs,
  },
  oversizeErrcode: {
    values: [
      [40058, 40058],
      [45002, 45002],
    ],
    see: (bench) => {
      const { line, reqId } = asked(bench);
      return code(line.stream(reqId, "s", "x".repeat(20_481)));
    },
  },
  quota: {
    values: [
      ["on", 846607],
      ["off", 0],
    ],
    see: (bench) => {
      const { line } = asked(bench);
      let last: number | undefined;
      for (let n = 0; n < 31; n++) last = code(line.push("zhangsan"));
      return last;
    },
  },
  quotaCountsRefreshes: {
    values: [
      ["off", 0],
      ["on", 846607],
    ],
    see: (bench) => {
      const { line, reqId } = asked(bench);
      let last: number | undefined;
      for (let n = 0; n < 31; n++) last = code(line.stream(reqId, "s", "x".repeat(n + 1)));
      return last;
    },
  },
  chatPrecondition: {
    values: [
      ["on", 93006],
      ["off", 0],
    ],
    see: (bench) => code(bench.subscribe(1).push("nobody")),
  },
  uniqueTaskId: {
    values: [
      ["on", 42014],
      ["off", 0],
    ],
    see: (bench) => {
      const { line, reqId } = asked(bench);
      respondCard(line, reqId);
      return respondCard(line, reqId);
    },
  },
  cardCheck: {
    values: [
      ["on", 42039],
      ["off", 0],
    ],
    see: (bench) => {
      const { line, reqId } = asked(bench);
      return respondCard(line, reqId, { button_list: [{ text: "no key" }] });
    },
  },
  uploadTypeLimits: {
    values: [
      ["on", 40009],
      ["off", 0],
    ],
    see: (bench) => code(bench.subscribe(1).ask(init({ type: "image", total_size: 11 * 1_048_576, total_chunks: 22 }))),
  },
  uploadErrcode: {
    values: [
      [40058, 40058],
      [-1, -1],
    ],
    see: (bench) => code(bench.subscribe(1).ask(chunk("unknown"))),
  },
  uploadLifeMs: {
    values: [
      [1_800_000, 0],
      [60_000, 40058],
    ],
    see: (bench) => {
      const line = bench.subscribe(1);
      const { upload_id } = line.ask(init()).body;
      advance(bench, 10 * minute);
      return code(line.ask(chunk(upload_id)));
    },
  },
  chunkOverload: {
    values: [
      ["on", -1],
      ["off", 0],
    ],
    see: (bench) => {
      const line = bench.subscribe(1);
      const { upload_id } = line.ask(init({ total_chunks: 9 })).body;
      for (let index = 0; index < 5; index++) line.send(chunk(upload_id, index));
      bench.pass(second);
      return code(line.frames.at(-1)!);
    },
  },
  createdAt: {
    values: [
      ["string", "string"],
      ["number", "number"],
    ],
    see: (bench) => typeof (upload(bench.subscribe(1)) as unknown as { created_at: unknown }).created_at,
  },
  mediaLifeMs: {
    values: [
      [72 * hour, 0],
      [hour, 40007],
    ],
    see: (bench) => {
      const { line, reqId } = asked(bench);
      const { media_id } = upload(line);
      advance(bench, 2 * hour);
      return code(line.respond(reqId, { msgtype: "file", file: { media_id } }));
    },
  },
  mediaUrlLifeMs: {
    values: [
      [300_000, 200],
      [1000, 403],
    ],
    see: (bench) => {
      const { url } = file(bench);
      advance(bench, 2 * second);
      return bench.world.download(bench.now, new URL(url).pathname.split("/").at(-1)!).status;
    },
  },
  aeskeyLength: {
    values: [
      [43, 43],
      ["44", 44],
    ],
    see: (bench) => file(bench).aeskey.length,
  },
  disposition: {
    values: [
      ["star", "attachment; filename*=UTF-8''sample.txt"],
      ["none", undefined],
    ],
    see: (bench) => download(bench).headers["content-disposition"],
  },
  repeatedTextMs: {
    values: [
      [0, 4],
      [2000, 3],
    ],
    see: (bench) => {
      const line = bench.subscribe(1);
      for (const [text, from] of [
        ["again", "zhangsan"],
        ["again", "zhangsan"],
        ["again", "lisi"],
      ] as const)
        bench.say(text, from);
      advance(bench, 3 * second);
      bench.say("again");
      return line.frames.filter(({ cmd }) => cmd === "aibot_msg_callback").length;
    },
  },
  enterChatDaily: {
    values: [
      ["off", 3],
      ["on", 2],
    ],
    see: (bench) => {
      const line = bench.subscribe(1);
      // The world begins at midnight UTC: 16 hours later it is midnight in Beijing.
      for (const hours of [0, 15, 2]) {
        advance(bench, hours * hour);
        bench.trigger("enter_chat");
      }
      return line.frames.filter(({ cmd }) => cmd === "aibot_event_callback").length;
    },
  },
  escapedSlashes: {
    values: [
      ["off", '"a/b"'],
      ["on", '"a\\/b"'],
    ],
    see: (bench) => {
      const line = bench.subscribe(1);
      bench.say("a/b");
      expect(line.callback.body.text.content).toBe("a/b");
      return /"a.{1,2}b"/.exec(line.texts.at(-1)!)![0];
    },
  },
  uploadFormats: {
    values: [
      ["off", 0],
      ["on", 40004],
    ],
    see: (bench) => {
      const line = bench.subscribe(1);
      const finish = (type: string, bytes: string): number | undefined => {
        const data = Buffer.from(bytes, "latin1");
        const { upload_id } = line.ask(init({ type, total_size: data.length })).body;
        line.ask({ ...chunk(upload_id), body: { upload_id, chunk_index: 0, base64_data: data.toString("base64") } });
        return code(line.ask({ cmd: "aibot_upload_media_finish", body: { upload_id } }));
      };
      for (const [type, bytes] of [
        ["image", "\x89PNG\r\n\x1a\nrest"],
        ["image", "\xff\xd8\xff\xe0rest"],
        ["image", "GIF89a rest"],
        ["voice", "#!AMR\nrest"],
        ["video", "\0\0\0\x18ftypmp42"],
        ["file", "whatever"],
      ] as const)
        expect({ type, bytes, errcode: finish(type, bytes) }).toEqual({ type, bytes, errcode: 0 });
      const codes = ["image", "voice", "video"].map((type) => finish(type, "no such thing"));
      expect(new Set(codes).size).toBe(1);
      return codes[0];
    },
  },
  mcpConfig: {
    values: [
      ["refuse", 846610],
      ["http://127.0.0.1:3000/mcp", "http://127.0.0.1:3000/mcp"],
    ],
    see: (bench) => {
      const ack = bench.subscribe(1).ask({ cmd: "aibot_get_mcp_config", body: { biz_type: "doc" } });
      return code(ack) === 0 ? (ack.body as unknown as { url: string }).url : code(ack);
    },
  },
  errmsgSuffix: {
    values: [
      ["on", true],
      ["off", false],
    ],
    see: (bench) => bench.connect(1).ask({ cmd: "aibot_send_msg" }).errmsg!.includes(", hint: ["),
  },
};

describe("each switch decides what it says", () => {
  for (const [name, { values, see }] of Object.entries(shown))
    test(`${name}: ${switchTable[name as SwitchName].what}`, () => {
      for (const [value, seen] of values) {
        const bench = new Bench({ switches: { [name]: value } });
        expect({ [name]: value, seen: see(bench) }).toEqual({ [name]: value, seen });
      }
    });
});

describe("profiles", () => {
  test("each is a full and valid set, and differs from observed just where its rows say", () => {
    for (const name of profileNames) {
      const switches = profile(name);
      expect(Switches.parse(switches)).toEqual(switches);
      const differing = Object.keys(switchTable).filter(
        (key) => JSON.stringify(switches[key as SwitchName]) !== JSON.stringify(profile("observed")[key as SwitchName]),
      );
      const declared = Object.entries(switchTable).flatMap(([key, { differs }]) =>
        name !== "observed" && differs && name in differs ? [key] : [],
      );
      expect(differing.sort()).toEqual(declared.sort());
    }
  });

  test("the defaults are those that are written down", () => {
    expect(profile("observed")).toMatchObject({
      subscribeLatencyMs: 150,
      ackLatencyMs: 250,
      idleMs: 90_000,
      kickCloseMs: [2_000, 313_000],
      kickClose: "reset",
      streamLifeMs: 600_000,
      replyWindowMs: 86_400_000,
      eventWindowMs: 5_000,
      quota: true,
      quotaCountsRefreshes: false,
      subscribeRate: true,
      chunkOverload: true,
      uploadTypeLimits: true,
      maxInFlightPerUser: 3,
      oldReqIdAfterReconnect: "accept",
      chatPrecondition: true,
      redeliverUnanswered: false,
      concurrentStreamFrames: 6000,
      errmsgSuffix: true,
      responseUrl: true,
      uploadErrcode: 40_058,
      oversizeErrcode: 40_058,
      lateEventErrcode: 846_604,
    });
    expect(profile("strict").quotaCountsRefreshes).toBe(true);
  });

  test("a row has a sentence, a source and a confidence", () => {
    for (const [name, { what, source, confidence }] of Object.entries(switchTable)) {
      expect({ name, what: what.endsWith(".") || what.includes(". "), source: source.length > 10 }).toEqual({
        name,
        what: true,
        source: true,
      });
      expect(["D", "S", "O", "G"]).toContain(confidence);
    }
  });

  test("values may be given as a command line has them", () => {
    expect(
      SomeSwitches.parse({ quota: "off", idleMs: "never", kickCloseMs: "1,2", aeskeyLength: "44", ackLatencyMs: "0" }),
    ).toEqual({
      quota: false,
      idleMs: 0,
      kickCloseMs: [1, 2],
      aeskeyLength: 44,
      ackLatencyMs: 0,
    });
    for (const wrong of [{ quota: "maybe" }, { kickCloseMs: "3,2" }, { idleMs: -1 }, { nothing: 1 }])
      expect(SomeSwitches.safeParse(wrong).success).toBe(false);
  });
});
