/** The behaviours' tests with one behaviour broken, the one that OPENWS_BROKEN names; see tools/broken.ts. */
import { defineConfig } from "vitest/config";
import { broken, packages } from "./tools/broken.ts";

const number = Number(process.env["OPENWS_BROKEN"]);

export default defineConfig({
  root: import.meta.dirname,
  plugins: [
    {
      name: "broken",
      enforce: "pre",
      transform: (code, id) => (id.startsWith(packages) ? broken(number, id.slice(packages.length), code) : undefined),
    },
  ],
  // A kept transform would be another break's, or none's.
  test: { fsModuleCache: false, include: ["test/behaviours/*.test.ts"], testTimeout: 12_000 },
});
