/**
 * `Idempotency-Key`: the same request, given twice, is accepted once. The key is stored in the very commit that accepts the
 * request, so that neither a crash nor a race can split them; it is remembered for a day.
 */
import type { Context } from "hono";
import type { Entry, Seq } from "../store.ts";
import { sha256 } from "../proof.ts";
import type { Also, Parts } from "./served.ts";
import { ProblemError } from "./problem.ts";
import { messageView } from "./schemas.ts";

const rememberedMs = 24 * 3_600_000;

/** Requests under way, by key: the second of two that come at once waits for the first. */
const underWay = new WeakMap<object, Map<string, Promise<Entry>>>();

/** Accepts once, and answers 202 with the entry as it stands: after `waitSeconds` at most, where that is above 0. */
export async function idempotent(
  { service }: Parts,
  c: Context,
  waitSeconds: number,
  accept: (also: Also) => Promise<Entry>,
) {
  const entry = await once(service, c, accept);
  const settled = waitSeconds > 0 ? await settledWithin(service, entry, waitSeconds * 1000) : entry;
  return c.json(messageView(settled), 202);
}

function once(service: Parts["service"], c: Context, accept: (also: Also) => Promise<Entry>): Promise<Entry> {
  const given = c.req.header("idempotency-key");
  if (given === undefined) return accept([]);
  const key = `${c.req.method} ${c.req.path} ${given}`;
  const pending = pendingOf(service);
  const before = pending.get(key);
  const accepting = (async () => {
    await before?.catch(() => undefined);
    const fingerprint = await sha256(await c.req.text());
    const stored = await service.store.document("idempotency", key);
    if (stored !== undefined) {
      const { fingerprint: known, seq } = stored.value as { fingerprint: string; seq: Seq };
      if (known !== fingerprint)
        throw new ProblemError(
          409,
          "The key was used for another request",
          "this Idempotency-Key came with another body before; use a new one for a new request",
        );
      const entry = await service.store.entry(seq);
      if (entry !== undefined) {
        c.header("idempotency-replayed", "true");
        return entry;
      }
    }
    const expiresAt = service.clock.now() + rememberedMs;
    return accept(({ seq }) => [
      { put: "document", collection: "idempotency", document: { key, value: { fingerprint, seq }, expiresAt } },
    ]);
  })();
  // Set before anything is waited for, so that of two requests at once the second sees the first.
  pending.set(key, accepting);
  const over = (): void => {
    if (pending.get(key) === accepting) pending.delete(key);
  };
  accepting.then(over, over);
  return accepting;
}

/** The entry when it is over, or as it stands after `waitMs`. */
export async function settledWithin(service: Parts["service"], entry: Entry, waitMs: number): Promise<Entry> {
  const { promise: late, resolve } = Promise.withResolvers<undefined>();
  const cancel = service.clock.wakeAt(service.clock.now() + waitMs, () => resolve(undefined));
  const settled = await Promise.race([service.outbox.settled(entry.seq), late]);
  cancel();
  return settled ?? (await service.store.entry(entry.seq)) ?? entry;
}

function pendingOf(service: object): Map<string, Promise<Entry>> {
  let pending = underWay.get(service);
  if (pending === undefined) underWay.set(service, (pending = new Map<string, Promise<Entry>>()));
  return pending;
}
