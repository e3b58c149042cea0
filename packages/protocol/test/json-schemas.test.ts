import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it } from "vitest";
import { cmd } from "../src/frames.ts";
import { jsonSchemas } from "../tools/json-schemas.ts";
import { loadVectors } from "./vectors.ts";

const schemas = jsonSchemas();
// `required` inside `if` and `not` is how JSON Schema relates members; ajv's strictest mode takes it for an oversight.
const ajv = new Ajv2020({ strict: true, strictRequired: false, strictTypes: false, allErrors: true });
const validators = new Map(Object.entries(schemas).map(([name, schema]) => [name, ajv.compile(schema)]));

/** What a schema has to say about a frame; empty when it accepts it. */
function complaints(name: string, value: unknown): string[] {
  const validate = validators.get(name)!;
  return validate(value) ? [] : validate.errors!.map((error) => `${error.instancePath} ${error.message ?? ""}`);
}

const sent = loadVectors()
  .filter(({ direction, valid }) => direction === "client" && valid)
  .map(({ id, wire }) => [id, JSON.parse(wire) as { cmd: string }] as const);
const received = new Map(
  loadVectors()
    .filter(({ direction, topic }) => direction === "gateway" && topic !== "odd")
    .map(({ id, wire }) => [id, wire]),
);

describe("the JSON Schemas", () => {
  it("are one for each command, for what the gateway sends, for cards, and for everything together", () => {
    expect(Object.keys(schemas).toSorted()).toEqual(
      [...Object.values(cmd), "ack", "client", "gateway", "quote", "template_card", "template_card_update"].toSorted(),
    );
  });

  it.each(Object.entries(schemas))(
    "have a dialect, an $id, a title, and no reference out of the file: %s",
    (name, schema) => {
      expect(schema).toMatchObject({
        $schema: "https://json-schema.org/draft/2020-12/schema",
        $id: `urn:openws:${name}`,
        title: expect.stringMatching(/^[A-Z]/) as string,
      });
      const references = [...JSON.stringify(schema).matchAll(/"\$ref":"([^"]*)"/g)].map(([, target]) => target);
      for (const target of references) expect(target).toMatch(/^#\/\$defs\/\w+$/);
    },
  );

  it.each(sent)("accept the golden frame %s, by itself and among all", (_, frame) => {
    expect(complaints(frame.cmd, frame)).toEqual([]);
    expect(complaints("client", frame)).toEqual([]);
  });

  it.each(sent)("refuse %s with a member too many, without headers, or under another command", (_, frame) => {
    const { headers: _headers, ...headless } = frame as { headers?: unknown };
    for (const broken of [{ ...frame, extra: 1 }, headless, { ...frame, cmd: "aibot_unheard_of" }]) {
      expect(complaints(frame.cmd, broken)).not.toEqual([]);
      expect(complaints("client", broken)).not.toEqual([]);
    }
  });

  it.each([
    ["text-single", cmd.message],
    ["text-group", cmd.message],
    ["image-single", cmd.message],
    ["mixed-all", cmd.message],
    ["quote-mixed", cmd.message],
    ["voice-single", cmd.message],
    ["enter-chat", cmd.event],
    ["card-event-multiple", cmd.event],
    ["feedback-group", cmd.event],
    ["disconnected", cmd.event],
  ])("accept the callback %s with members nobody knows yet", (id, name) => {
    const callback = { ...(JSON.parse(received.get(id)!) as object), later: true };
    expect(complaints(name, callback)).toEqual([]);
    expect(complaints("gateway", callback)).toEqual([]);
    expect(complaints("ack", callback)).not.toEqual([]);
  });

  it.each([
    ["text-single.no-msgid", cmd.message],
    ["text-group.no-chatid", cmd.message],
    ["image-single.no-url", cmd.message],
    ["enter-chat.no-eventtype", cmd.event],
    ["card-event-button.no-task-id", cmd.event],
    ["feedback-group.type-word", cmd.event],
  ])("refuse the callback %s", (id, name) => {
    const callback: unknown = JSON.parse(received.get(id)!);
    expect(complaints(name, callback)).not.toEqual([]);
    expect(complaints("gateway", callback)).not.toEqual([]);
  });

  it("accept an ack with an errcode or without, as number or as string", () => {
    for (const rest of [
      {},
      { errcode: 0, errmsg: "ok" },
      { errcode: "846609" },
      { errcode: 0, body: { upload_id: "u" } },
    ]) {
      expect(complaints("ack", { headers: { req_id: "r" }, ...rest })).toEqual([]);
    }
    for (const broken of [{ headers: {} }, { headers: { req_id: "r" }, errcode: "many" }, { errcode: 0 }]) {
      expect(complaints("ack", broken)).not.toEqual([]);
    }
  });

  it.each([
    ["ping.long-req-id", cmd.ping],
    ["respond-markdown.too-long", cmd.respond],
    ["respond-stream-open.long-feedback-id", cmd.respond],
    ["upload-init-image.too-large", cmd.uploadInit],
    ["upload-init-voice.too-large", cmd.uploadInit],
  ])("carry the limit that %s breaks", (id, name) => {
    const frame: unknown = JSON.parse(loadVectors().find((vector) => vector.id === id)!.wire);
    expect(complaints(name, frame)).not.toEqual([]);
    expect(complaints("client", frame)).not.toEqual([]);
  });

  it("carry the limits of a card, byte limits as the characters that can never exceed them", () => {
    const card = (more: object) => ({
      card_type: "button_interaction",
      main_title: {},
      button_list: [{ text: "t", key: "k" }],
      task_id: "t",
      ...more,
    });
    expect(complaints("template_card", card({}))).toEqual([]);
    expect(complaints("template_card", card({ button_list: [] }))).not.toEqual([]);
    expect(complaints("template_card", card({ task_id: "a b" }))).not.toEqual([]);
    expect(complaints("template_card", card({ button_list: [{ text: "t", key: "k".repeat(1025) }] }))).not.toEqual([]);
    expect(complaints("template_card", card({ card_action: { type: 1 } }))).not.toEqual([]);
    expect(complaints("template_card", card({ card_action: { type: 1, url: "u" } }))).toEqual([]);
    const withMenu = { card_type: "text_notice", sub_title_text: "t", card_action: { type: 0 } };
    const menu = { action_menu: { desc: "d", action_list: [{ text: "t", key: "k" }] } };
    expect(complaints("template_card", { ...withMenu, ...menu })).not.toEqual([]);
    expect(complaints("template_card_update", { ...withMenu, ...menu })).toEqual([]);
  });
});
