/**
 * Every fact about the real gateway on which sources disagree, or which nobody has measured, as a switch.
 *
 * A row says what the switch decides, what each profile makes of it, and where that comes from. Nothing else in this
 * package has an opinion on such a fact: it asks the switch.
 *
 * Profiles: `observed` is what people measured on the live server; `documented` follows the documents to the letter where
 * they say something else; `strict` takes the harder reading of every dispute; `lenient` lets pass what it can.
 */
import * as z from "zod";

/** How well a fact is known: D documented, S seen by several, O seen once, G guessed. */
export type Confidence = "D" | "S" | "O" | "G";

const flag = z.union([z.boolean(), z.enum(["on", "off"]).transform((word) => word === "on")]);
const count = (max: number) =>
  z
    .union([
      z.int(),
      z.enum(["off", "never"]).transform(() => 0),
      z
        .string()
        .regex(/^-?\d{1,15}$/, "must be a whole number")
        .transform(Number),
    ])
    .pipe(z.int().min(0, "must not be negative").max(max));
const milliseconds = count(1e12);
/** Two bounds; one number means both. In text: `2000,313000`. */
const range = z
  .union([
    z.tuple([milliseconds, milliseconds]),
    milliseconds.transform((ms): [number, number] => [ms, ms]),
    z
      .string()
      .regex(/^\d+,\d+$/, "must be two numbers such as 2000,313000")
      .transform((text) => text.split(",").map(Number) as [number, number]),
  ])
  .refine(([low, high]) => low <= high, "the first must not be larger than the second");
const errcode = z.union([
  z.int(),
  z
    .string()
    .regex(/^-?\d{1,9}$/, "must be an errcode")
    .transform(Number),
]);

/** All switches with their kinds. Durations are milliseconds; 0 (or `off`, `never`) turns a limit off where the row says so. */
export const Switches = z.strictObject({
  subscribeLatencyMs: milliseconds,
  ackLatencyMs: milliseconds,
  ackJitterMs: milliseconds,
  idleMs: milliseconds,
  subscribeTimeoutMs: milliseconds,
  wsPingMs: milliseconds,
  pingUnsubscribed: z.enum(["accept", "refuse"]),
  subscribeRate: flag,
  kickCloseMs: range,
  kickClose: z.enum(["reset", "close", "never"]),
  oldReqIdAfterReconnect: z.enum(["accept", "refuse"]),
  redeliverUnanswered: flag,
  maxInFlightPerUser: count(1000),
  interactionMs: milliseconds,
  repeatedTextMs: milliseconds,
  enterChatDaily: flag,
  escapedSlashes: flag,
  messageCreateTime: flag,
  responseUrl: flag,
  responseUrlLifeMs: milliseconds,
  replyWindowMs: milliseconds,
  eventWindowMs: milliseconds,
  lateEventErrcode: errcode,
  streamLifeMs: milliseconds,
  concurrentStreamFrames: z.union([z.literal("accept"), errcode]),
  sealedStream: z.union([z.literal("accept"), errcode]),
  equalFinish: z.enum(["accept", "swallow"]),
  respondText: z.enum(["accept", "refuse"]),
  streamWithCard: z.enum(["accept", "refuse"]),
  traceFeedbackOnly: flag,
  oversizeErrcode: errcode,
  quota: flag,
  quotaCountsRefreshes: flag,
  chatPrecondition: flag,
  uniqueTaskId: flag,
  cardCheck: flag,
  uploadTypeLimits: flag,
  uploadFormats: flag,
  uploadErrcode: errcode,
  uploadLifeMs: milliseconds,
  chunkOverload: flag,
  createdAt: z.enum(["string", "number"]),
  mediaLifeMs: milliseconds,
  mediaUrlLifeMs: milliseconds,
  aeskeyLength: z.union([z.literal(43), z.literal(44), z.enum(["43", "44"]).transform(Number)]),
  disposition: z.enum(["plain", "star", "none"]),
  errmsgSuffix: flag,
  mcpConfig: z.union([z.literal("refuse"), z.url({ protocol: /^https?$/, error: "must be refuse, or a URL" })]),
});
/** The switches, all set. */
export type Switches = z.infer<typeof Switches>;
/** The name of a switch. */
export type SwitchName = keyof Switches;

/** Some switches: what `--set`, `startGateway` and `PATCH /api/settings` take. */
export const SomeSwitches = Switches.partial();
export type SomeSwitches = z.input<typeof SomeSwitches>;

/** The named sets of switches. */
export const profileNames = ["observed", "documented", "strict", "lenient"] as const;
export type ProfileName = (typeof profileNames)[number];

/** One switch: what it decides, its value by profile, and the evidence. */
export interface SwitchRow<Value> {
  readonly what: string;
  readonly observed: Value;
  /** Where a profile differs from `observed`. */
  readonly differs?: Partial<Record<Exclude<ProfileName, "observed">, Value>>;
  readonly source: string;
  readonly confidence: Confidence;
}

const doc = "developer.work.weixin.qq.com document 101463 (2026-04-01)";
const measured = "measured against the live server with the official Python SDK (2026-10-08)";

/** The table. Changing a default here changes what the mock claims about the real server: bring a source. */
export const switchTable: { readonly [Name in SwitchName]: SwitchRow<Switches[Name]> } = {
  subscribeLatencyMs: {
    what: "How long the ack of a subscribe takes.",
    observed: 150,
    source: `about 0.17 s after the socket opened, ${measured}`,
    confidence: "S",
  },
  ackLatencyMs: {
    what: "How long any other ack takes, on average.",
    observed: 250,
    source: `0.235–0.461 s, mean 0.26 s over 30 frames, ${measured}`,
    confidence: "S",
  },
  ackJitterMs: {
    what: "How far an ack's latency strays from the average, either way; never more than the latency itself.",
    observed: 80,
    source: `spread of the same 30 frames, ${measured}`,
    confidence: "S",
  },
  idleMs: {
    what: "Silence of a client after which its socket is cut without a close frame; 0 is never. A socket that never subscribed is left to subscribeTimeoutMs.",
    observed: 90_000,
    differs: { lenient: 0 },
    source:
      "a public client reads with a 90 s deadline and says the server cuts near there; the documents give no number",
    confidence: "G",
  },
  subscribeTimeoutMs: {
    what: "How long a socket may stay open without a subscription; 0 is for ever.",
    observed: 0,
    differs: { strict: 60_000 },
    source: `an unauthenticated socket stayed open for at least 60 s, ${measured}; the limit, if any, is unknown`,
    confidence: "O",
  },
  wsPingMs: {
    what: "How often the server sends a WebSocket ping (a control frame); 0 is never. Nothing follows from a missing pong.",
    observed: 30_000,
    differs: { lenient: 0 },
    source: "the official Node SDK 1.0.7 answers such pings, which suggests that they occur; never captured",
    confidence: "G",
  },
  pingUnsubscribed: {
    what: "Whether a ping on a socket without a subscription is acked with 0, or refused with 846609.",
    observed: "accept",
    differs: { strict: "refuse" },
    source: "never captured; pings of kicked and half-dead sockets are acked with 0 (several reports)",
    confidence: "G",
  },
  subscribeRate: {
    what: "Whether more than five subscribes of a bot within 60 s are refused with 45009 for 60 s.",
    observed: true,
    differs: { lenient: false },
    source:
      "45009 after a handful of restarts in a row (WecomTeam/wecom-openclaw-plugin issue 48); the threshold is an assumption",
    confidence: "O",
  },
  kickCloseMs: {
    what: "How long a kicked socket stays open, between two bounds.",
    observed: [2_000, 313_000],
    differs: { documented: [0, 0], strict: [313_000, 313_000] },
    source: `2.2 s in one run and 313 s in another, ${measured}`,
    confidence: "O",
  },
  kickClose: {
    what: "How a kicked socket ends: cut without a close frame, closed with one, or never.",
    observed: "reset",
    differs: { documented: "close" },
    source: `no close frame in either run, ${measured}; the documents only say that the server closes it`,
    confidence: "O",
  },
  oldReqIdAfterReconnect: {
    what: "Whether a callback's req_id still takes replies on a later connection of the same bot, or gets 846605.",
    observed: "accept",
    differs: { strict: "refuse" },
    source: "accepted (measured by a public client, 2026-08-09); refused (NousResearch/hermes-agent issue 52820)",
    confidence: "O",
  },
  redeliverUnanswered: {
    what: "Whether messages nobody answered come again after a reconnect: the same msgid under a new req_id.",
    observed: false,
    differs: { strict: true },
    source: "one public client relies on it; nobody else reports it",
    confidence: "O",
  },
  maxInFlightPerUser: {
    what: "Messages one user may have in interaction with one bot at once; the next is not delivered. 0 is no limit.",
    observed: 3,
    differs: { lenient: 0 },
    source: "developer.work.weixin.qq.com document 100719; what the fourth one meets here is not documented",
    confidence: "D",
  },
  interactionMs: {
    what: "How long a message nobody answers counts as in interaction.",
    observed: 360_000,
    source: "developer.work.weixin.qq.com document 101031: an answer may take six minutes from the user's message",
    confidence: "G",
  },
  repeatedTextMs: {
    what: "For how long the same text of the same user in the same chat is not delivered again; 0 is never.",
    observed: 0,
    source:
      "two identical texts in quick succession were once delivered as one (a public client); how quick is unknown",
    confidence: "O",
  },
  enterChatDaily: {
    what: "Whether enter_chat is delivered for a user's first entry in a day only, by Beijing's calendar. Off, so that a test may enter as it likes.",
    observed: false,
    differs: { documented: true },
    source: "developer.work.weixin.qq.com document 101027 (2025-11-25)",
    confidence: "D",
  },
  escapedSlashes: {
    what: 'Whether slashes in callbacks are escaped as "\\/", which JSON allows.',
    observed: false,
    differs: { strict: true },
    source: "a public TypeScript client in production (read 2026-10)",
    confidence: "S",
  },
  messageCreateTime: {
    what: "Whether message callbacks carry create_time; events always do.",
    observed: false,
    differs: { lenient: true },
    source: `optional in the types of the official Node SDK 1.0.7, absent from the examples of ${doc}`,
    confidence: "S",
  },
  responseUrl: {
    what: "Whether messages and card events carry response_url.",
    observed: true,
    differs: { documented: false },
    source: `captured on text messages and card events, ${measured}; the table of document 101463 does not list it`,
    confidence: "O",
  },
  responseUrlLifeMs: {
    what: "How long a response_url can be used, once.",
    observed: 3_600_000,
    source: "developer.work.weixin.qq.com document 101138",
    confidence: "D",
  },
  replyWindowMs: {
    what: "How long a message's req_id takes replies, before 846604.",
    observed: 86_400_000,
    source: doc,
    confidence: "D",
  },
  eventWindowMs: {
    what: "How long an event's req_id takes its welcome or card update.",
    observed: 5_000,
    source: doc,
    confidence: "D",
  },
  lateEventErrcode: {
    what: "The errcode of a welcome or card update that comes too late.",
    observed: 846_604,
    source: "never captured; 846604 or 846605 are expected",
    confidence: "G",
  },
  streamLifeMs: {
    what: "How long a stream can be updated, from its first frame, before 846608.",
    observed: 600_000,
    source: `${doc}; 600 s accepted and 630 s refused (measured by a public client, 2026-08-09)`,
    confidence: "S",
  },
  concurrentStreamFrames: {
    what: "What a stream frame meets while the one before it is not acked yet.",
    observed: 6000,
    differs: { documented: "accept", lenient: "accept" },
    source: "6000 data version conflict, two public clients; on the live server only some of them",
    confidence: "S",
  },
  sealedStream: {
    what: "What a frame for a stream that was finished meets.",
    observed: 6000,
    differs: { lenient: "accept" },
    source: "6000 on a second finish, two public clients",
    confidence: "O",
  },
  equalFinish: {
    what: "Whether a finishing frame whose text equals the last one finishes its stream, or is acked and has no effect.",
    observed: "accept",
    source: "swallowed once (NousResearch/hermes-agent, WeCom adapter); others finish that way all the time",
    confidence: "O",
  },
  respondText: {
    what: "Whether aibot_respond_msg takes msgtype text, or refuses it with 40008.",
    observed: "refuse",
    differs: { lenient: "accept" },
    source: "not among the listed types; used by a published article (2026-04) and named in a comment of one client",
    confidence: "G",
  },
  streamWithCard: {
    what: "Whether aibot_respond_msg takes msgtype stream_with_template_card, or refuses it with 40008.",
    observed: "refuse",
    differs: { lenient: "accept" },
    source: `${doc}: the introduction says yes, the field table says no`,
    confidence: "D",
  },
  traceFeedbackOnly: {
    what: "Whether the thumbs appear only when a stream's first frame has a feedback id that starts with trace_.",
    observed: true,
    differs: { documented: false, lenient: false },
    source: `three ids compared, ${measured}`,
    confidence: "O",
  },
  oversizeErrcode: {
    what: "The errcode of content longer than 20,480 bytes.",
    observed: 40_058,
    source: "not captured here; sibling interfaces answer 40058 or 45002",
    confidence: "G",
  },
  quota: {
    what: "Whether 30 messages a minute and 1,000 an hour in a chat are the limit (846607), and 30 and 1,000 uploads of a bot (45009).",
    observed: true,
    differs: { lenient: false },
    source: doc,
    confidence: "D",
  },
  quotaCountsRefreshes: {
    what: "Whether each refresh of a stream counts against the chat's quota, or only its first frame.",
    observed: false,
    differs: { strict: true },
    source: `31 frames in 8.4 s passed, ${measured}; a log study of another client says they count`,
    confidence: "O",
  },
  chatPrecondition: {
    what: "Whether a push needs a chat in which somebody spoke to this bot (93006, or 93001 for a group that other bots know).",
    observed: true,
    differs: { lenient: false },
    source: `${doc}; 93006 by several clients, 93001 measured 2026-10-03`,
    confidence: "S",
  },
  uniqueTaskId: {
    what: "Whether a card with a task_id that was used before is refused with 42014.",
    observed: true,
    differs: { lenient: false },
    source: "developer.work.weixin.qq.com document 101032; 42014 by a public client",
    confidence: "O",
  },
  cardCheck: {
    what: "Whether cards without their required members, or with bad button keys, are refused (40058, 42039).",
    observed: true,
    differs: { lenient: false },
    source: "developer.work.weixin.qq.com document 101032; 42039 by a public client",
    confidence: "O",
  },
  uploadTypeLimits: {
    what: "Whether the size limits of image, voice, video and file are enforced at init.",
    observed: true,
    differs: { lenient: false },
    source: doc,
    confidence: "D",
  },
  uploadFormats: {
    what: "Whether a finished upload that is no png, jpg or gif (image), amr (voice) or mp4 (video) by its first bytes is refused with 40004. The lint finds it in any case.",
    observed: false,
    differs: { documented: true, strict: true },
    source: `${doc} names the formats; whether and when they are checked is unknown`,
    confidence: "D",
  },
  uploadErrcode: {
    what: "The errcode of an upload that breaks a rule: unknown session, missing chunk, wrong MD5, bad index.",
    observed: 40_058,
    source: "no code was ever published for these",
    confidence: "G",
  },
  uploadLifeMs: {
    what: "How long an upload session lives, from its init.",
    observed: 1_800_000,
    source: doc,
    confidence: "D",
  },
  chunkOverload: {
    what: "Whether a chunk beyond four that are not acked yet gets −1 system error.",
    observed: true,
    differs: { documented: false, lenient: false },
    source: "a comment in the official Node SDK 1.0.7, which sends no more than that at once",
    confidence: "S",
  },
  createdAt: {
    what: "Whether an upload's created_at is a string or a number.",
    observed: "string",
    source: `${doc}: typed as a number, shown as a string`,
    confidence: "D",
  },
  mediaLifeMs: {
    what: "How long a media_id can be used.",
    observed: 259_200_000,
    source: doc,
    confidence: "D",
  },
  mediaUrlLifeMs: {
    what: "How long a download URL in a callback can be used.",
    observed: 300_000,
    source: doc,
    confidence: "D",
  },
  aeskeyLength: {
    what: "Characters of an aeskey: 43 without the trailing =, or 44.",
    observed: 43,
    source: "both seen by public clients",
    confidence: "S",
  },
  disposition: {
    what: "How a download names its file: a form-encoded filename, a filename*, or not at all.",
    observed: "plain",
    source: "PC+D%26T+Strategy+2026.docx seen live by a public client; filename* by others",
    confidence: "S",
  },
  errmsgSuffix: {
    what: "Whether the errmsg of a refusal ends with hint, from ip and the query link.",
    observed: true,
    differs: { documented: false },
    source: "logs of several public clients",
    confidence: "S",
  },
  mcpConfig: {
    what: "What aibot_get_mcp_config gets: 846610, as a bot without that feature, or this URL of an MCP server.",
    observed: "refuse",
    source: "@wecom/wecom-openclaw-plugin 2026.7.2 and the clients that read url, type and is_authed of its answer",
    confidence: "S",
  },
};

/** The switches of a profile. Made once, since a simulator makes thousands of worlds a second: copy before you change one. */
export const profile = (name: ProfileName): Readonly<Switches> => {
  const made = profiles.get(name) ?? profileOf(name);
  profiles.set(name, made);
  return made;
};

const profiles = new Map<ProfileName, Switches>();

const profileOf = (name: ProfileName): Switches => {
  const entries = Object.entries(switchTable).map(([key, row]) => [
    key,
    name === "observed" ? row.observed : ((row.differs as Record<string, unknown> | undefined)?.[name] ?? row.observed),
  ]);
  return Object.fromEntries(entries) as Switches;
};
