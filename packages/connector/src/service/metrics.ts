/**
 * The figures of a service, as Prometheus reads them. Decides their names and labels, once; who counts calls a method.
 *
 * Invariants: no label holds a user, a chat, a text or a word of the gateway's choice, so that the number of series is
 * bounded by bots, webhooks and errcodes; a counter that somebody is woken for is there, as 0, before it counts, since the
 * step from nothing to 1 is none that Prometheus sees; the store is asked once for all that is told of it, and what it
 * does not answer takes no other figure with it.
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { EventKind, MessageKind } from "../message.ts";
import { storeTroubles } from "./store.ts";

/** What is read anew each time somebody asks. */
export interface Readings {
  bots(): readonly {
    readonly id: string;
    readonly connection: string;
    readonly subscribed: boolean;
    readonly receiving: "yes" | "unproven" | "no";
    readonly lastFrameAt: number | undefined;
  }[];
  store(): Promise<{
    readonly entries: number;
    readonly pendingDeliveries: number;
    readonly deadDeliveries: number;
    readonly unsentEntries: number;
    readonly bytes: number;
  }>;
  /** Why the store refuses to write; undefined while it takes what comes. */
  storeTrouble(): string | undefined;
  webhooks(): readonly {
    readonly id: string;
    readonly circuit: "closed" | "open" | "half-open";
    readonly held: number;
  }[];
  openStreams(): number;
  /** Whether this replica holds the lease; only where there is one. */
  readonly leaseHeld?: (() => boolean) | undefined;
  now(): number;
}

/** Every state that a line can be in, so that each has a series from the start. */
const connections = ["idle", "dialing", "subscribing", "ready", "waiting", "kicked", "refused", "stopped"] as const;

/** Kinds of messages and events that are counted by name; WeCom may send others, under any name. */
const kinds: ReadonlySet<string> = new Set<MessageKind | EventKind>([
  "text",
  "image",
  "mixed",
  "voice",
  "file",
  "video",
  "enter_chat",
  "template_card_event",
  "feedback_event",
  "disconnected_event",
]);

/** A line that died of these had been deaf since its last frame. */
const silent: ReadonlySet<string> = new Set(["ping-timeout", "silence", "not-subscribed"]);

/** What the store says of itself: name, help, and the member that is shown. */
const storeGauges = [
  ["ledger_entries", "Lines of the ledger.", "entries"],
  ["store_bytes", "Bytes of the store.", "bytes"],
  ["outbox_depth", "Accepted and not sent yet.", "unsentEntries"],
  ["deliveries_pending", "Deliveries that wait for their turn or their next try.", "pendingDeliveries"],
  ["dead_letters", "Deliveries that were given up and not redriven.", "deadDeliveries"],
] as const;

/** The figures. */
export class Metrics {
  readonly #readings: Readings;
  /** What the store said last; it counts a million lines in a tenth of a second. */
  #stored: Promise<Awaited<ReturnType<Readings["store"]>> | undefined> | undefined;
  /** Since when each bot has been deaf that should not be. */
  readonly #deafSince = new Map<string, number>();
  readonly #registry = new Registry();
  readonly #received = this.#counter("messages_received_total", "Messages and events that were stored.", [
    "bot",
    "kind",
  ]);
  readonly #duplicates = this.#counter("duplicates_total", "Callbacks that came again and were dropped.", ["bot"]);
  readonly #sent = this.#counter("messages_sent_total", "What became of messages that went out.", ["bot", "state"]);
  readonly #refusals = this.#counter("refusals_total", "What the gateway refused, by errcode.", ["bot", "errcode"]);
  readonly #moves = this.#counter("connection_moves_total", "Where lines went, and why.", ["bot", "to", "why"]);
  readonly #kicks = this.#counter("kicks_total", "How often another instance took a bot's line.", ["bot"]);
  readonly #deaf = this.#counter(
    "deaf_seconds_total",
    "Seconds in which a bot that should have a line had none: from the last frame of one that died until the next.",
    ["bot"],
  );
  readonly #lost = this.#counter(
    "messages_lost_total",
    "Callbacks that are in no store: more came while it refused than memory holds.",
    ["bot"],
  );
  readonly #deliveries = this.#counter("deliveries_total", "Tries to deliver to webhooks.", ["webhook", "outcome"]);
  readonly #dead = this.#counter("dead_letters_total", "Deliveries that were given up.", ["webhook"]);
  readonly #mediaBytes = this.#counter(
    "media_bytes_total",
    "Bytes of files that were fetched (in) and uploaded (out).",
    ["direction"],
  );
  readonly #storeRefusals = this.#counter("store_refusals_total", "Commits that the store refused.", ["trouble"]);
  readonly #deliverySeconds = new Histogram({
    name: "openws_webhook_seconds",
    help: "How long a webhook took to answer.",
    labelNames: ["webhook"],
    buckets: [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [this.#registry],
  });
  readonly #ackSeconds = new Histogram({
    name: "openws_ack_seconds",
    help: "How long the gateway took to acknowledge what was sent.",
    labelNames: ["bot"],
    buckets: [0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10],
    registers: [this.#registry],
  });
  readonly #storeSeconds = new Histogram({
    name: "openws_store_seconds",
    help: "From a callback's arrival to its being stored.",
    buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2],
    registers: [this.#registry],
  });
  readonly #loopLagSeconds = new Histogram({
    name: "openws_loop_lag_seconds",
    help: "How late the process comes to what is due: heartbeats among it.",
    buckets: [0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5],
    registers: [this.#registry],
  });

  /** `version` is a label of `openws_build_info`. */
  constructor(readings: Readings, version: string) {
    this.#readings = readings;
    for (const trouble of storeTroubles) this.#storeRefusals.inc({ trouble }, 0);
    const gauge = (
      name: string,
      help: string,
      labelNames: string[],
      read: (gauge: Gauge) => void | Promise<void>,
    ): void => {
      // The registry keeps it.
      void new Gauge({
        name: `openws_${name}`,
        help,
        labelNames,
        registers: [this.#registry],
        async collect() {
          this.reset();
          await read(this);
        },
      });
    };
    gauge("build_info", "1, with the version as a label.", ["version"], (each) => each.set({ version }, 1));
    gauge("connection_state", "1 for the state that a bot's line is in.", ["bot", "state"], (each) => {
      for (const { id, connection } of readings.bots())
        for (const state of connections) each.set({ bot: id, state }, state === connection ? 1 : 0);
    });
    gauge("subscribed", "Whether the gateway has accepted the bot's subscription.", ["bot"], (each) => {
      for (const { id, subscribed } of readings.bots()) each.set({ bot: id }, subscribed ? 1 : 0);
    });
    gauge("receiving", "1 when a callback proved the line, 0.5 while it is quiet, 0 without one.", ["bot"], (each) => {
      for (const { id, receiving } of readings.bots())
        each.set({ bot: id }, receiving === "yes" ? 1 : receiving === "unproven" ? 0.5 : 0);
    });
    gauge("last_frame_age_seconds", "Since the last frame of any kind.", ["bot"], (each) => {
      for (const { id, lastFrameAt } of readings.bots())
        if (lastFrameAt !== undefined) each.set({ bot: id }, Math.max(0, readings.now() - lastFrameAt) / 1000);
    });
    for (const [name, help, member] of storeGauges)
      gauge(name, help, [], async (each) => {
        const stored = await this.#stored;
        if (stored === undefined) each.remove();
        else each.set(stored[member]);
      });
    gauge("store_refusing", "1 for the reason for which the store refuses to write now.", ["trouble"], (each) => {
      for (const trouble of storeTroubles) each.set({ trouble }, trouble === readings.storeTrouble() ? 1 : 0);
    });
    gauge("webhook_circuit_open", "1 while a webhook is left alone because it fails.", ["webhook"], (each) => {
      for (const { id, circuit } of readings.webhooks()) each.set({ webhook: id }, circuit === "closed" ? 0 : 1);
    });
    const { leaseHeld } = readings;
    if (leaseHeld !== undefined)
      gauge("lease_held", "1 on the replica that may use the lines.", [], (each) => each.set(leaseHeld() ? 1 : 0));
    gauge("streams_open", "Bubbles that are not finished.", [], (each) => each.set(readings.openStreams()));
  }

  /** The text for Prometheus, and its media type. */
  async text(): Promise<{ type: string; text: string }> {
    const readings = this.#readings;
    for (const { id } of readings.webhooks()) this.#dead.inc({ webhook: id }, 0);
    for (const { id } of readings.bots()) {
      this.#lost.inc({ bot: id }, 0);
      this.#deaf.inc({ bot: id }, 0);
    }
    for (const bot of this.#deafSince.keys()) this.#countDeaf(bot);
    this.#stored = readings.store().catch(() => undefined);
    return { type: this.#registry.contentType, text: await this.#registry.metrics() };
  }

  received(bot: string, kind: string, storedAfterMs: number): void {
    this.#received.inc({ bot, kind: kinds.has(kind) ? kind : "other" });
    this.#storeSeconds.observe(storedAfterMs / 1000);
  }

  duplicate(bot: string): void {
    this.#duplicates.inc({ bot });
  }

  /** What became of a message that went out. */
  sent(bot: string, state: string, errcode: number | undefined): void {
    this.#sent.inc({ bot, state });
    if (errcode !== undefined) this.#refusals.inc({ bot, errcode });
  }

  acked(bot: string, ms: number): void {
    this.#ackSeconds.observe({ bot }, ms / 1000);
  }

  moved(bot: string, to: string, why: string): void {
    this.#moves.inc({ bot, to, why });
    if (to === "kicked") this.#kicks.inc({ bot });
    const deaf = this.#deafSince.has(bot);
    // Where another instance has the line, or nobody wants it, nobody is deaf.
    if (to === "ready" || to === "kicked" || to === "stopped") {
      if (deaf) this.#countDeaf(bot);
      this.#deafSince.delete(bot);
    } else if (!deaf) {
      const heardAt = this.#readings.bots().find(({ id }) => id === bot)?.lastFrameAt;
      this.#deafSince.set(bot, (silent.has(why) ? heardAt : undefined) ?? this.#readings.now());
    }
  }

  #countDeaf(bot: string): void {
    const now = this.#readings.now();
    this.#deaf.inc({ bot }, Math.max(0, now - this.#deafSince.get(bot)!) / 1000);
    this.#deafSince.set(bot, now);
  }

  /** A callback is in no store, and will not be. */
  lost(bot: string): void {
    this.#lost.inc({ bot });
  }

  attempted(webhook: string, outcome: "delivered" | "failed", ms: number): void {
    this.#deliveries.inc({ webhook, outcome });
    this.#deliverySeconds.observe({ webhook }, ms / 1000);
  }

  dead(webhook: string): void {
    this.#dead.inc({ webhook });
  }

  media(direction: "in" | "out", bytes: number): void {
    this.#mediaBytes.inc({ direction }, bytes);
  }

  storeRefused(trouble: string): void {
    this.#storeRefusals.inc({ trouble });
  }

  loopLag(ms: number): void {
    this.#loopLagSeconds.observe(ms / 1000);
  }

  #counter<const Label extends string>(name: string, help: string, labelNames: readonly Label[]): Counter<Label> {
    return new Counter({ name: `openws_${name}`, help, labelNames, registers: [this.#registry] });
  }
}
