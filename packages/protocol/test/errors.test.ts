import { describe, expect, it } from "vitest";
import {
  ConnectionEnded,
  OpenwsError,
  RequestError,
  UsageError,
  classifySend,
  classifySubscribe,
  errcodes,
  explain,
  plainErrmsg,
} from "../src/errors.ts";

const listed = [
  0, 853000, 93019, 40058, 45009, 45033, 846601, 846602, 846604, 846605, 846607, 846608, 846609, 846610, 6000, 40008,
  600039, 600011, 600041, 93001, 93006, 93008, 42014, 42039, 40201, 45002, 95001, -1, 40004, 40005, 40006, 40007, 40009,
  40011, 40001, 40013, 40054, 850001, 850003, 851003, 851008, 851013, 851014, 853006,
];

describe("the table of errcodes", () => {
  it("has every code that was seen on the gateway or beside it, and no other", () => {
    expect([...new Set(errcodes.map((entry) => entry.errcode))].toSorted((a, b) => a - b)).toEqual(
      listed.toSorted((a, b) => a - b),
    );
  });

  it("names each entry once, and lists a code twice only where its meaning changed", () => {
    expect(new Set(errcodes.map((entry) => entry.name)).size).toBe(errcodes.length);
    const twice = errcodes.filter((entry, at) => errcodes.findIndex((other) => other.errcode === entry.errcode) !== at);
    expect(twice.map((entry) => entry.errcode)).toEqual([846609]);
  });

  it.each(errcodes.map((entry) => [entry.name, entry] as const))(
    "explains %s in English and in Chinese",
    (_, entry) => {
      expect(entry.name).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*$/);
      for (const text of [entry.meaning, entry.cause, entry.advice]) {
        expect(text.en).toMatch(/^[A-Z][^\u4e00-\u9fff]+\.$/);
        expect(text.zh).toMatch(/[\u4e00-\u9fff].*。$/s);
        expect(text.zh).not.toMatch(/[\u4e00-\u9fff][,;?!]/);
      }
      expect(entry.source).not.toBe("");
    },
  );

  it("says how long to wait exactly where waiting helps, and how often exactly where repeating does", () => {
    for (const entry of errcodes) {
      const waits = entry.class === "throttled" || entry.class === "retry";
      expect([entry.errcode, entry.retryAfterMs !== undefined]).toEqual([entry.errcode, waits]);
      expect([entry.errcode, entry.repeats !== undefined]).toEqual([entry.errcode, entry.class === "retry"]);
    }
  });

  it("keeps the waits the policies rely on", () => {
    const policy = (errcode: number) => {
      const { retryAfterMs, repeats } = errcodes.find((entry) => entry.errcode === errcode)!;
      return [retryAfterMs, repeats];
    };
    expect(policy(6000)).toEqual([200, 3]);
    expect(policy(846607)).toEqual([60_000, undefined]);
    expect(policy(45009)).toEqual([30_000, undefined]);
    expect(policy(45033)).toEqual([30_000, undefined]);
    expect(policy(-1)).toEqual([500, 2]);
  });
});

describe("explain", () => {
  it("answers with the entry of the code", () => {
    expect(explain(846607)).toMatchObject({ known: true, errcode: 846607, name: "chat-too-often", class: "throttled" });
  });

  it("takes 846609 for its present meaning when there is no text or a strange one", () => {
    expect(explain(846609).name).toBe("not-subscribed");
    expect(explain(846609, "").name).toBe("not-subscribed");
    expect(explain(846609, "something new").name).toBe("not-subscribed");
  });

  it("tells the two meanings of 846609 apart by the text, suffix and letter case aside", () => {
    const suffix = ", hint: [1700000000], from ip: 192.0.2.1, more info at https://example.org";
    expect(explain(846609, `aibot websocket not subscribed${suffix}`).name).toBe("not-subscribed");
    expect(explain(846609, `Unsupported MCP biz type${suffix}`).name).toBe("mcp-not-supported-before-2026-04");
  });

  it("lets the text decide for 846610 too, and keeps the code that was asked for", () => {
    expect(explain(846610)).toMatchObject({ name: "mcp-not-supported", class: "permanent" });
    expect(explain(846610, "unsupported mcp biz type")).toMatchObject({ name: "mcp-not-supported" });
    expect(explain(846610, "aibot websocket not subscribed")).toMatchObject({
      errcode: 846610,
      name: "not-subscribed",
      class: "reconnect",
    });
  });

  it("does not let the text decide for any other code", () => {
    expect(explain(40058, "unsupported mcp biz type").name).toBe("invalid-parameter");
  });

  it("admits that it does not know a code", () => {
    expect(explain(123456, "what is this")).toMatchObject({
      known: false,
      errcode: 123456,
      name: "unknown-code",
      class: "unknown",
    });
    expect(explain(123456).advice.zh).toMatch(/errmsg/);
  });

  it("does not fall for numbers that are no codes", () => {
    for (const strange of [Number.NaN, Infinity, 0.5]) expect(explain(strange).known).toBe(false);
  });
});

describe("classifySubscribe", () => {
  it.each([
    [0, "accepted"],
    [853000, "credentials"],
    [93019, "credentials"],
    [40001, "credentials"],
    [40013, "credentials"],
    [45009, "throttled"],
    [45033, "throttled"],
    [846609, "not-subscribed"],
    [-1, "temporary"],
    [40058, "temporary"],
    [6000, "temporary"],
    [600041, "temporary"],
    [999999, "temporary"],
  ] as const)("takes %i for %s", (errcode, expected) => {
    expect(classifySubscribe(errcode)).toBe(expected);
  });

  it("reads the text where the code is ambiguous", () => {
    expect(classifySubscribe(846609, "unsupported mcp biz type")).toBe("temporary");
  });
});

describe("classifySend", () => {
  it.each([
    [0, "accepted"],
    [846607, "throttled"],
    [45009, "throttled"],
    [6000, "retry"],
    [-1, "retry"],
    [846609, "reconnect"],
    [846604, "fallback"],
    [846605, "fallback"],
    [846608, "fallback"],
    [600039, "fallback"],
    [93006, "permanent"],
    [42014, "permanent"],
    [853000, "permanent"],
    [95001, "unknown"],
    [999999, "unknown"],
  ] as const)("takes %i for %s", (errcode, expected) => {
    expect(classifySend(errcode)).toBe(expected);
  });

  it("reads the text where the code is ambiguous", () => {
    expect(classifySend(846609, "unsupported mcp biz type, hint: [x]")).toBe("permanent");
  });
});

describe("plainErrmsg", () => {
  const plain = "invalid bot_id or secret";

  it.each([
    [plain, plain],
    [`${plain}, hint: [1700000000_a], from ip: 192.0.2.1, more info at https://example.org/?e=853000`, plain],
    [`${plain}, hint: [1700000000_a]`, plain],
    [`${plain}, from ip: 192.0.2.1`, plain],
    [`${plain} , more info at https://example.org`, plain],
    [`${plain} hint: [x]`, plain],
    [`${plain}, Hint: [x]`, plain],
    [`${plain}, rid: 65a-1-2`, plain],
    ["hint: [x], from ip: 192.0.2.1", ""],
    ["", ""],
    ["  padded  ", "padded"],
    ["a hinting, b", "a hinting, b"],
  ])("makes of %j the plain %j", (errmsg, expected) => {
    expect(plainErrmsg(errmsg)).toBe(expected);
  });

  it("takes no longer for a hostile text than for a friendly one of its length", () => {
    expect(plainErrmsg(" ,".repeat(200_000))).toHaveLength(399_997);
  });
});

describe("the error classes", () => {
  it("tells a caller what is wrong and where, by code, path and cause", () => {
    const cause = new Error("inner");
    const error = new UsageError("content is too long: split it", { path: "body.stream.content", cause });
    expect(error).toBeInstanceOf(OpenwsError);
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: "UsageError", code: "usage", path: "body.stream.content", cause });
    expect(String(error)).toBe("UsageError: content is too long: split it");
  });

  it("leaves out a path and a cause that do not exist", () => {
    const error = new UsageError("start it first");
    expect(error.path).toBeUndefined();
    expect("cause" in error).toBe(false);
    expect(new UsageError("start it first", { path: undefined }).path).toBeUndefined();
  });

  it("carries a code of its own when it is none of the known kinds", () => {
    expect(new OpenwsError("store-full", "The store is full.")).toMatchObject({
      name: "OpenwsError",
      code: "store-full",
    });
  });

  it("explains a refusal without the gateway's hint and addresses", () => {
    const error = new RequestError({
      outcome: "refused",
      errcode: 846605,
      errmsg: "invalid req_id, hint: [17], from ip: 192.0.2.1, more info at https://example.org",
    });
    expect(error).toMatchObject({
      name: "RequestError",
      code: "request-refused",
      outcome: "refused",
      errcode: 846605,
      errmsg: "invalid req_id",
      maybeDelivered: false,
    });
    expect(error.message).toMatch(/^The gateway refused the request with 846605 "invalid req_id"\. The req_id cannot/);
    expect(`${error.message}${JSON.stringify(error)}`).not.toMatch(/192\.0\.2\.1|hint|example/);
  });

  it("explains a refusal that came without a text", () => {
    const error = new RequestError({ outcome: "refused", errcode: 7 });
    expect(error.message).toMatch(/^The gateway refused the request with 7\. A code that is in no list we know\./);
    expect(error.errmsg).toBeUndefined();
  });

  it.each(["not-ready", "timed-out", "connection-lost", "stopped", "abandoned"] as const)(
    "says of a request that was %s whether it may have been delivered",
    (outcome) => {
      const sent = new RequestError({ outcome, maybeDelivered: true }, { cause: "socket" });
      expect(sent).toMatchObject({ code: `request-${outcome}`, outcome, maybeDelivered: true, cause: "socket" });
      expect(sent.message).toMatch(/\. It may have been delivered\.$/);
      const unsent = new RequestError({ outcome, maybeDelivered: false });
      expect(unsent.message).not.toMatch(/may have been delivered/);
      expect(unsent).toMatchObject({ errcode: undefined, errmsg: undefined });
    },
  );

  it.each(["kicked", "refused", "exhausted", "stopped"] as const)(
    "says why a connection that was %s is over",
    (why) => {
      const error = new ConnectionEnded(why, { cause: 1 });
      expect(error).toMatchObject({ name: "ConnectionEnded", code: `connection-${why}`, why, cause: 1 });
      expect(error.message).toMatch(/^[A-Z].+\.$/);
    },
  );
});
