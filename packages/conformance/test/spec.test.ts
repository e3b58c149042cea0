/**
 * Holds spec/ to its own rules: requirements.yaml is lawful and complete, PROTOCOL.md speaks of all that a client must do
 * and of nothing that does not exist, the frames of its walk-throughs are frames, and what sources cite is there.
 */
import { readFileSync, readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { decodeClientFrame, decodeGatewayFrame } from "@openws/protocol/frames";
import { switchTable } from "../../mock-gateway/src/switches.ts";

interface Requirement {
  readonly id: string;
  readonly binds: string;
  readonly behaviour?: number;
  readonly basis: string;
  readonly level: string;
  readonly consequenceOf?: string;
  readonly sentence: string;
  readonly confidence: string;
  readonly disputed?: boolean;
  readonly switch?: string;
  readonly source: string;
  readonly date: string;
  readonly note?: string;
}

const read = (name: string): string => readFileSync(new URL(`../../../spec/${name}`, import.meta.url), "utf8");
const { requirements } = parse(read("requirements.yaml")) as { requirements: Requirement[] };
const byId = new Map(requirements.map((requirement) => [requirement.id, requirement]));
const protocol = read("PROTOCOL.md");

describe("requirements.yaml", () => {
  it("gives each entry an id of its own, whose prefix says whom it binds", () => {
    expect(byId.size).toBe(requirements.length);
    for (const { id, binds } of requirements) {
      expect(id).toMatch(/^(GW-)?[A-Z]+-[1-9]\d*[a-z]?$/);
      expect(binds, id).toBe(id.startsWith("GW-") ? "gateway" : "client");
    }
  });

  it("has nothing but the members that its header describes", () => {
    const known = read("requirements.yaml").matchAll(/^# {3}(\w+) /gm);
    const members = new Set([...known].map(([, name]) => name));
    for (const requirement of requirements)
      for (const member of Object.keys(requirement))
        expect(members.has(member), `${requirement.id}: ${member}`).toBe(true);
  });

  it("says each in one measurable sentence with its public source and date", () => {
    for (const { id, sentence, source, date } of requirements) {
      expect(sentence, id).toMatch(/^[^\s].*\.$/s);
      expect(source, id).not.toMatch(/^$|shared\/|protocol\.md/);
      expect(date, id).toMatch(/^20\d\d-\d\d-\d\d$/);
    }
  });

  it("never asks for more than the evidence bears", () => {
    for (const { id, basis, level, confidence, consequenceOf } of requirements) {
      expect(["wire", "robustness"], id).toContain(basis);
      expect(["MUST", "SHOULD", "NOTE"], id).toContain(level);
      expect(["D", "S", "O", "G"], id).toContain(confidence);
      if (consequenceOf !== undefined) expect(byId.get(consequenceOf)?.confidence, id).toBe("D");
      if (basis === "robustness") continue;
      const documented = confidence === "D" || consequenceOf !== undefined;
      const lawful = documented ? ["MUST", "SHOULD", "NOTE"] : confidence === "S" ? ["SHOULD", "NOTE"] : ["NOTE"];
      expect(lawful, id).toContain(level);
    }
  });

  it("holds the gateway to facts of the wire alone", () => {
    for (const { id, binds, basis } of requirements) if (binds === "gateway") expect(basis, id).toBe("wire");
  });

  it("gives both sides where sources disagree", () => {
    for (const { id, disputed, note } of requirements) if (disputed === true) expect(note, id).toMatch(/./);
  });

  it("covers each of the 85 behaviours, by entries that bind the client", () => {
    const covered = requirements.filter(({ binds }) => binds === "client").map(({ behaviour }) => behaviour);
    expect([...new Set(covered)].filter((number) => number !== undefined).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 85 }, (_, index) => index + 1),
    );
  });

  it("has an entry for each switch of the mock gateway, and names no other", () => {
    const named = new Set(requirements.flatMap(({ switch: name }) => (name === undefined ? [] : [name])));
    expect([...named].toSorted()).toEqual(Object.keys(switchTable).toSorted());
  });
});

describe("the sources", () => {
  const root = new URL("../../", import.meta.url);
  const topics = [...new Set(requirements.map(({ id }) => id.replace(/-\d+[a-z]?$/, "")))];
  const citation = new RegExp(`\\b(?:${topics.join("|")})-\\d+[a-z]?\\b`, "g");

  it("cite no entry that does not exist", () => {
    const wrong: string[] = [];
    for (const name of ["protocol", "mock-gateway", "connector", "conformance"]) {
      const folder = new URL(`${name}/src/`, root);
      for (const file of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
        if (!file.endsWith(".ts")) continue;
        const cited = readFileSync(new URL(file, folder), "utf8").match(citation) ?? [];
        wrong.push(...cited.filter((id) => !byId.has(id)).map((id) => `${name}/src/${file}: ${id}`));
      }
    }
    expect(wrong).toEqual([]);
  });
});

describe("PROTOCOL.md", () => {
  const mentioned = new Set(protocol.match(/\b(?:GW-)?[A-Z]+-[1-9]\d*[a-z]?\b/g));
  /** What has the shape of an id by accident. */
  const words = new Set(["AES-256", "UTF-8"]);

  it("mentions no entry that does not exist", () => {
    expect([...mentioned].filter((id) => !byId.has(id) && !words.has(id))).toEqual([]);
  });

  it("mentions everything that a client must keep", () => {
    const musts = requirements.filter(({ binds, level }) => binds === "client" && level === "MUST");
    expect(musts.map(({ id }) => id).filter((id) => !mentioned.has(id))).toEqual([]);
  });

  const frames = [...protocol.matchAll(/^(→|←) (.*)$/gm)].map(([, arrow, text]) => [arrow, text] as const);

  it.each(frames)("shows a lawful frame: %s %s", (arrow, text) => {
    const decoded = arrow === "→" ? decodeClientFrame(text ?? "") : decodeGatewayFrame(text ?? "");
    expect("bad" in decoded ? decoded.bad : undefined).toBeUndefined();
    if ("ok" in decoded) expect(decoded.notes).toEqual([]);
  });

  it("has a place for the state diagram", () => {
    expect(protocol).toMatch(/<!-- connection-states:begin -->\n[\s\S]*<!-- connection-states:end -->/);
  });
});
