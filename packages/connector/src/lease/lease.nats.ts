/**
 * The lease as a key of a NATS key-value bucket, which JetStream keeps. Decides bucket and key. What is compared is the
 * key's revision, which the server counts.
 *
 * Invariant: a connection that cannot be made is tried again by the next question, not by itself.
 */
import type { KV, Kvm as KeyValues } from "@nats-io/kv";
import type { NatsConnection, connect as natsConnect } from "@nats-io/transport-node";
import type { LeasePlace } from "./lease.ts";

const bucket = "openws_lease";
/** JetStream's code for a revision that is not the last one. */
const wrongLastSequence = 10_071;

interface Opened {
  readonly connection: NatsConnection;
  readonly kv: KV;
}

/** The lease `name` on the server at `url`; it is connected to when it is first asked. */
export function natsLease(
  { connect }: { readonly connect: typeof natsConnect },
  { Kvm }: { readonly Kvm: typeof KeyValues },
  url: string,
  name: string,
): LeasePlace {
  const { hostname, port, protocol, username, password } = new URL(url);
  const user = decodeURIComponent(username);
  const open = async (): Promise<Opened> => {
    const connection = await connect({
      servers: `${hostname}:${port === "" ? "4222" : port}`,
      name: "openws-connector lease",
      timeout: 2_000,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 500,
      // A name without a password is a token.
      ...(password === "" ? user !== "" && { token: user } : { user, pass: decodeURIComponent(password) }),
      ...(protocol === "tls:" && { tls: {} }),
    });
    try {
      return { connection, kv: await new Kvm(connection).create(bucket, { history: 1 }) };
    } catch (error) {
      await connection.close();
      throw error;
    }
  };
  let opening: Promise<Opened> | undefined;
  const ask = async <Answer>(question: (kv: KV) => Promise<Answer>): Promise<Answer> => {
    try {
      opening ??= open();
      return await question((await opening.catch(forget)).kv);
    } catch (error) {
      throw new Error(`NATS: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  };
  const forget = (error: unknown): never => {
    opening = undefined;
    throw error;
  };
  const there = async (kv: KV): Promise<{ text: string; revision: number } | undefined> => {
    const entry = await kv.get(name);
    return entry?.operation === "PUT" ? { text: entry.string(), revision: entry.revision } : undefined;
  };
  return {
    read: () => ask(async (kv) => (await there(kv))?.text),
    swap: (expected, next) =>
      ask(async (kv) => {
        const entry = await there(kv);
        if (entry?.text !== expected) return false;
        try {
          await (entry === undefined ? kv.create(name, next) : kv.update(name, next, entry.revision));
          return true;
        } catch (error) {
          if ((error as { code?: number }).code === wrongLastSequence) return false;
          throw error;
        }
      }),
    async close() {
      const opened = await opening?.catch(() => undefined);
      await opened?.connection.close();
    },
  };
}
