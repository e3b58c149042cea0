import { describe, expect, it } from "vitest";
import type { Entry } from "../../src/service/store.ts";
import { Triggers } from "../../src/service/triggers.ts";

const entry: Entry = {
  seq: 1,
  bot: "bot",
  direction: "in",
  kind: "text",
  chat: { id: "group-1", type: "group" },
  user: "zhangsan",
  state: "received",
  at: 0,
  changedAt: 0,
  body: {},
};
const apply = (rules: unknown, text: string, about: Partial<Entry> = {}) =>
  new Triggers(rules).apply({ ...entry, ...about }, text);

describe("a trigger", () => {
  const urgent = [
    { name: "urgent", when: { keywords: ["urgent", "紧急"] }, then: { tag: "urgent", route: "wh_pager" } },
  ];

  it.each([
    ["This is URGENT!", true],
    ["服务器紧急重启", true],
    ["no hurry", false],
  ])("fires on a keyword anywhere in %j, whatever its case: %s", (text, fires) => {
    expect(apply(urgent, text).matched).toEqual(fires ? ["urgent"] : []);
    expect(apply(urgent, text).routes).toEqual(fires ? ["wh_pager"] : undefined);
  });

  it("needs all of its conditions, and one of each list", () => {
    const rules = [
      { name: "r", when: { bot: "bot", chat: ["group-1", "group-2"], user: "zhangsan", type: "text" }, then: {} },
    ];
    expect(apply(rules, "x").matched).toEqual(["r"]);
    expect(apply(rules, "x", { bot: "other" }).matched).toEqual([]);
    expect(apply(rules, "x", { user: "lisi" }).matched).toEqual([]);
    expect(apply(rules, "x", { kind: "image" }).matched).toEqual([]);
    expect(apply(rules, "x", { chat: { id: "group-3", type: "group" } }).matched).toEqual([]);
  });

  it("answers, tags and routes together with the others that fit, in order, until one says stop", () => {
    const outcome = apply(
      [
        { name: "one", then: { tag: ["a", "b"], reply: { markdown: "first" } } },
        { name: "two", then: { tag: "b", reply: { markdown: "second" }, route: "x", stop: true } },
        { name: "three", then: { tag: "c" } },
      ],
      "anything",
    );
    expect(outcome).toEqual({
      matched: ["one", "two"],
      tags: ["a", "b"],
      routes: ["x"],
      replies: [{ markdown: "first" }, { markdown: "second" }],
    });
  });

  it("never fires on what the bot says itself", () => {
    expect(apply([{ name: "all", then: {} }], "x", { direction: "out" }).matched).toEqual([]);
  });

  it("takes linear time for an expression that would cost a backtracking engine for ever", () => {
    const evil = [{ name: "evil", when: { regex: "^(a+)+$" }, then: {} }];
    expect(apply(evil, `${"a".repeat(50_000)}!`).matched).toEqual([]);
  });

  it.each([
    [[{ name: "x", when: { regex: "(?<=a)b" }, then: {} }], /^triggers\.0\.when\.regex: .*look-around/],
    [[{ name: "x", when: { keyword: "a" }, then: {} }], /^triggers\.0\.when/],
    [[{ when: {}, then: {} }], /^triggers\.0\.name/],
    [[{ name: "x", then: { reply: { markdwon: "hi" } } }], /^triggers\.0\.then\.reply/],
    ["all", /^triggers/],
  ])("that cannot be is refused with its place: %j", (rules, message) => {
    expect(() => new Triggers(rules)).toThrow(message);
  });
});
