import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UsageError } from "../src/errors.ts";
import { cmd, encode } from "../src/frames.ts";
import type { EncodedFrame } from "../src/frames.ts";
import { Requests, makeReqId, maxOwedLanes } from "../src/requests.ts";
import type { RequestEffect, RequestKey } from "../src/requests.ts";

/** A frame of the lane `req_id` whose text tells which one it is. */
const frame = (req_id: string, content = "."): EncodedFrame =>
  encode({ cmd: cmd.respond, headers: { req_id }, body: { msgtype: "markdown", markdown: { content } } });

const ack = (req_id: string, errcode = 0, body?: unknown) => ({
  req_id,
  errcode,
  errmsg: errcode === 0 ? "ok" : "no",
  body,
});

/** Effects in few words: `send R k`, `k acked`, `late R 0`. */
const brief = (effects: readonly RequestEffect[]): string[] => effects.map(inBrief);

function inBrief(effect: RequestEffect): string {
  if (effect.type === "stray") return `${effect.why} ${effect.req_id} ${effect.errcode}`;
  if (effect.type === "send") {
    const sent = JSON.parse(effect.text) as { headers: { req_id: string }; body: { markdown: { content: string } } };
    return `send ${sent.headers.req_id} ${sent.body.markdown.content}`;
  }
  const { key, outcome } = effect;
  if (!("maybeDelivered" in outcome)) return `${key} ${outcome.type}`;
  return `${key} ${outcome.type} ${outcome.maybeDelivered ? "maybe" : "never"}`;
}

/** Submits a request named `key` on the lane `req_id`; its text holds the key. */
const submit = (requests: Requests, now: number, key: RequestKey, req_id: string, ackMs = 10): string[] =>
  brief(requests.submit(now, { key, frame: frame(req_id, String(key)), ackMs }));

describe("Requests", () => {
  it("has nothing open and no deadline at first", () => {
    const requests = new Requests();
    expect([requests.size, requests.deadline]).toEqual([0, undefined]);
    expect(requests.tick(1e9)).toEqual([]);
    expect(requests.end("stopped")).toEqual([]);
  });

  it("sends at once what finds its lane free, exactly as it was encoded", () => {
    const requests = new Requests();
    const given = frame("R", "hello");
    expect(requests.submit(0, { key: "a", frame: given, ackMs: 10 })).toEqual([
      { type: "send", cmd: cmd.respond, text: given.text },
    ]);
    expect([requests.size, requests.deadline]).toEqual([1, 10]);
  });

  it("keeps lanes of different req_ids apart", () => {
    const requests = new Requests();
    expect(submit(requests, 0, "a", "R")).toEqual(["send R a"]);
    expect(submit(requests, 0, "b", "S")).toEqual(["send S b"]);
    expect(brief(requests.acknowledge(1, ack("S")))).toEqual(["b acked"]);
    expect(brief(requests.acknowledge(1, ack("R")))).toEqual(["a acked"]);
  });

  it("correlates by the exact req_id, never by a prefix or another case", () => {
    const requests = new Requests();
    submit(requests, 0, "a", "Req_1");
    for (const other of ["Req_", "Req_12", "req_1", " Req_1", ""])
      expect(brief(requests.acknowledge(1, ack(other)))).toEqual([`unknown ${other} 0`]);
    expect(requests.size).toBe(1);
  });

  it("sends the next frame of a lane only after the ack of the one before, in the order of submission", () => {
    const requests = new Requests();
    expect(submit(requests, 0, "a", "R")).toEqual(["send R a"]);
    expect(submit(requests, 0, "b", "R")).toEqual([]);
    expect(submit(requests, 0, "c", "R")).toEqual([]);
    expect(requests.size).toBe(3);
    expect(brief(requests.acknowledge(5, ack("R")))).toEqual(["a acked", "send R b"]);
    expect(brief(requests.acknowledge(6, ack("R")))).toEqual(["b acked", "send R c"]);
    expect(brief(requests.acknowledge(7, ack("R")))).toEqual(["c acked"]);
    expect([requests.size, requests.deadline]).toEqual([0, undefined]);
  });

  it("counts the time for an ack from the sending, not from the submission", () => {
    const requests = new Requests();
    submit(requests, 0, "a", "R", 100);
    submit(requests, 0, "b", "R", 10);
    expect(brief(requests.acknowledge(90, ack("R")))).toEqual(["a acked", "send R b"]);
    expect(brief(requests.tick(99))).toEqual([]);
    expect(brief(requests.tick(100))).toEqual(["b timed-out maybe"]);
  });

  it("tells an acked request what the ack carried, and nothing where it carried nothing", () => {
    const requests = new Requests();
    submit(requests, 0, "a", "R");
    submit(requests, 0, "b", "S");
    submit(requests, 0, "c", "T");
    const body = { upload_id: "u" };
    const answered = { cmd: cmd.respond, afterMs: 1 };
    expect(requests.acknowledge(1, ack("R", 0, body))).toEqual([
      { type: "settle", key: "a", outcome: { type: "acked", body }, ...answered },
    ]);
    const [bare] = requests.acknowledge(1, ack("S"));
    expect(bare).toStrictEqual({ type: "settle", key: "b", outcome: { type: "acked" }, ...answered });
    expect(requests.acknowledge(1, ack("T", 0, null))).toEqual([
      { type: "settle", key: "c", outcome: { type: "acked", body: null }, ...answered },
    ]);
  });

  it("times an ack from when its frame left, not from when it began to wait for its lane", () => {
    const requests = new Requests();
    submit(requests, 0, "a", "R", 100);
    submit(requests, 0, "b", "R", 100);
    const [first] = requests.acknowledge(30, ack("R"));
    const [second] = requests.acknowledge(35, ack("R"));
    expect([first, second]).toMatchObject([
      { key: "a", afterMs: 30 },
      { key: "b", afterMs: 5 },
    ]);
  });

  it("tells a refused request the errcode and the errmsg, and goes on with the lane", () => {
    const requests = new Requests();
    submit(requests, 0, "a", "R");
    submit(requests, 0, "b", "R");
    expect(requests.acknowledge(1, ack("R", 846_608))).toEqual([
      {
        type: "settle",
        key: "a",
        outcome: { type: "refused", errcode: 846_608, errmsg: "no" },
        cmd: cmd.respond,
        afterMs: 1,
      },
      { type: "send", cmd: cmd.respond, text: frame("R", "b").text },
    ]);
  });

  it("takes a negative errcode for a refusal", () => {
    const requests = new Requests();
    submit(requests, 0, "a", "R");
    expect(brief(requests.acknowledge(1, ack("R", -1)))).toEqual(["a refused"]);
  });

  it("sends nothing after an ack that is the socket's last", () => {
    const requests = new Requests();
    submit(requests, 0, "a", "R");
    submit(requests, 0, "b", "R");
    expect(brief(requests.acknowledge(1, ack("R", 846_609), "end"))).toEqual(["a refused"]);
    expect(brief(requests.end("connection-lost"))).toEqual(["b connection-lost never"]);
    expect(requests.size).toBe(0);
  });

  it("calls an ack that nobody asked for unknown, with its errcode", () => {
    const requests = new Requests();
    expect(requests.acknowledge(0, ack("X", 93_006))).toEqual([
      { type: "stray", req_id: "X", why: "unknown", errcode: 93_006 },
    ]);
  });

  it("calls the repeated ack of an idle lane unknown", () => {
    const requests = new Requests();
    submit(requests, 0, "a", "R");
    expect(brief(requests.acknowledge(1, ack("R")))).toEqual(["a acked"]);
    expect(brief(requests.acknowledge(1, ack("R")))).toEqual(["unknown R 0"]);
  });

  describe("when an ack does not come", () => {
    it("settles as timed out when the time is up, not a millisecond before", () => {
      const requests = new Requests();
      submit(requests, 5, "a", "R", 10);
      expect(requests.deadline).toBe(15);
      expect(requests.tick(14)).toEqual([]);
      expect(requests.size).toBe(1);
      expect(requests.tick(15)).toEqual([
        { type: "settle", key: "a", outcome: { type: "timed-out", maybeDelivered: true } },
      ]);
      expect([requests.size, requests.deadline]).toEqual([0, undefined]);
      expect(requests.tick(16)).toEqual([]);
    });

    it("sends what waited behind it, with a time of its own", () => {
      const requests = new Requests();
      submit(requests, 0, "a", "R", 10);
      submit(requests, 0, "b", "R", 7);
      expect(brief(requests.tick(12))).toEqual(["a timed-out maybe", "send R b"]);
      expect(requests.deadline).toBe(19);
    });

    it("takes the next ack for the one that is owed, so that a late ack confirms nothing", () => {
      const requests = new Requests();
      submit(requests, 0, "a", "R", 10);
      submit(requests, 0, "b", "R", 10);
      requests.tick(10);
      expect(requests.acknowledge(11, ack("R", 6000))).toEqual([
        { type: "stray", req_id: "R", why: "late", errcode: 6000 },
      ]);
      expect(brief(requests.acknowledge(12, ack("R", 846_608)))).toEqual(["b refused"]);
    });

    it("owes one ack for each frame that was given up", () => {
      const requests = new Requests();
      for (const key of ["a", "b", "c"]) submit(requests, 0, key, "R", 10);
      requests.tick(10);
      requests.tick(20);
      expect(brief(requests.acknowledge(21, ack("R")))).toEqual(["late R 0"]);
      expect(brief(requests.acknowledge(22, ack("R")))).toEqual(["late R 0"]);
      expect(brief(requests.acknowledge(23, ack("R")))).toEqual(["c acked"]);
      expect(brief(requests.acknowledge(24, ack("R")))).toEqual(["unknown R 0"]);
    });

    it("remembers what is owed while the lane is idle, and when it is used again", () => {
      const requests = new Requests();
      submit(requests, 0, "a", "R", 10);
      requests.tick(10);
      expect(submit(requests, 1000, "b", "R")).toEqual(["send R b"]);
      expect(brief(requests.acknowledge(1001, ack("R")))).toEqual(["late R 0"]);
      expect(brief(requests.acknowledge(1002, ack("R")))).toEqual(["b acked"]);
    });

    it("forgets an idle lane once all it owed has come", () => {
      const requests = new Requests();
      submit(requests, 0, "a", "R", 10);
      requests.tick(10);
      expect(brief(requests.acknowledge(11, ack("R")))).toEqual(["late R 0"]);
      expect(brief(requests.acknowledge(12, ack("R")))).toEqual(["unknown R 0"]);
    });

    it("gives up every overdue lane in one tick and keeps the others", () => {
      const requests = new Requests();
      submit(requests, 0, "a", "R", 10);
      submit(requests, 0, "b", "S", 30);
      submit(requests, 0, "c", "T", 20);
      submit(requests, 0, "d", "U", 40);
      expect(brief(requests.tick(20))).toEqual(["a timed-out maybe", "c timed-out maybe"]);
      expect(requests.deadline).toBe(30);
      expect(brief(requests.tick(30))).toEqual(["b timed-out maybe"]);
      expect(requests.deadline).toBe(40);
    });

    it("names a deadline that is never too late, and exact after a tick", () => {
      const requests = new Requests();
      submit(requests, 0, "a", "R", 10);
      submit(requests, 0, "b", "S", 30);
      requests.acknowledge(5, ack("R"));
      expect(requests.deadline).toBeLessThanOrEqual(30);
      expect(requests.tick(10)).toEqual([]);
      expect(requests.deadline).toBe(30);
    });
  });

  it("remembers a req_id for an open request or an owed ack, and says how many", () => {
    const requests = new Requests();
    submit(requests, 0, "a", "R");
    submit(requests, 0, "b", "S");
    expect(requests.lanes).toBe(2);
    requests.acknowledge(1, ack("R"));
    requests.abandon("b");
    expect(requests.lanes).toBe(1);
    requests.acknowledge(2, ack("S"));
    expect(requests.lanes).toBe(0);
  });

  describe("abandon", () => {
    it("settles what flies as stopped and perhaps delivered, and holds its lane until its ack has come", () => {
      const requests = new Requests();
      submit(requests, 0, "a", "R");
      submit(requests, 0, "b", "R");
      expect(brief(requests.abandon("a"))).toEqual(["a stopped maybe"]);
      expect(brief(requests.acknowledge(2, ack("R", 6000)))).toEqual(["late R 6000", "send R b"]);
      expect(brief(requests.acknowledge(3, ack("R")))).toEqual(["b acked"]);
    });

    it("holds the lane no longer than the ack may take, and then owes it", () => {
      const requests = new Requests();
      submit(requests, 0, "a", "R", 10);
      submit(requests, 0, "b", "R", 10);
      requests.abandon("a");
      expect(requests.deadline).toBe(10);
      expect(brief(requests.tick(9))).toEqual([]);
      expect(brief(requests.tick(10))).toEqual(["send R b"]);
      expect(brief(requests.acknowledge(11, ack("R")))).toEqual(["late R 0"]);
      expect(brief(requests.acknowledge(12, ack("R")))).toEqual(["b acked"]);
    });

    it("knows a request that has taken the key of an abandoned one from it", () => {
      const requests = new Requests();
      submit(requests, 0, "a", "R");
      requests.abandon("a");
      submit(requests, 1, "a", "R");
      expect(brief(requests.abandon("a"))).toEqual(["a stopped never"]);
      expect(brief(requests.acknowledge(2, ack("R")))).toEqual(["late R 0"]);
      expect(requests.lanes).toBe(0);
    });

    it("has nothing left to settle when the socket goes", () => {
      const requests = new Requests();
      submit(requests, 0, "a", "R");
      requests.abandon("a");
      expect(brief(requests.end("connection-lost"))).toEqual([]);
    });

    it("settles what is queued as stopped and never delivered, and never sends it", () => {
      const requests = new Requests();
      for (const key of ["a", "b", "c"]) submit(requests, 0, key, "R");
      expect(brief(requests.abandon("b"))).toEqual(["b stopped never"]);
      expect(brief(requests.acknowledge(2, ack("R")))).toEqual(["a acked", "send R c"]);
      expect(requests.size).toBe(1);
    });

    it("does nothing for a key that has settled or was never there", () => {
      const requests = new Requests();
      submit(requests, 0, "a", "R");
      requests.acknowledge(1, ack("R"));
      expect(requests.abandon("a")).toEqual([]);
      expect(requests.abandon("z")).toEqual([]);
    });
  });

  describe("end", () => {
    it.each(["connection-lost", "stopped"] as const)("settles all that is open as %s", (type) => {
      const requests = new Requests();
      submit(requests, 0, "a", "R");
      submit(requests, 0, "b", "R");
      submit(requests, 0, "c", "S");
      expect(requests.end(type)).toEqual([
        { type: "settle", key: "a", outcome: { type, maybeDelivered: true } },
        { type: "settle", key: "b", outcome: { type, maybeDelivered: false } },
        { type: "settle", key: "c", outcome: { type, maybeDelivered: true } },
      ]);
      expect([requests.size, requests.deadline]).toEqual([0, undefined]);
    });

    it("leaves nothing for the next socket: no lane, nothing owed, no deadline", () => {
      const requests = new Requests();
      submit(requests, 0, "a", "R", 10);
      submit(requests, 0, "b", "S", 10);
      requests.tick(10);
      submit(requests, 11, "c", "R", 10);
      requests.end("connection-lost");
      expect(submit(requests, 12, "c", "R", 100)).toEqual(["send R c"]);
      expect(requests.deadline).toBe(112);
      expect(brief(requests.acknowledge(13, ack("R")))).toEqual(["c acked"]);
      expect(brief(requests.acknowledge(13, ack("S")))).toEqual(["unknown S 0"]);
    });
  });

  describe("what a caller may not do", () => {
    it("refuses a key that is open, and changes nothing", () => {
      const requests = new Requests();
      submit(requests, 0, "a", "R");
      submit(requests, 0, 7, "R");
      for (const key of ["a", 7]) {
        expect(() => submit(requests, 1, key, "S")).toThrow(UsageError);
        expect(() => submit(requests, 1, key, "S")).toThrow(`request key ${key} is open already`);
      }
      expect(requests.size).toBe(2);
      expect(brief(requests.acknowledge(1, ack("S")))).toEqual(["unknown S 0"]);
    });

    it("tells the number 7 from the text 7", () => {
      const requests = new Requests();
      submit(requests, 0, 7, "R");
      expect(submit(requests, 0, "7", "S")).toEqual(["send S 7"]);
    });

    it("allows a key again once it has settled", () => {
      const requests = new Requests();
      submit(requests, 0, "a", "R");
      requests.acknowledge(1, ack("R"));
      expect(submit(requests, 2, "a", "R")).toEqual(["send R a"]);
    });

    it.each([0, 0.99, -5, Number.NaN, Infinity, -Infinity])("refuses to wait %d ms for an ack", (ackMs) => {
      const requests = new Requests();
      const check = () => requests.check({ key: "a", ackMs });
      expect(check).toThrow(UsageError);
      expect(check).toThrow("ackMs must be a finite number of milliseconds from 1");
      expect(check).toThrow(expect.objectContaining({ path: "ackMs" }));
      expect(() => submit(requests, 0, "a", "R", ackMs)).toThrow(UsageError);
      expect(requests.size).toBe(0);
    });

    it("waits a single millisecond if asked to", () => {
      const requests = new Requests();
      submit(requests, 0, "a", "R", 1);
      expect(requests.deadline).toBe(1);
    });
  });

  describe("memory", () => {
    it("remembers the youngest thousand lanes that only owe an ack", () => {
      const requests = new Requests();
      for (let i = 0; i < maxOwedLanes + 2; i++) {
        submit(requests, i, `k${i}`, `R${i}`, 1);
        requests.tick(i + 1);
      }
      for (const forgotten of ["R0", "R1"])
        expect(brief(requests.acknowledge(9e9, ack(forgotten)))).toEqual([`unknown ${forgotten} 0`]);
      for (const remembered of ["R2", `R${maxOwedLanes + 1}`])
        expect(brief(requests.acknowledge(9e9, ack(remembered)))).toEqual([`late ${remembered} 0`]);
    });

    it("makes a lane young again when one more ack is owed on it", () => {
      const requests = new Requests();
      const owe = (lane: string, now: number) => {
        submit(requests, now, lane, lane, 1);
        requests.tick(now + 1);
      };
      for (let i = 0; i < maxOwedLanes; i++) owe(`R${i}`, i);
      owe("R0", 1e6);
      owe("fresh", 1e7);
      expect(brief(requests.acknowledge(9e9, ack("R1")))).toEqual(["unknown R1 0"]);
      expect(brief(requests.acknowledge(9e9, ack("R0")))).toEqual(["late R0 0"]);
    });

    it("never forgets a lane in use, nor what it owes, however many others owe", () => {
      const requests = new Requests();
      submit(requests, 0, "a", "R", 1);
      requests.tick(1);
      submit(requests, 1, "b", "R", 1e6);
      for (let i = 0; i < 2 * maxOwedLanes; i++) {
        submit(requests, i, `k${i}`, `S${i}`, 1);
        requests.tick(i + 1);
      }
      expect(brief(requests.acknowledge(5000, ack("R")))).toEqual(["late R 0"]);
      expect(brief(requests.acknowledge(5000, ack("R")))).toEqual(["b acked"]);
    });

    it("does not count a lane as owing once its acks have come", () => {
      const requests = new Requests();
      const owe = (lane: string, now: number) => {
        submit(requests, now, lane, lane, 1);
        requests.tick(now + 1);
      };
      owe("old", 0);
      for (let i = 0; i < 10 * maxOwedLanes; i++) {
        owe(`R${i}`, 10 * i);
        requests.acknowledge(10 * i + 2, ack(`R${i}`));
      }
      expect(brief(requests.acknowledge(9e9, ack("old")))).toEqual(["late old 0"]);
    });
  });

  /**
   * A model in which lanes are lists: each frame that was sent is owed exactly one ack, oldest first. What the class does
   * with counters and sets must come to the same.
   */
  it("settles each request once, sends it at most once, and credits acks as a plain list of what is owed would", () => {
    const lanes = ["R", "S", "T"];
    const steps = fc.array(
      fc.oneof(
        fc.record({
          do: fc.constant("submit" as const),
          lane: fc.constantFrom(...lanes),
          ackMs: fc.integer({ min: 1, max: 30 }),
        }),
        fc.record({
          do: fc.constant("ack" as const),
          lane: fc.constantFrom(...lanes, "X"),
          errcode: fc.constantFrom(0, 0, 6000),
        }),
        fc.record({ do: fc.constant("abandon" as const), nth: fc.nat(20) }),
        fc.record({ do: fc.constant("pass" as const), ms: fc.nat(20) }),
        fc.record({ do: fc.constant("end" as const) }),
      ),
      { maxLength: 80, size: "max" },
    );
    fc.assert(
      fc.property(steps, (history) => {
        const requests = new Requests();
        const abandoned = -1;
        let now = 0;
        let next = 0;
        /** What was sent on each lane and has no ack yet; `undefined` once it timed out, `abandoned` while it holds its lane without being waited for. */
        const owed = new Map<string, (number | undefined)[]>();
        const heldUntil = new Map<string, number>();
        const open = new Map<number, { lane: string; ackMs: number; sent: boolean }>();
        const sent = new Set<number>();
        const laneOf = (lane: string) => owed.get(lane) ?? owed.set(lane, []).get(lane)!;
        const absorb = (effects: readonly RequestEffect[]) => {
          for (const effect of effects) {
            if (effect.type === "send") {
              const key = Number(/"content":"(\d+)"/.exec(effect.text)?.[1]);
              const request = open.get(key)!;
              expect(request.sent).toBe(false);
              expect(sent.has(key)).toBe(false);
              const lane = laneOf(request.lane);
              for (const [at, flying] of lane.entries())
                if (flying === abandoned && now >= heldUntil.get(request.lane)!) lane[at] = undefined;
              expect(lane.some((flying) => flying !== undefined)).toBe(false);
              lane.push(key);
              heldUntil.set(request.lane, now + request.ackMs);
              request.sent = true;
              sent.add(key);
            }
            if (effect.type === "settle") {
              const key = effect.key as number;
              const request = open.get(key)!;
              expect(request).toBeDefined();
              open.delete(key);
              const lane = laneOf(request.lane);
              if ("maybeDelivered" in effect.outcome) expect(effect.outcome.maybeDelivered).toBe(request.sent);
              const at = lane.indexOf(key);
              if (effect.outcome.type === "acked" || effect.outcome.type === "refused") {
                expect(at).toBe(0);
                lane.shift();
              } else if (at >= 0) lane[at] = effect.outcome.type === "stopped" ? abandoned : undefined;
            }
            if (effect.type === "stray") {
              if (effect.why === "late") expect([undefined, abandoned]).toContain(laneOf(effect.req_id).shift());
              else expect(laneOf(effect.req_id)).toEqual([]);
            }
          }
        };
        for (const step of history) {
          switch (step.do) {
            case "submit": {
              const key = next++;
              open.set(key, { lane: step.lane, ackMs: step.ackMs, sent: false });
              absorb(requests.submit(now, { key, frame: frame(step.lane, String(key)), ackMs: step.ackMs }));
              break;
            }
            case "ack": {
              const effects = requests.acknowledge(now, ack(step.lane, step.errcode));
              expect(effects[0]?.type === "stray" || effects[0]?.type === "settle").toBe(true);
              absorb(effects);
              break;
            }
            case "abandon":
              absorb(requests.abandon(step.nth));
              expect(open.has(step.nth)).toBe(false);
              break;
            case "pass":
              now += step.ms;
              absorb(requests.tick(now));
              expect(requests.tick(now)).toEqual([]);
              break;
            case "end":
              absorb(requests.end("connection-lost"));
              expect(open.size).toBe(0);
              owed.clear();
          }
          expect(requests.size).toBe(open.size);
          expect(requests.deadline === undefined).toBe(open.size === 0);
          for (const [key, { lane, sent: isSent }] of open) expect(laneOf(lane).includes(key)).toBe(isSent);
        }
      }),
      { numRuns: 250 },
    );
  });
});

describe("makeReqId", () => {
  it("joins a prefix and 64 random bits in hexadecimal", () => {
    const rolls = [
      0,
      0.999_999_999_9,
      0.5,
      1 / 0x1_0000_0000,
      0x12_34_56_78 / 0x1_0000_0000,
      0x9a_bc_de_f0 / 0x1_0000_0000,
    ];
    const random = () => rolls.shift()!;
    expect(makeReqId("ping", random)).toBe("ping_00000000ffffffff");
    expect(makeReqId("", random)).toBe("_8000000000000001");
    expect(makeReqId("", random)).toBe("_123456789abcdef0");
  });
});
