import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UsageError } from "../src/errors.ts";
import { closeFence, cutAt, cutMarkdown, hasVisible, splitMarkdown, utf8Bytes } from "../src/text.ts";

/** Mutation tests repeat all of this hundreds of times, on code that counts its steps: they get a part of the work. */
const thorough = process.env["OPENWS_MUTATE"] === undefined;

const anyText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 200 }),
  fc.string({ unit: "grapheme", maxLength: 200 }),
  fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 60 }).map((units) => String.fromCharCode(...units)),
);

describe("utf8Bytes", () => {
  it.each([
    ["", 0],
    ["a", 1],
    ["\u007f", 1],
    ["\u0080", 2],
    ["\u07ff", 2],
    ["\u0800", 3],
    ["微", 3],
    ["\uffff", 3],
    ["😀", 4],
    ["\ud83d", 3],
    ["\ude00", 3],
    ["\ude00\ud83d", 6],
    ["\ud83d\ud83d\ude00", 7],
    ["\ud83da", 4],
    ["\udbff\udfff", 4],
    ["\ud800\udc00", 4],
    ["\udc00\udc00", 6],
    ["\ud7ff\udc00", 6],
    ["\ud800\ue000", 6],
  ])("counts %j as %i", (text, bytes) => {
    expect(utf8Bytes(text)).toBe(bytes);
  });

  it("agrees with the runtime on any text", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect(utf8Bytes(text)).toBe(new TextEncoder().encode(text).length);
      }),
    );
  });
});

describe("cutAt", () => {
  it.each([
    ["abc", 3, 3],
    ["abc", 2, 2],
    ["abc", 0, 0],
    ["", 0, 0],
    ["aé", 2, 1],
    ["aé", 3, 2],
    ["微信", 5, 1],
    ["微信", 6, 2],
    ["a😀", 4, 1],
    ["a😀", 5, 3],
    ["\ud83d!", 2, 0],
    ["\ud83d!", 3, 1],
    ["\u007f\u0080", 2, 1],
    ["\u07ff\u0800", 4, 1],
  ])("cuts %j at %i bytes after %i code units", (text, maxBytes, index) => {
    expect(cutAt(text, maxBytes)).toBe(index);
  });

  it("takes as much as fits, and never half a code point", () => {
    fc.assert(
      fc.property(anyText, fc.nat(400), (text, maxBytes) => {
        const at = cutAt(text, maxBytes);
        expect(utf8Bytes(text.slice(0, at))).toBeLessThanOrEqual(maxBytes);
        if (at === text.length) return;
        const next = String.fromCodePoint(text.codePointAt(at) as number);
        expect(utf8Bytes(text.slice(0, at) + next)).toBeGreaterThan(maxBytes);
        expect(utf8Bytes(text.slice(0, at)) + utf8Bytes(text.slice(at))).toBe(utf8Bytes(text));
      }),
    );
  });

  it("does not read on once it is full", () => {
    let furthest = 0;
    const charCodeAt = (i: number): number => {
      furthest = Math.max(furthest, i);
      return 97;
    };
    expect(cutAt({ length: 1e9, charCodeAt } as unknown as string, 10)).toBe(10);
    expect(furthest).toBeLessThan(12);
  });
});

describe("hasVisible", () => {
  it.each(["a", " . ", "\u200b微", "😀", "-", "\ufffd", "\ue000"])("sees something in %j", (text) => {
    expect(hasVisible(text)).toBe(true);
  });

  it.each([
    ["nothing", ""],
    ["white space", " \t\r\n\u00a0\u3000\u2028"],
    ["zero-width characters", "\u200b\u200c\u200d\u2060\ufeff"],
    ["controls", "\u0000\u001b\u007f\u0085"],
    ["fillers", "\u3164\u115f\u1160\uffa0\u034f\u2800"],
    ["marks without a base", "\u0301\ufe0f"],
    ["a soft hyphen and direction marks", "\u00ad\u202e\u2066"],
    ["a lone surrogate", "\ud83d"],
    ["tags", "\u{e0041}"],
  ])("sees nothing in %s", (_what, text) => {
    expect(hasVisible(text)).toBe(false);
  });
});

/** Cuts `text` as splitMarkdown does and checks what must hold for every cut. */
function pieces(text: string, maxBytes: number): { part: string; slice: string; carry: string; close: string }[] {
  const found = [];
  let at = 0;
  let carry = "";
  while (at < text.length) {
    const cut = cutMarkdown(text.slice(at), maxBytes, { carry });
    const slice = text.slice(at, at + cut.at);
    expect(cut.at).toBeGreaterThan(0);
    expect(new TextEncoder().encode(cut.part).length).toBeLessThanOrEqual(maxBytes);
    expect(cut.part.startsWith(carry + slice)).toBe(true);
    const close = cut.part.slice(carry.length + slice.length);
    expect(close).toMatch(/^(\n?[ \t]*(`{3,}|~{3,}))?$/);
    found.push({ part: cut.part, slice, carry, close });
    at += cut.at;
    carry = cut.carry;
  }
  expect(carry).toBe("");
  expect(found.map(({ part }) => part)).toEqual(splitMarkdown(text, maxBytes));
  expect(found.map(({ slice }) => slice).join("")).toBe(text);
  return found;
}

/** splitMarkdown, once it is clear that it comes to an end. */
const split = (text: string, maxBytes: number): string[] => pieces(text, maxBytes).map(({ part }) => part);

const word = fc.oneof(
  fc.string({ unit: fc.constantFrom("a", "b", "c", "d", "e"), minLength: 1, maxLength: 9 }),
  fc.constantFrom("微信机器人", "😀", "👩‍👩‍👧", "e\u0301", "🇨🇳", "Yes.", "好。", "`x`", "**b**"),
);
const sentence = fc.array(word, { minLength: 1, maxLength: 12 }).map((words) => words.join(" "));
const paragraph = fc.array(sentence, { minLength: 1, maxLength: 4 }).map((lines) => `${lines.join("\n")}\n`);
const fence = fc
  .tuple(
    fc.constantFrom("```", "````", "~~~"),
    fc.constantFrom("", "js", "python"),
    fc.array(sentence, { minLength: 1, maxLength: 20 }),
  )
  .map(([marker, info, lines]) => `${marker}${info}\n${lines.join("\n")}\n${marker}\n`);
const table = fc
  .array(fc.tuple(word, word), { minLength: 1, maxLength: 20 })
  .map((rows) => `| K | V |\n|---|---|\n${rows.map(([k, v]) => `| ${k} | ${v} |`).join("\n")}\n`);
const document = fc
  .array(fc.oneof(paragraph, fence, table), { minLength: 1, maxLength: 8 })
  .map((blocks) => blocks.join("\n"));
const hostile = fc
  .array(
    fc.oneof(
      word,
      fc.constantFrom(
        "\n",
        "\r\n",
        "```",
        "~~~~",
        "|",
        "-|-",
        "a|b\n-|-\n",
        "```js\n",
        "\t",
        " ",
        "\u200d",
        "\u0301",
        "🇨",
        "\ud83d",
        ".",
      ),
    ),
    { maxLength: 120 },
  )
  .map((tokens) => tokens.join(""));

describe("splitMarkdown", () => {
  it("leaves a text that fits as it is, exactly to the byte, even with a fence open", () => {
    expect(split("```js\nlet x", 11)).toEqual(["```js\nlet x"]);
    expect(split("微信微信", 12)).toEqual(["微信微信"]);
    expect(split("微信微信", 11)).toEqual(["微信微", "信"]);
    expect(split("", 8)).toEqual([]);
  });

  it("refuses a size into which not every code point and fence fits", () => {
    expect(() => splitMarkdown("a", 7)).toThrow(UsageError);
    expect(() => cutMarkdown("a", NaN)).toThrow(
      expect.objectContaining({ path: "maxBytes", message: "maxBytes must be at least 8" }) as Error,
    );
    expect(split("a", 8)).toEqual(["a"]);
  });

  it("cuts between paragraphs when that leaves a piece at least half full", () => {
    expect(split("one two\nthree.\n\nfour five six\nseven", 30)).toEqual([
      "one two\nthree.\n\n",
      "four five six\nseven",
    ]);
    expect(split("one\n\ntwo three four five\nsix seven eight", 30)).toEqual([
      "one\n\ntwo three four five\n",
      "six seven eight",
    ]);
  });

  it("cuts before a heading and before a block as between paragraphs", () => {
    expect(split("one two three\n# four\nfive six seven", 28)).toEqual(["one two three\n", "# four\nfive six seven"]);
    expect(split("one two three\n```\nx\ny\nz\nu\nv\n```\n", 28)).toEqual([
      "one two three\n",
      "```\nx\ny\nz\nu\nv\n```\n",
    ]);
    expect(split("one two three\na|b\n-|-\n1|2\n3|4\n5|6", 28)).toEqual(["one two three\n", "a|b\n-|-\n1|2\n3|4\n5|6"]);
  });

  it("cuts after a block as between paragraphs", () => {
    expect(split("```\nx = 1234567\n```\nabc def\nghi jkl mno", 32)).toEqual([
      "```\nx = 1234567\n```\n",
      "abc def\nghi jkl mno",
    ]);
    expect(split("a|b\n-|-\n1234|567\nabc def\nghi jkl mno", 32)).toEqual([
      "a|b\n-|-\n1234|567\n",
      "abc def\nghi jkl mno",
    ]);
  });

  it("cuts between lines rather than within one", () => {
    expect(split("one two three four\nfive six seven eight", 30)).toEqual([
      "one two three four\n",
      "five six seven eight",
    ]);
    expect(split("123456789\nabcdefgh ijklmnop", 20)).toEqual(["123456789\n", "abcdefgh ijklmnop"]);
  });

  it("cuts a long line after a sentence, but not after the dot of a number", () => {
    expect(split("One two three four. Five six seven 3.14 eight", 39)).toEqual([
      "One two three four. ",
      "Five six seven 3.14 eight",
    ]);
    expect(split("One two three four.  Five six seven 3.14 eight", 40)[0]).toBe("One two three four.  ");
    expect(split('He said "no more!" and went away', 28)).toEqual(['He said "no more!" ', "and went away"]);
    expect(split("一二三四五。六七八九", 27)).toEqual(["一二三四五。", "六七八九"]);
    expect(split("一二三四五？」六七八九", 30)).toEqual(["一二三四五？」", "六七八九"]);
  });

  it("cuts a long sentence between words, and between characters where a script has no spaces", () => {
    expect(split("one two three four five six", 20)).toEqual(["one two three four ", "five six"]);
    expect(split("abc 一二三四五六七八", 20)).toEqual(["abc 一二三四五", "六七八"]);
    expect(split("abcdefgh 一二三四五六", 20)).toEqual(["abcdefgh 一二三", "四五六"]);
    expect(split("abcdefgh ⺀⺀⺀⺀⺀⺀", 20)).toEqual(["abcdefgh ⺀⺀⺀", "⺀⺀⺀"]);
    expect(split("abcdefghijklmnopqrst", 8)).toEqual(["abcdefgh", "ijklmnop", "qrst"]);
  });

  it("looks for a sentence or a word in the second half of a piece only", () => {
    expect(split("a. bcdefghijklmnop", 12)).toEqual(["a. bcdefghij", "klmnop"]);
    expect(split("abcde fghijklmnop", 12)).toEqual(["abcde fghijk", "lmnop"]);
    expect(split("abcdef ghijklmnop", 12)).toEqual(["abcdef ", "ghijklmnop"]);
  });

  it.each([
    ["a family", "👩‍👩‍👧", 18],
    ["a skin tone", "👍🏽", 8],
    ["a flag", "🇨🇳", 8],
    ["a letter and its mark", "e\u0301", 3],
    ["a base and its variation selector", "❤\ufe0f", 6],
    ["a carriage return and its line feed", "\r\n", 2],
    ["the flag of Wales", "\u{1f3f4}\u{e0067}\u{e0062}\u{e007f}", 16],
  ])("does not cut %s", (_what, grapheme, bytes) => {
    expect(utf8Bytes(grapheme)).toBe(bytes);
    for (let before = 21; before < 40; before++) {
      const [first, second] = split(`${"x".repeat(before)}${grapheme}${"y".repeat(39)}`, 39) as [string, string];
      expect([before, first.includes(grapheme) || second.includes(grapheme)]).toEqual([before, true]);
    }
  });

  it("cuts before a line feed and after a carriage return, unless they stand together", () => {
    expect(split("abcdefgh\nxyz", 8)).toEqual(["abcdefgh", "\nxyz"]);
    expect(split("abcdefg\rxyz", 8)).toEqual(["abcdefg\r", "xyz"]);
    expect(split("abcdefg\r\nxyz", 8)).toEqual(["abcdefg", "\r\nxyz"]);
  });

  it("cuts a row of flags between flags", () => {
    expect(split("🇦🇦🇦🇦", 12)).toEqual(["🇦🇦", "🇦🇦"]);
    expect(split("🇿🇿🇿🇿", 12)).toEqual(["🇿🇿", "🇿🇿"]);
    expect(split("😀😀😀😀", 12)).toEqual(["😀😀😀", "😀"]);
    expect(split("a🇨🇳🇩🇪🇫🇷🇮🇹", 23)).toEqual(["a🇨🇳🇩🇪", "🇫🇷🇮🇹"]);
    expect(split("🇨🇳🇩🇪🇫🇷🇮🇹", 20)).toEqual(["🇨🇳🇩🇪", "🇫🇷🇮🇹"]);
  });

  it("cuts a grapheme only if it is longer than anything sensible", () => {
    const joke = `e${"\u0301".repeat(200)}`;
    expect(split(joke, 101)).toEqual([joke.slice(0, 51), joke.slice(51, 101), joke.slice(101, 151), joke.slice(151)]);
    expect(split(`abcdefghij${"\u0301".repeat(20)}`, 40)[0]).toBe("abcdefghi");
    const long = `abcde${"\u0301".repeat(100)}`;
    expect(split(long, 129)[0]).toBe("abcd");
    expect(split(long, 131)[0]).toBe(long.slice(0, 68));
  });

  it("closes a fence that is cut in two and opens it again with its info string", () => {
    const text = "```js\nline one\nline two\nline three\n```\n";
    expect(split(text, 30)).toEqual(["```js\nline one\nline two\n```", "```js\nline three\n```\n"]);
  });

  it("keeps the indent, the kind and the length of a fence", () => {
    const text = "  ~~~~ sh x\n  one one one\n  ~~~\n  two two two\n  ~~~~\n";
    expect(split(text, 44)).toEqual([
      "  ~~~~ sh x\n  one one one\n  ~~~\n  ~~~~",
      "  ~~~~ sh x\n  two two two\n  ~~~~\n",
    ]);
  });

  it("takes a longer run for the end of a fence, a shorter or another one for its content", () => {
    expect(split("```\na\n`````\nbbbb bbbb\ncccc", 20)).toEqual(["```\na\n`````\n", "bbbb bbbb\ncccc"]);
    expect(split("````\na\n```\n~~~~\nbbbb\ncccc\n````", 24)).toEqual([
      "````\na\n```\n~~~~\n````",
      "````\nbbbb\ncccc\n````",
    ]);
  });

  it("does not take inline code for a fence", () => {
    expect(split("```not a fence``` aaa\nbbbb cccc", 24)).toEqual(["```not a fence``` aaa\n", "bbbb cccc"]);
  });

  it("cuts within a line of a fence only when that line alone is too long", () => {
    expect(split("```\nabcdefghijklmnopqrstuvw\n```", 20)).toEqual(["```\nabcdefghijkl\n```", "```\nmnopqrstuvw\n```"]);
    expect(split("x\n```\nab\nabcdefghijklmnopqrstuv\n```", 22)[0]).toBe("x\n```\nab\n```");
  });

  it("never leaves an empty fence behind or ahead", () => {
    expect(split("one two three four\n\nfive\n```js\nabcdef\n```\n", 34)).toEqual([
      "one two three four\n\nfive\n",
      "```js\nabcdef\n```\n",
    ]);
    expect(split("a\n```\nbbbbbbbbb\ncccccccc\n`````\n", 29)).toEqual([
      "a\n```\nbbbbbbbbb\n```",
      "```\ncccccccc\n`````\n",
    ]);
  });

  it("repeats a table's head where the table is cut", () => {
    const text = "| K | V |\n|---|:-:|\n| a | 1 |\n| b | 2 |\n| c | 3 |\n\nend";
    expect(split(text, 45)).toEqual([
      "| K | V |\n|---|:-:|\n| a | 1 |\n| b | 2 |\n",
      "| K | V |\n|---|:-:|\n| c | 3 |\n\nend",
    ]);
  });

  it("never cuts a table between its head and its first row", () => {
    expect(split("abcdefghijklmnop\nabc | k\n--- | -\n1 | 2\n3 | 4\n", 38)).toEqual([
      "abcdefghijklmnop\n",
      "abc | k\n--- | -\n1 | 2\n3 | 4\n",
    ]);
    expect(split("abcdefghijklmnop\nabc | k\n--- | -\n1 | 2\n3 | 4\n", 39)).toEqual([
      "abcdefghijklmnop\nabc | k\n--- | -\n1 | 2\n",
      "abc | k\n--- | -\n3 | 4\n",
    ]);
    expect(split("abc\nabc | k\n--- | -\n1 | 2\n3 | 4\n", 23)[0]).toBe("abc\n");
  });

  it("cuts before a block of which nothing fits but its opening, whatever was before", () => {
    const text = `\`\`\`\na\nb\n\`\`\`\n\`\`\`js\n${"c".repeat(60)}\n\`\`\`\n`;
    expect(split(text, 40)[0]).toBe("```\na\nb\n```\n");
  });

  it("takes a carry for no part of the text", () => {
    const carry = "```\n";
    const text = "```\naaaaaaaaaaaaaa\n\nbbbbbbbbbbbbbbbbbbbbbbbbbb";
    expect(cutMarkdown(text, 40, { carry })).toEqual({ part: "```\n```\naaaaaaaaaaaaaa\n\n", at: 20, carry: "" });
    const cut = cutMarkdown(`\`\`\`\n${"y".repeat(100)}`, 40, { carry: "a|b\n-|-\n" });
    expect(cut.at).toBeGreaterThan(0);
    expect(utf8Bytes(cut.part)).toBeLessThanOrEqual(40);
  });

  it("takes no line of bars for a table without a row of dashes below", () => {
    expect(split("a | b\nc | d\ne | f\ng | h\n", 14)).toEqual(["a | b\nc | d\n", "e | f\ng | h\n"]);
    expect(split("a | b\n-----\ne | f\ng | h\n", 14)).toEqual(["a | b\n-----\n", "e | f\ng | h\n"]);
    expect(split("a | b\n-|-x-\ne | f\ng | h\n", 14)).toEqual(["a | b\n-|-x-\n", "e | f\ng | h\n"]);
    expect(split("a | b\n::|::\ne | f\ng | h\n", 14)).toEqual(["a | b\n::|::\n", "e | f\ng | h\n"]);
    expect(split("abcde\n--|--\nefghi\njklmn\n", 14)).toEqual(["abcde\n--|--\n", "efghi\njklmn\n"]);
  });

  it("repeats no opening line or head that would take half of a piece", () => {
    expect(cutMarkdown("```js\nabcdefghijklmnopqrs\n```", 20).carry).toBe("```js\n");
    expect(cutMarkdown("```js\nabcdefghijklmnopqrs\n```", 19).carry).toBe("```\n");
    expect(split("```abcdefg\nhhhhhhhhhhhh\niiii\n```", 26)).toEqual([
      "```abcdefg\nhhhhhhhhhhh\n```",
      "```\nh\niiii\n```",
    ]);
    expect(split(`${"`".repeat(20)}\nhhhhhhhhhhhh\niiii`, 36)).toEqual([`${"`".repeat(20)}\nhhhhhhhhhhhh\n`, "iiii"]);
    expect(split("aaaa|bbbb\n--|--\n1|2\n3|4\n5|6\n", 24)).toEqual(["aaaa|bbbb\n--|--\n1|2\n3|4\n", "5|6\n"]);
    expect(split("aaa|bbb\n-|-\n1|2\n3|4\n5|6\n7|8\n", 24)).toEqual([
      "aaa|bbb\n-|-\n1|2\n3|4\n5|6\n",
      "aaa|bbb\n-|-\n7|8\n",
    ]);
    expect(split("aaa|bbb\n-|-\n1|2\n3|4\n5|6\n7|8\n", 23)).toEqual(["aaa|bbb\n-|-\n1|2\n3|4\n", "5|6\n7|8\n"]);
  });

  it("keeps every piece within its size and loses nothing, whatever the text", () => {
    fc.assert(
      fc.property(fc.oneof(document, hostile, anyText), fc.integer({ min: 8, max: 160 }), (text, maxBytes) => {
        pieces(text, maxBytes);
      }),
      { numRuns: thorough ? 400 : 100 },
    );
  });

  it("makes every piece of a well-formed document render by itself", () => {
    fc.assert(
      fc.property(document, fc.integer({ min: 150, max: 600 }), (text, maxBytes) => {
        for (const { part } of pieces(text, maxBytes)) {
          let open: string | undefined;
          let headed = false;
          for (const line of part.split("\n")) {
            const marker = /^(`{3,}|~{3,})/.exec(line)?.[1];
            if (marker !== undefined && open === undefined) open = marker;
            else if (marker !== undefined && marker === open) open = undefined;
            if (open === undefined && line.startsWith("|")) {
              if (line === "| K | V |") headed = true;
              expect(headed).toBe(true);
            } else headed = false;
          }
          expect(open).toBeUndefined();
        }
      }),
      { numRuns: thorough ? 250 : 60 },
    );
  });

  it("never cuts a grapheme of words and emoji", () => {
    const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" });
    fc.assert(
      fc.property(
        fc.array(word, { minLength: 1, maxLength: 60 }),
        fc.integer({ min: 48, max: 120 }),
        (words, maxBytes) => {
          const text = words.join("");
          const bounds = new Set([...graphemes.segment(text)].map(({ index }) => index).concat(text.length));
          let at = 0;
          for (const { slice } of pieces(text, maxBytes)) expect(bounds.has((at += slice.length))).toBe(true);
        },
      ),
      { numRuns: thorough ? 250 : 60 },
    );
  });

  it("takes time and makes output linear in the text, also when every line asks for decoration", () => {
    const size = thorough ? 200_000 : 20_000;
    for (const text of [
      "x".repeat(size),
      "\n".repeat(size),
      `\`\`\`${"j".repeat(200)}\n${"微\n".repeat(size / 2)}`,
      `a|b\n-|-\n${"c|d\n".repeat(size / 4)}`,
      "```\n".repeat(size / 4),
      "a|b\n-|-\n".repeat(size / 8),
      "\u0301".repeat(size),
      "🇨".repeat(size / 2),
      ".".repeat(size),
      `."${"'".repeat(size)}`,
      `|${" ".repeat(size)}x`,
    ]) {
      const parts = splitMarkdown(text, 1_000);
      expect(utf8Bytes(parts.join(""))).toBeLessThanOrEqual(2.2 * utf8Bytes(text));
      expect(parts.length).toBeLessThanOrEqual(1 + utf8Bytes(text) / 240);
    }
  }, 30_000);
});

describe("cutMarkdown with more to come", () => {
  const more = true;

  it("takes all of a text that ends with a line, a sentence or a word", () => {
    expect(cutMarkdown("abc\n", 20, { more })).toEqual({ part: "abc\n", at: 4, carry: "" });
    expect(cutMarkdown("Yes. No. ", 20, { more })).toEqual({ part: "Yes. No. ", at: 9, carry: "" });
    expect(cutMarkdown("abc", 20, { more })).toEqual({ part: "abc", at: 3, carry: "" });
  });

  it("leaves an unfinished sentence or word for the next piece, but no line that is whole", () => {
    expect(cutMarkdown("One. Two thr", 20, { more })).toEqual({ part: "One. ", at: 5, carry: "" });
    expect(cutMarkdown("one two thr", 20, { more })).toEqual({ part: "one two ", at: 8, carry: "" });
    expect(cutMarkdown("One.\n\ntwo\nthree", 20, { more })).toEqual({ part: "One.\n\ntwo\nthree", at: 15, carry: "" });
  });

  it("closes an open fence and carries it, before a line that may not be complete", () => {
    expect(cutMarkdown("```js\nabc\ndef", 30, { more })).toEqual({ part: "```js\nabc\n```", at: 10, carry: "```js\n" });
    expect(cutMarkdown("```js\nabc\ndef\n", 30, { more })).toEqual({
      part: "```js\nabc\ndef\n```",
      at: 14,
      carry: "```js\n",
    });
    expect(cutMarkdown("```js\nabc", 30, { more })).toEqual({ part: "```js\nabc\n```", at: 9, carry: "```js\n" });
    expect(cutMarkdown("abc\n```j", 30, { more })).toEqual({ part: "abc\n", at: 4, carry: "" });
  });

  it("carries the head of an open table", () => {
    const head = "a|b\n-|-\n";
    expect(cutMarkdown(`${head}1|2\n3|`, 30, { more })).toEqual({ part: `${head}1|2\n`, at: 12, carry: head });
    expect(cutMarkdown(`${head}1|2\n`, 30, { more })).toEqual({ part: `${head}1|2\n`, at: 12, carry: head });
    const whole = `${head}1|2\n3|4\nand `;
    expect(cutMarkdown(`${whole}no`, 30, { more })).toEqual({ part: whole, at: whole.length, carry: "" });
  });

  it("adds to what was carried, and carries it again", () => {
    expect(cutMarkdown("abc\ndef\n", 30, { carry: "```js\n", more })).toEqual({
      part: "```js\nabc\ndef\n```",
      at: 8,
      carry: "```js\n",
    });
    expect(cutMarkdown("abc\n```\ndef\n", 30, { carry: "```js\n", more })).toEqual({
      part: "```js\nabc\n```\ndef\n",
      at: 12,
      carry: "",
    });
  });

  it("takes nothing from an empty text and keeps the carry", () => {
    expect(cutMarkdown("", 8, { carry: "```js\n", more })).toEqual({ part: "", at: 0, carry: "```js\n" });
    expect(cutMarkdown("", 8)).toEqual({ part: "", at: 0, carry: "" });
  });

  it("stays within the size and makes progress, whatever the text", () => {
    fc.assert(
      fc.property(fc.oneof(document, hostile), fc.integer({ min: 8, max: 400 }), (text, maxBytes) => {
        fc.pre(text !== "");
        const cut = cutMarkdown(text, maxBytes, { more });
        expect(utf8Bytes(cut.part)).toBeLessThanOrEqual(maxBytes);
        expect(cut.at).toBeGreaterThan(0);
        expect(cut.part.startsWith(text.slice(0, cut.at))).toBe(true);
      }),
      { numRuns: thorough ? 400 : 100 },
    );
  });
});

describe("closeFence", () => {
  it.each([
    ["", ""],
    ["abc", ""],
    ["```js\nabc", "\n```"],
    ["```js\nabc\n", "```"],
    ["```js\nabc\n```", ""],
    ["~~~~\nabc\n~~~", "\n~~~~"],
    ["  ```\n  abc\n", "  ```"],
    ["a|b\n-|-\n1|2\n", ""],
    ["a|b\n-|-\n1|2", ""],
    ["```\na\n```\n```\nb\n", "```"],
    ["see ```\nb\n", ""],
    ["```a``` b\nc\n", ""],
    ["```\na ```\n", "```"],
    ["```\n``` a\n", "```"],
  ])("closes %j with %j", (text, close) => {
    expect(closeFence(text)).toBe(close);
  });
});
