/**
 * `Post` over Node's HTTP client, which Deno and Bun have too.
 *
 * Decides which addresses may be asked, and what a failure is called. Invariants: the address that was judged is the one
 * that is connected to; no redirect is followed; a connection that was kept alive and is gone costs nobody a delivery.
 */
import { Agent as HttpAgent, type IncomingMessage, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { isIP } from "node:net";
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

  const send = (request: PostRequest): Promise<PostAnswer> => {
    const address = new URL(request.url);
    const secure = address.protocol === "https:";
    const literal = address.hostname.replace(/^\[|\]$/g, "");
    if (!request.allowPrivate && isIP(literal) !== 0 && isPrivate(literal)) return Promise.reject(forbidden());
    const proxy = proxyFor(address, env);
    return new Promise((resolve, reject) => {
      const outgoing = (secure ? httpsRequest : httpRequest)(address, {
        method: "POST",
        headers: { ...request.headers, "content-length": Buffer.byteLength(request.body) },
        agent:
          proxy === undefined
            ? agents[secure ? "https:" : "http:"][request.allowPrivate ? "private" : "public"]
            : proxyAgent(proxies, proxy),
        ...(request.allowPrivate || proxy !== undefined ? {} : { lookup: publicLookup }),
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

function proxyAgent(proxies: Map<string, HttpsProxyAgent<string>>, proxy: URL): HttpsProxyAgent<string> {
  let agent = proxies.get(proxy.href);
  if (agent === undefined) proxies.set(proxy.href, (agent = new HttpsProxyAgent(proxy, { keepAlive: true })));
  return agent;
}

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
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > 65_536) response.destroy();
      });
      response.on("error", () => undefined);
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
