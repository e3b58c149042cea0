/**
 * Where the lease is kept, by the address that an operator writes. Decides which addresses there are, and what is loaded
 * for them: the clients of servers are optional, and asked for only by whoever uses them.
 */
import { MistakeError } from "../mistake.ts";
import { installed } from "../optional.ts";
import { natsLease } from "./lease.nats.ts";
import { postgresLease } from "./lease.postgres.ts";
import { redisLease } from "./lease.redis.ts";
import { sqliteLease } from "./lease.sqlite.ts";
import type { LeasePlace } from "./lease.ts";

/** How each kind of address is opened; `url` is without the name of the lease, which is ours. */
const kinds: Readonly<Record<string, (url: string, name: string) => Promise<LeasePlace>>> = {
  "sqlite:": async (url, name) => {
    const path = url.slice("sqlite:".length);
    if (path !== "") return sqliteLease(path, name);
    throw new MistakeError({
      en: "OPENWS_LEASE=sqlite: needs the path of a file that all replicas see, such as sqlite:/data/lease.db",
      zh: "OPENWS_LEASE=sqlite: 之后必须是所有副本都能访问的文件路径，例如 sqlite:/data/lease.db",
    });
  },
  "redis:": redis,
  "rediss:": redis,
  "postgres:": postgres,
  "postgresql:": postgres,
  "nats:": nats,
  "tls:": nats,
};

/**
 * Opens the place of a lease: `sqlite:FILE`, `redis://…`, `postgres://…` or `nats://…`, with `?name=NAME` where several
 * services keep theirs in one place (`openws`). A server is not waited for: what is asked of it fails until it answers.
 * Rejects with `MistakeError` for an address that is none of these, and for a client that is not installed.
 */
export async function openLease(text: string): Promise<LeasePlace> {
  const [, scheme = ""] = /^([a-z]+:)/.exec(text) ?? [];
  const open = kinds[scheme];
  // The address may hold a password: it is not repeated.
  if (open === undefined || (scheme !== "sqlite:" && (URL.parse(text)?.hostname ?? "") === ""))
    throw new MistakeError({
      en: "OPENWS_LEASE must be sqlite:FILE, redis://HOST:PORT, postgres://USER:PASSWORD@HOST/DATABASE or nats://HOST:PORT",
      zh: "OPENWS_LEASE 必须是 sqlite:FILE、redis://HOST:PORT、postgres://USER:PASSWORD@HOST/DATABASE 或 nats://HOST:PORT",
    });
  // Its clients would find it only when they connect, or not at all.
  if (scheme !== "sqlite:" && !canBeRead(text))
    throw new MistakeError({
      en: "OPENWS_LEASE has a % in its name or password that is not followed by two hexadecimal digits; a % itself is written %25",
      zh: "OPENWS_LEASE 的用户名或密码中有 % 而其后不是两位十六进制数字；% 本身须写作 %25",
    });
  const [, name = "openws"] = /[?&]name=([^&]*)/.exec(text) ?? [];
  if (!/^[\w-]{1,64}$/.test(name))
    throw new MistakeError({
      en: "the name of a lease (?name= in OPENWS_LEASE) may have up to 64 letters, digits, - and _",
      zh: "租约名称（OPENWS_LEASE 中的 ?name=）最多 64 个字符，只能含字母、数字、- 和 _",
    });
  const url = text.replace(/([?&])name=[^&]*&?/, "$1").replace(/[?&]$/, "");
  return open(url, name);
}

async function redis(url: string, name: string): Promise<LeasePlace> {
  return redisLease(await client("ioredis", () => import("ioredis")), url, name);
}

async function postgres(url: string, name: string): Promise<LeasePlace> {
  // It is CommonJS: what it exports is in its default.
  return postgresLease((await client("pg", () => import("pg"))).default, url, name);
}

async function nats(url: string, name: string): Promise<LeasePlace> {
  const packages = "@nats-io/transport-node @nats-io/kv";
  const [transport, kv] = await client(packages, () =>
    Promise.all([import("@nats-io/transport-node"), import("@nats-io/kv")]),
  );
  return natsLease(transport, kv, url, name);
}

function client<Loaded>(packages: string, load: () => Promise<Loaded>): Promise<Loaded> {
  return installed(load, {
    en: `this kind of OPENWS_LEASE needs a client that is not installed; install it beside the connector: npm install ${packages}`,
    zh: `此类 OPENWS_LEASE 需要的客户端尚未安装；请与连接器一同安装：npm install ${packages}`,
  });
}

function canBeRead(address: string): boolean {
  const { username, password } = new URL(address);
  try {
    decodeURIComponent(`${username}:${password}`);
    return true;
  } catch {
    return false;
  }
}
