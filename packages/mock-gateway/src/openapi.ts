/**
 * The API as an OpenAPI 3.1 document, from the same schemas that read its bodies.
 *
 * One row a route; a test holds the rows against the routes of the application, both ways.
 */
import * as z from "zod";
import { AdvanceBody, BotBody, EventBody, KickBody, MessageBody, SettingsBody } from "./bodies.ts";
import { Fault } from "./faults.ts";

/** One route. */
export interface Route {
  readonly method: "get" | "post" | "patch" | "delete";
  /** With parameters as `{name}`. */
  readonly path: string;
  readonly summary: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: z.ZodType;
  /** The body may also be multipart, with the parts json and file. */
  readonly multipart?: true;
  readonly status?: 200 | 201 | 204;
  /** What is answered, in words; none for 204. */
  readonly answers: string;
  readonly type?: "application/json" | "application/x-ndjson" | "text/plain" | "text/html" | "application/octet-stream";
  readonly problems?: readonly (400 | 403 | 404 | 413 | 422)[];
}

const wait = { wait: "How long to wait, such as 5000 (milliseconds) or 10s; not at all if it is left out." };
const told =
  "{msgid, reqId, delivered, reason?, reply, replies, timedOut?}: whether it went out, the text of the first finished answer, and everything the bot said about it.";
const bot = "{id, name, state: offline or subscribed, configured, connection, subscribedAt, reason}";

/** Every route of the application. */
export const routes: readonly Route[] = [
  { method: "get", path: "/", summary: "The page", answers: "A page to talk to a bot.", type: "text/html" },
  { method: "get", path: "/livez", summary: "Whether the process lives", answers: "{status, version}" },
  { method: "get", path: "/readyz", summary: "Whether the gateway serves", answers: "{status, version}" },
  {
    method: "get",
    path: "/metrics",
    summary: "Figures for Prometheus",
    answers: "Text exposition.",
    type: "text/plain",
  },
  { method: "get", path: "/openapi.json", summary: "This document", answers: "OpenAPI 3.1." },
  {
    method: "get",
    path: "/media/{token}",
    summary: "Downloads a file that a user sent, as the real storage serves it",
    answers: "Ciphertext; its name stands in Content-Disposition.",
    type: "application/octet-stream",
  },
  {
    method: "post",
    path: "/cgi-bin/aibot/response",
    summary: "A response_url, as the real server has it",
    query: { response_code: "The code in the URL." },
    body: z.looseObject({ msgtype: z.enum(["markdown", "template_card"]) }),
    answers: "{errcode, errmsg}",
  },
  { method: "get", path: "/api/bots", summary: "All bots", answers: `A list of ${bot}` },
  {
    method: "post",
    path: "/api/bots",
    summary: "Lets a bot subscribe",
    body: BotBody,
    status: 201,
    answers: bot,
    problems: [400],
  },
  {
    method: "get",
    path: "/api/bots/{id}",
    summary: "One bot; with wait, once it is subscribed",
    query: wait,
    answers: bot,
    problems: [400, 404],
  },
  {
    method: "delete",
    path: "/api/bots/{id}",
    summary: "Removes a bot and cuts its connections",
    status: 204,
    answers: "It is gone.",
    problems: [404],
  },
  {
    method: "post",
    path: "/api/bots/{id}/messages",
    summary: "A user says something",
    query: wait,
    body: MessageBody,
    multipart: true,
    answers: told,
    problems: [400, 404, 413, 422],
  },
  {
    method: "post",
    path: "/api/bots/{id}/events",
    summary: "A user does something",
    query: wait,
    body: EventBody,
    answers: told,
    problems: [400, 404, 422],
  },
  {
    method: "post",
    path: "/api/bots/{id}/kick",
    summary: "Kicks the bot as another instance would",
    body: KickBody,
    answers: bot,
    problems: [400, 404],
  },
  {
    method: "get",
    path: "/api/bots/{id}/chats",
    summary: "The bot's chats",
    answers: "A list of {id, chattype, users, lastAt, count, openStreams}",
    problems: [404],
  },
  {
    method: "get",
    path: "/api/bots/{id}/chats/{chat}",
    summary: "What the users of a chat see",
    answers: "The same with items: what users said, and bubbles, cards, files and pushes of the bot.",
    problems: [404],
  },
  {
    method: "get",
    path: "/api/media/{id}",
    summary: "A file that a bot uploaded, by its media_id",
    answers: "The file.",
    type: "application/octet-stream",
    problems: [404],
  },
  {
    method: "get",
    path: "/api/connections",
    summary: "All connections",
    answers: "A list of {n, bot, state, address, openedAt, lastFrameAt, framesIn, framesOut}",
  },
  {
    method: "delete",
    path: "/api/connections/{n}",
    summary: "Ends or cripples a connection",
    query: { mode: "close (default), reset, half-open or nat-drop", code: "The close code; 1000 if it is left out." },
    status: 204,
    answers: "Done.",
    problems: [400, 404],
  },
  { method: "get", path: "/api/faults", summary: "The armed faults", answers: "A list of {id, kind, …, used}" },
  {
    method: "post",
    path: "/api/faults",
    summary: "Arms a fault",
    body: Fault,
    status: 201,
    answers: "{id, kind, …, used}",
    problems: [400],
  },
  {
    method: "get",
    path: "/api/faults/kinds",
    summary: "What can be broken",
    answers: "A list of {kind, layer, occasion, what, example, spec, schema, source}",
  },
  {
    method: "delete",
    path: "/api/faults/{id}",
    summary: "Takes a fault away",
    status: 204,
    answers: "It is gone.",
    problems: [404],
  },
  { method: "get", path: "/api/settings", summary: "Profile and switches", answers: "{profile, switches}" },
  {
    method: "patch",
    path: "/api/settings",
    summary: "Changes profile or switches",
    body: SettingsBody,
    answers: "{profile, switches}",
    problems: [400],
  },
  {
    method: "get",
    path: "/api/switches",
    summary: "What each switch decides, and on what evidence",
    answers: "By name.",
  },
  {
    method: "get",
    path: "/api/behaviours",
    summary: "What each verdict in the log means, and on what evidence",
    answers: "By name.",
  },
  { method: "get", path: "/api/clock", summary: "The world clock", answers: "{now, offsetMs}" },
  {
    method: "post",
    path: "/api/clock/advance",
    summary: "Moves the world clock; answers when everything due by then has happened",
    body: AdvanceBody,
    answers: "{now, offsetMs}",
    problems: [400],
  },
  {
    method: "post",
    path: "/api/reset",
    summary: "Everything as it was at the start; connections are cut",
    status: 204,
    answers: "Done.",
  },
  {
    method: "get",
    path: "/api/lint",
    summary: "What clients did against the rules",
    query: { bot: "Of this bot only." },
    answers: "A list of {rule, requirement, bot, connection, at, message, frame}",
  },
  { method: "get", path: "/api/lint/rules", summary: "The rules", answers: "By name." },
  {
    method: "get",
    path: "/api/log",
    summary: "The wire log",
    query: {
      follow: "Server-sent events, from here on.",
      after: "Only entries after this seq.",
      bot: "Only of this bot.",
    },
    answers:
      "JSON lines of {seq, at, transportAt, connection, bot, dir, text, cmd, reqId, acks?, verdict?, errcode?, note?, fault?}",
    type: "application/x-ndjson",
    problems: [400],
  },
];

/** The document. */
export const openApi = (routes: readonly Route[], version: string): object => ({
  openapi: "3.1.0",
  info: {
    title: "openws mock gateway",
    version,
    description:
      "Moves a mock of the WeCom AI-bot gateway: users speak, clocks run ahead, connections break. " +
      "Refusals are RFC 9457 problem documents whose detail is one sentence. Instants are Unix milliseconds on the world clock.",
    license: { name: "MIT", identifier: "MIT" },
  },
  paths: Object.fromEntries(
    [...new Set(routes.map(({ path }) => path))].map((path) => [
      path,
      Object.fromEntries(
        routes.filter((route) => route.path === path).map((route) => [route.method, operation(route)]),
      ),
    ]),
  ),
  components: {
    schemas: { Problem: problem },
    securitySchemes: {
      token: { type: "http", scheme: "bearer", description: "Only where the gateway was given, or made, a token." },
    },
  },
  security: [{}, { token: [] }],
});

const operation = ({
  method,
  path,
  summary,
  query = {},
  body,
  multipart,
  status = 200,
  answers,
  type,
  problems = [],
}: Route) => ({
  operationId: `${method}${path.replaceAll(/[^A-Za-z]+(.)?/g, (_, next: string | undefined) => next?.toUpperCase() ?? "")}`,
  summary,
  parameters: [
    ...[...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
      name,
      in: "path",
      required: true,
      schema: { type: "string" },
    })),
    ...Object.entries(query).map(([name, description]) => ({
      name,
      in: "query",
      description,
      schema: { type: "string" },
    })),
  ],
  ...(body
    ? {
        requestBody: {
          required: true,
          content: {
            "application/json": { schema: schemaOf(body) },
            ...(multipart
              ? {
                  "multipart/form-data": {
                    schema: {
                      type: "object",
                      required: ["json", "file"],
                      properties: { json: { type: "string" }, file: { type: "string", format: "binary" } },
                    },
                  },
                }
              : {}),
          },
        },
      }
    : {}),
  responses: {
    [status]: { description: answers, ...(status === 204 ? {} : { content: { [type ?? "application/json"]: {} } }) },
    ...Object.fromEntries(
      problems.map((code) => [
        code,
        {
          description: meanings[code],
          content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
        },
      ]),
    ),
  },
});

const schemaOf = (body: z.ZodType): object => {
  // What is read, not what it becomes: switches take "on" as well as true.
  const { $schema: _, ...schema } = z.toJSONSchema(body, { io: "input", unrepresentable: "any" }) as {
    $schema?: string;
  };
  return schema;
};

const meanings = {
  400: "The request is wrong",
  403: "Another site's page",
  404: "There is no such thing",
  413: "The body is too large",
  422: "The real server would not deliver it",
};

const problem = {
  type: "object",
  required: ["type", "title", "status", "detail"],
  properties: {
    type: { type: "string" },
    title: { type: "string" },
    status: { type: "integer" },
    detail: { type: "string", description: "One sentence that says what is wrong." },
  },
};
