/**
 * `Post` over Node's HTTP client, which Deno and Bun have too.
 *
 * Decides which addresses may be asked, and what a failure is called. Invariants: the address that was judged is the one
 * that is connected to; no redirect is followed; a connection that was kept alive and is gone costs nobody a delivery.
 */
import { Agent as HttpAgent, type IncomingMessage, type RequestOptions, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { isIP } from "node:net";
import { urlToHttpOptions } from "node:url";
import { HttpsProxyAgent } from "https-proxy-agent";
import { isPrivate, publicLookup } from "../media.ts";
import { proxyFor } from "../runtime.proxy.ts";
import { type Post, type PostAnswer, PostError, type PostRequest } from "./post.ts";

/** Makes a `Post`. `env` names proxies. `close` ends the connections that are kept. */
export function nodePost(env: Readonly<Record<string, string | undefined>>): { post: Post; close: () => void } {
  const keep = { keepAlive: true, maxSockets: 256, maxFreeSockets: 64, timeout: 60_000 };
  // A connection that was made to a private address must not serve a request that may not go there.
  const agents = {
    "http:": { public: new HttpAgent(keep), private: new HttpAgent(keep) },
    "https:": { public: new HttpsAgent(keep), private: new HttpsAgent(keep) },
  };
  const proxies = new Map<string, HttpsProxyAgent<string>>();

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
    const secure = address.protocol === "https:";
    const literal = address.hostname.replace(/^\[|\]$/g, "");
    const proxy = proxyFor(address, env);
    const agent =
      proxy === undefined
        ? agents[secure ? "https:" : "http:"][allowPrivate ? "private" : "public"]
        : proxyAgent(proxies, proxy);
    return {
      request: secure ? httpsRequest : httpRequest,
      options: {
        ...urlToHttpOptions(address),
        method: "POST",
        agent,
        ...(allowPrivate || proxy !== undefined ? {} : { lookup: publicLookup }),
      },
      forbidden: !allowPrivate && isIP(literal) !== 0 && isPrivate(literal),
    };
  };

  const send = (request: PostRequest): Promise<PostAnswer> => {
    const target = targetOf(request.url, request.allowPrivate);
    if (target.forbidden) return Promise.reject(forbidden());
    return new Promise((resolve, reject) => {
      const outgoing = target.request({
        ...target.options,
        headers: { ...request.headers, "content-length": Buffer.byteLength(request.body) },
        ...(request.signal === undefined ? {} : { signal: request.signal }),
      });
      const timer = setTimeout(
        () => outgoing.destroy(new PostError(`no response within ${request.timeoutMs} ms`)),
        request.timeoutMs,
      );
      outgoing.on("response", (response) => {
        clearTimeout(timer);
        resolve(answerOf(response));
      });
      outgoing.on("error", (error: NodeJS.ErrnoException) => {
        clearTimeout(timer);
        // The receiver closed an idle connection at the moment it was used again: nothing was read of this request.
        if (outgoing.reusedSocket && error.code === "ECONNRESET" && request.signal?.aborted !== true)
          resolve(send(request));
        else reject(inWords(error));
      });
      outgoing.end(request.body);
    });
  };

  return {
    post: send,
    close: () => {
      for (const { public: open, private: closed } of Object.values(agents)) {
        open.destroy();
        closed.destroy();
      }
      for (const agent of proxies.values()) agent.destroy();
    },
  };
}

/** Where a URL leads, and whether one may go there. */
interface Target {
  readonly request: typeof httpRequest;
  readonly options: RequestOptions;
  readonly forbidden: boolean;
}

const rememberedTargets = 1_000;

function proxyAgent(proxies: Map<string, HttpsProxyAgent<string>>, proxy: URL): HttpsProxyAgent<string> {
  let agent = proxies.get(proxy.href);
  if (agent === undefined) proxies.set(proxy.href, (agent = new HttpsProxyAgent(proxy, { keepAlive: true })));
  return agent;
}

/** A body that nobody reads is let in up to this, for the sake of its connection. */
const discardedBytes = 65_536;

function answerOf(response: IncomingMessage): PostAnswer {
  return {
    status: response.statusCode ?? 0,
    header: (name) => {
      const value = response.headers[name];
      return Array.isArray(value) ? value[0] : value;
    },
    body: response,
    discard: () => {
      // A body that is short is drained, so that its connection can be used again; one that goes on is cut.
      response.on("error", () => undefined);
      const length = Number(response.headers["content-length"] ?? Infinity);
      if (length <= discardedBytes) {
        response.resume();
        return;
      }
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > discardedBytes) response.destroy();
      });
    },
  };
}

/** The sentences of what Node calls by codes. Certificates have many; they are named as they are. */
const sentences: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there (connection refused)",
  ECONNRESET: "the receiver closed the connection before it answered",
  ENOTFOUND: "the host's name is not known",
  EAI_AGAIN: "the host's name could not be looked up",
  ETIMEDOUT: "no connection could be made in time",
  EHOSTUNREACH: "there is no way to the host",
  ENETUNREACH: "there is no way to the host's network",
  EPIPE: "the receiver closed the connection while it was sent to",
  ABORT_ERR: "called off",
};

function inWords(error: NodeJS.ErrnoException): PostError {
  if (error instanceof PostError) return error;
  const { code = "unknown" } = error;
  if (code === "file-forbidden") return forbidden();
  const known = sentences[code];
  if (known !== undefined) return new PostError(known);
  if (/CERT|SELF_SIGNED|TLS|SSL|UNABLE_TO_VERIFY/.test(code))
    return new PostError(`its TLS certificate is not accepted (${code}); NODE_EXTRA_CA_CERTS adds an authority`);
  if (code.startsWith("HPE_")) return new PostError(`the receiver does not speak HTTP (${code})`);
  return new PostError(`the request failed (${code})`);
}

function forbidden(): PostError {
  return new PostError(
    "the URL leads to a private address, which a webhook made through the API may not; OPENWS_ALLOW_PRIVATE=1 lets it",
  );
}
