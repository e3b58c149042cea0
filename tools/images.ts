// Builds the container image of a package that has a Containerfile, from this checkout:
//
//   node tools/images.ts PACKAGE [--base IMAGE] [--tag NAME] [--engine podman|docker]
//
// The build context is the package as it would be published, with the production dependencies that the lock file put into
// this checkout. So an image holds the very versions that were tested, no development dependencies, and building it asks
// no package registry. A Containerfile with the line `# optional-peers=included` gets those as well: who deploys an image
// cannot install what a library's user can. It deliberately knows nothing of registries for images: pushing is somebody else's.
//
// The image's name is the last line of standard output: localhost/BINARY:VERSION unless --tag says otherwise.
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const PNPM = /pnpm@[\d.]+/.exec(readFileSync(join(root, "tools/setup.mjs"), "utf8"))?.[0] ?? "pnpm";

/** What of a package.json matters here. */
interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly bin?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>;
}

/** How to build an image. */
interface ImageOptions {
  /** The image that it is built on. Default: what the Containerfile says. */
  readonly base?: string | undefined;
  /** Its name. Default `localhost/BINARY:VERSION`. */
  readonly tag?: string | undefined;
  /** The command that builds. Default: podman where there is one, else docker. */
  readonly engine?: string | undefined;
}

/** Builds the image of a package, such as `mock-gateway`, and returns its name. Throws when a step of it fails. */
function buildImage(name: string, { base, tag, engine = presentEngine() }: ImageOptions): string {
  const source = join(root, "packages", name);
  const { bin = {}, version } = manifestOf(source);
  const image = tag ?? `localhost/${Object.keys(bin)[0] ?? name}:${version}`;
  const context = mkdtempSync(join(tmpdir(), "openws-image-"));
  try {
    run(join(root, "node_modules/.bin/tsc"), ["-b", source], root);
    unpack(source, context);
    const wantsPeers = /^# optional-peers=included$/m.test(readFileSync(join(source, "Containerfile"), "utf8"));
    install(source, context, context, wantsPeers ? optionalPeersOf(manifestOf(source)) : []);
    // podman leaves the health check out of what it builds by default.
    const format = basename(engine) === "podman" ? ["--format", "docker"] : [];
    const args = ["build", ...format, "-f", join(source, "Containerfile"), "-t", image];
    if (base !== undefined) args.push("--build-arg", `BASE=${base}`);
    run(engine, [...args, context], root);
  } finally {
    rmSync(context, { recursive: true });
  }
  return image;
}

/** Puts into `folder` what publishing the package of this workspace would. */
function unpack(source: string, folder: string): void {
  const packed = mkdtempSync(join(tmpdir(), "openws-packed-"));
  try {
    run("npx", ["--yes", PNPM, "pack", "--silent", "--pack-destination", packed], source);
    const [tarball = ""] = readdirSync(packed);
    run("tar", ["-xzf", join(packed, tarball), "-C", folder, "--strip-components=1"], root);
  } finally {
    rmSync(packed, { recursive: true });
  }
}

/**
 * Copies the production dependencies of the package at `source`, and theirs, below `top`, where the package itself lies as
 * `folder`: at the top where the place is free, else where only the one that needs it looks. `chosen` are those of its peers
 * that come along; the peers of others are not followed: those that are needed are dependencies of ours as well.
 */
function install(
  source: string,
  folder: string,
  top: string,
  chosen: readonly string[] = [],
  placed = new Map<string, string>(),
): void {
  const { dependencies = {}, optionalDependencies = {} } = manifestOf(source);
  const added: (readonly [source: string, folder: string])[] = [];
  for (const name of [...Object.keys({ ...dependencies, ...optionalDependencies }), ...chosen]) {
    const found = resolve(name, source);
    if (found === undefined) {
      if (Object.hasOwn(optionalDependencies, name)) continue; // one for another platform
      throw new Error(`${name}, which ${source} depends on, is not installed: npm run setup`);
    }
    const { version } = manifestOf(found);
    const visible = visibleFrom(folder, name, placed);
    if (visible === version) continue;
    const target = join(visible === undefined ? top : folder, "node_modules", name);
    placed.set(target, version);
    copy(found, target);
    added.push([found, target]);
  }
  // Only now, so that what they find from their places is final.
  for (const [addedSource, addedFolder] of added) install(addedSource, addedFolder, top, [], placed);
}

/** What a package uses where it is there, such as the clients of brokers. */
function optionalPeersOf({ peerDependenciesMeta = {} }: Manifest): string[] {
  return Object.keys(peerDependenciesMeta).filter((name) => peerDependenciesMeta[name]?.optional === true);
}

/** The version of a package that one in `folder` would load. */
function visibleFrom(folder: string, name: string, placed: ReadonlyMap<string, string>): string | undefined {
  for (let at = folder; at !== dirname(at); at = dirname(at)) {
    const version = placed.get(join(at, "node_modules", name));
    if (version !== undefined) return version;
  }
  return undefined;
}

/** One of ours is copied as it would be published, since its sources and tests lie beside it. */
function copy(source: string, folder: string): void {
  mkdirSync(folder, { recursive: true });
  if (!source.includes(`${sep}node_modules${sep}`)) return unpack(source, folder);
  const nested = join(source, "node_modules"); // links to commands; what it needs gets its own place
  cpSync(source, folder, { recursive: true, filter: (path) => path !== nested });
}

/** The real folder of a package as another one sees it. */
function resolve(name: string, from: string): string | undefined {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, "node_modules", name);
    if (existsSync(candidate)) return realpathSync(candidate);
    if (folder === dirname(folder)) return undefined;
  }
}

function manifestOf(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
}

function presentEngine(): string {
  for (const engine of ["podman", "docker"]) {
    try {
      execFileSync(engine, ["--version"], { stdio: "ignore" });
      return engine;
    } catch {
      continue; // the next one, or the sentence below
    }
  }
  throw new Error("neither podman nor docker is installed");
}

/** Runs a command; what it prints is for people, so it goes to standard error. */
function run(command: string, args: readonly string[], cwd: string): void {
  execFileSync(command, args, { cwd, stdio: ["ignore", process.stderr, process.stderr] });
}

const { values, positionals } = parseArgs({
  options: { base: { type: "string" }, tag: { type: "string" }, engine: { type: "string" } },
  allowPositionals: true,
});
const [name] = positionals;
if (positionals.length !== 1 || name === undefined || !existsSync(join(root, "packages", name, "Containerfile"))) {
  console.error("images: name a package with a Containerfile, such as: node tools/images.ts mock-gateway");
  process.exitCode = 2;
} else {
  console.log(buildImage(name, values));
}
