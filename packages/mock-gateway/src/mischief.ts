/**
 * What faults make of a callback on its way out: odd frames before it, an odd text in its place.
 *
 * Text in, texts out: what no schema could produce is made here, from the JSON as it would have gone out.
 */
import { cmd } from "@openws/protocol/frames";
import type { FaultOf } from "./faults.ts";

/** The texts to send instead of a callback's, in order; the last one is the callback itself. */
export const oddTexts = (what: FaultOf<"odd-frame">["what"], text: string, reqId: string): string[] => {
  const frame = JSON.parse(text) as { cmd: string; headers: object; body: Record<string, unknown> };
  const before = (odd: unknown): string[] => [JSON.stringify(odd), text];
  switch (what) {
    case "control-chars":
      return [withControlCharacters(text)];
    case "unknown-field":
      return [
        JSON.stringify({
          ...frame,
          trace: { id: 1 },
          errcode: 0,
          headers: { ...frame.headers, hop: "a" },
          body: { ...frame.body, future: [null, { deep: true }] },
        }),
      ];
    case "huge-integer":
      // Written by hand: no JavaScript number holds it.
      return [
        text.replace('"body":{', '"body":{"create_time":9007199254740993000,"serial":123456789012345678901234567890,'),
      ];
    case "unknown-cmd":
      return before({ cmd: "aibot_hologram_callback", headers: { req_id: `${reqId}-odd` }, body: { msgid: "odd" } });
    case "unknown-msgtype":
      return before({
        cmd: cmd.message,
        headers: { req_id: `${reqId}-odd` },
        body: { ...frame.body, msgid: `${reqId}-odd`, msgtype: "hologram", hologram: { depth: 3 } },
      });
    case "unknown-event":
      return before({
        cmd: cmd.event,
        headers: { req_id: `${reqId}-odd` },
        body: {
          msgid: `${reqId}-odd`,
          aibotid: frame.body["aibotid"],
          msgtype: "event",
          event: { eventtype: "hologram_event" },
        },
      });
    case "missing-field":
      return before({ cmd: cmd.message, headers: { req_id: `${reqId}-odd` } });
    case "missing-chattype": {
      const { chattype: _, ...body } = frame.body;
      return [JSON.stringify({ ...frame, body })];
    }
    case "gateway-ping":
      return before({ cmd: cmd.ping, headers: { req_id: `${reqId}-odd` } });
    case "not-json":
      return ["", "{", '{"cmd":"aibot_msg_callback",', text];
    case "null":
      return ["null", text];
    case "array":
      return [`[${text}]`, text];
  }
};

/** Tab, line feed, carriage return, escape and NUL as raw characters in the middle of the first text there is. */
const withControlCharacters = (text: string): string => {
  const raw = "\t\n\r\u001b[0m\u0000";
  const at = text.indexOf('"content":"');
  return at < 0
    ? text.replace('"body":{', `"body":{"note":"a${raw}b",`)
    : `${text.slice(0, at + 11)}${raw}${text.slice(at + 11)}`;
};

/** The callback, at least so many bytes long. */
export const padded = (text: string, bytes: number): string =>
  text.replace('"body":{', `"body":{"padding":"${"x".repeat(Math.max(0, bytes - Buffer.byteLength(text)))}",`);
