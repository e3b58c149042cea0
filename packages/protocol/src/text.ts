/**
 * Text as the gateway measures it: bytes of UTF-8, characters a person can see, and Markdown that must be cut in pieces.
 *
 * Decides where a long text may be cut and what each piece needs so that it renders by itself. Does not know why a text
 * is cut, nor the limits of the wire, which are arguments.
 *
 * Invariants: no piece is longer than asked for; no code point is cut, and no grapheme while there is another way; what
 * was taken from the text, in order, is the text; time and output are linear in the text, whatever it holds.
 */
import { UsageError } from "./errors.ts";

/** The length of `text` in UTF-8. A lone surrogate counts 3 bytes, which is what the U+FFFD it becomes on the wire takes. */
export function utf8Bytes(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    if (unit < 0x800) bytes += 1;
    else {
      bytes += 2;
      if (isPair(text, i)) i++; // a pair is 4 bytes: two for its two units, two more
    }
  }
  return bytes;
}

/**
 * The largest index up to which `text` fits into `maxBytes` of UTF-8 without cutting a code point: `text.slice(0, index)`
 * is the piece, and the index is the text's length when all of it fits. Looks no further than it has to.
 */
export function cutAt(text: string, maxBytes: number): number {
  if (text.length * 3 <= maxBytes) return text.length;
  let bytes = 0;
  let i = 0;
  while (i < text.length) {
    const unit = text.charCodeAt(i);
    const units = isPair(text, i) ? 2 : 1;
    bytes += unit < 0x80 ? 1 : unit < 0x800 ? 2 : units + 2;
    if (bytes > maxBytes) return i;
    i += units;
  }
  return i;
}

/**
 * Whether a reader of `text` sees anything: one character that is neither white space, control, format or combining mark
 * nor one of the fillers that render as nothing. A finished bubble without one shows its spinner for ever.
 */
export function hasVisible(text: string): boolean {
  return visible.test(text);
}

// U+2800 is the empty Braille cell, the one blank that Unicode counts as a symbol.
const visible = /[^\s\p{Z}\p{Cc}\p{Cf}\p{Cs}\p{M}\p{Default_Ignorable_Code_Point}\u2800]/u;

/** A piece of a Markdown text, and where to go on. */
export interface MarkdownCut {
  /** What can be shown now: the carry that was given, the text up to `at`, and a closing fence if one was cut in two. */
  readonly part: string;
  /** How many UTF-16 code units of the text `part` holds; the next piece begins there. */
  readonly at: number;
  /** What the next piece needs in front: the fence opened again with its info string, a table's two head rows, or "". */
  readonly carry: string;
}

/** How {@link cutMarkdown} is to cut. */
export interface CutOptions {
  /** The `carry` of the cut before; the default is none. */
  readonly carry?: string;
  /**
   * Cut even if all of it fits, because more text will follow in another piece: a fence that is open is closed, and the
   * last line, sentence or word is left for the next piece if it may not be complete. The default is false.
   */
  readonly more?: boolean;
}

/**
 * Takes the first piece of at most `maxBytes` bytes of UTF-8 off a Markdown text.
 *
 * A piece ends, in this order of preference, between two blocks (if that leaves it at least half full), at a row of the
 * fence or table that has to be cut, between two lines, after a sentence or between two words (each if it leaves it half
 * full), between two graphemes, between two code points. A code fence or a table that is cut in two is made whole on both
 * sides, unless its opening line or head takes half of the piece.
 *
 * @param maxBytes at least 8
 * @throws UsageError if maxBytes is smaller
 */
export function cutMarkdown(
  text: string,
  maxBytes: number,
  { carry = "", more = false }: CutOptions = {},
): MarkdownCut {
  if (!(maxBytes >= 8)) throw new UsageError("maxBytes must be at least 8", { path: "maxBytes" });
  // No more than can matter is looked at, or cutting a long text piece by piece would take quadratic time. The second
  // half is for the line that decides whether the last one of the first half is the head of a table.
  const seen = carry + text.slice(0, cutAt(text, maxBytes) + maxBytes);
  if (text === "") return { part: "", at: 0, carry };
  if (cutAt(seen, maxBytes) === seen.length && !more) return { part: seen, at: text.length, carry: "" };

  const floor = carry.length;
  let paragraphAt = 0; // the last boundary of each kind, 0 for none
  let lineAt = 0;
  let rowAt = 0;
  let before: Step | undefined;
  let start = 0;
  let bytes = 0;
  let step: Step;
  for (;;) {
    const block = before?.after;
    step = read(seen, start, block, maxBytes);
    if (start > floor) {
      // Cut before its first or its closing line, a block would stand empty on one side.
      if (step.inside === undefined) {
        if (step.begins || block !== undefined || before?.ends === true) paragraphAt = start;
        else lineAt = start;
      } else if (before?.opens !== true && !step.ends) rowAt = start;
    }
    const end = start + step.length;
    const taken = bytes + utf8Bytes(seen.slice(start, end));
    const last = step.length === 0 || seen[end - 1] !== "\n";
    if (last || taken + reserve(step.after) > maxBytes) break;
    if (step.after !== block) rowAt = 0;
    before = step;
    bytes = taken;
    start = end;
  }

  // The line at `start` is the first that does not fit, or the last.
  const limit = start + cutAt(seen.slice(start, start + step.length), maxBytes - bytes - reserve(step.inside));
  const half = floor + (limit - floor) / 2;
  let at: number;
  let block = step.inside;
  if (!more && paragraphAt >= half) {
    at = paragraphAt;
    block = undefined;
  } else if (block !== undefined && rowAt > 0) {
    at = rowAt;
  } else if (block !== undefined && paragraphAt > 0) {
    // Nothing of the block would fit but its opening, so all of it goes to the next piece.
    at = paragraphAt;
    block = undefined;
  } else if (step.opens && start > floor) {
    at = start;
  } else if (!more && lineAt >= half) {
    at = lineAt;
  } else {
    at = breakBefore(seen, start, more ? start : Math.max(start, half), limit);
  }

  const close = block === undefined || block.close === "" ? "" : (seen[at - 1] === "\n" ? "" : "\n") + block.close;
  return { part: seen.slice(0, at) + close, at: at - floor, carry: block?.open ?? "" };
}

/**
 * Cuts a Markdown text into pieces of at most `maxBytes` bytes of UTF-8 each, as {@link cutMarkdown} does one by one. The
 * pieces without what was added to make fences and tables whole, joined, are the text. An empty text has no piece.
 *
 * @throws UsageError if maxBytes is below 8
 */
export function splitMarkdown(text: string, maxBytes: number): string[] {
  const parts: string[] = [];
  let rest = text;
  let carry = "";
  while (rest !== "") {
    const cut = cutMarkdown(rest, maxBytes, { carry });
    parts.push(cut.part);
    rest = rest.slice(cut.at);
    carry = cut.carry;
  }
  return parts;
}

/** What closes the code fence that is open at the end of `text`, on a line of its own; "" if none is open. */
export function closeFence(text: string): string {
  let block: Block | undefined;
  for (let start = 0; start < text.length;) {
    const step = read(text, start, block, Infinity);
    block = step.after;
    start += step.length;
  }
  if (block === undefined || block.close === "") return "";
  return (text.endsWith("\n") ? "" : "\n") + block.close;
}

/** Something that does not survive being cut unless it is made whole again on both sides: a code fence, a table. */
interface Block {
  /** The run of backticks or tildes that opened it; absent for a table. */
  readonly fence?: string;
  /** What goes in front of what was cut off, and what goes behind what was kept; "" where there is nothing to add. */
  readonly open: string;
  readonly close: string;
}

/** What one line does, or the two head rows of a table together. */
interface Step {
  readonly length: number;
  /** The block in which the line itself stands, and the one in which the next line will. */
  readonly inside: Block | undefined;
  readonly after: Block | undefined;
  /** Whether it opens a block; whether a paragraph or a block begins with it, or ends with it. */
  readonly opens: boolean;
  readonly begins: boolean;
  readonly ends: boolean;
}

// Four spaces make indented code of a fence, except in a list, where models put most of theirs: any indent is taken.
const opener = /^[ \t]*(?:(`{3,})[^`]*|(~{3,}).*)$/;
const closer = /^[ \t]*(`{3,}|~{3,})$/;
const delimiterRow = /^[ \t]*[|:-][ \t|:-]*$/;

function read(text: string, start: number, block: Block | undefined, maxBytes: number): Step {
  const raw = lineOf(text, start);
  const line = raw.trimEnd();
  const step = { length: raw.length, inside: block, after: block, opens: false, begins: false, ends: false };
  if (raw === "") return step;

  if (block?.fence !== undefined) {
    // A fence is closed by a run of its own kind that is at least as long.
    const closed = closer.exec(line)?.[1]?.startsWith(block.fence) === true;
    return closed ? { ...step, after: undefined, ends: true } : step;
  }
  const row = line.includes("|");
  const fence = opener.exec(line);
  if (fence !== null) {
    return {
      ...step,
      inside: undefined,
      after: fenceBlock(line, fence[1] ?? fence[2] ?? "", maxBytes),
      opens: true,
      begins: true,
    };
  }
  if (block !== undefined && row) return step;

  const next = row ? lineOf(text, start + raw.length) : "";
  if (next.includes("-") && next.includes("|") && delimiterRow.test(next.trimEnd())) {
    const open = `${line}\n${next.trimEnd()}\n`;
    const after = { open: utf8Bytes(open) * 2 <= maxBytes ? open : "", close: "" };
    return { ...step, length: raw.length + next.length, inside: undefined, after, opens: true, begins: true };
  }
  return { ...step, inside: undefined, after: undefined, begins: line.startsWith("#"), ends: line === "" };
}

function fenceBlock(line: string, fence: string, maxBytes: number): Block {
  const close = line.slice(0, line.indexOf(fence)) + fence;
  // An opening line that takes too much room is repeated without its info string, or not at all.
  for (const open of [`${line}\n`, `${close}\n`]) {
    if ((utf8Bytes(open) + utf8Bytes(close) + 1) * 2 <= maxBytes) return { fence, open, close };
  }
  return { fence, open: "", close: "" };
}

/** Bytes that closing `block` may take. */
function reserve(block: Block | undefined): number {
  return block === undefined || block.close === "" ? 0 : 1 + utf8Bytes(block.close);
}

/** The line that begins at `start`, with its line feed. */
function lineOf(text: string, start: number): string {
  const end = text.indexOf("\n", start);
  return end === -1 ? text.slice(start) : text.slice(start, end + 1);
}

// A stop in Latin script ends a sentence before white space only ("3.14"), a full-width one always.
const sentenceEnd = /[.!?…]["'”’)\]]*\s+|[。！？；]["'”’）」』]*/g;

/** Where to cut running text: after a sentence or between words in (low, limit], or between graphemes in (start, limit]. */
function breakBefore(text: string, start: number, low: number, limit: number): number {
  let at = 0;
  for (const match of text.slice(start, limit).matchAll(sentenceEnd)) at = start + match.index + match[0].length;
  if (at > low && isGraphemeBoundary(text, at)) return at;

  for (at = limit; at > low; at--) {
    const unit = text.charCodeAt(at - 1);
    // From U+2E80 on are the scripts that put no space between words.
    if ((unit >= 0x2e80 || whiteSpace.test(text.charAt(at - 1))) && isGraphemeBoundary(text, at)) return at;
  }
  for (at = limit; at > start && at > limit - longestGrapheme; at--) if (isGraphemeBoundary(text, at)) return at;
  return limit;
}

const whiteSpace = /\s/;
/** Code units to look back for a grapheme's end; the longest emoji take about 15, a longer one is somebody's joke. */
const longestGrapheme = 64;

/**
 * Whether `text` may be cut at `at` without cutting a grapheme. The rules of Unicode's annex 29 that occur in chats, by
 * hand: Intl.Segmenter differs from runtime to runtime, and the same text must be cut the same way everywhere.
 */
function isGraphemeBoundary(text: string, at: number): boolean {
  const after = text.codePointAt(at);
  if (after === undefined) return true;
  if (isPair(text, at - 1)) return false;
  const before = text.charCodeAt(at - 1);
  if (before === 0x200d || (before === 0x0d && after === 0x0a)) return false;
  if (extender.test(String.fromCodePoint(after))) return false;
  if (!isFlagHalf(after)) return true;
  // Regional indicators make flags in twos.
  let halves = 0;
  for (let i = at - 2; i >= 0 && isFlagHalf(text.codePointAt(i)); i -= 2) halves++;
  return halves % 2 === 0;
}

// Combining marks and variation selectors, the joiner, skin tones, tags.
const extender = /[\p{M}\p{Emoji_Modifier}\u200d\u{e0020}-\u{e007f}]/u;

function isFlagHalf(point: number | undefined): boolean {
  return point !== undefined && point >= 0x1f1e6 && point <= 0x1f1ff;
}

/** Whether the code units at `i` and after it are the halves of one code point. */
function isPair(text: string, i: number): boolean {
  return (text.charCodeAt(i) & 0xfc00) === 0xd800 && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00;
}
