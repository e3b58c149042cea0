/**
 * Invariants of the line: when it is dialed, pinged and left alone, and which ack answers which frame.
 * Each returns the first breach it meets; their sentences stand in ../invariants.ts.
 */
import type { Millis } from "../history.ts";
import { breach } from "../story.ts";
import type { Ack, Breach, Sent, Story } from "../story.ts";

const ackMs = 10_000;
const stableMs = 60_000;

/** Waits grow as they should, and dials follow from moves alone. */
export function backsOff({ moves, sockets, operator }: Story): Breach | undefined {
  let attempts = 0;
  let throttles = 0;
  let readyAt: Millis | undefined;
  let acts = 0;
  for (const [index, { at, from, to, why }] of moves.entries()) {
    for (; acts < operator.length && operator[acts]!.at <= at; acts++)
      if (operator[acts]!.did === "restart") [attempts, throttles] = [0, 0];
    if (to === "ready") readyAt = at;
    if (from === "ready" && readyAt !== undefined && at - readyAt >= stableMs) [attempts, throttles] = [0, 0];
    if (to !== "waiting") continue;
    const leastMs =
      why === "throttled" ? Math.min(300_000, 30_000 * 2 ** throttles++) : Math.min(30_000, 1_000 * 2 ** attempts++);
    const next = moves[index + 1];
    if (next === undefined || next.why !== "retry") continue;
    const waitedMs = next.at - at;
    if (waitedMs < leastMs || waitedMs > leastMs * 1.5 + 1)
      return breach(
        "backs-off",
        next.at,
        `waited ${waitedMs} ms after ${why}; ${leastMs} to ${leastMs * 1.5} were due`,
      );
  }
  // What the moves say is what was done.
  const dials = moves.filter(({ to }) => to === "dialing").length;
  return dials === sockets.length ? undefined : breach("backs-off", 0, `${sockets.length} dials in ${dials} moves`);
}

/** Who was told to stay away does. */
export function staysAway({ moves, sockets, operator, history }: Story): Breach | undefined {
  let kicks: Millis[] = [];
  for (const [index, { at, to }] of moves.entries()) {
    if (to !== "kicked" && to !== "refused" && to !== "stopped") continue;
    const next = sockets.find(({ dialedAt }) => dialedAt > at);
    const told = operator.find((act) => act.at >= at && act.did !== "stop");
    // A new process knows nothing of the kicks of the one before.
    const bornAt = operator.findLast((act) => act.did === "restart" && act.at <= at)?.at ?? 0;
    if (to === "kicked") kicks = [...kicks.filter((kick) => kick >= bornAt && at - kick < 300_000), at];
    if (next === undefined || (told !== undefined && told.at <= next.dialedAt)) continue;
    const awayMs = next.dialedAt - at;
    const agreed =
      (to === "kicked" && kicks.length < 2 && awayMs >= 30_000) ||
      (to === "refused" && awayMs >= (history.credentialsRetryMs ?? Infinity));
    if (!agreed || moves[index + 1]?.why !== "retry")
      return breach("stays-away", next.dialedAt, `dialed ${next.dialedAt - at} ms after it was ${to}`);
  }
  return undefined;
}

/** Ready sockets are pinged in time. */
export function heartbeat({ sockets, history }: Story): Breach | undefined {
  const seen = new Set<string>();
  for (const { n, readyAt, endedAt, sent } of sockets) {
    if (readyAt === undefined) continue;
    let before = readyAt;
    let acked = true;
    for (const { cmd, req_id, at, lane } of sent) {
      if (cmd !== "ping") continue;
      if (seen.has(req_id)) return breach("heartbeat", at, `the req_id ${req_id} of a ping was used before`);
      seen.add(req_id);
      if (at - before > 45_000) return breach("heartbeat", at, `socket ${n} was not pinged for ${at - before} ms`);
      if (acked && at - before < 20_000)
        return breach("heartbeat", at, `socket ${n} was pinged again after ${at - before} ms`);
      before = at;
      acked = lane.acks.some((ack) => ack.errcode === 0 && ack.at < at + ackMs);
    }
    const end = Math.min(endedAt, history.endAt);
    if (end - before > 45_000) return breach("heartbeat", end, `socket ${n} was not pinged any more`);
  }
  return undefined;
}

/** No frame overtakes the ack of the one before it. */
export function oneInFlight({ sockets }: Story): Breach | undefined {
  for (const { lanes } of sockets)
    for (const { sent, acks } of lanes.values())
      for (let n = 1; n < sent.length; n++) {
        const [before, { at, place: sentAs, req_id, cmd }] = [sent[n - 1]!, sent[n]!];
        if (cmd === "ping" || at - before.at >= ackMs) continue;
        if (!acks.some(({ place }) => place > before.place && place < sentAs))
          return breach("one-in-flight", at, `${req_id}: a frame was sent while another was in flight`);
      }
  return undefined;
}

/** No ack confirms a later frame than its own. */
export function lateAcks({ sockets }: Story): Breach | undefined {
  for (const { lanes } of sockets)
    for (const { sent, acks } of lanes.values()) {
      const late = lateAck(sent, acks);
      if (late !== undefined) return late;
    }
  return undefined;
}

function lateAck(sent: readonly Sent[], acks: readonly Ack[]): Breach | undefined {
  let nth = 0;
  for (const { request, req_id, cmd } of sent) {
    if (request === undefined) continue;
    nth++;
    const { settled } = request;
    if (settled === undefined || (settled.outcome.type !== "acked" && settled.outcome.type !== "refused")) continue;
    let came = 0;
    while (came < acks.length && acks[came]!.place < settled.place) came++;
    if (came < nth)
      return breach("late-acks", settled.at, `${cmd} number ${nth} of ${req_id} was credited with ack ${came}`);
    const errcode = acks[came - 1]?.errcode;
    if ((errcode === 0) !== (settled.outcome.type === "acked"))
      return breach(
        "late-acks",
        settled.at,
        `${cmd} of ${req_id} settled as ${settled.outcome.type} by errcode ${String(errcode)}`,
      );
  }
  return undefined;
}
