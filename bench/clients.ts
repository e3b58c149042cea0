/**
 * The three clients that benches compare: the connector as a library, the official Node SDK, and a bare `ws` client that
 * parses and stringifies and does nothing else. Each answers a text with `echo: <text>`. A process loads the one it is.
 */
import type { WSClient, WsFrame } from "@wecom/aibot-node-sdk";
import type { Bot } from "@openws/connector";
import { loadPublished } from "./published.ts";

/** Whose client. */
export type Side = "ours" | "sdk" | "bare";

/** How a side is called in a row. */
export const names: Readonly<Record<Side, string>> = {
  ours: "openws",
  sdk: "the official SDK",
  bare: "a bare ws client",
};

const secret = "x";
const nothing = (): void => undefined;

/** What the SDK writes on a console costs it more than the rest; here it is told to write nothing. */
const silent = { debug: nothing, info: nothing, warn: nothing, error: nothing };

/** Connects an echo bot; resolves when it is subscribed. `heartbeatMs` is each client's own unless given. */
export const connect: Readonly<
  Record<Side, (url: string, botId: string, heartbeatMs?: number, subscribed?: () => void) => Promise<void>>
> = {
  async ours(url, botId, heartbeatMs, subscribed = nothing) {
    const bot = await openBot(url, botId, heartbeatMs);
    bot.on("text", (message) => `echo: ${message.text}`);
    bot.observe((event) => {
      if (event.type === "moved" && event.to === "ready") subscribed();
    });
    await bot.start();
  },
  async sdk(url, botId, heartbeatMs, subscribed = nothing) {
    const { generateReqId } = await import("@wecom/aibot-node-sdk");
    const client = await openClient(url, botId, heartbeatMs);
    client.on("message.text", (frame: WsFrame) => {
      const { text } = frame.body as { text: { content: string } };
      client.replyStream(frame, generateReqId("stream"), `echo: ${text.content}`, true).catch(nothing);
    });
    await new Promise<void>((resolve) => {
      client.on("authenticated", () => {
        subscribed();
        resolve();
      });
      client.connect();
    });
  },
  async bare(url, botId) {
    const { WebSocket } = await import("ws");
    await new Promise<void>((resolve) => {
      const ws = new WebSocket(url, { perMessageDeflate: false });
      ws.on("open", () => {
        const subscribe = { cmd: "aibot_subscribe", headers: { req_id: "subscribe" }, body: { bot_id: botId, secret } };
        ws.send(JSON.stringify(subscribe));
      });
      let streams = 0;
      ws.on("message", (data: Buffer) => {
        const frame = JSON.parse(data.toString()) as BareFrame;
        const { req_id } = frame.headers;
        if (frame.cmd !== "aibot_msg_callback") {
          if (req_id === "subscribe") resolve();
          return;
        }
        const stream = { id: `stream-${++streams}`, finish: true, content: `echo: ${frame.body.text.content}` };
        ws.send(JSON.stringify({ cmd: "aibot_respond_msg", headers: { req_id }, body: { msgtype: "stream", stream } }));
      });
    });
  },
};

interface BareFrame {
  readonly cmd?: string;
  readonly headers: { readonly req_id: string };
  readonly body: { readonly text: { readonly content: string } };
}

/** Our bot, without a pace of its own: what is measured is what it costs, not what WeCom allows. */
export const openBot = async (url: string, botId: string, heartbeatMs?: number): Promise<Bot> => {
  loadPublished();
  const { createBot } = await import("@openws/connector");
  return createBot({ botId, secret, url, quota: false, ...(heartbeatMs === undefined ? {} : { heartbeatMs }) });
};

/** The SDK's client. */
export const openClient = async (url: string, botId: string, heartbeatInterval?: number): Promise<WSClient> => {
  const sdk = await import("@wecom/aibot-node-sdk");
  const beat = heartbeatInterval === undefined ? {} : { heartbeatInterval };
  return new sdk.WSClient({ botId, secret, wsUrl: url, logger: silent, ...beat });
};
