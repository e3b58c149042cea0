/** What the API takes: the bodies and values of its requests, read once and trusted behind that. */
import * as z from "zod";
import { durationMs } from "./duration.ts";
import { profileNames, SomeSwitches } from "./switches.ts";

const id = z.string().min(1, "must not be empty").max(256, "is longer than 256 characters");

/** A new bot. */
export const BotBody = z.strictObject({ id, secret: z.string().min(1).optional(), name: z.string().min(1).optional() });

const from = z.looseObject({ userid: id });
const where = { chattype: z.enum(["single", "group"]).optional(), chatid: id.optional(), msgid: id.optional() };
const inGroup = (body: { chattype?: string | undefined; chatid?: string | undefined }) =>
  body.chattype !== "group" || body.chatid !== undefined;
const needsChatid = { path: ["chatid"], error: "is needed when chattype is group" };

const spoken = z.looseObject({ content: z.string() });
const sentFile = z.looseObject({
  base64: z.base64().optional(),
  filename: z.string().optional(),
  url: z.string().optional(),
});
const item = z.looseObject({ msgtype: z.string().min(1) });

/** What a user says. Members of the callback that are not named here pass through. */
export const MessageBody = z
  .looseObject({
    from,
    ...where,
    msgtype: z.string().min(1),
    text: spoken.optional(),
    voice: spoken.optional(),
    image: sentFile.optional(),
    file: sentFile.optional(),
    video: sentFile.optional(),
    mixed: z.looseObject({ msg_item: z.array(item).min(1, "must not be empty") }).optional(),
    quote: item.optional(),
  })
  .refine(inGroup, needsChatid)
  .refine((body) => !needsObject.has(body.msgtype) || body[body.msgtype] !== undefined, {
    error: "lacks the object named by its msgtype, such as text: {content} for msgtype text",
  });
const needsObject = new Set(["text", "voice", "mixed"]);

/** What a user does, or the server. */
export const EventBody = z
  .looseObject({ eventtype: z.string().min(1), from: from.optional(), ...where })
  .refine(inGroup, needsChatid);

/** How a kick ends. */
export const KickBody = z.strictObject({ closeAfterMs: z.union([z.int().min(0), z.literal("never")]).optional() });
/** How far the clock goes. */
export const AdvanceBody = z.strictObject({
  ms: z
    .int()
    .min(0, "must not be negative: the clock only goes forward")
    .max(10 * 365 * 86_400_000, "is more than ten years"),
  transport: z.boolean().optional(),
});
/** Which settings change. */
export const SettingsBody = z.strictObject({
  profile: z.enum(profileNames).optional(),
  switches: SomeSwitches.optional(),
});
/** How a connection ends. */
export const CutMode = z.enum(["close", "reset", "half-open", "nat-drop"]);
/** Milliseconds, or a number with ms, s, m or h; at most an hour. */
export const Wait = z
  .string()
  .transform(durationMs)
  .pipe(
    z.number("must be milliseconds such as 5000, or a duration such as 10s").max(3_600_000, "is more than an hour"),
  );
