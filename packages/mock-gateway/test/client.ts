/** A bare WebSocket client for tests over loopback: it keeps every frame and waits for those a test asks for. */
import { WebSocket, type ClientOptions } from "ws";
import type { Frame } from "./wire.ts";

export class Client {
  readonly frames: Frame[] = [];
  readonly ws: WebSocket;
  readonly closed: Promise<number>;
  #taken = 0;
  #wake: (() => void) | undefined;

  private constructor(ws: WebSocket) {
    this.ws = ws;
    this.closed = new Promise((resolve) => {
      ws.on("close", resolve);
    });
    ws.on("error", () => undefined);
    ws.on("message", (data) => {
      this.frames.push(JSON.parse((data as Buffer).toString()) as Frame);
      this.#wake?.();
    });
  }

  static async open(url: string, protocols: string[] = [], options: ClientOptions = {}): Promise<Client> {
    const client = new Client(new WebSocket(url, protocols, options));
    await new Promise((resolve, reject) => {
      client.ws.once("open", resolve);
      client.ws.once("error", reject);
    });
    return client;
  }

  /** A client that is subscribed. */
  static async subscribe(url: string, bot = "bot", secret = "secret", options: ClientOptions = {}): Promise<Client> {
    return (await Client.open(url, [], options)).begin(bot, secret);
  }

  /** One that answers every text with `echo: <text>` as a stream of two frames. */
  static async echo(url: string, bot = "bot", secret = "secret", options: ClientOptions = {}): Promise<Client> {
    const client = await Client.open(url, [], options);
    // Before the subscribe: a message may come in the same segment as its ack.
    client.ws.on("message", (data) => {
      const { cmd, headers, body } = JSON.parse((data as Buffer).toString()) as Frame;
      if (cmd !== "aibot_msg_callback") return;
      const content = `echo: ${body.text?.content ?? body.msgtype}`;
      client.reply(headers.req_id, "s", content.slice(0, 3), false);
      client.reply(headers.req_id, "s", content, true);
    });
    return client.begin(bot, secret);
  }

  /** Subscribes, and waits for the first frame. */
  async begin(bot: string, secret: string): Promise<this> {
    this.send({ cmd: "aibot_subscribe", headers: { req_id: "sub" }, body: { bot_id: bot, secret } });
    await this.next();
    return this;
  }

  send(frame: object): void {
    this.ws.send(JSON.stringify(frame));
  }

  reply(req_id: string, id: string, content: string, finish: boolean): void {
    this.send({
      cmd: "aibot_respond_msg",
      headers: { req_id },
      body: { msgtype: "stream", stream: { id, finish, content } },
    });
  }

  /** The next frame that was not taken yet. */
  async next(): Promise<Frame> {
    while (this.#taken === this.frames.length)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    return this.frames[this.#taken++]!;
  }

  close(): void {
    this.ws.terminate();
  }
}
