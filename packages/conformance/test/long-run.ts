/** A day of a bot whose socket is cut every five minutes while its users talk, and what it holds in memory. */
import { Budget, Connection, Stream, encode } from "@openws/protocol";
import type { ConnectionEffect, ConnectionInput } from "@openws/protocol";

/** What the core holds after an hour and after a day, by name: entries, or characters of JSON. */
export interface LongRun {
  readonly sizes: Readonly<Record<string, readonly [number, number]>>;
}

const dayMs = 24 * 3_600_000;
const minuteMs = 60_000;

/** Drives a connection, an hour's budget and one stream a minute for a day; every third ack never comes. */
export function longRun(): LongRun {
  const connection = new Connection({ botId: "aib", secret: "secret", random: () => 0.5 });
  const budget = new Budget();
  let socket = 0;
  let now = 0;
  let keys = 0;
  let acks = 0;
  const pending: { at: number; input: ConnectionInput }[] = [{ at: 0, input: { type: "start" } }];
  const early: Record<string, number> = {};
  const late: Record<string, number> = {};
  let streamCharacters = 0;

  const perform = (effect: ConnectionEffect): void => {
    if (effect.type === "dial") {
      ({ socket } = effect);
      pending.push({ at: now + 50, input: { type: "opened", socket } });
    } else if (effect.type === "send") {
      const { headers } = JSON.parse(effect.text) as { headers: { req_id: string } };
      // Of what users are answered every third ack is lost; the line itself is good.
      if (headers.req_id.startsWith("m") && acks++ % 3 === 0) return;
      const text = JSON.stringify({ headers: { req_id: headers.req_id }, errcode: 0, errmsg: "ok" });
      pending.push({ at: now + 200, input: { type: "received", socket: effect.socket, text } });
    }
  };
  const handle = (input: ConnectionInput): void => connection.handle(now, input).forEach(perform);
  const measure = (into: Record<string, number>): void => {
    into["requests that are open"] = connection.pending;
    into["lanes that are remembered"] = connection.lanes;
    into["the budget as JSON"] = JSON.stringify(budget.state).length;
    into["a finished stream as JSON"] = streamCharacters;
    into["what is under way in the test itself"] = pending.length;
  };

  for (let minute = 0; minute * minuteMs < dayMs; minute++) {
    const end = minute * minuteMs;
    for (;;) {
      pending.sort((a, b) => a.at - b.at);
      const next = Math.min(pending[0]?.at ?? Infinity, connection.deadline ?? Infinity);
      if (next >= end) break;
      now = next;
      if (pending[0]?.at === next) handle(pending.shift()!.input);
      else handle({ type: "tick" });
    }
    now = end;
    if (minute % 5 === 4) handle({ type: "closed", socket, code: 1006, reason: "" });
    else streamCharacters = answer(minute);
    if (minute === 60) measure(early);
  }
  measure(late);
  return { sizes: Object.fromEntries(Object.entries(early).map(([name, size]) => [name, [size, late[name]!]])) };

  function answer(minute: number): number {
    const stream = new Stream({ id: `s${minute}`, budget });
    for (const input of [{ type: "append", text: `answer ${minute}` }, { type: "finish" }] as const)
      for (const effect of stream.handle(now, input)) {
        if (effect.type !== "send") continue;
        const body = effect.body;
        handle({
          type: "request",
          key: ++keys,
          frame: encode({ cmd: "aibot_respond_msg", headers: { req_id: `m${minute}` }, body }),
        });
        stream.handle(now, { type: "settled", key: effect.key, outcome: { type: "acked" } });
      }
    return JSON.stringify(stream.state).length;
  }
}
