// Who may import whom (ARCHITECTURE.md, "Rules between the rooms"). `npm run check` runs this file; it prints one line
// for each import that is not allowed and ends with 1.
//
// The tables below ARE the rules. They are allow-lists, because a ban has to foresee every mistake and an allowance
// only the few right ways; that is why this is not a lint rule. What a file touches without importing it (a clock, a
// timer, `process`) is banned in .oxlintrc.json instead.
//
// It deliberately knows nothing about tests, examples and benches: those may join what the packages keep apart.
import { globSync, readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { parseSync } from "oxc-parser";

/** One import that the rules forbid. */
export interface Violation {
  /** The importing file, relative to the repository's root, with forward slashes. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** What is imported, as it is written. */
  readonly specifier: string;
  /** A sentence: why it may not be. */
  readonly reason: string;
}

/**
 * What one group of files may import besides its own package's files. The first group that matches a file decides.
 * A file that touches a runtime (below) may in addition import any module that is not of this workspace.
 */
interface Room {
  /** Matched against the path below `packages/`, such as `connector/src/bot.ts`. */
  readonly files: RegExp;
  /** Modules that may be imported: exact specifiers, or a package with all its subpaths where it ends in `/*`. */
  readonly may: readonly string[];
  /** Like `may`, for `import type` alone. */
  readonly mayTypes?: readonly string[];
  /** Why, as the end of the sentence "… may not import …:". */
  readonly because: string;
}

/** The files that join the parts and start things: they know where they run. The mock's server has four of them. */
const ENTRY =
  /^(?:[\w-]+\/src\/(?:(?:main|runtime)(?:\.\w+)?|server|cli|testee|(?:cli|testees)\/.+)|mock-gateway\/src\/(?:index|admin|guard))\.ts$/;

/** The files that adapt a disk, a broker, a cipher, a container to a port of ours: the other half of what may touch a runtime. */
const ADAPTER =
  /^[\w-]+\/src\/(?:(?:service\/)?(?:store\.\w+|store\.\w+\.worker|media(?:\.\w+)?|(?:clock|post)\.\w+)|testcontainers|tls(?:\.\w+)?|(?:service\/)?sinks\/.+|lease\/(?:lease\.\w+|open))\.ts$/;

/** The files that only gather names: one a package, and one for each runtime where a package differs between them. */
const INDEX = /^[\w-]+\/src\/index(?:\.\w+)?\.ts$/;

const REFEREE = "the referee is written from spec/ and shares the data modules only, never the client's machines";
const SUITE = "the suite judges any client: it may know the frames and the mock, and only the simulator knows the core";
const CLIENT = "the client knows the protocol; only its testee knows the suite, and that by type alone";
const PURE = "only main.*, runtime.*, server, cli, testee and adapters touch a runtime or its packages";

/** What all of the mock's files may import. */
const REFEREE_MAY = [
  "@openws/protocol/frames",
  "@openws/protocol/cards",
  "@openws/protocol/errors",
  "zod",
  "hono",
  "hono/*",
];

const ROOMS: readonly Room[] = [
  {
    files: /^protocol\/src\//,
    may: ["zod", "zod/*"],
    because: "the core is pure, zod is all it needs",
  },
  {
    files: /^mock-gateway\/src\/console\//,
    may: ["preact", "preact/*", "@preact/signals", "markdown-it"],
    because: "the console is a page in a browser that speaks to the API alone",
  },
  {
    // The MD5 of an upload is a function of its bytes, and the mock runs on Node alone.
    files: /^mock-gateway\/src\/uploads\.ts$/,
    may: [...REFEREE_MAY, "node:crypto"],
    because: REFEREE,
  },
  {
    files: /^mock-gateway\/src\//,
    may: REFEREE_MAY,
    because: REFEREE,
  },
  {
    files: /^conformance\/src\/sim(?:\.ts$|\/)/,
    may: ["@openws/protocol", "@openws/protocol/*", "@openws/mock-gateway/*", "fast-check", "zod"],
    because: SUITE,
  },
  {
    // A case makes files and their hashes, and looks at what a client left on the disk.
    files: /^conformance\/src\/cases\//,
    may: [
      "node:crypto",
      "node:fs",
      "node:path",
      "@openws/protocol/frames",
      "@openws/mock-gateway",
      "@openws/mock-gateway/*",
      "fast-check",
      "zod",
    ],
    because: SUITE,
  },
  {
    files: /^conformance\/src\//,
    may: ["@openws/protocol/frames", "@openws/mock-gateway", "@openws/mock-gateway/*", "fast-check", "zod"],
    because: SUITE,
  },
  {
    files: /^connector\/src\/testee\.ts$/,
    may: ["@openws/protocol", "@openws/protocol/*"],
    mayTypes: ["@openws/conformance", "@openws/conformance/*"],
    because: CLIENT,
  },
  {
    files: /^connector\/src\//,
    // The last three run on every runtime: they have no dependencies and touch nothing.
    may: [
      "@openws/protocol",
      "@openws/protocol/*",
      "zod",
      "hono",
      "hono/*",
      "@hono/zod-openapi",
      "eventsource-parser",
      "prom-client",
      "re2js",
    ],
    because: CLIENT,
  },
];

/**
 * Judges one source file.
 *
 * @param file its path relative to the repository's root, with forward slashes: `packages/connector/src/bot.ts`
 * @param source its text
 */
export function violations(file: string, source: string): Violation[] {
  const path = file.replace(/^packages\//, "");
  const room = ROOMS.find(({ files }) => files.test(path));
  if (room === undefined) {
    const reason = "no room of tools/layering.ts covers this file: say there what it may import";
    return [{ file, line: 1, specifier: "", reason }];
  }
  return importsOf(file, source).flatMap(({ specifier, typeOnly, line }) => {
    const reason = specifier.startsWith(".")
      ? relativeImport(path, specifier, typeOnly)
      : packageImport(path, room, specifier, typeOnly);
    return reason === undefined ? [] : [{ file, line, specifier, reason }];
  });
}

interface Import {
  readonly specifier: string;
  readonly typeOnly: boolean;
  readonly line: number;
}

/** Every module that a file names: static imports, re-exports, and `import()` with a literal. */
function importsOf(file: string, source: string): Import[] {
  const { module, errors } = parseSync(file, source);
  if (errors[0] !== undefined) throw new Error(`${file} cannot be parsed: ${errors[0].message}`);
  const lineAt = (offset: number) => source.slice(0, offset).split("\n").length;
  const imports = module.staticImports.map(({ start, moduleRequest, entries }) => ({
    specifier: moduleRequest.value,
    typeOnly: entries.length > 0 && entries.every(({ isType }) => isType),
    line: lineAt(start),
  }));
  const exports = module.staticExports.flatMap(({ start, entries }) =>
    entries.flatMap(({ moduleRequest, isType }) =>
      moduleRequest === null ? [] : [{ specifier: moduleRequest.value, typeOnly: isType, line: lineAt(start) }],
    ),
  );
  const dynamic = module.dynamicImports.map(({ start, moduleRequest }) => ({
    // A computed specifier keeps its source text, which no allowance matches: it is refused.
    specifier: source.slice(moduleRequest.start, moduleRequest.end).replace(/^["'`](.*)["'`]$/s, "$1"),
    typeOnly: false,
    line: lineAt(start),
  }));
  return [...imports, ...exports, ...dynamic].sort((a, b) => a.line - b.line);
}

function relativeImport(path: string, specifier: string, typeOnly: boolean): string | undefined {
  const target = posix.join(posix.dirname(path), specifier);
  const home = path.split("/", 2).join("/");
  if (!target.startsWith(`${home}/`)) return `a relative import stays within ${home}: another package is named`;
  // An index only gathers names; what it gathers is judged where it lives.
  if (typeOnly || touchesRuntime(path) || INDEX.test(path)) return undefined;
  if (ENTRY.test(target)) return PURE;
  // The connector's logic runs on every runtime, so it is handed its adapters; the other packages run on Node alone.
  if (home === "connector/src" && ADAPTER.test(target)) return PURE;
  return undefined;
}

function packageImport(path: string, room: Room, specifier: string, typeOnly: boolean): string | undefined {
  if (room.may.some((allowed) => matches(allowed, specifier))) return undefined;
  if (typeOnly && room.mayTypes?.some((allowed) => matches(allowed, specifier)) === true) return undefined;
  if (specifier.startsWith("@openws/")) return room.because;
  if (path.startsWith("protocol/") || path.includes("/console/")) return room.because;
  return touchesRuntime(path) || typeOnly ? undefined : PURE;
}

function touchesRuntime(path: string): boolean {
  return ENTRY.test(path) || ADAPTER.test(path);
}

function matches(allowed: string, specifier: string): boolean {
  return allowed.endsWith("/*") ? specifier.startsWith(allowed.slice(0, -1)) : specifier === allowed;
}

/** Judges every source file of the repository under `root`. */
export function checkRepository(root: string): Violation[] {
  return globSync("packages/*/src/**/*.{ts,tsx}", { cwd: root })
    .map((file) => file.replaceAll("\\", "/"))
    .sort()
    .flatMap((file) => violations(file, readFileSync(join(root, file), "utf8")));
}

// `import.meta.main` would be true as well, but Node 22 does not have it and would pass everything.
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const found = checkRepository(dirname(dirname(fileURLToPath(import.meta.url))));
  for (const { file, line, specifier, reason } of found) console.error(`${file}:${line} "${specifier}": ${reason}`);
  process.exitCode = found.length > 0 ? 1 : 0;
}
