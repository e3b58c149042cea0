import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test as plain } from "vitest";
import { test } from "../../../examples/testing/gateway.fixture.ts";
import { leftOut } from "../../../tools/left-out.ts";
import { Client } from "./client.ts";

test("the vitest fixture gives a test a gateway of its own", async ({ gateway }) => {
  const client = await Client.echo(gateway.url);
  expect(await gateway.say("bot", "hi", { waitMs: 5000 })).toMatchObject({ reply: "echo: hi" });
  client.close();
});

test("and the next test a fresh one", ({ gateway }) => {
  expect(gateway.bots()).toEqual([]);
});

plain("the pytest fixture does the same for Python", (context) => {
  const python = ["python3", "python"].find((name) => spawnSync(name, ["-c", "import pytest"]).status === 0);
  if (python === undefined) return leftOut(context, "the pytest fixture", "no Python with pytest is installed");
  const cli = fileURLToPath(new URL("../src/cli.ts", import.meta.url));
  const run = spawnSync(python, ["-B", "-m", "pytest", "-q", "-p", "no:cacheprovider"], {
    cwd: fileURLToPath(new URL("../../../examples/testing/", import.meta.url)),
    env: { ...process.env, OPENWS_GATEWAY: `"${process.execPath}" "${cli}"` },
    encoding: "utf8",
  });
  expect(run.stdout).toMatch(/2 passed/);
});
