/**
 * Template cards: the five card types, their members, their limits, and advice on what reads well.
 *
 * Decides whether a card may be sent. A rule of the documents is an error here; a recommended number of characters is
 * advice (`cardAdvice`), because the client cuts a long text and shows the card all the same. What a click brings back is
 * an event, so it is in frames.ts; whether a `task_id` was used before, only the gateway knows (errcode 42014).
 *
 * Invariants: the schemas are closed, a misspelt member is refused and not dropped; a required text that is empty counts
 * as missing; each refusal is a sentence that names the member and the limit, at the member's path.
 *
 * Source: developer.work.weixin.qq.com, document 101032 (2026-02-06), unless a line says otherwise. The documents' own
 * examples pass.
 */
import * as z from "zod";
import { utf8Bytes } from "./text.ts";

/** The values of `card_type`. Only the last three answer to a choice; the first two can carry a menu. */
export const cardTypes = [
  "text_notice",
  "news_notice",
  "button_interaction",
  "vote_interaction",
  "multiple_interaction",
] as const;

/** The limits of a card: bytes are bytes of UTF-8, the rest are entries of a list or a ratio. Beyond them a card is refused. */
export const cardLimits = {
  /** Bytes of `task_id`, which consists of `0-9 A-Z a-z _ - @`. */
  taskIdBytes: 128,
  /** Bytes of a `key`: buttons, the submit button, menu entries. */
  keyBytes: 1024,
  /** Bytes of a `question_key`. */
  questionKeyBytes: 1024,
  /** Bytes of an option's `id`. */
  optionIdBytes: 128,
  /** Bytes of the `question` that a jump of type 3 asks. */
  questionBytes: 200,
  /** Bytes of `feedback.id` (document 101031). */
  feedbackIdBytes: 256,
  /** Entries of `action_menu.action_list`, at least 1. */
  menuEntries: 3,
  /** Entries of `horizontal_content_list`, which may be empty. */
  horizontalEntries: 6,
  /** Entries of `vertical_content_list`, which may be empty. */
  verticalEntries: 4,
  /** Entries of `jump_list`, which may be empty. */
  jumps: 3,
  /** Entries of `button_list`, at least 1. */
  buttons: 6,
  /** Entries of `select_list`, at least 1. */
  selectors: 3,
  /** Options of one selector, at least 1. */
  selectorOptions: 10,
  /** Options of a vote's `checkbox`, at least 1. */
  checkboxOptions: 20,
  /** `card_image.aspect_ratio` lies above this, which is what an absent ratio means. */
  aspectRatioAbove: 1.3,
  /** The largest `card_image.aspect_ratio`. The text says "less than 2.25", its examples use 2.25 itself, so it passes. */
  aspectRatioMax: 2.25,
} as const;

/**
 * Characters (code points) beyond which the client is likely to cut a text, by the member's place; `[]` is each entry.
 * Recommendations: a longer text is sent and accepted.
 */
export const suggestedCharacters = {
  "source.desc": 13,
  "main_title.title": 26,
  "main_title.desc": 30,
  "emphasis_content.title": 10,
  "emphasis_content.desc": 15,
  sub_title_text: 112,
  "horizontal_content_list[].keyname": 5,
  "horizontal_content_list[].value": 26,
  "vertical_content_list[].title": 26,
  "vertical_content_list[].desc": 112,
  "jump_list[].title": 13,
  "button_list[].text": 10,
  "button_selection.title": 13,
  "button_selection.option_list[].text": 10,
  "select_list[].title": 13,
  "select_list[].option_list[].text": 10,
  "checkbox.option_list[].text": 11,
  "submit_button.text": 10,
} as const;

// ---------------------------------------------------------------------------------------------------------------------
// The parts of a card

const source = closed("source", {
  icon_url: optionalText("source.icon_url"),
  desc: optionalText("source.desc"),
  desc_color: choice("source.desc_color", { 0: "grey", 1: "black", 2: "red", 3: "green" }).optional(),
});

const actionMenu = closed("action_menu", {
  desc: text("action_menu.desc"),
  action_list: listOf(
    "action_list",
    closed("an entry of action_list", { text: text("text"), key: text("key", cardLimits.keyBytes) }),
    1,
    cardLimits.menuEntries,
  ).check(unique("key")),
});

const mainTitle = closed("main_title", {
  title: optionalText("main_title.title"),
  desc: optionalText("main_title.desc"),
});

const emphasisContent = closed("emphasis_content", {
  title: optionalText("emphasis_content.title"),
  desc: optionalText("emphasis_content.desc"),
});

/** Where a click leads. The members of the other kinds may be present and are ignored, as in the documents' examples. */
const clickTarget = {
  url: optionalText("url"),
  appid: optionalText("appid"),
  pagepath: optionalText("pagepath"),
};
const clickKinds = { 0: "no click", 1: "url", 2: "mini-program" } as const;
const clickNeeds = { 1: "url", 2: "appid" } as const;

const quoteArea = needing(
  clickNeeds,
  closed("quote_area", {
    type: choice("quote_area.type", clickKinds).optional(),
    ...clickTarget,
    title: optionalText("quote_area.title"),
    quote_text: optionalText("quote_area.quote_text"),
  }),
);

const horizontalContentList = listOf(
  "horizontal_content_list",
  needing(
    { 1: "url", 3: "userid" },
    closed("an entry of horizontal_content_list", {
      // Type 2 (an attachment) exists for group robots, not for AI bots.
      type: choice("type", { 0: "text", 1: "url", 3: "member" }).optional(),
      keyname: text("keyname"),
      value: optionalText("value"),
      url: optionalText("url"),
      userid: optionalText("userid"),
    }),
  ),
  0,
  cardLimits.horizontalEntries,
);

const verticalContentList = listOf(
  "vertical_content_list",
  closed("an entry of vertical_content_list", { title: text("title"), desc: optionalText("desc") }),
  0,
  cardLimits.verticalEntries,
);

const jumpList = listOf(
  "jump_list",
  needing(
    { ...clickNeeds, 3: "question" },
    closed("an entry of jump_list", {
      type: choice("type", { ...clickKinds, 3: "question" }).optional(),
      title: text("title"),
      ...clickTarget,
      question: optionalText("question", cardLimits.questionBytes),
    }),
  ),
  0,
  cardLimits.jumps,
);

const cardAction = needing(
  clickNeeds,
  closed("card_action", { type: choice("card_action.type", clickKinds), ...clickTarget }),
);

const ratioSentence = "card_image.aspect_ratio must be a number above 1.3 and at most 2.25; leave it out for 1.3";
const cardImage = closed("card_image", {
  url: text("card_image.url"),
  aspect_ratio: z
    .number(ratioSentence)
    .gt(cardLimits.aspectRatioAbove, ratioSentence)
    .lte(cardLimits.aspectRatioMax, ratioSentence)
    .optional(),
});

const imageTextArea = needing(
  clickNeeds,
  closed("image_text_area", {
    type: choice("image_text_area.type", clickKinds).optional(),
    ...clickTarget,
    title: optionalText("image_text_area.title"),
    desc: optionalText("image_text_area.desc"),
    image_url: text("image_text_area.image_url"),
  }),
);

const buttonList = listOf(
  "button_list",
  closed("a button", {
    text: text("text"),
    style: choice("style", { 1: "default", 2: "", 3: "", 4: "" }).optional(),
    key: text("key", cardLimits.keyBytes),
  }),
  1,
  cardLimits.buttons,
).check(unique("key"));

const submitButton = closed("submit_button", {
  text: text("submit_button.text"),
  key: text("submit_button.key", cardLimits.keyBytes),
});

const option = { id: text("id", cardLimits.optionIdBytes), text: text("text") };

const feedback = closed("feedback", { id: text("feedback.id", cardLimits.feedbackIdBytes) });

const taskIdSentence = "task_id must be 1 to 128 of the characters 0-9, A-Z, a-z, _, - and @";
const taskId = z
  .string({
    error: ({ input }) => (input === undefined ? "task_id is required: it comes back with the click" : taskIdSentence),
  })
  // Of these characters each is one byte.
  .regex(/^[0-9A-Za-z_\-@]{1,128}$/, taskIdSentence);

// ---------------------------------------------------------------------------------------------------------------------
// The cards

/**
 * A card as it is first sent, by a reply, a welcome or a push. The member `card_type` decides which others are allowed.
 *
 * `task_id` is required where a click can come back: with an `action_menu` and in the three interactive types (document
 * 101032 leaves it optional for `multiple_interaction`; the official plugin 2026.7.2 requires it, and without one the
 * answer could not be told apart). It must be new for the bot. `disable: true` is refused, since it only takes effect in
 * an update.
 */
export const TemplateCard = cardUnion({
  taskId,
  menuNeedsTaskId: true,
  disable: z.literal(false, "disable takes effect only in a card update; leave it out, or use TemplateCardUpdate"),
});
export type TemplateCard = z.infer<typeof TemplateCard>;

/**
 * A card that replaces one already shown (`aibot_respond_update_msg`): a whole card, like `TemplateCard`, but `disable`
 * may grey out a selector or a checkbox, and `task_id` is optional because the gateway ignores it in an update.
 */
export const TemplateCardUpdate = cardUnion({
  taskId: taskId.optional(),
  menuNeedsTaskId: false,
  disable: z.boolean("disable must be true or false"),
});
export type TemplateCardUpdate = z.infer<typeof TemplateCardUpdate>;

/** The five types in one of the two ways in which cards travel: sent first, or as an update. */
function cardUnion<TaskId extends z.ZodType<string | undefined>, Disable extends z.ZodType<boolean>>(use: {
  taskId: TaskId;
  menuNeedsTaskId: boolean;
  disable: Disable;
}) {
  const menu = { source: source.optional(), action_menu: actionMenu.optional() };
  const selector = closed("a selector", {
    question_key: text("question_key", cardLimits.questionKeyBytes),
    title: optionalText("title"),
    disable: use.disable.optional(),
    selected_id: optionalText("selected_id"),
    option_list: listOf("option_list", closed("an option", option), 1, cardLimits.selectorOptions).check(unique("id")),
  });
  const checkbox = closed("checkbox", {
    question_key: text("checkbox.question_key", cardLimits.questionKeyBytes),
    disable: use.disable.optional(),
    mode: choice("checkbox.mode", { 0: "single choice", 1: "multiple choice" }).optional(),
    option_list: listOf(
      "option_list",
      closed("an option", { ...option, is_checked: z.boolean("is_checked must be true or false").optional() }),
      1,
      cardLimits.checkboxOptions,
    ).check(unique("id")),
  });
  const menuWithoutTaskId = rule(
    "task_id",
    "a card with an action_menu needs a task_id: it comes back with the click",
    (card: { action_menu?: unknown; task_id?: unknown }) =>
      use.menuNeedsTaskId && card.action_menu !== undefined && card.task_id === undefined,
  );
  const menuNeeds = use.menuNeedsTaskId ? { dependentRequired: { action_menu: ["task_id"] } } : {};

  return z.discriminatedUnion(
    "card_type",
    [
      closed("a text_notice card", {
        card_type: z.literal("text_notice"),
        ...menu,
        main_title: mainTitle.optional(),
        emphasis_content: emphasisContent.optional(),
        quote_area: quoteArea.optional(),
        sub_title_text: optionalText("sub_title_text"),
        horizontal_content_list: horizontalContentList.optional(),
        jump_list: jumpList.optional(),
        card_action: cardAction,
        task_id: taskId.optional(),
        feedback: feedback.optional(),
      })
        .check(
          menuWithoutTaskId,
          rule(
            "main_title.title",
            "a text_notice card needs main_title.title or sub_title_text",
            (card) => !card.main_title?.title && !card.sub_title_text,
          ),
        )
        .meta({ ...menuNeeds, anyOf: [{ required: ["main_title"] }, { required: ["sub_title_text"] }] }),
      closed("a news_notice card", {
        card_type: z.literal("news_notice"),
        ...menu,
        main_title: mainTitle,
        card_image: cardImage.optional(),
        image_text_area: imageTextArea.optional(),
        quote_area: quoteArea.optional(),
        vertical_content_list: verticalContentList.optional(),
        horizontal_content_list: horizontalContentList.optional(),
        jump_list: jumpList.optional(),
        card_action: cardAction,
        task_id: taskId.optional(),
        feedback: feedback.optional(),
      })
        .check(
          menuWithoutTaskId,
          rule(
            "card_image",
            "a news_notice card needs a card_image or an image_text_area",
            (card) => card.card_image === undefined && card.image_text_area === undefined,
          ),
        )
        .meta({ ...menuNeeds, anyOf: [{ required: ["card_image"] }, { required: ["image_text_area"] }] }),
      closed("a button_interaction card", {
        card_type: z.literal("button_interaction"),
        ...menu,
        main_title: mainTitle,
        quote_area: quoteArea.optional(),
        sub_title_text: optionalText("sub_title_text"),
        horizontal_content_list: horizontalContentList.optional(),
        button_selection: selector.optional(),
        button_list: buttonList,
        card_action: cardAction.optional(),
        task_id: use.taskId,
        feedback: feedback.optional(),
      }),
      closed("a vote_interaction card", {
        card_type: z.literal("vote_interaction"),
        source: source.optional(),
        main_title: mainTitle,
        checkbox,
        submit_button: submitButton,
        task_id: use.taskId,
        feedback: feedback.optional(),
      }),
      closed("a multiple_interaction card", {
        card_type: z.literal("multiple_interaction"),
        source: source.optional(),
        main_title: mainTitle,
        select_list: listOf("select_list", selector, 1, cardLimits.selectors).check(unique("question_key")),
        submit_button: submitButton,
        task_id: use.taskId,
        feedback: feedback.optional(),
      }),
    ],
    {
      error: ({ code, input }) => {
        if (code === "invalid_union") return `card_type must be one of ${cardTypes.join(", ")}`;
        return input === undefined ? "template_card is required" : "template_card must be an object";
      },
    },
  );
}

// ---------------------------------------------------------------------------------------------------------------------
// Advice

/** One remark about a card that will be accepted, but may not look as intended. */
export interface CardAdvice {
  /** The member, such as `button_list[1].text`. */
  readonly path: string;
  /** One sentence: what is the matter, and what the client is expected to do with it. */
  readonly message: string;
}

/**
 * What to improve about a card that is valid: texts longer than the documents recommend, and members that contradict each
 * other without being refused. In the order of the tables; empty when there is nothing to say.
 */
export function cardAdvice(card: TemplateCard | TemplateCardUpdate): CardAdvice[] {
  const advice: CardAdvice[] = [];
  for (const [place, most] of Object.entries(suggestedCharacters)) {
    for (const [path, value] of membersAt(card, place.split("."))) {
      const characters = Array.from(value).length;
      if (characters <= most) continue;
      const message = `${path} has ${characters} characters; more than ${most} are likely to be cut off on the screen.`;
      advice.push({ path, message });
    }
  }
  for (const { path, message, applies } of contradictions) if (applies(card)) advice.push({ path, message });
  for (const [path, selector] of selectorsOf(card)) {
    const { selected_id: selected, option_list: options } = selector;
    if (selected === undefined || options.some(({ id }) => id === selected)) continue;
    const message = `${path}.selected_id names no option of the list; the client selects the first one.`;
    advice.push({ path: `${path}.selected_id`, message });
  }
  return advice;
}

type AnyCard = TemplateCard | TemplateCardUpdate;

/** What the documents advise against and the gateway accepts. */
const contradictions: readonly (CardAdvice & { applies: (card: AnyCard) => boolean })[] = [
  {
    path: "quote_area",
    message: "quote_area and emphasis_content are not meant to be used together; keep one of them.",
    applies: (card) =>
      "emphasis_content" in card && card.emphasis_content !== undefined && card.quote_area !== undefined,
  },
  {
    path: "main_title",
    message: "main_title has neither a title nor a desc; the card will have no heading.",
    applies: ({ main_title: heading }) => heading !== undefined && !heading.title && !heading.desc,
  },
  {
    path: "checkbox.option_list",
    message: "checkbox has mode 0 (a single choice), yet several of its options are checked.",
    applies: (card) =>
      card.card_type === "vote_interaction" &&
      card.checkbox.mode !== 1 &&
      card.checkbox.option_list.filter((option) => option.is_checked === true).length > 1,
  },
];

type Selector = Extract<AnyCard, { card_type: "multiple_interaction" }>["select_list"][number];

function selectorsOf(card: AnyCard): [path: string, selector: Selector][] {
  if (card.card_type === "multiple_interaction")
    return card.select_list.map((item, at) => [`select_list[${at}]`, item]);
  if (card.card_type === "button_interaction" && card.button_selection)
    return [["button_selection", card.button_selection]];
  return [];
}

/** The strings at a place of `suggestedCharacters`, each with its exact path; nothing where the card has no such member. */
function membersAt(value: unknown, [step, ...rest]: string[], path = ""): [path: string, text: string][] {
  if (step === undefined) return typeof value === "string" ? [[path, value]] : [];
  if (typeof value !== "object" || value === null) return [];
  const name = step.replace("[]", "");
  const member = (value as Record<string, unknown>)[name];
  const here = path === "" ? name : `${path}.${name}`;
  if (name === step) return membersAt(member, rest, here);
  return Array.isArray(member) ? member.flatMap((entry, at) => membersAt(entry, rest, `${here}[${at}]`)) : [];
}

// ---------------------------------------------------------------------------------------------------------------------
// Schemas that refuse in sentences

/** A closed object: a member it does not list is refused by name, and the answer says what it may have. */
function closed<const Shape extends z.core.$ZodShape>(name: string, shape: Shape) {
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code === "unrecognized_keys") {
        return `${name} has no member ${issue.keys.join(", ")}; it may have ${Object.keys(shape).join(", ")}`;
      }
      return issue.input === undefined ? `${name} is required` : `${name} must be an object`;
    },
  });
}

/** A required text; an empty one counts as missing. */
function text(name: string, maxBytes?: number) {
  return bounded(
    name,
    maxBytes,
    z
      .string({ error: ({ input }) => (input === undefined ? `${name} is required` : `${name} must be a string`) })
      .min(1, `${name} must not be empty`),
  );
}

function optionalText(name: string, maxBytes?: number) {
  return bounded(name, maxBytes, z.string(`${name} must be a string`)).optional();
}

function bounded(name: string, maxBytes: number | undefined, schema: z.ZodString) {
  if (maxBytes === undefined) return schema;
  return (
    schema
      .check((payload) => {
        const bytes = utf8Bytes(payload.value);
        if (bytes <= maxBytes) return;
        const message = `${name} is ${bytes} bytes of UTF-8, at most ${maxBytes} are allowed`;
        payload.issues.push({ code: "custom", message, input: payload.value, continue: true });
      })
      // JSON Schema counts characters, of which there are never more than bytes.
      .meta({ maxLength: maxBytes, description: `at most ${maxBytes} bytes of UTF-8` })
  );
}

/** One of a few numbers that have a meaning each. Numbers written as strings are refused: the gateway is picky about them. */
function choice<const Meanings extends Record<number, string>>(name: string, meanings: Meanings) {
  const numbers = Object.keys(meanings).map(Number) as (keyof Meanings & number)[];
  const described = numbers
    .map((number) => (meanings[number] ? `${number} (${meanings[number]})` : `${number}`))
    .join(", ");
  return z
    .literal(numbers, {
      error: ({ input }) =>
        input === undefined ? `${name} is required` : `${name} must be one of the numbers ${described}`,
    })
    .meta({ description: described });
}

function listOf<Item extends z.ZodType>(name: string, item: Item, least: number, most: number) {
  const sentence = ({ input }: { input?: unknown }): string =>
    `${name} has ${(input as unknown[]).length} entries, ${least} to ${most} are allowed`;
  return z
    .array(item, { error: ({ input }) => (input === undefined ? `${name} is required` : `${name} must be an array`) })
    .min(least, { error: sentence })
    .max(most, { error: sentence });
}

/** Refuses the second entry of a list that has the same value in a member which tells the entries apart. */
function unique<Member extends string>(member: Member): z.core.CheckFn<Record<Member, string>[]> {
  return ({ value, issues }) => {
    const seen = new Set<string>();
    for (const [at, { [member]: id }] of value.entries()) {
      if (seen.has(id)) {
        const message = `${member} must be unique in the list, and an earlier entry has the same one`;
        issues.push({ code: "custom", message, input: id, path: [at, member], continue: true });
      }
      seen.add(id);
    }
  };
}

/** A relation between members: when it is broken, `message` is reported at `path`. */
function rule<Value>(path: string, message: string, broken: (value: Value) => boolean): z.core.CheckFn<Value> {
  return ({ value, issues }) => {
    if (broken(value)) issues.push({ code: "custom", message, input: value, path: path.split("."), continue: true });
  };
}

/** Makes `type` decide which member must not be missing or empty: `{ 1: "url" }` says that type 1 needs a url. */
function needing<Shape extends z.core.$ZodShape>(
  members: Record<number, string>,
  schema: z.ZodObject<Shape, z.core.$strict>,
) {
  const rules = Object.entries(members).map(([type, member]) =>
    rule<Record<string, unknown>>(
      member,
      `${member} is required when type is ${type}`,
      (value) => value["type"] === Number(type) && !value[member],
    ),
  );
  const allOf = Object.entries(members).map(([type, member]) => ({
    if: { properties: { type: { const: Number(type) } }, required: ["type"] },
    // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
    then: { required: [member] },
  }));
  return schema.check(...(rules as z.core.CheckFn<z.output<typeof schema>>[])).meta({ allOf });
}
