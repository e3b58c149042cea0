/**
 * Writes the JSON Schema (draft 2020-12) of every frame and card to dist/schemas/, for people who write clients in other
 * languages. Part of the package's build:
 *
 *     pnpm --filter @openws/protocol build
 *
 * Each file stands alone. Frames that a client sends are closed and as strict as JSON Schema can say it: byte limits
 * appear as the number of characters that can never exceed them, with the byte limit in `description`; relations such as
 * "keys are unique" are left to the gateway. Frames that the gateway sends are open, and a reader should be more tolerant
 * still: an unknown `msgtype` or `eventtype` is no error.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import * as z from "zod";
import { TemplateCard, TemplateCardUpdate } from "../src/cards.ts";
import * as frames from "../src/frames.ts";

/** What is published: the file's name without `.json` is the wire name where there is one. */
const published: Readonly<Record<string, { title: string; schema: z.ZodType; keywords?: object }>> = {
  client: { title: "Any frame a client sends", schema: frames.ClientFrame },
  gateway: {
    title: "Any frame of a known type that the gateway sends",
    schema: z.union([frames.MsgCallback, frames.EventCallback, frames.Ack]),
  },
  ack: {
    title: "The answer to any frame of a client",
    schema: frames.Ack,
    // Its only mark. Without it, any callback with a mistake in it would pass for an ack.
    keywords: { not: { required: ["cmd"] } },
  },
  quote: { title: "What a user quoted", schema: frames.Quote },
  template_card: { title: "A template card as it is first sent", schema: TemplateCard },
  template_card_update: { title: "A template card that replaces one already shown", schema: TemplateCardUpdate },
  [frames.cmd.subscribe]: { title: "Authenticates a connection", schema: frames.Subscribe },
  [frames.cmd.ping]: { title: "The heartbeat", schema: frames.Ping },
  [frames.cmd.respond]: { title: "Replies to a message", schema: frames.RespondMsg },
  [frames.cmd.welcome]: { title: "Welcomes a user", schema: frames.RespondWelcomeMsg },
  [frames.cmd.update]: { title: "Replaces a clicked card", schema: frames.RespondUpdateMsg },
  [frames.cmd.send]: { title: "Pushes a message", schema: frames.SendMsg },
  [frames.cmd.uploadInit]: {
    title: "Opens an upload",
    schema: frames.UploadMediaInit,
    keywords: {
      allOf: frames.mediaKinds.map((kind) => ({
        if: { properties: { body: { properties: { type: { const: kind } } } } },
        // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
        then: { properties: { body: { properties: { total_size: { maximum: frames.maxMediaBytes[kind] } } } } },
      })),
    },
  },
  [frames.cmd.uploadChunk]: { title: "Carries one chunk of an upload", schema: frames.UploadMediaChunk },
  [frames.cmd.uploadFinish]: { title: "Closes an upload", schema: frames.UploadMediaFinish },
  [frames.cmd.mcpConfig]: { title: "Asks for the bot's MCP configuration (undocumented)", schema: frames.GetMcpConfig },
  [frames.cmd.sendBiz]: { title: "Has WeCom show an authorisation card (undocumented)", schema: frames.SendBizMsg },
  [frames.cmd.enterCheck]: { title: "Answers enter_check_update (undocumented)", schema: frames.EnterCheckAnswer },
  [frames.cmd.message]: {
    title: "A user spoke",
    schema: frames.MsgCallback,
    keywords: {
      if: { properties: { body: { properties: { chattype: { const: "group" } }, required: ["chattype"] } } },
      // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
      then: { properties: { body: { required: ["chatid"] } } },
    },
  },
  [frames.cmd.event]: { title: "Something else happened", schema: frames.EventCallback },
};

const dialect = "https://json-schema.org/draft/2020-12/schema";

/**
 * Every schema by the name of its file, without `.json`; its `$id` is `urn:openws:` and that name. Where a schema uses
 * another one of them, its own copy is in its `$defs`.
 */
export function jsonSchemas(): Record<string, z.core.JSONSchema.BaseSchema> {
  for (const [id, { title, schema, keywords }] of Object.entries(published)) {
    schema.register(z.globalRegistry, { id, title, ...keywords });
  }
  return Object.fromEntries(
    Object.entries(published).map(([name, { schema }]) => {
      // `input`: what is on the wire, before the decoder turns "7" into 7.
      const { $defs = {} } = z.toJSONSchema(schema, { io: "input" });
      // Having a name, the root is itself a definition; its file is the definition, the others are what it uses.
      const { [name]: root, ...others } = $defs;
      const used = Object.keys(others).length === 0 ? {} : { $defs: others };
      return [name, { $schema: dialect, $id: `urn:openws:${name}`, ...root, ...used }];
    }),
  );
}

if (import.meta.main) {
  const directory = new URL("../dist/schemas/", import.meta.url);
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  for (const [name, schema] of Object.entries(jsonSchemas())) {
    writeFileSync(new URL(`${name}.json`, directory), `${JSON.stringify(schema, undefined, 2)}\n`);
  }
}
