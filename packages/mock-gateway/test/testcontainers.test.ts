// What GatewayContainer refuses before any container exists. What it does with one: lanes/containers.
import { expect, test } from "vitest";
import { GatewayContainer } from "../src/testcontainers.ts";

test("a bot that no flag can name is refused at once", () => {
  expect(() => new GatewayContainer().withBot("a:b", "secret")).toThrow(RangeError);
  expect(() => new GatewayContainer().withBot("bot", "")).toThrow("must not be empty or contain a colon");
});

test("a switch that does not take the value is refused at once", () => {
  expect(() => new GatewayContainer().withSwitch("ackLatencyMs", -1)).toThrow("must not be negative");
});

test("a fault that there is not is refused at once", () => {
  expect(() => new GatewayContainer().withFault("earthquake")).toThrow(/there is no fault "earthquake"/);
});
