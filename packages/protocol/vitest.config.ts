import { defineConfig } from "vitest/config";

/** Files share their worker's modules: nothing in this package, nor in its tests, has a state that outlives a test. */
export default defineConfig({ test: { name: "protocol", include: ["test/**/*.test.ts"], isolate: false } });
