/**
 * What the protocol core does with a frame that came: decode it, judge it, find whose it is and say what follows, against
 * a bare `JSON.parse` of the same text. One process, one core, no socket; batches of both alternate, in processor time.
 */
import { type ConnectionInput, Connection, encode } from "@openws/protocol";
import { cpuMicros } from "./child.ts";
import { median, say } from "./row.ts";

const batches = 25;
const batch = 20_000;

const main = (): void => {
  const texts = {
    callback: Array.from({ length: batch }, (_, n) => callback(n)),
    ack: Array.from({ length: batch }, (_, n) => ack(n)),
  };
  const took: Record<keyof typeof texts, { ours: number[]; bare: number[] }> = {
    callback: { ours: [], bare: [] },
    ack: { ours: [], bare: [] },
  };
  for (let round = 0; round < batches + 5; round++)
    for (const kind of ["callback", "ack"] as const) {
      const ours = handle(kind, texts[kind]);
      const bare = parse(texts[kind]);
      // The first rounds are the compiler's.
      if (round < 5) continue;
      took[kind].ours.push(ours);
      took[kind].bare.push(bare);
    }
  for (const [kind, { ours, bare }] of Object.entries(took)) {
    const ratio = median(bare.map((micros, round) => micros / ours[round]!));
    say({
      what: `decode and handle ${kind === "ack" ? "an ack" : "a callback"}, one core`,
      unit: "/s",
      ours: 1e6 / median(ours),
      theirs: 1e6 / median(bare),
      against: "JSON.parse",
      ratio,
      aim: "≥ 0.3×",
      met: ratio >= 0.3,
    });
  }
};

/** Microseconds a frame. */
const handle = (kind: "callback" | "ack", texts: readonly string[]): number => {
  const connection = new Connection({ botId: "bot", secret: "secret", random: Math.random });
  const [dial] = connection.handle(0, { type: "start" });
  if (dial?.type !== "moved") throw new Error("a start should have moved it");
  const [, sent] = connection.handle(0, { type: "opened", socket: 1 });
  if (sent?.type !== "send") throw new Error("an open socket should have been subscribed on");
  const { headers } = JSON.parse(sent.text) as { headers: { req_id: string } };
  connection.handle(0, { type: "received", socket: 1, text: JSON.stringify({ headers, errcode: 0, errmsg: "ok" }) });
  if (kind === "ack") for (const request of requests) connection.handle(1, request);
  let effects = 0;
  const began = cpuMicros();
  for (const text of texts) effects += connection.handle(2, { type: "received", socket: 1, text }).length;
  const took = cpuMicros() - began;
  if (effects !== batch) throw new Error(`${batch} frames should have led to as many effects, not ${effects}`);
  return took / batch;
};

const parse = (texts: readonly string[]): number => {
  let members = 0;
  const began = cpuMicros();
  for (const text of texts) members += (JSON.parse(text) as { headers: object }).headers === undefined ? 0 : 1;
  const took = cpuMicros() - began;
  if (members !== batch) throw new Error("every frame has headers");
  return took / batch;
};

const callback = (n: number): string =>
  JSON.stringify({
    cmd: "aibot_msg_callback",
    headers: { req_id: `callback-${n}-9f86d081884c7d65` },
    body: {
      msgid: `CAIQ${n}rtOVBg==_9f86d081884c7d659a2feaa0c55ad015`,
      aibotid: "aibkPzV3qDyXo2n1",
      chatid: "wrkSFfCgAAxSgQ2YK8kfYW2WvPq3gA1A",
      chattype: "group",
      from: { userid: `user${n % 100}` },
      create_time: 1_764_000_000 + n,
      response_url: "https://qyapi.weixin.qq.com/cgi-bin/aibot/response?response_code=9f86d081884c7d659a2feaa0c55ad015",
      msgtype: "text",
      text: { content: "@RobotA What is the weather like in Shenzhen tomorrow, and do I need an umbrella? 谢谢" },
    },
  });

const ack = (n: number): string =>
  JSON.stringify({ headers: { req_id: `send_${n}_9f86d081884c7d65` }, errcode: 0, errmsg: "ok" });

const requests = Array.from({ length: batch }, (_, n): ConnectionInput => ({
  type: "request",
  key: n,
  frame: encode({
    cmd: "aibot_send_msg",
    headers: { req_id: `send_${n}_9f86d081884c7d65` },
    body: { chatid: "user", chat_type: 1, msgtype: "markdown", markdown: { content: "hello" } },
  }),
}));

main();
