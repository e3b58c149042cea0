import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { Budget } from "../src/budget.ts";
import { UsageError } from "../src/errors.ts";
import { MarkdownBody, StreamBody } from "../src/frames.ts";
import type { Outcome } from "../src/requests.ts";
import { Stream } from "../src/stream.ts";
import type { StreamEffect, StreamInput, StreamOptions, StreamResult, StreamState } from "../src/stream.ts";
import { utf8Bytes } from "../src/text.ts";

const generous = (): Budget => new Budget({ perMinute: 30_000, perHour: 1_000_000 });
const make = (options: Partial<StreamOptions> = {}): Stream => new Stream({ id: "s", budget: generous(), ...options });

const acked: Outcome = { type: "acked" };
const timedOut: Outcome = { type: "timed-out", maybeDelivered: true };
const lost: Outcome = { type: "connection-lost", maybeDelivered: true };
const unsent: Outcome = { type: "connection-lost", maybeDelivered: false };
const notReady: Outcome = { type: "not-ready" };
const refused = (errcode: number): Outcome => ({ type: "refused", errcode, errmsg: `code ${errcode}` });

const append = (text: string): StreamInput => ({ type: "append", text });
const set = (text: string): StreamInput => ({ type: "set", text });
const settled = (key: number, outcome: Outcome): StreamInput => ({ type: "settled", key, outcome });
const finish: StreamInput = { type: "finish" };
const ready: StreamInput = { type: "ready" };
const tick: StreamInput = { type: "tick" };

/** What an effect comes to, in a few words. */
const brief = (effect: StreamEffect): string => {
  if (effect.type === "done") return `done ${effect.result.state}`;
  if (effect.type === "push") return `push ${effect.key}: ${effect.content}`;
  const { body } = effect;
  if (body.msgtype === "markdown") return `markdown ${effect.key}: ${body.markdown.content}`;
  return `${body.stream.id} ${effect.key}${body.stream.finish ? " end" : ""}: ${body.stream.content}`;
};
const say = (stream: Stream, now: number, ...inputs: StreamInput[]): string[] =>
  inputs.flatMap((input) => stream.handle(now, input)).map(brief);
const result = (effects: readonly StreamEffect[]): StreamResult => {
  expect(effects).toHaveLength(1);
  expect(effects[0]?.type).toBe("done");
  return (effects[0] as Extract<StreamEffect, { type: "done" }>).result;
};

describe("Stream, when all goes well", () => {
  it("sends the whole text each time, and the last state as a finishing frame", () => {
    const stream = make();
    expect(stream.handle(0, append("Hel"))).toEqual([
      { type: "send", key: 1, body: { msgtype: "stream", stream: { id: "s", finish: false, content: "Hel" } } },
    ]);
    expect(say(stream, 1, settled(1, acked))).toEqual([]);
    expect(say(stream, 2, append("lo"))).toEqual(["s 2: Hello"]);
    expect(say(stream, 3, settled(2, acked), finish)).toEqual(["s 3 end: Hello"]);
    expect(result(stream.handle(4, settled(3, acked)))).toEqual({
      state: "delivered",
      ended: "finished",
      route: "stream",
      messages: 1,
      refusal: undefined,
    });
  });

  it("has one frame in flight and joins what comes meanwhile to the newest state", () => {
    const stream = make();
    expect(say(stream, 0, append("a"), append("b"), append("c"), finish)).toEqual(["s 1: a"]);
    expect(say(stream, 0, settled(1, acked))).toEqual(["s 2 end: abc"]);
  });

  it("takes cumulative text, and replaces a placeholder", () => {
    const stream = make();
    expect(
      say(stream, 0, set("thinking"), settled(1, acked), set("Hello"), settled(2, acked), set("Hello you")),
    ).toEqual(["s 1: thinking", "s 2: Hello", "s 3: Hello you"]);
  });

  it("sends nothing for nothing: an empty delta, the same text again, a text nobody can see", () => {
    const stream = make();
    expect(say(stream, 0, append(""), set(""), append("\n"), tick)).toEqual([]);
    expect(say(stream, 0, append("a"), settled(1, acked), set("\na"), append(""), tick)).toEqual(["s 1: \na"]);
  });

  it("asks for thumbs on the first frame only, and only if told to", () => {
    const stream = make({ feedbackId: "trace_1", maxBytes: 64 });
    const bodies = [append("a"), settled(1, acked), append("b".repeat(70)), settled(2, acked)].flatMap((input) =>
      stream
        .handle(0, input)
        .map((effect) => (effect.type === "send" && effect.body.msgtype === "stream" ? effect.body.stream : effect)),
    );
    expect(bodies).toEqual([
      { id: "s", finish: false, content: "a", feedback: { id: "trace_1" } },
      { id: "s", finish: true, content: `a${"b".repeat(63)}` },
      { id: "s.2", finish: false, content: "b".repeat(7) },
    ]);
  });

  it("asks for thumbs again when the first frame was refused, and not when it may have arrived", () => {
    const feedback = (outcome: Outcome, ...then: StreamInput[]): unknown => {
      const stream = make({ feedbackId: "trace_1" });
      stream.handle(0, append("a"));
      const effects = [settled(1, outcome), ...then, append("b"), tick].flatMap((input) => stream.handle(300, input));
      return effects.map(
        (effect) => effect.type === "send" && effect.body.msgtype === "stream" && "feedback" in effect.body.stream,
      );
    };
    expect(feedback(refused(1))).toEqual([true]);
    expect(feedback(unsent, ready)).toEqual([true]);
    expect(feedback(notReady, ready)).toEqual([true]);
    expect(feedback(timedOut)).toEqual([false]);
    expect(feedback(lost, ready)).toEqual([false]);
  });

  it("finishes with something visible when there was no text", () => {
    expect(say(make(), 0, finish)).toEqual(["s 1 end: （无内容 · No content）"]);
    expect(say(make(), 0, append(" \n\u200b"), finish)).toEqual(["s 1 end: （无内容 · No content）"]);
    const stream = make({ texts: { empty: "-" } });
    expect(say(stream, 0, set("thinking"), settled(1, acked), set(""), finish, settled(2, acked))).toEqual([
      "s 1: thinking",
      "s 2 end: -",
      "done delivered",
    ]);
  });

  it("ends with a note when the source fails or the answer is cancelled", () => {
    expect(say(make(), 0, { type: "fail" })).toEqual(["s 1 end: （回答中断 · The answer broke off）"]);
    expect(say(make(), 0, { type: "cancel" })).toEqual(["s 1 end: （已停止 · Stopped）"]);
    const stream = make({ texts: { failed: "!", cancelled: "?" } });
    expect(say(stream, 0, append("a"), settled(1, acked), { type: "fail" })).toEqual(["s 1: a", "s 2 end: a\n\n!"]);
    expect(result(stream.handle(0, settled(2, acked)))).toMatchObject({ state: "delivered", ended: "failed" });
    expect(say(make(), 0, append("a"), { type: "fail", text: "so" }, settled(1, acked))).toEqual([
      "s 1: a",
      "s 2 end: a\n\nso",
    ]);
    expect(say(make(), 0, append("a"), { type: "cancel", text: "" }, settled(1, acked))).toEqual([
      "s 1: a",
      "s 2 end: a",
    ]);
  });

  it("puts the note behind an open fence, not into it", () => {
    expect(say(make(), 0, append("```js\nlet"), { type: "fail", text: "x" }, settled(1, acked))).toEqual([
      "s 1: ```js\nlet",
      "s 2 end: ```js\nlet\n```\n\nx",
    ]);
    const split = make({ maxBytes: 64 });
    say(split, 0, append(`\`\`\`js\n${"a".repeat(40)}\n${"b".repeat(30)}`));
    expect(say(split, 0, settled(1, acked), settled(2, acked), { type: "cancel", text: "x" })).toEqual([
      `s.2 2: \`\`\`js\n${"b".repeat(30)}`,
      `s.2 3 end: \`\`\`js\n${"b".repeat(30)}\n\`\`\`\n\nx`,
    ]);
  });

  it("sends an answer that is known at once in one frame", () => {
    expect(say(make(), 0, { type: "finish", text: "Hello" }, settled(1, acked))).toEqual([
      "s 1 end: Hello",
      "done delivered",
    ]);
    const stream = make();
    expect(say(stream, 0, append("Hel"), { type: "finish", text: "lo" }, finish, settled(1, acked))).toEqual([
      "s 1: Hel",
      "s 2 end: Hello",
    ]);
  });

  it("ends once: the first ending counts", () => {
    const stream = make();
    expect(
      say(stream, 0, append("a"), finish, { type: "fail" }, { type: "cancel" }, finish, settled(1, acked)),
    ).toEqual(["s 1: a", "s 2 end: a"]);
    expect(result(stream.handle(0, settled(2, acked)))).toMatchObject({ ended: "finished" });
    expect(
      say(stream, 0, { type: "fail" }, finish, append("b"), set("c"), ready, tick, settled(2, acked), {
        type: "stopped",
      }),
    ).toEqual([]);
    const failed = make();
    expect(
      say(failed, 0, { type: "fail", text: "x" }, finish, { type: "cancel", text: "y" }, settled(1, acked)),
    ).toEqual(["s 1 end: x", "done delivered"]);
  });

  it("refuses text after the end before it changes anything", () => {
    const stream = make();
    say(stream, 0, append("a"), finish);
    const before = stream.state;
    for (const input of [append("b"), set("b"), { type: "finish", text: "b" } as const]) {
      expect(() => stream.handle(9, input)).toThrow(UsageError);
      expect(() => stream.handle(9, input)).toThrow("the stream has finished: no text can follow; make a new one");
    }
    expect(stream.state).toEqual(before);
  });
});

describe("Stream, within its limits", () => {
  it("asks the budget, and sends the newest state when its time comes", () => {
    const budget = new Budget();
    const stream = make({ budget });
    for (let i = 0; i < 9; i++) say(stream, 0, append("x"), settled(i + 1, acked));
    expect(say(stream, 0, append("y"))).toEqual([]);
    expect(stream.deadline).toBe(3_000);
    expect(say(stream, 10, append("z"), tick)).toEqual([]);
    expect(stream.deadline).toBe(3_000);
    expect(say(stream, 3_000, tick)).toEqual(["s 10: xxxxxxxxxyz"]);
    expect(stream.deadline).toBeUndefined();
  });

  it("asks for refreshes, finals and pushes by their names", () => {
    const budget = generous();
    const handle = vi.spyOn(budget, "handle");
    const stream = make({ budget, replyUntil: 10 });
    say(stream, 0, append("a"), settled(1, acked), finish, settled(2, refused(1)));
    say(stream, 200, tick);
    expect(handle.mock.calls.map(([, input]) => (input.type === "ask" ? input.for : input.type))).toEqual([
      "refresh",
      "final",
    ]);
    say(make({ budget, replyUntil: 0 }), 0, append("a"), finish);
    expect(handle.mock.calls.at(-1)?.[1]).toEqual({ type: "ask", for: "push" });
  });

  it("finishes with the last place in the budget", () => {
    const stream = make({ budget: new Budget() });
    for (let i = 0; i < 9; i++) say(stream, 0, append("x"), settled(i + 1, acked));
    expect(say(stream, 0, append("y"), finish)).toEqual(["s 10 end: xxxxxxxxxy"]);
  });

  it("waits with its end when even that place is taken", () => {
    const budget = new Budget();
    const stream = make({ budget });
    for (let i = 0; i < 10; i++) budget.handle(0, { type: "ask", for: "push" });
    expect(say(stream, 0, append("x"), finish)).toEqual([]);
    expect(stream.deadline).toBe(3_000);
    expect(say(stream, 3_000, tick)).toEqual(["s 1 end: x"]);
  });

  it("ends a bubble that is full and goes on in the next", () => {
    const stream = make({ maxBytes: 64 });
    const first = `${"a".repeat(40)}\n`;
    expect(say(stream, 0, append(first), settled(1, acked), append("b".repeat(30)))).toEqual([
      `s 1: ${first}`,
      `s 2 end: ${first}`,
    ]);
    expect(say(stream, 0, settled(2, acked))).toEqual([`s.2 3: ${"b".repeat(30)}`]);
    expect(say(stream, 0, finish, settled(3, acked))).toEqual([`s.2 4 end: ${"b".repeat(30)}`]);
    expect(result(stream.handle(0, settled(4, acked)))).toMatchObject({ state: "delivered", messages: 2 });
  });

  it("fills a bubble to the last byte", () => {
    expect(say(make({ maxBytes: 64 }), 0, append("a".repeat(64)))).toEqual([`s 1: ${"a".repeat(64)}`]);
    expect(say(make({ maxBytes: 64 }), 0, append("a".repeat(65)))).toEqual([`s 1 end: ${"a".repeat(64)}`]);
    expect(say(make(), 0, append("a".repeat(20_480)))).toEqual([`s 1: ${"a".repeat(20_480)}`]);
    expect(say(make(), 0, append("微".repeat(6_827)))).toEqual([`s 1 end: ${"微".repeat(6_826)}`]);
  });

  it("sends a long text that came at once as finished bubbles, and no bubble for what is invisible", () => {
    const stream = make({ maxBytes: 64 });
    const text = `${"a".repeat(63)}\n${`${" ".repeat(63)}\n`.repeat(3)}${"b".repeat(63)}\n${"c".repeat(63)}`;
    const effects = say(stream, 0, append(text), finish);
    for (let key = 1; !effects.at(-1)?.startsWith("done"); key++) effects.push(...say(stream, 0, settled(key, acked)));
    expect(effects).toEqual([
      `s 1 end: ${"a".repeat(63)}\n`,
      `s.2 2 end: ${"b".repeat(63)}\n`,
      `s.3 3 end: ${"c".repeat(63)}`,
      "done delivered",
    ]);
  });

  it("drops what nobody can see at the beginning of an answer", () => {
    const stream = make({ maxBytes: 64 });
    expect(say(stream, 0, append(`${`${" ".repeat(63)}\n`.repeat(2)}b`), settled(1, acked), finish)).toEqual([
      "s 1: b",
      "s 2 end: b",
    ]);
  });

  it("carries a fence through as many bubbles as it fills", () => {
    const stream = make({ maxBytes: 64 });
    const [a, b, c] = ["a", "b", "c"].map((letter) => letter.repeat(50)) as [string, string, string];
    const effects = say(stream, 0, append(`\`\`\`js\n${a}\n${b}\n${c}\n\`\`\`\n`), finish);
    for (let key = 1; key < 4; key++) effects.push(...say(stream, 0, settled(key, acked)));
    const fenced = (text: string): string => `\`\`\`js\n${text}\n\`\`\``;
    expect(effects).toEqual([
      `s 1 end: ${fenced(a)}`,
      `s.2 2 end: ${fenced(b)}`,
      `s.3 3 end: ${fenced(c)}\n`,
      "done delivered",
    ]);
  });

  it("remembers no more of what is sealed than it needs to recognise it", () => {
    const stream = make();
    say(stream, 0, append("a".repeat(50_000)), settled(1, acked), settled(2, acked));
    expect(stream.state).toMatchObject({ sealed: 40_960, sealedEnd: "a".repeat(64), text: "a".repeat(9_040) });
  });

  it("drops what nobody can see at the end of an answer", () => {
    const stream = make({ maxBytes: 64 });
    const text = `${"a".repeat(63)}\n${" ".repeat(200)}`;
    expect(say(stream, 0, append(text), finish, settled(1, acked))).toEqual([
      `s 1 end: ${"a".repeat(63)}\n`,
      "done delivered",
    ]);
  });

  it("goes on with cumulative text where the finished bubble ended", () => {
    const stream = make({ maxBytes: 64 });
    const first = `${"a".repeat(50)}\n`;
    say(stream, 0, set(`${first}bbbbbbbbbbbbbbbbbb`), settled(1, acked));
    expect(say(stream, 0, set(`${first}bbbbbbbbbbbbbbbbbb c`), settled(2, acked))).toEqual([
      "s.2 3: bbbbbbbbbbbbbbbbbb c",
    ]);
  });

  it("shows a text that was rewritten behind a finished bubble from its beginning", () => {
    const stream = make({ maxBytes: 64 });
    say(stream, 0, set(`${"a".repeat(50)}\n${"b".repeat(18)}`), settled(1, acked), settled(2, acked));
    expect(say(stream, 0, set(`${"c".repeat(50)}\nddd`))).toEqual([`s.2 3: ${"c".repeat(50)}\nddd`]);
    expect(say(stream, 0, set(`short`), settled(3, acked))).toEqual(["s.2 4: short"]);
    expect(say(stream, 0, set(`short one`), settled(4, acked))).toEqual(["s.2 5: short one"]);
  });

  it("shows a text that was rewritten while its bubble was being finished from its beginning", () => {
    const stream = make({ maxBytes: 64 });
    expect(say(stream, 0, set(`${"a".repeat(50)}\n${"b".repeat(18)}`))).toEqual([`s 1 end: ${"a".repeat(50)}\n`]);
    expect(say(stream, 0, set("other"), settled(1, acked))).toEqual(["s.2 2: other"]);
    const same = make({ maxBytes: 64 });
    say(same, 0, set(`${"a".repeat(50)}\n${"b".repeat(18)}`), set(`${"a".repeat(50)}\nc`));
    expect(say(same, 0, settled(1, acked))).toEqual(["s.2 2: c"]);
  });

  it("hands a bubble over before its tenth minute, and goes on in a new one with the next text", () => {
    const stream = make();
    expect(say(stream, 5_000, append("One. Tw"), settled(1, acked))).toEqual(["s 1: One. Tw"]);
    expect(stream.deadline).toBe(545_000);
    expect(say(stream, 544_999, tick)).toEqual([]);
    expect(say(stream, 545_000, tick)).toEqual(["s 2 end: One. \n\n…"]);
    expect(say(stream, 545_100, append("o."), settled(2, acked))).toEqual(["s.2 3: Two."]);
    expect(say(stream, 545_200, settled(3, acked))).toEqual([]);
    expect(stream.deadline).toBe(1_085_100);
    expect(say(stream, 546_000, finish, settled(4, acked))).toEqual(["s.2 4 end: Two.", "done delivered"]);
  });

  it("needs no second bubble if nothing follows the handover", () => {
    const stream = make({ handoverMs: 1_000, texts: { handover: " >" } });
    expect(say(stream, 0, append("One. "), settled(1, acked))).toEqual(["s 1: One. "]);
    expect(say(stream, 1_000, tick, settled(2, acked))).toEqual(["s 2 end: One.  >"]);
    expect(stream.deadline).toBeUndefined();
    expect(say(stream, 2_000, finish)).toEqual(["done delivered"]);
  });

  it("closes and opens a fence at the handover, and hides the notice from it", () => {
    const stream = make({ handoverMs: 1_000 });
    say(stream, 0, append("```js\nabc\nde"), settled(1, acked));
    expect(say(stream, 1_000, tick)).toEqual(["s 2 end: ```js\nabc\n```\n\n…"]);
    expect(say(stream, 1_001, settled(2, acked))).toEqual(["s.2 3: ```js\nde"]);
  });

  it("keeps text and notice of a handover within the size", () => {
    const stream = make({ maxBytes: 64, handoverMs: 1_000 });
    say(stream, 0, append("a".repeat(64)), settled(1, acked));
    expect(say(stream, 1_000, tick)).toEqual([`s 2 end: ${"a".repeat(59)}\n\n…`]);
    expect(say(stream, 1_001, settled(2, acked))).toEqual([`s.2 3: aaaaa`]);
  });

  it("waits with the handover until the budget allows it", () => {
    const budget = new Budget();
    const stream = make({ budget, handoverMs: 1_000 });
    say(stream, 0, append("a "), settled(1, acked));
    for (let i = 0; i < 9; i++) budget.handle(0, { type: "ask", for: "push" });
    expect(stream.deadline).toBe(1_000);
    expect(say(stream, 1_000, tick)).toEqual([]);
    expect(stream.deadline).toBe(3_000);
    expect(say(stream, 3_000, tick)).toEqual(["s 2 end: a \n\n…"]);
  });

  it("does not hand over an answer that has ended, nor twice", () => {
    const stream = make({ handoverMs: 1_000 });
    say(stream, 0, append("a"));
    expect(say(stream, 1_000, tick, finish, settled(1, acked))).toEqual(["s 2 end: a"]);
    const early = make({ handoverMs: 1_000 });
    say(early, 0, append("a "), settled(1, acked));
    expect(say(early, 1_000, append("b"))).toEqual(["s 2 end: a \n\n…"]);
    expect(say(early, 1_001, tick, tick, settled(2, timedOut), tick)).toEqual([]);
  });

  it("pushes once the reply window is over", () => {
    const stream = make({ replyUntil: 10_000 });
    expect(say(stream, 9_999, append("One. Two"), settled(1, acked))).toEqual(["s 1: One. Two"]);
    expect(say(stream, 10_000, append(" three."))).toEqual([]);
    expect(say(stream, 10_001, finish)).toEqual(["push 2: Two three."]);
    expect(result(stream.handle(10_002, settled(2, acked)))).toMatchObject({
      state: "delivered",
      route: "push",
      messages: 1,
    });
    expect(say(make({ replyUntil: 10 }), 10, finish)).toEqual(["push 1: （无内容 · No content）"]);
  });
});

describe("Stream, when it is refused", () => {
  it.each([846604, 846605, 846608, 846609])(
    "pushes the rest at the end after %i, and nothing on the bubble",
    (errcode) => {
      const stream = make();
      expect(
        say(stream, 0, append("One. Two"), settled(1, acked), append(" three. "), settled(2, refused(errcode))),
      ).toEqual(["s 1: One. Two", "s 2: One. Two three. "]);
      expect(stream.deadline).toBeUndefined();
      expect(say(stream, 1, append("Four."), tick, finish)).toEqual(["push 3: Two three. Four."]);
      expect(result(stream.handle(2, settled(3, acked)))).toEqual({
        state: "delivered",
        ended: "finished",
        route: "push",
        messages: 1,
        refusal: { errcode, errmsg: `code ${errcode}` },
      });
    },
  );

  it("pushes nothing when only the end was refused and all text is shown", () => {
    const stream = make();
    expect(say(stream, 0, append("One. Two"), settled(1, acked), finish, settled(2, refused(846608)))).toEqual([
      "s 1: One. Two",
      "s 2 end: One. Two",
      "done delivered",
    ]);
  });

  it("pushes nothing instead of a text that was taken back, if it may have been shown", () => {
    for (const inputs of [[settled(1, timedOut)], [settled(1, lost), ready]]) {
      const stream = make();
      say(stream, 0, set("thinking"), ...inputs, set("think"), settled(2, refused(846608)), set(""));
      expect(say(stream, 0, finish)).toEqual(["done delivered"]);
    }
    const unseen = make();
    say(unseen, 0, set("thinking"), settled(1, refused(846608)), set(""));
    expect(say(unseen, 0, finish)).toEqual(["push 2: （无内容 · No content）"]);
  });

  it("takes up the last sentence of what is shown while the text is not complete", () => {
    const stream = make();
    say(stream, 0, set("One. Two|"), settled(1, acked), set("One. Two"), settled(2, refused(846608)));
    expect(say(stream, 0, append(" three."), finish)).toEqual(["push 3: Two three."]);
  });

  it("pushes the whole text when nothing was shown, or what was shown is not said any more", () => {
    expect(say(make(), 0, append("One. Two"), finish, settled(1, refused(846605)))).toEqual([
      "s 1: One. Two",
      "push 2: One. Two",
    ]);
    const stream = make();
    say(stream, 0, set("thinking"), settled(1, acked), set("One. Two"));
    expect(say(stream, 0, finish, settled(2, refused(846605)))).toEqual(["push 3: One. Two"]);
    const silent = make();
    expect(say(silent, 0, finish, settled(1, refused(846605)))).toEqual([
      "s 1 end: （无内容 · No content）",
      "push 2: （无内容 · No content）",
    ]);
  });

  it("goes back no further than to what was taken from a shown fence", () => {
    const stream = make();
    say(stream, 0, append("Code:\n```js\nabc\nde"), settled(1, acked), append("f\n```\n"), finish);
    expect(say(stream, 0, settled(2, refused(846608)))).toEqual(["push 3: ```js\ndef\n```\n"]);
  });

  it("pushes a long rest in pieces as they are full, before the end of the text", () => {
    const stream = make({ maxBytes: 64 });
    say(stream, 0, append("x"), settled(1, refused(846605)));
    expect(say(stream, 0, append(`${"a".repeat(50)}\n`), append("b".repeat(20)))).toEqual([
      `push 2: x${"a".repeat(50)}\n`,
    ]);
    expect(say(stream, 0, settled(2, acked), finish)).toEqual([`push 3: ${"b".repeat(20)}`]);
    expect(result(stream.handle(0, settled(3, acked)))).toMatchObject({ state: "delivered", messages: 2 });
  });

  it("replies with markdown where streams cannot be shown, and pushes if that is refused too", () => {
    const stream = make();
    expect(say(stream, 0, append("a"), settled(1, refused(600_039)), append("b"))).toEqual(["s 1: a"]);
    const effects = stream.handle(0, finish);
    expect(effects).toEqual([{ type: "send", key: 2, body: { msgtype: "markdown", markdown: { content: "ab" } } }]);
    expect(say(stream, 0, settled(2, refused(600_039)))).toEqual(["push 3: ab"]);
    expect(result(stream.handle(0, settled(3, refused(600_039))))).toMatchObject({ state: "failed", route: "push" });
    const replied = make();
    say(replied, 0, append("a"), finish, settled(1, refused(600_039)));
    expect(result(replied.handle(0, settled(2, acked)))).toMatchObject({ state: "delivered", route: "markdown" });
    const barred = make();
    expect(say(barred, 0, append("a"), finish, settled(1, refused(600_039)), settled(2, refused(846_605)))).toEqual([
      "s 1: a",
      "markdown 2: a",
      "push 3: a",
    ]);
  });

  it.each([846607, 45009, 45033])("pauses the chat for a minute after %i and sends the end only", (errcode) => {
    const budget = generous();
    const stream = make({ budget });
    expect(say(stream, 1_000, append("a"), settled(1, refused(errcode)), append("b"))).toEqual(["s 1: a"]);
    expect(budget.state.pausedUntil).toBe(61_000);
    expect(stream.deadline).toBeUndefined();
    expect(say(stream, 61_001, tick, append("c"))).toEqual([]);
    expect(say(stream, 61_002, finish)).toEqual(["s 2 end: abc"]);
    expect(say(stream, 61_003, settled(2, refused(errcode)))).toEqual([]);
    expect(stream.deadline).toBe(121_003);
    expect(say(stream, 121_003, tick, settled(3, acked))).toEqual(["s 3 end: abc", "done delivered"]);
  });

  it("stays with the end only in the messages that follow a throttled one", () => {
    const stream = make({ maxBytes: 64 });
    say(stream, 0, append("a"), settled(1, refused(846607)));
    expect(say(stream, 70_000, append(`${"b".repeat(59)}\ncccccc`), settled(2, acked), append("d"))).toEqual([
      `s 2 end: a${"b".repeat(59)}\n`,
    ]);
    expect(say(stream, 70_001, finish)).toEqual(["s.2 3 end: ccccccd"]);
  });

  it("gives up after an hour of throttling", () => {
    const stream = make();
    say(stream, 0, append("a"), finish, settled(1, acked));
    let now = 0;
    for (let key = 2; key < 62; key++) {
      expect(say(stream, now, settled(key, refused(846607)))).toEqual([]);
      now = stream.deadline as number;
      expect(say(stream, now, tick)).toEqual([`s ${key + 1} end: a`]);
    }
    expect(now).toBe(3_600_000);
    expect(result(stream.handle(now, settled(62, refused(846607))))).toMatchObject({
      state: "failed",
      refusal: { errcode: 846607, errmsg: "code 846607" },
    });
  });

  it("counts only throttles in a row", () => {
    const stream = make({ maxBytes: 64 });
    say(stream, 0, append("a"), settled(1, refused(846607)));
    expect(stream.state.throttles).toBe(1);
    say(stream, 70_000, append("b".repeat(64)), settled(2, acked));
    expect(stream.state.throttles).toBe(0);
  });

  it.each([6000, -1, 846601])("retries after %i with the newest text: 0.2, 0.4 and 0.8 s later", (errcode) => {
    const stream = make();
    say(stream, 0, append("a"));
    expect(say(stream, 0, settled(1, refused(errcode)), append("b"))).toEqual([]);
    expect(stream.deadline).toBe(200);
    expect(say(stream, 199, tick)).toEqual([]);
    expect(say(stream, 200, tick, settled(2, refused(errcode)))).toEqual(["s 2: ab"]);
    expect(stream.deadline).toBe(600);
    expect(say(stream, 600, tick, settled(3, refused(errcode)))).toEqual(["s 3: ab"]);
    expect(stream.deadline).toBe(1_400);
    expect(say(stream, 1_400, tick, settled(4, refused(errcode)))).toEqual(["s 4: ab"]);
    // A refresh is not worth more; the next one starts afresh.
    expect(stream.deadline).toBeUndefined();
    expect(say(stream, 1_500, tick)).toEqual([]);
    expect(say(stream, 1_500, append("c"), settled(5, refused(errcode)))).toEqual(["s 5: abc"]);
    expect(stream.deadline).toBe(1_700);
    expect(say(stream, 1_700, tick, settled(6, acked), append("d"), settled(7, refused(errcode)))).toEqual([
      "s 6: abc",
      "s 7: abcd",
    ]);
    expect(stream.deadline).toBe(1_900);
  });

  it("pushes an end that stayed in conflict, without a second stream for it", () => {
    const stream = make();
    say(stream, 0, append("a "), settled(1, acked), append("b"), finish, settled(2, acked));
    const effects: string[] = [];
    for (const [key, now] of [
      [3, 0],
      [4, 200],
      [5, 600],
      [6, 1_400],
    ] as const) {
      effects.push(...say(stream, now, tick, settled(key, refused(6000))));
    }
    expect(effects).toEqual(["s 4 end: a b", "s 5 end: a b", "s 6 end: a b", "done delivered"]);
    const unseen = make();
    say(unseen, 0, append("a"), finish, settled(1, timedOut));
    const rest: string[] = [];
    for (const [key, now] of [
      [2, 0],
      [3, 200],
      [4, 600],
      [5, 1_400],
    ] as const) {
      rest.push(...say(unseen, now, tick, settled(key, refused(6000))));
    }
    expect(rest).toEqual(["s 3 end: a", "s 4 end: a", "s 5 end: a", "push 6: a"]);
  });

  it("retries a push after 6000, and after 846609 until the connection has noticed it too", () => {
    const stream = make();
    say(stream, 0, append("a"), finish, settled(1, refused(846609)));
    expect(say(stream, 0, settled(2, refused(846609)))).toEqual([]);
    expect(stream.deadline).toBe(200);
    expect(say(stream, 200, tick, settled(3, notReady))).toEqual(["push 3: a"]);
    expect(stream.deadline).toBeUndefined();
    expect(say(stream, 5_000, tick, ready)).toEqual(["push 4: a"]);
    expect(say(stream, 5_000, settled(4, refused(6000)))).toEqual([]);
    expect(stream.deadline).toBe(5_400);
  });

  it("gives a push up that stays in conflict", () => {
    const stream = make({ replyUntil: 0 });
    say(stream, 0, append("a"), finish);
    const effects: string[] = [];
    for (const [key, now] of [
      [1, 0],
      [2, 200],
      [3, 600],
      [4, 1_400],
    ] as const) {
      effects.push(...say(stream, now, tick, settled(key, refused(6000))));
    }
    expect(effects).toEqual(["push 2: a", "push 3: a", "push 4: a", "done failed"]);
  });

  it.each([40201, 93001, 93006, 93008, 40058, 853000])(
    "gives up after %i at the end, and passes over it before",
    (errcode) => {
      const stream = make();
      expect(say(stream, 0, append("a"), settled(1, refused(errcode)), tick)).toEqual(["s 1: a"]);
      expect(say(stream, 0, append("b"), settled(2, acked), finish)).toEqual(["s 2: ab", "s 3 end: ab"]);
      expect(result(stream.handle(0, settled(3, refused(errcode))))).toMatchObject({
        state: "failed",
        route: "stream",
        messages: 0,
        refusal: { errcode },
      });
      const pushing = make({ replyUntil: 0 });
      say(pushing, 0, append("a"), finish);
      expect(result(pushing.handle(0, settled(1, refused(errcode))))).toMatchObject({ state: "failed", route: "push" });
    },
  );

  it("passes over an unknown code on a refresh, and repeats an end that met one once, then pushes it", () => {
    const stream = make();
    expect(say(stream, 0, append("a"), settled(1, refused(7)), tick, append("b"))).toEqual(["s 1: a", "s 2: ab"]);
    expect(say(stream, 0, finish, settled(2, refused(7)), settled(3, refused(7)))).toEqual(["s 3 end: ab"]);
    expect(stream.deadline).toBe(200);
    expect(say(stream, 200, tick, settled(4, refused(7)), settled(5, refused(7)))).toEqual([
      "s 4 end: ab",
      "push 5: ab",
    ]);
    expect(stream.deadline).toBe(400);
    expect(say(stream, 400, tick)).toEqual(["push 6: ab"]);
    expect(result(stream.handle(400, settled(6, refused(7))))).toMatchObject({
      state: "failed",
      route: "push",
      refusal: { errcode: 7 },
    });
  });

  it.each([846604, 846605, 846608])("fails when a push is refused with %i", (errcode) => {
    const stream = make({ replyUntil: 0 });
    say(stream, 0, append("a"), finish);
    expect(result(stream.handle(0, settled(1, refused(errcode))))).toMatchObject({ state: "failed" });
  });
});

describe("Stream, when it is not told", () => {
  it("goes on with a later state after a refresh without an ack, and repeats nothing for its own sake", () => {
    const stream = make();
    expect(say(stream, 0, append("a"), settled(1, timedOut), tick)).toEqual(["s 1: a"]);
    expect(say(stream, 0, append("b"), settled(2, timedOut))).toEqual(["s 2: ab"]);
    expect(say(stream, 0, finish)).toEqual(["s 3 end: ab"]);
  });

  it("does not push the text of a refresh that may have arrived, but what no ack confirmed", () => {
    const stream = make();
    say(stream, 0, append("One. "), settled(1, acked), append("Two. "), settled(2, timedOut), append("Three."));
    expect(say(stream, 0, settled(3, refused(846608)), finish)).toEqual(["push 4: Two. Three."]);
  });

  it("holds an end without an ack in doubt for a minute, then calls it unknown", () => {
    const stream = make();
    say(stream, 0, append("a"), settled(1, acked), append("b"), finish, settled(2, acked));
    expect(say(stream, 1_000, settled(3, timedOut), tick)).toEqual([]);
    expect(stream.deadline).toBe(61_000);
    expect(say(stream, 60_999, tick)).toEqual([]);
    expect(result(stream.handle(61_000, tick))).toMatchObject({ state: "unknown", route: "stream", messages: 1 });
  });

  it("repeats an end in doubt once when a new socket shows that the old one was dead", () => {
    const stream = make({ doubtMs: 5_000 });
    say(stream, 0, append("a"), finish, settled(1, acked), settled(2, timedOut));
    expect(stream.deadline).toBe(5_000);
    expect(say(stream, 4_999, ready)).toEqual(["s 3 end: a"]);
    expect(result(stream.handle(5_000, settled(3, timedOut)))).toMatchObject({ state: "unknown" });
    const good = make();
    say(good, 0, append("a"), finish, settled(1, acked), settled(2, timedOut));
    expect(say(good, 60_000, ready, settled(3, acked))).toEqual(["s 3 end: a", "done delivered"]);
  });

  it("goes on with the next message after an end that stayed unknown", () => {
    const stream = make({ maxBytes: 64 });
    expect(say(stream, 0, append(`${"a".repeat(60)}\nbbbbb`), settled(1, timedOut), append("c"))).toEqual([
      `s 1 end: ${"a".repeat(60)}\n`,
    ]);
    expect(say(stream, 60_000, tick)).toEqual(["s.2 2: bbbbbc"]);
    say(stream, 60_000, finish, settled(2, acked));
    expect(result(stream.handle(60_000, settled(3, acked)))).toMatchObject({ state: "unknown", messages: 2 });
  });

  it("keeps a rewritten text whole when the end in doubt showed another", () => {
    const stream = make({ maxBytes: 64 });
    say(stream, 0, set(`${"a".repeat(60)}\nbbbbb`), settled(1, timedOut), set("other"));
    expect(say(stream, 60_000, tick)).toEqual(["s.2 2: other"]);
    const same = make({ maxBytes: 64 });
    say(same, 0, set(`${"a".repeat(60)}\nbbbbb`), settled(1, timedOut), set(`${"a".repeat(60)}\nc`));
    expect(say(same, 60_000, tick)).toEqual(["s.2 2: c"]);
  });

  it("never repeats a push", () => {
    for (const outcome of [timedOut, lost]) {
      const stream = make({ replyUntil: 0 });
      say(stream, 0, append("a"), finish);
      const effects = [...stream.handle(0, settled(1, outcome)), ...stream.handle(1, ready)];
      expect(result(effects)).toMatchObject({ state: "unknown", route: "push", messages: 1 });
    }
  });

  it("never repeats a markdown reply", () => {
    const stream = make();
    say(stream, 0, append("a"), finish, settled(1, refused(600_039)), settled(2, timedOut));
    expect(stream.state).toMatchObject({ done: true, unknown: true });
  });
});

describe("Stream, when the connection is lost", () => {
  it("repeats the newest state on the same bubble once there is a new socket", () => {
    const stream = make();
    expect(say(stream, 0, append("a"), settled(1, lost), append("b"), tick)).toEqual(["s 1: a"]);
    expect(stream.deadline).toBeUndefined();
    expect(say(stream, 9_000, ready)).toEqual(["s 2: ab"]);
    expect(say(stream, 9_001, settled(2, lost), ready, settled(3, lost), ready)).toEqual(["s 3: ab", "s 4: ab"]);
  });

  it("repeats an end once, then calls it unknown", () => {
    const stream = make();
    say(stream, 0, append("a"), finish, settled(1, acked));
    expect(say(stream, 0, settled(2, lost), ready)).toEqual(["s 3 end: a"]);
    expect(result(stream.handle(1, settled(3, lost)))).toMatchObject({ state: "unknown" });
  });

  it("finishes again a bubble that may be finished, even if a rewritten text would fit", () => {
    const stream = make({ maxBytes: 64 });
    say(stream, 0, set(`${"a".repeat(50)}\n${"b".repeat(18)}`), settled(1, lost), set("Other. Tex"));
    expect(say(stream, 1, ready, settled(2, acked))).toEqual(["s 2 end: Other. ", "s.2 3: Tex"]);
    const ended = make({ maxBytes: 64 });
    say(ended, 0, set(`${"a".repeat(50)}\n${"b".repeat(18)}`), settled(1, lost), set("Other. Tex"), finish);
    expect(say(ended, 1, ready, settled(2, acked))).toEqual(["s 2 end: Other. Tex", "done delivered"]);
  });

  it("pushes what no ack confirmed when the repeated end is refused", () => {
    const stream = make();
    say(
      stream,
      0,
      append("One. "),
      settled(1, acked),
      append("Two."),
      settled(2, acked),
      append(" Three."),
      finish,
      settled(3, lost),
    );
    expect(say(stream, 1, ready, settled(4, refused(846605)))).toEqual([
      "s 4 end: One. Two. Three.",
      "push 5: Two. Three.",
    ]);
  });

  it("pushes when the repeated end meets a code that nobody knows", () => {
    const stream = make();
    say(stream, 0, append("a"), finish, settled(1, timedOut), settled(2, lost), ready, settled(3, refused(7)));
    expect(say(stream, 200, tick, settled(4, refused(7)))).toEqual(["s 4 end: a", "push 5: a"]);
  });

  it("takes a conflict of the repeated end for its own first copy", () => {
    const stream = make();
    say(stream, 0, append("a"), finish, settled(1, timedOut), settled(2, lost), ready);
    say(stream, 0, settled(3, refused(6000)));
    say(stream, 200, tick, settled(4, refused(6000)));
    say(stream, 600, tick, settled(5, refused(6000)));
    expect(say(stream, 1_400, tick)).toEqual(["s 6 end: a"]);
    expect(result(stream.handle(1_400, settled(6, refused(6000))))).toMatchObject({
      state: "unknown",
      route: "stream",
      messages: 1,
    });
  });

  it("sends again what never left, as often as needed", () => {
    const stream = make();
    expect(say(stream, 0, append("a"), finish, settled(1, unsent))).toEqual(["s 1: a"]);
    for (let key = 2; key < 9; key++)
      expect(say(stream, key, ready, settled(key, key % 2 === 0 ? unsent : notReady))).toEqual([`s ${key} end: a`]);
    expect(say(stream, 9, ready, settled(9, acked))).toEqual(["s 9 end: a", "done delivered"]);
  });

  it("counts a bubble's age from a first frame that left", () => {
    const stream = make();
    say(stream, 0, append("a"), settled(1, notReady));
    say(stream, 500_000, ready, settled(2, acked));
    expect(stream.deadline).toBe(1_040_000);
    const again = make();
    say(again, 0, append("a"), settled(1, acked), append("b"), settled(2, unsent));
    say(again, 500_000, ready, settled(3, acked));
    expect(again.deadline).toBe(540_000);
  });

  it("takes a frame in flight at `ready` for lost: it was restored", () => {
    const stream = make();
    say(stream, 0, append("a"), finish, settled(1, acked));
    const restored = Stream.restore(JSON.parse(JSON.stringify(stream.state)) as StreamState, {
      id: "s",
      budget: generous(),
    });
    expect(say(restored, 5, ready)).toEqual(["s 3 end: a"]);
    expect(say(restored, 6, ready)).toEqual(["done unknown"]);
    const pushing = make({ replyUntil: 0 });
    say(pushing, 0, append("a"), finish);
    expect(say(pushing, 1, ready)).toEqual(["done unknown"]);
  });

  it("fails when the connection is stopped, unless all may have arrived", () => {
    const stopped = (maybeDelivered: boolean): Outcome => ({ type: "stopped", maybeDelivered });
    const last = (outcome: Outcome): StreamResult => {
      const stream = make();
      say(stream, 0, append("a"), finish, settled(1, acked));
      return result(stream.handle(0, settled(2, outcome)));
    };
    expect(last(stopped(true))).toMatchObject({ state: "unknown", stopped: true });
    expect(last(stopped(false))).toMatchObject({ state: "failed", stopped: true });
    const refresh = make();
    say(refresh, 0, append("a"));
    expect(result(refresh.handle(0, settled(1, stopped(true))))).toMatchObject({ state: "failed", ended: undefined });
    const open = make();
    say(open, 0, append("a"), finish);
    expect(result(open.handle(0, settled(1, stopped(true))))).toMatchObject({ state: "failed" });
    const more = make({ maxBytes: 64 });
    say(more, 0, append("a".repeat(65)), finish);
    expect(result(more.handle(0, settled(1, stopped(true))))).toMatchObject({ state: "failed" });
    const growing = make({ maxBytes: 64, handoverMs: 10 });
    say(growing, 0, append("a "), settled(1, acked));
    say(growing, 10, tick);
    expect(result(growing.handle(10, settled(2, stopped(true))))).toMatchObject({ state: "failed", ended: undefined });
  });

  it("ends without a frame in flight when it is told that no socket will come", () => {
    const away = make();
    say(away, 0, append("a"), finish, settled(1, notReady));
    expect(result(away.handle(0, { type: "stopped" }))).toMatchObject({ state: "failed", stopped: true });
    const doubtful = make();
    say(doubtful, 0, append("a"), finish, settled(1, acked), settled(2, timedOut));
    expect(result(doubtful.handle(0, { type: "stopped" }))).toMatchObject({ state: "unknown", stopped: true });
    const flying = make();
    say(flying, 0, append("a"), finish, settled(1, acked));
    expect(result(flying.handle(0, { type: "stopped" }))).toMatchObject({ state: "unknown", stopped: true });
    expect(make().handle(0, { type: "stopped" })).toHaveLength(1);
  });
});

describe("Stream, as a machine", () => {
  it.each([
    ["id", { id: "" }, "id must not be empty"],
    ["maxBytes", { maxBytes: 63 }, "maxBytes must be from 64 to 20480"],
    ["maxBytes", { maxBytes: 20_481 }, "maxBytes must be from 64 to 20480"],
    ["maxBytes", { maxBytes: NaN }, "maxBytes must be from 64 to 20480"],
    ["handoverMs", { handoverMs: 0 }, "handoverMs must be above 0"],
    ["doubtMs", { doubtMs: 0 }, "doubtMs must be above 0"],
    [
      "texts.handover",
      { maxBytes: 64, texts: { handover: "x".repeat(17) } },
      "texts.handover must not take more than a quarter of maxBytes",
    ],
    ["texts.empty", { texts: { empty: "\u200b" } }, "texts.empty must have a visible character and fit into maxBytes"],
    [
      "texts.empty",
      { maxBytes: 64, texts: { empty: "x".repeat(65) } },
      "texts.empty must have a visible character and fit into maxBytes",
    ],
  ])("refuses a wrong %s: %j", (path, options, message) => {
    expect(() => make(options)).toThrow(UsageError);
    expect(() => make(options)).toThrow(expect.objectContaining({ path, message }) as Error);
  });

  it("takes the smallest size, with texts as long as can be", () => {
    const texts = { handover: "x".repeat(16), empty: "x".repeat(64), failed: "x".repeat(100), cancelled: "" };
    const stream = make({ maxBytes: 64, texts });
    expect(say(stream, 0, { type: "fail" })).toEqual([`s 1 end: ${"x".repeat(64)}`]);
    expect(say(stream, 0, settled(1, acked))).toEqual([`s.2 2 end: ${"x".repeat(36)}`]);
    expect(say(make({ maxBytes: 64, texts }), 0, finish)).toEqual([`s 1 end: ${"x".repeat(64)}`]);
  });

  it("takes a time that goes back for the last one", () => {
    const stream = make();
    say(stream, 1_000, append("a"), settled(1, refused(6000)));
    expect(say(stream, 0, tick)).toEqual([]);
    expect(stream.deadline).toBe(1_200);
    expect(stream.state.now).toBe(1_000);
  });

  it("ignores outcomes nobody waits for", () => {
    const stream = make();
    expect(say(stream, 0, settled(1, acked), append("a"), settled(2, acked), settled(0, refused(846605)))).toEqual([
      "s 1: a",
    ]);
    expect(say(stream, 0, settled(1, acked), settled(1, refused(846605)), append("b"))).toEqual(["s 2: ab"]);
  });
});

// ---------------------------------------------------------------------------------------------------------------------
// Any history

type Fate = "acked" | "timed-out" | "dropped" | "lost" | "lost before" | "unsent" | "not ready" | number;

/** A gateway that does with each frame what the script says, and shows what a user would see. */
class Chat {
  readonly bubbles = new Map<string, { content: string; finished: boolean }>();
  readonly pushes: string[] = [];
  now = 0;
  flying: number | undefined;
  done: StreamResult | undefined;
  reconnect = false;
  refusals = new Set<number>();
  stream: Stream;
  budget: Budget;
  readonly options: Omit<StreamOptions, "budget">;
  readonly restoreEach: boolean;
  readonly log: string[] = [];
  #apply: () => void = () => {};

  constructor(options: Omit<StreamOptions, "budget">, restoreEach = false) {
    this.options = options;
    this.budget = new Budget();
    this.stream = new Stream({ ...options, budget: this.budget });
    this.restoreEach = restoreEach;
  }

  handle(input: StreamInput): void {
    const wasDone = this.done !== undefined;
    const effects = this.stream.handle(this.now, input);
    expect(wasDone && effects.length > 0).toBe(false);
    for (const effect of effects) this.perform(effect);
    const { deadline } = this.stream;
    if (deadline !== undefined) expect(deadline).toBeGreaterThan(this.now);
    if (this.restoreEach) {
      this.budget = Budget.restore(JSON.parse(JSON.stringify(this.budget.state)) as never);
      const state = JSON.parse(JSON.stringify(this.stream.state)) as StreamState;
      this.stream = Stream.restore(state, { ...this.options, budget: this.budget });
    }
    // Spurious ticks change nothing, whatever the machine waits for.
    const { state } = this.stream;
    expect(this.stream.handle(this.now, tick)).toEqual([]);
    expect(this.stream.state).toEqual(state);
    expect(this.stream.deadline).toBe(deadline);
  }

  perform(effect: StreamEffect): void {
    this.log.push(`${this.now} ${brief(effect)}`);
    if (effect.type === "done") {
      this.done = effect.result;
      return;
    }
    expect(this.flying).toBeUndefined();
    this.flying = effect.key;
    if (effect.type === "push" || effect.body.msgtype === "markdown") {
      const content =
        effect.type === "push"
          ? effect.content
          : effect.body.msgtype === "markdown"
            ? effect.body.markdown.content
            : "";
      MarkdownBody.parse({ msgtype: "markdown", markdown: { content } });
      expect(utf8Bytes(content)).toBeLessThanOrEqual(this.options.maxBytes ?? 20_480);
      this.#apply = () => this.pushes.push(content);
      return;
    }
    const { stream } = StreamBody.parse(effect.body);
    expect(utf8Bytes(stream.content)).toBeLessThanOrEqual(this.options.maxBytes ?? 20_480);
    expect(stream.feedback === undefined || !this.bubbles.has(stream.id)).toBe(true);
    const before = this.bubbles.get(stream.id);
    if (before?.finished === true) expect(stream.finish).toBe(true);
    this.#apply = () => this.bubbles.set(stream.id, { content: stream.content, finished: stream.finish });
  }

  settle(fate: Fate): void {
    const key = this.flying;
    if (key === undefined) return;
    this.flying = undefined;
    const arrives = fate === "acked" || fate === "timed-out" || fate === "lost";
    if (arrives) this.#apply();
    if (fate === "dropped" || fate === "lost" || fate === "lost before" || fate === "unsent" || fate === "not ready")
      this.reconnect = true;
    if (typeof fate === "number") this.refusals.add(fate);
    const outcomes: Record<string, Outcome> = {
      acked,
      "timed-out": timedOut,
      dropped: timedOut,
      lost,
      "lost before": lost,
      unsent,
      "not ready": notReady,
    };
    this.handle(settled(key, typeof fate === "number" ? refused(fate) : (outcomes[fate] as Outcome)));
  }

  /** Lets everything end well. */
  close(ending: StreamInput): void {
    if (this.stream.state.ended === undefined) this.handle(ending);
    for (let steps = 0; this.done === undefined; steps++) {
      expect(steps).toBeLessThan(500);
      if (this.flying !== undefined) this.settle("acked");
      else if (this.reconnect) {
        this.reconnect = false;
        this.handle(ready);
      } else {
        expect(this.stream.deadline).toBeDefined();
        this.now = this.stream.deadline as number;
        this.handle(tick);
      }
    }
    expect(this.stream.deadline).toBeUndefined();
  }
}

type Step =
  | { do: "append"; words: number }
  | { do: "set"; keep: number }
  | { do: "settle"; fate: Fate }
  | { do: "wait"; ms: number }
  | { do: "ready" };

const fates = fc.oneof(
  { weight: 6, arbitrary: fc.constant<Fate>("acked") },
  { weight: 2, arbitrary: fc.constantFrom<Fate>("timed-out", "dropped", "lost", "lost before", "unsent", "not ready") },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Fate>(846604, 846605, 846607, 846608, 846609, 600039, 6000, -1, 40201, 93006, 40058, 7),
  },
);
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant("append" as const), words: fc.integer({ min: 1, max: 30 }) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("set" as const), keep: fc.nat(60) }) },
    { weight: 5, arbitrary: fc.record({ do: fc.constant("settle" as const), fate: fates }) },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.oneof(fc.nat(3_000), fc.nat(700_000)) }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("ready" as const) }) },
  ),
  { maxLength: 60 },
);
const endings = fc.constantFrom<StreamInput>(finish, { type: "fail" }, { type: "cancel" });
const settings = fc.record(
  {
    maxBytes: fc.constantFrom(64, 100, 400),
    handoverMs: fc.constantFrom(540_000, 20_000),
    replyUntil: fc.constantFrom(1_000_000, 3_000_000),
    feedbackId: fc.constant("trace_x"),
  },
  { requiredKeys: [] },
);
const quiet = { failed: "(!)", cancelled: "(?)" };

const play = (chat: Chat, history: readonly Step[], ending: StreamInput): string[] => {
  let words: string[] = [];
  let next = 0;
  for (const step of history) {
    if (chat.done !== undefined) break;
    if (step.do === "append") {
      const more = Array.from({ length: step.words }, () => `w${next++}`);
      words.push(...more);
      chat.handle(append(more.map((word) => `${word} `).join("")));
    } else if (step.do === "set") {
      words = words.slice(0, step.keep);
      chat.handle(set(words.map((word) => `${word} `).join("")));
    } else if (step.do === "settle") chat.settle(step.fate);
    else if (step.do === "ready") {
      if (chat.flying === undefined && chat.reconnect) {
        chat.reconnect = false;
        chat.handle(ready);
      }
    } else {
      const until = chat.now + step.ms;
      for (;;) {
        const { deadline } = chat.stream;
        if (deadline === undefined || deadline > until) break;
        chat.now = deadline;
        chat.handle(tick);
      }
      chat.now = until;
    }
  }
  if (chat.done === undefined) chat.close(ending);
  return words;
};

describe("Stream, in any history", () => {
  it("keeps its contract, and is done once all sends settle", () => {
    fc.assert(
      fc.property(settings, steps, endings, (given, history, ending) => {
        const chat = new Chat({ id: "s", texts: quiet, ...given });
        const words = play(chat, history, ending);
        expect(chat.done).toBeDefined();
        const { state, refusal } = chat.done as StreamResult;
        const seen = [...[...chat.bubbles.values()].map(({ content }) => content), ...chat.pushes].join(" ");
        const tokens = new Set(seen.split(/\s+/));
        if (state === "delivered") expect(words.filter((word) => !tokens.has(word))).toEqual([]);
        if (state === "failed") expect(refusal).toBeDefined();
        if (chat.refusals.size === 0) {
          expect(chat.pushes.length === 0 || given.replyUntil !== undefined).toBe(true);
          expect(
            [...chat.bubbles.values()].every(({ finished }) => finished) ||
              state === "unknown" ||
              given.replyUntil !== undefined,
          ).toBe(true);
        }
        // Nothing is said twice, unless something was refused or rewritten, or a bubble has kept an older state.
        const straight = history.every(
          (step) => step.do !== "set" && !("fate" in step && (step.fate === "dropped" || step.fate === "lost before")),
        );
        if (chat.refusals.size === 0 && given.replyUntil === undefined && straight) {
          const count = seen.split(/\s+/).filter((token) => /^w\d+$/.test(token));
          expect(new Set(count).size).toBe(count.length);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("has the same effects when it is restored after every step", () => {
    fc.assert(
      fc.property(settings, steps, endings, (given, history, ending) => {
        const one = new Chat({ id: "s", texts: quiet, ...given });
        const other = new Chat({ id: "s", texts: quiet, ...given }, true);
        play(one, history, ending);
        play(other, history, ending);
        expect(other.log).toEqual(one.log);
        expect(JSON.stringify(other.stream.state)).toBe(JSON.stringify(one.stream.state));
      }),
      { numRuns: 100 },
    );
  });

  it("shows everything, in order and once, when nothing goes wrong but the quota", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 40 }), fc.nat(5_000)), { minLength: 1, maxLength: 40 }),
        settings,
        (texts, { replyUntil: _, ...given }) => {
          const chat = new Chat({ id: "s", texts: { handover: "" }, ...given });
          const words = play(
            chat,
            texts.flatMap(([words, ms]) => [
              { do: "append", words } as const,
              { do: "settle", fate: "acked" } as const,
              { do: "wait", ms } as const,
            ]),
            finish,
          );
          expect(chat.done).toMatchObject({ state: "delivered" });
          expect([...chat.bubbles.values()].map(({ content }) => content).join("")).toBe(
            words.map((word) => `${word} `).join(""),
          );
          expect(chat.pushes).toEqual([]);
        },
      ),
      { numRuns: 100 },
    );
  });
});
