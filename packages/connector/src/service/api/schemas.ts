/**
 * The shapes of the API, once: what is validated, what OpenAPI says and what TypeScript knows are the same schemas.
 * Decides names and limits of what goes over HTTP; the records behind them are store.ts's.
 */
import { z } from "@hono/zod-openapi";
import { explain } from "@openws/protocol";
import { idOf } from "../envelope.ts";
import { outMessage } from "../inline.ts";
import type { Delivery, Entry, EntryState, Seq } from "../store.ts";
import { webhookInput, webhookPatch } from "../webhooks.ts";

/** RFC 9457. */
export const Problem = z
  .object({
    type: z.string(),
    status: z.int(),
    title: z.string(),
    detail: z.string().openapi({ description: "One sentence: what is wrong, where, and what to do." }),
    path: z.string().optional().openapi({ description: "Where in the request, when it has a place." }),
  })
  .openapi("Problem");

// What was made elsewhere is cloned: only what is made after the OpenAPI package was loaded can be described.

/** An answer, or a push: exactly one of its forms. */
export const OutMessage = outMessage.clone().openapi("OutMessage", {
  description: "One of: markdown (or text, which is Markdown that says the same), template_card, media, raw.",
});

/** To whom a push goes. */
export const Target = z
  .union([
    z.strictObject({ userid: z.string().min(1).max(128) }),
    z.strictObject({ chatid: z.string().min(1).max(256) }),
  ])
  .openapi("Target");

/** A push. */
export const PushInput = z
  .looseObject({ to: Target })
  .transform(({ to, ...message }, context) => {
    const parsed = outMessage.safeParse(message);
    if (parsed.success) return { to, message: parsed.data };
    context.addIssue({
      code: "custom",
      message: "beside `to` there must be exactly one of markdown, text, template_card, media, raw, in its own shape",
    });
    return z.NEVER;
  })
  .openapi("Push", {
    type: "object",
    required: ["to"],
    properties: {
      to: { $ref: "#/components/schemas/Target" },
      markdown: { type: "string" },
      text: { type: "string" },
      template_card: { type: "object" },
      media: { type: "object" },
      raw: { type: "object" },
    },
  });

const Bilingual = z.object({ en: z.string(), zh: z.string() });

const Chat = z.object({ id: z.string(), type: z.enum(["single", "group"]) }).openapi("Chat");

/** A line of the ledger. */
export const Message = z
  .object({
    id: z.string(),
    bot: z.string(),
    direction: z.enum(["in", "out", "bot"]),
    kind: z.string(),
    chat: Chat.optional(),
    user: z.string().optional(),
    msgid: z.string().optional(),
    replyTo: z.string().optional(),
    state: z.string().openapi({ description: "What has become of it." }),
    errcode: z.int().optional(),
    reason: z.string().optional().openapi({ description: "Why it is in this state: one sentence." }),
    explanation: z
      .object({ meaning: Bilingual, advice: Bilingual })
      .optional()
      .openapi({ description: "What the errcode means and what to do about it." }),
    maybeDuplicate: z.boolean().optional(),
    tags: z.array(z.string()).optional(),
    traceparent: z.string().optional().openapi({ description: "The W3C trace it belongs to." }),
    at: z.iso.datetime(),
    changedAt: z.iso.datetime(),
    body: z.unknown(),
  })
  .openapi("Message");

/** Given twice with the same request, it is accepted once. */
export const idempotencyKey = z.string().min(1).max(255).optional();

/** One that cannot be read counts as not given, so nothing is asked of it here. */
export const traceparent = z.string().optional().openapi({
  description:
    "W3C trace context of the caller, for what comes of this: the ledger, the log, webhooks and sinks. Without it, that of the message that is answered.",
});

/** A delivery of an entry to a webhook. */
export const DeliveryView = z
  .object({
    id: z.string(),
    webhook: z.string(),
    message: z.string(),
    state: z.enum(["pending", "delivered", "dead", "cancelled"]),
    tries: z.int(),
    attempts: z.array(
      z.object({ at: z.iso.datetime(), ms: z.number(), status: z.int().optional(), error: z.string().optional() }),
    ),
    nextAt: z.iso.datetime().optional(),
    createdAt: z.iso.datetime(),
    changedAt: z.iso.datetime(),
  })
  .openapi("Delivery");

/** A webhook that is made. */
export const WebhookInput = webhookInput.clone().openapi("WebhookInput");
/** A webhook that is changed. */
export const WebhookPatch = webhookPatch.clone().openapi("WebhookPatch");
/** A webhook as it is shown. */
export const WebhookView = z
  .object({
    id: z.string(),
    ...webhookPatch.omit({ secret: true, headers: true }).required().shape,
    kinds: webhookPatch.shape.kinds,
    bots: webhookPatch.shape.bots,
    disabledReason: z.string().optional(),
    source: z.enum(["config", "api"]),
    secretCount: z.int().openapi({ description: "2 while a secret is being replaced." }),
    headerNames: z.array(z.string()),
    health: z.object({
      circuit: z.enum(["closed", "open", "half-open"]),
      held: z.int().openapi({ description: "Deliveries in memory that wait or are under way." }),
      inFlight: z.int(),
    }),
    createdAt: z.int(),
    updatedAt: z.int(),
  })
  .openapi("Webhook");

/** A bot as it is shown. */
export const BotView = z
  .object({
    id: z.string(),
    name: z.string().optional(),
    source: z.enum(["config", "api"]),
    state: z.looseObject({
      connection: z.string(),
      socket: z.boolean(),
      subscribed: z.boolean(),
      receiving: z.enum(["yes", "unproven", "no"]),
      lastFrameAt: z.number().optional(),
      reason: z.object({ en: z.string(), zh: z.string() }),
    }),
  })
  .openapi("Bot");

/** Pages: how many, and from where. */
export const page = {
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
};

/** A cursor of the feed; 0 is the beginning. */
export const cursor = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/** `msg_12` → 12. */
export function seqOf(id: string): Seq | undefined {
  const [, digits] = /^msg_(\d{1,15})$/.exec(id) ?? [];
  return digits === undefined ? undefined : Number(digits);
}

/** Where the next page begins, where this one is full. */
export function nextOf(rows: readonly { readonly seq: Seq }[], limit: number): { next?: string } {
  const last = rows.at(-1);
  return rows.length === limit && last !== undefined ? { next: idOf(last) } : {};
}

/** An entry as the API shows it. */
export function messageView(entry: Entry): z.input<typeof Message> {
  const { bot, direction, kind, chat, user, msgid, replyTo, state, errcode, reason, maybeDuplicate, tags } = entry;
  return defined({
    id: idOf(entry),
    bot,
    direction,
    kind,
    chat,
    user,
    msgid,
    replyTo: replyTo === undefined ? undefined : idOf({ seq: replyTo }),
    state,
    errcode,
    reason: reason ?? usualReasons[state],
    explanation: errcode === undefined ? undefined : explanationOf(errcode),
    maybeDuplicate,
    tags: tags === undefined ? undefined : [...tags],
    traceparent: entry.traceparent,
    at: iso(entry.at),
    changedAt: iso(entry.changedAt),
    body: entry.body,
  });
}

/** A delivery as the API shows it. */
export function deliveryView(delivery: Delivery): z.input<typeof DeliveryView> {
  const { id, webhook, seq, state, tries, attempts, nextAt, createdAt, changedAt } = delivery;
  return defined({
    id,
    webhook,
    message: idOf({ seq }),
    state,
    tries,
    attempts: attempts.map((attempt) => ({ ...attempt, at: iso(attempt.at) })),
    nextAt: state === "pending" ? iso(nextAt) : undefined,
    createdAt: iso(createdAt),
    changedAt: iso(changedAt),
  });
}

/** Why an entry is in its state, where nothing else is known of it. */
const usualReasons: Readonly<Record<EntryState, string>> = {
  received: "stored; a webhook is to get it",
  delivered: "a webhook took it",
  dead: "no webhook that wanted it took it: see its deliveries",
  unrouted: "no webhook wants it; it can be read by GET /v1/events",
  accepted: "stored; it is to be sent",
  sent: "written to the line; the gateway has not answered yet",
  acked: "the gateway took it",
  refused: "the gateway refused it",
  unknown: "it was sent and no answer came: it may have arrived",
  failed: "it could not be sent",
  expired: "its time was over before it could be sent",
  fallback: "refused as a reply; it went as a push",
  noted: "told by the line itself",
};

function explanationOf(errcode: number): z.input<typeof Message>["explanation"] {
  const { meaning, advice } = explain(errcode);
  return { meaning, advice };
}

function iso(at: number): string {
  return new Date(at).toISOString();
}

/** Without the members that are undefined: JSON leaves them out, and so do the types of `exactOptionalPropertyTypes`. */
function defined<Shape extends object>(shape: Shape): { [Name in keyof Shape]: Exclude<Shape[Name], undefined> } {
  return Object.fromEntries(Object.entries(shape).filter(([, value]) => value !== undefined)) as never;
}
