/**
 * A message's way through the service: from the gateway's callback over the disk to a webhook that answers 200. Beside it a
 * loop that POSTs bodies of the same size to the same receiver, as many at once, and keeps nothing.
 *
 * Gateway, service, loop and receiver are a process each; the service is the shipped program with a database on the disk.
 * First both sides take turns at their highest pace; then the service alone gets a hundred times as many messages, and its
 * memory after all of them is held against its memory after the first part.
 *
 * Switched on the mock: latencies 0; quota, subscribeRate off; maxInFlightPerUser out of the way.
 *
 *   BENCH_MESSAGES=1000000 npm run bench -- service     the whole million (40,000 by default, for its time)
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { Agent, createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { startGateway } from "@openws/mock-gateway";
import { answer, ask, hurry, next, passed, say as tell, start, stop } from "./child.ts";
import { median, say } from "./row.ts";

const rounds = Number(process.env["BENCH_ROUNDS"] ?? 5);
/** Messages of a turn. */
const turn = 3_000;
/** Turns of either side before those that count: both are compiled by then. */
const warmUp = 6;
/** Messages of the long run, and those after which its memory is first looked at. */
const many = Number(process.env["BENCH_MESSAGES"] ?? 40_000);
const few = Math.min(10_000, many / 4);
const chats = 200;
/** As many as the mock lets wait for an answer. */
const messagesOfUser = 1_000;
/** A million take their time. */
const longestMs = 180_000 + many;
/** POSTs of the loop at once: as many as the service's own limit for one webhook. */
const inFlight = 64;

interface Turn {
  readonly pace: number;
  readonly p50: number;
  readonly p99: number;
}

const main = async (): Promise<void> => {
  // All processes and threads begin with the priority of this one: none takes another's time.
  hurry();
  const folder = mkdtempSync(join(tmpdir(), "openws-bench-"));
  const receiver = await start(import.meta.filename, "receiver", "", longestMs);
  const target = await next<string>(receiver, "url");
  const load = await start(import.meta.filename, "load", "", longestMs);
  const gateway = await next<string>(load, "url");
  const loop = await start(import.meta.filename, "loop", target, longestMs);
  const service = spawn(process.execPath, ["--expose-gc", "packages/connector/src/cli.ts", "serve", "--json"], {
    cwd: new URL("..", import.meta.url),
    stdio: ["ignore", "pipe", "inherit"],
    env: {
      ...process.env,
      WECOM_BOT_ID: "bot",
      WECOM_BOT_SECRET: "x",
      WECOM_BOT_WS_URL: gateway,
      OPENWS_LISTEN: "127.0.0.1:0",
      OPENWS_DATABASE: join(folder, "openws.db"),
      OPENWS_API_KEY: "bench-key",
      OPENWS_WEBHOOK_URL: target,
      OPENWS_WEBHOOK_SECRET: "0123456789abcdef",
      LOG_LEVEL: "warn",
    },
  });
  try {
    const [line] = (await once(createInterface({ input: service.stdout }), "line")) as [string];
    if (!line.includes('"ready":true')) throw new Error(`the service said ${line}`);
    await ask(load, "subscribed");

    const sides = {
      service: (count: number) => through(receiver, count, () => ask(load, "talk", count)),
      loop: (count: number) => through(receiver, count, () => ask(loop, "post", count)),
    };
    for (let round = 0; round < warmUp; round++) for (const side of Object.values(sides)) await side(turn);
    const processes = { service, loop };
    const turns: Record<keyof typeof sides, Turn[]> = { service: [], loop: [] };
    const busy: Record<keyof typeof sides, number[]> = { service: [], loop: [] };
    for (let round = 1; round <= rounds; round++)
      for (const side of ["service", "loop"] as const) {
        const before = busyUs(processes[side]);
        const took = await sides[side](turn);
        busy[side].push((busyUs(processes[side]) - before) / turn);
        turns[side].push(took);
        process.stderr.write(
          `round ${round}, ${side}: ${Math.round(took.pace)} messages/s, p50 ${took.p50.toFixed(1)} ms, p99 ${took.p99.toFixed(1)} ms\n`,
        );
      }
    const of = (side: keyof typeof sides, what: keyof Turn): number => median(turns[side].map((each) => each[what]));
    const ratio = median(turns.service.map(({ pace }, round) => pace / turns.loop[round]!.pace));
    say({
      what: "callback → disk → webhook: messages",
      unit: "/s",
      ours: of("service", "pace"),
      theirs: of("loop", "pace"),
      against: "a bare POST loop",
      ratio,
      aim: "≥ 0.5×",
      met: ratio >= 0.5,
    });
    say({
      what: "callback → disk → webhook: processor time a message",
      unit: "µs",
      ours: median(busy.service),
      theirs: median(busy.loop),
      against: "a bare POST loop",
      ratio: median(busy.service) / median(busy.loop),
      aim: "told",
      met: true,
    });
    // One at a time, so that what is measured is the way and not the queue.
    const calm = { service: await lone(receiver, load), loop: await lone(receiver, loop) };
    for (const what of ["p50", "p99"] as const)
      say({
        what: `callback → disk → webhook: ${what} of one at a time`,
        unit: "ms",
        ours: calm.service[what],
        theirs: calm.loop[what],
        against: "a bare POST loop",
        ratio: calm.service[what] / calm.loop[what],
        aim: "told",
        met: true,
      });

    const memory = (): number => residentBytes(service);
    await sides.service(few);
    await passed(2_000);
    const before = memory();
    for (let sent = few; sent < many; sent += turn) {
      await sides.service(turn);
      if (sent % 30_000 < turn) process.stderr.write(`${sent} messages, ${(memory() / 1024 ** 2).toFixed(0)} MiB\n`);
    }
    await passed(2_000);
    const after = memory();
    say({
      what: `service: memory after ${many.toLocaleString("en")} messages`,
      unit: "MiB",
      ours: after / 1024 ** 2,
      theirs: before / 1024 ** 2,
      against: `itself after ${few.toLocaleString("en")}`,
      ratio: after / before,
      aim: "≤ 1.2×",
      met: after / before <= 1.2,
    });
  } finally {
    service.kill("SIGKILL");
    await stop(receiver, load, loop);
    rmSync(folder, { recursive: true, force: true });
  }
};

/** Lets `count` messages go, and resolves when the receiver has them all. */
const through = async (receiver: ChildProcess, count: number, begin: () => Promise<unknown>): Promise<Turn> => {
  await ask(receiver, "expect", count);
  const began = performance.now();
  const all = next<readonly number[]>(receiver, "all");
  const talking = begin();
  const latencies = (await all).toSorted((a, b) => a - b);
  await talking;
  const seconds = (performance.now() - began) / 1_000;
  return {
    pace: count / seconds,
    p50: latencies[latencies.length >> 1]!,
    p99: latencies[Math.floor(latencies.length * 0.99)]!,
  };
};

/** The way of single messages, each sent when the one before has arrived. */
const lone = async (receiver: ChildProcess, from: ChildProcess): Promise<Turn> => {
  const took: number[] = [];
  for (let nth = 0; nth < 300; nth++) {
    await ask(receiver, "expect", 1);
    const all = next<readonly number[]>(receiver, "all");
    await ask(from, "one");
    took.push(...(await all));
  }
  const sorted = took.toSorted((a, b) => a - b);
  return { pace: NaN, p50: sorted[sorted.length >> 1]!, p99: sorted[Math.floor(sorted.length * 0.99)]! };
};

/** Processor time of all threads of a process so far. As below. */
const busyUs = ({ pid }: ChildProcess): number => {
  try {
    const tasks = `/proc/${String(pid)}/task`;
    const threads = readdirSync(tasks).map((thread) => readFileSync(join(tasks, thread, "schedstat"), "utf8"));
    return threads.reduce((sum, schedstat) => sum + Number(schedstat.split(" ")[0]) / 1_000, 0);
  } catch {
    return NaN;
  }
};

/** Linux says; elsewhere there is no such figure, and the row says NaN. */
const residentBytes = ({ pid }: ChildProcess): number => {
  try {
    const [, kib = "NaN"] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${String(pid)}/status`, "utf8")) ?? [];
    return Number(kib) * 1024;
  } catch {
    return NaN;
  }
};

const body = (at: number): string =>
  `sent at ${at.toFixed(3)}: what is the weather like today, and will it last until Sunday?`;
const sentAt = (text: string): number => Number(/sent at ([\d.]+)/.exec(text)?.[1]);
/** The same clock in every process of the machine. */
const now = (): number => performance.timeOrigin + performance.now();

const receiver = async (): Promise<void> => {
  let expected = 0;
  let latencies: number[] = [];
  const server = createServer((incoming, response) => {
    let text = "";
    incoming.setEncoding("utf8");
    incoming.on("data", (chunk: string) => (text += chunk));
    incoming.on("end", () => {
      response.end();
      latencies.push(now() - sentAt(text));
      if (latencies.length === expected) tell("all", latencies);
    });
  });
  server.keepAliveTimeout = 60_000;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  answer<number>("expect", (count) => {
    expected = count;
    latencies = [];
  });
  tell("url", `http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
};

const load = async (): Promise<void> => {
  const gateway = await startGateway({
    latencyMs: 0,
    switches: { quota: false, subscribeRate: false, maxInFlightPerUser: messagesOfUser },
  });
  let number = 0;
  const speak = (): Promise<unknown> => {
    // Others take their turn before the gateway, to which nobody answers, holds a thousand messages of one of them back.
    const userid = `user${number % chats} of turn ${Math.floor(number / (chats * messagesOfUser))}`;
    number++;
    return gateway.say("bot", {
      from: { userid },
      chattype: "single",
      msgtype: "text",
      text: { content: body(now()) },
    });
  };
  answer("subscribed", () => gateway.waitForBot("bot", 20_000));
  answer("one", speak);
  answer<number>("talk", async (count) => {
    for (let sent = 0; sent < count; sent++) {
      await speak();
      // Bursts of what may be on the way, and a turn of the loop between, as frames come over a network.
      if (sent % 16 === 15) await passed(0);
    }
  });
  tell("url", gateway.url);
};

const loop = (url: string): void => {
  const agent = new Agent({ keepAlive: true, maxSockets: inFlight });
  const post = (): Promise<void> =>
    new Promise((resolve, reject) => {
      // As long as an envelope with its two signatures.
      const text = JSON.stringify({ content: body(now()), padding: "x".repeat(900) });
      const outgoing = request(url, {
        agent,
        method: "POST",
        headers: { "content-type": "application/json", "content-length": Buffer.byteLength(text) },
      });
      outgoing.on("response", (response) => {
        response.resume();
        response.on("end", resolve);
      });
      outgoing.on("error", reject);
      outgoing.end(text);
    });
  answer("one", post);
  answer<number>("post", async (count) => {
    let begun = 0;
    const work = async (): Promise<void> => {
      while (begun++ < count) await post();
    };
    await Promise.all(Array.from({ length: inFlight }, work));
  });
};

const [role, argument = ""] = process.argv.slice(2);
if (role === "receiver") await receiver();
else if (role === "load") await load();
else if (role === "loop") loop(argument);
else {
  await main();
  process.exit(0);
}
