/** The suite as data: nothing in it may stand alone. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { cases } from "../src/cases.ts";
import { durationsOf, globMatches, lanes, requirementOf, timed } from "../src/check.ts";
import { defects, type DefectRow } from "../src/defects.ts";
import { requirements } from "../src/requirements.ts";
import { canaries } from "../src/selftest.ts";
import { conformanceMarkdown } from "../tools/conformance-md.ts";

const checked = new Set(cases.flatMap(({ checks }) => checks));

describe("requirements.ts", () => {
  it("is what tools/requirements.ts makes of spec/requirements.yaml", () => {
    const text = readFileSync(new URL("../../../spec/requirements.yaml", import.meta.url), "utf8");
    const spec = parse(text) as { requirements: (Record<string, unknown> & { binds: string })[] };
    const expected = spec.requirements
      .filter(({ binds }) => binds === "client")
      .map(
        ({ id, behaviour, level, basis, sentence, confidence, source, note }): unknown =>
          JSON.parse(JSON.stringify({ id, behaviour, level, basis, sentence, confidence, source, note })) as unknown,
      );
    expect(requirements, "run `node tools/requirements.ts` in packages/conformance").toEqual(expected);
  });
});

describe("the cases", () => {
  it("judge requirements that bind a client, under names of their own", () => {
    for (const id of checked) expect(requirementOf(id).id).toBe(id);
    expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
    for (const { name, checks } of cases) {
      expect(name).toMatch(/^[a-z]+\/[a-z0-9-]+$/);
      expect(new Set(checks).size, name).toBe(checks.length);
    }
  });

  it("judge every requirement that binds a client", () => {
    expect(requirements.map(({ id }) => id).filter((id) => !checked.has(id))).toEqual([]);
  });

  it("have for each check a bot that fails it", () => {
    const failing = new Set(Object.values<DefectRow>(defects).map(({ fails }) => fails));
    expect([...checked].filter((id) => !failing.has(id))).toEqual([]);
  });

  it("are what defects, canaries and tolerances speak of", () => {
    for (const [name, { fails, entails = [] }] of Object.entries<DefectRow>(defects))
      for (const id of [fails, ...entails]) expect(checked.has(id), `${name}: ${id}`).toBe(true);
    expect(canaries).toHaveLength(5);
    for (const name of canaries) expect(cases.map((played) => played.name)).toContain(name);
    expect(Object.keys(timed).filter((id) => !checked.has(id))).toEqual([]);
  });
});

describe("the lanes", () => {
  it("tell the client its durations in the scaled one and nothing in the real one", () => {
    expect(durationsOf(lanes.scaled)).toEqual({ heartbeatMs: 1_500, ackMs: 500, backoffBaseMs: 50 });
    expect(durationsOf(lanes.real)).toEqual({});
  });

  it("keep every tolerance well below what it is applied to", () => {
    for (const [id, { earlyMs, why }] of Object.entries(timed)) {
      // The shortest lower bound is 10 s after a kick.
      expect(earlyMs, id).toBeLessThanOrEqual((10_000 * lanes.scaled.scale) / 10);
      expect(why, id).toMatch(/\w/);
    }
  });
});

describe("a glob", () => {
  it("matches ids and names, with stars and commas, whatever the capitals", () => {
    expect(globMatches("AUTH-*", "AUTH-6b")).toBe(true);
    expect(globMatches("auth-6B,kick/*", "AUTH-6b")).toBe(true);
    expect(globMatches("kick/*", "kick/stays-away")).toBe(true);
    expect(globMatches("AUTH-1", "AUTH-10")).toBe(false);
    expect(globMatches("AUTH.1", "AUTH-1")).toBe(false);
  });
});

describe("docs/conformance.md", () => {
  it("lists the checks that there are", () => {
    const text = readFileSync(new URL("../../../docs/conformance.md", import.meta.url), "utf8");
    expect(text, "run `node tools/conformance-md.ts` in packages/conformance").toBe(conformanceMarkdown(text));
  });
});
