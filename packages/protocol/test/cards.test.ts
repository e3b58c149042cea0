import { describe, expect, expectTypeOf, it } from "vitest";
import { TemplateCard, TemplateCardUpdate, cardAdvice, cardLimits, cardTypes } from "../src/cards.ts";

// Complete cards, one of each type, with every member the documents list (document 101032, 2026-02-06).
const menu = {
  source: { icon_url: "https://example.com/icon.png", desc: "企业微信", desc_color: 0 },
  action_menu: { desc: "更多", action_list: [{ text: "接收推送", key: "on" }] },
};
const area = { type: 1, url: "https://example.com/", appid: "APPID", pagepath: "PAGE", title: "标题" };
const lists = {
  horizontal_content_list: [
    { keyname: "邀请人", value: "张三" },
    { type: 1, keyname: "官网", value: "访问", url: "https://example.com/" },
    { type: 3, keyname: "成员", userid: "zhangsan" },
  ],
  jump_list: [
    { type: 1, title: "官网", url: "https://example.com/" },
    { type: 2, title: "小程序", appid: "APPID", pagepath: "PAGE" },
    { type: 3, title: "提问", question: "如何登录" },
  ],
};
const selector = (key: string) => ({
  question_key: key,
  title: "身份",
  disable: false,
  selected_id: "b",
  option_list: [
    { id: "a", text: "甲" },
    { id: "b", text: "乙" },
  ],
});
const cards = {
  text_notice: {
    card_type: "text_notice",
    ...menu,
    main_title: { title: "欢迎", desc: "说明" },
    emphasis_content: { title: "100", desc: "含义" },
    quote_area: { ...area, quote_text: "引用" },
    sub_title_text: "二级文本",
    ...lists,
    card_action: { type: 1, url: "https://example.com/", appid: "APPID", pagepath: "PAGE" },
    task_id: "task-1",
    feedback: { id: "trace_1" },
  },
  news_notice: {
    card_type: "news_notice",
    ...menu,
    main_title: { title: "欢迎" },
    card_image: { url: "https://example.com/i.png", aspect_ratio: 2.25 },
    image_text_area: { ...area, desc: "说明", image_url: "https://example.com/i.png" },
    quote_area: { quote_text: "引用" },
    vertical_content_list: [{ title: "红包", desc: "说明" }],
    ...lists,
    card_action: { type: 2, appid: "APPID" },
    task_id: "task-1",
    feedback: { id: "trace_1" },
  },
  button_interaction: {
    card_type: "button_interaction",
    ...menu,
    main_title: { title: "欢迎" },
    quote_area: { type: 0 },
    sub_title_text: "二级文本",
    horizontal_content_list: lists.horizontal_content_list,
    button_selection: selector("q1"),
    button_list: [
      { text: "同意", style: 1, key: "yes" },
      { text: "拒绝", key: "no" },
    ],
    card_action: { type: 0 },
    task_id: "task-1",
    feedback: { id: "trace_1" },
  },
  vote_interaction: {
    card_type: "vote_interaction",
    source: menu.source,
    main_title: { title: "投票" },
    checkbox: {
      question_key: "q1",
      disable: false,
      mode: 1,
      option_list: [
        { id: "a", text: "甲" },
        { id: "b", text: "乙", is_checked: true },
      ],
    },
    submit_button: { text: "提交", key: "submit" },
    task_id: "task-1",
    feedback: { id: "trace_1" },
  },
  multiple_interaction: {
    card_type: "multiple_interaction",
    source: menu.source,
    main_title: { title: "选择" },
    select_list: [selector("q1"), selector("q2")],
    submit_button: { text: "提交", key: "submit" },
    task_id: "task-1",
    feedback: { id: "trace_1" },
  },
} as const;
type CardType = keyof typeof cards;

/** A copy of a complete card in which one place holds another value; `undefined` removes the member. */
function changed(type: CardType, place: string, value: unknown): unknown {
  const card = structuredClone(cards[type]) as Record<string, unknown>;
  const steps = place.split(".");
  const last = steps.pop()!;
  const parent = steps.reduce<Record<string, unknown>>((at, step) => at[step] as Record<string, unknown>, card);
  if (value === undefined) Reflect.deleteProperty(parent, last);
  else parent[last] = value;
  return card;
}

/** The refusals of a card, as `path: sentence`. */
function refusals(card: unknown, schema: typeof TemplateCard | typeof TemplateCardUpdate = TemplateCard): string[] {
  const { error } = schema.safeParse(card);
  return (error?.issues ?? []).map(({ path, message }) => `${path.join(".")}: ${message}`);
}

const times = <T>(count: number, make: (at: number) => T): T[] => Array.from({ length: count }, (_, at) => make(at));

describe("a card", () => {
  it.each(cardTypes)("of type %s passes with every member the documents list", (type) => {
    expect(refusals(cards[type])).toEqual([]);
    expect(refusals(cards[type], TemplateCardUpdate)).toEqual([]);
    expect(TemplateCard.parse(cards[type])).toEqual(cards[type]);
  });

  it.each([
    { card_type: "text_notice", sub_title_text: "文本", card_action: { type: 1, url: "https://example.com/" } },
    { card_type: "text_notice", main_title: { title: "标题" }, card_action: { type: 0 } },
    {
      card_type: "news_notice",
      main_title: {},
      card_image: { url: "https://example.com/i.png" },
      card_action: { type: 1, url: "https://example.com/" },
    },
    { card_type: "button_interaction", main_title: {}, button_list: [{ text: "好", key: "k" }], task_id: "t" },
    {
      card_type: "vote_interaction",
      main_title: {},
      checkbox: { question_key: "q", option_list: [{ id: "a", text: "甲" }] },
      submit_button: { text: "提交", key: "k" },
      task_id: "t",
    },
    {
      card_type: "multiple_interaction",
      main_title: {},
      select_list: [{ question_key: "q", option_list: [{ id: "a", text: "甲" }] }],
      submit_button: { text: "提交", key: "k" },
      task_id: "t",
    },
  ])("passes with the required members alone: %j", (card) => {
    expect(refusals(card)).toEqual([]);
  });

  it("may have empty lists where the documents say so", () => {
    for (const list of ["horizontal_content_list", "vertical_content_list", "jump_list"]) {
      expect(refusals(changed("news_notice", list, []))).toEqual([]);
    }
  });

  it("is refused by name when it is of no known type, absent or no object", () => {
    const known = cardTypes.join(", ");
    expect(refusals({ card_type: "list_notice" })).toEqual([`card_type: card_type must be one of ${known}`]);
    expect(refusals({})).toEqual([`card_type: card_type must be one of ${known}`]);
    expect(refusals(undefined)).toEqual([": template_card is required"]);
    expect(refusals("card")).toEqual([": template_card must be an object"]);
  });

  it("narrows its members by the type", () => {
    const card: TemplateCard = TemplateCard.parse(cards.vote_interaction);
    if (card.card_type === "vote_interaction") expectTypeOf(card.checkbox.mode).toEqualTypeOf<0 | 1 | undefined>();
    expect(card.card_type).toBe("vote_interaction");
  });
});

describe("a limit", () => {
  const four = "𠮷"; // four bytes of UTF-8 in two code units
  const bytes = (count: number) => four.repeat(count / 4);

  it.each([
    ["button_interaction", "button_list.0.key", cardLimits.keyBytes, "key"],
    ["button_interaction", "action_menu.action_list.0.key", cardLimits.keyBytes, "key"],
    ["vote_interaction", "submit_button.key", cardLimits.keyBytes, "submit_button.key"],
    ["vote_interaction", "checkbox.question_key", cardLimits.questionKeyBytes, "checkbox.question_key"],
    ["multiple_interaction", "select_list.1.question_key", cardLimits.questionKeyBytes, "question_key"],
    ["button_interaction", "button_selection.question_key", cardLimits.questionKeyBytes, "question_key"],
    ["vote_interaction", "checkbox.option_list.0.id", cardLimits.optionIdBytes, "id"],
    ["multiple_interaction", "select_list.0.option_list.0.id", cardLimits.optionIdBytes, "id"],
    ["text_notice", "jump_list.2.question", cardLimits.questionBytes, "question"],
    ["text_notice", "feedback.id", cardLimits.feedbackIdBytes, "feedback.id"],
  ] as const)("counts the bytes of %s %s: %i pass, one more is refused there", (type, place, limit, name) => {
    expect(refusals(changed(type, place, bytes(limit)))).toEqual([]);
    expect(refusals(changed(type, place, `${bytes(limit)}x`))).toEqual([
      `${place}: ${name} is ${limit + 1} bytes of UTF-8, at most ${limit} are allowed`,
    ]);
  });

  it.each([
    [
      "text_notice",
      "action_menu.action_list",
      1,
      cardLimits.menuEntries,
      (at: number) => ({ text: "t", key: `${at}` }),
    ],
    ["text_notice", "horizontal_content_list", 0, cardLimits.horizontalEntries, () => ({ keyname: "k" })],
    ["news_notice", "vertical_content_list", 0, cardLimits.verticalEntries, () => ({ title: "t" })],
    ["news_notice", "jump_list", 0, cardLimits.jumps, () => ({ title: "t" })],
    ["button_interaction", "button_list", 1, cardLimits.buttons, (at: number) => ({ text: "t", key: `${at}` })],
    ["multiple_interaction", "select_list", 1, cardLimits.selectors, (at: number) => selector(`${at}`)],
    [
      "multiple_interaction",
      "select_list.0.option_list",
      1,
      cardLimits.selectorOptions,
      (at: number) => ({ id: `${at}`, text: "t" }),
    ],
    [
      "vote_interaction",
      "checkbox.option_list",
      1,
      cardLimits.checkboxOptions,
      (at: number) => ({ id: `${at}`, text: "t" }),
    ],
  ] as const)(
    "counts the entries of %s %s: from %i to %i pass, others are refused there",
    (type, place, least, most, entry) => {
      const name = place.split(".").at(-1)!;
      expect(refusals(changed(type, place, times<unknown>(least, entry)))).toEqual([]);
      expect(refusals(changed(type, place, times<unknown>(most, entry)))).toEqual([]);
      expect(refusals(changed(type, place, times<unknown>(most + 1, entry)))).toEqual([
        `${place}: ${name} has ${most + 1} entries, ${least} to ${most} are allowed`,
      ]);
      if (least === 0) return;
      expect(refusals(changed(type, place, []))).toEqual([
        `${place}: ${name} has 0 entries, ${least} to ${most} are allowed`,
      ]);
    },
  );

  it("of task_id is 128 of the allowed characters", () => {
    const sentence = "task_id must be 1 to 128 of the characters 0-9, A-Z, a-z, _, - and @";
    for (const good of ["a".repeat(cardLimits.taskIdBytes), "0-9_@AZ", "x"]) {
      expect(refusals(changed("button_interaction", "task_id", good))).toEqual([]);
    }
    for (const bad of ["a".repeat(cardLimits.taskIdBytes + 1), "", "a b", "任务", "a.b", "a:b", "a\n", 7]) {
      expect(refusals(changed("button_interaction", "task_id", bad))).toEqual([`task_id: ${sentence}`]);
    }
  });

  it("of the aspect ratio excludes 1.3, which an absent one means, and includes 2.25, which the documents use", () => {
    const sentence = "card_image.aspect_ratio must be a number above 1.3 and at most 2.25; leave it out for 1.3";
    for (const good of [1.301, 2, 2.25, undefined]) {
      expect(refusals(changed("news_notice", "card_image.aspect_ratio", good))).toEqual([]);
    }
    for (const bad of [1.3, 2.251, 0, -1, Number.NaN, Infinity, "2"]) {
      expect(refusals(changed("news_notice", "card_image.aspect_ratio", bad))).toEqual([
        `card_image.aspect_ratio: ${sentence}`,
      ]);
    }
  });
});

describe("a number with a meaning", () => {
  it.each([
    ["text_notice", "source.desc_color", [0, 1, 2, 3], "0 (grey), 1 (black), 2 (red), 3 (green)"],
    ["text_notice", "quote_area.type", [0, 1, 2], "0 (no click), 1 (url), 2 (mini-program)"],
    ["news_notice", "image_text_area.type", [0, 1, 2], "0 (no click), 1 (url), 2 (mini-program)"],
    ["text_notice", "card_action.type", [0, 1, 2], "0 (no click), 1 (url), 2 (mini-program)"],
    ["text_notice", "horizontal_content_list.0.type", [0], "0 (text), 1 (url), 3 (member)"],
    ["text_notice", "jump_list.0.type", [0, 1], "0 (no click), 1 (url), 2 (mini-program), 3 (question)"],
    ["button_interaction", "button_list.0.style", [1, 2, 3, 4], "1 (default), 2, 3, 4"],
    ["vote_interaction", "checkbox.mode", [0, 1], "0 (single choice), 1 (multiple choice)"],
  ] as const)("of %s %s is one of a few, and never a string", (type, place, good, meanings) => {
    for (const value of good) expect(refusals(changed(type, place, value))).toEqual([]);
    for (const bad of [-1, 5, 0.5, "1", true, null]) {
      const [refusal, ...rest] = refusals(changed(type, place, bad));
      expect(refusal).toContain(`${place}: `);
      expect(refusal).toContain(`must be one of the numbers ${meanings}`);
      expect(rest).toEqual([]);
    }
  });

  it("does not include type 2 in a horizontal list, which AI bots do not have", () => {
    expect(refusals(changed("text_notice", "horizontal_content_list.0.type", 2))).toHaveLength(1);
  });

  it.each([
    ["text_notice", "quote_area.url", "url is required when type is 1"],
    ["text_notice", "card_action.url", "url is required when type is 1"],
    ["news_notice", "card_action.appid", "appid is required when type is 2"],
    ["news_notice", "image_text_area.url", "url is required when type is 1"],
    ["text_notice", "horizontal_content_list.1.url", "url is required when type is 1"],
    ["text_notice", "horizontal_content_list.2.userid", "userid is required when type is 3"],
    ["text_notice", "jump_list.0.url", "url is required when type is 1"],
    ["text_notice", "jump_list.1.appid", "appid is required when type is 2"],
    ["text_notice", "jump_list.2.question", "question is required when type is 3"],
  ] as const)("makes %s %s required, and an empty one counts as missing", (type, place, sentence) => {
    expect(refusals(changed(type, place, undefined))).toEqual([`${place}: ${sentence}`]);
    expect(refusals(changed(type, place, ""))).toEqual([`${place}: ${sentence}`]);
  });
});

describe("a required member", () => {
  it.each([
    ["text_notice", "card_action", "card_action is required"],
    ["text_notice", "card_action.type", "card_action.type is required"],
    ["text_notice", "action_menu.desc", "action_menu.desc is required"],
    ["text_notice", "action_menu.action_list", "action_list is required"],
    ["text_notice", "action_menu.action_list.0.text", "text is required"],
    ["text_notice", "horizontal_content_list.0.keyname", "keyname is required"],
    ["text_notice", "jump_list.0.title", "title is required"],
    ["text_notice", "feedback.id", "feedback.id is required"],
    ["news_notice", "main_title", "main_title is required"],
    ["news_notice", "card_image.url", "card_image.url is required"],
    ["news_notice", "image_text_area.image_url", "image_text_area.image_url is required"],
    ["news_notice", "vertical_content_list.0.title", "title is required"],
    ["button_interaction", "button_list", "button_list is required"],
    ["button_interaction", "button_list.0.key", "key is required"],
    ["button_interaction", "button_list.0.text", "text is required"],
    ["vote_interaction", "checkbox", "checkbox is required"],
    ["vote_interaction", "checkbox.question_key", "checkbox.question_key is required"],
    ["vote_interaction", "checkbox.option_list.0.text", "text is required"],
    ["vote_interaction", "submit_button", "submit_button is required"],
    ["vote_interaction", "submit_button.text", "submit_button.text is required"],
    ["multiple_interaction", "select_list", "select_list is required"],
    ["multiple_interaction", "select_list.0.option_list", "option_list is required"],
    ["button_interaction", "task_id", "task_id is required: it comes back with the click"],
    ["vote_interaction", "task_id", "task_id is required: it comes back with the click"],
    ["multiple_interaction", "task_id", "task_id is required: it comes back with the click"],
  ] as const)("of %s is named when it is missing: %s", (type, place, sentence) => {
    expect(refusals(changed(type, place, undefined))).toEqual([`${place}: ${sentence}`]);
  });

  it("is not fulfilled by an empty text", () => {
    expect(refusals(changed("button_interaction", "button_list.0.key", ""))).toEqual([
      "button_list.0.key: key must not be empty",
    ]);
  });

  it("is refused when it is of another kind", () => {
    expect(refusals(changed("button_interaction", "button_list.0.key", 7))).toEqual([
      "button_list.0.key: key must be a string",
    ]);
    expect(refusals(changed("button_interaction", "button_list", {}))).toEqual([
      "button_list: button_list must be an array",
    ]);
    expect(refusals(changed("vote_interaction", "checkbox", "q"))).toEqual(["checkbox: checkbox must be an object"]);
    expect(refusals(changed("vote_interaction", "checkbox.option_list.0.is_checked", "true"))).toEqual([
      "checkbox.option_list.0.is_checked: is_checked must be true or false",
    ]);
    expect(refusals(changed("text_notice", "sub_title_text", null))).toEqual([
      "sub_title_text: sub_title_text must be a string",
    ]);
  });

  it("can be one of two: a text notice has a title or a text, a news notice a picture or a picture beside a text", () => {
    const notice = { card_type: "text_notice", card_action: { type: 0 } };
    const sentence = "main_title.title: a text_notice card needs main_title.title or sub_title_text";
    expect(refusals(notice)).toEqual([sentence]);
    expect(refusals({ ...notice, main_title: { desc: "说明" } })).toEqual([sentence]);
    expect(refusals({ ...notice, main_title: { title: "" }, sub_title_text: "" })).toEqual([sentence]);

    const news = { card_type: "news_notice", main_title: {}, card_action: { type: 0 } };
    const picture = { image_url: "https://example.com/i.png" };
    expect(refusals({ ...news, image_text_area: picture })).toEqual([]);
    expect(refusals(news)).toEqual(["card_image: a news_notice card needs a card_image or an image_text_area"]);
  });

  it.each(["text_notice", "news_notice"] as const)("of a %s is a task_id as soon as it has a menu", (type) => {
    const card = changed(type, "task_id", undefined) as Record<string, unknown>;
    expect(refusals(card)).toEqual([
      "task_id: a card with an action_menu needs a task_id: it comes back with the click",
    ]);
    expect(refusals({ ...card, action_menu: undefined })).toEqual([]);
  });
});

describe("a member that no document lists", () => {
  it.each([
    ["vote_interaction", "options", "a vote_interaction card has no member options; it may have card_type, source,"],
    [
      "multiple_interaction",
      "selectors",
      "a multiple_interaction card has no member selectors; it may have card_type,",
    ],
    ["vote_interaction", "action_menu", "a vote_interaction card has no member action_menu;"],
    ["button_interaction", "emphasis_content", "a button_interaction card has no member emphasis_content;"],
    ["text_notice", "card_image", "a text_notice card has no member card_image;"],
  ] as const)("is refused by name: %s %s", (type, member, sentence) => {
    const [refusal, ...rest] = refusals({ ...cards[type], [member]: {} });
    expect(refusal).toContain(`: ${sentence}`);
    expect(rest).toEqual([]);
  });

  it("is refused at its place inside a part, too", () => {
    expect(refusals(changed("button_interaction", "button_list.0.label", "x"))).toEqual([
      "button_list.0: a button has no member label; it may have text, style, key",
    ]);
  });
});

describe("a key that tells entries apart", () => {
  it.each([
    ["button_interaction", "button_list.1.key", "yes", "key"],
    ["multiple_interaction", "select_list.1.question_key", "q1", "question_key"],
    ["multiple_interaction", "select_list.1.option_list.1.id", "a", "id"],
    ["button_interaction", "button_selection.option_list.1.id", "a", "id"],
    ["vote_interaction", "checkbox.option_list.1.id", "a", "id"],
  ] as const)("may not occur twice: %s %s", (type, place, earlier, name) => {
    expect(refusals(changed(type, place, earlier))).toEqual([
      `${place}: ${name} must be unique in the list, and an earlier entry has the same one`,
    ]);
  });

  it("may not occur twice in a menu either", () => {
    const twice = times(3, (at) => ({ text: "t", key: at === 1 ? "other" : "same" }));
    expect(refusals(changed("text_notice", "action_menu.action_list", twice))).toEqual([
      "action_menu.action_list.2.key: key must be unique in the list, and an earlier entry has the same one",
    ]);
  });
});

describe("a card update", () => {
  it.each([
    ["button_interaction", "button_selection.disable"],
    ["multiple_interaction", "select_list.0.disable"],
    ["vote_interaction", "checkbox.disable"],
  ] as const)("may grey out a %s: %s, which a first card may not", (type, place) => {
    const card = changed(type, place, true);
    expect(refusals(card, TemplateCardUpdate)).toEqual([]);
    expect(refusals(card)).toEqual([
      `${place}: disable takes effect only in a card update; leave it out, or use TemplateCardUpdate`,
    ]);
    expect(refusals(changed(type, place, "true"), TemplateCardUpdate)).toEqual([
      `${place}: disable must be true or false`,
    ]);
  });

  it.each(cardTypes)("of type %s needs no task_id, and keeps to its form when it has one", (type) => {
    expect(refusals(changed(type, "task_id", undefined), TemplateCardUpdate)).toEqual([]);
    expect(refusals(changed(type, "task_id", "a b"), TemplateCardUpdate)).toHaveLength(1);
  });

  it("is a whole card all the same", () => {
    expect(refusals({ card_type: "vote_interaction", task_id: "t" }, TemplateCardUpdate)).toEqual([
      "main_title: main_title is required",
      "checkbox: checkbox is required",
      "submit_button: submit_button is required",
    ]);
  });
});

describe("advice", () => {
  const adviceOn = (type: CardType, place: string, value: unknown) =>
    cardAdvice(TemplateCardUpdate.parse(changed(type, place, value)));

  it("has nothing to say about a card that reads well", () => {
    for (const type of cardTypes) {
      const unasked = type === "text_notice" ? changed(type, "emphasis_content", undefined) : cards[type];
      expect(cardAdvice(TemplateCard.parse(unasked))).toEqual([]);
    }
  });

  it.each([
    ["news_notice", "source.desc", "source.desc", 13],
    ["news_notice", "main_title.title", "main_title.title", 26],
    ["news_notice", "main_title.desc", "main_title.desc", 30],
    ["button_interaction", "sub_title_text", "sub_title_text", 112],
    ["news_notice", "horizontal_content_list.1.keyname", "horizontal_content_list[1].keyname", 5],
    ["news_notice", "horizontal_content_list.0.value", "horizontal_content_list[0].value", 26],
    ["news_notice", "vertical_content_list.0.title", "vertical_content_list[0].title", 26],
    ["news_notice", "vertical_content_list.0.desc", "vertical_content_list[0].desc", 112],
    ["news_notice", "jump_list.2.title", "jump_list[2].title", 13],
    ["button_interaction", "button_list.1.text", "button_list[1].text", 10],
    ["button_interaction", "button_selection.title", "button_selection.title", 13],
    ["button_interaction", "button_selection.option_list.0.text", "button_selection.option_list[0].text", 10],
    ["multiple_interaction", "select_list.1.title", "select_list[1].title", 13],
    ["multiple_interaction", "select_list.1.option_list.0.text", "select_list[1].option_list[0].text", 10],
    ["vote_interaction", "checkbox.option_list.1.text", "checkbox.option_list[1].text", 11],
    ["vote_interaction", "submit_button.text", "submit_button.text", 10],
  ] as const)("is given on a long %s %s, counted in characters, and never refuses it", (type, place, path, most) => {
    expect(adviceOn(type, place, "𠮷".repeat(most))).toEqual([]);
    expect(adviceOn(type, place, "𠮷".repeat(most + 1))).toEqual([
      {
        path,
        message: `${path} has ${most + 1} characters; more than ${most} are likely to be cut off on the screen.`,
      },
    ]);
  });

  it("is given on the emphasis, and on its use beside a quotation", () => {
    const together = {
      path: "quote_area",
      message: expect.stringContaining("not meant to be used together") as string,
    };
    expect(adviceOn("text_notice", "emphasis_content", { title: "1".repeat(10), desc: "x".repeat(15) })).toEqual([
      together,
    ]);
    expect(adviceOn("text_notice", "emphasis_content", { title: "1".repeat(11), desc: "x".repeat(16) })).toMatchObject([
      { path: "emphasis_content.title" },
      { path: "emphasis_content.desc" },
      together,
    ]);
    expect(adviceOn("text_notice", "quote_area", undefined)).toEqual([]);
  });

  it("is given on a heading that is empty", () => {
    expect(adviceOn("vote_interaction", "main_title", {})).toMatchObject([{ path: "main_title" }]);
    expect(adviceOn("vote_interaction", "main_title", { desc: "说明" })).toEqual([]);
  });

  it("is given on a single choice with two options checked", () => {
    const both = times(2, (at) => ({ id: `${at}`, text: "t", is_checked: true }));
    expect(adviceOn("vote_interaction", "checkbox", { question_key: "q", mode: 1, option_list: both })).toEqual([]);
    expect(adviceOn("vote_interaction", "checkbox", { question_key: "q", mode: 0, option_list: both })).toMatchObject([
      { path: "checkbox.option_list" },
    ]);
    expect(adviceOn("vote_interaction", "checkbox", { question_key: "q", option_list: both })).toHaveLength(1);
  });

  it("is given on a preselection that names no option", () => {
    expect(adviceOn("multiple_interaction", "select_list.1.selected_id", "z")).toMatchObject([
      { path: "select_list[1].selected_id", message: expect.stringContaining("selects the first one") as string },
    ]);
    expect(adviceOn("button_interaction", "button_selection.selected_id", "z")).toMatchObject([
      { path: "button_selection.selected_id" },
    ]);
    expect(adviceOn("multiple_interaction", "select_list.1.selected_id", undefined)).toEqual([]);
    expect(adviceOn("button_interaction", "button_selection", undefined)).toEqual([]);
  });
});
