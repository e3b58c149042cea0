import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { behaviours, invariants, judge, scheduleOf, simulate } from "../src/index.ts";
import type { Happening, History } from "../src/index.ts";

const requirements = parse(readFileSync(new URL("../../../spec/requirements.yaml", import.meta.url), "utf8")) as {
  requirements: { behaviour?: number | number[] }[];
};

describe("the table of behaviours", () => {
  test("each of the 85 has an invariant or a reason for none", () => {
    for (let number = 1; number <= 85; number++) {
      const coverage = behaviours[number];
      expect(coverage, `behaviour ${number}`).toBeDefined();
      if (coverage === undefined || "not" in coverage) continue;
      expect(coverage.length, `behaviour ${number}`).toBeGreaterThan(0);
      for (const id of coverage) expect(invariants.map((invariant) => invariant.id)).toContain(id);
    }
    expect(Object.keys(behaviours)).toHaveLength(85);
  });

  test("the behaviours that the requirements number are in it", () => {
    const numbered = requirements.requirements.flatMap(({ behaviour }) => behaviour ?? []);
    expect(numbered.length).toBeGreaterThan(0);
    for (const number of numbered) expect(behaviours[number], `behaviour ${number}`).toBeDefined();
  });

  test("each invariant has an id of its own and says what holds", () => {
    expect(new Set(invariants.map(({ id }) => id)).size).toBe(invariants.length);
    for (const { holds } of invariants) expect(holds).toMatch(/^[a-z0-9].{20,}/);
  });
});

/** A history of two sockets that holds, to be bent. */
const sound = simulate({ ...scheduleOf(1), gateway: {}, faults: [{ kind: "reset", at: 400_000 }] });

describe("the oracle sees", () => {
  test("nothing wrong in a sound history", () => {
    expect(judge(sound)).toBeUndefined();
  });

  test.each<[string, (happenings: Happening[]) => Happening[]]>([
    [
      "regular",
      (all) => {
        const settled = all.findIndex(({ what }) => what === "settled");
        return all.toSpliced(settled, 0, all[settled]!);
      },
    ],
    ["regular", (all) => twice(all, (one) => one.what === "sent" && one.text.includes("aibot_respond_msg"))],
    ["subscribe-first", (all) => twice(all, (one) => one.what === "sent" && one.text.includes("aibot_subscribe"))],
    ["one-line", (all) => all.filter(({ what }) => what !== "dropped" && what !== "closed")],
    [
      "ready-by-ack",
      (all) =>
        all
          .slice(0, all.findIndex((one) => one.what === "moved" && one.to === "ready") + 1)
          .filter(({ what }) => what !== "received"),
    ],
    ["heartbeat", (all) => all.filter((one) => one.what !== "sent" || !one.text.startsWith('{"cmd":"ping"'))],
    ["notices-silence", (all) => all.filter((one) => one.what !== "received" || !one.text.includes('"ping_'))],
    [
      "delivers-once",
      (all) =>
        all.toSpliced(
          all.findIndex(({ what }) => what === "delivered"),
          1,
        ),
    ],
    ["one-in-flight", (all) => all.filter((one) => one.what !== "received" || !isReplyAck(one.text))],
    [
      "secret",
      (all) => [
        ...all,
        { what: "noticed", at: sound.endAt, text: `the secret is ${sound.secret}` } satisfies Happening,
      ],
    ],
  ])("a breach of %s", (id, bend) => {
    const history = { ...sound, happenings: bend(structuredClone([...sound.happenings])) };
    const breach = judge(history);
    expect(breach?.id).toBe(id);
  });

  test.each<[string, Partial<History>]>([
    ["contract", { broken: [{ at: 1, id: "contract-1", message: "it threw" }] }],
    ["nothing-left", { left: { answers: 1 } }],
    ["read-by-users", { shown: [] }],
    ["read-by-users", { shown: sound.shown.flatMap((item) => [item, item]) }],
    ["read-by-users", { shown: sound.shown.map((item) => ({ ...item, chat: "somebody else" })) }],
    ["read-by-users", { shown: sound.shown.map((item) => ({ ...item, finished: false })) }],
  ])("a breach of %s in what is left, or shown", (id, bent) => {
    expect(judge({ ...sound, ...bent })?.id).toBe(id);
  });
});

function twice(all: readonly Happening[], which: (one: Happening) => boolean): Happening[] {
  const index = all.findIndex(which);
  return all.toSpliced(index, 0, all[index]!);
}

/** An ack of a reply: its req_id is a callback's, which begins with no name. */
function isReplyAck(text: string): boolean {
  return /^\{"headers":\{"req_id":"(?!subscribe_|ping_|sim_)/.test(text);
}
