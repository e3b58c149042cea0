/** The entry that a test delivery carries. */
import type { Entry } from "../store.ts";
import type { Served } from "./served.ts";

/** A text message that nobody sent, under the number 0, which no stored entry has. */
export function sampleEntry(service: Pick<Served, "clock" | "bots">): Entry {
  const at = service.clock.now();
  return {
    seq: 0,
    bot: service.bots()[0]?.id ?? "test",
    direction: "in",
    kind: "text",
    chat: { id: "test", type: "single" },
    user: "test",
    msgid: `test-${at}`,
    state: "received",
    at,
    changedAt: at,
    body: { msgtype: "text", text: { content: "This is a test delivery. 这是一条测试消息。" } },
  };
}
