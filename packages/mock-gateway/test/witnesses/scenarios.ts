/**
 * What a bot is put through: nine things that users and the gateway do to it, and what has to follow.
 *
 * A scenario speaks to a bot program in the words below, whatever it is written in and on whatever client it stands. It
 * looks at what users see and at the wire, never at what the client says of itself; the one exception is the kick, where
 * the client's own notice counts too. Scenarios run in the order of the table, most of them on one
 * connection; each has a user of its own.
 *
 * What every bot program does:
 *
 * | a user | the bot |
 * | --- | --- |
 * | enters the chat | welcomes with "welcome" |
 * | says "stream WORDS" | streams "WORDS" in two frames, the first with half of the characters |
 * | says "card" | replies with a button card, task_id "task-1", button key "approve" |
 * | clicks | replaces the card's title by "approved" |
 * | says "push" | sends markdown "**pushed**", without reference to the question |
 * | says "file" | uploads 1,300,000 bytes as parts.bin, byte i being (7·i + ⌊i/256⌋) mod 256, and sends them |
 * | sends an image | downloads it, and streams "SHA256-IN-HEX LENGTH" of the clear bytes |
 *
 * and it prints the line "kicked" once its client told it of the kick. Where a client has no function for something, the
 * program streams "this client has no …"; where one throws, it streams "failed: …".
 */
import { createHash } from "node:crypto";
import { expect } from "vitest";
import type { Gateway, Reply, Told, UserEvent, UserMessage } from "../../src/index.ts";
import type { Witness } from "./witness.ts";

/** Where a scenario takes place. */
export interface Stage {
  readonly gateway: Gateway;
  readonly bot: string;
  readonly witness: Witness;
}

/** One row of the table. */
export interface Scenario {
  /** The column of docs/clients.md, and the key of a client's differences. */
  readonly name: string;
  /** A test title. */
  readonly title: string;
  /** Whether it wants a gateway and a program of its own, because what came before may have ended the one there was. */
  readonly own?: true;
  /** Throws when it does not come out as it should. */
  play(stage: Stage): Promise<void>;
}

const waitMs = 15_000;
/** For how long a client is watched that may or may not come back. All of them dial after one or two seconds, or never. */
const watchMs = 4_000;

export const scenarios: readonly Scenario[] = [
  {
    name: "subscribe",
    title: "subscribes with its first frame, and once",
    async play({ gateway, bot, witness }) {
      const { connection } = await witness.subscribed;
      const sent = gateway.log().filter((entry) => entry.connection === connection && entry.dir === "in");
      const acts = sent.filter((entry) => entry.cmd !== "ping");
      expect(acts.map((entry) => entry.cmd)).toEqual(["aibot_subscribe"]);
      expect(gateway.connections().map((other) => [other.bot, other.state])).toEqual([[bot, "subscribed"]]);
    },
  },
  {
    name: "stream",
    title: "answers a text by a stream that grows",
    async play(stage) {
      const words = 'two lines:\n你好,世界 — "quoted" \\ and 👩‍💻';
      const told = await say(stage, "anna", `stream ${words}`);
      const { frames } = answer(told, { kind: "stream", via: "respond", content: words });
      expect(frames).toBeGreaterThanOrEqual(2);
    },
  },
  {
    name: "welcome",
    title: "welcomes a user who enters the chat",
    async play(stage) {
      const told = await trigger(stage, { eventtype: "enter_chat", from: { userid: "bert" } });
      answer(told, { kind: "text", via: "welcome", content: "welcome" });
    },
  },
  {
    name: "card",
    title: "replies with a card, and replaces it when its button is clicked",
    async play(stage) {
      const asked = { card_type: "button_interaction", task_id: "task-1", main_title: { title: "approve?" } };
      answer(await say(stage, "carl", "card"), { kind: "template_card", via: "respond", card: asked });

      const click = { event_key: "approve", task_id: "task-1" };
      const event = { eventtype: "template_card_event", from: { userid: "carl" }, template_card_event: click };
      answer(await trigger(stage, event), { via: "update", card: { main_title: { title: "approved" } } });
      const card = stage.gateway.chat(stage.bot, "carl")!.items.find((item) => item.by === "bot");
      expect(card).toMatchObject({ via: "respond", card: { main_title: { title: "approved" } } });
    },
  },
  {
    name: "push",
    title: "pushes markdown",
    async play(stage) {
      answer(await say(stage, "dora", "push"), { kind: "markdown", via: "send", content: "**pushed**" });
    },
  },
  {
    name: "upload",
    title: "uploads a file of three chunks, and sends it",
    async play(stage) {
      const { mediaId } = answer(await say(stage, "emil", "file"), { kind: "file", filename: "parts.bin" });
      const file = await fetch(`${stage.gateway.apiUrl}/media/${mediaId!}`);
      expect(sha256(new Uint8Array(await file.arrayBuffer()))).toBe(sha256(partsOfThree()));
      expect(stage.gateway.log().filter((entry) => entry.dir === "in" && entry.cmd === chunkCmd)).toHaveLength(3);
    },
  },
  {
    name: "download",
    title: "downloads and decrypts images, whatever their padding and the length of their key",
    async play(stage) {
      // 32 bytes of padding, 1, and 17: the first and the last are what a client that knows PKCS#7 to 16 cannot take off.
      for (const [length, aeskeyLength] of [
        [3200, 44],
        [3231, 43],
        [3215, 44],
      ] as const) {
        stage.gateway.set({ aeskeyLength });
        const bytes = Buffer.from(Array.from({ length }, (_, i) => (i * i + length) & 0xff));
        const image = { filename: "photo.png", base64: bytes.toString("base64") };
        const told = await say(stage, "fred", { from: { userid: "fred" }, msgtype: "image", image });
        answer(told, { kind: "stream", content: `${sha256(bytes)} ${length}` });
      }
    },
  },
  {
    name: "reconnect",
    title: "comes back after its connection was reset, and answers",
    own: true,
    async play(stage) {
      const { gateway, bot, witness } = stage;
      const { connection } = await witness.subscribed;
      gateway.cut(connection!, "reset");
      const back = await witness.orEnd(gateway.waitForBot(bot, watchMs));
      expect(back.connection).not.toBe(connection);
      answer(await say(stage, "gina", "stream I am back"), { kind: "stream", content: "I am back" });
    },
  },
  {
    name: "kick",
    title: "stops after a kick, says so, and does not come back",
    own: true,
    async play({ gateway, bot, witness }) {
      const before = gateway.connections().map(({ n }) => n);
      await gateway.kick(bot, { closeAfterMs: 200 });
      await witness.said("kicked", waitMs);
      // A program that ends by itself has shown that it waits for nothing; one that goes on has to be watched.
      const back = gateway.waitForBot(bot, watchMs).then(
        () => "subscribed again",
        () => "stayed away",
      );
      expect(["stayed away", "ended with 0"]).toContain(await Promise.race([back, witness.exited]));
      expect(gateway.connections().filter(({ n }) => !before.includes(n))).toEqual([]);
      expect(gateway.connections()).toEqual([]);
    },
  },
];

const chunkCmd = "aibot_upload_media_chunk";

/** The file of the scenario `upload`. */
const partsOfThree = (): Uint8Array => Uint8Array.from({ length: 1_300_000 }, (_, i) => 7 * i + (i >> 8));

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

const say = ({ gateway, bot, witness }: Stage, userid: string, what: string | UserMessage): Promise<Told> => {
  const text = { from: { userid }, msgtype: "text", text: { content: what } };
  return witness.orEnd(gateway.say(bot, typeof what === "string" ? text : what, { waitMs }));
};

const trigger = ({ gateway, bot, witness }: Stage, event: UserEvent): Promise<Told> =>
  witness.orEnd(gateway.trigger(bot, event, { waitMs }));

/** The one answer, which is finished and as expected; otherwise a failure that says what came instead. */
const answer = (told: Told, expected: Partial<Reply>): Reply => {
  expect(told.replies, JSON.stringify(told)).toMatchObject([{ finished: true, ...expected }]);
  return told.replies[0]!;
};
