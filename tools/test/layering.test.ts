import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, onTestFinished, test } from "vitest";
import { checkRepository, violations } from "../layering.ts";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

test("this repository keeps its rules", () => {
  expect(checkRepository(root)).toEqual([]);
});

describe("each rule refuses what it forbids", () => {
  test.for<[rule: string, file: string, source: string]>([
    ["the core imports no runtime", "protocol/src/connection.ts", `import { setTimeout } from "node:timers";`],
    ["the core imports no other package", "protocol/src/upload.ts", `import { Hono } from "hono";`],
    ["the core imports not even a runtime's types", "protocol/src/text.ts", `import type { Hash } from "node:crypto";`],
    ["the core imports no neighbour", "protocol/src/index.ts", `export * from "@openws/mock-gateway/session";`],
    [
      "the referee does not import the player",
      "mock-gateway/src/session.ts",
      `import { open } from "@openws/protocol";`,
    ],
    ["nor one of its machines", "mock-gateway/src/server.ts", `import "@openws/protocol/connection";`],
    ["nor a machine by path", "mock-gateway/src/world.ts", `import { u } from "../../protocol/src/upload.ts";`],
    ["nor by type", "mock-gateway/src/cli.ts", `import type { Connection } from "@openws/protocol";`],
    ["nor on demand", "mock-gateway/src/cli.ts", `const core = await import("@openws/protocol");`],
    ["nor the connector", "mock-gateway/src/server.ts", `import { createBot } from "@openws/connector";`],
    ["the suite never imports the connector", "conformance/src/cases/kick.ts", `import "@openws/connector";`],
    ["not even its types", "conformance/src/testee.ts", `import type { Bot } from "@openws/connector";`],
    [
      "only the simulator imports the core",
      "conformance/src/invariants.ts",
      `import { open } from "@openws/protocol";`,
    ],
    ["the simulator does not start servers", "conformance/src/sim.ts", `import { start } from "@openws/mock-gateway";`],
    ["the connector does not import the mock", "connector/src/bot.ts", `import "@openws/mock-gateway/session";`],
    ["its testee runs without the suite", "connector/src/testee.ts", `import { serve } from "@openws/conformance";`],
    ["only its testee knows the suite", "connector/src/bot.ts", `import type { Testee } from "@openws/conformance";`],
    ["logic touches no runtime", "connector/src/bot.ts", `import { readFile } from "node:fs/promises";`],
    ["nor a package that needs one", "connector/src/driver.ts", `import WebSocket from "ws";`],
    ["the mock's rules touch none either", "mock-gateway/src/world.ts", `import { createHash } from "node:crypto";`],
    [
      "logic does not reach a runtime by a neighbour",
      "connector/src/bot.ts",
      `import { dial } from "./runtime.node.ts";`,
    ],
    ["nor an adapter", "connector/src/outbox.ts", `import { open } from "./store.sqlite.ts";`],
    ["the mock's rules start no server", "mock-gateway/src/session.ts", `import { startGateway } from "./server.ts";`],
    ["nor knows who may ask it", "mock-gateway/src/world.ts", `import { guard } from "./guard.ts";`],
    ["the console does not import the server", "mock-gateway/src/console/app.tsx", `import "../server.ts";`],
    ["a computed import is refused", "connector/src/bot.ts", `const name = "x"; await import(name);`],
    ["a re-export counts", "mock-gateway/src/index.ts", `export { open } from "@openws/protocol";`],
  ])("%s", ([, file, source]) => {
    const found = violations(`packages/${file}`, `// a comment\n${source}\n`);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatchObject({ file: `packages/${file}`, line: 2 });
    expect(found[0]?.reason).toMatch(/\w+ \w+/);
  });

  test("a package that no room covers is refused whole", () => {
    expect(violations("packages/newcomer/src/index.ts", "export {};")).toHaveLength(1);
  });
});

describe("what the design allows passes", () => {
  test.for<[file: string, source: string]>([
    ["protocol/src/frames.ts", `import { z } from "zod"; import { card } from "./cards.ts";`],
    [
      "mock-gateway/src/session.ts",
      `import { decode } from "@openws/protocol/frames"; import "@openws/protocol/cards";`,
    ],
    ["mock-gateway/src/server.ts", `import { WebSocketServer } from "ws"; import { createServer } from "node:http";`],
    ["mock-gateway/src/callbacks.ts", `import { encrypt } from "./media.ts";`],
    [
      "mock-gateway/src/testcontainers.ts",
      `import "node:crypto"; import type { GenericContainer } from "testcontainers";`,
    ],
    ["mock-gateway/src/index.ts", `export { startGateway } from "./server.ts";`],
    ["conformance/src/sim.ts", `import { Connection } from "@openws/protocol"; import "@openws/mock-gateway/session";`],
    ["conformance/src/cli.ts", `import { startGateway } from "@openws/mock-gateway"; import "node:util";`],
    ["connector/src/testee.ts", `import type { Testee } from "@openws/conformance"; import "node:readline";`],
    ["connector/src/sinks/kafka.ts", `import { Producer } from "@platformatic/kafka";`],
    [
      "connector/src/bot.ts",
      `import { Connection } from "@openws/protocol"; import type { Port } from "./runtime.ts";`,
    ],
  ])("%s: %s", ([file, source]) => {
    expect(violations(`packages/${file}`, source)).toEqual([]);
  });
});

test("the command names file, line and rule, and ends with 1", () => {
  const copy = mkdtempSync(join(tmpdir(), "openws-layering-"));
  onTestFinished(() => rmSync(copy, { recursive: true }));
  mkdirSync(join(copy, "packages/connector/src"), { recursive: true });
  cpSync(join(root, "tools/layering.ts"), join(copy, "tools/layering.ts"));
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"), "junction");
  writeFileSync(join(copy, "package.json"), `{"type":"module"}`);
  const command = [join(copy, "tools/layering.ts")];

  writeFileSync(join(copy, "packages/connector/src/bot.ts"), `import "@openws/protocol";\n`);
  expect(spawnSync(process.execPath, command, { encoding: "utf8" })).toMatchObject({ status: 0, stderr: "" });

  writeFileSync(join(copy, "packages/connector/src/bot.ts"), `\nimport "@openws/mock-gateway";\n`);
  const refused = spawnSync(process.execPath, command, { encoding: "utf8" });
  expect(refused.status).toBe(1);
  expect(refused.stderr).toMatch(/^packages\/connector\/src\/bot\.ts:2 "@openws\/mock-gateway": the client knows/);
});
