/**
 * The HTTP side: the API by which tests and the page move the gateway, downloads, response_url, the page itself.
 *
 * Every body is validated here and trusted behind it. Every refusal is an RFC 9457 problem document whose `detail` is one
 * sentence. Paths and answers are fixed: scripts and other people's tests depend on them.
 */
import { readFile } from "node:fs/promises";
import { Hono, type Context } from "hono";
import { streamSSE } from "hono/streaming";
import * as z from "zod";
import { behaviours } from "./behaviours.ts";
import { AdvanceBody, BotBody, CutMode, EventBody, KickBody, MessageBody, SettingsBody, Wait } from "./bodies.ts";
import type { UserEvent, UserMessage } from "./callbacks.ts";
import type { Chat } from "./chats.ts";
import { Fault, faultSchema, faultTable, readFault, type ArmedFault, type FaultKind } from "./faults.ts";
import { guard, type Guard } from "./guard.ts";
import type { Driver } from "./server.ts";
import { openApi, routes } from "./openapi.ts";
import { lintRules } from "./lint.ts";
import { switchTable, type SomeSwitches } from "./switches.ts";
import type { LogEntry } from "./wirelog.ts";
import type { Answer } from "./effects.ts";

/** A refusal on its way to the caller. */
class ProblemError extends Error {
  override readonly name = "ProblemError";
  readonly status: 400 | 401 | 403 | 404 | 411 | 413 | 422;
  constructor(status: ProblemError["status"], detail: string) {
    super(detail);
    this.status = status;
  }
}

const titles: Record<ProblemError["status"] | 500, string> = {
  400: "Bad request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not found",
  411: "Length required",
  413: "Too large",
  422: "Not deliverable",
  500: "Internal error",
};

const faultKinds = Object.keys(faultTable) as FaultKind[];
const flat = ({ id, fault, used }: ArmedFault) => ({ id, ...fault, used });

const maxJsonBytes = 32 * 1024 * 1024;
const maxMultipartBytes = 128 * 1024 * 1024;
const pagePath = new URL("../console/index.html", import.meta.url);

/** What the API knows of the process it runs in. */
export interface ApiOptions {
  readonly version: string;
  readonly guard: Guard;
}

/** The application, for any Fetch-style server. */
export const createApi = (driver: Driver, { version, guard: guarded }: ApiOptions): Hono => {
  const { world, log } = driver;
  const app = new Hono();

  app.onError((error, c) => {
    if (error instanceof ProblemError) return problem(c, error.status, error.message);
    if (error instanceof RangeError) return problem(c, 400, error.message);
    // A defect of the mock itself: say so rather than look like the real server.
    return problem(c, 500, `the mock gateway failed: ${error.message}`);
  });
  app.notFound((c) => problem(c, 404, `there is nothing at ${c.req.method} ${c.req.path}; see GET /openapi.json`));
  app.use(
    "/api/*",
    guard(guarded, (status, detail) => {
      throw new ProblemError(status, detail);
    }),
  );

  app.get("/", async (c) => {
    c.header("content-security-policy", "default-src 'self' 'unsafe-inline' data: blob:; frame-ancestors 'none'");
    return c.html(await readFile(pagePath, "utf8"));
  });
  app.get("/livez", (c) => c.json({ status: "ok", version }));
  app.get("/readyz", (c) => c.json({ status: "ready", version }));
  app.get("/openapi.json", (c) => c.json(openApi(routes, version)));
  app.get("/metrics", (c) =>
    c.text(metrics(driver), 200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" }),
  );

  // ---- what the real server has over HTTP, too
  app.get("/media/:token", async (c) => {
    const { status, headers, body, afterMs = 0 } = world.download(performance.now(), c.req.param("token"));
    if (afterMs > 0)
      await new Promise((resolve) => {
        setTimeout(resolve, afterMs).unref();
      });
    return new Response(body as string | Uint8Array<ArrayBuffer>, { status, headers });
  });
  app.post("/cgi-bin/aibot/response", async (c) => {
    const code = c.req.query("response_code") ?? "";
    const body = await readJson(c, z.unknown(), {}).catch(() => undefined);
    const answer = await driver.ask((call) => ({ type: "respond-url", code, body, call }));
    return c.json(answer.type === "errcode" ? { errcode: answer.errcode, errmsg: answer.errmsg } : {});
  });

  // ---- bots
  const known = (c: Context): string => {
    const bot = c.req.param("id")!;
    if (!world.bot(bot))
      throw new ProblemError(404, `there is no bot ${bot}; POST /api/bots makes one, or a client that subscribes`);
    return bot;
  };
  app.get("/api/bots", (c) => c.json(world.bots()));
  app.post("/api/bots", async (c) => {
    const bot = await readJson(c, BotBody);
    driver.run({ type: "add-bot", bot });
    return c.json(world.bot(bot.id), 201);
  });
  app.get("/api/bots/:id", async (c) => {
    const waitMs = readWait(c);
    const bot = c.req.param("id");
    const answer = await driver.ask((call) => ({ type: "await-bot", bot, waitMs, call }), c.req.raw.signal);
    if (answer.type !== "bot") return c.json(refuse(answer));
    return c.json(answer.timedOut ? { ...answer.bot, timedOut: true } : answer.bot);
  });
  app.delete("/api/bots/:id", (c) => {
    driver.run({ type: "remove-bot", bot: known(c) });
    return c.body(null, 204);
  });
  app.post("/api/bots/:id/messages", async (c) => {
    const [bot, waitMs] = [known(c), readWait(c)];
    const message = await readMessage(c);
    return c.json(toldOf(await driver.ask((call) => ({ type: "say", bot, message, call, waitMs }), c.req.raw.signal)));
  });
  app.post("/api/bots/:id/events", async (c) => {
    const [bot, waitMs] = [known(c), readWait(c)];
    const event = (await readJson(c, EventBody)) as UserEvent;
    return c.json(
      toldOf(await driver.ask((call) => ({ type: "trigger", bot, event, call, waitMs }), c.req.raw.signal)),
    );
  });
  app.post("/api/bots/:id/kick", async (c) => {
    const bot = known(c);
    const { closeAfterMs } = await readJson(c, KickBody, {});
    const answer = await driver.ask((call) => ({
      type: "kick",
      bot,
      call,
      ...(closeAfterMs === undefined ? {} : { closeAfterMs }),
    }));
    return c.json(answer.type === "bot" ? answer.bot : refuse(answer));
  });
  app.get("/api/bots/:id/chats", (c) => c.json(world.chats(known(c)).map(summary)));
  app.get("/api/bots/:id/chats/:chat", (c) => {
    const chat = world.chat(known(c), c.req.param("chat"));
    if (!chat) throw new ProblemError(404, `bot ${c.req.param("id")} has no chat ${c.req.param("chat")}`);
    return c.json({ ...summary(chat), items: chat.items });
  });
  app.get("/api/media/:id", (c) => {
    const file = world.uploaded(c.req.param("id"));
    if (!file) throw new ProblemError(404, `there is no uploaded file ${c.req.param("id")}`);
    const name = encodeURIComponent(file.filename);
    // Never text/html: what a bot uploaded must not run as part of the page.
    return new Response(file.bytes as Uint8Array<ArrayBuffer>, {
      headers: {
        "content-type": "application/octet-stream",
        "content-disposition": `attachment; filename*=UTF-8''${name}`,
        "x-content-type-options": "nosniff",
      },
    });
  });

  // ---- connections
  app.get("/api/connections", (c) => c.json(world.connections()));
  app.delete("/api/connections/:n", (c) => {
    const n = Number(c.req.param("n"));
    if (!world.connections().some((connection) => connection.n === n))
      throw new ProblemError(404, `there is no connection ${c.req.param("n")}`);
    const how = CutMode.safeParse(c.req.query("mode") ?? "close");
    if (!how.success) throw new ProblemError(400, "mode must be close, reset, half-open or nat-drop");
    driver.run({
      type: "cut",
      connection: n,
      how: how.data,
      ...(c.req.query("code") ? { code: closeCode(c.req.query("code")!) } : {}),
    });
    return c.body(null, 204);
  });

  // ---- faults
  app.get("/api/faults", (c) => {
    driver.run({ type: "tick" });
    return c.json(world.faults().map(flat));
  });
  app.get("/api/faults/kinds", (c) =>
    c.json(
      faultKinds.map((kind) => {
        const { example, ...row } = faultTable[kind];
        return { kind, ...row, spec: example, example: readFault(example), schema: faultSchema(kind) };
      }),
    ),
  );
  app.post("/api/faults", async (c) => {
    const fault = await readJson(c, Fault);
    const answer = await driver.ask((call) => ({ type: "arm", fault, call }));
    return c.json(answer.type === "armed" ? flat(answer.fault) : refuse(answer), 201);
  });
  app.delete("/api/faults/:id", async (c) => {
    const answer = await driver.ask((call) => ({ type: "disarm", fault: c.req.param("id"), call }));
    return answer.type === "armed" ? c.body(null, 204) : refuse(answer);
  });

  // ---- the world
  const settings = () => ({ profile: world.profile, switches: world.switches });
  app.get("/api/settings", (c) => c.json(settings()));
  app.patch("/api/settings", async (c) => {
    const { profile, switches } = await readJson(c, SettingsBody);
    driver.run({
      type: "set",
      ...(profile ? { profile } : {}),
      ...(switches ? { switches: switches as SomeSwitches } : {}),
    });
    return c.json(settings());
  });
  app.get("/api/switches", (c) => c.json(switchTable));
  app.get("/api/behaviours", (c) => c.json(behaviours));
  app.get("/api/clock", (c) => {
    driver.run({ type: "tick" });
    return c.json(world.clock);
  });
  app.post("/api/clock/advance", async (c) => {
    const { ms, transport = false } = await readJson(c, AdvanceBody);
    driver.run({ type: "advance", ms, transport });
    return c.json(world.clock);
  });
  app.post("/api/reset", (c) => {
    driver.run({ type: "reset" });
    return c.body(null, 204);
  });

  app.get("/api/lint", (c) => c.json(world.findings(c.req.query("bot"))));
  app.get("/api/lint/rules", (c) => c.json(lintRules));

  // ---- the log
  app.get("/api/log", (c) => {
    const after = Number(c.req.query("after") ?? c.req.header("last-event-id") ?? 0);
    if (!Number.isInteger(after) || after < 0) throw new ProblemError(400, "after must be the seq of an entry");
    const bot = c.req.query("bot");
    const wanted = (entry: LogEntry): boolean => bot === undefined || entry.bot === bot;
    if (c.req.query("follow") === undefined) {
      const lines = log
        .entries(after)
        .filter(wanted)
        .map((entry) => `${JSON.stringify(entry)}\n`);
      return c.body(lines.join(""), 200, { "content-type": "application/x-ndjson" });
    }
    return streamSSE(c, async (stream) => {
      const queue: LogEntry[] = log.entries(after).filter(wanted);
      let wake = (): void => undefined;
      const unfollow = log.follow((entry) => {
        if (!wanted(entry)) return;
        // A follower that does not read is let go rather than remembered for ever.
        if (queue.push(entry) > maxFollowerEntries) stream.abort();
        wake();
      });
      stream.onAbort(() => {
        unfollow();
        wake();
      });
      while (!stream.aborted) {
        for (const entry of queue.splice(0))
          await stream.writeSSE({ id: String(entry.seq), data: JSON.stringify(entry) });
        if (queue.length === 0 && !stream.aborted)
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    });
  });

  return app;
};

const maxFollowerEntries = 50_000;

const problem = (c: Context, status: keyof typeof titles, detail: string): Response =>
  c.json({ type: "about:blank", title: titles[status], status, detail }, status, {
    "content-type": "application/problem+json",
  });

const refuse = (answer: Answer): never => {
  if (answer.type === "refused") throw new ProblemError(answer.status, answer.detail);
  throw new Error(`an answer of type ${answer.type} came where none was expected`);
};

const toldOf = (answer: Answer) => (answer.type === "told" ? answer.told : refuse(answer));

const readWait = (c: Context): number => {
  const text = c.req.query("wait");
  if (text === undefined) return 0;
  const read = Wait.safeParse(text);
  if (!read.success) throw new ProblemError(400, `wait ${read.error.issues[0]!.message}`);
  return read.data;
};

const closeCode = (text: string): number => {
  const code = Number(text);
  if (
    code === 1000 ||
    (code >= 3000 && code < 5000) ||
    (code > 1000 && code < 1015 && ![1004, 1005, 1006].includes(code))
  )
    return code;
  throw new ProblemError(
    400,
    "code must be a WebSocket close code that may be sent: 1000–1003, 1007–1014 or 3000–4999",
  );
};

/** The body as JSON of a shape; `empty` stands for no body at all, where that is allowed. */
const readJson = async <Shape extends z.ZodType>(
  c: Context,
  shape: Shape,
  empty?: unknown,
): Promise<z.output<Shape>> => {
  const text = new TextDecoder().decode(await readBytes(c, maxJsonBytes));
  return parseJson(text === "" && empty !== undefined ? JSON.stringify(empty) : text, shape, "the body");
};

/** The body, or 413 as soon as it is known to be too large. */
const readBytes = async (c: Context, max: number): Promise<Uint8Array<ArrayBuffer>> => {
  const tooLarge = new ProblemError(413, `the body is larger than ${max} bytes`);
  if (Number(c.req.header("content-length") ?? 0) > max) throw tooLarge;
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of (c.req.raw.body ?? []) as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > max) throw tooLarge;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
};

const parseJson = <Shape extends z.ZodType>(text: string, shape: Shape, what: string): z.output<Shape> => {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new ProblemError(
      400,
      text === "" ? `${what} is empty; it must be JSON` : `${what} is not JSON: ${(error as Error).message}`,
    );
  }
  const read = shape.safeParse(json);
  if (read.success) return read.data;
  const [{ path, message }] = read.error.issues as [z.core.$ZodIssue];
  throw new ProblemError(400, `${path.length === 0 ? what : path.join(".")}: ${message}`);
};

/** A message as JSON, or as multipart with the parts `json` and `file`. */
const readMessage = async (c: Context): Promise<UserMessage> => {
  const type = c.req.header("content-type") ?? "";
  if (!type.startsWith("multipart/form-data")) return (await readJson(c, MessageBody)) as UserMessage;
  const length = Number(c.req.header("content-length"));
  if (Number.isNaN(length)) throw new ProblemError(411, "a multipart body needs a content-length");
  if (length > maxMultipartBytes) throw new ProblemError(413, `the body is larger than ${maxMultipartBytes} bytes`);
  const { json, file } = await c.req.parseBody().catch((error: unknown) => {
    throw new ProblemError(400, `the multipart body cannot be read: ${String(error)}`);
  });
  if (typeof json !== "string") throw new ProblemError(400, "the part json is missing: it holds the message");
  if (!(file instanceof File))
    throw new ProblemError(400, "the part file is missing: it holds the bytes, with a filename");
  const message = parseJson(json, MessageBody, "the part json") as UserMessage;
  return { ...message, attachment: { filename: file.name, bytes: new Uint8Array(await file.arrayBuffer()) } };
};

const summary = (chat: Chat) => ({
  id: chat.id,
  chattype: chat.chattype,
  users: [...chat.users],
  lastAt: chat.lastAt,
  count: chat.items.length,
  openStreams: chat.items.filter((item) => item.by === "bot" && !item.finished && !item.expired).length,
});

const metrics = ({ world, log, open, residentBytes }: Driver): string => {
  const { bots, connections, chats, turns, waiters } = world.sizes;
  const subscribed = world.bots().filter(({ state }) => state === "subscribed").length;
  const rows: [string, string, number][] = [
    ["openws_gateway_sockets", "Open WebSockets.", open],
    ["openws_gateway_connections", "Connections the world knows.", connections],
    ["openws_gateway_bots", "Bots, configured and appeared.", bots],
    ["openws_gateway_bots_subscribed", "Bots with a subscribed connection.", subscribed],
    ["openws_gateway_chats", "Chats kept.", chats],
    ["openws_gateway_req_ids", "Callback req_ids that still have a meaning.", turns],
    ["openws_gateway_waiters", "API callers that wait for an answer.", waiters],
    ["openws_gateway_log_dropped", "Wire log entries forgotten since the last reset.", log.dropped],
    ["openws_gateway_resident_bytes", "Resident memory of the process.", residentBytes],
  ];
  return rows.map(([name, help, value]) => `# HELP ${name} ${help}\n# TYPE ${name} gauge\n${name} ${value}\n`).join("");
};
