/**
 * What is told of a service, as lines of a log and as figures. Decides wording, levels and what is counted; writes nowhere.
 * Invariant: no text of a message, no secret and no address with a signature becomes a field or a label.
 */
import { type LogRecord, recordOf } from "../log.ts";
import type { Metrics } from "./metrics.ts";
import type { ServiceEvent } from "./service.ts";
import { traceIdOf } from "./trace.ts";

/** Says an event; undefined where it is worth no line. */
export function logOf(told: ServiceEvent): LogRecord | undefined {
  switch (told.of) {
    case "bot": {
      // Every message is a line of the ledger; nobody handles one here but the service.
      if (told.event.type === "unhandled") return undefined;
      const { level, message, fields } = recordOf(told.event);
      return { level, message, fields: { bot: told.bot, ...fields } };
    }
    case "handed-over":
      return {
        level: "info",
        message: "another replica has taken the line, with the lease",
        fields: { bot: told.bot },
      };
    case "stored":
      return undefined;
    case "inbox": {
      const { event } = told;
      if (event.type === "store-recovered")
        return { level: "info", message: "the store takes what comes again", fields: { stored: event.stored } };
      if (event.type === "duplicate")
        return {
          level: "debug",
          message: "a message came again, which another replica has stored",
          fields: { bot: event.bot },
        };
      if (event.type === "store-refused")
        return {
          level: "error",
          message: `what comes cannot be stored and is held in memory: ${event.why}`,
          fields: { trouble: event.trouble },
        };
      const { bot, msgid, lost } = event;
      return {
        level: "error",
        message: "a message is in no store: it was refused for too long, or another replica writes by now",
        fields: { bot, msgid, lost },
      };
    }
    case "outbox": {
      const { event } = told;
      if (event.type === "store-refused")
        return { level: "error", message: `what became of a message cannot be stored: ${event.why}`, fields: {} };
      if (event.type === "stream-rotated")
        return { level: "debug", message: "an answer goes on in another bubble", fields: { bot: event.bot } };
      const { seq, bot, kind, state, reason, errcode } = event.entry;
      const fields = { bot, id: `msg_${seq}`, kind, state, errcode, trace_id: traceIdOf(event.entry) };
      if (state === "acked") return { level: "debug", message: "sent", fields };
      return { level: state === "fallback" ? "info" : "warn", message: `${state}: ${reason ?? ""}`, fields };
    }
    case "delivery": {
      const { event } = told;
      switch (event.type) {
        case "attempted": {
          const { status, ms, error } = event.attempt;
          const { id, tries } = event.delivery;
          const fields = { delivery: id, tries, status, ms, trace_id: traceIdOf(event.entry) };
          return error === undefined
            ? { level: "debug", message: "delivered", fields }
            : { level: "warn", message: `a delivery failed: ${error}`, fields };
        }
        case "dead":
          return {
            level: "error",
            message: `a delivery was given up: ${event.why}`,
            fields: { delivery: event.delivery.id, trace_id: traceIdOf(event.entry) },
          };
        case "unclaimed": {
          const { webhook, pending, since } = event;
          const from = new Date(since).toISOString();
          const back = webhook.startsWith("sink_")
            ? `put its URL back into OPENWS_SINKS, with ?name=${webhook.slice("sink_".length)} where it was renamed, or`
            : "it was removed;";
          return {
            level: "warn",
            message: `nobody takes what waits for ${webhook} (${pending}, the first since ${from}), which is not configured any more: ${back} call that off with DELETE /v1/sinks/${webhook}/deliveries`,
            fields: { webhook, pending, since: from },
          };
        }
        case "circuit":
          return {
            level: event.state === "open" ? "warn" : "info",
            message: `the circuit of ${event.webhook} is ${event.state}: ${event.why}`,
            fields: { webhook: event.webhook },
          };
        case "store-refused":
          return {
            level: "error",
            message: `what became of a delivery cannot be stored: ${said(event.error)}`,
            fields: {},
          };
      }
      break;
    }
    case "spool": {
      const { event } = told;
      return event.type === "spooled"
        ? { level: "debug", message: "a file was fetched", fields: { id: `msg_${event.seq}`, bytes: event.bytes } }
        : { level: "warn", message: `a file was not fetched: ${event.why}`, fields: { id: `msg_${event.seq}` } };
    }
    case "uploaded":
      return { level: "debug", message: "a file was uploaded", fields: { bot: told.bot, bytes: told.bytes } };
    case "service":
      return { level: "error", message: `${told.event.what} failed: ${told.event.why}`, fields: {} };
  }
}

/** Counts an event. */
export function count(metrics: Metrics, told: ServiceEvent): void {
  switch (told.of) {
    case "bot":
      if (told.event.type === "moved") {
        const { from, to, why, detail } = told.event;
        // A socket that closed says why with a number of another kind.
        metrics.moved(told.bot, from, to, why, why === "closed" ? undefined : detail?.code);
      } else if (told.event.type === "duplicate") metrics.duplicate(told.bot);
      else if (told.event.type === "notice" && told.event.what.type === "pong")
        metrics.pinged(told.bot, told.event.what.afterMs);
      return;
    case "handed-over":
      metrics.moved(told.bot, "ready", "stopped", "handed-over");
      return;
    case "stored":
      if (told.entry.direction === "in") metrics.received(told.entry.bot, told.entry.kind, told.afterMs);
      return;
    case "inbox":
      if (told.event.type === "store-refused") metrics.storeRefused(told.event.trouble);
      else if (told.event.type === "lost") metrics.lost(told.event.bot);
      else if (told.event.type === "duplicate") metrics.duplicate(told.event.bot);
      return;
    case "outbox": {
      if (told.event.type === "stream-rotated") metrics.streamRotated(told.event.bot);
      if (told.event.type !== "settled") return;
      const { bot, kind, state, errcode, at, changedAt } = told.event.entry;
      metrics.sent(bot, state, errcode);
      if (kind === "stream" && state !== "acked" && state !== "fallback") metrics.streamUnfinished(bot);
      if (kind !== "stream" && state === "acked") metrics.acked(bot, changedAt - at);
      return;
    }
    case "delivery": {
      const { event } = told;
      if (event.type === "attempted")
        metrics.attempted(
          event.delivery.webhook,
          event.attempt.error === undefined ? "delivered" : "failed",
          event.attempt.ms,
          event.attempt.status,
        );
      else if (event.type === "dead") metrics.dead(event.delivery.webhook);
      return;
    }
    case "spool":
      if (told.event.type === "spooled") metrics.media("in", told.event.bytes);
      return;
    case "uploaded":
      metrics.media("out", told.bytes);
      return;
    case "service":
  }
}

function said(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
