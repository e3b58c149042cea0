/** A wire log as people read it: a sequence diagram in a line a frame, and both sides in two columns with the raw texts. */
import type { Line } from "./check.ts";

/** The log as a sequence diagram: the client on the left, the gateway on the right, what each frame is in a few words. */
export const sequence = (lines: readonly Line[]): string[] =>
  lines.map(({ atMs, connection, dir, text }) => {
    const arrow = dir === "in" ? "client ──▶ gateway" : dir === "out" ? "client ◀── gateway" : "       ╌╌╌        ";
    return `${seconds(atMs)}  #${connection}  ${arrow}  ${dir === "socket" ? text : gist(text)}`;
  });

/** The log in two columns: what the client sent on the left, what it was sent on the right. */
export const columns = (lines: readonly Line[], width = 76): string[] =>
  lines.flatMap(({ atMs, connection, dir, text }) => {
    const parts = wrapped(text, width);
    if (dir === "socket") return [`${seconds(atMs)}  #${connection}  ${"╌".repeat(3)} ${text}`];
    return parts.map((part, at) => {
      const head = at === 0 ? `${seconds(atMs)}  #${connection}` : " ".repeat(13 + String(connection).length);
      return dir === "in" ? `${head}  ${part.padEnd(width)} │` : `${head}  ${" ".repeat(width)} │ ${part}`;
    });
  });

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(3).padStart(8)} s`;

const wrapped = (text: string, width: number): string[] => {
  const most = text.length > width * 6 ? `${text.slice(0, width * 6 - 1)}…` : text;
  return Array.from({ length: Math.max(1, Math.ceil(most.length / width)) }, (_, at) =>
    most.slice(at * width, (at + 1) * width),
  );
};

/** What a frame is, in a few words: its command or errcode, its req_id, its stream, the beginning of its text. */
const gist = (text: string): string => {
  let frame: {
    cmd?: unknown;
    headers?: { req_id?: unknown };
    body?: Record<string, unknown>;
    errcode?: unknown;
  } | null;
  try {
    frame = JSON.parse(text) as typeof frame;
  } catch {
    return `not JSON: ${text.slice(0, 60)}`;
  }
  if (typeof frame !== "object" || frame === null) return `no object: ${text.slice(0, 60)}`;
  const { cmd, headers, body, errcode } = frame;
  const { id, finish, content } = { ...at(body, "markdown"), ...at(body, "text"), ...at(body, "stream") };
  const { eventtype } = at(body, "event");
  return [
    typeof cmd === "string" ? cmd : `ack ${JSON.stringify(errcode) ?? "without errcode"}`,
    typeof headers?.req_id === "string" ? headers.req_id : "no req_id",
    ...(typeof eventtype === "string" ? [eventtype] : []),
    ...(typeof id === "string" ? [id] : []),
    ...(finish === true ? ["finish"] : []),
    ...(typeof content === "string"
      ? [JSON.stringify(content.length > 40 ? `${content.slice(0, 40)}…` : content)]
      : []),
  ].join("  ");
};

const at = (body: Record<string, unknown> | undefined, member: string): Record<string, unknown> =>
  (body?.[member] ?? {}) as Record<string, unknown>;
