/**
 * The lease as a key of Redis (or of what speaks its protocol). Decides the key, and the script that compares and writes in
 * one step. The key does not expire by itself: who may take it over is decided by those who watch it, by their own clocks.
 *
 * Invariant: nothing is kept to be asked later: what cannot be asked now fails now.
 */
import type { Redis as RedisClient } from "ioredis";
import type { LeasePlace } from "./lease.ts";

const compareAndSet = `
local there = redis.call('GET', KEYS[1])
if there == false and ARGV[1] == 'nothing' or there ~= false and ARGV[1] == 'this' and there == ARGV[2] then
  redis.call('SET', KEYS[1], ARGV[3])
  return 1
end
return 0`;

/** The lease `name` in the Redis at `url`; it is connected to when it is first asked. */
export function redisLease({ Redis }: { readonly Redis: typeof RedisClient }, url: string, name: string): LeasePlace {
  const key = `openws:lease:${name}`;
  let why: string | undefined;
  const redis: RedisClient = new Redis(url, {
    lazyConnect: true,
    connectTimeout: 2_000,
    // A renewal that is sent when its time is over is none.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (times) => Math.min(100 * times, 1_000),
  });
  // Of no connection a command says only that there is none; this says why.
  redis.on("error", (error: Error) => {
    why = error.message || (error as NodeJS.ErrnoException).code;
  });
  redis.on("ready", () => {
    why = undefined;
  });
  const ask = async <Answer>(command: () => Promise<Answer>): Promise<Answer> => {
    try {
      if (redis.status === "wait") await redis.connect();
      return await command();
    } catch (error) {
      throw new Error(`Redis: ${why ?? (error as Error).message}`, { cause: error });
    }
  };
  return {
    read: () => ask(async () => (await redis.get(key)) ?? undefined),
    swap: (expected, next) =>
      ask(async () => {
        const there = expected === undefined ? ["nothing", ""] : ["this", expected];
        return (await redis.eval(compareAndSet, 1, key, ...there, next)) === 1;
      }),
    async close() {
      redis.disconnect();
    },
  };
}
