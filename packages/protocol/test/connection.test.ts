import { describe, expect, it } from "vitest";
import { Connection, transitions } from "../src/connection.ts";
import type { ConnectionEffect, ConnectionInput, ConnectionOptions, ConnectionStateName } from "../src/connection.ts";
import { UsageError } from "../src/errors.ts";
import { cmd, encode } from "../src/frames.ts";
import type { EncodedFrame } from "../src/frames.ts";
import type { RequestKey } from "../src/requests.ts";

const secret = "s3cr3t-of-the-bot";

/** Yields tiny, different numbers: req_ids differ, and waits are as short as they can be, to a millionth. */
function counting(): () => number {
  let calls = 0;
  return () => ++calls / 0x1_0000_0000;
}

const required = () => ({ botId: "aibot", secret, random: counting() });

const frame = (req_id: string, content = "."): EncodedFrame =>
  encode({ cmd: cmd.respond, headers: { req_id }, body: { msgtype: "markdown", markdown: { content } } });

const ackText = (req_id: string, errcode = 0, errmsg = errcode === 0 ? "ok" : "no", body?: unknown) =>
  JSON.stringify({ headers: { req_id }, errcode, errmsg, body });

const messageText = (content = "hello") =>
  JSON.stringify({
    cmd: cmd.message,
    headers: { req_id: "M" },
    body: { msgid: "m", chattype: "single", from: { userid: "u" }, msgtype: "text", text: { content } },
  });

const eventText = (eventtype: string) =>
  JSON.stringify({ cmd: cmd.event, headers: { req_id: "E" }, body: { msgtype: "event", event: { eventtype } } });

const kickText = eventText("disconnected_event");

/** Effects in few words. */
const brief = (effects: readonly ConnectionEffect[]): string[] => effects.map(inBrief);

function inBrief(effect: ConnectionEffect): string {
  switch (effect.type) {
    case "dial":
      return `dial ${effect.socket}`;
    case "send": {
      const sent = JSON.parse(effect.text) as { cmd: string; body?: { markdown?: { content: string } } };
      return `send ${effect.socket} ${sent.body?.markdown?.content ?? sent.cmd}`;
    }
    case "drop":
      return `drop ${effect.socket} ${effect.why}`;
    case "settle": {
      const { key, outcome } = effect;
      if (!("maybeDelivered" in outcome)) return `${key} ${outcome.type}`;
      return `${key} ${outcome.type} ${outcome.maybeDelivered ? "maybe" : "never"}`;
    }
    case "deliver":
      return `deliver ${effect.push.kind}`;
    case "notice":
      return effect.what.type === "pong" ? `pong after ${effect.what.afterMs}` : `notice ${effect.what.type}`;
    case "moved":
      return `${effect.from} -${effect.why}-> ${effect.to}`;
  }
}

/** A connection with what a test wants to know of it: the last socket, and the req_ids of what was sent. */
class Line {
  readonly connection: Connection;
  now = 0;
  socket = 0;
  /** The req_id of the last frame of each command. */
  readonly sent = new Map<string, string>();
  readonly pings: string[] = [];

  constructor(options: Partial<ConnectionOptions> = {}) {
    this.connection = new Connection({ ...required(), ...options });
  }

  get state(): ConnectionStateName {
    return this.connection.state;
  }

  /** How long from now until the deadline, to the millisecond. */
  get dueInMs(): number | undefined {
    const { deadline } = this.connection;
    return deadline === undefined ? undefined : Math.round(deadline - this.now);
  }

  /** Lets an input happen at `now`, or later by `inMs`. */
  take(input: ConnectionInput, inMs = 0): readonly ConnectionEffect[] {
    this.now += inMs;
    const effects = this.connection.handle(this.now, input);
    for (const effect of effects) {
      if (effect.type === "dial") this.socket = effect.socket;
      if (effect.type !== "send") continue;
      const { cmd: name, headers } = JSON.parse(effect.text) as { cmd: string; headers: { req_id: string } };
      this.sent.set(name, headers.req_id);
      if (name === cmd.ping) this.pings.push(headers.req_id);
    }
    return effects;
  }

  start = (inMs?: number) => brief(this.take({ type: "start" }, inMs));
  stop = (inMs?: number) => brief(this.take({ type: "stop" }, inMs));
  tick = (inMs?: number) => brief(this.take({ type: "tick" }, inMs));
  open = (inMs?: number) => brief(this.take({ type: "opened", socket: this.socket }, inMs));
  receive = (text: string, inMs?: number) => brief(this.take({ type: "received", socket: this.socket, text }, inMs));
  close = (inMs?: number) => brief(this.take({ type: "closed", socket: this.socket, code: 1006, reason: "" }, inMs));
  request = (key: RequestKey, req_id: string, ackMs?: number, inMs?: number) =>
    brief(
      this.take(
        { type: "request", key, frame: frame(req_id, String(key)), ...(ackMs === undefined ? {} : { ackMs }) },
        inMs,
      ),
    );
  /** Answers the last subscribe. */
  answer = (errcode = 0, errmsg?: string) => this.receive(ackText(this.sent.get(cmd.subscribe)!, errcode, errmsg));
  /** Answers a ping, the last one by default. */
  pong = (errcode = 0, req_id = this.pings.at(-1)!) => this.receive(ackText(req_id, errcode));
  /** Sends the tick that is due, when it is due. */
  due = () => brief(this.take({ type: "tick" }, this.connection.deadline! - this.now));

  /** As far as `subscribing`. */
  subscribing(): this {
    this.start();
    this.open();
    return this;
  }

  /** As far as `ready`. */
  ready(): this {
    this.subscribing().answer();
    expect(this.state).toBe("ready");
    return this;
  }

  /** As far as `state`, by the shortest way. */
  in(state: ConnectionStateName): this {
    if (state === "stopped") this.stop();
    else if (state !== "idle") this.start();
    if (!["idle", "dialing", "stopped"].includes(state)) this.open();
    if (state === "ready") this.answer();
    if (state === "waiting") this.close();
    if (state === "kicked") this.receive(kickText);
    if (state === "refused") this.answer(853_000);
    expect(this.state).toBe(state);
    return this;
  }

  /** From `waiting` to `ready` again, in no time but the wait's own. */
  again(): this {
    this.due();
    this.open();
    this.answer();
    expect(this.state).toBe("ready");
    return this;
  }
}

describe("the way to a subscription", () => {
  it("is idle, with nothing to do, until it is told to start", () => {
    const line = new Line();
    expect([line.state, line.connection.deadline, line.connection.pending]).toEqual(["idle", undefined, 0]);
    expect(line.tick(1e9)).toEqual([]);
    expect(line.state).toBe("idle");
  });

  it("dials on start, subscribes on the open socket at once, and is ready with the ack", () => {
    const line = new Line();
    expect(line.start()).toEqual(["idle -start-> dialing", "dial 1"]);
    expect(line.open()).toEqual(["dialing -opened-> subscribing", "send 1 aibot_subscribe"]);
    expect(line.answer()).toEqual(["subscribing -subscribed-> ready"]);
    expect(line.state).toBe("ready");
  });

  it("subscribes with the bot's id, its secret, a req_id of its own and the extra members", () => {
    const line = new Line({ subscribe: { scene: 1, plug_version: "2026.7.2", device_id: "d" } });
    line.start();
    const effects = line.take({ type: "opened", socket: 1 });
    const send = effects.find((effect) => effect.type === "send");
    expect(JSON.parse(send!.text)).toEqual({
      cmd: "aibot_subscribe",
      headers: { req_id: expect.stringMatching(/^subscribe_[0-9a-f]{16}$/) as string },
      body: { bot_id: "aibot", secret, scene: 1, plug_version: "2026.7.2", device_id: "d" },
    });
  });

  it("subscribes with two members where no others were asked for", () => {
    const line = new Line();
    line.start();
    const [, send] = line.take({ type: "opened", socket: 1 });
    expect(JSON.parse((send as { text: string }).text)).toHaveProperty("body", { bot_id: "aibot", secret });
  });

  it("uses a fresh req_id for each subscribe", () => {
    const line = new Line().subscribing();
    const first = line.sent.get(cmd.subscribe);
    line.close();
    line.due();
    line.open();
    expect(line.sent.get(cmd.subscribe)).not.toBe(first);
  });

  it("is not subscribed by an ack that belongs to another frame", () => {
    const line = new Line().subscribing();
    const effects = line.take({ type: "received", socket: 1, text: ackText("subscribe_other") });
    expect(effects).toEqual([
      { type: "notice", what: { type: "stray-ack", req_id: "subscribe_other", why: "unknown", errcode: 0 } },
    ]);
    expect(line.state).toBe("subscribing");
    line.receive(ackText("x", 846_609));
    expect(line.state).toBe("subscribing");
  });

  it("delivers a callback that comes before the ack, and still knows the ack when it comes", () => {
    const line = new Line().subscribing();
    expect(line.receive(messageText())).toEqual(["deliver message"]);
    expect(line.receive("not json")).toEqual(["notice undecodable"]);
    expect(line.answer()).toEqual(["subscribing -subscribed-> ready"]);
  });

  it("ignores frames before the socket is said to be open, and a second opened", () => {
    const line = new Line();
    line.start();
    expect(line.receive(messageText())).toEqual([]);
    line.open();
    expect(line.open()).toEqual([]);
    line.answer();
    expect(line.open()).toEqual([]);
  });

  it.each(["dialing", "subscribing", "ready"] as const)("does nothing on start while %s", (state) => {
    const line = new Line().in(state);
    expect(line.start(5)).toEqual([]);
  });

  it("skips the rest of a wait on start", () => {
    const line = new Line().ready();
    line.close();
    expect(line.start()).toEqual(["waiting -start-> dialing", "dial 2"]);
  });

  it.each([
    [853_000, "invalid bot_id or secret, hint: [1], from ip: 1.2.3.4", "credentials", "refused"],
    [93_019, "invalid bot_id", "credentials", "refused"],
    [40_001, "", "credentials", "refused"],
    [40_013, "", "credentials", "refused"],
    [45_009, "api freq out of limit", "throttled", "waiting"],
    [45_033, "api concurrent out of limit", "throttled", "waiting"],
    [846_609, "aibot websocket not subscribed", "not-subscribed", "waiting"],
    [-1, "system error", "subscribe-failed", "waiting"],
    [123_456, "what nobody knows", "subscribe-failed", "waiting"],
  ])("drops the socket when the subscribe is answered %d, and says why", (errcode, errmsg, why, to) => {
    const line = new Line().subscribing();
    const effects = line.take({
      type: "received",
      socket: 1,
      text: ackText(line.sent.get(cmd.subscribe)!, errcode, errmsg),
    });
    expect(effects).toEqual([
      { type: "drop", socket: 1, why },
      { type: "moved", from: "subscribing", to, why, detail: { code: errcode, text: errmsg } },
    ]);
  });
});

describe("the transitions", () => {
  /** For each pair of the table a history that ends with it. */
  const histories: Record<string, (line: Line) => string[]> = {
    "idle -start-> dialing": (line) => line.start(),
    "idle -stop-> stopped": (line) => line.stop(),
    "dialing -opened-> subscribing": (line) => [...line.start(), ...line.open()],
    "dialing -closed-> waiting": (line) => [...line.start(), ...line.close()],
    "dialing -dial-timeout-> waiting": (line) => [...line.start(), ...line.due()],
    "dialing -stop-> stopped": (line) => [...line.start(), ...line.stop()],
    "subscribing -subscribed-> ready": (line) => line.subscribing().answer(),
    "subscribing -closed-> waiting": (line) => line.subscribing().close(),
    "subscribing -subscribe-timeout-> waiting": (line) => line.subscribing().due(),
    "subscribing -subscribe-failed-> waiting": (line) => line.subscribing().answer(-1),
    "subscribing -throttled-> waiting": (line) => line.subscribing().answer(45_009),
    "subscribing -not-subscribed-> waiting": (line) => line.subscribing().answer(846_609),
    "subscribing -credentials-> refused": (line) => line.subscribing().answer(853_000),
    "subscribing -kicked-> kicked": (line) => line.subscribing().receive(kickText),
    "subscribing -stop-> stopped": (line) => line.subscribing().stop(),
    "ready -closed-> waiting": (line) => line.ready().close(),
    "ready -ping-timeout-> waiting": (line) => {
      line.ready();
      return [...line.due(), ...line.due(), ...line.due()];
    },
    "ready -silence-> waiting": (line) => line.ready().tick(1e6),
    "ready -not-subscribed-> waiting": (line) => line.ready().receive(ackText("x", 846_609)),
    "ready -kicked-> kicked": (line) => line.ready().receive(kickText),
    "ready -stop-> stopped": (line) => line.ready().stop(),
    "waiting -retry-> dialing": (line) => {
      line.ready().close();
      return line.due();
    },
    "waiting -start-> dialing": (line) => {
      line.ready().close();
      return line.start();
    },
    "waiting -stop-> stopped": (line) => {
      line.ready().close();
      return line.stop();
    },
    "kicked -retry-> dialing": (line) => {
      line.ready().receive(kickText);
      return line.due();
    },
    "kicked -start-> dialing": (line) => {
      line.ready().receive(kickText);
      return line.start();
    },
    "kicked -stop-> stopped": (line) => {
      line.ready().receive(kickText);
      return line.stop();
    },
    "refused -retry-> dialing": (line) => {
      line.subscribing().answer(853_000);
      return line.due();
    },
    "refused -start-> dialing": (line) => {
      line.subscribing().answer(853_000);
      return line.start();
    },
    "refused -stop-> stopped": (line) => {
      line.subscribing().answer(853_000);
      return line.stop();
    },
    "stopped -start-> dialing": (line) => [...line.stop(), ...line.start()],
  };

  it.each(Object.entries(histories))("%s happens", (transition, history) => {
    const line = new Line({ afterKick: "rejoin", credentialsRetryMs: 60_000 });
    const effects = history(line);
    expect(effects).toContain(transition);
    expect(effects.filter((effect) => effect.includes("->")).at(-1)).toBe(transition);
    expect(line.state).toBe(transition.split("-> ")[1]);
  });

  it("are these and no others", () => {
    const table = Object.entries(transitions).flatMap(([from, row]) =>
      Object.entries(row).map(([why, to]) => `${from} -${why}-> ${to}`),
    );
    expect(table.toSorted()).toEqual(Object.keys(histories).toSorted());
  });
});

describe("the deadlines", () => {
  /** A deadline, and what a tick does one millisecond before it and at it. */
  function expectDeadline(make: () => Line, ms: number, then: readonly string[]): void {
    expect(make().dueInMs).toBe(ms);
    const early = make();
    expect(early.tick(ms - 1)).toEqual([]);
    expect(early.dueInMs).toBe(1);
    expect(early.tick(1)).toEqual(then);
    expect(make().tick(ms)).toEqual(then);
  }

  const dialing = (options?: Partial<ConnectionOptions>) => () => {
    const line = new Line(options);
    line.start();
    return line;
  };

  it("gives dial and upgrade ten seconds together", () => {
    expectDeadline(dialing(), 10_000, ["drop 1 dial-timeout", "dialing -dial-timeout-> waiting"]);
  });

  it("gives the ack of the subscribe ten seconds, counted from the open socket", () => {
    const subscribing = () => {
      const line = dialing()();
      line.open(9_999);
      return line;
    };
    expectDeadline(subscribing, 10_000, ["drop 1 subscribe-timeout", "subscribing -subscribe-timeout-> waiting"]);
  });

  it("pings thirty seconds after it is ready", () => {
    expectDeadline(() => new Line().ready(), 30_000, ["send 1 ping"]);
  });

  it("sends a probe ten seconds after an unanswered ping, and gives the socket up ten seconds later", () => {
    const asked = () => {
      const line = new Line().ready();
      line.due();
      return line;
    };
    const probing = () => {
      const line = asked();
      line.due();
      return line;
    };
    expectDeadline(asked, 10_000, ["send 1 ping"]);
    expectDeadline(probing, 10_000, ["drop 1 ping-timeout", "ready -ping-timeout-> waiting"]);
  });

  it("gives the socket up after 75 seconds without a frame, whatever the pings would say", () => {
    const silence = ["drop 1 silence", "ready -silence-> waiting"];
    expect(new Line().ready().tick(75_000)).toEqual(silence);
    expect(new Line().ready().tick(74_999)).toEqual(["send 1 ping"]);
    const heard = new Line().ready();
    heard.receive(messageText(), 29_000);
    expect(heard.tick(74_999)).toEqual(["send 1 ping"]);
    expect(heard.tick(1)).toEqual(silence);
  });

  it("hears any frame as a sign of life, an undecodable one too, but only a pong answers a ping", () => {
    const line = new Line({ idleMs: 45_000 }).ready();
    line.due();
    line.receive("garbage", 9_999);
    expect(line.tick(1)).toEqual(["send 1 ping"]);
    line.receive(messageText(), 9_999);
    expect(line.tick(1)).toEqual(["drop 1 ping-timeout", "ready -ping-timeout-> waiting"]);
  });

  it("ends by silence at its own time when that comes first", () => {
    const line = new Line({ idleMs: 30_001 }).ready();
    line.due();
    expect(line.dueInMs).toBe(1);
    expect(line.tick(1)).toEqual(["drop 1 silence", "ready -silence-> waiting"]);
  });

  it("gives the ack of a request ten seconds, or what the request says", () => {
    const line = new Line().ready();
    line.request("a", "R");
    line.request("b", "S", 5_000);
    expect(line.dueInMs).toBe(5_000);
    expect(line.tick(4_999)).toEqual([]);
    expect(line.tick(1)).toEqual(["b timed-out maybe"]);
    expect(line.dueInMs).toBe(5_000);
    expect(line.tick(4_999)).toEqual([]);
    expect(line.tick(1)).toEqual(["a timed-out maybe"]);
    expect(line.dueInMs).toBe(20_000);
  });

  it("first dials again one second after a loss, to one and a half", () => {
    const closed = (random: () => number) => () => {
      const line = new Line({ random });
      line.start();
      line.close();
      return line;
    };
    expectDeadline(
      closed(() => 0),
      1_000,
      ["waiting -retry-> dialing", "dial 2"],
    );
    expectDeadline(
      closed(() => 0.5),
      1_250,
      ["waiting -retry-> dialing", "dial 2"],
    );
  });

  it("counts what came at the deadline as in time", () => {
    const opened = dialing()();
    expect(opened.open(10_000)).toEqual(["dialing -opened-> subscribing", "send 1 aibot_subscribe"]);
    opened.now += 10_000;
    expect(opened.answer()).toEqual(["subscribing -subscribed-> ready"]);
    const acked = new Line().ready();
    acked.request("a", "R", 10);
    expect(acked.receive(ackText("R"), 10)).toEqual(["a acked"]);
    const ponged = new Line().ready();
    ponged.due();
    ponged.due();
    ponged.now += 10_000;
    expect(ponged.pong()).toEqual(["pong after 10000"]);
    expect(ponged.state).toBe("ready");
    const heard = new Line().ready();
    expect(heard.receive(messageText(), 75_000)).toEqual(["deliver message", "send 1 ping"]);
  });

  it("does everything that is due in one call", () => {
    const line = new Line().ready();
    line.request("a", "R", 10);
    line.request("b", "R", 10);
    line.request("c", "S", 10);
    expect(line.tick(30_000)).toEqual(["send 1 ping", "a timed-out maybe", "send 1 b", "c timed-out maybe"]);
  });

  it("sends nothing more over a line that is over, and says of what was queued that it never went out", () => {
    const line = new Line().ready();
    line.request("a", "R");
    line.request("b", "R");
    expect(line.tick(75_000)).toEqual([
      "drop 1 silence",
      "a connection-lost maybe",
      "b connection-lost never",
      "ready -silence-> waiting",
    ]);
  });

  it("takes no request over a line that is over, though nobody has ticked", () => {
    const line = new Line().ready();
    expect(line.request("a", "R", undefined, 75_000)).toEqual([
      "drop 1 silence",
      "ready -silence-> waiting",
      "a not-ready",
    ]);
  });
});

describe("the heartbeat", () => {
  const due = (line: Line) => line.due();

  it("sends a ping with no body and a fresh req_id, thirty seconds after the one before", () => {
    const line = new Line().ready();
    const seen = new Set<string>();
    for (let i = 0; i < 20; i++) {
      const [send] = line.take({ type: "tick" }, line.dueInMs);
      const ping = JSON.parse((send as { text: string }).text) as { headers: { req_id: string } };
      expect(ping).toEqual({
        cmd: "ping",
        headers: { req_id: expect.stringMatching(/^ping_[0-9a-f]{16}$/) as string },
      });
      seen.add(ping.headers.req_id);
      line.now += 100;
      expect(line.pong()).toEqual(["pong after 100"]);
      expect(line.dueInMs).toBe(29_900);
    }
    expect(seen.size).toBe(20);
  });

  it("is content with the answer to the ping or to the probe, whichever comes, and says how long that one took", () => {
    for (const which of [0, 1]) {
      const line = new Line().ready();
      due(line);
      due(line);
      line.now += 9_000;
      expect(line.pong(0, line.pings[which])).toEqual([`pong after ${which === 0 ? 19_000 : 9_000}`]);
      expect(line.dueInMs).toBe(21_000);
      expect(line.state).toBe("ready");
    }
  });

  it("calls the second answer to a ping and its probe a stray ack", () => {
    const line = new Line().ready();
    due(line);
    due(line);
    line.pong(0, line.pings[0]);
    expect(line.pong(0, line.pings[1])).toEqual(["notice stray-ack"]);
    expect(line.dueInMs).toBe(30_000);
  });

  it("does not take another frame's ack for a pong", () => {
    const line = new Line().ready();
    due(line);
    expect(line.pong(0, "ping_other")).toEqual(["notice stray-ack"]);
    expect(line.pong(0, line.pings[0]!.slice(0, -1))).toEqual(["notice stray-ack"]);
    expect(due(line)).toEqual(["send 1 ping"]);
    expect(line.pong(0, "ping_other")).toEqual(["notice stray-ack"]);
    expect(due(line)).toEqual(["drop 1 ping-timeout", "ready -ping-timeout-> waiting"]);
  });

  it("takes an error for a miss: it probes at once, and a second error is the end", () => {
    const line = new Line().ready();
    due(line);
    const refused = line.take({ type: "received", socket: 1, text: ackText(line.pings[0]!, 45_009, "slow down") });
    expect(refused).toEqual([
      { type: "notice", what: { type: "ping-refused", errcode: 45_009, errmsg: "slow down" } },
      { type: "send", socket: 1, cmd: "ping", text: expect.stringContaining('"cmd":"ping"') as string },
    ]);
    expect(line.dueInMs).toBe(10_000);
    expect(
      line.take({ type: "received", socket: 1, text: ackText(line.pings[1]!, -1, "system error") }).slice(1),
    ).toEqual([
      { type: "drop", socket: 1, why: "ping-timeout" },
      {
        type: "moved",
        from: "ready",
        to: "waiting",
        why: "ping-timeout",
        detail: { code: -1, text: "system error" },
      },
    ]);
  });

  it("waits for the probe when the ping itself is refused late", () => {
    const line = new Line().ready();
    due(line);
    due(line);
    expect(line.pong(-1, line.pings[0])).toEqual(["notice ping-refused"]);
    expect([line.state, line.pings.length, line.dueInMs]).toEqual(["ready", 2, 10_000]);
    expect(line.pong(0)).toEqual(["pong after 0"]);
    expect(line.dueInMs).toBe(30_000);
  });

  it.each([1, 2])("gives the socket up at once when ping number %d is answered 846609", (nth) => {
    const line = new Line().ready();
    for (let i = 0; i < nth; i++) due(line);
    const effects = line.take({ type: "received", socket: 1, text: ackText(line.pings.at(-1)!, 846_609) });
    expect(brief(effects)).toEqual(["notice ping-refused", "drop 1 not-subscribed", "ready -not-subscribed-> waiting"]);
    expect(effects.at(-1)).toHaveProperty("detail", { code: 846_609, text: "no" });
  });

  it("is answered between 20 and 50 seconds after a silent drop: never later", () => {
    const line = new Line().ready();
    due(line);
    line.pong();
    const droppedAt = line.now;
    while (line.state === "ready") due(line);
    expect(line.now - droppedAt).toBe(50_000);
  });

  it("holds a line whose pings are more frequent than their time for an answer", () => {
    const line = new Line({ heartbeatMs: 1_000, pingTimeoutMs: 10_000 }).ready();
    due(line);
    line.now += 9_999;
    line.pong();
    expect(line.state).toBe("ready");
    expect(line.dueInMs).toBe(1);
    expect(due(line)).toEqual(["send 1 ping"]);
  });
});

describe("a loss", () => {
  it("has no detail where there is none to tell", () => {
    const line = new Line().ready();
    expect(line.take({ type: "tick" }, 75_000)).toStrictEqual([
      { type: "drop", socket: 1, why: "silence" },
      { type: "moved", from: "ready", to: "waiting", why: "silence" },
    ]);
  });

  it("tells the close code and the reason", () => {
    const line = new Line().ready();
    expect(line.take({ type: "closed", socket: 1, code: 1001, reason: "going away" })).toEqual([
      { type: "drop", socket: 1, why: "closed" },
      { type: "moved", from: "ready", to: "waiting", why: "closed", detail: { code: 1001, text: "going away" } },
    ]);
  });

  it("of an old socket, told when the new one is subscribed, changes nothing", () => {
    const line = new Line().ready();
    line.tick(75_000);
    line.again();
    const { deadline } = line.connection;
    expect(brief(line.take({ type: "closed", socket: 1, code: 1006, reason: "" }))).toEqual([]);
    expect(brief(line.take({ type: "received", socket: 1, text: kickText }))).toEqual([]);
    expect([line.state, line.socket, line.connection.deadline]).toEqual(["ready", 2, deadline]);
  });

  it.each([1000, 1001, 1006, 1008, 1011, 1012])("is followed by a new socket after close code %d", (code) => {
    const line = new Line().ready();
    line.take({ type: "closed", socket: 1, code, reason: "" });
    expect(line.due()).toEqual(["waiting -retry-> dialing", "dial 2"]);
    expect(line.now).toBeLessThan(1_500);
  });

  it("waits twice as long after each failure, to thirty seconds", () => {
    const line = new Line();
    line.start();
    const waits: (number | undefined)[] = [];
    for (let i = 0; i < 7; i++) {
      line.close();
      waits.push(line.dueInMs);
      line.due();
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  });

  it("makes at most six attempts in a minute when each is cut right after the ack", () => {
    const line = new Line({ random: () => 0 });
    line.subscribing().answer();
    let attempts = 1;
    for (; ; attempts++) {
      line.close(100);
      if (line.connection.deadline! > 60_000) break;
      line.again();
    }
    expect(attempts).toBe(6);
  });

  it("never gives up: after a thousand failures it still dials", () => {
    const line = new Line();
    line.start();
    for (let i = 0; i < 1_000; i++) {
      line.close();
      expect(line.dueInMs).toBeLessThanOrEqual(45_000);
      line.due();
    }
    line.open();
    expect(line.answer()).toEqual(["subscribing -subscribed-> ready"]);
  });

  it("counts attempts anew once ready has lasted a minute, not before", () => {
    for (const [ms, wait] of [
      [59_999, 2_000],
      [60_000, 1_000],
    ] as const) {
      const line = new Line({ heartbeatMs: 1e6, stableMs: 60_000 }).ready();
      line.close();
      line.again();
      line.close(ms);
      expect(line.dueInMs).toBe(wait);
    }
  });

  it("does not count anew because a socket opened, nor because nothing happened for long", () => {
    const line = new Line().subscribing();
    line.close();
    expect(line.dueInMs).toBe(1_000);
    line.due();
    line.open();
    line.close();
    expect(line.dueInMs).toBe(2_000);
    line.stop();
    line.start(1e9);
    line.close();
    expect(line.dueInMs).toBe(4_000);
  });

  it("counts anew also when a stable line ends by a stop or a kick", () => {
    for (const end of [(line: Line) => line.stop(), (line: Line) => line.receive(kickText)]) {
      const line = new Line({ heartbeatMs: 1e6, stableMs: 60_000 }).ready();
      line.close();
      line.again();
      line.now += 60_000;
      end(line);
      line.start();
      line.close();
      expect(line.dueInMs).toBe(1_000);
    }
  });

  it("waits thirty seconds and more after a throttled subscribe, to five minutes", () => {
    const line = new Line();
    line.start();
    const waits: (number | undefined)[] = [];
    for (let i = 0; i < 6; i++) {
      line.open();
      line.answer(45_009);
      waits.push(line.dueInMs);
      line.due();
    }
    expect(waits).toEqual([30_000, 60_000, 120_000, 240_000, 300_000, 300_000]);
  });

  it("counts throttled subscribes apart from lost sockets, and forgets both after a stable minute", () => {
    const line = new Line().subscribing();
    line.answer(45_009);
    line.due();
    line.close();
    expect(line.dueInMs).toBe(1_000);
    line.due();
    line.open();
    line.answer(45_009);
    expect(line.dueInMs).toBe(60_000);
    line.again();
    line.receive(messageText(), 60_000);
    line.pong();
    line.close();
    expect(line.dueInMs).toBe(1_000);
    line.due();
    line.open();
    line.answer(45_009);
    expect(line.dueInMs).toBe(30_000);
  });

  it("spreads every wait over half its length, and never below it", () => {
    const wait = (random: number, errcode: number) => {
      const line = new Line({ random: () => random, credentialsRetryMs: 100_000 }).subscribing();
      line.answer(errcode);
      return line.dueInMs;
    };
    expect([wait(0, -1), wait(0.5, -1), wait(0.999_999_9, -1)]).toEqual([1_000, 1_250, 1_500]);
    expect([wait(0, 45_009), wait(0.5, 45_009)]).toEqual([30_000, 37_500]);
    expect([wait(0, 853_000), wait(0.5, 853_000)]).toEqual([100_000, 125_000]);
  });
});

describe("refused credentials", () => {
  it("end the attempts for good", () => {
    const line = new Line().subscribing();
    expect(line.answer(853_000)).toEqual(["drop 1 credentials", "subscribing -credentials-> refused"]);
    expect(line.connection.deadline).toBeUndefined();
    expect(line.tick(1e9)).toEqual([]);
    expect(line.close()).toEqual([]);
    expect(line.start()).toEqual(["refused -start-> dialing", "dial 2"]);
  });

  it("are tried again at a steady pace where that was asked for", () => {
    const line = new Line({ credentialsRetryMs: 60_000 }).subscribing();
    for (let i = 2; i < 5; i++) {
      line.answer(853_000);
      expect(line.dueInMs).toBe(60_000);
      expect(line.due()).toEqual(["refused -retry-> dialing", `dial ${i}`]);
      line.open();
    }
  });
});

describe("a kick", () => {
  it("delivers the event, lets the socket go, and stays away", () => {
    const line = new Line().ready();
    line.request("a", "R");
    line.request("b", "R");
    expect(line.receive(kickText)).toEqual([
      "deliver event",
      "drop 1 kicked",
      "a connection-lost maybe",
      "b connection-lost never",
      "ready -kicked-> kicked",
    ]);
    expect(line.connection.deadline).toBeUndefined();
    expect(line.tick(1e9)).toEqual([]);
    expect(line.close()).toEqual([]);
    expect(line.request("c", "R")).toEqual(["c not-ready"]);
    expect(line.start()).toEqual(["kicked -start-> dialing", "dial 2"]);
  });

  it("is not any other event, known or not", () => {
    const line = new Line().ready();
    for (const name of ["enter_chat", "disconnected", "enter_check_update"])
      expect(line.receive(eventText(name))).toEqual(["deliver event"]);
    expect(line.state).toBe("ready");
  });

  const rejoining = () => new Line({ afterKick: "rejoin" }).ready();
  const kick = (line: Line, inMs = 0) => line.receive(kickText, inMs);

  it("is followed by a return after thirty seconds and more where that was asked for", () => {
    const line = rejoining();
    kick(line);
    expect(line.dueInMs).toBe(30_000);
    expect(line.due()).toEqual(["kicked -retry-> dialing", "dial 2"]);
    const late = new Line({ afterKick: "rejoin", random: () => 0.5 });
    late.subscribing();
    kick(late);
    expect(late.dueInMs).toBe(37_500);
  });

  it("is final when it comes within five minutes of the one before", () => {
    for (const [ms, deadline] of [
      [299_999, undefined],
      [300_000, 60_000],
    ] as const) {
      const line = rejoining();
      kick(line);
      const kickedAt = line.now;
      line.again();
      kick(line, kickedAt + ms - line.now);
      expect([line.state, line.dueInMs]).toEqual(["kicked", deadline]);
    }
  });

  it("keeps the next return away twice as long, to five minutes, as long as they go on", () => {
    const line = rejoining();
    const waits: (number | undefined)[] = [];
    for (let i = 0; i < 6; i++) {
      kick(line, 400_000);
      waits.push(line.dueInMs);
      line.again();
    }
    expect(waits).toEqual([30_000, 60_000, 120_000, 240_000, 300_000, 300_000]);
  });

  it("forgets the kicks before when one comes an hour after the last, not before", () => {
    for (const [ms, wait] of [
      [3_599_999, 60_000],
      [3_600_000, 30_000],
    ] as const) {
      const line = new Line({ afterKick: "rejoin", random: () => 0 }).ready();
      kick(line);
      const kickedAt = line.now;
      line.again();
      kick(line, kickedAt + ms - line.now);
      expect(line.dueInMs).toBe(wait);
    }
  });

  it("is remembered across a stop, so that an operator's restart does not wage the war anew", () => {
    const line = rejoining();
    kick(line);
    line.stop();
    line.ready();
    kick(line, 1_000);
    expect(line.connection.deadline).toBeUndefined();
  });
});

describe("846609 on an ack", () => {
  it("settles the request as refused and gives the socket up, without sending what waited behind it", () => {
    const line = new Line().ready();
    line.request("a", "R");
    line.request("b", "R");
    line.request("c", "S");
    const effects = line.take({ type: "received", socket: 1, text: ackText("R", 846_609, "not subscribed") });
    expect(brief(effects)).toEqual([
      "a refused",
      "drop 1 not-subscribed",
      "b connection-lost never",
      "c connection-lost maybe",
      "ready -not-subscribed-> waiting",
    ]);
    expect(effects.at(-1)).toHaveProperty("detail", { code: 846_609, text: "not subscribed" });
    expect(effects[0]).toHaveProperty("outcome", { type: "refused", errcode: 846_609, errmsg: "not subscribed" });
    expect(line.dueInMs).toBe(1_000);
  });

  it("gives the socket up also when nobody had asked, and when the frame had been given up", () => {
    const stray = new Line().ready();
    expect(stray.receive(ackText("X", 846_609))).toEqual([
      "notice stray-ack",
      "drop 1 not-subscribed",
      "ready -not-subscribed-> waiting",
    ]);
    const late = new Line().ready();
    late.request("a", "R", 10);
    late.tick(10);
    expect(late.receive(ackText("R", 846_609))).toEqual([
      "notice stray-ack",
      "drop 1 not-subscribed",
      "ready -not-subscribed-> waiting",
    ]);
  });

  it("makes each reconnect slower when it does not help", () => {
    const line = new Line().ready();
    const waits: (number | undefined)[] = [];
    for (let i = 0; i < 3; i++) {
      line.receive(ackText("X", 846_609));
      waits.push(line.dueInMs);
      line.again();
    }
    expect(waits).toEqual([1_000, 2_000, 4_000]);
  });

  it("is the only errcode that does", () => {
    const line = new Line().ready();
    line.request("a", "R");
    expect(line.receive(ackText("R", 846_608))).toEqual(["a refused"]);
    expect(line.receive(ackText("R", 853_000))).toEqual(["notice stray-ack"]);
    expect(line.state).toBe("ready");
  });
});

describe("requests", () => {
  it("are sent on the current socket and settled by their acks", () => {
    const line = new Line().ready();
    expect(line.request("a", "R")).toEqual(["send 1 a"]);
    expect([line.connection.pending, line.connection.lanes]).toEqual([1, 1]);
    const effects = line.take({ type: "received", socket: 1, text: ackText("R", 0, "ok", { upload_id: "u" }) });
    const outcome = { type: "acked", body: { upload_id: "u" } };
    expect(effects).toEqual([{ type: "settle", key: "a", outcome, cmd: "aibot_respond_msg", afterMs: 0 }]);
    expect([line.connection.pending, line.connection.lanes]).toEqual([0, 0]);
  });

  it("queue behind one another on a req_id, and go on after an ack, a time-out and an abandon", () => {
    const line = new Line().ready();
    for (const key of ["a", "b", "c", "d"]) line.request(key, "R", 10);
    expect(line.receive(ackText("R"))).toEqual(["a acked", "send 1 b"]);
    expect(line.tick(10)).toEqual(["b timed-out maybe", "send 1 c"]);
    expect(brief(line.take({ type: "abandon", key: "c" }))).toEqual(["c stopped maybe"]);
    expect(line.receive(ackText("R"))).toEqual(["notice stray-ack"]);
    expect(line.receive(ackText("R"))).toEqual(["notice stray-ack", "send 1 d"]);
    expect(line.receive(ackText("R", 6000))).toEqual(["d refused"]);
  });

  it.each(["idle", "dialing", "subscribing", "waiting", "kicked", "refused", "stopped"] as const)(
    "settle as not ready at once while %s, and open no second connection",
    (state) => {
      const line = new Line().in(state);
      expect(line.request("a", "R")).toEqual(["a not-ready"]);
      expect(line.connection.pending).toBe(0);
      expect(brief(line.take({ type: "abandon", key: "a" }))).toEqual([]);
    },
  );

  it("are lost with the socket, and nothing of them crosses to the next", () => {
    const line = new Line().ready();
    line.request("a", "R");
    line.request("b", "R");
    line.request("c", "S", 10);
    line.tick(10);
    expect(line.close()).toEqual([
      "drop 1 closed",
      "a connection-lost maybe",
      "b connection-lost never",
      "ready -closed-> waiting",
    ]);
    line.again();
    expect(line.request("d", "S")).toEqual(["send 2 d"]);
    expect(line.receive(ackText("S"))).toEqual(["d acked"]);
    expect(line.receive(ackText("R"))).toEqual(["notice stray-ack"]);
  });

  it.each([
    ["idle", []],
    ["dialing", ["drop 1 stop"]],
    ["subscribing", ["drop 1 stop"]],
    ["ready", ["drop 1 stop"]],
    ["waiting", []],
    ["kicked", []],
    ["refused", []],
  ] as const)("end with a stop while %s, which lets go of a socket only where there is one", (state, drop) => {
    const line = new Line().in(state);
    expect(line.stop()).toEqual([...drop, `${state} -stop-> stopped`]);
  });

  it("do not outlive a stop", () => {
    const line = new Line().ready();
    line.request("a", "R");
    line.request("b", "R");
    expect(line.stop()).toEqual(["drop 1 stop", "a stopped maybe", "b stopped never", "ready -stop-> stopped"]);
    expect([line.connection.deadline, line.connection.pending]).toEqual([undefined, 0]);
    expect(line.stop()).toEqual([]);
    expect(line.close()).toEqual([]);
    expect(line.tick(1e9)).toEqual([]);
  });

  it("may use a key again once it has settled", () => {
    const line = new Line().ready();
    line.request("a", "R");
    line.receive(ackText("R"));
    expect(line.request("a", "R")).toEqual(["send 1 a"]);
  });
});

describe("notices", () => {
  const noticesFor = (text: string): unknown[] => {
    const line = new Line().ready();
    const effects = line.take({ type: "received", socket: 1, text });
    expect(line.state).toBe("ready");
    return effects.map((effect) => (effect.type === "notice" ? effect.what : effect.type));
  };

  it("tell of a text that is no frame, and why", () => {
    expect(noticesFor("nonsense")).toEqual([{ type: "undecodable", reason: { path: "$", reason: "not JSON" } }]);
  });

  it("tell of a frame that had to be bent to be read, and it is delivered as it came", () => {
    const text = messageText("line\nbreak").replace(String.raw`\n`, "\n");
    const line = new Line().ready();
    const effects = line.take({ type: "received", socket: 1, text });
    expect(effects).toEqual([
      { type: "notice", what: { type: "bent", note: "raw control characters inside strings were escaped" } },
      { type: "deliver", push: expect.objectContaining({ kind: "message" }) as object, text },
    ]);
  });

  it("tell of an ack that settles nothing, whether it is late or unknown", () => {
    expect(noticesFor(ackText("X", 7))).toEqual([{ type: "stray-ack", req_id: "X", why: "unknown", errcode: 7 }]);
    const line = new Line().ready();
    line.request("a", "R", 10);
    line.tick(10);
    expect(line.take({ type: "received", socket: 1, text: ackText("R") })).toEqual([
      { type: "notice", what: { type: "stray-ack", req_id: "R", why: "late", errcode: 0 } },
    ]);
  });

  it("tell of a ping by the gateway and of a command nobody knows, which are not answered", () => {
    expect(noticesFor('{"cmd":"ping","headers":{"req_id":"p"}}')).toEqual([{ type: "server-ping" }]);
    expect(noticesFor('{"cmd":"aibot_new"}')).toEqual([{ type: "unknown-command", cmd: "aibot_new" }]);
  });

  it("mask the secret where an errmsg or a close reason quotes it", () => {
    const quote = `what is ${secret}? ${secret}!`;
    const masked = "what is ***? ***!";
    const line = new Line().subscribing();
    expect(
      line.take({ type: "received", socket: 1, text: ackText(line.sent.get(cmd.subscribe)!, 853_000, quote) })[1],
    ).toHaveProperty("detail.text", masked);
    line.ready().request("a", "R");
    expect(line.take({ type: "received", socket: 2, text: ackText("R", 1, quote) })[0]).toHaveProperty(
      "outcome.errmsg",
      masked,
    );
    line.due();
    expect(line.take({ type: "received", socket: 2, text: ackText(line.pings[0]!, 1, quote) })[0]).toHaveProperty(
      "what.errmsg",
      masked,
    );
    expect(line.take({ type: "closed", socket: 2, code: 1008, reason: quote })[1]).toHaveProperty(
      "detail.text",
      masked,
    );
  });
});

describe("now", () => {
  it("may be any instant of a clock, negative and fractional ones too", () => {
    for (const now of [-1e12, 0.5, Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER])
      expect(new Line().connection.handle(now, { type: "start" })).toHaveLength(2);
  });

  it.each([Number.NaN, Infinity, -Infinity, 2 ** 53, -(2 ** 53)])(
    "may not be %d, and then nothing has changed",
    (now) => {
      const { connection } = new Line();
      const wrong = () => connection.handle(now, { type: "start" });
      expect(wrong).toThrow(UsageError);
      expect(wrong).toThrow("now must be milliseconds of a clock");
      expect(wrong).toThrow(expect.objectContaining({ path: "now" }));
      expect(connection.state).toBe("idle");
    },
  );
});

describe("the options", () => {
  const make = (options: object) => () => new Connection({ ...required(), ...options });

  it.each(["botId", "secret"])("insist on %s as a non-empty string", (name) => {
    for (const value of ["", undefined, null, 7]) {
      expect(make({ [name]: value })).toThrow(UsageError);
      expect(make({ [name]: value })).toThrow(`${name} must be a non-empty string`);
      expect(make({ [name]: value })).toThrow(expect.objectContaining({ path: name }));
    }
  });

  it("insist on a source of entropy", () => {
    expect(make({ random: undefined })).toThrow("random must be a function that yields [0, 1)");
    expect(make({ random: 0.5 })).toThrow(expect.objectContaining({ path: "random" }));
  });

  const durations = [
    "heartbeatMs",
    "ackMs",
    "backoffBaseMs",
    "backoffMaxMs",
    "pingTimeoutMs",
    "idleMs",
    "dialMs",
    "subscribeMs",
    "stableMs",
    "throttleBaseMs",
    "throttleMaxMs",
    "credentialsRetryMs",
  ];

  it.each(durations)("insist on %s as a finite time of at least a millisecond", (name) => {
    for (const value of [0, 0.9, -1, Number.NaN, Infinity, "1000", null]) {
      if (value === null && name !== "credentialsRetryMs") continue;
      expect(make({ [name]: value })).toThrow(UsageError);
      expect(make({ [name]: value })).toThrow("must be a finite number of milliseconds from 1");
    }
    expect(make({ [name]: -1 })).toThrow(expect.objectContaining({ path: name }));
  });

  it.each(
    durations.filter((name) => !["idleMs", "credentialsRetryMs", "backoffMaxMs", "throttleMaxMs"].includes(name)),
  )("allow %s to be a single millisecond", (name) => {
    expect(make({ [name]: 1 })).not.toThrow();
  });

  it("take an option given as undefined for one not given", () => {
    const none = Object.fromEntries([...durations, "afterKick", "subscribe"].map((name) => [name, undefined]));
    const line = new Line(none).ready();
    expect(line.dueInMs).toBe(30_000);
    expect(line.receive(kickText)).toContain("ready -kicked-> kicked");
    expect(line.connection.deadline).toBeUndefined();
  });

  it("allow an idle time above the heartbeat only, or a quiet line would never last", () => {
    expect(make({ idleMs: 30_001 })).not.toThrow();
    expect(make({ idleMs: 30_000 })).toThrow("idleMs must be above heartbeatMs");
    expect(make({ idleMs: 30_000 })).toThrow(expect.objectContaining({ path: "idleMs" }));
  });

  it("allow no longest wait below the first", () => {
    expect(make({ backoffBaseMs: 500, backoffMaxMs: 499 })).toThrow("backoffMaxMs must not be below backoffBaseMs");
    expect(make({ backoffBaseMs: 500, backoffMaxMs: 500 })).not.toThrow();
    expect(make({ throttleBaseMs: 500, throttleMaxMs: 499 })).toThrow("throttleMaxMs must not be below throttleBaseMs");
    expect(make({ throttleBaseMs: 500, throttleMaxMs: 500 })).not.toThrow();
  });

  it("know two answers to a kick", () => {
    expect(make({ afterKick: "stop" })).not.toThrow();
    expect(make({ afterKick: "rejoin" })).not.toThrow();
    expect(make({ afterKick: "fight" })).toThrow('afterKick must be "stop" or "rejoin"');
  });

  it("try refused credentials again once a minute at most", () => {
    expect(make({ credentialsRetryMs: 59_999 })).toThrow("credentialsRetryMs must be at least 60000");
    expect(make({ credentialsRetryMs: 59_999 })).toThrow(expect.objectContaining({ path: "credentialsRetryMs" }));
    expect(make({ credentialsRetryMs: 60_000 })).not.toThrow();
  });

  it("are checked with the subscribe they make, before the first socket and without quoting the secret", () => {
    expect(make({ subscribe: { scene: 1.5 } })).toThrow(UsageError);
    expect(make({ subscribe: { scene: 1.5 } })).toThrow(expect.objectContaining({ path: "body.scene" }));
    expect(make({ subscribe: { colour: secret } })).not.toThrow(secret);
  });

  it("follow from three that set the pace", () => {
    const pace = { heartbeatMs: 600, ackMs: 200, backoffBaseMs: 20 };
    const line = new Line(pace);
    line.start();
    expect(line.dueInMs).toBe(200); // dialMs
    line.open();
    expect(line.dueInMs).toBe(200); // subscribeMs
    line.answer(45_009);
    expect(line.dueInMs).toBe(600); // throttleBaseMs
    for (let i = 0; i < 4; i++) {
      line.due();
      line.open();
      line.answer(45_009);
    }
    expect(line.dueInMs).toBe(6_000); // throttleMaxMs
    for (let i = 0; i < 6; i++) {
      line.due();
      line.close();
    }
    expect(line.dueInMs).toBe(600); // backoffMaxMs
    line.again();
    expect(line.dueInMs).toBe(600); // heartbeatMs
    line.due();
    expect(line.dueInMs).toBe(200); // pingTimeoutMs
    const silent = new Line(pace).ready();
    expect(silent.tick(1_499)).toEqual(["send 1 ping"]);
    expect(silent.tick(1)).toEqual(["drop 1 silence", "ready -silence-> waiting"]); // idleMs
    for (const [ms, wait] of [
      [1_199, 40],
      [1_200, 20],
    ] as const) {
      const unstable = new Line(pace).ready();
      unstable.close();
      unstable.again();
      unstable.close(ms); // stableMs
      expect(unstable.dueInMs).toBe(wait);
    }
  });

  it("more patience with acks is no patience with a dead line", () => {
    const line = new Line({ ackMs: 60_000 });
    line.start();
    expect(line.dueInMs).toBe(10_000); // dialMs
    line.open();
    expect(line.dueInMs).toBe(10_000); // subscribeMs
    line.answer();
    line.due();
    expect(line.dueInMs).toBe(10_000); // pingTimeoutMs
  });

  it("are what they are given as, each by itself", () => {
    const line = new Line({ dialMs: 11, subscribeMs: 12, heartbeatMs: 13, pingTimeoutMs: 14, ackMs: 15, idleMs: 900 });
    line.start();
    expect(line.dueInMs).toBe(11);
    line.open();
    expect(line.dueInMs).toBe(12);
    line.answer();
    expect(line.dueInMs).toBe(13);
    line.due();
    expect(line.dueInMs).toBe(14);
    line.pong();
    line.request("a", "R", undefined, 1);
    expect(line.tick(12)).toEqual(["send 1 ping"]);
    line.pong();
    expect(line.tick(3)).toEqual(["a timed-out maybe"]);
    const waits = (options: Partial<ConnectionOptions>, errcode: number) => {
      const refused = new Line(options).subscribing();
      refused.answer(errcode);
      const first = refused.dueInMs;
      for (let i = 0; i < 9; i++) {
        refused.due();
        refused.open();
        refused.answer(errcode);
      }
      return [first, refused.dueInMs];
    };
    expect(waits({ backoffBaseMs: 21, backoffMaxMs: 22 }, -1)).toEqual([21, 22]);
    expect(waits({ throttleBaseMs: 23, throttleMaxMs: 24 }, 45_009)).toEqual([23, 24]);
  });
});
