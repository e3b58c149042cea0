/**
 * How each of the 85 behaviours is broken: changes of the sources after which the tests of that number must fail.
 *
 * The table is the design. A change is a text that stands in a source file and what stands there instead; where two layers
 * keep a behaviour, both are broken. `npm run lane -- behaviours` makes each in memory and runs the tests of its number.
 */

/** A text of a source file, which must stand there, and what stands there instead. Where it stands twice, the first. */
export type Change = readonly [file: `${"connector" | "protocol"}/src/${string}.ts`, find: string, instead: string];

const connection = "protocol/src/connection.ts";
const requests = "protocol/src/requests.ts";
const stream = "protocol/src/stream.ts";
const upload = "protocol/src/upload.ts";
const frames = "protocol/src/frames.ts";
const bot = "connector/src/bot.ts";
const driver = "connector/src/driver.ts";
const answer = "connector/src/answer.ts";
const handling = "connector/src/handling.ts";
const message = "connector/src/message.ts";
const files = "connector/src/files.ts";
const media = "connector/src/media.ts";
const node = "connector/src/runtime.node.ts";

/** By number: what a client would do instead, and how it comes to that. */
export const brokenRows: Readonly<Record<number, readonly [instead: string, ...changes: Change[]]>> = {
  1: [
    "pings before it subscribes",
    [
      connection,
      'this.#effects.push({ type: "send", socket, cmd: cmd.subscribe, text: this.#subscription(req_id) });',
      'this.#ping(socket);\n    this.#effects.push({ type: "send", socket, cmd: cmd.subscribe, text: this.#subscription(req_id) });',
    ],
  ],
  2: [
    "sends requests while it subscribes",
    [
      connection,
      'case "request":\n        if (state.name === "ready")',
      'case "request":\n        if (state.name === "ready" || state.name === "subscribing")',
    ],
    [answer, 'if (this.#driver.state !== "ready") return Promise.resolve(notConnected);', ""],
  ],
  3: ["waits for the ack for ever", [connection, "giveUpAt: this.#now + subscribeMs", "giveUpAt: this.#now + 1e9"]],
  4: [
    "throws away what comes before the ack",
    [
      connection,
      'case "message":\n        this.#effects.push',
      'case "message":\n        if (state.name === "ready") this.#effects.push',
    ],
  ],
  5: [
    "takes any ack for its own",
    [connection, 'state.name === "subscribing" && req_id === state.req_id', 'state.name === "subscribing"'],
  ],
  6: [
    "takes a wrong secret for a passing trouble",
    [connection, 'case "credentials":\n        this.#leave(', 'case "nothing" as never:\n        this.#leave('],
  ],
  7: [
    "tries wrong credentials again",
    [
      connection,
      "credentialsRetryMs === undefined\n                ? undefined",
      "credentialsRetryMs === undefined\n                ? this.#now + 50",
    ],
  ],
  8: ["backs off from a throttle as from a lost network", [connection, 'why === "throttled"\n', "why === undefined\n"]],
  9: ["takes an unknown code for wrong credentials", ["protocol/src/errors.ts", ': "temporary";', ': "credentials";']],
  10: [
    "counts attempts from zero as soon as it is subscribed",
    [connection, 'this.#move("subscribed", {', 'this.#attempts = 0;\n    this.#move("subscribed", {'],
  ],
  11: [
    "gives up after three attempts",
    [
      connection,
      ": backoff(this.#attempts++, random(), backoffBaseMs, backoffMaxMs)",
      ": this.#attempts > 2 ? 1e9 : backoff(this.#attempts++, random(), backoffBaseMs, backoffMaxMs)",
    ],
  ],
  12: [
    "takes an answer that is no upgrade for the end",
    [
      node,
      "if (!dropped) events.closed(code, reason",
      "if (!dropped && line !== undefined) events.closed(code, reason",
    ],
    [connection, 'if (state.giveUpAt <= this.#now) this.#lose("dial-timeout");', ""],
  ],
  13: ["shows an errmsg as it came", ["connector/src/causes.ts", "plainErrmsg(detail.text)", "detail.text"]],
  14: [
    "subscribes again with each ping",
    [
      connection,
      '    const req_id = makeReqId("ping", this.#settings.random);',
      '    const req_id = makeReqId("ping", this.#settings.random);\n    this.#effects.push({ type: "send", socket, text: this.#subscription(`${req_id}s`) });',
    ],
  ],
  15: [
    "takes a kick for an event like any other",
    [connection, 'frame.body.event.eventtype === "disconnected_event") this.#kicked();', "false) this.#kicked();"],
  ],
  16: [
    "leaves the socket to the gateway",
    [connection, 'if ("socket" in state) this.#effects', 'if ("socket" in state && why !== "kicked") this.#effects'],
  ],
  17: [
    "comes back after a kick",
    [
      connection,
      "rejoinBaseMs, rejoinMaxMs)\n        : undefined",
      "rejoinBaseMs, rejoinMaxMs)\n        : this.#now + 100",
    ],
  ],
  18: [
    "kicks back",
    [
      connection,
      "rejoinBaseMs, rejoinMaxMs)\n        : undefined",
      "rejoinBaseMs, rejoinMaxMs)\n        : this.#now + 100",
    ],
  ],
  19: [
    "insists that every event says from whom it is",
    [
      frames,
      'disconnected_event: bare("disconnected_event")',
      'disconnected_event: z.looseObject({ ...happening, from, event: z.looseObject({ eventtype: z.literal("disconnected_event") }) })',
    ],
  ],
  20: [
    "leaves open requests hanging after a kick",
    [connection, "this.#perform(this.#requests.end(", 'if (why !== "kicked") this.#perform(this.#requests.end('],
    [answer, 'for (const stream of this.#streams.keys()) stream.take({ type: "stopped" });', ""],
  ],
  21: ["pings under one req_id", [connection, 'makeReqId("ping", this.#settings.random)', '"ping_1"']],
  22: [
    "goes on probing for ever",
    [
      connection,
      'case "probing":\n        this.#lose("ping-timeout");',
      'case "probing":\n        this.#probe(state, heartbeat);',
    ],
  ],
  23: [
    "takes a refused ping for an answered one",
    [connection, "if (errcode === 0) {\n      const sentAt", "if (errcode !== 1) {\n      const sentAt"],
  ],
  24: [
    "takes a close for the end",
    [
      connection,
      'if ("socket" in state && input.socket === state.socket)',
      'if ("socket" in state && input.socket === state.socket && input.code > 1_015)',
    ],
  ],
  25: [
    "has no deadline for writes",
    [node, "(socket.timeout ?? 0) === 0) socket.setTimeout(writeMs);", "false) socket.setTimeout(writeMs);"],
  ],
  26: ["answers no WebSocket ping", [node, "perMessageDeflate: false,", "perMessageDeflate: false, autoPong: false,"]],
  27: [
    "reconnects at a frame it does not expect",
    [connection, 'this.#notice({ type: "server-ping" });', 'this.#lose("silence");'],
  ],
  28: [
    "takes any ack for a sign of life",
    [
      connection,
      "const lost = errcode === notSubscribed;",
      'const lost = errcode === notSubscribed;\n    state.heartbeat = { phase: "resting", until: this.#now + this.#settings.heartbeatMs };',
    ],
  ],
  29: [
    "handles what comes again again",
    [bot, "seen.add(msgid).size === size) return true;", "seen.add(msgid).size < 0) return true;"],
  ],
  30: ["remembers every msgid for ever", [bot, "size + 1 >= rememberedMsgids", "size < 0"]],
  31: [
    "merges all single chats",
    [message, ": body.from.userid, type: body.chattype }", ': "single", type: body.chattype }'],
  ],
  32: [
    "normalises a chatid",
    [message, "body.chatid !== undefined ? body.chatid :", "body.chatid !== undefined ? body.chatid.toLowerCase() :"],
  ],
  33: ["reads JSON to the letter", [frames, "JSON.parse(escapeControlCharacters(text))", "JSON.parse(text)"]],
  34: [
    "reconnects at what is no frame",
    [connection, 'this.#notice({ type: "undecodable", reason: decoded.bad });', 'this.#lose("silence");'],
  ],
  35: [
    "ignores binary messages",
    [node, 'ws.on("message", (data) => {', 'ws.on("message", (data, binary) => {\n    if (binary) return;'],
  ],
  36: [
    "reconnects at a command it does not know",
    [connection, 'this.#notice({ type: "unknown-command", cmd: frame.cmd });', 'this.#lose("silence");'],
  ],
  37: [
    "takes the first file of a mixed message for all",
    [message, "part.mixed.msg_item.flatMap(filesIn);", "part.mixed.msg_item.flatMap(filesIn).slice(0, 1);"],
  ],
  38: ["loses the quote", [message, "this.quote = body.quote;", "this.quote = undefined;"]],
  39: ["handles one message after the other", [bot, "maxRunning ?? 1_000", "maxRunning ?? 1"]],
  40: [
    "gives all streams one id",
    [answer, 'id = makeReqId("stream", this.#random), state }', 'id = "stream_1", state }'],
  ],
  41: ["takes a mebibyte at most", [node, "const maxPayloadBytes = 16 *", "const maxPayloadBytes = 1 *"]],
  42: [
    "takes the first word for the mention",
    [message, "group ? withoutMention(read, botName) : read", 'group ? read.replace(/^@\\S+ /, "") : read'],
  ],
  43: ["pushes the welcome", [handling, 'if (event.kind === "enter_chat") {', 'if (event.kind === ("" as string)) {']],
  44: ["updates a card however late it is", [handling, "first && this.#runtime.now() < until", "first && until > 0"]],
  45: [
    "reads one chosen item",
    [
      frames,
      "z.looseObject({ selected_item: z.array(selectedItem) }).optional()",
      "z.looseObject({ selected_item: z.array(selectedItem).transform(([first]) => [first!]) }).optional()",
    ],
    [
      frames,
      "z.looseObject({ option_id: z.array(z.string()) })",
      "z.looseObject({ option_id: z.array(z.string()).transform(([first]) => [first!]) })",
    ],
  ],
  46: [
    "takes feedback for a message",
    [
      bot,
      'if (push.kind === "message") this.#message(messageOf(push,',
      "if (push.kind !== undefined) this.#message(messageOf(push as never,",
    ],
  ],
  47: ["sends deltas", [stream, "part: s.carry + s.text, at:", "part: s.carry + s.text.slice(s.shown), at:"]],
  48: [
    "sends frames as fast as they come",
    [requests, "if (lane.flying !== undefined) {\n      lane.queue", "if (lane.owed < 0) {\n      lane.queue"],
    [
      stream,
      "if (s.done || s.flight !== undefined || s.doubt !== undefined) return;",
      "if (s.done || s.doubt !== undefined) return;",
    ],
  ],
  49: [
    "leaves the bubble open when a handler throws",
    [handling, "void bubble.fail(this.#texts.failed ?? defaultFailed);\n    }\n  }", "}\n  }"],
  ],
  50: ["never splits", [stream, "cutAt(cut.part, maxBytes) < cut.part.length", "cut.part.length < 0"]],
  51: [
    "keeps to a stream that is over",
    [stream, '!pushing && (asked === "fallback" || asked === "reconnect")', "!pushing && maxThrottles < 0"],
  ],
  52: ["never hands over", [stream, ": openedAt + this.#options.handoverMs", ": openedAt + 1e9"]],
  53: ["tries a refused req_id again", [stream, "    s.route = route;\n", ""]],
  54: [
    "goes on at once after 846607",
    ["protocol/src/budget.ts", "this.#pausedUntil = this.#now + this.#pauseMs;", "this.#pausedUntil = this.#now;"],
  ],
  55: [
    "tries 6000 again for long",
    [stream, "const retryMs = [200, 400, 800] as const;", "const retryMs = [200, 400, 800, 100, 100] as const;"],
  ],
  56: [
    "overlooks that it is not subscribed",
    [connection, "const lost = errcode === notSubscribed;", "const lost = errcode === 1;"],
  ],
  57: [
    "gives the answer up with the first lost ack",
    [stream, "if (!flight.final) s.visible ||= flight.visible;", 'if (!flight.final) this.#end("unknown", effects);'],
    [
      answer,
      'if (outcome.type !== "refused" || tries >= maxTries)',
      'if (outcome.type === "acked" || tries >= maxTries)',
    ],
  ],
  58: [
    "takes a late ack for the next frame's",
    [requests, "if (lane.owed > 0) {", "if (lane.owed > 0 && lane.flying === undefined) {"],
  ],
  59: ["asks no budget", ["protocol/src/budget.ts", "if (until > this.#now) return", "if (until < 0) return"]],
  60: [
    "forgets what was open when a line is lost",
    [
      answer,
      'if (to === "ready") for (const stream of this.#streams.keys()) stream.take({ type: "ready" });',
      'if (to === "ready") return;',
    ],
  ],
  61: [
    "throws when an ack does not come",
    [
      driver,
      "settle?.(outcome);",
      'if (outcome.type === "timed-out") throw new Error("no ack");\n        settle?.(outcome);',
    ],
  ],
  62: [
    "writes two frames into one message",
    [
      driver,
      "this.#socket?.send(effect.text);",
      'this.#socket?.send(effect.text.includes(`finish":true`) ? effect.text + effect.text : effect.text);',
    ],
  ],
  63: ["pushes to everybody as to a user", [answer, 'chat_type: type === "single" ? 1 : 2', "chat_type: 1"]],
  64: [
    "tries a refused target again",
    [
      stream,
      'asked === "retry" || asked === "reconnect" ? retryMs.length',
      'asked === "permanent" ? 1 : asked === "retry" || asked === "reconnect" ? retryMs.length',
    ],
  ],
  65: [
    "keeps a push until there is a line",
    [answer, 'if (this.#driver.state !== "ready") return Promise.resolve(notConnected);', ""],
  ],
  66: [
    "sends a push again whose ack did not come",
    [
      stream,
      '        else this.#complete(flight, true);\n        return;\n      case "stopped"',
      '        else this.#unsend(flight);\n        return;\n      case "stopped"',
    ],
  ],
  67: [
    "pushes a text as text",
    [
      answer,
      '{ msgtype: "markdown", markdown: { content: effect.content } }',
      '{ msgtype: "text", text: { content: effect.content } }',
    ],
  ],
  68: ["says another MD5", [upload, "{ ...body, md5: this.#md5 }", '{ ...body, md5: "0".repeat(32) }']],
  69: [
    "sends the first chunk along with init",
    [
      upload,
      "      s.sessionAt = s.now;\n      const key = this.#fly();",
      "      s.sessionAt = s.now;\n      const key = this.#fly();\n      this.#sendChunk(0, effects);",
    ],
  ],
  70: [
    "begins a new upload when an ack is lost",
    [upload, 'this.#again(flight, 0, effects, "no-answer");', "this.#open(effects);"],
  ],
  71: ["sends a chunk five times", [upload, "const maxSends = 3;", "const maxSends = 5;"]],
  72: [
    "begins a new upload after a reconnect",
    [
      upload,
      "        s.flights = [];\n        s.away = false;",
      "        this.#open(effects);\n        s.away = false;",
    ],
  ],
  73: [
    "sends no fewer after an overload",
    [upload, "s.ceiling = Math.max(1, Math.min(s.ceiling, flight.depth - 1));", ""],
    [upload, "s.window = Math.max(1, Math.min(Math.floor(s.window / 2), s.ceiling));", ""],
  ],
  74: ["leaves it to the gateway to refuse", [upload, "if (sizeBytes < minFileBytes)\n", "if (sizeBytes < 0)\n"]],
  75: [
    "goes on without a media_id",
    [
      upload,
      'this.#fail("refused", effects, refusal);\n    }\n  }',
      'effects.push({ type: "done", result: { state: "uploaded", kind: this.#plan.kind, mediaId: "undefined" } });\n    }\n  }',
    ],
  ],
  76: [
    "reads a number only",
    [upload, '&& created_at !== "" ? Number(created_at)', '&& created_at === "" ? Number(created_at)'],
  ],
  77: ["knows keys of 43 characters", [media, "{43}=?$/", "{43}$/"]],
  78: ["strips what a library strips", [media, "pad > 32 ||", "pad > 16 ||"]],
  79: [
    "decodes a name to the letter",
    [
      files,
      'return text.includes(" ") ? text : percentDecoded(text.replaceAll("+", " "));',
      "return decodeURIComponent(text);",
    ],
  ],
  80: [
    "waits for a download for ever",
    [media, 'ending.abort(new FileError("file-timeout", timedOut(timeoutMs)))', "undefined"],
  ],
  81: [
    "takes a name as it comes",
    [files, 'name.split(/[/\\\\]/).findLast((part) => /[^.\\s]/.test(part)) ?? ""', "name"],
    [files, '.replaceAll(/^[.\\s]+|[.\\s]+$/g, "")', ""],
  ],
  82: ["forgets an alarm with each reconnect", [bot, "    this.#cancelWatch();\n", ""]],
  83: [
    "takes the end of any socket for its own",
    [connection, 'if ("socket" in state && input.socket === state.socket)', 'if ("socket" in state)'],
    [node, "if (!dropped) events.closed(code, reason", "events.closed(code, reason"],
    [node, "        ws.terminate();\n        return;", "        return;"],
  ],
  84: ["stays when it is stopped", [bot, "if (this.#stopping) this.#driver.stop();", ""]],
  85: [
    "repeats what the gateway says",
    [connection, 'return said.replaceAll(this.#settings.secret, "***");', "return said;"],
  ],
};
