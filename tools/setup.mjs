// Brings the workspace to a runnable state on a machine that has only Node >= 20 and npm: fetches pnpm through npx
// and installs exactly what the lock file says, a Node 24 among it on Linux. Plain JavaScript on `node:` modules
// alone, because it runs before anything is installed, on whatever Node is there.
//
// It runs before every `npm test` and `npm start`, so it must cost nothing when nothing changed: it stamps
// node_modules with a hash of every file that decides what is installed, and leaves at once when the stamp agrees.
// The stamp lies inside node_modules, so that deleting that folder, or changing to a branch with another lock file,
// installs again; it is removed before an install and written after, so that a broken install is never trusted.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const PNPM = "pnpm@12.21.0";
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const stamp = join(root, "node_modules", ".openws-setup");
const wanted = fingerprint();

if (!isInstalled()) {
  if (!existsSync(join(root, "pnpm-lock.yaml"))) fail("pnpm-lock.yaml is missing; is this a complete checkout?");
  rmSync(stamp, { force: true });
  install();
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, wanted);
}
checkNode();

/** Whether the last complete install was made from the very files that lie here now, on this kind of machine. */
function isInstalled() {
  try {
    // A package's own node_modules can be deleted by hand, or by `git clean`, while the root's stays.
    const complete = packages().every((folder) => existsSync(join(folder, "node_modules")));
    return complete && readFileSync(stamp, "utf8") === wanted;
  } catch {
    return false;
  }
}

function fingerprint() {
  const hash = createHash("sha256").update(`${PNPM} ${process.platform} ${process.arch}`);
  const manifests = packages().map((folder) => join(folder, "package.json"));
  for (const file of ["package.json", "pnpm-workspace.yaml", "pnpm-lock.yaml", ".npmrc"])
    manifests.push(join(root, file));
  for (const file of manifests)
    hash.update(`\n${file.slice(root.length)}\n`).update(existsSync(file) ? readFileSync(file) : "absent");
  return hash.digest("hex");
}

function packages() {
  const parent = join(root, "packages");
  return readdirSync(parent, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(parent, entry.name, "package.json")))
    .map((entry) => join(parent, entry.name))
    .sort();
}

function install() {
  const args = ["--yes", PNPM, "install", "--frozen-lockfile", "--reporter=append-only", "--loglevel=warn"];
  // npx is a .cmd file on Windows, which only a shell can start.
  const { error, signal, status } = spawnSync("npx", args, {
    cwd: root,
    stdio: "inherit",
    shell: process.platform === "win32",
    // Without it pnpm asks on a terminal before it replaces a node_modules that npm made.
    env: { ...process.env, CI: "true" },
  });
  if (error) fail(`npx did not start (${error.message}). Install Node.js 20 or newer together with npm.`);
  if (signal) fail(`the installation was ended by ${signal}; run the command again.`);
  if (status !== 0)
    fail(
      `the packages were not installed; what ${PNPM} said stands above. Is the npm registry reachable? ` +
        `If the lock file is out of date, run: npx --yes ${PNPM} install`,
    );
}

/** Where no Node 24 comes from the registry (macOS, Windows), the machine's own must run the TypeScript sources. */
function checkNode() {
  if (["x64", "arm64"].some((arch) => existsSync(join(root, "node_modules", `node-linux-${arch}`)))) return;
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major > 22 || (major === 22 && minor >= 18)) return;
  fail(
    `on ${process.platform}-${process.arch} Node 22.18 or newer must be on the PATH, and ${process.version} is. ` +
      "Install Node 24 from nodejs.org.",
  );
}

/**
 * @param {string} sentence What is wrong and what to do about it.
 * @returns {never}
 */
function fail(sentence) {
  console.error(`openws setup: ${sentence}`);
  process.exit(1);
}
