/**
 * 10,000 subscribed bots on the mock gateway: memory a connection, pushes a second, and how late acks are.
 *
 * Three processes on loopback: this one, the server under test, and the load. The server is the mock gateway or, for
 * comparison, a bare `ws` server that parses each message and answers it with the same bytes. Rounds alternate between the
 * two, and the medians are compared. Everything is bounded in count and time.
 *
 * Switched on the mock: latencies 0; quota, subscribeRate, chatPrecondition off (a push needs no chat that spoke before).
 */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { startGateway } from "@openws/mock-gateway";
import { WebSocket, WebSocketServer } from "ws";
import { type Memory, answer, ask, cpuMicros, hurry, memory, next, passed, say as tell, start, stop } from "./child.ts";
import { median, say } from "./row.ts";

const bots = Number(process.env["BENCH_BOTS"] ?? 10_000);
const first = bots / 10;
const rounds = Number(process.env["BENCH_ROUNDS"] ?? 3);
const inFlight = 64;
const warmUpMs = 2_000;
const measureMs = 5_000;

type Side = "gateway" | "bare";

/** What a load process found. */
interface Load {
  /** All of them, those of the warm-up too. */
  readonly pushes: number;
  readonly pushesPerSecond: number;
  readonly p50: number;
  readonly p99: number;
}

const main = async (): Promise<void> => {
  const measured: Record<Side, { bytes: number[]; cpu: number[]; loads: Load[] }> = {
    gateway: { bytes: [], cpu: [], loads: [] },
    bare: { bytes: [], cpu: [], loads: [] },
  };
  for (let round = 1; round <= rounds; round++)
    for (const side of ["gateway", "bare"] as const) {
      const server = await start(import.meta.filename, "serve", side);
      const url = await next<string>(server, "url");
      const load = await start(import.meta.filename, "load", url);
      await next(load, "up");
      // What the first tenth costs is not theirs alone: the heap's young generation, compiled code, tables that are bounded.
      await ask(load, "first");
      const before = await ask<Memory>(server, "memory");
      await ask(load, "others");
      const after = await ask<Memory>(server, "memory");
      const idle = await ask<number>(server, "cpu");
      const found = await ask<Load>(load, "push");
      const cpu = ((await ask<number>(server, "cpu")) - idle) / found.pushes;
      const [bytes, held] = [after.rss - before.rss, after.held - before.held].map((grown) => grown / (bots - first));
      measured[side].bytes.push(bytes!);
      measured[side].cpu.push(cpu);
      measured[side].loads.push(found);
      process.stderr.write(
        `round ${round}, ${side}: ${Math.round(bytes!)} bytes resident a connection (${Math.round(held!)} held), ` +
          `${Math.round(found.pushesPerSecond)} pushes/s of ${cpu.toFixed(1)} µs CPU, ack p50 ${found.p50.toFixed(2)} ms, p99 ${found.p99.toFixed(2)} ms\n`,
      );
      await stop(load, server);
    }

  const { gateway, bare } = measured;
  const memory = [median(gateway.bytes) / 1024, median(bare.bytes) / 1024] as const;
  const pace = [gateway, bare].map(({ loads }) => median(loads.map(({ pushesPerSecond }) => pushesPerSecond)));
  const p99 = median(gateway.loads.map((load) => load.p99));
  const [ours, theirs] = pace as [number, number];
  const against = "a bare ws server";
  const what = `${bots.toLocaleString("en")} bots on the mock`;
  say({
    what: `${what}: memory a connection`,
    unit: "KiB",
    ours: memory[0],
    theirs: memory[1],
    against,
    ratio: memory[0] / memory[1],
    aim: "≤ 2×",
    met: memory[0] <= 2 * memory[1],
  });
  say({
    what: `${what}: pushes, ${inFlight} in flight`,
    unit: "/s",
    ours,
    theirs,
    against,
    ratio: ours / theirs,
    aim: "≥ 0.7×",
    met: ours >= 0.7 * theirs,
  });
  const [cpu, bareCpu] = [median(gateway.cpu), median(bare.cpu)];
  // What a busy machine does not blur: a push takes so much of a processor, whoever else wants it.
  say({
    what: `${what}: CPU time of the server a push`,
    unit: "µs",
    ours: cpu,
    theirs: bareCpu,
    against,
    ratio: cpu / bareCpu,
    aim: "≤ 1.43×",
    met: cpu <= bareCpu / 0.7,
  });
  say({
    what: `${what}: p99 of an ack`,
    unit: "ms",
    ours: p99,
    theirs: median(bare.loads.map((load) => load.p99)),
    against,
    aim: "≤ 20 ms",
    met: p99 <= 20,
  });
};

// ---------------------------------------------------------------------------------------------------------------------
// The server

const serve = async (side: Side): Promise<void> => {
  hurry();
  const url = side === "gateway" ? await serveGateway() : await serveBare();
  answer("memory", memory);
  answer("cpu", cpuMicros);
  tell("url", url);
};

const serveGateway = async (): Promise<string> => {
  const { url } = await startGateway({
    latencyMs: 0,
    switches: { quota: "off", subscribeRate: "off", chatPrecondition: "off" },
  });
  return url;
};

const serveBare = async (): Promise<string> => {
  const server = createServer();
  new WebSocketServer({ server, perMessageDeflate: false }).on("connection", (ws) => {
    ws.on("message", (data: Buffer) => {
      const { headers } = JSON.parse(data.toString()) as { headers: { req_id: string } };
      ws.send(JSON.stringify({ headers: { req_id: headers.req_id }, errcode: 0, errmsg: "ok" }));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
};

// ---------------------------------------------------------------------------------------------------------------------
// The load

const load = async (url: string): Promise<void> => {
  hurry();
  const sockets: WebSocket[] = [];
  let answered: ((n: number) => void) | undefined;
  const join = async (n: number): Promise<void> => {
    const ws = new WebSocket(url, { perMessageDeflate: false, skipUTF8Validation: true });
    await once(ws, "open");
    ws.send(
      JSON.stringify({
        cmd: "aibot_subscribe",
        headers: { req_id: `s${n}` },
        body: { bot_id: `bot${n}`, secret: "x" },
      }),
    );
    await once(ws, "message");
    ws.on("message", () => answered?.(n));
    sockets[n] = ws;
  };
  const joinAll = async (from: number, to: number): Promise<boolean> => {
    for (let n = from; n < to; n += 100)
      await Promise.all(Array.from({ length: Math.min(100, to - n) }, (_, offset) => join(n + offset)));
    return true;
  };
  answer("first", () => joinAll(0, first));
  answer("others", () => joinAll(first, bots));
  answer("push", async (): Promise<Load> => {
    const sentAt = new Float64Array(bots);
    const waits: number[] = [];
    let turn = 0;
    let pushes = 0;
    let over = false;
    let measuringSince = Infinity;
    const push = (): void => {
      // A stride that is no divisor of the count visits every bot before it comes back to one.
      turn = (turn + 7_919) % bots;
      pushes++;
      const n = turn;
      sentAt[n] = performance.now();
      sockets[n]!.send(
        `{"cmd":"aibot_send_msg","headers":{"req_id":"p${pushes}"},"body":{"chatid":"user${n % 100}","chat_type":1,"msgtype":"markdown","markdown":{"content":"A push of a usual length, in **Markdown**."}}}`,
      );
    };
    answered = (n) => {
      const now = performance.now();
      if (sentAt[n]! >= measuringSince) waits.push(now - sentAt[n]!);
      if (!over) push();
    };
    for (let n = 0; n < inFlight; n++) push();
    await passed(warmUpMs);
    measuringSince = performance.now();
    await passed(measureMs);
    over = true;
    const seconds = (performance.now() - measuringSince) / 1000;
    const sorted = waits.toSorted((a, b) => a - b);
    const at = (share: number): number => sorted[Math.floor(sorted.length * share)] ?? Infinity;
    return { pushes, pushesPerSecond: sorted.length / seconds, p50: at(0.5), p99: at(0.99) };
  });
  tell("up");
};

const [role, argument] = process.argv.slice(2);
if (role === "serve") await serve(argument as Side);
else if (role === "load") await load(argument!);
else {
  await main();
  process.exit(0);
}
