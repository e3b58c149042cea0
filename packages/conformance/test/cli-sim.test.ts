import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { sim } from "../src/cli/sim.ts";

let said = "";

beforeEach(() => {
  said = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    said += String(text);
    return true;
  });
});

afterEach(() => {
  vi.restoreAllMocks();
});

test("schedules that hold exit 0 and say what was tried", () => {
  expect(sim(["--runs", "3", "--seed", "7"])).toBe(0);
  expect(said).toMatch(/^3 schedules from seed 7 · \d+ virtual hours · each /);
});

test("without a seed there is one, and it is said", () => {
  expect(sim(["--runs", "1"])).toBe(0);
  expect(said).toMatch(/^1 schedules from seed \d+ · /);
});

test("a limit in minutes ends a run that would go on", () => {
  expect(sim(["--runs", "1000000", "--seed", "7", "--minutes", "0"])).toBe(0);
  expect(said).toMatch(/^0 schedules from seed 7/);
});

test("a replay of what holds exits 0 and says so", () => {
  expect(sim(["--seed", "7", "--path", "0"])).toBe(0);
  expect(said).toBe("seed 7, path 0: every invariant holds\n");
});

test("help says what there is", () => {
  expect(sim(["--help"])).toBe(0);
  expect(said).toContain("--path PATH");
});

test.each([["--runs", "many"], ["--seed", "-1"], ["--minutes", "1.5"], ["--what"]])("%s %s is a mistake", (...args) => {
  expect(() => sim(args.filter((arg) => arg !== undefined))).toThrow(TypeError);
});
