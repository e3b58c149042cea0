/**
 * The plain client as a testee: everything that the testee protocol can ask for. With a defect it does one thing wrong; the
 * cases that need a testee are tried on it.
 */
import type { Answer, Item, ReplyOp, Reported, State, Testee, TesteeClient } from "../testee.ts";
import { abilities } from "../testee.ts";
import { parts, PlainClient, type Asked, type Outcome } from "./plain/client.ts";
import { broken, fresh, pause } from "./plain/defect.ts";
import { download } from "./plain/downloads.ts";
import { listAt, objectAt, stringAt, type Json } from "./plain/json.ts";
import { upload, type Kind } from "./plain/uploads.ts";
import { speak } from "./speak.ts";

const testee: Testee = {
  client: "plain client",
  can: abilities,
  scaled: true,
  start: ({ url, botId, secret, botName, dir, heartbeatMs = 30_000, ackMs = 10_000, backoffBaseMs = 1_000 }, report) =>
    new PlainTestee({ url, botId, secret, heartbeatMs, ackMs, backoffMs: backoffBaseMs }, botName, dir, report),
};

/** What a message or event was, for the operations that name it. */
interface Open {
  readonly asked: Asked;
  readonly items: readonly Item[];
  readonly arrivedAt: number;
  /** Whether its handler is still at work. */
  open: boolean;
}

const media = ["image", "file", "video", "voice"] as const;

class PlainTestee implements TesteeClient {
  readonly #client: PlainClient;
  readonly #botName: string;
  readonly #dir: string;
  readonly #report: (event: Reported) => void;
  readonly #turns = new Map<string, Open>();
  #keys = 0;
  #kickedAt: number | undefined;
  #wasReady = false;

  constructor(
    options: ConstructorParameters<typeof PlainClient>[0],
    botName: string,
    dir: string,
    report: (event: Reported) => void,
  ) {
    this.#botName = botName;
    this.#dir = dir;
    this.#report = report;
    this.#client = new PlainClient(options, {
      message: (asked, body) => void this.#message(asked, body),
      event: (asked, eventtype, body) => this.#event(asked, eventtype, body),
    });
  }

  // --- what the client hands over ---------------------------------------------------------------------------------------

  async #message(asked: Asked, body: Json): Promise<void> {
    const msgtype = stringAt(body, "msgtype");
    const items = itemsOf(body, msgtype);
    if (broken("waits-for-its-media"))
      for (const item of items) if (item.type !== "text" && (await this.#fetched(item)).outcome !== "done") return;
    const quote = objectAt(body, "quote");
    const quoted = stringAt(quote, "msgtype");
    const text =
      broken("takes-the-quote-for-the-text") && quoted === "text" ? textOf(quote, quoted) : textOf(body, msgtype);
    const mention = `@${this.#botName} `;
    const key = this.#keep(asked, items);
    this.#report({
      event: "message",
      key,
      msgtype,
      msgid: stringAt(body, "msgid"),
      userid: stringAt(objectAt(body, "from"), "userid"),
      ...(asked.kind === "group" ? { chatid: asked.chatid } : {}),
      chattype: asked.kind,
      ...(text === undefined ? {} : { text: text.startsWith(mention) ? text.slice(mention.length) : text }),
      ...(items.length === 0 ? {} : { items }),
      ...(quoted === "" || broken("drops-quotes")
        ? {}
        : { quote: { msgtype: quoted, text: textOf(quote, quoted), items: itemsOf(quote, quoted) } }),
      conversation: `${asked.kind} ${asked.chatid}`,
    });
  }

  #event(asked: Asked, eventtype: string, body: Json): void {
    const click = objectAt(objectAt(body, "event"), "template_card_event");
    const clicked = eventtype === "template_card_event";
    this.#report({
      event: "event",
      key: this.#keep(asked, []),
      eventtype,
      msgid: stringAt(body, "msgid"),
      userid: stringAt(objectAt(body, "from"), "userid"),
      ...(asked.kind === "group" ? { chatid: asked.chatid } : {}),
      ...(clicked
        ? { eventKey: stringAt(click, "event_key"), taskId: stringAt(click, "task_id"), selected: selectedOf(click) }
        : {}),
    });
  }

  #keep(asked: Asked, items: readonly Item[]): string {
    const key = String(++this.#keys);
    this.#turns.set(key, { asked, items, arrivedAt: performance.now(), open: true });
    if (this.#turns.size > 1_000) this.#turns.delete([...this.#turns.keys()][0]!);
    return key;
  }

  #turn(key: string): Open {
    const turn = this.#turns.get(key);
    if (turn === undefined) throw new Error(`there is no message ${key}`);
    return turn;
  }

  // --- what is asked of it ----------------------------------------------------------------------------------------------

  async stop(): Promise<Answer> {
    await this.#client.stop();
    return { outcome: "done" };
  }

  async reply(op: ReplyOp): Promise<Answer> {
    const turn = this.#turn(op.to);
    try {
      return await this.#answer(turn.asked, op);
    } finally {
      turn.open = false;
    }
  }

  async #answer(asked: Asked, op: ReplyOp): Promise<Answer> {
    const feedback = op.feedbackId === undefined ? {} : { feedbackId: op.feedbackId };
    if (op.nothing === true) return { outcome: "done" };
    if (op.throw !== undefined) return this.#client.stream(asked, failing([], 0), () => "");
    if (op.card !== undefined)
      return this.#client.reply(asked, {
        msgtype: "template_card",
        template_card: { ...op.card, task_id: fresh("card").replaceAll(".", "") },
      });
    const text = op.parts?.join("") ?? op.text;
    let last: Outcome | undefined;
    if (op.parts !== undefined)
      last = await (op.then === "throw"
        ? this.#client.stream(asked, failing(op.parts, op.everyMs ?? 0), () => "")
        : this.#client.stream(asked, growing(op.parts.slice(0, -1), op.everyMs ?? 0), () => text ?? "", feedback));
    else if (text !== undefined && op.file !== undefined && broken("drops-the-text-with-the-file")) {
      const answer = await this.#file(asked, op.file);
      return answer.outcome === "acked" ? this.#client.stream(asked, [], () => text, feedback) : answer;
    } else if (text !== undefined)
      for (const [at, part] of parts(text).entries())
        last =
          at === 0
            ? await this.#client.stream(asked, [], () => part, feedback)
            : await this.#client.push(asked.chatid, asked.kind, part);
    if (op.file === undefined) return last ?? { outcome: "done" };
    const answer = await this.#file(asked, op.file);
    if (answer.outcome !== "acked" && text === undefined)
      await this.#client.stream(asked, [], () => "the upload failed");
    return answer;
  }

  async #file(asked: Asked, { type, filename, sizeBytes }: NonNullable<ReplyOp["file"]>): Promise<Answer> {
    const uploaded = await upload(this.#client.connection, Buffer.alloc(sizeBytes, "some bytes "), type, filename);
    if (uploaded.outcome !== "acked") return uploaded;
    const { kind, mediaId } = uploaded;
    return this.#client.reply(asked, { msgtype: kind, [kind]: { media_id: mediaId } });
  }

  async push(op: Parameters<NonNullable<TesteeClient["push"]>>[0]): Promise<Answer> {
    const { chatid, chattype, text, card, file } = op;
    if (text !== undefined) return this.#client.push(chatid, chattype, text);
    if (card !== undefined)
      return this.#client.pushBody(chatid, chattype, {
        msgtype: "template_card",
        template_card: { ...card, task_id: fresh("card").replaceAll(".", "") },
      });
    const { type, filename, sizeBytes } = file!;
    const uploaded = await upload(this.#client.connection, Buffer.alloc(sizeBytes, "some bytes "), type, filename);
    if (uploaded.outcome !== "acked") return uploaded;
    return this.#client.pushBody(chatid, chattype, {
      msgtype: uploaded.kind,
      [uploaded.kind]: { media_id: uploaded.mediaId },
    });
  }

  async upload(op: { readonly type: Kind; readonly filename: string; readonly sizeBytes: number }): Promise<Answer> {
    const uploaded = await upload(
      this.#client.connection,
      Buffer.alloc(op.sizeBytes, "some bytes "),
      op.type,
      op.filename,
    );
    return uploaded.outcome === "acked"
      ? { outcome: "acked", ...(uploaded.mediaId === undefined ? {} : { mediaId: uploaded.mediaId }) }
      : uploaded;
  }

  async download({ to, item }: { readonly to: string; readonly item: number }): Promise<Answer> {
    const found = this.#turn(to).items[item];
    if (found === undefined || found.type === "text") return { outcome: "not-sent", reason: "there is no such file" };
    if (broken("downloads-after-its-answers"))
      while ([...this.#turns.values()].some(({ open }) => open)) await pause(20);
    return this.#fetched(found);
  }

  async #fetched({ url = "", aeskey = "" }: Exclude<Item, { type: "text" }>): Promise<Answer> {
    try {
      const { sha256, filename, path } = await download(
        url,
        aeskey,
        this.#dir,
        30 * this.#client.connection.second + 2_000,
      );
      return { outcome: "done", sha256, filename, path };
    } catch (error) {
      return { outcome: "failed", reason: String(error) };
    }
  }

  async welcome({ to, text }: { readonly to: string; readonly text: string }): Promise<Answer> {
    const turn = this.#turn(to);
    if (this.#late(turn) && !broken("sends-late-welcomes")) return { outcome: "not-sent", reason: "it is too late" };
    return this.#request("aibot_respond_welcome_msg", turn, { msgtype: "text", text: { content: text } });
  }

  async update({ to, card }: { readonly to: string; readonly card: Json }): Promise<Answer> {
    const turn = this.#turn(to);
    if (this.#late(turn) && !broken("sends-late-updates"))
      return this.#client.push(
        turn.asked.chatid,
        turn.asked.kind,
        stringAt(objectAt(card, "main_title"), "title") || "done",
      );
    return this.#request("aibot_respond_update_msg", turn, {
      response_type: "update_template_card",
      template_card: card,
    });
  }

  async #request(cmd: string, { asked }: Open, body: Json): Promise<Answer> {
    const settled = await this.#client.connection.line.request(cmd, asked.reqId, body);
    if (settled === "no ack") return { outcome: "timed-out" };
    if (settled === "lost") return { outcome: "connection-lost" };
    return settled.errcode === 0 ? { outcome: "acked" } : { outcome: "refused", errcode: settled.errcode };
  }

  /** The gateway takes the answer to an event for five seconds, which nobody scales. */
  #late({ arrivedAt }: Open): boolean {
    return performance.now() - arrivedAt > 4_900;
  }

  state(): Answer {
    return { outcome: "done", state: this.#said(this.#client.connection.state) };
  }

  #said(state: State): State {
    const { second } = this.#client.connection;
    if (state === "ready") this.#wasReady = true;
    if (state === "connecting" && this.#wasReady && broken("feels-well-on-a-dead-line")) return "ready";
    if (state === "refused" && broken("hides-a-refusal")) return "connecting";
    if (state !== "kicked") return state;
    this.#kickedAt ??= performance.now();
    const since = performance.now() - this.#kickedAt;
    if (since < 4 * second + 1_000 && broken("tells-of-a-kick-late")) return "ready";
    if (since > 60 * second && broken("feels-well-after-a-kick")) return "ready";
    return state;
  }

  census(): Answer {
    return { outcome: "done", counts: { ...this.#client.census, turns: this.#turns.size } };
  }
}

/** Everything so far, after each part. */
async function* growing(added: readonly string[], everyMs: number): AsyncGenerator<string> {
  let said = "";
  for (const part of added) {
    await pause(everyMs);
    yield (said += part);
  }
  await pause(everyMs);
}

async function* failing(added: readonly string[], everyMs: number): AsyncGenerator<string> {
  yield* growing(added, everyMs);
  throw new Error("this handler was asked to fail");
}

const textOf = (body: Json, msgtype: string): string | undefined =>
  msgtype === "text" || (msgtype === "voice" && !broken("drops-transcripts"))
    ? stringAt(objectAt(body, msgtype), "content")
    : undefined;

/** The pieces of a message, in their order. */
const itemsOf = (body: Json, msgtype: string): Item[] => {
  if (msgtype === "mixed") {
    const items = listAt(objectAt(body, "mixed"), "msg_item").flatMap((entry) => {
      const type = stringAt(entry, "msgtype");
      if (type === "text") return [{ type, text: stringAt(objectAt(entry, "text"), "content") } as const];
      if (type !== "image" && broken("drops-files-of-mixed")) return [];
      return pieceOf(entry, type);
    });
    return broken("sorts-mixed") ? items.toSorted((a, b) => b.type.localeCompare(a.type)) : items;
  }
  return msgtype === "voice" ? [] : pieceOf(body, msgtype);
};

const pieceOf = (body: Json, msgtype: string): Item[] => {
  const type = media.find((one) => one === msgtype);
  if (type === undefined) return [];
  const { url, aeskey } = objectAt(body, type);
  return [
    {
      type,
      ...(typeof url === "string" ? { url } : {}),
      ...(typeof aeskey === "string" ? { aeskey } : {}),
    },
  ];
};

/** What was chosen, by question: nested as deep as the gateway nests it. */
const selectedOf = (click: Json): Record<string, string[]> => {
  const items = broken("reads-flat-selections")
    ? listAt(click, "selected_items")
    : listAt(objectAt(click, "selected_items"), "selected_item");
  return Object.fromEntries(
    items.map((item) => {
      const ids = objectAt(item, "option_ids")["option_id"];
      return [stringAt(item, "question_key"), Array.isArray(ids) ? ids.map(String) : []];
    }),
  );
};

speak(testee);
