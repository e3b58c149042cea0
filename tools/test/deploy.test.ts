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
    storeTrouble: () => undefined,
    sinks: async () => [],
    webhooks: () => [],
    pacedChats: () => 0,
    inboxHeld: () => 0,
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

/** As much of a manifest as is looked at. */
interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: object };
  readonly spec: {
    readonly replicas?: number;
    readonly strategy?: object;
    readonly selector: { readonly matchLabels?: object };
    readonly ports?: readonly object[];
    readonly template?: {
      readonly metadata: { readonly labels: object };
      readonly spec: {
        readonly terminationGracePeriodSeconds: number;
        readonly securityContext: object;
        readonly containers: readonly Container[];
        readonly volumes: readonly {
          readonly name: string;
          readonly persistentVolumeClaim?: { readonly claimName: string };
          readonly secret?: { readonly secretName: string };
        }[];
      };
    };
  };
}

interface Container {
  readonly image: string;
  readonly env: readonly {
    readonly name: string;
    readonly value?: string;
    readonly valueFrom?: { readonly secretKeyRef: { readonly key: string } };
  }[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly livenessProbe: { readonly httpGet: object };
  readonly readinessProbe: { readonly httpGet: object };
  readonly securityContext: object;
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
}

describe("what is deployed", () => {
  test.each(["deploy/prometheus/alerts.yaml", "deploy/grafana/connector.json"])(
    "%s asks for metrics that there are",
    (path) => {
      const names = used(read(path));
      expect(names.length).toBeGreaterThan(5);
      expect(names.filter((name) => !metrics.has(name))).toEqual([]);
    },
  );

  test("docs/service.md has each figure that there is, and says of it what the connector does", () => {
    const documented = [...read("docs/service.md").matchAll(/^\| `(openws_\w+)` +\| (\w+) +\| .*? \| (.+?) +\|$/gm)];
    const shown = [...text.matchAll(/^# HELP (\S+) (.*)\n# TYPE \S+ (\w+)$/gm)];
    const said = (name = "", type = "", what = ""): string => `${name} ${type}: ${what}`;
    expect(documented.map(([, name, type, what]) => said(name, type, what)).toSorted()).toEqual(
      shown.map(([, name, what, type]) => said(name, type, what)).toSorted(),
    );
  });

  test("is YAML or JSON that can be read", () => {
    for (const path of globSync("{deploy,examples}/**/*.{yaml,json}", { cwd: root }))
      for (const document of parseAllDocuments(read(path))) expect(document.errors, path).toEqual([]);
  });

  // No cluster is at hand: what a cluster would refuse, or do wrong with it, is looked for by name.
  test("on Kubernetes is one pod at a time, unprivileged, alive when kicked, ended in its time, with all that it mounts", () => {
    const text = read("examples/kubernetes/connector.yaml");
    const documents = parseAllDocuments(text).map((each) => each.toJS() as Manifest);
    expect(documents.map(({ apiVersion, kind }) => `${apiVersion} ${kind}`)).toEqual([
      "v1 PersistentVolumeClaim",
      "apps/v1 Deployment",
      "v1 Service",
    ]);
    const [claim, deployment, service] = documents as [Manifest, Manifest, Manifest];
    const { replicas, strategy, selector, template } = deployment.spec;
    // Two at once would kick each other.
    expect({ replicas, strategy }).toEqual({ replicas: 1, strategy: { type: "Recreate" } });
    expect(template!.metadata.labels).toEqual(selector.matchLabels);
    expect(service.spec.selector).toEqual(selector.matchLabels);
    const pod = template!.spec;
    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000 });
    const [container] = pod.containers;
    expect(container!.securityContext).toEqual({
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ["ALL"] },
    });
    const { version } = JSON.parse(read("packages/connector/package.json")) as { version: string };
    expect(container!.image).toBe(`localhost/openws-connector:${version}`);
    const containerfile = read("packages/connector/Containerfile");
    expect(containerfile).toMatch(/^USER 1000:1000$/m);
    const env = new Map(container!.env.map((each) => [each.name, each]));
    expect(pod.terminationGracePeriodSeconds * 1_000).toBeGreaterThan(Number(env.get("OPENWS_DRAIN_MS")!.value));
    const [port] = container!.ports;
    expect(containerfile).toMatch(new RegExp(`EXPOSE ${port!.containerPort}\\b`));
    expect(container!.livenessProbe.httpGet).toEqual({ path: "/livez", port: port!.name });
    expect(container!.readinessProbe.httpGet).toEqual({ path: "/readyz", port: port!.name });
    expect(service.spec.ports).toMatchObject([{ port: port!.containerPort, targetPort: port!.name }]);
    // Everything that is mounted is there, and everything that is there is mounted.
    expect(container!.volumeMounts.map(({ name }) => name).toSorted()).toEqual(
      pod.volumes.map(({ name }) => name).toSorted(),
    );
    expect(pod.volumes.flatMap(({ persistentVolumeClaim: of }) => of?.claimName ?? [])).toEqual([claim.metadata.name]);
    // What the comment at its head has people make is what it reads.
    const [, secret, literals = ""] = /create secret generic (\S+) (.*)$/m.exec(text) ?? [];
    const made = [...literals.matchAll(/--from-literal=([\w-]+)=/g)].map(([, name = ""]) => name);
    expect(pod.volumes.flatMap((each) => each.secret?.secretName ?? [])).toEqual([secret]);
    const mount = container!.volumeMounts.find(({ mountPath }) => mountPath.startsWith("/run/secrets"))!.mountPath;
    const needed = container!.env.flatMap(({ value, valueFrom }) => {
      if (valueFrom !== undefined) return [valueFrom.secretKeyRef.key];
      return value!.startsWith(`${mount}/`) ? [value!.slice(mount.length + 1)] : [];
    });
    expect(needed.toSorted()).toEqual(made.toSorted());
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
