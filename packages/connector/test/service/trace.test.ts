import { describe, expect, it } from "vitest";
import { newTrace, readTrace, traceIdOf } from "../../src/service/trace.ts";

const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
const parent = "00f067aa0ba902b7";

describe("a trace", () => {
  it("begins with ids of its own, which can be read", () => {
    const [one, other] = [newTrace(), newTrace()];
    expect(readTrace(one)).toBe(one);
    expect(one).not.toBe(other);
    expect(traceIdOf({ traceparent: one })).toMatch(/^[0-9a-f]{32}$/);
    expect(traceIdOf({})).toBeUndefined();
  });

  it.each([
    ["sampled", `00-${trace}-${parent}-01`, `00-${trace}-${parent}-01`],
    ["not sampled", `00-${trace}-${parent}-00`, `00-${trace}-${parent}-00`],
    ["of a later version", `cc-${trace}-${parent}-01-what-comes`, `00-${trace}-${parent}-01`],
  ])("that is given is taken up: %s", (_, given, taken) => {
    expect(readTrace(given)).toBe(taken);
  });

  it.each([
    ["none", undefined],
    ["nothing", ""],
    ["no trace", `00-${"0".repeat(32)}-${parent}-01`],
    ["no parent", `00-${trace}-${"0".repeat(16)}-01`],
    ["upper case", `00-${trace.toUpperCase()}-${parent}-01`],
    ["more than its version has", `00-${trace}-${parent}-01-more`],
    ["the version that is forbidden", `ff-${trace}-${parent}-01`],
    ["two at once", `00-${trace}-${parent}-01, 00-${trace}-${parent}-01`],
    ["words", "hello\r\nx: y"],
  ])("that cannot be one counts as not given: %s", (_, given) => {
    expect(readTrace(given)).toBeUndefined();
  });
});
