/**
 * The errcodes a bot meets, as data: what each one means, why it comes, what to do about it, in English and Chinese.
 *
 * Decides the class of every code, and with it what a client does; how a code is looked up is in errors.ts. Nothing here is
 * complete: the gateway's list of codes is not public. A row says how well its fact is known and from where.
 */

/**
 * What a code asks of whoever sent the frame:
 *
 * - `success`: nothing.
 * - `credentials`: the bot's identity is refused. Close the socket, stop, tell an operator. Repeating cannot help.
 * - `throttled`: too much, too fast. Send nothing of that kind for `retryAfterMs`, then more slowly.
 * - `retry`: transient. Repeat the same frame after `retryAfterMs`, doubled each time, at most `repeats` times.
 * - `reconnect`: this socket has no live subscription. One controlled reconnect, then send what was refused by a push.
 * - `fallback`: this way to the user is closed for good. Deliver what is left by a push (`aibot_send_msg`, markdown).
 * - `permanent`: the frame is wrong, or what it asks is not allowed. Never repeat it unchanged.
 * - `unknown`: nobody knows. A refresh of a stream may be dropped; what must arrive is repeated once, then pushed.
 */
export type ErrcodeClass =
  | "success"
  | "credentials"
  | "throttled"
  | "retry"
  | "reconnect"
  | "fallback"
  | "permanent"
  | "unknown";

/**
 * Where a code was met: a command of the long connection, or a neighbour of the same bot: `mcp` and `documents` are its tool
 * calls, `http` is a WeCom interface over HTTP. Empty: only named in documents or other people's code.
 */
export type ErrcodePlace =
  | "any command"
  | "subscribe"
  | "reply"
  | "push"
  | "card"
  | "upload"
  | "mcp"
  | "documents"
  | "http";

/**
 * How well a fact is known: `D` documented by WeCom; `S` observed on the live gateway by several people independently; `O`
 * observed once; `G` guessed from code, comments or sibling interfaces.
 */
export type Confidence = "D" | "S" | "O" | "G";

/** One text for an operator, in plain English and in simplified Chinese. */
export interface Bilingual {
  readonly en: string;
  readonly zh: string;
}

/** One meaning of one errcode. A code has two entries only where its meaning changed over time. */
export interface ErrcodeEntry {
  readonly errcode: number;
  /** A stable slug, unique in the table; fit for a metric's label. */
  readonly name: string;
  /** How the errmsg begins on the wire, without the suffix that `plainErrmsg` removes. Empty where no text was seen. */
  readonly errmsg: readonly string[];
  readonly meaning: Bilingual;
  /** The usual cause. */
  readonly cause: Bilingual;
  /** What the operator or the developer should do. */
  readonly advice: Bilingual;
  readonly seenOn: readonly ErrcodePlace[];
  readonly class: ErrcodeClass;
  /** For `throttled` and `retry`: the least wait before the next attempt, in milliseconds. */
  readonly retryAfterMs?: number;
  /** For `retry`: how often the frame may be repeated after its first refusal; each wait doubles. */
  readonly repeats?: number;
  readonly confidence: Confidence;
  /** Where the fact comes from. Numbers alone are documents of developer.work.weixin.qq.com. */
  readonly source: string;
}

/** The whole table, the codes of the chat frames first. `explain` looks a code up in it. */
export const errcodes: readonly ErrcodeEntry[] = [
  {
    errcode: 0,
    name: "ok",
    errmsg: ["ok"],
    meaning: { en: "Success.", zh: "成功。" },
    cause: { en: "The gateway accepted the frame.", zh: "网关已接受该帧。" },
    advice: { en: "Nothing to do.", zh: "无需处理。" },
    seenOn: ["any command"],
    class: "success",
    confidence: "D",
    source: "document 101463 (2026-04-01)",
  },
  {
    errcode: 853000,
    name: "bad-credentials",
    errmsg: ["invalid bot_id or secret", "signature is incorrect, please check if the bot secret is correct"],
    meaning: { en: "The bot ID or the secret is wrong.", zh: "BotID 或 Secret 不正确。" },
    cause: {
      en: "A mistyped or reset secret, a bot that does not exist, or a bot whose API mode is not the long connection.",
      zh: "Secret 填错或已被重置，机器人不存在，或机器人的 API 模式不是“长连接”。",
    },
    advice: {
      en: "Compare the bot ID and the long-connection secret with the admin console, correct them, then start again. The socket stays open but is useless: close it and send no pings on it.",
      zh: "请在管理后台核对 BotID 和长连接专用 Secret，改正后重新启动。此时连接不会被断开，但已无用处：应主动关闭，不要继续发送心跳。",
    },
    seenOn: ["subscribe", "http"],
    class: "credentials",
    confidence: "S",
    source: "measured on the live gateway (2026-10-08); github.com/WecomTeam/wecom-cli issues 12, 24",
  },
  {
    errcode: 93019,
    name: "invalid-bot-id",
    errmsg: ["invalid bot_id"],
    meaning: { en: "The bot ID is not valid.", zh: "BotID 无效。" },
    cause: {
      en: "The bot ID is malformed, or belongs to no bot.",
      zh: "BotID 格式有误，或对应的机器人不存在。",
    },
    advice: {
      en: "Copy the bot ID from the admin console again; look for missing characters and stray spaces.",
      zh: "请从管理后台重新复制 BotID，注意不要漏字符或多出空格。",
    },
    seenOn: ["http"],
    class: "credentials",
    confidence: "S",
    source: "github.com/WecomTeam/wecom-cli issue 15; document 90313. Not proven on the long connection",
  },
  {
    errcode: 40001,
    name: "invalid-secret",
    errmsg: [],
    meaning: { en: "The secret is not valid.", zh: "Secret 无效。" },
    cause: {
      en: "Elsewhere in WeCom: a wrong secret. The long connection answers 853000 instead.",
      zh: "在企业微信其他接口中表示 Secret 错误；长连接网关对此返回的是 853000。",
    },
    advice: {
      en: "Treat it like 853000: correct the secret, then start again.",
      zh: "按 853000 处理：改正 Secret 后重新启动。",
    },
    seenOn: [],
    class: "credentials",
    confidence: "G",
    source: "document 90313; on this connection only in simulators written by others",
  },
  {
    errcode: 40013,
    name: "invalid-corpid",
    errmsg: [],
    meaning: { en: "The corporation ID is not valid.", zh: "CorpID 无效。" },
    cause: {
      en: "Elsewhere in WeCom: a wrong corporation ID. Not seen on the long connection.",
      zh: "在企业微信其他接口中表示 CorpID 错误；长连接上尚未见过。",
    },
    advice: {
      en: "Treat it like 853000: check which bot and which corporation are configured.",
      zh: "按 853000 处理：核对所配置的机器人和企业。",
    },
    seenOn: [],
    class: "credentials",
    confidence: "G",
    source: "document 90313; on this connection only in simulators written by others",
  },
  {
    errcode: 45009,
    name: "subscribe-too-often",
    errmsg: ["api freq out of limit"],
    meaning: { en: "Too many calls in a short time.", zh: "调用过于频繁，超出接口频率限制。" },
    cause: {
      en: "The bot subscribed many times within minutes: a restart loop, or reconnecting without back-off.",
      zh: "机器人在几分钟内反复订阅：进程不断重启，或断线重连没有退避。",
    },
    advice: {
      en: "Wait at least 30 seconds before the next attempt and wait longer each time. The credentials are not at fault. Find out what restarts the process.",
      zh: "至少等待 30 秒再重试，并逐次延长间隔。这不代表凭证有误，请排查进程为何反复重启。",
    },
    seenOn: ["subscribe"],
    class: "throttled",
    retryAfterMs: 30_000,
    confidence: "O",
    source: "github.com/WecomTeam/wecom-openclaw-plugin issue 48; document 90313",
  },
  {
    errcode: 45033,
    name: "too-many-at-once",
    errmsg: ["api concurrent out of limit"],
    meaning: { en: "Too many calls at the same time.", zh: "并发调用超出限制。" },
    cause: {
      en: "Several instances or tasks call at once.",
      zh: "多个实例或任务同时发起调用。",
    },
    advice: {
      en: "Wait at least 30 seconds, then try again with fewer calls in parallel; run one instance per bot.",
      zh: "至少等待 30 秒，降低并发后再试；同一个机器人只运行一个实例。",
    },
    seenOn: [],
    class: "throttled",
    retryAfterMs: 30_000,
    confidence: "G",
    source: "document 90313; expected by one client on this connection",
  },
  {
    errcode: 846601,
    name: "transient-846601",
    errmsg: [],
    meaning: { en: "Believed to be a passing failure of the gateway.", zh: "推测为网关的短暂故障。" },
    cause: { en: "Not known.", zh: "原因未知。" },
    advice: {
      en: "Repeat once or twice after a second; if it stays, keep the errmsg with its hint and ask WeCom.",
      zh: "间隔一秒重试一两次；若仍出现，请保留完整的 errmsg（含 hint）并联系企业微信。",
    },
    seenOn: [],
    class: "retry",
    retryAfterMs: 1000,
    repeats: 2,
    confidence: "G",
    source: "github.com/NousResearch/hermes-agent pull request 29731",
  },
  {
    errcode: 846602,
    name: "transient-846602",
    errmsg: [],
    meaning: { en: "Believed to be a passing failure of the gateway.", zh: "推测为网关的短暂故障。" },
    cause: { en: "Not known.", zh: "原因未知。" },
    advice: {
      en: "Repeat once or twice after a second; if it stays, keep the errmsg with its hint and ask WeCom.",
      zh: "间隔一秒重试一两次；若仍出现，请保留完整的 errmsg（含 hint）并联系企业微信。",
    },
    seenOn: [],
    class: "retry",
    retryAfterMs: 1000,
    repeats: 2,
    confidence: "G",
    source: "github.com/NousResearch/hermes-agent pull request 29731",
  },
  {
    errcode: 846604,
    name: "reply-window-over",
    errmsg: ["websocket request expired, response is invalid"],
    meaning: { en: "The time to answer this callback is over.", zh: "该回调的回复时限已过。" },
    cause: {
      en: "The answer came later than 24 hours after the message, or later than 5 seconds after an event.",
      zh: "消息回调超过 24 小时、事件回调超过 5 秒才回复。",
    },
    advice: {
      en: "Never use this req_id again; push the text with aibot_send_msg instead.",
      zh: "不要再使用这个 req_id；请改用 aibot_send_msg 主动推送内容。",
    },
    seenOn: ["reply"],
    class: "fallback",
    confidence: "O",
    source: "NousResearch/hermes-agent, WeCom adapter",
  },
  {
    errcode: 846605,
    name: "invalid-req-id",
    errmsg: ["invalid req_id"],
    meaning: { en: "The req_id cannot be answered this way.", zh: "req_id 无效，不能用于本次回复。" },
    cause: {
      en: "A stream was sent with an event's req_id, the req_id was changed or is not from a callback, or the connection was replaced since.",
      zh: "用事件回调的 req_id 发送了流式消息；req_id 被改动或并非来自回调；或其间连接已经更换。",
    },
    advice: {
      en: "Never repeat with the same req_id; push the text with aibot_send_msg. Answer an event only with its own command.",
      zh: "不要用同一个 req_id 重试，请改用 aibot_send_msg 主动推送；事件只能用其对应的命令回复。",
    },
    seenOn: ["reply"],
    class: "fallback",
    confidence: "S",
    source:
      "measured on the live gateway (2026-10-08); official plugin 2026.7.2; github.com/NousResearch/hermes-agent issue 52820",
  },
  {
    errcode: 846607,
    name: "chat-too-often",
    errmsg: ["aibot send msg frequency limit exceeded"],
    meaning: { en: "Too many messages in this chat.", zh: "该会话的发送频率超限。" },
    cause: {
      en: "More than 30 messages in a minute or 1,000 in an hour in one chat, replies and pushes together; refreshes of a stream probably count. One report: also for a user who never talked to the bot.",
      zh: "单个会话每分钟超过 30 条或每小时超过 1000 条，回复与主动推送合并计算，流式刷新很可能也计入。另有一例：向从未与机器人对话过的用户推送时也会出现。",
    },
    advice: {
      en: "Send nothing to this chat for a minute, then more slowly; drop intermediate refreshes, keep the final one.",
      zh: "暂停向该会话发送一分钟，之后放慢节奏；可丢弃中间的流式刷新，但要保留最后一帧。",
    },
    seenOn: ["reply", "push"],
    class: "throttled",
    retryAfterMs: 60_000,
    confidence: "S",
    source: "document 101463 (2026-04-01) for the limits; logs of several clients for the code",
  },
  {
    errcode: 846608,
    name: "stream-too-old",
    errmsg: ["stream message update expired"],
    meaning: { en: "The stream can no longer be updated.", zh: "流式消息已超过可更新时限。" },
    cause: {
      en: "A frame came later than 10 minutes after the first frame of its stream (6 minutes in earlier versions).",
      zh: "距该流式消息的首帧已超过 10 分钟（早期版本为 6 分钟）。",
    },
    advice: {
      en: "Stop sending to this stream and push the rest with aibot_send_msg; finish long answers before minute ten.",
      zh: "停止更新该流式消息，用 aibot_send_msg 推送剩余内容；耗时较长的回答应在 10 分钟之前结束。",
    },
    seenOn: ["reply"],
    class: "fallback",
    confidence: "S",
    source:
      "official plugin 2026.7.2; multica-ai/multica and YanHaidao/wecom, observed; document 101463 for the 10 minutes",
  },
  {
    errcode: 846609,
    name: "not-subscribed",
    errmsg: ["aibot websocket not subscribed"],
    meaning: { en: "This socket has no live subscription.", zh: "当前连接没有有效的订阅。" },
    cause: {
      en: "A command before the subscribe was acknowledged, a subscription the gateway has lost while the socket stayed open, or another instance that took the bot over.",
      zh: "订阅尚未确认就发送了命令；连接仍在，但网关侧的订阅已丢失；或该机器人已被另一个实例接管。",
    },
    advice: {
      en: "Reconnect once, with back-off, then send again by a push. If it returns, look for a second instance of the same bot.",
      zh: "按退避策略重连一次，再以主动推送补发。若反复出现，请检查是否有另一个实例在使用同一个机器人。",
    },
    seenOn: ["any command"],
    class: "reconnect",
    confidence: "S",
    source: "github.com/NousResearch/hermes-agent issues 29667, 47564, 47572",
  },
  {
    errcode: 846609,
    name: "mcp-not-supported-before-2026-04",
    errmsg: ["unsupported mcp biz type"],
    meaning: { en: "This MCP feature is not available to the bot.", zh: "该机器人不支持此类 MCP 能力。" },
    cause: {
      en: "The code's old meaning, until about April 2026: an MCP configuration was asked for a feature the bot does not have.",
      zh: "该错误码在 2026 年 4 月前后之前的旧含义：请求了机器人未开通的 MCP 能力的配置。",
    },
    advice: {
      en: "Switch the feature off, or enable it for the bot in the admin console.",
      zh: "请停用该功能，或在管理后台为机器人开通。",
    },
    seenOn: ["mcp"],
    class: "permanent",
    confidence: "S",
    source: "changelogs of two clients (2026-03, 2026-04)",
  },
  {
    errcode: 846610,
    name: "mcp-not-supported",
    errmsg: ["unsupported mcp biz type"],
    meaning: { en: "This MCP feature is not available to the bot.", zh: "该机器人不支持此类 MCP 能力。" },
    cause: {
      en: "An MCP configuration was asked for a feature the bot does not have.",
      zh: "请求了机器人未开通的 MCP 能力的配置。",
    },
    advice: {
      en: "Switch the feature off, or enable it for the bot in the admin console.",
      zh: "请停用该功能，或在管理后台为机器人开通。",
    },
    seenOn: ["mcp"],
    class: "permanent",
    confidence: "S",
    source: "code of several clients since 2026-04",
  },
  {
    errcode: 6000,
    name: "version-conflict",
    errmsg: ["data version conflict"],
    meaning: { en: "Two changes of the same message met.", zh: "数据版本冲突：同一条消息被同时修改。" },
    cause: {
      en: "Two frames of one stream were in flight at once, or a stream was finished twice.",
      zh: "同一流式消息有多帧同时在途，或重复发送了结束帧。",
    },
    advice: {
      en: "Send the frames of a stream one after another, each after the ack of the last; repeat after 0.2, 0.4 and 0.8 seconds. Harmless if the finishing frame was accepted before.",
      zh: "同一流式消息的各帧应逐帧发送，收到上一帧的确认再发下一帧；可间隔 0.2、0.4、0.8 秒重试。若结束帧此前已被接受，可以忽略。",
    },
    seenOn: ["reply"],
    class: "retry",
    retryAfterMs: 200,
    repeats: 3,
    confidence: "S",
    source: "document 90455; AstrBotDevs/AstrBot and NousResearch/hermes-agent, observed",
  },
  {
    errcode: -1,
    name: "system-busy",
    errmsg: ["system busy", "system error"],
    meaning: { en: "The gateway is busy.", zh: "系统繁忙。" },
    cause: {
      en: "Overload; typically many upload chunks at the same time.",
      zh: "服务端过载，常见于同时上传过多分片。",
    },
    advice: {
      en: "Repeat a little later, at most three sends in all, with fewer chunks in parallel.",
      zh: "稍后重试，总共发送不超过三次，并减少并行上传的分片数。",
    },
    seenOn: ["upload"],
    class: "retry",
    retryAfterMs: 500,
    repeats: 2,
    confidence: "S",
    source: "document 90455; official Node SDK 1.0.7, comment",
  },
  {
    errcode: 40058,
    name: "invalid-parameter",
    errmsg: ["invalid Request Parameter"],
    meaning: { en: "A parameter of the request is not valid.", zh: "请求参数不合法。" },
    cause: {
      en: "A member is missing, misspelt or of the wrong type, or a text is too long.",
      zh: "字段缺失、拼写或类型有误，或文本过长。",
    },
    advice: {
      en: "Read the errmsg: it often names the member. Correct or shorten it; the same frame will be refused again.",
      zh: "errmsg 中通常会指明出错的字段，请更正或缩短后再发；原样重发仍会被拒绝。",
    },
    seenOn: ["http"],
    class: "permanent",
    confidence: "S",
    source: "github.com/WecomTeam/wecom-cli issue 24; assumed on the long connection",
  },
  {
    errcode: 40008,
    name: "invalid-msgtype",
    errmsg: ["invalid msgtype"],
    meaning: { en: "This message type is not allowed here.", zh: "消息类型不合法。" },
    cause: {
      en: "For example a push with msgtype text, which only a welcome may have.",
      zh: "例如主动推送时使用了 text 类型，而该类型只能用于欢迎语。",
    },
    advice: { en: "Send markdown instead.", zh: "请改用 markdown 类型。" },
    seenOn: ["push"],
    class: "permanent",
    confidence: "O",
    source: "document 90313; one simulator that records live answers",
  },
  {
    errcode: 600039,
    name: "message-type-not-shown",
    errmsg: ["unsupported message type"],
    meaning: { en: "The user's client cannot show this kind of message.", zh: "对方客户端不支持展示此类消息。" },
    cause: {
      en: "A stream to an old or mobile client, or to some groups.",
      zh: "向版本较旧的客户端、手机端或部分群聊发送了流式消息。",
    },
    advice: { en: "Send the same text as markdown.", zh: "请将同样的内容改用 markdown 发送。" },
    seenOn: ["reply"],
    class: "fallback",
    confidence: "O",
    source: "github.com/NousResearch/hermes-agent pull request 11656",
  },
  {
    errcode: 600011,
    name: "no-permission",
    errmsg: ["no permission"],
    meaning: { en: "Not permitted.", zh: "没有权限。" },
    cause: { en: "Not known; only seen in another client's tests.", zh: "原因未知，仅见于其他客户端的测试代码。" },
    advice: {
      en: "Check the bot's visible range and its permissions in the admin console.",
      zh: "请在管理后台检查机器人的可见范围和权限。",
    },
    seenOn: [],
    class: "permanent",
    confidence: "G",
    source: "NousResearch/hermes-agent, tests",
  },
  {
    errcode: 600041,
    name: "unexplained-600041",
    errmsg: [],
    meaning: { en: "Not known.", zh: "含义未知。" },
    cause: {
      en: "Not known: the number is mentioned, but no document and no log with it was found.",
      zh: "原因未知：有人提到过这个错误码，但未找到任何文档或日志。",
    },
    advice: {
      en: "Keep the errmsg with its hint and ask WeCom; please report what you learn.",
      zh: "请保留完整的 errmsg（含 hint）并咨询企业微信；如有结论，欢迎反馈。",
    },
    seenOn: [],
    class: "unknown",
    confidence: "G",
    source: "hearsay",
  },
  {
    errcode: 93001,
    name: "group-push-not-allowed",
    errmsg: ["not allow send msg in room"],
    meaning: { en: "The bot may not send to this group.", zh: "机器人不能向该群发送消息。" },
    cause: {
      en: "The bot is not, or no longer, in the group, or the group forbids pushes.",
      zh: "机器人不在该群（或已被移出），或该群不允许主动推送。",
    },
    advice: {
      en: "Add the bot to the group and have somebody address it there once; push again after that callback.",
      zh: "请将机器人加入该群，并让群成员先 @ 机器人一次，收到该群的回调后再推送。",
    },
    seenOn: ["push"],
    class: "permanent",
    confidence: "O",
    source: "measured on the live gateway (2026-08-05); document 90313",
  },
  {
    errcode: 93006,
    name: "invalid-chatid",
    errmsg: ["invalid chatid"],
    meaning: { en: "There is no such chat for this bot.", zh: "chatid 无效。" },
    cause: {
      en: 'A changed chatid (lower-cased, with a prefix such as "user:"), a msgid in its place, or the id of another bot\'s chat.',
      zh: "chatid 被改动（如转成小写、带有 “user:” 前缀），误填了 msgid，或使用了其他机器人的会话 ID。",
    },
    advice: {
      en: "Take the chatid from a callback of this very bot and keep it unchanged, upper and lower case included; for a single chat use the userid.",
      zh: "请使用该机器人自己回调中的 chatid，并保持原样（含大小写）；单聊请填写 userid。",
    },
    seenOn: ["push", "mcp"],
    class: "permanent",
    confidence: "S",
    source: "official plugin 2026.7.2; measured on the live gateway (2026-08-05); document 90313",
  },
  {
    errcode: 93008,
    name: "not-in-group",
    errmsg: [],
    meaning: { en: "Not a member of the group.", zh: "不在该群中。" },
    cause: { en: "The bot is not in the group it was told to write to.", zh: "机器人不在要发送的群里。" },
    advice: { en: "Add the bot to the group.", zh: "请将机器人加入该群。" },
    seenOn: [],
    class: "permanent",
    confidence: "D",
    source: "document 90313",
  },
  {
    errcode: 42014,
    name: "duplicate-task-id",
    errmsg: ["duplicate task_id"],
    meaning: { en: "This task_id was used before.", zh: "task_id 重复。" },
    cause: {
      en: "A card was sent with the task_id of an earlier card of the same bot.",
      zh: "卡片使用了同一机器人之前发送过的 task_id。",
    },
    advice: { en: "Give every card a new task_id.", zh: "每张卡片都应使用新的 task_id。" },
    seenOn: ["card"],
    class: "permanent",
    confidence: "O",
    source: "public client code; document 101032 (2026-02-06) for the rule",
  },
  {
    errcode: 42039,
    name: "bad-button-key",
    errmsg: ["Template_Card button_list.key Missing or Invalid"],
    meaning: { en: "A button's key is missing or not valid.", zh: "卡片按钮的 key 缺失或不合法。" },
    cause: {
      en: "A button without a key, two buttons with the same key, or a key of more than 1,024 bytes.",
      zh: "按钮没有 key、多个按钮的 key 相同，或 key 超过 1024 字节。",
    },
    advice: { en: "Give every button of the card its own key.", zh: "请为卡片中的每个按钮设置互不相同的 key。" },
    seenOn: ["card"],
    class: "permanent",
    confidence: "O",
    source: "changelog of one client (2026-04); document 101032 (2026-02-06) for the rule",
  },
  {
    errcode: 40201,
    name: "content-refused",
    errmsg: [],
    meaning: { en: "The content was stopped by a content filter.", zh: "内容未通过安全审核。" },
    cause: {
      en: "The text or the file looks like spam or is forbidden.",
      zh: "文本或文件被判定为垃圾信息或违规内容。",
    },
    advice: {
      en: "Do not send it again. Tell the user in general terms that the answer cannot be shown.",
      zh: "不要重发；可笼统告知用户该回答无法展示。",
    },
    seenOn: ["reply", "push"],
    class: "permanent",
    confidence: "O",
    source: "public client code",
  },
  {
    errcode: 45002,
    name: "content-too-long",
    errmsg: ["content size out of limit"],
    meaning: { en: "The content is too long.", zh: "内容长度超出限制。" },
    cause: { en: "More than 20,480 bytes of UTF-8 in one text.", zh: "单条文本超过 20480 字节（UTF-8 编码）。" },
    advice: {
      en: "Split the text at no more than 20,480 bytes, never inside a character.",
      zh: "请按不超过 20480 字节拆分，并避免从字符中间断开。",
    },
    seenOn: ["http"],
    class: "permanent",
    confidence: "G",
    source: "document 90313; assumed on the long connection",
  },
  {
    errcode: 95001,
    name: "unexplained-95001",
    errmsg: [],
    meaning: { en: "Not known.", zh: "含义未知。" },
    cause: { en: "Not known; only seen in another client's tests.", zh: "原因未知，仅见于其他客户端的测试代码。" },
    advice: {
      en: "Keep the errmsg with its hint and ask WeCom; please report what you learn.",
      zh: "请保留完整的 errmsg（含 hint）并咨询企业微信；如有结论，欢迎反馈。",
    },
    seenOn: [],
    class: "unknown",
    confidence: "G",
    source: "test fixture of one client",
  },
  {
    errcode: 40004,
    name: "bad-media-type",
    errmsg: [],
    meaning: { en: "The media file's type is not valid.", zh: "媒体文件类型不合法。" },
    cause: { en: "The file's format does not fit the declared type.", zh: "文件格式与声明的素材类型不符。" },
    advice: {
      en: "Send jpg or png as image, amr as voice, mp4 as video, anything else as file.",
      zh: "图片用 jpg 或 png，语音用 amr，视频用 mp4，其他格式一律按普通文件（file）发送。",
    },
    seenOn: [],
    class: "permanent",
    confidence: "G",
    source: "document 90313; the trigger is assumed",
  },
  {
    errcode: 40005,
    name: "bad-type-parameter",
    errmsg: [],
    meaning: { en: "The parameter type is not valid.", zh: "type 参数不合法。" },
    cause: {
      en: "An upload was opened with a type other than file, image, voice or video.",
      zh: "初始化上传时 type 不是 file、image、voice、video 之一。",
    },
    advice: { en: "Use one of the four types, in lower case.", zh: "请使用上述四种类型之一，并用小写。" },
    seenOn: [],
    class: "permanent",
    confidence: "G",
    source: "document 90313; the trigger is assumed",
  },
  {
    errcode: 40006,
    name: "bad-media-size",
    errmsg: [],
    meaning: { en: "The media file's size is not valid.", zh: "媒体文件大小不合法。" },
    cause: {
      en: "Fewer than 5 bytes, or more than the type allows: image and video 10 MB, voice 2 MB, file 20 MB.",
      zh: "文件小于 5 字节，或超出类型上限：图片和视频 10 MB，语音 2 MB，文件 20 MB。",
    },
    advice: {
      en: "Check the size before the upload; shrink the file or send a link.",
      zh: "上传前先检查大小；可压缩文件，或改为发送链接。",
    },
    seenOn: [],
    class: "permanent",
    confidence: "G",
    source: "document 90313; document 101463 (2026-04-01) for the limits; the trigger is assumed",
  },
  {
    errcode: 40007,
    name: "bad-media-id",
    errmsg: [],
    meaning: { en: "The media_id is not valid.", zh: "media_id 无效。" },
    cause: {
      en: "A media_id older than three days, or of another bot.",
      zh: "media_id 已超过三天有效期，或属于其他机器人。",
    },
    advice: {
      en: "Upload the file again and send the new media_id.",
      zh: "请重新上传文件，并使用新的 media_id 发送。",
    },
    seenOn: [],
    class: "permanent",
    confidence: "G",
    source: "document 90313; document 101463 (2026-04-01) for the three days; the trigger is assumed",
  },
  {
    errcode: 40009,
    name: "bad-image-size",
    errmsg: [],
    meaning: { en: "The image's size is not valid.", zh: "图片大小不合法。" },
    cause: { en: "An image of more than 10 MB.", zh: "图片超过 10 MB。" },
    advice: { en: "Shrink the image, or send it as a file.", zh: "请压缩图片，或按普通文件发送。" },
    seenOn: [],
    class: "permanent",
    confidence: "G",
    source: "document 90313; the trigger is assumed",
  },
  {
    errcode: 40011,
    name: "bad-video-size",
    errmsg: [],
    meaning: { en: "The video's size is not valid.", zh: "视频大小不合法。" },
    cause: { en: "A video of more than 10 MB.", zh: "视频超过 10 MB。" },
    advice: { en: "Shrink the video, or send it as a file.", zh: "请压缩视频，或按普通文件发送。" },
    seenOn: [],
    class: "permanent",
    confidence: "G",
    source: "document 90313; the trigger is assumed",
  },
  {
    errcode: 40054,
    name: "unexplained-40054",
    errmsg: [],
    meaning: {
      en: "Elsewhere in WeCom: the domain of a sub-menu's URL is not valid.",
      zh: "在企业微信其他接口中表示：子菜单 URL 域名不合法。",
    },
    cause: { en: "Not known on the long connection, where it was never seen.", zh: "长连接上从未见过，原因未知。" },
    advice: {
      en: "Keep the errmsg with its hint and ask WeCom; please report what you learn.",
      zh: "请保留完整的 errmsg（含 hint）并咨询企业微信；如有结论，欢迎反馈。",
    },
    seenOn: [],
    class: "unknown",
    confidence: "G",
    source: "document 90313",
  },
  {
    errcode: 850001,
    name: "grant-expired",
    errmsg: [],
    meaning: { en: "The grant given to the bot has expired.", zh: "机器人的授权已过期。" },
    cause: { en: "The user's or the corporation's authorisation ran out.", zh: "用户或企业对机器人的授权已到期。" },
    advice: {
      en: "Clear the cached MCP configuration and ask for the authorisation again.",
      zh: "请清除缓存的 MCP 配置，并重新申请授权。",
    },
    seenOn: ["mcp"],
    class: "permanent",
    confidence: "S",
    source: "official plugin 2026.7.2; issues of the WecomTeam repositories",
  },
  {
    errcode: 850003,
    name: "grant-reset",
    errmsg: [],
    meaning: { en: "The grant given to the bot was reset.", zh: "机器人的授权已被重置。" },
    cause: { en: "The authorisation was withdrawn or given anew.", zh: "授权已被撤销或重新授予。" },
    advice: {
      en: "Clear the cached MCP configuration and ask for the authorisation again.",
      zh: "请清除缓存的 MCP 配置，并重新申请授权。",
    },
    seenOn: ["mcp"],
    class: "permanent",
    confidence: "O",
    source: "issues of the WecomTeam repositories",
  },
  {
    errcode: 851003,
    name: "documents-restricted",
    errmsg: [],
    meaning: { en: "The bot's document abilities are restricted.", zh: "机器人的文档能力受限。" },
    cause: { en: "For example a visible range of more than 10 members.", zh: "例如机器人的可见范围超过 10 人。" },
    advice: {
      en: "Narrow the bot's visible range, or do without documents.",
      zh: "请缩小机器人的可见范围，或不使用文档能力。",
    },
    seenOn: ["documents"],
    class: "permanent",
    confidence: "O",
    source: "public client code",
  },
  {
    errcode: 851008,
    name: "document-grant-851008",
    errmsg: [],
    meaning: { en: "The bot may not use documents yet, or no longer.", zh: "机器人缺少文档授权，或授权已失效。" },
    cause: { en: "The authorisation for documents is missing or has expired.", zh: "尚未授予文档权限，或授权已过期。" },
    advice: {
      en: "Have WeCom show the authorisation card (aibot_send_biz_msg, biz_type 1); try again after the user agreed.",
      zh: "请发送授权卡片（aibot_send_biz_msg，biz_type 为 1），待用户同意后重试。",
    },
    seenOn: ["documents"],
    class: "permanent",
    confidence: "O",
    source: "official plugin 2026.7.2",
  },
  {
    errcode: 851013,
    name: "document-grant-851013",
    errmsg: [],
    meaning: { en: "The bot may not use documents yet, or no longer.", zh: "机器人缺少文档授权，或授权已失效。" },
    cause: { en: "The authorisation for documents is missing or has expired.", zh: "尚未授予文档权限，或授权已过期。" },
    advice: {
      en: "Have WeCom show the authorisation card (aibot_send_biz_msg, biz_type 1); try again after the user agreed.",
      zh: "请发送授权卡片（aibot_send_biz_msg，biz_type 为 1），待用户同意后重试。",
    },
    seenOn: ["documents"],
    class: "permanent",
    confidence: "O",
    source: "official plugin 2026.7.2",
  },
  {
    errcode: 851014,
    name: "document-grant-851014",
    errmsg: [],
    meaning: { en: "The bot may not use documents yet, or no longer.", zh: "机器人缺少文档授权，或授权已失效。" },
    cause: { en: "The authorisation for documents is missing or has expired.", zh: "尚未授予文档权限，或授权已过期。" },
    advice: {
      en: "Have WeCom show the authorisation card (aibot_send_biz_msg, biz_type 1); try again after the user agreed.",
      zh: "请发送授权卡片（aibot_send_biz_msg，biz_type 为 1），待用户同意后重试。",
    },
    seenOn: ["documents"],
    class: "permanent",
    confidence: "O",
    source: "official plugin 2026.7.2",
  },
  {
    errcode: 853006,
    name: "tool-not-available",
    errmsg: ["this tool is not available for your corporation"],
    meaning: { en: "This tool is not available to the corporation.", zh: "所在企业无法使用该工具。" },
    cause: { en: "WeCom has not opened the tool to this corporation.", zh: "企业微信尚未向该企业开放此工具。" },
    advice: { en: "Switch the tool off, or ask WeCom to open it.", zh: "请停用该工具，或联系企业微信开通。" },
    seenOn: ["mcp", "http"],
    class: "permanent",
    confidence: "O",
    source: "github.com/WecomTeam/wecom-cli issue 107",
  },
];
