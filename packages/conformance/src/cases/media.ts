/** Downloads: decryption, names, failures, and what a folder may hold. Of testees alone, since no wire shows what became of a file. */
import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { dirname, resolve, sep } from "node:path";
import type { UserMessage } from "@openws/mock-gateway";
import type { Case } from "../check.ts";
import type { Stage } from "../stage.ts";
import type { Answer } from "../testee.ts";
import type { Frame } from "../wire.ts";

/** A download's time is the network's, and the client's own limit for it is not scaled. Milliseconds of the wall clock. */
const downloadMs = 20_000;

/** What a client said of a download, and what should have come. */
interface Fetched {
  readonly answer: Answer | undefined;
  readonly sha256: string;
  readonly callback: Frame;
}

/** A user sends a file of these bytes, and the client is asked to fetch it. What is wrong with it is so however often it does. */
const fetched = async (
  stage: Stage,
  bytes: Buffer,
  { filename, fault }: { filename?: string; fault?: string } = {},
  withinMs = downloadMs,
): Promise<Fetched | undefined> => {
  const { testee } = stage;
  testee.respond = (told) => (told.event === "message" ? { op: "reply", to: told.key, nothing: true } : undefined);
  const armed = fault === undefined ? undefined : await stage.gateway.addFault(`${fault},times=100000`);
  const message = {
    from: { userid: "zhangsan" },
    msgtype: "file",
    file: { base64: bytes.toString("base64"), ...(filename === undefined ? {} : { filename }) },
  } as UserMessage;
  const { msgid, reqId } = await stage.gateway.say(stage.bot.id, message);
  const report = await stage.until(() => testee.messages.find((one) => one.msgid === msgid), stage.ms(10_000) + 2_500);
  const answer = report && (await stage.ask({ op: "download", to: report.key, item: 0 }, withinMs));
  if (armed !== undefined) await stage.gateway.removeFault(armed.id);
  if (report === undefined) return undefined;
  const callback = stage.wire.all.find((frame) => frame.dir === "out" && frame.reqId === reqId)!;
  return { answer, sha256: createHash("sha256").update(bytes).digest("hex"), callback };
};

const isThere = ({ answer }: Fetched): boolean => answer?.outcome === "done" || answer?.outcome === "acked";
const isRight = (one: Fetched): boolean => isThere(one) && one.answer?.sha256?.toLowerCase() === one.sha256;
const saidOf = (one: Fetched): string =>
  isRight(one)
    ? "whole"
    : isThere(one)
      ? "as another file"
      : `${one.answer?.outcome ?? "no answer"}${one.answer?.reason === undefined ? "" : ` (${one.answer.reason.slice(0, 80)})`}`;

/** Gathers what came of several downloads, and judges all of them at once. */
const judgeAll = (
  stage: Stage,
  id: string,
  found: readonly (readonly [label: string, one: Fetched | undefined])[],
  kept: (one: Fetched, label: string) => boolean,
  said = saidOf,
): void => {
  if (found.some(([, one]) => one === undefined))
    return stage.untested(id, "a message with a file was not handed to the application");
  const all = found as readonly (readonly [string, Fetched])[];
  stage.judge(
    id,
    all.every(([label, one]) => kept(one, label)),
    all.map(([label, one]) => `${label}: ${said(one)}`).join("; "),
    all.filter(([label, one]) => !kept(one, label)).map(([, { callback }]) => callback),
  );
};

const bytesOf = (length: number): Buffer => Buffer.from(Array.from({ length }, (_, at) => (at * 7 + 3) & 0xff));

const keys: Case = {
  name: "media/are-decrypted",
  title: "Files come with keys of 43 and of 44 characters, and with padding of 1, 16, 17, 31 and 32 bytes.",
  checks: ["MEDIA-1", "MEDIA-2a"],
  needs: ["items", "download"],
  play: async (stage) => {
    await stage.ready();
    const byKey: (readonly [string, Fetched | undefined])[] = [];
    for (const aeskeyLength of [43, 44] as const) {
      stage.gateway.set({ aeskeyLength });
      // Its padding has 8 bytes, which both readings of PKCS#7 strip.
      byKey.push([`${aeskeyLength} characters`, await fetched(stage, bytesOf(24))]);
    }
    judgeAll(stage, "MEDIA-1", byKey, isRight);
    const byPadding: (readonly [string, Fetched | undefined])[] = [];
    for (const padding of [1, 16, 17, 31, 32])
      byPadding.push([`padding of ${padding}`, await fetched(stage, bytesOf(64 - padding))]);
    judgeAll(stage, "MEDIA-2a", byPadding, isRight);
  },
};

const spoilt: Case = {
  name: "media/that-are-spoilt-are-none",
  title: "A file is badly padded, and another one is not encrypted.",
  checks: ["MEDIA-2b"],
  needs: ["items", "download"],
  play: async (stage) => {
    await stage.ready();
    const found: (readonly [string, Fetched | undefined])[] = [
      ["bad padding", await fetched(stage, bytesOf(40), { fault: "media:what=bad-padding" })],
      ["not encrypted", await fetched(stage, bytesOf(41), { fault: "media:what=plain" })],
    ];
    judgeAll(stage, "MEDIA-2b", found, (one) => one.answer !== undefined && !isThere(one));
  },
};

/** How the gateway is told to name a file, and how it is then called. */
const names: readonly (readonly [
  label: string,
  disposition: "plain" | "star" | "none",
  filename: string,
  due: string,
])[] = [
  ["a form-encoded filename", "plain", "PC D&T Strategy 2026.docx", "PC D&T Strategy 2026.docx"],
  ["filename*", "star", "中.pdf", "中.pdf"],
  ["no name", "none", "nameless.txt", ""],
];

const named: Case = {
  name: "media/have-names-of-all-kinds",
  title:
    "Downloads are named by a form-encoded filename, by filename*, by one with a bare per cent sign, and not at all.",
  checks: ["MEDIA-3a", "MEDIA-3b"],
  needs: ["items", "download"],
  play: async (stage) => {
    await stage.ready();
    const found: (readonly [string, Fetched | undefined])[] = [];
    const due = new Map<string, string>();
    for (const [label, disposition, filename, name] of names) {
      stage.gateway.set({ disposition });
      found.push([label, await fetched(stage, bytesOf(50), { filename })]);
      due.set(label, name);
    }
    stage.gateway.set({ disposition: "plain" });
    found.push(["100%.txt", await fetched(stage, bytesOf(50), { fault: "media:what=odd-name,name=100%.txt" })]);
    due.set("100%.txt", "100%.txt");
    judgeAll(stage, "MEDIA-3a", found, isRight);
    judgeAll(
      stage,
      "MEDIA-3b",
      found,
      (one, label) => due.get(label) === "" || one.answer?.filename === due.get(label),
      ({ answer }) => JSON.stringify(answer?.filename ?? null),
    );
  },
};

const unavailable: Case = {
  name: "media/that-are-missing-hold-up-nothing",
  title: "A message has a text and an image whose URL answers 403, and then one whose URL answers with an HTML page.",
  checks: ["MEDIA-4"],
  needs: ["items", "download"],
  gateway: () => ({ faults: ["media:what=expired", "media:what=html,nth=2"] }),
  play: async (stage) => {
    await stage.ready();
    const { testee } = stage;
    testee.respond = () => undefined;
    const said: string[] = [];
    let kept = true;
    const evidence: Frame[] = [];
    for (const what of ["403", "an HTML page"]) {
      const { msgid, reqId } = await stage.gateway.say(stage.bot.id, {
        from: { userid: "zhangsan" },
        msgtype: "mixed",
        mixed: {
          msg_item: [
            { msgtype: "text", text: { content: "look" } },
            { msgtype: "image", image: {} },
          ],
        },
      });
      const report = await stage.until(
        () => testee.messages.find((one) => one.msgid === msgid),
        stage.atMost("MEDIA-4", 60_000),
      );
      evidence.push(stage.wire.all.find((frame) => frame.dir === "out" && frame.reqId === reqId)!);
      if (report === undefined) {
        kept = false;
        said.push(`${what}: the message did not reach the application`);
        continue;
      }
      const item = report.items?.findIndex(({ type }) => type === "image") ?? -1;
      const asked = testee.ask({ op: "download", to: report.key, item });
      await stage.until(() => asked.answer, downloadMs);
      testee.ask({ op: "reply", to: report.key, text: "seen" });
      const answer = await stage.answered(reqId, "zhangsan");
      const failed = asked.answer !== undefined && asked.answer.outcome !== "done" && asked.answer.outcome !== "acked";
      if (!failed || answer === undefined) kept = false;
      said.push(
        `${what}: the download came out as ${asked.answer?.outcome ?? "nothing"}, the message was ${answer === undefined ? "not answered" : "answered"}`,
      );
    }
    stage.judge("MEDIA-4", kept, said.join("; "), evidence);
  },
};

const outside: Case = {
  name: "media/stay-in-their-folder",
  title: "Downloads are named by paths that lead out of the folder.",
  checks: ["MEDIA-5"],
  needs: ["items", "download"],
  play: async (stage) => {
    await stage.ready();
    const dir = stage.testee.given!.dir;
    const parent = dirname(dir);
    const before = new Set(readdirSync(parent));
    const paths: string[] = [];
    let last: Fetched | undefined;
    for (const name of ["../outside.txt", "..\\outside.txt", "/tmp/../outside.txt", "..", "%2e%2e%2foutside.txt"]) {
      last = await fetched(stage, bytesOf(30), { fault: `media:what=odd-name,name=${name}` });
      if (last?.answer?.path !== undefined) paths.push(last.answer.path);
    }
    if (last === undefined) return;
    const stray = readdirSync(parent).filter((entry) => !before.has(entry));
    const beyond = paths.find((path) => !resolve(dir, path).startsWith(dir + sep));
    stage.judge(
      "MEDIA-5",
      stray.length === 0 && beyond === undefined,
      stray.length > 0
        ? `${stray.join(", ")} was written beside the folder`
        : beyond === undefined
          ? `nothing was written beside the folder; ${paths.length} files in it`
          : `a file was written to ${beyond}`,
      [last.callback],
    );
  },
};

const prompt: Case = {
  name: "media/are-fetched-at-once",
  title: "A file comes while an earlier message is still being worked on.",
  checks: ["MEDIA-6"],
  needs: ["items", "download"],
  play: async (stage) => {
    await stage.ready();
    const { testee } = stage;
    testee.respond = () => undefined;
    const first = await stage.say("think about this for long");
    const working = await stage.until(
      () => testee.messages.find((one) => one.msgid === first.msgid),
      stage.ms(10_000) + 2_500,
    );
    if (working === undefined) return;
    const { msgid, reqId } = await stage.gateway.say(stage.bot.id, {
      from: { userid: "zhangsan" },
      msgtype: "file",
      file: {},
    });
    const limit = stage.atMost("MEDIA-6", 300_000);
    const beganAt = performance.now();
    const report = await stage.until(() => testee.messages.find((one) => one.msgid === msgid), limit);
    const asked = report && testee.ask({ op: "download", to: report.key, item: 0 });
    const answer = asked && (await stage.until(() => asked.answer, Math.max(0, beganAt + limit - performance.now())));
    const there = answer?.outcome === "done" || answer?.outcome === "acked";
    stage.judge(
      "MEDIA-6",
      there,
      report === undefined
        ? "the second message waited for the first"
        : there
          ? `fetched ${Math.round(performance.now() - beganAt)} ms after it came, while the first was being worked on`
          : `the download came out as ${answer?.outcome ?? "nothing"}`,
      [stage.wire.all.find((frame) => frame.dir === "out" && frame.reqId === reqId)],
    );
    testee.ask({ op: "reply", to: working.key, nothing: true });
  },
};

const oversized: Case = {
  name: "media/have-a-limit",
  title: "A download has 101 MiB.",
  checks: ["MEDIA-7"],
  needs: ["items", "download"],
  play: async (stage) => {
    await stage.ready();
    const one = await fetched(stage, bytesOf(30), { fault: "media:what=oversized" }, 2 * downloadMs);
    judgeAll(stage, "MEDIA-7", [["101 MiB", one]], (found) => found.answer !== undefined && !isThere(found));
  },
};

/** The cases of this file, in the order in which they are told. */
export const media: readonly Case[] = [keys, spoilt, named, unavailable, outside, prompt, oversized];
