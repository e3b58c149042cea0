// The figures as Prometheus reads them, beyond their names.
import { expect, it } from "vitest";
import { Metrics, type Readings } from "../../src/service/metrics.ts";

const stored = { entries: 0, pendingDeliveries: 0, deadDeliveries: 0, unsentEntries: 0, bytes: 0 };

function metricsOf(readings: Partial<Readings> = {}): Metrics {
  const nothing: Readings = {
    bots: () => [],
    store: async () => stored,
    storeTrouble: () => undefined,
    webhooks: () => [],
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
  const move = (to: string, why: string, afterMs: number): void => {
    now += afterMs;
    metrics.moved("bot", to, why);
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
