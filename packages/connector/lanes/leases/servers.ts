// Real servers that a lease can be kept in, each in a folder and on a port of its own, ended with the test.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, globSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { freePort, listens } from "../ports.ts";

/** A server that runs. */
export interface Server {
  /** What OPENWS_LEASE is; a name can be added with `?name=`. */
  readonly address: string;
  /** Kills it. */
  kill(): Promise<void>;
  /** Kills it, where it runs, and starts it again on the same folder and port. */
  restart(): Promise<void>;
  end(): Promise<void>;
}

/** Starts one; undefined where this machine has none, or may not start it. */
export type StartServer = () => Promise<Server | undefined>;

interface Recipe {
  readonly program: string | undefined;
  readonly args: (port: number, folder: string) => readonly string[];
  readonly address: (port: number) => string;
  readonly user?: string;
  readonly prepare?: (folder: string) => void;
}

const postgresBin = globSync("/usr/lib/postgresql/*/bin").toSorted().at(-1);

const recipes = {
  Redis: {
    program: programOf("redis-server"),
    args: (port, folder) => [
      "--port",
      `${port}`,
      "--bind",
      "127.0.0.1",
      "--dir",
      folder,
      "--save",
      "",
      "--appendonly",
      "yes",
      "--appendfsync",
      "always",
    ],
    address: (port) => `redis://127.0.0.1:${port}/0`,
  },
  PostgreSQL: {
    program: postgresBin && join(postgresBin, "postgres"),
    args: (port, folder) => ["-D", join(folder, "data"), "-p", `${port}`, "-h", "127.0.0.1", "-k", folder],
    address: (port) => `postgres://postgres@127.0.0.1:${port}/postgres`,
    // It does not run as root.
    ...(userInfo().uid === 0 && { user: "postgres" }),
    prepare: (folder) => {
      const init = [join(postgresBin!, "initdb"), "-D", join(folder, "data"), "-A", "trust", "-U", "postgres"];
      const [command, ...args] =
        userInfo().uid === 0 ? ["su", "postgres", "-s", "/bin/sh", "-c", init.join(" ")] : init;
      execFileSync(command!, args, { stdio: "ignore" });
    },
  },
  NATS: {
    program: programOf("nats-server"),
    args: (port, folder) => ["-a", "127.0.0.1", "-p", `${port}`, "-js", "-sd", folder],
    address: (port) => `nats://127.0.0.1:${port}`,
  },
} satisfies Record<string, Recipe>;

/** The servers that there are, by name. */
export const servers: Readonly<Record<keyof typeof recipes, StartServer>> = {
  Redis: () => start(recipes.Redis),
  PostgreSQL: () => start(recipes.PostgreSQL),
  NATS: () => start(recipes.NATS),
};

async function start({ program, args, address, user, prepare }: Recipe): Promise<Server | undefined> {
  if (program === undefined) return undefined;
  const folder = mkdtempSync(join(tmpdir(), "openws-server-"));
  const identity = user === undefined ? undefined : idsOf(user);
  if (user !== undefined && identity === undefined) return undefined;
  if (identity !== undefined) chownSync(folder, identity.uid, identity.gid);
  chmodSync(folder, 0o700);
  prepare?.(folder);
  const port = await freePort();
  let child: ChildProcess;
  const up = async (): Promise<void> => {
    child = spawn(program, args(port, folder), { stdio: "ignore", cwd: folder, ...identity });
    for (let tries = 0; !(await listens(port)); tries++) {
      if (tries > 200 || child.exitCode !== null) throw new Error(`${program} did not start`);
      await pause(50);
    }
  };
  const down = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  };
  await up();
  return {
    address: address(port),
    kill: down,
    restart: async () => {
      await down();
      // Its children may hold on to what they share for a moment.
      await pause(user === undefined ? 0 : 500);
      await up();
    },
    end: async () => {
      await down();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function programOf(name: string): string | undefined {
  const folders = `${process.env["PATH"] ?? ""}:/usr/sbin:/usr/bin`.split(":");
  return globSync(folders.map((folder) => join(folder, name)))[0];
}

function idsOf(user: string): { uid: number; gid: number } | undefined {
  try {
    const [uid, gid] = ["-u", "-g"].map((of) =>
      Number(execFileSync("id", [of, user], { stdio: ["ignore", "pipe", "ignore"] })),
    );
    return { uid: uid!, gid: gid! };
  } catch {
    return undefined;
  }
}
