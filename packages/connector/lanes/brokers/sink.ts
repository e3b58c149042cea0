/**
 * One story for every broker, told to the connector as a process: a message is published and seen by a consumer; the broker
 * is killed, users go on, it comes back; everything is there, each chat in its order, and no secret in any output.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Gateway, startGateway } from "@openws/mock-gateway";
import { expect, onTestFailed } from "vitest";
import { serveWhole } from "../../test/process.ts";
import type { BrokerProcess } from "./broker.ts";

/** What a consumer saw of a message. */
export interface Seen {
  readonly key: string;
  readonly subject: string;
  readonly contentType: string | undefined;
  readonly body: string;
}

/** How the story is told of a broker. */
export interface Told {
  readonly broker: BrokerProcess;
  /** The sink's URL; `password` is in it and must be nowhere else. */
  readonly url: string;
  readonly password: string;
  /** Begins to consume; calls `see` for each message, also for those that were there before, and reconnects by itself. */
  /** Sends a command and resolves with its answer; for sinks that take them. */
  readonly command?: (json: string) => Promise<string>;
  readonly consume: (see: (seen: Seen) => void) => Promise<AsyncDisposable>;
}

interface Event {
  readonly type: string;
  readonly subject: string;
  readonly specversion: string;
  readonly data: { readonly id: string; readonly text: string; readonly chat: { readonly id: string } };
}

const chats = ["anna", "boris", "chen"];

/** Tells it. */
export async function tell({ broker, url, password, consume, command }: Told): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "openws-sinks-"));
  await using ended = new AsyncDisposableStack();
  ended.defer(() => rmSync(folder, { recursive: true, force: true }));
  const gateway = await startGateway({
    latencyMs: 0,
    switches: { maxInFlightPerUser: 0, chatPrecondition: false },
    bots: [{ id: "bot", secret: "s3cret-of-bot" }],
  });
  ended.defer(() => gateway.stop());
  const seen: Seen[] = [];
  const consumer = await consume((message) => seen.push(message));
  ended.use(consumer);
  const database = join(folder, "a.db");
  const running = await serveWhole([], {
    WECOM_BOT_ID: "bot",
    WECOM_BOT_SECRET: "s3cret-of-bot",
    WECOM_BOT_WS_URL: gateway.url,
    OPENWS_DATABASE: database,
    OPENWS_API_KEY: "the-key-of-the-test",
    OPENWS_SINKS: url,
    LOG_LEVEL: "debug",
  });
  ended.use(running);
  onTestFailed(() => void process.stderr.write(running.stderr().slice(-4_000)));
  const ask = async (path: string): Promise<string> => {
    const response = await fetch(`${running.url}${path}`, { headers: { authorization: "Bearer the-key-of-the-test" } });
    return response.text();
  };
  await gateway.waitForBot("bot");

  let said = 0;
  const sayEach = async (): Promise<void> => {
    said++;
    for (const userid of chats)
      await gateway.say("bot", { msgtype: "text", text: { content: `${said}` }, from: { userid } });
  };
  const texts = (chat: string): string[] => {
    const all = seen.map(({ body }) => JSON.parse(body) as Event).filter(({ type }) => type === "openws.message.v1");
    // At least once: what was repeated counts where it came first.
    return [...new Set(all.flatMap(({ data }) => (data.chat.id === chat ? [data.text] : [])))];
  };
  const everything = () => Array.from({ length: said }, (_, at) => String(at + 1));

  await sayEach();
  await expect.poll(() => chats.map(texts), { timeout: 20_000 }).toEqual(chats.map(everything));
  const first = seen.find(({ body }) => (JSON.parse(body) as Event).type === "openws.message.v1")!;
  expect(first).toMatchObject({
    key: expect.stringMatching(/^bot\/(?:anna|boris|chen)$/) as string,
    subject: "openws.bot.single.text",
    contentType: expect.stringContaining("application/cloudevents+json") as string,
  });
  expect(JSON.parse(first.body)).toMatchObject({ specversion: "1.0", subject: first.subject, data: { text: "1" } });

  if (command !== undefined) {
    const { id } = (JSON.parse(first.body) as Event).data;
    await tellCommands(gateway, id, command);
  }

  await broker.kill();
  for (let round = 0; round < 4; round++) await sayEach();
  const pending = async (): Promise<number> =>
    Number(/^openws_deliveries_pending (\d+)/m.exec(await ask("/metrics"))?.[1]);
  await expect.poll(pending).toBe(chats.length * 4);
  await broker.start();
  await sayEach();
  await expect.poll(() => chats.map(texts), { timeout: 75_000 }).toEqual(chats.map(everything));
  await expect.poll(pending, { timeout: 10_000 }).toBe(0);

  const ledger = await ask("/v1/messages?direction=in");
  const { messages } = JSON.parse(ledger) as { messages: { id: string; state: string }[] };
  expect(messages.map(({ state }) => state)).toEqual(messages.map(() => "delivered"));
  const details = await Promise.all(messages.slice(0, 8).map(({ id }) => ask(`/v1/messages/${id}`)));
  expect(await running.end()).toBe(0);
  for (const text of [...details, running.stderr(), running.stdout(), readFileSync(database, "latin1")])
    expect(text).not.toContain(password);
}

/** What an application says by the same broker is done once, however often it comes. */
async function tellCommands(gateway: Gateway, asked: string, command: NonNullable<Told["command"]>): Promise<void> {
  const commands = [
    { id: "1", push: { bot: "bot", to: { userid: "anna" }, markdown: "pushed" } },
    { id: "1", push: { bot: "bot", to: { userid: "anna" }, markdown: "pushed" } },
    { id: "2", reply: { message: asked, markdown: "replied" } },
    { id: "3", push: { bot: "nobody", to: { userid: "anna" }, markdown: "x" } },
    { id: "4", shout: "x" },
  ];
  const answers: unknown[] = [];
  for (const each of commands) answers.push(JSON.parse(await command(JSON.stringify(each))));
  expect(answers).toMatchObject([
    { id: "1", accepted: { direction: "out", kind: "markdown" } },
    { id: "1", accepted: { id: (answers[0] as { accepted: { id: string } }).accepted.id } },
    { id: "2", accepted: { replyTo: asked } },
    { id: "3", refused: { status: 404 } },
    { id: "4", refused: { status: 422 } },
  ]);
  const bubbles = () =>
    JSON.stringify(gateway.chats("bot"))
      .match(/pushed|replied/g)
      ?.toSorted();
  await expect.poll(bubbles).toEqual(["pushed", "replied"]);
}
