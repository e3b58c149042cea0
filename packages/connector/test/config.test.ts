import { expect, test } from "vitest";
import { UsageError } from "@openws/protocol";
import { type Environment, type Flags, type SettingName, defaultUrl, misspelt, readConfig } from "../src/config.ts";

const needed = { WECOM_BOT_ID: "bot", WECOM_BOT_SECRET: "s3cret" };

function read(values: Flags["values"] = {}, env: Environment = needed, files: Record<string, string> = {}) {
  return readConfig({ values, echo: false, json: false }, env, (path) => {
    if (files[path] === undefined) throw Object.assign(new Error(`no ${path}`), { code: "ENOENT" });
    return files[path];
  });
}

function sentence(values: Flags["values"], env: Environment = needed, files: Record<string, string> = {}): string {
  try {
    read(values, env, files);
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    return (error as Error).message;
  }
  throw new Error("nothing was thrown");
}

test("with an id and a secret everything else has a default", () => {
  expect(read()).toEqual({
    botId: "bot",
    secret: "s3cret",
    secretFile: undefined,
    url: defaultUrl,
    name: undefined,
    listen: { host: "127.0.0.1", port: 8910 },
    connection: { afterKick: "stop" },
    drainMs: 4_500,
    handoverMs: undefined,
    probeMs: undefined,
    logLevel: "info",
    logFormat: undefined,
    echo: false,
    json: false,
  });
});

const durations = {
  heartbeatMs: ["OPENWS_HEARTBEAT_MS", "WECOM_HEARTBEAT_MS"],
  ackMs: ["OPENWS_ACK_MS", "WECOM_ACK_MS"],
  backoffBaseMs: ["OPENWS_BACKOFF_BASE_MS", "WECOM_BACKOFF_BASE_MS"],
  backoffMaxMs: ["OPENWS_BACKOFF_MAX_MS"],
  pingTimeoutMs: ["OPENWS_PING_TIMEOUT_MS"],
  idleMs: ["OPENWS_IDLE_MS"],
  dialMs: ["OPENWS_DIAL_MS"],
  subscribeMs: ["OPENWS_SUBSCRIBE_MS"],
  stableMs: ["OPENWS_STABLE_MS"],
} as const;

test.for(Object.entries(durations))("%s is read from %s, and a flag wins", ([name, variables]) => {
  const setting = name as keyof typeof durations;
  for (const variable of variables) {
    const env = { ...needed, [variable]: "1234" };
    expect(read({}, env).connection[setting]).toBe(1_234);
    expect(read({ [setting]: "77" }, env).connection[setting]).toBe(77);
  }
  for (const wrong of ["0", "-1", "1.5", "soon", "1e3", "30s"])
    expect(sentence({ [setting]: wrong })).toMatch(
      new RegExp(`^--[a-z-]+-ms must be a whole number of milliseconds above 0, "${wrong}" is not$`),
    );
});

test("the names of ours go before the names that any client shares", () => {
  const env = { ...needed, OPENWS_HEARTBEAT_MS: "1", WECOM_HEARTBEAT_MS: "2" };
  expect(read({}, env).connection.heartbeatMs).toBe(1);
});

const others: [SettingName, string, string, string, (config: ReturnType<typeof read>) => unknown, unknown, unknown][] =
  [
    ["botId", "WECOM_BOT_ID", "e", "f", ({ botId }) => botId, "e", "f"],
    ["secret", "WECOM_BOT_SECRET", "e", "f", ({ secret }) => secret, "e", "f"],
    ["url", "WECOM_BOT_WS_URL", "ws://e:1", "ws://f:2", ({ url }) => url, "ws://e:1", "ws://f:2"],
    ["name", "WECOM_BOT_NAME", "e", "f f", ({ name }) => name, "e", "f f"],
    [
      "listen",
      "OPENWS_LISTEN",
      "e:0",
      "[::1]:2",
      ({ listen }) => listen,
      { host: "e", port: 0 },
      { host: "::1", port: 2 },
    ],
    ["afterKick", "OPENWS_AFTER_KICK", "rejoin", "stop", ({ connection }) => connection.afterKick, "rejoin", "stop"],
    ["handoverMs", "OPENWS_HANDOVER_MS", "1", "2", ({ handoverMs }) => handoverMs, 1, 2],
    ["probeMs", "OPENWS_PROBE_MS", "1", "2", ({ probeMs }) => probeMs, 1, 2],
    ["drainMs", "OPENWS_DRAIN_MS", "1", "2", ({ drainMs }) => drainMs, 1, 2],
    ["logLevel", "LOG_LEVEL", "warn", "silent", ({ logLevel }) => logLevel, "warn", "silent"],
    ["logFormat", "LOG_FORMAT", "json", "pretty", ({ logFormat }) => logFormat, "json", "pretty"],
  ];

test.for(others)("%s is read from %s, and a flag wins", ([name, variable, inEnv, inFlag, look, fromEnv, fromFlag]) => {
  const env = { ...needed, [variable]: inEnv };
  expect(look(read({}, env))).toEqual(fromEnv);
  expect(look(read({ [name]: inFlag }, env))).toEqual(fromFlag);
});

test("an empty variable counts as unset", () => {
  expect(read({}, { ...needed, WECOM_BOT_WS_URL: "" }).url).toBe(defaultUrl);
  expect(sentence({}, { ...needed, WECOM_BOT_ID: "" })).toBe("the bot's id is missing: set WECOM_BOT_ID or --bot-id");
});

test.for([
  [{}, { WECOM_BOT_SECRET: "s" }, "the bot's id is missing: set WECOM_BOT_ID or --bot-id"],
  [{}, { WECOM_BOT_ID: "b" }, "the bot's secret is missing: set WECOM_BOT_SECRET or WECOM_BOT_SECRET_FILE"],
  [{ url: "http://x" }, needed, /^--bot-ws-url must be a WebSocket address such as wss:/],
  [{}, { ...needed, WECOM_BOT_WS_URL: "localhost:1" }, /^WECOM_BOT_WS_URL must be a WebSocket address/],
  [{ listen: "8910" }, needed, '--listen must be HOST:PORT such as 127.0.0.1:8910, "8910" is not'],
  [{ listen: "h:65536" }, needed, /^--listen must be HOST:PORT/],
  [{ logLevel: "loud" }, needed, /^--log-level must be one of trace, .*, "loud" is not$/],
  [{ afterKick: "fight" }, needed, '--after-kick must be one of stop, rejoin, "fight" is not'],
] as [Flags["values"], Environment, string | RegExp][])(
  "%o with %o is refused in one sentence",
  ([values, env, expected]) => {
    expect(sentence(values, env)).toMatch(expected);
  },
);

test("the secret may stand in a file, named by flag or environment; what a flag says wins", () => {
  const files = { "/run/a": "from-a\n", "/run/b": "from-b" };
  const env = { WECOM_BOT_ID: "bot", WECOM_BOT_SECRET_FILE: "/run/a" };
  expect(read({}, env, files).secret).toBe("from-a");
  expect(read({}, { ...env, WECOM_BOT_SECRET: "plain" }, files).secret).toBe("plain");
  expect(read({ secretFile: "/run/b" }, { ...env, WECOM_BOT_SECRET: "plain" }, files).secret).toBe("from-b");
  expect(read({ secretFile: "/run/b", secret: "flag" }, env, files).secret).toBe("flag");
});

test("a secret's file that cannot be read or is empty is named, a secret put there by mistake is not", () => {
  const env = { WECOM_BOT_ID: "bot" };
  expect(sentence({}, { ...env, WECOM_BOT_SECRET_FILE: "/run/none" })).toBe(
    "WECOM_BOT_SECRET_FILE names a file that cannot be read (ENOENT): /run/none",
  );
  expect(sentence({ secretFile: "/run/empty" }, env, { "/run/empty": " \n" })).toBe(
    "--bot-secret-file names a file that is empty: /run/empty",
  );
  expect(sentence({}, { ...env, WECOM_BOT_SECRET_FILE: "hunter2hunter2" })).not.toContain("hunter2");
});

test("no sentence repeats a secret", () => {
  const secret = "s3cret-s3cret";
  for (const values of [{ listen: "x" }, { url: "x" }, { heartbeatMs: "x" }, { botId: "" }] as Flags["values"][])
    expect(sentence({ ...values, secret }, {})).not.toContain(secret);
});

test("names that look like one of ours written wrong are told, others are not", () => {
  expect(misspelt({ ...needed, WECOM_BOT_SECERT: "x", OPENWS_LISTN: "x" })).toEqual([
    "WECOM_BOT_SECERT is not a setting; did you mean WECOM_BOT_SECRET?",
    "OPENWS_LISTN is not a setting; did you mean OPENWS_LISTEN?",
  ]);
  expect(misspelt({ ...needed, WECOM_SOMETHING_ELSE: "x", HOME: "/", OPENWS_GATEWAY_LISTEN: "x" })).toEqual([]);
});
