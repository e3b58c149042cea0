/**
 * The plain bot's way to the gateway: dialling, subscribing, the heartbeat, acks, and what follows when any of it fails.
 *
 * A `Connection` is the bot's, for as long as it runs; a `Line` is one socket of it. Each place where a defect shows asks
 * `broken(…)`.
 */
import { WebSocket, type RawData } from "ws";
import { broken, fresh, log, pause } from "./defect.ts";
import { objectAt, parse, type Json } from "./json.ts";

/** What became of a request: its ack, no ack in time, or no line any more. */
export type Settled = { readonly errcode: number; readonly body: Json } | "no ack" | "lost";

/** Where the bot stands. After `kicked`, `refused` and `stopped` no socket follows. */
export type State = "connecting" | "ready" | "kicked" | "refused" | "stopped";

/** To what, as whom, and at which pace. */
export interface Durations {
  readonly url: string;
  readonly botId: string;
  readonly secret: string;
  readonly heartbeatMs: number;
  readonly ackMs: number;
  readonly backoffMs: number;
}

/** Takes what comes in and is no ack. */
export type Callback = (from: Line, cmd: string, reqId: string, frame: Json) => void;

/** One socket, from its dial to its end. Whatever comes of it after another took its place is nobody's business. */
export class Line {
  readonly #of: Connection;
  readonly #ws: WebSocket;
  readonly #waiting = new Map<string, Waiting>();
  /** Requests whose ack did not come in time, by req_id: it may still come, and is then not the next one's. */
  readonly #owed = new Map<string, number>();
  readonly #timers = new Set<NodeJS.Timeout>();
  ready = false;
  /** Whether any ack has come. */
  heard = false;
  /** Stops listening to it. */
  deaf = false;

  constructor(of: Connection) {
    this.#of = of;
    this.#ws = new WebSocket(of.options.url, {
      handshakeTimeout: of.options.ackMs,
      perMessageDeflate: false,
      autoPong: !broken("sends-no-pongs"),
      maxPayload: broken("takes-frames-up-to-1-mib") ? 1024 * 1024 : 16 * 1024 * 1024,
    });
    this.#ws.on("open", () => {
      of.opened();
      void this.#subscribe();
    });
    this.#ws.on("message", (data: RawData, binary: boolean) => this.#received(data, binary));
    this.#ws.on("close", (code) => of.ended(this, code));
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

  /** Sends and does not wait. */
  send(cmd: string, reqId: string, body?: unknown): void {
    if (this.#ws.readyState !== WebSocket.OPEN) return;
    const text = JSON.stringify({ cmd, headers: { req_id: reqId }, ...(body === undefined ? {} : { body }) });
    if (broken("joins-frames-under-load") && cmd === "aibot_respond_msg") return this.#join(text);
    this.#ws.send(text, { binary: broken("pings-in-binary") && cmd === "ping" });
  }

  /** Sends and waits for the ack; never rejects. */
  async request(cmd: string, reqId: string, body?: unknown, waitMs = this.#of.options.ackMs): Promise<Settled> {
    if (broken("waits-for-ever-to-write")) await this.#written();
    return new Promise((resolve) => {
      if (this.#ws.readyState !== WebSocket.OPEN) {
        resolve("lost");
        return;
      }
      const ackMs = cmd === "aibot_send_msg" && broken("waits-50-s-for-an-ack") ? 5 * waitMs : waitMs;
      const timer = this.#later(ackMs, () => {
        if (broken("dies-of-a-lost-ack") && cmd === "aibot_respond_msg") throw new Error(`no ack for ${reqId}`);
        if (waiting.maybe === undefined) this.#owed.set(reqId, (this.#owed.get(reqId) ?? 0) + 1);
        waiting.settle(waiting.maybe ?? "no ack");
      });
      const waiting: Waiting = {
        maybe: undefined,
        settle: (settled) => {
          clearTimeout(timer);
          this.#waiting.delete(reqId);
          resolve(settled);
        },
      };
      this.#waiting.set(reqId, waiting);
      this.send(cmd, reqId, body);
    });
  }

  ended(): void {
    this.ready = false;
    for (const timer of this.#timers) clearTimeout(timer);
    if (broken("keeps-its-old-timers"))
      setInterval(() => this.#of.line.send("ping", fresh("ping")), this.#of.options.heartbeatMs);
    if (broken("hangs-when-kicked") && this.#of.state === "kicked") return;
    for (const { settle } of this.#waiting.values()) settle("lost");
  }

  /** The defect of clients whose writes have no deadline: until everything before has been taken, nothing goes on. */
  async #written(): Promise<void> {
    while (this.#ws.bufferedAmount > 0) await pause(10);
  }

  async #subscribe(): Promise<void> {
    const { botId, secret, ackMs } = this.#of.options;
    const second = this.#of.second;
    if (broken("pings-before-it-subscribes")) this.send("ping", fresh("ping"));
    if (broken("never-subscribes")) return;
    const asked = this.request(
      "aibot_subscribe",
      fresh("subscribe"),
      { bot_id: botId, secret },
      broken("waits-for-ever-for-its-ack") ? 1e8 : broken("waits-14-s-for-its-ack") ? ackMs * 1.4 : ackMs,
    );
    if (broken("prints-its-secret")) log(`subscribing with ${secret}`);
    if (broken("speaks-before-its-ack"))
      this.send("aibot_send_msg", fresh("push"), {
        chatid: "zhangsan",
        chat_type: 1,
        msgtype: "markdown",
        markdown: { content: "I am here" },
      });
    const settled = await asked;
    if (settled === "lost") return;
    if (settled === "no ack") return this.drop("the subscribe was not acknowledged");
    const accepted = settled.errcode === 0 || (broken("decides-by-errmsg") && settled.body["errmsg"] === "ok");
    if (!accepted) return this.#of.refused(this, settled.errcode);
    this.ready = true;
    log("subscribed");
    this.#of.subscribed();
    this.#later(60 * second, () => this.#of.held());
    this.#beat(0);
    if (broken("subscribes-every-20-s")) this.#again(20 * second);
    if (broken("subscribes-every-70-s")) this.#again(70 * second);
  }

  #again(everyMs: number): void {
    this.#later(everyMs, () => {
      const { botId, secret } = this.#of.options;
      this.send("aibot_subscribe", fresh("subscribe"), { bot_id: botId, secret });
      this.#again(everyMs);
    });
  }

  /** A ping every heartbeat; one that is not answered is followed by another at once, and that by the end. */
  #beat(misses: number): void {
    if (broken("never-pings")) return;
    const { heartbeatMs } = this.#of.options;
    this.#later(misses > 0 ? 0 : broken("pings-every-10-s") ? heartbeatMs / 3 : heartbeatMs, async () => {
      const reqId = broken("pings-under-one-req-id")
        ? "ping"
        : broken("pings-under-long-req-ids")
          ? "p".repeat(300) + fresh("")
          : fresh("ping");
      this.#acks = 0;
      const settled = await this.request("ping", reqId);
      if (this.deaf || settled === "lost") return;
      const alive =
        (settled !== "no ack" && (settled.errcode === 0 || broken("takes-any-ping-ack-for-life"))) ||
        (broken("takes-any-ack-for-life") && this.#acks > 0);
      if (alive || broken("ignores-unanswered-pings")) return this.#beat(0);
      if (misses < 1) return this.#beat(misses + 1);
      if (broken("takes-95-s-to-notice"))
        return void this.#later(45 * this.#of.second, () => this.drop("pings are not answered"));
      if (broken("keeps-its-old-socket") || broken("minds-the-end-of-old-sockets")) return this.#of.abandon(this);
      this.drop("pings are not answered");
    });
  }

  /** Acks since the last ping. */
  #acks = 0;

  #insistOnPongs(): void {
    let heard = true;
    this.#ws.on("pong", () => {
      heard = true;
    });
    const look = (): void => {
      if (!heard) return this.drop("no pong");
      heard = false;
      if (this.#ws.readyState === WebSocket.OPEN) this.#ws.ping();
      this.#later(this.#of.options.heartbeatMs, look);
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
      setInterval(() => this.send("ping", fresh("ping")), this.#of.options.heartbeatMs);
      return;
    }
    const frame = parse(text);
    if (frame === undefined) return;
    const reqId = objectAt(frame, "headers")["req_id"];
    const cmd = frame["cmd"];
    if (cmd === "ping" && broken("dies-of-a-json-ping")) throw new Error("a ping of the gateway");
    if (typeof cmd === "string") return this.#of.callback(this, cmd, typeof reqId === "string" ? reqId : "", frame);
    this.#acked(String(reqId), frame);
  }

  #acked(reqId: string, frame: Json): void {
    if (frame["errcode"] === undefined && broken("needs-an-errcode")) return;
    this.heard = true;
    this.#acks++;
    const [oldest] = this.#waiting.values();
    const waiting = broken("takes-acks-in-their-order")
      ? oldest
      : (this.#waiting.get(reqId) ?? (broken("takes-any-ack-for-its-own") ? oldest : undefined));
    const settled = { errcode: Number(frame["errcode"] ?? 0), body: { ...frame, ...objectAt(frame, "body") } };
    const owed = this.#owed.get(reqId) ?? 0;
    if (owed === 0 || settled.errcode !== 0 || broken("credits-late-acks")) return waiting?.settle(settled);
    // It may be that of the request before, whose time was over; until the other one comes nothing is certain.
    this.#owed.set(reqId, owed - 1);
    if (waiting !== undefined) waiting.maybe = settled;
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

interface Waiting {
  /** An ack that may have been the one before's. */
  maybe: Settled | undefined;
  readonly settle: (settled: Settled) => void;
}

/** The bot's connection over all its sockets. */
export class Connection {
  readonly options: Durations;
  readonly callback: Callback;
  /** One production second in the time that this bot was told to live in. */
  readonly second: number;
  line: Line;
  /** What is held of lines. */
  readonly lines: Line[] = [];
  state: State = "connecting";
  #losses = 0;
  #throttles = 0;
  #refusals = 0;
  #attempts = 0;
  #throttledUntil = 0;
  #reconnecting: NodeJS.Timeout | undefined;
  #returned = false;

  readonly #lost: () => void;

  /** `lost` is told of the end of each socket. */
  constructor(options: Durations, callback: Callback, lost: () => void) {
    this.options = options;
    this.callback = callback;
    this.#lost = lost;
    this.second = options.heartbeatMs / 30;
    this.line = this.#dial();
  }

  /** Refused for good, kicked, or asked to end: no socket follows this one. */
  get over(): boolean {
    return this.state !== "connecting" && this.state !== "ready";
  }

  /** Waits for a subscribed line. False where none will come. */
  async ready(): Promise<boolean> {
    while (!this.line.ready && !this.over) await pause(10);
    return this.line.ready && !this.over;
  }

  stop(): void {
    this.state = "stopped";
    clearTimeout(this.#reconnecting);
    this.line.close();
  }

  /** Another instance of the bot took over. */
  kicked(from: Line): void {
    if (broken("takes-a-kick-for-a-lost-line")) return from.close();
    this.state = "kicked";
    const backAfter = broken("comes-back-15-s-after-a-kick")
      ? 15
      : this.#returned
        ? undefined
        : broken("comes-back-once-after-a-kick")
          ? 60
          : broken("comes-back-three-minutes-after-a-kick")
            ? 180
            : undefined;
    if (backAfter !== undefined) {
      this.#returned = true;
      this.#backIn(backAfter * this.second);
    }
    if (!broken("keeps-its-socket-when-kicked") && !broken("talks-on-after-a-kick")) from.close();
  }

  opened(): void {
    if (broken("back-off-begins-anew-on-open")) this.#losses = 0;
  }

  subscribed(): void {
    this.state = "ready";
  }

  /** The line has held for a while. */
  held(): void {
    this.#losses = 0;
  }

  /** A socket has ended: another one follows after a wait that grows, unless this one had been replaced. */
  ended(which: Line, code: number): void {
    which.ended();
    this.#lost();
    if (broken("keeps-its-lost-lines")) this.lines.push(which);
    if (which !== this.line && !broken("minds-the-end-of-old-sockets")) return;
    if (this.over || this.#throttledUntil > performance.now()) return;
    this.state = "connecting";
    if (broken("takes-1000-for-the-end") && code === 1000) return;
    if (broken("gives-up-after-ten-attempts") && this.#attempts >= 10) return;
    const { backoffMs } = this.options;
    const wait = Math.min(30 * backoffMs, backoffMs * 2 ** this.#losses++) * (1 + Math.random() / 2);
    if (broken("rests-40-s-after-a-reset") && code === 1006 && this.#losses === 1)
      return this.#dialIn(40 * this.second);
    this.#dialIn(wait);
  }

  /** The defect of clients that dial anew and leave the old socket to itself. */
  abandon(which: Line): void {
    which.deaf = broken("keeps-its-old-socket");
    this.line = this.#dial();
  }

  /** A subscribe was refused: credentials are final, a throttle is waited for, anything else is like a lost connection. */
  refused(which: Line, errcode: number): void {
    log(`the subscribe was refused with ${errcode}`);
    if (
      errcode === 853000 ||
      (broken("takes-a-throttle-for-the-end") && errcode === 45009) ||
      (broken("takes-any-refusal-for-the-end") && errcode !== 45009)
    ) {
      if (broken("hammers-when-refused")) {
        this.#losses = 0;
        return which.drop("refused");
      }
      this.state = "refused";
      if (broken("never-gives-up-when-refused")) this.#backIn(Math.min(30, 2 ** (this.#refusals++ + 2)) * this.second);
      if (!broken("keeps-its-socket-when-refused")) which.close();
      return;
    }
    if (errcode === 45009 && !broken("takes-a-throttle-for-a-lost-line")) {
      const wait = 35 * this.second * 2 ** this.#throttles++;
      this.#throttledUntil = performance.now() + wait;
      which.close();
      this.#dialIn(wait);
      return;
    }
    which.drop("refused");
  }

  #dial(): Line {
    this.#attempts++;
    return new Line(this);
  }

  #dialIn(ms: number): void {
    clearTimeout(this.#reconnecting);
    this.#reconnecting = setTimeout(() => {
      this.line = this.#dial();
    }, ms);
  }

  #backIn(ms: number): void {
    setTimeout(() => {
      this.state = "connecting";
      this.line = this.#dial();
    }, ms);
  }
}
