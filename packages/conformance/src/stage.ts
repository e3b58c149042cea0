/**
 * What a case plays on: one gateway, one bot, one client, and the sheet on which verdicts are written.
 *
 * Each case has a gateway of its own, on a port of its own: switches and outages are a gateway's, so that no case can
 * disturb another and all can run at once.
 */
import type { Gateway, Told, UserMessage } from "@openws/mock-gateway";
import { durationsOf, toleranceOf, type Case, type Finding, type Lane, type Line } from "./check.ts";
import type { Asked, Prompter } from "./prompter.ts";
import type { Answer, Given, Op } from "./testee.ts";
import { Wire, type Frame } from "./wire.ts";

/** A client under test, as far as a case knows it: a process, or an object of this one. */
export interface Client {
  /** Through which it is told what its application does; none in the observe tier. */
  readonly prompter?: Prompter;
  /** Set once it has ended. */
  readonly end: { readonly how: string; readonly code: number | null; readonly at: number } | undefined;
  /** Set when it printed more than can be borne. */
  readonly flooded: boolean;
  readonly output: string;
  readonly lastLines: string;
  /** Asks it to end: by SIGTERM, or by the testee protocol. */
  terminate(): void;
  /** Ends it and waits until nothing of it is left. */
  stop(graceMs?: number): Promise<unknown>;
}

/** Starts a client. */
export type Spawn = (given: Omit<Given, "dir">, played: Case) => Client;

/** Thrown to leave a case: what was not judged yet stays untested, with this as the reason. */
export class UntestedError extends Error {
  override readonly name = "UntestedError";
}

/** Thrown when the client ended, or had to be ended, where it should have lived: what was not judged yet has failed. */
export class ClientEndedError extends Error {
  override readonly name = "ClientEndedError";
}

/** Thrown to leave a case that asks for what the testee did not declare: what was not judged yet is skipped. */
export class UndeclaredError extends Error {
  override readonly name = "UndeclaredError";
}

/** The bot's display name: in a group every text begins with `@` and this. */
export const botName = "Bot";

/** How long a client may take from its start to its subscribe: virtual machines of other languages need seconds. */
export const startMs = 15_000;
/** More frames of the client than this within a second, and it is ended: it floods. */
const floodFrames = 2_000;

/** One case while it is played. */
export class Stage {
  readonly findings: Finding[] = [];
  readonly wire: Wire;
  /** When the case began, on the monotonic clock. */
  readonly beganAt = performance.now();
  /** The processes of the client, the first one first. */
  readonly clients: Client[] = [];
  readonly gateway: Gateway;
  readonly lane: Lane;
  readonly bot: { readonly id: string; readonly secret: string };
  readonly #case: Case;
  readonly #spawn: Spawn;
  readonly #limit: number;

  constructor(
    played: Case,
    gateway: Gateway,
    lane: Lane,
    bot: { id: string; secret: string },
    limitMs: number,
    spawn: Spawn,
  ) {
    this.#case = played;
    this.gateway = gateway;
    this.lane = lane;
    this.bot = bot;
    this.#spawn = spawn;
    this.#limit = this.beganAt + limitMs;
    this.wire = new Wire((after) => gateway.log(after));
  }

  /** Starts the client, or another instance of it. */
  start(): Client {
    const client = this.#spawn(
      {
        url: this.gateway.url,
        botId: this.bot.id,
        secret: this.bot.secret,
        botName,
        ...durationsOf(this.lane),
      },
      this.#case,
    );
    this.clients.push(client);
    return client;
  }

  /** Through which the newest client is told what its application does. Only for cases that say what they need of a testee. */
  get testee(): Prompter {
    const prompter = this.clients.at(-1)?.prompter;
    if (prompter === undefined) throw new TypeError(`${this.#case.name} needs a testee, and does not say so`);
    return prompter;
  }

  /** Asks the testee for an operation and waits for the answer; undefined when none comes in time (wall clock). */
  async ask(op: Op, withinMs: number): Promise<Answer | undefined> {
    const asked: Asked = this.testee.ask(op);
    return this.until(() => asked.answer, withinMs);
  }

  /** A production duration in this lane. */
  ms(productionMs: number): number {
    return productionMs * this.lane.scale;
  }

  /** A production duration as an upper bound of this check. */
  atMost(id: string, productionMs: number): number {
    return this.ms(productionMs) + toleranceOf(id).lateMs;
  }

  /** A production duration as a lower bound of this check. */
  atLeast(id: string, productionMs: number): number {
    return this.ms(productionMs) - toleranceOf(id).earlyMs;
  }

  /** Waits so long, and sees to it that the client lives. */
  async pause(forMs: number): Promise<void> {
    await this.until(() => undefined, forMs);
  }

  /** Waits until there is such a thing; resolves with undefined when there is none in time. */
  async until<T>(find: () => T | undefined, withinMs: number): Promise<T | undefined> {
    const giveUpAt = performance.now() + withinMs;
    for (;;) {
      const found = find();
      if (found !== undefined) return found;
      this.#lives();
      const now = performance.now();
      if (now >= giveUpAt) return undefined;
      if (now >= this.#limit) throw new UntestedError("the case took longer than any case may");
      await new Promise<void>((resolve) => {
        setTimeout(resolve, Math.min(10, giveUpAt - now));
      });
    }
  }

  /** Waits until the client is subscribed, after this line, and resolves with the ack. */
  async ready(after = 0, withinMs = startMs): Promise<Frame> {
    const ack = await this.until(() => this.wire.subscribed(after)[0], withinMs);
    if (ack === undefined) throw new UntestedError(`the client was not subscribed within ${Math.round(withinMs)} ms`);
    return ack;
  }

  /**
   * Waits until the client is subscribed and stays so for a moment: on a busy machine it may find its first ack too late, and
   * dial once more.
   */
  async steady(after = 0): Promise<Frame> {
    const first = await this.ready(after);
    const newest = (): Frame => this.wire.subscribed(after).at(-1) ?? first;
    const stood = (): Frame | undefined => (performance.now() - newest().at >= 300 ? newest() : undefined);
    return (await this.until(stood, 3_000)) ?? first;
  }

  /**
   * Waits until the client is subscribed and has answered a plain message: only then does silence after something odd say
   * anything. Resolves with the ack of the subscribe.
   */
  async conversing(): Promise<Frame> {
    const ack = await this.ready();
    const answer = await this.asked("hello", "first-user");
    if (answer === undefined)
      throw new UntestedError("the bot does not answer a plain text message, so its silence says nothing");
    // What is armed next is not for this answer's ack.
    await this.until(() => this.wire.ackOf(answer), 1_000);
    return this.wire.subscribed().findLast(({ connection }) => connection === answer.connection) ?? ack;
  }

  /** A user says something. */
  say(text: string, from = "zhangsan", more: Partial<UserMessage> = {}): Promise<Told> {
    return this.gateway.say(this.bot.id, { from: { userid: from }, msgtype: "text", text: { content: text }, ...more });
  }

  /** Says something and waits for what ends the answer; undefined when nothing does in time (production duration). */
  async asked(
    text: string,
    from = "zhangsan",
    within = 10_000,
    more: Partial<UserMessage> = {},
  ): Promise<Frame | undefined> {
    const after = this.seq;
    const { reqId } = await this.say(text, from, more);
    return this.answered(reqId, more.chatid ?? from, after, within);
  }

  /** Waits for what ends the answer to a callback. */
  answered(reqId: string, chat: string, after = 0, within = 10_000): Promise<Frame | undefined> {
    return this.until(() => this.wire.answers([reqId], chat, after)[0], this.ms(within) + answerMs);
  }

  /** The number of the newest line. */
  get seq(): number {
    return this.wire.all.at(-1)?.seq ?? 0;
  }

  /** Milliseconds since the case began, of a line. */
  since(frame: Frame): number {
    return Math.round(frame.at - this.beganAt);
  }

  /** Writes a verdict: whether the requirement was kept, and what was seen. */
  judge(id: string, kept: boolean, message: string, evidence: readonly (Frame | undefined)[] = []): void {
    if (!this.#case.checks.includes(id)) throw new RangeError(`${this.#case.name} does not say that it judges ${id}`);
    if (this.findings.some((finding) => finding.id === id)) return;
    const verdict = kept ? "pass" : "fail";
    this.findings.push({
      id,
      verdict,
      message,
      evidence: evidence.filter((frame) => frame !== undefined).map((f) => this.#line(f)),
    });
  }

  /** Writes what was not asked, for this reason. */
  skipped(id: string, message: string): void {
    if (!this.findings.some((finding) => finding.id === id))
      this.findings.push({ id, verdict: "skipped", message, evidence: [] });
  }

  /** Writes what could not be found out. */
  untested(id: string, message: string): void {
    if (!this.findings.some((finding) => finding.id === id))
      this.findings.push({ id, verdict: "untested", message, evidence: [] });
  }

  /** The newest lines, for a verdict that has none of its own. */
  newest(count = 12): Line[] {
    return this.wire.all.slice(-count).map((frame) => this.#line(frame));
  }

  #line(frame: Frame): Line {
    const text =
      frame.text.length > 2_000 ? `${frame.text.slice(0, 2_000)}… (${frame.text.length} characters)` : frame.text;
    return { atMs: this.since(frame), connection: frame.connection, dir: frame.dir, text };
  }

  #lives(): void {
    const frames = this.wire.fromClient;
    const last = frames.at(-1);
    const before = frames.at(-1 - floodFrames);
    if (last !== undefined && before !== undefined && last.at - before.at < 1_000)
      throw new ClientEndedError(
        `the client was ended: it floods, ${floodFrames} frames within ${Math.round(last.at - before.at)} ms`,
      );
    for (const client of this.clients) {
      const { broke, undeclared } = client.prompter ?? {};
      if (broke !== undefined) throw new UntestedError(`the testee broke its protocol: ${broke}`);
      if (undeclared !== undefined) throw new UndeclaredError(`the testee does not declare "${undeclared}"`);
      if (client.flooded) throw new ClientEndedError("the client was ended: it printed more than 64 MiB");
      if (client.end !== undefined && this.#case.mayEnd !== true)
        throw new ClientEndedError(
          `the client ${client.end.how}${client.lastLines === "" ? "" : `; it said last:\n${client.lastLines}`}`,
        );
    }
  }
}

/** What an answer may take beyond its scaled time: a handler is not scaled. Milliseconds of the wall clock. */
const answerMs = 2_500;
