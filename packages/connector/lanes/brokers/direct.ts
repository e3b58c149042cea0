/** An adapter by itself, for what a story of the whole connector does not come to. */
import { type Sink, type SinkMessage, readSinks } from "../../src/service/sink.ts";
import { loadSinks } from "../../src/service/sinks/open.ts";

/** The sink of a URL, closed at the end. */
export async function sinkOf(url: string): Promise<Required<Sink> & AsyncDisposable> {
  const [config] = readSinks(url, "OPENWS_SINKS");
  const sink = (await loadSinks([config!]))(config!);
  return {
    publish: (batch) => sink.publish(batch),
    listen: (handle, troubled) => sink.listen?.(handle, troubled),
    close: () => sink.close(),
    [Symbol.asyncDispose]: () => sink.close(),
  };
}

/** A message of a chat. */
export function messageOf(chat: string, body = "{}"): SinkMessage {
  return {
    id: `/bots/bot/${chat}`,
    type: "openws.message.v1",
    subject: `openws.bot.single.${chat}`,
    key: `bot/${chat}`,
    at: Date.now(),
    body,
  };
}

/** How long something takes. */
export async function msOf(work: Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work;
  return performance.now() - began;
}
