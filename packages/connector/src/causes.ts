/**
 * Why a line is as it is, in a sentence for the person on call, English and Chinese. Decides wording only; the causes are
 * the transitions of `@openws/protocol`.
 */
import { explain, plainErrmsg } from "@openws/protocol";
import type { Cause, Detail } from "@openws/protocol";
import { troubleOf } from "./trouble.ts";

/** The same sentence in both languages. */
export interface Sentence {
  readonly en: string;
  readonly zh: string;
}

const sentences: Readonly<Record<Cause, Sentence>> = {
  start: { en: "started", zh: "已启动" },
  stop: { en: "stopped on request", zh: "已按要求停止" },
  retry: { en: "trying again", zh: "正在重试" },
  opened: { en: "the socket is open, subscribing", zh: "连接已建立，正在订阅" },
  subscribed: { en: "subscribed, messages arrive here now", zh: "订阅成功，消息将送达此处" },
  closed: { en: "the socket closed or could not be opened", zh: "连接已断开或无法建立" },
  "dial-timeout": {
    en: "the gateway did not accept a connection in time; check the address, the proxy and the firewall",
    zh: "网关未在时限内接受连接，请检查地址、代理与防火墙",
  },
  "subscribe-timeout": { en: "the gateway did not answer the subscribe in time", zh: "网关未在时限内答复订阅" },
  "ping-timeout": { en: "the line went dead: two pings unanswered", zh: "线路已失去响应：连续两次心跳无应答" },
  silence: { en: "the line went dead: nothing was received for too long", zh: "线路已失去响应：长时间未收到任何数据" },
  "not-subscribed": {
    en: "the gateway no longer counts this connection as subscribed; connecting anew",
    zh: "网关已不再认可此连接的订阅，正在重新连接",
  },
  throttled: {
    en: "the gateway throttles subscribes; waiting before the next. Is something restarting in a loop?",
    zh: "网关对订阅限频，稍后再试。是否有进程在反复重启？",
  },
  "subscribe-failed": { en: "the gateway refused the subscribe; trying again later", zh: "网关拒绝了订阅，稍后重试" },
  credentials: {
    en: "the gateway refused the bot id or the secret; not trying again. Check both in the WeCom admin console, and that the bot is in long-connection mode",
    zh: "网关拒绝了机器人 ID 或 Secret，不再重试。请在企业微信管理后台核对二者，并确认机器人处于长连接模式",
  },
  kicked: {
    en: "another instance of this bot has subscribed and took the line; staying away so that the two do not kick each other. Stop the other one, then start this one again",
    zh: "该机器人的另一个实例已订阅并接管线路；为避免互相踢下线，此实例不再重连。请先停止另一实例，再重新启动此实例",
  },
};

/** Says why a connection moved, with the code behind it and what the table of errcodes knows of that code. */
export function sentenceOf(why: Cause, detail?: Detail): Sentence {
  const { en, zh } = sentences[why];
  if (detail === undefined) return { en, zh };
  if (why === "closed") {
    // What OpenSSL says ends in a line feed and takes half a page.
    const words = detail.text.trim().replaceAll(/\s+/g, " ");
    const text = words === "" ? "" : `: ${words.length > 200 ? `${words.slice(0, 200)}…` : words}`;
    const trouble = troubleOf(detail.text);
    if (trouble === undefined) return { en: `${en} (${detail.code}${text})`, zh: `${zh}（${detail.code}${text}）` };
    const { what, advice } = trouble;
    return {
      en: `${what.en}; ${advice.en} (${detail.code}${text})`,
      zh: `${what.zh}；${advice.zh}（${detail.code}${text}）`,
    };
  }
  const known = explain(detail.code, detail.text);
  const said = known.known ? { en: known.meaning.en, zh: known.meaning.zh } : { en: "unknown code", zh: "未知错误码" };
  const errmsg = plainErrmsg(detail.text);
  return {
    en: `${en} (errcode ${detail.code}${errmsg === "" ? "" : ` "${errmsg}"`}: ${said.en})`,
    zh: `${zh}（errcode ${detail.code}${errmsg === "" ? "" : ` "${errmsg}"`}：${said.zh}）`,
  };
}
