// The slower lanes: tests that `npm test` leaves out, and why. They live in `packages/*/lanes/NAME/` or
// `tools/lanes/NAME/`, run one by one with `npm run lane -- NAME`, and all of them in `.ci/run`, which also installs
// what they need. A test holds this table, the folders and `.ci/run` together.

/** What a lane is for, by its name. */
export const LANES: Readonly<Record<string, string>> = {
  line: "a silent drop, a kick and an outage with the connector's own durations: six minutes of waiting",
  behaviours: "each of the client's 85 behaviours broken in turn, its test run there: 85 short runs",
  kills: "the connector killed under load thirty times and every message accounted for; its system calls: minutes",
  alerts: "the alert rules and the figures by Prometheus' own tool: needs a Debian to fetch it from",
  kubernetes: "the manifests against Kubernetes' own schemas: needs Python 3 and its index for the validator",
  fidelity: "each behaviour of the mock taken away in a copy, its test run there: some 150 short runs",
  pack: "the packages as they would be published, installed by npm: needs the registry and half a minute",
  deno: "the connector's sockets, files, handlers and service on Deno: needs 100 MB of Deno from the registry",
  bun: "the connector's sockets, files, handlers and service on Bun: needs 100 MB of Bun from the registry",
  python:
    "Python bots against the mock, the reference client against the suite: needs Python 3, its index, three minutes",
  brokers:
    "queue sinks against real brokers that are killed: needs root, their Debian packages, Maven; half a minute each",
  leases:
    "replicas that fail over forty times and hand over twenty, the lease in SQLite and three servers: needs those",
  webhooks: "deliveries verified in Rust, Go, Java and Python: needs their tools and packages, a minute the first time",
  containers: "the image of the mock, frozen, cut off and ended: needs root, podman and a base image from Debian",
  rust: "a bot on a Rust library against the mock: needs cargo, and minutes to build it the first time",
};

/** The folders that may hold the tests of a lane, as a glob. */
export function laneTests(name: string): string {
  return `{packages/*,tools}/lanes/${name}/**/*.test.ts`;
}
