/**
 * Has a process load our packages as they are published, compiled by `tsc -b`, where they are, and not as they lie in the
 * repository: stripping the types of a hundred files costs a process 30 MB that no user of the packages pays.
 */
import { existsSync } from "node:fs";
import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";

const source = /\/packages\/(\w[\w-]*)\/src\/(.*)\.ts$/;

let hooked = false;

/** To be called before the first of our packages is imported. */
export const loadPublished = (): void => {
  if (hooked) return;
  hooked = true;
  registerHooks({
    resolve(specifier, context, nextResolve) {
      const resolved = nextResolve(specifier, context);
      const compiled = resolved.url.replace(source, "/packages/$1/dist/$2.js");
      return compiled === resolved.url || !existsSync(fileURLToPath(compiled))
        ? resolved
        : { ...resolved, url: compiled };
    },
  });
};
