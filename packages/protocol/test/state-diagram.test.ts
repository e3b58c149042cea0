import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { transitions } from "../src/connection.ts";
import { drawStates, holder, withStates } from "../tools/state-diagram.ts";

describe("the diagram in spec/PROTOCOL.md", () => {
  it("is the table of transitions (else run: node packages/protocol/tools/state-diagram.ts)", () => {
    const committed = readFileSync(holder, "utf8").replaceAll("\r\n", "\n");
    expect(committed).toBe(withStates(committed));
  });

  it("shows every transition of the table and no other", () => {
    const shown = [...drawStates().matchAll(/^ {4}(\w+) --> (\w+): (.+)$/gm)].flatMap(
      ([, from = "", to = "", causes = ""]) => causes.split(", ").map((cause) => `${from} ${cause} ${to}`),
    );
    const table = Object.entries(transitions).flatMap(([from, row]) =>
      Object.entries(row).map(([cause, to]) => `${from} ${cause} ${to}`),
    );
    expect(shown.toSorted()).toEqual(table.toSorted());
  });

  it("cannot be placed in a text without its marks", () => {
    expect(() => withStates("nothing here")).toThrow("lacks the marks");
    expect(() => withStates("<!-- connection-states:end --><!-- connection-states:begin -->")).toThrow(
      "lacks the marks",
    );
  });
});
