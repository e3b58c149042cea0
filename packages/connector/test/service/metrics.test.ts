// The figures as Prometheus reads them, beyond their names.
import { expect, it } from "vitest";
import { Metrics, type Readings } from "../../src/service/metrics.ts";

const stored = { entries: 0, pendingDeliveries: 0, deadDeliveries: 0, unsentEntries: 0, bytes: 0 };

function metricsOf(readings: Partial<Readings> = {}): Metrics {
  const nothing: Readings = {
    bots: () => [],
    store: async () => stored,
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
