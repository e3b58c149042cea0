import { defineConfig } from "vitest/config";

export default defineConfig({ test: { name: "connector", include: ["test/**/*.test.ts"] } });
