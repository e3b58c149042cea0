/**
 * The clients that others wrote, as their registries hand them out: where each is from, how its bot program is started,
 * and what is known to come out differently with it.
 *
 * A difference is a defect or a gap of the client, never of the mock: it says where in the client's own source the cause
 * is, and how the scenario then fails. A scenario that comes out right although a difference is listed fails, too; so
 * docs/clients.md, which is made from this table, says what was seen.
 *
 * The environments of the Python clients and the program on the Rust one are made by `.ci/run python` and `.ci/run rust`,
 * under keys that are the same there and here.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** A program and its arguments. */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
}

/** How a scenario comes out with a client, where that is not as it should. */
export interface Difference {
  /** `lacks`: the client has no function for it. `wrong`: it does the wrong thing by itself. */
  readonly kind: "lacks" | "wrong";
  /** What the failure of the scenario says. */
  readonly shows: RegExp;
  /** One sentence for readers of docs/clients.md: what is seen, and where in the client it comes from. */
  readonly what: string;
}

/** One client. */
export interface Client {
  /** What is installed, by the registry's names: `name version`. */
  readonly name: string;
  readonly registry: string;
  readonly language: string;
  /** True where the client cannot dial ws://, so that the gateway has to speak TLS and the client to trust it. */
  readonly wssOnly?: true;
  /** The bot program, or why it cannot run here. */
  command(): Command | { readonly cannotRun: string };
  /** What whoever uses it has to know, a sentence each: seen here, though no scenario shows it. */
  readonly remarks?: readonly string[];
  /** By the name of the scenario. */
  readonly differences: Readonly<Partial<Record<string, Difference>>>;
}

/** Where the gate keeps what is costly to make. */
const cache = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "openws-ci");
const bots = join(import.meta.dirname, "bots");
const lanes = join(import.meta.dirname, "../../lanes");

const python = (name: string) => (): Command | { cannotRun: string } => {
  const interpreter = process.env[`OPENWS_PYTHON_${name.toUpperCase()}`] ?? cachedInterpreter(name);
  if (!interpreter) return { cannotRun: "no environment has been made for it; `.ci/run python` makes it" };
  return { file: interpreter, args: [join(bots, `python_${name}.py`)] };
};

const cachedInterpreter = (name: string): string | undefined => {
  let version: string;
  try {
    version = execFileSync("python3", ["--version"], { encoding: "utf8", stdio: "pipe" }).trim();
  } catch {
    return undefined;
  }
  const rows = readFileSync(join(lanes, "python/clients.txt"), "utf8").split("\n");
  const packages = rows.find((row) => row.startsWith(`${name} `))!.slice(name.length + 1);
  const key = createHash("sha256").update(`${version} ${packages}`).digest("hex").slice(0, 16);
  const folder = join(cache, `python-${name}-${key}`);
  return existsSync(join(folder, ".complete")) ? join(folder, "bin/python") : undefined;
};

export const nodeOfficial: Client = {
  name: "@wecom/aibot-node-sdk 1.0.7",
  registry: "npm",
  language: "Node",
  command: () => ({ file: process.execPath, args: [join(bots, "node_official.ts")] }),
  differences: {},
};

export const pythonOfficial: Client = {
  name: "wecom-aibot-python-sdk 1.0.2",
  registry: "PyPI",
  language: "Python",
  wssOnly: true,
  command: python("official"),
  remarks: [
    "It hands a TLS context to websockets.connect whatever the scheme, so that it cannot dial ws://; and it trusts " +
      "certifi's bundle alone, so that the certificate of a gateway of one's own has to stand there.",
  ],
  differences: {
    upload: {
      kind: "lacks",
      shows: /this client has no upload/,
      what: "It has no function that uploads, and so none that sends a file.",
    },
    kick: {
      kind: "wrong",
      shows: /subscribed again/,
      what:
        "disconnected_event is to it an event like any other, and the close that follows a connection lost: it " +
        "subscribes again a second later (aibot/ws.py, _handle_frame and _receive_loop), so that two instances of a " +
        "bot throw each other out for ever.",
    },
  },
};

export const pythonCommunity: Client = {
  name: "wecom-aibot-sdk 1.0.8",
  registry: "PyPI",
  language: "Python",
  command: python("community"),
  differences: {},
};

export const pythonFramework: Client = {
  name: "wecom-ai-bot-ws-svr 0.1.0 on wecom-aibot-sdk-python 0.1.7",
  registry: "PyPI",
  language: "Python",
  command: python("framework"),
  remarks: [
    "What an event handler returns for a click goes out as aibot_respond_msg and is refused with 846605; the bot " +
      "program calls update_template_card of the SDK below, which is right.",
  ],
  differences: {
    reconnect: {
      kind: "wrong",
      shows: /the bot program ended with 0/,
      what:
        "Its SDK would dial again after a second, but the framework looks once a second whether there is a connection, " +
        "and ends the program, with 0, when there is none (wecom_ai_bot_ws_svr/app.py, run_async).",
    },
  },
};

export const rustCommunity: Client = {
  name: "wecom-aibot-rust-sdk 1.0.2",
  registry: "crates.io",
  language: "Rust",
  command: () => {
    const program = process.env["OPENWS_RUST_WITNESS"];
    return program
      ? { file: program, args: [] }
      : { cannotRun: "the bot on it is not built; `.ci/run rust` builds it" };
  },
  remarks: [
    "It takes every command for acknowledged as soon as it is sent, so that no refusal reaches the program.",
    "It stays away after a kick only because it never comes back after anything.",
  ],
  differences: {
    upload: {
      kind: "wrong",
      shows: /the upload returned no media_id/,
      what:
        "It waits for no ack: it takes its own req_id for the upload_id, counts chunks from 1, cuts them to 6,000 bytes " +
        "(this file into 217, over the limit of 100), sends a hash of its own as the MD5, and returns no media_id " +
        "(src/client.rs, upload_media; src/ws.rs, upload_media_init).",
    },
    download: {
      kind: "wrong",
      shows: /3232/,
      what:
        "It removes padding up to 16 bytes only, and where that fails it returns the ciphertext as if it were the file " +
        "(src/crypto_utils.rs, decrypt_file): half of all downloads are garbage without an error.",
    },
    reconnect: {
      kind: "wrong",
      shows: /did not subscribe/,
      what: "It never dials again: its receive loop ends and nothing follows (src/ws.rs, _receive_loop).",
    },
  },
};

/** All of them, in the order of docs/clients.md. */
export const clients: readonly Client[] = [
  nodeOfficial,
  pythonOfficial,
  pythonCommunity,
  pythonFramework,
  rustCommunity,
];
