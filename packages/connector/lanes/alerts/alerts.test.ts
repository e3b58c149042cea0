// What Prometheus itself says of the alert rules and of the connector's figures. `.ci/run alerts` brings its tool.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { Metrics } from "../../src/service/metrics.ts";

const tool = process.env["OPENWS_PROMTOOL"];
if (tool === undefined) throw new Error("OPENWS_PROMTOOL names no promtool; .ci/run alerts fetches one");

const root = fileURLToPath(new URL("../../../../", import.meta.url));
const promtool = (args: readonly string[], input = ""): { readonly status: number | null; readonly said: string } => {
  const { status, stdout, stderr } = spawnSync(tool, args, { cwd: root, input, encoding: "utf8" });
  return { status, said: stdout + stderr };
};

test("the rules can be read", () => {
  const { status, said } = promtool(["check", "rules", "--lint-fatal", "deploy/prometheus/alerts.yaml"]);
  expect(said).toMatch(/SUCCESS: \d+ rules found/);
  expect(status).toBe(0);
});

test("each alert fires when it has to, and not before", () => {
  const { status, said } = promtool(["test", "rules", "packages/connector/lanes/alerts/rules.yaml"]);
  expect(said).toContain("SUCCESS");
  expect(status).toBe(0);
});

test("the figures are as Prometheus wants them, with whatever can be in them", async () => {
  const metrics = new Metrics(
    {
      bots: () => [{ id: "b", connection: "ready", subscribed: true, receiving: "yes", lastFrameAt: 1 }],
      store: async () => ({ entries: 1, pendingDeliveries: 1, deadDeliveries: 1, unsentEntries: 1, bytes: 1 }),
      storeTrouble: () => "full",
      sinks: async () => [{ id: "sink_s", pending: 1, lagMs: 2 }],
      webhooks: () => [{ id: "w", circuit: "open", held: 1 }],
      pacedChats: () => 1,
      inboxHeld: () => 1,
      openStreams: () => 1,
      now: () => 2,
    },
    "0.0.0",
  );
  metrics.received('a "quoted"\nbot', "text", 3);
  metrics.sent("b", "refused", 846_607);
  metrics.acked("b", 12);
  metrics.moved("b", "subscribing", "waiting", "throttled", 45_009);
  metrics.moved("b", "ready", "kicked", "another instance");
  metrics.line("b").frame("in", "aibot_msg_callback");
  metrics.line("b").acked("aibot_send_msg", 12, 846_607);
  metrics.pinged("b", 20);
  metrics.streamUnfinished("b");
  metrics.streamRotated("b");
  metrics.attempted("w", "failed", 7);
  metrics.attempted("w", "delivered", 7, 204);
  metrics.dead("w");
  metrics.media("in", 5);
  metrics.storeRefused("full");
  metrics.duplicate("b");
  metrics.loopLag(1);
  const { status, said } = promtool(["check", "metrics"], (await metrics.text()).text);
  expect(said).toBe("");
  expect(status).toBe(0);
});
