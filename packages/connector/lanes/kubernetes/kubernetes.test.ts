// The Kubernetes manifests against Kubernetes' own schemas, of its newest release and of one that clusters still run.
// `.ci/run kubernetes` brings the validator with the schemas in it; no cluster is asked.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";

const tool = process.env["OPENWS_KUBERNETES_VALIDATE"];
if (tool === undefined)
  throw new Error("OPENWS_KUBERNETES_VALIDATE names no validator; .ci/run kubernetes installs one");

const manifest = fileURLToPath(new URL("../../../../examples/kubernetes/connector.yaml", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "openws-kubernetes-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Strict: a field that Kubernetes has not is refused, not ignored. */
function validate(path: string, release: string): { readonly status: number | null; readonly said: string } {
  const { status, stdout, stderr } = spawnSync(tool!, ["--strict", "-k", release, path], { encoding: "utf8" });
  return { status, said: stdout + stderr };
}

describe.each(["1.37", "1.27"])("Kubernetes %s", (release) => {
  test("takes the manifests, each of their resources", () => {
    const { status, said } = validate(manifest, release);
    expect(said.match(/ passed for resource \S+ against version \S+/g)?.map((line) => line.split(" ")[4])).toEqual([
      "persistentvolumeclaim/openws-data",
      "deployment/openws-connector",
      "service/openws-connector",
    ]);
    expect(status).toBe(0);
  });

  test.each([
    ["a field it has not", "terminationGracePeriodSeconds:", "terminationGraceSeconds:"],
    ["a number where it wants a text", 'value: "8000"', "value: 8000"],
    ["a list where it wants a map", "matchLabels: { app: openws-connector }", "matchLabels: [app]"],
  ])("would refuse %s", (_, right, wrong) => {
    const text = readFileSync(manifest, "utf8");
    expect(text).toContain(right);
    const path = join(folder, "wrong.yaml");
    writeFileSync(path, text.replace(right, wrong));
    const { status, said } = validate(path, release);
    expect(said).toMatch(/did not validate for resource deployment\/openws-connector/);
    expect(status).toBe(1);
  });
});
