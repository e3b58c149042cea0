/**
 * Where the lease is kept, by the address that an operator writes. Decides which addresses there are, and what is loaded
 * for them: the clients of servers are optional, and asked for only by whoever uses them.
 */
import { MistakeError } from "../mistake.ts";
import type { LeasePlace } from "./lease.ts";
import { sqliteLease } from "./lease.sqlite.ts";

/** An address of a lease, understood. */
interface Address {
  readonly text: string;
  readonly name: string;
  /** Without `name`, which is ours. */
  readonly rest: string;
}

/** How each kind of address is opened. */
const kinds: Readonly<Record<string, (address: Address) => Promise<LeasePlace>>> = {
  "sqlite:": async ({ rest, name }) => {
    const path = rest.replace(/^sqlite:/, "").split("?")[0]!;
    if (path === "")
      throw new MistakeError({
        en: "OPENWS_LEASE=sqlite: needs the path of a file that all replicas see, such as sqlite:/data/lease.db",
        zh: "OPENWS_LEASE=sqlite: 之后必须是所有副本都能访问的文件路径，例如 sqlite:/data/lease.db",
      });
    return sqliteLease(path, name);
  },
};

/**
 * Opens the place of a lease: `sqlite:FILE`, with `?name=NAME` where several services keep theirs in one place (`openws`).
 * Rejects with `MistakeError` for an address that is none of these, and for a server that does not answer.
 */
export async function openLease(text: string): Promise<LeasePlace> {
  const [, scheme = ""] = /^([a-z]+:)/.exec(text) ?? [];
  const open = kinds[scheme];
  if (open === undefined) {
    const known = Object.keys(kinds).join(", ");
    // The address may hold a password: it is not repeated.
    throw new MistakeError({
      en: `OPENWS_LEASE must begin with one of ${known}`,
      zh: `OPENWS_LEASE 必须以下列之一开头：${known}`,
    });
  }
  const [, name = "openws"] = /[?&]name=([^&]+)/.exec(text) ?? [];
  const rest = text.replace(/([?&])name=[^&]+&?/, "$1").replace(/[?&]$/, "");
  return open({ text, name: decodeURIComponent(name), rest });
}
