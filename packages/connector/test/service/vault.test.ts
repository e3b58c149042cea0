/** What is kept off the disk, and that it comes back whole for whom it is for, and for nobody else. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nodeCipher, storeKey } from "../../src/service/store.cipher.ts";
import { botVault, redactBody, restoreBody, storeSealer } from "../../src/service/vault.ts";

const mixed = {
  msgid: "m",
  msgtype: "mixed",
  from: { userid: "lily" },
  response_url: "https://answer.example/?sign=SECRET1",
  mixed: {
    msg_item: [
      { msgtype: "text", text: { content: "see https://public.example and aeskey" } },
      { msgtype: "image", image: { url: "https://cos.example/?sign=SECRET2", aeskey: "SECRET3" } },
    ],
  },
  quote: { msgtype: "file", file: { url: "https://cos.example/?sign=SECRET4", aeskey: "SECRET5" } },
};

describe("redactBody", () => {
  it("takes keys and signed addresses out wherever they stand, and nothing else", () => {
    const { body, secrets } = redactBody(mixed);
    expect(JSON.stringify(body)).not.toContain("SECRET");
    expect(JSON.stringify(body)).toContain("see https://public.example and aeskey");
    expect(secrets.map(([path]) => path.join("."))).toEqual([
      "response_url",
      "mixed.msg_item.1.image.url",
      "mixed.msg_item.1.image.aeskey",
      "quote.file.url",
      "quote.file.aeskey",
    ]);
    expect(restoreBody(body, secrets)).toEqual(mixed);
  });

  it("restores any body to what it was, and never lets a secret member through", () => {
    const member = fc.constantFrom("aeskey", "url", "response_url", "text", "image", "item");
    const { body: anyBody } = fc.letrec((tie) => ({
      body: fc.oneof(
        { depthSize: "small" },
        fc.string(),
        fc.integer(),
        fc.constant(null),
        fc.array(tie("body")),
        fc.dictionary(member, tie("body")),
      ),
    }));
    fc.assert(
      fc.property(anyBody, (given) => {
        const { body, secrets } = redactBody(given);
        const json = JSON.stringify(body);
        for (const name of ["aeskey", "url", "response_url"]) expect(json).not.toContain(`"${name}":"`);
        expect(restoreBody(body, secrets)).toEqual(given);
      }),
    );
  });
});

describe("a bot's vault", () => {
  it("seals what was taken out, and opens it with the same bot and secret only", () => {
    const vault = botVault(nodeCipher, "bot", "s3cret");
    const { body, sealed } = vault.seal(mixed);
    expect(Buffer.from(sealed!).toString("latin1")).not.toContain("SECRET");
    expect(vault.open(body, sealed)).toEqual(mixed);
    expect(botVault(nodeCipher, "bot", "another").open(body, sealed)).toBeUndefined();
    expect(botVault(nodeCipher, "other", "s3cret").open(body, sealed)).toBeUndefined();
    for (const at of [0, 5, sealed!.length - 1])
      expect(
        vault.open(
          body,
          sealed!.map((byte, place) => (place === at ? byte ^ 1 : byte)),
        ),
      ).toBeUndefined();
    expect(vault.open(body, new Uint8Array(3))).toBeUndefined();
  });

  it("seals nothing where there is nothing secret", () => {
    const said = { msgtype: "text", text: { content: "hi" } };
    const vault = botVault(nodeCipher, "bot", "s3cret");
    expect(vault.seal(said)).toEqual({ body: said, sealed: undefined });
    expect(vault.open(said, undefined)).toEqual(said);
  });

  it("seals the same twice as two", () => {
    const vault = botVault(nodeCipher, "bot", "s3cret");
    expect(vault.seal(mixed).sealed).not.toEqual(vault.seal(mixed).sealed);
  });
});

describe("the store's own key", () => {
  it("is made once, for its owner alone, and seals texts", async () => {
    const folder = mkdtempSync(join(tmpdir(), "openws-key-"));
    const database = join(folder, "a.db");
    const key = storeKey(database, undefined);
    expect(statSync(`${database}.key`).mode & 0o777).toBe(0o600);
    expect(storeKey(database, undefined)).toEqual(key);
    const sealer = storeSealer(nodeCipher, key);
    const sealed = await sealer.seal("whsec_ü");
    expect(sealed).not.toContain("whsec");
    expect(await sealer.unseal(sealed)).toBe("whsec_ü");
    const given = storeKey(database, "ab".repeat(32));
    expect(given).toEqual(new Uint8Array(32).fill(0xab));
    await expect(storeSealer(nodeCipher, given).unseal(sealed)).rejects.toThrow(/another key/);
    expect(storeKey(database, readFileSync(`${database}.key`, "utf8"))).toEqual(key);
    rmSync(folder, { recursive: true });
  });

  it("is refused when it is none", () => {
    const folder = mkdtempSync(join(tmpdir(), "openws-key-"));
    expect(() => storeKey(join(folder, "a.db"), "short")).toThrow(/OPENWS_STORE_KEY must hold 32 bytes/);
    writeFileSync(join(folder, "a.db.key"), "");
    expect(() => storeKey(join(folder, "a.db"), undefined)).toThrow(/32 bytes/);
    expect(() => storeKey(join(folder, "nowhere", "a.db"), undefined)).toThrow(/cannot be made/);
    rmSync(folder, { recursive: true });
  });
});
