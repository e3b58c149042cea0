/**
 * Who gets what: the webhooks, which entries each of them wants, and what may be said when one is made or changed.
 *
 * Decides names, defaults and limits of a webhook, and keeps them in the store with their secrets sealed. Does not deliver
 * (delivery.ts), sign (signature.ts) or know HTTP. Invariants: a change is stored before it counts; a secret never leaves
 * this file but to sign, save in the one answer that creates it.
 */
import { UsageError } from "@openws/protocol";
import { z } from "zod";
import type { Clock } from "./clock.ts";
import { msgTypeOf } from "./envelope.ts";
import { type Change, type Delivery, type Entry, type EpochMs, type Store, deliveryIdOf } from "./store.ts";

/** A webhook. */
export interface Webhook {
  readonly id: string;
  readonly url: string;
  /** Newest first; two while one is being replaced. */
  readonly secrets: readonly string[];
  readonly enabled: boolean;
  /** Why it is not, when nobody asked for that: the receiver answered 410. */
  readonly disabledReason?: string | undefined;
  /** How long the response's headers may take; 5,000. */
  readonly timeoutMs: number;
  /** How often a delivery is tried again before it is given up; 10. */
  readonly retryCount: number;
  /** The kinds it wants (`text`, `image` …, `event`, an eventtype); all messages and events when it says nothing. */
  readonly kinds?: readonly string[] | undefined;
  /** Also what the bot itself says. */
  readonly includeSelf: boolean;
  /** Operational events it wants, such as `bot.kicked`; `*` for all. */
  readonly operational: readonly string[];
  /** The bots it is for; all when it says nothing. */
  readonly bots?: readonly string[] | undefined;
  /** Sent with each delivery, such as `Authorization`. */
  readonly headers: Readonly<Record<string, string>>;
  /** The operator's own configuration may name private addresses, the API may not. */
  readonly source: "config" | "api";
  readonly createdAt: EpochMs;
  readonly updatedAt: EpochMs;
}

/** A webhook as it is shown: whether there is a secret, not which. */
export type WebhookView = Omit<Webhook, "secrets" | "headers"> & {
  readonly secretCount: number;
  readonly headerNames: readonly string[];
};

const headerName = /^[A-Za-z0-9-]{1,64}$/;
const ourHeaders = /^(?:webhook-|x-webhook-|content-|host$|connection$|transfer-encoding$|traceparent$)/i;

const fields = z.strictObject({
  url: z.url({ protocol: /^https?$/, error: "must be an http or https URL" }).max(2_048),
  secret: z.string().min(16, "must have at least 16 characters").max(512).optional(),
  enabled: z.boolean(),
  timeoutMs: z.int().min(1_000).max(30_000),
  retryCount: z.int().min(0).max(50),
  kinds: z.array(z.string().min(1).max(64)).min(1).max(50).optional(),
  includeSelf: z.boolean(),
  operational: z.array(z.string().min(1).max(64)).max(20),
  bots: z.array(z.string().min(1).max(128)).min(1).max(1_000).optional(),
  headers: z
    .record(z.string().regex(headerName, "must be a header's name"), z.string().max(2_048))
    .refine(
      (headers) => !Object.keys(headers).some((name) => ourHeaders.test(name)),
      "must leave the headers that a delivery sets itself",
    ),
});

/** What may be said when a webhook is made. Unknown members are refused, so that a misspelt one is noticed. */
export const webhookInput = fields.extend({
  enabled: fields.shape.enabled.default(true),
  timeoutMs: fields.shape.timeoutMs.default(5_000),
  retryCount: fields.shape.retryCount.default(10),
  includeSelf: fields.shape.includeSelf.default(false),
  operational: fields.shape.operational.default([]),
  headers: fields.shape.headers.default({}),
});
/** What may be said when a webhook is made, before defaults. */
export type WebhookInput = z.input<typeof webhookInput>;

/** What may be changed; what is left out stays. */
export const webhookPatch = fields.partial();
/** A change to a webhook. */
export type WebhookPatch = z.input<typeof webhookPatch>;

/** Encrypts what must not be read from the disk. */
export interface Sealer {
  seal(text: string): Promise<string>;
  unseal(sealed: string): Promise<string>;
}

/** All webhooks of a service. */
export class Webhooks {
  readonly #store: Pick<Store, "commit" | "documents">;
  readonly #clock: Clock;
  readonly #sealer: Sealer;
  readonly #all = new Map<string, Webhook>();
  readonly #listeners = new Set<(webhook: Webhook, removed: boolean) => void>();

  constructor({ store, clock, sealer }: { store: Pick<Store, "commit" | "documents">; clock: Clock; sealer: Sealer }) {
    this.#store = store;
    this.#clock = clock;
    this.#sealer = sealer;
  }

  /** Reads what is stored, and adds those of the operator's configuration, as `wh_config`, `wh_config2` and so on. */
  async load(configured: readonly WebhookInput[] = []): Promise<void> {
    for (let after: string | undefined; ;) {
      const page = await this.#store.documents("webhook", { after, limit: 200 });
      for (const { value } of page) {
        const stored = value as Omit<Webhook, "secrets" | "headers"> & { sealed: string };
        const { sealed, ...rest } = stored;
        const { secrets, headers } = JSON.parse(await this.#sealer.unseal(sealed)) as Pick<
          Webhook,
          "secrets" | "headers"
        >;
        // The configuration is read anew at each start.
        if (rest.source === "api") this.#all.set(rest.id, { ...rest, secrets, headers });
      }
      if (page.length < 200) break;
      after = page.at(-1)?.key;
    }
    for (const [at, input] of configured.entries()) {
      const id = at === 0 ? "wh_config" : `wh_config${at + 1}`;
      this.#all.set(id, this.#made(id, input, "config"));
    }
  }

  /** Those that deliveries go to, and those that are switched off. */
  all(): Webhook[] {
    return [...this.#all.values()];
  }

  get(id: string): Webhook | undefined {
    return this.#all.get(id);
  }

  /** Calls `listener` after each change. */
  onChanged(listener: (webhook: Webhook, removed: boolean) => void): void {
    this.#listeners.add(listener);
  }

  /** Makes a webhook; without a secret one is generated. Rejects with `UsageError` for input that cannot be. */
  async create(input: unknown): Promise<Webhook> {
    const webhook = this.#made(`wh_${this.#token(12)}`, input, "api");
    await this.#save(webhook);
    return webhook;
  }

  /** Changes a webhook. A new secret is used beside the one before it until `retireSecret`. */
  async update(id: string, patch: unknown): Promise<Webhook> {
    const old = this.#mustHave(id);
    if (old.source === "config")
      throw new UsageError("this webhook comes from the operator's configuration; change it there", { path: "id" });
    const { secret, ...changes } = parse(webhookPatch, patch);
    const given = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined));
    const webhook: Webhook = {
      ...old,
      ...given,
      secrets: secret === undefined || secret === old.secrets[0] ? old.secrets : [secret, old.secrets[0]!],
      ...(changes.enabled === true ? { disabledReason: undefined } : {}),
      updatedAt: this.#clock.now(),
    };
    await this.#save(webhook);
    return webhook;
  }

  /** Ends a rotation: only the newest secret signs from now on. */
  async retireSecret(id: string): Promise<Webhook> {
    const old = this.#mustHave(id);
    const webhook = { ...old, secrets: old.secrets.slice(0, 1), updatedAt: this.#clock.now() };
    await this.#save(webhook);
    return webhook;
  }

  /** Switches a webhook off by its receiver's own word. */
  async disable(id: string, reason: string): Promise<void> {
    const old = this.#all.get(id);
    if (old === undefined) return;
    const webhook = { ...old, enabled: false, disabledReason: reason, updatedAt: this.#clock.now() };
    if (old.source === "api") await this.#save(webhook);
    else this.#changed(webhook, false);
  }

  async remove(id: string): Promise<void> {
    const old = this.#mustHave(id);
    if (old.source === "config")
      throw new UsageError("this webhook comes from the operator's configuration; remove it there", { path: "id" });
    await this.#store.commit([{ delete: "document", collection: "webhook", key: id }]);
    this.#all.delete(id);
    this.#changed(old, true);
  }

  /** The deliveries that a new entry gives rise to, to be committed with it. */
  deliveriesFor(entry: Entry): Delivery[] {
    const now = this.#clock.now();
    const deliveries: Delivery[] = [];
    for (const webhook of this.#all.values())
      if (wants(webhook, entry)) deliveries.push(newDelivery(webhook, entry, now));
    return deliveries;
  }

  #made(id: string, input: unknown, source: Webhook["source"]): Webhook {
    const { secret, ...rest } = parse(webhookInput, input);
    const now = this.#clock.now();
    return {
      id,
      ...rest,
      secrets: [secret ?? `whsec_${btoa(this.#token(24))}`],
      source,
      createdAt: now,
      updatedAt: now,
    };
  }

  async #save(webhook: Webhook): Promise<void> {
    const { secrets, headers, ...rest } = webhook;
    const sealed = await this.#sealer.seal(JSON.stringify({ secrets, headers }));
    const change: Change = {
      put: "document",
      collection: "webhook",
      document: { key: webhook.id, value: { ...rest, sealed } },
    };
    await this.#store.commit([change]);
    this.#changed(webhook, false);
  }

  #changed(webhook: Webhook, removed: boolean): void {
    if (!removed) this.#all.set(webhook.id, webhook);
    for (const listener of this.#listeners) listener(webhook, removed);
  }

  #mustHave(id: string): Webhook {
    const webhook = this.#all.get(id);
    if (webhook === undefined) throw new UsageError(`there is no webhook ${JSON.stringify(id)}`, { path: "id" });
    return webhook;
  }

  #token(length: number): string {
    const bytes = crypto.getRandomValues(new Uint8Array(length));
    return Array.from(bytes, (byte) => "abcdefghijkmnpqrstuvwxyz23456789"[byte & 31]).join("");
  }
}

/** Whether a webhook wants an entry. */
export function wants(webhook: Webhook, entry: Entry): boolean {
  if (!webhook.enabled) return false;
  if (webhook.bots !== undefined && !webhook.bots.includes(entry.bot)) return false;
  if (entry.direction === "bot") return webhook.operational.includes("*") || webhook.operational.includes(entry.kind);
  if (entry.direction === "out" && !webhook.includeSelf) return false;
  if (webhook.kinds === undefined) return true;
  return (
    webhook.kinds.includes(entry.kind) ||
    (entry.event === true && webhook.kinds.includes("event")) ||
    webhook.kinds.includes(String(msgTypeOf(entry)))
  );
}

/** A new delivery of an entry. Its id says both, so that none is made twice. */
export function newDelivery(webhook: Pick<Webhook, "id">, { seq, bot, chat }: Entry, now: EpochMs): Delivery {
  return {
    id: deliveryIdOf(webhook.id, seq),
    webhook: webhook.id,
    seq,
    bot,
    lane: chat === undefined ? bot : `${bot} ${chat.type} ${chat.id}`,
    state: "pending",
    tries: 0,
    attempts: [],
    nextAt: now,
    createdAt: now,
    changedAt: now,
  };
}

/** A webhook as the API shows it. */
export function viewOf({ secrets, headers, ...webhook }: Webhook): WebhookView {
  return { ...webhook, secretCount: secrets.length, headerNames: Object.keys(headers) };
}

function parse<Schema extends z.ZodType>(schema: Schema, input: unknown): z.output<Schema> {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue?.path.join(".") ?? "";
  throw new UsageError(`${path === "" ? "the webhook" : path}: ${issue?.message ?? "is not valid"}`, { path });
}
