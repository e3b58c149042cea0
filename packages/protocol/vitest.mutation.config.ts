import { defineConfig } from "vitest/config";

/** The tests that judge mutants: those of the machines. The rest of the package's tests would only cost time. */
export default defineConfig({
  test: {
    include: ["test/{backoff,budget,connection,connection.properties,requests,stream,text,upload}.test.ts"],
  },
});
