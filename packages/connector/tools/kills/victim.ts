/**
 * The service as it is shipped, with a place where it kills itself and, where asked for, without one of its writes: what
 * run.ts kills. Started as `openws-connector serve` is; OPENWS_VICTIM holds what is different, as JSON.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { parse } from "yaml";
import { serve } from "../../src/main.node.ts";
import { readServiceConfig } from "../../src/service/config.ts";
import type { Change, Store } from "../../src/service/store.ts";

/** What is different about a victim. */
export interface VictimOptions {
  /** Dies when it passes this point for the nth time. */
  readonly dieAt?: { readonly point: string; readonly nth: number };
  /** Where it writes the instant of its death: nobody else knows it exactly. */
  readonly diary?: string;
  /** Forgets to write what came in, or what is to go out. */
  readonly without?: "inbox" | "outbox";
}

const { dieAt, diary = "", without }: VictimOptions = JSON.parse(process.env["OPENWS_VICTIM"] ?? "{}") as VictimOptions;

let passed = 0;
const probe = (point: string): void => {
  if (point !== dieAt?.point || ++passed !== dieAt.nth) return;
  writeFileSync(diary, String(Date.now()));
  process.kill(process.pid, "SIGKILL");
};

/** A store that says it has written what it was told to forget. */
function forgetful(store: Store): Store {
  if (without === undefined) return store;
  const direction = without === "inbox" ? "in" : "out";
  const forgotten = (change: Change): boolean => {
    const what = "put" in change ? change.put : "update" in change ? change.update : undefined;
    // A delivery without the entry it delivers would be nothing to a restarted process either.
    if (what === "delivery") return without === "inbox";
    return what === "entry" && "entry" in change && change.entry.direction === direction;
  };
  return new Proxy(store, {
    get(target, name: keyof Store) {
      if (name === "commit")
        return (changes: readonly Change[], fence?: number) =>
          target.commit(
            changes.filter((change) => !forgotten(change)),
            fence,
          );
      const member: unknown = target[name];
      return typeof member === "function" ? (member.bind(target) as unknown) : member;
    },
  });
}

const { line, service } = readServiceConfig({ values: {}, echo: false, json: true }, process.env, {
  readFile: (path) => readFileSync(path, "utf8"),
  parse: (text) => parse(text) as unknown,
});
await serve(line, service, [], {
  probe,
  store: forgetful,
  // Every fourth message is answered, all of them in a quarter of the chats: twice what WeCom lets a chat be sent. The mock
  // does not count here, and nobody may wait for an allowance when the program looks for what is still open.
  quota: false,
  // The receiver fails half of the time: a chat that waits five seconds after each would never get to its end.
  delivery: { retryDelaysMs: [20, 40, 80, 150, 300], breaker: { threshold: 50, restMs: 50, maxRestMs: 100 } },
});
