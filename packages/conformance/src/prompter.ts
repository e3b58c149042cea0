/**
 * The suite's side of the testee protocol: it says what the client's application does, and keeps what it is told.
 *
 * By itself it plays an application that keeps the echo contract, so that each case of the observe tier can be played with a
 * testee, too: what the bot of that tier does by its own code is done here by operations. A case that wants another answer
 * takes over `respond`. What a testee did not declare is not asked of it: the case is skipped then, and `undeclared` says why.
 *
 * Knows neither processes nor checks; time is read off the monotonic clock alone.
 */
import type { Said } from "./testees/line.ts";
import type { Ability, Answer, EventReport, Given, Hello, MessageReport, Op, ReplyOp, Reported } from "./testee.ts";

/** A report, and when it came, on the monotonic clock. */
export type Told<Kind extends Reported = Reported> = Kind & { readonly at: number };

/** An operation that was asked. */
export interface Asked {
  readonly op: Op;
  readonly askedAt: number;
  /** The answer, once there is one. */
  readonly answer: Answer | undefined;
  readonly answeredAt: number | undefined;
}

/** What the application answers to a message or an event; nothing for now, where it is undefined. */
export type Respond = (told: Told, prompter: Prompter) => Op | undefined;

/** Keeps one testee. */
export class Prompter {
  /** Everything it reported, oldest first. */
  readonly reports: Told[] = [];
  /** Everything it was asked, oldest first. */
  readonly asked: Asked[] = [];
  /** What it answers by itself; the echo contract until a case says otherwise. */
  respond: Respond = contract;
  hello: Hello | undefined;
  /** Set when it broke the testee protocol: which line, and why. */
  broke: string | undefined;
  /** Set when something was asked that it did not declare. */
  undeclared: Ability | undefined;
  readonly given: Given | undefined;
  readonly #send: (line: { readonly id: number } & Op) => void;
  readonly #open = new Map<number, Asked & { answer: Answer | undefined; answeredAt: number | undefined }>();
  readonly #keys = new Set<string>();
  readonly #unsupported = new Map<number, () => void>();
  #ids = 0;

  /** `given` is with what the client is to be started, once it has said hello; a probe starts none. */
  constructor(send: (line: { readonly id: number } & Op) => void, given?: Given) {
    this.#send = send;
    this.given = given;
  }

  /** The messages it reported, oldest first. */
  get messages(): Told<MessageReport>[] {
    return this.reports.filter((told): told is Told<MessageReport> => told.event === "message");
  }

  /** The events it reported, oldest first; of this type, if one is named. */
  events(eventtype?: string): Told<EventReport>[] {
    return this.reports.filter(
      (told): told is Told<EventReport> =>
        told.event === "event" && (eventtype === undefined || told.eventtype === eventtype),
    );
  }

  /** Whether the testee declared it. */
  can(ability: Ability): boolean {
    return this.hello?.can.includes(ability) === true;
  }

  /** Asks for an operation; the answer appears in what is returned. What was not declared is not sent. */
  ask(op: Op): Asked {
    const asked = { op, askedAt: performance.now(), answer: undefined, answeredAt: undefined };
    this.asked.push(asked);
    const lacks = needsOf(op).find((ability) => !this.can(ability));
    if (lacks !== undefined) {
      this.undeclared ??= lacks;
      return asked;
    }
    const id = ++this.#ids;
    this.#open.set(id, asked);
    this.#send({ id, ...op });
    return asked;
  }

  /** Expects an operation of this id, sent past `ask`, to be answered as one that is not known. */
  expectUnsupported(id: number, then: () => void): void {
    this.#unsupported.set(id, then);
  }

  /** Takes what the testee said. False for what is not of the protocol. */
  take(said: Said): boolean {
    switch (said.what) {
      case "log":
        return false;
      case "wrong":
        this.broke ??= said.why;
        return true;
      case "hello":
        if (this.hello !== undefined) this.broke ??= "it said hello twice";
        this.hello ??= said.hello;
        if (this.given !== undefined) this.ask({ op: "start", ...this.given });
        return true;
      case "answer": {
        const known = this.#unsupported.get(said.id);
        if (known !== undefined && said.answer.outcome === "unsupported") {
          known();
          return true;
        }
        const asked = this.#open.get(said.id);
        if (asked === undefined) this.broke ??= `it answered ${said.id}, which was not asked or has its answer`;
        else {
          this.#open.delete(said.id);
          asked.answer = said.answer;
          asked.answeredAt = performance.now();
          const { outcome, reason } = said.answer;
          if (outcome === "unsupported") this.broke ??= `it does not know ${asked.op.op}, which it declared`;
          else if (asked.op.op === "start" && outcome !== "done")
            this.broke ??= `start came out as ${outcome}${reason === undefined ? "" : `: ${reason}`}`;
        }
        return true;
      }
      case "report": {
        if (this.#keys.has(said.report.key)) this.broke ??= `the key ${said.report.key} comes twice`;
        this.#keys.add(said.report.key);
        const told = { ...said.report, at: performance.now() };
        this.reports.push(told);
        const op = this.respond(told, this);
        if (op !== undefined) this.ask(op);
        return true;
      }
    }
  }
}

/** Which abilities an operation needs. */
const needsOf = (op: Op): readonly Ability[] => {
  if (op.op !== "reply" && op.op !== "push") return needed[op.op];
  const needs: Ability[] = op.op === "push" ? ["push"] : [];
  if (op.card !== undefined) needs.push("card");
  if (op.file !== undefined) needs.push("file");
  if (op.op === "push") return needs;
  if (op.parts !== undefined) needs.push("stream");
  if (op.throw !== undefined || op.then === "throw") needs.push("throw");
  if (op.feedbackId !== undefined) needs.push("feedback");
  return needs;
};

const needed: Readonly<Record<Exclude<Op["op"], "reply" | "push">, readonly Ability[]>> = {
  start: [],
  stop: [],
  upload: ["upload"],
  download: ["download"],
  welcome: ["welcome"],
  update: ["update"],
  state: ["state"],
  census: ["census"],
};

/** The echo contract: the words that docs/conformance.md lists, and an echo of any other text. */
export const contract: Respond = (told, prompter) => {
  if (told.event === "event") return eventAnswer(told, prompter);
  const reply = (answer: Omit<ReplyOp, "op" | "to">): ReplyOp => ({ op: "reply", to: told.key, ...answer });
  if (told.text === undefined) return reply({ text: `echo: ${told.msgtype}` });
  const mention = `@${prompter.given?.botName ?? ""} `;
  const text = told.text.startsWith(mention) ? told.text.slice(mention.length) : told.text;
  const [, word, argument = ""] = /^(\S+)(?: ([^]*))?$/.exec(text) ?? [];
  switch (word) {
    case "!stream":
      return reply({ parts: Array.from({ length: Number(argument) }, (_, at) => `word${at + 1} `), everyMs: 150 });
    case "!push":
      prompter.ask({ op: "push", ...chatOf(told), text: argument });
      return reply({ nothing: true });
    case "!upload":
      return reply({ file: { type: "file", filename: "file.bin", sizeBytes: Number(argument) } });
    case "!card":
      return reply({ card: button("Press the button", "press") });
    case "!fail":
      return prompter.can("stream") && prompter.can("throw")
        ? // oxlint-disable-next-line no-thenable -- a word of the protocol; a text is no function
          reply({ parts: ["I begin"], everyMs: 100, then: "throw" })
        : reply({ throw: "this handler was asked to fail" });
    case "!slow":
      setTimeout(() => prompter.ask(reply({ text: `that took ${argument} ms` })), Number(argument));
      return undefined;
    default:
      return reply({ text: `echo: ${text}` });
  }
};

const eventAnswer = ({ eventtype, key, taskId }: Told<EventReport>, prompter: Prompter): Op | undefined => {
  if (eventtype === "enter_chat" && prompter.can("welcome")) return { op: "welcome", to: key, text: "welcome" };
  if (eventtype === "template_card_event" && prompter.can("update") && taskId !== undefined)
    return { op: "update", to: key, card: { ...button("You pressed it", "pressed"), task_id: taskId } };
  return undefined;
};

/** Where a push to whoever sent this message goes. */
export const chatOf = ({
  chatid,
  userid = "",
}: MessageReport): { readonly chatid: string; readonly chattype: "single" | "group" } =>
  chatid === undefined ? { chatid: userid, chattype: "single" } : { chatid, chattype: "group" };

/** A card with one button. */
export const button = (title: string, key: string): Readonly<Record<string, unknown>> => ({
  card_type: "button_interaction",
  main_title: { title },
  button_list: [{ text: "Press", key, style: 1 }],
});
