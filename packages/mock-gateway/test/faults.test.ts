import { once } from "node:events";
import { connect } from "node:net";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { Fault, faultTable, readFault, type FaultKind } from "../src/faults.ts";
import { startGateway } from "../src/index.ts";
import { faultsMarkdown } from "../tools/faults-md.ts";
import { Bench, type Line } from "./bench.ts";
import { Client } from "./client.ts";
import { including } from "./wire.ts";

const kinds = Object.keys(faultTable) as FaultKind[];
const fine = including({ errcode: 0 });
const refusedWith = (errcode: number) => including({ errcode });
const callbacks = (line: Line) => line.frames.filter(({ cmd }) => cmd === "aibot_msg_callback");

const ready = (spec?: string, latency = 0) => {
  const bench = new Bench({ switches: { ackLatencyMs: latency, subscribeLatencyMs: latency, maxInFlightPerUser: 0 } });
  const line = bench.subscribe(1);
  bench.say("hello");
  const reqId = line.callback.headers.req_id;
  line.fresh();
  const id = spec === undefined ? "" : bench.arm(spec);
  return { bench, line, reqId, id };
};
const stream = (reqId: string, content: string, id = "s") => ({
  cmd: "aibot_respond_msg",
  headers: { req_id: reqId },
  body: { msgtype: "stream", stream: { id, finish: false, content } },
});
const push = {
  cmd: "aibot_send_msg",
  body: { chatid: "zhangsan", chat_type: 1, msgtype: "markdown", markdown: { content: "x" } },
};

/** What each kind's own example does: one entry a kind, or this does not compile. Those on real sockets are below. */
const shown: Record<FaultKind, ((spec: string) => void) | "on the wire"> = {
  "ack-drop": (spec) => {
    const bench = new Bench({ switches: { subscribeLatencyMs: 0 } });
    bench.arm(spec);
    const line = bench.subscribe(1);
    expect(line.frames).toEqual([]);
    expect(bench.world.bot("bot")).toMatchObject({ state: "subscribed" });
  },
  "ack-delay": (spec) => {
    const { bench, line, reqId } = ready(spec);
    line.send(stream(reqId, "1"));
    line.send({ cmd: "ping" });
    expect(line.fresh()).toHaveLength(1);
    bench.pass(6000);
    expect(line.fresh()).toEqual([including({ headers: { req_id: reqId } })]);
  },
  "ack-duplicate": (spec) => {
    const { line, reqId } = ready(spec);
    line.send(stream(reqId, "1"));
    expect(line.fresh()).toEqual([fine, fine]);
  },
  "ack-swap": (spec) => {
    const { line } = ready(spec);
    const first = line.send(push);
    const second = line.send({ cmd: "ping" });
    expect(line.fresh().map(({ headers }) => headers.req_id)).toEqual([second, first]);
  },
  "ack-stray": (spec) => {
    const bench = new Bench({ switches: { subscribeLatencyMs: 0 } });
    bench.arm(spec);
    const [stray, real] = bench.subscribe(1).frames;
    expect(stray!.headers.req_id).not.toBe(real!.headers.req_id);
    expect(stray).toEqual(fine);
  },
  "ack-bare": (spec) => {
    const { line } = ready(spec);
    const reqId = line.send({ cmd: "ping" });
    expect(line.fresh()).toEqual([{ headers: { req_id: reqId } }]);
  },
  errcode: (spec) => {
    const { line, reqId, bench } = ready(spec);
    line.send(stream(reqId, "one"));
    line.send(stream(reqId, "two"));
    line.send(stream(reqId, "three"));
    const codes = line.fresh().map(({ errcode }) => errcode);
    expect(codes).toEqual([0, 846608, 0]);
    expect(bench.world.chat("bot", "zhangsan")!.items.at(-1)).toMatchObject({ frames: 2, content: "three" });
  },
  "callback-before-ack": (spec) => {
    const bench = new Bench();
    bench.arm(spec);
    const frames = bench.subscribe(1).frames;
    expect(frames.map(({ cmd }) => cmd)).toEqual(["aibot_msg_callback", undefined]);
    expect(frames[0]!.body.text.content).toBe("early");
  },
  "callback-reuse-req-id": (spec) => {
    const { bench, line } = ready(spec);
    const pinged = line.send({ cmd: "ping" });
    bench.say("again");
    expect(line.callback.headers.req_id).toBe(pinged);
    expect(line.stream(pinged, "t", "answer", true)).toEqual(fine);
  },
  "odd-frame": (spec) => {
    const { bench, line } = ready(spec);
    bench.say("odd");
    const text = line.texts.at(-1)!;
    expect(() => JSON.parse(text) as unknown).toThrow(SyntaxError);
    for (const raw of ["\t", "\n", "\r", "\u001b", "\u0000"]) expect(text).toContain(raw);
  },
  redeliver: (spec) => {
    const { bench, line } = ready(spec);
    bench.say("twice");
    const { headers, body } = line.callback;
    expect(callbacks(line)).toHaveLength(2);
    bench.handle({ type: "closed", connection: 1 });
    const [again] = callbacks(bench.subscribe(2));
    expect(again!.body.msgid).toBe(body.msgid);
    expect(again!.headers.req_id).not.toBe(headers.req_id);
  },
  burst: (spec) => {
    const { line } = ready(spec);
    expect(line.fresh()).toHaveLength(100);
    expect(new Set(callbacks(line).map(({ body }) => body.msgid)).size).toBe(101);
  },
  throttle: (spec) => {
    const { bench, line } = ready(spec);
    expect(line.ask(push)).toEqual(refusedWith(846607));
    expect(line.ask({ cmd: "ping" })).toEqual(fine);
    expect(line.ask(push)).toEqual(refusedWith(846607));
    bench.pass(10_000);
    expect(line.ask(push)).toEqual(fine);
  },
  forget: (spec) => {
    const { bench, line } = ready(spec);
    expect(line.ask({ cmd: "ping" })).toEqual(fine);
    expect(line.ask(push)).toEqual(refusedWith(846609));
    bench.say("lost");
    expect(bench.lastAnswer).toMatchObject({ told: { delivered: false } });
    line.ask({ cmd: "aibot_subscribe", body: { bot_id: "bot", secret: "secret" } });
    expect(line.ask(push)).toEqual(fine);
  },
  "half-alive": (spec) => {
    const { bench, line } = ready(spec);
    expect(line.ask({ cmd: "ping" })).toEqual(fine);
    expect(line.ask(push)).toEqual(fine);
    bench.say("unheard");
    expect(bench.lastAnswer).toMatchObject({ told: { delivered: false } });
    line.ask({ cmd: "aibot_subscribe", body: { bot_id: "bot", secret: "secret" } });
    bench.say("heard");
    expect(line.callback.body.text.content).toBe("heard");
  },
  kick: (spec) => {
    const { bench, line } = ready(spec);
    expect(line.callback.body.event.eventtype).toBe("disconnected_event");
    bench.pass(1999);
    expect(line.ended).toBeUndefined();
    bench.pass(1);
    expect(line.ended).toBe("reset");
  },
  down: (spec) => {
    const { bench, line } = ready(spec);
    expect(line.ended).toBe("reset");
    expect(bench.world.upgrade(bench.now)).toEqual({ type: "cut" });
    expect(bench.world.upgrade(bench.now + 14_999)).toEqual({ type: "cut" });
    expect(bench.world.upgrade(bench.now + 15_000)).toEqual({ type: "accept", stallMs: 0 });
  },
  upload: (spec) => {
    const { line } = ready(spec);
    const init = {
      cmd: "aibot_upload_media_init",
      body: { type: "file", filename: "a", total_size: 6, total_chunks: 1 },
    };
    const { upload_id } = line.ask(init).body;
    const chunk = { cmd: "aibot_upload_media_chunk", body: { upload_id, chunk_index: 0, base64_data: "aGVsbG8h" } };
    const finish = { cmd: "aibot_upload_media_finish", body: { upload_id } };
    expect(line.ask(chunk)).toEqual(fine);
    expect(line.ask(finish)).toEqual(refusedWith(40058));
    expect(line.ask(chunk)).toEqual(fine);
    expect(line.ask(finish)).toEqual(fine);
  },
  media: (spec) => {
    const { bench, line } = ready(spec);
    const file = { from: { userid: "zhangsan" }, msgtype: "file" };
    bench.handle({ type: "say", bot: "bot", message: file, call: 1 });
    const token = new URL(line.callback.body.file.url).pathname.split("/").at(-1)!;
    expect(bench.world.download(bench.now, token).headers["content-disposition"]).toBe(
      'attachment; filename="100%.txt"',
    );
    expect(bench.world.download(bench.now, token).headers["content-disposition"]).toBe(
      'attachment; filename="sample.txt"',
    );
  },
  "clock-jump": (spec) => {
    const { bench, line } = ready(spec);
    expect(bench.world.clock.offsetMs).toBe(3_600_000);
    bench.arm("clock-jump:ms=-7200000");
    expect(bench.world.clock.offsetMs).toBe(-3_600_000);
    bench.say("an hour ago");
    expect(line.callback.body.text.content).toBe("an hour ago");
    expect(line.ended).toBeUndefined();
  },
  "half-open": (spec) => {
    const { bench, line } = ready(spec);
    expect(line.ended).toBe("half-open");
    line.send({ cmd: "ping" });
    bench.pass(1000);
    expect(line.fresh()).toEqual([]);
    bench.pass(15 * 60_000);
    expect(bench.world.connections()).toEqual([]);
  },
  "nat-drop": (spec) => {
    const { bench, line } = ready(spec);
    expect(bench.effects.at(-1)).toEqual(expect.anything());
    expect(bench.effects.find(({ type }) => type === "half-open")).toMatchObject({ reads: true });
    line.send({ cmd: "ping" });
    bench.pass(1000);
    expect(line.fresh()).toEqual([]);
  },
  reset: (spec) => {
    const { line, reqId } = ready(spec);
    line.send(stream(reqId, "1"));
    expect(line.ended).toBeUndefined();
    line.send(stream(reqId, "2"));
    expect(line.ended).toBe("reset");
  },
  close: (spec) => {
    const { bench } = ready(spec);
    expect(bench.effects.find(({ type }) => type === "close")).toMatchObject({ code: 1012 });
  },
  ping: "on the wire",
  pong: "on the wire",
  handshake: "on the wire",
  slow: "on the wire",
  split: "on the wire",
  binary: "on the wire",
  oversize: (spec) => {
    const { bench, line } = ready(spec);
    bench.say("large");
    expect(Buffer.byteLength(line.texts.at(-1)!)).toBeGreaterThanOrEqual(1_572_864);
    expect(line.callback.body.text.content).toBe("large");
  },
};

describe("the example of each kind", () => {
  for (const kind of kinds) {
    const show = shown[kind];
    if (show !== "on the wire")
      test(`${kind}: ${faultTable[kind].what}`, () => {
        show(faultTable[kind].example);
      });
  }

  test("FAULTS.md is what the table says; run node tools/faults-md.ts when it is not", () => {
    expect(readFileSync(new URL("../FAULTS.md", import.meta.url), "utf8")).toBe(faultsMarkdown());
  });
});

describe("on real sockets", () => {
  const start = () => startGateway({ latencyMs: 0, switches: { maxInFlightPerUser: "off" } });

  test("pong: masked is a protocol error for a strict client, drop is silence, late is late", async () => {
    await using gateway = await start();
    const client = await Client.subscribe(gateway.url);
    const pong = (): Promise<"pong" | "nothing"> =>
      new Promise((resolve) => {
        client.ws.once("pong", () => resolve("pong"));
        client.ws.ping();
        setTimeout(() => resolve("nothing"), 150);
      });
    expect(await pong()).toBe("pong");
    await gateway.addFault("pong:what=drop");
    expect(await pong()).toBe("nothing");
    await gateway.addFault("pong:what=late,ms=300");
    expect(await pong()).toBe("nothing");
    await gateway.addFault(faultTable.pong.example);
    client.ws.ping();
    expect(await client.closed).toBe(1006);
    const errors = gateway.log().filter(({ text }) => text.startsWith("closed"));
    expect(errors).toHaveLength(1);
  });

  test("ping: the client's pong is noted in the log", async () => {
    await using gateway = await start();
    const client = await Client.subscribe(gateway.url);
    const pinged = once(client.ws, "ping");
    await gateway.addFault(faultTable.ping.example);
    await pinged;
    await expect.poll(() => gateway.log().filter(({ text }) => text === "pong")).toHaveLength(1);
  });

  test("handshake: refused with a status so often, then accepted; stalled, then accepted", async () => {
    await using gateway = await start();
    await gateway.addFault(faultTable.handshake.example);
    await expect(Client.open(gateway.url)).rejects.toThrow(/502/);
    await expect(Client.open(gateway.url)).rejects.toThrow(/502/);
    (await Client.open(gateway.url)).close();
    await gateway.addFault("handshake:stallMs=200");
    const before = performance.now();
    (await Client.open(gateway.url)).close();
    expect(performance.now() - before).toBeGreaterThan(190);
  });

  test("down: sockets are reset and upgrades cut, and the API stays", async () => {
    await using gateway = await start();
    const client = await Client.subscribe(gateway.url);
    await gateway.addFault("down:forMs=60000");
    expect(await client.closed).toBe(1006);
    await expect(Client.open(gateway.url)).rejects.toThrow();
    expect((await fetch(`${gateway.apiUrl}/faults`)).status).toBe(200);
    await gateway.removeFault(gateway.faults()[0]!.id);
    (await Client.open(gateway.url)).close();
  });

  test("down with how=refuse: nobody listens, and later the same port is there again", async () => {
    await using gateway = await start();
    const client = await Client.subscribe(gateway.url);
    const refused = async (): Promise<string | undefined> => {
      const socket = connect(Number(new URL(gateway.url).port), "127.0.0.1");
      const { code } = (await once(socket, "error"))[0] as NodeJS.ErrnoException;
      return code;
    };
    const { id } = await gateway.addFault("down:how=refuse,forMs=600000");
    expect(await client.closed).toBe(1006);
    expect(await refused()).toBe("ECONNREFUSED");
    await gateway.removeFault(id);
    await expect
      .poll(() =>
        Client.open(gateway.url).then(
          (again) => again.close(),
          () => "not yet",
        ),
      )
      .toBeUndefined();
    await gateway.addFault("down:how=refuse,forMs=600000");
    expect(await refused()).toBe("ECONNREFUSED");
    gateway.reset();
    await expect
      .poll(() =>
        fetch(`${gateway.apiUrl}/bots`).then(
          ({ status }) => status,
          () => 0,
        ),
      )
      .toBe(200);
    await gateway.addFault("down:how=refuse,forMs=100");
    expect(await refused()).toBe("ECONNREFUSED");
    await expect
      .poll(() =>
        fetch(`${gateway.apiUrl}/bots`).then(
          ({ status }) => status,
          () => 0,
        ),
      )
      .toBe(200);
  });

  test("split, slow and binary frames arrive whole and in order, with what is behind them", async () => {
    await using gateway = await start();
    const client = await Client.subscribe(gateway.url);
    const kindsOfFrames: boolean[] = [];
    client.ws.on("message", (_data, isBinary) => kindsOfFrames.push(isBinary));
    for (const spec of [
      "split:what=fragments",
      "split:what=bytes",
      "split:what=coalesced",
      "slow:bytesPerSecond=4000",
      "binary:cmd=aibot_msg_callback",
    ])
      await gateway.addFault(`${spec}${spec.includes("cmd=") ? "" : ",cmd=aibot_msg_callback"}`);
    const said = ["one", "two 中文 😀", "three"];
    for (const text of said) await gateway.say("bot", text);
    const heard: string[] = [];
    for (const _ of said) heard.push((await client.next()).body.text.content);
    expect(heard).toEqual(said);
    expect(kindsOfFrames.filter(Boolean)).toHaveLength(1);
    client.close();
  });

  test("media: slow, plain, html, oversized and badly padded bodies", async () => {
    await using gateway = await start();
    const client = await Client.subscribe(gateway.url);
    await gateway.say("bot", {
      from: { userid: "u" },
      msgtype: "file",
      file: { base64: Buffer.from("clear").toString("base64") },
    });
    const { url } = (await client.next()).body.file;
    const get = async (spec: string) => {
      await gateway.addFault(spec);
      const response = await fetch(url);
      return { status: response.status, body: Buffer.from(await response.arrayBuffer()) };
    };
    expect((await get("media:what=missing")).status).toBe(404);
    expect((await get("media:what=expired")).status).toBe(403);
    expect((await get("media:what=plain")).body.toString()).toBe("clear");
    expect((await get("media:what=html")).body.toString()).toContain("<h1>");
    expect((await get("media:what=oversized,bytes=100000")).body.length).toBeGreaterThan(100_000);
    expect((await get("media:what=bad-padding")).body.length).toBe(32);
    const before = performance.now();
    await get("media:what=slow,ms=200");
    expect(performance.now() - before).toBeGreaterThan(190);
    client.close();
  });

  test("a half-open gateway neither reads nor answers, and forgets nothing of its other clients", async () => {
    await using gateway = await start();
    const deaf = await Client.subscribe(gateway.url, "deaf", "s");
    const other = await Client.echo(gateway.url, "other", "s");
    await gateway.addFault("half-open:bot=deaf");
    deaf.send({ cmd: "ping", headers: { req_id: "p" } });
    deaf.ws.ping();
    expect(await gateway.say("other", "hi", { waitMs: 5000 })).toMatchObject({ reply: "echo: hi" });
    expect(deaf.frames).toHaveLength(1);
    expect(deaf.ws.readyState).toBe(WebSocket.OPEN);
    deaf.close();
    other.close();
  });

  test("the API lists the kinds with schemas, arms, counts and removes; a used-up fault is gone", async () => {
    await using gateway = await start();
    const client = await Client.subscribe(gateway.url);
    const faults = `${gateway.apiUrl}/faults`;
    const listed = (await (await fetch(`${faults}/kinds`)).json()) as {
      kind: string;
      example: unknown;
      schema: object;
    }[];
    expect(listed.map(({ kind }) => kind)).toEqual(kinds);
    for (const { example } of listed) expect(Fault.safeParse(example).success).toBe(true);
    const post = (body: unknown) => fetch(faults, { method: "POST", body: JSON.stringify(body) });
    const made = await post({ kind: "ack-drop", cmd: "ping", times: 2 });
    expect(made.status).toBe(201);
    const { id } = (await made.json()) as { id: string };
    client.send({ cmd: "ping", headers: { req_id: "p1" } });
    await expect
      .poll(async () => (await (await fetch(faults)).json()) as unknown)
      .toEqual([{ id, kind: "ack-drop", cmd: "ping", times: 2, used: 1 }]);
    expect((await fetch(`${faults}/${id}`, { method: "DELETE" })).status).toBe(204);
    expect((await fetch(`${faults}/${id}`, { method: "DELETE" })).status).toBe(404);
    expect((await post({ kind: "earthquake" })).status).toBe(400);
    expect((await post({ kind: "errcode" })).status).toBe(400);
    client.close();
  });
});

describe("when and how often", () => {
  test("bot, cmd, nth, times, chance and forMs narrow a fault, and equal seeds fall alike", () => {
    const { bench, line } = ready("errcode:errcode=-1,cmd=aibot_send_msg,nth=2,times=2");
    const codes = () => [1, 2, 3, 4].map(() => line.ask(push).errcode);
    expect(codes()).toEqual([0, -1, -1, 0]);
    bench.arm("errcode:errcode=-1,bot=other,times=100");
    expect(codes()).toEqual([0, 0, 0, 0]);
    bench.arm("errcode:errcode=-1,cmd=aibot_send_msg,forMs=1500");
    expect(codes()).toEqual([-1, -1, 0, 0]);
    const fall = (seed: number) => {
      const other = new Bench({ seed, switches: { ackLatencyMs: 0, quota: "off" } });
      const next = other.subscribe(1);
      other.say("hi");
      other.arm("errcode:errcode=-1,cmd=aibot_send_msg,chance=0.5,times=1000");
      return Array.from({ length: 60 }, () => next.ask(push).errcode).join();
    };
    expect(fall(1)).toBe(fall(1));
    expect(fall(1)).not.toBe(fall(2));
    expect(fall(3)).toMatch(/-1/);
    expect(fall(3)).toMatch(/0/);
  });

  test("a fault can be removed while somebody waits on what it holds back, and the log names it", () => {
    const { bench, line, reqId, id } = ready("ack-drop:cmd=aibot_respond_msg,times=100");
    line.send(stream(reqId, "1"));
    bench.handle({ type: "disarm", fault: id, call: 7 });
    line.send(stream(reqId, "2"));
    expect(line.fresh()).toEqual([fine]);
    const touched = bench.log.filter(({ fault }) => fault === id);
    expect(touched).toHaveLength(1);
    expect(touched[0]).toMatchObject({ dir: "in", reqId });
    bench.handle({ type: "disarm", fault: id, call: 8 });
    expect(bench.lastAnswer).toMatchObject({ type: "refused", status: 404 });
  });

  test("a strike waits for a bot that is not there yet, and a held ack leaves by itself when no other comes", () => {
    const bench = new Bench();
    bench.arm("reset:bot=bot");
    const line = bench.subscribe(1);
    expect(line.frames).toEqual([fine]);
    expect(line.ended).toBe("reset");
    const { bench: other, line: swapped } = ready("ack-swap");
    swapped.send({ cmd: "ping" });
    expect(swapped.fresh()).toEqual([]);
    other.pass(5000);
    expect(swapped.fresh()).toEqual([fine]);
  });

  test("odd frames of every kind leave the real callback readable behind them", () => {
    for (const what of [
      "unknown-field",
      "unknown-cmd",
      "unknown-msgtype",
      "unknown-event",
      "missing-field",
      "missing-chattype",
      "huge-integer",
      "gateway-ping",
      "not-json",
      "null",
      "array",
    ]) {
      const { bench, line } = ready(`odd-frame:what=${what}`);
      bench.say("real");
      const text = line.texts.at(-1)!;
      expect(JSON.parse(text)).toMatchObject({ cmd: "aibot_msg_callback", body: { text: { content: "real" } } });
    }
  });

  test("a spec that will not do is refused with one sentence", () => {
    expect(() => readFault("earthquake")).toThrow(/there is no fault "earthquake"; the kinds are ack-drop/);
    expect(() => readFault("errcode")).toThrow(/errcode/);
    expect(() => readFault("errcode:errcode=846609,cmd=ping,tims=2")).toThrow(/tims/);
    expect(() => readFault("ack-drop:times")).toThrow(/must be key=value/);
    expect(() => readFault("media:what=odd-name,name=a:b.txt")).not.toThrow();
  });

  test("a thousand armed faults are the most; the oldest go", () => {
    const bench = new Bench({ log: false });
    for (let n = 0; n < 3000; n++) bench.arm("ack-drop:bot=nobody");
    expect(bench.world.sizes.faults).toBeLessThanOrEqual(1125);
  });
});
