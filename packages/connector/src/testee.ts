/**
 * The connector in the hands of the conformance suite: the testee protocol (packages/conformance/TESTEE.md) on standard input
 * and output, and the same as an object for a test.
 *
 * ```sh
 * openws-conformance run --tier testee -- node packages/connector/src/testee.ts
 * ```
 *
 * Knows the suite by its types alone. What a library's user would not see is not told either.
 */
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type TemplateCard, UsageError } from "@openws/protocol";
import type {
  Ability,
  Answer,
  Card,
  FileGiven,
  Given,
  Item,
  Op,
  Reported,
  ReplyOp,
  State,
  Testee,
  TesteeClient,
} from "@openws/conformance";
import {
  type AnswerEnd,
  type Answerable,
  type Bot,
  FileError,
  type HappenedEvent,
  type Message,
  createBot,
  reply,
} from "./index.ts";

/** Which of the suite's abilities the library offers: a new one has to be decided about. */
const offered: Readonly<Record<Ability, boolean>> = {
  stream: true,
  throw: true,
  card: true,
  file: true,
  feedback: false,
  push: true,
  upload: true,
  download: true,
  events: true,
  welcome: true,
  update: true,
  items: true,
  quote: true,
  conversation: true,
  outcomes: true,
  state: true,
  census: true,
};

/** The connector as a testee. */
export const testee: Testee = {
  client: "@openws/connector",
  can: (Object.keys(offered) as Ability[]).filter((ability) => offered[ability]),
  scaled: true,
  start: (given, report) => new ConnectorClient(given, report),
};

/** What the suite wants a handler to do, and who hears how it went. */
interface Plan {
  readonly op: ReplyOp | Extract<Op, { op: "welcome" | "update" }>;
  readonly resolve: (answer: Answer) => void;
}

/** A message or event that came, whose handler will wait for its plan, or waits for it, or carries it out. */
interface Turn {
  readonly key: string;
  readonly planned: Promise<Plan>;
  readonly decide: (plan: Plan) => void;
  plan: Plan | undefined;
  /** How many answers are still to come of it, and how the worst of those went that came. */
  open: number;
  worst: Answer | undefined;
}

class ConnectorClient implements TesteeClient {
  readonly #bot: Bot;
  readonly #dir: string;
  /** By key: handlers that wait for their plan, or will. */
  readonly #turns = new Map<string, Turn>();
  readonly #turnOf = new WeakMap<Message | HappenedEvent, Turn>();
  /** By req_id: what has no end yet. */
  readonly #byReqId = new Map<string, Turn>();
  /** By key, for what is downloaded of them. */
  readonly #messages = new Map<string, Message>();
  #refusedWith: number | undefined;
  #tasks = 0;

  constructor(given: Given, report: (event: Reported) => void) {
    const { url, botId, secret, botName, dir, heartbeatMs, ackMs, backoffBaseMs } = given;
    // What the three durations do not decide in this client, and production does by the clock: so much faster.
    const scale = (heartbeatMs ?? 30_000) / 30_000;
    this.#dir = dir;
    this.#bot = createBot({
      url,
      botId,
      secret,
      name: botName,
      heartbeatMs,
      ackMs,
      backoffBaseMs,
      handoverMs: 540_000 * scale,
      quota: { pauseMs: 60_000 * scale },
    });
    this.#bot.on("message", (message) => this.#handle(message));
    this.#bot.on("event", (event) => this.#handle(event));
    this.#bot.observe((event) => {
      if (event.type === "message") report(this.#came(event.message, reported(event.message)));
      if (event.type === "happened") report(this.#came(event.event, happened(event.event)));
      if (event.type === "moved" && event.to === "refused") this.#refusedWith = event.detail?.code;
      if (event.type === "answered") this.#answered(event.reqId, answerOf(event.end));
      if (event.type === "handler-failed") this.#end(event.reqId, { outcome: "failed", reason: String(event.error) });
      if (event.type === "dropped") this.#end(event.reqId, { outcome: "not-sent", reason: `dropped: ${event.why}` });
      // Whatever was still to be said is not said; an answer that was under way is told by itself, if it is told.
      if (event.type === "cut-off")
        setTimeout(() => this.#end(event.reqId, { outcome: "not-sent", reason: `cut off: ${event.why}` }), 1_000);
    });
    void this.#bot.start();
  }

  async stop(): Promise<Answer> {
    await this.#bot.stop();
    return { outcome: "done" };
  }

  async reply(op: Plan["op"]): Promise<Answer> {
    const turn = this.#turns.get(op.to);
    if (turn === undefined) return { outcome: "not-sent", reason: "its handler is over" };
    const { promise, resolve } = Promise.withResolvers<Answer>();
    turn.plan = { op, resolve };
    turn.decide(turn.plan);
    return promise;
  }

  welcome(op: Extract<Op, { op: "welcome" }>): Promise<Answer> {
    return this.reply(op);
  }

  update(op: Extract<Op, { op: "update" }>): Promise<Answer> {
    return this.reply(op);
  }

  async push({ chatid, chattype, text, card, file }: Extract<Op, { op: "push" }>): Promise<Answer> {
    const to = chattype === "single" ? { userid: chatid } : { chatid };
    const message = text ?? (card === undefined ? fileReply(file!) : reply.card(this.#card(card)));
    return answerOf(await this.#bot.push(to, message).catch(failureOf));
  }

  async upload(op: FileGiven): Promise<Answer> {
    try {
      const { mediaId } = await this.#bot.upload(bytes(op), { kind: op.type, filename: op.filename });
      return { outcome: "acked", mediaId };
    } catch (error) {
      return answerOf(failureOf(error));
    }
  }

  async download({ to, item }: Extract<Op, { op: "download" }>): Promise<Answer> {
    const given = this.#messages.get(to);
    if (given === undefined) return { outcome: "failed", reason: "no such message" };
    const before = itemsOf(given.body).slice(0, item);
    const file = given.files[before.filter(({ type }) => type !== "text").length];
    if (file === undefined) return { outcome: "failed", reason: "no such file" };
    try {
      const { bytes: clear, filename } = await file.download();
      const path = join(this.#dir, filename);
      writeFileSync(path, clear);
      return { outcome: "done", sha256: createHash("sha256").update(clear).digest("hex"), filename, path };
    } catch (error) {
      return { outcome: "failed", reason: error instanceof Error ? error.message : String(error) };
    }
  }

  state(): Answer {
    const { connection } = this.#bot.state;
    const state = states[connection];
    return { outcome: "done", state, ...(state === "refused" ? { errcode: this.#refusedWith } : {}) };
  }

  census(): Answer {
    collectGarbage();
    const timers = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    return { outcome: "done", counts: { heapBytes: process.memoryUsage().heapUsed, timers } };
  }

  /** A message or event is told of when it comes; its handler may have to wait for its turn. */
  #came(given: Message | HappenedEvent, event: Reported): Reported {
    const { promise: planned, resolve: decide } = Promise.withResolvers<Plan>();
    const turn: Turn = { key: event.key, planned, decide, plan: undefined, open: 1, worst: undefined };
    this.#turns.set(event.key, turn);
    this.#turnOf.set(given, turn);
    this.#byReqId.set(given.reqId, turn);
    if (event.event === "message") this.#messages.set(event.key, given as Message);
    // What a census counts is the connector's, not what is remembered here.
    for (const remembered of [this.#messages, this.#byReqId])
      if (remembered.size > rememberedTurns) remembered.delete(remembered.keys().next().value!);
    return event;
  }

  /** A handler: it waits to be told what to do, and does it. */
  async #handle(given: Message | HappenedEvent): Promise<Answerable> {
    const turn = this.#turnOf.get(given)!;
    const { op } = await turn.planned;
    this.#turns.delete(turn.key);
    if (op.op === "welcome") return reply.text(op.text);
    if (op.op === "update") return reply.card(op.card as TemplateCard);
    if (op.throw !== undefined) throw new Error(op.throw);
    if (op.parts !== undefined) return growing(op.parts, op);
    const pieces = [
      ...(op.text === undefined ? [] : [reply.markdown(op.text)]),
      ...(op.card === undefined ? [] : [reply.card(this.#card(op.card))]),
      ...(op.file === undefined ? [] : [fileReply(op.file)]),
    ];
    turn.open = pieces.length;
    if (pieces.length === 0) this.#end(given.reqId, { outcome: "done" });
    return pieces.length === 0 ? undefined : pieces;
  }

  #answered(reqId: string, answer: Answer): void {
    const turn = this.#byReqId.get(reqId);
    if (turn === undefined) return;
    if (turn.worst === undefined || turn.worst.outcome === "acked") turn.worst = answer;
    if (--turn.open <= 0) this.#end(reqId, turn.worst);
  }

  #end(reqId: string, answer: Answer): void {
    const turn = this.#byReqId.get(reqId);
    if (turn === undefined) return;
    this.#byReqId.delete(reqId);
    this.#turns.delete(turn.key);
    turn.plan?.resolve(turn.worst === undefined || turn.worst.outcome === "acked" ? answer : turn.worst);
  }

  #card(card: Card): TemplateCard {
    return { task_id: `task-${process.pid}-${Date.now().toString(36)}-${++this.#tasks}`, ...card } as TemplateCard;
  }
}

/** What the connection is called here, by what the connector calls it. */
const states: Readonly<Record<ReturnType<() => Bot["state"]["connection"]>, State>> = {
  idle: "stopped",
  dialing: "connecting",
  subscribing: "connecting",
  ready: "ready",
  waiting: "connecting",
  kicked: "kicked",
  refused: "refused",
  stopped: "stopped",
};

async function* growing(parts: readonly string[], { everyMs = 0, then }: ReplyOp): AsyncGenerator<string> {
  for (const part of parts) {
    await pause(everyMs);
    yield part;
  }
  if (then === "throw") throw new Error("this handler was asked to fail");
}

const bytes = ({ sizeBytes }: FileGiven): Uint8Array => Uint8Array.from({ length: sizeBytes }, (_, at) => at & 0xff);

const fileReply = (file: FileGiven): ReturnType<typeof reply.file> =>
  reply.file(bytes(file), { kind: file.type, filename: file.filename });

/** What the connector says became of something, in the suite's words. */
function answerOf(end: AnswerEnd | Answer): Answer {
  if ("outcome" in end) return end;
  if (end.type === "delivered") return { outcome: "acked" };
  if (end.type === "unknown") return { outcome: "unknown", reason: end.why };
  return end.errcode === undefined
    ? { outcome: "not-sent", reason: end.why }
    : { outcome: "refused", errcode: end.errcode, reason: end.why };
}

/** What the connector throws was never sent, but for a file that failed on its way. */
const failureOf = (error: unknown): Answer => ({
  outcome: error instanceof UsageError ? "not-sent" : error instanceof FileError ? fileFailure(error) : "failed",
  reason: error instanceof Error ? error.message : String(error),
});

const fileFailure = ({ code }: FileError): "not-sent" | "failed" => (code === "file-too-large" ? "not-sent" : "failed");

let keys = 0;

const reported = (message: Message): Reported => ({
  event: "message",
  key: String(++keys),
  msgtype: message.kind,
  msgid: message.msgid,
  userid: message.from,
  chattype: message.chat.type,
  ...(message.chat.type === "group" ? { chatid: message.chat.id } : {}),
  // A kind without words of its own reads as its name in brackets.
  ...(message.kind === "text" || message.kind === "voice" || message.kind === "mixed" ? { text: message.text } : {}),
  items: itemsOf(message.body),
  ...(message.quote === undefined
    ? {}
    : { quote: { msgtype: message.quote.msgtype, text: textOf(message.quote), items: itemsOf(message.quote) } }),
  conversation: `${message.chat.type}:${message.chat.id}`,
});

const happened = (event: HappenedEvent): Reported => {
  const about = {
    event: "event",
    key: String(++keys),
    eventtype: event.body.event.eventtype,
    msgid: event.msgid,
    userid: event.from,
    chatid: event.chat?.type === "group" ? event.chat.id : undefined,
  } as const;
  if (event.kind !== "template_card_event") return about;
  const { event_key, task_id, selected_items } = event.body.event.template_card_event;
  const selected = (selected_items?.selected_item ?? []).map(
    ({ question_key, option_ids }) => [question_key, option_ids.option_id] as const,
  );
  return { ...about, eventKey: event_key, taskId: task_id, selected: Object.fromEntries(selected) };
};

type Part = Parameters<typeof partItems>[0];

/** The pieces of a message, of a quote, or of an item of a mixed one, as the body holds them. */
const itemsOf = (body: Message["body"] | NonNullable<Message["quote"]>): Item[] => partItems(body);

function partItems(part: { readonly msgtype: string; readonly [type: string]: unknown }): Item[] {
  const content = part[part.msgtype] as Readonly<Record<string, unknown>>;
  if (part.msgtype === "mixed") return (content["msg_item"] as Part[]).flatMap(partItems);
  if (part.msgtype === "text") return [{ type: "text", text: String(content["content"]) }];
  const type = part.msgtype;
  if (type !== "image" && type !== "file" && type !== "video" && type !== "voice") return [];
  const { url, aeskey } = content as { url?: string; aeskey?: string };
  return url === undefined ? [] : [{ type, url, aeskey }];
}

const textOf = (quote: NonNullable<Message["quote"]>): string | undefined =>
  quote.msgtype === "text" ? quote.text.content : quote.msgtype === "voice" ? quote.voice.content : undefined;

/** Of how many messages the testee knows what they were. */
const rememberedTurns = 1_000;

/** Frees what can be freed, so that what is counted is what is held. */
const collectGarbage = ((): (() => void) => {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as () => void;
})();

/** The testee protocol: a line an operation, a line an answer, side by side. */
function speak(): void {
  const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
  let client: TesteeClient | undefined;
  const perform = async ({ op, ...rest }: Op): Promise<Answer> => {
    if (op === "start") {
      client = await testee.start(rest as Given, say);
      return { outcome: "done" };
    }
    const method = client?.[op as "stop"] as ((op: object) => Promise<Answer> | Answer) | undefined;
    return method === undefined ? { outcome: "unsupported" } : method.call(client, { op, ...rest });
  };
  const { client: name, can, scaled } = testee;
  say({ hello: 1, client: name, can, scaled });
  createInterface({ input: process.stdin })
    .on("line", (line) => {
      const { id, ...op } = JSON.parse(line) as Op & { readonly id: number };
      void perform(op as Op)
        .catch(failureOf)
        .then((answer) => say({ id, ...answer }));
    })
    .on("close", () => process.exit(0));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) speak();
