/**
 * The fidelity ledger, generated: `node packages/mock-gateway/tools/fidelity.ts` writes FIDELITY.md.
 *
 * It joins spec/requirements.yaml with fidelity-rows.ts, switches.ts, behaviours.ts and faults.ts. Each line that is shown
 * by a test can be tried: `removalOf` is a change of the sources that takes the behaviour away, `Copy` makes it in a copy
 * and runs the test there, which must then fail. The lane `fidelity` tries every line, `npm test` a few.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { behaviours } from "../src/behaviours.ts";
import { faultTable } from "../src/faults.ts";
import type { SwitchName } from "../src/switches.ts";
import { rows, type Change } from "./fidelity-rows.ts";

/** A requirement that binds the gateway, as the file has it. */
export interface Requirement {
  readonly id: string;
  readonly binds: "client" | "gateway" | "both";
  readonly level: string;
  readonly sentence: string;
  readonly confidence: string;
  readonly source: string;
  readonly switch?: SwitchName;
}

/** One line of the ledger. */
export interface Line {
  readonly requirement: Requirement;
  /** What of the mock it is: `switch quota`, `behaviour quota.chat`, `fault reset`, words for a line of code, or `–`. */
  readonly what: string;
  /** `file: title`; the title may be the beginning of one. Undefined where there is nothing to show. */
  readonly test: string | undefined;
  /** Why there is nothing to show. */
  readonly why: string | undefined;
  readonly removal: Change | undefined;
}

const home = fileURLToPath(new URL("..", import.meta.url));
const root = fileURLToPath(new URL("../../..", import.meta.url));

/** The requirements that bind the gateway. */
export const requirements = (): Requirement[] => {
  const text = readFileSync(join(root, "spec", "requirements.yaml"), "utf8");
  return (parse(text) as { requirements: Requirement[] }).requirements.filter(({ binds }) => binds !== "client");
};

/** The whole ledger. Throws when a requirement has no row. */
export const ledger = (): Line[] => requirements().map(lineOf);

const lineOf = (requirement: Requirement): Line => {
  const row = rows[requirement.id];
  const none = { why: undefined, removal: undefined };
  if (!row) {
    const { switch: name } = requirement;
    if (!name) throw new Error(`${requirement.id} has neither a switch nor a row in tools/fidelity-rows.ts`);
    return { requirement, ...none, what: `switch \`${name}\``, test: `switches.test.ts: ${name}:`, removal: pin(name) };
  }
  if ("nothing" in row) return { requirement, ...none, what: "–", test: undefined, why: row.nothing };
  if ("fault" in row) {
    const { fault: kind } = row;
    const removal: Change = ["faults.ts", `  ${kind.includes("-") ? `"${kind}"` : kind}: {\n`, ""];
    return {
      requirement,
      ...none,
      what: `fault \`${kind}\``,
      test: `faults.test.ts: ${kind}:`,
      removal: unfault(removal),
    };
  }
  if ("behaviour" in row)
    return {
      requirement,
      ...none,
      what: `behaviour \`${row.behaviour}\``,
      test: row.test,
      removal: reword(row.behaviour),
    };
  return { requirement, ...none, what: row.code, test: row.test, removal: row.remove };
};

/** A switch that can no longer be set. */
const pin = (name: SwitchName): Change => [
  "switches.ts",
  "export const SomeSwitches = Switches.partial();",
  `export const SomeSwitches = Switches.partial().transform(({ ${name}: _pinned, ...others }) => others);`,
];

/** A fault that is never due: its kind acts on an occasion that does not come. */
const unfault = ([file, head]: Change): Change => {
  const source = readFileSync(join(home, "src", file), "utf8");
  const start = source.indexOf(head);
  const occasion = source.slice(start).match(/\n {4}occasion: "[a-z-]+"/)![0];
  const end = source.indexOf(occasion, start) + occasion.length;
  const find = source.slice(start, end);
  return [file, find, find.replace(occasion, '\n    occasion: "never"')];
};

/** A behaviour with another errcode. */
const reword = (id: keyof typeof behaviours): Change => {
  const { errcode } = behaviours[id];
  if (errcode === undefined) throw new Error(`behaviour ${id} has no errcode: give its requirement a line of code`);
  const source = readFileSync(join(home, "src", "behaviours.ts"), "utf8");
  const start = source.indexOf(`  "${id}": {`);
  const end = source.indexOf("errcode: ", start);
  const find = source.slice(start, end) + `errcode: ${errcode}`;
  return ["behaviours.ts", find, `${source.slice(start, end)}errcode: ${errcode + 1}`];
};

// ---------------------------------------------------------------------------------------------------------------------
// Trying

/** A copy of the package in which behaviours can be taken away. */
export class Copy implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), "openws-fidelity-"));
  readonly #package = join(this.#folder, "packages", "mock-gateway");

  constructor() {
    mkdirSync(this.#package, { recursive: true });
    for (const name of [
      "src",
      "test",
      "tools",
      "console",
      "lanes",
      "package.json",
      "vitest.config.ts",
      "FAULTS.md",
      "FIDELITY.md",
    ])
      cpSync(join(home, name), join(this.#package, name), { recursive: true });
    for (const name of ["node_modules", "spec", "docs", "tools"])
      symlinkSync(join(root, name), join(this.#folder, name), "junction");
    symlinkSync(join(root, "packages", "protocol"), join(this.#folder, "packages", "protocol"), "junction");
    symlinkSync(join(home, "node_modules"), join(this.#package, "node_modules"), "junction");
  }

  /** Makes a change and returns how to undo it. Throws when the text to be changed does not stand there. */
  change([file, find, instead]: Change): Disposable {
    const path = join(this.#package, "src", file);
    const source = readFileSync(path, "utf8");
    const at = source.indexOf(find);
    if (at < 0) throw new Error(`${file} no longer holds: ${find}`);
    writeFileSync(path, source.slice(0, at) + instead + source.slice(at + find.length));
    return { [Symbol.dispose]: () => writeFileSync(path, source) };
  }

  /** The titles of the tests that fail, of all or of those whose titles begin so. `ran` counts the ones that ran at all. */
  async failing(files: readonly string[], title?: string): Promise<{ failed: string[]; ran: number }> {
    const report = join(this.#folder, "report.json");
    rmSync(report, { force: true });
    const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
    const child = spawn(
      process.execPath,
      [
        vitest,
        "run",
        "--reporter=json",
        // A process a worker, and compiling vitest anew for each line, would be half of what the lane costs.
        "--pool=threads",
        `--outputFile=${report}`,
        ...(title === undefined ? [] : ["-t", escape(title)]),
        ...files.map((file) => join("test", file)),
      ],
      {
        cwd: this.#package,
        env: { ...process.env, NODE_COMPILE_CACHE: join(this.#folder, "compiled") },
        stdio: ["ignore", "ignore", "pipe"],
      },
    );
    let errors = "";
    child.stderr.on("data", (data: Buffer) => (errors += data.toString()));
    await once(child, "close");
    const { testResults } = readReport(report, errors);
    const results = testResults.flatMap(({ name, assertionResults, status }) => {
      const file = name.split("/").at(-1)!;
      // A file that cannot be loaded fails every test in it.
      if (assertionResults.length === 0 && status === "failed") return [{ name: `${file}: ${title ?? ""}`, status }];
      return assertionResults.map((test) => ({ name: `${file}: ${test.title}`, status: test.status }));
    });
    return {
      failed: results.filter(({ status }) => status === "failed").map(({ name }) => name),
      ran: results.filter(({ status }) => status === "failed" || status === "passed").length,
    };
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true });
  }
}

interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly title: string; readonly status: string }[];
  }[];
}

const readReport = (path: string, errors: string): Report => {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Report;
  } catch (error) {
    throw new Error(`vitest wrote no report: ${errors.slice(-2000)}`, { cause: error });
  }
};

const escape = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** Tries one line: what is wrong with it, or undefined when its test shows it. */
export const tryLine = async (copy: Copy, { requirement, test, removal }: Line): Promise<string | undefined> => {
  if (test === undefined || removal === undefined) return undefined;
  const [file, title] = splitTest(test);
  using _change = copy.change(removal);
  const { failed, ran } = await copy.failing([file], title);
  if (ran === 0) return `${requirement.id}: there is no test "${title}" in ${file}`;
  return failed.length > 0 ? undefined : `${requirement.id}: "${test}" passes although the behaviour is gone`;
};

/** `file: title` in two. */
export const splitTest = (test: string): [file: string, title: string] => {
  const at = test.indexOf(": ");
  return [test.slice(0, at), test.slice(at + 2)];
};

// ---------------------------------------------------------------------------------------------------------------------
// The page

/** FIDELITY.md. */
export const fidelityMarkdown = (lines: readonly Line[]): string => {
  const shown = lines.filter(({ test }) => test !== undefined);
  const cell = (text: string): string =>
    text.trim().replace(/\s+/g, " ").replaceAll("|", "\\|").replaceAll("<", "&lt;");
  const facts = shown.map(({ requirement, what, test }) => {
    const { id, level, sentence, confidence, source } = requirement;
    return `| ${id} | ${level} | ${cell(sentence)} | ${what} | ${cell(test!)} | ${confidence} | ${cell(source)} |`;
  });
  const rest = lines
    .filter(({ test }) => test === undefined)
    .map(
      ({ requirement: { id, sentence, confidence }, why }) =>
        `| ${id} | ${cell(sentence)} | ${cell(why!)} | ${confidence} |`,
    );
  const used = new Set(lines.map(({ what }) => what));
  const more = Object.keys(faultTable).filter((kind) => !used.has(`fault \`${kind}\``));
  return [
    "# What the mock gateway claims about the real one",
    "",
    "<!-- Generated by tools/fidelity.ts from spec/requirements.yaml and tools/fidelity-rows.ts. -->",
    "",
    `Of the ${lines.length} facts of \`spec/requirements.yaml\` that bind the gateway, ${shown.length} are shown by a test. Where a`,
    "test is named, the behaviour can be taken away in a copy of the sources and that test then fails; `npm run lane -- fidelity`",
    "tries each line. Confidence: D documented, S seen by several, O seen once, G guessed.",
    "",
    "| fact | level | what is known | in the mock | shown by | confidence | source |",
    "| --- | --- | --- | --- | --- | --- | --- |",
    ...facts,
    "",
    "## Not shown by a test",
    "",
    "| fact | what is known | why | confidence |",
    "| --- | --- | --- | --- |",
    ...rest,
    "",
    `Faults that are no fact of this server but of any network, or of a broken one: ${more.map((kind) => `\`${kind}\``).join(", ")}.`,
    "",
  ].join("\n");
};

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(join(home, "FIDELITY.md"), fidelityMarkdown(ledger()));
