// The figures as Prometheus reads them, beyond their names.
import { expect, it } from "vitest";
import { Metrics } from "../../src/service/metrics.ts";

it("what somebody is woken for is there as 0 before it counts, for every trouble and every webhook there is", async () => {
  const webhooks = [{ id: "wh_config" as string, circuit: "closed" as const, held: 0 }];
  const metrics = new Metrics(
    {
      bots: () => [],
      store: async () => ({ entries: 0, pendingDeliveries: 0, deadDeliveries: 0, unsentEntries: 0, bytes: 0 }),
      webhooks: () => webhooks,
      openStreams: () => 0,
      now: () => 0,
    },
    "0.0.0",
  );
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
