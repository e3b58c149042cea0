/**
 * One bot that echoes, 64 messages in flight: processor time of the client's process an echo, and echoes a second.
 *
 * A client and its load are a process each: the load is the mock gateway with 64 users who each say something as soon as
 * they were answered. All are started and warmed up first; then the clients take short turns, so that whatever else the
 * machine does meets them alike, and the ratios of one round's turns are compared.
 *
 * Switched on the mock: latencies 0; quota, subscribeRate off.
 */
import { answer, ask, cpuMicros, hurry, next, passed, say as tell, start } from "./child.ts";
import { type Side, connect, names } from "./clients.ts";
import { median, say } from "./row.ts";

const rounds = Number(process.env["BENCH_ROUNDS"] ?? 10);
const inFlight = 64;
/** So many that the compiler has done its work, in at most so many turns: on a busy machine it takes its time. */
const warmUp = { echoes: 30_000, turns: 12 };
const turnMs = 700;

/** One turn of one client. */
interface Turn {
  readonly echoes: number;
  readonly cpu: number;
  readonly pace: number;
}

const main = async (): Promise<void> => {
  const pairs = await Promise.all(
    (["ours", "sdk", "bare"] as const).map(async (side) => {
      const load = await start(import.meta.filename, "load");
      const client = await start(import.meta.filename, side, await next<string>(load, "url"));
      await next(client, "subscribed");
      const turn = async (ms: number): Promise<Turn> => {
        const [cpu, began] = [await ask<number>(client, "cpu"), performance.now()];
        await ask(load, "begin");
        await passed(ms);
        const echoes = await ask<number>(load, "end");
        const seconds = (performance.now() - began) / 1_000;
        return { echoes, cpu: ((await ask<number>(client, "cpu")) - cpu) / echoes, pace: echoes / seconds };
      };
      return { side, turn, turns: [] as Turn[] };
    }),
  );
  for (const { turn } of pairs)
    for (let turns = 0, echoes = 0; turns < warmUp.turns && echoes < warmUp.echoes; turns++)
      echoes += (await turn(turnMs)).echoes;
  for (let round = 1; round <= rounds; round++)
    for (const { side, turn, turns } of pairs) {
      const took = await turn(turnMs);
      turns.push(took);
      process.stderr.write(
        `round ${round}, ${names[side]}: ${took.cpu.toFixed(1)} µs an echo, ${Math.round(took.pace)} echoes/s\n`,
      );
    }

  const [ours, ...others] = pairs.map(({ turns }) => turns) as [Turn[], Turn[], Turn[]];
  const row = (what: "cpu" | "pace", against: number, aim: number): void => {
    const theirs = others[against]!;
    const ratio = median(ours.map((turn, round) => turn[what] / theirs[round]![what]));
    say({
      what: what === "cpu" ? "echo: CPU time of the client an echo" : "echo: round trips",
      unit: what === "cpu" ? "µs" : "/s",
      ours: median(ours.map((turn) => turn[what])),
      theirs: median(theirs.map((turn) => turn[what])),
      against: names[against === 0 ? "sdk" : "bare"],
      ratio,
      aim: `${what === "cpu" ? "≤" : "≥"} ${aim}×`,
      met: what === "cpu" ? ratio <= aim : ratio >= aim,
    });
  };
  row("cpu", 0, 0.7);
  row("cpu", 1, 1.25);
  row("pace", 0, 1.2);
  row("pace", 1, 0.9);
};

const load = async (): Promise<void> => {
  hurry();
  const { startGateway } = await import("@openws/mock-gateway");
  const gateway = await startGateway({ latencyMs: 0, switches: { quota: "off", subscribeRate: "off" } });
  let echoes = 0;
  let over = false;
  const talk = async (userid: string): Promise<void> => {
    while (!over) {
      const content = `What is the weather like, asks ${userid}?`;
      const message = { from: { userid }, msgtype: "text", text: { content } };
      const { reply } = await gateway.say("bot", message, { waitMs: 10_000 });
      if (reply !== `echo: ${content}`) throw new Error(`${userid} was not answered`);
      echoes++;
    }
  };
  let talking: Promise<unknown> = Promise.resolve();
  answer("begin", () => {
    echoes = 0;
    over = false;
    talking = Promise.all(Array.from({ length: inFlight }, (_, user) => talk(`user${user}`)));
  });
  answer("end", async () => {
    over = true;
    await talking;
    return echoes;
  });
  tell("url", gateway.url);
};

const client = async (side: Side, url: string): Promise<void> => {
  hurry();
  answer("cpu", cpuMicros);
  await connect[side](url, "bot");
  tell("subscribed");
};

const [role, argument = ""] = process.argv.slice(2);
if (role === "load") await load();
else if (role !== undefined) await client(role as Side, argument);
else {
  await main();
  process.exit(0);
}
