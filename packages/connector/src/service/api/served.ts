/**
 * What the routes are served from: the service as the API needs it, and how a group of routes begins.
 * Decides no route. Invariant: nothing of HTTP is asked of the service.
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { BotState } from "../../bot.ts";
import type { MediaKind } from "@openws/protocol";
import type { Uploaded } from "../../upload.ts";
import type { Clock } from "../clock.ts";
import type { Dispatcher } from "../delivery.ts";
import type { FileLink } from "../envelope.ts";
import type { Feed } from "../feed.ts";
import type { OutMessage } from "../inline.ts";
import type { Change, Entry, Seq, Store, StoreTrouble } from "../store.ts";
import type { Sinks } from "../sinks.ts";
import type { Webhooks } from "../webhooks.ts";
import { readTrace } from "../trace.ts";
import { ProblemError, problem } from "./problem.ts";

/** A bot as the service runs it. */
export interface ServedBot {
  readonly id: string;
  readonly name: string | undefined;
  readonly source: "config" | "api";
  readonly state: BotState;
}

/** Changes that are committed together with an accepted entry; a function where they need its number. */
export type Also = readonly Change[] | ((entry: Entry) => readonly Change[]);

/** A bubble that is open for text. Each call resolves when what it adds is stored. */
export interface OpenStream {
  readonly id: string;
  readonly seq: Seq;
  append(text: string): Promise<void>;
  set(text: string): Promise<void>;
  finish(text?: string): Promise<void>;
}

/** A stored file of a message. */
export interface StoredFile {
  readonly stream: ReadableStream<Uint8Array>;
  readonly filename: string;
  readonly type: string;
  readonly bytes: number;
}

/** What the routes need of the service. */
export interface Served {
  readonly clock: Clock;
  readonly store: Store;
  readonly feed: Feed;
  readonly webhooks: Webhooks;
  readonly sinks: Pick<Sinks, "all" | "has" | "troubleOf">;
  readonly dispatcher: Pick<Dispatcher, "redrive" | "test" | "health" | "backlogs" | "callOff">;
  readonly outbox: {
    /** `trace`: a valid traceparent, of who asks. */
    reply(to: Seq, message: OutMessage, also?: Also, trace?: string): Promise<Entry>;
    push(
      bot: string,
      to: { readonly userid: string } | { readonly chatid: string },
      message: OutMessage,
      also?: Also,
      trace?: string,
    ): Promise<Entry>;
    stream(to: Seq, also?: Also, trace?: string): Promise<OpenStream>;
    openStream(id: string): OpenStream | undefined;
    settled(seq: Seq): Promise<Entry>;
  };
  bots(): readonly ServedBot[];
  addBot(bot: { id: string; secret: string; name?: string; url?: string }): Promise<ServedBot>;
  updateBot(id: string, patch: { secret?: string; name?: string; url?: string }): Promise<ServedBot>;
  removeBot(id: string): Promise<void>;
  reconnect(id: string): void;
  upload(
    bot: string,
    bytes: ReadableStream<Uint8Array>,
    about: { filename: string; kind?: MediaKind },
  ): Promise<Uploaded>;
  state(): { readonly ready: boolean; readonly store: "ok" | StoreTrouble };
  /** An entry as a person would read it aloud. */
  textOf(entry: Entry): string;
  filesOf(entry: Entry): Promise<readonly FileLink[]>;
  /** Undefined where there is none, or `sig` is not its own. */
  file(id: string, sig: string): Promise<StoredFile | undefined>;
}

/** What every group of routes is given. */
export interface Parts {
  readonly service: Served;
  readonly version: string;
  /** Told of what nobody foresaw, for the log. */
  readonly failed: (error: unknown) => void;
  /** The number of the lease under which this replica holds its lines, where several serve the same bots. */
  readonly lease?: (() => number | undefined) | undefined;
  /** Prometheus text. */
  readonly metrics: () => Promise<{ readonly type: string; readonly text: string }>;
}

/** An empty group of routes whose validation speaks in problem documents. */
export function newRoutes(): OpenAPIHono {
  return new OpenAPIHono({
    defaultHook: (result) => {
      if (result.success) return undefined;
      const [issue] = result.error.issues;
      const path = issue?.path.join(".") ?? "";
      const where = `${result.target === "json" ? "body" : result.target}${path === "" ? "" : `.${path}`}`;
      return problem(422, "Not acceptable as it is", `${where}: ${issue?.message ?? "is not valid"}`, { path: where });
    },
  });
}

/** The trace in which somebody asks, for what comes of it. */
export function traceOf(c: Context): string | undefined {
  return readTrace(c.req.header("traceparent"));
}

/** The bot of a path, or the problem that there is none. */
export function botOf({ service }: Parts, id: string): ServedBot {
  const bot = service.bots().find((each) => each.id === id);
  if (bot === undefined)
    throw new ProblemError(404, "No such bot", `this service runs no bot ${JSON.stringify(id.slice(0, 128))}`);
  return bot;
}
