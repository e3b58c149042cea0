/**
 * What the log says of a bot's events: level, sentence, fields. Decides wording and what is left out: no message text, no
 * secret, no address with a signature ever becomes a field. Does not write anywhere.
 */
import { plainErrmsg } from "@openws/protocol";
import type { BotEvent } from "./bot.ts";
import type { AbortWhy, DropWhy } from "./turns.ts";

/** One line of a log. */
export interface LogRecord {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Says an event. */
export function recordOf(event: BotEvent): LogRecord {
  switch (event.type) {
    case "moved": {
      const { from, to, why, sentence, detail } = event;
      const level =
        to === "kicked" || to === "refused" ? "error" : to === "waiting" ? "warn" : to === "ready" ? "info" : "debug";
      return { level, message: sentence.en, fields: { from, to, why, code: detail?.code } };
    }
    case "notice": {
      const { what } = event;
      switch (what.type) {
        case "undecodable":
          return {
            level: "warn",
            message: `the gateway sent a frame that cannot be read: ${what.reason.path}: ${what.reason.reason}`,
            fields: {},
          };
        case "bent":
          return { level: "debug", message: `a frame was bent to be read: ${what.note}`, fields: {} };
        case "stray-ack":
          return {
            level: "warn",
            message: `an ack came ${what.why === "late" ? "too late to confirm anything" : "that nothing waits for"}`,
            fields: { reqId: what.req_id, errcode: what.errcode },
          };
        case "unknown-command":
          return {
            level: "warn",
            message: "the gateway sent a command that is not known here",
            fields: { cmd: what.cmd },
          };
        case "pong":
          return { level: "debug", message: "a ping was answered", fields: { ms: what.afterMs } };
        case "server-ping":
          return { level: "debug", message: "the gateway sent a ping of its own", fields: {} };
        case "ping-refused":
          return {
            level: "warn",
            message: `the gateway refused a ping: ${plainErrmsg(what.errmsg)}`,
            fields: { errcode: what.errcode },
          };
      }
      break;
    }
    case "message": {
      const { kind, msgid, reqId, chat } = event.message;
      return {
        level: "debug",
        message: `${kind} message`,
        fields: { msgid, reqId, chat: chat.id, chattype: chat.type },
      };
    }
    case "happened": {
      const { kind, msgid, reqId, chat } = event.event;
      return { level: "debug", message: `event ${kind}`, fields: { msgid, reqId, chat: chat?.id } };
    }
    case "duplicate":
      return { level: "info", message: "a repeated callback was dropped", fields: { msgid: event.msgid } };
    case "unhandled":
      return { level: "debug", message: `nobody handles ${event.kind}`, fields: { reqId: event.reqId } };
    case "dropped":
      return {
        level: "warn",
        message: `a message was not handled: ${dropReasons[event.why]}`,
        fields: { reqId: event.reqId, why: event.why },
      };
    case "cut-off":
      return {
        level: "warn",
        message: `a handler was cut off: ${abortReasons[event.why]}`,
        fields: { reqId: event.reqId, why: event.why },
      };
    case "handler-failed":
      return { level: "error", message: `a handler threw: ${said(event.error)}`, fields: { reqId: event.reqId } };
    case "observer-failed":
      return { level: "error", message: `an observer of the bot threw: ${said(event.error)}`, fields: {} };
    case "probed":
      return {
        level: event.found === "subscribed" ? "debug" : "warn",
        message: `a probe of the quiet line found it ${event.found}`,
        fields: {},
      };
    case "answered": {
      const { reqId, route, end } = event;
      if (end.type === "delivered") return { level: "debug", message: `answered by ${route}`, fields: { reqId } };
      if (end.type === "unknown")
        return {
          level: "warn",
          message: `whether the answer by ${route} arrived is unknown: ${end.why}`,
          fields: { reqId },
        };
      return {
        level: "error",
        message: `the answer by ${route} failed: ${end.why}`,
        fields: { reqId, errcode: end.errcode },
      };
    }
  }
}

const dropReasons: Readonly<Record<DropWhy, string>> = {
  busy: "its chat is busy with another one",
  overload: "too many are waiting",
  replaced: "a newer one of its chat came",
  stopped: "the bot is stopping",
};

const abortReasons: Readonly<Record<AbortWhy, string>> = {
  stopped: "the line is over or the bot is stopping",
  replaced: "a newer message of its chat came",
  expired: "it took too long",
};

/** What was thrown, in its own words; anything can be. */
function said(error: unknown): string {
  if (error instanceof Error) return `${error.name}: ${error.message}`;
  return typeof error === "string" ? error : `a value that is no error (${typeof error})`;
}
