/**
 * The plain client: a bot's connection, what is read from it, and everything that can be said in return.
 *
 * It shares no code with our connector or with @openws/protocol: it is written from spec/ alone, as a stranger would. It is
 * correct, short, and does one thing wrong when it is told so (defect.ts).
 */
import { Allowance } from "./chats.ts";
import { broken, fresh, log, pause } from "./defect.ts";
import { objectAt, stringAt, type Json } from "./json.ts";
import { Connection, type Durations, type Line, type Settled } from "./line.ts";

const maxContentBytes = 20_480;
/** Refusals that bar the way of a reply, while the chat's is open. */
const barred = new Set([846604, 846605, 846608]);

/** Who asked, and where the answer goes. */
export interface Asked {
  readonly reqId: string;
  readonly chatid: string;
  readonly kind: "single" | "group";
}

/** What became of something that was sent. */
export interface Outcome {
  readonly outcome: "acked" | "refused" | "timed-out" | "connection-lost" | "unknown" | "not-sent" | "failed";
  readonly errcode?: number;
}

/** What the application does with what comes in. */
export interface Application {
  message(asked: Asked, body: Json): void;
  event(asked: Asked, eventtype: string, body: Json): void;
}

/** How a stream goes. */
export interface StreamOptions {
  /** What its thumbs are reported under. */
  readonly feedbackId?: string;
}

/** One bubble that is being written. */
interface Bubble {
  id: string;
  readonly asked: Asked;
  readonly feedbackId: string | undefined;
  said: string;
  /** How much of the text stands in bubbles before this one. */
  settledLength: number;
  openedAt: number | undefined;
  /** The line on which it was opened. */
  line: Line | undefined;
  /** Its way is barred; what is left has to be pushed. */
  barred: boolean;
}

/** The client of one bot. */
export class PlainClient {
  readonly connection: Connection;
  readonly #application: Application;
  readonly #seen = new Set<string>();
  readonly #newest = new Map<string, string>();
  readonly #chats = new Map<string, Allowance>();
  readonly #open = new Set<Bubble>();
  #stopping = false;
  #firstUser: string | undefined;

  constructor(options: Durations, application: Application) {
    this.#application = application;
    const lost = (): void => {
      if (broken("forgets-msgids-with-its-line")) this.#seen.clear();
    };
    this.connection = new Connection(options, (...what) => this.#callback(...what), lost);
  }

  /** Ends what is open, then the line. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const bubbles = broken("leaves-streams-open-when-stopped") ? [] : [...this.#open];
    const ends = bubbles.map((bubble) => this.#frame(bubble, true, `${this.#text(bubble)} (stopped)`));
    await Promise.race([Promise.all(ends), pause(1_000)]);
    this.connection.stop();
  }

  /** How much of anything it holds. */
  get census(): Record<string, number> {
    return {
      seen: this.#seen.size,
      chats: this.#chats.size,
      newest: this.#newest.size,
      streams: this.#open.size,
      lostLines: this.connection.lines.length,
    };
  }

  // --- what comes in ----------------------------------------------------------------------------------------------------

  #callback(from: Line, cmd: string, reqId: string, frame: Json): void {
    if (broken("dies-without-a-body") && cmd === "aibot_msg_callback") void (frame["body"] as Json)["msgid"];
    const body = objectAt(frame, "body");
    const msgid = body["msgid"];
    if (cmd !== "aibot_msg_callback" && cmd !== "aibot_event_callback") return;
    const isEvent = cmd === "aibot_event_callback";
    if (
      broken("rejects-unknown-members") &&
      Object.keys(frame).some((member) => !["cmd", "headers", "body"].includes(member))
    )
      return;
    if (!from.heard && broken("takes-the-first-frame-for-its-ack")) return;
    if (typeof msgid === "string") {
      const repeats = broken("answers-repeats") || (isEvent && broken("welcomes-again"));
      if (this.#seen.has(msgid) && !repeats) return;
      this.#seen.add(msgid);
      if (this.#seen.size > 1_000 && !broken("remembers-every-msgid")) {
        const [oldest] = this.#seen;
        this.#seen.delete(oldest!);
      }
    }
    const asked = this.#askedBy(reqId, body);
    if (isEvent) return this.#event(from, asked, body);
    this.#newest.set(asked.chatid, reqId);
    if (this.#newest.size > 1_000) this.#newest.delete([...this.#newest.keys()][0]!);
    if (!broken("answers-under-the-newest-req-id")) return this.#application.message(asked, body);
    setTimeout(() => this.#application.message({ ...asked, reqId: this.#newest.get(asked.chatid) ?? reqId }, body), 50);
  }

  #askedBy(reqId: string, body: Json): Asked {
    const userid = stringAt(objectAt(body, "from"), "userid");
    const chatid = stringAt(body, "chatid");
    this.#firstUser ??= userid;
    const group =
      body["chattype"] === "group" ||
      (body["chattype"] === undefined && chatid !== "" && !broken("takes-no-chattype-for-single"));
    return {
      reqId: broken("shouts-req-ids") ? reqId.toUpperCase() : reqId,
      kind: group ? "group" : "single",
      chatid: group ? chatid : broken("has-one-chat-for-all-users") ? this.#firstUser : userid,
    };
  }

  #event(from: Line, asked: Asked, body: Json): void {
    const { eventtype } = objectAt(body, "event");
    if (eventtype === "disconnected_event") {
      if (broken("dies-of-an-event-from-nobody")) void (body["from"] as Json)["userid"];
      return this.connection.kicked(from);
    }
    if (broken("hears-no-event-from-nobody") && body["from"] === undefined) return;
    if (typeof eventtype === "string") this.#application.event(asked, eventtype, body);
  }

  // --- what goes out ----------------------------------------------------------------------------------------------------

  /** Answers by one stream: each text is everything so far, the last one is what `whole` then says. */
  async stream(
    asked: Asked,
    texts: AsyncIterable<string> | Iterable<string>,
    whole: () => string,
    { feedbackId }: StreamOptions = {},
  ): Promise<Outcome> {
    if (!(await this.connection.ready())) return { outcome: "not-sent" };
    const bubble: Bubble = {
      id: broken("has-one-stream-id") ? "stream" : fresh("stream"),
      asked,
      feedbackId,
      said: "",
      settledLength: 0,
      openedAt: undefined,
      line: undefined,
      barred: false,
    };
    this.#open.add(bubble);
    try {
      for await (const text of texts) {
        if (this.#stopping) return { outcome: "failed" };
        const before = bubble.said;
        bubble.said = text;
        const given = await this.#update(bubble, broken("sends-deltas") ? text.slice(before.length) : undefined);
        if (given !== undefined) return given;
      }
      if (this.#stopping) return { outcome: "failed" };
      bubble.said = whole();
      return await this.#end(bubble);
    } catch (error) {
      log(`the answer broke off: ${String(error)}`);
      if (bubble.openedAt !== undefined && !broken("leaves-a-stream-open-when-it-fails")) {
        bubble.said = `${bubble.said} Sorry, something went wrong.`.trim();
        await this.#end(bubble);
      }
      return { outcome: "failed" };
    } finally {
      this.#open.delete(bubble);
    }
  }

  /** Shows what there is by now, if it may. What it returns ends the stream. */
  async #update(bubble: Bubble, instead?: string): Promise<Outcome | undefined> {
    const { connection } = this;
    if (connection.over && !broken("talks-on-after-a-kick")) return { outcome: "connection-lost" };
    const allowance = this.#allowance(bubble.asked.chatid);
    if (bubble.barred || !connection.line.ready) return undefined;
    if (bubble.line !== undefined && bubble.line !== connection.line) {
      if (broken("forgets-what-a-drop-interrupts")) return { outcome: "connection-lost" };
      bubble.barred = broken("tries-no-old-req-id");
      if (bubble.barred) return undefined;
    }
    if (bubble.openedAt !== undefined && !broken("never-hands-over")) {
      const age = performance.now() - bubble.openedAt;
      if (age > 540 * connection.second) {
        await allowance.take();
        await this.#frame(bubble, true, this.#text(bubble));
        bubble.settledLength = bubble.said.length;
        bubble.id = fresh("stream");
        bubble.openedAt = undefined;
        return undefined;
      }
    }
    if (!allowance.roomForMore) return undefined;
    allowance.sent();
    if (broken("does-not-await-acks")) {
      void this.#frame(bubble, false, instead ?? this.#text(bubble));
      return undefined;
    }
    const settled = await this.#frame(bubble, false, instead ?? this.#text(bubble));
    if (settled === "lost" || settled === "no ack" || settled.errcode === 0) return undefined;
    if (connection.over && broken("talks-on-after-a-kick")) return undefined;
    return this.#refused(bubble, settled.errcode, settled.body);
  }

  /** Says the last of it, one way or the other. */
  async #end(bubble: Bubble): Promise<Outcome> {
    const { asked } = bubble;
    if (bubble.openedAt !== undefined && broken("changes-its-stream-id")) bubble.id = fresh("stream");
    for (let tries = 0; tries < 4; tries++) {
      if (!(await this.connection.ready())) return { outcome: "connection-lost" };
      if (bubble.barred) return this.push(asked.chatid, asked.kind, this.#text(bubble));
      if (broken("drops-the-last-update") && !this.#allowance(asked.chatid).roomForMore) return { outcome: "unknown" };
      await this.#allowance(asked.chatid).take();
      const opened = bubble.openedAt !== undefined;
      const content =
        opened && broken("finishes-with-a-blank")
          ? " "
          : opened && broken("sends-deltas")
            ? bubble.said.slice(-6)
            : this.#text(bubble);
      const settled = await this.#frame(bubble, true, content);
      if (settled === "lost") {
        // A finishing frame that comes twice replaces itself.
        if (broken("forgets-what-a-drop-interrupts")) return { outcome: "connection-lost" };
        continue;
      }
      if (broken("talks-after-its-finish") && opened) await this.#frame(bubble, false, this.#text(bubble));
      if (settled === "no ack") return { outcome: "unknown" };
      if (settled.errcode === 0) return { outcome: "acked" };
      const given = await this.#refused(bubble, settled.errcode, settled.body);
      if (given !== undefined) return given;
    }
    return { outcome: "failed" };
  }

  /** A frame of a stream was refused: another way, later, or never. What it returns ends the stream. */
  async #refused(bubble: Bubble, errcode: number, body: Json): Promise<Outcome | undefined> {
    const { asked } = bubble;
    if (broken("tells-what-the-gateway-said"))
      await this.push(asked.chatid, asked.kind, `That failed: ${stringAt(body, "errmsg")}`);
    if (errcode === 846609 && !broken("shrugs-at-846609")) {
      this.connection.line.drop("not subscribed");
      this.connection.line.ready = false;
      if (broken("forgets-what-was-refused-with-846609")) return { outcome: "acked" };
      bubble.barred = true;
      return undefined;
    }
    if (errcode === 846607) {
      if (broken("drops-what-is-throttled")) return { outcome: "refused", errcode };
      const rest = broken("insists-when-throttled") ? 1 : broken("waits-10-s-when-throttled") ? 10 : 60;
      this.#allowance(asked.chatid).pause(rest * this.connection.second);
      return undefined;
    }
    if (barred.has(errcode)) {
      if (errcode === 846608 && broken("goes-on-after-846608")) return undefined;
      if (errcode === 846608 && broken("gives-up-after-846608")) return { outcome: "refused", errcode };
      if (errcode === 846605 && broken("drops-what-is-refused")) return { outcome: "refused", errcode };
      if (errcode === 846605 && broken("repeats-after-846605")) {
        await this.#frame(bubble, true, this.#text(bubble));
        return { outcome: "refused", errcode };
      }
      bubble.barred = true;
      return undefined;
    }
    if (errcode === 600039 && !broken("drops-what-must-be-markdown")) {
      const markdown = { msgtype: "markdown", markdown: { content: this.#text(bubble) } };
      return outcomeOf(await this.connection.line.request("aibot_respond_msg", asked.reqId, markdown));
    }
    if (errcode === 40201 && broken("repeats-what-is-filtered"))
      await this.push(asked.chatid, asked.kind, this.#text(bubble));
    log(`an answer was refused with ${errcode}`);
    return { outcome: "refused", errcode };
  }

  /** What the bubble shows: what is not in an earlier one. */
  #text({ said, settledLength }: Bubble): string {
    return said.slice(settledLength);
  }

  /** Sends one frame; what meets a conflict is repeated three times, ever later. */
  async #frame(bubble: Bubble, finish: boolean, content: string): Promise<Settled> {
    const { asked, feedbackId } = bubble;
    const first = bubble.openedAt === undefined;
    bubble.openedAt ??= performance.now();
    bubble.line ??= this.connection.line;
    const feedback = broken("rates-late")
      ? !first && finish
        ? "trace_late"
        : undefined
      : broken("names-its-rating-freely")
        ? "thumbs"
        : feedbackId;
    const body = (id: string): Json =>
      broken("answers-with-text")
        ? { msgtype: "text", text: { content } }
        : {
            msgtype: "stream",
            stream: {
              id,
              finish,
              content,
              ...(feedback === undefined || (!first && !broken("rates-late")) ? {} : { feedback: { id: feedback } }),
              ...(broken("sends-msg-items") ? { msg_item: [] } : {}),
            },
          };
    const { line, options } = this.connection;
    const waitMs = broken("hangs-on-a-lost-ack") ? 1e8 : options.ackMs;
    const send = (id: string): Promise<Settled> => line.request("aibot_respond_msg", asked.reqId, body(id), waitMs);
    let settled = await send(bubble.id);
    for (const wait of broken("repeats-6000-for-ever") ? Array<number>(100).fill(100) : [200, 400, 800]) {
      if (settled === "no ack" || settled === "lost" || settled.errcode !== 6000) break;
      await pause(wait);
      settled = await send(broken("opens-another-stream-on-6000") ? fresh("stream") : bubble.id);
    }
    return settled;
  }

  /** Pushes a text, in parts where it is long; what the gateway throttles is sent later. */
  async push(chatid: string, kind: Asked["kind"], text: string): Promise<Outcome> {
    let last: Outcome = { outcome: "acked" };
    for (const part of broken("pushes-it-whole") ? [text] : parts(text)) {
      last = await this.pushBody(chatid, kind, pushed(part));
      if (last.outcome !== "acked") return last;
    }
    return last;
  }

  /** Pushes a message of any type. At once `not-sent` where there is no line. */
  async pushBody(chatid: string, kind: Asked["kind"], message: Json): Promise<Outcome> {
    if (!this.connection.line.ready) {
      if (broken("dials-for-a-push")) this.connection.abandon(this.connection.line);
      if (broken("swallows-pushes-while-disconnected")) return { outcome: "acked" };
      return { outcome: "not-sent" };
    }
    for (let tries = 0; tries < 4; tries++) {
      const allowance = this.#allowance(chatid);
      await allowance.take();
      const settled = await this.connection.line.request("aibot_send_msg", fresh("push"), {
        ...target(chatid, kind),
        ...message,
      });
      if (settled === "no ack" && broken("repeats-pushes")) continue;
      if (settled === "no ack") return { outcome: broken("takes-silence-for-delivery") ? "acked" : "unknown" };
      if (settled === "lost") return { outcome: "unknown" };
      if ((settled.errcode === 93006 || settled.errcode === 93001) && broken("insists-on-a-bad-chat")) {
        await pause(this.connection.second);
        continue;
      }
      if (settled.errcode !== 846607) return outcomeOf(settled);
      allowance.pause(60 * this.connection.second);
    }
    return { outcome: "refused", errcode: 846607 };
  }

  /** Sends a message of one piece under a req_id. */
  async reply(asked: Asked, message: Json): Promise<Outcome> {
    if (!(await this.connection.ready())) return { outcome: "not-sent" };
    const allowance = this.#allowance(asked.chatid);
    await allowance.take();
    for (let tries = 1; ; tries++) {
      const settled = await this.connection.line.request("aibot_respond_msg", asked.reqId, message);
      if (settled === "no ack" && broken("repeats-media") && tries < 6) continue;
      if (settled === "no ack" || settled === "lost") return { outcome: "unknown" };
      return barred.has(settled.errcode) ? this.pushBody(asked.chatid, asked.kind, message) : outcomeOf(settled);
    }
  }

  #allowance(chatid: string): Allowance {
    const allowance = this.#chats.get(chatid) ?? new Allowance();
    this.#chats.delete(chatid);
    this.#chats.set(chatid, allowance);
    if (this.#chats.size > 1_000) this.#chats.delete([...this.#chats.keys()][0]!);
    return allowance;
  }
}

/** What became of a request, for the application. */
export const outcomeOf = (settled: Settled): Outcome => {
  if (settled === "no ack") return { outcome: "timed-out" };
  if (settled === "lost") return { outcome: "connection-lost" };
  return settled.errcode === 0 ? { outcome: "acked" } : { outcome: "refused", errcode: settled.errcode };
};

const chatTypes = { single: 1, group: 2 };

const target = (chatid: string, kind: Asked["kind"]): Json => ({
  chatid: broken(kind === "single" ? "lowers-userids" : "lowers-chatids") ? chatid.toLowerCase() : chatid,
  ...(broken("omits-chat-type") ? {} : { chat_type: chatTypes[kind] }),
});

const pushed = (content: string): Json => {
  if (broken("pushes-text")) return { msgtype: "text", text: { content } };
  if (broken("pushes-cards"))
    return {
      msgtype: "template_card",
      template_card: {
        card_type: "text_notice",
        main_title: { title: content },
        card_action: { type: 1, url: "https://example.com" },
      },
    };
  return { msgtype: "markdown", markdown: { content } };
};

/** Cuts a text into parts of at most 20,480 bytes of UTF-8, between characters. */
export function parts(text: string): string[] {
  const bytes = Buffer.from(text);
  if (bytes.length <= maxContentBytes || broken("sends-it-whole")) return [text];
  let end = maxContentBytes;
  if (broken("cuts-characters")) {
    end -= 10;
    while (((bytes[end] ?? 0) & 0xc0) !== 0x80) end--;
    return [bytes.subarray(0, end).toString(), bytes.subarray(end).toString()];
  }
  // A byte that begins with 10 is the middle of a character.
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  const first = bytes.subarray(0, end).toString();
  return broken("drops-the-rest") ? [first] : [first, ...parts(bytes.subarray(end).toString())];
}
