/**
 * What the API says when it does not do what it was asked: RFC 9457 problem documents, one table from our errors to them.
 *
 * Invariants: a detail is one sentence with what to do; it holds no secret and no stack; an error that nobody foresaw says
 * its name and nothing else.
 */
import { OpenwsError, UsageError } from "@openws/protocol";
import { HTTPException } from "hono/http-exception";
import { FileError } from "../../files.ts";
import { FeedBusyError } from "../feed.ts";
import { UnknownIdError } from "../ledger.ts";
import { OutboxBusyError } from "../outbox.ts";
import { StoreError } from "../store.ts";

/** A refusal that a route decides on. */
export class ProblemError extends OpenwsError {
  readonly status: number;
  readonly title: string;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, title: string, detail: string, headers: Readonly<Record<string, string>> = {}) {
    super(`http-${status}`, detail);
    this.name = "ProblemError";
    this.status = status;
    this.title = title;
    this.headers = headers;
  }
}

/** There is nothing of that name. */
export function notFound(what: string, id: string): ProblemError {
  return new ProblemError(404, `No such ${what}`, `there is no ${what} ${JSON.stringify(id.slice(0, 128))}`);
}

/** The document for anything that was thrown. */
export function problemOf(error: unknown): Response {
  if (error instanceof ProblemError) return problem(error.status, error.title, error.message, {}, error.headers);
  if (error instanceof UsageError)
    return problem(422, "Not acceptable as it is", error.message, error.path === undefined ? {} : { path: error.path });
  if (error instanceof StoreError)
    return problem(503, "Not stored", `nothing was accepted: ${error.message}`, { trouble: error.trouble }, retrySoon);
  if (error instanceof FeedBusyError) return problem(503, "Too many readers", error.message, {}, retrySoon);
  if (error instanceof OutboxBusyError) return problem(503, "Too much waits", error.message, {}, retrySoon);
  if (error instanceof UnknownIdError) return problem(404, `No such ${error.what}`, error.message);
  if (error instanceof FileError) {
    const client = error.code === "file-too-large" || error.code === "file-too-small" || error.code === "file-empty";
    return problem(client ? 422 : 502, "The file could not be handled", error.message, { code: error.code });
  }
  if (error instanceof HTTPException)
    return problem(error.status, "The request cannot be read", error.message || `status ${error.status}`);
  return problem(500, "Internal error", `the request could not be served (${nameOf(error)}); the log has more`);
}

const retrySoon = { "retry-after": "5" };

/** A problem document. */
export function problem(
  status: number,
  title: string,
  detail: string,
  more: Readonly<Record<string, unknown>> = {},
  headers: Readonly<Record<string, string>> = {},
): Response {
  return new Response(JSON.stringify({ type: "about:blank", status, title, detail, ...more }), {
    status,
    headers: { "content-type": "application/problem+json", ...headers },
  });
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : typeof error;
}
