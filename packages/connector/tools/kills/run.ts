/**
 * Kills the connector again and again under load, and afterwards accounts for every message.
 *
 *   node packages/connector/tools/kills/run.ts [--kills 30] [--seed 1] [--rate 200] [--chats 60] [--without inbox|outbox]
 *
 * Users of the mock gateway speak all the time, a receiver of webhooks fails half of the time and answers some messages in
 * its response, and somebody pushes through the API. Half of the kills come at named points of the code, the others at a
 * random instant, every second of them while the gateway is away: then what was accepted with 202 waits for a line, and
 * nobody but the store knows of it. The wire has no acknowledgement for callbacks: what was sent to the socket less than 250 ms before a kill
 * may be in nobody's hands, and is counted apart.
 *
 * Exit code 0: all accounted for. 1: something was lost, out of order, or without a line in the ledger; it is printed.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type Gateway, type SomeSwitches, startGateway } from "@openws/mock-gateway";
import { verifyWebhook } from "../../src/service/signature.ts";
import type { VictimOptions } from "./victim.ts";

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "30" },
    seed: { type: "string", default: "1" },
    rate: { type: "string", default: "200" },
    chats: { type: "string", default: "60" },
    without: { type: "string" },
    verbose: { type: "boolean", default: false },
  },
});
const kills = Number(values.kills);
const rate = Number(values.rate);
const chats = Number(values.chats);
const without = values.without === "inbox" || values.without === "outbox" ? values.without : undefined;

/** Where a victim can be told to die. */
const points = ["after-read", "before-commit", "after-commit", "before-send", "after-send", "during-delivery"] as const;
/** How long the gateway has been away when a process is killed for it, and how long it is away in all. */
const awayMs = { atKill: 400, inAll: 1_000 };
/** What reached the socket this long before a kill must not be lost. */
const graceMs = 250;
/** The mock is changed where a limit of WeCom's would limit the load instead. */
const switches: SomeSwitches = {
  quota: false,
  subscribeRate: false,
  chatPrecondition: false,
  maxInFlightPerUser: 1_000,
  subscribeLatencyMs: 5,
  ackLatencyMs: 20,
  ackJitterMs: 0,
};
const apiKey = "key-of-the-kill-program";
const webhookSecret = "secret-of-the-kill-program";
const bot = "victim";

/** mulberry32: enough to choose instants, and the same for the same seed. */
let state = Number(values.seed) >>> 0;
function random(): number {
  state = (state + 0x6d2b79f5) >>> 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}

interface Spoken {
  readonly msgid: string;
  readonly chat: string;
  readonly number: number;
  readonly at: number;
}

const spoken: Spoken[] = [];
/** How often the receiver took each message, by msgid; the first time of each is in `order`. */
const taken = new Map<string, number>();
const order = new Map<string, number[]>();
/** What the API accepted with 202: the text, and the id in the ledger. */
const accepted: { readonly text: string; readonly id: string }[] = [];
/** Texts that the gateway was sent. */
const arrived = new Map<string, number>();
/** From when to when each connector was subscribed and alive. */
const lives: { readonly from: number; readonly to: number }[] = [];
const hits = new Map<string, number>();
let failing = true;

async function startReceiver(): Promise<Server> {
  const server = createServer((request, response) => {
    void (async () => {
      const body = await text(request);
      // Half of what comes fails, in one of three ways: an error, no answer in time to matter, a closed connection.
      if (failing && random() < 0.5) {
        const way = random();
        if (way < 0.6) response.writeHead(500).end();
        else if (way < 0.8) setTimeout(() => response.writeHead(503).end(), 100);
        else request.socket.destroy();
        return;
      }
      const { msgId, fromUser, msgType, content } = (await verifyWebhook({
        secret: webhookSecret,
        body,
        headers: request.headers,
      })) as { msgId: string; fromUser: string; msgType: number; content: string };
      if (msgType === 1) {
        const before = taken.get(msgId) ?? 0;
        taken.set(msgId, before + 1);
        const number = Number(content.split(" ")[1]);
        if (before === 0) order.set(fromUser, [...(order.get(fromUser) ?? []), number]);
        if (number % 4 === 0) {
          response.setHeader("content-type", "application/json");
          response.end(JSON.stringify({ reply: { markdown: `answer ${number}` } }));
          return;
        }
      }
      response.end();
    })().catch(() => request.socket.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

interface Victim {
  readonly process: ChildProcess;
  readonly url: string;
}

async function startVictim(env: Record<string, string>, options: VictimOptions): Promise<Victim> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "victim.ts")], {
    stdio: ["ignore", "pipe", values.verbose ? "inherit" : "ignore"],
    env: { ...process.env, ...env, OPENWS_VICTIM: JSON.stringify(options) },
  });
  const [chunk] = (await Promise.race([once(child.stdout, "data"), once(child, "exit").then(() => [undefined])])) as [
    Buffer | undefined,
  ];
  if (chunk === undefined)
    throw new Error(`the connector did not start (exit ${String(child.exitCode)}); --verbose shows why`);
  child.stdout.resume();
  const { url } = JSON.parse(chunk.toString().split("\n")[0]!) as { url: string };
  return { process: child, url };
}

async function ask(victim: Victim, method: string, path: string, body?: unknown, headers = {}): Promise<Response> {
  return fetch(`${victim.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json", ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(20_000),
  });
}

/** Speaks and pushes until told to stop; a push that got no answer is given again under the same key. */
function load(gateway: Gateway, current: () => Victim | undefined): { stop: () => Promise<void> } {
  let running = true;
  let due = 0;
  let number = 0;
  const speaking = (async () => {
    let last = performance.now();
    while (running) {
      await sleep(10);
      const now = performance.now();
      due += ((now - last) / 1000) * rate;
      last = now;
      for (; due >= 1; due--) {
        const chat = `user${number % chats}`;
        const content = `message ${number}`;
        const mine = number++;
        const told = await gateway
          .say(bot, { from: { userid: chat }, chattype: "single", msgtype: "text", text: { content } })
          .catch(() => undefined);
        // Frames of one turn leave together at its end: what was handed over before that is on its way only now.
        await turn();
        if (told?.delivered === true) spoken.push({ msgid: told.msgid, chat, number: mine, at: Date.now() });
      }
    }
  })();
  let pushes = 0;
  const pushing = (async () => {
    while (running) {
      await sleep(30);
      const content = `push ${pushes++}`;
      const to = { userid: `user${Math.floor(random() * chats)}` };
      for (let tries = 0; running && tries < 50; tries++) {
        const victim = current();
        const response =
          victim === undefined
            ? undefined
            : await ask(
                victim,
                "POST",
                `/v1/bots/${bot}/messages`,
                { to, markdown: content },
                {
                  "idempotency-key": content,
                },
              ).catch(() => undefined);
        if (response?.status === 202) {
          accepted.push({ text: content, id: ((await response.json()) as { id: string }).id });
          break;
        }
        await sleep(100);
      }
    }
  })();
  return {
    stop: async () => {
      running = false;
      await Promise.all([speaking, pushing]);
    },
  };
}

/** Reads what the gateway was sent, before its log forgets it. */
function listen(gateway: Gateway): { stop: () => void } {
  let after = 0;
  const read = (): void => {
    for (const { seq, text: frame } of gateway.log(after)) {
      after = seq;
      const content = /"content":"((?:push|answer) \d+)"/.exec(frame)?.[1];
      if (content !== undefined) arrived.set(content, (arrived.get(content) ?? 0) + 1);
    }
  };
  const timer = setInterval(read, 50);
  return {
    stop: () => {
      clearInterval(timer);
      read();
    },
  };
}

async function pages(
  victim: Victim,
  path: string,
  member: "messages" | "deliveries",
): Promise<Record<string, never>[]> {
  const all: Record<string, never>[] = [];
  for (let next = ""; ;) {
    const response = await ask(victim, "GET", `${path}${next}`);
    const page = (await response.json()) as { next?: string } & Record<typeof member, Record<string, never>[]>;
    all.push(...page[member]);
    if (page.next === undefined) return all;
    next = `&before=${page.next}`;
  }
}

async function main(): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), "openws-kills-"));
  const gateway = await startGateway({
    switches,
    bots: [{ id: bot, secret: "secret-of-the-victim" }],
    log: { entries: 200_000 },
  });
  const receiver = await startReceiver();
  const env = {
    WECOM_BOT_ID: bot,
    WECOM_BOT_SECRET: "secret-of-the-victim",
    WECOM_BOT_WS_URL: gateway.url,
    OPENWS_LISTEN: "127.0.0.1:0",
    OPENWS_DATABASE: join(folder, "openws.db"),
    OPENWS_API_KEY: apiKey,
    OPENWS_WEBHOOK_URL: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`,
    OPENWS_WEBHOOK_SECRET: webhookSecret,
    OPENWS_BACKOFF_BASE_MS: "50",
    LOG_LEVEL: values.verbose ? "warn" : "silent",
  };
  let victim: Victim | undefined;
  const listening = listen(gateway);
  const { stop } = load(gateway, () => victim);
  const startedAt = Date.now();
  console.log(
    `kills ${kills}, seed ${values.seed}, ${rate} messages a second over ${chats} chats, switches ${JSON.stringify(switches)}`,
  );
  try {
    for (let nth = 0; nth < kills; nth++) {
      const point = nth % 2 === 0 ? points[(nth / 2) % points.length] : undefined;
      const diary = join(folder, `death-${nth}`);
      const options: VictimOptions = {
        diary,
        ...(point === undefined ? {} : { dieAt: { point, nth: 5 + Math.floor(random() * 150) } }),
        ...(without === undefined ? {} : { without }),
      };
      const living = await startVictim(env, options);
      victim = living;
      const exited = once(living.process, "exit");
      // What is left from before may bring it to its point before it has a line.
      const subscribed = gateway.waitForBot(bot, 30_000).then(() => Date.now());
      const from = await Promise.race([subscribed, exited.then(() => Infinity)]);
      subscribed.catch(() => undefined);
      // A point that is not passed often enough in time ends as a random instant does.
      const instantMs = point === undefined ? 300 + random() * 1_500 : 5_000;
      const died = await Promise.race([exited.then(() => true), sleep(instantMs).then(() => false)]);
      let to = Date.now();
      const away = point === undefined && nth % 4 === 1 && !died;
      if (away) {
        // A connection that is reset takes what is in it with it: the life ends here, as far as messages go.
        await gateway.addFault(`down:forMs=${awayMs.inAll}`);
        await sleep(awayMs.atKill);
      }
      if (!died) living.process.kill("SIGKILL");
      await exited;
      // It may have died by itself just before it was killed.
      const told = Number(await readFile(diary, "utf8").catch(() => Infinity));
      to = Math.min(to, told);
      lives.push({ from, to });
      const name = away ? "while the gateway was away" : died && point !== undefined ? point : "a random instant";
      hits.set(name, (hits.get(name) ?? 0) + 1);
      victim = undefined;
    }
    victim = await startVictim(env, without === undefined ? {} : { without });
    await gateway.waitForBot(bot, 20_000);
    lives.push({ from: Date.now(), to: Infinity });
    await sleep(500);
    await stop();
    failing = false;
    const left = await drained(victim);
    listening.stop();
    const lost = await account(victim, left);
    console.log(`took ${Math.round((Date.now() - startedAt) / 1000)} s`);
    const ended = once(victim.process, "exit");
    victim.process.kill("SIGTERM");
    await ended;
    return lost;
  } finally {
    victim?.process.kill("SIGKILL");
    receiver.close();
    receiver.closeAllConnections();
    await gateway.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Waits until nothing is pending any more; resolves with what is after two minutes. */
async function drained(victim: Victim): Promise<number> {
  let left = Infinity;
  for (let tries = 0; tries < 240 && left > 0; tries++) {
    await sleep(500);
    const metrics = await (await ask(victim, "GET", "/metrics")).text();
    const value = (name: string): number => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(metrics)?.[1] ?? NaN);
    left = value("openws_deliveries_pending") + value("openws_outbox_depth");
  }
  return left;
}

/** Accounts for everything; resolves with how much is not as it must be. */
async function account(victim: Victim, left: number): Promise<number> {
  const ledger = await pages(victim, "/v1/messages?limit=1000&direction=in", "messages");
  const dead = await pages(victim, "/v1/dead-letters?limit=1000", "deliveries");
  const outgoing = await pages(victim, "/v1/messages?limit=1000&direction=out", "messages");
  const inLedger = new Set(ledger.map(({ msgid }) => String(msgid)));
  const deadIds = new Set(dead.map(({ message }) => String(message)));
  const dying = new Set(ledger.filter(({ id }) => deadIds.has(String(id))).map(({ msgid }) => String(msgid)));
  const kept = ({ at }: Spoken): boolean => lives.some(({ from, to }) => from <= at && at <= to - graceMs);
  const older = spoken.filter(kept);
  const younger = spoken.filter((each) => !kept(each));
  const undelivered = older.filter(({ msgid }) => !taken.has(msgid) && !dying.has(msgid));
  const unledgered = older.filter(({ msgid }) => !inLedger.has(msgid));
  const shuffled = [...order].filter(([, numbers]) =>
    numbers.some((number, at) => at > 0 && number < numbers[at - 1]!),
  );
  const states = new Map(outgoing.map(({ id, state: of }) => [String(id), String(of)]));
  const explained = new Set(["unknown", "refused", "failed", "expired"]);
  const broken = accepted.filter(({ text: said, id }) => !arrived.has(said) && !explained.has(states.get(id) ?? ""));
  const open = outgoing.filter(({ state: of }) => ["accepted", "sent"].includes(String(of)));
  const twice = [...taken.values()].filter((times) => times > 1).length;
  const tally = (of: Iterable<string>): string =>
    [...new Map([...of].map((each) => [each, [...of].filter((other) => other === each).length]))]
      .map(([each, count]) => `${each} ${count}`)
      .join(", ");

  console.log(`killed ${lives.length - 1} times: ${[...hits].map(([at, count]) => `${at} ${count}`).join(", ")}`);
  console.log(
    `${spoken.length} messages reached the socket, ${older.length} of them ${graceMs} ms or more before the kill`,
  );
  console.log(
    `of the ${younger.length} others, younger or sent to a dead process, ${younger.filter(({ msgid }) => inLedger.has(msgid)).length} were stored`,
  );
  console.log(
    `${taken.size} delivered, ${twice} of them more than once, ${dying.size} dead letters, ${left} still pending`,
  );
  console.log(
    `${accepted.length} pushes accepted with 202, ${accepted.filter(({ text: said }) => arrived.has(said)).length} seen by the gateway`,
  );
  console.log(`what became of what went out: ${tally(outgoing.map(({ state: of }) => String(of)))}`);
  const aged = ({ number, at }: Spoken): string => {
    const { to = NaN } = lives.find((life) => at <= life.to) ?? {};
    return `message ${number}, ${to - at} ms before the kill`;
  };
  const faults: readonly [string, readonly unknown[]][] = [
    ["messages neither delivered nor dead letters", undelivered.map(aged)],
    ["messages without a line in the ledger", unledgered.map(aged)],
    ["chats out of order", shuffled.map(([chat]) => chat)],
    ["pushes that got 202 and are not accounted for", broken.map(({ text: said }) => said)],
    [
      "pushes that got 202 and have no line in the ledger",
      accepted.filter(({ id }) => !states.has(id)).map(({ text: said }) => said),
    ],
    ["messages that went out and have no end", open.map(({ id }) => id)],
    ["still pending", left > 0 ? [left] : []],
  ];
  let lost = 0;
  for (const [what, which] of faults) {
    console.log(
      `${which.length} ${what}${which.length === 0 ? "" : `: ${which.slice(0, 5).map(String).join(", ")} …`}`,
    );
    lost += which.length;
  }
  const inTime = older.length > 100 && taken.size > 100 && accepted.length > 10;
  if (!inTime) console.log("too little happened for the figures to mean anything");
  return inTime ? Math.min(lost, 1) : 1;
}

process.exitCode = await main();
