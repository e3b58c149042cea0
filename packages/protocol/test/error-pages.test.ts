import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { errcodes } from "../src/errors.ts";
import { errorPage, errorPages } from "../tools/error-pages.ts";

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), "utf8");

describe("the pages about error codes", () => {
  it.each(Object.entries(errorPages))(
    "%s is current; if not, run node packages/protocol/tools/error-pages.ts",
    (path, language) => {
      expect(read(path).replaceAll("\r\n", "\n")).toBe(errorPage(language));
    },
  );

  it("link each code of the overview to its section, in both languages", () => {
    for (const language of Object.values(errorPages)) {
      const page = errorPage(language);
      for (const { errcode, name } of errcodes) {
        expect(page).toContain(`| [${errcode}](#${name}) |`);
        expect(page).toContain(`<a id="${name}"></a>\n\n### ${errcode} · ${name}\n`);
      }
    }
  });

  it("say how long a client waits and how often it repeats", () => {
    expect(errorPage("en")).toContain("repeats, first after 0.2 s, at most 3 times");
    expect(errorPage("en")).toContain("waits, then slows down, after 60 s at the earliest");
    expect(errorPage("zh")).toContain("重试，首次间隔 0.2 秒，最多 3 次");
  });
});
