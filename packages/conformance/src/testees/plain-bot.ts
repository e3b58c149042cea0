/**
 * A plain bot on a bare WebSocket: correct, short, and with one defect when it is told so. The suite is tried on it.
 *
 * It shares no code with our connector or with @openws/protocol: it is written from spec/ alone, as a stranger would. With
 * OPENWS_TESTEE_DEFECT it does one thing wrong, of the table in defects.ts; each place where it does asks `broken(…)`.
 */
import { WebSocket, type RawData } from "ws";
import type { Defect } from "../defects.ts";

type Json = Record<string, unknown>;

const env = process.env;
const { WECOM_BOT_ID = "", WECOM_BOT_SECRET = "", WECOM_BOT_WS_URL = "" } = env;
const heartbeatMs = Number(env["WECOM_HEARTBEAT_MS"] ?? 30_000);
const ackMs = Number(env["WECOM_ACK_MS"] ?? 10_000);
const backoffMs = Number(env["WECOM_BACKOFF_BASE_MS"] ?? 1_000);
/** One production second in the time that this bot was told to live in. */
const second = heartbeatMs / 30;

const broken = (defect: Defect): boolean => env["OPENWS_TESTEE_DEFECT"] === defect;

const log = (text: string): void => void process.stderr.write(`${text}\n`);

let serial = 0;
const fresh = (prefix: string): string => `${prefix}-${process.pid}-${++serial}-${Math.random().toString(36).slice(2)}`;

// --- the line -----------------------------------------------------------------------------------------------------------

/** What became of a request. */
type Settled = { errcode: number; body: Json } | "no ack";

/** One socket, from its dial to its end. Whatever comes of it after another took its place is nobody's business. */
class Line {
  readonly #ws: WebSocket;
  readonly #waiting = new Map<string, (settled: Settled) => void>();
  readonly #timers = new Set<NodeJS.Timeout>();
  ready = false;
  /** Whether any ack has come. */
  heard = false;
  /** Stops listening to it. */
  deaf = false;

  constructor() {
    this.#ws = new WebSocket(WECOM_BOT_WS_URL, {
      handshakeTimeout: ackMs,
      perMessageDeflate: false,
      maxPayload: broken("takes-frames-up-to-1-mib") ? 1024 * 1024 : 16 * 1024 * 1024,
    });
    this.#ws.on("open", () => {
      if (broken("back-off-begins-anew-on-open")) losses = 0;
      void this.#subscribe();
    });
    this.#ws.on("message", (data: RawData, binary: boolean) => this.#received(data, binary));
    this.#ws.on("close", (code) => ended(this, code));
    this.#ws.on("error", (error) => {
      if (broken("dies-of-a-refused-upgrade")) throw error;
      log(`socket: ${error.message}`);
    });
    if (broken("insists-on-pongs")) this.#insistOnPongs();
  }

  /** Ends the socket without waiting for the other side, which may not be there. */
  drop(why: string): void {
    log(`dropping the connection: ${why}`);
    this.#ws.terminate();
  }

  close(): void {
    this.#ws.close(1000);
    this.#later(2_000, () => this.#ws.terminate());
  }

  send(cmd: string, reqId: string, body?: unknown): void {
    if (this.#ws.readyState !== WebSocket.OPEN) return;
    this.write(JSON.stringify({ cmd, headers: { req_id: reqId }, ...(body === undefined ? {} : { body }) }), cmd);
  }

  write(text: string, cmd: string): void {
    if (broken("joins-frames-under-load") && cmd === "aibot_respond_msg") return this.#join(text);
    this.#ws.send(text, { binary: broken("pings-in-binary") && cmd === "ping" });
  }

  /** Sends and waits for the ack; never rejects. */
  request(cmd: string, reqId: string, body?: unknown, waitMs = ackMs): Promise<Settled> {
    return new Promise((resolve) => {
      const timer = this.#later(waitMs, () => {
        if (broken("dies-of-a-lost-ack") && cmd === "aibot_respond_msg") throw new Error(`no ack for ${reqId}`);
        settle("no ack");
      });
      const settle = (settled: Settled): void => {
        clearTimeout(timer);
        this.#waiting.delete(reqId);
        resolve(settled);
      };
      this.#waiting.set(reqId, settle);
      this.send(cmd, reqId, body);
    });
  }

  ended(): void {
    this.ready = false;
    for (const timer of this.#timers) clearTimeout(timer);
    for (const settle of this.#waiting.values()) settle("no ack");
  }

  async #subscribe(): Promise<void> {
    if (broken("pings-before-it-subscribes")) this.send("ping", fresh("ping"));
    if (broken("never-subscribes")) return;
    const asked = this.request(
      "aibot_subscribe",
      fresh("subscribe"),
      { bot_id: WECOM_BOT_ID, secret: WECOM_BOT_SECRET },
      broken("waits-for-ever-for-its-ack") ? 1e8 : broken("waits-14-s-for-its-ack") ? ackMs * 1.4 : ackMs,
    );
    if (broken("prints-its-secret")) log(`subscribing with ${WECOM_BOT_SECRET}`);
    if (broken("speaks-before-its-ack")) this.send("aibot_send_msg", fresh("push"), push("zhangsan", "I am here"));
    const settled = await asked;
    if (settled === "no ack") return this.drop("the subscribe was not acknowledged");
    const accepted = settled.errcode === 0 || (broken("decides-by-errmsg") && settled.body["errmsg"] === "ok");
    if (!accepted) return refused(this, settled.errcode);
    this.ready = true;
    log("subscribed");
    this.#later(60 * second, () => {
      losses = 0;
    });
    this.#beat(0);
    if (broken("subscribes-every-20-s")) this.#again(20 * second);
    if (broken("subscribes-every-70-s")) this.#again(70 * second);
  }

  #again(everyMs: number): void {
    this.#later(everyMs, () => {
      this.send("aibot_subscribe", fresh("subscribe"), { bot_id: WECOM_BOT_ID, secret: WECOM_BOT_SECRET });
      this.#again(everyMs);
    });
  }

  /** A ping every heartbeat; one that is not answered is followed by another at once, and that by the end. */
  #beat(misses: number): void {
    if (broken("never-pings")) return;
    this.#later(misses > 0 ? 0 : broken("pings-every-10-s") ? heartbeatMs / 3 : heartbeatMs, async () => {
      const reqId = broken("pings-under-one-req-id")
        ? "ping"
        : broken("pings-under-long-req-ids")
          ? "p".repeat(300) + fresh("")
          : fresh("ping");
      const settled = await this.request("ping", reqId);
      if (this.deaf) return;
      const alive = settled !== "no ack" && (settled.errcode === 0 || broken("takes-any-ping-ack-for-life"));
      if (alive || broken("ignores-unanswered-pings")) return this.#beat(0);
      if (misses < 1) return this.#beat(misses + 1);
      if (broken("takes-95-s-to-notice"))
        return void this.#later(45 * second, () => this.drop("pings are not answered"));
      if (broken("keeps-its-old-socket") || broken("minds-the-end-of-old-sockets")) return abandon(this);
      this.drop("pings are not answered");
    });
  }

  #insistOnPongs(): void {
    let heard = true;
    this.#ws.on("pong", () => {
      heard = true;
    });
    const look = (): void => {
      if (!heard) return this.drop("no pong");
      heard = false;
      if (this.#ws.readyState === WebSocket.OPEN) this.#ws.ping();
      this.#later(heartbeatMs, look);
    };
    this.#ws.on("open", look);
  }

  #received(data: RawData, binary: boolean): void {
    if (this.deaf) return;
    if (binary && broken("closes-on-binary")) return this.drop("a binary message");
    if (binary && broken("ignores-binary")) return;
    const text = Buffer.isBuffer(data) ? data.toString() : "";
    if (text.length > 1024 * 1024 && broken("goes-deaf-over-large-frames")) {
      this.deaf = true;
      setInterval(() => this.send("ping", fresh("ping")), heartbeatMs);
      return;
    }
    const frame = parse(text);
    if (frame === undefined) return;
    const reqId = objectAt(frame, "headers")["req_id"];
    const cmd = frame["cmd"];
    if (typeof cmd === "string") return callback(this, cmd, typeof reqId === "string" ? reqId : "", frame);
    this.heard = true;
    const settle =
      this.#waiting.get(String(reqId)) ??
      (broken("takes-any-ack-for-its-own") ? [...this.#waiting.values()][0] : undefined);
    settle?.({ errcode: Number(frame["errcode"] ?? 0), body: { ...frame, ...objectAt(frame, "body") } });
  }

  /** The defect of clients that let several writers use one socket: what meets within a turn leaves as one message. */
  #joined: string[] = [];
  #join(text: string): void {
    this.#joined.push(text);
    if (this.#joined.length === 1)
      setImmediate(() => {
        this.#ws.send(this.#joined.splice(0).join("\n"));
      });
  }

  #later(ms: number, then: () => unknown): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      void then();
    }, ms);
    this.#timers.add(timer);
    return timer;
  }
}

let line: Line;
let losses = 0;
let throttles = 0;
let refusals = 0;
let attempts = 0;
/** Refused for good, kicked, or asked to end: no socket follows this one. */
let over = false;
let reconnecting: NodeJS.Timeout | undefined;

function dial(): void {
  attempts++;
  line = new Line();
}

function dialIn(ms: number): void {
  clearTimeout(reconnecting);
  reconnecting = setTimeout(dial, ms);
}

/** A socket has ended: another one follows after a wait that grows, unless this one had been replaced. */
function ended(which: Line, code: number): void {
  which.ended();
  if (broken("forgets-msgids-with-its-line")) seen.clear();
  if (which !== line && !broken("minds-the-end-of-old-sockets")) return;
  if (over || throttledUntil > performance.now()) return;
  if (broken("takes-1000-for-the-end") && code === 1000) return;
  if (broken("gives-up-after-ten-attempts") && attempts >= 10) return;
  const wait = Math.min(30 * backoffMs, backoffMs * 2 ** losses++) * (1 + Math.random() / 2);
  if (broken("rests-40-s-after-a-reset") && code === 1006 && losses === 1) return dialIn(40 * second);
  dialIn(wait);
}

/** The defect of clients that dial anew and leave the old socket to itself. */
function abandon(which: Line): void {
  which.deaf = broken("keeps-its-old-socket");
  dial();
}

let throttledUntil = 0;

/** A subscribe was refused: credentials are final, a throttle is waited for, anything else is like a lost connection. */
function refused(which: Line, errcode: number): void {
  log(`the subscribe was refused with ${errcode}`);
  if (
    errcode === 853000 ||
    (broken("takes-a-throttle-for-the-end") && errcode === 45009) ||
    (broken("takes-any-refusal-for-the-end") && errcode !== 45009)
  ) {
    if (broken("hammers-when-refused")) {
      losses = 0;
      return which.drop("refused");
    }
    if (broken("never-gives-up-when-refused")) {
      over = true;
      which.close();
      const wait = Math.min(30, 2 ** (refusals++ + 2)) * second;
      return void setTimeout(() => {
        over = false;
        dial();
      }, wait);
    }
    over = true;
    if (!broken("keeps-its-socket-when-refused")) which.close();
    return;
  }
  if (errcode === 45009 && !broken("takes-a-throttle-for-a-lost-line")) {
    const wait = 35 * second * 2 ** throttles++;
    throttledUntil = performance.now() + wait;
    which.close();
    setTimeout(dial, wait);
    return;
  }
  which.drop("refused");
}

// --- what comes in ------------------------------------------------------------------------------------------------------

const seen = new Set<string>();
const users = new Map<string, string>();

function callback(from: Line, cmd: string, reqId: string, frame: Json): void {
  if (broken("dies-without-a-body") && cmd === "aibot_msg_callback") void (frame["body"] as Json)["msgid"];
  const body = objectAt(frame, "body");
  const msgid = body["msgid"];
  const userid = stringAt(objectAt(body, "from"), "userid");
  if (cmd !== "aibot_msg_callback" && cmd !== "aibot_event_callback") return;
  if (
    broken("rejects-unknown-members") &&
    Object.keys(frame).some((member) => !["cmd", "headers", "body"].includes(member))
  )
    return;
  if (!from.heard && broken("takes-the-first-frame-for-its-ack")) return;
  if (typeof msgid === "string") {
    if (seen.has(msgid) && !broken("answers-repeats")) return;
    seen.add(msgid);
    if (seen.size > 1_000) seen.delete([...seen][0]!);
  }
  if (cmd === "aibot_event_callback") return event(from, reqId, body, userid);
  if (body["msgtype"] !== "text") return;
  const text = stringAt(objectAt(body, "text"), "content");
  users.set(userid, reqId);
  const kind = body["chattype"] === "group" ? "group" : "single";
  const asked: Asked = {
    reqId: broken("shouts-req-ids") ? reqId.toUpperCase() : reqId,
    kind,
    chatid: kind === "group" ? stringAt(body, "chatid") : userid,
  };
  if (broken("answers-under-the-newest-req-id"))
    return void setTimeout(() => void answer({ ...asked, reqId: users.get(userid) ?? reqId }, text), 50);
  // In a group every text begins with the mention of the bot.
  void answer(asked, kind === "group" ? text.replace(/^@\S+ /, "") : text);
}

function event(from: Line, reqId: string, body: Json, userid: string): void {
  const { eventtype } = objectAt(body, "event");
  if (eventtype === "disconnected_event") {
    if (broken("dies-of-an-event-from-nobody")) void (body["from"] as Json)["userid"];
    if (broken("takes-a-kick-for-a-lost-line")) return from.close();
    over = true;
    const backAfter = broken("comes-back-15-s-after-a-kick")
      ? 15
      : returned
        ? undefined
        : broken("comes-back-once-after-a-kick")
          ? 60
          : broken("comes-back-three-minutes-after-a-kick")
            ? 180
            : undefined;
    if (backAfter !== undefined) {
      returned = true;
      setTimeout(() => {
        over = false;
        dial();
      }, backAfter * second);
    }
    if (!broken("keeps-its-socket-when-kicked") && !broken("talks-on-after-a-kick")) from.close();
  }
  if (eventtype === "enter_chat") {
    const welcome = { msgtype: "text", text: { content: "welcome" } };
    if (broken("answers-events-as-messages"))
      return void stream({ reqId, chatid: userid, kind: "single" }, 1, "welcome");
    from.send("aibot_respond_welcome_msg", reqId, welcome);
  }
  if (eventtype === "feedback_event" && broken("thanks-for-feedback"))
    from.send("aibot_send_msg", fresh("push"), push(userid, "thank you"));
}

let returned = false;

// --- what goes out ------------------------------------------------------------------------------------------------------

const chatTypes = { single: 1, group: 2 };

function push(chatid: string, content: string, kind: keyof typeof chatTypes = "single"): Json {
  const lowered = broken(kind === "single" ? "lowers-userids" : "lowers-chatids");
  return {
    chatid: lowered ? chatid.toLowerCase() : chatid,
    ...(broken("omits-chat-type") ? {} : { chat_type: chatTypes[kind] }),
    ...(broken("pushes-text")
      ? { msgtype: "text", text: { content } }
      : { msgtype: "markdown", markdown: { content } }),
  };
}

/** Who asked, and where the answer goes. */
interface Asked {
  readonly reqId: string;
  readonly chatid: string;
  readonly kind: keyof typeof chatTypes;
}

/** The defect of clients that work through one queue. */
let before: Promise<unknown> = Promise.resolve();

/** Answers a text; the words of the echo contract do what they say. */
async function answer(asked: Asked, text: string): Promise<void> {
  if (!broken("works-one-by-one")) return handle(asked, text);
  before = before.then(() => handle(asked, text));
  await before;
}

async function handle(asked: Asked, text: string): Promise<void> {
  await subscribed();
  const [word, argument = ""] = text.split(" ", 2);
  switch (word) {
    case "!stream":
      return stream(asked, Number(argument));
    case "!push":
      return pushTo(asked, argument);
    case "!upload":
      return upload(asked, Number(argument));
    case "!slow":
      await pause(Number(argument));
      return stream(asked, 1, `that took ${argument} ms`);
    default:
      for (const [at, part] of parts(`echo: ${text}`).entries())
        if (at === 0) await stream(asked, 1, part);
        else await pushTo(asked, part);
  }
}

/** Uploads so many bytes, chunk by chunk, and answers with the file; says so where that fails. */
async function upload(asked: Asked, size: number): Promise<void> {
  const file = Buffer.alloc(size, "some bytes ");
  const chunkBytes = (broken("cuts-large-chunks") ? 600 : 512) * 1024;
  const chunks = Array.from({ length: Math.ceil(size / chunkBytes) }, (_, at) =>
    file.subarray(at * chunkBytes, (at + 1) * chunkBytes).toString("base64"),
  );
  const init = line.request("aibot_upload_media_init", fresh("init"), {
    type: "file",
    filename: "file.bin",
    total_size: size,
    total_chunks: chunks.length + (broken("states-another-size") ? 1 : 0),
  });
  const begun = broken("guesses-its-upload-id") ? { body: { upload_id: "1" } } : await init;
  if (begun === "no ack") return stream(asked, 1, "the upload failed");
  const { upload_id } = begun.body;
  for (const [chunk_index, base64_data] of chunks.entries()) {
    const send = (): Promise<Settled> =>
      line.request("aibot_upload_media_chunk", fresh("chunk"), { upload_id, chunk_index, base64_data });
    if (broken("finishes-before-its-acks")) {
      void send();
      continue;
    }
    let settled = await send();
    if (settled === "no ack" && broken("begins-again-on-a-lost-ack")) return upload(asked, size);
    for (let tries = 1; settled === "no ack" && tries < 3; tries++) settled = await send();
  }
  const end = await line.request("aibot_upload_media_finish", fresh("finish"), { upload_id });
  const media_id = end === "no ack" ? undefined : end.body["media_id"];
  if (media_id === undefined && !broken("sends-what-was-not-uploaded")) return stream(asked, 1, "the upload failed");
  await line.request("aibot_respond_msg", asked.reqId, { msgtype: "file", file: { media_id } });
}

async function pushTo({ chatid, kind }: Asked, content: string): Promise<void> {
  let settled = await line.request("aibot_send_msg", fresh("push"), push(chatid, content, kind));
  while (settled === "no ack" && broken("repeats-pushes"))
    settled = await line.request("aibot_send_msg", fresh("push"), push(chatid, content, kind));
}

/** One stream: `count` frames, each with everything so far, each after the ack of the one before. */
async function stream(asked: Asked, count: number, whole?: string): Promise<void> {
  let id = broken("has-one-stream-id") ? "stream" : fresh("stream");
  let said = "";
  for (let at = 1; at <= count; at++) {
    const finish = at === count;
    const word = whole ?? `word${at} `;
    said = broken("sends-deltas") ? word : said + word;
    if (finish && count > 1 && broken("changes-its-stream-id")) id = fresh("stream");
    const content = finish && broken("finishes-with-a-blank") && count > 1 ? " " : said;
    const settled = await frame(asked.reqId, id, finish, content);
    if (over && !broken("talks-on-after-a-kick")) return;
    // As fast as a model speaks, not as fast as a loop.
    if (!finish && !broken("does-not-await-acks")) await pause(150);
    if (settled === "no ack" || settled.errcode === 0 || broken("talks-on-after-a-kick")) continue;
    if (settled.errcode === 846609 && !broken("shrugs-at-846609")) return line.drop("not subscribed");
    if (settled.errcode === 846608 && broken("goes-on-after-846608")) continue;
    if (settled.errcode === 846608 && broken("gives-up-after-846608")) return;
    if (settled.errcode === 846605 && broken("drops-what-is-refused")) return;
    if (settled.errcode === 846605 && broken("repeats-after-846605"))
      return void (await frame(asked.reqId, id, finish, content));
    if (settled.errcode === 846605 || settled.errcode === 846608)
      return pushTo(asked, whole ?? Array.from({ length: count }, (_, n) => `word${n + 1}`).join(" "));
  }
  if (broken("talks-after-its-finish") && count > 1) await frame(asked.reqId, id, false, said);
}

/** Sends one frame; what meets a conflict is repeated three times, ever later. */
async function frame(reqId: string, id: string, finish: boolean, content: string): Promise<Settled> {
  const streamOf = (own: string): Json => ({
    id: own,
    finish,
    content,
    ...(broken("sends-msg-items") ? { msg_item: [] } : {}),
  });
  const body = (own: string): Json =>
    broken("answers-with-text") ? { msgtype: "text", text: { content } } : { msgtype: "stream", stream: streamOf(own) };
  const waitMs = broken("hangs-on-a-lost-ack") ? 1e8 : ackMs;
  if (broken("does-not-await-acks") && !finish) {
    void line.request("aibot_respond_msg", reqId, body(id), waitMs);
    await pause(20);
    return { errcode: 0, body: {} };
  }
  let settled = await line.request("aibot_respond_msg", reqId, body(id), waitMs);
  for (const wait of broken("repeats-6000-for-ever") ? Array<number>(100).fill(100) : [200, 400, 800]) {
    if (settled === "no ack" || settled.errcode !== 6000) break;
    await pause(wait);
    settled = await line.request(
      "aibot_respond_msg",
      reqId,
      body(broken("opens-another-stream-on-6000") ? fresh("stream") : id),
      waitMs,
    );
  }
  return settled;
}

/** Cuts a text into parts of at most 20,480 bytes of UTF-8, between characters. */
function parts(text: string): string[] {
  const bytes = Buffer.from(text);
  if (bytes.length <= 20_480 || broken("sends-it-whole")) return [text];
  let end = 20_480;
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

const pause = (ms: number): Promise<void> =>
  new Promise<void>((resolve) => {
    setTimeout(resolve, ms);
  });

async function subscribed(): Promise<void> {
  while (!line.ready) await pause(10);
}

/** JSON as the gateway sends it: sometimes with raw control characters inside strings, sometimes nothing of the kind. */
function parse(text: string): Json | undefined {
  // eslint-disable-next-line no-control-regex -- these are what has to be repaired
  const repaired = broken("takes-control-characters-ill") ? text : text.replace(/[\u0000-\u001f]/g, " ");
  try {
    const value: unknown = JSON.parse(repaired);
    if (broken("dies-of-null")) void (value as Json)["cmd"];
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : undefined;
  } catch (error) {
    if (broken("dies-of-null") && repaired === "null") throw error;
    return undefined;
  }
}

function objectAt(json: Json, member: string): Json {
  const value = json[member];
  return typeof value === "object" && value !== null ? (value as Json) : {};
}

function stringAt(json: Json, member: string): string {
  const value = json[member];
  return typeof value === "string" ? value : "";
}

process.on("SIGTERM", () => {
  if (broken("ignores-sigterm")) return;
  over = true;
  clearTimeout(reconnecting);
  line.close();
  setTimeout(() => process.exit(0), 200);
});

if (!broken("never-connects")) dial();
// Refused or kicked it has nothing to wait for, and lives on all the same, as a service would.
setInterval(() => undefined, 1e8);
