/**
 * What the gateway does and why: one row for everything that can happen to a frame, with its evidence.
 *
 * A verdict in the wire log is the id of a row here, so that "why did the mock do this?" has one answer. A row with an
 * errcode is a refusal; the text is the start of the errmsg. Where a switch decides the errcode, the row says which.
 */
import type { Confidence, SwitchName } from "./switches.ts";

/** One behaviour and its evidence. */
export interface Behaviour {
  /** The fact of spec/requirements.yaml that it is. */
  readonly requirement: string;
  /** What happens, in a sentence. */
  readonly what: string;
  /** The errcode of the ack; absent where nothing is refused. */
  readonly errcode?: number;
  /** How the errmsg starts. */
  readonly errmsg?: string;
  /** The switch that decides whether, or with which errcode. */
  readonly switch?: SwitchName;
  readonly source: string;
  readonly confidence: Confidence;
}

const doc = "developer.work.weixin.qq.com document 101463 (2026-04-01)";
const cards = "developer.work.weixin.qq.com document 101032 (2026-02-06)";
const table = "developer.work.weixin.qq.com document 90313, the global errcodes";
const measured = "measured against the live server with the official Python SDK (2026-10-08)";
const assumed = "never captured on the live server; a placeholder";

const rows = {
  ok: {
    requirement: "GW-CONN-3",
    what: "The frame is accepted; the ack has errcode 0 and no cmd.",
    source: doc,
    confidence: "D",
  },

  "frame.not-json": {
    requirement: "GW-CONN-13",
    what: "A text that is not a JSON object cannot be answered: it is dropped and the socket stays open.",
    source: assumed,
    confidence: "G",
  },
  "frame.bad-req-id": {
    requirement: "GW-CONN-14",
    what: "A frame whose req_id is missing, no text, or longer than 256 bytes is refused.",
    errcode: 40058,
    errmsg: "invalid Request Parameter, headers.req_id",
    source: `${doc}, upload section; the code is assumed`,
    confidence: "G",
  },
  "frame.unknown-cmd": {
    requirement: "GW-CONN-13",
    what: "A command the gateway does not know is refused.",
    errcode: 40058,
    errmsg: "invalid Request Parameter, unknown cmd",
    source: assumed,
    confidence: "G",
  },
  "frame.bad-body": {
    requirement: "GW-REPLY-19",
    what: "A body without a required member, or with one of the wrong type, is refused.",
    errcode: 40058,
    errmsg: "invalid Request Parameter",
    source: "40058 on the HTTP road of the same bots (WecomTeam/wecom-cli issue 24)",
    confidence: "G",
  },

  "subscribe.bad-credentials": {
    requirement: "GW-AUTH-3",
    what: "A wrong secret or an unknown bot is refused, and the socket stays open and silent.",
    errcode: 853000,
    errmsg: "invalid bot_id or secret",
    source: `${measured}, and two more clients`,
    confidence: "S",
  },
  "subscribe.throttled": {
    requirement: "GW-AUTH-5",
    what: "Too many subscribes of one bot in a minute are refused for a minute.",
    errcode: 45009,
    errmsg: "api freq out of limit",
    switch: "subscribeRate",
    source: "WecomTeam/wecom-openclaw-plugin issue 48",
    confidence: "O",
  },
  "kick.event": {
    requirement: "GW-KICK-1",
    what: "A successful subscribe of the same bot elsewhere sends disconnected_event to the older connection at once.",
    source: `${doc}; ${measured}`,
    confidence: "D",
  },
  "kick.close": {
    requirement: "GW-KICK-7",
    what: "A kicked socket keeps its pings acked and is cut later, without a close frame.",
    switch: "kickClose",
    source: measured,
    confidence: "O",
  },
  "idle.close": {
    requirement: "GW-BEAT-4",
    what: "A socket on which the client was silent for too long is cut without a close frame.",
    switch: "idleMs",
    source: `${doc}: disconnects after a long time without heartbeat; no number is given`,
    confidence: "G",
  },
  "not-subscribed": {
    requirement: "GW-AUTH-10",
    what: "A command on a socket without a live subscription is refused; so it is after a kick.",
    errcode: 846609,
    errmsg: "aibot websocket not subscribed",
    source: "NousResearch/hermes-agent issues 29667, 47564 and 47572",
    confidence: "S",
  },
  "ping.not-subscribed": {
    requirement: "GW-BEAT-5",
    what: "A ping on a socket without a subscription is refused.",
    errcode: 846609,
    errmsg: "aibot websocket not subscribed",
    switch: "pingUnsubscribed",
    source: assumed,
    confidence: "G",
  },

  "callback.message": {
    requirement: "GW-MSG-1",
    what: "A user's message goes to the newest subscribed connection of the bot.",
    source: doc,
    confidence: "D",
  },
  "callback.event": {
    requirement: "GW-EVENT-1",
    what: "An event goes to the newest subscribed connection of the bot.",
    source: doc,
    confidence: "D",
  },
  "callback.redelivered": {
    requirement: "GW-MSG-13",
    what: "An unanswered message comes again after a reconnect, with the same msgid and a new req_id.",
    switch: "redeliverUnanswered",
    source: "one public client relies on it",
    confidence: "O",
  },

  "reply.invalid-req-id": {
    requirement: "GW-REPLY-5",
    what: "A reply on a req_id the gateway never gave out, gave to another bot, or gave with an event is refused.",
    errcode: 846605,
    errmsg: "invalid req_id",
    source: `${measured}, and four more clients`,
    confidence: "S",
  },
  "reply.old-connection": {
    requirement: "GW-REPLY-11",
    what: "A reply on a req_id that was delivered on an earlier connection is refused.",
    errcode: 846605,
    errmsg: "invalid req_id",
    switch: "oldReqIdAfterReconnect",
    source: "NousResearch/hermes-agent issue 52820",
    confidence: "O",
  },
  "reply.expired": {
    requirement: "GW-REPLY-4",
    what: "A reply later than 24 hours after the message is refused.",
    errcode: 846604,
    errmsg: "websocket request expired, response is invalid",
    switch: "replyWindowMs",
    source: `${doc}; the code by one public client`,
    confidence: "O",
  },
  "reply.late-event": {
    requirement: "GW-EVENT-5",
    what: "A welcome or a card update later than five seconds after its event is refused.",
    errcode: 846604,
    errmsg: "websocket request expired, response is invalid",
    switch: "lateEventErrcode",
    source: `${doc} for the window; the code is assumed`,
    confidence: "G",
  },
  "reply.bad-msgtype": {
    requirement: "GW-REPLY-15",
    what: "A msgtype the command does not take is refused.",
    errcode: 40008,
    errmsg: "invalid msgtype",
    source: `${table}; several clients for aibot_send_msg with text`,
    confidence: "O",
  },
  "reply.too-long": {
    requirement: "GW-STREAM-6",
    what: "Content longer than 20,480 bytes of UTF-8 is refused.",
    errcode: 40058,
    errmsg: "invalid Request Parameter, content exceed max length 20480",
    switch: "oversizeErrcode",
    source: `${doc} for the limit; the code is assumed`,
    confidence: "G",
  },
  "stream.expired": {
    requirement: "GW-STREAM-3",
    what: "A frame later than ten minutes after its stream's first frame is refused.",
    errcode: 846608,
    errmsg: "stream message update expired (>10 minutes), cannot update",
    switch: "streamLifeMs",
    source: "measured by a public client (2026-08-09): 600 s accepted, 630 s refused",
    confidence: "S",
  },
  "stream.conflict": {
    requirement: "GW-REPLY-10",
    what: "A stream frame while the one before it is not acked yet is refused.",
    errcode: 6000,
    errmsg: "data version conflict",
    switch: "concurrentStreamFrames",
    source: "two public clients",
    confidence: "S",
  },
  "stream.sealed": {
    requirement: "GW-STREAM-18",
    what: "A frame for a stream that was finished is refused.",
    errcode: 6000,
    errmsg: "data version conflict",
    switch: "sealedStream",
    source: "two public clients",
    confidence: "O",
  },
  "stream.too-many": {
    requirement: "GW-REPLY-9",
    what: "More than a hundred streams under one req_id are refused.",
    errcode: 846607,
    errmsg: "aibot send msg frequency limit exceeded",
    source: assumed,
    confidence: "G",
  },
  "quota.chat": {
    requirement: "GW-PUSH-9",
    what: "More than 30 messages a minute or 1,000 an hour in a chat are refused, replies and pushes together.",
    errcode: 846607,
    errmsg: "aibot send msg frequency limit exceeded",
    switch: "quota",
    source: `${doc} for the limits; three clients for the code`,
    confidence: "S",
  },

  "card.task-id-used": {
    requirement: "GW-CARD-6",
    what: "A card whose task_id was used before is refused.",
    errcode: 42014,
    errmsg: "duplicate task_id",
    switch: "uniqueTaskId",
    source: `${cards}; the code by one public client`,
    confidence: "O",
  },
  "card.bad-key": {
    requirement: "GW-CARD-7",
    what: "A card whose buttons lack a key, or share one, is refused.",
    errcode: 42039,
    errmsg: "Template_Card button_list.key Missing or Invalid",
    switch: "cardCheck",
    source: `${cards}; the code by one public client`,
    confidence: "O",
  },
  "card.incomplete": {
    requirement: "GW-CARD-8",
    what: "A card without the members its card_type requires is refused.",
    errcode: 40058,
    errmsg: "invalid Request Parameter, template_card",
    switch: "cardCheck",
    source: `${cards} for the members; the code is assumed`,
    confidence: "G",
  },

  "send.bad-chatid": {
    requirement: "GW-PUSH-4",
    what: "A push to a chat in which nobody spoke to this bot is refused.",
    errcode: 93006,
    errmsg: "invalid chatid",
    switch: "chatPrecondition",
    source: "several public clients",
    confidence: "S",
  },
  "send.not-in-group": {
    requirement: "GW-PUSH-5",
    what: "A push to a group that this bot is not in is refused.",
    errcode: 93001,
    errmsg: "not allow send msg in room",
    switch: "chatPrecondition",
    source: `measured by a public client (2026-10-03); ${table}`,
    confidence: "O",
  },

  "upload.bad-type": {
    requirement: "GW-UPLOAD-10",
    what: "A media type other than file, image, voice and video is refused.",
    errcode: 40005,
    errmsg: "invalid file type",
    source: `${table}; the trigger is assumed`,
    confidence: "G",
  },
  "upload.bad-size": {
    requirement: "GW-UPLOAD-11",
    what: "A file below 5 bytes or above its type's limit is refused at init.",
    errcode: 40006,
    errmsg: "invalid meida size",
    switch: "uploadTypeLimits",
    source: `${doc} for the limits; ${table} for the code, the trigger is assumed`,
    confidence: "G",
  },
  "upload.bad-image-size": {
    requirement: "GW-UPLOAD-11",
    what: "An image above 10 MB is refused at init.",
    errcode: 40009,
    errmsg: "invalid image size",
    switch: "uploadTypeLimits",
    source: `${doc} for the limit; ${table} for the code, the trigger is assumed`,
    confidence: "G",
  },
  "upload.bad-video-size": {
    requirement: "GW-UPLOAD-11",
    what: "A video above 10 MB is refused at init.",
    errcode: 40011,
    errmsg: "invalid video size",
    switch: "uploadTypeLimits",
    source: `${doc} for the limit; ${table} for the code, the trigger is assumed`,
    confidence: "G",
  },
  "upload.bad-format": {
    requirement: "GW-UPLOAD-12",
    what: "A finished image, voice or video of another format is refused.",
    errcode: 40004,
    errmsg: "invalid media type",
    switch: "uploadFormats",
    source: `${doc} for the formats; ${table} for the code, the trigger is assumed`,
    confidence: "G",
  },
  "upload.odd-format": {
    requirement: "GW-UPLOAD-12",
    what: "A finished image, voice or video of another format is taken: nobody knows whether the server looks.",
    source: `${doc} for the formats`,
    confidence: "G",
  },
  "upload.quota": {
    requirement: "GW-UPLOAD-13",
    what: "More than 30 uploads a minute or 1,000 an hour of one bot are refused.",
    errcode: 45009,
    errmsg: "api freq out of limit",
    switch: "quota",
    source: `${doc} for the limit; the code is assumed`,
    confidence: "G",
  },
  "upload.unknown": {
    requirement: "GW-UPLOAD-16",
    what: "An upload_id that is unknown, older than 30 minutes or another bot's is refused.",
    errcode: 40058,
    errmsg: "invalid Request Parameter, upload_id",
    switch: "uploadErrcode",
    source: `${doc} for the life; the code is assumed`,
    confidence: "G",
  },
  "upload.bad-index": {
    requirement: "GW-UPLOAD-5",
    what: "A chunk_index outside 0 … total_chunks − 1 is refused.",
    errcode: 40058,
    errmsg: "invalid Request Parameter, chunk_index",
    switch: "uploadErrcode",
    source: `${doc}: from 0; the code is assumed`,
    confidence: "G",
  },
  "upload.bad-chunk": {
    requirement: "GW-UPLOAD-10",
    what: "A chunk that is not base64, is empty, or holds more than 512 KB is refused.",
    errcode: 40058,
    errmsg: "invalid Request Parameter, base64_data",
    switch: "uploadErrcode",
    source: `${doc} for the limit; the code is assumed`,
    confidence: "G",
  },
  "upload.overload": {
    requirement: "GW-UPLOAD-15",
    what: "A chunk beyond four unacknowledged ones meets a system error and is not kept.",
    errcode: -1,
    errmsg: "system error",
    switch: "chunkOverload",
    source: "a comment in the official Node SDK 1.0.7",
    confidence: "S",
  },
  "upload.repeated-chunk": {
    requirement: "GW-UPLOAD-6",
    what: "A chunk that is there already is ignored and acked.",
    source: doc,
    confidence: "D",
  },
  "upload.incomplete": {
    requirement: "GW-UPLOAD-8",
    what: "A finish while chunks are missing, or with another total size, is refused.",
    errcode: 40058,
    errmsg: "invalid Request Parameter, chunks missing",
    switch: "uploadErrcode",
    source: `${doc} for the check; the code is assumed`,
    confidence: "G",
  },
  "upload.bad-md5": {
    requirement: "GW-UPLOAD-8",
    what: "A finish of a file whose MD5 is not the one given at init is refused.",
    errcode: 40058,
    errmsg: "invalid Request Parameter, md5",
    switch: "uploadErrcode",
    source: `${doc} for the check; the code is assumed`,
    confidence: "G",
  },
  "media.unknown": {
    requirement: "GW-UPLOAD-14",
    what: "A media_id that is unknown, another bot's or older than three days is refused.",
    errcode: 40007,
    errmsg: "invalid media_id",
    switch: "mediaLifeMs",
    source: `${table}; the trigger is assumed`,
    confidence: "G",
  },

  "mcp.unsupported": {
    requirement: "GW-MCP-2",
    what: "Without a URL in the switch the bot has no MCP services, and the request is refused as the server refuses it then.",
    errcode: 846610,
    errmsg: "unsupported mcp biz type",
    switch: "mcpConfig",
    source: "two public clients, since about 2026-04",
    confidence: "S",
  },
} satisfies Record<string, Behaviour>;

/** The name of a behaviour. */
export type BehaviourId = keyof typeof rows;
/** Every behaviour by name. */
export const behaviours: { readonly [Id in BehaviourId]: Behaviour } = rows;
