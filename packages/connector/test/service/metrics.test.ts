// The figures as Prometheus reads them, beyond their names.
import type { Cause, ConnectionStateName } from "@openws/protocol";
import { describe, expect, it } from "vitest";
import { createBot } from "../../src/bot.ts";
import { Metrics, type Readings } from "../../src/service/metrics.ts";
import { type Service, createService } from "../../src/service/service.ts";
import { nodeCipher } from "../../src/service/store.cipher.ts";
import { MemoryStore } from "../../src/service/store.memory.ts";
import { count } from "../../src/service/telemetry.ts";
import { VirtualRuntime, callback } from "../virtual.ts";
import { manualClock } from "./clock.ts";

const stored = { entries: 0, pendingDeliveries: 0, deadDeliveries: 0, unsentEntries: 0, bytes: 0 };

function metricsOf(readings: Partial<Readings> = {}): Metrics {
  const nothing: Readings = {
    bots: () => [],
    store: async () => stored,
    storeTrouble: () => undefined,
    sinks: async () => [],
    webhooks: () => [],
    pacedChats: () => 0,
    inboxHeld: () => 0,
    openStreams: () => 0,
    now: () => 0,
  };
  return new Metrics({ ...nothing, ...readings }, "0.0.0");
}

it("what somebody is woken for is there as 0 before it counts, for every trouble and every webhook there is", async () => {
  const webhooks = [{ id: "wh_config" as string, circuit: "closed" as const, held: 0 }];
  const metrics = metricsOf({ webhooks: () => webhooks });
  const first = await metrics.text();
  expect(first.text).toContain('openws_dead_letters_total{webhook="wh_config"} 0\n');
  for (const trouble of ["full", "locked", "corrupt", "newer", "unwritable", "fenced", "closed", "failed"])
    expect(first.text).toContain(`openws_store_refusals_total{trouble="${trouble}"} 0\n`);
  metrics.dead("wh_config");
  metrics.storeRefused("full");
  webhooks.push({ id: "wh_later", circuit: "closed", held: 0 });
  const second = await metrics.text();
  expect(second.text).toContain('openws_dead_letters_total{webhook="wh_config"} 1\n');
  expect(second.text).toContain('openws_dead_letters_total{webhook="wh_later"} 0\n');
  expect(second.text).toContain('openws_store_refusals_total{trouble="full"} 1\n');
});

it("no word of the gateway's choice becomes a series: a thousand kinds nobody has heard of are one", async () => {
  const metrics = metricsOf();
  for (let nth = 0; nth < 1_000; nth++) metrics.received("bot", `kind_${nth}`, 1);
  for (const kind of ["text", "enter_chat"]) metrics.received("bot", kind, 1);
  const { text } = await metrics.text();
  expect(text.match(/^openws_messages_received_total\{.*$/gm)).toEqual([
    'openws_messages_received_total{bot="bot",kind="other"} 1000',
    'openws_messages_received_total{bot="bot",kind="text"} 1',
    'openws_messages_received_total{bot="bot",kind="enter_chat"} 1',
  ]);
});

it("whether the lease is held is told by replicas alone", async () => {
  let held = false;
  const metrics = metricsOf({ leaseHeld: () => held });
  expect((await metrics.text()).text).toContain("openws_lease_held 0\n");
  held = true;
  expect((await metrics.text()).text).toContain("openws_lease_held 1\n");
  expect((await metricsOf().text()).text).not.toContain("lease");
});

it("the store is asked once a time, however much is told of it, and anew each time", async () => {
  let asked = 0;
  const metrics = metricsOf({ store: async () => ({ ...stored, entries: ++asked, bytes: asked * 10 }) });
  for (const time of [1, 2]) {
    const { text } = await metrics.text();
    expect(text).toContain(`openws_ledger_entries ${time}\n`);
    expect(text).toContain(`openws_store_bytes ${time * 10}\n`);
  }
  expect(asked).toBe(2);
});

it("a store that does not even answer takes no other figure with it, and its trouble is a figure as long as it lasts", async () => {
  let trouble: string | undefined = "corrupt";
  const store = (): Promise<typeof stored> =>
    trouble === undefined ? Promise.resolve(stored) : Promise.reject(new Error("the database is damaged"));
  const metrics = metricsOf({ store, storeTrouble: () => trouble });
  const during = await metrics.text();
  expect(during.text).toContain('openws_store_refusing{trouble="corrupt"} 1\n');
  expect(during.text).toContain('openws_store_refusing{trouble="full"} 0\n');
  expect(during.text).toContain("openws_streams_open 0\n");
  expect(during.text).not.toMatch(/^openws_ledger_entries \d/m);
  trouble = undefined;
  const after = await metrics.text();
  expect(after.text).toContain('openws_store_refusing{trouble="corrupt"} 0\n');
  expect(after.text).toContain("openws_ledger_entries 0\n");
});

it("seconds without a line are counted: from a silent line's last frame, while they last, and not for another's line", async () => {
  let now = 1_000_000;
  let lastFrameAt: number | undefined;
  const bot = { id: "bot", connection: "ready", subscribed: true, receiving: "yes" } as const;
  const metrics = metricsOf({ now: () => now, bots: () => [{ ...bot, lastFrameAt }] });
  const deaf = async (): Promise<number> =>
    Number(/^openws_deaf_seconds_total\{bot="bot"\} (\S+)$/m.exec((await metrics.text()).text)?.[1]);
  expect(await deaf()).toBe(0);
  let from = "idle";
  const move = (to: string, why: string, afterMs: number): void => {
    now += afterMs;
    metrics.moved("bot", from, to, why);
    from = to;
  };
  move("dialing", "started", 0);
  move("subscribing", "opened", 100);
  move("ready", "subscribed", 400);
  expect(await deaf()).toBe(0.5);
  // Forty seconds until it is noticed, two until there is another one; somebody looks in between.
  lastFrameAt = now;
  move("waiting", "ping-timeout", 40_000);
  now += 1_000;
  expect(await deaf()).toBe(41.5);
  move("dialing", "due", 500);
  move("ready", "subscribed", 500);
  expect(await deaf()).toBe(42.5);
  // A closed socket says so at once.
  lastFrameAt = now;
  move("waiting", "closed", 20_000);
  move("ready", "subscribed", 1_500);
  move("kicked", "kicked", 5_000);
  now += 3_600_000;
  expect(await deaf()).toBe(44);
  metrics.lost("bot");
  expect((await metrics.text()).text).toContain('openws_messages_lost_total{bot="bot"} 1\n');
});

it("frames are counted by command and direction, and a thousand commands and errcodes nobody has heard of are one", async () => {
  const metrics = metricsOf();
  const line = metrics.line("bot");
  for (let nth = 0; nth < 1_000; nth++) {
    line.frame("in", `cmd_${nth}`);
    line.acked(`cmd_${nth}`, 1, 900_000 + nth);
    metrics.sent("bot", "refused", 900_000 + nth);
    metrics.moved("bot", "subscribing", "waiting", "subscribe-failed", 900_000 + nth);
  }
  // Asked for again, as for a bot that was changed, it goes on counting.
  metrics.line("bot").frame("out", "aibot_send_msg");
  line.frame("out", "aibot_send_msg");
  line.frame("in", "ack");
  line.acked("aibot_send_msg", 150, 846_607);
  line.acked("aibot_send_msg", 250, 0);
  for (const time of [1, 2]) {
    const { text } = await metrics.text();
    expect(
      text.match(/^openws_(frames_total|ack_errors_total|refusals_total|subscribe_errors_total)\{.*$/gm),
      `${time}`,
    ).toEqual([
      'openws_refusals_total{bot="bot",errcode="other"} 1000',
      'openws_subscribe_errors_total{bot="bot",errcode="other"} 1000',
      'openws_frames_total{bot="bot",direction="in",cmd="other"} 1000',
      'openws_frames_total{bot="bot",direction="in",cmd="ack"} 1',
      'openws_frames_total{bot="bot",direction="out",cmd="aibot_send_msg"} 2',
      'openws_ack_errors_total{bot="bot",cmd="other",errcode="other"} 1000',
      'openws_ack_errors_total{bot="bot",cmd="aibot_send_msg",errcode="846607"} 1',
    ]);
    expect(text).toContain('openws_ack_seconds_sum{bot="bot",cmd="aibot_send_msg"} 0.4\n');
    expect(text).toContain('openws_ack_seconds_count{bot="bot",cmd="aibot_send_msg"} 2\n');
    expect(text).toContain('openws_ack_seconds_count{bot="bot",cmd="other"} 1000\n');
  }
});

it("each try to get a line has one result, and what a socket is closed with is no errcode", async () => {
  const metrics = metricsOf();
  const move = (from: ConnectionStateName, to: ConnectionStateName, why: Cause, code?: number): void =>
    count(metrics, {
      of: "bot",
      bot: "bot",
      event: {
        type: "moved",
        from,
        to,
        why,
        sentence: { en: "", zh: "" },
        ...(code !== undefined && { detail: { code, text: "" } }),
      },
    });
  move("idle", "dialing", "start");
  move("dialing", "waiting", "dial-timeout");
  move("waiting", "dialing", "retry");
  move("dialing", "subscribing", "opened");
  move("subscribing", "waiting", "closed", 1_006);
  move("subscribing", "waiting", "throttled", 45_009);
  move("subscribing", "refused", "credentials", 853_000);
  move("subscribing", "ready", "subscribed");
  move("ready", "waiting", "closed", 1_006);
  move("ready", "waiting", "not-subscribed", 846_609);
  expect((await metrics.text()).text.match(/^openws_(connects|subscribe_errors)_total\{.*$/gm)).toEqual([
    'openws_connects_total{bot="bot",result="dial-timeout"} 1',
    'openws_connects_total{bot="bot",result="closed"} 1',
    'openws_connects_total{bot="bot",result="throttled"} 1',
    'openws_connects_total{bot="bot",result="credentials"} 1',
    'openws_connects_total{bot="bot",result="subscribed"} 1',
    'openws_subscribe_errors_total{bot="bot",errcode="45009"} 1',
    'openws_subscribe_errors_total{bot="bot",errcode="853000"} 1',
  ]);
});

it("what waits is read when somebody looks: chats at their limit, by bot and by no chat, and what no store has", async () => {
  const bot = { connection: "ready", subscribed: true, receiving: "yes", lastFrameAt: undefined } as const;
  let held = 3;
  const metrics = metricsOf({
    bots: () => ["a", "b"].map((id) => ({ id, ...bot })),
    pacedChats: (id) => (id === "a" ? 2 : 0),
    inboxHeld: () => held,
  });
  const { text } = await metrics.text();
  expect(text).toContain('openws_quota_chats_paced{bot="a"} 2\nopenws_quota_chats_paced{bot="b"} 0\n');
  expect(text).toContain("openws_inbox_depth 3\n");
  held = 0;
  expect((await metrics.text()).text).toContain("openws_inbox_depth 0\n");
});

it("the time to a webhook's answer is told by the class of its status, or that there was no answer", async () => {
  const metrics = metricsOf();
  for (const [outcome, status] of [
    ["delivered", 204],
    ["delivered", 200],
    ["failed", 503],
    ["failed", undefined],
  ] as const)
    metrics.attempted("wh", outcome, 100, status);
  expect((await metrics.text()).text.match(/^openws_webhook_seconds_count\{.*$/gm)).toEqual([
    'openws_webhook_seconds_count{webhook="wh",code="2xx"} 2',
    'openws_webhook_seconds_count{webhook="wh",code="5xx"} 1',
    'openws_webhook_seconds_count{webhook="wh",code="none"} 1',
  ]);
});

it("acks are counted in the bucket they fall into and in all above it, with labels that Prometheus can read", async () => {
  const metrics = metricsOf();
  const line = metrics.line('a "bot"');
  for (const ms of [50, 51, 250, 9_999, 60_000]) line.acked("aibot_send_msg", ms, 0);
  const { text } = await metrics.text();
  expect(text).toContain("# TYPE openws_ack_seconds histogram\n");
  const series = String.raw`bot="a \"bot\"",cmd="aibot_send_msg"`;
  const buckets = { 0.05: 1, 0.1: 2, 0.2: 2, 0.3: 3, 0.5: 3, 1: 3, 2: 3, 5: 3, 10: 4, "+Inf": 5 };
  expect(text.match(/^openws_ack_seconds.*$/gm)?.toSorted()).toEqual(
    [
      ...Object.entries(buckets).map(([le, count]) => `openws_ack_seconds_bucket{le="${le}",${series}} ${count}`),
      `openws_ack_seconds_sum{${series}} 70.35`,
      `openws_ack_seconds_count{${series}} 5`,
    ].toSorted(),
  );
});

describe("of a bot over a line", () => {
  /** A service whose bot is subscribed, and its figures. */
  async function begin(): Promise<{
    service: Service;
    runtime: VirtualRuntime;
    /** Lets both clocks go on. */
    advance: (ms: number) => Promise<void>;
    figures: (pattern: RegExp) => Promise<readonly string[] | null>;
  }> {
    const runtime = new VirtualRuntime();
    const clock = manualClock();
    const metrics = metricsOf({ bots: () => (made.service?.bots() ?? []).map(({ id, state }) => ({ id, ...state })) });
    const made: { service?: Service } = {};
    const service = await createService({
      store: new MemoryStore(),
      clock,
      cipher: nodeCipher,
      storeKey: new Uint8Array(32).fill(7),
      makeBot: ({ id, secret, seen, spent }) =>
        createBot({ botId: id, secret, seen, spent, runtime, meter: metrics.line(id) }),
      bots: [{ id: "bot", secret: "s3cret" }],
      post: () => Promise.reject(new Error("there is no webhook")),
      baseUrl: () => "http://127.0.0.1:8910",
      tell: (event) => count(metrics, event),
    });
    made.service = service;
    service.start();
    (await runtime.subscribe()).acknowledge();
    await clock.settle();
    const advance = async (ms: number): Promise<void> => {
      for (let left = ms; left > 0; left -= 1_000) {
        await clock.advance(Math.min(left, 1_000));
        await runtime.advance(Math.min(left, 1_000));
      }
      await clock.settle();
    };
    return {
      service,
      runtime,
      advance,
      figures: async (pattern) => (await metrics.text()).text.match(new RegExp(`^openws_(${pattern.source}).*$`, "gm")),
    };
  }

  it("pings are timed from when they left to when they were answered", async () => {
    const { runtime, advance, figures } = await begin();
    runtime.socket.onSend = undefined;
    await advance(30_000);
    await advance(400);
    runtime.socket.ack(runtime.socket.of("ping").at(-1)!.headers.req_id);
    expect(await figures(/ping_rtt_seconds_(sum|count)/)).toEqual([
      'openws_ping_rtt_seconds_sum{bot="bot"} 0.4',
      'openws_ping_rtt_seconds_count{bot="bot"} 1',
    ]);
    expect(await figures(/frames_total\{/)).toEqual([
      'openws_frames_total{bot="bot",direction="in",cmd="ack"} 2',
      'openws_frames_total{bot="bot",direction="out",cmd="aibot_subscribe"} 1',
      'openws_frames_total{bot="bot",direction="out",cmd="ping"} 1',
    ]);
  });

  it("a bubble that goes on in another one is a rotation, and one whose end was refused is unfinished", async () => {
    const { service, runtime, advance, figures } = await begin();
    const zero = ['openws_stream_rotations_total{bot="bot"} 0', 'openws_streams_unfinished_total{bot="bot"} 0'];
    const both = async (): Promise<string[]> =>
      [...((await figures(/stream_rotations_total\{|streams_unfinished_total\{/)) ?? [])].toSorted();
    expect(await both()).toEqual(zero);
    runtime.socket.receive(callback("hello"));
    await advance(1_000);
    const [came] = await service.store.entries({ directions: ["in"], limit: 1 });
    const whole = await service.outbox.stream(came!.seq);
    await whole.append("It begins. ");
    // Nine minutes later it is ended, before the gateway ends it.
    for (let minute = 0; minute < 10; minute++) {
      await advance(60_000);
      await whole.append("And goes on. ");
    }
    await advance(10_000);
    expect(await both()).toEqual(['openws_stream_rotations_total{bot="bot"} 1', zero[1]]);
    await whole.finish("The end.");
    await advance(10_000);
    expect(await both()).toEqual(['openws_stream_rotations_total{bot="bot"} 1', zero[1]]);
    // What was ended for its age, and had no more to say, went on in no other.
    const old = await service.outbox.stream(came!.seq);
    await old.append("All there is.\n");
    await advance(560_000);
    await old.finish();
    await advance(10_000);
    expect(await both()).toEqual(['openws_stream_rotations_total{bot="bot"} 1', zero[1]]);
    const cut = await service.outbox.stream(came!.seq);
    await cut.append("It begins. ");
    await advance(5_000);
    runtime.socket.acknowledge((frame) => (frame.cmd === "ping" ? 0 : 93_006));
    await cut.finish("The end.");
    await advance(60_000);
    expect(await both()).toEqual([
      'openws_stream_rotations_total{bot="bot"} 1',
      'openws_streams_unfinished_total{bot="bot"} 1',
    ]);
  });
});
