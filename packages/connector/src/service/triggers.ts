/**
 * Rules of an operator's own: who says what, and what follows from it at once.
 *
 * Decides which rules fit an entry, in order, and what they ask for together. Does not do it: the inbox writes tags and
 * routes, the outbox sends replies. Pure. Invariant: a rule takes time in proportion to the text, whatever its expression,
 * which is why it is RE2's and not JavaScript's.
 */
import { UsageError } from "@openws/protocol";
import { RE2JS, RE2JSException } from "re2js";
import { z } from "zod";
import { type OutMessage, outMessage } from "./inline.ts";
import type { Entry } from "./store.ts";

const oneOrMore = z
  .union([z.string().min(1).max(256), z.array(z.string().min(1).max(256)).min(1).max(1_000)])
  .transform((value) => (typeof value === "string" ? [value] : value));

/** One rule. In `when` all that is given must fit; in a list one is enough. */
export const triggerRule = z.strictObject({
  name: z.string().min(1).max(64),
  when: z
    .strictObject({
      bot: oneOrMore.optional(),
      /** A group's chatid, or a userid in a single chat. */
      chat: oneOrMore.optional(),
      user: oneOrMore.optional(),
      /** msgtype or eventtype. */
      type: oneOrMore.optional(),
      /** Somewhere in the text, whatever its case. */
      keywords: oneOrMore.optional(),
      /** RE2 syntax, such as `(?i)urgent|紧急`; somewhere in the text. */
      regex: z.string().min(1).max(1_024).optional(),
    })
    .default({}),
  then: z.strictObject({
    /** Ids of the webhooks (and names of the sinks) that get it, and no others. */
    route: oneOrMore.optional(),
    reply: outMessage.optional(),
    tag: oneOrMore.optional(),
    /** No rule after this one is looked at. */
    stop: z.boolean().default(false),
  }),
});
/** The rules, as an operator writes them; the first that fits is looked at first. */
export const triggerRules = z.array(triggerRule).max(1_000);

/** What the rules that fit ask for. */
export interface TriggerOutcome {
  /** The names of the rules that fitted. */
  readonly matched: readonly string[];
  readonly tags: readonly string[];
  /** Where it goes instead of to everybody who wants it. */
  readonly routes: readonly string[] | undefined;
  readonly replies: readonly OutMessage[];
}

const nothing: TriggerOutcome = { matched: [], tags: [], routes: undefined, replies: [] };

/** Texts are looked at up to here: longer than any message that the gateway delivers. */
const maxTextLength = 100_000;

/** Rules, ready to be applied. */
export class Triggers {
  readonly #rules: readonly Rule[];

  /** Throws `UsageError` that names the rule and the member which cannot be. */
  constructor(rules: unknown) {
    const parsed = triggerRules.safeParse(rules);
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      const path = `triggers.${issue?.path.join(".") ?? ""}`;
      throw new UsageError(`${path}: ${issue?.message ?? "is not valid"}`, { path });
    }
    this.#rules = parsed.data.map(ruleOf);
  }

  /** How many rules there are. */
  get size(): number {
    return this.#rules.length;
  }

  /** Applies the rules to what came in. `text` is the entry as a person would read it aloud. */
  apply(entry: Entry, text: string): TriggerOutcome {
    if (this.#rules.length === 0 || entry.direction !== "in") return nothing;
    const seen = { text: text.slice(0, maxTextLength), folded: "" };
    seen.folded = seen.text.toLowerCase();
    const matched: string[] = [];
    const tags = new Set<string>();
    const replies: OutMessage[] = [];
    let routes: string[] | undefined;
    for (const { name, fits, asks } of this.#rules) {
      if (!fits(entry, seen)) continue;
      matched.push(name);
      for (const tag of asks.tag ?? []) tags.add(tag);
      if (asks.route !== undefined) routes = [...(routes ?? []), ...asks.route];
      if (asks.reply !== undefined) replies.push(asks.reply);
      if (asks.stop) break;
    }
    return matched.length === 0 ? nothing : { matched, tags: [...tags], routes, replies };
  }
}

interface Seen {
  readonly text: string;
  /** In lower case. */
  readonly folded: string;
}

interface Rule {
  readonly name: string;
  readonly asks: z.output<typeof triggerRule>["then"];
  readonly fits: (entry: Entry, seen: Seen) => boolean;
}

function ruleOf({ name, when, then }: z.output<typeof triggerRule>, at: number): Rule {
  const { bot, chat, user, type, keywords, regex } = when;
  const among = (wanted: readonly string[] | undefined, value: string | undefined): boolean =>
    wanted === undefined || (value !== undefined && wanted.includes(value));
  const words = keywords?.map((word) => word.toLowerCase());
  const expression = regex === undefined ? undefined : compiled(regex, `triggers.${at}.when.regex`);
  return {
    name,
    asks: then,
    fits: (entry, { text, folded }) =>
      among(bot, entry.bot) &&
      among(chat, entry.chat?.id) &&
      among(user, entry.user) &&
      among(type, entry.kind) &&
      (words === undefined || words.some((word) => folded.includes(word))) &&
      (expression === undefined || expression.matcher(text).find()),
  };
}

function compiled(regex: string, path: string): RE2JS {
  try {
    return RE2JS.compile(regex);
  } catch (error) {
    const why = error instanceof RE2JSException || error instanceof Error ? error.message : String(error);
    throw new UsageError(
      `${path}: is not an expression of RE2 (${why}); look-around and back-references are not among them`,
      { path },
    );
  }
}
