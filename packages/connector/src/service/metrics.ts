/**
 * The figures of a service, as Prometheus reads them. Decides their names and labels, once; who counts calls a method.
 *
 * Invariants: no label holds a user, a chat, a text or a word of the gateway's choice, so that the number of series is
 * bounded by bots, webhooks, commands and errcodes that are known; a counter that somebody is woken for is there, as 0,
 * before it counts, since the step from nothing to 1 is none that Prometheus sees; the store is asked once for all that is
 * told of it, and what it does not answer takes no other figure with it.
 */
import { cmd, errcodes } from "@openws/protocol";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { LineMeter } from "../driver.ts";
import type { EventKind, MessageKind } from "../message.ts";
import { storeTroubles } from "./store.ts";
import { Tally, showHistogram } from "./tally.ts";

/** What is read anew each time somebody asks. */
export interface Readings {
  bots(): readonly {
    readonly id: string;
    readonly connection: string;
    readonly subscribed: boolean;
    readonly receiving: "yes" | "unproven" | "no";
    readonly lastFrameAt: number | undefined;
  }[];
  /** Chats of a bot that may be sent nothing now, since WeCom's limits for them are reached. */
  pacedChats(bot: string): number;
  /** What came and is in memory alone, because the store refuses. */
  inboxHeld(): number;
  store(): Promise<{
    readonly entries: number;
    readonly pendingDeliveries: number;
    readonly deadDeliveries: number;
    readonly unsentEntries: number;
    readonly bytes: number;
  }>;
  /** Why the store refuses to write; undefined while it takes what comes. */
  storeTrouble(): string | undefined;
  /** What waits for each sink, and for sinks that are not configured any more. */
  sinks(): Promise<readonly { readonly id: string; readonly pending: number; readonly lagMs: number }[]>;
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

/** Commands that are counted by name, and what stands in for one where a frame has none. */
const frameNames: ReadonlySet<string> = new Set([...Object.values(cmd), "ack"]);

/** Errcodes that are counted by number: those that are explained. */
const known: ReadonlySet<number> = new Set(errcodes.map(({ errcode }) => errcode));

/** A line that died of these had been deaf since its last frame. */
const silent: ReadonlySet<string> = new Set(["ping-timeout", "silence", "not-subscribed"]);

/** What the store says of itself: name, help, and the member that is shown. */
const storeGauges = [
  ["ledger_entries", "Lines of the ledger.", "entries"],
  ["store_bytes", "Bytes of the store.", "bytes"],
  ["outbox_depth", "Accepted and not at its end: waits to be sent, or for its ack.", "unsentEntries"],
  ["deliveries_pending", "Deliveries that wait for their turn or their next try.", "pendingDeliveries"],
  ["dead_letters", "Deliveries that were given up and not redriven.", "deadDeliveries"],
] as const;

/** What the store says of each sink: name, help, and what is shown. */
const sinkGauges = [
  [
    "sink_pending",
    "What waits for a sink, or for one that is not configured any more.",
    ({ pending }: { readonly pending: number }) => pending,
  ],
  [
    "sink_lag_seconds",
    "How long the first of what waits for a sink has waited; 0 while nothing does.",
    ({ lagMs }: { readonly lagMs: number }) => lagMs / 1000,
  ],
] as const;

/** The figures. */
export class Metrics {
  readonly #readings: Readings;
  /** What the store said last; it counts a million lines in a tenth of a second. */
  #stored: Promise<Awaited<ReturnType<Readings["store"]>> | undefined> | undefined;
  #waiting: Promise<Awaited<ReturnType<Readings["sinks"]>> | undefined> | undefined;
  /** Since when each bot has been deaf that should not be. */
  readonly #deafSince = new Map<string, number>();
  /** By bot: the frames that were counted since somebody looked, and the times of all acks. */
  readonly #lines = new Map<string, FrameCounts>();
  readonly #registry = new Registry();
  readonly #received = this.#counter("messages_received_total", "Messages and events that were stored.", [
    "bot",
    "kind",
  ]);
  readonly #duplicates = this.#counter("duplicates_total", "Callbacks that came again and were dropped.", ["bot"]);
  readonly #sent = this.#counter("messages_sent_total", "What became of messages that went out.", ["bot", "state"]);
  readonly #refusals = this.#counter("refusals_total", "What the gateway refused, by errcode.", ["bot", "errcode"]);
  readonly #moves = this.#counter("connection_moves_total", "Where lines went, and why.", ["bot", "to", "why"]);
  readonly #connects = this.#counter(
    "connects_total",
    "Tries to get a line, by what came of them: subscribed, or why not.",
    ["bot", "result"],
  );
  readonly #subscribeErrors = this.#counter("subscribe_errors_total", "Subscribes that were refused, by errcode.", [
    "bot",
    "errcode",
  ]);
  readonly #frames = new Counter({
    name: "openws_frames_total",
    help: "Frames that came (in) and went (out), by command; an ack has none.",
    labelNames: ["bot", "direction", "cmd"],
    registers: [this.#registry],
    collect: () => this.#showFrames(),
  });
  readonly #ackErrors = this.#counter("ack_errors_total", "Frames that were refused, by command and errcode.", [
    "bot",
    "cmd",
    "errcode",
  ]);
  readonly #unfinished = this.#counter(
    "streams_unfinished_total",
    "Bubbles of which it is not known that their end was shown: refused, failed, or never acknowledged.",
    ["bot"],
  );
  readonly #rotations = this.#counter(
    "stream_rotations_total",
    "Bubbles that were opened to go on with one that was full, or nearly ten minutes old.",
    ["bot"],
  );
  readonly #kicks = this.#counter("kicks_total", "How often another instance took a bot's line.", ["bot"]);
  readonly #deaf = this.#counter(
    "deaf_seconds_total",
    "Seconds in which a bot that should have a line had none: from the last frame of one that died until the next.",
    ["bot"],
  );
  readonly #lost = this.#counter(
    "messages_lost_total",
    "Callbacks that are in no store: it refused for too long, or another replica wrote by then.",
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
    help: "How long a webhook took to answer, by the class of its status; none where there was none.",
    labelNames: ["webhook", "code"],
    buckets: [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [this.#registry],
  });
  readonly #outboxSeconds = new Histogram({
    name: "openws_outbox_seconds",
    help: "From a message's acceptance to its ack: its wait for a line and for its chat's allowance included.",
    labelNames: ["bot"],
    buckets: [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60, 600],
    registers: [this.#registry],
  });
  readonly #pingSeconds = new Histogram({
    name: "openws_ping_rtt_seconds",
    help: "How long the gateway took to answer a ping.",
    labelNames: ["bot"],
    buckets: [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20],
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
    const acks = "openws_ack_seconds";
    showHistogram(this.#registry, acks, "How long the gateway took to acknowledge a frame.", () =>
      [...this.#lines].flatMap(([bot, line]) =>
        [...line.acks].flatMap(([name, times]) => times.samples(acks, { bot, cmd: name })),
      ),
    );
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
    for (const [name, help, read] of sinkGauges)
      gauge(name, help, ["sink"], async (each) => {
        for (const sink of (await this.#waiting) ?? []) each.set({ sink: sink.id }, read(sink));
      });
    gauge("store_refusing", "1 for the reason for which the store refuses to write now.", ["trouble"], (each) => {
      for (const trouble of storeTroubles) each.set({ trouble }, trouble === readings.storeTrouble() ? 1 : 0);
    });
    gauge("webhook_circuit_open", "1 while a webhook is left alone because it fails.", ["webhook"], (each) => {
      for (const { id, circuit } of readings.webhooks()) each.set({ webhook: id }, circuit === "closed" ? 0 : 1);
    });
    gauge("quota_chats_paced", "Chats to which nothing may go now: WeCom's limits are reached.", ["bot"], (each) => {
      for (const { id } of readings.bots()) each.set({ bot: id }, readings.pacedChats(id));
    });
    gauge("inbox_depth", "Came, and is in memory alone because the store refuses.", [], (each) =>
      each.set(readings.inboxHeld()),
    );
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
      this.#unfinished.inc({ bot: id }, 0);
      this.#rotations.inc({ bot: id }, 0);
    }
    for (const bot of this.#deafSince.keys()) this.#countDeaf(bot);
    this.#stored = readings.store().catch(() => undefined);
    this.#waiting = readings.sinks().catch(() => undefined);
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
    if (errcode !== undefined) this.#refusals.inc({ bot, errcode: labelOf(errcode) });
  }

  /** A message that was accepted `ms` ago is acknowledged. */
  acked(bot: string, ms: number): void {
    this.#outboxSeconds.observe({ bot }, ms / 1000);
  }

  /** What counts the frames of a bot's line; one a bot, however often it is asked for. */
  line(bot: string): LineMeter {
    let counts = this.#lines.get(bot);
    if (counts === undefined) this.#lines.set(bot, (counts = { in: new Map(), out: new Map(), acks: new Map() }));
    const { in: came, out: went, acks } = counts;
    return {
      // Numbers in a table: prom-client makes objects and strings for each count.
      frame: (direction, name) => {
        const counted = direction === "in" ? came : went;
        const key = frameNames.has(name) ? name : "other";
        counted.set(key, (counted.get(key) ?? 0) + 1);
      },
      acked: (name, afterMs, errcode) => {
        const key = frameNames.has(name) ? name : "other";
        let times = acks.get(key);
        if (times === undefined) acks.set(key, (times = new Tally(ackBounds)));
        times.add(afterMs / 1000);
        if (errcode !== 0) this.#ackErrors.inc({ bot, cmd: key, errcode: labelOf(errcode) });
      },
    };
  }

  #showFrames(): void {
    for (const [bot, counts] of this.#lines)
      for (const direction of ["in", "out"] as const) {
        for (const [name, count] of counts[direction]) this.#frames.inc({ bot, direction, cmd: name }, count);
        counts[direction].clear();
      }
  }

  /** A ping was answered. */
  pinged(bot: string, ms: number): void {
    this.#pingSeconds.observe({ bot }, ms / 1000);
  }

  /** It is over, and the user may not have seen its end. */
  streamUnfinished(bot: string): void {
    this.#unfinished.inc({ bot });
  }

  /** Its text goes on in another bubble. */
  streamRotated(bot: string): void {
    this.#rotations.inc({ bot });
  }

  /** `errcode` is what the gateway refused a subscribe with. */
  moved(bot: string, from: string, to: string, why: string, errcode?: number): void {
    this.#moves.inc({ bot, to, why });
    if ((from === "dialing" && to !== "subscribing") || from === "subscribing")
      this.#connects.inc({ bot, result: why });
    if (from === "subscribing" && errcode !== undefined) this.#subscribeErrors.inc({ bot, errcode: labelOf(errcode) });
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

  /** `status` is that of HTTP, where an answer came. */
  attempted(webhook: string, outcome: "delivered" | "failed", ms: number, status?: number): void {
    this.#deliveries.inc({ webhook, outcome });
    const code = status === undefined ? "none" : `${Math.floor(status / 100)}xx`;
    this.#deliverySeconds.observe({ webhook, code }, ms / 1000);
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

/** How many frames of each name came and went, and how long their acks took. */
interface FrameCounts {
  readonly in: Map<string, number>;
  readonly out: Map<string, number>;
  readonly acks: Map<string, Tally>;
}

/** Seconds. */
const ackBounds = [0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10];

/** An errcode as a label; all that nobody has explained are one. */
function labelOf(errcode: number): number | "other" {
  return known.has(errcode) ? errcode : "other";
}
