/** Texts that a client must survive, by name: what no schema foresees, and what a gateway may one day send. */
import type { OddFrame } from "./schedule.ts";

/** The text of an odd frame. */
export function oddFrame(what: OddFrame): string {
  return texts[what];
}

const texts: Readonly<Record<OddFrame, string>> = {
  "not-json": '{"cmd":"aibot_msg_callback","headers":',
  empty: "",
  null: "null",
  array: "[]",
  number: "42",
  "unknown-cmd": '{"cmd":"aibot_new_thing","headers":{"req_id":"odd1"},"body":{"x":[1,{"y":null}]}}',
  "unknown-event": event("a_new_event"),
  "unknown-msgtype": message("hologram", '"hologram":{"depth":3}'),
  "missing-body": '{"cmd":"aibot_msg_callback","headers":{"req_id":"odd2"}}',
  "control-chars": message("text", '"text":{"content":"a\tb\nc\u0000d\u001be"}'),
  "server-ping": '{"cmd":"ping","headers":{"req_id":"odd3"}}',
  "huge-integer": '{"headers":{"req_id":"odd4"},"errcode":123456789012345678901234567890,"errmsg":"ok"}',
  "binary-noise": "\u0000\u0001\ufffd\u007f{",
};

function event(eventtype: string): string {
  return `{"cmd":"aibot_event_callback","headers":{"req_id":"odd5"},"body":{"msgid":"odd-event","msgtype":"event","event":{"eventtype":"${eventtype}"}}}`;
}

function message(msgtype: string, rest: string): string {
  return `{"cmd":"aibot_msg_callback","headers":{"req_id":"odd6"},"body":{"msgid":"odd-${msgtype}","chattype":"single","from":{"userid":"odd"},"msgtype":"${msgtype}",${rest}}}`;
}
