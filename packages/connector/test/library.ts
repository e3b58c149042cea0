/**
 * The library as this runtime's users get it. The tests that import it run on Node, and in the lanes `deno` and `bun` on
 * these as well.
 */
const { versions } = process;

/** What runs the tests. */
export const runtimeName = versions["bun"] !== undefined ? "bun" : versions["deno"] !== undefined ? "deno" : "node";

/** The entry file that the package's export conditions choose, with its runtime under one name. */
export const { createBot, nativeRuntime } =
  runtimeName === "bun"
    ? await import("../src/index.bun.ts").then(({ createBot, bunRuntime: nativeRuntime }) => ({
        createBot,
        nativeRuntime,
      }))
    : await import("../src/index.ts").then(({ createBot, nodeRuntime: nativeRuntime }) => ({
        createBot,
        nativeRuntime,
      }));
