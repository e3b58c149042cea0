// What is deployed speaks of metrics, settings and routes by name: each must be one that the connector has.
import { globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseAllDocuments } from "yaml";
import { describe, expect, test } from "vitest";
import { settings } from "../../packages/connector/src/config.ts";
import { Metrics } from "../../packages/connector/src/service/metrics.ts";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const read = (path: string): string => readFileSync(join(root, path), "utf8");

const { text } = await new Metrics(
  {
    bots: () => [],
    store: async () => ({ entries: 0, pendingDeliveries: 0, deadDeliveries: 0, unsentEntries: 0, bytes: 0 }),
    webhooks: () => [],
    openStreams: () => 0,
    now: () => 0,
  },
  "0",
).text();
const metrics = new Set(
  [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].flatMap(([, name = "", type]) =>
    type === "histogram" ? [`${name}_bucket`, `${name}_count`, `${name}_sum`] : [name],
  ),
);
const used = (source: string): string[] => [...new Set(source.match(/\bopenws_[a-z_]+\b/g) ?? [])];

describe("what is deployed", () => {
  test.each(["deploy/prometheus/alerts.yaml", "deploy/grafana/connector.json"])(
    "%s asks for metrics that there are",
    (path) => {
      const names = used(read(path));
      expect(names.length).toBeGreaterThan(5);
      expect(names.filter((name) => !metrics.has(name))).toEqual([]);
    },
  );

  test("is YAML or JSON that can be read", () => {
    for (const path of globSync("{deploy,examples}/**/*.{yaml,json}", { cwd: root }))
      for (const document of parseAllDocuments(read(path))) expect(document.errors, path).toEqual([]);
  });

  test("sets only what the connector and the mock gateway know", () => {
    const known = new Set<string>(Object.values(settings).flatMap(({ env }) => env));
    for (const path of [
      "packages/connector/Containerfile",
      "examples/compose/compose.yaml",
      "examples/kubernetes/connector.yaml",
    ]) {
      const named = [...new Set(read(path).match(/\b(?:OPENWS|WECOM)_[A-Z_]+\b/g) ?? [])];
      const unknown = named.filter((name) => !known.has(name) && !name.startsWith("OPENWS_GATEWAY_"));
      expect(unknown, path).toEqual([]);
    }
  });
});
