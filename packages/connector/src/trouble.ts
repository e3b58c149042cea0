/**
 * What stands in the way of a connection, said in two languages with what to do about it: names that do not resolve, ports
 * that are closed, proxies, certificates, servers that are no gateway. Decides wording only, from the words the runtime uses.
 *
 * Invariant: no sentence repeats what it was given, which may hold an address's credentials.
 */
import type { Sentence } from "./causes.ts";

/** What is wrong, and what to do. */
export interface Trouble {
  /** A slug to branch on. */
  readonly code: string;
  readonly what: Sentence;
  readonly advice: Sentence;
}

type Row = readonly [pattern: RegExp, code: string, what: Sentence, advice: Sentence];

const certificateAdvice: Sentence = {
  en: "for a private deployment start the process with NODE_EXTRA_CA_CERTS=/path/to/authority.pem; if a proxy opens TLS, that proxy's authority",
  zh: "私有部署请以 NODE_EXTRA_CA_CERTS=/path/to/authority.pem 启动进程；如有解密 TLS 的代理，请使用该代理的根证书",
};

/** The first that fits counts: what a proxy says is told before what lies behind it. */
const rows: readonly Row[] = [
  [
    /\(407\)|\b407\b/,
    "proxy-auth",
    { en: "the proxy asks for a user name and a password", zh: "代理要求用户名和密码" },
    {
      en: "write them into HTTPS_PROXY as http://USER:PASSWORD@HOST:PORT, with special characters percent-encoded",
      zh: "请在 HTTPS_PROXY 中写为 http://用户名:密码@主机:端口，特殊字符需百分号编码",
    },
  ],
  [
    /must name a proxy/,
    "proxy-kind",
    { en: "the environment names a proxy of a kind that is not spoken here", zh: "环境变量指定了不支持的代理类型" },
    {
      en: "set HTTPS_PROXY (or HTTP_PROXY for ws://) to http://HOST:PORT or https://HOST:PORT, or list the gateway in NO_PROXY",
      zh: "请将 HTTPS_PROXY（ws:// 为 HTTP_PROXY）设为 http://主机:端口 或 https://主机:端口，或将网关列入 NO_PROXY",
    },
  ],
  [
    /proxy (?:refused|answered)|Proxy connection/i,
    "proxy-refused",
    { en: "the proxy refused to open a way to the gateway", zh: "代理拒绝建立到网关的通道" },
    {
      en: "have the proxy's operator allow CONNECT to the gateway's host and port",
      zh: "请让代理管理员放行到网关主机和端口的 CONNECT 请求",
    },
  ],
  [
    /ENOTFOUND|EAI_AGAIN|ENODATA|getaddrinfo|name resolution/i,
    "dns",
    { en: "the name of the host does not resolve", zh: "主机名无法解析" },
    {
      en: "check the spelling of the address and the DNS of this machine; behind a proxy set HTTPS_PROXY",
      zh: "请检查地址拼写和本机 DNS；如需经代理访问请设置 HTTPS_PROXY",
    },
  ],
  [
    /ECONNREFUSED|Connection refused/i,
    "port-closed",
    { en: "nothing listens at that address and port", zh: "该地址和端口没有服务在监听" },
    {
      en: "check host and port, and that the gateway (or the proxy in between) is running",
      zh: "请检查主机和端口，并确认网关（或中间代理）正在运行",
    },
  ],
  [
    /EHOSTUNREACH|ENETUNREACH|ENETDOWN|EADDRNOTAVAIL/,
    "unreachable",
    { en: "there is no way to that address from here", zh: "从本机无法到达该地址" },
    { en: "check the network, the VPN and the firewall's routes", zh: "请检查网络、VPN 与防火墙路由" },
  ],
  [
    /ETIMEDOUT|timed? ?out/i,
    "timeout",
    { en: "nothing answered in time", zh: "未在时限内收到应答" },
    {
      en: "a firewall may swallow the packets: allow outgoing connections to the gateway's port, or set HTTPS_PROXY",
      zh: "可能被防火墙丢弃：请放行到网关端口的出站连接，或设置 HTTPS_PROXY",
    },
  ],
  [
    /certificate has expired|CERT_HAS_EXPIRED|CERT_NOT_YET_VALID|not yet valid/i,
    "certificate-time",
    { en: "the certificate is not valid at this time", zh: "证书当前不在有效期内" },
    {
      en: "check this machine's clock; if it is right, the gateway needs a new certificate",
      zh: "请检查本机时钟；若时钟正确，则网关需要更新证书",
    },
  ],
  [
    /altnames|ERR_TLS_CERT_ALTNAME_INVALID|Hostname\/IP/i,
    "certificate-name",
    { en: "the certificate is for another name", zh: "证书与主机名不符" },
    {
      en: "use the name the certificate was made for; a proxy or a portal may also stand in between",
      zh: "请使用证书签发的主机名；也可能有代理或认证门户介入",
    },
  ],
  [
    /self-signed|self signed|unable to (?:verify|get)|UNABLE_TO|DEPTH_ZERO|SELF_SIGNED|unknown authority|UnknownIssuer|certificate/i,
    "certificate-unknown",
    { en: "the certificate is signed by an authority that is not trusted here", zh: "证书由本机不信任的机构签发" },
    certificateAdvice,
  ],
  [
    /wrong version number|WRONG_VERSION|packet length too long|EPROTO|ERR_SSL|InvalidContentType|record/i,
    "tls-none",
    { en: "the other side does not speak TLS on this port", zh: "对端在该端口上不使用 TLS" },
    {
      en: "use ws:// for a server without TLS, such as a local mock, or the port that has TLS",
      zh: "对无 TLS 的服务（如本地模拟网关）请使用 ws://，或改用 TLS 端口",
    },
  ],
  [
    /status (?:401|403)/,
    "upgrade-forbidden",
    { en: "the server does not let this client in", zh: "服务器拒绝此客户端接入" },
    {
      en: "check the address; something in front of the gateway asks for a right that this process does not have",
      zh: "请检查地址；网关前面的设备要求本进程不具备的权限",
    },
  ],
  [
    /status (?:200|30\d|404|405|426)/,
    "upgrade-none",
    { en: "what answers there is no WebSocket gateway", zh: "该地址的服务不是 WebSocket 网关" },
    {
      en: "check the address: WeCom's is wss://openws.work.weixin.qq.com, without a path",
      zh: "请检查地址：企业微信为 wss://openws.work.weixin.qq.com，不带路径",
    },
  ],
  [
    /status 5\d\d/,
    "upgrade-failed",
    { en: "the server, or what stands before it, is in trouble itself", zh: "服务器或其前置设备自身出现故障" },
    { en: "wait; it is tried again by itself", zh: "请等待，会自动重试" },
  ],
  [
    /ECONNRESET|socket hang up|EPIPE|before secure TLS/i,
    "reset",
    { en: "the connection was cut by the other side, or by something in between", zh: "连接被对端或中间设备切断" },
    {
      en: "it is tried again by itself; if it goes on, check wss:// against ws://, and what the firewall does to WebSockets",
      zh: "会自动重试；若持续出现，请核对 wss:// 与 ws://，以及防火墙对 WebSocket 的处理",
    },
  ],
];

/** What the runtime's words mean; undefined for words that say nothing known. */
export function troubleOf(words: string): Trouble | undefined {
  const row = rows.find(([pattern]) => pattern.test(words));
  return row === undefined ? undefined : { code: row[1], what: row[2], advice: row[3] };
}
