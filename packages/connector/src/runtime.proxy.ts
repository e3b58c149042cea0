/**
 * Which proxy stands between this process and an address, as the environment says it: `HTTPS_PROXY` for wss and https,
 * `HTTP_PROXY` for ws and http, `ALL_PROXY` for both, `NO_PROXY` for what is reached directly; lower case wins.
 *
 * Loopback is never asked for at a proxy, whatever the environment says: what listens there is a mock or a tunnel.
 */
import { BlockList, isIP } from "node:net";
import { OpenwsError } from "@openws/protocol";

/** A string-to-string environment, as `process.env` is. */
type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The proxy to use for an address, or undefined for none. Throws `OpenwsError` for a proxy of a kind that is not spoken
 * here; its message names the variable and not the value, which may hold a password.
 */
export function proxyFor(url: URL, env: Environment): URL | undefined {
  const host = url.hostname.replace(/^\[|\]$/g, "").toLowerCase();
  if (host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host)) return undefined;
  const names = url.protocol === "wss:" || url.protocol === "https:" ? ["https_proxy"] : ["http_proxy"];
  for (const name of [...names, "all_proxy"].flatMap((each) => [each, each.toUpperCase()])) {
    const value = env[name];
    if (value === undefined || value === "") continue;
    if (exempt(host, portOf(url), env["no_proxy"] ?? env["NO_PROXY"] ?? "")) return undefined;
    const proxy = URL.parse(value.includes("://") ? value : `http://${value}`);
    if (proxy !== null && (proxy.protocol === "http:" || proxy.protocol === "https:")) return proxy;
    throw new OpenwsError("proxy", `${name} must name a proxy as http://HOST:PORT or https://HOST:PORT`);
  }
  return undefined;
}

function portOf({ port, protocol }: URL): string {
  return port === "" ? (protocol === "wss:" || protocol === "https:" ? "443" : "80") : port;
}

/** Names match themselves and what is below them, addresses themselves, networks what is in them; a port narrows. */
function exempt(host: string, port: string, noProxy: string): boolean {
  return noProxy
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((entry) => entry !== "")
    .some((entry) => {
      if (entry === "*") return true;
      const network = /^(.+)\/(\d{1,3})$/.exec(entry);
      if (network !== null) return within(host, network[1]!, Number(network[2]));
      if (isIP(entry) !== 0) return host === entry;
      const [, name = "", only] = /^(.+?)(?::(\d+))?$/.exec(entry)!;
      if (only !== undefined && only !== port) return false;
      const bare = name.replace(/^\[|\]$/g, "").replace(/^\*?\./, "");
      return host === bare || (isIP(host) === 0 && host.endsWith(`.${bare}`));
    });
}

function within(host: string, network: string, bits: number): boolean {
  const family = isIP(network);
  if (family === 0 || family !== isIP(host) || bits > (family === 4 ? 32 : 128)) return false;
  const list = new BlockList();
  list.addSubnet(network, bits, family === 4 ? "ipv4" : "ipv6");
  return list.check(host, family === 4 ? "ipv4" : "ipv6");
}
