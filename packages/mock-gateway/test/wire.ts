import { expect } from "vitest";

/** Frames as tests read them: every member a test looks at, and nothing checked. */

export interface Body {
  msgid: string;
  aibotid: string;
  chatid?: string;
  chattype?: string;
  from: { userid: string };
  response_url: string;
  msgtype: string;
  text: { content: string };
  image: File;
  file: File;
  mixed: { msg_item: (Body & { msgtype: string })[] };
  quote: Body;
  event: {
    eventtype: string;
    template_card_event: object;
    feedback_event: object;
    auth_change_event: { auth_list: number[] };
  };
  upload_id: string;
  media_id: string;
}

interface File {
  url: string;
  aeskey: string;
}

/** A frame of the gateway; an ack has no cmd. */
export interface Frame {
  cmd?: string;
  headers: { req_id: string };
  body: Body;
  errcode?: number;
  errmsg?: string;
}

// vitest's asymmetric matchers are typed as any; these are the same ones, typed as what they are: unknown.
export const containing = (text: string): unknown => expect.stringContaining(text);
export const matching = (pattern: RegExp): unknown => expect.stringMatching(pattern);
export const including = (members: object): unknown => expect.objectContaining(members);
export const anything = (): unknown => expect.anything();

/** A button card that the server takes. */
export const card = (task_id: string) => ({
  card_type: "button_interaction",
  task_id,
  main_title: { title: "Approve?" },
  button_list: [
    { text: "Yes", style: 1, key: "yes" },
    { text: "No", style: 2, key: "no" },
  ],
});
