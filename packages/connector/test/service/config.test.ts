import { UsageError } from "@openws/protocol";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { type Environment, defaultUrl } from "../../src/config.ts";
import { readServiceConfig } from "../../src/service/config.ts";

const needed = { WECOM_BOT_ID: "bot", WECOM_BOT_SECRET: "s3cret" };

function read(env: Environment = needed, files: Record<string, string> = {}, values = {}) {
  return readServiceConfig({ values, echo: false, json: false }, env, {
    parse,
    readFile: (path) => {
      if (files[path] === undefined) throw Object.assign(new Error(`no ${path}`), { code: "ENOENT" });
      return files[path];
    },
  });
}

describe("the service's configuration", () => {
  it("has a default for everything but a bot", () => {
    expect(read().service).toEqual({
      bots: [{ id: "bot", secret: "s3cret", secretFile: undefined, name: undefined, url: defaultUrl }],
      database: "./data/openws.db",
      storeKey: undefined,
      lease: undefined,
      leaseTtlMs: 15_000,
      retentionMs: 2_592_000_000,
      retentionBytes: 10_737_418_240,
      replyTtlMs: 86_400_000,
      pushTtlMs: 3_600_000,
      resendUnknown: false,
      apiKeys: [],
      readKeys: [],
      allowCidr: [],
      publicUrl: undefined,
      webhooks: [],
      sinks: [],
      allowPrivate: false,
      mediaDir: "./data/media",
      mediaTtlMs: 259_200_000,
      triggers: [],
      welcome: undefined,
      offline: undefined,
    });
  });

  it("takes a lease, and refuses a ttl that a pause of the process would outlast", () => {
    const env = { ...needed, OPENWS_LEASE: "sqlite:/data/lease.db", OPENWS_LEASE_TTL_MS: "3000" };
    expect(read(env).service).toMatchObject({ lease: "sqlite:/data/lease.db", leaseTtlMs: 3_000 });
    expect(() => read({ ...env, OPENWS_LEASE_TTL_MS: "999" })).toThrow("OPENWS_LEASE_TTL_MS must be at least 1000");
  });

  it("takes the store's size from flag, environment or file, and refuses one that would keep nothing", () => {
    const env = { ...needed, OPENWS_RETENTION_BYTES: "2000000" };
    expect(read(env).service.retentionBytes).toBe(2_000_000);
    expect(read(env, {}, { retentionBytes: "3000000" }).service.retentionBytes).toBe(3_000_000);
    const file = { "/file": "retentionBytes: 4000000" };
    expect(read({ ...needed, OPENWS_CONFIG: "/file" }, file).service.retentionBytes).toBe(4_000_000);
    for (const wrong of ["10GiB", "1048575", "-1", "1e9"])
      expect(() => read({ ...needed, OPENWS_RETENTION_BYTES: wrong })).toThrow(
        /^OPENWS_RETENTION_BYTES must be a whole number of bytes, at least 1048576/,
      );
  });

  it("may begin without a bot, to be given one through the API", () => {
    expect(read({}).service.bots).toEqual([]);
    expect(() => read({ WECOM_BOT_ID: "bot" })).toThrow("the bot's secret is missing");
  });

  it("takes several bots from a list in YAML or JSON, each with its secret or the file of it", () => {
    const list = "- { id: a, secret: sa, name: Ann }\n- { id: b, secretFile: /run/b, url: ws://127.0.0.1:1 }\n";
    const { bots } = read({ ...needed, WECOM_BOTS_FILE: "/bots" }, { "/bots": list, "/run/b": "sb\n" }).service;
    expect(bots.map(({ id, secret, name, url }) => [id, secret, name, url])).toEqual([
      ["bot", "s3cret", undefined, defaultUrl],
      ["a", "sa", "Ann", defaultUrl],
      ["b", "sb", undefined, "ws://127.0.0.1:1"],
    ]);
    const json = JSON.stringify([{ id: "c", secret: "sc" }]);
    expect(read({ WECOM_BOTS_FILE: "/bots" }, { "/bots": json }).service.bots).toMatchObject([{ id: "c" }]);
  });

  it("reads a file of settings, which flags and environment overrule", () => {
    const file = [
      "listen: 127.0.0.1:1",
      "heartbeatMs: 20000",
      "database: ':memory:'",
      "bots: [{ id: a, secret: sa }]",
      "webhooks: [{ url: 'http://127.0.0.1:9000/', secret: 0123456789abcdef }]",
      "triggers: [{ name: urgent, when: { keywords: [urgent] }, then: { tag: urgent } }]",
      "welcome: { text: Hello }",
    ].join("\n");
    const { line, service } = read({ OPENWS_CONFIG: "/c", OPENWS_LISTEN: "127.0.0.1:2" }, { "/c": file });
    expect(line.listen).toEqual({ host: "127.0.0.1", port: 2 });
    expect(line.connection.heartbeatMs).toBe(20_000);
    expect(service).toMatchObject({
      bots: [{ id: "a" }],
      database: ":memory:",
      mediaDir: undefined,
      webhooks: [{ url: "http://127.0.0.1:9000/" }],
      triggers: [{ name: "urgent" }],
      welcome: { text: "Hello" },
    });
    expect(read({ OPENWS_CONFIG: "/c" }, { "/c": file }, { listen: "127.0.0.1:3" }).line.listen.port).toBe(3);
  });

  it("takes one API key, or two while one replaces the other, from the environment or a file", () => {
    expect(read({ ...needed, OPENWS_API_KEY: "new-key-1,old-key-2" }).service.apiKeys).toEqual([
      "new-key-1",
      "old-key-2",
    ]);
    expect(read({ ...needed, OPENWS_API_KEY_FILE: "/k" }, { "/k": "from-a-file\n" }).service.apiKeys).toEqual([
      "from-a-file",
    ]);
  });

  it.each<[string, Environment, Record<string, string>, string]>([
    [
      "a webhook without a secret",
      { OPENWS_WEBHOOK_URL: "https://x/" },
      {},
      "OPENWS_WEBHOOK_URL needs OPENWS_WEBHOOK_SECRET",
    ],
    [
      "a short webhook secret",
      { OPENWS_WEBHOOK_URL: "https://x/", OPENWS_WEBHOOK_SECRET: "short" },
      {},
      "OPENWS_WEBHOOK_SECRET must have at least 16",
    ],
    [
      "a webhook that is no URL",
      { OPENWS_WEBHOOK_URL: "x", OPENWS_WEBHOOK_SECRET: "0123456789abcdef" },
      {},
      "OPENWS_WEBHOOK_URL must be an http",
    ],
    ["a short API key", { OPENWS_API_KEY: "short" }, {}, "OPENWS_API_KEY must be one key of at least 8"],
    ["three API keys", { OPENWS_API_KEY: "aaaaaaaa,bbbbbbbb,cccccccc" }, {}, "OPENWS_API_KEY must be one key"],
    [
      "a file that is not there",
      { OPENWS_CONFIG: "/c" },
      {},
      "OPENWS_CONFIG names a file that cannot be read (ENOENT): /c",
    ],
    ["a file that is no YAML", { OPENWS_CONFIG: "/c" }, { "/c": "a: [1" }, "/c is neither YAML nor JSON: "],
    ["an unknown setting in a file", { OPENWS_CONFIG: "/c" }, { "/c": "hartbeatMs: 1" }, "hartbeatMs"],
    ["a rule that cannot be", { OPENWS_CONFIG: "/c" }, { "/c": "triggers: [{ name: x }]" }, "triggers.0.then in /c"],
    [
      "a bot with two secrets",
      { WECOM_BOTS_FILE: "/b" },
      { "/b": "[{ id: a, secret: s, secretFile: /f }]" },
      "0 in /b: give secret or secretFile",
    ],
    [
      "a bot that is there twice",
      { WECOM_BOTS_FILE: "/b" },
      { "/b": "[{ id: bot, secret: s }]" },
      'the bot "bot" is configured twice',
    ],
    ["neither yes nor no", { OPENWS_ALLOW_PRIVATE: "maybe" }, {}, "OPENWS_ALLOW_PRIVATE must be 1 or 0"],
  ])("refuses %s with a sentence that says where", (_, env, files, sentence) => {
    expect(() => read({ ...needed, ...env }, files)).toThrow(UsageError);
    expect(() => read({ ...needed, ...env }, files)).toThrow(sentence);
  });

  it("never repeats a secret", () => {
    const secret = "sekretsekretsekret";
    const attempts: [Environment, Record<string, string>][] = [
      [{ OPENWS_CONFIG: "/c" }, { "/c": `bots: [{ id: a, secret: ${secret}, secret: ${secret} }` }],
      [{ OPENWS_CONFIG: "/c" }, { "/c": `apiKey: [${secret}]` }],
      [{ OPENWS_API_KEY: `${secret},${secret},${secret}` }, {}],
      [{ OPENWS_WEBHOOK_SECRET: secret, OPENWS_WEBHOOK_URL: secret }, {}],
    ];
    for (const [env, files] of attempts) {
      let said = "";
      try {
        read({ ...needed, ...env }, files);
      } catch (error) {
        said = String(error);
      }
      expect(said).not.toBe("");
      expect(said).not.toContain(secret);
    }
  });
});
