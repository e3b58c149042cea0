import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import manifest from "../../package.json" with { type: "json" };

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const pages = globSync("{*,{docs,spec,packages,examples,.changeset}/**/*}.md", {
  cwd: root,
  exclude: (path) => /node_modules|[/\\]\.stryker|[/\\]reports/.test(path),
});
const read = (page: string) => readFileSync(join(root, page), "utf8");
const withoutCode = (text: string) => text.replace(/^```[^]*?^```$/gm, "");

describe.for(pages)("%s", (page) => {
  test("has no link that leads nowhere", () => {
    const dead = [...withoutCode(read(page)).matchAll(/\]\((?!https?:)([^)#\s]*)(#[^)\s]+)?\)/g)].filter(
      ([, path = "", anchor]) => {
        const target = path === "" ? join(root, page) : join(root, dirname(page), path);
        if (!existsSync(target)) return true;
        return anchor !== undefined && target.endsWith(".md") && !anchors(target).has(anchor.slice(1));
      },
    );
    expect(dead.map(([link]) => link)).toEqual([]);
  });

  test("names only scripts that exist", () => {
    const scripts = new Set(["test", "start", "run", "install", "ci", "pack", ...Object.keys(manifest.scripts)]);
    for (const [, script = ""] of read(page).matchAll(/`npm (?:run )?(?:-s )?([a-z:]+)/g))
      expect(scripts).toContain(script);
  });
});

test("README says the same in both languages", () => {
  const shape = (page: string) => {
    const text = read(page);
    return {
      headings: [...withoutCode(text).matchAll(/^#+/gm)].map(([marks]) => marks),
      commands: [...text.matchAll(/^```sh\n([^]*?)^```$/gm)].map(([, code = ""]) =>
        code.replace(/<[^>]*>|"[^"\n]*"/g, ""),
      ),
      links: [...text.matchAll(/\]\(([^)]*)\)/g)]
        .map(([, target]) => target)
        .filter((target) => !target?.startsWith("README")),
    };
  };
  expect(shape("README.zh-CN.md")).toEqual(shape("README.md"));
});

/** The anchors of a page, as GitHub makes them out of its headings. */
function anchors(file: string): Set<string> {
  const headings = [...withoutCode(readFileSync(file, "utf8")).matchAll(/^#+ +(.*)$/gm)].map(([, text = ""]) => text);
  const explicit = [...readFileSync(file, "utf8").matchAll(/<a (?:id|name)="([^"]+)"/g)].map(([, id = ""]) => id);
  const slugs = headings.map((text) =>
    text
      .toLowerCase()
      .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
      .replace(/[^\p{L}\p{N}\p{M}_ -]/gu, "")
      .replaceAll(" ", "-"),
  );
  return new Set([...slugs, ...explicit]);
}
