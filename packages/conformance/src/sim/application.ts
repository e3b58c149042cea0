/**
 * The application of the simulated bot: answers what users say by streams, pushes, uploads, and keeps a ledger.
 *
 * Decides what is said, and what a careful owner of the machines does with their effects: one budget a chat, one queue for
 * pushes, no second processing of a msgid, no second push after an outcome that is unknown. It is the part of a connector
 * that a simulation of the core cannot do without, and no more.
 */
import type * as Protocol from "@openws/protocol";
import { markOf } from "../history.ts";
import type { Happening, Millis } from "../history.ts";
import type { Agenda } from "./agenda.ts";
import type { Client, Core } from "./client.ts";
import { chatCount } from "./schedule.ts";
import type { Command, Schedule } from "./schedule.ts";
import type { Chat } from "./wire.ts";

/** One answer, from the callback to its end. */
export interface Answer {
  /** The index of the command that asked for it. */
  readonly n: number;
  readonly req_id: string;
  readonly chat: string;
  readonly options: Protocol.StreamOptions;
  readonly budget: Protocol.Budget;
  stream: Protocol.Stream;
  /** Whether its text has ended. */
  ended: boolean;
}

/** One file on its way. */
export interface Sending {
  readonly n: number;
  readonly chat: string;
  readonly options: Protocol.UploadOptions;
  upload: Protocol.Upload;
}

interface Push {
  readonly id: string;
  readonly chat: string;
  /** Markdown, or the file with this media_id. */
  readonly body: { readonly content: string } | { readonly mediaId: string };
  /** Waits for its turn; has been sent; is settled. */
  state: "queued" | "sent" | "over";
  retries: number;
  notBefore: Millis;
}

/** What a user says to be answered by the command with this index. */
export function question(n: number): string {
  return `question ${n}`;
}

/** The chat with this index: users, then groups. */
export function chatAt(index: number): Chat {
  if (index >= chatCount) return { userid: "last" };
  return index < 4 ? { userid: `user${index}` } : { userid: "user0", chatid: `Group${index}` };
}

/** What a frame to the chat names it by. */
export function chatKey(chat: Chat): string {
  return chat.chatid ?? chat.userid;
}

/** The application of one client. */
export class Application {
  /** Until when it has something to say. */
  speaksUntil: Millis = 0;
  readonly #client: Client;
  readonly #core: Core;
  readonly #schedule: Schedule;
  readonly #agenda: Agenda;
  readonly #log: Happening[];
  readonly #budgets = new Map<string, Protocol.Budget>();
  readonly #answers = new Map<number, Answer>();
  readonly #pushes = new Map<string, Push>();
  readonly #uploads = new Map<number, Sending>();
  readonly #seen = new Set<string>();

  constructor(client: Client, core: Core, schedule: Schedule, agenda: Agenda, log: Happening[]) {
    this.#client = client;
    this.#core = core;
    this.#schedule = schedule;
    this.#agenda = agenda;
    this.#log = log;
  }

  /** What is open. */
  get left(): Record<string, number> {
    return { answers: this.#answers.size, pushes: this.#pushes.size, uploads: this.#uploads.size };
  }

  /** When an answer, an upload or a push wants its turn. Asked after every event, so that nothing is iterated in vain. */
  get deadline(): Millis {
    let first = Infinity;
    if (this.#answers.size > 0)
      for (const { stream } of this.#answers.values()) {
        const { deadline } = stream;
        if (deadline !== undefined && deadline < first) first = deadline;
      }
    if (this.#uploads.size > 0)
      for (const { upload } of this.#uploads.values()) first = Math.min(first, upload.deadline ?? Infinity);
    if (this.#pushes.size > 0 && this.#client.state === "ready")
      for (const push of this.#pushes.values()) if (push.state === "queued") first = Math.min(first, push.notBefore);
    return first;
  }

  tick(): void {
    const { now } = this.#agenda;
    for (const answer of this.#answers.values())
      if ((answer.stream.deadline ?? Infinity) <= now) this.#step(answer, { type: "tick" });
    for (const sending of this.#uploads.values())
      if ((sending.upload.deadline ?? Infinity) <= now) this.#stepUpload(sending, { type: "tick" });
    this.#sendPushes();
  }

  /** A socket is subscribed. */
  ready(): void {
    for (const answer of this.#answers.values()) this.#step(answer, { type: "ready" });
    for (const sending of this.#uploads.values()) this.#stepUpload(sending, { type: "ready" });
    this.#sendPushes();
  }

  /** Ends every open answer, because the process must stop. */
  cancel(): void {
    for (const answer of this.#answers.values()) this.#end(answer, "cancel", 0);
  }

  /** The process was killed: everything comes back from what was stored. */
  restore(): void {
    for (const [chat, budget] of this.#budgets)
      this.#budgets.set(chat, this.#core.Budget.restore(stored(budget.state)));
    for (const [n, answer] of this.#answers) {
      const budget = this.#budget(answer.chat);
      const options = { ...answer.options, budget };
      const stream = this.#core.Stream.restore(stored(answer.stream.state), options);
      this.#answers.set(n, { ...answer, options, budget, stream });
    }
    for (const sending of this.#uploads.values())
      sending.upload = this.#core.Upload.restore(stored(sending.upload.state), sending.options);
    // A push that was on its way may have been shown.
    for (const push of this.#pushes.values()) if (push.state === "sent") this.#settlePush(push, "unknown");
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Answers

  /** A callback. */
  deliver(push: Protocol.Push): void {
    if (push.kind !== "message" || !push.known) return;
    const { body, req_id } = push;
    if (body.msgtype !== "text" || this.#seen.has(body.msgid)) return;
    this.#seen.add(body.msgid);
    const n = Number(/question (\d+)$/.exec(body.text.content)?.[1] ?? -1);
    const command = this.#schedule.commands[n] ?? (n === this.#schedule.commands.length ? lastWord : undefined);
    if (command?.do !== "say" || this.#answers.has(n)) return;
    this.#answer(n, command, req_id, body.chattype === "group" ? body.chatid! : body.from.userid);
  }

  #answer(n: number, command: Extract<Command, { do: "say" }>, req_id: string, chat: string): void {
    const { now } = this.#agenda;
    this.#log.push({ what: "answering", at: now, answer: n, req_id, chat });
    const budget = this.#budget(chat);
    const options = { id: `answer-${n}-${req_id}`, budget, replyUntil: now + 24 * 3_600_000 };
    const stream = new this.#core.Stream(options);
    const answer: Answer = { n, req_id, chat, options, budget, stream, ended: false };
    this.#answers.set(n, answer);
    if (command.aside) this.#remark(req_id, n, budget, command.aside);
    if (command.everyMs === 0 && command.ending === "finish") return this.#sayAtOnce(answer, command);
    this.speaksUntil = Math.max(this.speaksUntil, now + command.pieces * command.everyMs);
    this.#speak(n, command, 0);
  }

  /** Says something beside the stream, on its req_id: the two must share the lane. */
  #remark(req_id: string, n: number, budget: Protocol.Budget, aside: "sent" | "withdrawn"): void {
    const { now } = this.#agenda;
    if (budget.handle(now, { type: "ask", for: "final" })[0]?.type === "denied") return;
    const body = { msgtype: "markdown", markdown: { content: `(${n})` } } as const;
    const frame = this.#core.encode({ cmd: "aibot_respond_msg", headers: { req_id }, body });
    const key = this.#client.request(frame, (outcome) => {
      if (outcome.type === "refused" && outcome.errcode === 846607)
        budget.handle(this.#agenda.now, { type: "throttled" });
    });
    if (aside === "withdrawn") this.#agenda.at(now + 150, () => this.#client.abandon(key));
  }

  /** Says the piece with this index, and sees to the next. */
  #speak(n: number, command: Extract<Command, { do: "say" }>, piece: number): void {
    const answer = this.#answers.get(n);
    if (answer === undefined || answer.ended) return;
    const said = command.ending === "silent" ? 0 : command.pieces;
    if (piece === said) return this.#end(answer, command.ending, said);
    this.#step(answer, { type: "append", text: pieceOf(n, piece, command.bytes) });
    this.#agenda.at(this.#agenda.now + command.everyMs, () => this.#speak(n, command, piece + 1));
  }

  /** Says all there is to say with the end. */
  #sayAtOnce(answer: Answer, { pieces, bytes }: Extract<Command, { do: "say" }>): void {
    let text = "";
    for (let piece = 0; piece < pieces; piece++) text += pieceOf(answer.n, piece, bytes);
    this.#end(answer, "finish", pieces, text);
  }

  /** Ends the text, with these last words if there are any. */
  #end(answer: Answer, how: "finish" | "fail" | "cancel" | "silent", marks: number, text?: string): void {
    if (answer.ended) return;
    answer.ended = true;
    this.#log.push({ what: "said", at: this.#agenda.now, answer: answer.n, marks, how });
    this.#step(answer, text === undefined ? { type: how === "silent" ? "finish" : how } : { type: "finish", text });
  }

  #step(answer: Answer, input: Protocol.StreamInput): void {
    for (const effect of this.#client.step(answer, input)) this.#perform(answer, effect);
  }

  #perform(answer: Answer, effect: Protocol.StreamEffect): void {
    const { n, req_id, chat } = answer;
    switch (effect.type) {
      case "send":
        return this.#request(
          { cmd: "aibot_respond_msg", headers: { req_id }, body: effect.body },
          this.#settleStream(n, effect.key),
        );
      case "push":
        return this.#request(this.#send(chat, effect), this.#settleStream(n, effect.key));
      case "done": {
        this.#answers.delete(n);
        const { state, route } = effect.result;
        this.#log.push({ what: "answered", at: this.#agenda.now, answer: n, state, route });
      }
    }
  }

  #settleStream(n: number, key: number): (outcome: Protocol.Outcome) => void {
    return (outcome) => {
      const answer = this.#answers.get(n);
      if (answer) this.#step(answer, { type: "settled", key, outcome });
    };
  }

  #request(frame: Protocol.ClientFrame, settle: (outcome: Protocol.Outcome) => void, ackMs?: Millis): void {
    this.#client.request(this.#core.encode(frame), settle, ackMs);
  }

  #send(chat: string, message: Push["body"]): Protocol.ClientFrame {
    const to = { chatid: chat, chat_type: chat.startsWith("Group") ? 2 : 1 } as const;
    const headers = { req_id: this.#client.reqId() };
    return "content" in message
      ? { cmd: "aibot_send_msg", headers, body: { ...to, msgtype: "markdown", markdown: { content: message.content } } }
      : { cmd: "aibot_send_msg", headers, body: { ...to, msgtype: "file", file: { media_id: message.mediaId } } };
  }

  #budget(chat: string): Protocol.Budget {
    let budget = this.#budgets.get(chat);
    if (budget === undefined) this.#budgets.set(chat, (budget = new this.#core.Budget()));
    return budget;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Pushes

  /** Queues a push; it goes when the connection is ready and the chat may be sent something. */
  push(id: string, chat: string, body: Push["body"]): void {
    this.#log.push({ what: "pushing", at: this.#agenda.now, push: id, chat });
    this.#pushes.set(id, { id, chat, body, state: "queued", retries: 0, notBefore: 0 });
    this.#sendPushes();
  }

  #sendPushes(): void {
    const { now } = this.#agenda;
    for (const push of this.#pushes.values()) {
      if (push.state !== "queued" || push.notBefore > now || this.#client.state !== "ready") continue;
      const [answer] = this.#budget(push.chat).handle(now, { type: "ask", for: "push" });
      if (answer?.type === "denied") {
        push.notBefore = answer.until;
        continue;
      }
      push.state = "sent";
      this.#request(this.#send(push.chat, push.body), (outcome) => this.#pushSettled(push, outcome));
    }
  }

  #pushSettled(push: Push, outcome: Protocol.Outcome): void {
    const { now } = this.#agenda;
    if (this.#pushes.get(push.id) !== push || push.state !== "sent") return;
    if (outcome.type === "acked") return this.#settlePush(push, "delivered");
    if ("maybeDelivered" in outcome && outcome.maybeDelivered) return this.#settlePush(push, "unknown");
    if (outcome.type === "stopped") return this.#settlePush(push, "failed");
    if (outcome.type === "refused") {
      if (outcome.errcode === 846607) this.#budget(push.chat).handle(now, { type: "throttled" });
      else if (!passing.has(outcome.errcode) || push.retries++ >= 3) return this.#settlePush(push, "failed");
      push.notBefore = now + 400;
    }
    push.state = "queued";
  }

  #settlePush(push: Push, state: "delivered" | "unknown" | "failed"): void {
    push.state = "over";
    this.#pushes.delete(push.id);
    this.#log.push({ what: "pushed", at: this.#agenda.now, push: push.id, state });
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Uploads

  /** Uploads a file of so many zeros, and pushes it when there is a media_id. */
  upload(n: number, chat: string, sizeBytes: number): void {
    this.#log.push({ what: "uploading", at: this.#agenda.now, upload: n, bytes: sizeBytes });
    const planned = this.#core.planUpload({ filename: "zeros.bin", sizeBytes });
    if ("refusal" in planned) return;
    const options = { plan: planned.plan };
    const sending: Sending = { n, chat, options, upload: new this.#core.Upload(options) };
    this.#uploads.set(n, sending);
    this.#stepUpload(sending, { type: "start" });
  }

  #stepUpload(sending: Sending, input: Protocol.UploadInput): void {
    for (const effect of this.#client.stepUpload(sending, input)) this.#performUpload(sending, effect);
  }

  #performUpload(sending: Sending, effect: Protocol.UploadEffect): void {
    if (effect.type === "progress") return;
    if (effect.type === "done") {
      this.#uploads.delete(sending.n);
      const { result } = effect;
      this.#log.push({ what: "uploaded", at: this.#agenda.now, upload: sending.n, state: result.state });
      if (result.state === "uploaded") this.push(`f${sending.n}`, sending.chat, { mediaId: result.mediaId });
      return;
    }
    const { key, ackMs } = effect;
    const settle = (outcome: Protocol.Outcome): void => {
      // The state of a killed process does not hear of it.
      if (this.#uploads.get(sending.n) === sending) this.#stepUpload(sending, { type: "settled", key, outcome });
    };
    const headers = { req_id: this.#client.reqId() };
    if (effect.type === "init")
      this.#request({ cmd: "aibot_upload_media_init", headers, body: effect.body }, settle, ackMs);
    else if (effect.type === "finish")
      this.#request({ cmd: "aibot_upload_media_finish", headers, body: effect.body }, settle, ackMs);
    else {
      const { uploadId, index, start, end } = effect;
      this.#client.request(this.#core.encodeChunk(headers.req_id, uploadId, index, zeros(end - start)), settle, ackMs);
    }
  }
}

/** Refusals of a push that another try may not meet. */
const passing = new Set([6000, -1, 846609]);

/** The question with which every run ends: whether the line is really there. */
export const lastWord: Extract<Command, { do: "say" }> = {
  do: "say",
  at: 0,
  chat: chatCount,
  pieces: 1,
  everyMs: 100,
  bytes: 10,
  ending: "finish",
};

/** A piece of an answer, with the mark it is known by. */
function pieceOf(n: number, piece: number, bytes: number): string {
  return `${markOf(n, piece)} ${filler(bytes)}\n`;
}

/**
 * Text of about so many bytes of UTF-8; made once for each length. Every third length is of characters of one to four
 * bytes, and the longest leave nowhere to cut but between characters.
 */
function filler(bytes: number): string {
  let text = fillers.get(bytes);
  if (text === undefined) {
    const words =
      bytes > 20_000 ? "🌱🌿词é" : bytes % 3 === 0 || bytes > 1_000 ? "word 词语 🌱🌿 é " : "a few plain words ";
    text = words.repeat(Math.ceil(bytes / new TextEncoder().encode(words).length));
    fillers.set(bytes, text);
  }
  return text;
}

const fillers = new Map<number, string>();

/** So many zero bytes in base64; made once for each number. */
function zeros(bytes: number): string {
  let text = zeroes.get(bytes);
  if (text === undefined) {
    const tail = ["", "AA==", "AAA="][bytes % 3]!;
    zeroes.set(bytes, (text = "A".repeat(Math.floor(bytes / 3) * 4) + tail));
  }
  return text;
}

const zeroes = new Map<number, string>();

function stored<State>(state: State): State {
  return JSON.parse(JSON.stringify(state)) as State;
}
