/**
 * 1,000 bots in one process, each with its own connection: what the process holds, and what a heartbeat a second costs it.
 *
 * The connector and the official SDK, a process each, on a mock gateway each. The figures are of the whole process, Node
 * and modules included: that is what somebody who runs a thousand bots pays.
 *
 * Switched on the mock: latencies 0; subscribeRate off.
 */
import { type Memory, answer, ask, cpuMicros, hurry, memory, next, passed, say as tell, start, stop } from "./child.ts";
import { connect, names } from "./clients.ts";
import { median, say } from "./row.ts";

const bots = Number(process.env["BENCH_BOTS"] ?? 1_000);
const rounds = Number(process.env["BENCH_ROUNDS"] ?? 2);
const heartbeatMs = 1_000;
const measureMs = 5_000;

const sides = ["ours", "sdk"] as const;

const main = async (): Promise<void> => {
  const found = { ours: [] as Found[], sdk: [] as Found[] };
  for (let round = 1; round <= rounds; round++)
    for (const side of sides) {
      const gateway = await start(import.meta.filename, "gateway");
      const client = await start(import.meta.filename, side, await next<string>(gateway, "url"));
      const empty = await next<Memory>(client, "loaded");
      await next(client, "subscribed");
      // So long that what the connecting left behind is gone, and that timers have found their places.
      await passed(1_000);
      const { rss, heap } = await ask<Memory>(client, "memory");
      const [cpu, began] = [await ask<number>(client, "cpu"), performance.now()];
      await passed(measureMs);
      const percent = ((await ask<number>(client, "cpu")) - cpu) / 10 / (performance.now() - began);
      found[side].push({ heapMiB: heap / 1_048_576, rssMiB: rss / 1_048_576, percent });
      process.stderr.write(
        `round ${round}, ${names[side]}: heap ${(heap / 1_048_576).toFixed(1)} MiB, resident ${(rss / 1_048_576).toFixed(1)} MiB, ` +
          `CPU ${percent.toFixed(1)} %; before its client was loaded ${(empty.heap / 1_048_576).toFixed(1)} and ${(empty.rss / 1_048_576).toFixed(1)} MiB\n`,
      );
      await stop(client, gateway);
    }
  for (const [what, unit, of, aim] of [
    ["heap", "MiB", "heapMiB", 0.6],
    ["resident memory", "MiB", "rssMiB", 0.75],
    ["CPU at a heartbeat of 1 s", "%", "percent", 0.5],
  ] as const) {
    const [ours, theirs] = sides.map((side) => median(found[side].map((one) => one[of]))) as [number, number];
    say({
      what: `1,000 bots in one process: ${what}`,
      unit,
      ours,
      theirs,
      against: names.sdk,
      ratio: ours / theirs,
      aim: `≤ ${aim}×`,
      met: ours <= aim * theirs,
    });
  }
};

interface Found {
  readonly heapMiB: number;
  readonly rssMiB: number;
  readonly percent: number;
}

const gateway = async (): Promise<void> => {
  hurry();
  const { startGateway } = await import("@openws/mock-gateway");
  const { url } = await startGateway({ latencyMs: 0, switches: { subscribeRate: "off" } });
  tell("url", url);
};

const client = async (side: "ours" | "sdk", url: string): Promise<void> => {
  hurry();
  answer("memory", memory);
  answer("cpu", cpuMicros);
  tell("loaded", await memory());
  for (let n = 0; n < bots; n += 50)
    await Promise.all(
      Array.from({ length: Math.min(50, bots - n) }, (_, offset) =>
        connect[side](url, `bot${n + offset}`, heartbeatMs),
      ),
    );
  tell("subscribed");
};

const [role, argument = ""] = process.argv.slice(2);
if (role === "gateway") await gateway();
else if (role !== undefined) await client(role as "ours" | "sdk", argument);
else {
  await main();
  process.exit(0);
}
