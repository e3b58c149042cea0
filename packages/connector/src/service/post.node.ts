/**
 * `Post` over undici, which asks half of node:http's time for a request, and runs on Node, Deno and Bun.
 *
 * Decides which addresses may be asked, and what a failure is called. Invariants: the address that was judged is the one
 * that is connected to; no redirect is followed; a connection that was kept alive and is gone costs nobody a try, save behind a
 * proxy.
 */
import { EventEmitter } from "node:events";
import { isIP } from "node:net";
// By its file: for the bare name Bun has something of its own that sends nothing.
import { Agent, type Dispatcher, ProxyAgent, buildConnector } from "undici/index.js";
import { isPrivate, publicLookup } from "../media.ts";
import { proxyFor } from "../runtime.proxy.ts";
import { type Post, type PostAnswer, PostError, type PostRequest } from "./post.ts";

/** Connections to one receiver. */
const connections = 256;
/** As long as the slowest webhook may take: a request that is late is told so by `PostRequest.timeoutMs`. */
const connectMs = 30_000;
/** How often a request goes out once more because its connection was gone: more would be no accident. */
const maxRepeats = 3;

/** Makes a `Post`. `env` names proxies. `close` ends the connections that are kept. */
export function nodePost(env: Readonly<Record<string, string | undefined>>): { post: Post; close: () => void } {
  /** Errors of connections that had served a request before. */
  const ofUsed = new WeakSet<Error>();
  const keep = { connections, headersTimeout: 0, keepAliveTimeout: 60_000 };
  const agentWith = (options: buildConnector.BuildOptions): Agent =>
    new Agent({ ...keep, connect: watched(buildConnector({ timeout: connectMs, ...options }), ofUsed) });
  // A connection that was made to a private address must not serve a request that may not go there.
  const agents = { public: agentWith({ lookup: publicLookup }), private: agentWith({}) };
  const proxies = new Map<string, ProxyAgent>();
  const proxyAgent = (proxy: URL): ProxyAgent => {
    let agent = proxies.get(proxy.href);
    if (agent === undefined) proxies.set(proxy.href, (agent = new ProxyAgent({ ...keep, uri: proxy.href })));
    return agent;
  };

  /** What a URL means is the same each time, and reading it takes as long as building a request. */
  const targets = new Map<string, Target>();
  const targetOf = (url: string, allowPrivate: boolean): Target => {
    const name = `${allowPrivate ? "any" : "public"} ${url}`;
    let target = targets.get(name);
    if (target === undefined) {
      target = read(new URL(url), allowPrivate);
      if (targets.size >= rememberedTargets) targets.clear();
      targets.set(name, target);
    }
    return target;
  };
  const read = (address: URL, allowPrivate: boolean): Target => {
    const literal = address.hostname.replace(/^\[|\]$/g, "");
    const proxy = proxyFor(address, env);
    return {
      dispatcher: proxy === undefined ? agents[allowPrivate ? "private" : "public"] : proxyAgent(proxy),
      options: { origin: address.origin, path: address.pathname + address.search, method: "POST" },
      credentials: credentialsOf(address),
      forbidden: !allowPrivate && isIP(literal) !== 0 && isPrivate(literal),
    };
  };

  const post = ({ url, headers, body, timeoutMs, allowPrivate }: PostRequest): Promise<PostAnswer> => {
    const { dispatcher, options, credentials, forbidden: mayNot } = targetOf(url, allowPrivate);
    if (mayNot) return Promise.reject(forbidden());
    return new Promise((resolve, reject) => {
      const signal = new EventEmitter();
      const timer = setTimeout(() => {
        reject(new PostError(`no response within ${timeoutMs} ms`));
        signal.emit("abort");
      }, timeoutMs);
      const request = { ...options, headers: { ...credentials, ...headers }, body, signal };
      const send = (repeats: number): void =>
        dispatcher.request(request, (error, response) => {
          // The receiver closed an idle connection at the moment it was used again: nothing was read of this request.
          if (error !== null && ofUsed.has(error) && repeats < maxRepeats) return send(repeats + 1);
          clearTimeout(timer);
          if (error === null) resolve(answerOf(response));
          else reject(inWords(error));
        });
      send(0);
    });
  };

  return {
    post,
    close: () => {
      for (const agent of [agents.public, agents.private, ...proxies.values()]) void agent.destroy();
    },
  };
}

/** Where a URL leads, and whether one may go there. */
interface Target {
  readonly dispatcher: Dispatcher;
  readonly options: Pick<Dispatcher.RequestOptions, "origin" | "path" | "method">;
  readonly credentials: Readonly<Record<string, string>>;
  readonly forbidden: boolean;
}

const rememberedTargets = 1_000;

/** Remembers the errors of connections from which something was read. */
function watched(connect: buildConnector.connector, ofUsed: WeakSet<Error>): buildConnector.connector {
  return (where, callback) =>
    connect(where, (...made) => {
      const [, socket] = made;
      // Before undici's own listener, which passes the error on.
      socket?.on("error", (error: Error) => {
        if (socket.bytesRead > 0) ofUsed.add(error);
      });
      callback(...made);
    });
}

/** The user and password of an address. */
function credentialsOf({ username, password }: URL): Readonly<Record<string, string>> {
  if (username === "" && password === "") return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { authorization: `Basic ${Buffer.from(pair).toString("base64")}` };
}

/** A body that nobody reads is let in up to this, for the sake of its connection. */
const discardedBytes = 65_536;

function answerOf({ statusCode, headers, body }: Dispatcher.ResponseData): PostAnswer {
  return {
    status: statusCode,
    header: (name) => {
      const value = headers[name];
      return Array.isArray(value) ? value[0] : value;
    },
    body,
    discard: () => {
      // A body that is short is drained, so that its connection can be used again; one that goes on is cut.
      body.dump({ limit: discardedBytes }).catch(() => undefined);
    },
  };
}

/** The sentences of what is called by codes. Certificates have many; they are named as they are. */
const sentences: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there (connection refused)",
  ECONNRESET: "the receiver closed the connection before it answered",
  ENOTFOUND: "the host's name is not known",
  EAI_AGAIN: "the host's name could not be looked up",
  ETIMEDOUT: "no connection could be made in time",
  EHOSTUNREACH: "there is no way to the host",
  ENETUNREACH: "there is no way to the host's network",
  EPIPE: "the receiver closed the connection while it was sent to",
  UND_ERR_CONNECT_TIMEOUT: "no connection could be made in time",
  UND_ERR_SOCKET: "the receiver closed the connection before it answered",
  UND_ERR_DESTROYED: "called off",
};

function inWords(error: NodeJS.ErrnoException): PostError {
  const { code = "unknown" } = error;
  if (code === "file-forbidden") return forbidden();
  const known = sentences[code];
  if (known !== undefined) return new PostError(known);
  if (/CERT|SELF_SIGNED|TLS|SSL|UNABLE_TO_VERIFY/.test(code))
    return new PostError(`its TLS certificate is not accepted (${code}); NODE_EXTRA_CA_CERTS adds an authority`);
  if (error.name === "HTTPParserError")
    return new PostError(`the receiver does not speak HTTP (${error.code ?? error.message})`);
  const [, status] = /^Proxy response \((\d+)\)/.exec(error.message) ?? [];
  if (status !== undefined) return new PostError(`the proxy opens no way there: it answered ${status}`);
  return new PostError(`the request failed (${code})`);
}

function forbidden(): PostError {
  return new PostError(
    "the URL leads to a private address, which a webhook made through the API may not; OPENWS_ALLOW_PRIVATE=1 lets it",
  );
}
