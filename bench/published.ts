/**
 * Has a process load our packages as they are published, compiled (`tsc -b` must have run), and not as they lie in the
 * repository: stripping the types of a hundred files costs a process 30 MB that no user of the packages pays.
 */
import { registerHooks } from "node:module";

const source = /\/packages\/(\w[\w-]*)\/src\/(.*)\.ts$/;

let hooked = false;

/** To be called before the first of our packages is imported. */
export const loadPublished = (): void => {
  if (hooked) return;
  hooked = true;
  registerHooks({
    resolve(specifier, context, nextResolve) {
      const resolved = nextResolve(specifier, context);
      return { ...resolved, url: resolved.url.replace(source, "/packages/$1/dist/$2.js") };
    },
  });
};
