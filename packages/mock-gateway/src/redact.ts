/**
 * Takes out of a frame what belongs to somebody, and leaves what belongs to the protocol.
 *
 * It works on the text as it crossed the wire, token by token, and never parses and prints it again: escapes, spaces, raw
 * control characters, double members and even broken JSON come out as they went in. Strings are replaced unless the table
 * below says that they are words of the protocol; a member nobody has heard of is therefore replaced.
 *
 * Invariants: equal values become equal placeholders within one file, and different ones different placeholders, so that
 * correlation survives; a placeholder has the characters' kinds, the length in bytes and the escapes of what it stands for,
 * and differs from it in each letter and digit; text becomes filler by a rule per character, so that a text that began
 * with another still does.
 *
 * It has no clock, no file and no entropy of its own.
 */
import { keepNewest } from "./bounded.ts";

/** How a redactor behaves. */
export interface RedactorOptions {
  /** At least 0, below 1; must not be predictable where the output is shown to others. */
  readonly random: () => number;
  /** Keeps what people and bots wrote, except for ids, addresses and long numbers in it. Default false. */
  readonly keepText?: boolean;
}

/** What becomes of a string. */
type Treatment =
  /** A word of the protocol: kept as long as it looks like one. */
  | "word"
  /** Replaced by the same placeholder each time. */
  | "id"
  /** Written by or for people. */
  | "text"
  /** The gateway's words about an error, kept except for what they quote. */
  | "errmsg"
  /** Kept extension, filler before it. */
  | "filename"
  /** Contents of files: left out, its length noted. */
  | "bytes";

/** By the name of the nearest member. Whatever is not here is an id, or a text when it looks like one. */
const treatments: Readonly<Record<string, Treatment>> = {
  cmd: "word",
  msgtype: "word",
  eventtype: "word",
  chattype: "word",
  card_type: "word",
  response_type: "word",
  type: "word",
  errmsg: "errmsg",
  content: "text",
  title: "text",
  desc: "text",
  text: "text",
  value: "text",
  keyname: "text",
  description: "text",
  sub_title_text: "text",
  quote_text: "text",
  filename: "filename",
  base64_data: "bytes",
  base64: "bytes",
};

/** Numbers that say nothing about anybody, however long. */
const plainNumbers = new Set(["errcode", "create_time", "created_at", "total_size", "total_chunks", "chunk_index"]);

/** Beginnings that the gateway gives a meaning to. */
const meaningful = /^trace_/;
const word = /^[\w.-]{1,64}$/;
const memberName = /^[\w$.-]{1,64}$/;
/** How many placeholders are remembered: what was not seen for so long is no longer correlated. */
const maxRemembered = 500_000;

/** One redactor per file. */
export class Redactor {
  readonly #random: () => number;
  readonly #keepText: boolean;
  readonly #placeholders = new Map<string, string>();
  readonly #taken = new Set<string>();

  constructor({ random, keepText = false }: RedactorOptions) {
    this.#random = random;
    this.#keepText = keepText;
  }

  /** A frame without what belongs to somebody. Contents of files become `{"$repeat":"A","times":N}`. Never throws. */
  frame(text: string): string {
    let out = "";
    let at = 0;
    const open: { name: string; object: boolean; key: string | undefined }[] = [];
    const nearest = (): string => open.at(-1)?.key ?? open.at(-1)?.name ?? "";
    while (at < text.length) {
      const char = text[at]!;
      if (char === '"') {
        const end = endOfString(text, at);
        const raw = text.slice(at + 1, end);
        const closed = text[end] === '"';
        const top = open.at(-1);
        at = closed ? end + 1 : end;
        if (top?.object && top.key === undefined && /^\s*:/.test(text.slice(at, at + 64))) {
          top.key = decode(unitsOf(raw));
          out += `"${memberName.test(top.key) && !this.#placeholders.has(top.key) ? raw : this.#id(raw)}"`;
        } else if (treatments[nearest()] === "bytes" && raw.length > 0) {
          out += `{"$repeat":"A","times":${raw.length}}`;
        } else out += `"${this.#value(nearest(), raw)}${closed ? '"' : ""}`;
        continue;
      }
      if (char === "{" || char === "[") open.push({ name: nearest(), object: char === "{", key: undefined });
      if (char === "}" || char === "]") open.pop();
      if (char === ",") {
        const top = open.at(-1);
        if (top) top.key = undefined;
      }
      const bare = /^[^\s"{}[\],:]+/.exec(text.slice(at, at + 4096))?.[0];
      if (bare === undefined) {
        out += char;
        at++;
        continue;
      }
      out += this.#bare(nearest(), bare);
      at += bare.length;
    }
    return out;
  }

  /** A URL without names, ids and signatures; hosts of the provider and loopback stay. */
  url(url: string): string {
    return this.#url(url);
  }

  #value(name: string, raw: string): string {
    const units = unitsOf(raw);
    const value = decode(units);
    if (value === "") return raw;
    if (/^(?:https?|wss?):\/\//.test(value)) return rewrite(units, this.#url(value));
    const treatment = treatments[name] ?? (/[\s\u0080-\uffff]/.test(value) ? "text" : "id");
    switch (treatment) {
      case "word":
        return word.test(value) ? raw : this.#id(raw);
      case "id":
        return plainNumbers.has(name) && /^\d+$/.test(value) ? raw : this.#id(raw);
      case "errmsg":
        return rewrite(units, this.#scrub(value));
      case "text":
        return rewrite(units, this.#keepText ? this.#scrub(value) : filler(value));
      case "filename":
        return rewrite(units, fillName(value));
      case "bytes":
        return raw;
    }
  }

  /** What stands outside of strings: numbers and literals in JSON, anything at all in what is none. */
  #bare(name: string, text: string): string {
    if (text === "true" || text === "false" || text === "null") return text;
    if (!/^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(text)) return filler(text);
    if (text.length < 6 || plainNumbers.has(name)) return text;
    // A number must not begin with 0.
    return text
      .replace(/\d{2,}/g, (digits) => this.#placeholder(digits))
      .replace(/^(-?)0/, text.includes("9") ? "$18" : "$19");
  }

  #id(raw: string): string {
    const units = unitsOf(raw);
    const value = decode(units);
    const [kept = ""] = meaningful.exec(value) ?? [];
    return rewrite(units, kept + this.#placeholder(value.slice(kept.length)));
  }

  /** The value's placeholder: as long, of the same kinds of characters, different in each letter and digit. */
  #placeholder(value: string): string {
    const known = this.#placeholders.get(value);
    if (known !== undefined) {
      keepNewest(this.#placeholders, value, known, maxRemembered);
      return known;
    }
    const hex = /^[0-9a-f]+$/.test(value) ? "abcdef" : undefined;
    let made = value;
    // A value without letters and digits says nothing and stays; a short one may run out of alternatives.
    for (let attempt = 0; attempt < 100; attempt++) {
      made = Array.from(value, (char) => this.#another(char, hex)).join("");
      if (!this.#taken.has(made) && !this.#placeholders.has(made)) break;
    }
    this.#taken.add(made);
    keepNewest(this.#placeholders, value, made, maxRemembered);
    if (this.#taken.size > 2 * maxRemembered) this.#taken.clear();
    return made;
  }

  #another(char: string, hexLetters: string | undefined): string {
    const alphabet = alphabets.find((letters) => letters.includes(char));
    if (alphabet === undefined) return filler(char);
    const letters = hexLetters !== undefined && alphabet === lower ? hexLetters : alphabet;
    // From one to all but one places further: never the character itself.
    const step = 1 + Math.floor(this.#random() * (letters.length - 1));
    return letters[(letters.indexOf(char) + step) % letters.length]!;
  }

  #url(url: string): string {
    const [, scheme, authority = "", rest = ""] = /^(\w+:\/\/)([^/?#]*)(.*)$/s.exec(url) ?? [];
    if (scheme === undefined) return filler(url);
    const host = /^(?:(?:[\w-]+\.)*(?:qq\.com|myqcloud\.com)|localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d+)?$/i.test(
      authority,
    )
      ? authority
      : this.#placeholder(authority);
    // Names of parameters stay, and those parts of a path that are the same for everybody.
    const [path = "", query = ""] = rest.split(/\?(.*)/s);
    const segments = path.replace(/[^/]+/g, (segment) =>
      publicSegments.has(segment) ? segment : this.#placeholder(segment),
    );
    const pairs = query.replace(
      /([\w.-]{1,32}=)?([^&]+)/g,
      (_, name: string | undefined, value: string) => `${name ?? ""}${this.#placeholder(value)}`,
    );
    return `${scheme}${host}${segments}${rest.includes("?") ? `?${pairs}` : ""}`;
  }

  /** Keeps words, replaces what in them could be somebody's. */
  #scrub(text: string): string {
    return text.replace(personal, (match: string) => {
      if (explainsErrcode.test(match)) return match;
      if (/^https?:/.test(match)) return this.#url(match);
      return match.startsWith("@") ? filler(match) : this.#scrubRun(match);
    });
  }

  /** A run of what ids and addresses are made of: an id when it was seen as one, or when it or a part of it looks like one. */
  #scrubRun(run: string): string {
    const looksLikeId = run.length >= 8 && /\d/.test(run) && /[a-zA-Z]/.test(run) && /^[\w+/=-]+$/.test(run);
    const address = /^\d+(?:\.\d+){3}$|^[0-9a-fA-F]*:[0-9a-fA-F:.]*:[0-9a-fA-F.:]*$|[^@]@./.test(run);
    if (this.#placeholders.has(run) || looksLikeId || address || /^\d{5,}$/.test(run)) return this.#placeholder(run);
    return /[:=/]/.test(run) ? run.replace(/[^:=/]+/g, (part) => this.#scrubRun(part)) : run;
  }
}

/** URLs, mentions, and runs of the characters that ids, mail and IP addresses are made of. */
const personal = /https?:\/\/[^\s"<>)\]]+|@[^\s@,.]+|[\w@:/=+-](?:[\w.@:/=+-]*[\w@:/=+-])?/g;
/** What every refusal of the real gateway ends with. */
const explainsErrcode = /^https:\/\/open\.work\.weixin\.qq\.com\/devtool\/query\?e=-?\d+$/;

const publicSegments = new Set(["cgi-bin", "aibot", "response", "media"]);
const lower = "abcdefghijklmnopqrstuvwxyz";
const alphabets = [lower, lower.toUpperCase(), "0123456789"];

/** Letters become x or X, digits 0, everything beyond ASCII a character of as many bytes; the rest stays. */
export const filler = (text: string): string =>
  text.replace(/[\s\S]/gu, (char) => {
    const code = char.codePointAt(0)!;
    if (code < 0x80) return /[a-z]/.test(char) ? "x" : /[A-Z]/.test(char) ? "X" : /\d/.test(char) ? "0" : char;
    if (code < 0xa0 || /\s/u.test(char)) return char;
    if (code < 0x800) return "é";
    return code < 0x10000 ? "字" : "😀";
  });

const fillName = (name: string): string => {
  const [, stem = name, extension = ""] = /^(.*?)((?:\.[A-Za-z0-9]{1,5})?)$/s.exec(name) ?? [];
  return filler(stem) + extension;
};

// ---------------------------------------------------------------------------------------------------------------------
// Strings as they are written

/** One code point of a string and how it is written. */
interface Unit {
  readonly raw: string;
  readonly char: string;
}

/** The index of the closing quote, or of the end of the text. */
const endOfString = (text: string, open: number): number => {
  for (let at = open + 1; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === '"') return at;
  }
  return text.length;
};

const unit = /\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\[\s\S]|[\s\S]/gu;
const simple: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", b: "\b", f: "\f" };

const unitsOf = (raw: string): Unit[] =>
  (raw.match(unit) ?? []).map((written) => {
    if (!written.startsWith("\\")) return { raw: written, char: written };
    if (/^\\u[0-9a-fA-F]{4}/.test(written))
      return {
        raw: written,
        char: written.replace(/\\u(.{4})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
      };
    return { raw: written, char: simple[written[1]!] ?? written.slice(1) };
  });

const decode = (units: readonly Unit[]): string => units.map(({ char }) => char).join("");

/** Writes other code points the way the old ones were written. */
const rewrite = (units: readonly Unit[], replaced: string): string => {
  const chars = Array.from(replaced);
  return units
    .map(({ raw, char }, index) => {
      const now = chars[index] ?? "";
      if (now === char) return raw;
      if (!raw.startsWith("\\u")) return now;
      return now.replace(/[\s\S]/g, (half) => `\\u${half.charCodeAt(0).toString(16).padStart(4, "0")}`);
    })
    .join("");
};
