/** Random histories on a real wire: drawn from a seed alone, judged, and made small when they fail. */
import { describe, expect, it } from "vitest";
import { lanes, type Line } from "../src/check.ts";
import { plainBot } from "../src/cli/self-test.ts";
import { columns, sequence } from "../src/diagram.ts";
import { drawn, tryHistories, type PropertyOptions, type PropertyRun } from "../src/properties.ts";
import type { Defect } from "../src/defects.ts";

const options: PropertyOptions = {
  lane: lanes.scaled,
  seed: 1,
  runs: 3,
  atOnce: 3,
  contract: true,
  replay: "--contract --lane scaled -- node bot.js",
};

const tried = (defect: Defect | "none", more: Partial<PropertyOptions>): Promise<PropertyRun> =>
  tryHistories(plainBot(defect), { ...options, ...more });

/** The first seed whose history does this. */
const seedWith = (wanted: RegExp): number => {
  for (let seed = 1; ; seed++) if (wanted.test(JSON.stringify(drawn(seed, true)))) return seed;
};

const closed = /^\[\{"do":"cut","how":"close","code":1000\}/;

describe("a history", () => {
  it("follows from its seed, and differs from the next one's", () => {
    expect(drawn(7, true)).toEqual(drawn(7, true));
    expect(drawn(7, true)).not.toEqual(drawn(8, true));
  });

  it("uses the words of the echo contract only where they are understood", () => {
    const texts = Array.from({ length: 60 }, (_, seed) => JSON.stringify(drawn(seed, false))).join("");
    expect(texts).not.toContain("!stream");
  });
});

describe.concurrent("random histories", () => {
  it("find nothing wrong with a correct bot", { timeout: 90_000 }, async ({ expect }) => {
    const { outcomes, failures, harness } = await tried("none", { seed: 21 });
    expect({ failures, harness }).toEqual({ failures: [], harness: [] });
    expect(outcomes.map(({ id }) => id)).toEqual(expect.arrayContaining(["AUTH-1", "CONN-5", "REPLY-1"]));
    expect(new Set(outcomes.map(({ verdict }) => verdict))).toEqual(new Set(["pass"]));
  });

  it(
    "find a bot that takes a clean close for the end, and make the history small",
    { timeout: 120_000 },
    async ({ expect }) => {
      const seed = seedWith(closed);
      const { outcomes, failures } = await tried("takes-1000-for-the-end", { seed, runs: 1, shrinkMs: 14_000 });
      const outcome = outcomes.find(({ id }) => id === "CONN-5");
      expect(outcome?.verdict).toBe("fail");
      expect(outcome?.replay).toMatch(
        new RegExp(
          `^openws-conformance run --contract --lane scaled --runs 1 --seed ${seed} --path [0-9:]+ -- node bot.js$`,
        ),
      );
      expect(failures[0]).toContain(`replay: ${outcome?.replay ?? ""}`);
      expect(failures[0]).toContain('{"do":"cut","how":"close","code":1000}');
      // What was told is of the history that the path leads to.
      const path = / --path ([0-9:]+) /.exec(outcome?.replay ?? "")?.[1];
      const steps = JSON.stringify(drawn(seed, true, path));
      const told = failures[0]?.match(/^ {2}\{"do":.*$/gm) ?? [];
      expect(told.length).toBeGreaterThan(0);
      for (const step of told) expect(steps).toContain(step.trim());
    },
  );

  it("say so when the client never connects", { timeout: 60_000 }, async ({ expect }) => {
    const { notStarted } = await tried("never-connects", { runs: 1 });
    expect(notStarted).toContain("opened no connection");
  });

  it("play no path that does not exist", async ({ expect }) => {
    expect(await tried("none", { runs: 1, path: "0:999" })).toMatchObject({ harness: ["seed 1 has no path 0:999"] });
  });
});

describe("a wire log", () => {
  const lines: Line[] = [
    { atMs: 0, connection: 1, dir: "socket", text: "opened from 127.0.0.1" },
    { atMs: 12, connection: 1, dir: "in", text: '{"cmd":"aibot_subscribe","headers":{"req_id":"s-1"},"body":{}}' },
    { atMs: 25, connection: 1, dir: "out", text: '{"headers":{"req_id":"s-1"},"errcode":0,"errmsg":"ok"}' },
    { atMs: 31, connection: 1, dir: "out", text: "not\tJSON" },
  ];

  it("is a sequence diagram, in a few words a frame", () => {
    expect(sequence(lines).map((line) => line.trim().replaceAll(/ {2,}/g, "  "))).toEqual([
      "0.000 s  #1  ╌╌╌  opened from 127.0.0.1",
      "0.012 s  #1  client ──▶ gateway  aibot_subscribe  s-1",
      "0.025 s  #1  client ◀── gateway  ack 0  s-1",
      "0.031 s  #1  client ◀── gateway  not JSON: not\tJSON",
    ]);
  });

  it("has the client's frames on the left and the gateway's on the right, whole", () => {
    const text = columns(lines, 40);
    const left = text.map((line) => line.split("│")[0]!.slice(16).trimEnd()).join("");
    expect(left).toContain('{"cmd":"aibot_subscribe","headers":{"req_id":"s-1"},"body":{}}');
    expect(text.filter((line) => line.includes("│")).every((line) => line.indexOf("│") === text[1]!.indexOf("│"))).toBe(
      true,
    );
  });
});
