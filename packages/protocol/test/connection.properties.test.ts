/**
 * The ten lines of the contract in connection.ts, each against random histories: sockets that open, close, close again
 * and speak after their end, acks that are right, wrong, late, repeated and refused, garbage, time that jumps both ways.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Connection, transitions } from "../src/connection.ts";
import type { ConnectionEffect, ConnectionInput, ConnectionOptions, ConnectionStateName } from "../src/connection.ts";
import { UsageError } from "../src/errors.ts";
import { cmd, encode } from "../src/frames.ts";

const runs = { numRuns: 150 };
const secret = "s3cr3t-of-the-bot";
const lanes = ["R", "S", "T"] as const;

// ---------------------------------------------------------------------------------------------------------------------
// Histories

/** One thing that happens. What depends on the past (a req_id, a socket) is said in relation to it, so that it shrinks. */
type Step =
  | { readonly do: "start" | "stop" }
  /** The deadline comes, and the tick with it. */
  | { readonly do: "due" }
  | { readonly do: "pass"; readonly ms: number }
  /** `socket` counts back from the current one: 0 is the current, 1 the one before, -1 one that does not exist. */
  | { readonly do: "opened" | "closed"; readonly socket: number }
  | { readonly do: "received"; readonly socket: number; readonly text: string }
  /** Answers the last subscribe, the last ping or the one before it. */
  | {
      readonly do: "answered";
      readonly socket: number;
      readonly to: "subscribe" | "ping" | "ping before";
      readonly errcode: number;
    }
  /** An ack on the current socket. */
  | { readonly do: "acked"; readonly lane: (typeof lanes)[number]; readonly errcode: number }
  | { readonly do: "request"; readonly lane: (typeof lanes)[number]; readonly ackMs: number | undefined }
  | { readonly do: "abandon"; readonly nth: number };

const ackText = (req_id: string, errcode: number) =>
  JSON.stringify({ headers: { req_id }, errcode, errmsg: errcode === 0 ? "ok" : `no, ${secret}, hint: [1]` });

const eventText = (eventtype: string) =>
  JSON.stringify({ cmd: cmd.event, headers: { req_id: "E" }, body: { msgtype: "event", event: { eventtype } } });

const messageText = JSON.stringify({
  cmd: cmd.message,
  headers: { req_id: "R" },
  body: { msgid: "m", chattype: "single", from: { userid: "u" }, msgtype: "text", text: { content: "hello" } },
});

const kick: Step = { do: "received", socket: 0, text: eventText("disconnected_event") };
const answer = (errcode: number): Step => ({ do: "answered", socket: 0, to: "subscribe", errcode });

const errcodes = fc.oneof(
  { weight: 3, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.constantFrom(-1, 6000, 45_009, 846_608, 846_609, 853_000, 123_456) },
);
const sockets = fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constantFrom(1, 2, -1) });
const texts = fc.oneof(
  fc.constantFrom(messageText, eventText("enter_chat"), eventText("nobody_knows"), '{"cmd":"ping"}', '{"cmd":"new"}'),
  fc.constantFrom(
    "",
    "null",
    "[]",
    "{}",
    '{"headers":{}}',
    '{"cmd":7}',
    "\u0000",
    '"\n"',
    `${secret}{`,
    "[".repeat(1e4),
  ),
  fc.json(),
  fc.string(),
  fc
    .record({ lane: fc.constantFrom(...lanes, "X"), errcode: errcodes })
    .map(({ lane, errcode }) => ackText(lane, errcode)),
);

const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.constant({ do: "start" as const }) },
  { weight: 1, arbitrary: fc.constant({ do: "stop" as const }) },
  { weight: 6, arbitrary: fc.constant({ do: "due" as const }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("pass" as const),
      ms: fc.oneof(fc.nat(50), fc.nat(12_000), fc.nat(400_000), fc.integer({ min: -50_000, max: 0 })),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("opened" as const), socket: sockets }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("closed" as const), socket: sockets }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("received" as const), socket: sockets, text: texts }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("received" as const),
      socket: sockets,
      text: fc.constant(eventText("disconnected_event")),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("answered" as const),
      socket: sockets,
      to: fc.constantFrom("subscribe" as const, "ping" as const, "ping before" as const),
      errcode: errcodes,
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("request" as const),
      lane: fc.constantFrom(...lanes),
      ackMs: fc.option(fc.integer({ min: 1, max: 20_000 }), { nil: undefined }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant("acked" as const), lane: fc.constantFrom(...lanes), errcode: errcodes }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("abandon" as const), nth: fc.nat(20) }) },
);

const opening: readonly Step[] = [{ do: "start" }, { do: "opened", socket: 0 }, answer(0)];

/** Most histories begin in a state that matters, because few random ones get there by themselves. */
const histories = fc
  .tuple(
    fc.oneof(
      { weight: 4, arbitrary: fc.constant(opening) },
      {
        weight: 4,
        arbitrary: fc.constantFrom([], opening.slice(0, 1), opening.slice(0, 2), [...opening, kick]),
      },
      { weight: 2, arbitrary: errcodes.map((errcode): readonly Step[] => [...opening.slice(0, 2), answer(errcode)]) },
    ),
    fc.array(steps, { maxLength: 60, size: "max" }),
  )
  .map(([first, rest]): readonly Step[] => [...first, ...rest]);

const optionSets: fc.Arbitrary<Partial<ConnectionOptions>> = fc.record(
  {
    heartbeatMs: fc.integer({ min: 1, max: 60_000 }),
    pingTimeoutMs: fc.integer({ min: 1, max: 20_000 }),
    ackMs: fc.integer({ min: 1, max: 20_000 }),
    stableMs: fc.integer({ min: 1, max: 60_000 }),
    afterKick: fc.constantFrom("stop" as const, "rejoin" as const),
    credentialsRetryMs: fc.constant(60_000),
  },
  { requiredKeys: [] },
);

/** What happened at one call. */
interface Call {
  readonly input: ConnectionInput;
  /** The `now` that was given. */
  readonly given: number;
  /** The `now` that counts: the latest given so far. */
  readonly now: number;
  readonly before: ConnectionStateName;
  /** The current socket before and after the call; undefined while there is none. */
  readonly socket: number | undefined;
  readonly effects: readonly ConnectionEffect[];
  readonly after: ConnectionStateName;
  readonly deadline: number | undefined;
  readonly pending: number;
}

/** Equal seeds, equal numbers; in [0, 1). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 0x1_0000_0000;
  };
}

/** A connection being driven through a history. */
class Play {
  readonly connection: Connection;
  readonly calls: Call[] = [];
  /** The clock as it is given, and the latest it has been. */
  clock = 0;
  now = -Infinity;
  #dialed = 0;
  #current: number | undefined;
  #subscribe = "none";
  #pings: readonly string[] = ["none", "none"];
  #keys = 0;

  constructor(options: Partial<ConnectionOptions> = {}) {
    this.connection = new Connection({ botId: "aibot", secret, random: seeded(7), ...options });
  }

  /** Hands in one input and notes all about it. */
  take(input: ConnectionInput, given = this.clock): Call {
    const before = this.connection.state;
    const socket = this.#current;
    const effects = this.connection.handle(given, input);
    this.now = Math.max(this.now, given);
    for (const effect of effects) this.#note(effect);
    const { state: after, deadline, pending } = this.connection;
    const call = { input, given, now: this.now, before, socket, effects, after, deadline, pending };
    this.calls.push(call);
    return call;
  }

  step(step: Step): void {
    if (step.do === "pass") this.clock += step.ms;
    else if (step.do === "due") {
      this.clock = Math.max(this.clock, this.connection.deadline ?? this.clock);
      this.take({ type: "tick" });
    } else this.take(this.input(step));
  }

  input(step: Exclude<Step, { do: "pass" | "due" }>): ConnectionInput {
    switch (step.do) {
      case "start":
      case "stop":
        return { type: step.do };
      case "opened":
        return { type: "opened", socket: this.#dialed - step.socket };
      case "closed":
        return { type: "closed", socket: this.#dialed - step.socket, code: 1006, reason: `because of ${secret}` };
      case "received":
        return { type: "received", socket: this.#dialed - step.socket, text: step.text };
      case "answered": {
        const req_id = { subscribe: this.#subscribe, ping: this.#pings[0]!, "ping before": this.#pings[1]! }[step.to];
        return { type: "received", socket: this.#dialed - step.socket, text: ackText(req_id, step.errcode) };
      }
      case "acked":
        return { type: "received", socket: this.#dialed, text: ackText(step.lane, step.errcode) };
      case "request": {
        const key = this.#keys++;
        const frame = encode({
          cmd: cmd.respond,
          headers: { req_id: step.lane },
          body: { msgtype: "markdown", markdown: { content: String(key) } },
        });
        return { type: "request", key, frame, ...(step.ackMs === undefined ? {} : { ackMs: step.ackMs }) };
      }
      case "abandon":
        return { type: "abandon", key: step.nth };
    }
  }

  #note(effect: ConnectionEffect): void {
    if (effect.type === "dial") {
      this.#dialed = effect.socket;
      this.#current = effect.socket;
    }
    if (effect.type === "drop") this.#current = undefined;
    if (effect.type !== "send") return;
    const sent = parse(effect.text);
    if (sent.cmd === cmd.subscribe) this.#subscribe = sent.headers.req_id;
    if (sent.cmd === cmd.ping) this.#pings = [sent.headers.req_id, this.#pings[0]!];
  }
}

function parse(text: string): { cmd: string; headers: { req_id: string }; body?: { markdown?: { content: string } } } {
  return JSON.parse(text) as ReturnType<typeof parse>;
}

const play = (history: readonly Step[], options?: Partial<ConnectionOptions>): Play => {
  const played = new Play(options);
  for (const step of history) played.step(step);
  return played;
};

/** Asserts `holds` of every history under every set of options. */
const forAll = (holds: (played: Play) => void): void => {
  fc.assert(
    fc.property(histories, optionSets, (history, options) => holds(play(history, options))),
    runs,
  );
};

const effectsOf = (played: Play) => played.calls.flatMap(({ effects }) => effects);

/**
 * Plays a history twice, once with an input slipped in after each step, and asserts that it made no difference: it had no
 * effects, and what followed was the same.
 */
const forAllWithout = (
  slipIn: fc.Arbitrary<number>,
  input: (played: Play, roll: number) => { given: number; input: ConnectionInput } | undefined,
): void => {
  fc.assert(
    fc.property(histories, optionSets, fc.array(slipIn, { minLength: 1 }), (history, options, rolls) => {
      const plain = play(history, options);
      const disturbed = new Play(options);
      const noted: Call[] = [];
      for (const [at, step] of history.entries()) {
        const before = disturbed.calls.length;
        disturbed.step(step);
        noted.push(...disturbed.calls.slice(before));
        const extra = input(disturbed, rolls[at % rolls.length]!);
        if (extra !== undefined) expect(disturbed.take(extra.input, extra.given).effects).toEqual([]);
      }
      expect(noted.map(({ effects, after, deadline }) => ({ effects, after, deadline }))).toEqual(
        plain.calls.map(({ effects, after, deadline }) => ({ effects, after, deadline })),
      );
    }),
    runs,
  );
};

// ---------------------------------------------------------------------------------------------------------------------

describe("a connection, whatever happens", () => {
  it("reaches every state and every transition in these histories, or they would prove nothing", () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(histories, optionSets, (history, options) => {
        for (const effect of effectsOf(play(history, options)))
          if (effect.type === "moved") seen.add(`${effect.from} ${effect.why} ${effect.to}`);
      }),
      { numRuns: 800, seed: 5 },
    );
    const table = Object.entries(transitions).flatMap(([from, row]) =>
      Object.entries(row).map(([why, to]) => `${from} ${why} ${to}`),
    );
    expect([...seen].toSorted()).toEqual(table.toSorted());
  });

  it("1. throws for nothing that peers do", () => {
    forAll(() => undefined);
  });

  it("1. throws UsageError for the caller's mistakes, and then nothing has changed", () => {
    fc.assert(
      fc.property(histories, optionSets, (history, options) => {
        const plain = play(history, options);
        const disturbed = new Play(options);
        const frame = encode({ cmd: cmd.ping, headers: { req_id: "R" } });
        const far = disturbed.clock + 1e9;
        for (const step of history) {
          disturbed.step(step);
          for (const now of [Number.NaN, Infinity, -Infinity, 2 ** 60])
            expect(() => disturbed.connection.handle(now, { type: "tick" })).toThrow(UsageError);
          for (const ackMs of [0, -1, Number.NaN, Infinity])
            expect(() => disturbed.connection.handle(far, { type: "request", key: "new", frame, ackMs })).toThrow(
              UsageError,
            );
          const settled = new Set(
            effectsOf(disturbed).flatMap((effect) => (effect.type === "settle" ? [effect.key] : [])),
          );
          for (const { input } of disturbed.calls)
            if (input.type === "request" && !settled.has(input.key))
              expect(() => disturbed.connection.handle(far, { type: "request", key: input.key, frame })).toThrow(
                UsageError,
              );
        }
        expect(disturbed.calls).toEqual(plain.calls);
      }),
      { numRuns: 20 },
    );
  });

  it("2. returns all that follows, in an order that can be performed", () => {
    forAll((played) => {
      let state: ConnectionStateName = "idle";
      let current: number | undefined;
      let opened: number | undefined;
      for (const { input, effects, after } of played.calls) {
        for (const effect of effects) {
          if (effect.type === "moved") {
            expect(effect.from).toBe(state);
            expect(effect.to).toBe(transitions[effect.from][effect.why]);
            state = effect.to;
            if (effect.why === "opened") opened = current;
          } else if (effect.type === "dial") {
            expect([state, current]).toEqual(["dialing", undefined]);
            current = effect.socket;
          } else if (effect.type === "send") {
            expect([effect.socket, effect.socket]).toEqual([current, opened]);
          } else if (effect.type === "drop") {
            expect(effect.socket).toBe(current ?? "a socket");
            current = undefined;
          } else if (effect.type === "deliver") {
            expect(input).toHaveProperty("text", effect.text);
          }
        }
        expect(after).toBe(state);
        expect(current === undefined).toBe(!["dialing", "subscribing", "ready"].includes(state));
      }
    });
  });

  it("sends nothing but the subscribe before it is ready, and is made ready by that one's ack alone", () => {
    forAll((played) => {
      let subscribe = "none";
      let ready = false;
      for (const { input, effects } of played.calls)
        for (const effect of effects) {
          if (effect.type === "moved") ready = effect.to === "ready";
          if (effect.type === "moved" && ready)
            expect(input).toMatchObject({ type: "received", text: ackText(subscribe, 0) });
          if (effect.type !== "send") continue;
          const sent = parse(effect.text);
          expect(sent.cmd === cmd.subscribe).toBe(!ready);
          if (!ready) subscribe = sent.headers.req_id;
        }
    });
  });

  it("3. does nothing on a spurious tick", () => {
    forAllWithout(fc.double({ min: 0, max: 0.999, noNaN: true }), (played, roll) => {
      const { deadline } = played.connection;
      if (played.now === -Infinity) return undefined;
      // The deadline of requests may be early: it is a time to look, not always one at which something happens.
      const given = played.now;
      return roll < 0.5 || deadline === undefined
        ? { given, input: { type: "tick" } }
        : { given: given - roll * 1e5, input: { type: "tick" } };
    });
  });

  it("3. takes a now before the last one as the last", () => {
    fc.assert(
      fc.property(histories, optionSets, (history, options) => {
        const played = play(history, options);
        const twin = new Connection({ botId: "aibot", secret, random: seeded(7), ...options });
        for (const { input, now, effects } of played.calls) expect(twin.handle(now, input)).toEqual(effects);
      }),
      runs,
    );
  });

  it("3. needs no tick before its deadline", () => {
    fc.assert(
      fc.property(histories, optionSets, (history, options) => {
        const played = play(history, options);
        const { deadline } = played.connection;
        const early = deadline === undefined ? Math.max(0, played.now) + 1e9 : deadline - 0.001;
        expect(played.take({ type: "tick" }, early).effects).toEqual([]);
      }),
      runs,
    );
  });

  it("4. has a deadline later than now, or none", () => {
    forAll((played) => {
      for (const { now, deadline } of played.calls) if (deadline !== undefined) expect(deadline).toBeGreaterThan(now);
      for (const { deadline } of played.calls) expect(deadline).not.toBe(Infinity);
    });
  });

  it("5. ignores inputs of any socket but the current one", () => {
    forAllWithout(fc.nat(), (played, roll) => {
      const last = played.calls.at(-1);
      if (last === undefined) return undefined;
      const dialed = Math.max(0, ...effectsOf(played).map((effect) => (effect.type === "dial" ? effect.socket : 0)));
      const alive = ["dialing", "subscribing", "ready"].includes(played.connection.state);
      // Any number but the current socket's: those before it, one never dialled, and the last one after its end.
      const others = [...Array(dialed + 2).keys()].filter((socket) => !(alive && socket === dialed));
      const socket = others[roll % others.length]!;
      const inputs: ConnectionInput[] = [
        { type: "opened", socket },
        { type: "closed", socket, code: 1000, reason: "" },
        { type: "received", socket, text: messageText },
        { type: "received", socket, text: eventText("disconnected_event") },
        { type: "received", socket, text: ackText("R", 846_609) },
      ];
      return { given: played.now, input: inputs[roll % inputs.length]! };
    });
  });

  it("6. settles every request exactly once, and sends none that has settled, nor any twice", () => {
    forAll((played) => {
      played.take({ type: "stop" });
      const asked = new Set<unknown>();
      const settled = new Set<unknown>();
      const sent = new Set<unknown>();
      for (const { input, effects, pending } of played.calls) {
        if (input.type === "request") asked.add(input.key);
        for (const effect of effects) {
          const content = effect.type === "send" ? parse(effect.text).body?.markdown?.content : undefined;
          if (content !== undefined) {
            const key = Number(content);
            expect([asked.has(key), settled.has(key), sent.has(key)]).toEqual([true, false, false]);
            sent.add(key);
          }
          if (effect.type !== "settle") continue;
          expect([asked.has(effect.key), settled.has(effect.key)]).toEqual([true, false]);
          settled.add(effect.key);
          const { outcome } = effect;
          if ("maybeDelivered" in outcome) expect(outcome.maybeDelivered).toBe(sent.has(effect.key));
          if (outcome.type === "not-ready") expect(sent.has(effect.key)).toBe(false);
          if (outcome.type === "acked" || outcome.type === "refused") expect(sent.has(effect.key)).toBe(true);
        }
        expect(pending).toBe(asked.size - settled.size);
      }
      expect(settled).toEqual(asked);
    });
  });

  it("7. has one frame of a req_id in flight, and credits each ack to the oldest frame that it can belong to", () => {
    forAll((played) => {
      /** What was sent on each lane of the current socket and has had no ack; undefined once it was given up. */
      let owed: Record<string, (number | undefined)[]> = {};
      for (const { input, effects, before, socket } of played.calls) {
        let acked: readonly (number | undefined)[] = [];
        if (input.type === "received" && before === "ready" && input.socket === socket)
          acked = creditedBy(input.text, owed);
        for (const effect of effects) {
          if (effect.type === "dial") owed = {};
          if (effect.type === "settle") {
            const { type } = effect.outcome;
            if (type === "acked" || type === "refused") expect(acked).toEqual([effect.key]);
            for (const lane of Object.values(owed)) {
              const at = lane.indexOf(effect.key as number);
              if (at >= 0) lane[at] = undefined;
            }
          }
          if (effect.type === "send") {
            const { headers, body } = parse(effect.text);
            if (body?.markdown === undefined) continue;
            owed[headers.req_id] ??= [];
            const lane = owed[headers.req_id]!;
            expect(lane.some((flying) => flying !== undefined)).toBe(false);
            lane.push(Number(body.markdown.content));
          }
        }
      }
    });

    /** Takes the frame that an ack belongs to off its lane. Empty if the text is no ack of a lane. */
    function creditedBy(text: string, owed: Record<string, (number | undefined)[]>): readonly (number | undefined)[] {
      const ack = lanes.find((lane) => text.startsWith(`{"headers":{"req_id":"${lane}"},"errcode"`));
      const lane = ack === undefined ? undefined : owed[ack];
      return lane === undefined || lane.length === 0 ? [] : [lane.shift()];
    }
  });

  it("8. counts attempts until ready was stable, and waits longer after each", () => {
    fc.assert(
      fc.property(histories, fc.integer({ min: 1, max: 60_000 }), (history, stableMs) => {
        const played = play(history, { stableMs, afterKick: "rejoin" });
        let attempts = 0;
        let throttles = 0;
        let readyAt = Infinity;
        for (const { effects, now, deadline } of played.calls)
          for (const effect of effects) {
            if (effect.type !== "moved") continue;
            if (effect.from === "ready" && now - readyAt >= stableMs) {
              attempts = 0;
              throttles = 0;
            }
            if (effect.to === "ready") readyAt = now;
            if (effect.to !== "waiting") continue;
            const [base, limit, count] =
              effect.why === "throttled" ? [30_000, 300_000, throttles++] : [1_000, 30_000, attempts++];
            const d = Math.min(limit, base * 2 ** count);
            // A later effect of the same call may have ended the wait: then it is not this deadline.
            if (effect !== effects.findLast(({ type }) => type === "moved")) continue;
            expect(deadline! - now).toBeGreaterThanOrEqual(d - 0.001);
            expect(deadline! - now).toBeLessThanOrEqual(1.5 * d + 0.001);
          }
      }),
      runs,
    );
  });

  it("9. leaves kicked, refused and stopped by start and stop alone, or by the retry that was asked for", () => {
    fc.assert(
      fc.property(histories, optionSets, (history, options) => {
        const played = play(history, options);
        for (const { input, effects } of played.calls)
          for (const effect of effects) {
            if (effect.type !== "moved") continue;
            const { from, why } = effect;
            if (from !== "kicked" && from !== "refused" && from !== "stopped") continue;
            if (why === "start" || why === "stop") expect(input.type).toBe(why);
            else {
              expect(why).toBe("retry");
              if (from === "kicked") expect(options.afterKick).toBe("rejoin");
              if (from === "refused") expect(options.credentialsRetryMs).toBe(60_000);
              expect(from).not.toBe("stopped");
            }
          }
      }),
      runs,
    );
  });

  it("10. shows the secret in the subscribe frame and in no other effect, though the gateway quotes it", () => {
    forAll((played) => {
      for (const effect of effectsOf(played)) {
        const isSubscribe = effect.type === "send" && parse(effect.text).cmd === cmd.subscribe;
        expect(JSON.stringify(effect).includes(secret)).toBe(isSubscribe);
      }
    });
  });

  it("keeps the line up: once the faults end it is ready within 65 seconds", () => {
    fc.assert(
      fc.property(histories, (history) => {
        const played = play([...opening, ...history]);
        // Throttling, kicks and refusals have waits of their own.
        fc.pre(["dialing", "subscribing", "ready", "waiting"].includes(played.connection.state));
        fc.pre(!effectsOf(played).some((effect) => effect.type === "moved" && effect.why === "throttled"));
        const until = Math.max(played.now, played.clock) + 65_000;
        // What was asked of the gateway while it failed, it never answers.
        let lost = ["dialing", "subscribing"].includes(played.connection.state);
        while (played.connection.state !== "ready") {
          expect(played.connection.deadline).toBeLessThanOrEqual(until);
          played.step({ do: "due" });
          if (played.connection.state === "waiting") lost = false;
          if (lost || played.connection.state !== "dialing") continue;
          played.step({ do: "opened", socket: 0 });
          played.step(answer(0));
        }
      }),
      runs,
    );
  });

  it("holds nothing that grows with time: a day with a reconnect every five minutes leaves nothing open", () => {
    const played = new Play();
    for (const step of opening) played.step(step);
    for (let i = 0; i < 288; i++) {
      for (let k = 0; k < 10; k++) {
        played.step({ do: "due" });
        played.step({ do: "answered", socket: 0, to: "ping", errcode: 0 });
        played.step({ do: "request", lane: "R", ackMs: undefined });
        played.step({ do: "received", socket: 0, text: ackText("R", 0) });
      }
      played.step({ do: "closed", socket: 0 });
      expect(played.connection.deadline! - played.now).toBeLessThanOrEqual(1_500);
      played.step({ do: "due" });
      played.step({ do: "opened", socket: 0 });
      played.step(answer(0));
      expect([played.connection.state, played.connection.pending]).toEqual(["ready", 0]);
    }
    expect(played.now).toBeGreaterThan(86_000_000);
  });
});
